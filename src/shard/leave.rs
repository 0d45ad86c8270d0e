//! Connections and sessions leave: closed politely or cut off, swept when nothing of theirs is under way any more.

use super::core::Core;
use crate::fabric::{Fabric, Parts};
use crate::missing::Required;
use crate::model::{ConnNo, SeatIx};
use crate::scsi::LuNexus;
use crate::session::Session;
use crate::session::login::Step;
use crate::session::seam::CloseReason;
use crate::tasks::task::Exec;
use crate::transport::link::Phase;
use crate::transport::protocol::Protocol;
use crate::unit::Unit;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

impl Core {
    /// Treats the peer as gone: nothing more is sent.
    pub fn disconnected(&mut self, conn: ConnNo, reason: CloseReason) {
        // It may be gone: what is parked of it outlasts it for a turn.
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
                self.full_feature_ended(peer, seat, reason);
                if let Some(holder) = self.fabric.seats.disconnect(seat, ix).required("the session of a connection") {
                    holder.session.connection_lost(ix, reason);
                }
                self.pump(seat);
                self.sweep_seat(seat);
                self.bound_lost(seat);
            }
            // This login was refused, and that was logged when its proof was judged.
            Phase::Judged { step, .. } if matches!(*step, Step::Refuse { .. }) => {
                let Step::Refuse { answer, .. } = *step else { return };
                self.protocol().login_refused(answer.response.status);
            }
            Phase::Login { login, .. } | Phase::Judged { login, .. } => {
                self.protocol().login_given_up();
                if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
                    let initiator = login.peer_named().unwrap_or("?");
                    tracing::warn!(event = "login-given-up", %peer, initiator, ?reason, left_out, "login given up");
                }
            }
            Phase::Waiting => {
                self.fabric.logins.forget(conn);
            }
            Phase::Leaving => {}
        }
    }

    /// Sends what is queued, then closes the connection.
    pub fn close(&mut self, conn: ConnNo, reason: CloseReason) {
        let Some(link) = self.fabric.links.get_mut(conn).required("a connection to be closed") else { return };
        if link.closing {
            return;
        }
        link.closing = true;
        let (peer, phase) = (link.peer, std::mem::replace(&mut link.phase, Phase::Leaving));
        self.fabric.links.watch(conn);
        if let Phase::Full { seat, ix } = phase {
            self.full_feature_ended(peer, seat, reason);
            let _ = self.fabric.seats.disconnect(seat, ix).required("the session of a connection");
            // The connection may have been logged out for recovery.
            self.bound_lost(seat);
        }
        self.fabric.links.dirty.push(conn);
        self.fabric.sweep(conn);
    }

    /// Closes the connections of a session that will ask for nothing more.
    pub fn ended(&mut self, seat: SeatIx, reason: CloseReason) {
        self.fabric.seats.end(seat);
        for (_, conn) in self.fabric.seats.connections(seat) {
            match reason {
                CloseReason::Logout | CloseReason::Shutdown | CloseReason::Reset | CloseReason::Dropped => {
                    self.close(conn, reason);
                }
                // Nobody reads on these connections any more.
                _ => self.disconnected(conn, reason),
            }
        }
        self.forget_management(seat);
    }

    /// Bounds the sessions that wait for a new connection (ErrorRecoveryLevel 2), when seat `new` may have become one.
    fn bound_lost(&mut self, new: SeatIx) {
        if let Some(gone) = self.fabric.seats.lose(new, self.fabric.now_ms)
            && let Some(holder) = self.fabric.seats.get_mut(gone).required("the session that has waited longest")
        {
            holder.session.end(CloseReason::Disconnected);
            self.pump(gone);
            self.sweep_seat(gone);
        }
    }

    fn protocol(&mut self) -> &mut Protocol {
        &mut self.fabric.links.pool.protocol
    }

    /// Counts the end of a connection in full feature phase, and says it.
    fn full_feature_ended(&mut self, peer: SocketAddr, seat: SeatIx, reason: CloseReason) {
        self.protocol().ended(reason);
        let event = match reason {
            CloseReason::Logout => "logged-out",
            CloseReason::Dropped => "session-dropped",
            CloseReason::Shutdown => "shutdown",
            CloseReason::Reinstated => "reinstated",
            _ => "connection-lost",
        };
        let Fabric { noise, seats, now_ms, .. } = &mut self.fabric;
        let init = seats.get(seat).map(|holder| holder.session.init());
        let (initiator, tsih) = (init.map(|init| init.initiator.name.as_str()), init.map(|init| init.tsih.0));
        if event == "connection-lost" {
            if let Some(left_out) = noise.line(*now_ms) {
                tracing::warn!(event, %peer, ?reason, initiator, tsih, left_out, "connection closed");
            }
        } else if let Some(left_out) = noise.notice(*now_ms) {
            tracing::info!(event, %peer, ?reason, initiator, tsih, left_out, "connection closed");
        }
    }

    /// Drops the sessions that have ended, where nothing of them is left; looks at no other.
    pub fn sweep_ended(&mut self) {
        let ending = self.fabric.seats.take_ending();
        ending.iter().for_each(|&seat| self.sweep_seat(seat));
        self.fabric.seats.go_on_ending(ending);
    }

    /// Drops a session that has ended, if it is still there, when its connections are gone and its tasks have let go.
    pub fn sweep_seat(&mut self, seat: SeatIx) {
        if !self.fabric.seats.is_over(seat) || !self.executor.tasks(seat).iter().all(Exec::is_idle) {
            return;
        }
        self.count_answered();
        if let Some(gone) = self.fabric.seats.leave(seat).required("the session that was looked at") {
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
        for seat in self.fabric.seats.numbers() {
            if let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat) {
                holder.session.request_logout(&mut out);
                self.pump(seat);
            }
        }
    }

    /// Ends all sessions.
    pub fn end_all(&mut self) {
        for seat in self.fabric.seats.numbers() {
            if let Some(holder) = self.fabric.seats.get_mut(seat) {
                holder.session.end(CloseReason::Shutdown);
                self.pump(seat);
                self.sweep_seat(seat);
            }
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
