//! From PDUs to sessions, and from session events to work.

use super::core::Core;
use crate::buffers::Buf;
use crate::exec::begin::Entry;
use crate::fabric::Parts;
use crate::fabric::command::{command_of, expected_of};
use crate::fabric::seat::Seat;
use crate::fabric::sources::Source;
use crate::limits::SLICE_BYTES;
use crate::missing::{Required, missing};
use crate::model::{SeatIx, TaskKey, UnitIx};
use crate::scsi::{MediumOp, Outcome, Plan, asks_readiness, ends_copies};
use crate::session::seam::{CloseReason, ConnIx, Dest, Event, TaskId};
use crate::tasks::outcomes::{DOES_NOT_ANSWER, TASK_SET_FULL};
use crate::tasks::sink::{Given, Moved};
use crate::tasks::tally::{Class, Ended};
use crate::tasks::task::Then;
use crate::transport::partial::{Partial, PartialDest};
use crate::wire::{Bhs, Opcode, bhs};
use std::sync::atomic::Ordering;

/// Data of a command that lies whole in the received chunk: valid until the events of its PDU are handled.
#[derive(Clone, Copy)]
struct Inline<'a> {
    /// The command.
    task: TaskId,
    /// Its data.
    data: &'a [u8],
}

impl Core {
    /// Acts on a PDU of full feature phase that lies whole in the chunk.
    #[inline]
    pub fn whole(&mut self, seat: SeatIx, ix: ConnIx, bhs: &Bhs, ahs: &[u8], data: &[u8], digest_ok: bool) {
        let now_ms = self.fabric.now_ms;
        let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat).required("the session of a connection")
        else {
            return;
        };
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
            let Some(Parts { seat: holder, mut out, .. }) =
                self.fabric.parts(seat).required("the session of a connection")
            else {
                return;
            };
            let Seat { session, text, .. } = holder;
            session.finish(now_ms, ix, bhs, ahs, gathered, digest_ok, &mut out, text);
            return self.events(seat, None);
        }
        session.finish(now_ms, ix, bhs, ahs, gathered, digest_ok, &mut out, text);
        self.events(seat, None);
    }

    /// Begins a PDU of full feature phase whose header is in: says where its data goes.
    pub fn begin(&mut self, seat: SeatIx, ix: ConnIx, bhs: &Bhs, ahs: &[u8], data_len: usize) -> Option<Partial> {
        let Parts { seat: holder, mut out, .. } = self.fabric.parts(seat).required("the session of a connection")?;
        let dest = match holder.session.begin(ix, bhs, ahs, data_len, &mut out) {
            Dest::Gather => PartialDest::Gather(Vec::with_capacity(data_len)),
            Dest::Immediate { edtl_bytes } => {
                PartialDest::Staging(self.executor.allocate(seat, (edtl_bytes as usize).clamp(data_len, SLICE_BYTES)))
            }
            Dest::Task { task, offset } => PartialDest::Task(task, offset),
            Dest::Discard => PartialDest::Discard,
        };
        Some(Partial { bhs: *bhs, ahs: ahs.to_vec(), dest, received: 0, since_ms: self.fabric.now_ms })
    }

    /// Takes some of the data of a PDU.
    pub fn data(&mut self, seat: SeatIx, partial: &mut Partial, bytes: &[u8]) {
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
    pub fn end(&mut self, seat: SeatIx, ix: ConnIx, partial: Partial, digest_ok: bool) {
        let now_ms = self.fabric.now_ms;
        let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat).required("the session of a connection")
        else {
            return;
        };
        let Seat { session, text, .. } = holder;
        let Partial { bhs, ahs, dest, received, .. } = partial;
        let gathered = if let PartialDest::Gather(bytes) = &dest { bytes.as_slice() } else { &[] };
        let task = session.finish(now_ms, ix, &bhs, &ahs, gathered, digest_ok, &mut out, text);
        if let (PartialDest::Staging(buf), Some(task)) = (dest, task) {
            self.executor.stage_in(TaskKey { seat, task }, buf.map(|buf| (buf, received)));
        }
        self.events(seat, None);
    }

    /// Keeps the data of a command that was not executed at once (it waits for its CmdSN).
    fn stage(&mut self, seat: SeatIx, task: TaskId, data: &[u8]) {
        if self.is_live(seat, task) {
            self.executor.stage(TaskKey { seat, task }, data, &self.fabric);
        }
    }

    /// Whether a task is there, and goes on.
    pub fn is_live(&self, seat: SeatIx, task: TaskId) -> bool {
        self.fabric.seats.get(seat).is_some_and(|holder| holder.session.is_live(task))
    }

    /// Puts data of a write where it belongs. A task that has failed already still has its data coming (RFC 7143 section
    /// 11.4.2): nobody wants it any more, and the slot's next command, which may be there by now, must not suffer for it.
    #[inline]
    fn place(&mut self, seat: SeatIx, task: TaskId, offset: u32, data: &[u8]) {
        if self.is_live(seat, task) {
            self.executor.place(TaskKey { seat, task }, offset, data, &mut self.fabric);
        }
    }

    /// Handles what a session asks for. Data that came with a command which is not executed now is kept.
    #[inline]
    fn events(&mut self, seat: SeatIx, mut inline: Option<Inline<'_>>) {
        self.fabric.seats.stir(seat);
        let mut keeps_order = false;
        // The session may be gone with one of its events.
        while let Some(holder) = self.fabric.seats.get_mut(seat) {
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
            self.fabric.seats.keep_order(seat);
        }
        // Before the next PDU is acted on: it may be counted with what this one has set off.
        self.settle_owed();
    }

    /// Goes on with the sessions that keep the order of commands and of which something may have ended, since that may
    /// have let others begin. It looks at no others: there may be many that only wait.
    pub fn keep_order(&mut self) {
        for seat in self.fabric.seats.take_stirred() {
            if !self.fabric.seats.may_begin(seat) {
                continue;
            }
            self.pump(seat);
            // What has ended just now has perhaps let the next ones begin.
            while !self.executor.memory.stored.is_empty() {
                self.executor.settle_stores(&mut self.fabric);
                self.pump(seat);
            }
        }
    }

    /// Handles one event; commands to be run were mostly taken before.
    #[inline(never)]
    fn event(&mut self, seat: SeatIx, event: Event) {
        match event {
            Event::Execute(task) => self.execute(seat, task, None),
            Event::DataOut { task, received_bytes } => {
                self.executor.data_out(TaskKey { seat, task }, received_bytes, &mut self.fabric);
                self.fabric.acting.took_time |= std::mem::take(&mut self.executor.turn.took_time);
            }
            Event::Resend { task, offset, len } => self.resend(seat, task, offset, len),
            Event::Abort(task) => {
                let target = self.fabric.seats.get(seat).and_then(|holder| holder.target);
                let Some(target) = target.required("the target of a session that has tasks") else { return };
                self.executor.abort(TaskKey { seat, task }, target, &mut self.fabric);
            }
            Event::Cleared { lun } => self.cleared(seat, lun),
            Event::TaskManagement(request) => self.manage(seat, request),
            Event::Close { conn, reason } => self.close_slot(seat, conn, reason),
            Event::Ended { reason } => self.ended(seat, reason),
        }
    }

    /// Handles what a session asks for, outside the receive path.
    pub fn pump(&mut self, seat: SeatIx) {
        self.events(seat, None);
    }

    /// Plans a command and begins it.
    fn execute(&mut self, seat: SeatIx, task: TaskId, inline: Option<&[u8]>) {
        let Core { fabric, executor, .. } = self;
        let who = TaskKey { seat, task };
        fabric.stats.commands += 1;
        let now = fabric.now();
        let Some(holder) = fabric.seats.get_mut(seat).required("the session of a task") else { return };
        let Seat { session, nexus, map, sources, .. } = holder;
        let session = &*session;
        let entry = executor.enter(who);
        if entry == Entry::Dropped {
            return executor.refuse(who, TASK_SET_FULL, Moved::Nothing, fabric);
        }
        let told = session.command(task);
        let command = command_of(told, session.init(), map, now);
        let position = command.lun.number().and_then(|n| map.position(n));
        let Some(at) = position else {
            let plan = crate::scsi::absent(&command, &mut fabric.reply);
            return self.answer_absent(seat, task, plan);
        };
        let unit = map.units[at];
        let plan = fabric.world.units[unit].logical.plan(&mut nexus[at], &command, &mut fabric.reply);
        fabric.acting.took_time |= !matches!(&plan, Plan::Medium(op) if op.is_plain());
        match plan {
            // Of those that there are many of neither the operation is handed on nor what is not asked for a read.
            Plan::Medium(MediumOp::Read { lba, blocks, .. }) if entry == Entry::Free && !session.keeps() => {
                let expects = told.read_edtl_bytes();
                executor.read_at(who, unit, (lba, blocks), expects, fabric);
            }
            Plan::Medium(MediumOp::Write { lba, blocks, fua }) if entry == Entry::Free => {
                let given = Given { expected: expected_of(told), inline };
                executor.write_at(who, unit, (lba, blocks, fua), given, fabric);
            }
            Plan::Medium(op) => {
                if let MediumOp::Read { lba, .. } = op
                    && session.keeps()
                {
                    let base = lba * u64::from(fabric.world.units[unit].block_bytes);
                    sources.remember(task, Source::Medium(unit, base), session);
                }
                let given = Given { expected: expected_of(told), inline };
                if entry == Entry::Limited {
                    executor.begin_limited(who, unit, op, given, fabric);
                } else {
                    executor.medium(who, unit, op, given, fabric);
                }
            }
            Plan::Done(outcome) => {
                if !executor.running.copies.is_empty() {
                    self.end_aborted_copy(seat, task, outcome);
                }
                let outcome = self.unless_hung(seat, task, unit, outcome);
                let begun_ns = self.executor.turn.now_ns;
                self.executor.tally.ended(Ended { seat, begun_ns, unit, bytes: 0, class: Class::Other });
                self.reply(seat, task, outcome, None);
            }
            Plan::Parameters { len_bytes } => {
                let (need, given) = ((0, u64::from(len_bytes)), Given { expected: expected_of(told), inline });
                executor.gather(who, unit, need, Then::Parameters, given, fabric);
            }
            Plan::Save(saving) => executor.spawn_save(who, unit, saving, 0, fabric),
            Plan::Buffer => self.execute_with_buffer(seat, task),
        }
    }

    /// Answers a command to a LUN where there is no unit: nothing is done for it but that.
    #[cold]
    fn answer_absent(&mut self, seat: SeatIx, task: TaskId, plan: Plan) {
        self.fabric.acting.took_time = true;
        let outcome = match plan {
            Plan::Done(outcome) => outcome,
            // It is answered all the same: nobody waits for what is a fault of ours.
            _ => {
                missing("the answer of a LUN without a unit");
                Outcome::BUSY
            }
        };
        self.reply(seat, task, outcome, None);
    }

    /// Plans a command once more that forgets what it tells, now with a buffer for that. Without one it has done nothing.
    #[cold]
    fn execute_with_buffer(&mut self, seat: SeatIx, task: TaskId) {
        let Core { fabric, executor, .. } = self;
        let now = fabric.now();
        let Some(holder) = fabric.seats.get_mut(seat).required("the session of a task") else { return };
        let Seat { session, nexus, map, .. } = holder;
        let asked = (session.command(task).read_edtl_bytes() as usize).min(SLICE_BYTES);
        let buf = if asked > 0 { executor.allocate(seat, asked) } else { None };
        let has_room = asked == 0 || buf.is_some();
        let command = command_of(session.command(task), session.init(), map, now);
        let position = command.lun.number().and_then(|n| map.position(n));
        if let Some(at) = position.filter(|_| has_room) {
            fabric.reply.unbuffered = false;
            let plan = fabric.world.units[map.units[at]].logical.plan(&mut nexus[at], &command, &mut fabric.reply);
            fabric.reply.unbuffered = true;
            if let Plan::Done(outcome) = plan {
                return self.reply(seat, task, outcome, buf);
            }
        }
        executor.refuse(TaskKey { seat, task }, TASK_SET_FULL, Moved::Nothing, fabric);
    }

    /// Ends a command with the parameter data in `Fabric::reply`, if it is GOOD and there is some: in `buf`, if that is
    /// large enough.
    fn reply(&mut self, seat: SeatIx, task: TaskId, outcome: Outcome, buf: Option<Buf>) {
        let data = std::mem::take(&mut self.fabric.reply.data);
        self.executor.reply(TaskKey { seat, task }, outcome, &data, buf, &mut self.fabric);
        self.fabric.reply.data = data;
    }

    /// The outcome of a command that needs no medium: TEST UNIT READY tells of one that does not answer.
    fn unless_hung(&self, seat: SeatIx, task: TaskId, unit: UnitIx, outcome: Outcome) -> Outcome {
        let unit = &self.fabric.world.units[unit];
        if unit.hung.load(Ordering::Relaxed) == 0 {
            return outcome;
        }
        let seat = self.fabric.seats.get(seat).required("the session of a task");
        let asks = seat.is_some_and(|seat| asks_readiness(seat.session.command(task).cdb.for_device_server()));
        if outcome == Outcome::GOOD && asks { unit.logical.formatted(DOES_NOT_ANSWER) } else { outcome }
    }

    /// A command that needed no medium is to be answered. If it was COPY OPERATION ABORT, the copies end first: what
    /// they still do must not come behind anything that is done by whoever hears of the answer.
    #[cold]
    pub fn end_aborted_copy(&mut self, seat: SeatIx, task: TaskId, outcome: Outcome) {
        let seat = self.fabric.seats.get(seat).required("the session of a task");
        let ends = seat.is_some_and(|seat| ends_copies(seat.session.command(task).cdb.for_device_server()));
        if outcome == Outcome::GOOD && ends {
            self.executor.end_cancelled_copies();
        }
    }

    fn close_slot(&mut self, seat: SeatIx, ix: ConnIx, reason: CloseReason) {
        // The connection may have gone by itself.
        if let Some(conn) = self.fabric.seats.connection(seat, ix) {
            self.close(conn, reason);
        }
    }
}
