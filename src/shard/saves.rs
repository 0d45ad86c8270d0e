//! Commands whose effect is stored before they are answered: PERSISTENT RESERVE OUT, MODE SELECT, SET IDENTIFYING INFORMATION,
//! and the beginning and the end of an erasure.
//!
//! What such a command changes is decided and put into force on its own core; the keeper stores what comes of it, and nothing else.
//! Of one unit one command at a time is with the keeper, in the order in which they came, whichever cores they are on ([`Line`]).
//! So the keeper has one order of each unit, and units take turns there.
//!
//! What waits in lines is bounded ([`Admitted`]), in number and in bytes: a parameter list is copied for as long as it
//! waits, and who preempts somebody waits for all that came before.

use super::exec::Kind;
use super::executor::Executor;
use super::job::{Cell1, Job, JobCx};
use super::jobs;
use super::lost::NOBODY;
use super::mesh::{Mailbox, Message};
use super::sink::Moved;
use super::sink::Sink;
use super::world::Unit;
use crate::limits::{SAVES_PER_ADDRESS, SAVES_PER_HOST, SAVES_PER_SESSION, SAVING_BYTES_PER_CORE};
use crate::model::TaskId;
use crate::panics::Mutex;
use crate::scsi::{Decided, Outcome, SaveEnd, Saving};
use crate::shares::Held;
use crate::shares::Stores;
use crate::shares::{Counts, Whose};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A command that is to be saved, as all cores know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asker {
    core: usize,
    /// Its ticket there ([`Saves`]).
    ticket: usize,
}

/// Commands of one unit in the order in which they came. It is the first one's turn.
#[derive(Default)]
pub struct Line(Mutex<Standers>);

struct Standers {
    /// By place in the line.
    askers: BTreeMap<u64, Asker>,
    next: u64,
    /// How many commands were let in and are not over, whether they stand in the line yet or not.
    let_in: Counts,
}

impl Default for Standers {
    fn default() -> Standers {
        let let_in = Counts::new([SAVES_PER_SESSION, SAVES_PER_ADDRESS, SAVES_PER_HOST]);
        Standers { askers: BTreeMap::new(), next: 0, let_in }
    }
}

impl Line {
    /// Puts `asker` last. Its place, and whether that is the first one, too.
    fn join(&self, asker: Asker) -> (u64, bool) {
        let mut line = self.0.lock();
        let place = line.next;
        line.next += 1;
        line.askers.insert(place, asker);
        (place, line.askers.len() == 1)
    }

    fn is_first(&self, place: u64) -> bool {
        self.0.lock().askers.first_key_value().is_some_and(|(first, _)| *first == place)
    }

    /// Takes a command out, wherever it stands. The one whose turn it is because of that.
    fn leave(&self, place: u64) -> Option<Asker> {
        let mut line = self.0.lock();
        line.askers.remove(&place)?;
        line.askers.first_key_value().filter(|(first, _)| **first > place).map(|(_, asker)| *asker)
    }

    /// Counts one more command. False: there are too many.
    fn let_in(&self, whose: Whose) -> bool {
        let mut line = self.0.lock();
        let is_let_in = !line.let_in.is_full(whose);
        if is_let_in {
            line.let_in.add(whose);
        }
        is_let_in
    }

    fn let_out(&self, whose: Whose) {
        self.0.lock().let_in.remove(whose);
    }

    /// How many stand in it.
    #[cfg(test)]
    pub fn standing(&self) -> usize {
        self.0.lock().askers.len()
    }
}

/// A place in the line of a unit. Dropped, it is given up, and the next one is told when that makes it first.
pub struct Standing {
    home: Arc<Unit>,
    place: u64,
    mailboxes: Arc<[Mailbox]>,
}

impl Standing {
    fn is_first(&self) -> bool {
        self.home.saves.is_first(self.place)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(next) = self.home.saves.leave(self.place)
            && let Some(mailbox) = self.mailboxes.get(next.core)
        {
            mailbox.post(Message::SaveTurn { ticket: next.ticket });
        }
    }
}

/// Counts what a command takes until it is over: for its session, its address and its host. Dropped, it is given back.
pub struct Admitted {
    home: Arc<Unit>,
    whose: Whose,
    _held: Held,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.home.saves.let_out(self.whose);
    }
}

/// A command that is to be saved, on its way.
struct Save {
    /// Its job, and where the answer goes.
    job: usize,
    cell: Cell1<SaveEnd>,
    saving: Box<Saving>,
    /// Set once its turn has come.
    decided: Option<Decided>,
    standing: Standing,
}

/// The commands of one core that are to be saved, by ticket.
pub struct Saves {
    by_ticket: Vec<Option<Save>>,
    free: Vec<usize>,
    /// The memory that they take.
    kept: Stores,
}

impl Default for Saves {
    fn default() -> Saves {
        Saves { by_ticket: Vec::new(), free: Vec::new(), kept: Stores::new(SAVING_BYTES_PER_CORE) }
    }
}

impl Saves {
    /// A ticket for another command.
    fn ticket(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.by_ticket.push(None);
            self.by_ticket.len() - 1
        })
    }

    fn of(&mut self, ticket: usize) -> Option<&mut Save> {
        self.by_ticket.get_mut(ticket)?.as_mut()
    }

    /// Whether a command of a unit is on its way.
    pub fn use_unit(&self, unit: &Arc<Unit>) -> bool {
        self.by_ticket.iter().flatten().any(|save| Arc::ptr_eq(&save.standing.home, unit))
    }

    fn take(&mut self, ticket: usize) -> Option<Save> {
        let save = self.by_ticket.get_mut(ticket)?.take()?;
        self.free.push(ticket);
        Some(save)
    }
}

impl Executor {
    /// Begins a command whose effect is to be stored before it is answered. `asked`: bytes of its parameter list.
    pub fn spawn_save(
        &mut self,
        seat: usize,
        task: TaskId,
        unit: usize,
        saving: Box<Saving>,
        asked: u64,
        sink: &mut impl Sink,
    ) {
        let Some(admitted) = self.admit_save(seat, unit, &saving) else {
            self.clear(seat, task.slot(), sink);
            return sink.complete((seat, task), Outcome::BUSY, Moved::Out(asked));
        };
        let cx = JobCx::new(self.account(seat));
        let work = jobs::save(cx.clone(), self.place_of(unit), saving, admitted);
        let Some(exec) = self.slot_of(seat, task) else { return };
        exec.begin(Kind::Job, task, unit, (0, 0, asked));
        exec.in_flight += 1;
        self.enlist(Job::new(&cx, work, (unit, seat, task.slot(), None)));
    }

    /// Counts a command that is to be saved. `None`: there is too much of its kind already.
    fn admit_save(&mut self, seat: usize, unit: usize, saving: &Saving) -> Option<Admitted> {
        let (whose, host) = self.clients.get(seat)?.whose?;
        let (home, store) = (Arc::clone(&self.world.units[unit]), self.saves.kept.of(host));
        if store.is_crowded() || !home.saves.let_in(whose) {
            return None;
        }
        let bytes = size_of::<Job>() + size_of::<Save>() + saving.bytes();
        Some(Admitted { home, whose, _held: store.hold(bytes) })
    }

    /// Has a command saved, for a job.
    pub fn submit_save(&mut self, job: usize, unit: usize, saving: Box<Saving>, cell: Cell1<SaveEnd>) {
        let home = Arc::clone(&self.world.units[unit]);
        if let Some(ticket) = self.line_up(job, home, saving, cell) {
            self.save_turn(ticket);
        }
    }

    /// Puts what is to be saved into its unit's line: for a job, or for `NOBODY`. Its ticket, if it is its turn at
    /// once.
    pub fn line_up(&mut self, job: usize, home: Arc<Unit>, saving: Box<Saving>, cell: Cell1<SaveEnd>) -> Option<usize> {
        let ticket = self.saves.ticket();
        if let Some(Some(job)) = self.jobs.get_mut(job) {
            job.saving = Some(ticket);
        }
        let (place, is_first) = home.saves.join(Asker { core: self.core, ticket });
        let standing = Standing { home, place, mailboxes: Arc::clone(&self.world.mailboxes) };
        self.saves.by_ticket[ticket] = Some(Save { job, cell, saving, decided: None, standing });
        is_first.then_some(ticket)
    }

    /// It is a command's turn: what it changes is decided, and given to the keeper.
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
        // `saving` goes first, so that who is answered finds the unit with nothing on its way.
        drop(saving);
        if number == NOBODY {
            let home = Arc::clone(&standing.home);
            drop(standing);
            return self.lost_saved(home, is_stored);
        }
        let Some(Some(job)) = self.jobs.get_mut(number) else { return };
        job.saving = None;
        job.in_flight -= 1;
        // The place in the line is kept: a command that is to be aborted may stand behind this one, and must not have
        // its turn before.
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
    use crate::model::host::tests::at;

    #[test]
    fn who_goes_tells_the_next_one_and_who_only_waited_tells_nobody() {
        let line = Line::default();
        let askers = [(0, 0), (1, 0), (0, 7), (2, 1)].map(|(core, ticket)| Asker { core, ticket });
        let [(first, true), (second, false), (third, false), (fourth, false)] = askers.map(|asker| line.join(asker))
        else {
            panic!("it is the first one's turn");
        };
        assert_eq!(line.leave(second), None, "it was not its turn");
        assert!(line.is_first(first));
        assert_eq!(line.leave(first), Some(askers[2]));
        assert!(line.is_first(third) && !line.is_first(fourth));
        assert_eq!(line.leave(first), None, "it has gone already");
        assert_eq!(line.leave(third), Some(askers[3]));
        assert_eq!(line.leave(fourth), None);
        assert!(line.join(askers[1]).1, "nobody is there any more");
    }

    #[test]
    fn neither_a_session_nor_an_address_nor_a_host_has_the_whole_line() {
        let line = Line::default();
        let whose = |session, address| Whose::of(session, at(address));
        let fill = |session, address| (0..1000).take_while(|_| line.let_in(whose(session, address))).count();
        let [one, same, third, other] = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"];
        let sessions = (SAVES_PER_ADDRESS / SAVES_PER_SESSION) as u64;
        assert!((0..sessions).all(|session| fill(session, one) == SAVES_PER_SESSION));
        assert_eq!(fill(100, one), 0, "another session of an address that has its part");
        let more: usize = (200..250).map(|session| fill(session, same)).sum();
        assert_eq!((more, fill(300, third)), (SAVES_PER_HOST - SAVES_PER_ADDRESS, 0));
        assert_eq!(fill(400, other), SAVES_PER_SESSION, "another host");
        line.let_out(whose(0, one));
        assert_eq!((fill(300, third), fill(0, one)), (1, 0));
        // Nobody is remembered who has nothing here.
        let line = Line::default();
        let all = (0..1000).take_while(|_| line.let_in(whose(400, other))).count();
        (0..all).for_each(|_| line.let_out(whose(400, other)));
        assert!(line.0.lock().let_in.is_empty());
    }
}
