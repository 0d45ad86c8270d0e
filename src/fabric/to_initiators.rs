//! The fabric as what is outside of the executor: data and answers become PDUs on their way to the initiators.
//!
//! Invariants: nothing here calls the executor. A session that has events because of a call is noted in `Fabric::owed`,
//! and so are tasks that are to be aborted.

use super::command::{command_of, expected_of};
use super::owed::Owed;
use super::seat::Seat;
use super::sources::Source;
use super::{Fabric, Parts};
use crate::backend::Queue;
use crate::buffers::Buf;
use crate::limits::{QUEUED_DATA_IN, SLICE_BYTES};
use crate::missing::Required;
use crate::model::{Due, ItNexus, SeatIx, TaskId, TaskKey, UnitIx};
use crate::scsi::copy::CopyRequest;
use crate::scsi::copy_begin::{self, Peer, Scene};
use crate::scsi::sense::status;
use crate::scsi::{Heard, Outcome, Plan, aborts_others, is_fenced};
use crate::session::seam::ConnIx;
use crate::session::{DataInEnd, Direction, Ending, Session};
use crate::tasks::sink::{
    Body, CopyBegun, DeviceServer, Expected, InPlaceIf, Moved, Part, Sent, SetOff, Sink, Terms, ToMedia, Way,
};
use crate::transport::outlet::Outlet;
use crate::transport::tx::HasMore;
use crate::unit::memory_hold::Lying;

/// What is missing if the executor has a task of a session that is gone.
const OF_TASK: &str = "the session of a task";

/// How the data of a command can be sent, in Data-In PDUs. What a session keeps to send it again is read again in pieces
/// that fit an I/O buffer, and is never asked for across two of them.
#[inline]
fn way(session: &Session, conn: ConnIx, in_place: bool) -> Way {
    let piece_bytes = session.params(conn).map_or(0, |params| params.own.initiator_max_recv_bytes & !3);
    Way { piece_bytes, most_bytes: if session.keeps() { SLICE_BYTES as u32 } else { u32::MAX }, in_place }
}

/// Has a buffer given back when all is out that was queued for a connection so far; at once if the connection is gone.
#[inline]
fn give_after(out: &mut Outlet<'_>, conn: ConnIx, buf: Buf) {
    if let Some((tx, _)) = out.tx(conn) {
        tx.release_after(buf);
    }
}

impl Fabric {
    /// What a session's events may be owed to is over: they are looked at when the executor has returned.
    #[inline]
    fn note_events(&mut self, seat: SeatIx) {
        self.seats.stir(seat);
        if let Some(holder) = self.seats.get(seat)
            && holder.session.has_events()
        {
            self.owed.push(Owed::Events(seat));
        }
    }

    /// A task that goes on over another connection may ask for what it has sent before: that is an event.
    #[cold]
    fn note_resends(&mut self, seat: SeatIx) {
        self.note_events(seat);
    }

    /// The session of a task that the executor has, to be changed: it does not go before its tasks.
    #[inline(always)]
    fn of_task(&mut self, seat: SeatIx) -> Option<Parts<'_>> {
        self.parts(seat).required(OF_TASK)
    }

    /// Queues parameter data, which ends its command.
    fn parameter_data(&mut self, seat: SeatIx, task: TaskId, part: Part, buf: Buf) {
        let Some(Parts { seat: holder, mut out }) = self.of_task(seat) else { return };
        let Seat { session, sources, .. } = holder;
        if session.keeps() {
            let data = buf.bytes(0, part.len as usize).unwrap_or(&[]);
            sources.remember(task, Source::Bytes(data), session);
        }
        let conn = session.command(task).conn;
        let end = part.end.map(|transfer_bytes| DataInEnd { transfer_bytes });
        session.data_in(task, part.offset, part.len, part.at, end, &mut out);
        give_after(&mut out, conn, buf);
        self.note_events(seat);
    }

    /// Counts a command that does not end well, at the unit that its LUN is.
    #[cold]
    #[inline(never)]
    fn note_trouble(&mut self, TaskKey { seat, task }: TaskKey, outcome: &Outcome) {
        let Some(holder) = self.seats.get_mut(seat).required(OF_TASK) else { return };
        // At a LUN where there is no unit nothing is counted.
        if let Some(unit) = holder.map.unit(holder.session.command(task).lun) {
            holder.passed.count_error(unit);
            self.troubles.place(unit).note(outcome);
        }
    }

    #[inline]
    fn session(&self, seat: SeatIx) -> Option<&Session> {
        self.seats.get(seat).required(OF_TASK).map(|holder| &holder.session)
    }
}

impl Sink for Fabric {
    fn terms(&self, TaskKey { seat, task }: TaskKey) -> Terms {
        let Some(session) = self.session(seat) else {
            let expected = Expected { read_bytes: 0, write_bytes: 0, received_bytes: 0 };
            return Terms { expected, owes_since_ms: None };
        };
        Terms { expected: expected_of(session.command(task)), owes_since_ms: session.owes_since_ms(task) }
    }

    #[inline]
    fn way(&self, TaskKey { seat, task }: TaskKey) -> Way {
        let Some(session) = self.session(seat) else {
            return Way { piece_bytes: 0, most_bytes: 0, in_place: false };
        };
        let conn = session.command(task).conn;
        let number = self.seats.connection(seat, conn);
        let tx = number.and_then(|number| self.links.tx(number));
        way(session, conn, tx.is_some_and(|tx| !tx.data_digest()))
    }

    #[inline(always)]
    fn data_in(&mut self, TaskKey { seat, task }: TaskKey, part: Part, body: Body, buf: Buf) -> Result<(), Buf> {
        let Body::Medium { copied_from, must } = body else {
            self.parameter_data(seat, task, part, buf);
            return Ok(());
        };
        let Some(Parts { seat: holder, mut out }) = self.of_task(seat) else { return Ok(()) };
        let conn = holder.session.command(task).conn;
        // What is sent to a connection that is gone takes no room.
        if !must
            && let Some((tx, pool)) = out.tx(conn)
            && !tx.has_room(pool)
        {
            tx.wait(Some(HasMore::Task(TaskKey { seat, task })));
            return Err(buf);
        }
        out.copies = copied_from.map(|from| (from, part.at));
        let end = part.end.map(|transfer_bytes| DataInEnd { transfer_bytes });
        holder.session.data_in(task, part.offset, part.len, part.at, end, &mut out);
        let keeps = holder.session.keeps();
        give_after(&mut out, conn, buf);
        if keeps {
            self.note_resends(seat);
        }
        Ok(())
    }

    #[inline(always)]
    fn data_in_place(
        &mut self,
        TaskKey { seat, task }: TaskKey,
        part: Part,
        mut lying: Lying<'_>,
        when: InPlaceIf,
    ) -> Sent {
        let Some(Parts { seat: holder, mut out }) = self.of_task(seat) else { return Sent::No };
        let conn = holder.session.command(task).conn;
        let end = part.end.map(|transfer_bytes| DataInEnd { transfer_bytes });
        let Some((tx, pool)) = out.tx(conn) else {
            // What is sent to a connection that is gone goes nowhere.
            if when == InPlaceIf::Now {
                return Sent::No;
            }
            holder.session.data_in(task, part.offset, part.len, part.at, end, &mut out);
            return Sent::Yes;
        };
        if tx.data_digest() || lying.fence.keeps_reads() {
            return Sent::No;
        }
        if !tx.has_room(pool) {
            if when == InPlaceIf::Now {
                return Sent::No;
            }
            tx.wait(Some(HasMore::Task(TaskKey { seat, task })));
            return Sent::Wait;
        }
        // A read that is queued with reads that are counted at the fence is counted with them.
        let mut entered = None;
        if !tx.holds(&lying) {
            entered = lying.enter();
            if entered.is_none() {
                return Sent::No;
            }
        }
        holder.session.data_in(task, part.offset, part.len, part.at, end, &mut out);
        if let Some(ticket) = entered {
            let held = lying.hold(ticket);
            if let Some(batch) = out.tx(conn).and_then(|(tx, _)| tx.last_batch()) {
                batch.hold(held);
            }
        }
        let keeps = holder.session.keeps();
        // Others have their turn before the next piece, if this one was much.
        let is_much = when == InPlaceIf::InTurn
            && part.end.is_none()
            && part.len > way(&holder.session, conn, true).bytes(QUEUED_DATA_IN / 2);
        if is_much && let Some((tx, _)) = out.tx(conn) {
            tx.wait(Some(HasMore::Task(TaskKey { seat, task })));
        }
        if keeps {
            self.note_resends(seat);
        }
        if is_much { Sent::YesAndWait } else { Sent::Yes }
    }

    #[inline]
    fn want_data_out(&mut self, TaskKey { seat, task }: TaskKey, up_to: u32) {
        if let Some(Parts { seat: holder, mut out }) = self.of_task(seat) {
            holder.session.want_data_out(task, up_to, &mut out);
        }
    }

    #[inline]
    fn complete(&mut self, due: Due, outcome: Outcome, moved: Moved) {
        let TaskKey { seat, task } = due.end();
        if outcome.status != status::GOOD {
            self.note_trouble(TaskKey { seat, task }, &outcome);
        }
        let Some(Parts { seat: holder, mut out }) = self.of_task(seat) else { return };
        let mut bytes;
        let sense: &[u8] = match &outcome.sense {
            None => &[],
            Some(sense) => {
                bytes = [0; crate::scsi::sense::MAX_SENSE_BYTES];
                let len = crate::scsi::sense::encode(sense, &mut bytes);
                &bytes[..len]
            }
        };
        let (asked, direction) = match moved {
            Moved::Nothing => (0, Direction::None),
            Moved::In(asked) => (asked, Direction::In),
            Moved::Out(asked) => (asked, Direction::Out),
        };
        let session = &mut holder.session;
        let fence =
            session.has_several_connections() && is_fenced(session.command(task).cdb.for_device_server(), &outcome);
        session.complete(task, Ending { status: outcome.status, sense, fence }, asked, direction, &mut out);
        self.note_events(seat);
    }

    fn released(&mut self, due: Due) {
        let TaskKey { seat, task } = due.end();
        if let Some(Parts { seat: holder, mut out }) = self.of_task(seat) {
            holder.session.released(task, &mut out);
            self.note_events(seat);
        }
    }

    fn set_off(&mut self, what: SetOff) {
        match what {
            SetOff::Preempt(preempting) => self.owed.push(Owed::Preempt(preempting)),
            SetOff::Reread(reread, result) => {
                let seat = reread.holder.0;
                self.reread_done(*reread, result);
                self.owed.push(Owed::Reread(seat));
            }
            // The receive releases the buffer when it is over: soon, even if the peer stalls.
            SetOff::LentInVain(conn) => self.rearm_receive(conn),
        }
    }
}

impl DeviceServer for Fabric {
    fn parameters(
        &mut self,
        TaskKey { seat, task }: TaskKey,
        unit: UnitIx,
        list: &[u8],
    ) -> Option<(Plan, Vec<ItNexus>)> {
        if aborts_others(self.session(seat)?.command(task).cdb.for_device_server()) && self.asks_too_much(seat) {
            return None;
        }
        let now = self.now();
        let Seat { session, nexus, map, .. } = self.seats.get_mut(seat).required(OF_TASK)?;
        let command = command_of(session.command(task), session.init(), map, now);
        // The LUN may be another unit's by now.
        let position =
            command.lun.number().and_then(|n| map.position(n)).filter(|&at| map.units.get(at) == Some(&unit))?;
        let logical = &self.world.units[unit].logical;
        let plan = logical.parameters(&mut nexus[position], &command, list, &mut self.reply);
        Some((plan, std::mem::take(&mut self.reply.aborts)))
    }

    fn begin_copy(
        &mut self,
        TaskKey { seat, task }: TaskKey,
        unit: UnitIx,
        request: &CopyRequest,
    ) -> Option<CopyBegun> {
        let world = &self.world;
        let holder = self.seats.get_mut(seat).required(OF_TASK)?;
        let Seat { session, nexus, map, target, serial, .. } = holder;
        let here = session.command(task).lun.number().and_then(|number| map.position(number))?;
        // The LUN may be another unit's by now.
        map.units.get(here).filter(|at| **at == unit)?;
        let peers = nexus.iter_mut().zip(&map.units);
        let peers =
            peers.map(|(nexus, &unit)| Some(Peer { unit: &world.units.get(unit).required("a unit")?.logical, nexus }));
        let init = session.init();
        let scene =
            Scene { peers: peers.collect::<Option<_>>()?, here, initiator: &init.initiator, now_ms: self.now_ms };
        Some(CopyBegun {
            begun: copy_begin::begin(request, scene),
            units: map.units.clone(),
            of: ((*target)?, *serial),
            nexus: (init.initiator.clone(), init.target_portal_group),
        })
    }

    fn hear(&mut self, TaskKey { seat, task }: TaskKey, unit: UnitIx, failures: u64) -> Heard {
        let Some(holder) = self.seats.get_mut(seat).required(OF_TASK) else { return Heard::IsTold };
        let Seat { session, nexus, map, .. } = holder;
        // A nexus that does not find the unit any more cannot say what it knows.
        let at = map.units.iter().position(|&own| own == unit);
        let Some(nexus) = at.and_then(|at| nexus.get_mut(at)) else { return Heard::IsTold };
        nexus.hear(failures, session.next_status(task), |status| session.has_arrived(status))
    }
}

impl ToMedia for Fabric {
    #[inline]
    fn queue(&mut self) -> impl Queue {
        &mut self.io
    }
}
