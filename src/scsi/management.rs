//! MAINTENANCE IN and what else reports about the device: REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS, READ
//! DEFECT DATA.

use super::call::{Call, Planned};
use super::cdb::{be16, be32};

/// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 clause 6.37): abort task, abort task set, clear task set, logical unit
/// reset, target reset; from iSCSIProtocolLevel 2 on, query task, query task set, I_T nexus reset and query asynchronous
/// event too (RFC 7144 section 4.1). REPD asks for timeouts, of which none is specified.
pub(super) fn report_task_management(call: &mut Call) -> Planned {
    const REPD: u8 = 0x80;
    const FUNCTIONS: [u8; 2] = [0xda, 0];
    const SAM_4_FUNCTIONS: [u8; 2] = [0xde, 0x07];
    let extended = call.cdb[2] & REPD != 0;
    let [first, second] = if call.command.protocol_level >= 2 { SAM_4_FUNCTIONS } else { FUNCTIONS };
    call.reply.put(&[first, second, 0, if extended { 0x0c } else { 0 }]);
    if extended {
        call.reply.put(&[0; 12]);
    }
    call.reply.finish(be32(call.cdb, 6) as usize)
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
