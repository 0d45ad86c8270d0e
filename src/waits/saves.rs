//! Commands whose effect is stored before they are answered: PERSISTENT RESERVE OUT, MODE SELECT, SET IDENTIFYING
//! INFORMATION, and the beginning and the end of an erasure.
//!
//! What such a command changes is decided and put into force on its own core; the keeper stores what comes of it, and
//! nothing else. Of one unit one command at a time is with the keeper, in the order in which they came, whichever cores
//! they are on (`unit/line.rs`). So the keeper has one order of each unit, and units take turns there.
//!
//! What waits in lines is bounded ([`Admitted`]), in number and in bytes: a parameter list is copied for as long as it
//! waits, and who preempts somebody waits for all that came before.

use super::cell::Cell1;
use crate::limits::SAVING_BYTES_PER_CORE;
use crate::scsi::{Decided, SaveEnd, Saving};
use crate::shares::{Held, Stores, Whose};
use crate::unit::Unit;
use crate::unit::notice::{Notice, Post};
use std::sync::Arc;

/// A place in the line of a unit. Dropped, it is given up, and the next one is told when that makes it first.
pub struct Standing {
    /// The unit.
    pub home: Arc<Unit>,
    /// The place in its line.
    pub place: u64,
    /// Tells the one whose turn it is then.
    pub post: Post,
}

impl Standing {
    /// Whether it is its turn.
    pub fn is_first(&self) -> bool {
        self.home.saves.is_first(self.place)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(next) = self.home.saves.leave(self.place) {
            (self.post)(next.core, Notice::SaveTurn { ticket: next.ticket });
        }
    }
}

/// Counts what a command takes until it is over: for its session, its address and its host. Dropped, it is given back.
pub struct Admitted {
    /// The unit.
    pub home: Arc<Unit>,
    /// For whom it is counted at the unit.
    pub whose: Whose,
    /// The memory that is charged for it.
    pub _held: Held,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.home.saves.let_out(self.whose);
    }
}

/// A command that is to be saved, on its way.
pub struct Save {
    /// Its job; `None`: nobody waits for it.
    pub job: Option<usize>,
    /// Where the job finds what has come of it.
    pub cell: Cell1<SaveEnd>,
    /// What is to be changed.
    pub saving: Box<Saving>,
    /// Set once its turn has come.
    pub decided: Option<Decided>,
    /// Its place in the line.
    pub standing: Standing,
}

/// The commands of one core that are to be saved, by ticket.
pub struct Saves {
    /// By ticket.
    pub by_ticket: Vec<Option<Save>>,
    /// Tickets that are free.
    pub free: Vec<usize>,
    /// The memory that they take.
    pub kept: Stores,
}

impl Default for Saves {
    fn default() -> Saves {
        Saves { by_ticket: Vec::new(), free: Vec::new(), kept: Stores::new(SAVING_BYTES_PER_CORE) }
    }
}

impl Saves {
    /// A ticket for another command.
    pub fn ticket(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.by_ticket.push(None);
            self.by_ticket.len() - 1
        })
    }

    /// The command with a ticket, if it is still on its way.
    pub fn of(&mut self, ticket: usize) -> Option<&mut Save> {
        self.by_ticket.get_mut(ticket)?.as_mut()
    }

    /// Whether a command of a unit is on its way.
    pub fn use_unit(&self, unit: &Arc<Unit>) -> bool {
        self.by_ticket.iter().flatten().any(|save| Arc::ptr_eq(&save.standing.home, unit))
    }

    /// Takes a command out; its ticket is free then.
    pub fn take(&mut self, ticket: usize) -> Option<Save> {
        let save = self.by_ticket.get_mut(ticket)?.take()?;
        self.free.push(ticket);
        Some(save)
    }
}
