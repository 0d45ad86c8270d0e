//! READ TOC/PMA/ATIP (MMC-6) and READ SUB-CHANNEL (MMC-3): one session with one data track.

use super::super::call::{Call, Planned};
use super::super::cdb::be16;
use super::super::plan::Reply;
use super::super::sense::Outcome;
use super::{is_dvd, msf};

/// The only track, and the only session.
pub(super) const TRACK: u8 = 1;
/// What stands for the lead-out in the place of a track number.
const LEAD_OUT: u8 = 0xaa;
/// ADR 1 (the sub-channel has the position), CONTROL 4 (a data track that was written in one go).
const DATA_TRACK: u8 = 0x14;
/// TIME, or MSF: addresses are minutes, seconds and frames.
const MSF: u8 = 0x02;

/// READ TOC/PMA/ATIP in the formats 0 (tracks), 1 (sessions) and, of a CD, 2 (everything in the lead-in). FORMAT is in
/// byte 2; it once was in the two upper bits of the last byte, where Linux still puts it.
pub(in super::super) fn read_toc(call: &mut Call) -> Planned {
    let (format, format_at) = match call.cdb[2] & 0x0f {
        0 => (call.cdb[9] >> 6, (9, 7)),
        format => (format, (2, 3)),
    };
    let (blocks, time) = (call.unit.blocks(), call.cdb[1] & MSF != 0);
    call.reply.put(&[0, 0, TRACK, TRACK]);
    match format {
        0 => tracks(call, blocks, time)?,
        // The first track of the last session.
        1 => descriptor(call.reply, TRACK, 0, time),
        2 if !is_dvd(blocks) => lead_in(call, blocks)?,
        _ => return Err(Outcome::invalid_cdb_field(format_at.0, format_at.1)),
    }
    call.reply.patch_u16(0, 2);
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}

/// Track descriptors from the track number in byte 6 on.
fn tracks(call: &mut Call, blocks: u64, time: bool) -> Result<(), Outcome> {
    match call.cdb[6] {
        0 | TRACK => descriptor(call.reply, TRACK, 0, time),
        LEAD_OUT => {}
        _ => return Err(Outcome::invalid_cdb_field(6, 7)),
    }
    descriptor(call.reply, LEAD_OUT, blocks, time);
    Ok(())
}

fn descriptor(reply: &mut Reply, track: u8, lba: u64, time: bool) {
    reply.put(&[0, DATA_TRACK, track, 0]);
    put_address(reply, lba, time);
}

/// An absolute address, 4 bytes.
fn put_address(reply: &mut Reply, lba: u64, time: bool) {
    if time {
        let [minutes, seconds, frames] = msf(lba);
        reply.put(&[0, minutes, seconds, frames]);
    } else {
        reply.put(&u32::try_from(lba).unwrap_or(u32::MAX).to_be_bytes());
    }
}

/// What the Q sub-channel of the lead-in says, from the session in byte 6 on: first and last track, lead-out, the track.
fn lead_in(call: &mut Call, blocks: u64) -> Result<(), Outcome> {
    const FIRST_TRACK: u8 = 0xa0;
    const LAST_TRACK: u8 = 0xa1;
    const START_OF_LEAD_OUT: u8 = 0xa2;
    if call.cdb[6] > TRACK {
        return Err(Outcome::invalid_cdb_field(6, 7));
    }
    let points =
        [(FIRST_TRACK, [TRACK, 0, 0]), (LAST_TRACK, [TRACK, 0, 0]), (START_OF_LEAD_OUT, msf(blocks)), (TRACK, msf(0))];
    for (point, [minutes, seconds, frames]) in points {
        call.reply.put(&[TRACK, DATA_TRACK, 0, point, 0, 0, 0, 0, minutes, seconds, frames]);
    }
    Ok(())
}

/// READ SUB-CHANNEL: the position, which is at the beginning because nothing plays; and that there is neither a media
/// catalogue number nor an ISRC.
pub(in super::super) fn read_sub_channel(call: &mut Call) -> Planned {
    const SUBQ: u8 = 0x40;
    const NO_AUDIO_STATUS: u8 = 0x15;
    const POSITION: u8 = 1;
    const CATALOGUE_NUMBER: u8 = 2;
    const ISRC: u8 = 3;
    let time = call.cdb[1] & MSF != 0;
    call.reply.put(&[0, NO_AUDIO_STATUS, 0, 0]);
    if call.cdb[2] & SUBQ != 0 {
        match (call.cdb[3], call.cdb[6]) {
            (POSITION, _) => {
                call.reply.put(&[POSITION, DATA_TRACK, TRACK, 1]);
                put_address(call.reply, 0, time);
                // The position from the beginning of the track is zero, too.
                call.reply.put(&[0; 4]);
            }
            (CATALOGUE_NUMBER, _) => call.reply.put_padded(&[CATALOGUE_NUMBER], 20, 0),
            (ISRC, TRACK) => call.reply.put_padded(&[ISRC, DATA_TRACK, TRACK], 20, 0),
            (ISRC, _) => return Err(Outcome::invalid_cdb_field(6, 7)),
            _ => return Err(Outcome::invalid_cdb_field(3, 7)),
        }
    }
    call.reply.patch_u16(2, 4);
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}
