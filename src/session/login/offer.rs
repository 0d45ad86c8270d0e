//! What this target wants in a negotiation, as plain values.

use crate::limits;
use crate::session::params::TaskReporting;

/// The digest that is not None.
pub(super) const CRC32C: &str = "CRC32C";

/// What this target wants of each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// HeaderDigest values that are accepted.
    pub header_digest: Digests,
    /// DataDigest values that are accepted.
    pub data_digest: Digests,
    /// MaxConnections.
    pub max_connections: u16,
    /// InitialR2T.
    pub initial_r2t: bool,
    /// ImmediateData.
    pub immediate_data: bool,
    /// MaxRecvDataSegmentLength, bytes: declared, whatever the initiator's is.
    pub max_recv_bytes: u32,
    /// MaxBurstLength, bytes.
    pub max_burst_bytes: u32,
    /// FirstBurstLength, bytes.
    pub first_burst_bytes: u32,
    /// DefaultTime2Wait, seconds.
    pub time2wait_s: u16,
    /// DefaultTime2Retain, seconds.
    pub time2retain_s: u16,
    /// MaxOutstandingR2T.
    pub max_outstanding_r2t: u16,
    /// ErrorRecoveryLevel.
    pub error_recovery_level: u8,
    /// TaskReporting: FastAbort is accepted.
    pub fast_abort: bool,
    /// iSCSIProtocolLevel.
    pub protocol_level: u8,
    /// Initiators are held to the letter also where being liberal loses nothing: names, AuthMethod in the operational stage,
    /// and numbers for keys that are irrelevant.
    pub strict: bool,
}

/// Which values of a digest key are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// None.
    pub none: bool,
    /// CRC32C.
    pub crc32c: bool,
}

impl Digests {
    const EITHER: Self = Self { none: true, crc32c: true };
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            header_digest: Digests::EITHER,
            data_digest: Digests::EITHER,
            max_connections: limits::CONNECTIONS_PER_SESSION as u16,
            initial_r2t: false,
            immediate_data: true,
            max_recv_bytes: limits::TARGET_MAX_RECV_BYTES,
            max_burst_bytes: limits::MAX_BURST_BYTES,
            first_burst_bytes: limits::FIRST_BURST_BYTES,
            time2wait_s: 0,
            // This counts at ErrorRecoveryLevel 2 only. Below, nothing survives the connection, and 0 is answered.
            time2retain_s: 20,
            max_outstanding_r2t: limits::MAX_OUTSTANDING_R2T,
            //= RFC 7143 section 10.6.1
            //# A consideration of the above factors for SCSI tape devices as an example
            //# suggests that implementations SHOULD use ErrorRecoveryLevel=1 when
            //# transport connection failure is not a concern and SCSI-level recovery is
            //# unavailable, and ErrorRecoveryLevel=2 when there is a high likelihood of
            //# connection failure during a backup/retrieval.
            //= RFC 7143 section 10.6.1
            //# For extended copy operations, implementations SHOULD use
            //# ErrorRecoveryLevel=2 whenever there is a relatively high likelihood of
            //# connection failure.
            // The target serves both levels. The initiator decides which one is used, by what it proposes.
            error_recovery_level: 2,
            fast_abort: true,
            protocol_level: 2,
            strict: false,
        }
    }
}

impl Digests {
    /// Whether a value of the list may be chosen.
    pub(super) fn accepts(self, value: &str) -> bool {
        match value {
            //= RFC 7143 section 6.2.1
            //# The constant "None" MUST always be used to indicate a missing function.
            "None" => self.none,
            //= RFC 7143 section 13.1
            //# The following table lists cyclic integrity checksums that can be
            //# negotiated for the digests and MUST be implemented by every iSCSI
            //# initiator and target.
            CRC32C => self.crc32c,
            _ => false,
        }
    }
}

impl Offer {
    /// The value of TaskReporting that a text means, if we support it.
    pub(super) fn task_reporting(&self, value: &str) -> Option<TaskReporting> {
        match value {
            //= RFC 7143 section 13.23
            //# The following table describes the semantics that an iSCSI target MUST
            //# support for respective negotiated key values.
            "RFC3720" => Some(TaskReporting::Rfc3720),
            "ResponseFence" => Some(TaskReporting::ResponseFence),
            //= RFC 7143 section 10.7
            //# Therefore, both iSCSI target and initiator implementations SHOULD
            //# support FastAbort multi-task abort semantics (Section 4.2.3.4).
            "FastAbort" if self.fast_abort => Some(TaskReporting::FastAbort),
            _ => None,
        }
    }
}
