//! The outcomes that are found in carrying commands out, and not by the device server.

use crate::scsi::sense::{asc, key, status};
use crate::scsi::{Outcome, Sense};

/// SAM-5 section 5.3.1: TASK SET FULL, for want of a buffer for data that could not wait. MaxCmdSN is the normal means of
/// flow control; this one is for an arena that others have emptied.
pub const TASK_SET_FULL: Outcome = Outcome { status: status::TASK_SET_FULL, sense: None };

/// What a job is answered with that was begun without what it needs. Nothing begins one so.
pub const WITHOUT_DATA: Outcome = Outcome::check(Sense::new(key::HARDWARE_ERROR, asc::INTERNAL_TARGET_FAILURE));

/// A part of the command was carried out, and the rest has no buffer, or would have to wait for a write that does not end.
pub const TIMED_OUT: Outcome =
    Outcome::check(Sense::new(key::ABORTED_COMMAND, asc::LOGICAL_UNIT_COMMUNICATION_TIME_OUT));

/// What TEST UNIT READY says of a unit whose medium does not answer.
pub const DOES_NOT_ANSWER: Outcome =
    Outcome::check(Sense::new(key::NOT_READY, asc::LOGICAL_UNIT_NOT_READY_CAUSE_NOT_REPORTABLE));

/// A copy was ended by somebody.
pub const COPY_ABORTED: Outcome = Outcome::check(Sense::new(key::COPY_ABORTED, asc::NO_ADDITIONAL_SENSE_INFORMATION));
