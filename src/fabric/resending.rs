//! Read data that has to be sent once more (ErrorRecoveryLevel 1 and 2): room for it, and sending it when it was read (`shard/resend.rs`).

use super::{Fabric, Parts};
use crate::missing::Required;
use crate::model::{MediumFault, SeatIx};
use crate::tasks::sink::Reread;
use crate::transport::tx::HasMore;

impl Fabric {
    /// Whether there is room for what a session is to send again next. If not, it goes on when there is.
    pub fn has_room_to_resend(&mut self, seat: SeatIx) -> bool {
        let Some(Parts { seat: holder, mut out, .. }) = self.parts(seat).required("the session that was looked at")
        else {
            return false;
        };
        let Some((task, ..)) = holder.sources.asked.front() else { return true };
        let conn = holder.session.resend_connection(*task);
        let tx = conn.and_then(|conn| out.tx(conn));
        let Some((tx, _)) = tx.filter(|(tx, pool)| !tx.has_room(pool)) else { return true };
        holder.sources.crowded = true;
        tx.wait(Some(HasMore::Rereads(seat)));
        false
    }

    /// Data that is to be sent again was read, or could not be.
    pub fn reread_done(&mut self, reread: Reread, result: Result<(), MediumFault>) {
        let Reread { holder: (seat, serial), task, offset, len, lead, buf } = reread;
        let at = buf.data(lead as usize + len as usize).map(|at| at.advanced(lead));
        // The session may be gone since.
        let Some(Parts { seat: holder, mut out, .. }) = self.parts(seat).filter(|p| p.seat.serial == serial) else {
            return;
        };
        holder.sources.busy = false;
        let conn = holder.session.resend_connection(task);
        let sent = holder.session.resend(task, offset, len, result.ok().and(at), &mut out);
        if sent && let Some((tx, _)) = conn.and_then(|conn| out.tx(conn)) {
            tx.release_after(buf);
        }
    }
}
