//! The operations on media that are under way on one core, and who waits for each.
//!
//! Invariants: the token of an operation is its place here, and is used again once the operation was taken out. It is
//! taken out when the medium has answered, and not before, whatever becomes of its owner.

use super::sink::Reread;
use crate::backend::Token;
use crate::model::{MediumFault, SeatIx, UnitIx};
use crate::waits::cell::Cell1;
use crate::waits::flushes::Sync;
use crate::waits::strays::{Claim, Stray};

/// Who waits for an operation on a medium.
pub enum Owner {
    /// A slice of a task.
    Slice {
        /// Seat of the session.
        seat: SeatIx,
        /// Task slot.
        slot: usize,
        /// Offset of the slice in the transfer, bytes: names it.
        offset: u32,
    },
    /// Data that is to be sent once more.
    Reread(Box<Reread>),
    /// A job.
    Job {
        /// Its number.
        job: usize,
        /// Where the answer goes.
        cell: Cell1<Result<(), MediumFault>>,
        /// The range that it changes or reads, if that is known to the fence.
        claim: Option<Claim>,
        /// The unit in whose file it makes a hole.
        hole: Option<UnitIx>,
    },
    /// Nobody: its task is gone.
    Stray(Stray),
    /// All who wait for a flush of this unit.
    Flush(UnitIx),
}

/// Operations in flight, by token.
#[derive(Default)]
pub struct Operations {
    /// By token.
    pub slots: Vec<Option<Operation>>,
    /// Tokens that are free.
    pub free: Vec<u32>,
}

/// An operation that is under way.
pub struct Operation {
    /// Who waits for it.
    pub owner: Owner,
    /// The unit that it is on.
    pub unit: UnitIx,
    /// When it began, milliseconds.
    pub since_ms: u64,
    /// What it has to do with durability.
    pub sync: Sync,
}

impl Operations {
    /// Notes an operation that is about to begin; its token.
    pub fn insert(&mut self, owner: Owner, unit: UnitIx, since_ms: u64, sync: Sync) -> Token {
        let operation = Some(Operation { owner, unit, since_ms, sync });
        match self.free.pop() {
            Some(n) => {
                self.slots[n as usize] = operation;
                Token(n)
            }
            None => {
                self.slots.push(operation);
                Token(self.slots.len() as u32 - 1)
            }
        }
    }

    /// Takes an operation out. `None`: there is none with this token.
    pub fn remove(&mut self, token: Token) -> Option<Operation> {
        let taken = self.slots.get_mut(token.0 as usize)?.take();
        if taken.is_some() {
            self.free.push(token.0);
        }
        taken
    }

    /// The claim of the operation that job `number` has begun with `token`; `None`: that is not under way. The inner
    /// `None`: it has no claim to a range.
    pub fn claim_of(&mut self, number: usize, token: Option<Token>) -> Option<&mut Option<Claim>> {
        match &mut self.slots.get_mut(token?.0 as usize)?.as_mut()?.owner {
            Owner::Job { job, claim, .. } if *job == number => Some(claim),
            // The token is that of another operation by now.
            _ => None,
        }
    }

    /// The unit of the operation that job `number` has begun with `token`, if that is under way.
    pub fn unit_of(&self, number: usize, token: Option<Token>) -> Option<UnitIx> {
        let operation = self.slots.get(token?.0 as usize)?.as_ref()?;
        matches!(operation.owner, Owner::Job { job, .. } if job == number).then_some(operation.unit)
    }

    /// Owner and unit of each operation under way.
    pub fn owners(&mut self) -> impl Iterator<Item = (&mut Owner, UnitIx)> {
        self.slots.iter_mut().flatten().map(|operation| (&mut operation.owner, operation.unit))
    }

    /// Unit of each operation under way, and when it began, milliseconds.
    pub fn ages(&self) -> impl Iterator<Item = (UnitIx, u64)> {
        self.slots.iter().flatten().map(|operation| (operation.unit, operation.since_ms))
    }

    /// Whether an operation is under way on a unit.
    pub fn use_unit(&self, unit: UnitIx) -> bool {
        self.slots.iter().flatten().any(|operation| operation.unit == unit)
    }

    /// How many operations are under way.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
