//! Task slots that wait for something of their core, in the order in which they began to.
//!
//! A slot is in a queue once. A task that ends while it waits leaves its place behind: the next task in that slot has
//! it, should that have to wait, too. So whatever a peer asks for and takes back, a queue is no longer than there are
//! slots.

use crate::limits::TASKS_PER_SESSION;
use crate::model::SeatIx;
use std::collections::VecDeque;

/// A queue of slots, each named by its seat and its number there.
#[derive(Default)]
pub struct SlotQueue {
    /// Seat and slot, the oldest first.
    order: VecDeque<(SeatIx, usize)>,
    /// The slots that are in `order`: by seat, a bit for each slot.
    queued: Vec<[u64; TASKS_PER_SESSION.div_ceil(64)]>,
}

impl SlotQueue {
    /// Puts a slot at the end, unless it is there already.
    pub fn push(&mut self, seat: SeatIx, slot: usize) {
        if self.queued.len() <= seat.at() {
            self.queued.resize(seat.at() + 1, Default::default());
        }
        let (word, bit) = (&mut self.queued[seat.at()][slot / 64], 1 << (slot % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.order.push_back((seat, slot));
        }
    }

    /// Takes the first slot out.
    pub fn pop(&mut self) -> Option<(SeatIx, usize)> {
        let (seat, slot) = self.order.pop_front()?;
        self.queued[seat.at()][slot / 64] &= !(1 << (slot % 64));
        Some((seat, slot))
    }

    /// Takes those of the first `most` slots out that do not wait any more. The seats of the others, in their order.
    pub fn retain_first(
        &mut self,
        most: usize,
        mut waits: impl FnMut(SeatIx, usize) -> bool,
    ) -> impl Iterator<Item = SeatIx> {
        let first = most.min(self.order.len());
        let mut stay = 0;
        for at in 0..first {
            let (seat, slot) = self.order[at];
            if waits(seat, slot) {
                self.order[stay] = (seat, slot);
                stay += 1;
            } else {
                self.queued[seat.at()][slot / 64] &= !(1 << (slot % 64));
            }
        }
        self.order.drain(stay..first);
        self.order.iter().take(stay).map(|(seat, _)| *seat)
    }

    /// How many slots wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether no slot waits.
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
        let (mut queue, [zero, seven]) = (SlotQueue::default(), [0, 7].map(SeatIx::new));
        let last = TASKS_PER_SESSION - 1;
        for _ in 0..3 {
            [(seven, 64), (zero, last), (seven, 0), (seven, last)]
                .iter()
                .for_each(|&(seat, slot)| queue.push(seat, slot));
        }
        assert_eq!((queue.len(), queue.pop()), (4, Some((seven, 64))));
        queue.push(seven, 64);
        // The last of them is not looked at.
        let seats = queue.retain_first(3, |seat, slot| (seat, slot) == (zero, last));
        assert!(seats.eq([zero]));
        queue.push(seven, 0);
        queue.push(seven, last);
        let all: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(all, [(zero, last), (seven, 64), (seven, 0), (seven, last)]);
        assert!(queue.is_empty());
    }
}
