//! How much room a thin logical unit has: what page 0Ch of LOG SENSE tells, and the soft threshold of SBC-3 clause 4.7.3.7.
//!
//! Whoever serves the unit measures its medium now and then, and says so with [`LogicalUnit::note_space`]. When what is
//! available falls to the threshold every nexus is told 38/07, once; they are told again only after there has been
//! more.

use super::attention::{Attention, Recipients};
use super::state::State;
use super::unit::LogicalUnit;
use crate::model::Space;

/// Threshold sets are of 1 MiB: four billion of them, which is what the fields hold, are more than a file can have.
const THRESHOLD_SET_BYTES: u64 = 1 << 20;

impl LogicalUnit {
    /// Takes a measurement of the medium. `None`: it cannot be measured. Of a unit that is not thin nothing is noted.
    pub fn note_space(&self, space: Option<Space>) {
        if !self.params().thin {
            return;
        }
        let mut state = self.state();
        state.pool.space = space;
        let (Some(threshold), Some(space)) = (self.params().low_space_bytes, space) else { return };
        let low = space.available_bytes <= threshold;
        if low && !state.pool.low {
            self.post(&mut state, Attention::ThinProvisioningSoftThreshold, Recipients::Except(None));
        }
        state.pool.low = low;
    }

    /// The last measurement.
    pub(super) fn space(&self) -> Option<Space> {
        self.state().pool.space
    }

    /// Bytes of a threshold set: 2 to the power of [`LogicalUnit::threshold_exponent`] blocks.
    pub(super) fn threshold_set_bytes(&self) -> u64 {
        THRESHOLD_SET_BYTES.max(u64::from(self.block_bytes()))
    }

    /// THRESHOLD EXPONENT of VPD page B2h; zero: no thresholds.
    pub(super) fn threshold_exponent(&self) -> u8 {
        if self.space().is_none() {
            return 0;
        }
        (self.threshold_set_bytes() / u64::from(self.block_bytes().max(1))).max(1).ilog2() as u8
    }

    /// THRESHOLD COUNT of the soft threshold, if there is one.
    pub(super) fn threshold_count(&self, state: &State) -> Option<u32> {
        state.pool.space?;
        let sets = self.params().low_space_bytes?.div_ceil(self.threshold_set_bytes());
        Some(u32::try_from(sets).unwrap_or(u32::MAX))
    }
}
