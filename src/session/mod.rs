//! RFC 7143: login, the CmdSN window, tasks, data transfer, task management, recovery. Sans-I/O.
//!
//! [`Session`] is the full feature phase of one session with all its connections. The shard feeds it the headers that
//! arrive ([`Session::begin`]), then the PDUs once their data segment is in ([`Session::finish`]); it takes events
//! ([`Session::next_event`]) and gives back data and status ([`Session::data_in`], [`Session::complete`],
//! [`Session::want_data_out`]). PDUs to be sent go to an [`Outbox`]. Time is an argument. No LUN data passes through here,
//! no CDB is decoded (but `data_in` recognises PREEMPT AND ABORT), and a command without AHS allocates nothing on its
//! usual way, once its session has slots enough.
//!
//! | file | rules |
//! |---|---|
//! | `window` | CmdSN: what is delivered, held, ignored; MaxCmdSN |
//! | `stamp` | StatSN, ExpCmdSN, MaxCmdSN in PDUs |
//! | `task`, `task_command`, `management` | the slab of tasks; what they are |
//! | `command`, `deliver` | requests: checks, order, delivery |
//! | `data_in`, `residual`, `data_out` | Data-In, responses; residuals; R2T, Data-Out |
//! | `tmf`, `abort` | task management; how tasks end before their time |
//! | `nop`, `logout` | pings and timers; the ends of connections |
//! | `recovery`, `resend`, `lost` | what is kept to be sent again; SNACK; tasks without a connection |
//! | `store` | what all sessions of a core keep together |
//! | `fence`, `announce` | response order across connections; Asynchronous Messages |
//! | `state`, `connection` | chapter 8 as tables; per connection |
//! | `fault`, `refuse` | what is wrong with a PDU or task, and what that comes to |
//!
//! Invariants: MaxCmdSN never grants more than there are free slots; a delivered command is answered or aborted, never
//! both; a slot is free only when the shard has let go of its task. Sessions at ErrorRecoveryLevel 0 do not pay for
//! what serves levels 1 and 2.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod abort;
mod announce;
mod command;
mod connection;
mod data_in;
mod data_out;
mod deliver;
pub mod directory;
mod events;
mod fault;
mod fence;
mod ghosts;
pub mod login;
mod logout;
mod lost;
mod management;
mod nop;
mod ordering;
pub mod params;
mod parts;
mod recovery;
mod refuse;
mod resend;
mod residual;
pub mod seam;
mod stamp;
pub mod state;
mod task;
mod task_command;
pub mod text;
pub mod text_seam;
mod tmf;
mod window;

pub use connection::ConnectionInit;
pub use params::{SessionInit, SessionKind};
pub use seam::{DataInEnd, Direction, Ending};
pub use task_command::{Cdb, TaskCommand};
pub use text_seam::{TextHandler, TextStep};

use crate::canary::{Canary, sings};
use crate::limits::{CONNECTION_SLOTS, CONNECTIONS_PER_SESSION};
use crate::shares::Store;
use crate::wire::{Bhs, Cid, CmdSn, DataOut, Opcode, RejectReason, ScsiCommand, SnackRequest, SnackType, StatSn, bhs};
use connection::Connection;
use events::Events;
use fault::{Fault, TaskFault};
use params::Params;
use parts::{Fence, Lost, Notice, Ordering};
use seam::{CloseReason, ConnIx, Dest, Event, Outbox, TaskId};
use state::{SessionState, SessionStep};
use std::cell::Cell;
use task::{Kind, Slab, State};
use window::Window;

/// The session has as many connections as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has as many connections as were agreed upon")]
pub struct TooMany;

/// A PDU as it came in.
pub(crate) struct Received<'a> {
    conn: ConnIx,
    bhs: &'a Bhs,
    ahs: &'a [u8],
    /// DataSegmentLength.
    data_len: u32,
    /// The data segment, if it was gathered.
    data: &'a [u8],
    /// `begin` had the data segment read over.
    discarded: bool,
}

/// One session in full feature phase.
pub struct Session {
    init: SessionInit,
    state: SessionState,
    window: Window,
    tasks: Slab,
    connections: Vec<Connection>,
    /// Connections added to the session so far; each gets the count as its number.
    added: u32,
    events: Events,
    now_ms: u64,
    /// The last MaxCmdSN that the initiator was told.
    max_cmd_sn_sent: CmdSn,
    /// Open immediate SCSI commands, and open immediate task management functions.
    immediate_commands: usize,
    immediate_managements: usize,
    /// Open task management functions, immediate or not.
    managements: usize,
    /// Aborted tasks may wait for the data of their R2Ts.
    drains: bool,
    /// Data segments of the requests that are held, bytes.
    held_bytes: usize,
    pings: u16,
    text_answer: Vec<u8>,
    /// ErrorRecoveryLevel is above 0: what is sent is kept until it is acknowledged.
    keeps: bool,
    /// Counts what is kept, and the requests that are held, together with those of other sessions.
    store: Store,
    /// Pieces of read data that the shard was asked for again.
    resends: usize,
    /// Where `find_kept` (`resend`) found a response last: slot of the connection, and place among what that keeps.
    found: Cell<(usize, usize)>,
    /// When `tick` looks next for data that does not come.
    scan_ms: u64,
    /// Connections that are gone and whose tasks wait.
    lost: Vec<Lost>,
    fence: Option<Fence>,
    /// `tick` is to look at the fence, or at what waited for it.
    fence_due: bool,
    notices: Vec<Notice>,
    ordering: Ordering,
}

impl Session {
    /// A session whose leading connection has finished its login.
    pub fn new(init: SessionInit, conn: ConnectionInit, now_ms: u64) -> (Session, ConnIx) {
        //= RFC 7143 section 4.2.1
        //# iSCSI targets and initiators MUST support at least one TCP connection
        //# and MAY support several connections in a session.
        let window = Window::new(conn.exp_cmd_sn);
        let connections = vec![Connection::new(&conn, now_ms)];
        //= RFC 7143 section 7.1.5
        //# Implementations MUST support error recovery level "0", while the rest
        //# are OPTIONAL to implement.
        let keeps = init.params.error_recovery_level > 0 && init.kind == SessionKind::Normal;
        let session = Session {
            keeps,
            store: Store::default(),
            resends: 0,
            found: Cell::new((0, 0)),
            scan_ms: 0,
            lost: Vec::new(),
            fence: None,
            fence_due: false,
            notices: Vec::new(),
            ordering: Ordering::default(),
            init,
            state: SessionState::LoggedIn,
            max_cmd_sn_sent: window.max_cmd_sn(),
            window,
            tasks: Slab::new(),
            connections,
            added: 0,
            events: Events::new(),
            now_ms,
            immediate_commands: 0,
            immediate_managements: 0,
            managements: 0,
            drains: false,
            held_bytes: 0,
            pings: 0,
            text_answer: Vec::new(),
        };
        (session, ConnIx(0))
    }

    /// Adds a connection that has finished its login with this session's TSIH. If it reinstates another, of the same CID,
    /// that one is logged out, and comes as [`Event::Close`].
    ///
    /// # Errors
    /// [`TooMany`] if MaxConnections (at ErrorRecoveryLevel 2 at least two, so that one can clean up the other) or
    /// `limits::CONNECTIONS_PER_SESSION` is reached, or the session has ended.
    pub fn add_connection(&mut self, conn: ConnectionInit, now_ms: u64) -> Result<ConnIx, TooMany> {
        let agreed = CONNECTIONS_PER_SESSION.min(usize::from(self.init.params.max_connections));
        //= RFC 7143 section 6.3.4
        //# Targets MUST support
        //# opening a second connection even when they do not support multiple
        //# connections in the Full Feature Phase if ErrorRecoveryLevel is 2 and
        //# SHOULD support opening a second connection if ErrorRecoveryLevel is
        //# less than 2.
        //= RFC 7143 section 4.2.1
        //# For error recovery purposes, targets and initiators that support a
        //# single active connection in a session SHOULD support two connections
        //# during recovery.
        let most = if self.init.params.error_recovery_level >= 2 { agreed.max(2) } else { agreed };
        let others = self.connections.iter().filter(|c| c.state.is_full_feature() && c.cid != conn.cid).count();
        if !matches!(self.state, SessionState::LoggedIn | SessionState::Failed) || others >= most {
            return Err(TooMany);
        }
        self.now_ms = now_ms;
        let params = conn.params.joined_to(&self.init.params);
        let mut connection = Connection::new(&ConnectionInit { params, ..conn }, now_ms);
        self.added += 1;
        connection.number = self.added;
        let free = self.connections.iter().position(|c| !c.state.may_send());
        let ix = match free {
            Some(ix) => ix,
            None if self.connections.len() < CONNECTION_SLOTS => self.connections.len(),
            None => return Err(TooMany),
        };
        let old =
            self.connections().find(|ix| self.connections.get(usize::from(ix.0)).is_some_and(|c| c.cid == conn.cid));
        match self.connections.get_mut(ix) {
            Some(place) => *place = connection,
            None => self.connections.push(connection),
        }
        self.state = self.state.after(&[SessionStep::N7]).after(&[SessionStep::N10]);
        // An initiator that is told now would give up the new one, which has the same number.
        self.notices.retain(|notice| *notice != Notice::Dropped(conn.cid) || sings(Canary::DropSaidLate));
        //= RFC 7143 section 11.14
        //# When a Login Request performs an implicit
        //# Logout, the implicit Logout is performed as if having the reason
        //# codes specified below:
        match old {
            Some(old) => self.close(old, CloseReason::Reinstated),
            None => {
                self.log_out_lost(conn.cid, true);
            }
        }
        Ok(ConnIx(ix as u8))
    }

    /// Has what the session keeps from now on counted in `store`, with what other sessions keep.
    pub fn keep_in(&mut self, store: &Store) {
        self.store = store.clone();
    }

    /// What the login left behind.
    pub fn init(&self) -> &SessionInit {
        &self.init
    }

    /// The connections in full feature phase.
    pub fn connections(&self) -> impl Iterator<Item = ConnIx> + '_ {
        let live = self.connections.iter().enumerate().filter(|(_, c)| c.state.is_full_feature());
        live.map(|(ix, _)| ConnIx(ix as u8))
    }

    /// The parameters in force on a connection.
    #[inline]
    pub fn params(&self, conn: ConnIx) -> Option<&Params> {
        self.connections.get(usize::from(conn.0)).map(|c| &c.params)
    }

    /// The CID of a connection.
    pub fn cid(&self, conn: ConnIx) -> Option<Cid> {
        self.connections.get(usize::from(conn.0)).map(|c| c.cid)
    }

    /// Task slots in use, those that wait for [`released`](Self::released) included.
    pub fn open_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Whether an open task needs more from the initiator before it can end: data, or a command that comes before it.
    pub fn awaits_initiator(&self) -> bool {
        self.tasks.await_initiator()
    }

    /// Whether the shard may still answer this task: not answered, not aborted.
    #[inline]
    pub fn is_live(&self, task: TaskId) -> bool {
        self.tasks.get(task).is_some_and(|t| matches!(t.state, State::Open | State::Held))
    }

    /// The SCSI command of a task, until it is answered or released; after that an empty one.
    #[inline]
    pub fn command(&self, task: TaskId) -> &TaskCommand {
        const NONE: &TaskCommand = &TaskCommand::NONE;
        self.tasks.get(task).map_or(NONE, |t| &t.command)
    }

    /// Identifies the status that a task would get if it were answered now: number of the connection in the upper 32
    /// bits, StatSN in the lower. `None`: the status may have to wait, so its StatSN is not certain.
    pub fn next_status(&self, task: TaskId) -> Option<u64> {
        let t =
            self.tasks.get(task).filter(|t| t.state == State::Open && !t.incoming.is_owed() && t.outgoing.is_none());
        let c = self.connections.get(usize::from(t.filter(|_| self.fence.is_none())?.command.conn.0))?;
        Some(u64::from(c.number) << 32 | u64::from(c.stat_sn.0))
    }

    /// Whether a status that [`next_status`](Self::next_status) identified has reached the initiator. `None`: its
    /// connection is gone, and nobody will know.
    pub fn has_arrived(&self, status: u64) -> Option<bool> {
        let c = self.connections.iter().find(|c| u64::from(c.number) == status >> 32)?;
        //= RFC 7143 section 11.3.3
        //# Command responses up to ExpStatSN - 1 (modulo 2**32) have been
        //# received (acknowledges status) on the connection.
        let before = c.exp_stat_sn.0;
        // Only those from ExpStatSN up to the next StatSN have not arrived. Any other, however old it is, has.
        let has_arrived = (status as u32).wrapping_sub(before) >= c.stat_sn.0.wrapping_sub(before);
        (has_arrived || c.state.may_send()).then_some(has_arrived)
    }

    /// Takes the next thing that is asked of the shard if that is to run a command, which it mostly is.
    #[inline]
    pub fn next_command(&mut self) -> Option<TaskId> {
        self.events.next_command()
    }

    /// Whether anything is asked of the shard.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next thing that is asked of the shard.
    #[inline]
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let event = self.events.next()?;
            // Write data of a task that was answered or aborted after the event was raised is of no use to the shard.
            if !matches!(event, Event::DataOut { task, .. } if !self.is_live(task)) {
                return Some(event);
            }
        }
    }

    /// A header has arrived: where its data segment is to go. To be followed by one [`finish`](Self::finish), whatever the
    /// answer. `ahs` are the additional header segments, `data_len` is DataSegmentLength; without a data segment the answer
    /// means nothing. Not needed for a SCSI Command whose data has come with it: `finish` judges that by itself.
    ///
    /// Decides, but changes nothing that a bad data digest would have to undo.
    #[inline]
    pub fn begin<O: Outbox>(&mut self, conn: ConnIx, bhs: &Bhs, ahs: &[u8], data_len: usize, _out: &mut O) -> Dest {
        if data_len == 0 {
            return Dest::Discard;
        }
        let dest = self.destination(conn, bhs, ahs, data_len);
        if let Some(connection) = self.connections.get_mut(usize::from(conn.0)) {
            connection.rx_discarded = dest == Dest::Discard;
        }
        dest
    }

    fn destination(&mut self, conn: ConnIx, bhs: &Bhs, ahs: &[u8], data_len: usize) -> Dest {
        let Some(connection) = self.connections.get(usize::from(conn.0)) else { return Dest::Discard };
        let opcode = bhs::opcode(bhs);
        let fits = data_len <= connection.params.own.target_max_recv_bytes as usize;
        if !fits || !connection.state.is_full_feature() || !self.permits(opcode) {
            return Dest::Discard;
        }
        let rx = Received { conn, bhs, ahs, data_len: data_len as u32, data: &[], discarded: false };
        match opcode {
            Opcode::SCSI_COMMAND => ScsiCommand::parse(bhs).map_or(Dest::Discard, |c| self.begin_command(&c, &rx)),
            Opcode::SCSI_DATA_OUT => DataOut::parse(bhs).map_or(Dest::Discard, |p| self.begin_data_out(conn, &p)),
            Opcode::NOP_OUT | Opcode::TEXT_REQUEST if self.wants_request_data(opcode, &rx) => Dest::Gather,
            _ => Dest::Discard,
        }
    }

    /// A PDU is complete. `data` is its data segment if [`begin`](Self::begin) said [`Dest::Gather`], else empty.
    ///
    /// Returns the task that the data of a [`Dest::Immediate`] now belongs to; `None`: it is to be dropped.
    #[inline]
    #[allow(clippy::too_many_arguments, reason = "a PDU is made of that many parts")]
    pub fn finish<O: Outbox>(
        &mut self,
        now_ms: u64,
        conn: ConnIx,
        bhs: &Bhs,
        ahs: &[u8],
        data: &[u8],
        data_digest_ok: bool,
        out: &mut O,
        text: &mut dyn TextHandler,
    ) -> Option<TaskId> {
        self.now_ms = now_ms;
        //= RFC 7143 section 7.1.4
        //# The use of within-connection and within-command recovery classes MUST
        //# NOT be attempted before the connection is in the Full Feature Phase.
        let connection = self.connections.get_mut(usize::from(conn.0)).filter(|c| c.state.is_full_feature())?;
        connection.last_rx_ms = now_ms;
        let data_len = bhs::data_segment_len(bhs) as u32;
        let discarded = std::mem::take(&mut connection.rx_discarded) && data_len > 0;
        let too_long = data_len > connection.params.own.target_max_recv_bytes;
        let rx = || Received { conn, bhs, ahs, data_len, data, discarded };
        let mut task = None;
        if too_long || !data_digest_ok {
            self.refuse(&rx(), too_long, out);
        } else {
            connection.acknowledge(exp_stat_sn(bhs));
            if bhs::opcode(bhs) == Opcode::SCSI_COMMAND && self.init.kind == SessionKind::Normal {
                task = self.scsi_command(&rx(), out);
            } else {
                self.dispatch(&rx(), text, out);
            }
        }
        self.after(text, out);
        task
    }

    /// Looks after each PDU whether a command that was held has its turn now, and whether a fence may let something
    /// pass.
    #[inline(always)]
    fn after<O: Outbox>(&mut self, text: &mut dyn TextHandler, out: &mut O) {
        if self.fence.is_some() {
            self.look_at_fence(out);
        }
        if self.window.head().is_some() || self.managements > 0 {
            self.drain(text, out);
        }
    }

    /// Refuses a PDU whose data segment is too long or damaged. It is not carried out, whatever it asks for.
    #[cold]
    fn refuse<O: Outbox>(&mut self, rx: &Received<'_>, too_long: bool, out: &mut O) {
        if too_long {
            return self.apply(
                Fault::DropSession("data segment beyond MaxRecvDataSegmentLength"),
                rx.conn,
                rx.bhs,
                out,
            );
        }
        //= RFC 7143 section 7.8
        //# When a target receives any iSCSI PDU with a payload digest error, it
        //# MUST answer with a Reject PDU with a reason code of Data-Digest-Error
        //# and discard the PDU.
        self.reject(rx.conn, rx.bhs, RejectReason::DATA_DIGEST_ERROR, out);
        if bhs::opcode(rx.bhs) == Opcode::SCSI_DATA_OUT {
            self.data_out_corrupt(rx, out);
        }
    }

    fn dispatch<O: Outbox>(&mut self, rx: &Received<'_>, text: &mut dyn TextHandler, out: &mut O) {
        let opcode = bhs::opcode(rx.bhs);
        let fault = match opcode {
            Opcode::SCSI_COMMAND
            | Opcode::SCSI_DATA_OUT
            | Opcode::TASK_MANAGEMENT_REQUEST
            | Opcode::SNACK_REQUEST
            | Opcode::LOGIN_REQUEST
                if !self.permits(opcode) =>
            {
                Fault::RejectPdu(RejectReason::PROTOCOL_ERROR)
            }
            Opcode::SCSI_DATA_OUT
            | Opcode::NOP_OUT
            | Opcode::TEXT_REQUEST
            | Opcode::TASK_MANAGEMENT_REQUEST
            | Opcode::LOGOUT_REQUEST
            | Opcode::SNACK_REQUEST
                if !rx.ahs.is_empty() =>
            {
                //= RFC 7143 section 11.2.1.5
                //# The TotalAHSLength is only used in PDUs that have an AHS and MUST be
                //# 0 in all other PDUs.
                Fault::DropSession("additional header segments where there are none")
            }
            Opcode::SCSI_DATA_OUT => return self.data_out(rx, out),
            Opcode::NOP_OUT | Opcode::TEXT_REQUEST | Opcode::TASK_MANAGEMENT_REQUEST | Opcode::LOGOUT_REQUEST => {
                return self.request(opcode, rx, text, out);
            }
            Opcode::SNACK_REQUEST => return self.snack(rx, out),
            // The login of this connection is over.
            //= RFC 7143 section 4.2.4
            //# Login Requests and Responses MUST be used exclusively during login.
            //= RFC 7143 section 4.2.4
            //# On any connection, the Login Phase MUST immediately follow TCP
            //# connection establishment, and a subsequent Login Phase MUST NOT occur
            //# before tearing down the connection.
            Opcode::LOGIN_REQUEST => Fault::RejectPdu(RejectReason::PROTOCOL_ERROR),
            _ => Fault::RejectPdu(RejectReason::COMMAND_NOT_SUPPORTED),
        };
        self.apply(fault, rx.conn, rx.bhs, out);
    }

    /// Takes a SNACK. At ErrorRecoveryLevel 0 nothing can be sent twice, so it is rejected.
    #[cold]
    fn snack<O: Outbox>(&mut self, rx: &Received<'_>, out: &mut O) {
        let Ok(snack) = SnackRequest::parse(rx.bhs) else { return };
        if self.keeps {
            return self.snack_kept(rx, &snack, out);
        }
        self.reject(rx.conn, rx.bhs, RejectReason::SNACK_REJECT, out);
        if !matches!(snack.kind, SnackType::DATA_R2T | SnackType::R_DATA) {
            return;
        }
        //= RFC 7143 section 7.8
        //# a.1) If the status has not already been sent for the command,
        //# the target MUST terminate the command with a CHECK
        //# CONDITION Status and an iSCSI Condition of "SNACK
        //# rejected" (Section 11.4.7.2).
        if let Some(id) = self.tasks.find(snack.itt)
            && self.tasks.get(id).is_some_and(|t| t.command.conn == rx.conn && matches!(t.kind, Kind::Scsi))
        {
            self.fail_task(id, TaskFault::SnackRejected, out);
        }
    }
}

/// ExpStatSN, at the same place in all PDUs of an initiator.
#[inline]
fn exp_stat_sn(header: &Bhs) -> StatSn {
    let [.., a, b, c, d] = *header.first_chunk::<32>().unwrap_or(&[0; 32]);
    StatSn(u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests;
