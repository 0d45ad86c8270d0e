//! Commands that move blocks: READ, WRITE, WRITE AND VERIFY, VERIFY, PRE-FETCH, COMPARE AND WRITE (SBC-3 clause 5).
//!
//! Every range is checked here, once, against the capacity; what comes out as a [`MediumOp`] is inside the medium. A
//! transfer of no blocks is done at once, but its LBA is checked all the same.

use super::call::{Call, Planned};
use super::cdb::{be16, be24, be32, be64};
use super::medium_op::MediumOp;
use super::plan::Plan;
use super::sense::{Outcome, asc};
use super::unit::LogicalUnit;
use crate::limits;

/// FUA in byte 1 of the CDB. DPO (10h) and the obsolete FUA_NV (02h) are accepted and mean nothing here.
pub(super) const FUA: u8 = 0x08;

/// Checks that `blocks` blocks from `lba` on are inside the medium; no blocks may also start right at its end.
#[inline]
pub(super) fn check_range(unit: &LogicalUnit, lba: u64, blocks: u64) -> Result<(), Outcome> {
    let capacity = unit.blocks();
    if lba <= capacity && blocks <= capacity - lba {
        Ok(())
    } else {
        Err(Outcome::illegal(asc::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE))
    }
}

/// A range and where the CDB has its length.
pub(super) struct Extent {
    pub(super) lba: u64,
    pub(super) blocks: u32,
    pub(super) length_at: u16,
}

impl Extent {
    /// As in CDBs of 6 bytes: 21 bits of LBA, and no blocks mean 256.
    #[inline]
    fn of_6(cdb: &[u8; 16]) -> Extent {
        let blocks = if cdb[4] == 0 { 256 } else { u32::from(cdb[4]) };
        Extent { lba: u64::from(be24(cdb, 1) & 0x1f_ffff), blocks, length_at: 4 }
    }
    #[inline]
    fn of_10(cdb: &[u8; 16]) -> Extent {
        Extent { lba: u64::from(be32(cdb, 2)), blocks: u32::from(be16(cdb, 7)), length_at: 7 }
    }
    #[inline]
    fn of_12(cdb: &[u8; 16]) -> Extent {
        Extent { lba: u64::from(be32(cdb, 2)), blocks: be32(cdb, 6), length_at: 6 }
    }
    #[inline]
    pub(super) fn of_16(cdb: &[u8; 16]) -> Extent {
        Extent { lba: be64(cdb, 2), blocks: be32(cdb, 10), length_at: 10 }
    }

    /// Checks the range, and MAXIMUM TRANSFER LENGTH (SBC-3 clause 6.6.4).
    #[inline]
    pub(super) fn check_transfer(&self, unit: &LogicalUnit) -> Result<(), Outcome> {
        check_range(unit, self.lba, u64::from(self.blocks))?;
        if u64::from(self.blocks) * u64::from(unit.block_bytes()) > limits::MAX_TRANSFER_BYTES {
            return Err(Outcome::invalid_cdb_field(self.length_at, 7));
        }
        Ok(())
    }
}

/// The plan of an operation on the medium, or GOOD when there is nothing to do.
#[inline]
pub(super) fn unless_empty(blocks: u32, op: MediumOp) -> Planned {
    Ok(if blocks == 0 { Plan::Done(Outcome::GOOD) } else { Plan::Medium(op) })
}

#[inline]
fn read(call: &mut Call, extent: Extent, fua: bool) -> Planned {
    extent.check_transfer(call.unit)?;
    let Extent { lba, blocks, .. } = extent;
    if blocks == 0 {
        return Ok(Plan::Done(Outcome::GOOD));
    }
    // Nothing is made that would have to be dropped again.
    Ok(Plan::Medium(MediumOp::Read { lba, blocks, fua }))
}

/// Plans the read of a command that is no READ; `length_at`: where its CDB has the number of blocks.
pub(super) fn read_blocks(call: &mut Call, lba: u64, blocks: u32, length_at: u16) -> Planned {
    read(call, Extent { lba, blocks, length_at }, false)
}

/// READ(6), SBC-3 clause 5.15 as in SBC-2.
pub(super) fn read_6(call: &mut Call) -> Planned {
    read(call, Extent::of_6(call.cdb), false)
}

/// READ(10), SBC-3 clause 5.15.
pub(super) fn read_10(call: &mut Call) -> Planned {
    read(call, Extent::of_10(call.cdb), call.cdb[1] & FUA != 0)
}

/// READ(12), SBC-3 clause 5.16.
pub(super) fn read_12(call: &mut Call) -> Planned {
    read(call, Extent::of_12(call.cdb), call.cdb[1] & FUA != 0)
}

/// READ(16), SBC-3 clause 5.17.
pub(super) fn read_16(call: &mut Call) -> Planned {
    read(call, Extent::of_16(call.cdb), call.cdb[1] & FUA != 0)
}

/// Whether every write is durable before its status: there is no volatile cache, or it is switched off.
#[inline]
pub(super) fn durable(call: &Call) -> bool {
    call.unit.is_write_through()
}

#[inline]
fn write(call: &mut Call, extent: Extent, fua: bool) -> Planned {
    extent.check_transfer(call.unit)?;
    let Extent { lba, blocks, .. } = extent;
    if blocks == 0 {
        return Ok(Plan::Done(Outcome::GOOD));
    }
    Ok(Plan::Medium(MediumOp::Write { lba, blocks, fua: fua || durable(call) }))
}

/// WRITE(6), SBC-3 clause 5.34 as in SBC-2.
pub(super) fn write_6(call: &mut Call) -> Planned {
    write(call, Extent::of_6(call.cdb), false)
}

/// WRITE(10), SBC-3 clause 5.34.
pub(super) fn write_10(call: &mut Call) -> Planned {
    write(call, Extent::of_10(call.cdb), call.cdb[1] & FUA != 0)
}

/// WRITE(12), SBC-3 clause 5.35.
pub(super) fn write_12(call: &mut Call) -> Planned {
    write(call, Extent::of_12(call.cdb), call.cdb[1] & FUA != 0)
}

/// WRITE(16), SBC-3 clause 5.36.
pub(super) fn write_16(call: &mut Call) -> Planned {
    write(call, Extent::of_16(call.cdb), call.cdb[1] & FUA != 0)
}

/// BYTCHK (SBC-3 table 106).
fn bytchk(call: &Call) -> u8 {
    call.cdb[1] >> 1 & 0x3
}

/// WRITE AND VERIFY compares with BYTCHK 01; 10 and 11 are reserved (SBC-3 clause 5.38).
fn write_verify(call: &mut Call, extent: Extent) -> Planned {
    if bytchk(call) > 1 {
        return Err(Outcome::invalid_cdb_field(1, 2));
    }
    extent.check_transfer(call.unit)?;
    let Extent { lba, blocks, .. } = extent;
    unless_empty(blocks, MediumOp::WriteVerify { lba, blocks, compare: bytchk(call) == 1 })
}

/// WRITE AND VERIFY(10), SBC-3 clause 5.38.
pub(super) fn write_verify_10(call: &mut Call) -> Planned {
    write_verify(call, Extent::of_10(call.cdb))
}

/// WRITE AND VERIFY(12), SBC-3 clause 5.39.
pub(super) fn write_verify_12(call: &mut Call) -> Planned {
    write_verify(call, Extent::of_12(call.cdb))
}

/// WRITE AND VERIFY(16), SBC-3 clause 5.40.
pub(super) fn write_verify_16(call: &mut Call) -> Planned {
    write_verify(call, Extent::of_16(call.cdb))
}

/// VERIFY reads without sending anything, or compares with what is sent: each block, or one block with all.
///
/// MAXIMUM TRANSFER LENGTH bounds what is sent; a VERIFY that sends nothing or one block may go over any range.
fn verify(call: &mut Call, extent: Extent) -> Planned {
    match bytchk(call) {
        0 | 3 => check_range(call.unit, extent.lba, u64::from(extent.blocks))?,
        1 => extent.check_transfer(call.unit)?,
        _ => return Err(Outcome::invalid_cdb_field(1, 2)),
    }
    let Extent { lba, blocks, .. } = extent;
    let op = match bytchk(call) {
        0 => MediumOp::Verify { lba, blocks },
        with_data => MediumOp::Compare { lba, blocks, one_block: with_data == 3 },
    };
    unless_empty(blocks, op)
}

/// VERIFY(10), SBC-3 clause 5.32.
pub(super) fn verify_10(call: &mut Call) -> Planned {
    verify(call, Extent::of_10(call.cdb))
}

/// VERIFY(12), SBC-3 clause 5.33.
pub(super) fn verify_12(call: &mut Call) -> Planned {
    verify(call, Extent::of_12(call.cdb))
}

/// VERIFY(16), SBC-3 clause 5.34.
pub(super) fn verify_16(call: &mut Call) -> Planned {
    verify(call, Extent::of_16(call.cdb))
}

/// PRE-FETCH: no blocks mean all up to the end of the medium.
fn prefetch(call: &mut Call, extent: Extent) -> Planned {
    check_range(call.unit, extent.lba, u64::from(extent.blocks))?;
    let blocks = match extent.blocks {
        0 => u32::try_from(call.unit.blocks() - extent.lba).unwrap_or(u32::MAX),
        blocks => blocks,
    };
    unless_empty(blocks, MediumOp::Prefetch { lba: extent.lba, blocks })
}

/// PRE-FETCH(10), SBC-3 clause 5.12.
pub(super) fn prefetch_10(call: &mut Call) -> Planned {
    prefetch(call, Extent::of_10(call.cdb))
}

/// PRE-FETCH(16), SBC-3 clause 5.13.
pub(super) fn prefetch_16(call: &mut Call) -> Planned {
    prefetch(call, Extent::of_16(call.cdb))
}

/// WRITE ATOMIC(16), SBC-4 clause 5.49. With no alignment, granularity or boundaries (VPD page B0h) only the length counts;
/// ATOMIC BOUNDARY is a reserved field then.
pub(super) fn write_atomic(call: &mut Call) -> Planned {
    let (lba, blocks) = (be64(call.cdb, 2), u32::from(be16(call.cdb, 12)));
    check_range(call.unit, lba, u64::from(blocks))?;
    if blocks > call.unit.params().atomic_blocks {
        return Err(Outcome::invalid_cdb_field(12, 7));
    }
    unless_empty(blocks, MediumOp::WriteAtomic { lba, blocks, fua: call.cdb[1] & FUA != 0 || durable(call) })
}

/// MAXIMUM COMPARE AND WRITE LENGTH: both halves are collected in one slice before anything is compared.
pub(super) fn max_compare_and_write_blocks(block_bytes: u32) -> u8 {
    let room = limits::SLICE_BYTES / 2 / block_bytes.max(1) as usize;
    room.min(usize::from(limits::COMPARE_AND_WRITE_BLOCKS)) as u8
}

/// COMPARE AND WRITE, SBC-3 clause 5.2.
///
/// A command of no blocks is planned as one on the medium, too, so that data with it is noticed: an initiator that
/// announces some has meant more blocks than the field can say.
pub(super) fn compare_and_write(call: &mut Call) -> Planned {
    let (lba, blocks) = (be64(call.cdb, 2), u32::from(call.cdb[13]));
    check_range(call.unit, lba, u64::from(blocks))?;
    if blocks > u32::from(max_compare_and_write_blocks(call.unit.block_bytes())) {
        return Err(Outcome::invalid_cdb_field(13, 7));
    }
    let fua = call.cdb[1] & FUA != 0 || durable(call);
    Ok(Plan::Medium(MediumOp::CompareAndWrite { lba, blocks, fua }))
}
