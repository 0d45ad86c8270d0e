//! ORWgeneration codes (SBC-4 clause 4.27): what tells set operations of one generation of a bitmap from those of the next.
//!
//! Generations live as long as the process: nothing but a power on or hard reset sets them back, a logical unit reset does
//! not (clause 4.27.3).

use super::sense::{Outcome, asc};

/// ORWgeneration codes and the ORWRITE processing policy; among the rare state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generations {
    pub(super) current: u32,
    pub(super) previous: u32,
    pub(super) policy: u8,
}

impl Default for Generations {
    /// The codes as they are after power on.
    fn default() -> Generations {
        Generations { current: 0, previous: 0, policy: policy::CURRENT_ONLY }
    }
}

/// What becomes of set operations whose generation is not the current one (SBC-4 table 29).
pub(super) mod policy {
    /// Those of the previous generation are performed, too; all others fail.
    pub const AND_PREVIOUS: u8 = 0;
    /// Those of the previous generation are discarded; all others fail.
    pub const DISCARD_PREVIOUS: u8 = 2;
    /// All are performed.
    pub const ALL: u8 = 3;
    /// All are discarded.
    pub const DISCARD: u8 = 5;
    /// All fail.
    pub const CURRENT_ONLY: u8 = 7;

    pub const KNOWN: [u8; 5] = [AND_PREVIOUS, DISCARD_PREVIOUS, ALL, DISCARD, CURRENT_ONLY];
}

/// What an ORWRITE says of generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// A set operation of this generation.
    Set {
        /// EXPECTED ORWGENERATION.
        expected: u32,
    },
    /// A change generation and clear operation.
    Change {
        /// EXPECTED ORWGENERATION: the one that ends.
        expected: u32,
        /// NEW ORWGENERATION.
        new: u32,
        /// PREVIOUS GENERATION PROCESSING.
        policy: u8,
    },
}

/// What is to be done with the data of an ORWRITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Perform the operation.
    Perform,
    /// Nothing, and the command ends GOOD.
    Discard,
}

impl Generations {
    pub(super) fn judge(&self, generation: Generation) -> Result<Allowed, Outcome> {
        const REFUSED: Outcome = Outcome::illegal(asc::ORWRITE_GENERATION_DOES_NOT_MATCH);
        match generation {
            Generation::Set { expected } | Generation::Change { expected, .. } if expected == self.current => {
                Ok(Allowed::Perform)
            }
            Generation::Change { .. } => Err(REFUSED),
            Generation::Set { expected } => match (self.policy, expected == self.previous) {
                (policy::AND_PREVIOUS, true) | (policy::ALL, _) => Ok(Allowed::Perform),
                (policy::DISCARD_PREVIOUS, true) | (policy::DISCARD, _) => Ok(Allowed::Discard),
                _ => Err(REFUSED),
            },
        }
    }
}
