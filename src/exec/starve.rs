//! How buffers that have come back go to those who wait for them, and what is taken from who keeps them waiting.
//!
//! Shares ([`crate::buffers`]) leave something for everybody who is at another address, and mostly for others at the same
//! one. What is left is time: once somebody else waits, buffers are not kept for peers that do not do their part. A
//! command whose Data-Out does not come ends with TASK SET FULL. (A connection whose answers are not read, or whose PDU
//! with a command and its data does not come to its end, is closed: `shard/tick.rs`, `shard/halves.rs`.) While nobody
//! waits, they have all the time of `limits::NOP_TIMEOUT_MS` and `limits::SEND_TIMEOUT_MS`.

use super::executor::{Client, Executor};
use crate::jobs::job::Job;
use crate::jobs::starved::{Feeding, LOOKED_AT, Waiting};
use crate::limits::{FED_PER_TURN, OWED_WHILE_OTHERS_WAIT_MS};
use crate::missing::missing;
use crate::model::{SeatIx, TaskKey};
use crate::tasks::failing::Failure;
use crate::tasks::sink::Outside;
use crate::tasks::task::{Exec, Kind, Progress};

/// Sessions with buffers whose commands are looked at before others have their turn.
const OWED_PER_TURN: usize = 32;

/// Whether a task holds buffers for data that is to come.
fn holds_for_data(exec: &Exec) -> bool {
    let takes_data = matches!(exec.kind, Kind::Write(_) | Kind::Gather) && !exec.aborted && !exec.failing.is_any();
    let comes_in = |progress| matches!(progress, Progress::Filling | Progress::Lent { .. });
    takes_data && exec.slices.iter().any(|slice| comes_in(slice.progress))
}

impl Executor {
    /// Serves those who wait for buffers, oldest first, when some have come back. Of a session that has its share nobody else
    /// is asked in that round. With many of them a round takes several turns.
    pub fn feed_starved(&mut self, out: &mut impl Outside) {
        let waits = !(self.waits.starved.jobs.is_empty() && self.waits.starved.tasks.is_empty());
        self.waits.starved.since_ms = if waits { self.waits.starved.since_ms.or(Some(self.turn.now_ms)) } else { None };
        if !waits {
            self.waits.starved.feeding = Feeding::default();
            return;
        }
        if let Some(round) = self.arena.next_round() {
            self.waits.starved.feeding =
                Feeding { round, jobs: self.waits.starved.jobs.len(), slots: self.waits.starved.tasks.len() };
        }
        self.feed_jobs();
        self.feed_slots(out);
    }

    /// Gives buffers to jobs that wait for some.
    fn feed_jobs(&mut self) {
        let round = self.waits.starved.feeding.round;
        for _ in 0..self.waits.starved.feeding.jobs.min(FED_PER_TURN) {
            self.waits.starved.feeding.jobs -= 1;
            let Some(place) = self.waits.starved.jobs.pop(&self.running.jobs) else { continue };
            let Some(Some(job)) =
                self.running.jobs.get_mut(place.job).filter(|j| j.as_ref().is_some_and(|j| !j.cancelled))
            else {
                continue;
            };
            let buf = if job.account.is_refused(round) { None } else { job.account.take(place.len) };
            if let Some(buf) = buf {
                job.waits.starved = None;
                place.cell.set(Some(buf));
                self.run_soon(place.job);
            } else {
                job.account.refuse(round);
                self.waits.starved.jobs.again(place);
            }
        }
    }

    /// Lets the tasks go on that wait for buffers.
    fn feed_slots(&mut self, out: &mut impl Outside) {
        let round = self.waits.starved.feeding.round;
        for _ in 0..self.waits.starved.feeding.slots.min(FED_PER_TURN) {
            self.waits.starved.feeding.slots -= 1;
            let Some((seat, slot)) = self.waits.starved.tasks.pop() else {
                self.waits.starved.feeding.slots = 0;
                return;
            };
            // The session may be gone, and the task may wait no more.
            let Some(client) = self.clients.get_mut(seat.at()) else { continue };
            let Some(exec) = client.tasks.get_mut(slot).filter(|exec| exec.waits.starved) else { continue };
            if client.account.is_refused(round) {
                self.waits.starved.tasks.push(seat, slot);
                continue;
            }
            exec.waits.starved = false;
            self.advance(seat, slot, out);
            if let Some(client) = self.clients.get(seat.at())
                && client.tasks.get(slot).is_some_and(|exec| exec.waits.starved)
            {
                client.account.refuse(round);
            }
        }
    }

    /// Which sessions have been waiting for buffers for long. Slots whose tasks have gone away meanwhile are forgotten.
    /// Many may wait: the first of them say whether more than one session does.
    pub fn waiting(&mut self) -> Waiting {
        /// A wait that is shorter than this is not for want of a peer's data, milliseconds.
        const LONG_MS: u64 = 500;
        if self.waits.starved.since_ms.is_none_or(|since_ms| self.turn.now_ms < since_ms.saturating_add(LONG_MS)) {
            return Waiting::default();
        }
        let clients = &self.clients;
        let slots = self.waits.starved.tasks.retain_first(LOOKED_AT, |seat, slot| {
            clients.get(seat.at()).and_then(|client| client.tasks.get(slot)).is_some_and(|exec| exec.waits.starved)
        });
        let jobs = self.waits.starved.jobs.first(LOOKED_AT, &self.running.jobs);
        let jobs = jobs.filter(|job| !job.cancelled).filter_map(Job::seat);
        let mut seats = slots.chain(jobs);
        let one = seats.next();
        // At least half of all places are of jobs that still wait.
        let another = seats.any(|seat| Some(seat) != one) || self.waits.starved.jobs.len() > 2 * LOOKED_AT;
        Waiting { one, another }
    }

    /// Takes the buffers from commands whose data has not come for too long, while others wait for some. With many sessions
    /// that takes several turns.
    #[cold]
    pub fn expire_owed(&mut self, waiting: Waiting, out: &mut impl Outside) {
        if waiting == Waiting::default() {
            self.waits.starved.owed_from = 0;
            return;
        }
        let until_ms = self.turn.now_ms.saturating_sub(OWED_WHILE_OTHERS_WAIT_MS);
        for _ in 0..OWED_PER_TURN {
            let has_buffers = |client: &Client| client.account.held() > 0;
            let next = (self.waits.starved.owed_from..self.clients.len())
                .map(SeatIx::new)
                .find(|&seat| waiting.besides(seat) && has_buffers(&self.clients[seat.at()]));
            let Some(seat) = next else {
                self.waits.starved.owed_from = 0;
                return;
            };
            self.waits.starved.owed_from = seat.at() + 1;
            self.expire_owed_by(seat, until_ms, out);
        }
    }

    /// The same of one seat: commands whose data has been owed since `until_ms` or before.
    fn expire_owed_by(&mut self, seat: SeatIx, until_ms: u64, out: &mut impl Outside) {
        let Some(client) = self.clients.get_mut(seat.at()) else { return missing("a seat") };
        let mut overdue = Vec::new();
        for (slot, exec) in client.tasks.iter_mut().enumerate() {
            let owes_since_ms = || out.terms(TaskKey { seat, task: exec.task }).owes_since_ms;
            if holds_for_data(exec) && owes_since_ms().is_some_and(|since_ms| since_ms <= until_ms) {
                exec.failing.instead(Failure::NoBuffer);
                overdue.push(slot);
            }
        }
        self.stats.overdue += overdue.len() as u64;
        overdue.iter().for_each(|&slot| self.advance(seat, slot, out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::tests::idle;

    #[test]
    fn those_who_have_gone_are_forgotten_a_part_at_a_time() {
        let mut executor = idle();
        (executor.waits.starved.since_ms, executor.turn.now_ms) = (Some(0), 1000);
        let count = 3 * LOOKED_AT;
        (0..count).for_each(|seat| executor.waits.starved.tasks.push(SeatIx::new(seat), 0));
        assert_eq!(executor.waiting(), Waiting::default());
        assert_eq!(executor.waits.starved.tasks.len(), count - LOOKED_AT);
        (0..2).for_each(|_| assert_eq!(executor.waiting(), Waiting::default()));
        assert!(executor.waits.starved.tasks.is_empty());
    }

    #[test]
    fn who_waits_alone_is_no_reason_to_hurry() {
        let [one_seat, other] = [1, 2].map(SeatIx::new);
        assert!(!Waiting::default().besides(one_seat));
        let one = Waiting { one: Some(one_seat), another: false };
        assert!(!one.besides(one_seat) && one.besides(other));
        assert!(Waiting { another: true, ..one }.besides(one_seat));
    }
}
