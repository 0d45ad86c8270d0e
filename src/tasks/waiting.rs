//! What a task waits for.
//!
//! Who waits in a queue of the core is in it by its slot (`waits/slots.rs`), and is passed over there once it waits no
//! more.

use crate::rate::FlowId;
use crate::waits::flushes::FlushTicket;

/// What a task waits for.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Waits {
    /// For its session's turn at a limit, in this flow.
    pub held: Option<FlowId>,
    /// For buffers, in the core's queue.
    pub starved: bool,
    /// For a range that another command holds, in the core's queue.
    pub fenced: bool,
    /// Until there is room for its data: the sink has said that there is none, and says when there is
    /// ([`crate::exec::executor::Executor::has_room`]).
    pub crowded: bool,
    /// Since when it has waited for that range, milliseconds.
    pub fenced_since_ms: Option<u64>,
    /// All is written, and this flush is waited for.
    pub flushing: Option<FlushTicket>,
}

impl Waits {
    /// It waits for nothing any more. Its flush must have been forgotten.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        (self.starved, self.fenced, self.crowded) = (false, false, false);
        (self.held, self.fenced_since_ms) = (None, None);
    }

    /// Whether no slice can be made: it waits for a buffer, or at a limit.
    #[inline]
    pub fn keep_slices(&self) -> bool {
        self.starved || self.held.is_some()
    }
}
