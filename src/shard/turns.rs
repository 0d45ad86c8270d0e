//! Peers take turns: how much of what one of them has sent is acted on before others are looked after, and what becomes of
//! the rest.
//!
//! What comes is acted on as it comes, up to `limits::TURN_PDUS` of a connection, and `TURN_PDUS_OF_ALL` and `TURN_US` of all
//! of them ([`crate::transport::acting`]): no initiator that waits for its answers has more. What is beyond is parked, and nothing
//! more is received until it is done with. All connections that have something parked share `limits::SHARE_US` of each turn,
//! `SHARE_PDUS` of one after the other, host by host, so that a turn is as short with many of them as with one. A connection
//! stays among those until a share of it was all that it had.
//!
//! Nor is anything acted on while what is queued for a connection has no room (`Tx::has_room`): who does not read is
//! answered no more, and its own window is what fills. The end of a connection whose bytes are parked comes when they are
//! done with.

use super::core::Core;
use crate::limits::{SHARE_PDUS, SHARE_US};
use crate::missing::Required;
use crate::model::{ConnNo, Host};
use crate::session::seam::CloseReason;
use crate::transport::acting::Acting;
use crate::transport::link::Halt;
use crate::transport::links::Connection;
use std::collections::BTreeMap;
use std::time::Duration;

/// Which connection takes most memory, among those of the host that takes most with all its connections. `None`: none
/// takes any. A host that has many connections with little on each does not get those of others closed. The host of
/// connections that are gone already is `None`.
fn fullest(all: impl Iterator<Item = (Option<Host>, ConnNo, usize)>) -> Option<ConnNo> {
    // Of each host: all that it takes, the most on one connection, and which that is.
    let mut hosts: BTreeMap<Option<Host>, (usize, usize, Option<ConnNo>)> = BTreeMap::new();
    for (host, conn, bytes) in all {
        let (all, most, fullest) = hosts.entry(host).or_default();
        *all += bytes;
        if bytes > *most {
            (*most, *fullest) = (bytes, Some(conn));
        }
    }
    hosts.into_values().max_by_key(|(all, ..)| *all)?.2
}

impl Core {
    /// Keeps bytes until it is their turn. Nothing more is received meanwhile. False: there are too many already.
    #[cold]
    pub(super) fn park(&mut self, conn: ConnNo, bytes: &[u8]) -> bool {
        while !self.spare_parked.has_room(bytes.len()) {
            if !self.close_fullest() {
                return false;
            }
        }
        let Some(receive) = self.fabric.links.receive_mut(conn).required("a receive side") else { return false };
        if receive.parked.bytes.capacity() == 0 {
            receive.parked.bytes = self.spare_parked.take();
        }
        let added = receive.parked.add(bytes);
        self.spare_parked.count(&mut receive.parked);
        if !added {
            return false;
        }
        self.fabric.rearm_receive(conn);
        self.take_turns(conn);
        true
    }

    /// Too much is parked for all connections together: drops what is parked on the fullest connection of the host that
    /// has most, and closes it. False: nothing is parked.
    #[cold]
    fn close_fullest(&mut self) -> bool {
        let links = &self.fabric.links;
        let host_of = |conn: ConnNo| links.get(conn).map(|link| Host::of(link.peer));
        let parked =
            links.numbers().filter_map(|conn| Some((host_of(conn), conn, links.receive(conn)?.parked.counted)));
        let Some(conn) = fullest(parked) else { return false };
        if let Some(receive) = self.fabric.links.receive_mut(conn).required("the receive side that was looked at") {
            self.spare_parked.drop_of(&mut receive.parked);
        }
        if matches!(self.fabric.links.get(conn), Some(link) if !link.receiving) {
            self.forget_partial(conn);
        }
        self.disconnected(conn, CloseReason::Protocol("most of what is received and cannot be acted on"));
        true
    }

    /// A connection has something parked: it has its turn with the others, or when there is room for what it is answered.
    #[cold]
    pub(super) fn take_turns(&mut self, conn: ConnNo) {
        // It may have moved away with its session.
        let Some((connection, pool)) = self.fabric.links.of_with_pool(conn) else { return };
        let Connection { receive: Some(receive), tx, link, .. } = connection else { return };
        let parked = &mut receive.parked;
        if parked.is_empty() || parked.queued {
            return;
        }
        if !tx.has_room(pool) {
            return tx.wait(None);
        }
        parked.queued = true;
        self.sharing.add(link.as_ref().map(|link| Host::of(link.peer)), conn);
    }

    /// A connection has moved in, with what it had parked.
    pub(super) fn settle_parked(&mut self, conn: ConnNo) {
        if let Some(receive) = self.fabric.links.receive_mut(conn).required("a receive side") {
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
        let watch = self.fabric.io.watch();
        let until = watch.now() + Duration::from_micros(SHARE_US);
        for conn in std::mem::take(&mut self.fabric.links.roomy) {
            if watch.now() >= until || !self.fill_room(conn, until) {
                self.fabric.links.roomy.push(conn);
            } else {
                self.take_turns(conn);
            }
        }
        for _ in 0..self.sharing.len() {
            let Some(conn) = self.sharing.next() else { return };
            self.fabric.acting = Acting::of_shares(until);
            self.act_on_share(conn);
            if watch.now() >= until {
                return;
            }
        }
    }

    fn act_on_share(&mut self, conn: ConnNo) {
        // It may have moved away with its session.
        let Some(receive) = self.fabric.links.receive_mut(conn) else { return };
        receive.parked.queued = false;
        if receive.parked.is_empty() {
            return;
        }
        if matches!(self.fabric.links.get(conn), Some(link) if link.halt == Halt::Stopped && !link.closing) {
            // The session is about to leave, and acts on the bytes where it goes.
            return;
        }
        let Some(receive) = self.fabric.links.receive_mut(conn).required("a receive side") else { return };
        let (mut bytes, from) = (std::mem::take(&mut receive.parked.bytes), receive.parked.from);
        let left = self.with_receive(conn, |core, receive| {
            let of_turn = std::mem::replace(&mut receive.left, SHARE_PDUS);
            let left = core.chunk(receive, conn, &bytes[from..]).len();
            // If a share was all that the connection had, what comes is acted on as it comes again.
            receive.parked.takes_turns = left > 0;
            receive.left = of_turn;
            left
        });
        self.settle_received();
        let Some((left, receive)) = left.zip(self.fabric.links.receive_mut(conn)).required("a receive side") else {
            return;
        };
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
    fn act_on_end(&mut self, conn: ConnNo) {
        let ended =
            self.fabric.links.receive_mut(conn).is_some_and(|receive| std::mem::take(&mut receive.parked.ended));
        if ended {
            self.forget_partial(conn);
            self.disconnected(conn, CloseReason::Disconnected);
            self.fabric.sweep(conn);
        } else if matches!(self.fabric.links.get(conn), Some(link) if !link.receiving && link.moving.is_none()) {
            self.fabric.links.fresh.push(conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PARKED_BYTES;

    #[test]
    fn the_host_that_has_most_parked_makes_room_whatever_one_connection_of_another_has() {
        let [one, many] = ["192.0.2.1", "192.0.2.2"].map(|ip| {
            let ip: std::net::IpAddr = ip.parse().unwrap();
            Some(Host::of((ip, 1).into()))
        });
        let conn = ConnNo::new;
        let full = [(one, conn(0), PARKED_BYTES), (many, conn(1), 4096), (many, conn(2), 8192), (many, conn(4), 4096)];
        assert_eq!(fullest(full.into_iter()), Some(conn(0)));
        let crowd = (5..2000).map(|number| (many, conn(number), 4096));
        assert_eq!(fullest(full.into_iter().chain(crowd)), Some(conn(2)));
        assert_eq!((fullest([(one, conn(3), 0)].into_iter()), fullest([].into_iter())), (None, None));
    }
}
