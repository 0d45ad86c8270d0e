//! Portals, and what initiators are told about them.

use super::*;
use crate::model::TargetSpec;

fn name(text: &str) -> IscsiName {
    IscsiName::new(text).unwrap()
}

/// Portals as (listen, advertise, tag).
fn directory(portals: &[(&str, Option<&str>, u16)]) -> SnapshotDirectory {
    let portals = portals
        .iter()
        .map(|(listen, advertise, group_tag)| Portal {
            listen: listen.parse().unwrap(),
            advertise: advertise.map(|a| a.parse().unwrap()),
            group_tag: *group_tag,
        })
        .collect();
    let target = |text: &str| TargetSpec::new(name(text), None, vec![]);
    let targets = vec![target("iqn.2024-01.example:a"), target("iqn.2024-01.example:b")];
    SnapshotDirectory::new(Arc::new(Snapshot { portals, targets, ..Snapshot::default() }))
}

fn addresses(directory: &SnapshotDirectory, local: &str) -> Vec<String> {
    let mut found = Vec::new();
    let peer = "192.0.2.1:50000".parse().unwrap();
    directory.targets(&name("iqn.2024-01.example:host"), local.parse().unwrap(), peer, &mut |_, addresses| {
        found = addresses.iter().map(|(address, tag)| format!("{address},{tag}")).collect();
    });
    found
}

#[test]
fn row_31_all_addresses_of_all_groups() {
    //= RFC 7143 appendix C
    //# If a SendTargets response reports an iSCSI address for a target, it
    //# SHOULD also report all other addresses in its portal group in the
    //# same response.
    let d = directory(&[("10.1.0.45:3000", None, 1), ("[2001:db8::1]:3260", None, 2), ("10.1.1.45:3000", None, 1)]);
    let all = ["10.1.0.45:3000,1", "[2001:db8::1]:3260,2", "10.1.1.45:3000,1"];
    assert_eq!(addresses(&d, "10.1.1.45:3000"), all);
    assert_eq!(d.portal_group("[2001:db8::1]:3260".parse().unwrap()), 2);
    assert_eq!(d.portal_group("[::ffff:10.1.0.45]:3000".parse().unwrap()), 1);
}

#[test]
fn all_addresses_is_no_address() {
    let d = directory(&[("0.0.0.0:3260", None, 1), ("[::]:3260", None, 2)]);
    assert_eq!(addresses(&d, "10.0.0.1:3260"), ["10.0.0.1:3260,1", "10.0.0.1:3260,2"]);
    assert_eq!(addresses(&d, "[2001:db8::1]:3260"), ["[2001:db8::1]:3260,2"]);
    assert_eq!(addresses(&d, "[::ffff:10.0.0.1]:3260"), ["10.0.0.1:3260,1", "10.0.0.1:3260,2"]);
    assert_eq!(d.portal_group("10.0.0.1:3260".parse().unwrap()), 1);
    assert_eq!(d.portal_group("[2001:db8::1]:3260".parse().unwrap()), 2);
    assert_eq!(d.portal_group("10.0.0.1:9".parse().unwrap()), 1, "no such portal");
}

#[test]
fn what_is_advertised_is_told_instead() {
    let d = directory(&[("0.0.0.0:3260", Some("192.0.2.7:3260"), 3), ("10.0.0.1:3261", None, 4)]);
    assert_eq!(addresses(&d, "10.0.0.1:3260"), ["192.0.2.7:3260,3", "10.0.0.1:3261,4"]);
    assert_eq!(d.portal_group("10.0.0.1:3261".parse().unwrap()), 4);
    assert_eq!(d.portal_group("10.0.0.1:3260".parse().unwrap()), 3);
}

#[test]
fn targets_are_found_by_their_normalised_name() {
    let d = directory(&[("10.0.0.1:3260", None, 5)]);
    let (host, at) = (name("iqn.2024-01.example:host"), "10.0.0.1:3260".parse().unwrap());
    let found = d.find(&name("iqn.2024-01.EXAMPLE:B"), &host, at, at).unwrap();
    assert_eq!((found.index, found.portal_group), (1, 5));
    assert_eq!(d.find(&name("iqn.2024-01.example:c"), &host, at, at), Err(NoTarget::NotFound));
    assert_eq!(d.auth(Some(&found), &host, at, at), AuthPolicy::Open);
}
