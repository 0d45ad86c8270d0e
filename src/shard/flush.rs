//! Flushes, and what a command that promises durability is answered.
//!
//! A flush belongs to nobody: jobs, tasks and those who do not wait for its end (SYNCHRONIZE CACHE with IMMED) are content
//! with any that begins after they asked, on whatever core, and who is aborted stops waiting without holding anybody up.
//! Turns and failures are counted for all cores together in [`super::syncs`].
//!
//! Before a flush or a durable write is answered GOOD its nexus is compared with the failures of the medium: one that it has
//! not heard of may have cost what it wrote before, whoever met it.

use super::exec::Failure;
use super::executor::{Executor, Owner};
use super::job::Cell1;
use super::mesh::Message;
use super::sink::Sink;
use super::syncs::Epoch;
use super::world::Unit;
use crate::backend::Op;
use crate::limits::{FLUSHED_PER_TURN, SYNC_DRAIN_MS};
use crate::model::MediumFault;
use crate::model::TaskId;
use crate::scsi::{Heard, Outcome};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
    Task(usize, usize),
    /// Nobody: it only has to happen.
    Nobody,
}

/// Says that a task or a job waits for a flush. The waiter keeps this as long as it waits, and gives it up with
/// [`Flushes::forget`] when it has to end before: seats, slots and jobs are used again, the numbers of tickets are not.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct FlushTicket {
    unit: usize,
    number: u64,
}

struct Waiting {
    number: u64,
    /// `None`: who waited is gone.
    who: Option<Waiter>,
    /// Flushes of the unit that had begun when it came.
    after: u64,
    /// Failures of the unit there had been by then.
    failures: u64,
}

/// What there was before a flush that this core has begun: it is durable if the flush goes well.
#[derive(Default)]
struct Covers {
    /// The switching off of the cache, if that is still to be flushed.
    off: Option<u64>,
    /// What hosts that are not known have written, if that is still to be flushed.
    others: Option<u64>,
    /// Failures of the unit there had been by then.
    failures: u64,
}

/// Who waits for flushes of one unit, in the order in which they came.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    /// How many of `waiting` are gone. They stay in it until they are more than half.
    gone: usize,
    /// A flush is to happen after so many have begun, even if nobody waits for its end.
    wanted_after: Option<u64>,
    covers: Covers,
    /// Some waiters were left to a turn that begins with a message which is on its way.
    left: bool,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.waiting.len() == self.gone
    }

    /// Takes the next one whose flush has ended.
    fn next_ended(&mut self, has_ended: impl Fn(u64) -> bool) -> Option<Told> {
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

    fn forget(&mut self, number: u64) {
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
struct Told {
    number: u64,
    who: Waiter,
    failures: u64,
}

/// What [`Engine::advance_flushes`] finds to do.
enum Step {
    Tell(Told),
    Begin,
}

/// A flush that the medium has answered, and that is not over before the durable writes of its epoch are.
struct Draining {
    unit: usize,
    epoch: Epoch,
    until_ms: u64,
}

/// The flushes of one core.
#[derive(Default)]
pub struct Flushes {
    /// By unit.
    lines: Vec<Line>,
    /// The last number that was given to a ticket.
    last: u64,
    draining: Vec<Draining>,
    /// A turn, by its time (`Engine::now_ns`), and how many waiters were told in it.
    told: (u64, u32),
}

impl Flushes {
    /// Whether anybody here waits for a flush of a unit, or one is not over.
    pub fn use_unit(&self, unit: usize) -> bool {
        self.are_awaited(unit) || self.draining.iter().any(|draining| draining.unit == unit)
    }

    fn are_awaited(&self, unit: usize) -> bool {
        self.lines.get(unit).is_some_and(|line| !line.is_empty())
    }

    /// Whether a flush waits for durable writes of other cores, which do not say when they are over.
    pub fn are_draining(&self) -> bool {
        !self.draining.is_empty()
    }

    /// A ticket for somebody who is about to wait.
    fn ticket(&mut self, unit: usize) -> FlushTicket {
        self.last += 1;
        FlushTicket { unit, number: self.last }
    }

    fn line(&mut self, unit: usize) -> &mut Line {
        if self.lines.len() <= unit {
            self.lines.resize_with(unit + 1, Line::default);
        }
        &mut self.lines[unit]
    }

    /// Whether another waiter may be told in the turn that began at `turn_ns`.
    fn may_tell(&mut self, turn_ns: u64) -> bool {
        if self.told.0 != turn_ns {
            self.told = (turn_ns, 0);
        }
        self.told.1 < FLUSHED_PER_TURN
    }

    fn join(&mut self, ticket: u64, unit: usize, who: Waiter, (after, failures): (u64, u64)) {
        self.line(unit).waiting.push_back(Waiting { number: ticket, who: Some(who), after, failures });
    }

    /// Forgets a task or a job that waited, and is gone.
    pub fn forget(&mut self, ticket: FlushTicket) {
        self.line(ticket.unit).forget(ticket.number);
    }
}

impl Executor {
    /// Has a unit flushed for somebody.
    pub fn flush_for(&mut self, who: Waiter, unit: usize, sink: &mut impl Sink) {
        let syncs = &self.world.units[unit].syncs;
        let (after, failures) = (syncs.begun(), syncs.failures());
        let ticket = self.flushes.ticket(unit);
        let number = ticket.number;
        match who {
            // A flush that was wanted before, and has not begun, is this one's, too.
            Waiter::Nobody if self.flushes.line(unit).wanted_after.replace(after) == Some(after) => return,
            Waiter::Nobody => {}
            Waiter::Task(seat, slot) => {
                let Some(exec) = self.exec(seat, slot) else { return };
                exec.flushing = Some(ticket);
            }
            Waiter::Job(number, _) => {
                let Some(Some(job)) = self.jobs.get_mut(number) else { return };
                job.flushing = Some(ticket);
            }
        }
        self.flushes.join(number, unit, who, (after, failures));
        self.advance_flushes(unit, sink);
    }

    /// Goes on with those who wait when a flush of another core has ended, or when a turn has left some of them. That
    /// may be this very turn: then another message is sent.
    pub fn flushes_go_on(&mut self, unit: usize, sink: &mut impl Sink) {
        self.flushes.line(unit).left = false;
        self.advance_flushes(unit, sink);
    }

    /// Tells those whose flush of a unit has ended, and begins another if somebody is left and it is anybody's turn. When many
    /// have waited, others have their turns in between.
    pub fn advance_flushes(&mut self, unit: usize, sink: &mut impl Sink) {
        loop {
            if !self.flushes.may_tell(self.now_ns) {
                if !std::mem::replace(&mut self.flushes.line(unit).left, true) {
                    self.world.post(self.core, Message::Flushed { unit });
                }
                return;
            }
            let Some(step) = self.next_flush_step(unit) else { return };
            match step {
                Step::Tell(told) => {
                    self.flushes.told.1 += 1;
                    self.stats.most_flushed = self.stats.most_flushed.max(self.flushes.told.1.into());
                    self.flushed(unit, told, sink);
                }
                Step::Begin => {
                    let Unit { syncs, logical, .. } = &*self.world.units[unit];
                    let (off, others) = (logical.unflushed(), logical.others_unflushed());
                    self.flushes.line(unit).covers = Covers { off, others, failures: syncs.failures() };
                    if let Some((owner, result)) = self.start(unit, Op::Flush, Owner::Flush(unit), sink) {
                        self.finished(owner, result, sink);
                    }
                }
            }
        }
    }

    fn next_flush_step(&mut self, unit: usize) -> Option<Step> {
        let syncs = &self.world.units.get(unit)?.syncs;
        let line = self.flushes.line(unit);
        let mut will_be_told = false;
        loop {
            if let Some(told) = line.next_ended(|after| syncs.has_ended(after)) {
                return Some(Step::Tell(told));
            }
            if line.is_empty() {
                return None;
            }
            if syncs.begin() {
                return Some(Step::Begin);
            }
            if will_be_told {
                return None;
            }
            syncs.tell(self.core);
            // The flush under way may have ended before that: look once more.
            will_be_told = true;
        }
    }

    /// The medium has answered a flush that this core has begun. If it failed, that was counted before.
    pub fn flush_answered(&mut self, unit: usize, sink: &mut impl Sink) {
        let epoch = self.world.units[unit].syncs.drain();
        self.flushes.draining.push(Draining { unit, epoch, until_ms: self.now_ms.saturating_add(SYNC_DRAIN_MS) });
        self.advance_drains(sink);
    }

    /// Ends the flushes for which no durable write is under way any more, and tells who waits. A durable write that the
    /// medium leaves unanswered holds a flush up for [`SYNC_DRAIN_MS`] at most: if it fails later, that is counted
    /// then.
    pub fn advance_drains(&mut self, sink: &mut impl Sink) {
        let mut at = 0;
        while let Some(&Draining { unit, epoch, until_ms }) = self.flushes.draining.get(at) {
            let world = Arc::clone(&self.world);
            let syncs = &world.units[unit].syncs;
            if !syncs.is_drained(epoch) && self.now_ms < until_ms {
                at += 1;
                continue;
            }
            self.flushes.draining.swap_remove(at);
            let Covers { off, others, failures } = std::mem::take(&mut self.flushes.line(unit).covers);
            if syncs.failures() == failures {
                let logical = &world.units[unit].logical;
                // Before anybody is told: one of those who wait may have switched the cache off.
                if let Some(off) = off {
                    logical.cache_flushed(off);
                }
                // A durable write that is not over may yet be told of a failure to store what those hosts wrote.
                if let Some(others) = others.filter(|_| syncs.is_drained(epoch)) {
                    logical.others_flushed(others, failures);
                }
            }
            syncs.end().filter(|core| *core != self.core).for_each(|core| world.post(core, Message::Flushed { unit }));
            self.advance_flushes(unit, sink);
            at = 0;
        }
    }

    fn flushed(&mut self, unit: usize, Told { number: ticket, who, failures }: Told, sink: &mut impl Sink) {
        let Unit { syncs, logical, .. } = &*self.world.units[unit];
        let result = if syncs.failures() == failures { Ok(()) } else { Err(syncs.last_failure()) };
        match who {
            Waiter::Nobody => {}
            Waiter::Job(number, cell) => {
                if let Some(Some(job)) = self.jobs.get_mut(number) {
                    job.flushing = None;
                }
                cell.set(Some(result));
                self.run_soon(number);
            }
            Waiter::Task(seat, slot) => {
                let lost = result.err().map(|fault| Failure::Lost(logical.fault(fault, None)));
                let Some(exec) = self.exec(seat, slot) else { return };
                if exec.flushing.take_if(|own| own.number == ticket).is_none() {
                    return;
                }
                exec.flushed = true;
                exec.failed = exec.failed.or(lost);
                self.advance(seat, slot, sink);
            }
        }
    }

    /// The answer to a flush or a durable write that went well: GOOD, or a failure that its nexus has not heard of.
    #[inline]
    pub fn vouch(&mut self, seat: usize, task: TaskId, unit: usize, sink: &mut impl Sink) -> Outcome {
        if self.world.units[unit].syncs.failures() == 0 {
            return Outcome::GOOD;
        }
        self.vouch_after_failures(seat, task, unit, sink)
    }

    #[cold]
    fn vouch_after_failures(&mut self, seat: usize, task: TaskId, unit: usize, sink: &mut impl Sink) -> Outcome {
        // Read before the nexus is asked: of so many it may have heard by now.
        let failures = self.world.units[unit].syncs.failures();
        if self.hear(seat, task, unit, sink) {
            let unit = &self.world.units[unit];
            return unit.logical.fault(unit.syncs.last_failure(), None);
        }
        self.save_who_has_heard(unit, failures);
        Outcome::GOOD
    }

    /// Whether a nexus has yet to hear that what it wrote may be lost. If so, the end of this task tells it.
    #[cold]
    pub fn hear(&mut self, seat: usize, task: TaskId, unit: usize, sink: &mut impl Sink) -> bool {
        let Unit { syncs, news, .. } = &*self.world.units[unit];
        let heard = sink.hear((seat, task), unit, syncs.failures());
        if heard == Heard::Now {
            news.store(true, Ordering::Relaxed);
        }
        heard == Heard::IsTold
    }

    /// Counts the failure of an operation that was to make something durable, before anybody is told of its end.
    #[cold]
    pub fn sync_over(&mut self, unit: usize, sync: Sync, result: Result<(), MediumFault>) {
        let world = Arc::clone(&self.world);
        let number = unit;
        let Some(unit) = world.units.get(unit) else { return };
        if let Err(fault) = result
            && concerns_others(sync, fault)
        {
            unit.syncs.fail(fault);
            // Saved now: the kernel does not say it twice, and the process may be killed before its end.
            self.save_lost(number);
            if let Some(left_out) = self.noise.medium(self.now_ms) {
                let (failures, serial) = (unit.syncs.untold(), &unit.logical.params().serial);
                tracing::error!(serial, %fault, failures, left_out, "not flushed: what hosts wrote last may be lost");
            }
        }
        if let Sync::Write(epoch) = sync {
            unit.syncs.durable_over(self.core, epoch);
        }
    }
}

/// Whether a failure may have cost what was written before. A durable write that was refused (it found no space, say)
/// has not come to that.
fn concerns_others(sync: Sync, fault: MediumFault) -> bool {
    sync == Sync::Flush || !fault.is_refusal()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(flushes: &mut Flushes, after: u64) -> FlushTicket {
        let ticket = flushes.ticket(3);
        flushes.join(ticket.number, 3, Waiter::Task(0, 0), (after, 0));
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
            flushes.line(3).next_ended(|after| after < ended).map(|told| told.number)
        };
        assert_eq!([0, 1, 1].map(|ended| next(&mut flushes, ended)), [None, Some(first.number), None]);
        assert!(flushes.use_unit(3) && !flushes.use_unit(2));
        flushes.forget(last);
        assert_eq!(next(&mut flushes, 2), None);
        flushes.forget(first);
        assert!(!flushes.use_unit(3));
    }
}
