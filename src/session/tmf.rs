//! Task management functions (RFC 7143 sections 4.2.3, 11.5, 11.6). What they abort: `abort`.
//!
//! ABORT TASK ends here: its response goes out when the shard has let go of the task. The functions that reach beyond one
//! task are handed to the shard as an event, after an `Abort` for each task of this session that they cover; the response
//! goes out when the shard has carried it out *and* let go of those tasks.
//!
//! With the standard semantics of section 4.2.3.3 the response also waits for the data of outstanding R2Ts. Initiators in
//! wide use stop sending it as soon as they have sent the function, so this wait has an end
//! (`limits::DRAIN_TIMEOUT_MS`); from then on, and with FastAbort from the beginning, transfer tags stay recognised
//! beyond the end of their tasks ([`Ghost`](super::ghosts::Ghost)), and data that still comes is read over. In a session
//! of several connections a fence keeps the response in its place (`fence`).

use super::Session;
use super::management::Management;
use super::params::TaskReporting;
use super::seam::{CloseReason, ConnIx, Event, Outbox, Payload, TaskId, TmRequest};
use super::task::{Charge, Kind, State, Task};
use crate::limits::{DRAIN_TIMEOUT_MS, TASKS_PER_SESSION};
use crate::wire::{
    CmdSn, Itt, Lun, Opcode, StatSn, TaskManagementRequest, TaskManagementResponse, TmFunction, TmResponse, bhs,
};

/// How long an ABORT TASK waits for the shard to let go of the task, milliseconds. Initiators give it some ten seconds and
/// then reset the logical unit; a medium that hangs must not keep them from knowing.
const ABORT_TIMEOUT_MS: u64 = 1_000;

impl Management {
    fn covers(&self, task: &Task) -> bool {
        if !matches!(task.kind, Kind::Scsi) || !(self.is_of_all_units() || self.lun.is_same_unit(task.command.lun)) {
            return false;
        }
        //= RFC 7143 section 11.5.1
        //# Task management requests must act
        //# on all the commands from the same session having a CmdSN lower than
        //# the task management CmdSN.  LOGICAL UNIT RESET, TARGET WARM RESET,
        //# and TARGET COLD RESET may affect commands from other sessions or
        //# commands from the same session, regardless of their CmdSN value.
        let earlier = task.charge == Charge::Immediate || task.cmd_sn.lt(self.cmd_sn);
        let reset = self.is_of_all_units() || self.function == TmFunction::LOGICAL_UNIT_RESET;
        earlier || reset && task.state != State::Held
    }
}

impl Session {
    /// Begins a function whose turn has come.
    pub(super) fn manage<O: Outbox>(
        &mut self,
        conn: ConnIx,
        request: &TaskManagementRequest,
        charge: Charge,
        out: &mut O,
    ) {
        let Some((id, task)) = self.tasks.take(request.itt) else { return };
        task.state = State::Open;
        task.cmd_sn = request.cmd_sn;
        task.charge = charge;
        task.command.conn = conn;
        task.command.lun = request.lun;
        task.kind = Kind::Management(Box::new(Management {
            function: request.function,
            lun: request.lun,
            cmd_sn: request.cmd_sn,
            referenced: request.referenced_task_tag,
            ref_cmd_sn: request.ref_cmd_sn,
            waits_for_commands: false,
            waits_for: [0; _],
            with_shard: false,
            response: None,
            found: false,
            info: [0; 3],
            orphan: false,
            deadline_ms: if request.function == TmFunction::ABORT_TASK {
                self.now_ms.saturating_add(ABORT_TIMEOUT_MS)
            } else {
                u64::MAX
            },
        }));
        self.managements += 1;
        match charge {
            Charge::Window => self.window.opened(),
            Charge::Immediate => self.immediate_managements += 1,
            Charge::Held | Charge::Nothing => {}
        }
        match request.function {
            //= RFC 7143 section 4.2.2.1
            //# The initiator and target MUST ensure that the SCSI task management
            //# functions specified in [SAM2] act in accordance with the [SAM2]
            //# specification.
            TmFunction::ABORT_TASK => self.abort_one(id, out),
            //= RFC 7143 section 4.2.3.3
            //# All iSCSI implementations MUST support the protocol behavior defined in
            //# this section as the default behavior.
            TmFunction::ABORT_TASK_SET
            | TmFunction::CLEAR_TASK_SET
            | TmFunction::LOGICAL_UNIT_RESET
            | TmFunction::TARGET_WARM_RESET
            | TmFunction::TARGET_COLD_RESET => self.begin_many(id),
            TmFunction::TASK_REASSIGN => self.reassign(id, conn, request, out),
            TmFunction::QUERY_TASK
            | TmFunction::QUERY_TASK_SET
            | TmFunction::I_T_NEXUS_RESET
            | TmFunction::QUERY_ASYNCHRONOUS_EVENT
                //= RFC 7144 section 4.1
                //# The iSCSIProtocolLevel operational text key (see Section 7.1.1)
                //# containing a value of "2" MUST be negotiated to enable the use of
                //# features described in this RFC.
                //= RFC 7144 section 4.1
                //# In contrast, if the key is negotiated to "2", an iSCSI implementation
                //# MUST NOT reject a Task Management Function Request PDU that requests one
                //# of the new task management functions (as such a reject would report an
                //# iSCSI protocol error).
                //= RFC 7144 section 7.1.1
                //# If the negotiation answer is ignored by the acceptor, or the answer from
                //# the remote iSCSI end point is key=NotUnderstood, then the features
                //# defined in this RFC, and the features defined in any RFC requiring a key
                //# value greater than "2", MUST NOT be used.
                if self.init.params.protocol_level >= 2 =>
            {
                self.query(id, request, out);
            }
            // CLEAR ACA too: no ACA is ever established (NORMACA is 0).
            _ => self.settle(id, TmResponse::FUNCTION_NOT_SUPPORTED, out),
        }
    }

    /// Begins one of the functions of RFC 7144: the queries and I_T NEXUS RESET.
    fn query<O: Outbox>(&mut self, id: TaskId, request: &TaskManagementRequest, out: &mut O) {
        let scsi = |t: &Task| matches!(t.kind, Kind::Scsi) && t.state != State::Aborting;
        match request.function {
            TmFunction::QUERY_TASK => {
                let task = self.tasks.find(request.referenced_task_tag).and_then(|t| self.tasks.get(t));
                //= RFC 7144 section 6.4.2
                //# For the QUERY TASK function, if the specified task is in the task
                //# set, then the logical unit returns a Response value of "Function
                //# succeeded", and additional response information is returned as
                //# specified in [SAM5].
                let response = match task {
                    //= RFC 7144 section 6.3
                    //# At the target, a QUERY TASK function MUST NOT be executed on a Task
                    //# Management request; such a request MUST result in Task Management
                    //# response of "Function rejected".
                    Some(t) if matches!(t.kind, Kind::Management(_)) => TmResponse::FUNCTION_REJECTED,
                    Some(t) if scsi(t) && t.command.lun.is_same_unit(request.lun) => TmResponse::FUNCTION_SUCCEEDED,
                    _ => TmResponse::FUNCTION_COMPLETE,
                };
                self.settle(id, response, out);
            }
            //= RFC 7144 section 6.3
            //# For the I_T NEXUS RESET function, the target device MUST respond to the
            //# function as defined in [SAM5].
            //= RFC 7144 section 6.5
            //# If an iSCSI implementation supports the I_T NEXUS RESET function, it
            //# MUST also support the protocol behavior as defined in those sections and
            //# follow the sequence of actions as described in those sections when
            //# processing the I_T NEXUS RESET function.
            TmFunction::I_T_NEXUS_RESET => self.begin_many(id),
            function => {
                let found = (0..TASKS_PER_SESSION)
                    .filter_map(|slot| self.tasks.get(self.tasks.id(slot)?))
                    .any(|t| scsi(t) && t.state != State::Held && t.command.lun.is_same_unit(request.lun));
                m_set(self.tasks.get_mut(id), |m| {
                    m.with_shard = true;
                    m.found = function == TmFunction::QUERY_TASK_SET && found;
                });
                let request = TmRequest { id: id.slot() as u8, function, lun: request.lun };
                self.events.push(Event::TaskManagement(request));
            }
        }
    }

    fn abort_one<O: Outbox>(&mut self, id: TaskId, out: &mut O) {
        let Some(m) = self.tasks.get_mut(id).and_then(Task::management) else { return };
        let (referenced, ref_cmd_sn, cmd_sn) = (m.referenced, m.ref_cmd_sn, m.cmd_sn);
        let Some(victim) = self.tasks.find(referenced) else {
            if self.resend_lost_status(id, referenced, out) || self.abort_replays(|itt, _| itt == referenced) {
                return self.settle(id, TmResponse::FUNCTION_COMPLETE, out);
            }
            let response = self.plug_for_abort(ref_cmd_sn, cmd_sn);
            return self.settle(id, response, out);
        };
        //= RFC 7143 section 11.5.1
        //# At the target, an ABORT TASK function MUST NOT be executed on a task
        //# management request; such a request MUST result in a task management
        //# response of "Function rejected".
        let management = self.tasks.get(victim).is_some_and(|t| match &t.kind {
            Kind::Management(_) => true,
            Kind::Request(held) => bhs::opcode(&held.0) == Opcode::TASK_MANAGEMENT_REQUEST,
            Kind::Scsi => false,
        });
        if management {
            return self.settle(id, TmResponse::FUNCTION_REJECTED, out);
        }
        if self.abort(victim)
            && let Some(m) = self.tasks.get_mut(id).and_then(Task::management)
        {
            m.wait_for(victim.slot());
        }
        //= RFC 7143 section 11.6.1
        //# a) if the Referenced Task Tag identifies a valid task leading to a
        //# successful termination, then targets must return the "Function
        //# complete" response.
        self.settle(id, TmResponse::FUNCTION_COMPLETE, out);
    }

    /// Carries out ABORT TASK for a command that was answered on a connection which has been logged out for recovery:
    /// its status is sent again. Returns whether there was such a command.
    fn resend_lost_status<O: Outbox>(&mut self, id: TaskId, itt: Itt, out: &mut O) -> bool {
        let Some(conn) = self.tasks.get(id).map(|t| t.command.conn) else { return false };
        let mut lost = self.lost.iter_mut().filter(|l| l.logged_out);
        let Some(kept) = lost.find_map(|l| l.kept.take(itt)) else { return false };
        //= RFC 7143 section 11.5.1
        //# its status, if sent but not
        //# acknowledged, will be resent followed by the task management
        //# response).
        self.send_kept(conn, super::recovery::Kept { data: None, ..kept }, out);
        true
    }

    /// Carries out ABORT TASK for a task that is not here: if its CmdSN is a gap, the gap is plugged. Returns the
    /// response.
    fn plug_for_abort(&mut self, ref_cmd_sn: CmdSn, cmd_sn: CmdSn) -> TmResponse {
        //= RFC 7143 section 7.11
        //# If the abort request is received and the original command is missing,
        //# targets MUST consider the original command with that RefCmdSN as
        //# received and issue a task management response with the response code
        //# "Function complete".
        //= RFC 7143 section 11.6.1
        //# b) if the Referenced Task Tag does not identify an existing task
        //# but the CmdSN indicated by the RefCmdSN field in the Task
        //# Management Function Request is within the valid CmdSN window
        //# and less than the CmdSN of the Task Management Function Request
        //# itself, then targets must consider the CmdSN as received and
        //# return the "Function complete" response.
        if self.window.is_gap(ref_cmd_sn) && ref_cmd_sn.lt(cmd_sn) {
            self.window.plug(ref_cmd_sn);
            return TmResponse::FUNCTION_COMPLETE;
        }
        //= RFC 7143 section 7.11
        //# If the abort request is received and the target can determine (based on
        //# the Referenced Task Tag) that the command was received and executed, and
        //# also that the response was sent prior to the abort, then the target MUST
        //# respond with the response code "Task Does Not Exist".
        //= RFC 7143 section 11.6.1
        //# c) if the Referenced Task Tag does not identify an existing task
        //# and the CmdSN indicated by the RefCmdSN field in the Task
        //# Management Function Request is outside the valid CmdSN window,
        //# then targets must return the "Task does not exist" response.
        TmResponse::TASK_DOES_NOT_EXIST
    }

    /// Begins a function on many tasks at once, or has it wait until the commands before it have all been received.
    fn begin_many(&mut self, id: TaskId) {
        let Some(m) = self.tasks.get_mut(id).and_then(Task::management) else { return };
        let (cmd_sn, plugs) = (m.cmd_sn, m.is_of_all_units());
        let missing = self.window.exp_cmd_sn().lt(cmd_sn) && cmd_sn.le(self.window.max_cmd_sn().next());
        if missing && plugs {
            //= RFC 7143 section 4.2.3.3
            //# the entire CmdSN space up to the CmdSN of the
            //# task management function can be "plugged".
            let mut at = self.window.exp_cmd_sn();
            while at.lt(cmd_sn) {
                if self.window.is_gap(at) {
                    self.window.plug(at);
                }
                at = at.next();
            }
        } else if missing {
            //= RFC 7143 section 4.2.3.4
            //# MUST wait for all commands of the affected tasks to be received based on
            //# the CmdSN ordering on the issuing session.
            //= RFC 7143 section 4.2.3.3
            //# b) MUST wait (concurrent with the wait in Step a) for all commands
            //# of the affected tasks to be received based on the CmdSN
            //# ordering.
            m_set(self.tasks.get_mut(id), |m| m.waits_for_commands = true);
            return;
        }
        self.run_many(id);
    }

    /// Begins the functions that have waited for commands which have now been received.
    pub(super) fn resume_managements(&mut self) {
        if self.managements == 0 {
            return;
        }
        for slot in 0..TASKS_PER_SESSION {
            let Some(id) = self.tasks.id(slot) else { continue };
            let exp_cmd_sn = self.window.exp_cmd_sn();
            let Some(m) = self.tasks.get_mut(id).and_then(Task::management) else { continue };
            if m.waits_for_commands && m.cmd_sn.le(exp_cmd_sn) {
                m.waits_for_commands = false;
                self.run_many(id);
            }
        }
    }

    fn run_many(&mut self, id: TaskId) {
        let issuing = self.tasks.get(id).map(|t| t.command.conn);
        //= RFC 7143 section 4.2.3.4
        //# However, protocol behavior defined in this section MUST be exhibited by
        //# iSCSI implementations on an iSCSI session when they negotiate the
        //# TaskReporting (Section 13.23) key to "FastAbort" on that session.
        //= RFC 7143 section 13.23
        //# defined in Section 4.2.3.4 MUST be
        //= RFC 7143 section 4.2.3.4
        //# Protocol behavior defined in this section SHOULD be implemented by all
        //# iSCSI implementations complying with this document, noting that some
        //# steps below may not be compatible with [RFC3720] semantics.
        let fast = self.init.params.task_reporting == TaskReporting::FastAbort;
        let drain_by_ms = self.now_ms.saturating_add(DRAIN_TIMEOUT_MS);
        let covered = self.tasks.get_mut(id).and_then(Task::management).map(|m| (m.is_of_all_units(), m.lun));
        let gone = |lun: Lun| covered.is_some_and(|(all, ours)| all || ours.is_same_unit(lun));
        self.abort_replays(|_, lun| gone(lun));
        for lost in &mut self.lost {
            lost.kept.retain(|k| !k.command.is_some_and(|(_, lun)| gone(lun)));
        }
        for slot in 0..TASKS_PER_SESSION {
            let Some(victim) = self.tasks.id(slot) else { continue };
            let Some(Kind::Management(m)) = self.tasks.get(id).map(|t| &t.kind) else { return };
            if !self.tasks.get(victim).is_some_and(|t| m.covers(t)) {
                continue;
            }
            let Some(t) = self.tasks.get_mut(victim) else { continue };
            let (conn, lun) = (t.command.conn, t.command.lun);
            //= RFC 7143 section 13.23
            //# When TaskReporting is not negotiated to FastAbort, the standard
            //# multi-task abort semantics in Section 4.2.3.3 MUST be used.
            if !fast && t.incoming.r2ts() > 0 {
                //= RFC 7143 section 11.5.1
                //# The target for its part MUST wait for responses on all affected Target
                //# Transfer Tags before acting on either of these two task management
                //# requests.
                //= RFC 7143 section 4.2.3.3
                //# a) MUST wait for responses on currently valid Target Transfer Tags
                //# of the affected tasks from the issuing initiator.
                t.drain_by_ms = drain_by_ms;
                self.drains = true;
                m_set(self.tasks.get_mut(id), |m| m.deadline_ms = drain_by_ms);
            }
            //= RFC 7143 section 4.2.3.4
            //# MUST send an Asynchronous Message PDU with AsyncEvent=5 (Section 11.9)
            //# on:
            //= RFC 7143 section 4.2.3.4
            //# 2) each connection except the issuing connection of the issuing
            //# session that has at least one allegiant affected task.
            if Some(conn) != issuing {
                self.note_termination(conn, lun);
            }
            if self.abort(victim) {
                m_set(self.tasks.get_mut(id), |m| m.wait_for(slot));
            }
        }
        //= RFC 7143 section 4.2.3.3
        //# MUST propagate the TMF Request to, and receive the response from, the
        //# target SCSI layer.
        //= RFC 7143 section 4.2.3.4
        //# MUST propagate the TMF Request to, and receive the response from, the
        //# target SCSI layer.
        let Some(m) = self.tasks.get_mut(id).and_then(Task::management) else { return };
        m.with_shard = true;
        let request = TmRequest { id: id.slot() as u8, function: m.function, lun: m.lun };
        self.events.push(Event::TaskManagement(request));
    }

    /// The shard has carried out a function. `id` is that of the event.
    pub fn tm_complete<O: Outbox>(&mut self, id: u8, response: TmResponse, out: &mut O) {
        let Some(id) = self.tasks.id(usize::from(id)) else { return };
        let Some(m) = self.tasks.get_mut(id).and_then(Task::management) else { return };
        if m.with_shard {
            m.with_shard = false;
            let found = m.found && response == TmResponse::FUNCTION_COMPLETE;
            self.settle(id, if found { TmResponse::FUNCTION_SUCCEEDED } else { response }, out);
        }
    }

    /// Like [`tm_complete`](Self::tm_complete), with Additional Response Information (RFC 7144 section 6.4.1).
    pub fn tm_complete_with<O: Outbox>(&mut self, id: u8, response: TmResponse, info: [u8; 3], out: &mut O) {
        m_set(self.tasks.id(usize::from(id)).and_then(|id| self.tasks.get_mut(id)), |m| m.info = info);
        self.tm_complete(id, response, out);
    }

    /// Ends the waiting that has lasted too long: of ABORT TASK for the shard, and of aborted tasks for the data of
    /// their R2Ts.
    pub(super) fn expire_managements<O: Outbox>(&mut self, out: &mut O) {
        let due_ms = self.management_deadline_ms();
        if due_ms > self.now_ms {
            self.drains &= due_ms < u64::MAX;
            return;
        }
        for slot in 0..TASKS_PER_SESSION {
            let Some(id) = self.tasks.id(slot) else { continue };
            let now_ms = self.now_ms;
            let Some(m) = self.tasks.get_mut(id).and_then(Task::management) else {
                self.drained(id, out);
                continue;
            };
            if m.deadline_ms <= now_ms {
                m.deadline_ms = u64::MAX;
                if m.function == TmFunction::ABORT_TASK {
                    self.settle(id, TmResponse::FUNCTION_REJECTED, out);
                }
            }
        }
    }

    /// When [`expire_managements`](Self::expire_managements) has something to do next, milliseconds; `u64::MAX`: never.
    /// Tasks that wait for the data of their R2Ts count by themselves: they may outlive the function, which ends with
    /// its connection.
    pub(super) fn management_deadline_ms(&self) -> u64 {
        if self.managements == 0 && !self.drains {
            return u64::MAX;
        }
        let slots = (0..TASKS_PER_SESSION).filter_map(|slot| self.tasks.get(self.tasks.id(slot)?));
        let deadlines = slots.filter_map(|t| match &t.kind {
            Kind::Management(m) => Some(m.deadline_ms),
            _ if t.state == State::Aborting && !t.shared && t.drain_by_ms > 0 => Some(t.drain_by_ms),
            _ => None,
        });
        deadlines.min().unwrap_or(u64::MAX)
    }

    /// The response of a function is known: it goes out, or waits for tasks that are being aborted. Only "Function
    /// complete" has to wait for them.
    pub(super) fn settle<O: Outbox>(&mut self, id: TaskId, response: TmResponse, out: &mut O) {
        m_set(self.tasks.get_mut(id), |m| {
            m.response = Some(response);
            if response != TmResponse::FUNCTION_COMPLETE {
                m.waits_for = [0; _];
            }
        });
        self.respond_if_due(id, out);
    }

    pub(super) fn respond_if_due<O: Outbox>(&mut self, id: TaskId, out: &mut O) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let (itt, conn) = (task.itt, task.command.conn);
        let Some(m) = task.management() else { return };
        let Some(response) = m.response else { return };
        if m.waits_for.iter().any(|&word| word != 0) {
            return;
        }
        let (orphan, info) = (m.orphan, m.info);
        let nexus_lost = m.function == TmFunction::I_T_NEXUS_RESET && response == TmResponse::FUNCTION_COMPLETE;
        let many = m.is_many();
        let lun = if m.is_of_all_units() { None } else { Some(m.lun) };
        // Asynchronous Messages about the aborted tasks go out first, so that a fence waits for their acknowledgment,
        // too.
        self.send_notices(out);
        //= RFC 7143 section 4.2.3.3
        //# The TMF Response MUST NOT be sent by the target iSCSI layer before the
        //# end of Step d) and MAY be sent at the end of Step d) despite these
        //# outstanding data transfers until after Step e).
        //= RFC 7143 section 4.2.3.4
        //# MUST address the Response Fence flag on the TMF Response on the issuing
        //# session as defined in Section 4.2.2.3.3.
        //= RFC 7143 section 4.2.3.4
        //# A TMF Response MUST NOT be sent by the target iSCSI layer before the end
        //# of Step e) and MAY be sent at the end of Step e) despite these
        //# outstanding Data transfers until Step g).
        //= RFC 7143 section 4.2.3.3
        //# d) MUST provide the Response Fence behavior for the TMF Response
        //# on the issuing session as specified in Section 4.2.2.3.2.
        //= RFC 7143 section 11.6.1
        //# The response to ABORT TASK SET and CLEAR TASK SET MUST only be issued by
        //# the target after all of the commands affected have been received by the
        //# target, the corresponding task management functions have been executed
        //# by the SCSI target, and the delivery of all responses delivered until
        //# the task management function completion has been confirmed (acknowledged
        //# through the ExpStatSN) by the initiator on all connections of this
        //# session.
        if many && !orphan && response == TmResponse::FUNCTION_COMPLETE {
            if !self.pass_fence(id, lun, out) {
                return;
            }
            self.fence_passed(id, conn);
        }
        self.close_task(id);
        if orphan {
            return;
        }
        //= RFC 7143 section 11.5.1
        //# For all these functions, the Task Management Function Response MUST be
        //# returned as detailed in Section 11.6.
        //= RFC 7144 section 6.3
        //# For all of the task management functions detailed in this section, the
        //# Task Management Function Response MUST be returned as detailed in
        //# Section 6.4.
        let pdu = TaskManagementResponse {
            response,
            additional_info: info,
            itt,
            stat_sn: StatSn(0),
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
        };
        let mut header = [0; 48];
        pdu.emit(&mut header);
        self.send_numbered(conn, &mut header, Payload::None, out);
        if nexus_lost {
            //= RFC 7144 section 6.3
            //# Independent of the DefaultTime2Wait and DefaultTime2Retain values
            //# applicable to the session over which this function is received, the
            //# target device MUST consider each participating connection in the session
            //# to have immediately timed out, leading to FREE state.
            //= RFC 7144 section 6.3
            //# The target device MUST drop all connections
            //# in the session over which this function is received.
            self.end(CloseReason::Reset);
        } else if many {
            self.solicit(conn, out);
        }
    }
}

pub(super) fn m_set(task: Option<&mut Task>, change: impl FnOnce(&mut Management)) {
    if let Some(m) = task.and_then(Task::management) {
        change(m);
    }
}
