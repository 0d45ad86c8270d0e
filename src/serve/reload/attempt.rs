//! A configuration is tried, and again as long as a part of it waits for a file that was served otherwise.

use super::Reloader;
use super::again::{Again, PATIENCE, RETRY};
use crate::mgmt::{Served, view};
use std::time::Instant;

impl Reloader {
    /// Serves a configuration, or what is left of it, as far as that can be had now.
    ///
    /// # Errors
    /// What is in the way: everything stays as it was.
    pub(super) fn attempt(&mut self, again: Again) -> Served {
        let patient = !again.is_first() && Instant::now() < again.until;
        match self.plan(again.wanted.clone(), patient) {
            Ok(plan) => {
                let (done, kept, waiting) = (plan.done.clone(), plan.kept.clone(), plan.waiting.clone());
                let applied = view::Applied { done, kept, waiting, ..view::Applied::default() };
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
                // The line comes last: who waits for it finds what it says.
                if is_said {
                    tracing::info!("configuration read again: {done}");
                }
                Ok(applied)
            }
            Err(error) if again.is_first() => {
                tracing::error!("configuration read again, and everything stays as it was: {error}");
                Err(vec![error.to_string()])
            }
            Err(error) => {
                self.failed_again(again, &error.to_string());
                Err(vec![error.to_string()])
            }
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
