//! What is under way of units in memory, on one core: what is to be answered or copied in this turn, and the fences
//! where what is sent is counted.

use crate::buffers::Buf;
use crate::limits::RECEIVE_BUFFER_BYTES;
use crate::model::{DataRef, SeatIx, UnitIx};
use crate::unit::fence::Ticket;
use crate::unit::memory_hold::Places;
use std::collections::VecDeque;

/// A slice of a RAM unit that is copied at the end of the turn.
pub struct Copying {
    /// Seat of the task.
    pub seat: SeatIx,
    /// Its slot.
    pub slot: usize,
    /// Offset in the transfer, bytes.
    pub offset: u32,
    /// Where the data lies.
    pub from: DataRef,
    /// Bytes.
    pub len: usize,
    /// The buffer it goes to, and its count at the fence, if it is all of its task; else the task has it as a slice.
    pub whole: Option<(Buf, Entered)>,
}

/// A count at the fence of a unit, to be given back there whatever has become of the task.
#[derive(Clone, Copy)]
#[must_use]
pub struct Entered {
    /// The unit.
    pub unit: UnitIx,
    /// Its count there.
    pub ticket: Ticket,
}

/// A write whose data is in a RAM unit's memory, but may not be seen by other cores yet.
pub struct Stored {
    /// Seat of the task.
    pub seat: SeatIx,
    /// Its slot.
    pub slot: usize,
    /// Its count at the fence.
    pub entered: Entered,
}

/// Writes of one received chunk, at least a block each.
pub const STORED: usize = RECEIVE_BUFFER_BYTES / 512;

/// What is under way of units in memory.
pub struct Memory {
    /// Writes to RAM units that are answered at the end of the turn.
    pub stored: Vec<Stored>,
    /// Slices of RAM units that are copied at the end of the turn.
    pub copying: VecDeque<Copying>,
    /// The fences of RAM units at which this core is counted for what is sent from their memory.
    pub places: Places,
    /// Reads of this turn that the kernel will copy from a RAM unit's memory.
    pub read_soon: usize,
}

impl Default for Memory {
    fn default() -> Memory {
        let stored = Vec::with_capacity(STORED);
        Memory { stored, copying: VecDeque::new(), places: Places::default(), read_soon: 0 }
    }
}
