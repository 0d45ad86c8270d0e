//! Initiator, network and target under one seed, with an oracle: whatever is damaged, lost or cut, every command is answered
//! once and all data is right.
//!
//! The initiator recovers by the rules of its ErrorRecoveryLevel. Level 0: session recovery (a new session; what was not
//! answered is issued again). Level 1: retries, SNACK, answers to recovery R2Ts. Level 2: Logout for recovery, or a
//! connection reinstated, and TASK REASSIGN.
//!
//! All of that is `initiator`, of which this is one more driver: it logs in, cuts connections, and issues again what was not
//! carried out.
//!
//! Each command has blocks of its own, so that what the disk and the reads have to be is known at any time.

use super::target::{BLOCK_BYTES, NAME, Target};
use super::{Packet, Peer, Rng};
use crate::initiator::command::Command;
use crate::initiator::event::{End, Event, Fault, Joined, Sink, TaskIx};
use crate::initiator::login::{Identity, LoggedIn, Login, Security, Step};
use crate::initiator::outbox::{DataRef, Outbox, Outgoing, Payload};
use crate::initiator::params;
use crate::initiator::session::{Refused, Session};
use crate::session::login::negotiate::Offer;
use crate::wire::{Cid, CmdSn, Isid, LoginResponse, Lun, Opcode, Pdu, Tsih, bhs};
use std::collections::HashMap;

/// Commands of one run.
const COMMANDS: u32 = 24;
/// Blocks of one command.
const BLOCKS: u32 = 48;
/// The same in bytes.
const BYTES: u32 = BLOCKS * BLOCK_BYTES;
/// Commands that are under way at a time.
const DEPTH: usize = 6;
/// Connections at ErrorRecoveryLevel 1 and 2.
const CONNECTIONS: usize = 2;
/// A command that makes no progress for this long is looked after, milliseconds.
const PATIENCE_MS: u64 = 6_000;
/// What a step takes, milliseconds.
const STEP_MS: u64 = 5;
/// How often an initiator looks for the answer to its login, a step later each time.
const LOGIN_LOOKS: u32 = 200;
/// A run that is not through by then has failed, milliseconds.
const LIMIT_MS: u64 = 3_000_000;

/// What can happen to a PDU, in cases of 1000, and to a connection, in cases of 100000 per step.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// A data digest that does not match.
    pub damaged: u64,
    /// A PDU that is lost.
    pub lost: u64,
    /// A connection that is cut.
    pub cut: u64,
}

/// A command that has no answer yet, at a place of the session.
struct Open {
    index: u32,
    is_issued: bool,
    data: Vec<u8>,
}

/// What the initiator knows of its commands, and what the oracle finds wrong.
struct Book {
    open: Vec<Option<Open>>,
    level: u8,
    answered: HashMap<u32, u32>,
    wrong: Option<String>,
}

/// The target, and the network before it.
struct Net {
    target: Target,
    rng: Rng,
    faults: Faults,
    now_ms: u64,
    log: Vec<String>,
}

/// An initiator, the network and the target that it talks to, under one seed.
pub struct World {
    net: Net,
    book: Book,
    session: Option<Session>,
    level: u8,
    up: Vec<bool>,
    next: u32,
    /// What happened, for a failing seed.
    pub log: Vec<String>,
}

fn fill(index: u32, write: bool) -> Vec<u8> {
    (0..BLOCKS * BLOCK_BYTES)
        .map(|n| (n.wrapping_mul(31) ^ index.wrapping_mul(77) ^ (u32::from(write) * 5)) as u8)
        .collect()
}

fn is_write(index: u32) -> bool {
    index.wrapping_mul(0x9e37_79b1) >> 31 == 1
}

impl Net {
    fn note(&mut self, text: String) {
        self.log.push(format!("{:>7} {text}", self.now_ms));
    }

    fn pass(&mut self) {
        self.target.pass(STEP_MS);
        self.now_ms += STEP_MS;
    }

    fn packet(pdu: &Outgoing<'_>) -> Packet {
        let data = match pdu.payload {
            Payload::None => Vec::new(),
            Payload::Bytes(bytes) => bytes.to_vec(),
            // Of a write: the place is that on the disk.
            Payload::Data { at, len } => {
                let (index, offset) = (at.0 / u64::from(BYTES), (at.0 % u64::from(BYTES)) as usize);
                fill(index as u32, true)[offset..offset + len as usize].to_vec()
            }
        };
        Packet { ahs: pdu.ahs.to_vec(), ..Packet::new(usize::from(pdu.cid.0), &pdu.bhs, data) }
    }
}

/// What the initiator sends goes by a network that may damage or lose it, but for a login.
impl Outbox for Net {
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        let mut packet = Net::packet(pdu);
        if pdu.opcode() == Opcode::LOGIN_REQUEST {
            return self.target.send(packet);
        }
        if self.rng.per_mille(self.faults.lost) {
            return self.note(format!("lost: {:?}", Pdu::parse(&pdu.bhs)));
        }
        packet.intact = packet.data.is_empty() || !self.rng.per_mille(self.faults.damaged);
        if !packet.intact {
            packet.data.iter_mut().for_each(|b| *b ^= 0x5a);
        }
        self.target.send(packet);
    }
}

impl Sink for Book {
    fn data_in(&mut self, task: TaskIx, offset: u32, bytes: &[u8]) {
        if let Some(open) = &mut self.open[usize::from(task.0)] {
            open.data[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Ended { task, end, .. } => self.ended(task, &end),
            Event::Cleared { task } => self.again(task),
            _ => {}
        }
    }
}

impl Book {
    fn ended(&mut self, task: TaskIx, end: &End<'_>) {
        if end.status != 0 && self.level > 0 {
            self.wrong = Some(format!("the command at place {} ends with status {}", task.0, end.status));
            return;
        }
        if end.status != 0 {
            // A lost Data-Out, at level 0: the command is issued again.
            return self.again(task);
        }
        let Some(open) = self.open[usize::from(task.0)].take() else {
            self.wrong = Some(format!("there is no command at place {}", task.0));
            return;
        };
        let right = is_write(open.index) || end.received_bytes == BYTES && open.data == fill(open.index, false);
        *self.answered.entry(open.index).or_default() += if right { 1 } else { 1000 };
    }

    /// It has to be issued anew.
    fn again(&mut self, task: TaskIx) {
        if let Some(open) = &mut self.open[usize::from(task.0)] {
            open.is_issued = false;
            open.data.fill(0);
        }
    }
}

impl World {
    /// A world whose initiator proposes ErrorRecoveryLevel `level`. Each command's blocks are filled with what a read
    /// of them has to find.
    pub fn new(seed: u64, level: u8, faults: Faults) -> World {
        let offer = Offer { error_recovery_level: level, max_connections: 8, time2retain_s: 60, ..Offer::default() };
        let mut target = Target::slow(offer, COMMANDS * BLOCKS, seed ^ 0xabcd, 3);
        for index in 0..COMMANDS {
            target.fill(u64::from(index * BYTES), &fill(index, false));
        }
        World {
            net: Net { target, rng: Rng(seed), faults, now_ms: 0, log: Vec::new() },
            book: Book { open: (0..DEPTH).map(|_| None).collect(), level, answered: HashMap::new(), wrong: None },
            session: None,
            level,
            up: vec![false; CONNECTIONS],
            next: 0,
            log: Vec::new(),
        }
    }

    /// Runs until every command is answered.
    ///
    /// # Errors
    /// What the oracle found: commands that are answered twice, with an error or not in time, an unknown PDU, or a disk
    /// with other data than was written.
    pub fn run(&mut self) -> Result<(), String> {
        let result = self.run_all();
        self.log = std::mem::take(&mut self.net.log);
        result
    }

    fn run_all(&mut self) -> Result<(), String> {
        while self.book.answered.len() < COMMANDS as usize {
            if self.net.now_ms > LIMIT_MS {
                return Err(format!("{} of {COMMANDS} commands are answered", self.book.answered.len()));
            }
            self.connect()?;
            self.issue();
            self.net.pass();
            for packet in self.net.target.receive() {
                self.arrived(packet)?;
            }
            self.look_after();
            for conn in 0..CONNECTIONS {
                let is_cut = |net: &mut Net| net.rng.below(100_000) < net.faults.cut;
                if self.up[conn] && (self.net.target.is_closed(conn) || is_cut(&mut self.net)) {
                    self.cut(conn);
                }
            }
        }
        for index in 0..COMMANDS {
            let found = self.net.target.read(u64::from(index * BYTES), BYTES as usize);
            if found != fill(index, is_write(index)) {
                return Err(format!("the disk is wrong at command {index}"));
            }
        }
        Ok(())
    }

    /// Runs `act` on the session, if there is one.
    fn with_session<T>(&mut self, act: impl FnOnce(&mut Session, &mut Joined<'_, &mut Net, Book>) -> T) -> Option<T> {
        let session = self.session.as_mut()?;
        session.set_now(self.net.now_ms);
        Some(act(session, &mut Joined { outbox: &mut self.net, sink: &mut self.book }))
    }

    fn cut(&mut self, conn: usize) {
        self.net.note(format!("connection {conn} is cut"));
        self.net.target.cut(conn);
        self.up[conn] = false;
        self.with_session(|session, _| session.cut(Cid(conn as u16)));
    }

    fn connect(&mut self) -> Result<(), String> {
        let wanted = if self.level == 0 { 1 } else { CONNECTIONS };
        for conn in 0..wanted {
            if self.up[conn] {
                continue;
            }
            let continues = self.session.is_some() && (self.level == 2 || self.up.iter().any(|up| *up));
            if !continues {
                self.restart();
            }
            self.net.target.open(conn);
            let mut login = Login::new(self.identity(conn), self.offer(), Security::Skipped);
            login.begin(&mut self.net);
            let mut others = Vec::new();
            let mut step = None;
            // It may have to wait for the end of the session that it replaces.
            for _ in 0..LOGIN_LOOKS {
                for packet in self.net.target.receive() {
                    match LoginResponse::parse(&packet.bhs) {
                        Ok(response) if packet.conn == conn => {
                            step = Some(login.response(&response, &packet.data, &mut self.net));
                        }
                        _ => others.push(packet),
                    }
                }
                if step.is_some() || self.net.target.is_closed(conn) {
                    break;
                }
                self.net.pass();
            }
            match step {
                Some(Ok(Step::Done(done))) => self.connected(conn, &done),
                Some(Ok(other)) => return Err(format!("a login comes to {other:?}")),
                _ => {
                    // The session is no more.
                    self.session = None;
                    self.up.iter_mut().for_each(|up| *up = false);
                }
            }
            for packet in others {
                self.arrived(packet)?;
            }
        }
        Ok(())
    }

    fn identity(&self, conn: usize) -> Identity {
        let session = self.session.as_ref();
        Identity {
            initiator: "iqn.2001-04.com.example:host".into(),
            target: Some(NAME.into()),
            isid: Isid([0, 2, 0x3d, 0, 0, 1]),
            tsih: session.map_or(Tsih(0), Session::tsih),
            cid: Cid(conn as u16),
            cmd_sn: session.map_or(CmdSn(1), |session| session.window.cmd_sn),
        }
    }

    fn offer(&mut self) -> params::Offer {
        let rng = &mut self.net.rng;
        params::Offer {
            // What is damaged is told by it.
            data_digest: Some(true),
            error_recovery_level: Some(self.level),
            max_connections: Some(8),
            time2wait_s: Some(0),
            time2retain_s: Some(60),
            initial_r2t: Some(rng.per_mille(500)),
            immediate_data: Some(rng.per_mille(500)),
            max_recv_bytes: Some(512 << rng.below(4)),
            max_burst_bytes: Some(8192),
            first_burst_bytes: Some(4096),
            ..params::Offer::default()
        }
    }

    fn connected(&mut self, conn: usize, done: &LoggedIn) {
        self.net.note(format!("connection {conn} logs in, TSIH {}", done.tsih.0));
        self.up[conn] = true;
        if self.session.is_none() {
            let mut session = Session::new(done, CmdSn(1), DEPTH as u16);
            (session.data_out_bytes, session.unasked_bytes) = (1024, 0);
            self.session = Some(session);
        } else {
            // Below level 2 the commands of the connection before are terminated by this.
            self.with_session(|session, host| session.joined(done, host));
        }
    }

    /// Session recovery: everything that was not answered is issued again in a new session.
    fn restart(&mut self) {
        self.net.note("a new session".into());
        self.session = None;
        for conn in 0..CONNECTIONS {
            self.net.target.cut(conn);
            self.up[conn] = false;
        }
        (0..DEPTH).for_each(|place| self.book.again(TaskIx(place as u16)));
    }

    fn issue(&mut self) {
        for place in 0..DEPTH {
            let open = &mut self.book.open[place];
            if open.is_none() && self.next < COMMANDS {
                *open = Some(Open { index: self.next, is_issued: false, data: vec![0; BYTES as usize] });
                self.next += 1;
            }
            let Some(index) = open.as_ref().filter(|open| !open.is_issued).map(|open| open.index) else { continue };
            let ups: Vec<usize> = (0..CONNECTIONS).filter(|c| self.up[*c]).collect();
            if ups.is_empty() {
                return;
            }
            let cid = Cid(ups[self.net.rng.below(ups.len() as u64) as usize] as u16);
            let issued = self.with_session(|session, host| {
                let mut cdb = [if is_write(index) { 0x2a } else { 0x28 }, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                cdb[2..6].copy_from_slice(&(index * BLOCKS).to_be_bytes());
                cdb[7..9].copy_from_slice(&(BLOCKS as u16).to_be_bytes());
                let command = Command::new(Lun::flat(0), &cdb);
                let at = DataRef(u64::from(index) * u64::from(BYTES));
                let command = if is_write(index) { command.writing(BYTES, at) } else { command.reading(BYTES) };
                session.issue(cid, TaskIx(place as u16), &command, host)
            });
            match issued {
                Some(Ok(_)) => self.book.open[place].iter_mut().for_each(|open| open.is_issued = true),
                Some(Err(Refused::WindowClosed)) | None => return,
                Some(Err(refused)) => self.book.wrong = Some(format!("place {place}: {refused}")),
            }
        }
    }

    /// A PDU comes by the network, which may damage or lose it.
    fn arrived(&mut self, mut packet: Packet) -> Result<(), String> {
        let conn = packet.conn;
        if !self.up[conn] {
            return Ok(());
        }
        let net = &mut self.net;
        let lost = net.rng.per_mille(net.faults.lost);
        let damaged = !packet.data.is_empty() && net.rng.per_mille(net.faults.damaged);
        if lost || damaged {
            net.note(format!("{}: {:?}", if lost { "lost" } else { "damaged" }, Pdu::parse(&packet.bhs)));
        }
        if lost {
            return Ok(());
        }
        if damaged {
            packet.data.iter_mut().for_each(|b| *b ^= 0x5a);
        }
        let (bhs, data) = (&packet.bhs, &packet.data);
        let fault = self.with_session(|session, host| session.pdu(Cid(conn as u16), bhs, data, !damaged, host));
        if let Some(wrong) = self.book.wrong.take() {
            return Err(wrong);
        }
        match fault {
            Some(Err(fault)) if self.level == 0 && is_loss(&fault) => self.cut(conn),
            Some(Err(fault)) => return Err(format!("{fault}, at a {}", bhs::opcode(&packet.bhs))),
            _ => {}
        }
        Ok(())
    }

    /// Looks after the commands that make no progress. At level 0 something is lost for good, then.
    fn look_after(&mut self) {
        if self.level > 0 {
            self.with_session(|session, host| session.look_after(PATIENCE_MS, host));
        } else if self.with_session(|session, _| session.is_stuck(PATIENCE_MS)) == Some(true) && self.up[0] {
            self.cut(0);
        }
    }

    /// How often each command was answered; data that was wrong counts 1000.
    pub fn answers(&self) -> impl Iterator<Item = u32> + '_ {
        self.book.answered.values().copied()
    }
}

/// Whether a fault is what PDUs that were lost or damaged look like, without recovery.
fn is_loss(fault: &Fault) -> bool {
    matches!(fault, Fault::StatSn { .. } | Fault::DataSn { .. } | Fault::R2tSn { .. } | Fault::DataDigest(_))
}
