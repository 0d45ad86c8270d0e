//! GET EVENT STATUS NOTIFICATION (MMC-6), polled: operational change, power management, media, device busy.
//!
//! The logical unit counts how often its medium was ejected or loaded, or became another disc; a nexus keeps, for each
//! class with events, which count it has reported. Only the latest of the changes that it has missed is told, as that
//! is what is true.

use super::super::call::{Call, Planned};
use super::super::cdb::be16;
use super::super::plan::Plan;
use super::super::sense::Outcome;
use super::reported::{MEDIA, OPERATIONAL_CHANGE};

const POWER_MANAGEMENT: u8 = 2;
const DEVICE_BUSY: u8 = 6;
/// Classes that are supported, most important first.
const CLASSES: [u8; 4] = [OPERATIONAL_CHANGE, POWER_MANAGEMENT, MEDIA, DEVICE_BUSY];

/// The event descriptor of a class; `new`: an event that was not reported yet.
fn descriptor(class: u8, new: bool, ejected: bool) -> [u8; 4] {
    // Of operational changes: the drive has changed, and what has changed is a feature.
    const CHANGE_OCCURRED: u8 = 2;
    const FEATURE_CHANGE: u8 = 1;
    const ACTIVE: u8 = 1;
    const NEW_MEDIA: u8 = 2;
    const MEDIA_REMOVAL: u8 = 3;
    const MEDIA_PRESENT: u8 = 0x02;
    const DOOR_OPEN: u8 = 0x01;
    match (class, new) {
        (OPERATIONAL_CHANGE, true) => [CHANGE_OCCURRED, 0, 0, FEATURE_CHANGE],
        (POWER_MANAGEMENT, _) => [0, ACTIVE, 0, 0],
        (MEDIA, new) => {
            let event = match (new, ejected) {
                (false, _) => 0,
                (true, false) => NEW_MEDIA,
                (true, true) => MEDIA_REMOVAL,
            };
            [event, if ejected { DOOR_OPEN } else { MEDIA_PRESENT }, 0, 0]
        }
        _ => [0; 4],
    }
}

/// GET EVENT STATUS NOTIFICATION: answers the most important class that was asked for and has an event; if none has,
/// the first class that was asked for says so.
pub(in super::super) fn get_event_status(call: &mut Call) -> Planned {
    const POLLED: u8 = 0x01;
    const NEA: u8 = 0x80;
    const HEADER_BYTES: u16 = 4;
    if call.cdb[1] & POLLED == 0 {
        return Err(Outcome::invalid_cdb_field(1, 0));
    }
    if call.reply.unbuffered {
        return Ok(Plan::Buffer);
    }
    let supported = CLASSES.iter().fold(0, |mask, class| mask | 1u8 << class);
    let asked = || CLASSES.into_iter().filter(|class| call.cdb[4] & 1 << class != 0);
    let state = call.unit.state();
    let reported = &mut call.nexus.events;
    let class = asked().find(|class| reported.lacks(*class, &state.tray)).or_else(|| asked().next());
    // EVENT DATA LENGTH is what follows it.
    match class {
        Some(class) => {
            let new = reported.lacks(class, &state.tray);
            // With no room for it, the event is still to be reported.
            if be16(call.cdb, 7) > HEADER_BYTES {
                reported.note(class, &state.tray);
            }
            call.reply.put(&[0, 6, class, supported]);
            call.reply.put(&descriptor(class, new, state.tray.is_open()));
        }
        None => call.reply.put(&[0, 2, NEA, supported]),
    }
    drop(state);
    call.reply.finish(usize::from(be16(call.cdb, 7)))
}
