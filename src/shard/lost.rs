//! That writes may be lost is not forgotten when the process ends.
//!
//! Who has not heard of it when a unit is served no more is saved with the unit ([`crate::scsi::Lost`]); at the next start that
//! counts as a failure, and each hears of it as of any other ([`super::syncs`]). A host that has heard, and goes on, is not to
//! hear again: the first GOOD after somebody has heard saves who has by then.

use super::engine::Engine;
use super::job::Cell1;
use super::world::Unit;
use crate::model::MediumFault;
use crate::scsi::Saved;
use crate::state::Keeper;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The job of what no job has asked for.
const NOBODY: usize = usize::MAX;

impl Unit {
    /// What was saved says that writes may be lost: that is a failure.
    pub(super) fn recall(&self, saved: &Saved) {
        if saved.lost.is_some() {
            self.syncs.fail(MediumFault::Write);
            let serial = &self.logical.params().serial;
            tracing::warn!(serial, "what hosts wrote before it was last closed may be lost: they are told");
        }
    }

    /// It is served no more, and what was written last may be lost. What hosts wrote that were here before the process was is
    /// not known.
    pub(super) fn lost_in_the_end(&self) {
        self.syncs.fail(MediumFault::Write);
        self.logical.nobody_has_heard();
    }

    /// It is served no more, and is let go of: saves who has yet to hear of lost writes. `done` is told whether that worked, on
    /// the keeper's thread if there is something to save. Does not block.
    pub(super) fn remember(self: Arc<Unit>, keeper: &Keeper, done: impl FnOnce(bool) + Send + 'static) {
        let (file, failures) = (Arc::clone(&self.file), self.syncs.failures());
        // Whatever it says already: something else may be on its way there.
        let saved = (failures > 0 && file.lasts()).then(|| Box::new(self.logical.saved_at_end(failures)));
        drop(self);
        match saved {
            Some(saved) => keeper.submit(&file, saved, done),
            None => done(true),
        }
    }
}

impl Engine {
    /// A nexus that has heard of so many failures is answered GOOD: what is saved is to say who has heard, if that has changed.
    #[cold]
    pub fn save_who_has_heard(&mut self, unit: usize, failures: u64) {
        let home = &self.world.units[unit];
        if home.news.load(Ordering::Relaxed) && home.news.swap(false, Ordering::Relaxed) && home.file.lasts() {
            let saving = home.logical.settled(failures);
            self.submit_save(NOBODY, unit, saving, Cell1::default());
        }
    }
}
