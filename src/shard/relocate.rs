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
use crate::fabric::seat::Order;
use crate::fabric::seat::Route;
use crate::limits::{MOVE_QUIET_MS, MOVE_RETRY_MS, MOVE_SEEK_MS, MOVE_STAY_MS};
use crate::session::SessionKind;
use crate::session::seam::ConnIx;
use crate::tasks::task::Exec;
use crate::transport::link::{Halt, Phase};
use crate::transport::links::Connection;
use crate::transport::number::ConnNo;
use crate::world::Change;
use std::sync::Arc;

impl Core {
    /// The connections of a session: slot and number.
    fn legs(&self, seat: usize) -> impl Iterator<Item = (usize, ConnNo)> + use<> {
        let route = self.fabric.routes.get(seat).copied().unwrap_or_default();
        route.into_iter().enumerate().filter_map(|(ix, conn)| Some((ix, conn?)))
    }

    /// Whether a session could be moved at all: each of its connections must be in full feature phase and not closing,
    /// and no copy of its own may go on: it would be left behind, where nobody hears of the loss of its nexus.
    pub(super) fn is_movable(&self, seat: usize) -> bool {
        let Some(holder) = self.fabric.seats.get(seat).and_then(Option::as_deref) else { return false };
        let serves = |(_, conn)| self.fabric.seat_of(conn).is_some_and(|(of, _)| of == seat);
        let is_normal = holder.session.init().kind == SessionKind::Normal && !holder.session.keeps();
        let goes_on = !holder.ended && !self.fabric.shutdown && !self.executor.has_copies(holder.serial);
        is_normal && goes_on && self.legs(seat).next().is_some() && self.legs(seat).all(serves)
    }

    /// Whether a session holds nothing of this core, and nobody here waits for it.
    fn is_quiet(&self, seat: usize) -> bool {
        let Some(holder) = self.fabric.seats.get(seat).and_then(Option::as_deref) else { return false };
        let rests = |(_, conn): (usize, ConnNo)| {
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
            && self.executor.running.jobs.iter().flatten().all(|job| job.seat != seat)
    }
}

impl Core {
    /// Begins to move a session. False: it cannot be moved.
    pub(super) fn begin_move(&mut self, seat: usize, to: usize) -> bool {
        let elsewhere = to != self.fabric.core && to < self.fabric.mesh.cores();
        if self.relocation.is_some() || !elsewhere || !self.is_movable(seat) {
            return false;
        }
        let Some(serial) = self.fabric.seats.get(seat).and_then(Option::as_deref).map(|s| s.serial) else {
            return false;
        };
        let until_ms = self.fabric.now_ms + MOVE_SEEK_MS;
        self.relocation = Some(Relocation { seat, serial, to, stopped: false, until_ms });
        true
    }

    /// A test wants a session to move, however busy anybody is.
    #[cfg(test)]
    pub(super) fn demand(&mut self, tsih: crate::wire::Tsih, to: usize) {
        let seat = self.fabric.seats.iter().position(|s| s.as_deref().is_some_and(|s| s.tsih() == tsih));
        if let Some(seat) = seat {
            self.begin_move(seat, to);
        }
    }

    /// Takes the session that is about to move one step further.
    #[cold]
    pub(super) fn relocate(&mut self) {
        self.try_stop();
        let Some(Relocation { seat, serial, stopped, until_ms, .. }) = self.relocation else { return };
        let same = matches!(self.fabric.seats.get(seat), Some(Some(holder)) if holder.serial == serial);
        let known = |(_, conn): (usize, ConnNo)| {
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
        let between = |(_, conn): (usize, ConnNo)| {
            let receive = self.fabric.links.receive(conn);
            receive.is_some_and(|receive| receive.framer.is_between_pdus() && receive.partial.is_none())
        };
        let Some(Some(holder)) = self.fabric.seats.get(seat) else { return };
        if holder.serial != serial
            || holder.session.awaits_initiator()
            || !self.is_movable(seat)
            || !self.legs(seat).all(between)
        {
            return;
        }
        for (_, conn) in self.legs(seat) {
            self.fabric.cancel_receive(conn);
            if let Some(link) = self.fabric.links.get_mut(conn) {
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
            let Some(receive) = self.fabric.links.receive(conn) else { return true };
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
        let Some(link) = self.fabric.links.get_mut(conn) else { return true };
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
        if let Some(Some(holder)) = self.fabric.seats.get_mut(seat)
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
        let Some(tsih) = self.fabric.seats.get(seat).and_then(Option::as_deref).map(|s| s.tsih()) else {
            return false;
        };
        let left = world.registry.depart(tsih, to, || {
            let mesh = self.fabric.mesh.clone();
            let mailbox = mesh.of(self.fabric.core);
            let heard = self.inbox.is_empty() && mailbox.is_some_and(|mailbox| mailbox.is_empty());
            let relocated = if heard { self.take_out(seat) } else { None };
            relocated.map(|relocated| mesh.post(to, Message::Relocate(Box::new(relocated)))).is_some()
        });
        if left {
            self.relocation = None;
        }
        left
    }

    fn take_out(&mut self, seat: usize) -> Option<Relocated> {
        let legs: Vec<_> = self.legs(seat).collect();
        let holder = self.fabric.seats.get_mut(seat)?.take()?;
        self.executor.close(seat);
        if let Some(route) = self.fabric.routes.get_mut(seat) {
            *route = Route::default();
        }
        let take = |(ix, conn): (usize, ConnNo)| {
            let Connection { link, tx, receive, .. } = self.fabric.links.of_mut(conn)?;
            let (link, mut receive) = (link.take()?, receive.take()?);
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
        Some(Relocated { seat: holder, legs, change: Arc::clone(&self.fabric.latest), from: self.fabric.core })
    }

    /// A session moves in.
    pub(super) fn arrive(&mut self, relocated: Relocated) {
        let Relocated { mut seat, legs, change, from } = relocated;
        self.change(&change);
        let tsih = seat.tsih();
        seat.order = Order::Free;
        seat.stays_until_ms = self.fabric.now_ms + MOVE_STAY_MS;
        let number = self.enter_seat(seat, Route::default());
        let mut arrived = Vec::with_capacity(legs.len());
        for Leg { ix, mut link, receive, digests } in legs {
            link.phase = Phase::Full { seat: number, ix: ConnIx(ix as u8) };
            link.halt = Halt::No;
            // The bound on the connections of a core is for those that come from outside.
            let conn = self.fabric.links.enter(link);
            if let Some(connection) = self.fabric.links.of_mut(conn) {
                connection.tx.set_digests(digests.0, digests.1);
                connection.receive = Some(receive);
            }
            self.fabric.routes[number][ix] = Some(conn);
            arrived.push(conn);
        }
        self.fabric.world.registry.arrived(tsih);
        self.fabric.stats.moved_in += 1;
        self.settle_in(number, &change);
        if let Some(Some(holder)) = self.fabric.seats.get(number)
            && let Some(left_out) = self.fabric.noise.notice(self.fabric.now_ms)
        {
            let init = holder.session.init();
            tracing::info!(
                initiator = %init.initiator.name, tsih = tsih.0, from, core = self.fabric.core,
                connections = arrived.len(), left_out, "session moved to the less busy core"
            );
        }
        arrived.into_iter().for_each(|conn| self.settle_parked(conn));
    }

    /// Has a session that has moved in served as the others here are.
    fn settle_in(&mut self, number: usize, change: &Change) {
        let latest = Arc::clone(&self.fabric.latest);
        if change.world.generation < latest.world.generation {
            self.change_seat(number, &change.world, &latest.resized);
            self.regate(number);
        }
        let Some(Some(holder)) = self.fabric.seats.get_mut(number) else { return };
        holder.text.change(Arc::clone(&self.fabric.world));
        if self.fabric.shutdown
            && let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(number)
        {
            holder.session.request_logout(&mut out);
            self.pump(number);
        }
    }
}
