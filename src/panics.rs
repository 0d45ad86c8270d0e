//! What a panic takes with it.
//!
//! By itself the process: nobody knows what a core, or the thread that saves state, has left half done, and what was made
//! durable is there at the next start. But what works beside the data path, and owns what it works on, is [`contained`]: a
//! panic there is said, whoever waits is told, and the thread stands still for ever with all that it has. It does not go
//! on and nothing of it is dropped, for that is what is half done.
//!
//! What stands still must not hold what others need. Data that cores and contained threads share is in a [`Mutex`] of this
//! module: a panic while one is held ends the process, as it would if a core had it. Else everybody would wait for it.
//!
//! This takes the panic hook of [`crate::log::Spool::take_panics`]. Without it a panic unwinds (tests), and those who wait
//! are told then.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::PoisonError;

thread_local! {
    /// What is called if this thread panics: it is contained.
    static LOST: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    /// How many of our mutexes this thread has locked.
    static HELD: Cell<usize> = const { Cell::new(0) };
    /// What this thread has to say about a panic of its own.
    static WITNESS: Cell<Option<fn(&mut String)>> = const { Cell::new(None) };
}

/// Does `work`, then calls `end` with what came of it. If it panics, `end` is called with `None`: on the thread that has
/// panicked, which may hold any lock that only it takes, and does nothing else any more.
pub fn contained<T: 'static>(work: impl FnOnce() -> T, end: impl FnOnce(Option<T>) + 'static) {
    let end = Rc::new(Cell::new(Some(end)));
    let lost = Rc::clone(&end);
    let armed = Armed::new(Box::new(move || lost.take().into_iter().for_each(|end| end(None))));
    let done = work();
    drop(armed);
    if let Some(end) = end.take() {
        end(Some(done));
    }
}

/// While it lives, this thread is contained.
struct Armed;

impl Armed {
    fn new(lost: Box<dyn FnOnce()>) -> Armed {
        LOST.set(Some(lost));
        Armed
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let lost = LOST.take();
        if let Some(lost) = lost.filter(|_| std::thread::panicking()) {
            lost();
        }
    }
}

/// For the panic hook, when everything was said: comes back if the panic is to end the process.
pub fn stand_still_if_contained() {
    if HELD.get() > 0 {
        return;
    }
    let Some(lost) = LOST.try_with(RefCell::take).ok().flatten() else { return };
    lost();
    loop {
        std::thread::park();
    }
}

/// Has `witness` asked if this thread panics: it writes lines to be said after the panic itself.
pub fn call_witness(witness: fn(&mut String)) {
    WITNESS.set(Some(witness));
}

/// For the panic hook: what this thread's witness says.
pub fn hear_witness(text: &mut String) {
    // Taken: if it panics, it is not asked about that.
    if let Some(witness) = WITNESS.take() {
        witness(text);
    }
}

/// A mutex of what cores need, too. It cannot be poisoned: who panics with it ends the process.
#[derive(Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Not locked.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(std::sync::Mutex::new(value))
    }

    /// Locks it. The lock is for a moment: nothing that may block is done with it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { guard, _held: Held::new() }
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// Unlocks it when dropped.
pub struct MutexGuard<'a, T> {
    guard: std::sync::MutexGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Counts one mutex that is locked.
struct Held;

impl Held {
    fn new() -> Held {
        HELD.set(HELD.get() + 1);
        Held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(HELD.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn who_waits_is_told_in_either_case() {
        let (tell, told) = mpsc::channel();
        let run = |work: fn() -> u32| {
            let tell = tell.clone();
            std::thread::spawn(move || contained(work, move |done| tell.send(done).unwrap())).join()
        };
        assert!(run(|| 7).is_ok());
        assert!(run(|| panic!("for a test")).is_err());
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Some(7), None]);
    }

    #[test]
    fn a_panic_after_what_was_contained_is_not() {
        contained(|| (), |_| ());
        assert!(LOST.take().is_none());
        let mutex = Mutex::new(1);
        let first = mutex.lock();
        assert_eq!(HELD.get(), 1);
        drop(first);
        assert_eq!((HELD.get(), *mutex.lock()), (0, 1));
    }
}
