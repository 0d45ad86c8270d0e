//! Limits on a server in use: what waits can be aborted, is no medium that hangs, and goes on when its limit goes.

use super::super::reload::Reloader;
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::driver::tests::peer::{Peer, good};
use crate::driver::tests::{Server, lun, snapshot};
use crate::fabric::mesh::Message;
use crate::limits::{ABORT_GRACE_MS, MEDIUM_HANG_MS, SHUTDOWN_LOGOUT_MS};
use crate::model::{Limits, LunSpec, MediumFault};
use crate::wire::TmFunction;
use crate::world::World;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(1);
/// Before an abort would have given up to wait for a medium.
const AT_ONCE: Duration = Duration::from_millis(ABORT_GRACE_MS - 50);
const ONE_A_SECOND: Limits = Limits { iops: Some(1), bytes_per_s: None };
const SLOW: Limits = Limits { iops: None, bytes_per_s: Some(64 << 10) };

/// LUN 0 with limits, and LUN 1 without.
fn luns(limits: Limits) -> Vec<LunSpec> {
    vec![LunSpec { limits, ..lun(0) }, lun(1)]
}

fn server(cores: usize, limits: Limits) -> Server {
    Server::with(cores, FaultPlan::new(), luns(limits))
}

fn reloader(server: &Server) -> Reloader {
    Reloader::new(World::clone(&server.world), server.mesh.clone())
}

/// Writes of one block each, of which all but the first few have to wait.
fn writes(peer: &mut Peer, count: u8) -> Vec<u32> {
    let tags = (0..count).map(|lba| peer.write(0, lba, 1, 1 + lba)).collect();
    peer.ping();
    tags
}

fn all_end_well(peer: &mut Peer, tags: &[u32], within: Duration) {
    let begin = Instant::now();
    for &tag in tags {
        assert_eq!(peer.end(tag, within.saturating_sub(begin.elapsed())), good());
    }
}

#[test]
fn what_waits_is_aborted_at_once() {
    for (limits, cdb, read_bytes, data) in [
        // READ(10), a command and a big one that has begun; WRITE SAME(10), a job.
        (ONE_A_SECOND, [0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0], 4096, vec![]),
        (SLOW, [0x28, 0, 0, 0, 0, 0, 0, 16, 0, 0], 2 << 20, vec![]),
        (SLOW, [0x41, 0, 0, 0, 0, 0, 0, 64, 0, 0], 0, vec![7; 512]),
    ] {
        let server = server(1, limits);
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let tags: Vec<_> = (0..4).map(|_| peer.command(0, &cdb, read_bytes, &data)).collect();
        let begin = Instant::now();
        assert_eq!(peer.managed(TmFunction::ABORT_TASK, 0, tags[3]).0, 0);
        assert_eq!(peer.managed(TmFunction::ABORT_TASK_SET, 0, u32::MAX).0, 0);
        assert!(begin.elapsed() < AT_ONCE, "{cdb:?}: {:?}", begin.elapsed());
        let tags = [peer.write(1, 0, 8, 9), peer.test_unit_ready(0)];
        all_end_well(&mut peer, &tags, SOON);
    }
}

#[test]
fn what_looks_for_a_bad_block_does_not_wait_with_its_buffer() {
    // VERIFY of a slice, without data and with that of one block.
    for (cdb, data) in [([0x2f, 0, 0, 0, 0, 0, 0, 2, 0, 0], &[][..]), ([0x2f, 6, 0, 0, 0, 0, 0, 2, 0, 0], &[0; 512])] {
        let bad = FaultRule::new(FaultAction::Fail(MediumFault::Read)).on(OpClass::Read).within(100 * 512..101 * 512);
        let server = Server::with(1, FaultPlan::new().rule(bad), luns(SLOW));
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let verify = peer.command(0, &cdb, 0, data);
        // The next read alone would have to wait for longer.
        assert_eq!(peer.end(verify, 3 * SOON).sense, (3, 0x1100));
    }
}

#[test]
fn what_waits_long_is_no_medium_that_hangs() {
    let mut server = server(1, ONE_A_SECOND);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let tags = writes(&mut peer, 12);
    all_end_well(&mut peer, &tags[..8], Duration::from_millis(MEDIUM_HANG_MS + 4_000));
    assert_eq!(server.world.units[0].hung.load(Ordering::Relaxed), 0);
    let ready = peer.test_unit_ready(0);
    all_end_well(&mut peer, &[ready], SOON);
    assert_eq!(peer.logout(0, 0), 0);
    assert!(server.stop() < SOON, "nothing is under way");
}

#[test]
fn a_session_that_ends_takes_with_it_what_waits() {
    let server = server(1, Limits { iops: Some(2), bytes_per_s: None });
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    writes(&mut peer, 100);
    drop(peer);
    let mut other = Peer::login(server.at, 1, &[]).ready();
    let tags: Vec<_> = (0..2).map(|lba| other.read(0, lba, 1)).collect();
    for tag in tags {
        assert_eq!(other.end(tag, Duration::from_secs(2)).status, 0);
    }
}

#[test]
fn other_limits_are_in_force_from_the_reload_on() {
    let server = server(2, ONE_A_SECOND);
    let mut reloader = reloader(&server);
    let mut peers = [1, 2, 3].map(|host| Peer::login(server.at, host, &[]).ready());
    for round in [Limits::default(), Limits { iops: Some(100_000), bytes_per_s: None }] {
        let waiting = peers.each_mut().map(|peer| writes(peer, 20));
        reloader.reload(snapshot(&[server.at], luns(round)));
        for (peer, tags) in peers.iter_mut().zip(waiting) {
            all_end_well(peer, &tags, SOON);
        }
        reloader.reload(snapshot(&[server.at], luns(ONE_A_SECOND)));
        peers.iter_mut().for_each(|peer| peer.settle(&[0, 1]));
    }
    // LUN 1 gets a limit in the place of LUN 0.
    reloader.reload(snapshot(&[server.at], vec![lun(0), LunSpec { limits: ONE_A_SECOND, ..lun(1) }]));
    peers[0].settle(&[0, 1]);
    let tags = writes(&mut peers[0], 100);
    all_end_well(&mut peers[0], &tags, SOON);
    let tags: Vec<_> = (0..4).map(|lba| peers[0].write(1, lba, 1, 1)).collect();
    assert!(!peers[0].is_answered(tags[3], Duration::from_millis(500)), "over the limit");
}

#[test]
fn who_waits_at_a_unit_that_is_removed_goes_on() {
    let server = server(1, ONE_A_SECOND);
    let mut reloader = reloader(&server);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let tags = writes(&mut peer, 20);
    let same = peer.command(0, &[0x41, 0, 0, 0, 0, 0, 0, 64, 0, 0], 0, &[7; 512]);
    reloader.reload(snapshot(&[server.at], vec![lun(1)]));
    all_end_well(&mut peer, &tags, SOON);
    all_end_well(&mut peer, &[same], SOON);
    let begin = Instant::now();
    while server.world.units[0].is_held() {
        assert!(begin.elapsed() < SOON, "the core has a handle still");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Another comes, with a limit.
    reloader.reload(snapshot(&[server.at], vec![lun(1), LunSpec { limits: ONE_A_SECOND, ..lun(2) }]));
    peer.settle(&[1, 2]);
    let tags: Vec<_> = (0..4).map(|lba| peer.write(2, lba, 1, 1)).collect();
    assert!(!peer.is_answered(tags[3], Duration::from_millis(500)), "over the limit");
}

#[test]
fn what_waits_at_shutdown_is_done() {
    let mut server = server(1, ONE_A_SECOND);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let tags = writes(&mut peer, 50);
    server.mesh.post(0, Message::Shutdown);
    all_end_well(&mut peer, &tags, SOON);
    assert_eq!(peer.logout(0, 0), 0);
    assert!(server.stop() < Duration::from_millis(SHUTDOWN_LOGOUT_MS));
}
