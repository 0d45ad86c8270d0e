//! Task attributes: which delivered command may run when (SAM-5 clause 8.6).
//!
//! A session is one I_T nexus, and what is ordered here is what that nexus has sent to one logical unit: what others have under
//! way there, and when theirs arrived, an initiator cannot know. An ORDERED command begins when all that were delivered
//! before it are gone, and none that is delivered after it begins before it is gone; HEAD OF QUEUE waits for nobody.
//!
//! While no ORDERED command is open, which is nearly always, this costs a look at a number.

use super::seam::{Event, TaskId};
use super::task::{Kind, State};
use super::tmf::same_lun;
use super::{Session, task};
use crate::wire::{Lun, TaskAttr};

/// The order of the commands that are delivered.
#[derive(Default)]
pub(super) struct Ordering {
    /// ORDERED commands that are delivered and not gone.
    ordered: usize,
    /// Delivered commands that have not begun, oldest first.
    waiting: Vec<TaskId>,
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
}

impl Session {
    /// Whether an ORDERED command is open: the end of a task may let others begin.
    #[inline]
    pub fn keeps_order(&self) -> bool {
        self.ordering.is_kept()
    }

    /// A command is delivered that has to wait, perhaps.
    #[cold]
    pub(super) fn enqueue(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.command.attr == TaskAttr::ORDERED {
            task.ordered = true;
            self.ordering.ordered += 1;
        }
        self.ordering.waiting.push(id);
        self.begin_waiting();
    }

    /// Gives the slot of a task back whose end may matter to others.
    #[cold]
    pub(super) fn release_in_order(&mut self, id: TaskId) {
        let ordered = self.tasks.get(id).is_some_and(|task| task.ordered);
        self.tasks.release(id.slot());
        self.ordering.ordered -= usize::from(ordered);
        self.ordering.waiting.retain(|waiting| *waiting != id);
        self.begin_waiting();
    }

    /// Has those begin that wait for nobody any more.
    fn begin_waiting(&mut self) {
        let mut at = 0;
        while let Some(&id) = self.ordering.waiting.get(at) {
            let lives = self.tasks.get(id).is_some_and(|task| task.state == State::Open);
            if lives && self.has_to_wait(id, at) {
                at += 1;
                continue;
            }
            self.ordering.waiting.remove(at);
            if lives {
                self.events.push(Event::Execute(id));
            }
        }
    }

    /// Whether the command at place `at` of those that wait has to.
    fn has_to_wait(&self, id: TaskId, at: usize) -> bool {
        let Some(task) = self.tasks.get(id) else { return false };
        let (lun, ordered) = (task.command.lun, task.ordered);
        let before = self.ordering.waiting.get(..at).unwrap_or(&[]);
        let matters = |other: &task::Task| same_lun(other.command.lun, lun) && (ordered || other.ordered);
        before.iter().any(|id| self.tasks.get(*id).is_some_and(matters)) || self.has_begun(lun, matters)
    }

    /// Whether a command of a logical unit that `matters` has begun and is not gone.
    fn has_begun(&self, lun: Lun, matters: impl Fn(&task::Task) -> bool) -> bool {
        let has_begun = |id: &TaskId| !self.ordering.waiting.contains(id);
        (0..self.tasks.slots()).filter_map(|slot| self.tasks.id(slot)).filter(has_begun).any(|id| {
            self.tasks.get(id).is_some_and(|task| {
                let is_command = matches!(task.kind, Kind::Scsi) && same_lun(task.command.lun, lun);
                is_command && matches!(task.state, State::Open | State::Aborting) && matters(task)
            })
        })
    }
}
