//! SYNCHRONIZE CACHE (SBC-3 clauses 5.22, 5.23).

use super::call::{Call, Planned};
use super::cdb::{be16, be32, be64};
use super::medium_op::MediumOp;
use super::plan::Plan;
use super::rw::check_range;

const IMMED: u8 = 0x02;

/// The range is checked, then everything is synchronized: the backend has no smaller unit, and more is allowed.
fn synchronize_cache(call: &mut Call, lba: u64, blocks: u64) -> Planned {
    check_range(call.unit, lba, blocks)?;
    Ok(Plan::Medium(MediumOp::Flush { immed: call.cdb[1] & IMMED != 0 }))
}

pub(super) fn synchronize_cache_10(call: &mut Call) -> Planned {
    synchronize_cache(call, u64::from(be32(call.cdb, 2)), u64::from(be16(call.cdb, 7)))
}

pub(super) fn synchronize_cache_16(call: &mut Call) -> Planned {
    synchronize_cache(call, be64(call.cdb, 2), u64::from(be32(call.cdb, 10)))
}
