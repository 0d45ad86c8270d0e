//! From initiator to target: R2Ts, and the Data-Out PDUs that answer them or come unsolicited.
//!
//! All sequences are taken in increasing offset order and without gaps (DataPDUInOrder and DataSequenceInOrder are Yes: the
//! login agrees to nothing else), so that what has arrived is one number. An R2T carries the task's id as its Target
//! Transfer Tag; which of several outstanding ones a Data-Out answers is known from their order.

use super::fault::TaskFault;
use super::seam::{ConnIx, Dest, Event, Outbox, TaskId};
use super::task::{Kind, State, Task};
use super::{Received, Session};
use crate::limits::{RECOVERY_R2TS, SEQUENCE_TIMEOUT_MS};
use crate::wire::{CmdSn, DataOut, R2t, R2tSn, RejectReason, StatSn, Ttt};

/// What a Data-Out is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// The next piece of a live task's data.
    Take(TaskId),
    /// It belongs to a task whose end is settled: its data is read over, and only its F bit counts.
    Swallow(TaskId),
    /// It breaks a rule, which ends the task.
    Bad { task: TaskId, reject: Option<RejectReason>, fault: TaskFault },
    /// A Data-Out before it was lost. At ErrorRecoveryLevel 1 and 2 a recovery R2T makes up for that.
    Broken(TaskId),
    /// It is read over without a word. Either its data has arrived before, as when both an R2T and its recovery R2T are
    /// answered, or it was under way to a task that has been aborted since.
    Ghost,
    /// Nobody asked for it.
    Unknown,
}

impl Session {
    fn judge_data_out(&self, conn: ConnIx, pdu: &DataOut) -> Judged {
        let solicited = !pdu.ttt.is_reserved();
        let id = if solicited { Some(TaskId(pdu.ttt.0)) } else { self.tasks.find(pdu.itt) };
        let task = id.and_then(|id| Some((id, self.tasks.get(id)?)));
        //= RFC 7143 section 4.2.5.1
        //# If an initiator issues a write command, the initiator MUST send the
        //# data, if any, for that command over the same TCP connection that was
        //# used to deliver the SCSI command.
        let Some((id, task)) =
            task.filter(|(_, t)| t.itt == pdu.itt && t.command.conn == conn && matches!(t.kind, Kind::Scsi))
        else {
            let ghost = self.tasks.ghosts.has(TaskId(pdu.ttt.0), pdu.itt);
            return if ghost { Judged::Ghost } else { Judged::Unknown };
        };
        if matches!(task.state, State::Answering | State::Aborting) || task.fault.is_some() {
            return Judged::Swallow(id);
        }
        let incoming = &task.incoming;
        if self.keeps
            && let Some(judged) = judge_recoverable(id, task, pdu)
        {
            return judged;
        }
        let bad = |reject, fault| Judged::Bad { task: id, reject, fault };
        let end = match (solicited, incoming.unsolicited) {
            (false, true) => incoming.unsolicited_end,
            (false, false) => return bad(None, TaskFault::UnexpectedUnsolicitedData),
            (true, unsolicited) => match incoming.r2t_end() {
                None => return Judged::Unknown,
                // Out of turn: the unsolicited data comes first.
                //= RFC 7143 section 4.2.5.2
                //# In addition, iSCSI initiators and targets MUST enforce some ordering
                //# rules.
                Some(_) if unsolicited => {
                    return bad(Some(RejectReason::INVALID_PDU_FIELD), TaskFault::IncorrectAmountOfData);
                }
                Some(end) => end,
            },
        };
        //= RFC 7143 section 4.2.5.3
        //# As the Initiator Task Tag is used to identify a task during its
        //# execution, the iSCSI initiator and target MUST verify that all other
        //# fields used in task-related PDUs have values that are consistent with
        //# the values used at the task instantiation, based on the Initiator Task
        //# Tag (e.g., the LUN used in an R2T PDU MUST be the same as the one used
        //# in the SCSI Command PDU used to instantiate the task).
        //= RFC 7143 section 11.17.1
        //# Some examples are invalid TTT/ITT,
        //# buffer offset, LUN qualifying a TTT, and an invalid sequence
        //# number in a SNACK.
        if solicited && pdu.lun != task.command.lun || pdu.buffer_offset != task.command.received_bytes {
            return bad(Some(RejectReason::INVALID_PDU_FIELD), TaskFault::IncorrectAmountOfData);
        }
        //= RFC 7143 section 7.9
        //# When a target receives a data PDU with an out-of-
        //# order DataSN, it means that the target must have hit a header or
        //# payload digest error on at least one of the earlier data PDUs.  The
        //# target MUST address these implied digest errors as described in
        //# Section 7.8.
        if pdu.data_sn.0 != incoming.data_sn {
            return bad(Some(RejectReason::INVALID_PDU_FIELD), TaskFault::ProtocolServiceCrcError);
        }
        //= RFC 7143 section 11.4.7.2
        //# The target reports the same error when the amount
        //# of data sent as a reply to an R2T does not match the amount
        //# requested.
        let upto = u64::from(pdu.buffer_offset) + u64::from(pdu.data_segment_len);
        if upto > u64::from(end) || pdu.is_final && upto < u64::from(end) {
            return bad(None, TaskFault::IncorrectAmountOfData);
        }
        Judged::Take(id)
    }

    /// Where the data segment of a Data-Out goes. The shard has the task from now on if the data is placed in it.
    pub(super) fn begin_data_out(&mut self, conn: ConnIx, pdu: &DataOut) -> Dest {
        match self.judge_data_out(conn, pdu) {
            Judged::Take(task) => {
                if let Some(t) = self.tasks.get_mut(task) {
                    t.shared = true;
                }
                Dest::Task { task, offset: pdu.buffer_offset }
            }
            _ => Dest::Discard,
        }
    }

    /// A complete Data-Out.
    pub(super) fn data_out<O: Outbox>(&mut self, rx: &Received<'_>, out: &mut O) {
        let Ok(pdu) = DataOut::parse(rx.bhs) else { return };
        match self.judge_data_out(rx.conn, &pdu) {
            Judged::Take(_) if rx.discarded => self.reject(rx.conn, rx.bhs, RejectReason::INVALID_PDU_FIELD, out),
            Judged::Take(task) => self.take_data_out(task, &pdu, out),
            Judged::Swallow(task) => self.sequence_seen(task, &pdu, out),
            Judged::Bad { task, reject, fault } => {
                if let Some(reason) = reject {
                    self.reject(rx.conn, rx.bhs, reason, out);
                }
                self.lose_data_out(task, &pdu, fault, out);
            }
            Judged::Broken(task) => self.break_sequence(task, &pdu, out),
            Judged::Ghost => {}
            Judged::Unknown => self.reject(rx.conn, rx.bhs, RejectReason::INVALID_PDU_FIELD, out),
        }
    }

    /// A Data-Out whose data digest does not match; it has been rejected.
    pub(super) fn data_out_corrupt<O: Outbox>(&mut self, rx: &Received<'_>, out: &mut O) {
        let Ok(pdu) = DataOut::parse(rx.bhs) else { return };
        //= RFC 7143 section 7.8
        //# If the discarded PDU is a solicited or unsolicited iSCSI data PDU (for
        //# immediate data in a command PDU, the non-data PDU rule below applies),
        //# the target MUST do one of the following:
        if self.keeps {
            //= RFC 7143 section 7.8
            //# a) Request retransmission with a recovery R2T.
            match self.judge_data_out(rx.conn, &pdu) {
                Judged::Take(task) | Judged::Broken(task) => return self.break_sequence(task, &pdu, out),
                _ => {}
            }
        }
        //= RFC 7143 section 7.8
        //# b) Terminate the task with a SCSI Response PDU with a CHECK
        //# CONDITION Status and an iSCSI Condition of "Protocol Service CRC
        //# error" (Section 11.4.7.2).  If the target chooses to implement
        //# this option, it MUST wait to receive all the data (signaled by a
        //# data PDU with the Final bit set for all outstanding R2Ts) before
        //# sending the SCSI Response PDU.
        match self.judge_data_out(rx.conn, &pdu) {
            Judged::Take(task) | Judged::Bad { task, .. } => {
                self.lose_data_out(task, &pdu, TaskFault::ProtocolServiceCrcError, out);
            }
            Judged::Swallow(task) => self.sequence_seen(task, &pdu, out),
            Judged::Broken(_) | Judged::Ghost | Judged::Unknown => {}
        }
    }

    /// Part of a sequence is lost: the rest of the sequence is read over, and at its F bit everything from the gap on
    /// is asked for again.
    fn break_sequence<O: Outbox>(&mut self, task: TaskId, pdu: &DataOut, out: &mut O) {
        let now_ms = self.now_ms;
        let Some(t) = self.tasks.get_mut(task) else { return };
        // From here on only the F bit counts: no DataSN of this sequence is out of order any more.
        //= RFC 7143 section 7.3
        //# When a data PDU is rejected and its DataSN can be ascertained, a target
        //# MUST advance the ExpDataSN for the current data burst if a recovery R2T
        //# is being generated.
        (t.incoming.broken, t.incoming.since_ms) = (true, now_ms);
        if pdu.is_final {
            self.recover(task, !pdu.ttt.is_reserved(), out);
        }
    }

    /// Asks again for what is missing of the current sequence. After `limits::RECOVERY_R2TS` times the task fails.
    fn recover<O: Outbox>(&mut self, task: TaskId, solicited: bool, out: &mut O) {
        let Some(t) = self.tasks.get_mut(task) else { return };
        t.incoming.recoveries = t.incoming.recoveries.saturating_add(1);
        let from = t.command.received_bytes;
        let end = if solicited { t.incoming.r2t_end() } else { None };
        t.incoming.sequence_ended(solicited);
        (t.incoming.broken, t.incoming.asked) = (false, from);
        if t.incoming.recoveries > RECOVERY_R2TS {
            return self.fail_task(task, TaskFault::ProtocolServiceCrcError, out);
        }
        match end {
            //= RFC 7143 section 2.2
            //# A recovery R2T carries the next unused R2TSN
            //# but requests all or part of the data burst that an earlier R2T
            //# (with a lower R2TSN) had already requested.
            Some(end) if t.state == State::Open && from < end => self.send_r2t(task, from, end - from, out),
            // Missing unsolicited data is asked for like any other, when the shard has room for it.
            _ => self.ask(task, out),
        }
        self.answer_if_due(task, out);
    }

    /// Asks again for data that has not come for `limits::SEQUENCE_TIMEOUT_MS`. At ErrorRecoveryLevel 0 this does
    /// nothing.
    pub(super) fn expire_sequences<O: Outbox>(&mut self, out: &mut O) {
        if !self.keeps || self.now_ms < self.scan_ms {
            return;
        }
        self.scan_ms = self.now_ms.saturating_add(SEQUENCE_TIMEOUT_MS / 4);
        for slot in 0..crate::limits::TASKS_PER_SESSION {
            let Some(id) = self.tasks.id(slot) else { continue };
            let Some(t) = self.tasks.get_mut(id).filter(|t| t.incoming.is_owed()) else { continue };
            let alive = matches!(t.state, State::Open | State::Held | State::Answering | State::Aborting);
            let due = t.incoming.since_ms.saturating_add(SEQUENCE_TIMEOUT_MS) <= self.now_ms;
            if !(matches!(t.kind, Kind::Scsi) && alive && due) {
                continue;
            }
            t.incoming.since_ms = self.now_ms;
            let solicited = !t.incoming.unsolicited;
            if t.state == State::Open || t.state == State::Held && t.fault.is_none() {
                //= RFC 7143 section 7.1.4.1
                //# b) Sequence reception timeout (no data or partial-data-and-no-
                //# F-bit) - considered an implicit sequence error and dealt with
                //# as specified in Section 7.9, using the option of a recovery R2T
                self.recover(id, solicited, out);
            } else {
                // Its end is settled: it need not wait for data that is lost.
                t.incoming.sequence_ended(solicited);
                self.answer_if_due(id, out);
                self.drained(id, out);
            }
        }
    }

    /// Fails a task of which a Data-Out is lost. Its status waits for what is still to come of the sequence.
    fn lose_data_out<O: Outbox>(&mut self, task: TaskId, pdu: &DataOut, fault: TaskFault, out: &mut O) {
        if let Some(t) = self.tasks.get_mut(task) {
            if pdu.ttt.is_reserved() {
                t.incoming.unsolicited = true;
            }
            if pdu.is_final {
                t.incoming.sequence_ended(!pdu.ttt.is_reserved());
            }
        }
        //= RFC 7143 section 11.17.1
        //# In all the cases in which a pre-instantiated SCSI task is terminated
        //# because of the reject, the target MUST issue a proper SCSI command
        //# response with CHECK CONDITION as described in Section 11.4.3.
        //= RFC 7143 section 11.17.1
        //# If the error is detected while data from the initiator is still expected
        //# (i.e., the command PDU did not contain all the data and the target has
        //# not received a Data-Out PDU with the Final bit set to 1 for the
        //# unsolicited data, if any, and all outstanding R2Ts, if any), the target
        //# MUST wait until it receives the last expected Data-Out PDUs with the F
        //# bit set to 1 before sending the Response PDU.
        self.fail_task(task, fault, out);
    }

    /// Data for a task that has failed: when the last sequence is complete, its status is due.
    fn sequence_seen<O: Outbox>(&mut self, task: TaskId, pdu: &DataOut, out: &mut O) {
        if pdu.is_final {
            if let Some(t) = self.tasks.get_mut(task) {
                t.incoming.sequence_ended(!pdu.ttt.is_reserved());
            }
            self.answer_if_due(task, out);
            self.drained(task, out);
        }
    }

    #[inline]
    fn take_data_out<O: Outbox>(&mut self, task: TaskId, pdu: &DataOut, out: &mut O) {
        let Some(t) = self.tasks.get_mut(task) else { return };
        let solicited = !pdu.ttt.is_reserved();
        //= RFC 7143 section 11.7.7
        //# The sending of 0-length data segments should be avoided, but initiators
        //# and targets MUST be able to properly receive 0-length data segments.
        t.command.received_bytes = t.command.received_bytes.saturating_add(pdu.data_segment_len);
        t.incoming.data_sn = t.incoming.data_sn.wrapping_add(1);
        t.incoming.since_ms = self.now_ms;
        if pdu.is_final {
            t.incoming.sequence_ended(solicited);
        }
        let received_bytes = t.command.received_bytes;
        if t.state == State::Open && (pdu.is_final || !solicited) {
            self.events.push(Event::DataOut { task, received_bytes });
        }
        if pdu.is_final {
            self.ask(task, out);
        }
    }

    /// When data of a task was last asked for or last came in, milliseconds on the clock of [`finish`](Self::finish),
    /// if the initiator owes the task data. `None`: it owes none.
    pub fn owes_since_ms(&self, task: TaskId) -> Option<u64> {
        let incoming = &self.tasks.get(task)?.incoming;
        incoming.is_owed().then_some(incoming.since_ms)
    }

    /// Tells the session that the shard has room for the task's data up to `upto_bytes`. What neither was sent nor is
    /// on its way is asked for now, as far as MaxBurstLength and MaxOutstandingR2T allow; the rest when earlier R2Ts
    /// have been answered.
    #[inline]
    pub fn want_data_out<O: Outbox>(&mut self, task: TaskId, upto_bytes: u32, out: &mut O) {
        let Some(t) = self.tasks.get_mut(task) else { return };
        t.incoming.wanted = t.incoming.wanted.max(upto_bytes.min(t.command.write_edtl_bytes()));
        self.ask(task, out);
    }

    /// Sends the R2Ts that are wanted and allowed.
    #[inline]
    pub(super) fn ask<O: Outbox>(&mut self, task: TaskId, out: &mut O) {
        loop {
            let Some(t) = self.tasks.get_mut(task).filter(|t| t.state == State::Open) else { return };
            let conn = t.command.conn;
            let Some(connection) = self.connections.get(usize::from(conn.0)) else { return };
            // At ErrorRecoveryLevel 1 and 2 one sequence is under way at a time: the DataSNs of one that is sent again
            // must not be taken for those of the next one.
            if self.keeps && t.incoming.is_owed() {
                return;
            }
            //= RFC 7143 section 11.8
            //# The number of outstanding R2T PDUs is
            //# limited by the value of the negotiated key MaxOutstandingR2T.
            let most = connection.params.max_outstanding_r2t.clamp(1, crate::limits::MAX_OUTSTANDING_R2T);
            if t.incoming.asked >= t.incoming.wanted || t.incoming.r2ts() >= most {
                return;
            }
            //= RFC 7143 section 11.8
            //# If DataSequenceInOrder is Yes, then consecutive R2Ts MUST refer to
            //# continuous non-overlapping ranges, except for Recovery-R2Ts.
            //= RFC 7143 section 13.19
            //# If DataSequenceInOrder is set to Yes, data sequences MUST be transferred
            //# using continuously non-decreasing sequence offsets (R2T buffer offset
            //# for writes, or the smallest SCSI Data-In buffer offset within a read
            //# data sequence).
            let from = t.incoming.asked;
            //= RFC 7143 section 11.8.4
            //# The Desired Data
            //# Transfer Length MUST NOT be 0 and MUST NOT exceed MaxBurstLength.
            let len = (t.incoming.wanted - from).min(connection.params.max_burst_bytes.max(4));
            self.send_r2t(task, from, len, out);
        }
    }

    #[inline]
    fn send_r2t<O: Outbox>(&mut self, task: TaskId, from: u32, len: u32, out: &mut O) {
        let now_ms = self.now_ms;
        let Some(t) = self.tasks.get_mut(task) else { return };
        t.incoming.push_r2t(from + len);
        (t.incoming.r2t_sn, t.incoming.r2t_from, t.incoming.since_ms) = (t.input.sn, from, now_ms);
        let r2t = R2t {
            lun: t.command.lun,
            itt: t.itt,
            //= RFC 7143 section 11.8.5
            //# There is no protocol rule about the Target Transfer Tag except that the
            //# value 0xffffffff is reserved and MUST NOT be sent by a target in an R2T.
            ttt: Ttt(task.0),
            stat_sn: StatSn(0),
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
            r2t_sn: R2tSn(t.input.sn),
            buffer_offset: from,
            desired_len_bytes: len,
        };
        t.input.sn = t.input.sn.wrapping_add(1);
        t.incoming.r2ts_sent = t.incoming.r2ts_sent.wrapping_add(1);
        //= RFC 7143 section 4.2.5.1
        //# The target MUST return Ready To Transfer (R2T), if any, and the status
        //# over the same TCP connection that was used to deliver the SCSI command.
        let conn = t.command.conn;
        let mut header = [0; 48];
        r2t.emit(&mut header);
        //= RFC 7143 section 11.8.3
        //# The StatSN for this
        //# connection is not advanced after this PDU is sent.
        self.send_unnumbered(conn, &mut header, out);
    }
}

/// Judges a Data-Out in a session that can make up for a lost one (ErrorRecoveryLevel 1 and 2). `None`: the rules of
/// level 0 decide.
#[cold]
fn judge_recoverable(id: TaskId, task: &Task, pdu: &DataOut) -> Option<Judged> {
    let incoming = &task.incoming;
    let upto = pdu.buffer_offset.saturating_add(pdu.data_segment_len);
    if pdu.buffer_offset < task.command.received_bytes && upto <= task.command.received_bytes {
        return Some(Judged::Ghost);
    }
    let owed = if pdu.ttt.is_reserved() { incoming.unsolicited } else { incoming.r2t_end().is_some() };
    if !owed {
        // No sequence is open for this data. If the task has asked for data again, it is a late part of a sequence that
        // was given up.
        return incoming.recoveries.gt(&0).then_some(Judged::Ghost);
    }
    //= RFC 7143 section 7.9
    //# When a target receives a data PDU with an out-of-
    //# order DataSN, it means that the target must have hit a header or
    //# payload digest error on at least one of the earlier data PDUs.
    let next = pdu.data_sn.0 == incoming.data_sn && pdu.buffer_offset == task.command.received_bytes;
    let lun = pdu.ttt.is_reserved() || pdu.lun == task.command.lun;
    (lun && (incoming.broken || !next)).then_some(Judged::Broken(id))
}
