//! Which failures to make writes durable each nexus has been told of.
//!
//! Such a failure is the medium's: what was lost may be what any host has written. They are counted elsewhere; here is, for
//! each I_T_L nexus, up to which it has heard. It hears with its own next flush or durable write, once.
//!
//! A host that logs in anew has perhaps written before: what it was answered GOOD for then may be lost by now, and nobody
//! was there to be told. So a new nexus begins with what its initiator port had heard of when it was last here; one of a port
//! that was never here with what its initiator has, by whichever port. Of those who are gone a bounded number is remembered;
//! when one has to be forgotten, ports that nobody knows are taken to be it.

use super::unit::{LogicalUnit, LuNexus};
use crate::limits::ABSENT_HEARERS;
use crate::model::InitiatorPort;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All that are here, and those that were.
#[derive(Debug, Default)]
pub(super) struct Hearers {
    list: Vec<Hearer>,
    /// What the least informed of those had heard of who had to be forgotten.
    forgotten: Option<u64>,
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

impl LogicalUnit {
    /// What was lost may be of before this unit was here: of no port is known what it has written. Each hears of it once.
    pub fn nobody_has_heard(&self) {
        self.state().hearers.forgotten = Some(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IscsiName;
    use crate::wire::Isid;

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
}
