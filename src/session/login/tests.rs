//! Logins, as dialogues: the rules of RFC 7143 one by one, then what real initiators send.

use std::net::SocketAddr;
use std::sync::Arc;

use super::keys::KeyFault;
use super::negotiate::Offer;
use super::*;
use crate::model::{IscsiName, Portal, Snapshot, TargetSpec};
use crate::session::directory::{AuthPolicy, Directory, NoTarget, SnapshotDirectory, TargetRef, TargetVisitor, Wanted};
use crate::session::params::{OwnParams, Params, SessionKind};
use crate::wire::Itt;
use crate::wire::text::Pairs;
use proptest::prelude::*;

const INITIATOR: &str = "InitiatorName=iqn.1994-05.com.redhat:host";
const TARGET: &str = "TargetName=iqn.2024-01.example:disk";
const SEC: u8 = SECURITY_NEGOTIATION;
const OPS: u8 = LOGIN_OPERATIONAL_NEGOTIATION;
const FFP: u8 = FULL_FEATURE_PHASE;

/// A directory of one target, with what the tests need to be different.
pub(super) struct House {
    inner: SnapshotDirectory,
    pub(super) policy: AuthPolicy,
    refusal: Option<NoTarget>,
}

impl Directory for House {
    fn find(&self, n: &IscsiName, i: &IscsiName, a: SocketAddr, b: SocketAddr) -> Result<TargetRef, NoTarget> {
        self.refusal.map_or_else(|| self.inner.find(n, i, a, b), Err)
    }
    fn auth(&self, _: Wanted<'_>, _: &IscsiName, _: SocketAddr, _: SocketAddr) -> AuthPolicy {
        self.policy.clone()
    }
    fn targets(&self, i: &IscsiName, a: SocketAddr, b: SocketAddr, each: &mut TargetVisitor<'_>) {
        self.inner.targets(i, a, b, each);
    }
    fn portal_group(&self, a: SocketAddr) -> u16 {
        self.inner.portal_group(a)
    }
}

/// An initiator at one end, a login at the other.
pub(super) struct Dialogue {
    login: Login,
    pub(super) house: House,
    offer: Offer,
    pub(super) header: LoginRequest,
    /// The next random bytes.
    pub(super) dice: u8,
}

impl Dialogue {
    pub(super) fn new() -> Self {
        let name = IscsiName::new("iqn.2024-01.example:disk").unwrap();
        let listen = "0.0.0.0:3260".parse().unwrap();
        let snapshot = Snapshot {
            portals: vec![Portal { listen, advertise: None, group_tag: 7 }],
            targets: vec![TargetSpec::new(name, Some("The disk".into()), vec![])],
            ..Snapshot::default()
        };
        Self {
            login: Login::new(0),
            house: House { inner: SnapshotDirectory::new(Arc::new(snapshot)), policy: AuthPolicy::Open, refusal: None },
            offer: Offer::default(),
            header: LoginRequest {
                transit: false,
                cont: false,
                csg: 0,
                nsg: 0,
                version_max: 0,
                version_min: 0,
                data_segment_len: 0,
                isid: Isid([0, 2, 0x3d, 0, 0, 1]),
                tsih: Tsih(0),
                itt: Itt(9),
                cid: Cid(0),
                cmd_sn: CmdSn(123),
                exp_stat_sn: StatSn(0),
            },
            dice: 1,
        }
    }

    fn raw(&mut self, data: &[u8]) -> Step {
        let mut dice = self.dice;
        let mut random = |bytes: &mut [u8]| {
            for byte in bytes {
                dice = dice.wrapping_mul(5).wrapping_add(77);
                *byte = dice;
            }
        };
        let step = self.login.request(
            &LoginRequest { data_segment_len: data.len() as u32, ..self.header },
            data,
            &mut LoginEnv {
                directory: &self.house,
                portal: "10.0.0.1:3260".parse().unwrap(),
                peer: "10.0.0.9:50000".parse().unwrap(),
                random: &mut random,
                offer: &self.offer,
            },
        );
        self.dice = dice;
        step
    }

    /// Sends pairs with T=0.
    pub(super) fn say(&mut self, csg: u8, pairs: &[&str]) -> Step {
        self.header = LoginRequest { csg, nsg: 0, transit: false, ..self.header };
        self.raw(&text(pairs))
    }

    /// Sends pairs with T=1.
    pub(super) fn transit(&mut self, csg: u8, nsg: u8, pairs: &[&str]) -> Step {
        self.header = LoginRequest { csg, nsg, transit: true, ..self.header };
        self.raw(&text(pairs))
    }

    /// A one-request login with further pairs.
    fn quick(&mut self, pairs: &[&str]) -> Step {
        let all: Vec<&str> = [INITIATOR, TARGET].iter().chain(pairs).copied().collect();
        self.transit(OPS, FFP, &all)
    }
}

fn text(pairs: &[&str]) -> Vec<u8> {
    pairs.iter().flat_map(|pair| pair.bytes().chain([0])).collect()
}

/// The answer's pairs, each as `key=value`.
pub(super) fn said(answer: &LoginAnswer) -> Vec<String> {
    assert_eq!(answer.response.data_segment_len as usize, answer.text.len());
    Pairs::new(&answer.text).map(|pair| pair.map(|(key, value)| format!("{key}={value}")).unwrap()).collect()
}

#[track_caller]
pub(super) fn answer(step: Step) -> LoginAnswer {
    match step {
        Step::Answer(answer) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

#[track_caller]
pub(super) fn done(step: Step) -> LoginDone {
    match step {
        Step::Done(done) => *done,
        other => panic!("not done: {other:?}"),
    }
}

#[track_caller]
pub(super) fn refused(step: Step) -> (LoginStatus, LoginFault) {
    match step {
        Step::Refuse { answer, reason } => {
            let r = answer.response;
            assert!(!r.transit && !r.cont && (r.csg, r.nsg) == (0, 0), "reserved in a reject");
            (r.status, reason)
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// The key that a login was refused for, and why.
#[track_caller]
fn key_refused(step: Step) -> (&'static str, KeyFault) {
    match refused(step) {
        (LoginStatus::INITIATOR_ERROR, LoginFault::Key { key, fault }) => (key, fault),
        other => panic!("refused for something else: {other:?}"),
    }
}

mod header {
    use super::*;

    #[test]
    fn item_01_tsih_and_cid_are_handed_to_the_placement() {
        let mut d = Dialogue::new();
        (d.header.tsih, d.header.cid) = (Tsih(5), Cid(2));
        let done = done(d.quick(&["MaxBurstLength=4096", "MaxRecvDataSegmentLength=4096"]));
        //= RFC 7143 section 11.12.7
        //# The target MUST use the value presented with the first Login Request.
        assert_eq!((done.tsih, done.cid), (Tsih(5), Cid(2)));
        assert_eq!(done.answer.response.tsih, Tsih(5));
        let session = Params {
            max_burst_bytes: 1024,
            own: OwnParams { header_digest: true, ..OwnParams::default() },
            ..Params::default()
        };
        let joined = done.params.joined_to(&session);
        assert_eq!(
            (joined.max_burst_bytes, joined.own.initiator_max_recv_bytes, joined.own.header_digest),
            (1024, 4096, false)
        );
        let answer = done.refuse(LoginStatus::SESSION_DOES_NOT_EXIST);
        assert_eq!(answer.response.status, LoginStatus { class: 2, detail: 0x0a });
        assert!(!answer.response.transit && answer.text.is_empty() && answer.response.data_segment_len == 0);
        assert_eq!(answer.response.tsih, Tsih(5));
    }

    #[test]
    fn item_01_a_discovery_session_has_one_connection() {
        let mut d = Dialogue::new();
        d.header.tsih = Tsih(5);
        let (status, fault) = refused(d.transit(OPS, FFP, &[INITIATOR, "SessionType=Discovery"]));
        assert_eq!((status, fault), (LoginStatus::INITIATOR_ERROR, LoginFault::DiscoveryJoin));
    }

    #[test]
    fn item_04_portal_group_tag_comes_with_the_first_answer() {
        //= RFC 7143 section 6.3.1
        //# During the Login Phase, the iSCSI target MUST return the
        //# TargetPortalGroupTag key with the first Login Response PDU with which
        //# it is allowed to do so (i.e., the first Login Response issued after
        //# the first Login Request with the C bit set to 0) for all session
        //# types.
        for (csg, nsg) in [(SEC, OPS), (OPS, FFP)] {
            for who in [TARGET, "SessionType=Discovery"] {
                let mut d = Dialogue::new();
                d.header = LoginRequest { cont: true, csg, ..d.header };
                let empty = answer(d.raw(INITIATOR.as_bytes()));
                assert!(empty.text.is_empty(), "not while the request goes on");
                d.header.cont = false;
                let first = answer(d.say(csg, &["", who]));
                //= RFC 7143 section 11.13.8
                //# The target MUST provide some basic parameters in order to enable the
                //# initiator to determine if it is connected to the correct port and the
                //# initial text parameters for the security exchange.
                assert_eq!(said(&first)[0], "TargetPortalGroupTag=7");
                let step = d.transit(csg, nsg, &[]);
                let again = match step {
                    Step::Answer(answer) => answer,
                    step => done(step).answer,
                };
                assert!(!said(&again).iter().any(|pair| pair.starts_with("TargetPortalGroupTag")));
            }
        }
    }

    #[test]
    fn item_05_names_must_come_first() {
        //= RFC 7143 section 6.3
        //# The initial Login Request of any connection MUST include the
        //# InitiatorName key=value pair.
        let (status, fault) = refused(Dialogue::new().transit(OPS, FFP, &[TARGET]));
        assert_eq!((status, fault), (LoginStatus::MISSING_PARAMETER, LoginFault::NoInitiatorName));
        let (status, fault) = refused(Dialogue::new().say(SEC, &[INITIATOR]));
        assert_eq!((status, fault), (LoginStatus::MISSING_PARAMETER, LoginFault::NoTargetName));
        let discovery = done(Dialogue::new().transit(OPS, FFP, &[INITIATOR, "SessionType=Discovery"]));
        assert_eq!((discovery.kind, discovery.target), (SessionKind::Discovery, None));
        let (status, _) = refused(Dialogue::new().transit(OPS, FFP, &["InitiatorName=nobody", TARGET]));
        assert_eq!(status, LoginStatus::INITIATOR_ERROR);
        for name in ["iqn.2026-11.com.example:Host_1", "iqn.com.example:host"] {
            let pairs = [&format!("InitiatorName={name}"), TARGET];
            let mut strict = Dialogue::new();
            strict.offer.strict = true;
            assert_eq!(refused(strict.transit(OPS, FFP, &pairs)).0, LoginStatus::INITIATOR_ERROR);
            let taken = done(Dialogue::new().transit(OPS, FFP, &pairs)).initiator.name;
            assert_eq!((taken.as_str(), taken.is_standard()), (&*name.to_lowercase(), false));
        }
    }

    #[test]
    fn item_06_transit_only_when_both_want_it() {
        //= RFC 7143 section 6.3
        //# The selected NSG MUST NOT exceed the value stated by the initiator.
        //
        //= RFC 7143 section 6.3
        //# The Login Final-Response that accepts a Login Request can only come as a
        //# response to a Login Request with the T bit set to 1, and both the
        //# request and response MUST indicate FullFeaturePhase as the next phase
        //# via the NSG field.
        //
        //= RFC 7143 section 11.13.6
        //# If the Status-Class is 0, the T bit MUST NOT be set to 1 if the T bit
        //# in the request was set to 0.
        let mut d = Dialogue::new();
        assert!(!answer(d.say(SEC, &[INITIATOR, TARGET, "AuthMethod=None"])).response.transit);
        let on = answer(d.transit(SEC, OPS, &[])).response;
        assert!(on.transit && (on.csg, on.nsg) == (SEC, OPS));
        assert!(!answer(d.say(OPS, &[])).response.transit);
        let last = done(d.transit(OPS, FFP, &[])).answer.response;
        assert!(last.transit && (last.csg, last.nsg) == (OPS, FFP));
    }

    #[test]
    fn item_06_what_wants_an_answer_comes_without_transit() {
        //= RFC 7143 section 11.13.6
        //# A Login Response with
        //# the T bit set to 1 MUST NOT contain key=value pairs that may require
        //# additional answers from the initiator within the same stage.
        let mut d = Dialogue::new();
        let proposal = answer(d.quick(&["MaxBurstLength=8192"]));
        assert!(!proposal.response.transit && said(&proposal).contains(&"FirstBurstLength=8192".into()));
        let last = done(d.transit(OPS, FFP, &["FirstBurstLength=8192"])).answer;
        assert!(last.response.transit && last.text.is_empty());
    }

    #[test]
    fn item_06_no_stage_is_skipped_backwards_or_reserved() {
        //= RFC 7143 section 6.3
        //# The Login Phase MAY include a SecurityNegotiation stage and a
        //# LoginOperationalNegotiation stage and MUST include at least one of them,
        //# but the included stage MAY be empty except for the mandatory names.
        //
        //= RFC 7143 section 6.3
        //# If both stages are used, the SecurityNegotiation MUST precede the
        //# LoginOperationalNegotiation.
        for nsg in [SEC, OPS, 2] {
            let (status, fault) = refused(Dialogue::new().transit(OPS, nsg, &[INITIATOR, TARGET]));
            assert_eq!((status, fault), (LoginStatus::INITIATOR_ERROR, LoginFault::NextStage { csg: OPS, nsg }));
        }
        for csg in [2, FFP] {
            assert_eq!(refused(Dialogue::new().say(csg, &[INITIATOR])).1, LoginFault::CurrentStage { csg });
        }
        let mut d = Dialogue::new();
        answer(d.transit(SEC, OPS, &[INITIATOR, TARGET]));
        assert_eq!(refused(d.say(SEC, &[])).1, LoginFault::CurrentStage { csg: SEC });
        let mut d = Dialogue::new();
        d.header.nsg = 2;
        d.header.csg = OPS;
        answer(d.raw(&text(&[INITIATOR, TARGET])));
    }

    #[test]
    fn item_06_security_may_lead_straight_to_full_feature_phase() {
        let done = done(Dialogue::new().transit(SEC, FFP, &[INITIATOR, TARGET, "AuthMethod=None"]));
        assert_eq!(done.params, Params::default(), "nothing was negotiated, nothing was declared");
    }

    #[test]
    fn item_07_another_pdu_is_020b() {
        let mut d = Dialogue::new();
        answer(d.say(SEC, &[INITIATOR, TARGET]));
        let mut bhs = [0; 48];
        bhs[19] = 77;
        let Step::Refuse { answer, reason } = d.login.not_a_login(&bhs) else { panic!() };
        assert_eq!((answer.response.status, reason), (LoginStatus { class: 2, detail: 0x0b }, LoginFault::NotALogin));
        assert_eq!(answer.response.itt, Itt(77));
        assert_eq!(refused(d.say(SEC, &[])).1, LoginFault::Over);
    }

    #[test]
    fn item_08_versions() {
        //= RFC 7143 section 11.13.2
        //# If the target does not support a version within the
        //# range specified by the initiator, the target rejects the login and
        //# this field indicates the lowest version supported by the target.
        let mut d = Dialogue::new();
        (d.header.version_min, d.header.version_max) = (1, 2);
        let Step::Refuse { answer, .. } = d.quick(&[]) else { panic!() };
        assert_eq!(answer.response.status, LoginStatus::UNSUPPORTED_VERSION);
        assert_eq!((answer.response.version_max, answer.response.version_active), (0, 0));
        let mut d = Dialogue::new();
        d.header.version_max = 2;
        assert_eq!(done(d.quick(&[])).answer.response.version_active, 0);
    }

    #[test]
    fn item_08_the_versions_of_the_first_request_count() {
        //= RFC 7143 section 11.12.4.1
        //# The target MUST use the value presented with the first Login Request.
        //= RFC 7143 section 11.12.4.2
        //# The target MUST use the value presented with the first Login Request.
        //= RFC 7143 section 11.13.1
        //# All Login Responses within the Login Phase MUST carry the same
        //# Version-max.
        //= RFC 7143 section 11.13.2
        //# All Login Responses within the Login Phase MUST carry the same
        //# Version-active.
        let mut d = Dialogue::new();
        d.header.version_max = 3;
        let mut responses = vec![answer(d.transit(SEC, OPS, &[INITIATOR, TARGET])).response];
        // In a first request this would be refused: there is no version from 1 on.
        (d.header.version_min, d.header.version_max) = (1, 2);
        responses.push(answer(d.say(OPS, &[])).response);
        responses.push(done(d.transit(OPS, FFP, &[])).answer.response);
        assert!(responses.iter().all(|r| (r.version_max, r.version_active) == (0, 0)));
        let mut d = Dialogue::new();
        (d.header.version_min, d.header.version_max) = (1, 2);
        assert_eq!(refused(d.quick(&[])).0, LoginStatus::UNSUPPORTED_VERSION);
        (d.header.version_min, d.header.version_max) = (0, 0);
        assert_eq!(refused(d.quick(&[])).1, LoginFault::Over);
    }

    #[test]
    fn item_09_what_the_directory_says_is_what_the_initiator_is_told() {
        for (refusal, detail) in [(NoTarget::NotFound, 3), (NoTarget::Forbidden, 2), (NoTarget::Removed, 4)] {
            let mut d = Dialogue::new();
            d.house.refusal = Some(refusal);
            let (status, fault) = refused(d.quick(&[]));
            assert_eq!(status, LoginStatus { class: 2, detail });
            assert_eq!(fault.to_string(), refusal.to_string());
        }
        for other in ["TargetName=iqn.2024-01.example:other", "TargetName=no name"] {
            let (status, _) = refused(Dialogue::new().transit(OPS, FFP, &[INITIATOR, other]));
            assert_eq!(status, LoginStatus::NOT_FOUND);
        }
        let (status, fault) = refused(Dialogue::new().transit(OPS, FFP, &[INITIATOR, TARGET, "SessionType=Other"]));
        assert_eq!((status, fault), (LoginStatus::SESSION_TYPE_NOT_SUPPORTED, LoginFault::SessionType));
    }

    #[test]
    fn item_09_a_redirection_names_the_address_without_tag() {
        //= RFC 7143 section 13.8
        //# If the TargetAddress is returned as the result of a redirect status
        //# in a Login Response, the comma and portal-group-tag MUST be omitted.
        for (to, detail) in [("10.0.0.2:3260", 1), ("[2001:db8::2]:3261", 2)] {
            let mut d = Dialogue::new();
            d.house.refusal = Some(NoTarget::Moved { to: to.parse().unwrap(), permanently: detail == 2 });
            //= RFC 7143 section 11.13.5
            //# All of the redirection Status-Class responses MUST return one or more
            //# text key parameters of the type "TargetAddress", which indicates the
            //# target's new address.
            let Step::Refuse { answer, .. } = d.quick(&[]) else { panic!() };
            assert_eq!(answer.response.status, LoginStatus { class: 1, detail });
            assert_eq!(said(&answer), [format!("TargetAddress={to}")]);
        }
    }

    #[test]
    fn item_10_cmd_sn_of_the_leading_login() {
        //= RFC 7143 section 11.12.8
        //# If the Login Request is a leading Login Request, the target MUST use
        //# the value presented in the CmdSN as the target value for the
        //# ExpCmdSN.
        let mut d = Dialogue::new();
        let first = answer(d.transit(SEC, OPS, &[INITIATOR, TARGET])).response;
        let done = done(d.transit(OPS, FFP, &[]));
        let last = done.answer.response;
        assert_eq!((first.exp_cmd_sn, last.exp_cmd_sn, done.cmd_sn), (CmdSn(123), CmdSn(123), CmdSn(123)));
        assert_eq!(last.max_cmd_sn, CmdSn(123 + limits::COMMAND_WINDOW - 1));
        assert_eq!((last.stat_sn, done.next_stat_sn), (first.stat_sn.next(), first.stat_sn.add(2)));
        let mut d = Dialogue::new();
        d.header.tsih = Tsih(1);
        let joining = answer(d.transit(SEC, OPS, &[INITIATOR, TARGET])).response;
        assert!(joining.max_cmd_sn.lt(CmdSn(joining.exp_cmd_sn.0 - 1)), "to be ignored");
    }

    #[test]
    fn item_12_a_pair_may_be_cut_anywhere() {
        //= RFC 7143 section 6.2
        //# A target receiving a Text or Login Request with the C bit set to 1
        //# MUST answer with a Text or Login Response with no data segment
        //# (DataSegmentLength 0).
        let all = text(&[INITIATOR, TARGET, "MaxBurstLength=131072"]);
        for cut in 0..all.len() {
            let mut d = Dialogue::new();
            d.header = LoginRequest { cont: true, csg: OPS, ..d.header };
            let first = answer(d.raw(&all[..cut]));
            assert!(first.text.is_empty() && !first.response.transit && !first.response.cont);
            d.header = LoginRequest { cont: false, transit: true, nsg: FFP, ..d.header };
            assert_eq!(done(d.raw(&all[cut..])).params.max_burst_bytes, 131_072);
        }
    }

    #[test]
    fn item_12_continue_and_transit_exclude_each_other() {
        //= RFC 7143 section 6.2
        //# As negotiation text may span PDU boundaries, a Text or Login Request or
        //# a Text or Login Response PDU that has the C bit set to 1 MUST NOT have
        //# the F bit or T bit set to 1.
        let mut d = Dialogue::new();
        d.header.cont = true;
        assert_eq!(refused(d.quick(&[])).1, LoginFault::TransitAndContinue);
    }

    #[test]
    fn item_12_a_long_answer_is_continued() {
        //= RFC 7143 section 6.3
        //# There MUST NOT be more than one outstanding Login Request or Login
        //# Response on an iSCSI connection.
        //
        //= RFC 7143 section 11.13.7
        //# A Login Response with
        //# the C bit set to 1 MUST have the T bit set to 0.
        let unknown: Vec<String> = (0..400).map(|i| format!("X-com.example.{i}=1")).collect();
        let pairs: Vec<&str> = unknown.iter().map(String::as_str).collect();
        let mut d = Dialogue::new();
        answer(d.say(OPS, &[INITIATOR, TARGET]));
        let first = answer(d.transit(OPS, FFP, &pairs));
        assert!(first.response.cont && !first.response.transit && first.text.len() <= 8192);
        let second = done(d.transit(OPS, FFP, &[]));
        assert_eq!(said(&first).len() + said(&second.answer).len(), 400);
        let mut d = Dialogue::new();
        answer(d.say(OPS, &[INITIATOR, TARGET]));
        answer(d.transit(OPS, FFP, &pairs));
        assert_eq!(refused(d.transit(OPS, FFP, &["MaxConnections=1"])).1, LoginFault::OutOfTurn);
    }

    #[test]
    fn item_13_at_least_8192_bytes_and_six_exchanges_and_a_bound() {
        //= RFC 7143 section 6.1
        //# Any iSCSI target or initiator MUST support receiving at least 8192 bytes
        //# of key=value data in a negotiation sequence.
        //
        //= RFC 7143 section 6.1
        //# When proposing or accepting authentication methods that explicitly
        //# require support for very long authentication items, the initiator and
        //# target MUST support receiving at least 64 kilobytes of key=value data.
        //
        //= RFC 7143 section 6.2
        //# An iSCSI initiator or target MAY terminate a negotiation that does
        //# not terminate within an implementation-specific reasonable time or
        //# number of exchanges but SHOULD allow at least six (6) exchanges.
        let mut d = Dialogue::new();
        answer(d.say(OPS, &[INITIATOR, TARGET]));
        //= RFC 7143 section 10.3
        //# Those limits SHOULD be generous enough to avoid affecting
        //# interoperability (e.g., allowing each key to be negotiated on a separate
        //# exchange).
        for _ in 1..limits::MAX_TEXT_EXCHANGES {
            answer(d.say(OPS, &[]));
        }
        assert_eq!(refused(d.say(OPS, &[])).1, LoginFault::TooManyExchanges);
        let mut d = Dialogue::new();
        d.header = LoginRequest { cont: true, csg: OPS, ..d.header };
        for _ in 0..limits::MAX_TEXT_BYTES / 8192 {
            answer(d.raw(&[b'A'; 8192]));
        }
        assert_eq!(refused(d.raw(b"A")), (LoginStatus::OUT_OF_RESOURCES, LoginFault::TooMuchText));
        assert_eq!(refused(Dialogue::new().raw(&[b'A'; 8193])).1, LoginFault::DataSegment);
        // Nor does our answer grow without bound.
        let mut d = Dialogue::new();
        answer(d.say(OPS, &[INITIATOR, TARGET]));
        d.header.cont = true;
        for _ in 0..7 {
            // Nearly as many as there may be.
            answer(d.raw(&[&[b'A'; 54][..], b"=\0"].concat().repeat(145)));
        }
        d.header.cont = false;
        assert_eq!(refused(d.raw(b"")).1, LoginFault::TooMuchText);
    }

    #[test]
    fn identifiers_do_not_change_within_a_login() {
        let change: [fn(&mut LoginRequest); 3] = [|h| h.cid = Cid(9), |h| h.tsih = Tsih(9), |h| h.isid = Isid([9; 6])];
        for change in change {
            let mut d = Dialogue::new();
            answer(d.say(SEC, &[INITIATOR, TARGET]));
            change(&mut d.header);
            assert_eq!(refused(d.say(SEC, &[])).1, LoginFault::Changed);
        }
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let mut d = Dialogue::new();
        done(d.quick(&[]));
        assert_eq!(refused(d.quick(&[])).1, LoginFault::Over);
        assert_eq!(d.login.peer_named(), Some("iqn.1994-05.com.redhat:host"));
        assert_eq!(Login::new(5).deadline_ms(), 5 + limits::LOGIN_TIMEOUT_MS);
    }
}

mod text_rules {
    use super::*;

    #[test]
    fn item_14_unknown_keys_are_not_understood_in_every_stage() {
        //= RFC 7143 section 6.2
        //# However, the answer for a key
        //# that is not understood MUST be key=NotUnderstood.
        let mut d = Dialogue::new();
        let security = answer(d.transit(SEC, OPS, &[INITIATOR, TARGET, "X-com.example.a=1"]));
        assert!(said(&security).contains(&"X-com.example.a=NotUnderstood".into()));
        let last = done(d.transit(OPS, FFP, &["RDMAExtensions=Yes", "NewKey=1,2"])).answer;
        assert_eq!(said(&last)[..2], ["RDMAExtensions=NotUnderstood", "NewKey=NotUnderstood"]);
    }

    #[test]
    fn item_14_a_key_of_the_standard_is_never_not_understood() {
        //= RFC 7143 section 6.2
        //# If used as specified, these
        //# keys MUST NOT be answered with NotUnderstood.
        for spec in keys::TABLE {
            for value in ["1", "Yes", "None", "RFC3720", "512"] {
                for discovery in [false, true] {
                    let kind = if discovery { "SessionType=Discovery" } else { TARGET };
                    let step = Dialogue::new().transit(OPS, FFP, &[INITIATOR, kind, &format!("{}={value}", spec.name)]);
                    let text = match step {
                        Step::Answer(answer) | Step::Refuse { answer, .. } => said(&answer),
                        Step::Done(done) => said(&done.answer),
                    };
                    assert!(!text.contains(&format!("{}=NotUnderstood", spec.name)));
                }
            }
        }
    }

    #[test]
    fn item_23_node_architecture_changes_nothing_and_is_not_sent() {
        //= RFC 7143 section 13.26.2
        //# Functional behavior of the iSCSI node (this includes the iSCSI
        //# protocol logic -- the SCSI, iSCSI, and TCP/IP protocols) MUST NOT
        //# depend on the presence, absence, or content of the X#NodeArchitecture
        //# key.  The key MUST NOT be used by iSCSI nodes for interoperability or
        //# for exclusion of other nodes.
        for kind in [TARGET, "SessionType=Discovery"] {
            let login = |more: &[&str]| {
                let pairs = [&[INITIATOR, kind, "HeaderDigest=CRC32C,None", "DefaultTime2Wait=3"], more].concat();
                let done = done(Dialogue::new().transit(OPS, FFP, &pairs));
                (done.params, done.answer, done.kind, done.initiator)
            };
            let silent = login(&[]);
            assert!(!said(&silent.1).iter().any(|pair| pair.starts_with("X#")));
            for value in ["ExampleOS/v1234,ExampleInc_SW_Initiator/1.05a", "None", "", "Microsoft"] {
                assert_eq!(login(&[&format!("X#NodeArchitecture={value}")]), silent);
            }
        }
    }

    #[test]
    fn item_15_case_matters() {
        //= RFC 7143 section 6.1
        //# All the text keys and text values specified in this
        //# document are case sensitive; they are to be presented and interpreted
        //# as they appear in this document without change of case.
        let last = done(Dialogue::new().quick(&["initialR2T=No", "INITIALR2T=No"]));
        assert_eq!(said(&last.answer)[2..4], ["initialR2T=NotUnderstood", "INITIALR2T=NotUnderstood"]);
        assert!(last.params.initial_r2t);
        assert_eq!(key_refused(Dialogue::new().quick(&["InitialR2T=no"])), ("InitialR2T", KeyFault::Malformed));
        assert_eq!(key_refused(Dialogue::new().quick(&["HeaderDigest=crc32c"])), ("HeaderDigest", KeyFault::NoChoice));
    }

    #[test]
    fn item_18_no_key_comes_twice() {
        //= RFC 7143 section 6.3
        //# An attempt to renegotiate/redeclare parameters not specifically allowed
        //# MUST be detected by the initiator and target.
        //
        //= RFC 7143 section 6.3
        //# If such an attempt is detected
        //# by the target, the target MUST respond with a Login reject (initiator
        //# error)
        //
        //= RFC 7143 section 13.26.1
        //# X#NodeArchitecture MUST NOT be redeclared during the Login Phase.
        for pair in [
            "MaxBurstLength=512",
            "HeaderDigest=None",
            "MaxRecvDataSegmentLength=512",
            "IFMarker=No",
            "X#NodeArchitecture=ExampleOS/v1234",
        ] {
            let key = pair.split_once('=').unwrap().0;
            assert_eq!(key_refused(Dialogue::new().quick(&[pair, pair])), (key, KeyFault::Twice));
            let mut d = Dialogue::new();
            answer(d.say(OPS, &[INITIATOR, TARGET, pair]));
            assert_eq!(key_refused(d.say(OPS, &[pair])), (key, KeyFault::Twice));
        }
        for pair in [INITIATOR, TARGET, "SessionType=Normal", "InitiatorAlias=a"] {
            let key = pair.split_once('=').unwrap().0;
            let twice = Dialogue::new().say(SEC, &[INITIATOR, TARGET, "SessionType=Normal", "InitiatorAlias=a", pair]);
            assert_eq!(key_refused(twice), (key, KeyFault::Twice));
        }
        let mut d = Dialogue::new();
        answer(d.say(SEC, &[INITIATOR, TARGET, "AuthMethod=None"]));
        assert_eq!(key_refused(d.say(SEC, &["AuthMethod=None"])), ("AuthMethod", KeyFault::Twice));
    }

    #[test]
    fn item_18_nobody_becomes_somebody_else() {
        //= RFC 7143 section 13.5
        //# The InitiatorName MUST NOT be redeclared within the Login Phase.
        for other in [
            "InitiatorName=iqn.1994-05.com.redhat:other",
            "TargetName=iqn.2024-01.example:other",
            "SessionType=Discovery",
        ] {
            let mut d = Dialogue::new();
            answer(d.transit(SEC, OPS, &[INITIATOR, TARGET]));
            assert_eq!(key_refused(d.say(OPS, &[other])).1, KeyFault::Twice);
        }
    }

    #[test]
    fn keys_stay_in_their_stage() {
        //= RFC 7143 section 6.3
        //# Sending a key that is not allowed in the current stage is considered
        //# a protocol error.
        //= RFC 7143 section 12
        //# Other keys MUST NOT be used.
        let early = Dialogue::new().say(SEC, &[INITIATOR, TARGET, "MaxBurstLength=512"]);
        assert_eq!(key_refused(early), ("MaxBurstLength", KeyFault::Stage));
        let mut strict = Dialogue::new();
        strict.offer.strict = true;
        assert_eq!(key_refused(strict.quick(&["AuthMethod=None"])), ("AuthMethod", KeyFault::Stage));
        done(Dialogue::new().quick(&["AuthMethod=None"]));
        assert_eq!(key_refused(Dialogue::new().quick(&["SendTargets=All"])), ("SendTargets", KeyFault::Stage));
        let ours = Dialogue::new().quick(&["TargetPortalGroupTag=1"]);
        assert_eq!(key_refused(ours), ("TargetPortalGroupTag", KeyFault::Sender));
    }

    #[test]
    fn reserved_words_are_no_proposals() {
        //= RFC 7143 section 6.2
        //# The constants "None", "Reject", "Irrelevant", and "NotUnderstood" are
        //# reserved and MUST ONLY be used as described here.
        //
        //= RFC 7143 section 6.2
        //# Violation of this
        //# rule is a protocol error (in particular, the use of "Reject",
        //# "Irrelevant", and "NotUnderstood" as proposed values).
        for word in ["Reject", "Irrelevant", "NotUnderstood"] {
            for key in ["MaxConnections", "HeaderDigest", "InitiatorAlias", "IFMarker"] {
                let step = Dialogue::new().quick(&[&format!("{key}={word}")]);
                assert_eq!(key_refused(step), (key, KeyFault::ReservedWord));
            }
            assert_eq!(key_refused(Dialogue::new().quick(&[&format!("X-a={word}")])).1, KeyFault::ReservedWord);
        }
        let step = Dialogue::new().quick(&["ImmediateData=None"]);
        assert_eq!(key_refused(step), ("ImmediateData", KeyFault::Malformed));
    }

    #[test]
    fn item_17_what_is_not_admissible_is_rejected_by_name() {
        //= RFC 7143 section 6.2.2
        //# Proposing a value not admissible (e.g., not within the specified
        //# bounds) MAY be answered with the constant "Reject"; otherwise, the
        //# acceptor MUST select an admissible value.
        for (pair, text) in [
            ("MaxBurstLength=511", &["MaxBurstLength=Reject"][..]),
            ("DefaultTime2Wait=3601", &["DefaultTime2Wait=Reject"]),
            ("HeaderDigest=MD5", &["HeaderDigest=Reject"]),
            // Declared, not proposed; and no value of its type at all.
            ("MaxRecvDataSegmentLength=511", &[]),
            ("MaxBurstLength=many", &[]),
        ] {
            let Step::Refuse { answer, .. } = Dialogue::new().quick(&[pair]) else { panic!("{pair}") };
            assert_eq!(answer.response.status, LoginStatus::INITIATOR_ERROR);
            assert_eq!(said(&answer), text, "{pair}");
        }
    }

    #[test]
    fn item_14_not_understood_is_no_answer_to_a_key_of_the_standard() {
        //= RFC 7143 section 6.2
        //# Returning a NotUnderstood response on any of these text keys therefore
        //# MUST be considered a protocol error and handled accordingly.
        //
        //= RFC 7143 section 6.2
        //# A proposer of an iSCSI key, negotiated or declarative, in a text key
        //# exchange MUST thus be able to properly handle a NotUnderstood response.
        for declared in ["TargetPortalGroupTag", "TargetAlias", "MaxRecvDataSegmentLength"] {
            let mut d = Dialogue::new();
            answer(d.say(OPS, &[INITIATOR, TARGET]));
            assert_eq!(key_refused(d.say(OPS, &[&format!("{declared}=NotUnderstood")])).0, declared);
        }
        let mut d = Dialogue::new();
        let proposal = answer(d.quick(&["MaxBurstLength=8192"]));
        assert!(said(&proposal).contains(&"FirstBurstLength=8192".into()));
        assert_eq!(key_refused(d.say(OPS, &["FirstBurstLength=NotUnderstood"])).0, "FirstBurstLength");
        // What is no answer but means no harm is passed over.
        let mut d = Dialogue::new();
        answer(d.say(OPS, &[INITIATOR, TARGET]));
        answer(d.say(OPS, &["TargetPortalGroupTag=Irrelevant", "TargetAlias=Reject"]));
    }

    #[test]
    fn item_25_what_we_propose_waits_for_its_answer() {
        //= RFC 7143 section 6.3
        //# Targets MUST NOT submit parameters that require an additional initiator
        //# Login Request in a Login Response with the T bit set to 1.
        let mut d = Dialogue::new();
        let proposal = answer(d.quick(&["MaxBurstLength=8192"]));
        assert!(said(&proposal).contains(&"FirstBurstLength=8192".into()) && !proposal.response.transit);
        let last = done(d.transit(OPS, FFP, &["FirstBurstLength=8192"]));
        assert!(last.answer.response.transit && last.answer.text.is_empty());
        assert_eq!(last.params.first_burst_bytes, 8192);
    }

    #[test]
    fn item_27_a_failed_negotiation_ends_the_login() {
        //= RFC 7143 section 7.12
        //# During login, any failure in negotiation MUST be considered a
        //# login process failure; the Login Phase, along with the
        //# connection, MUST be terminated.
        let mut d = Dialogue::new();
        assert_eq!(key_refused(d.quick(&["MaxBurstLength=511"])), ("MaxBurstLength", KeyFault::Range));
        assert_eq!(refused(d.quick(&[])).1, LoginFault::Over);
    }
}

mod authentication {
    use super::*;

    #[test]
    fn none_is_chosen_where_nothing_is_demanded() {
        //= RFC 7143 section 6.2.1
        //# The constant "None" MUST always be used to indicate a missing function.
        let mut d = Dialogue::new();
        let first = answer(d.transit(SEC, OPS, &[INITIATOR, TARGET, "AuthMethod=KRB5,CHAP,None"]));
        assert_eq!(said(&first), ["TargetPortalGroupTag=7", "TargetAlias=The disk", "AuthMethod=None"]);
        assert!(first.response.transit);
    }

    #[test]
    fn an_initiator_that_insists_is_told_reject() {
        //= RFC 7143 section 6.3.2
        //# unless it does not support any, in which case it MUST answer
        //# with "Reject" (see Section 6.2).
        let step = Dialogue::new().transit(SEC, OPS, &[INITIATOR, TARGET, "AuthMethod=CHAP"]);
        let Step::Refuse { answer, reason } = step else { panic!() };
        assert_eq!(said(&answer), ["AuthMethod=Reject"]);
        assert_eq!(answer.response.status, LoginStatus::AUTHENTICATION_FAILURE);
        assert_eq!(reason, LoginFault::AuthenticationUnavailable);
    }
}

mod properties {
    use super::*;

    /// A pair that is likely to mean something.
    fn pair() -> impl Strategy<Value = String> {
        let key = prop_oneof![
            8 => (0..keys::TABLE.len()).prop_map(|i| keys::TABLE[i].name.to_owned()),
            1 => "[A-Za-z#.-]{0,70}",
        ];
        let value = prop_oneof![
            Just("Yes".to_owned()),
            Just("No".to_owned()),
            Just("None".to_owned()),
            Just("CHAP,None".to_owned()),
            Just("CRC32C,None".to_owned()),
            Just("Discovery".to_owned()),
            Just("iqn.2024-01.example:disk".to_owned()),
            Just("5".to_owned()),
            any::<u32>().prop_map(|n| n.to_string()),
            "0[xb][0-9a-fA-F=]{0,40}",
            ".{0,300}",
        ];
        (key, value).prop_map(|(key, value)| format!("{key}={value}"))
    }

    #[derive(Debug, Clone)]
    struct Turn {
        transit: bool,
        cont: bool,
        csg: u8,
        nsg: u8,
        data: Vec<u8>,
    }

    fn turn() -> impl Strategy<Value = Turn> {
        let words = proptest::collection::vec(pair(), 0..6)
            .prop_map(|pairs| pairs.iter().flat_map(|p| p.bytes().chain([0])).collect::<Vec<u8>>());
        let data = prop_oneof![4 => words, 1 => proptest::collection::vec(any::<u8>(), 0..200)];
        (any::<bool>(), proptest::bool::weighted(0.1), 0u8..4, 0u8..4, data)
            .prop_map(|(transit, cont, csg, nsg, data)| Turn { transit, cont, csg, nsg, data })
    }

    proptest! {
        #[test]
        fn any_dialogue_keeps_the_rules(
            turns in proptest::collection::vec(turn(), 1..12),
            introduced: bool,
        ) {
            let mut d = Dialogue::new();
            if introduced {
                answer(d.say(turns[0].csg & 1, &[INITIATOR, TARGET]));
            }
            for turn in turns {
                let header = LoginRequest { transit: turn.transit, cont: turn.cont, csg: turn.csg, nsg: turn.nsg, ..d.header };
                d.header = header;
                let over = match d.raw(&turn.data) {
                    Step::Answer(answer) => {
                        let r = answer.response;
                        prop_assert!(r.status.is_success() && answer.text.len() <= 8192);
                        prop_assert!(!r.transit || (header.transit && !r.cont && r.nsg <= header.nsg && r.nsg > r.csg));
                        prop_assert!(!header.cont || (answer.text.is_empty() && !r.transit));
                        false
                    }
                    Step::Refuse { answer, .. } => {
                        prop_assert!(!answer.response.status.is_success());
                        true
                    }
                    Step::Done(done) => {
                        let p = done.params;
                        prop_assert!(header.transit && header.nsg == FFP);
                        prop_assert!(p.first_burst_bytes <= p.max_burst_bytes);
                        prop_assert!((512..1 << 24).contains(&p.own.initiator_max_recv_bytes));
                        prop_assert!(p.max_outstanding_r2t >= 1 && p.max_connections >= 1);
                        true
                    }
                };
                if over {
                    prop_assert_eq!(refused(d.raw(b"")).1, LoginFault::Over);
                    break;
                }
            }
        }
    }
}
