//! SYNCHRONIZE CACHE (SBC-3 clauses 5.22, 5.23) and START STOP UNIT (SBC-3 clause 5.21).

use super::cdb::{be16, be32, be64};
use super::opcode::{Call, Planned, class};
use super::plan::{MediumOp, Outcome, Plan};
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

/// START STOP UNIT: a virtual disk does not spin, and other initiators may be using it: it never stops. A host that stops
/// it wants its writes safe, so that is a flush, unless NO_FLUSH says otherwise. LOEJ and power conditions are invalid
/// fields, as the CDB mask has it: the medium is not removable.
pub(super) fn start_stop_unit(call: &mut Call) -> Planned {
    const START: u8 = 0x01;
    const NO_FLUSH: u8 = 0x04;
    if call.cdb[4] & START == 0 {
        call.nexus.check_reserved(class::WRITE)?;
    }
    if call.cdb[4] & (START | NO_FLUSH) != 0 {
        return Ok(Plan::Done(Outcome::GOOD));
    }
    Ok(Plan::Medium(MediumOp::Flush { immed: call.cdb[1] & 0x01 != 0 }))
}
