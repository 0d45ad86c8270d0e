//! Vital product data pages (SPC-4 clause 7.8, SBC-3 clause 6.6).

use super::call::Call;
use super::copy_vpd::third_party_copy;
use super::designation::{device_identification, scsi_ports};
use super::params::LuParams;
use super::plan::Reply;
use super::rw::max_compare_and_write_blocks;
use super::sense::{MAX_SENSE_BYTES, Outcome};
use super::unit::LogicalUnit;
use super::write_same::{max_write_same_blocks, wsnz};
use crate::limits;

/// The pages of every logical unit, ascending, and those that disks have behind them: exactly what page 00h lists.
const PAGES: [u8; 6] = [0x00, 0x80, 0x83, 0x86, 0x87, 0x88];
const PAGES_OF_DISKS: [u8; 4] = [0x8f, 0xb0, 0xb1, 0xb2];

/// Writes a page that begins with `peripheral`, or refuses a page code that does not exist.
pub(super) fn page(call: &mut Call, peripheral: u8, page: u8) -> Result<(), Outcome> {
    begin(call.reply, peripheral, page);
    let params = call.unit.params();
    if params.cdrom && PAGES_OF_DISKS.contains(&page) {
        return Err(Outcome::invalid_cdb_field(2, 7));
    }
    match page {
        0x00 => {
            call.reply.put(&PAGES);
            call.reply.put(if params.cdrom { &[] } else { &PAGES_OF_DISKS });
        }
        0x80 => call.reply.put(params.serial.as_bytes()),
        0x83 => device_identification(call),
        0x86 => extended_inquiry(call.reply, params),
        0x87 => mode_page_policy(call.reply),
        0x88 => scsi_ports(call),
        0x8f => third_party_copy(call.reply, params),
        0xb0 => block_limits(call.reply, params),
        0xb1 => block_device_characteristics(call.reply, params),
        0xb2 => logical_block_provisioning(call.reply, call.unit),
        _ => return Err(Outcome::invalid_cdb_field(2, 7)),
    }
    call.reply.patch_u16(2, 4);
    Ok(())
}

/// The only page of a LUN without a device: the list of pages.
pub(super) fn page_of_nothing(reply: &mut Reply, page: u8, peripheral: u8) -> Result<(), Outcome> {
    if page != 0x00 {
        return Err(Outcome::invalid_cdb_field(2, 7));
    }
    begin(reply, peripheral, page);
    reply.put(&[0x00]);
    reply.patch_u16(2, 4);
    Ok(())
}

fn begin(reply: &mut Reply, peripheral: u8, page: u8) {
    reply.put(&[peripheral, page, 0, 0]);
}

/// Page 86h (SPC-4 clause 7.8.7): all task attributes but ACA, whether there is a volatile cache, and the longest sense
/// data. What is zero is not to be had: protection information, grouping, command priority, microcode, extended
/// self-tests.
fn extended_inquiry(reply: &mut Reply, params: &LuParams) {
    const SIMPSUP: u8 = 0x01;
    const ORDSUP: u8 = 0x02;
    const HEADSUP: u8 = 0x04;
    const V_SUP: u8 = 0x01;
    reply.put(&[0, HEADSUP | ORDSUP | SIMPSUP, if params.volatile_cache { V_SUP } else { 0 }]);
    reply.put(&[0; 6]);
    reply.put(&[MAX_SENSE_BYTES as u8]);
    reply.data.resize(64, 0);
}

/// Page 87h (SPC-4 clause 7.8.9): one descriptor for all pages and subpages. They are shared: there is one copy of each for
/// all I_T nexuses, and each logical unit has its own.
fn mode_page_policy(reply: &mut Reply) {
    const ALL_PAGES: u8 = 0x3f;
    const ALL_SUBPAGES: u8 = 0xff;
    const SHARED: u8 = 0x00;
    reply.put(&[ALL_PAGES, ALL_SUBPAGES, SHARED, 0]);
}

/// Page B0h. UNMAP fields are zero where there is no UNMAP.
fn block_limits(reply: &mut Reply, params: &LuParams) {
    const UGAVALID: u32 = 1 << 31;
    let block_bytes = params.block_bytes.max(1);
    let physical_blocks = (params.physical_block_bytes / block_bytes).max(1);
    let max_blocks = u32::try_from(limits::MAX_TRANSFER_BYTES / u64::from(block_bytes)).unwrap_or(u32::MAX);
    let optimal_blocks =
        (limits::OPTIMAL_TRANSFER_BYTES / block_bytes).next_multiple_of(physical_blocks).min(max_blocks);
    reply.put(&[u8::from(wsnz(params)), max_compare_and_write_blocks(block_bytes)]);
    reply.put(&u16::try_from(physical_blocks).unwrap_or(u16::MAX).to_be_bytes());
    reply.put(&max_blocks.to_be_bytes());
    reply.put(&optimal_blocks.to_be_bytes());
    reply.put(&[0; 4]);
    if params.thin {
        let granularity = unmap_granularity(params);
        reply.put(&limits::MAX_UNMAP_BLOCKS.to_be_bytes());
        reply.put(&(limits::UNMAP_DESCRIPTORS as u32).to_be_bytes());
        reply.put(&granularity.to_be_bytes());
        reply.put(&(UGAVALID | (params.unmap_alignment_blocks % granularity)).to_be_bytes());
    } else {
        reply.put(&[0; 16]);
    }
    reply.put(&max_write_same_blocks(block_bytes).to_be_bytes());
    reply.put(&params.atomic_blocks.to_be_bytes());
    reply.data.resize(64, 0);
}

/// OPTIMAL UNMAP GRANULARITY in blocks: at least one physical block, at most 1 MiB.
fn unmap_granularity(params: &LuParams) -> u32 {
    let block_bytes = params.block_bytes.max(1);
    let least = (params.physical_block_bytes / block_bytes).max(1);
    let most = (limits::MAX_UNMAP_GRANULARITY_BYTES / block_bytes).max(least);
    params.unmap_granularity_blocks.clamp(least, most)
}

/// Page B1h: MEDIUM ROTATION RATE 1 is "does not rotate", 0 "not reported". WABEREQ: blocks can be read after SANITIZE with
/// BLOCK ERASE.
fn block_device_characteristics(reply: &mut Reply, params: &LuParams) {
    let rate: u16 = if params.rotational { 0 } else { 1 };
    const READS_COMPLETE: u8 = 0x40;
    reply.put(&rate.to_be_bytes());
    reply.put(&[0, if params.thin { READS_COMPLETE } else { 0 }]);
    reply.data.resize(64, 0);
}

/// Page B2h. LBPRZ: unmapped blocks read as zeroes. THRESHOLD EXPONENT where the space can be measured.
fn logical_block_provisioning(reply: &mut Reply, unit: &LogicalUnit) {
    const LBPU: u8 = 0x80;
    const LBPWS: u8 = 0x40;
    const LBPWS10: u8 = 0x20;
    const LBPRZ: u8 = 0x04;
    const THIN: u8 = 0x02;
    if unit.params().thin {
        reply.put(&[unit.threshold_exponent(), LBPU | LBPWS | LBPWS10 | LBPRZ, THIN, 0]);
    } else {
        reply.put(&[0; 4]);
    }
}
