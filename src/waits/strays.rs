//! Strays: operations that have outlived their tasks, counted for one core and for each of its units; and how the fence
//! of a unit knows of an operation.

use crate::buffers::Buf;
use crate::limits::{ARENA_BYTES, STRAYS_PER_UNIT};
use crate::missing::missing;
use crate::model::{PerUnit, TaskKey, UnitIx};
use crate::unit::fence::{Fence, Lock, Ticket};
use std::collections::VecDeque;

/// One operation on a slice whose task is gone.
pub struct Stray {
    /// The unit that it is on.
    pub unit: UnitIx,
    /// The buffer that the medium may still use.
    pub buf: Buf,
    /// The range that it keeps, if it is a write: of a read nobody waits for the end.
    pub kept: Option<Lock>,
}

/// How an operation on a medium is known to its unit's fence.
#[derive(Debug)]
pub enum Hold {
    /// Counted.
    Counted(Ticket),
    /// As a range.
    Kept(Lock),
}

/// The range that an operation of a job changes, or reads.
pub struct Claim {
    /// The unit.
    pub unit: UnitIx,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// How the fence knows of it.
    pub hold: Hold,
}

/// The range that an operation keeps whose task is gone. A read is not waited for any more, and keeps none.
pub fn kept(fence: &Fence, core: usize, hold: Hold, (offset, len): (u64, u64)) -> Option<Lock> {
    match hold {
        Hold::Counted(ticket) if ticket.is_read() => {
            fence.leave(core, ticket);
            None
        }
        Hold::Counted(ticket) => Some(fence.keep(core, ticket, offset, len)),
        Hold::Kept(lock) => Some(lock),
    }
}

/// An aborted task that has something on the medium.
pub struct Leaving {
    /// The task.
    pub who: TaskKey,
    /// When its moment is over, milliseconds.
    pub until_ms: u64,
}

/// The strays of one core.
pub struct Strays {
    /// How many, by unit.
    pub units: PerUnit<Vec<usize>>,
    /// Bytes of buffers in them.
    pub bytes: usize,
    /// How many, of all units.
    pub all: usize,
    /// Aborted tasks that wait for the medium, in the order of time.
    pub leaving: VecDeque<Leaving>,
    /// Units that did not answer when this core last looked.
    pub hung: PerUnit<Vec<bool>>,
    /// What `hung` is to be, while this core looks.
    pub found: PerUnit<Vec<bool>>,
}

impl Strays {
    /// No strays yet, and places for so many units.
    pub fn new(units: usize) -> Strays {
        let mut strays = Strays {
            units: PerUnit::default(),
            bytes: 0,
            all: 0,
            leaving: VecDeque::new(),
            hung: PerUnit::default(),
            found: PerUnit::default(),
        };
        strays.resize(units);
        strays
    }

    /// Makes places for more units, if there are more.
    pub fn resize(&mut self, units: usize) {
        let units = units.max(self.units.all().len());
        self.units.resize(units, 0);
        self.hung.resize(units, false);
        self.found.resize(units, false);
    }

    /// A unit's place is another unit's now: nothing is under way there.
    pub fn forget(&mut self, unit: UnitIx) {
        if let Some(hung) = self.hung.get_mut(unit) {
            *hung = false;
        }
    }

    /// There is one more stray, with so many bytes of buffers.
    pub fn enter(&mut self, unit: UnitIx, bytes: usize) {
        self.all += 1;
        self.bytes += bytes;
        match self.units.get_mut(unit) {
            Some(count) => *count += 1,
            None => missing("a unit"),
        }
    }

    /// A stray is over.
    pub fn leave(&mut self, unit: UnitIx, bytes: usize) {
        self.all = self.all.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        match self.units.get_mut(unit) {
            Some(count) => *count = count.saturating_sub(1),
            None => missing("a unit"),
        }
    }

    /// Whether the medium of a unit takes no more commands, since it has too many strays already.
    #[inline]
    pub fn are_too_many(&self, unit: UnitIx) -> bool {
        self.all > 0
            && self.units.get(unit).is_some_and(|&n| n >= STRAYS_PER_UNIT || n > 0 && self.bytes >= ARENA_BYTES / 2)
    }

    /// Whether an aborted task waits for the medium.
    pub fn are_awaited(&self) -> bool {
        !self.leaving.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_come_later_are_bounded_too() {
        let [first, last] = [0, 2].map(UnitIx::new);
        let mut strays = Strays::new(1);
        strays.resize(3);
        for _ in 0..STRAYS_PER_UNIT {
            assert!(!strays.are_too_many(last));
            strays.enter(last, 0);
        }
        assert!(strays.are_too_many(last) && !strays.are_too_many(first));
        strays.resize(2);
        assert!(strays.are_too_many(last), "what is under way stays counted");
    }
}
