//! Commands about the state of the logical unit: TEST UNIT READY, REQUEST SENSE, PREVENT ALLOW MEDIUM REMOVAL.

use super::opcode::{Call, Planned};
use super::plan::{Outcome, Plan, Reply, Sense};
use super::sense::{self, MAX_SENSE_BYTES, asc, key};

/// GOOD: what speaks against it was found before the handler was called.
pub(super) fn test_unit_ready(_call: &mut Call) -> Planned {
    Ok(Plan::Done(Outcome::GOOD))
}

/// REQUEST SENSE (SPC-4 clause 6.39): reports and clears the oldest unit attention, else the readiness of the unit.
pub(super) fn request_sense(call: &mut Call) -> Planned {
    let sense = match call.unit.next_attention(call.nexus) {
        Some(attention) => attention.sense(),
        None => call.unit.readiness(),
    };
    put_sense(call.reply, sense, call.cdb)
}

/// Sense data as parameter data, in the format that DESC asks for.
pub(super) fn put_sense(reply: &mut Reply, sense: Sense, cdb: &[u8; 16]) -> Planned {
    const DESC: u8 = 0x01;
    let sense = Sense { descriptor_format: cdb[1] & DESC != 0, ..sense };
    let mut bytes = [0; MAX_SENSE_BYTES];
    let len = sense::encode(&sense, &mut bytes);
    reply.put(&bytes[..len]);
    reply.finish(usize::from(cdb[4]))
}

/// Sense that says nothing.
pub(super) const NO_SENSE: Sense = Sense::new(key::NO_SENSE, asc::NO_ADDITIONAL_SENSE_INFORMATION);

/// PREVENT ALLOW MEDIUM REMOVAL (SPC-4 clause 6.20): the medium cannot be removed, so either is granted.
pub(super) fn prevent_allow(_call: &mut Call) -> Planned {
    Ok(Plan::Done(Outcome::GOOD))
}
