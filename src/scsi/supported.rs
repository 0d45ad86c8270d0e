//! REPORT SUPPORTED OPERATION CODES (SPC-4 clause 6.35): the command table as parameter data.

use super::call::{Call, Planned};
use super::cdb::{be16, be32};
use super::plan::Reply;
use super::row::Row;
use super::sense::Outcome;

/// A command timeouts descriptor that specifies no timeout (SPC-4 clause 6.35.4).
const NO_TIMEOUTS: [u8; 12] = [0x00, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `table`: all commands; `of_opcode`: those with the REQUESTED OPERATION CODE.
pub(super) fn report_operation_codes(call: &mut Call, table: &[Row], of_opcode: &[Row]) -> Planned {
    let timeouts = call.cdb[2] & 0x80 != 0;
    let action = be16(call.cdb, 4);
    let rows = || of_opcode.iter().filter(|row| row.class & call.unit.absent() == 0);
    let with_actions = rows().any(|row| row.action.is_some());
    let found = || rows().find(|row| row.action.is_none_or(|own| own == action));
    let row = match call.cdb[2] & 0x07 {
        0 => {
            all(call, table, timeouts);
            return call.reply.finish(be32(call.cdb, 6) as usize);
        }
        1 if with_actions => return Err(Outcome::invalid_cdb_field(2, 2)),
        1 => rows().next(),
        2 if !with_actions && rows().next().is_some() => return Err(Outcome::invalid_cdb_field(2, 2)),
        2 => found(),
        3 => found().filter(|row| row.action.is_some() || action == 0),
        _ => return Err(Outcome::invalid_cdb_field(2, 2)),
    };
    one(call.reply, row.filter(|row| call.unit.has(row)), timeouts);
    call.reply.finish(be32(call.cdb, 6) as usize)
}

/// The all_commands format (SPC-4 clause 6.35.2).
fn all(call: &mut Call, table: &[Row], timeouts: bool) {
    const SERVACTV: u8 = 0x01;
    const CTDP: u8 = 0x02;
    let unit = call.unit;
    call.reply.put(&[0; 4]);
    for row in table.iter().filter(|row| unit.has(row)) {
        let flags = if row.action.is_some() { SERVACTV } else { 0 } | if timeouts { CTDP } else { 0 };
        let len = row.usage.len() as u8;
        let [high, low] = row.action.unwrap_or(0).to_be_bytes();
        call.reply.put(&[row.opcode(), 0, high, low, 0, flags, 0, len]);
        if timeouts {
            call.reply.put(&NO_TIMEOUTS);
        }
    }
    call.reply.patch_u32(0, 4);
}

/// The one_command format (SPC-4 clause 6.35.3).
fn one(reply: &mut Reply, row: Option<&Row>, timeouts: bool) {
    const CTDP: u8 = 0x80;
    const NOT_SUPPORTED: u8 = 0x01;
    const AS_IN_STANDARD: u8 = 0x03;
    let Some(row) = row else {
        return reply.put(&[0, NOT_SUPPORTED, 0, 0]);
    };
    reply.put(&[0, AS_IN_STANDARD | if timeouts { CTDP } else { 0 }, 0, row.usage.len() as u8]);
    reply.put(row.usage);
    if timeouts {
        reply.put(&NO_TIMEOUTS);
    }
}
