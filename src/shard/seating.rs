//! A login ends: its connection gets a seat in its session, or is refused.

use super::core::Core;
use crate::canary::{Canary, sings};
use crate::fabric::Fabric;
use crate::fabric::nexus::new_nexus;
use crate::fabric::seat::Route;
use crate::fabric::seat::{Order, Seat};
use crate::fabric::text::SeatText;
use crate::limits::{CONNECTION_SLOTS, MAX_CONTROL_DATA_BYTES};
use crate::missing::Required;
use crate::model::{ConnNo, Host, SeatIx, UnitIx};
use crate::rate::Gate;
use crate::scsi::NexusId;
use crate::session::directory::Access;
use crate::session::login::{LoginAnswer, LoginDone};
use crate::session::params::SessionKind;
use crate::session::seam::{CloseReason, ConnIx, Payload};
use crate::session::{ConnectionInit, Session, SessionInit};
use crate::shares::Whose;
use crate::transport::link::Phase;
use crate::wire::{LoginStatus, Tsih, bhs};
use crate::world::registry::{Membership, SessionHandle};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

impl Core {
    pub(super) fn send_login(&mut self, conn: ConnNo, answer: &LoginAnswer) {
        let mut header = [0; bhs::BHS_LEN];
        answer.response.emit(&mut header);
        let Some((connection, pool)) = self.fabric.links.of_with_pool(conn).required("the connection of a login")
        else {
            return;
        };
        connection.tx.pdu(&header, Payload::Bytes(&answer.text), None, pool);
        connection.note(true, (&header, &[], &answer.text), true, &mut pool.taps);
        self.fabric.links.dirty.push(conn);
    }

    pub(super) fn refuse(&mut self, conn: ConnNo, answer: &LoginAnswer) {
        self.fabric.links.pool.protocol.login_refused(answer.response.status);
        self.send_login(conn, answer);
        self.close(conn, CloseReason::LoginRefused);
    }

    /// Refuses a login that was complete, and says why.
    pub(super) fn turn_away(&mut self, conn: ConnNo, login: Box<LoginDone>, status: LoginStatus, why: &str) {
        if let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms) {
            let peer = self.fabric.links.get(conn).map(|link| link.peer);
            tracing::warn!(event = "login-refused", ?peer, initiator = %login.initiator.name, left_out, "login refused: {why}");
        }
        self.refuse(conn, &login.refuse(status));
    }

    pub(super) fn seat_login(&mut self, conn: ConnNo, login: Box<LoginDone>, access: Access, session: Membership) {
        let Some(link) = self.fabric.links.get(conn).required("the connection of a login") else { return };
        let ends = (link.local, link.peer);
        let init = ConnectionInit {
            cid: login.cid,
            params: login.params,
            stat_sn: login.next_stat_sn,
            exp_cmd_sn: login.cmd_sn,
        };
        let tsih = session.tsih();
        let seated = match session {
            Membership::Leads(handle) => Some(self.new_seat((conn, ends), (&login, access), handle, init)),
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
            && let Some(holder) = self.fabric.seats.get_mut(seat).required("the session that was entered")
        {
            holder.session.stamp_login(&mut answer.response);
        }
        self.send_login(conn, &answer);
        // The final Login Response still goes without digests (RFC 7143 section 6.1: in force from full feature phase on).
        //= RFC 7143 section 13.1
        //# When the initiator and target agree on a digest, this digest MUST be
        //# used for every PDU in the Full Feature Phase.
        if let Some(tx) = self.fabric.links.tx_mut(conn).required("the connection of a login") {
            tx.set_digests(params.own.header_digest, params.own.data_digest);
        }
        if let Some(link) = self.fabric.links.get_mut(conn).required("the connection of a login") {
            link.phase = Phase::Full { seat, ix };
            let longest = match login.kind {
                SessionKind::Discovery => MAX_CONTROL_DATA_BYTES,
                SessionKind::Normal => params.own.target_max_recv_bytes as usize,
            };
            link.framing = Some((params.own.header_digest, params.own.data_digest, longest));
        }
        self.fabric.trace(conn);
        self.fabric.stats.logins += 1;
        if let Some(left_out) = self.fabric.noise.notice(self.fabric.now_ms) {
            tracing::info!(
                event = "logged-in", peer = %ends.1, core = self.fabric.neighbours.own(), initiator = %login.initiator.name, tsih = tsih.0, kind = ?login.kind,
                header_digest = params.own.header_digest, data_digest = params.own.data_digest, left_out, "logged in"
            );
        }
        if !login.initiator.name.is_standard()
            && let Some(left_out) = self.fabric.noise.line(self.fabric.now_ms)
        {
            let initiator = &login.initiator.name;
            tracing::warn!(peer = %ends.1, %initiator, left_out, "the initiator's name is not made as RFC 7143 section 4.2.7 wants it");
        }
        // If this connection reinstates another one of its session, that one is to be closed.
        self.pump(seat);
    }

    /// Why a connection is not to be one of the session that it wants to join.
    fn is_not_of(&self, tsih: Tsih, login: &LoginDone, access: Access) -> Option<(LoginStatus, &'static str)> {
        // If it has ended meanwhile, there is nothing to join.
        let seat = self.fabric.seats.find(tsih).and_then(|seat| self.fabric.seats.get(seat))?;
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
        (conn, (portal, peer)): (ConnNo, (SocketAddr, SocketAddr)),
        (login, access): (&LoginDone, Access),
        handle: SessionHandle,
        init: ConnectionInit,
    ) -> (SeatIx, ConnIx) {
        let target = match (&login.target, login.kind) {
            (Some(target), SessionKind::Normal) => Some(target.index),
            _ => None,
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
        let own = target.and_then(|target| self.fabric.world.targets.get(target));
        let map = own.map(|target| target.map(access)).unwrap_or_default();
        let nexus = |&unit: &UnitIx| {
            new_nexus(nexus_id, &self.fabric.world.units[unit], &login.initiator, peer)
                .by_port_group(login.portal_group)
        };
        let nexus = map.units.iter().map(nexus).collect();
        let seat = Seat {
            session,
            text: SeatText::new(self.fabric.world.clone(), portal, peer),
            target,
            identity: login.identity.clone(),
            access: Some(access),
            map,
            handle,
            nexus,
            sources: Default::default(),
            passed: Default::default(),
            ended: false,
            serial: nexus_id.0,
            order: Order::Free,
            stays_until_ms: 0,
            lost_ms: 0,
        };
        let mut route = [None; CONNECTION_SLOTS];
        route[usize::from(ix.0)] = Some(conn);
        (self.enter_seat(seat, route), ix)
    }

    /// Gives a session a seat.
    pub(super) fn enter_seat(&mut self, holder: Seat, route: Route) -> SeatIx {
        let seat = self.fabric.enter(holder, route);
        self.open_client(seat);
        seat
    }

    /// Has the executor know of the session at a seat.
    fn open_client(&mut self, seat: SeatIx) {
        let Some(holder) = self.fabric.seats.get(seat).required("the session that was entered") else { return };
        let (peer, initiator) = (holder.text.peer(), &holder.session.init().initiator.name);
        let whose = (Whose::of(holder.serial, peer), Host::of(peer));
        self.executor.open(seat, whose, &initiator.to_string());
        self.regate(seat);
    }

    /// Has the commands of a session wait for the limits that there are for it.
    pub fn regate(&mut self, seat: SeatIx) {
        let waiters = self.executor.regate(seat, self.fabric.gates(seat));
        self.executor.let_go(waiters, &mut self.fabric);
    }

    /// The world has other limits, or the server goes down and nothing is to wait any more. Who waits for a limit that is
    /// no more, or at a unit that is not found any more, goes on.
    pub fn change_flows(&mut self) {
        let Core { fabric, executor, .. } = self;
        let Some(mut waiters) = executor.change_rates(fabric.shutdown) else { return };
        for seat in fabric.seats.numbers() {
            waiters.extend(executor.regate(seat, fabric.gates(seat)));
        }
        executor.let_go(waiters, fabric);
    }

    fn join_seat(&mut self, conn: ConnNo, tsih: Tsih, init: ConnectionInit) -> Option<(SeatIx, ConnIx)> {
        let seat = self.fabric.seats.find(tsih)?;
        let ix = self
            .fabric
            .seats
            .get_mut(seat)
            .required("the session that was found")?
            .session
            .add_connection(init, self.fabric.now_ms)
            .ok()?;
        self.fabric.seats.connect(seat, ix, conn);
        Some((seat, ix))
    }
}

impl Fabric {
    /// The gates of the units that a session finds: none once it has ended, or the server goes down.
    fn gates(&self, seat: SeatIx) -> Vec<(UnitIx, Gate)> {
        let Some(holder) = self.seats.get(seat).filter(|holder| !holder.ended && !self.shutdown) else {
            return Vec::new();
        };
        if sings(Canary::LimitsForgotten) {
            return Vec::new();
        }
        // A discovery session finds no units.
        let (Some(target), group) = (holder.target, holder.group()) else { return Vec::new() };
        holder.map.units.iter().map(|&unit| (unit, self.world.gate(unit, target, group))).collect()
    }
}
