//! Which sessions exist and on which core: TSIHs, placement, reinstatement. One for the process, behind a mutex that is
//! taken at login and logout, and when a session moves or tasks are aborted on all cores.
//!
//! Invariants: a session is known for as long as its [`SessionHandle`] lives, which belongs first to the login that is to become
//! the session, on whatever core that waits, and then to the session. A session is found by name until it is gone, also
//! when a login that was to replace it has come to nothing.

use crate::model::InitiatorPort;
use crate::panics::{Mutex, MutexGuard};
use crate::session::SessionKind;
use crate::wire::Tsih;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What identifies a session to a new login: a login with the same name and no TSIH replaces the session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionName {
    /// Initiator name and ISID.
    pub initiator: InitiatorPort,
    /// What it is a session with.
    pub with: Counterpart,
}

impl SessionName {
    /// Whether both have the same names, but have proved something else.
    fn differs_in_proof(&self, other: &SessionName) -> bool {
        let said = |port: &InitiatorPort| InitiatorPort { proof: None, ..port.clone() };
        self != other && self.with == other.with && said(&self.initiator) == said(&other.initiator)
    }
}

/// The target's end of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Counterpart {
    /// A SCSI target port: of normal sessions, and of discovery sessions that name a target.
    //= RFC 7143 section 7.4.2.2
    //# Since all the four elements of the 4-tuple are known, the ISID RULE MUST
    //# be enforced by targets with no changes from Section 4.4.3 semantics.
    Port {
        /// Index of the target.
        target: usize,
        /// Target portal group tag.
        portal_group: u16,
    },
    /// A network portal: of discovery sessions that name no target.
    //= RFC 7143 section 7.4.2.1
    //# UNNAMED ISID RULE: Targets MUST enforce the uniqueness of the following
    //# 4-tuple for Unnamed Discovery sessions: <InitiatorName, ISID, NULL,
    //# TargetAddress>.
    //= RFC 7143 section 7.4.2.1
    //# Each of the concurrent Discovery sessions, if established by the same
    //# initiator port to other Network Portals, MUST be treated as independent
    //# sessions -- i.e., one session MUST NOT reinstate the other.
    //= RFC 7143 section 7.4.2.1
    //# Targets SHOULD allow concurrent establishment of one Discovery session
    //# with each of its Network Portals by the same initiator port with a given
    //# iSCSI Node Name and an ISID.
    Portal(SocketAddr),
}

/// Where a login goes.
#[derive(Debug)]
pub struct Place {
    /// The core of the session.
    pub core: usize,
    /// The session.
    pub session: Membership,
    /// The session to be ended first.
    pub replaces: Option<Tsih>,
}

/// A TSIH, held by whoever is to be the session, or is it. Given back when it is dropped.
pub struct SessionHandle {
    /// Where it is given back.
    registry: Arc<Registry>,
    /// The TSIH.
    tsih: Tsih,
}

impl SessionHandle {
    /// The TSIH.
    pub fn tsih(&self) -> Tsih {
        self.tsih
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionHandle").field(&self.tsih).finish()
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        self.registry.remove(self.tsih);
    }
}

/// What a connection is to be in its session.
#[derive(Debug)]
pub enum Membership {
    /// The first: the session begins with it.
    Leads(SessionHandle),
    /// One more of a session that has this handle.
    Joins(Tsih),
}

impl Membership {
    /// The TSIH of the session.
    pub fn tsih(&self) -> Tsih {
        match self {
            Membership::Leads(handle) => handle.tsih,
            Membership::Joins(tsih) => *tsih,
        }
    }
}

/// Why a login has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// TSIH given, but no such session (status 020a).
    NoSuchSession,
    /// TSIH given, and the session is that of somebody who has proved something else (status 0201).
    Anothers,
    /// All 65535 handles are taken (status 0302).
    OutOfHandles,
}

/// A session.
struct Known {
    /// Its name.
    name: SessionName,
    /// Normal or discovery.
    kind: SessionKind,
    /// The core that it is on, or goes to.
    core: usize,
    /// It has left the core where it was, and is not at `core` yet.
    in_transit: bool,
}

/// What is behind the lock.
#[derive(Default)]
struct Inner {
    /// All sessions.
    by_tsih: HashMap<Tsih, Known>,
    /// Sessions of one name, the newest last: that is the one that a login replaces. A session begins when those before
    /// it have ended; if it does not wait for that itself any more, its successor does.
    by_name: HashMap<SessionName, Vec<Tsih>>,
    /// How many sessions each core has.
    load: Vec<usize>,
    /// The last TSIH that was given.
    last: u16,
    /// Cores are ending: sessions stay where they are.
    closed: bool,
}

/// The registry of sessions.
pub struct Registry(Mutex<Inner>);

impl Registry {
    /// For `cores` cores.
    pub fn new(cores: usize) -> Registry {
        Registry(Mutex::new(Inner { load: vec![0; cores], ..Inner::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Finds the place of a login that asked for `tsih`. `here` is the core that ran the login: it is taken for
    /// discovery, and for other sessions if it is among the least loaded. A new session is registered at once, so that
    /// two logins at the same time see each other.
    ///
    /// # Errors
    /// Why there is no place for the login.
    pub fn place(
        self: &Arc<Self>,
        name: &SessionName,
        tsih: Tsih,
        kind: SessionKind,
        here: usize,
    ) -> Result<Place, NoPlace> {
        let mut inner = self.lock();
        if tsih != Tsih(0) {
            //= RFC 7143 section 4.4.3
            //# After being selected, the same TSIH value MUST be used whenever the
            //# initiator or target refers to the session and a TSIH is required.
            return match inner.by_tsih.get(&tsih) {
                Some(known) if known.name == *name && known.kind == kind => {
                    Ok(Place { core: known.core, session: Membership::Joins(tsih), replaces: None })
                }
                Some(known) if known.name.differs_in_proof(name) => Err(NoPlace::Anothers),
                _ => Err(NoPlace::NoSuchSession),
            };
        }
        //= RFC 7143 section 7.4.2.1
        //# A new Unnamed Discovery session that has a matching <InitiatorName,
        //# ISID, NULL, TargetAddress> to an existing Discovery session MUST
        //# reinstate the existing Unnamed Discovery session.
        let replaces = inner.by_name.get(name).and_then(|same| same.last()).copied();
        let core = match replaces.and_then(|old| inner.by_tsih.get(&old)) {
            // The old session is ended where it lives, before the new one begins there.
            Some(old) => old.core,
            None if kind == SessionKind::Discovery => here,
            None => inner.least_loaded(here),
        };
        let tsih = inner.next_handle()?;
        inner.by_tsih.insert(tsih, Known { name: name.clone(), kind, core, in_transit: false });
        inner.by_name.entry(name.clone()).or_default().push(tsih);
        inner.load[core] += 1;
        let handle = SessionHandle { registry: Arc::clone(self), tsih };
        Ok(Place { core, session: Membership::Leads(handle), replaces })
    }

    /// The sessions of the same names that a session is to follow: those that were known before it, the oldest first.
    pub fn ahead_of(&self, tsih: Tsih) -> Vec<Tsih> {
        self.lock().around(tsih).map_or_else(Vec::new, |(ahead, _)| ahead.to_vec())
    }

    /// Whether all sessions have ended that this one is to follow ([`Registry::ahead_of`]).
    pub fn is_first(&self, tsih: Tsih) -> bool {
        self.lock().around(tsih).is_none_or(|(ahead, _)| ahead.is_empty())
    }

    /// Whether a later login is to replace a session, whatever has become of it so far.
    pub fn is_overtaken(&self, tsih: Tsih) -> bool {
        self.lock().around(tsih).is_some_and(|(_, behind)| !behind.is_empty())
    }

    /// Whether there are sessions with the target at `index`.
    pub fn has_target(&self, index: usize) -> bool {
        let is_of = |known: &Known| matches!(known.name.with, Counterpart::Port { target, .. } if target == index);
        self.lock().by_tsih.values().any(is_of)
    }

    /// The core of a session, and whether it is still on its way there.
    pub fn whereabouts(&self, tsih: Tsih) -> Option<(usize, bool)> {
        self.lock().by_tsih.get(&tsih).map(|known| (known.core, known.in_transit))
    }

    /// A session leaves for core `to`. `leave` posts the message that the session travels in; if it says no, nothing
    /// has changed. Who learns here that the session is at `to` posts behind that message.
    pub fn depart(&self, tsih: Tsih, to: usize, leave: impl FnOnce() -> bool) -> bool {
        let mut inner = self.lock();
        let gone = !inner.closed && inner.by_tsih.contains_key(&tsih) && leave();
        if gone {
            inner.rehome(tsih, to, true);
        }
        gone
    }

    /// A session is where it was going to.
    pub fn arrived(&self, tsih: Tsih) {
        if let Some(known) = self.lock().by_tsih.get_mut(&tsih) {
            known.in_transit = false;
        }
    }

    /// A new session goes to another core than it was placed on, to which the one that it replaces has moved.
    pub fn follow(&self, tsih: Tsih, to: usize) {
        self.lock().rehome(tsih, to, false);
    }

    /// Does something while no session departs: messages posted to several cores are so all before a departure, or all
    /// behind it.
    pub fn while_all_stay<T>(&self, what: impl FnOnce() -> T) -> T {
        let _held = self.lock();
        what()
    }

    /// From now on no session departs.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// The session is gone.
    fn remove(&self, tsih: Tsih) {
        let mut inner = self.lock();
        if let Some(Known { name, core, .. }) = inner.by_tsih.remove(&tsih) {
            inner.load[core] -= 1;
            if let Entry::Occupied(mut same) = inner.by_name.entry(name) {
                same.get_mut().retain(|other| *other != tsih);
                if same.get().is_empty() {
                    same.remove();
                }
            }
        }
    }

    /// How many sessions there are, with the logins that are to become some.
    pub fn sessions(&self) -> usize {
        self.lock().by_tsih.len()
    }

    /// Sessions on each core.
    #[cfg(test)]
    pub fn load(&self) -> Vec<usize> {
        self.lock().load.clone()
    }
}

impl Inner {
    fn least_loaded(&self, here: usize) -> usize {
        let least = self.load.iter().copied().min().unwrap_or(0);
        if self.load.get(here) == Some(&least) {
            return here;
        }
        self.load.iter().position(|&l| l == least).unwrap_or(here)
    }

    /// The sessions of the same names: those before this one, and those behind it.
    fn around(&self, tsih: Tsih) -> Option<(&[Tsih], &[Tsih])> {
        let same = self.by_name.get(&self.by_tsih.get(&tsih)?.name)?;
        let at = same.iter().position(|each| *each == tsih)?;
        Some((same.get(..at)?, same.get(at + 1..)?))
    }

    fn rehome(&mut self, tsih: Tsih, to: usize, in_transit: bool) {
        if let Some(known) = self.by_tsih.get_mut(&tsih) {
            let from = std::mem::replace(&mut known.core, to);
            known.in_transit = in_transit;
            self.load[from] -= 1;
            self.load[to] += 1;
        }
    }

    fn next_handle(&mut self) -> Result<Tsih, NoPlace> {
        for _ in 0..u16::MAX {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.by_tsih.contains_key(&Tsih(self.last)) {
                return Ok(Tsih(self.last));
            }
        }
        Err(NoPlace::OutOfHandles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IscsiName;
    use crate::wire::Isid;

    fn name(isid: u8) -> SessionName {
        let initiator = InitiatorPort::new(IscsiName::new("iqn.2026-11.test:i").unwrap(), Isid([0, 0, 0, 0, 0, isid]));
        SessionName { initiator, with: Counterpart::Port { target: 0, portal_group: 1 } }
    }

    /// A login of a normal session on core 0.
    fn place(registry: &Arc<Registry>, name: &SessionName, tsih: Tsih) -> Result<Place, NoPlace> {
        registry.place(name, tsih, SessionKind::Normal, 0)
    }

    impl Place {
        fn tsih(&self) -> Tsih {
            self.session.tsih()
        }
    }

    #[test]
    fn sessions_spread_and_come_home() {
        let registry = Arc::new(Registry::new(2));
        let places: Vec<Place> = (0..4).map(|i| place(&registry, &name(i), Tsih(0)).unwrap()).collect();
        assert_eq!(registry.load(), [2, 2]);
        assert_eq!(places[0].core, 0, "the accepting core, when it is among the least loaded");
        drop(places);
        assert_eq!(registry.load(), [0, 0]);
    }

    #[test]
    fn a_session_that_moves_is_found_where_it_goes() {
        let registry = Arc::new(Registry::new(2));
        let old = place(&registry, &name(1), Tsih(0)).unwrap();
        let was = old.tsih();
        assert!(!registry.depart(was, 1, || false), "it could not leave");
        assert_eq!(registry.whereabouts(was), Some((0, false)));
        assert!(registry.depart(was, 1, || true));
        assert_eq!((registry.whereabouts(was), registry.load()), (Some((1, true)), vec![0, 1]));
        assert_eq!(place(&registry, &name(1), was).map(|place| place.core).ok(), Some(1));
        let new = place(&registry, &name(1), Tsih(0)).unwrap();
        assert_eq!((new.core, new.replaces), (1, Some(was)));
        registry.arrived(was);
        assert_eq!(registry.whereabouts(was), Some((1, false)));
        registry.follow(new.tsih(), 0);
        assert_eq!((registry.whereabouts(new.tsih()), registry.load()), (Some((0, false)), vec![1, 1]));
        drop(old);
        assert!(!registry.depart(was, 0, || true), "it is gone");
        registry.close();
        assert!(!registry.depart(new.tsih(), 1, || true), "nobody departs any more");
        assert_eq!((registry.whereabouts(was), registry.load()), (None, vec![1, 0]));
    }

    //= RFC 7143 section 6.3.5
    //# Session reinstatement is the process of an initiator logging in with
    //# an ISID that is possibly active from the target's perspective for
    //# that initiator, thus implicitly logging out the session that
    //# corresponds to the ISID and reinstating a new iSCSI session in its
    //# place (with the same ISID).
    #[test]
    fn item_02_reinstatement_goes_to_the_core_of_the_old_session() {
        let registry = Arc::new(Registry::new(2));
        let _other = place(&registry, &name(9), Tsih(0)).unwrap();
        let old = place(&registry, &name(1), Tsih(0)).unwrap();
        let new = place(&registry, &name(1), Tsih(0)).unwrap();
        assert_eq!((new.core, new.replaces), (old.core, Some(old.tsih())));
        assert_ne!(new.tsih(), old.tsih());
        drop(old);
        let third = place(&registry, &name(1), Tsih(0)).unwrap();
        assert_eq!(third.replaces, Some(new.tsih()));
        let fourth = place(&registry, &name(1), Tsih(0)).unwrap();
        assert_eq!(registry.ahead_of(fourth.tsih()), [new.tsih(), third.tsih()]);
        assert_eq!([&new, &third, &fourth].map(|each| registry.is_overtaken(each.tsih())), [true, true, false]);
        drop((new, third));
        assert_eq!(registry.ahead_of(fourth.tsih()), []);
    }

    #[test]
    fn a_login_that_comes_to_nothing_leaves_no_trace() {
        let registry = Arc::new(Registry::new(2));
        let old = place(&registry, &name(1), Tsih(0)).unwrap();
        // Wherever it is when its connection breaks: more of them than there are handles.
        for _ in 0..=u16::MAX {
            drop(place(&registry, &name(1), Tsih(0)).unwrap());
        }
        assert_eq!(registry.load(), [1, 0]);
        let new = place(&registry, &name(1), Tsih(0)).unwrap();
        assert_eq!(new.replaces, Some(old.tsih()), "the session that was to be replaced is not forgotten");
    }

    #[test]
    fn what_somebody_else_has_proved_is_another_initiator_port() {
        let registry = Arc::new(Registry::new(1));
        let by = |user: Option<&str>| {
            let mut name = name(1);
            name.initiator.proof = user.map(Arc::from);
            name
        };
        let first = place(&registry, &by(Some("one")), Tsih(0)).unwrap();
        for other in [Some("two"), None] {
            let second = place(&registry, &by(other), Tsih(0)).unwrap();
            assert_eq!(second.replaces, None);
            assert_eq!(place(&registry, &by(other), first.tsih()).err(), Some(NoPlace::Anothers));
        }
        assert_eq!(place(&registry, &by(Some("one")), Tsih(0)).unwrap().replaces, Some(first.tsih()));
    }

    #[test]
    fn item_01_a_connection_joins_only_its_own_session() {
        //= RFC 7143 section 4.4.3
        //# After being selected, the same TSIH value MUST be used whenever the
        //# initiator or target refers to the session and a TSIH is required.
        let registry = Arc::new(Registry::new(1));
        //= RFC 7143 section 11.12.6
        //# The target MUST check the value presented with the first Login Request
        //# and act as specified in Section 6.3.1.
        let joined = place(&registry, &name(1), Tsih(0)).unwrap();
        let again = place(&registry, &name(1), joined.tsih()).unwrap();
        assert_eq!((again.core, again.tsih(), again.replaces), (joined.core, joined.tsih(), None));
        assert_eq!(place(&registry, &name(2), joined.tsih()).err(), Some(NoPlace::NoSuchSession));
        assert_eq!(place(&registry, &name(1), Tsih(777)).err(), Some(NoPlace::NoSuchSession));
    }

    #[test]
    fn item_02_a_session_is_initiator_isid_target_and_portal_group() {
        let registry = Arc::new(Registry::new(1));
        let with = |target, portal_group| SessionName { with: Counterpart::Port { target, portal_group }, ..name(1) };
        let first = place(&registry, &with(0, 1), Tsih(0)).unwrap();
        let mut other = with(0, 1);
        other.initiator.name = IscsiName::new("iqn.2026-11.test:other").unwrap();
        for different in [with(1, 1), with(0, 2), name(2), other] {
            assert_eq!(place(&registry, &different, Tsih(0)).unwrap().replaces, None, "{different:?}");
        }
        assert_eq!(place(&registry, &with(0, 1), Tsih(0)).unwrap().replaces, Some(first.tsih()));
    }

    #[test]
    fn item_11_handles_are_never_zero_nor_in_use() {
        let registry = Arc::new(Registry::new(1));
        let first = place(&registry, &name(0), Tsih(0)).unwrap();
        let mut old = place(&registry, &name(1), Tsih(0)).unwrap();
        for _ in 0..=u16::MAX {
            let next = place(&registry, &name(1), Tsih(0)).unwrap();
            assert!(next.tsih() != Tsih(0) && next.tsih() != first.tsih() && Some(next.tsih()) != next.replaces);
            assert_eq!(next.replaces, Some(old.tsih()));
            old = next;
        }
    }

    #[test]
    fn item_34_unnamed_discovery_is_by_portal_and_named_by_target() {
        let registry = Arc::new(Registry::new(2));
        let find = |with: Counterpart, here| {
            let name = SessionName { with, ..name(1) };
            registry.place(&name, Tsih(0), SessionKind::Discovery, here).unwrap()
        };
        let at = |text: &str| Counterpart::Portal(text.parse().unwrap());
        let target = Counterpart::Port { target: 0, portal_group: 1 };
        let (one, two) = (find(at("10.0.0.1:3260"), 1), find(at("10.0.0.2:3260"), 1));
        let named = find(target.clone(), 0);
        assert_eq!((one.core, two.core), (1, 1), "discovery does not move");
        //= RFC 7143 section 7.4.2.1
        //# Each of the concurrent Discovery sessions, if established by the same
        //# initiator port to other Network Portals, MUST be treated as independent
        //# sessions -- i.e., one session MUST NOT reinstate the other.
        //= RFC 7143 section 7.4.2.1
        //# Targets SHOULD allow concurrent establishment of one Discovery session
        //# with each of its Network Portals by the same initiator port with a given
        //# iSCSI Node Name and an ISID.
        assert_eq!((two.replaces, named.replaces), (None, None));
        //= RFC 7143 section 7.4.2.1
        //# UNNAMED ISID RULE: Targets MUST enforce the uniqueness of the following
        //# 4-tuple for Unnamed Discovery sessions: <InitiatorName, ISID, NULL,
        //# TargetAddress>.
        //
        //= RFC 7143 section 7.4.2.1
        //# A new Unnamed Discovery session that has a matching <InitiatorName,
        //# ISID, NULL, TargetAddress> to an existing Discovery session MUST
        //# reinstate the existing Unnamed Discovery session.
        let again = find(at("10.0.0.1:3260"), 0);
        assert_eq!((again.replaces, again.core), (Some(one.tsih()), 1), "where the old one is");
        //= RFC 7143 section 7.4.2.2
        //# Since all the four elements of the 4-tuple are known, the ISID RULE MUST
        //# be enforced by targets with no changes from Section 4.4.3 semantics.
        let normal = place(&registry, &SessionName { with: target.clone(), ..name(1) }, Tsih(0)).unwrap();
        assert_eq!(normal.replaces, Some(named.tsih()), "any session with the same names");
        let discovery = find(target.clone(), 0);
        let join = SessionName { with: target.clone(), ..name(1) };
        assert_eq!(
            place(&registry, &join, discovery.tsih()).err(),
            Some(NoPlace::NoSuchSession),
            "it has one connection"
        );
        assert_eq!(discovery.replaces, Some(normal.tsih()));
    }
}
