//! A session that is about to move, or on its way to another core.

use super::link::Link;
use super::receiving::Receive;
use super::seat::Seat;
use super::world::Change;
use std::sync::Arc;
/// A session that is about to move.
#[derive(Debug, Clone, Copy)]
pub struct Relocation {
    pub(super) seat: usize,
    pub(super) serial: u64,
    pub(super) to: usize,
    pub(super) stopped: bool,
    pub(super) until_ms: u64,
}

/// A connection on its way.
pub(super) struct Leg {
    pub(super) ix: usize,
    pub(super) link: Link,
    pub(super) receive: Receive,
    pub(super) digests: (bool, bool),
}

/// A session on its way.
pub struct Relocated {
    pub(super) seat: Box<Seat>,
    pub(super) legs: Vec<Leg>,
    /// The configuration that it was served with.
    pub(super) change: Arc<Change>,
    pub(super) from: usize,
}

// SAFETY: what of it belongs to one core and its arena (the account, tasks with their buffers, a PDU half received) is left
// behind where it is made, in `Core::take_out`, and made anew in `Core::arrive`.
#[allow(unsafe_code)]
unsafe impl Send for Relocated {}
