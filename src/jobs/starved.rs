//! Those who wait for I/O buffers on one core, in the order in which they asked: tasks by slot, jobs by a number of
//! their wait.
//!
//! Invariants: a round asks nobody twice, and of a session that has its share nobody else. Places of jobs that are gone
//! are at most half of all.

use super::job::Job;
use crate::buffers::Buf;
use crate::model::SeatIx;
use crate::waits::cell::Cell1;
use crate::waits::slots::SlotQueue;
use std::collections::VecDeque;

/// Of those who wait for buffers, so many are looked at: more than one session can have wait.
pub const LOOKED_AT: usize = 2048;

/// Whether sessions wait for buffers: one of them, and whether there is another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The seat of one of them.
    pub one: Option<SeatIx>,
    /// Another session waits, too.
    pub another: bool,
}

impl Waiting {
    /// Whether somebody else than the session at `seat` waits.
    pub fn besides(self, seat: SeatIx) -> bool {
        self.another || self.one.is_some_and(|one| one != seat)
    }
}

/// How many of those who wait are left, in this round, to be asked whether what has come back is enough for them.
#[derive(Default)]
pub struct Feeding {
    /// Number of the round (`Arena::next_round`).
    pub round: u64,
    /// Jobs that are left to be asked.
    pub jobs: usize,
    /// Tasks that are left to be asked.
    pub slots: usize,
}

impl Feeding {
    /// Whether nobody is left to be asked.
    pub fn is_over(&self) -> bool {
        self.jobs == 0 && self.slots == 0
    }
}

/// The place of a job that waits for a buffer of `len` bytes.
pub struct Place {
    /// Number of the job.
    pub job: usize,
    /// Number of this wait: the job has it in `starved` as long as it waits.
    pub serial: u64,
    /// Bytes of the buffer.
    pub len: usize,
    /// Where the job finds the buffer.
    pub cell: Cell1<Buf>,
}

impl Place {
    /// The job, if it still waits here.
    pub fn job_in<'a>(&self, jobs: &'a [Option<Job>]) -> Option<&'a Job> {
        jobs.get(self.job)?.as_ref().filter(|job| job.waits.starved == Some(self.serial))
    }
}

/// Jobs that wait for buffers, in the order in which they have asked. A job that has gone leaves a place behind, which
/// is passed over.
#[derive(Default)]
pub struct StarvedJobs {
    /// Places, the oldest first.
    pub places: VecDeque<Place>,
    /// The last number of a wait.
    pub serial: u64,
    /// Places that nobody stands at any more.
    pub left_behind: usize,
}

impl StarvedJobs {
    /// Whether there is no place.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many places there are, with those that nobody stands at any more.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Puts a job at the end. The number that it is to have in `starved`.
    pub fn push(&mut self, job: usize, len: usize, cell: Cell1<Buf>) -> u64 {
        self.serial += 1;
        self.places.push_back(Place { job, serial: self.serial, len, cell });
        self.serial
    }

    /// Puts a job that could not have its buffer back at the end.
    pub fn again(&mut self, place: Place) {
        self.places.push_back(place);
    }

    /// Takes the first place. `None`: nobody stands there any more.
    pub fn pop(&mut self, jobs: &[Option<Job>]) -> Option<Place> {
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
    pub fn first<'a>(&'a self, most: usize, jobs: &'a [Option<Job>]) -> impl Iterator<Item = &'a Job> {
        self.places.iter().take(most).filter_map(|place| place.job_in(jobs))
    }
}

/// Who waits for I/O buffers on one core.
#[derive(Default)]
pub struct Starved {
    /// Jobs that wait for a buffer.
    pub jobs: StarvedJobs,
    /// Tasks that wait for a buffer.
    pub tasks: SlotQueue,
    /// Since when somebody has waited, milliseconds.
    pub since_ms: Option<u64>,
    /// The seat that `Executor::expire_owed` goes on with; 0: it has been through all.
    pub owed_from: usize,
    /// How far the core is in giving buffers that have come back to those who wait for them.
    pub feeding: Feeding,
}
