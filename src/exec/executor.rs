//! The executor: what carries out plans on media, one for each core. Here are what it has, operations on media from
//! their start to their owner, and what it is told.
//!
//! Its other methods are grouped by concern, as the table in the head of `exec/mod.rs` says. None of them awaits or
//! blocks. Those that may end a command, send data or go to a medium are given the [`Sink`] by whoever calls them.
//!
//! Invariants: an operation that is under way has one owner, who is told once. A seat is used again only when nothing
//! is under way for it any more. The time is that of the turn: `now_ms` and `now_ns` are set before anything is done in
//! it.

use crate::backend::{Handle, Op, Started, Token, WayIn};
use crate::buffers::{Account, Arena, Buf};
use crate::jobs::running::Running;
use crate::jobs::starved::Starved;
use crate::model::{Host, MediumFault};
use crate::rate::Shaper;
use crate::rate::flows::{Flows, regated};
use crate::shares::Whose;
use crate::tasks::counters::Counters;
use crate::tasks::memory::Memory;
use crate::tasks::operations::{Operation, Operations, Owner};
use crate::tasks::sink::Sink;
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

/// What carries out commands on one core.
pub struct Executor {
    /// This core's number.
    pub core: usize,
    /// What all cores share.
    pub media: Media,
    /// This core's handles of the units, by number.
    pub handles: Vec<Handle>,
    /// Where threads of media answer this core.
    pub way_in: WayIn,
    /// Memory for what they have answered.
    pub answers: Vec<(Token, i32)>,
    /// Whose commands it carries out, by seat.
    pub clients: Vec<Client>,
    /// Operations in flight.
    pub operations: Operations,
    /// Commands that take several steps.
    pub running: Running,
    /// I/O buffers.
    pub arena: Arena,
    /// Who waits for those.
    pub starved: Starved,
    /// What is under way of units in memory.
    pub memory: Memory,
    /// Who waits for ranges.
    pub ranges: Ranges,
    /// Flushes that are waited for, or not over.
    pub flushes: Flushes,
    /// Commands that are to be saved before they are answered, by ticket.
    pub saves: Saves,
    /// Operations whose tasks are gone.
    pub strays: Strays,
    /// Limits on commands and bytes a second.
    pub rates: Shaper,
    /// Where jobs of no session wait at the limits of units.
    pub unit_flows: Flows,
    /// What is left of aborted tasks.
    pub leftovers: Leftovers,
    /// The time by the clock of all cores, milliseconds: read once a turn.
    pub now_ms: u64,
    /// The same time, nanoseconds.
    pub now_ns: u64,
    /// Something was done that may have taken long.
    pub took_time: bool,
    /// Counters.
    pub stats: Counters,
}

impl Executor {
    /// One with nothing to do. `handles`: one for each unit of `media`; what threads of media answer comes by `way_in`.
    pub fn new(core: usize, media: Media, arena: Arena, (handles, way_in): (Vec<Handle>, WayIn)) -> Executor {
        let strays = Strays::new(media.units.len());
        let mut rates = Shaper::new(Arc::clone(&media.rates));
        let unit_flows = regated(&mut rates, Flows::new(), media.unit_gates(), &mut Vec::new());
        Executor {
            core,
            media,
            handles,
            way_in,
            answers: Vec::new(),
            clients: Vec::new(),
            operations: Operations::default(),
            running: Running::default(),
            arena,
            starved: Starved::default(),
            memory: Memory::default(),
            ranges: Ranges::default(),
            flushes: Flushes::default(),
            saves: Saves::default(),
            strays,
            rates,
            unit_flows,
            leftovers: Leftovers::default(),
            now_ms: 0,
            now_ns: 0,
            took_time: false,
            stats: Counters::default(),
        }
    }

    /// Somebody takes a seat. `initiator`: whom buffers are charged to, with all of that name at `host`.
    pub fn open(&mut self, seat: usize, (whose, host): (Whose, Host), initiator: &str) {
        if self.clients.len() <= seat {
            self.clients.resize_with(seat + 1, Client::default);
        }
        let account = self.arena.open(host, initiator);
        self.clients[seat] = Client { account, whose: Some((whose, host)), ..Client::default() };
    }

    /// Somebody leaves a seat, of whom nothing is under way any more.
    pub fn close(&mut self, seat: usize) {
        let Some(client) = self.clients.get_mut(seat) else { return };
        let gone = std::mem::take(client);
        gone.flows.iter().for_each(|flow| drop(self.rates.close(flow.1)));
    }

    /// The tasks at a seat, by slot.
    pub fn tasks(&self, seat: usize) -> &[Exec] {
        self.clients.get(seat).map_or(&[], |client| &client.tasks)
    }

    /// An I/O buffer of at least `len` bytes, charged to the session at `seat`. `None`: there is none for it now.
    #[inline]
    pub fn allocate(&self, seat: usize, len: usize) -> Option<Buf> {
        self.clients.get(seat)?.account.take(len)
    }

    /// Whom a session's I/O buffers are charged to.
    pub fn account(&self, seat: usize) -> Account {
        self.clients.get(seat).map(|client| client.account.clone()).unwrap_or_default()
    }

    /// Starts an operation on a unit. `Some`: it is done already; its owner and its result.
    #[inline]
    pub fn start(
        &mut self,
        unit: usize,
        op: Op,
        owner: Owner,
        sink: &mut impl Sink,
    ) -> Option<(Owner, Result<(), MediumFault>)> {
        let sync = self.sync_of(unit, &op);
        let of_job = if let Owner::Job { job, .. } = owner { Some(job) } else { None };
        let token = self.operations.insert(owner, unit, self.now_ms, sync);
        if let Some(Some(job)) = of_job.and_then(|number| self.running.jobs.get_mut(number)) {
            job.operation = Some(token);
        }
        let started = match self.handles.get_mut(unit) {
            Some(handle) => handle.start(op, token, &mut sink.queue()),
            None => Started::Done(Err(MediumFault::NotReady)),
        };
        match started {
            Started::Pending => None,
            Started::Done(result) => self.operation_over(token, result, sink).map(|owner| (owner, result)),
        }
    }

    /// What an operation has to do with durability, on a medium where that is something to be done.
    #[inline]
    fn sync_of(&self, unit: usize, op: &Op) -> Sync {
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
    fn operation_over(&mut self, token: Token, result: Result<(), MediumFault>, sink: &mut impl Sink) -> Option<Owner> {
        let Operation { owner, unit, sync, .. } = self.operations.remove(token)?;
        if sync != Sync::None {
            self.sync_over(unit, sync, result, sink);
        }
        Some(owner)
    }

    /// A completion of the ring belongs to an operation.
    #[inline(always)]
    pub fn medium_completed(&mut self, token: Token, result: i32, sink: &mut impl Sink) {
        let Some(Some(operation)) = self.operations.slots.get(token.0 as usize) else { return };
        let Some(handle) = self.handles.get_mut(operation.unit) else { return };
        let Some(result) = handle.complete(token, result, &mut sink.queue()) else { return };
        let Some(owner) = self.operation_over(token, result, sink) else { return };
        self.finished(owner, result, sink);
    }

    /// Operations that threads of media have carried out.
    pub fn medium_answered(&mut self, sink: &mut impl Sink) {
        let mut answers = std::mem::take(&mut self.answers);
        self.way_in.drain(&mut answers);
        for (token, result) in answers.drain(..) {
            self.medium_completed(token, result, sink);
        }
        self.answers = answers;
    }

    /// An operation is done: tells whoever waits for it.
    pub fn finished(&mut self, owner: Owner, result: Result<(), MediumFault>, sink: &mut impl Sink) {
        match owner {
            Owner::Slice { seat, slot, offset } => self.slice_done(seat, slot, offset, result, sink),
            Owner::Reread(reread) => sink.reread(*reread, result),
            Owner::Stray(stray) => self.stray_over(stray),
            Owner::Flush(unit) => self.flush_answered(unit, sink),
            Owner::Job { job, cell, claim, hole } => {
                cell.set(Some(result));
                if let Some(Some(job)) = self.running.jobs.get_mut(job) {
                    job.in_flight -= 1;
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
    pub fn told(&mut self, notice: Notice, sink: &mut impl Sink) {
        match notice {
            Notice::Saved { ticket, is_stored } => self.saved(ticket, is_stored),
            Notice::SaveTurn { ticket } => self.save_turn(ticket),
            Notice::Errand { job, answer } => self.errand_over(job, &answer),
            Notice::Flushed { unit } => self.flushes_go_on(unit, sink),
            Notice::Lost { unit } => self.save_lost(unit),
        }
    }

    /// Whether somebody has something under way at a unit.
    pub fn uses(&self, unit: usize) -> bool {
        let at_work = |exec: &Exec| exec.unit == unit && exec.is_at_work();
        self.running.jobs.iter().flatten().any(|job| job.unit == unit)
            || self.operations.use_unit(unit)
            || self.flushes.use_unit(unit)
            || self.saves.use_unit(&self.media.units[unit])
            || self.clients.iter().any(|client| client.tasks.iter().any(at_work))
    }
}
