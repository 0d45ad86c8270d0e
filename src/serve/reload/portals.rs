//! Portals that come, go, or are said to be otherwise.

use super::Reloader;
use super::plan::Mode;
use crate::model::{Portal, Snapshot};
use crate::serve::error::ServeError;
use crate::serve::portals::PortalPlan;
use crate::world::missing::MissingPortal;

impl Reloader {
    /// What is to be done for the portals of `snapshot`, which has those afterwards that are listened on, and the portals that are
    /// not to be had. What is different is noted in `done`.
    pub(super) fn plan_portals(
        &self,
        snapshot: &mut Snapshot,
        mode: Mode,
        done: &mut Vec<String>,
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
        note(&self.world.directory.snapshot().portals, &snapshot.portals, done);
        Ok((plan, missing))
    }
}

/// Says what is different.
fn note(old: &[Portal], new: &[Portal], done: &mut Vec<String>) {
    let find = |all: &[Portal], portal: &Portal| all.iter().find(|of| of.listen == portal.listen).cloned();
    let of_group = |portal: &Portal| {
        let advertise = portal.advertise.map(|at| format!(", advertised as {at}")).unwrap_or_default();
        format!("portal {} group {}{advertise}", portal.listen, portal.group_tag)
    };
    for portal in new {
        match find(old, portal) {
            None => done.push(format!("{} added", of_group(portal))),
            Some(old) if old != *portal => {
                done.push(format!("{} instead of group {}", of_group(portal), old.group_tag))
            }
            Some(_) => {}
        }
    }
    let gone = old.iter().filter(|portal| find(new, portal).is_none());
    done.extend(gone.map(|portal| format!("portal {} removed", portal.listen)));
}
