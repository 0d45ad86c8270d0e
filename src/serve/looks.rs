//! Looks at all media now and then ([`Unit::measure`]): whether their files are whole, and how much room thin units
//! have. This goes on whatever keeps the control thread.
//!
//! A file system that does not answer keeps a thread of its own, and no other unit: it is not looked at again as long as that
//! lasts, and another thread goes on with the rest.

use super::silent::Silent;
use crate::limits::SPACE_INTERVAL;
use crate::panics::{self, Mutex};
use crate::unit::Unit;
use crate::world::World;
use crate::world::load::Load;
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// What the threads share.
#[derive(Default)]
struct Work {
    /// Units that are to be looked at in this round.
    left: VecDeque<Weak<Unit>>,
    /// Units that a thread is at, since when.
    at_work: Vec<(Weak<Unit>, Instant)>,
    threads: usize,
}

/// The looks go on until this is dropped.
pub struct Looking(#[expect(dead_code, reason = "hangs up when it is dropped")] Sender<()>);

impl Looking {
    /// Begins to look at the units of `world`.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(world: Arc<Mutex<Arc<World>>>) -> io::Result<Looking> {
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            let (looks, mut silent) = (Looks::default(), Silent::default());
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(SPACE_INTERVAL) {
                let world = Arc::clone(&world.lock());
                looks.turn(world.units.all());
                silent.look(world.loads.iter().map(Load::beats));
            }
        };
        Builder::new().name("ringsan-looks".to_owned()).spawn(move || panics::contained(run, |_| ()))?;
        Ok(Looking(stop))
    }
}

/// The rounds of looks, and the threads that make them.
struct Looks {
    work: Arc<Mutex<Work>>,
    /// A thread that has been at one unit for so long does not count: another one goes on with the rest.
    hangs: Duration,
}

impl Default for Looks {
    fn default() -> Looks {
        Looks { work: Arc::default(), hangs: SPACE_INTERVAL / 2 }
    }
}

impl Looks {
    /// Begins with a round if the last one is over, and sees to it that it goes on. Does not block.
    fn turn(&self, units: &[Arc<Unit>]) {
        if !self.work.lock().hire(units, self.hangs) {
            return;
        }
        let work = Arc::clone(&self.work);
        let run = move || panics::contained(move || look_at_all(&work), |_| ());
        if Builder::new().name("ringsan-look".to_owned()).spawn(run).is_err() {
            self.work.lock().threads -= 1;
        }
    }
}

impl Work {
    /// Counts another thread if one is needed.
    fn hire(&mut self, units: &[Arc<Unit>], hangs: Duration) -> bool {
        if self.left.is_empty() {
            let is_out = |unit: &Weak<Unit>| self.at_work.iter().any(|(out, _)| out.ptr_eq(unit));
            self.left = units.iter().map(Arc::downgrade).filter(|unit| !is_out(unit)).collect();
        }
        let silent = self.at_work.iter().filter(|(_, since)| since.elapsed() >= hangs).count();
        let is_needed = !self.left.is_empty() && self.threads <= silent;
        self.threads += usize::from(is_needed);
        is_needed
    }

    /// What a thread does next; `None`: it ends.
    fn next(&mut self) -> Option<Arc<Unit>> {
        while let Some(next) = self.left.pop_front() {
            if let Some(unit) = next.upgrade() {
                self.at_work.push((next, Instant::now()));
                return Some(unit);
            }
        }
        self.threads -= 1;
        None
    }
}

/// What each thread does: looks at units until none are left.
fn look_at_all(work: &Mutex<Work>) {
    loop {
        let Some(unit) = work.lock().next() else { return };
        let looked_at = Arc::downgrade(&unit);
        unit.measure();
        // If nobody else has the unit any more, this closes its file, which may take as long.
        drop(unit);
        work.lock().at_work.retain(|(unit, _)| !unit.ptr_eq(&looked_at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{FaultAction, FaultPlan, FaultRule, Medium, OpClass};

    fn that_hangs(after: u64) -> Arc<Unit> {
        let mut unit = Unit::none(1);
        let rule = FaultRule::new(FaultAction::Hang).on(OpClass::Look).after(after);
        unit.medium = Arc::new(Medium::with_faults(unit.medium, FaultPlan::new().rule(rule)));
        Arc::new(unit)
    }

    /// A mount that is dead, and units elsewhere: that each of these hangs in the end tells that they were looked at.
    #[test]
    fn media_that_hang_keep_no_other_from_being_looked_at_again_and_again() {
        let units: Vec<_> = [0, 0, 3, 0, 5].map(that_hangs).into();
        let looks = Looks { hangs: Duration::from_millis(2), ..Looks::default() };
        let begin = Instant::now();
        while looks.work.lock().at_work.len() < units.len() {
            assert!(begin.elapsed() < Duration::from_secs(60), "one is not looked at");
            looks.turn(&units);
            std::thread::sleep(Duration::from_millis(1));
        }
        // And no thread is made for nothing.
        std::thread::sleep(Duration::from_millis(20));
        looks.turn(&units);
        assert!(looks.work.lock().threads <= units.len() + 1);
    }
}
