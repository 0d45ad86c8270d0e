//! What is to be done for another configuration to be served: what is different is found out, and what is new is opened.

use super::again::SHARE;
use super::made::Made;
use super::{Leaving, Place, Plan, Reloader, plane};
use crate::backend::OpenError;
use crate::config::diff::{self, Becomes, Step, Thing};
use crate::limits;
use crate::model::lun::OPTIONS;
use crate::model::{LunKind, LunSpec, Snapshot, TargetSpec, UnitIx};
use crate::scsi::identity;
use crate::serve::error::ServeError;
use crate::state::{Name, Register};
use crate::world::error::WorldError;
use crate::world::fresh::Fresh;
use crate::world::missing::MissingLun;
use crate::world::targets::Target;
use std::mem;
use std::sync::{self, Arc, PoisonError, TryLockError};
use std::time::{Instant, SystemTime};

/// Why a logical unit is not served that waits for a file.
const WAITS: &str = "its file, or one at its place, is still open as it was";

/// What is to be served for a plan to be one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// All of it.
    Whole,
    /// What is different from before.
    Change,
    /// As much of it as can be.
    File,
    /// Of what is not served, as much as can be. Nothing else is touched.
    Again,
}

/// A logical unit that stays.
pub(super) struct Stay {
    pub(super) unit: UnitIx,
    pub(super) lun: LunSpec,
    /// Which one it is, in words.
    pub(super) what: String,
    /// There is no plan unless it can have the size that it is to have.
    pub(super) is_needed: bool,
}

/// What a plan opens, one after another.
struct Opening<'a> {
    mode: Mode,
    register: &'a Arc<sync::Mutex<Register>>,
    /// What others are called: shared with the call that opens one, and not copied for each.
    taken: Arc<Vec<Name>>,
    /// What was not served before.
    before: Vec<MissingLun>,
    missing: Vec<MissingLun>,
    /// What did not answer: nothing else is asked after that.
    silent: Option<String>,
    begun: Instant,
    /// How many were to be opened, and the first of those that were left for the next time.
    count: usize,
    untried: usize,
}

impl Opening<'_> {
    /// It is not served.
    fn miss(&mut self, target: &TargetSpec, lun: LunSpec, why: String, waits: bool) {
        let is_same = |old: &&MissingLun| old.target == target.name && old.lun.number == lun.number;
        let since = self.before.iter().find(is_same).map(|old| old.since);
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let since = since.unwrap_or_else(now);
        self.missing.push(MissingLun { target: target.name.clone(), lun, why, waits, since });
    }

    /// What there was to say of it before, if it was not served then either.
    fn before(&self, target: &TargetSpec, lun: &LunSpec) -> Option<&MissingLun> {
        self.before.iter().find(|old| old.target == target.name && old.lun == *lun)
    }

    /// Whether there is no plan without it.
    fn needs(&self, target: &TargetSpec, lun: &LunSpec) -> bool {
        match self.mode {
            Mode::Whole => true,
            Mode::Change => self.before(target, lun).is_none(),
            Mode::File | Mode::Again => false,
        }
    }

    /// Whether it is left for the next time, and why.
    fn leaves(&mut self, from: usize) -> Option<String> {
        if let Some(silent) = &self.silent {
            return Some(format!("not tried yet, for something else does not answer ({silent})"));
        }
        if self.mode != Mode::Again {
            return None;
        }
        let own = self.count;
        self.count += 1;
        // Those that come before were tried the last time.
        if own < from {
            return Some(String::new());
        }
        // One at least, however long that takes.
        if self.begun.elapsed() < SHARE || own == from {
            return None;
        }
        self.untried = if self.untried == 0 { own } else { self.untried };
        Some(String::new())
    }
}

impl Reloader {
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

    /// Finds out what is to be done, and opens and measures what has to be. After a failure all is as it was.
    pub(super) fn plan(&self, wanted: Snapshot, mode: Mode) -> Result<Plan, ServeError> {
        self.beside.borrow_mut().begin();
        let register = Arc::new(sync::Mutex::new(self.refreshed_register()?));
        let mut made = Made::default();
        let planned = self.plan_anew(wanted, mode, &register, &mut made);
        match planned.and_then(|plan| Ok((plan, settled(&register)?))) {
            Ok((plan, register)) => {
                *lock(&self.world.register) = register;
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
        mode: Mode,
        register: &Arc<sync::Mutex<Register>>,
        made: &mut Made,
    ) -> Result<Plan, ServeError> {
        let (mut snapshot, removed) = self.align(wanted);
        let mut kept = Vec::new();
        keep_fixed(&mut snapshot, self.world.directory.snapshot(), &mut kept);
        plane::follow(&mut snapshot.control, &self.world.directory.snapshot().control, &mut kept);
        let (portals, missing_portals) = self.plan_portals(&mut snapshot, mode)?;
        let targets = mem::take(&mut snapshot.targets);
        let common = Arc::new(snapshot.clone());
        let leaving = self.leaving_of(&targets);
        let (mut places, mut stay) = (Vec::new(), Vec::new());
        let mut opening = Opening {
            mode,
            register,
            taken: Arc::new(self.world.units.iter().map(|unit| unit.name()).collect()),
            before: self.world.missing.lock().luns.clone(),
            missing: Vec::new(),
            silent: None,
            begun: Instant::now(),
            count: 0,
            untried: 0,
        };
        for (at, mut spec) in targets.into_iter().enumerate() {
            let (luns, mut found) = (mem::take(&mut spec.luns), Vec::new());
            let target = Arc::new(spec.clone());
            for mut lun in luns {
                if let Some((unit, old)) = self.kept(at, &lun) {
                    self.keep(&target, (unit, &mut lun, old), mode, (&mut stay, &mut kept))?;
                    found.push((lun.number, Place::Kept(unit)));
                    spec.luns.push(lun);
                } else if let Some(unit) = self.open_or_miss((&common, &target, &lun), &leaving, &mut opening)? {
                    made.fresh.push(unit);
                    found.push((lun.number, Place::New));
                    spec.luns.push(lun);
                }
            }
            places.push(found);
            snapshot.targets.push(spec);
        }
        // This comes last, when nothing else can fail: it is hard to take back.
        let resized = self.fit_all(&stay, made, &mut kept)?;
        let done = self.steps(&snapshot, &removed, &resized);
        let Opening { missing, untried, .. } = opening;
        Ok(Plan {
            snapshot,
            removed,
            places,
            made: Made::default(),
            leaving,
            resized,
            done,
            kept,
            missing,
            untried,
            portals,
            missing_portals,
        })
    }

    /// A LUN whose unit stays, and may be to have another size.
    fn keep(
        &self,
        target: &TargetSpec,
        (unit, lun, old): (UnitIx, &mut LunSpec, &LunSpec),
        mode: Mode,
        (stay, kept): (&mut Vec<Stay>, &mut Vec<String>),
    ) -> Result<(), ServeError> {
        if mode == Mode::Again {
            return Ok(());
        }
        let what = format!("LUN {} of {}", lun.number, target.name);
        let is_needed = mode == Mode::Whole || mode == Mode::Change && lun != old;
        keep_options(lun, old, &what, kept);
        match self.ask(unit, lun, (&what, kept)) {
            Ok(()) => stay.push(Stay { unit, lun: lun.clone(), what, is_needed }),
            Err(error) if is_needed => return Err(error),
            Err(error) => kept.push(format!("{what} stays as it is: {error}")),
        }
        Ok(())
    }

    /// Opens the unit of a LUN that is not served yet. `None`: it is not to be had, and not needed, or waits for a file.
    fn open_or_miss(
        &self,
        of: (&Arc<Snapshot>, &Arc<TargetSpec>, &LunSpec),
        leaving: &[Leaving],
        opening: &mut Opening<'_>,
    ) -> Result<Option<Fresh>, ServeError> {
        let (_, target, lun) = of;
        let is_late = opening.mode == Mode::Again && Instant::now() >= self.retry.until;
        if self.is_busy(leaving, target, lun) {
            opening.miss(target, lun.clone(), WAITS.to_owned(), !is_late);
            return Ok(None);
        }
        if let Some(why) = opening.leaves(self.retry.from) {
            let before = opening.before(target, lun).map(|before| (before.why.clone(), before.waits));
            let (why, waits) = if why.is_empty() { before.unwrap_or_default() } else { (why, false) };
            opening.miss(target, lun.clone(), why, waits);
            return Ok(None);
        }
        let waited = opening.before(target, lun).is_some_and(|before| before.waits);
        let (opened, is_silent) = self.open(of, opening.register, &opening.taken);
        let error = match opened {
            Ok(unit) => {
                Arc::make_mut(&mut opening.taken).push(unit.name());
                return Ok(Some(unit));
            }
            Err(error) => error,
        };
        let is_in_use = matches!(error, ServeError::World(WorldError::Open(OpenError::InUse { .. })));
        let waits = waited && is_in_use && !is_late && opening.mode == Mode::Again;
        if !waits && opening.needs(target, lun) {
            return Err(error);
        }
        opening.silent = is_silent.then(|| error.to_string());
        opening.miss(target, lun.clone(), error.to_string(), waits);
        Ok(None)
    }

    /// The unit that is there already for a LUN of target number `at`, and what it was configured as.
    fn kept(&self, at: usize, lun: &LunSpec) -> Option<(UnitIx, &LunSpec)> {
        let old = self.world.directory.snapshot().targets.get(at)?;
        let spec = old.luns.iter().find(|old| old.number == lun.number && old.kind == lun.kind)?;
        let target = self.world.targets.get(at)?;
        Some((*target.units.get(target.position(lun.number)?)?, spec))
    }

    /// What will be different from what is served. What has another size is said with that.
    fn steps(&self, after: &Snapshot, removed: &[usize], resized: &[(UnitIx, u64)]) -> Vec<Step> {
        let world = &self.world;
        let is_removed = |at: usize| world.targets.get(at).is_some_and(|target| target.removed);
        let before = without(world.directory.snapshot(), is_removed);
        let mut steps = diff::steps(&before, &without(after, |at| removed.contains(&at)));
        for (unit, bytes) in resized {
            let place = |target: &Target| {
                let at = target.units.iter().position(|own| own == unit)?;
                Some(Thing::Lun(target.name.clone(), *target.numbers.get(at)?))
            };
            let Some(thing) = world.targets.iter().find_map(place) else { continue };
            for step in steps.iter_mut().filter(|step| step.thing == thing) {
                if let Becomes::Changed(keys) = &mut step.becomes {
                    keys.retain(|key| *key != "size");
                }
            }
            steps.push(Step { thing, becomes: Becomes::Resized(*bytes) });
        }
        steps.retain(|step| step.becomes != Becomes::Changed(Vec::new()));
        steps
    }

    /// What there is, also what is not served yet; and what of `wanted` would be served, without what takes a restart, with that
    /// in words. No file is asked.
    pub(in crate::serve) fn foreseen(&self, mut wanted: Snapshot) -> (Snapshot, Snapshot, Vec<String>) {
        let (before, mut kept) = (self.all(), Vec::new());
        keep_fixed(&mut wanted, &before, &mut kept);
        plane::follow(&mut wanted.control, &before.control, &mut kept);
        for portal in wanted.portals.iter_mut().filter(|portal| portal.listen.port() == 0) {
            // It stays what was chosen.
            let chosen = before.portals.iter().find(|old| old.listen.ip() == portal.listen.ip());
            portal.listen = chosen.map_or(portal.listen, |old| old.listen);
        }
        for spec in &mut wanted.targets {
            let Some(old) = before.targets.iter().find(|old| old.name == spec.name) else { continue };
            for lun in &mut spec.luns {
                let same = |old: &&LunSpec| old.number == lun.number && old.kind == lun.kind;
                let Some(old) = old.luns.iter().find(same) else { continue };
                let what = format!("LUN {} of {}", lun.number, spec.name);
                keep_options(lun, old, &what, &mut kept);
                if !lun.shrink && lun.size_bytes.zip(old.size_bytes).is_some_and(|(new, old)| new < old) {
                    kept.push(format!("{what} keeps its size: it becomes smaller with shrink = true"));
                    lun.size_bytes = old.size_bytes;
                }
            }
        }
        (before, wanted, kept)
    }

    /// The units that `targets` have no more.
    fn leaving_of(&self, targets: &[TargetSpec]) -> Vec<Leaving> {
        let mut leaving = Vec::new();
        for (at, old) in self.world.directory.snapshot().targets.iter().enumerate() {
            let new = targets.get(at).map_or(&[][..], |spec| &spec.luns);
            for lun in &old.luns {
                let stays = new.iter().any(|new| new.number == lun.number && new.kind == lun.kind);
                if let Some((unit, _)) = self.kept(at, lun).filter(|_| !stays) {
                    let path = if let LunKind::File(path) = &lun.kind { Some(path.clone()) } else { None };
                    let name = self.world.units.get(unit).unwrap_or(&self.world.nothing).name();
                    leaving.push(Leaving { unit, path, name });
                }
            }
        }
        leaving
    }
}

/// What a snapshot has without the targets that are only remembered.
fn without(snapshot: &Snapshot, is_removed: impl Fn(usize) -> bool) -> Snapshot {
    let targets = snapshot.targets.iter().enumerate().filter(|(at, _)| !is_removed(*at));
    let targets = targets.map(|(_, spec)| spec.clone()).collect();
    Snapshot { targets, ..snapshot.clone() }
}

fn lock<T>(mutex: &sync::Mutex<T>) -> sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of identities after a plan. A call that has not come back goes on with what was known: it is not to take a
/// name that is another's.
fn settled(register: &Arc<sync::Mutex<Register>>) -> Result<Register, ServeError> {
    let mut known = match register.try_lock() {
        Ok(known) => known,
        Err(TryLockError::Poisoned(known)) => known.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(ServeError::Silent("a logical unit that is to be added".into())),
    };
    let is_ours = Arc::strong_count(register) == 1;
    Ok(if is_ours { mem::take(&mut *known) } else { known.clone() })
}

/// Has those settings stay as they were that cannot change while the cores work.
fn keep_fixed(snapshot: &mut Snapshot, old: &Snapshot, kept: &mut Vec<String>) {
    let fixed = [
        ("cores", old.cores != snapshot.cores),
        ("spin-us", old.spin_us != snapshot.spin_us),
        ("congestion", old.congestion != snapshot.congestion),
        ("state", old.state != snapshot.state),
    ];
    let differ: Vec<&str> = fixed.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
    if !differ.is_empty() {
        kept.push(format!("another setting of {} takes a restart", differ.join(", ")));
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
