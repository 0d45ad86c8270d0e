//! Sending again: SNACK (RFC 7143 section 11.16), and the read data of sessions with ErrorRecoveryLevel 1 or 2.
//!
//! What is kept and how it is cut is in `recovery`. R2Ts that are lost need no SNACK: one that is not answered in time is
//! followed by a recovery R2T (`data_out`).

use super::connection::Connection;
use super::fault::{CHECK_CONDITION, GOOD, TaskFault};
use super::recovery::{Kept, Outgoing, Piece, Run};
use super::seam::{ConnIx, DataRef, Event, Outbox, Payload, TaskId, shared};
use super::task::{Kind, State, is_beside};
use super::{DataInEnd, Direction, Ending, Received, Session};
use crate::limits::RESENDS;
use crate::wire::{
    Bhs, CmdSn, DataIn, DataSn, Itt, Lun, R2t, R2tSn, RejectReason, ScsiResponse, SnackRequest, SnackType, StatSn, Ttt,
    bhs,
};

/// What has the read data of a command: its task, or, once it is answered, its response.
enum Holder {
    Task(TaskId),
    Response,
}

fn data_in(piece: Piece, itt: Itt, lun: Lun, task: TaskId) -> DataIn {
    DataIn {
        is_final: piece.is_final,
        acknowledge: piece.acknowledge,
        overflow: false,
        underflow: false,
        has_status: false,
        status: 0,
        data_segment_len: piece.len,
        //= RFC 7143 section 11.7.4
        //# On incoming data, the Target Transfer Tag and LUN MUST be provided by
        //# the target if the A bit is set to 1; otherwise, they are reserved.
        //= RFC 7143 section 11.7.4
        //# If the Target Transfer Tag is provided, then the LUN field MUST hold a
        //# valid value and be consistent with whatever was specified with the
        //# command; otherwise, the LUN field is reserved.
        lun: if piece.acknowledge { lun } else { Lun([0; 8]) },
        itt,
        ttt: if piece.acknowledge { Ttt(task.0) } else { Ttt::RESERVED },
        stat_sn: StatSn(0),
        exp_cmd_sn: CmdSn(0),
        max_cmd_sn: CmdSn(0),
        data_sn: DataSn(piece.sn),
        buffer_offset: piece.offset,
        residual_bytes: 0,
    }
}

impl Session {
    /// `Session::data_in` when what is sent may have to be sent again. Status always has a PDU of its own, which is kept.
    #[cold]
    pub(super) fn data_in_kept<O: Outbox>(
        &mut self,
        task: TaskId,
        offset: u32,
        len: u32,
        data: DataRef,
        finish: Option<DataInEnd>,
        out: &mut O,
    ) {
        if self.tasks.comes_round(task) {
            self.forget_namesakes(task);
        }
        let Some(t) = self.tasks.get_mut(task).filter(|t| t.state == State::Open) else { return };
        let (conn, itt, lun) = (t.command.conn, t.itt, t.command.lun);
        let connection = self.connections.get(usize::from(conn.0));
        // Without a connection the cut does not matter: it is made again for the next one.
        let (pdu_bytes, max_burst) = connection.map_or((8192, 8192), |c| (c.data_in_bytes, c.burst_bytes));
        let edtl = t.command.read_edtl_bytes();
        let len = len.min(edtl.saturating_sub(offset));
        let ends = finish.is_some() || offset.saturating_add(len) >= edtl;
        let outgoing = t.outgoing.get_or_insert_with(|| Box::new(Outgoing::new(task)));
        let run = Run { begin: t.input, offset, len, pdu_bytes, max_burst, ends };
        t.input = run.end();
        if len > 0 {
            outgoing.runs.push_back(run);
        }
        if outgoing.replaying && len > 0 {
            outgoing.ask(None, 1);
            self.ask_shard(task, &[(offset, len)]);
        } else if connection.is_some() {
            for piece in run.pieces() {
                let mut header = [0; 48];
                data_in(piece, itt, lun, task).emit(&mut header);
                let at = data.advanced(piece.offset.wrapping_sub(offset));
                self.send_data(conn, &mut header, Payload::Data { at, len: piece.len }, out);
            }
        }
        if let Some(end) = finish {
            self.complete(task, Ending::new(GOOD, &[]), end.transfer_bytes, Direction::In, out);
        }
    }

    /// Forgets the responses to old tasks whose ids may be given out again from now on, because the ids of this task's
    /// slot have come round. Those tasks were millions of commands ago. What is asked for of a new task must not be
    /// looked for in their responses.
    fn forget_namesakes(&mut self, task: TaskId) {
        let is_namesake = |k: &Kept| k.task().is_some_and(|old| is_beside(old, task));
        self.lost.iter_mut().for_each(|l| l.kept.retain(|k| !is_namesake(k)));
        self.connections.iter_mut().for_each(|c| c.kept.forget_through(is_namesake));
    }

    /// Keeps a response that was just sent.
    #[cold]
    pub(super) fn keep(&mut self, to: ConnIx, stat_sn: StatSn, header: &Bhs, payload: Payload<'_>) {
        let bytes = shared(&payload);
        let held = self.store.hold(0);
        if let Some(c) = self.connections.get_mut(usize::from(to.0)) {
            c.kept.push(Kept { stat_sn, header: *header, bytes, command: None, data: None, held });
        }
    }

    /// A SNACK in a session that has something to send again.
    pub(super) fn snack_kept<O: Outbox>(&mut self, rx: &Received<'_>, snack: &SnackRequest, out: &mut O) {
        //= RFC 7143 section 11.16
        //# If the implementation supports ErrorRecoveryLevel greater than zero, it
        //# MUST support all SNACK types.
        let served = match snack.kind {
            SnackType::DATA_R2T => self.resend_data(rx, snack, out),
            SnackType::STATUS => self.resend_status(rx.conn, snack, out),
            SnackType::DATA_ACK => self.data_ack(rx.conn, snack),
            SnackType::R_DATA => self.resegment(rx, snack, out),
            _ => Err(RejectReason::PROTOCOL_ERROR),
        };
        //= RFC 7143 section 7.8
        //# In response to the SNACK, the target MUST either resend the data PDU or
        //# reject the SNACK with a Reject PDU with a reason code of "SNACK reject",
        //# in which case:
        let Err(reason) = served else { return };
        self.reject(rx.conn, rx.bhs, reason, out);
        //= RFC 7143 section 7.8
        //# a.1) If the status has not already been sent for the command,
        //# the target MUST terminate the command with a CHECK
        //# CONDITION Status and an iSCSI Condition of "SNACK
        //# rejected" (Section 11.4.7.2).
        if reason == RejectReason::SNACK_REJECT
            && let Some((Holder::Task(id), _)) = self.holder(rx.conn, snack.itt)
        {
            self.fail_task(id, TaskFault::SnackRejected, out);
        }
    }

    /// What has the read data of a command that is allegiant to this connection, and the data, if some was sent.
    /// `None`: the connection has no such command.
    fn holder(&mut self, conn: ConnIx, itt: Itt) -> Option<(Holder, Option<&mut Outgoing>)> {
        if let Some(id) = self.tasks.find(itt) {
            let t = self.tasks.get_mut(id)?;
            //= RFC 7143 section 4.2.5.1
            //# Retransmission requests (SNACK PDUs), and the data and status that they
            //# generate, MUST also use the same connection.
            let ours = t.command.conn == conn && matches!(t.kind, Kind::Scsi);
            return if ours { Some((Holder::Task(id), t.outgoing.as_deref_mut())) } else { None };
        }
        let kept = self.connections.get_mut(usize::from(conn.0))?.kept.find(itt)?;
        Some((Holder::Response, kept.data.as_deref_mut()))
    }

    pub(super) fn ask_shard(&mut self, task: TaskId, stretches: &[(u32, u32)]) {
        for &(offset, len) in stretches {
            self.resends += 1;
            self.events.push(Event::Resend { task, offset, len });
        }
    }

    fn resend_data<O: Outbox>(
        &mut self,
        rx: &Received<'_>,
        snack: &SnackRequest,
        out: &mut O,
    ) -> Result<(), RejectReason> {
        let room = RESENDS.saturating_sub(self.resends);
        //= RFC 7143 section 11.16
        //# Any SNACK that requests a numbered response, data, or R2T that was
        //# not sent by the target or was already acknowledged by the initiator
        //# MUST be rejected with a reason code of "Protocol Error".
        let (holder, outgoing) = self.holder(rx.conn, snack.itt).ok_or(RejectReason::PROTOCOL_ERROR)?;
        let Some(outgoing) = outgoing else {
            let Holder::Task(id) = holder else { return Err(RejectReason::PROTOCOL_ERROR) };
            return self.resend_r2t(id, snack, out);
        };
        let (acked, end) = (outgoing.acked_sn, outgoing.end_sn());
        let all = snack.run_len == 0;
        let from = if all && snack.beg_run == 0 { acked } else { snack.beg_run };
        let to = if all { end } else { from.saturating_add(snack.run_len) };
        if from < acked || to > end || from >= to {
            return Err(RejectReason::PROTOCOL_ERROR);
        }
        let stretches = outgoing.stretches(from, to);
        if stretches.len() > room {
            return Err(RejectReason::SNACK_REJECT);
        }
        outgoing.ask(Some(rx.bhs), stretches.len());
        let task = outgoing.task;
        self.ask_shard(task, &stretches);
        Ok(())
    }

    /// Sends the outstanding R2T again, as it was, if the SNACK asks for it.
    fn resend_r2t<O: Outbox>(&mut self, id: TaskId, snack: &SnackRequest, out: &mut O) -> Result<(), RejectReason> {
        let t = self.tasks.get(id).ok_or(RejectReason::PROTOCOL_ERROR)?;
        let (sn, from) = (t.incoming.r2t_sn, t.incoming.r2t_from);
        let end = t.incoming.r2t_end().ok_or(RejectReason::PROTOCOL_ERROR)?;
        let all = snack.run_len == 0 && snack.beg_run <= sn;
        if !all && !(snack.beg_run..snack.beg_run.saturating_add(snack.run_len)).contains(&sn) {
            return Err(RejectReason::PROTOCOL_ERROR);
        }
        let (conn, itt, lun) = (t.command.conn, t.itt, t.command.lun);
        //= RFC 7143 section 11.16
        //# The numbered response(s) or R2T(s) requested by a SNACK MUST be
        //# delivered as exact replicas of the ones that the target transmitted
        //# originally, except for the fields ExpCmdSN, MaxCmdSN, and ExpDataSN,
        //# which MUST carry the current values.
        let r2t = R2t {
            lun,
            itt,
            ttt: Ttt(id.0),
            stat_sn: StatSn(0),
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
            r2t_sn: R2tSn(sn),
            buffer_offset: from,
            desired_len_bytes: end.saturating_sub(from),
        };
        let mut header = [0; 48];
        r2t.emit(&mut header);
        //= RFC 7143 section 11.16
        //# R2T(s)requested by SNACK MUST also carry the current value of the
        //# StatSN.
        self.send_unnumbered(conn, &mut header, out);
        Ok(())
    }

    fn resend_status<O: Outbox>(
        &mut self,
        conn: ConnIx,
        snack: &SnackRequest,
        out: &mut O,
    ) -> Result<(), RejectReason> {
        let c = self.connections.get(usize::from(conn.0)).ok_or(RejectReason::PROTOCOL_ERROR)?;
        let (acked, end) = (c.exp_stat_sn, c.stat_sn);
        let all = snack.run_len == 0;
        let from = if all && snack.beg_run == 0 { acked } else { StatSn(snack.beg_run) };
        let to = if all { end } else { from.add(snack.run_len) };
        if from.lt(acked) || end.lt(to) || (from == to && !all) {
            return Err(RejectReason::PROTOCOL_ERROR);
        }
        if c.kept.iter().next().is_none_or(|kept| from.lt(kept.stat_sn)) && from != to {
            // The first response that is asked for was dropped to make room for others.
            return Err(RejectReason::SNACK_REJECT);
        }
        let wanted = |k: &&Kept| from.le(k.stat_sn) && k.stat_sn.lt(to);
        let again: Vec<_> = c.kept.iter().filter(wanted).map(|k| (k.stat_sn, k.header, k.bytes.clone())).collect();
        for (stat_sn, mut header, bytes) in again {
            self.send_again(conn, stat_sn, &mut header, &bytes, out);
        }
        Ok(())
    }

    fn data_ack(&mut self, conn: ConnIx, snack: &SnackRequest) -> Result<(), RejectReason> {
        let task = TaskId(snack.ttt.0);
        let outgoing = match self.tasks.get_mut(task) {
            Some(t) if t.command.conn == conn => t.outgoing.as_deref_mut(),
            _ => {
                let c = self.connections.get_mut(usize::from(conn.0));
                let mut kept = c.into_iter().flat_map(|c| c.kept.iter_mut());
                kept.find(|k| k.task() == Some(task)).and_then(|k| k.data.as_deref_mut())
            }
        };
        match outgoing {
            Some(outgoing) => outgoing.acknowledge(snack.beg_run).then_some(()).ok_or(RejectReason::PROTOCOL_ERROR),
            // The status has been acknowledged, and all data with it.
            None => Ok(()),
        }
    }

    fn resegment<O: Outbox>(
        &mut self,
        rx: &Received<'_>,
        snack: &SnackRequest,
        out: &mut O,
    ) -> Result<(), RejectReason> {
        //= RFC 7143 section 11.16.5
        //# For a R-Data SNACK, this field MUST contain a value that is different
        //# from 0 or 0xffffffff and is unique for the task (identified by the
        //# Initiator Task Tag).
        if snack.ttt.0 == 0 || snack.ttt.is_reserved() || snack.beg_run != 0 || snack.run_len != 0 {
            return Err(RejectReason::PROTOCOL_ERROR);
        }
        let c = self.connections.get(usize::from(rx.conn.0)).ok_or(RejectReason::PROTOCOL_ERROR)?;
        let (pdu_bytes, max_burst) = (c.data_in_bytes, c.burst_bytes);
        let room = RESENDS.saturating_sub(self.resends);
        let (holder, outgoing) = self.holder(rx.conn, snack.itt).ok_or(RejectReason::PROTOCOL_ERROR)?;
        let outgoing = outgoing.ok_or(RejectReason::PROTOCOL_ERROR)?;
        if outgoing.runs.len() > room {
            return Err(RejectReason::SNACK_REJECT);
        }
        //= RFC 7143 section 11.16.5
        //# This value MUST be copied by the iSCSI target
        //# in the last or only SCSI Response PDU it issues for the command.
        //= RFC 7143 section 11.16.3
        //# A target that has received a R-Data SNACK MUST return a SCSI Response
        //# that contains a copy of the SNACK Tag field from the R-Data SNACK in the
        //# SCSI Response SNACK Tag field as its last or only Response.
        outgoing.snack_tag = snack.ttt.0;
        outgoing.then_status = matches!(holder, Holder::Response);
        let input = outgoing.recut(pdu_bytes, max_burst);
        let stretches: Vec<_> = outgoing.runs.iter().map(|run| (run.offset, run.len)).collect();
        outgoing.ask(Some(rx.bhs), stretches.len());
        let (task, idle) = (outgoing.task, outgoing.pending == 0);
        if let Holder::Task(id) = holder
            && let Some(t) = self.tasks.get_mut(id)
        {
            t.input = input;
        }
        self.ask_shard(task, &stretches);
        if idle {
            self.data_resent(task, out);
        }
        Ok(())
    }

    /// Sends read data again, which the shard has read for an [`Event::Resend`]; `data` is `None` if it cannot be read.
    /// `offset` and `len` are those of the event, bytes. Returns whether anything was sent that refers to `data`.
    pub fn resend<O: Outbox>(
        &mut self,
        task: TaskId,
        offset: u32,
        len: u32,
        data: Option<DataRef>,
        out: &mut O,
    ) -> bool {
        self.resends = self.resends.saturating_sub(1);
        // The connection that this was read for was lost meanwhile. The next one asks for its own stretches and does
        // not wait for this one.
        if self.outgoing(task).is_some_and(Outgoing::take_stale) || self.takes_stale_of_lost(task) {
            return false;
        }
        let Some((conn, itt, lun)) = self.place_of(task) else { return false };
        let Some(outgoing) = self.outgoing(task) else { return false };
        let snack = outgoing.answered(data.is_some());
        let upto = offset.saturating_add(len);
        let inside = |p: &Piece| offset <= p.offset && p.offset.saturating_add(p.len) <= upto;
        let acked = outgoing.acked_sn;
        let runs = outgoing.runs.iter().filter(|r| r.offset < upto && offset < r.offset.saturating_add(r.len));
        let pieces: Vec<Piece> = match data {
            Some(_) => runs.flat_map(|r| r.pieces()).filter(|p| p.sn >= acked && inside(p)).collect(),
            None => Vec::new(),
        };
        let Some(data) = data else {
            //= RFC 7143 section 7.8
            //# In response to the SNACK, the target MUST either resend the data PDU or
            //# reject the SNACK with a Reject PDU with a reason code of "SNACK reject",
            //# in which case:
            if let Some(header) = snack {
                self.reject(conn, &header, RejectReason::SNACK_REJECT, out);
            }
            self.unreadable(task, out);
            return false;
        };
        //= RFC 7143 section 11.16
        //# The numbered Data-In PDUs requested by a Data SNACK MUST be delivered as
        //# exact replicas of the ones that the target transmitted originally,
        //# except for the fields ExpCmdSN and MaxCmdSN, which MUST carry the
        //# current values; and except for resegmentation (see Section 11.16.3).
        for piece in &pieces {
            let mut header = [0; 48];
            data_in(*piece, itt, lun, task).emit(&mut header);
            let at = data.advanced(piece.offset.wrapping_sub(offset));
            self.send_data(conn, &mut header, Payload::Data { at, len: piece.len }, out);
        }
        self.data_resent(task, out);
        !pieces.is_empty()
    }

    /// Connection, tag and LUN of a command with read data.
    fn place_of(&self, task: TaskId) -> Option<(ConnIx, Itt, Lun)> {
        if let Some(t) = self.tasks.get(task) {
            return Some((t.command.conn, t.itt, t.command.lun));
        }
        let (ix, n) = self.find_kept(task)?;
        let (itt, lun) = self.connections.get(ix)?.kept_at(n)?.command?;
        Some((ConnIx(ix as u8), itt, lun))
    }

    /// The slot of the connection that keeps the answer to a task, and the answer's place among what that keeps. Where
    /// it was found last is looked at first: stretches of one task come together, and there may be thousands of
    /// responses.
    fn find_kept(&self, task: TaskId) -> Option<(usize, usize)> {
        let is_it = |k: &Kept| k.task() == Some(task);
        let (ix, n) = self.found.get();
        if self.connections.get(ix).and_then(|c| c.kept_at(n)).is_some_and(is_it) {
            return Some((ix, n));
        }
        let all = self.connections.iter().enumerate();
        let found = all.filter_map(|(ix, c)| Some((ix, c.all_kept().position(is_it)?))).next()?;
        self.found.set(found);
        Some(found)
    }

    /// The connection that the answer to an [`Event::Resend`] goes out on, for the shard's buffers.
    pub fn resend_connection(&self, task: TaskId) -> Option<ConnIx> {
        self.place_of(task).map(|(conn, ..)| conn)
    }

    /// The tasks whose read data may still be asked for, sorted by id. There is no such question for one task: it would
    /// cost as much as this one.
    pub fn resendable(&self) -> Vec<TaskId> {
        let ids = (0..self.tasks.slots()).filter_map(|slot| self.tasks.id(slot));
        let kept = self.connections.iter().flat_map(Connection::all_kept);
        let kept = kept.chain(self.lost.iter().flat_map(|l| l.kept.iter()));
        let mut all: Vec<TaskId> = ids.chain(kept.filter_map(Kept::task)).collect();
        all.sort_unstable();
        all
    }

    /// Whether it has more than one connection, so that the Response Fence flag of an [`Ending`] matters.
    #[inline]
    pub fn has_several_connections(&self) -> bool {
        self.connections.len() > 1
    }

    /// Whether read data may be asked for again at all: ErrorRecoveryLevel is above 0.
    #[inline]
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    fn outgoing(&mut self, task: TaskId) -> Option<&mut Outgoing> {
        if self.tasks.get(task).is_some() {
            return self.tasks.get_mut(task)?.outgoing.as_deref_mut();
        }
        let (ix, n) = self.find_kept(task)?;
        self.connections.get_mut(ix)?.kept_at_mut(n)?.data.as_deref_mut()
    }

    /// Takes a stale stretch of a task whose answer waits for another connection. Returns whether there was one.
    fn takes_stale_of_lost(&mut self, task: TaskId) -> bool {
        let mut kept = self.lost.iter_mut().flat_map(|lost| lost.kept.iter_mut());
        let data = kept.find(|kept| kept.task() == Some(task)).and_then(|kept| kept.data.as_deref_mut());
        data.is_some_and(Outgoing::take_stale)
    }

    /// Sends the status of a task, or sends it again, if that has waited for read data and no stretch is pending any
    /// more.
    pub(super) fn data_resent<O: Outbox>(&mut self, task: TaskId, out: &mut O) {
        let Some(outgoing) = self.outgoing(task).filter(|o| o.pending == 0) else { return };
        outgoing.replaying = false;
        let (end_sn, tag) = (outgoing.end_sn(), outgoing.snack_tag);
        let again = std::mem::take(&mut outgoing.then_status);
        if self.tasks.get(task).is_some() {
            return self.answer_if_due(task, out);
        }
        if !again {
            return;
        }
        let Some((ix, n)) = self.find_kept(task) else { return };
        let (conn, Some(c)) = (ConnIx(ix as u8), self.connections.get_mut(ix)) else { return };
        if let Some(mut kept) = c.take_replay(n) {
            retag(&mut kept.header, tag, end_sn);
            return self.send_kept(conn, kept, out);
        }
        let Some(kept) = c.kept_at_mut(n) else { return };
        //= RFC 7143 section 11.16.3
        //# If a target sends more
        //# than one SCSI Response PDU due to this rule, all SCSI Response PDUs
        //# must carry the same StatSN (see Section 11.4.4).
        retag(&mut kept.header, tag, end_sn);
        let (stat_sn, mut header, bytes) = (kept.stat_sn, kept.header, kept.bytes.clone());
        self.send_again(conn, stat_sn, &mut header, &bytes, out);
    }

    /// Sends a response that has no StatSN on this connection yet.
    pub(super) fn send_kept<O: Outbox>(&mut self, conn: ConnIx, kept: Kept, out: &mut O) {
        let Kept { mut header, bytes, command, data, .. } = kept;
        let payload = if bytes.is_empty() { Payload::None } else { Payload::Bytes(&bytes) };
        self.send_numbered(conn, &mut header, payload, out);
        if let Some(c) = self.connections.get_mut(usize::from(conn.0)) {
            c.kept.attach(command, data);
        }
    }

    /// Has a command end with "SNACK rejected" because its data cannot be read again: its task, or a response that has
    /// not been sent on its new connection. A response that was sent stays as it is.
    fn unreadable<O: Outbox>(&mut self, task: TaskId, out: &mut O) {
        if self.tasks.get(task).is_some() {
            if let Some(outgoing) = self.outgoing(task) {
                outgoing.replaying = false;
            }
            if let Some(t) = self.tasks.get_mut(task).filter(|t| t.state == State::Answering) {
                t.state = State::Open;
            }
            return self.fail_task(task, TaskFault::SnackRejected, out);
        }
        let Some((ix, n)) = self.find_kept(task) else { return };
        let Some(mut kept) = self.connections.get_mut(ix).and_then(|c| c.take_replay(n)) else { return };
        let sense = TaskFault::SnackRejected.sense();
        kept.bytes = [&[0, sense.len() as u8][..], &sense].concat().into();
        if let Ok(response) = ScsiResponse::parse(&kept.header) {
            ScsiResponse { status: CHECK_CONDITION, ..response }.emit(&mut kept.header);
        }
        bhs::set_data_segment_len(&mut kept.header, kept.bytes.len());
        kept.data = None;
        self.send_kept(ConnIx(ix as u8), kept, out);
    }
}

fn retag(header: &mut Bhs, snack_tag: u32, exp_data_sn: u32) {
    if let Ok(response) = ScsiResponse::parse(header) {
        ScsiResponse { snack_tag, exp_data_sn, ..response }.emit(header);
    }
}
