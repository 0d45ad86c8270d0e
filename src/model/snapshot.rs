//! The configuration as validated: which portals listen, which targets exist, what their logical units are made of.

use super::access::{Admission, Group};
use super::access_state::AccessState;
use super::chap::Credentials;
use super::control::Control;
use super::lun::LunSpec;
use super::names::IscsiName;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that is served, as one immutable value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Where to listen. All portals are one portal group, tag 1, unless they say otherwise.
    pub portals: Vec<Portal>,
    /// The directory that keeps what outlives the process. It need not be there.
    pub state: PathBuf,
    /// The targets.
    pub targets: Vec<TargetSpec>,
    /// Cores to run on, one executor each; empty: all that this process may use.
    pub cores: Vec<usize>,
    /// Microseconds that an active core polls before it sleeps; `None`: the default.
    pub spin_us: Option<u32>,
    /// The TCP congestion control of initiators' connections by its kernel name, "system" for the system's; `None`: the default.
    pub congestion: Option<String>,
    /// Initiators are held to the letter of RFC 7143 also where being liberal loses nothing.
    pub strict: bool,
    /// A logical unit that cannot be opened is left out, and tried again, instead of keeping all others from being served.
    pub degrades: bool,
    /// What initiators must prove before discovery tells them anything; `None`: nothing.
    pub discovery: Option<Arc<Credentials>>,
    /// How many connections are taken; `None`: the defaults of `limits`.
    pub admission: Option<Admission>,
    /// Access states of portal groups, by tag, for the targets that say nothing else; active/optimized where there is none.
    pub access_states: Vec<(u16, AccessState)>,
    /// Who may use the control plane.
    pub control: Control,
}

/// An address that initiators connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portal {
    /// The address listened on.
    pub listen: SocketAddr,
    /// What SendTargets answers instead (NAT, a guest's view of its host).
    pub advertise: Option<SocketAddr>,
    /// The portal group tag.
    pub group_tag: u16,
}

/// One iSCSI target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetSpec {
    //= RFC 7143 section 4.5
    //# (a) Each instance of an iSCSI node class MUST contain one iSCSI target
    //# node instance, one iSCSI initiator node instance, or both.
    //
    //= RFC 7143 section 4.5
    //# (b) Each instance of an iSCSI node class MUST contain one iSCSI target
    //# node instance, one iSCSI initiator node instance, or both.
    //
    //= RFC 7143 section 4.5
    //# However, in all scenarios, note that an iSCSI node MUST only have a
    //# single iSCSI name.
    /// Its name.
    pub name: IscsiName,
    /// Its alias (TargetAlias), if any.
    pub alias: Option<String>,
    /// Its logical units, by LUN.
    pub luns: Vec<LunSpec>,
    /// Tags of the portal groups that it is found at; empty: all.
    pub portal_groups: Vec<u16>,
    /// Its initiator groups; the first that an initiator is in decides.
    pub groups: Vec<Group>,
    /// What those must prove who are in no group; `None`: nothing.
    pub credentials: Option<Arc<Credentials>>,
    /// Those who are in no group have no access.
    pub groups_only: bool,
    /// Access states of its portal groups, by tag.
    pub access_states: Vec<(u16, AccessState)>,
}

impl TargetSpec {
    /// A target with logical units for everybody everywhere.
    pub fn new(name: IscsiName, alias: Option<String>, luns: Vec<LunSpec>) -> Self {
        Self {
            name,
            alias,
            luns,
            portal_groups: Vec::new(),
            groups: Vec::new(),
            credentials: None,
            groups_only: false,
            access_states: Vec::new(),
        }
    }
}

#[cfg(test)]
pub mod tests {
    //! A configuration for tests.

    use super::*;
    use crate::model::LunKind;

    /// A target that tests serve.
    pub const TARGET: &str = "iqn.2026-11.io.ringsan:test";
    /// Bytes of a unit of it.
    pub const UNIT_BYTES: u64 = 16 << 20;

    /// A RAM unit.
    pub fn lun(number: u16) -> LunSpec {
        LunSpec {
            size_bytes: Some(UNIT_BYTES),
            physical_block_bytes: 4096,
            thin: true,
            ..LunSpec::new(number, LunKind::Ram)
        }
    }

    /// The target with these units, at these portals, each in a portal group of its own, from 1 on.
    pub fn snapshot(places: &[SocketAddr], luns: Vec<LunSpec>) -> Snapshot {
        let target = TargetSpec::new(IscsiName::new(TARGET).unwrap(), None, luns);
        let portals = places.iter().zip(1..);
        let portals = portals.map(|(at, group_tag)| Portal { listen: *at, advertise: None, group_tag }).collect();
        Snapshot { portals, targets: vec![target], ..Snapshot::default() }
    }
}
