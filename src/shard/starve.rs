//! Who waits for I/O buffers, and who keeps them waiting.
//!
//! Shares (`buffers.rs`) leave something for everybody who is at another address, and mostly for others at the same one. What is
//! left is time: once somebody else waits, buffers are not kept for peers that do not do their part. A command whose Data-Out does
//! not come ends with TASK SET FULL, and a connection whose answers are not read, or whose PDU with a command and its data does
//! not come to its end, is closed. While nobody waits, they have all the time of `limits::NOP_TIMEOUT_MS` and
//! `limits::SEND_TIMEOUT_MS`.

use super::buffers::Buf;
use super::exec::{Exec, Failure, Kind, Progress};
use super::executor::{Client, Executor};
use super::job::{Cell1, Job};
use super::sink::Sink;
use super::work::NOBODY;
use crate::limits::{FED_PER_TURN, OWED_WHILE_OTHERS_WAIT_MS};
use std::collections::VecDeque;

/// Of those who wait for buffers, so many are looked at: more than one session can have wait.
const LOOKED_AT: usize = 2048;
/// Sessions with buffers whose commands are looked at before others have their turn.
const OWED_PER_TURN: usize = 32;

/// Whether sessions wait for buffers: one of them, and whether there is another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    one: Option<usize>,
    another: bool,
}

impl Waiting {
    /// Whether somebody else than the session at `seat` waits.
    pub fn besides(self, seat: usize) -> bool {
        self.another || self.one.is_some_and(|one| one != seat)
    }
}

/// Whether a task holds buffers for data that is to come.
fn holds_for_data(exec: &Exec) -> bool {
    let takes_data = matches!(exec.kind, Kind::Write(_) | Kind::Gather) && !exec.aborted && exec.failed.is_none();
    let comes_in = |progress| matches!(progress, Progress::Filling | Progress::Lent { .. });
    takes_data && exec.slices.iter().any(|slice| comes_in(slice.progress))
}

/// How many of those who wait are left, in this round, to be asked whether what has come back is enough for them.
#[derive(Default)]
pub struct Feeding {
    round: u64,
    jobs: usize,
    slots: usize,
}

impl Feeding {
    pub fn is_over(&self) -> bool {
        self.jobs == 0 && self.slots == 0
    }
}

/// The place of a job that waits for a buffer of `len` bytes.
pub struct Place {
    job: usize,
    /// Number of this wait: the job has it in `starved` as long as it waits.
    serial: u64,
    len: usize,
    cell: Cell1<Buf>,
}

impl Place {
    fn job_in<'a>(&self, jobs: &'a [Option<Job>]) -> Option<&'a Job> {
        jobs.get(self.job)?.as_ref().filter(|job| job.starved == Some(self.serial))
    }
}

/// Jobs that wait for buffers, in the order in which they have asked. A job that has gone leaves a place behind, which
/// is passed over.
#[derive(Default)]
pub struct StarvedJobs {
    places: VecDeque<Place>,
    serial: u64,
    left_behind: usize,
}

impl StarvedJobs {
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    /// Puts a job at the end. The number that it is to have in `starved`.
    pub fn push(&mut self, job: usize, len: usize, cell: Cell1<Buf>) -> u64 {
        self.serial += 1;
        self.places.push_back(Place { job, serial: self.serial, len, cell });
        self.serial
    }

    fn again(&mut self, place: Place) {
        self.places.push_back(place);
    }

    /// Takes the first place. `None`: nobody stands there any more.
    fn pop(&mut self, jobs: &[Option<Job>]) -> Option<Place> {
        let place = self.places.pop_front()?;
        if place.job_in(jobs).is_some() {
            return Some(place);
        }
        self.left_behind = self.left_behind.saturating_sub(1);
        None
    }

    /// Notes that a job has left its place.
    pub fn leave(&mut self, jobs: &[Option<Job>]) {
        self.left_behind += 1;
        if self.left_behind > self.places.len() / 2 {
            self.places.retain(|place| place.job_in(jobs).is_some());
            self.left_behind = 0;
        }
    }

    /// The jobs in the first `most` places.
    fn first<'a>(&'a self, most: usize, jobs: &'a [Option<Job>]) -> impl Iterator<Item = &'a Job> {
        self.places.iter().take(most).filter_map(|place| place.job_in(jobs))
    }
}

impl Executor {
    /// Serves those who wait for buffers, oldest first, when some have come back. Of a session that has its share nobody else
    /// is asked in that round. With many of them a round takes several turns.
    pub fn feed_starved(&mut self, sink: &mut impl Sink) {
        let waits = !(self.waiting_jobs.is_empty() && self.starved.is_empty());
        self.starved_since_ms = if waits { self.starved_since_ms.or(Some(self.now_ms)) } else { None };
        if !waits {
            self.feeding = Feeding::default();
            return;
        }
        if let Some(round) = self.arena.next_round() {
            self.feeding = Feeding { round, jobs: self.waiting_jobs.len(), slots: self.starved.len() };
        }
        self.feed_jobs();
        self.feed_slots(sink);
    }

    fn feed_jobs(&mut self) {
        let round = self.feeding.round;
        for _ in 0..self.feeding.jobs.min(FED_PER_TURN) {
            self.feeding.jobs -= 1;
            let Some(place) = self.waiting_jobs.pop(&self.jobs) else { continue };
            let Some(Some(job)) = self.jobs.get_mut(place.job).filter(|j| j.as_ref().is_some_and(|j| !j.cancelled))
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
                self.waiting_jobs.again(place);
            }
        }
    }

    fn feed_slots(&mut self, sink: &mut impl Sink) {
        let round = self.feeding.round;
        for _ in 0..self.feeding.slots.min(FED_PER_TURN) {
            self.feeding.slots -= 1;
            let Some((seat, slot)) = self.starved.pop() else {
                self.feeding.slots = 0;
                return;
            };
            let Some(client) = self.clients.get_mut(seat) else { continue };
            let Some(exec) = client.tasks.get_mut(slot).filter(|exec| exec.starved) else { continue };
            if client.account.is_refused(round) {
                self.starved.push(seat, slot);
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
        if self.starved_since_ms.is_none_or(|since_ms| self.now_ms < since_ms.saturating_add(LONG_MS)) {
            return Waiting::default();
        }
        let clients = &self.clients;
        let slots = self.starved.retain_first(LOOKED_AT, |seat, slot| {
            clients.get(seat).and_then(|client| client.tasks.get(slot)).is_some_and(|exec| exec.starved)
        });
        let jobs = self.waiting_jobs.first(LOOKED_AT, &self.jobs);
        let jobs = jobs.filter(|job| !job.cancelled).map(|job| job.seat).filter(|&seat| seat != NOBODY);
        let mut seats = slots.chain(jobs);
        let one = seats.next();
        // At least half of all places are of jobs that still wait.
        let another = seats.any(|seat| Some(seat) != one) || self.waiting_jobs.len() > 2 * LOOKED_AT;
        Waiting { one, another }
    }

    /// Takes the buffers from commands whose data has not come for too long, while others wait for some. With many sessions
    /// that takes several turns.
    #[cold]
    pub fn expire_owed(&mut self, waiting: Waiting, sink: &mut impl Sink) {
        if waiting == Waiting::default() {
            self.owed_from = 0;
            return;
        }
        let until_ms = self.now_ms.saturating_sub(OWED_WHILE_OTHERS_WAIT_MS);
        for _ in 0..OWED_PER_TURN {
            let has_buffers = |client: &Client| client.account.held() > 0;
            let next = (self.owed_from..self.clients.len())
                .find(|&seat| waiting.besides(seat) && has_buffers(&self.clients[seat]));
            let Some(seat) = next else {
                self.owed_from = 0;
                return;
            };
            self.owed_from = seat + 1;
            self.expire_owed_by(seat, until_ms, sink);
        }
    }

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
    use crate::shard::make_core;
    use crate::shard::world::World;
    use std::sync::Arc;

    #[test]
    fn those_who_have_gone_are_forgotten_a_part_at_a_time() {
        let (world, _keeper) = World::open(crate::model::Snapshot::default(), 1).unwrap();
        let mut core = make_core(0, Arc::new(world), Vec::new(), std::time::Duration::ZERO).unwrap();
        let engine = &mut core.engine.executor;
        (engine.starved_since_ms, engine.now_ms) = (Some(0), 1000);
        let count = 3 * LOOKED_AT;
        (0..count).for_each(|seat| engine.starved.push(seat, 0));
        assert_eq!(engine.waiting(), Waiting::default());
        assert_eq!(engine.starved.len(), count - LOOKED_AT);
        (0..2).for_each(|_| assert_eq!(engine.waiting(), Waiting::default()));
        assert!(engine.starved.is_empty());
    }

    #[test]
    fn who_waits_alone_is_no_reason_to_hurry() {
        assert!(!Waiting::default().besides(1));
        let one = Waiting { one: Some(1), another: false };
        assert!(!one.besides(1) && one.besides(2));
        assert!(Waiting { one: Some(1), another: true }.besides(1));
    }
}
