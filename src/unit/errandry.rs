//! The threads beside the cores that run errands: one that makes threads, and one for each unit that has errands.

use super::Unit;
use super::errand::Errand;
use crate::model::MediumFault;
use crate::scsi::Outcome;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::Builder;

/// HARDWARE ERROR, INTERNAL TARGET FAILURE.
fn failed(unit: &Unit) -> Outcome {
    unit.logical.fault(MediumFault::Internal(libc::EFAULT), None)
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
        if unit.errands.push(failed(unit), errand) {
            // The receiver lives as long as this.
            let _ = self.0.send(Arc::clone(unit));
        }
    }
}

/// Runs the next errand of a unit; false: there is none.
fn run_next(unit: &Arc<Unit>) -> bool {
    let Some(errand) = unit.errands.pop() else { return false };
    let (failed, own) = (failed(unit), Arc::clone(unit));
    errand.run(failed, move || own.errands.fail(failed));
    true
}

/// Makes a thread for each unit that has errands, until nobody can send more.
fn run(units: &Receiver<Arc<Unit>>) {
    while let Ok(unit) = units.recv() {
        let errands = Arc::clone(&unit);
        let made = Builder::new().name("ringsan-errand".to_owned()).spawn(move || while run_next(&unit) {});
        if made.is_err() {
            // There is no thread to be had: what waits is refused.
            while let Some(errand) = errands.errands.pop() {
                errand.refuse(Outcome::BUSY.into());
            }
        }
    }
}

/// What the threads are otherwise: whoever has this says when the next errand of a unit is run, on its own thread.
pub(crate) struct ErrandryByHand {
    units: Receiver<Arc<Unit>>,
    /// Those that would have a thread.
    at_work: Vec<Arc<Unit>>,
}

impl ErrandryByHand {
    /// How many units have a thread: errands, or an end of it.
    pub(crate) fn waiting(&mut self) -> usize {
        self.at_work.extend(self.units.try_iter());
        self.at_work.len()
    }

    /// Runs the next errand of one of those units; false: there was none, and its thread is gone.
    pub(crate) fn next(&mut self, which: usize) -> bool {
        let runs = which < self.waiting() && run_next(&self.at_work[which]);
        if !runs && which < self.at_work.len() {
            self.at_work.remove(which);
        }
        runs
    }
}

impl Errandry {
    /// One without threads.
    pub(crate) fn by_hand() -> (Errandry, ErrandryByHand) {
        let (sender, units) = mpsc::channel();
        (Errandry(sender), ErrandryByHand { units, at_work: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::errand::Call;

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
        let failed = failed(&unit);
        assert_ne!(failed, Outcome::GOOD);
        assert_eq!(outcome(&errandry, &unit, Box::new(|_| panic!("for a test"))), failed);
        assert_eq!(outcome(&errandry, &unit, Box::new(|_| Outcome::GOOD.into())), failed);
        let other = Arc::new(Unit::none(1));
        assert_eq!(outcome(&errandry, &other, Box::new(|_| Outcome::GOOD.into())), Outcome::GOOD);
    }
    #[test]
    fn one_by_hand_runs_an_errand_when_it_is_told_to() {
        let ((errandry, mut by_hand), (tell, told)) = (Errandry::by_hand(), mpsc::channel());
        assert!(by_hand.waiting() == 0 && !by_hand.next(0));
        let (units, answer) = ([1, 2].map(|_| Arc::new(Unit::none(1))), Arc::default());
        for (unit, number) in [(0, 1), (0, 2), (1, 3)] {
            let tell = tell.clone();
            let call: Call = Box::new(|_| Outcome::GOOD.into());
            errandry.send(&units[unit], Errand::new(call, &answer, move || tell.send(number).unwrap()));
        }
        assert!(by_hand.waiting() == 2 && told.try_recv().is_err());
        assert!(by_hand.next(1) && by_hand.next(0) && by_hand.next(0));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [3, 1, 2]);
        assert!(!by_hand.next(0) && !by_hand.next(0) && by_hand.waiting() == 0, "both threads have ended");
    }
}
