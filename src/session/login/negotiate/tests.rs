//! The keys of RFC 7143 chapter 13, one by one.

use super::*;
use crate::session::params::OwnParams;

/// Settles `pairs` in a leading login; the params and the answers.
fn settle(pairs: &[&str]) -> (Params, Vec<String>) {
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    let answers = turn(&mut n, &Offer::default(), pairs).unwrap();
    (n.params, answers)
}

fn turn(n: &mut Negotiation, offer: &Offer, pairs: &[&str]) -> Result<Vec<String>, NegotiationFault> {
    let text: Vec<u8> = pairs.iter().flat_map(|pair| pair.bytes().chain([0])).collect();
    let mut answer = Vec::new();
    n.turn(&text, offer, &mut answer)?;
    Ok(strings(&answer))
}

fn strings(text: &[u8]) -> Vec<String> {
    Pairs::new(text).map(|pair| pair.map(|(key, value)| format!("{key}={value}")).unwrap()).collect()
}

/// The fault of one pair in a leading login.
fn fault(pair: &str) -> KeyFault {
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    match turn(&mut n, &Offer::default(), &[pair]) {
        Err(NegotiationFault::Key(_, fault)) => fault,
        other => panic!("{pair}: {other:?}"),
    }
}

#[test]
fn item_16_the_first_value_that_is_supported() {
    //= RFC 7143 section 6.2.1
    //# If an acceptor does not understand any particular value in a list, it
    //# MUST ignore it.
    //
    //= RFC 7143 section 6.2.1
    //# The constant "None" MUST always be used to indicate a missing function.
    //
    //= RFC 7143 section 6.2.1
    //# The responding party MUST respond with the same key and the first
    //# value that it supports (and is allowed to use for the specific
    //# originator) selected from the originator list.
    for (offered, chosen, on) in [
        ("None,CRC32C", "None", false),
        ("CRC32C,None", "CRC32C", true),
        ("CRC32C", "CRC32C", true),
        ("Y-com.example.sum,CRC32C,None", "CRC32C", true),
    ] {
        //= RFC 7143 section 13.1
        //# The following table lists cyclic integrity checksums that can be
        //# negotiated for the digests and MUST be implemented by every iSCSI
        //# initiator and target.
        let (params, answers) = settle(&[&format!("HeaderDigest={offered}"), &format!("DataDigest={offered}")]);
        assert_eq!(answers, [format!("HeaderDigest={chosen}"), format!("DataDigest={chosen}")]);
        assert_eq!((params.own.header_digest, params.own.data_digest), (on, on));
    }
    for nothing in ["Y-com.example.sum", "MD5,SHA1", "NONE"] {
        assert_eq!(fault(&format!("DataDigest={nothing}")), KeyFault::NoChoice);
    }
    assert_eq!(fault("HeaderDigest="), KeyFault::Malformed);
}

#[test]
fn item_16_a_digest_can_be_demanded() {
    let offer = Offer { header_digest: Digests { none: false, crc32c: true }, ..Offer::default() };
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    assert_eq!(turn(&mut n, &offer, &["HeaderDigest=None,CRC32C"]).unwrap(), ["HeaderDigest=CRC32C"]);
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    let refused = turn(&mut n, &offer, &["HeaderDigest=None"]);
    assert_eq!(refused, Err(NegotiationFault::Key("HeaderDigest", KeyFault::NoChoice)));
}

#[test]
fn item_17_booleans() {
    //= RFC 7143 section 6.2.2
    //# For Boolean negotiations (i.e., keys taking the values "Yes" or "No"),
    //# the accepting party MUST answer with the same key and the result of the
    //# negotiation when the received value does not determine that result by
    //# itself.
    //
    //= RFC 7143 section 6.2.2
    //# Responses are REQUIRED in all other cases, and the value chosen and sent
    //# by the acceptor becomes the outcome of the negotiation.
    let all = |value| {
        let keys = ["InitialR2T", "ImmediateData", "DataPDUInOrder", "DataSequenceInOrder"];
        let pairs: Vec<String> = keys.iter().map(|key| format!("{key}={value}")).collect();
        settle(&pairs.iter().map(String::as_str).collect::<Vec<_>>()).1
    };
    assert_eq!(all("No"), ["InitialR2T=No", "ImmediateData=No", "DataPDUInOrder=Yes", "DataSequenceInOrder=Yes"]);
    assert_eq!(all("Yes"), ["InitialR2T=Yes", "ImmediateData=Yes", "DataPDUInOrder=Yes", "DataSequenceInOrder=Yes"]);
    for value in ["No", "Yes"] {
        let keys = ["InitialR2T", "ImmediateData", "DataPDUInOrder", "DataSequenceInOrder"];
        let pairs = keys.map(|key| format!("{key}={value}"));
        let (params, answers) = settle(&pairs.each_ref().map(String::as_str));
        let outcome =
            [params.initial_r2t, params.immediate_data, params.data_pdu_in_order, params.data_sequence_in_order];
        let spoken = keys.iter().zip(outcome).map(|(key, on)| format!("{key}={}", if on { "Yes" } else { "No" }));
        assert!(spoken.eq(answers), "what is answered is what holds");
    }
    assert_eq!(fault("InitialR2T=1"), KeyFault::Malformed);
}

#[test]
fn item_17_numbers() {
    //= RFC 7143 section 6.2.2
    //# For simple-value negotiations, the accepting party MUST answer with the
    //# same key.
    let (params, answers) = settle(&[
        "MaxConnections=8",
        "MaxBurstLength=16777215",
        "DefaultTime2Wait=5",
        "DefaultTime2Retain=0x14",
        "MaxOutstandingR2T=65535",
        "ErrorRecoveryLevel=2",
    ]);
    assert_eq!(
        answers,
        [
            "MaxConnections=8",
            "MaxBurstLength=16776192",
            "DefaultTime2Wait=5",
            "ErrorRecoveryLevel=2",
            "DefaultTime2Retain=20",
            "MaxOutstandingR2T=1",
        ]
    );
    //= RFC 7143 section 10.6.1
    //# For extended copy operations, implementations SHOULD use
    //# ErrorRecoveryLevel=2 whenever there is a relatively high likelihood of
    //# connection failure.
    assert_eq!((params.time2wait_s, params.max_outstanding_r2t, params.error_recovery_level), (5, 1, 2));
    for pair in [
        "MaxConnections=0",
        "MaxConnections=65536",
        "MaxBurstLength=16777216",
        "FirstBurstLength=511",
        "DefaultTime2Wait=3601",
        "ErrorRecoveryLevel=3",
        "MaxRecvDataSegmentLength=511",
        "MaxBurstLength=99999999999999999999999",
    ] {
        assert_eq!(fault(pair), KeyFault::Range, "{pair}");
    }
    for pair in
        ["MaxConnections=", "MaxConnections=-1", "MaxBurstLength=512~1024", "MaxBurstLength=0x", "MaxConnections=1 "]
    {
        assert_eq!(fault(pair), KeyFault::Malformed, "{pair}");
    }
}

#[test]
fn item_19_irrelevant_in_discovery() {
    //= RFC 7143 section 6.2
    //# If a specific key is not relevant for the current negotiation, the
    //# acceptor may answer with the constant "Irrelevant" for all types of
    //# negotiations.
    let strict = Offer { strict: true, ..Offer::default() };
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Discovery);
    for key in keys::TABLE.iter().filter(|spec| spec.irrelevant_in_discovery) {
        let value = if key.key == Key::TaskReporting { "RFC3720" } else { "Yes" };
        let answers = turn(&mut n, &strict, &[&format!("{}={value}", key.name)]).unwrap();
        assert_eq!(answers, [format!("{}=Irrelevant", key.name)]);
    }
    assert_eq!(n.params, Params::default());
    let answers = turn(&mut n, &Offer::default(), &["HeaderDigest=CRC32C,None", "DefaultTime2Wait=2"]).unwrap();
    assert_eq!(answers, ["HeaderDigest=CRC32C", "DefaultTime2Wait=2"]);
}

#[test]
fn item_19_irrelevant_without_unsolicited_data() {
    //= RFC 7143 section 13.14
    //# Irrelevant when: ( InitialR2T=Yes and ImmediateData=No )
    let strict = Offer { strict: true, ..Offer::default() };
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    let answers = turn(&mut n, &strict, &["FirstBurstLength=4096", "InitialR2T=Yes", "ImmediateData=No"]).unwrap();
    assert_eq!(answers, ["InitialR2T=Yes", "ImmediateData=No", "FirstBurstLength=Irrelevant"], "whatever the order");
    assert_eq!(n.params.first_burst_bytes, 65_536);
}

/// Some initiators read each answer as a number.
#[test]
fn what_is_irrelevant_is_answered_by_its_type() {
    let (params, answers) = settle(&["FirstBurstLength=4096", "InitialR2T=Yes", "ImmediateData=No"]);
    assert_eq!(answers, ["InitialR2T=Yes", "ImmediateData=No", "FirstBurstLength=4096"]);
    assert_eq!(params.first_burst_bytes, 4096);
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Discovery);
    let answers =
        turn(&mut n, &Offer::default(), &["MaxConnections=4", "InitialR2T=No", "FirstBurstLength=512"]).unwrap();
    assert_eq!(answers, ["MaxConnections=1", "InitialR2T=No", "FirstBurstLength=512"]);
}

fn with_header_digest() -> OwnParams {
    OwnParams { header_digest: true, ..OwnParams::default() }
}

/// Whoever goes straight to the operational stage and says there that it wants no authentication is let in as before.
#[test]
fn auth_method_in_the_operational_stage_changes_nothing() {
    let (params, answers) = settle(&["AuthMethod=None", "HeaderDigest=CRC32C"]);
    assert_eq!(answers, ["HeaderDigest=CRC32C"]);
    assert_eq!(params, Params { own: with_header_digest(), ..Params::default() });
    let strict = Offer { strict: true, ..Offer::default() };
    let login = || Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    let fault = |offer: &Offer, pairs: &[&str]| turn(&mut login(), offer, pairs).unwrap_err();
    let key = |fault| NegotiationFault::Key("AuthMethod", fault);
    assert_eq!(fault(&strict, &["AuthMethod=None"]), key(KeyFault::Stage));
    assert_eq!(fault(&Offer::default(), &["AuthMethod=None", "AuthMethod=CHAP"]), key(KeyFault::Twice));
    let mut later = Negotiation::new(Params::default(), Phase::FullFeature, SessionKind::Normal);
    assert_eq!(turn(&mut later, &Offer::default(), &["AuthMethod=None"]).unwrap_err(), key(KeyFault::Stage));
}

#[test]
fn item_19_a_joining_connection_changes_nothing_of_the_session() {
    //= RFC 7143 section 13
    //# Some session-specific parameters MUST only be carried on the leading
    //# connection and cannot be changed after the leading connection login
    let mut n = Negotiation::new(Params::default(), Phase::JoiningLogin, SessionKind::Normal);
    let answers = turn(&mut n, &Offer::default(), &["MaxBurstLength=512", "HeaderDigest=CRC32C"]).unwrap();
    assert_eq!(answers, ["MaxBurstLength=Irrelevant", "HeaderDigest=CRC32C"]);
    assert_eq!(n.params, Params { own: with_header_digest(), ..Params::default() });
}

#[test]
fn item_20_markers() {
    //= RFC 7143 section 6.2.2
    //# For a numerical range, the value selected MUST be an integer within the
    //# proposed range or "Reject" (if the range is unacceptable).
    //
    //= RFC 7143 section 13.25
    //# When an IFMarkInt or OFMarkInt key is received, a compliant iSCSI
    //# implementation MUST respond with the constant "Reject" value.
    //= RFC 7143 section 13.25
    //# However, the implementation MUST NOT respond with a "NotUnderstood"
    //# value for either of these keys.
    //= RFC 7143 section 13.25
    //# The implementation MUST NOT respond with a "NotUnderstood" value for
    //# either of these keys.
    //= RFC 7143 section 13.25
    //# When an IFMarker or OFMarker key is received, a compliant iSCSI
    //# implementation SHOULD respond with the constant "Reject" value.
    // Or "No", to those that offer No themselves.
    let (_, answers) = settle(&["IFMarker=Yes", "OFMarker=No", "IFMarkInt=1~65535", "OFMarkInt=2048"]);
    assert_eq!(answers, ["IFMarker=Reject", "OFMarker=No", "IFMarkInt=Reject", "OFMarkInt=Reject"]);
}

#[test]
fn item_21_protocol_level() {
    //= RFC 7143 section 13.24
    //# The iSCSIProtocolLevel associated with this document is "1".
    for (theirs, ours) in [(31, 2), (2, 2), (1, 1), (0, 0)] {
        let (params, answers) = settle(&[&format!("iSCSIProtocolLevel={theirs}")]);
        assert_eq!(answers, [format!("iSCSIProtocolLevel={ours}")]);
        assert_eq!(params.protocol_level, ours);
    }
}

#[test]
fn item_22_task_reporting() {
    //= RFC 7143 section 13.23
    //# When TaskReporting is not negotiated to FastAbort, the standard
    //# multi-task abort semantics in Section 4.2.3.3 MUST be used.
    for (offered, chosen, result) in [
        ("RFC3720,ResponseFence,FastAbort", "RFC3720", TaskReporting::Rfc3720),
        ("FastAbort,ResponseFence,RFC3720", "FastAbort", TaskReporting::FastAbort),
        ("FutureFence,ResponseFence", "ResponseFence", TaskReporting::ResponseFence),
    ] {
        //= RFC 7143 section 13.23
        //# The following table describes the semantics that an iSCSI target MUST
        //# support for respective negotiated key values.
        //= RFC 7143 section 10.7
        //# Therefore, both iSCSI target and initiator implementations SHOULD
        //# support FastAbort multi-task abort semantics (Section 4.2.3.4).
        let (params, answers) = settle(&[&format!("TaskReporting={offered}")]);
        assert_eq!(answers, [format!("TaskReporting={chosen}")]);
        assert_eq!(params.task_reporting, result);
    }
    assert_eq!(fault("TaskReporting=FutureFence"), KeyFault::NoChoice);
}

#[test]
fn item_23_node_architecture_is_not_answered() {
    //= RFC 7143 section 13.26.1
    //# The length of the key value (total length of the list-of-values) MUST
    //# NOT be greater than 255 bytes.
    assert!(settle(&["X#NodeArchitecture=ExampleOS/v1234,ExampleInc_SW_Initiator/1.05a"]).1.is_empty());
    assert_eq!(fault(&format!("X#NodeArchitecture={}", "a".repeat(256))), KeyFault::TooLong);
}

#[test]
fn item_24_segment_lengths_are_declared_per_direction() {
    //= RFC 7143 section 13.12
    //# The initiator or target declares the maximum data segment length in
    //# bytes it can receive in an iSCSI PDU.
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    assert!(turn(&mut n, &Offer::default(), &["MaxRecvDataSegmentLength=65536"]).unwrap().is_empty());
    let mut answer = Vec::new();
    n.declare(&Offer::default(), &mut answer);
    n.declare(&Offer::default(), &mut answer);
    assert_eq!(strings(&answer), ["MaxRecvDataSegmentLength=262144"], "once");
    assert_eq!((n.params.own.initiator_max_recv_bytes, n.params.own.target_max_recv_bytes), (65_536, 262_144));
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Discovery);
    n.declare(&Offer::default(), &mut answer);
    assert_eq!((n.params.own.initiator_max_recv_bytes, n.params.own.target_max_recv_bytes), (8192, 8192));
}

#[test]
fn item_25_first_burst_does_not_exceed_max_burst() {
    //= RFC 7143 section 13.14
    //# FirstBurstLength MUST NOT exceed MaxBurstLength.
    let (params, answers) = settle(&["FirstBurstLength=262144", "MaxBurstLength=8192"]);
    assert_eq!(answers, ["MaxBurstLength=8192", "FirstBurstLength=8192"]);
    assert_eq!((params.first_burst_bytes, params.max_burst_bytes), (8192, 8192));
}

#[test]
fn item_25_a_default_that_does_not_fit_is_negotiated() {
    //= RFC 7143 section 6.2
    //# An iSCSI target MUST perform integrity checking before the new
    //# parameters take effect.
    //
    //= RFC 7143 section 6.2
    //# The target may propose key=value pairs of its own.
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    let mut answer = Vec::new();
    turn(&mut n, &Offer::default(), &["MaxBurstLength=8192"]).unwrap();
    assert_eq!(n.conclude(&mut answer), Ok(false));
    assert_eq!(strings(&answer), ["FirstBurstLength=8192"]);
    assert!(
        turn(&mut n, &Offer::default(), &["FirstBurstLength=4096"]).unwrap().is_empty(),
        "an answer is not answered"
    );
    assert_eq!((n.conclude(&mut answer), n.params.first_burst_bytes), (Ok(true), 4096));
    // Without an answer, or after it was settled, there is nothing left to propose.
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    turn(&mut n, &Offer::default(), &["FirstBurstLength=65536"]).unwrap();
    turn(&mut n, &Offer::default(), &["MaxBurstLength=8192"]).unwrap();
    assert_eq!(n.conclude(&mut answer), Err(NegotiationFault::Key("FirstBurstLength", KeyFault::Integrity)));
    // No unsolicited data, no first burst.
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    turn(&mut n, &Offer::default(), &["MaxBurstLength=8192", "ImmediateData=No"]).unwrap();
    assert_eq!((n.conclude(&mut answer), n.params.first_burst_bytes), (Ok(true), 8192));
}

#[test]
fn item_26_recovery_with_sequences_in_order_allows_one_r2t() {
    //= RFC 7143 section 13.19
    //# For this reason, if ErrorRecoveryLevel is
    //# not 0 and DataSequenceInOrder is set to Yes, then MaxOutstandingR2T
    //# MUST be set to 1.
    let offer = Offer { error_recovery_level: 2, ..Offer::default() };
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    let answers = turn(&mut n, &offer, &["MaxOutstandingR2T=4", "ErrorRecoveryLevel=1"]).unwrap();
    assert_eq!(answers, ["ErrorRecoveryLevel=1", "MaxOutstandingR2T=1"]);
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Normal);
    turn(&mut n, &offer, &["MaxOutstandingR2T=4"]).unwrap();
    assert_eq!(turn(&mut n, &offer, &["ErrorRecoveryLevel=1"]).unwrap(), ["ErrorRecoveryLevel=0"]);
}

#[test]
fn item_35_no_recovery_in_discovery() {
    //= RFC 7143 section 7.4.1
    //# When such a negotiation attempt is made by the remote side, a compliant
    //# iSCSI implementation MUST propose a value of 0 (zero) in response.
    //
    //= RFC 7143 section 7.4.1
    //# The operational ErrorRecoveryLevel for Discovery sessions thus MUST
    //# be 0.
    let offer = Offer { error_recovery_level: 2, ..Offer::default() };
    //= RFC 7143 section 13.21
    //# As Section 7.4.1 states, ErrorRecoveryLevel MUST be 0 (zero) for
    //# Discovery sessions.
    let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, SessionKind::Discovery);
    assert_eq!(turn(&mut n, &offer, &["ErrorRecoveryLevel=2"]).unwrap(), ["ErrorRecoveryLevel=0"]);
    assert_eq!(n.params.error_recovery_level, 0);
}

#[test]
fn only_what_was_exchanged_is_settled() {
    type Change = fn(&mut Params);
    //= RFC 7143 section 6.2
    //# All negotiations are explicit (i.e., the result MUST only be based on
    //# newly exchanged or declared values).
    // What we would like differs from most of the defaults, and is yet nobody's result.
    assert_eq!(settle(&[]), (Params::default(), vec![]));
    let cases: [(&str, Change); 14] = [
        ("HeaderDigest=CRC32C", |p| p.own.header_digest = true),
        ("DataDigest=CRC32C", |p| p.own.data_digest = true),
        ("MaxConnections=4", |p| p.max_connections = 4),
        ("InitialR2T=No", |p| p.initial_r2t = false),
        ("ImmediateData=No", |p| p.immediate_data = false),
        ("MaxRecvDataSegmentLength=4096", |p| p.own.initiator_max_recv_bytes = 4096),
        ("MaxBurstLength=524288", |p| p.max_burst_bytes = 524_288),
        ("FirstBurstLength=4096", |p| p.first_burst_bytes = 4096),
        ("DefaultTime2Wait=7", |p| p.time2wait_s = 7),
        ("DefaultTime2Retain=0", |p| p.time2retain_s = 0),
        ("MaxOutstandingR2T=3", |p| p.max_outstanding_r2t = 3),
        //= RFC 7143 section 10.6.1
        //# A consideration of the above factors for SCSI tape devices as an example
        //# suggests that implementations SHOULD use ErrorRecoveryLevel=1 when
        //# transport connection failure is not a concern and SCSI-level recovery is
        //# unavailable, and ErrorRecoveryLevel=2 when there is a high likelihood of
        //# connection failure during a backup/retrieval.
        ("ErrorRecoveryLevel=1", |p| p.error_recovery_level = 1),
        ("TaskReporting=FastAbort", |p| p.task_reporting = TaskReporting::FastAbort),
        ("iSCSIProtocolLevel=2", |p| p.protocol_level = 2),
    ];
    for (pair, change) in cases {
        let mut expected = Params::default();
        change(&mut expected);
        assert_eq!(settle(&[pair]).0, expected, "{pair}");
    }
}

#[test]
fn all_keys_are_known_and_taken_as_specified() {
    //= RFC 7143 section 6.2
    //# An iSCSI implementation MUST comprehend all text keys defined in this
    //# document.
    //
    //= RFC 7143 section 6.2
    //# All keys in this document MUST be supported by iSCSI initiators and
    //# targets when used as specified here.
    for name in [
        "HeaderDigest DataDigest MaxConnections SendTargets TargetName InitiatorName TargetAlias InitiatorAlias",
        "TargetAddress TargetPortalGroupTag InitialR2T ImmediateData MaxRecvDataSegmentLength MaxBurstLength",
        "FirstBurstLength DefaultTime2Wait DefaultTime2Retain MaxOutstandingR2T DataPDUInOrder DataSequenceInOrder",
        "ErrorRecoveryLevel SessionType TaskReporting iSCSIProtocolLevel IFMarker OFMarker IFMarkInt OFMarkInt",
        "X#NodeArchitecture AuthMethod KRB_AP_REQ KRB_AP_REP SRP_U TargetAuth SRP_GROUP SRP_s SRP_A SRP_B SRP_M",
        "SRP_HM CHAP_A CHAP_I CHAP_C CHAP_N CHAP_R",
    ]
    .iter()
    .flat_map(|line| line.split(' '))
    {
        assert!(keys::find(name).is_some(), "{name}");
    }
    // Those of the operational stage; the others are in the dialogues.
    let operational =
        |spec: &&KeySpec| !spec.any_stage && spec.senders != Senders::Target && spec.usage != Usage::FullFeatureOnly;
    for spec in keys::TABLE.iter().filter(operational) {
        let value = match spec.rule {
            Rule::Number(least, _) | Rule::Minimum(least, _) | Rule::Maximum(least, _) => least.to_string(),
            Rule::List if spec.key == Key::TaskReporting => "RFC3720".into(),
            Rule::List => "None".into(),
            Rule::And | Rule::Or => "Yes".into(),
            Rule::Text => "ExampleOS/1".into(),
            Rule::Obsolete | Rule::Own => "No".into(),
        };
        let (_, answers) = settle(&[&format!("{}={value}", spec.name)]);
        let expected = match spec.rule {
            Rule::Number(..) | Rule::Text => vec![],
            Rule::Obsolete => vec![format!("{}={}", spec.name, obsolete(spec.key, &value))],
            _ => vec![format!("{}={value}", spec.name)],
        };
        assert_eq!(answers, expected);
    }
}

#[test]
fn the_table_says_what_chapter_13_says() {
    let row = |name| {
        let spec = keys::find(name).unwrap();
        (spec.usage, spec.senders, spec.scope, spec.rule)
    };
    use keys::Scope::{Connection, Session};
    assert_eq!(row("DefaultTime2Wait"), (Usage::LeadingOnly, Senders::Both, Session, Rule::Maximum(0, 3600)));
    assert_eq!(row("MaxRecvDataSegmentLength"), (Usage::All, Senders::Both, Connection, Rule::Number(512, 0xff_ffff)));
    let names: std::collections::HashSet<_> = keys::TABLE.iter().map(|spec| spec.name).collect();
    assert_eq!(names.len(), keys::TABLE.len());
    for (index, spec) in keys::TABLE.iter().enumerate() {
        assert_eq!(spec.key as usize, index);
    }
}

#[test]
fn item_14_every_key_of_chapter_13_is_known() {
    //= RFC 7143 section 11.12.10
    //# All keys listed in Section 13, except for the X extension formats,
    //# MUST be supported by iSCSI initiators and targets.
    //= RFC 7143 section 11.13.8
    //# All keys listed in Section 13, except for the X extension formats,
    //# MUST be supported by iSCSI initiators and targets.
    for name in [
        "HeaderDigest",
        "DataDigest",
        "MaxConnections",
        "SendTargets",
        "TargetName",
        "InitiatorName",
        "TargetAlias",
        "InitiatorAlias",
        "TargetAddress",
        "TargetPortalGroupTag",
        "InitialR2T",
        "ImmediateData",
        "MaxRecvDataSegmentLength",
        "MaxBurstLength",
        "FirstBurstLength",
        "DefaultTime2Wait",
        "DefaultTime2Retain",
        "MaxOutstandingR2T",
        "DataPDUInOrder",
        "DataSequenceInOrder",
        "ErrorRecoveryLevel",
        "SessionType",
        "TaskReporting",
        "iSCSIProtocolLevel",
        "IFMarker",
        "OFMarker",
        "IFMarkInt",
        "OFMarkInt",
        "X#NodeArchitecture",
    ] {
        assert!(keys::find(name).is_some(), "{name}");
    }
}

#[test]
fn item_14_no_vendor_specific_key_is_used() {
    //= RFC 7143 section 13.22
    //# Vendor-specific keys MUST ONLY be used in Normal sessions.
    for kind in [SessionKind::Discovery, SessionKind::Normal] {
        let mut n = Negotiation::new(Params::default(), Phase::LeadingLogin, kind);
        let heard = turn(&mut n, &Offer::default(), &["X-com.example.a=1"]).unwrap();
        assert_eq!(heard, ["X-com.example.a=NotUnderstood"]);
        let mut ours = Vec::new();
        n.declare(&Offer::default(), &mut ours);
        assert!(n.conclude(&mut ours).unwrap() && !strings(&ours).iter().any(|pair| pair.starts_with("X-")));
    }
}
