//! What real initiators send at login, and what they are to hear.

use super::tests::{Dialogue, answer, done, said};
use super::*;
use crate::session::params::{OwnParams, Params, SessionKind, TaskReporting};

const SEC: u8 = SECURITY_NEGOTIATION;
const OPS: u8 = LOGIN_OPERATIONAL_NEGOTIATION;
const FFP: u8 = FULL_FEATURE_PHASE;

#[test]
fn linux_open_iscsi_normal_session() {
    let mut d = Dialogue::new();
    let first = answer(d.transit(
        SEC,
        OPS,
        &[
            "InitiatorName=iqn.1994-05.com.redhat:host",
            "InitiatorAlias=host",
            "TargetName=iqn.2024-01.example:disk",
            "SessionType=Normal",
            "AuthMethod=None",
        ],
    ));
    //= RFC 7143 section 13.6
    //# If a target has been configured with a human-readable name or
    //# description, this name SHOULD be communicated to the initiator during a
    //# Login Response PDU if SessionType=Normal (see Section 13.21).
    assert_eq!(said(&first), ["TargetPortalGroupTag=7", "TargetAlias=The disk", "AuthMethod=None"]);
    assert!(first.response.transit);
    let last = done(d.transit(
        OPS,
        FFP,
        &[
            "HeaderDigest=None",
            "DataDigest=None",
            "DefaultTime2Wait=2",
            "DefaultTime2Retain=0",
            "IFMarker=No",
            "OFMarker=No",
            "ErrorRecoveryLevel=0",
            "InitialR2T=No",
            "ImmediateData=Yes",
            "MaxBurstLength=16776192",
            "FirstBurstLength=262144",
            "MaxOutstandingR2T=1",
            "MaxConnections=1",
            "DataPDUInOrder=Yes",
            "DataSequenceInOrder=Yes",
            "MaxRecvDataSegmentLength=262144",
        ],
    ));
    assert_eq!(
        said(&last.answer),
        [
            "HeaderDigest=None",
            "DataDigest=None",
            "DefaultTime2Wait=2",
            "IFMarker=No",
            "OFMarker=No",
            "ErrorRecoveryLevel=0",
            "InitialR2T=No",
            "ImmediateData=Yes",
            "MaxBurstLength=16776192",
            "MaxConnections=1",
            "DataPDUInOrder=Yes",
            "DataSequenceInOrder=Yes",
            "DefaultTime2Retain=0",
            "FirstBurstLength=262144",
            "MaxOutstandingR2T=1",
            "MaxRecvDataSegmentLength=262144",
        ]
    );
    let expected = Params {
        own: OwnParams {
            header_digest: false,
            data_digest: false,
            initiator_max_recv_bytes: 262_144,
            target_max_recv_bytes: 262_144,
        },
        max_connections: 1,
        initial_r2t: false,
        immediate_data: true,
        max_burst_bytes: 16_776_192,
        first_burst_bytes: 262_144,
        time2wait_s: 2,
        time2retain_s: 0,
        max_outstanding_r2t: 1,
        data_pdu_in_order: true,
        data_sequence_in_order: true,
        error_recovery_level: 0,
        task_reporting: TaskReporting::Rfc3720,
        protocol_level: 1,
    };
    assert_eq!(last.params, expected);
    assert_eq!(last.initiator_alias.as_deref(), Some("host"));
    let target = last.target.unwrap();
    assert_eq!((target.index, target.portal_group), (0, 7));
}

#[test]
fn linux_open_iscsi_discovery() {
    let mut d = Dialogue::new();
    let first = answer(d.transit(
        SEC,
        OPS,
        &[
            "InitiatorName=iqn.1994-05.com.redhat:host",
            "InitiatorAlias=host",
            "SessionType=Discovery",
            "AuthMethod=None",
        ],
    ));
    assert_eq!(said(&first), ["TargetPortalGroupTag=7", "AuthMethod=None"]);
    let last = done(d.transit(
        OPS,
        FFP,
        &[
            "HeaderDigest=None",
            "DataDigest=None",
            "DefaultTime2Wait=2",
            "DefaultTime2Retain=0",
            "IFMarker=No",
            "OFMarker=No",
            "ErrorRecoveryLevel=0",
            "MaxRecvDataSegmentLength=32768",
        ],
    ));
    assert_eq!((last.kind, last.params.own.initiator_max_recv_bytes), (SessionKind::Discovery, 32_768));
    assert!(said(&last.answer).contains(&"MaxRecvDataSegmentLength=8192".into()));
}

/// It introduces itself again in the operational stage.
#[test]
fn libiscsi_of_qemu() {
    let names =
        ["InitiatorName=iqn.2008-11.org.linux-kvm:vm", "TargetName=iqn.2024-01.example:disk", "SessionType=Normal"];
    let mut d = Dialogue::new();
    let first = answer(d.transit(SEC, OPS, &[&names[..], &["AuthMethod=CHAP,None"]].concat()));
    assert_eq!(said(&first)[2], "AuthMethod=None");
    let last = done(
        d.transit(
            OPS,
            FFP,
            &[
                &names[..],
                &[
                    "HeaderDigest=None,CRC32C",
                    "DataDigest=None",
                    "InitialR2T=No",
                    "ImmediateData=Yes",
                    "MaxBurstLength=262144",
                    "FirstBurstLength=262144",
                    "DefaultTime2Wait=2",
                    "DefaultTime2Retain=0",
                    "MaxOutstandingR2T=1",
                    "ErrorRecoveryLevel=0",
                    "IFMarker=No",
                    "OFMarker=No",
                    "MaxConnections=1",
                    "MaxRecvDataSegmentLength=262144",
                    "DataPDUInOrder=Yes",
                    "DataSequenceInOrder=Yes",
                ],
            ]
            .concat(),
        ),
    );
    assert_eq!((last.params.first_burst_bytes, last.params.max_burst_bytes), (262_144, 262_144));
    assert!(!last.params.own.header_digest);
}

/// T is set in every request; InitialR2T=Yes and ImmediateData=No make its FirstBurstLength irrelevant.
#[test]
fn ipxe() {
    let mut d = Dialogue::new();
    let first = answer(d.transit(
        SEC,
        OPS,
        &[
            "InitiatorName=iqn.2010-04.org.ipxe:host",
            "TargetName=iqn.2024-01.example:disk",
            "SessionType=Normal",
            "AuthMethod=None",
        ],
    ));
    assert!(first.response.transit);
    let last = done(d.transit(
        OPS,
        FFP,
        &[
            "HeaderDigest=None",
            "DataDigest=None",
            "MaxConnections=1",
            "InitialR2T=Yes",
            "ImmediateData=No",
            "MaxRecvDataSegmentLength=8192",
            "MaxBurstLength=262144",
            "FirstBurstLength=65536",
            "DefaultTime2Wait=0",
            "DefaultTime2Retain=0",
            "MaxOutstandingR2T=1",
            "DataPDUInOrder=Yes",
            "DataSequenceInOrder=Yes",
            "ErrorRecoveryLevel=0",
        ],
    ));
    assert!(said(&last.answer).contains(&"FirstBurstLength=65536".into()));
    assert!(last.params.initial_r2t && !last.params.immediate_data);
    assert_eq!(last.params.own.initiator_max_recv_bytes, 8192);
}

/// It skips the security stage's proposals and asks for digests in its own order.
#[test]
fn windows() {
    let mut d = Dialogue::new();
    let first = answer(d.transit(
        SEC,
        OPS,
        &[
            "InitiatorName=iqn.1991-05.com.microsoft:win.example.com",
            "SessionType=Normal",
            "InitiatorAlias=WIN",
            "TargetName=iqn.2024-01.example:disk",
            "AuthMethod=None",
        ],
    ));
    assert!(first.response.transit);
    let last = done(d.transit(
        OPS,
        FFP,
        &[
            "HeaderDigest=None,CRC32C",
            "DataDigest=None,CRC32C",
            "MaxConnections=32",
            "InitialR2T=No",
            "ImmediateData=Yes",
            "MaxRecvDataSegmentLength=65536",
            "MaxBurstLength=262144",
            "FirstBurstLength=65536",
            "DefaultTime2Wait=0",
            "DefaultTime2Retain=60",
            "MaxOutstandingR2T=16",
            "DataPDUInOrder=Yes",
            "DataSequenceInOrder=Yes",
            "ErrorRecoveryLevel=2",
            "OFMarker=No",
            "IFMarker=No",
        ],
    ));
    let p = last.params;
    assert_eq!((p.max_connections, p.error_recovery_level, p.max_outstanding_r2t), (8, 2, 1));
    assert_eq!((p.time2wait_s, p.time2retain_s, p.first_burst_bytes), (0, 20, 65_536));
}
