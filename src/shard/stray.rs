//! Operations that outlive their tasks: the medium does not answer, and the initiator wants the task aborted.
//!
//! Data first: from the moment that a task is gone, a write of it that may still reach the medium keeps its range at the
//! unit's fence (`fence.rs`), so that no later command, on any core, overtakes it.
//!
//! An abort waits a moment (`limits::ABORT_GRACE_MS`) for what is on the medium, for mostly that is over at once and then
//! nothing is left to care for. What is still under way after that becomes a stray: it keeps its buffer until the medium
//! answers, its result is dropped, and the task is let go of, so that the function is answered. Who wants those blocks
//! waits, and is answered BUSY or ABORTED COMMAND when that takes `limits::STRAY_WAIT_MS`.
//!
//! Bounded: with `limits::STRAYS_PER_UNIT` of a unit on a core, or half of its buffers in strays, commands that need the
//! medium are answered BUSY. This module also notices media that do not answer (`limits::MEDIUM_HANG_MS`), of which TEST
//! UNIT READY tells.

use super::buffers::Buf;
use super::exec::Kind;
use super::executor::{Executor, Owner};
use super::fence::{Fence, Lock, Ticket};
use super::rw::task_in;
use super::sink::Sink;
use super::work::NOBODY;
use crate::limits::{ABORT_GRACE_MS, ARENA_BYTES, MEDIUM_HANG_MS, STRAY_WAIT_MS, STRAYS_PER_UNIT};
use crate::model::TaskId;
use crate::scsi::sense::{asc, key};
use crate::scsi::{Outcome, Sense};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// A part of the command was carried out, and the rest would have to wait for a write that does not end.
pub const TIMED_OUT: Outcome =
    Outcome::check(Sense::new(key::ABORTED_COMMAND, asc::LOGICAL_UNIT_COMMUNICATION_TIME_OUT));

/// What TEST UNIT READY says of a unit whose medium does not answer.
pub const DOES_NOT_ANSWER: Outcome =
    Outcome::check(Sense::new(key::NOT_READY, asc::LOGICAL_UNIT_NOT_READY_CAUSE_NOT_REPORTABLE));

/// One operation on a slice whose task is gone.
pub struct Stray {
    unit: usize,
    buf: Buf,
    /// The range that it keeps, if it is a write: of a read nobody waits for the end.
    kept: Option<Lock>,
}

/// How an operation that changes the medium is known to its unit's fence.
#[derive(Debug)]
pub enum Hold {
    /// Counted.
    Counted(Ticket),
    /// As a range.
    Kept(Lock),
}

/// The range that an operation of a job changes.
pub struct Claim {
    /// The unit.
    pub unit: usize,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// How the fence knows of it.
    pub hold: Hold,
}

/// The range that an operation keeps whose task is gone. A read is not waited for any more, and keeps none.
fn kept(fence: &Fence, core: usize, hold: Hold, (offset, len): (u64, u64)) -> Option<Lock> {
    match hold {
        Hold::Counted(ticket) if ticket.is_read() => {
            fence.leave(core, ticket);
            None
        }
        Hold::Counted(ticket) => Some(fence.keep(core, ticket, offset, len)),
        Hold::Kept(lock) => Some(lock),
    }
}

/// An aborted task that has something on the medium.
struct Leaving {
    seat: usize,
    task: TaskId,
    until_ms: u64,
}

/// The strays of one core.
pub struct Strays {
    /// How many, by unit.
    units: Vec<usize>,
    /// Bytes of buffers in them.
    bytes: usize,
    all: usize,
    /// Aborted tasks that wait for the medium, in the order of time.
    leaving: VecDeque<Leaving>,
    /// Units that did not answer when this core last looked.
    hung: Vec<bool>,
    /// What `hung` is to be, while this core looks.
    found: Vec<bool>,
}

impl Strays {
    /// No strays yet, and places for so many units.
    pub fn new(units: usize) -> Strays {
        let mut strays = Strays {
            units: Vec::new(),
            bytes: 0,
            all: 0,
            leaving: VecDeque::new(),
            hung: Vec::new(),
            found: Vec::new(),
        };
        strays.resize(units);
        strays
    }

    /// Makes places for more units, if there are more.
    pub fn resize(&mut self, units: usize) {
        self.units.resize(units.max(self.units.len()), 0);
        self.hung.resize(self.units.len(), false);
        self.found.resize(self.units.len(), false);
    }

    /// A unit's place is another unit's now: nothing is under way there.
    pub fn forget(&mut self, unit: usize) {
        if let Some(hung) = self.hung.get_mut(unit) {
            *hung = false;
        }
    }

    fn enter(&mut self, unit: usize, bytes: usize) {
        self.all += 1;
        self.bytes += bytes;
        if let Some(count) = self.units.get_mut(unit) {
            *count += 1;
        }
    }

    /// A stray is over.
    pub fn leave(&mut self, unit: usize, bytes: usize) {
        self.all = self.all.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(count) = self.units.get_mut(unit) {
            *count = count.saturating_sub(1);
        }
    }

    /// Whether the medium of a unit takes no more commands, since it has too many strays already.
    #[inline]
    pub fn are_too_many(&self, unit: usize) -> bool {
        self.all > 0
            && self.units.get(unit).is_some_and(|&n| n >= STRAYS_PER_UNIT || n > 0 && self.bytes >= ARENA_BYTES / 2)
    }

    /// Whether an aborted task waits for the medium.
    pub fn are_awaited(&self) -> bool {
        !self.leaving.is_empty()
    }
}

impl Executor {
    /// An aborted task has something on the medium: gives it a moment, and nobody else the blocks that it writes.
    pub fn await_medium(&mut self, seat: usize, task: TaskId) {
        self.keep_slices(seat, task.slot());
        self.strays.leaving.push_back(Leaving { seat, task, until_ms: self.now_ms + ABORT_GRACE_MS });
    }

    /// Lets go of the aborted tasks whose moment is over.
    pub fn expire_aborts(&mut self, sink: &mut impl Sink) {
        // Whose moment began first has it over first: nobody behind one that goes on needs to be looked at.
        while let Some(leaving) = self.strays.leaving.front() {
            let (seat, task, due) = (leaving.seat, leaving.task, leaving.until_ms <= self.now_ms);
            let stays = self.exec(seat, task.slot()).is_some_and(|e| e.task == task && e.aborted && e.in_flight > 0);
            if stays && !due {
                return;
            }
            self.strays.leaving.pop_front();
            if stays {
                self.outlive(seat, task.slot(), sink);
            }
        }
    }

    /// Takes a task off what it has on the medium, and lets go of it.
    #[cold]
    fn outlive(&mut self, seat: usize, slot: usize, sink: &mut impl Sink) {
        let left = self.outlive_jobs(seat, slot) + self.outlive_slices(seat, slot);
        let Some(exec) = self.exec(seat, slot) else { return };
        exec.in_flight = exec.in_flight.saturating_sub(left);
        let unit = exec.unit;
        if let Some(left_out) = self.noise.line(self.now_ms) {
            tracing::warn!(
                unit,
                operations = left,
                left_out,
                "a task was aborted while the medium does not answer: what it has there goes on without it"
            );
        }
        self.advance(seat, slot, sink);
    }

    /// Keeps the ranges of what an aborted task is writing: the task is gone, and that is not to be overtaken.
    fn keep_slices(&mut self, seat: usize, slot: usize) {
        let (world, core) = (self.world.clone(), self.core);
        let Some(exec) = self.exec(seat, slot) else { return };
        let fence = &world.units[exec.unit].fence;
        if exec.kind == Kind::Read {
            return;
        }
        for slice in &mut exec.slices {
            let (start, len) = (exec.base + u64::from(slice.offset), u64::from(slice.len));
            slice.hold = slice.hold.take().and_then(|hold| kept(fence, core, hold, (start, len))).map(Hold::Kept);
        }
    }

    /// Like `keep_slices`, for what a job has on the medium, and for the ranges that it holds.
    pub fn keep_claims(&mut self, number: usize) {
        let Some(Some(job)) = self.jobs.get(number) else { return };
        if job.in_flight == 0 {
            return;
        }
        for lock in &job.locks {
            self.world.units[job.unit].fence.set_stray(lock);
        }
        if let Some(Some(claim)) = self.operations.claim_of(number, job.operation)
            && let Hold::Counted(ticket) = claim.hold
            && !ticket.is_read()
        {
            let fence = &self.world.units[claim.unit].fence;
            claim.hold = Hold::Kept(fence.keep(self.core, ticket, claim.offset, claim.len));
        }
    }

    fn outlive_jobs(&mut self, seat: usize, slot: usize) -> u32 {
        let mut numbers = self.exec(seat, slot).map(|exec| std::mem::take(&mut exec.jobs)).unwrap_or_default();
        let all = numbers.len();
        numbers.retain(|&number| {
            let job = self.jobs.get_mut(number).and_then(Option::as_mut);
            let Some(job) = job.filter(|job| (job.seat, job.slot) == (seat, slot)) else { return false };
            if job.in_flight == 0 {
                return true;
            }
            job.seat = NOBODY;
            self.let_stray(number);
            false
        });
        let left = (all - numbers.len()) as u32;
        if let Some(exec) = self.exec(seat, slot) {
            exec.jobs = numbers;
        }
        left
    }

    /// Makes a stray of a job that nobody waits for any more: what it has on the medium counts at that unit until it is
    /// over. A read keeps nobody from its range.
    pub fn let_stray(&mut self, number: usize) {
        let Some(Some(job)) = self.jobs.get_mut(number) else { return };
        let unit = self.operations.unit_of(number, job.operation).unwrap_or(job.unit);
        job.stray = Some(unit);
        self.strays.enter(unit, 0);
        if let Some(claim) = self.operations.claim_of(number, job.operation)
            && let Some(Claim { unit, hold: Hold::Counted(ticket), .. }) =
                claim.take_if(|claim| matches!(claim.hold, Hold::Counted(ticket) if ticket.is_read()))
        {
            self.world.units[unit].fence.leave(self.core, ticket);
        }
    }

    fn outlive_slices(&mut self, seat: usize, slot: usize) -> u32 {
        let Some(exec) = task_in(&mut self.clients, seat, slot) else { return 0 };
        let (unit, base) = (exec.unit, exec.base);
        let mut left = 0;
        for (owner, _) in self.operations.owners() {
            let Owner::Slice { seat: s, slot: t, offset } = *owner else { continue };
            if (s, t) != (seat, slot) {
                continue;
            }
            let Some(slice) = exec.slice_at(offset) else { continue };
            let (start, len, hold) = (base + u64::from(slice.offset), u64::from(slice.len), slice.hold.take());
            let Some(buf) = slice.buf.take() else { continue };
            let kept = hold.and_then(|hold| kept(&self.world.units[unit].fence, self.core, hold, (start, len)));
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
            self.world.units[unit].fence.unlock(lock);
        }
    }

    /// An operation of a job is over: what it changed is free for others.
    pub fn release_claim(&self, claim: Claim) {
        self.release_hold(claim.unit, claim.hold);
    }

    /// An operation on a unit is over: gives back its count at the fence, or its range.
    #[inline]
    pub fn release_hold(&self, unit: usize, hold: Hold) {
        let fence = &self.world.units[unit].fence;
        match hold {
            Hold::Counted(ticket) => fence.leave(self.core, ticket),
            Hold::Kept(lock) => fence.unlock(lock),
        }
    }

    /// Whether a command that has waited for a range since `since_ms` has waited long enough: what is in its way is a
    /// stray, of which nobody knows when it ends.
    #[cold]
    pub fn is_given_up(&self, unit: usize, (offset, len): (u64, u64), since_ms: u64) -> bool {
        self.now_ms >= since_ms.saturating_add(STRAY_WAIT_MS) && self.world.units[unit].fence.has_stray(offset, len)
    }

    /// Marks the units whose operations are not over when the core ends.
    pub fn mark_unfinished(&self) {
        for (unit, _) in self.operations.ages() {
            if let Some(unit) = self.world.units.get(unit) {
                unit.unfinished.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Looks for media that do not answer.
    pub fn look_for_hung_media(&mut self) {
        let Strays { hung, found, .. } = &mut self.strays;
        found.fill(false);
        for (unit, since_ms) in self.operations.ages() {
            if let Some(found) = found.get_mut(unit) {
                *found |= self.now_ms >= since_ms.saturating_add(MEDIUM_HANG_MS);
            }
        }
        for ((unit, before), &now) in self.world.units.iter().zip(hung).zip(&*found) {
            match (*before, now) {
                (false, true) => {
                    unit.hung.fetch_add(1, Ordering::Relaxed);
                    if let Some(left_out) = self.noise.medium(self.now_ms) {
                        let serial = &unit.logical.params().serial;
                        tracing::error!(serial, left_out, "the medium of a logical unit does not answer");
                    }
                }
                (true, false) => {
                    unit.hung.fetch_sub(1, Ordering::Relaxed);
                    if let Some(left_out) = self.noise.medium(self.now_ms) {
                        let serial = &unit.logical.params().serial;
                        tracing::warn!(serial, left_out, "the medium of a logical unit answers again");
                    }
                }
                _ => {}
            }
            *before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_come_later_are_bounded_too() {
        let mut strays = Strays::new(1);
        strays.resize(3);
        for _ in 0..STRAYS_PER_UNIT {
            assert!(!strays.are_too_many(2));
            strays.enter(2, 0);
        }
        assert!(strays.are_too_many(2) && !strays.are_too_many(0));
        strays.resize(2);
        assert!(strays.are_too_many(2), "what is under way stays counted");
    }
}
