//! What a session asks of the shard, in order.

use super::seam::{Event, TaskId};
use std::collections::VecDeque;

/// Room for events that the queue has from the start. More of them wait at once only when many tasks are aborted.
const EVENTS: usize = 64;

/// The queue of what is asked, the oldest first.
pub(super) struct Events {
    /// A command to be run that is older than all of `queue`. Mostly nothing else is asked, and then it does not go
    /// through the queue.
    first: Option<TaskId>,
    queue: VecDeque<Event>,
}

impl Events {
    pub fn new() -> Events {
        Events { first: None, queue: VecDeque::with_capacity(EVENTS) }
    }

    /// A command is to be run.
    #[inline(always)]
    pub fn execute(&mut self, task: TaskId) {
        if self.first.is_none() && self.queue.is_empty() {
            self.first = Some(task);
        } else {
            self.push(Event::Execute(task));
        }
    }

    pub fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    /// Takes the oldest event if it is a command to be run.
    #[inline(always)]
    pub fn next_command(&mut self) -> Option<TaskId> {
        if self.first.is_some() {
            return self.first.take();
        }
        match self.queue.front() {
            Some(&Event::Execute(task)) => {
                self.queue.pop_front();
                Some(task)
            }
            _ => None,
        }
    }

    /// Takes the oldest event.
    #[inline]
    pub fn next(&mut self) -> Option<Event> {
        match self.first.take() {
            Some(task) => Some(Event::Execute(task)),
            None => self.queue.pop_front(),
        }
    }

    /// Nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.first.is_none() && self.queue.is_empty()
    }

    /// Whether something is asked that is `like` this.
    pub fn any(&self, like: impl Fn(&Event) -> bool) -> bool {
        self.first.is_some_and(|task| like(&Event::Execute(task))) || self.queue.iter().any(like)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Whichever way each of them goes, and whichever way it is asked for.
        #[test]
        fn what_was_asked_first_comes_first(steps in proptest::collection::vec(0u8..4, 0..64)) {
            let (mut events, mut expected, mut number) = (Events::new(), VecDeque::new(), 0);
            for step in steps {
                let task = TaskId(number);
                number += 1;
                match step {
                    0 => {
                        events.execute(task);
                        expected.push_back(Event::Execute(task));
                    }
                    1 => {
                        events.push(Event::Abort(task));
                        expected.push_back(Event::Abort(task));
                    }
                    2 => prop_assert_eq!(events.next(), expected.pop_front()),
                    _ => match expected.front() {
                        Some(&Event::Execute(task)) => {
                            prop_assert_eq!(events.next_command(), Some(task));
                            expected.pop_front();
                        }
                        _ => prop_assert_eq!(events.next_command(), None),
                    },
                }
                prop_assert_eq!(events.is_empty(), expected.is_empty());
                prop_assert!(expected.iter().all(|event| events.any(|other| other == event)));
            }
            while let Some(event) = expected.pop_front() {
                prop_assert_eq!(events.next(), Some(event));
            }
            prop_assert!(events.is_empty() && events.next().is_none());
        }
    }
}
