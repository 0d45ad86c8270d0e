//! What is left of aborted tasks on a core, counted by scope: that is what functions of task management wait for.
//!
//! Whoever aborts something that cannot end at once gets a [`Mark`] for it, and keeps that as long as the thing is
//! left.

use crate::missing::missing;
use crate::model::{SeatIx, UnitIx};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};

/// Whose tasks are meant. A unit is not named by its LUN, which it need not have any more: commands that it has go on when
/// it is in no LUN map, and other units may be found there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Those of a session at a unit, by its index, or all of them.
    Seat(SeatIx, Option<UnitIx>),
    /// Those of all sessions at a unit, by its index.
    Unit(UnitIx),
    /// Those of all sessions of a target, by its index.
    Target(usize),
}

/// What is left, counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// How many things are left in each scope; scopes with none are not there.
    pub left: HashMap<Scope, usize>,
    /// Scopes in which nothing is left any more, since somebody looked.
    pub emptied: Vec<Scope>,
    /// Functions wait: scopes that become empty are noted.
    pub is_awaited: bool,
}

/// The aborted tasks and copies of one core.
#[derive(Debug, Default, Clone)]
pub struct Left(Rc<RefCell<Counts>>);

/// The latest mark that several tasks hold together: a function aborts all tasks of a session at a unit, one after the
/// other.
#[derive(Debug, Default)]
pub struct SharedMarks(Weak<Mark>);

impl SharedMarks {
    /// A mark for one more task that is aborted. Tasks with the same scopes have one mark together, until the last of
    /// them is gone.
    pub fn mark(&mut self, left: &Left, scopes: &[Scope]) -> Rc<Mark> {
        if let Some(last) = self.0.upgrade().filter(|last| last.scopes == scopes) {
            return last;
        }
        let mark = Rc::new(left.mark(scopes.to_vec()));
        self.0 = Rc::downgrade(&mark);
        mark
    }
}

impl Left {
    /// Counts one more thing that is aborted in each of these scopes, until the mark is dropped.
    pub fn mark(&self, scopes: Vec<Scope>) -> Mark {
        for scope in &scopes {
            *self.0.borrow_mut().left.entry(*scope).or_default() += 1;
        }
        Mark { left: self.clone(), scopes }
    }

    /// Whether something is left in a scope.
    pub fn is_any(&self, scope: Scope) -> bool {
        self.0.borrow().left.contains_key(&scope)
    }

    /// Says whether functions wait now: only then scopes in which nothing is left any more are noted.
    pub fn await_ends(&self, is_awaited: bool) {
        let mut counts = self.0.borrow_mut();
        counts.is_awaited = is_awaited;
        counts.emptied.clear();
    }

    /// The scopes in which nothing is left any more, since this was asked last.
    pub fn emptied(&self) -> Vec<Scope> {
        std::mem::take(&mut self.0.borrow_mut().emptied)
    }
}

/// Something that was aborted and is not gone.
#[derive(Debug)]
pub struct Mark {
    /// Where it is counted.
    pub left: Left,
    /// In which scopes.
    pub scopes: Vec<Scope>,
}

impl Drop for Mark {
    fn drop(&mut self) {
        let mut counts = self.left.0.borrow_mut();
        for scope in &self.scopes {
            let Some(count) = counts.left.get_mut(scope) else {
                missing("a count");
                continue;
            };
            *count -= 1;
            if *count == 0 {
                counts.left.remove(scope);
                if counts.is_awaited {
                    counts.emptied.push(*scope);
                }
            }
        }
    }
}

/// Counts an aborted copy as long as it is there, and somebody may wait for it.
pub type LeftCopy = Rc<RefCell<Option<Mark>>>;

/// Copies that were aborted, and until when somebody waits for what they have on the medium.
#[derive(Default)]
pub struct LeftCopies(VecDeque<(u64, Weak<RefCell<Option<Mark>>>)>);

impl LeftCopies {
    /// Counts an aborted copy until it is over, or until `until_ms`.
    pub fn leave(&mut self, left: &Left, scopes: Vec<Scope>, until_ms: u64, now_ms: u64) -> LeftCopy {
        self.expire(now_ms);
        let copy = Rc::new(RefCell::new(Some(left.mark(scopes))));
        self.0.push_back((until_ms, Rc::downgrade(&copy)));
        copy
    }

    /// Stops counting the copies that the medium has kept for too long: such a copy is known by the range that it
    /// keeps, like any operation that outlives its task.
    pub fn expire(&mut self, now_ms: u64) {
        while self.0.front().is_some_and(|(until_ms, _)| *until_ms <= now_ms) {
            if let Some((_, copy)) = self.0.pop_front() {
                drop(copy.upgrade().and_then(|copy| copy.take()));
            }
        }
    }
}

/// What is left of aborted tasks on one core.
#[derive(Default)]
pub struct Leftovers {
    /// By scope.
    pub left: Left,
    /// The mark that the latest aborted tasks share.
    pub marks: SharedMarks,
    /// Copies that were aborted, and somebody may wait for.
    pub copies: LeftCopies,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Scope = Scope::Unit(UnitIx::new(7));

    #[test]
    fn an_aborted_copy_is_waited_for_until_it_is_over_or_late() {
        let (left, scope) = (Left::default(), DISK);
        let mut left_copies = LeftCopies::default();
        let copies = [(250, 0), (260, 10)].map(|(until, now)| left_copies.leave(&left, vec![scope], until, now));
        let [first, second] = copies;
        drop(second);
        left_copies.expire(249);
        assert!(left.is_any(scope));
        left_copies.expire(250);
        assert!(!left.is_any(scope) && first.borrow().is_none());
    }

    #[test]
    fn tasks_of_the_same_scopes_have_one_mark_until_the_last_is_gone() {
        let (left, mut marks) = (Left::default(), SharedMarks::default());
        let [one, other] = [1, 2].map(|seat| [Scope::Seat(SeatIx::new(seat), None), DISK]);
        let first = marks.mark(&left, &one);
        let (second, third) = (marks.mark(&left, &one), marks.mark(&left, &other));
        assert!(Rc::ptr_eq(&first, &second) && !Rc::ptr_eq(&first, &third));
        drop(first);
        assert!(left.is_any(one[0]) && left.is_any(one[1]));
        drop((second, third));
        assert!(!left.is_any(one[0]) && !left.is_any(one[1]));
        let _again = marks.mark(&left, &other);
        assert!(left.is_any(other[0]) && !left.is_any(one[0]));
    }

    #[test]
    fn what_is_left_is_known_until_the_last_of_it_is_gone() {
        let (left, all, one) = (Left::default(), Scope::Target(1), DISK);
        let first = left.mark(vec![all, one]);
        let second = left.mark(vec![all]);
        assert!(left.is_any(all) && left.is_any(one) && !left.is_any(Scope::Unit(UnitIx::new(8))));
        left.await_ends(true);
        drop(first);
        assert!(left.is_any(all) && !left.is_any(one));
        assert_eq!(left.emptied(), [one]);
        drop(second);
        assert_eq!((left.is_any(all), left.emptied()), (false, vec![all]));
        left.await_ends(false);
        drop(left.mark(vec![all]));
        assert_eq!(left.emptied(), [], "nobody waits: nothing is kept for nobody");
    }
}
