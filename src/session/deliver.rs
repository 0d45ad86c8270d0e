//! Requests other than SCSI commands (NOP-Out, Text, Logout, task management): admission, delivery in CmdSN order, and the
//! delivery of whatever was held for its turn.

use super::command::Turn;
use super::fault::Fault;
use super::params::SessionKind;
use super::seam::{ConnIx, Outbox, Payload};
use super::task::{Charge, Kind, State};
use super::text_seam::{TextHandler, TextStep};
use super::window::Head;
use super::{Received, Session};
use crate::limits::{IMMEDIATE_COMMANDS, MAX_CONTROL_DATA_BYTES, MAX_TEXT_BYTES};
use crate::wire::{
    Bhs, CmdSn, LogoutReason, LogoutRequest, Opcode, RejectReason, StatSn, TaskManagementRequest, TextRequest,
    TextResponse, bhs,
};

/// The CmdSN, at the same place in all requests but Data-Out and SNACK.
#[inline]
fn cmd_sn(header: &Bhs) -> CmdSn {
    let [.., a, b, c, d] = *header.first_chunk::<28>().unwrap_or(&[0; 28]);
    CmdSn(u32::from_be_bytes([a, b, c, d]))
}

/// The format rules for NOP-Out, Text, Logout and task management requests.
fn check(opcode: Opcode, rx: &Received<'_>) -> Result<(), Fault> {
    if bhs::itt(rx.bhs).is_reserved() {
        return Err(Fault::DropSession("request with reserved Initiator Task Tag"));
    }
    if rx.data_len > 0 && matches!(opcode, Opcode::TASK_MANAGEMENT_REQUEST | Opcode::LOGOUT_REQUEST) {
        //= RFC 7143 section 11.5.2
        //# For this PDU, TotalAHSLength and DataSegmentLength MUST be 0.
        return Err(Fault::DropSession("data segment in a request that has none"));
    }
    if let (Opcode::TEXT_REQUEST, Ok(text)) = (opcode, TextRequest::parse(rx.bhs))
        && text.cont
        && text.is_final
    {
        //= RFC 7143 section 11.10.2
        //# A Text Request with the C bit
        //# set to 1 MUST have the F bit set to 0.
        return Err(Fault::DropSession("Text Request with both C and F"));
    }
    if let (Opcode::LOGOUT_REQUEST, Ok(logout)) = (opcode, LogoutRequest::parse(rx.bhs))
        && logout.reason.0 > LogoutReason::REMOVE_FOR_RECOVERY.0
    {
        return Err(Fault::DropSession("Logout with a reserved reason code"));
    }
    Ok(())
}

impl Session {
    fn judge_request(&self, opcode: Opcode, rx: &Received<'_>) -> Result<Turn, Fault> {
        check(opcode, rx)?;
        let turn = self.turn(bhs::itt(rx.bhs), cmd_sn(rx.bhs), bhs::immediate_delivery(rx.bhs))?;
        if rx.data_len as usize > MAX_CONTROL_DATA_BYTES {
            return Err(Fault::RejectPdu(RejectReason::COMMAND_NOT_SUPPORTED));
        }
        // One place among the immediate requests is kept for a SCSI command. NOP-Out, Text and Logout need no place:
        // they are done with at once.
        let full = self.immediate_managements + 1 >= IMMEDIATE_COMMANDS
            || self.immediate_commands + self.immediate_managements >= IMMEDIATE_COMMANDS;
        if opcode == Opcode::TASK_MANAGEMENT_REQUEST && turn == Turn::Immediate && full {
            return Err(Fault::RejectPdu(RejectReason::IMMEDIATE_COMMAND_REJECT));
        }
        Ok(turn)
    }

    /// Whether the data segment of a request is wanted.
    pub(super) fn wants_request_data(&self, opcode: Opcode, rx: &Received<'_>) -> bool {
        rx.data_len as usize <= MAX_CONTROL_DATA_BYTES
            && (bhs::itt(rx.bhs).is_reserved() || self.judge_request(opcode, rx).is_ok())
    }

    /// A complete request.
    pub(super) fn request<O: Outbox>(
        &mut self,
        opcode: Opcode,
        rx: &Received<'_>,
        text: &mut dyn TextHandler,
        out: &mut O,
    ) {
        if opcode == Opcode::NOP_OUT && bhs::itt(rx.bhs).is_reserved() {
            return self.nop_out_silent(rx);
        }
        // When the header came in, the request could not be taken, so its data was read over. Without its data the
        // request is ignored.
        let gone = rx.discarded && rx.data_len > 0;
        match self.judge_request(opcode, rx) {
            Err(fault) => self.apply(fault, rx.conn, rx.bhs, out),
            Ok(_) if gone => {}
            Ok(Turn::Later) => self.hold_request(rx),
            Ok(turn) => {
                self.run(rx.conn, rx.bhs, rx.data, turn, text, out);
            }
        }
    }

    /// Keeps a request until the gap before it is plugged. If all held requests of the session would have too much data
    /// with this one, it is forgotten: its CmdSN is not acknowledged, so it may be sent again.
    fn hold_request(&mut self, rx: &Received<'_>) {
        let most = if self.store.is_crowded() { MAX_CONTROL_DATA_BYTES } else { MAX_TEXT_BYTES };
        if self.held_bytes.saturating_add(rx.data.len()) > most {
            return;
        }
        let Some((id, task)) = self.tasks.take(bhs::itt(rx.bhs)) else { return };
        task.state = State::Held;
        task.charge = Charge::Held;
        task.cmd_sn = cmd_sn(rx.bhs);
        task.command.conn = rx.conn;
        task.kind = Kind::Request(Box::new((*rx.bhs, rx.data.to_vec(), self.store.hold(rx.data.len()))));
        self.held_bytes += rx.data.len();
        self.window.hold(cmd_sn(rx.bhs), id.slot());
    }

    /// Delivers the held requests and commands whose turn has come, until there is a gap again. Then begins the task
    /// management functions that have waited for them.
    pub(super) fn drain<O: Outbox>(&mut self, text: &mut dyn TextHandler, out: &mut O) {
        //= RFC 7143 section 4.2.2.1
        //# With the exception of the commands marked for immediate delivery, the
        //# iSCSI target layer MUST deliver the commands for execution in the order
        //# specified by the CmdSN.
        while let Some(head) = self.window.head() {
            let Head::Slot(slot) = head else {
                self.window.advance();
                continue;
            };
            let Some(id) = self.tasks.id(slot) else {
                self.window.advance();
                continue;
            };
            let Some(task) = self.tasks.get_mut(id) else { return };
            if let Kind::Request(held) = std::mem::replace(&mut task.kind, Kind::Scsi) {
                let (header, data, _held) = *held;
                let conn = task.command.conn;
                task.charge = Charge::Nothing;
                self.held_bytes = self.held_bytes.saturating_sub(data.len());
                self.close_task(id);
                if !self.run(conn, &header, &data, Turn::Next, text, out) {
                    self.window.unhold(cmd_sn(&header));
                    return;
                }
                continue;
            }
            task.charge = Charge::Window;
            let held = task.state == State::Held;
            self.window.advance();
            self.window.opened();
            if held {
                self.deliver_command(id, out);
            }
        }
        self.resume_managements();
    }

    /// Runs a request whose turn has come. Returns whether its CmdSN counts as received, which that of a rejected Text
    /// Request does not.
    fn run<O: Outbox>(
        &mut self,
        conn: ConnIx,
        header: &Bhs,
        data: &[u8],
        turn: Turn,
        text: &mut dyn TextHandler,
        out: &mut O,
    ) -> bool {
        let opcode = bhs::opcode(header);
        if opcode == Opcode::TEXT_REQUEST {
            return self.text(conn, header, data, turn, text, out);
        }
        if turn == Turn::Next {
            self.window.advance();
        }
        let charge = if turn == Turn::Next { Charge::Window } else { Charge::Immediate };
        match opcode {
            Opcode::NOP_OUT => self.echo(conn, header, data, out),
            Opcode::TASK_MANAGEMENT_REQUEST => {
                if let Ok(request) = TaskManagementRequest::parse(header) {
                    self.manage(conn, &request, charge, out);
                }
            }
            Opcode::LOGOUT_REQUEST => {
                if let Ok(request) = LogoutRequest::parse(header) {
                    self.log_out(conn, &request, out);
                }
            }
            _ => {}
        }
        true
    }

    fn text<O: Outbox>(
        &mut self,
        conn: ConnIx,
        header: &Bhs,
        data: &[u8],
        turn: Turn,
        handler: &mut dyn TextHandler,
        out: &mut O,
    ) -> bool {
        let Ok(request) = TextRequest::parse(header) else { return false };
        let Some(connection) = self.connections.get(usize::from(conn.0)) else { return false };
        let mut params = connection.params;
        let mut answer = std::mem::take(&mut self.text_answer);
        answer.clear();
        let step = handler.text(&self.init, &mut params, conn, &request, data, &mut answer);
        let received = match step {
            TextStep::Reject(reason) => {
                //= RFC 7143 section 7.3
                //# The CmdSN of the rejected command PDU (if it is a non-immediate
                //# command) MUST NOT be considered received by the target (i.e., a
                //# command sequence gap must be assumed for the CmdSN), even though the
                //# CmdSN of the rejected command PDU may be reliably ascertained.
                self.reject(conn, header, reason, out);
                false
            }
            TextStep::Answer { is_final, cont, ttt } => {
                if turn == Turn::Next {
                    self.window.advance();
                }
                //= RFC 7143 section 6.2
                //# There MUST NOT be more than one outstanding Text Request, or Text
                //# Response PDU on an iSCSI connection.
                //
                // Each request is answered once, and nothing is said unasked.
                let pdu = TextResponse {
                    is_final,
                    cont,
                    data_segment_len: answer.len() as u32,
                    //= RFC 7143 section 11.10.4
                    //# If the Target Transfer Tag is not 0xffffffff, the LUN field MUST be sent
                    //# by the target in the Text Response.
                    lun: request.lun,
                    itt: request.itt,
                    ttt,
                    stat_sn: StatSn(0),
                    exp_cmd_sn: CmdSn(0),
                    max_cmd_sn: CmdSn(0),
                };
                let mut response = [0; 48];
                pdu.emit(&mut response);
                let payload = if answer.is_empty() { Payload::None } else { Payload::Bytes(&answer) };
                self.send_numbered(conn, &mut response, payload, out);
                if let Some(connection) = self.connections.get_mut(usize::from(conn.0)) {
                    connection.adopt(params);
                }
                true
            }
        };
        self.text_answer = answer;
        received
    }

    /// Whether this session takes requests with this opcode: a discovery session takes only a few.
    pub(super) fn permits(&self, opcode: Opcode) -> bool {
        //= RFC 7143 section 4.3
        //# The target MUST ONLY accept Text Requests with the SendTargets
        //# key and a Logout Request with reason "close the session".  All
        //# other requests MUST be rejected.
        // A NOP-Out is let through: it does no harm, and initiators use it to see whether the target is alive.
        self.init.kind == SessionKind::Normal
            || matches!(opcode, Opcode::TEXT_REQUEST | Opcode::LOGOUT_REQUEST | Opcode::NOP_OUT)
    }
}
