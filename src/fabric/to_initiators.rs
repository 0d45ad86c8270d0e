//! The fabric as the executor's [`Sink`]: data and answers become PDUs on their way to the initiators.
//!
//! Invariants: nothing here calls the executor. A session that has events because of a call is noted in `Fabric::owed`,
//! and so are tasks that are to be aborted.

use super::command::{command_of, expected_of};
use super::seat::Seat;
use super::sources::Source;
use super::{Fabric, Owed, Parts};
use crate::backend::Queue;
use crate::buffers::Buf;
use crate::limits::{QUEUED_DATA_IN, SLICE_BYTES};
use crate::model::{DataRef, ItNexus, MediumFault, TaskId};
use crate::noise::Noise;
use crate::scsi::copy::CopyRequest;
use crate::scsi::copy_begin::{self, Peer, Scene};
use crate::scsi::{Heard, Outcome, Plan, aborts_others, is_fenced};
use crate::session::seam::ConnIx;
use crate::session::{DataInEnd, Direction, Ending, Session};
use crate::tasks::sink::{CopyBegun, Expected, InPlaceIf, Moved, Part, Preempting, Reread, Sent, Sink};
use crate::transport::number::ConnNo;
use crate::transport::outlet::Outlet;
use crate::unit::memory_hold::Lying;

/// The most bytes of a command that are queued at once: `pdus` Data-In PDUs. What a session keeps to send it again is
/// read again in pieces that fit an I/O buffer, and is never asked for across two of them.
#[inline]
fn piece_bytes(session: &Session, conn: ConnIx, pdus: u32) -> u32 {
    let most = session.params(conn).map_or(0, |params| params.initiator_max_recv_bytes & !3).saturating_mul(pdus);
    if session.keeps() { most.min(SLICE_BYTES as u32) } else { most }
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
    fn note_events(&mut self, seat: usize) {
        self.stir(seat);
        if let Some(Some(holder)) = self.seats.get(seat)
            && holder.session.has_events()
        {
            self.owed.push(Owed::Events(seat));
        }
    }

    /// A task that goes on over another connection may ask for what it has sent before: that is an event.
    #[cold]
    fn note_resends(&mut self, seat: usize) {
        self.note_events(seat);
    }

    #[inline]
    fn session(&self, seat: usize) -> Option<&Session> {
        self.seats.get(seat).and_then(Option::as_deref).map(|holder| &holder.session)
    }
}

impl Sink for Fabric {
    #[inline]
    fn queue(&mut self) -> impl Queue {
        &mut self.io
    }

    #[inline]
    fn expected(&self, (seat, task): (usize, TaskId)) -> Expected {
        let nothing = Expected { read_bytes: 0, write_bytes: 0, received_bytes: 0 };
        self.session(seat).map_or(nothing, |session| expected_of(session.command(task)))
    }

    #[inline(always)]
    fn data_in(
        &mut self,
        (seat, task): (usize, TaskId),
        part: Part,
        copied_from: Option<DataRef>,
        buf: Buf,
        must: bool,
    ) -> Result<(), Buf> {
        // Nobody is there any more who would take it.
        let Some(Parts { seat: holder, mut out }) = self.parts(seat) else { return Ok(()) };
        let conn = holder.session.command(task).conn;
        // What is sent to a connection that is gone takes no room.
        if !must
            && let Some((tx, pool)) = out.tx(conn)
            && !tx.has_room(pool)
        {
            tx.wait(Some((seat, task.slot())));
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
        (seat, task): (usize, TaskId),
        part: Part,
        mut lying: Lying<'_>,
        when: InPlaceIf,
    ) -> Sent {
        let Some(Parts { seat: holder, mut out }) = self.parts(seat) else { return Sent::No };
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
            tx.wait(Some((seat, task.slot())));
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
            && part.len > piece_bytes(&holder.session, conn, QUEUED_DATA_IN / 2);
        if is_much && let Some((tx, _)) = out.tx(conn) {
            tx.wait(Some((seat, task.slot())));
        }
        if keeps {
            self.note_resends(seat);
        }
        if is_much { Sent::YesAndWait } else { Sent::Yes }
    }

    fn sends_in_place(&self, (seat, task): (usize, TaskId)) -> bool {
        let Some(session) = self.session(seat) else { return false };
        let conn = session.command(task).conn;
        let number = self.routes.get(seat).and_then(|conns| conns.get(usize::from(conn.0)));
        number.and_then(|&number| self.links.tx(number?)).is_some_and(|tx| !tx.data_digest())
    }

    #[inline]
    fn piece_bytes(&self, (seat, task): (usize, TaskId), pieces: u32) -> u32 {
        self.session(seat).map_or(0, |session| piece_bytes(session, session.command(task).conn, pieces))
    }

    fn parameter_data(&mut self, (seat, task): (usize, TaskId), part: Part, buf: Buf) {
        let Some(Parts { seat: holder, mut out }) = self.parts(seat) else { return };
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

    #[inline]
    fn want_data_out(&mut self, (seat, task): (usize, TaskId), up_to: u32) {
        if let Some(Parts { seat: holder, mut out }) = self.parts(seat) {
            holder.session.want_data_out(task, up_to, &mut out);
        }
    }

    fn owes_since_ms(&self, (seat, task): (usize, TaskId)) -> Option<u64> {
        self.session(seat)?.owes_since_ms(task)
    }

    #[inline]
    fn complete(&mut self, (seat, task): (usize, TaskId), outcome: Outcome, moved: Moved) {
        let Some(Parts { seat: holder, mut out }) = self.parts(seat) else { return };
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

    fn released(&mut self, (seat, task): (usize, TaskId)) {
        if let Some(Parts { seat: holder, mut out }) = self.parts(seat) {
            holder.session.released(task, &mut out);
            self.note_events(seat);
        }
    }

    fn lent_in_vain(&mut self, conn: usize) {
        // The receive releases the buffer when it is over: soon, even if the peer stalls.
        self.rearm_receive(ConnNo::new(conn));
    }

    fn parameters(&mut self, (seat, task): (usize, TaskId), unit: usize, list: &[u8]) -> Option<(Plan, Vec<ItNexus>)> {
        if aborts_others(self.session(seat)?.command(task).cdb.for_device_server()) && self.asks_too_much(seat) {
            return None;
        }
        let now = self.now();
        let Seat { session, nexus, map, .. } = self.seats.get_mut(seat)?.as_deref_mut()?;
        let command = command_of(session.command(task), session.init(), map, now);
        // The LUN may be another unit's by now.
        let position =
            command.lun.number().and_then(|n| map.position(n)).filter(|&at| map.units.get(at) == Some(&unit))?;
        let logical = &self.world.units[unit].logical;
        let plan = logical.parameters(&mut nexus[position], &command, list, &mut self.reply);
        Some((plan, std::mem::take(&mut self.reply.aborts)))
    }

    fn begin_copy(&mut self, (seat, task): (usize, TaskId), unit: usize, request: &CopyRequest) -> Option<CopyBegun> {
        let world = &self.world;
        let holder = self.seats.get_mut(seat)?.as_deref_mut()?;
        let Seat { session, nexus, map, target, serial, .. } = holder;
        let here = session.command(task).lun.number().and_then(|number| map.position(number))?;
        // The LUN may be another unit's by now.
        map.units.get(here).filter(|at| **at == unit)?;
        let peers = nexus.iter_mut().zip(&map.units);
        let peers = peers.map(|(nexus, &unit)| Some(Peer { unit: &world.units.get(unit)?.logical, nexus }));
        let init = session.init();
        let scene =
            Scene { peers: peers.collect::<Option<_>>()?, here, initiator: &init.initiator, now_ms: self.now_ms };
        Some(CopyBegun {
            begun: copy_begin::begin(request, scene),
            units: map.units.clone(),
            of: (*target, *serial),
            nexus: (init.initiator.clone(), init.target_portal_group),
        })
    }

    fn hear(&mut self, (seat, task): (usize, TaskId), unit: usize, failures: u64) -> Heard {
        let Some(holder) = self.seat(seat) else { return Heard::IsTold };
        let Seat { session, nexus, map, .. } = holder;
        // A nexus that does not find the unit any more cannot say what it knows.
        let at = map.units.iter().position(|&own| own == unit);
        let Some(nexus) = at.and_then(|at| nexus.get_mut(at)) else { return Heard::IsTold };
        nexus.hear(failures, session.next_status(task), |status| session.has_arrived(status))
    }

    fn noise(&mut self) -> &mut Noise {
        &mut self.noise
    }

    fn polls(&mut self, job: usize) {
        crate::transport::record::job(job);
    }

    fn preempt(&mut self, preempting: Preempting) {
        self.owed.push(Owed::Preempt(Box::new(preempting)));
    }

    fn reread(&mut self, reread: Reread, result: Result<(), MediumFault>) {
        let seat = reread.holder.0;
        self.reread_done(reread, result);
        self.owed.push(Owed::Reread(seat));
    }
}
