//! Who looks on at PDUs from outside of the data path (`transport/tap.rs`): comes, goes, and is forgotten; and whose
//! connections those are that are looked at.

use super::Fabric;
use super::look::{Look, Looked, Who};
use crate::model::ConnNo;
use crate::transport::link::Phase;
use crate::transport::receiving::Receive;
use crate::wire::{Bhs, Cid, Tsih};

impl Fabric {
    /// Somebody comes for what was noted.
    pub fn show_noted(&mut self, Look { id, what, empty, answer }: Look) {
        let looked = self.links.pool.taps.look(id, &what, empty);
        if matches!(looked, Looked::Begun) {
            self.trace_all();
        }
        answer(looked);
    }

    /// Somebody looks on no more.
    pub fn end_look(&mut self, id: u64) {
        if self.links.pool.taps.end(id) {
            self.trace_all();
        }
    }

    /// Forgets those who have not come for long.
    pub fn end_unasked_looks(&mut self) {
        if self.links.pool.taps.end_unasked() {
            self.trace_all();
        }
    }

    fn trace_all(&mut self) {
        for conn in self.links.numbers() {
            self.trace(conn);
        }
    }

    /// The header of a PDU has come whose data comes in pieces.
    #[cold]
    pub fn note_begin(&mut self, conn: ConnNo, bhs: &Bhs, ahs: &[u8]) {
        if let Some(traced) = self.links.of_mut(conn).and_then(|of| of.traced.as_mut()) {
            traced.begin(bhs, ahs);
        }
    }

    /// A piece of that data has come.
    #[cold]
    pub fn note_data(&mut self, conn: ConnNo, bytes: &[u8]) {
        if let Some((connection, pool)) = self.links.of_with_pool(conn)
            && let Some(traced) = &mut connection.traced
        {
            let wanted = pool.taps.want_data(traced);
            traced.data(bytes, wanted);
        }
    }

    /// That PDU is there in whole.
    #[cold]
    pub fn note_end(&mut self, conn: ConnNo, digest_ok: bool) {
        let traced = self.links.of_mut(conn).and_then(|of| of.traced.as_mut());
        if let Some((bhs, ahs, data)) = traced.and_then(|traced| traced.end()) {
            self.links.note_received(conn, (&bhs, &ahs, &data), digest_ok);
        }
    }

    /// Notes a PDU of a login.
    #[cold]
    pub fn note_login(&mut self, conn: ConnNo, header: &Bhs, data: &[u8]) {
        let phase = self.links.get(conn).map(|link| &link.phase);
        let begins = matches!(phase, Some(Phase::Login { login, .. }) if !login.has_begun());
        self.links.note_login(conn, begins, header, data);
    }

    /// Whether somebody looks at a connection, as of now.
    #[inline]
    pub fn note_whether_traced(&self, receive: &mut Receive, conn: ConnNo) {
        receive.is_traced = self.links.tx(conn).is_some_and(|tx| tx.is_traced());
    }

    /// Those who look on are to look at a connection, or not any more. Of one that is logging in it is not known any more
    /// whose it will be: only who looks at all connections looks at it.
    #[cold]
    pub fn trace(&mut self, conn: ConnNo) {
        let Some(link) = self.links.get(conn) else { return };
        let (peer, local) = (link.peer, link.local);
        let (mut tsih, mut cid, mut target) = (Tsih(0), Cid(0), None);
        if let Phase::Full { seat, ix } = link.phase
            && let Some(holder) = self.seats.get(seat)
        {
            let session = &holder.session;
            (tsih, cid) = (holder.tsih(), session.cid(ix).unwrap_or_default());
            target = session.init().target_name.clone();
        }
        let is_half_open = link.phase.is_half_open();
        let is_new = self.links.of(conn).is_some_and(|of| of.traced.is_none());
        self.links.trace(conn, Who { tsih, cid, peer, local }, target.as_ref());
        if is_half_open
            && is_new
            && let Some(traced) = self.links.of_mut(conn).and_then(|of| of.traced.as_mut())
        {
            traced.was_begun();
        }
    }
}
