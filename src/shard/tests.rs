//! Whole cores in this process, over TCP, with media that fail as planned.

mod events;
mod handles;
mod hung;
mod limits;
mod peer;

use super::make_core;
use super::mesh::Message;
use super::world::World;
use crate::backend::{FaultPlan, Medium};
use crate::model::{IscsiName, LunKind, LunSpec, Portal, Snapshot, TargetSpec};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Its target.
const TARGET: &str = crate::sim::target::NAME;
/// Bytes of a unit.
const UNIT_BYTES: u64 = 16 << 20;

/// A server with two RAM units, of which the first (LUN 0) fails as planned, and the second (LUN 1) does not.
struct Server {
    at: SocketAddr,
    world: Arc<World>,
    cores: Vec<JoinHandle<()>>,
}

fn lun(number: u16) -> LunSpec {
    LunSpec {
        size_bytes: Some(UNIT_BYTES),
        physical_block_bytes: 4096,
        thin: true,
        ..LunSpec::new(number, LunKind::Ram)
    }
}

fn snapshot(at: SocketAddr, luns: Vec<LunSpec>) -> Snapshot {
    let target = TargetSpec::new(IscsiName::new(TARGET).unwrap(), None, luns);
    let portals = vec![Portal { listen: at, advertise: None, group_tag: 1 }];
    Snapshot { portals, targets: vec![target], ..Snapshot::default() }
}

impl Server {
    fn new(cores: usize, plan: FaultPlan) -> Server {
        Server::with(cores, plan, vec![lun(0), lun(1)])
    }

    fn with(cores: usize, plan: FaultPlan, luns: Vec<LunSpec>) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let (mut world, _keeper) = World::open(snapshot(at, luns), cores).unwrap();
        let unit = Arc::get_mut(&mut world.units[0]).unwrap();
        unit.medium = Arc::new(Medium::with_faults(Arc::clone(&unit.medium), plan));
        let world = Arc::new(world);
        let cores = (0..cores).map(|core| {
            let (world, listeners) = (Arc::clone(&world), vec![listener.try_clone().unwrap()]);
            std::thread::spawn(move || {
                let mut core = make_core(core, world, listeners, Duration::ZERO).unwrap();
                core.run().unwrap();
                if core.is_unfinished() {
                    std::mem::forget(core);
                }
            })
        });
        let cores = cores.collect();
        Server { at, world, cores }
    }

    /// Ends it; how long that took.
    fn stop(&mut self) -> Duration {
        let begin = Instant::now();
        for core in 0..self.cores.len() {
            self.world.post(core, Message::Shutdown);
        }
        for core in self.cores.drain(..) {
            core.join().unwrap();
        }
        begin.elapsed()
    }
}

/// They end by themselves: with a medium that hangs that takes seconds, and nobody has to wait.
impl Drop for Server {
    fn drop(&mut self) {
        for core in 0..self.cores.len() {
            self.world.post(core, Message::Shutdown);
        }
    }
}
