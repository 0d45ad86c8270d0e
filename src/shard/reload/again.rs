//! A configuration is tried, and again as long as a part of it waits for a file that was served otherwise.

use super::Reloader;
use crate::model::Snapshot;
use std::time::{Duration, Instant};

/// How long a file is waited for that is still open as another logical unit.
const PATIENCE: Duration = Duration::from_secs(10);

/// How soon the rest of a configuration is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// A configuration of which a part waits for a file.
pub(super) struct Again {
    pub(super) wanted: Snapshot,
    /// The LUNs of that part, in words. None: nothing of all of it is served yet.
    pub(super) waiting: Vec<String>,
    /// Not before.
    pub(super) next: Instant,
    /// How long a file is waited for that is in use, or what has failed is tried.
    pub(super) until: Instant,
    /// Files have not been closed by then, and the log says so.
    pub(super) is_late: bool,
    /// Why it was not served when it was tried last.
    pub(super) failed: Option<String>,
}

impl Again {
    pub(super) fn new(wanted: Snapshot) -> Again {
        let now = Instant::now();
        Again { wanted, waiting: Vec::new(), next: now, until: now + PATIENCE, is_late: false, failed: None }
    }

    fn is_first(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Reloader {
    /// Serves a configuration, or what is left of it, as far as that can be had now.
    pub(super) fn attempt(&mut self, again: Again) {
        let patient = !again.is_first() && Instant::now() < again.until;
        match self.plan(again.wanted.clone(), patient) {
            Ok(plan) => {
                let is_same = plan.done.is_empty();
                let done = if is_same { "nothing is different".to_owned() } else { plan.done.join("; ") };
                let is_said = again.is_first() || !is_same;
                if is_said {
                    for line in &plan.kept {
                        tracing::warn!("{line}");
                    }
                }
                if !plan.waiting.is_empty() {
                    if again.is_late {
                        let what = plan.waiting.join(", ");
                        tracing::error!(
                            "{what}: not served yet: its file, or one at its place, is still open as it was"
                        );
                    }
                    let next = if again.is_first() { again.next } else { Instant::now() + RETRY };
                    self.again = Some(Again { waiting: plan.waiting.clone(), next, ..again });
                }
                self.apply(plan);
                // Who waits for this line finds what it says.
                if is_said {
                    tracing::info!("configuration read again: {done}");
                }
            }
            Err(error) if again.is_first() => {
                tracing::error!("configuration read again, and everything stays as it was: {error}");
            }
            Err(error) => self.failed_again(again, &error.to_string()),
        }
    }

    /// What waited for a file cannot be served; what is served stays as it is. Perhaps it can in a moment.
    pub(super) fn failed_again(&mut self, again: Again, error: &str) {
        let (now, what) = (Instant::now(), again.waiting.join(", "));
        let until = if again.failed.is_none() { again.until.max(now + PATIENCE) } else { again.until };
        if now >= until {
            tracing::error!("{what}: waited for a file, and is not served: {error} (SIGHUP tries it again)");
            return;
        }
        if again.failed.as_deref() != Some(error) {
            tracing::error!("{what}: waited for a file, and cannot be served yet: {error}");
        }
        self.again = Some(Again { next: now + RETRY, until, failed: Some(error.to_owned()), ..again });
    }
}
