//! Commands about the state of the logical unit and the way to it: TEST UNIT READY, REQUEST SENSE, SEND
//! DIAGNOSTIC, RECEIVE DIAGNOSTIC RESULTS, and the echo buffer of WRITE BUFFER and READ BUFFER.

use super::call::{Call, Planned};
use super::cdb::{be16, be24};
use super::medium_op::MediumOp;
use super::plan::{Plan, Reply};
use super::sense::{self, MAX_SENSE_BYTES, Outcome, Sense, asc, key};
use crate::limits;

/// TEST UNIT READY (SPC-4 clause 6.47). What speaks against it on our side was found before the handler was called. If
/// it is not known that the medium answers, the medium is asked.
pub(super) fn test_unit_ready(call: &mut Call) -> Planned {
    Ok(if call.unit.health.is_known(call.command.now.ms) {
        Plan::Done(Outcome::GOOD)
    } else {
        Plan::Medium(MediumOp::Probe)
    })
}

/// REQUEST SENSE (SPC-4 clause 6.39): reports and clears the oldest unit attention, else the readiness of the unit.
pub(super) fn request_sense(call: &mut Call) -> Planned {
    if call.reply.unbuffered {
        return Ok(Plan::Buffer);
    }
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

/// SEND DIAGNOSTIC (SPC-4 clause 6.42): the default self-test asks the medium whether it answers; there are no diagnostic
/// pages to send.
pub(super) fn send_diagnostic(call: &mut Call) -> Planned {
    const SELFTEST: u8 = 0x04;
    let tests = call.cdb[1] & SELFTEST != 0;
    Ok(if tests { Plan::Medium(MediumOp::Probe) } else { Plan::Done(Outcome::GOOD) })
}

/// RECEIVE DIAGNOSTIC RESULTS (SPC-4 clause 6.26): the list of pages, which names itself only.
pub(super) fn receive_diagnostic_results(call: &mut Call) -> Planned {
    if call.cdb[2] != 0 {
        return Err(Outcome::invalid_cdb_field(2, 7));
    }
    call.reply.put(&[0, 0, 0, 1, 0]);
    call.reply.finish(usize::from(be16(call.cdb, 3)))
}

/// MODE of WRITE BUFFER and READ BUFFER: the echo buffer, and its descriptor (READ BUFFER only).
const ECHO: u8 = 0x0a;
const ECHO_DESCRIPTOR: u8 = 0x0b;

/// WRITE BUFFER (SPC-4 clause 6.49), echo buffer only. BUFFER ID and BUFFER OFFSET are ignored, as the clause says.
pub(super) fn write_buffer(call: &mut Call) -> Planned {
    if call.cdb[1] & 0x1f != ECHO {
        return Err(Outcome::invalid_cdb_field(1, 4));
    }
    match be24(call.cdb, 6) {
        0 => Ok(Plan::Done(Outcome::GOOD)),
        len_bytes if len_bytes as usize <= limits::ECHO_BUFFER_BYTES => Ok(Plan::Parameters { len_bytes }),
        _ => Err(Outcome::invalid_cdb_field(6, 7)),
    }
}

pub(super) fn write_buffer_list(call: &mut Call, list: &[u8]) -> Planned {
    let list = list.get(..limits::ECHO_BUFFER_BYTES).unwrap_or(list);
    call.unit.state().echo = Some((call.nexus.id, list.into()));
    call.nexus.has_echo = true;
    Ok(Plan::Done(Outcome::GOOD))
}

/// READ BUFFER (SPC-4 clause 6.18), echo buffer only: what this nexus wrote last. There is one buffer for all nexuses:
/// one for each would be as much memory as hosts care to claim.
pub(super) fn read_buffer(call: &mut Call) -> Planned {
    /// EBOS: a nexus is told when another one has overwritten the echo buffer.
    const EBOS: u8 = 0x01;
    const OVERWRITTEN: Sense = Sense::new(key::ABORTED_COMMAND, asc::ECHO_BUFFER_OVERWRITTEN);
    match call.cdb[1] & 0x1f {
        ECHO if !call.nexus.has_echo => return Err(Outcome::illegal(asc::COMMAND_SEQUENCE_ERROR)),
        ECHO => match &call.unit.state().echo {
            Some((nexus, bytes)) if *nexus == call.nexus.id => call.reply.put(bytes),
            _ => return Err(Outcome::check(OVERWRITTEN)),
        },
        ECHO_DESCRIPTOR => {
            let [high, low] = (limits::ECHO_BUFFER_BYTES as u16).to_be_bytes();
            call.reply.put(&[EBOS, 0, high, low]);
        }
        _ => return Err(Outcome::invalid_cdb_field(1, 4)),
    }
    call.reply.finish(be24(call.cdb, 6) as usize)
}
