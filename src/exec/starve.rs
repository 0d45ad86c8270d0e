//! How buffers that have come back go to those who wait for them, and what is taken from who keeps them waiting.
//!
//! Shares ([`crate::buffers`]) leave something for everybody who is at another address, and mostly for others at the same
//! one. What is left is time: once somebody else waits, buffers are not kept for peers that do not do their part. A
//! command whose Data-Out does not come ends with TASK SET FULL. (A connection whose answers are not read, or whose PDU
//! with a command and its data does not come to its end, is closed: `shard/tick.rs`, `shard/halves.rs`.) While nobody
//! waits, they have all the time of `limits::NOP_TIMEOUT_MS` and `limits::SEND_TIMEOUT_MS`.

use super::executor::{Client, Executor};
use crate::jobs::job::NOBODY;
use crate::jobs::starved::{Feeding, LOOKED_AT, Waiting};
use crate::limits::{FED_PER_TURN, OWED_WHILE_OTHERS_WAIT_MS};
use crate::tasks::sink::Sink;
use crate::tasks::task::{Exec, Failure, Kind, Progress};

/// Sessions with buffers whose commands are looked at before others have their turn.
const OWED_PER_TURN: usize = 32;

/// Whether a task holds buffers for data that is to come.
fn holds_for_data(exec: &Exec) -> bool {
    let takes_data = matches!(exec.kind, Kind::Write(_) | Kind::Gather) && !exec.aborted && exec.failed.is_none();
    let comes_in = |progress| matches!(progress, Progress::Filling | Progress::Lent { .. });
    takes_data && exec.slices.iter().any(|slice| comes_in(slice.progress))
}

impl Executor {
    /// Serves those who wait for buffers, oldest first, when some have come back. Of a session that has its share nobody else
    /// is asked in that round. With many of them a round takes several turns.
    pub fn feed_starved(&mut self, sink: &mut impl Sink) {
        let waits = !(self.starved.jobs.is_empty() && self.starved.tasks.is_empty());
        self.starved.since_ms = if waits { self.starved.since_ms.or(Some(self.now_ms)) } else { None };
        if !waits {
            self.starved.feeding = Feeding::default();
            return;
        }
        if let Some(round) = self.arena.next_round() {
            self.starved.feeding = Feeding { round, jobs: self.starved.jobs.len(), slots: self.starved.tasks.len() };
        }
        self.feed_jobs();
        self.feed_slots(sink);
    }

    /// Gives buffers to jobs that wait for some.
    fn feed_jobs(&mut self) {
        let round = self.starved.feeding.round;
        for _ in 0..self.starved.feeding.jobs.min(FED_PER_TURN) {
            self.starved.feeding.jobs -= 1;
            let Some(place) = self.starved.jobs.pop(&self.running.jobs) else { continue };
            let Some(Some(job)) =
                self.running.jobs.get_mut(place.job).filter(|j| j.as_ref().is_some_and(|j| !j.cancelled))
            else {
                continue;
            };
            let buf = if job.account.is_refused(round) { None } else { job.account.take(place.len) };
            if let Some(buf) = buf {
                job.starved = None;
                place.cell.set(Some(buf));
                self.run_soon(place.job);
            } else {
                job.account.refuse(round);
                self.starved.jobs.again(place);
            }
        }
    }

    /// Lets the tasks go on that wait for buffers.
    fn feed_slots(&mut self, sink: &mut impl Sink) {
        let round = self.starved.feeding.round;
        for _ in 0..self.starved.feeding.slots.min(FED_PER_TURN) {
            self.starved.feeding.slots -= 1;
            let Some((seat, slot)) = self.starved.tasks.pop() else {
                self.starved.feeding.slots = 0;
                return;
            };
            let Some(client) = self.clients.get_mut(seat) else { continue };
            let Some(exec) = client.tasks.get_mut(slot).filter(|exec| exec.starved) else { continue };
            if client.account.is_refused(round) {
                self.starved.tasks.push(seat, slot);
                continue;
            }
            exec.starved = false;
            self.advance(seat, slot, sink);
            if let Some(client) = self.clients.get(seat)
                && client.tasks.get(slot).is_some_and(|exec| exec.starved)
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
        if self.starved.since_ms.is_none_or(|since_ms| self.now_ms < since_ms.saturating_add(LONG_MS)) {
            return Waiting::default();
        }
        let clients = &self.clients;
        let slots = self.starved.tasks.retain_first(LOOKED_AT, |seat, slot| {
            clients.get(seat).and_then(|client| client.tasks.get(slot)).is_some_and(|exec| exec.starved)
        });
        let jobs = self.starved.jobs.first(LOOKED_AT, &self.running.jobs);
        let jobs = jobs.filter(|job| !job.cancelled).map(|job| job.seat).filter(|&seat| seat != NOBODY);
        let mut seats = slots.chain(jobs);
        let one = seats.next();
        // At least half of all places are of jobs that still wait.
        let another = seats.any(|seat| Some(seat) != one) || self.starved.jobs.len() > 2 * LOOKED_AT;
        Waiting { one, another }
    }

    /// Takes the buffers from commands whose data has not come for too long, while others wait for some. With many sessions
    /// that takes several turns.
    #[cold]
    pub fn expire_owed(&mut self, waiting: Waiting, sink: &mut impl Sink) {
        if waiting == Waiting::default() {
            self.starved.owed_from = 0;
            return;
        }
        let until_ms = self.now_ms.saturating_sub(OWED_WHILE_OTHERS_WAIT_MS);
        for _ in 0..OWED_PER_TURN {
            let has_buffers = |client: &Client| client.account.held() > 0;
            let next = (self.starved.owed_from..self.clients.len())
                .find(|&seat| waiting.besides(seat) && has_buffers(&self.clients[seat]));
            let Some(seat) = next else {
                self.starved.owed_from = 0;
                return;
            };
            self.starved.owed_from = seat + 1;
            self.expire_owed_by(seat, until_ms, sink);
        }
    }

    /// The same of one seat: commands whose data has been owed since `until_ms` or before.
    fn expire_owed_by(&mut self, seat: usize, until_ms: u64, sink: &mut impl Sink) {
        let Some(client) = self.clients.get_mut(seat) else { return };
        let mut overdue = Vec::new();
        for (slot, exec) in client.tasks.iter_mut().enumerate() {
            if holds_for_data(exec)
                && sink.owes_since_ms((seat, exec.task)).is_some_and(|since_ms| since_ms <= until_ms)
            {
                exec.failed = Some(Failure::NoBuffer);
                overdue.push(slot);
            }
        }
        self.stats.overdue += overdue.len() as u64;
        overdue.iter().for_each(|&slot| self.advance(seat, slot, sink));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::tests::idle;

    #[test]
    fn those_who_have_gone_are_forgotten_a_part_at_a_time() {
        let mut executor = idle();
        (executor.starved.since_ms, executor.now_ms) = (Some(0), 1000);
        let count = 3 * LOOKED_AT;
        (0..count).for_each(|seat| executor.starved.tasks.push(seat, 0));
        assert_eq!(executor.waiting(), Waiting::default());
        assert_eq!(executor.starved.tasks.len(), count - LOOKED_AT);
        (0..2).for_each(|_| assert_eq!(executor.waiting(), Waiting::default()));
        assert!(executor.starved.tasks.is_empty());
    }

    #[test]
    fn who_waits_alone_is_no_reason_to_hurry() {
        assert!(!Waiting::default().besides(1));
        let one = Waiting { one: Some(1), another: false };
        assert!(!one.besides(1) && one.besides(2));
        assert!(Waiting { one: Some(1), another: true }.besides(1));
    }
}
