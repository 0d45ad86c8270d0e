//! UNMAP (SBC-3 clause 5.28): the CDB, and the parameter list of block descriptors.

use super::call::{Call, Planned};
use super::cdb::{be16, be32, be64};
use super::medium_op::MediumOp;
use super::plan::Plan;
use super::rw::check_range;
use super::sense::{Outcome, asc};
use crate::limits;

/// Bytes of the header of the parameter list.
const HEADER_BYTES: usize = 8;
/// Bytes of a block descriptor: LBA, number of blocks, reserved.
const DESCRIPTOR_BYTES: usize = 16;

/// An empty list unmaps nothing and is no error.
pub(super) fn unmap(call: &mut Call) -> Planned {
    match be16(call.cdb, 7) {
        0 => Ok(Plan::Done(Outcome::GOOD)),
        len if usize::from(len) < HEADER_BYTES => Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR)),
        len => Ok(Plan::Parameters { len_bytes: u32::from(len) }),
    }
}

/// All descriptors are checked before the first block is unmapped. UNMAP DATA LENGTH is not looked at: it says again what
/// the lengths of list and block descriptors say, and hosts have been seen to get it wrong. A descriptor that the list
/// cuts off is left out, as SBC has it.
pub(super) fn unmap_list(call: &mut Call, list: &[u8]) -> Planned {
    if list.len() < HEADER_BYTES {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    let described = usize::from(be16(list, 2));
    let descriptors = list.get(HEADER_BYTES..).unwrap_or(&[]);
    let descriptors = descriptors.get(..described).unwrap_or(descriptors).chunks_exact(DESCRIPTOR_BYTES);
    if descriptors.len() > limits::UNMAP_DESCRIPTORS {
        return Err(Outcome::invalid_list_field(2, 7));
    }
    let mut ranges = Vec::with_capacity(descriptors.len());
    let mut total: u64 = 0;
    for (position, descriptor) in descriptors.enumerate() {
        let (lba, blocks) = (be64(descriptor, 0), u64::from(be32(descriptor, 8)));
        check_range(call.unit, lba, blocks)?;
        total += blocks;
        if total > u64::from(limits::MAX_UNMAP_BLOCKS) {
            let at = HEADER_BYTES + position * DESCRIPTOR_BYTES + 8;
            return Err(Outcome::invalid_list_field(at as u16, 7));
        }
        if blocks > 0 {
            ranges.push((lba, blocks));
        }
    }
    if ranges.is_empty() {
        return Ok(Plan::Done(Outcome::GOOD));
    }
    Ok(Plan::Medium(MediumOp::Unmap { ranges }))
}
