//! Places for those who read events: a reader keeps its connection for as long as it is let.

use crate::limits::EVENT_READERS;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for readers.
#[derive(Debug)]
pub struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Readers {
        Readers(Arc::new(Semaphore::new(EVENT_READERS)))
    }
}

impl Readers {
    /// A place, until it is dropped; `None`: all are taken.
    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}
