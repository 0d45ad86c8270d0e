//! The one answer to an Expected Data Transfer Length that is not what a CDB needs.

use super::medium_op::Length;
use super::sense::{Outcome, asc};
use super::unit::LogicalUnit;

/// How an operation ends whose Data-Out is announced with a length that it cannot do with. Nothing is changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongLength {
    /// What the initiator is told.
    pub outcome: Outcome,
    /// Bytes that the residual count is reckoned from; zero: the CDB says nothing of what the initiator has announced.
    pub asked_bytes: u64,
}

impl LogicalUnit {
    /// Whether an operation can do with the Data-Out that the initiator has announced. `needed`: what its CDB asks for;
    /// both are bytes.
    ///
    /// # Errors
    /// Of an operation that is to have exactly what its CDB says, INVALID FIELD IN CDB. Otherwise what was announced ends
    /// inside a block: INVALID FIELD IN COMMAND INFORMATION UNIT, since the CDB is right. Part of a block cannot be
    /// written, and with GOOD what was delivered would have to be there.
    #[inline]
    pub fn check_data_out(&self, length: Length, needed: u64, announced: u64) -> Result<(), WrongLength> {
        let fits = match length {
            Length::Blocks => announced.min(needed).is_multiple_of(u64::from(self.block_bytes())),
            Length::All => announced >= needed,
            Length::Exact => announced == needed,
        };
        if fits { Ok(()) } else { Err(self.wrong_length(length, needed)) }
    }

    #[cold]
    fn wrong_length(&self, length: Length, needed: u64) -> WrongLength {
        let (asc_ascq, asked_bytes) = match length {
            Length::Exact => (asc::INVALID_FIELD_IN_CDB, 0),
            Length::Blocks | Length::All => (asc::INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT, needed),
        };
        WrongLength { outcome: self.formatted(Outcome::illegal(asc_ascq)), asked_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::params;
    use super::*;

    #[test]
    fn lengths() {
        let unit = LogicalUnit::new(params());
        let in_cdb = Some((0x2400, 0));
        let in_unit = |needed| Some((0x0e03, needed));
        for (length, needed, announced, expected) in [
            (Length::Blocks, 1024, 1024, None),
            (Length::Blocks, 1024, 512, None),
            (Length::Blocks, 1024, 0, None),
            (Length::Blocks, 1024, 1100, None),
            (Length::Blocks, 1024, 1000, in_unit(1024)),
            (Length::Blocks, 0, 7, None),
            (Length::All, 512, 512, None),
            (Length::All, 512, 513, None),
            (Length::All, 512, 511, in_unit(512)),
            (Length::All, 512, 0, in_unit(512)),
            (Length::Exact, 512, 512, None),
            (Length::Exact, 512, 0, in_cdb),
            (Length::Exact, 512, 1024, in_cdb),
            (Length::Exact, 0, 512, in_cdb),
        ] {
            let told = unit.check_data_out(length, needed, announced).err();
            let told = told.map(|wrong| (wrong.outcome.sense.map_or(0, |sense| sense.asc_ascq), wrong.asked_bytes));
            assert_eq!(told, expected, "{length:?}: {announced} of {needed}");
        }
    }
}
