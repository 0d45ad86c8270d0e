//! START STOP UNIT (SBC-3 clause 5.21, MMC-6) and PREVENT ALLOW MEDIUM REMOVAL (SPC-4 clause 6.20).
//!
//! A virtual disk does not spin, and other initiators may be using it: it never stops. Of a removable medium the tray
//! exists: LOEJ ejects and loads it, unless a nexus prevents that. What is ejected is kept in the rare state; it is loaded
//! again after a restart.

use super::attention::{Attention, Recipients};
use super::call::{Call, Planned};
use super::class;
use super::medium_op::MediumOp;
use super::plan::Plan;
use super::sense::{Outcome, Sense, asc, key};
use super::tray::Prevented;

/// START STOP UNIT. A host that stops the unit wants its writes safe, so a stop is a flush, unless NO_FLUSH says
/// otherwise. Power conditions change nothing here, so any is granted, and LOEJ and START are then ignored, as the
/// clause says.
pub(super) fn start_stop_unit(call: &mut Call) -> Planned {
    const START: u8 = 0x01;
    const LOEJ: u8 = 0x02;
    const NO_FLUSH: u8 = 0x04;
    let flags = call.cdb[4];
    let (start, eject_or_load) = (flags & START != 0, flags & LOEJ != 0);
    // Of a CD-ROM that bit is FL, which is refused: there is one format layer.
    if call.unit.params().cdrom && flags & NO_FLUSH != 0 {
        return Err(Outcome::invalid_cdb_field(4, 2));
    }
    if flags >> 4 != 0 {
        return Ok(Plan::Done(Outcome::GOOD));
    }
    if !start {
        call.nexus.check_reserved(class::WRITE)?;
    }
    if eject_or_load && !call.unit.params().removable {
        return Err(Outcome::invalid_cdb_field(4, 1));
    }
    if eject_or_load {
        move_tray(call, start)?;
    }
    if start || flags & NO_FLUSH != 0 {
        return Ok(Plan::Done(Outcome::GOOD));
    }
    Ok(Plan::Medium(MediumOp::Flush { immed: call.cdb[1] & 0x01 != 0 }))
}

/// Loads or ejects the medium. When it is loaded, all other nexuses are told 28/00.
fn move_tray(call: &mut Call, load: bool) -> Result<(), Outcome> {
    let mut state = call.unit.state();
    let prevented = |Prevented| Outcome::check(Sense::new(key::ILLEGAL_REQUEST, asc::MEDIUM_REMOVAL_PREVENTED));
    let is_moved = state.tray.set_open(!load).map_err(prevented)?;
    if is_moved && load {
        let others = Recipients::Except(Some(call.nexus.id));
        call.unit.post(&mut state, Attention::MediumMayHaveChanged, others);
    } else if is_moved {
        call.unit.changed(&state);
    }
    Ok(())
}

/// PREVENT ALLOW MEDIUM REMOVAL. Each nexus prevents the removal for itself. That ends when the nexus allows it again,
/// or with the nexus or a reset. A medium that cannot be removed need not be kept: either is granted.
pub(super) fn prevent_allow(call: &mut Call) -> Planned {
    let prevent = call.cdb[4] & 0x01 != 0;
    if prevent {
        call.nexus.check_reserved(class::WRITE)?;
    }
    if call.unit.params().removable {
        let tray = &mut call.unit.state().tray;
        if prevent {
            tray.prevent(call.nexus.id);
        } else {
            tray.allow(call.nexus.id);
        }
    }
    Ok(Plan::Done(Outcome::GOOD))
}
