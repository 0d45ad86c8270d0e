//! A session: its connections, its window and its commands.
//!
//! A driver gives each command a place, a number below the depth of the session: whatever happens to the command comes under
//! that number. Nothing is allocated for a command once its place has been used, unless its CDB is a long one or something
//! is recovered.

use super::command::Command;
use super::event::TaskIx;
use super::login::LoggedIn;
use super::numbers::{Statuses, Window};
use super::outbox::{Outbox, Outgoing, Payload};
use super::params::Params;
use super::stamp::Stamp;
use super::task::Task;
use crate::wire::{Cid, CmdSn, Itt, Lun, Pdu, StatSn, Tsih, Ttt};
use std::ops::Range;

/// Tags of requests that have no place among the commands.
const OTHER_TAGS: u32 = 0xff00_0000;
/// How many of them there are; 0xffffffff is not among them.
const OTHER_TAG_COUNT: u32 = 0x00ff_0000;

/// A connection of a session.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) cid: Cid,
    pub(super) is_up: bool,
    pub(super) params: Params,
    pub(super) statuses: Statuses,
}

/// Why a command was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The session has no such connection, or it is down.
    #[error("there is no such connection")]
    NoConnection,
    /// The place is taken, or beyond the depth of the session.
    #[error("the place for the command is taken, or there is none")]
    Taken,
    /// The target takes no more commands for now.
    #[error("the command window is closed")]
    WindowClosed,
}

/// A session in full feature phase.
#[derive(Debug)]
pub struct Session {
    /// What is agreed upon, but for digests and segment lengths, which each connection has its own of.
    params: Params,
    tsih: Tsih,
    /// CmdSN and the target's window. A test that wants them wrong sets them.
    pub window: Window,
    /// Of what a command may send without being asked, immediate data among that, so much is sent at most.
    pub unasked_bytes: u32,
    /// A Data-Out has at most this many bytes, and at most what the target takes.
    pub data_out_bytes: u32,
    pub(super) now_ms: u64,
    pub(super) tasks: Vec<Task>,
    pub(super) connections: Vec<Connection>,
    other_tags: u32,
}

impl Session {
    /// A session with the connection that has just logged in, of at most `depth` commands at a time.
    pub fn new(leading: &LoggedIn, cmd_sn: CmdSn, depth: u16) -> Session {
        let mut window = Window::new(cmd_sn);
        window.update(leading.exp_cmd_sn, leading.max_cmd_sn);
        let mut session = Session {
            params: leading.params,
            tsih: leading.tsih,
            window,
            unasked_bytes: u32::MAX,
            data_out_bytes: u32::MAX,
            now_ms: 0,
            tasks: (0..depth).map(|_| Task::free()).collect(),
            connections: Vec::new(),
            other_tags: 0,
        };
        session.connect(leading);
        session
    }

    /// Puts a connection of the session into service: a further one, or one in the place of another of the same CID.
    pub(super) fn connect(&mut self, new: &LoggedIn) {
        //= RFC 7143 section 13
        //# Some session-specific parameters MUST only be carried on the leading
        //# connection and cannot be changed after the leading connection login
        let own = new.params;
        let params = Params { digests: own.digests, target_max_recv_bytes: own.target_max_recv_bytes, ..self.params };
        self.window.update(new.exp_cmd_sn, new.max_cmd_sn);
        self.connections.retain(|connection| connection.cid != new.cid);
        let statuses = Statuses::new(new.exp_stat_sn);
        self.connections.push(Connection { cid: new.cid, is_up: true, params, statuses });
    }

    /// What is agreed upon for the session.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The target's handle of the session, with which further connections join it.
    pub fn tsih(&self) -> Tsih {
        self.tsih
    }

    /// The time, in milliseconds from any moment on. Only [`Session::look_after`] and [`Session::is_stuck`] ask for it.
    pub fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// The connections that are up.
    pub fn connections(&self) -> impl Iterator<Item = Cid> + '_ {
        self.connections.iter().filter(|connection| connection.is_up).map(|connection| connection.cid)
    }

    /// ExpStatSN of a connection: what it acknowledges.
    pub fn exp_stat_sn(&self, cid: Cid) -> Option<StatSn> {
        self.connection(cid).map(|connection| connection.statuses.exp_stat_sn())
    }

    /// A place that no command has.
    pub fn free_place(&self) -> Option<TaskIx> {
        self.tasks.iter().position(|task| task.itt.is_none()).map(|ix| TaskIx(ix as u16))
    }

    /// The tag of the command at a place.
    pub fn itt(&self, ix: TaskIx) -> Option<Itt> {
        self.task(ix).and_then(|task| task.itt)
    }

    #[inline]
    pub(super) fn connection(&self, cid: Cid) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.cid == cid)
    }

    #[inline]
    pub(super) fn connection_mut(&mut self, cid: Cid) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.cid == cid)
    }

    #[inline]
    pub(super) fn task(&self, ix: TaskIx) -> Option<&Task> {
        self.tasks.get(usize::from(ix.0))
    }

    #[inline]
    pub(super) fn task_mut(&mut self, ix: TaskIx) -> Option<&mut Task> {
        self.tasks.get_mut(usize::from(ix.0))
    }

    /// Whether anything is recovered within the session.
    #[inline]
    pub(super) fn has_recovery(&self) -> bool {
        self.params.error_recovery_level > 0
    }

    /// A tag for a request that is no command.
    pub(super) fn other_tag(&mut self) -> Itt {
        self.other_tags = (self.other_tags + 1) % OTHER_TAG_COUNT;
        Itt(OTHER_TAGS | self.other_tags)
    }

    /// Sends a PDU that has no data of a command.
    pub(super) fn send(&self, cid: Cid, pdu: impl Into<Pdu>, data: &[u8], out: &mut impl Outbox) {
        let pdu = pdu.into();
        out.pdu(&Outgoing::made(cid, |bhs| pdu.emit(bhs), &[], Payload::Bytes(data)));
    }

    /// Sends a command by a connection, with the data that need not be asked for. `ix` is the driver's number for it.
    ///
    /// # Errors
    /// [`Refused`]: nothing was sent.
    #[inline]
    pub fn issue(
        &mut self,
        cid: Cid,
        ix: TaskIx,
        command: &Command<'_>,
        out: &mut impl Outbox,
    ) -> Result<Itt, Refused> {
        let (has_recovery, now_ms) = (self.has_recovery(), self.now_ms);
        let connection = self.connection(cid).filter(|connection| connection.is_up).ok_or(Refused::NoConnection)?;
        let (exp_stat_sn, unasked) =
            (connection.statuses.exp_stat_sn(), connection.params.unsolicited(command.write_bytes));
        if !command.immediate_delivery && self.window.room() == 0 {
            return Err(Refused::WindowClosed);
        }
        let task = self.tasks.get_mut(usize::from(ix.0)).filter(|task| task.itt.is_none()).ok_or(Refused::Taken)?;
        let itt = task.tag(ix);
        let stamp = Stamp { cmd_sn: self.window.take(command.immediate_delivery), exp_stat_sn };
        let (immediate, unsolicited) = (unasked.0.min(self.unasked_bytes), unasked.1.min(self.unasked_bytes));
        task.command = command.pdu(itt, stamp.cmd_sn, exp_stat_sn, unsolicited == immediate);
        task.ahs.clear();
        if command.has_ahs() {
            command.write_ahs(&mut task.ahs);
        }
        (task.cid, task.is_allegiant, task.since_ms) = (cid, true, now_ms);
        (task.read_bytes, task.write_bytes, task.data) = (command.read_bytes, command.write_bytes, command.data);
        task.unasked = (immediate, unsolicited);
        task.reset(has_recovery);
        let payload = if immediate > 0 { Payload::Data { at: task.data, len: immediate } } else { Payload::None };
        out.pdu(&Outgoing::made(cid, |bhs| task.command.emit(bhs), &task.ahs, payload));
        if immediate < unsolicited {
            self.send_unsolicited(ix, out);
        }
        Ok(itt)
    }

    fn send_unsolicited(&self, ix: TaskIx, out: &mut impl Outbox) {
        let Some(task) = self.task(ix) else { return };
        let (immediate, unsolicited) = task.unasked;
        self.send_data(task, (Ttt::RESERVED, Lun::default()), immediate..unsolicited, out);
    }

    /// Sends the command at a place once more, as it is.
    pub(super) fn send_again(&self, ix: TaskIx, out: &mut impl Outbox) {
        let Some(task) = self.task(ix) else { return };
        let mut pdu = task.command;
        pdu.exp_stat_sn = self.exp_stat_sn(task.cid).unwrap_or(pdu.exp_stat_sn);
        let (immediate, _) = task.unasked;
        let payload = if immediate > 0 { Payload::Data { at: task.data, len: immediate } } else { Payload::None };
        out.pdu(&Outgoing::made(task.cid, |bhs| pdu.emit(bhs), &task.ahs, payload));
        self.send_unsolicited(ix, out);
    }

    /// Sends a stretch of what a command writes, in as many PDUs as it takes. `to`: tag and LUN of the R2T.
    #[inline]
    pub(super) fn send_data(&self, task: &Task, to: (Ttt, Lun), range: Range<u32>, out: &mut impl Outbox) {
        let Some(connection) = self.connection(task.cid) else { return };
        let longest = connection.params.target_max_recv_bytes.min(self.data_out_bytes).max(1);
        let stamp = Stamp { cmd_sn: self.window.cmd_sn, exp_stat_sn: connection.statuses.exp_stat_sn() };
        let (mut offset, mut data_sn) = (range.start, 0);
        while offset < range.end {
            let len = (range.end - offset).min(longest);
            //= RFC 7143 section 11.8
            //# If the R2T is answered with a sequence of data PDUs, the buffer offset
            //# and length MUST be within the range of those specified by the R2T, and
            //# the last PDU MUST have the F bit set to 1.
            let pdu = stamp.data_out(task.command.itt, to, data_sn, offset, offset + len == range.end);
            let payload = Payload::Data { at: task.data.advanced(offset), len };
            out.pdu(&Outgoing::made(task.cid, |bhs| pdu.emit(bhs), &[], payload));
            offset += len;
            data_sn += 1;
        }
    }
}
