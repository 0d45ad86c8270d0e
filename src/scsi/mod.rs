//! The SCSI device server (SAM-5, SPC-4/5, SBC-3/4, MMC-6): turns a command of a nexus into a [`Plan`].
//!
//! Synchronous, does no I/O, sees no PDU. The shard carries out what a plan asks for and answers with its outcome.
//! `opcode.rs` is the one table that knows the commands; dispatch, CDB validation and REPORT SUPPORTED OPERATION CODES
//! all read it.
//!
//! There is no circle: no file names another one that names it. From below: what a command comes to (`sense.rs`,
//! `plan.rs`) and what commands leave behind (`attention.rs`, `reservation.rs`, `modes.rs` and their like), `state.rs`,
//! `unit.rs` and `nexus.rs`; what handlers are called with (`call.rs`, `row.rs`) and the handlers; `saving.rs`, the
//! table, and `admission.rs`, which is the way in.
//!
//! - [`LogicalUnit`]: identity, geometry and rarely changing state of one logical unit; one value for the process, shared
//!   by all cores behind an `Arc`. Its rare state sits behind a mutex that a command takes only when the unit's
//!   generation has moved since that nexus last looked (one atomic load per command).
//! - [`LuNexus`]: what one I_T_L nexus has pending (unit attentions, the generation it has seen); owned by the core of
//!   the session.
//! - [`Reply`]: scratch for parameter data, one per core, reused.
//!
//! - [`Saved`]: what of a logical unit outlives the process; [`Saving`]: a command that changes it.
//!
//! Not here: protection information, and with it the 32-byte READ, WRITE, VERIFY and their kin.

mod absent;
mod admission;
mod alua;
mod attention;
mod call;
mod capacity;
mod cdb;
mod class;
mod clock;
pub mod copy;
pub mod copy_begin;
mod copy_request;
mod copy_status;
mod copy_vpd;
mod counters;
mod data_out;
mod designation;
mod diagnostic;
mod erase;
mod erasure;
mod generation;
mod health;
mod hearers;
mod hearing;
mod identifying;
pub mod identity;
mod inquiry;
mod log;
mod management;
mod medium_op;
mod mmc;
mod mode;
mod modes;
mod nexus;
mod now;
pub mod opcode;
mod operations;
mod orwrite;
mod params;
mod persistent;
pub mod plan;
mod ports;
mod questions;
mod removable;
mod report_luns;
pub mod reservation;
mod rod;
mod row;
mod rw;
mod saved;
mod saving;
pub mod sense;
mod space;
mod state;
mod supported;
mod sync;
mod timestamp;
mod tokens;
mod tray;
mod troubles;
mod unit;
mod unmap;
mod vpd;
mod write_same;

pub use absent::absent;
pub use attention::Attention;
pub use capacity::LbaStatuses;
pub use data_out::WrongLength;
pub use erasure::{Erase, Erasure};
pub use generation::{Allowed, Generation};
pub use hearers::{Heard, Lost};
pub use medium_op::{Action, Changes, Counted, LbaScan, Length, MediumOp, MediumRow, Pays, Runs};
pub use modes::Modes;
pub use nexus::LuNexus;
pub use now::Now;
pub use params::{LuParams, NexusId};
pub use plan::{Command, Plan, Reply};
pub use questions::{aborts_others, asks_readiness, ends_copies, is_fenced};
pub use saved::{Decided, IdentifyingInformation, SaveEnd, Saved, Saving};
pub use sense::{Outcome, Sense};
pub use troubles::{Trouble, Troubles};
pub use unit::LogicalUnit;

#[cfg(test)]
mod tests;
