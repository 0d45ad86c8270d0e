//! An initiator that speaks to a server of this process, one step at a time.

use super::TARGET;
use crate::wire::ahs::Ahs;
use crate::wire::{BHS_LEN, Bhs, Opcode, TmFunction, bhs, digest};
use md5::{Digest, Md5};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A PDU that arrived.
#[derive(Debug)]
pub struct Pdu {
    pub opcode: Opcode,
    pub bhs: Bhs,
    pub data: Vec<u8>,
}

impl Pdu {
    pub fn itt(&self) -> u32 {
        u32::from_be_bytes(self.bhs[16..20].try_into().unwrap())
    }

    pub fn stat_sn(&self) -> u32 {
        self.word(24)
    }

    pub fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.bhs[at..at + 4].try_into().unwrap())
    }
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    pub status: u8,
    /// Sense key, ASC and ASCQ.
    pub sense: (u8, u16),
    pub data: Vec<u8>,
}

/// GOOD, without data.
pub fn good() -> End {
    End { status: 0, sense: (0, 0), data: vec![] }
}

/// One connection of a session.
pub struct Peer {
    socket: TcpStream,
    cmd_sn: u32,
    itt: u32,
    exp_stat_sn: u32,
    /// Task attribute of commands.
    pub attr: u8,
    /// Arrived before anybody asked.
    early: Vec<Pdu>,
    pub tsih: u16,
    /// The last byte of its ISID, where that is not the host's number.
    pub isid: Option<u8>,
    /// Header and data digests are sent, and demanded.
    pub digests: (bool, bool),
    /// What is sent waits here, to go together.
    held: Option<Vec<u8>>,
}

fn put(header: &mut Bhs, at: usize, value: u32) {
    header[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

impl Peer {
    /// Logs in as `host`; `keys` are added to the usual ones.
    pub fn login(at: SocketAddr, host: u8, keys: &[&str]) -> Peer {
        let mut peer = Peer::connect(at);
        assert_eq!(peer.try_login(host, 0, 0, keys), 0, "the login's status");
        peer
    }

    pub fn connect(at: SocketAddr) -> Peer {
        let socket = TcpStream::connect(at).unwrap();
        socket.set_nodelay(true).unwrap();
        Peer {
            socket,
            cmd_sn: 1,
            itt: 100,
            exp_stat_sn: 0,
            attr: 0,
            early: vec![],
            tsih: 0,
            isid: None,
            digests: (false, false),
            held: None,
        }
    }

    /// Another connection of this session.
    pub fn join(&mut self, at: SocketAddr, host: u8, cid: u16, keys: &[&str]) -> Peer {
        let mut peer = Peer { cmd_sn: self.cmd_sn, itt: self.itt + 1000, tsih: self.tsih, ..Peer::connect(at) };
        assert_eq!(peer.try_login(host, self.tsih, cid, keys), 0, "the login's status");
        peer
    }

    /// Sends a whole login; the status class and detail.
    pub fn try_login(&mut self, host: u8, tsih: u16, cid: u16, keys: &[&str]) -> u16 {
        self.ask_in(host, tsih, cid, &Peer::login_text(host, keys))
    }

    /// Sends a whole login for a session of its own, and does not wait for the answer.
    pub fn begin_login(&mut self, host: u8, keys: &[&str]) {
        self.request_login(0x87, (host, 0, 0), &Peer::login_text(host, keys));
    }

    /// The status class and detail of that answer.
    pub fn login_status(&mut self) -> u16 {
        let answer = self.next(Duration::from_secs(2));
        u16::from_be_bytes([answer.bhs[36], answer.bhs[37]])
    }

    fn login_text(host: u8, keys: &[&str]) -> String {
        let initiator = format!("InitiatorName=iqn.2001-04.com.example:host{host}");
        let target = format!("TargetName={TARGET}");
        let usual = [&initiator, &target, "SessionType=Normal", "ImmediateData=Yes", "InitialR2T=No"];
        usual.iter().chain(keys).map(|key| format!("{key}\0")).collect()
    }

    /// What a discovery session at this portal is told, pair by pair.
    pub fn discover(at: SocketAddr, host: u8, value: &str) -> Vec<String> {
        let mut peer = Peer::connect(at);
        let names = format!("InitiatorName=iqn.2001-04.com.example:host{host}\0SessionType=Discovery\0");
        assert_eq!(peer.ask_in(host, 0, 0, &names), 0, "the login's status");
        let mut header = peer.header(0x04, 0x80, true);
        put(&mut header, 20, u32::MAX);
        peer.send(header, format!("SendTargets={value}\0").as_bytes());
        let (answer, _) = peer.answer(peer.itt, Duration::from_secs(1));
        assert_eq!((answer.opcode, answer.bhs[1]), (Opcode::TEXT_RESPONSE, 0x80));
        let text = String::from_utf8(answer.data).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    /// A login as `user`, by CHAP with MD5; the status class and detail.
    pub fn try_chap(&mut self, host: u8, tsih: u16, cid: u16, user: (&str, &str)) -> u16 {
        match self.prove(host, tsih, cid, user) {
            0 => self.ask_in(host, tsih, cid, "MaxConnections=4\0"),
            status => status,
        }
    }

    /// The same up to the last request.
    pub fn prove(&mut self, host: u8, tsih: u16, cid: u16, user: (&str, &str)) -> u16 {
        self.offer_proof(host, tsih, cid, user);
        let answer = self.next(Duration::from_secs(2));
        u16::from_be_bytes([answer.bhs[36], answer.bhs[37]])
    }

    /// The same as far as the proof, for whose answer nobody waits.
    pub fn offer_proof(&mut self, host: u8, tsih: u16, cid: u16, (user, secret): (&str, &str)) {
        let names = format!("InitiatorName=iqn.2001-04.com.example:host{host}\0TargetName={TARGET}\0AuthMethod=CHAP\0");
        self.say(0, (host, tsih, cid), &names);
        let challenge = self.say(0, (host, tsih, cid), "CHAP_A=5\0");
        let text = String::from_utf8(challenge.data).unwrap();
        let value = |key: &str| text.split('\0').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).unwrap();
        let digits = value("CHAP_C").strip_prefix("0x").unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        let drawn: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
        let id: u8 = value("CHAP_I").parse().unwrap();
        let proof = Md5::digest([&[id], secret.as_bytes(), &drawn].concat());
        let proof: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
        self.request_login(0x81, (host, tsih, cid), &format!("CHAP_N={user}\0CHAP_R=0x{proof}\0"));
    }

    /// The first request of a login that proves nothing; it stays in the operational stage.
    pub fn begin(&mut self, host: u8, tsih: u16, cid: u16, text: &str) {
        let names = format!("InitiatorName=iqn.2001-04.com.example:host{host}\0{text}");
        let answer = self.say(0x04, (host, tsih, cid), &names);
        assert_eq!(answer.bhs[36..38], [0, 0], "the status");
    }

    /// The last request of a login, or the only one, with this text; the status class and detail.
    pub fn ask_in(&mut self, host: u8, tsih: u16, cid: u16, text: &str) -> u16 {
        let answer = self.say(0x87, (host, tsih, cid), text);
        self.tsih = u16::from_be_bytes([answer.bhs[14], answer.bhs[15]]);
        u16::from_be_bytes([answer.bhs[36], answer.bhs[37]])
    }

    /// A whole login, for whose answer nobody waits.
    pub fn offer_login(&mut self, host: u8, tsih: u16, cid: u16) {
        let text = format!("InitiatorName=iqn.2001-04.com.example:host{host}\0TargetName={TARGET}\0MaxConnections=4\0");
        self.request_login(0x87, (host, tsih, cid), &text);
    }

    /// One Login Request; its answer. `flags`: T, CSG and NSG.
    fn say(&mut self, flags: u8, login: (u8, u16, u16), text: &str) -> Pdu {
        self.request_login(flags, login, text);
        self.next(Duration::from_secs(2))
    }

    fn request_login(&mut self, flags: u8, (host, tsih, cid): (u8, u16, u16), text: &str) {
        let mut header: Bhs = [0; BHS_LEN];
        (header[0], header[1]) = (0x43, flags);
        header[8..14].copy_from_slice(&[0, 2, 0x3d, 0, 0, self.isid.unwrap_or(host)]);
        header[14..16].copy_from_slice(&tsih.to_be_bytes());
        header[20..22].copy_from_slice(&cid.to_be_bytes());
        put(&mut header, 24, self.cmd_sn);
        self.send(header, text.as_bytes());
    }

    fn send(&mut self, header: Bhs, data: &[u8]) {
        self.send_with(header, &[], data);
    }

    /// `ahs`: additional header segments, padded.
    fn send_with(&mut self, header: Bhs, ahs: &[u8], data: &[u8]) {
        let bytes = self.encoded(header, ahs, data);
        match &mut self.held {
            Some(held) => held.extend(bytes),
            None => self.socket.write_all(&bytes).unwrap(),
        }
    }

    /// Sends all that `say` says at once: the server has it in one turn.
    pub fn together<T>(&mut self, say: impl FnOnce(&mut Peer) -> T) -> T {
        self.held = Some(Vec::new());
        let said = say(self);
        if let Some(held) = self.held.take() {
            self.raw(&held);
        }
        said
    }

    fn encoded(&self, mut header: Bhs, ahs: &[u8], data: &[u8]) -> Vec<u8> {
        bhs::set_data_segment_len(&mut header, data.len());
        header[4] = (ahs.len() / 4) as u8;
        put(&mut header, 28, self.exp_stat_sn);
        let mut bytes = [&header[..], ahs].concat();
        if self.digests.0 {
            bytes.extend(digest::header_digest(&header, ahs));
        }
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        if self.digests.1 && !data.is_empty() {
            bytes.extend(digest::data_digest(data));
        }
        bytes
    }

    /// A header with a fresh tag and the next CmdSN.
    fn header(&mut self, opcode: u8, flags: u8, immediate: bool) -> Bhs {
        let mut header: Bhs = [0; BHS_LEN];
        header[0] = opcode | u8::from(immediate) << 6;
        header[1] = flags;
        self.itt += 1;
        put(&mut header, 16, self.itt);
        put(&mut header, 24, self.cmd_sn);
        self.cmd_sn += u32::from(!immediate);
        header
    }

    /// Sends a command without waiting; its tag. Data goes with it, all of it.
    pub fn command(&mut self, lun: u8, cdb: &[u8], read_bytes: u32, data: &[u8]) -> u32 {
        let (head, rest) = cdb.split_at(cdb.len().min(16));
        let mut ahs = Vec::new();
        if !rest.is_empty() {
            Ahs::ExtendedCdb(rest).emit(&mut ahs).unwrap();
        }
        self.command_with(lun, head, &ahs, read_bytes, data)
    }

    /// The same with additional header segments as they are.
    pub fn command_with(&mut self, lun: u8, cdb: &[u8], ahs: &[u8], read_bytes: u32, data: &[u8]) -> u32 {
        let flags = 0x80 | self.attr | if read_bytes > 0 { 0x40 } else { 0 } | if data.is_empty() { 0 } else { 0x20 };
        let mut header = self.header(0x01, flags, false);
        header[9] = lun;
        put(&mut header, 20, read_bytes.max(data.len() as u32));
        header[32..32 + cdb.len()].copy_from_slice(cdb);
        self.send_with(header, ahs, data);
        self.itt
    }

    /// WRITE(10) of blocks that hold `byte`.
    pub fn write(&mut self, lun: u8, lba: u8, blocks: u8, byte: u8) -> u32 {
        let data = vec![byte; usize::from(blocks) * 512];
        self.command(lun, &[0x2a, 0, 0, 0, 0, lba, 0, 0, blocks, 0], 0, &data)
    }

    /// WRITE(10) whose data follows in an unsolicited Data-Out.
    pub fn write_unsolicited(&mut self, lun: u8, lba: u8, blocks: u8, byte: u8) -> u32 {
        let data = vec![byte; usize::from(blocks) * 512];
        self.unsolicited(lun, &[0x2a, 0, 0, 0, 0, lba, 0, 0, blocks, 0], &data)
    }

    /// A write whose data follows in an unsolicited Data-Out.
    pub fn unsolicited(&mut self, lun: u8, cdb: &[u8; 10], data: &[u8]) -> u32 {
        let itt = self.unsolicited_command(lun, cdb, data.len() as u32);
        self.unsolicited_data(lun, itt, data);
        itt
    }

    /// A write without the unsolicited data that it announces.
    pub fn unsolicited_command(&mut self, lun: u8, cdb: &[u8; 10], bytes: u32) -> u32 {
        let mut header = self.header(0x01, 0x20, false);
        header[9] = lun;
        put(&mut header, 20, bytes);
        header[32..42].copy_from_slice(cdb);
        self.send(header, &[]);
        self.itt
    }

    /// All unsolicited data of a write.
    pub fn unsolicited_data(&mut self, lun: u8, itt: u32, data: &[u8]) {
        let mut header: Bhs = [0; BHS_LEN];
        (header[0], header[1], header[9]) = (0x05, 0x80, lun);
        put(&mut header, 16, itt);
        put(&mut header, 20, u32::MAX);
        self.send(header, data);
    }

    /// WRITE(10) whose data is asked for; its tag.
    pub fn write_solicited(&mut self, lun: u8, lba: u32, bytes: usize) -> u32 {
        self.solicited(lun, [0x2a, 0], lba, bytes)
    }

    /// A command with a 10-byte CDB, of which these are the first two bytes, whose data is asked for; its tag.
    pub fn solicited(&mut self, lun: u8, head: [u8; 2], lba: u32, bytes: usize) -> u32 {
        let mut header = self.header(0x01, 0xa0, false);
        header[9] = lun;
        put(&mut header, 20, bytes as u32);
        header[32..34].copy_from_slice(&head);
        put(&mut header, 34, lba);
        header[39..41].copy_from_slice(&((bytes / 512) as u16).to_be_bytes());
        self.send(header, &[]);
        self.itt
    }

    /// The next R2T of a task: what it asks for, by offset and length, and its tag.
    pub fn r2t(&mut self, itt: u32) -> (u32, u32, u32) {
        let pdu = self.next(Duration::from_secs(2));
        assert_eq!((pdu.opcode, pdu.itt()), (Opcode::R2T, itt), "{pdu:?}");
        (pdu.word(40), pdu.word(44), pdu.word(20))
    }

    /// A Data-Out as it is on the wire. `sn`: its place in the sequence.
    pub fn data_out(&self, (itt, ttt, lun): (u32, u32, u8), sn: u32, offset: u32, last: bool, data: &[u8]) -> Vec<u8> {
        let mut header: Bhs = [0; BHS_LEN];
        (header[0], header[1], header[9]) = (0x05, u8::from(last) << 7, lun);
        for (at, value) in [(16, itt), (20, ttt), (36, sn), (40, offset)] {
            put(&mut header, at, value);
        }
        self.encoded(header, &[], data)
    }

    /// The first bytes of a command with its data.
    pub fn command_in_part(&mut self, lun: u8, cdb: &[u8], data: &[u8], upto: usize) {
        let mut header = self.header(0x01, 0xa0, false);
        header[9] = lun;
        put(&mut header, 20, data.len() as u32);
        header[32..32 + cdb.len()].copy_from_slice(cdb);
        let bytes = self.encoded(header, &[], data);
        self.raw(&bytes[..upto]);
    }

    /// Bytes as they are, if the connection still takes them.
    pub fn try_raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Lets a CmdSN be used elsewhere.
    pub fn skip_cmd_sn(&mut self, count: u32) {
        self.cmd_sn = self.cmd_sn.wrapping_add(count);
    }

    /// READ(10).
    pub fn read(&mut self, lun: u8, lba: u8, blocks: u8) -> u32 {
        self.command(lun, &[0x28, 0, 0, 0, 0, lba, 0, 0, blocks, 0], u32::from(blocks) * 512, &[])
    }

    pub fn test_unit_ready(&mut self, lun: u8) -> u32 {
        self.command(lun, &[0; 6], 0, &[])
    }

    /// An immediate task management function; its tag.
    pub fn manage(&mut self, function: TmFunction, lun: u8, referenced: u32) -> u32 {
        self.manage_as(true, function, lun, referenced)
    }

    pub fn manage_as(&mut self, immediate: bool, function: TmFunction, lun: u8, referenced: u32) -> u32 {
        let mut header = self.header(0x02, 0x80 | function.0, immediate);
        header[9] = lun;
        put(&mut header, 20, referenced);
        self.send(header, &[]);
        self.itt
    }

    /// A function, answered within a second: its response, and what arrived before it.
    pub fn managed(&mut self, function: TmFunction, lun: u8, referenced: u32) -> (u8, Vec<Pdu>) {
        let itt = self.manage(function, lun, referenced);
        let (answer, before) = self.answer(itt, Duration::from_secs(1));
        assert_eq!(answer.opcode, Opcode::TASK_MANAGEMENT_RESPONSE);
        (answer.bhs[2], before)
    }

    /// Pings of so many bytes, until no more are taken or so many bytes were sent. How many were sent whole: the rest of the
    /// last one is to be sent with [`Peer::finish_ping`].
    pub fn pings_until_full(&mut self, data_bytes: usize, most: usize) -> usize {
        let mut header = self.header(0x00, 0x80, true);
        put(&mut header, 20, u32::MAX);
        let ping = self.encoded(header, &[], &vec![0x77; data_bytes]);
        self.socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let (mut whole, mut at) = (0, 0);
        while whole * ping.len() < most {
            match self.socket.write(&ping[at..]) {
                Ok(bytes) => at += bytes,
                Err(_) => break,
            }
            if at == ping.len() {
                (whole, at) = (whole + 1, 0);
            }
        }
        self.socket.set_write_timeout(None).unwrap();
        self.held = Some(ping[at..].to_vec());
        whole
    }

    /// The rest of the last one.
    pub fn finish_ping(&mut self) {
        if let Some(rest) = self.held.take() {
            self.raw(&rest);
        }
    }

    /// Pings, sent together and answered; the StatSN of the first answer. None of them is acknowledged by what
    /// [`Peer::status_snack`] sends.
    pub fn pings(&mut self, count: u32) -> u32 {
        let first = self.exp_stat_sn;
        self.together(|peer| {
            for _ in 0..count {
                let mut header = peer.header(0x00, 0x80, true);
                put(&mut header, 20, u32::MAX);
                peer.send(header, &[]);
            }
        });
        (0..count).for_each(|_| drop(self.next(Duration::from_secs(1))));
        self.exp_stat_sn = first;
        first
    }

    /// Asks for all status from there on once more.
    pub fn status_snack(&mut self, from: u32) {
        let mut header: Bhs = [0; BHS_LEN];
        (header[0], header[1]) = (0x10, 0x81);
        for (at, value) in [(16, u32::MAX), (20, u32::MAX), (40, from)] {
            put(&mut header, at, value);
        }
        self.send(header, &[]);
    }

    /// A NOP-Out that wants an answer; its tag.
    pub fn ping_only(&mut self) -> u32 {
        let mut header = self.header(0x00, 0x80, true);
        put(&mut header, 20, u32::MAX);
        self.send(header, &[]);
        self.itt
    }

    /// A NOP-Out, and its answer.
    pub fn ping(&mut self) {
        let itt = self.ping_only();
        let (_, before) = self.answer(itt, Duration::from_secs(1));
        self.early.extend(before);
    }

    /// A Text Request without T bit, of a negotiation with these tags (`None`: a new one); what comes next. `flags`: F and C.
    pub fn text(&mut self, flags: u8, of: Option<(u32, u32)>, text: &str) -> Pdu {
        let mut header = self.header(0x04, flags, true);
        let (itt, ttt) = of.unwrap_or((self.itt, u32::MAX));
        put(&mut header, 16, itt);
        put(&mut header, 20, ttt);
        self.send(header, text.as_bytes());
        self.next(Duration::from_secs(1))
    }

    /// What arrives meanwhile is not acknowledged, but by what is sent before that is over.
    pub fn unacknowledged<T>(&mut self, say: impl FnOnce(&mut Peer) -> T) -> T {
        let first = self.exp_stat_sn;
        let said = say(self);
        self.exp_stat_sn = first;
        said
    }

    /// Asks for all read data of a command once more.
    pub fn data_snack(&mut self, lun: u8, itt: u32) {
        let mut header: Bhs = [0; BHS_LEN];
        (header[0], header[1], header[9]) = (0x10, 0x80, lun);
        put(&mut header, 16, itt);
        put(&mut header, 20, u32::MAX);
        self.send(header, &[]);
    }

    /// A logout: the response.
    pub fn logout(&mut self, reason: u8, cid: u16) -> u8 {
        let mut header = self.header(0x06, 0x80 | reason, true);
        header[20..22].copy_from_slice(&cid.to_be_bytes());
        self.send(header, &[]);
        let itt = self.itt;
        self.answer(itt, Duration::from_secs(1)).0.bhs[2]
    }

    /// The next PDU, or `None`: nothing came within that time.
    pub fn try_next(&mut self, within: Duration) -> Option<Pdu> {
        self.socket.set_read_timeout(Some(within.max(Duration::from_millis(1)))).unwrap();
        let mut header: Bhs = [0; BHS_LEN];
        self.socket.read_exact(&mut header).ok()?;
        self.socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        if self.digests.0 {
            assert_eq!(self.digest(), digest::header_digest(&header, &[]));
        }
        let len = bhs::data_segment_len(&header);
        let mut data = vec![0; len.next_multiple_of(4)];
        self.socket.read_exact(&mut data).unwrap();
        data.truncate(len);
        if self.digests.1 && len > 0 {
            assert_eq!(self.digest(), digest::data_digest(&data));
        }
        let pdu = Pdu { opcode: bhs::opcode(&header), bhs: header, data };
        let numbered = match pdu.opcode {
            Opcode::SCSI_DATA_IN => header[1] & 1 == 1,
            Opcode::R2T => false,
            Opcode::NOP_IN => pdu.itt() != u32::MAX,
            _ => true,
        };
        if numbered {
            self.exp_stat_sn = pdu.word(24).wrapping_add(1);
        }
        Some(pdu)
    }

    fn digest(&mut self) -> [u8; digest::DIGEST_LEN] {
        let mut digest = [0; digest::DIGEST_LEN];
        self.socket.read_exact(&mut digest).unwrap();
        digest
    }

    /// Whether something has come that was not read.
    pub fn has_more(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let some = self.socket.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
        self.socket.set_nonblocking(false).unwrap();
        some
    }

    /// Whether the server closes the connection within that time, whatever it sends before.
    pub fn is_closed(&mut self, within: Duration) -> bool {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut rest = [0; 4096];
        loop {
            match self.socket.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }

    /// All that comes until the connection ends, as it is.
    pub fn rest(&mut self) -> Vec<u8> {
        self.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut rest = Vec::new();
        match self.socket.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
            _ => rest,
        }
    }

    pub fn next(&mut self, within: Duration) -> Pdu {
        self.try_next(within).unwrap_or_else(|| panic!("nothing came within {within:?}"))
    }

    /// The final answer to a tag, and what came before it.
    pub fn answer(&mut self, itt: u32, within: Duration) -> (Pdu, Vec<Pdu>) {
        let end = Instant::now() + within;
        let is_last = |pdu: &Pdu| pdu.itt() == itt && (pdu.opcode != Opcode::SCSI_DATA_IN || pdu.bhs[1] & 1 == 1);
        if let Some(at) = self.early.iter().position(is_last) {
            let pdu = self.early.remove(at);
            return (pdu, self.early.extract_if(.., |early| early.itt() == itt).collect());
        }
        let mut before: Vec<Pdu> = self.early.extract_if(.., |early| early.itt() == itt).collect();
        loop {
            let pdu = self.next(end.saturating_duration_since(Instant::now()));
            if is_last(&pdu) {
                return (pdu, before);
            }
            before.push(pdu);
        }
    }

    /// Whether there is an answer to a tag within that time.
    pub fn is_answered(&mut self, itt: u32, within: Duration) -> bool {
        let end = Instant::now() + within;
        while let Some(pdu) = self.try_next(end.saturating_duration_since(Instant::now())) {
            self.early.push(pdu);
        }
        self.early.iter().any(|pdu| pdu.itt() == itt)
    }

    /// Lets the core take over what it was told, and takes the unit attentions of that.
    pub fn settle(&mut self, luns: &[u8]) {
        std::thread::sleep(Duration::from_millis(50));
        for &lun in luns {
            for left in (0..8).rev() {
                let itt = self.test_unit_ready(lun);
                if self.end(itt, Duration::from_secs(1)).status == 0 {
                    break;
                }
                assert!(left > 0, "LUN {lun} does not become ready");
            }
        }
    }

    /// How a command ends.
    pub fn end(&mut self, itt: u32, within: Duration) -> End {
        let (last, before) = self.answer(itt, within);
        let (own, others): (Vec<Pdu>, _) = before.into_iter().partition(|p| p.itt() == itt);
        // Simple tasks end in any order.
        self.early.extend(others);
        let own = own.into_iter().filter(|p| p.opcode == Opcode::SCSI_DATA_IN);
        let mut data: Vec<u8> = own.flat_map(|p| p.data).collect();
        if last.opcode == Opcode::SCSI_DATA_IN {
            data.extend(&last.data);
            return End { status: last.bhs[3], sense: (0, 0), data };
        }
        let byte = |at: usize| last.data.get(at).copied().unwrap_or(0);
        End { status: last.bhs[3], sense: (byte(4) & 15, u16::from_be_bytes([byte(14), byte(15)])), data }
    }

    /// Takes the unit attention of the power-on at both units.
    pub fn ready(mut self) -> Peer {
        for lun in 0..2 {
            let itt = self.test_unit_ready(lun);
            assert_eq!(self.end(itt, Duration::from_secs(1)).sense, (6, 0x2900));
        }
        self
    }
}
