//! What is sent: a turn's worth of it, what becomes of a send that is over, and who waits for room.

use super::core::Core;
use crate::fabric::Owed;
use crate::session::seam::CloseReason;
use crate::transport::links::Connection;
use crate::transport::number::ConnNo;
use crate::transport::tx::Tx;
use std::time::Instant;

impl Core {
    /// Pushes what is to be sent, a turn's worth of it.
    pub fn flush(&mut self) {
        self.fabric.flush();
        self.executor.memory.read_soon = 0;
    }

    /// A send completed.
    pub fn sent(&mut self, conn: ConnNo, result: i32) {
        let Some(Connection { link: Some(link), tx, .. }) = self.fabric.links.of_mut(conn) else { return };
        if result <= 0 && result != -libc::EINTR && result != -libc::EAGAIN {
            // The send is over but its batch is kept until the connection is torn down.
            tx.fail();
            self.disconnected(conn, CloseReason::Disconnected);
            return self.fabric.sweep(conn);
        }
        link.sent_ms = self.fabric.now_ms;
        let sent = result.max(0) as usize;
        let largest = &mut self.fabric.stats.largest_batch_bytes;
        *largest = (*largest).max(tx.sending_bytes() as u64);
        let more = tx.sent(sent, &mut self.fabric.pool);
        if tx.takes_more() {
            self.fabric.links.roomy.push(conn);
        }
        if more {
            self.fabric.links.dirty.push(conn);
        } else {
            self.fabric.sweep(conn);
        }
    }

    /// Has those go on that waited for room on a connection, or that wait for nothing any more since the connection is
    /// gone: each for a piece, until `until`. False: some are left, and there is room.
    #[cold]
    pub fn fill_room(&mut self, conn: ConnNo, until: Instant) -> bool {
        let Some(mut left) = self.fabric.links.tx(conn).map(Tx::waiting) else { return true };
        while left > 0
            && let Some(tx) = self.fabric.links.tx_mut(conn)
            && tx.has_room(&self.fabric.pool)
            && let Some((seat, slot)) = tx.next_waiting()
        {
            left -= 1;
            if slot == crate::transport::tx::REREADS {
                self.reread_on(seat);
                self.fabric.owed.push(Owed::Events(seat));
            } else {
                self.executor.has_room(seat, slot, &mut self.fabric);
            }
            if self.fabric.io.watch().now() >= until {
                break;
            }
        }
        match self.fabric.links.tx_mut(conn) {
            Some(tx) if tx.waiting() > 0 && tx.has_room(&self.fabric.pool) => false,
            Some(tx) if tx.waiting() > 0 => {
                tx.wait(None);
                true
            }
            _ => true,
        }
    }
}
