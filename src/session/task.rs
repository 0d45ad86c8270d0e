//! Tasks and the slab that holds them: a bounded number of slots, which are used again.
//!
//! [`Slab`] hands out slots, recognises stale [`TaskId`]s by their generation, and finds a task by its Initiator Task
//! Tag. What a task may do next is in its [`State`]: `Held` (waits for its CmdSN), `Open` (the shard has it),
//! `Answering` (its status is settled, but has to wait: for data that the initiator owes, for read data that is sent
//! again, or for a fence), `Aborting` (the shard has been told to let go).

use super::fault::TaskFault;
use super::ghosts::Ghosts;
use super::management::Management;
use super::recovery::{Input, Outgoing};
use super::residual::Residual;
use super::seam::TaskId;
use super::task_command::TaskCommand;
use crate::limits::{MAX_OUTSTANDING_R2T, TASKS_PER_SESSION};
use crate::shares::Held;
use crate::wire::{Bhs, CmdSn, Itt};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Held,
    Open,
    Answering,
    Aborting,
}

/// What a slot is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    /// Not delivered yet: its CmdSN still counts.
    Held,
    /// The command window.
    Window,
    /// The quota of immediate commands.
    Immediate,
    /// Nothing: a held command whose CmdSN is a gap again.
    Nothing,
}

/// What kind of request a slot holds.
pub(super) enum Kind {
    Scsi,
    /// A task management function in progress.
    Management(Box<Management>),
    /// A NOP-Out, Text, Logout or task management request that waits for its CmdSN, with its data segment.
    Request(Box<(Bhs, Vec<u8>, Held)>),
}

/// The data that a write receives. All sequences are in increasing offset order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incoming {
    /// Unsolicited Data-Out PDUs are still to come.
    pub unsolicited: bool,
    /// Where they end: min(FirstBurstLength, EDTL).
    pub unsolicited_end: u32,
    /// The DataSN of the next Data-Out of the current sequence.
    pub data_sn: u32,
    /// All data up to here was sent, is on its way unsolicited, or was asked for.
    pub asked: u32,
    /// The shard takes data up to here.
    pub wanted: u32,
    /// A PDU of the current sequence was lost: the rest of it is read over, then asked for again.
    pub broken: bool,
    /// Times that data was asked for again.
    pub recoveries: u8,
    /// When the command came, or data of it was last asked for or came in, milliseconds.
    pub since_ms: u64,
    /// R2Ts that were sent. Those of a bidirectional command are numbered together with its Data-In.
    pub r2ts_sent: u32,
    /// The last R2T: its R2TSN, and the offset of the data that it asks for.
    pub r2t_sn: u32,
    pub r2t_from: u32,
    /// The ends of the data that the outstanding R2Ts ask for, oldest first: the first `r2ts` entries.
    r2t_ends: [u32; MAX_OUTSTANDING_R2T as usize],
    r2ts: u8,
}

impl Incoming {
    pub const NONE: Incoming = Incoming {
        unsolicited: false,
        unsolicited_end: 0,
        data_sn: 0,
        asked: 0,
        wanted: 0,
        broken: false,
        recoveries: 0,
        since_ms: 0,
        r2ts_sent: 0,
        r2t_sn: 0,
        r2t_from: 0,
        r2t_ends: [0; MAX_OUTSTANDING_R2T as usize],
        r2ts: 0,
    };

    /// The initiator is to send more: a sequence has not had its F bit.
    #[inline]
    pub fn is_owed(&self) -> bool {
        self.unsolicited || self.r2ts > 0
    }

    /// Outstanding R2Ts.
    #[inline]
    pub fn r2ts(&self) -> u16 {
        u16::from(self.r2ts)
    }

    /// The end of the data that the oldest outstanding R2T asks for; `None`: none is outstanding.
    #[inline]
    pub fn r2t_end(&self) -> Option<u32> {
        if self.r2ts > 0 { self.r2t_ends.first().copied() } else { None }
    }

    /// Notes an R2T that asks for everything from `asked` to `end`.
    pub fn push_r2t(&mut self, end: u32) {
        if let Some(place) = self.r2t_ends.get_mut(usize::from(self.r2ts)) {
            *place = end;
            self.r2ts += 1;
            self.asked = end;
        }
    }

    /// Notes that no more of what was asked for or announced will come. All data up to `received` has.
    pub fn interrupt(&mut self, received: u32) {
        (self.unsolicited, self.r2ts, self.broken, self.data_sn) = (false, 0, false, 0);
        self.asked = received;
    }

    /// The sequence that `solicited` or unsolicited data belongs to has had its F bit.
    pub fn sequence_ended(&mut self, solicited: bool) {
        self.data_sn = 0;
        if !solicited {
            self.unsolicited = false;
        } else if self.r2ts > 0 {
            self.r2t_ends.rotate_left(1);
            self.r2ts -= 1;
        }
    }
}

/// What of a task the order of commands counts ([`Ordering`](super::parts::Ordering)). Only `ordering` changes it.
#[derive(Clone, Copy)]
pub(super) struct InOrder {
    /// It counts in `Ordering::ordered`: it is delivered, and is ORDERED.
    pub ordered: bool,
    /// It is in `Ordering::waiting`: it is delivered, and has not begun.
    pub waits: bool,
}

impl InOrder {
    pub const NONE: InOrder = InOrder { ordered: false, waits: false };
}

/// A status that cannot be sent yet.
pub(super) struct Answer {
    pub status: u8,
    pub sense: Vec<u8>,
    pub residual: Residual,
    /// It needs a response fence.
    pub fence: bool,
}

/// A slot of the slab.
pub(super) struct Task {
    pub command: TaskCommand,
    pub itt: Itt,
    pub cmd_sn: CmdSn,
    pub state: State,
    pub charge: Charge,
    pub kind: Kind,
    pub incoming: Incoming,
    pub input: Input,
    /// The shard has been told of this task: it has to let go of it before the slot is free.
    pub shared: bool,
    pub order: InOrder,
    /// A held command that will end with an error of ours when its turn comes.
    pub fault: Option<TaskFault>,
    /// The status to be sent when data and shard are done with.
    pub answer: Option<Box<Answer>>,
    /// Read data that may be asked for again (ErrorRecoveryLevel 1 and 2).
    pub outgoing: Option<Box<Outgoing>>,
    /// Until when a function that has aborted the task waits for the data of its R2Ts, milliseconds; 0: it does not.
    pub drain_by_ms: u64,
    /// The id of the live task in this slot; `NO_ID` if the slot is free.
    id: TaskId,
    /// How often the slot was taken. Ids have the low 24 bits of it.
    generation: u32,
    /// `generation >> HALF` when [`Slab::comes_round`] was asked last.
    looked: u32,
}

impl Task {
    fn new() -> Self {
        Task {
            command: TaskCommand::NONE,
            itt: Itt::RESERVED,
            cmd_sn: CmdSn(0),
            state: State::Free,
            charge: Charge::Held,
            kind: Kind::Scsi,
            incoming: Incoming::NONE,
            input: Input::NONE,
            shared: false,
            order: InOrder::NONE,
            fault: None,
            answer: None,
            outgoing: None,
            drain_by_ms: 0,
            id: NO_ID,
            generation: 0,
            looked: 0,
        }
    }

    /// The management function in this slot, if it is one.
    pub fn management(&mut self) -> Option<&mut Management> {
        match &mut self.kind {
            Kind::Management(management) => Some(management),
            _ => None,
        }
    }
}

/// The slots of a session.
pub(super) struct Slab {
    /// Grows up to `TASKS_PER_SESSION` as tasks are open at the same time, and never shrinks.
    slots: Vec<Task>,
    free: Vec<u16>,
    /// How many live tags fall into each bucket: a new command's tag is nearly always found to be new by one look.
    buckets: [u8; 256],
    /// Those that were aborted.
    pub ghosts: Ghosts,
}

const _: () = assert!(TASKS_PER_SESSION < 0xff);
/// The id of no task: its low byte is no slot.
const NO_ID: TaskId = TaskId(u32::MAX);

/// The highest bit of a generation that ids have. It says which half of all ids of its slot an id is in.
///
/// ```text
/// TaskId: | generation: bit 23 (the half), bits 22 to 0 | slot: 8 bits |
/// ```
///
/// When a slot goes on to the other half, ids of that half which are still kept somewhere are from the round before.
const HALF: u32 = 23;

/// Whether two ids are of one slot, and of the same half of all its ids.
pub(super) fn is_beside(one: TaskId, other: TaskId) -> bool {
    one.slot() == other.slot() && one.0 >> (8 + HALF) == other.0 >> (8 + HALF)
}

#[inline]
fn bucket(itt: Itt) -> usize {
    (itt.0.wrapping_mul(0x9e37_79b1) >> 24) as usize
}

impl Slab {
    pub fn new() -> Self {
        // Slots are added as the initiator uses them: most sessions never have more than a few tasks.
        Slab {
            slots: Vec::new(),
            free: Vec::with_capacity(TASKS_PER_SESSION),
            buckets: [0; 256],
            ghosts: Ghosts::default(),
        }
    }

    /// Slots that there are, free or in use.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Slots in use.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a slot for the task `itt`. Returns the task's id and the slot, which is in state `Free` and wants to be
    /// filled in; `None` if all slots are in use.
    #[inline(always)]
    pub fn take(&mut self, itt: Itt) -> Option<(TaskId, &mut Task)> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < TASKS_PER_SESSION => {
                self.slots.push(Task::new());
                (self.slots.len() - 1) as u16
            }
            None => return None,
        };
        if let Some(count) = self.buckets.get_mut(bucket(itt)) {
            *count += 1;
        }
        let task = self.slots.get_mut(usize::from(slot))?;
        task.generation = task.generation.wrapping_add(1);
        task.itt = itt;
        debug_assert!(matches!(task.kind, Kind::Scsi) && task.answer.is_none() && task.outgoing.is_none());
        task.incoming = Incoming::NONE;
        task.input = Input::NONE;
        task.shared = false;
        debug_assert!(!task.order.waits);
        task.order = InOrder::NONE;
        task.fault = None;
        task.drain_by_ms = 0;
        task.id = TaskId(task.generation << 8 | u32::from(slot));
        Some((task.id, task))
    }

    /// Gives a slot back. Harmless if it is free already.
    #[inline(always)]
    pub fn release(&mut self, slot: usize) {
        let Some(task) = self.slots.get_mut(slot) else { return };
        if task.state == State::Free {
            return;
        }
        (task.state, task.id) = (State::Free, NO_ID);
        // What has memory of its own is dropped now. Most tasks have nothing of the kind, and a look spares them the
        // drop.
        if !matches!(task.kind, Kind::Scsi) {
            task.kind = Kind::Scsi;
        }
        if task.answer.is_some() || task.outgoing.is_some() {
            (task.answer, task.outgoing) = (None, None);
        }
        if let Some(count) = self.buckets.get_mut(bucket(task.itt)) {
            *count = count.saturating_sub(1);
        }
        self.free.push(slot as u16);
    }

    /// The live task that `id` names.
    #[inline]
    pub fn get(&self, id: TaskId) -> Option<&Task> {
        self.slots.get(id.slot()).filter(|task| task.id == id)
    }

    /// The live task that `id` names.
    #[inline]
    pub fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.slots.get_mut(id.slot()).filter(|task| task.id == id)
    }

    /// The id of the task in `slot`, if there is one.
    #[inline]
    pub fn id(&self, slot: usize) -> Option<TaskId> {
        self.slots.get(slot).map(|task| task.id).filter(|id| *id != NO_ID)
    }

    /// Whether the ids of this task's slot have gone on to the other half since this was asked last. Then what is kept
    /// of a task whose id is in the same half ([`is_beside`]) is of another task, from before the ids came round.
    pub fn comes_round(&mut self, id: TaskId) -> bool {
        let Some(task) = self.get_mut(id) else { return false };
        let now = task.generation >> HALF;
        std::mem::replace(&mut task.looked, now) != now
    }

    /// The live task with this tag.
    #[inline]
    pub fn find(&self, itt: Itt) -> Option<TaskId> {
        if self.buckets.get(bucket(itt)).is_none_or(|&count| count == 0) {
            return None;
        }
        let slot = self.slots.iter().position(|t| t.itt == itt && t.state != State::Free)?;
        self.id(slot)
    }

    /// As if the free slot `slot` had been used so many times more.
    #[cfg(test)]
    pub fn age(&mut self, slot: usize, times: u32) {
        self.slots[slot].generation = self.slots[slot].generation.wrapping_add(times);
    }

    /// Whether one of the tasks needs more from the initiator: data that it owes or that is still to be asked for, or a
    /// command that comes before it.
    pub fn await_initiator(&self) -> bool {
        let lacks_data = |t: &Task| t.command.received_bytes < t.command.write_edtl_bytes();
        self.slots.iter().any(|t| match t.state {
            State::Free => false,
            State::Held => true,
            State::Open if matches!(t.kind, Kind::Scsi) => lacks_data(t) || t.incoming.is_owed(),
            State::Open | State::Answering | State::Aborting => t.incoming.is_owed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_ids_are_recognised() {
        let mut slab = Slab::new();
        let (first, task) = slab.take(Itt(7)).unwrap();
        task.state = State::Open;
        assert!(slab.get(first).is_some());
        assert_eq!(slab.find(Itt(7)), Some(first));
        slab.release(first.slot());
        slab.release(first.slot());
        assert!(slab.get(first).is_none() && slab.find(Itt(7)).is_none());
        let (second, task) = slab.take(Itt(7)).unwrap();
        task.state = State::Open;
        assert_ne!(first, second);
        assert_eq!((first.slot(), slab.len()), (second.slot(), 1));
        assert!(slab.get(first).is_none() && slab.get(second).is_some());
    }

    #[test]
    fn the_slab_is_bounded() {
        let mut slab = Slab::new();
        for n in 0..TASKS_PER_SESSION {
            slab.take(Itt(n as u32)).unwrap().1.state = State::Open;
        }
        assert!(slab.take(Itt(1000)).is_none());
        assert!((0..TASKS_PER_SESSION).all(|slot| slab.id(slot).is_some_and(|id| id.0 != u32::MAX)));
        (0..TASKS_PER_SESSION).for_each(|slot| slab.release(slot));
        assert_eq!(slab.len(), 0);
    }

    #[test]
    fn sequences_end_in_order() {
        let mut incoming = Incoming::NONE;
        (1..=10).for_each(|n| incoming.push_r2t(n * 100));
        assert_eq!((incoming.r2ts(), incoming.asked), (MAX_OUTSTANDING_R2T, 800));
        incoming.sequence_ended(true);
        assert_eq!((incoming.r2t_end(), incoming.r2ts()), (Some(200), 7));
        incoming.sequence_ended(false);
        assert!(incoming.is_owed());
    }
}
