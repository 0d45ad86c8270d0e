//! REPORT and SET IDENTIFYING INFORMATION (SPC-4 clauses 6.32 and 6.43): what an owner writes on a logical unit, as on a
//! label. There is a binary one and one of text; both are saved.

use super::call::{Call, Planned};
use super::cdb::be32;
use super::plan::Plan;
use super::saved::{IdentifyingInformation, Next, Part};
use super::sense::{Outcome, asc};
use crate::limits;

/// INFORMATION TYPE (SPC-4 clause 6.32.1), as it stands in byte 10 of the CDB.
mod kind {
    pub(super) const BINARY: u8 = 0x00;
    pub(super) const TEXT: u8 = 0x04;
    /// Which types there are: REPORT only.
    pub(super) const SUPPORTED: u8 = 0xfe;
}

/// The length that a type may have, in bytes.
fn longest(kind: u8) -> Option<usize> {
    match kind {
        kind::BINARY => Some(limits::IDENTIFYING_INFORMATION_BYTES),
        kind::TEXT => Some(limits::IDENTIFYING_TEXT_BYTES),
        _ => None,
    }
}

/// REPORT IDENTIFYING INFORMATION.
pub(super) fn report(call: &mut Call) -> Planned {
    let state = call.unit.state();
    call.reply.put(&[0; 4]);
    match call.cdb[10] {
        kind::BINARY => call.reply.put(&state.identifying.binary),
        kind::TEXT => call.reply.put(state.identifying.text.as_bytes()),
        kind::SUPPORTED => {
            for kind in [kind::BINARY, kind::TEXT] {
                let [high, low] = (longest(kind).unwrap_or(0) as u16).to_be_bytes();
                call.reply.put(&[kind, 0, high, low]);
            }
        }
        _ => return Err(Outcome::invalid_cdb_field(10, 7)),
    }
    call.reply.patch_u16(2, 4);
    call.reply.finish(be32(call.cdb, 6) as usize)
}

/// SET IDENTIFYING INFORMATION: without a parameter list the label is taken off.
pub(super) fn set(call: &mut Call) -> Planned {
    let len_bytes = be32(call.cdb, 6);
    match longest(call.cdb[10]) {
        None => Err(Outcome::invalid_cdb_field(10, 7)),
        Some(longest) if len_bytes as usize > longest => Err(Outcome::invalid_cdb_field(6, 7)),
        Some(_) if len_bytes == 0 => call.change(Part::IdentifyingInformation, &[]),
        Some(_) => Ok(Plan::Parameters { len_bytes }),
    }
}

pub(super) fn set_list(call: &mut Call, list: &[u8]) -> Planned {
    if list.len() < be32(call.cdb, 6) as usize {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    if call.cdb[10] == kind::TEXT
        && let Err(error) = std::str::from_utf8(list)
    {
        return Err(Outcome::invalid_list_field(error.valid_up_to() as u16, 7));
    }
    call.change(Part::IdentifyingInformation, list)
}

/// What the command makes of the labels; the list has been checked.
pub(super) fn decide(now: &IdentifyingInformation, cdb: &[u8; 16], list: &[u8]) -> Next {
    let mut next = now.clone();
    if cdb[10] == kind::TEXT {
        next.text = String::from_utf8_lossy(list).into_owned();
    } else {
        next.binary = list.to_vec();
    }
    Next::IdentifyingInformation(next)
}
