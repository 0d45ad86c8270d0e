//! The process around the cores: it starts, is configured anew, and comes to its end.
//!
//! The first thread (`serve`) opens the media, starts a thread for each core ([`crate::shard`]), waits for signals, and
//! has all media made durable at the end. What may fail or take long beside the cores is done by the control thread
//! (`control.rs`), which reads the configuration again (`reload.rs`), and by threads that it does not wait for
//! (`beside.rs`, `looks.rs`, `syncing.rs`).
//!
//! Invariants: nothing here is on the way of a command, and no core waits for any of it. What cores are told goes by
//! their mailboxes (`fabric/mesh.rs`).

mod beside;
mod control;
mod desk;
mod error;
mod file;
mod looks;
mod portals;
mod reload;
mod signals;
mod silent;
mod syncing;

use control::Control;
pub use error::ServeError;
pub use file::{ConfigFile, Read, Reading, Reread};

pub use crate::world::error::WorldError;

use crate::driver::{Told, run_core};
use crate::fabric::mesh::{Mesh, Message};
use crate::limits::{CONTROL_END, KEEPER_END, MEDIUM_END};
use crate::mgmt::{Entrances, Reach, Server, Voice};
use crate::model::Snapshot;
use crate::panics::Mutex;
use crate::ring::Ring;
use crate::state::KeeperThread;
use crate::unit::Unit;
use crate::world::World;
pub use crate::world::missing::MissingLun;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use portals::Portals;
use reload::Reloader;
use signals::{Signals, Wish};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::Builder;
use std::time::{Duration, SystemTime};
use std::{io, mem};
use syncing::Syncing;

/// How soon the first thread notices that a core has ended by itself.
const LOOK: Duration = Duration::from_secs(2);

/// How soon the first thread notices a signal while media are opened, before there are cores.
const LOOK_AT_START: Duration = Duration::from_millis(50);

/// Entries of a ring that is only made to see whether that is allowed.
const PROBE_ENTRIES: u32 = 8;

/// Serves `snapshot` until SIGTERM or SIGINT, then takes leave of the initiators and flushes. `ready` is called once,
/// with the addresses listened on and what of `snapshot` is not served, when every core accepts connections. On SIGHUP what `file` says is served from
/// then on; SIGUSR1 has the log say how many sessions and connections there are. The control plane is found at
/// `control`, and also tells what is said.
///
/// # Errors
/// Why the server cannot start, or has to stop; also that media could not be made durable at the end.
pub fn serve(
    mut snapshot: Snapshot,
    file: Option<ConfigFile>,
    control: Option<(Entrances, Voice)>,
    ready: impl FnOnce(&[SocketAddr], &[MissingLun]),
) -> Result<(), ServeError> {
    let cores = choose_cores(&snapshot.cores)?;
    // A ring is made here, where it is still known what failed: the executors make rings, too.
    if let Err(error) = Ring::new(PROBE_ENTRIES)
        && matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS))
    {
        return Err(ServeError::Ring(error));
    }
    let spin = Duration::from_micros(u64::from(snapshot.spin_us.unwrap_or(crate::limits::DEFAULT_SPIN_US)));
    // Before any thread is made, so that all inherit the mask.
    let signals = signals::Signals::block().map_err(ServeError::System)?;
    // Port 0 is for the system to choose: discovery tells the port that it chose.
    let portals = Portals::listen(&mut snapshot)?;
    let addresses = portals.addresses();
    let mut wishes = Vec::new();
    let mesh = Mesh::new(cores.len()).map_err(ServeError::System)?;
    let Some((mut reloader, keeper)) = open(&signals, &mut wishes, snapshot, mesh.clone())? else { return Ok(()) };
    let (world, syncing) = (reloader.published(), reloader.syncing());
    let (threads, told) = start_cores(&cores, &portals, &(Arc::clone(reloader.world()), mesh.clone()), spin)?;
    reloader.listens_on(portals);
    let started = (0..cores.len()).try_for_each(|_| match told.recv() {
        Ok(Told::Started) => Ok(()),
        Ok(Told::Failed(error)) => Err(ServeError::Ring(error)),
        Ok(Told::Ended) | Err(_) => Err(ServeError::Executor("a core ended while starting".into())),
    });
    if started.is_ok() {
        reloader.world().doors.fit_descriptors();
        let orders = Control::start(reloader, file)?;
        let plane = control.and_then(|control| start_plane(control, &world, &mesh, &orders));
        let missing = world.lock().missing.lock().luns.clone();
        ready(&addresses, &missing);
        // When a core ends by itself (its ring failed), what is sent to it is not read any more: the others are to end too.
        let waited = signals.wait(|wish| {
            for wish in wishes.drain(..).chain(wish) {
                match wish {
                    Wish::Reread => orders.reread(),
                    Wish::Count => say_counts(&world.lock()),
                }
            }
            threads_alive(&told).then_some(LOOK)
        });
        if let Some(plane) = plane {
            plane.stop();
        }
        orders.stop();
        waited.map_err(ServeError::System)?;
    }
    for core in 0..cores.len() {
        mesh.post(core, Message::Shutdown);
    }
    let ended = join(threads);
    started?;
    // In this order: what leaves the world meanwhile is with those that have left.
    let world = Arc::clone(&world.lock());
    let syncing = mem::replace(&mut *syncing.lock(), Syncing::new(&world.keeper));
    ended.and(end(&world, syncing, keeper))
}

/// Nobody is served any more: makes durable what is there, and saves what is to outlive the process.
fn end(world: &World, syncing: Syncing, keeper: KeeperThread) -> Result<(), ServeError> {
    let ended = sync_all(world, syncing, MEDIUM_END);
    // The keeper is given nothing more: what is on its way there is done before it ends.
    world.keeper.end();
    if !keeper.join(KEEPER_END).map_err(|_| ServeError::Executor("the keeper of saved state has failed".into()))? {
        tracing::warn!(
            "the state directory does not answer, and is not waited for: what was on its way was not answered"
        );
    }
    ended
}

/// The thread of a core.
type CoreThread = ExecutorJoinHandle<io::Result<()>>;

/// Starts a thread for each core. What they tell is heard at the receiver.
fn start_cores(
    cores: &[usize],
    portals: &Portals,
    shared: &(Arc<World>, Mesh),
    spin: Duration,
) -> Result<(Vec<CoreThread>, mpsc::Receiver<Told>), ServeError> {
    let (tell, told) = mpsc::channel();
    let mut threads = Vec::new();
    for (core, &cpu) in cores.iter().enumerate() {
        let own = portals.for_core()?;
        let (shared, tell) = (shared.clone(), tell.clone());
        let builder = LocalExecutorBuilder::new(Placement::Fixed(cpu))
            .name(&format!("ringsan-{core}"))
            // The executor's own I/O memory is not used for data: keep it, and the locked memory it costs, small.
            .io_memory(64 << 10)
            .ring_depth(16);
        let thread = builder
            .spawn(move || async move { run_core(core, shared, own, spin, &tell) })
            .map_err(|e| ServeError::Executor(e.to_string()))?;
        threads.push(thread);
    }
    Ok((threads, told))
}

/// Waits for the cores to end.
fn join(threads: Vec<CoreThread>) -> Result<(), ServeError> {
    let mut ended = Ok(());
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => ended = ended.and(Err(ServeError::System(e))),
            Err(e) => ended = ended.and(Err(ServeError::Executor(e.to_string()))),
        }
    }
    ended
}

/// Opens what is to be served. If units may be left out it begins with none, so all of them come in the same way as later ones.
fn open_all(mut snapshot: Snapshot, mesh: Mesh) -> Result<(Reloader, KeeperThread), ServeError> {
    if !snapshot.degrades {
        let (world, keeper) = World::open(snapshot, mesh.cores())?;
        return Ok((Reloader::new(world, mesh), keeper));
    }
    let all = snapshot.clone();
    snapshot.targets.iter_mut().for_each(|target| target.luns.clear());
    let (world, keeper) = World::open(snapshot, mesh.cores())?;
    let mut reloader = Reloader::new(world, mesh);
    reloader.serve_first(all)?;
    Ok((reloader, keeper))
}

/// [`open_all`], on a thread of its own: a medium that does not answer is not to keep a SIGTERM from this one.
/// `None`: a SIGTERM (or SIGINT) came. What others wish meanwhile is kept for later.
fn open(
    signals: &Signals,
    wishes: &mut Vec<Wish>,
    snapshot: Snapshot,
    mesh: Mesh,
) -> Result<Option<(Reloader, KeeperThread)>, ServeError> {
    let (tell, told) = mpsc::sync_channel(1);
    let work = move || drop(tell.send(open_all(snapshot, mesh)));
    Builder::new().name("ringsan-open".to_owned()).spawn(work).map_err(ServeError::System)?;
    let mut opened = None;
    let look = |wish| {
        wishes.extend(wish);
        match told.recv_timeout(LOOK_AT_START) {
            Err(RecvTimeoutError::Timeout) => Some(Duration::ZERO),
            Ok(world) => {
                opened = Some(world);
                None
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    };
    signals.wait(look).map_err(ServeError::System)?;
    if let Some(opened) = opened {
        return opened.map(Some);
    }
    // The opening is left as it is, as after kill -9, unless it is a matter of moments.
    match told.recv_timeout(CONTROL_END) {
        // The opening may have met lost writes, which the kernel tells once.
        Ok(opened) => opened.and_then(|(reloader, keeper)| {
            let world = reloader.world();
            end(world, Syncing::new(&world.keeper), keeper).map(|()| None)
        }),
        Err(_) => {
            tracing::warn!("a file system does not answer, and is not waited for: nothing was served");
            Ok(None)
        }
    }
}

/// Serves the control plane. Disks are served without it, too.
fn start_plane(
    (at, voice): (Entrances, Voice),
    world: &Arc<Mutex<Arc<World>>>,
    mesh: &Mesh,
    control: &Control,
) -> Option<Server> {
    if at.socket.is_none() && at.remote.is_none() {
        return None;
    }
    let (world, mesh, orders) = (Arc::clone(world), mesh.clone(), control.orders());
    let reach = Reach {
        world,
        mesh,
        asked: Default::default(),
        orders,
        tag: control.tag(),
        ordering: Default::default(),
        traces: Default::default(),
        since: SystemTime::now(),
        voice,
        readers: Default::default(),
    };
    let server = Server::start(at, reach);
    server.inspect_err(|error| tracing::error!("the control interface cannot be served: {error}")).ok()
}

/// SIGUSR1: logs how many sessions and connections there are.
fn say_counts(world: &World) {
    let (sessions, connections) = (world.registry.sessions(), world.doors.open());
    tracing::info!(sessions, connections, "SIGUSR1: sessions, with logins that are to be some, and connections");
}

/// Makes everything durable that is served, and the media that others have begun to make so. A medium that did not
/// answer before would not now either: it is not waited for, and that is an error. The rest is waited for, for
/// `patience` at most.
fn sync_all(world: &World, mut syncing: Syncing, patience: Duration) -> Result<(), ServeError> {
    let is_unfinished = |unit: &Arc<Unit>| unit.unfinished.load(Ordering::Relaxed);
    let (unfinished, units): (Vec<_>, Vec<_>) = world.units.iter().cloned().partition(is_unfinished);
    let mut all = Ok(());
    for unit in unfinished {
        let late =
            io::Error::new(io::ErrorKind::TimedOut, "a medium does not answer: what it was sent last may be lost");
        tracing::error!(serial = unit.logical.params().serial, "not flushed: {late}");
        unit.lost_in_the_end();
        unit.remember(&world.keeper, |_| {});
        all = Err(ServeError::System(late));
    }
    syncing.begin(units);
    all.and(syncing.end(patience).map_err(ServeError::System))
}

/// Whether no core has ended: once all have started, that is all that one of them tells.
fn threads_alive(told: &mpsc::Receiver<Told>) -> bool {
    matches!(told.try_recv(), Err(mpsc::TryRecvError::Empty))
}

/// The cores asked for, or all that this process may run on.
fn choose_cores(asked: &[usize]) -> Result<Vec<usize>, ServeError> {
    let allowed = allowed_cores();
    if let Some(&core) = asked.iter().find(|c| !allowed.contains(c)) {
        let list = allowed.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        return Err(ServeError::Core(core, list));
    }
    Ok(if asked.is_empty() { allowed } else { asked.to_vec() })
}

#[allow(unsafe_code)]
fn allowed_cores() -> Vec<usize> {
    // SAFETY: the set is a plain bit array that the call fills; its size is passed along.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
        set
    };
    // SAFETY: CPU_ISSET reads one bit, below CPU_SETSIZE.
    let cores: Vec<usize> = (0..libc::CPU_SETSIZE as usize).filter(|&c| unsafe { libc::CPU_ISSET(c, &set) }).collect();
    if cores.is_empty() { vec![0] } else { cores }
}

#[cfg(test)]
mod tests;
