//! The start of a world: media are opened, and have device servers put over them, as they were when they were last served.
//! A reload opens units in the same way.

use super::World;
use super::clock::Clock;
use super::doors::Doors;
use super::error::WorldError;
use super::fresh::{Fresh, Undo};
use super::load::Load;
use super::registry::Registry;
use super::targets::{LunMap, Target};
use crate::backend::{Fit, Medium, OpenError, absolute};
use crate::limits::{self, SLICE_BYTES};
use crate::model::{Admission, LunKind, LunSpec, MediumFault, PerUnit, PortGroup, Snapshot, TargetSpec};
use crate::scsi::{LuParams, Saved};
use crate::session::directory::SnapshotDirectory;
use crate::state::{self, Keeper, KeeperThread, Name, Register, Wanted};
use crate::unit::Unit;
use crate::unit::errandry::Errandry;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use std::{fs, io};

impl Unit {
    /// What hosts know it by.
    pub fn name(&self) -> Name {
        let LuParams { naa, serial, .. } = self.logical.params();
        Name { naa: *naa, serial: serial.clone() }
    }

    /// Opens a medium and puts the device server over it, as it was when it was last served. `taken`: what others are
    /// called. Blocking.
    ///
    /// # Errors
    /// Why the unit cannot be served. File and record are as they were, but not `register`.
    pub fn open(
        (snapshot, target, lun): (&Snapshot, &TargetSpec, &LunSpec),
        register: &Mutex<Register>,
        taken: &[Name],
        cores: usize,
    ) -> Result<Fresh, WorldError> {
        // For moments only: a file that does not answer is not to keep others from being opened.
        let register = || register.lock().unwrap_or_else(PoisonError::into_inner);
        if let LunKind::File(path) = &lun.kind
            && lun.create
            && fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
            && let Some(record) = register().of_path(&absolute(path)).map(|record| snapshot.state.join(record))
            && record.exists()
        {
            return Err(WorldError::Gone { path: path.clone(), record });
        }
        let medium = Arc::new(Medium::open(lun).map_err(WorldError::Open)?);
        let mut undo = Undo::of(&medium, lun);
        let backing = medium.backing(lun, target.name.as_str());
        let wanted =
            Wanted { target: target.name.as_str(), lun: lun.number, naa: lun.naa, serial: lun.serial.as_deref() };
        let has_double = |path: &str| medium.has_double(Path::new(path));
        let designators: Vec<_> = taken.iter().map(|name| name.naa).collect();
        let named = register().name(wanted, &backing, &designators, &has_double);
        let (name, is_new) = named.map_err(WorldError::System)?;
        // A host takes for paths to one disk what has either in common.
        if taken.iter().any(|other| other.naa == name.naa || other.serial == name.serial) {
            let what = format!("LUN {} of {}", lun.number, target.name);
            return Err(WorldError::Identity { what, naa: u128::from_be_bytes(name.naa), serial: name.serial });
        }
        if is_new {
            tracing::warn!(
                naa = format!("{:032x}", u128::from_be_bytes(name.naa)),
                "LUN {} of {} is another disk than it was, and hosts are told so (serial and naa set what it is called)",
                lun.number,
                target.name
            );
        }
        let params = lu_params(name, target.name.as_str(), snapshot.port_groups(target), lun, &medium);
        let recorded = Some(&backing).filter(|_| !snapshot.state.as_os_str().is_empty());
        let unit = Unit::new(medium, params, (&snapshot.state, recorded), cores);
        let saved = unit.file.load().map_err(WorldError::State)?;
        match unit.file.record(&saved) {
            Ok(before) => undo.recorded(&unit.file, before),
            Err(error) => {
                let file = unit.file.path().display();
                tracing::warn!(
                    "{file}: which disk LUN {} of {} is cannot be recorded: {error}",
                    lun.number,
                    target.name
                );
            }
        }
        if unit.resume(saved) {
            // The kernel tells nobody else of the lost writes: that is kept, whatever fails now.
            undo.keep_record();
        }
        unit.measure();
        if unit.medium.can_be_lost() {
            unit.logical.watch();
        }
        Ok(Fresh::new(unit, undo))
    }

    /// Makes the unit what it was when it was last served. Whether it was saved that hosts have lost what they had
    /// written. Blocking.
    fn resume(&self, saved: Saved) -> bool {
        self.recall(&saved);
        self.logical.restore(saved);
        // The cache may have been on when the process was killed, or its flush not over: what hosts have written before
        // is to be durable now that they find it off. So is that a file has grown. That sync may be told what the
        // kernel could not write back for the process before: it is done here, where hosts can be told.
        let off = self.logical.unflushed();
        if off.is_none() && !self.medium.has_grown() {
            return false;
        }
        match self.medium.sync() {
            Ok(()) => {
                if let Some(off) = off {
                    self.logical.cache_flushed(off);
                }
                if let Some(others) = self.logical.others_unflushed() {
                    self.logical.others_flushed(others, self.syncs.failures());
                }
                false
            }
            Err(error) => {
                self.not_synced(&error);
                self.remember_before()
            }
        }
    }

    /// What stands where there is no unit: of no bytes, and in no LUN map.
    pub fn none(cores: usize) -> Unit {
        let medium = Medium::none();
        let name = Name { naa: [0; 16], serial: String::new() };
        let params = lu_params(name, "", Vec::new(), &LunSpec::new(0, LunKind::Null), &medium);
        Unit::new(Arc::new(medium), params, (Path::new(""), None), cores)
    }

    /// Like [`Medium::fit`]; what has grown is made durable.
    ///
    /// # Errors
    /// Why that size cannot be had. A file that only may not grow has lost nothing.
    pub fn fit(&self, lun: &LunSpec) -> Result<Fit, OpenError> {
        let fit = self.medium.fit(lun)?;
        let LunKind::File(path) = &lun.kind else { return Ok(fit) };
        if !fit.has_grown() {
            return Ok(fit);
        }
        // What the kernel says here it says to nobody else: counted as a durable write, this keeps flushes from ending
        // before that is counted, too. On which core it is counted makes no difference.
        let epoch = self.syncs.durable(0);
        let synced = self.medium.sync().inspect_err(|error| self.not_synced(error));
        self.syncs.durable_over(0, epoch);
        synced.map(|()| fit).map_err(|source| {
            if let Err(error) = self.medium.ungrow(&fit) {
                tracing::error!("{}: it is longer than before, which is not served: {error}", path.display());
            }
            OpenError::Unsynced { path: path.clone(), source }
        })
    }

    /// The kernel could not write back what hosts wrote, and has said so beside the cores: it says it to nobody else.
    fn not_synced(&self, error: &io::Error) {
        self.syncs.fail(MediumFault::Write);
        let (failures, serial) = (self.syncs.untold(), &self.logical.params().serial);
        tracing::error!(
            event = "writes-lost",
            serial,
            failures,
            "not flushed: what hosts wrote last may be lost: {error}"
        );
    }
}

/// What the device server is told: the configuration, made true to what the medium really is.
fn lu_params(
    Name { naa, serial }: Name,
    target: &str,
    port_groups: Vec<PortGroup>,
    lun: &LunSpec,
    medium: &Medium,
) -> LuParams {
    let facts = medium.properties();
    let granularity = u64::from(facts.discard_granularity_bytes).max(u64::from(lun.physical_block_bytes));
    LuParams {
        block_bytes: lun.block_bytes,
        physical_block_bytes: lun.physical_block_bytes,
        blocks: facts.size_bytes / u64::from(lun.block_bytes),
        readonly: lun.readonly,
        // A medium that can run out of space says so, whatever was asked for.
        thin: (lun.thin || facts.sparse) && facts.discard,
        serial,
        naa,
        target_name: target.to_owned(),
        port_groups,
        unmap_granularity_blocks: (granularity / u64::from(lun.block_bytes)) as u32,
        unmap_alignment_blocks: 0,
        volatile_cache: facts.volatile_cache && !lun.cdrom,
        rotational: facts.rotational,
        removable: lun.removable,
        cdrom: lun.cdrom,
        low_space_bytes: lun.low_space_bytes,
        atomic_blocks: if facts.atomic { SLICE_BYTES as u32 / lun.block_bytes } else { 0 },
    }
}

/// How many connections a configuration lets in.
pub fn admission(snapshot: &Snapshot) -> Admission {
    snapshot.admission.unwrap_or(Admission {
        connections: limits::CONNECTIONS,
        per_address: limits::CONNECTIONS_PER_ADDRESS,
        half_open_per_address: limits::HALF_OPEN_PER_ADDRESS,
        login_timeout_ms: limits::LOGIN_TIMEOUT_MS,
    })
}

impl World {
    /// Opens every medium and puts the device servers over them, as they were when the process last ended. The thread
    /// is the keeper's.
    ///
    /// # Errors
    /// Why something cannot be opened or started. Files and records are as they were.
    pub fn open(snapshot: Snapshot, cores: usize) -> Result<(World, KeeperThread), WorldError> {
        let (keeper, thread) = Keeper::start().map_err(WorldError::System)?;
        let errandry = Errandry::start().map_err(WorldError::System)?;
        World::open_with(snapshot, cores, keeper, errandry).map(|world| (world, thread))
    }

    /// As [`World::open`]; others store, and run errands.
    ///
    /// # Errors
    /// As [`World::open`].
    pub fn open_with(
        snapshot: Snapshot,
        cores: usize,
        keeper: Keeper,
        errandry: Errandry,
    ) -> Result<World, WorldError> {
        let snapshot = Arc::new(snapshot);
        let register = Mutex::new(Register::read(&snapshot.state).map_err(WorldError::State)?);
        state::warn_of_others(&snapshot.state);
        let (mut units, mut targets, mut taken) = (PerUnit::default(), Vec::new(), Vec::new());
        for spec in &snapshot.targets {
            let mut own = LunMap::default();
            let mut luns: Vec<_> = spec.luns.iter().collect();
            luns.sort_by_key(|l| l.number);
            for lun in luns {
                own.numbers.push(lun.number);
                let unit = Unit::open((&snapshot, spec, lun), &register, &taken, cores)?;
                taken.push(unit.name());
                own.units.push(units.push(unit));
            }
            targets.push(Target::new(spec, own, false));
        }
        let admission = admission(&snapshot);
        let mut world = World {
            doors: Doors::new(admission.connections, admission.per_address),
            admission,
            directory: SnapshotDirectory::new(snapshot),
            units: units.into_iter().map(|unit: Fresh| Arc::new(unit.keep())).collect(),
            nothing: Arc::new(Unit::none(cores)),
            leaving: Vec::new(),
            targets,
            generation: 0,
            loads: (0..cores).map(|_| Load::default()).collect(),
            registry: Arc::new(Registry::new(cores)),
            register: Arc::new(register),
            missing: Arc::default(),
            keeper: Arc::new(keeper),
            errandry: Arc::new(errandry),
            rates: Arc::default(),
            unit_rates: PerUnit::default(),
            clock: Arc::new(Clock::new(Instant::now())),
            next_nexus: Arc::new(AtomicU64::new(1)),
        };
        world.set_limits(None);
        Ok(world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
    use crate::model::{InitiatorPort, IscsiName};
    use crate::scsi::{Heard, LogicalUnit, Lost, LuNexus, Modes, NexusId};
    use crate::wire::Isid;
    use rustix::fs::{MemfdFlags, SealFlags};
    use std::os::fd::AsRawFd;

    const MIB: u64 = 1 << 20;

    fn target() -> TargetSpec {
        TargetSpec::new(IscsiName::new("iqn.2026-11.io.ringsan:t").unwrap(), None, Vec::new())
    }

    /// A unit over a file of memory, and that.
    fn of_memory_file() -> (Unit, LunSpec, fs::File) {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = fs::File::from(rustix::fs::memfd_create("disk", flags).unwrap());
        file.set_len(MIB).unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let lun = LunSpec { thin: true, ..LunSpec::new(0, LunKind::File(path.into())) };
        let unit = Unit::open((&Snapshot::default(), &target(), &lun), &Mutex::default(), &[], 1).unwrap().keep();
        assert!(unit.volatile);
        (unit, lun, file)
    }

    /// The same, and every sync of it fails.
    fn of_failing_file() -> (Unit, LunSpec, fs::File) {
        let (mut unit, lun, file) = of_memory_file();
        let fails = FaultRule::new(FaultAction::Fail(MediumFault::Write)).on(OpClass::Sync);
        unit.medium = Arc::new(Medium::with_faults(unit.medium, FaultPlan::new().rule(fails)));
        (unit, lun, file)
    }

    #[test]
    fn only_a_file_that_has_grown_can_have_lost_writes() {
        for (seals, failures) in [(SealFlags::GROW, 0), (SealFlags::empty(), 1)] {
            let (unit, lun, file) = of_failing_file();
            rustix::fs::fcntl_add_seals(&file, seals).unwrap();
            assert!(unit.fit(&LunSpec { size_bytes: Some(2 * MIB), ..lun }).is_err());
            assert_eq!((unit.syncs.failures(), file.metadata().unwrap().len()), (failures, MIB));
        }
    }

    /// Its syncs fail, which tells that there was one.
    #[test]
    fn a_cache_that_was_switched_off_is_flushed_at_the_start() {
        for write_through in [false, true] {
            let (unit, ..) = of_failing_file();
            assert!(!unit.resume(Saved { modes: Modes { write_through, ..Modes::default() }, ..Saved::default() }));
            assert_eq!(unit.syncs.failures(), u64::from(write_through));
            assert_eq!(unit.logical.unflushed().is_some(), write_through);
            // Whoever logs in now may have written before.
            for isid in 1..3 {
                let port = InitiatorPort::new(target().name, Isid([0x80, 0, 0, isid, 0, 0]));
                let nexus = LuNexus::new(NexusId(u64::from(isid)), &unit.logical);
                let mut nexus = nexus.of_port(&unit.logical, &port, unit.syncs.failures());
                let expected = if write_through { Heard::IsTold } else { Heard::Before };
                assert_eq!(nexus.hear(unit.syncs.failures(), None, |_| None), expected);
            }
        }
    }

    /// The kernel says to the sync behind it what the process before could not write back, and to nobody else.
    #[test]
    fn what_the_sync_of_a_file_that_has_grown_finds_lost_is_told_and_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        fs::write(&path, vec![0; MIB as usize]).unwrap();
        let snapshot = Snapshot { state: folder.path().join("state"), ..Snapshot::default() };
        for (size_bytes, failures) in [(MIB, 0), (2 * MIB, 1)] {
            let lun = LunSpec { size_bytes: Some(size_bytes), ..LunSpec::new(0, LunKind::File(path.clone())) };
            let mut unit = Unit::open((&snapshot, &target(), &lun), &Mutex::default(), &[], 1).unwrap().keep();
            let fails = FaultRule::new(FaultAction::Fail(MediumFault::Write)).on(OpClass::Sync);
            unit.medium = Arc::new(Medium::with_faults(unit.medium, FaultPlan::new().rule(fails)));
            // As if its sync had not gone well before.
            unit.logical = Arc::new(LogicalUnit::new(unit.logical.params().clone()));
            assert_eq!(unit.resume(Saved::default()), failures > 0);
            assert_eq!(unit.syncs.failures(), failures);
            assert_eq!(unit.file.load().unwrap().lost, (failures > 0).then_some(Lost::UNHEARD));
        }
    }

    /// The process may be killed before it ends, and the kernel does not say it twice.
    #[test]
    fn what_the_sync_at_the_start_has_lost_is_saved_before_it_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let kind = LunKind::File(folder.path().join("disk"));
        let lun = LunSpec { create: true, size_bytes: Some(MIB), ..LunSpec::new(0, kind) };
        let snapshot = Snapshot { state: folder.path().join("state"), ..Snapshot::default() };
        let mut unit = Unit::open((&snapshot, &target(), &lun), &Mutex::default(), &[], 1).unwrap().keep();
        let fails = FaultRule::new(FaultAction::Fail(MediumFault::Write)).on(OpClass::Sync);
        unit.medium = Arc::new(Medium::with_faults(unit.medium, FaultPlan::new().rule(fails)));
        let modes = Modes { write_through: true, ..Modes::default() };
        unit.resume(Saved { modes, ..Saved::default() });
        let saved = Saved { modes, lost: Some(Lost::UNHEARD), ..Saved::default() };
        assert_eq!(unit.file.load().unwrap(), saved);
        assert_eq!(unit.logical.saved(), saved, "with what else is saved later");
    }
}
