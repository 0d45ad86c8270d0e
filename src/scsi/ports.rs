//! The target port groups of a logical unit, each with the port in it and its asymmetric access state (SPC-4 clause 5.15.2).

use super::class;
use crate::model::{AccessState, PortGroup};

/// STATUS CODE: why a group is in its state (SPC-4 table 295).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Nothing = 0,
    Command = 1,
    Implicit = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) configured: PortGroup,
    pub(super) state: AccessState,
    pub(super) cause: Cause,
}

/// The target port groups of a logical unit.
#[derive(Debug, Default)]
pub(super) struct Ports(pub(super) Vec<Group>);

impl Ports {
    pub(super) fn new(groups: &[PortGroup]) -> Ports {
        let group = |&configured: &PortGroup| Group { configured, state: configured.state, cause: Cause::Nothing };
        Ports(groups.iter().map(group).collect())
    }

    pub(super) fn group(&self, tag: u16) -> Option<&Group> {
        self.0.iter().find(|group| group.configured.tag == tag)
    }

    /// Classes of commands that do not go through by way of group `tag`.
    pub(super) fn blocks(&self, tag: u16) -> u16 {
        match self.group(tag).map_or(AccessState::ActiveOptimized, |group| group.state) {
            AccessState::ActiveOptimized | AccessState::ActiveNonOptimized => 0,
            AccessState::Standby => class::STANDBY,
            AccessState::Unavailable => class::UNAVAILABLE,
        }
    }

    /// RELATIVE TARGET PORT IDENTIFIER of the port in group `tag`.
    pub(super) fn relative_port(&self, tag: u16) -> u16 {
        self.group(tag).map_or(tag.max(1), |group| group.configured.relative_port)
    }

    /// RELATIVE TARGET PORT IDENTIFIERs of all ports.
    pub(super) fn relative_ports(&self) -> Vec<u16> {
        self.0.iter().map(|group| group.configured.relative_port).collect()
    }

    /// Every port with the group that it is in.
    pub(super) fn all(&self) -> impl Iterator<Item = PortGroup> {
        self.0.iter().map(|group| group.configured)
    }

    /// Configures the groups anew: each keeps its state unless it is now configured to another than before. Answers
    /// whether anything is different.
    pub(super) fn configure(&mut self, groups: &[PortGroup]) -> bool {
        let new = groups.iter().map(|&configured| match self.group(configured.tag) {
            Some(old) if old.configured.state == configured.state => Group { configured, ..*old },
            _ => Group { configured, state: configured.state, cause: Cause::Implicit },
        });
        let new: Vec<Group> = new.collect();
        let differs = new != self.0;
        self.0 = new;
        differs
    }
}
