//! An errand: what a job asks of a file system, or of the kernel, by a call that may take as long as it likes (GET LBA
//! STATUS). A core only sends it; a thread beside the cores runs it (`errandry.rs`).
//!
//! Invariants: a unit has at most one thread, so a file system that hangs keeps nobody else's errands back; what waits
//! for it is bounded, and what nobody waits for any more is forgotten.

use super::end::JobEnd;
use crate::limits::ERRANDS_PER_UNIT;
use crate::panics::{self, Mutex};
use crate::scsi::Outcome;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// What is done on such a thread. The call asks its argument now and then whether anybody still wants to know.
pub type Call = Box<dyn FnOnce(&dyn Fn() -> bool) -> JobEnd + Send>;

/// Where the end of an errand is put. Only the job of the errand keeps this alive: once the job has dropped it, nobody
/// waits.
#[derive(Default)]
pub struct Answer(Mutex<Option<JobEnd>>);

impl Answer {
    /// The end, if it is there.
    pub fn take(&self) -> Option<JobEnd> {
        self.0.lock().take()
    }

    /// Puts the end there.
    pub(super) fn put(&self, end: JobEnd) {
        *self.0.lock() = Some(end);
    }
}

/// An errand that has not begun.
pub struct Errand {
    /// What is to be called.
    pub(super) call: Call,
    /// Where the end goes, if somebody still waits for it.
    pub(super) answer: Weak<Answer>,
    /// Called when the end is there.
    pub(super) told: Box<dyn FnOnce() + Send>,
}

impl Errand {
    /// An errand that has not begun. `told` is called, by the thread, when the answer is there.
    pub fn new(call: Call, answer: &Arc<Answer>, told: impl FnOnce() + Send + 'static) -> Errand {
        Errand { call, answer: Arc::downgrade(answer), told: Box::new(told) }
    }

    /// Whether somebody still waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        self.answer.strong_count() > 0
    }

    /// Runs the errand. If it panics, its command fails, and so do all errands that come after it on this unit: its
    /// thread is gone, and there are not to be more of them. `failed`: what they are answered; `lost` sees to it.
    pub fn run(self, failed: Outcome, lost: impl FnOnce() + 'static) {
        let Errand { call, answer, told } = self;
        let wanted = answer.clone();
        panics::contained(
            move || call(&|| wanted.strong_count() > 0),
            move |end| match end {
                Some(end) => Errand::end(&answer, told, end),
                None => {
                    Errand::end(&answer, told, failed.into());
                    lost();
                }
            },
        );
    }

    /// Ends the errand without beginning it.
    pub fn refuse(self, end: JobEnd) {
        Errand::end(&self.answer, self.told, end);
    }

    /// Puts the end there, and says so, if somebody still waits.
    pub(super) fn end(answer: &Weak<Answer>, told: Box<dyn FnOnce() + Send>, end: JobEnd) {
        if let Some(answer) = answer.upgrade() {
            answer.put(end);
            told();
        }
    }
}

/// The errands of one unit that have not begun, and what becomes of them.
#[derive(Default)]
pub(super) struct Waiting {
    /// An errand of the unit has panicked.
    pub(super) has_failed: bool,
    /// There is a thread, or there soon will be.
    pub(super) is_under_way: bool,
    /// In the order in which they came.
    pub(super) errands: VecDeque<Errand>,
}

/// The errands of one unit.
#[derive(Default)]
pub struct Errands(Mutex<Waiting>);

impl Errands {
    /// Takes one more errand of the unit. True: a thread is to be made for them. `failed`: what it is answered if one of the
    /// unit has panicked.
    pub fn push(&self, failed: Outcome, errand: Errand) -> bool {
        let mut waiting = self.0.lock();
        if waiting.has_failed {
            drop(waiting);
            errand.refuse(failed.into());
            return false;
        }
        if waiting.errands.len() >= ERRANDS_PER_UNIT {
            waiting.errands.retain(Errand::is_wanted);
        }
        if waiting.errands.len() >= ERRANDS_PER_UNIT {
            drop(waiting);
            errand.refuse(Outcome::BUSY.into());
            return false;
        }
        waiting.errands.push_back(errand);
        !std::mem::replace(&mut waiting.is_under_way, true)
    }

    /// The next errand for the thread; `None`: the thread is to end.
    pub fn pop(&self) -> Option<Errand> {
        let mut waiting = self.0.lock();
        while let Some(errand) = waiting.errands.pop_front() {
            if errand.is_wanted() {
                return Some(errand);
            }
        }
        waiting.is_under_way = false;
        None
    }

    /// An errand has panicked: no more are begun.
    pub fn fail(&self, failed: Outcome) {
        let mut waiting = self.0.lock();
        waiting.has_failed = true;
        let left = std::mem::take(&mut waiting.errands);
        drop(waiting);
        left.into_iter().for_each(|errand| errand.refuse(failed.into()));
    }
}
