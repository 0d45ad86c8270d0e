//! Task attributes: who begins when, and at what cost.

use super::driver::*;
use crate::limits::TASKS_PER_SESSION;
use crate::session::seam::{Event, TaskId};
use crate::wire::*;
use proptest::prelude::*;

impl Rig {
    fn deliver(&mut self, attr: TaskAttr, lun: u16) -> TaskId {
        let command = ScsiCommand { attr, lun: Lun::flat(lun), ..self.draw() };
        self.send(command, &[]);
        self.s.tasks.find(command.itt).unwrap()
    }
}

#[test]
fn a_command_that_nobody_waits_for_costs_no_more_than_one_look_at_each_task() {
    let mut r = Rig::new();
    let writes: Vec<_> = (0..100).map(|_| r.write(512, 0)).collect();
    let last = ScsiCommand { attr: TaskAttr::ORDERED, ..r.draw_write(512) };
    r.send(last, &[]);
    assert_eq!(r.events(), []);
    writes.iter().for_each(|&task| r.good(task));
    assert_eq!(r.events().len(), 1, "the ORDERED command begins, and never ends");
    while r.s.open_tasks() + 2 < TASKS_PER_SESSION && r.s.window.max_cmd_sn().0 > r.cmd_sn {
        r.deliver(TaskAttr::SIMPLE, 0);
    }
    assert_eq!((r.events(), r.s.open_tasks() > 100), (vec![], true));
    r.s.ordering.looks = 0;
    for _ in 0..10_000 {
        r.deliver(TaskAttr::HEAD_OF_QUEUE, 0);
        let [Event::Execute(task)] = r.events()[..] else { panic!("nobody is before the head of the queue") };
        r.good(task);
    }
    assert!(r.s.ordering.looks <= 10_000 * TASKS_PER_SESSION, "{} looks", r.s.ordering.looks);
}

/// A delivered command, as SAM-5 clause 8.6 has it.
struct Delivered {
    task: TaskId,
    has_begun: bool,
    attr: TaskAttr,
    lun: u16,
}

impl Delivered {
    fn keeps(&self, other: &Delivered) -> bool {
        self.lun == other.lun && (self.attr == TaskAttr::ORDERED || other.attr == TaskAttr::ORDERED)
    }
}

/// Has all begin that may; those that have begun come first.
fn begin(all: &mut Vec<Delivered>, begun: &[TaskId]) {
    let mut begun = begun.iter();
    let mut at = all.iter().filter(|each| each.has_begun).count();
    while let Some(each) = all.get(at) {
        let is_free = each.attr == TaskAttr::HEAD_OF_QUEUE || !all[..at].iter().any(|other| other.keeps(each));
        at += 1;
        if is_free {
            let mut each = all.remove(at - 1);
            assert_eq!(begun.next(), Some(&each.task), "it may begin");
            each.has_begun = true;
            let place = all.iter().filter(|each| each.has_begun).count();
            all.insert(place, each);
        }
    }
    assert_eq!(begun.next(), None, "it has to wait");
}

proptest! {
    #[test]
    fn commands_begin_as_their_attributes_say(steps in proptest::collection::vec((0u8..8, 0u16..2, any::<usize>()), 1..200)) {
        let (mut r, mut all) = (Rig::new(), Vec::<Delivered>::new());
        for (step, lun, which) in steps {
            let begun = all.iter().filter(|each| each.has_begun).count();
            match step {
                0..4 if all.len() < 100 => {
                    let attr = [TaskAttr::SIMPLE, TaskAttr::UNTAGGED, TaskAttr::ORDERED, TaskAttr::HEAD_OF_QUEUE];
                    let attr = attr[usize::from(step)];
                    all.push(Delivered { task: r.deliver(attr, lun), has_begun: false, attr, lun });
                }
                4..7 if begun > 0 => r.good(all.remove(which % begun).task),
                7 if !all.is_empty() => {
                    let gone = all.remove(which % all.len());
                    assert!(r.s.abort(gone.task));
                    r.released(gone.task);
                }
                _ => continue,
            }
            let events: Vec<_> = r.events().into_iter().filter_map(|event| match event {
                Event::Execute(task) => Some(task),
                _ => None,
            }).collect();
            begin(&mut all, &events);
        }
    }
}
