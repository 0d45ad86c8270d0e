//! Where blocks live. Knows bytes and offsets, not SCSI or iSCSI.
//!
//! A [`Medium`] is opened once for the process and gives each core a [`Handle`]. Operations are started on a handle;
//! memory answers at once, files push entries on the core's ring (through [`Queue`]) and answer when their completion is
//! handed back with [`Handle::complete`].
//!
//! Contract, proven for every kind by `conformance.rs`:
//! - offsets and lengths are multiples of the logical block length and inside the medium: the caller (the device server)
//!   has checked them; a backend asserts it all the same and answers `MediumFault::Internal` rather than touch other bytes;
//! - a write is visible to every later read of any handle once it has completed; it is durable once it completed with
//!   `durable`, or once a flush that was started after it completed has completed;
//! - a completed discard reads as zeroes; so does a completed zeroing;
//! - short transfers are continued inside; interrupted ones (EINTR, EAGAIN) retried;
//! - buffers belong to the caller, who keeps them alive until the operation's completion was handed back.

pub mod queue;

pub use queue::{Buffer, Op, Queue, Started, Token};
