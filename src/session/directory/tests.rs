//! Portals, and what initiators are told about them.

use super::*;
use crate::model::{Account, Limits, Secret, TargetSpec};

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
fn item_31_all_addresses_of_all_groups() {
    //= RFC 7143 appendix C
    //# If a SendTargets response reports an iSCSI address for a target, it
    //# SHOULD also report all other addresses in its portal group in the
    //# same response.
    let d = directory(&[("10.1.0.45:3000", None, 1), ("[2001:db8::1]:3260", None, 2), ("10.1.1.45:3000", None, 1)]);
    let all = ["10.1.0.45:3000,1", "10.1.1.45:3000,1", "[2001:db8::1]:3260,2"];
    assert_eq!(addresses(&d, "10.1.1.45:3000"), all, "those of its own family first");
    assert_eq!(addresses(&d, "[::ffff:10.1.1.45]:3000"), all);
    assert_eq!(addresses(&d, "[2001:db8::1]:3260"), [all[2], all[0], all[1]]);
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
    let d = directory(&[("10.0.0.1:3261", None, 4), ("0.0.0.0:3260", Some("192.0.2.7:3260"), 3)]);
    assert_eq!(addresses(&d, "10.0.0.1:3260"), ["192.0.2.7:3260,3", "10.0.0.1:3261,4"], "and first");
    assert_eq!(addresses(&d, "[::ffff:10.0.0.1]:3260"), ["192.0.2.7:3260,3", "10.0.0.1:3261,4"]);
    assert_eq!(d.portal_group("10.0.0.1:3261".parse().unwrap()), 4);
    assert_eq!(d.portal_group("10.0.0.1:3260".parse().unwrap()), 3);
}

#[test]
fn what_the_asker_cannot_reach_is_not_told() {
    let d = directory(&[
        ("127.0.0.1:3260", None, 1),
        ("[::1]:3260", None, 1),
        ("169.254.7.7:3260", None, 1),
        ("[fe80::7%2]:3260", None, 1),
        ("[fe80::8%3]:3260", None, 1),
        ("192.0.2.7:3260", None, 1),
        ("127.0.0.2:3260", Some("192.0.2.8:3260"), 1),
    ]);
    let told = |local| addresses(&d, local).into_iter().map(|at| at.replace(":3260,1", "")).collect::<Vec<_>>();
    assert_eq!(told("192.0.2.7:3260"), ["192.0.2.8", "192.0.2.7"]);
    assert_eq!(told("[2001:db8::1]:3260"), ["192.0.2.8", "192.0.2.7"]);
    assert_eq!(told("127.0.0.1:3260"), ["192.0.2.8", "127.0.0.1", "192.0.2.7", "[::1]"]);
    assert_eq!(told("[::1]:3260"), ["192.0.2.8", "[::1]", "127.0.0.1", "192.0.2.7"]);
    assert_eq!(told("169.254.7.7:3260"), ["192.0.2.8", "169.254.7.7", "192.0.2.7"]);
    let of_that_link = ["192.0.2.8", "[fe80::7]", "192.0.2.7"];
    assert_eq!(told("[fe80::7%2]:3260"), of_that_link, "of that link, and no other");
}

#[test]
fn targets_are_found_by_their_normalised_name() {
    let d = directory(&[("10.0.0.1:3260", None, 5)]);
    let (host, at) = (name("iqn.2024-01.example:host"), "10.0.0.1:3260".parse().unwrap());
    let found = d.find(&name("iqn.2024-01.EXAMPLE:B"), &host, at, at).unwrap();
    assert_eq!((found.index, found.portal_group), (1, 5));
    assert_eq!(d.find(&name("iqn.2024-01.example:c"), &host, at, at), Err(NoTarget::NotFound));
    assert_eq!(d.auth(Wanted::Target(&found), &host, at, at), AuthPolicy::Open);
}

#[test]
fn a_node_is_one_target_with_one_name() {
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
    let d = directory(&[("10.0.0.1:3260", None, 5)]);
    let (host, at) = (name("iqn.2024-01.example:host"), "10.0.0.1:3260".parse().unwrap());
    let mut names = Vec::new();
    d.targets(&host, at, at, &mut |name, _| names.push(name.clone()));
    let found: Vec<_> = names.iter().map(|name| d.find(name, &host, at, at).unwrap()).collect();
    assert_eq!(found.iter().map(|found| found.index).collect::<Vec<_>>(), [0, 1], "each node once");
    assert!(found.iter().zip(&names).all(|(found, name)| found.name == *name), "by the name that it is shown with");
}

fn account(user: &str) -> Account {
    Account { name: user.into(), secret: Secret::new(user.as_bytes().to_vec()) }
}

/// An initiator group: names, networks, users, the target's own user.
fn group(initiators: &[&str], networks: &[&str], users: &[&str], mutual: Option<&str>) -> Group {
    let credentials = Credentials {
        initiators: users.iter().map(|user| account(user)).collect(),
        target: mutual.map(account),
        ..Credentials::default()
    };
    Group {
        name: "g".into(),
        proof: Group::proof_of(Some("g"), &[]),
        initiators: initiators.iter().map(|text| text.parse().unwrap()).collect(),
        networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        credentials: (!users.is_empty()).then(|| Arc::new(credentials)),
        luns: None,
        limits: Limits::default(),
    }
}

/// One target with these groups.
fn grouped(groups: Vec<Group>, groups_only: bool) -> SnapshotDirectory {
    let target = TargetSpec { groups, groups_only, ..TargetSpec::new(name("iqn.2024-01.example:a"), None, vec![]) };
    SnapshotDirectory::new(Arc::new(Snapshot { targets: vec![target], ..Snapshot::default() }))
}

/// What an initiator finds: the users that it is asked for (`None`: nothing), and in which group each of them puts it.
type Found = Result<Option<Vec<(String, Option<usize>)>>, NoTarget>;

fn found(d: &SnapshotDirectory, initiator: &str, peer: &str) -> Found {
    let (initiator, at) = (name(initiator), "10.0.0.1:3260".parse().unwrap());
    let peer = SocketAddr::new(peer.parse().unwrap(), 50000);
    let mut listed = false;
    d.targets(&initiator, at, peer, &mut |_, _| listed = true);
    let target = d.find(&name("iqn.2024-01.example:a"), &initiator, at, peer);
    assert_eq!(target.is_ok(), listed, "what is listed is what can be had");
    let AuthPolicy::Chap(credentials) = d.auth(Wanted::Target(&target?), &initiator, at, peer) else { return Ok(None) };
    let sets = std::iter::once(&*credentials).chain(credentials.others.iter().map(|set| &**set));
    let users = sets.flat_map(|set| set.initiators.iter().map(|user| user.name.to_string()));
    Ok(Some(users.map(|user| (user.clone(), d.group(0, &initiator, peer, Some(&user)))).collect()))
}

#[test]
fn initiators_get_what_their_group_gets() {
    //= RFC 7143 section 9.2
    //# For this reason, iSCSI implementations SHOULD manage authentication in a
    //# way that impersonation across iSCSI names via these authentication
    //# identities is not possible.
    //= RFC 7143 section 9.2
    //# Specifically, implementations SHOULD allow configuration of an
    //# authentication identity for a Name if different, and authentication
    //# credentials for that identity.
    let d = grouped(
        vec![
            group(&["iqn.2024-01.example:db*"], &["192.0.2.0/24"], &["db", "db2"], Some("disks")),
            group(&["iqn.2024-01.example:*"], &["192.0.2.0/24"], &["any"], None),
            group(&["iqn.2024-01.example:web"], &[], &[], None),
            group(&["iqn.2024-01.example:web"], &[], &["web"], None),
        ],
        true,
    );
    let user = |user: &str, group| (user.to_owned(), Some(group));
    let both = vec![user("db", 0), user("db2", 0), user("any", 1)];
    assert_eq!(found(&d, "iqn.2024-01.example:db1", "192.0.2.9"), Ok(Some(both.clone())));
    assert_eq!(found(&d, "iqn.2024-01.EXAMPLE:DB1", "::ffff:192.0.2.9"), Ok(Some(both)));
    assert_eq!(found(&d, "iqn.2024-01.example:db1", "192.0.3.9"), Err(NoTarget::Forbidden));
    assert_eq!(found(&d, "iqn.2024-01.org:db1", "192.0.2.9"), Err(NoTarget::Forbidden));
    // A group that asks for nothing is no way around one before it that asks.
    let asked = vec![user("any", 1), user("web", 3)];
    assert_eq!(found(&d, "iqn.2024-01.example:web", "192.0.2.9"), Ok(Some(asked)));
    assert_eq!(found(&d, "iqn.2024-01.example:web", "192.0.3.9"), Ok(None));
    let web = name("iqn.2024-01.example:web");
    assert_eq!(d.group(0, &web, "192.0.3.9:1".parse().unwrap(), None), Some(2));
    assert_eq!(d.group(0, &web, "192.0.2.9:1".parse().unwrap(), None), None);
}

#[test]
fn others_get_what_the_target_asks_for() {
    let d = grouped(vec![group(&["iqn.2024-01.example:db*"], &[], &["db"], None)], false);
    assert_eq!(found(&d, "iqn.2024-01.org:db1", "192.0.2.9"), Ok(None));
    assert_eq!(d.group(0, &name("iqn.2024-01.org:db1"), "192.0.2.9:1".parse().unwrap(), None), None);
    assert_eq!(found(&d, "iqn.2024-01.example:db1", "192.0.2.9"), Ok(Some(vec![("db".into(), Some(0))])));
}

#[test]
fn discovery_has_its_own_credentials() {
    let d = grouped(vec![], false);
    let (host, at) = (name("iqn.2024-01.example:host"), "10.0.0.1:3260".parse().unwrap());
    assert_eq!(d.auth(Wanted::Discovery, &host, at, at), AuthPolicy::Open);
    let credentials = Arc::new(Credentials { initiators: vec![account("finder")], ..Credentials::default() });
    let snapshot = Snapshot { discovery: Some(credentials.clone()), ..Snapshot::default() };
    let d = SnapshotDirectory::new(Arc::new(snapshot));
    assert_eq!(d.auth(Wanted::Discovery, &host, at, at), AuthPolicy::Chap(credentials));
    let may = |identity| {
        let (kind, initiator) = (SessionKind::Discovery, &host);
        d.admit(&Applicant { kind, target: None, portal_group: 1, initiator, peer: at, identity }).map(Access::group)
    };
    assert_eq!(may(Some("finder")), Ok(None));
    assert_eq!([may(Some("other")), may(None)], [Err(NoTarget::Unproved); 2]);
}

#[test]
fn targets_are_found_in_their_portal_groups() {
    let portal = |listen: &str, group_tag| Portal { listen: listen.parse().unwrap(), advertise: None, group_tag };
    let target = |text: &str, portal_groups: &[u16]| TargetSpec {
        portal_groups: portal_groups.to_vec(),
        ..TargetSpec::new(name(text), None, vec![])
    };
    let d = SnapshotDirectory::new(Arc::new(Snapshot {
        portals: vec![portal("10.0.0.1:3260", 1), portal("[2001:db8::1]:3260", 2), portal("10.0.1.1:3260", 3)],
        targets: vec![target("iqn.2024-01.example:a", &[1, 3]), target("iqn.2024-01.example:b", &[2])],
        ..Snapshot::default()
    }));
    let (host, at) = (name("iqn.2024-01.example:host"), |text: &str| text.parse::<SocketAddr>().unwrap());
    let find = |target: &str, portal: &str| d.find(&name(target), &host, at(portal), at("10.0.0.9:1"));
    assert_eq!(find("iqn.2024-01.example:a", "10.0.1.1:3260").map(|t| t.portal_group), Ok(3));
    assert_eq!(find("iqn.2024-01.example:a", "[2001:db8::1]:3260"), Err(NoTarget::NotFound));
    assert_eq!(find("iqn.2024-01.example:b", "[2001:db8::1]:3260").map(|t| t.portal_group), Ok(2));
    let mut told = Vec::new();
    d.targets(&host, at("10.0.0.1:3260"), at("10.0.0.9:1"), &mut |_, addresses| told.push(addresses.to_vec()));
    let expected = vec![vec![(at("10.0.0.1:3260"), 1), (at("10.0.1.1:3260"), 3)], vec![(at("[2001:db8::1]:3260"), 2)]];
    assert_eq!(told, expected);
}

/// What is changed while somebody logs in, or is logged in, holds for it as if it had come now.
#[test]
fn access_is_that_of_a_login_with_the_same_proof() {
    let web = || group(&["iqn.2024-01.example:web"], &[], &["web"], None);
    let own = name("iqn.2024-01.example:a");
    let access = |d: &SnapshotDirectory, target: (usize, &IscsiName), initiator: &str, identity: Option<&str>| {
        let initiator = &name(&format!("iqn.2024-01.example:{initiator}"));
        let (kind, peer) = (SessionKind::Normal, "192.0.2.1:50000".parse().unwrap());
        let who = Applicant { kind, target: Some(target), portal_group: 1, initiator, peer, identity };
        d.admit(&who).map(Access::group)
    };
    let closed = grouped(vec![web()], true);
    assert_eq!(access(&closed, (0, &own), "web", Some("web")), Ok(Some(0)));
    assert_eq!(access(&closed, (0, &own), "web", Some("other")), Err(NoTarget::Unproved));
    assert_eq!(access(&closed, (0, &own), "web", None), Err(NoTarget::Unproved));
    assert_eq!(access(&closed, (0, &own), "db", Some("web")), Err(NoTarget::Forbidden));
    let open = grouped(vec![web()], false);
    assert_eq!(access(&open, (0, &own), "db", None), Ok(None));
    let why = "of a group that asks for more, and not one of the others";
    assert_eq!(access(&open, (0, &own), "web", None), Err(NoTarget::Unproved), "{why}");
    assert_eq!(access(&open, (7, &own), "db", None), Err(NoTarget::NotFound));
    let other = name("iqn.2024-01.example:b");
    assert_eq!(access(&open, (0, &other), "db", None), Err(NoTarget::Removed), "another one has its place");
    assert_eq!(access(&open.without(&[0]), (0, &own), "db", None), Err(NoTarget::Removed));
    let target = TargetSpec { portal_groups: vec![2], ..TargetSpec::new(own.clone(), None, vec![]) };
    let moved = SnapshotDirectory::new(Arc::new(Snapshot { targets: vec![target], ..Snapshot::default() }));
    assert_eq!(access(&moved, (0, &own), "db", None), Err(NoTarget::NotFound), "at another portal only");
}

/// Somebody in one group, somebody in another, and somebody in none are three, though they say one name.
#[test]
fn an_initiator_port_is_whose_user_or_group_shows() {
    let of = |networks: &[&str], users: &[&str]| {
        let mut group = group(&["iqn.2024-01.example:*"], networks, users, None);
        group.proof = Group::proof_of(None, &group.networks);
        group
    };
    let proof = |d: &SnapshotDirectory, peer: &str, identity: Option<&str>| {
        let peer = SocketAddr::new(peer.parse().unwrap(), 50000);
        d.proof(Some(0), &name("iqn.2024-01.example:web"), peer, identity)
    };
    let groups = vec![of(&["192.0.2.0/24"], &[]), of(&["198.51.100.0/24"], &[]), of(&["203.0.113.0/24"], &["web"])];
    let d = grouped(groups, false);
    let [one, two, others] = ["192.0.2.1", "198.51.100.1", "10.0.0.9"].map(|peer| proof(&d, peer, None).unwrap());
    let user = proof(&d, "203.0.113.1", Some("web")).unwrap();
    let all = std::collections::HashSet::from([&one, &two, &others, &user]);
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(proof(&d, "192.0.2.200", None).as_ref(), Some(&one));
    assert_eq!(proof(&grouped(Vec::new(), false), "192.0.2.1", None), None, "nobody is asked for anything");
    assert_eq!(d.proof(None, &name("iqn.2024-01.example:web"), "192.0.2.1:1".parse().unwrap(), None), None);
}

#[test]
fn a_removed_target_is_said_to_be_removed() {
    let d = grouped(Vec::new(), false).without(&[0]);
    assert_eq!(found(&d, "iqn.2024-01.example:db", "192.0.2.1"), Err(NoTarget::Removed));
    assert_eq!(found(&d.without(&[]), "iqn.2024-01.example:db", "192.0.2.1"), Ok(None));
}
