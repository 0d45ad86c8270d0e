//! What a command is called where its data is moved, and where that data lies.

/// A task of an I_T nexus: its slot in the low byte, generation in the others, so that a stale one is recognised.
/// Also the Target Transfer Tag of its R2Ts, hence never 0xffffffff: there are fewer slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u32);

impl TaskId {
    /// Index into arrays of `limits::TASKS_PER_SESSION`.
    #[inline]
    pub fn slot(self) -> usize {
        (self.0 & 0xff) as usize
    }
}

/// Bytes of LUN data that are kept where they lie: an opaque address, to which only offsets are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRef(pub u64);

impl DataRef {
    /// The reference `bytes` further on.
    #[inline]
    #[must_use]
    pub fn advanced(self, bytes: u32) -> DataRef {
        DataRef(self.0.wrapping_add(u64::from(bytes)))
    }
}
