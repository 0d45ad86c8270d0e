//! MODE SENSE and MODE SELECT (SPC-4 clauses 6.9 to 6.12): pages 01h, 08h, 0Ah and 1Ch, and subpages 01h of 0Ah and 02h
//! of 1Ch; of a CD-ROM 01h, 0Ah, 1Ah, 1Ch and 2Ah, and subpage 01h of 0Ah (MMC-6).
//!
//! MODE SELECT can change D_SENSE of the control page, on disks SWP, too, and WCE of the caching page where there is a
//! cache; everything else is fixed. With SP all of these are saved. Subpage 00h is the page itself, FFh the page with
//! all its subpages.

use super::attention::{Attention, Recipients};
use super::call::{Call, Planned};
use super::cdb::{be16, be24, be32, be64, byte};
use super::modes::Modes;
use super::plan::Plan;
use super::saved::{Next, Part};
use super::sense::{Outcome, asc};
use super::state::State;
use super::unit::LogicalUnit;

impl LogicalUnit {
    /// What was in the cache when it was switched off is durable: from now on WCE is reported as zero. `number`: from
    /// [`LogicalUnit::unflushed`], before the flush began.
    pub fn cache_flushed(&self, number: u64) {
        let mut state = self.state();
        let Some(unflushed) = state.modes.flushed(number) else { return };
        if unflushed.is_told {
            self.post(&mut state, Attention::ModeParametersChanged, Recipients::Except(unflushed.by));
        } else {
            self.changed(&state);
        }
    }
}

/// Codes of pages and subpages in the order in which they are returned.
const PAGES: [(u8, u8); 8] = [
    READ_WRITE_ERROR_RECOVERY,
    CACHING,
    CONTROL,
    CONTROL_EXTENSION,
    POWER_CONDITION,
    INFORMATIONAL_EXCEPTIONS,
    LOGICAL_BLOCK_PROVISIONING,
    CAPABILITIES,
];
const READ_WRITE_ERROR_RECOVERY: (u8, u8) = (0x01, 0);
const CACHING: (u8, u8) = (0x08, 0);
const CONTROL: (u8, u8) = (0x0a, 0);
/// The control extension page (SPC-4 clause 7.5.9).
const CONTROL_EXTENSION: (u8, u8) = (0x0a, 1);
/// The power condition page, of CD-ROMs only; the timers are off.
const POWER_CONDITION: (u8, u8) = (0x1a, 0);
const INFORMATIONAL_EXCEPTIONS: (u8, u8) = (0x1c, 0);
/// MM capabilities and mechanical status (MMC-3); of CD-ROMs only.
const CAPABILITIES: (u8, u8) = (0x2a, 0);
/// The logical block provisioning page (SBC-3 clause 6.5.8), of thin units only.
const LOGICAL_BLOCK_PROVISIONING: (u8, u8) = (0x1c, 2);
/// SPF in byte 0: the header is that of a subpage, of 4 bytes.
const SPF: u8 = 0x40;
/// WCE in byte 2 of the caching page.
const WCE: u8 = 0x04;
/// D_SENSE in byte 2 of the control page.
const D_SENSE: u8 = 0x04;
/// SWP in byte 4 of the control page.
const SWP: u8 = 0x08;

/// What PAGE CONTROL asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    /// The bits that can be changed.
    Changeable,
    /// The current, default or saved values.
    Are(Modes),
}

/// The longest page, in bytes.
const PAGE_BYTES: usize = 32;

/// The pages of a logical unit.
fn pages(unit: &LogicalUnit) -> impl Iterator<Item = (u8, u8)> {
    let (thin, cdrom) = (unit.params().thin, unit.params().cdrom);
    PAGES.into_iter().filter(move |page| match *page {
        LOGICAL_BLOCK_PROVISIONING => thin,
        CACHING => !cdrom,
        POWER_CONDITION | CAPABILITIES => cdrom,
        _ => true,
    })
}

/// What pages say beside the mode parameters.
#[derive(Clone, Copy, Default)]
struct Status {
    /// THRESHOLD COUNT of logical block provisioning, if one is in force.
    threshold: Option<u32>,
    /// Somebody prevents the medium from being removed.
    locked: bool,
}

impl Status {
    fn of(unit: &LogicalUnit, state: &State) -> Status {
        Status { threshold: unit.threshold_count(state), locked: state.tray.is_locked() }
    }
}

/// A mode page with its header, and its length; `None` if there is no such page.
fn page(code: (u8, u8), values: Values, unit: &LogicalUnit, status: Status) -> Option<([u8; PAGE_BYTES], usize)> {
    if !pages(unit).any(|page| page == code) {
        return None;
    }
    let mut page = [0; PAGE_BYTES];
    let len = match code {
        CONTROL_EXTENSION => 32,
        LOGICAL_BLOCK_PROVISIONING => 24,
        CACHING => 20,
        CAPABILITIES => 32,
        _ => 12,
    };
    (page[0], page[1]) = (code.0, (len - 2) as u8);
    if code.1 != 0 {
        page[..4].copy_from_slice(&[SPF | code.0, code.1, 0, (len - 4) as u8]);
    }
    match (code, values) {
        (CONTROL, Values::Changeable) => {
            page[2] = D_SENSE;
            page[4] = if unit.params().cdrom { 0 } else { SWP };
        }
        (CACHING, Values::Changeable) => page[2] = if unit.params().volatile_cache { WCE } else { 0 },
        (_, Values::Changeable) => {}
        // LBPERE: a threshold that is reached is reported.
        (READ_WRITE_ERROR_RECOVERY, _) => page[7] = if status.threshold.is_some() { 0x80 } else { 0 },
        (CACHING, Values::Are(modes)) => {
            page[2] = if unit.params().volatile_cache && !modes.write_through { WCE } else { 0 };
        }
        // Control: GLTSD; unrestricted reordering, as SIMPLE tasks are carried out side by side.
        (CONTROL, Values::Are(modes)) => {
            page[2] = 0x02 | if modes.descriptor_sense { D_SENSE } else { 0 };
            page[3] = 0x10;
            page[4] = if modes.swp { SWP } else { 0 };
        }
        // TCMOS and SCSIP: this machine tells the time until SET TIMESTAMP does. IALUAE: a change of the configuration may
        // change access states.
        (CONTROL_EXTENSION, _) => page[4] = 0x07,
        // One threshold descriptor: a soft one, armed decreasing, on what is available. Every nexus is told (no SITUA).
        (LOGICAL_BLOCK_PROVISIONING, _) => {
            const ENABLED: u8 = 0x80;
            const AVAILABLE: u8 = 0x01;
            page[16] = if status.threshold.is_some() { ENABLED } else { 0 };
            page[17] = AVAILABLE;
            page[20..24].copy_from_slice(&status.threshold.unwrap_or(0).to_be_bytes());
        }
        // DEXCPT: there are no informational exceptions.
        (INFORMATIONAL_EXCEPTIONS, _) => page[2] = 0x08,
        (CAPABILITIES, _) => capabilities(&mut page, status.locked),
        _ => {}
    }
    Some((page, len))
}

/// Page 2Ah: reads CDs and DVDs and writes nothing, a tray that can be locked and ejected, 40 times the speed of a CD.
fn capabilities(page: &mut [u8; PAGE_BYTES], locked: bool) {
    const CD_R_CD_RW_DVD_ROM_DVD_R: u8 = 0x1b;
    const MODE_2_AND_MULTI_SESSION: u8 = 0x70;
    const LOCK: u8 = 0x01;
    const LOCK_STATE: u8 = 0x02;
    const EJECT: u8 = 0x08;
    const TRAY: u8 = 0x20;
    const SPEED_KB_PER_S: u16 = 7056;
    page[2] = CD_R_CD_RW_DVD_ROM_DVD_R;
    page[4] = MODE_2_AND_MULTI_SESSION;
    page[6] = LOCK | EJECT | TRAY | if locked { LOCK_STATE } else { 0 };
    page[8..10].copy_from_slice(&SPEED_KB_PER_S.to_be_bytes());
    page[14..16].copy_from_slice(&SPEED_KB_PER_S.to_be_bytes());
}

/// PS in the first byte of a page that MODE SENSE returns: the page can be saved, as some of it can be changed.
fn saveable(code: (u8, u8), unit: &LogicalUnit) -> u8 {
    const PS: u8 = 0x80;
    let changeable = page(code, Values::Changeable, unit, Status::default());
    // Only the bytes behind the page header are looked at: the header is there in any case.
    let any =
        |(page, len): ([u8; PAGE_BYTES], usize)| page[if code.1 == 0 { 2 } else { 4 }..len].iter().any(|b| *b != 0);
    if changeable.is_some_and(any) { PS } else { 0 }
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
    let (current, reported, saved, status) = {
        let mut state = call.unit.state();
        let current = state.modes.current();
        let reported = if call.cdb[2] >> 6 == 0 { state.modes.report() } else { current };
        (current, reported, state.modes.saved(), Status::of(call.unit, &state))
    };
    let values = match call.cdb[2] >> 6 {
        0 => Values::Are(reported),
        1 => Values::Changeable,
        2 => Values::Are(Modes::default()),
        _ => Values::Are(saved),
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
    let long_lba = long && call.cdb[1] & LLBAA != 0;
    // MMC has no block descriptors.
    let descriptor_bytes = match (call.cdb[1] & DBD != 0 || call.unit.params().cdrom, long_lba) {
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
        if let Some((mut bytes, len)) = page(each, values, call.unit, status) {
            bytes[0] |= saveable(each, call.unit);
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

/// DEVICE-SPECIFIC PARAMETER (SBC-3 clause 6.5.1): WP and DPOFUA. MMC has none.
fn device_specific(unit: &LogicalUnit, current: Modes) -> u8 {
    const WP: u8 = 0x80;
    const DPOFUA: u8 = 0x10;
    if unit.params().cdrom {
        return 0;
    }
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

/// SP in byte 1 of MODE SELECT: save what is then in force.
const SP: u8 = 0x01;
const MODE_SELECT_6: u8 = 0x15;

pub(super) fn select_6(call: &mut Call) -> Planned {
    let len_bytes = u32::from(call.cdb[4]);
    select(call, len_bytes)
}

pub(super) fn select_10(call: &mut Call) -> Planned {
    let len_bytes = u32::from(be16(call.cdb, 7));
    select(call, len_bytes)
}

fn select(call: &mut Call, len_bytes: u32) -> Planned {
    if len_bytes == 0 { call.change(Part::Modes, &[]) } else { Ok(Plan::Parameters { len_bytes }) }
}

/// MODE SELECT with its list. Other nexuses are told when something has changed.
pub(super) fn select_list(call: &mut Call, list: &[u8]) -> Planned {
    // A list that came short may still end with a whole page. One that did not come at all is not taken for an empty
    // list.
    if list.is_empty() {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    call.change(Part::Modes, list)
}

/// The mode parameter header, in its two forms.
struct Header {
    bytes: usize,
    descriptor_bytes: usize,
    descriptor_at: u16,
    medium_type_at: u16,
    long_lba: bool,
}

impl Header {
    fn of(cdb: &[u8; 16], list: &[u8]) -> Result<Header, Outcome> {
        let short = cdb[0] == MODE_SELECT_6;
        if list.len() < if short { 4 } else { 8 } {
            return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
        }
        Ok(if short {
            let descriptor_bytes = usize::from(byte(list, 3));
            Header { bytes: 4, descriptor_bytes, descriptor_at: 3, medium_type_at: 1, long_lba: false }
        } else {
            let descriptor_bytes = usize::from(be16(list, 6));
            let long_lba = byte(list, 4) & 0x01 != 0;
            Header { bytes: 8, descriptor_bytes, descriptor_at: 6, medium_type_at: 2, long_lba }
        })
    }
}

/// What the command makes of the mode parameters: the whole list is checked. With SP everything is saved, also what the
/// list does not have (SPC-4 clause 6.9).
pub(super) fn decide(unit: &LogicalUnit, state: &State, cdb: &[u8; 16], list: &[u8]) -> Result<Next, Outcome> {
    let save = cdb[1] & SP != 0;
    if list.is_empty() {
        return Ok(Next::Modes { modes: state.modes.current(), save });
    }
    let header = Header::of(cdb, list)?;
    if byte(list, usize::from(header.medium_type_at)) != 0 {
        return Err(Outcome::invalid_list_field(header.medium_type_at, 7));
    }
    check_block_descriptor(unit, list, &header)?;
    let (mut modes, status) = (state.modes.current(), Status::of(unit, state));
    let mut at = header.bytes + header.descriptor_bytes;
    while let Some(&first) = list.get(at) {
        let position = at as u16;
        let has_subpage = first & SPF != 0;
        let code = (first & 0x3f, if has_subpage { byte(list, at + 1) } else { 0 });
        let (Some((now, len)), Some((changeable, _))) = (
            page(code, Values::Are(modes), unit, status).filter(|(page, _)| page[0] & SPF == first & SPF),
            page(code, Values::Changeable, unit, Status::default()),
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
        match code {
            CONTROL => {
                modes.descriptor_sense = wanted[2] & D_SENSE != 0;
                modes.swp = wanted[4] & SWP != 0;
            }
            CACHING if unit.params().volatile_cache => modes.write_through = wanted[2] & WCE == 0,
            _ => {}
        }
        at += len;
    }
    Ok(Next::Modes { modes, save })
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
