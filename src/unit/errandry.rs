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

/// Makes a thread for each unit that has errands, until nobody can send more.
fn run(units: &Receiver<Arc<Unit>>) {
    while let Ok(unit) = units.recv() {
        let errands = Arc::clone(&unit);
        let made = Builder::new().name("ringsan-errand".to_owned()).spawn(move || {
            while let Some(errand) = unit.errands.pop() {
                let (failed, own) = (failed(&unit), Arc::clone(&unit));
                errand.run(failed, move || own.errands.fail(failed));
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
}
