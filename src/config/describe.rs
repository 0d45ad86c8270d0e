//! What a snapshot serves, in words, and how an initiator gets at it.

use super::size::Bytes;
use crate::model::lun::OPTIONS;
use crate::model::{Credentials, Group, Limits, LunKind, LunSpec, Snapshot, TargetSpec};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What is served, one line for each portal, target and logical unit.
pub fn serves(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for portal in &snapshot.portals {
        let _ = write!(text, "portal {} group {}", portal.listen, portal.group_tag);
        if let Some(advertise) = portal.advertise {
            let _ = write!(text, " advertised as {advertise}");
        }
        if let Some((_, state)) = snapshot.access_states.iter().find(|(tag, _)| *tag == portal.group_tag) {
            let _ = write!(text, " {}", state.name());
        }
        text.push('\n');
    }
    if let Some(credentials) = &snapshot.discovery {
        let _ = writeln!(text, "discovery with {}", proof(credentials));
    }
    for spec in &snapshot.targets {
        target(spec, &mut text);
    }
    text
}

/// One target with its logical units and groups.
fn target(target: &TargetSpec, text: &mut String) {
    let _ = write!(text, "target {}", target.name);
    if let Some(alias) = &target.alias {
        let _ = write!(text, " ({alias})");
    }
    if !target.portal_groups.is_empty() {
        let _ = write!(text, ", portal groups {}", list(&target.portal_groups));
    }
    if let Some(credentials) = target.credentials.as_ref().filter(|_| !target.groups_only) {
        let _ = write!(text, ", {}", proof(credentials));
    }
    for (tag, state) in &target.access_states {
        let _ = write!(text, ", group {tag} {}", state.name());
    }
    text.push('\n');
    for lun in &target.luns {
        let _ = writeln!(text, "  LUN {}: {}", lun.number, logical_unit(lun));
    }
    for group in &target.groups {
        let _ = writeln!(text, "  group {}: {}", group.name, initiators(group));
    }
    if !target.groups.is_empty() {
        let _ = writeln!(text, "  others: {}", if target.groups_only { "no access" } else { "all LUNs" });
    }
}

/// Who is in a group, and what they get.
fn initiators(group: &Group) -> String {
    let names = if group.initiators.is_empty() { "any initiator".to_owned() } else { list(&group.initiators) };
    let mut text = names;
    if !group.networks.is_empty() {
        let _ = write!(text, " from {}", list(&group.networks));
    }
    if let Some(credentials) = &group.credentials {
        let _ = write!(text, ", {}", proof(credentials));
    }
    match &group.luns {
        None => text.push_str(", all LUNs"),
        Some(luns) => {
            let luns = luns.iter().map(|lun| match lun.of_target == lun.number {
                true => lun.number.to_string(),
                false => format!("{} as {}", lun.of_target, lun.number),
            });
            let _ = write!(text, ", LUNs {}", list(&luns.collect::<Vec<_>>()));
        }
    }
    limited(group.limits, &mut text);
    text
}

/// What has to be proved. Users only.
fn proof(credentials: &Credentials) -> String {
    let users: Vec<_> = credentials.initiators.iter().map(|account| &account.name).collect();
    let mutual = credentials.target.as_ref().map(|account| format!(", mutual as {}", account.name));
    format!("CHAP as {}{}", list(&users), mutual.unwrap_or_default())
}

fn limited(limits: Limits, text: &mut String) {
    if let Some(iops) = limits.iops {
        let _ = write!(text, ", at most {iops} IOPS");
    }
    if let Some(bytes) = limits.bytes_per_s {
        let _ = write!(text, ", at most {}/s", Bytes(bytes));
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// One logical unit in words.
fn logical_unit(lun: &LunSpec) -> String {
    let is_missing = matches!(&lun.kind, LunKind::File(path) if !path.exists());
    let words: Vec<String> = OPTIONS.iter().filter_map(|option| (option.show)(lun, is_missing)).collect();
    words.join(", ")
}

/// Commands for the initiator, ready to paste. `bound` are the addresses listened on, in the order of the portals.
pub fn commands(snapshot: &Snapshot, bound: &[SocketAddr]) -> String {
    let advertised = snapshot.portals.first().and_then(|portal| portal.advertise);
    let listen = || bound.first().copied().or_else(|| snapshot.portals.first().map(|portal| portal.listen));
    let (Some(address), Some(target)) = (advertised.or_else(listen), snapshot.targets.first()) else {
        return String::new();
    };
    let (address, name) = (reachable(address), &target.name);
    format!(
        "see it from libiscsi:  iscsi-ls -s iscsi://{address}\n\
         log in from Linux:     iscsiadm -m discovery -t sendtargets -p {address} && \
         iscsiadm -m node -T {name} -p {address} --login\n"
    )
}

/// An address that this machine can connect to: a wildcard is shown as its loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
