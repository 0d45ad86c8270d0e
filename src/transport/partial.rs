//! A PDU whose data segment is still coming in, and where the data goes meanwhile.

use crate::buffers::Buf;
use crate::session::seam::TaskId;
use crate::wire::Bhs;

/// A PDU whose data segment is still coming in.
pub struct Partial {
    /// Its header.
    pub bhs: Bhs,
    /// Its additional header segments.
    pub ahs: Vec<u8>,
    /// Where its data goes.
    pub dest: PartialDest,
    /// Bytes of it that have been received.
    pub received: u32,
    /// When it began, milliseconds of the core's clock.
    pub since_ms: u64,
}

/// Where the data segment of a [`Partial`] goes.
pub enum PartialDest {
    /// Collected for the session.
    Gather(Vec<u8>),
    /// Immediate data: a buffer of its own until there is a task. `None`: none was free, or a receive has it (`shard/loan.rs`).
    Staging(Option<Buf>),
    /// A task's transfer, from this offset on.
    Task(TaskId, u32),
    /// Dropped as it comes in.
    Discard,
}
