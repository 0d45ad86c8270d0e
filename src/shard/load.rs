//! How busy a core is: the share of the time in which it neither slept nor looked for work in vain; and once a period the
//! question whether a session is to move because of it.
//!
//! [`Meter`] is the core's own. It knows from the clock that is read once a turn anyway when a turn began that found nothing
//! to do; only a core that sleeps after it has worked reads it once more. [`Load`] is what the others see, without a lock.
//!
//! A core without a spin submits what it has and sleeps in one call: that submission counts as sleep. Time in which another
//! thread has the processor counts as work, for this one cannot have it.

use super::balance::{self, Use};
use super::core::Core;
use super::engine::{Engine, Seat};
use crate::ring::Wait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is measured is the mean over this.
pub const PERIOD: Duration = Duration::from_secs(1);
/// What was published longer ago than this is not known any more, milliseconds.
const STALE_MS: u64 = 4_000;
const PARTS_BITS: u32 = 16;

/// How busy a core is, for all to see: when that was measured, milliseconds by the clock of all cores, and parts of a
/// thousand. On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Load(AtomicU64);

impl Load {
    /// The core's own measurement.
    pub fn publish(&self, now_ms: u64, parts: u32) {
        self.0.store(now_ms << PARTS_BITS | u64::from(parts.min(1000)), Ordering::Relaxed);
    }

    /// How busy it is, parts of a thousand; `None`: it has not said so lately.
    pub fn busy(&self, now_ms: u64) -> Option<u32> {
        let word = self.0.load(Ordering::Relaxed);
        let (at_ms, parts) = (word >> PARTS_BITS, word & ((1 << PARTS_BITS) - 1));
        (word != 0 && now_ms.saturating_sub(at_ms) <= STALE_MS).then_some(parts as u32)
    }

    /// A session is on its way there that will use so much: until the next measurement others are to see that.
    pub fn expect(&self, parts: u32) {
        let more = |word: u64| {
            let now = word & ((1 << PARTS_BITS) - 1);
            Some((word & !((1 << PARTS_BITS) - 1)) | (now + u64::from(parts)).min(1000))
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

/// Measures one core.
pub struct Meter {
    /// Nothing is measured for a core that is alone.
    on: bool,
    began: Instant,
    idle: Duration,
    resting: Option<Instant>,
}

impl Meter {
    /// From now on.
    pub fn new(now: Instant, on: bool) -> Meter {
        Meter { on, began: now, idle: Duration::ZERO, resting: None }
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
            self.resting = match (worked, wait) {
                (false, Wait::No) => (!queued).then_some(now),
                (false, Wait::AtMost(_)) => Some(now),
                (true, Wait::No) => None,
                (true, Wait::AtMost(_)) => Some(Instant::now()),
            };
        }
    }

    /// When a period is over: how busy the core was in it, parts of a thousand.
    pub fn measure(&mut self, now: Instant) -> Option<u32> {
        let period = now.saturating_duration_since(self.began);
        if !self.on || period < PERIOD {
            return None;
        }
        let idle = std::mem::take(&mut self.idle);
        self.began = now;
        let busy = period.saturating_sub(idle).as_micros() * 1000 / period.as_micros().max(1);
        Some(busy.min(1000) as u32)
    }
}

/// What a core remembers from one period to the next.
#[derive(Default)]
pub struct Balance {
    /// Periods in a row that it has been saturated.
    saturated: u32,
    /// What each session had done when the last one ended: serial number, work.
    done: Vec<(u64, u64)>,
}

impl Engine {
    /// What a session has done since it began: commands, where so many bytes count as one.
    fn work_of(&self, seat: &Seat) -> u64 {
        const BYTES: u64 = 16 << 10;
        let of = |(nexus, unit): (&crate::scsi::LuNexus, &usize)| {
            let (commands, blocks) = nexus.done();
            let block_bytes = self.world.units.get(*unit).map_or(0, |unit| u64::from(unit.block_bytes));
            commands.wrapping_add(blocks.wrapping_mul(block_bytes) / BYTES)
        };
        seat.nexus.iter().zip(&seat.map.units).map(of).fold(0, u64::wrapping_add)
    }
}

impl Core {
    /// A period may be over: says how busy this core was, and has a session move if that pays.
    pub(super) fn balance(&mut self, now: Instant) {
        let Some(busy) = self.meter.measure(now) else { return };
        let (world, core) = (Arc::clone(&self.engine.world), self.engine.core);
        if let Some(load) = world.loads.get(core) {
            load.publish(self.engine.now_ms, busy);
        }
        if busy < balance::SATURATED || self.relocation.is_some() {
            self.balance.saturated = 0;
            return self.balance.done.clear();
        }
        let uses = self.uses();
        self.balance.saturated += 1;
        if self.balance.saturated < balance::PERIODS {
            return;
        }
        let busy: Vec<_> = world.loads.iter().map(|load| load.busy(self.engine.now_ms)).collect();
        if let Some(choice) = balance::choose(core, &busy, &uses)
            && self.begin_move(choice.seat, choice.to)
        {
            self.balance.saturated = balance::PERIODS.saturating_sub(balance::PAUSE);
            if let Some(load) = world.loads.get(choice.to) {
                load.expect(choice.share);
            }
        }
    }

    /// What the sessions did since the last period: nothing, if that is not known.
    fn uses(&mut self) -> Vec<Use> {
        let before = std::mem::take(&mut self.balance.done);
        let mut uses = Vec::new();
        for (seat, holder) in self.engine.seats.iter().enumerate() {
            let Some(holder) = holder.as_deref().filter(|holder| !holder.ended) else { continue };
            let done = self.engine.work_of(holder);
            let was = before.iter().find(|(serial, _)| *serial == holder.serial).map_or(done, |(_, done)| *done);
            let settled = holder.stays_until_ms > self.engine.now_ms || !self.engine.is_movable(seat);
            uses.push(Use { seat, work: done.saturating_sub(was), settled });
            self.balance.done.push((holder.serial, done));
        }
        uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_sleep_nor_spin_is_work() {
        let mut now = Instant::now();
        let mut meter = Meter::new(now, true);
        let mut turn = |worked, wait, queued, ms| {
            meter.wakes(now);
            meter.rests(now, worked, wait, queued);
            now += Duration::from_millis(ms);
        };
        turn(true, Wait::No, true, 100);
        turn(false, Wait::No, true, 100);
        turn(false, Wait::No, false, 200);
        turn(false, Wait::AtMost(PERIOD), false, 600);
        meter.wakes(now);
        assert_eq!(meter.measure(now), Some(200));
        assert_eq!(meter.measure(now), None, "a new period");
        assert_eq!(meter.measure(now + PERIOD), Some(1000));
    }

    #[test]
    fn alone_nothing_is_measured() {
        let now = Instant::now();
        let mut meter = Meter::new(now, false);
        meter.rests(now, false, Wait::No, false);
        meter.wakes(now + PERIOD);
        assert_eq!((meter.idle, meter.measure(now + PERIOD)), (Duration::ZERO, None));
    }

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
