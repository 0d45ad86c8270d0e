//! The clock of a core, for what is bounded by time within a turn.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A clock to look at: the machine's, or one of a simulator, which goes on with each look.
#[derive(Debug, Clone)]
pub struct Watch(Option<Rc<Cell<Instant>>>);

/// What a look at a simulated clock takes.
const LOOK: Duration = Duration::from_micros(1);

impl Watch {
    /// The machine's.
    pub const MACHINE: Watch = Watch(None);

    /// One that stands at `now`.
    pub fn at(now: Instant) -> Watch {
        Watch(Some(Rc::new(Cell::new(now))))
    }

    /// What time it is.
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(time) => {
                time.set(time.get() + LOOK);
                time.get()
            }
        }
    }

    /// Has a simulated clock, and all its clones, go on to `now`, if it is behind.
    pub fn pass(&self, now: Instant) {
        if let Some(time) = &self.0 {
            time.set(time.get().max(now));
        }
    }
}
