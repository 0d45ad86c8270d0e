//! Counters of one core. Plain numbers: only their core writes them. Those of its executor are in
//! `tasks/counters.rs`.

/// What a core has done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections turned away because a limit was reached.
    pub refused: u64,
    /// Logins completed.
    pub logins: u64,
    /// Commands executed.
    pub commands: u64,
    /// Bytes of Data-Out that were received straight into I/O buffers.
    pub placed_bytes: u64,
    /// PDUs with a header or data digest that did not match.
    pub digest_errors: u64,
    /// Sessions that moved here from another core.
    pub moved_in: u64,
    /// Receives that found no free buffer and were armed again.
    pub out_of_receive_buffers: u64,
    /// Things that had to be there and were not, in the whole process.
    pub missing: u64,
    /// What the executor has counted; filled in where the core tells of itself.
    pub executor: crate::tasks::counters::Counters,
    /// Bytes of memory of the largest batch of answers that was sent.
    pub largest_batch_bytes: u64,
}
