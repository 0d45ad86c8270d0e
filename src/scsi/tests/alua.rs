//! Target port groups: what is said of them, how they are set, and what goes in which state.

use super::super::opcode::TABLE;
use super::*;

/// A unit that is found at two portal groups, and a host at each.
fn two_ported() -> LogicalUnit {
    two_ported_as(params())
}

fn two_ported_as(params: LuParams) -> LogicalUnit {
    let group = |tag, state| PortGroup { tag, relative_port: tag, state };
    let port_groups = vec![group(1, AccessState::ActiveOptimized), group(7, AccessState::ActiveNonOptimized)];
    LogicalUnit::new(LuParams { port_groups, ..params })
}

fn host_at(unit: &LogicalUnit, number: u8, tag: u16) -> Host<'_> {
    let mut host = Host::fresh(unit, number);
    host.nexus = LuNexus::new(NexusId(u64::from(number)), unit).by_port_group(tag);
    assert_eq!(host.failure(&[0x00]), (0x6, 0x2900));
    host
}

const RTPG: [u8; 12] = [0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
const RTPG_EXTENDED: [u8; 12] = [0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];

fn set(host: &mut Host, groups: &[(u8, u16)]) -> Plan {
    let mut list = vec![0; 4];
    for (state, tag) in groups {
        list.extend([*state, 0, (tag >> 8) as u8, *tag as u8]);
    }
    let len = list.len() as u8;
    host.send_list(&[0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, len, 0, 0], &list)
}

#[test]
fn all_groups_and_ports_are_reported_on_each() {
    let unit = two_ported();
    let expected = [0x80, 0x0f, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0x01, 0x0f, 0, 7, 0, 0, 0, 1, 0, 0, 0, 7];
    for (number, tag) in [(1, 1), (2, 7)] {
        let mut host = host_at(&unit, number, tag);
        let data = host.data(&RTPG);
        assert_eq!((&data[..4], &data[4..]), ([0, 0, 0, 24].as_slice(), expected.as_slice()));
        let data = host.data(&RTPG_EXTENDED);
        assert_eq!((&data[..8], &data[8..]), ([0, 0, 0, 28, 0x10, 10, 0, 0].as_slice(), expected.as_slice()));
        assert_eq!(host.data(&[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0]), data_of(&[0, 0, 0, 24, 0x80, 0x0f]));
        assert_eq!(host.failure(&[0xa3, 0x4a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]), (5, 0x2400), "a reserved format");
    }
}

fn data_of(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

/// Requirement M1: the logical unit is the same on every path, the port is that of the path.
#[test]
fn designators_name_the_port_that_was_asked() {
    let unit = two_ported();
    let page = |number, tag| host_at(&unit, number, tag).data(&[0x12, 1, 0x83, 1, 0]);
    let has = |page: &[u8], part: &[u8]| page.windows(part.len()).any(|window| window == part);
    for (number, tag) in [(1, 1), (2, 7)] {
        let page = page(number, tag);
        let mut name = TARGET.as_bytes().to_vec();
        name.extend(format!(",t,0x{tag:04x}\0").bytes());
        assert!(has(&page, &name));
        assert!(has(&page, &[0x51, 0x94, 0, 4, 0, 0, 0, tag as u8]), "relative target port");
        assert!(has(&page, &[0x51, 0x95, 0, 4, 0, 0, 0, tag as u8]), "target port group");
        assert_eq!(page[4..24], [&[1, 3, 0, 16], &unit.params().naa[..]].concat());
    }
    assert_ne!(page(3, 1), page(4, 7));
    let ports = host_at(&unit, 5, 7).data(&[0x12, 1, 0x88, 1, 0]);
    assert_eq!(ports[4..8], [0, 0, 0, 1]);
    let second = 4 + 12 + usize::from(ports[15]);
    assert_eq!(ports[second..second + 4], [0, 0, 0, 7]);
    assert_eq!(ports.len(), second + 12 + usize::from(ports[second + 11]));
}

#[test]
fn what_is_set_is_told_every_other_nexus() {
    let unit = two_ported();
    let (mut one, mut two, mut three) = (host_at(&unit, 1, 1), host_at(&unit, 2, 7), host_at(&unit, 3, 7));
    assert_eq!(set(&mut one, &[(1, 1), (0, 7)]), Plan::Done(Outcome::GOOD));
    assert_eq!(one.send(&RTPG), Plan::Done(Outcome::GOOD), "not the one that set it");
    assert_eq!(one.reply.data[4..6], [0x81, 0x0f]);
    assert_eq!((one.reply.data[9], one.reply.data[21]), (1, 1), "altered by SET TARGET PORT GROUPS");
    assert_eq!(two.failure(&[0x00]), (6, 0x2a06));
    assert_eq!(three.failure(&[0x28]), (6, 0x2a06));
    assert_eq!(set(&mut two, &[(0, 7)]), Plan::Done(Outcome::GOOD), "it is so already");
    assert_eq!(one.send(&RTPG), Plan::Done(Outcome::GOOD));
    assert_eq!(two.send(&[0xa4, 0x0a]), Plan::Done(Outcome::GOOD), "no list");
}

#[test]
fn bad_lists_change_nothing() {
    let unit = two_ported();
    let mut host = host_at(&unit, 1, 1);
    let before = host.data(&RTPG);
    for (groups, pointer) in [
        (&[(2, 1), (4, 7)][..], 8),
        (&[(2, 1), (0x0e, 7)], 8),
        (&[(2, 1), (0x0f, 7)], 8),
        (&[(0x12, 1)], 4),
        (&[(2, 1), (2, 9)], 10),
        (&[(2, 1), (3, 1)], 10),
    ] {
        let Plan::Done(Outcome { status: 2, sense: Some(sense) }) = set(&mut host, groups) else {
            panic!("{groups:?}")
        };
        assert_eq!((sense.key, sense.asc_ascq), (5, 0x2600), "{groups:?}");
        assert_eq!(sense.specific.map(|bytes| bytes[2]), Some(pointer), "{groups:?}");
    }
    for len in [1, 3, 5, 7, 9] {
        let cdb = [0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, len, 0, 0];
        assert_eq!(sense_of(host.send_list(&cdb, &vec![0; usize::from(len)])), (5, 0x1a00), "{len}");
    }
    assert_eq!(host.failure(&[0xa4, 0x0a, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]), (5, 0x2400), "a list of 128 KiB");
    assert_eq!(host.data(&RTPG), before);
}

/// What each state lets through, from the table alone.
#[test]
fn each_state_lets_through_what_the_table_says() {
    const EVERYWHERE: [&str; 7] = [
        "REQUEST SENSE",
        "INQUIRY",
        "REPORT LUNS",
        "REPORT TARGET PORT GROUPS",
        "SET TARGET PORT GROUPS",
        "READ BUFFER",
        "WRITE BUFFER",
    ];
    const IN_STANDBY: [&str; 13] = [
        "LOG SELECT",
        "LOG SENSE",
        "MODE SELECT(6)",
        "MODE SELECT(10)",
        "MODE SENSE(6)",
        "MODE SENSE(10)",
        "RECEIVE DIAGNOSTIC RESULTS",
        "SEND DIAGNOSTIC",
        "READ CAPACITY(10)",
        "READ CAPACITY(16)",
        "REPORT SUPPORTED OPERATION CODES",
        "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
        "REPORT TIMESTAMP",
    ];
    let states = [(2u8, 0x040b), (3, 0x040c)];
    for ((state, code), disc) in states.into_iter().flat_map(|state| [(state, false), (state, true)]) {
        let unit = two_ported_as(if disc { cdrom() } else { params() });
        let mut other = host_at(&unit, 1, 1);
        assert_eq!(set(&mut other, &[(state, 7)]), Plan::Done(Outcome::GOOD));
        let mut host = Host::fresh(&unit, 2);
        for row in TABLE.iter().filter(|row| unit.has(row)) {
            let goes = EVERYWHERE.contains(&row.name)
                || state == 2 && (IN_STANDBY.contains(&row.name) || row.name.starts_with("PERSISTENT RESERVE"));
            host.nexus = LuNexus::new(NexusId(2), &unit).by_port_group(7);
            host.data(&[0x03, 0, 0, 0, 252]);
            let cdb = bare(row);
            let refused = Plan::Done(Outcome::check(Sense::new(sense::key::NOT_READY, code)));
            assert_eq!(host.send(&cdb) != refused, goes, "{} in state {state}", row.name);
        }
        host.nexus = LuNexus::new(NexusId(3), &unit).by_port_group(7);
        let peripheral = if state == 3 { 0x20 } else { 0 } | if disc { 5 } else { 0 };
        assert_eq!(host.data(&[0x12, 0, 0, 0, 96])[0], peripheral, "peripheral qualifier");
        assert_eq!(host.data(&[0x12, 1, 0x83, 0, 96])[0], peripheral);
        // Back again, by way of the port that is not there.
        host.data(&[0x03, 0, 0, 0, 252]);
        assert_eq!(set(&mut host, &[(1, 7)]), Plan::Done(Outcome::GOOD));
        assert!(matches!(host.send(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1]), Plan::Medium(_)));
        assert_eq!(other.failure(&[0x00]), (6, 0x2a06));
    }
}

#[test]
fn a_reservation_of_another_keeps_the_states() {
    let unit = two_ported();
    let (mut one, mut two) = (host_at(&unit, 1, 1), host_at(&unit, 2, 7));
    assert_eq!(one.send(&[0x16]), Plan::Done(Outcome::GOOD));
    assert_eq!(set(&mut two, &[(2, 1)]), Plan::Done(Outcome::RESERVATION_CONFLICT));
}

#[test]
fn the_configuration_changes_states_implicitly() {
    let unit = two_ported();
    let mut host = host_at(&unit, 1, 7);
    let mut groups = unit.params().port_groups.clone();
    unit.set_port_groups(&groups);
    assert!(matches!(host.send(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1]), Plan::Medium(_)), "nothing has changed");
    assert_eq!(set(&mut host, &[(2, 1)]), Plan::Done(Outcome::GOOD));
    groups[1].state = AccessState::Unavailable;
    unit.set_port_groups(&groups);
    assert_eq!(host.failure(&[0x00]), (6, 0x2a06));
    assert_eq!(host.failure(&[0x00]), (2, 0x040c));
    let data = host.data(&RTPG);
    assert_eq!(data[4..6], [0x82, 0x0f], "what a command has set stays");
    assert_eq!((data[9], data[16], data[21]), (1, 3, 2), "an implicit change");
    groups.remove(0);
    unit.set_port_groups(&groups);
    assert_eq!(host.failure(&[0x25]), (6, 0x2a06));
    assert_eq!(host.data(&RTPG).len(), 16);
}
