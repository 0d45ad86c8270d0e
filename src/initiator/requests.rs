//! What an initiator asks besides commands: pings, text, task management, logout.

use super::event::TaskIx;
use super::outbox::Outbox;
use super::session::Session;
use super::stamp::{About, Continued, Stamp};
use crate::wire::{Cid, Itt, LogoutReason, Lun, TmFunction, TmResponse};

impl Session {
    /// The numbers for an immediate request by a connection.
    fn immediate(&mut self, cid: Cid) -> Option<Stamp> {
        let exp_stat_sn = self.connection(cid).filter(|connection| connection.is_up)?.statuses.exp_stat_sn();
        Some(Stamp { cmd_sn: self.window.take(true), exp_stat_sn })
    }

    /// Pings by a connection: a NOP-Out that wants an answer, with this data. Returns its tag, `None` if there is no such
    /// connection.
    pub fn ping(&mut self, cid: Cid, data: &[u8], out: &mut impl Outbox) -> Option<Itt> {
        let (stamp, itt) = (self.immediate(cid)?, self.other_tag());
        self.send(cid, stamp.ping(itt), data, out);
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
        let stamp = self.immediate(cid)?;
        let of = of.unwrap_or_else(|| Continued::new(self.other_tag()));
        self.send(cid, stamp.text(of, !cont, cont), text, out);
        Some(of.itt)
    }

    /// Asks for a task management function that concerns no single command. Returns the tag, `None` if there is no such
    /// connection.
    pub fn manage(&mut self, cid: Cid, function: TmFunction, lun: Lun, out: &mut impl Outbox) -> Option<Itt> {
        self.manage_task(cid, function, About::unit(lun), out)
    }

    pub(super) fn manage_task(
        &mut self,
        cid: Cid,
        function: TmFunction,
        of: About,
        out: &mut impl Outbox,
    ) -> Option<Itt> {
        let (stamp, itt) = (self.immediate(cid)?, self.other_tag());
        //= RFC 7143 section 11.5.1
        //# TASK REASSIGN MUST be issued as an immediate command.
        self.send(cid, stamp.manage(itt, true, function, of), &[], out);
        Some(itt)
    }

    /// Aborts a command. It stays until the target says that it is gone, or until it has ended after all. Returns the tag of
    /// the request, `None` if there is no such command or its connection is down.
    pub fn abort(&mut self, ix: TaskIx, out: &mut impl Outbox) -> Option<Itt> {
        let task = self.task(ix)?;
        let (cid, lun) = (task.cid, task.command.lun);
        let of = About { lun, itt: task.itt?, cmd_sn: task.command.cmd_sn, exp_data_sn: 0 };
        //= RFC 7143 section 11.5.1
        //# If the connection is still active
        //# (i.e., it is not undergoing an implicit or explicit logout), an ABORT
        //# TASK MUST be issued on the same connection to which the task to be
        //# aborted is allegiant at the time the task management request is issued.
        let itt = self.manage_task(cid, TmFunction::ABORT_TASK, of, out)?;
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
        let (stamp, itt) = (self.immediate(by)?, self.other_tag());
        self.send(by, stamp.logout(itt, reason, of), &[], out);
        Some(itt)
    }
}
