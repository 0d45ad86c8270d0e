//! A login is complete: who it is may come in, its session is on this core or another, and what it replaces ends first.

use super::core::Core;
use crate::missing::Required;
use crate::model::ConnNo;
use crate::session::directory::{Access, Applicant};
use crate::session::login::{LoginDone, LoginFault};
use crate::session::params::SessionKind;
use crate::session::seam::CloseReason;
use crate::transport::link::{Adoption, Moving, Phase};
use crate::wire::{LoginStatus, Tsih};
use crate::world::registry::{Counterpart, Membership, NoPlace, Place, SessionName};
use std::net::SocketAddr;
use std::sync::Arc;

/// A login waits this long for the session that it replaces to let go of its tasks, milliseconds. The session does
/// that, whatever the medium does, within `limits::ABORT_GRACE_MS`.
const REINSTATEMENT_MS: u64 = 900;
const _: () = assert!(crate::limits::ABORT_GRACE_MS * 2 < REINSTATEMENT_MS);

/// Why a login is refused when a later one of its initiator port has come behind it.
const OVERTAKEN: &str = "its initiator port has logged in once more";

impl Core {
    /// Finds the core of a completed login and takes the connection there.
    pub(super) fn place_login(&mut self, conn: ConnNo, login: Box<LoginDone>) {
        let Some((mut login, access)) = self.admit(conn, login) else { return };
        let Some(link) = self.fabric.links.get(conn).required("the connection of a login") else { return };
        let (peer, local) = (link.peer, link.local);
        login.initiator.proof = self.proof(&login, peer);
        let Some(name) = session_name(&login, local) else {
            return self.refuse(conn, &login.refuse(LoginStatus::TARGET_ERROR));
        };
        //= RFC 7143 section 11.12.6
        //# The target MUST check the value presented with the first Login Request
        //# and act as specified in Section 6.3.1.
        let place = match self.fabric.world.registry.place(&name, login.tsih, login.kind, self.fabric.neighbours.own())
        {
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
        if core == self.fabric.neighbours.own() {
            return self.adopt(conn, (login, access), session, replaces);
        }
        self.send_on(conn, Moving { core, login, session, replaces });
    }

    /// Whether a login that is complete, or has waited since then, may have what it asked for. What the directory said
    /// at the beginning of the login counts for nothing: the configuration may have changed since. `None`: it was
    /// turned away.
    fn admit(&mut self, conn: ConnNo, login: Box<LoginDone>) -> Option<(Box<LoginDone>, Access)> {
        let peer = self.fabric.links.get(conn).required("the connection of a login")?.peer;
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

    /// Like [`Core::admit`], for a login that was placed before, and has waited or come here since. Its initiator
    /// port must have the proof that it was placed by: else a login that is to replace it would not find it, nor has it
    /// found whom it replaces.
    pub(super) fn admit_again(&mut self, conn: ConnNo, login: Box<LoginDone>) -> Option<(Box<LoginDone>, Access)> {
        let peer = self.fabric.links.get(conn).required("the connection of a login")?.peer;
        let (login, access) = self.admit(conn, login)?;
        if self.proof(&login, peer) != login.initiator.proof {
            let why = "its initiator port is that of somebody else since the configuration was read again";
            self.turn_away(conn, login, LoginStatus::SERVICE_UNAVAILABLE, why);
            return None;
        }
        Some((login, access))
    }

    /// The proof that is part of a login's initiator port: it says whose the port is.
    fn proof(&self, login: &LoginDone, peer: SocketAddr) -> Option<Arc<str>> {
        let target = login.target.as_ref().map(|target| target.index);
        self.fabric.world.directory.proof(target, &login.initiator.name, peer, login.identity.as_deref())
    }

    /// Takes a connection to another core, or once more through this core's mailbox.
    fn send_on(&mut self, conn: ConnNo, moving: Moving) {
        let Some(link) = self.fabric.links.get_mut(conn).required("the connection of a login") else { return };
        link.phase = Phase::Leaving;
        link.moving = Some(Box::new(moving));
        self.fabric.links.watch(conn);
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
        if self.fabric.seats.iter().any(|(_, seat)| seat.tsih() == sought) {
            return None;
        }
        let (core, in_transit) = self.fabric.world.registry.whereabouts(sought)?;
        (in_transit || core != self.fabric.neighbours.own()).then_some(core)
    }

    /// Makes the connection part of its session, ending the session that it replaces first.
    pub(super) fn adopt(
        &mut self,
        conn: ConnNo,
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
        while let Some(Adoption { conn, login, .. }) = self.fabric.logins.take_one_of(&ahead) {
            self.turn_away(conn, login, LoginStatus::SERVICE_UNAVAILABLE, OVERTAKEN);
        }
        // Sessions that have ended with their connections count, too: what they had in flight may not be over.
        for old in self.fabric.seats.numbers() {
            let Some(seat) = self.fabric.seats.get_mut(old).filter(|seat| ahead.contains(&seat.tsih())) else {
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
        if let Some(link) = self.fabric.links.get_mut(conn).required("the connection of a login") {
            link.phase = Phase::Waiting;
        }
        self.fabric.logins.wait(Adoption { conn, login, session, deadline_ms });
    }

    /// Goes on with the logins whose old session is gone; refuses those that waited too long.
    pub fn resume_adoptions(&mut self) {
        let mut at = 0;
        let world = Arc::clone(&self.fabric.world);
        while let Some((adoption, is_gone)) =
            self.fabric.logins.take_ready(&mut at, &world.registry, self.fabric.now_ms)
        {
            let Adoption { conn, login, session, .. } = adoption;
            if is_gone {
                if let Some((login, access)) = self.admit_again(conn, login) {
                    self.seat_login(conn, login, access, session);
                }
            } else {
                let why = "the session that it replaces does not let go of its tasks";
                self.turn_away(conn, login, LoginStatus::SERVICE_UNAVAILABLE, why);
            }
        }
    }
}

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
