//! What the cores have counted of commands, as the interface shows it.

use super::super::view::{Commands, Latency, Used};
use crate::fabric::report::{Class, CoreReport, Row, Stage, Traffic, Troubles, UnitTraffic};
use crate::model::UnitIx;
use std::collections::BTreeMap;

/// What has ended at a unit, on all cores that answer.
pub(super) fn of_unit(unit: UnitIx, reports: &[Option<CoreReport>]) -> Vec<Commands> {
    let mut all = UnitTraffic::default();
    let traffic = reports.iter().flatten().filter_map(|report| report.traffic.as_ref()?.units.get(unit));
    traffic.for_each(|traffic| all.add(traffic));
    let of = |class: Class| Commands {
        kind: class.word().to_owned(),
        commands: all.commands[class as usize],
        bytes: all.bytes[class as usize],
        took_us: all.took_us[class as usize],
        spent_us: Stage::ALL
            .map(|stage| (stage.word().to_owned(), all.spent_us[class as usize][stage as usize]))
            .into(),
    };
    Class::ALL.map(of).into()
}

/// What commands of a session have come to, by LUN, and last at all others together.
pub(super) fn used(rows: &[(Option<u16>, Row)]) -> Vec<Used> {
    let mut found: BTreeMap<Option<u16>, Row> = BTreeMap::new();
    for (lun, row) in rows {
        found.entry(*lun).and_modify(|sum| sum.add(row)).or_insert(*row);
    }
    let rest = found.remove(&None);
    found.into_iter().chain(rest.map(|rest| (None, rest))).map(|(lun, row)| row_of(lun, &row)).collect()
}

fn row_of(lun: Option<u16>, row: &Row) -> Used {
    let of = |class: Class| Commands {
        kind: class.word().to_owned(),
        commands: row.commands[class as usize],
        bytes: row.bytes[class as usize],
        took_us: row.took_us[class as usize],
        spent_us: BTreeMap::new(),
    };
    let commands = Class::ALL.map(of).into_iter().filter(|of| of.commands > 0).collect();
    Used { lun, commands, errors: row.errors }
}

/// Commands that are at work at a unit, or wait to be, on all cores that answer.
pub(super) fn at_work(unit: UnitIx, reports: &[Option<CoreReport>]) -> u64 {
    reports.iter().flatten().filter_map(|report| report.at_work.get(unit)).map(|count| u64::from(*count)).sum()
}

/// What commands at a unit have ended with that did not end well, of what there was, on all cores that answer.
pub(super) fn troubles(unit: UnitIx, reports: &[Option<CoreReport>]) -> BTreeMap<String, u64> {
    let mut all = Troubles::default();
    let troubles = reports.iter().flatten().filter_map(|report| report.troubles.as_ref()?.get(unit));
    troubles.for_each(|troubles| all.add(troubles));
    all.iter().filter(|(_, count)| *count > 0).map(|(trouble, count)| (trouble.word().to_owned(), count)).collect()
}

/// How long commands took on a core, of those kinds that there were.
pub(super) fn latency(traffic: &Traffic) -> Vec<Latency> {
    let of = |class: Class| {
        let latency = &traffic.latency[class as usize];
        let took = &latency.took_us;
        let quantile = |part| took.value_at_quantile(part);
        Latency {
            kind: class.word().to_owned(),
            commands: took.len(),
            mean_us: latency.sum_us.checked_div(took.len()).unwrap_or(0),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: took.max(),
        }
    };
    Class::ALL.map(of).into_iter().filter(|latency| latency.commands > 0).collect()
}

#[cfg(test)]
pub(in crate::mgmt) mod tests {
    use super::*;
    use crate::fabric::report::{Protocol, Trouble};
    use crate::fabric::stats::Stats;
    use crate::model::PerUnit;

    /// What a core tells on which so many commands of a class have ended at unit 1, that took so long.
    pub fn report(core: usize, (class, commands): (Class, u64), took_us: u64) -> CoreReport {
        let mut traffic = Traffic::default();
        let at = class as usize;
        let unit = traffic.units.place(UnitIx::new(1));
        (unit.commands[at], unit.bytes[at], unit.took_us[at]) = (commands, 4096 * commands, took_us * commands);
        traffic.latency[at].took_us.record_n(took_us, commands).unwrap();
        traffic.latency[at].sum_us = took_us * commands;
        traffic.units.place(UnitIx::new(1)).spent_us[at] = [0, took_us, 1];
        CoreReport {
            core,
            stats: Stats::default(),
            protocol: Protocol::default(),
            troubles: Some(PerUnit::default()),
            traffic: Some(Box::new(traffic)),
            sessions: 0,
            connections: 0,
            free_buffer_bytes: 0,
            buffer_failures: 0,
            operations: 0,
            at_work: PerUnit::filled(2, 2),
            of: Vec::new(),
            more: false,
        }
    }

    #[test]
    fn a_unit_has_what_all_cores_have_counted() {
        let reports = [Some(report(0, (Class::Read, 2), 50)), None, Some(report(2, (Class::Write, 3), 70))];
        let said: Vec<_> = of_unit(UnitIx::new(1), &reports)
            .into_iter()
            .map(|of| {
                if of.commands > 0 {
                    assert_eq!((of.spent_us["queue"], of.spent_us["network"]), (0, 1));
                    assert_eq!(of.spent_us["medium"] * of.commands, of.took_us);
                }
                (of.kind, of.commands, of.bytes, of.took_us)
            })
            .collect();
        let wanted = [("read", 2, 8192, 100), ("write", 3, 12288, 210), ("flush", 0, 0, 0), ("other", 0, 0, 0)];
        assert_eq!(said, wanted.map(|(kind, commands, bytes, took)| (kind.to_owned(), commands, bytes, took)));
        assert!(of_unit(UnitIx::new(0), &reports).iter().all(|of| of.commands == 0));
    }

    #[test]
    fn a_unit_has_the_errors_of_all_cores() {
        let mut reports = [0, 1].map(|core| Some(report(core, (Class::Read, 1), 50)));
        for one in reports.iter_mut().flatten() {
            let troubles = one.troubles.get_or_insert_default();
            troubles.place(UnitIx::new(2)).count(Trouble::Busy);
            troubles.place(UnitIx::new(2)).count(Trouble::Miscompare);
        }
        let said = troubles(UnitIx::new(2), &reports);
        assert_eq!(said, BTreeMap::from([("busy".to_owned(), 2), ("miscompare".to_owned(), 2)]));
        assert_eq!([1, 7].map(|unit| troubles(UnitIx::new(unit), &reports).len()), [0, 0]);
        assert_eq!([1, 7].map(|unit| at_work(UnitIx::new(unit), &reports)), [4, 0]);
    }

    #[test]
    fn what_a_session_has_used_is_by_lun_and_what_it_does_not_find_is_one() {
        let row =
            |errors| Row { unit: None, commands: [2, 0, 0, 0], bytes: [9, 0, 0, 0], took_us: [5, 0, 0, 0], errors };
        let said = used(&[(Some(8), row(0)), (None, row(1)), (Some(3), row(4)), (None, row(2))]);
        let said: Vec<_> = said.iter().map(|of| (of.lun, of.errors, of.commands.len(), of.commands[0].bytes)).collect();
        assert_eq!(said, [(Some(3), 4, 1, 9), (Some(8), 0, 1, 9), (None, 3, 1, 18)]);
    }

    #[test]
    fn a_core_tells_how_long_what_there_was_took() {
        let said = latency(report(0, (Class::Flush, 4), 1000).traffic.as_ref().unwrap());
        assert_eq!(said.len(), 1);
        let Latency { kind, commands, mean_us, p50_us, max_us, .. } = &said[0];
        assert_eq!((kind.as_str(), *commands, *mean_us), ("flush", 4, 1000));
        assert!((1000..1010).contains(p50_us) && (1000..1010).contains(max_us), "{p50_us} {max_us}");
    }
}
