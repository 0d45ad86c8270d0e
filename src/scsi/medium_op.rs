//! Operations on a medium, and what each of them is: one table ([`MediumOp::row`]), which everybody reads who has to know.

use super::copy_request::CopyRequest;
use super::erasure::{Erase, Erasure};
use super::generation::Generation;

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

/// What an operation on the medium is. Everything counts logical blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediumRow<'a> {
    /// Where on the medium: the first block, and how many. No blocks: it has no range, or several.
    pub range: (u64, u64),
    /// Blocks that come from the initiator.
    pub data_out: u64,
    /// What is to be if the initiator announces another length.
    pub length: Length,
    /// What comes from the initiator is compared or joined with as much from the medium, for which there has to be
    /// room, too.
    pub scratch: bool,
    /// What is written is to be durable before the status.
    pub durable: bool,
    /// Which blocks it changes: ROD tokens for these end, and no others.
    pub changes: Changes,
    /// What it counts as in the statistics of the logical unit.
    pub counted: Counted,
    /// What it pays where commands and bytes a second are limited.
    pub pays: Pays,
    /// How it is carried out.
    pub runs: Runs<'a>,
}

/// Which length of Data-Out an operation can do with (`LogicalUnit::check_data_out`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Any number of whole blocks: what is not announced is not done, what is more is not taken.
    Blocks,
    /// All that the CDB asks for; what is more is not taken.
    All,
    /// Exactly what the CDB asks for. With another length, initiator and target do not mean the same command.
    Exact,
}

/// Which blocks an operation changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// None.
    Nothing,
    /// Those of its range.
    Range,
    /// Those of the ranges that its parameter list names.
    Ranges,
    /// Those that a copy writes, perhaps of other logical units.
    Copied,
    /// All.
    Everything,
}

/// What an operation counts as in the general statistics and performance log page (SPC-4 clause 7.3.9): commands that
/// move blocks between initiator and medium are counted, with the blocks that they move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Nothing.
    Not,
    /// A read command, with the blocks of its range.
    Read,
    /// A write command, with the blocks of its Data-Out.
    Write,
}

/// What an operation pays where there is a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pays {
    /// Nothing.
    Free,
    /// For the bytes of each step that reads or writes, before that has a buffer.
    Steps,
    /// For one command when it begins, and for the bytes of each step.
    CommandAndSteps,
    /// For one command and for what the initiator lets it move, slice by slice.
    Moved,
    /// For one command and all of its Data-Out, before that is asked for.
    DataOut,
}

impl Pays {
    /// Whether each step that reads or writes is paid for.
    pub fn is_by_steps(self) -> bool {
        matches!(self, Pays::Steps | Pays::CommandAndSteps)
    }
}

/// How an operation is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs<'a> {
    /// Slices of the range are read and sent.
    Read,
    /// Slices of Data-Out are collected; this is done with each that is full.
    Slices(Action),
    /// All Data-Out is collected, then a job has it.
    Gather,
    /// A job, which needs no data.
    Job,
    /// Nothing is to be done: GOOD.
    Nothing,
    /// A flush is begun, and GOOD does not wait for its end.
    FlushBehind,
    /// See [`MediumOp::Erase`].
    Erase {
        /// Of which command.
        erasure: Erasure,
        /// How.
        how: &'a Erase,
        /// GOOD is answered when it has begun.
        immed: bool,
    },
    /// See [`MediumOp::Copy`].
    Copy(&'a CopyRequest),
}

/// What is done with a full slice of Data-Out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// WRITE.
    Write,
    /// VERIFY with BYTCHK 01b.
    Compare,
    /// WRITE AND VERIFY.
    WriteVerify {
        /// BYTCHK 01b.
        compare: bool,
    },
    /// ORWRITE, a set operation.
    OrWrite(Generation),
}

/// Nothing, for nothing: what a row does not say.
const NOTHING: MediumRow<'static> = MediumRow {
    range: (0, 0),
    data_out: 0,
    length: Length::Blocks,
    scratch: false,
    durable: false,
    changes: Changes::Nothing,
    counted: Counted::Not,
    pays: Pays::Free,
    runs: Runs::Nothing,
};
/// WRITE and its kin.
const WRITES: MediumRow<'static> =
    MediumRow { changes: Changes::Range, counted: Counted::Write, pays: Pays::Moved, ..NOTHING };
/// Those that are one step: all of their data has to be there, and as much as it is to be.
const WHOLE: MediumRow<'static> =
    MediumRow { length: Length::Exact, pays: Pays::DataOut, runs: Runs::Gather, ..WRITES };
/// A look at the medium.
const LOOKS: MediumRow<'static> = MediumRow { pays: Pays::CommandAndSteps, runs: Runs::Job, ..NOTHING };

impl MediumOp {
    /// READ or WRITE, of which there are many: everything else is rare beside these. Who has to be quick asks this first, and
    /// makes no row of them; a test says what theirs are.
    #[inline]
    pub fn is_plain(&self) -> bool {
        matches!(self, MediumOp::Read { .. } | MediumOp::Write { .. })
    }

    /// THE table of operations on a medium. Inlined, it costs what is asked of it, and not the whole row.
    #[inline(always)]
    pub fn row(&self) -> MediumRow<'_> {
        /// A row at its place.
        #[inline(always)]
        fn at(lba: u64, blocks: u32, row: MediumRow<'_>) -> MediumRow<'_> {
            MediumRow { range: (lba, u64::from(blocks)), ..row }
        }
        /// A row at its place, with as many blocks from the initiator.
        #[inline(always)]
        fn with(lba: u64, blocks: u32, row: MediumRow<'_>) -> MediumRow<'_> {
            MediumRow { data_out: u64::from(blocks), ..at(lba, blocks, row) }
        }
        match *self {
            MediumOp::Read { lba, blocks, .. } => {
                at(lba, blocks, MediumRow { counted: Counted::Read, pays: Pays::Moved, runs: Runs::Read, ..NOTHING })
            }
            MediumOp::Write { lba, blocks, fua } => {
                with(lba, blocks, MediumRow { durable: fua, runs: Runs::Slices(Action::Write), ..WRITES })
            }
            MediumOp::WriteVerify { lba, blocks, compare } => {
                let runs = Runs::Slices(Action::WriteVerify { compare });
                with(lba, blocks, MediumRow { scratch: true, durable: true, runs, ..WRITES })
            }
            MediumOp::Verify { lba, blocks } => at(lba, blocks, LOOKS),
            MediumOp::Compare { lba, blocks, one_block: false } => {
                let (pays, runs) = (Pays::Moved, Runs::Slices(Action::Compare));
                with(lba, blocks, MediumRow { scratch: true, pays, runs, ..NOTHING })
            }
            MediumOp::Compare { lba, blocks, one_block: true } => {
                at(lba, blocks, MediumRow { data_out: 1, length: Length::All, runs: Runs::Gather, ..LOOKS })
            }
            MediumOp::WriteSame { lba, blocks, no_data, .. } => {
                let data_out = u64::from(!no_data);
                MediumRow { range: (lba, blocks), data_out, pays: Pays::CommandAndSteps, ..WHOLE }
            }
            MediumOp::WriteAtomic { lba, blocks, fua } => with(lba, blocks, MediumRow { durable: fua, ..WHOLE }),
            MediumOp::Erase { erasure, ref how, immed } => {
                MediumRow { changes: Changes::Everything, runs: Runs::Erase { erasure, how, immed }, ..NOTHING }
            }
            MediumOp::Unmap { .. } => {
                MediumRow { changes: Changes::Ranges, pays: Pays::Steps, runs: Runs::Job, ..NOTHING }
            }
            MediumOp::Flush { immed: true } => MediumRow { runs: Runs::FlushBehind, ..NOTHING },
            MediumOp::Flush { immed: false } | MediumOp::LbaStatus(_) | MediumOp::Probe => {
                MediumRow { runs: Runs::Job, ..NOTHING }
            }
            MediumOp::Prefetch { lba, blocks } => at(lba, blocks, NOTHING),
            MediumOp::CompareAndWrite { lba, blocks: 0, .. } => {
                at(lba, 0, MediumRow { changes: Changes::Nothing, runs: Runs::Nothing, ..WHOLE })
            }
            MediumOp::CompareAndWrite { lba, blocks, fua } => {
                let data_out = 2 * u64::from(blocks);
                at(lba, blocks, MediumRow { data_out, scratch: true, durable: fua, ..WHOLE })
            }
            MediumOp::OrWrite { lba, blocks, fua, generation: generation @ Generation::Set { .. } } => {
                let runs = Runs::Slices(Action::OrWrite(generation));
                with(lba, blocks, MediumRow { scratch: true, durable: fua, runs, ..WRITES })
            }
            MediumOp::OrWrite { lba, blocks, fua, generation: Generation::Change { .. } } => {
                with(lba, blocks, MediumRow { scratch: true, durable: fua, pays: Pays::Moved, ..WHOLE })
            }
            MediumOp::Copy(ref request) => MediumRow { changes: Changes::Copied, runs: Runs::Copy(request), ..NOTHING },
        }
    }
}

impl MediumRow<'_> {
    /// Its range in bytes: where it begins, and how long it is.
    #[inline]
    pub fn bytes(&self, block_bytes: u32) -> (u64, u64) {
        let block_bytes = u64::from(block_bytes);
        (self.range.0 * block_bytes, self.range.1 * block_bytes)
    }

    /// Bytes that come from the initiator.
    #[inline]
    pub fn data_out_bytes(&self, block_bytes: u32) -> u64 {
        self.data_out * u64::from(block_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OR: Generation = Generation::Set { expected: 0 };

    /// What is taken for granted where no row is made of them.
    #[test]
    fn plain_rows() {
        for fua in [false, true] {
            let (read, write) = (MediumOp::Read { lba: 7, blocks: 3, fua }, MediumOp::Write { lba: 7, blocks: 3, fua });
            assert!(read.is_plain() && write.is_plain());
            let expected = MediumRow { range: (7, 3), counted: Counted::Read, pays: Pays::Moved, ..NOTHING };
            assert_eq!(read.row(), MediumRow { runs: Runs::Read, ..expected });
            let expected = MediumRow { range: (7, 3), data_out: 3, durable: fua, ..WRITES };
            assert_eq!(write.row(), MediumRow { runs: Runs::Slices(Action::Write), ..expected });
        }
    }

    #[test]
    fn rows() {
        // Data-Out of 3 blocks; what that may be; whether it needs as much room again; how it is paid.
        for (op, data_out, length, scratch, pays) in [
            (MediumOp::Write { lba: 7, blocks: 3, fua: false }, 3, Length::Blocks, false, Pays::Moved),
            (MediumOp::WriteVerify { lba: 7, blocks: 3, compare: true }, 3, Length::Blocks, true, Pays::Moved),
            (MediumOp::Compare { lba: 7, blocks: 3, one_block: false }, 3, Length::Blocks, true, Pays::Moved),
            (MediumOp::Compare { lba: 7, blocks: 3, one_block: true }, 1, Length::All, false, Pays::CommandAndSteps),
            (MediumOp::OrWrite { lba: 7, blocks: 3, fua: false, generation: OR }, 3, Length::Blocks, true, Pays::Moved),
            (MediumOp::WriteAtomic { lba: 7, blocks: 3, fua: true }, 3, Length::Exact, false, Pays::DataOut),
            (MediumOp::CompareAndWrite { lba: 7, blocks: 3, fua: true }, 6, Length::Exact, true, Pays::DataOut),
        ] {
            let row = op.row();
            assert_eq!(
                (row.range, row.data_out, row.length, row.scratch, row.pays),
                ((7, 3), data_out, length, scratch, pays)
            );
            assert_eq!((row.bytes(512), row.data_out_bytes(512)), ((7 * 512, 3 * 512), data_out * 512));
            let writes = !matches!(op, MediumOp::Compare { .. });
            assert_eq!(row.changes, if writes { Changes::Range } else { Changes::Nothing }, "{op:?}");
            assert_eq!(row.counted, if writes { Counted::Write } else { Counted::Not }, "{op:?}");
        }
        for no_data in [false, true] {
            let op = MediumOp::WriteSame { lba: 0, blocks: 9, unmap: false, anchor: false, no_data };
            assert_eq!((op.row().range, op.row().data_out), ((0, 9), u64::from(!no_data)));
            assert_eq!(op.row().length, Length::Exact);
        }
        let none = MediumOp::CompareAndWrite { lba: 0, blocks: 0, fua: true };
        let none = none.row();
        assert_eq!((none.runs, none.length, none.changes), (Runs::Nothing, Length::Exact, Changes::Nothing));
    }
}
