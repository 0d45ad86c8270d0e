//! What the sessions of a core keep for later, counted by host and bounded.

use super::seat::Seat;
use crate::limits::{KEPT_BYTES_PER_CORE, NEGOTIATION_BYTES_PER_CORE};
use crate::model::Host;
use crate::shares::Stores;

/// The budgets of one core.
pub struct Budgets {
    /// What sessions keep to send it again, and requests that they hold.
    kept: Stores,
    /// What text negotiations of sessions keep.
    negotiations: Stores,
}

impl Default for Budgets {
    fn default() -> Budgets {
        Budgets { kept: Stores::new(KEPT_BYTES_PER_CORE), negotiations: Stores::new(NEGOTIATION_BYTES_PER_CORE) }
    }
}

impl Budgets {
    /// Counts here what a session keeps, from now on.
    pub fn charge(&mut self, holder: &mut Seat) {
        let host = Host::of(holder.text.peer());
        let kept = self.kept.of(host);
        holder.session.keep_in(&kept);
        holder.sources.keep_in(&kept);
        holder.text.keep_in(&self.negotiations.of(host));
    }
}
