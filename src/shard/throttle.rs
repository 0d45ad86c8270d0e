//! Where the limits on commands and bytes a second meet the tasks: what a command costs, who waits, who goes on.
//!
//! A command that reads or writes pays for itself before it begins; its data by slices, each before a buffer is taken for
//! it. COMPARE AND WRITE and WRITE ATOMIC pay for all before their data is asked for; other jobs of whole commands (WRITE
//! SAME, VERIFY, copies, ...) for each operation on the medium that reads or writes, before they take a buffer for it. What
//! waits keeps its place among the commands of its session at its unit; other units, other
//! sessions, NOPs and task management do not notice. An aborted task waits no longer.
//!
//! Free of charge: everything that moves no data of the medium, UNMAP (and WRITE SAME that unmaps), flushes, and the
//! erasing of a whole unit, which nobody can use meanwhile anyway.
//!
//! A session whose units and group have no limit has no flows: that is one branch for each command. Another configuration
//! changes the flows of the sessions that there are; at shutdown nothing is limited any more.

use super::dispatch::TASK_SET_FULL;
use super::engine::{Engine, Seat};
use super::exec::Then;
use super::job::Job;
use super::rate::{Bucket, Cost, FlowId, Gate, OPEN, Shaper, Waiter};
use super::world::{LunMap, World};
use crate::backend::Op;
use crate::limits::SLICE_BYTES;
use crate::model::Limits;
use crate::scsi::{MediumOp, Pays};
use crate::session::Direction;
use crate::session::seam::TaskId;
use std::sync::Arc;

/// Where those wait who use a unit: unit and flow, in the order of units; units without a limit are not there.
pub type Flows = Vec<(usize, FlowId)>;

impl Seat {
    /// The flow of this session's commands at a unit, if they are limited.
    pub fn flow(&self, unit: usize) -> Option<FlowId> {
        flow(&self.flows, unit)
    }
}

fn flow(flows: &Flows, unit: usize) -> Option<FlowId> {
    flows.binary_search_by_key(&unit, |flow| flow.0).ok().and_then(|at| flows.get(at)).map(|flow| flow.1)
}

impl World {
    /// Makes the limits what the configuration says. Those that are the same in `old`, the world before, stay the same.
    pub fn set_limits(&mut self, old: Option<&World>) {
        let same = |place: u32, rate| old?.rates.get(place as usize).filter(|bucket| bucket.is_of(rate)).cloned();
        let mut rates = Vec::new();
        let mut limited = |limits: Limits, before: Option<[u32; 2]>| {
            let [commands, bytes] = before.unwrap_or([OPEN; 2]);
            [(limits.iops, commands), (limits.bytes_per_s, bytes)].map(|(limit, before)| {
                let Some(rate) = limit else { return OPEN };
                rates.push(same(before, rate).unwrap_or_else(|| Arc::new(Bucket::new(rate))));
                rates.len() as u32 - 1
            })
        };
        self.unit_rates = vec![[OPEN; 2]; self.units.len()];
        let snapshot = Arc::clone(self.directory.snapshot());
        for (at, (target, spec)) in self.targets.iter_mut().zip(&snapshot.targets).enumerate() {
            for lun in &spec.luns {
                let unit = target.position(lun.number).and_then(|position| target.units.get(position)).copied();
                if let Some((unit, rates)) = unit.and_then(|unit| Some((unit, self.unit_rates.get_mut(unit)?))) {
                    *rates = limited(lun.limits, old.and_then(|old| old.unit_rates.get(unit).copied()));
                }
            }
            let before = |group| old?.targets.get(at)?.group_rates.get(group).copied();
            let groups = spec.groups.iter().enumerate();
            target.group_rates = groups.map(|(number, group)| limited(group.limits, before(number))).collect();
        }
        self.rates = rates.into();
    }

    /// The gate of those who use a unit as members of a target's group.
    fn gate(&self, unit: usize, target: usize, group: Option<usize>) -> Gate {
        let open = [OPEN; 2];
        let [unit_commands, unit_bytes] = self.unit_rates.get(unit).copied().unwrap_or(open);
        let target = self.targets.get(target);
        let group = target.zip(group).and_then(|(target, group)| target.group_rates.get(group).copied());
        let [commands, bytes] = group.unwrap_or(open);
        [unit_commands, unit_bytes, commands, bytes]
    }

    /// The gate of each unit for those who use it for no session.
    pub fn unit_gates(&self) -> impl Iterator<Item = (usize, Gate)> {
        self.unit_rates.iter().map(|[commands, bytes]| [*commands, *bytes, OPEN, OPEN]).enumerate()
    }
}

/// Flows for these units: those that were there already, and new ones. Who waited in others is added to `let_go`.
pub fn regated(
    rates: &mut Shaper,
    old: Flows,
    gates: impl Iterator<Item = (usize, Gate)>,
    let_go: &mut Vec<Waiter>,
) -> Flows {
    let mut gates: Vec<_> = gates.filter(|(_, gate)| *gate != [OPEN; 4]).collect();
    gates.sort_unstable();
    gates.dedup_by_key(|(unit, _)| *unit);
    let left = |&(unit, _): &(usize, FlowId)| gates.binary_search_by_key(&unit, |gate| gate.0).is_err();
    for (_, id) in old.iter().copied().filter(left) {
        let_go.extend(rates.close(id));
    }
    let flows = gates.into_iter().filter_map(|(unit, gate)| match flow(&old, unit) {
        Some(id) => {
            rates.regate(id, gate);
            Some((unit, id))
        }
        None => Some((unit, rates.open(gate)?)),
    });
    flows.collect()
}

impl Engine {
    /// Flows for a new session: none at all if nothing is limited.
    pub fn open_flows(&mut self, map: &LunMap, target: usize, group: Option<usize>) -> Flows {
        let gates = map.units.iter().map(|&unit| (unit, self.world.gate(unit, target, group)));
        regated(&mut self.rates, Flows::new(), gates, &mut Vec::new())
    }

    /// The world has other limits, or the server goes down and nothing is to wait any more. Who waits for a limit that is no
    /// more, or at a unit that is not found any more, goes on.
    pub fn change_flows(&mut self) {
        let (world, lifted) = (Arc::clone(&self.world), self.shutdown);
        if self.rates.has(&world.rates) && !lifted {
            return;
        }
        self.rates.change(Arc::clone(&world.rates));
        let mut let_go = Vec::new();
        for holder in self.seats.iter_mut().flatten() {
            let found = if holder.ended || lifted { &[][..] } else { &holder.map.units };
            let (target, group) = (holder.target, holder.group());
            let gates = found.iter().map(|&unit| (unit, world.gate(unit, target, group)));
            holder.flows = regated(&mut self.rates, std::mem::take(&mut holder.flows), gates, &mut let_go);
        }
        let alone = std::mem::take(&mut self.unit_flows);
        self.unit_flows = regated(&mut self.rates, alone, world.unit_gates().filter(|_| !lifted), &mut let_go);
        let_go.into_iter().for_each(|who| self.go_on(who));
    }

    /// Has a command of a session with limits pay, or wait. The operation is given back if it may begin.
    pub fn pay_command(&mut self, seat: usize, task: TaskId, unit: usize, op: MediumOp) -> Option<MediumOp> {
        let block_bytes = self.world.units[unit].block_bytes;
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return Some(op) };
        let Some(flow) = holder.flow(unit) else { return Some(op) };
        let command = holder.session.command(task);
        let row = op.row();
        let bytes = match row.pays {
            Pays::Moved => {
                let announced = if row.data_out > 0 { command.write_edtl_bytes() } else { command.read_edtl_bytes() };
                u64::from(announced).min(row.bytes(block_bytes).1)
            }
            // These take their buffers when the data is asked for, and have paid for all by then.
            Pays::DataOut => row.data_out_bytes(block_bytes),
            Pays::CommandAndSteps => 0,
            Pays::Steps | Pays::Free => return Some(op),
        };
        let bytes = bytes.min(SLICE_BYTES as u64) as u32;
        let Some(exec) = holder.exec.get_mut(task.slot()) else { return Some(op) };
        if bytes > 0 && self.rates.counts_bytes(flow) {
            exec.paid = bytes;
        }
        let cost = Cost { operations: 1, bytes };
        if self.rates.enter(flow, Waiter::Command(seat, task.slot()), cost, self.now_ns) {
            return Some(op);
        }
        (exec.task, exec.unit, exec.then, exec.held) = (task, unit, Some(Then::Medium(op)), Some(flow));
        None
    }

    /// A command waits at a limit, perhaps with data that came with it. Buffers with such data are no more than a part of the
    /// share of a session, an initiator and an address, so that their commands at other units go on.
    pub fn bound_waiting(&mut self, seat: usize, task: TaskId) {
        let Some(Some(holder)) = self.seats.get(seat) else { return };
        let holds = holder.exec.get(task.slot()).is_some_and(|exec| exec.held.is_some() && exec.staging.is_some());
        if holds && holder.account.is_crowded() {
            self.clear(seat, task.slot());
            self.complete(seat, task, TASK_SET_FULL, 0, Direction::None);
        }
    }

    /// Has the next slice of a transfer pay. False: it waits.
    pub fn pay_slice(&mut self, seat: usize, slot: usize, len: usize) -> bool {
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return true };
        let Some(flow) = holder.exec.get(slot).and_then(|exec| holder.flow(exec.unit)) else { return true };
        let Some(exec) = holder.exec.get_mut(slot) else { return true };
        let cost = Cost { operations: 0, bytes: len as u32 };
        let paid = self.rates.enter(flow, Waiter::Slice(seat, slot), cost, self.now_ns);
        exec.paid = exec.started.saturating_add(len as u32);
        if !paid {
            // What the task waited for on the medium before that is over.
            (exec.held, exec.fenced_since_ms) = (Some(flow), None);
        }
        paid
    }

    /// Has a job pay for an operation on the medium. False: it waits.
    pub fn pay_job(&mut self, number: usize, unit: usize, op: &Op) -> bool {
        let Some(Some(job)) = self.jobs.get_mut(number) else { return true };
        let bytes = match op {
            Op::Read { buffer, .. } | Op::Write { buffer, .. } => buffer.len() as u64,
            Op::Zero { len, .. } => *len,
            Op::Discard { .. } | Op::Flush | Op::Evict { .. } => return true,
        };
        if !job.charged || job.paid {
            return true;
        }
        if let Some(at) = job.prepaid.iter().position(|of| *of == unit) {
            job.prepaid.swap_remove(at);
            job.paid = true;
            return true;
        }
        self.pay_bytes(number, unit, bytes)
    }

    /// Has a job pay for an operation of so many bytes. False: it waits.
    pub fn pay_bytes(&mut self, number: usize, unit: usize, bytes: u64) -> bool {
        let Some(Some(job)) = self.jobs.get_mut(number) else { return true };
        if !job.charged || job.paid {
            return true;
        }
        let seat = self.seats.get(job.seat).and_then(Option::as_deref);
        // A job that goes on without its task is bound by the unit's limits alone.
        let Some(flow) = flow(seat.map_or(&self.unit_flows, |seat| &seat.flows), unit) else { return true };
        let cost = Cost { operations: 0, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
        // Among the commands of its session a job has had its turn when it began: only bytes are paid for.
        if !self.rates.enter(flow, Waiter::Job(number), cost, self.now_ns) {
            job.held = Some(flow);
            return false;
        }
        job.paid = true;
        true
    }

    /// Lets those go on whose turn has come.
    pub fn release_paid(&mut self) {
        while let Some(who) = self.rates.next(self.now_ns) {
            self.go_on(who);
        }
    }

    fn go_on(&mut self, who: Waiter) {
        match who {
            Waiter::Command(seat, slot) => self.begin_paid(seat, slot),
            Waiter::Slice(seat, slot) => {
                if let Some(exec) = self.exec(seat, slot) {
                    exec.held = None;
                    self.advance(seat, slot);
                    self.pump(seat);
                }
            }
            Waiter::Job(number) => {
                if let Some(Some(job)) = self.jobs.get_mut(number) {
                    (job.held, job.paid) = (None, true);
                    self.run_job(number);
                }
            }
        }
    }

    fn begin_paid(&mut self, seat: usize, slot: usize) {
        let Some(exec) = self.exec(seat, slot) else { return };
        exec.held = None;
        let (task, unit, dropped, then) = (exec.task, exec.unit, exec.dropped, exec.then.take());
        let Some(Then::Medium(op)) = then else { return };
        if dropped {
            self.clear(seat, slot);
            self.complete(seat, task, TASK_SET_FULL, 0, Direction::None);
        } else {
            self.medium(seat, task, unit, op, None);
        }
        self.pump(seat);
    }

    /// Forgets a task that waits at a limit, and is not to go on.
    #[cold]
    pub fn forget_held(&mut self, seat: usize, slot: usize, flow: FlowId) {
        self.rates.forget(flow, Waiter::Command(seat, slot));
        self.rates.forget(flow, Waiter::Slice(seat, slot));
    }

    /// A job that ends does not wait any more.
    pub fn forget_held_job(&mut self, number: usize, job: &Job) {
        if let Some(flow) = job.held {
            self.rates.forget(flow, Waiter::Job(number));
        }
    }
}
