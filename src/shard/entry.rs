//! Connections come: accepted, or from another core; and the PDUs of their login. What a login that is complete leads
//! to: `adoption.rs`, `seating.rs`. How connections leave: `leave.rs`.

use super::core::Core;
use crate::fabric::mesh::Handover;
use crate::limits::{CONNECTIONS_FOR_OTHERS, CONNECTIONS_PER_CORE, HALF_OPEN_PER_CORE};
use crate::missing::{Required, missing};
use crate::model::{Address, ConnNo, Host};
use crate::random::fill_random;
use crate::session::login::negotiate::Offer;
use crate::session::login::{Login, LoginEnv, Step};
use crate::session::seam::CloseReason;
use crate::transport::io::Socket;
use crate::transport::link::{Halt, Link, Phase};
use crate::transport::note::Who;
use crate::wire::{Bhs, LoginRequest, Opcode, bhs};
use crate::world::doors::Ticket;
use std::net::SocketAddr;

impl Core {
    /// A connection was accepted. Its number, or `None` when it is turned away.
    pub fn accepted(&mut self, socket: Socket, peer: SocketAddr, local: SocketAddr) -> Option<ConnNo> {
        self.fabric.stats.accepted += 1;
        let ticket = match self.fabric.world.doors.enter(Address::of(peer)) {
            Ok(ticket) => ticket,
            Err(full) => {
                self.fabric.stats.refused += 1;
                if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
                    tracing::warn!(event = "connection-refused", %peer, left_out, "connection refused: {full}");
                }
                return None;
            }
        };
        let login = Box::new(Login::new(self.fabric.now_ms));
        let deadline_ms = self.fabric.now_ms.saturating_add(self.fabric.world.admission.login_timeout_ms);
        let conn = self.link(socket, (peer, local), ticket, Phase::Login { login, deadline_ms })?;
        // A flood of connections that never log in must not keep out one that does: the oldest makes room.
        let most = (HALF_OPEN_PER_CORE, self.fabric.world.admission.half_open_per_address);
        if let Some(oldest) = self.fabric.links.make_room(conn, peer, most) {
            self.fabric.stats.refused += 1;
            self.disconnected(oldest, CloseReason::LoginTimeout);
            self.fabric.sweep(oldest);
        }
        Some(conn)
    }

    fn link(
        &mut self,
        socket: Socket,
        (peer, local): (SocketAddr, SocketAddr),
        ticket: Ticket,
        phase: Phase,
    ) -> Option<ConnNo> {
        if let Some(full) = self.full(peer) {
            self.fabric.stats.refused += 1;
            if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
                tracing::warn!(event = "connection-refused", %peer, left_out, "connection refused: {full}");
            }
            return None;
        }
        let link = Link {
            socket,
            peer,
            local,
            ticket,
            phase,
            framing: None,
            receiving: false,
            rearming: false,
            corked: false,
            closing: false,
            moving: None,
            halt: Halt::No,
            sent_ms: self.fabric.now_ms,
            shut_ms: None,
        };
        Some(self.fabric.links.enter(link))
    }

    /// Why this core takes no connection from an address; `None`: it takes one.
    fn full(&self, peer: SocketAddr) -> Option<&'static str> {
        const OWN: usize = CONNECTIONS_PER_CORE - CONNECTIONS_FOR_OTHERS;
        let open = self.fabric.links.iter().count();
        let host = Host::of(peer);
        let same = |link: &&Link| Host::of(link.peer) == host;
        match open {
            ..OWN => None,
            CONNECTIONS_PER_CORE.. => Some("the core has as many as it takes"),
            _ if self.fabric.links.iter().filter(same).count() >= OWN => {
                Some("the places that are left on the core are for other networks")
            }
            _ => None,
        }
    }

    /// A PDU of the login phase.
    pub fn login_pdu(&mut self, conn: ConnNo, header: &Bhs, data: &[u8]) {
        let Some(link) = self.fabric.links.get_mut(conn).required("the connection of a login") else { return };
        let Phase::Login { login, deadline_ms } = &mut link.phase else { return missing("a login") };
        let (peer, deadline_ms) = (link.peer, *deadline_ms);
        let request = match LoginRequest::parse(header) {
            Ok(request) if bhs::opcode(header) == Opcode::LOGIN_REQUEST => request,
            //= RFC 7143 section 4.2.4
            //# A target receiving any PDU except a Login Request before the Login Phase
            //# is started MUST immediately terminate the connection on which the PDU
            //# was received.
            _ if !login.has_begun() => {
                return self.disconnected(conn, CloseReason::Protocol("a PDU before the login (4.2.4)"));
            }
            //= RFC 7143 section 4.2.4
            //# Once the Login Phase has started, if the target receives any PDU except
            //# a Login Request, it MUST send a Login reject (with Status "invalid
            //# during login") and then disconnect.
            _ => {
                if let Step::Refuse { answer, reason } = login.not_a_login(header) {
                    if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
                        tracing::warn!(event = "login-refused", %peer, %reason, left_out, "login refused");
                    }
                    self.refuse(conn, &answer);
                }
                return;
            }
        };
        let mut random = |bytes: &mut [u8]| fill_random(bytes);
        let offer = Offer { strict: self.fabric.world.directory.is_strict(), ..self.fabric.logins.offer };
        let mut env = LoginEnv {
            directory: &self.fabric.world.directory,
            portal: link.local,
            peer,
            random: &mut random,
            offer: &offer,
        };
        let awaited = login.awaits_proof();
        let step = login.request(&request, data, &mut env);
        let judged = awaited && !login.awaits_proof();
        let mut until_ms = self.fabric.now_ms;
        if let Step::Refuse { reason, .. } = &step {
            let guess =
                reason.is_failed_proof().then(|| self.fabric.world.doors.failed(Host::of(peer), self.fabric.now_ms));
            if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
                let initiator = login.peer_named().unwrap_or("?");
                let failures = guess.map(|(count, _)| count);
                tracing::warn!(event = "login-refused", %peer, initiator, %reason, failures, left_out, "login refused");
            }
            until_ms = guess.map_or(until_ms, |(_, until_ms)| until_ms);
        }
        if judged {
            until_ms = until_ms.max(self.fabric.world.doors.succeeded(Host::of(peer), self.fabric.now_ms));
        }
        if until_ms <= self.fabric.now_ms {
            return self.take_step(conn, step);
        }
        // The initiator has done its part: the time of our silence is not taken from its own.
        let deadline_ms = deadline_ms.saturating_add(until_ms - self.fabric.now_ms);
        if let Phase::Login { login, .. } = std::mem::replace(&mut link.phase, Phase::Leaving) {
            link.phase = Phase::Judged { login, step: Box::new(step), until_ms, deadline_ms };
        }
    }

    fn take_step(&mut self, conn: ConnNo, step: Step) {
        match step {
            Step::Answer(answer) => self.send_login(conn, &answer),
            Step::Refuse { answer, .. } => self.refuse(conn, &answer),
            Step::Done(done) => self.place_login(conn, done),
        }
    }

    /// Goes on with a login whose proof was judged, if it is time.
    pub(super) fn tell_judged(&mut self, conn: ConnNo) {
        let Some(link) = self.fabric.links.get_mut(conn).required("the connection of a login") else { return };
        if let Phase::Judged { until_ms, .. } = link.phase
            && self.fabric.now_ms >= until_ms
            && let Phase::Judged { login, step, deadline_ms, .. } = std::mem::replace(&mut link.phase, Phase::Leaving)
        {
            link.phase = Phase::Login { login, deadline_ms };
            self.take_step(conn, *step);
        }
    }

    /// A connection moves in from another core.
    pub fn moved_in(&mut self, handover: Handover) {
        let Handover { socket, peer, local, ticket, login, session, replaces, change } = handover;
        // The login may be for a target that this core has not heard of.
        self.change(&change);
        let conn = self.link(socket, (peer, local), ticket, Phase::Leaving);
        if let Some(conn) = conn {
            let who = Who { tsih: login.tsih, cid: login.cid, peer, local };
            let target = login.target.as_ref().map(|target| target.name.clone());
            self.fabric.links.trace(conn, who, target.as_ref());
        }
        if let Some(conn) = conn
            && let Some(admitted) = self.admit_again(conn, login)
        {
            self.adopt(conn, admitted, session, replaces);
        }
    }
}
