//! CHAP: vectors, then whole security stages.

use super::*;
use crate::model::Account;
use crate::session::directory::AuthPolicy;
use crate::session::login::keys::KeyFault;
use crate::session::login::tests::{Dialogue, answer, done, refused, said};
use crate::session::login::{LoginFault, Step};
use proptest::prelude::*;

const NAMES: [&str; 2] = ["InitiatorName=iqn.1994-05.com.redhat:host", "TargetName=iqn.2024-01.example:disk"];
const SEC: u8 = 0;
const OPS: u8 = 1;
const FFP: u8 = 3;

fn by_number(number: u64) -> ChapAlgorithm {
    ChapAlgorithm::ALL.into_iter().find(|algorithm| u64::from(algorithm.number()) == number).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn account(name: &str, text: &str) -> Account {
    Account { name: name.into(), secret: secret(text) }
}

/// A login to a target that demands CHAP of `host` and is `disk` itself.
fn guarded() -> Dialogue {
    let mut d = Dialogue::new();
    d.house.policy = AuthPolicy::Chap(Arc::new(Credentials {
        initiators: vec![account("host", "the host's secret"), account("0xhost", "another secret")],
        target: Some(account("disk", "the disk's secret")),
        ..Default::default()
    }));
    d
}

/// What the target said for `key`.
fn value(pairs: &[String], key: &str) -> String {
    let found = pairs.iter().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {key} in {pairs:?}")).to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Our challenge, as an initiator reads it: algorithm, identifier, challenge.
fn challenge(pairs: &[String]) -> (ChapAlgorithm, u8, Vec<u8>) {
    let algorithm = by_number(value(pairs, "CHAP_A").parse().unwrap());
    let challenge = binary("CHAP_C", Some(&value(pairs, "CHAP_C"))).unwrap();
    (algorithm, value(pairs, "CHAP_I").parse().unwrap(), challenge)
}

/// Goes up to the challenge, with T in every request if `transit`.
fn challenged(d: &mut Dialogue, transit: bool, algorithms: &str) -> (ChapAlgorithm, u8, Vec<u8>) {
    let say = |d: &mut Dialogue, pairs: &[&str]| if transit { d.transit(SEC, OPS, pairs) } else { d.say(SEC, pairs) };
    let first = answer(say(d, &[NAMES[0], NAMES[1], "AuthMethod=CHAP,None"]));
    assert!(said(&first).contains(&"AuthMethod=CHAP".into()) && !first.response.transit);
    let second = answer(say(d, &[&format!("CHAP_A={algorithms}")]));
    assert!(!second.response.transit, "not before it is proved");
    challenge(&said(&second))
}

/// The host's right answer to a challenge.
fn right((algorithm, id, challenge): &(ChapAlgorithm, u8, Vec<u8>)) -> String {
    format!("CHAP_R={}", hex(&algorithm.response(*id, &secret("the host's secret"), challenge)))
}

#[test]
fn item_85_the_hashes_are_those_that_iana_lists() {
    let challenge: Vec<u8> = (0..32).collect();
    for (number, expected) in [
        (5, "0xf5938bf35c78ea5369eba92b3dbf1140"),
        (6, "0x06c654b7f00a781bb61066a7a6e3d3f9f7957661"),
        (7, "0xce8df65cede5768b7ceeb3833e4ed4a96cc784dbec3b269282162da2577c4561"),
        (8, "0x1b9511250566e97136d187f87f932386a97e41d8fb8b5385cc342d4641d393fa"),
    ] {
        let algorithm = by_number(number);
        let response = algorithm.response(0x2a, &secret("a secret of 96b!"), &challenge);
        assert_eq!((hex(&response).as_str(), response.len()), (expected, algorithm.len()));
        assert_eq!(u64::from(algorithm.number()), number);
    }
}

#[test]
fn item_85_the_first_algorithm_that_is_supported() {
    for (list, chosen) in [("5", 5), ("8,7,6,5", 8), ("9,7,5", 7), ("0x05", 5)] {
        assert_eq!(challenged(&mut guarded(), false, list).0.number(), chosen);
    }
    //= RFC 7143 section 12.1.3
    //# The target MUST answer with a Login reject with the "Authentication
    //# Failure" status or reply with:
    for (list, fault) in [("4,9", ChapFault::Algorithm), ("MD5", ChapFault::Malformed("CHAP_A"))] {
        let mut d = guarded();
        answer(d.say(SEC, &[NAMES[0], NAMES[1], "AuthMethod=CHAP"]));
        let refused = refused(d.say(SEC, &[&format!("CHAP_A={list}")]));
        assert_eq!(refused, (fault.status(), LoginFault::Chap(fault)));
    }
}

#[test]
fn one_way_with_every_algorithm() {
    for number in ["5", "6", "7", "8"] {
        let mut d = guarded();
        let ours = challenged(&mut d, false, number);
        //= RFC 7143 section 12.1
        //# Authentication is OPTIONAL to use but MUST be supported by the target
        //# and initiator.
        let third = answer(d.transit(SEC, OPS, &["CHAP_N=host", &right(&ours)]));
        assert!(third.response.transit && third.text.is_empty());
        let done = done(d.transit(OPS, FFP, &[]));
        assert_eq!(done.identity.as_deref(), Some("host"));
    }
}

/// iPXE sets T in every request, and wants the target's proof in the answer that goes on.
#[test]
fn item_90_mutual_with_transit_in_every_request() {
    let mut d = guarded();
    let ours = challenged(&mut d, true, "5");
    let third = answer(d.transit(SEC, OPS, &["CHAP_N=host", &right(&ours), "CHAP_I=0x07", "CHAP_C=0bAAECAwQFBgc="]));
    //= RFC 7143 section 9.2.1
    //# Compliant iSCSI initiators and targets MUST implement the CHAP
    //# authentication method [RFC1994] (according to Section 12.1.3, including
    //# the target authentication option).
    //= RFC 7143 section 12.1
    //# The initiator and target MUST implement CHAP.
    //= RFC 7143 section 12.1.3
    //# Otherwise, if the initiator required target authentication, the target
    //# MUST either answer with a Login reject with "Authentication Failure" or
    //# reply with:
    //= RFC 7143 section 4.2.4
    //# As part of the login process, the initiator and target SHOULD
    //# authenticate each other and MAY set a security association protocol for
    //# the session.
    let proof = ChapAlgorithm::Md5.response(7, &secret("the disk's secret"), &[0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(said(&third), ["CHAP_N=disk".to_owned(), format!("CHAP_R={}", hex(&proof))]);
    assert!(third.response.transit);
}

#[test]
fn item_90_nothing_is_proved_to_who_has_proved_nothing() {
    //= RFC 7143 section 12.1.3
    //# If the initiator authentication fails, the target MUST answer with a
    //# Login reject with "Authentication Failure" status.
    let mut d = guarded();
    challenged(&mut d, true, "5");
    let wrong = format!("CHAP_R={}", hex(&[7; 16]));
    let Step::Refuse { answer, reason } = d.transit(SEC, OPS, &["CHAP_N=host", &wrong, "CHAP_I=7", "CHAP_C=0x0001"])
    else {
        panic!()
    };
    //= RFC 7143 section 9.2
    //# These statuses are not intended for cryptographically incorrect values
    //# such as the CHAP response, for which the "Authentication Failure" status
    //# MUST be specified.
    assert_eq!((answer.response.status, answer.text.len()), (LoginStatus::AUTHENTICATION_FAILURE, 0));
    assert_eq!(reason, LoginFault::Chap(ChapFault::WrongResponse));
}

#[test]
fn item_86_encodings() {
    for encode in [
        |bytes: &[u8]| hex(bytes),
        |bytes: &[u8]| hex(bytes).to_uppercase(),
        |bytes: &[u8]| {
            const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect::<Vec<_>>();
            let digits = bits.chunks(6).map(|chunk| {
                let value = chunk.iter().chain([0; 6].iter()).take(6).fold(0, |value, bit| value << 1 | bit);
                char::from(DIGITS[usize::from(value)])
            });
            let mut text: String = "0b".chars().chain(digits).collect();
            while text.len() % 4 != 2 {
                text.push('=');
            }
            text
        },
    ] {
        let mut d = guarded();
        let (algorithm, id, challenge) = challenged(&mut d, false, "5");
        let response = encode(&algorithm.response(id, &secret("the host's secret"), &challenge));
        answer(d.transit(SEC, OPS, &["CHAP_N=host", &format!("CHAP_R={response}")]));
    }
}

#[test]
fn item_86_a_name_is_literal() {
    let mut d = guarded();
    let (algorithm, id, challenge) = challenged(&mut d, false, "5");
    let response = hex(&algorithm.response(id, &secret("another secret"), &challenge));
    answer(d.transit(SEC, OPS, &["CHAP_N=0xhost", &format!("CHAP_R={response}")]));
}

#[test]
fn item_86_binary_values_up_to_1024_bytes() {
    //= RFC 7143 section 12.1.3
    //# Their binary length (not the length of the character
    //# string that represents them in encoded form) MUST NOT exceed
    //# 1024 bytes.
    for (bytes, accepted) in [(1024, true), (1025, false)] {
        let mut d = guarded();
        let ours = challenged(&mut d, false, "5");
        let long = format!("CHAP_C={}", hex(&vec![3; bytes]));
        let step = d.transit(SEC, OPS, &["CHAP_N=host", &right(&ours), "CHAP_I=1", &long]);
        if accepted {
            answer(step);
        } else {
            assert_eq!(refused(step), (LoginStatus::INITIATOR_ERROR, LoginFault::Chap(ChapFault::Malformed("CHAP_C"))));
        }
    }
}

#[test]
fn item_87_reflections() {
    //= RFC 7143 section 9.2.1
    //# If the CHAP response received by one end of an
    //# iSCSI connection is the same as the CHAP response that the receiving
    //# endpoint would have generated for the same CHAP challenge, the
    //# response MUST be treated as an authentication failure and cause the
    //# connection to close
    let mut d = guarded();
    let (algorithm, id, challenge) = challenged(&mut d, false, "5");
    let ours = hex(&algorithm.response(id, &secret("the disk's secret"), &challenge));
    let step = d.transit(SEC, OPS, &["CHAP_N=host", &format!("CHAP_R={ours}")]);
    assert_eq!(refused(step).1, LoginFault::Chap(ChapFault::Reflection));
    //= RFC 7143 section 9.2.1
    //# Originators MUST NOT reuse the CHAP challenge sent by the responder
    //# for the other direction of a bidirectional authentication.
    let mut d = guarded();
    let ours = challenged(&mut d, false, "5");
    let same = format!("CHAP_C={}", hex(&ours.2));
    let step = d.transit(SEC, OPS, &["CHAP_N=host", &right(&ours), "CHAP_I=1", &same]);
    //= RFC 7143 section 9.2.1
    //# Responders MUST check for this condition and close the iSCSI TCP
    //# connection if it occurs.
    assert_eq!(refused(step), (LoginStatus::AUTHENTICATION_FAILURE, LoginFault::Chap(ChapFault::Reflection)));
}

#[test]
fn item_87_one_secret_in_both_directions_is_refused() {
    let mut d = guarded();
    d.house.policy = AuthPolicy::Chap(Arc::new(Credentials {
        initiators: vec![account("host", "the host's secret")],
        target: Some(account("disk", "the host's secret")),
        ..Default::default()
    }));
    let ours = challenged(&mut d, false, "5");
    let step = d.transit(SEC, OPS, &["CHAP_N=host", &right(&ours)]);
    assert_eq!(refused(step).1, LoginFault::Chap(ChapFault::Reflection));
}

#[test]
fn item_88_secrets() {
    //= RFC 7143 section 9.2.1
    //# Implementations MUST support the
    //# use of up to 128-bit random CHAP secrets, including the means to
    //# generate such secrets and to accept them from an external generation
    //# source.
    assert!(secret("elevenbytes").is_weak() && !secret("twelve bytes").is_weak());
    let mut dice = 0u8;
    let generated = generate_secret(SECRET_OF_96_BITS, &mut |bytes| {
        for byte in bytes {
            dice = dice.wrapping_add(37);
            *byte = dice;
        }
    });
    assert!(generated.len() == 16 && generated.is_ascii() && !secret(&generated).is_weak());
    assert_eq!(format!("{:?}", account("host", "shown?")), r#"Account { name: "host", secret: (secret) }"#);
}

#[test]
fn item_89_who_must_authenticate_cannot_skip_it() {
    //= RFC 7143 section 6.3
    //# Authentication-related security keys (Section 12) MUST be completely
    //# negotiated within the Login Phase.
    //
    //= RFC 7143 section 6.3.2
    //# If the security negotiation fails at the target, then the target MUST
    //# send the appropriate Login Response PDU.
    let step = guarded().transit(OPS, FFP, &NAMES);
    let required = (LoginStatus::AUTHENTICATION_FAILURE, LoginFault::AuthenticationRequired);
    assert_eq!(refused(step), required);
    assert_eq!(refused(guarded().transit(SEC, FFP, &[NAMES[0], NAMES[1], "AuthMethod=None"])), required);
    assert_eq!(refused(guarded().transit(SEC, FFP, &[NAMES[0], NAMES[1], "AuthMethod=KRB5,None"])), required);
    // Nor by leaving in the middle.
    let mut d = guarded();
    answer(d.transit(SEC, FFP, &[NAMES[0], NAMES[1], "AuthMethod=CHAP"]));
    let step = d.transit(SEC, FFP, &[]);
    assert_eq!(refused(step), (LoginStatus::MISSING_PARAMETER, LoginFault::Chap(ChapFault::Missing("CHAP_A"))));
}

#[test]
fn the_target_proposes_to_an_initiator_that_does_not() {
    //= RFC 7143 section 12.1
    //# It follows that if the target makes the authentication
    //# method proposal, the initiator sends the first key(s) of the exchange
    //# together with its authentication method selection.
    let mut d = guarded();
    let first = answer(d.transit(SEC, OPS, &NAMES));
    //= RFC 7143 section 11.13.6
    //# A Login Response with the T bit set to 1 MUST NOT contain key=value
    //# pairs that may require additional answers from the initiator within the
    //# same stage.
    assert!(said(&first).contains(&"AuthMethod=CHAP".into()) && !first.response.transit);
    let second = answer(d.transit(SEC, OPS, &["AuthMethod=CHAP", "CHAP_A=7"]));
    assert!(!said(&second).iter().any(|pair| pair.starts_with("AuthMethod")));
    let ours = challenge(&said(&second));
    assert!(answer(d.transit(SEC, OPS, &["CHAP_N=host", &right(&ours)])).response.transit);
    for no in ["AuthMethod=Reject", "AuthMethod=NotUnderstood", "X-a=1"] {
        let mut d = guarded();
        answer(d.transit(SEC, OPS, &NAMES));
        assert_eq!(refused(d.transit(SEC, OPS, &[no])).1, LoginFault::AuthenticationRequired);
    }
    //= RFC 7143 section 6.2.1
    //# The selection of a value not proposed MUST be handled by the
    //# originator as a protocol error.
    for other in ["AuthMethod=None", "AuthMethod=KRB5", "AuthMethod=None,CHAP"] {
        let mut d = guarded();
        answer(d.transit(SEC, OPS, &NAMES));
        let fault = LoginFault::Key { key: "AuthMethod", fault: KeyFault::NotProposed };
        assert_eq!(refused(d.transit(SEC, OPS, &[other])), (LoginStatus::INITIATOR_ERROR, fault));
    }
}

#[test]
fn keys_that_are_not_of_the_step() {
    //= RFC 7143 section 9.2
    //# Whenever an iSCSI target gets a request or response whose keys, or
    //# their values, are not according to the step definition, it MUST
    //# answer with a Login reject with the "Initiator Error" or "Missing
    //# Parameter" status.
    let third: [(&[&str], _, _); 6] = [
        (&["CHAP_N=host"], LoginStatus::MISSING_PARAMETER, ChapFault::Missing("CHAP_R")),
        (&["CHAP_R=0x00"], LoginStatus::MISSING_PARAMETER, ChapFault::Missing("CHAP_N")),
        (&["CHAP_N=host", "CHAP_R=12"], LoginStatus::INITIATOR_ERROR, ChapFault::Malformed("CHAP_R")),
        (
            &["CHAP_N=host", "CHAP_R=0x00", "CHAP_I=256", "CHAP_C=0x00"],
            LoginStatus::INITIATOR_ERROR,
            ChapFault::Malformed("CHAP_I"),
        ),
        (&["CHAP_N=host", "CHAP_R=0x00", "CHAP_C=0x00"], LoginStatus::MISSING_PARAMETER, ChapFault::Missing("CHAP_I")),
        //= RFC 7143 section 9.2
        //# During the login time, implementations SHOULD verify the
        //# Name-to-identity relationship in addition to authenticating the identity
        //# through the negotiated authentication method.
        (&["CHAP_N=nobody", "CHAP_R=0x00"], LoginStatus::AUTHENTICATION_FAILURE, ChapFault::UnknownName),
    ];
    for (pairs, status, fault) in third {
        let mut d = guarded();
        challenged(&mut d, false, "5");
        assert_eq!(refused(d.transit(SEC, OPS, pairs)), (status, LoginFault::Chap(fault)));
    }
    let mut d = guarded();
    answer(d.say(SEC, &[NAMES[0], NAMES[1], "AuthMethod=CHAP"]));
    assert_eq!(refused(d.say(SEC, &["CHAP_A=5", "CHAP_N=host"])).1, LoginFault::AuthenticationStep("CHAP_A"));
    let early = guarded().say(SEC, &[NAMES[0], NAMES[1], "CHAP_A=5"]);
    assert_eq!(refused(early).1, LoginFault::AuthenticationStep("CHAP_A"));
    let open = Dialogue::new().say(SEC, &[NAMES[0], NAMES[1], "AuthMethod=None", "CHAP_A=5"]);
    assert_eq!(refused(open).1, LoginFault::AuthenticationStep("CHAP_A"));
    let other = guarded().say(SEC, &[NAMES[0], NAMES[1], "SRP_U=me"]);
    assert_eq!(refused(other).1, LoginFault::AuthenticationStep("SRP_U"));
    // The exchange is made once.
    let mut d = guarded();
    let ours = challenged(&mut d, false, "5");
    answer(d.say(SEC, &["CHAP_N=host", &right(&ours)]));
    let again = refused(d.say(SEC, &["CHAP_A=5"])).1;
    assert_eq!(again, LoginFault::Key { key: "CHAP_A", fault: KeyFault::Twice });
}

#[test]
fn without_an_account_there_is_no_mutual_authentication() {
    let mut d = guarded();
    d.house.policy = AuthPolicy::Chap(Arc::new(Credentials {
        initiators: vec![account("host", "the host's secret")],
        target: None,
        ..Default::default()
    }));
    let ours = challenged(&mut d, false, "5");
    let step = d.transit(SEC, OPS, &["CHAP_N=host", &right(&ours), "CHAP_I=1", "CHAP_C=0x0102"]);
    //= RFC 7143 section 12.1.3
    //# Otherwise, if the initiator required target authentication, the target
    //# MUST either answer with a Login reject with "Authentication Failure" or
    //# reply with:
    assert_eq!(refused(step), (LoginStatus::AUTHENTICATION_FAILURE, LoginFault::Chap(ChapFault::NoTargetAccount)));
}

#[test]
fn challenges_differ() {
    let mut d = guarded();
    d.dice = 9;
    assert_ne!(challenged(&mut d, false, "5").2, challenged(&mut guarded(), false, "5").2);
}

proptest! {
    /// Whatever an initiator without the secret says, it is never let in.
    #[test]
    fn nobody_guesses_their_way_in(
        turns in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(prop_oneof![
                Just("AuthMethod=CHAP".to_owned()),
                Just("AuthMethod=None".to_owned()),
                Just("CHAP_A=5".to_owned()),
                Just("CHAP_N=host".to_owned()),
                Just("CHAP_I=1".to_owned()),
                "CHAP_[CR]=0[xb][0-9a-f]{0,64}",
            ], 0..4)),
            0..8,
        ),
    ) {
        let mut d = guarded();
        answer(d.say(SEC, &NAMES));
        for (transit, pairs) in turns {
            let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
            match if transit { d.transit(SEC, FFP, &pairs) } else { d.say(SEC, &pairs) } {
                Step::Answer(answer) => prop_assert!(!answer.response.transit),
                Step::Refuse { .. } => break,
                Step::Done(_) => prop_assert!(false, "let in"),
            }
        }
    }
}

#[test]
fn item_88_a_secret_is_nothing_but_random_bits() {
    //= RFC 7143 section 9.2.1
    //# Implementations MUST NOT provide secret generation (or
    //# expansion) means other than random generation.
    for (characters, bits) in [(SECRET_OF_96_BITS, 96), (SECRET_OF_128_BITS, 128)] {
        let made =
            |drawn: &[u8]| generate_secret(characters, &mut |bytes| bytes.copy_from_slice(drawn)).as_bytes().to_vec();
        let (drawn, plain) = (vec![0; characters], made(&vec![0; characters]));
        assert!(characters * 6 >= bits);
        // Each character has six bits of its own, and no other character knows of them.
        for at in 0..characters {
            let mut seen = vec![plain[at]];
            for own in 1..64 {
                let mut drawn = drawn.clone();
                drawn[at] = own;
                let secret = made(&drawn);
                assert!((0..characters).all(|n| (secret[n] == plain[n]) == (n != at)));
                assert!(!seen.contains(&secret[at]));
                seen.push(secret[at]);
            }
        }
    }
}

#[test]
fn item_88_a_secret_is_whole_bytes() {
    //= RFC 7143 section 9.2.1
    //# CHAP secrets MUST be an integral number of bytes (octets).
    let bytes: [u8; 16] = std::array::from_fn(|n| 0xf0 ^ n as u8);
    let response = ChapAlgorithm::Md5.response(1, &Secret::new(bytes.to_vec()), &[2]);
    let expected = md5::Md5::digest([&[1][..], &bytes, &[2]].concat());
    assert_eq!(response[..], expected[..], "each counts, also what is no text");
}

#[test]
fn item_89_no_password_is_taken_or_shown_in_the_clear() {
    //= RFC 7143 section 9.2
    //# Therefore, a method using cleartext (or equivalent)
    //# passwords MUST NOT be used; on the other hand, identity protection is
    //# not strictly required.
    for method in ["PAP", "SPKM1", "SPKM2", "SRP", "KRB5", "Z-com.example.password"] {
        let step = guarded().say(SEC, &[NAMES[0], NAMES[1], &format!("AuthMethod={method}")]);
        assert_eq!(refused(step), (LoginStatus::AUTHENTICATION_FAILURE, LoginFault::AuthenticationRequired));
    }
    let mut d = guarded();
    let ours = challenged(&mut d, false, "5");
    let last = answer(d.transit(SEC, OPS, &["CHAP_N=host", &right(&ours), "CHAP_I=7", "CHAP_C=0x0001"]));
    for secret in ["the host's secret", "the disk's secret"] {
        assert!(!said(&last).iter().any(|pair| pair.contains(secret) || pair.contains(&hex(secret.as_bytes())[2..])));
    }
}

/// The operational stage of the examples in RFC 7143 appendix B, up to "login accept".
fn operational(d: &mut Dialogue) {
    let more = answer(d.say(OPS, &["MaxBurstLength=8192", "FirstBurstLength=4096"]));
    assert_eq!((more.response.csg, more.response.transit), (OPS, false));
    assert!(said(&more).contains(&"MaxBurstLength=8192".into()), "{:?}", said(&more));
    let last = done(d.transit(OPS, FFP, &[]));
    let response = last.answer.response;
    assert_eq!((response.csg, response.nsg, response.transit), (OPS, FFP, true));
}

#[test]
fn appendix_b_initiator_and_target_authenticate_each_other_via_chap() {
    let mut d = guarded();
    let first = answer(d.say(SEC, &[NAMES[0], NAMES[1], "AuthMethod=KRB5,CHAP,None"]));
    assert!(said(&first).contains(&"AuthMethod=CHAP".into()) && !first.response.transit);
    let ours = challenge(&said(&answer(d.say(SEC, &["CHAP_A=7,5"]))));
    let third = answer(d.transit(SEC, OPS, &["CHAP_N=host", &right(&ours), "CHAP_I=7", "CHAP_C=0x0001020304050607"]));
    let proof = ours.0.response(7, &secret("the disk's secret"), &[0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(said(&third), ["CHAP_N=disk".to_owned(), format!("CHAP_R={}", hex(&proof))]);
    assert_eq!((third.response.csg, third.response.nsg, third.response.transit), (SEC, OPS, true));
    operational(&mut d);
}

#[test]
fn appendix_b_only_the_initiator_is_authenticated_via_chap() {
    let mut d = guarded();
    let first = answer(d.say(SEC, &[NAMES[0], NAMES[1], "AuthMethod=KRB5,CHAP,None"]));
    assert!(said(&first).contains(&"AuthMethod=CHAP".into()) && !first.response.transit);
    let ours = challenge(&said(&answer(d.say(SEC, &["CHAP_A=8,6"]))));
    let third = answer(d.transit(SEC, OPS, &["CHAP_N=host", &right(&ours)]));
    assert!(third.response.transit && third.text.is_empty());
    operational(&mut d);
}

#[test]
fn appendix_b_an_initiator_that_is_not_authenticated_gets_a_login_reject() {
    let mut d = guarded();
    answer(d.say(SEC, &[NAMES[0], NAMES[1], "AuthMethod=KRB5,CHAP,None"]));
    answer(d.say(SEC, &["CHAP_A=7,5"]));
    let wrong = format!("CHAP_R={}", hex(&[7; 32]));
    let (status, _) = refused(d.transit(SEC, OPS, &["CHAP_N=host", &wrong]));
    assert_eq!(status, LoginStatus::AUTHENTICATION_FAILURE);
}

#[test]
fn appendix_b_the_target_chooses_none_of_kerberos_and_srp() {
    for methods in ["KRB5,SRP,None", "SRP,KRB5,None"] {
        let offered = format!("AuthMethod={methods}");
        let mut d = Dialogue::new();
        let first = answer(d.transit(SEC, OPS, &[NAMES[0], NAMES[1], &offered]));
        assert!(said(&first).contains(&"AuthMethod=None".into()));
        assert_eq!((first.response.csg, first.response.nsg, first.response.transit), (SEC, OPS, true));
        operational(&mut d);
        // A target that wants CHAP takes nothing else.
        refused(guarded().transit(SEC, OPS, &[NAMES[0], NAMES[1], &offered]));
    }
}

#[test]
fn appendix_b_an_initiator_that_offers_no_security_may_be_accepted_at_once() {
    let parameters = ["MaxBurstLength=8192", "FirstBurstLength=4096"];
    let last = done(Dialogue::new().transit(OPS, FFP, &[NAMES[0], NAMES[1], parameters[0], parameters[1]]));
    let response = last.answer.response;
    assert_eq!((response.csg, response.nsg, response.transit), (OPS, FFP, true));
    assert!(said(&last.answer).contains(&"MaxBurstLength=8192".into()));
}
