//! What makes writes durable, for all cores together: flushes of one medium take turns, and a failure is everybody's.
//!
//! The kernel tells of what it could not write back once per open file, to whichever flush or durable write asks next;
//! a device that fails to flush has perhaps lost what any host has written. Whose command met the failure says nothing
//! about whose data is gone. So failures are counted here ([`Syncs::failures`]), and each nexus compares the count with
//! what it has heard of (`scsi::LuNexus::hear`) before a flush or a durable write of its own is answered GOOD.
//!
//! That is right only if nobody is answered while the report that concerns him is on its way through another core:
//! - One flush is under way at a time ([`Syncs::begin`], [`Syncs::end`]). Who comes meanwhile waits for one that begins
//!   later; all who wait are content with the same one.
//! - A flush ends only when every durable write that began before its own completion has been counted, too
//!   ([`Syncs::durable`], [`Syncs::drain`]): one of those may have been told what the flush then was not.
//! - Durable writes do not wait for each other. They go to the medium directly, and what the kernel tells them of their
//!   own bytes is told to nobody else; through a page cache that is not so, and there a flush stands behind the write
//!   instead.
//!
//! `tests/models.rs` runs this very file under loom.

use crate::atomics::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};
use crate::model::MediumFault;
use std::sync::PoisonError;

/// Durable writes under way on one core, by epoch: on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Writes([AtomicU32; 2]);

/// The epoch that a durable write is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Epoch(u8);

/// What makes the writes of one unit durable: whose turn it is to flush, and what has failed.
pub struct Syncs {
    /// Counts failures, of flushes and of durable writes.
    failures: AtomicU64,
    /// What the last failure was, and how many the log has been told of.
    last: Mutex<(Option<MediumFault>, u64)>,
    /// Flushes that have begun.
    begun: AtomicU64,
    /// Flushes that have ended: `begun`, or one less.
    ended: AtomicU64,
    /// Moves on with every flush; its lowest bit chooses the counter of durable writes.
    epoch: AtomicU32,
    /// Durable writes under way, by core.
    writes: Box<[Writes]>,
    /// Cores that want to be told when a flush of another one ends.
    waiting: Box<[AtomicBool]>,
}

impl Syncs {
    /// For `cores` cores.
    pub fn new(cores: usize) -> Syncs {
        Syncs {
            failures: AtomicU64::new(0),
            last: Mutex::new((None, 0)),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            epoch: AtomicU32::new(0),
            writes: (0..cores).map(|_| Writes::default()).collect(),
            waiting: (0..cores).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// Failures so far.
    #[inline]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::SeqCst)
    }

    /// What the last failure was.
    pub fn last_failure(&self) -> MediumFault {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).0.unwrap_or(MediumFault::Write)
    }

    /// Counts the failure of a flush or a durable write, whoever asked for it: before anybody is told that it is over.
    pub fn fail(&self, fault: MediumFault) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(fault);
        self.failures.fetch_add(1, Ordering::SeqCst);
    }

    /// Failures that the log has not been told of; from now on it has.
    pub fn untold(&self) -> u64 {
        let failures = self.failures();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        failures.saturating_sub(std::mem::replace(&mut last.1, failures))
    }

    /// A durable write is about to begin on `core`.
    #[inline]
    pub fn durable(&self, core: usize) -> Epoch {
        loop {
            let epoch = self.epoch.load(Ordering::SeqCst) & 1;
            let writes = &self.writes[core].0[epoch as usize];
            writes.fetch_add(1, Ordering::SeqCst);
            // Either the flush that has moved the epoch on meanwhile sees this write, or this write sees that it has.
            if self.epoch.load(Ordering::SeqCst) & 1 == epoch {
                return Epoch(epoch as u8);
            }
            writes.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A durable write is over. If it failed, that is counted already.
    #[inline]
    pub fn durable_over(&self, core: usize, epoch: Epoch) {
        self.writes[core].0[usize::from(epoch.0)].fetch_sub(1, Ordering::SeqCst);
    }

    /// Flushes that have begun: what was written before this is asked is durable when a later one has ended.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Whether a flush has ended that began after so many others.
    pub fn has_ended(&self, after: u64) -> bool {
        self.ended.load(Ordering::SeqCst) > after
    }

    /// Takes the turn to flush. False: a flush is under way.
    pub fn begin(&self) -> bool {
        let ended = self.ended.load(Ordering::SeqCst);
        self.begun.compare_exchange(ended, ended + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The medium has answered the flush. The epoch whose durable writes are to be over before the flush ends.
    pub fn drain(&self) -> Epoch {
        Epoch((self.epoch.fetch_add(1, Ordering::SeqCst) & 1) as u8)
    }

    /// Whether all durable writes of an epoch are over.
    pub fn is_drained(&self, epoch: Epoch) -> bool {
        self.writes.iter().all(|writes| writes.0[usize::from(epoch.0)].load(Ordering::SeqCst) == 0)
    }

    /// Ends the flush, and gives the turn back. The cores to be told. If the flush failed, that is counted already.
    pub fn end(&self) -> impl Iterator<Item = usize> {
        self.ended.store(self.begun(), Ordering::SeqCst);
        let waiting = self.waiting.iter().enumerate();
        waiting.filter(|(_, waits)| waits.swap(false, Ordering::SeqCst)).map(|(core, _)| core)
    }

    /// Has a core told when the flush that is under way ends; to be asked again afterwards whether it has.
    pub fn tell(&self, core: usize) {
        self.waiting[core].store(true, Ordering::SeqCst);
    }
}
