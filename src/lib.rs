//! ringsan: a user-space iSCSI target for Linux, thread-per-core.
//!
//! Layers, from the bottom: [`limits`], [`wire`] (bytes and PDUs), [`model`] (names and configuration as plain data),
//! [`shares`] (what peers can make grow is charged to them), [`ring`] (io_uring), [`backend`] (where blocks live), [`scsi`]
//! (the device server), [`state`] (what of it outlives the process), [`session`] (RFC 7143, sans-I/O), `buffers` (I/O
//! buffers of a core), `rate` (limits on commands and bytes a second), `unit` (a logical unit, as all cores share it),
//! `waits` (who waits on a core for what), `tasks` (a command, as its executor knows it), `jobs` (what slow commands
//! do, step by step), [`exec`] (carries plans out on media; knows no session), `world` (what all cores share),
//! `transport` (the connections of a core), `balance` (which session is to be moved to another core), `fabric` (what is
//! iSCSI about a core), [`shard`] (one core: its connections, sessions and executor), `driver` (its thread), [`tls`] (certificates of
//! the control plane), [`mgmt`] (the control plane), [`serve`] (the process around the cores), [`config`] (the file and the command line's options).
//!
//! Beside them: `canary` (bugs that tests switch on), [`log`] (what is said on stdout and stderr), [`events`] (what has happened lately), [`noise`] (how often peers can have something said), [`panics`]
//! (what a panic takes with it), [`atomics`] (what is lock-free between threads is built on it), `missing` (what has to be there and is not), [`random`] (the kernel's
//! randomness).
//!
//! [`initiator`] is the other end of RFC 7143, sans-I/O, for who speaks to a target: tests, load, simulation, and others.
//! [`sim`] drives the cores of [`shard`] in memory, with initiators, a network, media and a clock of its own, for tests only.

pub mod atomics;
pub mod backend;
pub(crate) mod balance;
pub(crate) mod buffers;
pub(crate) mod canary;
pub mod config;
pub(crate) mod driver;
pub mod events;
pub mod exec;
pub(crate) mod fabric;
pub mod initiator;
pub(crate) mod jobs;
pub mod limits;
pub mod log;
pub mod mgmt;
pub(crate) mod missing;
pub mod model;
pub mod noise;
pub mod panics;
pub mod random;
pub(crate) mod rate;
pub mod ring;
pub mod scsi;
pub mod serve;
pub mod session;
pub mod shard;
pub mod shares;
pub mod sim;
pub mod state;
pub(crate) mod tasks;
pub mod tls;
pub(crate) mod transport;
pub(crate) mod unit;
pub(crate) mod waits;
pub mod wire;
pub(crate) mod world;
