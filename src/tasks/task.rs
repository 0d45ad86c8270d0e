//! A task as its executor knows it, between its planning and its answer: which bytes of the medium it is about, how far
//! it is, and the buffers it holds.
//!
//! Invariants: a slot that is not in use holds nothing, and nothing of it is under way (`Exec::is_fresh`,
//! `Exec::clear`). Slices are in the order of their offsets. `under_way` counts operations and jobs; none of them is
//! forgotten before it is over, or has become a stray.

use super::failing::Failing;
use super::spent::{Spent, Stage};
use super::tally::{Class, Ended, Slow, Tally};
use super::transfer::{Early, Transfer, UnderWay};
use super::waiting::Waits;
use crate::buffers::Buf;
use crate::model::{ConnNo, DataRef, Due, KeptDue, SeatIx, TaskId, TaskKey, UnitIx};
use crate::waits::left::Mark;
use crate::waits::strays::Hold;

pub use crate::scsi::Action;
use crate::scsi::MediumOp;
use std::rc::Rc;

/// Slices of one task that are under way at a time: while one is on the disk the next is on the wire.
pub const SLICES: usize = 4;

/// What is done with a task's bytes.
// With a tag of its own: it is asked at every step, and would be computed from what an action holds.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: the slot is free, or its command waits for its turn.
    Idle,
    /// Medium to initiator.
    Read,
    /// Initiator to medium, slice by slice.
    Write(Action),
    /// Data-Out is collected into the first slice before anything is done: parameter lists, and operations on the medium
    /// that need all of it.
    Gather,
    /// A job works for the whole command.
    Job,
}

/// What comes after `Kind::Gather`.
#[derive(Debug, Clone)]
pub enum Then {
    /// `LogicalUnit::parameters`.
    Parameters,
    /// A job with all of the data.
    Medium(MediumOp),
}

/// How far a slice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Data-Out is coming in.
    Filling,
    /// Data-Out is received straight into the buffer, which this connection's receive has meanwhile (`shard/loan.rs`).
    Lent {
        /// Number of the connection.
        conn: ConnNo,
    },
    /// On the medium (or a job has it).
    Busy,
    /// Read: full. Write: done.
    Ready,
}

/// One piece of a task's transfer.
#[derive(Debug)]
pub struct Slice {
    /// Its buffer; `None` while a job or a receive has it.
    pub buf: Option<Buf>,
    /// Another buffer, as large, for what comes back from the medium. It is taken together with the first, so that
    /// nobody who has one waits for the other.
    pub scratch: Option<Buf>,
    /// Offset in the task's transfer, bytes.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
    /// How far it is.
    pub progress: Progress,
    /// Its count at the unit's fence, while it is written, or read beside atomic writes.
    pub hold: Option<Hold>,
    /// Memory of a RAM unit that the slice is copied from when it is sent.
    pub source: Option<DataRef>,
}

impl Slice {
    /// One whose data is to come.
    pub fn to_fill(buf: Buf, scratch: Option<Buf>, offset: u32, len: u32) -> Slice {
        Slice { buf: Some(buf), scratch, offset, len, progress: Progress::Filling, hold: None, source: None }
    }
}

/// One task.
// In the order in which it is written: a read that is over at once looks at the end of `transfer`, `kind`, `task`, `early`
// and the beginning of `waits`, and at nothing else.
#[derive(Debug)]
#[repr(C)]
pub struct Exec {
    /// What says that the command has to be ended.
    pub due: KeptDue,
    /// What comes after `Kind::Gather`.
    pub then: Option<Then>,
    /// Counts the task for those who wait for its end: it was aborted while something was in flight.
    pub left: Option<Rc<Mark>>,
    /// What of it is not over.
    pub under_way: UnderWay,
    /// Slices under way, oldest first.
    pub slices: std::collections::VecDeque<Slice>,
    /// What has gone wrong.
    pub failing: Failing,
    /// Where it has spent its time.
    pub spent: Spent,
    /// Index of the logical unit in the process.
    pub unit: UnitIx,
    /// The bytes that it moves.
    pub transfer: Transfer,
    /// What is done.
    pub kind: Kind,
    /// It has what was written made durable, and nothing else.
    pub is_flush: bool,
    /// For whom.
    pub task: TaskId,
    /// When its command was executed, nanoseconds of the clock of all cores.
    pub begun_ns: u64,
    /// What is written is to be durable before the status.
    pub durable: bool,
    /// A flush that began after everything was written has ended.
    pub flushed: bool,
    /// Aborted: nothing more is sent, and the task is released when nothing is in flight.
    pub aborted: bool,
    /// Data that came with the command, before its turn.
    pub early: Early,
    /// What it waits for.
    pub waits: Waits,
}

impl Default for Exec {
    fn default() -> Exec {
        Exec {
            due: KeptDue::default(),
            then: None,
            left: None,
            under_way: UnderWay::default(),
            slices: std::collections::VecDeque::with_capacity(SLICES),
            failing: Failing::default(),
            spent: Spent::NOTHING,
            unit: UnitIx::new(0),
            transfer: Transfer::NONE,
            kind: Kind::Idle,
            is_flush: false,
            task: TaskId(u32::MAX),
            begun_ns: 0,
            durable: false,
            flushed: false,
            aborted: false,
            early: Early::default(),
            waits: Waits::default(),
        }
    }
}

impl Exec {
    /// Begins a transfer.
    pub fn begin(&mut self, kind: Kind, task: TaskId, unit: UnitIx, place: (u64, u32, u64)) {
        debug_assert!(self.slices.is_empty() && self.under_way.is_none());
        self.kind = kind;
        self.task = task;
        self.unit = unit;
        self.transfer.begin(place);
        (self.durable, self.flushed) = (false, false);
        self.forget_abort();
        self.failing = Failing::default();
        self.then = None;
    }

    /// Has everything read again that is not done: what has failed can be read after all, by itself.
    pub fn read_again(&mut self) {
        self.failing.clear();
        self.transfer.start_again();
    }

    /// A part of it was done, or the medium has it.
    pub fn has_begun(&self) -> bool {
        let comes_in = |slice: &Slice| matches!(slice.progress, Progress::Filling | Progress::Lent { .. });
        self.transfer.moved > 0 || !self.slices.iter().all(comes_in)
    }

    /// The slice that holds `offset` of the transfer.
    #[inline]
    pub fn slice_at(&mut self, offset: u32) -> Option<&mut Slice> {
        let holds = |slice: &Slice| slice.offset <= offset && offset - slice.offset < slice.len;
        // Mostly there is only one.
        if self.slices.front().is_some_and(holds) {
            return self.slices.front_mut();
        }
        self.slices.iter_mut().find(|slice| holds(slice))
    }

    /// It has no buffers, and waits neither for its turn at a limit nor for a flush.
    #[inline]
    pub fn holds_nothing(&self) -> bool {
        self.slices.is_empty()
            && self.early.data.is_none()
            && self.waits.held.is_none()
            && self.waits.flushing.is_none()
    }

    /// Nothing was begun in it, and it has nothing: it is as [`Exec::clear`] leaves it, but for its task.
    #[inline(always)]
    pub fn is_fresh(&self) -> bool {
        let is_idle = matches!(self.kind, Kind::Idle) && self.early.data.is_none();
        is_idle && self.waits.held.is_none() && self.transfer.paid == u32::MAX && !self.early.is_dropped
    }

    /// It has begun to work at its unit, or waits to.
    pub fn is_at_work(&self) -> bool {
        self.kind != Kind::Idle || !self.under_way.is_none() || self.waits.held.is_some()
    }

    /// It holds nothing, and nothing of it is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.slices.is_empty() && self.early.data.is_none()
    }

    /// Nothing of it is here: its session may go to another core.
    pub fn is_quiet(&self) -> bool {
        self.kind == Kind::Idle
            && self.is_idle()
            && self.waits.held.is_none()
            && !(self.waits.starved || self.waits.fenced || self.aborted || self.early.is_dropped)
    }

    /// Frees the slot of a task that was over before anything was begun in it.
    #[inline(always)]
    pub fn clear_fresh(&mut self, who: TaskKey) -> Due {
        debug_assert!(
            self.is_fresh() && self.slices.is_empty() && self.under_way.is_none() && self.under_way.jobs.is_empty()
        );
        debug_assert!(
            !(self.aborted || self.waits.starved || self.waits.fenced || self.waits.crowded || self.transfer.in_place)
        );
        debug_assert!(self.waits.flushing.is_none() && self.then.is_none() && !self.failing.is_any());
        (self.task, self.transfer.filled) = (TaskId(u32::MAX), 0);
        self.due.take(who)
    }

    /// Something of it begins at the medium.
    #[inline(always)]
    pub fn begin_at_medium(&mut self, now_ns: u64) {
        self.under_way.begin();
        self.spent.goes_on_in(Stage::Medium, now_ns);
    }

    /// It goes no further by itself. If nothing of it is at the medium, it waits for what others have, or else for its initiator.
    #[inline(always)]
    pub fn stops(&mut self, now_ns: u64) {
        // Mostly it waits for the medium.
        if self.under_way.is_none() {
            self.waits_elsewhere(now_ns);
        }
    }

    #[inline(never)]
    fn waits_elsewhere(&mut self, now_ns: u64) {
        if !matches!(self.kind, Kind::Read | Kind::Write(_) | Kind::Gather) {
            return;
        }
        let Waits { held, starved, fenced, flushing, .. } = &self.waits;
        let stage = match (flushing, held.is_some() || *starved || *fenced) {
            (Some(_), _) => Stage::Medium,
            (None, true) => Stage::Queue,
            (None, false) => Stage::Network,
        };
        self.spent.goes_on_in(stage, now_ns);
    }

    #[inline(always)]
    fn forget_abort(&mut self) {
        if self.aborted {
            (self.aborted, self.left) = (false, None);
        }
    }

    /// What is counted of it when it is answered. `None`: nothing, for nothing was begun, or it was aborted.
    #[inline(always)]
    fn ended(&mut self, seat: SeatIx) -> Option<Ended> {
        let is_flush = std::mem::take(&mut self.is_flush);
        let (class, bytes) = match self.kind {
            Kind::Idle => return None,
            Kind::Read => (Class::Read, self.transfer.total),
            Kind::Write(_) => (Class::Write, self.transfer.total),
            Kind::Gather | Kind::Job => (if is_flush { Class::Flush } else { Class::Other }, 0),
        };
        let ended = Ended { seat, begun_ns: self.begun_ns, unit: self.unit, bytes, class };
        (!self.aborted).then_some(ended)
    }

    /// The same as [`Exec::clear`], and its command counts, unless nothing was begun for it, or it was aborted.
    #[inline(always)]
    pub fn clear_counted(&mut self, who: TaskKey, tally: &mut Tally) -> Due {
        if let Some(ended) = self.ended(who.seat) {
            if tally.is_of_this_turn(ended.begun_ns) {
                tally.ended(ended);
            } else {
                tally.ended_later(ended, self.spent.end(tally.turn_ns()));
            }
            if tally.may_be_slow(ended.begun_ns) {
                let Ended { begun_ns, unit, bytes, class, .. } = ended;
                tally.note_slow(Slow { seat: who.seat, begun_ns, unit, range: (self.transfer.base, bytes), class });
            }
        }
        self.clear(who)
    }

    /// Frees the slot. Its slices and staging must be gone.
    #[inline(always)]
    pub fn clear(&mut self, who: TaskKey) -> Due {
        debug_assert!(self.slices.is_empty() && self.early.data.is_none() && self.under_way.is_none());
        debug_assert!(self.under_way.jobs.is_empty());
        debug_assert_eq!(self.waits.flushing, None);
        self.kind = Kind::Idle;
        self.task = TaskId(u32::MAX);
        self.forget_abort();
        self.waits.clear();
        self.transfer.clear();
        self.early.is_dropped = false;
        self.spent.clear();
        if self.then.is_some() {
            self.then = None;
        }
        self.failing.clear();
        self.due.take(who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::FlowId;
    use std::mem::{align_of, offset_of};

    #[test]
    fn what_a_read_that_is_over_at_once_looks_at_lies_together() {
        let first = offset_of!(Exec, transfer) + offset_of!(Transfer, filled);
        let last = offset_of!(Exec, waits) + offset_of!(Waits, held) + size_of::<Option<FlowId>>();
        assert!(last - first <= 96, "{} bytes, of {}", last - first, size_of::<Exec>());
        assert_eq!(align_of::<Exec>(), 8);
    }
}
