//! The thread that stores what has to be stored before a command is answered.
//!
//! One for the process: such commands are rare, and what they wait for is one file system. It takes them in the order in
//! which the cores gave them. It writes, and no more: nothing that a core needs is ever locked by a thread that has to wait
//! for a processor behind others. Those others are cores and initiators, so it has a lower priority.

#![allow(unsafe_code, reason = "nice(2)")]

use super::UnitFile;
use crate::limits::{KEEPER_NICENESS, STATE_DESCRIPTORS};
use crate::scsi::Saved;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

/// What is to be stored. Of each unit there is one at a time.
struct Order {
    file: Arc<UnitFile>,
    saved: Box<Saved>,
    done: Box<dyn FnOnce(bool) + Send>,
}

/// The way to the thread. `None`: the end.
#[derive(Debug)]
pub struct Keeper(Sender<Option<Order>>);

/// The thread.
#[derive(Debug)]
pub struct KeeperThread {
    thread: JoinHandle<()>,
    /// Hangs up when the thread ends.
    ended: Receiver<()>,
}

impl KeeperThread {
    /// Waits for its end. False: it does not end within that time, for the file system that it writes to does not answer.
    ///
    /// # Errors
    /// It has panicked.
    pub fn join(self, within: Duration) -> thread::Result<bool> {
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(within) {
            return Ok(false);
        }
        self.thread.join().map(|()| true)
    }
}

impl Keeper {
    /// Starts the thread. It ends after [`Keeper::end`], or when this is dropped.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start() -> io::Result<(Keeper, KeeperThread)> {
        let (sender, orders) = mpsc::channel();
        let (ends, ended) = mpsc::sync_channel(0);
        let thread = Builder::new().name("ringsan-keeper".to_owned()).spawn(move || {
            run(&orders);
            drop::<mpsc::SyncSender<()>>(ends);
        })?;
        Ok((Keeper(sender), KeeperThread { thread, ended }))
    }

    /// Has `saved` stored in a unit's file; `done` is told whether that worked, on the keeper's thread. Does not block.
    pub fn submit(&self, file: &Arc<UnitFile>, saved: Box<Saved>, done: impl FnOnce(bool) + Send + 'static) {
        let order = Order { file: Arc::clone(file), saved, done: Box::new(done) };
        // The receiver lives as long as the thread, and that as long as this.
        let _ = self.0.send(Some(order));
    }

    /// Lets the thread end when it has done what it was given. A core that could not let go of its memory keeps this alive.
    pub fn end(&self) {
        let _ = self.0.send(None);
    }
}

/// Descriptors that are given up for those of a file that must be written.
struct Reserve(Vec<File>);

impl Reserve {
    fn new() -> Reserve {
        let mut reserve = Reserve(Vec::with_capacity(STATE_DESCRIPTORS));
        reserve.fill();
        reserve
    }

    /// As far as there are any.
    fn fill(&mut self) {
        let missing = STATE_DESCRIPTORS.saturating_sub(self.0.len());
        self.0.extend((0..missing).map_while(|_| File::open("/dev/null").ok()));
    }

    /// `work`, and once more with the reserve where it found no descriptor.
    fn with<T>(&mut self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut done = work();
        if matches!(&done, Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))) {
            self.0.clear();
            done = work();
        }
        self.fill();
        done
    }
}

/// Lets others have the processor first. Where that is refused, it works as it is.
fn yield_to_others() {
    // SAFETY: a system call without pointers. On Linux it is about the calling thread.
    unsafe { libc::nice(KEEPER_NICENESS) };
}

fn run(orders: &Receiver<Option<Order>>) {
    yield_to_others();
    let mut reserve = Reserve::new();
    while let Ok(Some(Order { file, saved, done })) = orders.recv() {
        let stored = reserve.with(|| file.save(&saved));
        match &stored {
            // Hosts that try again and again do not fill the log.
            Err(error) if !file.is_failing.swap(true, Ordering::Relaxed) => {
                tracing::error!(file = %file.path().display(), "the state of a logical unit cannot be saved: {error}");
            }
            Ok(()) if file.is_failing.swap(false, Ordering::Relaxed) => {
                tracing::info!(file = %file.path().display(), "the state of a logical unit is saved again");
            }
            _ => {}
        }
        done(stored.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its file system hangs: nobody can wait for that to end.
    #[test]
    fn one_that_is_stuck_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let submit = |keeper: &Keeper, lun, done: Box<dyn FnOnce(bool) + Send>| {
            let file = Arc::new(UnitFile::new(directory.path(), &crate::state::tests::params(lun), None));
            keeper.submit(&file, Box::default(), done);
        };
        let (keeper, thread) = Keeper::start().unwrap();
        let (release, held) = mpsc::channel::<()>();
        submit(
            &keeper,
            0,
            Box::new(move |_| {
                let _ = held.recv();
            }),
        );
        keeper.end();
        assert!(!thread.join(Duration::from_millis(50)).unwrap());
        drop(release);
        let (keeper, thread) = Keeper::start().unwrap();
        let (tell, told) = mpsc::channel();
        submit(&keeper, 1, Box::new(move |_| tell.send(()).unwrap()));
        keeper.end();
        assert!(thread.join(Duration::from_secs(20)).unwrap());
        assert_eq!(told.recv(), Ok(()), "what is on its way is done first");
    }

    #[test]
    fn the_reserve_is_given_up_for_who_finds_no_descriptor() {
        let mut reserve = Reserve::new();
        assert_eq!(reserve.0.len(), STATE_DESCRIPTORS);
        let mut tried = 0;
        let none = || io::Error::from_raw_os_error(libc::EMFILE);
        let done = reserve.with(|| {
            tried += 1;
            if tried == 1 { Err(none()) } else { Ok(()) }
        });
        assert!(done.is_ok());
        assert_eq!(reserve.0.len(), STATE_DESCRIPTORS, "filled again");
        assert!(reserve.with(|| Err::<(), _>(io::Error::from_raw_os_error(libc::EIO))).is_err());
    }
}
