//! LUNs without a logical unit, and the REPORT LUNS well-known logical unit (SPC-4 clauses 6.6, 6.33, 6.39 and 8.2;
//! SAM-5 clause 5.11).

use super::call::Planned;
use super::cdb::be16;
use super::diagnostic::put_sense;
use super::plan::{Command, Plan, Reply};
use super::sense::{NO_SENSE, Outcome, Sense, asc, key};
use super::{class, inquiry, opcode, report_luns, vpd};

const UNSUPPORTED: Sense = Sense::new(key::ILLEGAL_REQUEST, asc::LOGICAL_UNIT_NOT_SUPPORTED);

/// Plans a command to a LUN that this nexus has no logical unit at.
///
/// INQUIRY, REPORT LUNS and REQUEST SENSE are answered, so LUN 0 can always be asked what there is; everything else fails
/// with LOGICAL UNIT NOT SUPPORTED. The REPORT LUNS well-known logical unit is answered here too.
pub fn absent(command: &Command, reply: &mut Reply) -> Plan {
    reply.clear();
    match answer(command, reply) {
        Ok(plan) => plan,
        Err(outcome) => {
            reply.data.clear();
            Plan::Done(outcome)
        }
    }
}

fn answer(command: &Command, reply: &mut Reply) -> Planned {
    let well_known = command.lun.is_report_luns_wlun();
    let unsupported =
        if well_known { Outcome::illegal(asc::INVALID_COMMAND_OPERATION_CODE) } else { Outcome::check(UNSUPPORTED) };
    let Ok((row, cdb)) = opcode::find(command.cdb, class::CDROM) else {
        return Err(unsupported);
    };
    match row.opcode() {
        opcode::INQUIRY => {
            row.check(cdb)?;
            let peripheral = if well_known { inquiry::WELL_KNOWN } else { inquiry::NOTHING };
            match (cdb[1] & 0x01 != 0, cdb[2]) {
                (false, 0) => inquiry::standard(reply, peripheral, false, command),
                (false, _) => return Err(Outcome::invalid_cdb_field(2, 7)),
                (true, page) => vpd::page_of_nothing(reply, page, peripheral)?,
            }
            reply.finish(usize::from(be16(cdb, 3)))
        }
        opcode::REPORT_LUNS => {
            row.check(cdb)?;
            report_luns::list(command, cdb, reply)
        }
        opcode::REQUEST_SENSE => {
            row.check(cdb)?;
            put_sense(reply, if well_known { NO_SENSE } else { UNSUPPORTED }, cdb)
        }
        opcode::TEST_UNIT_READY if well_known => {
            row.check(cdb)?;
            Ok(Plan::Done(Outcome::GOOD))
        }
        _ => Err(unsupported),
    }
}
