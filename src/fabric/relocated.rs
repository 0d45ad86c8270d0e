//! A session that is about to move ([`Relocation`]), or on its way to another core ([`Relocated`]). How it moves is in
//! `shard/relocate.rs`.

use super::seat::Seat;
use crate::model::SeatIx;
use crate::session::seam::ConnIx;
use crate::transport::link::Link;
use crate::transport::receiving::Receive;
use crate::world::Change;
use std::sync::Arc;

/// A session that is about to move.
#[derive(Debug, Clone, Copy)]
pub struct Relocation {
    /// Its seat.
    pub seat: SeatIx,
    /// Its serial number: the seat may be another session's by now.
    pub serial: u64,
    /// The core that it goes to.
    pub to: usize,
    /// Nothing more is received for it.
    pub stopped: bool,
    /// If it is not further by then it stays, milliseconds.
    pub until_ms: u64,
}

/// A connection on its way.
pub struct Leg {
    /// Its slot in the session.
    pub ix: ConnIx,
    /// The connection.
    pub link: Link,
    /// Its receive side, with what is parked.
    pub receive: Box<Receive>,
    /// Whether it has header and data digests.
    pub digests: (bool, bool),
}

/// A session on its way.
pub struct Relocated {
    /// The session.
    pub seat: Box<Seat>,
    /// Its connections.
    pub legs: Vec<Leg>,
    /// The configuration that it was served with.
    pub change: Arc<Change>,
    /// The core that it comes from.
    pub from: usize,
}

// SAFETY: what of it belongs to one core and its arena (the account, tasks with their buffers, a PDU half received) is left
// behind where it is made, in `Core::take_out`, and made anew in `Core::arrive`.
#[allow(unsafe_code)]
unsafe impl Send for Relocated {}
