//! The room that a thin logical unit has, in the words of both `backend` (which measures it) and `scsi` (which tells it).

/// What a medium takes up, and what there is left for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that the medium has storage for.
    pub used_bytes: u64,
    /// Bytes that may still be had; others on the same file system may have them first.
    pub available_bytes: u64,
}
