//! What is said on stdout and stderr, without waiting for who reads it.
//!
//! A pipe that nobody empties, a file system that is full, a terminal that is stopped: whatever keeps a line from being
//! written keeps back a thread of its own, [`Spool`]'s, and nobody else. Who has something to say puts it into a bounded
//! queue; what finds no room there, or cannot be written, is lost, counted, and owned up to where it is missing.
//!
//! What is said through `tracing` becomes a `record` without control characters, and that a line in one of several `form`s; what
//! is left out of it can be changed while the server runs (`layer`), and there is a `bound` on all of it. What is worth an event is kept for who asks, too
//! ([`crate::events`]).

mod bound;
pub mod form;
pub mod layer;
mod pen;
mod record;

use crate::limits::{LAST_WORDS, LOG_QUEUE_BYTES, LOG_QUEUE_LINES};
use crate::panics;
use form::Form;
use pen::Pen;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::thread::Builder;
use std::time::{Duration, Instant};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// How soon what could not be taken at once is tried again: only where somebody waits for it, or by the spool's own thread.
const AGAIN: Duration = Duration::from_millis(10);

enum Order {
    /// `lost`: how many lines before it were.
    Line { text: Box<[u8]>, lost: u64 },
    /// Everything before it was written, or is lost.
    Written(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    /// Lines that were lost since that was last said.
    lost: AtomicU64,
    /// Bytes in the queue.
    bytes: AtomicUsize,
}

/// The way to the thread that writes. It ends with the last of these.
#[derive(Debug, Clone)]
pub struct Spool {
    orders: SyncSender<Order>,
    counts: Arc<Counts>,
    form: Form,
}

impl Spool {
    /// Writes to a duplicate of `to` from now on.
    ///
    /// # Errors
    /// The system has no descriptor or no thread to give.
    pub fn start(name: &str, to: impl AsFd) -> io::Result<Spool> {
        Spool::start_in(Form::Text, name, to)
    }

    /// The same, for lines of that form. Those for the journal go there, and not to `to`.
    ///
    /// # Errors
    /// The system has no descriptor, no socket or no thread to give.
    pub fn start_in(form: Form, name: &str, to: impl AsFd) -> io::Result<Spool> {
        let pen = if form == Form::Journal { Pen::to_journal()? } else { Pen::to_file(form, to)? };
        Spool::with(form, name, pen)
    }

    fn with(form: Form, name: &str, mut pen: Pen) -> io::Result<Spool> {
        let (orders, taken) = mpsc::sync_channel(LOG_QUEUE_LINES);
        let counts = Arc::new(Counts::default());
        let spool = Spool { orders, counts: Arc::clone(&counts), form };
        // Signals are for the first thread.
        let masked = SignalsMasked::new();
        Builder::new().name(name.to_owned()).spawn(move || run(&taken, &counts, &mut pen))?;
        drop(masked);
        Ok(spool)
    }

    /// Has `text` written: a line, or several. Never waits.
    pub fn say(&self, text: &[u8]) {
        if let Err(lost) = self.queue(text) {
            self.counts.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// A line is left out: it counts as lost.
    fn leave_out(&self) {
        self.counts.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Has `text`, whole lines, written as an error, and waits until it and all before it is, at most this long: for the end of the process.
    pub fn last_words(&self, text: &str, at_most: Duration) {
        let until = Instant::now() + at_most;
        let text = &*if text.is_empty() { Vec::new() } else { self.form.plain(Level::ERROR, text) };
        if !text.is_empty() {
            while let Err(lost) = self.queue(text) {
                self.counts.lost.fetch_add(lost - 1, Ordering::Relaxed);
                if Instant::now() >= until {
                    return;
                }
                std::thread::sleep(AGAIN);
            }
        }
        let (written, wait) = mpsc::sync_channel(1);
        let mut order = Order::Written(written);
        while let Err(TrySendError::Full(back)) = self.orders.try_send(order) {
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(AGAIN);
            order = back;
        }
        let _ = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    /// Has panics said here from now on. As the library says them, directly on stderr, the thread would wait for whoever
    /// reads that, and everybody for the thread. Neither that nor a panic of the thread that writes waits for long. What comes
    /// of a panic then: [`panics`].
    pub fn take_panics(&self) {
        let spool = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("without a name");
            let backtrace = std::backtrace::Backtrace::capture();
            let said = panic.to_string().replace(['\n', '\r'], " ");
            let mut text = format!("ringsan: thread '{name}' {said}\n");
            if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
                text.push_str(&backtrace.to_string());
            }
            // Written before the witness is heard: one that panics itself ends the process there.
            spool.last_words(&text, LAST_WORDS);
            text.clear();
            panics::hear_witness(&mut text);
            spool.last_words(&text, LAST_WORDS);
            panics::stand_still_if_contained();
        }));
    }

    /// How many lines are lost now, if this is.
    fn queue(&self, text: &[u8]) -> Result<(), u64> {
        let before = self.counts.bytes.fetch_add(text.len(), Ordering::Relaxed);
        let lost = self.counts.lost.swap(0, Ordering::Relaxed);
        let room = before + text.len() <= LOG_QUEUE_BYTES || before == 0;
        if room && self.orders.try_send(Order::Line { text: text.into(), lost }).is_ok() {
            return Ok(());
        }
        self.counts.bytes.fetch_sub(text.len(), Ordering::Relaxed);
        Err(lost + 1)
    }
}

/// A line of the log is one write.
impl Write for &Spool {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Spool {
    type Writer = &'a Spool;

    fn make_writer(&'a self) -> &'a Spool {
        self
    }
}

fn run(orders: &Receiver<Order>, counts: &Counts, pen: &mut Pen) {
    loop {
        let order = match orders.try_recv() {
            Ok(order) => order,
            Err(nothing) => {
                // Nothing comes behind what was lost last: it is said now, and again as long as it cannot be.
                let lost = counts.lost.swap(0, Ordering::Relaxed);
                pen.own_up(lost, &counts.lost);
                if nothing == TryRecvError::Disconnected {
                    return;
                }
                let rest = if lost > 0 { Duration::from_secs(1) } else { Duration::MAX };
                match orders.recv_timeout(rest) {
                    Ok(order) => order,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        match order {
            Order::Line { text, lost } => {
                pen.own_up(lost, &counts.lost);
                if pen.write(&text).is_err() {
                    counts.lost.fetch_add(1, Ordering::Relaxed);
                }
                counts.bytes.fetch_sub(text.len(), Ordering::Relaxed);
            }
            Order::Written(done) => drop(done.try_send(())),
        }
    }
}

/// While it lives, this thread takes no signals, and a thread that it makes never will.
struct SignalsMasked(libc::sigset_t);

impl SignalsMasked {
    #[allow(unsafe_code)]
    fn new() -> SignalsMasked {
        // SAFETY: both sets are locals, the first filled before it is read; the second is what the call writes.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            SignalsMasked(before)
        }
    }
}

impl Drop for SignalsMasked {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the set is what the kernel gave us.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{BufRead, BufReader};

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_pipe_that_nobody_reads_keeps_nobody_back_and_what_was_lost_is_counted() {
        let (reader, writer) = io::pipe().unwrap();
        let spool = Spool::start("log", &writer).unwrap();
        drop(writer);
        let line = format!("{}\n", "x".repeat(999));
        let all = 2 * LOG_QUEUE_BYTES / line.len();
        for _ in 0..all {
            spool.say(line.as_bytes());
        }
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map(Result::unwrap);
            let lost = |line: &str| line.strip_prefix("ringsan: ")?.strip_suffix(" lines were lost here")?.parse().ok();
            lines.map(|line| lost(&line).unwrap_or(1)).sum::<usize>()
        });
        spool.last_words("the last\n", SOON);
        drop(spool);
        assert_eq!(reader.join().unwrap(), all + 1, "each line is there or owned up to");
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_nothing_else() {
        // Not a pipe without a reader: a child that another test forks just then keeps its reader open until it executes.
        let full = File::options().write(true).open("/dev/full").unwrap();
        let not_for_writing = File::open("/dev/null").unwrap();
        for (reason, file) in [("full", full), ("not for writing", not_for_writing)] {
            let spool = Spool::start("log", file).unwrap();
            spool.say(b"one\n");
            spool.last_words("two\n", SOON);
            assert_eq!(spool.counts.lost.load(Ordering::Relaxed), 2, "{reason}");
            assert_eq!(spool.counts.bytes.load(Ordering::Relaxed), 0, "{reason}");
        }
    }

    #[test]
    fn the_end_waits_for_no_reader_for_long() {
        let (_reader, writer) = io::pipe().unwrap();
        let spool = Spool::start("log", &writer).unwrap();
        spool.say(&vec![b'\n'; LOG_QUEUE_BYTES]);
        let began = Instant::now();
        spool.last_words("the last\n", Duration::from_millis(50));
        assert!(began.elapsed() >= Duration::from_millis(50) && began.elapsed() < SOON);
    }
}
