//! SANITIZE (SBC-4 clauses 4.11 and 5.30) and FORMAT UNIT (SBC-3 clause 5.3): erasing the whole medium.
//!
//! Planning the command changes nothing: whoever carries the plan out begins with [`LogicalUnit::begin_erase`]. From
//! then on until [`LogicalUnit::erase_done`] the logical unit is busy: it refuses every command but INQUIRY, REPORT
//! LUNS, REQUEST SENSE and SET TARGET PORT GROUPS, and tells how far the erasing is. The erasing goes on whatever
//! becomes of the command: neither an abort, nor a reset, nor the loss of the nexus ends it. A restart of the process
//! does: what is erased in part comes back as a unit whose erasing has failed. For that, whoever carries the plan out
//! has [`LogicalUnit::unfinished`] saved before anything is erased, and taken back when all is.
//!
//! Not here: CRYPTOGRAPHIC ERASE, as nothing is encrypted; ZNR, as there are no zones; defect lists.

use super::call::{Call, Planned};
use super::cdb::{be16, be32, byte};
use super::erasure::{Busy, Erase, Erasure};
use super::medium_op::MediumOp;
use super::plan::Plan;
use super::saved::Part;
use super::sense::{Outcome, Sense, asc, key};
use super::state::State;
use super::unit::LogicalUnit;
use std::sync::atomic::Ordering;

/// IMMED and AUSE in byte 1 of SANITIZE.
const IMMED: u8 = 0x80;
const AUSE: u8 = 0x20;

impl LogicalUnit {
    /// Why a command is refused while the unit is erased, or after that failed.
    pub(super) fn busy_sense(&self, busy: Busy) -> Sense {
        let [high, low] = self.progress.load(Ordering::Relaxed).to_be_bytes();
        let progress = |asc_ascq| Sense { specific: Some([0x80, high, low]), ..Sense::new(key::NOT_READY, asc_ascq) };
        match busy {
            Busy::Formatting => progress(asc::LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS),
            Busy::Sanitizing { .. } => progress(asc::LOGICAL_UNIT_NOT_READY_SANITIZE_IN_PROGRESS),
            Busy::FormatFailed => Sense::new(key::MEDIUM_ERROR, asc::FORMAT_COMMAND_FAILED),
            Busy::SanitizeFailed { .. } => Sense::new(key::MEDIUM_ERROR, asc::SANITIZE_COMMAND_FAILED),
        }
    }

    /// Notes how far an erasing is: `done` of `all` bytes.
    pub fn erase_progress(&self, done: u64, all: u64) {
        let part = u128::from(done) * 65536 / u128::from(all.max(1));
        self.progress.store(u16::try_from(part).unwrap_or(u16::MAX), Ordering::Relaxed);
    }

    /// Takes back [`LogicalUnit::begin_erase`] when nothing was erased: all is as it was before.
    pub fn erase_not_begun(&self) {
        let mut state = self.state();
        state.erasing.not_begun();
        self.changed(&state);
    }

    /// Ends the erasing that has begun; `good`: all is erased. Answers the outcome of the command. After a failure the
    /// unit stays busy until another erasing succeeds, or EXIT FAILURE MODE ends the failure.
    pub fn erase_done(&self, good: bool) -> Outcome {
        let mut state = self.state();
        state.erasing.ended(good);
        self.changed(&state);
        match state.erasing.busy() {
            Some(busy) => self.formatted(Outcome::check(self.busy_sense(busy))),
            None => Outcome::GOOD,
        }
    }

    /// Begins what [`MediumOp::Erase`] asks for: the unit is busy from now on.
    ///
    /// # Errors
    /// Another erasing has begun since this one was planned, or has failed in a way that this one may not end.
    pub fn begin_erase(&self, erasure: Erasure, now_ms: u64) -> Result<(), Outcome> {
        let mut state = self.state();
        self.may_erase(&state, erasure).map_err(|outcome| self.formatted(outcome))?;
        self.progress.store(0, Ordering::Relaxed);
        state.erasing.begun(erasure);
        self.changed(&state);
        // Tokens end: what they stand for is to be no more, whether or not all of it is reached. So do copies: what one
        // has read must not come back afterwards, when the unit is not busy any more.
        self.overwritten(0, u64::MAX, now_ms);
        self.copies.end_all();
        Ok(())
    }

    /// Whether EXIT FAILURE MODE has a failure to end. The error: the unit is busy with something that this command may
    /// not end.
    pub(super) fn may_exit(&self, state: &State) -> Result<bool, Outcome> {
        match state.erasing.busy() {
            Some(Busy::SanitizeFailed { unrestricted: true }) => Ok(true),
            Some(busy) => Err(Outcome::check(self.busy_sense(busy))),
            None => Ok(false),
        }
    }

    fn may_erase(&self, state: &State, erasure: Erasure) -> Result<(), Outcome> {
        match state.erasing.busy() {
            Some(running @ (Busy::Formatting | Busy::Sanitizing { .. })) => {
                Err(Outcome::check(self.busy_sense(running)))
            }
            // A restricted failure ends with a restricted SANITIZE only (SBC-4 clause 4.11.4).
            Some(failed @ Busy::SanitizeFailed { unrestricted: false })
                if erasure != (Erasure::Sanitize { unrestricted: false }) =>
            {
                Err(Outcome::check(self.busy_sense(failed)))
            }
            _ => Ok(()),
        }
    }
}

fn erase(call: &mut Call, erasure: Erasure, how: Erase, immed: bool) -> Planned {
    call.unit.may_erase(&call.unit.state(), erasure)?;
    Ok(Plan::Medium(MediumOp::Erase { erasure, how, immed }))
}

fn sanitize(call: &mut Call, how: Erase) -> Planned {
    let (unrestricted, immed) = (call.cdb[1] & AUSE != 0, call.cdb[1] & IMMED != 0);
    erase(call, Erasure::Sanitize { unrestricted }, how, immed)
}

/// SANITIZE, OVERWRITE: the pattern comes as a parameter list of a header and 1 byte to a block.
pub(super) fn overwrite(call: &mut Call) -> Planned {
    match u32::from(be16(call.cdb, 7)) {
        len if len <= LIST_HEADER || len > LIST_HEADER + call.unit.block_bytes() => {
            Err(Outcome::invalid_cdb_field(7, 7))
        }
        len_bytes => Ok(Plan::Parameters { len_bytes }),
    }
}

/// Bytes of the parameter list before the pattern.
const LIST_HEADER: u32 = 4;

/// The list of SANITIZE, OVERWRITE: INVERT, OVERWRITE COUNT and the pattern, all of which must be there. TEST must be
/// zero.
pub(super) fn overwrite_list(call: &mut Call, list: &[u8]) -> Planned {
    const INVERT: u8 = 0x80;
    const TEST: u8 = 0x60;
    let passes = byte(list, 0) & 0x1f;
    if byte(list, 0) & TEST != 0 {
        return Err(Outcome::invalid_list_field(0, 6));
    }
    if passes == 0 {
        return Err(Outcome::invalid_list_field(0, 4));
    }
    let len = usize::from(be16(list, 2));
    if len == 0 || len > call.unit.block_bytes() as usize {
        return Err(Outcome::invalid_list_field(2, 7));
    }
    let Some(pattern) = list.get(4..4 + len) else {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    };
    let invert = byte(list, 0) & INVERT != 0;
    sanitize(call, Erase::Overwrite { pattern: pattern.to_vec(), passes, invert })
}

/// SANITIZE, BLOCK ERASE: everything is given back, and reads as zeroes (WABEREQ is 01b).
pub(super) fn block_erase(call: &mut Call) -> Planned {
    sanitize(call, Erase::Discard)
}

/// SANITIZE, EXIT FAILURE MODE.
pub(super) fn exit_failure_mode(call: &mut Call) -> Planned {
    let fails = call.unit.may_exit(&call.unit.state())?;
    if fails { call.change(Part::Unfinished(None), &[]) } else { Ok(Plan::Done(Outcome::GOOD)) }
}

const FMTDATA: u8 = 0x10;
const LONGLIST: u8 = 0x20;

/// FORMAT UNIT. The CDB does not say how long its parameter list is. It is as long as its header (4 bytes, or 8 with
/// LONGLIST), as no defects are taken.
pub(super) fn format_unit(call: &mut Call) -> Planned {
    match call.cdb[1] & (FMTDATA | LONGLIST) {
        0 => format(call, false),
        LONGLIST => Err(Outcome::invalid_cdb_field(1, 5)),
        FMTDATA => Ok(Plan::Parameters { len_bytes: 4 }),
        _ => Ok(Plan::Parameters { len_bytes: 8 }),
    }
}

/// The list of FORMAT UNIT. IMMED is the only thing that it can ask for; FOV and DCRT ask for what is so anyhow.
pub(super) fn format_unit_list(call: &mut Call, list: &[u8]) -> Planned {
    const IMMED: u8 = 0x02;
    const FOV: u8 = 0x80;
    const DCRT: u8 = 0x20;
    let (len, defects) = if call.cdb[1] & LONGLIST == 0 { (4, u32::from(be16(list, 2))) } else { (8, be32(list, 4)) };
    if list.len() < len {
        return Err(Outcome::illegal(asc::PARAMETER_LIST_LENGTH_ERROR));
    }
    let wrong = byte(list, 1) & !(IMMED | FOV | DCRT);
    if wrong != 0 {
        return Err(Outcome::invalid_list_field(1, wrong.ilog2() as u8));
    }
    if byte(list, 0) != 0 {
        return Err(Outcome::invalid_list_field(0, byte(list, 0).ilog2() as u8));
    }
    if len == 8 && byte(list, 3) != 0 {
        return Err(Outcome::invalid_list_field(3, byte(list, 3).ilog2() as u8));
    }
    if defects != 0 {
        return Err(Outcome::invalid_list_field(len as u16 / 2, 7));
    }
    format(call, byte(list, 1) & IMMED != 0)
}

fn format(call: &mut Call, immed: bool) -> Planned {
    let how = if call.unit.params().thin { Erase::Discard } else { Erase::Zero };
    erase(call, Erasure::Format, how, immed)
}
