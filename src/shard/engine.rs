//! Everything of a core except the receive side: sessions, transmit queues, logical units, buffers, operations in flight.
//!
//! Methods are grouped by concern in the files beside. None of them awaits or blocks.
//!
//! - PDUs, session events and commands: `dispatch.rs`, `rw.rs` (reads and writes), `resend.rs` (data that is sent once
//!   more), `throttle.rs` (limits), `starve.rs` (who waits for buffers), `turns.rs` (peers take turns)
//! - media: `ram.rs` (what is special about RAM units), `loan.rs` (buffers lent to receives), `flush.rs` (durability),
//!   `lost.rs` (lost writes are remembered), `stray.rs` (what outlives its task), `unsent.rs` (answers whose session
//!   may not read any more)
//! - jobs: `work.rs`, `copy.rs` (third-party copies), `locking.rs` (ranges), `holes.rs` (discards and zeroing in
//!   files), `saves.rs` (what is stored before it is answered)
//! - connections and sessions: `entry.rs` (login and placement), `leave.rs` (their end), `relocate.rs` (moving to
//!   another core), `load.rs` (which one is to move), `tm.rs` (task management across sessions and cores)
//! - the core: `clock.rs` (time), `change.rs` (another configuration)

use super::buffers::{Account, Arena, Buf};
use super::change::{Change, handle};
use super::doors::{HalfOpen, Ticket};
use super::exec::Exec;
use super::flush::{Flushes, Sync};
use super::holes::Holes;
use super::job::{Cell1, Job, Runnable};
use super::locking::Lockings;
use super::ram::{Copying, Places, Stored};
use super::rate::Shaper;
use super::registry::{Membership, SessionHandle};
use super::relocate::Halt;
use super::slots::SlotQueue;
use super::stats::Stats;
use super::stores::Stores;
use super::stray::{Claim, Stray, Strays};
use super::text::SeatText;
use super::throttle::{Flows, regated};
use super::tx::{BatchPool, Outlet, Tx};
use super::world::{LunMap, World};
use crate::backend::{Handle, Op, Queue, Started, Token, WayIn};
use crate::limits::{
    CONNECTION_SLOTS, KEPT_BYTES_PER_CORE, NEGOTIATION_BYTES_PER_CORE, RECEIVE_BUFFER_BYTES, TURN_SEND_BYTES,
};
use crate::model::MediumFault;
use crate::noise::Noise;
use crate::ring::Ring;
use crate::scsi::{LuNexus, Reply};
use crate::session::directory::{Access, Applicant};
use crate::session::login::{Login, Step};
use crate::session::seam::{CloseReason, ConnIx};
use crate::session::{Session, SessionKind};
use crate::wire::Tsih;
use io_uring::{opcode, squeue, types};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// Writes of one received chunk, at least a block each.
const STORED: usize = RECEIVE_BUFFER_BYTES / 512;

/// What a completion belongs to: the top byte of `user_data`. The rest is a number of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// A listener (its index).
    Accept = 1,
    /// A connection's receive.
    Receive,
    /// A connection's send.
    Send,
    /// A cancellation; nothing to do.
    Cancel,
    /// An operation on a medium (its token).
    Medium,
    /// The mailbox's bell.
    Bell,
}

impl Source {
    /// The bits of `user_data` that are the number.
    pub const NUMBER: u64 = (1 << 56) - 1;

    /// What kind of operation a completion belongs to, in words that its number follows.
    pub fn name_of(user_data: u64) -> &'static str {
        const NAMES: [&str; 7] = [
            "operation",
            "accept at portal",
            "receive on connection",
            "send on connection",
            "cancellation",
            "operation on a medium",
            "bell",
        ];
        NAMES.get((user_data >> 56) as usize).unwrap_or(&NAMES[0])
    }

    /// `user_data` for number `n` of this kind.
    #[inline]
    pub const fn tag(self, n: u64) -> u64 {
        ((self as u64) << 56) | n
    }
}

/// A connection, apart from its receive side.
pub struct Link {
    /// The socket; closed when dropped.
    pub socket: OwnedFd,
    /// The initiator's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Its place among the connections of the process.
    pub ticket: Ticket,
    /// Where it is in its life.
    pub phase: Phase,
    /// Changed digests and lengths for the framer, to be taken over before the next PDU: header, data, longest segment.
    pub framing: Option<(bool, bool, usize)>,
    /// A receive is armed.
    pub receiving: bool,
    /// Its receive was cancelled only to be armed in another way: the end of the receive is not that of the connection.
    pub rearming: bool,
    /// More PDUs are here already: what there is to be sent waits a turn for the answers to them.
    pub corked: bool,
    /// No more PDUs are taken; the socket is closed when nothing is in flight.
    pub closing: bool,
    /// The receive was cancelled and its end is awaited before the connection moves to another core.
    pub moving: Option<Box<Moving>>,
    /// Its session is about to move to another core.
    pub halt: Halt,
    /// When bytes last left, milliseconds: tells a peer that does not read.
    pub sent_ms: u64,
    /// When our half was closed, milliseconds.
    pub shut_ms: Option<u64>,
}

/// A connection that is about to move to another core: everything but the socket, which `Link` still owns.
pub struct Moving {
    /// The core it goes to.
    pub core: usize,
    /// Its login, which is complete.
    pub login: Box<crate::session::login::LoginDone>,
    /// What it is to be in its session.
    pub session: Membership,
    /// The session that it replaces.
    pub replaces: Option<Tsih>,
}

/// Life of a connection.
pub enum Phase {
    /// Logging in.
    Login {
        /// The state machine.
        login: Box<Login>,
        /// When it must be through, milliseconds.
        deadline_ms: u64,
    },
    /// Full feature phase.
    Full {
        /// Its session's seat.
        seat: usize,
        /// Its slot there.
        ix: ConnIx,
    },
    /// Its proof was judged, and it was not told yet what that has come to: nothing else is taken from it.
    Judged {
        /// The state machine.
        login: Box<Login>,
        /// What is done when it is told.
        step: Box<Step>,
        /// When it is told, milliseconds.
        until_ms: u64,
        /// When the login must be through, milliseconds, once it goes on.
        deadline_ms: u64,
    },
    /// Logged in; waits until the session that it replaces has let go of its tasks.
    Waiting,
    /// Neither: being closed or moved.
    Leaving,
}

impl Phase {
    /// Whether it is not logged in, and has not been told that it will not be.
    pub fn is_half_open(&self) -> bool {
        matches!(self, Phase::Login { .. } | Phase::Judged { .. })
    }
}

/// Whether the end of a command of a session may let others of it begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// No command waits for another to end.
    Free,
    /// A command waits, for an ORDERED one or because it is one.
    Kept,
    /// As `Kept`, and something may have ended: the seat is in `Engine::ordering`, which is looked at at the end of the
    /// turn.
    Stirred,
}

/// A session on this core.
pub struct Seat {
    /// The state machine.
    pub session: Session,
    /// Text negotiations in full feature phase.
    pub text: SeatText,
    /// Index of its target; `usize::MAX` in a discovery session.
    pub target: usize,
    /// The user that its initiator has proved to be.
    pub identity: Option<Arc<str>>,
    /// What the directory lets it have; `None`: nothing any more.
    pub access: Option<Access>,
    /// The units that it finds, by LUN.
    pub map: Arc<LunMap>,
    /// Its TSIH, for as long as it lives.
    pub handle: SessionHandle,
    /// What its nexus has pending at each unit of `map`, in that order.
    pub nexus: Vec<LuNexus>,
    /// Its tasks, by slot.
    pub exec: Vec<Exec>,
    /// Where the data came from that may have to be sent again.
    pub sources: super::resend::Sources,
    /// Whom its I/O buffers are charged to.
    pub account: Account,
    /// No more events of it will come; it is dropped when its tasks have let go.
    pub ended: bool,
    /// Where its limited commands wait; empty: nothing is limited.
    pub flows: Flows,
    /// Unique in the process: seats are used again.
    pub serial: u64,
    /// Whether its ORDERED commands have others wait.
    pub order: Order,
    /// Until then it is not to be moved to another core, milliseconds.
    pub stays_until_ms: u64,
    /// Since when it has had no connection, milliseconds, if it waits for one (`leave.rs`).
    pub lost_ms: u64,
}

impl Seat {
    /// Its TSIH.
    pub fn tsih(&self) -> Tsih {
        self.handle.tsih()
    }

    /// As whom the session asks the directory. (What target a discovery session names makes no difference to what it
    /// may have.)
    pub fn applicant(&self) -> Applicant<'_> {
        let init = self.session.init();
        Applicant {
            kind: init.kind,
            target: init
                .target_name
                .as_ref()
                .filter(|_| init.kind == SessionKind::Normal)
                .map(|name| (self.target, name)),
            portal_group: init.target_portal_group,
            initiator: &init.initiator.name,
            peer: self.text.peer(),
            identity: self.identity.as_deref(),
        }
    }

    /// Its initiator group at its target; `None`: none.
    pub fn group(&self) -> Option<usize> {
        self.access.and_then(Access::group)
    }
}

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
    Reread(Box<super::resend::Reread>),
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

/// The ring as a backend sees it.
pub struct MediumQueue<'a>(pub &'a mut Ring);

impl Queue for MediumQueue<'_> {
    #[inline]
    fn push(&mut self, entry: squeue::Entry, token: Token) {
        self.0.push(entry.user_data(Source::Medium.tag(u64::from(token.0))));
    }

    #[inline]
    fn batch(&self) -> u64 {
        self.0.drained()
    }
}

/// What [`Engine::parts`] lends.
pub struct Parts<'a> {
    /// The seat.
    pub seat: &'a mut Seat,
    /// Where its session's PDUs go.
    pub out: Outlet<'a>,
}

/// All of a core but its receive side.
pub struct Engine {
    /// This core's number.
    pub core: usize,
    /// What all cores share.
    pub world: Arc<World>,
    /// The change that `world` came with.
    pub latest: Arc<Change>,
    /// The core's ring.
    pub ring: Ring,
    /// I/O buffers.
    pub arena: Arena,
    /// Empty transmit batches.
    pub pool: BatchPool,
    /// What sessions keep to send it again, and requests that they hold.
    pub kept: Stores,
    /// What text negotiations of sessions keep.
    pub negotiations: Stores,
    /// Transmit sides, by connection number.
    pub tx: Vec<Tx>,
    /// Connections, by number.
    pub links: Vec<Option<Link>>,
    /// Connections that have something to send.
    pub dirty: Vec<usize>,
    /// Connections that have room again for what waits for that.
    pub roomy: Vec<usize>,
    /// Sessions, by seat.
    pub seats: Vec<Option<Box<Seat>>>,
    /// When the clock of each seat's session is to be looked at; zero: with the next tick. The times are together here
    /// because the seats of a thousand idle sessions are not in the cache.
    pub look_ms: Vec<u64>,
    /// The seat that `tick` goes on with; 0: it has been through all.
    pub look_from: usize,
    /// Connections that `tick` looks at, by number: those that log in, send or close. The others cost it one byte each.
    pub watched: Vec<bool>,
    /// Connection numbers of each seat's session, by slot (`usize::MAX`: none).
    pub routes: Vec<[usize; CONNECTION_SLOTS]>,
    /// This core's handle on each unit of the process.
    pub handles: Vec<Handle>,
    /// Where threads of media answer this core.
    pub way_in: WayIn,
    /// Memory for what they have answered.
    pub answers: Vec<(Token, i32)>,
    /// Units that are served no more, but still in use here.
    pub leaving: Vec<usize>,
    /// Operations in flight.
    pub operations: Operations,
    /// Running jobs, by number.
    pub jobs: Vec<Option<Job>>,
    /// Numbers of jobs that are free.
    pub free_jobs: Vec<usize>,
    /// Jobs to be polled.
    pub runnable: Runnable,
    /// Jobs that wait for a buffer.
    pub waiting_jobs: super::starve::StarvedJobs,
    /// Tasks that wait for a buffer.
    pub starved: SlotQueue,
    /// Since when somebody has waited for a buffer, milliseconds.
    pub starved_since_ms: Option<u64>,
    /// The seat that `expire_owed` goes on with; 0: it has been through all.
    pub owed_from: usize,
    /// How far the core is in giving buffers that have come back to those who wait for them.
    pub feeding: super::starve::Feeding,
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
    /// Seats of sessions with ORDERED commands of which something may have ended.
    pub ordering: Vec<usize>,
    /// Flushes that are waited for, or not over.
    pub flushes: Flushes,
    /// Commands that are to be saved before they are answered, by ticket.
    pub saves: super::saves::Saves,
    /// Since when somebody has waited for a range, milliseconds; `u64::MAX`: nobody does.
    pub ranges_since_ms: u64,
    /// Operations whose tasks are gone.
    pub strays: Strays,
    /// Limits on commands and bytes a second.
    pub rates: Shaper,
    /// Where jobs of no session wait at the limits of units.
    pub unit_flows: Flows,
    /// Task management functions under way.
    pub management: super::left::Management,
    /// Logins that wait for the end of the session they replace.
    pub adoptions: Vec<super::entry::Adoption>,
    /// Connections that are logging in.
    pub half_open: HalfOpen,
    /// Bounds the lines in the log that peers and media cause.
    pub noise: Noise,
    /// Connections that were made or moved in: their receive is to be armed.
    pub fresh: super::arming::Arming,
    /// Connections that are no more: their receive side is to be reset.
    pub gone: Vec<usize>,
    /// Seats of sessions that wait for a new connection, unless they have meanwhile got one or ended (`leave.rs`).
    pub lost: Vec<usize>,
    /// Seats of sessions that have ended and are to be dropped when they are ready. A seat may be another session's by now.
    pub ending: Vec<usize>,
    /// Scratch for parameter data.
    pub reply: Reply,
    /// The time by the clock of all cores, milliseconds: read once a turn.
    pub now_ms: u64,
    /// The same time, nanoseconds.
    pub now_ns: u64,
    /// How much of what is received may still be acted on in this turn.
    pub acting: super::acting::Acting,
    /// Counters.
    pub stats: Stats,
    /// The server is going down.
    pub shutdown: bool,
}

impl Engine {
    /// A core with nothing on it.
    pub fn new(core: usize, world: Arc<World>, ring: Ring, arena: Arena) -> Engine {
        let (mailboxes, units) = (Arc::clone(&world.mailboxes), (0..).zip(&world.units));
        let way_in = WayIn::new(move || mailboxes[core].bell().ring());
        let handles = units.map(|(slot, unit)| handle(&ring, &way_in, slot, unit)).collect();
        let strays = Strays::new(world.units.len());
        let mut rates = Shaper::new(Arc::clone(&world.rates));
        let unit_flows = regated(&mut rates, Flows::new(), world.unit_gates(), &mut Vec::new());
        let latest = Arc::new(Change { world: Arc::clone(&world), resized: Vec::new() });
        Engine {
            core,
            world,
            latest,
            ring,
            arena,
            pool: BatchPool::default(),
            kept: Stores::new(KEPT_BYTES_PER_CORE),
            negotiations: Stores::new(NEGOTIATION_BYTES_PER_CORE),
            tx: Vec::new(),
            links: Vec::new(),
            dirty: Vec::new(),
            roomy: Vec::new(),
            seats: Vec::new(),
            look_ms: Vec::new(),
            look_from: 0,
            watched: Vec::new(),
            routes: Vec::new(),
            handles,
            way_in,
            answers: Vec::new(),
            leaving: Vec::new(),
            operations: Operations::default(),
            jobs: Vec::new(),
            free_jobs: Vec::new(),
            runnable: Runnable::default(),
            waiting_jobs: super::starve::StarvedJobs::default(),
            starved: SlotQueue::default(),
            starved_since_ms: None,
            owed_from: 0,
            feeding: super::starve::Feeding::default(),
            stored: Vec::with_capacity(STORED),
            copying: VecDeque::new(),
            places: Places::default(),
            read_soon: 0,
            fenced: SlotQueue::default(),
            stalled: VecDeque::new(),
            holes: Holes::default(),
            locking: Lockings::new(),
            copies: Vec::new(),
            ordering: Vec::new(),
            flushes: Flushes::default(),
            saves: super::saves::Saves::default(),
            ranges_since_ms: u64::MAX,
            strays,
            rates,
            unit_flows,
            management: Default::default(),
            adoptions: Vec::new(),
            half_open: HalfOpen::default(),
            noise: Noise::default(),
            fresh: super::arming::Arming::default(),
            gone: Vec::new(),
            lost: Vec::new(),
            ending: Vec::new(),
            reply: Reply { unbuffered: true, ..Reply::default() },
            now_ms: 0,
            now_ns: 0,
            acting: super::acting::Acting::of_turn(std::time::Instant::now(), true),
            stats: Stats::default(),
            shutdown: false,
        }
    }

    /// A seat and the outbox of its session: what nearly every step needs at once. Whatever ends a command borrows
    /// them, or looks at the session's events next: so it is noticed here that commands which wait for their order may
    /// begin.
    #[inline]
    pub fn parts(&mut self, seat: usize) -> Option<Parts<'_>> {
        let connections = self.routes.get(seat)?;
        let number = seat;
        let seat = self.seats.get_mut(seat)?.as_deref_mut()?;
        if seat.order == Order::Kept {
            seat.order = Order::Stirred;
            self.ordering.push(number);
        }
        let out = Outlet { tx: &mut self.tx, connections, pool: &mut self.pool, dirty: &mut self.dirty, copies: None };
        Some(Parts { seat, out })
    }

    /// Something happened in a session: its clock may have to be looked at earlier.
    #[inline]
    pub fn stir(&mut self, seat: usize) {
        if let Some(look_ms) = self.look_ms.get_mut(seat) {
            *look_ms = 0;
        }
    }

    /// An I/O buffer of at least `len` bytes, charged to the session at `seat`. `None`: there is none for it now.
    #[inline]
    pub fn allocate(&self, seat: usize, len: usize) -> Option<Buf> {
        self.seats.get(seat)?.as_deref()?.account.take(len)
    }

    /// Whom a session's I/O buffers are charged to.
    pub fn account(&self, seat: usize) -> Account {
        self.seats.get(seat).and_then(Option::as_deref).map(|seat| seat.account.clone()).unwrap_or_default()
    }

    /// Starts an operation on a unit. `Some`: it is done already; its owner and its result.
    #[inline]
    pub fn start(&mut self, unit: usize, op: Op, owner: Owner) -> Option<(Owner, Result<(), MediumFault>)> {
        let sync = self.sync_of(unit, &op);
        let of_job = if let Owner::Job { job, .. } = owner { Some(job) } else { None };
        let token = self.operations.insert(owner, unit, self.now_ms, sync);
        if let Some(Some(job)) = of_job.and_then(|number| self.jobs.get_mut(number)) {
            job.operation = Some(token);
        }
        let started = match self.handles.get_mut(unit) {
            Some(handle) => handle.start(op, token, &mut MediumQueue(&mut self.ring)),
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
    pub fn medium_completed(&mut self, token: Token, result: i32) {
        let Some(Some(operation)) = self.operations.slots.get(token.0 as usize) else { return };
        let Some(handle) = self.handles.get_mut(operation.unit) else { return };
        let Some(result) = handle.complete(token, result, &mut MediumQueue(&mut self.ring)) else { return };
        let Some(owner) = self.operation_over(token, result) else { return };
        self.finished(owner, result);
    }

    /// Operations that threads of media have carried out.
    pub fn medium_answered(&mut self) {
        let mut answers = std::mem::take(&mut self.answers);
        self.way_in.drain(&mut answers);
        for (token, result) in answers.drain(..) {
            self.medium_completed(token, result);
        }
        self.answers = answers;
    }

    /// An operation is done: tells whoever waits for it.
    pub fn finished(&mut self, owner: Owner, result: Result<(), MediumFault>) {
        match owner {
            Owner::Slice { seat, slot, offset } => self.slice_done(seat, slot, offset, result),
            Owner::Reread(reread) => self.reread(*reread, result),
            Owner::Stray(stray) => self.stray_over(stray),
            Owner::Flush(unit) => self.flush_answered(unit),
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

    /// Cancels a connection's receive; its completion says that it is over.
    pub fn cancel_receive(&mut self, conn: usize) {
        if matches!(self.links.get(conn), Some(Some(link)) if link.receiving) {
            let entry = opcode::AsyncCancel::new(Source::Receive.tag(conn as u64)).build();
            self.ring.push(entry.user_data(Source::Cancel.tag(0)));
        }
    }

    /// Has a connection's receive end and be armed again, as it then should be.
    pub fn rearm_receive(&mut self, conn: usize) {
        if let Some(Some(link)) = self.links.get_mut(conn)
            && link.receiving
            && !link.rearming
        {
            link.rearming = true;
            self.cancel_receive(conn);
        }
    }

    /// Pushes the sends of connections that have something queued, in the order they asked. What is beyond a turn's worth
    /// waits for the next one, so that a turn is short however many connections want much.
    pub fn flush(&mut self) {
        let (mut bytes, mut served, queued) = (0, 0, self.dirty.len());
        while bytes < TURN_SEND_BYTES
            && served < queued
            && let Some(&conn) = self.dirty.get(served)
        {
            served += 1;
            let Some(Some(link)) = self.links.get_mut(conn) else { continue };
            if std::mem::take(&mut link.corked) {
                self.dirty.push(conn);
                continue;
            }
            let file = types::Fd(link.socket.as_raw_fd());
            if let Some((entry, len)) = self.tx[conn].next_send(file) {
                self.ring.push(entry.user_data(Source::Send.tag(conn as u64)));
                self.watched[conn] = true;
                bytes += len;
            }
        }
        self.dirty.drain(..served);
        self.read_soon = 0;
    }

    /// A send completed.
    pub fn sent(&mut self, conn: usize, result: i32) {
        let Some(Some(link)) = self.links.get_mut(conn) else { return };
        if result <= 0 && result != -libc::EINTR && result != -libc::EAGAIN {
            // The send is over but its batch is kept until the connection is torn down.
            self.tx[conn].fail();
            self.disconnected(conn, CloseReason::Disconnected);
            self.sweep(conn);
            return;
        }
        link.sent_ms = self.now_ms;
        let sent = result.max(0) as usize;
        let largest = &mut self.stats.largest_batch_bytes;
        *largest = (*largest).max(self.tx[conn].sending_bytes() as u64);
        let more = self.tx[conn].sent(sent, &mut self.pool);
        if self.tx[conn].takes_more() {
            self.roomy.push(conn);
        }
        if more {
            self.dirty.push(conn);
        } else {
            self.sweep(conn);
        }
    }

    /// Has those go on that waited for room on a connection, or that wait for nothing any more since the connection is
    /// gone: each for a piece, until `until`. False: some are left, and there is room.
    #[cold]
    pub fn fill_room(&mut self, conn: usize, until: Instant) -> bool {
        let Some(mut left) = self.tx.get(conn).map(Tx::waiting) else { return true };
        while left > 0
            && self.tx[conn].has_room(&self.pool)
            && let Some((seat, slot)) = self.tx[conn].next_waiting()
        {
            left -= 1;
            if slot == super::tx::REREADS {
                self.reread_on(seat);
            } else if let Some(exec) = self.exec(seat, slot).filter(|exec| exec.crowded) {
                exec.crowded = false;
                self.advance(seat, slot);
            }
            if Instant::now() >= until {
                break;
            }
        }
        match self.tx.get_mut(conn) {
            Some(tx) if tx.waiting() > 0 && tx.has_room(&self.pool) => false,
            Some(tx) if tx.waiting() > 0 => {
                tx.wait(None);
                true
            }
            _ => true,
        }
    }
}
