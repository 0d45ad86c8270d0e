//! Where a session's PDUs go: to the transmit sides of its connections.

use super::links::Connection;
use super::protocol::Protocol;
use super::tx::{BatchPool, Tx};
use crate::model::ConnNo;
use crate::session::seam::{ConnIx, DataRef, Outbox, Payload};
use crate::wire::{Bhs, crc};

/// The [`Outbox`] of a session: finds the connection's transmit side.
pub struct Outlet<'a> {
    /// All connections of the core, by number.
    pub all: &'a mut [Connection],
    /// Connection numbers of the session's slots.
    pub connections: &'a [Option<ConnNo>],
    /// Where new batches come from.
    pub pool: &'a mut BatchPool,
    /// Connections that have something to send this turn; may name one twice.
    pub dirty: &'a mut Vec<ConnNo>,
    /// Where LUN data is copied when its PDU is queued: from the first to the second, which is what the session knows
    /// of. `None`: it is not copied.
    pub copies: Option<(DataRef, DataRef)>,
}

impl Outbox for Outlet<'_> {
    #[inline]
    fn pdu(&mut self, conn: ConnIx, header: &Bhs, payload: Payload<'_>) {
        // What is sent on a connection that is gone goes nowhere.
        let Some(tx) = find(self.all, self.connections, conn) else { return };
        if tx.is_empty() {
            self.dirty.extend(self.connections.get(usize::from(conn.0)).copied().flatten());
        }
        let copied = match (self.copies, payload) {
            (Some((from, to)), Payload::Data { at, len }) => {
                let from = from.0 + (at.0 - to.0);
                // SAFETY: `from` lies in a RAM unit's memory, of which there are no references and where `exec/ram.rs` has
                // checked the range (`Executor::memory_of`); `at` is `len` bytes of an I/O buffer of ours. They never
                // overlap.
                #[allow(unsafe_code)]
                Some(unsafe { crc::copy(from as *const u8, at.0 as *mut u8, len as usize) })
            }
            _ => None,
        };
        if Protocol::counts(header) {
            self.pool.protocol.passed(header);
        }
        // Nothing is kept for what comes after: that would cost those whom nobody looks at.
        if tx.is_traced() {
            return self.traced_pdu(conn, header, payload, copied);
        }
        tx.pdu(header, payload, copied, self.pool);
    }
}

/// The transmit side of a connection of a session.
#[inline(always)]
fn find<'a>(all: &'a mut [Connection], of: &[Option<ConnNo>], conn: ConnIx) -> Option<&'a mut Tx> {
    let number = *of.get(usize::from(conn.0))?;
    Some(&mut all.get_mut(ConnNo::place(number))?.tx)
}

impl Outlet<'_> {
    /// Queues a PDU, and notes it for those who look at its connection.
    #[cold]
    #[inline(never)]
    fn traced_pdu(&mut self, conn: ConnIx, header: &Bhs, payload: Payload<'_>, sum: Option<u32>) {
        let Some(number) = self.connections.get(usize::from(conn.0)).copied().flatten() else { return };
        let Some(connection) = self.all.get_mut(number.at()) else { return };
        connection.tx.pdu(header, payload, sum, self.pool);
        let mut copied = std::mem::take(&mut self.pool.taps.copied);
        let data = match payload {
            Payload::Bytes(bytes) => bytes,
            Payload::Data { at, len }
                if connection.traced.as_deref().is_some_and(|traced| self.pool.taps.want_data(traced)) =>
            {
                let len = (len as usize).min(copied.capacity());
                copied.clear();
                // SAFETY: `at` is at least `len` bytes of an I/O buffer, or of a RAM unit, that stay there until what was
                // queued is out; `copied` has room for as many, and they do not overlap. Whatever others write meanwhile to a
                // RAM unit, each byte is read once, and no reference to it is made.
                #[allow(unsafe_code)]
                unsafe {
                    std::ptr::copy_nonoverlapping(at.0 as *const u8, copied.as_mut_ptr(), len);
                    copied.set_len(len);
                }
                &copied
            }
            Payload::Data { .. } | Payload::None => &[],
        };
        connection.note(true, (header, &[], data), true, &mut self.pool.taps);
        self.pool.taps.copied = copied;
    }

    /// The transmit side of a connection of the session, and where new batches come from.
    #[inline]
    pub fn tx(&mut self, conn: ConnIx) -> Option<(&mut Tx, &mut BatchPool)> {
        Some((find(self.all, self.connections, conn)?, self.pool))
    }
}
