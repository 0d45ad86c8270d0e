//! Connections come: login, placement on a core, adoption into a session. How they leave: `leave.rs`.

use super::doors::Ticket;
use super::engine::Engine;
use super::fabric::Fabric;
use super::link::{Adoption, Halt, Link, Moving, Phase};
use super::mesh::Handover;
use super::nexus::new_nexus;
use super::registry::{Counterpart, Membership, NoPlace, Place, SessionHandle, SessionName};
use super::seat::{Order, Seat};
use super::text::SeatText;
use crate::exec::rate::Gate;
use crate::limits::{
    CONNECTION_SLOTS, CONNECTIONS_FOR_OTHERS, CONNECTIONS_PER_CORE, HALF_OPEN_PER_CORE, MAX_CONTROL_DATA_BYTES,
};
use crate::model::{Address, Host};
use crate::random::fill_random;
use crate::scsi::NexusId;
use crate::session::directory::{Access, Applicant};
use crate::session::login::negotiate::Offer;
use crate::session::login::{Login, LoginAnswer, LoginDone, LoginEnv, LoginFault, Step};
use crate::session::params::SessionKind;
use crate::session::seam::{CloseReason, ConnIx, Payload};
use crate::session::{ConnectionInit, Session, SessionInit};
use crate::shares::Whose;
use crate::wire::{Bhs, LoginRequest, LoginStatus, Opcode, Tsih, bhs};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A login waits this long for the session that it replaces to let go of its tasks, milliseconds. The session does
/// that, whatever the medium does, within `limits::ABORT_GRACE_MS`.
const REINSTATEMENT_MS: u64 = 900;
const _: () = assert!(crate::limits::ABORT_GRACE_MS * 2 < REINSTATEMENT_MS);

/// Why a login is refused when a later one of its initiator port has come behind it.
const OVERTAKEN: &str = "its initiator port has logged in once more";

impl Engine {
    /// A connection was accepted. Its number, or `None` when it is turned away.
    pub fn accepted(&mut self, socket: OwnedFd, peer: SocketAddr, local: SocketAddr) -> Option<usize> {
        self.fabric.stats.accepted += 1;
        let ticket = match self.fabric.world.doors.enter(Address::of(peer)) {
            Ok(ticket) => ticket,
            Err(full) => {
                self.fabric.stats.refused += 1;
                if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
                    tracing::warn!(%peer, left_out, "connection refused: {full}");
                }
                return None;
            }
        };
        let login = Box::new(Login::new(self.fabric.now_ms));
        let deadline_ms = self.fabric.now_ms.saturating_add(self.fabric.world.admission.login_timeout_ms);
        let conn = self.link(socket, (peer, local), ticket, Phase::Login { login, deadline_ms })?;
        // A flood of connections that never log in must not keep out one that does: the oldest makes room.
        let most = (HALF_OPEN_PER_CORE, self.fabric.world.admission.half_open_per_address);
        let links = &self.fabric.links;
        let waits = |conn: usize, peer| {
            { links.get(conn).and_then(Option::as_ref) }
                .is_some_and(|link| link.peer == peer && !link.closing && link.phase.is_half_open())
        };
        if let Some(oldest) = self.fabric.half_open.enter(conn, peer, most, waits) {
            self.fabric.stats.refused += 1;
            self.disconnected(oldest, CloseReason::LoginTimeout);
            self.fabric.sweep(oldest);
        }
        Some(conn)
    }

    fn link(
        &mut self,
        socket: OwnedFd,
        (peer, local): (SocketAddr, SocketAddr),
        ticket: Ticket,
        phase: Phase,
    ) -> Option<usize> {
        if let Some(full) = self.full(peer) {
            self.fabric.stats.refused += 1;
            if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
                tracing::warn!(%peer, left_out, "connection refused: {full}");
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
        Some(self.enter_link(link))
    }

    /// Why this core takes no connection from an address; `None`: it takes one.
    fn full(&self, peer: SocketAddr) -> Option<&'static str> {
        const OWN: usize = CONNECTIONS_PER_CORE - CONNECTIONS_FOR_OTHERS;
        let open = self.fabric.links.iter().flatten().count();
        let host = Host::of(peer);
        let same = |link: &&Link| Host::of(link.peer) == host;
        match open {
            ..OWN => None,
            CONNECTIONS_PER_CORE.. => Some("the core has as many as it takes"),
            _ if self.fabric.links.iter().flatten().filter(same).count() >= OWN => {
                Some("the places that are left on the core are for other networks")
            }
            _ => None,
        }
    }

    /// Gives a connection a number of which nothing is left. If the connection that had a number went in this turn,
    /// what it has received is there until the end of the turn, and would be taken for that of the new one.
    pub(super) fn enter_link(&mut self, link: Link) -> usize {
        let gone = &self.fabric.gone;
        let mut free = self.fabric.links.iter().enumerate().filter(|(_, link)| link.is_none()).map(|(conn, _)| conn);
        let conn = free.find(|conn| !gone.contains(conn)).unwrap_or(self.fabric.links.len());
        if conn == self.fabric.links.len() {
            self.fabric.links.push(None);
            self.fabric.tx.push(Default::default());
            self.fabric.watched.push(true);
        }
        self.fabric.watched[conn] = true;
        self.fabric.links[conn] = Some(link);
        self.fabric.fresh.push(conn);
        conn
    }

    /// A PDU of the login phase.
    pub fn login_pdu(&mut self, conn: usize, header: &Bhs, data: &[u8]) {
        let Some(Some(link)) = self.fabric.links.get_mut(conn) else { return };
        let Phase::Login { login, deadline_ms } = &mut link.phase else { return };
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
                        tracing::warn!(%peer, %reason, left_out, "login refused");
                    }
                    self.refuse(conn, &answer);
                }
                return;
            }
        };
        let mut random = |bytes: &mut [u8]| fill_random(bytes);
        let offer = Offer { strict: self.fabric.world.directory.is_strict(), ..Offer::default() };
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
                tracing::warn!(%peer, initiator, %reason, failures, left_out, "login refused");
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

    fn take_step(&mut self, conn: usize, step: Step) {
        match step {
            Step::Answer(answer) => self.send_login(conn, &answer),
            Step::Refuse { answer, .. } => self.refuse(conn, &answer),
            Step::Done(done) => self.place_login(conn, done),
        }
    }

    fn send_login(&mut self, conn: usize, answer: &LoginAnswer) {
        let mut header = [0; bhs::BHS_LEN];
        answer.response.emit(&mut header);
        let Some(tx) = self.fabric.tx.get_mut(conn) else { return };
        tx.pdu(&header, Payload::Bytes(&answer.text), None, &mut self.fabric.pool);
        self.fabric.dirty.push(conn);
    }

    fn refuse(&mut self, conn: usize, answer: &LoginAnswer) {
        self.fabric.stats.failed_logins += 1;
        self.send_login(conn, answer);
        self.close(conn, CloseReason::LoginRefused);
    }

    /// Goes on with a login whose proof was judged, if it is time.
    pub(super) fn tell_judged(&mut self, conn: usize) {
        let Some(Some(link)) = self.fabric.links.get_mut(conn) else { return };
        if let Phase::Judged { until_ms, .. } = link.phase
            && self.fabric.now_ms >= until_ms
            && let Phase::Judged { login, step, deadline_ms, .. } = std::mem::replace(&mut link.phase, Phase::Leaving)
        {
            link.phase = Phase::Login { login, deadline_ms };
            self.take_step(conn, *step);
        }
    }

    /// Finds the core of a completed login and takes the connection there.
    fn place_login(&mut self, conn: usize, login: Box<LoginDone>) {
        let Some((mut login, access)) = self.admit(conn, login) else { return };
        let Some(Some(link)) = self.fabric.links.get(conn) else { return };
        let (peer, local) = (link.peer, link.local);
        login.initiator.proof = self.proof(&login, peer);
        let Some(name) = session_name(&login, local) else {
            return self.refuse(conn, &login.refuse(LoginStatus::TARGET_ERROR));
        };
        //= RFC 7143 section 11.12.6
        //# The target MUST check the value presented with the first Login Request
        //# and act as specified in Section 6.3.1.
        let place = match self.fabric.world.registry.place(&name, login.tsih, login.kind, self.fabric.core) {
            Ok(place) => place,
            Err(NoPlace::NoSuchSession) => {
                let status = LoginStatus::SESSION_DOES_NOT_EXIST;
                return self.turn_away(conn, login, status, "no session has this TSIH");
            }
            Err(NoPlace::Anothers) => {
                let status = LoginStatus::AUTHENTICATION_FAILURE;
                return self.turn_away(conn, login, status, "the session that it joins is that of another user");
            }
            Err(NoPlace::OutOfHandles) => {
                return self.turn_away(conn, login, LoginStatus::OUT_OF_RESOURCES, "65535 sessions are open");
            }
        };
        let Place { core, session, replaces } = place;
        if core == self.fabric.core {
            return self.adopt(conn, (login, access), session, replaces);
        }
        self.send_on(conn, Moving { core, login, session, replaces });
    }

    /// Whether a login that is complete, or has waited since then, may have what it asked for. What the directory said
    /// at the beginning of the login counts for nothing: the configuration may have changed since. `None`: it was
    /// turned away.
    fn admit(&mut self, conn: usize, login: Box<LoginDone>) -> Option<(Box<LoginDone>, Access)> {
        let peer = self.fabric.links.get(conn)?.as_ref()?.peer;
        let who = Applicant {
            kind: login.kind,
            target: login.target.as_ref().map(|target| (target.index, &target.name)),
            portal_group: login.portal_group,
            initiator: &login.initiator.name,
            peer,
            identity: login.identity.as_deref(),
        };
        match self.fabric.world.directory.admit(&who) {
            Ok(access) => Some((login, access)),
            Err(fault) => {
                self.turn_away(conn, login, LoginFault::NoTarget(fault).status(), &fault.to_string());
                None
            }
        }
    }

    /// Like [`Engine::admit`], for a login that was placed before, and has waited or come here since. Its initiator
    /// port must have the proof that it was placed by: else a login that is to replace it would not find it, nor has it
    /// found whom it replaces.
    fn admit_again(&mut self, conn: usize, login: Box<LoginDone>) -> Option<(Box<LoginDone>, Access)> {
        let peer = self.fabric.links.get(conn)?.as_ref()?.peer;
        let (login, access) = self.admit(conn, login)?;
        if self.proof(&login, peer) != login.initiator.proof {
            let why = "its initiator port is that of somebody else since the configuration was read again";
            self.turn_away(conn, login, LoginStatus::SERVICE_UNAVAILABLE, why);
            return None;
        }
        Some((login, access))
    }

    /// Refuses a login that was complete, and says why.
    fn turn_away(&mut self, conn: usize, login: Box<LoginDone>, status: LoginStatus, why: &str) {
        if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
            let peer = self.fabric.links.get(conn).and_then(Option::as_ref).map(|link| link.peer);
            tracing::warn!(?peer, initiator = %login.initiator.name, left_out, "login refused: {why}");
        }
        self.refuse(conn, &login.refuse(status));
    }

    /// The proof that is part of a login's initiator port: it says whose the port is.
    fn proof(&self, login: &LoginDone, peer: SocketAddr) -> Option<Arc<str>> {
        let target = login.target.as_ref().map(|target| target.index);
        self.fabric.world.directory.proof(target, &login.initiator.name, peer, login.identity.as_deref())
    }

    /// Takes a connection to another core, or once more through this core's mailbox.
    fn send_on(&mut self, conn: usize, moving: Moving) {
        let Some(Some(link)) = self.fabric.links.get_mut(conn) else { return };
        link.phase = Phase::Leaving;
        link.moving = Some(Box::new(moving));
        self.fabric.watched[conn] = true;
        self.fabric.cancel_receive(conn);
        self.fabric.sweep(conn);
    }

    /// The core of the session that a login joins or replaces, if that session has moved since the login was sent here
    /// (`relocate.rs`). `None`: it has not, or is gone.
    fn elsewhere(&self, session: &Membership, replaces: Option<Tsih>) -> Option<usize> {
        let sought = match session {
            Membership::Joins(tsih) => *tsih,
            // The oldest is asked for: those between are logins that wait for its end.
            Membership::Leads(handle) => {
                *self.fabric.world.registry.ahead_of(handle.tsih()).first().or(replaces.as_ref())?
            }
        };
        if self.fabric.seats.iter().flatten().any(|seat| seat.tsih() == sought) {
            return None;
        }
        let (core, in_transit) = self.fabric.world.registry.whereabouts(sought)?;
        (in_transit || core != self.fabric.core).then_some(core)
    }

    /// A connection moves in from another core.
    pub fn moved_in(&mut self, handover: Handover) {
        let Handover { socket, peer, local, ticket, login, session, replaces, change } = handover;
        // The login may be for a target that this core has not heard of.
        self.change(&change);
        if let Some(conn) = self.link(socket, (peer, local), ticket, Phase::Leaving)
            && let Some(admitted) = self.admit_again(conn, login)
        {
            self.adopt(conn, admitted, session, replaces);
        }
    }

    /// Makes the connection part of its session, ending the session that it replaces first.
    fn adopt(
        &mut self,
        conn: usize,
        (login, access): (Box<LoginDone>, Access),
        session: Membership,
        replaces: Option<Tsih>,
    ) {
        if let Some(core) = self.elsewhere(&session, replaces) {
            if let Membership::Leads(handle) = &session {
                self.fabric.world.registry.follow(handle.tsih(), core);
            }
            return self.send_on(conn, Moving { core, login, session, replaces });
        }
        if matches!(session, Membership::Joins(_)) {
            return self.seat_login(conn, login, access, session);
        }
        // This is asked whether the login replaces a session or not: a later one that has come behind it waits for it
        // to be gone.
        if self.fabric.world.registry.is_overtaken(session.tsih()) {
            return self.turn_away(conn, login, LoginStatus::SERVICE_UNAVAILABLE, OVERTAKEN);
        }
        if replaces.is_none() {
            return self.seat_login(conn, login, access, session);
        }
        let ahead = self.fabric.world.registry.ahead_of(session.tsih());
        // A login ahead that waits itself is turned away: this one waits in its place.
        while let Some(at) = self.fabric.adoptions.iter().position(|waits| ahead.contains(&waits.session.tsih())) {
            let Adoption { conn, login, .. } = self.fabric.adoptions.swap_remove(at);
            self.turn_away(conn, login, LoginStatus::SERVICE_UNAVAILABLE, OVERTAKEN);
        }
        // Sessions that have ended with their connections count, too: what they had in flight may not be over.
        for old in 0..self.fabric.seats.len() {
            let Some(seat) = self.fabric.seats[old].as_deref_mut().filter(|seat| ahead.contains(&seat.tsih())) else {
                continue;
            };
            if !seat.ended {
                seat.session.end(CloseReason::Reinstated);
            }
            self.pump(old);
            self.sweep_seat(old);
        }
        if self.fabric.world.registry.is_first(session.tsih()) {
            return self.seat_login(conn, login, access, session);
        }
        // The old session's writes must be over before the new one's begin.
        let deadline_ms = self.fabric.now_ms + REINSTATEMENT_MS;
        if let Some(Some(link)) = self.fabric.links.get_mut(conn) {
            link.phase = Phase::Waiting;
        }
        self.fabric.adoptions.push(Adoption { conn, login, session, deadline_ms });
    }

    fn find_seat(&self, tsih: Tsih) -> Option<usize> {
        self.fabric.seats.iter().position(|s| s.as_deref().is_some_and(|s| s.tsih() == tsih && !s.ended))
    }

    /// Goes on with the logins whose old session is gone; refuses those that waited too long.
    pub fn resume_adoptions(&mut self) {
        let mut i = 0;
        while i < self.fabric.adoptions.len() {
            let gone = self.fabric.world.registry.is_first(self.fabric.adoptions[i].session.tsih());
            if !gone && self.fabric.now_ms < self.fabric.adoptions[i].deadline_ms {
                i += 1;
                continue;
            }
            let Adoption { conn, login, session, .. } = self.fabric.adoptions.swap_remove(i);
            if gone {
                if let Some((login, access)) = self.admit_again(conn, login) {
                    self.seat_login(conn, login, access, session);
                }
            } else {
                let why = "the session that it replaces does not let go of its tasks";
                self.turn_away(conn, login, LoginStatus::SERVICE_UNAVAILABLE, why);
            }
        }
    }

    fn seat_login(&mut self, conn: usize, login: Box<LoginDone>, access: Access, session: Membership) {
        let Some(Some(link)) = self.fabric.links.get(conn) else { return };
        let peer = link.peer;
        let init = ConnectionInit {
            cid: login.cid,
            params: login.params,
            stat_sn: login.next_stat_sn,
            exp_cmd_sn: login.cmd_sn,
        };
        let tsih = session.tsih();
        let seated = match session {
            Membership::Leads(handle) => Some(self.new_seat(conn, (&login, access), handle, init)),
            Membership::Joins(_) => {
                if let Some((status, why)) = self.is_not_of(tsih, &login, access) {
                    return self.turn_away(conn, login, status, why);
                }
                self.join_seat(conn, tsih, init)
            }
        };
        let Some((seat, ix)) = seated else {
            return self.turn_away(conn, login, LoginStatus::TOO_MANY_CONNECTIONS, "too many connections");
        };
        let params = login.params;
        let mut answer = login.answer;
        //= RFC 7143 section 6.3.2
        //# If the next stage is FullFeaturePhase, the target MUST reply with a
        //# Login Response with the TSIH value.
        //= RFC 7143 section 11.13.3
        //# For a new session, the target MUST generate a non-zero TSIH and ONLY
        //# return it in the Login Final-Response (see Section 6.3).
        answer.response.tsih = tsih;
        if login.tsih != Tsih(0)
            && let Some(holder) = self.fabric.seats[seat].as_deref_mut()
        {
            holder.session.stamp_login(&mut answer.response);
        }
        self.send_login(conn, &answer);
        // The final Login Response still goes without digests (RFC 7143 section 6.1: in force from full feature phase on).
        //= RFC 7143 section 13.1
        //# When the initiator and target agree on a digest, this digest MUST be
        //# used for every PDU in the Full Feature Phase.
        self.fabric.tx[conn].set_digests(params.header_digest, params.data_digest);
        if let Some(Some(link)) = self.fabric.links.get_mut(conn) {
            link.phase = Phase::Full { seat, ix };
            let longest = match login.kind {
                SessionKind::Discovery => MAX_CONTROL_DATA_BYTES,
                SessionKind::Normal => params.target_max_recv_bytes as usize,
            };
            link.framing = Some((params.header_digest, params.data_digest, longest));
        }
        self.fabric.stats.logins += 1;
        if let Some(left_out) = self.fabric.noise.notice(self.fabric.now_ms) {
            tracing::info!(
                %peer, core = self.fabric.core, initiator = %login.initiator.name, tsih = tsih.0, kind = ?login.kind,
                header_digest = params.header_digest, data_digest = params.data_digest, left_out, "logged in"
            );
        }
        if !login.initiator.name.is_standard()
            && let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms)
        {
            let initiator = &login.initiator.name;
            tracing::warn!(%peer, %initiator, left_out, "the initiator's name is not made as RFC 7143 section 4.2.7 wants it");
        }
        // If this connection reinstates another one of its session, that one is to be closed.
        self.pump(seat);
    }

    /// Why a connection is not to be one of the session that it wants to join.
    fn is_not_of(&self, tsih: Tsih, login: &LoginDone, access: Access) -> Option<(LoginStatus, &'static str)> {
        let seat = self.find_seat(tsih).and_then(|seat| self.fabric.seats[seat].as_deref())?;
        // A session has one view of its target: a connection that proved to be somebody else is not part of it.
        if seat.access != Some(access) {
            let why = "the session that it joins is that of another initiator group";
            return Some((LoginStatus::AUTHORIZATION_FAILURE, why));
        }
        //= RFC 7143 section 9.2
        //# Therefore, all
        //# connections in an iSCSI session SHOULD use the same authentication
        //# method, iSCSI name, and authentication identity (for authentication
        //# methods that use an authentication identity).
        //= RFC 7143 section 9.2
        //# Implementations SHOULD
        //# check this and cause an authentication failure on a new connection
        //# that uses a different authentication method, iSCSI name, or
        //# authentication identity from those already used in the session.
        //= RFC 7143 section 9.2
        //# In addition, implementations SHOULD NOT support both authenticated and
        //# unauthenticated TCP connections in the same iSCSI session, added
        //# either concurrently or sequentially to the session.
        let why = "the session that it joins is that of another user";
        (seat.identity != login.identity).then_some((LoginStatus::AUTHENTICATION_FAILURE, why))
    }

    fn new_seat(
        &mut self,
        conn: usize,
        (login, access): (&LoginDone, Access),
        handle: SessionHandle,
        init: ConnectionInit,
    ) -> (usize, ConnIx) {
        let target = match (&login.target, login.kind) {
            (Some(target), SessionKind::Normal) => target.index,
            _ => usize::MAX,
        };
        let session_init = SessionInit {
            initiator: login.initiator.clone(),
            target_name: login
                .target
                .as_ref()
                .and_then(|t| self.fabric.world.targets.get(t.index))
                .map(|t| t.name.clone()),
            target_portal_group: login.portal_group,
            tsih: handle.tsih(),
            kind: login.kind,
            params: login.params,
        };
        let (session, ix) = Session::new(session_init, init, self.fabric.now_ms);
        let nexus_id = NexusId(self.fabric.world.next_nexus.fetch_add(1, Ordering::Relaxed));
        let link = self.fabric.links[conn].as_ref();
        let (portal, peer) = link.map_or((UNKNOWN, UNKNOWN), |l| (l.local, l.peer));
        let map = self.fabric.world.targets.get(target).map(|t| t.map(access)).unwrap_or_default();
        let nexus = |&unit: &usize| {
            new_nexus(nexus_id, &self.fabric.world.units[unit], &login.initiator, peer)
                .by_port_group(login.portal_group)
        };
        let nexus = map.units.iter().map(nexus).collect();
        let seat = Box::new(Seat {
            session,
            text: SeatText::new(self.fabric.world.clone(), portal, peer),
            target,
            identity: login.identity.clone(),
            access: Some(access),
            map,
            handle,
            nexus,
            sources: Default::default(),
            ended: false,
            serial: nexus_id.0,
            order: Order::Free,
            stays_until_ms: 0,
            lost_ms: 0,
        });
        let mut route = [usize::MAX; CONNECTION_SLOTS];
        route[usize::from(ix.0)] = conn;
        (self.enter_seat(seat, route), ix)
    }

    /// Gives a session a seat.
    pub(super) fn enter_seat(&mut self, mut seat: Box<Seat>, route: [usize; CONNECTION_SLOTS]) -> usize {
        let host = Host::of(seat.text.peer());
        let kept = self.fabric.kept.of(host);
        seat.session.keep_in(&kept);
        seat.sources.keep_in(&kept);
        seat.text.keep_in(&self.fabric.negotiations.of(host));
        let number = match self.fabric.seats.iter().position(Option::is_none) {
            Some(n) => n,
            None => {
                self.fabric.seats.push(None);
                self.fabric.look_ms.push(0);
                self.fabric.routes.push(route);
                self.fabric.seats.len() - 1
            }
        };
        self.fabric.seats[number] = Some(seat);
        self.fabric.routes[number] = route;
        self.fabric.stir(number);
        self.open_client(number);
        number
    }

    /// Has the executor know of the session at a seat.
    fn open_client(&mut self, seat: usize) {
        let Some(holder) = self.fabric.seats.get(seat).and_then(Option::as_deref) else { return };
        let (peer, initiator) = (holder.text.peer(), &holder.session.init().initiator.name);
        let whose = (Whose::of(holder.serial, peer), Host::of(peer));
        self.executor.open(seat, whose, &initiator.to_string());
        self.regate(seat);
    }

    /// Has the commands of a session wait for the limits that there are for it.
    pub fn regate(&mut self, seat: usize) {
        let waiters = self.executor.regate(seat, self.fabric.gates(seat));
        self.executor.let_go(waiters, &mut self.fabric);
    }

    /// The world has other limits, or the server goes down and nothing is to wait any more. Who waits for a limit that is
    /// no more, or at a unit that is not found any more, goes on.
    pub fn change_flows(&mut self) {
        let Engine { fabric, executor } = self;
        let Some(mut waiters) = executor.change_rates(fabric.shutdown) else { return };
        for seat in 0..fabric.seats.len() {
            waiters.extend(executor.regate(seat, fabric.gates(seat)));
        }
        executor.let_go(waiters, fabric);
    }

    fn join_seat(&mut self, conn: usize, tsih: Tsih, init: ConnectionInit) -> Option<(usize, ConnIx)> {
        let seat = self.find_seat(tsih)?;
        let ix = self.fabric.seats[seat].as_deref_mut()?.session.add_connection(init, self.fabric.now_ms).ok()?;
        *self.fabric.routes[seat].get_mut(usize::from(ix.0))? = conn;
        Some((seat, ix))
    }
}

impl Fabric {
    /// The gates of the units that a session finds: none once it has ended, or the server goes down.
    fn gates(&self, seat: usize) -> Vec<(usize, Gate)> {
        let holder = self.seats.get(seat).and_then(Option::as_deref);
        let Some(holder) = holder.filter(|holder| !holder.ended && !self.shutdown) else { return Vec::new() };
        let (target, group) = (holder.target, holder.group());
        holder.map.units.iter().map(|&unit| (unit, self.world.gate(unit, target, group))).collect()
    }
}

const UNKNOWN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// The name by which the registry knows the session of a login. `None`: a normal session without a target, which no
/// login comes to.
fn session_name(login: &LoginDone, local: SocketAddr) -> Option<SessionName> {
    let with = match (&login.target, login.kind) {
        (Some(target), _) => Counterpart::Port { target: target.index, portal_group: login.portal_group },
        (None, SessionKind::Discovery) => Counterpart::Portal(local),
        (None, SessionKind::Normal) => return None,
    };
    Some(SessionName { initiator: login.initiator.clone(), with })
}
