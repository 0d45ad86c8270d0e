//! A session that is about to move ([`Relocation`]), or on its way to another core ([`Relocated`]). How it moves is in
//! `relocate.rs`.

use super::seat::Seat;
use crate::transport::link::Link;
use crate::transport::receiving::Receive;
use crate::world::Change;
use std::sync::Arc;

/// A session that is about to move.
#[derive(Debug, Clone, Copy)]
pub struct Relocation {
    /// Its seat.
    pub(super) seat: usize,
    /// Its serial number: the seat may be another session's by now.
    pub(super) serial: u64,
    /// The core that it goes to.
    pub(super) to: usize,
    /// Nothing more is received for it.
    pub(super) stopped: bool,
    /// If it is not further by then it stays, milliseconds.
    pub(super) until_ms: u64,
}

/// A connection on its way.
pub(super) struct Leg {
    /// Its slot in the session.
    pub(super) ix: usize,
    /// The connection.
    pub(super) link: Link,
    /// Its receive side, with what is parked.
    pub(super) receive: Box<Receive>,
    /// Whether it has header and data digests.
    pub(super) digests: (bool, bool),
}

/// A session on its way.
pub struct Relocated {
    /// The session.
    pub(super) seat: Box<Seat>,
    /// Its connections.
    pub(super) legs: Vec<Leg>,
    /// The configuration that it was served with.
    pub(super) change: Arc<Change>,
    /// The core that it comes from.
    pub(super) from: usize,
}

// SAFETY: what of it belongs to one core and its arena (the account, tasks with their buffers, a PDU half received) is left
// behind where it is made, in `Core::take_out`, and made anew in `Core::arrive`.
#[allow(unsafe_code)]
unsafe impl Send for Relocated {}
