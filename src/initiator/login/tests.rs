//! Logins against a target that is a list of responses.

use super::*;
use crate::initiator::chap::Account;
use crate::initiator::outbox::{Bytes, Digests};
use crate::wire::bhs;

/// What is sent, taken apart: headers and texts.
fn requests(out: &[u8]) -> Vec<(LoginRequest, String)> {
    let (mut rest, mut all) = (out, Vec::new());
    while let Some(header) = rest.first_chunk::<BHS_LEN>() {
        let len = bhs::data_segment_len(header);
        let text = String::from_utf8(rest[BHS_LEN..BHS_LEN + len].to_vec()).unwrap();
        all.push((LoginRequest::parse(header).unwrap(), text));
        rest = &rest[BHS_LEN + len.next_multiple_of(4)..];
    }
    all
}

fn response(flags: (bool, u8, u8), tsih: u16) -> LoginResponse {
    let (transit, csg, nsg) = flags;
    LoginResponse {
        transit,
        cont: false,
        csg,
        nsg,
        version_max: 0,
        version_active: 0,
        data_segment_len: 0,
        isid: Isid([0x80, 0, 0, 0, 0, 1]),
        tsih: Tsih(tsih),
        itt: Itt(0),
        stat_sn: StatSn(7),
        exp_cmd_sn: CmdSn(1),
        max_cmd_sn: CmdSn(32),
        status: LoginStatus::SUCCESS,
    }
}

fn login(security: Security, others: &[String]) -> Login {
    let identity = Identity {
        initiator: "iqn.2001-04.com.example:host".into(),
        target: Some("iqn.2001-04.com.example:disk".into()),
        isid: Isid([0x80, 0, 0, 0, 0, 1]),
        tsih: Tsih(0),
        cid: Cid(3),
        cmd_sn: CmdSn(1),
    };
    let others = others.to_vec();
    Login::new(identity, Offer { initial_r2t: Some(false), others, ..Offer::default() }, security)
}

/// Plays the responses; what was sent, and what it came to.
fn play(
    mut login: Login,
    responses: &[(LoginResponse, &str)],
) -> (Vec<(LoginRequest, String)>, Result<Step, LoginError>) {
    let mut out = Vec::new();
    let mut outbox = Bytes { out: &mut out, area: &[], digests: Digests::default() };
    login.begin(&mut outbox);
    let mut last = Ok(Step::Going);
    for (response, text) in responses {
        assert_eq!(last, Ok(Step::Going));
        last = login.response(response, text.as_bytes(), &mut outbox);
    }
    (requests(&out), last)
}

const NAMES: &str =
    "InitiatorName=iqn.2001-04.com.example:host\0TargetName=iqn.2001-04.com.example:disk\0SessionType=Normal\0";

#[test]
fn one_request_is_enough() {
    //= RFC 7143 section 4.2.7.1
    //# The initiator MUST present both its iSCSI Initiator Name and the iSCSI
    //# Target Name to which it wishes to connect in the first Login Request of
    //# a new session or connection.
    let answer = "TargetPortalGroupTag=5\0InitialR2T=No\0MaxRecvDataSegmentLength=65536\0";
    let (sent, step) = play(login(Security::Skipped, &[]), &[(response((true, 1, 3), 9), answer)]);
    let Ok(Step::Done(done)) = step else { panic!("{step:?}") };
    assert_eq!((done.tsih, done.cid, done.exp_stat_sn, done.max_cmd_sn), (Tsih(9), Cid(3), StatSn(8), CmdSn(32)));
    assert_eq!((done.portal_group_tag, done.params.target_max_recv_bytes), (Some(5), 65_536));
    assert!(!done.params.initial_r2t);
    let [(request, text)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((request.transit, request.csg, request.nsg, request.cid), (true, 1, 3, Cid(3)));
    assert_eq!(*text, format!("{NAMES}InitialR2T=No\0"));
}

#[test]
fn through_the_security_stage_and_with_questions_of_the_target() {
    let responses = [
        (response((true, 0, 1), 0), "AuthMethod=None\0"),
        (response((false, 1, 0), 0), "InitialR2T=Yes\0X-com.example=1\0IFMarker=Reject\0"),
        (response((true, 1, 3), 2), ""),
    ];
    let (sent, step) = play(login(Security::None, &[]), &responses);
    assert!(matches!(step, Ok(Step::Done(_))), "{step:?}");
    let facts: Vec<_> =
        sent.iter().map(|(r, text)| (r.transit, r.csg, r.nsg, r.exp_stat_sn.0, text.as_str())).collect();
    let first = format!("{NAMES}AuthMethod=None\0");
    assert_eq!(
        facts,
        [
            (true, 0, 1, 0, first.as_str()),
            (true, 1, 3, 8, "InitialR2T=No\0"),
            (true, 1, 3, 8, "X-com.example=NotUnderstood\0")
        ]
    );
}

#[test]
fn long_texts_go_in_pieces_both_ways() {
    //= RFC 7143 section 11.12.2
    //# A Login Request with the C bit set to 1 MUST have the T bit set to 0.
    //= RFC 7143 section 6.2
    //# An initiator receiving a Text or Login Response with the C bit set to 1
    //# MUST answer with a Text or Login Request with no data segment
    //# (DataSegmentLength 0).
    let long = format!("X-com.example={}", "x".repeat(REQUEST_TEXT_BYTES));
    let more = LoginResponse { cont: true, ..response((false, 1, 0), 0) };
    let responses = [
        (response((false, 1, 0), 0), ""),
        (more, "Initial"),
        (response((true, 1, 3), 2), "R2T=No\0X-com.example=Reject\0"),
    ];
    let (sent, step) = play(login(Security::Skipped, std::slice::from_ref(&long)), &responses);
    let Ok(Step::Done(done)) = step else { panic!("{step:?}") };
    assert!(!done.params.initial_r2t);
    let facts: Vec<_> = sent.iter().map(|(r, text)| (r.transit, r.cont, text.len())).collect();
    let all = NAMES.len() + "InitialR2T=No\0".len() + long.len() + 1;
    assert_eq!(facts, [(false, true, REQUEST_TEXT_BYTES), (true, false, all - REQUEST_TEXT_BYTES), (false, false, 0)]);
}

#[test]
fn chap_takes_four_requests() {
    let account = Account { name: "user".into(), secret: b"secret.secret".to_vec() };
    let security = Security::Chap(Chap { own: account, targets: None });
    let responses = [
        (response((false, 0, 0), 0), "AuthMethod=CHAP\0"),
        (response((false, 0, 0), 0), "CHAP_A=5\0CHAP_I=7\0CHAP_C=0x0102\0"),
        (response((true, 0, 1), 0), ""),
        (response((true, 1, 3), 2), ""),
    ];
    let (sent, step) = play(login(security, &[]), &responses);
    assert!(matches!(step, Ok(Step::Done(_))), "{step:?}");
    let facts: Vec<_> = sent.iter().map(|(r, text)| (r.transit, r.csg, &text[..6])).collect();
    assert_eq!(facts, [(false, 0, "Initia"), (false, 0, "CHAP_A"), (true, 0, "CHAP_N"), (true, 1, "Initia")]);
}

#[test]
fn ways_to_fail_and_to_be_sent_elsewhere() {
    let status = |status| LoginResponse { status, ..response((false, 1, 0), 0) };
    let alone = |response, text| play(login(Security::Skipped, &[]), &[(response, text)]).1;
    let refused = status(LoginStatus::NOT_FOUND);
    assert_eq!(alone(refused, ""), Err(LoginError::Refused(LoginStatus::NOT_FOUND)));
    let address = "TargetAddress=192.0.2.1:3260,1\0";
    let moved = Step::Moved { address: "192.0.2.1:3260,1".into(), permanently: true };
    assert_eq!(alone(status(LoginStatus::TARGET_MOVED_PERMANENTLY), address), Ok(moved));
    assert_eq!(alone(status(LoginStatus::TARGET_MOVED_TEMPORARILY), ""), Err(LoginError::NoAddress));
    assert!(matches!(alone(response((true, 1, 3), 0), ""), Err(LoginError::Protocol(_))), "no TSIH");
    assert_eq!(alone(response((true, 1, 3), 1), "nonsense\0"), Err(LoginError::Text(TextError::MissingEquals)));
    assert_eq!(alone(response((true, 1, 3), 1), "InitialR2T=no\0"), Err(LoginError::Key(KeyError::Value)));
    let security = Security::None;
    let wrong = play(login(security, &[]), &[(response((false, 0, 0), 0), "AuthMethod=CHAP\0")]).1;
    assert_eq!(wrong, Err(LoginError::AuthMethod));
    let endless = vec![(response((false, 1, 0), 0), ""); limits::MAX_TEXT_EXCHANGES as usize + 1];
    assert_eq!(play(login(Security::Skipped, &[]), &endless).1, Err(LoginError::Endless));
}
