//! What the target's PDUs mean, once they are complete.

use super::{IscsiClient, PING_ITT, broken, find, transfer_len};
use crate::iscsi::scsi::{Sense, status};
use crate::protocol::{Context, Done, Failure, Outcome};
use crate::tx::TxQueue;
use crate::workload::Operation;
use ringsan::wire::bhs::{self, BHS_LEN, Opcode};
use ringsan::wire::{
    AsyncEvent, AsyncMessage, DataIn, Itt, Lun, NopIn, NopOut, R2t, Reject, ScsiResponse, StatSn, Ttt,
};

impl IscsiClient {
    /// A whole PDU is there.
    pub(super) fn finish(&mut self, context: &mut Context, tx: &mut TxQueue) -> Result<(), Failure> {
        let header = self.incoming.bhs;
        match bhs::opcode(&header) {
            Opcode::SCSI_DATA_IN => {
                let pdu = DataIn::parse(&header).map_err(broken)?;
                self.counters.take_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
                let (index, slot) = find(&mut self.slots, pdu.itt)?;
                slot.received += pdu.data_segment_len;
                slot.data_sn += 1;
                if !pdu.has_status {
                    return Ok(());
                }
                if pdu.overflow || pdu.underflow || pdu.status != status::GOOD || slot.received != slot.io.len {
                    return Err(Failure(format!("a read of {} bytes ended with {pdu:?}", slot.io.len)));
                }
                slot.itt = None;
                self.status(pdu.stat_sn)?;
                context.done.push(Done { slot: index, outcome: Outcome::Good });
                Ok(())
            }
            Opcode::SCSI_RESPONSE => self.response(&ScsiResponse::parse(&header).map_err(broken)?, context),
            Opcode::R2T => self.r2t(&R2t::parse(&header).map_err(broken)?, context, tx),
            Opcode::NOP_IN => self.nop_in(&NopIn::parse(&header).map_err(broken)?, context, tx),
            Opcode::ASYNC_MESSAGE => {
                let pdu = AsyncMessage::parse(&header).map_err(broken)?;
                self.counters.take_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
                self.status(pdu.stat_sn)?;
                if pdu.event == AsyncEvent::SCSI_ASYNC_EVENT {
                    return Ok(());
                }
                Err(Failure(format!("the target announces: {}", pdu.event)))
            }
            Opcode::REJECT => {
                let pdu = Reject::parse(&header).map_err(broken)?;
                let what = self.incoming.side.first().map_or("nothing".into(), |byte| Opcode(byte & 0x3f).to_string());
                Err(Failure(format!("the target rejects a {what}: {}", pdu.reason)))
            }
            other => Err(Failure(format!("unexpected {other}"))),
        }
    }

    #[inline]
    fn status(&mut self, stat_sn: StatSn) -> Result<(), Failure> {
        let expected = self.counters.exp_stat_sn;
        if self.counters.take_status(stat_sn) {
            return Ok(());
        }
        Err(Failure(format!("StatSN {stat_sn} where {expected} was to come")))
    }

    fn response(&mut self, pdu: &ScsiResponse, context: &mut Context) -> Result<(), Failure> {
        self.counters.take_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.status(pdu.stat_sn)?;
        let (index, slot) = find(&mut self.slots, pdu.itt)?;
        slot.itt = None;
        let io = slot.io;
        let outcome = match pdu.status {
            _ if pdu.response != ScsiResponse::COMMAND_COMPLETED => None,
            status::GOOD => {
                let missing = io.operation == Operation::Read && slot.received != io.len;
                (!pdu.overflow && !pdu.underflow && !missing).then_some(Outcome::Good)
            }
            status::CHECK_CONDITION => {
                let attention = Sense::parse(&self.incoming.side).is_some_and(Sense::is_unit_attention);
                attention.then_some(Outcome::Retry)
            }
            status::BUSY | status::TASK_SET_FULL => Some(Outcome::Retry),
            _ => None,
        };
        if let Some(outcome) = outcome {
            context.done.push(Done { slot: index, outcome });
            return Ok(());
        }
        let sense = Sense::parse(&self.incoming.side).map(|sense| format!(", {sense}")).unwrap_or_default();
        Err(Failure(format!(
            "{:?} of {} bytes at byte {} failed: response {}, status {:#04x}, residual {}{sense}",
            io.operation, io.len, io.offset, pdu.response, pdu.status, pdu.residual_bytes
        )))
    }

    fn r2t(&mut self, pdu: &R2t, context: &Context, tx: &mut TxQueue) -> Result<(), Failure> {
        self.counters.take_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        let (index, slot) = find(&mut self.slots, pdu.itt)?;
        let total = transfer_len(&slot.io, self.block_len);
        let end = pdu.buffer_offset.checked_add(pdu.desired_len_bytes).filter(|&end| end <= total);
        match end {
            Some(end) if slot.io.operation != Operation::Read && pdu.desired_len_bytes > 0 => {
                self.send_data(index, pdu.ttt, pdu.buffer_offset..end, context.area, tx);
                Ok(())
            }
            _ => Err(Failure(format!("an R2T beyond the command's {total} bytes: {pdu:?}"))),
        }
    }

    fn nop_in(&mut self, pdu: &NopIn, context: &mut Context, tx: &mut TxQueue) -> Result<(), Failure> {
        self.counters.take_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        if pdu.itt == PING_ITT {
            self.status(pdu.stat_sn)?;
            context.done.push(Done { slot: 0, outcome: Outcome::Pong });
        } else if !pdu.itt.is_reserved() {
            return Err(Failure(format!("a NOP-In that nobody asked for: {pdu:?}")));
        }
        if !pdu.ttt.is_reserved() {
            self.nop_out(Itt::RESERVED, pdu.ttt, pdu.lun, tx);
        }
        Ok(())
    }

    pub(super) fn nop_out(&mut self, itt: Itt, ttt: Ttt, lun: Lun, tx: &mut TxQueue) {
        let pdu = NopOut {
            immediate_delivery: true,
            data_segment_len: 0,
            lun,
            itt,
            ttt,
            cmd_sn: self.counters.cmd_sn,
            exp_stat_sn: self.counters.exp_stat_sn,
        };
        let mut header = [0; BHS_LEN];
        pdu.emit(&mut header);
        self.send(&header, None, &[], tx);
    }
}
