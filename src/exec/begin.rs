//! How a command begins: from what the device server has planned to slices, a job, or an answer. And how its data
//! comes.
//!
//! A command has a slot from [`Executor::enter`] on. Whoever ends it has cleared the slot ([`Executor::clear`]) by the
//! time that the sink acts on the end: the next command may be in the same slot then.

use super::executor::Executor;
use crate::buffers::Buf;
use crate::limits::{SLICE_BYTES, TASKS_PER_SESSION};
use crate::missing::missing;
use crate::model::{Due, SeatIx, TaskKey, UnitIx};
use crate::scsi::{Length, MediumOp, Outcome, Plan, Runs, WrongLength};
use crate::tasks::failing::Failure;
use crate::tasks::outcomes::TASK_SET_FULL;
use crate::tasks::sink::{Body, Given, Moved, Outside, Part, Preempting, SetOff, Sink};
use crate::tasks::spent::Spent;
use crate::tasks::task::{Action, Exec, Kind, Then};
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
    pub fn slot_of(&mut self, who: TaskKey) -> Option<&mut Exec> {
        Some(slot_in(&mut self.clients.get_mut(who.seat.at())?.tasks, who.slot()))
    }

    /// A command is about to be planned.
    #[inline]
    pub fn enter(&mut self, who: TaskKey) -> Entry {
        let Some(client) = self.clients.get_mut(who.seat.at()) else {
            missing("a seat");
            return Entry::Dropped;
        };
        let exec = slot_in(&mut client.tasks, who.slot());
        (exec.task, exec.begun_ns, exec.spent.since_ns) = (who.task, self.turn.now_ns, self.turn.now_ns);
        exec.due.put(Due::of(who));
        match (exec.early.is_dropped, client.flows.is_empty()) {
            (true, _) => Entry::Dropped,
            (false, true) => Entry::Free,
            (false, false) => Entry::Limited,
        }
    }

    /// Like [`Executor::medium`], after the command has paid for what it is to do.
    pub fn begin_limited(
        &mut self,
        who: TaskKey,
        unit: UnitIx,
        op: MediumOp,
        given: Given<'_>,
        out: &mut impl Outside,
    ) {
        if let Some(op) = self.pay_command(who, unit, op, given.expected) {
            return self.medium(who, unit, op, given, out);
        }
        if let Some(data) = given.inline {
            self.stage(who, data, out);
        }
        self.bound_waiting(who, out);
    }

    /// Ends a command of which nothing was begun.
    #[inline]
    pub fn refuse(&mut self, who: TaskKey, outcome: Outcome, moved: Moved, out: &mut impl Outside) {
        let due = self.clear(who, out);
        out.complete(due, outcome, moved);
    }

    /// Keeps the data of a command that was not executed at once (it waits for its CmdSN, or at a limit). The task must be
    /// live.
    pub fn stage(&mut self, who: TaskKey, data: &[u8], out: &impl Sink) {
        let edtl = out.terms(who).expected.write_bytes as usize;
        let Some(exec) = self.slot_of(who) else { return missing("a seat") };
        if exec.kind != Kind::Idle || exec.early.data.is_some() {
            return;
        }
        let buf = self.allocate(who.seat, edtl.clamp(data.len(), SLICE_BYTES));
        let Some(exec) = self.exec(who.seat, who.slot()) else { return missing("a task") };
        match buf {
            Some(mut buf) => {
                buf.put(0, data);
                exec.early.data = Some((buf, data.len() as u32));
            }
            None => exec.early.is_dropped = true,
        }
    }

    /// Keeps data of a command that has come before it, `received` bytes in `buf`. `None`: it had to be dropped.
    pub fn stage_in(&mut self, who: TaskKey, staged: Option<(Buf, u32)>) {
        let Some(exec) = self.slot_of(who) else { return missing("a seat") };
        exec.early.is_dropped |= staged.is_none();
        if staged.is_some() {
            exec.early.data = staged;
        }
    }

    /// Data of a write has come without a gap, up to `received` bytes of its transfer.
    #[inline]
    pub fn data_out(&mut self, who: TaskKey, received: u32, out: &mut impl Outside) {
        if let Some(exec) = self.exec(who.seat, who.slot()) {
            exec.transfer.filled = received;
        } else {
            missing("a task");
        }
        self.advance(who.seat, who.slot(), out);
    }

    /// Ends a command with parameter data, if it is GOOD and there is some: in `buf`, if that is large enough.
    pub fn reply(&mut self, who: TaskKey, outcome: Outcome, data: &[u8], buf: Option<Buf>, out: &mut impl Outside) {
        let total = data.len().min(out.terms(who).expected.read_bytes as usize);
        let due = self.clear(who, out);
        let asked = data.len() as u64;
        if outcome != Outcome::GOOD || total == 0 {
            return out.complete(due, outcome, if asked > 0 { Moved::In(asked) } else { Moved::Nothing });
        }
        if total > SLICE_BYTES {
            return out.complete(due, TASK_SET_FULL, Moved::Nothing);
        }
        let buf = buf.filter(|buf| buf.capacity() >= total).or_else(|| self.allocate(who.seat, total));
        let Some((mut buf, at)) = buf.and_then(|buf| buf.data(total).map(|at| (buf, at))) else {
            return out.complete(due, TASK_SET_FULL, Moved::Nothing);
        };
        buf.put(0, data);
        let part = Part { offset: 0, len: total as u32, at, end: Some(asked) };
        let sent = out.data_in(due.end(), part, Body::Parameters, buf);
        debug_assert!(sent.is_ok(), "there always is room");
    }

    /// Begins work on the medium.
    pub fn medium(&mut self, who: TaskKey, unit: UnitIx, op: MediumOp, given: Given<'_>, out: &mut impl Outside) {
        // Of those that there are many of no row is made: [`MediumOp::is_plain`].
        match op {
            MediumOp::Read { lba, blocks, .. } => {
                self.read_at(who, unit, (lba, blocks), given.expected.read_bytes, out);
            }
            MediumOp::Write { lba, blocks, fua } => {
                self.write_at(who, unit, (lba, blocks, fua), given, out);
            }
            op => self.begin_by_row(who, unit, op, given, out),
        }
    }

    /// Begins a read of blocks. `expects`: the most bytes that the initiator takes.
    #[inline(always)]
    pub fn read_at(
        &mut self,
        who: TaskKey,
        unit: UnitIx,
        (lba, blocks): (u64, u32),
        expects: u32,
        out: &mut impl Outside,
    ) {
        if self.strays.are_too_many(unit) {
            return self.refuse(who, Outcome::BUSY, Moved::Nothing, out);
        }
        let block_bytes = u64::from(self.media.units[unit].block_bytes);
        self.begin_read(who, unit, (lba * block_bytes, u64::from(blocks) * block_bytes), expects, out);
    }

    /// Begins a write of blocks, which is to be durable before its status if FUA says so.
    #[inline(always)]
    pub fn write_at(
        &mut self,
        who: TaskKey,
        unit: UnitIx,
        (lba, blocks, fua): (u64, u32, bool),
        given: Given<'_>,
        out: &mut impl Outside,
    ) {
        if self.strays.are_too_many(unit) {
            return self.refuse(who, Outcome::BUSY, Moved::Nothing, out);
        }
        let block_bytes = u64::from(self.media.units[unit].block_bytes);
        let place = (lba * block_bytes, u64::from(blocks) * block_bytes);
        self.write(who, unit, place, (Action::Write, fua), given, out);
    }

    #[inline(always)]
    fn begin_read(&mut self, who: TaskKey, unit: UnitIx, place: (u64, u64), expects: u32, out: &mut impl Outside) {
        if !self.read_in_place(who, unit, place, expects, out) {
            self.read(who, unit, place, expects, out);
        }
    }

    /// Begins work on the medium as its row says.
    #[inline(never)]
    fn begin_by_row(&mut self, who: TaskKey, unit: UnitIx, op: MediumOp, given: Given<'_>, out: &mut impl Outside) {
        if self.strays.are_too_many(unit) {
            return self.refuse(who, Outcome::BUSY, Moved::Nothing, out);
        }
        let row = op.row();
        let block_bytes = self.media.units[unit].block_bytes;
        let (place, data_out_bytes) = (row.bytes(block_bytes), row.data_out_bytes(block_bytes));
        if row.length != Length::Blocks {
            let announced = u64::from(given.expected.write_bytes);
            let checked = self.media.units[unit].logical.check_data_out(row.length, data_out_bytes, announced);
            if let Err(wrong) = checked {
                return self.refuse_length(who, wrong, out);
            }
        }
        if matches!(op, MediumOp::Flush { .. })
            && let Some(exec) = self.exec(who.seat, who.slot())
        {
            exec.is_flush = true;
        }
        match row.runs {
            Runs::Read => self.begin_read(who, unit, place, given.expected.read_bytes, out),
            Runs::Slices(action) => self.write(who, unit, place, (action, row.durable), given, out),
            Runs::Gather => self.gather(who, unit, (place.0, data_out_bytes), Then::Medium(op), given, out),
            Runs::Job => self.spawn(who, unit, op, None),
            Runs::Erase { erasure, how, immed } => self.spawn_erase(who, unit, erasure, (how.clone(), immed), out),
            Runs::Copy(request) => self.copy(who, unit, request, out),
            Runs::FlushBehind => {
                // The flush goes on by itself. If it fails, the next one has to report that.
                self.flush_for(Waiter::Nobody, unit, out);
                self.refuse(who, Outcome::GOOD, Moved::Nothing, out);
            }
            Runs::Nothing => self.refuse(who, Outcome::GOOD, Moved::Nothing, out),
        }
    }

    /// Ends a command that was announced with data that does not belong to it.
    fn refuse_length(&mut self, who: TaskKey, wrong: WrongLength, out: &mut impl Outside) {
        let moved = if wrong.asked_bytes > 0 { Moved::Out(wrong.asked_bytes) } else { Moved::Nothing };
        self.refuse(who, wrong.outcome, moved, out);
    }

    /// A read that is not sent at once from where it lies.
    #[inline(never)]
    fn read(&mut self, who: TaskKey, unit: UnitIx, (base, asked): (u64, u64), expects: u32, out: &mut impl Outside) {
        let total = asked.min(u64::from(expects)) as u32;
        let Some(exec) = self.exec(who.seat, who.slot()) else { return missing("a task") };
        // Data that came with the command, of a bidirectional one: no command that reads has a use for it, and its buffer has
        // the length of what was sent, not of what is read.
        exec.early.data = None;
        // With a limit on bytes, a read of more than a slice goes slice by slice.
        let paid = total <= exec.transfer.paid;
        self.stats.read_bytes += u64::from(total);
        if total == 0 {
            return self.refuse(who, Outcome::GOOD, Moved::In(asked), out);
        }
        let in_place = paid && self.goes_in_place(who, unit, (base, total), out);
        if paid && !in_place && self.read_copied(who, unit, (base, total, asked), out) {
            return;
        }
        if let Some(exec) = self.exec(who.seat, who.slot()) {
            exec.begin(Kind::Read, who.task, unit, (base, total, asked));
            exec.transfer.in_place = in_place;
        } else {
            missing("a task");
        }
        self.advance(who.seat, who.slot(), out);
    }

    /// Begins a write-like command: at once if it goes to memory and all data is there; else slice by slice.
    fn write(
        &mut self,
        who: TaskKey,
        unit: UnitIx,
        (base, asked): (u64, u64),
        (action, durable): (Action, bool),
        given: Given<'_>,
        out: &mut impl Outside,
    ) {
        let Given { expected, inline } = given;
        let announced = u64::from(expected.write_bytes);
        if let Err(wrong) = self.media.units[unit].logical.check_data_out(Length::Blocks, asked, announced) {
            return self.refuse_length(who, wrong, out);
        }
        let total = asked.min(announced) as u32;
        self.stats.written_bytes += u64::from(total);
        if let (Some(data), Action::Write) = (inline, action)
            && data.len() >= total as usize
            && total > 0
            && let Some(ticket) = self.media.units[unit].fence.enter(self.core, base, u64::from(total))
        {
            self.media.units[unit].logical.overwritten(base, u64::from(total), self.turn.now_ms);
            if self.handles.get(unit).is_some_and(|h| h.write_in_place(base, &data[..total as usize])) {
                return self.stored(who, (unit, ticket), (base, total, asked));
            }
            self.media.units[unit].fence.leave(self.core, ticket);
        }
        let Some(exec) = self.exec(who.seat, who.slot()) else { return missing("a task") };
        exec.begin(Kind::Write(action), who.task, unit, (base, total, asked));
        exec.durable = durable;
        exec.transfer.filled = expected.received_bytes;
        self.advance_with(who, inline, out);
    }

    /// Collects `need` bytes of data, then goes on with `then`.
    pub fn gather(
        &mut self,
        who: TaskKey,
        unit: UnitIx,
        (base, need): (u64, u64),
        then: Then,
        given: Given<'_>,
        out: &mut impl Outside,
    ) {
        let Given { expected, inline } = given;
        let total = need.min(u64::from(expected.write_bytes));
        if total > SLICE_BYTES as u64 {
            return self.refuse(who, TASK_SET_FULL, Moved::Nothing, out);
        }
        let Some(exec) = self.exec(who.seat, who.slot()) else { return missing("a task") };
        exec.begin(Kind::Gather, who.task, unit, (base, total as u32, need));
        exec.then = Some(then);
        exec.transfer.filled = expected.received_bytes;
        self.advance_with(who, inline, out);
    }

    /// Makes the first slice and puts the data into it that came with the command.
    fn advance_with(&mut self, who: TaskKey, inline: Option<&[u8]>, out: &mut impl Outside) {
        if let (Some(data), Some(exec)) = (inline, self.exec(who.seat, who.slot()))
            && exec.transfer.total > 0
        {
            let total = exec.transfer.total as usize;
            if self.make_slice(who.seat, who.slot(), total.min(SLICE_BYTES), out) {
                self.place(who, 0, &data[..data.len().min(total)], out);
            } else if let Some(exec) = self.exec(who.seat, who.slot()) {
                exec.failing.also(Failure::NoBuffer);
            }
        }
        self.advance(who.seat, who.slot(), out);
    }

    /// All data of a `Kind::Gather` is there.
    pub fn gathered(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) {
        self.turn.took_time = true;
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let (task, unit, total) = (exec.task, exec.unit, exec.transfer.total);
        let slice = exec.slices.pop_front();
        let (then, (buf, scratch)) = (exec.then.take(), slice.map_or((None, None), |slice| (slice.buf, slice.scratch)));
        match then {
            Some(Then::Medium(op)) => {
                self.spawn(TaskKey { seat, task }, unit, op, buf.map(|buf| (buf, total, scratch)))
            }
            Some(Then::Parameters) => self.listed(TaskKey { seat, task }, unit, (buf, total), out),
            None => {}
        }
    }

    /// A parameter list is there, `total` bytes in `buf`.
    fn listed(&mut self, who: TaskKey, unit: UnitIx, (buf, total): (Option<Buf>, u32), out: &mut impl Outside) {
        let slot = who.slot();
        let list = buf.as_ref().and_then(|buf| buf.bytes(0, total as usize)).unwrap_or(&[]);
        let judged = out.parameters(who, unit, list);
        drop(buf);
        let goes_on = matches!(judged, Some((Plan::Medium(_) | Plan::Save(_), _)));
        let Some(exec) = self.exec(who.seat, slot) else { return missing("a task") };
        let spent = exec.spent;
        if goes_on {
            // It is counted when it is over.
            exec.kind = Kind::Idle;
        }
        let due = self.clear(who, out);
        let Some((plan, nexuses)) = judged else { return out.complete(due, TASK_SET_FULL, Moved::Nothing) };
        match plan {
            Plan::Done(outcome) if !nexuses.is_empty() => {
                let answer = Some((due, outcome, u64::from(total)));
                out.set_off(SetOff::Preempt(Box::new(Preempting { answer, unit, nexuses, standing: None })));
            }
            // The residual count is that of the list, which is what was moved, not that of an answer.
            Plan::Done(outcome) => out.complete(due, outcome, Moved::Out(u64::from(total))),
            Plan::Medium(op) => {
                self.keep_due(due, spent);
                let given = Given { expected: out.terms(who).expected, inline: None };
                self.medium(who, unit, op, given, out);
                // What was moved is the list: that is what residuals are counted from.
                if let Some(exec) = self.exec(who.seat, slot).filter(|e| e.kind == Kind::Job) {
                    exec.transfer.asked = u64::from(total);
                }
            }
            Plan::Save(saving) => {
                self.keep_due(due, spent);
                self.spawn_save(who, unit, saving, u64::from(total), out);
            }
            Plan::Parameters { .. } | Plan::Buffer => out.complete(due, TASK_SET_FULL, Moved::Nothing),
        }
    }

    /// The command goes on after its list: it is to be ended still.
    fn keep_due(&mut self, due: Due, spent: Spent) {
        match self.slot_of(due.who()) {
            Some(exec) => {
                exec.spent = spent;
                exec.due.put(due);
            }
            // Nobody has this seat any more.
            None => _ = due.end(),
        }
    }

    /// Aborts a task. Nothing more of it is sent, and it is let go of when nothing is under way any more. `target`: whose
    /// target it is, for those who wait for its end.
    pub fn abort(&mut self, who: TaskKey, target: usize, out: &mut impl Outside) {
        let slot = who.slot();
        let Some(exec) = self.exec(who.seat, slot) else {
            // The task was never begun, and no data came with it.
            return out.released(Due::of(who));
        };
        exec.task = who.task;
        // Perhaps it was never begun.
        exec.due.ensure(who);
        exec.aborted = true;
        if !exec.under_way.is_none() {
            self.mark_left(who.seat, slot, target);
            self.await_medium(who);
            return self.cancel_jobs(who.seat, slot, out);
        }
        let due = self.clear(who, out);
        out.released(due);
    }

    /// Counts an aborted task for those who wait for its end.
    fn mark_left(&mut self, seat: SeatIx, slot: usize, target: usize) {
        let (left, marks) = (&self.leftovers.left, &mut self.leftovers.marks);
        let Some(exec) = self.clients.get_mut(seat.at()).and_then(|client| client.tasks.get_mut(slot)) else {
            return missing("a task");
        };
        let unit = exec.unit;
        let scopes = [Scope::Seat(seat, None), Scope::Seat(seat, Some(unit)), Scope::Target(target), Scope::Unit(unit)];
        exec.left = Some(marks.mark(left, &scopes));
    }

    /// The unit at which a task has begun to work, if it has.
    pub fn begun_at(&self, who: TaskKey) -> Option<UnitIx> {
        let exec = self.tasks(who.seat).get(who.slot())?;
        (exec.task == who.task && exec.is_at_work()).then_some(exec.unit)
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
