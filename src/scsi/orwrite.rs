//! ORWRITE(16) and (32) (SBC-4 clauses 4.27, 5.10 and 5.11): bits of a bitmap on the medium are set, or cleared together
//! with a change of the generation, which keeps those who still work for the old one from setting any.
//!
//! The generation is looked at when a command has its range for itself ([`LogicalUnit::or_allowed`]): a change of it has
//! the whole medium for itself, so nobody can pass the look with the old one and set bits after the new one has begun.

use super::call::{Call, Planned};
use super::cdb::{be32, be64};
use super::generation::{Allowed, Generation, Generations, policy};
use super::medium_op::MediumOp;
use super::plan::Plan;
use super::rw::{Extent, FUA, durable, unless_empty};
use super::sense::Outcome;
use super::unit::LogicalUnit;
use crate::limits;

impl LogicalUnit {
    /// Whether an ORWRITE goes through. To be asked when the command has its range for itself; one that changes the
    /// generation has the whole medium.
    ///
    /// # Errors
    /// ORWRITE GENERATION DOES NOT MATCH.
    pub fn or_allowed(&self, generation: Generation) -> Result<Allowed, Outcome> {
        self.state().generations.judge(generation).map_err(|outcome| self.formatted(outcome))
    }

    /// The data of a change generation and clear operation is on the medium: the new generation begins.
    pub fn or_changed(&self, generation: Generation) {
        if let Generation::Change { new, policy, .. } = generation {
            let generations = &mut self.state().generations;
            *generations = Generations { current: new, previous: generations.current, policy };
        }
    }
}

/// ORWRITE(16): of generation zero, as SBC-4 clause 4.27.2.2 wants it beside ORWRITE(32).
pub(super) fn or_write_16(call: &mut Call) -> Planned {
    set(call, Extent::of_16(call.cdb), call.cdb[1] & FUA != 0, 0)
}

fn set(call: &mut Call, extent: Extent, fua: bool, expected: u32) -> Planned {
    extent.check_transfer(call.unit)?;
    let Extent { lba, blocks, .. } = extent;
    let fua = fua || durable(call);
    unless_empty(blocks, MediumOp::OrWrite { lba, blocks, fua, generation: Generation::Set { expected } })
}

/// ORWRITE(32). A change of the generation is done in one slice. It is also done when there are no bits to clear.
pub(super) fn or_write_32(call: &mut Call) -> Planned {
    let cdb = call.command.cdb;
    let (operation, policy) = (call.cdb[2], call.cdb[3]);
    let extent = Extent { lba: be64(cdb, 12), blocks: be32(cdb, 28), length_at: 28 };
    let (expected, new) = (be32(cdb, 20), be32(cdb, 24));
    let fua = call.cdb[10] & FUA != 0;
    match operation {
        0 => return set(call, extent, fua, expected),
        1 if policy::KNOWN.contains(&policy) => {}
        1 => return Err(Outcome::invalid_cdb_field(3, 3)),
        _ => return Err(Outcome::invalid_cdb_field(2, 2)),
    }
    extent.check_transfer(call.unit)?;
    let Extent { lba, blocks, length_at } = extent;
    if u64::from(blocks) * u64::from(call.unit.block_bytes()) > limits::SLICE_BYTES as u64 {
        return Err(Outcome::invalid_cdb_field(length_at, 7));
    }
    let generation = Generation::Change { expected, new, policy };
    Ok(Plan::Medium(MediumOp::OrWrite { lba, blocks, fua: fua || durable(call), generation }))
}
