//! Which failures to make writes durable each nexus has been told of.
//!
//! Such a failure is the medium's: what was lost may be what any host has written. They are counted elsewhere; here is, for
//! each I_T_L nexus, up to which it has heard. It hears with its own next flush or durable write, once.
//!
//! A host that logs in anew has perhaps written before: what it was answered GOOD for then may be lost by now, and nobody
//! was there to be told. So a new nexus begins with what its initiator port had heard of when it was last here; one of a port
//! that was never here with what its initiator has, by whichever port. Of those who are gone a bounded number is remembered;
//! when one has to be forgotten, ports that nobody knows are taken to be it.
//!
//! What is lost is lost when the process ends, too, and the kernel does not say so twice. So who has not heard then is saved
//! with the unit ([`Lost`]), and hears of it after the next start.

use super::unit::{LogicalUnit, LuNexus};
use crate::limits::{ABSENT_HEARERS, LOST_PORTS};
use crate::model::{InitiatorPort, IscsiName};
use crate::wire::Isid;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes may be lost, and not all who may have written them have heard so. A store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Initiator ports, and whether each has heard. The others of an initiator of which there is one are as the best informed.
    pub ports: Vec<(InitiatorPort, bool)>,
    /// Whether all that are not among those have heard, or have written nothing. If not, all have yet to hear.
    pub others: bool,
}

impl Lost {
    /// Of which nobody has heard.
    pub const UNHEARD: Lost = Lost { ports: Vec::new(), others: false };
}

/// All that are here, and those that were.
#[derive(Debug, Default)]
pub(super) struct Hearers {
    list: Vec<Hearer>,
    /// What the least informed of those had heard of who had to be forgotten.
    forgotten: Option<u64>,
    /// A nexus that had heard of so many was answered GOOD since: those who are not known need not hear of them after a restart.
    settled: u64,
}

/// A nexus; it is gone when nobody else has its count.
#[derive(Debug)]
struct Hearer {
    port: InitiatorPort,
    heard: Arc<AtomicU64>,
}

impl Hearer {
    fn is_gone(&self) -> bool {
        Arc::strong_count(&self.heard) == 1
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Hearers {
    fn enlist(&mut self, port: &InitiatorPort, failures: u64) -> Arc<AtomicU64> {
        let of_port = self.list.iter().filter(|hearer| hearer.port == *port).map(Hearer::heard).min();
        let of_name = self.list.iter().filter(|hearer| hearer.port.name == port.name).map(Hearer::heard).max();
        let unknown = || of_name.unwrap_or(failures).min(self.forgotten.unwrap_or(u64::MAX));
        let heard = Arc::new(AtomicU64::new(of_port.unwrap_or_else(unknown)));
        // The new one goes on for those of its port that are gone.
        self.list.retain(|hearer| hearer.port != *port || !hearer.is_gone());
        if self.list.iter().filter(|hearer| hearer.is_gone()).count() >= ABSENT_HEARERS
            && let Some(oldest) = self.list.iter().position(Hearer::is_gone)
        {
            let heard = self.list.remove(oldest).heard();
            self.forgotten = Some(heard.min(self.forgotten.unwrap_or(u64::MAX)));
        }
        self.list.push(Hearer { port: port.clone(), heard: Arc::clone(&heard) });
        heard
    }

    /// What is to be saved after so many failures; `None`: all have heard of them.
    pub(super) fn lost(&self, failures: u64) -> Option<Lost> {
        let others = self.settled >= failures || self.forgotten.is_none_or(|heard| heard >= failures);
        let mut ports = BTreeMap::new();
        for Hearer { port, heard } in &self.list {
            let has_heard = heard.load(Ordering::Relaxed) >= failures;
            *ports.entry((&port.name, port.isid.0, &port.proof)).or_insert(true) &= has_heard;
        }
        let unheard: BTreeSet<&IscsiName> =
            ports.iter().filter(|(_, has_heard)| !**has_heard).map(|((name, ..), _)| *name).collect();
        if others && unheard.is_empty() {
            return None;
        }
        // All of an initiator: which of its ports has heard says what another one is told. And all that are known where the others
        // have not heard: that ends with the first who has, and what a port has yet to hear does not.
        let is_needed = |name: &IscsiName| !others || unheard.contains(name);
        let port = |(name, isid, proof): (&IscsiName, [u8; 6], &Option<Arc<str>>)| InitiatorPort {
            proof: proof.clone(),
            ..InitiatorPort::new(name.clone(), Isid(isid))
        };
        let ports: Vec<_> = { ports.into_iter() }
            .filter(|((name, ..), _)| is_needed(name))
            .map(|(key, has_heard)| (port(key), has_heard))
            .collect();
        if ports.len() > LOST_PORTS { Some(Lost::UNHEARD) } else { Some(Lost { ports, others }) }
    }

    /// What was saved is the first failure.
    pub(super) fn restore(&mut self, Lost { ports, others }: &Lost) {
        let hearer = |(port, has_heard): &(InitiatorPort, bool)| Hearer {
            port: port.clone(),
            heard: Arc::new(AtomicU64::new(u64::from(*has_heard))),
        };
        self.list.extend(ports.iter().map(hearer));
        if !others {
            self.forgotten = Some(0);
        }
    }

    /// A nexus that has heard of so many is answered GOOD.
    pub(super) fn settle(&mut self, failures: u64) {
        self.settled = self.settled.max(failures);
    }
}

impl LogicalUnit {
    /// What was lost may be of before this unit was here: of no port is known what it has written. Each hears of it once.
    pub fn nobody_has_heard(&self) {
        self.state().hearers.forgotten = Some(0);
    }

    /// A nexus that has heard of so many failures is answered GOOD.
    pub fn has_settled(&self, failures: u64) {
        self.state().hearers.settle(failures);
    }
}

impl LuNexus {
    /// The same, of a port of an initiator, when there have been so many failures.
    #[must_use]
    pub fn of_port(mut self, unit: &LogicalUnit, port: &InitiatorPort, failures: u64) -> LuNexus {
        self.heard = unit.state().hearers.enlist(port, failures);
        self
    }

    /// It is told of all failures so far. Whether there are some that it had not heard of.
    pub fn hear(&self, failures: u64) -> bool {
        self.heard.swap(failures, Ordering::Relaxed) != failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, isid: u8) -> InitiatorPort {
        let name = IscsiName::new(&format!("iqn.2026-11.io.ringsan:{name}")).unwrap();
        InitiatorPort::new(name, Isid([0x80, 0, 0, isid, 0, 0]))
    }

    fn heard(hearer: &Arc<AtomicU64>) -> u64 {
        hearer.load(Ordering::Relaxed)
    }

    #[test]
    fn a_port_that_comes_again_goes_on_where_it_was() {
        let mut hearers = Hearers::default();
        let one = hearers.enlist(&port("a", 1), 0);
        drop(one);
        assert_eq!(heard(&hearers.enlist(&port("b", 1), 3)), 3, "a stranger has written nothing yet");
        let one = hearers.enlist(&port("a", 1), 3);
        assert_eq!(heard(&one), 0, "what it wrote may be lost, and it was not there to hear so");
        one.store(3, Ordering::Relaxed);
        drop(one);
        assert_eq!(heard(&hearers.enlist(&port("a", 1), 3)), 3, "once");
        assert_eq!(hearers.list.len(), 2);
    }

    #[test]
    fn another_port_of_the_same_initiator_knows_what_that_has_heard() {
        let mut hearers = Hearers::default();
        let _standby = hearers.enlist(&port("a", 1), 0);
        let path = hearers.enlist(&port("a", 2), 0);
        assert_eq!(heard(&hearers.enlist(&port("a", 3), 2)), 0);
        path.store(2, Ordering::Relaxed);
        assert_eq!(heard(&hearers.enlist(&port("a", 4), 2)), 2);
        assert_eq!(heard(&hearers.enlist(&port("a", 1), 2)), 0, "what the first has written it may still ask for");
    }

    #[test]
    fn those_who_are_gone_are_bounded_and_none_is_told_less_for_that() {
        let mut hearers = Hearers::default();
        for n in 0..ABSENT_HEARERS + 2 {
            hearers.enlist(&port(&format!("h{n}"), 1), 0);
        }
        assert_eq!(hearers.list.len(), ABSENT_HEARERS);
        assert_eq!(heard(&hearers.enlist(&port("h0", 1), 1)), 0);
    }

    /// The process ends, and another one begins with what the first has saved.
    fn restarted(hearers: &Hearers, failures: u64) -> Hearers {
        let mut next = Hearers::default();
        next.restore(&hearers.lost(failures).expect("not all have heard"));
        next
    }

    #[test]
    fn who_has_not_heard_hears_after_a_restart_and_nobody_else() {
        let mut hearers = Hearers::default();
        let told = hearers.enlist(&port("a", 1), 0);
        let _standby = hearers.enlist(&port("a", 2), 0);
        assert_eq!(hearers.lost(0), None);
        drop(hearers.enlist(&port("gone", 1), 0));
        drop(hearers.enlist(&port("b", 1), 2));
        told.store(2, Ordering::Relaxed);
        let mut next = restarted(&hearers, 2);
        let expected =
            [("a", 1, 1), ("a", 2, 0), ("a", 3, 1), ("b", 1, 1), ("gone", 1, 0), ("gone", 2, 0), ("c", 1, 1)];
        for (name, isid, has_heard) in expected {
            assert_eq!(heard(&next.enlist(&port(name, isid), 1)), has_heard, "{name} {isid}");
        }
        // A path that nobody uses keeps nobody else from being done with it.
        let again = restarted(&next, 1);
        assert_eq!(again.lost(1), next.lost(1));
        for hearer in &next.list {
            hearer.heard.store(1, Ordering::Relaxed);
        }
        assert_eq!(next.lost(1), None);
    }

    #[test]
    fn what_was_lost_before_anybody_was_here_is_news_until_somebody_goes_on_after_it() {
        let mut first = Hearers { forgotten: Some(0), ..Hearers::default() };
        let told = first.enlist(&port("a", 1), 1);
        assert_eq!(first.lost(1), Some(Lost { ports: vec![(port("a", 1), false)], others: false }));
        told.store(1, Ordering::Relaxed);
        let mut next = restarted(&first, 1);
        assert_eq!(["a", "b"].map(|name| heard(&next.enlist(&port(name, 1), 1))), [1, 0]);
        let late = first.enlist(&port("late", 1), 1);
        first.settle(1);
        assert_eq!(first.lost(1), Some(Lost { ports: vec![(port("late", 1), false)], others: true }));
        late.store(1, Ordering::Relaxed);
        assert_eq!(first.lost(1), None);
        assert_eq!(heard(&first.enlist(&port("b", 1), 1)), 0, "as long as this process lives");
        assert!(first.lost(2).is_some_and(|lost| !lost.others), "another one");
    }

    /// It is not there while somebody else hears, and goes on.
    #[test]
    fn who_was_here_when_all_had_yet_to_hear_hears_whoever_goes_on_before() {
        let mut first = Hearers::default();
        let _here = ["a", "b"].map(|name| first.enlist(&port(name, 1), 0));
        first.forgotten = Some(0);
        let mut next = restarted(&first, 1);
        let told = next.enlist(&port("a", 1), 1);
        assert_eq!(told.swap(1, Ordering::Relaxed), 0);
        next.settle(1);
        let mut again = restarted(&next, 1);
        assert_eq!(["a", "b", "c"].map(|name| heard(&again.enlist(&port(name, 1), 1))), [1, 0, 1]);
    }

    #[test]
    fn more_than_can_be_saved_have_all_yet_to_hear() {
        let mut hearers = Hearers::default();
        let _present: Vec<_> = (0..=LOST_PORTS).map(|n| hearers.enlist(&port(&format!("h{n}"), 1), 0)).collect();
        assert_eq!(hearers.lost(1), Some(Lost::UNHEARD));
    }
}
