//! The connections of a core, by number. A number is used again when nothing of the connection that had it is left.

use super::arming::Arming;
use super::half_open::HalfOpen;
use super::link::Link;
use super::note::{Seen, Who};
use super::receiving::{Direct, Receive};
use super::tap::{Taps, Traced, logging_in, named_target};
use super::tx::{BatchPool, Tx};
use crate::canary::{Canary, sings};
use crate::model::{ConnNo, IscsiName};
use crate::wire::Bhs;
use std::net::SocketAddr;

/// All of a connection.
#[derive(Default)]
pub struct Connection {
    /// The socket, and where the connection is in its life. `None`: there is none with this number.
    pub link: Option<Link>,
    /// Its transmit side.
    pub tx: Tx,
    /// Its receive side, unless that is being acted on: made when something is first received, and kept.
    pub receive: Option<Box<Receive>>,
    /// Its receive of known size, unless that is being acted on: made when first needed, and kept.
    pub direct: Option<Box<Direct>>,
    /// What those know of it who look at its PDUs.
    pub traced: Option<Box<Traced>>,
}

impl Connection {
    /// Has its PDUs noted from now on, or not.
    pub fn trace(&mut self, traced: Option<Box<Traced>>) {
        self.tx.set_traced(traced.is_some());
        self.traced = traced;
    }

    /// Notes a PDU of it (header, additional segments, data, as far as that is at hand) for those who look at it.
    #[cold]
    pub fn note(&mut self, is_sent: bool, (bhs, ahs, data): (&Bhs, &[u8], &[u8]), digest_ok: bool, taps: &mut Taps) {
        let (header_digest, data_digest) = self.tx.digests();
        if let Some(traced) = &mut self.traced {
            let seen = Seen { is_sent, header_digest, data_digest, is_damaged: !digest_ok, bhs, ahs, data };
            taps.note(traced, &seen);
        }
    }
}

/// The connections.
#[derive(Default)]
pub struct Links {
    all: Vec<Connection>,
    /// Empty transmit batches of them all.
    pub pool: BatchPool,
    /// Those that `tick` looks at: they log in, send or close. The others cost it one byte each.
    watched: Vec<bool>,
    /// Those that have something to send.
    pub dirty: Vec<ConnNo>,
    /// Those that have room again for what waits for that.
    pub roomy: Vec<ConnNo>,
    /// Those that were made or moved in, or have received: their receive is to be armed.
    pub fresh: Arming,
    /// Those that are no more: their receive side is to be reset.
    pub gone: Vec<ConnNo>,
    /// Those that are logging in.
    pub half_open: HalfOpen,
}

impl Links {
    /// All of a connection, or of what is left of it.
    #[inline]
    pub fn of(&self, conn: ConnNo) -> Option<&Connection> {
        self.all.get(conn.at())
    }

    /// The same, to be changed.
    #[inline]
    pub fn of_mut(&mut self, conn: ConnNo) -> Option<&mut Connection> {
        self.all.get_mut(conn.at())
    }

    /// All, by number, empty batches for them, and who has something to send: what a session's PDUs go out by.
    #[inline]
    pub fn all_mut(&mut self) -> (&mut [Connection], &mut BatchPool, &mut Vec<ConnNo>) {
        (&mut self.all, &mut self.pool, &mut self.dirty)
    }

    /// A connection, or what is left of it, and empty batches.
    #[inline]
    pub fn of_with_pool(&mut self, conn: ConnNo) -> Option<(&mut Connection, &mut BatchPool)> {
        Some((self.all.get_mut(conn.at())?, &mut self.pool))
    }

    /// Whether there is room for the answer to one more PDU. On a connection that is gone there always is.
    #[inline]
    pub fn has_room(&self, conn: ConnNo) -> bool {
        self.tx(conn).is_none_or(|tx| tx.has_room(&self.pool))
    }

    /// A connection that is there.
    #[inline]
    pub fn get(&self, conn: ConnNo) -> Option<&Link> {
        self.of(conn)?.link.as_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, conn: ConnNo) -> Option<&mut Link> {
        self.of_mut(conn)?.link.as_mut()
    }

    /// The transmit side of a connection, or of one that is no more.
    #[inline]
    pub fn tx(&self, conn: ConnNo) -> Option<&Tx> {
        Some(&self.of(conn)?.tx)
    }

    /// The same, to be changed.
    #[inline]
    pub fn tx_mut(&mut self, conn: ConnNo) -> Option<&mut Tx> {
        Some(&mut self.of_mut(conn)?.tx)
    }

    /// The receive side of a connection.
    #[inline]
    pub fn receive(&self, conn: ConnNo) -> Option<&Receive> {
        self.of(conn)?.receive.as_deref()
    }

    /// The same, to be changed.
    #[inline]
    pub fn receive_mut(&mut self, conn: ConnNo) -> Option<&mut Receive> {
        self.of_mut(conn)?.receive.as_deref_mut()
    }

    /// The connections that are there.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.all.iter().filter_map(|connection| connection.link.as_ref())
    }

    /// All numbers that were ever given.
    pub fn numbers(&self) -> impl Iterator<Item = ConnNo> + use<> {
        (0..self.all.len()).map(ConnNo::new)
    }

    /// Whether a send is with the kernel.
    pub fn are_sending(&self) -> bool {
        self.all.iter().any(|connection| connection.tx.is_sending())
    }

    /// Gives a connection a number of which nothing is left. If the connection that had a number went in this turn,
    /// what it has received is there until the end of the turn, and would be taken for that of the new one.
    pub fn enter(&mut self, link: Link) -> ConnNo {
        let is_free = |conn: &ConnNo| {
            let is_there = self.gone.contains(conn) && !sings(Canary::NumberTooSoon);
            self.get(*conn).is_none() && !is_there
        };
        let conn = self.numbers().find(is_free).unwrap_or(ConnNo::new(self.all.len()));
        if conn.at() == self.all.len() {
            self.all.push(Connection::default());
            self.watched.push(true);
        }
        self.watch(conn);
        self.all[conn.at()].trace(None);
        self.all[conn.at()].link = Some(link);
        self.fresh.push(conn);
        conn
    }

    /// A connection is logging in: says which one is to make room, if one is ([`HalfOpen::enter`]).
    pub fn make_room(&mut self, conn: ConnNo, peer: SocketAddr, most: (usize, usize)) -> Option<ConnNo> {
        let all = &self.all;
        let waits = |conn: ConnNo, peer| {
            { all.get(conn.at()).and_then(|of| of.link.as_ref()) }
                .is_some_and(|link| link.peer == peer && !link.closing && link.phase.is_half_open())
        };
        self.half_open.enter(conn, peer, most, waits)
    }

    /// Somebody may look at the PDUs of a connection, now that it is known whose it is.
    #[cold]
    pub fn trace(&mut self, conn: ConnNo, who: Who, target: Option<&IscsiName>) {
        let Some(connection) = self.all.get_mut(conn.at()) else { return };
        let before = connection.traced.take();
        connection.trace(self.pool.taps.traced(who, target, before));
    }

    /// Notes a PDU that has come, for those who look at its connection.
    #[cold]
    pub fn note_received(&mut self, conn: ConnNo, pdu: (&Bhs, &[u8], &[u8]), digest_ok: bool) {
        if let Some(connection) = self.all.get_mut(conn.at()) {
            connection.note(false, pdu, digest_ok, &mut self.pool.taps);
        }
    }

    /// Notes a PDU of a login, for those who look at its connection, or will, since it says whose it is. `begins`: it is the
    /// first one.
    #[cold]
    pub fn note_login(&mut self, conn: ConnNo, begins: bool, header: &Bhs, data: &[u8]) {
        if self.pool.taps.is_empty() {
            return;
        }
        if begins && let Some(link) = self.get(conn) {
            let who = logging_in(header, (link.peer, link.local));
            self.trace(conn, who, named_target(data).as_ref());
        }
        self.note_received(conn, (header, &[], data), true);
    }

    /// Has `tick` look at a connection.
    #[inline]
    pub fn watch(&mut self, conn: ConnNo) {
        self.set_watched(conn, true);
    }

    /// Has `tick` look at a connection, or not.
    #[inline]
    pub fn set_watched(&mut self, conn: ConnNo, is_watched: bool) {
        if let Some(watched) = self.watched.get_mut(conn.at()) {
            *watched = is_watched;
        }
    }

    /// Whether `tick` looks at a connection.
    pub fn is_watched(&self, conn: ConnNo) -> bool {
        self.watched.get(conn.at()) == Some(&true)
    }

    /// Whether it looks at any.
    pub fn are_watched(&self) -> bool {
        self.watched.contains(&true)
    }
}
