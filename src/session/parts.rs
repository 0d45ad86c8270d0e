//! What a [`Session`](super::Session) has besides windows, tasks and connections, for one rule each: what is to be announced
//! (`announce`), the fence that is up (`fence`), connections that are gone (`lost`), the order of commands (`ordering`).

use super::recovery::Responses;
use super::seam::{ConnIx, TaskId};
use crate::limits::CONNECTION_SLOTS;
use crate::wire::{Cid, Lun, StatSn, TaskAttr};

/// Something to be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// A connection is gone. This is said on the first one that is left.
    Dropped(Cid),
    /// The tasks of a logical unit on this connection are being terminated.
    Terminated(ConnIx, Lun),
}

/// The response fence that is up (`fence`).
pub(super) struct Fence {
    pub(super) owner: TaskId,
    /// The logical unit whose answers wait; `None`: those of all units.
    pub(super) lun: Option<Lun>,
    /// By slot of the connection: the ExpStatSN that has to come there before the response goes out; `None`: none is
    /// waited for.
    pub(super) marks: [Option<StatSn>; CONNECTION_SLOTS],
    /// The connection that the response went out on, and the ExpStatSN that acknowledges it; `None`: it still waits.
    pub(super) sent: Option<(ConnIx, StatSn)>,
    /// Until when an acknowledgment is waited for, milliseconds; `u64::MAX`: none is waited for any more.
    pub(super) until_ms: u64,
}

/// What is left of a connection that is gone.
pub(super) struct Lost {
    pub cid: Cid,
    /// The id that the tasks have in place of that of their connection.
    pub id: ConnIx,
    /// A Logout "for recovery", explicit or implicit, has been performed.
    pub logged_out: bool,
    /// When its tasks and responses are given up, milliseconds.
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
