//! Task slots that wait for something of their core, in the order in which they began to.
//!
//! A slot is there once. A task that ends while it waits leaves its place behind: it is the next one's in that slot, should that
//! have to wait, too. So whatever a peer asks for and takes back, a queue is no longer than there are slots.

use crate::limits::TASKS_PER_SESSION;
use std::collections::VecDeque;

/// See the module. Slots are named by seat and slot.
#[derive(Default)]
pub struct SlotQueue {
    order: VecDeque<(usize, usize)>,
    /// Those that are in `order`: by seat, a bit for each slot.
    queued: Vec<[u64; TASKS_PER_SESSION.div_ceil(64)]>,
}

impl SlotQueue {
    /// A slot comes last, unless it is there already.
    pub fn push(&mut self, seat: usize, slot: usize) {
        if self.queued.len() <= seat {
            self.queued.resize(seat + 1, Default::default());
        }
        let (word, bit) = (&mut self.queued[seat][slot / 64], 1 << (slot % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.order.push_back((seat, slot));
        }
    }

    /// Takes the first one.
    pub fn pop(&mut self) -> Option<(usize, usize)> {
        let (seat, slot) = self.order.pop_front()?;
        self.queued[seat][slot / 64] &= !(1 << (slot % 64));
        Some((seat, slot))
    }

    /// Takes out those that do not wait any more.
    pub fn retain(&mut self, mut waits: impl FnMut(usize, usize) -> bool) {
        let queued = &mut self.queued;
        self.order.retain(|&(seat, slot)| {
            let stays = waits(seat, slot);
            if !stays {
                queued[seat][slot / 64] &= !(1 << (slot % 64));
            }
            stays
        });
    }

    /// All seats that have slots here, in the order of those.
    pub fn seats(&self) -> impl Iterator<Item = usize> {
        self.order.iter().map(|(seat, _)| *seat)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// None at all.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_waits_once_and_in_its_order() {
        let mut queue = SlotQueue::default();
        let last = TASKS_PER_SESSION - 1;
        for _ in 0..3 {
            [(7, 64), (0, last), (7, 0), (7, last)].iter().for_each(|&(seat, slot)| queue.push(seat, slot));
        }
        assert_eq!((queue.len(), queue.pop()), (4, Some((7, 64))));
        queue.push(7, 64);
        queue.retain(|seat, slot| (seat, slot) != (7, 0));
        queue.push(7, 0);
        assert!(queue.seats().eq([0, 7, 7, 7]));
        let all: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(all, [(0, last), (7, last), (7, 64), (7, 0)]);
        assert!(queue.is_empty());
    }
}
