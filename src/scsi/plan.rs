//! The seam between the device server and whoever carries its plans out.

use super::copy_request::CopyRequest;
use super::erasure::{Erase, Erasure};
use super::generation::Generation;
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

/// Work on the medium. Ranges are checked against the capacity already; `blocks` is not zero unless said. `lba` and
/// `blocks` count logical blocks; `fua`: durable before the status (of a read: from the medium).
#[allow(missing_docs, reason = "the fields are the same everywhere, and told above")]
// With `repr(u64)` the variants are told apart by a word of their own. Without it, the compiler computes that from a
// field of one of them, for every command.
#[repr(u64)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediumOp {
    /// READ: blocks to the initiator. `fua`: from the medium, not from a volatile cache.
    Read { lba: u64, blocks: u32, fua: bool },
    /// WRITE: blocks from the initiator. `fua`: durable before the status.
    Write { lba: u64, blocks: u32, fua: bool },
    /// WRITE AND VERIFY: as WRITE with `fua`; then read back, and compared when `compare`.
    WriteVerify { lba: u64, blocks: u32, compare: bool },
    /// VERIFY with BYTCHK 00: the blocks can be read.
    Verify { lba: u64, blocks: u32 },
    /// VERIFY with BYTCHK 01: blocks from the initiator equal those of the medium. With BYTCHK 11 (`one_block`) one block
    /// is sent and compared with each of the range.
    Compare { lba: u64, blocks: u32, one_block: bool },
    /// WRITE SAME. One block comes from the initiator, or none (`no_data`: NDOB, zeroes).
    WriteSame { lba: u64, blocks: u64, unmap: bool, anchor: bool, no_data: bool },
    /// WRITE ATOMIC(16): as `Write`, and at every moment all of it is on the medium or nothing. It fits one slice.
    WriteAtomic { lba: u64, blocks: u32, fua: bool },
    /// `LogicalUnit::begin_erase` is called; if it agrees, the whole medium is erased, and made durable; then
    /// `LogicalUnit::erase_done` is called, whatever became of the command. `immed`: GOOD is answered when it has begun.
    Erase { erasure: Erasure, how: Erase, immed: bool },
    /// UNMAP of several ranges (LBA, blocks); they do not come from the hot path, so a list is fine.
    Unmap { ranges: Vec<(u64, u64)> },
    /// SYNCHRONIZE CACHE. `immed`: GOOD is answered when it has begun.
    Flush { immed: bool },
    /// PRE-FETCH: read ahead if that is of use; nothing to send.
    Prefetch { lba: u64, blocks: u32 },
    /// COMPARE AND WRITE: 2 x `blocks` come from the initiator; the first half is compared, the second written. `blocks`
    /// may be zero: then there is nothing to do, unless the initiator sends data all the same.
    CompareAndWrite { lba: u64, blocks: u32, fua: bool },
    /// ORWRITE: blocks from the initiator are OR-ed into the medium; with a change of the generation AND-ed, in one slice
    /// that has the whole medium for itself, and `blocks` may be zero.
    OrWrite { lba: u64, blocks: u32, fua: bool, generation: Generation },
    /// GET LBA STATUS: provisioning states, as [`super::LbaStatuses`] wants them.
    LbaStatus(LbaScan),
    /// TEST UNIT READY: does the medium answer? If it does, `LogicalUnit::answered` is called.
    Probe,
    /// A third-party copy, its parameter list parsed: [`super::copy_begin::begin`] says what is to be done.
    Copy(Box<CopyRequest>),
}

/// What GET LBA STATUS asks for. Only the backend knows the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LbaScan {
    /// STARTING LOGICAL BLOCK ADDRESS, of the medium.
    pub lba: u64,
    /// ALLOCATION LENGTH, bytes; not zero.
    pub alloc_bytes: u32,
    /// SCAN LENGTH in blocks; zero: no limit.
    pub scan_blocks: u32,
    /// REPORT TYPE, one of those that `capacity.rs` knows.
    pub(super) report: u8,
}

impl LbaScan {
    /// Where the scan ends at the latest, on a medium of that many blocks.
    pub fn end(&self, capacity: u64) -> u64 {
        match self.scan_blocks {
            0 => capacity,
            blocks => capacity.min(self.lba.saturating_add(u64::from(blocks))),
        }
    }
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

impl MediumOp {
    /// Bytes that go to the initiator when all goes well; of `LbaStatus` the most that may go.
    pub fn data_in_bytes(&self, block_bytes: u32) -> u64 {
        match self {
            MediumOp::Read { blocks, .. } => u64::from(*blocks) * u64::from(block_bytes),
            MediumOp::LbaStatus(scan) => u64::from(scan.alloc_bytes),
            _ => 0,
        }
    }

    /// Bytes that come from the initiator.
    pub fn data_out_bytes(&self, block_bytes: u32) -> u64 {
        let blocks = match self {
            MediumOp::Write { blocks, .. }
            | MediumOp::WriteAtomic { blocks, .. }
            | MediumOp::WriteVerify { blocks, .. }
            | MediumOp::Compare { blocks, one_block: false, .. }
            | MediumOp::OrWrite { blocks, .. } => u64::from(*blocks),
            MediumOp::CompareAndWrite { blocks, .. } => 2 * u64::from(*blocks),
            MediumOp::Compare { one_block: true, .. } | MediumOp::WriteSame { no_data: false, .. } => 1,
            _ => 0,
        };
        blocks * u64::from(block_bytes)
    }

    /// Whether what comes from the initiator is compared or joined with as many bytes from the medium, for which there
    /// has to be room, too.
    pub fn needs_scratch(&self) -> bool {
        matches!(
            self,
            MediumOp::CompareAndWrite { .. }
                | MediumOp::OrWrite { .. }
                | MediumOp::WriteVerify { .. }
                | MediumOp::Compare { one_block: false, .. }
        )
    }

    /// Whether the operation makes no sense unless exactly [`MediumOp::data_out_bytes`] are announced: with less or
    /// more it is to fail with INVALID FIELD IN CDB (`LogicalUnit::wrong_data_length`) rather than work on what came.
    pub fn needs_exact_data_out(&self) -> bool {
        matches!(
            self,
            MediumOp::CompareAndWrite { .. }
                | MediumOp::WriteSame { .. }
                | MediumOp::WriteAtomic { .. }
                | MediumOp::OrWrite { generation: Generation::Change { .. }, .. }
        )
    }
}
