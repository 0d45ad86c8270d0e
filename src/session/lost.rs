//! Connection recovery (RFC 7143 sections 7.1.4.3, 7.2.2 and 8.2): at ErrorRecoveryLevel 2 the tasks of a connection that is
//! gone wait for a new allegiance.
//!
//! A [`Lost`] takes the place of the connection, whose slot is free at once: its tasks carry an id of their own
//! ([`ConnIx`] from `LOST_BASE` on), their commands go on, and their answers are kept. TASK REASSIGN puts a task on another
//! connection. What nobody asks for within Time2Wait + Time2Retain is aborted.

use super::Session;
use super::parts::Lost;
use super::recovery::{Kept, Outgoing};
use super::seam::{CloseReason, ConnIx, Outbox, TaskId};
use super::state::{SessionState, SessionStep};
use super::task::{Charge, Kind, State};
use crate::limits::{LOST_CONNECTIONS, TASKS_PER_SESSION};
use crate::wire::{Bhs, Cid, Itt, Opcode, TaskManagementRequest, TmResponse, bhs};

/// Ids of lost connections begin here; those of connections are slots, far below.
const LOST_BASE: u8 = 0x80;

/// An outbox that drops everything, for a task whose connection is gone: nothing can be sent for it.
pub(super) struct Nowhere;

impl Outbox for Nowhere {
    fn pdu(&mut self, _: ConnIx, _: &Bhs, _: super::seam::Payload<'_>) {}
}

/// Index of the lost connection that is forgotten first.
fn soonest(lost: &[Lost]) -> usize {
    lost.iter().enumerate().min_by_key(|(_, l)| l.until_ms).map_or(0, |(n, _)| n)
}

impl Session {
    fn retain_until(&self) -> u64 {
        let p = &self.init.params;
        let seconds = u64::from(p.time2wait_s) + u64::from(p.time2retain_s);
        self.now_ms.saturating_add(seconds * 1000)
    }

    /// Whether tasks outlive their connection.
    pub(super) fn recovers_connections(&self) -> bool {
        let p = &self.init.params;
        self.state == SessionState::LoggedIn && p.error_recovery_level >= 2 && p.time2retain_s > 0
    }

    /// Puts a [`Lost`] in the place of a connection: the commands that can be continued wait there, its other tasks are
    /// aborted. `logged_out` says whether a Logout for recovery, explicit or implicit, has been performed.
    pub(super) fn suspend(&mut self, conn: ConnIx, logged_out: bool) {
        // If the sessions of the core keep too much, this session keeps only the connection that is lost now.
        let most = if self.store.is_crowded() { 1 } else { LOST_CONNECTIONS };
        while self.lost.len() >= most {
            let oldest = self.lost.swap_remove(soonest(&self.lost));
            self.abort_connection(Some(oldest.id));
        }
        let used = |n: u8| self.lost.iter().any(|l| l.id.0 == n);
        let id = ConnIx((LOST_BASE..).find(|n| !used(*n)).unwrap_or(u8::MAX));
        let until_ms = self.retain_until();
        let Some(c) = self.connections.get_mut(usize::from(conn.0)) else { return };
        let mut kept = std::mem::take(&mut c.kept);
        kept.retain(|k| k.command.is_some());
        c.replays.drain(..).for_each(|k| kept.push(k));
        kept.make_room();
        kept.iter_mut().filter_map(|k| k.data.as_deref_mut()).for_each(Outgoing::ask_no_more);
        let cid = c.cid;
        self.lost.push(Lost { cid, id, logged_out, until_ms, kept });
        for slot in 0..TASKS_PER_SESSION {
            let Some(task) = self.tasks.id(slot) else { continue };
            let Some(t) = self.tasks.get_mut(task).filter(|t| t.command.conn == conn) else { continue };
            //= RFC 7143 section 7.14
            //# On a connection failure, a target MUST terminate
            //# and/or discard all of the active immediate commands, regardless of
            //# which of the above options is used (i.e., immediate commands are not
            //# recoverable across connection failures).
            let stays = matches!(t.kind, Kind::Scsi)
                && t.charge == Charge::Window
                && (matches!(t.state, State::Open | State::Answering) || t.answer.is_some());
            if !stays {
                //= RFC 7143 section 11.14
                //# the target MUST discard all requests not
                //# yet acknowledged via the ExpCmdSN that were issued on the specified
                //# connection and suspend all data/status/R2T transfers on behalf of
                //# pending commands on the specified connection.
                self.abort_with_connection(task, true);
                continue;
            }
            t.command.conn = id;
            t.incoming.interrupt(t.command.received_bytes);
            if let Some(outgoing) = t.outgoing.as_deref_mut() {
                outgoing.ask_no_more();
                outgoing.replaying = false;
            }
            self.answer_if_due(task, &mut Nowhere);
        }
    }

    /// Keeps a response whose connection is lost.
    pub(super) fn keep_lost(&mut self, conn: ConnIx, kept: Kept) {
        if let Some(lost) = self.lost.iter_mut().find(|l| l.id == conn) {
            lost.kept.push(kept);
        }
    }

    /// Performs a Logout for a connection that is gone already. Returns whether there is a lost connection with this
    /// CID.
    pub(super) fn log_out_lost(&mut self, cid: Cid, for_recovery: bool) -> bool {
        let until_ms = self.retain_until();
        let (named, others): (Vec<Lost>, Vec<Lost>) = self.lost.drain(..).partition(|l| l.cid == cid);
        self.lost = others;
        if named.is_empty() {
            return false;
        }
        for mut lost in named {
            if !for_recovery {
                self.abort_connection(Some(lost.id));
                continue;
            }
            // A lost connection that was logged out before keeps its time: this Logout means a later one with its CID.
            if !std::mem::replace(&mut lost.logged_out, true) {
                lost.until_ms = until_ms;
            }
            self.lost.push(lost);
        }
        true
    }

    /// Aborts the tasks of lost connections whose time is over. A session that has failed ends with the last of them.
    pub(super) fn expire_lost(&mut self) {
        while let Some(n) = self.lost.iter().position(|l| l.until_ms <= self.now_ms) {
            //= RFC 7143 section 11.14.5
            //# c) When a successful recovery Logout is performed while there are
            //# active tasks allegiant to that connection and those tasks
            //# eventually time out after the Time2Wait and Time2Retain periods
            //# without allegiance reassignment.
            let gone = self.lost.remove(n);
            self.abort_connection(Some(gone.id));
        }
        if self.state == SessionState::Failed && self.lost.is_empty() {
            self.end(CloseReason::Disconnected);
        }
    }

    /// Whether the last connection is gone, and tasks wait for another one.
    pub fn is_failed(&self) -> bool {
        self.state == SessionState::Failed
    }

    /// The last connection is gone but its tasks wait.
    pub(super) fn fail(&mut self) {
        self.state = self.state.after(&[SessionStep::N5]);
    }

    /// When the next lost connection is forgotten, milliseconds; `u64::MAX`: there is none.
    pub(super) fn lost_deadline_ms(&self) -> u64 {
        self.lost.iter().map(|l| l.until_ms).min().unwrap_or(u64::MAX)
    }

    /// Carries out TASK REASSIGN, which task `id` is: the referenced task goes on on `conn`, after the response.
    pub(super) fn reassign<O: Outbox>(
        &mut self,
        id: TaskId,
        conn: ConnIx,
        request: &TaskManagementRequest,
        out: &mut O,
    ) {
        let (itt, exp_data_sn) = (request.referenced_task_tag, request.exp_data_sn);
        //= RFC 7143 section 7.2.2
        //# When a target does not support allegiance
        //# reassignment, it MUST respond with a task management response code of
        //# "Task allegiance reassignment not supported".
        if self.init.params.error_recovery_level < 2 {
            return self.settle(id, TmResponse::REASSIGNMENT_NOT_SUPPORTED, out);
        }
        let response = match self.tasks.find(itt).filter(|t| *t != id) {
            _ if !request.immediate_delivery => TmResponse::FUNCTION_REJECTED,
            Some(task) => self.judge_reassign(task),
            None => match self.lost.iter_mut().find_map(|l| l.kept.find(itt).is_some().then_some(l.logged_out)) {
                Some(true) => TmResponse::FUNCTION_COMPLETE,
                Some(false) => TmResponse::TASK_STILL_ALLEGIANT,
                // Answered on a connection that is there, or about to be.
                None if self.connections.iter().any(|c| c.all_kept().any(|kept| kept.is_of(itt))) => {
                    TmResponse::TASK_STILL_ALLEGIANT
                }
                None => TmResponse::TASK_DOES_NOT_EXIST,
            },
        };
        //= RFC 7143 section 7.2.2
        //# If allegiance reassignment is supported by the target, the task
        //# management response to the reassignment request MUST be issued before
        //# the reassignment becomes effective.
        //= RFC 7143 section 11.5.1
        //# The task management response MUST be issued before the reassignment
        //# becomes effective.
        //= RFC 7143 section 11.6
        //# For TASK REASSIGN, the new connection allegiance MUST ONLY become
        //# effective at the target after the target issues the task management
        //# response.
        self.settle(id, response, out);
        if response == TmResponse::FUNCTION_COMPLETE {
            match self.tasks.find(itt) {
                Some(task) => self.resume(task, conn, exp_data_sn, out),
                None => self.replay(itt, conn, exp_data_sn, out),
            }
        }
    }

    fn judge_reassign(&self, task: TaskId) -> TmResponse {
        let Some(t) = self.tasks.get(task) else { return TmResponse::TASK_DOES_NOT_EXIST };
        //= RFC 7143 section 11.5.1
        //# At the target, a TASK REASSIGN function request MUST NOT be executed
        //# to reassign the connection allegiance of a Task Management Function
        //# Request, an active text negotiation task, or a Logout task; such a
        //# request MUST result in a task management response of "Function
        //# rejected".
        match &t.kind {
            Kind::Management(_) => return TmResponse::FUNCTION_REJECTED,
            Kind::Request(held) if bhs::opcode(&held.0) != Opcode::NOP_OUT => return TmResponse::FUNCTION_REJECTED,
            _ => {}
        }
        //= RFC 7143 section 7.2.2
        //# If allegiance
        //# reassignment is supported by the target but the task is still
        //# allegiant to a different connection, or a successful recovery Logout
        //# of the previously allegiant connection was not performed, the target
        //# MUST respond with a task management response code of "Task still
        //# allegiant".
        //= RFC 7143 section 11.5.1
        //# TASK REASSIGN MUST ONLY be received by the target after the connection
        //# on which the command was previously executing has been successfully
        //# logged out.
        match self.lost.iter().find(|l| l.id == t.command.conn) {
            _ if t.state == State::Aborting && t.answer.is_none() => TmResponse::TASK_DOES_NOT_EXIST,
            Some(lost) if lost.logged_out => TmResponse::FUNCTION_COMPLETE,
            _ => TmResponse::TASK_STILL_ALLEGIANT,
        }
    }

    /// Goes on with a task on a new connection.
    fn resume<O: Outbox>(&mut self, task: TaskId, conn: ConnIx, exp_data_sn: u32, out: &mut O) {
        let Some(c) = self.connections.get(usize::from(conn.0)) else { return };
        let (pdu_bytes, max_burst) = (c.data_in_bytes, c.burst_bytes);
        let Some(t) = self.tasks.get_mut(task) else { return };
        //= RFC 7143 section 7.2.2
        //# In reassigning connection allegiance for a command, the target SHOULD
        //# continue the command from its current state.
        t.command.conn = conn;
        let mut stretches = Vec::new();
        if let Some(outgoing) = t.outgoing.as_deref_mut() {
            //= RFC 7143 section 11.5.6
            //# The value of ExpDataSN MUST be 0 or higher than the DataSN of the
            //# last acknowledged Data-In PDU, but not larger than DataSN + 1 of the
            //# last Data-IN PDU sent by the target.  Any other value MUST be ignored
            //# by the target.
            //= RFC 7143 section 7.2.2
            //# For example, when reassigning read commands, the target SHOULD take
            //# advantage of the ExpDataSN field provided by the Task Management
            //# Function Request (which must be set to 0 if there was no data transfer)
            //# and bring the read command to completion by sending the remaining data
            //# and sending (or resending) the status.
            outgoing.acknowledge(exp_data_sn);
            //= RFC 7143 section 7.2.2
            //# If a SCSI command that involves data input is reassigned, any SNACK
            //# Tag it holds for a final response from the original connection is
            //# deleted, and the default value of 0 MUST be used instead.
            outgoing.snack_tag = 0;
            t.input = outgoing.recut(pdu_bytes, max_burst);
            stretches.extend(outgoing.runs.iter().map(|run| (run.offset, run.len)));
            outgoing.ask_no_more();
            outgoing.ask(None, stretches.len());
            outgoing.replaying = !stretches.is_empty();
        }
        self.ask_shard(task, &stretches);
        self.ask(task, out);
        self.answer_if_due(task, out);
    }

    /// Sends what was not acknowledged of a command that was answered before its connection was lost: the rest of its
    /// read data, then its response.
    fn replay<O: Outbox>(&mut self, itt: Itt, conn: ConnIx, exp_data_sn: u32, out: &mut O) {
        let Some(mut kept) = self.lost.iter_mut().find_map(|l| l.kept.take(itt)) else { return };
        let Some(c) = self.connections.get_mut(usize::from(conn.0)) else { return };
        let Some(outgoing) = kept.data.as_deref_mut() else { return self.send_kept(conn, kept, out) };
        outgoing.acknowledge(exp_data_sn);
        outgoing.snack_tag = 0;
        outgoing.recut(c.data_in_bytes, c.burst_bytes);
        //= RFC 7143 section 7.2.2
        //# This might possibly involve retransmission of data/R2T/status PDUs as
        //# necessary but MUST involve the (re)transmission of the status PDU.
        outgoing.then_status = true;
        let task = outgoing.task;
        let stretches: Vec<_> = outgoing.runs.iter().map(|run| (run.offset, run.len)).collect();
        outgoing.ask_no_more();
        outgoing.ask(None, stretches.len());
        c.replays.push(kept);
        self.ask_shard(task, &stretches);
        if stretches.is_empty() {
            self.data_resent(task, out);
        }
    }
}
