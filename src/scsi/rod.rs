//! Representations of data and their tokens (SPC-4 clause 5.17.6, SBC-3 clauses 5.7 and 5.46): what Windows copies with
//! (offloaded data transfer). POPULATE TOKEN turns ranges of a logical unit into a token, WRITE USING TOKEN copies from a
//! token, on this logical unit or another one of the target that the nexus sees. Here are the commands; the tokens are in
//! [`super::tokens`].

use super::call::{Call, Planned};
use super::cdb::{be16, be32, be64, byte};
use super::copy;
use super::copy_request::{CopyKind, CopyRequest, Populate, TOKEN_BYTES, WriteUsingToken};
use super::medium_op::MediumOp;
use super::plan::Plan;
use super::rw::check_range;
use super::sense::{Outcome, asc};
use super::tokens::{POINT_IN_TIME_CHANGE_VULNERABLE, TOKEN_LENGTH, ZERO, overlap};
use crate::limits;

/// ROD TYPE in POPULATE TOKEN: point in time copy, whichever the copy manager has.
const POINT_IN_TIME_ANY: u32 = 0x0080_ffff;

const POPULATE_HEADER_BYTES: usize = 16;
const WRITE_HEADER_BYTES: usize = 536;
const RANGE_BYTES: usize = 16;

pub(super) fn populate_token(call: &mut Call) -> Planned {
    copy::list_length(call, POPULATE_HEADER_BYTES)
}

/// IMMED is accepted and changes nothing: the token is made when what is under way in its blocks is over.
pub(super) fn populate_token_list(call: &mut Call, list: &[u8]) -> Planned {
    const RTV: u8 = 0x02;
    let (list_bytes, list) = copy::whole_list(call, list)?;
    let timeout_s = be32(list, 4);
    if timeout_s > limits::ROD_MAX_TIMEOUT_S {
        return Err(Outcome::invalid_list_field(4, 7));
    }
    if byte(list, 2) & RTV != 0 && !matches!(be32(list, 8), POINT_IN_TIME_CHANGE_VULNERABLE | POINT_IN_TIME_ANY) {
        return Err(Outcome::invalid_list_field(8, 7));
    }
    let ranges = ranges(call, list, POPULATE_HEADER_BYTES)?;
    let timeout_s = if timeout_s == 0 { limits::ROD_DEFAULT_TIMEOUT_S } else { timeout_s };
    let kind = CopyKind::Populate(Populate { list_id: be32(call.cdb, 6), timeout_s, ranges });
    Ok(Plan::Medium(MediumOp::Copy(Box::new(CopyRequest { list_bytes, kind }))))
}

pub(super) fn write_using_token(call: &mut Call) -> Planned {
    copy::list_length(call, WRITE_HEADER_BYTES)
}

pub(super) fn write_using_token_list(call: &mut Call, list: &[u8]) -> Planned {
    const IMMED: u8 = 0x01;
    const DEL_TKN: u8 = 0x02;
    const TOKEN_AT: usize = 16;
    let (list_bytes, list) = copy::whole_list(call, list)?;
    let Some(token) = list.get(TOKEN_AT..).and_then(|list| list.first_chunk::<TOKEN_BYTES>()) else {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    };
    if !matches!(be32(token, 0), POINT_IN_TIME_CHANGE_VULNERABLE | ZERO) {
        return Err(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_UNSUPPORTED_TOKEN_TYPE));
    }
    if be16(token, 6) != TOKEN_LENGTH {
        return Err(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_INVALID_TOKEN_LENGTH));
    }
    let ranges = ranges(call, list, WRITE_HEADER_BYTES)?;
    let flags = byte(list, 2);
    let kind = CopyKind::Write(WriteUsingToken {
        list_id: be32(call.cdb, 6),
        immediate: flags & IMMED != 0,
        delete: flags & DEL_TKN != 0,
        offset: be64(list, 8),
        token: Box::new(*token),
        ranges,
    });
    Ok(Plan::Medium(MediumOp::Copy(Box::new(CopyRequest { list_bytes, kind }))))
}

/// The block device range descriptors behind a header of `header` bytes, whose last two say how long they are. Each is
/// inside the medium, and none overlaps another (SBC-3 clause 5.7.3). Ranges of no blocks are left out.
fn ranges(call: &Call, list: &[u8], header: usize) -> Result<Vec<(u64, u64)>, Outcome> {
    let length_at = header as u16 - 2;
    let data_bytes = usize::from(be16(list, 0)) + 2;
    let bytes = usize::from(be16(list, header - 2));
    if bytes % RANGE_BYTES != 0 || bytes == 0 {
        return Err(Outcome::invalid_list_field(length_at, 7));
    }
    if bytes > limits::ROD_RANGES * RANGE_BYTES {
        return Err(Outcome::illegal_list(asc::TOO_MANY_SEGMENT_DESCRIPTORS, length_at, 7));
    }
    if data_bytes < header + bytes {
        return Err(Outcome::invalid_list_field(0, 7));
    }
    let Some(descriptors) = list.get(header..header + bytes) else {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    };
    let most = limits::MAX_ROD_BYTES / u64::from(call.unit.block_bytes().max(1));
    let mut ranges = Vec::with_capacity(bytes / RANGE_BYTES);
    let mut total: u64 = 0;
    for (n, descriptor) in descriptors.chunks_exact(RANGE_BYTES).enumerate() {
        let (lba, blocks) = (be64(descriptor, 0), u64::from(be32(descriptor, 8)));
        check_range(call.unit, lba, blocks)?;
        total += blocks;
        if total > most {
            return Err(Outcome::invalid_list_field((header + n * RANGE_BYTES + 8) as u16, 7));
        }
        if blocks > 0 {
            ranges.push((lba, blocks));
        }
    }
    let mut sorted = ranges.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| overlap(pair[0], pair[1])) {
        return Err(Outcome::invalid_list_field(header as u16, 7));
    }
    Ok(ranges)
}
