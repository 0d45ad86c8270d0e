//! What a plan has done to files, until it is served.

use crate::backend::Fit;
use crate::unit::Unit;
use crate::world::fresh::Fresh;
use std::sync::Arc;

/// What a plan has made. Unless it is served, all of it is taken back.
#[derive(Default)]
pub(super) struct Made {
    /// Units to be added, in the order of the configuration.
    pub(super) fresh: Vec<Fresh>,
    pub(super) grown: Vec<Grown>,
}

impl Made {
    /// Keeps all of it, since it is served; the units to be added.
    pub(super) fn keep(self) -> impl Iterator<Item = Unit> {
        self.grown.into_iter().for_each(Grown::keep);
        self.fresh.into_iter().map(Fresh::keep)
    }
}

/// A unit that stays, whose file may have grown. When this is dropped the file gets its former length again, unless
/// that is kept.
pub(super) struct Grown {
    pub(super) unit: Arc<Unit>,
    /// `None`: what has grown is kept.
    pub(super) fit: Option<Fit>,
    pub(super) what: String,
}

impl Grown {
    fn keep(mut self) {
        self.fit = None;
    }
}

impl Drop for Grown {
    fn drop(&mut self) {
        if let Some(fit) = &self.fit
            && let Err(error) = self.unit.medium.ungrow(fit)
        {
            tracing::error!("{} has a longer file than before: {error}", self.what);
        }
    }
}
