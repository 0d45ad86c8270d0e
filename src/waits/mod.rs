//! Who waits on one core for what, in which order; and what is left there of who waits no more.
//!
//! Everybody is named by a number: a task by its seat and slot, a job by its own. Nothing here does anything to them, or asks
//! a medium: it says whose turn it is, and whoever asks acts on that.
//!
//! | for what | where |
//! |---|---|
//! | the answer to what a job has asked | `cell.rs` |
//! | a flush of a unit | `flushes.rs` |
//! | a range, or a turn to make a hole | `ranges.rs`, `holes.rs` |
//! | being saved | `saves.rs`, with the line of each unit in `unit/line.rs` |
//! | anything, as a task: in order, each slot once | `slots.rs` |
//! | the end of aborted tasks | `left.rs`; functions of task management: `management.rs`, and on other cores `elsewhere.rs` |
//! | the end of an operation that has outlived its task | `strays.rs` |
//!
//! Invariants: nobody waits twice for the same. Who is gone leaves at most a place behind, which is passed over, and which
//! whoever comes next at that number does not take for its own: a queue stays in proportion to those who may stand in it.

pub(crate) mod cell;
pub(crate) mod elsewhere;
pub(crate) mod flushes;
pub(crate) mod holes;
pub(crate) mod left;
pub(crate) mod management;
pub(crate) mod ranges;
pub(crate) mod saves;
pub(crate) mod slots;
pub(crate) mod strays;
