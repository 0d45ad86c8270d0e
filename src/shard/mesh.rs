//! Rare facts between cores: a mailbox for each, and an eventfd that its ring reads.
//!
//! Nothing here is on the way of a command. A session that moves, a reset that aborts tasks elsewhere and the end of the
//! server are messages; the sender that needs an answer gets a message back.

use super::change::Change;
use super::doors::Ticket;
use super::errand::Answer;
use super::registry::Membership;
use super::relocate::Relocated;
use crate::model::ItNexus;
use crate::scsi::SaveEnd;
use crate::session::login::LoginDone;
use crate::wire::{Lun, Tsih};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// A connection whose login is complete, on its way to the core of its session.
pub struct Handover {
    /// The socket.
    pub socket: OwnedFd,
    /// The initiator's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Its place among the connections.
    pub ticket: Ticket,
    /// What was negotiated, with the final login response still to be sent.
    pub login: Box<LoginDone>,
    /// The session.
    pub session: Membership,
    /// The session that this one replaces (RFC 7143 section 6.3.5), on the core that the message goes to.
    pub replaces: Option<Tsih>,
}

/// What cores tell each other.
pub enum Message {
    /// A connection moves in.
    Adopt(Box<Handover>),
    /// A session moves in, with all its connections.
    Relocate(Box<Relocated>),
    /// A test wants a session to move, if it can.
    #[cfg(test)]
    Demand {
        /// The session.
        tsih: Tsih,
        /// The core it is to go to.
        to: usize,
    },
    /// Abort the tasks of all sessions at this logical unit, answer with `Aborted`.
    Abort {
        /// Index of the target.
        target: usize,
        /// The unit; `None`: all of the target.
        lun: Option<Lun>,
        /// Also end the sessions (TARGET COLD RESET).
        end_sessions: bool,
        /// Core to answer.
        from: usize,
        /// Handed back.
        ticket: u32,
        /// Only the tasks of these I_T nexuses; none given: of all.
        nexuses: Vec<ItNexus>,
    },
    /// The answer to `Abort`: no aborted task is left on the sending core.
    Aborted {
        /// The ticket of the `Abort`.
        ticket: u32,
    },
    /// The configuration has changed.
    Change(Arc<Change>),
    /// The keeper is done with a command.
    Saved {
        /// The ticket that it was given with.
        ticket: usize,
        /// What became of it.
        end: SaveEnd,
    },
    /// An errand is over.
    Errand {
        /// Number of its job, if that still waits.
        job: usize,
        /// Where the answer is.
        answer: Weak<Answer>,
    },
    /// A flush has ended that somebody here waited for.
    Flushed,
    /// Take leave of the initiators, flush, and return.
    Shutdown,
}

/// The mailbox of one core.
pub struct Mailbox {
    messages: Mutex<Vec<Message>>,
    pending: AtomicBool,
    bell: OwnedFd,
}

impl Mailbox {
    /// An empty one.
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Mailbox> {
        // SAFETY: a plain system call; the descriptor it returns is ours alone.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, not owned by anybody else.
        let bell = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Mailbox { messages: Mutex::new(Vec::new()), pending: AtomicBool::new(false), bell })
    }

    /// The eventfd to be read by the core's ring.
    pub fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Puts a message in and wakes the core.
    pub fn post(&self, message: Message) {
        self.messages.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(message);
        if !self.pending.swap(true, Ordering::AcqRel) {
            let one = 1u64.to_ne_bytes();
            // SAFETY: eight bytes of a local; an eventfd takes exactly that.
            #[allow(unsafe_code)]
            unsafe {
                libc::write(self.bell.as_raw_fd(), one.as_ptr().cast(), one.len())
            };
        }
    }

    /// Nothing is there.
    pub fn is_empty(&self) -> bool {
        self.messages.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_empty()
    }

    /// Takes everything that is there.
    pub fn take(&self) -> Vec<Message> {
        self.pending.store(false, Ordering::Release);
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
