//! What becomes of a job that is over: what it had goes back, and its slice or its command goes on, or is answered.
//!
//! Invariants: nothing that was meant for a job is left behind under its number, which will be used again. A job of a
//! task that was aborted ends only when nothing of it is under way, unless it survives its task.

use super::executor::Executor;
use crate::jobs::job::{Job, NOBODY};
use crate::scsi::Outcome;
use crate::tasks::sink::{Moved, Preempting, Sink};
use crate::tasks::task::{Failure, Kind, Progress};
use crate::unit::end::JobEnd;
use crate::waits::saves::Standing;

impl Executor {
    /// A job is over. `end`: what with; `None`: it was cancelled, and its task is told nothing by it.
    pub(super) fn job_over(&mut self, number: usize, end: Option<JobEnd>, sink: &mut impl Sink) {
        let Some(mut job) = self.running.jobs.get_mut(number).and_then(Option::take) else { return };
        self.running.free.push(number);
        // The place in the line is kept until the tasks are aborted that are to be.
        let standing = job.standing.take();
        self.forget_job(number, &mut job);
        if job.seat == NOBODY {
            return;
        }
        let (seat, slot, slice, unit) = (job.seat, job.slot, job.slice, job.unit);
        drop(job);
        let Some(exec) = self.exec(seat, slot) else { return };
        exec.in_flight -= 1;
        exec.jobs.retain(|other| *other != number);
        let end = end.unwrap_or(JobEnd::from(Outcome::GOOD));
        match slice {
            Some(offset) => self.slice_worked(seat, slot, offset, &end, sink),
            None => self.task_worked((seat, slot), unit, end, standing, sink),
        }
    }

    /// Takes back what a job has, and has asked for. Its number will be used again: nothing may be left that was meant for
    /// this one.
    fn forget_job(&mut self, number: usize, job: &mut Job) {
        if let Some(unit) = job.stray {
            self.strays.leave(unit, 0);
        }
        for lock in job.locks.drain(..) {
            self.media.units[job.unit].fence.unlock(lock);
        }
        self.forget_held_job(number, job);
        if job.copy.take().is_some() {
            self.running.copies.retain(|copy| *copy != number);
        }
        if job.starved.is_some() {
            self.starved.jobs.leave(&self.running.jobs);
        }
        if job.stalled.is_some() {
            self.ranges.stalled.retain(|stalled| *stalled != number);
        }
        if job.in_hole {
            for unit in self.ranges.holes.forget(number) {
                self.hole_over(unit);
            }
        }
        if let Some(ticket) = job.flushing.take() {
            self.flushes.forget(ticket);
        }
        if job.is_locking {
            self.forget_locking(number);
        }
    }

    /// The job of a slice is over, or the search for the first bad block of a read.
    fn slice_worked(&mut self, seat: usize, slot: usize, offset: u32, end: &JobEnd, sink: &mut impl Sink) {
        let Some(exec) = self.exec(seat, slot) else { return };
        if let Some(slice) = exec.slice_at(offset) {
            slice.progress = Progress::Ready;
        }
        match (exec.kind, end.outcome == Outcome::GOOD) {
            // The first bad block was looked for: all of the range can be read by now.
            (Kind::Read, true) if !exec.aborted => exec.read_again(),
            (Kind::Read, false) => exec.failed = Some(Failure::Outcome(end.outcome)),
            // Another slice may have failed otherwise, and be what is told.
            (_, false) if end.durable => exec.fail(offset, Failure::Lost(end.outcome)),
            (_, false) => exec.fail(offset, Failure::Outcome(end.outcome)),
            _ => {}
        }
        self.advance(seat, slot, sink);
    }

    /// The job of a whole command is over.
    fn task_worked(
        &mut self,
        (seat, slot): (usize, usize),
        unit: usize,
        end: JobEnd,
        standing: Option<Standing>,
        sink: &mut impl Sink,
    ) {
        let JobEnd { mut outcome, data, aborts, durable } = end;
        let Some(exec) = self.exec(seat, slot) else { return };
        let (task, asked, aborted) = (exec.task, exec.asked, exec.aborted);
        if durable && outcome == Outcome::GOOD {
            outcome = self.vouch(seat, task, unit, sink);
        } else if durable {
            self.hear(seat, task, unit, sink);
        }
        if aborted {
            return self.advance(seat, slot, sink);
        }
        if !data.is_empty() {
            return self.reply((seat, task), outcome, &data, None, sink);
        }
        self.clear(seat, slot, sink);
        if !aborts.is_empty() {
            let answer = Some((seat, task, outcome, asked));
            return sink.preempt(Preempting { answer, unit, nexuses: aborts, standing });
        }
        sink.complete((seat, task), outcome, if asked > 0 { Moved::Out(asked) } else { Moved::Nothing });
    }

    /// Cancels the jobs of a task; each ends when nothing of it is in flight.
    /// One that outlives its task goes on for nobody.
    pub fn cancel_jobs(&mut self, seat: usize, slot: usize, sink: &mut impl Sink) {
        let mut numbers = self.exec(seat, slot).map(|exec| std::mem::take(&mut exec.jobs)).unwrap_or_default();
        let all = numbers.len();
        numbers.retain(|&number| {
            let job = self.running.jobs.get_mut(number).and_then(Option::as_mut);
            let Some(job) = job.filter(|job| (job.seat, job.slot) == (seat, slot)) else { return false };
            if job.cancelled {
                return true;
            }
            if job.survives {
                job.seat = NOBODY;
                return false;
            }
            job.cancelled = true;
            self.withdraw_save(number);
            self.keep_claims(number);
            self.run_soon(number);
            true
        });
        let left = (all - numbers.len()) as u32;
        let Some(exec) = self.exec(seat, slot) else { return };
        exec.jobs = numbers;
        if left > 0 {
            exec.in_flight = exec.in_flight.saturating_sub(left);
            self.advance(seat, slot, sink);
        }
    }
}
