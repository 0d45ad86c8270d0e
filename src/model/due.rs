//! What says that a command has to be ended.
//!
//! There is one [`Due`] for a command, from when its executor begins it: who ends the command gives it away. It cannot
//! be copied, so nobody answers a command twice; and a debug build does not let it drop, so nobody forgets one. In a
//! release build it is the key of the command, and nothing is kept or looked at.

use super::TaskKey;

/// A command that has to be ended.
#[derive(Debug)]
#[must_use = "a command has to be ended"]
pub struct Due(TaskKey);

impl Due {
    /// For a command that begins, or that is to be ended before that.
    #[inline(always)]
    pub fn of(who: TaskKey) -> Due {
        Due(who)
    }

    /// The command.
    #[inline(always)]
    pub fn who(&self) -> TaskKey {
        self.0
    }

    /// The command has ended: who asked is told, or is there no more.
    #[inline(always)]
    pub fn end(self) -> TaskKey {
        let who = self.0;
        std::mem::forget(self);
        who
    }
}

#[cfg(debug_assertions)]
impl Drop for Due {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "{:?} is never ended", self.0);
    }
}

/// Where a [`Due`] is kept while its command is worked at. If a core ends, what it has there is gone with it.
#[derive(Debug, Default)]
pub struct KeptDue {
    #[cfg(debug_assertions)]
    of: Option<TaskKey>,
}

impl KeptDue {
    /// Puts it here.
    #[inline(always)]
    pub fn put(&mut self, due: Due) {
        let _who = due.end();
        #[cfg(debug_assertions)]
        assert_eq!(self.of.replace(_who), None, "{_who:?} begins");
    }

    /// Takes it, of this command.
    #[inline(always)]
    pub fn take(&mut self, who: TaskKey) -> Due {
        #[cfg(debug_assertions)]
        assert_eq!(self.of.take(), Some(who), "what ends is {who:?}");
        Due::of(who)
    }

    /// Nothing is here, as far as that is known.
    pub fn is_empty(&self) -> bool {
        #[cfg(debug_assertions)]
        return self.of.is_none();
        #[cfg(not(debug_assertions))]
        true
    }

    /// Sees to it that it is here.
    #[inline]
    pub fn ensure(&mut self, who: TaskKey) {
        if self.is_empty() {
            self.put(Due::of(who));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SeatIx, TaskId};
    use std::panic::catch_unwind;

    #[test]
    fn a_command_is_ended_once() {
        let who = TaskKey { seat: SeatIx::new(1), task: TaskId(7) };
        let mut kept = KeptDue::default();
        kept.put(Due::of(who));
        kept.ensure(who);
        assert_eq!(kept.take(who).end(), who);
        assert!(kept.is_empty());
        if cfg!(debug_assertions) {
            assert!(catch_unwind(move || kept.take(who).end()).is_err(), "it was ended before");
            assert!(catch_unwind(move || drop(Due::of(who))).is_err(), "it is forgotten");
        } else {
            assert_eq!((size_of::<KeptDue>(), size_of::<Due>()), (0, size_of::<TaskKey>()));
        }
    }
}
