//! How flushes are begun and waited for, and what a command that promises durability is answered.
//!
//! A flush belongs to nobody: jobs, tasks and those who do not wait for its end (SYNCHRONIZE CACHE with IMMED) are
//! content with any that begins after they asked, on whatever core, and who is aborted stops waiting without holding
//! anybody up. Who waits on this core is in `waits/flushes.rs`; turns and failures are counted for all cores together in
//! [`crate::unit::syncs`].
//!
//! Before a flush or a durable write is answered GOOD its nexus is compared with the failures of the medium: one that
//! it has not heard of may have cost what it wrote before, whoever met it.

use super::executor::Executor;
use crate::backend::Op;
use crate::canary::{Canary, sings};
use crate::limits::SYNC_DRAIN_MS;
use crate::missing::missing;
use crate::model::{MediumFault, PerUnit, TaskKey, UnitIx};
use crate::scsi::{Heard, Outcome};
use crate::tasks::failing::Failure;
use crate::tasks::operations::Owner;
use crate::tasks::sink::Outside;
use crate::unit::Unit;
use crate::unit::notice::Notice;
use crate::waits::flushes::{Covers, Draining, Step, Sync, Told, Waiter};
use std::sync::atomic::Ordering;

impl Executor {
    /// Has a unit flushed for somebody.
    pub fn flush_for(&mut self, who: Waiter, unit: UnitIx, out: &mut impl Outside) {
        let syncs = &self.media.units[unit].syncs;
        let (after, failures) = (syncs.begun(), syncs.failures());
        let ticket = self.waits.flushes.ticket(unit);
        let number = ticket.number;
        match who {
            // A flush that was wanted before, and has not begun, is this one's, too.
            Waiter::Nobody if self.waits.flushes.line(unit).wanted_after.replace(after) == Some(after) => return,
            Waiter::Nobody => {}
            Waiter::Task(seat, slot) => {
                let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
                exec.waits.flushing = Some(ticket);
            }
            Waiter::Job(number, _) => {
                let Some(Some(job)) = self.running.jobs.get_mut(number) else { return missing("a job") };
                job.waits.flushing = Some(ticket);
            }
        }
        self.waits.flushes.join(number, unit, who, (after, failures));
        self.advance_flushes(unit, out);
    }

    /// Goes on with those who wait when a flush of another core has ended, or when a turn has left some of them. That
    /// may be this very turn: then another message is sent.
    pub fn flushes_go_on(&mut self, unit: UnitIx, out: &mut impl Outside) {
        self.waits.flushes.line(unit).left = false;
        self.advance_flushes(unit, out);
    }

    /// Tells those whose flush of a unit has ended, and begins another if somebody is left and it is anybody's turn. When many
    /// have waited, others have their turns in between.
    pub fn advance_flushes(&mut self, unit: UnitIx, out: &mut impl Outside) {
        loop {
            if !self.waits.flushes.may_tell(self.turn.now_ns) {
                if !std::mem::replace(&mut self.waits.flushes.line(unit).left, true) {
                    (self.media.post)(self.core, Notice::Flushed { unit });
                }
                return;
            }
            let Some(step) = self.next_flush_step(unit) else { return };
            match step {
                Step::Tell(told) => {
                    self.waits.flushes.told.1 += 1;
                    self.stats.most_flushed = self.stats.most_flushed.max(self.waits.flushes.told.1.into());
                    self.flushed(unit, told, out);
                }
                Step::Begin => {
                    let Unit { syncs, logical, .. } = &*self.media.units[unit];
                    let (off, others) = (logical.unflushed(), logical.others_unflushed());
                    self.waits.flushes.line(unit).covers = Covers { off, others, failures: syncs.failures() };
                    let owner = Owner::Flush(unit);
                    let over = match sings(Canary::FlushSkipped) {
                        true => Some((owner, Ok(()))),
                        false => self.start(unit, Op::Flush, owner, out),
                    };
                    if let Some((owner, result)) = over {
                        self.finished(owner, result, out);
                    }
                }
            }
        }
    }

    /// What is to be done next for those who wait for flushes of a unit. `None`: nothing, until a flush has ended.
    fn next_flush_step(&mut self, unit: UnitIx) -> Option<Step> {
        let syncs = &self.media.units.get(unit)?.syncs;
        let line = self.waits.flushes.line(unit);
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
    pub fn flush_answered(&mut self, unit: UnitIx, out: &mut impl Outside) {
        let epoch = self.media.units[unit].syncs.drain();
        self.waits.flushes.draining.push(Draining {
            unit,
            epoch,
            until_ms: self.turn.now_ms.saturating_add(SYNC_DRAIN_MS),
        });
        self.advance_drains(out);
    }

    /// Ends the flushes for which no durable write is under way any more, and tells who waits. A durable write that the
    /// medium leaves unanswered holds a flush up for [`SYNC_DRAIN_MS`] at most: if it fails later, that is counted
    /// then.
    pub fn advance_drains(&mut self, out: &mut impl Outside) {
        let mut at = 0;
        while let Some(&Draining { unit, epoch, until_ms }) = self.waits.flushes.draining.get(at) {
            let units = PerUnit::clone(&self.media.units);
            let syncs = &units[unit].syncs;
            if !syncs.is_drained(epoch) && self.turn.now_ms < until_ms {
                at += 1;
                continue;
            }
            self.waits.flushes.draining.swap_remove(at);
            let Covers { off, others, failures } = std::mem::take(&mut self.waits.flushes.line(unit).covers);
            if syncs.failures() == failures {
                let logical = &units[unit].logical;
                // Before anybody is told: one of those who wait may have switched the cache off.
                if let Some(off) = off {
                    logical.cache_flushed(off);
                }
                // A durable write that is not over may yet be told of a failure to store what those hosts wrote.
                if let Some(others) = others.filter(|_| syncs.is_drained(epoch)) {
                    logical.others_flushed(others, failures);
                }
            }
            syncs
                .end()
                .filter(|core| *core != self.core)
                .for_each(|core| (self.media.post)(core, Notice::Flushed { unit }));
            self.advance_flushes(unit, out);
            at = 0;
        }
    }

    /// Tells a waiter that a flush of the unit which began after it came has ended.
    fn flushed(&mut self, unit: UnitIx, Told { number: ticket, who, failures }: Told, out: &mut impl Outside) {
        let Unit { syncs, logical, .. } = &*self.media.units[unit];
        let result = if syncs.failures() == failures { Ok(()) } else { Err(syncs.last_failure()) };
        match who {
            Waiter::Nobody => {}
            Waiter::Job(number, cell) => {
                if let Some(Some(job)) = self.running.jobs.get_mut(number) {
                    job.waits.flushing = None;
                } else {
                    missing("a job");
                }
                cell.set(Some(result));
                self.run_soon(number);
            }
            Waiter::Task(seat, slot) => {
                let lost = result.err().map(|fault| Failure::Lost(logical.fault(fault, None)));
                let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
                if exec.waits.flushing.take_if(|own| own.number == ticket).is_none() {
                    return;
                }
                exec.flushed = true;
                if let Some(lost) = lost {
                    exec.failing.also(lost);
                }
                self.advance(seat, slot, out);
            }
        }
    }

    /// The answer to a flush or a durable write that went well: GOOD, or a failure that its nexus has not heard of.
    #[inline]
    pub fn vouch(&mut self, who: TaskKey, unit: UnitIx, out: &mut impl Outside) -> Outcome {
        if self.media.units[unit].syncs.failures() == 0 {
            return Outcome::GOOD;
        }
        self.vouch_after_failures(who, unit, out)
    }

    #[cold]
    fn vouch_after_failures(&mut self, who: TaskKey, unit: UnitIx, out: &mut impl Outside) -> Outcome {
        // Read before the nexus is asked: of so many it may have heard by now.
        let failures = self.media.units[unit].syncs.failures();
        if self.hear(who, unit, out) {
            let unit = &self.media.units[unit];
            return unit.logical.fault(unit.syncs.last_failure(), None);
        }
        self.save_who_has_heard(unit, failures);
        Outcome::GOOD
    }

    /// Whether a nexus has yet to hear that what it wrote may be lost. If so, the end of this task tells it.
    #[cold]
    pub fn hear(&mut self, who: TaskKey, unit: UnitIx, out: &mut impl Outside) -> bool {
        let Unit { syncs, news, .. } = &*self.media.units[unit];
        let heard = out.hear(who, unit, syncs.failures());
        if heard == Heard::Now {
            news.store(true, Ordering::Relaxed);
        }
        heard == Heard::IsTold
    }

    /// Counts the failure of an operation that was to make something durable, before anybody is told of its end.
    #[cold]
    pub fn sync_over(&mut self, unit: UnitIx, sync: Sync, result: Result<(), MediumFault>) {
        let units = PerUnit::clone(&self.media.units);
        let number = unit;
        let Some(unit) = units.get(unit) else { return missing("a unit") };
        if let Err(fault) = result
            && concerns_others(sync, fault)
            && !sings(Canary::FlushFailureForgotten)
        {
            unit.syncs.fail(fault);
            // Saved now: the kernel does not say it twice, and the process may be killed before its end.
            self.save_lost(number);
            if let Some(left_out) = self.noise.medium(self.turn.now_ms) {
                let (failures, serial) = (unit.syncs.untold(), &unit.logical.params().serial);
                tracing::error!(event = "writes-lost", serial, %fault, failures, left_out, "not flushed: what hosts wrote last may be lost");
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
