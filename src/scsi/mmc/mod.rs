//! The commands that only a CD-ROM has (MMC-6), beside those that it shares with disks.
//!
//! The medium is an image of 2048-byte blocks: one session with one data track, that of a CD-ROM, or of a DVD-ROM from
//! [`DVD_FROM_BLOCKS`] on. Only user data is stored, so there is nothing to answer about raw sectors, sub-channels, audio
//! or writing. [`toc`]: READ TOC/PMA/ATIP and READ SUB-CHANNEL; [`disc`]: what is told about disc and track; [`features`]:
//! GET CONFIGURATION; [`events`]: GET EVENT STATUS NOTIFICATION; [`reported`]: what that has told. Here: READ CD, and
//! commands about the mechanism.

pub(super) mod disc;
pub(super) mod events;
pub(super) mod features;
pub(super) mod reported;
pub(super) mod toc;

use super::call::{Call, Planned};
use super::cdb::{be16, be24, be32};
use super::plan::Plan;
use super::rw;
use super::sense::{Outcome, asc};

/// An image of this many blocks (900 MiB) is that of a DVD-ROM: no CD has so much.
pub(super) const DVD_FROM_BLOCKS: u64 = 900 << 20 >> 11;
/// Frames of 1/75 s before the block with the address 0 (MMC-6).
const PREGAP_FRAMES: u64 = 150;
const FRAMES: u64 = 75;
const SECONDS: u64 = 60;

/// Whether an image of so many blocks is that of a DVD.
pub(super) fn is_dvd(blocks: u64) -> bool {
    blocks >= DVD_FROM_BLOCKS
}

/// An LBA as minutes, seconds and frames. What no CD has comes out as 255:59:74.
fn msf(lba: u64) -> [u8; 3] {
    let frames = lba.saturating_add(PREGAP_FRAMES);
    match u8::try_from(frames / FRAMES / SECONDS) {
        Ok(minutes) => [minutes, (frames / FRAMES % SECONDS) as u8, (frames % FRAMES) as u8],
        Err(_) => [u8::MAX, SECONDS as u8 - 1, FRAMES as u8 - 1],
    }
}

/// The LBA of a time on the disc; `None` before the first block, or if it is none.
fn lba_of(msf: &[u8]) -> Option<u64> {
    let [minutes, seconds, frames] = *msf.first_chunk::<3>()?;
    let (minutes, seconds, frames) = (u64::from(minutes), u64::from(seconds), u64::from(frames));
    if seconds >= SECONDS || frames >= FRAMES {
        return None;
    }
    ((minutes * SECONDS + seconds) * FRAMES + frames).checked_sub(PREGAP_FRAMES)
}

/// READ CD (MMC-6).
pub(super) fn read_cd(call: &mut Call) -> Planned {
    let (lba, blocks) = (u64::from(be32(call.cdb, 2)), be24(call.cdb, 6));
    read_user_data(call, lba, blocks)
}

/// READ CD MSF (MMC-6): up to, but not with, the ending address.
pub(super) fn read_cd_msf(call: &mut Call) -> Planned {
    let start = lba_of(&call.cdb[3..6]).ok_or(Outcome::invalid_cdb_field(3, 7))?;
    let end = lba_of(&call.cdb[6..9]).ok_or(Outcome::invalid_cdb_field(6, 7))?;
    let blocks = end.checked_sub(start).and_then(|blocks| u32::try_from(blocks).ok());
    read_user_data(call, start, blocks.ok_or(Outcome::invalid_cdb_field(6, 7))?)
}

/// Reads what the main channel selection asks for, which can be user data, or nothing. The track is one of mode 1: there
/// are no other sectors, and of these neither header nor correction bytes are stored.
fn read_user_data(call: &mut Call, lba: u64, blocks: u32) -> Planned {
    const ANY_TYPE: u8 = 0;
    const MODE_1: u8 = 2;
    const USER_DATA: u8 = 0x10;
    match call.cdb[1] >> 2 & 0x07 {
        ANY_TYPE | MODE_1 => {}
        _ => return Err(Outcome::illegal(asc::ILLEGAL_MODE_FOR_THIS_TRACK)),
    }
    match call.cdb[9] {
        0 => {
            rw::check_range(call.unit, lba, u64::from(blocks))?;
            Ok(Plan::Done(Outcome::GOOD))
        }
        USER_DATA => rw::read_blocks(call, lba, blocks, 6),
        _ => Err(Outcome::invalid_cdb_field(9, 7)),
    }
}

/// SET CD SPEED (MMC-6): a virtual disc turns as fast as it can whatever the host wishes, as MMC lets a drive
/// do.
pub(super) fn set_cd_speed(call: &mut Call) -> Planned {
    const ROTATION_CONTROL: u8 = 0x03;
    // 00b and 01b: constant linear or angular velocity; the rest is reserved.
    if call.cdb[1] & ROTATION_CONTROL > 1 {
        return Err(Outcome::invalid_cdb_field(1, 1));
    }
    Ok(Plan::Done(Outcome::GOOD))
}

/// MECHANISM STATUS (MMC-6): a tray, open when the medium is ejected, and no changer.
pub(super) fn mechanism_status(call: &mut Call) -> Planned {
    const DOOR_OPEN: u8 = 0x10;
    let door = if call.unit.state().tray.is_open() { DOOR_OPEN } else { 0 };
    call.reply.put(&[0, door, 0, 0, 0, 0, 0, 0]);
    call.reply.finish(usize::from(be16(call.cdb, 8)))
}

#[cfg(test)]
mod tests;
