//! Task management beyond one session: aborts at a unit across sessions and cores, and the answers that wait for them.
//!
//! A function is answered when no task that it aborted is left: a write that is still on its way to the medium after
//! the answer could overwrite what the initiator writes next (SAM-5 section 7.2: the abort is complete when the task
//! can have no further effect). With a medium that does not answer, tasks are let go of all the same (`exec/stray.rs`),
//! and no later command can be overtaken by what is left of them. Should even that fail, the answer after `LIMIT_MS` is
//! "function rejected", never a lie.

use super::core::Core;
use crate::canary::{Canary, sings};
use crate::exec::executor::Executor;
use crate::fabric::mesh::Message;
use crate::fabric::seat::Seat;
use crate::fabric::{Fabric, Parts};
use crate::missing::Required;
use crate::model::{InitiatorPort, IscsiName, ItNexus, SeatIx, TaskKey, UnitIx};
use crate::scsi::Attention;
use crate::session::seam::{CloseReason, TaskId, TmRequest};
use crate::shares::Whose;
use crate::tasks::sink::{Moved, Preempting, Sink};
use crate::waits::flushes::Waiter;
use crate::waits::left::Scope;
use crate::waits::management::{Answer, Pending};
use crate::wire::{Isid, Lun, TmFunction, TmResponse};
use crate::world::targets::LunMap;
use std::collections::HashSet;

/// How long a function waits at most, milliseconds. The time for which the machine stands still does not count
/// (`waits/management.rs`).
const LIMIT_MS: u64 = 900;

impl Core {
    /// Carries out a function for a session.
    pub fn manage(&mut self, seat: SeatIx, request: TmRequest) {
        let Some(holder) = self.fabric.seats.get(seat).required("the session of a function") else { return };
        let Some(target) = holder.target.required("the target of a session that manages tasks") else { return };
        let all_units = matches!(request.function, TmFunction::TARGET_WARM_RESET | TmFunction::TARGET_COLD_RESET);
        let hidden = self
            .fabric
            .world
            .targets
            .get(target)
            .required("a target")
            .is_some_and(|own| own.units.len() > holder.map.units.len());
        if all_units && hidden {
            // This would reset units that the initiator must not even see.
            //= RFC 7143 section 11.5.1
            //# When authorization fails at the target, the appropriate response as
            //# described in Section 11.6.1 MUST be returned by the target.
            return self.answer(seat, request.id, TmResponse::AUTHORIZATION_FAILED);
        }
        let scope = match request.function {
            _ if all_units => Scope::Target(target),
            TmFunction::I_T_NEXUS_RESET => Scope::Seat(seat, None),
            function => match (holder.map.unit(request.lun), function) {
                (Some(unit), TmFunction::ABORT_TASK | TmFunction::ABORT_TASK_SET) => Scope::Seat(seat, Some(unit)),
                (Some(unit), _) => Scope::Unit(unit),
                (None, _) => return self.answer(seat, request.id, TmResponse::LUN_DOES_NOT_EXIST),
            },
        };
        match request.function {
            // The session knows of its tasks.
            TmFunction::QUERY_TASK_SET => return self.answer(seat, request.id, TmResponse::FUNCTION_COMPLETE),
            TmFunction::QUERY_ASYNCHRONOUS_EVENT => return self.query_asynchronous_event(seat, request),
            _ => {}
        }
        if !matches!(scope, Scope::Seat(..)) && self.fabric.asks_too_much(seat) {
            return self.answer(seat, request.id, TmResponse::FUNCTION_REJECTED);
        }
        let end_sessions = request.function == TmFunction::TARGET_COLD_RESET;
        if matches!(
            request.function,
            TmFunction::LOGICAL_UNIT_RESET | TmFunction::TARGET_WARM_RESET | TmFunction::TARGET_COLD_RESET
        ) {
            self.reset_units(scope, request.function != TmFunction::LOGICAL_UNIT_RESET);
        }
        if request.function == TmFunction::CLEAR_TASK_SET {
            self.tell_cleared(seat, scope);
        }
        let ticket = self.fabric.management.next_ticket();
        let cores_left = match scope {
            Scope::Seat(..) => 0,
            Scope::Unit(_) | Scope::Target(_) => self.abort_everywhere(scope, Some(seat), end_sessions, ticket, &[]),
        };
        self.asked_elsewhere(seat, ticket, cores_left);
        let ends = end_sessions.then_some(target);
        let pending = Pending { answer: Answer::Function(seat, request.id), cores_left, ends };
        self.wait_for(scope, ticket, pending, self.fabric.now_ms + LIMIT_MS);
    }

    fn asked_elsewhere(&mut self, seat: SeatIx, ticket: u32, cores: usize) {
        // The session may be gone.
        if let Some(asking) = self.fabric.asking(seat) {
            self.fabric.management.elsewhere.ask(ticket, asking, cores);
        }
    }

    /// QUERY ASYNCHRONOUS EVENT at a logical unit that is there.
    fn query_asynchronous_event(&mut self, seat: SeatIx, request: TmRequest) {
        //= RFC 7144 section 6.4.2
        //# For the QUERY ASYNCHRONOUS EVENT, if there is a unit attention
        //# condition or deferred error pending for the specified I_T_L nexus,
        //# then the logical unit returns a Response value of "Function
        //# succeeded", and additional response information is returned as
        //# specified in [SAM5].
        let (response, info) = match self.asynchronous_event(seat, request.lun) {
            Some(info) => (TmResponse::FUNCTION_SUCCEEDED, info),
            None => (TmResponse::FUNCTION_COMPLETE, [0; 3]),
        };
        if let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat).required("the session of a function")
        {
            holder.session.tm_complete_with(request.id, response, info, &mut out);
            self.pump(seat);
        }
    }

    /// What is pending for a session at a LUN as it sees it.
    fn asynchronous_event(&mut self, seat: SeatIx, lun: Lun) -> Option<[u8; 3]> {
        let Seat { session, nexus, map, .. } = self.fabric.seats.get_mut(seat).required("the session of a function")?;
        let position = map.position(lun.number()?)?;
        let unit = self.fabric.world.units.get(*map.units.get(position)?).required("a unit")?;
        unit.logical.asynchronous_event(nexus.get_mut(position)?, &session.init().initiator)
    }

    /// Notes that commands of a session, at a LUN as it sees it, ended with their connection.
    pub fn cleared(&mut self, seat: SeatIx, lun: Lun) {
        if let Some(Seat { nexus, map, .. }) = self.fabric.seats.get_mut(seat).required("the session of a task")
            && let Some(nexus) = lun.number().and_then(|n| nexus.get_mut(map.position(n)?))
        {
            nexus.attend(Attention::CommandsClearedByProtocolEvent);
        }
    }

    /// The other nexuses learn that their commands were cleared (SAM-5 section 7.4: 2F/00).
    fn tell_cleared(&mut self, seat: SeatIx, scope: Scope) {
        if let (Scope::Unit(unit), Some(holder)) = (scope, self.fabric.seats.get(seat).required("the session of a function"))
            // All nexuses of a session have one number.
            && let Some(nexus) = holder.nexus.first()
            && !sings(Canary::ClearUntold)
        {
            self.fabric.world.units[unit].logical.raise(Attention::CommandsCleared, Some(nexus.id()));
        }
    }

    fn reset_units(&mut self, scope: Scope, hard: bool) {
        //= RFC 7143 section 11.5.1
        //# For the LOGICAL UNIT RESET function, the target MUST behave as dictated
        //# by the Logical Unit Reset function in [SAM2].
        let world = self.fabric.world.clone();
        let units = match &scope {
            Scope::Unit(unit) => std::slice::from_ref(unit),
            Scope::Target(target) => world.targets.get(*target).map_or(&[][..], |target| &target.units),
            Scope::Seat(..) => &[],
        };
        for &unit in units {
            let logical = &world.units[unit].logical;
            let flush = if hard { logical.hard_reset() } else { logical.reset() };
            if flush {
                // The function does not wait for a medium. What fails is told with what is written next.
                self.executor.flush_for(Waiter::Nobody, unit, &mut self.fabric);
            }
        }
    }

    /// PREEMPT AND ABORT: aborts tasks at the command's unit, on all cores, then answers the command. If that was itself
    /// aborted after it had taken effect nobody waits, and its session may be gone.
    pub fn preempt(&mut self, preempting: Preempting) {
        let Preempting { answer, unit, nexuses, standing } = preempting;
        let (scope, ticket) = (Scope::Unit(unit), self.fabric.management.next_ticket());
        let asking = answer.as_ref().map(|(due, ..)| due.who().seat);
        let cores_left = self.abort_everywhere(scope, asking, false, ticket, &nexuses);
        // The place in the line was kept until the tasks are aborted.
        drop(standing);
        if let Some(seat) = asking {
            self.asked_elsewhere(seat, ticket, cores_left);
        }
        let Some((due, outcome, asked)) = answer else { return };
        if !self.is_live(due.who().seat, due.who().task) {
            // It was aborted since, and that was its end.
            due.end();
            return;
        }
        let pending = Pending { answer: Answer::Command(due, outcome, asked), cores_left, ends: None };
        // GOOD says that nothing of those tasks is to come: there is no other answer to give instead.
        self.wait_for(scope, ticket, pending, u64::MAX);
    }

    /// Aborts here and has the other cores abort; how many of them will answer with `ticket`.
    fn abort_everywhere(
        &mut self,
        scope: Scope,
        but: Option<SeatIx>,
        end_sessions: bool,
        ticket: u32,
        nexuses: &[ItNexus],
    ) -> usize {
        self.abort_others(scope, but, nexuses);
        let others = self.fabric.neighbours.others();
        let post = |core| {
            let (from, nexuses) = (self.fabric.neighbours.own(), nexuses.to_vec());
            self.fabric.neighbours.post(core, Message::Abort { scope, end_sessions, from, ticket, nexuses });
        };
        self.fabric.world.registry.while_all_stay(|| others.map(post).count())
    }

    /// Aborts the tasks of all sessions of this core that are meant, except those of seat `but`; with `nexuses`, only of
    /// theirs.
    fn abort_others(&mut self, scope: Scope, but: Option<SeatIx>, nexuses: &[ItNexus]) {
        let world = self.fabric.world.clone();
        let logical = match scope {
            // Another core may know of a unit that has not been heard of here.
            Scope::Unit(unit) => world.units.get(unit).map(|unit| &unit.logical),
            Scope::Target(_) | Scope::Seat(..) => None,
        };
        // The ports that nexuses are of: few sessions are of one of these, and only those are compared with each nexus.
        let ports: HashSet<(&IscsiName, Isid)> =
            nexuses.iter().map(|each| (&each.initiator.name, each.initiator.isid)).collect();
        let is_meant = |(port, tag): (&InitiatorPort, u16)| {
            if nexuses.is_empty() {
                return true;
            }
            if !ports.contains(&(&port.name, port.isid)) {
                return false;
            }
            let nexus = logical.map(|logical| logical.it_nexus(port, tag));
            nexus.is_some_and(|nexus| nexuses.iter().any(|each| each.covers(&nexus)))
        };
        self.executor.abort_copies(scope, is_meant);
        let mut fenced = Vec::new();
        for seat in self.fabric.seats.numbers() {
            if Some(seat) == but {
                continue;
            }
            if let Some(holder) = self.fabric.seats.get_mut(seat)
                && is_meant((&holder.session.init().initiator, holder.session.init().target_portal_group))
            {
                let Seat { session, map, target, .. } = holder;
                let executor = &self.executor;
                if !nexuses.is_empty() {
                    fenced.push(seat);
                }
                match scope {
                    Scope::Target(of) if *target == Some(of) => session.abort_tasks(None),
                    Scope::Unit(unit)
                        if map.units.contains(&unit) || executor.tasks(seat).iter().any(|exec| exec.unit == unit) =>
                    {
                        session.abort_tasks_at(|task, lun| unit_of(executor, seat, map, task, lun) == Some(unit));
                    }
                    Scope::Target(_) | Scope::Unit(_) | Scope::Seat(..) => continue,
                }
                // Even if nothing but a notice or a place in the window came of it.
                if session.has_events() || session.next_deadline_ms() <= self.fabric.now_ms {
                    self.pump(seat);
                }
            }
        }
        if let Scope::Unit(unit) = scope
            && !nexuses.is_empty()
        {
            self.cut_unsent(&[unit], |seat| fenced.contains(&seat));
        }
    }

    /// Carries out another core's abort. `is_repeated`: it directly follows one that had the same tasks aborted, and
    /// nothing has begun since.
    pub fn abort_foreign(
        &mut self,
        scope: Scope,
        end_sessions: bool,
        (core, ticket): (usize, u32),
        nexuses: &[ItNexus],
        is_repeated: bool,
    ) {
        if !is_repeated {
            self.abort_others(scope, None, nexuses);
        }
        let ends = match scope {
            Scope::Target(target) if end_sessions => Some(target),
            _ => None,
        };
        let pending = Pending { answer: Answer::Core(core, ticket), cores_left: 0, ends };
        let own = self.fabric.management.next_ticket();
        self.wait_for(scope, own, pending, u64::MAX);
    }

    /// Another core has done what we asked of it.
    pub fn aborted_elsewhere(&mut self, ticket: u32) {
        if let Some(scope) = self.fabric.management.done_elsewhere(ticket) {
            self.answer_done(scope);
        }
    }

    /// Has a function wait until nothing is left of what it aborts; if nothing is, it is answered.
    fn wait_for(&mut self, scope: Scope, ticket: u32, pending: Pending, deadline_ms: u64) {
        self.executor.leftovers.copies.expire(self.fabric.now_ms);
        if let Some(pending) = self.fabric.management.wait(scope, ticket, pending, deadline_ms) {
            self.waited(pending, true);
        }
    }

    /// Answers every function that waits for nothing any more, or for too long.
    pub fn settle(&mut self) {
        self.executor.leftovers.copies.expire(self.fabric.now_ms);
        loop {
            let emptied = self.fabric.management.left.emptied();
            if emptied.is_empty() {
                break;
            }
            emptied.into_iter().for_each(|scope| self.answer_done(scope));
        }
        while let Some(pending) = self.fabric.management.given_up(self.fabric.now_ms) {
            self.waited(pending, false);
        }
    }

    fn answer_done(&mut self, scope: Scope) {
        for ticket in self.fabric.management.done(scope) {
            if let Some(pending) = self.fabric.management.take(ticket) {
                self.waited(pending, true);
            }
        }
    }

    /// Answers a function. `is_done`: what it aborted is gone; else it was not in time.
    fn waited(&mut self, pending: Pending, is_done: bool) {
        let response = if is_done { TmResponse::FUNCTION_COMPLETE } else { TmResponse::FUNCTION_REJECTED };
        match pending.answer {
            Answer::Function(seat, id) => self.answer(seat, id, response),
            Answer::Command(due, outcome, asked) => {
                let seat = due.who().seat;
                self.fabric.complete(due, outcome, Moved::Out(asked));
                self.pump(seat);
            }
            Answer::Core(core, ticket) => self.fabric.neighbours.post(core, Message::Aborted { ticket }),
        }
        if let Some(target) = pending.ends.filter(|_| is_done) {
            self.end_sessions(target);
        }
    }

    fn answer(&mut self, seat: SeatIx, id: u8, response: TmResponse) {
        if let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat).required("the session of a function")
        {
            holder.session.tm_complete(id, response, &mut out);
            self.pump(seat);
        }
    }

    //= RFC 7143 section 11.5.1
    //# Additionally, the target MUST treat the TARGET COLD RESET function as a
    //# power-on event, thus terminating all of its TCP connections to all
    //# initiators (all sessions are terminated).
    //= RFC 7143 section 11.6.1
    //# For the TARGET COLD RESET function, the target MUST then
    //# close all of its TCP connections to all initiators (terminates all
    //# sessions).
    fn end_sessions(&mut self, target: usize) {
        for seat in self.fabric.seats.numbers() {
            if let Some(holder) = self.fabric.seats.get_mut(seat)
                && holder.target == Some(target)
            {
                holder.session.end(CloseReason::Reset);
                self.pump(seat);
            }
        }
    }

    /// Forgets what a session waited for, which is gone.
    pub fn forget_management(&mut self, seat: SeatIx) {
        self.fabric.management.forget(seat);
    }
}

/// Where a task's command works: at the unit where it has begun to, or else at the one that is found at its LUN now.
pub fn unit_of(executor: &Executor, seat: SeatIx, map: &LunMap, task: TaskId, lun: Lun) -> Option<UnitIx> {
    executor.begun_at(TaskKey { seat, task }).or_else(|| map.unit(lun))
}

impl Fabric {
    /// Whether other cores have to do some of what a session has asked of them before they are asked for more.
    pub fn asks_too_much(&self, seat: SeatIx) -> bool {
        self.asking(seat).is_some_and(|asking| self.management.elsewhere.is_too_much(asking))
    }

    /// Who a session counts as; none if it is gone.
    fn asking(&self, seat: SeatIx) -> Option<Whose> {
        let holder = self.seats.get(seat)?;
        Some(Whose::of(holder.serial, holder.text.peer()))
    }
}
