//! REPORT LUNS (SPC-4 clause 6.33).

use super::attention::Attention;
use super::call::{Call, Planned};
use super::cdb::be32;
use super::plan::{Command, Plan, Reply};
use super::sense::Outcome;
use crate::wire::Lun;

/// REPORT LUNS to an existing logical unit: it also takes back the unit attention that asks for this command.
pub(super) fn report_luns(call: &mut Call) -> Planned {
    if call.reply.unbuffered {
        return Ok(Plan::Buffer);
    }
    call.nexus.pending.clear(Attention::ReportedLunsDataHasChanged);
    call.nexus.note_pending();
    list(call.command, call.cdb, call.reply)
}

/// Writes the LUN list that SELECT REPORT asks for. There are no administrative logical units (10h to 12h).
pub(super) fn list(command: &Command, cdb: &[u8; 16], reply: &mut Reply) -> Planned {
    let (logical_units, well_known): (&[u16], bool) = match cdb[2] {
        0x00 | 0x11 => (command.luns, false),
        0x01 => (&[], true),
        0x02 => (command.luns, true),
        0x10 | 0x12 => (&[], false),
        _ => return Err(Outcome::invalid_cdb_field(2, 7)),
    };
    let len_bytes = 8 * (logical_units.len() + usize::from(well_known)) as u32;
    reply.put(&len_bytes.to_be_bytes());
    reply.put(&[0; 4]);
    for number in logical_units {
        reply.put(&Lun::flat(*number).0);
    }
    if well_known {
        reply.put(&Lun::REPORT_LUNS.0);
    }
    reply.finish(be32(cdb, 6) as usize)
}
