//! The flows of those who use units with limits: where their commands wait. How a flow works is in `mod.rs`.

use super::{FlowId, Gate, OPEN, Shaper, Waiter};
use crate::model::UnitIx;

/// Where those wait who use a unit: unit and flow, in the order of units; units without a limit are not there.
pub type Flows = Vec<(UnitIx, FlowId)>;

/// The flow of a unit. `None`: it has no limit.
pub fn flow(flows: &Flows, unit: UnitIx) -> Option<FlowId> {
    flows.binary_search_by_key(&unit, |flow| flow.0).ok().and_then(|at| flows.get(at)).map(|flow| flow.1)
}

/// Flows for these units: those that were there already, and new ones. Who waited in others is added to `let_go`.
pub fn regated(
    rates: &mut Shaper,
    old: Flows,
    gates: impl Iterator<Item = (UnitIx, Gate)>,
    let_go: &mut Vec<Waiter>,
) -> Flows {
    let mut gates: Vec<_> = gates.filter(|(_, gate)| *gate != [OPEN; 4]).collect();
    gates.sort_unstable();
    gates.dedup_by_key(|(unit, _)| *unit);
    let left = |&(unit, _): &(UnitIx, FlowId)| gates.binary_search_by_key(&unit, |gate| gate.0).is_err();
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
