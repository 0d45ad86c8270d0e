//! Places in a core's tables, each with a type of its own, so that the one is not taken for the other.

use super::TaskId;
use std::fmt;
use std::num::NonZeroU32;

/// A seat: the place of a session on its core, and of what its executor knows of that session. Seats are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatIx(u32);

impl SeatIx {
    /// The seat at a place, of which there are far fewer than numbers.
    #[inline]
    pub const fn new(at: usize) -> SeatIx {
        SeatIx(at as u32)
    }

    /// Its place.
    #[inline]
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

/// A logical unit: its place among those of the process. It keeps that for as long as anybody may use it; then the place may
/// be another unit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitIx(u32);

impl UnitIx {
    /// The unit at a place, of which there are far fewer than numbers.
    #[inline]
    pub const fn new(at: usize) -> UnitIx {
        UnitIx(at as u32)
    }

    /// Its place.
    #[inline]
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for UnitIx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A task on its core: the seat of its session, and which of that session's tasks it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// The seat.
    pub seat: SeatIx,
    /// The task.
    pub task: TaskId,
}

impl TaskKey {
    /// The slot of the task, among those of its session.
    #[inline]
    pub fn slot(self) -> usize {
        self.task.slot()
    }
}

/// Number of a connection on its core. That there is none takes no room of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnNo(NonZeroU32);

impl ConnNo {
    /// The connection at a place, of which there are far fewer than numbers.
    #[inline]
    pub const fn new(at: usize) -> ConnNo {
        ConnNo(NonZeroU32::MIN.saturating_add(at as u32))
    }

    /// The place of one, or a place where none is: for a look-up that looks whether the place is there anyway.
    #[inline]
    pub fn place(of: Option<ConnNo>) -> usize {
        (of.map_or(0, |conn| conn.0.get()) as usize).wrapping_sub(1)
    }

    /// Its place.
    #[inline]
    pub const fn at(self) -> usize {
        (self.0.get() - 1) as usize
    }
}
