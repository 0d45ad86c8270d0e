//! A task as its executor knows it, between its planning and its answer: which bytes of the medium it is about, how far
//! it is, and the buffers it holds.
//!
//! Invariants: a slot that is not in use holds nothing, and nothing of it is under way (`Exec::is_fresh`,
//! `Exec::clear`). Slices are in the order of their offsets. `in_flight` counts operations and jobs; none of them is
//! forgotten before it is over, or has become a stray.

use crate::buffers::Buf;
use crate::model::{DataRef, MediumFault, TaskId};
use crate::rate::FlowId;
use crate::waits::flushes::FlushTicket;
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
        conn: usize,
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
#[derive(Debug)]
pub struct Exec {
    /// What is done.
    pub kind: Kind,
    /// For whom.
    pub task: TaskId,
    /// Index of the logical unit in the process.
    pub unit: usize,
    /// What is written is to be durable before the status.
    pub durable: bool,
    /// All is written, and a flush is waited for.
    pub flushing: Option<FlushTicket>,
    /// A flush that began after everything was written has ended.
    pub flushed: bool,
    /// Aborted: nothing more is sent, and the task is released when nothing is in flight.
    pub aborted: bool,
    /// Counts the task for those who wait for its end: it was aborted while something was in flight.
    pub left: Option<Rc<Mark>>,
    /// Waits in the core's queue for buffers.
    pub starved: bool,
    /// Waits in the core's queue for a range that another command holds.
    pub fenced: bool,
    /// Since when it has waited for that range, milliseconds.
    pub fenced_since_ms: Option<u64>,
    /// Waits until there is room for its data: the sink has said that there is none, and says when there is
    /// ([`crate::exec::executor::Executor::has_room`]).
    pub crowded: bool,
    /// A read of a RAM unit whose data is sent from where it lies, a piece at a time.
    pub in_place: bool,
    /// Waits for its session's turn at a limit, in this flow.
    pub held: Option<FlowId>,
    /// Bytes of its transfer that are paid for, where there is a limit.
    pub paid: u32,
    /// Where on the medium, bytes.
    pub base: u64,
    /// Bytes that move: what the CDB asks, cut to the initiator's Expected Data Transfer Length.
    pub total: u32,
    /// Bytes that the CDB asks to move: what residuals are counted from.
    pub asked: u64,
    /// Bytes whose slices have been made.
    pub started: u32,
    /// Bytes that are done: queued for sending, or on the medium.
    pub moved: u32,
    /// Of a read in parts: what [`crate::unit::fence::Fence::given_back`] said before the first part.
    pub given_back: u64,
    /// Contiguous Data-Out bytes that have arrived.
    pub filled: u32,
    /// Slices under way, oldest first.
    pub slices: std::collections::VecDeque<Slice>,
    /// Operations of this task on the medium, and jobs.
    pub in_flight: u32,
    /// Numbers of the jobs in flight. Empty with nothing in flight, so that a slot that is used again costs nothing.
    pub jobs: Vec<usize>,
    /// What went wrong, at the lowest offset of the transfer of all that did.
    pub failed: Option<Failure>,
    /// The offset of `failed` in the transfer, bytes.
    pub failed_at: u32,
    /// How often the first bad block of a read has been looked for.
    pub located: u8,
    /// What comes after `Kind::Gather`.
    pub then: Option<Then>,
    /// Data that came with the command, before its turn: buffer and bytes in it.
    pub staging: Option<(Buf, u32)>,
    /// Data that came with the command had to be dropped: no buffer was free.
    pub dropped: bool,
}

/// Why a task fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The medium failed.
    Medium(MediumFault),
    /// The medium failed, and that counts among the failures to make something durable: a nexus that is told of it has
    /// heard of all of those. From any other failure nobody learns that what he wrote before is lost.
    Lost(crate::scsi::Outcome),
    /// A job found the outcome (MISCOMPARE, ...).
    Outcome(crate::scsi::Outcome),
    /// TASK SET FULL: no buffer for data that could not wait.
    NoBuffer,
}

impl Default for Exec {
    fn default() -> Exec {
        Exec {
            kind: Kind::Idle,
            task: TaskId(u32::MAX),
            unit: 0,
            durable: false,
            flushing: None,
            flushed: false,
            aborted: false,
            left: None,
            starved: false,
            fenced: false,
            crowded: false,
            in_place: false,
            fenced_since_ms: None,
            held: None,
            paid: u32::MAX,
            base: 0,
            total: 0,
            asked: 0,
            started: 0,
            moved: 0,
            given_back: 0,
            filled: 0,
            slices: std::collections::VecDeque::with_capacity(SLICES),
            in_flight: 0,
            jobs: Vec::new(),
            failed: None,
            failed_at: 0,
            located: 0,
            then: None,
            staging: None,
            dropped: false,
        }
    }
}

impl Exec {
    /// Begins a transfer.
    pub fn begin(&mut self, kind: Kind, task: TaskId, unit: usize, (base, total, asked): (u64, u32, u64)) {
        debug_assert!(self.slices.is_empty() && self.in_flight == 0);
        self.kind = kind;
        self.task = task;
        self.unit = unit;
        (self.base, self.total, self.asked) = (base, total, asked);
        (self.started, self.moved, self.given_back) = (0, 0, 0);
        (self.durable, self.flushed) = (false, false);
        self.forget_abort();
        (self.failed, self.failed_at, self.located) = (None, 0, 0);
        self.then = None;
    }

    /// A piece of its transfer has failed, from `offset` on. What counts is the first in the order of the blocks.
    pub fn fail(&mut self, offset: u32, failure: Failure) {
        if self.failed.is_none() || offset < self.failed_at {
            (self.failed, self.failed_at) = (Some(failure), offset);
        }
    }

    /// Has everything read again that is not done: what has failed can be read after all, by itself.
    pub fn read_again(&mut self) {
        (self.failed, self.started) = (None, self.moved);
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
        self.slices.is_empty() && self.staging.is_none() && self.held.is_none() && self.flushing.is_none()
    }

    /// Nothing was begun in it, and it has nothing: it is as [`Exec::clear`] leaves it, but for its task.
    #[inline(always)]
    pub fn is_fresh(&self) -> bool {
        let is_idle = matches!(self.kind, Kind::Idle) && self.staging.is_none();
        is_idle && self.held.is_none() && self.paid == u32::MAX && !self.dropped
    }

    /// It has begun to work at its unit, or waits to.
    pub fn is_at_work(&self) -> bool {
        self.kind != Kind::Idle || self.in_flight > 0 || self.held.is_some()
    }

    /// It holds nothing, and nothing of it is under way.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.slices.is_empty() && self.staging.is_none()
    }

    /// Nothing of it is here: its session may go to another core.
    pub fn is_quiet(&self) -> bool {
        self.kind == Kind::Idle
            && self.is_idle()
            && self.held.is_none()
            && !(self.starved || self.fenced || self.aborted || self.dropped)
    }

    /// Frees the slot of a task that was over before anything was begun in it.
    #[inline(always)]
    pub fn clear_fresh(&mut self) {
        debug_assert!(self.is_fresh() && self.slices.is_empty() && self.in_flight == 0 && self.jobs.is_empty());
        debug_assert!(!(self.aborted || self.starved || self.fenced || self.crowded || self.in_place));
        debug_assert!(self.flushing.is_none() && self.then.is_none() && self.failed.is_none());
        (self.task, self.filled) = (TaskId(u32::MAX), 0);
    }

    #[inline(always)]
    fn forget_abort(&mut self) {
        if self.aborted {
            (self.aborted, self.left) = (false, None);
        }
    }

    /// Frees the slot. Its slices and staging must be gone.
    #[inline(always)]
    pub fn clear(&mut self) {
        debug_assert!(self.slices.is_empty() && self.staging.is_none() && self.in_flight == 0);
        debug_assert!(self.jobs.is_empty());
        debug_assert_eq!(self.flushing, None);
        self.kind = Kind::Idle;
        self.task = TaskId(u32::MAX);
        self.forget_abort();
        self.starved = false;
        self.fenced = false;
        self.crowded = false;
        self.in_place = false;
        self.fenced_since_ms = None;
        self.dropped = false;
        self.held = None;
        self.paid = u32::MAX;
        self.filled = 0;
        if self.then.is_some() {
            self.then = None;
        }
        self.failed = None;
    }
}
