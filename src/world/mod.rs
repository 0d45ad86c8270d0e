//! What all cores share: the units, the targets, the directory, and the registry. A [`World`] never changes:
//! when the configuration does, the cores are given another one (`shard/change.rs`), with the same registries in it.
//!
//! How it is opened is in `opening.rs`, how the next one is made in `changing.rs`. Nothing here knows a core, or what cores tell each other.
//!
//! Invariants: a target and a unit keep their index for as long as anybody may use it.

pub(crate) mod changing;
pub(crate) mod clock;
pub(crate) mod doors;
pub(crate) mod error;
pub(crate) mod fresh;
pub(crate) mod gates;
pub(crate) mod load;
pub(crate) mod missing;
pub(crate) mod opening;
pub(crate) mod registry;
pub(crate) mod targets;

use crate::model::{Admission, PerUnit, UnitIx};
use crate::panics;
use crate::rate::Buckets;
use crate::session::directory::SnapshotDirectory;
use crate::state::{Keeper, Register};
use crate::unit::Unit;
use crate::unit::errandry::Errandry;
use crate::unit::media::Media;
use crate::unit::notice::Post;
use clock::Clock;
use doors::Doors;
use load::Load;
use missing::Missing;
use registry::Registry;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use targets::Target;

/// What all cores share, as of one configuration.
#[derive(Clone)]
pub struct World {
    /// Who may see which target where.
    pub directory: SnapshotDirectory,
    /// The units of all targets. Where there was a unit and is none: `nothing`.
    pub units: PerUnit<Vec<Arc<Unit>>>,
    /// What stands where there is no unit.
    pub nothing: Arc<Unit>,
    /// Units that are served no more; each core lets go of them as soon as it can.
    pub leaving: Vec<UnitIx>,
    /// The targets, in the order of the directory's snapshot.
    pub targets: Vec<Target>,
    /// Connections are counted here.
    pub doors: Arc<Doors>,
    /// How many connections there may be.
    pub admission: Admission,
    /// Which configuration this is: each has a higher number than the one before.
    pub generation: u64,
    /// How busy each core is.
    pub loads: Arc<[Load]>,
    /// Sessions and their cores.
    pub registry: Arc<Registry>,
    /// Which unit has which identity.
    pub register: Arc<Mutex<Register>>,
    /// What the configuration has and is not served.
    pub missing: Arc<panics::Mutex<Missing>>,
    /// Stores what outlives the process.
    pub keeper: Arc<Keeper>,
    /// Has errands run.
    pub errandry: Arc<Errandry>,
    /// All limits on commands and bytes a second.
    pub rates: Buckets,
    /// The limits of each unit, on commands and on bytes: places in `rates`.
    pub unit_rates: PerUnit<Vec<[u32; 2]>>,
    /// The clock of all cores.
    pub clock: Arc<Clock>,
    /// Numbers for `scsi::NexusId`, unique in the process.
    pub next_nexus: Arc<AtomicU64>,
}

/// Another configuration, as each core is told of it.
pub struct Change {
    /// What is served from now on.
    pub world: Arc<World>,
    /// Numbers of the units that have another capacity.
    pub resized: Vec<UnitIx>,
}

impl World {
    /// What the executors need of it. `post`: how they tell each other.
    pub fn media(&self, post: Post) -> Media {
        Media {
            units: self.units.iter().cloned().collect(),
            rates: Arc::clone(&self.rates),
            unit_rates: self.unit_rates.clone(),
            keeper: Arc::clone(&self.keeper),
            errandry: Arc::clone(&self.errandry),
            post,
        }
    }
}
