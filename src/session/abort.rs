//! How tasks end before their time: aborted by a function, with their connection or session, or for somebody else's cause.
//!
//! A task that the shard works on is gone only when the shard has let go of it ([`Session::released`]); what waits for that,
//! a function's response above all, goes out then.

use super::Session;
use super::ghosts::Ghost;
use super::recovery::Kept;
use super::seam::{Event, Outbox, TaskId};
use super::task::{Charge, Kind, State};
use super::tmf::m_set;
use crate::canary::{Canary, sings};
use crate::limits::TASKS_PER_SESSION;
use crate::wire::{Itt, Lun};

impl Session {
    /// Ends a task from without. Returns whether the shard has to let go of it first; otherwise it is gone.
    pub(super) fn abort(&mut self, id: TaskId) -> bool {
        let Some(task) = self.tasks.get_mut(id) else { return false };
        //= RFC 7143 section 4.2.3.4
        //# MUST leave all active "affected TTTs" (i.e., active TTTs associated with
        //# affected tasks) valid.
        //= RFC 7143 section 10.7
        //# However, the data transfers logically MUST be silently discarded by the
        //# target iSCSI layer in all cases.
        let ghost = Ghost { task: id, itt: task.itt, conn: task.command.conn, lun: task.command.lun, told: None };
        //= RFC 7143 section 11.5.1
        //# The iSCSI target MUST ensure that no responses for the tasks covered by
        //# a task management function are delivered to the iSCSI initiator after
        //# the task management response, except for a task covered by a TASK
        //# REASSIGN.
        //= RFC 7144 section 6.3
        //# The iSCSI target MUST ensure that no responses for the commands covered
        //# by a task management function are sent to the iSCSI initiator port after
        //# the Task Management response except for commands covered by a TASK
        //# REASSIGN, QUERY TASK, or QUERY TASK SET.
        task.answer = None;
        self.tasks.ghosts.add(ghost);
        let Some(task) = self.tasks.get_mut(id) else { return false };
        match task.state {
            State::Free => return false,
            State::Aborting => return true,
            State::Held | State::Open if task.shared => {
                task.state = State::Aborting;
                self.events.push(Event::Abort(id));
                return true;
            }
            State::Held | State::Open | State::Answering => {}
        }
        self.close_task(id);
        false
    }

    /// Ends the commands that are meant, by tag and logical unit, of those whose answer waits for read data which is sent
    /// again to a new connection. Nothing more of them is sent. Returns whether there was one.
    pub(super) fn abort_replays(&mut self, is_meant: impl Fn(Itt, Lun) -> bool) -> bool {
        //= RFC 7143 section 11.5.1
        //# The iSCSI target MUST ensure that no responses for the tasks covered by
        //# a task management function are delivered to the iSCSI initiator after
        //# the task management response, except for a task covered by a TASK
        //# REASSIGN.
        let mut any = false;
        let goes = |kept: &Kept| kept.command.is_some_and(|(itt, lun)| is_meant(itt, lun));
        for c in &mut self.connections {
            let before = c.replays.len();
            c.replays.retain(|kept| !goes(kept));
            any |= c.replays.len() < before;
        }
        any
    }

    /// Ends a task because its connection or its session ends. `goes_on` says whether the session goes on without that
    /// connection; then the nexus is told of commands that were cleared.
    pub(super) fn abort_with_connection(&mut self, id: TaskId, goes_on: bool) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        // A command that was not delivered yet is not cleared: its CmdSN becomes a gap again, which the initiator
        // fills.
        let active = matches!(task.kind, Kind::Scsi) && matches!(task.state, State::Open | State::Answering);
        let cleared = (goes_on && active).then_some(task.command.lun);
        if task.charge == Charge::Held {
            //= RFC 7143 section 11.14
            //# The
            //# resulting holes in the command sequence numbers will have to be
            //# handled by appropriate recovery (see Section 7), unless the session
            //# is also closed.
            task.charge = Charge::Nothing;
            let cmd_sn = task.cmd_sn;
            self.window.unhold(cmd_sn);
        }
        let Some(task) = self.tasks.get_mut(id) else { return };
        // Nothing will come on that connection any more.
        task.drain_by_ms = 0;
        if task.state == State::Aborting && !task.shared {
            self.close_task(id);
            // Functions that wait for it are answered when the fence is looked at.
            if !sings(Canary::WaitKept) {
                self.forget_waits(id.slot());
            }
            self.fence_due |= self.managements > 0;
            return;
        }
        match task.management() {
            // The shard will still call `tm_complete` with this slot.
            Some(m) if m.with_shard => {
                m.orphan = true;
                m.waits_for = [0; _];
            }
            Some(_) => self.close_task(id),
            None => {
                self.abort(id);
            }
        }
        //= RFC 7143 section 11.14.5
        //# After the
        //# tasks are terminated, the target MUST report a Unit Attention
        //# condition on the next command processed on any connection for each
        //# affected I_T_L nexus with the status of CHECK CONDITION, the ASC/ASCQ
        //# value of 47h/7Fh ("SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT"),
        //# etc.; see [SPC3].
        if let Some(lun) = cleared {
            self.note_cleared(lun);
        }
    }

    /// The shard has let go of a task that an [`Event::Abort`] named: its buffers are no longer in use. What waited for
    /// that is sent now: the response to the function that aborted it, or the CHECK CONDITION of a task that broke a rule.
    pub fn released<O: Outbox>(&mut self, task: TaskId, out: &mut O) {
        let Some(t) = self.tasks.get_mut(task).filter(|t| t.state == State::Aborting) else { return };
        if t.answer.is_some() {
            t.state = State::Answering;
            t.shared = false;
            return self.answer_if_due(task, out);
        }
        t.shared = false;
        if t.drain_by_ms > self.now_ms && t.incoming.r2ts() > 0 {
            self.drains = true;
            return;
        }
        self.let_go(task, out);
    }

    /// Closes an aborted task that the shard has let go of, once the data of its R2Ts has come or has been waited for
    /// long enough. Does nothing for any other task.
    pub(super) fn drained<O: Outbox>(&mut self, task: TaskId, out: &mut O) {
        let Some(t) = self.tasks.get(task) else { return };
        let over = t.drain_by_ms > 0 && (t.incoming.r2ts() == 0 || t.drain_by_ms <= self.now_ms);
        if over && t.state == State::Aborting && !t.shared {
            self.let_go(task, out);
        }
    }

    fn let_go<O: Outbox>(&mut self, task: TaskId, out: &mut O) {
        self.close_task(task);
        if self.managements == 0 {
            return;
        }
        self.forget_waits(task.slot());
        for slot in 0..TASKS_PER_SESSION {
            let Some(id) = self.tasks.id(slot) else { continue };
            self.respond_if_due(id, out);
        }
    }

    /// No function waits for a task slot any more.
    fn forget_waits(&mut self, gone: usize) {
        if self.managements == 0 {
            return;
        }
        for slot in 0..TASKS_PER_SESSION {
            let Some(id) = self.tasks.id(slot) else { continue };
            m_set(self.tasks.get_mut(id), |m| m.gone(gone));
        }
    }

    /// Aborts all tasks that were delivered, or those of one logical unit, for a cause outside this session: CLEAR TASK
    /// SET, a reset or PREEMPT AND ABORT of another initiator. Each comes as [`Event::Abort`]; none is answered.
    pub fn abort_tasks(&mut self, lun: Option<Lun>) {
        self.abort_tasks_at(|_, of| lun.is_none_or(|lun| lun.is_same_unit(of)));
    }

    /// Aborts the delivered tasks for which `is_meant`, given id and LUN, says so, as
    /// [`abort_tasks`](Self::abort_tasks) does.
    pub fn abort_tasks_at(&mut self, is_meant: impl Fn(TaskId, Lun) -> bool) {
        // Such an abort looks at many sessions, and most of them have no task: the slots are not looked at then.
        let slots = if self.tasks.len() > 0 { self.tasks.slots() } else { 0 };
        for slot in 0..slots {
            let Some(id) = self.tasks.id(slot) else { continue };
            //= RFC 7143 section 4.2.3.3
            //# SHOULD NOT wait for new commands on third-party
            //# affected sessions -- only the instantiated tasks have to be
            //# considered for the purpose of determining the affected tasks.
            //= RFC 7143 section 4.2.3.4
            //# SHOULD NOT wait for new commands on third-party affected sessions --
            //# only the instantiated tasks have to be considered for the purpose of
            //# determining the affected tasks.
            let affected = self
                .tasks
                .get(id)
                .is_some_and(|t| matches!(t.kind, Kind::Scsi) && t.state != State::Held && is_meant(id, t.command.lun));
            if affected {
                if let Some((conn, lun)) = self.tasks.get(id).map(|t| (t.command.conn, t.command.lun)) {
                    self.note_termination(conn, lun);
                }
                self.abort(id);
            }
        }
    }
}
