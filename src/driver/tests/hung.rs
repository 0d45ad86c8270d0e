//! A medium that does not answer keeps nobody waiting, and overtakes nobody.

use super::peer::{End, Peer, good};
use super::{Server, UNIT_BYTES};
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::limits::{ABORT_GRACE_MS, ERRANDS_PER_UNIT, MEDIUM_HANG_MS, SLICE_BYTES, STRAY_WAIT_MS, STRAYS_PER_UNIT};
use crate::wire::{Opcode, TmFunction, TmResponse};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(1);

fn hangs() -> FaultPlan {
    FaultPlan::new().rule(FaultRule::new(FaultAction::Hang))
}

/// Every kind of work, all of it on a medium that never answers. The tag of the write.
fn occupy(peer: &mut Peer) -> u32 {
    peer.read(0, 0, 8);
    let write = peer.write(0, 8, 8, 1);
    // COMPARE AND WRITE, VERIFY, WRITE SAME, UNMAP, SYNCHRONIZE CACHE: these are jobs.
    peer.command(0, &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0], 0, &[0; 1024]);
    peer.command(0, &[0x2f, 0, 0, 0, 0, 32, 0, 0, 8, 0], 0, &[]);
    peer.command(0, &[0x41, 0, 0, 0, 0, 64, 0, 0, 8, 0], 0, &[7; 512]);
    peer.command(0, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[]);
    // Behind the first COMPARE AND WRITE, which has the range.
    peer.command(0, &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0], 0, &[0; 1024]);
    peer.ping();
    write
}

fn expect_nothing(peer: &mut Peer) {
    if let Some(pdu) = peer.try_next(Duration::from_millis(50)) {
        panic!("{pdu:?}");
    }
}

#[test]
fn item_70_functions_are_answered_while_the_medium_hangs() {
    for function in [
        TmFunction::ABORT_TASK,
        TmFunction::ABORT_TASK_SET,
        TmFunction::CLEAR_TASK_SET,
        TmFunction::LOGICAL_UNIT_RESET,
        TmFunction::TARGET_WARM_RESET,
    ] {
        let server = Server::new(2, hangs());
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let mut other = Peer::login(server.at, 2, &[]).ready();
        let write = occupy(&mut peer);
        occupy(&mut other);
        let (response, before) = peer.managed(function, 0, write);
        assert_eq!((TmResponse(response), before.len()), (TmResponse::FUNCTION_COMPLETE, 0), "{function:?}");
        // The session goes on, the other unit at once.
        peer.ping();
        let itt = peer.test_unit_ready(1);
        let attention = peer.end(itt, SOON);
        assert_eq!(attention.status, if function == TmFunction::TARGET_WARM_RESET { 2 } else { 0 });
        let itt = peer.write(1, 0, 8, 9);
        assert_eq!(peer.end(itt, SOON), good());
        assert_eq!((other.logout(0, 0), peer.logout(0, 0)), (0, 0));
    }
}

#[test]
fn item_74_a_cold_reset_closes_all_connections_while_the_medium_hangs() {
    //= RFC 7143 section 11.6.1
    //# For the TARGET COLD RESET function, the target MUST then
    //# close all of its TCP connections to all initiators (terminates all
    //# sessions).
    let server = Server::new(2, hangs());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut other = Peer::login(server.at, 2, &[]).ready();
    occupy(&mut peer);
    occupy(&mut other);
    let (response, _) = peer.managed(TmFunction::TARGET_COLD_RESET, 0, u32::MAX);
    assert_eq!(TmResponse(response), TmResponse::FUNCTION_COMPLETE);
    let begin = Instant::now();
    assert!(peer.try_next(SOON).is_none() && other.try_next(SOON).is_none());
    assert!(begin.elapsed() < SOON, "closed, not silent");
    Peer::login(server.at, 2, &[]).ready();
}

#[test]
fn item_74_a_warm_reset_closes_nothing() {
    let server = Server::new(2, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut other = Peer::login(server.at, 2, &[]).ready();
    assert_eq!(peer.managed(TmFunction::TARGET_WARM_RESET, 0, u32::MAX).0, 0);
    peer.ping();
    other.ping();
}

#[test]
fn rfc_7144_functions_are_answered_while_the_medium_hangs() {
    let keys = ["iSCSIProtocolLevel=2"];
    let server = Server::new(1, hangs());
    let mut peer = Peer::login(server.at, 1, &keys).ready();
    let write = occupy(&mut peer);
    let mut ask = |function| TmResponse(peer.managed(function, 0, write).0);
    assert_eq!(ask(TmFunction::QUERY_TASK), TmResponse::FUNCTION_SUCCEEDED);
    assert_eq!(ask(TmFunction::QUERY_TASK_SET), TmResponse::FUNCTION_SUCCEEDED);
    assert_eq!(ask(TmFunction::QUERY_ASYNCHRONOUS_EVENT), TmResponse::FUNCTION_COMPLETE);
    assert_eq!(ask(TmFunction::I_T_NEXUS_RESET), TmResponse::FUNCTION_COMPLETE);
    assert!(peer.try_next(SOON).is_none());
    let begin = Instant::now();
    Peer::login(server.at, 1, &keys).ready();
    assert!(begin.elapsed() < SOON);
}

#[test]
fn a_session_is_reinstated_while_the_medium_hangs() {
    //= RFC 7143 section 6.3.5
    //# Session reinstatement is the process of an initiator logging in with
    //# an ISID that is possibly active from the target's perspective for
    //# that initiator, thus implicitly logging out the session that
    //# corresponds to the ISID and reinstating a new iSCSI session in its
    let server = Server::new(2, hangs());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    occupy(&mut peer);
    let begin = Instant::now();
    let mut again = Peer::login(server.at, 1, &[]);
    // What was negotiated is in force at once, though the login had to wait: more data than a login may carry.
    let write = again.write(1, 0, 32, 1);
    assert_eq!(again.end(write, SOON).sense, (6, 0x2900));
    let write = again.write(1, 0, 32, 1);
    assert_eq!(again.end(write, SOON), good());
    assert!(begin.elapsed() < SOON);
    again.ping();
    assert!(peer.try_next(SOON).is_none());
}

#[test]
fn of_logins_that_wait_for_the_end_of_a_session_the_last_has_its_place() {
    let server = Server::new(1, hangs());
    let mut first = Peer::login(server.at, 1, &[]).ready();
    occupy(&mut first);
    let [mut second, mut third] = [(); 2].map(|()| Peer::connect(server.at));
    second.begin_login(1, &[]);
    assert!(first.is_closed(SOON), "the second has come, and waits");
    assert_eq!(third.try_login(1, 0, 0, &[]), 0);
    assert_eq!(second.login_status(), 0x0301);
    assert_eq!(server.world.registry.load(), [1], "one session of the initiator port");
    third.ping();
}

#[test]
fn unsolicited_data_of_a_command_that_waits_for_its_turn_is_kept() {
    let server = Server::new(1, FaultPlan::new());
    let keys = ["MaxConnections=2"];
    let mut peer = Peer::login(server.at, 1, &keys).ready();
    let mut second = peer.join(server.at, 1, 1, &keys);
    // In the order of CmdSN, these come after a command that is not there yet.
    second.skip_cmd_sn(1);
    let writes: Vec<u32> = (0..4).map(|n| second.write_unsolicited(1, n * 8, 8, 0xa0 + n)).collect();
    expect_nothing(&mut second);
    let first = peer.write(1, 0, 32, 0xee);
    assert_eq!(peer.end(first, SOON), good());
    for write in writes {
        assert_eq!(second.end(write, SOON), good());
    }
    peer.skip_cmd_sn(4);
    for n in 0..4 {
        let read = peer.read(1, n * 8, 8);
        assert_eq!(peer.end(read, SOON).data, [0xa0 + n; 4096]);
    }
}

#[test]
fn tasks_are_reassigned_while_the_medium_hangs() {
    let keys = ["ErrorRecoveryLevel=2", "MaxConnections=4", "DefaultTime2Retain=20"];
    let server = Server::new(1, hangs());
    let mut peer = Peer::login(server.at, 1, &keys).ready();
    let write = occupy(&mut peer);
    let mut second = peer.join(server.at, 1, 1, &keys);
    drop(peer);
    // The news that the first connection is gone.
    assert_eq!(second.next(SOON).opcode, Opcode::ASYNC_MESSAGE);
    assert_eq!(second.logout(2, 0), 0);
    let (response, _) = second.managed(TmFunction::TASK_REASSIGN, 0, write);
    assert_eq!(TmResponse(response), TmResponse::FUNCTION_COMPLETE);
    expect_nothing(&mut second);
    let (response, _) = second.managed(TmFunction::ABORT_TASK, 0, write);
    assert_eq!(TmResponse(response), TmResponse::FUNCTION_COMPLETE);
}

/// Writes to the first MiB take this long; they are on the medium then.
const DELAY: Duration = Duration::from_millis(1500);

fn slow_once() -> FaultPlan {
    FaultPlan::new().rule(FaultRule::new(FaultAction::Delay(DELAY)).on(OpClass::Write).within(0..4096).times(1))
}

#[test]
fn an_aborted_write_overtakes_nothing() {
    // With one core, and with writer and aborter on cores of their own.
    for cores in 1..=2 {
        let server = Server::new(cores, slow_once());
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let mut other = Peer::login(server.at, 2, &[]).ready();
        let begin = Instant::now();
        let write = peer.write(0, 0, 8, 0xaa);
        assert_eq!(peer.managed(TmFunction::ABORT_TASK, 0, write).0, 0);
        assert!(begin.elapsed() < SOON);
        // Elsewhere nobody waits.
        let beside = other.write(0, 8, 8, 0xcc);
        assert_eq!(other.end(beside, Duration::from_millis(500)), good());
        let read = peer.read(0, 8, 8);
        assert_eq!(peer.end(read, Duration::from_millis(500)).data, [0xcc; 4096]);
        // Here all do: writes, reads, and what needs the range for itself.
        let later = other.write(0, 4, 8, 0xbb);
        let read = peer.read(0, 0, 1);
        let mut halves = vec![0xaa; 512];
        halves.resize(1024, 0xdd);
        let compare = peer.command(0, &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0], 0, &halves);
        expect_nothing(&mut peer);
        expect_nothing(&mut other);
        assert_eq!(other.end(later, Duration::from_secs(3)), good());
        assert!(begin.elapsed() >= DELAY);
        assert_eq!(peer.end(read, SOON).data, [0xaa; 512], "what the medium was told before");
        assert_eq!(peer.end(compare, SOON), good());
        let read = peer.read(0, 1, 8);
        let want = [&[0xdd; 512][..], &[0xaa; 1024], &[0xbb; 2560]].concat();
        assert_eq!(peer.end(read, SOON).data, want);
    }
}

#[test]
fn an_aborted_job_overtakes_nothing() {
    // WRITE SAME of eight blocks, and COMPARE AND WRITE, which holds its range.
    for cdb in [&[0x41, 0, 0, 0, 0, 0, 0, 0, 8, 0][..], &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0][..]] {
        // Each is slow: one that had ended would not be there to abort.
        let server = Server::new(2, slow_once());
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let mut other = Peer::login(server.at, 2, &[]).ready();
        let data = if cdb[0] == 0x41 { vec![0xaa; 512] } else { [[0; 512], [0xaa; 512]].concat() };
        let task = peer.command(0, cdb, 0, &data);
        assert_eq!(peer.managed(TmFunction::ABORT_TASK, 0, task).0, 0);
        let later = other.write(0, 0, 8, 0xbb);
        assert_eq!(other.end(later, Duration::from_secs(3)), good());
        let read = peer.read(0, 0, 8);
        assert_eq!(peer.end(read, SOON).data, [0xbb; 4096]);
    }
}

#[test]
fn who_needs_blocks_of_a_hung_write_is_told_in_time() {
    let plan = FaultPlan::new().rule(FaultRule::new(FaultAction::Hang).on(OpClass::Write).within(0..4096).times(1));
    let mut server = Server::new(2, plan);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut other = Peer::login(server.at, 2, &[]).ready();
    let write = peer.write(0, 0, 8, 0xaa);
    assert_eq!(peer.managed(TmFunction::CLEAR_TASK_SET, 0, write).0, 0);
    let itt = other.test_unit_ready(0);
    assert_eq!(other.end(itt, SOON).sense, (6, 0x2f00));
    let begin = Instant::now();
    let (write, read) = (other.write(0, 0, 1, 0xbb), other.read(0, 7, 2));
    let compare = peer.command(0, &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 0, &[0; 1024]);
    let verify = peer.command(0, &[0x2f, 0, 0, 0, 0, 0, 0, 0, 8, 0], 0, &[]);
    let limit = Duration::from_millis(STRAY_WAIT_MS) + SOON;
    let busy = End { status: 8, ..good() };
    assert_eq!(other.end(write, limit), busy);
    // The core counts in whole milliseconds, from the one that it was in.
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_millis(STRAY_WAIT_MS - 1), "{waited:?}");
    assert_eq!(other.end(read, SOON), busy);
    assert_eq!(peer.end(compare, SOON), busy);
    assert_eq!(peer.end(verify, SOON).sense, (0xb, 0x0801));
    // And whoever asks for the unit's health learns it; the rest of the unit works.
    assert!(begin.elapsed() >= Duration::from_millis(MEDIUM_HANG_MS - ABORT_GRACE_MS));
    std::thread::sleep(Duration::from_millis(500));
    let itt = peer.test_unit_ready(0);
    assert_eq!(peer.end(itt, SOON).sense, (2, 0x0400));
    let itt = peer.test_unit_ready(1);
    assert_eq!(peer.end(itt, SOON), good());
    let itt = peer.write(0, 8, 8, 1);
    assert_eq!(peer.end(itt, SOON), good());
    assert_eq!((peer.logout(0, 0), other.logout(0, 0)), (0, 0));
    assert!(server.stop() < Duration::from_secs(5));
    assert!(server.world.units[0].unfinished.load(std::sync::atomic::Ordering::Relaxed));
}

/// SAM-5 clause 5.3.1: BUSY says that the command is not accepted, and so that nothing was written.
#[test]
fn an_orwrite_of_which_a_part_was_done_is_not_said_to_be_refused() {
    const AT: u64 = 1 << 20;
    let hang = FaultRule::new(FaultAction::Hang).on(OpClass::Write).within(AT..AT + 4096).times(1);
    let server = Server::new(1, FaultPlan::new().rule(hang));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let write = peer.solicited(0, [0x2a, 0], (AT / 512) as u32, 4096);
    let (at, len, ttt) = peer.r2t(write);
    let bytes = peer.data_out((write, ttt, 0), 0, at, true, &vec![0xaa; len as usize]);
    peer.raw(&bytes);
    peer.ping();
    assert_eq!(peer.managed(TmFunction::ABORT_TASK, 0, write).0, 0);
    // Its second slice begins where that write may still reach the medium.
    let mut cdb = [0; 16];
    cdb[0] = 0x8b;
    cdb[2..10].copy_from_slice(&((AT - SLICE_BYTES as u64) / 512).to_be_bytes());
    cdb[10..14].copy_from_slice(&(2 * SLICE_BYTES as u32 / 512).to_be_bytes());
    peer.solicited_by(0, &cdb, 2 * SLICE_BYTES);
    let end = peer.feed(0, 0x0f, Duration::from_millis(STRAY_WAIT_MS) + SOON);
    assert_eq!((end.opcode, end.bhs[3]), (Opcode::SCSI_RESPONSE, 2), "{end:?}");
    let read = peer.command(0, &[0x28, 0, 0, 0, 6, 0, 0, 0, 1, 0], 512, &[]);
    assert_eq!(peer.end(read, SOON).data, [0x0f; 512], "the first slice");
}

#[test]
fn a_unit_with_too_many_strays_takes_no_more() {
    let plan = FaultPlan::new().rule(FaultRule::new(FaultAction::Hang).within(0..UNIT_BYTES / 2));
    let server = Server::new(1, plan);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    for n in 0..=STRAYS_PER_UNIT as u8 {
        peer.write(0, n, 1, n);
    }
    assert_eq!(peer.managed(TmFunction::ABORT_TASK_SET, 0, u32::MAX).0, 0);
    for itt in [peer.write(0, 200, 1, 0), peer.read(0, 200, 1)] {
        assert_eq!(peer.end(itt, SOON).status, 8);
    }
    // SANITIZE (BLOCK ERASE) and FORMAT UNIT that are refused have begun nothing.
    for cdb in [&[0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0x04, 0, 0, 0, 0, 0]] {
        let itt = peer.command(0, cdb, 0, &[]);
        assert_eq!(peer.end(itt, SOON).status, 8);
    }
    let itt = peer.command(0, &[0x1a, 8, 8, 0, 24, 0], 24, &[]);
    assert_eq!(peer.end(itt, SOON).data.len(), 24);
    let itt = peer.command(0, &[0x12, 0, 0, 0, 36, 0], 36, &[]);
    assert_eq!(peer.end(itt, SOON).data.len(), 36);
    let itt = peer.write(1, 0, 8, 1);
    assert_eq!(peer.end(itt, SOON), good());
}

#[test]
fn strays_that_end_leave_nothing() {
    let server = Server::new(1, FaultPlan::new().rule(FaultRule::new(FaultAction::Delay(DELAY)).times(8)));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    for n in 0..4 {
        peer.write(0, 8 * n, 8, n);
        peer.read(0, 100 + 8 * n, 8);
    }
    assert_eq!(peer.managed(TmFunction::LOGICAL_UNIT_RESET, 0, u32::MAX).0, 0);
    let itt = peer.test_unit_ready(0);
    assert_eq!(peer.end(itt, SOON).sense, (6, 0x2903));
    let read = peer.read(0, 24, 8);
    assert_eq!(peer.end(read, Duration::from_secs(3)).data, [3; 4096]);
    let fence = &server.world.units[0].fence;
    assert!(!fence.has_stray(0, u64::MAX));
}

#[test]
fn a_map_that_is_never_told_keeps_nobody_else_waiting() {
    const GET_LBA_STATUS: [u8; 16] = [0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    // Other units are asked meanwhile, and what nobody waits for any more takes no room.
    let server = Server::new(1, FaultPlan::new().rule(FaultRule::new(FaultAction::Hang).on(OpClass::Map)));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut other = Peer::login(server.at, 2, &[]).ready();
    for _ in 0..2 {
        // One may be with the thread, sooner or later, and one more than there is room for is turned away.
        let asked: Vec<u32> = (0..ERRANDS_PER_UNIT + 2).map(|_| peer.command(0, &GET_LBA_STATUS, 64, &[])).collect();
        let turned_away = peer.next(SOON);
        assert!(asked.contains(&turned_away.itt()));
        assert_eq!(turned_away.bhs[3], 8);
        let itt = other.command(1, &GET_LBA_STATUS, 64, &[]);
        assert_eq!(other.end(itt, SOON).data.len(), 24);
        let itt = other.write(0, 0, 8, 1);
        assert_eq!(other.end(itt, SOON), good());
        assert_eq!(peer.managed(TmFunction::ABORT_TASK_SET, 0, u32::MAX).0, 0);
    }
    assert_eq!((peer.logout(0, 0), other.logout(0, 0)), (0, 0));
}
