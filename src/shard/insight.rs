//! What a simulator does in a core that no initiator can ask for.

use super::core::Core;
use crate::scsi::LuNexus;
use crate::session::login::negotiate::Offer;

impl Core {
    /// Sets what it wants in the negotiations of logins to come.
    pub(crate) fn set_offer(&mut self, offer: Offer) {
        self.fabric.logins.offer = offer;
    }

    /// Lets the sessions that were not let hear before hear what their units have pending, as their hosts do with the
    /// first commands. `before`: what this returned then.
    pub(crate) fn let_hear(&mut self, before: u64) -> u64 {
        let seats = self.fabric.seats.iter_mut().filter(|seat| seat.serial > before);
        let heard = seats.map(|seat| {
            seat.nexus.iter_mut().for_each(LuNexus::forget_attentions);
            seat.serial
        });
        heard.fold(before, u64::max)
    }
}
