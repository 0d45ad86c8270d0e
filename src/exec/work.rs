//! How jobs are polled, and what they ask for is begun, or has to wait. How they begin is in `spawn.rs`, what becomes
//! of their end in `job_over.rs`.
//!
//! Invariants: a job that is cancelled begins nothing more, and ends when nothing of it is under way. What it asked for
//! and could not have yet is put back, and asked for again by itself when it is polled.

use super::executor::Executor;
use crate::backend::Op;
use crate::jobs::job::{ForTask, Job, Request, Stalled};
use crate::limits::FED_PER_TURN;
use crate::missing::missing;
use crate::model::{ItNexus, MediumFault, UnitIx};
use crate::scsi::Outcome;
use crate::tasks::operations::Owner;
use crate::tasks::outcomes::TIMED_OUT;
use crate::tasks::sink::{Outside, Preempting, SetOff};
use crate::tasks::spent::Stage;
use crate::unit::Unit;
use crate::unit::end::JobEnd;
use crate::unit::errand::{Answer, Call, Errand};
use crate::unit::media::Media;
use crate::unit::notice::Notice;
use crate::waits::cell::Cell1;
use crate::waits::flushes::Waiter;
use crate::waits::saves::Standing;
use crate::waits::strays::{Claim, Hold};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::Poll;

impl Executor {
    /// Does what is left of a command that was aborted after it had taken effect.
    #[cold]
    fn do_for_nobody(
        &mut self,
        unit: UnitIx,
        flush: bool,
        aborts: &[ItNexus],
        standing: Option<Standing>,
        out: &mut impl Outside,
    ) {
        if flush {
            self.flush_for(Waiter::Nobody, unit, out);
        }
        if !aborts.is_empty() {
            let nexuses = aborts.to_vec();
            out.set_off(SetOff::Preempt(Box::new(Preempting { answer: None, unit, nexuses, standing })));
        }
    }

    /// Has what may block called beside the cores, for a job.
    fn send_errand(&mut self, number: usize, call: Call, answer: &Arc<Answer>) {
        let Some(Some(job)) = self.running.jobs.get_mut(number) else { return missing("a job") };
        job.waits.errand = Arc::downgrade(answer);
        let (post, core, told) = (Arc::clone(&self.media.post), self.core, job.waits.errand.clone());
        let errand = Errand::new(call, answer, move || {
            post(core, Notice::Errand { job: number, answer: told });
        });
        self.media.errandry.send(&self.media.units[job.unit], errand);
    }

    /// An errand is over: its job goes on. The number may be another job's by now.
    pub fn errand_over(&mut self, number: usize, answer: &Weak<Answer>) {
        if let Some(Some(job)) = self.running.jobs.get(number)
            && job.waits.errand.ptr_eq(answer)
        {
            self.run_soon(number);
        }
    }

    /// A job is to be polled: its session's turn comes.
    pub fn run_soon(&mut self, number: usize) {
        let seat = self.running.jobs.get(number).and_then(Option::as_ref).and_then(Job::seat);
        self.running.runnable.push(seat, number);
    }

    /// Polls the jobs that were runnable when the turn began (those that pause come again in the next one), as long as that
    /// does not keep everything else waiting: as long as there is time, which `has_time` says of the bytes that they have begun
    /// to move in it. Sessions take turns. `polls` is told of each before.
    pub fn run_jobs(&mut self, polls: impl Fn(usize), has_time: impl Fn(u64) -> bool, out: &mut impl Outside) {
        self.turn.job_bytes = 0;
        for _ in 0..self.running.runnable.len() {
            let Some(number) = self.running.runnable.pop() else { return };
            if matches!(self.running.jobs.get(number), Some(Some(_))) {
                polls(number);
            }
            self.run_job(number, out);
            if !has_time(self.turn.job_bytes) {
                return;
            }
        }
    }

    /// Polls a job, and begins what it asks for or has not had yet. It is polled first in any case: what it still wants to do
    /// may be another matter by now (`JobCx::op_if`).
    pub fn run_job(&mut self, number: usize, out: &mut impl Outside) {
        // It may be over, if it was to be polled twice.
        let Some(Some(job)) = self.running.jobs.get_mut(number) else { return };
        if job.cancelled {
            if job.medium.in_flight == 0 {
                job.stop();
                // The place in the line is kept until what is owed was done.
                let standing = job.save.standing.take();
                let (unit, owed, end) = (job.unit, job.save.owed.take(), job.given_up.take().map(JobEnd::from));
                self.job_over(number, end, out);
                if let Some((flush, aborts)) = owed {
                    self.do_for_nobody(unit, flush, &aborts, standing, out);
                }
            }
            return;
        }
        match job.poll(self.turn.now_ms) {
            Poll::Ready(end) => self.job_over(number, Some(end), out),
            Poll::Pending => {
                self.serve_job(number, out);
                self.note_where_job_is(number);
            }
        }
    }

    /// The command of a job is at the medium while the job has something there, and else waits in the target.
    fn note_where_job_is(&mut self, number: usize) {
        // It may be over by now.
        let Some(Some(Job { task: Some(ForTask { seat, slot, slice: None }), medium, waits, .. })) =
            self.running.jobs.get(number)
        else {
            return;
        };
        let is_there = medium.in_flight > 0 || waits.flushing.is_some() || waits.errand.strong_count() > 0;
        let (seat, slot, stage) = (*seat, *slot, if is_there { Stage::Medium } else { Stage::Queue });
        let now_ns = self.turn.now_ns;
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        exec.spent.goes_on_in(stage, now_ns);
    }

    /// Begins what a job has asked for, until it has to wait for something.
    fn serve_job(&mut self, number: usize, out: &mut impl Outside) {
        // A job that is cancelled begins nothing more.
        while let Some(Some(job)) = self.running.jobs.get_mut(number)
            && !job.cancelled
            && let Some(request) = job.next_request()
        {
            match request {
                Request::Save(saving, cell) => {
                    let unit = job.unit;
                    job.medium.in_flight += 1;
                    self.submit_save(number, unit, saving, cell);
                }
                Request::Errand(call, answer) => self.send_errand(number, call, &answer),
                Request::Spawn(cx, work, cell) => {
                    let mut other = Job::new(&cx, work, (job.unit, None));
                    other.survives = true;
                    self.enlist(other);
                    cell.set(Some(()));
                    self.run_soon(number);
                }
                Request::Pause => self.run_soon(number),
                Request::Pay(unit, bytes, cell) => {
                    let unit = unit.unwrap_or(job.unit);
                    if !self.pay_ahead(number, unit, bytes, &cell) {
                        return self.hold_job(number, Request::Pay(Some(unit), bytes, cell));
                    }
                }
                Request::Op { unit, op, free, cell } => {
                    let unit = unit.unwrap_or(job.unit);
                    if !self.begin_op(number, unit, (op, free), &cell, out) {
                        return self.hold_job(number, Request::Op { unit: Some(unit), op, free, cell });
                    }
                }
                Request::Buffer(len, cell) => {
                    job.waits.starved = Some(self.waits.starved.jobs.push(number, len, cell));
                }
                Request::Lock(offset, len, cell) => {
                    self.lock_for(number, (offset, len), cell);
                }
            }
        }
    }

    /// Has a job pay for an operation of so many bytes before it takes anything for it. False: it waits.
    fn pay_ahead(&mut self, number: usize, unit: UnitIx, bytes: u64, cell: &Cell1<()>) -> bool {
        if !self.pay_bytes(number, unit, bytes) {
            return false;
        }
        if let Some(Some(job)) = self.running.jobs.get_mut(number) {
            job.pay.keep(unit);
            cell.set(Some(()));
            self.run_soon(number);
        } else {
            missing("a job");
        }
        true
    }

    /// Begins an operation of a job. False: it waits, for a limit, its turn to make a hole, or a range.
    fn begin_op(
        &mut self,
        number: usize,
        unit: UnitIx,
        (op, free): (Op, bool),
        cell: &Cell1<Result<(), MediumFault>>,
        out: &mut impl Outside,
    ) -> bool {
        if !free && !self.pay_job(number, unit, &op) {
            return false;
        }
        let hole = self.hole_of(unit, &op);
        let Some(Some(job)) = self.running.jobs.get_mut(number) else {
            missing("a job");
            return true;
        };
        if matches!(op, Op::Flush) {
            job.pay.paid = false;
            self.flush_for(Waiter::Job(number, Rc::clone(cell)), unit, out);
            return true;
        }
        job.ranges.in_hole |= hole.is_some();
        if hole.is_some() && !self.waits.ranges.holes.enter(unit, number) {
            return false;
        }
        let Some(claim) = claim(&self.media, (self.core, self.turn.now_ms), unit, &op, !job.ranges.locks.is_empty())
        else {
            let since_ms = job.ranges.stalled.map_or(self.turn.now_ms, |stalled| stalled.since_ms);
            job.ranges.stalled = Some(Stalled { unit, range: touched_range(&op), since_ms });
            self.waits.ranges.stalled.push_back(number);
            hole.into_iter().for_each(|unit| self.hole_over(unit));
            return false;
        };
        job.ranges.stalled = None;
        job.medium.in_flight += 1;
        job.pay.paid = false;
        if let Op::Read { buffer, .. } | Op::Write { buffer, .. } = &op {
            self.turn.job_bytes += buffer.len() as u64;
        }
        let owner = Owner::Job { job: number, cell: Rc::clone(cell), claim, hole };
        if let Some((owner, result)) = self.start(unit, op, owner, out) {
            self.finished(owner, result, out);
        }
        true
    }

    /// Puts back what a job has asked for and cannot have yet.
    fn hold_job(&mut self, number: usize, request: Request) {
        if let Some(Some(job)) = self.running.jobs.get_mut(number) {
            job.ask_again(request);
        } else {
            missing("a job");
        }
    }

    /// Cancels a job that a stray keeps from going on, with an outcome for its task. False: it goes on, since nobody
    /// waits for it: it has time.
    pub fn give_up(&mut self, number: usize, outcome: Outcome) -> bool {
        let Some(Some(job)) = self.running.jobs.get_mut(number) else {
            missing("a job");
            return false;
        };
        if job.cancelled || job.survives || job.task.is_none() {
            return false;
        }
        job.cancelled = true;
        job.given_up = Some(self.media.units[job.unit].logical.formatted(outcome));
        self.run_soon(number);
        true
    }

    /// Lets the jobs try again whose change a range kept out.
    pub fn retry_stalled(&mut self, out: &mut impl Outside) {
        for _ in 0..self.waits.ranges.stalled.len().min(FED_PER_TURN) {
            let Some(number) = self.waits.ranges.stalled.pop_front() else { return };
            let Some(Some(job)) = self.running.jobs.get(number) else {
                missing("a job");
                continue;
            };
            let is_late = job.ranges.stalled.is_some_and(|s| self.is_given_up(s.unit, s.range, s.since_ms));
            if !(is_late && self.give_up(number, TIMED_OUT)) {
                self.run_job(number, out);
            }
        }
    }
}

/// How the fence of a unit is to know of a job's operation; the inner `None`: it need not. The outer `None`: the
/// operation has to wait. `locked`: the job holds the range already.
fn claim(media: &Media, (core, now_ms): (usize, u64), unit: UnitIx, op: &Op, locked: bool) -> Option<Option<Claim>> {
    let Unit { fence, logical, .. } = &*media.units[unit];
    match (changed_range(op), op) {
        (Some((offset, len)), _) => {
            let hold = if locked { None } else { Some(Hold::Counted(fence.enter(core, offset, len)?)) };
            logical.overwritten(offset, len, now_ms);
            Some(hold.map(|hold| Claim { unit, offset, len, hold }))
        }
        _ if locked => Some(None),
        (None, Op::Read { offset, buffer }) if fence.has_stray(*offset, buffer.len() as u64) => None,
        (None, Op::Read { offset, buffer }) => {
            let (offset, len) = (*offset, buffer.len() as u64);
            Some(Some(Claim { unit, offset, len, hold: Hold::Counted(fence.enter_read(core, offset, len)?) }))
        }
        (None, _) => Some(None),
    }
}

/// The range that an operation reads or changes: offset and length, bytes.
fn touched_range(op: &Op) -> (u64, u64) {
    match *op {
        Op::Read { offset, buffer } | Op::Write { offset, buffer, .. } => (offset, buffer.len() as u64),
        Op::Discard { offset, len } | Op::Zero { offset, len } | Op::Evict { offset, len } => (offset, len),
        Op::Flush => (0, 0),
    }
}

/// The range that an operation changes: offset and length, bytes.
fn changed_range(op: &Op) -> Option<(u64, u64)> {
    let changes = matches!(op, Op::Write { .. } | Op::Discard { .. } | Op::Zero { .. });
    changes.then(|| touched_range(op))
}
