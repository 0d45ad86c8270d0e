//! The seam between the device server and whoever carries its plans out.

use super::medium_op::MediumOp;
use super::now::Now;
use super::saved::Saving;
use super::sense::Outcome;
use crate::model::{InitiatorPort, ItNexus};
use crate::wire::Lun;

/// One command as the device server sees it.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The whole CDB: 16 bytes, or more with an extended CDB AHS.
    pub cdb: &'a [u8],
    /// The LUN it is addressed to.
    pub lun: Lun,
    /// The initiator port it comes from.
    pub initiator: &'a InitiatorPort,
    /// iSCSIProtocolLevel of its session: a version descriptor tells it.
    pub protocol_level: u8,
    /// All LUNs of the target that this nexus may see, ascending: for REPORT LUNS.
    pub luns: &'a [u16],
    /// When it is planned.
    pub now: Now,
}

/// What is to be done for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing more: this is the outcome. With GOOD, `Reply::data` is the Data-In (already cut to the allocation length).
    Done(Outcome),
    /// The parameter list of `len_bytes` is needed: collect that much Data-Out, then call `LogicalUnit::parameters`.
    Parameters {
        /// PARAMETER LIST LENGTH of the CDB, at most `limits::MAX_PARAMETER_BYTES`.
        len_bytes: u32,
    },
    /// Work on the medium.
    Medium(MediumOp),
    /// Nothing was done: what the command tells is told once, and there is no buffer for it. It is to be planned again
    /// by somebody who has one ([`Reply::unbuffered`]).
    Buffer,
    /// The effect of the command is to be stored first, or the cache to be flushed. `LogicalUnit::decide` says what is
    /// to be stored; when that is done `LogicalUnit::conclude` puts it into effect.
    Save(Box<Saving>),
}

/// Scratch for the parameter data of one command. One per core, reused: `data` keeps its capacity.
#[derive(Debug, Default)]
pub struct Reply {
    /// Data-In of a `Plan::Done` with GOOD.
    pub data: Vec<u8>,
    /// PREEMPT AND ABORT: I_T nexuses whose tasks on this logical unit are to be aborted before the outcome is sent. Empty
    /// for every other command.
    pub aborts: Vec<ItNexus>,
    /// Set by a caller that may find no buffer for `data`. Commands that forget what they have told come to
    /// [`Plan::Buffer`] then.
    pub unbuffered: bool,
}

impl Reply {
    #[inline]
    pub(super) fn clear(&mut self) {
        self.data.clear();
        self.aborts.clear();
    }

    /// Appends bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// Appends `bytes` cut or padded to `len`.
    pub(super) fn put_padded(&mut self, bytes: &[u8], len: usize, padding: u8) {
        let end = self.data.len() + len;
        self.data.extend(bytes.iter().take(len));
        self.data.resize(end, padding);
    }

    /// Overwrites the byte at `at` with the length of all that follows the first `header` bytes.
    pub(super) fn patch_u8(&mut self, at: usize, header: usize) {
        let len = u8::try_from(self.data.len().saturating_sub(header)).unwrap_or(u8::MAX);
        self.patch(at, &[len]);
    }

    /// As [`Reply::patch_u8`], 16 bits.
    pub(super) fn patch_u16(&mut self, at: usize, header: usize) {
        let len = u16::try_from(self.data.len().saturating_sub(header)).unwrap_or(u16::MAX);
        self.patch(at, &len.to_be_bytes());
    }

    /// As [`Reply::patch_u8`], 32 bits.
    pub(super) fn patch_u32(&mut self, at: usize, header: usize) {
        let len = u32::try_from(self.data.len().saturating_sub(header)).unwrap_or(u32::MAX);
        self.patch(at, &len.to_be_bytes());
    }

    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(field) = self.data.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }

    /// Cuts to the ALLOCATION LENGTH (SPC-4 clause 4.3.5.6): truncation is no error, and lengths inside stay as they are.
    pub(super) fn finish(&mut self, allocation_bytes: usize) -> Result<Plan, Outcome> {
        self.data.truncate(allocation_bytes);
        Ok(Plan::Done(Outcome::GOOD))
    }
}
