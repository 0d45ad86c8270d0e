//! Text Requests: discovery, and negotiation in full feature phase.

use std::sync::Arc;

use super::*;
use crate::model::{Portal, Snapshot, TargetSpec};
use crate::session::directory::SnapshotDirectory;
use crate::wire::{CmdSn, Lun, StatSn};
use proptest::prelude::*;

/// A session with one connection, and a directory of some targets.
struct Session {
    directory: SnapshotDirectory,
    kind: SessionKind,
    initiator: IscsiName,
    target: Option<IscsiName>,
    conversations: Conversations,
    params: Params,
    header: TextRequest,
}

/// A response: its header fields, and its text.
type Said = Result<(Reply, Vec<u8>), RejectReason>;

impl Session {
    fn new(kind: SessionKind, targets: usize) -> Self {
        let name = |i| IscsiName::new(&format!("iqn.2024-01.example:disk{i}")).unwrap();
        let target = |i| TargetSpec::new(name(i), None, vec![]);
        let portal = |listen: &str, group_tag| Portal { listen: listen.parse().unwrap(), advertise: None, group_tag };
        let snapshot = Snapshot {
            portals: vec![portal("0.0.0.0:3260", 1), portal("[2001:db8::1]:3260", 2)],
            targets: (0..targets).map(target).collect(),
            ..Snapshot::default()
        };
        Self {
            directory: SnapshotDirectory::new(Arc::new(snapshot)),
            kind,
            initiator: IscsiName::new("iqn.1994-05.com.redhat:host").unwrap(),
            target: (kind == SessionKind::Normal).then(|| name(1)),
            conversations: Conversations::default(),
            params: Params::default(),
            header: TextRequest {
                immediate_delivery: false,
                is_final: true,
                cont: false,
                data_segment_len: 0,
                lun: Lun::default(),
                itt: Itt(1),
                ttt: Ttt::RESERVED,
                cmd_sn: CmdSn(1),
                exp_stat_sn: StatSn(1),
            },
        }
    }

    /// Sends data with the header as it is; the next request goes on with the answer's tag.
    fn send(&mut self, data: &[u8]) -> Said {
        let asker = Asker {
            kind: self.kind,
            initiator: &self.initiator,
            target: self.target.as_ref(),
            portal: "10.0.0.1:3260".parse().unwrap(),
            peer: "10.0.0.9:50000".parse().unwrap(),
        };
        let mut answer = Vec::new();
        let reply = self.conversations.request(
            &self.directory,
            &asker,
            &mut self.params,
            ConnIx(0),
            &self.header,
            data,
            &mut answer,
        );
        self.header.ttt = reply.map_or(Ttt::RESERVED, |reply| reply.ttt);
        let reply = reply?;
        //= RFC 7143 section 11.10.4
        //# It MUST do so whenever it sets the F bit to 0 in the response.
        //= RFC 7143 section 11.11.1
        //# A Text Response with the F bit set to 1 MUST have a Target Transfer Tag
        //# field set to the reserved value 0xffffffff.
        //= RFC 7143 section 11.11.1
        //# A Text Response with the F bit set to 0 MUST have a Target Transfer Tag
        //# field set to a value other than the reserved value 0xffffffff.
        //= RFC 7143 section 11.11.4
        //# Otherwise, the Target Transfer Tag MUST be set to 0xffffffff.
        assert_eq!(reply.is_final, reply.ttt.is_reserved());
        //= RFC 7143 section 11.11.2
        //# A Text Response with the C bit set to 1 MUST have the F bit set to 0.
        assert!(!(reply.is_final && reply.cont));
        //= RFC 7143 section 11.11.6
        //# The data lengths of a Text Response MUST NOT exceed the iSCSI initiator
        //# MaxRecvDataSegmentLength (a parameter that is negotiated per connection
        //# and per direction).
        assert!(answer.len() <= self.params.own.initiator_max_recv_bytes as usize && answer.len() <= 8192);
        Ok((reply, answer))
    }

    fn say(&mut self, is_final: bool, pairs: &[&str]) -> Said {
        self.header.is_final = is_final;
        self.send(&pairs.iter().flat_map(|pair| pair.bytes().chain([0])).collect::<Vec<_>>())
    }

    /// Pairs of the answer to a request that is final and answered finally.
    #[track_caller]
    fn ask(&mut self, pairs: &[&str]) -> Vec<String> {
        let (reply, text) = self.say(true, pairs).unwrap();
        assert!(reply.is_final);
        strings(&text)
    }
}

fn strings(text: &[u8]) -> Vec<String> {
    Pairs::new(text).map(|pair| pair.map(|(key, value)| format!("{key}={value}")).unwrap()).collect()
}

fn discovery(targets: usize) -> Session {
    Session::new(SessionKind::Discovery, targets)
}

fn normal() -> Session {
    Session::new(SessionKind::Normal, 3)
}

const DISK1: [&str; 3] =
    ["TargetName=iqn.2024-01.example:disk1", "TargetAddress=10.0.0.1:3260,1", "TargetAddress=[2001:db8::1]:3260,2"];

#[test]
fn item_28_final_is_answered_final_and_only_final_is() {
    //= RFC 7143 section 6.4
    //# Whenever the target responds with the F bit set to 0, it MUST set the
    //# Target Transfer Tag to a value other than the default 0xffffffff.
    //
    //= RFC 7143 section 11.11.1
    //# A Text Response with the
    //# F bit set to 1 in response to a Text Request with the F bit set to 0
    //# is a protocol error.
    let mut s = normal();
    let (reply, text) = s.say(false, &["MaxRecvDataSegmentLength=65536"]).unwrap();
    assert!(!reply.is_final && text.is_empty());
    //= RFC 7143 section 6.4
    //# Parameters negotiated by a text exchange negotiation sequence only
    //# become effective after the negotiation sequence is completed.
    assert_eq!(s.params, Params::default());
    assert!(s.ask(&[]).is_empty());
    assert_eq!(s.params.own.initiator_max_recv_bytes, 65_536);
}

#[test]
fn item_28_a_new_request_resets_the_negotiation() {
    //= RFC 7143 section 6.4
    //# An initiator MAY reset an operational parameter negotiation by
    //# issuing a Text Request with the Target Transfer Tag set to the value
    //# 0xffffffff after receiving a response with the Target Transfer Tag
    //# set to a value other than 0xffffffff.
    let mut s = normal();
    let stale = s.say(false, &["MaxRecvDataSegmentLength=65536"]).unwrap().0.ttt;
    s.header.ttt = Ttt::RESERVED;
    assert!(s.ask(&["MaxRecvDataSegmentLength=4096"]).is_empty());
    assert_eq!(s.params.own.initiator_max_recv_bytes, 4096);
    //= RFC 7143 section 11.11.4
    //# The target may reject subsequent Text Requests with
    //# the Target Transfer Tag set to the "stale" value.
    s.header.ttt = stale;
    assert_eq!(s.say(true, &[]), Err(RejectReason::INVALID_PDU_FIELD));
}

#[test]
fn item_28_only_keys_of_full_feature_phase() {
    //= RFC 7143 section 6.3
    //# Authentication-related security keys (Section 12) MUST be completely
    //# negotiated within the Login Phase.
    //
    //= RFC 7143 section 6.2
    //# Negotiations MUST be handled as atomic operations.
    //
    //= RFC 7143 section 7.12
    //# The operational parameters of the session or the connection MUST
    //# continue to be the values agreed upon during an earlier successful
    //# negotiation (i.e., any partial results of this unsuccessful negotiation
    //# MUST NOT take effect and MUST be discarded).
    //
    //= RFC 7143 section 13
    //# Keys that can only be used during login have the "use: IO"
    //# (Initialize Only), while those that can be used in both the Login
    //# Phase and Full Feature Phase have the "use: ALL".
    for pair in ["MaxBurstLength=512", "HeaderDigest=CRC32C", "InitiatorName=iqn.2024-01.a:b", "AuthMethod=None"] {
        let mut s = normal();
        s.say(false, &["MaxRecvDataSegmentLength=65536"]).unwrap();
        assert_eq!(s.say(true, &[pair]), Err(RejectReason::PROTOCOL_ERROR), "{pair}");
        assert_eq!(s.params, Params::default(), "row 27: nothing of a failed negotiation takes effect");
    }
    let known = normal().ask(&["InitiatorAlias=host", "X-com.example.a=1"]);
    assert_eq!(known, ["X-com.example.a=NotUnderstood"]);
}

#[test]
fn item_28_a_final_answer_asks_nothing() {
    //= RFC 7143 section 11.11.1
    //# A Text Response with the F bit set to 1
    //# MUST NOT contain key=value pairs that may require additional answers
    //# from the initiator.
    for asked in ["MaxRecvDataSegmentLength=65536", "InitiatorAlias=host", "X-com.example.a=1", "X-b=Yes"] {
        let key = |pair: &str| pair.split_once('=').unwrap().0.to_owned();
        // What answers the initiator is not answered again.
        assert!(normal().ask(&[asked]).iter().all(|said| key(said) == key(asked)));
    }
    let records = discovery(3).ask(&["SendTargets=All"]);
    assert!(records.iter().all(|said| said.starts_with("TargetName=") || said.starts_with("TargetAddress=")));
}

#[test]
fn item_28_no_key_comes_twice() {
    //= RFC 7143 section 6.4
    //# If such an attempt is
    //# detected by the target, the target MUST respond with a Reject PDU
    //# with a reason of "Protocol Error".
    let mut s = normal();
    s.say(false, &["MaxRecvDataSegmentLength=65536"]).unwrap();
    assert_eq!(s.say(true, &["MaxRecvDataSegmentLength=65536"]), Err(RejectReason::PROTOCOL_ERROR));
    assert!(s.ask(&["MaxRecvDataSegmentLength=65536"]).is_empty(), "a new sequence may");
}

#[test]
fn item_28_answers_ask_for_nothing() {
    //= RFC 7143 section 6.4
    //# Note that in the same case of a Text Request with the F bit set to 1,
    //# the target SHOULD NOT respond with an empty (no key=value pairs) Text
    //# Response with the F bit set to 0, because such a response may cause the
    //# initiator to abandon the negotiation.
    //
    //= RFC 7143 section 6.4
    //# Targets MUST NOT submit parameters that require an additional initiator
    //# Text Request in a Text Response with the F bit set to 1.
    for (asked, answered) in [
        (&[][..], &[][..]),
        (&["MaxRecvDataSegmentLength=512"], &[]),
        (&["InitiatorAlias=host", "X-a=1"], &["X-a=NotUnderstood"]),
    ] {
        assert_eq!(normal().ask(asked), answered, "nothing of our own");
    }
}

#[test]
fn item_28_continue_excludes_final() {
    //= RFC 7143 section 6.2
    //# As negotiation text may span PDU boundaries, a Text or Login Request or
    //# a Text or Login Response PDU that has the C bit set to 1 MUST NOT have
    //# the F bit or T bit set to 1.
    let mut s = normal();
    s.header.cont = true;
    assert_eq!(s.send(b"A"), Err(RejectReason::PROTOCOL_ERROR));
}

#[test]
fn item_29_all_is_for_discovery_sessions() {
    //= RFC 7143 appendix C
    //# This value
    //# MUST be supported on a Discovery session and MUST NOT be
    //# supported on an operational session.
    assert_eq!(normal().say(true, &["SendTargets=All"]), Err(RejectReason::PROTOCOL_ERROR));
    //= RFC 7143 appendix C
    //# In a Discovery session, a target MUST return all path information (IP
    //# address-port pairs and Target Portal Group Tags) for the targets on the
    //# target Network Entity that the requesting initiator is authorized to
    //# access.
    let all = discovery(2).ask(&["SendTargets=All"]);
    assert_eq!(all[..3], DISK1.map(|line| line.replace("disk1", "disk0")));
    assert_eq!(all[3..], DISK1);
}

#[test]
fn item_29_nothing_is_the_own_target() {
    //= RFC 7143 appendix C
    //# This MUST be supported on
    //# operational sessions and MUST NOT return targets other than the
    //# one to which the session is logged in.
    //= RFC 7143 appendix C
    //# A target MUST support the SendTargets command on operational sessions;
    //# these will only return path information about the target to which the
    //# session is connected and do not need to return information about other
    //# target names that may be defined in the responding system.
    assert_eq!(normal().ask(&["SendTargets="]), DISK1);
    assert!(discovery(2).ask(&["SendTargets="]).is_empty());
    let mut named = discovery(2);
    named.target = Some(IscsiName::new("iqn.2024-01.example:disk1").unwrap());
    assert_eq!(named.ask(&["SendTargets="]), DISK1);
}

#[test]
fn item_29_a_named_target() {
    //= RFC 7143 appendix C
    //# This value MUST be supported on Discovery sessions.
    assert_eq!(discovery(3).ask(&["SendTargets=iqn.2024-01.example:disk1"]), DISK1);
    assert!(discovery(3).ask(&["SendTargets=iqn.2024-01.example:disk7"]).is_empty());
    //= RFC 7143 appendix C
    //# A
    //# Discovery session MUST be capable of returning addresses for
    //# those targets that would have been returned had value=All been
    //# designated.
    for record in discovery(3).ask(&["SendTargets=All"]).chunks(3) {
        let name = record[0].strip_prefix("TargetName=").unwrap();
        assert_eq!(discovery(3).ask(&[&format!("SendTargets={name}")]), record);
    }
    assert_eq!(normal().ask(&["SendTargets=iqn.2024-01.example:disk1"]), DISK1);
    assert!(normal().ask(&["SendTargets=iqn.2024-01.example:disk0"]).is_empty(), "not the session's target");
    assert_eq!(discovery(3).say(true, &["SendTargets=all"]), Err(RejectReason::PROTOCOL_ERROR));
}

#[test]
fn item_30_no_targets_no_names() {
    //= RFC 7143 appendix C
    //# A SendTargets response MUST NOT contain target names if there are no
    //# targets for the requesting initiator to access.
    assert!(discovery(0).ask(&["SendTargets=All"]).is_empty());
}

#[test]
fn item_31_addresses_carry_their_portal_group_tag() {
    //= RFC 7143 section 13.8
    //# If the TargetAddress is returned within a SendTargets response, the
    //# portal-group-tag MUST be included.
    let all = discovery(1).ask(&["SendTargets=All"]);
    //= RFC 7143 appendix C
    //# No text keys other than
    //# TargetName and TargetAddress are permitted within a SendTargets
    //# response.
    assert!(
        all.iter().all(|pair| pair.starts_with("TargetName=") || pair.ends_with(",1") || pair.ends_with("]:3260,2"))
    );
}

#[test]
fn item_32_long_answers_come_in_parts() {
    //= RFC 7143 section 6.2
    //# There MUST NOT be more than one outstanding Text Request, or Text
    //# Response PDU on an iSCSI connection.
    //= RFC 7143 section 11.11.4
    //# When a target has more work to do (e.g., cannot transfer all the
    //# remaining text data in a single Text Response or has to continue the
    //# negotiation) and has enough resources to proceed, it MUST set the Target
    //# Transfer Tag to a value other than the reserved value 0xffffffff.
    for max in [512, 8192, 262_144] {
        let mut s = discovery(500);
        s.params.own.initiator_max_recv_bytes = max;
        let (mut reply, mut all) = s.say(true, &["SendTargets=All"]).unwrap();
        let mut parts = 1;
        while !reply.is_final {
            assert!(reply.cont);
            let (next, text) = s.say(true, &[]).unwrap();
            all.extend(text);
            (reply, parts) = (next, parts + 1);
        }
        assert_eq!(strings(&all).len(), 1500);
        assert!(parts > 1, "never more than 8192 bytes");
    }
}

#[test]
fn item_32_a_long_answer_is_not_interrupted() {
    //= RFC 7143 section 6.2
    //# An initiator receiving a Text or Login
    //# Response with the C bit set to 1 MUST answer with a Text or Login
    //# Request with no data segment (DataSegmentLength 0).
    let mut s = discovery(500);
    assert!(s.say(true, &["SendTargets=All"]).unwrap().0.cont);
    assert_eq!(s.say(true, &["SendTargets=All"]), Err(RejectReason::PROTOCOL_ERROR));
    let all = s.say(true, &["SendTargets=iqn.2024-01.example:disk1"]).unwrap();
    assert_eq!(strings(&all.1), DISK1, "the next request is a new one");
}

#[test]
fn item_32_without_the_final_bit_the_last_part_is_not_final() {
    let mut s = discovery(1);
    let (reply, text) = s.say(false, &["SendTargets=All"]).unwrap();
    assert!(!reply.is_final && !reply.cont && !text.is_empty());
    assert!(s.ask(&[]).is_empty());
    let mut s = discovery(1);
    s.say(false, &["SendTargets=All"]).unwrap();
    assert_eq!(s.say(true, &["SendTargets=All"]), Err(RejectReason::PROTOCOL_ERROR));
}

#[test]
fn item_33_discovery_sessions_take_nothing_else() {
    //= RFC 7143 section 4.3
    //# The target MUST ONLY accept Text Requests with the SendTargets
    //# key and a Logout Request with reason "close the session".  All
    //# other requests MUST be rejected.
    for pairs in [&[][..], &["MaxRecvDataSegmentLength=65536"], &["X-a=1"]] {
        assert_eq!(discovery(1).say(true, pairs), Err(RejectReason::PROTOCOL_ERROR));
    }
    //= RFC 7143 appendix C
    //# This
    //# PDU contains exactly one text key and value.
    let more = discovery(1).say(true, &["SendTargets=All", "MaxRecvDataSegmentLength=65536"]);
    assert_eq!(more, Err(RejectReason::PROTOCOL_ERROR));
}

#[test]
fn requests_may_be_cut_anywhere() {
    let all = b"SendTargets=iqn.2024-01.example:disk1\0";
    for cut in 0..all.len() {
        let mut s = discovery(3);
        (s.header.cont, s.header.is_final) = (true, false);
        let (reply, text) = s.send(&all[..cut]).unwrap();
        assert!(!reply.is_final && !reply.cont && text.is_empty());
        (s.header.cont, s.header.is_final) = (false, true);
        assert_eq!(strings(&s.send(&all[cut..]).unwrap().1), DISK1);
    }
}

#[test]
fn text_is_bounded_and_forgotten() {
    let mut s = normal();
    (s.header.cont, s.header.is_final) = (true, false);
    for _ in 0..limits::MAX_TEXT_BYTES / 8192 {
        s.send(&[b'A'; 8192]).unwrap();
    }
    assert_eq!(s.send(b"A"), Err(RejectReason::LONG_OP_REJECT));
    s.header.ttt = Ttt::RESERVED;
    for _ in 0..limits::MAX_TEXT_EXCHANGES {
        s.send(b"A").unwrap();
    }
    assert_eq!(s.send(b"A"), Err(RejectReason::LONG_OP_REJECT));
    assert_eq!(discovery(20_000).say(true, &["SendTargets=All"]), Err(RejectReason::LONG_OP_REJECT));
    let mut s = normal();
    s.say(false, &[]).unwrap();
    s.conversations.forget(ConnIx(0));
    assert_eq!(s.say(true, &[]), Err(RejectReason::INVALID_PDU_FIELD), "the connection is another one");
}

proptest! {
    #[test]
    fn any_requests_are_answered(
        requests in proptest::collection::vec(
            (any::<bool>(), proptest::bool::weighted(0.2), proptest::bool::weighted(0.7), prop_oneof![
                Just(b"SendTargets=All\0".to_vec()),
                Just(b"MaxRecvDataSegmentLength=600\0".to_vec()),
                Just(b"X-a=1\0X-b=2\0".to_vec()),
                Just(vec![]),
                proptest::collection::vec(any::<u8>(), 0..64),
            ]),
            1..16,
        ),
        is_discovery: bool,
    ) {
        let mut s = if is_discovery { discovery(300) } else { normal() };
        for (is_final, cont, same, data) in requests {
            (s.header.is_final, s.header.cont) = (is_final, cont);
            if !same {
                s.header.ttt = Ttt::RESERVED;
            }
            if let Ok((reply, _)) = s.send(&data) {
                prop_assert!(is_final || !reply.is_final);
            }
            prop_assert!(s.conversations.slots.iter().skip(1).all(Option::is_none));
        }
    }
}

#[test]
fn long_texts_of_all_sessions_are_bounded_together() {
    const MOST: usize = 1 << 20;
    const SESSIONS: usize = 64;
    let store = Store::new(MOST);
    // Some 100 KiB of targets, of which nobody fetches more than the first part.
    let mut sessions: Vec<_> = (0..SESSIONS).map(|_| discovery(1000)).collect();
    let mut refused = 0;
    for session in &mut sessions {
        session.conversations.keep_in(&store);
        match session.say(true, &["SendTargets=All"]) {
            Ok((reply, _)) => assert!(reply.cont),
            Err(reason) => {
                assert_eq!(reason, RejectReason::LONG_OP_REJECT);
                refused += 1;
            }
        }
    }
    assert!(store.used() < 2 * MOST && refused > SESSIONS / 2, "{refused} refused, {} kept", store.used());
    // What is short is answered nevertheless, and what was kept comes back.
    let mut short = discovery(1000);
    short.conversations.keep_in(&store);
    assert_eq!(short.ask(&["SendTargets=iqn.2024-01.example:disk1"]), DISK1);
    drop((sessions, short));
    assert_eq!(store.used(), 0);
}
