//! The bytes of a task: how far they are, which came early, and what of them is under way.

use crate::buffers::Buf;

/// The bytes that a task moves, and how far they are.
#[derive(Debug)]
#[repr(C)]
pub struct Transfer {
    /// Where on the medium, bytes.
    pub base: u64,
    /// Bytes that the CDB asks to move: what residuals are counted from.
    pub asked: u64,
    /// Of a read in parts: what [`crate::unit::fence::Fence::given_back`] said before the first part.
    pub given_back: u64,
    /// Bytes that move: what the CDB asks, cut to the initiator's Expected Data Transfer Length.
    pub total: u32,
    /// Bytes whose slices have been made.
    pub started: u32,
    /// Bytes that are done: queued for sending, or on the medium.
    pub moved: u32,
    /// Contiguous Data-Out bytes that have arrived.
    pub filled: u32,
    /// Bytes that are paid for, where there is a limit.
    pub paid: u32,
    /// A read of a RAM unit whose data is sent from where it lies, a piece at a time.
    pub in_place: bool,
}

impl Transfer {
    /// Nothing of it is done, and nothing is to be paid for.
    pub(super) const NONE: Transfer = Transfer {
        base: 0,
        asked: 0,
        given_back: 0,
        total: 0,
        started: 0,
        moved: 0,
        filled: 0,
        paid: u32::MAX,
        in_place: false,
    };

    /// Begins: where on the medium, the bytes that move, and those that the CDB asks to move.
    #[inline(always)]
    pub(super) fn begin(&mut self, (base, total, asked): (u64, u32, u64)) {
        (self.base, self.total, self.asked) = (base, total, asked);
        (self.started, self.moved, self.given_back) = (0, 0, 0);
    }

    /// Forgets what is not begun anew with the next one.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        (self.filled, self.paid, self.in_place) = (0, u32::MAX, false);
    }

    /// Whether slices were made of all of it.
    #[inline]
    pub fn is_started(&self) -> bool {
        self.started >= self.total
    }

    /// Where its next slice is on the medium.
    #[inline]
    pub fn next_at(&self) -> u64 {
        self.base + u64::from(self.started)
    }

    /// Has everything made and moved again that is not done.
    pub fn start_again(&mut self) {
        self.started = self.moved;
    }

    /// It cannot be sent from where it lies any more: what is left goes by slices.
    pub fn by_slices(&mut self) {
        self.in_place = false;
        self.start_again();
    }
}

/// Data that came before the turn of its command.
#[derive(Debug, Default)]
pub struct Early {
    /// Buffer, and bytes in it.
    pub data: Option<(Buf, u32)>,
    /// It had to be dropped: no buffer was free.
    pub is_dropped: bool,
}

/// What of a task is not over: operations on the medium, and jobs.
#[derive(Debug, Default)]
pub struct UnderWay {
    /// How many.
    count: u32,
    /// Numbers of the jobs. Empty with nothing under way, so that a slot that is used again costs nothing.
    pub jobs: Vec<usize>,
}

impl UnderWay {
    /// Whether it is nothing.
    #[inline]
    pub fn is_none(&self) -> bool {
        self.count == 0
    }

    /// An operation or a job begins.
    #[inline]
    pub fn begin(&mut self) {
        self.count += 1;
    }

    /// One of them is over.
    #[inline]
    pub fn over(&mut self) {
        self.count -= 1;
    }

    /// So many of them are the task's no more.
    pub fn without(&mut self, left: u32) {
        debug_assert!(left <= self.count, "{left} of {}", self.count);
        self.count = self.count.saturating_sub(left);
    }
}
