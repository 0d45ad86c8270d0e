//! Those who wait for ranges of media, or for their turn to make a hole, on one core. What holds a range is in
//! `unit/fence.rs`.

use super::cell::Cell1;
use super::holes::Holes;
use super::slots::SlotQueue;
use crate::model::UnitIx;
use crate::unit::fence::Lock;
use std::collections::VecDeque;

/// A job that waits for a range.
pub struct Locking {
    /// Number of the job.
    pub job: usize,
    /// First byte of the range.
    pub offset: u64,
    /// Bytes of it.
    pub len: u64,
    /// Where the job finds that it has the range.
    pub cell: Cell1<()>,
    /// The lock, with the unit it is of, once it is held: changes that began before are still under way.
    pub lock: Option<(Lock, UnitIx)>,
    /// Since when it has waited, milliseconds.
    pub since_ms: u64,
}

/// The jobs of a core that wait for a range, in their order.
pub type Lockings = VecDeque<Locking>;

/// Who waits for ranges on one core.
#[derive(Default)]
pub struct Ranges {
    /// Tasks that wait for a range that another command holds.
    pub fenced: SlotQueue,
    /// Jobs whose change of the medium a held range keeps out.
    pub stalled: VecDeque<usize>,
    /// Holes that jobs make in files.
    pub holes: Holes,
    /// Jobs that wait for a range: job, and what they asked for.
    pub locking: Lockings,
    /// Since when somebody has waited for a range, milliseconds.
    pub since_ms: Option<u64>,
}
