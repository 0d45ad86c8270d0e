//! The hold on what is sent of a RAM unit from where it lies: until that is out, its memory stays there and the read is
//! counted at the fence of its unit.

use super::fence::{Fence, Ticket};
use crate::backend::MemoryHold;
use crate::model::{PerUnit, UnitIx};
use std::rc::Rc;
use std::sync::Arc;

/// A core at the fence of a unit, where it counts what it sends.
struct Place {
    /// The fence.
    fence: Arc<Fence>,
    /// The core's number.
    core: usize,
}

/// The fences where this core has been, by unit. They are of one core, so that to hold one moves nothing between the
/// cores' caches.
#[derive(Default)]
pub struct Places(PerUnit<Vec<Option<Rc<Place>>>>);

impl Places {
    fn of(&mut self, core: usize, unit: UnitIx, fence: &Arc<Fence>) -> Rc<Place> {
        let known = self.0.place(unit);
        let place = known.take().filter(|place| Arc::ptr_eq(&place.fence, fence));
        let place = place.unwrap_or_else(|| Rc::new(Place { fence: Arc::clone(fence), core }));
        *known = Some(Rc::clone(&place));
        place
    }

    /// Forgets all of them: units may be others now.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// What is sent of a RAM unit from where it lies: until it is out, its memory stays there and its reads are counted at the
/// unit's fence.
pub struct InPlace {
    /// Keeps the memory where it is.
    memory: MemoryHold,
    /// Where it is counted.
    place: Rc<Place>,
    /// Its count there.
    ticket: Ticket,
}

impl InPlace {
    /// Whether it is counted at that fence.
    #[inline]
    pub fn is_under(&self, fence: &Arc<Fence>) -> bool {
        Arc::ptr_eq(&self.place.fence, fence)
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        self.place.fence.leave(self.place.core, self.ticket);
    }
}

/// Data that lies in the memory of a unit, and may be sent from there once that is held.
pub struct Lying<'a> {
    /// The memory.
    pub memory: &'a MemoryHold,
    /// Where its reads are counted.
    pub fence: &'a Arc<Fence>,
    /// The unit's number.
    pub unit: UnitIx,
    /// The core's number.
    pub core: usize,
    /// The fences where the core has been.
    pub places: &'a mut Places,
}

impl Lying<'_> {
    /// Whether what is held there is of the same memory, and counted at the same fence: data that goes out with it needs no
    /// hold of its own.
    #[inline]
    pub fn is_held_by(&self, held: &InPlace) -> bool {
        held.memory.is(self.memory) && held.is_under(self.fence)
    }

    /// Counts the read at the fence. `None`: reads may not be done so any more, since atomic writes would have to wait for
    /// the peer.
    #[inline]
    pub fn enter(&self) -> Option<Ticket> {
        self.fence.enter_sent(self.core)
    }

    /// Holds the memory until the data is out.
    #[inline(never)]
    pub fn hold(&mut self, ticket: Ticket) -> InPlace {
        InPlace { memory: self.memory.clone(), place: self.places.of(self.core, self.unit, self.fence), ticket }
    }
}
