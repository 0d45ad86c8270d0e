//! Commands whose effect is stored before they are answered: PERSISTENT RESERVE OUT, MODE SELECT, SET IDENTIFYING INFORMATION,
//! and the beginning and the end of an erasure.
//!
//! What such a command changes is decided and put into force on its own core; the keeper stores what comes of it, and nothing else.
//! Of one unit one command at a time is on its way, in the order in which they came, whichever cores they are on ([`Line`]).
//! So the keeper has one order of each unit, and units take turns there.

use super::dispatch::slot_of;
use super::engine::Engine;
use super::exec::Kind;
use super::job::{Cell1, Job, JobCx};
use super::jobs;
use super::lost::NOBODY;
use super::mesh::{Mailbox, Message};
use super::world::Unit;
use crate::panics::Mutex;
use crate::scsi::{Decided, SaveEnd, Saving};
use crate::session::seam::TaskId;
use std::collections::VecDeque;
use std::sync::Arc;

/// A command, for all cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asker {
    core: usize,
    /// Its place there ([`Saves`]).
    ticket: usize,
}

/// Commands of one unit in the order in which they came. It is the first one's turn.
#[derive(Default)]
pub struct Line(Mutex<VecDeque<Asker>>);

impl Line {
    /// Comes last; whether that is first, too.
    fn join(&self, asker: Asker) -> bool {
        let mut line = self.0.lock();
        line.push_back(asker);
        line.len() == 1
    }

    fn is_first(&self, asker: Asker) -> bool {
        self.0.lock().front() == Some(&asker)
    }

    /// Goes, from wherever it stands: whose turn that makes it.
    fn leave(&self, asker: Asker) -> Option<Asker> {
        let mut line = self.0.lock();
        let at = line.iter().position(|&other| other == asker)?;
        line.remove(at);
        if at == 0 { line.front().copied() } else { None }
    }

    /// How many stand in it.
    #[cfg(test)]
    pub fn standing(&self) -> usize {
        self.0.lock().len()
    }
}

/// A place in the line of a unit. Dropped, it is given up, and the next one is told when that makes it first.
pub struct Standing {
    home: Arc<Unit>,
    asker: Asker,
    mailboxes: Arc<[Mailbox]>,
}

impl Standing {
    fn is_first(&self) -> bool {
        self.home.saves.is_first(self.asker)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(next) = self.home.saves.leave(self.asker)
            && let Some(mailbox) = self.mailboxes.get(next.core)
        {
            mailbox.post(Message::SaveTurn { ticket: next.ticket });
        }
    }
}

/// A command on its way.
struct Save {
    /// Its job, and where the answer goes.
    job: usize,
    cell: Cell1<SaveEnd>,
    saving: Box<Saving>,
    /// Once its turn has come.
    decided: Option<Decided>,
    standing: Standing,
}

/// Those of one core.
#[derive(Default)]
pub struct Saves {
    by_ticket: Vec<Option<Save>>,
    free: Vec<usize>,
}

impl Saves {
    /// The ticket of the next one.
    fn ticket(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.by_ticket.push(None);
            self.by_ticket.len() - 1
        })
    }

    fn of(&mut self, ticket: usize) -> Option<&mut Save> {
        self.by_ticket.get_mut(ticket)?.as_mut()
    }

    /// Whether one of a unit is on its way.
    pub fn use_unit(&self, unit: &Arc<Unit>) -> bool {
        self.by_ticket.iter().flatten().any(|save| Arc::ptr_eq(&save.standing.home, unit))
    }

    fn take(&mut self, ticket: usize) -> Option<Save> {
        let save = self.by_ticket.get_mut(ticket)?.take()?;
        self.free.push(ticket);
        Some(save)
    }
}

impl Engine {
    /// Begins a command whose effect is to be stored before it is answered. `asked`: bytes of its parameter list.
    pub fn spawn_save(&mut self, seat: usize, task: TaskId, unit: usize, saving: Box<Saving>, asked: u64) {
        let cx = JobCx::new(self.account(seat));
        let work = jobs::save(cx.clone(), self.place_of(unit), saving);
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        let exec = slot_of(&mut holder.exec, task);
        exec.begin(Kind::Job, task, unit, (0, 0, asked));
        exec.in_flight += 1;
        self.enlist(Job::new(&cx, work, (unit, seat, task.slot(), None)));
    }

    /// A job has a command saved.
    pub fn submit_save(&mut self, job: usize, unit: usize, saving: Box<Saving>, cell: Cell1<SaveEnd>) {
        let home = Arc::clone(&self.world.units[unit]);
        if let Some(ticket) = self.line_up(job, home, saving, cell) {
            self.save_turn(ticket);
        }
    }

    /// A job has a command saved, or no job has something else saved; its ticket, if it is its turn.
    pub fn line_up(&mut self, job: usize, home: Arc<Unit>, saving: Box<Saving>, cell: Cell1<SaveEnd>) -> Option<usize> {
        let ticket = self.saves.ticket();
        if let Some(Some(job)) = self.jobs.get_mut(job) {
            job.saving = Some(ticket);
        }
        let asker = Asker { core: self.core, ticket };
        let is_first = home.saves.join(asker);
        let standing = Standing { home, asker, mailboxes: Arc::clone(&self.world.mailboxes) };
        self.saves.by_ticket[ticket] = Some(Save { job, cell, saving, decided: None, standing });
        is_first.then_some(ticket)
    }

    /// It is a command's turn: what it changes is given to the keeper.
    pub fn save_turn(&mut self, ticket: usize) {
        let Some(save) = self.saves.of(ticket) else { return };
        if save.decided.is_some() || !save.standing.is_first() {
            return;
        }
        let Unit { logical, file, .. } = &*save.standing.home;
        let (decided, saved) = logical.decide(&save.saving);
        save.decided = Some(decided);
        let Some(saved) = saved else { return self.saved(ticket, true) };
        let (mailboxes, core) = (Arc::clone(&save.standing.mailboxes), self.core);
        self.world.keeper.submit(file, saved, move |is_stored| {
            if let Some(mailbox) = mailboxes.get(core) {
                mailbox.post(Message::Saved { ticket, is_stored });
            }
        });
    }

    /// What a command changes is stored, or cannot be.
    pub fn saved(&mut self, ticket: usize, is_stored: bool) {
        let Some(Save { job: number, cell, saving, decided: Some(decided), standing }) = self.saves.take(ticket) else {
            return;
        };
        let end = standing.home.logical.conclude(decided, is_stored);
        // First, so that who is answered finds the unit with nothing on its way.
        drop(saving);
        if number == NOBODY {
            let home = Arc::clone(&standing.home);
            drop(standing);
            return self.lost_saved(home, is_stored);
        }
        let Some(Some(job)) = self.jobs.get_mut(number) else { return };
        job.saving = None;
        job.in_flight -= 1;
        // What is to be aborted must not have its turn before it is: it may stand behind this one.
        job.standing = Some(standing).filter(|_| !end.aborts.is_empty());
        job.owed = Some((end.flush, end.aborts.clone()));
        cell.set(Some(end));
        self.run_soon(number);
    }

    /// Takes back what a job wants to have saved, unless it was decided: its task is aborted, and has no effect any more.
    pub fn withdraw_save(&mut self, number: usize) {
        if let Some(Some(job)) = self.jobs.get_mut(number)
            && let Some(ticket) = job.saving
            && self.saves.of(ticket).is_some_and(|save| save.decided.is_none())
        {
            job.saving = None;
            job.in_flight -= 1;
            drop(self.saves.take(ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_tells_the_next_one_and_who_only_waited_tells_nobody() {
        let line = Line::default();
        let [first, second, third, fourth] =
            [(0, 0), (1, 0), (0, 7), (2, 1)].map(|(core, ticket)| Asker { core, ticket });
        assert!(line.join(first));
        assert!([second, third, fourth].iter().all(|&asker| !line.join(asker)));
        assert_eq!(line.leave(second), None, "it was not its turn");
        assert!(line.is_first(first));
        assert_eq!(line.leave(first), Some(third));
        assert!(line.is_first(third) && !line.is_first(fourth));
        assert_eq!(line.leave(first), None, "it has gone already");
        assert_eq!(line.leave(third), Some(fourth));
        assert_eq!(line.leave(fourth), None);
        assert!(line.join(second), "nobody is there any more");
    }
}
