//! MODE SENSE and MODE SELECT (SPC-4 clauses 6.9 to 6.12): pages 01h, 08h, 0Ah and 1Ch, and subpage 02h of 1Ch.
//!
//! D_SENSE and SWP of the control page can be changed; the rest is as it is. Nothing is saved, so PC 11b and SP are
//! refused. Subpage 00h is the page itself, FFh the page with all its subpages.

use super::attention::{Attention, Recipients};
use super::cdb::{be16, be24, be32, be64, byte};
use super::opcode::{Call, Planned};
use super::plan::{Outcome, Plan};
use super::sense::asc;
use super::unit::LogicalUnit;

/// What MODE SELECT has changed. The default is the default.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Current {
    /// D_SENSE: sense data in descriptor format.
    pub(super) descriptor_sense: bool,
    /// SWP: software write protect.
    pub(super) swp: bool,
}

/// Codes of pages and subpages in the order in which they are returned.
const PAGES: [(u8, u8); 5] = [READ_WRITE_ERROR_RECOVERY, (0x08, 0), CONTROL, (0x1c, 0), LOGICAL_BLOCK_PROVISIONING];
const READ_WRITE_ERROR_RECOVERY: (u8, u8) = (0x01, 0);
const CONTROL: (u8, u8) = (0x0a, 0);
/// SBC-3 clause 6.5.8; of thin units only.
const LOGICAL_BLOCK_PROVISIONING: (u8, u8) = (0x1c, 2);
/// SPF in byte 0: the header is that of a subpage, of 4 bytes.
const SPF: u8 = 0x40;
/// D_SENSE in byte 2 of the control page.
const D_SENSE: u8 = 0x04;
/// SWP in byte 4 of the control page.
const SWP: u8 = 0x08;

/// PAGE CONTROL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    Current,
    Changeable,
    Default,
}

/// The longest page, in bytes.
const PAGE_BYTES: usize = 24;

/// The pages of a logical unit.
fn pages(unit: &LogicalUnit) -> impl Iterator<Item = (u8, u8)> {
    let thin = unit.params().thin;
    PAGES.into_iter().filter(move |page| thin || *page != LOGICAL_BLOCK_PROVISIONING)
}

/// A mode page with its header, and its length; `None` if there is no such page.
fn page(code: (u8, u8), values: Values, unit: &LogicalUnit, current: Current) -> Option<([u8; PAGE_BYTES], usize)> {
    if !pages(unit).any(|page| page == code) {
        return None;
    }
    let mut page = [0; PAGE_BYTES];
    let len = match code {
        LOGICAL_BLOCK_PROVISIONING => 24,
        (0x08, _) => 20,
        _ => 12,
    };
    (page[0], page[1]) = (code.0, (len - 2) as u8);
    if code.1 != 0 {
        page[..4].copy_from_slice(&[SPF | code.0, code.1, 0, (len - 4) as u8]);
    }
    match (code, values) {
        (CONTROL, Values::Changeable) => {
            page[2] = D_SENSE;
            page[4] = SWP;
        }
        (_, Values::Changeable) => {}
        // LBPERE: a threshold that is reached is reported.
        (READ_WRITE_ERROR_RECOVERY, _) => page[7] = if unit.threshold_count().is_some() { 0x80 } else { 0 },
        // Caching: WCE.
        ((0x08, _), _) => page[2] = if unit.params().volatile_cache { 0x04 } else { 0 },
        // Control: GLTSD; unrestricted reordering, as SIMPLE tasks are carried out side by side.
        (CONTROL, _) => {
            page[2] = 0x02;
            page[3] = 0x10;
            if values == Values::Current {
                page[2] |= if current.descriptor_sense { D_SENSE } else { 0 };
                page[4] |= if current.swp { SWP } else { 0 };
            }
        }
        // One threshold descriptor: a soft one, armed decreasing, on what is available. Every nexus is told (no SITUA).
        (LOGICAL_BLOCK_PROVISIONING, _) => {
            const ENABLED: u8 = 0x80;
            const AVAILABLE: u8 = 0x01;
            let count = unit.threshold_count();
            page[16] = if count.is_some() { ENABLED } else { 0 };
            page[17] = AVAILABLE;
            page[20..24].copy_from_slice(&count.unwrap_or(0).to_be_bytes());
        }
        // Informational exceptions control: DEXCPT, there are none.
        _ => page[2] = 0x08,
    }
    Some((page, len))
}

pub(super) fn sense_6(call: &mut Call) -> Planned {
    sense(call, false)
}

pub(super) fn sense_10(call: &mut Call) -> Planned {
    sense(call, true)
}

fn sense(call: &mut Call, long: bool) -> Planned {
    const DBD: u8 = 0x08;
    const LLBAA: u8 = 0x10;
    const ALL_PAGES: u8 = 0x3f;
    const ALL_SUBPAGES: u8 = 0xff;
    let values = match call.cdb[2] >> 6 {
        0 => Values::Current,
        1 => Values::Changeable,
        2 => Values::Default,
        _ => return Err(Outcome::illegal(asc::SAVING_PARAMETERS_NOT_SUPPORTED)),
    };
    let (code, subpage) = (call.cdb[2] & 0x3f, call.cdb[3]);
    let wanted =
        |page: &(u8, u8)| (code == ALL_PAGES || code == page.0) && (subpage == ALL_SUBPAGES || subpage == page.1);
    if code != ALL_PAGES && !pages(call.unit).any(|page| page.0 == code) {
        return Err(Outcome::invalid_cdb_field(2, 5));
    }
    let known = match code {
        ALL_PAGES => matches!(subpage, 0 | ALL_SUBPAGES),
        _ => pages(call.unit).any(|page| wanted(&page)),
    };
    if !known {
        return Err(Outcome::invalid_cdb_field(3, 7));
    }
    let current = call.unit.state().modes;
    let long_lba = long && call.cdb[1] & LLBAA != 0;
    let descriptor_bytes = match (call.cdb[1] & DBD != 0, long_lba) {
        (true, _) => 0,
        (false, false) => 8,
        (false, true) => 16,
    };
    let device_specific = device_specific(call.unit, current);
    if long {
        call.reply.put(&[0, 0, 0, device_specific, u8::from(descriptor_bytes == 16), 0, 0, descriptor_bytes]);
    } else {
        call.reply.put(&[0, 0, device_specific, descriptor_bytes]);
    }
    put_block_descriptor(call, descriptor_bytes);
    for each in pages(call.unit).filter(wanted) {
        if let Some((bytes, len)) = page(each, values, call.unit, current) {
            call.reply.put(&bytes[..len]);
        }
    }
    if long {
        call.reply.patch_u16(0, 2);
        call.reply.finish(usize::from(be16(call.cdb, 7)))
    } else {
        call.reply.patch_u8(0, 1);
        call.reply.finish(usize::from(call.cdb[4]))
    }
}

/// DEVICE-SPECIFIC PARAMETER (SBC-3 clause 6.5.1): WP and DPOFUA.
fn device_specific(unit: &LogicalUnit, current: Current) -> u8 {
    const WP: u8 = 0x80;
    const DPOFUA: u8 = 0x10;
    DPOFUA | if unit.params().readonly || current.swp { WP } else { 0 }
}

/// The block descriptor (SBC-3 clause 6.5.2), short (8 bytes) or long (16).
fn put_block_descriptor(call: &mut Call, len: u8) {
    let (blocks, block_bytes) = (call.unit.blocks(), call.unit.block_bytes());
    if len == 8 {
        call.reply.put(&u32::try_from(blocks).unwrap_or(u32::MAX).to_be_bytes());
        call.reply.put(&(block_bytes & 0xff_ffff).to_be_bytes());
    } else if len == 16 {
        call.reply.put(&blocks.to_be_bytes());
        call.reply.put(&[0; 4]);
        call.reply.put(&block_bytes.to_be_bytes());
    }
}

pub(super) fn select_6(call: &mut Call) -> Planned {
    select(u32::from(call.cdb[4]))
}

pub(super) fn select_10(call: &mut Call) -> Planned {
    select(u32::from(be16(call.cdb, 7)))
}

fn select(len_bytes: u32) -> Planned {
    Ok(if len_bytes == 0 { Plan::Done(Outcome::GOOD) } else { Plan::Parameters { len_bytes } })
}

pub(super) fn select_6_list(call: &mut Call, list: &[u8]) -> Planned {
    if list.len() < 4 {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    let descriptor_bytes = usize::from(byte(list, 3));
    select_list(call, list, Header { bytes: 4, descriptor_bytes, descriptor_at: 3, medium_type_at: 1, long_lba: false })
}

pub(super) fn select_10_list(call: &mut Call, list: &[u8]) -> Planned {
    if list.len() < 8 {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    let descriptor_bytes = usize::from(be16(list, 6));
    let long_lba = byte(list, 4) & 0x01 != 0;
    select_list(call, list, Header { bytes: 8, descriptor_bytes, descriptor_at: 6, medium_type_at: 2, long_lba })
}

/// The mode parameter header, in its two forms.
struct Header {
    bytes: usize,
    descriptor_bytes: usize,
    descriptor_at: u16,
    medium_type_at: u16,
    long_lba: bool,
}

/// Checks the whole list, then adopts it. Other nexuses are told when something has changed.
fn select_list(call: &mut Call, list: &[u8], header: Header) -> Planned {
    if byte(list, usize::from(header.medium_type_at)) != 0 {
        return Err(Outcome::invalid_list_field(header.medium_type_at, 7));
    }
    check_block_descriptor(call.unit, list, &header)?;
    let before = call.unit.state().modes;
    let mut changed = before;
    let mut at = header.bytes + header.descriptor_bytes;
    while let Some(&first) = list.get(at) {
        let position = at as u16;
        let has_subpage = first & SPF != 0;
        let code = (first & 0x3f, if has_subpage { byte(list, at + 1) } else { 0 });
        let (Some((now, len)), Some((changeable, _))) = (
            page(code, Values::Current, call.unit, changed).filter(|(page, _)| page[0] & SPF == first & SPF),
            page(code, Values::Changeable, call.unit, changed),
        ) else {
            return Err(Outcome::invalid_list_field(position, 5));
        };
        let Some(wanted) = list.get(at..at + len) else {
            return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
        };
        // PS is in the page's first byte and has no meaning here: only the bytes behind it are compared.
        let header_bytes = if has_subpage { 4 } else { 2 };
        for offset in 1..len {
            let unchangeable = if offset < header_bytes { 0xff } else { !changeable[offset] };
            let wrong = (now[offset] ^ wanted[offset]) & unchangeable;
            if wrong != 0 {
                return Err(Outcome::invalid_list_field(position + offset as u16, wrong.ilog2() as u8));
            }
        }
        if code == CONTROL {
            changed = Current { descriptor_sense: wanted[2] & D_SENSE != 0, swp: wanted[4] & SWP != 0 };
        }
        at += len;
    }
    let mut state = call.unit.state();
    if changed != before {
        state.modes = changed;
        let others = Recipients::Except(Some(call.nexus.id));
        call.unit.post(&mut state, Attention::ModeParametersChanged, others);
    }
    Ok(Plan::Done(Outcome::GOOD))
}

/// A block descriptor may repeat what is, but not change it.
fn check_block_descriptor(unit: &LogicalUnit, list: &[u8], header: &Header) -> Result<(), Outcome> {
    let expected = if header.long_lba { 16 } else { 8 };
    if header.descriptor_bytes == 0 {
        return Ok(());
    }
    if header.descriptor_bytes != expected {
        return Err(Outcome::invalid_list_field(header.descriptor_at, 7));
    }
    let Some(descriptor) = list.get(header.bytes..header.bytes + expected) else {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    };
    let (blocks, all, block_bytes, length_at) = if header.long_lba {
        (be64(descriptor, 0), u64::MAX, be32(descriptor, 12), 12)
    } else {
        (u64::from(be32(descriptor, 0)), u64::from(u32::MAX), be24(descriptor, 5), 5)
    };
    if blocks != 0 && blocks != all && blocks != unit.blocks() {
        return Err(Outcome::invalid_list_field(header.bytes as u16, 7));
    }
    if block_bytes != unit.block_bytes() {
        return Err(Outcome::invalid_list_field(header.bytes as u16 + length_at, 7));
    }
    Ok(())
}
