//! Account of the copy operations of one logical unit (SPC-4 clause 5.17.4).
//!
//! An [`Operation`] is named by its I_T nexus and list identifier. Whoever works on it holds it too and writes its
//! progress into atomics, so no lock is taken for a slice. An operation that is over is held until its end was told,
//! the nexus uses the identifier again or is lost, the logical unit is reset, or its place is needed. There are at most
//! `limits::COPY_OPERATIONS`. A nexus may have as many under way as are still free then. If all places are taken, the
//! nexus with the most operations that are over loses its oldest one of these.

use super::copy_request::TOKEN_BYTES;
use super::params::NexusId;
use super::sense::{Outcome, Sense, asc};
use crate::limits;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Good,
    Failed(Outcome),
    /// Whoever worked on it has given it up before its end, as when the task was aborted.
    Terminated,
}

/// One copy operation.
#[derive(Debug)]
pub(super) struct Operation {
    /// The service action that began it.
    pub(super) action: u8,
    pub(super) immediate: bool,
    /// Logical block length of the transfer count, bytes.
    pub(super) block_bytes: u32,
    pub(super) cancelled: AtomicBool,
    pub(super) segments: AtomicU16,
    pub(super) bytes: AtomicU64,
    pub(super) token: OnceLock<Box<[u8; TOKEN_BYTES]>>,
    pub(super) end: OnceLock<End>,
}

impl Operation {
    pub(super) fn new(action: u8, immediate: bool, block_bytes: u32) -> Operation {
        Operation {
            action,
            immediate,
            block_bytes: block_bytes.max(1),
            cancelled: AtomicBool::new(false),
            segments: AtomicU16::new(0),
            bytes: AtomicU64::new(0),
            token: OnceLock::new(),
            end: OnceLock::new(),
        }
    }

    /// Whether somebody wants it to stop.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn segments_done(&self, segments: u16) {
        self.segments.store(segments, Ordering::Relaxed);
    }

    /// Notes the token that it made.
    pub(super) fn made(&self, token: &[u8; TOKEN_BYTES]) {
        let _ = self.token.set(Box::new(*token));
    }

    /// Ends it with `outcome`; if it has ended before, the first end counts.
    pub(super) fn finish(&self, outcome: Outcome) {
        let _ = self.end.set(if outcome == Outcome::GOOD { End::Good } else { End::Failed(outcome) });
    }

    /// Ends it as given up, unless it is over.
    pub(super) fn give_up(&self) {
        let _ = self.end.set(End::Terminated);
    }

    pub(super) fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    pub(super) fn sense(&self) -> Option<Sense> {
        match self.end.get() {
            Some(End::Failed(outcome)) => outcome.sense,
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Entry {
    nexus: NexusId,
    /// Its list identifier; `None`: nobody can ask for it.
    id: Option<u32>,
    operation: Arc<Operation>,
}

/// The copy operations of a logical unit.
#[derive(Debug, Default)]
pub(super) struct Operations {
    entries: Mutex<Vec<Entry>>,
    /// Operations that another logical unit was asked for, and that read or write this one.
    guests: Mutex<Vec<(NexusId, Weak<Operation>)>>,
}

impl Operations {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new operation on. Fails with OPERATION IN PROGRESS if the nexus has one of that name under way, with BUSY
    /// if there is no room for it, or none for this nexus.
    pub(super) fn begin(
        &self,
        nexus: NexusId,
        id: Option<u32>,
        operation: Operation,
    ) -> Result<Arc<Operation>, Outcome> {
        let mut entries = self.entries();
        entries.retain(|entry| entry.id.is_some() || !entry.operation.is_over());
        if let Some(at) = entries.iter().position(|entry| id.is_some() && (entry.nexus, entry.id) == (nexus, id)) {
            if !entries[at].operation.is_over() {
                return Err(Outcome::illegal(asc::OPERATION_IN_PROGRESS));
            }
            entries.remove(at);
        }
        let under_way = |entry: &&Entry| !entry.operation.is_over();
        let free = limits::COPY_OPERATIONS.saturating_sub(entries.iter().filter(under_way).count());
        if entries.iter().filter(under_way).filter(|entry| entry.nexus == nexus).count() >= free {
            return Err(Outcome::BUSY);
        }
        if entries.len() >= limits::COPY_OPERATIONS {
            let over = |of: NexusId| entries.iter().filter(|e| e.nexus == of && e.operation.is_over()).count();
            let most = entries.iter().map(|entry| over(entry.nexus)).max().unwrap_or(0);
            // The first one is the oldest of that nexus: entries are in the order in which they began.
            let oldest = |entry: &Entry| entry.operation.is_over() && over(entry.nexus) == most;
            let oldest = entries.iter().position(oldest).ok_or(Outcome::BUSY)?;
            entries.remove(oldest);
        }
        let operation = Arc::new(operation);
        entries.push(Entry { nexus, id, operation: Arc::clone(&operation) });
        Ok(operation)
    }

    fn guests(&self) -> MutexGuard<'_, Vec<(NexusId, Weak<Operation>)>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an operation of another logical unit that reads or writes this one: it ends when its nexus is lost
    /// here.
    pub(super) fn watch(&self, nexus: NexusId, operation: &Arc<Operation>) {
        let mut guests = self.guests();
        guests.retain(|(_, guest)| guest.upgrade().is_some_and(|operation| !operation.is_over()));
        guests.push((nexus, Arc::downgrade(operation)));
    }

    pub(super) fn find(&self, nexus: NexusId, id: u32) -> Option<Arc<Operation>> {
        let entries = self.entries();
        let entry = entries.iter().find(|entry| (entry.nexus, entry.id) == (nexus, Some(id)))?;
        Some(Arc::clone(&entry.operation))
    }

    pub(super) fn forget(&self, nexus: NexusId, id: u32) {
        self.entries().retain(|entry| (entry.nexus, entry.id) != (nexus, Some(id)));
    }

    /// The nexus is gone: nobody can ask for its operations, and those in the background end.
    pub(super) fn nexus_lost(&self, nexus: NexusId) {
        self.entries().retain(|entry| {
            if entry.nexus == nexus {
                entry.operation.cancelled.store(true, Ordering::Relaxed);
            }
            entry.nexus != nexus
        });
        self.guests().retain(|(of, guest)| {
            if *of == nexus
                && let Some(operation) = guest.upgrade()
            {
                operation.cancelled.store(true, Ordering::Relaxed);
            }
            *of != nexus
        });
    }

    /// Ends every operation that the logical unit was asked for, or that reads or writes it: what is on it is to be no
    /// more.
    pub(super) fn end_all(&self) {
        let cancel = |operation: &Operation| operation.cancelled.store(true, Ordering::Relaxed);
        self.entries().iter().for_each(|entry| cancel(&entry.operation));
        self.guests().iter().filter_map(|(_, guest)| guest.upgrade()).for_each(|operation| cancel(&operation));
    }

    /// LOGICAL UNIT RESET: every operation that this logical unit was asked for ends.
    pub(super) fn reset(&self) {
        for entry in self.entries().drain(..) {
            entry.operation.cancelled.store(true, Ordering::Relaxed);
        }
    }
}
