//! What has gone wrong with a task.
//!
//! Of several failures the one at the lowest offset counts, as if blocks were moved one after the other.

use crate::limits::LOCATED_READS;
use crate::model::MediumFault;

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

/// What has gone wrong with a task.
#[derive(Debug, Default)]
pub struct Failing {
    /// At the lowest offset of the transfer of all that did.
    first: Option<Failure>,
    /// That offset, bytes.
    offset: u32,
    /// How often the first bad block of a read has been looked for.
    located: u8,
}

impl Failing {
    /// Whether anything has.
    #[inline]
    pub fn is_any(&self) -> bool {
        self.first.is_some()
    }

    /// What the task fails with.
    pub fn first(&self) -> Option<Failure> {
        self.first
    }

    /// A piece of the transfer has failed, from `offset` on. What counts is the first in the order of the blocks.
    pub fn at(&mut self, offset: u32, failure: Failure) {
        if self.first.is_none() || offset < self.offset {
            (self.first, self.offset) = (Some(failure), offset);
        }
    }

    /// The task as a whole fails, unless it does already.
    pub fn also(&mut self, failure: Failure) {
        self.first.get_or_insert(failure);
    }

    /// It is known better what the task fails with.
    pub fn instead(&mut self, failure: Failure) {
        self.first = Some(failure);
    }

    /// Nothing is wrong any more.
    #[inline(always)]
    pub(super) fn clear(&mut self) {
        self.first = None;
    }

    /// Whether the first bad block of a read is to be looked for: the medium has failed it, and that was not done too
    /// often.
    pub fn is_to_be_located(&self) -> bool {
        self.first == Some(Failure::Medium(MediumFault::Read)) && self.located < LOCATED_READS
    }

    /// It is looked for: from this offset of the transfer on.
    pub fn locate(&mut self) -> u32 {
        self.located += 1;
        self.offset
    }
}
