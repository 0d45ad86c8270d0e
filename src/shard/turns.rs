//! Peers take turns: how much of what one of them has sent is acted on before others are looked after, and what becomes of
//! the rest.
//!
//! What comes is acted on as it comes, up to `limits::TURN_PDUS` of a connection, and `TURN_PDUS_OF_ALL` and `TURN_US` of all
//! of them ([`super::acting`]): no initiator that waits for its answers has more. What is beyond is parked, and nothing more is
//! received until it is done with. All connections that have something parked share `limits::SHARE_US` of each turn,
//! `SHARE_PDUS` of one after the other, host by host, so that a turn is as short with many of them as with one. A connection
//! stays among those until a share of it was all that it had.
//!
//! Nor is anything acted on while what is queued for a connection has no room (`Tx::has_room`): who does not read is
//! answered no more, and its own window is what fills. The end of a connection whose bytes are parked comes when they are
//! done with.

use super::acting::Acting;
use super::core::Core;
use super::receive::Receive;
use super::relocate::Halt;
use crate::limits::{
    PARKED_BYTES, PARKED_BYTES_PER_CORE, RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, SHARE_PDUS, SHARE_US, TURN_PDUS,
};
use crate::model::Host;
use crate::session::seam::CloseReason;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Bytes that have been received and not acted on.
#[derive(Default)]
pub(super) struct Parked {
    bytes: Vec<u8>,
    /// The bytes before this one are done with.
    from: usize,
    /// It is among those that take turns.
    queued: bool,
    /// Bytes of memory that are counted for it ([`SpareParked::count`]).
    counted: usize,
    /// What comes is parked, too, behind these bytes.
    pub(super) takes_turns: bool,
    /// The peer has closed its half: there will be no more.
    pub(super) ended: bool,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that are not acted on yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.from
    }

    /// Adds bytes. False: that would be too many.
    fn add(&mut self, bytes: &[u8]) -> bool {
        if self.len() + bytes.len() > PARKED_BYTES {
            return false;
        }
        self.bytes.drain(..std::mem::take(&mut self.from));
        self.bytes.extend_from_slice(bytes);
        true
    }
}

/// Memory of a core for parked bytes: some is kept, so that a turn that came late allocates nothing, and all is counted.
pub(super) struct SpareParked {
    kept: Vec<Vec<u8>>,
    /// Bytes of memory that everything takes that is parked on this core.
    used: usize,
}

impl SpareParked {
    /// So many buffers are kept, each for all that the receive buffers hold. Their pages are taken when first used.
    const KEPT: usize = 4;
    const BYTES: usize = RECEIVE_BUFFERS as usize * RECEIVE_BUFFER_BYTES;

    pub(super) fn new() -> SpareParked {
        SpareParked { kept: (0..Self::KEPT).map(|_| Vec::with_capacity(Self::BYTES)).collect(), used: 0 }
    }

    fn take(&mut self) -> Vec<u8> {
        self.kept.pop().unwrap_or_default()
    }

    /// Whether so many bytes more may be parked.
    fn has_room(&self, bytes: usize) -> bool {
        self.used + bytes <= PARKED_BYTES_PER_CORE
    }

    /// Counts what a connection has parked now.
    fn count(&mut self, parked: &mut Parked) {
        let before = std::mem::replace(&mut parked.counted, parked.bytes.capacity());
        self.used = self.used.saturating_sub(before) + parked.counted;
    }

    /// What a connection has parked leaves this core, or is dropped: it is counted no more.
    pub(super) fn discount(&mut self, parked: &mut Parked) {
        self.used = self.used.saturating_sub(std::mem::take(&mut parked.counted));
    }

    /// Drops what a connection has parked.
    fn drop_of(&mut self, parked: &mut Parked) {
        self.discount(parked);
        (parked.bytes, parked.from) = (Vec::new(), 0);
    }

    /// Takes back memory for parked bytes; `bytes` is empty.
    fn give_back(&mut self, bytes: Vec<u8>) {
        if bytes.capacity() == Self::BYTES && self.kept.len() < Self::KEPT {
            self.kept.push(bytes);
        }
    }
}

/// Which connection takes most memory, among those of the host that takes most with all its connections. `None`: none
/// takes any. A host that has many connections with little on each does not get those of others closed. The host of
/// connections that are gone already is `None`.
fn fullest(all: impl Iterator<Item = (Option<Host>, usize, usize)>) -> Option<usize> {
    // Of each host: all that it takes, the most on one connection, and which that is.
    let mut hosts: HashMap<Option<Host>, (usize, usize, usize)> = HashMap::new();
    for (host, conn, bytes) in all {
        let (all, most, fullest) = hosts.entry(host).or_default();
        *all += bytes;
        if bytes > *most {
            (*most, *fullest) = (bytes, conn);
        }
    }
    let (all, _, conn) = hosts.into_values().max_by_key(|(all, ..)| *all)?;
    (all > 0).then_some(conn)
}

impl Core {
    /// Keeps bytes until it is their turn. Nothing more is received meanwhile. False: there are too many already.
    #[cold]
    pub(super) fn park(&mut self, conn: usize, bytes: &[u8]) -> bool {
        while !self.spare_parked.has_room(bytes.len()) {
            if !self.close_fullest() {
                return false;
            }
        }
        let Some(receive) = self.receive.get_mut(conn) else { return false };
        if receive.parked.bytes.capacity() == 0 {
            receive.parked.bytes = self.spare_parked.take();
        }
        let added = receive.parked.add(bytes);
        self.spare_parked.count(&mut receive.parked);
        if !added {
            return false;
        }
        self.engine.fabric.rearm_receive(conn);
        self.take_turns(conn);
        true
    }

    /// Too much is parked for all connections together: drops what is parked on the fullest connection of the host that
    /// has most, and closes it. False: nothing is parked.
    #[cold]
    fn close_fullest(&mut self) -> bool {
        let links = &self.engine.fabric.links;
        let host_of = |conn: usize| links.get(conn)?.as_ref().map(|link| Host::of(link.peer));
        let parked = self.receive.iter().map(|receive| receive.parked.counted).enumerate();
        let Some(conn) = fullest(parked.map(|(conn, bytes)| (host_of(conn), conn, bytes))) else { return false };
        self.spare_parked.drop_of(&mut self.receive[conn].parked);
        if matches!(self.engine.fabric.links.get(conn), Some(Some(link)) if !link.receiving) {
            self.forget_partial(conn);
        }
        self.engine.disconnected(conn, CloseReason::Protocol("most of what is received and cannot be acted on"));
        true
    }

    /// A connection has something parked: it has its turn with the others, or when there is room for what it is answered.
    #[cold]
    pub(super) fn take_turns(&mut self, conn: usize) {
        let Some(receive) = self.receive.get_mut(conn) else { return };
        let parked = &mut receive.parked;
        if parked.is_empty() || parked.queued {
            return;
        }
        match self.engine.fabric.tx.get_mut(conn) {
            Some(tx) if !tx.has_room(&self.engine.fabric.pool) => tx.wait(None),
            _ => {
                parked.queued = true;
                let link = self.engine.fabric.links.get(conn).and_then(Option::as_ref);
                self.sharing.add(link.map(|link| Host::of(link.peer)), conn);
            }
        }
    }

    /// A connection has moved in, with what it had parked.
    pub(super) fn settle_parked(&mut self, conn: usize) {
        if let Some(receive) = self.receive.get_mut(conn) {
            receive.parked.queued = false;
            self.spare_parked.count(&mut receive.parked);
        }
        self.take_turns(conn);
    }

    /// Acts on what is parked, and has those go on that waited for room.
    pub(super) fn share_turn(&mut self) {
        if !self.has_parked() {
            return;
        }
        let until = Instant::now() + Duration::from_micros(SHARE_US);
        for conn in std::mem::take(&mut self.engine.fabric.roomy) {
            if Instant::now() >= until || !self.engine.fill_room(conn, until) {
                self.engine.fabric.roomy.push(conn);
            } else {
                self.take_turns(conn);
            }
        }
        for _ in 0..self.sharing.len() {
            let Some(conn) = self.sharing.next() else { return };
            self.engine.fabric.acting = Acting::of_shares(until);
            self.act_on_share(conn);
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn act_on_share(&mut self, conn: usize) {
        let Some(receive) = self.receive.get_mut(conn) else { return };
        receive.parked.queued = false;
        if receive.parked.is_empty() {
            return;
        }
        if matches!(self.engine.fabric.links.get(conn), Some(Some(link)) if link.halt == Halt::Stopped && !link.closing)
        {
            // The session is about to leave, and acts on the bytes where it goes.
            return;
        }
        let (mut bytes, from) = (std::mem::take(&mut receive.parked.bytes), receive.parked.from);
        let of_turn = std::mem::replace(&mut receive.left, SHARE_PDUS);
        let left = Self::chunk(&mut self.engine, receive, conn, &bytes[from..]).len();
        // If a share was all that the connection had, what comes is acted on as it comes again.
        receive.parked.takes_turns = left > 0;
        receive.left = of_turn;
        self.engine.settle_received();
        if left == 0 {
            receive.parked.from = 0;
            self.spare_parked.discount(&mut receive.parked);
            bytes.clear();
            self.spare_parked.give_back(bytes);
            return self.act_on_end(conn);
        }
        (receive.parked.from, receive.parked.bytes) = (bytes.len() - left, bytes);
        self.take_turns(conn);
    }

    /// All that was parked is done with: receives go on, if there is anything to come.
    fn act_on_end(&mut self, conn: usize) {
        let ended = self.receive.get_mut(conn).is_some_and(|receive| std::mem::take(&mut receive.parked.ended));
        if ended {
            self.forget_partial(conn);
            self.engine.disconnected(conn, CloseReason::Disconnected);
            self.engine.fabric.sweep(conn);
        } else if matches!(self.engine.fabric.links.get(conn), Some(Some(link)) if !link.receiving && link.moving.is_none())
        {
            self.engine.fabric.fresh.push(conn);
        }
    }
}

impl Receive {
    /// The connection gets something. If that is the first in this turn, its budget begins anew.
    #[inline]
    pub(super) fn begin_turn(&mut self, turn: u64) {
        if self.turn != turn {
            (self.turn, self.left) = (turn, TURN_PDUS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parked_is_bounded_for_all_together_and_counted() {
        let (mut spare, mut all) = (SpareParked::new(), Vec::new());
        while spare.has_room(PARKED_BYTES) {
            let mut parked = Parked { bytes: Vec::with_capacity(PARKED_BYTES), ..Parked::default() };
            assert!(parked.add(&[0; 4096]));
            spare.count(&mut parked);
            all.push(parked);
        }
        assert_eq!(all.len(), PARKED_BYTES_PER_CORE / PARKED_BYTES);
        spare.drop_of(&mut all[1]);
        assert!(spare.has_room(PARKED_BYTES) && all[1].is_empty());
        all.iter_mut().for_each(|parked| spare.discount(parked));
        assert_eq!(spare.used, 0);
    }

    #[test]
    fn the_host_that_has_most_parked_makes_room_whatever_one_connection_of_another_has() {
        let [one, many] = ["192.0.2.1", "192.0.2.2"].map(|ip| {
            let ip: std::net::IpAddr = ip.parse().unwrap();
            Some(Host::of((ip, 1).into()))
        });
        let full = [(one, 0, PARKED_BYTES), (many, 1, 4096), (many, 2, 8192), (many, 4, 4096)];
        assert_eq!(fullest(full.into_iter()), Some(0));
        let crowd = (5..2000).map(|conn| (many, conn, 4096));
        assert_eq!(fullest(full.into_iter().chain(crowd)), Some(2));
        assert_eq!((fullest([(one, 3, 0)].into_iter()), fullest([].into_iter())), (None, None));
    }
}
