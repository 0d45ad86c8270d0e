//! Media are made durable beside the cores: all of them when the process ends, and those of units that leave. One that
//! does not answer keeps nobody waiting for long, nor the others: a thread that is silent is not counted, and another
//! one goes on.
//!
//! Giving up loses nothing: what is in the page cache, the kernel goes on writing. But what it then says, it says to
//! nobody: hosts are told after the next start, as they are of a failure (`unit/remember.rs`).
//!
//! If it cannot be saved that hosts are to be told, that is tried again, and at the end once more. Until then the file
//! of the saved state is not let go of: the unit is not served again as if nothing had been lost.

use crate::limits::{MEDIUM_HANG_MS, SYNC_THREADS};
use crate::panics::{self, Mutex};
use crate::scsi::LogicalUnit;
use crate::state::{Keeper, UnitFile};
use crate::unit::Unit;
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};
use std::{io, mem};

/// How long a medium is silent before the log is told, and its thread is not counted any more.
const HANGS: Duration = Duration::from_millis(MEDIUM_HANG_MS);

const UNSAVED: &str = "what hosts wrote may be lost, and it cannot be saved that they are to be told";

/// Whoever waits for the end looks so many times in [`HANGS`] whether another thread is needed.
const LOOKS: u32 = 4;

/// How soon what could not be saved is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What became of a unit: of its medium, and whether there is something that could not be saved.
enum Answer {
    Synced(u64, io::Result<()>, Option<Unsaved>),
    /// What could not be saved was tried again; `Some`: in vain.
    Saved(Option<Unsaved>),
}

/// What could not be saved of a unit that is let go of: who has yet to hear of what it has lost. And where that
/// belongs.
struct Unsaved {
    file: Arc<UnitFile>,
    logical: Arc<LogicalUnit>,
    failures: u64,
}

impl Unsaved {
    fn of(unit: &Unit) -> Unsaved {
        let (file, logical) = (Arc::clone(&unit.file), Arc::clone(&unit.logical));
        Unsaved { file, logical, failures: unit.syncs.failures() }
    }

    /// Has it saved once more. (Nobody has anything else of the unit saved any more.)
    fn save(self, keeper: &Keeper, tell: Sender<Answer>) {
        let (file, saved) = (Arc::clone(&self.file), Box::new(self.logical.saved_at_end(self.failures)));
        keeper.submit(&file, saved, move |is_saved| drop(tell.send(Answer::Saved((!is_saved).then_some(self)))));
    }
}

/// A unit that has not answered.
struct Waiting {
    serial: String,
    unit: Weak<Unit>,
}

/// What the threads share.
#[derive(Default)]
struct Work {
    /// Units that are left to begin with.
    left: VecDeque<(u64, Arc<Unit>)>,
    /// Units that a thread is at, since when.
    at_work: BTreeMap<u64, Instant>,
    threads: usize,
}

/// Media that are being made durable, by threads of their own.
pub struct Syncing {
    keeper: Arc<Keeper>,
    /// Units that have not answered, in the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    /// What could not be saved of those that have answered, when that was tried again last, and how much of it is with the keeper.
    unsaved: Vec<Unsaved>,
    tried: Instant,
    on_their_way: usize,
    /// How many units have come so far.
    begun: u64,
    work: Arc<Mutex<Work>>,
    tell: Sender<Answer>,
    answers: Receiver<Answer>,
    /// When the last unit came, or has answered.
    heard: Instant,
    /// The log has been told that no unit has answered since.
    is_told: bool,
    failed: Option<io::Error>,
    hangs: Duration,
}

impl Syncing {
    /// With no media so far.
    pub fn new(keeper: &Arc<Keeper>) -> Syncing {
        let (tell, answers) = mpsc::channel();
        Syncing {
            keeper: Arc::clone(keeper),
            waiting: BTreeMap::new(),
            unsaved: Vec::new(),
            tried: Instant::now(),
            on_their_way: 0,
            begun: 0,
            work: Arc::default(),
            tell,
            answers,
            heard: Instant::now(),
            is_told: false,
            failed: None,
            hangs: HANGS,
        }
    }

    /// Begins with more units. Each is let go of when its medium has answered.
    pub fn begin(&mut self, units: Vec<Arc<Unit>>) {
        for unit in units {
            self.begun += 1;
            let serial = unit.logical.params().serial.clone();
            self.waiting.insert(self.begun, Waiting { serial, unit: Arc::downgrade(&unit) });
            self.work.lock().left.push_back((self.begun, unit));
        }
        (self.heard, self.is_told) = (Instant::now(), false);
        self.staff();
    }

    /// Whether all have answered, and nothing is on its way to be saved.
    pub fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.on_their_way == 0
    }

    /// Has the keeper try again what it could not save, now and then.
    pub fn save_again(&mut self) {
        if self.tried.elapsed() >= AGAIN {
            self.save_now();
        }
    }

    fn save_now(&mut self) {
        self.tried = Instant::now();
        for one in mem::take(&mut self.unsaved) {
            self.on_their_way += 1;
            one.save(&self.keeper, self.tell.clone());
        }
    }

    /// Takes an answer, waiting `rest` for one; false: there was none. Failures, and a long silence, are said in the log.
    pub fn turn(&mut self, rest: Duration) -> bool {
        // The channel never hangs up: this has a sender of its own.
        let answer = self.answers.recv_timeout(rest);
        self.staff();
        match answer {
            Ok(Answer::Synced(number, synced, unsaved)) => {
                (self.heard, self.is_told) = (Instant::now(), false);
                self.answered(number, synced, unsaved);
                return true;
            }
            Ok(Answer::Saved(unsaved)) => {
                self.on_their_way -= 1;
                self.keep(unsaved);
                return true;
            }
            Err(_) => {}
        }
        if !self.is_told && !self.waiting.is_empty() && self.heard.elapsed() >= self.hangs {
            self.is_told = true;
            // Units that a thread is at come first; others wait for them.
            let serials: Vec<&str> = self.waiting.values().map(|one| &*one.serial).take(SYNC_THREADS).collect();
            tracing::warn!(
                event = "medium-hangs",
                ?serials,
                "what was written is not flushed yet: the medium does not answer"
            );
        }
        false
    }

    /// Waits until all have answered, but not for longer than `patience` for the next one.
    ///
    /// # Errors
    /// What the first that failed said; a timeout: one has not answered, nor perhaps others that waited for it. What had failed
    /// before, the log was told then: of that only what is not saved yet is a failure of the end.
    pub fn end(mut self, patience: Duration) -> io::Result<()> {
        (self.heard, self.failed) = (Instant::now(), None);
        self.save_now();
        while !self.is_over() {
            let silence = self.heard.elapsed();
            if silence >= patience {
                self.give_up("the medium does not answer, and is not waited for");
                break;
            }
            if self.work.lock().hire_the_first() {
                // No thread is to be had: it takes as long as it takes.
                sync_all(&self.work, &self.keeper, &self.tell);
            }
            self.turn((self.hangs / LOOKS).min(patience - silence));
        }
        self.failed.map_or(Ok(()), Err)
    }

    /// Starts the threads that are needed: beside those that are silent as many again, and at least `SYNC_THREADS`, so
    /// that a few turns get past however many are silent.
    fn staff(&self) {
        while self.work.lock().hire(self.hangs) {
            let (work, keeper, tell) = (Arc::clone(&self.work), Arc::clone(&self.keeper), self.tell.clone());
            // The medium that the thread was at is silent from then on, like one that hangs.
            let end = |done: Option<()>| {
                if done.is_none() {
                    tracing::error!(
                        "a thread that has media made durable has failed: its medium counts as not flushed"
                    );
                }
            };
            let run = move || panics::contained(move || sync_all(&work, &keeper, &tell), end);
            if Builder::new().name("ringsan-sync".to_owned()).spawn(run).is_err() {
                self.work.lock().threads -= 1;
                return;
            }
        }
    }

    fn answered(&mut self, number: u64, synced: io::Result<()>, unsaved: Option<Unsaved>) {
        let Some(Waiting { serial, .. }) = self.waiting.remove(&number) else { return };
        if let Err(error) = synced {
            tracing::error!(event = "writes-lost", serial, "not flushed, what was written last may be lost: {error}");
            self.failed.get_or_insert(error);
        }
        if unsaved.is_some() {
            tracing::error!(serial, "{UNSAVED}");
        }
        self.keep(unsaved);
    }

    fn keep(&mut self, unsaved: Option<Unsaved>) {
        if let Some(unsaved) = unsaved {
            self.failed.get_or_insert(io::Error::other(UNSAVED));
            self.unsaved.push(unsaved);
        }
    }

    /// Counts the media as failed that have not answered, as if they never will.
    fn give_up(&mut self, why: &str) {
        while let Some((&number, waiting)) = self.waiting.first_key_value() {
            if let Some(unit) = waiting.unit.upgrade() {
                unit.lost_in_the_end();
                unit.remember(&self.keeper, |_| {});
            }
            self.answered(number, Err(io::Error::new(io::ErrorKind::TimedOut, why)), None);
        }
        if mem::take(&mut self.on_their_way) > 0 {
            self.failed.get_or_insert(io::Error::other(UNSAVED));
        }
    }
}

impl Work {
    /// Counts another thread if one is needed; a medium that has not answered for as long as `hangs` has none.
    fn hire(&mut self, hangs: Duration) -> bool {
        let silent = self.at_work.values().filter(|since| since.elapsed() >= hangs).count();
        let about_to_begin = self.threads.saturating_sub(self.at_work.len());
        let is_needed = about_to_begin < self.left.len() && self.threads - silent < SYNC_THREADS.max(silent);
        self.threads += usize::from(is_needed);
        is_needed
    }

    /// Counts the caller as a thread, if there is none and something is left.
    fn hire_the_first(&mut self) -> bool {
        let is_needed = self.threads == 0 && !self.left.is_empty();
        self.threads += usize::from(is_needed);
        is_needed
    }

    /// What a thread does next; `None`: it ends.
    fn next(&mut self) -> Option<(u64, Arc<Unit>)> {
        let next = self.left.pop_front();
        match &next {
            Some((number, _)) => drop(self.at_work.insert(*number, Instant::now())),
            None => self.threads -= 1,
        }
        next
    }
}

/// What each thread does: makes units durable until none are left.
fn sync_all(work: &Mutex<Work>, keeper: &Keeper, tell: &Sender<Answer>) {
    loop {
        let Some((number, unit)) = work.lock().next() else { return };
        let synced = unit.medium.sync();
        if synced.is_err() {
            unit.lost_in_the_end();
        }
        let (tell, unsaved) = (tell.clone(), Unsaved::of(&unit));
        // If nobody asks any more, the process ends.
        unit.remember(keeper, move |is_saved| {
            drop(tell.send(Answer::Synced(number, synced, (!is_saved).then_some(unsaved))));
        });
        work.lock().at_work.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{FaultAction, FaultPlan, FaultRule, Medium, OpClass};
    use crate::model::MediumFault;

    fn unit(plan: FaultPlan) -> Arc<Unit> {
        let mut unit = Unit::none(1);
        unit.medium = Arc::new(Medium::with_faults(unit.medium, plan));
        Arc::new(unit)
    }

    fn one(action: FaultAction) -> FaultPlan {
        FaultPlan::new().rule(FaultRule::new(action).on(OpClass::Sync).times(1))
    }

    fn keeper() -> Arc<Keeper> {
        Arc::new(Keeper::start().unwrap().0)
    }

    fn of(units: Vec<Arc<Unit>>) -> Syncing {
        let mut syncing = Syncing::new(&keeper());
        syncing.begin(units);
        syncing
    }

    #[test]
    fn a_medium_that_hangs_keeps_neither_the_end_nor_others() {
        let patience = Duration::from_millis(50);
        let hung = || unit(one(FaultAction::Hang));
        // That it has met its failure says that it was synced.
        let other = unit(one(FaultAction::Fail(MediumFault::Write)));
        let slow = unit(one(FaultAction::Delay(patience / 2)));
        let error = of(vec![hung(), slow, Arc::clone(&other)]).end(patience).unwrap_err();
        assert_eq!(error.to_string(), MediumFault::Write.to_string(), "the first one");
        other.medium.sync().unwrap();
        let error = of(vec![hung()]).end(patience).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        of(vec![other]).end(patience).unwrap();
    }

    /// A mount that is dead, with more units than there are threads, and a disk that is well.
    #[test]
    fn media_that_hang_do_not_take_all_threads() {
        let hung = (0..5 * SYNC_THREADS).map(|_| unit(one(FaultAction::Hang)));
        let other = unit(one(FaultAction::Fail(MediumFault::Write)));
        let units = hung.chain([Arc::clone(&other)]).collect();
        let mut syncing = of(units);
        assert_eq!(syncing.work.lock().threads, SYNC_THREADS);
        syncing.hangs = Duration::from_millis(20);
        let begin = Instant::now();
        while !syncing.turn(Duration::from_millis(5)) {
            assert!(begin.elapsed() < Duration::from_secs(20), "its turn does not come");
        }
        assert_eq!(syncing.failed.map(|error| error.to_string()), Some(MediumFault::Write.to_string()));
        other.medium.sync().unwrap();
    }

    /// It was removed long ago, and the log has said so.
    #[test]
    fn what_has_failed_before_the_end_is_no_failure_of_the_end() {
        let patience = Duration::from_secs(20);
        let mut syncing = of(vec![unit(one(FaultAction::Fail(MediumFault::Write)))]);
        assert!(syncing.turn(patience) && syncing.is_over());
        syncing.begin(vec![unit(FaultPlan::new())]);
        syncing.end(patience).unwrap();
    }
}
