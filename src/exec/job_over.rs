//! What becomes of a job that is over: what it had goes back, and its slice or its command goes on, or is answered.
//!
//! Invariants: nothing that was meant for a job is left behind under its number, which will be used again. A job of a
//! task that was aborted ends only when nothing of it is under way, unless it survives its task.

use super::executor::Executor;
use crate::jobs::job::{ForTask, Job};
use crate::missing::missing;
use crate::model::{SeatIx, TaskKey, UnitIx};
use crate::scsi::Outcome;
use crate::tasks::failing::Failure;
use crate::tasks::sink::{Moved, Outside, Preempting, SetOff};
use crate::tasks::task::{Kind, Progress};
use crate::unit::end::JobEnd;
use crate::waits::saves::Standing;

impl Executor {
    /// A job is over. `end`: what with; `None`: it was cancelled, and its task is told nothing by it.
    pub(super) fn job_over(&mut self, number: usize, end: Option<JobEnd>, out: &mut impl Outside) {
        let Some(mut job) = self.running.jobs.get_mut(number).and_then(Option::take) else {
            return missing("a job");
        };
        self.running.free.push(number);
        // The place in the line is kept until the tasks are aborted that are to be.
        let standing = job.save.standing.take();
        self.forget_job(number, &mut job);
        let Some(ForTask { seat, slot, slice }) = job.task else { return };
        let unit = job.unit;
        drop(job);
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        exec.under_way.over();
        exec.under_way.jobs.retain(|other| *other != number);
        let end = end.unwrap_or(JobEnd::from(Outcome::GOOD));
        match slice {
            Some(offset) => self.slice_worked(seat, slot, offset, &end, out),
            None => self.task_worked((seat, slot), unit, end, standing, out),
        }
    }

    /// Takes back what a job has, and has asked for. Its number will be used again: nothing may be left that was meant for
    /// this one.
    fn forget_job(&mut self, number: usize, job: &mut Job) {
        if let Some(unit) = job.medium.stray {
            self.strays.leave(unit, 0);
        }
        for lock in job.ranges.locks.drain(..) {
            self.media.units[job.unit].fence.unlock(lock);
        }
        self.forget_held_job(number, job);
        if job.copy.take().is_some() {
            self.running.copies.retain(|copy| *copy != number);
        }
        if job.waits.starved.is_some() {
            self.waits.starved.jobs.leave(&self.running.jobs);
        }
        if job.ranges.stalled.is_some() {
            self.waits.ranges.stalled.retain(|stalled| *stalled != number);
        }
        if job.ranges.in_hole {
            for unit in self.waits.ranges.holes.forget(number) {
                self.hole_over(unit);
            }
        }
        if let Some(ticket) = job.waits.flushing.take() {
            self.waits.flushes.forget(ticket);
        }
        if job.ranges.is_locking {
            self.forget_locking(number);
        }
    }

    /// The job of a slice is over, or the search for the first bad block of a read.
    fn slice_worked(&mut self, seat: SeatIx, slot: usize, offset: u32, end: &JobEnd, out: &mut impl Outside) {
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        if let Some(slice) = exec.slice_at(offset) {
            slice.progress = Progress::Ready;
        }
        match (exec.kind, end.outcome == Outcome::GOOD) {
            // The first bad block was looked for: all of the range can be read by now.
            (Kind::Read, true) if !exec.aborted => exec.read_again(),
            (Kind::Read, false) => exec.failing.instead(Failure::Outcome(end.outcome)),
            // Another slice may have failed otherwise, and be what is told.
            (_, false) if end.durable => exec.failing.at(offset, Failure::Lost(end.outcome)),
            (_, false) => exec.failing.at(offset, Failure::Outcome(end.outcome)),
            _ => {}
        }
        self.advance(seat, slot, out);
    }

    /// The job of a whole command is over.
    fn task_worked(
        &mut self,
        (seat, slot): (SeatIx, usize),
        unit: UnitIx,
        end: JobEnd,
        standing: Option<Standing>,
        out: &mut impl Outside,
    ) {
        let JobEnd { mut outcome, data, aborts, durable } = end;
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let (who, asked, aborted) = (TaskKey { seat, task: exec.task }, exec.transfer.asked, exec.aborted);
        if durable && outcome == Outcome::GOOD {
            outcome = self.vouch(who, unit, out);
        } else if durable {
            self.hear(who, unit, out);
        }
        if aborted {
            return self.advance(seat, slot, out);
        }
        if !data.is_empty() {
            return self.reply(who, outcome, &data, None, out);
        }
        let due = self.clear(who, out);
        if !aborts.is_empty() {
            let answer = Some((due, outcome, asked));
            return out.set_off(SetOff::Preempt(Box::new(Preempting { answer, unit, nexuses: aborts, standing })));
        }
        out.complete(due, outcome, if asked > 0 { Moved::Out(asked) } else { Moved::Nothing });
    }

    /// Cancels the jobs of a task; each ends when nothing of it is in flight.
    /// One that outlives its task goes on for nobody.
    pub fn cancel_jobs(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) {
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let mut numbers = std::mem::take(&mut exec.under_way.jobs);
        let all = numbers.len();
        numbers.retain(|&number| {
            let job = self.running.jobs.get_mut(number).and_then(Option::as_mut);
            let Some(job) = job.filter(|job| job.is_for(seat, slot)) else {
                missing("a job");
                return false;
            };
            if job.cancelled {
                return true;
            }
            if job.survives {
                job.task = None;
                return false;
            }
            job.cancelled = true;
            self.withdraw_save(number);
            self.keep_claims(number);
            self.run_soon(number);
            true
        });
        let left = (all - numbers.len()) as u32;
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        exec.under_way.jobs = numbers;
        if left > 0 {
            exec.under_way.without(left);
            self.advance(seat, slot, out);
        }
    }
}
