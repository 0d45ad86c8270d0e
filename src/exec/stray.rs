//! How operations outlive their tasks: the medium does not answer, and the initiator wants the task aborted. Those that
//! do are counted in `waits/strays.rs`.
//!
//! Data first: from the moment that a task is gone, a write of it that may still reach the medium keeps its range at
//! the unit's fence (`unit/fence.rs`), so that no later command, on any core, overtakes it.
//!
//! An abort waits a moment (`limits::ABORT_GRACE_MS`) for what is on the medium, for mostly that is over at once and
//! then nothing is left to care for. What is still under way after that becomes a stray: it keeps its buffer until the
//! medium answers, its result is dropped, and the task is let go of, so that the function is answered. Who wants those
//! blocks waits, and is answered BUSY or ABORTED COMMAND when that takes `limits::STRAY_WAIT_MS`.
//!
//! Bounded: with `limits::STRAYS_PER_UNIT` of a unit on a core, or half of its buffers in strays, commands that need
//! the medium are answered BUSY. This module also notices media that do not answer (`limits::MEDIUM_HANG_MS`), of which
//! TEST UNIT READY tells.

use super::executor::Executor;
use super::rw::task_in;
use crate::canary::{Canary, sings};
use crate::limits::{ABORT_GRACE_MS, MEDIUM_HANG_MS, STRAY_WAIT_MS};
use crate::missing::missing;
use crate::model::{PerUnit, SeatIx, TaskKey, UnitIx};
use crate::tasks::operations::Owner;
use crate::tasks::sink::Outside;
use crate::tasks::task::Kind;
use crate::waits::strays::{Claim, Hold, Leaving, Stray, Strays, kept};
use std::sync::atomic::Ordering;

impl Executor {
    /// An aborted task has something on the medium: gives it a moment, and nobody else the blocks that it writes.
    pub fn await_medium(&mut self, who: TaskKey) {
        self.keep_slices(who.seat, who.slot());
        self.strays.leaving.push_back(Leaving { who, until_ms: self.turn.now_ms + ABORT_GRACE_MS });
    }

    /// Lets go of the aborted tasks whose moment is over.
    pub fn expire_aborts(&mut self, out: &mut impl Outside) {
        // Whose moment began first has it over first: nobody behind one that goes on needs to be looked at.
        while let Some(leaving) = self.strays.leaving.front() {
            let (who, due) = (leaving.who, leaving.until_ms <= self.turn.now_ms);
            let stays = self.exec(who.seat, who.slot());
            let stays = stays.is_some_and(|e| e.task == who.task && e.aborted && !e.under_way.is_none());
            if stays && !due {
                return;
            }
            self.strays.leaving.pop_front();
            if stays {
                self.outlive(who.seat, who.slot(), out);
            }
        }
    }

    /// Takes a task off what it has on the medium, and lets go of it.
    #[cold]
    fn outlive(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) {
        let left = self.outlive_jobs(seat, slot) + self.outlive_slices(seat, slot);
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        exec.under_way.without(left);
        let unit = exec.unit;
        if let Some(left_out) = self.noise.line(self.turn.now_ms) {
            tracing::warn!(
                event = "task-outlived",
                %unit,
                operations = left,
                left_out,
                "a task was aborted while the medium does not answer: what it has there goes on without it"
            );
        }
        self.advance(seat, slot, out);
    }

    /// Keeps the ranges of what an aborted task is writing: the task is gone, and that is not to be overtaken.
    fn keep_slices(&mut self, seat: SeatIx, slot: usize) {
        let (units, core) = (PerUnit::clone(&self.media.units), self.core);
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let fence = &units[exec.unit].fence;
        if exec.kind == Kind::Read {
            return;
        }
        for slice in &mut exec.slices {
            let (start, len) = (exec.transfer.base + u64::from(slice.offset), u64::from(slice.len));
            slice.hold = slice.hold.take().and_then(|hold| kept(fence, core, hold, (start, len))).map(Hold::Kept);
        }
    }

    /// Like `keep_slices`, for what a job has on the medium, and for the ranges that it holds.
    pub fn keep_claims(&mut self, number: usize) {
        let Some(Some(job)) = self.running.jobs.get(number) else { return missing("a job") };
        if job.medium.in_flight == 0 {
            return;
        }
        for lock in &job.ranges.locks {
            self.media.units[job.unit].fence.set_stray(lock);
        }
        if let Some(Some(claim)) = self.operations.claim_of(number, job.medium.operation)
            && let Hold::Counted(ticket) = claim.hold
            && !ticket.is_read()
        {
            let fence = &self.media.units[claim.unit].fence;
            claim.hold = Hold::Kept(fence.keep(self.core, ticket, claim.offset, claim.len));
        }
    }

    /// Makes strays of the jobs of a task that have something on the medium; how many.
    fn outlive_jobs(&mut self, seat: SeatIx, slot: usize) -> u32 {
        let Some(exec) = self.exec(seat, slot) else {
            missing("a task");
            return 0;
        };
        let mut numbers = std::mem::take(&mut exec.under_way.jobs);
        let all = numbers.len();
        numbers.retain(|&number| {
            let job = self.running.jobs.get_mut(number).and_then(Option::as_mut);
            let Some(job) = job.filter(|job| job.is_for(seat, slot)) else {
                missing("a job");
                return false;
            };
            if job.medium.in_flight == 0 {
                return true;
            }
            job.task = None;
            self.let_stray(number);
            false
        });
        let left = (all - numbers.len()) as u32;
        if let Some(exec) = self.exec(seat, slot) {
            exec.under_way.jobs = numbers;
        } else {
            missing("a task");
        }
        left
    }

    /// Makes a stray of a job that nobody waits for any more: what it has on the medium counts at that unit until it is
    /// over. A read keeps nobody from its range.
    pub fn let_stray(&mut self, number: usize) {
        let Some(Some(job)) = self.running.jobs.get_mut(number) else { return missing("a job") };
        let unit = self.operations.unit_of(number, job.medium.operation).unwrap_or(job.unit);
        job.medium.stray = Some(unit);
        self.strays.enter(unit, 0);
        if let Some(claim) = self.operations.claim_of(number, job.medium.operation)
            && let Some(Claim { unit, hold: Hold::Counted(ticket), .. }) =
                claim.take_if(|claim| matches!(claim.hold, Hold::Counted(ticket) if ticket.is_read()))
        {
            self.media.units[unit].fence.leave(self.core, ticket);
        }
    }

    /// Makes strays of the operations on slices of a task; how many.
    fn outlive_slices(&mut self, seat: SeatIx, slot: usize) -> u32 {
        let Some(exec) = task_in(&mut self.clients, seat, slot) else {
            missing("a task");
            return 0;
        };
        let (unit, base) = (exec.unit, exec.transfer.base);
        let mut left = 0;
        for (owner, _) in self.operations.owners() {
            let Owner::Slice { seat: s, slot: t, offset } = *owner else { continue };
            if (s, t) != (seat, slot) {
                continue;
            }
            let Some(slice) = exec.slice_at(offset) else {
                missing("a slice");
                continue;
            };
            let (start, len, hold) = (base + u64::from(slice.offset), u64::from(slice.len), slice.hold.take());
            let Some(buf) = slice.buf.take() else {
                missing("a buffer");
                continue;
            };
            let kept = hold.and_then(|hold| kept(&self.media.units[unit].fence, self.core, hold, (start, len)));
            let kept = match kept {
                Some(lock) if sings(Canary::StrayForgotten) => {
                    self.media.units[unit].fence.unlock(lock);
                    None
                }
                kept => kept,
            };
            self.strays.enter(unit, buf.capacity());
            *owner = Owner::Stray(Stray { unit, buf, kept });
            left += 1;
        }
        left
    }

    /// The medium has answered a stray after all; nobody wants to know what.
    pub fn stray_over(&mut self, stray: Stray) {
        let Stray { unit, buf, kept } = stray;
        self.strays.leave(unit, buf.capacity());
        if let Some(lock) = kept {
            self.media.units[unit].fence.unlock(lock);
        }
    }

    /// An operation of a job is over: what it changed is free for others.
    pub fn release_claim(&self, claim: Claim) {
        self.release_hold(claim.unit, claim.hold);
    }

    /// An operation on a unit is over: gives back its count at the fence, or its range.
    #[inline]
    pub fn release_hold(&self, unit: UnitIx, hold: Hold) {
        let fence = &self.media.units[unit].fence;
        match hold {
            Hold::Counted(_) if sings(Canary::CountKept) => {}
            Hold::Counted(ticket) => fence.leave(self.core, ticket),
            Hold::Kept(lock) => fence.unlock(lock),
        }
    }

    /// Whether a command that has waited for a range since `since_ms` has waited long enough: what is in its way is a
    /// stray, of which nobody knows when it ends.
    #[cold]
    pub fn is_given_up(&self, unit: UnitIx, (offset, len): (u64, u64), since_ms: u64) -> bool {
        self.turn.now_ms >= since_ms.saturating_add(STRAY_WAIT_MS)
            && self.media.units[unit].fence.has_stray(offset, len)
    }

    /// Marks the units whose operations are not over when the core ends.
    pub fn mark_unfinished(&self) {
        for (unit, _) in self.operations.ages() {
            if let Some(unit) = self.media.units.get(unit) {
                unit.unfinished.store(true, Ordering::Relaxed);
            }
        }
    }

    /// How many lines about media were left out of a flood that is over.
    pub fn left_out(&mut self) -> u32 {
        self.noise.left_out(self.turn.now_ms)
    }

    /// Looks up after which time a command may be slow.
    pub fn look_what_is_slow(&mut self) {
        let least = self.media.units.iter().map(|unit| unit.slow_ns.load(Ordering::Relaxed)).min();
        self.tally.slow_after(least.unwrap_or(u64::MAX));
    }

    /// Looks for media that do not answer.
    pub fn look_for_hung_media(&mut self) {
        let Strays { hung, found, .. } = &mut self.strays;
        found.iter_mut().for_each(|found| *found = false);
        for (unit, since_ms) in self.operations.ages() {
            if let Some(found) = found.get_mut(unit) {
                *found |= self.turn.now_ms >= since_ms.saturating_add(MEDIUM_HANG_MS);
            }
        }
        for ((unit, before), &now) in self.media.units.iter().zip(hung.iter_mut()).zip(found.iter()) {
            match (*before, now) {
                (false, true) => {
                    unit.hung.fetch_add(1, Ordering::Relaxed);
                    if let Some(left_out) = self.noise.medium(self.turn.now_ms) {
                        let serial = &unit.logical.params().serial;
                        tracing::error!(
                            event = "medium-hangs",
                            serial,
                            left_out,
                            "the medium of a logical unit does not answer"
                        );
                    }
                }
                (true, false) => {
                    unit.hung.fetch_sub(1, Ordering::Relaxed);
                    if let Some(left_out) = self.noise.medium(self.turn.now_ms) {
                        let serial = &unit.logical.params().serial;
                        tracing::warn!(
                            event = "medium-answers",
                            serial,
                            left_out,
                            "the medium of a logical unit answers again"
                        );
                    }
                }
                _ => {}
            }
            *before = now;
        }
    }
}
