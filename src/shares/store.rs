//! What the sessions of one core keep for later, counted together, and for each host.
//!
//! Each thing that is kept has a [`Held`] of its own, which gives back what it was charged when it is dropped, wherever
//! that is. A session whose [`Store`] is crowded ([`Store::is_crowded`]) keeps little. So one host comes to little more
//! than its part, many together to little more than the bound, and a little is left to every other one.
//!
//! | bytes that are kept | stores that are crowded |
//! |---|---|
//! | by a host: its part or more | those of that host |
//! | by all: the bound or more | those of hosts with 1 / `KEPT_PARTS_OF_A_HOST_BESIDE` of the bound or more |
//! | by all: twice the bound or more | all |

use crate::limits::{KEPT_PARTS_OF_A_HOST, KEPT_PARTS_OF_A_HOST_BESIDE};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are kept, and how many may be.
#[derive(Debug)]
struct Total {
    /// Bytes that are kept.
    used: AtomicUsize,
    /// How many may be.
    most: usize,
}

impl Total {
    fn new(most: usize) -> Arc<Total> {
        Arc::new(Total { used: AtomicUsize::new(0), most })
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Counts what the sessions of one host keep on one core. Clones count together.
#[derive(Debug, Clone)]
pub struct Store {
    /// What all hosts keep.
    all: Arc<Total>,
    /// What this host keeps of that; its `most` is the host's part.
    own: Arc<Total>,
}

impl Store {
    /// The store of a host that may have all of the core's bound, which is `most` bytes.
    pub fn new(most: usize) -> Store {
        Store { all: Total::new(most), own: Total::new(most) }
    }

    /// A store of another host on the same core: it shares the bound, and has a part of it.
    #[must_use]
    pub fn of_another_host(&self) -> Store {
        Store { all: Arc::clone(&self.all), own: Total::new(self.all.most / KEPT_PARTS_OF_A_HOST) }
    }

    /// Whether this is the only store of its host: no session and nothing that is kept counts in it.
    pub fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.own) == 1
    }

    /// Whether so much is kept that each session of this host is to keep little (see the table above).
    pub fn is_crowded(&self) -> bool {
        let (all, own) = (self.used(), self.own.used());
        let beside = self.all.most / KEPT_PARTS_OF_A_HOST_BESIDE;
        own >= self.own.most || all >= self.all.most && (own >= beside || all - self.all.most >= self.all.most)
    }

    /// Bytes that are kept, by all hosts.
    pub fn used(&self) -> usize {
        self.all.used()
    }

    /// Charges `bytes` to this store, until what is returned is dropped.
    pub fn hold(&self, bytes: usize) -> Held {
        let mut held = Held { store: self.clone(), bytes: 0 };
        held.set(bytes);
        held
    }
}

/// A store that counts with no other and is never crowded.
impl Default for Store {
    fn default() -> Store {
        Store::new(usize::MAX)
    }
}

/// What one thing that is kept is charged. The charge is given back when this is dropped.
#[derive(Debug, Default)]
pub struct Held {
    /// What it is charged to.
    store: Store,
    /// Bytes.
    bytes: usize,
}

impl Held {
    /// Bytes that it is charged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes the charge to `bytes`.
    pub fn set(&mut self, bytes: usize) {
        for total in [&self.store.all, &self.store.own] {
            if bytes > self.bytes {
                total.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
            } else {
                total.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            }
        }
        self.bytes = bytes;
    }

    /// Whether the store that is charged is crowded.
    pub fn is_crowded(&self) -> bool {
        self.store.is_crowded()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64 << 10;

    #[test]
    fn one_host_leaves_others_what_they_keep() {
        let all = Store::new(MOST);
        let [one, other] = [(); 2].map(|()| all.of_another_host());
        let kept: Vec<Held> = std::iter::from_fn(|| (!one.is_crowded()).then(|| one.hold(512))).collect();
        assert_eq!((kept.len() * 512, other.is_crowded()), (MOST / KEPT_PARTS_OF_A_HOST, false));
        drop(kept);
        assert_eq!((all.used(), one.is_crowded()), (0, false));
    }

    #[test]
    fn many_hosts_leave_one_more_a_little() {
        let all = Store::new(MOST);
        let mut kept = Vec::new();
        while all.used() < MOST {
            let host = all.of_another_host();
            while !host.is_crowded() && all.used() < MOST {
                kept.push(host.hold(512));
            }
        }
        let late = all.of_another_host();
        let little: Vec<Held> = std::iter::from_fn(|| (!late.is_crowded()).then(|| late.hold(64))).collect();
        assert_eq!(little.len() * 64, MOST / KEPT_PARTS_OF_A_HOST_BESIDE);
        // However many there are.
        let count = std::iter::from_fn(|| {
            let host = all.of_another_host();
            while !host.is_crowded() {
                kept.push(host.hold(512));
            }
            (all.used() < 2 * MOST).then_some(())
        });
        assert!(count.take(1000).count() < 1000);
        assert!(all.of_another_host().is_crowded());
    }
}
