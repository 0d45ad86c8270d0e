//! Logins of any text on several connections of one initiator: no panic, no answer longer than the initiator takes, and
//! nobody is in full feature phase who was not told so.

use super::input::Input;
use ringsan::session::login::negotiate::Offer;
use ringsan::sim::target::{NAME, Target};
use ringsan::sim::{Packet, Peer};
use ringsan::wire::{BHS_LEN, Bhs, LoginResponse, Opcode, bhs};

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

/// See the module.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let offer = Offer { error_recovery_level: input.byte() % 3, max_connections: 8, ..Offer::default() };
    let mut target = Target::new(offer, 64, 7);
    for _ in 0..24 {
        if input.is_empty() {
            break;
        }
        let conn = usize::from(input.byte() % 3);
        if target.is_closed(conn) {
            target.open(conn);
        }
        target.send(request(&mut input, conn));
        target.pass(u64::from(input.byte()));
        for packet in target.receive() {
            // RFC 7143 section 13.12: the default of MaxRecvDataSegmentLength holds until the login is done.
            if bhs::opcode(&packet.bhs) == Opcode::LOGIN_RESPONSE {
                let answer = LoginResponse::parse(&packet.bhs).expect("a Login Response");
                assert!(packet.data.len() <= 8192, "{} bytes of text", packet.data.len());
                assert!(answer.status.class == 0 || !answer.transit, "refused, with T");
            }
        }
    }
}
