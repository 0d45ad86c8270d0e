//! What is asked of a core from outside of the data path: what it has done and whom it serves, and to drop a session.

use super::core::Core;
use crate::exec::executor::Executor;
use crate::fabric::report::{
    ConnectionReport, CoreReport, Dismissal, Inquiry, Row, SESSIONS_A_REPORT, SessionReport, Which,
};
use crate::fabric::seat::Seat;
use crate::fabric::stats::Stats;
use crate::fabric::{Fabric, Parts};
use crate::model::{PerUnit, SeatIx, UnitIx};
use crate::session::seam::CloseReason;
use crate::wire::Tsih;

impl Core {
    /// Answers an inquiry.
    pub fn inquired(&mut self, Inquiry { which, answer }: Inquiry) {
        let (of, more) = sessions(&self.fabric, which);
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

/// The sessions that are asked for, by TSIH, and whether there are more.
fn sessions(fabric: &Fabric, which: Which) -> (Vec<SessionReport>, bool) {
    let is_meant = |tsih: Tsih| match which {
        Which::None => false,
        Which::Behind(last) => tsih > last,
        Which::One(one) => tsih == one,
    };
    let live = fabric.seats.iter().filter(|(_, seat)| !seat.ended && is_meant(seat.tsih()));
    let mut found: Vec<(Tsih, SeatIx)> = live.map(|(number, seat)| (seat.tsih(), number)).collect();
    found.sort_unstable();
    let more = found.len() > SESSIONS_A_REPORT;
    found.truncate(SESSIONS_A_REPORT);
    let reports = found.into_iter().filter_map(|(_, number)| {
        let seat = fabric.seats.get(number)?;
        let report = session(fabric, number, seat);
        let passed = if matches!(which, Which::One(_)) { passed(seat) } else { Vec::new() };
        Some(SessionReport { passed, ..report })
    });
    (reports.collect(), more)
}

fn session(fabric: &Fabric, number: SeatIx, seat: &Seat) -> SessionReport {
    let session = &seat.session;
    let connection = |(ix, conn)| {
        let (link, own) = (fabric.links.get(conn)?, session.params(ix)?.own);
        Some(ConnectionReport { cid: session.cid(ix)?, peer: link.peer, portal: link.local, own })
    };
    SessionReport {
        init: session.init().clone(),
        user: seat.identity.clone(),
        group: seat.group(),
        luns: seat.map.numbers.len(),
        open_tasks: session.open_tasks(),
        is_lost: seat.is_lost(),
        connections: fabric.seats.connections(number).filter_map(connection).collect(),
        passed: Vec::new(),
    }
}

/// What the commands of a session have come to, by LUN.
fn passed(seat: &Seat) -> Vec<(Option<u16>, Row)> {
    let lun = |unit: UnitIx| {
        // It may find the unit no more.
        let at = seat.map.units.iter().position(|own| *own == unit)?;
        seat.map.numbers.get(at).copied()
    };
    seat.passed.rows().into_iter().map(|row| (row.unit.and_then(lun), row)).collect()
}
