//! The media, as the executors of all cores share them, of one configuration. It never changes: with another
//! configuration each executor is given another one.

use super::notice::Post;
use crate::model::{PerUnit, UnitIx};
use crate::rate::{Buckets, Gate, OPEN};
use crate::state::Keeper;
use crate::unit::Unit;
use crate::unit::errandry::Errandry;
use std::sync::Arc;

/// What the executors of all cores share, as of one configuration.
#[derive(Clone)]
pub struct Media {
    /// The units, by number.
    pub units: PerUnit<Arc<[Arc<Unit>]>>,
    /// All limits on commands and bytes a second.
    pub rates: Buckets,
    /// The limits of each unit, on commands and on bytes: places in `rates`.
    pub unit_rates: PerUnit<Vec<[u32; 2]>>,
    /// Stores what outlives the process.
    pub keeper: Arc<Keeper>,
    /// Has errands run.
    pub errandry: Arc<Errandry>,
    /// Tells the executors.
    pub post: Post,
}

impl Media {
    /// The gate of each unit for those who use it for no session.
    pub fn unit_gates(&self) -> impl Iterator<Item = (UnitIx, Gate)> {
        self.unit_rates.numbered().map(|(unit, [commands, bytes])| (unit, [*commands, *bytes, OPEN, OPEN]))
    }
}
