//! The executor: what carries out plans on media, one for each core. Here are what it has, operations on media from
//! their start to their owner, and what it is told.
//!
//! Its other methods are grouped by concern, as the table in the head of `exec/mod.rs` says. None of them awaits or
//! blocks. Those that may end a command, send data or go to a medium are given the [`Outside`] by whoever calls them.
//!
//! Invariants: an operation that is under way has one owner, who is told once. A seat is used again only when nothing
//! is under way for it any more. The time is that of the turn: it is set ([`Turn`]) before anything is done in
//! it.

use crate::backend::{Handle, Op, Started, Token, WayIn};
use crate::buffers::{Account, Arena, Buf};
use crate::jobs::running::Running;
use crate::jobs::starved::Starved;
use crate::missing::missing;
use crate::model::{Host, MediumFault, PerUnit, SeatIx, UnitIx};
use crate::noise::Noise;
use crate::rate::Shaper;
use crate::rate::flows::{Flows, regated};
use crate::shares::Whose;
use crate::tasks::counters::Counters;
use crate::tasks::memory::Memory;
use crate::tasks::operations::{Operation, Operations, Owner};
use crate::tasks::sink::{Outside, SetOff};
use crate::tasks::tally::Tally;
use crate::tasks::task::Exec;
use crate::unit::media::Media;
use crate::unit::notice::Notice;
use crate::waits::flushes::{Flushes, Sync};
use crate::waits::left::Leftovers;
use crate::waits::ranges::Ranges;
use crate::waits::saves::Saves;
use crate::waits::strays::Strays;
use std::sync::Arc;

/// What the executor knows of those at one seat.
#[derive(Default)]
pub struct Client {
    /// Its tasks, by slot.
    pub tasks: Vec<Exec>,
    /// Whom its I/O buffers are charged to.
    pub account: Account,
    /// Where its limited commands wait; empty: nothing is limited.
    pub flows: Flows,
    /// Whom what is to be saved is counted for.
    pub whose: Option<(Whose, Host)>,
}

/// What threads of media answer a core.
pub struct Answers {
    /// Where they do.
    pub way_in: WayIn,
    /// Memory for what they have answered.
    drained: Vec<(Token, i32)>,
}

/// Who waits on one core for what.
#[derive(Default)]
pub struct Waits {
    /// For I/O buffers.
    pub starved: Starved,
    /// For ranges.
    pub ranges: Ranges,
    /// For flushes; and those that are not over.
    pub flushes: Flushes,
    /// To be saved before they are answered, by ticket.
    pub saves: Saves,
}

/// The limits on commands and bytes a second, on one core.
pub struct Limits {
    /// Who may begin, and who waits.
    pub rates: Shaper,
    /// Where jobs of no session wait at the limits of units.
    pub alone: Flows,
}

/// A turn of the core.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turn {
    /// The time by the clock of all cores, milliseconds: read once a turn.
    pub now_ms: u64,
    /// The same time, nanoseconds.
    pub now_ns: u64,
    /// Something was done that may have taken long.
    pub took_time: bool,
    /// Bytes that jobs have begun to move since they last had their time.
    pub job_bytes: u64,
}

/// What carries out commands on one core.
pub struct Executor {
    /// This core's number.
    pub core: usize,
    /// What all cores share.
    pub media: Media,
    /// This core's handles of the units, by number.
    pub handles: PerUnit<Vec<Handle>>,
    /// What threads of media answer this core.
    pub answers: Answers,
    /// Whose commands it carries out, by seat.
    pub clients: Vec<Client>,
    /// Operations in flight.
    pub operations: Operations,
    /// Commands that take several steps.
    pub running: Running,
    /// I/O buffers.
    pub arena: Arena,
    /// Who waits for what.
    pub waits: Waits,
    /// What is under way of units in memory.
    pub memory: Memory,
    /// Operations whose tasks are gone.
    pub strays: Strays,
    /// Limits on commands and bytes a second.
    pub limits: Limits,
    /// What is left of aborted tasks.
    pub leftovers: Leftovers,
    /// The turn.
    pub turn: Turn,
    /// Bounds the lines in the log that media cause.
    pub(super) noise: Noise,
    /// Counters.
    pub stats: Counters,
    /// What has ended.
    pub tally: Tally,
}

impl Executor {
    /// One with nothing to do. `handles`: one for each unit of `media`; what threads of media answer comes by `way_in`.
    pub fn new(core: usize, media: Media, arena: Arena, (handles, way_in): (PerUnit<Vec<Handle>>, WayIn)) -> Executor {
        let strays = Strays::new(media.units.all().len());
        let mut rates = Shaper::new(Arc::clone(&media.rates));
        let alone = regated(&mut rates, Flows::new(), media.unit_gates(), &mut Vec::new());
        Executor {
            core,
            media,
            handles,
            answers: Answers { way_in, drained: Vec::new() },
            clients: Vec::new(),
            operations: Operations::default(),
            running: Running::default(),
            arena,
            waits: Waits::default(),
            memory: Memory::default(),
            strays,
            limits: Limits { rates, alone },
            leftovers: Leftovers::default(),
            turn: Turn::default(),
            noise: Noise::default(),
            stats: Counters::default(),
            tally: Tally::default(),
        }
    }

    /// Somebody takes a seat. `initiator`: whom buffers are charged to, with all of that name at `host`.
    pub fn open(&mut self, seat: SeatIx, (whose, host): (Whose, Host), initiator: &str) {
        if self.clients.len() <= seat.at() {
            self.clients.resize_with(seat.at() + 1, Client::default);
        }
        let account = self.arena.open(host, initiator);
        self.clients[seat.at()] = Client { account, whose: Some((whose, host)), ..Client::default() };
    }

    /// Somebody leaves a seat, of whom nothing is under way any more.
    pub fn close(&mut self, seat: SeatIx) {
        let Some(client) = self.clients.get_mut(seat.at()) else { return missing("a seat") };
        let gone = std::mem::take(client);
        debug_assert!(gone.tasks.iter().all(|exec| exec.due.is_empty()), "a command of {seat:?} is never ended");
        gone.flows.iter().for_each(|flow| drop(self.limits.rates.close(flow.1)));
    }

    /// The tasks at a seat, by slot.
    pub fn tasks(&self, seat: SeatIx) -> &[Exec] {
        self.clients.get(seat.at()).map_or(&[], |client| &client.tasks)
    }

    /// An I/O buffer of at least `len` bytes, charged to the session at `seat`. `None`: there is none for it now.
    #[inline]
    pub fn allocate(&self, seat: SeatIx, len: usize) -> Option<Buf> {
        self.clients.get(seat.at())?.account.take(len)
    }

    /// Whom a session's I/O buffers are charged to.
    pub fn account(&self, seat: SeatIx) -> Account {
        self.clients.get(seat.at()).map(|client| client.account.clone()).unwrap_or_default()
    }

    /// Starts an operation on a unit. `Some`: it is done already; its owner and its result.
    #[inline]
    pub fn start(
        &mut self,
        unit: UnitIx,
        op: Op,
        owner: Owner,
        out: &mut impl Outside,
    ) -> Option<(Owner, Result<(), MediumFault>)> {
        let sync = self.sync_of(unit, &op);
        let of_job = if let Owner::Job { job, .. } = owner { Some(job) } else { None };
        let token = self.operations.insert(owner, unit, self.turn.now_ms, sync);
        if let Some(number) = of_job {
            match self.running.jobs.get_mut(number) {
                Some(Some(job)) => job.medium.operation = Some(token),
                _ => missing("a job"),
            }
        }
        let started = match self.handles.get_mut(unit) {
            Some(handle) => handle.start(op, token, &mut out.queue()),
            None => Started::Done(Err(MediumFault::NotReady)),
        };
        match started {
            Started::Pending => None,
            Started::Done(result) => self.operation_over(token, result).map(|owner| (owner, result)),
        }
    }

    /// What an operation has to do with durability, on a medium where that is something to be done.
    #[inline]
    fn sync_of(&self, unit: UnitIx, op: &Op) -> Sync {
        match op {
            Op::Flush => Sync::Flush,
            Op::Write { durable: true, .. } => match self.media.units.get(unit) {
                Some(unit) if unit.volatile => Sync::Write(unit.syncs.durable(self.core)),
                _ => Sync::None,
            },
            _ => Sync::None,
        }
    }

    /// Takes out an operation that is not under way any more; its owner.
    #[inline]
    fn operation_over(&mut self, token: Token, result: Result<(), MediumFault>) -> Option<Owner> {
        let Operation { owner, unit, sync, .. } = self.operations.remove(token)?;
        if sync != Sync::None {
            self.sync_over(unit, sync, result);
        }
        Some(owner)
    }

    /// A completion of the ring belongs to an operation.
    #[inline(always)]
    pub fn medium_completed(&mut self, token: Token, result: i32, out: &mut impl Outside) {
        let Some(Some(operation)) = self.operations.slots.get(token.0 as usize) else {
            return missing("an operation");
        };
        let Some(handle) = self.handles.get_mut(operation.unit) else { return missing("a handle") };
        // Perhaps it goes on.
        let Some(result) = handle.complete(token, result, &mut out.queue()) else { return };
        let Some(owner) = self.operation_over(token, result) else { return missing("an operation") };
        self.finished(owner, result, out);
    }

    /// Operations that threads of media have carried out.
    pub fn medium_answered(&mut self, out: &mut impl Outside) {
        let mut answers = std::mem::take(&mut self.answers.drained);
        self.answers.way_in.drain(&mut answers);
        for (token, result) in answers.drain(..) {
            self.medium_completed(token, result, out);
        }
        self.answers.drained = answers;
    }

    /// An operation is done: tells whoever waits for it.
    pub fn finished(&mut self, owner: Owner, result: Result<(), MediumFault>, out: &mut impl Outside) {
        match owner {
            Owner::Slice { seat, slot, offset } => self.slice_done(seat, slot, offset, result, out),
            Owner::Reread(reread) => out.set_off(SetOff::Reread(reread, result)),
            Owner::Stray(stray) => self.stray_over(stray),
            Owner::Flush(unit) => self.flush_answered(unit, out),
            Owner::Job { job, cell, claim, hole } => {
                cell.set(Some(result));
                if let Some(Some(job)) = self.running.jobs.get_mut(job) {
                    job.medium.in_flight -= 1;
                } else {
                    missing("a job");
                }
                if let Some(claim) = claim {
                    self.release_claim(claim);
                }
                if let Some(unit) = hole {
                    self.hole_over(unit);
                }
                self.run_soon(job);
            }
        }
    }

    /// Another executor, or a thread beside the cores, has something to tell.
    pub fn told(&mut self, notice: Notice, out: &mut impl Outside) {
        match notice {
            Notice::Saved { ticket, is_stored } => self.saved(ticket, is_stored),
            Notice::SaveTurn { ticket } => self.save_turn(ticket),
            Notice::Errand { job, answer } => self.errand_over(job, &answer),
            Notice::Flushed { unit } => self.flushes_go_on(unit, out),
            Notice::Lost { unit } => self.save_lost(unit),
        }
    }

    /// Whether somebody has something under way at a unit.
    pub fn uses(&self, unit: UnitIx) -> bool {
        let at_work = |exec: &Exec| exec.unit == unit && exec.is_at_work();
        self.running.jobs.iter().flatten().any(|job| job.unit == unit)
            || self.operations.use_unit(unit)
            || self.waits.flushes.use_unit(unit)
            || self.waits.saves.use_unit(&self.media.units[unit])
            || self.clients.iter().any(|client| client.tasks.iter().any(at_work))
    }
}
