//! Errands: what a job asks of a file system, or of the kernel, by calls that may take as long as they like (GET LBA
//! STATUS). A core only sends them; threads beside the cores run them.
//!
//! Invariants: a unit has at most one thread, so a file system that hangs keeps nobody else's errands back; what waits for
//! it is bounded, and what nobody waits for any more is forgotten.

use super::job::JobEnd;
use super::world::Unit;
use crate::limits::ERRANDS_PER_UNIT;
use crate::scsi::Outcome;
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::Builder;

/// What is done on such a thread. It asks now and then whether anybody still wants to know.
pub type Call = Box<dyn FnOnce(&dyn Fn() -> bool) -> JobEnd + Send>;

/// Where the end of an errand is put. Its job alone keeps it: who has dropped it does not wait.
#[derive(Default)]
pub struct Answer(Mutex<Option<JobEnd>>);

impl Answer {
    /// The end, if it is there.
    pub fn take(&self) -> Option<JobEnd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, end: JobEnd) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }
}

/// An errand that has not begun.
pub struct Errand {
    call: Call,
    answer: Weak<Answer>,
    told: Box<dyn FnOnce() + Send>,
}

impl Errand {
    /// `told` is called, by the thread, when the answer is there.
    pub fn new(call: Call, answer: &Arc<Answer>, told: impl FnOnce() + Send + 'static) -> Errand {
        Errand { call, answer: Arc::downgrade(answer), told: Box::new(told) }
    }

    fn is_wanted(&self) -> bool {
        self.answer.strong_count() > 0
    }

    fn run(self) {
        let answer = self.answer.clone();
        let end = (self.call)(&|| answer.strong_count() > 0);
        Errand::end(&self.answer, self.told, end);
    }

    /// It is not begun: there are too many.
    fn refuse(self) {
        Errand::end(&self.answer, self.told, Outcome::BUSY.into());
    }

    fn end(answer: &Weak<Answer>, told: Box<dyn FnOnce() + Send>, end: JobEnd) {
        if let Some(answer) = answer.upgrade() {
            answer.put(end);
            told();
        }
    }
}

#[derive(Default)]
struct Waiting {
    /// There is a thread, or there soon will be.
    is_under_way: bool,
    errands: VecDeque<Errand>,
}

/// Those of one unit.
#[derive(Default)]
pub struct Errands(Mutex<Waiting>);

impl Errands {
    /// Takes one more. Whether a thread is to be made for them.
    fn push(&self, errand: Errand) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.errands.len() >= ERRANDS_PER_UNIT {
            waiting.errands.retain(Errand::is_wanted);
        }
        if waiting.errands.len() >= ERRANDS_PER_UNIT {
            drop(waiting);
            errand.refuse();
            return false;
        }
        waiting.errands.push_back(errand);
        !std::mem::replace(&mut waiting.is_under_way, true)
    }

    /// The next one for the thread; `None`: it is to end.
    fn pop(&self) -> Option<Errand> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(errand) = waiting.errands.pop_front() {
            if errand.is_wanted() {
                return Some(errand);
            }
        }
        waiting.is_under_way = false;
        None
    }
}

/// Makes the threads: a thread of its own, because that takes a core too long, and so that they run on any core.
pub struct Errandry(Sender<Arc<Unit>>);

impl Errandry {
    /// Ends when this is dropped.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start() -> io::Result<Errandry> {
        let (units, taken) = mpsc::channel();
        Builder::new().name("ringsan-errands".to_owned()).spawn(move || run(&taken))?;
        Ok(Errandry(units))
    }

    /// Has it run beside the cores; its answer comes in any case. Does not block.
    pub fn send(&self, unit: &Arc<Unit>, errand: Errand) {
        if unit.errands.push(errand) {
            // The receiver lives as long as this.
            let _ = self.0.send(Arc::clone(unit));
        }
    }
}

fn run(units: &Receiver<Arc<Unit>>) {
    while let Ok(unit) = units.recv() {
        let errands = Arc::clone(&unit);
        let made = Builder::new().name("ringsan-errand".to_owned()).spawn(move || {
            while let Some(errand) = unit.errands.pop() {
                errand.run();
            }
        });
        if made.is_err() {
            // No thread to be had.
            while let Some(errand) = errands.errands.pop() {
                errand.refuse();
            }
        }
    }
}
