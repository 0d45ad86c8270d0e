//! What all cores share: the units, the targets, the directory, the registry and the mailboxes. Immutable after start, or
//! behind its own lock off the data path.

use super::ServeError;
use super::fence::Fence;
use super::mesh::{Mailbox, Message};
use super::registry::Registry;
use crate::backend::Medium;
use crate::limits::SLICE_BYTES;
use crate::model::{IscsiName, LunKind, LunSpec, Snapshot, TargetSpec};
use crate::scsi::{LogicalUnit, LuParams, identity};
use crate::session::directory::SnapshotDirectory;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A logical unit of the process.
pub struct Unit {
    /// Where its blocks live.
    pub medium: Arc<Medium>,
    /// Its device server.
    pub logical: Arc<LogicalUnit>,
    /// Logical block length, bytes.
    pub block_bytes: u32,
    /// Ranges that a command has for itself.
    pub fence: Fence,
}

/// A target as the data path needs it.
pub struct Target {
    /// Its name.
    pub name: IscsiName,
    /// Its LUNs, ascending.
    pub numbers: Vec<u16>,
    /// Index into `World::units`, for each of `numbers`.
    pub units: Vec<usize>,
}

impl Target {
    /// Where LUN `number` is in `numbers`.
    #[inline]
    pub fn position(&self, number: u16) -> Option<usize> {
        // LUNs mostly count from 0 without a gap.
        if self.numbers.get(usize::from(number)) == Some(&number) {
            return Some(usize::from(number));
        }
        self.numbers.binary_search(&number).ok()
    }
}

/// See the module.
pub struct World {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// Who may see which target where.
    pub directory: SnapshotDirectory,
    /// The units of all targets.
    pub units: Vec<Unit>,
    /// The targets, in the order of the snapshot.
    pub targets: Vec<Target>,
    /// Sessions and their cores.
    pub registry: Registry,
    /// One for each core.
    pub mailboxes: Vec<Mailbox>,
    /// Numbers for `scsi::NexusId`, unique in the process.
    pub next_nexus: AtomicU64,
}

/// What the device server is told: the configuration, made true to what the medium really is.
fn lu_params(target: &TargetSpec, lun: &LunSpec, medium: &Medium) -> LuParams {
    let facts = medium.properties();
    let name = target.name.as_str();
    let granularity = u64::from(facts.discard_granularity_bytes).max(u64::from(lun.physical_block_bytes));
    LuParams {
        block_bytes: lun.block_bytes,
        physical_block_bytes: lun.physical_block_bytes,
        blocks: facts.size_bytes / u64::from(lun.block_bytes),
        readonly: lun.readonly,
        thin: lun.thin && facts.discard,
        serial: lun.serial.clone().unwrap_or_else(|| identity::default_serial(name, lun.number)),
        naa: identity::naa(name, lun.number, lun.serial.as_deref()),
        target_name: name.to_owned(),
        portal_group: 1,
        relative_port: 1,
        unmap_granularity_blocks: (granularity / u64::from(lun.block_bytes)) as u32,
        unmap_alignment_blocks: 0,
        volatile_cache: facts.volatile_cache,
        rotational: facts.rotational,
        removable: lun.removable,
        // A file may be torn by a loss of power; memory does not outlive one.
        atomic_blocks: match lun.kind {
            LunKind::Ram => SLICE_BYTES as u32 / lun.block_bytes,
            LunKind::File(_) | LunKind::Null => 0,
        },
    }
}

impl World {
    /// Opens every medium and puts the device servers over them.
    pub fn open(snapshot: Snapshot, cores: usize) -> Result<World, ServeError> {
        let snapshot = Arc::new(snapshot);
        let (mut units, mut targets) = (Vec::new(), Vec::new());
        for spec in &snapshot.targets {
            let mut luns: Vec<_> = spec.luns.iter().collect();
            luns.sort_by_key(|l| l.number);
            let first = units.len();
            for lun in &luns {
                let medium = Arc::new(Medium::open(lun).map_err(ServeError::Open)?);
                let logical = Arc::new(LogicalUnit::new(lu_params(spec, lun, &medium)));
                units.push(Unit { medium, logical, block_bytes: lun.block_bytes, fence: Fence::new(cores) });
            }
            targets.push(Target {
                name: spec.name.clone(),
                numbers: luns.iter().map(|l| l.number).collect(),
                units: (first..units.len()).collect(),
            });
        }
        let mailboxes = (0..cores).map(|_| Mailbox::new()).collect::<Result<_, _>>().map_err(ServeError::System)?;
        Ok(World {
            directory: SnapshotDirectory::new(Arc::clone(&snapshot)),
            snapshot,
            units,
            targets,
            registry: Registry::new(cores),
            mailboxes,
            next_nexus: AtomicU64::new(1),
        })
    }

    /// Tells a core something.
    pub fn post(&self, core: usize, message: Message) {
        if let Some(mailbox) = self.mailboxes.get(core) {
            mailbox.post(message);
        }
    }
}
