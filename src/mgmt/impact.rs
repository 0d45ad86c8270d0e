//! What another configuration does to a session.

use crate::fabric::report::SessionReport;
use crate::model::{IscsiName, LunKind, LunSpec, Snapshot, TargetSpec};
use crate::session::directory::{Applicant, SnapshotDirectory};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What becomes of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Impact {
    /// It may not be there any more.
    Dropped,
    /// It finds nothing at these LUNs any more, or something else.
    Loses(Vec<u16>),
    /// It finds more, or other sizes: its initiator is told.
    Told,
}

/// The units that somebody finds, by LUN: each with its LUN in the target, its medium, and its size.
type Found = BTreeMap<u16, (u16, LunKind, Option<u64>)>;

fn found(spec: &TargetSpec, group: Option<usize>) -> Found {
    let of = |lun: &LunSpec| (lun.number, lun.kind.clone(), lun.size_bytes);
    let all = || spec.luns.iter().map(|lun| (lun.number, of(lun))).collect();
    let Some(group) = group.and_then(|group| spec.groups.get(group)) else {
        return if spec.groups_only { Found::new() } else { all() };
    };
    let Some(luns) = &group.luns else { return all() };
    let unit = |of_target: u16| spec.luns.iter().find(|lun| lun.number == of_target).map(of);
    luns.iter().filter_map(|mapping| Some((mapping.number, unit(mapping.of_target)?))).collect()
}

fn target<'s>(snapshot: &'s Snapshot, name: &IscsiName) -> Option<(usize, &'s TargetSpec)> {
    snapshot.targets.iter().enumerate().find(|(_, spec)| spec.name == *name)
}

/// What becomes of a session when `after` is served instead of `before`. `None`: nothing.
pub(super) fn impact(before: &Snapshot, after: &Arc<Snapshot>, session: &SessionReport) -> Option<Impact> {
    let init = &session.init;
    let of = init.target_name.as_ref();
    let new = of.map(|name| target(after, name));
    let Some(peer) = session.connections.first().map(|connection| connection.peer) else {
        // Nobody can say whether it could log in.
        return new.is_some_and(|new| new.is_none()).then_some(Impact::Dropped);
    };
    let who = Applicant {
        kind: init.kind,
        target: of.map(|name| (new.flatten().map_or(usize::MAX, |(at, _)| at), name)),
        portal_group: init.target_portal_group,
        initiator: &init.initiator.name,
        peer,
        identity: session.user.as_deref(),
    };
    let directory = SnapshotDirectory::new(Arc::clone(after));
    let Ok(access) = directory.admit(&who) else { return Some(Impact::Dropped) };
    let ((at, new), (_, old)) = (new.flatten()?, target(before, of?)?);
    // Who shows itself to be somebody else by then, as where a target gets its first group, has to log in again.
    if directory.proof(Some(at), who.initiator, peer, who.identity) != init.initiator.proof {
        return Some(Impact::Dropped);
    }
    let (old, new) = (found(old, session.group), found(new, access.group()));
    let same = |a: &(u16, LunKind, Option<u64>), b: &(u16, LunKind, Option<u64>)| (a.0, &a.1) == (b.0, &b.1);
    let is_lost =
        |(number, unit): &(&u16, &(u16, LunKind, Option<u64>))| new.get(number).is_none_or(|other| !same(unit, other));
    let lost: Vec<u16> = old.iter().filter(is_lost).map(|(number, _)| *number).collect();
    if !lost.is_empty() {
        return Some(Impact::Loses(lost));
    }
    (old != new).then_some(Impact::Told)
}
