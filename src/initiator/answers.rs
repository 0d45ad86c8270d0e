//! What comes from the target, PDU by PDU.
//!
//! Data-In is looked at twice: [`Session::place`] says where its data belongs as soon as the header is there, and
//! [`Session::finish`] takes note of it when the PDU is complete. With ErrorRecoveryLevel 0 everything has to come in order;
//! what is done about gaps above that is in `recovery`.

use super::event::{Answer, Event, Fault, Host, Residual, TaskIx};
use super::numbers::Arrival;
use super::session::Session;
use super::stamp::Stamp;
use super::task::Kept;
use crate::wire::{
    AsyncMessage, Bhs, Cid, DataIn, DataSn, Itt, LogoutResponse, NopIn, Opcode, R2t, R2tSn, Reject, ScsiResponse,
    StatSn, TaskManagementResponse, TextResponse, WireError, bhs,
};

/// Where the data segment of a PDU belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// To the command at this place: at this offset of what it reads, bytes.
    Task(TaskIx, u32),
    /// Together, for [`Session::finish`]: it is no read data.
    Gather,
    /// It is read data that has come before, or of a command that is no more.
    Nowhere,
}

impl Session {
    /// The command at whose place an answer by this connection belongs.
    #[inline]
    pub(super) fn find(&self, cid: Cid, itt: Itt) -> Option<TaskIx> {
        let ix = TaskIx(itt.0 as u16);
        let task = self.task(ix).filter(|task| task.itt == Some(itt) && task.cid == cid)?;
        (task.is_allegiant || task.recovery.reassign.is_some()).then_some(ix)
    }

    /// Where the data of a PDU belongs whose header has come.
    ///
    /// # Errors
    /// A [`Fault`] of the target.
    #[inline]
    pub fn place(&self, cid: Cid, header: &Bhs) -> Result<Place, Fault> {
        match bhs::opcode(header) {
            Opcode::SCSI_DATA_IN => self.place_data(cid, &DataIn::parse(header)?),
            _ => Ok(Place::Gather),
        }
    }

    #[inline]
    fn place_data(&self, cid: Cid, pdu: &DataIn) -> Result<Place, Fault> {
        let Some((ix, task)) = self.find(cid, pdu.itt).and_then(|ix| Some((ix, self.task(ix)?))) else {
            return if self.has_recovery() { Ok(Place::Nowhere) } else { Err(Fault::UnknownTask(pdu.itt)) };
        };
        let (offset, len, of) = (pdu.buffer_offset, pdu.data_segment_len, task.read_bytes);
        let outside = u64::from(offset) + u64::from(len) > u64::from(of);
        if self.has_recovery() {
            //= RFC 7143 section 7.9
            //# When an initiator receives duplicate R2TSNs (due to proactive
            //# retransmission of R2Ts by the target) or duplicate DataSNs (due to
            //# proactive SNACKs by the initiator), it MUST discard the duplicates.
            let is_new = !task.recovery.data.contains(pdu.data_sn.0);
            return match (outside, is_new) {
                (true, _) => Err(Fault::DataIn { offset, len, of }),
                (false, true) => Ok(Place::Task(ix, offset)),
                (false, false) => Ok(Place::Nowhere),
            };
        }
        if pdu.data_sn.0 != task.next_data_sn {
            return Err(Fault::DataSn { expected: DataSn(task.next_data_sn), found: pdu.data_sn });
        }
        let in_order = self.params().data_pdu_in_order && self.params().data_sequence_in_order;
        if outside || in_order && offset != task.received_bytes {
            return Err(Fault::DataIn { offset, len, of });
        }
        Ok(Place::Task(ix, offset))
    }

    /// Takes a whole PDU, with its data.
    ///
    /// # Errors
    /// A [`Fault`] of the target.
    pub fn pdu(
        &mut self,
        cid: Cid,
        header: &Bhs,
        data: &[u8],
        digest_ok: bool,
        host: &mut impl Host,
    ) -> Result<(), Fault> {
        if bhs::opcode(header) == Opcode::SCSI_DATA_IN && digest_ok {
            let pdu = DataIn::parse(header)?;
            if let Place::Task(ix, offset) = self.place_data(cid, &pdu)? {
                host.data_in(ix, offset, data);
            }
            return self.data_in(cid, &pdu, true, host);
        }
        self.finish(cid, header, data, digest_ok, host)
    }

    /// Takes note of a PDU that is complete. `data`: its data segment, if [`Session::place`] said that it was to be
    /// gathered.
    ///
    /// # Errors
    /// A [`Fault`] of the target.
    #[inline]
    pub fn finish(
        &mut self,
        cid: Cid,
        header: &Bhs,
        data: &[u8],
        digest_ok: bool,
        host: &mut impl Host,
    ) -> Result<(), Fault> {
        let opcode = bhs::opcode(header);
        if !digest_ok && (!self.has_recovery() || opcode != Opcode::SCSI_DATA_IN) {
            //= RFC 7143 section 7.8
            //# When an initiator receives any iSCSI PDU with a payload digest error,
            //# it MUST discard the PDU.
            return if self.has_recovery() { Ok(()) } else { Err(Fault::DataDigest(opcode)) };
        }
        match opcode {
            Opcode::SCSI_DATA_IN => self.data_in(cid, &DataIn::parse(header)?, digest_ok, host),
            Opcode::SCSI_RESPONSE => self.scsi_response(cid, &ScsiResponse::parse(header)?, data, host),
            Opcode::R2T => self.r2t(cid, &R2t::parse(header)?, host),
            _ => self.other(cid, header, data, host),
        }
    }

    #[inline]
    fn data_in(&mut self, cid: Cid, pdu: &DataIn, digest_ok: bool, host: &mut impl Host) -> Result<(), Fault> {
        self.window.update(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        let kept = Kept {
            stat_sn: pdu.stat_sn,
            response: ScsiResponse::COMMAND_COMPLETED,
            status: pdu.status,
            status_qualifier: 0,
            residual: Residual::new(pdu.overflow, pdu.underflow, pdu.residual_bytes),
            bidi_residual: Residual::None,
            data_ins: pdu.data_sn.0.wrapping_add(1),
        };
        if self.has_recovery() {
            return self.data_in_recovering(cid, pdu, digest_ok, kept, host);
        }
        let ix = self.find(cid, pdu.itt).ok_or(Fault::UnknownTask(pdu.itt))?;
        if let Some(task) = self.task_mut(ix) {
            task.received_bytes = task.received_bytes.wrapping_add(pdu.data_segment_len);
            task.next_data_sn = task.next_data_sn.wrapping_add(1);
        }
        if pdu.has_status { self.status(cid, ix, kept, &[], host) } else { Ok(()) }
    }

    #[inline]
    fn scsi_response(&mut self, cid: Cid, pdu: &ScsiResponse, data: &[u8], host: &mut impl Host) -> Result<(), Fault> {
        self.window.update(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        let Some(ix) = self.find(cid, pdu.itt) else {
            // The answer to a command that has had one. A new one is for a command that never was.
            let is_new = self.numbered(cid, pdu.stat_sn, host)?;
            return if is_new { Err(Fault::UnknownTask(pdu.itt)) } else { Ok(()) };
        };
        let reads = self.task(ix).is_some_and(|task| task.read_bytes > 0 && task.write_bytes == 0);
        let kept = Kept {
            stat_sn: pdu.stat_sn,
            response: pdu.response,
            status: pdu.status,
            status_qualifier: pdu.status_qualifier,
            residual: Residual::new(pdu.overflow, pdu.underflow, pdu.residual_bytes),
            bidi_residual: Residual::new(pdu.bidi_overflow, pdu.bidi_underflow, pdu.bidi_residual_bytes),
            data_ins: if reads { pdu.exp_data_sn } else { 0 },
        };
        self.status(cid, ix, kept, data, host)
    }

    /// The status of a command has come.
    #[inline]
    fn status(&mut self, cid: Cid, ix: TaskIx, kept: Kept, data: &[u8], host: &mut impl Host) -> Result<(), Fault> {
        if self.has_recovery() {
            return self.status_recovering(cid, ix, kept, data, host);
        }
        self.numbered(cid, kept.stat_sn, host)?;
        self.ended(ix, &kept, data, host);
        Ok(())
    }

    /// A command has ended.
    #[inline]
    pub(super) fn ended(&mut self, ix: TaskIx, kept: &Kept, data: &[u8], host: &mut impl Host) {
        let Some(task) = self.task_mut(ix) else { return };
        let Some(itt) = task.itt.take() else { return };
        let end = kept.end(task.received_bytes, data);
        host.event(Event::Ended { task: ix, itt, end });
    }

    fn r2t(&mut self, cid: Cid, pdu: &R2t, host: &mut impl Host) -> Result<(), Fault> {
        self.window.update(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        let Some(ix) = self.find(cid, pdu.itt) else {
            return if self.has_recovery() { Ok(()) } else { Err(Fault::UnknownTask(pdu.itt)) };
        };
        let is_new = if self.has_recovery() { self.r2t_recovering(ix, pdu, host) } else { self.next_r2t(ix, pdu)? };
        let Some(task) = self.task(ix).filter(|_| is_new) else { return Ok(()) };
        let (offset, len, of) = (pdu.buffer_offset, pdu.desired_len_bytes, task.write_bytes);
        let end = offset.checked_add(len).filter(|end| len > 0 && *end <= of);
        let end = end.ok_or(Fault::R2t { offset, len, of })?;
        //= RFC 7143 section 4.2.5.2
        //# An initiator MUST honor an R2T data request for a valid outstanding
        //# command (i.e., carrying a valid Initiator Task Tag) and deliver all the
        //# requested data
        self.send_data(task, (pdu.ttt, pdu.lun), offset..end, host);
        Ok(())
    }

    fn next_r2t(&mut self, ix: TaskIx, pdu: &R2t) -> Result<bool, Fault> {
        let Some(task) = self.task_mut(ix) else { return Ok(false) };
        let expected = R2tSn(task.next_r2t_sn);
        task.next_r2t_sn = expected.next().0;
        if pdu.r2t_sn == expected { Ok(true) } else { Err(Fault::R2tSn { expected, found: pdu.r2t_sn }) }
    }

    /// A StatSN has come that belongs to no data. Returns whether it is a new one.
    #[inline]
    pub(super) fn numbered(&mut self, cid: Cid, stat_sn: StatSn, host: &mut impl Host) -> Result<bool, Fault> {
        let has_recovery = self.has_recovery();
        let connection = self.connection_mut(cid).ok_or(Fault::NoConnection)?;
        let expected = connection.statuses.exp_stat_sn();
        let arrival = connection.statuses.arrived(stat_sn, true);
        if has_recovery {
            self.ask_statuses(cid, stat_sn, host);
        } else if arrival != Arrival::Next {
            return Err(Fault::StatSn { expected, found: stat_sn });
        }
        Ok(arrival != Arrival::Again)
    }

    /// What belongs to no command.
    #[cold]
    fn other(&mut self, cid: Cid, header: &Bhs, data: &[u8], host: &mut impl Host) -> Result<(), Fault> {
        match bhs::opcode(header) {
            Opcode::NOP_IN => self.nop_in(cid, &NopIn::parse(header)?, data, host),
            Opcode::TEXT_RESPONSE => {
                let pdu = TextResponse::parse(header)?;
                let TextResponse { itt, ttt, lun, is_final, cont, .. } = pdu;
                self.window.update(pdu.exp_cmd_sn, pdu.max_cmd_sn);
                let answer = Answer { itt, ttt, lun, is_final, cont, text: data };
                self.tell(cid, pdu.stat_sn, Event::Text(answer), host)
            }
            Opcode::TASK_MANAGEMENT_RESPONSE => self.managed(cid, &TaskManagementResponse::parse(header)?, host),
            Opcode::LOGOUT_RESPONSE => {
                let pdu = LogoutResponse::parse(header)?;
                let LogoutResponse { itt, response, time2wait, time2retain, .. } = pdu;
                self.window.update(pdu.exp_cmd_sn, pdu.max_cmd_sn);
                self.tell(cid, pdu.stat_sn, Event::LoggedOut { itt, response, time2wait, time2retain }, host)
            }
            Opcode::ASYNC_MESSAGE => {
                let pdu = AsyncMessage::parse(header)?;
                self.window.update(pdu.exp_cmd_sn, pdu.max_cmd_sn);
                self.tell(cid, pdu.stat_sn, Event::Message(pdu, data), host)
            }
            Opcode::REJECT => {
                let pdu = Reject::parse(header)?;
                self.window.update(pdu.exp_cmd_sn, pdu.max_cmd_sn);
                self.tell(cid, pdu.stat_sn, Event::Rejected { reason: pdu.reason, header: data.first_chunk() }, host)
            }
            known if known.is_targets() && known.name().is_some() => Err(Fault::Unexpected(known)),
            unknown => Err(WireError::UnknownOpcode(unknown).into()),
        }
    }

    /// Takes note of a StatSN and, if it is a new one, tells of what it belongs to.
    fn tell(&mut self, cid: Cid, stat_sn: StatSn, event: Event<'_>, host: &mut impl Host) -> Result<(), Fault> {
        if self.numbered(cid, stat_sn, host)? {
            host.event(event);
        }
        Ok(())
    }

    fn nop_in(&mut self, cid: Cid, pdu: &NopIn, data: &[u8], host: &mut impl Host) -> Result<(), Fault> {
        self.window.update(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        if !pdu.itt.is_reserved() {
            self.tell(cid, pdu.stat_sn, Event::Pong { itt: pdu.itt, data }, host)?;
        } else if self.has_recovery() {
            self.ask_statuses(cid, pdu.stat_sn, host);
        }
        //= RFC 7143 section 11.18
        //# Upon receipt of a NOP-In with the Target Transfer Tag set to a valid
        //# value (not the reserved value 0xffffffff), the initiator MUST respond
        //# with a NOP-Out.
        if !pdu.ttt.is_reserved() {
            let exp_stat_sn = self.exp_stat_sn(cid).ok_or(Fault::NoConnection)?;
            let pong = Stamp { cmd_sn: self.window.cmd_sn, exp_stat_sn }.pong(pdu);
            self.send(cid, pong, &[], host);
        }
        Ok(())
    }

    fn managed(&mut self, cid: Cid, pdu: &TaskManagementResponse, host: &mut impl Host) -> Result<(), Fault> {
        self.window.update(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        let TaskManagementResponse { itt, response, additional_info, .. } = *pdu;
        if !self.numbered(cid, pdu.stat_sn, host)? {
            return Ok(());
        }
        self.aborted(itt, response);
        self.reassigned(itt, response, host);
        host.event(Event::Managed { itt, response, additional_info });
        Ok(())
    }
}
