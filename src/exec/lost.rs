//! When lost writes are saved: a failure to make writes durable when it is counted, and who has heard of it when he
//! goes on. What is saved, and what is made of it at the next start, is in `unit/remember.rs`.

use super::executor::Executor;
use crate::model::UnitIx;
use crate::unit::Unit;
use crate::unit::notice::Notice;
use crate::waits::cell::Cell1;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Executor {
    /// A nexus that has heard of so many failures is answered GOOD: if that is news of who has yet to hear, it is
    /// saved.
    #[cold]
    pub fn save_who_has_heard(&mut self, unit: UnitIx, failures: u64) {
        let home = &self.media.units[unit];
        let is_news = home.news.load(Ordering::Relaxed) && home.news.swap(false, Ordering::Relaxed);
        if home.remembering.is_looked(is_news, self.turn.now_ms) {
            home.logical.has_settled(failures, self.turn.now_ms);
            self.save_lost(unit);
        }
    }

    /// Saves who has yet to hear, since there is news; nobody waits for that.
    #[cold]
    pub fn save_lost(&mut self, unit: UnitIx) {
        if let Some(home) = self.media.units.get(unit)
            && home.file.lasts()
            && home.remembering.want()
        {
            let home = Arc::clone(home);
            self.begin_to_remember(home);
        }
    }

    /// Puts a save of who has yet to hear into the line of its unit.
    fn begin_to_remember(&mut self, home: Arc<Unit>) {
        home.remembering.begin();
        let saving = home.logical.lost(home.syncs.failures());
        if let Some(ticket) = self.line_up(None, home, saving, Cell1::default()) {
            // Its turn comes by message: a unit that fails again and again is looked at once in a turn.
            (self.media.post)(self.core, Notice::SaveTurn { ticket });
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
