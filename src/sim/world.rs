//! Initiator, network and target under one seed, with an oracle: whatever is damaged, lost or cut, every command is answered
//! once and all data is right.
//!
//! The initiator recovers by the rules of its ErrorRecoveryLevel. Level 0: session recovery (a new session; what was not
//! answered is issued again). Level 1: retries, SNACK, answers to recovery R2Ts. Level 2: Logout for recovery, or a
//! connection reinstated, and TASK REASSIGN.
//!
//! Each command has blocks of its own, so that what the disk and the reads have to be is known at any time.

use super::target::{BLOCK_BYTES, NAME, Target};
use super::{Packet, Peer, Rng};
use crate::session::login::negotiate::Offer;
use crate::wire::*;
use std::collections::{BTreeMap, HashMap};

/// Commands of one run.
const COMMANDS: u32 = 24;
/// Blocks of one command.
const BLOCKS: u32 = 48;
/// Commands that are under way at a time.
const DEPTH: usize = 6;
/// Connections at ErrorRecoveryLevel 1 and 2.
const CONNECTIONS: usize = 2;
/// A command that makes no progress for this long is looked after, milliseconds.
const PATIENCE_MS: u64 = 6_000;
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

struct Command {
    write: bool,
    index: u32,
    itt: u32,
    cmd_sn: u32,
    conn: usize,
    /// Read data that has come, by buffer offset.
    data: BTreeMap<u32, Vec<u8>>,
    /// By DataSN: whether that Data-In has come. After the response it has as many entries as the response counts.
    seen: Vec<bool>,
    /// The data that was acknowledged: DataSN and buffer offset behind it.
    acked: (u32, u32),
    status: Option<u32>,
    since_ms: u64,
    /// The tag of the TASK REASSIGN whose answer is waited for.
    reassign: Option<u32>,
    allegiant: bool,
}

/// An initiator, the network and the target that it talks to, under one seed.
pub struct World {
    target: Target,
    rng: Rng,
    faults: Faults,
    level: u8,
    now_ms: u64,
    up: Vec<bool>,
    /// By connection: the ExpStatSN, and (`ahead`) the StatSNs of responses that came beyond it.
    exp_stat_sn: Vec<u32>,
    ahead: Vec<BTreeMap<u32, ()>>,
    tsih: u16,
    cmd_sn: u32,
    itt: u32,
    open: Vec<Command>,
    next: u32,
    answered: HashMap<u32, u32>,
    /// What happened, for a failing seed.
    pub log: Vec<String>,
}

fn fill(index: u32, write: bool) -> Vec<u8> {
    (0..BLOCKS * BLOCK_BYTES)
        .map(|n| (n.wrapping_mul(31) ^ index.wrapping_mul(77) ^ (u32::from(write) * 5)) as u8)
        .collect()
}

impl World {
    /// A world whose initiator proposes ErrorRecoveryLevel `level`. Each command's blocks are filled with what a read
    /// of them has to find.
    pub fn new(seed: u64, level: u8, faults: Faults) -> World {
        let offer = Offer { error_recovery_level: level, max_connections: 8, time2retain_s: 60, ..Offer::default() };
        let mut target = Target::new(offer, COMMANDS * BLOCKS, seed ^ 0xabcd);
        target.delay_ms = 3;
        for index in 0..COMMANDS {
            let at = (index * BLOCKS * BLOCK_BYTES) as usize;
            target.disk[at..at + (BLOCKS * BLOCK_BYTES) as usize].copy_from_slice(&fill(index, false));
        }
        World {
            target,
            rng: Rng(seed),
            faults,
            level,
            now_ms: 0,
            up: vec![false; CONNECTIONS],
            exp_stat_sn: vec![0; CONNECTIONS],
            ahead: vec![BTreeMap::new(); CONNECTIONS],
            tsih: 0,
            cmd_sn: 1,
            itt: 1,
            open: Vec::new(),
            next: 0,
            answered: HashMap::new(),
            log: Vec::new(),
        }
    }

    /// Runs until every command is answered.
    ///
    /// # Errors
    /// What the oracle found: commands that are answered twice, with an error or not in time, an unknown PDU, or a disk
    /// with other data than was written.
    pub fn run(&mut self) -> Result<(), String> {
        while self.answered.len() < COMMANDS as usize {
            if self.now_ms > LIMIT_MS {
                return Err(format!("{} of {COMMANDS} commands are answered", self.answered.len()));
            }
            self.connect();
            self.issue();
            self.target.pass(5);
            self.now_ms += 5;
            for packet in self.target.receive() {
                self.arrived(packet)?;
            }
            self.look_after();
            for conn in 0..CONNECTIONS {
                if self.up[conn] && (self.target.is_closed(conn) || self.rng.below(100_000) < self.faults.cut) {
                    self.cut(conn);
                }
            }
        }
        for index in 0..COMMANDS {
            let at = (index * BLOCKS * BLOCK_BYTES) as usize;
            let is = &self.target.disk[at..at + (BLOCKS * BLOCK_BYTES) as usize];
            if is != fill(index, self.is_write(index)) {
                return Err(format!("the disk is wrong at command {index}"));
            }
        }
        Ok(())
    }

    fn is_write(&self, index: u32) -> bool {
        index.wrapping_mul(0x9e37_79b1) >> 31 == 1
    }

    fn note(&mut self, text: String) {
        self.log.push(format!("{:>7} {text}", self.now_ms));
    }

    fn cut(&mut self, conn: usize) {
        self.note(format!("connection {conn} is cut"));
        self.target.cut(conn);
        self.up[conn] = false;
        for c in self.open.iter_mut().filter(|c| c.conn == conn) {
            c.allegiant = false;
            c.reassign = None;
        }
    }

    fn connect(&mut self) {
        let wanted = if self.level == 0 { 1 } else { CONNECTIONS };
        for conn in 0..wanted {
            if self.up[conn] {
                continue;
            }
            let continues = self.tsih != 0 && (self.level == 2 || self.up.iter().any(|up| *up));
            if !continues {
                self.restart();
            }
            self.target.open(conn);
            let text = format!(
                "InitiatorName=iqn.2001-04.com.example:host\0TargetName={NAME}\0SessionType=Normal\0\
                 ErrorRecoveryLevel={}\0MaxConnections=8\0DefaultTime2Wait=0\0DefaultTime2Retain=60\0InitialR2T={}\0\
                 ImmediateData={}\0MaxRecvDataSegmentLength={}\0MaxBurstLength=8192\0FirstBurstLength=4096\0",
                self.level,
                if self.rng.per_mille(500) { "Yes" } else { "No" },
                if self.rng.per_mille(500) { "Yes" } else { "No" },
                512 << self.rng.below(4),
            );
            let request = LoginRequest {
                transit: true,
                cont: false,
                csg: 1,
                nsg: 3,
                version_max: 0,
                version_min: 0,
                data_segment_len: 0,
                isid: Isid([0, 2, 0x3d, 0, 0, 1]),
                tsih: Tsih(self.tsih),
                itt: Itt(0),
                cid: Cid(conn as u16),
                cmd_sn: CmdSn(self.cmd_sn),
                exp_stat_sn: StatSn(0),
            };
            let mut header = [0; BHS_LEN];
            request.emit(&mut header);
            self.target.send(Packet::new(conn, &header, text.into_bytes()));
            let mut others = Vec::new();
            let mut done = None;
            for packet in self.target.receive() {
                match LoginResponse::parse(&packet.bhs) {
                    Ok(response) if packet.conn == conn => done = Some(response),
                    _ => others.push(packet),
                }
            }
            match done {
                Some(response) if response.status.is_success() => {
                    self.note(format!("connection {conn} logs in, TSIH {}", response.tsih.0));
                    self.tsih = response.tsih.0;
                    self.exp_stat_sn[conn] = response.stat_sn.0.wrapping_add(1);
                    self.ahead[conn].clear();
                    self.up[conn] = true;
                }
                _ => {
                    // The session is no more.
                    self.tsih = 0;
                    self.up.iter_mut().for_each(|up| *up = false);
                }
            }
            for packet in others {
                let _ = self.arrived(packet);
            }
            if self.level < 2 {
                // The commands of the connection before were terminated: they are issued anew.
                self.reissue(|c| c.conn == conn && !c.allegiant);
            }
        }
    }

    /// Session recovery: everything that was not answered is issued again in a new session.
    fn restart(&mut self) {
        self.note("a new session".into());
        (self.tsih, self.cmd_sn) = (0, 1);
        for conn in 0..CONNECTIONS {
            self.target.cut(conn);
            self.up[conn] = false;
        }
        self.open.iter_mut().for_each(|c| c.allegiant = false);
        self.reissue(|_| true);
    }

    fn reissue(&mut self, which: impl Fn(&Command) -> bool) {
        for c in self.open.iter_mut().filter(|c| which(c)) {
            (c.status, c.reassign, c.cmd_sn) = (None, None, 0);
            c.data.clear();
            c.seen.clear();
            c.acked = (0, 0);
        }
    }

    fn issue(&mut self) {
        if !self.up.iter().any(|up| *up) {
            return;
        }
        while self.open.len() < DEPTH && self.next < COMMANDS {
            let index = self.next;
            self.next += 1;
            self.open.push(Command {
                write: self.is_write(index),
                index,
                itt: 0,
                cmd_sn: 0,
                conn: 0,
                data: BTreeMap::new(),
                seen: Vec::new(),
                acked: (0, 0),
                status: None,
                since_ms: self.now_ms,
                reassign: None,
                allegiant: false,
            });
        }
        for n in 0..self.open.len() {
            if self.open[n].cmd_sn != 0 {
                continue;
            }
            let ups: Vec<usize> = (0..CONNECTIONS).filter(|c| self.up[*c]).collect();
            let conn = ups[self.rng.below(ups.len() as u64) as usize];
            let (itt, cmd_sn, now_ms) = (self.itt, self.cmd_sn, self.now_ms);
            self.itt += 1;
            self.cmd_sn += 1;
            let c = &mut self.open[n];
            (c.itt, c.cmd_sn, c.conn, c.allegiant, c.since_ms) = (itt, cmd_sn, conn, true, now_ms);
            self.send_command(n);
        }
    }

    fn send_command(&mut self, n: usize) {
        let c = &self.open[n];
        let mut cdb = [0; 16];
        cdb[0] = if c.write { 0x2a } else { 0x28 };
        cdb[2..6].copy_from_slice(&(c.index * BLOCKS).to_be_bytes());
        cdb[7..9].copy_from_slice(&(BLOCKS as u16).to_be_bytes());
        let command = ScsiCommand {
            immediate_delivery: false,
            is_final: true,
            read: !c.write,
            write: c.write,
            attr: TaskAttr::SIMPLE,
            priority: 0,
            total_ahs_words: 0,
            data_segment_len: 0,
            lun: Lun::flat(0),
            itt: Itt(c.itt),
            edtl_bytes: BLOCKS * BLOCK_BYTES,
            cmd_sn: CmdSn(c.cmd_sn),
            exp_stat_sn: StatSn(0),
            cdb,
        };
        let conn = c.conn;
        self.send(conn, command, Vec::new());
    }

    /// Puts a PDU onto the network, which may damage or lose it.
    fn send(&mut self, conn: usize, pdu: impl Into<Pdu>, data: Vec<u8>) {
        let mut header = [0; BHS_LEN];
        pdu.into().emit(&mut header);
        header[28..32].copy_from_slice(&self.exp_stat_sn[conn].to_be_bytes());
        if self.rng.per_mille(self.faults.lost) {
            return self.note(format!("lost: {:?}", Pdu::parse(&header)));
        }
        let mut packet = Packet::new(conn, &header, data);
        packet.intact = packet.data.is_empty() || !self.rng.per_mille(self.faults.damaged);
        if !packet.intact {
            packet.data.iter_mut().for_each(|b| *b ^= 0x5a);
        }
        self.target.send(packet);
    }

    fn arrived(&mut self, packet: Packet) -> Result<(), String> {
        let conn = packet.conn;
        if !self.up[conn] {
            return Ok(());
        }
        let lost = self.rng.per_mille(self.faults.lost);
        let damaged = !packet.data.is_empty() && self.rng.per_mille(self.faults.damaged);
        let Ok(pdu) = Pdu::parse(&packet.bhs) else { return Err("an unknown PDU".into()) };
        if lost || damaged {
            self.note(format!("lost: {pdu:?}"));
            return Ok(());
        }
        match pdu {
            Pdu::DataIn(p) => {
                self.data_in(conn, &p, packet.data);
                if p.has_status {
                    self.status(conn, p.stat_sn.0, p.itt.0, p.status, None)?;
                }
            }
            Pdu::R2t(p) => self.ready(conn, &p),
            Pdu::ScsiResponse(p) => {
                self.status(conn, p.stat_sn.0, p.itt.0, p.status, Some(p.exp_data_sn))?;
            }
            Pdu::TaskManagementResponse(p) => {
                self.numbered(conn, p.stat_sn.0);
                self.reassigned(p.itt.0, p.response);
            }
            Pdu::NopIn(p) => {
                if !p.itt.is_reserved() {
                    self.numbered(conn, p.stat_sn.0);
                } else {
                    self.gap(conn, p.stat_sn.0);
                    if !p.ttt.is_reserved() {
                        self.ping(conn, p.ttt);
                    }
                }
            }
            Pdu::Reject(p) => self.numbered(conn, p.stat_sn.0),
            Pdu::AsyncMessage(p) => self.numbered(conn, p.stat_sn.0),
            _ => {}
        }
        Ok(())
    }

    /// A StatSN has come. Level 0 has nothing to fill a gap with: the session is given up.
    fn numbered(&mut self, conn: usize, stat_sn: u32) {
        if self.level == 0 && stat_sn != self.exp_stat_sn[conn] {
            return self.cut(conn);
        }
        if StatSn(stat_sn).lt(StatSn(self.exp_stat_sn[conn])) {
            return;
        }
        self.ahead[conn].insert(stat_sn, ());
        self.gap(conn, stat_sn);
    }

    /// Asks by SNACK for each status before `upto` that has not come.
    fn gap(&mut self, conn: usize, upto: u32) {
        if self.level > 0 && self.exp_stat_sn[conn] != upto && StatSn(self.exp_stat_sn[conn]).lt(StatSn(upto)) {
            let from = self.exp_stat_sn[conn];
            let ahead: Vec<u32> = (from..upto).filter(|sn| !self.ahead[conn].contains_key(sn)).collect();
            for sn in ahead {
                self.snack(conn, SnackType::STATUS, Itt::RESERVED, Ttt::RESERVED, sn, 1);
            }
        }
    }

    fn snack(&mut self, conn: usize, kind: SnackType, itt: Itt, ttt: Ttt, beg_run: u32, run_len: u32) {
        let lun = Lun::flat(0);
        self.send(conn, SnackRequest { kind, lun, itt, ttt, exp_stat_sn: StatSn(0), beg_run, run_len }, Vec::new());
    }

    fn ping(&mut self, conn: usize, ttt: Ttt) {
        let nop = NopOut {
            immediate_delivery: true,
            data_segment_len: 0,
            lun: Lun::flat(0),
            itt: if ttt.is_reserved() { Itt(0x8000_0000 | self.itt) } else { Itt::RESERVED },
            ttt,
            cmd_sn: CmdSn(self.cmd_sn),
            exp_stat_sn: StatSn(0),
        };
        self.itt += 1;
        self.send(conn, nop, Vec::new());
    }

    /// The command that a PDU belongs to. A PDU on the new connection of a command may come before the response to TASK
    /// REASSIGN, if that was lost and has to be sent again.
    fn find(&self, conn: usize, itt: u32) -> Option<usize> {
        let ours = |c: &Command| c.itt == itt && c.conn == conn && (c.allegiant || c.reassign.is_some());
        self.open.iter().position(ours)
    }

    fn data_in(&mut self, conn: usize, p: &DataIn, data: Vec<u8>) {
        let now_ms = self.now_ms;
        let Some(n) = self.find(conn, p.itt.0) else { return };
        let c = &mut self.open[n];
        let sn = p.data_sn.0 as usize;
        if c.seen.len() <= sn {
            c.seen.resize(sn + 1, false);
        }
        c.since_ms = now_ms;
        c.seen[sn] = true;
        c.data.insert(p.buffer_offset, data);
        if self.level == 0 && !self.open[n].seen.iter().all(|s| *s) {
            return self.cut(conn);
        }
        if p.acknowledge && self.open[n].seen.iter().all(|s| *s) {
            self.open[n].acked = (p.data_sn.0 + 1, p.buffer_offset + p.data_segment_len);
            self.snack(conn, SnackType::DATA_ACK, Itt::RESERVED, p.ttt, p.data_sn.0 + 1, 0);
        }
        self.finish(n, false);
    }

    fn ready(&mut self, conn: usize, p: &R2t) {
        let now_ms = self.now_ms;
        let Some(n) = self.find(conn, p.itt.0) else { return };
        let c = &mut self.open[n];
        c.since_ms = now_ms;
        let all = fill(c.index, true);
        let (mut at, end) = (p.buffer_offset, p.buffer_offset + p.desired_len_bytes);
        let mut data_sn = 0;
        while at < end {
            let len = (end - at).min(1024);
            let pdu = DataOut {
                is_final: at + len == end,
                data_segment_len: 0,
                lun: p.lun,
                itt: p.itt,
                ttt: p.ttt,
                exp_stat_sn: StatSn(0),
                data_sn: DataSn(data_sn),
                buffer_offset: at,
            };
            self.send(conn, pdu, all[at as usize..(at + len) as usize].to_vec());
            at += len;
            data_sn += 1;
        }
    }

    fn status(
        &mut self,
        conn: usize,
        stat_sn: u32,
        itt: u32,
        status: u8,
        exp_data_sn: Option<u32>,
    ) -> Result<(), String> {
        let again = StatSn(stat_sn).lt(StatSn(self.exp_stat_sn[conn])) || self.ahead[conn].contains_key(&stat_sn);
        let Some(n) = self.find(conn, itt) else {
            if !again && self.up[conn] && self.level > 0 {
                return Err(format!("status of tag {itt}, which waits for none"));
            }
            self.numbered(conn, stat_sn);
            return Ok(());
        };
        if status != 0 && self.level > 0 {
            return Err(format!("tag {itt} ends with status {status}"));
        }
        if status != 0 {
            // A lost Data-Out, at level 0: the command is issued again.
            self.numbered(conn, stat_sn);
            let itt = self.open[n].itt;
            self.reissue(|c| c.itt == itt);
            return Ok(());
        }
        if self.open[n].status.is_some() && !again {
            return Err(format!("tag {itt} is answered twice"));
        }
        let c = &mut self.open[n];
        c.status = Some(stat_sn);
        if let Some(sns) = exp_data_sn.filter(|_| !c.write) {
            c.seen.resize(sns as usize, false);
        }
        self.ahead[conn].insert(stat_sn, ());
        if self.level == 0 && stat_sn != self.exp_stat_sn[conn] {
            self.cut(conn);
            return Ok(());
        }
        self.gap(conn, stat_sn);
        self.finish(n, true);
        Ok(())
    }

    /// Ends a command whose status and data are there, and acknowledges what may be acknowledged. With `ask`, data that
    /// is missing is asked for.
    fn finish(&mut self, n: usize, ask: bool) {
        let (conn, itt) = (self.open[n].conn, self.open[n].itt);
        let c = &self.open[n];
        if c.status.is_some() {
            let holes: Vec<u32> =
                c.seen.iter().enumerate().filter(|(_, seen)| !**seen).map(|(sn, _)| sn as u32).collect();
            if self.level == 0 && !holes.is_empty() {
                return self.cut(conn);
            }
            if holes.is_empty() {
                let c = self.open.swap_remove(n);
                let whole: Vec<u8> = c.data.values().flatten().copied().collect();
                let right = c.write || whole == fill(c.index, false);
                *self.answered.entry(c.index).or_default() += if right { 1 } else { 1000 };
            } else if ask {
                for sn in holes {
                    self.snack(conn, SnackType::DATA_R2T, Itt(itt), Ttt::RESERVED, sn, 1);
                }
            }
        }
        let waiting: Vec<u32> = self.open.iter().filter(|c| c.conn == conn).filter_map(|c| c.status).collect();
        while let Some((&sn, ())) = self.ahead[conn].first_key_value() {
            if sn != self.exp_stat_sn[conn] || waiting.contains(&sn) {
                break;
            }
            self.ahead[conn].remove(&sn);
            self.exp_stat_sn[conn] = sn.wrapping_add(1);
        }
    }

    /// Looks after the commands that make no progress: sends them again or asks for what is missing of them, and
    /// reassigns those whose connection was cut.
    fn look_after(&mut self) {
        for n in 0..self.open.len() {
            let Some(c) = self.open.get(n) else { return };
            if c.cmd_sn == 0 {
                continue;
            }
            if !c.allegiant {
                if self.level == 2 && (c.reassign.is_none() || self.now_ms > c.since_ms + PATIENCE_MS) {
                    self.reassign(n);
                }
                continue;
            }
            if self.now_ms > c.since_ms + PATIENCE_MS {
                let conn = c.conn;
                self.open[n].since_ms = self.now_ms;
                if self.level == 0 {
                    // Something is lost for good.
                    self.cut(conn);
                    continue;
                }
                if self.open[n].status.is_some() {
                    self.finish(n, true);
                } else {
                    self.send_command(n);
                }
                self.ping(conn, Ttt::RESERVED);
            }
        }
    }

    /// Reassigns a command whose connection was cut and is up again. The login of the new one was the implicit Logout
    /// of the old one.
    fn reassign(&mut self, n: usize) {
        let Some(conn) = (0..CONNECTIONS).find(|c| self.up[*c]).filter(|_| self.up[self.open[n].conn]) else { return };
        let (itt, now_ms) = (self.itt, self.now_ms);
        self.itt += 1;
        let c = &mut self.open[n];
        (c.reassign, c.since_ms, c.conn) = (Some(itt), now_ms, conn);
        //= RFC 7143 section 11.5.6
        //# The
        //# initiator MUST discard any data PDUs from the previous execution that
        //# it did not acknowledge
        let (exp_data_sn, upto) = c.acked;
        c.data.retain(|offset, _| *offset < upto);
        c.seen.truncate(exp_data_sn as usize);
        c.status = None;
        let referenced_task_tag = Itt(c.itt);
        self.note(format!("reassign {referenced_task_tag:?} to {conn}"));
        let request = TaskManagementRequest {
            immediate_delivery: true,
            function: TmFunction::TASK_REASSIGN,
            lun: Lun::flat(0),
            itt: Itt(itt),
            referenced_task_tag,
            cmd_sn: CmdSn(self.cmd_sn),
            exp_stat_sn: StatSn(0),
            ref_cmd_sn: CmdSn(0),
            exp_data_sn,
        };
        self.send(conn, request, Vec::new());
    }

    fn reassigned(&mut self, itt: u32, response: TmResponse) {
        let Some(n) = self.open.iter().position(|c| c.reassign == Some(itt)) else { return };
        self.note(format!("reassignment of {} : {response:?}", self.open[n].itt));
        let now_ms = self.now_ms;
        let c = &mut self.open[n];
        (c.reassign, c.since_ms) = (None, now_ms);
        match response {
            TmResponse::FUNCTION_COMPLETE => c.allegiant = true,
            // The target never saw it: the number is a gap, which is plugged by sending it again.
            TmResponse::TASK_DOES_NOT_EXIST => {
                c.allegiant = true;
                self.send_command(n);
            }
            _ => {}
        }
    }

    /// How often each command was answered; data that was wrong counts 1000.
    pub fn answers(&self) -> impl Iterator<Item = u32> + '_ {
        self.answered.values().copied()
    }
}
