//! Flushes, and what a command that promises durability is answered.
//!
//! A flush belongs to nobody: jobs, tasks and those who do not wait for its end (SYNCHRONIZE CACHE with IMMED) are content
//! with any that begins after they asked, on whatever core, and who is aborted stops waiting without holding anybody up.
//! Turns and failures are counted for all cores together in [`super::syncs`].
//!
//! Before a flush or a durable write is answered GOOD its nexus is compared with the failures of the medium: one that it has
//! not heard of may have cost what it wrote before, whoever met it.

use super::engine::{Engine, Owner};
use super::exec::Failure;
use super::job::Cell1;
use super::mesh::Message;
use super::syncs::Epoch;
use crate::backend::Op;
use crate::limits::SYNC_DRAIN_MS;
use crate::model::MediumFault;
use crate::scsi::Outcome;
use crate::session::seam::TaskId;
use std::sync::Arc;

/// What an operation on a medium has to do with durability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Nothing.
    None,
    /// A durable write.
    Write(Epoch),
    /// A flush.
    Flush,
}

/// Who waits for a flush.
pub enum Waiter {
    /// A job.
    Job(usize, Cell1<Result<(), MediumFault>>),
    /// A task whose data is written.
    Task(usize, TaskId),
    /// Nobody: it only has to happen.
    Nobody,
}

struct Waiting {
    who: Waiter,
    unit: usize,
    /// Flushes that had begun when it came.
    after: u64,
    /// Failures there had been.
    failures: u64,
}

/// A flush that the medium has answered.
struct Draining {
    unit: usize,
    epoch: Epoch,
    until_ms: u64,
}

/// The flushes of one core.
#[derive(Default)]
pub struct Flushes {
    waiting: Vec<Waiting>,
    draining: Vec<Draining>,
}

impl Flushes {
    /// Whether anybody here waits for a flush of a unit, or one is not over.
    pub fn use_unit(&self, unit: usize) -> bool {
        self.waiting.iter().any(|waiting| waiting.unit == unit) || self.are_draining_at(unit)
    }

    fn are_draining_at(&self, unit: usize) -> bool {
        self.draining.iter().any(|draining| draining.unit == unit)
    }

    /// Whether a flush waits for durable writes of other cores, which do not say when they are over.
    pub fn are_draining(&self) -> bool {
        !self.draining.is_empty()
    }

    /// A job is over.
    pub fn forget_job(&mut self, job: usize) {
        self.waiting.retain(|waiting| !matches!(waiting.who, Waiter::Job(number, _) if number == job));
    }
}

/// What [`Engine::advance_flushes`] finds to do.
enum Step {
    Tell(Waiting),
    Begin(usize),
}

impl Engine {
    /// Has a unit flushed for somebody.
    pub fn flush_for(&mut self, who: Waiter, unit: usize) {
        let syncs = &self.world.units[unit].syncs;
        let (after, failures) = (syncs.begun(), syncs.failures());
        let one = |one: &Waiting| one.unit == unit && one.after == after && matches!(one.who, Waiter::Nobody);
        if matches!(who, Waiter::Nobody) && self.flushes.waiting.iter().any(one) {
            // That flush has not begun: it is this one's, too.
            return;
        }
        self.flushes.waiting.push(Waiting { who, unit, after, failures });
        self.advance_flushes();
    }

    /// Tells those whose flush has ended, and begins others where it is anybody's turn.
    pub fn advance_flushes(&mut self) {
        while let Some(step) = self.next_flush_step() {
            match step {
                Step::Tell(waiting) => self.flushed(waiting),
                Step::Begin(unit) => {
                    if let Some((owner, result)) = self.start(unit, Op::Flush, Owner::Flush(unit)) {
                        self.finished(owner, result);
                    }
                }
            }
        }
    }

    fn next_flush_step(&mut self) -> Option<Step> {
        for at in 0..self.flushes.waiting.len() {
            let Waiting { unit, after, .. } = self.flushes.waiting[at];
            let syncs = &self.world.units[unit].syncs;
            if syncs.has_ended(after) {
                return Some(Step::Tell(self.flushes.waiting.remove(at)));
            }
            if syncs.begin() {
                return Some(Step::Begin(unit));
            }
            syncs.tell(self.core);
            // It may have ended before that.
            if syncs.has_ended(after) {
                return Some(Step::Tell(self.flushes.waiting.remove(at)));
            }
            if syncs.begin() {
                return Some(Step::Begin(unit));
            }
        }
        None
    }

    /// The medium has answered a flush that this core has begun. Its failure is counted.
    pub fn flush_answered(&mut self, unit: usize) {
        let epoch = self.world.units[unit].syncs.drain();
        self.flushes.draining.push(Draining { unit, epoch, until_ms: self.now_ms.saturating_add(SYNC_DRAIN_MS) });
        self.advance_drains();
        self.advance_flushes();
    }

    /// Ends the flushes for which no durable write is under way any more. One that the medium leaves unanswered holds up
    /// nobody for long: what it was told, if anything, is counted when it is over.
    pub fn advance_drains(&mut self) {
        let mut at = 0;
        while let Some(&Draining { unit, epoch, until_ms }) = self.flushes.draining.get(at) {
            let world = Arc::clone(&self.world);
            let syncs = &world.units[unit].syncs;
            if !syncs.is_drained(epoch) && self.now_ms < until_ms {
                at += 1;
                continue;
            }
            self.flushes.draining.swap_remove(at);
            syncs.end().filter(|core| *core != self.core).for_each(|core| world.post(core, Message::Flushed));
        }
    }

    fn flushed(&mut self, waiting: Waiting) {
        let Waiting { who, unit, failures, .. } = waiting;
        let syncs = &self.world.units[unit].syncs;
        let result = if syncs.failures() == failures { Ok(()) } else { Err(syncs.last_failure()) };
        let lost = result.err().map(|fault| self.world.units[unit].logical.fault(fault, None));
        match who {
            Waiter::Nobody => {}
            Waiter::Job(number, cell) => {
                cell.set(Some(result));
                self.run_soon(number);
            }
            Waiter::Task(seat, task) => {
                let Some(exec) = self.exec(seat, task.slot()).filter(|e| e.task == task && e.flushing) else { return };
                (exec.flushing, exec.flushed) = (false, true);
                if let Some(outcome) = lost {
                    exec.failed.get_or_insert(Failure::Lost(outcome));
                }
                self.advance(seat, task.slot());
            }
        }
    }

    /// What a flush or a durable write that went well is answered.
    #[inline]
    pub fn vouch(&mut self, seat: usize, unit: usize) -> Outcome {
        if self.world.units[unit].syncs.failures() == 0 { Outcome::GOOD } else { self.vouch_after_failures(seat, unit) }
    }

    #[cold]
    fn vouch_after_failures(&mut self, seat: usize, unit: usize) -> Outcome {
        let news = self.hear(seat, unit);
        let unit = &self.world.units[unit];
        if news { unit.logical.fault(unit.syncs.last_failure(), None) } else { Outcome::GOOD }
    }

    /// A nexus is about to be told that what it wrote may be lost. Whether that is news to it.
    #[cold]
    pub fn hear(&mut self, seat: usize, unit: usize) -> bool {
        let failures = self.world.units[unit].syncs.failures();
        let Some(holder) = self.seats.get(seat).and_then(Option::as_deref) else { return true };
        // A nexus that does not find the unit any more cannot say what it knows.
        let at = holder.map.units.iter().position(|&own| own == unit);
        at.and_then(|at| holder.nexus.get(at)).is_none_or(|nexus| nexus.hear(failures))
    }

    /// Counts the failure of an operation that was to make something durable, before anybody is told of its end.
    #[cold]
    pub fn sync_over(&mut self, unit: usize, sync: Sync, result: Result<(), MediumFault>) {
        let world = Arc::clone(&self.world);
        let Some(unit) = world.units.get(unit) else { return };
        if let Err(fault) = result
            && concerns_others(sync, fault)
        {
            unit.syncs.fail(fault);
            if let Some(left_out) = self.noise.line(self.now_ms) {
                let (failures, serial) = (unit.syncs.untold(), &unit.logical.params().serial);
                tracing::error!(serial, %fault, failures, left_out, "not flushed: what hosts wrote last may be lost");
            }
        }
        if let Sync::Write(epoch) = sync {
            unit.syncs.durable_over(self.core, epoch);
        }
    }
}

/// Whether a failure may have cost what was written before. A durable write that finds no space, or nobody who writes, has
/// not come to that.
fn concerns_others(sync: Sync, fault: MediumFault) -> bool {
    sync == Sync::Flush || !fault.is_refusal()
}
