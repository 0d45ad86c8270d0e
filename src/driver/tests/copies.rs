//! Third-party copies that an operation keeps out whose task is gone, and those that are to be no more.

use super::fencing::{
    ask_for_zeroes, end_zeroing, first, registered, registered_at, reserve_out, status_of_zeroing,
    zero_in_the_background,
};
use super::peer::{End, Peer, good};
use super::*;
use crate::backend::{FaultAction, FaultRule, OpClass};
use crate::limits::{STRAY_WAIT_MS, STRAYS_PER_UNIT};
use crate::model::Limits;
use crate::wire::TmFunction;

const SOON: Duration = Duration::from_secs(1);
const IN_BACKGROUND: u8 = 0x12;
const COMPLETED_WITH_ERRORS: u8 = 2;
const RESERVE: u8 = 1;
const PREEMPT_AND_ABORT: u8 = 5;

/// A host whose write to the first blocks of LUN 0 was aborted and does not end before its time.
fn kept_out(action: FaultAction) -> (Server, Peer) {
    let rule = FaultRule::new(action).on(OpClass::Write).within(0..4096).times(1);
    let server = Server::new(1, FaultPlan::new().rule(rule));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let write = peer.write(0, 0, 8, 0xaa);
    assert_eq!(peer.managed(TmFunction::ABORT_TASK, 0, write).0, 0);
    (server, peer)
}

/// EXTENDED COPY of the first eight blocks of LUN 1, which it is sent to, to the same of a unit; its tag.
fn copy_from_lun_1(peer: &mut Peer, naa: [u8; 16]) -> u32 {
    copy_at_lun_1(peer, naa, true, 8)
}

/// EXTENDED COPY of the first blocks of LUN 1, which it is sent to, to the same of a unit, or the other way; its tag.
fn copy_at_lun_1(peer: &mut Peer, naa: [u8; 16], from_it: bool, blocks: u16) -> u32 {
    let (mut header, mut unit, mut segment) = ([0; 16], [0; 32], [0; 28]);
    // Without a list identifier.
    (header[1], header[3], header[11]) = (0x18, 32, 28);
    (unit[0], unit[4], unit[5], unit[7]) = (0xe4, 1, 3, 16);
    unit[8..24].copy_from_slice(&naa);
    (segment[0], segment[3]) = (2, 24);
    segment[10..12].copy_from_slice(&blocks.to_be_bytes());
    let at = if from_it { 4 } else { 6 };
    segment[at..at + 2].fill(0xff);
    let list = [&header[..], &unit, &segment].concat();
    peer.command(1, &[0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 76, 0, 0], 0, &list)
}

/// How the copy in the background has ended.
fn end_of_zeroing(peer: &mut Peer, within: Duration) -> u8 {
    let until = Instant::now() + within;
    loop {
        match status_of_zeroing(peer) {
            IN_BACKGROUND if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            status => return status,
        }
    }
}

#[test]
fn who_waits_for_a_copy_is_told_in_time_and_what_nobody_waits_for_is_done_later() {
    const DELAY: Duration = Duration::from_millis(STRAY_WAIT_MS + 1_500);
    let (server, mut peer) = kept_out(FaultAction::Delay(DELAY));
    zero_in_the_background(&mut peer);
    let copy = copy_from_lun_1(&mut peer, server.world.units[0].logical.params().naa);
    assert_eq!(peer.end(copy, Duration::from_millis(STRAY_WAIT_MS) + SOON).sense, (0xb, 0x0801));
    assert_eq!(status_of_zeroing(&mut peer), IN_BACKGROUND);
    const COMPLETED: u8 = 1;
    assert_eq!(end_of_zeroing(&mut peer, DELAY), COMPLETED);
    let read = peer.read(0, 0, 8);
    assert_eq!(peer.end(read, SOON).data, [0; 4096]);
}

#[test]
fn a_copy_that_is_kept_out_for_good_can_be_ended() {
    let (_server, mut peer) = kept_out(FaultAction::Hang);
    zero_in_the_background(&mut peer);
    end_zeroing(&mut peer);
    assert_eq!(end_of_zeroing(&mut peer, SOON), COMPLETED_WITH_ERRORS);
}

/// LUN 0 takes its time for every operation.
fn slow() -> FaultPlan {
    const PACE: Duration = Duration::from_millis(150);
    let slow = |class| FaultRule::new(FaultAction::Delay(PACE)).on(class);
    FaultPlan::new().rule(slow(OpClass::Read)).rule(slow(OpClass::Write))
}

/// A copy of all of LUN 1 to LUN 0 or the other way, sent to LUN 1, that has begun and takes long; its tag.
fn long_copy(server: &Server, peer: &mut Peer, from_lun_1: bool) -> u32 {
    let naa = server.world.units[0].logical.params().naa;
    let copy = copy_at_lun_1(peer, naa, from_lun_1, (UNIT_BYTES / 512) as u16);
    assert!(!peer.is_answered(copy, Duration::from_millis(200)));
    copy
}

#[test]
fn a_copy_ends_when_its_nexus_is_preempted_at_the_source() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut victim, mut other) = registered(slow(), 2, directory.path());
    let copy = long_copy(&server, &mut victim, false);
    let preempt = reserve_out(&mut other, PREEMPT_AND_ABORT, 2, 1);
    assert_eq!(other.end(preempt, SOON), good());
    assert_eq!(victim.end(copy, SOON).sense, (0xa, 0));
}

#[test]
fn a_copy_ends_when_a_reload_takes_its_source_or_destination() {
    for from_lun_1 in [false, true] {
        let server = Server::new(1, slow());
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let copy = long_copy(&server, &mut peer, from_lun_1);
        server.reconfigure(0, |new| new.targets[0].luns.retain(|lun| lun.number != 0));
        assert_eq!(peer.end(copy, SOON).sense, (0xa, 0), "{from_lun_1}");
        let end = Instant::now() + SOON;
        while server.world.units[0].is_held() {
            assert!(Instant::now() < end, "something goes on there");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_copy_goes_on_when_a_reload_takes_another_unit() {
    let server = Server::with(1, slow(), vec![lun(0), lun(1), lun(2)]);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let copy = long_copy(&server, &mut peer, true);
    server.reconfigure(0, |new| new.targets[0].luns.retain(|lun| lun.number != 2));
    assert!(!peer.is_answered(copy, Duration::from_millis(500)));
}

#[test]
fn a_copy_ends_when_its_nexus_may_write_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut reader, mut other) = registered(slow(), 2, directory.path());
    let copy = long_copy(&server, &mut reader, true);
    let reserve = reserve_out(&mut other, RESERVE, 2, 0);
    assert_eq!(other.end(reserve, SOON), good());
    let End { status, sense, .. } = reader.end(copy, SOON);
    assert_eq!((status, sense), (2, (0xa, 0x0d01)));
    // Write exclusive: what reads there goes on.
    let copy = long_copy(&server, &mut reader, false);
    assert!(!reader.is_answered(copy, Duration::from_millis(300)));
}

#[test]
fn a_copy_from_a_unit_without_a_limit_pays_once() {
    // A MiB, for which two seconds are to be waited.
    let limits = Limits { iops: None, bytes_per_s: Some(512 << 10) };
    let server = Server::with(1, FaultPlan::new(), vec![LunSpec { limits, ..lun(0) }, lun(1)]);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let copy = copy_at_lun_1(&mut peer, server.world.units[0].logical.params().naa, true, 2048);
    assert_eq!(peer.end(copy, Duration::from_secs(3)), good());
}

fn reserve(peer: &mut Peer) {
    let itt = reserve_out(peer, RESERVE, 2, 0);
    assert_eq!(peer.end(itt, SOON), good());
}

/// MODE SELECT with SWP.
fn protect(peer: &mut Peer) {
    let sense = peer.command(0, &[0x1a, 8, 0x0a, 0, 64, 0], 64, &[]);
    let mut list = peer.end(sense, SOON).data;
    (list[0], list[2]) = (0, 0);
    list[4] &= 0x3f;
    list[8] |= 8;
    let select = peer.command(0, &[0x15, 0x10, 0, 0, list.len() as u8, 0], 0, &list);
    assert_eq!(peer.end(select, SOON), good());
}

#[test]
fn a_copy_that_waits_for_a_limit_writes_nothing_that_it_may_not_write_any_more() {
    /// The first block of each MiB.
    const MARKS: std::ops::Range<u8> = 0..(UNIT_BYTES >> 20) as u8;
    let at = |head: u8, mark: u8| [head, 0, 0, 0, 8 * mark, 0, 0, 0, 1, 0];
    for forbid in [reserve, protect] {
        let directory = tempfile::tempdir().unwrap();
        // What is zeroed at a time is paid for in a second.
        let limits = Limits { iops: None, bytes_per_s: Some(1 << 20) };
        let luns = vec![LunSpec { limits, thin: false, ..lun(0) }, lun(1)];
        let (_server, mut writer, mut other) = registered_at(luns, FaultPlan::new(), 1, directory.path());
        for mark in MARKS {
            let itt = other.command(0, &at(0x2a, mark), 0, &[0xaa; 512]);
            assert_eq!(other.end(itt, 5 * SOON), good());
        }
        let marks = |other: &mut Peer| -> Vec<Vec<u8>> {
            let mark = |mark| {
                let itt = other.command(0, &at(0x28, mark), 512, &[]);
                other.end(itt, 5 * SOON).data
            };
            MARKS.map(mark).collect()
        };
        zero_in_the_background(&mut writer);
        forbid(&mut other);
        let then = marks(&mut other);
        writer.settle(&[0]);
        assert_eq!(end_of_zeroing(&mut writer, 5 * SOON), COMPLETED_WITH_ERRORS);
        assert!(marks(&mut other) == then, "it goes on");
    }
}

#[test]
fn a_copy_that_is_kept_out_writes_nothing_that_it_may_not_write_any_more() {
    let slow = FaultRule::new(FaultAction::Delay(SOON)).on(OpClass::Write).within(0..4096).times(1);
    let directory = tempfile::tempdir().unwrap();
    let (_server, mut writer, mut other) = registered(FaultPlan::new().rule(slow), 1, directory.path());
    let write = writer.write(0, 0, 8, 0xaa);
    assert_eq!(writer.managed(TmFunction::ABORT_TASK, 0, write).0, 0);
    zero_in_the_background(&mut writer);
    writer.ping();
    reserve(&mut other);
    let beside = other.write(0, 8, 8, 0xbb);
    assert_eq!(other.end(beside, 5 * SOON), good());
    assert_eq!(end_of_zeroing(&mut writer, 5 * SOON), COMPLETED_WITH_ERRORS);
    assert_eq!(first(&mut other, 16), [[0xaa; 4096], [0xbb; 4096]].concat());
}

#[test]
fn a_copy_that_is_kept_out_writes_nothing_onto_what_is_erased() {
    let (server, mut peer) = kept_out(FaultAction::Delay(SOON));
    let write = peer.write(1, 0, 8, 0xcc);
    assert_eq!(peer.end(write, 5 * SOON), good());
    let copy = copy_from_lun_1(&mut peer, server.world.units[0].logical.params().naa);
    // It has read, and is to write.
    (0..8).for_each(|_| peer.ping());
    // SANITIZE, BLOCK ERASE.
    let erase = peer.command(0, &[0x48, 2, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[]);
    assert_eq!(peer.end(erase, 5 * SOON), good());
    assert_eq!(peer.end(copy, 5 * SOON).sense, (0xa, 0));
    assert_eq!(first(&mut peer, 8), [0; 4096]);
}

#[test]
fn a_copy_that_waits_for_a_flush_that_hangs_can_be_ended() {
    let hangs = FaultRule::new(FaultAction::Hang).on(OpClass::Flush);
    let server = Server::new(1, FaultPlan::new().rule(hangs));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    zero_in_the_background(&mut peer);
    // All is zeroed.
    let syncs = &server.world.units[0].syncs;
    wait_until(|| syncs.begun() > 0);
    end_zeroing(&mut peer);
    assert_eq!(end_of_zeroing(&mut peer, 5 * SOON), COMPLETED_WITH_ERRORS);
}

#[test]
fn copies_that_a_medium_keeps_and_nobody_waits_for_are_bounded() {
    for resets in [false, true] {
        let hangs = FaultRule::new(FaultAction::Hang).on(OpClass::Clear);
        let server = Server::new(1, FaultPlan::new().rule(hangs));
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let mut begun = 0;
        for _ in 0..4 {
            let asked: Vec<_> = (0..STRAYS_PER_UNIT as u8).map(|id| ask_for_zeroes(&mut peer, id)).collect();
            let is_begun = |itt: &&u32| peer.end(**itt, 5 * SOON).status == 0;
            begun += asked.iter().filter(is_begun).count();
            // One at least in a turn is given to the medium.
            (0..2 * STRAYS_PER_UNIT).for_each(|_| peer.ping());
            if resets {
                assert_eq!(peer.managed(TmFunction::LOGICAL_UNIT_RESET, 0, 0).0, 0);
                peer.settle(&[0]);
            } else {
                assert_eq!(peer.logout(0, 0), 0);
                peer = Peer::login(server.at, 1, &[]).ready();
            }
        }
        assert_eq!(begun, STRAYS_PER_UNIT);
        // They count among what has outlived its task.
        let mut is_busy = || {
            let read = peer.read(0, 0, 1);
            peer.end(read, 5 * SOON).status == 8
        };
        let end = Instant::now() + 5 * SOON;
        while !is_busy() {
            assert!(Instant::now() < end);
        }
    }
}

#[test]
fn a_copy_that_outlives_its_task_counts_where_it_hangs() {
    let hangs = FaultRule::new(FaultAction::Hang).on(OpClass::Write);
    let server = Server::new(1, FaultPlan::new().rule(hangs));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let naa = server.world.units[0].logical.params().naa;
    for _ in 0..STRAYS_PER_UNIT {
        copy_from_lun_1(&mut peer, naa);
        // It has read, and writes.
        (0..8).for_each(|_| peer.ping());
    }
    assert_eq!(peer.managed(TmFunction::ABORT_TASK_SET, 1, u32::MAX).0, 0);
    let [there, elsewhere, copy] = [peer.read(0, 200, 1), peer.write(1, 0, 8, 1), copy_from_lun_1(&mut peer, naa)];
    assert_eq!(peer.end(there, 5 * SOON).status, 8);
    assert_eq!(peer.end(elsewhere, 5 * SOON), good());
    assert_eq!(peer.end(copy, 5 * SOON).status, 8);
}

#[test]
fn a_preempt_and_abort_waits_for_a_copy_that_was_aborted_before() {
    const PACE: Duration = Duration::from_millis(200);
    let slow = FaultRule::new(FaultAction::Delay(PACE)).on(OpClass::Write).times(1);
    let directory = tempfile::tempdir().unwrap();
    let (server, mut victim, mut other) = registered(FaultPlan::new().rule(slow), 1, directory.path());
    let begin = Instant::now();
    let copy = copy_from_lun_1(&mut victim, server.world.units[0].logical.params().naa);
    // It has read, and writes.
    (0..8).for_each(|_| victim.ping());
    victim.manage(TmFunction::ABORT_TASK, 1, copy);
    victim.ping();
    let preempt = reserve_out(&mut other, PREEMPT_AND_ABORT, 2, 1);
    assert_eq!(other.end(preempt, 5 * SOON), good());
    assert!(begin.elapsed() >= PACE);
}
