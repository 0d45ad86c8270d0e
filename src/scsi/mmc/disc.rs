//! What is told about disc and track (MMC-6): READ DISC INFORMATION, READ TRACK INFORMATION, and READ DISC STRUCTURE, which
//! was READ DVD STRUCTURE.

use super::super::call::{Call, Planned};
use super::super::cdb::{be16, be32};
use super::super::sense::{Outcome, asc};
use super::is_dvd;
use super::toc::TRACK;

/// READ DISC INFORMATION, standard: complete, not erasable, one session with one track, for unrestricted use.
pub(in super::super) fn read_disc_information(call: &mut Call) -> Planned {
    const LAST_SESSION_COMPLETE: u8 = 0x0c;
    const DISC_COMPLETE: u8 = 0x02;
    const URU: u8 = 0x20;
    if call.cdb[1] & 0x07 != 0 {
        return Err(Outcome::invalid_cdb_field(1, 2));
    }
    call.reply.put(&[0, 0, LAST_SESSION_COMPLETE | DISC_COMPLETE, TRACK, 1, TRACK, TRACK, URU]);
    // Disc type 00h (data), the upper bytes of the numbers above, no identification.
    call.reply.put(&[0; 8]);
    // Nothing can be added: neither a lead-in nor a lead-out can be anywhere.
    call.reply.put(&[0xff; 8]);
    // No bar code, no application code, no OPC tables.
    call.reply.put(&[0; 10]);
    call.reply.patch_u16(0, 2);
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}

/// READ TRACK INFORMATION about the only track, by address, track or session.
pub(in super::super) fn read_track_information(call: &mut Call) -> Planned {
    const BY_ADDRESS: u8 = 0;
    const DATA_UNINTERRUPTED: u8 = 4;
    const MODE_1: u8 = 1;
    let (blocks, wanted) = (call.unit.blocks(), be32(call.cdb, 2));
    match call.cdb[1] & 0x03 {
        BY_ADDRESS if u64::from(wanted) < blocks => {}
        BY_ADDRESS => return Err(Outcome::illegal(asc::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)),
        3 => return Err(Outcome::invalid_cdb_field(1, 1)),
        _ if wanted != u32::from(TRACK) => return Err(Outcome::invalid_cdb_field(2, 7)),
        _ => {}
    }
    call.reply.put(&[0, 0, TRACK, 1, 0, DATA_UNINTERRUPTED, MODE_1, 0]);
    // It begins at 0, has no next writable address, no free blocks and no packets.
    call.reply.put(&[0; 16]);
    call.reply.put(&u32::try_from(blocks).unwrap_or(u32::MAX).to_be_bytes());
    // The last recorded address is not valid (LRA_V); then the upper bytes of track and session.
    call.reply.put(&[0; 8]);
    call.reply.patch_u16(0, 2);
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}

/// READ DISC STRUCTURE of a DVD: its physical format, that it is not protected, and the list of these.
pub(in super::super) fn read_disc_structure(call: &mut Call) -> Planned {
    const DVD: u8 = 0;
    const PHYSICAL_FORMAT: u8 = 0x00;
    const COPYRIGHT: u8 = 0x01;
    const LIST: u8 = 0xff;
    const LAYER_DESCRIPTOR_BYTES: usize = 2048;
    if call.cdb[1] & 0x0f != DVD {
        return Err(Outcome::invalid_cdb_field(1, 3));
    }
    let (blocks, format) = (call.unit.blocks(), call.cdb[7]);
    if !is_dvd(blocks) {
        return Err(Outcome::illegal(asc::CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT));
    }
    // There is one layer.
    if format == PHYSICAL_FORMAT && call.cdb[6] != 0 {
        return Err(Outcome::invalid_cdb_field(6, 7));
    }
    call.reply.put(&[0; 4]);
    match format {
        PHYSICAL_FORMAT => {
            call.reply.put(&layer(blocks));
            call.reply.data.resize(4 + LAYER_DESCRIPTOR_BYTES, 0);
        }
        COPYRIGHT => call.reply.put(&[0; 4]),
        LIST => {
            // RDS: it can be read.
            const READABLE: u8 = 0x40;
            for (format, bytes) in [(PHYSICAL_FORMAT, 4 + LAYER_DESCRIPTOR_BYTES), (COPYRIGHT, 8), (LIST, 16)] {
                let [high, low] = (bytes as u16).to_be_bytes();
                call.reply.put(&[format, READABLE, high, low]);
            }
        }
        _ => return Err(Outcome::invalid_cdb_field(7, 7)),
    }
    call.reply.patch_u16(0, 2);
    call.reply.finish(usize::from(be16(call.cdb, 8)))
}

/// The layer descriptor up to the end of the addresses (MMC-6): a DVD-ROM of 120 mm, one embossed layer
/// that begins at physical sector 30000h. What 24 bits cannot say is as large as they can.
fn layer(blocks: u64) -> [u8; 16] {
    const DVD_ROM_VERSION_1: u8 = 0x01;
    const SIZE_120_MM_RATE_NOT_SPECIFIED: u8 = 0x0f;
    const ONE_EMBOSSED_LAYER: u8 = 0x01;
    const FIRST_SECTOR: u32 = 0x3_0000;
    const LAST_OF_24_BITS: u32 = 0xff_ffff;
    let last = u32::try_from(blocks.saturating_sub(1)).unwrap_or(u32::MAX).saturating_add(FIRST_SECTOR);
    let [_, first @ ..] = FIRST_SECTOR.to_be_bytes();
    let [_, last @ ..] = last.min(LAST_OF_24_BITS).to_be_bytes();
    let mut layer = [0; 16];
    layer[..3].copy_from_slice(&[DVD_ROM_VERSION_1, SIZE_120_MM_RATE_NOT_SPECIFIED, ONE_EMBOSSED_LAYER]);
    layer[5..8].copy_from_slice(&first);
    layer[9..12].copy_from_slice(&last);
    layer
}
