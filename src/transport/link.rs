//! A connection, apart from its receive side (`receiving.rs`) and its transmit side (`tx.rs`): the socket, and where it
//! is in its life.

use super::io::Socket;
use crate::model::{ConnNo, SeatIx};
use crate::session::login::{Login, LoginDone, Step};
use crate::session::seam::ConnIx;
use crate::wire::Tsih;
use crate::world::doors::Ticket;
use crate::world::registry::Membership;
use std::net::SocketAddr;

/// A connection, apart from its receive side.
pub struct Link {
    /// The socket; closed when dropped.
    pub socket: Socket,
    /// The initiator's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Its place among the connections of the process.
    pub ticket: Ticket,
    /// Where it is in its life.
    pub phase: Phase,
    /// Changed digests and lengths for the framer, to be taken over before the next PDU: header, data, longest segment.
    pub framing: Option<(bool, bool, usize)>,
    /// A receive is armed.
    pub receiving: bool,
    /// Its receive was cancelled only to be armed in another way: the end of the receive is not that of the connection.
    pub rearming: bool,
    /// More PDUs are here already: what there is to be sent waits a turn for the answers to them.
    pub corked: bool,
    /// No more PDUs are taken; the socket is closed when nothing is in flight.
    pub closing: bool,
    /// The receive was cancelled and its end is awaited before the connection moves to another core.
    pub moving: Option<Box<Moving>>,
    /// Its session is about to move to another core.
    pub halt: Halt,
    /// When bytes last left, milliseconds: tells a peer that does not read.
    pub sent_ms: u64,
    /// When our half was closed, milliseconds.
    pub shut_ms: Option<u64>,
}

/// A connection that is about to move to another core: everything but the socket, which `Link` still owns.
pub struct Moving {
    /// The core it goes to.
    pub core: usize,
    /// Its login, which is complete.
    pub login: Box<crate::session::login::LoginDone>,
    /// What it is to be in its session.
    pub session: Membership,
    /// The session that it replaces.
    pub replaces: Option<Tsih>,
}

/// Life of a connection.
pub enum Phase {
    /// Logging in.
    Login {
        /// The state machine.
        login: Box<Login>,
        /// When it must be through, milliseconds.
        deadline_ms: u64,
    },
    /// Full feature phase.
    Full {
        /// Its session's seat.
        seat: SeatIx,
        /// Its slot there.
        ix: ConnIx,
    },
    /// Its proof was judged, and it was not told yet what that has come to: nothing else is taken from it.
    Judged {
        /// The state machine.
        login: Box<Login>,
        /// What is done when it is told.
        step: Box<Step>,
        /// When it is told, milliseconds.
        until_ms: u64,
        /// When the login must be through, milliseconds, once it goes on.
        deadline_ms: u64,
    },
    /// Logged in; waits until the session that it replaces has let go of its tasks.
    Waiting,
    /// Neither: being closed or moved.
    Leaving,
}

impl Phase {
    /// Whether it is not logged in, and has not been told that it will not be.
    pub fn is_half_open(&self) -> bool {
        matches!(self, Phase::Login { .. } | Phase::Judged { .. })
    }
}

/// What a connection receives while its session is about to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Everything, as always.
    No,
    /// Nothing more: the receive is cancelled and not armed again.
    Stopped,
    /// Everything again, once the cancelled receive has ended.
    Resuming,
}

/// A login that waits for the end of the session it replaces.
pub struct Adoption {
    /// Number of the connection.
    pub conn: ConnNo,
    /// Its login, which is complete.
    pub login: Box<LoginDone>,
    /// What it is to be in its session.
    pub session: Membership,
    /// It waits no longer than this, milliseconds.
    pub deadline_ms: u64,
}
