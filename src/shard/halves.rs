//! Connections that keep I/O buffers from others by half a PDU are closed, once somebody waits for buffers. (Commands
//! whose data does not come are ended in `exec/starve.rs`.)

use super::core::Core;
use crate::jobs::starved::Waiting;
use crate::limits::OWED_WHILE_OTHERS_WAIT_MS;
use crate::model::ConnNo;
use crate::session::seam::CloseReason;
use crate::transport::partial::PartialDest;

impl Core {
    /// Takes the buffers from commands that come with their data, of which no more has come for too long, while others
    /// wait for buffers. There is no command yet that could be answered: the connection is closed.
    pub(super) fn expire_halves(&mut self, waiting: Waiting) {
        if waiting == Waiting::default() {
            return;
        }
        let until_ms = self.fabric.now_ms.saturating_sub(OWED_WHILE_OTHERS_WAIT_MS);
        for conn in self.fabric.links.numbers() {
            if self.has_half_since(conn).is_some_and(|since_ms| since_ms <= until_ms)
                && self.fabric.seat_of(conn).is_some_and(|(seat, _)| waiting.besides(seat))
            {
                if matches!(self.fabric.links.get(conn), Some(link) if !link.receiving) {
                    // If a receive is under way it may have the buffer, and gives it back at its end.
                    self.forget_partial(conn);
                }
                self.disconnected(conn, CloseReason::NopTimeout);
                self.fabric.sweep(conn);
            }
        }
    }

    /// Since when a connection has been receiving a command whose data has an I/O buffer.
    fn has_half_since(&self, conn: ConnNo) -> Option<u64> {
        let half = self.fabric.links.receive(conn)?.partial.as_ref()?;
        let has_buffer = match half.dest {
            PartialDest::Staging(Some(_)) => true,
            PartialDest::Staging(None) => self.has_lent(conn),
            PartialDest::Gather(_) | PartialDest::Task(..) | PartialDest::Discard => false,
        };
        has_buffer.then_some(half.since_ms)
    }
}
