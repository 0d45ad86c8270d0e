//! Residual counts: how what a CDB asked to move differs from what the initiator expected (RFC 7143 section 11.4.5).

use super::seam::Direction;
use super::task_command::TaskCommand;

/// The residual counts of a response (RFC 7143 section 11.4.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Residual {
    pub overflow: bool,
    pub underflow: bool,
    pub bytes: u32,
    pub bidi_overflow: bool,
    pub bidi_underflow: bool,
    pub bidi_bytes: u32,
}

/// Compares what the CDB asked to move (`presented`, the RFC's SPDTL) with EDTL, both in bytes. Returns overflow,
/// underflow, and the residual count in bytes.
#[inline]
fn compare(presented: u64, expected: u32) -> (bool, bool, u32) {
    //= RFC 7143 section 11.4.5.2
    //# If SPDTL > EDTL for a task, iSCSI Overflow MUST be signaled in the
    //# SCSI Response PDU as specified in Section 11.4.5.1.  The Residual
    //# Count MUST be set to the numerical value of (SPDTL - EDTL).
    //= RFC 7143 section 11.4.5.2
    //# If SPDTL < EDTL for a task, iSCSI Underflow MUST be signaled in the
    //# SCSI Response PDU as specified in Section 11.4.5.1.  The Residual
    //# Count MUST be set to the numerical value of (EDTL - SPDTL).
    let expected = u64::from(expected);
    // Nearly always.
    if presented == expected {
        return (false, false, 0);
    }
    let count = u32::try_from(presented.abs_diff(expected)).unwrap_or(u32::MAX);
    //= RFC 7143 section 11.4.5.1
    //# The Residual Count field MUST be valid in the case where either the U
    //# bit or the O bit is set.
    //= RFC 7143 section 11.4.5.1
    //# If neither bit is set, the Residual Count field MUST be ignored on
    //# reception and SHOULD be set to 0 when sending.
    //= RFC 7143 section 11.4.5.3
    //# an iSCSI Residual Overflow has not occurred and the iSCSI (O) bit MUST
    //# NOT be set in the SCSI Response or final SCSI Data-Out PDU.
    //= RFC 7143 section 11.4.5.3
    //# However, if the iSCSI EDTL is larger than the ALLOCATION LENGTH in this
    //# scenario, note that the iSCSI Underflow MUST be signaled in the SCSI
    //# Response PDU.
    //= RFC 7143 section 11.4.5.3
    //# An iSCSI Underflow MUST also be signaled when the iSCSI EDTL is equal to
    //# the ALLOCATION LENGTH but the LU inventory data presented to the iSCSI
    //# layer is smaller than the ALLOCATION LENGTH.
    (presented > expected, presented < expected, count)
}

impl Residual {
    /// The residual of a command whose CDB asked to transfer `presented` bytes in `direction`. A direction that the
    /// initiator did not announce has an expected length of 0 there.
    #[inline]
    pub fn of(command: &TaskCommand, presented: u64, direction: Direction) -> Residual {
        let (to_initiator, to_target) = match direction {
            Direction::None => (0, 0),
            Direction::In => (presented, 0),
            Direction::Out => (0, presented),
        };
        if command.is_bidirectional() {
            //= RFC 7143 section 11.4.6
            //# The Bidirectional Read Residual Count field MUST be valid in the case
            //# where either the u bit or the o bit is set.
            let (overflow, underflow, bytes) = compare(to_target, command.edtl_bytes);
            let (bidi_overflow, bidi_underflow, bidi_bytes) = compare(to_initiator, command.bidi_read_edtl_bytes);
            return Residual { overflow, underflow, bytes, bidi_overflow, bidi_underflow, bidi_bytes };
        }
        let announced = match direction {
            Direction::None => true,
            Direction::In => command.read,
            Direction::Out => command.write,
        };
        let expected = if announced || presented == 0 { command.edtl_bytes } else { 0 };
        let (overflow, underflow, bytes) = compare(to_initiator + to_target, expected);
        Residual { overflow, underflow, bytes, ..Residual::default() }
    }
}
