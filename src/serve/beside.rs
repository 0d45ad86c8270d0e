//! What a reload asks of file systems, and does there: on a thread of its own, for one that hangs keeps whoever asks it for ever.
//!
//! Invariants: the control thread waits for an answer no longer than it has patience. An answer that comes later is
//! dropped on the thread that made the call, which takes back what was done for it ([`crate::world::fresh`]). While a call of
//! a unit has not come back, that unit is asked nothing else. A call that panics counts as a failure of the control
//! thread itself: [`Beside::has_failed`].

use crate::limits::{FILE_WAIT, MEDIUM_HANG_MS};
use crate::panics;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::Duration;

/// How long the answer to a look is waited for.
const LOOK: Duration = Duration::from_millis(MEDIUM_HANG_MS);

/// Once something has not answered, each look is waited for only this part of [`Beside::look`]: all of them together
/// are not to take for ever.
const PARTS_WHEN_SILENT: u32 = 5;

type Call = Box<dyn FnOnce() + Send>;

/// What kind of answer is waited for, which decides for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// A look at what is there, which is a matter of moments.
    Look,
    /// What may take its time: a file that is given its space, or flushed.
    Work,
}

/// Makes calls on the `ringsan-beside` thread, and waits for their answers no longer than it has patience.
pub struct Beside {
    pub look: Duration,
    pub work: Duration,
    /// Something has not answered since [`Beside::begin`].
    is_silent: bool,
    has_failed: bool,
    /// `None`: no thread was started yet, or the last one has not come back from its call.
    thread: Option<Sender<Call>>,
    /// Units, by their designators, each with a call that has not been answered: the `Weak` lives until that call comes
    /// back.
    late: Vec<([u8; 16], Weak<()>)>,
}

impl Default for Beside {
    fn default() -> Beside {
        Beside { look: LOOK, work: FILE_WAIT, is_silent: false, has_failed: false, thread: None, late: Vec::new() }
    }
}

impl Beside {
    /// From now on calls are waited for with all patience again.
    pub fn begin(&mut self) {
        self.is_silent = false;
        self.late.retain(|(_, call)| call.strong_count() > 0);
    }

    /// Whether a call has panicked.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Makes a call on the other thread. Its result; `None`: it has not come back in time, or it has panicked.
    pub fn call<T: Send + 'static>(&mut self, wait: Wait, call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.call_or_late(wait, call).ok()
    }

    /// Like [`Beside::call`], for a unit that is served. `None` also as long as an earlier call of that unit is not
    /// back.
    pub fn call_of<T: Send + 'static>(
        &mut self,
        unit: [u8; 16],
        wait: Wait,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.is_late(unit) {
            return None;
        }
        self.call_or_late(wait, call).map_err(|late| self.late.push((unit, late))).ok()
    }

    /// Whether an earlier call of that unit is not back.
    pub fn is_late(&self, unit: [u8; 16]) -> bool {
        self.late.iter().any(|(late, call)| *late == unit && call.strong_count() > 0)
    }

    /// Drops `what` on the other thread: it belongs to a unit that is served, or was to be.
    pub fn drop_of(&mut self, unit: [u8; 16], what: impl Send + 'static) {
        if let Err(late) = self.call_or_late(Wait::Look, move || drop(what)) {
            self.late.push((unit, late));
        }
    }

    /// The result of a call. The error: what lives until the call has come back.
    fn call_or_late<T: Send + 'static>(
        &mut self,
        wait: Wait,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Weak<()>> {
        let out = Arc::new(());
        let late = Arc::downgrade(&out);
        // A channel without room: an answer that nobody takes stays with the thread that gives it.
        let (tell, told) = mpsc::sync_channel(0);
        let lost = tell.clone();
        let work = move || {
            // An answer that is not taken is dropped on this thread, and `out` after it.
            drop(tell.send(Some(call())));
            drop(out);
        };
        let end = move |done: Option<()>| {
            if done.is_none() {
                let _ = lost.send(None);
            }
        };
        self.send(Box::new(move || panics::contained(work, end)));
        let patience = match wait {
            Wait::Look if self.is_silent => self.look / PARTS_WHEN_SILENT,
            Wait::Look => self.look,
            Wait::Work => self.work,
        };
        let answer = told.recv_timeout(patience);
        if let Ok(Some(answer)) = answer {
            return Ok(answer);
        }
        self.has_failed |= answer.is_ok();
        self.is_silent = true;
        // The thread ends when its call comes back, for nothing more is sent to it.
        self.thread = None;
        Err(late)
    }

    fn send(&mut self, call: Call) {
        let call = match &self.thread {
            Some(thread) => match thread.send(call) {
                Ok(()) => return,
                Err(mpsc::SendError(call)) => call,
            },
            None => call,
        };
        let (thread, calls) = mpsc::channel::<Call>();
        let run = move || calls.iter().for_each(|call| call());
        // Without a thread the call is dropped, and nobody answers.
        if Builder::new().name("ringsan-beside".to_owned()).spawn(run).is_ok() && thread.send(call).is_ok() {
            self.thread = Some(thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Receiver;

    /// Tells when it is dropped, and whether the call that it came from is still out then.
    struct Dropped(Sender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn what_comes_late_is_dropped_where_it_came_and_its_unit_is_not_asked_meanwhile() {
        let mut beside = Beside { work: Duration::from_millis(20), ..Beside::default() };
        let (one, other) = ([1; 16], [2; 16]);
        let (release, hangs): (_, Receiver<()>) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let late = beside.call_of(one, Wait::Work, move || {
            let _ = hangs.recv();
            Dropped(tell)
        });
        assert!(late.is_none());
        (beside.look, beside.work) = (Duration::from_secs(1000), Duration::from_secs(200));
        assert_eq!(beside.call_of(one, Wait::Look, || panic!("it is asked nothing else")), None::<()>);
        assert_eq!(beside.call_of(other, Wait::Look, || 7), Some(7));
        assert_eq!(beside.call(Wait::Work, || 8), Some(8));
        drop(release);
        told.recv_timeout(Duration::from_secs(20)).expect("it is dropped");
        while !beside.late.is_empty() {
            beside.begin();
            std::thread::yield_now();
        }
        assert_eq!(beside.call_of(one, Wait::Look, || 9), Some(9));
    }
}
