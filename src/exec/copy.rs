//! Third-party copies: EXTENDED COPY and the commands with ROD tokens, between the logical units of one target.
//!
//! The device server says what to move (`scsi/copy_begin.rs`), and a job moves it (`jobs/copying.rs`); here such jobs begin
//! and are ended. A copy stays on the core of the session that asked for it, and as long as it goes on, the session stays
//! there, too. A copy is aborted with its task; one with IMMED belongs to no task, and ends when its nexus is lost or
//! somebody cancels it. Whoever aborts tasks at a unit ends the copies that read or write it, too, and so does who erases
//! it; and a copy ends when its nexus does not find one of its units any more.
//!
//! What a copy that was ended still has on the medium keeps its range from then on (`stray.rs`), and is an operation
//! that outlives its task if that takes long. A unit takes no more copies while it has too many of those.

use super::executor::Executor;
use crate::jobs::copy_job::CopyJob;
use crate::jobs::copying::{Route, make_token, run};
use crate::jobs::job::JobCx;
use crate::limits::{ABORT_GRACE_MS, STRAYS_PER_UNIT};
use crate::missing::missing;
use crate::model::{InitiatorPort, PerUnit, TaskKey, UnitIx};
use crate::scsi::Outcome;
use crate::scsi::copy::CopyRequest;
use crate::scsi::copy_begin::{Begun, CopyStep};
use crate::tasks::outcomes::{COPY_ABORTED, TASK_SET_FULL};
use crate::tasks::sink::{CopyBegun, Moved, Outside};
use crate::waits::left::Scope;
use std::sync::Arc;

impl Executor {
    /// Begins a copy that was planned for `unit`.
    pub fn copy(&mut self, who: TaskKey, unit: UnitIx, request: &CopyRequest, out: &mut impl Outside) {
        let asked = u64::from(request.list_bytes);
        let Some(CopyBegun { begun, units, of: (target, session), nexus }) = out.begin_copy(who, unit, request) else {
            return self.answer_copy(who, TASK_SET_FULL, 0, out);
        };
        match begun {
            Begun::Done(outcome) => self.answer_copy(who, outcome, asked, out),
            Begun::Make(work) => {
                let cx = JobCx::new(self.account(who.seat));
                let job = make_token(cx.clone(), work, Arc::clone(&self.media.units[unit]));
                self.become_job(who, unit, asked);
                self.enlist_copy(&cx, job, (unit, None), Some(who));
            }
            Begun::Run(work) => {
                let (immediate, watch) = (work.is_immediate(), work.watch());
                let cx = JobCx::new(self.account(who.seat));
                let mut touched = vec![unit];
                let source = |step: &CopyStep| step.source.map(|(peer, _)| peer);
                let peers = work.steps.iter().flat_map(|step| source(step).into_iter().chain([step.destination.0]));
                touched.extend(peers.filter_map(|peer| units.get(peer)));
                touched.sort_unstable();
                touched.dedup();
                if touched.iter().any(|&unit| self.keeps_too_much(unit)) {
                    return self.answer_copy(who, Outcome::BUSY, asked, out);
                }
                let job = run(cx.clone(), work, Route { all: PerUnit::clone(&self.media.units), units, here: unit });
                let copy = CopyJob { target, session, nexus, units: touched, watch, left: None, ended_ms: 0 };
                if immediate {
                    self.enlist_copy(&cx, job, (unit, Some(copy)), None);
                    return self.answer_copy(who, Outcome::GOOD, asked, out);
                }
                self.become_job(who, unit, asked);
                self.enlist_copy(&cx, job, (unit, Some(copy)), Some(who));
            }
        }
    }

    /// Aborts the copies that read or write a unit, or belong to its task set, of the nexuses (initiator port and tag of the portal
    /// group) that are meant. Those whose task is there end as if the device had failed.
    pub fn abort_copies(&mut self, scope: Scope, is_meant: impl Fn((&InitiatorPort, u16)) -> bool) {
        for at in 0..self.running.copies.len() {
            let number = self.running.copies[at];
            let Some(job) = self.running.jobs[number].as_mut() else { continue };
            let Some(copy) = job.copy.as_mut().filter(|copy| copy.is_of(scope)) else { continue };
            let is_known = copy.left.is_some() || job.medium.stray.is_some();
            if is_known || !is_meant((&copy.nexus.0, copy.nexus.1)) {
                continue;
            }
            let units = copy.units.iter().copied().map(Scope::Unit);
            let scopes = std::iter::once(Scope::Target(copy.target)).chain(units).collect();
            // From now on nobody waits for what the copy has on the medium.
            let until_ms = self.turn.now_ms + ABORT_GRACE_MS;
            copy.left = Some(self.leftovers.copies.leave(&self.leftovers.left, scopes, until_ms, self.turn.now_ms));
            let outcome = self.media.units[job.unit].logical.formatted(COPY_ABORTED);
            self.end_copy(number, outcome);
        }
    }

    /// Ends the copies that somebody wants to end, whatever step they are at.
    pub fn end_cancelled_copies(&mut self) {
        for at in 0..self.running.copies.len() {
            let number = self.running.copies[at];
            if let Some(job) = self.running.jobs[number].as_ref()
                && let Some(copy) = job.copy.as_deref()
                && !job.cancelled
                && let Some(outcome) = copy.watch.cancelled(&self.media.units[job.unit].logical)
            {
                self.end_copy(number, outcome);
            }
        }
    }

    /// Has a copy begin nothing more. It is over when the medium has let go of what the copy has there: that keeps its
    /// range, so nobody overtakes it.
    fn end_copy(&mut self, number: usize, outcome: Outcome) {
        let Some(Some(job)) = self.running.jobs.get_mut(number) else { return missing("a job") };
        if std::mem::replace(&mut job.cancelled, true) {
            return;
        }
        job.given_up = Some(outcome).filter(|_| job.task.is_some());
        if let Some(copy) = job.copy.as_mut() {
            copy.ended_ms = self.turn.now_ms;
        }
        self.keep_claims(number);
        self.run_soon(number);
    }

    /// Makes strays of the copies in the background that have ended, and that the medium does not let go of for
    /// `ABORT_GRACE_MS`.
    pub fn outlive_copies(&mut self) {
        for at in 0..self.running.copies.len() {
            let number = self.running.copies[at];
            if let Some(job) = self.running.jobs[number].as_ref()
                && job.copy.as_ref().is_some_and(|copy| self.turn.now_ms >= copy.ended_ms + ABORT_GRACE_MS)
                && (job.cancelled, job.task, job.medium.stray) == (true, None, None)
                && job.medium.in_flight > 0
            {
                self.let_stray(number);
            }
        }
    }

    /// Whether a unit has too many operations on its medium that nobody waits for. Those of ended copies count even if
    /// they are not called strays yet.
    fn keeps_too_much(&self, unit: UnitIx) -> bool {
        let is_kept = |number: &&usize| {
            let job = self.running.jobs.get(**number).and_then(Option::as_ref).filter(|job| job.cancelled);
            job.is_some_and(|job| self.operations.unit_of(**number, job.medium.operation) == Some(unit))
        };
        self.strays.are_too_many(unit) || self.running.copies.iter().filter(is_kept).count() >= STRAYS_PER_UNIT
    }

    /// Whether the session with the serial number `session` has a copy on this core that goes on.
    pub fn has_copies(&self, session: u64) -> bool {
        let mut jobs = self.running.copies.iter().filter_map(|number| self.running.jobs.get(*number)?.as_ref());
        jobs.any(|job| !job.cancelled && job.copy.as_ref().is_some_and(|copy| copy.session == session))
    }

    /// Answers a copy command. `asked`: the bytes of its parameter list, which is all that was moved for the command
    /// itself.
    fn answer_copy(&mut self, who: TaskKey, outcome: Outcome, asked: u64, out: &mut impl Outside) {
        let due = self.clear(who, out);
        out.complete(due, outcome, Moved::Out(asked));
    }
}
