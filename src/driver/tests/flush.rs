//! What could not be made durable is told to everybody whom it may concern, once.

use super::peer::{End, Peer, good};
use super::{Server, UNIT_BYTES, lun, snapshot, wait_until};
use crate::backend::{FaultAction, FaultPlan, FaultRule, Medium, OpClass};
use crate::fabric::mesh::Message;
use crate::limits::FLUSHED_PER_TURN;
use crate::model::{LunKind, LunSpec, MediumFault, Snapshot, UnitIx};
use crate::unit::notice::Notice;
use crate::unit::syncs::Syncs;
use crate::wire::{TmFunction, TmResponse};
use crate::world::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(2);
/// How long an operation takes during which something else is to happen.
const SLOW: Duration = Duration::from_millis(500);

/// WRITE ERROR.
fn lost() -> End {
    End { status: 2, sense: (3, 0x0c00), data: vec![] }
}

fn flush(peer: &mut Peer) -> u32 {
    peer.command(0, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[])
}

fn flushed(peer: &mut Peer) -> End {
    let itt = flush(peer);
    peer.end(itt, SOON)
}

/// WRITE(10) of a block, with FUA.
fn write_through(peer: &mut Peer, lba: u8) -> End {
    let itt = peer.command(0, &[0x2a, 8, 0, 0, 0, lba, 0, 0, 1, 0], 0, &[1; 512]);
    peer.end(itt, SOON)
}

/// One flush fails, the first after `passed` others.
fn one_fails(action: FaultAction, passed: u64) -> FaultPlan {
    FaultPlan::new().rule(FaultRule::new(action).on(OpClass::Flush).after(passed).times(1))
}

const FAILS: FaultAction = FaultAction::Fail(MediumFault::Write);

/// So many flushes are slow, and the next one does that.
fn slow_then(slow: u64, action: FaultAction) -> FaultPlan {
    let delayed = FaultRule::new(FaultAction::Delay(SLOW)).on(OpClass::Flush).times(slow);
    FaultPlan::new().rule(delayed).rule(FaultRule::new(action).on(OpClass::Flush).times(1))
}

/// MODE SELECT with WCE as said; `sp`: it is saved.
fn select_cache(peer: &mut Peer, wce: bool, sp: bool) -> u32 {
    let mut list = [0; 24];
    list[4..7].copy_from_slice(&[0x08, 0x12, u8::from(wce) * 4]);
    peer.command(0, &[0x15, 0x10 | u8::from(sp), 0, 0, 24, 0], 0, &list)
}

/// WRITE(10) of a block with FUA that is on the medium, of which a flush is told.
fn write_behind_a_flush(peer: &mut Peer, syncs: &Syncs) -> u32 {
    let write = peer.command(0, &[0x2a, 8, 0, 0, 0, 0, 0, 0, 1, 0], 0, &[1; 512]);
    // COMPARE AND WRITE has the block only when nobody writes it.
    let compare = peer.command(0, &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 0, &[2; 1024]);
    assert_eq!(peer.end(compare, SOON).sense, (0xe, 0x1d00));
    assert!(!syncs.has_ended(syncs.begun() - 1), "a flush is under way");
    write
}

/// A server with a file, which has a volatile cache; `direct`: as if a write could be made durable by itself, or not.
fn with_file(cores: usize, plan: FaultPlan, direct: bool) -> (Server, TempDir) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("disk");
    std::fs::File::create(&path).unwrap().set_len(UNIT_BYTES).unwrap();
    let kind = LunKind::File(path);
    let file = LunSpec { kind, ..lun(0) };
    let server = Server::changed(
        cores,
        |places| Snapshot { state: directory.path().join("state"), ..snapshot(places, vec![file, lun(1)]) },
        |world: &mut World| {
            let unit = Arc::get_mut(&mut world.units[0]).unwrap();
            unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), plan));
            assert!(unit.volatile);
            unit.direct = direct;
        },
    );
    (server, directory)
}

#[test]
fn every_host_hears_of_a_failed_flush_once_on_every_core() {
    for cores in 1..=2 {
        let server = Server::new(cores, one_fails(FAILS, 0));
        let mut hosts: Vec<Peer> = (1..4).map(|host| Peer::login(server.at, host, &[]).ready()).collect();
        assert!(hosts.iter_mut().all(|host| flushed(host) == lost()));
        assert!(hosts.iter_mut().all(|host| flushed(host) == good()));
        // Who was never here before has lost nothing.
        let mut late = Peer::login(server.at, 9, &[]).ready();
        assert_eq!(flushed(&mut late), good());
    }
}

#[test]
fn the_failure_of_a_flush_that_nobody_waits_for_is_the_next_ones() {
    let server = Server::new(1, one_fails(FAILS, 0));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let immediate = peer.command(0, &[0x35, 2, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[]);
    assert_eq!(peer.end(immediate, SOON), good());
    assert_eq!((flushed(&mut peer), flushed(&mut peer)), (lost(), good()));
}

#[test]
fn the_failure_of_an_aborted_flush_is_not_forgotten() {
    let server = Server::new(1, one_fails(FaultAction::FailLate(MediumFault::Write, SLOW), 0));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let task = flush(&mut peer);
    let (response, _) = peer.managed(TmFunction::ABORT_TASK, 0, task);
    assert_eq!(TmResponse(response), TmResponse::FUNCTION_COMPLETE);
    // It is still under way, and this one begins behind it.
    assert_eq!((flushed(&mut peer), flushed(&mut peer)), (lost(), good()));
}

#[test]
fn flushes_of_one_medium_come_one_after_the_other_and_one_serves_all_who_wait() {
    for cores in 1..=2 {
        // The first is slow and fails; the second goes well; the third fails.
        let plan = one_fails(FaultAction::FailLate(MediumFault::Write, SLOW), 0)
            .rule(FaultRule::new(FAILS).on(OpClass::Flush).after(1).times(1));
        let server = Server::new(cores, plan);
        let mut one = Peer::login(server.at, 1, &[]).ready();
        let mut two = Peer::login(server.at, 2, &[]).ready();
        let first = flush(&mut one);
        one.ping();
        let beside: Vec<u32> = (0..4).map(|_| flush(&mut two)).collect();
        assert_eq!(one.end(first, SOON), lost());
        // All of them came while the failure was on its way.
        assert!(beside.into_iter().all(|itt| two.end(itt, SOON) == lost()));
        // That was the second.
        assert_eq!((flushed(&mut two), flushed(&mut two)), (lost(), good()));
    }
}

#[test]
fn a_host_that_logs_in_again_is_told_of_what_it_missed() {
    let server = Server::new(1, one_fails(FAILS, 0));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    assert_eq!(peer.logout(0, 0), 0);
    let mut other = Peer::login(server.at, 2, &[]).ready();
    assert_eq!(flushed(&mut other), lost());
    let mut again = Peer::login(server.at, 1, &[]).ready();
    assert_eq!((flushed(&mut again), flushed(&mut again)), (lost(), good()));
}

/// The answer may have been in the connection that broke: the host asks the same once more.
#[test]
fn what_a_host_may_not_have_received_it_is_told_again() {
    for ends_with_logout in [false, true] {
        let server = Server::new(1, one_fails(FAILS, 0));
        let [mut met, mut host] = [1, 2].map(|host| Peer::login(server.at, host, &[]).ready());
        assert_eq!((flushed(&mut met), flushed(&mut met)), (lost(), good()));
        // The second one is not sent by who has heard.
        let flushes = host.together(|host| [flush(host), flush(host)]);
        assert_eq!(flushes.map(|itt| host.end(itt, SOON)), [lost(), lost()]);
        if ends_with_logout {
            // This acknowledges it.
            assert_eq!(host.logout(0, 0), 0);
        }
        drop(host);
        let mut again = Peer::login(server.at, 2, &[]).ready();
        let expected = if ends_with_logout { good() } else { lost() };
        assert_eq!((flushed(&mut again), flushed(&mut again)), (expected, good()));
    }
}

#[test]
fn a_durable_write_that_fails_is_everybodys_failure() {
    let plan = FaultPlan::new().rule(FaultRule::new(FAILS).on(OpClass::Write).within(0..512).times(1));
    let (server, _directory) = with_file(2, plan, true);
    let mut one = Peer::login(server.at, 1, &[]).ready();
    let mut two = Peer::login(server.at, 2, &[]).ready();
    let mut three = Peer::login(server.at, 3, &[]).ready();
    assert_eq!(write_through(&mut one, 0), lost());
    // Another's durable write or flush, of whatever; and the one who knows is not told again.
    assert_eq!((write_through(&mut two, 8), flushed(&mut three)), (lost(), lost()));
    for host in [&mut one, &mut two, &mut three] {
        assert_eq!((flushed(host), write_through(host, 0)), (good(), good()));
    }
}

#[test]
fn without_direct_io_a_flush_stands_behind_a_durable_write() {
    let (server, _directory) = with_file(1, one_fails(FAILS, 1), false);
    let mut one = Peer::login(server.at, 1, &[]).ready();
    assert_eq!(write_through(&mut one, 0), good());
    assert_eq!((write_through(&mut one, 0), write_through(&mut one, 0)), (lost(), good()));
    let plain = one.write(0, 0, 1, 1);
    assert_eq!(one.end(plain, SOON), good());
}

#[test]
fn what_ends_after_the_cache_was_switched_off_is_durable() {
    // The flush of MODE SELECT goes well, those of the writes that end after it do not.
    for cdb in [
        // WRITE, WRITE SAME, COMPARE AND WRITE.
        &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0][..],
        &[0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
    ] {
        let slow = FaultRule::new(FaultAction::Delay(SLOW)).on(OpClass::Write).times(1);
        let (server, _directory) = with_file(1, one_fails(FAILS, 1).rule(slow), true);
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let sense = peer.command(0, &[0x1a, 8, 8, 0, 64, 0], 64, &[]);
        let mut list = peer.end(sense, SOON).data;
        (list[0], list[2]) = (0, 0);
        assert_eq!(list[6] & 4, 4, "WCE");
        list[4] &= 0x3f;
        list[6] &= !4;
        // A block to be compared with what is there, and one to be written.
        let data = if cdb[0] == 0x89 { [[0; 512], [7; 512]].concat() } else { vec![7; 512] };
        let write = peer.command(0, cdb, 0, &data);
        let select = peer.command(0, &[0x15, 0x10, 0, 0, list.len() as u8, 0], 0, &list);
        assert_eq!(peer.end(select, SOON), good());
        assert_eq!(peer.end(write, SOON), lost(), "{cdb:02x?}");
    }
}

#[test]
fn without_direct_io_what_is_verified_is_on_the_medium_first() {
    // VERIFY without and with data, and WRITE AND VERIFY.
    for (cdb, data) in [
        ([0x2f, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[][..]),
        ([0x2f, 2, 0, 0, 0, 0, 0, 0, 1, 0], &[0; 512]),
        ([0x2e, 2, 0, 0, 0, 0, 0, 0, 1, 0], &[7; 512]),
    ] {
        let (server, _directory) = with_file(1, one_fails(FAILS, 0), false);
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        for end in [lost(), good()] {
            let verify = peer.command(0, &cdb, 0, data);
            assert_eq!(peer.end(verify, SOON), end, "{cdb:02x?}");
        }
    }
}

#[test]
fn the_cache_is_off_for_nobody_before_it_is_flushed() {
    let plan = slow_then(1, FaultAction::FailLate(MediumFault::Write, SLOW));
    let (server, _directory) = with_file(1, plan, true);
    let mut one = Peer::login(server.at, 1, &[]).ready();
    let mut two = Peer::login(server.at, 2, &[]).ready();
    let first = select_cache(&mut one, false, false);
    wait_until(|| server.world.units[0].syncs.begun() == 1);
    // What this one has written is perhaps not in the flush that is under way.
    let itt = two.test_unit_ready(0);
    assert_eq!(two.end(itt, SOON).sense, (6, 0x2a01));
    let second = select_cache(&mut two, false, false);
    assert_eq!(one.end(first, SOON), good());
    assert_eq!(two.end(second, SOON), lost());
}

/// Others, who flush nothing when they find it off, may have written before.
#[test]
fn the_cache_is_reported_off_when_it_is_flushed() {
    let wce = |peer: &mut Peer| {
        let sense = peer.command(0, &[0x1a, 8, 8, 0, 64, 0], 64, &[]);
        peer.end(sense, SOON).data[6] & 4 != 0
    };
    let is_told = |peer: &mut Peer| {
        let itt = peer.test_unit_ready(0);
        peer.end(itt, SOON).sense == (6, 0x2a01)
    };
    for cores in 1..=2 {
        let (server, _directory) = with_file(cores, slow_then(1, FAILS), true);
        let mut one = Peer::login(server.at, 1, &[]).ready();
        let mut two = Peer::login(server.at, 2, &[]).ready();
        let select = select_cache(&mut one, false, false);
        wait_until(|| server.world.units[0].syncs.begun() == 1);
        assert!(is_told(&mut two) && wce(&mut two), "writes are durable, but it is not flushed");
        assert_eq!(one.end(select, SOON), good());
        assert!(!wce(&mut one) && is_told(&mut two) && !wce(&mut two));
        let select = select_cache(&mut one, true, false);
        assert_eq!(one.end(select, SOON), good());
        let select = select_cache(&mut one, false, false);
        assert_eq!(one.end(select, SOON), lost());
        assert!(wce(&mut one) && is_told(&mut two) && wce(&mut two), "it was not flushed");
        // That of another, who hears of the failure with it.
        assert_eq!(flushed(&mut two), lost());
        assert!(!wce(&mut one) && is_told(&mut two) && !wce(&mut two));
    }
}

#[test]
fn a_cache_that_was_switched_off_is_flushed_also_if_the_command_was_aborted() {
    let (server, _directory) = with_file(1, slow_then(1, FAILS), true);
    let mut one = Peer::login(server.at, 1, &[]).ready();
    let mut two = Peer::login(server.at, 2, &[]).ready();
    let before = flush(&mut two);
    wait_until(|| server.world.units[0].syncs.begun() == 1);
    let select = select_cache(&mut one, false, false);
    wait_until(|| server.world.units[0].logical.is_write_through());
    assert_eq!(one.managed(TmFunction::ABORT_TASK, 0, select).0, 0);
    assert!(matches!(two.end(before, SOON).status, 0 | 2));
    wait_until(|| server.world.units[0].syncs.has_ended(1));
    let write = one.write(0, 0, 1, 1);
    assert_eq!(one.end(write, SOON), lost());
    let again = select_cache(&mut one, false, false);
    assert_eq!(one.end(again, SOON), good());
}

#[test]
fn a_cache_that_a_reset_switches_off_is_flushed() {
    for function in [TmFunction::LOGICAL_UNIT_RESET, TmFunction::TARGET_WARM_RESET] {
        let (server, _directory) = with_file(1, one_fails(FAILS, 1), true);
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        for (wce, sp) in [(false, true), (true, false)] {
            let select = select_cache(&mut peer, wce, sp);
            assert_eq!(peer.end(select, SOON), good());
        }
        let cached = peer.write(0, 0, 1, 1);
        assert_eq!(peer.end(cached, SOON), good());
        assert_eq!(peer.managed(function, 0, u32::MAX).0, 0);
        let itt = peer.test_unit_ready(0);
        assert_eq!(peer.end(itt, SOON).sense, (6, 0x2903));
        assert!(server.world.units[0].logical.is_write_through());
        let write = peer.write(0, 8, 1, 1);
        assert_eq!(peer.end(write, SOON), lost());
    }
}

#[test]
fn a_flush_that_nobody_waits_for_begins_after_it_was_asked_for() {
    let (server, _directory) = with_file(1, slow_then(1, FAILS), true);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    for _ in 0..2 {
        let immediate = peer.command(0, &[0x35, 2, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[]);
        assert_eq!(peer.end(immediate, SOON), good());
    }
    wait_until(|| server.world.units[0].syncs.has_ended(1));
}

#[test]
fn who_finds_no_space_has_not_heard_what_was_lost() {
    let compare_and_write = [0x89, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    let orwrite = [0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    for (cdb, bytes, direct) in [
        (&[0x2a, 8, 0, 0, 0, 0, 0, 0, 1, 0][..], 512, true),
        (&[0x2a, 8, 0, 0, 0, 0, 0, 0, 1, 0], 512, false),
        (&[0x2e, 0, 0, 0, 0, 0, 0, 0, 1, 0], 512, true),
        (&compare_and_write, 1024, true),
        (&orwrite, 512, true),
    ] {
        let full = FaultRule::new(FaultAction::Fail(MediumFault::OutOfSpace)).on(OpClass::Write).times(1);
        let (server, _directory) = with_file(1, one_fails(FAILS, 0).rule(full), direct);
        let mut one = Peer::login(server.at, 1, &[]).ready();
        let mut two = Peer::login(server.at, 2, &[]).ready();
        assert_eq!(flushed(&mut two), lost());
        let write = one.command(0, cdb, 0, &vec![0; bytes]);
        assert_eq!(one.end(write, SOON).sense, (7, 0x2707), "{cdb:02x?}");
        assert_eq!((flushed(&mut one), flushed(&mut one)), (lost(), good()), "{cdb:02x?}");
    }
}

#[test]
fn for_a_task_that_is_gone_nothing_is_flushed() {
    let (server, _directory) = with_file(1, slow_then(1, FAILS), false);
    let syncs = &server.world.units[0].syncs;
    let mut one = Peer::login(server.at, 1, &[]).ready();
    let mut two = Peer::login(server.at, 2, &[]).ready();
    let first = flush(&mut two);
    wait_until(|| syncs.begun() == 1);
    let write = write_behind_a_flush(&mut one, syncs);
    assert_eq!(one.managed(TmFunction::ABORT_TASK, 0, write).0, 0);
    assert_eq!(two.end(first, SOON), good());
    one.ping();
    assert_eq!(syncs.begun(), 1);
}

#[test]
fn a_flush_of_a_session_that_is_gone_is_nobody_elses() {
    let plan = slow_then(2, FaultAction::FailLate(MediumFault::Write, SLOW));
    let (server, _directory) = with_file(1, plan, false);
    let syncs = &server.world.units[0].syncs;
    let mut two = Peer::login(server.at, 2, &[]).ready();
    let mut one = Peer::login(server.at, 1, &[]).ready();
    let first = flush(&mut two);
    wait_until(|| syncs.begun() == 1);
    let second = flush(&mut two);
    write_behind_a_flush(&mut one, syncs);
    assert_eq!(one.logout(0, 0), 0);
    drop(one);
    // The same tags and task slots, and the seat that has become free.
    let mut again = Peer::login(server.at, 1, &[]).ready();
    assert_eq!(two.end(first, SOON), good());
    let write = write_behind_a_flush(&mut again, syncs);
    assert_eq!(two.end(second, SOON), good());
    assert_eq!(again.end(write, SOON), lost(), "it was written when the second flush had begun");
}

#[test]
fn many_who_waited_for_a_flush_are_told_in_several_turns() {
    const EACH: usize = 120;
    let slow = FaultRule::new(FaultAction::Delay(2 * SLOW)).on(OpClass::Flush).times(1);
    let (mut server, _directory) = with_file(1, FaultPlan::new().rule(slow), false);
    let mut hosts: Vec<Peer> = (1..4).map(|host| Peer::login(server.at, host, &[]).ready()).collect();
    let first = flush(&mut hosts[0]);
    hosts[0].ping();
    // They wait for the one behind it.
    let writes = hosts.iter_mut().map(|host| {
        host.together(|host| [0; EACH].map(|_| host.command(0, &[0x2a, 8, 0, 0, 0, 0, 0, 0, 1, 0], 0, &[1; 512])))
    });
    let writes: Vec<_> = writes.collect();
    assert_eq!(hosts[0].end(first, SOON), good());
    for (host, writes) in hosts.iter_mut().zip(writes) {
        assert!(writes.iter().all(|&itt| host.end(itt, SOON) == good()));
    }
    assert!(3 * EACH > FLUSHED_PER_TURN as usize);
    let (stats, _) = server.end()[0];
    assert_eq!(stats.executor.most_flushed, u64::from(FLUSHED_PER_TURN));
}

/// What is left to another turn is asked for by a message, which may be taken in the very turn that sends it: a bell that
/// others have rung is behind the end of the flush then, in a turn that comes late.
#[test]
fn nobody_who_waited_is_forgotten_where_messages_come_in_every_turn() {
    const EACH: usize = 120;
    const ROUNDS: usize = 40;
    let slow = FaultRule::new(FaultAction::Delay(SLOW / 20)).on(OpClass::Flush);
    let (server, _directory) = with_file(1, FaultPlan::new().rule(slow), false);
    let mut hosts: Vec<Peer> = (1..7).map(|host| Peer::login(server.at, host, &[]).ready()).collect();
    let mut busy = Peer::login(server.at, 9, &[]).ready();
    assert!(hosts.len() * EACH > 2 * FLUSHED_PER_TURN as usize);
    let (is_over, until) = (AtomicBool::new(false), Instant::now() + 10 * SOON);
    let goes_on = || !is_over.load(Ordering::Relaxed) && Instant::now() < until;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while goes_on() {
                // Nobody waits there.
                server.mesh.post(0, Message::Executor(Notice::Flushed { unit: UnitIx::new(1) }));
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        scope.spawn(|| {
            while goes_on() {
                busy.pings(300);
            }
        });
        for _ in 0..ROUNDS {
            let flushes = hosts.iter_mut().map(|host| host.together(|host| [0; EACH].map(|_| flush(host))));
            let flushes: Vec<_> = flushes.collect();
            for (host, flushes) in hosts.iter_mut().zip(flushes) {
                assert!(flushes.iter().all(|&itt| host.end(itt, 2 * SOON) == good()));
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
