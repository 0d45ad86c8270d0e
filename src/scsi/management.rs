//! MAINTENANCE IN and what else reports about the device: REPORT TARGET PORT GROUPS, REPORT SUPPORTED TASK MANAGEMENT
//! FUNCTIONS, REPORT TIMESTAMP, LOG SENSE, READ DEFECT DATA.

use super::cdb::{be16, be32};
use super::opcode::{Call, Planned};
use super::plan::Outcome;
use std::time::{SystemTime, UNIX_EPOCH};

/// REPORT TARGET PORT GROUPS (SPC-4 clause 6.36): one group, active/optimized, with one port. Both header formats.
pub(super) fn report_target_port_groups(call: &mut Call) -> Planned {
    const EXTENDED: u8 = 0x20;
    const PREF_ACTIVE_OPTIMIZED: u8 = 0x80;
    const AO_SUP: u8 = 0x01;
    let params = call.unit.params();
    call.reply.put(&[0; 4]);
    if call.cdb[1] & EXTENDED != 0 {
        // Format type 001b, and no IMPLICIT TRANSITION TIME: there are no transitions.
        call.reply.put(&[0x10, 0, 0, 0]);
    }
    let [group_high, group_low] = params.portal_group.to_be_bytes();
    call.reply.put(&[PREF_ACTIVE_OPTIMIZED, AO_SUP, group_high, group_low, 0, 0, 0, 1, 0, 0]);
    call.reply.put(&params.relative_port.to_be_bytes());
    call.reply.patch_u32(0, 4);
    call.reply.finish(be32(call.cdb, 6) as usize)
}

/// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 clause 6.37): abort task, abort task set, clear task set, logical unit
/// reset, target reset. REPD asks for timeouts, of which none is specified.
pub(super) fn report_task_management(call: &mut Call) -> Planned {
    const REPD: u8 = 0x80;
    const FUNCTIONS: u8 = 0xda;
    let extended = call.cdb[2] & REPD != 0;
    call.reply.put(&[FUNCTIONS, 0, 0, if extended { 0x0c } else { 0 }]);
    if extended {
        call.reply.put(&[0; 12]);
    }
    call.reply.finish(be32(call.cdb, 6) as usize)
}

/// REPORT TIMESTAMP (SPC-4 clause 6.38): milliseconds since 1970, set by other means than SCSI.
pub(super) fn report_timestamp(call: &mut Call) -> Planned {
    const BY_OTHER_MEANS: u8 = 0x03;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    call.reply.put(&[0, 0x0a, BY_OTHER_MEANS, 0]);
    call.reply.put(&now.to_be_bytes()[2..]);
    call.reply.put(&[0; 2]);
    call.reply.finish(be32(call.cdb, 6) as usize)
}

/// LOG SENSE (SPC-4 clause 6.8): the list of pages, and informational exceptions, of which there are none.
pub(super) fn log_sense(call: &mut Call) -> Planned {
    const SUPPORTED: u8 = 0x00;
    const INFORMATIONAL_EXCEPTIONS: u8 = 0x2f;
    const ALL_SUBPAGES: u8 = 0xff;
    const SPF: u8 = 0x40;
    let (page, subpage) = (call.cdb[2] & 0x3f, call.cdb[3]);
    match (page, subpage) {
        (SUPPORTED, 0) => call.reply.put(&[SUPPORTED, 0, 0, 0, SUPPORTED, INFORMATIONAL_EXCEPTIONS]),
        (SUPPORTED, ALL_SUBPAGES) => {
            call.reply.put(&[SPF | SUPPORTED, ALL_SUBPAGES, 0, 0]);
            call.reply.put(&[SUPPORTED, 0, SUPPORTED, ALL_SUBPAGES, INFORMATIONAL_EXCEPTIONS, 0]);
        }
        (INFORMATIONAL_EXCEPTIONS, 0) => {
            // Parameter 0000h, binary list: no additional sense code, temperature unknown.
            call.reply.put(&[INFORMATIONAL_EXCEPTIONS, 0, 0, 0, 0, 0, 0x03, 4, 0, 0, 0xff, 0]);
        }
        (SUPPORTED | INFORMATIONAL_EXCEPTIONS, _) => return Err(Outcome::invalid_cdb_field(3, 7)),
        _ => return Err(Outcome::invalid_cdb_field(2, 5)),
    }
    if be16(call.cdb, 5) != 0 && page == SUPPORTED {
        return Err(Outcome::invalid_cdb_field(5, 7));
    }
    call.reply.patch_u16(2, 4);
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}

/// REQ_PLIST, REQ_GLIST and DEFECT LIST FORMAT come back as what was granted.
const LIST_FLAGS: u8 = 0x1f;

/// READ DEFECT DATA(10) (SBC-3 clause 5.20): both lists are empty.
pub(super) fn read_defect_data_10(call: &mut Call) -> Planned {
    call.reply.put(&[0, call.cdb[2] & LIST_FLAGS, 0, 0]);
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}

/// READ DEFECT DATA(12) (SBC-3 clause 5.21): both lists are empty.
pub(super) fn read_defect_data_12(call: &mut Call) -> Planned {
    call.reply.put(&[0, call.cdb[1] & LIST_FLAGS, 0, 0, 0, 0, 0, 0]);
    call.reply.finish(be32(call.cdb, 6) as usize)
}
