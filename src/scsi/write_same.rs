//! WRITE SAME(10) and (16) (SBC-3 clauses 5.42, 5.43), with UNMAP and NDOB.

use super::call::{Call, Planned};
use super::cdb::{be16, be32, be64};
use super::medium_op::MediumOp;
use super::params::LuParams;
use super::plan::Plan;
use super::rw::check_range;
use super::sense::{Outcome, asc};
use crate::limits;

/// ANCHOR in byte 1 of the CDB; the same bit in both forms.
const ANCHOR: u8 = 0x10;
const UNMAP: u8 = 0x08;
/// NO DATA-OUT BUFFER, WRITE SAME(16) only.
const NDOB: u8 = 0x01;

/// WRITE SAME. No blocks mean all up to the end of the medium, unless WSNZ of VPD page B0h is set (see [`wsnz`]). More
/// than MAXIMUM WRITE SAME LENGTH is refused. ANCHOR is refused: anchored blocks do not exist here (ANC_SUP is zero).
fn write_same(call: &mut Call, lba: u64, blocks: u64, length_at: u16) -> Planned {
    let flags = call.cdb[1];
    if flags & ANCHOR != 0 {
        return Err(Outcome::invalid_cdb_field(1, 4));
    }
    if flags & UNMAP != 0 && !call.unit.params().thin {
        return Err(Outcome::invalid_cdb_field(1, 3));
    }
    check_range(call.unit, lba, blocks)?;
    if blocks == 0 && wsnz(call.unit.params()) {
        return Err(Outcome::invalid_cdb_field(length_at, 7));
    }
    let blocks = if blocks == 0 { call.unit.blocks() - lba } else { blocks };
    if blocks == 0 {
        return Err(Outcome::illegal(asc::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE));
    }
    if blocks > max_write_same_blocks(call.unit.block_bytes()) {
        return Err(Outcome::invalid_cdb_field(length_at, 7));
    }
    Ok(Plan::Medium(MediumOp::WriteSame {
        lba,
        blocks,
        unmap: flags & UNMAP != 0,
        anchor: false,
        no_data: flags & NDOB != 0,
    }))
}

/// WRITE SAME NON-ZERO: a WRITE SAME of no blocks is refused. Where hosts give space back with WRITE SAME, a length
/// that was reckoned to zero must not do so for the rest of the medium.
pub(super) fn wsnz(params: &LuParams) -> bool {
    params.thin
}

/// MAXIMUM WRITE SAME LENGTH.
pub(super) fn max_write_same_blocks(block_bytes: u32) -> u64 {
    limits::MAX_WRITE_SAME_BYTES / u64::from(block_bytes.max(1))
}

pub(super) fn write_same_10(call: &mut Call) -> Planned {
    write_same(call, u64::from(be32(call.cdb, 2)), u64::from(be16(call.cdb, 7)), 7)
}

pub(super) fn write_same_16(call: &mut Call) -> Planned {
    write_same(call, be64(call.cdb, 2), u64::from(be32(call.cdb, 10)), 10)
}
