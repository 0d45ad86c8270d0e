//! Persistent reservations over several target ports: each I_T nexus is registered by itself, as multipath software expects.

use super::reservations::{
    CONFLICT, GOOD, PREEMPT_AND_ABORT, REGISTER, REGISTER_AND_IGNORE, REGISTER_AND_MOVE, RELEASE, RESERVE, keys, list,
    out, read_in, reads, transport_id, writes,
};
use super::*;
use crate::limits::REGISTRATIONS_PER_INITIATOR;

const ALL_TG_PT: u8 = 4;
const SPEC_I_PT: u8 = 8;
const APTPL: u8 = 1;

/// A unit with two target ports, in portal groups 1 and 2.
fn unit() -> LogicalUnit {
    let group = |tag| PortGroup { tag, relative_port: tag, state: AccessState::ActiveOptimized };
    LogicalUnit::new(LuParams { port_groups: vec![group(1), group(2)], ..params() })
}

/// Host `number` by way of portal group `tag`.
fn path(unit: &LogicalUnit, number: u8, tag: u16) -> Host<'_> {
    let mut host = Host::fresh(unit, number);
    host.nexus = LuNexus::new(NexusId(u64::from(number) * 10 + u64::from(tag)), unit).by_port_group(tag);
    assert_eq!(host.failure(&[0x00]), (0x6, 0x2900));
    host
}

/// READ FULL STATUS: key, holder, ALL_TG_PT, and relative target port identifier of each descriptor.
fn full_status(host: &mut Host) -> Vec<(u64, bool, bool, u16)> {
    let (data, mut at, mut found) = (read_in(host, 3), 8, vec![]);
    while at < data.len() {
        let key = u64::from_be_bytes(data[at..at + 8].try_into().unwrap());
        let port = u16::from_be_bytes([data[at + 18], data[at + 19]]);
        found.push((key, data[at + 12] & 1 != 0, data[at + 12] & 2 != 0, port));
        at += 24 + u32::from_be_bytes(data[at + 20..at + 24].try_into().unwrap()) as usize;
    }
    found
}

#[test]
fn a_path_that_is_not_registered_has_nothing() {
    let unit = unit();
    let (mut a, mut b) = (path(&unit, 1, 1), path(&unit, 1, 2));
    assert_eq!(out(&mut a, REGISTER, 0, &list(0, 7, 0)), GOOD);
    assert_eq!(out(&mut a, RESERVE, 3, &list(7, 0, 0)), GOOD);
    assert_eq!((reads(&mut b), writes(&mut b)), (false, false));
    assert_eq!(out(&mut b, RELEASE, 3, &list(7, 0, 0)), CONFLICT);
    assert_eq!(out(&mut b, REGISTER, 0, &list(7, 8, 0)), CONFLICT, "it has no key yet");
    assert_eq!(out(&mut b, REGISTER, 0, &list(0, 7, 0)), GOOD, "as for the first time");
    assert_eq!(keys(&mut a).1, [7, 7]);
    assert_eq!(out(&mut b, RELEASE, 3, &list(7, 0, 0)), GOOD, "of another's reservation: nothing happens");
    assert!(!writes(&mut b) && writes(&mut a));
    assert_eq!(full_status(&mut a), [(7, true, false, 1), (7, false, false, 2)]);
    assert_eq!(read_in(&mut a, 2)[2] & ALL_TG_PT, ALL_TG_PT, "REPORT CAPABILITIES: ATP_C");
}

/// What mpathpersist does with a device of two paths: registers each, reserves by one, preempts another host.
#[test]
fn a_host_of_two_paths_registers_both() {
    let unit = unit();
    let (mut a, mut b) = (path(&unit, 1, 1), path(&unit, 1, 2));
    let (mut c, mut d) = (path(&unit, 2, 1), path(&unit, 2, 2));
    for (host, key) in [(&mut a, 1), (&mut b, 1), (&mut c, 2), (&mut d, 2)] {
        assert_eq!(out(host, REGISTER_AND_IGNORE, 0, &list(0, key, 0)), GOOD);
    }
    assert_eq!(out(&mut a, RESERVE, 5, &list(1, 0, 0)), GOOD);
    assert!([&mut a, &mut b, &mut c, &mut d].into_iter().all(writes), "registrants only");
    assert_eq!(out(&mut c, PREEMPT_AND_ABORT, 5, &list(2, 1, 0)), GOOD);
    assert_eq!(c.reply.aborts, [it_nexus(1, 1), it_nexus(1, 2)]);
    for lost in [&mut a, &mut b] {
        assert_eq!(lost.failure(&[0x00]), (6, 0x2a05));
        assert!(!writes(lost));
    }
    assert!(writes(&mut c) && writes(&mut d));
    assert_eq!(out(&mut c, RELEASE, 5, &list(2, 0, 0)), GOOD);
    assert_eq!(d.failure(&[0x00]), (6, 0x2a04), "the other path is another nexus");
}

#[test]
fn all_target_ports_at_once() {
    let unit = unit();
    let (mut a, mut b) = (path(&unit, 1, 1), path(&unit, 1, 2));
    assert_eq!(out(&mut a, REGISTER, 0, &list(0, 7, ALL_TG_PT)), GOOD);
    assert_eq!(keys(&mut a).1, [7, 7]);
    assert_eq!(full_status(&mut a), [(7, false, true, 1)], "one descriptor stands for both");
    assert_eq!(out(&mut b, RESERVE, 1, &list(7, 0, 0)), GOOD, "the other path is registered");
    assert_eq!(full_status(&mut a), [(7, false, false, 1), (7, true, false, 2)], "they are not the same any more");
    assert_eq!(out(&mut b, RELEASE, 1, &list(7, 0, 0)), GOOD);
    assert_eq!(out(&mut b, REGISTER, 0, &list(7, 8, 0)), GOOD);
    assert_eq!(full_status(&mut a), [(7, false, false, 1), (8, false, false, 2)]);
    assert_eq!(out(&mut a, REGISTER, 0, &list(7, 9, ALL_TG_PT)), CONFLICT, "the other path has another key");
    assert_eq!(out(&mut a, REGISTER_AND_IGNORE, 0, &list(0, 9, ALL_TG_PT)), GOOD);
    assert_eq!(full_status(&mut b), [(9, false, true, 1)]);
    assert_eq!(out(&mut b, REGISTER, 0, &list(9, 0, ALL_TG_PT)), GOOD);
    assert!(keys(&mut a).1.is_empty());
}

#[test]
fn a_reservation_moves_to_a_nexus() {
    let unit = unit();
    let (mut a, mut d) = (path(&unit, 1, 1), path(&unit, 2, 2));
    assert_eq!(out(&mut a, REGISTER, 0, &list(0, 7, 0)), GOOD);
    assert_eq!(out(&mut a, RESERVE, 1, &list(7, 0, 0)), GOOD);
    assert_eq!(sense_of(out(&mut a, REGISTER_AND_MOVE, 0, &moving(7, 2, 3))), (5, 0x2600), "no such port");
    assert_eq!(out(&mut a, REGISTER_AND_MOVE, 0, &moving(7, 2, 2)), GOOD);
    assert!(writes(&mut d) && !writes(&mut a));
    assert!(!writes(&mut path(&unit, 2, 1)), "the other path of the same host");
}

#[test]
fn an_initiator_port_that_is_only_spoken_of_is_anybodys_until_it_registers() {
    let unit = unit();
    let (mut one, mut two, mut thief) = (path(&unit, 1, 1), path(&unit, 2, 1), path(&unit, 2, 1));
    two.port.proof = Some("user two".into());
    thief.port.proof = Some("user thief".into());
    let id = transport_id(2);
    let named = [&list(0, 7, SPEC_I_PT)[..], &(id.len() as u32).to_be_bytes(), &id].concat();
    assert_eq!(out(&mut one, REGISTER, 0, &named), GOOD);
    assert_eq!(out(&mut one, RESERVE, 5, &list(7, 0, 0)), GOOD);
    assert!(writes(&mut two), "it is registered");
    assert_eq!(out(&mut two, REGISTER, 0, &list(7, 8, 0)), GOOD);
    assert!(!writes(&mut thief), "the name and the ISID are not enough any more");
    assert_eq!(out(&mut thief, REGISTER, 0, &list(8, 9, 0)), CONFLICT);
}

/// Hosts 1 to 3, each registered with its number as key and with a proof of its own.
fn three_that_proved(unit: &LogicalUnit) -> [Host<'_>; 3] {
    [1, 2, 3].map(|number| {
        let mut host = path(unit, number, 1);
        host.port.proof = Some(format!("user {number}").into());
        assert_eq!(out(&mut host, REGISTER, 0, &list(0, u64::from(number), 0)), GOOD);
        host
    })
}

/// The parameter list of REGISTER AND MOVE: to the target port `port` of host `number`, which gets the key 9.
fn moving(key: u64, number: u8, port: u8) -> Vec<u8> {
    let id = transport_id(number);
    let mut list = list(key, 9, 0);
    (list[19], list[23]) = (port, id.len() as u8);
    list.extend(&id);
    list
}

/// What is left of two registrations of one port when the key of one is preempted would let it write.
#[test]
fn a_port_that_has_registered_itself_is_not_registered_once_more_by_who_speaks_of_it() {
    let unit = unit();
    let [mut one, mut two, mut three] = three_that_proved(&unit);
    assert_eq!(out(&mut one, REGISTER, 0, &list(1, 0, 0)), GOOD);
    let ids = [transport_id(2), transport_id(1)].concat();
    let named = [&list(0, 7, SPEC_I_PT | ALL_TG_PT | APTPL)[..], &(ids.len() as u32).to_be_bytes(), &ids].concat();
    assert_eq!(out(&mut one, REGISTER, 0, &named), GOOD);
    assert_eq!(keys(&mut two).1, [2, 3, 7, 7, 7], "host 1 at both ports, and host 2 where it was not");
    unit.restore(unit.saved());
    assert_eq!(keys(&mut two).1, [2, 3, 7, 7, 7], "nor by a restart");
    assert_eq!(out(&mut three, RESERVE, 5, &list(3, 0, 0)), GOOD);
    assert!(writes(&mut two), "a registrant");
    assert_eq!(out(&mut three, PREEMPT_AND_ABORT, 5, &list(3, 2, 0)), GOOD);
    assert_eq!(two.failure(&[0x00]), (6, 0x2a05));
    assert!(!writes(&mut two), "fenced");
}

/// The registration that a port has is the one that holds: another one would hold for nobody.
#[test]
fn a_reservation_moves_to_the_port_that_has_registered_itself() {
    let unit = unit();
    let [mut one, mut two, _] = three_that_proved(&unit);
    let mut other_path = path(&unit, 1, 2);
    other_path.port = one.port.clone();
    assert_eq!(out(&mut other_path, REGISTER, 0, &list(0, 4, 0)), GOOD);
    assert_eq!(out(&mut one, RESERVE, 1, &list(1, 0, 0)), GOOD);
    assert_eq!(sense_of(out(&mut one, REGISTER_AND_MOVE, 0, &moving(1, 1, 1))), (5, 0x2600), "to itself");
    assert_eq!(out(&mut one, REGISTER_AND_MOVE, 0, &moving(1, 1, 2)), GOOD);
    assert!(writes(&mut other_path) && !writes(&mut one));
    assert_eq!(out(&mut other_path, REGISTER_AND_MOVE, 0, &moving(9, 2, 1)), GOOD);
    assert_eq!(keys(&mut two).1, [1, 9, 3, 9], "no more registrations than there were");
    assert!(writes(&mut two) && !writes(&mut other_path));
    assert_eq!(out(&mut two, RELEASE, 1, &list(9, 0, 0)), GOOD);
    assert!(writes(&mut one), "it was released");
}

#[test]
fn a_reservation_does_not_move_to_one_of_several_who_go_by_one_name() {
    let unit = unit();
    let [mut one, mut two, _] = three_that_proved(&unit);
    let mut thief = path(&unit, 2, 1);
    thief.port.proof = Some("user thief".into());
    assert_eq!(out(&mut thief, REGISTER, 0, &list(0, 8, 0)), GOOD);
    assert_eq!(out(&mut one, RESERVE, 1, &list(1, 0, 0)), GOOD);
    assert_eq!(sense_of(out(&mut one, REGISTER_AND_MOVE, 0, &moving(1, 2, 1))), (5, 0x2600), "which of the two?");
    assert!(writes(&mut one));
    // What one says of its own name is of itself.
    let mut second = path(&unit, 2, 2);
    second.port = two.port.clone();
    assert_eq!(out(&mut second, REGISTER, 0, &list(0, 2, 0)), GOOD);
    assert_eq!(out(&mut one, RELEASE, 1, &list(1, 0, 0)), GOOD);
    assert_eq!(out(&mut second, RESERVE, 1, &list(2, 0, 0)), GOOD);
    assert_eq!(out(&mut second, REGISTER_AND_MOVE, 0, &moving(2, 2, 1)), GOOD);
    assert!(writes(&mut two) && !writes(&mut thief));
}

#[test]
fn one_initiator_does_not_fill_the_table() {
    let unit = unit();
    let mut one = path(&unit, 1, 1);
    // Hosts that it only speaks of are at its charge.
    let ids: Vec<u8> = (2..=REGISTRATIONS_PER_INITIATOR as u8).flat_map(transport_id).collect();
    let naming = |ids: &[u8]| [&list(0, 7, SPEC_I_PT)[..], &(ids.len() as u32).to_be_bytes(), ids].concat();
    let one_more = [&ids[..], &transport_id(200)].concat();
    assert_eq!(sense_of(out(&mut one, REGISTER, 0, &naming(&one_more))), (5, 0x5504));
    assert_eq!(out(&mut one, REGISTER, 0, &naming(&ids)), GOOD);
    let mut same = path(&unit, 1, 2);
    assert_eq!(sense_of(out(&mut same, REGISTER, 0, &list(0, 7, 0))), (5, 0x5504), "it has had its share");
    let mut other = path(&unit, 201, 1);
    assert_eq!(out(&mut other, REGISTER, 0, &list(0, 7, 0)), GOOD, "others have room");
}
