//! Bounds what a core asks others to abort. Without bounds their mailboxes would grow with it, and what waits there
//! comes before what others wait for.
//!
//! What was asked for counts for whoever asked until all cores have answered, even if nobody waits for that any more:
//! for a session, an address and a host. A host may be all of a network (`model/host.rs`), so a session and an address
//! have less each.

use crate::limits::{ABORTS_ELSEWHERE, ABORTS_ELSEWHERE_OF_ADDRESS, ABORTS_ELSEWHERE_OF_SESSION};
use crate::shares::{Counts, Whose};
use std::collections::HashMap;

/// What other cores were asked to abort and have not answered.
#[derive(Debug)]
pub struct Elsewhere {
    /// By ticket: for whom, and how many cores have not answered.
    asked: HashMap<u32, (Whose, usize)>,
    counts: Counts,
}

impl Default for Elsewhere {
    fn default() -> Elsewhere {
        let most = [ABORTS_ELSEWHERE_OF_SESSION, ABORTS_ELSEWHERE_OF_ADDRESS, ABORTS_ELSEWHERE];
        Elsewhere { asked: HashMap::new(), counts: Counts::new(most) }
    }
}

impl Elsewhere {
    /// Notes that `cores` other cores were asked to abort something, and will answer with this ticket.
    pub fn ask(&mut self, ticket: u32, whose: Whose, cores: usize) {
        if cores > 0 {
            self.asked.insert(ticket, (whose, cores));
            self.counts.add(whose);
        }
    }

    /// Whether `whose` has asked for so much that other cores have to do some of it before they are asked for more.
    pub fn is_too_much(&self, whose: Whose) -> bool {
        self.counts.is_full(whose)
    }

    /// Notes that one of the cores has answered.
    pub fn answered(&mut self, ticket: u32) {
        // What nobody waits for is not counted.
        let Some((whose, cores)) = self.asked.get_mut(&ticket) else { return };
        *cores -= 1;
        if *cores == 0 {
            self.counts.remove(*whose);
            self.asked.remove(&ticket);
        }
    }

    /// Nothing is asked of anybody.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::tests::at;

    /// Sessions `from`.. of a peer ask, a function each after the other, until no more is taken: the tickets.
    fn fill(all: &mut Elsewhere, ip: &str, from: u64, sessions: u64) -> Vec<u32> {
        let mut tickets = Vec::new();
        for serial in from..from + sessions {
            let asking = Whose::of(serial, at(ip));
            while !all.is_too_much(asking) {
                let ticket = all.asked.len() as u32 + 1;
                all.ask(ticket, asking, 2);
                tickets.push(ticket);
            }
        }
        tickets
    }

    #[test]
    fn a_session_an_address_and_a_host_have_a_bound_each() {
        let mut all = Elsewhere::default();
        let mut tickets = fill(&mut all, "2001:db8::1", 0, 1);
        assert_eq!(tickets.len(), ABORTS_ELSEWHERE_OF_SESSION);
        tickets.extend(fill(&mut all, "2001:db8::1", 1, 100));
        assert_eq!(tickets.len(), ABORTS_ELSEWHERE_OF_ADDRESS);
        // All of a network may be one host: the next of it has something left.
        tickets.extend(fill(&mut all, "2001:db8::2", 200, 100));
        assert_eq!(tickets.len(), ABORTS_ELSEWHERE);
        assert!(!all.is_too_much(Whose::of(300, at("192.0.2.1"))));
        let one = Whose::of(0, at("2001:db8::1"));
        all.answered(tickets[0]);
        assert!(all.is_too_much(one), "one core of two");
        all.answered(tickets[0]);
        assert!(!all.is_too_much(one));
        for ticket in &tickets[1..] {
            (0..2).for_each(|_| all.answered(*ticket));
        }
        assert!(all.is_empty());
    }
}
