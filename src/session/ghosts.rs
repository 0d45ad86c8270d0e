//! Tasks that were aborted, or never were any, and to which data may still be under way. An initiator that has sent a
//! function goes on to answer the R2Ts which it has, and does not know yet that unsolicited data is for nobody; nor does one
//! whose command is ignored, as those are that come behind a reset which they were sent before.

use super::seam::{ConnIx, TaskId};
use crate::limits::TASKS_PER_SESSION;
use crate::wire::{Itt, Lun, StatSn};
use std::collections::VecDeque;

/// So many are known; the oldest make room. A reset makes ghosts of all tasks at once, and spares those that were there.
const MOST: usize = 2 * TASKS_PER_SESSION;

/// A task that was aborted, or a command that was ignored ([`NO_TASK`]): Data-Out PDUs that were under way to it are read
/// over, not rejected.
#[derive(Clone, Copy)]
pub(super) struct Ghost {
    pub task: TaskId,
    pub itt: Itt,
    pub conn: ConnIx,
    pub lun: Lun,
    /// The StatSN of the Asynchronous Message that told the initiator so (FastAbort).
    pub told: Option<StatSn>,
}

/// What a command is called that is no task.
pub(super) const NO_TASK: TaskId = TaskId(u32::MAX);

/// Those of a session, oldest first. While there are none, which is nearly always, they take no memory: a session is there for
/// as long as its host.
#[derive(Default)]
pub(super) struct Ghosts(VecDeque<Ghost>);

impl Ghosts {
    /// A task is aborted, or once more; or a command is ignored.
    pub fn add(&mut self, ghost: Ghost) {
        if let Some(known) = self.0.iter_mut().rev().find(|known| (known.task, known.itt) == (ghost.task, ghost.itt)) {
            *known = ghost;
            return;
        }
        if self.0.len() >= MOST {
            self.0.pop_front();
        } else if self.0.len() == self.0.capacity() {
            // Twice as many as there are, but never more than there can be.
            self.0.reserve_exact(self.0.len().clamp(4, MOST - self.0.len()));
        }
        self.0.push_back(ghost);
    }

    /// Whether data with Initiator Task Tag `itt` may be on the way to an aborted task. `task` is its Target Transfer
    /// Tag, which has to be that of the task, too, unless it is the reserved one (unsolicited data).
    pub fn has(&self, task: TaskId, itt: Itt) -> bool {
        self.0.iter().any(|g| g.itt == itt && (task.0 == u32::MAX || g.task == task))
    }

    /// Notes of the ghosts of a logical unit on a connection that the initiator is told of them, by an Asynchronous
    /// Message with this StatSN.
    pub fn tell(&mut self, conn: ConnIx, lun: Lun, stat_sn: StatSn) {
        let theirs = self.0.iter_mut().filter(|g| g.conn == conn && g.lun.is_same_unit(lun));
        theirs.for_each(|g| _ = g.told.get_or_insert(stat_sn));
    }

    /// Forgets the ghosts of a logical unit on a connection that the initiator was told of by a status before
    /// `exp_stat_sn`: it has acknowledged that, and sends no more data to them.
    pub fn lay(&mut self, conn: ConnIx, lun: Lun, exp_stat_sn: StatSn) {
        self.0.retain(|g| {
            !(g.conn == conn && g.lun.is_same_unit(lun) && g.told.is_some_and(|told| told.lt(exp_stat_sn)))
        });
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_them_and_goes_with_the_last() {
        let (conn, lun, told) = (ConnIx(0), Lun([0; 8]), StatSn(5));
        let mut ghosts = Ghosts::default();
        assert_eq!(ghosts.0.capacity(), 0, "of a session that never had one");
        let add = |ghosts: &mut Ghosts, n: u32| {
            ghosts.add(Ghost { task: TaskId(n), itt: Itt(n), conn, lun, told: None });
        };
        add(&mut ghosts, 0);
        assert!((1..=4).contains(&ghosts.0.capacity()));
        (1..3 * MOST as u32).for_each(|n| add(&mut ghosts, n));
        assert_eq!((ghosts.0.len(), ghosts.0.capacity()), (MOST, MOST));
        assert!(ghosts.has(NO_TASK, Itt(MOST as u32 * 3 - 1)) && !ghosts.has(NO_TASK, Itt(0)), "the oldest make room");
        ghosts.tell(conn, lun, told);
        ghosts.lay(conn, lun, told);
        assert_eq!((ghosts.0.len(), ghosts.0.capacity()), (MOST, MOST), "not acknowledged");
        ghosts.lay(conn, lun, StatSn(6));
        assert_eq!(ghosts.0.capacity(), 0);
    }
}
