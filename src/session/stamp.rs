//! StatSN, ExpCmdSN and MaxCmdSN are written here and nowhere else, at the moment a PDU is queued.
//!
//! Three kinds of PDU: [`Session::send_numbered`] uses up a StatSN, [`Session::send_unnumbered`] shows the next one, and
//! [`Session::send_data`] has none. What is sent on a connection that is gone is dropped.

use super::Session;
use super::seam::{ConnIx, Outbox, Payload};
use crate::canary::{Canary, sings};
use crate::wire::{Bhs, LoginResponse, StatSn, bhs};

impl Session {
    /// A response, Reject or Asynchronous Message: the initiator acknowledges it.
    #[inline]
    pub(super) fn send_numbered<O: Outbox>(&mut self, to: ConnIx, header: &mut Bhs, payload: Payload<'_>, out: &mut O) {
        let Some(connection) = self.connections.get_mut(usize::from(to.0)).filter(|c| c.state.may_send()) else {
            return;
        };
        let stat_sn = connection.stat_sn;
        //= RFC 7143 section 4.2.2.2
        //# Initiators and targets MUST support the response-numbering scheme.
        //= RFC 7143 section 11.4.9
        //# The StatSN is incremented by 1 for every
        //# response/status sent on a connection
        connection.stat_sn = stat_sn.next();
        let is_sick = stat_sn.0 % 64 == 0;
        if is_sick && sings(Canary::StatSnSkipped) {
            connection.stat_sn = connection.stat_sn.next();
        }
        self.stamp(header, stat_sn);
        if self.keeps {
            self.keep(to, stat_sn, header, payload);
        }
        if is_sick && sings(Canary::AnsweredTwice) {
            out.pdu(to, header, payload);
        }
        out.pdu(to, header, payload);
    }

    /// A response that was sent before, with the StatSN that it had.
    pub(super) fn send_again<O: Outbox>(
        &mut self,
        to: ConnIx,
        stat_sn: StatSn,
        header: &mut Bhs,
        bytes: &[u8],
        out: &mut O,
    ) {
        if self.connections.get(usize::from(to.0)).is_some_and(|c| c.state.may_send()) {
            //= RFC 7143 section 11.4.9
            //# In the case of responses sent due to a retransmission request, the
            //# StatSN MUST be the same as the first time the PDU was sent, unless the
            //# connection has since been restarted.
            self.stamp(header, stat_sn);
            out.pdu(to, header, if bytes.is_empty() { Payload::None } else { Payload::Bytes(bytes) });
        }
    }

    /// Puts ExpCmdSN and MaxCmdSN into the final Login Response of a connection that joins the session.
    pub fn stamp_login(&mut self, response: &mut LoginResponse) {
        (response.exp_cmd_sn, response.max_cmd_sn) = (self.window.exp_cmd_sn(), self.window.max_cmd_sn());
        self.max_cmd_sn_sent = response.max_cmd_sn;
    }

    /// An R2T, or a NOP-In that is no answer: carries the next StatSN without using it up.
    #[inline]
    pub(super) fn send_unnumbered<O: Outbox>(&mut self, to: ConnIx, header: &mut Bhs, out: &mut O) {
        let Some(connection) = self.connections.get(usize::from(to.0)).filter(|c| c.state.may_send()) else { return };
        let stat_sn = connection.stat_sn;
        self.stamp(header, stat_sn);
        out.pdu(to, header, Payload::None);
    }

    /// A Data-In without status: its StatSN field is reserved.
    #[inline]
    pub(super) fn send_data<O: Outbox>(&mut self, to: ConnIx, header: &mut Bhs, payload: Payload<'_>, out: &mut O) {
        if self.connections.get(usize::from(to.0)).is_some_and(|c| c.state.may_send()) {
            self.stamp(header, StatSn(0));
            out.pdu(to, header, payload);
        }
    }

    #[inline]
    fn stamp(&mut self, header: &mut Bhs, stat_sn: StatSn) {
        //= RFC 7143 section 11.2.1.2
        //# Initiators MUST NOT use target Opcodes, and targets MUST NOT use
        //# initiator Opcodes.
        debug_assert!(bhs::opcode(header).is_targets(), "{}", bhs::opcode(header));
        let max_cmd_sn = self.window.max_cmd_sn();
        self.max_cmd_sn_sent = max_cmd_sn;
        bhs::stamp(header, stat_sn, self.window.exp_cmd_sn(), max_cmd_sn);
    }
}
