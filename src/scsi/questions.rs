//! What whoever serves a logical unit has to know of a command besides its plan. A CDB or sense data is looked into nowhere
//! else (`tests/layers`).

use super::cdb::byte;
use super::copy::out_action;
use super::opcode;
use super::persistent::action;
use super::sense::{Outcome, Sense, key};

const PERSISTENT_RESERVE_OUT: u8 = 0x5f;
const THIRD_PARTY_COPY_OUT: u8 = 0x83;
/// Where the service action is, of CDBs that have one in byte 1.
const ACTION: u8 = 0x1f;

/// Whether a command has tasks of others aborted, on all cores: PREEMPT AND ABORT (SPC-4 clause 6.16).
pub fn aborts_others(cdb: &[u8]) -> bool {
    byte(cdb, 0) == PERSISTENT_RESERVE_OUT && byte(cdb, 1) & ACTION == action::PREEMPT_AND_ABORT
}

/// Whether a command that has ended well has ended copies: COPY OPERATION ABORT (SPC-4 clause 6.3).
pub fn ends_copies(cdb: &[u8]) -> bool {
    byte(cdb, 0) == THIRD_PARTY_COPY_OUT && byte(cdb, 1) & ACTION == out_action::COPY_OPERATION_ABORT
}

/// Whether a command asks if the logical unit is ready: TEST UNIT READY (SPC-4 clause 6.47).
pub fn asks_readiness(cdb: &[u8]) -> bool {
    byte(cdb, 0) == opcode::TEST_UNIT_READY
}

/// Whether nothing that is answered after this outcome may arrive before it, nor what was answered before it after it: the
/// Response Fence flag of RFC 7143 section 4.2.2.3, for a unit attention and for PREEMPT AND ABORT.
pub fn is_fenced(cdb: &[u8], outcome: &Outcome) -> bool {
    matches!(outcome.sense, Some(Sense { key: key::UNIT_ATTENTION, .. })) || aborts_others(cdb)
}

#[cfg(test)]
mod tests {
    use super::super::attention::Attention;
    use super::super::sense::asc;
    use super::*;

    #[test]
    fn what_is_asked_of_a_cdb() {
        let asked = |cdb: &[u8]| [aborts_others(cdb), ends_copies(cdb), asks_readiness(cdb)];
        assert_eq!(asked(&[0x5f, 5, 0]), [true, false, false]);
        assert_eq!(asked(&[0x5f, 4, 0]), [false; 3]);
        assert_eq!(asked(&[0x83, 0x1c, 0]), [false, true, false]);
        assert_eq!(asked(&[0x83, 0x10, 0]), [false; 3]);
        assert_eq!(asked(&[0, 0, 0]), [false, false, true]);
        assert_eq!(asked(&[0x28, 5, 0]), [false; 3]);
    }

    #[test]
    fn what_is_fenced() {
        let attention = Outcome::check(Attention::PowerOn.sense());
        for (cdb, outcome, expected) in [
            ([0x28, 0], attention, true),
            (
                [0x28, 0],
                Outcome { sense: attention.sense.map(|s| Sense { descriptor_format: true, ..s }), ..attention },
                true,
            ),
            ([0x28, 0], Outcome::GOOD, false),
            ([0x28, 0], Outcome::illegal(asc::INVALID_FIELD_IN_CDB), false),
            ([0x5f, 5], Outcome::GOOD, true),
            ([0x5f, 4], Outcome::GOOD, false),
        ] {
            assert_eq!(is_fenced(&cdb, &outcome), expected, "{cdb:02x?} {outcome:?}");
        }
    }
}
