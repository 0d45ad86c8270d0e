//! Another configuration is served without a restart: the control thread's part. It finds out what is different, opens and
//! measures what has to be, and gives the cores another [`World`] (their part is in `shard/change.rs`).
//!
//! Of a file that is read again, all that can be served is: a logical unit that cannot be opened is missing (`world/missing.rs`),
//! in no LUN map, and tried again until it can be or the configuration has it no more. What is to be changed on demand, or with
//! `all-or-nothing`, changes as a whole or not at all. Either way a file that was made, or made longer, for a LUN that is not
//! served after all is as it was, and so is its record. Cores stay as they are until the next
//! start. A logical unit is the same one if it has the same LUN and the same file; its size may change, the
//! rest only when it is removed and added.
//!
//! A unit that is removed goes through two stages: leaving (in no LUN map; the cores let go of it when its last command has
//! ended), and closing (in no world; its file is closed when the last core has the world without it). A file that is to be
//! served elsewhere waits for that.

mod again;
mod ask;
mod attempt;
mod made;
mod plan;
mod plane;
mod portals;

use super::beside::{Beside, Wait};
use super::portals::{PortalPlan, Portals};
use super::syncing::Syncing;
use crate::config::diff::Step;
use crate::fabric::mesh::{Mesh, Message};
use crate::model::{Snapshot, UnitIx};
use crate::panics::{self, Mutex};
use crate::state::Name;
use crate::unit::Unit;
use crate::world::missing::{MissingLun, MissingPortal};
use crate::world::targets::LunMap;
use crate::world::{Change, World};
use again::Retry;
use made::Made;
use std::cell::RefCell;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How soon what is under way is looked at again.
const LOOK: Duration = Duration::from_millis(50);

/// A unit that is removed.
struct Leaving {
    /// Its index.
    unit: UnitIx,
    path: Option<PathBuf>,
    /// What hosts know it by; its saved state is found by the designator.
    name: Name,
}

/// A unit that nobody is shown any more.
struct Closing {
    of: Leaving,
    stage: Stage,
}

/// Who still has the unit. Files and memory are let go of beside the cores, and beside this thread: either may take
/// long.
enum Stage {
    /// Others than this use it.
    InUse(Arc<Unit>),
    /// A thread of its own lets go of it.
    LetGo(JoinHandle<()>),
}

/// Where a LUN's unit comes from.
enum Place {
    Kept(UnitIx),
    /// The next one of the units that are to be added.
    New,
}

/// What a reload is to do.
struct Plan {
    snapshot: Snapshot,
    /// Indices of the targets that are no more.
    removed: Vec<usize>,
    /// Where the units of each target's LUNs come from.
    places: Vec<Vec<(u16, Place)>>,
    made: Made,
    leaving: Vec<Leaving>,
    /// Units and their new sizes, bytes.
    resized: Vec<(UnitIx, u64)>,
    /// What is different.
    done: Vec<Step>,
    /// What has to stay as it is, in words.
    kept: Vec<String>,
    /// The LUNs that are not served.
    missing: Vec<MissingLun>,
    /// Of them, where trying again is gone on with; 0: all were tried.
    untried: usize,
    portals: PortalPlan,
    missing_portals: Vec<MissingPortal>,
}

/// Has another configuration served, and goes on with what a reload leaves under way.
pub struct Reloader {
    world: Arc<World>,
    /// The same world, for the first thread.
    published: Arc<Mutex<Arc<World>>>,
    cores: usize,
    mesh: Mesh,
    leaving: Vec<Leaving>,
    closing: Vec<Closing>,
    /// The media of units that leave, until they are durable; the first thread sees that to its end.
    syncing: Arc<Mutex<Syncing>>,
    /// Indices of units to be used again.
    free: Vec<UnitIx>,
    /// When what is not served is tried again.
    retry: Retry,
    beside: RefCell<Beside>,
    /// `None`: who listens is not known here, and stays.
    portals: Option<RefCell<Portals>>,
}

impl Reloader {
    /// For what is served at the start.
    pub fn new(world: World, mesh: Mesh) -> Reloader {
        let world = Arc::new(world);
        let syncing = Arc::new(Mutex::new(Syncing::new(&world.keeper)));
        Reloader {
            published: Arc::new(Mutex::new(Arc::clone(&world))),
            world,
            cores: mesh.cores(),
            mesh,
            leaving: Vec::new(),
            closing: Vec::new(),
            syncing,
            free: Vec::new(),
            retry: Retry::new(),
            beside: RefCell::default(),
            portals: None,
        }
    }

    /// The addresses that the cores listen on.
    pub fn listens_on(&mut self, portals: Portals) {
        self.portals = Some(RefCell::new(portals));
    }

    /// What is served now.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Where it can be seen what is served now, whatever becomes of this reloader.
    pub fn published(&self) -> Arc<Mutex<Arc<World>>> {
        Arc::clone(&self.published)
    }

    /// Media of units that are in no world any more. Each unit is put here before it is taken out of the world.
    pub fn syncing(&self) -> Arc<Mutex<Syncing>> {
        Arc::clone(&self.syncing)
    }

    /// What `call` comes to, beside this thread. `None`: it waits for a file system that does not answer, or has
    /// panicked.
    pub fn beside<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let mut beside = self.beside.borrow_mut();
        beside.begin();
        beside.call(Wait::Work, call)
    }

    /// Whether something that is done beside the control thread has panicked.
    pub fn has_failed(&self) -> bool {
        self.beside.borrow().has_failed()
    }

    /// Whether [`Reloader::look`] has something to do that is a matter of moments.
    pub fn is_under_way(&self) -> bool {
        let is_closing = !self.closing.is_empty() || !self.syncing.lock().is_over();
        !self.leaving.is_empty() || is_closing || self.waits()
    }

    /// How long until [`Reloader::look`] has something to do; `None`: nothing is under way.
    pub fn rest(&self) -> Option<Duration> {
        let is_missing = !self.world.missing.lock().is_empty();
        match self.is_under_way() {
            true => Some(LOOK),
            false => is_missing.then(|| self.retry.next.saturating_duration_since(Instant::now()).max(LOOK)),
        }
    }

    /// Whether a part of the configuration waits for a file that is about to be closed.
    fn waits(&self) -> bool {
        self.world.missing.lock().luns.iter().any(|lun| lun.waits)
    }

    /// Goes on with what is under way; to be called now and then.
    pub fn look(&mut self) {
        let is_held = |leaving: &Leaving| self.world.units.get(leaving.unit).is_some_and(|unit| unit.is_held());
        let (held, gone) = mem::take(&mut self.leaving).into_iter().partition(is_held);
        self.leaving = held;
        self.close(gone);
        let mut syncing = self.syncing.lock();
        while syncing.turn(Duration::ZERO) {}
        syncing.save_again();
        drop(syncing);
        let closed: Vec<UnitIx> =
            self.closing.extract_if(.., |closing| closing.is_closed()).map(|closing| closing.of.unit).collect();
        let is_quiet = self.leaving.is_empty() && self.closing.is_empty();
        if is_quiet && !closed.is_empty() {
            self.retry.hurry();
        }
        self.free.extend(closed);
        // A file that is never closed keeps what waits for another one no longer than that.
        let now = Instant::now();
        let may_be = is_quiet || !self.waits() || now >= self.retry.until;
        if now >= self.retry.next && may_be && !self.world.missing.lock().is_empty() {
            self.try_again();
        }
    }

    /// Takes units out of the world that no core has a handle of. They are made durable beside this thread, which has
    /// other things to look after.
    fn close(&mut self, gone: Vec<Leaving>) {
        if gone.is_empty() {
            return;
        }
        let mut world = World::clone(&self.world);
        let mut units = Vec::new();
        for of in gone {
            world.leaving.retain(|unit| *unit != of.unit);
            let nothing = Arc::clone(&world.nothing);
            let Some(unit) = world.units.get_mut(of.unit).map(|place| mem::replace(place, nothing)) else { continue };
            self.closing.push(Closing { of, stage: Stage::InUse(Arc::clone(&unit)) });
            units.push(unit);
        }
        self.syncing.lock().begin(units);
        self.publish(world, Vec::new());
    }

    fn publish(&mut self, mut world: World, resized: Vec<UnitIx>) {
        world.generation = self.world.generation + 1;
        self.world = Arc::new(world);
        let before = mem::replace(&mut *self.published.lock(), Arc::clone(&self.world));
        drop(before);
        let change = Arc::new(Change { world: Arc::clone(&self.world), resized });
        for core in 0..self.cores {
            self.mesh.post(core, Message::Change(Arc::clone(&change)));
        }
    }

    fn apply(&mut self, plan: Plan) {
        let mut world = World::clone(&self.world);
        let (mut maps, mut fresh) = (Vec::new(), plan.made.keep());
        for places in plan.places {
            let mut own = LunMap::default();
            for (number, place) in places {
                let unit = match place {
                    Place::Kept(unit) => Some(unit),
                    Place::New => fresh.next().map(|unit| self.install(&mut world, unit)),
                };
                own.numbers.extend(unit.map(|_| number));
                own.units.extend(unit);
            }
            maps.push(own);
        }
        world.reconfigure(&self.world, plan.snapshot, maps, (&plan.removed, &plan.resized));
        world.leaving.extend(plan.leaving.iter().map(|leaving| leaving.unit));
        self.leaving.extend(plan.leaving);
        world.doors.bound(world.admission.connections, world.admission.per_address);
        world.doors.fit_descriptors();
        self.publish(world, plan.resized.into_iter().map(|(unit, _)| unit).collect());
        if let Some(portals) = &self.portals {
            portals.borrow_mut().apply(plan.portals, &self.mesh);
        }
    }

    /// Gives a new unit its index.
    fn install(&mut self, world: &mut World, unit: Unit) -> UnitIx {
        let unit = Arc::new(unit);
        if let Some(at) = self.free.pop()
            && let Some(place) = world.units.get_mut(at)
        {
            *place = unit;
            return at;
        }
        world.units.push(unit)
    }
}

impl Closing {
    /// Goes on with letting go of the unit; whether its file is closed.
    fn is_closed(&mut self) -> bool {
        let unit = match &self.stage {
            Stage::InUse(unit) => unit,
            Stage::LetGo(thread) => return thread.is_finished(),
        };
        if [Arc::strong_count(unit), Arc::strong_count(&unit.medium), Arc::strong_count(&unit.file)] != [1; 3] {
            return false;
        }
        let (give, given) = mpsc::channel();
        let let_go = move || panics::contained(move || drop(given.recv()), |_| ());
        // If there is no thread to be had, it is tried again the next time.
        if let Ok(thread) = Builder::new().name("ringsan-close".to_owned()).spawn(let_go)
            && let Stage::InUse(unit) = mem::replace(&mut self.stage, Stage::LetGo(thread))
        {
            let _ = give.send(unit);
        }
        false
    }
}

#[cfg(test)]
mod tests;
