//! From target to initiator: Data-In PDUs, SCSI Responses.
//!
//! [`Session::data_in`] cuts LUN data into PDUs and, with the last of them, answers a command that ended well.
//! [`Session::complete`] answers all others. Both free the task slot before they stamp the last PDU, so that its MaxCmdSN
//! already counts that slot.

use super::fault::{CHECK_CONDITION, GOOD};
use super::params::TaskReporting;
use super::recovery::{Input, Kept};
use super::residual::Residual;
use super::seam::{ConnIx, DataRef, Outbox, Payload, TaskId, shared};
use super::task::{Answer, State};
use super::{DataInEnd, Direction, Ending, Session};
use crate::wire::{CmdSn, DataIn, DataSn, Itt, Lun, ScsiResponse, StatSn, Ttt};

/// Sense data longer than this is cut (SPC-4 clause 4.5.1: at most 252 bytes).
const MAX_SENSE_BYTES: usize = 252;
/// ABORTED COMMAND, NO ADDITIONAL SENSE INFORMATION: in place of sense data that was not given.
const NO_ADDITIONAL_SENSE: [u8; 18] = [0x70, 0, 0x0b, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What all Data-In PDUs of one call have in common.
struct Run {
    conn: ConnIx,
    itt: Itt,
    offset: u32,
    data_sn: u32,
}

impl Run {
    /// The header of the next Data-In: it carries the `len` bytes that begin `at` bytes into the run.
    #[inline]
    fn pdu(&mut self, at: u32, len: u32, is_final: bool) -> DataIn {
        //= RFC 7143 section 4.2.2.4
        //# Data and R2T PDUs transferred as part of some command execution MUST be
        //# sequenced.
        let data_sn = DataSn(self.data_sn);
        self.data_sn = self.data_sn.wrapping_add(1);
        DataIn {
            is_final,
            //= RFC 7143 section 11.7.2
            //# The target MUST
            //# NOT set to 1 the A bit for sessions with ErrorRecoveryLevel=0.
            acknowledge: false,
            overflow: false,
            underflow: false,
            has_status: false,
            status: 0,
            data_segment_len: len,
            lun: Lun([0; 8]),
            itt: self.itt,
            ttt: Ttt::RESERVED,
            stat_sn: StatSn(0),
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
            data_sn,
            buffer_offset: self.offset.wrapping_add(at),
            residual_bytes: 0,
        }
    }
}

impl Session {
    /// Sends `len` bytes of read data from `offset` of the task's transfer on, which the shard has cut to what the
    /// initiator expects. With `finish` they are the last, the command ended well, and its slot is free on return.
    ///
    /// Calls for one task go upwards without gaps. Nothing happens if the task is no longer live.
    #[inline]
    pub fn data_in<O: Outbox>(
        &mut self,
        task: TaskId,
        offset: u32,
        len: u32,
        data: DataRef,
        finish: Option<DataInEnd>,
        out: &mut O,
    ) {
        if self.keeps {
            return self.data_in_kept(task, offset, len, data, finish, out);
        }
        let Some(t) = self.tasks.get(task).filter(|t| t.state == State::Open) else { return };
        //= RFC 7143 section 4.2.5.1
        //# Thus, if an initiator issues a read command, the target MUST send the
        //# requested data, if any, followed by the status, to the initiator over
        //# the same TCP connection that was used to deliver the SCSI command.
        let conn = t.command.conn;
        let Some(connection) = self.connections.get(usize::from(conn.0)) else { return };
        let (pdu_bytes, max_burst) = (connection.data_in_bytes, connection.burst_bytes);
        // Data that the initiator did not announce would break its connection.
        let len = len.min(t.command.read_edtl_bytes().saturating_sub(offset));
        //= RFC 7143 section 11.7.3
        //# For bidirectional commands, the status MUST be sent in
        //# a SCSI Response PDU.
        let collapse = finish
            .filter(|_| len > 0 && !t.command.is_bidirectional() && !t.incoming.is_owed() && self.fence.is_none())
            .map(|end| Residual::of(&t.command, end.transfer_bytes, Direction::In));
        let run = Run { conn, itt: t.itt, offset, data_sn: t.input.sn };
        let fits = len <= pdu_bytes.min(max_burst.saturating_sub(t.input.burst_bytes));
        match collapse {
            Some(residual) if fits => self.data_in_status(task, run, 0, len, data, residual, out),
            _ => self.data_in_parts(task, run, len, data, (pdu_bytes, max_burst), (finish, collapse), out),
        }
    }

    /// Sends data that does not fit into one Data-In, or whose Data-In may not carry the status.
    #[allow(clippy::too_many_arguments, reason = "the rest of data_in, split off to be out of its way")]
    #[inline(never)]
    fn data_in_parts<O: Outbox>(
        &mut self,
        task: TaskId,
        mut run: Run,
        len: u32,
        data: DataRef,
        (pdu_bytes, max_burst): (u32, u32),
        (finish, collapse): (Option<DataInEnd>, Option<Residual>),
        out: &mut O,
    ) {
        let Some(t) = self.tasks.get(task) else { return };
        let ends = finish.is_some() || run.offset.saturating_add(len) >= t.command.read_edtl_bytes();
        let mut burst = t.input.burst_bytes;
        let mut at = 0;
        let mut status_at = None;
        while at < len {
            //= RFC 7143 section 11.7.1
            //# DataSegmentLength MUST NOT exceed MaxRecvDataSegmentLength for the
            //# direction it is sent, and the total of all the DataSegmentLength of
            //# all PDUs in a sequence MUST NOT exceed MaxBurstLength (or
            //# FirstBurstLength for unsolicited data).
            let n = (len - at).min(pdu_bytes).min(max_burst.saturating_sub(burst).max(4));
            let last = at + n == len;
            if let Some(residual) = collapse.filter(|_| last) {
                status_at = Some((at, n, residual));
                break;
            }
            burst += n;
            let is_final = burst >= max_burst || (last && ends);
            if is_final {
                burst = 0;
            }
            let mut header = [0; 48];
            run.pdu(at, n, is_final).emit(&mut header);
            self.send_data(run.conn, &mut header, Payload::Data { at: data.advanced(at), len: n }, out);
            at += n;
        }
        if let Some((at, n, residual)) = status_at {
            return self.data_in_status(task, run, at, n, data.advanced(at), residual, out);
        }
        if let Some(t) = self.tasks.get_mut(task) {
            t.input = Input { sn: run.data_sn, burst_bytes: burst };
        }
        if let Some(end) = finish {
            self.complete(task, Ending::new(GOOD, &[]), end.transfer_bytes, Direction::In, out);
        }
    }

    /// The last Data-In, with GOOD status.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "the tail of data_in, split off for its length")]
    fn data_in_status<O: Outbox>(
        &mut self,
        task: TaskId,
        mut run: Run,
        at: u32,
        len: u32,
        data: DataRef,
        residual: Residual,
        out: &mut O,
    ) {
        let pdu = DataIn {
            has_status: true,
            status: GOOD,
            overflow: residual.overflow,
            underflow: residual.underflow,
            residual_bytes: residual.bytes,
            //= RFC 7143 section 11.7.3
            //# If this bit is set to 1, the
            //# F bit MUST also be set to 1.
            ..run.pdu(at, len, true)
        };
        let mut header = [0; 48];
        pdu.emit(&mut header);
        self.close_task_here(task);
        self.send_numbered(run.conn, &mut header, Payload::Data { at: data, len }, out);
    }

    /// Answers a command with a SCSI Response. `transfer_bytes` is what the CDB asked to transfer in `direction`.
    ///
    /// If the initiator still owes data that it was asked for, or announced, the response goes out when that has come. In
    /// any case the task is the shard's no more. Nothing happens if the task is not live.
    #[inline(always)]
    pub fn complete<O: Outbox>(
        &mut self,
        task: TaskId,
        ending: Ending<'_>,
        transfer_bytes: u64,
        direction: Direction,
        out: &mut O,
    ) {
        // What is in it goes by registers.
        let Ending { status, sense, fence } = ending;
        self.complete_with(task, (status, fence), sense, transfer_bytes, direction, out);
    }

    #[inline]
    fn complete_with<O: Outbox>(
        &mut self,
        task: TaskId,
        (status, fence): (u8, bool),
        sense: &[u8],
        transfer_bytes: u64,
        direction: Direction,
        out: &mut O,
    ) {
        let Some(t) = self.tasks.get_mut(task).filter(|t| t.state == State::Open) else { return };
        //= RFC 7143 section 11.7.3
        //# If the command is completed with an error, then the response and sense
        //# data MUST be sent in a SCSI Response PDU (i.e., MUST NOT be sent in a
        //# SCSI data packet).
        let residual = Residual::of(&t.command, transfer_bytes, direction);
        //= RFC 7143 section 11.4.2
        //# If a SCSI device error is detected while data from the initiator is
        //# still expected (the command PDU did not contain all the data and the
        //# target has not received a data PDU with the Final bit set), the
        //# target MUST wait until it receives a data PDU with the F bit set in
        //# the last expected sequence before sending the Response PDU.
        let replaying = t.outgoing.as_deref().is_some_and(|o| o.replaying);
        //= RFC 7143 section 4.2.2.3.4
        //# This section lists the situations in which fenced response behavior is
        //# REQUIRED in iSCSI target implementations.
        //= RFC 7143 section 4.2.2.3.4
        //# Whenever the TaskReporting key (Section 13.23) is negotiated to
        //# ResponseFence or FastAbort for an iSCSI session, the target iSCSI layer
        //# MUST assume that the Response Fence is required for the following SCSI
        //# completion messages:
        // There is no ACA, and the task management functions are answered elsewhere.
        let fence = fence && self.connections.len() > 1;
        if t.incoming.is_owed() || replaying || fence || self.fence.is_some() {
            t.state = State::Answering;
            t.answer = Some(Box::new(Answer { status, sense: sense.to_vec(), residual, fence }));
            return self.answer_if_due(task, out);
        }
        self.respond(task, status, sense, residual, out);
    }

    /// Sends the status of a task in state `Answering`, unless it has to wait: for data that the initiator owes, for
    /// read data that is sent again, or for a fence.
    pub(super) fn answer_if_due<O: Outbox>(&mut self, task: TaskId, out: &mut O) {
        let Some(t) = self.tasks.get(task) else { return };
        let replaying = t.outgoing.as_deref().is_some_and(|o| o.replaying);
        let (conn, lun) = (t.command.conn, t.command.lun);
        if t.state != State::Answering || t.incoming.is_owed() || replaying || self.is_fenced(task, lun) {
            return;
        }
        //= RFC 7143 section 4.2.3.3
        //# MUST provide the Response Fence behavior on the first post-TMF Response
        //# on third-party sessions as specified in Section 4.2.2.3.3.
        //= RFC 7143 section 4.2.3.4
        //# MUST address the Response Fence flag on the first post-TMF Response on
        //# third-party sessions as defined in Section 4.2.2.3.3.
        //= RFC 7143 section 4.2.3.6
        //# The UA notification contained in the first SCSI Response PDU on each
        //# affected third-party I_T_L nexus after the TMF action thus MUST NOT pass
        //# the affected task responses on any of the iSCSI sessions accessing the
        //# LU.
        //= RFC 7143 section 4.2.2.3.4
        //# a) The first completion message carrying the UA after the multi-
        //# task abort on issuing and third-party sessions.
        // With TaskReporting=RFC3720 only the responses to task management functions are fenced (`tmf`).
        let fence =
            t.answer.as_deref().is_some_and(|a| a.fence) && self.init.params.task_reporting != TaskReporting::Rfc3720;
        if fence && !self.pass_fence(task, Some(lun), out) {
            return;
        }
        if fence {
            self.fence_passed(task, conn);
        }
        let Some(t) = self.tasks.get_mut(task) else { return };
        if let Some(answer) = t.answer.take() {
            self.respond(task, answer.status, &answer.sense, answer.residual, out);
        }
        if fence {
            self.solicit(conn, out);
        }
    }

    #[inline(always)]
    fn respond<O: Outbox>(&mut self, task: TaskId, status: u8, sense: &[u8], residual: Residual, out: &mut O) {
        let Some(t) = self.tasks.get_mut(task) else { return };
        //= RFC 7143 section 4.2.5.1
        //# For any iSCSI request issued over a TCP connection, the corresponding
        //# response and/or other related PDU(s) MUST be sent over the same
        //# connection.
        let (conn, itt, lun) = (t.command.conn, t.itt, t.command.lun);
        let outgoing = t.outgoing.take();
        //= RFC 7143 section 10.2
        //# "Autosense" refers to the automatic return of sense data to the
        //# initiator in cases where a command did not complete successfully. iSCSI
        //# initiators and targets MUST support and use Autosense.
        //= RFC 7143 section 11.4.7
        //# iSCSI targets MUST support and enable Autosense.
        //= RFC 7144 section 5.2.2
        //# Section 11.4.7 of [RFC7143] specifies that iSCSI targets MUST support
        //# and enable Autosense.
        //= RFC 7144 section 5.2.2
        //# If Status is CHECK CONDITION (0x02), then the Data Segment MUST contain
        //# sense data for the failed command.
        //= RFC 7143 section 11.4.7
        //# If Status is CHECK
        //# CONDITION (0x02), then the data segment MUST contain sense data for
        //# the failed command.
        //= RFC 7143 section 4.6.1.2
        //# The use of Autosense ([SAM2]) is REQUIRED by iSCSI.
        let sense = if status == CHECK_CONDITION && sense.is_empty() { &NO_ADDITIONAL_SENSE } else { sense };
        let sense = sense.get(..MAX_SENSE_BYTES).unwrap_or(sense);
        let len = if sense.is_empty() { 0 } else { 2 + sense.len() };
        let pdu = ScsiResponse {
            bidi_overflow: residual.bidi_overflow,
            bidi_underflow: residual.bidi_underflow,
            overflow: residual.overflow,
            underflow: residual.underflow,
            //= RFC 7143 section 11.4.1
            //# For a response other than "Command Completed at Target", bits 3-6 MUST
            //# be 0.
            response: ScsiResponse::COMMAND_COMPLETED,
            status,
            //= RFC 7144 section 5.2.1
            //# Compliant senders MUST NOT set this field to a value other than zero
            //# unless the iSCSIProtocolLevel text key with a value of "2" as defined in
            //# Section 7.1.1 was negotiated on the session.
            status_qualifier: 0,
            data_segment_len: len as u32,
            itt: t.itt,
            snack_tag: outgoing.as_deref().map_or(0, |o| o.snack_tag),
            stat_sn: StatSn(0),
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
            //= RFC 7143 section 11.4.8
            //# This field indicates the number of Data-In (read) PDUs the target has
            //# sent for the command.
            //= RFC 7143 section 11.4.8
            //# This field MUST be 0 if the response code is not Command Completed at
            //# Target or the target sent no Data-In PDUs for the command.
            exp_data_sn: if t.command.read { t.input.sn.wrapping_sub(t.incoming.r2ts_sent) } else { 0 },
            bidi_residual_bytes: residual.bidi_bytes,
            residual_bytes: residual.bytes,
        };
        let mut header = [0; 48];
        pdu.emit(&mut header);
        self.close_task_here(task);
        let mut segment;
        let payload = if len == 0 {
            Payload::None
        } else {
            segment = [0; 2 + MAX_SENSE_BYTES];
            segment.iter_mut().zip((sense.len() as u16).to_be_bytes().iter().chain(sense)).for_each(|(to, b)| *to = *b);
            Payload::Bytes(segment.get(..len).unwrap_or(&[]))
        };
        if self.keeps {
            let bytes = shared(&payload);
            let command = Some((itt, lun));
            let kept = Kept { stat_sn: StatSn(0), header, bytes, command, data: outgoing, held: self.store.hold(0) };
            return match self.connections.get(usize::from(conn.0)) {
                Some(_) => self.send_kept(conn, kept, out),
                None => self.keep_lost(conn, kept),
            };
        }
        self.send_numbered(conn, &mut header, payload, out);
    }
}
