//! Who holds I/O buffers, and who gets some all the same.

use super::peer::{Pdu, Peer, good};
use super::{Server, lun, snapshot};
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::limits::{ARENA_BYTES, OWED_WHILE_OTHERS_WAIT_MS, SLICE_BYTES, TASKS_PER_SESSION};
use crate::model::{Limits, LunSpec};
use crate::wire::{Opcode, TmFunction};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(2);
const KEYS: [&str; 2] = ["MaxBurstLength=262144", "FirstBurstLength=262144"];
const BLOCKS: u16 = (SLICE_BYTES / 512) as u16;

fn cdb(code: [u8; 2], blocks: u16) -> [u8; 10] {
    let [high, low] = blocks.to_be_bytes();
    [code[0], code[1], 0, 0, 0, 0, 0, high, low, 0]
}

/// A READ of a slice: its status.
fn read(peer: &mut Peer, lun: u8, within: Duration) -> u8 {
    let itt = peer.command(lun, &cdb([0x28, 0], BLOCKS), SLICE_BYTES as u32, &[]);
    peer.end(itt, within).status
}

fn all_back(server: &mut Server) {
    super::payload::all_back(server);
}

#[test]
fn what_a_job_has_comes_back_when_its_task_is_aborted() {
    let mut server = Server::with_media(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &KEYS).ready();
    for _ in 0..50 {
        // VERIFY(10), and the abort in the same turn or the next.
        peer.together(|peer| (0..60).map(|_| peer.command(1, &cdb([0x2f, 0], BLOCKS), 0, &[])).count());
        assert_eq!(peer.managed(TmFunction::ABORT_TASK_SET, 1, u32::MAX).0, 0);
    }
    assert_eq!(read(&mut peer, 1, SOON), 0);
    drop(peer);
    all_back(&mut server);
}

/// Sends what is asked for until all of these have ended.
fn play(peer: &mut Peer, lun: u8, mut left: usize, mut early: Vec<Pdu>) {
    let data = vec![0; SLICE_BYTES];
    while left > 0 {
        let pdu = early.pop().unwrap_or_else(|| peer.next(Duration::from_secs(20)));
        if pdu.opcode == Opcode::R2T {
            let (at, len) = (pdu.word(40), pdu.word(44) as usize);
            let bytes = peer.data_out((pdu.itt(), pdu.word(20), lun), 0, at, true, &data[..len]);
            peer.raw(&bytes);
        } else {
            assert_eq!((pdu.opcode, pdu.bhs[3]), (Opcode::SCSI_RESPONSE, 0), "{pdu:?}");
            left -= 1;
        }
    }
}

/// The R2Ts that come until a ping is answered.
fn asked(peer: &mut Peer) -> Vec<Pdu> {
    let ping = peer.ping_only();
    peer.answer(ping, SOON).1
}

#[test]
fn jobs_that_need_two_buffers_do_not_wait_for_one_another() {
    let mut server = Server::with_media(1, FaultPlan::new());
    // Together they want more than there is, and all that is given is given before the first one sends.
    let hosts = (0..10u8).map(|host| {
        let mut peer = Peer::login(server.at, host, &KEYS).ready();
        let count = 120 >> host.min(7);
        // VERIFY(10) with BYTCHK 01b.
        peer.together(|peer| (0..count).map(|_| peer.solicited(1, [0x2f, 2], 0, SLICE_BYTES)).count());
        let early = asked(&mut peer);
        (peer, count, early)
    });
    let hosts: Vec<_> = hosts.collect();
    std::thread::scope(|scope| {
        for (mut peer, count, early) in hosts {
            scope.spawn(move || play(&mut peer, 1, count, early));
        }
    });
    all_back(&mut server);
}

/// Has hosts keep all buffers for data that they do not send, and one more wait for one, until it gets it.
fn keep_all_buffers(server: &Server) -> Vec<Peer> {
    // As many names as it takes to have all that one address is given.
    let mut hogs: Vec<_> = (1..40).map(|host| Peer::login(server.at, host, &KEYS)).collect();
    for (n, hog) in hogs.iter_mut().enumerate() {
        hog.together(|hog| (0..100u32 >> (n / 8)).map(|_| hog.write_solicited(0, 0, SLICE_BYTES)).count());
        hog.ping();
    }
    let mut other = Peer::login(server.at, 200, &KEYS).ready();
    assert_eq!(read(&mut other, 1, Duration::from_millis(2 * OWED_WHILE_OTHERS_WAIT_MS + 2_000)), 0);
    hogs.push(other);
    hogs
}

/// SAM-5 clause 5.3.1: TASK SET FULL says that the command is not accepted, and so that nothing was written.
#[test]
fn a_write_of_which_a_part_was_done_is_not_said_to_have_found_no_room() {
    let mut server = Server::with_media(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 0, &KEYS).ready();
    let data = vec![7; SLICE_BYTES];
    peer.write_solicited(1, 0, 2 * SLICE_BYTES);
    let first = peer.next(SOON);
    let bytes = peer.data_out((first.itt(), first.word(20), 1), 0, 0, true, &data[..first.word(44) as usize]);
    peer.raw(&bytes);
    let mut early = asked(&mut peer);
    let others = keep_all_buffers(&server);
    // What is still owed comes, and then the answer.
    let second = early.pop().unwrap();
    let bytes = peer.data_out((second.itt(), second.word(20), 1), 0, second.word(40), true, &data);
    peer.raw(&bytes);
    let end = peer.feed(1, 7, SOON);
    assert_eq!((end.opcode, end.bhs[3]), (Opcode::SCSI_RESPONSE, 2), "{end:?}");
    drop((others, peer));
    assert!(server.end().iter().all(|(stats, _)| stats.executor.overdue > 0));
}

#[test]
fn data_that_is_owed_keeps_others_waiting_for_seconds_only() {
    let mut server = Server::with_media(1, FaultPlan::new());
    drop(keep_all_buffers(&server));
    let accounts = server.end();
    assert!(accounts.iter().all(|(stats, free_bytes)| stats.executor.overdue > 0 && *free_bytes == ARENA_BYTES));
}

#[test]
fn half_a_command_with_its_data_keeps_others_waiting_for_seconds_only() {
    let mut server = Server::with_media(1, FaultPlan::new());
    // Each has one buffer of what this address may have.
    let mut hogs: Vec<_> =
        (0..ARENA_BYTES / SLICE_BYTES * 3 / 4).map(|n| Peer::login(server.at, n as u8, &KEYS)).collect();
    let data = vec![0; SLICE_BYTES];
    for hog in &mut hogs {
        hog.command_in_part(0, &cdb([0x2a, 0], BLOCKS), &data, SLICE_BYTES / 2);
    }
    let mut other = Peer::login(server.at, 200, &KEYS).ready();
    assert_eq!(read(&mut other, 1, Duration::from_millis(2 * OWED_WHILE_OTHERS_WAIT_MS + 2_000)), 0);
    drop((hogs, other));
    all_back(&mut server);
}

#[test]
fn a_command_whose_data_finds_no_buffer_has_done_nothing() {
    const TASK_SET_FULL: u8 = 0x28;
    let server = Server::with_media(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 200, &KEYS).ready();
    let mut hogs: Vec<_> =
        (0..ARENA_BYTES / SLICE_BYTES * 3 / 4).map(|n| Peer::login(server.at, n as u8, &KEYS)).collect();
    let data = vec![0; SLICE_BYTES];
    for hog in &mut hogs {
        hog.command_in_part(0, &cdb([0x2a, 0], BLOCKS), &data, SLICE_BYTES / 2);
    }
    let mut status_of = |cdb: &[u8]| {
        let itt = peer.command(0, cdb, 0, &data);
        peer.end(itt, SOON).status
    };
    while status_of(&cdb([0x2a, 0], BLOCKS)) != TASK_SET_FULL {}
    // FORMAT UNIT without a parameter list has no use for data.
    assert_eq!(status_of(&[0x04, 0, 0, 0, 0, 0]), TASK_SET_FULL);
    let itt = peer.test_unit_ready(0);
    assert_eq!(peer.end(itt, SOON), good(), "it is not being formatted");
    assert_eq!(peer.managed(TmFunction::LOGICAL_UNIT_RESET, 0, u32::MAX).0, 0);
    let itt = peer.command(0, &cdb([0x2a, 0], BLOCKS), 0, &data);
    assert_eq!(peer.end(itt, SOON).status, TASK_SET_FULL);
    let itt = peer.test_unit_ready(0);
    assert_eq!(peer.end(itt, SOON).sense, (6, 0x2903), "what was not told yet is told");
}

#[test]
fn a_unit_attention_for_which_there_is_no_buffer_is_told_later() {
    const TASK_SET_FULL: u8 = 0x28;
    const REQUEST_SENSE: [u8; 6] = [0x03, 0, 0, 0, 252, 0];
    const REPORT_LUNS: [u8; 12] = [0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0];
    let server = Server::with_media(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 200, &KEYS).ready();
    server.reconfigure(0, |new| _ = new.targets[0].luns.pop());
    let mut hogs: Vec<_> =
        (0..ARENA_BYTES / SLICE_BYTES * 3 / 4).map(|n| Peer::login(server.at, n as u8, &KEYS)).collect();
    let data = vec![0; SLICE_BYTES];
    for hog in &mut hogs {
        hog.command_in_part(0, &cdb([0x2a, 0], BLOCKS), &data, SLICE_BYTES / 2);
    }
    let mut ask = |cdb: &[u8], bytes: u32| {
        let itt = peer.command(0, cdb, bytes, &[]);
        peer.end(itt, SOON)
    };
    // INQUIRY, which forgets nothing.
    while ask(&[0x12, 0, 0, 0, 36, 0], 36).status != TASK_SET_FULL {}
    assert_eq!(ask(&REPORT_LUNS, 16).status, TASK_SET_FULL);
    assert_eq!(ask(&REQUEST_SENSE, 252).status, TASK_SET_FULL);
    drop(hogs);
    let told = std::iter::repeat_with(|| ask(&REQUEST_SENSE, 252)).find(|end| end.status != TASK_SET_FULL).unwrap();
    assert_eq!((told.status, told.data[2] & 15, &told.data[12..14]), (0, 6, &[0x3f, 0x0e][..]));
    let again = ask(&REQUEST_SENSE, 252);
    assert_eq!((again.status, again.data[2] & 15), (0, 0), "once");
}

#[test]
fn what_waits_at_a_limit_leaves_buffers_to_other_units() {
    let plans = [FaultPlan::new(), FaultPlan::new()];
    let one_a_second = Limits { iops: Some(1), bytes_per_s: None };
    let luns = vec![LunSpec { limits: one_a_second, ..lun(0) }, lun(1)];
    let server = Server::of(1, 1, plans, |places| snapshot(places, luns)).0;
    let mut peer = Peer::login(server.at, 1, &KEYS).ready();
    for _ in 0..120 {
        peer.command(0, &cdb([0x2a, 0], BLOCKS), 0, &vec![7; SLICE_BYTES]);
    }
    assert_eq!(read(&mut peer, 1, SOON), 0);
}

#[test]
fn flushes_that_nobody_waits_for_are_done_as_one() {
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_secs(1))).on(OpClass::Flush);
    let mut server = Server::new(1, FaultPlan::new().rule(slow));
    let mut peer = Peer::login(server.at, 1, &KEYS).ready();
    // SYNCHRONIZE CACHE(10) with IMMED.
    let tags: Vec<_> = (0..100).map(|_| peer.command(0, &cdb([0x35, 2], 0), 0, &[])).collect();
    tags.iter().for_each(|&tag| assert_eq!(peer.end(tag, SOON), good()));
    // The first was begun, and one more stands for all that came behind it.
    assert!((1..=2).contains(&server.world.units[0].syncs.begun()));
    drop(peer);
    server.end();
    assert!(server.world.units[0].syncs.begun() <= 3);
}

/// Asks for the same again and again, and takes it back each time.
fn ask_and_take_back(peer: &mut Peer, ask: impl Fn(&mut Peer) -> u32) {
    let mut last = ask(peer);
    for _ in 0..10 {
        peer.together(|peer| {
            for _ in 0..100 {
                peer.manage(TmFunction::ABORT_TASK, 0, last);
                last = ask(peer);
            }
        });
        peer.ping();
    }
}

#[test]
fn what_is_asked_for_and_taken_back_waits_no_more() {
    // For buffers: its share is taken, for data that it does not send.
    let mut server = Server::with_media(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &KEYS).ready();
    peer.together(|peer| {
        (0..ARENA_BYTES / (8 * SLICE_BYTES)).map(|_| peer.write_solicited(0, 0, 4 * SLICE_BYTES)).count()
    });
    ask_and_take_back(&mut peer, |peer| peer.write_solicited(0, 0, SLICE_BYTES));
    drop(peer);
    let most = server.end()[0].0.executor.most_waiting;
    assert!((1..=TASKS_PER_SESSION as u64).contains(&most), "{most} for buffers");
    // For a range, which a COMPARE AND WRITE has.
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_secs(1))).on(OpClass::Read);
    let mut server = Server::with_media(1, FaultPlan::new().rule(slow));
    let mut peer = Peer::login(server.at, 1, &KEYS).ready();
    let compare = peer.command(0, &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 0, &[0; 1024]);
    peer.ping();
    ask_and_take_back(&mut peer, |peer| peer.write(0, 0, 1, 7));
    assert_eq!(peer.end(compare, 2 * SOON), good());
    drop(peer);
    let most = server.end()[0].0.executor.most_waiting;
    assert!((1..=TASKS_PER_SESSION as u64).contains(&most), "{most} for a range");
}

#[test]
fn who_does_not_wait_any_more_hurries_nobody() {
    let mut server = Server::with_media(1, FaultPlan::new());
    // All that this address may have, and nobody of them waits.
    let mut owing: Vec<_> = (1..4).map(|host| Peer::login(server.at, host, &KEYS).ready()).collect();
    for peer in &mut owing {
        peer.together(|peer| {
            (0..ARENA_BYTES / (4 * SLICE_BYTES)).map(|_| peer.write_solicited(0, 0, SLICE_BYTES)).count()
        });
        peer.ping();
    }
    let mut other = Peer::login(server.at, 4, &KEYS).ready();
    let read = other.command(1, &cdb([0x28, 0], BLOCKS), SLICE_BYTES as u32, &[]);
    assert!(!other.is_answered(read, Duration::from_millis(100)), "nothing is left");
    assert_eq!(other.managed(TmFunction::ABORT_TASK, 1, read).0, 0);
    std::thread::sleep(Duration::from_millis(OWED_WHILE_OTHERS_WAIT_MS + 1_000));
    owing.iter_mut().for_each(Peer::ping);
    drop((owing, other));
    let (stats, _) = server.end()[0];
    assert_eq!((stats.executor.most_waiting, stats.executor.overdue), (1, 0));
}
