//! A buffer that is lent to a receive, and where it came from. Who may touch it meanwhile is said in `shard/loan.rs`.
//!
//! Invariants: as long as the loan is there, nobody else has the buffer.

use crate::buffers::Buf;
use crate::model::{ConnNo, SeatIx};
use crate::session::seam::TaskId;

/// A buffer that a receive writes into.
#[must_use = "the buffer would be lost"]
pub struct Loan {
    /// The buffer.
    pub buf: Buf,
    /// Where in it the next byte of payload goes.
    pub within: usize,
    /// Bytes of it that may be received, from `within` on.
    pub len: usize,
    /// Seat and serial number of the session.
    pub holder: (SeatIx, u64),
    /// Number of the connection.
    pub conn: ConnNo,
    /// Where it goes back to.
    pub home: Home,
}

/// Where the buffer was borrowed, and goes back to.
pub enum Home {
    /// A command's data that is coming in with it.
    Staging,
    /// The slice at this offset of a task.
    Slice(TaskId, u32),
}

impl Loan {
    /// Bytes that may be written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// What is lent, to be received into: first byte and length.
    pub fn room(&self) -> Option<(*mut u8, usize)> {
        self.buf.room(self.within, self.len)
    }

    /// The first bytes of what was lent, once the receive is over.
    pub fn bytes(&self, received: usize) -> &[u8] {
        self.buf.bytes(self.within, received.min(self.len)).unwrap_or(&[])
    }
}
