//! Target ports: each portal group of a target is one (RFC 7143 section 4.4.3 maps a portal group tag to a SCSI port), and
//! a target port group of its own, with an asymmetric access state (SPC-4 clause 5.15.2.4).

use super::access_state::AccessState;
use super::snapshot::{Snapshot, TargetSpec};

/// A target port group and its one target port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortGroup {
    /// The portal group tag: the number of the target port group too.
    pub tag: u16,
    /// RELATIVE TARGET PORT IDENTIFIER of the port, never zero.
    pub relative_port: u16,
    /// The access state to begin with.
    pub state: AccessState,
}

impl Snapshot {
    /// The target port groups of a target: one for each portal group that it is found at, by tag. Relative target port
    /// identifiers are the tags, so that they stay as they are when others come and go; tag 0, which cannot be one, gets
    /// the last number that is free: one that no other tag of a usual configuration takes from it later.
    pub fn port_groups(&self, target: &TargetSpec) -> Vec<PortGroup> {
        let listened = self.portals.iter().map(|portal| portal.group_tag);
        let mut tags: Vec<u16> =
            listened.filter(|tag| target.portal_groups.is_empty() || target.portal_groups.contains(tag)).collect();
        tags.sort_unstable();
        tags.dedup();
        let state = |tag: u16| {
            let said = target.access_states.iter().chain(&self.access_states);
            said.into_iter().find(|(of, _)| *of == tag).map_or(AccessState::default(), |(_, state)| *state)
        };
        let free = (1..=u16::MAX).rev().find(|number| !tags.contains(number)).unwrap_or(u16::MAX);
        let group = |&tag: &u16| PortGroup { tag, relative_port: if tag == 0 { free } else { tag }, state: state(tag) };
        tags.iter().map(group).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IscsiName, Portal};

    #[test]
    fn portal_groups_are_target_port_groups() {
        let portal = |group_tag| Portal { listen: ([127, 0, 0, 1], 3260).into(), advertise: None, group_tag };
        let snapshot = Snapshot {
            portals: vec![portal(5), portal(0), portal(1), portal(5)],
            access_states: vec![(5, AccessState::Standby), (1, AccessState::Standby)],
            ..Snapshot::default()
        };
        let name = IscsiName::new("iqn.2026-11.io.ringsan:t").unwrap();
        let mut target = TargetSpec::new(name, None, Vec::new());
        target.access_states = vec![(1, AccessState::ActiveNonOptimized)];
        let group = |tag, relative_port, state| PortGroup { tag, relative_port, state };
        let all = [
            group(0, u16::MAX, AccessState::ActiveOptimized),
            group(1, 1, AccessState::ActiveNonOptimized),
            group(5, 5, AccessState::Standby),
        ];
        assert_eq!(snapshot.port_groups(&target), all);
        target.portal_groups = vec![0];
        assert_eq!(snapshot.port_groups(&target), all[..1], "the same as beside others");
        target.portal_groups = vec![5, 9];
        assert_eq!(snapshot.port_groups(&target), all[2..]);
        assert!(AccessState::ALL.into_iter().all(|state| AccessState::named(state.name()) == Some(state)));
    }
}
