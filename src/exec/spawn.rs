//! How jobs begin: of a whole command, of a slice, of a copy, and of what looks for the first bad block of a read.

use super::executor::Executor;
use crate::buffers::Buf;
use crate::jobs::commands::{self, Place};
use crate::jobs::copy_job::CopyJob;
use crate::jobs::job::{ForTask, Job, JobBuffer, JobCx, Work};
use crate::missing::missing;
use crate::model::{SeatIx, TaskKey, UnitIx};
use crate::scsi::{Erase, Erasure, MediumOp};
use crate::tasks::outcomes::WITHOUT_DATA;
use crate::tasks::sink::{Moved, Outside};
use crate::tasks::task::{Action, Kind};
use crate::unit::end::JobEnd;
use std::future::Future;
use std::sync::Arc;

/// The work of a job that was begun without what it needs. Nothing begins one so.
fn nothing() -> Work {
    Box::pin(async { WITHOUT_DATA.into() })
}

/// The work of a whole command. `data`: what was gathered for it, and another buffer if it needs one.
fn work_of(cx: JobCx, place: Place, op: MediumOp, (data, scratch): (Option<JobBuffer>, Option<JobBuffer>)) -> Work {
    let block_bytes = place.block_bytes;
    let at = |lba: u64| lba * block_bytes;
    match (op, data) {
        (MediumOp::Verify { lba, blocks }, _) => Box::pin(commands::verify(cx, place, at(lba), at(u64::from(blocks)))),
        (MediumOp::Compare { lba, blocks, .. }, Some(data)) => {
            Box::pin(commands::compare_one(cx, place, data, at(lba), at(u64::from(blocks))))
        }
        (MediumOp::WriteSame { lba, blocks, unmap, .. }, data) => {
            Box::pin(commands::write_same(cx, place, data, at(lba), at(blocks), unmap))
        }
        (MediumOp::CompareAndWrite { lba, blocks, fua }, data) => {
            let len = at(u64::from(blocks)) as usize;
            match data.zip(scratch) {
                Some(both) => Box::pin(commands::compare_and_write(cx, place, both, (at(lba), len, fua))),
                None => nothing(),
            }
        }
        (MediumOp::WriteAtomic { lba, blocks, fua }, Some(data)) => {
            let len = at(u64::from(blocks)) as usize;
            Box::pin(commands::write_atomic(cx, place, data, at(lba), len, fua))
        }
        (MediumOp::Unmap { ranges }, _) => Box::pin(commands::unmap(cx, place, ranges)),
        (MediumOp::OrWrite { lba, blocks, fua, generation }, data) => {
            let len = at(u64::from(blocks)) as usize;
            Box::pin(commands::change_generation(cx, place, data.zip(scratch), (at(lba), len, fua), generation))
        }
        (MediumOp::LbaStatus(scan), _) => Box::pin(commands::lba_status(cx, place, scan)),
        (MediumOp::Probe, _) => Box::pin(commands::probe(cx, place)),
        (MediumOp::Flush { .. }, _) => Box::pin(commands::flush(cx, place)),
        (MediumOp::Compare { .. } | MediumOp::WriteAtomic { .. }, None) => nothing(),
        // These are no job of a whole command ([`crate::scsi::Runs`]).
        (
            MediumOp::Read { .. }
            | MediumOp::Write { .. }
            | MediumOp::WriteVerify { .. }
            | MediumOp::Prefetch { .. }
            | MediumOp::Erase { .. }
            | MediumOp::Copy(_),
            _,
        ) => nothing(),
    }
}

impl Executor {
    /// What a job works on: the unit, its medium, and the time at which it begins.
    pub fn place_of(&self, unit: UnitIx) -> Place {
        let unit = &self.media.units[unit];
        Place {
            unit: unit.logical.clone(),
            medium: unit.medium.clone(),
            block_bytes: u64::from(unit.block_bytes),
            home: Arc::clone(unit),
        }
    }

    /// Begins the job of a whole command. `data`: what was gathered for it, how much, and another buffer if it needs one.
    pub fn spawn(&mut self, who: TaskKey, unit: UnitIx, op: MediumOp, data: Option<(Buf, u32, Option<Buf>)>) {
        let cx = JobCx::new(self.account(who.seat));
        let place = self.place_of(unit);
        let block_bytes = place.block_bytes;
        let row = op.row();
        let (needed, charged) = (row.data_out_bytes(block_bytes as u32), row.pays.is_by_steps());
        let got = data.as_ref().map_or(0, |(_, len, _)| u64::from(*len));
        let (data, scratch) = match data {
            Some((data, _, scratch)) => (Some(JobBuffer::from(data)), scratch.map(JobBuffer::from)),
            None => (None, None),
        };
        if matches!(op, MediumOp::WriteAtomic { .. }) {
            self.media.units[unit].fence.expect_atomic();
        }
        let work = if got < needed { nothing() } else { work_of(cx.clone(), place, op, (data, scratch)) };
        let now_ns = self.turn.now_ns;
        if let Some(exec) = self.exec(who.seat, who.slot()) {
            if exec.kind == Kind::Idle {
                exec.begin(Kind::Job, who.task, unit, (0, 0, 0));
            }
            exec.kind = Kind::Job;
            exec.begin_at_medium(now_ns);
            exec.transfer.asked = needed;
        } else {
            missing("a task");
        }
        let mut job = Job::new(&cx, work, (unit, Some(ForTask::whole(who))));
        job.pay.charged = charged;
        self.enlist(job);
    }

    /// A command becomes a job, all of it. `asked`: the bytes that its residual counts are counted from.
    pub(super) fn become_job(&mut self, who: TaskKey, unit: UnitIx, asked: u64) {
        let now_ns = self.turn.now_ns;
        let Some(exec) = self.exec(who.seat, who.slot()) else { return missing("a task") };
        exec.begin(Kind::Job, who.task, unit, (0, 0, asked));
        exec.begin_at_medium(now_ns);
    }

    /// Begins the job of one slice of a write-like command.
    pub fn spawn_slice(&mut self, seat: SeatIx, slot: usize, offset: u32, action: Action) {
        let cx = JobCx::new(self.account(seat));
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let (unit, base, durable) = (exec.unit, exec.transfer.base, exec.durable);
        let durable = durable && self.media.units[unit].direct;
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let Some(slice) = exec.slice_at(offset) else { return missing("a slice") };
        let len = slice.len as usize;
        // Both buffers are there: `make_slice` makes no slice without.
        let Some((buf, scratch)) = slice.buf.take().zip(slice.scratch.take()) else {
            return missing("a buffer");
        };
        let (place, both, inner) = (self.place_of(unit), (buf.into(), scratch.into()), cx.clone());
        let at = base + u64::from(offset);
        let work: Work = match action {
            Action::Compare => Box::pin(commands::compare(inner, place, both, (at, len), base)),
            Action::WriteVerify { compare } => {
                Box::pin(commands::write_verify(inner, place, both, (at, len), base, compare))
            }
            Action::OrWrite(generation) => {
                Box::pin(commands::or_write(inner, place, both, (at, len, durable), generation))
            }
            // A plain write goes to the medium without a job.
            Action::Write => nothing(),
        };
        self.enlist(Job::new(&cx, work, (unit, Some(ForTask { seat, slot, slice: Some(offset) }))));
    }

    /// Begins to look for the first bad block of a slice of a read: its offset in the transfer, on the medium, and its bytes.
    pub fn spawn_locate(&mut self, seat: SeatIx, slot: usize, unit: UnitIx, (offset, at, len): (u32, u64, u64)) {
        let cx = JobCx::new(self.account(seat));
        let work: Work = Box::pin(commands::locate(cx.clone(), self.place_of(unit), at, len));
        let now_ns = self.turn.now_ns;
        if let Some(exec) = self.exec(seat, slot) {
            exec.begin_at_medium(now_ns);
        } else {
            missing("a task");
        }
        self.enlist(Job::new(&cx, work, (unit, Some(ForTask { seat, slot, slice: Some(offset) }))));
    }

    /// Begins the job of a copy, or of a token: for a task, or in the background.
    pub fn enlist_copy(
        &mut self,
        cx: &JobCx,
        work: impl Future<Output = JobEnd> + 'static,
        (unit, copy): (UnitIx, Option<CopyJob>),
        task: Option<TaskKey>,
    ) {
        let mut job = Job::new(cx, work, (unit, task.map(ForTask::whole)));
        (job.pay.charged, job.copy) = (true, copy.map(Box::new));
        self.enlist(job);
    }

    /// Begins to erase a unit, if that is not done yet. The job outlives its task.
    pub fn spawn_erase(
        &mut self,
        who: TaskKey,
        unit: UnitIx,
        erasure: Erasure,
        how: (Erase, bool),
        out: &mut impl Outside,
    ) {
        if let Err(outcome) = self.media.units[unit].logical.begin_erase(erasure, self.turn.now_ms) {
            let due = self.clear(who, out);
            return out.complete(due, outcome, Moved::Nothing);
        }
        let cx = JobCx::new(self.account(who.seat));
        let work = commands::erase(cx.clone(), self.place_of(unit), erasure, how);
        self.become_job(who, unit, 0);
        let mut job = Job::new(&cx, work, (unit, Some(ForTask::whole(who))));
        job.survives = true;
        self.enlist(job);
    }

    /// Gives a job a number, and has it polled soon.
    pub fn enlist(&mut self, job: Job) {
        let number = self.running.free.pop().unwrap_or_else(|| {
            self.running.jobs.push(None);
            self.running.jobs.len() - 1
        });
        if let Some(task) = job.task
            && let Some(exec) = self.exec(task.seat, task.slot)
        {
            exec.under_way.jobs.push(number);
        }
        if job.copy.is_some() {
            self.running.copies.push(number);
        }
        self.running.jobs[number] = Some(job);
        self.run_soon(number);
    }
}
