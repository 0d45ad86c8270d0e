//! Errands: what a job asks of a file system, or of the kernel, by calls that may take as long as they like (GET LBA
//! STATUS). A core only sends them; threads beside the cores run them.
//!
//! Invariants: a unit has at most one thread, so a file system that hangs keeps nobody else's errands back; what waits for
//! it is bounded, and what nobody waits for any more is forgotten.

use super::job::JobEnd;
use super::world::Unit;
use crate::limits::ERRANDS_PER_UNIT;
use crate::model::MediumFault;
use crate::panics::{self, Mutex};
use crate::scsi::Outcome;
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Weak};
use std::thread::Builder;

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

    fn put(&self, end: JobEnd) {
        *self.0.lock() = Some(end);
    }
}

/// An errand that has not begun.
pub struct Errand {
    call: Call,
    answer: Weak<Answer>,
    told: Box<dyn FnOnce() + Send>,
}

impl Errand {
    /// An errand that has not begun. `told` is called, by the thread, when the answer is there.
    pub fn new(call: Call, answer: &Arc<Answer>, told: impl FnOnce() + Send + 'static) -> Errand {
        Errand { call, answer: Arc::downgrade(answer), told: Box::new(told) }
    }

    fn is_wanted(&self) -> bool {
        self.answer.strong_count() > 0
    }

    /// Runs the errand. If it panics, its command fails, and so do all errands that come after it on this unit: its
    /// thread is gone, and there are not to be more of them.
    fn run(self, unit: &Arc<Unit>) {
        let Errand { call, answer, told } = self;
        let (wanted, unit) = (answer.clone(), Arc::clone(unit));
        panics::contained(
            move || call(&|| wanted.strong_count() > 0),
            move |end| match end {
                Some(end) => Errand::end(&answer, told, end),
                None => {
                    Errand::end(&answer, told, failed(&unit));
                    unit.errands.fail(&unit);
                }
            },
        );
    }

    /// Ends the errand without beginning it.
    fn refuse(self, end: JobEnd) {
        Errand::end(&self.answer, self.told, end);
    }

    fn end(answer: &Weak<Answer>, told: Box<dyn FnOnce() + Send>, end: JobEnd) {
        if let Some(answer) = answer.upgrade() {
            answer.put(end);
            told();
        }
    }
}

/// HARDWARE ERROR, INTERNAL TARGET FAILURE.
fn failed(unit: &Unit) -> JobEnd {
    unit.logical.fault(MediumFault::Internal(libc::EFAULT), None).into()
}

#[derive(Default)]
struct Waiting {
    /// An errand of the unit has panicked.
    has_failed: bool,
    /// There is a thread, or there soon will be.
    is_under_way: bool,
    errands: VecDeque<Errand>,
}

/// The errands of one unit.
#[derive(Default)]
pub struct Errands(Mutex<Waiting>);

impl Errands {
    /// Takes one more errand of `unit`, which has these errands. True: a thread is to be made for them.
    fn push(&self, unit: &Unit, errand: Errand) -> bool {
        let mut waiting = self.0.lock();
        if waiting.has_failed {
            drop(waiting);
            errand.refuse(failed(unit));
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
    fn pop(&self) -> Option<Errand> {
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
    fn fail(&self, unit: &Unit) {
        let mut waiting = self.0.lock();
        waiting.has_failed = true;
        let left = std::mem::take(&mut waiting.errands);
        drop(waiting);
        left.into_iter().for_each(|errand| errand.refuse(failed(unit)));
    }
}

/// Makes the threads: a thread of its own, because that takes a core too long, and so that they run on any core.
pub struct Errandry(Sender<Arc<Unit>>);

impl Errandry {
    /// Starts the thread that makes the others; it ends when this is dropped.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start() -> io::Result<Errandry> {
        let (units, taken) = mpsc::channel();
        Builder::new().name("ringsan-errands".to_owned()).spawn(move || run(&taken))?;
        Ok(Errandry(units))
    }

    /// Has an errand run beside the cores; its job gets an answer in any case. Does not block.
    pub fn send(&self, unit: &Arc<Unit>, errand: Errand) {
        if unit.errands.push(unit, errand) {
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
                errand.run(&unit);
            }
        });
        if made.is_err() {
            // There is no thread to be had: what waits is refused.
            while let Some(errand) = errands.errands.pop() {
                errand.refuse(Outcome::BUSY.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a call on a thread beside the cores is answered with.
    fn outcome(errandry: &Errandry, unit: &Arc<Unit>, call: Call) -> Outcome {
        let (answer, (tell, told)) = (Arc::default(), mpsc::channel());
        errandry.send(unit, Errand::new(call, &answer, move || tell.send(()).unwrap()));
        told.recv_timeout(std::time::Duration::from_secs(20)).expect("the answer comes in any case");
        answer.take().unwrap().outcome
    }

    #[test]
    fn one_that_panics_is_answered_and_so_are_those_behind_it() {
        let (errandry, unit) = (Errandry::start().unwrap(), Arc::new(Unit::none(1)));
        assert_eq!(outcome(&errandry, &unit, Box::new(|_| Outcome::GOOD.into())), Outcome::GOOD);
        let failed = failed(&unit).outcome;
        assert_ne!(failed, Outcome::GOOD);
        assert_eq!(outcome(&errandry, &unit, Box::new(|_| panic!("for a test"))), failed);
        assert_eq!(outcome(&errandry, &unit, Box::new(|_| Outcome::GOOD.into())), failed);
        let other = Arc::new(Unit::none(1));
        assert_eq!(outcome(&errandry, &other, Box::new(|_| Outcome::GOOD.into())), Outcome::GOOD);
    }
}
