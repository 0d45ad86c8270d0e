//! The other end of RFC 7143: an iSCSI initiator without sockets, clock or chance of its own. Events in, PDUs out; time and
//! random bytes are arguments. It is a library for whoever speaks to a target: tests, load, simulation, replication.
//!
//! | file | is |
//! |---|---|
//! | [`login`], [`chap`], [`params`] | from the first request of a connection to what is agreed upon |
//! | [`session`], `requests`, [`command`], [`stamp`] | what is sent: commands with their data, pings, text, task management, logout |
//! | [`answers`], [`receive`] | what comes: PDUs, from bytes in whatever pieces |
//! | `recovery` | SNACK, retries, commands that go on by another connection (ErrorRecoveryLevel 1 and 2) |
//! | [`event`] | what a driver is told, and what a target did wrong |
//! | [`outbox`] | the way out: PDUs for a driver, their bytes, and the hook of tests that want a bad initiator |
//! | [`numbers`] | the command window of a session, the statuses of a connection |
//! | [`tcp`] | the driver over TCP, with sockets that block |
//!
//! A driver plays a [`login::Login`], makes a [`session::Session`] of what it comes to, and gives that an
//! [`outbox::Outbox`] for what is sent and an [`event::Sink`] for what comes. Payload stays with the driver: what a command
//! writes is a [`outbox::DataRef`], what it reads is handed on where it lies. A command in steady state allocates nothing.
//!
//! What a target can make grow is bounded in [`limits`](crate::limits): text, exchanges, answers, statuses and data that came
//! out of order. A target that breaks a rule is told by a [`event::Fault`]; how a connection or session is given up, and
//! whether another one takes its place, is the driver's.
//!
//! What is not here: SCSI (a CDB is bytes, and so is sense data, but for its three codes), iSNS, markers, and R-Data SNACK,
//! for MaxRecvDataSegmentLength does not change within a session of this initiator.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod answers;
pub mod chap;
pub mod command;
pub mod event;
pub mod login;
pub mod numbers;
pub mod outbox;
pub mod params;
pub mod receive;
mod recovery;
mod requests;
mod runs;
pub mod session;
pub mod stamp;
mod task;
pub mod tcp;

#[cfg(test)]
mod tests;
