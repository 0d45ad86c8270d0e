//! A command as its executor knows it, between its planning and its answer; and what the executor asks of those who have it
//! carried out.
//!
//! `task.rs` is the state of one: its slices and buffers, how far its bytes are (`transfer.rs`), what it waits for (`waiting.rs`),
//! where it spends its time (`spent.rs`), and what has gone wrong with it (`failing.rs`). `operations.rs` says to whom what is on a medium belongs, and `memory.rs` what is under way of units in memory, where nothing is on a
//! medium for long. `sink.rs` is the way out: data, answers, and the questions that the executor has; `outcomes.rs` are the
//! answers that are not the device server's, `counters.rs` and `tally.rs` what is counted on the way, with `stage_times.rs`.
//!
//! Invariants: a command is its seat and its task, and nothing here knows a PDU, a connection or a session. Nothing here
//! begins an operation or calls anybody: a task says what is next, and its executor does it. What is under way is owned
//! until it is over, whatever becomes of its task: by that, by a job, or as a stray.

pub(crate) mod counters;
pub(crate) mod failing;
pub(crate) mod memory;
pub(crate) mod operations;
pub(crate) mod outcomes;
pub(crate) mod sink;
pub(crate) mod spent;
pub(crate) mod stage_times;
pub(crate) mod tally;
pub(crate) mod task;
pub(crate) mod transfer;
pub(crate) mod waiting;
