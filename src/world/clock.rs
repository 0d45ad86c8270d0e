//! The one clock that all cores go by. It stands still while the process or its machine does. What is looked at when
//! time has passed is in `tick.rs`.

use crate::limits::PAUSE_MS;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often clocks are looked at while something happens, milliseconds.
pub const TICK_MS: u64 = 250;
/// How long a core that has nothing to do sleeps at most: what else `tick` does is done that often, milliseconds.
pub const REST_MS: u64 = 1_000;
/// How often a core that is awake says so.
pub const BEAT: Duration = Duration::from_millis(500);
const _: () = assert!(PAUSE_MS > REST_MS + 2 * BEAT.as_millis() as u64);

/// The clock of all cores. It stands still while the process or its machine does: nobody was silent meanwhile, since nobody
/// listened.
pub struct Clock {
    epoch: Instant,
    /// When a core last said that it was awake.
    heard: Mutex<Instant>,
    stood_ns: AtomicU64,
    /// Milliseconds from 1970 to when this clock began, by what the machine's clock said at the last beat.
    began_ms: AtomicU64,
}

impl Clock {
    /// A clock that begins at `now`.
    pub fn new(now: Instant) -> Clock {
        Clock { epoch: now, heard: Mutex::new(now), stood_ns: AtomicU64::new(0), began_ms: AtomicU64::new(0) }
    }

    /// The time since the clock began, without the time for which it stood still, nanoseconds.
    #[inline]
    pub fn now_ns(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        since.saturating_sub(self.stood_ns.load(Ordering::Relaxed))
    }

    /// A core is awake: to be said every [`BEAT`], unless it sleeps. `wall`: what the machine's clock says.
    pub fn beat(&self, now: Instant, wall: SystemTime) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = now.saturating_duration_since(*heard);
        if silence >= Duration::from_millis(PAUSE_MS) {
            self.stood_ns.fetch_add(silence.as_nanos() as u64, Ordering::Relaxed);
            tracing::warn!("nothing ran here for {} ms: that time does not count for anybody", silence.as_millis());
        }
        *heard = (*heard).max(now);
        let since_1970 = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        self.began_ms.store(since_1970.saturating_sub(self.now_ns(now) / 1_000_000), Ordering::Relaxed);
    }

    /// What time it is by the machine's clock when it is `now_ms` by this one. A core that is awake looks every [`BEAT`].
    #[inline]
    pub fn since_1970_ms(&self, now_ms: u64) -> u64 {
        self.began_ms.load(Ordering::Relaxed).saturating_add(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_all_cores_does_not_count() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let (clock, wall) = (Clock::new(begin), SystemTime::now());
        let now_ms = |ms| clock.now_ns(at(ms)) / 1_000_000;
        // One core sleeps for long, another does not.
        (0..20).for_each(|beat| clock.beat(at(beat * 500), wall));
        assert_eq!(now_ms(9_600), 9_600);
        // Both were stopped, and both come late.
        clock.beat(at(60_000), wall);
        clock.beat(at(60_001), wall);
        assert_eq!(now_ms(60_001), 9_501);
        clock.beat(at(60_500), wall);
        assert_eq!(now_ms(60_500), 10_000);
    }
}
