//! Mode parameters of a logical unit that can be other than they are by default; `mode.rs` has their pages.

use super::params::NexusId;

/// Mode parameters that MODE SELECT can change. `Default` has their default values.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    /// D_SENSE: sense data in descriptor format.
    pub descriptor_sense: bool,
    /// SWP: software write protect.
    pub swp: bool,
    /// WCE is zero on a medium with a volatile cache: every write is durable before its status.
    pub write_through: bool,
}

/// The volatile cache was switched off, and what was in it is not known to be durable. Until it is, WCE is reported as
/// one: a host that finds it zero flushes nothing any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unflushed {
    /// The number of this switching off, counted from 1.
    pub(super) number: u64,
    /// The nexus that has switched it off; `None`: a reset or a restart has.
    pub(super) by: Option<NexusId>,
    /// A host was told since then that the cache is on.
    pub(super) is_told: bool,
}
