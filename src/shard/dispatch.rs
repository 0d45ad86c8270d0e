//! From PDUs to sessions, and from session events to work.

use super::buffers::Buf;
use super::engine::{Engine, Order, Parts, Phase, Seat};
use super::exec::{Action, Exec, Kind, Then};
use super::flush::Waiter;
use super::resend::Source;
use super::rw::give_after;
use super::stray::DOES_NOT_ANSWER;
use super::world::LunMap;
use crate::limits::{SLICE_BYTES, TASKS_PER_SESSION};
use crate::scsi::{Command, Length, MediumOp, Now, Outcome, Plan, Runs, WrongLength, aborts_others, asks_readiness};
use crate::session::seam::{CloseReason, ConnIx, Dest, Event, TaskId};
use crate::session::{DataInEnd, Direction, Session};
use crate::wire::{Bhs, Opcode, bhs};
use std::sync::atomic::Ordering;

/// SAM-5 section 5.3.1: TASK SET FULL, for want of a buffer for data that could not wait. MaxCmdSN is the normal means of
/// flow control; this one is for an arena that others have emptied.
pub const TASK_SET_FULL: Outcome = Outcome { status: 0x28, sense: None };

/// Data of a command that lies whole in the received chunk: valid until the events of its PDU are handled.
#[derive(Clone, Copy)]
struct Inline<'a> {
    task: TaskId,
    data: &'a [u8],
}

/// A PDU whose data segment is still coming in.
pub struct Partial {
    /// Its header.
    pub bhs: Bhs,
    /// Its additional header segments.
    pub ahs: Vec<u8>,
    /// Where its data goes.
    pub dest: PartialDest,
    /// Bytes of it that have been received.
    pub received: u32,
    /// When it began, milliseconds of the core's clock.
    pub since_ms: u64,
}

/// Where the data segment of a [`Partial`] goes.
pub enum PartialDest {
    /// Collected for the session.
    Gather(Vec<u8>),
    /// Immediate data: a buffer of its own until there is a task. `None`: none was free, or a receive has it (`loan.rs`).
    Staging(Option<Buf>),
    /// A task's transfer, from this offset on.
    Task(TaskId, u32),
    /// Dropped as it comes in.
    Discard,
}

impl Engine {
    /// Acts on a PDU of full feature phase that lies whole in the chunk.
    #[inline]
    pub fn whole(&mut self, seat: usize, ix: ConnIx, bhs: &Bhs, ahs: &[u8], data: &[u8], digest_ok: bool) {
        let now_ms = self.now_ms;
        let Some(Parts { seat: holder, mut out, .. }) = self.parts(seat) else { return };
        let Seat { session, text, .. } = holder;
        if bhs::opcode(bhs) == Opcode::SCSI_COMMAND {
            let task = session.finish(now_ms, ix, bhs, ahs, &[], digest_ok, &mut out, text);
            return self.events(seat, task.map(|task| Inline { task, data }));
        }
        let dest = session.begin(ix, bhs, ahs, data.len(), &mut out);
        let gathered = if dest == Dest::Gather { data } else { &[] };
        if let Dest::Task { task, offset } = dest
            && digest_ok
        {
            self.place(seat, task, offset, data);
            let Some(Parts { seat: holder, mut out, .. }) = self.parts(seat) else { return };
            let Seat { session, text, .. } = holder;
            session.finish(now_ms, ix, bhs, ahs, gathered, digest_ok, &mut out, text);
            return self.events(seat, None);
        }
        session.finish(now_ms, ix, bhs, ahs, gathered, digest_ok, &mut out, text);
        self.events(seat, None);
    }

    /// Begins a PDU of full feature phase whose header is in: says where its data goes.
    pub fn begin(&mut self, seat: usize, ix: ConnIx, bhs: &Bhs, ahs: &[u8], data_len: usize) -> Option<Partial> {
        let Parts { seat: holder, mut out, .. } = self.parts(seat)?;
        let dest = match holder.session.begin(ix, bhs, ahs, data_len, &mut out) {
            Dest::Gather => PartialDest::Gather(Vec::with_capacity(data_len)),
            Dest::Immediate { edtl_bytes } => {
                PartialDest::Staging(self.allocate(seat, (edtl_bytes as usize).clamp(data_len, SLICE_BYTES)))
            }
            Dest::Task { task, offset } => PartialDest::Task(task, offset),
            Dest::Discard => PartialDest::Discard,
        };
        Some(Partial { bhs: *bhs, ahs: ahs.to_vec(), dest, received: 0, since_ms: self.now_ms })
    }

    /// Takes some of the data of a PDU.
    pub fn data(&mut self, seat: usize, partial: &mut Partial, bytes: &[u8]) {
        match &mut partial.dest {
            PartialDest::Gather(gathered) => gathered.extend_from_slice(bytes),
            PartialDest::Staging(Some(buf)) => {
                buf.put(partial.received as usize, bytes);
            }
            PartialDest::Task(task, offset) => self.place(seat, *task, *offset + partial.received, bytes),
            PartialDest::Staging(None) | PartialDest::Discard => {}
        }
        partial.received += bytes.len() as u32;
    }

    /// Ends a PDU whose data is all in: the session acts on it.
    pub fn end(&mut self, seat: usize, ix: ConnIx, partial: Partial, digest_ok: bool) {
        let now_ms = self.now_ms;
        let Some(Parts { seat: holder, mut out, .. }) = self.parts(seat) else { return };
        let Seat { session, text, exec, .. } = holder;
        let Partial { bhs, ahs, dest, received, .. } = partial;
        let gathered = if let PartialDest::Gather(bytes) = &dest { bytes.as_slice() } else { &[] };
        let task = session.finish(now_ms, ix, &bhs, &ahs, gathered, digest_ok, &mut out, text);
        if let PartialDest::Staging(buf) = dest {
            match (task, buf) {
                (Some(task), Some(buf)) => slot_of(exec, task).staging = Some((buf, received)),
                (Some(task), None) => slot_of(exec, task).dropped = true,
                (None, _) => {}
            }
        }
        self.events(seat, None);
    }

    /// Keeps the data of a command that was not executed at once (it waits for its CmdSN).
    pub fn stage(&mut self, seat: usize, task: TaskId, data: &[u8]) {
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        if !holder.session.is_live(task) {
            return;
        }
        let edtl = holder.session.command(task).edtl_bytes as usize;
        let exec = slot_of(&mut holder.exec, task);
        if exec.kind != Kind::Idle || exec.staging.is_some() {
            return;
        }
        match self.allocate(seat, edtl.clamp(data.len(), SLICE_BYTES)) {
            Some(mut buf) => {
                buf.put(0, data);
                if let Some(exec) = self.exec(seat, task.slot()) {
                    exec.staging = Some((buf, data.len() as u32));
                }
            }
            None => {
                if let Some(exec) = self.exec(seat, task.slot()) {
                    exec.dropped = true;
                }
            }
        }
    }

    /// Handles what a session asks for. Data that came with a command which is not executed now is kept.
    #[inline]
    fn events(&mut self, seat: usize, mut inline: Option<Inline<'_>>) {
        self.stir(seat);
        let mut keeps_order = false;
        while let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) {
            if let Some(task) = holder.session.next_command() {
                let own = inline.take_if(|i| i.task == task);
                self.execute(seat, task, own.map(|i| i.data));
            } else if let Some(event) = holder.session.next_event() {
                self.event(seat, event);
            } else {
                keeps_order = holder.session.keeps_order();
                break;
            }
        }
        if let Some(Inline { task, data }) = inline {
            self.stage(seat, task, data);
        }
        if keeps_order {
            self.order(seat);
        }
    }

    /// Notes that a session keeps the order of commands.
    #[cold]
    fn order(&mut self, seat: usize) {
        if let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut)
            && holder.order == Order::Free
        {
            holder.order = Order::Kept;
        }
    }

    /// Goes on with the sessions that keep the order of commands and of which something may have ended, since that may
    /// have let others begin. It looks at no others: there may be many that only wait.
    pub fn keep_order(&mut self) {
        for seat in std::mem::take(&mut self.ordering) {
            let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { continue };
            // The seat may be another session's by now.
            if holder.order == Order::Stirred {
                holder.order = if holder.session.keeps_order() { Order::Kept } else { Order::Free };
            }
            if !holder.session.has_events() {
                continue;
            }
            self.pump(seat);
            // What has ended just now has perhaps let the next ones begin.
            while !self.stored.is_empty() {
                self.settle_stores();
                self.pump(seat);
            }
        }
    }

    /// Handles one event; commands to be run were mostly taken before.
    #[inline(never)]
    fn event(&mut self, seat: usize, event: Event) {
        match event {
            Event::Execute(task) => self.execute(seat, task, None),
            Event::DataOut { task, received_bytes } => {
                if let Some(exec) = self.exec(seat, task.slot()) {
                    exec.filled = received_bytes;
                }
                self.advance(seat, task.slot());
            }
            Event::Resend { task, offset, len } => self.resend(seat, task, offset, len),
            Event::Abort(task) => self.abort(seat, task),
            Event::Cleared { lun } => self.cleared(seat, lun),
            Event::TaskManagement(request) => self.manage(seat, request),
            Event::Close { conn, reason } => self.close_slot(seat, conn, reason),
            Event::Ended { reason } => self.ended(seat, reason),
        }
    }

    /// Handles what a session asks for, outside the receive path.
    pub fn pump(&mut self, seat: usize) {
        self.events(seat, None);
    }

    /// Plans a command and begins it.
    fn execute(&mut self, seat: usize, task: TaskId, inline: Option<&[u8]>) {
        self.stats.commands += 1;
        let now = self.now();
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        let Seat { session, nexus, map, flows, exec, .. } = holder;
        let command = command_of(session, task, map, now);
        let position = command.lun.number().and_then(|n| map.position(n));
        let unit = position.map_or(usize::MAX, |at| map.units[at]);
        let exec = slot_of(exec, task);
        exec.task = task;
        if exec.dropped {
            // A command whose data was dropped ends before it is planned: planning may change something, or take a unit
            // attention.
            self.clear(seat, task.slot());
            return self.complete(seat, task, TASK_SET_FULL, 0, Direction::None);
        }
        let plan = match position {
            Some(at) => self.world.units[unit].logical.plan(&mut nexus[at], &command, &mut self.reply),
            None => crate::scsi::absent(&command, &mut self.reply),
        };
        self.acting.took_time |= !matches!(&plan, Plan::Medium(op) if op.is_plain());
        let limited = !flows.is_empty();
        match plan {
            Plan::Done(outcome) => {
                if !self.copies.is_empty() {
                    self.end_aborted_copy(seat, task, outcome);
                }
                let outcome = self.unless_hung(seat, task, unit, outcome);
                self.reply(seat, task, outcome);
            }
            Plan::Parameters { len_bytes } => {
                self.gather(seat, task, unit, (0, u64::from(len_bytes)), Then::Parameters, inline);
            }
            Plan::Medium(op) if limited => {
                if let Some(op) = self.pay_command(seat, task, unit, op) {
                    self.medium(seat, task, unit, op, inline);
                } else {
                    if let Some(data) = inline {
                        self.stage(seat, task, data);
                    }
                    self.bound_waiting(seat, task);
                }
            }
            Plan::Medium(op) => self.medium(seat, task, unit, op, inline),
            Plan::Save(saving) => self.spawn_save(seat, task, unit, saving, 0),
            Plan::Buffer => self.execute_with_buffer(seat, task),
        }
    }

    /// Plans a command once more that forgets what it tells, now with a buffer for that. Without one it has done nothing.
    #[cold]
    fn execute_with_buffer(&mut self, seat: usize, task: TaskId) {
        let Some(holder) = self.seats.get(seat).and_then(Option::as_deref) else { return };
        let asked = (holder.session.command(task).read_edtl_bytes() as usize).min(SLICE_BYTES);
        let buf = if asked > 0 { self.allocate(seat, asked) } else { None };
        let has_room = asked == 0 || buf.is_some();
        let now = self.now();
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        let Seat { session, nexus, map, .. } = holder;
        let command = command_of(session, task, map, now);
        let position = command.lun.number().and_then(|n| map.position(n));
        if let Some(at) = position.filter(|_| has_room) {
            self.reply.unbuffered = false;
            let plan = self.world.units[map.units[at]].logical.plan(&mut nexus[at], &command, &mut self.reply);
            self.reply.unbuffered = true;
            if let Plan::Done(outcome) = plan {
                return self.reply_in(seat, task, outcome, buf);
            }
        }
        self.clear(seat, task.slot());
        self.complete(seat, task, TASK_SET_FULL, 0, Direction::None);
    }

    /// The outcome of a command that needs no medium: TEST UNIT READY tells of one that does not answer.
    fn unless_hung(&self, seat: usize, task: TaskId, unit: usize, outcome: Outcome) -> Outcome {
        let Some(unit) = self.world.units.get(unit).filter(|unit| unit.hung.load(Ordering::Relaxed) > 0) else {
            return outcome;
        };
        let seat = self.seats.get(seat).and_then(Option::as_deref);
        let asks = seat.is_some_and(|seat| asks_readiness(seat.session.command(task).cdb.for_device_server()));
        if outcome == Outcome::GOOD && asks { unit.logical.formatted(DOES_NOT_ANSWER) } else { outcome }
    }

    /// Ends a command with the parameter data in `Engine::reply`, if it is GOOD and there is some.
    pub fn reply(&mut self, seat: usize, task: TaskId, outcome: Outcome) {
        self.reply_in(seat, task, outcome, None);
    }

    /// Like [`Engine::reply`], with the parameter data in `buf` if that is large enough.
    fn reply_in(&mut self, seat: usize, task: TaskId, outcome: Outcome, buf: Option<Buf>) {
        let len = self.reply.data.len();
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        let cmd = holder.session.command(task);
        let total = len.min(cmd.read_edtl_bytes() as usize);
        let keeps = holder.session.keeps();
        self.clear(seat, task.slot());
        if outcome != Outcome::GOOD || total == 0 {
            let (asked, direction) = if len > 0 { (len as u64, Direction::In) } else { (0, Direction::None) };
            return self.complete(seat, task, outcome, asked, direction);
        }
        if total > SLICE_BYTES {
            return self.complete(seat, task, TASK_SET_FULL, 0, Direction::None);
        }
        let buf = buf.filter(|buf| buf.capacity() >= total);
        let Some(mut buf) = buf.or_else(|| self.allocate(seat, total)) else {
            return self.complete(seat, task, TASK_SET_FULL, 0, Direction::None);
        };
        buf.put(0, &self.reply.data);
        if keeps {
            let data = std::mem::take(&mut self.reply.data);
            self.remember(seat, task, Source::Bytes(data.get(..total).unwrap_or(&[])));
            self.reply.data = data;
        }
        let Some(at) = buf.data(total) else {
            return self.complete(seat, task, TASK_SET_FULL, 0, Direction::None);
        };
        let Some(Parts { seat: holder, mut out, .. }) = self.parts(seat) else { return };
        let conn = holder.session.command(task).conn;
        let end = Some(DataInEnd { transfer_bytes: len as u64 });
        holder.session.data_in(task, 0, total as u32, at, end, &mut out);
        give_after(&mut out, conn, buf);
    }

    /// Begins work on the medium.
    pub fn medium(&mut self, seat: usize, task: TaskId, unit: usize, op: MediumOp, inline: Option<&[u8]>) {
        if self.strays.are_too_many(unit) {
            self.clear(seat, task.slot());
            return self.complete(seat, task, Outcome::BUSY, 0, Direction::None);
        }
        let block_bytes = u64::from(self.world.units[unit].block_bytes);
        let at = |lba: u64, blocks: u32| (lba * block_bytes, u64::from(blocks) * block_bytes);
        match op {
            // Of those that there are many of no row is made: [`MediumOp::is_plain`].
            MediumOp::Read { lba, blocks, .. } => {
                if !self.read_in_place(seat, task, unit, at(lba, blocks)) {
                    self.read(seat, task, unit, at(lba, blocks));
                }
            }
            MediumOp::Write { lba, blocks, fua } => {
                self.write(seat, task, unit, at(lba, blocks), (Action::Write, fua), inline);
            }
            op => self.begin_by_row(seat, task, unit, op, inline),
        }
    }

    /// Begins work on the medium as its row says.
    #[inline(never)]
    fn begin_by_row(&mut self, seat: usize, task: TaskId, unit: usize, op: MediumOp, inline: Option<&[u8]>) {
        let row = op.row();
        let block_bytes = self.world.units[unit].block_bytes;
        let (place, data_out_bytes) = (row.bytes(block_bytes), row.data_out_bytes(block_bytes));
        if row.length != Length::Blocks {
            let announced = self.announced(seat, task);
            if let Err(wrong) = self.world.units[unit].logical.check_data_out(row.length, data_out_bytes, announced) {
                return self.refuse_length(seat, task, wrong);
            }
        }
        match row.runs {
            Runs::Read => {
                if !self.read_in_place(seat, task, unit, place) {
                    self.read(seat, task, unit, place);
                }
            }
            Runs::Slices(action) => self.write(seat, task, unit, place, (action, row.durable), inline),
            Runs::Gather => self.gather(seat, task, unit, (place.0, data_out_bytes), Then::Medium(op), inline),
            Runs::Job => self.spawn(seat, task, unit, op, None),
            Runs::Erase { erasure, how, immed } => {
                self.spawn_erase((seat, task), unit, erasure, (how.clone(), immed));
            }
            Runs::Copy(request) => self.copy(seat, task, unit, request),
            Runs::FlushBehind => {
                // The flush goes on by itself. If it fails, the next one has to report that.
                self.flush_for(Waiter::Nobody, unit);
                self.clear(seat, task.slot());
                self.complete(seat, task, Outcome::GOOD, 0, Direction::None);
            }
            Runs::Nothing => {
                self.clear(seat, task.slot());
                self.complete(seat, task, Outcome::GOOD, 0, Direction::None);
            }
        }
    }

    /// Ends a command that was announced with data that does not belong to it.
    fn refuse_length(&mut self, seat: usize, task: TaskId, wrong: WrongLength) {
        self.clear(seat, task.slot());
        let direction = if wrong.asked_bytes > 0 { Direction::Out } else { Direction::None };
        self.complete(seat, task, wrong.outcome, wrong.asked_bytes, direction);
    }

    /// Bytes of Data-Out that the initiator says it has for a command.
    fn announced(&self, seat: usize, task: TaskId) -> u64 {
        let seat = self.seats.get(seat).and_then(Option::as_deref);
        seat.map_or(0, |seat| u64::from(seat.session.command(task).write_edtl_bytes()))
    }

    /// A read that is not sent at once from where it lies.
    #[inline(never)]
    fn read(&mut self, seat: usize, task: TaskId, unit: usize, (base, asked): (u64, u64)) {
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        let Seat { session, exec, sources, .. } = holder;
        let Some(exec) = exec.get_mut(task.slot()) else { return };
        let cmd = session.command(task);
        let (total, conn) = (asked.min(u64::from(cmd.read_edtl_bytes())) as u32, cmd.conn);
        // Data that came with the command, of a bidirectional one: no command that reads has a use for it, and its buffer has
        // the length of what was sent, not of what is read.
        exec.staging = None;
        // With a limit on bytes, a read of more than a slice goes slice by slice.
        let paid = total <= exec.paid;
        self.stats.read_bytes += u64::from(total);
        if session.keeps() {
            sources.remember(task, Source::Medium(unit, base), session);
        }
        if total == 0 {
            self.clear(seat, task.slot());
            return self.complete(seat, task, Outcome::GOOD, asked, Direction::In);
        }
        let in_place = paid && self.goes_in_place((seat, task), conn, unit, base, total);
        if paid && !in_place && self.read_copied(seat, task, unit, (base, total, asked)) {
            return;
        }
        if let Some(exec) = self.exec(seat, task.slot()) {
            exec.begin(Kind::Read, task, unit, (base, total, asked));
            exec.in_place = in_place;
        }
        self.advance(seat, task.slot());
    }

    fn write(
        &mut self,
        seat: usize,
        task: TaskId,
        unit: usize,
        (base, asked): (u64, u64),
        (action, durable): (Action, bool),
        inline: Option<&[u8]>,
    ) {
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        let cmd = holder.session.command(task);
        let announced = u64::from(cmd.write_edtl_bytes());
        if let Err(wrong) = self.world.units[unit].logical.check_data_out(Length::Blocks, asked, announced) {
            return self.refuse_length(seat, task, wrong);
        }
        let total = asked.min(announced) as u32;
        let received = cmd.received_bytes;
        self.stats.written_bytes += u64::from(total);
        if let (Some(data), Action::Write) = (inline, action)
            && data.len() >= total as usize
            && total > 0
            && let Some(ticket) = self.world.units[unit].fence.enter(self.core, base, u64::from(total))
        {
            self.world.units[unit].logical.overwritten(base, u64::from(total), self.now_ms);
            if self.handles.get(unit).is_some_and(|h| h.write_in_place(base, &data[..total as usize])) {
                return self.stored(seat, task, (unit, ticket), (base, total, asked));
            }
            self.world.units[unit].fence.leave(self.core, ticket);
        }
        let Some(exec) = self.exec(seat, task.slot()) else { return };
        exec.begin(Kind::Write(action), task, unit, (base, total, asked));
        exec.durable = durable;
        exec.filled = received;
        self.advance_with(seat, task, inline);
    }

    /// Collects `need` bytes of Data-Out, then goes on with `then`.
    fn gather(
        &mut self,
        seat: usize,
        task: TaskId,
        unit: usize,
        (base, need): (u64, u64),
        then: Then,
        inline: Option<&[u8]>,
    ) {
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        let cmd = holder.session.command(task);
        let received = cmd.received_bytes;
        let total = need.min(u64::from(cmd.write_edtl_bytes()));
        if total > SLICE_BYTES as u64 {
            self.clear(seat, task.slot());
            return self.complete(seat, task, TASK_SET_FULL, 0, Direction::None);
        }
        let Some(exec) = self.exec(seat, task.slot()) else { return };
        exec.begin(Kind::Gather, task, unit, (base, total as u32, need));
        exec.then = Some(then);
        exec.filled = received;
        self.advance_with(seat, task, inline);
    }

    /// Makes the first slice and puts the data into it that came with the command.
    fn advance_with(&mut self, seat: usize, task: TaskId, inline: Option<&[u8]>) {
        if let (Some(data), Some(exec)) = (inline, self.exec(seat, task.slot()))
            && exec.total > 0
        {
            let total = exec.total as usize;
            if self.make_slice(seat, task.slot(), total.min(SLICE_BYTES)) {
                self.place(seat, task, 0, &data[..data.len().min(total)]);
            } else if let Some(exec) = self.exec(seat, task.slot()) {
                exec.failed.get_or_insert(super::exec::Failure::NoBuffer);
            }
        }
        self.advance(seat, task.slot());
    }

    /// All Data-Out of a `Kind::Gather` is there.
    pub fn gathered(&mut self, seat: usize, slot: usize) {
        self.acting.took_time = true;
        let Some(exec) = self.exec(seat, slot) else { return };
        let (task, unit, total) = (exec.task, exec.unit, exec.total);
        let slice = exec.slices.pop_front();
        let (then, (buf, scratch)) = (exec.then.take(), slice.map_or((None, None), |slice| (slice.buf, slice.scratch)));
        match then {
            Some(Then::Medium(op)) => self.spawn(seat, task, unit, op, buf.map(|buf| (buf, total, scratch))),
            Some(Then::Parameters) => {
                let plan = self.parameters(seat, task, unit, buf.as_ref(), total as usize);
                drop(buf);
                self.clear(seat, slot);
                match plan {
                    Some(Plan::Done(outcome)) if !self.reply.aborts.is_empty() => {
                        let nexuses = std::mem::take(&mut self.reply.aborts);
                        self.preempt((seat, task), unit, (outcome, u64::from(total)), &nexuses);
                    }
                    Some(Plan::Done(outcome)) => {
                        // The residual count is that of the list, which is what was moved, not that of an answer.
                        self.complete(seat, task, outcome, u64::from(total), Direction::Out);
                    }
                    Some(Plan::Medium(op)) => {
                        self.medium(seat, task, unit, op, None);
                        // What was moved is the list: that is what residuals are counted from.
                        if let Some(exec) = self.exec(seat, slot).filter(|e| e.kind == Kind::Job) {
                            exec.asked = u64::from(total);
                        }
                    }
                    Some(Plan::Save(saving)) => self.spawn_save(seat, task, unit, saving, u64::from(total)),
                    Some(Plan::Parameters { .. } | Plan::Buffer) | None => {
                        self.complete(seat, task, TASK_SET_FULL, 0, Direction::None);
                    }
                }
            }
            None => {}
        }
    }

    fn parameters(&mut self, seat: usize, task: TaskId, unit: usize, buf: Option<&Buf>, len: usize) -> Option<Plan> {
        let list = buf.and_then(|buf| buf.bytes(0, len)).unwrap_or(&[]);
        let command = self.seats.get(seat)?.as_deref()?.session.command(task);
        if aborts_others(command.cdb.for_device_server()) && self.asks_too_much(seat) {
            return None;
        }
        let now = self.now();
        let world = &self.world;
        let holder = self.seats.get_mut(seat)?.as_deref_mut()?;
        let Seat { session, nexus, map, .. } = holder;
        let command = command_of(session, task, map, now);
        // The LUN may be another unit's by now.
        let position =
            command.lun.number().and_then(|n| map.position(n)).filter(|&at| map.units.get(at) == Some(&unit))?;
        let logical = &world.units[unit].logical;
        Some(logical.parameters(&mut nexus[position], &command, list, &mut self.reply))
    }

    /// The session that a connection is in full feature phase of, and the connection's slot there.
    #[inline]
    pub fn seat_of(&self, conn: usize) -> Option<(usize, ConnIx)> {
        match self.links.get(conn)?.as_ref()? {
            super::engine::Link { phase: Phase::Full { seat, ix }, closing: false, .. } => Some((*seat, *ix)),
            _ => None,
        }
    }

    fn close_slot(&mut self, seat: usize, ix: ConnIx, reason: CloseReason) {
        if let Some(&conn) = self.routes.get(seat).and_then(|r| r.get(usize::from(ix.0)))
            && conn != usize::MAX
        {
            self.close(conn, reason);
        }
    }
}

/// A command as the device server sees it.
#[inline]
fn command_of<'a>(session: &'a Session, task: TaskId, map: &'a LunMap, now: Now) -> Command<'a> {
    let (command, init) = (session.command(task), session.init());
    Command {
        cdb: command.cdb.for_device_server(),
        lun: command.lun,
        initiator: &init.initiator,
        protocol_level: init.params.protocol_level,
        luns: &map.numbers,
        now,
    }
}

/// The slot of a task, made if it is used for the first time.
#[inline(always)]
pub fn slot_of(exec: &mut Vec<Exec>, task: TaskId) -> &mut Exec {
    let slot = task.slot();
    if exec.len() <= slot {
        make_slots(exec, slot);
    }
    &mut exec[slot]
}

#[cold]
fn make_slots(exec: &mut Vec<Exec>, slot: usize) {
    // Some more than is asked for: which slots a session uses varies a little in steady state, too.
    let enough = (2 * slot + 1).next_power_of_two().clamp(slot + 1, TASKS_PER_SESSION.max(slot + 1));
    exec.reserve_exact(enough - exec.len());
    exec.resize_with(enough, Exec::default);
}
