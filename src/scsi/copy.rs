//! EXTENDED COPY(LID1) (SPC-4 clause 6.3): the CDB, and the parameter list of CSCD and segment descriptors.
//!
//! Here a list becomes a [`CopyRequest`] that is right in itself. It names logical units, which one device server does not
//! know; [`super::copy_begin`] finds them among those that the nexus may see, checks every range, and says what to move.
//! `operations.rs` keeps account of copy operations, `rod.rs` has the commands with tokens.
//!
//! Supported: CSCD descriptors of type E4h with the NAA designator of VPD page 83h, CSCD descriptor ID FFFFh (the
//! addressed logical unit), segment descriptors of type 02h (block to block). STR is honoured by always going through the
//! segments in order; PRIORITY changes nothing. Not here: inline data, PAD and CAT (a segment that is no whole number of
//! blocks on both sides is refused), EXTENDED COPY(LID4).

use super::call::{Call, Planned};
use super::cdb::{be16, be24, be32, be64, byte};
use super::copy_request::{CopyKind, Cscd, Extended, IDENTIFICATION_DESCRIPTOR, Segment};
use super::medium_op::MediumOp;
use super::plan::Plan;
use super::sense::{Outcome, asc};
use crate::limits;

pub use super::copy_request::CopyRequest;

/// Service actions of THIRD-PARTY COPY OUT (83h).
pub(super) mod out_action {
    pub const EXTENDED_COPY_LID1: u8 = 0x00;
    pub const POPULATE_TOKEN: u8 = 0x10;
    pub const WRITE_USING_TOKEN: u8 = 0x11;
    pub const COPY_OPERATION_ABORT: u8 = 0x1c;
}

/// Service actions of THIRD-PARTY COPY IN (84h).
pub(super) mod in_action {
    pub const RECEIVE_COPY_STATUS_LID1: u8 = 0x00;
    pub const RECEIVE_COPY_OPERATING_PARAMETERS: u8 = 0x03;
    pub const RECEIVE_COPY_FAILURE_DETAILS: u8 = 0x04;
    pub const RECEIVE_ROD_TOKEN_INFORMATION: u8 = 0x07;
}

/// Segment descriptor type: from block device to block device.
pub(super) const BLOCK_TO_BLOCK: u8 = 0x02;
/// CSCD descriptor ID of the logical unit that the command is sent to.
pub(super) const THIS_LOGICAL_UNIT: u16 = 0xffff;
/// Bytes of the header of the parameter list.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes of a CSCD descriptor.
pub(super) const CSCD_BYTES: usize = 32;
/// Bytes of a segment descriptor of type 02h.
pub(super) const SEGMENT_BYTES: usize = 28;
/// MAXIMUM DESCRIPTOR LIST LENGTH.
pub(super) const MAX_DESCRIPTOR_BYTES: usize =
    limits::COPY_CSCD_DESCRIPTORS * CSCD_BYTES + limits::COPY_SEGMENT_DESCRIPTORS * SEGMENT_BYTES;
/// MAXIMUM SEGMENT LENGTH, bytes: as many blocks as a segment can name, of the longest kind.
pub(super) const MAX_SEGMENT_BYTES: u32 = u16::MAX as u32 * 4096;

/// Checks PARAMETER LIST LENGTH of a command of operation code 83h, whose list has at least `least` bytes. Zero is no
/// error: nothing is done.
pub(super) fn list_length(call: &Call, least: usize) -> Planned {
    match be32(call.cdb, 10) {
        0 => Ok(Plan::Done(Outcome::GOOD)),
        len if (len as usize) < least || len as usize > limits::MAX_PARAMETER_BYTES => {
            Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR))
        }
        len => Ok(Plan::Parameters { len_bytes: len }),
    }
}

/// PARAMETER LIST LENGTH, and as much of the list as it says. The error: less came (PARAMETER LIST LENGTH ERROR).
pub(super) fn whole_list<'a>(call: &Call, list: &'a [u8]) -> Result<(u32, &'a [u8]), Outcome> {
    let announced = be32(call.cdb, 10);
    let list = list.get(..announced as usize).ok_or(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR))?;
    Ok((announced, list))
}

pub(super) fn extended_copy(call: &mut Call) -> Planned {
    list_length(call, HEADER_BYTES)
}

pub(super) fn extended_copy_list(call: &mut Call, list: &[u8]) -> Planned {
    let (list_bytes, list) = whole_list(call, list)?;
    let kind = CopyKind::Extended(Extended::parse(list)?);
    Ok(Plan::Medium(MediumOp::Copy(Box::new(CopyRequest { list_bytes, kind }))))
}

impl Extended {
    /// Lengths first (a list cut short must not be read on), then counts, then the descriptors in order.
    fn parse(list: &[u8]) -> Result<Extended, Outcome> {
        let list_id = list_id(list)?;
        let cscd_bytes = usize::from(be16(list, 2));
        let segment_bytes = be32(list, 8) as usize;
        let length_error = Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR);
        if cscd_bytes % CSCD_BYTES != 0 || cscd_bytes.saturating_add(segment_bytes) > MAX_DESCRIPTOR_BYTES {
            return Err(length_error);
        }
        if cscd_bytes > limits::COPY_CSCD_DESCRIPTORS * CSCD_BYTES {
            return Err(Outcome::illegal_list(asc::TOO_MANY_TARGET_DESCRIPTORS, 2, 7));
        }
        if be32(list, 12) != 0 {
            return Err(Outcome::illegal_list(asc::INLINE_DATA_LENGTH_EXCEEDED, 12, 7));
        }
        let first_segment = HEADER_BYTES + cscd_bytes;
        let (Some(cscds), Some(segments)) =
            (list.get(HEADER_BYTES..first_segment), list.get(first_segment..first_segment + segment_bytes))
        else {
            return Err(length_error);
        };
        let cscds = cscds.chunks_exact(CSCD_BYTES).enumerate();
        let cscds = cscds.map(|(n, bytes)| Cscd::parse(bytes, HEADER_BYTES + n * CSCD_BYTES));
        Ok(Extended {
            list_id,
            cscds: cscds.collect::<Result<_, _>>()?,
            segments: parse_segments(segments, first_segment)?,
        })
    }
}

/// LIST IDENTIFIER and LIST ID USAGE (SPC-4 table 104). Held data there is none, so whether it may be discarded (10b) does
/// not matter.
fn list_id(list: &[u8]) -> Result<Option<u8>, Outcome> {
    const RESERVED: u8 = 0xc0;
    let flags = byte(list, 1);
    if flags & RESERVED != 0 {
        return Err(Outcome::invalid_list_field(1, if flags & 0x80 != 0 { 7 } else { 6 }));
    }
    match (flags >> 3 & 0x03, byte(list, 0)) {
        (0b01, _) => Err(Outcome::invalid_list_field(1, 4)),
        (0b11, 0) => Ok(None),
        (0b11, _) => Err(Outcome::invalid_list_field(0, 7)),
        (_, id) => Ok(Some(id)),
    }
}

impl Cscd {
    /// LU ID TYPE and RELATIVE INITIATOR PORT IDENTIFIER are not looked at: the first is ignored with this type, and there
    /// is no initiator port that would be used.
    fn parse(bytes: &[u8], at: usize) -> Result<Cscd, Outcome> {
        const BINARY: u8 = 0x01;
        const OF_LOGICAL_UNIT: u8 = 0x00;
        const NAA: u8 = 0x03;
        if byte(bytes, 0) != IDENTIFICATION_DESCRIPTOR {
            return Err(Outcome::illegal_list(asc::UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE, at as u16, 7));
        }
        let is_naa = byte(bytes, 4) & 0x0f == BINARY && byte(bytes, 5) & 0x3f == OF_LOGICAL_UNIT | NAA;
        let naa = bytes.get(8..).and_then(|designator| designator.first_chunk().copied());
        Ok(Cscd {
            naa: naa.filter(|_| is_naa && byte(bytes, 7) == 16),
            peripheral_type: byte(bytes, 1) & 0x1f,
            block_bytes: be24(bytes, 29),
        })
    }
}

/// The segment descriptors; `at` is where in the list they begin.
fn parse_segments(mut bytes: &[u8], mut at: usize) -> Result<Vec<Segment>, Outcome> {
    const DC: u8 = 0x02;
    let mut segments = Vec::new();
    while !bytes.is_empty() {
        let here = at as u16;
        if segments.len() == limits::COPY_SEGMENT_DESCRIPTORS {
            return Err(Outcome::illegal_list(asc::TOO_MANY_SEGMENT_DESCRIPTORS, 8, 7));
        }
        if byte(bytes, 0) != BLOCK_TO_BLOCK {
            return Err(Outcome::illegal_list(asc::UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE, here, 7));
        }
        let Some((one, rest)) = bytes.split_at_checked(SEGMENT_BYTES) else {
            return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
        };
        if usize::from(be16(one, 2)) != SEGMENT_BYTES - 4 {
            return Err(Outcome::invalid_list_field(here + 2, 7));
        }
        segments.push(Segment {
            at: here,
            source: be16(one, 4),
            destination: be16(one, 6),
            source_lba: be64(one, 12),
            destination_lba: be64(one, 20),
            blocks: be16(one, 10),
            destination_counts: byte(one, 1) & DC != 0,
        });
        (bytes, at) = (rest, at + SEGMENT_BYTES);
    }
    Ok(segments)
}
