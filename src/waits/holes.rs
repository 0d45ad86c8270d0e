//! Holes in files: discards and zeroing. On each core a file has one made at a time.
//!
//! The kernel makes a hole with a thread of its own, on the processor of the core that asked, and a file has one made
//! at a time whatever is asked for. More of them at once would be no sooner done, and the core would spend its turns
//! with handing them over: 128 UNMAPs of 64 ranges of one host left a sixth of somebody else's reads.
//!
//! A job that waits here has nothing under way and is not counted at the fence; jobs have their turns in the order in
//! which they asked. If its command has locked a range, the job keeps that: the hole that it waits for is with the
//! medium already, and needs no range any more.

use crate::model::UnitIx;
use std::collections::VecDeque;

/// A file that a hole is made in.
struct Busy {
    /// The unit whose file it is.
    unit: UnitIx,
    /// The job whose turn it is, until it begins.
    next: Option<usize>,
    /// Jobs that wait for their turn, the oldest first.
    waiting: VecDeque<usize>,
}

/// The files of one core that holes are made in.
#[derive(Default)]
pub struct Holes(Vec<Busy>);

impl Holes {
    /// A job wants to make a hole. False: it has to wait, and is polled when it is its turn.
    pub fn enter(&mut self, unit: UnitIx, job: usize) -> bool {
        let Some(busy) = self.0.iter_mut().find(|busy| busy.unit == unit) else {
            self.0.push(Busy { unit, next: None, waiting: VecDeque::new() });
            return true;
        };
        if busy.next == Some(job) {
            busy.next = None;
            return true;
        }
        if !busy.waiting.contains(&job) {
            busy.waiting.push_back(job);
        }
        false
    }

    /// A hole is made, or has failed: the job whose turn it is now.
    #[must_use]
    pub fn leave(&mut self, unit: UnitIx) -> Option<usize> {
        let at = self.0.iter().position(|busy| busy.unit == unit)?;
        let busy = &mut self.0[at];
        busy.next = busy.waiting.pop_front();
        let next = busy.next;
        if next.is_none() {
            self.0.swap_remove(at);
        }
        next
    }

    /// Forgets a job that is over. The units at which it was its turn.
    #[must_use]
    pub fn forget(&mut self, job: usize) -> Vec<UnitIx> {
        self.0.iter_mut().for_each(|busy| busy.waiting.retain(|waiting| *waiting != job));
        self.0.iter().filter(|busy| busy.next == Some(job)).map(|busy| busy.unit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_in_the_order_of_asking() {
        let [file, other] = [7, 8].map(UnitIx::new);
        let mut holes = Holes::default();
        assert!(holes.enter(file, 1));
        assert!(holes.enter(other, 2), "another file");
        assert!(!holes.enter(file, 3) && !holes.enter(file, 4) && !holes.enter(file, 5) && !holes.enter(file, 3));
        assert!(holes.forget(4).is_empty());
        assert_eq!(holes.leave(file), Some(3));
        assert!(!holes.enter(file, 6), "not its turn");
        assert_eq!(holes.forget(3), [file], "it was its turn");
        assert_eq!(holes.leave(file), Some(5));
        assert!(holes.enter(file, 5));
        assert_eq!((holes.leave(file), holes.leave(other)), (Some(6), None));
        assert!(holes.enter(file, 6));
        assert_eq!(holes.leave(file), None);
        assert!(holes.0.is_empty());
    }
}
