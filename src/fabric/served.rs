//! Which configuration a core serves by, and what it has of earlier ones.

use crate::model::UnitIx;
use crate::world::{Change, World};
use std::sync::Arc;

/// The configuration of one core, beside its [`World`].
pub struct Served {
    /// The change that the world came with.
    latest: Arc<Change>,
    /// Units that are served no more, but still in use here.
    leaving: Vec<UnitIx>,
}

impl Served {
    /// With the first configuration.
    pub fn new(world: &Arc<World>) -> Served {
        Served { latest: Arc::new(Change { world: Arc::clone(world), resized: Vec::new() }), leaving: Vec::new() }
    }

    /// The change that the world came with, for who is to serve by it elsewhere.
    pub fn latest(&self) -> Arc<Change> {
        Arc::clone(&self.latest)
    }

    /// Another change was taken over.
    pub(super) fn set_latest(&mut self, change: &Arc<Change>) {
        self.latest = Arc::clone(change);
    }

    /// Notes the units that the world does not serve any more and core `own` still has.
    pub fn note_leaving(&mut self, own: usize) {
        let world = &self.latest.world;
        self.leaving = world.leaving.iter().copied().filter(|&unit| world.units[unit].is_held_by(own)).collect();
    }

    /// Whether units are to be let go of.
    pub fn are_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// The units that are to be let go of. Those that are still used are noted again ([`Served::leaves_later`]).
    pub fn take_leaving(&mut self) -> Vec<UnitIx> {
        std::mem::take(&mut self.leaving)
    }

    /// A unit is still used.
    pub fn leaves_later(&mut self, unit: UnitIx) {
        self.leaving.push(unit);
    }
}
