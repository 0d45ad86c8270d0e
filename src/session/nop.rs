//! NOP-Out and NOP-In: pings in both directions, and the timers of a connection.

use super::connection::Ping;
use super::params::{SessionKind, TaskReporting};
use super::seam::{CloseReason, ConnIx, Outbox, Payload};
use super::{Received, Session};
use crate::limits::{NOP_INTERVAL_MS, NOP_TIMEOUT_MS};
use crate::wire::{AsyncEvent, Bhs, CmdSn, Itt, Lun, NopIn, NopOut, StatSn, Ttt};

/// Low half of the Target Transfer Tags of pings; no task has this slot.
const PING_TAG: u32 = 0xfffe;

fn nop_in(itt: Itt, ttt: Ttt, len: usize) -> NopIn {
    NopIn {
        data_segment_len: len as u32,
        //= RFC 7143 section 11.19.3
        //# A LUN MUST be set to a correct value when the Target Transfer Tag is
        //# valid (not the reserved value 0xffffffff).
        lun: Lun::flat(0),
        itt,
        ttt,
        stat_sn: StatSn(0),
        exp_cmd_sn: CmdSn(0),
        max_cmd_sn: CmdSn(0),
    }
}

impl Session {
    /// A NOP-Out that wants no answer: it acknowledges status, or answers our ping.
    pub(super) fn nop_out_silent(&mut self, rx: &Received<'_>) {
        let Ok(pdu) = NopOut::parse(rx.bhs) else { return };
        if !pdu.immediate_delivery {
            //= RFC 7143 section 11.18.1
            //# If the Initiator Task Tag contains 0xffffffff, the I bit MUST be set
            //# to 1, and the CmdSN is not advanced after this PDU is sent.
            return self.end(CloseReason::Protocol("NOP-Out with reserved Initiator Task Tag and no I bit"));
        }
        //= RFC 7143 section 11.19
        //# The target SHOULD NOT send a NOP-In in response to any other received
        //# NOP-Out in order to avoid lengthy sequences of NOP-In and NOP-Out PDUs
        //# sent in response to each other.
        self.pong(rx.conn, pdu.ttt);
        if self.init.params.task_reporting == TaskReporting::FastAbort
            && let Some(c) = self.connections.get(usize::from(rx.conn.0))
        {
            //= RFC 7143 section 4.2.3.4
            //# MUST free up the affected TTTs (and STags for iSER, if applicable) and
            //# the corresponding buffers, if any, once it receives each associated
            //# NOP-Out acknowledgment that the initiator generated in response to each
            //# Async Message.
            self.tasks.ghosts.lay(rx.conn, pdu.lun, c.exp_stat_sn);
        }
    }

    fn pong(&mut self, conn: ConnIx, ttt: Ttt) {
        if let Some(connection) = self.connections.get_mut(usize::from(conn.0))
            && connection.ping.is_some_and(|ping| ping.ttt == ttt)
        {
            connection.ping = None;
        }
    }

    /// Answers a ping whose turn has come.
    pub(super) fn echo<O: Outbox>(&mut self, conn: ConnIx, bhs: &Bhs, data: &[u8], out: &mut O) {
        let Ok(pdu) = NopOut::parse(bhs) else { return };
        self.pong(conn, pdu.ttt);
        //= RFC 7143 section 11.18.1
        //# When a target receives the NOP-Out with a valid Initiator Task Tag, it
        //# MUST respond with a NOP-In Response (see Section 4.6.3.6).
        //= RFC 7143 section 11.19
        //# When a target receives the NOP-Out with a valid Initiator Task Tag (not
        //# the reserved value 0xffffffff), it MUST respond with a NOP-In with the
        //# same Initiator Task Tag that was provided in the NOP-Out request.
        let Some(connection) = self.connections.get(usize::from(conn.0)) else { return };
        //= RFC 7143 section 11.18.3
        //# Ping data is reflected in the NOP-In Response.  The length of the
        //# reflected data is limited to MaxRecvDataSegmentLength.
        //= RFC 7143 section 11.19
        //# It MUST also duplicate up to the first MaxRecvDataSegmentLength bytes of
        //# the initiator-provided Ping Data.
        let most = connection.params.own.initiator_max_recv_bytes as usize;
        let data = data.get(..most).unwrap_or(data);
        let mut header = [0; 48];
        //= RFC 7143 section 11.19
        //# For such a response, the Target Transfer Tag MUST be 0xffffffff.
        nop_in(pdu.itt, Ttt::RESERVED, data.len()).emit(&mut header);
        let payload = if data.is_empty() { Payload::None } else { Payload::Bytes(data) };
        self.send_numbered(conn, &mut header, payload, out);
    }

    /// Looks after the timers: pings idle connections, gives up those that do not answer or do not log out. To be called
    /// at [`next_deadline_ms`](Self::next_deadline_ms); cheap, and harmless at any other time.
    pub fn tick<O: Outbox>(&mut self, now_ms: u64, out: &mut O) {
        self.now_ms = now_ms;
        if self.is_overdue() {
            return self.drop_session(CloseReason::Shutdown, out);
        }
        for ix in (0..self.connections.len()).map(|ix| ConnIx(ix as u8)) {
            let kind = self.init.kind;
            let Some(c) = self.connections.get_mut(usize::from(ix.0)).filter(|c| c.state.is_full_feature()) else {
                continue;
            };
            if c.ping.is_some_and(|ping| c.last_rx_ms > ping.sent_ms) {
                c.ping = None;
            }
            if c.logout_by_ms.is_some_and(|by| now_ms >= by) {
                //= RFC 7143 section 4.2.6
                //# A target MAY terminate a Full Feature Phase connection on internal
                //# exception events, but it SHOULD announce the fact through an
                //# Asynchronous Message PDU.
                self.announce(ix, AsyncEvent::CONNECTION_DROP, out);
                self.close(ix, CloseReason::Shutdown);
            } else if c.ping.is_some_and(|ping| now_ms >= ping.sent_ms + NOP_TIMEOUT_MS) {
                self.close(ix, CloseReason::NopTimeout);
            } else if c.ping.is_none() && now_ms >= c.last_rx_ms + NOP_INTERVAL_MS {
                if kind == SessionKind::Discovery {
                    //= RFC 7143 section 7.4.3
                    //# Targets SHOULD NOT send any responses other than a Text Response and
                    //# Logout Response on a Discovery session, once in the Full Feature Phase.
                    // No ping may be sent, and a discovery session is not meant to idle.
                    self.close(ix, CloseReason::NopTimeout);
                } else {
                    self.ping(ix, out);
                }
            }
        }
        self.expire_managements(out);
        self.expire_sequences(out);
        self.expire_lost();
        self.send_notices(out);
        self.expire_fence();
        if self.fence_due {
            self.look_at_fence(out);
        }
        self.announce_window(out);
    }

    /// Whether all of several connections were asked to log out, and none of them has.
    fn is_overdue(&self) -> bool {
        let mut open = self.connections.iter().filter(|c| c.state.is_full_feature());
        let several = self.connections().nth(1).is_some();
        several && open.all(|c| c.logout_by_ms.is_some_and(|by| self.now_ms >= by))
    }

    /// Asks the initiator for an ExpStatSN on a connection, by a ping, if a fence waits and no ping is under way there.
    pub(super) fn solicit<O: Outbox>(&mut self, ix: ConnIx, out: &mut O) {
        let idle =
            self.connections.get(usize::from(ix.0)).is_some_and(|c| c.state.is_full_feature() && c.ping.is_none());
        if idle && self.fence.is_some() {
            self.ping(ix, out);
        }
    }

    fn ping<O: Outbox>(&mut self, ix: ConnIx, out: &mut O) {
        self.pings = self.pings.wrapping_add(1);
        let ttt = Ttt(u32::from(self.pings) << 16 | PING_TAG);
        let Some(c) = self.connections.get_mut(usize::from(ix.0)) else { return };
        c.ping = Some(Ping { ttt, sent_ms: self.now_ms });
        //= RFC 7143 section 11.19.2
        //# However, when
        //# the Initiator Task Tag is set to 0xffffffff, the StatSN for the
        //# connection is not advanced after this PDU is sent.
        let mut header = [0; 48];
        //= RFC 7143 section 11.19
        //# Otherwise, when a target sends a NOP-In that is not a response to a
        //# NOP-Out received from the initiator, the Initiator Task Tag MUST be set
        //# to 0xffffffff, and the data segment MUST NOT contain any data
        //# (DataSegmentLength MUST be 0).
        nop_in(Itt::RESERVED, ttt, 0).emit(&mut header);
        self.send_unnumbered(ix, &mut header, out);
    }

    /// Whether the initiator has to be told of a new MaxCmdSN by a NOP-In: no task is open that would tell it with its
    /// response, or the last MaxCmdSN that it was told leaves it no command to send.
    fn window_news(&self) -> bool {
        let closed = self.max_cmd_sn_sent.lt(self.window.exp_cmd_sn());
        self.max_cmd_sn_sent != self.window.max_cmd_sn() && (closed || self.tasks.len() == 0)
    }

    fn announce_window<O: Outbox>(&mut self, out: &mut O) {
        //= RFC 7143 section 11.4.11
        //# When the
        //# MaxCmdSN changes at the target while the target has no pending PDUs
        //# to convey this information to the initiator, it MUST generate a
        //# NOP-In to carry the new MaxCmdSN.
        let first = self.connections().next();
        if let Some(ix) = first.filter(|_| self.window_news()) {
            let mut header = [0; 48];
            //= RFC 7143 section 11.19.1
            //# If the target is initiating a NOP-In without wanting to receive a
            //# corresponding NOP-Out, this field MUST hold the reserved value
            //# 0xffffffff.
            nop_in(Itt::RESERVED, Ttt::RESERVED, 0).emit(&mut header);
            self.send_unnumbered(ix, &mut header, out);
        }
    }

    /// When [`tick`](Self::tick) has something to do next, on the clock of its `now_ms`. `u64::MAX`: never.
    pub fn next_deadline_ms(&self) -> u64 {
        if self.window_news() && self.connections().next().is_some() || !self.notices.is_empty() || self.fence_due {
            return self.now_ms;
        }
        let scan = if self.keeps && self.tasks.len() > 0 { self.scan_ms } else { u64::MAX };
        let live = self.connections.iter().filter(|c| c.state.is_full_feature());
        let each = live.map(|c| {
            let ping = c.ping.filter(|ping| c.last_rx_ms <= ping.sent_ms);
            let nop = ping.map_or(c.last_rx_ms + NOP_INTERVAL_MS, |ping| ping.sent_ms + NOP_TIMEOUT_MS);
            c.logout_by_ms.map_or(nop, |by| by.min(nop))
        });
        each.min()
            .unwrap_or(u64::MAX)
            .min(self.management_deadline_ms())
            .min(self.lost_deadline_ms())
            .min(self.fence_deadline_ms())
            .min(scan)
    }
}
