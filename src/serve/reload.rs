//! Another configuration is served without a restart: the control thread's part. It finds out what is different, opens and
//! measures what has to be, and gives the cores another [`World`] (their part is in `shard/change.rs`).
//!
//! Either all that can change changes, or, when something cannot be opened or does not grow, nothing: a file that was made, or
//! made longer, for a LUN to be added is as it was, and so is its record. Portals and cores stay as they are until the next
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

use super::beside::{Beside, Wait};
use super::error::ServeError;
use super::syncing::Syncing;
use crate::backend::OpenError;
use crate::fabric::mesh::{Mesh, Message};
use crate::limits;
use crate::mgmt::Served;
use crate::model::lun::OPTIONS;
use crate::model::{LunKind, LunSpec, Portal, Snapshot, TargetSpec, UnitIx};
use crate::panics::{self, Mutex};
use crate::scsi::identity;
use crate::state::{Name, Register};
use crate::unit::Unit;
use crate::world::error::WorldError;
use crate::world::targets::LunMap;
use crate::world::{Change, World};
use again::Again;
use made::Made;
use std::cell::RefCell;
use std::mem;
use std::path::PathBuf;
use std::sync::{self, Arc, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

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
    /// What is different (`done`), and what has to stay as it is (`kept`), in words.
    done: Vec<String>,
    kept: Vec<String>,
    /// The LUNs that wait for a file, in words.
    waiting: Vec<String>,
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
    again: Option<Again>,
    beside: RefCell<Beside>,
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
            again: None,
            beside: RefCell::default(),
        }
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

    /// Serves `wanted` from now on. Blocking, but for no file system that does not answer; says in the log what came of it.
    ///
    /// # Errors
    /// What is in the way: everything stays as it was.
    pub fn serve_instead(&mut self, wanted: Snapshot) -> Served {
        self.again = None;
        self.attempt(Again::new(wanted))
    }

    /// The same, whatever comes of it.
    #[cfg(test)]
    pub fn reload(&mut self, wanted: Snapshot) {
        let _ = self.serve_instead(wanted);
    }

    /// Whether [`Reloader::look`] has something to do.
    pub fn is_under_way(&self) -> bool {
        let is_closing = !self.closing.is_empty() || !self.syncing.lock().is_over();
        !self.leaving.is_empty() || is_closing || self.again.is_some()
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
        let closed = self.closing.extract_if(.., |closing| closing.is_closed());
        self.free.extend(closed.map(|closing| closing.of.unit));
        let (is_quiet, now) = (self.leaving.is_empty() && self.closing.is_empty(), Instant::now());
        // A file that is never closed keeps what waits for another one no longer than that.
        let is_due = |again: &mut Again| now >= again.next && (is_quiet || now >= again.until && !again.is_late);
        if let Some(again) = self.again.take_if(is_due) {
            // It was said, and nobody waits for it.
            let _ = self.attempt(Again { is_late: !is_quiet, ..again });
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

    /// Puts each target where it has been, and new ones behind. The second value: the indices of those that are no
    /// more.
    fn align(&self, mut wanted: Snapshot) -> (Snapshot, Vec<usize>) {
        let old = &self.world.directory.snapshot().targets;
        let mut slots: Vec<Option<TargetSpec>> = old.iter().map(|_| None).collect();
        let mut new = Vec::new();
        for mut spec in mem::take(&mut wanted.targets) {
            spec.luns.sort_by_key(|lun| lun.number);
            match old.iter().position(|old| old.name == spec.name).and_then(|at| slots.get_mut(at)) {
                Some(slot) => *slot = Some(spec),
                None => new.push(spec),
            }
        }
        for spec in new {
            // Targets that were removed are remembered, but not without end.
            let forgotten = |&at: &usize| {
                slots.get(at).is_some_and(Option::is_none)
                    && self.world.targets.get(at).is_some_and(|target| target.removed)
                    && !self.world.registry.has_target(at)
            };
            let full = slots.len() >= limits::TARGETS;
            match (0..slots.len()).find(forgotten).filter(|_| full) {
                Some(at) => slots[at] = Some(spec),
                None => slots.push(Some(spec)),
            }
        }
        let removed = (0..slots.len()).filter(|&at| slots[at].is_none()).collect();
        let bare = |at: usize| TargetSpec {
            portal_groups: old[at].portal_groups.clone(),
            ..TargetSpec::new(old[at].name.clone(), None, Vec::new())
        };
        wanted.targets = slots.into_iter().enumerate().map(|(at, slot)| slot.unwrap_or_else(|| bare(at))).collect();
        (wanted, removed)
    }

    /// Finds out what is to be done, and opens and measures what has to be. `patient`: a file that is in use is waited for. After
    /// a failure all is as it was.
    fn plan(&self, wanted: Snapshot, patient: bool) -> Result<Plan, ServeError> {
        self.beside.borrow_mut().begin();
        let register = Arc::new(sync::Mutex::new(self.refreshed_register()?));
        let mut made = Made::default();
        match self.plan_anew(wanted, patient, &register, &mut made) {
            Ok(plan) => {
                // All calls beside this thread have answered: nobody else has the register.
                *lock(&self.world.register) = mem::take(&mut *lock(&register));
                Ok(Plan { made, ..plan })
            }
            Err(error) => {
                self.take_back(made);
                Err(error)
            }
        }
    }

    /// Whether the file of a LUN, or its identity, is that of a unit that leaves, or has not gone yet.
    fn is_busy(&self, leaving: &[Leaving], target: &TargetSpec, lun: &LunSpec) -> bool {
        let closing = self.closing.iter().map(|closing| &closing.of);
        let mut all = leaving.iter().chain(&self.leaving).chain(closing);
        let path = if let LunKind::File(path) = &lun.kind { Some(path) } else { None };
        let derived = || identity::naa(target.name.as_str(), lun.number, lun.serial.as_deref());
        // Any other identity follows the file.
        let naa = lun.naa.or_else(|| lun.serial.is_some().then(derived));
        all.any(|unit| {
            let is_path = unit.path.as_ref().is_some_and(|own| Some(own) == path);
            is_path || Some(unit.name.naa) == naa || lun.serial.as_ref() == Some(&unit.name.serial)
        })
    }

    fn plan_anew(
        &self,
        wanted: Snapshot,
        patient: bool,
        register: &Arc<sync::Mutex<Register>>,
        made: &mut Made,
    ) -> Result<Plan, ServeError> {
        let (mut snapshot, removed) = self.align(wanted);
        let (mut done, mut kept) = (Vec::new(), Vec::new());
        keep_fixed(&mut snapshot, self.world.directory.snapshot(), &mut kept);
        let targets = mem::take(&mut snapshot.targets);
        let common = Arc::new(snapshot.clone());
        let leaving = self.leaving_of(&targets, &mut done);
        let (mut places, mut stay, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        let mut taken: Vec<_> = self.world.units.iter().map(|unit| unit.name()).collect();
        for (at, mut spec) in targets.into_iter().enumerate() {
            if self.world.targets.get(at).is_none_or(|old| old.removed) && !removed.contains(&at) {
                done.push(format!("target {} added", spec.name));
            }
            let before = self.world.directory.snapshot().targets.get(at);
            let limits = |spec: &TargetSpec| spec.groups.iter().map(|group| group.limits).collect::<Vec<_>>();
            if before.is_some_and(|old| old.groups.len() == spec.groups.len() && limits(old) != limits(&spec)) {
                done.push(format!("groups of {} have other limits", spec.name));
            }
            let (luns, mut found) = (mem::take(&mut spec.luns), Vec::new());
            let target = Arc::new(spec.clone());
            for mut lun in luns {
                let what = format!("LUN {} of {}", lun.number, spec.name);
                if let Some((unit, old)) = self.kept(at, &lun) {
                    if old.limits != lun.limits {
                        done.push(format!("{what} has other limits"));
                    }
                    keep_options(&mut lun, old, &what, &mut kept);
                    self.ask(unit, &lun, (&what, &mut kept))?;
                    stay.push((unit, lun.clone(), what));
                    found.push((lun.number, Place::Kept(unit)));
                    spec.luns.push(lun);
                    continue;
                }
                if self.is_busy(&leaving, &spec, &lun) {
                    waiting.push(what);
                    continue;
                }
                match self.open((&common, &target, &lun), register, &taken) {
                    Ok(unit) => {
                        taken.push(unit.name());
                        made.fresh.push(unit);
                        found.push((lun.number, Place::New));
                    }
                    Err(ServeError::World(WorldError::Open(OpenError::InUse { .. }))) if patient => {
                        waiting.push(what);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                done.push(format!("{what} added"));
                spec.luns.push(lun);
            }
            places.push(found);
            snapshot.targets.push(spec);
        }
        // This comes last, when nothing else can fail: it is hard to take back.
        let resized = self.fit_all(&stay, made, (&mut done, &mut kept))?;
        Ok(Plan { snapshot, removed, places, made: Made::default(), leaving, resized, done, kept, waiting })
    }

    /// The unit that is there already for a LUN of target number `at`, and what it was configured as.
    fn kept(&self, at: usize, lun: &LunSpec) -> Option<(UnitIx, &LunSpec)> {
        let old = self.world.directory.snapshot().targets.get(at)?;
        let spec = old.luns.iter().find(|old| old.number == lun.number && old.kind == lun.kind)?;
        let target = self.world.targets.get(at)?;
        Some((*target.units.get(target.position(lun.number)?)?, spec))
    }

    /// The units that `targets` have no more.
    fn leaving_of(&self, targets: &[TargetSpec], done: &mut Vec<String>) -> Vec<Leaving> {
        let mut leaving = Vec::new();
        for (at, old) in self.world.directory.snapshot().targets.iter().enumerate() {
            let new = targets.get(at).map_or(&[][..], |spec| &spec.luns);
            for lun in &old.luns {
                let stays = new.iter().any(|new| new.number == lun.number && new.kind == lun.kind);
                if let Some((unit, _)) = self.kept(at, lun).filter(|_| !stays) {
                    let path = if let LunKind::File(path) = &lun.kind { Some(path.clone()) } else { None };
                    done.push(format!("LUN {} of {} removed", lun.number, old.name));
                    let name = self.world.units.get(unit).unwrap_or(&self.world.nothing).name();
                    leaving.push(Leaving { unit, path, name });
                }
            }
        }
        leaving
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

fn lock<T>(mutex: &sync::Mutex<T>) -> sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has those settings stay as they were that cannot change while the cores work.
fn keep_fixed(snapshot: &mut Snapshot, old: &Snapshot, kept: &mut Vec<String>) {
    // Port 0 in the file stands for the port that was chosen at the start.
    let listens = |old: &Portal, new: &Portal| {
        old.listen == new.listen || new.listen.port() == 0 && old.listen.ip() == new.listen.ip()
    };
    let same = |(old, new): (&Portal, &Portal)| listens(old, new) && old.group_tag == new.group_tag;
    let portals = old.portals.len() == snapshot.portals.len() && old.portals.iter().zip(&snapshot.portals).all(same);
    let fixed = [
        ("portals", !portals),
        ("cores", old.cores != snapshot.cores),
        ("spin-us", old.spin_us != snapshot.spin_us),
        ("congestion", old.congestion != snapshot.congestion),
        ("state", old.state != snapshot.state),
    ];
    let differ: Vec<&str> = fixed.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
    if !differ.is_empty() {
        kept.push(format!("another setting of {} takes a restart", differ.join(", ")));
    }
    if portals {
        for (new, old) in snapshot.portals.iter_mut().zip(&old.portals) {
            new.listen = old.listen;
        }
    } else {
        snapshot.portals.clone_from(&old.portals);
    }
    snapshot.cores.clone_from(&old.cores);
    snapshot.spin_us = old.spin_us;
    snapshot.congestion.clone_from(&old.congestion);
    snapshot.state.clone_from(&old.state);
}

/// Has those options of a LUN stay as they were that a host has seen of it.
fn keep_options(lun: &mut LunSpec, old: &LunSpec, what: &str, kept: &mut Vec<String>) {
    let differ: Vec<&str> = OPTIONS.iter().filter(|option| option.keep(lun, old)).map(|option| option.key).collect();
    if !differ.is_empty() {
        let differ = differ.join(", ");
        kept.push(format!("{what}: another setting of {differ} takes a restart, or removing the LUN first"));
    }
}

#[cfg(test)]
mod tests;
