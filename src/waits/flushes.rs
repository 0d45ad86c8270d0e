//! The flushes of one core: who waits for them, and what is under way.
//!
//! Invariants: those who wait for flushes of one unit stand in the order of their tickets, and each is told once. One
//! who is gone keeps a place until more than half of all places are of such.

use super::cell::Cell1;
use crate::limits::FLUSHED_PER_TURN;
use crate::model::{MediumFault, PerUnit, SeatIx, UnitIx};
use crate::unit::syncs::Epoch;
use std::collections::VecDeque;

/// What an operation on a medium has to do with durability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Nothing.
    None,
    /// A durable write.
    Write(Epoch),
    /// A flush.
    Flush,
}

/// Who waits for a flush.
pub enum Waiter {
    /// A job.
    Job(usize, Cell1<Result<(), MediumFault>>),
    /// A task whose data is written: seat and slot.
    Task(SeatIx, usize),
    /// Nobody: it only has to happen.
    Nobody,
}

/// Says that a task or a job waits for a flush. The waiter keeps this as long as it waits, and gives it up with
/// [`Flushes::forget`] when it has to end before: seats, slots and jobs are used again, the numbers of tickets are not.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct FlushTicket {
    /// The unit that is flushed.
    pub unit: UnitIx,
    /// Its number on this core.
    pub number: u64,
}

/// Somebody who waits for a flush.
pub struct Waiting {
    /// The number of the ticket.
    pub number: u64,
    /// `None`: who waited is gone.
    pub who: Option<Waiter>,
    /// Flushes of the unit that had begun when it came.
    pub after: u64,
    /// Failures of the unit there had been by then.
    pub failures: u64,
}

/// What there was before a flush that this core has begun: it is durable if the flush goes well.
#[derive(Default)]
pub struct Covers {
    /// The switching off of the cache, if that is still to be flushed.
    pub off: Option<u64>,
    /// What hosts that are not known have written, if that is still to be flushed.
    pub others: Option<u64>,
    /// Failures of the unit there had been by then.
    pub failures: u64,
}

/// Who waits for flushes of one unit, in the order in which they came.
#[derive(Default)]
pub struct Line {
    /// Who waits, by number.
    pub waiting: VecDeque<Waiting>,
    /// How many of `waiting` are gone. They stay in it until they are more than half.
    pub gone: usize,
    /// A flush is to happen after so many have begun, even if nobody waits for its end.
    pub wanted_after: Option<u64>,
    /// What there was before the flush that this core has under way.
    pub covers: Covers,
    /// Some waiters were left to a turn that begins with a message which is on its way.
    pub left: bool,
}

impl Line {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.len() == self.gone
    }

    /// Takes the next one whose flush has ended.
    pub fn next_ended(&mut self, has_ended: impl Fn(u64) -> bool) -> Option<Told> {
        while self.waiting.front().is_some_and(|first| has_ended(first.after)) {
            let Waiting { number, who, after, failures } = self.waiting.pop_front()?;
            self.gone -= usize::from(who.is_none());
            if self.is_empty() {
                // What was counted for a unit says nothing of the one that is here next.
                self.waiting.clear();
                self.gone = 0;
            }
            if let Some(who) = who {
                self.wanted_after.take_if(|wanted| *wanted == after && matches!(who, Waiter::Nobody));
                return Some(Told { number, who, failures });
            }
        }
        None
    }

    /// Forgets who waits with this number.
    pub fn forget(&mut self, number: u64) {
        // Who was told is here no more.
        let Ok(at) = self.waiting.binary_search_by_key(&number, |waiting| waiting.number) else { return };
        if self.waiting[at].who.take().is_some() {
            self.gone += 1;
        }
        if self.gone > self.waiting.len() / 2 {
            self.waiting.retain(|waiting| waiting.who.is_some());
            self.gone = 0;
        }
    }
}

/// A waiter whose flush has ended, and who is to be told.
pub struct Told {
    /// The number of the ticket.
    pub number: u64,
    /// Who is told.
    pub who: Waiter,
    /// Failures of the unit there had been when it came.
    pub failures: u64,
}

/// What `Executor::advance_flushes` finds to do.
pub enum Step {
    /// A waiter is to be told.
    Tell(Told),
    /// A flush is to begin.
    Begin,
}

/// A flush that the medium has answered, and that is not over before the durable writes of its epoch are.
pub struct Draining {
    /// The unit.
    pub unit: UnitIx,
    /// The epoch of the durable writes that it waits for.
    pub epoch: Epoch,
    /// It waits no longer than this, milliseconds.
    pub until_ms: u64,
}

/// The flushes of one core.
#[derive(Default)]
pub struct Flushes {
    /// By unit.
    pub lines: PerUnit<Vec<Line>>,
    /// The last number that was given to a ticket.
    pub last: u64,
    /// Flushes that wait for durable writes.
    pub draining: Vec<Draining>,
    /// A turn, by its time (`Executor::now_ns`), and how many waiters were told in it.
    pub told: (u64, u32),
}

impl Flushes {
    /// Whether anybody here waits for a flush of a unit, or one is not over.
    pub fn use_unit(&self, unit: UnitIx) -> bool {
        self.are_awaited(unit) || self.draining.iter().any(|draining| draining.unit == unit)
    }

    /// Whether anybody here waits for a flush of a unit.
    pub fn are_awaited(&self, unit: UnitIx) -> bool {
        self.lines.get(unit).is_some_and(|line| !line.is_empty())
    }

    /// Whether a flush waits for durable writes of other cores, which do not say when they are over.
    pub fn are_draining(&self) -> bool {
        !self.draining.is_empty()
    }

    /// A ticket for somebody who is about to wait.
    pub fn ticket(&mut self, unit: UnitIx) -> FlushTicket {
        self.last += 1;
        FlushTicket { unit, number: self.last }
    }

    /// Those who wait for flushes of a unit.
    pub fn line(&mut self, unit: UnitIx) -> &mut Line {
        self.lines.place(unit)
    }

    /// Whether another waiter may be told in the turn that began at `turn_ns`.
    pub fn may_tell(&mut self, turn_ns: u64) -> bool {
        if self.told.0 != turn_ns {
            self.told = (turn_ns, 0);
        }
        self.told.1 < FLUSHED_PER_TURN
    }

    /// Has somebody wait, behind all who wait for the unit: until a flush has ended that began after `after` others.
    pub fn join(&mut self, ticket: u64, unit: UnitIx, who: Waiter, (after, failures): (u64, u64)) {
        self.line(unit).waiting.push_back(Waiting { number: ticket, who: Some(who), after, failures });
    }

    /// Forgets a task or a job that waited, and is gone.
    pub fn forget(&mut self, ticket: FlushTicket) {
        self.line(ticket.unit).forget(ticket.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: UnitIx = UnitIx::new(3);

    fn join(flushes: &mut Flushes, after: u64) -> FlushTicket {
        let ticket = flushes.ticket(DISK);
        flushes.join(ticket.number, DISK, Waiter::Task(SeatIx::new(0), 0), (after, 0));
        ticket
    }

    #[test]
    fn those_who_are_gone_are_not_told_and_do_not_pile_up() {
        let mut flushes = Flushes::default();
        let first = join(&mut flushes, 0);
        for _ in 0..10_000 {
            let gone = join(&mut flushes, 0);
            flushes.forget(gone);
        }
        let last = join(&mut flushes, 1);
        assert!(flushes.lines[3].waiting.len() < 8);
        let next = |flushes: &mut Flushes, ended: u64| {
            flushes.line(DISK).next_ended(|after| after < ended).map(|told| told.number)
        };
        assert_eq!([0, 1, 1].map(|ended| next(&mut flushes, ended)), [None, Some(first.number), None]);
        assert!(flushes.use_unit(DISK) && !flushes.use_unit(UnitIx::new(2)));
        flushes.forget(last);
        assert_eq!(next(&mut flushes, 2), None);
        flushes.forget(first);
        assert!(!flushes.use_unit(DISK));
    }
}
