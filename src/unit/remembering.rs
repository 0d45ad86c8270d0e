//! Whether it is being saved who has yet to hear of lost writes of a unit, for all cores.
//!
//! Invariants: one such save is on its way at a time. Who has news while one is gets another one behind it.

use crate::limits::OTHERS_HEAR_MS;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Whether it is being saved who has yet to hear of lost writes, for all cores.
#[derive(Default)]
pub struct Remembering {
    /// [`IDLE`], [`ON_ITS_WAY`] or [`AGAIN`].
    saving: AtomicU8,
    /// When a GOOD is to look whether others are still to hear, milliseconds; zero: never.
    look_ms: AtomicU64,
}

/// No save is on its way.
const IDLE: u8 = 0;
/// A save is on its way.
const ON_ITS_WAY: u8 = 1;
/// A save is on its way, and another one is to follow: there is news.
const AGAIN: u8 = 2;

impl Remembering {
    /// Notes that there is news. True: the caller is to begin with a save.
    pub fn want(&self) -> bool {
        self.saving.swap(AGAIN, Ordering::SeqCst) == IDLE
    }

    /// Somebody goes on, which is news or not. Whether it is to be looked who has settled.
    pub fn is_looked(&self, is_news: bool, now_ms: u64) -> bool {
        let look_ms = self.look_ms.load(Ordering::Relaxed);
        if is_news {
            self.look_ms.store(now_ms.saturating_add(OTHERS_HEAR_MS), Ordering::Relaxed);
        }
        is_news || look_ms > 0 && now_ms >= look_ms && self.look_ms.swap(0, Ordering::Relaxed) == look_ms
    }

    /// A save begins: to be called before it is looked what there is to save.
    pub fn begin(&self) {
        self.saving.store(ON_ITS_WAY, Ordering::SeqCst);
    }

    /// A save is over, whether it worked or not. True: there was news meanwhile, and the caller is to begin again.
    pub fn is_wanted_again(&self) -> bool {
        self.saving.compare_exchange(ON_ITS_WAY, IDLE, Ordering::SeqCst, Ordering::SeqCst).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_known_is_looked_after_once_when_others_have_gone_on_for_long() {
        let remembering = Remembering::default();
        let looks = [(false, 1), (true, 2), (false, 3), (true, 4), (false, 2 + OTHERS_HEAR_MS)];
        assert_eq!(looks.map(|(is_news, ms)| remembering.is_looked(is_news, ms)), [false, true, false, true, false]);
        assert_eq!([0, 1].map(|more| remembering.is_looked(false, 4 + OTHERS_HEAR_MS + more)), [true, false]);
    }
}
