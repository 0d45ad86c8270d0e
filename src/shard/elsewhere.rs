//! What a core asks others to abort: their mailboxes are as long, and what waits there comes before what others wait for.
//!
//! It is counted for who asks until they have answered, whoever still waits for that: of a session, an address and a host. A
//! host may be all of a network (`host.rs`), so the others have less each.

use super::host::{Address, Host};
use crate::limits::{ABORTS_ELSEWHERE, ABORTS_ELSEWHERE_OF_ADDRESS, ABORTS_ELSEWHERE_OF_SESSION};
use std::collections::HashMap;
use std::net::SocketAddr;

/// For whom something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asker {
    /// By its number.
    Session(u64),
    Address(Address),
    Host(Host),
}

impl Asker {
    /// What it may have asked for and not been answered.
    const fn bound(self) -> usize {
        match self {
            Asker::Session(_) => ABORTS_ELSEWHERE_OF_SESSION,
            Asker::Address(_) => ABORTS_ELSEWHERE_OF_ADDRESS,
            Asker::Host(_) => ABORTS_ELSEWHERE,
        }
    }
}

/// Who asks other cores: a session, with where it is.
#[derive(Debug, Clone, Copy)]
pub struct Asking([Asker; 3]);

impl Asking {
    /// The session with this number, whose initiator is there.
    pub fn of(serial: u64, peer: SocketAddr) -> Asking {
        Asking([Asker::Session(serial), Asker::Address(Address::of(peer)), Asker::Host(Host::of(peer))])
    }
}

/// What other cores were asked to abort and have not answered.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// By ticket: for whom, and how many cores have not answered.
    asked: HashMap<u32, (Asking, usize)>,
    counts: HashMap<Asker, usize>,
}

impl Elsewhere {
    /// So many other cores were asked to abort something. They answer with this ticket.
    pub fn ask(&mut self, ticket: u32, asking: Asking, cores: usize) {
        if cores > 0 {
            self.asked.insert(ticket, (asking, cores));
            asking.0.iter().for_each(|asker| *self.counts.entry(*asker).or_default() += 1);
        }
    }

    /// Whether so much was asked for that other cores have to do some of it before they are asked for more.
    pub fn is_too_much(&self, asking: Asking) -> bool {
        asking.0.iter().any(|asker| self.counts.get(asker).is_some_and(|count| *count >= asker.bound()))
    }

    /// One of the cores has answered.
    pub fn answered(&mut self, ticket: u32) {
        let Some((asking, cores)) = self.asked.get_mut(&ticket) else { return };
        *cores -= 1;
        if *cores > 0 {
            return;
        }
        let asking = *asking;
        self.asked.remove(&ticket);
        for asker in asking.0 {
            if let Some(count) = self.counts.get_mut(&asker) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&asker);
                }
            }
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
    use super::super::host::tests::at;
    use super::*;

    /// Sessions `from`.. of a peer ask, a function each after the other, until no more is taken: the tickets.
    fn fill(all: &mut Elsewhere, ip: &str, from: u64, sessions: u64) -> Vec<u32> {
        let mut tickets = Vec::new();
        for serial in from..from + sessions {
            let asking = Asking::of(serial, at(ip));
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
        assert!(!all.is_too_much(Asking::of(300, at("192.0.2.1"))));
        let one = Asking::of(0, at("2001:db8::1"));
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
