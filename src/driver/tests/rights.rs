//! What a reload, or a reservation, takes from whom: nothing that has begun goes on at its own pace behind that.

use super::fencing::PREEMPT_AND_ABORT;
use super::peer::{End, Peer, good};
use super::{Server, UNIT_BYTES, credentials, lun, snapshot};
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass, WayIn};
use crate::model::{Group, Limits, LunMapping, Snapshot};
use std::time::{Duration, Instant};

const REGISTER: u8 = 0;
const SOON: Duration = Duration::from_secs(2);
const SERVICE_UNAVAILABLE: u16 = 0x0301;
const ONE: (&str, &str) = ("one", "secret of user one");

/// Of one host; `luns`: what it finds, by unit.
pub(crate) fn group(host: u8, luns: &[u16]) -> Group {
    let name = format!("group{host}");
    Group {
        proof: Group::proof_of(Some(&name), &[]),
        name,
        initiators: vec![format!("iqn.2001-04.com.example:host{host}").parse().unwrap()],
        networks: vec![],
        credentials: None,
        luns: Some(luns.iter().map(|&lun| LunMapping { number: lun, of_target: lun }).collect()),
        limits: Limits::default(),
    }
}

/// Host 1 finds both units, host 2 none.
fn grouped() -> Server {
    let groups = |places: &[_]| {
        let mut snapshot = snapshot(places, vec![lun(0), lun(1)]);
        snapshot.targets[0].groups = vec![group(1, &[0, 1]), group(2, &[])];
        snapshot
    };
    Server::of(1, 1, [] as [FaultPlan; 0], groups).0
}

/// Unit 0 is host 2's from now on.
fn given_away(new: &mut Snapshot) {
    new.targets[0].groups = vec![group(1, &[1]), group(2, &[0])];
}

fn first_block(peer: &mut Peer, byte: u8) {
    let read = peer.read(0, 0, 8);
    assert_eq!(peer.end(read, SOON), End { data: vec![byte; 4096], ..good() });
}

#[test]
fn who_may_not_use_the_target_any_more_writes_nothing_that_it_has_begun() {
    let changes: [fn(&mut Snapshot); 2] =
        [|new| new.targets[0].credentials = credentials(&[ONE]), |new| new.targets[0].groups = vec![group(2, &[0])]];
    for (number, change) in changes.into_iter().enumerate() {
        let server = Server::new(1, FaultPlan::new());
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let write = peer.write_solicited(0, 0, 4096);
        let (_, _, ttt) = peer.r2t(write);
        server.reconfigure(0, |new| {
            change(new);
            new.targets[0].groups_only = number == 1;
        });
        let data = peer.data_out((write, ttt, 0), 0, 0, true, &[0xaa; 4096]);
        peer.try_raw(&data);
        assert!(peer.is_closed(SOON), "change {number}");
        let mut other = Peer::connect(server.at);
        let status = if number == 0 { other.try_chap(2, 0, 0, ONE) } else { other.try_login(2, 0, 0, &[]) };
        assert_eq!(status, 0);
        other.settle(&[0]);
        first_block(&mut other, 0);
    }
}

#[test]
fn who_does_not_find_a_unit_any_more_writes_nothing_to_it_that_it_has_begun() {
    let server = grouped();
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut other = Peer::login(server.at, 2, &[]);
    let write = peer.write_solicited(0, 0, 4096);
    let (_, _, ttt) = peer.r2t(write);
    server.reconfigure(0, given_away);
    let data = peer.data_out((write, ttt, 0), 0, 0, true, &[0xaa; 4096]);
    peer.raw(&data);
    peer.settle(&[1]);
    assert!(!peer.is_answered(write, Duration::from_millis(100)));
    other.settle(&[0]);
    first_block(&mut other, 0);
}

/// A host that begins to prove who it is, because that is wanted from now on, finds nothing of its old session.
#[test]
fn what_a_session_has_on_the_medium_when_its_access_ends_overtakes_nothing() {
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_millis(1500))).on(OpClass::Write).times(1);
    let server = Server::new(1, FaultPlan::new().rule(slow));
    let mut old = Peer::login(server.at, 1, &[]).ready();
    old.write(0, 0, 8, 1);
    old.ping();
    server.reconfigure(0, |new| new.targets[0].credentials = credentials(&[ONE]));
    let mut new = Peer::connect(server.at);
    assert_eq!(new.try_chap(1, 0, 0, ONE), 0);
    let mut new = new.ready();
    let write = new.write(0, 0, 8, 2);
    assert_eq!(new.end(write, 2 * SOON), good());
    std::thread::sleep(Duration::from_millis(1600));
    first_block(&mut new, 2);
}

/// It has not found whom it replaces by what its port shows now.
#[test]
fn a_login_that_waits_while_its_port_becomes_another_is_refused() {
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_millis(600))).on(OpClass::Write).times(1);
    let server = Server::new(1, FaultPlan::new().rule(slow));
    let mut old = Peer::login(server.at, 1, &[]).ready();
    old.write(0, 0, 8, 1);
    old.ping();
    let at = server.at;
    let new = std::thread::spawn(move || Peer::connect(at).try_login(1, 0, 0, &[]));
    while server.world.registry.load() != [2] {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Who is in none of the groups shows that from now on.
    server.reconfigure(0, |new| new.targets[0].groups = vec![group(9, &[0])]);
    assert_eq!(new.join().unwrap(), SERVICE_UNAVAILABLE);
    let mut again = Peer::login(server.at, 1, &[]).ready();
    again.ping();
    assert_eq!(server.world.registry.sessions(), 1);
}

/// PERSISTENT RESERVE OUT at LUN 0.
fn reserve(peer: &mut Peer, action: u8, key: u64, other_key: u64) {
    let list = [&key.to_be_bytes()[..], &other_key.to_be_bytes(), &[0; 8]].concat();
    let itt = peer.command(0, &[0x5f, action, 1, 0, 0, 0, 0, 0, 24, 0], 0, &list);
    assert_eq!(peer.end(itt, SOON), good());
}

/// Reads all of LUN 0 and takes nothing of it.
fn unread(server: &Server, peer: &mut Peer) -> [u32; 2] {
    let [high, low] = ((UNIT_BYTES / 512) as u16).to_be_bytes();
    let cdb = [0x28, 0, 0, 0, 0, 0, 0, high, low, 0];
    let reads = peer.together(|peer| [0; 2].map(|_| peer.command(0, &cdb, UNIT_BYTES as u32, &[])));
    let end = Instant::now() + SOON;
    while !peer.has_more() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(server.world.units[0].is_held());
    reads
}

/// What others write then, and what the peer takes: it is cut off before that.
fn nothing_new_comes(server: &Server, peer: &mut Peer) {
    let unit = server.world.units[0].medium.handle(&WayIn::new(|| ()));
    for at in (0..UNIT_BYTES).step_by(1 << 20) {
        assert!(unit.write_in_place(at, &[0xbb; 1 << 20]));
    }
    let rest = peer.rest();
    assert!((rest.len() as u64) < 2 * UNIT_BYTES);
    assert!(!rest.chunks(64).any(|bytes| bytes == [0xbb; 64]), "of {} bytes", rest.len());
}

#[test]
fn what_is_not_taken_yet_of_memory_is_not_sent_to_who_finds_it_no_more() {
    for is_of_session in [false, true] {
        let server = grouped();
        let mut peer = Peer::login(server.at, 1, &["MaxRecvDataSegmentLength=262144"]).ready();
        unread(&server, &mut peer);
        server.reconfigure(0, |new| {
            given_away(new);
            if is_of_session {
                new.targets[0].groups.remove(0);
                new.targets[0].groups_only = true;
            }
        });
        nothing_new_comes(&server, &mut peer);
    }
}

#[test]
fn what_is_not_taken_yet_of_memory_is_not_sent_to_who_is_preempted() {
    let (server, _) = Server::of(1, 1, [] as [FaultPlan; 0], |places| snapshot(places, vec![lun(0), lun(1)]));
    let [mut victim, mut other] = [1, 2].map(|host| {
        let mut peer = Peer::login(server.at, host, &[]).ready();
        reserve(&mut peer, REGISTER, 0, u64::from(host));
        peer
    });
    unread(&server, &mut victim);
    reserve(&mut other, PREEMPT_AND_ABORT, 2, 1);
    nothing_new_comes(&server, &mut victim);
}
