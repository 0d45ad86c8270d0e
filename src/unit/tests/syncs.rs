//! Flushes of one medium and their failures, step by step. `tests/models.rs` goes through all orders of such steps.

use crate::model::MediumFault;
use crate::unit::syncs::*;

#[test]
fn flushes_take_turns_and_serve_all_who_came_before_they_began() {
    let syncs = Syncs::new(2);
    let first = syncs.begun();
    assert!(syncs.begin() && !syncs.begin());
    let late = syncs.begun();
    syncs.tell(1);
    assert_eq!(syncs.end().collect::<Vec<_>>(), [1]);
    assert!(syncs.has_ended(first) && !syncs.has_ended(late), "what was written meanwhile may not be in it");
    assert!(syncs.begin());
    assert_eq!(syncs.end().count(), 0, "told once");
    assert!(syncs.has_ended(late));
}

#[test]
fn a_flush_waits_for_the_durable_writes_that_began_before_it_was_done() {
    let syncs = Syncs::new(2);
    let (one, two) = (syncs.durable(0), syncs.durable(1));
    let drain = syncs.drain();
    let later = syncs.durable(0);
    assert!(!syncs.is_drained(drain));
    syncs.durable_over(0, one);
    syncs.fail(MediumFault::Write);
    syncs.durable_over(1, two);
    assert!(syncs.is_drained(drain), "a later one does not hold it up");
    assert_eq!((syncs.failures(), syncs.untold(), syncs.untold()), (1, 1, 0));
    syncs.durable_over(0, later);
}
