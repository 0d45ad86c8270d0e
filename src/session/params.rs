//! The negotiated values of a session and its connections, as plain numbers.
//!
//! Text is parsed once, at login (`login::negotiate`); from then on only these typed values exist. Lengths are bytes
//! and are named by their receiver.

use crate::model::{InitiatorPort, IscsiName};
use crate::wire::Tsih;

/// What a session is for (RFC 7143 sections 4.3 and 13.21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SessionKind {
    /// SCSI commands.
    #[default]
    Normal,
    /// SendTargets and Logout only.
    Discovery,
}

/// What chapter 13 of RFC 7143 left both sides agreed upon, for one session and (digests, segment lengths) one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// What each connection has for itself.
    pub own: OwnParams,
    /// MaxConnections (13.2).
    pub max_connections: u16,
    /// InitialR2T=Yes (13.10).
    pub initial_r2t: bool,
    /// ImmediateData=Yes (13.11).
    pub immediate_data: bool,
    /// MaxBurstLength (13.13).
    pub max_burst_bytes: u32,
    /// FirstBurstLength (13.14).
    pub first_burst_bytes: u32,
    /// DefaultTime2Wait, seconds (13.15).
    pub time2wait_s: u16,
    /// DefaultTime2Retain, seconds (13.16).
    pub time2retain_s: u16,
    /// MaxOutstandingR2T (13.17).
    pub max_outstanding_r2t: u16,
    /// DataPDUInOrder (13.18).
    pub data_pdu_in_order: bool,
    /// DataSequenceInOrder (13.19).
    pub data_sequence_in_order: bool,
    /// ErrorRecoveryLevel (13.20).
    pub error_recovery_level: u8,
    /// TaskReporting (13.23).
    pub task_reporting: TaskReporting,
    /// iSCSIProtocolLevel (13.24).
    pub protocol_level: u8,
}

/// What each connection negotiates for itself (scope CO in RFC 7143 chapter 13): digests and segment lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnParams {
    /// HeaderDigest=CRC32C (RFC 7143 section 13.1).
    pub header_digest: bool,
    /// DataDigest=CRC32C (RFC 7143 section 13.1).
    pub data_digest: bool,
    /// MaxRecvDataSegmentLength that the initiator declared: what we may send in one PDU (13.12).
    pub initiator_max_recv_bytes: u32,
    /// MaxRecvDataSegmentLength that we declared: what we accept in one PDU (13.12).
    pub target_max_recv_bytes: u32,
}

impl Default for OwnParams {
    /// The values that hold before any negotiation.
    fn default() -> Self {
        OwnParams {
            header_digest: false,
            data_digest: false,
            initiator_max_recv_bytes: 8192,
            target_max_recv_bytes: 8192,
        }
    }
}

/// TaskReporting (RFC 7143 section 13.23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskReporting {
    /// RFC3720 semantics.
    Rfc3720,
    /// ResponseFence.
    ResponseFence,
    /// FastAbort.
    FastAbort,
}

impl Default for Params {
    /// The values of RFC 7143 chapter 13 that hold before any negotiation.
    fn default() -> Self {
        Params {
            own: OwnParams::default(),
            max_connections: 1,
            initial_r2t: true,
            immediate_data: true,
            max_burst_bytes: 262_144,
            first_burst_bytes: 65_536,
            time2wait_s: 2,
            time2retain_s: 20,
            max_outstanding_r2t: 1,
            data_pdu_in_order: true,
            data_sequence_in_order: true,
            error_recovery_level: 0,
            task_reporting: TaskReporting::Rfc3720,
            protocol_level: 1,
        }
    }
}

impl Params {
    /// Returns the parameters of a connection that joins or reinstates: `self` is what it negotiated, `session` what
    /// holds for all connections.
    #[must_use]
    pub fn joined_to(self, session: &Params) -> Params {
        //= RFC 7143 section 13
        //# Some session-specific parameters MUST only be carried on the leading
        //# connection and cannot be changed after the leading connection login
        Params { own: self.own, ..*session }
    }
}

/// What a login leaves behind of a session.
#[derive(Debug, Clone)]
pub struct SessionInit {
    /// The SCSI initiator port.
    pub initiator: InitiatorPort,
    /// The target node; `None` in a discovery session that named none.
    pub target_name: Option<IscsiName>,
    /// The portal group tag; with the target's name, the SCSI target port.
    pub target_portal_group: u16,
    /// Our handle for the session.
    pub tsih: Tsih,
    /// Normal or discovery.
    pub kind: SessionKind,
    /// What was negotiated on the leading connection.
    pub params: Params,
}
