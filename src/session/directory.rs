//! Who may see which target, at which address, after proving what: the questions that login and SendTargets ask.
//!
//! [`Directory`] is the seam: login and discovery know no configuration. [`SnapshotDirectory`] answers from a
//! [`Snapshot`]: every target is found at every portal, by every initiator, without authentication, unless the
//! configuration says otherwise.
//!
//! Invariants: what `targets` shows an initiator is what `find` lets it log in to; who has proved a user of one initiator
//! group gets what that group gets; all discovery sessions have one policy.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::model::{Credentials, Group, IscsiName, Portal, Snapshot, TargetSpec};
use crate::session::params::SessionKind;

#[cfg(test)]
mod tests;

/// Answers the questions of login and discovery.
pub trait Directory {
    /// The target `name` as the initiator may log in to it here.
    ///
    /// # Errors
    /// Why it may not.
    fn find(
        &self,
        name: &IscsiName,
        initiator: &IscsiName,
        portal: SocketAddr,
        peer: SocketAddr,
    ) -> Result<TargetRef, NoTarget>;

    /// What the initiator must prove before it gets at what it wants.
    fn auth(&self, wanted: Wanted<'_>, initiator: &IscsiName, portal: SocketAddr, peer: SocketAddr) -> AuthPolicy;

    /// Calls `each` for every target that the initiator may log in to, with all its addresses and their portal group
    /// tags (RFC 7143 appendix C).
    fn targets(&self, initiator: &IscsiName, portal: SocketAddr, peer: SocketAddr, each: &mut TargetVisitor<'_>);

    /// Tag of the portal group that `portal`, the local address of a connection, belongs to.
    fn portal_group(&self, portal: SocketAddr) -> u16;
}

/// Takes one target with its addresses and their portal group tags.
pub type TargetVisitor<'v> = dyn FnMut(&IscsiName, &[(SocketAddr, u16)]) + 'v;

/// A target as found by a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRef {
    /// Index among the targets of the configuration.
    pub index: usize,
    /// Its name.
    pub name: IscsiName,
    /// Tag of the portal group that serves this login (RFC 7143 section 13.9).
    pub portal_group: u16,
    /// TargetAlias (RFC 7143 section 13.6).
    pub alias: Option<Arc<str>>,
}

/// What a login is for, as far as it has to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// A discovery session. It may ask for all targets, so what it names itself makes no difference.
    Discovery,
    /// A normal session with this target.
    Target(&'a TargetRef),
}

/// Why an initiator gets no target. The numbers are Status-Class and Status-Detail of the Login Response, two
/// hexadecimal digits each (RFC 7143 section 11.13.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    /// 0203.
    #[error("there is no such target at this address")]
    NotFound,
    /// 0202.
    #[error("the initiator is not allowed access to the target")]
    Forbidden,
    /// 0204.
    #[error("the target has been removed")]
    Removed,
    /// 0202: what is asked for has changed since it was proved.
    #[error("what the initiator has proved is not what is asked for now")]
    Unproved,
    /// 0101, 0102.
    #[error("the target has moved to {to}")]
    Moved {
        /// Where to.
        to: SocketAddr,
        /// For good.
        permanently: bool,
    },
}

/// What an initiator must prove.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthPolicy {
    /// Nothing: AuthMethod=None.
    Open,
    /// That it knows a secret: AuthMethod=CHAP.
    Chap(Arc<Credentials>),
}

/// Without the secrets.
impl fmt::Debug for AuthPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AuthPolicy::Open => "Open",
            AuthPolicy::Chap(_) => "Chap",
        })
    }
}

/// Who wants a session, or has one, and what it has proved.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// What the session is for.
    pub kind: SessionKind,
    /// The target that it names, by index and name.
    pub target: Option<(usize, &'a IscsiName)>,
    /// Tag of the portal group that it came in through.
    pub portal_group: u16,
    /// The initiator.
    pub initiator: &'a IscsiName,
    /// Its address.
    pub peer: SocketAddr,
    /// The user that it has proved to be.
    pub identity: Option<&'a str>,
}

/// Proof that an applicant may have its session, under the configuration that was asked. Only
/// [`SnapshotDirectory::admit`] makes one, and without one there is no session and no LUN to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    group: Option<usize>,
}

impl Access {
    /// Index of the initiator group that the applicant is in at its target; `None`: it is in none, or its session is a
    /// discovery session.
    pub fn group(self) -> Option<usize> {
        self.group
    }
}

/// A [`Directory`] that answers from one configuration.
#[derive(Debug, Clone)]
pub struct SnapshotDirectory {
    snapshot: Arc<Snapshot>,
    /// Indices of targets that are there no more.
    removed: Arc<[usize]>,
}

impl SnapshotDirectory {
    /// Answers from `snapshot`; no target is removed.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, removed: Arc::default() }
    }

    /// This directory with the targets whose indices are in `removed` taken away: nobody is shown them, and an
    /// initiator that logs in to one is told that it has been removed.
    #[must_use]
    pub fn without(self, removed: &[usize]) -> Self {
        Self { removed: removed.into(), ..self }
    }

    /// The configuration.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Whether somebody may have a session, as it is configured now. What was so when a login began need not be so when it
    /// ends, nor later: this is to be asked whenever a login, or its waiting, is over, and when the configuration has
    /// changed.
    ///
    /// # Errors
    /// Why the applicant could not log in now: [`NoTarget::NotFound`], [`NoTarget::Removed`] or [`NoTarget::Forbidden`]
    /// for its target, [`NoTarget::Unproved`] if something else than what it has proved is asked for.
    pub fn admit(&self, who: &Applicant<'_>) -> Result<Access, NoTarget> {
        let &Applicant { kind, initiator, peer, identity, .. } = who;
        let target = match who.target {
            // The configuration has another target at this index now.
            Some((at, name)) if self.snapshot.targets.get(at).is_some_and(|target| target.name != *name) => {
                return Err(NoTarget::Removed);
            }
            Some((at, _)) => Some((at, self.target(at, initiator, who.portal_group, peer)?)),
            None => None,
        };
        let proved = |credentials: &Arc<Credentials>| identity.is_some_and(|name| credentials.find(name).is_some());
        let asked = match (kind, target) {
            (SessionKind::Discovery, _) => self.snapshot.discovery.as_ref(),
            (SessionKind::Normal, None) => return Err(NoTarget::NotFound),
            (SessionKind::Normal, Some((at, spec))) => {
                let group = self.group(at, initiator, peer, identity);
                if group.is_some() {
                    return Ok(Access { group });
                }
                if groups(spec, initiator, peer).next().is_some() {
                    // The initiator is in a group by name and address, but that group asks for a proof that it has not
                    // given.
                    return Err(NoTarget::Unproved);
                }
                spec.credentials.as_ref()
            }
        };
        if asked.is_none_or(proved) { Ok(Access { group: None }) } else { Err(NoTarget::Unproved) }
    }

    /// Whether initiators are held to the letter.
    pub fn is_strict(&self) -> bool {
        self.snapshot.strict
    }

    /// Target number `at`, if an initiator may log in to it in this portal group, should it prove what it must.
    fn target(
        &self,
        at: usize,
        initiator: &IscsiName,
        portal_group: u16,
        peer: SocketAddr,
    ) -> Result<&TargetSpec, NoTarget> {
        let found = self.snapshot.targets.get(at).filter(|target| serves(&target.portal_groups, portal_group));
        let target = found.ok_or(NoTarget::NotFound)?;
        if self.removed.contains(&at) {
            return Err(NoTarget::Removed);
        }
        if !allowed(target, initiator, peer) {
            return Err(NoTarget::Forbidden);
        }
        Ok(target)
    }

    /// The portal that a connection to the local address `local` came in through: the one that listens on exactly this
    /// address before one that listens on all addresses of its family, or of both (`[::]` takes IPv4 too).
    fn portal(&self, local: SocketAddr) -> Option<&Portal> {
        let local = canonical(local);
        let rank = |listen: SocketAddr| match listen.ip() {
            _ if listen.port() != local.port() => None,
            ip if ip == local.ip() => Some(0),
            ip if ip.is_unspecified() && ip.is_ipv4() == local.is_ipv4() => Some(1),
            IpAddr::V6(ip) if ip.is_unspecified() => Some(2),
            _ => None,
        };
        { self.snapshot.portals.iter() }
            .filter_map(|portal| rank(canonical(portal.listen)).map(|rank| (rank, portal)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, portal)| portal)
    }

    /// The index of the initiator group, at target number `target`, of an initiator that has proved to be `identity`.
    /// If the first group that its name and address allow asks for nothing, that one; else the first whose credentials
    /// have `identity`. `None`: it is in none of them.
    fn group(&self, target: usize, initiator: &IscsiName, peer: SocketAddr, identity: Option<&str>) -> Option<usize> {
        let proved = |group: &Group| match (&group.credentials, identity) {
            (Some(credentials), Some(identity)) => credentials.find(identity).is_some(),
            _ => false,
        };
        let groups = groups(self.snapshot.targets.get(target)?, initiator, peer);
        let mut groups = groups.peekable();
        match groups.peek() {
            Some((at, group)) if group.credentials.is_none() => Some(*at),
            _ => groups.find(|(_, group)| proved(group)).map(|(at, _)| at),
        }
    }

    /// What tells one owner of an initiator port from another, for an initiator that has proved to be `identity` and
    /// wants target number `target`: the user, else the initiator group that name and address put it in, else that they
    /// put it in none. `None`: no target is named, or it has no groups, and nothing was proved.
    pub fn proof(
        &self,
        target: Option<usize>,
        initiator: &IscsiName,
        peer: SocketAddr,
        identity: Option<&str>,
    ) -> Option<Arc<str>> {
        //= RFC 7143 section 9.2
        //# For this reason, iSCSI implementations SHOULD manage authentication in a
        //# way that impersonation across iSCSI names via these authentication
        //# identities is not possible.
        if let Some(user) = identity {
            return Some(format!("user {user}").into());
        }
        let groups = &self.snapshot.targets.get(target?)?.groups;
        match self.group(target?, initiator, peer, None).and_then(|group| groups.get(group)) {
            Some(group) => Some(Arc::clone(&group.proof)),
            // Initiators outside all groups have one proof in common, which differs from that of each group: to use the
            // name of a group's member is not enough to be taken for it.
            None => (!groups.is_empty()).then(|| "others".into()),
        }
    }

    /// The addresses of the portals that serve a target in `groups` (empty: all), as an initiator connected to `local` is
    /// to be told. First those that are advertised, which is what the configuration wants initiators to use, then those of
    /// the family that it came by, for it may have no other.
    fn addresses(&self, local: SocketAddr, groups: &[u16]) -> Vec<(SocketAddr, u16)> {
        let is_ipv4 = canonical(local).is_ipv4();
        //= RFC 7143 appendix C
        //# If a SendTargets response reports an iSCSI address for a target, it
        //# SHOULD also report all other addresses in its portal group in the same
        //# response.
        let portals = self.snapshot.portals.iter().filter(|portal| serves(groups, portal.group_tag));
        let told = portals.filter_map(|portal| {
            let address = portal.advertise.or_else(|| reachable(portal.listen, local))?;
            Some((portal.advertise.is_none(), address.is_ipv4() != is_ipv4, (address, portal.group_tag)))
        });
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|(is_own, is_foreign, _)| (*is_own, *is_foreign));
        let mut found: Vec<(SocketAddr, u16)> = Vec::with_capacity(told.len());
        for (.., address) in told {
            if !found.contains(&address) {
                found.push(address);
            }
        }
        found
    }
}

/// Whether a target in the portal groups `groups` (empty: all) is found in the one with this tag.
fn serves(groups: &[u16], tag: u16) -> bool {
    groups.is_empty() || groups.contains(&tag)
}

/// The initiator groups of a target that an initiator may be in, the one that counts most first, with their numbers.
fn groups<'t>(
    target: &'t TargetSpec,
    initiator: &'t IscsiName,
    peer: SocketAddr,
) -> impl Iterator<Item = (usize, &'t Group)> {
    let peer = peer.ip();
    target.groups.iter().enumerate().filter(move |(_, group)| group.matches(initiator, peer))
}

/// What an initiator must prove to get at a target: a user of any group that it may be in and that asks for one, unless the
/// first of them asks for nothing.
fn asked(target: &TargetSpec, initiator: &IscsiName, peer: SocketAddr) -> AuthPolicy {
    //= RFC 7143 section 9.2
    //# For this reason, iSCSI implementations SHOULD manage authentication in a
    //# way that impersonation across iSCSI names via these authentication
    //# identities is not possible.
    //= RFC 7143 section 9.2
    //# Specifically, implementations SHOULD allow configuration of an
    //# authentication identity for a Name if different, and authentication
    //# credentials for that identity.
    let mut groups = groups(target, initiator, peer).map(|(_, group)| &group.credentials);
    let Some(first) = groups.next() else { return policy(target.credentials.as_ref()) };
    let others: Vec<Arc<Credentials>> = groups.flatten().cloned().collect();
    match first {
        Some(first) if !others.is_empty() => {
            AuthPolicy::Chap(Arc::new(Credentials { others, ..Credentials::clone(first) }))
        }
        first => policy(first.as_ref()),
    }
}

fn policy(credentials: Option<&Arc<Credentials>>) -> AuthPolicy {
    credentials.map_or(AuthPolicy::Open, |credentials| AuthPolicy::Chap(Arc::clone(credentials)))
}

/// Whether an initiator has access to a target, if it proves what it must.
fn allowed(target: &TargetSpec, initiator: &IscsiName, peer: SocketAddr) -> bool {
    !target.groups_only || groups(target, initiator, peer).next().is_some()
}

/// An IPv4 address that came mapped into IPv6, as IPv4; without scope and flow.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// On this host.
    Loopback,
    /// On one link: the number of its interface, where the address says so.
    Link(u32),
    /// From anywhere.
    Wide,
}

impl Scope {
    fn of(address: SocketAddr) -> Scope {
        match (address.ip().to_canonical(), address) {
            (ip, _) if ip.is_loopback() => Scope::Loopback,
            (IpAddr::V4(ip), _) if ip.is_link_local() => Scope::Link(0),
            (IpAddr::V6(ip), SocketAddr::V6(of)) if ip.is_unicast_link_local() => Scope::Link(of.scope_id()),
            _ => Scope::Wide,
        }
    }
}

/// Where an initiator that is connected to `local` reaches a portal that listens on `listen`. "All addresses" is no place
/// to connect to: it is told the one that it came in through, unless that is of a family which is not listened to. Loopback
/// and link-local addresses mean something, and the same, to those only who came by one of the same scope (RFC 4291
/// clauses 2.5.3 and 2.5.6): others would connect to themselves, or to nobody.
fn reachable(listen: SocketAddr, local: SocketAddr) -> Option<SocketAddr> {
    let (place, own) = (canonical(listen), canonical(local));
    match place.ip() {
        ip if !ip.is_unspecified() => {
            let scope = Scope::of(listen);
            (scope == Scope::Wide || scope == Scope::of(local) || ip == own.ip()).then_some(place)
        }
        IpAddr::V4(_) if own.is_ipv6() => None,
        _ => Some(SocketAddr::new(own.ip(), place.port())),
    }
}

impl Directory for SnapshotDirectory {
    fn find(
        &self,
        name: &IscsiName,
        initiator: &IscsiName,
        portal: SocketAddr,
        peer: SocketAddr,
    ) -> Result<TargetRef, NoTarget> {
        let portal_group = self.portal_group(portal);
        let at = self.snapshot.targets.iter().position(|target| target.name == *name);
        let index = at.ok_or(NoTarget::NotFound)?;
        let target = self.target(index, initiator, portal_group, peer)?;
        Ok(TargetRef { index, name: target.name.clone(), portal_group, alias: target.alias.as_deref().map(Arc::from) })
    }

    fn auth(&self, wanted: Wanted<'_>, initiator: &IscsiName, _portal: SocketAddr, peer: SocketAddr) -> AuthPolicy {
        match wanted {
            Wanted::Discovery => policy(self.snapshot.discovery.as_ref()),
            Wanted::Target(target) => match self.snapshot.targets.get(target.index) {
                Some(target) => asked(target, initiator, peer),
                // The configuration has no such target. These credentials have no account, so nobody can satisfy them.
                None => AuthPolicy::Chap(Arc::new(Credentials::default())),
            },
        }
    }

    fn targets(&self, initiator: &IscsiName, portal: SocketAddr, peer: SocketAddr, each: &mut TargetVisitor<'_>) {
        let all = self.addresses(portal, &[]);
        //= RFC 7143 appendix C
        //# In a Discovery
        //# session, a target MUST return all path information (IP address-port
        //# pairs and Target Portal Group Tags) for the targets on the target
        //# Network Entity that the requesting initiator is authorized to access.
        for (index, target) in self.snapshot.targets.iter().enumerate() {
            if self.removed.contains(&index) || !allowed(target, initiator, peer) {
                continue;
            }
            if target.portal_groups.is_empty() {
                each(&target.name, &all);
                continue;
            }
            let addresses = self.addresses(portal, &target.portal_groups);
            // Without an address the initiator would take the one that it asked, where the target may not be.
            if !addresses.is_empty() {
                each(&target.name, &addresses);
            }
        }
    }

    fn portal_group(&self, portal: SocketAddr) -> u16 {
        /// What a portal that is not in the configuration (a socket handed over, a test's) counts as.
        const DEFAULT_GROUP: u16 = 1;
        self.portal(portal).map_or(DEFAULT_GROUP, |portal| portal.group_tag)
    }
}
