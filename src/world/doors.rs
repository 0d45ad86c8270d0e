//! Who is let in: bounds on connections in all and from one address, and on guesses at secrets. [`Doors`] counts for the
//! process. (Logins under way are bounded by each core.)
//!
//! Invariants: a [`Ticket`] is one connection, from accept to the closing of its socket, on whatever core it is. Nothing
//! here is on the way of a command.

use crate::limits::{
    FAILED_LOGIN_ADDRESSES, FAILED_LOGIN_DELAY_MS, FAILED_LOGIN_MEMORY_MS, FAILED_LOGIN_MOST_MS, RESERVED_DESCRIPTORS,
};
use crate::model::{Address, Host};
use crate::panics::Mutex;
use procfs::process::{LimitValue, Process};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Why a connection is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The bound of the process.
    #[error("{0} connections are open")]
    All(usize),
    /// The bound of one address.
    #[error("{0} connections from this address are open")]
    Address(usize),
    /// The bound of one host: the places that are left are for others.
    #[error("{0} connections from its network are open")]
    Host(usize),
}

/// What is counted.
#[derive(Debug, Default)]
struct Counts {
    /// Connections of the process.
    all: usize,
    /// Those of each address.
    by_address: HashMap<Address, usize>,
    /// Those of each host.
    by_host: HashMap<Host, usize>,
    /// Authentications that failed, of each host.
    failures: HashMap<Host, Failures>,
}

/// Authentications of one host that failed.
#[derive(Debug, Clone, Copy)]
struct Failures {
    /// How many.
    count: u32,
    /// When the last one did, milliseconds.
    last_ms: u64,
    /// Until then nobody at the host is told what a proof has come to, milliseconds.
    silent_until_ms: u64,
}

/// Counts the connections of the process.
#[derive(Debug)]
pub struct Doors {
    /// How many connections there may be.
    most: AtomicUsize,
    /// How many of one address.
    most_per_address: AtomicUsize,
    /// There are descriptors for so many connections.
    most_open: AtomicUsize,
    /// How many there are.
    counts: Mutex<Counts>,
}

impl Doors {
    /// For at most `most` connections, and `most_per_address` from one address.
    pub fn new(most: usize, most_per_address: usize) -> Arc<Doors> {
        let (most, most_per_address) = (AtomicUsize::new(most), AtomicUsize::new(most_per_address));
        Arc::new(Doors { most, most_per_address, most_open: AtomicUsize::new(usize::MAX), counts: Mutex::default() })
    }

    /// Lets in no more than there are descriptors for, beside all that is open now and a reserve. Blocking.
    pub fn fit_descriptors(&self) {
        let Ok(process) = Process::myself() else { return };
        let (Ok(limits), Ok(open)) = (process.limits(), process.fd_count()) else { return };
        let LimitValue::Value(limit) = limits.max_open_files.soft_limit else { return };
        let connections = self.counts.lock().all;
        let most_open = room(usize::try_from(limit).unwrap_or(usize::MAX), open.saturating_sub(connections));
        let before = self.most_open.swap(most_open, Ordering::Relaxed);
        let most = self.most.load(Ordering::Relaxed);
        if most_open < most && before >= most {
            tracing::warn!(
                "{limit} open files are allowed, which is room for {most_open} connections, not for {most}: raise the limit \
                 (ulimit -n, or LimitNOFILE= in a unit file), or bound the connections"
            );
        }
    }

    /// Other bounds from now on. Connections that are beyond them stay.
    pub fn bound(&self, most: usize, most_per_address: usize) {
        self.most.store(most, Ordering::Relaxed);
        self.most_per_address.store(most_per_address, Ordering::Relaxed);
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.counts.lock().all
    }

    /// Lets a connection from `address` in.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn enter(self: &Arc<Doors>, address: Address) -> Result<Ticket, Full> {
        let mut counts = self.counts.lock();
        let most = self.most.load(Ordering::Relaxed).min(self.most_open.load(Ordering::Relaxed));
        // Whatever the bounds are, and with few places or descriptors too: a quarter is for other hosts.
        let per_host = most - most / 4;
        let per_address = self.most_per_address.load(Ordering::Relaxed).min(per_host);
        if counts.all >= most {
            return Err(Full::All(most));
        }
        if counts.by_address.get(&address).is_some_and(|count| *count >= per_address) {
            return Err(Full::Address(per_address));
        }
        if counts.by_host.get(&address.host()).is_some_and(|count| *count >= per_host) {
            return Err(Full::Host(per_host));
        }
        counts.all += 1;
        *counts.by_host.entry(address.host()).or_default() += 1;
        *counts.by_address.entry(address).or_default() += 1;
        Ok(Ticket { doors: Arc::clone(self), address })
    }

    /// Notes that an authentication from `host` has failed. The number of failures there lately, with this one, and
    /// when it is answered, milliseconds. `now_ms` may be that of any core.
    pub fn failed(&self, host: Host, now_ms: u64) -> (u32, u64) {
        let mut counts = self.counts.lock();
        let failures = &mut counts.failures;
        if !failures.contains_key(&host) && failures.len() >= FAILED_LOGIN_ADDRESSES {
            failures.retain(|_, known| known.last_ms.saturating_add(FAILED_LOGIN_MEMORY_MS) > now_ms);
            // So many hosts guess at the same time: the one that has been quiet for longest begins anew; of several, always the
            // same, however the map is laid out.
            let quiet = failures.iter().map(|(host, known)| (known.last_ms, *host)).min().map(|(_, host)| host);
            if let Some(quiet) = quiet.filter(|_| failures.len() >= FAILED_LOGIN_ADDRESSES) {
                failures.remove(&quiet);
            }
        }
        let known = failures.entry(host).or_insert(Failures { count: 0, last_ms: now_ms, silent_until_ms: 0 });
        if known.last_ms.saturating_add(FAILED_LOGIN_MEMORY_MS) <= now_ms {
            known.count = 0;
        }
        let delay_ms = (FAILED_LOGIN_DELAY_MS << known.count.min(u64::BITS / 2)).min(FAILED_LOGIN_MOST_MS);
        *known = Failures {
            count: known.count.saturating_add(1),
            last_ms: known.last_ms.max(now_ms),
            silent_until_ms: known.silent_until_ms.max(now_ms.saturating_add(delay_ms)),
        };
        (known.count, known.silent_until_ms)
    }

    /// When an authentication from `host` that was right is answered, milliseconds: no sooner than a wrong one would
    /// be. Otherwise who guesses would know a wrong secret by the silence that follows, and try the next.
    pub fn succeeded(&self, host: Host, now_ms: u64) -> u64 {
        let counts = self.counts.lock();
        counts.failures.get(&host).map_or(now_ms, |known| known.silent_until_ms.max(now_ms))
    }
}

/// For how many connections there are descriptors, when `limit` are allowed and `others` are in use for something else.
fn room(limit: usize, others: usize) -> usize {
    let free = limit.saturating_sub(others);
    free - RESERVED_DESCRIPTORS.min(free / 2)
}

/// A connection that was let in; gone when dropped.
#[derive(Debug)]
pub struct Ticket {
    /// Where it is counted.
    doors: Arc<Doors>,
    /// For whom.
    address: Address,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.doors.counts.lock();
        counts.all = counts.all.saturating_sub(1);
        one_less(&mut counts.by_address, self.address);
        one_less(&mut counts.by_host, self.address.host());
    }
}

/// Counts one less; who has none is forgotten.
fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::tests::at;
    use std::net::IpAddr;

    fn ip(text: &str) -> Address {
        Address::of(at(text))
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
        assert_eq!(doors.counts.lock().by_address.len(), 1, "an address without connections is forgotten");
    }

    #[test]
    fn an_address_does_not_have_all_places() {
        let doors = Doors::new(4, 9);
        let entered: Vec<_> = (0..3).map(|_| doors.enter(ip("192.0.2.1")).unwrap()).collect();
        assert_eq!(doors.enter(ip("192.0.2.1")).unwrap_err(), Full::Address(3));
        doors.most_open.store(8, Ordering::Relaxed);
        doors.bound(16, 9);
        let _more: Vec<_> = (3..6).map(|_| doors.enter(ip("192.0.2.1")).unwrap()).collect();
        assert_eq!(doors.enter(ip("192.0.2.1")).unwrap_err(), Full::Address(6));
        let _other = doors.enter(ip("192.0.2.2")).unwrap();
        drop(entered);
    }

    #[test]
    fn a_host_of_many_addresses_does_not_have_all_places_either() {
        let doors = Doors::new(16, 4);
        let enter = |n: u32| doors.enter(ip(&format!("2001:db8::{n:x}")));
        let entered: Vec<_> = (0..12).map(|n| enter(n).unwrap()).collect();
        assert_eq!(enter(12).unwrap_err(), Full::Host(12));
        let _other = doors.enter(ip("2001:db8:0:1::1")).unwrap();
        drop(entered);
        let left = |counts: &Counts| (counts.by_host.len(), counts.by_address.len());
        assert_eq!(left(&doors.counts.lock()), (1, 1));
        assert_eq!(doors.failed(ip("2001:db8::1").host(), 1_000).0, 1);
        assert_eq!(doors.failed(ip("2001:db8::2").host(), 1_000).0, 2);
    }

    #[test]
    fn doors_leave_descriptors_for_the_rest() {
        assert_eq!(room(1024, 100), 924 - RESERVED_DESCRIPTORS);
        assert_eq!((room(64, 34), room(64, 70)), (15, 0));
        let doors = Doors::new(3, 3);
        doors.most_open.store(1, Ordering::Relaxed);
        let _a = doors.enter(ip("192.0.2.1")).unwrap();
        assert_eq!(doors.enter(ip("192.0.2.2")).unwrap_err(), Full::All(1));
        doors.fit_descriptors();
        let _b = doors.enter(ip("192.0.2.2")).unwrap();
    }

    #[test]
    fn guesses_take_longer_and_longer() {
        let doors = Doors::new(1, 1);
        let delays: Vec<_> = (0..6).map(|_| doors.failed(ip("192.0.2.1").host(), 1_000)).collect();
        assert_eq!(delays, [(1, 1250), (2, 1500), (3, 2000), (4, 3000), (5, 5000), (6, 5000)]);
        assert_eq!(doors.failed(ip("192.0.2.2").host(), 1_000), (1, 1250), "another address");
        // Nor does the right one show by its answer, while a wrong one has none.
        let answered = |host, now_ms| doors.succeeded(ip(host).host(), now_ms);
        assert_eq!((answered("192.0.2.1", 1_001), answered("::ffff:192.0.2.1", 4_999)), (5_000, 5_000));
        assert_eq!((answered("192.0.2.1", 5_001), answered("192.0.2.3", 1_001)), (5_001, 1_001));
        assert_eq!(doors.failed(ip("::ffff:192.0.2.1").host(), 60_999).0, 7);
        assert_eq!(doors.failed(ip("192.0.2.1").host(), 120_999).0, 1, "it is forgotten");
        for host in 0..2 * FAILED_LOGIN_ADDRESSES as u32 {
            let address = IpAddr::from((0x0a00_0000 + host).to_be_bytes());
            doors.failed(Host::of((address, 1).into()), 121_000);
        }
        assert_eq!(doors.counts.lock().failures.len(), FAILED_LOGIN_ADDRESSES);
    }
}
