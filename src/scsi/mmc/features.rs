//! GET CONFIGURATION (MMC-6): profiles and features.

use super::super::call::{Call, Planned};
use super::super::cdb::be16;
use super::super::sense::Outcome;
use super::is_dvd;

/// Profile numbers (MMC-6).
const CD_ROM: u16 = 0x0008;
const DVD_ROM: u16 = 0x0010;

/// A feature descriptor.
struct Feature {
    code: u16,
    version: u8,
    /// It is current whatever medium there is.
    persistent: bool,
    current: bool,
    data: [u8; 8],
    data_bytes: usize,
}

impl Feature {
    const fn new(code: u16, version: u8, persistent: bool, current: bool, data: [u8; 8], data_bytes: usize) -> Feature {
        Feature { code, version, persistent, current, data, data_bytes }
    }

    /// One that is current at all times.
    const fn always(code: u16, version: u8, data: [u8; 8], data_bytes: usize) -> Feature {
        Feature::new(code, version, true, true, data, data_bytes)
    }

    /// One that goes with a medium.
    const fn of_medium(code: u16, version: u8, current: bool, data: [u8; 8], data_bytes: usize) -> Feature {
        Feature::new(code, version, false, current, data, data_bytes)
    }
}

/// The profile of the medium that is in; 0000h: there is none.
fn current_profile(ejected: bool, blocks: u64) -> u16 {
    match ejected {
        true => 0,
        false if is_dvd(blocks) => DVD_ROM,
        false => CD_ROM,
    }
}

/// All features, ascending, with `profile` current.
fn features(profile: u16, block_bytes: u32) -> [Feature; 8] {
    const CURRENT: u8 = 0x01;
    const SCSI_FAMILY: u8 = 1;
    const INQ2: u8 = 0x02;
    const DBE: u8 = 0x01;
    const OCEVENT: u8 = 0x02;
    const TRAY: u8 = 0x20;
    const LOAD: u8 = 0x10;
    const EJECT: u8 = 0x08;
    const LOCK: u8 = 0x01;
    // The mode page of error recovery is there.
    const PP: u8 = 0x01;
    const NOTHING: [u8; 8] = [0; 8];
    let (cd, dvd) = (profile == CD_ROM, profile == DVD_ROM);
    let [high, low] = DVD_ROM.to_be_bytes();
    let [cd_high, cd_low] = CD_ROM.to_be_bytes();
    let is = |current| if current { CURRENT } else { 0 };
    let profiles = [high, low, is(dvd), 0, cd_high, cd_low, is(cd), 0];
    let [a, b, c, d] = block_bytes.to_be_bytes();
    let blocking = if dvd { 16 } else { 1 };
    [
        // Profile list; core.
        Feature::always(0x0000, 0, profiles, 8),
        Feature::always(0x0001, 2, [0, 0, 0, SCSI_FAMILY, INQ2 | DBE, 0, 0, 0], 8),
        // Morphing; removable medium.
        Feature::always(0x0002, 1, [OCEVENT, 0, 0, 0, 0, 0, 0, 0], 4),
        Feature::always(0x0003, 2, [TRAY | LOAD | EJECT | LOCK, 0, 0, 0, 0, 0, 0, 0], 4),
        // Random readable; CD read; DVD read.
        Feature::of_medium(0x0010, 0, cd || dvd, [a, b, c, d, 0, blocking, PP, 0], 8),
        Feature::of_medium(0x001e, 2, cd, NOTHING, 4),
        Feature::of_medium(0x001f, 0, dvd, NOTHING, 0),
        // Power management.
        Feature::always(0x0100, 0, NOTHING, 0),
    ]
}

/// GET CONFIGURATION: lists the features from STARTING FEATURE NUMBER on: all, those that are current, or only the one
/// of that number.
pub(in super::super) fn get_configuration(call: &mut Call) -> Planned {
    const ALL: u8 = 0;
    const CURRENT: u8 = 1;
    const ONE: u8 = 2;
    let (wanted, from) = (call.cdb[1] & 0x03, be16(call.cdb, 2));
    let profile = current_profile(call.unit.state().tray.is_open(), call.unit.blocks());
    call.reply.put(&[0, 0, 0, 0, 0, 0]);
    call.reply.put(&profile.to_be_bytes());
    for feature in features(profile, call.unit.block_bytes()) {
        let listed = match wanted {
            ALL => feature.code >= from,
            CURRENT => feature.code >= from && feature.current,
            ONE => feature.code == from,
            _ => return Err(Outcome::invalid_cdb_field(1, 1)),
        };
        if listed {
            let flags = feature.version << 2 | u8::from(feature.persistent) << 1 | u8::from(feature.current);
            call.reply.put(&feature.code.to_be_bytes());
            call.reply.put(&[flags, feature.data_bytes as u8]);
            call.reply.put(&feature.data[..feature.data_bytes]);
        }
    }
    call.reply.patch_u32(0, 4);
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}
