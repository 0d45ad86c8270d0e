//! What is counted for a session, an address and a host at once, and bounded for each. A host may be all of a network
//! (`model/host.rs`), so an address has less than a host, and a session less than both.

use crate::model::{Address, Host};
use std::collections::HashMap;
use std::net::SocketAddr;

/// One of those that something is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum One {
    /// By its serial.
    Session(u64),
    /// An address.
    Address(Address),
    /// A host.
    Host(Host),
}

/// A session, with where it is.
#[derive(Debug, Clone, Copy)]
pub struct Whose([One; 3]);

impl Whose {
    /// The session with this serial number, whose initiator is at `peer`.
    pub fn of(serial: u64, peer: SocketAddr) -> Whose {
        Whose([One::Session(serial), One::Address(Address::of(peer)), One::Host(Host::of(peer))])
    }
}

/// How many of something each session, address and host has.
#[derive(Debug)]
pub struct Counts {
    /// The most of a session, an address and a host.
    most: [usize; 3],
    /// How many, by whom; who has none is not there.
    counts: HashMap<One, usize>,
}

impl Counts {
    /// `most`: of a session, an address and a host.
    pub fn new(most: [usize; 3]) -> Counts {
        Counts { most, counts: HashMap::new() }
    }

    /// Whether one of the three has as many as it may.
    pub fn is_full(&self, whose: Whose) -> bool {
        whose.0.iter().zip(self.most).any(|(one, most)| self.counts.get(one).is_some_and(|count| *count >= most))
    }

    /// Counts one more for each of the three.
    pub fn add(&mut self, whose: Whose) {
        whose.0.into_iter().for_each(|one| *self.counts.entry(one).or_default() += 1);
    }

    /// Counts one less for each of the three. Who has none is not remembered.
    pub fn remove(&mut self, whose: Whose) {
        for one in whose.0 {
            if let Some(count) = self.counts.get_mut(&one) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&one);
                }
            }
        }
    }

    /// Nobody has any.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}
