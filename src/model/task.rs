//! What a command is called where its data is moved.

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
