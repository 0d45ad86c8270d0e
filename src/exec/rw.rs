//! Reads and writes: the data path. A task's transfer is cut into slices; each has a buffer, and up to `SLICES` are
//! under way at a time.
//!
//! [`Executor::advance`] does what `Exec::next_step` says until that is nothing. Whoever changes something that a step
//! depends on calls it: data has come, the medium has answered, there is a buffer, a range, or room.
//!
//! Invariants: a slice has entered the fence of its unit before the medium is asked, and leaves it when that is over. A
//! task that failed or was aborted is wound up only when nothing of it is under way.

use super::executor::{Client, Executor, Turn};
use crate::backend::Op;
use crate::buffers::Buf;
use crate::canary::{Canary, sings};
use crate::limits::SLICE_BYTES;
use crate::missing::missing;
use crate::model::{MediumFault, SeatIx, TaskKey, UnitIx};
use crate::scsi::sense::{asc, key};
use crate::scsi::{Outcome, Sense};
use crate::tasks::failing::Failure;
use crate::tasks::memory::Copying;
use crate::tasks::operations::Owner;
use crate::tasks::sink::{Body, Moved, Outside, Part};
use crate::tasks::spent::Stage;
use crate::tasks::task::{Action, Exec, Kind, Progress, SLICES, Slice, Then};
use crate::unit::Unit;
use crate::waits::flushes::Waiter;
use crate::waits::strays::Hold;

/// What [`Exec::next_step`] found to do for a task.
enum Step {
    /// Send the oldest slice, a read that is full.
    Send,
    /// Send the next piece from where it lies.
    SendInPlace,
    /// Run the slice at this offset on the medium.
    Run(u32),
    /// Let go of the oldest slice, a write that is done.
    Retire,
    /// Make the next slice.
    Slice(usize),
    /// All Data-Out is there.
    Gathered,
    /// Everything is done.
    Complete,
    /// The task failed or was aborted, and nothing of it is in flight.
    WindUp,
    /// Wait.
    Nothing,
}

impl Exec {
    #[inline]
    fn next_step(&self) -> Step {
        if self.kind == Kind::Idle {
            return Step::Nothing;
        }
        if self.aborted || self.failing.is_any() {
            return if self.under_way.is_none() { Step::WindUp } else { Step::Nothing };
        }
        match self.kind {
            Kind::Idle | Kind::Job => return Step::Nothing,
            Kind::Read if self.transfer.in_place => return Step::SendInPlace,
            Kind::Read => {
                if self.slices.front().is_some_and(|s| s.progress == Progress::Ready) {
                    return Step::Send;
                }
            }
            Kind::Write(_) => {
                let is_done = |s: &Slice| {
                    s.progress == Progress::Ready || sings(Canary::EarlyAnswer) && s.progress == Progress::Busy
                };
                if self.slices.front().is_some_and(is_done) {
                    return Step::Retire;
                }
                let full = |s: &&Slice| s.progress == Progress::Filling && s.offset + s.len <= self.transfer.filled;
                if let Some(slice) = self.slices.iter().find(full).filter(|_| !self.waits.fenced) {
                    return Step::Run(slice.offset);
                }
                if self.transfer.moved == self.transfer.total {
                    return if self.waits.flushing.is_some() { Step::Nothing } else { Step::Complete };
                }
            }
            Kind::Gather => {
                let lent = |s: &Slice| matches!(s.progress, Progress::Lent { .. });
                if self.transfer.is_started()
                    && self.transfer.filled >= self.transfer.total
                    && !self.slices.iter().any(lent)
                {
                    return Step::Gathered;
                }
            }
        }
        let waits = self.waits.keep_slices() || self.waits.fenced && self.kind == Kind::Read;
        if !self.transfer.is_started() && self.slices.len() < SLICES && !waits {
            return Step::Slice(((self.transfer.total - self.transfer.started) as usize).min(SLICE_BYTES));
        }
        Step::Nothing
    }
}

/// SBC-4 table 32: a read that an atomic write has come between may be terminated so.
const OVERLAPPING: Outcome =
    Outcome::check(Sense::new(key::ABORTED_COMMAND, asc::OVERLAPPING_ATOMIC_COMMAND_IN_PROGRESS));

/// A slice that is longer than its buffer: the medium is not asked.
const TOO_LONG: MediumFault = MediumFault::Internal(libc::ERANGE);

/// The length that is moved on the medium for `len` bytes of a transfer: whole blocks.
pub(super) fn on_medium(len: u32, block_bytes: u32) -> usize {
    len.next_multiple_of(block_bytes) as usize
}

/// A slice of a read has entered the fence.
struct Entered {
    /// Where it begins on the medium.
    at: u64,
    /// Its count there.
    hold: Hold,
}

/// The task in a slot, for who needs more of the executor beside it.
#[inline]
pub fn task_in(clients: &mut [Client], seat: SeatIx, slot: usize) -> Option<&mut Exec> {
    clients.get_mut(seat.at())?.tasks.get_mut(slot)
}

impl Executor {
    /// Takes a task as far as it goes without waiting.
    pub fn advance(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) {
        let now_ns = self.turn.now_ns;
        loop {
            let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
            match exec.next_step() {
                Step::Nothing => {
                    exec.stops(now_ns);
                    return;
                }
                Step::Send => {
                    if self.send_front(seat, slot, out) {
                        return;
                    }
                }
                Step::SendInPlace => {
                    if self.send_piece(seat, slot, out) {
                        return;
                    }
                }
                Step::Retire => self.retire_front(seat, slot),
                Step::Run(offset) => self.run_slice(seat, slot, offset, out),
                Step::Slice(len) => {
                    if !self.overtakes_stray(seat, slot, len) && !self.make_slice(seat, slot, len, out) {
                        return;
                    }
                }
                Step::Gathered => return self.gathered(seat, slot, out),
                Step::Complete => return self.written(seat, slot, out),
                Step::WindUp => return self.wind_up(seat, slot, out),
            }
        }
    }

    /// There is room for data of a task that waited for that.
    pub fn has_room(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) {
        if let Some(exec) = self.exec(seat, slot).filter(|exec| exec.waits.crowded) {
            exec.waits.crowded = false;
            self.advance(seat, slot, out);
        }
    }

    /// The task in a slot.
    #[inline]
    pub fn exec(&mut self, seat: SeatIx, slot: usize) -> Option<&mut Exec> {
        task_in(&mut self.clients, seat, slot)
    }

    /// Sends the oldest slice of a read. True: that was all, and the slot is free; or there is no room.
    fn send_front(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) -> bool {
        let Some(exec) = task_in(&mut self.clients, seat, slot) else {
            missing("a task");
            return true;
        };
        if exec.waits.crowded {
            exec.stops(self.turn.now_ns);
            return true;
        }
        let Some(mut slice) = exec.slices.pop_front() else {
            missing("a slice");
            return false;
        };
        let Some(buf) = slice.buf.take() else {
            missing("a buffer");
            return false;
        };
        let Some(at) = buf.data(slice.len as usize) else {
            exec.failing.also(Failure::Medium(TOO_LONG));
            exec.slices.push_front(Slice { buf: Some(buf), ..slice });
            return false;
        };
        let (who, unit) = (TaskKey { seat, task: exec.task }, exec.unit);
        let last = exec.transfer.moved + slice.len == exec.transfer.total;
        let part = Part { offset: slice.offset, len: slice.len, at, end: last.then_some(exec.transfer.asked) };
        let body = Body::Medium { copied_from: slice.source, must: false };
        if let Err(buf) = out.data_in(who, part, body, buf) {
            exec.waits.crowded = true;
            exec.stops(self.turn.now_ns);
            exec.slices.push_front(Slice { buf: Some(buf), ..slice });
            return true;
        }
        exec.transfer.moved += slice.len;
        if last {
            exec.clear_counted(who, &mut self.tally).end();
        }
        if let Some(hold) = slice.hold {
            self.release_hold(unit, hold);
        }
        last
    }

    /// All of a write is done: it is answered, once it is durable if it has to be.
    pub(super) fn written(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) {
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let (asked, unit, durable) = (exec.transfer.asked, exec.unit, exec.durable);
        let who = TaskKey { seat, task: exec.task };
        let Unit { volatile, logical, .. } = &*self.media.units[unit];
        let mut outcome = Outcome::GOOD;
        // What counts is whether the cache is off now, not when the command came: a host that has switched it off
        // trusts every GOOD after that.
        if *volatile && (durable || logical.is_write_through()) {
            let Some(durable) = self.made_durable(seat, slot, out) else { return };
            outcome = durable;
        }
        let due = self.clear(who, out);
        out.complete(due, outcome, Moved::Out(asked));
    }

    /// The outcome of a write that is to be durable; `None`: a flush is waited for.
    fn made_durable(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) -> Option<Outcome> {
        let exec = self.exec(seat, slot)?;
        let (task, unit, durable, flushed) = (exec.task, exec.unit, exec.durable, exec.flushed);
        if matches!(exec.kind, Kind::Write(Action::Compare)) {
            return Some(Outcome::GOOD);
        }
        let verified = matches!(exec.kind, Kind::Write(Action::WriteVerify { .. }));
        if flushed || durable && (self.media.units[unit].direct || verified) {
            return Some(self.vouch(TaskKey { seat, task }, unit, out));
        }
        let now_ns = self.turn.now_ns;
        self.exec(seat, slot)?.spent.goes_on_in(Stage::Medium, now_ns);
        self.flush_for(Waiter::Task(seat, slot), unit, out);
        None
    }

    /// Lets go of the oldest slice, a write that is done.
    fn retire_front(&mut self, seat: SeatIx, slot: usize) {
        if let Some(exec) = self.exec(seat, slot)
            && let Some(slice) = exec.slices.pop_front()
        {
            exec.transfer.moved += slice.len;
        }
    }

    /// Makes the next slice; false: no buffer is free, the task waits in the core's queue.
    pub fn make_slice(&mut self, seat: SeatIx, slot: usize, len: usize, out: &mut impl Outside) -> bool {
        let Some(exec) = self.exec(seat, slot) else {
            missing("a task");
            return false;
        };
        if exec.transfer.started.saturating_add(len as u32) > exec.transfer.paid && !self.pay_slice(seat, slot, len) {
            return false;
        }
        let Some(client) = self.clients.get_mut(seat.at()) else {
            missing("a seat");
            return false;
        };
        let Some(exec) = client.tasks.get_mut(slot) else {
            missing("a task");
            return false;
        };
        let (is_read, unit, offset) = (exec.kind == Kind::Read, exec.unit, exec.transfer.started);
        // Data that came with a read (a bidirectional command) is nothing that the medium is to overwrite: it has been
        // let go of when the read began.
        let fits = |staged: &mut (Buf, u32)| staged.0.capacity() >= len;
        let staged = if exec.transfer.started == 0 { exec.early.data.take_if(fits).map(|(buf, _)| buf) } else { None };
        if exec.transfer.started == 0 && exec.early.data.is_some() {
            exec.failing.also(Failure::NoBuffer);
            return true;
        }
        let was_staged = staged.is_some();
        let buf = staged.or_else(|| client.account.take(len));
        let needs_two = matches!(exec.kind, Kind::Write(action) if action != Action::Write)
            || matches!(&exec.then, Some(Then::Medium(op)) if exec.kind == Kind::Gather && op.row().scratch);
        let scratch = if needs_two && buf.is_some() { client.account.take(len) } else { None };
        let Some(buf) = buf.filter(|_| scratch.is_some() == needs_two) else {
            if was_staged {
                // To wait with the data for a second buffer would keep others from having theirs.
                exec.failing.also(Failure::NoBuffer);
                return true;
            }
            exec.waits.starved = true;
            exec.stops(self.turn.now_ns);
            self.waits.starved.tasks.push(seat, slot);
            self.stats.most_waiting = self.stats.most_waiting.max(self.waits.starved.tasks.len() as u64);
            return false;
        };
        if is_read {
            self.read_slice((seat, slot, offset), unit, len as u32, buf, out);
        } else {
            self.fill_slice(seat, slot, Slice::to_fill(buf, scratch, offset, len as u32), out);
        }
        true
    }

    /// Asks for the data of the next slice, as far as it has not come already.
    fn fill_slice(&mut self, seat: SeatIx, slot: usize, slice: Slice, out: &mut impl Outside) {
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        exec.transfer.started += slice.len;
        exec.slices.push_back(slice);
        if exec.transfer.filled < exec.transfer.started {
            out.want_data_out(TaskKey { seat, task: exec.task }, exec.transfer.started);
        }
    }

    /// Reads the next slice of a task, unless it has to wait for its range.
    #[inline]
    fn read_slice(
        &mut self,
        (seat, slot, offset): (SeatIx, usize, u32),
        unit: UnitIx,
        len: u32,
        buf: Buf,
        out: &mut impl Outside,
    ) {
        let Some(Entered { at, hold }) = self.enter_read(seat, slot, unit, len) else { return };
        let (source, now_ns) = (self.memory_of(unit, at, len), self.turn.now_ns);
        let buffer = buf.buffer(on_medium(len, self.media.units[unit].block_bytes));
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let progress = Progress::Busy;
        exec.slices.push_back(Slice { buf: Some(buf), scratch: None, offset, len, progress, hold: Some(hold), source });
        exec.transfer.started += len;
        exec.begin_at_medium(now_ns);
        if let Some(from) = source {
            self.memory.copying.push_back(Copying { seat, slot, offset, from, len: len as usize, whole: None });
            return;
        }
        self.start_slice((seat, slot, offset), unit, buffer.map(|buffer| Op::Read { offset: at, buffer }), out);
    }

    /// Has the next slice of a read enter the fence. `None`: it has to wait, or the read fails.
    #[inline]
    fn enter_read(&mut self, seat: SeatIx, slot: usize, unit: UnitIx, len: u32) -> Option<Entered> {
        let exec = task_in(&mut self.clients, seat, slot)?;
        let (at, is_first, len) = (exec.transfer.next_at(), exec.transfer.started == 0, u64::from(len));
        let fence = &self.media.units[unit].fence;
        if is_first {
            exec.transfer.given_back = fence.given_back();
        }
        let given_back = exec.transfer.given_back;
        let Some(ticket) = fence.enter_read(self.core, at, len) else {
            self.wait_for_fence(seat, slot, (at, len));
            return None;
        };
        exec.waits.fenced_since_ms = None;
        // Two parts of a read are to be of one moment, if atomic writes are made in between.
        if !is_first && fence.given_back() != given_back && fence.is_torn(given_back, at) {
            fence.leave(self.core, ticket);
            exec.failing.also(Failure::Outcome(OVERLAPPING));
            return None;
        }
        Some(Entered { at, hold: Hold::Counted(ticket) })
    }

    /// Starts what is to be done with a slice. `None`: its buffer is not as long as that.
    fn start_slice(
        &mut self,
        (seat, slot, offset): (SeatIx, usize, u32),
        unit: UnitIx,
        op: Option<Op>,
        out: &mut impl Outside,
    ) {
        let done = match op {
            Some(op) => self.start(unit, op, Owner::Slice { seat, slot, offset }, out).map(|(_, result)| result),
            None => Some(Err(TOO_LONG)),
        };
        if let Some(result) = done {
            self.note_slice(seat, slot, offset, result);
        }
    }

    /// Writes a slice whose data is there.
    fn run_slice(&mut self, seat: SeatIx, slot: usize, offset: u32, out: &mut impl Outside) {
        let Turn { now_ms, now_ns, .. } = self.turn;
        let Some(exec) = task_in(&mut self.clients, seat, slot) else { return missing("a task") };
        let (unit, at) =
            (exec.unit, exec.transfer.base + if sings(Canary::SlicesOnFirst) { 0 } else { u64::from(offset) });
        let Kind::Write(action) = exec.kind else { return missing("a write") };
        let Unit { fence, logical, direct, .. } = &*self.media.units[unit];
        let durable = exec.durable && *direct;
        let Some(slice) = exec.slice_at(offset) else { return missing("a slice") };
        let len = slice.len as usize;
        if action == Action::Write {
            let Some(ticket) = fence.enter(self.core, at, len as u64) else {
                return self.wait_for_fence(seat, slot, (at, len as u64));
            };
            logical.overwritten(at, len as u64, now_ms);
            slice.hold = Some(Hold::Counted(ticket));
        }
        slice.progress = Progress::Busy;
        let buffer = slice.buf.as_ref().and_then(|buf| buf.buffer(len));
        exec.waits.fenced_since_ms = None;
        exec.begin_at_medium(now_ns);
        if action == Action::Write {
            let op = buffer.map(|buffer| Op::Write { offset: at, buffer, durable });
            self.start_slice((seat, slot, offset), unit, op, out);
        } else {
            // All other actions are jobs, which enter or lock by themselves.
            self.spawn_slice(seat, slot, offset, action);
        }
    }

    /// An operation on a slice is done, in this turn or by a completion.
    pub fn slice_done(
        &mut self,
        seat: SeatIx,
        slot: usize,
        offset: u32,
        result: Result<(), MediumFault>,
        out: &mut impl Outside,
    ) {
        self.note_slice(seat, slot, offset, result);
        self.advance(seat, slot, out);
    }

    /// Notes what has come of an operation on a slice. The task does not go on by that.
    fn note_slice(&mut self, seat: SeatIx, slot: usize, offset: u32, result: Result<(), MediumFault>) {
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        exec.under_way.over();
        let (unit, durable) = (exec.unit, exec.durable);
        let hold = exec.slice_at(offset).and_then(|slice| {
            slice.progress = Progress::Ready;
            // A slice that is copied from memory is copied when it is sent, and stays counted until then.
            if slice.source.is_some() { None } else { slice.hold.take() }
        });
        if let Err(fault) = result {
            self.slice_failed(seat, slot, (offset, unit, durable), fault);
        }
        if let Some(hold) = hold {
            self.release_hold(unit, hold);
        }
    }

    #[cold]
    fn slice_failed(
        &mut self,
        seat: SeatIx,
        slot: usize,
        (offset, unit, durable): (u32, UnitIx, bool),
        fault: MediumFault,
    ) {
        let Unit { direct, logical, .. } = &*self.media.units[unit];
        // Nobody has said which block could not be written.
        let failure = match durable && *direct && !fault.is_refusal() {
            true => Failure::Lost(logical.fault(fault, None)),
            false => Failure::Medium(fault),
        };
        if let Some(exec) = self.exec(seat, slot) {
            exec.failing.at(offset, failure);
        } else {
            missing("a task");
        }
    }
}
