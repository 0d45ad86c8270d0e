//! What the sessions of one core keep for later, counted together.
//!
//! Each thing that is kept has a [`Held`] of its own, which gives back what it was charged when it is dropped, wherever that
//! is. With too much in a [`Store`] ([`Store::is_crowded`]) each session keeps little, so that many of them come to no more
//! than the bound, and that little for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
struct Total {
    used: AtomicUsize,
    most: usize,
}

/// Counts what is kept: one for the sessions of a core. Clones count together.
#[derive(Debug, Clone)]
pub struct Store(Arc<Total>);

impl Store {
    /// Crowded from `most` bytes on.
    pub fn new(most: usize) -> Store {
        Store(Arc::new(Total { used: AtomicUsize::new(0), most }))
    }

    /// So much is kept that each is to keep little.
    pub fn is_crowded(&self) -> bool {
        self.used() >= self.0.most
    }

    /// Bytes that are kept.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// For something that is kept here, `bytes` long.
    pub(super) fn hold(&self, bytes: usize) -> Held {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        Held { store: self.clone(), bytes }
    }
}

/// Of a session that nobody counts with others: it is never crowded.
impl Default for Store {
    fn default() -> Store {
        Store::new(usize::MAX)
    }
}

/// What something that is kept is charged; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    store: Store,
    bytes: usize,
}

impl Held {
    /// Bytes that it is charged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// It is `bytes` long now.
    pub fn set(&mut self, bytes: usize) {
        let used = &self.store.0.used;
        if bytes > self.bytes {
            used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }

    /// Whether too much is kept where it is.
    pub fn is_crowded(&self) -> bool {
        self.store.is_crowded()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}
