//! Logins of any text on several connections of one initiator: no panic, no answer longer than the initiator takes, and
//! nobody is in full feature phase who was not told so. It is the state machine alone that is driven here; what places its
//! connections is in `session` and `cores`.

use super::input::Input;
use ringsan::model::{IscsiName, LunKind, LunSpec, Portal, Snapshot, TargetSpec};
use ringsan::session::directory::SnapshotDirectory;
use ringsan::session::login::negotiate::Offer;
use ringsan::session::login::{Login, LoginAnswer, LoginDone, LoginEnv, Step};
use ringsan::sim::Packet;
use ringsan::sim::target::NAME;
use ringsan::wire::stage::FULL_FEATURE_PHASE;
use ringsan::wire::{BHS_LEN, Bhs, LoginRequest, LoginResponse, Opcode, bhs};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

const PORTAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3260);
const HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1000);

/// Pairs that get somewhere; the rest of a text is any bytes.
const PAIRS: [&str; 26] = [
    "InitiatorName=iqn.2001-04.com.example:host",
    "SessionType=Normal",
    "SessionType=Discovery",
    "AuthMethod=None",
    "AuthMethod=CHAP,None",
    "HeaderDigest=CRC32C,None",
    "DataDigest=None",
    "MaxRecvDataSegmentLength=512",
    "MaxRecvDataSegmentLength=16777215",
    "MaxBurstLength=512",
    "FirstBurstLength=16777215",
    "InitialR2T=No",
    "ImmediateData=Yes",
    "DefaultTime2Wait=0",
    "DefaultTime2Retain=3600",
    "MaxConnections=65535",
    "MaxOutstandingR2T=65535",
    "ErrorRecoveryLevel=2",
    "DataPDUInOrder=No",
    "DataSequenceInOrder=No",
    "iSCSIProtocolLevel=2",
    "TaskReporting=ResponseFence,FastAbort",
    "OFMarker=Yes",
    "X-com.example.key=1",
    "SendTargets=All",
    "SendTargets=",
];

/// A text, mostly of pairs that mean something.
pub(super) fn text(input: &mut Input<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..input.byte() % 24 {
        match usize::from(input.byte()) {
            n if n < PAIRS.len() => text.extend_from_slice(PAIRS[n].as_bytes()),
            n if n % 4 == 0 => text.extend_from_slice(format!("TargetName={NAME}").as_bytes()),
            n if n % 4 == 1 => {
                // A key with another value.
                let key = input.one_of(&PAIRS);
                let key = key.split_once('=').map_or(key, |(key, _)| key);
                text.extend_from_slice(key.as_bytes());
                text.push(b'=');
                let len = input.len(300);
                text.extend_from_slice(input.bytes(len));
            }
            _ => {
                let len = input.len(8192);
                text.extend_from_slice(input.bytes(len));
            }
        }
        text.push(0);
    }
    text.truncate(8192);
    text
}

fn request(input: &mut Input<'_>, conn: usize) -> Packet {
    let mut header: Bhs = [0; BHS_LEN];
    header[0] = if input.byte() == 255 { input.byte() } else { 0x43 };
    // T and C, CSG and NSG; mostly a step that exists.
    header[1] = match input.byte() {
        n @ ..=192 => [0x87, 0x81, 0x01, 0x04, 0x83, 0x41, 0x44, 0x00][usize::from(n % 8)],
        _ => input.byte(),
    };
    header[8..14].copy_from_slice(&[0, 2, 0x3d, 0, 0, input.byte() % 3]);
    header[14..16].copy_from_slice(&u16::from(input.byte() % 4).to_be_bytes());
    header[16] = input.byte() % 2;
    header[20..22].copy_from_slice(&(conn as u16).to_be_bytes());
    header[24..28].copy_from_slice(&(1 + u32::from(input.byte() % 3)).to_be_bytes());
    Packet::new(conn, &header, text(input))
}

/// One target with one unit, for everybody.
fn directory() -> SnapshotDirectory {
    let lun = LunSpec { size_bytes: Some(64 << 9), ..LunSpec::new(0, LunKind::Ram) };
    let targets = IscsiName::new(NAME).into_iter().map(|name| TargetSpec::new(name, None, vec![lun.clone()])).collect();
    let portals = vec![Portal { listen: PORTAL, advertise: None, group_tag: 1 }];
    SnapshotDirectory::new(Arc::new(Snapshot { portals, targets, ..Snapshot::default() }))
}

/// What a login does with a PDU, as a connection of a core has it do. `None`: the connection is closed without a word.
fn advance(login: &mut Login, packet: &Packet, env: &mut LoginEnv<'_>) -> Option<Step> {
    match LoginRequest::parse(&packet.bhs) {
        Ok(request) if bhs::opcode(&packet.bhs) == Opcode::LOGIN_REQUEST => {
            Some(login.request(&request, &packet.data, env))
        }
        _ if login.has_begun() => Some(login.not_a_login(&packet.bhs)),
        _ => None,
    }
}

/// An answer as it goes out.
fn check_answer(answer: &LoginAnswer) {
    // RFC 7143 section 13.12: the default of MaxRecvDataSegmentLength holds until the login is done.
    assert!(answer.text.len() <= 8192, "{} bytes of text", answer.text.len());
    let mut header: Bhs = [0; BHS_LEN];
    answer.response.emit(&mut header);
    assert_eq!(bhs::data_segment_len(&header), answer.text.len());
    let said = LoginResponse::parse(&header).expect("a Login Response");
    assert!(said.status.class == 0 || !said.transit, "refused, with T");
}

/// The end of a login that has succeeded.
fn check_done(done: &LoginDone, offer: &Offer) {
    check_answer(&done.answer);
    let response = &done.answer.response;
    let is_told = response.status.class == 0 && response.transit && response.nsg == FULL_FEATURE_PHASE;
    assert!(is_told && !response.cont, "in full feature phase without a word: {response:?}");
    assert!(done.params.error_recovery_level <= offer.error_recovery_level);
    assert!(done.params.max_connections <= offer.max_connections);
}

/// See the module.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let offer = Offer { error_recovery_level: input.byte() % 3, max_connections: 8, ..Offer::default() };
    let (directory, mut chance) = (directory(), 7u8);
    let mut random = |bytes: &mut [u8]| {
        for byte in bytes {
            chance = chance.wrapping_mul(5).wrapping_add(77);
            *byte = chance;
        }
    };
    let mut env = LoginEnv { directory: &directory, portal: PORTAL, peer: HOST, random: &mut random, offer: &offer };
    let mut logins = [const { None }; 3];
    for _ in 0..24 {
        if input.is_empty() {
            break;
        }
        let conn = usize::from(input.byte() % 3);
        let login = logins[conn].get_or_insert_with(|| Login::new(0));
        let packet = request(&mut input, conn);
        // A byte that was time once: the inputs keep their meaning.
        input.byte();
        let step = advance(login, &packet, &mut env);
        match &step {
            Some(Step::Answer(answer)) => {
                check_answer(answer);
                let response = &answer.response;
                assert!(response.status.class == 0, "refused, and not closed");
                assert!(!response.transit || response.nsg != FULL_FEATURE_PHASE, "told, and not done");
                continue;
            }
            Some(Step::Refuse { answer, .. }) => {
                check_answer(answer);
                assert!(answer.response.status.class != 0, "closed, and not refused");
            }
            Some(Step::Done(done)) => check_done(done, &offer),
            None => {}
        }
        // After its end it takes nothing more.
        if step.is_some() {
            let after = advance(login, &packet, &mut env);
            assert!(matches!(after, Some(Step::Refuse { .. })), "{after:?}");
        }
        logins[conn] = None;
    }
}
