//! The other end of RFC 7143: an iSCSI initiator without sockets, clock or chance of its own. Events in, PDUs out; time and
//! random bytes are arguments.
//!
//! | file | is |
//! |---|---|
//! | [`login`], [`chap`], [`params`] | from the first request of a connection to what is agreed upon |
//! | [`numbers`] | the command window of a session, the statuses of a connection |
//! | [`outbox`] | the way out: PDUs for a driver, their bytes, and the hook of tests that want a bad initiator |
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod chap;
pub mod login;
pub mod numbers;
pub mod outbox;
pub mod params;
