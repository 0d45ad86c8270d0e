//! The measuring side of ringsan: what the two programs of this crate share.
//!
//! - `loadgen` drives a target (or the floor) from one thread on one core and reports I/O per second, latency and what
//!   the server's threads cost: [`engine`] is its loop over [`session`]s, generic over a [`protocol::Protocol`]; [`iscsi`] and
//!   [`floor::FloorClient`] are the two protocols. [`workload`] decides what the next I/O is, [`pattern`] what the
//!   blocks hold and whether a read is right.
//! - `floor` moves the same bytes without a protocol: [`floor`] is its wire format, [`floor_server`] its loop.
//! - [`tx`] queues what is to be sent, [`stats`] and [`proc`] measure, [`report`] prints, [`sys`] holds the system
//!   calls that the standard library does not wrap (and all `unsafe` of this crate).
//!
//! Invariants: nothing is allocated per I/O once the queues have grown to their depth; the clock is read once per
//! receive, not per I/O; floor and target are driven by the same loop, so that the client's part of the batching is
//! the same for both.
pub mod engine;
pub mod floor;
pub mod floor_server;
pub mod iscsi;
pub mod options;
pub mod pattern;
pub mod proc;
pub mod protocol;
pub mod report;
pub mod session;
pub mod stats;
pub mod sys;
pub mod tx;
pub mod workload;
