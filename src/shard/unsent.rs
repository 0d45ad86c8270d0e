//! Answers that are on their way from memory when the right to read it is lost.
//!
//! A RAM unit is sent from where it lies (`exec/ram.rs`). Of a READ that is over for us, the peer may not have taken
//! everything yet: the rest is sent with what others have written since. No abort finds such a READ, so the connection
//! goes, with all that is queued on it.

use super::core::Core;
use crate::model::{SeatIx, UnitIx};
use crate::session::seam::CloseReason;
use crate::transport::link::Phase;
use crate::unit::fence::Fence;
use std::sync::Arc;

impl Core {
    /// Cuts the connections of the sessions that are meant on which something is still to be sent from the memory of
    /// these units. It is not known any more whose a connection was that is being closed already: those go, too.
    #[cold]
    pub fn cut_unsent(&mut self, units: &[UnitIx], is_meant: impl Fn(SeatIx) -> bool) {
        // Another core may know of a unit that has not been heard of here.
        let units = units.iter().filter_map(|unit| self.fabric.world.units.get(*unit));
        let fences: Vec<Arc<Fence>> = units.map(|unit| Arc::clone(&unit.fence)).collect();
        for conn in self.fabric.links.numbers() {
            let Some(link) = self.fabric.links.get(conn) else { continue };
            let is_meant = match link.phase {
                Phase::Full { seat, .. } => is_meant(seat),
                _ => link.closing,
            };
            if is_meant && self.fabric.links.tx(conn).is_some_and(|tx| tx.sends_from(&fences)) {
                self.disconnected(conn, CloseReason::Reset);
            }
        }
    }
}
