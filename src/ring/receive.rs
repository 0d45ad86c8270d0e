//! Provided receive buffers: one pool for all connections of a core. The kernel picks a buffer when bytes arrive, so an
//! idle connection holds none.
//!
//! The kernel takes buffers in the order in which they were given to it, so it goes through all that it has: these
//! should fit the cache together with what is made of them. So it is shown a few, those used last first. Once they did
//! not suffice it is shown more, and fewer again when they did for a while.

use super::{Mapping, Ring};
use io_uring::types::BufRingEntry;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// The pool, as buffer group 0 of its ring.
pub struct ReceiveBuffers {
    entries: Mapping,
    bytes: Mapping,
    count: u16,
    buffer_len: usize,
    tail: u16,
    /// Buffers that the kernel is not shown; what was used last is on top.
    spare: Vec<u16>,
    /// How many buffers the kernel is to be shown.
    shown_goal: usize,
}

/// The fewest buffers that the kernel is shown.
const FEWEST: usize = 4;

/// The buffer group that the pool is registered as.
pub const GROUP: u16 = 0;

impl ReceiveBuffers {
    /// Registers `count` (a power of two) buffers of `buffer_len` bytes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(ring: &Ring, count: u16, buffer_len: usize) -> io::Result<ReceiveBuffers> {
        assert!(count.is_power_of_two());
        let entries = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let bytes = Mapping::new(usize::from(count) * buffer_len)?;
        // SAFETY: `entries` is page aligned, large enough for `count` entries, and lives in the value we return, which the
        // core drops after its ring.
        unsafe { ring.uring().submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, count, GROUP, 0)? };
        let spare = (0..count).rev().collect();
        let mut pool = ReceiveBuffers { entries, bytes, count, buffer_len, tail: 0, spare, shown_goal: FEWEST };
        pool.publish();
        Ok(pool)
    }

    /// The bytes that a receive put into buffer `id`: the start of it, `len` bytes.
    #[inline]
    pub fn bytes(&self, id: u16, len: usize) -> (*const u8, usize) {
        assert!(id < self.count && len <= self.buffer_len);
        // SAFETY: inside the mapping, by the assertion.
        (unsafe { self.bytes.as_ptr().add(usize::from(id) * self.buffer_len) }, len)
    }

    /// Returns buffer `id` to the pool.
    #[inline]
    pub fn give_back(&mut self, id: u16) {
        self.spare.push(id);
    }

    /// Notes that the kernel found no buffer for what had come: it is to be shown twice as many.
    #[cold]
    pub fn ran_out(&mut self) {
        self.shown_goal = (2 * self.shown_goal).min(usize::from(self.count));
    }

    /// Notes that some time has passed: one buffer less may do.
    pub fn shrink(&mut self) {
        self.shown_goal = (self.shown_goal - 1).max(FEWEST.min(usize::from(self.count)));
    }

    fn show(&mut self, id: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: slot < count, so the entry is inside the mapping; the kernel reads only entries before the published
        // tail. The tail shares its bytes with the reserved field of entry 0, which these setters do not touch.
        unsafe {
            let entry = &mut *self.entries.as_ptr().cast::<BufRingEntry>().add(slot);
            entry.set_addr(self.bytes.as_ptr().add(usize::from(id) * self.buffer_len) as u64);
            entry.set_len(self.buffer_len as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel as many buffers as it is to have. To be called when all that it took have been given back.
    #[inline]
    pub fn publish(&mut self) {
        let held = usize::from(self.count) - self.spare.len();
        for _ in held..self.shown_goal {
            let Some(id) = self.spare.pop() else { break };
            self.show(id);
        }
        // SAFETY: the tail field of our own buffer ring, aligned, shared with the kernel only, hence the atomic.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr().cast::<BufRingEntry>());
            (*tail.cast::<AtomicU16>()).store(self.tail, Ordering::Release);
        }
    }
}
