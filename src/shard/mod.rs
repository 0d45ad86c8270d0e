//! The cores. Each is a `core::Core`, which its thread drives (`driver`). It is two things and what is acted on between them:
//! the `crate::fabric` (sessions, connections, and what is sent), and the [`crate::exec`] that carries their commands
//! out. The executor knows the fabric as a sink only (`fabric/to_initiators.rs`). What all cores share is the
//! `crate::world::World`; what they tell each other goes by the `crate::fabric::mesh::Mesh`.
//!
//! Invariants: a connection, its session and all its tasks live on one core, to which the whole session moves at login,
//! or later when its core has too much to do (`relocate.rs`); nothing on the way of a command takes a lock or
//! allocates; other cores are told rare facts by message (`fabric/mesh.rs`), and shared registries are locked at login and for
//! those only.

mod adoption;
mod change;
mod core;
mod dispatch;
mod entry;
mod halves;
mod inquiry;
mod insight;
mod leave;
mod loan;
mod owing;
mod receive;
mod relocate;
mod resend;
mod seating;
mod sending;
mod shedding;
mod tick;
mod tm;
mod turns;
mod unsent;

pub(crate) use self::core::Core;

#[cfg(test)]
mod tests;
