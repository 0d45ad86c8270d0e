//! What the executor's calls have set off in the fabric, until the core acts on it (`shard/owing.rs`).

use crate::model::SeatIx;
use crate::tasks::sink::Preempting;

/// What the executor's calls have set off in a session, or for it.
pub enum Owed {
    /// The session has events.
    Events(SeatIx),
    /// It may read the next piece of what it is to send once more.
    Reread(SeatIx),
    /// Tasks are to be aborted, then a command is answered.
    Preempt(Box<Preempting>),
}

/// What is owed to the sessions of a core, in order.
#[derive(Default)]
pub struct Dues {
    /// What was set off and not acted on.
    all: Vec<Owed>,
    /// It is being acted on: what comes meanwhile has its turn then.
    is_settling: bool,
}

impl Dues {
    /// Something was set off.
    #[inline]
    pub fn push(&mut self, owed: Owed) {
        self.all.push(owed);
    }

    /// Whether nothing is owed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether something is owed that nobody acts on yet. Whoever does says so ([`Dues::set_settling`]).
    #[inline]
    pub fn are_due(&self) -> bool {
        !self.all.is_empty() && !self.is_settling
    }

    /// Somebody acts on what is owed, or is done with that.
    pub fn set_settling(&mut self, is_settling: bool) {
        self.is_settling = is_settling;
    }

    /// All that is owed.
    pub fn take(&mut self) -> Vec<Owed> {
        std::mem::take(&mut self.all)
    }

    /// Memory of what was taken, to be used again.
    pub fn give_back(&mut self, memory: Vec<Owed>) {
        if self.all.is_empty() {
            self.all = memory;
        }
    }
}
