//! What is asked of a core from outside of the data path: what it has done and whom it serves, and to drop a session.

use super::core::Core;
use crate::exec::executor::Executor;
use crate::fabric::report::{CoreReport, Dismissal, Inquiry, Which};
use crate::fabric::stats::Stats;
use crate::fabric::{Fabric, Parts, told};
use crate::model::PerUnit;
use crate::session::seam::CloseReason;

impl Core {
    /// Answers an inquiry.
    pub fn inquired(&mut self, Inquiry { which, answer }: Inquiry) {
        let (of, more) = told::sessions(&self.fabric, which);
        answer(CoreReport {
            core: self.fabric.neighbours.own(),
            stats: self.stats(),
            protocol: self.fabric.links.pool.protocol,
            troubles: matches!(which, Which::None).then(|| self.fabric.troubles.clone()),
            traffic: matches!(which, Which::None).then(|| Box::new(self.executor.tally.traffic.clone())),
            sessions: self.fabric.seats.iter().filter(|(_, seat)| !seat.ended).count(),
            connections: self.fabric.links.iter().count(),
            free_buffer_bytes: self.executor.arena.free_bytes(),
            buffer_failures: self.executor.arena.failures(),
            operations: self.executor.operations.len(),
            at_work: if which == Which::None { at_work(&self.fabric, &self.executor) } else { PerUnit::default() },
            of,
            more,
        });
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        Stats { executor: self.executor.stats, ..self.fabric.stats }
    }

    /// Drops a session: its initiator is told, its commands are aborted, and its connections are closed. It may log in again.
    pub fn dismiss(&mut self, Dismissal { tsih, answer }: Dismissal) {
        let seat = self.fabric.seats.find(tsih);
        if let Some(seat) = seat
            && let Some(Parts { seat: holder, mut out }) = self.fabric.parts(seat)
        {
            holder.session.drop_session(CloseReason::Dropped, &mut out);
            self.pump(seat);
            self.sweep_seat(seat);
        }
        answer(seat.is_some());
    }
}

/// How many commands are at work at each unit, or wait to be: those that are there between two turns. Only sessions with commands are
/// looked at.
fn at_work(fabric: &Fabric, executor: &Executor) -> PerUnit<Vec<u32>> {
    let mut counts = PerUnit::default();
    let seats = fabric.seats.iter().filter(|(_, seat)| seat.session.open_tasks() > 0);
    for exec in seats.flat_map(|(number, _)| executor.tasks(number)).filter(|exec| exec.is_at_work()) {
        *counts.place(exec.unit) += 1;
    }
    counts
}
