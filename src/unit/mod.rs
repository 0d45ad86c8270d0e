//! A logical unit of the process, as the cores share it.
//!
//! What is here of a unit is all cores': ranges that a command has for itself (`fence.rs`), what makes writes durable
//! (`syncs.rs`), commands that are to be saved (`line.rs`), calls that jobs make beside the cores (`errand.rs`,
//! `errandry.rs`), and who has yet to hear of lost writes (`remembering.rs`, `remember.rs`). All units of one configuration,
//! with what else the executors of all cores share, are `media.rs`; what a core is told about one from elsewhere is
//! `notice.rs`. A core's own part of a unit is in `exec`.
//!
//! Invariants: a unit keeps its number for as long as anybody may use it; its place may be another unit's afterwards.
//! What changes in it is behind a lock of its own or is atomic.

pub(crate) mod end;
pub(crate) mod errand;
pub(crate) mod errandry;
pub(crate) mod fence;
pub(crate) mod line;
pub(crate) mod media;
pub(crate) mod memory_hold;
pub(crate) mod notice;
pub(crate) mod remember;
pub(crate) mod remembering;
pub(crate) mod syncs;

use crate::backend::Medium;
use crate::model::Backing;
use crate::scsi::{LogicalUnit, LuParams};
use crate::state::UnitFile;
use errand::Errands;
use fence::Fence;
use line::Line;
use remembering::Remembering;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use syncs::Syncs;

/// A logical unit of the process.
pub struct Unit {
    /// Where its blocks live.
    pub medium: Arc<Medium>,
    /// Its device server.
    pub logical: Arc<LogicalUnit>,
    /// What of it outlives the process.
    pub file: Arc<UnitFile>,
    /// Logical block length, bytes.
    pub block_bytes: u32,
    /// Ranges that a command has for itself. What is queued of a unit that is gone is still counted here.
    pub fence: Arc<Fence>,
    /// What makes its writes durable.
    pub syncs: Syncs,
    /// Somebody has heard of failures, and what is saved does not say so.
    pub news: AtomicBool,
    /// Whether that is being saved.
    pub remembering: Remembering,
    /// Commands that are to be saved before they are answered.
    pub saves: Line,
    /// What its jobs have asked for beside the cores.
    pub errands: Errands,
    /// Completed writes may be lost unless they are made durable.
    pub volatile: bool,
    /// A write can be made durable by itself; else a flush behind it does so.
    pub direct: bool,
    /// Cores that have a handle of it.
    held: Box<[AtomicBool]>,
    /// Cores that find the medium not answering.
    pub hung: AtomicU32,
    /// Commands that take longer than so many nanoseconds are said in the log; `u64::MAX`: none.
    pub slow_ns: AtomicU64,
    /// The log has been told that its file was cut short.
    cut: AtomicBool,
    /// The log has been told that the page cache keeps what is to be verified.
    cached: AtomicBool,
    /// A core has ended while the medium still owed it answers.
    pub unfinished: AtomicBool,
}

impl Unit {
    /// A unit over a medium, that `cores` cores are to use. `state`: where what is saved of it is, and what that is
    /// recorded to be of.
    pub fn new(
        medium: Arc<Medium>,
        params: LuParams,
        (state, backing): (&Path, Option<&Backing>),
        cores: usize,
    ) -> Unit {
        let facts = medium.properties();
        Unit {
            medium,
            block_bytes: params.block_bytes,
            file: Arc::new(UnitFile::new(state, &params, backing)),
            logical: Arc::new(LogicalUnit::new(params)),
            fence: Arc::new(Fence::new(cores)),
            syncs: Syncs::new(cores),
            news: AtomicBool::new(false),
            remembering: Remembering::default(),
            saves: Line::default(),
            errands: Errands::default(),
            volatile: facts.volatile_cache,
            direct: facts.direct,
            held: (0..cores).map(|_| AtomicBool::new(true)).collect(),
            hung: AtomicU32::new(0),
            slow_ns: AtomicU64::new(u64::MAX),
            cut: AtomicBool::new(false),
            cached: AtomicBool::new(false),
            unfinished: AtomicBool::new(false),
        }
    }

    /// A core has no handle of this unit any more, and will never have.
    pub fn let_go(&self, core: usize) {
        if let Some(held) = self.held.get(core) {
            held.store(false, Ordering::Release);
        }
    }

    /// Whether `core` has a handle of this unit.
    pub fn is_held_by(&self, core: usize) -> bool {
        self.held.get(core).is_some_and(|held| held.load(Ordering::Acquire))
    }

    /// Whether any core has a handle of it.
    pub fn is_held(&self) -> bool {
        (0..self.held.len()).any(|core| self.is_held_by(core))
    }

    /// Says in the log, once, that what is to be read from the medium stays in the page cache, or may do so.
    pub fn keeps_cached(&self) {
        if !self.cached.swap(true, Ordering::Relaxed) {
            let serial = &self.logical.params().serial;
            tracing::warn!(
                serial,
                "without direct I/O, a VERIFY of this logical unit may read what is cached instead of its medium: the kernel keeps \
                 pages that others have mapped, all of a file system that lives in memory, or (before Linux 6.5) does not say"
            );
        }
    }

    /// Looks whether its file is whole, and how much room there is for a thin unit. Blocking.
    pub fn measure(&self) {
        if !self.medium.look() && !self.cut.swap(true, Ordering::Relaxed) {
            let serial = &self.logical.params().serial;
            tracing::error!(
                event = "medium-fault",
                serial,
                "the file of a logical unit was cut short under it: nothing more is written to it"
            );
        }
        if self.logical.params().thin {
            self.logical.note_space(self.medium.space().ok().flatten());
        }
    }
}

#[cfg(test)]
mod tests;
