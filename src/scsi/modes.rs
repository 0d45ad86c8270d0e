//! Mode parameters of a logical unit that can be other than they are by default; `mode.rs` has their pages.

use super::params::NexusId;

/// Mode parameters that MODE SELECT can change. The default is the default.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    /// D_SENSE: sense data in descriptor format.
    pub descriptor_sense: bool,
    /// SWP: software write protect.
    pub swp: bool,
    /// WCE is zero on a medium with a volatile cache: every write is durable before its status.
    pub write_through: bool,
}

/// The volatile cache was switched off, and what was in it is not known to be durable. Until it is, WCE is reported as it was:
/// who finds it zero flushes nothing any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unflushed {
    /// The time that it was switched off, counted.
    pub(super) number: u64,
    /// By whom.
    pub(super) by: Option<NexusId>,
    /// Somebody was told that it is on.
    pub(super) is_told: bool,
}
