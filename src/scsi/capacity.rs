//! READ CAPACITY(10) and (16) (SBC-3 clauses 5.18, 5.19), GET LBA STATUS (clause 5.7).

use super::cdb::{be32, be64};
use super::opcode::{Call, Planned};
use super::plan::{MediumOp, Outcome, Plan};
use super::rw::check_range;

/// Answers FFFFFFFFh when the last LBA does not fit, which sends the host to READ CAPACITY(16).
pub(super) fn read_capacity_10(call: &mut Call) -> Planned {
    let last = u32::try_from(call.unit.blocks().saturating_sub(1)).unwrap_or(u32::MAX);
    call.reply.put(&last.to_be_bytes());
    call.reply.put(&call.unit.block_bytes().to_be_bytes());
    call.reply.finish(usize::MAX)
}

/// Tells block lengths and provisioning. LBPRZ goes with LBPME: unmapped blocks read as zeroes.
pub(super) fn read_capacity_16(call: &mut Call) -> Planned {
    const LBPME: u8 = 0x80;
    const LBPRZ: u8 = 0x40;
    let params = call.unit.params();
    call.reply.put(&call.unit.blocks().saturating_sub(1).to_be_bytes());
    call.reply.put(&params.block_bytes.to_be_bytes());
    let exponent = (params.physical_block_bytes / params.block_bytes.max(1)).max(1).ilog2() as u8;
    call.reply.put(&[0, exponent & 0x0f, if params.thin { LBPME | LBPRZ } else { 0 }, 0]);
    call.reply.put(&[0; 16]);
    call.reply.finish(be32(call.cdb, 10) as usize)
}

/// GET LBA STATUS: only the backend knows; the LBA must be one of the medium.
pub(super) fn lba_status(call: &mut Call) -> Planned {
    let (lba, alloc_bytes) = (be64(call.cdb, 2), be32(call.cdb, 10));
    check_range(call.unit, lba, 1)?;
    Ok(if alloc_bytes == 0 {
        Plan::Done(Outcome::GOOD)
    } else {
        Plan::Medium(MediumOp::LbaStatus { lba, alloc_bytes })
    })
}

/// The parameter data of GET LBA STATUS (SBC-3 clause 5.7), for whoever carries out [`MediumOp::LbaStatus`]: extents as
/// (first LBA, blocks, mapped), ascending, the first beginning at or before the LBA that was asked for. Cut to
/// `alloc_bytes`; PARAMETER DATA LENGTH stays that of the whole.
pub fn lba_status_data(extents: &[(u64, u32, bool)], alloc_bytes: u32) -> Vec<u8> {
    const HEADER_BYTES: usize = 8;
    const DESCRIPTOR_BYTES: usize = 16;
    const DEALLOCATED: u8 = 1;
    let len = HEADER_BYTES + DESCRIPTOR_BYTES * extents.len();
    let mut data = Vec::with_capacity(len);
    data.extend_from_slice(&(len as u32 - 4).to_be_bytes());
    data.extend_from_slice(&[0; 4]);
    for (lba, blocks, mapped) in extents {
        data.extend_from_slice(&lba.to_be_bytes());
        data.extend_from_slice(&blocks.to_be_bytes());
        data.extend_from_slice(&[if *mapped { 0 } else { DEALLOCATED }, 0, 0, 0]);
    }
    data.truncate(alloc_bytes as usize);
    data
}
