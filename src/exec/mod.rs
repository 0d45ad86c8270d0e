//! What carries plans out on media: slices, gathers, jobs, ranges, limits, buffers, and what outlives its task.
//!
//! There is one `executor::Executor` for each core. It is synchronous: no method awaits or blocks. It names a command
//! by its seat and task, and knows no PDU, connection or session: whatever it needs of those, it asks of a
//! `sink::Sink`. What all executors share is `media::Media`, with a `crate::unit::Unit` for each logical unit; what others
//! tell one is a `notice::Notice`.
//!
//! Types stand apart from what is done with them, so that each file can be read after those that it names:
//!
//! | what | types | what is done |
//! |---|---|---|
//! | a command | `task.rs`, `sink.rs`, `outcomes.rs` | `begin.rs`, `rw.rs`, `placing.rs`, `wind_up.rs`, `ram.rs` |
//! | a unit in memory | `memory.rs`, `unit/memory_hold.rs` | `ram.rs` |
//! | a job | `job.rs`, `cell.rs`, `running.rs`, `copy_job.rs` | `spawn.rs`, `work.rs`, `job_over.rs`; what it does: `jobs.rs`, `copy.rs` |
//! | an errand | `unit/errand.rs` | `unit/errandry.rs` |
//! | an operation on a medium | `operations.rs` | `executor.rs` |
//! | durability | `unit/syncs.rs`, `flushes.rs`, `unit/remembering.rs` | `flush.rs`, `lost.rs`, `unit/remember.rs` |
//! | what is saved | `saves.rs`, `unit/line.rs` | `save.rs` |
//! | ranges, holes | `unit/fence.rs`, `ranges.rs`, `holes.rs` | `waiting.rs`, `lock.rs` |
//! | buffers | `crate::buffers`, `starved.rs`, `slots.rs` | `starve.rs` |
//! | limits | `crate::rate` | `throttle.rs` |
//! | what outlives its task | `strays.rs`, `left.rs` | `stray.rs` |

pub(crate) mod begin;
pub(crate) mod cell;
pub(crate) mod copy;
pub(crate) mod copy_job;
pub(crate) mod executor;
pub(crate) mod flush;
pub(crate) mod flushes;
pub(crate) mod holes;
pub(crate) mod job;
pub(crate) mod job_over;
pub(crate) mod jobs;
pub(crate) mod left;
pub(crate) mod lock;
pub(crate) mod lost;
pub(crate) mod media;
pub(crate) mod memory;
pub(crate) mod notice;
pub(crate) mod operations;
pub(crate) mod outcomes;
pub(crate) mod placing;
pub(crate) mod ram;
pub(crate) mod ranges;
pub(crate) mod running;
pub(crate) mod rw;
pub(crate) mod save;
pub(crate) mod saves;
pub(crate) mod sink;
pub(crate) mod slots;
pub(crate) mod spawn;
pub(crate) mod starve;
pub(crate) mod starved;
pub(crate) mod stray;
pub(crate) mod strays;
pub(crate) mod task;
pub(crate) mod throttle;
pub(crate) mod waiting;
pub(crate) mod wind_up;
pub(crate) mod work;

#[cfg(test)]
mod tests;
