//! Whole cores in this process, over TCP, with media that fail as planned.

mod accepting;
mod atomic;
mod copies;
mod dismissed;
mod doors;
mod elsewhere;
mod fencing;
mod flush;
mod handles;
mod holes;
mod hung;
mod locks;
mod login;
mod moves;
mod order;
mod panics;
mod payload;
pub(crate) mod peer;
pub(crate) mod rights;
pub(crate) mod saves;
mod shares;
mod threads;
mod tokens;
mod traced;
pub(crate) mod unread;
mod variable;

use super::Driver;
use crate::backend::{FaultPlan, Medium};
use crate::fabric::mesh::{Mesh, Message};
use crate::fabric::stats::Stats;
pub(crate) use crate::model::snapshot::tests::{TARGET, UNIT_BYTES, lun, snapshot};
use crate::model::{Account, Credentials, LunSpec, Secret, Snapshot, TargetSpec, UnitIx};
use crate::session::directory::SnapshotDirectory;
use crate::shard::Core;
use crate::world::targets::{LunMap, Target};
use crate::world::{Change, World};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A server with two RAM units, of which the first (LUN 0) fails as planned, and the second (LUN 1) does not.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    pub(crate) world: Arc<World>,
    pub(crate) mesh: Mesh,
    cores: Vec<JoinHandle<(Stats, usize)>>,
}

/// Users that something is to be had by: names and secrets.
fn credentials(users: &[(&str, &str)]) -> Option<Arc<Credentials>> {
    let account = |(name, secret): &(&str, &str)| Account {
        name: (*name).into(),
        secret: Secret::new(secret.as_bytes().to_vec()),
    };
    Some(Arc::new(Credentials { initiators: users.iter().map(account).collect(), ..Credentials::default() }))
}

impl Server {
    fn new(cores: usize, plan: FaultPlan) -> Server {
        Server::with(cores, plan, vec![lun(0), lun(1)])
    }

    /// With units that are not known to be RAM: payload goes to a medium from I/O buffers.
    fn with_media(cores: usize, plan: FaultPlan) -> Server {
        let plans = [plan, FaultPlan::new()];
        Server::of(1, cores, plans, |places| snapshot(places, vec![lun(0), lun(1)])).0
    }

    pub(crate) fn with(cores: usize, plan: FaultPlan, luns: Vec<LunSpec>) -> Server {
        Server::with_portals(1, cores, plan, luns).0
    }

    /// To be had by these users only: names and secrets.
    fn guarded(cores: usize, users: &[(&str, &str)]) -> Server {
        Server::of(1, cores, [FaultPlan::new()], |places| {
            let mut snapshot = snapshot(places, vec![lun(0)]);
            snapshot.targets[0].credentials = credentials(users);
            snapshot
        })
        .0
    }

    /// With several portals, each in a portal group of its own, from 1 on; and where they are.
    fn with_portals(portals: u16, cores: usize, plan: FaultPlan, luns: Vec<LunSpec>) -> (Server, Vec<SocketAddr>) {
        Server::of(portals, cores, [plan], |places| snapshot(places, luns))
    }

    fn of(
        portals: u16,
        cores: usize,
        plans: impl IntoIterator<Item = FaultPlan>,
        snapshot: impl FnOnce(&[SocketAddr]) -> Snapshot,
    ) -> (Server, Vec<SocketAddr>) {
        Server::make(portals, cores, snapshot, |world| {
            for (unit, plan) in world.units.iter_mut().zip(plans) {
                let unit = Arc::get_mut(unit).unwrap();
                unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), plan));
            }
        })
    }

    /// With one portal, and units that are `changed` before anybody uses them.
    pub(crate) fn changed(
        cores: usize,
        snapshot: impl FnOnce(&[SocketAddr]) -> Snapshot,
        changed: impl FnOnce(&mut World),
    ) -> Server {
        Server::make(1, cores, snapshot, changed).0
    }

    fn make(
        portals: u16,
        cores: usize,
        snapshot: impl FnOnce(&[SocketAddr]) -> Snapshot,
        changed: impl FnOnce(&mut World),
    ) -> (Server, Vec<SocketAddr>) {
        let listeners: Vec<_> = (0..portals).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let places: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let (mut world, _keeper) = World::open(snapshot(&places), cores).unwrap();
        let mesh = Mesh::new(cores).unwrap();
        changed(&mut world);
        let world = Arc::new(world);
        let cores = (0..cores).map(|core| {
            let listeners = listeners.iter().map(|listener| listener.try_clone().unwrap()).enumerate().collect();
            let (world, mesh) = (Arc::clone(&world), mesh.clone());
            std::thread::spawn(move || {
                let (number, registry) = (core, Arc::clone(&world.registry));
                let mut driver = Driver::new(Core::on_ring(core, (world, mesh)).unwrap(), listeners, Duration::ZERO);
                driver.run().unwrap();
                let account = driver.core.account();
                if driver.core.is_unfinished() {
                    std::mem::forget(driver);
                } else {
                    // Before all that it holds goes with it.
                    assert_eq!(registry.load()[number], 0, "handles of sessions that have ended");
                }
                account
            })
        });
        let cores = cores.collect();
        (Server { at: places[0], world, mesh, cores }, places)
    }

    /// Has one core serve what `changed` makes of the configuration: as a reload has, but for what takes media.
    pub(crate) fn reconfigure(&self, core: usize, changed: impl FnOnce(&mut Snapshot)) {
        let mut world = World::clone(&self.world);
        let mut snapshot = Snapshot::clone(world.directory.snapshot());
        changed(&mut snapshot);
        let stay = |spec: &TargetSpec, target: &Target| {
            let all = target.numbers.iter().copied().zip(target.units.iter().copied());
            let (numbers, units) = all.filter(|(number, _)| spec.luns.iter().any(|lun| lun.number == *number)).unzip();
            LunMap { numbers, units }
        };
        let pairs = snapshot.targets.iter().zip(&world.targets);
        world.targets = pairs.map(|(spec, target)| Target::new(spec, stay(spec, target), false)).collect();
        let stays = |unit: &UnitIx| world.targets.iter().any(|target| target.units.contains(unit));
        world.leaving = world.units.numbers().filter(|unit| !stays(unit)).collect();
        world.directory = SnapshotDirectory::new(Arc::new(snapshot));
        // Each is newer than the one before.
        static GENERATIONS: AtomicU64 = AtomicU64::new(0);
        world.generation += GENERATIONS.fetch_add(1, Ordering::Relaxed) + 1;
        let world = Arc::new(world);
        let change = Arc::new(Change { world: Arc::clone(&world), resized: Vec::new() });
        self.mesh.post(core, Message::Change(change));
        // Here, in the message, and in the core.
        while Arc::strong_count(&world) < 3 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it; how long that took.
    pub(crate) fn stop(&mut self) -> Duration {
        let begin = Instant::now();
        self.end();
        begin.elapsed()
    }

    /// Ends it; what each core has counted, and the bytes of I/O buffers that are free in the end.
    pub(crate) fn end(&mut self) -> Vec<(Stats, usize)> {
        for core in 0..self.cores.len() {
            self.mesh.post(core, Message::Shutdown);
        }
        self.cores.drain(..).map(|core| core.join().unwrap()).collect()
    }
}

/// They end by themselves: with a medium that hangs that takes seconds, and nobody has to wait.
impl Drop for Server {
    fn drop(&mut self) {
        for core in 0..self.cores.len() {
            self.mesh.post(core, Message::Shutdown);
        }
    }
}

/// Waits for what cores do among themselves.
pub(crate) fn wait_until(what: impl Fn() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(1));
    }
}
