//! What is iSCSI about a core: sessions, their connections, and what is sent.
//!
//! Connections, transmit sides and what is watched go by connection number; sessions, their routes and clocks by seat.
//! Both numbers are used again. To the executor the fabric is a [`crate::exec::sink::Sink`] (`to_initiators.rs`).
//!
//! Invariants: it calls neither the executor nor the device server's media. What the executor's calls set off in it is
//! noted in `owed`; the engine acts on it (`engine.rs`).

use super::link::{Link, Phase};
use super::management::Management;
use super::mesh::Mesh;
use super::seat::{Order, Seat};
use super::source::Source;
use super::stats::Stats;
use super::tx::{BatchPool, Outlet, Tx};
use crate::backend::{Queue, Token};
use crate::exec::sink::Preempting;
use crate::limits::{CONNECTION_SLOTS, KEPT_BYTES_PER_CORE, NEGOTIATION_BYTES_PER_CORE, TURN_SEND_BYTES};
use crate::noise::Noise;
use crate::ring::Ring;
use crate::scsi::{Now, Reply};
use crate::session::seam::ConnIx;
use crate::shares::Stores;
use crate::world::doors::HalfOpen;
use crate::world::{Change, World};
use io_uring::{opcode, squeue, types};
use std::os::fd::AsRawFd;
use std::sync::Arc;

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

/// What [`Fabric::parts`] lends.
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
    /// The mailboxes of all cores.
    pub mesh: Mesh,
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
    /// It is being acted on: what comes meanwhile has its turn then.
    pub is_settling: bool,
    /// Task management functions under way.
    pub management: super::management::Management,
    /// Logins that wait for the end of the session they replace.
    pub adoptions: Vec<super::link::Adoption>,
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

impl Fabric {
    /// With nobody on it.
    pub(super) fn new(core: usize, world: Arc<World>, mesh: Mesh, ring: Ring, management: Management) -> Fabric {
        let latest = Arc::new(Change { world: Arc::clone(&world), resized: Vec::new() });
        Fabric {
            core,
            world,
            mesh,
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
            is_settling: false,
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

    /// Whether a connection is logging in.
    pub fn is_logging_in(&self, conn: usize) -> bool {
        let link = self.links.get(conn).and_then(Option::as_ref);
        link.is_some_and(|link| matches!(link.phase, Phase::Login { .. }) && !link.closing)
    }

    /// Whether there is room for the answer to one more PDU.
    #[inline]
    pub fn may_answer(&self, conn: usize) -> bool {
        self.tx.get(conn).is_none_or(|tx| tx.has_room(&self.pool))
    }

    /// When this turn began.
    #[inline]
    pub fn now(&self) -> Now {
        Now { ms: self.now_ms, since_1970_ms: self.world.clock.since_1970_ms(self.now_ms) }
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
