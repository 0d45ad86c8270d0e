//! What an initiator asks besides commands: pings, text, task management, logout.

use super::event::TaskIx;
use super::outbox::Outbox;
use super::session::Session;
use crate::wire::{
    Cid, CmdSn, Itt, LogoutReason, LogoutRequest, Lun, NopOut, StatSn, TaskManagementRequest, TextRequest, TmFunction,
    TmResponse, Ttt,
};

/// A text negotiation that goes on: what the target's last response said.
#[derive(Debug, Clone, Copy)]
pub struct Continued {
    /// The tag of its first request.
    pub itt: Itt,
    /// The target's tag.
    pub ttt: Ttt,
    /// To be copied.
    pub lun: Lun,
}

impl Session {
    /// CmdSN and ExpStatSN for an immediate request by a connection.
    fn immediate(&mut self, cid: Cid) -> Option<(CmdSn, StatSn)> {
        let exp_stat_sn = self.connection(cid).filter(|connection| connection.is_up)?.statuses.exp_stat_sn();
        Some((self.window.take(true), exp_stat_sn))
    }

    /// Pings by a connection: a NOP-Out that wants an answer, with this data. Returns its tag, `None` if there is no such
    /// connection.
    pub fn ping(&mut self, cid: Cid, data: &[u8], out: &mut impl Outbox) -> Option<Itt> {
        let ((cmd_sn, exp_stat_sn), itt) = (self.immediate(cid)?, self.other_tag());
        let (lun, ttt) = (Lun::default(), Ttt::RESERVED);
        let ping = NopOut { immediate_delivery: true, data_segment_len: 0, lun, itt, ttt, cmd_sn, exp_stat_sn };
        self.send(cid, ping, data, out);
        Some(itt)
    }

    /// Sends a text, or a part of it (`cont`), in a new negotiation or in one that goes on. Returns the tag, `None` if there
    /// is no such connection.
    pub fn text(
        &mut self,
        cid: Cid,
        of: Option<Continued>,
        cont: bool,
        text: &[u8],
        out: &mut impl Outbox,
    ) -> Option<Itt> {
        let (cmd_sn, exp_stat_sn) = self.immediate(cid)?;
        let of = match of {
            Some(of) => of,
            None => Continued { itt: self.other_tag(), ttt: Ttt::RESERVED, lun: Lun::default() },
        };
        let request = TextRequest {
            immediate_delivery: true,
            is_final: !cont,
            cont,
            data_segment_len: 0,
            lun: of.lun,
            itt: of.itt,
            ttt: of.ttt,
            cmd_sn,
            exp_stat_sn,
        };
        self.send(cid, request, text, out);
        Some(of.itt)
    }

    /// Asks for a task management function that concerns no single command. Returns the tag, `None` if there is no such
    /// connection.
    pub fn manage(&mut self, cid: Cid, function: TmFunction, lun: Lun, out: &mut impl Outbox) -> Option<Itt> {
        self.manage_task(cid, function, lun, (Itt::RESERVED, CmdSn(0), 0), out)
    }

    /// `of`: tag and CmdSN of the command, and the first Data-In that is not acknowledged.
    pub(super) fn manage_task(
        &mut self,
        cid: Cid,
        function: TmFunction,
        lun: Lun,
        of: (Itt, CmdSn, u32),
        out: &mut impl Outbox,
    ) -> Option<Itt> {
        let ((cmd_sn, exp_stat_sn), itt) = (self.immediate(cid)?, self.other_tag());
        let (referenced_task_tag, ref_cmd_sn, exp_data_sn) = of;
        let request = TaskManagementRequest {
            //= RFC 7143 section 11.5.1
            //# TASK REASSIGN MUST be issued as an immediate command.
            immediate_delivery: true,
            function,
            lun,
            itt,
            referenced_task_tag,
            cmd_sn,
            exp_stat_sn,
            ref_cmd_sn,
            exp_data_sn,
        };
        self.send(cid, request, &[], out);
        Some(itt)
    }

    /// Aborts a command. It stays until the target says that it is gone, or until it has ended after all. Returns the tag of
    /// the request, `None` if there is no such command or its connection is down.
    pub fn abort(&mut self, ix: TaskIx, out: &mut impl Outbox) -> Option<Itt> {
        let task = self.task(ix)?;
        let (cid, lun, of) = (task.cid, task.command.lun, (task.itt?, task.command.cmd_sn, 0));
        //= RFC 7143 section 11.5.1
        //# If the connection is still active
        //# (i.e., it is not undergoing an implicit or explicit logout), an ABORT
        //# TASK MUST be issued on the same connection to which the task to be
        //# aborted is allegiant at the time the task management request is issued.
        let itt = self.manage_task(cid, TmFunction::ABORT_TASK, lun, of, out)?;
        self.task_mut(ix)?.abort = Some(itt);
        Some(itt)
    }

    /// The answer to a task management function: ends the command that was to be aborted.
    pub(super) fn aborted(&mut self, itt: Itt, response: TmResponse) {
        let is_gone = matches!(response, TmResponse::FUNCTION_COMPLETE | TmResponse::TASK_DOES_NOT_EXIST);
        for task in self.tasks.iter_mut().filter(|task| task.abort == Some(itt)) {
            task.abort = None;
            if is_gone {
                task.itt = None;
            }
        }
    }

    /// Logs out: `of` is the connection that is meant, unless it is the session. Returns the tag, `None` if `by` is no
    /// connection of the session. Nothing new may be sent by what is being closed.
    pub fn logout(&mut self, by: Cid, reason: LogoutReason, of: Cid, out: &mut impl Outbox) -> Option<Itt> {
        let ((cmd_sn, exp_stat_sn), itt) = (self.immediate(by)?, self.other_tag());
        let request = LogoutRequest { immediate_delivery: true, reason, itt, cid: of, cmd_sn, exp_stat_sn };
        self.send(by, request, &[], out);
        Some(itt)
    }
}
