//! What has to be there and is not: a fault of ours that would else be a silent `return`.
//!
//! Nearly all that a core looks up by number may rightly be gone: a connection that was closed, a session that has ended. Where
//! it may not, the look-up says so ([`Required`]). In a debug build the thread panics. Otherwise it is counted, and goes on as
//! if the thing were gone; the core says so with its next tick (`shard/tick.rs`).

use crate::atomics::{AtomicU64, Ordering};
use std::cell::Cell;
use std::fmt::{self, Display, Formatter};
use std::panic::Location;

/// How often something was missing, in this process.
static COUNT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The last thing that was missing on this thread, until that is said.
    static LATEST: Cell<Option<Missing>> = const { Cell::new(None) };
}

/// Something that was missing.
#[derive(Debug, Clone, Copy)]
pub struct Missing {
    what: &'static str,
    sought_at: &'static Location<'static>,
}

impl Display for Missing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.what, self.sought_at.file(), self.sought_at.line())
    }
}

/// `what` has to be there, and is not.
#[cold]
#[inline(never)]
#[track_caller]
pub fn missing(what: &'static str) {
    let missing = Missing { what, sought_at: Location::caller() };
    if cfg!(debug_assertions) {
        panic!("missing: {missing}");
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
    LATEST.set(Some(missing));
}

/// How often something was missing, in this process.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// The last thing that was missing on this thread, once.
pub fn take() -> Option<Missing> {
    LATEST.take()
}

/// What was looked up and has to be there.
pub trait Required {
    /// Counts it if `what` is missing.
    #[must_use]
    #[track_caller]
    fn required(self, what: &'static str) -> Self;
}

impl<T> Required for Option<T> {
    #[inline(always)]
    #[track_caller]
    fn required(self, what: &'static str) -> Option<T> {
        if self.is_none() {
            missing(what);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "missing: a thing (src/missing.rs:")]
    fn what_has_to_be_there_and_is_not_ends_a_test() {
        assert_eq!(Some(1).required("a thing"), Some(1));
        let _ = None::<u8>.required("a thing");
    }
}
