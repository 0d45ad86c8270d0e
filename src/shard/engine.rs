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

use super::change::Change;
use super::doors::HalfOpen;
use super::doors::Ticket;
use super::management::Management;
use super::registry::{Membership, SessionHandle};
use super::relocate::Halt;
use super::stats::Stats;
use super::text::SeatText;
use super::tx::{BatchPool, Outlet, Tx};
use super::world::{LunMap, World};
use crate::backend::{Handle, Queue, Token};
use crate::exec::buffers::Arena;
use crate::exec::executor::Executor;
use crate::exec::sink::Preempting;
use crate::limits::{CONNECTION_SLOTS, KEPT_BYTES_PER_CORE, NEGOTIATION_BYTES_PER_CORE, TURN_SEND_BYTES};
use crate::noise::Noise;
use crate::ring::Ring;
use crate::scsi::{LuNexus, Reply};
use crate::session::directory::{Access, Applicant};
use crate::session::login::{Login, Step};
use crate::session::seam::{CloseReason, ConnIx};
use crate::session::{Session, SessionKind};
use crate::shares::Stores;
use crate::wire::Tsih;
use io_uring::{opcode, squeue, types};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

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
    /// Where the data came from that may have to be sent again.
    pub sources: super::resend::Sources,
    /// No more events of it will come; it is dropped when its tasks have let go.
    pub ended: bool,
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

/// What is iSCSI about a core: sessions, their connections, and what is sent.
pub struct Fabric {
    /// This core's number.
    pub core: usize,
    /// What all cores share.
    pub world: Arc<World>,
    /// The change that `world` came with.
    pub latest: Arc<Change>,
    /// Its ring. Before the connections: it is closed before the memory goes that it works on.
    pub ring: Ring,
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
    /// Units that are served no more, but still in use here.
    pub leaving: Vec<usize>,
    /// Seats of sessions with ORDERED commands of which something may have ended.
    pub ordering: Vec<usize>,
    /// What the executor's calls have set off, and is to be acted on when it has returned.
    pub owed: Vec<Owed>,
    /// Task management functions under way.
    pub management: super::management::Management,
    /// Logins that wait for the end of the session they replace.
    pub adoptions: Vec<super::entry::Adoption>,
    /// Connections that are logging in.
    pub half_open: HalfOpen,
    /// Bounds the lines in the log that peers cause.
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
    /// How much of what is received may still be acted on in this turn.
    pub acting: super::acting::Acting,
    /// Counters.
    pub stats: Stats,
    /// The server is going down.
    pub shutdown: bool,
}

/// What the executor's calls have set off in a session, or for it.
pub enum Owed {
    /// The session has events.
    Events(usize),
    /// It may read the next piece of what it is to send once more.
    Reread(usize),
    /// Tasks are to be aborted, then a command is answered.
    Preempt(Box<Preempting>),
}

/// All of a core but its receive side. The fabric goes first when it is dropped: its ring is closed before the I/O
/// buffers go.
pub struct Engine {
    /// Sessions and connections.
    pub fabric: Fabric,
    /// What carries out their commands.
    pub executor: Executor,
}

impl Engine {
    /// A core with nothing on it. `handles`: one for each unit of `world`.
    pub fn new(core: usize, world: Arc<World>, ring: Ring, arena: Arena, handles: Vec<Handle>) -> Engine {
        let executor = Executor::new(core, world.media(), arena, handles);
        let management = Management::new(executor.leftovers.left.clone());
        Engine { fabric: Fabric::new(core, world, ring, management), executor }
    }

    /// The time of a turn, by the clock of all cores, nanoseconds.
    #[inline]
    pub fn set_now(&mut self, now_ns: u64) {
        self.fabric.now_ms = now_ns / 1_000_000;
        (self.executor.now_ns, self.executor.now_ms) = (now_ns, self.fabric.now_ms);
    }

    /// Acts on what the executor's calls have set off.
    #[inline]
    pub fn settle_owed(&mut self) {
        if !self.fabric.owed.is_empty() {
            self.act_on_owed();
        }
    }

    /// What was received is acted on: answers the writes whose data is stored, and acts on what that has set off.
    #[inline]
    pub fn settle_received(&mut self) {
        self.executor.settle_stores(&mut self.fabric);
        self.settle_owed();
    }

    /// Copies what is sent from RAM units with a digest, and of the commands that this lets begin, too: nothing is left to
    /// be copied when the core sleeps.
    pub fn copy_ready(&mut self) {
        loop {
            self.executor.copy_ready(&mut self.fabric);
            self.settle_owed();
            if self.executor.memory.copying.is_empty() {
                return;
            }
        }
    }

    /// Pushes what is to be sent, a turn's worth of it.
    pub fn flush(&mut self) {
        self.fabric.flush();
        self.executor.memory.read_soon = 0;
    }

    #[cold]
    fn act_on_owed(&mut self) {
        while !self.fabric.owed.is_empty() {
            for owed in std::mem::take(&mut self.fabric.owed) {
                match owed {
                    Owed::Events(seat) => self.pump(seat),
                    Owed::Reread(seat) => {
                        self.next_reread(seat);
                        self.pump(seat);
                    }
                    Owed::Preempt(preempting) => self.preempt(*preempting),
                }
            }
        }
    }

    /// A send completed.
    pub fn sent(&mut self, conn: usize, result: i32) {
        let Some(Some(link)) = self.fabric.links.get_mut(conn) else { return };
        if result <= 0 && result != -libc::EINTR && result != -libc::EAGAIN {
            // The send is over but its batch is kept until the connection is torn down.
            self.fabric.tx[conn].fail();
            self.disconnected(conn, CloseReason::Disconnected);
            return self.fabric.sweep(conn);
        }
        link.sent_ms = self.fabric.now_ms;
        let sent = result.max(0) as usize;
        let largest = &mut self.fabric.stats.largest_batch_bytes;
        *largest = (*largest).max(self.fabric.tx[conn].sending_bytes() as u64);
        let more = self.fabric.tx[conn].sent(sent, &mut self.fabric.pool);
        if self.fabric.tx[conn].takes_more() {
            self.fabric.roomy.push(conn);
        }
        if more {
            self.fabric.dirty.push(conn);
        } else {
            self.fabric.sweep(conn);
        }
    }

    /// Has those go on that waited for room on a connection, or that wait for nothing any more since the connection is
    /// gone: each for a piece, until `until`. False: some are left, and there is room.
    #[cold]
    pub fn fill_room(&mut self, conn: usize, until: Instant) -> bool {
        let Some(mut left) = self.fabric.tx.get(conn).map(Tx::waiting) else { return true };
        while left > 0
            && self.fabric.tx[conn].has_room(&self.fabric.pool)
            && let Some((seat, slot)) = self.fabric.tx[conn].next_waiting()
        {
            left -= 1;
            if slot == super::tx::REREADS {
                self.reread_on(seat);
            } else {
                self.executor.has_room(seat, slot, &mut self.fabric);
            }
            if Instant::now() >= until {
                break;
            }
        }
        match self.fabric.tx.get_mut(conn) {
            Some(tx) if tx.waiting() > 0 && tx.has_room(&self.fabric.pool) => false,
            Some(tx) if tx.waiting() > 0 => {
                tx.wait(None);
                true
            }
            _ => true,
        }
    }
}

impl Fabric {
    fn new(core: usize, world: Arc<World>, ring: Ring, management: Management) -> Fabric {
        let latest = Arc::new(Change { world: Arc::clone(&world), resized: Vec::new() });
        Fabric {
            core,
            world,
            latest,
            ring,
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
            leaving: Vec::new(),
            ordering: Vec::new(),
            owed: Vec::new(),
            management,
            adoptions: Vec::new(),
            half_open: HalfOpen::default(),
            noise: Noise::default(),
            fresh: super::arming::Arming::default(),
            gone: Vec::new(),
            lost: Vec::new(),
            ending: Vec::new(),
            reply: Reply { unbuffered: true, ..Reply::default() },
            now_ms: 0,
            acting: super::acting::Acting::of_turn(std::time::Instant::now(), true),
            stats: Stats::default(),
            shutdown: false,
        }
    }

    /// The session that a connection is in full feature phase of, and the connection's slot there.
    #[inline]
    pub fn seat_of(&self, conn: usize) -> Option<(usize, ConnIx)> {
        match self.links.get(conn)?.as_ref()? {
            Link { phase: Phase::Full { seat, ix }, closing: false, .. } => Some((*seat, *ix)),
            _ => None,
        }
    }

    /// Whether there is room for the answer to one more PDU.
    #[inline]
    pub fn may_answer(&self, conn: usize) -> bool {
        self.tx.get(conn).is_none_or(|tx| tx.has_room(&self.pool))
    }

    /// The session at a seat.
    #[inline]
    pub fn seat(&mut self, seat: usize) -> Option<&mut Seat> {
        self.seats.get_mut(seat)?.as_deref_mut()
    }

    /// A seat and the outbox of its session: what nearly every step needs at once. Whatever ends a command borrows
    /// them, or looks at the session's events next: so it is noticed here that commands which wait for their order may
    /// begin.
    #[inline(always)]
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
    }
}
