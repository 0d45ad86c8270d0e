//! How a command begins: from what the device server has planned to slices, a job, or an answer. And how its data
//! comes.
//!
//! A command has a slot from [`Executor::enter`] on. Whoever ends it has cleared the slot ([`Executor::clear`]) by the
//! time that the sink acts on the end: the next command may be in the same slot then.

use super::executor::Executor;
use crate::buffers::Buf;
use crate::limits::{SLICE_BYTES, TASKS_PER_SESSION};
use crate::model::TaskId;
use crate::scsi::{Length, MediumOp, Outcome, Plan, Runs, WrongLength};
use crate::tasks::outcomes::TASK_SET_FULL;
use crate::tasks::sink::{Given, Moved, Part, Preempting, Sink};
use crate::tasks::task::{Action, Exec, Failure, Kind, Then};
use crate::waits::flushes::Waiter;
use crate::waits::left::Scope;

/// How a command comes to be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Its data was dropped, and it is to end before that: planning may change something, or take a unit attention.
    Dropped,
    /// It has no limits.
    Free,
    /// What it is to do on a medium is to be paid for.
    Limited,
}

impl Executor {
    /// The slot of a task, made if it is used for the first time. `None`: nobody has this seat.
    #[inline(always)]
    pub fn slot_of(&mut self, seat: usize, task: TaskId) -> Option<&mut Exec> {
        Some(slot_in(&mut self.clients.get_mut(seat)?.tasks, task.slot()))
    }

    /// A command is about to be planned.
    #[inline]
    pub fn enter(&mut self, seat: usize, task: TaskId) -> Entry {
        let Some(client) = self.clients.get_mut(seat) else { return Entry::Dropped };
        let exec = slot_in(&mut client.tasks, task.slot());
        exec.task = task;
        match (exec.dropped, client.flows.is_empty()) {
            (true, _) => Entry::Dropped,
            (false, true) => Entry::Free,
            (false, false) => Entry::Limited,
        }
    }

    /// Like [`Executor::medium`], after the command has paid for what it is to do.
    pub fn begin_limited(
        &mut self,
        (seat, task): (usize, TaskId),
        unit: usize,
        op: MediumOp,
        given: Given<'_>,
        sink: &mut impl Sink,
    ) {
        if let Some(op) = self.pay_command((seat, task), unit, op, given.expected) {
            return self.medium(seat, task, unit, op, given, sink);
        }
        if let Some(data) = given.inline {
            self.stage(seat, task, data, sink);
        }
        self.bound_waiting(seat, task, sink);
    }

    /// Ends a command of which nothing was begun.
    #[inline]
    pub fn refuse(&mut self, (seat, task): (usize, TaskId), outcome: Outcome, moved: Moved, sink: &mut impl Sink) {
        self.clear(seat, task.slot(), sink);
        sink.complete((seat, task), outcome, moved);
    }

    /// Keeps the data of a command that was not executed at once (it waits for its CmdSN, or at a limit). The task must be
    /// live.
    pub fn stage(&mut self, seat: usize, task: TaskId, data: &[u8], sink: &impl Sink) {
        let edtl = sink.expected((seat, task)).write_bytes as usize;
        let Some(exec) = self.slot_of(seat, task) else { return };
        if exec.kind != Kind::Idle || exec.staging.is_some() {
            return;
        }
        let buf = self.allocate(seat, edtl.clamp(data.len(), SLICE_BYTES));
        let Some(exec) = self.exec(seat, task.slot()) else { return };
        match buf {
            Some(mut buf) => {
                buf.put(0, data);
                exec.staging = Some((buf, data.len() as u32));
            }
            None => exec.dropped = true,
        }
    }

    /// Keeps data of a command that has come before it, `received` bytes in `buf`. `None`: it had to be dropped.
    pub fn stage_in(&mut self, seat: usize, task: TaskId, staged: Option<(Buf, u32)>) {
        let Some(exec) = self.slot_of(seat, task) else { return };
        exec.dropped |= staged.is_none();
        if staged.is_some() {
            exec.staging = staged;
        }
    }

    /// Data of a write has come without a gap, up to `received` bytes of its transfer.
    #[inline]
    pub fn data_out(&mut self, seat: usize, task: TaskId, received: u32, sink: &mut impl Sink) {
        if let Some(exec) = self.exec(seat, task.slot()) {
            exec.filled = received;
        }
        self.advance(seat, task.slot(), sink);
    }

    /// Ends a command with parameter data, if it is GOOD and there is some: in `buf`, if that is large enough.
    pub fn reply(
        &mut self,
        (seat, task): (usize, TaskId),
        outcome: Outcome,
        data: &[u8],
        buf: Option<Buf>,
        sink: &mut impl Sink,
    ) {
        let who = (seat, task);
        let total = data.len().min(sink.expected(who).read_bytes as usize);
        self.clear(seat, task.slot(), sink);
        let asked = data.len() as u64;
        if outcome != Outcome::GOOD || total == 0 {
            return sink.complete(who, outcome, if asked > 0 { Moved::In(asked) } else { Moved::Nothing });
        }
        if total > SLICE_BYTES {
            return sink.complete(who, TASK_SET_FULL, Moved::Nothing);
        }
        let buf = buf.filter(|buf| buf.capacity() >= total).or_else(|| self.allocate(seat, total));
        let Some((mut buf, at)) = buf.and_then(|buf| buf.data(total).map(|at| (buf, at))) else {
            return sink.complete(who, TASK_SET_FULL, Moved::Nothing);
        };
        buf.put(0, data);
        sink.parameter_data(who, Part { offset: 0, len: total as u32, at, end: Some(asked) }, buf);
    }

    /// Begins work on the medium.
    pub fn medium(
        &mut self,
        seat: usize,
        task: TaskId,
        unit: usize,
        op: MediumOp,
        given: Given<'_>,
        sink: &mut impl Sink,
    ) {
        // Of those that there are many of no row is made: [`MediumOp::is_plain`].
        match op {
            MediumOp::Read { lba, blocks, .. } => {
                self.read_at((seat, task), unit, (lba, blocks), given.expected.read_bytes, sink);
            }
            MediumOp::Write { lba, blocks, fua } => {
                self.write_at((seat, task), unit, (lba, blocks, fua), given, sink);
            }
            op => self.begin_by_row((seat, task), unit, op, given, sink),
        }
    }

    /// Begins a read of blocks. `expects`: the most bytes that the initiator takes.
    #[inline(always)]
    pub fn read_at(
        &mut self,
        who: (usize, TaskId),
        unit: usize,
        (lba, blocks): (u64, u32),
        expects: u32,
        sink: &mut impl Sink,
    ) {
        if self.strays.are_too_many(unit) {
            return self.refuse(who, Outcome::BUSY, Moved::Nothing, sink);
        }
        let block_bytes = u64::from(self.media.units[unit].block_bytes);
        self.begin_read(who, unit, (lba * block_bytes, u64::from(blocks) * block_bytes), expects, sink);
    }

    /// Begins a write of blocks, which is to be durable before its status if FUA says so.
    #[inline(always)]
    pub fn write_at(
        &mut self,
        who: (usize, TaskId),
        unit: usize,
        (lba, blocks, fua): (u64, u32, bool),
        given: Given<'_>,
        sink: &mut impl Sink,
    ) {
        if self.strays.are_too_many(unit) {
            return self.refuse(who, Outcome::BUSY, Moved::Nothing, sink);
        }
        let block_bytes = u64::from(self.media.units[unit].block_bytes);
        let place = (lba * block_bytes, u64::from(blocks) * block_bytes);
        self.write(who, unit, place, (Action::Write, fua), given, sink);
    }

    #[inline(always)]
    fn begin_read(&mut self, who: (usize, TaskId), unit: usize, place: (u64, u64), expects: u32, sink: &mut impl Sink) {
        if !self.read_in_place(who, unit, place, expects, sink) {
            self.read(who.0, who.1, unit, place, expects, sink);
        }
    }

    /// Begins work on the medium as its row says.
    #[inline(never)]
    fn begin_by_row(
        &mut self,
        who: (usize, TaskId),
        unit: usize,
        op: MediumOp,
        given: Given<'_>,
        sink: &mut impl Sink,
    ) {
        let (seat, task) = who;
        if self.strays.are_too_many(unit) {
            return self.refuse(who, Outcome::BUSY, Moved::Nothing, sink);
        }
        let row = op.row();
        let block_bytes = self.media.units[unit].block_bytes;
        let (place, data_out_bytes) = (row.bytes(block_bytes), row.data_out_bytes(block_bytes));
        if row.length != Length::Blocks {
            let announced = u64::from(given.expected.write_bytes);
            let checked = self.media.units[unit].logical.check_data_out(row.length, data_out_bytes, announced);
            if let Err(wrong) = checked {
                return self.refuse_length(who, wrong, sink);
            }
        }
        match row.runs {
            Runs::Read => self.begin_read(who, unit, place, given.expected.read_bytes, sink),
            Runs::Slices(action) => self.write((seat, task), unit, place, (action, row.durable), given, sink),
            Runs::Gather => self.gather((seat, task), unit, (place.0, data_out_bytes), Then::Medium(op), given, sink),
            Runs::Job => self.spawn(seat, task, unit, op, None),
            Runs::Erase { erasure, how, immed } => self.spawn_erase(who, unit, erasure, (how.clone(), immed), sink),
            Runs::Copy(request) => self.copy(seat, task, unit, request, sink),
            Runs::FlushBehind => {
                // The flush goes on by itself. If it fails, the next one has to report that.
                self.flush_for(Waiter::Nobody, unit, sink);
                self.refuse(who, Outcome::GOOD, Moved::Nothing, sink);
            }
            Runs::Nothing => self.refuse(who, Outcome::GOOD, Moved::Nothing, sink),
        }
    }

    /// Ends a command that was announced with data that does not belong to it.
    fn refuse_length(&mut self, who: (usize, TaskId), wrong: WrongLength, sink: &mut impl Sink) {
        let moved = if wrong.asked_bytes > 0 { Moved::Out(wrong.asked_bytes) } else { Moved::Nothing };
        self.refuse(who, wrong.outcome, moved, sink);
    }

    /// A read that is not sent at once from where it lies.
    #[inline(never)]
    fn read(
        &mut self,
        seat: usize,
        task: TaskId,
        unit: usize,
        (base, asked): (u64, u64),
        expects: u32,
        sink: &mut impl Sink,
    ) {
        let total = asked.min(u64::from(expects)) as u32;
        let Some(exec) = self.exec(seat, task.slot()) else { return };
        // Data that came with the command, of a bidirectional one: no command that reads has a use for it, and its buffer has
        // the length of what was sent, not of what is read.
        exec.staging = None;
        // With a limit on bytes, a read of more than a slice goes slice by slice.
        let paid = total <= exec.paid;
        self.stats.read_bytes += u64::from(total);
        if total == 0 {
            return self.refuse((seat, task), Outcome::GOOD, Moved::In(asked), sink);
        }
        let in_place = paid && self.goes_in_place((seat, task), unit, (base, total), sink);
        if paid && !in_place && self.read_copied(seat, task, unit, (base, total, asked), sink) {
            return;
        }
        if let Some(exec) = self.exec(seat, task.slot()) {
            exec.begin(Kind::Read, task, unit, (base, total, asked));
            exec.in_place = in_place;
        }
        self.advance(seat, task.slot(), sink);
    }

    /// Begins a write-like command: at once if it goes to memory and all data is there; else slice by slice.
    fn write(
        &mut self,
        (seat, task): (usize, TaskId),
        unit: usize,
        (base, asked): (u64, u64),
        (action, durable): (Action, bool),
        given: Given<'_>,
        sink: &mut impl Sink,
    ) {
        let Given { expected, inline } = given;
        let announced = u64::from(expected.write_bytes);
        if let Err(wrong) = self.media.units[unit].logical.check_data_out(Length::Blocks, asked, announced) {
            return self.refuse_length((seat, task), wrong, sink);
        }
        let total = asked.min(announced) as u32;
        self.stats.written_bytes += u64::from(total);
        if let (Some(data), Action::Write) = (inline, action)
            && data.len() >= total as usize
            && total > 0
            && let Some(ticket) = self.media.units[unit].fence.enter(self.core, base, u64::from(total))
        {
            self.media.units[unit].logical.overwritten(base, u64::from(total), self.now_ms);
            if self.handles.get(unit).is_some_and(|h| h.write_in_place(base, &data[..total as usize])) {
                return self.stored(seat, task, (unit, ticket), (base, total, asked));
            }
            self.media.units[unit].fence.leave(self.core, ticket);
        }
        let Some(exec) = self.exec(seat, task.slot()) else { return };
        exec.begin(Kind::Write(action), task, unit, (base, total, asked));
        exec.durable = durable;
        exec.filled = expected.received_bytes;
        self.advance_with(seat, task, inline, sink);
    }

    /// Collects `need` bytes of data, then goes on with `then`.
    pub fn gather(
        &mut self,
        (seat, task): (usize, TaskId),
        unit: usize,
        (base, need): (u64, u64),
        then: Then,
        given: Given<'_>,
        sink: &mut impl Sink,
    ) {
        let Given { expected, inline } = given;
        let total = need.min(u64::from(expected.write_bytes));
        if total > SLICE_BYTES as u64 {
            return self.refuse((seat, task), TASK_SET_FULL, Moved::Nothing, sink);
        }
        let Some(exec) = self.exec(seat, task.slot()) else { return };
        exec.begin(Kind::Gather, task, unit, (base, total as u32, need));
        exec.then = Some(then);
        exec.filled = expected.received_bytes;
        self.advance_with(seat, task, inline, sink);
    }

    /// Makes the first slice and puts the data into it that came with the command.
    fn advance_with(&mut self, seat: usize, task: TaskId, inline: Option<&[u8]>, sink: &mut impl Sink) {
        if let (Some(data), Some(exec)) = (inline, self.exec(seat, task.slot()))
            && exec.total > 0
        {
            let total = exec.total as usize;
            if self.make_slice(seat, task.slot(), total.min(SLICE_BYTES), sink) {
                self.place(seat, task, 0, &data[..data.len().min(total)], sink);
            } else if let Some(exec) = self.exec(seat, task.slot()) {
                exec.failed.get_or_insert(Failure::NoBuffer);
            }
        }
        self.advance(seat, task.slot(), sink);
    }

    /// All data of a `Kind::Gather` is there.
    pub fn gathered(&mut self, seat: usize, slot: usize, sink: &mut impl Sink) {
        self.took_time = true;
        let Some(exec) = self.exec(seat, slot) else { return };
        let (task, unit, total) = (exec.task, exec.unit, exec.total);
        let slice = exec.slices.pop_front();
        let (then, (buf, scratch)) = (exec.then.take(), slice.map_or((None, None), |slice| (slice.buf, slice.scratch)));
        match then {
            Some(Then::Medium(op)) => self.spawn(seat, task, unit, op, buf.map(|buf| (buf, total, scratch))),
            Some(Then::Parameters) => self.listed((seat, task), unit, (buf, total), sink),
            None => {}
        }
    }

    /// A parameter list is there, `total` bytes in `buf`.
    fn listed(
        &mut self,
        (seat, task): (usize, TaskId),
        unit: usize,
        (buf, total): (Option<Buf>, u32),
        sink: &mut impl Sink,
    ) {
        let (who, slot) = ((seat, task), task.slot());
        let list = buf.as_ref().and_then(|buf| buf.bytes(0, total as usize)).unwrap_or(&[]);
        let judged = sink.parameters(who, unit, list);
        drop(buf);
        self.clear(seat, slot, sink);
        let Some((plan, nexuses)) = judged else { return sink.complete(who, TASK_SET_FULL, Moved::Nothing) };
        match plan {
            Plan::Done(outcome) if !nexuses.is_empty() => {
                let answer = Some((seat, task, outcome, u64::from(total)));
                sink.preempt(Preempting { answer, unit, nexuses, standing: None });
            }
            // The residual count is that of the list, which is what was moved, not that of an answer.
            Plan::Done(outcome) => sink.complete(who, outcome, Moved::Out(u64::from(total))),
            Plan::Medium(op) => {
                let given = Given { expected: sink.expected(who), inline: None };
                self.medium(seat, task, unit, op, given, sink);
                // What was moved is the list: that is what residuals are counted from.
                if let Some(exec) = self.exec(seat, slot).filter(|e| e.kind == Kind::Job) {
                    exec.asked = u64::from(total);
                }
            }
            Plan::Save(saving) => self.spawn_save(seat, task, unit, saving, u64::from(total), sink),
            Plan::Parameters { .. } | Plan::Buffer => sink.complete(who, TASK_SET_FULL, Moved::Nothing),
        }
    }

    /// Aborts a task. Nothing more of it is sent, and it is let go of when nothing is under way any more. `target`: whose
    /// target it is, for those who wait for its end.
    pub fn abort(&mut self, seat: usize, task: TaskId, target: usize, sink: &mut impl Sink) {
        let slot = task.slot();
        let Some(exec) = self.exec(seat, slot) else {
            // The task was never begun, and no data came with it.
            return sink.released((seat, task));
        };
        exec.task = task;
        exec.aborted = true;
        if exec.in_flight > 0 {
            self.mark_left(seat, slot, target);
            self.await_medium(seat, task);
            return self.cancel_jobs(seat, slot, sink);
        }
        self.clear(seat, slot, sink);
        sink.released((seat, task));
    }

    /// Counts an aborted task for those who wait for its end.
    fn mark_left(&mut self, seat: usize, slot: usize, target: usize) {
        let (left, marks) = (&self.leftovers.left, &mut self.leftovers.marks);
        let Some(exec) = self.clients.get_mut(seat).and_then(|client| client.tasks.get_mut(slot)) else { return };
        let unit = exec.unit;
        let scopes = [Scope::Seat(seat, None), Scope::Seat(seat, Some(unit)), Scope::Target(target), Scope::Unit(unit)];
        exec.left = Some(marks.mark(left, &scopes));
    }

    /// The unit at which a task has begun to work, if it has.
    pub fn begun_at(&self, seat: usize, task: TaskId) -> Option<usize> {
        let exec = self.tasks(seat).get(task.slot())?;
        (exec.task == task && exec.is_at_work()).then_some(exec.unit)
    }
}

/// A slot, made if it is used for the first time.
#[inline(always)]
fn slot_in(tasks: &mut Vec<Exec>, slot: usize) -> &mut Exec {
    if tasks.len() <= slot {
        make_slots(tasks, slot);
    }
    &mut tasks[slot]
}

/// Makes slots up to `slot`, and some more.
#[cold]
fn make_slots(exec: &mut Vec<Exec>, slot: usize) {
    // Some more than is asked for: which slots a session uses varies a little in steady state, too.
    let enough = (2 * slot + 1).next_power_of_two().clamp(slot + 1, TASKS_PER_SESSION.max(slot + 1));
    exec.reserve_exact(enough - exec.len());
    exec.resize_with(enough, Exec::default);
}
