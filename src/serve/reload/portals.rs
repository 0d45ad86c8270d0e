//! Portals that come, go, or are said to be otherwise.

use super::Reloader;
use super::plan::Mode;
use crate::model::Snapshot;
use crate::serve::error::ServeError;
use crate::serve::portals::PortalPlan;
use crate::world::missing::MissingPortal;

impl Reloader {
    /// What is to be done for the portals of `snapshot`, which has those afterwards that are listened on, and the portals that are
    /// not to be had.
    pub(super) fn plan_portals(
        &self,
        snapshot: &mut Snapshot,
        mode: Mode,
    ) -> Result<(PortalPlan, Vec<MissingPortal>), ServeError> {
        let Some(portals) = &self.portals else {
            snapshot.portals.clone_from(&self.world.directory.snapshot().portals);
            return Ok(Default::default());
        };
        let mut plan = portals.borrow_mut().plan(snapshot, self.cores);
        let mut missing = Vec::new();
        for (portal, error, waits) in std::mem::take(&mut plan.failed) {
            let is_known = || self.world.missing.lock().portals.iter().any(|of| of.portal == portal);
            let is_needed = match mode {
                Mode::Whole => true,
                Mode::Change => !is_known(),
                Mode::File | Mode::Again => false,
            };
            if is_needed && !waits {
                return Err(error);
            }
            missing.push(MissingPortal { portal, why: error.to_string(), waits });
        }
        Ok((plan, missing))
    }
}
