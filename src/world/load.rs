//! How busy each core is, as the others see it, without a lock. It is measured in `balance/load.rs`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A load that was published longer ago than this is not known any more, milliseconds.
const STALE_MS: u64 = 4_000;
const PARTS_BITS: u32 = 16;

/// How busy a core is, for all to see: when that was measured, milliseconds by the clock of all cores, and parts of a
/// thousand. On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Load {
    word: AtomicU64,
    /// How often it has said that it is awake.
    beats: AtomicU64,
}

impl Load {
    /// Publishes the core's own measurement, parts of a thousand.
    pub fn publish(&self, now_ms: u64, parts: u32) {
        self.word.store(now_ms << PARTS_BITS | u64::from(parts.min(1000)), Ordering::Relaxed);
    }

    /// The core is awake. It says so itself, every [`super::clock::BEAT`] unless it sleeps, and at least every
    /// [`super::clock::REST_MS`] then.
    pub fn beat(&self) {
        self.beats.store(self.beats().wrapping_add(1), Ordering::Relaxed);
    }

    /// How often it has said so. Whoever looks twice, and finds the same after seconds, has found one that is stuck.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// How busy it is, parts of a thousand; `None`: it has not said so lately.
    pub fn busy(&self, now_ms: u64) -> Option<u32> {
        let word = self.word.load(Ordering::Relaxed);
        let (at_ms, parts) = (word >> PARTS_BITS, word & ((1 << PARTS_BITS) - 1));
        (word != 0 && now_ms.saturating_sub(at_ms) <= STALE_MS).then_some(parts as u32)
    }

    /// Adds what a session will use that is on its way to this core, parts of a thousand: others are to see that until
    /// the next measurement.
    pub fn expect(&self, parts: u32) {
        let more = |word: u64| {
            let now = word & ((1 << PARTS_BITS) - 1);
            Some((word & !((1 << PARTS_BITS) - 1)) | (now + u64::from(parts)).min(1000))
        };
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_see_it_while_it_is_fresh() {
        let load = Load::default();
        assert_eq!(load.busy(0), None);
        load.publish(5000, 300);
        assert_eq!((load.busy(4999), load.busy(9000), load.busy(9001)), (Some(300), Some(300), None));
        load.expect(400);
        assert_eq!(load.busy(5000), Some(700));
        load.expect(400);
        assert_eq!(load.busy(5000), Some(1000));
    }
}
