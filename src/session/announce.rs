//! Asynchronous Messages (RFC 7143 section 11.9): what the target says without being asked.
//!
//! A message whose cause arises where no outbox is at hand is put down as a [`Notice`] and leaves with the next
//! [`Session::tick`], which is due at once.

use super::Session;
use super::params::{SessionKind, TaskReporting};
use super::parts::Notice;
use super::seam::{CloseReason, ConnIx, Outbox, Payload};
use crate::limits::SHUTDOWN_LOGOUT_MS;
use crate::wire::{AsyncEvent, AsyncMessage, CmdSn, Lun, StatSn};

/// The longest sense data of an event: its length and as much as a sense buffer holds (SPC-4 clause 4.5.1).
const MAX_SENSE_BYTES: usize = 252;
/// Time that an initiator is given for a Text Request, seconds.
const NEGOTIATION_S: u16 = 10;

impl Session {
    /// Reports a SCSI event of a logical unit, with its sense data, on one connection (event 0). The bit of the INQUIRY data
    /// that once announced such events (AERC) is obsolete since SPC-3 and has to be zero; initiators of today take
    /// the events without it, and the unit attention says the same. Nothing is sent in a discovery session.
    pub fn async_scsi_event<O: Outbox>(&mut self, lun: Lun, sense: &[u8], out: &mut O) {
        let Some(ix) = self.connections().next().filter(|_| self.init.kind == SessionKind::Normal) else { return };
        let sense = sense.get(..MAX_SENSE_BYTES).unwrap_or(sense);
        let mut segment = [0; 2 + MAX_SENSE_BYTES];
        segment.iter_mut().zip((sense.len() as u16).to_be_bytes().iter().chain(sense)).for_each(|(to, b)| *to = *b);
        //= RFC 7143 section 11.9.3
        //# The LUN field MUST be valid if AsyncEvent is 0.
        let payload = Payload::Bytes(segment.get(..2 + sense.len()).unwrap_or(&[]));
        self.announce_with(ix, AsyncEvent::SCSI_ASYNC_EVENT, lun, [0; 3], payload, out);
    }

    /// Asks for a Text Request on a connection (event 4). Nothing is sent in a discovery session.
    pub fn request_negotiation<O: Outbox>(&mut self, conn: ConnIx, out: &mut O) {
        if self.init.kind == SessionKind::Normal {
            let parameters = [0, 0, NEGOTIATION_S];
            self.announce_with(conn, AsyncEvent::NEGOTIATION_REQUEST, Lun([0; 8]), parameters, Payload::None, out);
        }
    }

    /// Drops the session, after telling the initiator so (event 3). Nothing of it is kept.
    pub fn drop_session<O: Outbox>(&mut self, reason: CloseReason, out: &mut O) {
        let wait = self.init.params.time2wait_s;
        for ix in self.connections().collect::<Vec<_>>() {
            if self.init.kind == SessionKind::Normal {
                self.announce_with(ix, AsyncEvent::SESSION_DROP, Lun([0; 8]), [0, wait, 0], Payload::None, out);
            }
            self.events.push(super::seam::Event::Close { conn: ix, reason });
        }
        self.end(reason);
    }

    /// An Asynchronous Message about a connection, sent on that connection: events 1 and 2.
    pub(super) fn announce<O: Outbox>(&mut self, ix: ConnIx, event: AsyncEvent, out: &mut O) {
        let Some(c) = self.connections.get(usize::from(ix.0)) else { return };
        // Parameter 3 is Time2Retain in seconds: 0, for nothing is retained after a drop by the target. With a logout
        // request it is the time that the initiator has to log out.
        let parameters = match event {
            AsyncEvent::CONNECTION_DROP => [c.cid.0, self.init.params.time2wait_s, 0],
            _ => [0, 0, (SHUTDOWN_LOGOUT_MS / 1000) as u16],
        };
        self.announce_with(ix, event, Lun([0; 8]), parameters, Payload::None, out);
    }

    /// Notes that the tasks of a logical unit on a connection are being terminated, if the initiator wants to know.
    pub(super) fn note_termination(&mut self, conn: ConnIx, lun: Lun) {
        //= RFC 7143 section 11.9.1
        //# This value of AsyncEvent, however, MUST NOT be used on an
        //# iSCSI session unless the new TaskReporting text key defined in
        //# Section 13.23 was negotiated to FastAbort on the session.
        let notice = Notice::Terminated(conn, lun);
        //= RFC 7143 section 4.2.3.5
        //# If the issuing session is an RFC 3720 session, the iSCSI target
        //# implementation is FastAbort-capable, and the third-party affected
        //# session is a FastAbort session, the following behavior SHOULD be
        //# exhibited by the iSCSI target layer:
        // Only what this session agreed upon counts. What the issuing session agreed upon is not looked at.
        let fast = self.init.params.task_reporting == TaskReporting::FastAbort;
        //= RFC 7143 section 4.2.3.4
        //# If there are multiple affected LUs (say, due to a target reset), then
        //# one Async Message PDU MUST be sent for each such LU on each connection
        //# that has at least one allegiant affected task.
        //= RFC 7143 section 4.2.3.5
        //# If the issuing session is a FastAbort session, the iSCSI target
        //# implementation is FastAbort-capable, and the third-party affected
        //# session is an RFC 3720 session, the iSCSI target layer MUST NOT send
        //# Asynchronous Message PDUs on the third-party session to prompt the
        //# FastAbort behavior.
        if fast && !self.notices.contains(&notice) && self.connections.get(usize::from(conn.0)).is_some() {
            self.notices.push(notice);
        }
    }

    /// Sends an Asynchronous Message for each [`Notice`] that was put down.
    pub(super) fn send_notices<O: Outbox>(&mut self, out: &mut O) {
        for notice in std::mem::take(&mut self.notices) {
            let p = self.init.params;
            match notice {
                Notice::Dropped(cid) => {
                    let is_back = self.connections.iter().any(|c| c.cid == cid && c.state.is_full_feature());
                    debug_assert!(!is_back, "the drop of a connection is told that is back");
                    //= RFC 7143 section 7.1.4.3
                    //# The target MUST close the connection
                    //# and, if more than one connection is available, the target SHOULD
                    //# send an Asynchronous Message that indicates that it has dropped
                    //# the connection.
                    let retain = if p.error_recovery_level >= 2 { p.time2retain_s } else { 0 };
                    let parameters = [cid.0, p.time2wait_s, retain];
                    let first = self.connections().next();
                    if let Some(ix) = first {
                        self.announce_with(
                            ix,
                            AsyncEvent::CONNECTION_DROP,
                            Lun([0; 8]),
                            parameters,
                            Payload::None,
                            out,
                        );
                    }
                }
                Notice::Terminated(ix, lun) => {
                    if let Some(c) = self.connections.get(usize::from(ix.0)) {
                        self.tasks.ghosts.tell(ix, lun, c.stat_sn);
                    }
                    //= RFC 7143 section 4.2.3.5
                    //# When sent, the LUN field in the Asynchronous Message PDU MUST be set to
                    //# match the LUN for each such LU.
                    //= RFC 7143 section 4.2.3.4
                    //# The LUN field in the Asynchronous Message
                    //# PDU MUST be set to match the LUN for each such LU.
                    self.announce_with(ix, AsyncEvent::TASK_TERMINATION, lun, [0; 3], Payload::None, out);
                }
            }
        }
    }

    fn announce_with<O: Outbox>(
        &mut self,
        ix: ConnIx,
        event: AsyncEvent,
        lun: Lun,
        [parameter1, parameter2, parameter3]: [u16; 3],
        payload: Payload<'_>,
        out: &mut O,
    ) {
        let pdu = AsyncMessage {
            event,
            vcode: 0,
            data_segment_len: payload.len() as u32,
            lun,
            stat_sn: StatSn(0),
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
            parameter1,
            parameter2,
            parameter3,
        };
        let mut header = [0; 48];
        pdu.emit(&mut header);
        self.send_numbered(ix, &mut header, payload, out);
    }
}
