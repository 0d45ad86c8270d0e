//! The commands about copy operations, which [`super::operations`] keeps account of: RECEIVE COPY STATUS(LID1), RECEIVE
//! COPY FAILURE DETAILS(LID1), RECEIVE ROD TOKEN INFORMATION, and COPY OPERATION ABORT.

use super::call::{Call, Planned};
use super::cdb::{be32, byte};
use super::copy::out_action::{POPULATE_TOKEN, WRITE_USING_TOKEN};
use super::copy_request::TOKEN_BYTES;
use super::operations::{End, Operation};
use super::plan::Plan;
use super::sense::{self, Outcome, Sense};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The operation that the CDB names; INVALID FIELD IN CDB if there is none.
fn named(call: &Call, id: u32) -> Result<Arc<Operation>, Outcome> {
    call.unit.copies.find(call.nexus.id, id).ok_or(Outcome::invalid_cdb_field(2, 7))
}

/// RECEIVE COPY STATUS(LID1) (SPC-4 clause 6.23).
pub(super) fn copy_status(call: &mut Call) -> Planned {
    const IN_PROGRESS: u8 = 0x00;
    const COMPLETED: u8 = 0x01;
    const COMPLETED_WITH_ERRORS: u8 = 0x02;
    if call.reply.unbuffered {
        return Ok(Plan::Buffer);
    }
    let id = u32::from(byte(call.cdb, 2));
    let operation = named(call, id)?;
    let status = match operation.end.get() {
        None => IN_PROGRESS,
        Some(End::Good) => COMPLETED,
        Some(End::Failed(_) | End::Terminated) => COMPLETED_WITH_ERRORS,
    };
    // Bytes, or MiB when the count needs more than 32 bits.
    let bytes = operation.bytes.load(Ordering::Relaxed);
    let (units, count) = u32::try_from(bytes).map_or((2, (bytes >> 20) as u32), |bytes| (0, bytes));
    call.reply.put(&[0, 0, 0, 8, status]);
    call.reply.put(&operation.segments.load(Ordering::Relaxed).to_be_bytes());
    call.reply.put(&[units]);
    call.reply.put(&count.to_be_bytes());
    if status == COMPLETED {
        call.unit.copies.forget(call.nexus.id, id);
    }
    call.reply.finish(be32(call.cdb, 10) as usize)
}

/// RECEIVE COPY FAILURE DETAILS(LID1) (SPC-4 clause 6.20): nothing for an operation that did not fail.
pub(super) fn failure_details(call: &mut Call) -> Planned {
    const COMMAND_STATUS_AT: usize = 56;
    if call.reply.unbuffered {
        return Ok(Plan::Buffer);
    }
    let id = u32::from(byte(call.cdb, 2));
    let operation = named(call, id)?;
    if !operation.is_over() {
        return Err(Outcome::invalid_cdb_field(2, 7));
    }
    call.reply.put(&[0; 4]);
    if let Some(sense) = operation.sense() {
        let (bytes, len) = encoded(&sense);
        call.reply.data.resize(COMMAND_STATUS_AT, 0);
        call.reply.put(&[sense::status::CHECK_CONDITION, 0]);
        call.reply.put(&(len as u16).to_be_bytes());
        call.reply.put(&bytes[..len]);
        call.reply.patch_u32(0, 4);
    }
    call.unit.copies.forget(call.nexus.id, id);
    call.reply.finish(be32(call.cdb, 10) as usize)
}

/// RECEIVE ROD TOKEN INFORMATION (SBC-3 clause 5.22): how POPULATE TOKEN or WRITE USING TOKEN went, and the token.
pub(super) fn rod_token_information(call: &mut Call) -> Planned {
    const COMPLETED: u8 = 0x01;
    const COMPLETED_WITH_ERRORS: u8 = 0x02;
    const IN_FOREGROUND: u8 = 0x11;
    const IN_BACKGROUND: u8 = 0x12;
    const TERMINATED: u8 = 0x60;
    const LOGICAL_BLOCKS: u8 = 0xf1;
    /// ESTIMATED STATUS UPDATE DELAY, milliseconds: ask again soon while it goes on, never when it is over.
    const DELAY_MS: u32 = 100;
    let operation = named(call, be32(call.cdb, 2))?;
    if !matches!(operation.action, POPULATE_TOKEN | WRITE_USING_TOKEN) {
        return Err(Outcome::invalid_cdb_field(2, 7));
    }
    let status = match operation.end.get() {
        None if operation.immediate => IN_BACKGROUND,
        None => IN_FOREGROUND,
        Some(End::Good) => COMPLETED,
        Some(End::Failed(_)) => COMPLETED_WITH_ERRORS,
        Some(End::Terminated) => TERMINATED,
    };
    let delay = if operation.is_over() { u32::MAX } else { DELAY_MS };
    let sense = operation.sense().map(|sense| encoded(&sense));
    let sense = sense.as_ref().map_or(&[][..], |(bytes, len)| &bytes[..*len]);
    let completion = if sense.is_empty() { sense::status::GOOD } else { sense::status::CHECK_CONDITION };
    let reply = &mut *call.reply;
    reply.put(&[0, 0, 0, 0, operation.action, status, 0, 0]);
    reply.put(&delay.to_be_bytes());
    reply.put(&[completion, sense.len() as u8, sense.len() as u8, LOGICAL_BLOCKS]);
    reply.put(&(operation.bytes.load(Ordering::Relaxed) / u64::from(operation.block_bytes)).to_be_bytes());
    reply.put(&operation.segments.load(Ordering::Relaxed).to_be_bytes());
    reply.put(&[0; 6]);
    reply.put(sense);
    match operation.token.get() {
        // ROD TOKEN DESCRIPTORS LENGTH, then the only descriptor: ID FOR CREATING ROD CSCD DESCRIPTOR, and the token.
        Some(token) => {
            reply.put(&(2 + TOKEN_BYTES as u32).to_be_bytes());
            reply.put(&[0, 0]);
            reply.put(&token[..]);
        }
        None => reply.put(&[0; 4]),
    }
    reply.patch_u32(0, 4);
    reply.finish(be32(call.cdb, 10) as usize)
}

/// COPY OPERATION ABORT (SPC-4 clause 6.3): the operation ends before its next slice.
pub(super) fn abort(call: &mut Call) -> Planned {
    let operation = named(call, be32(call.cdb, 2))?;
    if operation.is_over() {
        return Err(Outcome::invalid_cdb_field(2, 7));
    }
    operation.cancelled.store(true, Ordering::Relaxed);
    Ok(Plan::Done(Outcome::GOOD))
}

fn encoded(sense: &Sense) -> ([u8; sense::MAX_SENSE_BYTES], usize) {
    let mut bytes = [0; sense::MAX_SENSE_BYTES];
    let len = sense::encode(sense, &mut bytes);
    (bytes, len)
}
