//! What is told of sessions to who asks from outside of the data path.

use super::Fabric;
use super::report::{ConnectionReport, Row, SESSIONS_A_REPORT, SessionReport, Which};
use super::seat::Seat;
use crate::model::{SeatIx, UnitIx};
use crate::wire::Tsih;

/// The sessions that are asked for, by TSIH, and whether there are more.
pub fn sessions(fabric: &Fabric, which: Which) -> (Vec<SessionReport>, bool) {
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
