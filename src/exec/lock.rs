//! Jobs that wait to have a range for themselves (COMPARE AND WRITE, ORWRITE, WRITE ATOMIC, erasing); and whose turn it
//! is to make a hole in a file (`waits/holes.rs`).
//!
//! They are served in the order in which they asked, [`FED_PER_TURN`] in a turn. Who only waits for a range to be free
//! goes before them (`Executor::retry_held`): they cannot keep a lock from its range, for once it has the range it
//! waits for them to be done. So nobody waits for ever, whatever the others ask for.

use super::executor::Executor;
use crate::backend::Op;
use crate::canary::{Canary, sings};
use crate::limits::{FED_PER_TURN, STRAY_WAIT_MS};
use crate::missing::missing;
use crate::model::UnitIx;
use crate::scsi::Outcome;
use crate::unit::fence::Lock;
use crate::waits::cell::Cell1;
use crate::waits::ranges::Locking;

impl Executor {
    /// A job wants a range. It has it at once if nobody waits for anything.
    pub fn lock_for(&mut self, job: usize, (offset, len): (u64, u64), cell: Cell1<()>) {
        let is_first = !self.waits_for_ranges();
        if let Some(Some(job)) = self.running.jobs.get_mut(job) {
            job.ranges.is_locking = true;
        } else {
            missing("a job");
        }
        self.waits.ranges.locking.push_back(Locking { job, offset, len, cell, lock: None, since_ms: self.turn.now_ms });
        if is_first {
            self.advance_locks();
        }
    }

    /// Goes on with the jobs that wait to have a range for themselves.
    pub fn advance_locks(&mut self) {
        for _ in 0..self.waits.ranges.locking.len().min(FED_PER_TURN) {
            let Some(waiting) = self.waits.ranges.locking.pop_front() else { return };
            self.give_up_locking(&waiting);
            if let Some(waiting) = self.advance_lock(waiting) {
                self.waits.ranges.locking.push_back(waiting);
            }
        }
    }

    /// Goes on with one job; it comes back if it has to wait.
    fn advance_lock(&mut self, mut waiting: Locking) -> Option<Locking> {
        let Some(job) = self.running.jobs.get_mut(waiting.job).and_then(Option::as_mut).filter(|job| !job.cancelled)
        else {
            self.unlock(waiting.lock);
            return None;
        };
        let fence = &self.media.units[job.unit].fence;
        if waiting.lock.is_none() {
            waiting.lock = fence.lock(waiting.offset, waiting.len).map(|lock| (lock, job.unit));
        }
        if !waiting.lock.as_ref().is_some_and(|(lock, _)| sings(Canary::LockedTooEarly) || fence.is_drained(lock)) {
            return Some(waiting);
        }
        job.ranges.is_locking = false;
        match waiting.lock {
            Some((lock, _)) if sings(Canary::RangeNotHeld) => fence.unlock(lock),
            lock => job.ranges.locks.extend(lock.map(|(lock, _)| lock)),
        }
        waiting.cell.set(Some(()));
        self.run_soon(waiting.job);
        None
    }

    /// A job has ended: gives back what it waited for, or had got of it.
    pub fn forget_locking(&mut self, job: usize) {
        let mut gone = Vec::new();
        while let Some(at) = self.waits.ranges.locking.iter().position(|waiting| waiting.job == job) {
            gone.extend(self.waits.ranges.locking.remove(at));
        }
        gone.into_iter().for_each(|waiting| self.unlock(waiting.lock));
    }

    /// Gives back a range that a job had got, if it had.
    fn unlock(&self, lock: Option<(Lock, UnitIx)>) {
        if let Some((lock, unit)) = lock {
            self.media.units[unit].fence.unlock(lock);
        }
    }

    /// Ends a job that has waited long enough for a range: a stray is in its way, or reads that their peers do not take.
    fn give_up_locking(&mut self, waiting: &Locking) {
        let Locking { job: number, offset, len, since_ms, ref lock, .. } = *waiting;
        let late = self.turn.now_ms >= since_ms.saturating_add(STRAY_WAIT_MS);
        let waits_for_reads =
            || lock.as_ref().is_some_and(|(lock, unit)| self.media.units[*unit].fence.waits_for_reads(lock));
        if let Some(Some(job)) = self.running.jobs.get(number)
            && (self.is_given_up(job.unit, (offset, len), since_ms) || late && waits_for_reads())
        {
            self.give_up(number, Outcome::BUSY);
        }
    }
}

impl Executor {
    /// The unit, if an operation makes a hole in its file.
    pub fn hole_of(&self, unit: UnitIx, op: &Op) -> Option<UnitIx> {
        let is_hole =
            matches!(op, Op::Discard { .. } | Op::Zero { .. }) && self.media.units[unit].medium.is_regular_file();
        is_hole.then_some(unit)
    }

    /// The next job has its turn to make a hole.
    pub fn hole_over(&mut self, unit: UnitIx) {
        if let Some(next) = self.waits.ranges.holes.leave(unit) {
            self.run_soon(next);
        }
    }
}
