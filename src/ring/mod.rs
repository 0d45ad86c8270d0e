//! The io_uring of one core: submissions, completions, provided receive buffers, registered files and memory.
//!
//! One [`Ring`] serves the sockets and the LUN extents of its core. Entries are pushed during a turn and go to the
//! kernel together in [`Ring::enter`]. Knows nothing of connections or LUNs: `user_data` is its users' own.

#![allow(unsafe_code)] // mmap, the provided-buffer ring and pushing entries: each block states its contract.

mod memory;
mod receive;

pub use memory::Mapping;
pub use receive::{GROUP as RECEIVE_GROUP, ReceiveBuffers};

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// One completion, copied out of the queue.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    /// What the entry was pushed with.
    pub user_data: u64,
    /// Result: bytes, a descriptor, or a negative errno.
    pub result: i32,
    flags: u32,
}

/// Of a completion's flags (linux/io_uring.h, IORING_CQE_F_*): it names a buffer, whose number stands above
/// [`BUFFER_SHIFT`]; more completions follow; the socket has more.
const BUFFER: u32 = 1;
/// See [`BUFFER`].
const MORE: u32 = 2;
/// See [`BUFFER`].
const SOCK_NONEMPTY: u32 = 4;
/// IORING_CQE_BUFFER_SHIFT.
const BUFFER_SHIFT: u32 = 16;

impl Completion {
    /// One that names no buffer, and after which no other follows.
    pub fn new(user_data: u64, result: i32) -> Completion {
        Completion { user_data, result, flags: 0 }
    }

    /// The same, with a provided buffer.
    #[must_use]
    pub fn with_buffer(self, id: u16) -> Completion {
        Completion { flags: self.flags | BUFFER | u32::from(id) << BUFFER_SHIFT, ..self }
    }

    /// The same: the request stays armed, and the socket has more.
    #[must_use]
    pub fn and_more(self, more: bool, has_more: bool) -> Completion {
        let (more, has_more) = (u32::from(more) * MORE, u32::from(has_more) * SOCK_NONEMPTY);
        Completion { flags: self.flags | more | has_more, ..self }
    }

    /// The provided buffer that a receive filled.
    #[inline]
    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
    /// The socket had more than the receive took.
    #[inline]
    pub fn has_more(&self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }
    /// The multishot request behind it stays armed.
    #[inline]
    pub fn more(&self) -> bool {
        cqueue::more(self.flags)
    }
}

/// How long `enter` may sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: submit, and run what the kernel has ready.
    No,
    /// Until a completion comes, at most this long.
    AtMost(Duration),
}

/// A core's ring.
pub struct Ring {
    uring: IoUring,
    /// Whether the kernel has the flags for deferred work (6.1 and later).
    deferred: bool,
    /// Time spent in [`Ring::spin`].
    spun: Duration,
    /// How often completions were taken.
    drained: u64,
}

impl Ring {
    /// Sets up a ring for one thread, with the flags that make a single-threaded loop cheap where the kernel has them:
    /// SINGLE_ISSUER with DEFER_TASKRUN (work runs when we ask, not in interrupts), TASKRUN_FLAG (a spinning core sees
    /// in memory that there is work).
    ///
    /// # Errors
    /// What the kernel says to a ring without these flags.
    pub fn new(entries: u32) -> io::Result<Ring> {
        let best = IoUring::builder()
            .setup_cqsize(entries * 4)
            .setup_clamp()
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(entries);
        let (uring, deferred) = match best {
            Ok(uring) => (uring, true),
            Err(_) => {
                let plain = IoUring::builder().setup_cqsize(entries * 4).setup_clamp().build(entries)?;
                (plain, false)
            }
        };
        // Saves the descriptor look-up of every enter; older kernels do without.
        let _ = uring.submitter().register_ring_fd();
        Ok(Ring { uring, deferred, spun: Duration::ZERO, drained: 0 })
    }

    /// Queues an entry. Submits when the queue is full, so it never fails.
    ///
    /// What the entry points to has to stay valid until its completion: the caller's duty, by the contracts of
    /// `backend::Queue` (I/O buffers), `transport::tx` (batches) and `ReceiveBuffers`.
    #[inline]
    pub fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: the caller's duty, as said above: every entry's memory is kept by its owner until the completion
            // is handed back.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return;
            }
            // EBUSY means that completions must be reaped first; the kernel keeps them (NODROP) and the next round of the
            // loop tries again after it has flushed what it can.
            let _ = self.uring.submit();
        }
    }

    /// Hands the queued entries to the kernel, runs deferred work, and waits for a completion if asked to.
    ///
    /// # Errors
    /// What the kernel says, but for what passes: ETIME, EINTR, EBUSY, EAGAIN.
    #[inline]
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let result = match wait {
            Wait::No if self.deferred => {
                // GETEVENTS without waiting: runs deferred work, and submits in the same call.
                const GETEVENTS: u32 = 1;
                let queued = {
                    let mut submission = self.uring.submission();
                    submission.sync();
                    submission.len() as u32
                };
                // SAFETY: no argument structure is passed; the counts describe our own queue.
                unsafe { self.uring.submitter().enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) }
            }
            Wait::No => self.uring.submit(),
            Wait::AtMost(time) => {
                let timespec = Timespec::from(time);
                self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec))
            }
        };
        match result {
            Ok(_) => Ok(()),
            Err(e) => match e.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(e),
            },
        }
    }

    /// Whether the kernel has something for us, seen without a system call.
    #[inline]
    pub fn has_work(&mut self) -> bool {
        if !self.uring.completion().is_empty() {
            return true;
        }
        self.deferred && self.uring.submission().taskrun()
    }

    /// Whether looking at memory suffices to notice work ([`Ring::has_work`] is then reliable).
    pub fn can_spin(&self) -> bool {
        self.deferred
    }

    /// Looks at memory until the kernel has something for us, or the time is `until`. Returns at once if entries wait
    /// to be submitted.
    pub fn spin(&mut self, until: Instant) {
        /// Looks between two readings of the clock, which costs as much as a few looks.
        const LOOKS: u32 = 8;
        if !self.uring.submission().is_empty() {
            return;
        }
        let mut last: Option<Instant> = None;
        loop {
            for _ in 0..LOOKS {
                if self.has_work() {
                    return;
                }
                std::hint::spin_loop();
            }
            let now = Instant::now();
            if let Some(last) = last.replace(now) {
                self.spun += now.saturating_duration_since(last);
            }
            if now >= until {
                return;
            }
        }
    }

    /// How long [`Ring::spin`] has looked at memory in vain since this was last asked; the first and last few looks do
    /// not count.
    pub fn take_spun(&mut self) -> Duration {
        std::mem::take(&mut self.spun)
    }

    /// Moves all completions that are there into `into`.
    #[inline]
    pub fn drain(&mut self, into: &mut Vec<Completion>) {
        self.drained += 1;
        for c in self.uring.completion() {
            into.push(Completion { user_data: c.user_data(), result: c.result(), flags: c.flags() });
        }
    }

    /// How often [`Ring::drain`] was called.
    #[inline]
    pub fn drained(&self) -> u64 {
        self.drained
    }

    /// Makes a table of `count` empty registered-file slots.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn register_files(&self, count: u32) -> io::Result<()> {
        self.uring.submitter().register_files_sparse(count)
    }

    /// Puts `fd` (or nothing: -1) into a registered-file slot.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_file(&self, slot: u32, fd: RawFd) -> io::Result<()> {
        self.uring.submitter().register_files_update(slot, &[fd]).map(|_| ())
    }

    /// Registers one stretch of memory as fixed buffer 0.
    ///
    /// # Errors
    /// What the kernel says; ENOMEM where so much memory may not be locked.
    pub fn register_memory(&self, mapping: &Mapping) -> io::Result<()> {
        let iovec = libc::iovec { iov_base: mapping.as_ptr().cast(), iov_len: mapping.len() };
        // SAFETY: the mapping lives as long as the core, and the ring is dropped before it.
        unsafe { self.uring.submitter().register_buffers(&[iovec]) }
    }

    pub(crate) fn uring(&self) -> &IoUring {
        &self.uring
    }
}
