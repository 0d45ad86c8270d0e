//! What is left of aborted tasks on a core, and the functions that wait for it (`tm.rs`). It is counted by scope, which
//! is what a function waits for: to look at all tasks of all sessions whenever one of them ends would take longer than
//! a turn may.
//!
//! Whoever aborts something that cannot end at once gets a [`Mark`] for it, and keeps that as long as the thing is
//! left.

use super::elsewhere::Elsewhere;
use crate::limits::PAUSE_MS;
use crate::scsi::Outcome;
use crate::session::seam::TaskId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::{Rc, Weak};

/// Whose tasks are meant. A unit is not named by its LUN, which it need not have any more: commands that it has go on when
/// it is in no LUN map, and other units may be found there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Those of a session at a unit, by its index, or all of them.
    Seat(usize, Option<usize>),
    /// Those of all sessions at a unit, by its index.
    Unit(usize),
    /// Those of all sessions of a target, by its index.
    Target(usize),
}

#[derive(Debug, Default)]
struct Counts {
    left: HashMap<Scope, usize>,
    /// Scopes in which nothing is left any more, since somebody looked.
    emptied: Vec<Scope>,
    is_awaited: bool,
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
    left: Left,
    scopes: Vec<Scope>,
}

impl Drop for Mark {
    fn drop(&mut self) {
        let mut counts = self.left.0.borrow_mut();
        for scope in &self.scopes {
            let Some(count) = counts.left.get_mut(scope) else { continue };
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

/// What is sent when the waiting is over.
#[derive(Clone, Copy)]
pub enum Answer {
    /// The response of a task management function, to the session's request slot.
    Function(usize, u8),
    /// The outcome of a session's command that aborts tasks (PREEMPT AND ABORT), and the bytes of its parameter list.
    Command(usize, TaskId, Outcome, u64),
    /// That all is done here, to another core that asked for it with this ticket.
    Core(usize, u32),
}

impl Answer {
    /// The session that waits for it.
    fn seat(self) -> Option<usize> {
        match self {
            Answer::Function(seat, _) | Answer::Command(seat, ..) => Some(seat),
            Answer::Core(..) => None,
        }
    }
}

/// A function that waits, or an abort for another core.
pub struct Pending {
    /// What is to be said.
    pub answer: Answer,
    /// Cores that have not answered.
    pub cores_left: usize,
    /// A target, all sessions of which are ended once that is said, if nothing is left.
    pub ends: Option<usize>,
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

/// A core with functions under way looks so often for what has become of them, milliseconds.
pub const LOOK_MS: u64 = 10;
/// If a turn comes so long after the one before, the core has stood still, milliseconds: no turn takes as long.
const STOOD_STILL_MS: u64 = 100;
const _: () = assert!(STOOD_STILL_MS >= 10 * LOOK_MS);

/// Until when a function waits at most, milliseconds.
struct Deadline {
    at_ms: u64,
    /// It is not put off beyond this, however long the core stands still: a longer pause is one of the clock.
    latest_ms: u64,
    ticket: u32,
}

/// What is waited for here, whether other cores are waited for, and the ticket.
type Key = (Scope, bool, u32);

/// Functions under way on a core. None is looked at before something has ended that it waits for.
#[derive(Default)]
pub struct Management {
    /// By what they wait for here, and whether they wait for other cores, too: such functions are not looked at when
    /// something ends here.
    pending: BTreeMap<Key, Pending>,
    /// The key in `pending` of the function with this ticket.
    keys: HashMap<u32, Key>,
    /// The functions that a session waits for: seat and ticket.
    of_seats: BTreeSet<(usize, u32)>,
    /// Until when functions wait at most, in the order of time.
    deadlines: VecDeque<Deadline>,
    last_ticket: u32,
    /// What other cores were asked to abort.
    pub elsewhere: Elsewhere,
    /// What is left of aborted tasks.
    pub left: Left,
}

impl Management {
    /// For functions that wait for what is left here.
    pub fn new(left: Left) -> Management {
        Management { left, ..Management::default() }
    }

    /// Whether no function waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// A new number for a function of this core.
    pub fn next_ticket(&mut self) -> u32 {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        self.last_ticket
    }

    /// Has a function wait, until `deadline_ms` at most. `Some`: it comes back, for there is nothing to wait for.
    pub fn wait(&mut self, scope: Scope, ticket: u32, pending: Pending, deadline_ms: u64) -> Option<Pending> {
        if pending.cores_left == 0 && !self.left.is_any(scope) {
            return Some(pending);
        }
        if self.pending.is_empty() {
            self.left.await_ends(true);
        }
        let key = (scope, pending.cores_left > 0, ticket);
        self.keys.insert(ticket, key);
        self.of_seats.extend(pending.answer.seat().map(|seat| (seat, ticket)));
        self.pending.insert(key, pending);
        if deadline_ms < u64::MAX {
            self.deadlines.push_back(Deadline { at_ms: deadline_ms, latest_ms: deadline_ms + PAUSE_MS, ticket });
        }
        None
    }

    /// Takes out the function with this ticket.
    pub fn take(&mut self, ticket: u32) -> Option<Pending> {
        let pending = self.pending.remove(&self.keys.remove(&ticket)?)?;
        if let Some(seat) = pending.answer.seat() {
            self.of_seats.remove(&(seat, ticket));
        }
        if self.pending.is_empty() {
            self.left.await_ends(false);
            self.deadlines.clear();
        }
        Some(pending)
    }

    /// The tickets of the functions that have waited for this scope and nothing else, if nothing is left there.
    pub fn done(&self, scope: Scope) -> Vec<u32> {
        if self.left.is_any(scope) {
            return Vec::new();
        }
        let all = self.pending.range((scope, false, 0)..=(scope, false, u32::MAX));
        all.map(|((.., ticket), _)| *ticket).collect()
    }

    /// Another core has done what was asked of it with this ticket. If it was the last core: the scope that is waited
    /// for here.
    pub fn done_elsewhere(&mut self, ticket: u32) -> Option<Scope> {
        self.elsewhere.answered(ticket);
        let key = self.keys.get_mut(&ticket)?;
        let pending = self.pending.get_mut(key)?;
        pending.cores_left = pending.cores_left.saturating_sub(1);
        if pending.cores_left > 0 {
            return None;
        }
        let pending = self.pending.remove(key)?;
        key.1 = false;
        self.pending.insert(*key, pending);
        Some(key.0)
    }

    /// Forgets the functions that a session waits for.
    pub fn forget(&mut self, seat: usize) {
        while let Some(&(_, ticket)) = self.of_seats.range((seat, 0)..=(seat, u32::MAX)).next() {
            self.take(ticket);
        }
    }

    /// Notes that a turn comes `ms` after the one before. That is soon, unless the core has stood still: with its
    /// machine, as a rule, and so with the other cores. Those are not late for that, so the deadlines are put off.
    pub fn turn_came_after(&mut self, ms: u64) {
        if ms >= STOOD_STILL_MS {
            for deadline in &mut self.deadlines {
                deadline.at_ms = (deadline.at_ms + ms).min(deadline.latest_ms);
            }
        }
    }

    /// Takes out a function that has waited for too long.
    pub fn given_up(&mut self, now_ms: u64) -> Option<Pending> {
        loop {
            let ticket = self.deadlines.front().filter(|deadline| deadline.at_ms <= now_ms)?.ticket;
            self.deadlines.pop_front();
            if let Some(pending) = self.take(ticket) {
                return Some(pending);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::tests::at;
    use crate::shares::Whose;

    fn function(seat: usize, cores_left: usize) -> Pending {
        Pending { answer: Answer::Function(seat, 0), cores_left, ends: None }
    }

    #[test]
    fn a_function_is_looked_at_when_nothing_is_left_of_what_it_waits_for() {
        let (mut all, one, other) = (Management::default(), Scope::Seat(1, None), Scope::Seat(2, None));
        let tickets: Vec<_> = (0..5).map(|_| all.next_ticket()).collect();
        assert!(all.wait(one, tickets[0], function(1, 0), 900).is_some(), "nothing is left");
        let (first, second) = (all.left.mark(vec![one]), all.left.mark(vec![other]));
        for (n, scope) in [(1, one), (2, other), (3, one)] {
            assert!(all.wait(scope, tickets[n], function(n, n / 3), 900 + n as u64).is_none());
        }
        drop(first);
        assert_eq!(all.left.emptied(), [one]);
        assert_eq!((all.done(one), all.done(other)), (vec![tickets[1]], vec![]), "another waits for a core, too");
        assert!(all.take(tickets[1]).is_some() && all.take(tickets[1]).is_none());
        assert_eq!((all.done_elsewhere(tickets[3]), all.done_elsewhere(tickets[4])), (Some(one), None));
        assert_eq!(all.done(one), [tickets[3]]);
        // In the order of time, those that have not been answered.
        assert!(all.given_up(901).is_none());
        assert_eq!(all.given_up(903).and_then(|pending| pending.answer.seat()), Some(2));
        all.forget(3);
        assert!(all.is_empty() && all.keys.is_empty() && all.of_seats.is_empty() && all.deadlines.is_empty());
        drop(second);
        assert_eq!(all.left.emptied(), [], "nobody waits");
    }

    /// What another core has done is answered without a look at all those that wait for it still.
    #[test]
    fn who_waits_for_other_cores_is_not_looked_at() {
        let (mut all, scope) = (Management::default(), Scope::Unit(7));
        let tickets: Vec<_> = (0..1000).map(|_| all.next_ticket()).collect();
        for (seat, &ticket) in tickets.iter().enumerate() {
            assert!(all.wait(scope, ticket, function(seat % 10, 2), 900).is_none());
        }
        for &ticket in &tickets[..500] {
            assert_eq!(all.done_elsewhere(ticket), None, "another has not");
            assert_eq!(all.done(scope), []);
            assert_eq!(all.done_elsewhere(ticket), Some(scope));
            assert_eq!(all.pending.range((scope, false, 0)..(scope, true, 0)).count(), 1);
            assert_eq!(all.done(scope), [ticket]);
            assert!(all.take(ticket).is_some());
        }
        all.forget(3);
        assert_eq!((all.pending.len(), all.of_seats.len(), all.keys.len()), (450, 450, 450));
        (0..10).for_each(|seat| all.forget(seat));
        assert!(all.is_empty() && all.keys.is_empty() && all.of_seats.is_empty());
    }

    #[test]
    fn a_function_is_not_late_for_as_long_as_the_core_stood_still() {
        let mut all = Management::default();
        for (ticket, deadline_ms) in [(1, 900), (2, 1000)] {
            assert!(all.wait(Scope::Unit(7), ticket, function(1, 2), deadline_ms).is_none());
        }
        (0..10).for_each(|_| all.turn_came_after(STOOD_STILL_MS - 1));
        assert!(all.given_up(899).is_none());
        all.turn_came_after(1500);
        assert!(all.given_up(2399).is_none() && all.given_up(2400).is_some());
        // Not for ever, however often.
        (0..100).for_each(|_| all.turn_came_after(1500));
        assert!(all.given_up(999 + PAUSE_MS).is_none() && all.given_up(1000 + PAUSE_MS).is_some());
    }

    #[test]
    fn what_is_asked_of_other_cores_is_counted_whoever_still_waits_for_it() {
        let (mut all, asking) = (Management::default(), Whose::of(1, at("192.0.2.1")));
        let mut tickets = Vec::new();
        while !all.elsewhere.is_too_much(asking) {
            let ticket = all.next_ticket();
            all.elsewhere.ask(ticket, asking, 2);
            assert!(all.wait(Scope::Unit(7), ticket, function(1, 2), 900).is_none());
            tickets.push(ticket);
        }
        // It goes, or has waited for too long: they are still asked.
        all.forget(1);
        assert!(all.is_empty() && all.elsewhere.is_too_much(asking));
        for ticket in tickets {
            (0..2).for_each(|_| _ = all.done_elsewhere(ticket));
        }
        assert!(all.elsewhere.is_empty());
    }

    #[test]
    fn an_aborted_copy_is_waited_for_until_it_is_over_or_late() {
        let (all, scope) = (Management::default(), Scope::Unit(7));
        let mut left_copies = LeftCopies::default();
        let copies = [(250, 0), (260, 10)].map(|(until, now)| left_copies.leave(&all.left, vec![scope], until, now));
        let [first, second] = copies;
        drop(second);
        left_copies.expire(249);
        assert!(all.left.is_any(scope));
        left_copies.expire(250);
        assert!(!all.left.is_any(scope) && first.borrow().is_none());
    }

    #[test]
    fn tasks_of_the_same_scopes_have_one_mark_until_the_last_is_gone() {
        let (left, mut marks) = (Left::default(), SharedMarks::default());
        let [one, other] = [[Scope::Seat(1, None), Scope::Unit(7)], [Scope::Seat(2, None), Scope::Unit(7)]];
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
        let (left, all, one) = (Left::default(), Scope::Target(1), Scope::Unit(7));
        let first = left.mark(vec![all, one]);
        let second = left.mark(vec![all]);
        assert!(left.is_any(all) && left.is_any(one) && !left.is_any(Scope::Unit(8)));
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
