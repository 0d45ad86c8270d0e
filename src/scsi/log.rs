//! LOG SENSE and LOG SELECT (SPC-4 clauses 6.7 and 6.8): the pages 00h, 0Ch, 19h and 2Fh.
//!
//! Parameters are cumulative values, and serve as their own thresholds and defaults: PAGE CONTROL makes no difference
//! to what LOG SENSE answers. LOG SELECT can set them back (PCR), and nothing else: no page has a parameter that a host
//! could give a value.
//!
//! Processing intervals are zero: to measure them would cost every command a look at the clock.

use super::attention::{Attention, Recipients};
use super::call::{Call, Planned};
use super::cdb::be16;
use super::plan::{Plan, Reply};
use super::sense::Outcome;
use super::unit::LogicalUnit;

const SUPPORTED: u8 = 0x00;
const LOGICAL_BLOCK_PROVISIONING: u8 = 0x0c;
const STATISTICS: u8 = 0x19;
const INFORMATIONAL_EXCEPTIONS: u8 = 0x2f;
const ALL_SUBPAGES: u8 = 0xff;

/// The pages of a logical unit, ascending. None of them has subpages but the first.
fn pages(unit: &LogicalUnit) -> impl Iterator<Item = u8> {
    let provisioning = unit.space().is_some().then_some(LOGICAL_BLOCK_PROVISIONING);
    [SUPPORTED].into_iter().chain(provisioning).chain([STATISTICS, INFORMATIONAL_EXCEPTIONS])
}

pub(super) fn log_sense(call: &mut Call) -> Planned {
    const SPF: u8 = 0x40;
    let (page, subpage) = (call.cdb[2] & 0x3f, call.cdb[3]);
    if !pages(call.unit).any(|known| known == page) {
        return Err(Outcome::invalid_cdb_field(2, 5));
    }
    if subpage != 0 && (page, subpage) != (SUPPORTED, ALL_SUBPAGES) {
        return Err(Outcome::invalid_cdb_field(3, 7));
    }
    let from = be16(call.cdb, 5);
    if from > last_parameter(page) {
        return Err(Outcome::invalid_cdb_field(5, 7));
    }
    let (unit, reply) = (call.unit, &mut *call.reply);
    reply.put(&[if subpage == 0 { page } else { SPF | page }, subpage, 0, 0]);
    match (page, subpage) {
        (SUPPORTED, 0) => pages(unit).for_each(|page| reply.put(&[page])),
        (SUPPORTED, _) => {
            reply.put(&[SUPPORTED, 0, SUPPORTED, ALL_SUBPAGES]);
            pages(unit).skip(1).for_each(|page| reply.put(&[page, 0]));
        }
        (LOGICAL_BLOCK_PROVISIONING, _) => provisioning(reply, unit, from),
        (STATISTICS, _) => statistics(reply, unit),
        // Parameter 0000h: no additional sense code, temperature unknown.
        _ => parameter(reply, 0, &[0, 0, 0xff, 0]),
    }
    reply.patch_u16(2, 4);
    reply.finish(usize::from(be16(call.cdb, 7)))
}

/// The largest PARAMETER POINTER that a page has parameters for.
fn last_parameter(page: u8) -> u16 {
    match page {
        LOGICAL_BLOCK_PROVISIONING => USED,
        STATISTICS => 1,
        _ => 0,
    }
}

/// A log parameter in binary format list (FORMAT AND LINKING 11b; SPC-4 clause 7.3.2.2).
fn parameter(reply: &mut Reply, code: u16, value: &[u8]) {
    const BINARY_LIST: u8 = 0x03;
    let [high, low] = code.to_be_bytes();
    reply.put(&[high, low, BINARY_LIST, value.len() as u8]);
    reply.put(value);
}

/// AVAILABLE LBA MAPPING RESOURCE COUNT and USED LBA MAPPING RESOURCE COUNT.
const AVAILABLE: u16 = 1;
const USED: u16 = 2;

/// Page 0Ch (SBC-3 clause 6.4.4), in threshold sets. What is used is the logical unit's own (SCOPE 01b); what is available
/// is for all that is on the same file system (10b).
fn provisioning(reply: &mut Reply, unit: &LogicalUnit, from: u16) {
    let Some(space) = unit.space() else { return };
    let sets = |bytes: u64| u32::try_from(bytes / unit.threshold_set_bytes()).unwrap_or(u32::MAX).to_be_bytes();
    for (code, bytes, scope) in [(AVAILABLE, space.available_bytes, 0x02), (USED, space.used_bytes, 0x01)] {
        if code >= from {
            let [a, b, c, d] = sets(bytes);
            parameter(reply, code, &[a, b, c, d, scope, 0, 0, 0]);
        }
    }
}

/// Page 19h (SPC-4 clause 7.3.9): one parameter, for all I_T nexuses together.
fn statistics(reply: &mut Reply, unit: &LogicalUnit) {
    let totals = unit.state().counters.totals();
    let mut value = [0; 64];
    let fields = [totals.reads, totals.writes, totals.blocks_written, totals.blocks_read];
    for (field, number) in value.chunks_exact_mut(8).zip(fields) {
        field.copy_from_slice(&number.to_be_bytes());
    }
    parameter(reply, 1, &value);
}

/// LOG SELECT: with PCR the counters of a page, or of all, begin at zero again, and all other nexuses are told 2A/02.
///
/// With no PCR and no parameter list there is nothing to do; a parameter list is refused.
pub(super) fn log_select(call: &mut Call) -> Planned {
    const PCR: u8 = 0x02;
    let (page, subpage) = (call.cdb[2] & 0x3f, call.cdb[3]);
    if be16(call.cdb, 7) != 0 {
        return Err(Outcome::invalid_cdb_field(7, 7));
    }
    if !pages(call.unit).any(|known| known == page) {
        return Err(Outcome::invalid_cdb_field(2, 5));
    }
    if subpage != 0 && (page, subpage) != (SUPPORTED, ALL_SUBPAGES) {
        return Err(Outcome::invalid_cdb_field(3, 7));
    }
    if call.cdb[1] & PCR != 0 && matches!(page, SUPPORTED | STATISTICS) {
        let mut state = call.unit.state();
        state.counters.reset();
        let others = Recipients::Except(Some(call.nexus.id));
        call.unit.post(&mut state, Attention::LogParametersChanged, others);
    }
    Ok(Plan::Done(Outcome::GOOD))
}
