//! An initiator that speaks to a server of this process, one step at a time.

mod logging_in;

use crate::initiator::command::Command;
use crate::initiator::numbers::{Window, is_numbered};
use crate::initiator::outbox::{DataRef, Digests, Outbox, Outgoing, Payload, encode};
use crate::initiator::stamp::{About, Continued, Stamp};
use crate::initiator::tcp::{Line, TcpError};
use crate::wire::ahs::Ahs;
use crate::wire::{
    self, BHS_LEN, Bhs, Cid, CmdSn, Itt, LogoutReason, Lun, Opcode, ScsiCommand, StatSn, TaskAttr, TmFunction, Tsih,
    Ttt, bhs,
};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What has begun to come is there within this.
const REST: Duration = Duration::from_secs(2);

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
    line: Line,
    window: Window,
    itt: u32,
    exp_stat_sn: StatSn,
    /// Task attribute of commands.
    pub attr: u8,
    /// Arrived before anybody asked.
    early: Vec<Pdu>,
    pub tsih: u16,
    /// The last byte of its ISID, where that is not the host's number.
    pub isid: Option<u8>,
    /// Header and data digests are sent, and demanded.
    pub digests: (bool, bool),
    /// What is sent waits, to go together.
    holds: bool,
}

/// LUN, as the second byte of its address.
fn at(lun: u8) -> Lun {
    Lun([0, lun, 0, 0, 0, 0, 0, 0])
}

/// A command that writes, whatever is sent with it.
fn writing(lun: Lun, cdb: &[u8], bytes: u32) -> Command<'_> {
    Command { attr: TaskAttr::UNTAGGED, ..Command::new(lun, cdb).writing(bytes, DataRef(0)) }
}

/// The header of a PDU.
fn emitted(pdu: impl Into<wire::Pdu>) -> Bhs {
    let mut bhs = [0; BHS_LEN];
    pdu.into().emit(&mut bhs);
    bhs
}

impl Peer {
    /// Logs in as `host`; `keys` are added to the usual ones.
    pub fn login(at: SocketAddr, host: u8, keys: &[&str]) -> Peer {
        let mut peer = Peer::connect(at);
        assert_eq!(peer.try_login(host, 0, 0, keys), 0, "the login's status");
        peer
    }

    pub fn connect(at: SocketAddr) -> Peer {
        Peer {
            line: Line::connect(at, 0xff_ffff).unwrap(),
            window: Window::new(CmdSn(1)),
            itt: 100,
            exp_stat_sn: StatSn(0),
            attr: 0,
            early: vec![],
            tsih: 0,
            isid: None,
            digests: (false, false),
            holds: false,
        }
    }

    /// Another connection of this session.
    pub fn join(&mut self, at: SocketAddr, host: u8, cid: u16, keys: &[&str]) -> Peer {
        let mut peer = Peer { window: self.window, itt: self.itt + 1000, tsih: self.tsih, ..Peer::connect(at) };
        assert_eq!(peer.try_login(host, self.tsih, cid, keys), 0, "the login's status");
        peer
    }

    /// Sends a PDU. `ahs`: additional header segments, padded.
    fn send(&mut self, pdu: impl Into<wire::Pdu>, ahs: &[u8], data: &[u8]) {
        self.take_digests();
        self.line.pdu(&Outgoing::new(Cid(0), emitted(pdu), ahs, Payload::Bytes(data)));
        if !self.holds {
            self.line.flush().unwrap();
        }
    }

    /// Puts those into force that the test has set.
    fn take_digests(&mut self) {
        let (header, data) = self.digests;
        self.line.set_digests(Digests { header, data });
    }

    /// Sends all that `say` says at once: the server has it in one turn.
    pub fn together<T>(&mut self, say: impl FnOnce(&mut Peer) -> T) -> T {
        self.holds = true;
        let said = say(self);
        self.holds = false;
        self.line.flush().unwrap();
        said
    }

    fn encoded(&self, bhs: Bhs, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let digests = Digests { header: self.digests.0, data: self.digests.1 };
        encode(&Outgoing::new(Cid(0), bhs, &[], Payload::Bytes(data)), data, digests, &mut bytes);
        bytes
    }

    /// A fresh tag.
    fn tag(&mut self) -> Itt {
        self.itt += 1;
        Itt(self.itt)
    }

    /// The numbers for a request that is immediate, or has no CmdSN.
    fn stamp(&self) -> Stamp {
        Stamp { cmd_sn: self.window.cmd_sn, exp_stat_sn: self.exp_stat_sn }
    }

    /// A command with a fresh tag and the next CmdSN. `edtl_bytes`: what it says to transfer.
    fn numbered(&mut self, command: &Command<'_>, edtl_bytes: u32, is_final: bool) -> ScsiCommand {
        let pdu = command.pdu(self.tag(), self.window.take(false), self.exp_stat_sn, is_final);
        ScsiCommand { edtl_bytes, ..pdu }
    }

    fn issue(&mut self, command: &Command<'_>, edtl_bytes: u32, is_final: bool, ahs: &[u8], data: &[u8]) -> u32 {
        let pdu = self.numbered(command, edtl_bytes, is_final);
        self.send(pdu, ahs, data);
        self.itt
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
        let write_bytes = data.len() as u32;
        let command = Command { attr: TaskAttr(self.attr), ..writing(at(lun), cdb, write_bytes).reading(read_bytes) };
        self.issue(&command, read_bytes.max(write_bytes), true, ahs, data)
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
        self.issue(&writing(at(lun), cdb, bytes), bytes, false, &[], &[])
    }

    /// All unsolicited data of a write.
    pub fn unsolicited_data(&mut self, lun: u8, itt: u32, data: &[u8]) {
        self.send(self.stamp().data_out(Itt(itt), (Ttt::RESERVED, at(lun)), 0, 0, true), &[], data);
    }

    /// WRITE(10) whose data is asked for; its tag.
    pub fn write_solicited(&mut self, lun: u8, lba: u32, bytes: usize) -> u32 {
        self.solicited(lun, [0x2a, 0], lba, bytes)
    }

    /// A command with a 10-byte CDB, of which these are the first two bytes, whose data is asked for; its tag.
    pub fn solicited(&mut self, lun: u8, head: [u8; 2], lba: u32, bytes: usize) -> u32 {
        let mut cdb = [head[0], head[1], 0, 0, 0, 0, 0, 0, 0, 0];
        cdb[2..6].copy_from_slice(&lba.to_be_bytes());
        cdb[7..9].copy_from_slice(&((bytes / 512) as u16).to_be_bytes());
        self.solicited_by(lun, &cdb, bytes)
    }

    /// A command with this CDB, whose data is asked for; its tag.
    pub fn solicited_by(&mut self, lun: u8, cdb: &[u8], bytes: usize) -> u32 {
        let bytes = bytes as u32;
        self.issue(&writing(at(lun), cdb, bytes), bytes, true, &[], &[])
    }

    /// Sends whatever is asked for, all alike, until a response comes.
    pub fn feed(&mut self, lun: u8, byte: u8, within: Duration) -> Pdu {
        loop {
            let pdu = self.next(within);
            if pdu.opcode != Opcode::R2T {
                return pdu;
            }
            let data = vec![byte; pdu.word(44) as usize];
            let bytes = self.data_out((pdu.itt(), pdu.word(20), lun), 0, pdu.word(40), true, &data);
            self.raw(&bytes);
        }
    }

    /// The next R2T of a task: what it asks for, by offset and length, and its tag.
    pub fn r2t(&mut self, itt: u32) -> (u32, u32, u32) {
        let pdu = self.next(Duration::from_secs(2));
        assert_eq!((pdu.opcode, pdu.itt()), (Opcode::R2T, itt), "{pdu:?}");
        (pdu.word(40), pdu.word(44), pdu.word(20))
    }

    /// A Data-Out as it is on the wire. `sn`: its place in the sequence.
    pub fn data_out(&self, of: (u32, u32, u8), sn: u32, offset: u32, last: bool, data: &[u8]) -> Vec<u8> {
        self.encoded(self.data_out_header(of, sn, offset, last), data)
    }

    fn data_out_header(&self, (itt, ttt, lun): (u32, u32, u8), sn: u32, offset: u32, is_final: bool) -> Bhs {
        emitted(self.stamp().data_out(Itt(itt), (Ttt(ttt), at(lun)), sn, offset, is_final))
    }

    /// The first bytes of a command with its data.
    pub fn command_in_part(&mut self, lun: u8, cdb: &[u8], data: &[u8], upto: usize) {
        let bytes = data.len() as u32;
        let pdu = self.numbered(&writing(at(lun), cdb, bytes), bytes, true);
        let bytes = self.encoded(emitted(pdu), data);
        self.raw(&bytes[..upto]);
    }

    /// Bytes as they are, if the connection still takes them.
    pub fn try_raw(&mut self, bytes: &[u8]) {
        let _ = self.line.socket.write_all(bytes);
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.line.socket.write_all(bytes).unwrap();
    }

    /// Lets a CmdSN be used elsewhere.
    pub fn skip_cmd_sn(&mut self, count: u32) {
        self.window.cmd_sn = self.window.cmd_sn.add(count);
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
        let stamp = Stamp { cmd_sn: self.window.take(immediate), ..self.stamp() };
        let about = About { itt: Itt(referenced), ..About::unit(at(lun)) };
        let request = stamp.manage(self.tag(), immediate, function, about);
        self.send(request, &[], &[]);
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
        let itt = self.tag();
        let ping = self.encoded(emitted(self.stamp().ping(itt)), &vec![0x77; data_bytes]);
        let socket = &mut self.line.socket;
        socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let (mut whole, mut at) = (0, 0);
        while whole * ping.len() < most {
            match socket.write(&ping[at..]) {
                Ok(bytes) => at += bytes,
                Err(_) => break,
            }
            if at == ping.len() {
                (whole, at) = (whole + 1, 0);
            }
        }
        socket.set_write_timeout(None).unwrap();
        self.line.out.extend_from_slice(&ping[at..]);
        whole
    }

    /// The rest of the last one.
    pub fn finish_ping(&mut self) {
        self.line.flush().unwrap();
    }

    /// Pings, sent together and answered; the StatSN of the first answer. None of them is acknowledged by what
    /// [`Peer::status_snack`] sends.
    pub fn pings(&mut self, count: u32) -> u32 {
        let first = self.exp_stat_sn;
        self.together(|peer| (0..count).for_each(|_| _ = peer.ping_only()));
        (0..count).for_each(|_| drop(self.next(Duration::from_secs(1))));
        self.exp_stat_sn = first;
        first.0
    }

    /// Asks for all status from there on once more.
    pub fn status_snack(&mut self, from: u32) {
        self.send(self.stamp().status_snack(from..from), &[], &[]);
    }

    /// A NOP-Out that wants an answer; its tag.
    pub fn ping_only(&mut self) -> u32 {
        let itt = self.tag();
        self.send(self.stamp().ping(itt), &[], &[]);
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
        self.ask_text(flags, of, text);
        self.next(Duration::from_secs(1))
    }

    fn ask_text(&mut self, flags: u8, of: Option<(u32, u32)>, text: &str) {
        let fresh = self.tag();
        let fresh = Continued::new(fresh);
        let of = of.map_or(fresh, |(itt, ttt)| Continued { itt: Itt(itt), ttt: Ttt(ttt), ..fresh });
        self.send(self.stamp().text(of, flags & 0x80 != 0, flags & 0x40 != 0), &[], text.as_bytes());
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
        self.send(self.stamp().data_snack(at(lun), Itt(itt), 0..0), &[], &[]);
    }

    /// A logout: the response.
    pub fn logout(&mut self, reason: u8, cid: u16) -> u8 {
        let request = self.stamp().logout(self.tag(), LogoutReason(reason), Cid(cid));
        self.send(request, &[], &[]);
        let itt = self.itt;
        self.answer(itt, Duration::from_secs(1)).0.bhs[2]
    }

    /// The next PDU, or `None`: nothing came within that time.
    pub fn try_next(&mut self, within: Duration) -> Option<Pdu> {
        self.take_digests();
        let mut next = self.line.next(within);
        if matches!(next, Ok(None)) && !self.line.is_between_pdus() {
            next = self.line.next(REST);
            assert!(matches!(next, Ok(Some(_))), "the rest of a PDU: {next:?}");
        }
        let arrived = match next {
            Ok(arrived) => arrived?,
            Err(TcpError::Socket(_)) => return None,
            Err(error) => panic!("{error}"),
        };
        assert!(arrived.data_digest_ok);
        let pdu = Pdu { opcode: bhs::opcode(&arrived.bhs), bhs: arrived.bhs, data: arrived.data };
        if is_numbered(&pdu.bhs) {
            self.exp_stat_sn = StatSn(pdu.stat_sn()).next();
        }
        Some(pdu)
    }

    /// Whether something has come that was not read.
    pub fn has_more(&self) -> bool {
        self.line.socket.set_nonblocking(true).unwrap();
        let some = self.line.socket.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
        self.line.socket.set_nonblocking(false).unwrap();
        some
    }

    /// Whether the server closes the connection within that time, whatever it sends before.
    pub fn is_closed(&mut self, within: Duration) -> bool {
        self.line.socket.set_read_timeout(Some(within)).unwrap();
        let mut rest = [0; 4096];
        loop {
            match self.line.socket.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }

    /// All that comes until the connection ends, as it is.
    pub fn rest(&mut self) -> Vec<u8> {
        self.line.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut rest = Vec::new();
        match self.line.socket.read_to_end(&mut rest) {
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
