//! The thread that stores what has to be stored before a command is answered.
//!
//! One for the process: such commands are rare, and what they wait for is one file system. It takes them in the order in
//! which the cores gave them. It writes, and no more: nothing that a core needs is ever locked by a thread that has to wait
//! for a processor behind others. Those others are cores and initiators, so it has a lower priority.

#![allow(unsafe_code, reason = "nice(2)")]

use super::unit_file::UnitFile;
use crate::limits::{KEEPER_NICENESS, STATE_DESCRIPTORS};
use crate::noise::Noise;
use crate::scsi::Saved;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

/// What is to be stored. Of each unit there is one at a time.
struct Order {
    file: Arc<UnitFile>,
    saved: Box<Saved>,
    done: Box<dyn FnOnce(bool) + Send>,
}

impl Order {
    /// Stores it. `say` is told what that has come to.
    fn carry_out(self, reserve: &mut Reserve, say: impl FnOnce(&UnitFile, Option<&io::Error>)) {
        let Order { file, saved, done } = self;
        let stored = reserve.with(|| file.save(&saved));
        say(&file, stored.as_ref().err());
        done(stored.is_ok());
    }
}

/// The way to the thread. `None`: the end.
#[derive(Debug)]
pub struct Keeper {
    orders: Sender<Option<Order>>,
    has_given_up: Arc<AtomicBool>,
}

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
        let has_given_up = Arc::new(AtomicBool::new(false));
        let reserve = Reserve::new(Arc::clone(&has_given_up));
        let thread = Builder::new().name("ringsan-keeper".to_owned()).spawn(move || {
            run(&orders, reserve);
            drop::<mpsc::SyncSender<()>>(ends);
        })?;
        Ok((Keeper { orders: sender, has_given_up }, KeeperThread { thread, ended }))
    }

    /// Has `saved` stored in a unit's file; `done` is told whether that worked, on the keeper's thread. Does not block.
    pub fn submit(&self, file: &Arc<UnitFile>, saved: Box<Saved>, done: impl FnOnce(bool) + Send + 'static) {
        let order = Order { file: Arc::clone(file), saved, done: Box::new(done) };
        // The receiver lives as long as the thread, and that as long as this.
        let _ = self.orders.send(Some(order));
    }

    /// Whether it has given up descriptors to store something: whoever takes one now, takes it from that.
    pub fn needs_descriptors(&self) -> bool {
        self.has_given_up.load(Ordering::Relaxed)
    }

    /// Lets the thread end when it has done what it was given. A core that could not let go of its memory keeps this alive.
    pub fn end(&self) {
        let _ = self.orders.send(None);
    }
}

/// Descriptors that are given up for those of a file that must be written.
struct Reserve {
    files: Vec<File>,
    is_given_up: Arc<AtomicBool>,
}

impl Reserve {
    fn new(is_given_up: Arc<AtomicBool>) -> Reserve {
        let mut reserve = Reserve { files: Vec::with_capacity(STATE_DESCRIPTORS), is_given_up };
        reserve.fill();
        reserve
    }

    /// As far as there are any.
    fn fill(&mut self) {
        let missing = STATE_DESCRIPTORS.saturating_sub(self.files.len());
        self.files.extend((0..missing).map_while(|_| File::open("/dev/null").ok()));
    }

    /// `work`, and once more with the reserve where it found no descriptor.
    fn with<T>(&mut self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut done = work();
        if matches!(&done, Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))) {
            self.is_given_up.store(true, Ordering::Relaxed);
            self.files.clear();
            done = work();
        }
        self.fill();
        self.is_given_up.store(false, Ordering::Relaxed);
        done
    }
}

/// Lets others have the processor first. Where that is refused, it works as it is.
fn yield_to_others() {
    // SAFETY: a system call without pointers. On Linux it is about the calling thread.
    unsafe { libc::nice(KEEPER_NICENESS) };
}

fn run(orders: &Receiver<Option<Order>>, mut reserve: Reserve) {
    yield_to_others();
    let (begin, mut noise) = (Instant::now(), Noise::default());
    while let Ok(Some(order)) = orders.recv() {
        order.carry_out(&mut reserve, |file, error| say(&mut noise, begin.elapsed().as_millis() as u64, file, error));
    }
}

/// Says what an attempt to save has come to, if the log says something else. Hosts can have it fail and work again and again,
/// with many units: what is left out is said when there may be a line, if it is still so.
fn say(noise: &mut Noise, now_ms: u64, file: &UnitFile, error: Option<&io::Error>) {
    if file.is_failing.load(Ordering::Relaxed) == error.is_some() {
        return;
    }
    let Some(left_out) = noise.line(now_ms) else { return };
    file.is_failing.store(error.is_some(), Ordering::Relaxed);
    let path = file.path().display();
    match error {
        Some(error) => {
            tracing::error!(event = "state-unsaved", file = %path, left_out, "the state of a logical unit cannot be saved: {error}")
        }
        None => {
            tracing::info!(event = "state-saved", file = %path, left_out, "the state of a logical unit is saved again")
        }
    }
}

/// What the thread is otherwise: whoever has this says when the next order is carried out, on its own thread.
pub(crate) struct KeeperByHand {
    orders: Receiver<Option<Order>>,
    reserve: Reserve,
    noise: Noise,
    waiting: std::collections::VecDeque<Order>,
}

impl KeeperByHand {
    /// How many orders there are.
    pub(crate) fn waiting(&mut self) -> usize {
        self.waiting.extend(self.orders.try_iter().flatten());
        self.waiting.len()
    }

    /// Carries out the order that has waited longest; false: there is none.
    pub(crate) fn next(&mut self, now_ms: u64) -> bool {
        self.waiting();
        let Some(order) = self.waiting.pop_front() else { return false };
        order.carry_out(&mut self.reserve, |file, error| say(&mut self.noise, now_ms, file, error));
        true
    }

    /// That order comes to nothing, as if the file system had refused it; false: there is none.
    #[cfg(test)]
    pub(crate) fn refuse(&mut self) -> bool {
        self.waiting();
        let Some(order) = self.waiting.pop_front() else { return false };
        (order.done)(false);
        true
    }
}

impl Keeper {
    /// One without a thread.
    pub(crate) fn by_hand() -> (Keeper, KeeperByHand) {
        let (sender, orders) = mpsc::channel();
        let has_given_up = Arc::new(AtomicBool::new(false));
        let reserve = Reserve::new(Arc::clone(&has_given_up));
        let by_hand = KeeperByHand { orders, reserve, noise: Noise::default(), waiting: Default::default() };
        (Keeper { orders: sender, has_given_up }, by_hand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PEER_LINES_PER_SECOND;
    use crate::noise::tests::said;

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
    fn one_by_hand_does_an_order_when_it_is_told_to() {
        let directory = tempfile::tempdir().unwrap();
        let (keeper, mut by_hand) = Keeper::by_hand();
        assert!(!by_hand.next(0) && !by_hand.refuse());
        let (tell, told) = mpsc::channel();
        for lun in 0..3 {
            let file = Arc::new(UnitFile::new(directory.path(), &crate::state::tests::params(lun), None));
            let tell = tell.clone();
            keeper.submit(&file, Box::default(), move |done| tell.send((lun, done)).unwrap());
        }
        assert!(by_hand.waiting() == 3 && told.try_recv().is_err());
        assert!(by_hand.next(0) && by_hand.refuse() && by_hand.next(0) && !by_hand.next(0));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(0, true), (1, false), (2, true)]);
    }

    #[test]
    fn a_store_that_fails_now_and_then_is_a_few_lines() {
        let directory = tempfile::tempdir().unwrap();
        let files = [0, 1].map(|lun| UnitFile::new(directory.path(), &crate::state::tests::params(lun), None));
        let mut noise = Noise::default();
        let error = io::Error::from_raw_os_error(libc::ENOSPC);
        let mut attempt = |now_ms, file: usize, error| say(&mut noise, now_ms, &files[file], error);
        let lines = said(|| {
            for _ in 0..500 {
                attempt(5_000, 0, Some(&error));
                attempt(5_000, 0, None);
            }
            attempt(5_999, 1, Some(&error));
        });
        assert_eq!(lines.len(), PEER_LINES_PER_SECOND as usize);
        // What was not said of one that fails is said with its next failure, and once.
        let lines = said(|| (6_000..6_010).for_each(|now_ms| attempt(now_ms, 1, Some(&error))));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("cannot be saved") && lines[0].contains("left_out=491"), "{lines:?}");
    }

    #[test]
    fn the_reserve_is_given_up_for_who_finds_no_descriptor() {
        let is_given_up = Arc::new(AtomicBool::new(false));
        let mut reserve = Reserve::new(Arc::clone(&is_given_up));
        assert_eq!(reserve.files.len(), STATE_DESCRIPTORS);
        let mut tried = 0;
        let none = || io::Error::from_raw_os_error(libc::EMFILE);
        let done = reserve.with(|| {
            tried += 1;
            assert_eq!(is_given_up.load(Ordering::Relaxed), tried == 2, "nobody else is to take them");
            if tried == 1 { Err(none()) } else { Ok(()) }
        });
        assert!(done.is_ok() && !is_given_up.load(Ordering::Relaxed));
        assert_eq!(reserve.files.len(), STATE_DESCRIPTORS, "filled again");
        assert!(reserve.with(|| Err::<(), _>(io::Error::from_raw_os_error(libc::EIO))).is_err());
    }
}
