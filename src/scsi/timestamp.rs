//! REPORT TIMESTAMP and SET TIMESTAMP (SPC-4 clauses 6.38 and 6.46), about the [`Clock`] of a logical unit.

use super::attention::{Attention, Recipients};
use super::call::{Call, Planned};
use super::cdb::{be32, byte};
use super::clock::Clock;
use super::plan::Plan;
use super::sense::{Outcome, asc};

/// REPORT TIMESTAMP.
pub(super) fn report(call: &mut Call) -> Planned {
    let (origin, timestamp) = call.unit.state().clock.read(call.command.now);
    call.reply.put(&[0, 0x0a, origin, 0]);
    call.reply.put(&timestamp.to_be_bytes()[2..]);
    call.reply.put(&[0; 2]);
    call.reply.finish(be32(call.cdb, 6) as usize)
}

/// Bytes of the parameter list.
const LIST_BYTES: u32 = 12;
/// Where the list has the timestamp, of 6 bytes; its other bytes are reserved.
const TIMESTAMP_AT: usize = 4;

/// SET TIMESTAMP; without a list nothing is set.
pub(super) fn set(call: &mut Call) -> Planned {
    match be32(call.cdb, 6) {
        0 => Ok(Plan::Done(Outcome::GOOD)),
        LIST_BYTES => Ok(Plan::Parameters { len_bytes: LIST_BYTES }),
        _ => Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR)),
    }
}

pub(super) fn set_list(call: &mut Call, list: &[u8]) -> Planned {
    /// The high order byte of a timestamp is at most this.
    const MOST: u8 = 0xf0;
    let Some(field) = list.get(TIMESTAMP_AT..TIMESTAMP_AT + 6).filter(|_| list.len() == LIST_BYTES as usize) else {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    };
    if byte(field, 0) > MOST {
        return Err(Outcome::invalid_list_field(TIMESTAMP_AT as u16, 7));
    }
    for at in (0..TIMESTAMP_AT).chain(TIMESTAMP_AT + 6..list.len()) {
        if let Some(bit) = byte(list, at).checked_ilog2() {
            return Err(Outcome::invalid_list_field(at as u16, bit as u8));
        }
    }
    let timestamp = field.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let mut state = call.unit.state();
    state.clock = Clock(Some((timestamp, call.command.now.since_1970_ms)));
    call.unit.post(&mut state, Attention::TimestampChanged, Recipients::Except(Some(call.nexus.id)));
    Ok(Plan::Done(Outcome::GOOD))
}
