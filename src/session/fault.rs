//! Faults by blast radius. How each reaches the wire: `refuse`.

use crate::wire::RejectReason;

/// SCSI status CHECK CONDITION (SAM-5 clause 5.3.1).
pub(super) const CHECK_CONDITION: u8 = 0x02;
/// SCSI status GOOD.
pub(super) const GOOD: u8 = 0x00;

/// What a PDU that is not to be taken comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing happens, nothing is said.
    Ignore,
    /// A Reject; nothing else changes.
    RejectPdu(RejectReason),
    /// The session ends.
    DropSession(&'static str),
}

/// A condition that ends a task with CHECK CONDITION: those of RFC 7143 section 11.4.7.2, and a task attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskFault {
    UnexpectedUnsolicitedData,
    IncorrectAmountOfData,
    ProtocolServiceCrcError,
    SnackRejected,
    /// The ACA attribute while no auto contingent allegiance is established (SAM-5 clause 8.6.5).
    NoContingentAllegiance,
}

impl TaskFault {
    /// Fixed format sense data (SPC-4 clause 4.5.3): ABORTED COMMAND and the additional sense code of the RFC's table; an
    /// attribute that is not for now is an ILLEGAL REQUEST, INVALID MESSAGE ERROR.
    pub fn sense(self) -> [u8; 18] {
        let key = if self == TaskFault::NoContingentAllegiance { 0x05 } else { 0x0b };
        let (asc, ascq) = match self {
            TaskFault::UnexpectedUnsolicitedData => (0x0c, 0x0c),
            TaskFault::IncorrectAmountOfData => (0x0c, 0x0d),
            TaskFault::ProtocolServiceCrcError => (0x47, 0x05),
            TaskFault::SnackRejected => (0x11, 0x13),
            TaskFault::NoContingentAllegiance => (0x49, 0x00),
        };
        [0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0]
    }
}
