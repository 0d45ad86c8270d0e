//! Jobs: commands that take several steps on media (WRITE SAME, UNMAP, VERIFY, COMPARE AND WRITE, copies, ...), as async
//! functions.
//!
//! `commands.rs` and `copying.rs` are what they do, `job.rs` is what they ask by (`JobCx`) and what they ask for (`Request`).
//! `running.rs` are the jobs of a core and in which order they have their turns, `starved.rs` who waits there for buffers.
//!
//! Invariants: a job does nothing itself but look at its buffers and ask its device server: every operation, buffer, pause
//! and range is a request, which whoever polls it carries out at its own pace and may never carry out. So a job can be
//! dropped at every step at which nothing of it is with a medium. Nothing here knows an executor, or who it is that polls.

pub(crate) mod commands;
pub(crate) mod copy_job;
pub(crate) mod copying;
pub(crate) mod job;
pub(crate) mod running;
pub(crate) mod starved;
