//! A configuration of which a part waits for a file that was served otherwise.

use crate::model::Snapshot;
use std::time::{Duration, Instant};

/// How long a file is waited for that is still open as another logical unit.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How soon the rest of a configuration is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(250);

/// A configuration of which a part waits for a file.
pub(super) struct Again {
    pub(super) wanted: Snapshot,
    /// The LUNs of that part, in words. Empty: nothing of the configuration is served yet.
    pub(super) waiting: Vec<String>,
    /// It is not tried again before.
    pub(super) next: Instant,
    /// Until then a file that is in use is waited for, and what has failed is tried again.
    pub(super) until: Instant,
    /// Files have not been closed by then, and the log says so.
    pub(super) is_late: bool,
    /// Why that part was not served when it was tried last.
    pub(super) failed: Option<String>,
}

impl Again {
    pub(super) fn new(wanted: Snapshot) -> Again {
        let now = Instant::now();
        Again { wanted, waiting: Vec::new(), next: now, until: now + PATIENCE, is_late: false, failed: None }
    }

    pub(super) fn is_first(&self) -> bool {
        self.waiting.is_empty()
    }
}
