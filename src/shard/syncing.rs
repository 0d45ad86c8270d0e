//! Media are made durable beside the cores: all of them when the process ends, and those of units that leave. One that does
//! not answer keeps nobody waiting for long, nor the others.
//!
//! Giving up loses nothing: what is in the page cache, the kernel goes on writing.

use super::world::Unit;
use crate::limits::{MEDIUM_HANG_MS, SYNC_THREADS};
use crate::panics::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// How long a medium is silent before the log is told.
const HANGS: Duration = Duration::from_millis(MEDIUM_HANG_MS);

/// A unit by its place among all, and what became of it.
type Answer = (usize, io::Result<()>);

/// Units that are left to begin with.
type Left = Mutex<std::iter::Enumerate<std::vec::IntoIter<Arc<Unit>>>>;

/// Media that are being made durable, by threads of their own.
pub struct Syncing {
    /// Serial numbers of the units that have not answered.
    waiting: Vec<Option<String>>,
    answers: Receiver<Answer>,
    /// When it began, or one has answered.
    heard: Instant,
    /// The log has been told that none has answered since.
    is_told: bool,
    failed: Option<io::Error>,
}

impl Syncing {
    /// Begins. Each unit is let go of when its medium has answered.
    pub fn begin(units: Vec<Arc<Unit>>) -> Syncing {
        let waiting: Vec<_> = units.iter().map(|unit| Some(unit.logical.params().serial.clone())).collect();
        let (tell, answers) = mpsc::channel();
        let left: Arc<Left> = Arc::new(Mutex::new(units.into_iter().enumerate()));
        let make = |_: &usize| {
            let (left, tell) = (Arc::clone(&left), tell.clone());
            Builder::new().name("ringsan-sync".to_owned()).spawn(move || sync(&left, &tell)).is_ok()
        };
        if (0..waiting.len().min(SYNC_THREADS)).filter(make).count() == 0 {
            // No thread is to be had: it takes as long as it takes.
            sync(&left, &tell);
        }
        Syncing { waiting, answers, heard: Instant::now(), is_told: false, failed: None }
    }

    /// Whether all have answered.
    pub fn is_over(&self) -> bool {
        self.waiting.iter().all(Option::is_none)
    }

    /// Takes an answer, waiting `rest` for one; false: there was none. Failures, and a long silence, are said in the log.
    pub fn turn(&mut self, rest: Duration) -> bool {
        match self.answers.recv_timeout(rest) {
            Ok((number, synced)) => {
                (self.heard, self.is_told) = (Instant::now(), false);
                self.answered(number, synced);
                return true;
            }
            Err(RecvTimeoutError::Timeout) if !self.is_told && self.heard.elapsed() >= HANGS => {
                self.is_told = true;
                // Those that are at it come first; others wait for them.
                let serials: Vec<&str> = self.waiting.iter().flatten().map(String::as_str).take(SYNC_THREADS).collect();
                tracing::warn!(?serials, "what was written is not flushed yet: the medium does not answer");
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.give_up("its thread has failed"),
        }
        false
    }

    /// Waits until all have answered, but not for longer than `patience` for the next one.
    ///
    /// # Errors
    /// What the first that failed said; a timeout: one has not answered, nor perhaps others that waited for it.
    pub fn end(mut self, patience: Duration) -> io::Result<()> {
        while !self.is_over() {
            let silence = self.heard.elapsed();
            if silence >= patience {
                self.give_up("the medium does not answer, and is not waited for");
                break;
            }
            let told = if self.is_told { patience } else { HANGS.min(patience) };
            self.turn(told.saturating_sub(silence));
        }
        self.failed.map_or(Ok(()), Err)
    }

    fn answered(&mut self, number: usize, synced: io::Result<()>) {
        let serial = self.waiting.get_mut(number).and_then(Option::take);
        if let Err(error) = synced {
            tracing::error!(serial, "not flushed, what was written last may be lost: {error}");
            self.failed.get_or_insert(error);
        }
    }

    /// Those that have not answered never will.
    fn give_up(&mut self, why: &str) {
        for number in 0..self.waiting.len() {
            if self.waiting[number].is_some() {
                self.answered(number, Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
        }
    }
}

fn sync(left: &Left, tell: &Sender<Answer>) {
    loop {
        let Some((number, unit)) = left.lock().next() else { return };
        let synced = unit.medium.sync();
        drop(unit);
        if tell.send((number, synced)).is_err() {
            return;
        }
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

    #[test]
    fn a_medium_that_hangs_keeps_neither_the_end_nor_others() {
        let patience = Duration::from_millis(50);
        let hung = || unit(one(FaultAction::Hang));
        // That it has met its failure says that it was synced.
        let other = unit(one(FaultAction::Fail(MediumFault::Write)));
        let slow = unit(one(FaultAction::Delay(patience / 2)));
        let error = Syncing::begin(vec![hung(), slow, Arc::clone(&other)]).end(patience).unwrap_err();
        assert_eq!(error.to_string(), MediumFault::Write.to_string(), "the first one");
        other.medium.sync().unwrap();
        let error = Syncing::begin(vec![hung()]).end(patience).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        Syncing::begin(vec![other]).end(patience).unwrap();
    }
}
