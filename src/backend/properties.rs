//! What is true of a medium, and how it fits what is asked for.

/// What is true of a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// Size in bytes, a multiple of the logical block length.
    pub size_bytes: u64,
    /// A discard gives space back (and is not merely written as zeroes).
    pub discard: bool,
    /// The unit that is given back, in bytes, a multiple of the logical block length; of no meaning without `discard`.
    pub discard_granularity_bytes: u32,
    /// A file that does not have all of its space yet: a write can find no room.
    pub sparse: bool,
    /// Completed writes may be lost with the power until a flush: WCE.
    pub volatile_cache: bool,
    /// A disk that turns.
    pub rotational: bool,
    /// No loss of power tears a write: nothing outlives one.
    pub atomic: bool,
    /// O_DIRECT is in use.
    pub direct: bool,
    /// Offsets and lengths of transfers are multiples of this, in bytes; at most the logical block length.
    pub io_align_bytes: u32,
    /// Buffers are aligned to this, in bytes.
    pub mem_align_bytes: u32,
}

impl Properties {
    /// Those of a medium without a disk. Nothing outlives the process, so there is no cache that a flush could save:
    /// to report one would only cost hosts their flushes.
    pub(super) fn of_memory(size_bytes: u64) -> Self {
        Properties {
            size_bytes,
            discard: true,
            sparse: false,
            discard_granularity_bytes: 4096,
            volatile_cache: false,
            rotational: false,
            atomic: false,
            direct: false,
            io_align_bytes: 1,
            mem_align_bytes: 1,
        }
    }
}

/// What [`Medium::fit`](super::Medium::fit) comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// The size that the medium can have now.
    pub bytes: u64,
    /// The length of its file before that grew.
    pub(super) grown_from: Option<u64>,
}

impl Fit {
    /// Whether its file has grown, which is yet to be made durable.
    pub fn has_grown(&self) -> bool {
        self.grown_from.is_some()
    }
}
