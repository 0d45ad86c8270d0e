//! Task attributes: which delivered command may run when (SAM-5 clause 8.6).
//!
//! A session is one I_T nexus, and what is ordered here is what that nexus has sent to one logical unit: what others have under
//! way there, and when theirs arrived, an initiator cannot know. An ORDERED command begins when all that were delivered
//! before it are gone, and none that is delivered after it begins before it is gone; HEAD OF QUEUE waits for nobody.
//!
//! While no ORDERED command is open, which is nearly always, this costs a look at a number. While one is, a command that
//! comes or ends has each task looked at once, and no more: only those at its own logical unit can wait for it.

use super::Session;
use super::seam::{Event, TaskId};
use super::task::{Kind, State, Task};
use crate::wire::{Lun, TaskAttr};

/// What a command at a logical unit finds there before it.
#[derive(Default)]
struct Ahead {
    any: bool,
    ordered: bool,
}

impl Ahead {
    fn add(&mut self, task: &Task) {
        self.any = true;
        self.ordered |= task.order.ordered;
    }

    /// Whether a command that comes behind it has to wait.
    fn keeps(&self, task: &Task) -> bool {
        if task.order.ordered { self.any } else { self.ordered }
    }
}

impl Session {
    /// Whether an ORDERED command is open: the end of a task may let others begin.
    #[inline]
    pub fn keeps_order(&self) -> bool {
        self.ordering.is_kept()
    }

    /// Puts a delivered command among those that wait, and has it begin at once if nothing is before it.
    #[cold]
    pub(super) fn enqueue(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if task.command.attr == TaskAttr::ORDERED {
            task.order.ordered = true;
            self.ordering.ordered += 1;
        }
        task.order.waits = true;
        let lun = task.command.lun;
        self.ordering.waiting.push(id);
        self.begin_waiting(lun);
    }

    /// Gives the slot of a task back while order matters, and has those begin that waited for it.
    #[cold]
    pub(super) fn release_in_order(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let (lun, ordered, waited) = (task.command.lun, task.order.ordered, std::mem::take(&mut task.order.waits));
        self.tasks.release(id.slot());
        self.ordering.ordered -= usize::from(ordered);
        if waited {
            self.ordering.waiting.retain(|waiting| *waiting != id);
        }
        // A command that is not ORDERED holds up ORDERED ones only, and of those only the first that waits at the unit
        // could begin now.
        if ordered || self.first_waiting(lun).is_some_and(|first| first.order.ordered) {
            self.begin_waiting(lun);
        }
    }

    /// The oldest command that waits at a logical unit.
    fn first_waiting(&mut self, lun: Lun) -> Option<&Task> {
        self.ordering.look_at(self.ordering.waiting.len());
        let mut waiting = self.ordering.waiting.iter().filter_map(|id| self.tasks.get(*id));
        waiting.find(|task| lun.is_same_unit(task.command.lun))
    }

    /// Has the commands of a logical unit begin that no other command holds up any more.
    fn begin_waiting(&mut self, lun: Lun) {
        let Session { tasks, ordering, events, .. } = self;
        ordering.look_at(tasks.slots() + ordering.waiting.len());
        let is_there = |task: &Task| {
            matches!(task.kind, Kind::Scsi)
                && matches!(task.state, State::Open | State::Aborting)
                && lun.is_same_unit(task.command.lun)
        };
        let mut ahead = Ahead::default();
        let all = (0..tasks.slots()).filter_map(|slot| tasks.get(tasks.id(slot)?));
        all.filter(|task| !task.order.waits && is_there(task)).for_each(|task| ahead.add(task));
        ordering.waiting.retain(|&id| {
            let Some(task) = tasks.get_mut(id) else { return false };
            if !lun.is_same_unit(task.command.lun) {
                return true;
            }
            let is_open = task.state == State::Open;
            task.order.waits = is_open && ahead.keeps(task);
            // A command that was aborted before it began holds up others until it is gone.
            if is_there(task) {
                ahead.add(task);
            }
            if is_open && !task.order.waits {
                events.push(Event::Execute(id));
            }
            task.order.waits
        });
    }
}
