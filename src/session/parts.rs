//! What a [`Session`](super::Session) has besides windows, tasks and connections, for one rule each: what is to be announced
//! (`announce`), the fence that is up (`fence`), connections that are gone (`lost`), the order of commands (`ordering`).

use super::recovery::Responses;
use super::seam::{ConnIx, TaskId};
use crate::limits::CONNECTION_SLOTS;
use crate::wire::{Cid, Lun, StatSn, TaskAttr};

/// Something to be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// A connection is gone; said on all others.
    Dropped(Cid),
    /// The tasks of a logical unit on this connection are being terminated.
    Terminated(ConnIx, Lun),
}

/// The response fence that is up (`fence`).
pub(super) struct Fence {
    pub(super) owner: TaskId,
    /// `None`: all of them.
    pub(super) lun: Option<Lun>,
    /// By connection: the StatSN that has to be acknowledged.
    pub(super) marks: [Option<StatSn>; CONNECTION_SLOTS],
    /// Where the response went.
    pub(super) sent: Option<(ConnIx, StatSn)>,
    /// Until when an acknowledgment is waited for.
    pub(super) until_ms: u64,
}

/// What is left of a connection that is gone.
pub(super) struct Lost {
    pub cid: Cid,
    /// Stands in for the connection in its tasks.
    pub id: ConnIx,
    /// A Logout "for recovery", explicit or implicit, has been performed.
    pub logged_out: bool,
    /// Its state times out.
    pub until_ms: u64,
    /// Responses that were not acknowledged, or could not be sent.
    pub kept: Responses,
}

/// The order of the commands that are delivered.
#[derive(Default)]
pub(super) struct Ordering {
    /// ORDERED commands that are delivered and not gone.
    pub(super) ordered: usize,
    /// Delivered commands that have not begun, oldest first.
    pub(super) waiting: Vec<TaskId>,
    /// How often a task was looked at.
    #[cfg(test)]
    pub looks: usize,
}

impl Ordering {
    /// Whether a command with this attribute may begin at once.
    #[inline]
    pub fn is_free(&self, attr: TaskAttr) -> bool {
        attr == TaskAttr::HEAD_OF_QUEUE || self.ordered == 0 && attr != TaskAttr::ORDERED
    }

    /// Whether the order of commands matters at the moment.
    #[inline]
    pub fn is_kept(&self) -> bool {
        self.ordered > 0
    }

    /// Tests count the steps.
    #[inline]
    pub(super) fn look_at(&mut self, tasks: usize) {
        #[cfg(test)]
        (self.looks += tasks);
        _ = tasks;
    }
}
