//! How commands pay at the limits on commands and bytes a second: what each costs, who waits, who goes on. The limits
//! themselves are in [`crate::rate`].
//!
//! A command that reads or writes pays for itself before it begins; its data by slices, each before a buffer is taken
//! for it. COMPARE AND WRITE and WRITE ATOMIC pay for all before their data is asked for; other jobs of whole commands
//! (WRITE SAME, VERIFY, copies, ...) for each operation on the medium that reads or writes, before they take a buffer
//! for it. What waits keeps its place among the commands of its session at its unit; other units, other sessions, NOPs
//! and task management do not notice. An aborted task waits no longer.
//!
//! Free of charge: everything that moves no data of the medium, UNMAP (and WRITE SAME that unmaps), flushes, and the
//! erasing of a whole unit, which nobody can use meanwhile anyway.
//!
//! A session whose units and group have no limit has no flows: that is one branch for each command. Another
//! configuration changes the flows of the sessions that there are; at shutdown nothing is limited any more.

use super::executor::Executor;
use crate::backend::Op;
use crate::jobs::job::Job;
use crate::limits::SLICE_BYTES;
use crate::missing::missing;
use crate::model::{SeatIx, TaskKey, UnitIx};
use crate::rate::flows::{flow, regated};
use crate::rate::{Cost, FlowId, Gate, Waiter};
use crate::scsi::{MediumOp, Pays};
use crate::tasks::outcomes::TASK_SET_FULL;
use crate::tasks::sink::{Expected, Given, Moved, Outside};
use crate::tasks::task::Then;
use std::sync::Arc;

impl Executor {
    /// Has those at a seat use units by these gates from now on. Who waits for a limit that is no more, or at a unit that
    /// has no gate any more, is to go on ([`Executor::let_go`]) once all seats have their gates.
    #[must_use]
    pub fn regate(&mut self, seat: SeatIx, gates: Vec<(UnitIx, Gate)>) -> Vec<Waiter> {
        let mut waiters = Vec::new();
        if let Some(client) = self.clients.get_mut(seat.at()) {
            client.flows =
                regated(&mut self.limits.rates, std::mem::take(&mut client.flows), gates.into_iter(), &mut waiters);
        }
        waiters
    }

    /// There may be other limits, or (`lifted`) none any more. `None`: they are the same. Else seats are to be gated anew,
    /// and those who are returned are to go on after that.
    #[must_use]
    pub fn change_rates(&mut self, lifted: bool) -> Option<Vec<Waiter>> {
        let media = &self.media;
        if self.limits.rates.has(&media.rates) && !lifted {
            return None;
        }
        self.limits.rates.change(Arc::clone(&media.rates));
        let (mut waiters, alone) = (Vec::new(), std::mem::take(&mut self.limits.alone));
        self.limits.alone =
            regated(&mut self.limits.rates, alone, media.unit_gates().filter(|_| !lifted), &mut waiters);
        Some(waiters)
    }

    /// Has those go on who wait for a limit no more.
    pub fn let_go(&mut self, waiters: Vec<Waiter>, out: &mut impl Outside) {
        waiters.into_iter().for_each(|who| self.go_on(who, out));
    }

    /// Has a command of a session with limits pay, or wait. The operation is given back if it may begin.
    pub fn pay_command(&mut self, who: TaskKey, unit: UnitIx, op: MediumOp, expected: Expected) -> Option<MediumOp> {
        let block_bytes = self.media.units[unit].block_bytes;
        let Some(client) = self.clients.get_mut(who.seat.at()) else {
            missing("a seat");
            return Some(op);
        };
        let Some(flow) = flow(&client.flows, unit) else { return Some(op) };
        let row = op.row();
        let bytes = match row.pays {
            Pays::Moved => {
                let announced = if row.data_out > 0 { expected.write_bytes } else { expected.read_bytes };
                u64::from(announced).min(row.bytes(block_bytes).1)
            }
            // These take their buffers when the data is asked for, and have paid for all by then.
            Pays::DataOut => row.data_out_bytes(block_bytes),
            Pays::CommandAndSteps => 0,
            Pays::Steps | Pays::Free => return Some(op),
        };
        let bytes = bytes.min(SLICE_BYTES as u64) as u32;
        let Some(exec) = client.tasks.get_mut(who.slot()) else {
            missing("a task");
            return Some(op);
        };
        if bytes > 0 && self.limits.rates.counts_bytes(flow) {
            exec.transfer.paid = bytes;
        }
        let cost = Cost { operations: 1, bytes };
        if self.limits.rates.enter(flow, Waiter::Command(who.seat, who.slot()), cost, self.turn.now_ns) {
            return Some(op);
        }
        (exec.task, exec.unit, exec.then, exec.waits.held) = (who.task, unit, Some(Then::Medium(op)), Some(flow));
        None
    }

    /// A command waits at a limit, perhaps with data that came with it. Buffers with such data are no more than a part of the
    /// share of a session, an initiator and an address, so that their commands at other units go on.
    pub fn bound_waiting(&mut self, who: TaskKey, out: &mut impl Outside) {
        let Some(client) = self.clients.get(who.seat.at()) else { return missing("a seat") };
        let holds =
            client.tasks.get(who.slot()).is_some_and(|exec| exec.waits.held.is_some() && exec.early.data.is_some());
        if holds && client.account.is_crowded() {
            let due = self.clear(who, out);
            out.complete(due, TASK_SET_FULL, Moved::Nothing);
        }
    }

    /// Has the next slice of a transfer pay. False: it waits.
    pub fn pay_slice(&mut self, seat: SeatIx, slot: usize, len: usize) -> bool {
        let Some(client) = self.clients.get_mut(seat.at()) else {
            missing("a seat");
            return true;
        };
        let Some(exec) = client.tasks.get_mut(slot) else {
            missing("a task");
            return true;
        };
        let Some(flow) = flow(&client.flows, exec.unit) else { return true };
        let cost = Cost { operations: 0, bytes: len as u32 };
        let paid = self.limits.rates.enter(flow, Waiter::Slice(seat, slot), cost, self.turn.now_ns);
        exec.transfer.paid = exec.transfer.started.saturating_add(len as u32);
        if !paid {
            // What the task waited for on the medium before that is over.
            (exec.waits.held, exec.waits.fenced_since_ms) = (Some(flow), None);
            exec.stops(self.turn.now_ns);
        }
        paid
    }

    /// Has a job pay for an operation on the medium. False: it waits.
    pub fn pay_job(&mut self, number: usize, unit: UnitIx, op: &Op) -> bool {
        let Some(Some(job)) = self.running.jobs.get_mut(number) else {
            missing("a job");
            return true;
        };
        let bytes = match op {
            Op::Read { buffer, .. } | Op::Write { buffer, .. } => buffer.len() as u64,
            Op::Zero { len, .. } => *len,
            Op::Discard { .. } | Op::Flush | Op::Evict { .. } => return true,
        };
        if !job.pay.owes() || job.pay.spend(unit) {
            return true;
        }
        self.pay_bytes(number, unit, bytes)
    }

    /// Has a job pay for an operation of so many bytes. False: it waits.
    pub fn pay_bytes(&mut self, number: usize, unit: UnitIx, bytes: u64) -> bool {
        let Some(Some(job)) = self.running.jobs.get_mut(number) else {
            missing("a job");
            return true;
        };
        if !job.pay.owes() {
            return true;
        }
        if job.pay.held.is_some() {
            // It was polled for another reason, and asks again: it has its place in the line.
            return false;
        }
        // A job that goes on without its task is bound by the unit's limits alone.
        let flows =
            job.seat().and_then(|seat| self.clients.get(seat.at())).map_or(&self.limits.alone, |client| &client.flows);
        let Some(flow) = flow(flows, unit) else { return true };
        let cost = Cost { operations: 0, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
        // Among the commands of its session a job has had its turn when it began: only bytes are paid for.
        if !self.limits.rates.enter(flow, Waiter::Job(number), cost, self.turn.now_ns) {
            job.pay.held = Some(flow);
            return false;
        }
        job.pay.paid = true;
        true
    }

    /// Lets those go on whose turn has come.
    pub fn release_paid(&mut self, out: &mut impl Outside) {
        while let Some(who) = self.limits.rates.next(self.turn.now_ns) {
            self.go_on(who, out);
        }
    }

    /// Lets somebody go on whose turn at a limit has come.
    fn go_on(&mut self, who: Waiter, out: &mut impl Outside) {
        match who {
            Waiter::Command(seat, slot) => self.begin_paid(seat, slot, out),
            Waiter::Slice(seat, slot) => {
                if let Some(exec) = self.exec(seat, slot) {
                    exec.waits.held = None;
                    self.advance(seat, slot, out);
                } else {
                    missing("a task");
                }
            }
            Waiter::Job(number) => {
                if let Some(Some(job)) = self.running.jobs.get_mut(number) {
                    job.pay.go_on();
                    self.run_job(number, out);
                } else {
                    missing("a job");
                }
            }
        }
    }

    /// Begins a command that has paid.
    fn begin_paid(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) {
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        exec.waits.held = None;
        let (who, unit) = (TaskKey { seat, task: exec.task }, exec.unit);
        let (dropped, then) = (exec.early.is_dropped, exec.then.take());
        let Some(Then::Medium(op)) = then else { return missing("what it waits for") };
        if dropped {
            let due = self.clear(who, out);
            out.complete(due, TASK_SET_FULL, Moved::Nothing);
        } else {
            let given = Given { expected: out.terms(who).expected, inline: None };
            self.medium(who, unit, op, given, out);
        }
    }

    /// Forgets a task that waits at a limit, and is not to go on.
    #[cold]
    pub fn forget_held(&mut self, seat: SeatIx, slot: usize, flow: FlowId) {
        self.limits.rates.forget(flow, Waiter::Command(seat, slot));
        self.limits.rates.forget(flow, Waiter::Slice(seat, slot));
    }

    /// A job that ends does not wait any more.
    pub fn forget_held_job(&mut self, number: usize, job: &Job) {
        if let Some(flow) = job.pay.held {
            self.limits.rates.forget(flow, Waiter::Job(number));
        }
    }
}
