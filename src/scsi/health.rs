//! Whether the medium answers: what TEST UNIT READY tells path checkers (SPC-4 clause 6.47).
//!
//! A medium that can be lost (a file, a device) is asked by reading from it, at most once in [`VOUCHED_MS`]; what is read or
//! written all the time vouches for nothing, so that the data path has no part in this.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An answer of the medium is good for this long, milliseconds.
const VOUCHED_MS: u64 = 1000;

/// When the medium answered last.
#[derive(Debug, Default)]
pub(super) struct Health {
    can_be_lost: AtomicBool,
    /// Milliseconds until which the last answer is good; 0: it is to be asked.
    good_until_ms: AtomicU64,
}

impl Health {
    /// The medium need not be asked now.
    pub(super) fn is_known(&self, now_ms: u64) -> bool {
        !self.can_be_lost.load(Ordering::Relaxed) || now_ms < self.good_until_ms.load(Ordering::Relaxed)
    }

    /// The medium is to be asked next time.
    pub(super) fn doubt(&self) {
        self.good_until_ms.store(0, Ordering::Relaxed);
    }

    /// From now on the medium is asked; until then it is taken to answer.
    pub(super) fn watch(&self) {
        self.can_be_lost.store(true, Ordering::Relaxed);
    }

    /// The medium has answered what it was asked at `now_ms`.
    pub(super) fn vouch(&self, now_ms: u64) {
        self.good_until_ms.store(now_ms.saturating_add(VOUCHED_MS), Ordering::Relaxed);
    }
}
