//! The line of commands of one unit that are to be saved, for all cores.
//!
//! Invariants: a place is taken once, and places count up; it is the turn of the first one. Only who takes the first
//! one out is told whose turn it is then, so each command has its turn once.

use crate::limits::{SAVES_PER_ADDRESS, SAVES_PER_HOST, SAVES_PER_SESSION};
use crate::panics::Mutex;
use crate::shares::{Counts, Whose};
use std::collections::BTreeMap;

/// A command that is to be saved, as all cores know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The core that it is on.
    pub core: usize,
    /// Its ticket there (`waits/saves.rs`).
    pub ticket: usize,
}

/// Commands of one unit in the order in which they came. It is the first one's turn.
#[derive(Default)]
pub struct Line(Mutex<Standers>);

/// Who stands in a line, and who was let in.
struct Standers {
    /// By place in the line.
    pub(super) askers: BTreeMap<u64, Asker>,
    /// The place that is given out next.
    pub(super) next: u64,
    /// How many commands were let in and are not over, whether they stand in the line yet or not.
    pub(super) let_in: Counts,
}

impl Default for Standers {
    fn default() -> Standers {
        let let_in = Counts::new([SAVES_PER_SESSION, SAVES_PER_ADDRESS, SAVES_PER_HOST]);
        Standers { askers: BTreeMap::new(), next: 0, let_in }
    }
}

impl Line {
    /// Puts `asker` last. Its place, and whether that is the first one, too.
    pub fn join(&self, asker: Asker) -> (u64, bool) {
        let mut line = self.0.lock();
        let place = line.next;
        line.next += 1;
        line.askers.insert(place, asker);
        (place, line.askers.len() == 1)
    }

    /// Whether it is the turn of the command at `place`.
    pub fn is_first(&self, place: u64) -> bool {
        self.0.lock().askers.first_key_value().is_some_and(|(first, _)| *first == place)
    }

    /// Takes a command out, wherever it stands. The one whose turn it is because of that.
    pub fn leave(&self, place: u64) -> Option<Asker> {
        let mut line = self.0.lock();
        line.askers.remove(&place)?;
        line.askers.first_key_value().filter(|(first, _)| **first > place).map(|(_, asker)| *asker)
    }

    /// Counts one more command. False: there are too many.
    pub fn let_in(&self, whose: Whose) -> bool {
        let mut line = self.0.lock();
        let is_let_in = !line.let_in.is_full(whose);
        if is_let_in {
            line.let_in.add(whose);
        }
        is_let_in
    }

    /// Counts one command less.
    pub fn let_out(&self, whose: Whose) {
        self.0.lock().let_in.remove(whose);
    }

    /// How many stand in it.
    #[cfg(test)]
    pub fn standing(&self) -> usize {
        self.0.lock().askers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::tests::at;

    #[test]
    fn who_goes_tells_the_next_one_and_who_only_waited_tells_nobody() {
        let line = Line::default();
        let askers = [(0, 0), (1, 0), (0, 7), (2, 1)].map(|(core, ticket)| Asker { core, ticket });
        let [(first, true), (second, false), (third, false), (fourth, false)] = askers.map(|asker| line.join(asker))
        else {
            panic!("it is the first one's turn");
        };
        assert_eq!(line.leave(second), None, "it was not its turn");
        assert!(line.is_first(first));
        assert_eq!(line.leave(first), Some(askers[2]));
        assert!(line.is_first(third) && !line.is_first(fourth));
        assert_eq!(line.leave(first), None, "it has gone already");
        assert_eq!(line.leave(third), Some(askers[3]));
        assert_eq!(line.leave(fourth), None);
        assert!(line.join(askers[1]).1, "nobody is there any more");
    }

    #[test]
    fn neither_a_session_nor_an_address_nor_a_host_has_the_whole_line() {
        let line = Line::default();
        let whose = |session, address| Whose::of(session, at(address));
        let fill = |session, address| (0..1000).take_while(|_| line.let_in(whose(session, address))).count();
        let [one, same, third, other] = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"];
        let sessions = (SAVES_PER_ADDRESS / SAVES_PER_SESSION) as u64;
        assert!((0..sessions).all(|session| fill(session, one) == SAVES_PER_SESSION));
        assert_eq!(fill(100, one), 0, "another session of an address that has its part");
        let more: usize = (200..250).map(|session| fill(session, same)).sum();
        assert_eq!((more, fill(300, third)), (SAVES_PER_HOST - SAVES_PER_ADDRESS, 0));
        assert_eq!(fill(400, other), SAVES_PER_SESSION, "another host");
        line.let_out(whose(0, one));
        assert_eq!((fill(300, third), fill(0, one)), (1, 0));
        // Nobody is remembered who has nothing here.
        let line = Line::default();
        let all = (0..1000).take_while(|_| line.let_in(whose(400, other))).count();
        (0..all).for_each(|_| line.let_out(whose(400, other)));
        assert!(line.0.lock().let_in.is_empty());
    }
}
