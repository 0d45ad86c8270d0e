//! Who is let in: bounds on connections in all and from one address, on logins under way, and on log lines about them.
//!
//! [`Doors`] counts for the process, [`HalfOpen`] and [`Noise`] for one core.
//!
//! Invariants: a [`Ticket`] is one connection, from accept to the closing of its socket, on whatever core it is. Nothing
//! here is on the way of a command.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Lines about connections that were refused, each second and core. A flood must not turn into a flood of log lines.
const LINES_PER_SECOND: u32 = 20;

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The bound of the process.
    #[error("{0} connections are open")]
    All(usize),
    /// The bound of one address.
    #[error("{0} connections from this address are open")]
    Address(usize),
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Counts the connections of the process.
#[derive(Debug)]
pub struct Doors {
    most: AtomicUsize,
    most_per_address: AtomicUsize,
    counts: Mutex<Counts>,
}

impl Doors {
    /// For at most `most` connections, and `most_per_address` from one address.
    pub fn new(most: usize, most_per_address: usize) -> Arc<Doors> {
        let (most, most_per_address) = (AtomicUsize::new(most), AtomicUsize::new(most_per_address));
        Arc::new(Doors { most, most_per_address, counts: Mutex::default() })
    }

    /// Other bounds from now on. Connections that are beyond them stay.
    pub fn bound(&self, most: usize, most_per_address: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.most_per_address.store(most_per_address, Ordering::Relaxed);
    }

    /// Lets a connection from `address` in.
    pub fn enter(self: &Arc<Doors>, address: IpAddr) -> Result<Ticket, Full> {
        let address = address.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (most, per_address) = (self.most.load(Ordering::Relaxed), self.most_per_address.load(Ordering::Relaxed));
        if counts.all >= most {
            return Err(Full::All(most));
        }
        if counts.by_address.get(&address).is_some_and(|count| *count >= per_address) {
            return Err(Full::Address(per_address));
        }
        counts.all += 1;
        *counts.by_address.entry(address).or_default() += 1;
        Ok(Ticket { doors: Arc::clone(self), address })
    }
}

/// A connection that was let in; gone when dropped.
#[derive(Debug)]
pub struct Ticket {
    doors: Arc<Doors>,
    address: IpAddr,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.doors.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// The connections of one core that are logging in, the oldest first. Those that are through are forgotten when the next
/// one comes.
#[derive(Debug, Default)]
pub struct HalfOpen(VecDeque<(usize, SocketAddr)>);

impl HalfOpen {
    /// Notes connection number `conn`. `waits` says which of the others are still logging in. The one that is to make room,
    /// if there are now more than `most`, or more than `most_per_address` from one address: the oldest of those.
    pub fn enter(
        &mut self,
        conn: usize,
        peer: SocketAddr,
        (most, most_per_address): (usize, usize),
        waits: impl Fn(usize, SocketAddr) -> bool,
    ) -> Option<usize> {
        self.0.retain(|&(conn, peer)| waits(conn, peer));
        self.0.push_back((conn, peer));
        let address = peer.ip().to_canonical();
        let same = |other: &&(usize, SocketAddr)| other.1.ip().to_canonical() == address;
        if self.0.iter().filter(same).count() > most_per_address {
            return self.0.iter().find(same).map(|&(conn, _)| conn);
        }
        self.0.front().filter(|_| self.0.len() > most).map(|&(conn, _)| conn)
    }
}

/// Keeps a core from writing too many lines.
#[derive(Debug, Default)]
pub struct Noise {
    second: u64,
    lines: u32,
}

impl Noise {
    /// Whether there may be another line now; `None`: no. After a silence: how many were left out.
    pub fn line(&mut self, now_ms: u64) -> Option<u32> {
        let second = now_ms / 1000;
        let mut left_out = 0;
        if second != self.second {
            left_out = self.lines.saturating_sub(LINES_PER_SECOND);
            *self = Noise { second, lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        (self.lines <= LINES_PER_SECOND).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn doors_count_in_all_and_by_address() {
        let doors = Doors::new(3, 2);
        let a = doors.enter(ip("192.0.2.1")).unwrap();
        let _b = doors.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(doors.enter(ip("192.0.2.1")).unwrap_err(), Full::Address(2));
        let c = doors.enter(ip("192.0.2.2")).unwrap();
        assert_eq!(doors.enter(ip("192.0.2.3")).unwrap_err(), Full::All(3));
        drop(a);
        let _d = doors.enter(ip("192.0.2.1")).unwrap();
        drop(c);
        assert_eq!(doors.counts.lock().unwrap().by_address.len(), 1, "an address without connections is forgotten");
    }

    #[test]
    fn the_oldest_login_makes_room() {
        let at = |host: u8, port| SocketAddr::new(IpAddr::from([192, 0, 2, host]), port);
        let mut half_open = HalfOpen::default();
        let mut enter = |conn, peer, gone: &[usize]| half_open.enter(conn, peer, (4, 2), |c, _| !gone.contains(&c));
        assert_eq!(enter(0, at(1, 1), &[]), None);
        assert_eq!(enter(1, at(2, 1), &[]), None);
        assert_eq!(enter(2, at(1, 2), &[]), None);
        assert_eq!(enter(3, at(1, 3), &[]), Some(0), "of the same address");
        assert_eq!(enter(4, at(3, 1), &[0]), None);
        assert_eq!(enter(5, at(4, 1), &[]), Some(1), "of all");
        assert_eq!(enter(6, at(5, 1), &[1, 2, 3]), None);
    }

    #[test]
    fn a_flood_is_a_few_lines() {
        let mut noise = Noise::default();
        let lines = (0..1000).filter(|_| noise.line(5_500).is_some()).count();
        assert_eq!(lines, LINES_PER_SECOND as usize);
        assert_eq!(noise.line(6_000), Some(1000 - LINES_PER_SECOND));
        assert_eq!(noise.line(6_001), Some(0));
    }
}
