//! Functions of task management that wait, on the core that their session is on: for what is left here of the tasks
//! that they have aborted (`waits/left.rs`), and for other cores (`elsewhere.rs`). What they do is in `shard/tm.rs`.
//!
//! A function is found by the scope that it waits for: to look at all tasks of all sessions whenever one of them ends
//! would take longer than a turn may.
//!
//! Invariants: a function is in here as long as something is left for it to wait for, until its deadline, or until its
//! session goes; it is answered once, by whoever takes it out.

use super::elsewhere::Elsewhere;
use crate::limits::PAUSE_MS;
use crate::model::{Due, SeatIx};
use crate::scsi::Outcome;
use crate::waits::left::{Left, Scope};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// What is sent when the waiting is over.
pub enum Answer {
    /// The response of a task management function, to the session's request slot.
    Function(SeatIx, u8),
    /// The outcome of a session's command that aborts tasks (PREEMPT AND ABORT), and the bytes of its parameter list.
    Command(Due, Outcome, u64),
    /// That all is done here, to another core that asked for it with this ticket.
    Core(usize, u32),
}

impl Answer {
    /// The session that waits for it.
    fn seat(&self) -> Option<SeatIx> {
        match self {
            Answer::Function(seat, _) => Some(*seat),
            Answer::Command(due, ..) => Some(due.who().seat),
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

/// A core with functions under way looks so often for what has become of them, milliseconds.
pub const LOOK_MS: u64 = 10;
/// If a turn comes so long after the one before, the core has stood still, milliseconds: no turn takes as long.
const STOOD_STILL_MS: u64 = 100;
const _: () = assert!(STOOD_STILL_MS >= 10 * LOOK_MS);

/// Until when a function waits at most, milliseconds.
struct Deadline {
    /// When it is over, milliseconds.
    at_ms: u64,
    /// It is not put off beyond this, however long the core stands still: a longer pause is one of the clock.
    latest_ms: u64,
    /// The function.
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
    of_seats: BTreeSet<(SeatIx, u32)>,
    /// Until when functions wait at most, in the order of time.
    deadlines: VecDeque<Deadline>,
    /// The last ticket that was given to a function.
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
    pub fn forget(&mut self, seat: SeatIx) {
        while let Some(&(_, ticket)) = self.of_seats.range((seat, 0)..=(seat, u32::MAX)).next() {
            if let Some(Pending { answer: Answer::Command(due, ..), .. }) = self.take(ticket) {
                // Nobody is there whom it could be told.
                due.end();
            }
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
    use crate::model::UnitIx;
    use crate::model::host::tests::at;
    use crate::shares::Whose;

    const DISK: Scope = Scope::Unit(UnitIx::new(7));

    fn function(seat: SeatIx, cores_left: usize) -> Pending {
        Pending { answer: Answer::Function(seat, 0), cores_left, ends: None }
    }

    #[test]
    fn a_function_is_looked_at_when_nothing_is_left_of_what_it_waits_for() {
        let (mut all, one, other) =
            (Management::default(), Scope::Seat(SeatIx::new(1), None), Scope::Seat(SeatIx::new(2), None));
        let tickets: Vec<_> = (0..5).map(|_| all.next_ticket()).collect();
        assert!(all.wait(one, tickets[0], function(SeatIx::new(1), 0), 900).is_some(), "nothing is left");
        let (first, second) = (all.left.mark(vec![one]), all.left.mark(vec![other]));
        for (n, scope) in [(1, one), (2, other), (3, one)] {
            assert!(all.wait(scope, tickets[n], function(SeatIx::new(n), n / 3), 900 + n as u64).is_none());
        }
        drop(first);
        assert_eq!(all.left.emptied(), [one]);
        assert_eq!((all.done(one), all.done(other)), (vec![tickets[1]], vec![]), "another waits for a core, too");
        assert!(all.take(tickets[1]).is_some() && all.take(tickets[1]).is_none());
        assert_eq!((all.done_elsewhere(tickets[3]), all.done_elsewhere(tickets[4])), (Some(one), None));
        assert_eq!(all.done(one), [tickets[3]]);
        // In the order of time, those that have not been answered.
        assert!(all.given_up(901).is_none());
        assert_eq!(all.given_up(903).and_then(|pending| pending.answer.seat()), Some(SeatIx::new(2)));
        all.forget(SeatIx::new(3));
        assert!(all.is_empty() && all.keys.is_empty() && all.of_seats.is_empty() && all.deadlines.is_empty());
        drop(second);
        assert_eq!(all.left.emptied(), [], "nobody waits");
    }

    /// What another core has done is answered without a look at all those that wait for it still.
    #[test]
    fn who_waits_for_other_cores_is_not_looked_at() {
        let (mut all, scope) = (Management::default(), DISK);
        let tickets: Vec<_> = (0..1000).map(|_| all.next_ticket()).collect();
        for (seat, &ticket) in tickets.iter().enumerate() {
            assert!(all.wait(scope, ticket, function(SeatIx::new(seat % 10), 2), 900).is_none());
        }
        for &ticket in &tickets[..500] {
            assert_eq!(all.done_elsewhere(ticket), None, "another has not");
            assert_eq!(all.done(scope).len(), 0);
            assert_eq!(all.done_elsewhere(ticket), Some(scope));
            assert_eq!(all.pending.range((scope, false, 0)..(scope, true, 0)).count(), 1);
            assert_eq!(all.done(scope), [ticket]);
            assert!(all.take(ticket).is_some());
        }
        all.forget(SeatIx::new(3));
        assert_eq!((all.pending.len(), all.of_seats.len(), all.keys.len()), (450, 450, 450));
        (0..10).for_each(|seat| all.forget(SeatIx::new(seat)));
        assert!(all.is_empty() && all.keys.is_empty() && all.of_seats.is_empty());
    }

    #[test]
    fn a_function_is_not_late_for_as_long_as_the_core_stood_still() {
        let mut all = Management::default();
        for (ticket, deadline_ms) in [(1, 900), (2, 1000)] {
            assert!(all.wait(DISK, ticket, function(SeatIx::new(1), 2), deadline_ms).is_none());
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
            assert!(all.wait(DISK, ticket, function(SeatIx::new(1), 2), 900).is_none());
            tickets.push(ticket);
        }
        // It goes, or has waited for too long: they are still asked.
        all.forget(SeatIx::new(1));
        assert!(all.is_empty() && all.elsewhere.is_too_much(asking));
        for ticket in tickets {
            (0..2).for_each(|_| _ = all.done_elsewhere(ticket));
        }
        assert!(all.elsewhere.is_empty());
    }
}
