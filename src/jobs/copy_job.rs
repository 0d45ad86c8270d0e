//! A third-party copy that runs: whom it belongs to, and which units it uses. What it does is in `copying.rs`.

use crate::model::{InitiatorPort, UnitIx};
use crate::scsi::copy_begin::CopyWatch;
use crate::waits::left::{LeftCopy, Scope};

/// Whom a running copy belongs to, and what it uses: it is no task of the units that it reads and writes, and perhaps
/// no task at all.
pub struct CopyJob {
    /// Index of the target.
    pub target: usize,
    /// Serial number of the session that asked for it.
    pub session: u64,
    /// The initiator port that asked for it, and the tag of the portal group that it came by.
    pub nexus: (InitiatorPort, u16),
    /// The unit that was asked, the sources, and the destinations.
    pub units: Vec<UnitIx>,
    /// Says whether somebody wants the copy to end.
    pub watch: CopyWatch,
    /// Set when the copy is aborted: counts it for those who wait for its end.
    pub left: Option<LeftCopy>,
    /// When it was ended, milliseconds of the core's clock.
    pub ended_ms: u64,
}

impl CopyJob {
    /// Whether an abort of this scope ends it. (Those of a session are ended with its tasks.)
    pub fn is_of(&self, scope: Scope) -> bool {
        match scope {
            Scope::Unit(unit) => self.units.contains(&unit),
            Scope::Target(target) => self.target == target,
            Scope::Seat(..) => false,
        }
    }
}
