//! Connections and sessions leave: closed politely or cut off, swept when nothing of theirs is under way any more.

use super::core::Core;
use crate::fabric::mesh::{Handover, Message};
use crate::fabric::seat::Seat;
use crate::fabric::{Fabric, Parts};
use crate::limits::{LOST_SESSIONS, LOST_SESSIONS_PER_ADDRESS, LOST_SESSIONS_PER_HOST, LOST_SESSIONS_PER_INITIATOR};
use crate::model::{Address, IscsiName};
use crate::scsi::LuNexus;
use crate::session::Session;
use crate::session::login::Step;
use crate::session::seam::CloseReason;
use crate::tasks::task::Exec;
use crate::transport::link::{Moving, Phase};
use crate::transport::links::Connection;
use crate::transport::number::ConnNo;
use crate::unit::Unit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Core {
    /// Treats the peer as gone: nothing more is sent.
    pub fn disconnected(&mut self, conn: ConnNo, reason: CloseReason) {
        let Some(link) = self.fabric.links.get_mut(conn) else { return };
        link.socket.shut(libc::SHUT_RDWR);
        // Also of a connection that was being closed politely: what is still queued will not leave any more.
        link.shut_ms.get_or_insert(self.fabric.now_ms);
        if link.closing {
            return;
        }
        link.closing = true;
        let (peer, phase) = (link.peer, std::mem::replace(&mut link.phase, Phase::Leaving));
        self.fabric.links.watch(conn);
        match phase {
            Phase::Full { seat, ix } => {
                self.log_end(peer, reason);
                if let Some(holder) = self.fabric.seats.get_mut(seat).and_then(Option::as_deref_mut) {
                    holder.session.connection_lost(ix, reason);
                    holder.text.forget(ix);
                }
                if let Some(route) = self.fabric.routes.get_mut(seat).and_then(|r| r.get_mut(usize::from(ix.0))) {
                    *route = None;
                }
                self.pump(seat);
                self.sweep_seat(seat);
                self.bound_lost(seat);
            }
            // This login was refused, and that was logged when its proof was judged.
            Phase::Judged { step, .. } if matches!(*step, Step::Refuse { .. }) => self.fabric.stats.failed_logins += 1,
            Phase::Login { login, .. } | Phase::Judged { login, .. } => {
                self.fabric.stats.failed_logins += 1;
                if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
                    let initiator = login.peer_named().unwrap_or("?");
                    tracing::warn!(%peer, initiator, ?reason, left_out, "login given up");
                }
            }
            Phase::Waiting => {
                if let Some(i) = self.fabric.adoptions.iter().position(|a| a.conn == conn) {
                    self.fabric.adoptions.swap_remove(i);
                }
            }
            Phase::Leaving => {}
        }
    }

    /// Sends what is queued, then closes the connection.
    pub fn close(&mut self, conn: ConnNo, reason: CloseReason) {
        let Some(link) = self.fabric.links.get_mut(conn) else { return };
        if link.closing {
            return;
        }
        link.closing = true;
        let (peer, phase) = (link.peer, std::mem::replace(&mut link.phase, Phase::Leaving));
        self.fabric.links.watch(conn);
        if let Phase::Full { seat, ix } = phase {
            self.log_end(peer, reason);
            if let Some(holder) = self.fabric.seats.get_mut(seat).and_then(Option::as_deref_mut) {
                holder.text.forget(ix);
            }
            if let Some(route) = self.fabric.routes.get_mut(seat).and_then(|r| r.get_mut(usize::from(ix.0))) {
                *route = None;
            }
            // The connection may have been logged out for recovery.
            self.bound_lost(seat);
        }
        self.fabric.links.dirty.push(conn);
        self.fabric.sweep(conn);
    }

    /// Closes the connections of a session that will ask for nothing more.
    pub fn ended(&mut self, seat: usize, reason: CloseReason) {
        let Some(holder) = self.fabric.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        if !std::mem::replace(&mut holder.ended, true) {
            self.fabric.ending.push(seat);
        }
        let route = self.fabric.routes[seat];
        for conn in route.into_iter().flatten() {
            match reason {
                CloseReason::Logout | CloseReason::Shutdown | CloseReason::Reset => self.close(conn, reason),
                // Nobody reads on these connections any more.
                _ => self.disconnected(conn, reason),
            }
        }
        self.forget_management(seat);
    }

    /// Bounds the sessions that wait for a new connection (ErrorRecoveryLevel 2): when seat `new` may have become one,
    /// the one that has waited longest makes room, of its initiator, its address or its host if they have too many,
    /// else of all.
    fn bound_lost(&mut self, new: usize) {
        let is_lost = |seat: &&Seat| !seat.ended && seat.session.is_failed();
        let seats = &mut self.fabric.seats;
        let Some(own) = seats.get_mut(new).and_then(Option::as_deref_mut).filter(|seat| is_lost(&&**seat)) else {
            return;
        };
        own.lost_ms = self.fabric.now_ms;
        // Nobody says when such a session is continued, or over: those are left out here.
        self.fabric
            .lost
            .retain(|&seat| seat != new && seats.get(seat).and_then(Option::as_deref).filter(is_lost).is_some());
        self.fabric.lost.push(new);
        let Some(own) = self.fabric.seats.get(new).and_then(Option::as_deref) else { return };
        let lost =
            || self.fabric.lost.iter().filter_map(|&seat| Some((seat, self.fabric.seats.get(seat)?.as_deref()?)));
        let address = |seat: &Seat| Address::of(seat.text.peer());
        // An initiator that only says its name is another one than one that has proved it.
        fn initiator(seat: &Seat) -> (&IscsiName, Option<&str>) {
            let port = &seat.session.init().initiator;
            (&port.name, port.proof.as_deref())
        }
        let of_initiator = |seat: &Seat| initiator(seat) == initiator(own);
        let of_address = |seat: &Seat| address(seat) == address(own);
        let of_host = |seat: &Seat| address(seat).host() == address(own).host();
        let surplus = |most: usize, alike: &dyn Fn(&Seat) -> bool| {
            let oldest = lost().filter(|(_, seat)| alike(seat)).min_by_key(|(_, seat)| seat.lost_ms);
            oldest.filter(|_| lost().filter(|(_, seat)| alike(seat)).count() > most).map(|(number, _)| number)
        };
        let gone = surplus(LOST_SESSIONS_PER_INITIATOR, &of_initiator)
            .or_else(|| surplus(LOST_SESSIONS_PER_ADDRESS, &of_address))
            .or_else(|| surplus(LOST_SESSIONS_PER_HOST, &of_host))
            .or_else(|| surplus(LOST_SESSIONS, &|_| true));
        if let Some(gone) = gone
            && let Some(holder) = self.fabric.seats[gone].as_deref_mut()
        {
            holder.session.end(CloseReason::Disconnected);
            self.pump(gone);
            self.sweep_seat(gone);
        }
    }

    fn log_end(&mut self, peer: SocketAddr, reason: CloseReason) {
        match reason {
            CloseReason::Logout | CloseReason::Shutdown | CloseReason::Reinstated => {
                if let Some(left_out) = self.fabric.noise.notice(self.fabric.now_ms) {
                    tracing::info!(%peer, ?reason, left_out, "connection closed");
                }
            }
            _ => {
                if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
                    tracing::warn!(%peer, ?reason, left_out, "connection closed");
                }
            }
        }
    }

    /// Drops the sessions that have ended, where nothing of them is left; looks at no other.
    pub fn sweep_ended(&mut self) {
        let mut ending = std::mem::take(&mut self.fabric.ending);
        ending.retain(|&seat| {
            self.sweep_seat(seat);
            self.fabric.seats.get(seat).and_then(Option::as_deref).is_some_and(|holder| holder.ended)
        });
        ending.append(&mut self.fabric.ending);
        self.fabric.ending = ending;
    }

    /// Drops a session that has ended when its tasks have let go.
    pub fn sweep_seat(&mut self, seat: usize) {
        let Some(holder) = self.fabric.seats.get(seat).and_then(Option::as_deref) else { return };
        if !holder.ended || !self.executor.tasks(seat).iter().all(Exec::is_idle) {
            return;
        }
        if let Some(gone) = self.fabric.seats[seat].take() {
            self.executor.close(seat);
            //= RFC 7144 section 6.3
            //# Each logical unit accessible via the receiving I_T NEXUS MUST behave as
            //# dictated by the I_T nexus loss function in [SAM5] for the I_T nexus on
            //# which the task management function was received.
            for (nexus, &unit) in gone.nexus.iter().zip(&gone.map.units) {
                self.fabric.world.units[unit].nexus_leaves(nexus, &gone.session);
            }
            // The copies of this nexus end, too: whoever has its place next is not to be overtaken by what they have on
            // the medium.
            self.executor.end_cancelled_copies();
        }
    }

    /// Asks all initiators to log out (RFC 7143 section 11.9.1, event 1).
    pub fn ask_for_logout(&mut self) {
        for seat in 0..self.fabric.seats.len() {
            if let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat) {
                holder.session.request_logout(&mut out);
                self.pump(seat);
            }
        }
    }

    /// Ends all sessions.
    pub fn end_all(&mut self) {
        for seat in 0..self.fabric.seats.len() {
            if let Some(holder) = self.fabric.seats[seat].as_deref_mut() {
                holder.session.end(CloseReason::Shutdown);
                self.pump(seat);
                self.sweep_seat(seat);
            }
        }
    }
}

impl Fabric {
    /// Takes a closing connection one step further: half-close when all is sent, then away when nothing is in flight.
    pub fn sweep(&mut self, conn: ConnNo) {
        let Some(connection) = self.links.of_mut(conn) else { return };
        let Connection { link: Some(link), tx, .. } = connection else { return };
        if let Some(moving) = link.moving.take_if(|_| !link.receiving && tx.is_idle()) {
            let Some(link) = connection.link.take() else { return };
            let Moving { core, login, session, replaces } = *moving;
            let (socket, peer, local, ticket) = (link.socket, link.peer, link.local, link.ticket);
            let change = Arc::clone(&self.latest);
            let handover = Handover { socket, peer, local, ticket, login, session, replaces, change };
            self.links.gone.push(conn);
            return self.mesh.post(core, Message::Adopt(Box::new(handover)));
        }
        if !link.closing {
            return;
        }
        if !link.receiving && !tx.is_sending() && (link.shut_ms.is_some() || tx.is_idle()) {
            tx.abandon(&mut self.pool);
            tx.set_digests(false, false);
            let takes_more = tx.takes_more();
            connection.link = None;
            if takes_more {
                self.links.roomy.push(conn);
            }
            self.links.gone.push(conn);
            return;
        }
        if tx.is_idle() && link.shut_ms.is_none() {
            link.shut_ms = Some(self.now_ms);
            link.socket.shut(libc::SHUT_WR);
        }
    }
}

impl Unit {
    /// A nexus of a session is gone. What it was told of lost writes may have arrived since: that is saved with the next GOOD.
    pub(super) fn nexus_leaves(&self, nexus: &LuNexus, session: &Session) {
        if nexus.leave(|status| session.has_arrived(status)) {
            self.news.store(true, Ordering::Relaxed);
        }
        self.logical.nexus_lost(nexus.id());
    }
}
