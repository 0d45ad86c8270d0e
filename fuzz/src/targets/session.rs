//! A session, logged in, and any PDUs on its connections, most of them nearly right: no panic, each command is answered at
//! most once, and what is sent keeps to what was negotiated.

use super::input::Input;
use super::login::text;
use ringsan::initiator::login::{Identity, Login, Security};
use ringsan::initiator::params::Offer;
use ringsan::session::login::negotiate;
use ringsan::sim::target::{NAME, Target};
use ringsan::sim::{By, Packet, Peer};
use ringsan::wire::{BHS_LEN, Bhs, Cid, CmdSn, Isid, Opcode, Tsih, bhs};

/// Blocks of the disk.
const BLOCKS: u32 = 256;
const CONNECTIONS: usize = 3;
/// How long its tasks outlive a connection.
const RETAIN_S: u16 = 5;
/// A time in which whoever is silent is found to be so, and what it leaves behind ends. What waits for acknowledgments keeps
/// a core looking every few milliseconds: most runs cannot wait so long.
const LONG_MS: u64 = 60_000;
/// What the initiator declares.
const SEGMENT: usize = 1024;

/// The initiator's numbers, as far as it keeps them.
#[derive(Default)]
struct Numbers {
    cmd_sn: u32,
    itt: u32,
    stat_sn: [u32; CONNECTIONS],
    /// Transfer tags that it was told: of R2Ts, pings and text.
    tags: [u32; 4],
    tsih: u16,
}

fn put(header: &mut Bhs, at: usize, value: u32) {
    header[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn log_in(target: &mut Target, numbers: &mut Numbers, conn: usize, level: u8) {
    target.open(conn);
    let identity = Identity {
        initiator: "iqn.2001-04.com.example:host".into(),
        target: Some(NAME.into()),
        isid: Isid([0, 2, 0x3d, 0, 0, 1]),
        tsih: Tsih(numbers.tsih),
        cid: Cid(conn as u16),
        cmd_sn: CmdSn(numbers.cmd_sn),
    };
    let offer = Offer {
        // So that it is noticed what is not intact.
        data_digest: Some(level > 0),
        error_recovery_level: Some(level),
        max_connections: Some(CONNECTIONS as u16),
        time2wait_s: Some(0),
        time2retain_s: Some(RETAIN_S),
        initial_r2t: Some(false),
        immediate_data: Some(true),
        max_recv_bytes: Some(SEGMENT as u32),
        max_burst_bytes: Some(8192),
        first_burst_bytes: Some(4096),
        max_outstanding_r2t: Some(4),
        ..Offer::default()
    };
    Login::new(identity, offer, Security::Skipped).begin(&mut By(target, conn));
    target.pass(1);
}

fn bytes(input: &mut Input<'_>) -> Vec<u8> {
    let len = input.len(16 << 10);
    let mut data = input.bytes(len).to_vec();
    data.resize(len, 0x5a);
    data
}

/// The next PDU: a header that is mostly right, then bytes of it changed.
fn pdu(input: &mut Input<'_>, numbers: &mut Numbers, conn: usize) -> Packet {
    let mut header: Bhs = [0; BHS_LEN];
    let opcode = input.one_of(&[0x01, 0x01, 0x01, 0x05, 0x05, 0x00, 0x02, 0x04, 0x06, 0x10]);
    let immediate = input.byte().is_multiple_of(4) || opcode == 0x05;
    header[0] = opcode | u8::from(immediate) << 6;
    header[1] = match opcode {
        0x01 => input.one_of(&[0xc0, 0xa0, 0xa1, 0x20, 0xc2, 0xe0, 0x80]),
        0x02 => 0x80 | input.one_of(&[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        0x05 => input.one_of(&[0x80, 0]),
        // Final, to be continued, and neither.
        0x04 => input.one_of(&[0x80, 0x80, 0x40, 0]),
        0x06 | 0x10 => 0x80 | (input.byte() % 4),
        _ => 0x80,
    };
    let fresh = input.byte();
    numbers.itt = numbers.itt.wrapping_add(u32::from(!fresh.is_multiple_of(4)));
    let itt = if fresh == 255 { u32::MAX } else { numbers.itt.wrapping_sub(u32::from(fresh % 4 == 1)) };
    put(&mut header, 16, itt);
    let blocks = u32::from(input.byte() % 24);
    let lba = u32::from(input.byte());
    let tag = input.one_of(&[u32::MAX, numbers.tags[0], numbers.tags[1], numbers.tags[2], numbers.tags[3]]);
    put(&mut header, 20, if opcode == 0x01 { blocks * 512 } else { tag });
    put(&mut header, 24, numbers.cmd_sn.wrapping_add(u32::from(input.byte() == 7)));
    put(&mut header, 28, numbers.stat_sn[conn]);
    let code = if header[1] & 0x40 != 0 { 0x28 } else { 0x2a };
    match opcode {
        0x01 => {
            header[32..42].copy_from_slice(&[code, 0, 0, 0, 0, lba as u8, 0, 0, blocks as u8, 0]);
        }
        0x05 => {
            put(&mut header, 36, u32::from(input.byte() % 4));
            put(&mut header, 40, u32::from(input.byte()) * 128);
        }
        0x02 => put(&mut header, 20, numbers.itt.wrapping_sub(lba % 8)),
        0x10 => {
            put(&mut header, 40, lba % 8);
            put(&mut header, 44, blocks % 8);
        }
        _ => {}
    }
    for _ in 0..input.byte() / 64 {
        let at = usize::from(input.byte()) % BHS_LEN;
        header[at] = input.byte();
    }
    // The framer bounds it.
    header[4] = 0;
    // The text of full feature phase has the keys of a login among others.
    let mut data = if opcode == 0x04 { text(input) } else { bytes(input) };
    if bhs::opcode(&header) == Opcode::SCSI_COMMAND && header[1] & 0x20 == 0 {
        data.clear();
    }
    if header[0] & 0x40 == 0 && header[0] & 0x3f != 0x10 {
        numbers.cmd_sn = numbers.cmd_sn.wrapping_add(1);
    }
    let mut packet = Packet::new(conn, &header, data);
    packet.intact = input.byte() != 200;
    packet
}

fn arrived(numbers: &mut Numbers, packet: &Packet) {
    let word = |at: usize| u32::from_be_bytes(packet.bhs[at..at + 4].try_into().expect("four bytes"));
    let opcode = bhs::opcode(&packet.bhs);
    assert!(packet.data.len() <= SEGMENT.max(8192), "{opcode}: {} bytes", packet.data.len());
    match opcode {
        Opcode::SCSI_DATA_IN => assert!(packet.data.len() <= SEGMENT, "MaxRecvDataSegmentLength"),
        Opcode::LOGIN_RESPONSE if packet.bhs[36] == 0 => {
            numbers.tsih = u16::from_be_bytes([packet.bhs[14], packet.bhs[15]]);
        }
        Opcode::R2T | Opcode::NOP_IN | Opcode::TEXT_RESPONSE => {
            numbers.tags.rotate_right(1);
            numbers.tags[0] = word(20);
        }
        _ => {}
    }
    if opcode != Opcode::R2T && packet.conn < CONNECTIONS {
        numbers.stat_sn[packet.conn] = word(24).wrapping_add(1);
    }
}

/// See the module.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let level = input.byte() % 3;
    let offer = negotiate::Offer {
        error_recovery_level: level,
        max_connections: 8,
        time2retain_s: RETAIN_S,
        ..negotiate::Offer::default()
    };
    let mut target = Target::slow(offer, BLOCKS, 7, u64::from(input.byte() % 8));
    let mut numbers = Numbers { cmd_sn: 1, ..Numbers::default() };
    for _ in 0..96 {
        if input.is_empty() {
            break;
        }
        let conn = usize::from(input.byte()) % CONNECTIONS;
        let deed = input.byte();
        if target.is_closed(conn) {
            if conn == 0 || numbers.tsih != 0 {
                log_in(&mut target, &mut numbers, conn, level);
            }
        } else if deed == 255 {
            target.cut(conn);
        } else {
            target.send(pdu(&mut input, &mut numbers, conn));
        }
        if deed % 4 == 0 {
            target.pass(1 + 50 * u64::from(deed / 32));
        }
        for packet in target.receive() {
            arrived(&mut numbers, &packet);
        }
    }
    // Whatever was begun comes to an end: its initiator is silent, or away.
    if data.len() % 16 == 15 {
        target.pass(LONG_MS);
    } else {
        (0..CONNECTIONS).for_each(|conn| target.cut(conn));
        target.pass(u64::from(RETAIN_S) * 1000 + 1000);
    }
    drop(target.receive());
    assert_eq!(target.sessions(), 0, "a session that nobody uses");
}
