//! The socket of a connection: a kernel's, or an end of a line in memory.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A socket; closed when it is dropped.
#[derive(Debug)]
pub enum Socket {
    /// The kernel's.
    Tcp(OwnedFd),
    /// That of a simulator.
    Line(Line),
}

/// The target's end of a line in memory.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its number.
    pub number: usize,
    /// What the target has shut of it.
    shut: Arc<AtomicU32>,
}

impl Line {
    const SENDS: u32 = 1;
    const RECEIVES: u32 = 2;

    /// A line of which nothing is shut.
    pub fn new(number: usize) -> Line {
        Line { number, shut: Arc::default() }
    }

    fn is(&self, what: u32) -> bool {
        self.shut.load(Ordering::Relaxed) & what != 0
    }

    /// The target sends nothing more.
    pub fn sends_no_more(&self) -> bool {
        self.is(Line::SENDS)
    }

    /// The target receives nothing more.
    pub fn receives_no_more(&self) -> bool {
        self.is(Line::RECEIVES)
    }
}

impl Socket {
    /// Shuts a connection: `how` is `SHUT_WR` or `SHUT_RDWR`.
    pub fn shut(&self, how: i32) {
        match self {
            // SAFETY: a system call on a descriptor that is owned here.
            #[allow(unsafe_code)]
            Socket::Tcp(socket) => unsafe {
                libc::shutdown(socket.as_raw_fd(), how);
            },
            Socket::Line(line) => {
                let what = if how == libc::SHUT_WR { Line::SENDS } else { Line::SENDS | Line::RECEIVES };
                line.shut.fetch_or(what, Ordering::Relaxed);
            }
        }
    }

    /// Its descriptor; -1 in memory.
    #[inline]
    pub(super) fn fd(&self) -> RawFd {
        match self {
            Socket::Tcp(socket) => socket.as_raw_fd(),
            Socket::Line(_) => -1,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The descriptor closes itself.
        if let Socket::Line(line) = self {
            line.shut.fetch_or(Line::SENDS | Line::RECEIVES, Ordering::Relaxed);
        }
    }
}
