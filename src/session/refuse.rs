//! How a fault reaches the wire, by blast radius.
//!
//! | radius | here |
//! |---|---|
//! | one PDU | [`Session::reject`]: a Reject with the header of the bad PDU (RFC 7143 section 11.17) |
//! | one task | [`Session::fail_task`]: CHECK CONDITION with one of the iSCSI conditions of section 11.4.7.2 |
//! | the session | [`Session::end`] with [`CloseReason::Protocol`] (section 7.7) |

use super::Session;
use super::fault::{CHECK_CONDITION, Fault, TaskFault};
use super::recovery::Outgoing;
use super::residual::Residual;
use super::seam::{CloseReason, ConnIx, Direction, Event, Outbox, Payload, TaskId};
use super::task::{Answer, State};
use crate::wire::{Bhs, CmdSn, DataSn, Reject, RejectReason, StatSn};

impl Session {
    /// Brings a fault to the wire.
    #[cold]
    pub(super) fn apply<O: Outbox>(&mut self, fault: Fault, conn: ConnIx, bhs: &Bhs, out: &mut O) {
        match fault {
            Fault::Ignore => {}
            Fault::RejectPdu(reason) => self.reject(conn, bhs, reason, out),
            //= RFC 7143 section 7.7
            //# When a target or an initiator receives an iSCSI PDU with a format
            //# error, it MUST immediately terminate all transport connections in the
            //# session with either a connection close or a connection reset, and
            //# escalate the format error to session recovery (see Section 7.1.4.4).
            Fault::DropSession(rule) => self.end(CloseReason::Protocol(rule)),
        }
    }

    /// Sends a Reject.
    pub(super) fn reject<O: Outbox>(&mut self, conn: ConnIx, bhs: &Bhs, reason: RejectReason, out: &mut O) {
        //= RFC 7143 section 7.3
        //# Targets MUST NOT implicitly terminate an active task by sending a Reject
        //# PDU for any PDU exchanged during the life of the task.
        let reject = Reject {
            reason,
            //= RFC 7143 section 11.17.4
            //# The target returns the header (not including the digest) of the PDU
            //# in error as the data of the response.
            data_segment_len: bhs.len() as u32,
            stat_sn: StatSn(0),
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
            data_sn: DataSn(0),
        };
        let mut header = [0; 48];
        reject.emit(&mut header);
        //= RFC 7143 section 11.17.3
        //# The StatSN is advanced after a Reject.
        self.send_numbered(conn, &mut header, Payload::Bytes(bhs), out);
    }

    /// Ends a task with one of our own conditions: once it is delivered, once the shard has let go of it, and once the
    /// initiator has sent what it still owes. A task whose end is settled already keeps that end.
    #[cold]
    pub(super) fn fail_task<O: Outbox>(&mut self, id: TaskId, fault: TaskFault, out: &mut O) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        match task.state {
            State::Held => {
                task.fault.get_or_insert(fault);
            }
            State::Open => {
                // What was sent has come, though there is more that never will.
                let residual = match task.outgoing.as_deref().map_or(0, Outgoing::moved_bytes) {
                    0 => Residual::of(&task.command, 0, Direction::None),
                    moved => Residual::of(&task.command, u64::from(moved), Direction::In),
                };
                task.answer = Some(Box::new(Answer {
                    status: CHECK_CONDITION,
                    sense: fault.sense().to_vec(),
                    residual,
                    fence: false,
                }));
                if task.shared {
                    task.state = State::Aborting;
                    self.events.push(Event::Abort(id));
                } else {
                    task.state = State::Answering;
                    self.answer_if_due(id, out);
                }
            }
            State::Free | State::Answering | State::Aborting => {}
        }
    }
}
