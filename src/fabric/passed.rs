//! What the commands of one session have come to, by logical unit.
//!
//! It belongs to the session, and goes with it to another core. The first [`SESSION_UNITS`] units that the session uses have a row
//! each, for which memory is taken when the unit has its first command; all others, and units that the session does
//! not find any more, have one together: what all rows add up to is what the session has done.

use crate::limits::SESSION_UNITS;
use crate::model::UnitIx;
use crate::tasks::tally::{Class, Counted};

/// What commands at a unit have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The unit. `None`: all that have no row of their own.
    pub unit: Option<UnitIx>,
    /// Commands that were answered, by class.
    pub commands: [u64; 4],
    /// Bytes of their data.
    pub bytes: [u64; 4],
    /// What they took in all, microseconds.
    pub took_us: [u64; 4],
    /// Commands that were answered with another status than GOOD.
    pub errors: u64,
}

impl Row {
    const fn of(unit: Option<UnitIx>) -> Row {
        Row { unit, commands: [0; 4], bytes: [0; 4], took_us: [0; 4], errors: 0 }
    }

    /// Adds another row.
    pub fn add(&mut self, other: &Row) {
        for class in 0..Class::ALL.len() {
            self.commands[class] += other.commands[class];
            self.bytes[class] += other.bytes[class];
            self.took_us[class] += other.took_us[class];
        }
        self.errors += other.errors;
    }
}

/// The same of all units of a session.
#[derive(Debug)]
pub struct Passed {
    rows: Vec<Row>,
    /// All without a row.
    rest: Row,
    /// The place of the row that was looked for last: mostly it is the next one, too.
    last: usize,
}

impl Default for Passed {
    fn default() -> Passed {
        Passed { rows: Vec::new(), rest: Row::of(None), last: 0 }
    }
}

impl Passed {
    fn row(&mut self, unit: UnitIx) -> &mut Row {
        if self.rows.get(self.last).is_none_or(|row| row.unit != Some(unit)) {
            self.last = match self.rows.iter().position(|row| row.unit == Some(unit)) {
                Some(at) => at,
                None if self.rows.len() < SESSION_UNITS => {
                    self.rows.push(Row::of(Some(unit)));
                    self.rows.len() - 1
                }
                None => return &mut self.rest,
            };
        }
        &mut self.rows[self.last]
    }

    /// Commands were answered.
    pub fn count(&mut self, Counted { unit, class, commands, bytes, took_us, .. }: Counted) {
        let (row, at) = (self.row(unit), class as usize);
        row.commands[at] += commands;
        row.bytes[at] += bytes;
        row.took_us[at] += took_us;
    }

    /// A command was answered with another status than GOOD.
    pub fn count_error(&mut self, unit: UnitIx) {
        self.row(unit).errors += 1;
    }

    /// The session finds a unit no more, and another one may have its number.
    pub fn forget(&mut self, unit: UnitIx) {
        if let Some(at) = self.rows.iter().position(|row| row.unit == Some(unit)) {
            let gone = self.rows.remove(at);
            self.rest.add(&gone);
        }
    }

    /// Forgets all units but these: the session has come from another core, and a unit may have gone meanwhile.
    pub fn keep_units(&mut self, units: &[UnitIx]) {
        let rest = &mut self.rest;
        self.rows.retain(|row| {
            let stays = row.unit.is_some_and(|unit| units.contains(&unit));
            if !stays {
                rest.add(row);
            }
            stays
        });
    }

    /// All rows. The last one, of all units that have none of their own, is only there if there was something.
    pub fn rows(&self) -> Vec<Row> {
        let rest = Some(self.rest).filter(|rest| *rest != Row::of(None));
        self.rows.iter().copied().chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SeatIx;

    fn counted(unit: usize, class: Class, commands: u64) -> Counted {
        let (seat, unit, bytes, took_us) = (SeatIx::new(0), UnitIx::new(unit), 512 * commands, 10 * commands);
        Counted { seat, unit, class, commands, bytes, took_us }
    }

    #[test]
    fn each_unit_has_a_row_and_all_that_are_too_many_have_one() {
        let mut passed = Passed::default();
        assert!(passed.rows().is_empty());
        passed.count(counted(7, Class::Read, 3));
        passed.count(counted(2, Class::Write, 1));
        passed.count(counted(7, Class::Read, 2));
        passed.count_error(UnitIx::new(2));
        let [first, second] = passed.rows()[..] else { panic!("two rows") };
        assert_eq!((first.unit, first.commands, first.bytes[0]), (Some(UnitIx::new(7)), [5, 0, 0, 0], 2560));
        assert_eq!((second.took_us, second.errors, first.errors), ([0, 10, 0, 0], 1, 0));
        for unit in 100..100 + SESSION_UNITS {
            passed.count(counted(unit, Class::Other, 1));
            passed.count_error(UnitIx::new(unit));
        }
        let rows = passed.rows();
        assert_eq!(rows.len(), SESSION_UNITS + 1);
        let rest = rows[SESSION_UNITS];
        assert_eq!((rest.unit, rest.commands, rest.errors), (None, [0, 0, 0, 2], 2));
    }

    #[test]
    fn what_is_forgotten_is_in_the_sum_and_not_in_the_row_of_the_next() {
        let mut passed = Passed::default();
        [1, 2].into_iter().for_each(|unit| passed.count(counted(unit, Class::Flush, 4)));
        [1, 5].into_iter().for_each(|unit| passed.forget(UnitIx::new(unit)));
        passed.count(counted(2, Class::Flush, 1));
        passed.count(counted(1, Class::Flush, 1));
        let said: Vec<_> = passed.rows().iter().map(|row| (row.unit, row.commands[2])).collect();
        assert_eq!(said, [(Some(UnitIx::new(2)), 5), (Some(UnitIx::new(1)), 1), (None, 4)]);
        passed.keep_units(&[UnitIx::new(1), UnitIx::new(9)]);
        let said: Vec<_> = passed.rows().iter().map(|row| (row.unit, row.commands[2])).collect();
        assert_eq!(said, [(Some(UnitIx::new(1)), 1), (None, 9)]);
    }
}
