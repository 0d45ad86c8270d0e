//! The mailbox of a core: anybody puts something in, one core takes it out.
//!
//! Why no message waits for a bell that nobody rings: the core says that it will look (`pending`) before it looks. Whoever puts
//! a message in behind that look finds this said, and rings; what was put in before it is found by it.
//!
//! Nothing that can panic is done while the messages are locked: a control thread that stands still never holds them.
//!
//! `tests/models.rs` runs this very file under loom.

use super::bell::Bell;
use crate::atomics::{AtomicBool, Mutex, MutexGuard, Ordering};
use std::io;
use std::sync::PoisonError;

/// A mailbox: anybody puts messages in, its core takes them out.
pub struct Mailbox<M> {
    /// What was put in and not taken out.
    messages: Mutex<Vec<M>>,
    /// The bell was rung since the core last looked.
    pending: AtomicBool,
    /// Wakes the core.
    bell: Bell,
}

impl<M> Mailbox<M> {
    /// An empty one.
    ///
    /// # Errors
    /// The error of [`Bell::new`].
    pub fn new() -> io::Result<Mailbox<M>> {
        Ok(Mailbox { messages: Mutex::new(Vec::new()), pending: AtomicBool::new(false), bell: Bell::new()? })
    }

    fn messages(&self) -> MutexGuard<'_, Vec<M>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bell, to be read by the core's ring.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Puts a message in and wakes the core.
    pub fn post(&self, message: M) {
        self.messages().push(message);
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.bell.ring();
        }
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.messages().is_empty()
    }

    /// Takes everything that is there, in the order in which it was put in.
    pub fn take(&self) -> Vec<M> {
        // A swap, not a store: it has its place in the order of the other swaps, right behind the one that it reads.
        self.pending.swap(false, Ordering::AcqRel);
        std::mem::take(&mut *self.messages())
    }
}
