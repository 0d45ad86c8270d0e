//! Where a session's PDUs go: to the transmit sides of its connections.

use super::links::Connection;
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
    /// The transmit side of a connection of the session, and where new batches come from.
    #[inline]
    pub fn tx(&mut self, conn: ConnIx) -> Option<(&mut Tx, &mut BatchPool)> {
        Some((find(self.all, self.connections, conn)?, self.pool))
    }
}
