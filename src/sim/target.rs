//! Login, session and a model disk, driven by packets: what the shard is to a server, for one session.
//!
//! The disk is one logical unit (LUN 0) of 512-byte blocks in memory. It knows READ (10), WRITE (10) and TEST UNIT READY;
//! everything else is an invalid operation code. Each step of a command takes the time that [`Target::delay_ms`] allows,
//! drawn from a seed.

use super::{Packet, Peer, Rng};
use crate::model::{IscsiName, Portal, Snapshot, TargetSpec};
use crate::session::directory::SnapshotDirectory;
use crate::session::login::negotiate::Offer;
use crate::session::login::{Login, LoginAnswer, LoginDone, LoginEnv, Step};
use crate::session::params::Params;
use crate::session::seam::{CloseReason, ConnIx, DataRef, Dest, Event, Outbox, Payload, TaskId, TmRequest};
use crate::session::{
    ConnectionInit, DataInEnd, Direction, Ending, Session, SessionInit, SessionKind, TextHandler, TextStep,
};
use crate::wire::{BHS_LEN, Bhs, LoginRequest, LoginStatus, TextRequest, TmFunction, TmResponse, Tsih, Ttt, bhs};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// The iSCSI name of the target.
pub const NAME: &str = "iqn.2001-04.com.example:disk";
/// Bytes of a logical block.
pub const BLOCK_BYTES: u32 = 512;
/// Bytes of read data that are handed to the session at a time.
const SLICE_BYTES: u32 = 24 << 10;
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3260);

enum Phase {
    Login(Box<Login>),
    Full(ConnIx),
    Closed,
}

/// What a command does to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Read { base: u32, total: u32 },
    Write { base: u32, total: u32 },
}

struct Work {
    deed: Deed,
    data: Vec<u8>,
}

enum Job {
    Slice(TaskId, u32),
    Store(TaskId),
    Release(TaskId),
    Manage(TmRequest),
    Resend { task: TaskId, offset: u32, len: u32 },
}

/// A target of one session with a disk in memory. It acts only when it is sent something or time is let pass.
pub struct Target {
    /// What it wants in negotiations.
    pub offer: Offer,
    /// The blocks.
    pub disk: Vec<u8>,
    /// The session, once there is one.
    pub session: Option<Session>,
    /// Steps of a command take up to this long, milliseconds.
    pub delay_ms: u64,
    /// Every write that reached the disk: offset and length, bytes.
    pub writes: Vec<(u32, u32)>,
    /// Why the session ended, if it has.
    pub ended: Option<CloseReason>,
    directory: SnapshotDirectory,
    connections: Vec<Phase>,
    /// The connection number of each slot of the session; `usize::MAX`: none.
    routes: Vec<usize>,
    out: Vec<Packet>,
    work: HashMap<u32, Work>,
    early: HashMap<u32, Vec<u8>>,
    jobs: Vec<(u64, u64, Job)>,
    serial: u64,
    rng: Rng,
    now_ms: u64,
    last_tsih: u16,
}

/// The [`Outbox`] of the session: makes packets of its PDUs, with read data from the disk.
pub struct Tray<'a> {
    routes: &'a [usize],
    disk: &'a [u8],
    out: &'a mut Vec<Packet>,
}

impl Outbox for Tray<'_> {
    fn pdu(&mut self, conn: ConnIx, header: &Bhs, payload: Payload<'_>) {
        let Some(&conn) = self.routes.get(usize::from(conn.0)) else { return };
        let data = match payload {
            Payload::None => Vec::new(),
            Payload::Bytes(bytes) => bytes.to_vec(),
            Payload::Data { at, len } => {
                let at = at.0 as usize;
                self.disk.get(at..at + len as usize).unwrap_or(&[]).to_vec()
            }
        };
        assert_eq!(bhs::data_segment_len(header), data.len(), "DataSegmentLength");
        self.out.push(Packet::new(conn, header, data));
    }
}

/// Answers each Text Request with an empty final response.
struct NoText;

impl TextHandler for NoText {
    fn text(
        &mut self,
        _: &SessionInit,
        _: &mut Params,
        _: ConnIx,
        _: &TextRequest,
        _: &[u8],
        _: &mut Vec<u8>,
    ) -> TextStep {
        TextStep::Answer { is_final: true, cont: false, ttt: Ttt::RESERVED }
    }
}

impl Target {
    /// A target whose disk has `blocks` blocks of zeroes. `seed` decides how long each step takes.
    pub fn new(offer: Offer, blocks: u32, seed: u64) -> Target {
        let name = IscsiName::new(NAME).into_iter().collect::<Vec<_>>();
        let targets = name.into_iter().map(|name| TargetSpec::new(name, None, Vec::new())).collect();
        let portals = vec![Portal { listen: ADDRESS, advertise: None, group_tag: 1 }];
        let snapshot = Snapshot { portals, targets, ..Snapshot::default() };
        Target {
            offer,
            disk: vec![0; (blocks * BLOCK_BYTES) as usize],
            session: None,
            delay_ms: 0,
            writes: Vec::new(),
            ended: None,
            directory: SnapshotDirectory::new(Arc::new(snapshot)),
            connections: Vec::new(),
            routes: vec![usize::MAX; 32],
            out: Vec::new(),
            work: HashMap::new(),
            early: HashMap::new(),
            jobs: Vec::new(),
            serial: 0,
            rng: Rng(seed),
            now_ms: 1000,
            last_tsih: 0,
        }
    }

    fn tray<'a>(routes: &'a [usize], disk: &'a [u8], out: &'a mut Vec<Packet>) -> Tray<'a> {
        Tray { routes, disk, out }
    }

    /// Runs `act` on the session, then handles what it asks for.
    pub fn with_session(&mut self, act: impl FnOnce(&mut Session, &mut Tray<'_>)) {
        let Some(session) = self.session.as_mut() else { return };
        let mut tray = Self::tray(&self.routes, &self.disk, &mut self.out);
        act(session, &mut tray);
        self.events();
    }

    fn later(&mut self, job: Job) {
        let due = self.now_ms + self.rng.below(self.delay_ms + 1);
        self.serial += 1;
        self.jobs.push((due, self.serial, job));
    }

    fn login(&mut self, packet: &Packet) {
        let Some(Phase::Login(login)) = self.connections.get_mut(packet.conn) else { return };
        let Ok(request) = LoginRequest::parse(&packet.bhs) else {
            let refused = login.has_begun().then(|| login.not_a_login(&packet.bhs));
            if let Some(Step::Refuse { answer, .. }) = refused {
                self.answer_login(packet.conn, &answer);
            }
            return self.close(packet.conn);
        };
        let mut random = |bytes: &mut [u8]| bytes.fill(7);
        let mut env = LoginEnv {
            directory: &self.directory,
            portal: ADDRESS,
            peer: ADDRESS,
            random: &mut random,
            offer: &self.offer,
        };
        match login.request(&request, &packet.data, &mut env) {
            Step::Answer(answer) => self.answer_login(packet.conn, &answer),
            Step::Refuse { answer, .. } => {
                self.answer_login(packet.conn, &answer);
                self.close(packet.conn);
            }
            Step::Done(done) => self.logged_in(packet.conn, *done),
        }
    }

    fn answer_login(&mut self, conn: usize, answer: &LoginAnswer) {
        let mut header = [0; BHS_LEN];
        answer.response.emit(&mut header);
        self.out.push(Packet::new(conn, &header, answer.text.clone()));
    }

    fn logged_in(&mut self, conn: usize, done: LoginDone) {
        let init =
            ConnectionInit { cid: done.cid, params: done.params, stat_sn: done.next_stat_sn, exp_cmd_sn: done.cmd_sn };
        let mut answer = done.answer.clone();
        let ix = if done.tsih == Tsih(0) {
            if let Some(mut old) = self.session.take() {
                old.end(CloseReason::Reinstated);
                self.session = Some(old);
                self.events();
            }
            self.last_tsih += 1;
            (self.ended, self.jobs) = (None, Vec::new());
            self.work.clear();
            self.early.clear();
            let init_session = SessionInit {
                initiator: done.initiator.clone(),
                target_name: done.target.as_ref().map(|t| t.name.clone()),
                target_portal_group: done.portal_group,
                tsih: Tsih(self.last_tsih),
                kind: SessionKind::Normal,
                params: done.params,
            };
            let (session, ix) = Session::new(init_session, init, self.now_ms);
            self.session = Some(session);
            answer.response.tsih = Tsih(self.last_tsih);
            Some(ix)
        } else {
            let ours = done.tsih == Tsih(self.last_tsih) && self.ended.is_none();
            let session = self.session.as_mut().filter(|_| ours);
            session.and_then(|s| {
                let ix = s.add_connection(init, self.now_ms).ok()?;
                s.stamp_login(&mut answer.response);
                Some(ix)
            })
        };
        let Some(ix) = ix else {
            self.answer_login(conn, &done.refuse(LoginStatus::SESSION_DOES_NOT_EXIST));
            return self.close(conn);
        };
        self.answer_login(conn, &answer);
        self.routes[usize::from(ix.0)] = conn;
        self.connections[conn] = Phase::Full(ix);
        self.events();
    }

    fn close(&mut self, conn: usize) {
        if let Some(phase) = self.connections.get_mut(conn) {
            *phase = Phase::Closed;
        }
        self.routes.iter_mut().filter(|c| **c == conn).for_each(|c| *c = usize::MAX);
    }

    fn events(&mut self) {
        while let Some(event) = self.session.as_mut().and_then(Session::next_event) {
            match event {
                Event::Execute(task) => self.execute(task),
                Event::DataOut { task, received_bytes } => {
                    let full = self
                        .work
                        .get(&task.0)
                        .is_some_and(|w| matches!(w.deed, Deed::Write { total, .. } if received_bytes >= total));
                    if full {
                        self.later(Job::Store(task));
                    }
                }
                Event::Resend { task, offset, len } => {
                    // Resends have to be answered in their order, so none is due before the one that was asked for
                    // last.
                    let last = self.jobs.iter().filter(|(_, _, job)| matches!(job, Job::Resend { .. }));
                    let last = last.map(|(due, ..)| *due).max().unwrap_or(0);
                    self.later(Job::Resend { task, offset, len });
                    if let Some((due, ..)) = self.jobs.last_mut() {
                        *due = last.max(*due);
                    }
                }
                Event::Abort(task) => self.later(Job::Release(task)),
                // The model disk has no unit attentions.
                Event::Cleared { .. } => {}
                Event::TaskManagement(request) => self.later(Job::Manage(request)),
                Event::Close { conn, .. } => {
                    let conn = self.routes.get(usize::from(conn.0)).copied().unwrap_or(usize::MAX);
                    self.close(conn);
                }
                Event::Ended { reason } => {
                    self.ended = Some(reason);
                    (0..self.connections.len()).for_each(|conn| {
                        if matches!(self.connections.get(conn), Some(Phase::Full(_))) {
                            self.close(conn);
                        }
                    });
                }
            }
        }
    }

    fn execute(&mut self, task: TaskId) {
        let Some(session) = self.session.as_mut() else { return };
        let command = session.command(task);
        let (cdb, edtl, received) =
            (command.cdb.for_device_server().to_vec(), command.edtl_bytes, command.received_bytes);
        let word = |at: usize| cdb.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        let half = |at: usize| cdb.get(at..at + 2).map_or(0, |b| u32::from(u16::from_be_bytes([b[0], b[1]])));
        let base = word(2).saturating_mul(BLOCK_BYTES);
        let total = (half(7) * BLOCK_BYTES).min(edtl);
        let mut tray = Self::tray(&self.routes, &self.disk, &mut self.out);
        let inside = (base as usize).saturating_add(total as usize) <= self.disk.len();
        match cdb.first() {
            Some(0x00) => session.complete(task, Ending::new(0, &[]), 0, Direction::None, &mut tray),
            Some(0x28) if inside && total > 0 => {
                self.work.insert(task.0, Work { deed: Deed::Read { base, total }, data: Vec::new() });
                self.later(Job::Slice(task, 0));
            }
            Some(0x2a) if inside && total > 0 => {
                let mut data = self.early.remove(&task.0).unwrap_or_default();
                data.resize(total as usize, 0);
                self.work.insert(task.0, Work { deed: Deed::Write { base, total }, data });
                session.want_data_out(task, total, &mut tray);
                if received >= total {
                    self.later(Job::Store(task));
                }
            }
            _ => {
                let sense = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0];
                session.complete(task, Ending::new(2, &sense), 0, Direction::None, &mut tray);
            }
        }
    }

    fn run(&mut self, job: Job) {
        let Some(session) = self.session.as_mut() else { return };
        let mut tray = Self::tray(&self.routes, &self.disk, &mut self.out);
        match job {
            Job::Slice(task, offset) => {
                let Some(Work { deed: Deed::Read { base, total }, .. }) = self.work.get(&task.0) else { return };
                let len = SLICE_BYTES.min(total - offset);
                let last = offset + len == *total;
                let end = last.then_some(DataInEnd { transfer_bytes: u64::from(*total) });
                session.data_in(task, offset, len, DataRef(u64::from(base + offset)), end, &mut tray);
                if !last {
                    self.later(Job::Slice(task, offset + len));
                }
            }
            Job::Store(task) => {
                if !session.is_live(task) {
                    return;
                }
                let Some(Work { deed: Deed::Write { base, total }, data }) = self.work.remove(&task.0) else { return };
                self.writes.push((base, total));
                self.disk[base as usize..(base + total) as usize].copy_from_slice(&data);
                let mut tray = Self::tray(&self.routes, &self.disk, &mut self.out);
                session.complete(task, Ending::new(0, &[]), u64::from(total), Direction::Out, &mut tray);
            }
            Job::Release(task) => {
                self.work.remove(&task.0);
                self.early.remove(&task.0);
                session.released(task, &mut tray);
            }
            Job::Manage(request) => {
                let known = request.lun.number() == Some(0)
                    || matches!(request.function, TmFunction::TARGET_WARM_RESET | TmFunction::TARGET_COLD_RESET);
                let response = if known { TmResponse::FUNCTION_COMPLETE } else { TmResponse::LUN_DOES_NOT_EXIST };
                session.tm_complete(request.id, response, &mut tray);
            }
            Job::Resend { task, offset, len } => self.resend(task, offset, len),
        }
        self.events();
    }

    fn resend(&mut self, task: TaskId, offset: u32, len: u32) {
        let Some(session) = self.session.as_mut() else { return };
        let deed = self.work.get(&task.0).map(|w| w.deed);
        let data = match deed {
            Some(Deed::Read { base, total }) if offset + len <= total => Some(DataRef(u64::from(base + offset))),
            _ => None,
        };
        let mut tray = Self::tray(&self.routes, &self.disk, &mut self.out);
        session.resend(task, offset, len, data, &mut tray);
    }

    /// Runs what is due.
    fn turn(&mut self) {
        loop {
            let due = self.jobs.iter().enumerate().filter(|(_, (due, ..))| *due <= self.now_ms);
            let Some((n, _)) = due.min_by_key(|(_, (due, serial, _))| (*due, *serial)) else { return };
            let (_, _, job) = self.jobs.swap_remove(n);
            self.run(job);
        }
    }

    fn put(&mut self, task: TaskId, offset: u32, data: &[u8]) {
        let place = match self.work.get_mut(&task.0) {
            Some(work) => &mut work.data,
            None => self.early.entry(task.0).or_default(),
        };
        let end = offset as usize + data.len();
        if place.len() < end {
            place.resize(end, 0);
        }
        place[offset as usize..end].copy_from_slice(data);
    }
}

impl Peer for Target {
    fn open(&mut self, conn: usize) {
        while self.connections.len() <= conn {
            self.connections.push(Phase::Closed);
        }
        self.connections[conn] = Phase::Login(Box::new(Login::new(self.now_ms)));
    }

    fn cut(&mut self, conn: usize) {
        if let Some(Phase::Full(ix)) = self.connections.get(conn) {
            let ix = *ix;
            self.close(conn);
            if let Some(session) = self.session.as_mut() {
                session.connection_lost(ix, CloseReason::Disconnected);
            }
            self.events();
        }
        self.close(conn);
        self.out.retain(|packet| packet.conn != conn);
    }

    fn send(&mut self, packet: Packet) {
        let ix = match self.connections.get(packet.conn) {
            Some(Phase::Login(_)) => return self.login(&packet),
            Some(Phase::Full(ix)) => *ix,
            _ => return,
        };
        let Some(session) = self.session.as_mut() else { return };
        let mut tray = Self::tray(&self.routes, &self.disk, &mut self.out);
        let dest = session.begin(ix, &packet.bhs, &packet.ahs, packet.data.len(), &mut tray);
        if let Dest::Task { task, offset } = dest {
            // As in a server, data is in its place before its digest is known.
            self.put(task, offset, &packet.data);
        }
        let Some(session) = self.session.as_mut() else { return };
        let mut tray = Self::tray(&self.routes, &self.disk, &mut self.out);
        let gathered = if dest == Dest::Gather { packet.data.as_slice() } else { &[] };
        let now_ms = self.now_ms;
        let task =
            session.finish(now_ms, ix, &packet.bhs, &packet.ahs, gathered, packet.intact, &mut tray, &mut NoText);
        if let (Dest::Immediate { .. }, Some(task)) = (dest, task) {
            self.put(task, 0, &packet.data);
        }
        self.events();
        self.turn();
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            let job = self.jobs.iter().map(|(due, ..)| *due).min().unwrap_or(u64::MAX);
            let timer = self.session.as_ref().map_or(u64::MAX, Session::next_deadline_ms);
            let next = job.min(timer).max(self.now_ms + 1);
            if job <= self.now_ms {
                self.turn();
                continue;
            }
            if next > end {
                break;
            }
            self.now_ms = next;
            if let Some(session) = self.session.as_mut() {
                let mut tray = Self::tray(&self.routes, &self.disk, &mut self.out);
                session.tick(next, &mut tray);
            }
            self.events();
            self.turn();
        }
        self.now_ms = end;
    }

    fn receive(&mut self) -> Vec<Packet> {
        self.turn();
        std::mem::take(&mut self.out)
    }

    fn is_closed(&self, conn: usize) -> bool {
        matches!(self.connections.get(conn), None | Some(Phase::Closed))
    }
}
