//! What a snapshot serves, in words, and how an initiator gets at it.

use super::size::Bytes;
use crate::model::{LunKind, LunSpec, Snapshot};
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
        text.push('\n');
    }
    for target in &snapshot.targets {
        let _ = write!(text, "target {}", target.name);
        if let Some(alias) = &target.alias {
            let _ = write!(text, " ({alias})");
        }
        text.push('\n');
        for lun in &target.luns {
            let _ = writeln!(text, "  LUN {}: {}", lun.number, logical_unit(lun));
        }
    }
    text
}

/// One logical unit in words.
fn logical_unit(lun: &LunSpec) -> String {
    let (mut text, missing) = match &lun.kind {
        LunKind::File(path) => (format!("file {}", path.display()), !path.exists()),
        LunKind::Ram => ("ram".to_owned(), false),
        LunKind::Null => ("null".to_owned(), false),
    };
    if let Some(bytes) = lun.size_bytes {
        let _ = write!(text, ", {}", Bytes(bytes));
    }
    let _ = write!(text, ", blocks of {}", lun.block_bytes);
    if lun.physical_block_bytes != lun.block_bytes {
        let _ = write!(text, " ({} physical)", lun.physical_block_bytes);
    }
    for (flag, word) in [(lun.readonly, "readonly"), (lun.thin, "thin"), (missing, "created by serve")] {
        if flag {
            let _ = write!(text, ", {word}");
        }
    }
    if let Some(serial) = &lun.serial {
        let _ = write!(text, ", serial {serial}");
    }
    text
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
