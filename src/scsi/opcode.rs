//! THE command table: one row per command. Dispatch, CDB validation, what blocks a command, and REPORT SUPPORTED OPERATION
//! CODES all read it; nothing else knows which commands exist.
//!
//! A row's usage mask is the CDB USAGE DATA of SPC-4 clause 6.35.3: the operation code, the service action, and a one for
//! every bit that is evaluated. A zero is a bit that must not be set: reserved, obsolete, or a feature this device server
//! does not have (protection information, NACA). GROUP NUMBER is accepted and collects nothing.
//!
//! The rows of operation code 7Fh are the commands of 32 bytes (SPC-4 clause 4.2.3), whose CDB goes on in an additional
//! header segment. Those of them that belong to type 2 protection are no commands of a logical unit without it.

use super::call::{Call, Planned};
use super::cdb::{be16, byte};
use super::row::row;
use super::sense::{Outcome, asc};
use super::{
    alua, capacity, class, copy, copy_status, copy_vpd, diagnostic, erase, identifying, inquiry, log, management, mmc,
    mode, orwrite, persistent, removable, report_luns, rod, rw, supported, sync, timestamp, unmap, write_same,
};

pub use super::row::Row;

/// Operation codes that are answered where there is no logical unit.
pub(super) const TEST_UNIT_READY: u8 = 0x00;
pub(super) const REQUEST_SENSE: u8 = 0x03;
pub(super) const INQUIRY: u8 = 0x12;
pub(super) const REPORT_LUNS: u8 = 0xa0;
/// The operation code of all variable-length CDBs.
pub(super) const VARIABLE_LENGTH: u8 = 0x7f;

/// Bytes of the variable-length CDBs that there are.
pub(super) const VARIABLE_BYTES: usize = 32;
/// Their ADDITIONAL CDB LENGTH: what comes after the first 8 bytes.
const ADDITIONAL_BYTES: u8 = (VARIABLE_BYTES - 8) as u8;
/// READ(32), VERIFY(32), WRITE(32), WRITE AND VERIFY(32), WRITE SAME(32), WRITE ATOMIC(32), WRITE STREAM(32) and
/// WRITE SCATTERED(32).
const TYPE_2_PROTECTION: [u16; 8] = [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0f, 0x10, 0x11];

/// The row of a CDB, and the CDB's first 16 bytes. `absent`: the class of commands that the type of device does not have;
/// a row of it is found all the same where an operation code has no other.
///
/// # Errors
/// INVALID COMMAND OPERATION CODE; or INVALID FIELD IN CDB for an unknown service action, or for a variable-length CDB
/// that has not the length of its command.
#[inline]
pub fn find(whole: &[u8], absent: u16) -> Result<(&'static Row, &[u8; 16]), Outcome> {
    let Some(cdb) = whole.first_chunk::<16>() else {
        return Err(Outcome::illegal(asc::INVALID_COMMAND_OPERATION_CODE));
    };
    let rows = rows_of(cdb[0]);
    match rows {
        [row] if row.action.is_none() => Ok((row, cdb)),
        [] => Err(Outcome::illegal(asc::INVALID_COMMAND_OPERATION_CODE)),
        rows => {
            let action = u16::from(cdb[1] & 0x1f);
            let mut present = rows.iter().filter(|row| row.class & absent == 0).peekable();
            if present.peek().is_none() {
                return Err(Outcome::illegal(asc::INVALID_COMMAND_OPERATION_CODE));
            }
            if cdb[0] == VARIABLE_LENGTH {
                return Ok((find_variable(rows, whole)?, cdb));
            }
            match present.find(|row| row.action.is_none_or(|own| own == action)) {
                Some(row) => Ok((row, cdb)),
                None => Err(Outcome::invalid_cdb_field(1, 4)),
            }
        }
    }
}

/// The row of a variable-length CDB. What came along beyond the end of the CDB is not part of it.
#[cold]
fn find_variable(rows: &'static [Row], cdb: &[u8]) -> Result<&'static Row, Outcome> {
    let action = be16(cdb, 8);
    // SBC-4 clause 4.21.2.2: with type 0 protection these commands are invalid, and are terminated with this code.
    if TYPE_2_PROTECTION.contains(&action) {
        return Err(Outcome::illegal(asc::INVALID_COMMAND_OPERATION_CODE));
    }
    let row = rows.iter().find(|row| row.action == Some(action)).ok_or(Outcome::invalid_cdb_field(8, 7))?;
    if byte(cdb, 7) != ADDITIONAL_BYTES || cdb.len() < VARIABLE_BYTES {
        return Err(Outcome::invalid_cdb_field(7, 7));
    }
    Ok(row)
}

/// The rows of an operation code: none, one, or one for each service action or type of device.
#[inline]
pub fn rows_of(opcode: u8) -> &'static [Row] {
    INDEX[opcode as usize]
}

/// The rows of each operation code.
static INDEX: [&[Row]; 256] = {
    let mut index: [&[Row]; 256] = [&[]; 256];
    let mut rest: &'static [Row] = TABLE;
    while let [first, ..] = rest {
        let mut count = 1;
        while count < rest.len() && rest[count].opcode() == first.opcode() {
            count += 1;
        }
        let opcode = first.opcode() as usize;
        assert!(index[opcode].is_empty(), "rows of one operation code stand together");
        (index[opcode], rest) = rest.split_at(count);
    }
    index
};

/// REPORT SUPPORTED OPERATION CODES, which tells of the table that it is a row of.
fn report_operation_codes(call: &mut Call) -> Planned {
    supported::report_operation_codes(call, TABLE, rows_of(call.cdb[3]))
}

/// Every command, by operation code, service action and type of device.
pub static TABLE: &[Row] = &COMMANDS;

#[rustfmt::skip]
const COMMANDS: [Row; 94] = [
    row("TEST UNIT READY", &[0x00, 0, 0, 0, 0, 0], class::ANY | class::MEDIUM, diagnostic::test_unit_ready),
    row("REQUEST SENSE", &[0x03, 0x01, 0, 0, 0xff, 0], class::ALWAYS, diagnostic::request_sense),
    row("FORMAT UNIT", &[0x04, 0x38, 0, 0, 0, 0], class::ERASES_MEDIUM, erase::format_unit).list(erase::format_unit_list),
    row("READ(6)", &[0x08, 0x1f, 0xff, 0xff, 0xff, 0], class::READS_MEDIUM, rw::read_6),
    row("WRITE(6)", &[0x0a, 0x1f, 0xff, 0xff, 0xff, 0], class::WRITES_MEDIUM, rw::write_6),
    row("INQUIRY", &[0x12, 0x01, 0xff, 0xff, 0xff, 0], class::ALWAYS, inquiry::inquiry),
    row("MODE SELECT(6)", &[0x15, 0x11, 0, 0, 0xff, 0], class::CHANGES, mode::select_6).list(mode::select_list).in_standby(),
    row("RESERVE(6)", &[0x16, 0, 0, 0, 0, 0], class::ANY, persistent::reserve_unit),
    row("RELEASE(6)", &[0x17, 0, 0, 0, 0, 0], class::ANY & !class::ACCESS, persistent::release_unit),
    row("MODE SENSE(6)", &[0x1a, 0x08, 0xff, 0xff, 0xff, 0], class::READS, mode::sense_6).in_standby(),
    row("START STOP UNIT", &[0x1b, 0x01, 0, 0, 0xf7, 0], class::ANY, removable::start_stop_unit),
    row("RECEIVE DIAGNOSTIC RESULTS", &[0x1c, 0x01, 0xff, 0xff, 0xff, 0], class::READS, diagnostic::receive_diagnostic_results).in_standby(),
    row("SEND DIAGNOSTIC", &[0x1d, 0x17, 0, 0, 0, 0], class::CHANGES, diagnostic::send_diagnostic).in_standby(),
    row("PREVENT ALLOW MEDIUM REMOVAL", &[0x1e, 0, 0, 0, 0x01, 0], class::ANY, removable::prevent_allow),
    row("READ CAPACITY(10)", &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], class::ANY | class::MEDIUM, capacity::read_capacity_10).in_standby(),
    row("READ(10)", &[0x28, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0], class::READS_MEDIUM, rw::read_10),
    row("WRITE(10)", &[0x2a, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0], class::WRITES_MEDIUM, rw::write_10),
    row("WRITE AND VERIFY(10)", &[0x2e, 0x16, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0], class::WRITES_MEDIUM, rw::write_verify_10),
    row("VERIFY(10)", &[0x2f, 0x16, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0], class::READS_MEDIUM, rw::verify_10),
    row("PRE-FETCH(10)", &[0x34, 0x02, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0], class::READS_MEDIUM, rw::prefetch_10).on_disks(),
    row("SYNCHRONIZE CACHE(10)", &[0x35, 0x06, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0], class::CHANGES | class::MEDIUM, sync::synchronize_cache_10).on_disks(),
    row("READ DEFECT DATA(10)", &[0x37, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0], class::READS_MEDIUM, management::read_defect_data_10).on_disks(),
    row("WRITE BUFFER", &[0x3b, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], class::CHANGES, diagnostic::write_buffer).list(diagnostic::write_buffer_list).in_any_state(),
    row("READ BUFFER", &[0x3c, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], class::READS, diagnostic::read_buffer).in_any_state(),
    row("WRITE SAME(10)", &[0x41, 0x18, 0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0], class::WRITES_MEDIUM, write_same::write_same_10),
    row("UNMAP", &[0x42, 0x00, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0], class::WRITES_MEDIUM | class::THIN, unmap::unmap).list(unmap::unmap_list),
    row("READ SUB-CHANNEL", &[0x42, 0x02, 0x40, 0xff, 0, 0, 0xff, 0xff, 0xff, 0], class::READS_DISC, mmc::toc::read_sub_channel),
    row("READ TOC/PMA/ATIP", &[0x43, 0x02, 0x0f, 0, 0, 0, 0xff, 0xff, 0xff, 0xc0], class::READS_DISC, mmc::toc::read_toc),
    row("GET CONFIGURATION", &[0x46, 0x03, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0], class::TELLS_OF_CDROM, mmc::features::get_configuration),
    row("SANITIZE OVERWRITE", &[0x48, 0xa1, 0, 0, 0, 0, 0, 0xff, 0xff, 0], class::ERASES_MEDIUM, erase::overwrite).list(erase::overwrite_list).action(),
    row("SANITIZE BLOCK ERASE", &[0x48, 0xa2, 0, 0, 0, 0, 0, 0, 0, 0], class::ERASES_MEDIUM | class::THIN, erase::block_erase).action(),
    row("SANITIZE EXIT FAILURE MODE", &[0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0], class::ERASES_MEDIUM, erase::exit_failure_mode).action(),
    row("GET EVENT STATUS NOTIFICATION", &[0x4a, 0x01, 0, 0, 0xff, 0, 0, 0xff, 0xff, 0], class::TELLS_OF_CDROM, mmc::events::get_event_status),
    row("LOG SELECT", &[0x4c, 0x02, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0], class::CHANGES, log::log_select).in_standby().on_disks(),
    row("LOG SENSE", &[0x4d, 0, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0], class::ANY, log::log_sense).in_standby().on_disks(),
    row("READ DISC INFORMATION", &[0x51, 0x07, 0, 0, 0, 0, 0, 0xff, 0xff, 0], class::READS_DISC, mmc::disc::read_disc_information),
    row("READ TRACK INFORMATION", &[0x52, 0x03, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0], class::READS_DISC, mmc::disc::read_track_information),
    row("MODE SELECT(10)", &[0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, 0], class::CHANGES, mode::select_10).list(mode::select_list).in_standby(),
    row("RESERVE(10)", &[0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0], class::ANY, persistent::reserve_unit),
    row("RELEASE(10)", &[0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0], class::ANY & !class::ACCESS, persistent::release_unit),
    row("MODE SENSE(10)", &[0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0], class::READS, mode::sense_10).in_standby(),
    row("PERSISTENT RESERVE IN READ KEYS", &[0x5e, 0x00, 0, 0, 0, 0, 0, 0xff, 0xff, 0], class::ANY, persistent::read_keys).action().in_standby(),
    row("PERSISTENT RESERVE IN READ RESERVATION", &[0x5e, 0x01, 0, 0, 0, 0, 0, 0xff, 0xff, 0], class::ANY, persistent::read_reservation).action().in_standby(),
    row("PERSISTENT RESERVE IN REPORT CAPABILITIES", &[0x5e, 0x02, 0, 0, 0, 0, 0, 0xff, 0xff, 0], class::ANY, persistent::report_capabilities).action().in_standby(),
    row("PERSISTENT RESERVE IN READ FULL STATUS", &[0x5e, 0x03, 0, 0, 0, 0, 0, 0xff, 0xff, 0], class::ANY, persistent::read_full_status).action().in_standby(),
    row("PERSISTENT RESERVE OUT REGISTER", &[0x5f, 0x00, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], class::ANY, persistent::out).list(persistent::out_list).action().in_standby(),
    row("PERSISTENT RESERVE OUT RESERVE", &[0x5f, 0x01, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], class::ANY, persistent::out).list(persistent::out_list).action().in_standby(),
    row("PERSISTENT RESERVE OUT RELEASE", &[0x5f, 0x02, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], class::ANY, persistent::out).list(persistent::out_list).action().in_standby(),
    row("PERSISTENT RESERVE OUT CLEAR", &[0x5f, 0x03, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], class::ANY, persistent::out).list(persistent::out_list).action().in_standby(),
    row("PERSISTENT RESERVE OUT PREEMPT", &[0x5f, 0x04, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], class::ANY, persistent::out).list(persistent::out_list).action().in_standby(),
    row("PERSISTENT RESERVE OUT PREEMPT AND ABORT", &[0x5f, 0x05, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], class::ANY, persistent::out).list(persistent::out_list).action().in_standby(),
    row("PERSISTENT RESERVE OUT REGISTER AND IGNORE EXISTING KEY", &[0x5f, 0x06, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], class::ANY, persistent::out).list(persistent::out_list).action().in_standby(),
    row("PERSISTENT RESERVE OUT REGISTER AND MOVE", &[0x5f, 0x07, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0], class::ANY, persistent::out).list(persistent::out_list).action().in_standby(),
    row("ORWRITE(32)", &[0x7f, 0, 0x07, 0x0f, 0, 0, 0x1f, 0xff, 0x00, 0x0e, 0x18, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], class::WRITES_MEDIUM, orwrite::or_write_32).variable(),
    row("GET LBA STATUS(32)", &[0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0x00, 0x12, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], class::READS_MEDIUM, capacity::lba_status_32).variable().on_disks(),
    row("EXTENDED COPY(LID1)", &[0x83, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::CHANGES, copy::extended_copy).list(copy::extended_copy_list).action().on_disks(),
    row("POPULATE TOKEN", &[0x83, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::READS_MEDIUM, rod::populate_token).list(rod::populate_token_list).action().on_disks(),
    row("WRITE USING TOKEN", &[0x83, 0x11, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::WRITES_MEDIUM, rod::write_using_token).list(rod::write_using_token_list).action(),
    row("COPY OPERATION ABORT", &[0x83, 0x1c, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], class::CHANGES, copy_status::abort).action().on_disks(),
    row("RECEIVE COPY STATUS(LID1)", &[0x84, 0x00, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::CHANGES, copy_status::copy_status).action().on_disks(),
    row("RECEIVE COPY OPERATING PARAMETERS", &[0x84, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::CHANGES, copy_vpd::operating_parameters).action().on_disks(),
    row("RECEIVE COPY FAILURE DETAILS(LID1)", &[0x84, 0x04, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::CHANGES, copy_status::failure_details).action().on_disks(),
    row("RECEIVE ROD TOKEN INFORMATION", &[0x84, 0x07, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::READS, copy_status::rod_token_information).action().on_disks(),
    row("READ(16)", &[0x88, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::READS_MEDIUM, rw::read_16),
    row("COMPARE AND WRITE", &[0x89, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0x1f, 0], class::WRITES_MEDIUM, rw::compare_and_write),
    row("WRITE(16)", &[0x8a, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::WRITES_MEDIUM, rw::write_16),
    row("ORWRITE(16)", &[0x8b, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::WRITES_MEDIUM, orwrite::or_write_16),
    row("WRITE AND VERIFY(16)", &[0x8e, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::WRITES_MEDIUM, rw::write_verify_16),
    row("VERIFY(16)", &[0x8f, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::READS_MEDIUM, rw::verify_16).on_disks(),
    row("PRE-FETCH(16)", &[0x90, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::READS_MEDIUM, rw::prefetch_16).on_disks(),
    row("SYNCHRONIZE CACHE(16)", &[0x91, 0x06, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::CHANGES | class::MEDIUM, sync::synchronize_cache_16).on_disks(),
    row("WRITE SAME(16)", &[0x93, 0x19, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::WRITES_MEDIUM, write_same::write_same_16),
    row("WRITE ATOMIC(16)", &[0x9c, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0x1f, 0], class::WRITES_MEDIUM | class::ATOMIC, rw::write_atomic),
    row("READ CAPACITY(16)", &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::ANY | class::MEDIUM, capacity::read_capacity_16).action().in_standby(),
    row("GET LBA STATUS(16)", &[0x9e, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], class::READS_MEDIUM, capacity::lba_status_16).action().on_disks(),
    row("REPORT LUNS", &[0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::ALWAYS, report_luns::report_luns),
    row("REPORT IDENTIFYING INFORMATION", &[0xa3, 0x05, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xfe, 0], class::ANY, identifying::report).action(),
    row("REPORT TARGET PORT GROUPS", &[0xa3, 0x2a, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::ANY, alua::report).action().in_any_state(),
    row("REPORT SUPPORTED OPERATION CODES", &[0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0], class::READS, report_operation_codes).action().in_standby(),
    row("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", &[0xa3, 0x0d, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::READS, management::report_task_management).action().in_standby(),
    row("REPORT TIMESTAMP", &[0xa3, 0x0f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::ANY, timestamp::report).action().in_standby(),
    row("SET IDENTIFYING INFORMATION", &[0xa4, 0x06, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xfe, 0], class::CHANGES, identifying::set).list(identifying::set_list).action(),
    row("SET TARGET PORT GROUPS", &[0xa4, 0x0a, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::CHANGES & !class::BUSY, alua::set).list(alua::set_list).action().in_any_state(),
    row("SET TIMESTAMP", &[0xa4, 0x0f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], class::CHANGES, timestamp::set).list(timestamp::set_list).action(),
    row("READ(12)", &[0xa8, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::READS_MEDIUM, rw::read_12),
    row("WRITE(12)", &[0xaa, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::WRITES_MEDIUM, rw::write_12),
    row("READ DISC STRUCTURE", &[0xad, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc0, 0], class::READS_DISC, mmc::disc::read_disc_structure),
    row("WRITE AND VERIFY(12)", &[0xae, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::WRITES_MEDIUM, rw::write_verify_12),
    row("VERIFY(12)", &[0xaf, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0], class::READS_MEDIUM, rw::verify_12).on_disks(),
    row("READ DEFECT DATA(12)", &[0xb7, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0], class::READS_MEDIUM, management::read_defect_data_12).on_disks(),
    row("READ CD MSF", &[0xb9, 0x1c, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf8, 0, 0], class::READS_DISC, mmc::read_cd_msf),
    row("SET CD SPEED", &[0xbb, 0x03, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0], class::CHANGES | class::CDROM, mmc::set_cd_speed),
    row("MECHANISM STATUS", &[0xbd, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0], class::ANY | class::CDROM, mmc::mechanism_status),
    row("READ CD", &[0xbe, 0x1c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf8, 0, 0], class::READS_DISC, mmc::read_cd),
];
