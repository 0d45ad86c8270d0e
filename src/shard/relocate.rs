//! A session in full feature phase moves to another core, whole, with its connections. Which one, and when, is said by
//! [`crate::balance`].
//!
//! The way: (1) its connections are looked at PDU by PDU until one ends where the initiator owes the session nothing:
//! no Data-Out, no earlier CmdSN. Nobody waits for that. (2) It stops: its receives are cancelled, and what they still
//! bring is kept as it came (`Receive::parked`). Its tasks end, what is queued is sent. (3) It is quiet: no task, job
//! or I/O buffer, nothing to be sent, no receive. It goes in one [`Message::Relocate`], and acts on the parked bytes at
//! its new core before it receives again. Should (1) or (2) take too long (`limits::MOVE_SEEK_MS`, `MOVE_QUIET_MS`), it
//! acts on them where it is, and goes on. So no PDU is lost, repeated or overtaken, and all counters of the session go
//! with it.
//!
//! Not moved: discovery sessions; sessions with ErrorRecoveryLevel above 0, whose data may be read again after the
//! response; nothing at all while functions that abort tasks are under way here, or once the server goes down.
//!
//! Who looks for it finds it: the registry is told of the new core and the message is posted under one lock, so who
//! learns of the new core posts behind that message. Kinds of messages, for a session on its way from A to B:
//! - `Adopt` (a connection joins it, or a login replaces it): A sends it on to where the registry says; B, where the
//!   session is not yet, once more through its own mailbox, behind the session (`Core::elsewhere`).
//! - `Abort` is posted to all cores under the same lock, and A departs only with an empty mailbox. So either both cores
//!   have it before the session leaves, and A has acted on it; or both have it behind, and B finds the session. An
//!   abort that A itself asked for, or has not answered, keeps the session there. When B asks for one while the session
//!   is in its mailbox, there is no task to be aborted, and sessions are ended (COLD RESET) only when A has answered:
//!   then it is there. Unit attentions are raised at the logical unit, and pulled by the nexus wherever it is.
//! - `Aborted`, `Saved`, `Errand`: to functions and jobs, of which the session has none.
//! - `Change`: the session brings the configuration of A along. If B has an older one it takes that over first, if it
//!   has a newer one the session takes it over on arrival ([`Core::arrive`]).
//! - `Shutdown`: no core departs sessions once any has it, and none ends with a message unread.
//!
//! All cores have one clock, so times in the session stay true. Flows at limits belong to a core and are made anew.

use super::core::Core;
use crate::canary::{Canary, sings};
use crate::fabric::Parts;
use crate::fabric::mesh::Message;
use crate::fabric::relocated::{Leg, Relocated, Relocation};
use crate::fabric::seat::Route;
use crate::limits::{MOVE_QUIET_MS, MOVE_RETRY_MS, MOVE_SEEK_MS, MOVE_STAY_MS};
use crate::missing::Required;
use crate::model::{ConnNo, SeatIx};
use crate::scsi::LuNexus;
use crate::session::SessionKind;
use crate::session::seam::ConnIx;
use crate::tasks::task::Exec;
use crate::transport::link::{Halt, Phase};
use crate::transport::links::Connection;
use crate::world::Change;
use std::sync::Arc;

impl Core {
    /// The connections of a session: slot and number.
    fn legs(&self, seat: SeatIx) -> impl Iterator<Item = (ConnIx, ConnNo)> + use<> {
        self.fabric.seats.connections(seat)
    }

    /// Whether a session could be moved at all: each of its connections must be in full feature phase and not closing,
    /// and no copy of its own may go on: it would be left behind, where nobody hears of the loss of its nexus.
    pub(super) fn is_movable(&self, seat: SeatIx) -> bool {
        // It may have ended since it was chosen.
        let Some(holder) = self.fabric.seats.get(seat) else { return false };
        let serves = |(_, conn)| self.fabric.seat_of(conn).is_some_and(|(of, _)| of == seat);
        let is_normal = holder.session.init().kind == SessionKind::Normal && !holder.session.keeps();
        let goes_on = !holder.ended && !self.fabric.shutdown && !self.executor.has_copies(holder.serial);
        is_normal && goes_on && self.legs(seat).next().is_some() && self.legs(seat).all(serves)
    }

    /// Whether a session holds nothing of this core, and nobody here waits for it.
    fn is_quiet(&self, seat: SeatIx) -> bool {
        let Some(holder) = self.fabric.seats.get(seat).required("the session that moves") else { return false };
        let rests = |(_, conn): (ConnIx, ConnNo)| {
            let link = self.fabric.links.get(conn);
            link.is_some_and(|link| link.halt == Halt::Stopped && !link.receiving && link.framing.is_none())
                && self.fabric.links.tx(conn).is_some_and(|tx| tx.is_idle() && !tx.is_sending())
        };
        // What outlived its task (`exec/stray.rs`) stays here, with its buffer and the account that it is charged to.
        holder.session.open_tasks() == 0
            && self.legs(seat).all(rests)
            && self.executor.tasks(seat).iter().all(Exec::is_quiet)
            && self.fabric.management.is_empty()
            && !self.executor.strays.are_awaited()
            && self.executor.running.jobs.iter().flatten().all(|job| job.seat() != Some(seat))
    }
}

impl Core {
    /// Begins to move a session. False: it cannot be moved.
    pub(super) fn begin_move(&mut self, seat: SeatIx, to: usize) -> bool {
        let elsewhere = to != self.fabric.neighbours.own() && to < self.fabric.neighbours.cores();
        if self.relocation.is_some() || !elsewhere || !self.is_movable(seat) {
            return false;
        }
        let Some(serial) = self.fabric.seats.get(seat).map(|s| s.serial) else {
            return false;
        };
        let until_ms = self.fabric.now_ms + MOVE_SEEK_MS;
        self.relocation = Some(Relocation { seat, serial, to, stopped: false, until_ms });
        true
    }

    /// A test wants a session to move, however busy anybody is.
    #[cfg(test)]
    pub(super) fn demand(&mut self, tsih: crate::wire::Tsih, to: usize) {
        if let Some(seat) = self.fabric.seats.find(tsih) {
            self.begin_move(seat, to);
        }
    }

    /// Takes the session that is about to move one step further.
    #[cold]
    pub(super) fn relocate(&mut self) {
        self.try_stop();
        let Some(Relocation { seat, serial, stopped, until_ms, .. }) = self.relocation else { return };
        let same = self.fabric.seats.same(seat, serial).is_some();
        let known = |(_, conn): (ConnIx, ConnNo)| {
            !stopped || matches!(self.fabric.links.get(conn), Some(link) if link.halt == Halt::Stopped)
        };
        // A connection that has joined the session since it was stopped is not stopped.
        if !same || !self.is_movable(seat) || !self.legs(seat).all(known) {
            return self.resume();
        }
        if stopped && self.is_quiet(seat) && self.depart() {
            return;
        }
        if self.fabric.now_ms >= until_ms {
            self.resume();
        }
    }

    /// Stops the session if its initiator owes it nothing.
    fn try_stop(&mut self) {
        let Some(Relocation { seat, serial, stopped: false, .. }) = self.relocation else { return };
        let between = |(_, conn): (ConnIx, ConnNo)| {
            let receive = self.fabric.links.receive(conn);
            receive.is_some_and(|receive| receive.framer.is_between_pdus() && receive.partial.is_none())
        };
        let Some(holder) = self.fabric.seats.same(seat, serial) else { return };
        if holder.session.awaits_initiator() || !self.is_movable(seat) || !self.legs(seat).all(between) {
            return;
        }
        for (_, conn) in self.legs(seat) {
            self.fabric.cancel_receive(conn);
            if let Some(link) = self.fabric.links.get_mut(conn).required("a connection of the session that moves") {
                link.halt = Halt::Stopped;
            }
        }
        if let Some(relocation) = &mut self.relocation {
            relocation.stopped = true;
            relocation.until_ms = self.fabric.now_ms + MOVE_QUIET_MS;
        }
    }

    /// A chunk of a connection whose session is about to move: true if it is taken care of.
    #[cold]
    pub(super) fn chunk_of_leaving(&mut self, conn: ConnNo, mut chunk: &[u8]) -> bool {
        let Some(Relocation { seat, .. }) = self.relocation else { return false };
        if self.fabric.seat_of(conn).is_none_or(|(of, _)| of != seat) {
            return false;
        }
        while !chunk.is_empty() {
            let Some(receive) = self.fabric.links.receive(conn).required("a receive side") else { return true };
            let whole = receive.framer.rest_of_pdu(chunk);
            if matches!(self.fabric.links.get(conn), Some(link) if link.halt == Halt::Stopped && !link.closing)
                && !sings(Canary::StoppedActsOn)
            {
                if !self.park(conn, chunk) {
                    self.resume();
                    continue;
                }
                return true;
            }
            let (piece, rest) = chunk.split_at(whole);
            let left = self.with_receive(conn, |core, receive| core.chunk(receive, conn, piece).len()).unwrap_or(0);
            if left > 0 {
                // The connection's turn is over, or there is no room for what the PDU would be answered.
                return self.park(conn, &chunk[piece.len() - left..]);
            }
            chunk = rest;
            self.try_stop();
        }
        true
    }

    /// The receive of a connection that was stopped has ended: true if that is taken care of.
    #[cold]
    pub(super) fn halted(&mut self, conn: ConnNo, result: i32) -> bool {
        let Some(link) = self.fabric.links.get_mut(conn).required("a connection whose receive has ended") else {
            return true;
        };
        if link.closing {
            link.halt = Halt::No;
            self.forget_partial(conn);
            self.fabric.sweep(conn);
            return true;
        }
        if link.halt == Halt::Stopped {
            // Should the peer be gone, the next receive says so again, on whatever core that is.
            return true;
        }
        link.halt = Halt::No;
        let cancelled = result == -libc::ECANCELED;
        if cancelled {
            self.fabric.links.fresh.push(conn);
        }
        cancelled
    }

    /// Has the session go on where it is.
    fn resume(&mut self) {
        let Some(Relocation { seat, serial, stopped, .. }) = self.relocation.take() else { return };
        if let Some(holder) = self.fabric.seats.get_mut(seat)
            && holder.serial == serial
        {
            holder.stays_until_ms = self.fabric.now_ms + MOVE_RETRY_MS;
            tracing::debug!(tsih = holder.tsih().0, stopped, "a session was to move, and did not become quiet in time");
        }
        for conn in self.fabric.links.numbers() {
            let Some(link) = self.fabric.links.get_mut(conn) else { continue };
            if link.halt == Halt::Stopped {
                link.halt = if link.receiving { Halt::Resuming } else { Halt::No };
                if !link.receiving {
                    self.fabric.links.fresh.push(conn);
                }
                self.take_turns(conn);
            }
        }
    }

    /// The session is quiet, and leaves, if nothing was posted to this core meanwhile.
    fn depart(&mut self) -> bool {
        let Some(Relocation { seat, to, .. }) = self.relocation else { return false };
        let world = Arc::clone(&self.fabric.world);
        let Some(tsih) = self.fabric.seats.get(seat).required("the session that moves").map(|s| s.tsih()) else {
            return false;
        };
        let left = world.registry.depart(tsih, to, || {
            let mailbox = self.fabric.neighbours.mailbox();
            let heard = self.inbox.is_empty() && mailbox.is_some_and(|mailbox| mailbox.is_empty());
            let relocated = if heard { self.take_out(seat) } else { None };
            relocated.map(|relocated| self.fabric.neighbours.post(to, Message::Relocate(Box::new(relocated)))).is_some()
        });
        if left {
            self.relocation = None;
        }
        left
    }

    fn take_out(&mut self, seat: SeatIx) -> Option<Relocated> {
        const LEG: &str = "a connection of the session that moves";
        let legs: Vec<_> = self.legs(seat).collect();
        self.count_answered();
        let mut holder = Box::new(self.fabric.seats.leave(seat).required("the session that moves")?);
        if sings(Canary::AttentionLost) {
            holder.nexus.iter_mut().for_each(LuNexus::forget_attentions);
        }
        self.executor.close(seat);
        let take = |(ix, conn): (ConnIx, ConnNo)| {
            let Connection { link, tx, receive, .. } = self.fabric.links.of_mut(conn).required(LEG)?;
            let (link, mut receive) = (link.take().required(LEG)?, receive.take().required(LEG)?);
            receive.partial = None;
            self.spare_parked.discount(&mut receive.parked);
            if sings(Canary::ParkedLost) {
                self.spare_parked.drop_of(&mut receive.parked);
            }
            let digests = tx.digests();
            tx.set_digests(false, false);
            Some(Leg { ix, link, receive, digests })
        };
        let legs = legs.into_iter().filter_map(take).collect();
        Some(Relocated { seat: holder, legs, change: self.fabric.served.latest(), from: self.fabric.neighbours.own() })
    }

    /// A session moves in.
    pub(super) fn arrive(&mut self, relocated: Relocated) {
        let Relocated { seat: mut holder, legs, change, from } = relocated;
        self.change(&change);
        let tsih = holder.tsih();
        holder.stays_until_ms = self.fabric.now_ms + MOVE_STAY_MS;
        let seat = self.enter_seat(*holder, Route::default());
        let mut arrived = Vec::with_capacity(legs.len());
        for Leg { ix, mut link, receive, digests } in legs {
            link.phase = Phase::Full { seat, ix };
            link.halt = Halt::No;
            // The bound on the connections of a core is for those that come from outside.
            let conn = self.fabric.links.enter(link);
            if let Some(connection) = self.fabric.links.of_mut(conn).required("the connection that was entered") {
                connection.tx.set_digests(digests.0, digests.1);
                connection.receive = Some(receive);
            }
            self.fabric.seats.connect(seat, ix, conn);
            self.fabric.trace(conn);
            arrived.push(conn);
        }
        self.fabric.world.registry.arrived(tsih);
        self.fabric.stats.moved_in += 1;
        self.settle_in(seat, &change);
        // It may have ended with what the configuration says here.
        if let Some(holder) = self.fabric.seats.get_mut(seat) {
            holder.passed.keep_units(&holder.map.units);
        }
        if let Some(holder) = self.fabric.seats.get(seat)
            && let Some(left_out) = self.fabric.noise.notice(self.fabric.now_ms)
        {
            let init = holder.session.init();
            tracing::info!(
                event = "session-moved", initiator = %init.initiator.name, tsih = tsih.0, from, core = self.fabric.neighbours.own(),
                connections = arrived.len(), left_out, "session moved to the less busy core"
            );
        }
        arrived.into_iter().for_each(|conn| self.settle_parked(conn));
    }

    /// Has a session that has moved in served as the others here are.
    fn settle_in(&mut self, seat: SeatIx, change: &Change) {
        let latest = self.fabric.served.latest();
        if change.world.generation < latest.world.generation && !sings(Canary::MoverUnchanged) {
            self.change_seat(seat, &change.world, &latest.resized);
            self.regate(seat);
        }
        // It may have ended with what the configuration says here.
        let Some(holder) = self.fabric.seats.get_mut(seat) else { return };
        holder.text.change(Arc::clone(&self.fabric.world));
        if self.fabric.shutdown
            && let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat)
        {
            holder.session.request_logout(&mut out);
            self.pump(seat);
        }
    }
}
