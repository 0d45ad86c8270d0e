//! Counters of one executor. Plain numbers: only their core writes them.

/// What an executor has counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Bytes asked for by reads.
    pub read_bytes: u64,
    /// Bytes announced by writes.
    pub written_bytes: u64,
    /// Commands that ended because their data did not come while others waited for buffers.
    pub overdue: u64,
    /// The most tasks that waited for buffers, or for ranges, at a time.
    pub most_waiting: u64,
    /// The most who were told in one turn that their flush has ended.
    pub most_flushed: u64,
    /// Reads and writes that ended because a medium failed.
    pub medium_faults: u64,
}
