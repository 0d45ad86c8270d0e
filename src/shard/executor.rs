//! Carrying out plans on media: one executor for each core, synchronous.
//!
//! Methods are grouped by concern in the files beside. None of them awaits or blocks.
//!
//! - commands: `begin.rs`, `rw.rs` (reads and writes), `ram.rs` (units in memory), `throttle.rs` (limits)
//! - jobs: `work.rs`, `copy.rs` (third-party copies), `locking.rs` (ranges), `holes.rs` (discards and zeroing in files),
//!   `saves.rs` (what is stored before it is answered)
//! - media: `flush.rs` (durability), `lost.rs` (lost writes are remembered), `stray.rs` (what outlives its task)
//! - `starve.rs` (who waits for buffers)

use super::buffers::{Account, Arena, Buf};
use super::exec::Exec;
use super::flush::{Flushes, Sync};
use super::holes::Holes;
use super::job::{Cell1, Job, Runnable};
use super::left::{Left, LeftCopies, SharedMarks};
use super::locking::Lockings;
use super::memory_hold::Places;
use super::ram::{Copying, Stored};
use super::rate::Shaper;
use super::saves::Saves;
use super::sink::{Reread, Sink};
use super::slots::SlotQueue;
use super::starve::{Feeding, StarvedJobs};
use super::stray::{Claim, Stray, Strays};
use super::throttle::{Flows, regated};
use super::world::World;
use crate::backend::{Handle, Op, Started, Token};
use crate::limits::RECEIVE_BUFFER_BYTES;
use crate::model::{Host, MediumFault};
use crate::noise::Noise;
use crate::shares::Whose;
use std::collections::VecDeque;
use std::sync::Arc;

/// Writes of one received chunk, at least a block each.
const STORED: usize = RECEIVE_BUFFER_BYTES / 512;

/// Who waits for an operation on a medium.
pub enum Owner {
    /// A slice of a task.
    Slice {
        /// Seat of the session.
        seat: usize,
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
        /// The range that it changes, if that is known to the fence.
        claim: Option<Claim>,
        /// The unit in whose file it makes a hole.
        hole: Option<usize>,
    },
    /// Nobody: its task is gone.
    Stray(Stray),
    /// All who wait for a flush of this unit.
    Flush(usize),
}

/// Operations in flight, by token.
#[derive(Default)]
pub struct Operations {
    slots: Vec<Option<Operation>>,
    free: Vec<u32>,
}

struct Operation {
    owner: Owner,
    unit: usize,
    since_ms: u64,
    sync: Sync,
}

impl Operations {
    fn insert(&mut self, owner: Owner, unit: usize, since_ms: u64, sync: Sync) -> Token {
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

    fn remove(&mut self, token: Token) -> Option<Operation> {
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
    pub fn unit_of(&self, number: usize, token: Option<Token>) -> Option<usize> {
        let operation = self.slots.get(token?.0 as usize)?.as_ref()?;
        matches!(operation.owner, Owner::Job { job, .. } if job == number).then_some(operation.unit)
    }

    /// Owner and unit of each operation under way.
    pub fn owners(&mut self) -> impl Iterator<Item = (&mut Owner, usize)> {
        self.slots.iter_mut().flatten().map(|operation| (&mut operation.owner, operation.unit))
    }

    /// Unit of each operation under way, and when it began, milliseconds.
    pub fn ages(&self) -> impl Iterator<Item = (usize, u64)> {
        self.slots.iter().flatten().map(|operation| (operation.unit, operation.since_ms))
    }

    /// Whether an operation is under way on a unit.
    pub fn use_unit(&self, unit: usize) -> bool {
        self.slots.iter().flatten().any(|operation| operation.unit == unit)
    }

    /// How many operations are under way.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

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

/// What executes commands on one core.
pub struct Executor {
    /// This core's number.
    pub core: usize,
    /// What all cores share.
    pub world: Arc<World>,
    /// This core's handles of the units, by index into `World::units`.
    pub handles: Vec<Handle>,
    /// I/O buffers.
    pub arena: Arena,
    /// By seat.
    pub clients: Vec<Client>,
    /// Operations in flight.
    pub operations: Operations,
    /// Running jobs, by number.
    pub jobs: Vec<Option<Job>>,
    /// Numbers of jobs that are free.
    pub free_jobs: Vec<usize>,
    /// Jobs to be polled.
    pub runnable: Runnable,
    /// Jobs that wait for a buffer.
    pub waiting_jobs: StarvedJobs,
    /// Tasks that wait for a buffer.
    pub starved: SlotQueue,
    /// Since when somebody has waited for a buffer, milliseconds.
    pub starved_since_ms: Option<u64>,
    /// The seat that `expire_owed` goes on with; 0: it has been through all.
    pub owed_from: usize,
    /// How far the core is in giving buffers that have come back to those who wait for them.
    pub feeding: Feeding,
    /// Writes to RAM units that are answered at the end of the turn.
    pub stored: Vec<Stored>,
    /// Slices of RAM units that are copied at the end of the turn.
    pub copying: VecDeque<Copying>,
    /// The fences of RAM units at which this core is counted for what is sent from their memory.
    pub places: Places,
    /// Reads of this turn that the kernel will copy from a RAM unit's memory.
    pub read_soon: usize,
    /// Tasks that wait for a range that another command holds.
    pub fenced: SlotQueue,
    /// Jobs whose change of the medium a held range keeps out.
    pub stalled: VecDeque<usize>,
    /// Holes that jobs make in files.
    pub holes: Holes,
    /// Jobs that wait for a range: job, and what they asked for.
    pub locking: Lockings,
    /// Numbers of the jobs that are copies.
    pub copies: Vec<usize>,
    /// Flushes that are waited for, or not over.
    pub flushes: Flushes,
    /// Commands that are to be saved before they are answered, by ticket.
    pub saves: Saves,
    /// Since when somebody has waited for a range, milliseconds; `u64::MAX`: nobody does.
    pub ranges_since_ms: u64,
    /// Operations whose tasks are gone.
    pub strays: Strays,
    /// Limits on commands and bytes a second.
    pub rates: Shaper,
    /// Where jobs of no session wait at the limits of units.
    pub unit_flows: Flows,
    /// What is left of aborted tasks.
    pub left: Left,
    /// The mark that the latest of those share.
    pub marks: SharedMarks,
    /// Copies that were aborted, and somebody may wait for.
    pub left_copies: LeftCopies,
    /// Bounds the lines in the log that media cause.
    pub noise: Noise,
    /// The time by the clock of all cores, milliseconds: read once a turn.
    pub now_ms: u64,
    /// The same time, nanoseconds.
    pub now_ns: u64,
    /// Something was done that may have taken long.
    pub took_time: bool,
    /// Counters.
    pub stats: Counters,
}

/// What an executor has counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Bytes asked for by reads.
    pub read_bytes: u64,
    /// Bytes announced by writes.
    pub written_bytes: u64,
    /// Commands that ended because their data did not come while others waited for buffers.
    pub overdue: u64,
    /// The most tasks that waited for buffers, or for ranges, at a time.
    pub most_waiting: u64,
    /// The most who were told in one turn that their flush has ended.
    pub most_flushed: u64,
    /// Reads and writes that ended because a medium failed.
    pub medium_faults: u64,
}

impl Executor {
    /// One with nothing to do. `handles`: one for each unit of `world`.
    pub fn new(core: usize, world: Arc<World>, arena: Arena, handles: Vec<Handle>) -> Executor {
        let strays = Strays::new(world.units.len());
        let mut rates = Shaper::new(Arc::clone(&world.rates));
        let unit_flows = regated(&mut rates, Flows::new(), world.unit_gates(), &mut Vec::new());
        Executor {
            core,
            world,
            handles,
            arena,
            clients: Vec::new(),
            operations: Operations::default(),
            jobs: Vec::new(),
            free_jobs: Vec::new(),
            runnable: Runnable::default(),
            waiting_jobs: StarvedJobs::default(),
            starved: SlotQueue::default(),
            starved_since_ms: None,
            owed_from: 0,
            feeding: Feeding::default(),
            stored: Vec::with_capacity(STORED),
            copying: VecDeque::new(),
            places: Places::default(),
            read_soon: 0,
            fenced: SlotQueue::default(),
            stalled: VecDeque::new(),
            holes: Holes::default(),
            locking: Lockings::new(),
            copies: Vec::new(),
            flushes: Flushes::default(),
            saves: Saves::default(),
            ranges_since_ms: u64::MAX,
            strays,
            rates,
            unit_flows,
            left: Left::default(),
            marks: SharedMarks::default(),
            left_copies: LeftCopies::default(),
            noise: Noise::default(),
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
        if let Some(Some(job)) = of_job.and_then(|number| self.jobs.get_mut(number)) {
            job.operation = Some(token);
        }
        let started = match self.handles.get_mut(unit) {
            Some(handle) => handle.start(op, token, &mut sink.queue()),
            None => Started::Done(Err(MediumFault::NotReady)),
        };
        match started {
            Started::Pending => None,
            Started::Done(result) => self.operation_over(token, result).map(|owner| (owner, result)),
        }
    }

    /// What an operation has to do with durability, on a medium where that is something to be done.
    #[inline]
    fn sync_of(&self, unit: usize, op: &Op) -> Sync {
        match op {
            Op::Flush => Sync::Flush,
            Op::Write { durable: true, .. } => match self.world.units.get(unit) {
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
    pub fn medium_completed(&mut self, token: Token, result: i32, sink: &mut impl Sink) {
        let Some(Some(operation)) = self.operations.slots.get(token.0 as usize) else { return };
        let Some(handle) = self.handles.get_mut(operation.unit) else { return };
        let Some(result) = handle.complete(token, result, &mut sink.queue()) else { return };
        let Some(owner) = self.operation_over(token, result) else { return };
        self.finished(owner, result, sink);
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
                if let Some(Some(job)) = self.jobs.get_mut(job) {
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

    /// Whether somebody has something under way at a unit.
    pub fn uses(&self, unit: usize) -> bool {
        let at_work = |exec: &Exec| exec.unit == unit && exec.is_at_work();
        self.jobs.iter().flatten().any(|job| job.unit == unit)
            || self.operations.use_unit(unit)
            || self.flushes.use_unit(unit)
            || self.saves.use_unit(&self.world.units[unit])
            || self.clients.iter().any(|client| client.tasks.iter().any(at_work))
    }
}
