//! What is iSCSI about a core: sessions, their connections, and what is sent.
//!
//! Connections go by connection number (`transport/links.rs`), sessions by seat (`seats.rs`); both numbers are used again. To
//! the executor the fabric is a [`crate::tasks::sink::Sink`] (`to_initiators.rs`).
//!
//! - sessions: `seats.rs`, `seat.rs`, with `text.rs` and `sources.rs`; what they keep is bounded in `budgets.rs`, those without
//!   a connection in `lost.rs`, and logins are `logins.rs`
//! - other cores: `neighbours.rs`, `mesh.rs`, `mailbox.rs`, `bell.rs`, and sessions on their way (`relocated.rs`)
//! - what the executor has set off: `owed.rs`; which configuration is served: `served.rs`
//!
//! Invariants: it calls neither the executor nor the device server's media. What the executor's calls set off in it is
//! noted in `Fabric::owed`; the core acts on it (`shard/owing.rs`).

pub(crate) mod bell;
mod budgets;
pub(crate) mod command;
pub(crate) mod logins;
pub(crate) mod look;
mod looking;
mod lost;
pub(crate) mod mailbox;
pub(crate) mod mesh;
pub(crate) mod neighbours;
pub(crate) mod nexus;
pub(crate) mod owed;
pub(crate) mod passed;
pub(crate) mod relocated;
pub(crate) mod report;
mod resending;
pub(crate) mod seat;
pub(crate) mod seats;
mod served;
pub(crate) mod sources;
pub(crate) mod stats;
mod sweeping;
pub(crate) mod text;
mod to_initiators;
pub(crate) mod told;

use crate::canary::{Canary, sings};
use crate::limits::TURN_SEND_BYTES;
use crate::model::{ConnNo, PerUnit, SeatIx};
use crate::noise::Noise;
use crate::scsi::{Now, Reply, Troubles};
use crate::session::seam::ConnIx;
use crate::transport::acting::Acting;
use crate::transport::io::Io;
use crate::transport::link::{Link, Phase};
use crate::transport::links::{Connection, Links};
use crate::transport::outlet::Outlet;
use crate::waits::management::Management;
use crate::wire::Bhs;
use crate::world::{Change, World};
use budgets::Budgets;
use logins::Logins;
use mesh::Mesh;
use neighbours::Neighbours;
use owed::Dues;
use seat::{Route, Seat};
use seats::Seats;
use served::Served;
use stats::Stats;
use std::os::fd::OwnedFd;
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
    /// This core among the others.
    pub neighbours: Neighbours,
    /// What all cores share.
    pub world: Arc<World>,
    /// How the core came to serve by that, and what it has of what was served before.
    pub served: Served,
    /// What it asks of the world around it. Before the connections: a ring is closed before the memory goes that it works on.
    pub io: Io,
    /// What sessions may keep.
    budgets: Budgets,
    /// Connections.
    pub links: Links,
    /// Sessions.
    pub seats: Seats,
    /// What the executor's calls have set off, and is to be acted on when it has returned.
    pub owed: Dues,
    /// Task management functions under way.
    pub management: Management,
    /// Logins that are negotiated, and that wait.
    pub logins: Logins,
    /// Bounds the lines in the log that peers cause.
    pub noise: Noise,
    /// Scratch for parameter data.
    pub reply: Reply,
    /// The time by the clock of all cores, milliseconds: read once a turn.
    pub now_ms: u64,
    /// How much of what is received may still be acted on in this turn.
    pub acting: Acting,
    /// Counters.
    pub stats: Stats,
    /// What commands have ended with that did not end well, at each unit that has had one.
    pub troubles: PerUnit<Vec<Troubles>>,
    /// Listeners that come or, without a socket, go: the thread of the core takes them in the same turn.
    pub listening: Vec<(usize, Option<OwnedFd>)>,
    /// The server is going down.
    pub shutdown: bool,
}

impl Fabric {
    /// With nobody on it.
    pub fn new(core: usize, world: Arc<World>, mesh: Mesh, io: Io, management: Management) -> Fabric {
        let acting = Acting::of_turn(io.watch().now(), true);
        Fabric {
            neighbours: Neighbours::new(core, mesh),
            served: Served::new(&world),
            world,
            io,
            budgets: Budgets::default(),
            links: Links::default(),
            seats: Seats::default(),
            owed: Dues::default(),
            management,
            logins: Logins::default(),
            noise: Noise::default(),
            reply: Reply { unbuffered: true, ..Reply::default() },
            now_ms: 0,
            acting,
            stats: Stats::default(),
            troubles: PerUnit::default(),
            listening: Vec::new(),
            shutdown: false,
        }
    }

    /// The session that a connection is in full feature phase of, and the connection's slot there.
    #[inline]
    pub fn seat_of(&self, conn: ConnNo) -> Option<(SeatIx, ConnIx)> {
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

    /// When this turn began.
    #[inline]
    pub fn now(&self) -> Now {
        Now { ms: self.now_ms, since_1970_ms: self.world.clock.since_1970_ms(self.now_ms) }
    }

    /// A seat and the outbox of its session: what nearly every step needs at once.
    #[inline(always)]
    pub fn parts(&mut self, seat: SeatIx) -> Option<Parts<'_>> {
        let (seat, connections) = self.seats.lend(seat)?;
        let (all, pool, dirty) = self.links.all_mut();
        let out = Outlet { all, connections, pool, dirty, copies: None };
        Some(Parts { seat, out })
    }

    /// Takes another configuration over; the one before comes back. `None`: it is no news.
    pub fn take_over(&mut self, change: &Arc<Change>) -> Option<Arc<World>> {
        if change.world.generation <= self.world.generation {
            return None;
        }
        self.served.set_latest(change);
        Some(std::mem::replace(&mut self.world, Arc::clone(&change.world)))
    }

    /// Gives a session a seat. What it keeps is counted here from now on.
    pub fn enter(&mut self, mut holder: Seat, route: Route) -> SeatIx {
        self.budgets.charge(&mut holder);
        self.seats.enter(holder, route)
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
            // It may have gone in this turn.
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
