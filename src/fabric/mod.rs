//! What is iSCSI about a core: sessions, their connections, and what is sent.
//!
//! Connections, transmit sides and what is watched go by connection number; sessions, their routes and clocks by seat.
//! Both numbers are used again. To the executor the fabric is a [`crate::tasks::sink::Sink`] (`fabric/to_initiators.rs`).
//!
//! Sessions are `seat.rs`, with `text.rs` and `sources.rs`; what cores tell each other is `mesh.rs`, with `mailbox.rs`, `bell.rs`
//! and sessions on their way (`relocated.rs`).
//!
//! Invariants: it calls neither the executor nor the device server's media. What the executor's calls set off in it is
//! noted in `owed`; the core acts on it (`shard/owing.rs`).

pub(crate) mod bell;
pub(crate) mod command;
pub(crate) mod mailbox;
pub(crate) mod mesh;
pub(crate) mod nexus;
pub(crate) mod relocated;
pub(crate) mod seat;
pub(crate) mod sources;
pub(crate) mod stats;
pub(crate) mod text;
mod to_initiators;

use crate::canary::{Canary, sings};
use crate::limits::{KEPT_BYTES_PER_CORE, NEGOTIATION_BYTES_PER_CORE, TURN_SEND_BYTES};
use crate::noise::Noise;
use crate::scsi::{Now, Reply};
use crate::session::login::negotiate::Offer;
use crate::session::seam::ConnIx;
use crate::shares::Stores;
use crate::tasks::sink::Preempting;
use crate::transport::acting::Acting;
use crate::transport::io::Io;
use crate::transport::link::{Link, Phase};
use crate::transport::links::{Connection, Links};
use crate::transport::number::ConnNo;
use crate::transport::outlet::Outlet;
use crate::transport::tx::BatchPool;
use crate::waits::management::Management;
use crate::wire::Bhs;
use crate::world::{Change, World};
use mesh::Mesh;
use seat::{Order, Route, Seat};
use stats::Stats;
use std::sync::Arc;

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
    /// What it asks of the world around it. Before the connections: a ring is closed before the memory goes that it works on.
    pub io: Io,
    /// Empty transmit batches.
    pub pool: BatchPool,
    /// What sessions keep to send it again, and requests that they hold.
    pub kept: Stores,
    /// What text negotiations of sessions keep.
    pub negotiations: Stores,
    /// Connections.
    pub links: Links,
    /// Sessions, by seat.
    pub seats: Vec<Option<Box<Seat>>>,
    /// When the clock of each seat's session is to be looked at; zero: with the next tick. The times are together here
    /// because the seats of a thousand idle sessions are not in the cache.
    pub look_ms: Vec<u64>,
    /// The seat that `tick` goes on with; 0: it has been through all.
    pub look_from: usize,
    /// The connections of each seat's session, by slot.
    pub routes: Vec<Route>,
    /// Units that are served no more, but still in use here.
    pub leaving: Vec<usize>,
    /// Seats of sessions with ORDERED commands of which something may have ended.
    pub ordering: Vec<usize>,
    /// What the executor's calls have set off, and is to be acted on when it has returned.
    pub owed: Vec<Owed>,
    /// It is being acted on: what comes meanwhile has its turn then.
    pub is_settling: bool,
    /// Task management functions under way.
    pub management: crate::waits::management::Management,
    /// Logins that wait for the end of the session they replace.
    pub adoptions: Vec<crate::transport::link::Adoption>,
    /// Bounds the lines in the log that peers cause.
    pub noise: Noise,
    /// Seats of sessions that wait for a new connection, unless they have meanwhile got one or ended (`shard/leave.rs`).
    pub lost: Vec<usize>,
    /// Seats of sessions that have ended and are to be dropped when they are ready. A seat may be another session's by now.
    pub ending: Vec<usize>,
    /// Scratch for parameter data.
    pub reply: Reply,
    /// The time by the clock of all cores, milliseconds: read once a turn.
    pub now_ms: u64,
    /// How much of what is received may still be acted on in this turn.
    pub acting: Acting,
    /// What it wants in the negotiations of a login; how strict it is, the directory says.
    pub offer: Offer,
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
    pub fn new(core: usize, world: Arc<World>, mesh: Mesh, io: Io, management: Management) -> Fabric {
        let acting = Acting::of_turn(io.watch().now(), true);
        let latest = Arc::new(Change { world: Arc::clone(&world), resized: Vec::new() });
        Fabric {
            core,
            world,
            mesh,
            latest,
            io,
            pool: BatchPool::default(),
            kept: Stores::new(KEPT_BYTES_PER_CORE),
            negotiations: Stores::new(NEGOTIATION_BYTES_PER_CORE),
            links: Links::default(),
            seats: Vec::new(),
            look_ms: Vec::new(),
            look_from: 0,
            routes: Vec::new(),
            leaving: Vec::new(),
            ordering: Vec::new(),
            owed: Vec::new(),
            is_settling: false,
            management,
            adoptions: Vec::new(),
            noise: Noise::default(),
            lost: Vec::new(),
            ending: Vec::new(),
            reply: Reply { unbuffered: true, ..Reply::default() },
            now_ms: 0,
            acting,
            offer: Offer::default(),
            stats: Stats::default(),
            shutdown: false,
        }
    }

    /// The session that a connection is in full feature phase of, and the connection's slot there.
    #[inline]
    pub fn seat_of(&self, conn: ConnNo) -> Option<(usize, ConnIx)> {
        match self.links.get(conn)? {
            Link { phase: Phase::Full { seat, ix }, closing: false, .. } => Some((*seat, *ix)),
            _ => None,
        }
    }

    /// Whether a connection is logging in.
    pub fn is_logging_in(&self, conn: ConnNo) -> bool {
        let link = self.links.get(conn);
        link.is_some_and(|link| matches!(link.phase, Phase::Login { .. }) && !link.closing)
    }

    /// Whether there is room for the answer to one more PDU.
    #[inline]
    pub fn may_answer(&self, conn: ConnNo) -> bool {
        self.links.tx(conn).is_none_or(|tx| tx.has_room(&self.pool))
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
        let (all, dirty) = self.links.all_mut();
        let out = Outlet { all, connections, pool: &mut self.pool, dirty, copies: None };
        Some(Parts { seat, out })
    }

    /// Something happened in a session: its clock may have to be looked at earlier.
    #[inline]
    pub fn stir(&mut self, seat: usize) {
        if let Some(look_ms) = self.look_ms.get_mut(seat) {
            *look_ms = 0;
        }
    }

    /// Counts a PDU that was acted on, and looks at the clock if that is due.
    #[inline]
    pub fn spend(&mut self, header: &Bhs) {
        if self.acting.spend(header) {
            self.look_at_clock();
        }
    }

    /// Looks at the clock if that is due after the end of a PDU that was counted before.
    #[inline]
    pub fn look_if_it_took_time(&mut self) {
        if self.acting.took_time {
            self.look_at_clock();
        }
    }

    #[cold]
    fn look_at_clock(&mut self) {
        self.acting.looked(self.io.watch().now());
    }

    /// Cancels a connection's receive; its completion says that it is over.
    pub fn cancel_receive(&mut self, conn: ConnNo) {
        if matches!(self.links.get(conn), Some(link) if link.receiving) {
            self.io.cancel_receive(conn);
            if sings(Canary::LoanDropped)
                && let Some(direct) = self.links.of_mut(conn).and_then(|of| of.direct.as_mut())
            {
                direct.loan = None;
            }
        }
    }

    /// Has a connection's receive end and be armed again, as it then should be.
    pub fn rearm_receive(&mut self, conn: ConnNo) {
        if let Some(link) = self.links.get_mut(conn)
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
        let (mut bytes, mut served, queued) = (0, 0, self.links.dirty.len());
        while bytes < TURN_SEND_BYTES
            && served < queued
            && let Some(&conn) = self.links.dirty.get(served)
        {
            served += 1;
            let Some(Connection { link: Some(link), tx, .. }) = self.links.of_mut(conn) else { continue };
            if std::mem::take(&mut link.corked) {
                self.links.dirty.push(conn);
                continue;
            }
            if let Some((what, len)) = tx.next_send() {
                self.io.send(conn, &link.socket, what);
                self.links.watch(conn);
                bytes += len;
            }
        }
        self.links.dirty.drain(..served);
    }
}
