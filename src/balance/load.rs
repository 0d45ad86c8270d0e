//! How busy a core is: the share of the time in which it neither slept nor looked for work in vain. What comes of it is
//! in `shard/shedding.rs`.
//!
//! [`Meter`] is the core's own; what the others see is in `world/load.rs`. A spin is measured with the clock that it
//! looks at anyway, a sleep from the time of the turn; only a core that sleeps after it has worked reads the clock once
//! more. Time in which another thread has the processor counts as work, for this one cannot have it.
//!
//! A core without a spin submits what it has and sleeps in one call. The work that is done in that call does not show
//! in these times, so the processor time of its thread is asked, too.

use crate::ring::Wait;
use std::time::{Duration, Instant};

/// The time over which the load of a core is averaged.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Measures one core.
pub struct Meter {
    /// Nothing is measured for a core that is alone.
    on: bool,
    began: Instant,
    idle: Duration,
    resting: Option<Instant>,
    /// The turn before has left something to do.
    queued: bool,
    /// Processor time of the thread when the period began; `None`: it is not asked.
    processor: Option<Duration>,
}

impl Meter {
    /// A meter that measures from `now` on, if it is `on`. `spins`: the core spins before it sleeps.
    pub fn new(now: Instant, on: bool, spins: bool) -> Meter {
        let processor = (on && !spins).then(thread_time);
        Meter { on, began: now, idle: Duration::ZERO, resting: None, queued: false, processor }
    }

    /// A turn begins.
    #[inline]
    pub fn wakes(&mut self, now: Instant) {
        if let Some(since) = self.resting.take() {
            self.idle += now.saturating_duration_since(since);
        }
    }

    /// A turn that began at `now` ends with `wait`. `worked`: there were completions; `queued`: something is left to do.
    #[inline]
    pub fn rests(&mut self, now: Instant, worked: bool, wait: Wait, queued: bool) {
        if self.on {
            let worked = std::mem::replace(&mut self.queued, queued) || worked;
            self.resting = matches!(wait, Wait::AtMost(_)).then(|| if worked { Instant::now() } else { now });
        }
    }

    /// How busy the core was, parts of a thousand, when a period is over. `spun`: how long it has spun since that was
    /// asked last.
    pub fn measure(&mut self, now: Instant, spun: impl FnOnce() -> Duration) -> Option<u32> {
        let period = now.saturating_duration_since(self.began);
        if !self.on || period < PERIOD {
            return None;
        }
        let mut busy = period.saturating_sub(std::mem::take(&mut self.idle)).saturating_sub(spun());
        if let Some(before) = &mut self.processor {
            let now = thread_time();
            busy = busy.max(now.saturating_sub(std::mem::replace(before, now)));
        }
        self.began = now;
        Some((busy.as_micros() * 1000 / period.as_micros().max(1)).min(1000) as u32)
    }
}

/// The processor time of this thread.
#[allow(unsafe_code)]
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills a local; where it fails, the zeroes stay.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What a core remembers from one period to the next.
#[derive(Default)]
pub struct Balance {
    /// Periods in a row that it has been saturated.
    pub saturated: u32,
    /// What each session had done when the last period ended: serial number, work.
    pub done: Vec<(u64, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_sleep_nor_spin_is_work() {
        let mut now = Instant::now();
        let mut meter = Meter::new(now, true, true);
        let mut turn = |worked, wait, queued, ms| {
            meter.wakes(now);
            meter.rests(now, worked, wait, queued);
            now += Duration::from_millis(ms);
        };
        turn(true, Wait::No, false, 100);
        turn(false, Wait::No, true, 100);
        turn(false, Wait::No, false, 200);
        turn(false, Wait::AtMost(PERIOD), false, 600);
        meter.wakes(now);
        assert_eq!(meter.measure(now, || Duration::from_millis(150)), Some(250));
        assert_eq!(meter.measure(now, || panic!("a new period")), None);
        assert_eq!(meter.measure(now + PERIOD, Duration::default), Some(1000));
    }

    #[test]
    fn without_a_spin_the_processor_is_asked() {
        let now = Instant::now();
        let mut meter = Meter::new(now, true, false);
        meter.rests(now, false, Wait::AtMost(PERIOD), false);
        while thread_time() < meter.processor.unwrap() + PERIOD / 50 {
            std::hint::spin_loop();
        }
        meter.wakes(now + PERIOD);
        assert!(meter.measure(now + PERIOD, Duration::default).is_some_and(|busy| busy >= 20));
    }

    #[test]
    fn alone_nothing_is_measured() {
        let now = Instant::now();
        let mut meter = Meter::new(now, false, false);
        meter.rests(now, false, Wait::AtMost(PERIOD), false);
        meter.wakes(now + PERIOD);
        assert_eq!((meter.idle, meter.measure(now + PERIOD, Duration::default)), (Duration::ZERO, None));
    }
}
