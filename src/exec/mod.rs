//! What carries plans out on media: slices, gathers, jobs, ranges, limits, buffers, and what outlives its task.
//!
//! There is one `executor::Executor` for each core. It is synchronous: no method awaits or blocks. It names a command
//! by its seat and task, and knows no PDU, connection or session: whatever it needs of those, it asks of a
//! `sink::Outside`. What all executors share is `crate::unit::media::Media`, with a `crate::unit::Unit` for each logical
//! unit; what others tell one is a `crate::unit::notice::Notice`.
//!
//! Types stand apart from what is done with them, so that each file can be read after those that it names:
//!
//! | what | types | what is done |
//! |---|---|---|
//! | a command | `tasks/task.rs`, `tasks/transfer.rs`, `tasks/failing.rs`, `tasks/sink.rs`, `tasks/outcomes.rs` | `begin.rs`, `rw.rs`, `placing.rs`, `wind_up.rs`, `ram.rs` |
//! | a unit in memory | `tasks/memory.rs`, `unit/memory_hold.rs` | `ram.rs` |
//! | a job | `jobs/job.rs`, `waits/cell.rs`, `jobs/running.rs`, `jobs/copy_job.rs` | `spawn.rs`, `copy.rs`, `work.rs`, `job_over.rs`; what it does: `jobs/commands.rs`, `jobs/copying.rs` |
//! | an errand | `unit/errand.rs` | `unit/errandry.rs` |
//! | an operation on a medium | `tasks/operations.rs` | `executor.rs` |
//! | durability | `unit/syncs.rs`, `waits/flushes.rs`, `unit/remembering.rs` | `flush.rs`, `lost.rs`, `unit/remember.rs` |
//! | what is saved | `waits/saves.rs`, `unit/line.rs` | `save.rs` |
//! | ranges, holes | `unit/fence.rs`, `tasks/waiting.rs`, `waits/ranges.rs`, `waits/holes.rs` | `waiting.rs`, `lock.rs` |
//! | buffers | `crate::buffers`, `jobs/starved.rs`, `waits/slots.rs` | `starve.rs` |
//! | limits | `crate::rate` | `throttle.rs` |
//! | what outlives its task | `waits/strays.rs`, `waits/left.rs` | `stray.rs` |

pub(crate) mod begin;
pub(crate) mod copy;
pub(crate) mod executor;
pub(crate) mod flush;
pub(crate) mod job_over;
pub(crate) mod lock;
pub(crate) mod lost;
pub(crate) mod placing;
pub(crate) mod ram;
pub(crate) mod rw;
pub(crate) mod save;
pub(crate) mod spawn;
pub(crate) mod starve;
pub(crate) mod stray;
pub(crate) mod throttle;
pub(crate) mod waiting;
pub(crate) mod wind_up;
pub(crate) mod work;

#[cfg(test)]
mod tests;
