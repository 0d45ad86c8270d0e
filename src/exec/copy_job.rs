//! A third-party copy that runs: whom it belongs to, and which units it uses. What it does is in `copy.rs`.

use crate::model::InitiatorPort;
use crate::scsi::copy_begin::CopyWatch;
use crate::waits::left::{LeftCopy, Scope};

/// Whom a running copy belongs to, and what it uses: it is no task of the units that it reads and writes, and perhaps
/// no task at all.
pub struct CopyJob {
    /// Index of the target.
    pub(super) target: usize,
    /// Serial number of the session that asked for it.
    pub(super) session: u64,
    /// The initiator port that asked for it, and the tag of the portal group that it came by.
    pub(super) nexus: (InitiatorPort, u16),
    /// The unit that was asked, the sources, and the destinations.
    pub(super) units: Vec<usize>,
    /// Says whether somebody wants the copy to end.
    pub(super) watch: CopyWatch,
    /// Set when the copy is aborted: counts it for those who wait for its end.
    pub(super) left: Option<LeftCopy>,
    /// When it was ended, milliseconds of the core's clock.
    pub(super) ended_ms: u64,
}

impl CopyJob {
    /// Whether an abort of this scope ends it. (Those of a session are ended with its tasks.)
    pub(super) fn is_of(&self, scope: Scope) -> bool {
        match scope {
            Scope::Unit(unit) => self.units.contains(&unit),
            Scope::Target(target) => self.target == target,
            Scope::Seat(..) => false,
        }
    }
}
