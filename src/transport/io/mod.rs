//! What a core asks of the world around it, and is answered with completions: the seam between the synchronous core and
//! what drives it.
//!
//! There are two of that: the ring of the core's thread, which `driver/mod.rs` turns, and plain memory ([`memory`]), by which
//! a simulator plays the kernel, the network and the media to several cores under one seed. Nothing else in a core touches
//! a socket, the ring or a clock.

mod kernel;
pub mod memory;
mod outgoing;
mod socket;
mod watch;

pub use kernel::Kernel;
pub use memory::Memory;
pub use outgoing::Outgoing;
pub use socket::{Line, Socket};
pub use watch::Watch;

use super::receiving::Direct;
use crate::backend::{Queue, Token};
use crate::model::ConnNo;
use crate::ring::{Completion, Wait};
use io_uring::squeue;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// What a core asks. Each of these is answered with a completion, later.
#[allow(clippy::large_enum_variant, reason = "a core has one, and no entry is to go by a pointer more")]
pub enum Io {
    /// The ring.
    Kernel(Kernel),
    /// A simulator.
    Memory(Box<Memory>),
}

/// The same of both.
macro_rules! each {
    ($of:ident, $io:ident => $call:expr) => {
        match $of {
            Io::Kernel($io) => $call,
            Io::Memory($io) => $call,
        }
    };
}

impl Io {
    /// Has a connection receive: with `known` what that says, once; without, whatever comes, until it is cancelled.
    #[inline]
    pub fn receive(&mut self, conn: ConnNo, socket: &Socket, known: Option<&mut Direct>) {
        each!(self, io => io.receive(conn, socket, known));
    }

    /// Cancels a connection's receive; its completion says that it is over.
    pub fn cancel_receive(&mut self, conn: ConnNo) {
        each!(self, io => io.cancel_receive(conn));
    }

    /// Has a connection send.
    #[inline]
    pub fn send(&mut self, conn: ConnNo, socket: &Socket, what: Outgoing) {
        each!(self, io => io.send(conn, socket, what));
    }

    /// Has the kernel accept one connection at a listener. A simulator brings connections by itself.
    pub fn accept(&mut self, listener: usize, fd: RawFd) {
        if let Io::Kernel(kernel) = self {
            kernel.accept(listener, fd);
        }
    }

    /// Has the bell heard, once. A simulator rings by itself.
    pub fn listen_to(&mut self, fd: RawFd, bell: *mut u64) {
        if let Io::Kernel(kernel) = self {
            kernel.listen_to(fd, bell);
        }
    }

    /// The bytes that a receive put into the buffer `id` of all connections, `len` of them. They are there until
    /// [`Io::give_back`].
    #[inline]
    pub fn bytes(&self, id: u16, len: usize) -> (*const u8, usize) {
        each!(self, io => io.bytes(id, len))
    }

    /// Returns that buffer.
    #[inline]
    pub fn give_back(&mut self, id: u16) {
        each!(self, io => io.give_back(id));
    }

    /// There was no such buffer for what had come.
    #[cold]
    pub fn ran_out(&mut self) {
        if let Io::Kernel(kernel) = self {
            kernel.buffers.ran_out();
        }
    }

    /// Some time has passed: one buffer less may do.
    pub fn shrink(&mut self) {
        if let Io::Kernel(kernel) = self {
            kernel.buffers.shrink();
        }
    }

    /// All buffers that were filled have been given back.
    #[inline]
    pub fn publish(&mut self) {
        if let Io::Kernel(kernel) = self {
            kernel.buffers.publish();
        }
    }

    /// Puts a file (or none: -1) into a slot of those that entries of media may name.
    ///
    /// # Errors
    /// There is no such slot.
    pub fn set_file(&self, slot: u32, fd: RawFd) -> io::Result<()> {
        match self {
            Io::Kernel(kernel) => kernel.ring.set_file(slot, fd),
            Io::Memory(_) => Err(io::Error::from_raw_os_error(libc::ENXIO)),
        }
    }

    /// Moves all completions that are there into `into`. A simulator hands them out itself.
    #[inline]
    pub fn drain(&mut self, into: &mut Vec<Completion>) {
        if let Io::Kernel(kernel) = self {
            kernel.ring.drain(into);
        }
    }

    /// Hands what was asked for to the kernel, and waits for a completion if asked to.
    ///
    /// # Errors
    /// Those of [`crate::ring::Ring::enter`].
    #[inline]
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        match self {
            Io::Kernel(kernel) => kernel.ring.enter(wait),
            Io::Memory(_) => Ok(()),
        }
    }

    /// Whether [`Io::spin`] notices what comes.
    pub fn can_spin(&self) -> bool {
        matches!(self, Io::Kernel(kernel) if kernel.ring.can_spin())
    }

    /// Looks at memory until the kernel has something, or the time is `until`.
    pub fn spin(&mut self, until: Instant) {
        if let Io::Kernel(kernel) = self {
            kernel.ring.spin(until);
        }
    }

    /// How long that was in vain since this was last asked.
    pub fn take_spun(&mut self) -> Duration {
        match self {
            Io::Kernel(kernel) => kernel.ring.take_spun(),
            Io::Memory(_) => Duration::ZERO,
        }
    }

    /// The clock of whoever drives it, for what is bounded by time.
    pub fn watch(&self) -> Watch {
        match self {
            Io::Kernel(_) => Watch::MACHINE,
            Io::Memory(memory) => memory.watch.clone(),
        }
    }
}

impl Queue for Io {
    #[inline]
    fn push(&mut self, entry: squeue::Entry, token: Token) {
        match self {
            Io::Kernel(kernel) => kernel.medium(entry, token),
            Io::Memory(memory) => memory.media.push((token, entry)),
        }
    }

    #[inline]
    fn batch(&self) -> u64 {
        match self {
            Io::Kernel(kernel) => kernel.ring.drained(),
            Io::Memory(memory) => memory.batch,
        }
    }
}
