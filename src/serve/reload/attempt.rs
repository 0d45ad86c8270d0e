//! A configuration is served, or as much of it as can be; and what is not is tried again.

use super::again::Retry;
use super::plan::Mode;
use super::{Plan, Reloader};
use crate::config::diff::Step;
use crate::mgmt::{Served, view};
use crate::model::{Snapshot, TargetSpec};
use crate::serve::error::ServeError;
use crate::world::missing::{Missing, MissingLun};
use std::mem;

/// Says what is different, in events of their own: the log has all of it in one line.
fn say(steps: &[Step]) {
    for step in steps {
        tracing::debug!(event = step.event(), "{step}");
    }
}

fn in_words(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

impl Reloader {
    /// Serves the file that has been read again. Blocking, but for no file system that does not answer; says in the log what
    /// came of it.
    ///
    /// # Errors
    /// What is in the way: everything stays as it was.
    pub fn serve_instead(&mut self, wanted: Snapshot) -> Served {
        let mode = if wanted.degrades { Mode::File } else { Mode::Whole };
        self.attempt(wanted, mode)
    }

    /// The same of a change that somebody waits for: what is different has to be served. What was not served before, and is not
    /// changed, does not matter to it.
    ///
    /// # Errors
    /// As [`Reloader::serve_instead`].
    pub fn serve_changed(&mut self, wanted: Snapshot) -> Served {
        self.attempt(wanted, Mode::Change)
    }

    /// As [`Reloader::serve_instead`], whatever comes of it.
    #[cfg(test)]
    pub fn reload(&mut self, wanted: Snapshot) {
        let _ = self.serve_instead(wanted);
    }

    /// Serves as much of the first configuration as can be, before there are cores.
    ///
    /// # Errors
    /// The state directory does not answer.
    pub fn serve_first(&mut self, wanted: Snapshot) -> Result<(), ServeError> {
        let mut plan = self.plan(wanted, Mode::File)?;
        for line in &plan.kept {
            tracing::warn!("{line}");
        }
        let is_nothing = plan.made.fresh.is_empty();
        self.note_missing(&mut plan, true);
        if is_nothing && !self.world.missing.lock().luns.is_empty() {
            tracing::error!("no logical unit can be served yet");
        }
        self.apply(plan);
        self.retry = Retry::new();
        Ok(())
    }

    fn attempt(&mut self, wanted: Snapshot, mode: Mode) -> Served {
        match self.plan(wanted, mode) {
            Ok(plan) => Ok(self.begin(plan)),
            Err(error) => {
                tracing::error!(
                    event = "config-refused",
                    "configuration read again, and everything stays as it was: {error}"
                );
                Err(vec![error.to_string()])
            }
        }
    }

    /// Serves what was planned.
    fn begin(&mut self, mut plan: Plan) -> view::Applied {
        let (waiting, degraded): (Vec<_>, Vec<_>) = plan.missing.iter().partition(|missing| missing.waits);
        let applied = view::Applied {
            done: in_words(&plan.done),
            kept: plan.kept.clone(),
            waiting: waiting.into_iter().map(MissingLun::what).collect(),
            degraded: { degraded.into_iter() }
                .map(|missing| format!("{}: {}", missing.what(), missing.why))
                .chain(plan.missing_portals.iter().filter(|portal| !portal.waits).map(|portal| portal.why.clone()))
                .collect(),
            ..view::Applied::default()
        };
        for line in &plan.kept {
            tracing::warn!(event = "needs-restart", "{line}");
        }
        let steps = mem::take(&mut plan.done);
        self.note_missing(&mut plan, true);
        let soon = plan.missing_portals.iter().any(|portal| portal.waits);
        self.apply(plan);
        self.retry = Retry::new();
        if soon {
            self.retry.hurry();
        }
        say(&steps);
        let done = if applied.done.is_empty() { "nothing is different".to_owned() } else { applied.done.join("; ") };
        // The line comes last: who waits for it finds what it says.
        tracing::info!(event = "config-applied", "configuration read again: {done}");
        applied
    }

    /// Tries what is not served. What is served is not touched.
    pub(super) fn try_again(&mut self) {
        let mut plan = match self.plan(self.all(), Mode::Again) {
            Ok(plan) => plan,
            Err(error) => {
                tracing::debug!("what is not served was not tried again: {error}");
                return self.retry.tried(false, 0);
            }
        };
        let (waits, untried) = (plan.missing.iter().any(|missing| missing.waits), plan.untried);
        self.note_missing(&mut plan, false);
        self.retry.tried(waits, untried);
        if plan.made.fresh.is_empty() && !plan.portals.comes() {
            return;
        }
        let steps = mem::take(&mut plan.done);
        self.apply(plan);
        say(&steps);
        let done = in_words(&steps).join("; ");
        tracing::info!(event = "config-applied", "configuration read again: {done}");
    }

    /// What is served, and what is not.
    pub(super) fn all(&self) -> Snapshot {
        let served = self.world.directory.snapshot();
        let is_there = |at: usize| self.world.targets.get(at).is_some_and(|target| !target.removed);
        let missing = self.world.missing.lock();
        let whole = |spec: &TargetSpec| {
            let mut spec = spec.clone();
            spec.luns.extend(missing.luns.iter().filter(|of| of.target == spec.name).map(|of| of.lun.clone()));
            spec
        };
        let targets = served.targets.iter().enumerate().filter(|(at, _)| is_there(*at)).map(|(_, spec)| whole(spec));
        let portals = served.portals.iter().chain(missing.portals.iter().map(|of| &of.portal));
        Snapshot { targets: targets.collect(), portals: portals.cloned().collect(), ..Snapshot::clone(served) }
    }

    /// Keeps what is not served. What is new of that goes into the log, and all of it where somebody has asked (`is_asked`).
    fn note_missing(&self, plan: &mut Plan, is_asked: bool) {
        let (luns, portals) = (mem::take(&mut plan.missing), plan.missing_portals.clone());
        let now = Missing { luns: luns.clone(), portals: portals.clone() };
        let before = mem::replace(&mut *self.world.missing.lock(), now);
        for lun in luns.iter().filter(|lun| !lun.waits) {
            let is_same = |old: &MissingLun| (&old.target, &old.lun, &old.why) == (&lun.target, &lun.lun, &lun.why);
            if is_asked || !before.luns.iter().any(is_same) {
                let (what, why) = (lun.what(), &lun.why);
                tracing::error!(
                    event = "lun-degraded",
                    "{what} is not served, and is tried again until it can be: {why}"
                );
            }
        }
        for portal in portals.iter().filter(|portal| !portal.waits) {
            if is_asked || !before.portals.contains(portal) {
                tracing::error!(event = "portal-degraded", "{}; that is tried again until it can be", portal.why);
            }
        }
    }
}
