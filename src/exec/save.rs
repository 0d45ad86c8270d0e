//! How commands that are to be saved come to their turn, and what becomes of them. What they are, and what bounds them,
//! is in `waits/saves.rs`.
//!
//! Invariants: what a command changes is decided when its turn has come, so what came before it is in force by then.
//! Once it is decided it takes effect, even if its task is aborted: what it owes then is done for nobody (`Job::owed`).

use super::executor::Executor;
use crate::jobs::job::{ForTask, Job, JobCx};
use crate::missing::missing;
use crate::model::{SeatIx, TaskKey, UnitIx};
use crate::scsi::{Outcome, SaveEnd, Saving};
use crate::tasks::sink::{Moved, Outside};
use crate::unit::Unit;
use crate::unit::line::Asker;
use crate::unit::notice::Notice;
use crate::waits::cell::Cell1;
use crate::waits::saves::{Admitted, Save, Standing};
use std::sync::Arc;

impl Executor {
    /// Begins a command whose effect is to be stored before it is answered. `asked`: bytes of its parameter list.
    pub fn spawn_save(&mut self, who: TaskKey, unit: UnitIx, saving: Box<Saving>, asked: u64, out: &mut impl Outside) {
        let Some(admitted) = self.admit_save(who.seat, unit, &saving) else {
            let due = self.clear(who, out);
            return out.complete(due, Outcome::BUSY, Moved::Out(asked));
        };
        let cx = JobCx::new(self.account(who.seat));
        let work = crate::jobs::commands::save(cx.clone(), self.place_of(unit), saving, admitted);
        self.become_job(who, unit, asked);
        self.enlist(Job::new(&cx, work, (unit, Some(ForTask::whole(who)))));
    }

    /// Counts a command that is to be saved. `None`: there is too much of its kind already.
    fn admit_save(&mut self, seat: SeatIx, unit: UnitIx, saving: &Saving) -> Option<Admitted> {
        let (whose, host) = self.clients.get(seat.at())?.whose?;
        let (home, store) = (Arc::clone(&self.media.units[unit]), self.waits.saves.kept.of(host));
        if store.is_crowded() || !home.saves.let_in(whose) {
            return None;
        }
        let bytes = size_of::<Job>() + size_of::<Save>() + saving.bytes();
        Some(Admitted { home, whose, _held: store.hold(bytes) })
    }

    /// Has a command saved, for a job.
    pub fn submit_save(&mut self, job: usize, unit: UnitIx, saving: Box<Saving>, cell: Cell1<SaveEnd>) {
        let home = Arc::clone(&self.media.units[unit]);
        if let Some(ticket) = self.line_up(Some(job), home, saving, cell) {
            self.save_turn(ticket);
        }
    }

    /// Puts what is to be saved into its unit's line: for a job, or for nobody. Its ticket, if it is its turn at
    /// once.
    pub fn line_up(
        &mut self,
        job: Option<usize>,
        home: Arc<Unit>,
        saving: Box<Saving>,
        cell: Cell1<SaveEnd>,
    ) -> Option<usize> {
        let ticket = self.waits.saves.ticket();
        if let Some(Some(job)) = job.and_then(|job| self.running.jobs.get_mut(job)) {
            job.save.ticket = Some(ticket);
        }
        let (place, is_first) = home.saves.join(Asker { core: self.core, ticket });
        let standing = Standing { home, place, post: Arc::clone(&self.media.post) };
        self.waits.saves.by_ticket[ticket] = Some(Save { job, cell, saving, decided: None, standing });
        is_first.then_some(ticket)
    }

    /// It is a command's turn: what it changes is decided, and given to the keeper.
    pub fn save_turn(&mut self, ticket: usize) {
        // It may be withdrawn by now, and the ticket another one's.
        let Some(save) = self.waits.saves.of(ticket) else { return };
        if save.decided.is_some() || !save.standing.is_first() {
            return;
        }
        let Unit { logical, file, .. } = &*save.standing.home;
        let (decided, saved) = logical.decide(&save.saving);
        save.decided = Some(decided);
        let Some(saved) = saved else { return self.saved(ticket, true) };
        let (post, core) = (Arc::clone(&save.standing.post), self.core);
        self.media.keeper.submit(file, saved, move |is_stored| {
            post(core, Notice::Saved { ticket, is_stored });
        });
    }

    /// What a command changes is stored, or cannot be.
    pub fn saved(&mut self, ticket: usize, is_stored: bool) {
        let Some(Save { job: number, cell, saving, decided: Some(decided), standing }) = self.waits.saves.take(ticket)
        else {
            return missing("what is saved");
        };
        let end = standing.home.logical.conclude(decided, is_stored);
        // `saving` goes first, so that who is answered finds the unit with nothing on its way.
        drop(saving);
        let Some(number) = number else {
            let home = Arc::clone(&standing.home);
            drop(standing);
            return self.lost_saved(home, is_stored);
        };
        let Some(Some(job)) = self.running.jobs.get_mut(number) else { return missing("a job") };
        job.save.ticket = None;
        job.medium.in_flight -= 1;
        // The place in the line is kept: a command that is to be aborted may stand behind this one, and must not have
        // its turn before.
        job.save.standing = Some(standing).filter(|_| !end.aborts.is_empty());
        job.save.owed = Some((end.flush, end.aborts.clone()));
        cell.set(Some(end));
        self.run_soon(number);
    }

    /// Takes back what a job wants to have saved, unless it was decided: its task is aborted, and has no effect any more.
    pub fn withdraw_save(&mut self, number: usize) {
        if let Some(Some(job)) = self.running.jobs.get_mut(number)
            && let Some(ticket) = job.save.ticket
            && self.waits.saves.of(ticket).is_some_and(|save| save.decided.is_none())
        {
            job.save.ticket = None;
            job.medium.in_flight -= 1;
            drop(self.waits.saves.take(ticket));
        }
    }
}
