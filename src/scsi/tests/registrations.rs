//! Tables full of registrations: what they cost, with the state of the unit locked.

use super::reservations::{GOOD, list, out, read_in, transport_id, transport_id_of};
use super::*;
use crate::limits::{
    REGISTRATIONS, REGISTRATIONS_PER_ADDRESS, REGISTRATIONS_PER_HOST, REGISTRATIONS_PER_INITIATOR,
    REGISTRATIONS_PER_PROOF,
};
use crate::model::Address;
use crate::model::host::tests::at;
use crate::scsi::reservation::{Asker, Held, Registration, ReservationType, Reservations};
use std::time::{Duration, Instant};

/// Target ports of one initiator port.
const PORTS: usize = 16;

fn nexus(number: usize, target_port: usize) -> ItNexus {
    let name = IscsiName::new(&format!("iqn.2001-04.com.example:host{number}")).expect("a name");
    ItNexus { initiator: InitiatorPort::new(name, Isid([0, 2, 0x3d, 0, 0, 1])), target_port: target_port as u16 }
}

/// So many, all with the key 7, for all ports.
fn many(count: usize) -> Reservations {
    let registrations = (0..count).map(|n| Registration::new(nexus(n / PORTS, n % PORTS), 7, true)).collect();
    let held = Held { kind: ReservationType::WriteExclusiveAllRegistrants, holder: nexus(0, 0) };
    Reservations { registrations, held: Some(held), ..Reservations::default() }
}

/// How much longer something takes with eight times as much: the best of some tries, for a machine has moments.
fn growth(run: impl Fn(usize) -> Duration) -> f64 {
    let least = |count| (0..12).map(|_| run(count)).min().expect("some").as_secs_f64();
    least(REGISTRATIONS / 2) / least(REGISTRATIONS / 16)
}

/// Eight times as much takes eight times as long, and not sixty-four.
const IN_PROPORTION: f64 = 20.0;

#[test]
fn the_full_status_takes_time_in_proportion_to_the_registrations() {
    let mut reservations = many(REGISTRATIONS);
    // One of the last initiator port's is another's by now.
    reservations.registrations.last_mut().expect("some").all_target_ports = false;
    let ports: Vec<u16> = (0..PORTS as u16).collect();
    let described = reservations.described(&ports);
    let (of_all, alone): (Vec<_>, Vec<_>) = described.into_iter().partition(|(_, of_all)| *of_all);
    assert_eq!((of_all.len(), alone.len()), (REGISTRATIONS / PORTS - 1, PORTS));
    let grows = growth(|count| {
        let reservations = many(count);
        let begin = Instant::now();
        assert_eq!(reservations.described(&ports).len(), count / PORTS);
        begin.elapsed()
    });
    assert!(grows < IN_PROPORTION, "{grows}");
}

#[test]
fn the_full_status_is_not_made_beyond_the_allocation_length() {
    let unit = LogicalUnit::new(params());
    let mut reservations = Reservations { held: None, ..many(REGISTRATIONS) };
    reservations.registrations.iter_mut().for_each(|each| each.all_target_ports = false);
    unit.state().reservations = reservations;
    let mut host = Host::new(&unit, 1);
    let head = host.data(&[0x5e, 3, 0, 0, 0, 0, 0, 0, 8]);
    assert!(host.reply.data.capacity() < 1024, "{}", host.reply.data.capacity());
    let all = host.data(&[0x5e, 3, 0, 0, 0, 0, 0, 0xff, 0xff]);
    assert_eq!((all.len(), &all[..8]), (0xffff, &head[..]));
    // `iqn.2001-04.com.example:host0,i,0x00023d000001`, with one, two digits, a NUL or more.
    assert_eq!(u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize, REGISTRATIONS * (24 + 4 + 48));
    let few = host.data(&[0x5e, 3, 0, 0, 0, 0, 0, 0, 8 + 24 + 4]);
    assert_eq!(few[..], all[..36], "cut within a descriptor");
}

#[test]
fn more_transport_ids_than_one_initiator_may_register_are_refused() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    assert_eq!(out(&mut two, 0, 0, &list(0, 9, 0)), GOOD);
    // All of them are there already.
    let with_ids = |count: usize| {
        let ids = transport_id(2).repeat(count);
        [&list(0, 7, 8)[..], &(ids.len() as u32).to_be_bytes(), &ids].concat()
    };
    assert_eq!(sense_of(out(&mut one, 0, 0, &with_ids(REGISTRATIONS_PER_INITIATOR + 1))), (5, 0x5504));
    assert_eq!(out(&mut one, 0, 0, &with_ids(REGISTRATIONS_PER_INITIATOR)), GOOD);
    assert_eq!(read_in(&mut one, 0)[8..], [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 7]);
}

/// By that name, from there.
fn enter<'a>(unit: &'a LogicalUnit, number: u8, address: &str) -> Host<'a> {
    let mut host = Host::new(unit, number);
    host.nexus.address = Some(Address::of(at(address)));
    host
}

/// Has as many registered as one initiator may, itself among them.
fn register_all(host: &mut Host<'_>, number: usize) -> Plan {
    let id = |n: usize| transport_id_of(&format!("{number}-{n}"), n as u8);
    let ids: Vec<u8> = (1..REGISTRATIONS_PER_INITIATOR).flat_map(id).collect();
    out(host, 0, 0, &[&list(0, 7, 8)[..], &(ids.len() as u32).to_be_bytes(), &ids].concat())
}

#[test]
fn one_host_has_a_part_of_the_table_whatever_it_calls_itself() {
    let unit = LogicalUnit::new(params());
    let (first, second, elsewhere) = ("2001:db8::1", "2001:db8::2", "192.0.2.2");
    let (of_one, of_all) = (REGISTRATIONS_PER_ADDRESS, REGISTRATIONS_PER_HOST);
    let (of_one, of_all) = (of_one / REGISTRATIONS_PER_INITIATOR, of_all / REGISTRATIONS_PER_INITIATOR);
    for name in 1..=of_one {
        assert_eq!(register_all(&mut enter(&unit, name as u8, first), name), GOOD);
    }
    let mut more = enter(&unit, 50, first);
    assert_eq!(sense_of(out(&mut more, 0, 0, &list(0, 7, 0))), (5, 0x5504), "another name, the same address");
    let mut known = enter(&unit, 1, first);
    assert_eq!(out(&mut known, 0, 0, &list(7, 8, 0)), GOOD, "another key takes no room");
    assert_eq!(out(&mut enter(&unit, 100, elsewhere), 0, 0, &list(0, 7, 0)), GOOD, "another host has its room");
    for name in of_one + 1..=of_all {
        assert_eq!(register_all(&mut enter(&unit, name as u8, second), name), GOOD, "so has one of the same network");
    }
    let mut third = enter(&unit, 51, "2001:db8::3");
    assert_eq!(sense_of(out(&mut third, 0, 0, &list(0, 7, 0))), (5, 0x5504), "but that may be one host");
    assert_eq!(out(&mut known, 0, 0, &list(8, 0, 0)), GOOD);
    assert_eq!(out(&mut more, 0, 0, &list(0, 7, 0)), GOOD, "one place was given back");
    assert_eq!(register_all(&mut enter(&unit, 101, elsewhere), 101), GOOD);
}

/// A restart forgets where registrations came from, and lets nobody have the rest of them.
#[test]
fn one_host_does_not_fill_the_table_by_and_by() {
    let before = LogicalUnit::new(params());
    let of_host = REGISTRATIONS_PER_HOST / REGISTRATIONS_PER_INITIATOR;
    for name in 1..=of_host {
        assert_eq!(register_all(&mut enter(&before, name as u8, &format!("2001:db8::{}", name % 2)), name), GOOD);
    }
    let unit = LogicalUnit::new(params());
    let saved = before.state().reservations.clone();
    let saved = Reservations { aptpl: true, ..saved }.to_save().expect("all of it");
    unit.state().reservations = Reservations::persistent(saved.registrations, None);
    let left = REGISTRATIONS - REGISTRATIONS_PER_HOST;
    for address in ["2001:db8::2", "192.0.2.1"] {
        let part = (0..left).take_while(|n| {
            let mut host = enter(&unit, 50 + (n / 4) as u8, address);
            host.port.isid = Isid([0x80, 0, 0, 0, address.len() as u8, (n % 4) as u8]);
            out(&mut host, 0, 0, &list(0, 7, 0)) == GOOD
        });
        assert_eq!(part.count(), left / 4, "{address}");
    }
    // Who comes again is known, and no more than it was.
    let mut known = enter(&unit, 1, "2001:db8::1");
    assert_eq!(out(&mut known, 0, 0, &list(7, 8, 0)), GOOD);
}

/// Of those that SPEC_I_PT names nobody knows what they can prove: they are their asker's.
#[test]
fn one_account_has_a_part_of_the_table_wherever_it_comes_from() {
    let unit = LogicalUnit::new(params());
    let names = REGISTRATIONS_PER_PROOF / REGISTRATIONS_PER_INITIATOR;
    let with_proof = |number: usize| {
        let mut host = enter(&unit, number as u8, &format!("192.0.2.{number}"));
        host.port.proof = Some("user one".into());
        host
    };
    for name in 1..=names {
        assert_eq!(register_all(&mut with_proof(name), name), GOOD);
    }
    assert_eq!(sense_of(out(&mut with_proof(50), 0, 0, &list(0, 7, 0))), (5, 0x5504));
    assert_eq!(out(&mut enter(&unit, 51, "192.0.2.51"), 0, 0, &list(0, 7, 0)), GOOD);
}

#[test]
fn a_transport_id_that_is_given_twice_is_registered_once() {
    let unit = LogicalUnit::new(params());
    let mut one = Host::new(&unit, 1);
    let ids = [transport_id(2), transport_id(3), transport_id(2)].concat();
    let list = [&list(0, 7, 8)[..], &(ids.len() as u32).to_be_bytes(), &ids].concat();
    assert_eq!(out(&mut one, 0, 0, &list), GOOD);
    assert_eq!(read_in(&mut one, 0).len(), 8 + 3 * 8);
}

#[test]
fn to_register_many_takes_time_in_proportion() {
    let grows = growth(|count| {
        let mut reservations = many(count);
        let also: Vec<_> = (0..count / 5).map(|n| nexus(REGISTRATIONS + n, 0).initiator).collect();
        let asker = Asker { nexus: nexus(REGISTRATIONS - 1, 0), address: None };
        let begin = Instant::now();
        reservations.register(&asker, (0, 5), false, &[], &also).expect("room");
        let took = begin.elapsed();
        assert_eq!(reservations.registrations.len(), count + 1 + also.len());
        took
    });
    assert!(grows < IN_PROPORTION, "{grows}");
}

#[test]
fn to_preempt_many_takes_time_in_proportion() {
    let grows = growth(|count| {
        let mut reservations = many(count);
        let own = nexus(REGISTRATIONS, 0);
        reservations.registrations.push(Registration::new(own.clone(), 5, false));
        let begin = Instant::now();
        let change = reservations.preempt(&own, 5, 7, ReservationType::WriteExclusive).expect("a victim");
        let took = begin.elapsed();
        assert_eq!((change.preempted.len(), reservations.registrations.len()), (count, 1));
        took
    });
    assert!(grows < IN_PROPORTION, "{grows}");
}
