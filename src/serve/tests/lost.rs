//! What was lost is told across restarts: to each host that it may concern, once.

use super::super::syncing::Syncing;
use super::super::{ServeError, sync_all};
use crate::backend::{FaultAction, FaultPlan, FaultRule, Medium, OpClass};
use crate::driver::tests::peer::{End, Peer, good};
use crate::driver::tests::rights::group;
use crate::driver::tests::saves::stuck_keeper;
use crate::driver::tests::{Server, UNIT_BYTES, lun, snapshot, wait_until};
use crate::fabric::mesh::Message;
use crate::limits::KEEPER_END;
use crate::model::{LunKind, LunSpec, MediumFault, Snapshot, UnitIx};
use crate::scsi::Lost;
use crate::state::KeeperThread;
use crate::unit::notice::Notice;
use crate::world::World;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(2);

/// WRITE ERROR.
fn lost() -> End {
    End { status: 2, sense: (3, 0x0c00), data: vec![] }
}

fn flushed(peer: &mut Peer) -> End {
    let itt = peer.command(0, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[]);
    peer.end(itt, SOON)
}

fn on(class: OpClass, action: FaultAction) -> FaultPlan {
    FaultPlan::new().rule(FaultRule::new(action).on(class).times(1))
}

const FAILS: FaultAction = FaultAction::Fail(MediumFault::Write);

/// The first flush goes well, so that nobody has lost what was written before the process began; so many others do not.
fn second_fails(times: u64) -> FaultPlan {
    FaultPlan::new().rule(FaultRule::new(FAILS).on(OpClass::Flush).after(1).times(times))
}

/// A file and the state of its unit.
fn configuration(directory: &Path, places: &[SocketAddr]) -> Snapshot {
    let file =
        LunSpec { kind: LunKind::File(directory.join("disk")), create: true, size_bytes: Some(UNIT_BYTES), ..lun(0) };
    Snapshot { state: directory.join("state"), ..snapshot(places, vec![file, lun(1)]) }
}

/// The same, served by nobody; its file fails as planned.
fn opened(directory: &Path, plan: FaultPlan) -> (World, KeeperThread) {
    let (mut world, keeper) = World::open(configuration(directory, &["127.0.0.1:0".parse().unwrap()]), 1).unwrap();
    fail(&mut world, plan);
    (world, keeper)
}

fn fail(world: &mut World, plan: FaultPlan) {
    let unit = Arc::get_mut(&mut world.units[0]).unwrap();
    unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), plan));
}

/// And served, when the kernel has closed it as what it was before.
fn served(directory: &Path, plan: FaultPlan) -> Server {
    wait_until(|| File::open(directory.join("disk")).is_ok_and(|file| file.try_lock().is_ok()));
    Server::changed(1, |places| configuration(directory, places), |world| fail(world, plan))
}

/// What the process does last, when no core is there any more.
fn ended(world: &World) -> Result<(), ServeError> {
    sync_all(world, Syncing::new(&world.keeper), Duration::from_secs(20))
}

/// What the state of the file says, when the keeper has done what it was given.
fn saved(world: &World) -> Option<Lost> {
    let (tell, told) = std::sync::mpsc::channel();
    let other = &world.units[1];
    world.keeper.submit(&other.file, Box::new(other.logical.saved()), move |_| tell.send(()).unwrap());
    told.recv_timeout(SOON).unwrap();
    world.units[0].file.load().unwrap().lost
}

#[test]
fn what_the_last_sync_finds_lost_is_told_after_the_next_start_and_not_again() {
    let directory = TempDir::new().unwrap();
    let (world, keeper) = opened(directory.path(), on(OpClass::Sync, FAILS));
    assert!(ended(&world).is_err());
    world.keeper.end();
    assert!(keeper.join(KEEPER_END).unwrap());
    drop(world);
    let mut server = served(directory.path(), FaultPlan::new());
    assert_eq!(saved(&server.world), Some(Lost::UNHEARD));
    let mut one = Peer::login(server.at, 1, &[]).ready();
    assert_eq!(flushed(&mut one), lost());
    assert_eq!(saved(&server.world), Some(Lost::UNHEARD), "nobody knows whether that has arrived");
    assert_eq!([flushed(&mut one), flushed(&mut one)], [good(), good()]);
    let said = saved(&server.world).unwrap();
    assert_eq!((said.ports.iter().map(|port| port.1).collect::<Vec<_>>(), said.others), (vec![true], false));
    // Who comes only now may have written before, too.
    let mut two = Peer::login(server.at, 2, &[]).ready();
    assert_eq!([flushed(&mut two), flushed(&mut two)], [lost(), good()]);
    // Killed, and served again.
    saved(&server.world);
    server.end();
    drop(server);
    let mut server = served(directory.path(), FaultPlan::new());
    let mut hosts = [1, 2].map(|host| Peer::login(server.at, host, &[]).ready());
    assert!(hosts.iter_mut().all(|host| flushed(host) == good()));
    // And who comes later still.
    let mut three = Peer::login(server.at, 3, &[]).ready();
    assert_eq!([flushed(&mut three), flushed(&mut three)], [lost(), good()]);
    server.end();
}

#[test]
fn who_was_not_there_to_hear_hears_after_the_next_start() {
    let directory = TempDir::new().unwrap();
    drop(opened(directory.path(), FaultPlan::new()));
    let mut server = served(directory.path(), second_fails(1));
    let mut here = Peer::login(server.at, 1, &[]).ready();
    let mut gone = Peer::login(server.at, 2, &[]).ready();
    assert_eq!(gone.logout(0, 0), 0);
    // Of those before the process nobody has lost what this covers.
    assert_eq!(flushed(&mut here), good());
    assert_eq!(flushed(&mut here), lost());
    server.end();
    ended(&server.world).unwrap();
    let said = saved(&server.world).unwrap();
    let ports: Vec<_> = said.ports.iter().map(|(port, has_heard)| (port.name.as_str(), *has_heard)).collect();
    let unheard = ["iqn.2001-04.com.example:host1", "iqn.2001-04.com.example:host2"].map(|name| (name, false));
    assert_eq!((ports, said.others), (unheard.to_vec(), true), "what the first was told it has not acknowledged");
    drop(server);
    let mut server = served(directory.path(), FaultPlan::new());
    let mut here = Peer::login(server.at, 1, &[]).ready();
    let mut stranger = Peer::login(server.at, 3, &[]).ready();
    assert_eq!([flushed(&mut here), flushed(&mut here), flushed(&mut stranger)], [lost(), good(), good()]);
    assert!(saved(&server.world).is_some());
    let mut gone = Peer::login(server.at, 2, &[]).ready();
    assert_eq!([flushed(&mut gone), flushed(&mut gone)], [lost(), good()]);
    wait_until(|| saved(&server.world).is_none());
    server.end();
}

/// Another process was killed, and wrote for hosts that are not back yet when its successor finds out.
#[test]
fn who_wrote_before_the_process_began_hears_of_what_its_first_flush_finds_lost() {
    let directory = TempDir::new().unwrap();
    drop(opened(directory.path(), FaultPlan::new()));
    let mut server = served(directory.path(), on(OpClass::Flush, FAILS));
    let mut first = Peer::login(server.at, 1, &[]).ready();
    assert_eq!([flushed(&mut first), flushed(&mut first)], [lost(), good()]);
    let mut late = Peer::login(server.at, 2, &[]).ready();
    assert_eq!([flushed(&mut late), flushed(&mut late)], [lost(), good()]);
    // Others that go on do not speak for who is later still.
    saved(&server.world);
    server.end();
    drop(server);
    let mut server = served(directory.path(), FaultPlan::new());
    let mut hosts = [1, 2, 3].map(|host| Peer::login(server.at, host, &[]).ready());
    assert_eq!(hosts.each_mut().map(flushed), [good(), good(), lost()]);
    server.end();
}

/// It has no end: what is saved was saved when it was counted.
#[test]
fn a_failure_is_not_forgotten_when_the_process_is_killed() {
    let directory = TempDir::new().unwrap();
    drop(opened(directory.path(), FaultPlan::new()));
    let mut server = served(directory.path(), second_fails(1));
    let mut hosts = [1, 2].map(|host| Peer::login(server.at, host, &[]).ready());
    assert_eq!([flushed(&mut hosts[0]), flushed(&mut hosts[0])], [good(), lost()]);
    wait_until(|| saved(&server.world).is_some());
    let said = saved(&server.world).unwrap();
    assert_eq!((said.ports.iter().map(|port| port.1).collect::<Vec<_>>(), said.others), (vec![false, false], true));
    server.end();
    drop(server);
    let mut server = served(directory.path(), FaultPlan::new());
    let mut hosts = [1, 2].map(|host| Peer::login(server.at, host, &[]).ready());
    for host in &mut hosts {
        assert_eq!([flushed(host), flushed(host)], [lost(), good()]);
    }
    wait_until(|| saved(&server.world).is_none());
    // Counted beside the cores.
    server.world.units[0].syncs.fail(MediumFault::Write);
    server.mesh.post(0, Message::Executor(Notice::Lost { unit: UnitIx::new(0) }));
    wait_until(|| saved(&server.world).is_some());
    server.end();
}

#[test]
fn a_medium_that_fails_all_the_time_is_saved_once_at_a_time() {
    let directory = TempDir::new().unwrap();
    drop(opened(directory.path(), FaultPlan::new()));
    let mut server = served(directory.path(), second_fails(20));
    let mut host = Peer::login(server.at, 1, &[]).ready();
    assert_eq!(flushed(&mut host), good());
    let (release, held) = std::sync::mpsc::channel::<()>();
    let other = &server.world.units[1];
    server.world.keeper.submit(&other.file, Box::new(other.logical.saved()), move |_| {
        let _ = held.recv();
    });
    for _ in 0..20 {
        assert_eq!(flushed(&mut host), lost());
    }
    assert_eq!(flushed(&mut host), good());
    assert_eq!(server.world.units[0].saves.standing(), 1);
    drop(release);
    wait_until(|| server.world.units[0].saves.standing() == 0);
    assert_eq!(flushed(&mut host), good());
    wait_until(|| saved(&server.world).is_none());
    server.end();
}

/// The state directory is on the file system that has failed.
#[test]
fn who_is_fenced_off_does_not_wait_until_it_is_saved_who_has_yet_to_hear() {
    let directory = TempDir::new().unwrap();
    drop(opened(directory.path(), FaultPlan::new()));
    let mut server = served(directory.path(), on(OpClass::Flush, FAILS));
    let mut host = Peer::login(server.at, 1, &[]).ready();
    let release = stuck_keeper(&server);
    assert_eq!(flushed(&mut host), lost());
    wait_until(|| server.world.units[0].saves.standing() == 1);
    // PERSISTENT RESERVE OUT without APTPL, RESERVE(6).
    let list = [&[0; 8][..], &7u64.to_be_bytes(), &[0; 8]].concat();
    let register = host.command(0, &[0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0], 0, &list);
    assert_eq!(host.end(register, SOON), good());
    let reserve = host.command(0, &[0x16, 0, 0, 0, 0, 0], 0, &[]);
    assert_eq!(host.end(reserve, SOON).status, 0x18, "RESERVATION CONFLICT: it is registered");
    assert_eq!(server.world.units[0].saves.standing(), 1);
    drop(release);
    wait_until(|| saved(&server.world).is_some());
    server.end();
}

/// It is not known what becomes of it, and the kernel will not say so to the next process.
#[test]
fn what_a_medium_has_not_answered_for_may_be_lost() {
    for hang in [true, false] {
        let directory = TempDir::new().unwrap();
        let plan = if hang { on(OpClass::Sync, FaultAction::Hang) } else { FaultPlan::new() };
        let (world, _keeper) = opened(directory.path(), plan);
        // Else what a core was not answered.
        world.units[0].unfinished.store(!hang, std::sync::atomic::Ordering::Relaxed);
        assert!(sync_all(&world, Syncing::new(&world.keeper), Duration::from_millis(200)).is_err());
        assert_eq!(saved(&world), Some(Lost::UNHEARD), "hangs: {hang}");
    }
}

#[test]
fn the_end_fails_if_it_cannot_be_saved_who_is_to_be_told() {
    let directory = TempDir::new().unwrap();
    let (world, _keeper) = opened(directory.path(), FaultPlan::new());
    world.units[0].syncs.fail(MediumFault::Write);
    let state = directory.path().join("state");
    std::fs::rename(&state, directory.path().join("elsewhere")).unwrap();
    std::fs::write(&state, "").unwrap();
    assert!(ended(&world).unwrap_err().to_string().contains("cannot be saved that they are to be told"));
    std::fs::remove_file(&state).unwrap();
    ended(&world).unwrap();
    assert_eq!(saved(&world), Some(Lost::UNHEARD));
}

#[test]
fn nothing_is_saved_of_what_does_not_outlive_the_process() {
    let directory = TempDir::new().unwrap();
    let (world, _keeper) = opened(directory.path(), FaultPlan::new());
    let file = world.units[1].file.path().to_owned();
    world.units[1].syncs.fail(MediumFault::Write);
    ended(&world).unwrap();
    assert!(saved(&world).is_none() && !file.exists());
}

/// Its answer had arrived, whatever came then: it is not told again, also not after a restart.
#[test]
fn who_was_told_has_heard_also_if_its_nexus_is_gone_before_it_goes_on() {
    for is_taken in [false, true] {
        let directory = TempDir::new().unwrap();
        let places = |places: &[SocketAddr]| {
            let mut all = configuration(directory.path(), places);
            all.targets[0].groups = vec![group(1, &[0, 1])];
            all
        };
        let server = Server::changed(1, places, |world| fail(world, second_fails(1)));
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        assert_eq!([flushed(&mut peer), flushed(&mut peer)], [good(), lost()]);
        let saved = || server.world.units[0].file.load().unwrap().lost;
        wait_until(|| saved().is_some());
        // Which acknowledges that.
        peer.ping();
        if is_taken {
            server.reconfigure(0, |new| new.targets[0].groups = vec![group(1, &[1])]);
            peer.settle(&[1]);
            server.reconfigure(0, |_| ());
        } else {
            drop(peer);
            peer = Peer::login(server.at, 1, &[]);
        }
        peer.settle(&[0]);
        assert_eq!(flushed(&mut peer), good(), "{is_taken}");
        wait_until(|| saved().is_none());
    }
}
