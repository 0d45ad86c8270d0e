//! Who is to be kept from the medium: what was his does not come later.

use super::peer::{End, Peer, good};
use super::*;
use crate::backend::{FaultAction, FaultRule, OpClass};
use crate::wire::TmFunction;
use std::sync::mpsc;

const SOON: Duration = Duration::from_secs(1);
const DELAY: Duration = Duration::from_millis(1500);
pub(super) const PREEMPT_AND_ABORT: u8 = 5;

fn slow_once() -> FaultPlan {
    FaultPlan::new().rule(FaultRule::new(FaultAction::Delay(DELAY)).on(OpClass::Write).within(0..4096).times(1))
}

/// PERSISTENT RESERVE OUT of a registration that outlives a loss of power; its tag. Reservations: write exclusive.
pub(super) fn reserve_out(peer: &mut Peer, action: u8, key: u64, other_key: u64) -> u32 {
    let list = [&key.to_be_bytes()[..], &other_key.to_be_bytes(), &[0, 0, 0, 0, 1, 0, 0, 0]].concat();
    peer.command(0, &[0x5f, action, 1, 0, 0, 0, 0, 0, 24, 0], 0, &list)
}

/// Two hosts, registered with the keys 1 and 2 in files of `directory`.
pub(super) fn registered(plan: FaultPlan, cores: usize, directory: &std::path::Path) -> (Server, Peer, Peer) {
    registered_at(vec![lun(0), lun(1)], plan, cores, directory)
}

/// The same with other units.
pub(super) fn registered_at(
    luns: Vec<LunSpec>,
    plan: FaultPlan,
    cores: usize,
    directory: &std::path::Path,
) -> (Server, Peer, Peer) {
    let (server, _) =
        Server::of(1, cores, [plan], |places| Snapshot { state: directory.to_owned(), ..snapshot(places, luns) });
    let peers = [1, 2].map(|host| {
        let mut peer = Peer::login(server.at, host, &[]).ready();
        let itt = reserve_out(&mut peer, 0, 0, u64::from(host));
        assert_eq!(peer.end(itt, SOON), good());
        peer
    });
    let [victim, other] = peers;
    (server, victim, other)
}

#[test]
fn a_write_of_a_lost_connection_keeps_its_range_from_the_first_moment() {
    // One core, so that it learns of the loss before it has the other write.
    let server = Server::new(1, slow_once());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut other = Peer::login(server.at, 2, &[]).ready();
    let begin = Instant::now();
    peer.write(0, 0, 8, 0xaa);
    peer.ping();
    drop(peer);
    let later = other.write(0, 4, 8, 0xbb);
    assert_eq!(other.end(later, Duration::from_secs(3)), good());
    assert!(begin.elapsed() >= DELAY);
    let read = other.read(0, 0, 8);
    assert_eq!(other.end(read, SOON).data, [[0xaa; 2048], [0xbb; 2048]].concat());
}

/// A write that is asked for its data; its tags.
fn owed_write(victim: &mut Peer) -> (u32, u32) {
    let write = victim.write_solicited(0, 0, 4096);
    let (_, _, ttt) = victim.r2t(write);
    (write, ttt)
}

/// PREEMPT AND ABORT of key 1, which is not saved until the sender is dropped; its tag.
fn preempt_at_a_slow_store(server: &Server, other: &mut Peer) -> (mpsc::Sender<()>, u32) {
    let (release, held) = mpsc::channel();
    let unit = &server.world.units[1];
    server.world.keeper.submit(&unit.file, Box::new(unit.logical.saved()), move |_| {
        let _ = held.recv();
    });
    let preempt = reserve_out(other, PREEMPT_AND_ABORT, 2, 1);
    // Given to the keeper: one that is aborted before has no effect.
    wait_until(|| server.world.units[0].saves.standing() == 1);
    (release, preempt)
}

/// A configuration without the LUN takes nothing from what was asked of its unit.
#[test]
fn a_preempt_and_abort_aborts_at_a_unit_that_was_removed_meanwhile() {
    for aborted in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (server, mut victim, mut other) = registered(FaultPlan::new(), 1, directory.path());
        let (write, ttt) = owed_write(&mut victim);
        let (release, preempt) = preempt_at_a_slow_store(&server, &mut other);
        if aborted {
            assert_eq!(other.managed(TmFunction::ABORT_TASK, 0, preempt).0, 0);
        }
        server.reconfigure(0, |new| new.targets[0].luns.retain(|lun| lun.number != 0));
        drop(release);
        if !aborted {
            assert_eq!(other.end(preempt, SOON), good());
        }
        // Once this core has nothing there any more, it lets go of the unit: the write is over, too.
        let end = Instant::now() + SOON;
        while server.world.units[0].is_held() {
            assert!(Instant::now() < end, "the write goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
        let data_out = victim.data_out((write, ttt, 0), 0, 0, true, &[0xaa; 4096]);
        victim.raw(&data_out);
        victim.ping();
        assert!(!victim.is_answered(write, Duration::from_millis(100)));
    }
}

#[test]
fn an_aborted_preempt_and_abort_aborts_what_it_was_to() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut victim, mut other) = registered(FaultPlan::new(), 1, directory.path());
    let (write, ttt) = owed_write(&mut victim);
    // It is aborted before it is saved.
    let (release, preempt) = preempt_at_a_slow_store(&server, &mut other);
    assert_eq!(other.managed(TmFunction::ABORT_TASK, 0, preempt).0, 0);
    drop(release);
    // Saved after the first.
    let reserve = reserve_out(&mut other, 1, 2, 0);
    assert_eq!(other.end(reserve, SOON), good());
    let data_out = victim.data_out((write, ttt, 0), 0, 0, true, &[0xaa; 4096]);
    victim.raw(&data_out);
    victim.ping();
    assert!(!victim.is_answered(write, Duration::from_millis(100)), "{:?}", victim.end(write, SOON));
    let read = other.read(0, 0, 8);
    assert_eq!(other.end(read, SOON).data, [0; 4096]);
}

/// WRITE USING TOKEN with the token that stands for zeroes, over all of LUN 0; answered when it has begun.
pub(super) fn zero_in_the_background(peer: &mut Peer) {
    let itt = ask_for_zeroes(peer, 7);
    assert_eq!(peer.end(itt, SOON), good());
}

/// The same by this list identifier; its tag.
pub(super) fn ask_for_zeroes(peer: &mut Peer, id: u8) -> u32 {
    let mut list = vec![0; 536 + 16];
    let length = list.len() as u16;
    list[0..2].copy_from_slice(&(length - 2).to_be_bytes());
    list[2] = 1;
    list[16..20].copy_from_slice(&0xffff_0001_u32.to_be_bytes());
    list[22..24].copy_from_slice(&504_u16.to_be_bytes());
    list[534..536].copy_from_slice(&16_u16.to_be_bytes());
    list[544..548].copy_from_slice(&((UNIT_BYTES / 512) as u32).to_be_bytes());
    let mut cdb = [0; 16];
    (cdb[0], cdb[1], cdb[9]) = (0x83, 0x11, id);
    cdb[10..14].copy_from_slice(&u32::from(length).to_be_bytes());
    peer.command(0, &cdb, 0, &list)
}

/// COPY OPERATION ABORT of that of [`zero_in_the_background`].
pub(super) fn end_zeroing(peer: &mut Peer) {
    let abort = peer.command(0, &[0x83, 0x1c, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[]);
    assert_eq!(peer.end(abort, SOON), good());
}

/// How that goes on: COPY OPERATION STATUS of RECEIVE ROD TOKEN INFORMATION.
pub(super) fn status_of_zeroing(peer: &mut Peer) -> u8 {
    let itt = peer.command(0, &[0x84, 7, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], 256, &[]);
    let End { status, sense, data } = peer.end(itt, SOON);
    assert_eq!((status, sense), (0, (0, 0)));
    data[5] & 0x7f
}

#[test]
fn a_copy_in_the_background_ends_when_its_nexus_is_preempted() {
    const IN_BACKGROUND: u8 = 0x12;
    const TERMINATED: u8 = 0x60;
    let directory = tempfile::tempdir().unwrap();
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_millis(100))).on(OpClass::Clear);
    let (_server, mut victim, mut other) = registered(FaultPlan::new().rule(slow), 2, directory.path());
    zero_in_the_background(&mut victim);
    zero_in_the_background(&mut other);
    assert_eq!(status_of_zeroing(&mut victim), IN_BACKGROUND);
    let preempt = reserve_out(&mut other, PREEMPT_AND_ABORT, 2, 1);
    assert_eq!(other.end(preempt, SOON), good());
    victim.settle(&[0]);
    assert_eq!(status_of_zeroing(&mut victim), TERMINATED);
    assert_eq!(status_of_zeroing(&mut other), IN_BACKGROUND, "who preempts goes on");
}

/// The first blocks of LUN 0.
pub(super) fn first(peer: &mut Peer, blocks: u16) -> Vec<u8> {
    let ([high, low], bytes) = (blocks.to_be_bytes(), u32::from(blocks) * 512);
    let itt = peer.command(0, &[0x28, 0, 0, 0, 0, 0, 0, high, low, 0], bytes, &[]);
    let End { status, data, .. } = peer.end(itt, SOON);
    assert_eq!((status, data.len()), (0, bytes as usize));
    data
}

/// All bytes of LUN 0.
fn all(peer: &mut Peer) -> Vec<u8> {
    first(peer, (UNIT_BYTES / 512) as u16)
}

#[test]
fn no_byte_of_a_copy_in_the_background_comes_after_its_nexus_is_preempted() {
    const PACE: Duration = Duration::from_millis(300);
    let directory = tempfile::tempdir().unwrap();
    let slow = FaultRule::new(FaultAction::Delay(PACE)).on(OpClass::Clear);
    let (_server, mut victim, mut other) = registered(FaultPlan::new().rule(slow), 2, directory.path());
    let [high, low] = ((UNIT_BYTES / 512) as u16).to_be_bytes();
    let itt = other.command(0, &[0x41, 0, 0, 0, 0, 0, 0, high, low, 0], 0, &[0xaa; 512]);
    assert_eq!(other.end(itt, SOON), good());
    zero_in_the_background(&mut victim);
    let end = Instant::now() + SOON;
    while first(&mut other, 1)[0] != 0 {
        assert!(Instant::now() < end, "it has not begun");
    }
    let preempt = reserve_out(&mut other, PREEMPT_AND_ABORT, 2, 1);
    assert_eq!(other.end(preempt, SOON), good());
    let then = all(&mut other);
    assert_eq!((then[0], then.last()), (0, Some(&0xaa)), "some of it is done, and not all");
    // Longer than what was on its way to the medium then would take, and what comes behind that.
    std::thread::sleep(4 * PACE);
    assert!(all(&mut other) == then, "it goes on");
}

#[test]
fn a_copy_in_the_background_that_is_ended_keeps_the_range_of_its_slice_from_the_first_moment() {
    // It is cancelled, its connection is lost, or its session is another one from then on.
    for way in 0..3 {
        let slow = FaultRule::new(FaultAction::Delay(DELAY)).on(OpClass::Clear).times(1);
        // One core, so that it learns of that before it has the write.
        let server = Server::new(1, FaultPlan::new().rule(slow));
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let other = Peer::login(server.at, 2, &[]).ready();
        let begin = Instant::now();
        zero_in_the_background(&mut peer);
        peer.ping();
        let mut later = match way {
            0 => {
                end_zeroing(&mut peer);
                peer
            }
            1 => {
                drop(peer);
                other
            }
            _ => Peer::login(server.at, 1, &[]).ready(),
        };
        let write = later.write(0, 4, 8, 0xbb);
        assert_eq!(later.end(write, Duration::from_secs(3)), good());
        assert!(begin.elapsed() >= DELAY, "{way}");
        assert_eq!(first(&mut later, 12)[2048..], [0xbb; 4096], "{way}");
    }
}
