//! The timestamp of a logical unit (SPC-4 clause 5.2): REPORT TIMESTAMP and SET TIMESTAMP (clauses 6.38 and 6.46).
//!
//! It is the time of this machine until a host sets another one; that one counts on beside the machine's until a hard
//! reset or the end of the process (SCSIP and TCMOS of the control extension mode page say just that).

use super::attention::{Attention, Recipients};
use super::cdb::{be32, byte};
use super::opcode::{Call, Planned};
use super::plan::Plan;
use super::sense::{Outcome, asc};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What a host set, in milliseconds since 1970, and when; among the rare state.
#[derive(Debug, Default)]
pub(super) struct Clock(Option<(u64, Instant)>);

/// TIMESTAMP ORIGIN (SPC-4 table 50).
mod origin {
    pub(super) const SET_TIMESTAMP: u8 = 0x02;
    pub(super) const OTHER_MEANS: u8 = 0x03;
}

impl Clock {
    /// TIMESTAMP ORIGIN and the timestamp.
    fn read(&self, now: Instant) -> (u8, u64) {
        match self.0 {
            Some((timestamp, since)) => {
                let elapsed = now.saturating_duration_since(since).as_millis() as u64;
                (origin::SET_TIMESTAMP, timestamp.saturating_add(elapsed))
            }
            None => {
                let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
                (origin::OTHER_MEANS, since_1970.map_or(0, |since| since.as_millis() as u64))
            }
        }
    }
}

/// REPORT TIMESTAMP.
pub(super) fn report(call: &mut Call) -> Planned {
    let (origin, timestamp) = call.unit.state().clock.read(Instant::now());
    call.reply.put(&[0, 0x0a, origin, 0]);
    call.reply.put(&timestamp.to_be_bytes()[2..]);
    call.reply.put(&[0; 2]);
    call.reply.finish(be32(call.cdb, 6) as usize)
}

/// Bytes of the parameter list.
const LIST_BYTES: u32 = 12;
/// Where it has the timestamp, of 6 bytes; the others are reserved.
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
    /// The high order byte of a timestamp is not greater.
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
    state.clock = Clock(Some((timestamp, Instant::now())));
    call.unit.post(&mut state, Attention::TimestampChanged, Recipients::Except(Some(call.nexus.id)));
    Ok(Plan::Done(Outcome::GOOD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_goes_on() {
        let now = Instant::now();
        let clock = Clock(Some((0xf0ff_ffff_ffff, now)));
        assert_eq!(clock.read(now), (2, 0xf0ff_ffff_ffff));
        assert_eq!(clock.read(now + Duration::from_millis(1500)), (2, 0xf0ff_ffff_ffff + 1500));
        let (origin, timestamp) = Clock::default().read(now);
        assert!(origin == 3 && timestamp > 1_700_000_000_000);
    }
}
