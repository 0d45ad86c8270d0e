//! SCSI Command PDUs: what is checked before one becomes a task, and its delivery.

use super::events::Events;
use super::fault::{Fault, TaskFault};
use super::ghosts::{Ghost, NO_TASK};
use super::params::Params;
use super::parts::Ordering;
use super::seam::{ConnIx, Dest, Outbox, TaskId};
use super::task::{Charge, Kind, State, Task};
use super::task_command::Cdb;
use super::window::Admit;
use super::{Received, Session};
use crate::limits::IMMEDIATE_COMMANDS;
use crate::wire::ahs::{self, Ahs, Segments};
use crate::wire::{CmdSn, Itt, RejectReason, ScsiCommand, TaskAttr};

/// When a request is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// At once, whatever its CmdSN.
    Immediate,
    /// It is the next in CmdSN order.
    Next,
    /// Later: a gap comes before it.
    Later,
}

/// The format rules for the header of a SCSI Command (RFC 7143 section 11.3).
#[inline]
fn check(command: &ScsiCommand) -> Result<(), Fault> {
    if command.itt.is_reserved() {
        //= RFC 7143 section 11.2.1.8
        //# An ITT value of 0xffffffff is reserved and MUST NOT be assigned for a
        //# task by the initiator.
        return Err(Fault::DropSession("SCSI Command with reserved Initiator Task Tag"));
    }
    if !command.write && !command.is_final {
        //= RFC 7143 section 11.3.1
        //# At least one of the W and F bits MUST be set to 1.
        return Err(Fault::DropSession("SCSI Command with neither W nor F"));
    }
    if !command.read && !command.write && command.edtl_bytes != 0 {
        //= RFC 7143 section 11.3.1
        //# they MUST NOT both be 0 when the Expected Data Transfer
        //# Length and/or Bidirectional Read Expected Data Transfer Length are
        //# not 0
        return Err(Fault::DropSession("SCSI Command with a data length and no direction"));
    }
    //= RFC 7143 section 11
    //# Receipt of reserved code values in defined fields MUST be reported as a
    //# protocol error.
    if command.attr.0 > TaskAttr::ACA.0 {
        return Err(Fault::DropSession("SCSI Command with a reserved task attribute"));
    }
    Ok(())
}

/// Reads the additional header segments: the whole CDB, and the length of a bidirectional read.
#[cold]
fn additional(rx: &Received<'_>) -> Result<(Cdb, u32), Fault> {
    const BROKEN: Fault = Fault::DropSession("malformed additional header segment");
    // The header is parsed a second time, so that the caller need not keep the parsed fields in memory for this rare
    // case.
    let command = ScsiCommand::read(rx.bhs);
    let mut cdb = [0; ahs::MAX_CDB];
    let len = ahs::cdb(&command, rx.ahs, &mut cdb).map_err(|_| BROKEN)?;
    let mut bidi_read_edtl = 0;
    for segment in Segments::new(rx.ahs) {
        match segment.map_err(|_| BROKEN)? {
            Ahs::ExtendedCdb(_) => {}
            Ahs::BidiReadEdtl(bytes) => bidi_read_edtl = bytes,
            // It may change what the command means, so the command cannot be carried out without it.
            Ahs::Unknown { .. } => return Err(Fault::RejectPdu(RejectReason::INVALID_PDU_FIELD)),
        }
    }
    let cdb = if len <= 16 { Cdb::new(command.cdb) } else { Cdb::extended(cdb.get(..len).unwrap_or(&cdb)) };
    Ok((cdb, bidi_read_edtl))
}

/// The data that comes without an R2T: what a command carries, and what it announces.
struct Unsolicited {
    write: bool,
    /// Bytes that came with the command.
    len: u32,
    /// Up to where data may come without an R2T, bytes from offset 0: min(FirstBurstLength, EDTL), 0 without W.
    end: u32,
    /// Unsolicited Data-Out PDUs are to follow.
    more: bool,
}

impl Unsolicited {
    #[inline]
    fn of(command: &ScsiCommand, rx: &Received<'_>, params: &Params) -> Unsolicited {
        let end = if command.write { command.edtl_bytes.min(params.first_burst_bytes) } else { 0 };
        // When the command has carried all that may come unsolicited, nothing can follow, whatever F says.
        let more = !command.is_final && rx.data_len < end;
        Unsolicited { write: command.write, len: rx.data_len, end, more }
    }

    /// The rule that this data breaks, if it breaks one.
    #[inline]
    fn fault(&self, params: &Params) -> Option<TaskFault> {
        //= RFC 7143 section 11.8
        //# In order to allow write operations without an explicit initial R2T, the
        //# initiator and target MUST have negotiated the key InitialR2T to No
        //# during login.
        if self.len > 0 && !(self.write && params.immediate_data) || self.more && params.initial_r2t {
            //= RFC 7143 section 13.11
            //# If ImmediateData is set to No and InitialR2T is set to Yes, then the
            //# initiator MUST NOT send unsolicited data and the target MUST reject
            //# unsolicited data with the corresponding response code.
            Some(TaskFault::UnexpectedUnsolicitedData)
        } else if self.len > self.end {
            //= RFC 7143 section 4.2.5.2
            //# It is also an error for an initiator to send more
            //# unsolicited data, whether immediate or as separate PDUs, than
            //# FirstBurstLength.
            Some(TaskFault::IncorrectAmountOfData)
        } else {
            None
        }
    }
}

/// Opens a task whose turn has come, and has the shard run it if nothing is in the way. Returns what the task is to
/// fail with, if it is to fail, and whether its task attribute may have it wait for others (`ordering`).
#[inline(always)]
fn deliver(task: &mut Task, id: TaskId, ordering: &Ordering, events: &mut Events) -> (Option<TaskFault>, bool) {
    task.state = State::Open;
    let fault = task.fault.take();
    let free = ordering.is_free(task.command.attr);
    if fault.is_none() {
        task.shared = true;
        if free {
            events.execute(id);
        }
    }
    (fault, !free && fault.is_none())
}

impl Session {
    /// When a request may be delivered. The task tag is looked at first, then the I bit, then CmdSN. Whether there is
    /// room for an immediate request is for the caller to check. Changes nothing.
    #[inline]
    pub(super) fn turn(&self, itt: Itt, cmd_sn: CmdSn, immediate: bool) -> Result<Turn, Fault> {
        //= RFC 7143 section 4.2.2.1
        //# Testing for the execution state (represented by
        //# identifying the Initiator Task Tag) MUST precede any other action at
        //# the target.
        if self.tasks.find(itt).is_some() {
            //= RFC 7143 section 7.2.1
            //# If initiators, as part of plugging command sequence gaps as described
            //# above, inadvertently issue retries for allegiant commands already in
            //# progress (i.e., targets did not see the discontinuities in CmdSN
            //# ordering), the duplicate commands are silently ignored by targets as
            //# specified in Section 4.2.2.1.
            let retry = !immediate && self.window.admit(cmd_sn) == Admit::Ignore;
            return Err(if retry { Fault::Ignore } else { Fault::RejectPdu(RejectReason::TASK_IN_PROGRESS) });
        }
        if immediate {
            return Ok(Turn::Immediate);
        }
        match self.window.admit(cmd_sn) {
            Admit::Deliver => Ok(Turn::Next),
            Admit::Hold => Ok(Turn::Later),
            Admit::Ignore => Err(Fault::Ignore),
        }
    }

    /// Everything about a SCSI Command that does not depend on its data segment. Changes nothing.
    #[inline(always)]
    fn judge_command(&self, command: &ScsiCommand) -> Result<Turn, Fault> {
        check(command)?;
        let turn = self.turn(command.itt, command.cmd_sn, command.immediate_delivery)?;
        //= RFC 7143 section 4.2.2.1
        //# An iSCSI target MUST be able to handle at least one immediate task
        //# management command and one immediate non-task-management iSCSI
        //# command per connection at any time.
        // One place among the immediate requests is kept for a task management function.
        let full = self.immediate_commands + 1 >= IMMEDIATE_COMMANDS
            || self.immediate_commands + self.immediate_managements >= IMMEDIATE_COMMANDS;
        if turn == Turn::Immediate && full {
            return Err(Fault::RejectPdu(RejectReason::IMMEDIATE_COMMAND_REJECT));
        }
        Ok(turn)
    }

    /// Where the immediate data of a command goes.
    pub(super) fn begin_command(&self, command: &ScsiCommand, rx: &Received<'_>) -> Dest {
        let taken = self.judge_command(command).is_ok()
            && (rx.ahs.is_empty() || additional(rx).is_ok())
            && self.params(rx.conn).is_some_and(|params| Unsolicited::of(command, rx, params).fault(params).is_none());
        if taken { Dest::Immediate { edtl_bytes: command.edtl_bytes } } else { Dest::Discard }
    }

    /// A complete PDU, which is a SCSI Command. Returns the task that its immediate data belongs to.
    // Inlined with what it calls: the fields of the header go from there to the task without a stop in memory.
    #[inline(always)]
    pub(super) fn scsi_command<O: Outbox>(&mut self, rx: &Received<'_>, out: &mut O) -> Option<TaskId> {
        let command = ScsiCommand::read(rx.bhs);
        match self.instantiate(&command, rx) {
            Ok((id, fault, taken)) => {
                if let Some(fault) = fault {
                    self.fail_task(id, fault, out);
                }
                taken.then_some(id)
            }
            Err(fault) => {
                if matches!(fault, Fault::Ignore) {
                    self.forgo(&command, rx.conn);
                }
                self.apply(fault, rx.conn, rx.bhs, out);
                None
            }
        }
    }

    /// A command is ignored: so is the unsolicited data that comes behind it.
    #[cold]
    fn forgo(&mut self, command: &ScsiCommand, conn: ConnIx) {
        if command.write && !command.is_final {
            let ghost = Ghost { task: NO_TASK, itt: command.itt, conn, lun: command.lun, told: None };
            self.tasks.ghosts.add(ghost);
        }
    }

    /// Makes a command a task, and has it run if its turn has come. Returns the task's id, what the task is to fail
    /// with now, and whether it takes the data that came with the command.
    #[inline(always)]
    fn instantiate(
        &mut self,
        command: &ScsiCommand,
        rx: &Received<'_>,
    ) -> Result<(TaskId, Option<TaskFault>, bool), Fault> {
        let turn = self.judge_command(command)?;
        let additional = if rx.ahs.is_empty() { None } else { Some(additional(rx)?) };
        let params = self.params(rx.conn).ok_or(Fault::Ignore)?;
        let unsolicited = Unsolicited::of(command, rx, params);
        let mut fault = unsolicited.fault(params);
        if rx.discarded && fault.is_none() {
            // When the header came in, the command could not be taken, so its data was read over. Now it could be, but
            // without its data it is ignored: the initiator may send it again.
            return Err(Fault::Ignore);
        }
        if command.attr == TaskAttr::ACA {
            // There never is an auto contingent allegiance (NACA is not supported).
            fault = fault.or(Some(TaskFault::NoContingentAllegiance));
        }
        let (id, task) = self.tasks.take(command.itt).ok_or(Fault::Ignore)?;
        task.state = State::Held;
        task.cmd_sn = command.cmd_sn;
        task.fault = fault;
        let taken = rx.data_len > 0 && fault.is_none();
        task.shared = taken;
        let received_bytes = if fault.is_none() { rx.data_len } else { 0 };
        task.incoming.since_ms = self.now_ms;
        task.incoming.unsolicited = unsolicited.more;
        task.incoming.unsolicited_end = unsolicited.end;
        task.incoming.asked = if unsolicited.more { unsolicited.end } else { received_bytes };
        let to = &mut task.command;
        to.lun = command.lun;
        to.cdb.set(command.cdb);
        to.edtl_bytes = command.edtl_bytes;
        to.bidi_read_edtl_bytes = 0;
        if let Some((cdb, bytes)) = additional {
            (to.cdb, to.bidi_read_edtl_bytes) = (cdb, bytes);
        }
        to.read = command.read;
        to.write = command.write;
        to.attr = command.attr;
        //= RFC 7144 section 5.1.1
        //# This field MUST be ignored by iSCSI targets unless the
        //# iSCSIProtocolLevel text key with a value of "2" as defined in Section
        //# 7.1.1 was negotiated on the session.
        to.priority = if self.init.params.protocol_level >= 2 { command.priority } else { 0 };
        to.immediate_delivery = command.immediate_delivery;
        to.conn = rx.conn;
        to.received_bytes = received_bytes;
        match turn {
            Turn::Immediate => {
                task.charge = Charge::Immediate;
                self.immediate_commands += 1;
            }
            Turn::Next => {
                task.charge = Charge::Window;
                //= RFC 7143 section 4.2.2.1
                //# A target command response or Data-In PDU with status MUST NOT precede
                //# the command acknowledgment.
                self.window.advance();
                self.window.opened();
            }
            Turn::Later => {
                task.charge = Charge::Held;
                self.window.hold(command.cmd_sn, id.slot());
                return Ok((id, None, taken));
            }
        }
        let (fault, waits) = deliver(task, id, &self.ordering, &mut self.events);
        if waits {
            self.enqueue(id);
        }
        Ok((id, fault, taken))
    }

    /// The turn of a command has come: its CmdSN is counted, now it is run, or answered with what is wrong with it.
    pub(super) fn deliver_command<O: Outbox>(&mut self, id: TaskId, out: &mut O) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let (fault, waits) = deliver(task, id, &self.ordering, &mut self.events);
        if let Some(fault) = fault {
            self.fail_task(id, fault, out);
        } else if waits {
            self.enqueue(id);
        }
    }

    /// Gives the slot of a task back, with what the task was charged: its place in the window or among the immediate
    /// requests, or the CmdSN that it was held for.
    pub(super) fn close_task(&mut self, id: TaskId) {
        self.close_task_here(id);
    }

    /// The same, where it is called for each command.
    #[inline(always)]
    pub(super) fn close_task_here(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let management = match &task.kind {
            Kind::Scsi => false,
            Kind::Management(_) => {
                self.managements -= 1;
                true
            }
            Kind::Request(held) => {
                self.held_bytes = self.held_bytes.saturating_sub(held.1.len());
                false
            }
        };
        let Task { charge, cmd_sn, .. } = *task;
        if self.fence.is_some() {
            self.drop_fence(id);
        }
        match charge {
            Charge::Window => self.window.closed(),
            Charge::Immediate if management => self.immediate_managements -= 1,
            Charge::Immediate => self.immediate_commands -= 1,
            Charge::Held => self.window.plug(cmd_sn),
            Charge::Nothing => {}
        }
        if self.ordering.is_kept() {
            return self.release_in_order(id);
        }
        self.tasks.release(id.slot());
    }
}
