//! Jobs on a core: spawning, polling, and what becomes of their end.

use super::buffers::Buf;
use super::copy_job::CopyJob;
use super::end::JobEnd;
use super::errand::{Answer, Call, Errand};
use super::executor::Executor;
use super::flushes::Waiter;
use super::job::NOBODY;
use super::job::{Job, JobBuffer, JobCx, Request, Stalled, Work};
use super::jobs::{self, Place};
use super::media::Media;
use super::notice::Notice;
use super::operations::Owner;
use super::outcomes::TIMED_OUT;
use super::outcomes::WITHOUT_DATA;
use super::saves::Standing;
use super::sink::Sink;
use super::sink::{Moved, Preempting};
use super::strays::{Claim, Hold};
use super::task::{Action, Failure, Kind, Progress};
use super::unit::Unit;
use crate::backend::Op;
use crate::limits::FED_PER_TURN;
use crate::model::{ItNexus, TaskId};
use crate::scsi::{Erase, Erasure, MediumOp, Outcome};
use std::future::Future;
use std::sync::{Arc, Weak};
use std::task::Poll;

impl Executor {
    pub fn place_of(&self, unit: usize) -> Place {
        let unit = &self.media.units[unit];
        Place {
            unit: unit.logical.clone(),
            medium: unit.medium.clone(),
            block_bytes: u64::from(unit.block_bytes),
            home: Arc::clone(unit),
            since_ms: self.now_ms,
        }
    }

    /// Begins the job of a whole command. `data`: what was gathered for it, how much, and another buffer if it needs one.
    pub fn spawn(
        &mut self,
        seat: usize,
        task: TaskId,
        unit: usize,
        op: MediumOp,
        data: Option<(Buf, u32, Option<Buf>)>,
    ) {
        let cx = JobCx::new(self.account(seat));
        let place = self.place_of(unit);
        let block_bytes = place.block_bytes;
        let row = op.row();
        let (needed, charged) = (row.data_out_bytes(block_bytes as u32), row.pays.is_by_steps());
        let got = data.as_ref().map_or(0, |(_, len, _)| u64::from(*len));
        let (data, scratch) = match data {
            Some((data, _, scratch)) => (Some(JobBuffer::from(data)), scratch.map(JobBuffer::from)),
            None => (None, None),
        };
        let at = |lba: u64| lba * block_bytes;
        let inner = cx.clone();
        let work: Work = match (op, data) {
            _ if got < needed => Box::pin(async { WITHOUT_DATA.into() }),
            (MediumOp::Verify { lba, blocks }, _) => {
                Box::pin(jobs::verify(inner, place, at(lba), at(u64::from(blocks))))
            }
            (MediumOp::Compare { lba, blocks, .. }, Some(data)) => {
                Box::pin(jobs::compare_one(inner, place, data, at(lba), at(u64::from(blocks))))
            }
            (MediumOp::WriteSame { lba, blocks, unmap, .. }, data) => {
                Box::pin(jobs::write_same(inner, place, data, at(lba), at(blocks), unmap))
            }
            (MediumOp::CompareAndWrite { lba, blocks, fua }, data) => {
                let len = at(u64::from(blocks)) as usize;
                match data.zip(scratch) {
                    Some(both) => Box::pin(jobs::compare_and_write(inner, place, both, (at(lba), len, fua))),
                    None => Box::pin(async { WITHOUT_DATA.into() }),
                }
            }
            (MediumOp::WriteAtomic { lba, blocks, fua }, Some(data)) => {
                let len = at(u64::from(blocks)) as usize;
                self.media.units[unit].fence.expect_atomic();
                Box::pin(jobs::write_atomic(inner, place, data, at(lba), len, fua))
            }
            (MediumOp::Unmap { ranges }, _) => Box::pin(jobs::unmap(inner, place, ranges)),
            (MediumOp::OrWrite { lba, blocks, fua, generation }, data) => {
                let len = at(u64::from(blocks)) as usize;
                Box::pin(jobs::change_generation(inner, place, data.zip(scratch), (at(lba), len, fua), generation))
            }
            (MediumOp::LbaStatus(scan), _) => Box::pin(jobs::lba_status(inner, place, scan)),
            (MediumOp::Probe, _) => Box::pin(jobs::probe(inner, place)),
            (MediumOp::Flush { .. }, _) => Box::pin(jobs::flush(inner, place)),
            (MediumOp::Compare { .. } | MediumOp::WriteAtomic { .. }, None) => Box::pin(async { WITHOUT_DATA.into() }),
            // These are no job of a whole command ([`crate::scsi::Runs`]).
            (
                MediumOp::Read { .. }
                | MediumOp::Write { .. }
                | MediumOp::WriteVerify { .. }
                | MediumOp::Prefetch { .. }
                | MediumOp::Erase { .. }
                | MediumOp::Copy(_),
                _,
            ) => Box::pin(async { WITHOUT_DATA.into() }),
        };
        if let Some(exec) = self.exec(seat, task.slot()) {
            if exec.kind == Kind::Idle {
                exec.begin(Kind::Job, task, unit, (0, 0, 0));
            }
            exec.kind = Kind::Job;
            exec.in_flight += 1;
            exec.asked = needed;
        }
        let mut job = Job::new(&cx, work, (unit, seat, task.slot(), None));
        job.charged = charged;
        self.enlist(job);
    }

    /// Begins the job of one slice of a write-like command.
    pub fn spawn_slice(&mut self, seat: usize, slot: usize, offset: u32, action: Action) {
        let cx = JobCx::new(self.account(seat));
        let Some(exec) = self.exec(seat, slot) else { return };
        let (unit, base, durable) = (exec.unit, exec.base, exec.durable);
        let durable = durable && self.media.units[unit].direct;
        let Some(exec) = self.exec(seat, slot) else { return };
        let Some(slice) = exec.slice_at(offset) else { return };
        let len = slice.len as usize;
        // Both buffers are there: `make_slice` makes no slice without.
        let Some((buf, scratch)) = slice.buf.take().zip(slice.scratch.take()) else { return };
        let (place, both, inner) = (self.place_of(unit), (buf.into(), scratch.into()), cx.clone());
        let at = base + u64::from(offset);
        let work: Work = match action {
            Action::Compare => Box::pin(jobs::compare(inner, place, both, (at, len), base)),
            Action::WriteVerify { compare } => {
                Box::pin(jobs::write_verify(inner, place, both, (at, len), base, compare))
            }
            Action::OrWrite(generation) => Box::pin(jobs::or_write(inner, place, both, (at, len, durable), generation)),
            // A plain write goes to the medium without a job.
            Action::Write => Box::pin(async { WITHOUT_DATA.into() }),
        };
        self.enlist(Job::new(&cx, work, (unit, seat, slot, Some(offset))));
    }

    /// Begins to look for the first bad block of a slice of a read: its offset in the transfer, on the medium, and its bytes.
    pub fn spawn_locate(&mut self, seat: usize, slot: usize, unit: usize, (offset, at, len): (u32, u64, u64)) {
        let cx = JobCx::new(self.account(seat));
        let work: Work = Box::pin(jobs::locate(cx.clone(), self.place_of(unit), at, len));
        if let Some(exec) = self.exec(seat, slot) {
            exec.in_flight += 1;
        }
        self.enlist(Job::new(&cx, work, (unit, seat, slot, Some(offset))));
    }

    /// Begins the job of a copy, or of a token: for a task (seat and slot), or in the background.
    pub fn enlist_copy(
        &mut self,
        cx: &JobCx,
        work: impl Future<Output = JobEnd> + 'static,
        (unit, copy): (usize, Option<CopyJob>),
        task: Option<(usize, usize)>,
    ) {
        let (seat, slot) = task.unwrap_or((NOBODY, 0));
        let mut job = Job::new(cx, work, (unit, seat, slot, None));
        (job.charged, job.copy) = (true, copy.map(Box::new));
        self.enlist(job);
    }

    /// Begins to erase a unit, if that is not done yet. The job outlives its task.
    pub fn spawn_erase(
        &mut self,
        (seat, task): (usize, TaskId),
        unit: usize,
        erasure: Erasure,
        how: (Erase, bool),
        sink: &mut impl Sink,
    ) {
        if let Err(outcome) = self.media.units[unit].logical.begin_erase(erasure, self.now_ms) {
            self.clear(seat, task.slot(), sink);
            return sink.complete((seat, task), outcome, Moved::Nothing);
        }
        let cx = JobCx::new(self.account(seat));
        let work = jobs::erase(cx.clone(), self.place_of(unit), erasure, how);
        let mut of = (unit, NOBODY, 0, None);
        if let Some(exec) = self.exec(seat, task.slot()) {
            exec.begin(Kind::Job, task, unit, (0, 0, 0));
            exec.in_flight += 1;
            of = (unit, seat, task.slot(), None);
        }
        let mut job = Job::new(&cx, work, of);
        job.survives = true;
        self.enlist(job);
    }

    /// Does what is left of a command that was aborted after it had taken effect.
    #[cold]
    fn do_for_nobody(
        &mut self,
        unit: usize,
        flush: bool,
        aborts: &[ItNexus],
        standing: Option<Standing>,
        sink: &mut impl Sink,
    ) {
        if flush {
            self.flush_for(Waiter::Nobody, unit, sink);
        }
        if !aborts.is_empty() {
            let nexuses = aborts.to_vec();
            sink.preempt(Preempting { answer: None, unit, nexuses, standing });
        }
    }

    /// Has what may block called beside the cores, for a job.
    fn send_errand(&mut self, number: usize, call: Call, answer: &Arc<Answer>) {
        let Some(Some(job)) = self.running.jobs.get_mut(number) else { return };
        job.errand = Arc::downgrade(answer);
        let (post, core, told) = (Arc::clone(&self.media.post), self.core, job.errand.clone());
        let errand = Errand::new(call, answer, move || {
            post(core, Notice::Errand { job: number, answer: told });
        });
        self.media.errandry.send(&self.media.units[job.unit], errand);
    }

    /// An errand is over: its job goes on. The number may be another job's by now.
    pub fn errand_over(&mut self, number: usize, answer: &Weak<Answer>) {
        if let Some(Some(job)) = self.running.jobs.get(number)
            && job.errand.ptr_eq(answer)
        {
            self.run_soon(number);
        }
    }

    pub fn enlist(&mut self, job: Job) {
        let number = self.running.free.pop().unwrap_or_else(|| {
            self.running.jobs.push(None);
            self.running.jobs.len() - 1
        });
        if let Some(exec) = self.exec(job.seat, job.slot) {
            exec.jobs.push(number);
        }
        if job.copy.is_some() {
            self.running.copies.push(number);
        }
        self.running.jobs[number] = Some(job);
        self.run_soon(number);
    }

    /// A job is to be polled: its session's turn comes.
    pub fn run_soon(&mut self, number: usize) {
        let seat = self.running.jobs.get(number).and_then(Option::as_ref).map(|job| job.seat);
        self.running.runnable.push(seat.filter(|&seat| seat != NOBODY), number);
    }

    /// Polls the jobs that were runnable when the turn began (those that pause come again in the next one), as long as that
    /// does not keep everything else waiting: as long as there is time. Sessions take turns.
    pub fn run_jobs(&mut self, has_time: impl Fn() -> bool, sink: &mut impl Sink) {
        for _ in 0..self.running.runnable.len() {
            let Some(number) = self.running.runnable.pop() else { return };
            if matches!(self.running.jobs.get(number), Some(Some(_))) {
                sink.polls(number);
            }
            self.run_job(number, sink);
            if !has_time() {
                return;
            }
        }
    }

    /// Polls a job, and begins what it asks for or has not had yet. It is polled first in any case: what it still wants to do
    /// may be another matter by now ([`JobCx::op_if`]).
    pub fn run_job(&mut self, number: usize, sink: &mut impl Sink) {
        let Some(Some(job)) = self.running.jobs.get_mut(number) else { return };
        if job.cancelled {
            if job.in_flight == 0 {
                job.stop();
                // The place in the line is kept until what is owed was done.
                let standing = job.standing.take();
                let (unit, owed, end) = (job.unit, job.owed.take(), job.given_up.take().map(JobEnd::from));
                self.job_over(number, end, sink);
                if let Some((flush, aborts)) = owed {
                    self.do_for_nobody(unit, flush, &aborts, standing, sink);
                }
            }
            return;
        }
        match job.poll(self.now_ms) {
            Poll::Ready(end) => self.job_over(number, Some(end), sink),
            Poll::Pending => self.serve_job(number, sink),
        }
    }

    fn serve_job(&mut self, number: usize, sink: &mut impl Sink) {
        // A job that is cancelled begins nothing more.
        while let Some(Some(job)) = self.running.jobs.get_mut(number)
            && !job.cancelled
            && let Some(request) = job.next_request()
        {
            match request {
                Request::Save(saving, cell) => {
                    let unit = job.unit;
                    job.in_flight += 1;
                    self.submit_save(number, unit, saving, cell);
                }
                Request::Errand(call, answer) => self.send_errand(number, call, &answer),
                Request::Spawn(cx, work, cell) => {
                    let mut other = Job::new(&cx, work, (job.unit, NOBODY, 0, None));
                    other.survives = true;
                    self.enlist(other);
                    cell.set(Some(()));
                    self.run_soon(number);
                }
                Request::Pause => self.run_soon(number),
                Request::Pay(unit, bytes, cell) => {
                    let unit = unit.unwrap_or(job.unit);
                    if !self.pay_bytes(number, unit, bytes) {
                        return self.hold_job(number, Request::Pay(Some(unit), bytes, cell));
                    }
                    let Some(Some(job)) = self.running.jobs.get_mut(number) else { return };
                    // The bytes were paid for only if there is a limit: then the next operation on that unit costs
                    // nothing.
                    if std::mem::take(&mut job.paid) {
                        job.prepaid.push(unit);
                    }
                    cell.set(Some(()));
                    self.run_soon(number);
                }
                Request::Op { unit, op, free, cell } => {
                    let unit = unit.unwrap_or(job.unit);
                    if !free && !self.pay_job(number, unit, &op) {
                        return self.hold_job(number, Request::Op { unit: Some(unit), op, free, cell });
                    }
                    let Some(Some(job)) = self.running.jobs.get_mut(number) else { return };
                    if matches!(op, Op::Flush) {
                        job.paid = false;
                        self.flush_for(Waiter::Job(number, cell), unit, sink);
                        continue;
                    }
                    let hole = self.hole_of(unit, &op);
                    if hole.is_some()
                        && let Some(Some(job)) = self.running.jobs.get_mut(number)
                    {
                        job.in_hole = true;
                    }
                    if hole.is_some() && !self.ranges.holes.enter(unit, number) {
                        return self.hold_job(number, Request::Op { unit: Some(unit), op, free, cell });
                    }
                    let Some(Some(job)) = self.running.jobs.get_mut(number) else { return };
                    let Some(claim) = claim(&self.media, (self.core, self.now_ms), unit, &op, !job.locks.is_empty())
                    else {
                        let since_ms = job.stalled.map_or(self.now_ms, |stalled| stalled.since_ms);
                        job.stalled = Some(Stalled { unit, range: touched_range(&op), since_ms });
                        job.ask_again(Request::Op { unit: Some(unit), op, free, cell });
                        self.ranges.stalled.push_back(number);
                        return hole.into_iter().for_each(|unit| self.hole_over(unit));
                    };
                    job.stalled = None;
                    job.in_flight += 1;
                    job.paid = false;
                    let owner = Owner::Job { job: number, cell, claim, hole };
                    if let Some((owner, result)) = self.start(unit, op, owner, sink) {
                        self.finished(owner, result, sink);
                    }
                }
                Request::Buffer(len, cell) => {
                    job.starved = Some(self.starved.jobs.push(number, len, cell));
                }
                Request::Lock(offset, len, cell) => {
                    self.lock_for(number, (offset, len), cell);
                }
            }
        }
    }

    /// Puts back what a job has asked for and cannot have yet.
    fn hold_job(&mut self, number: usize, request: Request) {
        if let Some(Some(job)) = self.running.jobs.get_mut(number) {
            job.ask_again(request);
        }
    }

    /// Cancels a job that a stray keeps from going on, with an outcome for its task. False: it goes on, since nobody
    /// waits for it: it has time.
    pub fn give_up(&mut self, number: usize, outcome: Outcome) -> bool {
        let Some(Some(job)) = self.running.jobs.get_mut(number) else { return false };
        if job.cancelled || job.survives || job.seat == NOBODY {
            return false;
        }
        job.cancelled = true;
        job.given_up = Some(self.media.units[job.unit].logical.formatted(outcome));
        self.run_soon(number);
        true
    }

    /// Lets the jobs try again whose change a range kept out.
    pub fn retry_stalled(&mut self, sink: &mut impl Sink) {
        for _ in 0..self.ranges.stalled.len().min(FED_PER_TURN) {
            let Some(number) = self.ranges.stalled.pop_front() else { return };
            let Some(Some(job)) = self.running.jobs.get(number) else { continue };
            let is_late = job.stalled.is_some_and(|s| self.is_given_up(s.unit, s.range, s.since_ms));
            if !(is_late && self.give_up(number, TIMED_OUT)) {
                self.run_job(number, sink);
            }
        }
    }

    fn job_over(&mut self, number: usize, end: Option<JobEnd>, sink: &mut impl Sink) {
        let Some(mut job) = self.running.jobs.get_mut(number).and_then(Option::take) else { return };
        self.running.free.push(number);
        // The place in the line is kept until the tasks are aborted that are to be.
        let standing = job.standing.take();
        if let Some(unit) = job.stray {
            self.strays.leave(unit, 0);
        }
        for lock in job.locks.drain(..) {
            self.media.units[job.unit].fence.unlock(lock);
        }
        self.forget_held_job(number, &job);
        if job.copy.take().is_some() {
            self.running.copies.retain(|copy| *copy != number);
        }
        // The number will be used again: nothing may be left that was meant for this job.
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
        if job.seat == NOBODY {
            return;
        }
        let (seat, slot, slice, unit) = (job.seat, job.slot, job.slice, job.unit);
        drop(job);
        let Some(exec) = self.exec(seat, slot) else { return };
        exec.in_flight -= 1;
        exec.jobs.retain(|other| *other != number);
        let (mut outcome, durable) = end.as_ref().map_or((Outcome::GOOD, false), |e| (e.outcome, e.durable));
        if durable && slice.is_none() {
            let task = exec.task;
            if outcome == Outcome::GOOD {
                outcome = self.vouch(seat, task, unit, sink);
            } else {
                self.hear(seat, task, unit, sink);
            }
        }
        let Some(exec) = self.exec(seat, slot) else { return };
        if let Some(offset) = slice {
            if let Some(slice) = exec.slice_at(offset) {
                slice.progress = Progress::Ready;
            }
            match (exec.kind, outcome == Outcome::GOOD) {
                // The first bad block was looked for: all of the range can be read by now.
                (Kind::Read, true) if !exec.aborted => exec.read_again(),
                (Kind::Read, false) => exec.failed = Some(Failure::Outcome(outcome)),
                // Another slice may have failed otherwise, and be what is told.
                (_, false) if durable => exec.fail(offset, Failure::Lost(outcome)),
                (_, false) => exec.fail(offset, Failure::Outcome(outcome)),
                _ => {}
            }
            return self.advance(seat, slot, sink);
        }
        if exec.aborted {
            return self.advance(seat, slot, sink);
        }
        let (task, asked) = (exec.task, exec.asked);
        let (data, aborts) = end.map(|e| (e.data, e.aborts)).unwrap_or_default();
        if !aborts.is_empty() {
            self.clear(seat, slot, sink);
            let answer = Some((seat, task, outcome, asked));
            sink.preempt(Preempting { answer, unit, nexuses: aborts, standing });
        } else if data.is_empty() {
            self.clear(seat, slot, sink);
            sink.complete((seat, task), outcome, if asked > 0 { Moved::Out(asked) } else { Moved::Nothing });
        } else {
            self.reply((seat, task), outcome, &data, None, sink);
        }
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

/// How the fence of a unit is to know of a job's operation; the inner `None`: it need not. The outer `None`: the
/// operation has to wait. `locked`: the job holds the range already.
fn claim(media: &Media, (core, now_ms): (usize, u64), unit: usize, op: &Op, locked: bool) -> Option<Option<Claim>> {
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
