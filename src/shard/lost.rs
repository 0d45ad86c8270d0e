//! Remembers beyond the end of the process that writes may be lost.
//!
//! When a unit is served no more, those who have not heard of it are saved with the unit ([`crate::scsi::Lost`]); at
//! the next start that counts as a failure, and each hears of it as of any other ([`super::syncs`]). A host that has
//! heard, and goes on, is not to hear again: the first GOOD after somebody has heard saves who has by then. Hosts that
//! are not known, and have not come when others have gone on for long ([`OTHERS_HEAR_MS`]), are not told any more.
//!
//! A process that is killed has no end. So each failure is saved when it is counted, too, beside whatever is answered.
//! Of one unit one such save is on its way at a time, for all cores ([`Remembering`]): what comes meanwhile is in the
//! next one.

use super::executor::Executor;
use super::job::Cell1;
use super::mesh::Message;
use super::world::Unit;
use crate::limits::OTHERS_HEAR_MS;
use crate::model::MediumFault;
use crate::scsi::{LuNexus, Saved};
use crate::session::Session;
use crate::state::Keeper;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Stands for the number of a job, for what no job has asked for.
pub(super) const NOBODY: usize = usize::MAX;

/// Whether it is being saved who has yet to hear of lost writes, for all cores.
#[derive(Default)]
pub struct Remembering {
    saving: AtomicU8,
    /// When a GOOD is to look whether others are still to hear, milliseconds; zero: never.
    look_ms: AtomicU64,
}

const IDLE: u8 = 0;
const ON_ITS_WAY: u8 = 1;
/// A save is on its way, and another one is to follow: there is news.
const AGAIN: u8 = 2;

impl Remembering {
    /// Notes that there is news. True: the caller is to begin with a save.
    fn want(&self) -> bool {
        self.saving.swap(AGAIN, Ordering::SeqCst) == IDLE
    }

    /// Somebody goes on, which is news or not. Whether it is to be looked who has settled.
    fn is_looked(&self, is_news: bool, now_ms: u64) -> bool {
        let look_ms = self.look_ms.load(Ordering::Relaxed);
        if is_news {
            self.look_ms.store(now_ms.saturating_add(OTHERS_HEAR_MS), Ordering::Relaxed);
        }
        is_news || look_ms > 0 && now_ms >= look_ms && self.look_ms.swap(0, Ordering::Relaxed) == look_ms
    }

    /// A save begins: to be called before it is looked what there is to save.
    fn begin(&self) {
        self.saving.store(ON_ITS_WAY, Ordering::SeqCst);
    }

    /// A save is over, whether it worked or not. True: there was news meanwhile, and the caller is to begin again.
    fn is_wanted_again(&self) -> bool {
        self.saving.compare_exchange(ON_ITS_WAY, IDLE, Ordering::SeqCst, Ordering::SeqCst).is_err()
    }
}

impl Unit {
    /// Counts a failure if what was saved says that writes may be lost.
    pub(super) fn recall(&self, saved: &Saved) {
        if saved.lost.is_some() {
            self.syncs.fail(MediumFault::Write);
            // The next GOOD is to look: perhaps all are here who have heard, and who is not known is to hear for so
            // long from then on.
            self.news.store(true, Ordering::Relaxed);
            let serial = &self.logical.params().serial;
            tracing::warn!(serial, "what hosts wrote before it was last closed may be lost: they are told");
        }
    }

    /// A nexus of a session is gone. What it was told of lost writes may have arrived since: that is saved with the next GOOD.
    pub(super) fn nexus_leaves(&self, nexus: &LuNexus, session: &Session) {
        if nexus.leave(|status| session.has_arrived(status)) {
            self.news.store(true, Ordering::Relaxed);
        }
        self.logical.nexus_lost(nexus.id());
    }

    /// Counts a failure of a unit that is served no more: what was written last may be lost.
    pub(super) fn lost_in_the_end(&self) {
        self.syncs.fail(MediumFault::Write);
    }

    /// Saves who has yet to hear of lost writes, of a unit that is not served yet. Whether that is stored. Blocking.
    pub(super) fn remember_before(&self) -> bool {
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
    pub(super) fn remember(self: Arc<Unit>, keeper: &Keeper, done: impl FnOnce(bool) + Send + 'static) {
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

impl Executor {
    /// A nexus that has heard of so many failures is answered GOOD: if that is news of who has yet to hear, it is
    /// saved.
    #[cold]
    pub fn save_who_has_heard(&mut self, unit: usize, failures: u64) {
        let home = &self.world.units[unit];
        let is_news = home.news.load(Ordering::Relaxed) && home.news.swap(false, Ordering::Relaxed);
        if home.remembering.is_looked(is_news, self.now_ms) {
            home.logical.has_settled(failures, self.now_ms);
            self.save_lost(unit);
        }
    }

    /// Saves who has yet to hear, since there is news; nobody waits for that.
    #[cold]
    pub fn save_lost(&mut self, unit: usize) {
        if let Some(home) = self.world.units.get(unit)
            && home.file.lasts()
            && home.remembering.want()
        {
            let home = Arc::clone(home);
            self.begin_to_remember(home);
        }
    }

    fn begin_to_remember(&mut self, home: Arc<Unit>) {
        home.remembering.begin();
        let saving = home.logical.lost(home.syncs.failures());
        if let Some(ticket) = self.line_up(NOBODY, home, saving, Cell1::default()) {
            // Its turn comes by message: a unit that fails again and again is looked at once in a turn.
            self.world.post(self.core, Message::SaveTurn { ticket });
        }
    }

    /// A save of who has yet to hear is over. If it failed, the next GOOD tries again, or the next failure.
    pub fn lost_saved(&mut self, home: Arc<Unit>, is_stored: bool) {
        if !is_stored {
            home.news.store(true, Ordering::Relaxed);
        }
        if home.remembering.is_wanted_again() {
            self.begin_to_remember(home);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_known_is_looked_after_once_when_others_have_gone_on_for_long() {
        let remembering = Remembering::default();
        let looks = [(false, 1), (true, 2), (false, 3), (true, 4), (false, 2 + OTHERS_HEAR_MS)];
        assert_eq!(looks.map(|(is_news, ms)| remembering.is_looked(is_news, ms)), [false, true, false, true, false]);
        assert_eq!([0, 1].map(|more| remembering.is_looked(false, 4 + OTHERS_HEAR_MS + more)), [true, false]);
    }
}
