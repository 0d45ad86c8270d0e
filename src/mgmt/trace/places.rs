//! How many traces there may be, and what they hold.

use crate::limits::TRACES;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All traces.
pub struct Traces {
    places: Arc<Semaphore>,
    next: AtomicU64,
}

impl Default for Traces {
    fn default() -> Self {
        Traces { places: Arc::new(Semaphore::new(TRACES)), next: AtomicU64::new(1) }
    }
}

impl Traces {
    /// A place, and a number that no other trace has. `None`: all are taken.
    pub(super) fn take(&self) -> Option<(OwnedSemaphorePermit, u64)> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some((place, self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Whether a connection to the interface may last longer than others: as long as it has a trace.
#[derive(Debug, Clone, Default)]
pub(in crate::mgmt) struct Stay(Arc<AtomicBool>);

impl Stay {
    /// Whether it may.
    pub(in crate::mgmt) fn is_held(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn hold(&self, held: bool) {
        self.0.store(held, Ordering::Relaxed);
    }
}
