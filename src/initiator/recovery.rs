//! Recovery within a session (RFC 7143 chapter 7): SNACK for what is missing, retries of commands that never arrived, and,
//! with ErrorRecoveryLevel 2, commands that go on by another connection.
//!
//! With ErrorRecoveryLevel 0 there is one way out: the session is dropped, and what was not answered is issued again in a
//! new one. That is the driver's.

use super::event::{Event, Fault, Host, TaskIx};
use super::login::LoggedIn;
use super::numbers::Arrival;
use super::outbox::Outbox;
use super::session::Session;
use super::stamp::{About, Stamp};
use super::task::{AckDue, Kept};
use crate::wire::{Cid, DataIn, Itt, R2t, StatSn, TmFunction, TmResponse};
use std::ops::Range;

impl Session {
    /// Data-In, where gaps are filled.
    pub(super) fn data_in_recovering(
        &mut self,
        cid: Cid,
        pdu: &DataIn,
        digest_ok: bool,
        kept: Kept,
        host: &mut impl Host,
    ) -> Result<(), Fault> {
        let Some(ix) = self.find(cid, pdu.itt) else {
            let is_new = digest_ok && pdu.has_status && self.numbered(cid, pdu.stat_sn, host)?;
            return if is_new { Err(Fault::UnknownTask(pdu.itt)) } else { Ok(()) };
        };
        let now_ms = self.now_ms;
        let Some(task) = self.task_mut(ix) else { return Ok(()) };
        task.since_ms = now_ms;
        let sn = pdu.data_sn.0;
        //= RFC 7143 section 7.9
        //# The initiator MUST address these implied digest errors as
        //# described in Section 7.8.
        let gap = task.next_data_sn..sn;
        task.next_data_sn = task.next_data_sn.max(sn.saturating_add(1));
        if digest_ok && task.recovery.data.insert(sn) {
            task.received_bytes = task.received_bytes.wrapping_add(pdu.data_segment_len);
        }
        if pdu.acknowledge {
            let bytes = pdu.buffer_offset.saturating_add(pdu.data_segment_len);
            task.recovery.ack_due = Some(AckDue { data_sn: sn.saturating_add(1), bytes, ttt: pdu.ttt, lun: pdu.lun });
        }
        self.ask_data(ix, gap, host);
        if !digest_ok {
            self.ask_data(ix, sn..sn.saturating_add(1), host);
            return Ok(());
        }
        self.acknowledge_data(ix, host);
        if pdu.has_status {
            return self.status_recovering(cid, ix, kept, &[], host);
        }
        self.settle(ix, false, host);
        Ok(())
    }

    /// Sends the DataACK that the target wants, once there are no holes before it.
    fn acknowledge_data(&mut self, ix: TaskIx, out: &mut impl Outbox) {
        let Some(task) = self.task_mut(ix) else { return };
        //= RFC 7143 section 11.16.2
        //# However, if the initiator has
        //# detected holes in the input sequence, it MUST postpone issuing the SNACK
        //# of type DataACK until the holes are filled.
        let data = &task.recovery.data;
        let Some(due) = task.recovery.ack_due.filter(|due| data.is_whole(due.data_sn)) else { return };
        task.recovery.ack_due = None;
        task.recovery.acked = (due.data_sn, due.bytes);
        let cid = task.cid;
        if let Some(stamp) = self.stamp(cid) {
            self.send(cid, stamp.data_ack(due.lun, due.ttt, due.data_sn), &[], out);
        }
    }

    /// Returns whether an R2T is to be answered.
    pub(super) fn r2t_recovering(&mut self, ix: TaskIx, pdu: &R2t, out: &mut impl Outbox) -> bool {
        let now_ms = self.now_ms;
        let Some(task) = self.task_mut(ix) else { return false };
        task.since_ms = now_ms;
        let sn = pdu.r2t_sn.0;
        let gap = if task.recovery.any_r2t { sn..sn } else { task.next_r2t_sn..sn };
        task.recovery.any_r2t = false;
        task.next_r2t_sn = task.next_r2t_sn.max(sn.saturating_add(1));
        let is_new = task.recovery.r2ts.insert(sn);
        self.ask_data(ix, gap, out);
        is_new
    }

    /// The status of a command, where it may have to wait for data.
    pub(super) fn status_recovering(
        &mut self,
        cid: Cid,
        ix: TaskIx,
        kept: Kept,
        data: &[u8],
        host: &mut impl Host,
    ) -> Result<(), Fault> {
        let now_ms = self.now_ms;
        let Some(task) = self.task_mut(ix) else { return Ok(()) };
        let (before, is_whole, itt) = (task.recovery.kept, task.is_whole(&kept), task.command.itt);
        //= RFC 7143 section 7.9
        //# If the initiator wants to recover the
        //# missing data for a command, it MUST NOT acknowledge the received
        //# responses that start from the StatSN of the relevant command until
        //# it has completed receiving all the data PDUs of the command.
        let connection = self.connection_mut(cid).ok_or(Fault::NoConnection)?;
        let arrival = connection.statuses.arrived(kept.stat_sn, is_whole);
        if before.is_some_and(|before| before.stat_sn != kept.stat_sn) && arrival != Arrival::Again {
            return Err(Fault::Twice(itt));
        }
        if let Some(task) = self.task_mut(ix) {
            task.since_ms = now_ms;
            task.recovery.kept = Some(kept);
            task.recovery.data_of_response.clear();
            task.recovery.data_of_response.extend_from_slice(data);
        }
        self.ask_statuses(cid, kept.stat_sn, host);
        self.settle(ix, true, host);
        Ok(())
    }

    /// Ends a command whose status and data are there. With `ask`, data that is missing is asked for.
    fn settle(&mut self, ix: TaskIx, ask: bool, host: &mut impl Host) {
        let Some(task) = self.task_mut(ix) else { return };
        let Some(kept) = task.recovery.kept else { return };
        if task.is_whole(&kept) {
            let (cid, data) = (task.cid, std::mem::take(&mut task.recovery.data_of_response));
            task.recovery.kept = None;
            if let Some(connection) = self.connection_mut(cid) {
                connection.statuses.acknowledge(kept.stat_sn, true);
            }
            return self.ended(ix, &kept, &data, host);
        }
        if ask {
            let missing: Vec<_> = task.recovery.data.missing(kept.data_ins).collect();
            missing.into_iter().for_each(|gap| self.ask_data(ix, gap, host));
        }
    }

    /// Asks for data, or R2Ts, of a command once more.
    fn ask_data(&self, ix: TaskIx, run: Range<u32>, out: &mut impl Outbox) {
        let Some(task) = self.task(ix).filter(|_| !run.is_empty()) else { return };
        let Some(stamp) = self.stamp(task.cid) else { return };
        self.send(task.cid, stamp.data_snack(task.command.lun, task.command.itt, run), &[], out);
    }

    /// Asks for each status before `upto` that has not come.
    pub(super) fn ask_statuses(&self, cid: Cid, upto: StatSn, out: &mut impl Outbox) {
        let (Some(connection), Some(stamp)) = (self.connection(cid), self.stamp(cid)) else { return };
        for stat_sn in connection.statuses.missing(upto) {
            self.send(cid, stamp.status_snack(stat_sn.0..stat_sn.next().0), &[], out);
        }
    }

    fn stamp(&self, cid: Cid) -> Option<Stamp> {
        Some(Stamp { cmd_sn: self.window.cmd_sn, exp_stat_sn: self.exp_stat_sn(cid)? })
    }

    /// A connection is gone. With ErrorRecoveryLevel 2 its commands wait to be reassigned; below that they end when another
    /// connection has taken its place ([`Session::joined`]), for until then the target may go on with them.
    pub fn cut(&mut self, cid: Cid) {
        if let Some(connection) = self.connection_mut(cid) {
            connection.is_up = false;
        }
        for task in self.tasks.iter_mut().filter(|task| task.cid == cid) {
            (task.is_allegiant, task.recovery.reassign) = (false, None);
        }
    }

    /// A connection has logged in that joins the session, or takes the place of one that is gone.
    pub fn joined(&mut self, new: &LoggedIn, host: &mut impl Host) {
        self.cut(new.cid);
        self.connect(new);
        if self.params().error_recovery_level < 2 {
            for ix in (0..self.tasks.len()).map(|ix| TaskIx(ix as u16)) {
                let Some(task) = self.task_mut(ix).filter(|task| task.cid == new.cid) else { continue };
                if task.itt.take().is_some() {
                    host.event(Event::Cleared { task: ix });
                }
            }
        }
    }

    /// Whether a command has made no progress for `patience_ms`: with ErrorRecoveryLevel 0 something is lost for good.
    pub fn is_stuck(&self, patience_ms: u64) -> bool {
        self.tasks.iter().any(|task| task.itt.is_some() && self.now_ms > task.since_ms.saturating_add(patience_ms))
    }

    /// Looks after commands that make no progress (ErrorRecoveryLevel 1 and 2): asks for what is missing of them, or sends
    /// them again if nothing has come, and reassigns those whose connection is gone and up again.
    pub fn look_after(&mut self, patience_ms: u64, host: &mut impl Host) {
        for ix in (0..self.tasks.len()).map(|ix| TaskIx(ix as u16)) {
            let now_ms = self.now_ms;
            let Some(task) = self.task_mut(ix).filter(|task| task.itt.is_some()) else { continue };
            let is_late = now_ms > task.since_ms.saturating_add(patience_ms);
            if !task.is_allegiant {
                if task.recovery.reassign.is_none() || is_late {
                    self.reassign(ix, host);
                }
                continue;
            }
            if !is_late {
                continue;
            }
            task.since_ms = now_ms;
            let (cid, has_status) = (task.cid, task.recovery.kept.is_some());
            if has_status {
                self.settle(ix, true, host);
            } else {
                self.send_again(ix, host);
            }
            // Its answer shows which statuses are missing.
            self.ping(cid, &[], host);
        }
    }

    /// Has a command go on by its connection, which is a new one (ErrorRecoveryLevel 2). The login of that was the implicit
    /// logout of the old one. Returns the tag of the request; `None`: the connection is not up, or there is no such command.
    pub fn reassign(&mut self, ix: TaskIx, out: &mut impl Outbox) -> Option<Itt> {
        let now_ms = self.now_ms;
        let is_due = self.params().error_recovery_level == 2;
        let task = self.task_mut(ix).filter(|task| is_due && task.itt.is_some())?;
        let (exp_data_sn, bytes) = task.recovery.acked;
        let (cid, command) = (task.cid, &task.command);
        let of = About { lun: command.lun, itt: command.itt, cmd_sn: command.cmd_sn, exp_data_sn };
        let itt = self.manage_task(cid, TmFunction::TASK_REASSIGN, of, out)?;
        let task = self.task_mut(ix)?;
        //= RFC 7143 section 11.5.6
        //# The
        //# initiator MUST discard any data PDUs from the previous execution that
        //# it did not acknowledge
        task.recovery.data.truncate(exp_data_sn);
        (task.next_data_sn, task.received_bytes) = (exp_data_sn, bytes);
        task.recovery.r2ts.clear();
        (task.recovery.any_r2t, task.next_r2t_sn) = (true, 0);
        (task.recovery.kept, task.recovery.ack_due) = (None, None);
        (task.recovery.reassign, task.since_ms) = (Some(itt), now_ms);
        Some(itt)
    }

    /// The answer to a task management function: the command that was reassigned goes on.
    pub(super) fn reassigned(&mut self, itt: Itt, response: TmResponse, out: &mut impl Outbox) {
        let Some(ix) = self.tasks.iter().position(|task| task.recovery.reassign == Some(itt)) else { return };
        let (ix, now_ms) = (TaskIx(ix as u16), self.now_ms);
        let Some(task) = self.task_mut(ix) else { return };
        (task.recovery.reassign, task.since_ms) = (None, now_ms);
        match response {
            TmResponse::FUNCTION_COMPLETE => task.is_allegiant = true,
            // The target never saw it: the number is a gap, which is plugged by sending it again.
            TmResponse::TASK_DOES_NOT_EXIST => {
                task.is_allegiant = true;
                self.send_again(ix, out);
            }
            _ => {}
        }
    }
}
