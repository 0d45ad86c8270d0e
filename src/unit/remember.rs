//! A unit and what hosts may have lost: remembered beyond the end of the process.
//!
//! When a unit is served no more, those who have not heard of it are saved with the unit ([`crate::scsi::Lost`]); at
//! the next start that counts as a failure, and each hears of it as of any other ([`super::syncs`]). A host that has
//! heard, and goes on, is not to hear again: the first GOOD after somebody has heard saves who has by then. Hosts that
//! are not known, and have not come when others have gone on for long (`limits::OTHERS_HEAR_MS`), are not told any
//! more.
//!
//! A process that is killed has no end. So each failure is saved when it is counted, too, beside whatever is answered.
//! Of one unit one such save is on its way at a time, for all cores (`remembering.rs`): what comes meanwhile is in the
//! next one.

use super::Unit;
use crate::model::MediumFault;
use crate::scsi::Saved;
use crate::state::Keeper;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Unit {
    /// Counts a failure if what was saved says that writes may be lost.
    pub fn recall(&self, saved: &Saved) {
        if saved.lost.is_some() {
            self.syncs.fail(MediumFault::Write);
            // The next GOOD is to look: perhaps all are here who have heard, and who is not known is to hear for so
            // long from then on.
            self.news.store(true, Ordering::Relaxed);
            let serial = &self.logical.params().serial;
            tracing::warn!(
                event = "writes-lost",
                serial,
                "what hosts wrote before it was last closed may be lost: they are told"
            );
        }
    }

    /// Counts a failure of a unit that is served no more: what was written last may be lost.
    pub fn lost_in_the_end(&self) {
        self.syncs.fail(MediumFault::Write);
    }

    /// Saves who has yet to hear of lost writes, of a unit that is not served yet. Whether that is stored. Blocking.
    pub fn remember_before(&self) -> bool {
        if !self.file.lasts() {
            return false;
        }
        let saving = self.logical.lost(self.syncs.failures());
        let mut is_stored = false;
        self.logical.save(&saving, |saved| {
            let stored = self.file.save(saved);
            is_stored = stored.is_ok();
            if let Err(error) = stored {
                let file = self.file.path().display();
                tracing::error!(
                    "{file}: it cannot be saved that hosts are to be told of what they may have lost: {error}"
                );
                // The next GOOD tries it again.
                self.news.store(true, Ordering::Relaxed);
            }
            is_stored
        });
        is_stored
    }

    /// It is served no more, and is let go of: saves who has yet to hear of lost writes. `done` is told whether that worked, on
    /// the keeper's thread if there is something to save. Does not block.
    pub fn remember(self: Arc<Unit>, keeper: &Keeper, done: impl FnOnce(bool) + Send + 'static) {
        let (file, failures) = (Arc::clone(&self.file), self.syncs.failures());
        // Saved whatever was saved before: something else may be on its way there.
        let saved = (failures > 0 && file.lasts()).then(|| Box::new(self.logical.saved_at_end(failures)));
        drop(self);
        match saved {
            Some(saved) => keeper.submit(&file, saved, done),
            None => done(true),
        }
    }
}
