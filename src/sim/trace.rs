//! A scripted initiator whose scripts read like the trace of a packet sniffer.
//!
//! ```text
//! login 0 cid=1 ErrorRecoveryLevel=1 InitialR2T=Yes
//! > 0 SCSI-Command F W itt=1 edtl=1024 cdb=2a000000000000000200 data=0
//! < 0 R2T itt=1 ttt=$t r2tsn=0 offset=0 len=1024
//! > 0 Data-Out F itt=1 ttt=$t datasn=0 offset=0 data=1024 corrupt
//! < 0 Reject reason=2
//! wait 100
//! < nothing
//! ```
//!
//! A line that begins with `>` is sent, one with `<` must be the next PDU to arrive on that connection. The number is that
//! of the connection. Capital letters are flags (`!S`: must be clear); `name=value` are fields, decimal or hexadecimal with
//! `0x`; `name=$word` takes a field's value from what arrives and puts it into what is sent. `data=n` is a data segment of n
//! bytes: the pattern of its buffer offset (see [`pattern`]); `text=` is one of text; `corrupt` spoils the data digest.
//! Fields that are not named: what is received is not looked at there; what is sent has CmdSN counted by itself (I: not
//! counted), ExpStatSN as received, and 0 or 0xffffffff where that means "none". Other lines: `login` (a whole login),
//! `open n` (connects only), `cut n`, `closed n`,
//! `wait ms`, `sense k asc ascq` (of the PDU before), `cmdsn n` (sets the counter), `hold`/`ack` (stop and resume counting
//! ExpStatSN), `#` comments.

use super::{By, Packet, Peer};
use crate::initiator::login::{Identity, Login, Security};
use crate::initiator::numbers::is_numbered;
use crate::initiator::params::Offer;
use crate::wire::{BHS_LEN, Bhs, Cid, CmdSn, Isid, Opcode, Tsih, bhs};
use std::collections::{HashMap, VecDeque};

/// How often a peer is asked for a PDU that is expected.
const ATTEMPTS: usize = 10;
/// Time between two of those, milliseconds.
const PATIENCE_MS: u64 = 10;

/// Byte `offset` of the data that scripts send and expect.
pub fn pattern(offset: usize) -> u8 {
    (offset % 251) as u8
}

/// Where a field stands in the header.
#[derive(Debug, Clone, Copy)]
enum Field {
    /// Offset and length in bytes.
    Bytes(usize, usize),
    /// Byte and mask.
    Mask(usize, u8),
}

/// PDUs by the names that scripts call them.
const NAMES: &[(&str, Opcode)] = &[
    ("NOP-Out", Opcode::NOP_OUT),
    ("SCSI-Command", Opcode::SCSI_COMMAND),
    ("Task-Management", Opcode::TASK_MANAGEMENT_REQUEST),
    ("Login", Opcode::LOGIN_REQUEST),
    ("Text", Opcode::TEXT_REQUEST),
    ("Data-Out", Opcode::SCSI_DATA_OUT),
    ("Logout", Opcode::LOGOUT_REQUEST),
    ("SNACK", Opcode::SNACK_REQUEST),
    ("NOP-In", Opcode::NOP_IN),
    ("SCSI-Response", Opcode::SCSI_RESPONSE),
    ("Task-Response", Opcode::TASK_MANAGEMENT_RESPONSE),
    ("Login-Response", Opcode::LOGIN_RESPONSE),
    ("Text-Response", Opcode::TEXT_RESPONSE),
    ("Data-In", Opcode::SCSI_DATA_IN),
    ("Logout-Response", Opcode::LOGOUT_RESPONSE),
    ("R2T", Opcode::R2T),
    ("Async", Opcode::ASYNC_MESSAGE),
    ("Reject", Opcode::REJECT),
];

fn field(opcode: Opcode, name: &str) -> Field {
    use Field::{Bytes, Mask};
    match (name, opcode) {
        ("I", _) => Mask(0, 0x40),
        ("F" | "T", _) => Mask(1, 0x80),
        ("R" | "C", Opcode::SCSI_COMMAND | Opcode::TEXT_REQUEST) | ("A", Opcode::SCSI_DATA_IN) => Mask(1, 0x40),
        ("W", Opcode::SCSI_COMMAND) => Mask(1, 0x20),
        ("S", Opcode::SCSI_DATA_IN) => Mask(1, 0x01),
        ("O", _) => Mask(1, 0x04),
        ("U", _) => Mask(1, 0x02),
        ("attr", Opcode::SCSI_COMMAND) => Mask(1, 0x07),
        ("pri", Opcode::SCSI_COMMAND) => Mask(2, 0xf0),
        ("function", _) | ("reason", Opcode::LOGOUT_REQUEST) => Mask(1, 0x7f),
        ("type", Opcode::SNACK_REQUEST) => Mask(1, 0x0f),
        ("response", _) | ("reason", Opcode::REJECT) => Bytes(2, 1),
        ("status", Opcode::LOGIN_RESPONSE) => Bytes(36, 2),
        ("status", _) => Bytes(3, 1),
        ("segment", _) => Bytes(5, 3),
        ("info", Opcode::TASK_MANAGEMENT_RESPONSE) => Bytes(8, 3),
        ("snacktag", Opcode::SCSI_RESPONSE) => Bytes(20, 4),
        ("lun", _) => Bytes(8, 8),
        ("csg", Opcode::LOGIN_REQUEST | Opcode::LOGIN_RESPONSE) => Mask(1, 0x0c),
        ("nsg", Opcode::LOGIN_REQUEST | Opcode::LOGIN_RESPONSE) => Mask(1, 0x03),
        ("isid", Opcode::LOGIN_REQUEST) => Bytes(13, 1),
        ("tsih", _) => Bytes(14, 2),
        ("itt", _) => Bytes(16, 4),
        ("cid", _) => Bytes(20, 2),
        ("ttt" | "edtl" | "ref" | "tag", _) => Bytes(20, 4),
        ("cmdsn", op) if op.0 < 0x20 => Bytes(24, 4),
        ("statsn", _) => Bytes(24, 4),
        ("expstatsn", op) if op.0 < 0x20 => Bytes(28, 4),
        ("expcmdsn", _) => Bytes(28, 4),
        ("maxcmdsn", _) | ("refcmdsn", _) => Bytes(32, 4),
        ("event", Opcode::ASYNC_MESSAGE) => Bytes(36, 1),
        ("parameter1", Opcode::ASYNC_MESSAGE) => Bytes(38, 2),
        ("parameter2", Opcode::ASYNC_MESSAGE) | ("wait", Opcode::LOGOUT_RESPONSE) => Bytes(40, 2),
        ("parameter3", Opcode::ASYNC_MESSAGE) | ("retain", Opcode::LOGOUT_RESPONSE) => Bytes(42, 2),
        ("datasn" | "r2tsn" | "expdatasn", _) => Bytes(36, 4),
        ("offset" | "begrun", _) => Bytes(40, 4),
        ("len" | "runlength" | "residual", _) => Bytes(44, 4),
        _ => panic!("{opcode} has no field {name}"),
    }
}

fn read(header: &Bhs, field: Field) -> u64 {
    match field {
        Field::Bytes(at, len) => header[at..at + len].iter().fold(0, |n, b| n << 8 | u64::from(*b)),
        Field::Mask(at, mask) => u64::from((header[at] & mask) >> mask.trailing_zeros()),
    }
}

fn write(header: &mut Bhs, field: Field, value: u64) {
    match field {
        Field::Bytes(at, len) => header[at..at + len].copy_from_slice(&value.to_be_bytes()[8 - len..]),
        Field::Mask(at, mask) => header[at] = header[at] & !mask | (value as u8) << mask.trailing_zeros() & mask,
    }
}

fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None if text == "none" => Ok(0xffff_ffff),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{text} is no number"))
}

/// Plays scripts against a target. All methods panic, with the line, when the target does not do what is written.
pub struct Trace<P> {
    /// The other side.
    pub peer: P,
    arrived: VecDeque<Packet>,
    last: Option<Packet>,
    words: HashMap<String, u64>,
    /// CmdSN of the next command.
    cmd_sn: u32,
    tsih: u16,
    /// ExpStatSN by connection.
    exp_stat_sn: HashMap<usize, u32>,
    hold: bool,
}

impl<P: Peer> Trace<P> {
    /// An initiator that has sent nothing yet to `peer`. Its first CmdSN is 1.
    pub fn new(peer: P) -> Self {
        Trace {
            peer,
            arrived: VecDeque::new(),
            last: None,
            words: HashMap::new(),
            cmd_sn: 1,
            tsih: 0,
            exp_stat_sn: HashMap::new(),
            hold: false,
        }
    }

    /// Plays all lines.
    pub fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let mut words = line.split_whitespace();
            let verb = words.next().unwrap_or("");
            let rest: Vec<&str> = words.collect();
            match verb {
                ">" => self.send(line, &rest),
                "<" if rest == ["nothing"] => {
                    self.fill();
                    assert!(self.arrived.is_empty(), "{line}: {}", self.rest());
                }
                "<" => self.expect(line, &rest),
                "login" => self.login(line, &rest),
                "open" => self.peer.open(number(rest[0]) as usize),
                "cut" => {
                    self.peer.cut(number(rest[0]) as usize);
                    self.arrived.retain(|p| p.conn != number(rest[0]) as usize);
                }
                "closed" => assert!(self.peer.is_closed(number(rest[0]) as usize), "{line}"),
                "wait" => self.peer.pass(number(rest[0])),
                "cmdsn" => self.cmd_sn = number(rest[0]) as u32,
                "hold" => self.hold = true,
                "ack" => self.hold = false,
                "sense" => self.sense(line, &rest),
                _ => panic!("{line}: what is {verb}?"),
            }
        }
    }

    /// What a script took as `$word`.
    pub fn word(&self, word: &str) -> u64 {
        self.value(word, &format!("${word}"))
    }

    fn rest(&self) -> String {
        let pdus = self.arrived.iter().map(|p| format!("\n  {} {:?}", p.conn, crate::wire::Pdu::parse(&p.bhs)));
        pdus.collect()
    }

    fn fill(&mut self) {
        self.arrived.extend(self.peer.receive());
    }

    fn value(&self, line: &str, text: &str) -> u64 {
        match text.strip_prefix('$') {
            Some(word) => *self.words.get(word).unwrap_or_else(|| panic!("{line}: nothing was called ${word}")),
            None => number(text),
        }
    }

    fn send(&mut self, line: &str, words: &[&str]) {
        let conn = number(words[0]) as usize;
        let (_, opcode) = NAMES.iter().find(|(name, _)| *name == words[1]).unwrap_or_else(|| panic!("{line}"));
        let mut header: Bhs = [0; BHS_LEN];
        header[0] = opcode.0;
        if !matches!(*opcode, Opcode::SCSI_COMMAND | Opcode::SCSI_DATA_OUT | Opcode::TEXT_REQUEST) {
            header[1] = 0x80;
        }
        if matches!(
            *opcode,
            Opcode::NOP_OUT
                | Opcode::TEXT_REQUEST
                | Opcode::SCSI_DATA_OUT
                | Opcode::SNACK_REQUEST
                | Opcode::TASK_MANAGEMENT_REQUEST
        ) {
            write(&mut header, Field::Bytes(20, 4), 0xffff_ffff);
        }
        let numbered = !matches!(*opcode, Opcode::SCSI_DATA_OUT | Opcode::SNACK_REQUEST);
        if numbered {
            write(&mut header, field(*opcode, "cmdsn"), u64::from(self.cmd_sn));
        }
        let exp_stat_sn = self.exp_stat_sn.get(&conn).copied().unwrap_or(0);
        write(&mut header, field(*opcode, "expstatsn"), u64::from(exp_stat_sn));
        let (mut data, mut own_sn, mut intact) = (Vec::new(), false, true);
        let mut length = 0;
        for word in &words[2..] {
            match word.split_once('=') {
                None if *word == "corrupt" => intact = false,
                None => write(&mut header, field(*opcode, word), 1),
                Some(("data", n)) => length = number(n) as usize,
                Some(("text", text)) => data.extend(text.replace(',', "\0").bytes().chain([0])),
                Some(("cdb", hex)) => {
                    for (n, byte) in hex.as_bytes().chunks(2).enumerate() {
                        let byte = std::str::from_utf8(byte).ok().and_then(|b| u8::from_str_radix(b, 16).ok());
                        header[32 + n] = byte.unwrap_or_else(|| panic!("{line}: a CDB in hexadecimal"));
                    }
                }
                Some((name, value)) => {
                    own_sn |= name == "cmdsn";
                    let value = self.value(line, value);
                    write(&mut header, field(*opcode, name), value);
                }
            }
        }
        if length > 0 {
            let from = if *opcode == Opcode::SCSI_DATA_OUT { read(&header, Field::Bytes(40, 4)) as usize } else { 0 };
            data = (from..from + length).map(pattern).collect();
        }
        if numbered && !own_sn && !bhs::immediate_delivery(&header) {
            self.cmd_sn = self.cmd_sn.wrapping_add(1);
        }
        self.peer.send(Packet { intact, ..Packet::new(conn, &header, data) });
    }

    /// Takes the next PDU of a connection, and acknowledges its status unless `hold` is in force.
    fn next(&mut self, line: &str, conn: usize) -> Packet {
        let mut place = None;
        // A server may be busy: a PDU that is expected is waited for longer than `< nothing` waits.
        for _ in 0..ATTEMPTS {
            self.fill();
            place = self.arrived.iter().position(|p| p.conn == conn);
            if place.is_some() {
                break;
            }
            self.peer.pass(PATIENCE_MS);
        }
        let packet = place.and_then(|n| self.arrived.remove(n));
        let packet = packet.unwrap_or_else(|| panic!("{line}: nothing has arrived; elsewhere:{}", self.rest()));
        if self.hold {
            return packet;
        }
        if is_numbered(&packet.bhs) {
            let stat_sn = read(&packet.bhs, Field::Bytes(24, 4)) as u32;
            self.exp_stat_sn.insert(conn, stat_sn.wrapping_add(1));
        }
        packet
    }

    fn expect(&mut self, line: &str, words: &[&str]) {
        let packet = self.next(line, number(words[0]) as usize);
        let found = format!("{:?}", crate::wire::Pdu::parse(&packet.bhs));
        let opcode = bhs::opcode(&packet.bhs);
        let (name, _) = NAMES.iter().find(|(_, o)| *o == opcode).unwrap_or_else(|| panic!("{line}: found {found}"));
        assert_eq!(*name, words[1], "{line}: found {found}");
        for word in &words[2..] {
            match word.split_once('=') {
                None => {
                    let (flag, want) = word.strip_prefix('!').map_or((*word, 1), |flag| (flag, 0));
                    assert_eq!(read(&packet.bhs, field(opcode, flag)), want, "{line}: {flag} of {found}");
                }
                Some(("data", n)) => {
                    let from = if opcode == Opcode::SCSI_DATA_IN { read(&packet.bhs, Field::Bytes(40, 4)) } else { 0 };
                    let want = number(n) as usize;
                    assert_eq!(packet.data.len(), want, "{line}: data of {found}");
                    let right = packet.data.iter().enumerate().all(|(n, b)| *b == pattern(from as usize + n));
                    assert!(right, "{line}: what is in the data of {found}");
                }
                Some((name, value)) => {
                    let value_found = read(&packet.bhs, field(opcode, name));
                    if let Some(word) = value.strip_prefix('$')
                        && !self.words.contains_key(word)
                    {
                        self.words.insert(word.to_owned(), value_found);
                    }
                    assert_eq!(value_found, self.value(line, value), "{line}: {name} of {found}");
                }
            }
        }
        self.last = Some(packet);
    }

    fn sense(&self, line: &str, words: &[&str]) {
        let data = self.last.as_ref().map_or(&[][..], |p| &p.data);
        let byte = |n: usize| data.get(n).copied().map_or(u64::MAX, u64::from);
        assert_eq!([byte(4) & 15, byte(14), byte(15)], [0, 1, 2].map(|n| number(words[n])), "{line}");
    }

    /// A whole login in one request; keys that are not named get the values that most initiators offer.
    fn login(&mut self, line: &str, words: &[&str]) {
        let conn = number(words[0]) as usize;
        let (mut cid, mut tsih, mut status, mut isid) = (conn as u64, u64::from(self.tsih), 0, 1);
        let mut others = Vec::new();
        for word in &words[1..] {
            match word.split_once('=') {
                Some(("cid", value)) => cid = number(value),
                Some(("tsih", value)) => tsih = self.value(line, value),
                Some(("status", value)) => status = number(value),
                Some(("isid", value)) => isid = number(value),
                _ => others.push((*word).into()),
            }
        }
        let identity = Identity {
            initiator: "iqn.2001-04.com.example:host".into(),
            target: Some(super::target::NAME.into()),
            isid: Isid([0, 2, 0x3d, 0, 0, isid as u8]),
            tsih: Tsih(tsih as u16),
            cid: Cid(cid as u16),
            cmd_sn: CmdSn(self.cmd_sn),
        };
        self.peer.open(conn);
        let offer = Offer { others, ..Offer::default() };
        Login::new(identity, offer, Security::Skipped).begin(&mut By(&mut self.peer, conn));
        let packet = self.next(line, conn);
        let found = read(&packet.bhs, field(Opcode::LOGIN_RESPONSE, "status"));
        assert_eq!((bhs::opcode(&packet.bhs), found), (Opcode::LOGIN_RESPONSE, status), "{line}: the login's status");
        if status == 0 {
            self.tsih = read(&packet.bhs, field(Opcode::LOGIN_RESPONSE, "tsih")) as u16;
        }
        self.last = Some(packet);
    }
}
