//! The receive side of a connection: what was received of the PDU that is coming in, and the receive of known size.
//! What is done with them is in `shard/receive.rs`.
//!
//! Invariants: the kernel has pointers into a [`Direct`] from when it is armed until its completion was taken; it stays
//! where it is meanwhile, and so does what it was lent.

use super::lent::Loan;
use super::parked::Parked;
use super::partial::Partial;
use crate::limits::{MAX_CONTROL_DATA_BYTES, TURN_PDUS};
use crate::wire::framer::Framer;
use crate::wire::{BHS_LEN, Bhs};

/// A data segment of at least this many bytes is worth a receive of its own.
pub const LARGE_BYTES: usize = 64 << 10;
/// What is received behind a payload, or between payloads.
pub const BEHIND_BYTES: usize = 4 << 10;
/// So many receives in a row without a large payload, and the connection goes back to the multishot receive.
pub const SMALL_IN_A_ROW: u8 = 8;
/// While more is here to be received, what there is to be sent is gathered until so much was received.
pub const HELD_BACK_BYTES: usize = 512 << 10;

/// A receive of known size. The kernel has pointers into it, and into what is lent, until its completion was taken.
pub struct Direct {
    /// What the kernel is given.
    pub header: libc::msghdr,
    /// Where it puts the payload, and what is behind it.
    pub vectors: [libc::iovec; 2],
    /// What is behind the payload, or comes between payloads.
    pub behind: [u8; BEHIND_BYTES],
    /// It is under way.
    pub armed: bool,
    /// The buffer that the payload goes to.
    pub loan: Option<Loan>,
}

impl Direct {
    /// One that is not armed.
    pub fn new() -> Box<Direct> {
        // SAFETY: zeroes are an empty msghdr.
        #[allow(unsafe_code)]
        let header = unsafe { std::mem::zeroed() };
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Box::new(Direct { header, vectors: [empty; 2], behind: [0; BEHIND_BYTES], armed: false, loan: None })
    }

    /// It may write to a buffer that it has not.
    #[cfg(test)]
    pub fn is_robbed(&self) -> bool {
        self.armed && self.header.msg_iovlen > 1 && self.loan.is_none()
    }

    /// The next receive goes into what is lent, if something is, and into `behind`.
    pub fn arm(&mut self, loan: Option<Loan>) -> &mut Direct {
        let behind = libc::iovec { iov_base: self.behind.as_mut_ptr().cast(), iov_len: BEHIND_BYTES };
        let count = match loan.as_ref().and_then(Loan::room) {
            Some((start, len)) => {
                self.vectors = [libc::iovec { iov_base: start.cast(), iov_len: len }, behind];
                2
            }
            None => {
                self.vectors[0] = behind;
                1
            }
        };
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = count as _;
        (self.armed, self.loan) = (true, loan);
        self
    }
}

/// The receive side of a connection.
pub struct Receive {
    /// Finds PDUs in what comes.
    pub framer: Framer,
    /// The PDU of full feature phase that is coming in.
    pub partial: Option<Partial>,
    /// The data of the Login Request that is coming in.
    pub login: Vec<u8>,
    /// Its header.
    pub login_bhs: Bhs,
    /// The turn in which it got something last.
    pub turn: u64,
    /// PDUs of this connection that may still be acted on in that turn.
    pub left: u32,
    /// Bytes that wait for their turn, or for their session to have moved to another core.
    pub parked: Parked,
    /// Payload is large: receives are to be of known size.
    pub large: bool,
    /// Receives of known size in a row without a large payload.
    pub small: u8,
    /// Bytes received since what there is to be sent has been held back.
    pub held_back_bytes: usize,
    /// Somebody looks at the PDUs of this connection: as of the chunk that is acted on.
    pub is_traced: bool,
}

impl Receive {
    /// That of a connection from which nothing has come.
    pub fn new() -> Receive {
        Receive {
            framer: Framer::new(MAX_CONTROL_DATA_BYTES),
            partial: None,
            login: Vec::new(),
            login_bhs: [0; BHS_LEN],
            turn: 0,
            left: TURN_PDUS,
            parked: Parked::default(),
            large: false,
            small: 0,
            held_back_bytes: 0,
            is_traced: false,
        }
    }
}

impl Receive {
    /// The connection gets something. If that is the first in this turn, its budget begins anew.
    #[inline]
    pub fn begin_turn(&mut self, turn: u64) {
        if self.turn != turn {
            (self.turn, self.left) = (turn, TURN_PDUS);
        }
    }

    /// Notes that so many bytes came. Whether what there is to be sent is held back, while more is here to be received:
    /// one send costs as much as several receives.
    pub fn holds_back(&mut self, received: usize, more: bool) -> bool {
        self.held_back_bytes += received;
        let holds_back = more && self.held_back_bytes < HELD_BACK_BYTES;
        if !holds_back {
            self.held_back_bytes = 0;
        }
        holds_back
    }
}
