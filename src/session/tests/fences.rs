//! The response fence (requirement 44), and what other sessions hear of a function on many tasks.

use super::driver::*;
use crate::limits::{DRAIN_TIMEOUT_MS, FENCE_WAIT_MS};
use crate::session::params::TaskReporting;
use crate::session::seam::{CloseReason, ConnIx, Event};
use crate::session::*;
use crate::wire::*;

const UNIT_ATTENTION: [u8; 18] = [0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 3, 0, 0, 0, 0];
const PREEMPT_AND_ABORT: [u8; 16] = [0x5f, 5, 1, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0];

/// A session of two connections.
fn two(task_reporting: TaskReporting) -> (Rig, ConnIx) {
    let params = Params { max_connections: 2, task_reporting, ..params() };
    let mut r = Rig::with(SessionKind::Normal, params, 1);
    let init = ConnectionInit { cid: Cid(4), params, stat_sn: StatSn(u32::MAX - 2), exp_cmd_sn: CmdSn(1) };
    let second = r.s.add_connection(init, r.now_ms).unwrap();
    (r, second)
}

impl Rig {
    fn run_on(&mut self, conn: ConnIx, command: ScsiCommand) -> TaskId {
        let mut bhs = [0; 48];
        command.emit(&mut bhs);
        self.raw_on(conn, &bhs, &[], &[]);
        match self.events()[..] {
            [Event::Execute(task)] => task,
            ref other => panic!("expected Execute, found {other:?}"),
        }
    }

    /// A NOP-Out that wants no answer: everything before `exp_stat_sn` has arrived.
    fn acknowledge(&mut self, conn: ConnIx, ping: &NopIn, exp_stat_sn: StatSn) {
        let mut bhs = [0; 48];
        let nop = NopOut { itt: Itt::RESERVED, ttt: ping.ttt, lun: ping.lun, exp_stat_sn, ..self.nop() };
        nop.emit(&mut bhs);
        self.raw_on(conn, &bhs, &[], &[]);
    }

    fn ping(&mut self, conn: ConnIx) -> NopIn {
        let sent = self.wire.sent.remove(0);
        match sent.pdu {
            Pdu::NopIn(p) if p.itt.is_reserved() && sent.conn == conn => p,
            other => panic!("expected a NOP-In on {conn:?}, found {other:?}"),
        }
    }

    /// The next PDU is the SCSI Response to `itt`, on `conn`; its StatSN.
    fn answer(&mut self, conn: ConnIx, itt: Itt) -> StatSn {
        let sent = self.wire.sent.remove(0);
        match sent.pdu {
            Pdu::ScsiResponse(p) if p.itt == itt && sent.conn == conn => p.stat_sn,
            other => panic!("expected the answer to {itt:?} on {conn:?}, found {other:?}"),
        }
    }
}

#[test]
fn item_44_responses_that_are_fenced() {
    //= RFC 7143 section 4.2.2.3.4
    //# This section lists the situations in which fenced response behavior is
    //# REQUIRED in iSCSI target implementations.
    //= RFC 7143 section 4.2.2.3.4
    //# Whenever the TaskReporting key (Section 13.23) is negotiated to
    //# ResponseFence or FastAbort for an iSCSI session, the target iSCSI layer
    //# MUST assume that the Response Fence is required for the following SCSI
    //# completion messages:
    //= RFC 7143 section 4.2.3.3
    //# MUST provide the Response Fence behavior on the first post-TMF Response
    //# on third-party sessions as specified in Section 4.2.2.3.3.
    //= RFC 7143 section 4.2.3.4
    //# MUST address the Response Fence flag on the first post-TMF Response on
    //# third-party sessions as defined in Section 4.2.2.3.3.
    //= RFC 7143 section 4.2.3.6
    //# The UA notification contained in the first SCSI Response PDU on each
    //# affected third-party I_T_L nexus after the TMF action thus MUST NOT pass
    //# the affected task responses on any of the iSCSI sessions accessing the
    //# LU.
    //= RFC 7143 section 13.23
    //# semantics MUST be supported in reporting
    //
    //= RFC 7143 section 13.23
    //# described in Section 4.2.2.3.3 MUST be
    let ways = [TaskReporting::ResponseFence, TaskReporting::FastAbort].map(|way| [(way, false), (way, true)]);
    for (task_reporting, preempts) in ways.into_iter().flatten() {
        let (mut r, second) = two(task_reporting);
        let (aborted, before, fenced, after) = (r.draw_read(512), r.draw(), r.draw(), r.draw());
        let fenced = ScsiCommand { cdb: if preempts { PREEMPT_AND_ABORT } else { [0; 16] }, ..fenced };
        let gone = r.run_on(second, aborted);
        let done = r.run_on(second, before);
        let task = r.run_on(r.c, fenced);
        let last = r.run_on(second, after);
        r.good(done);
        let said = r.answer(second, before.itt);
        // Another initiator's reset: what it aborts is answered no more, neither before nor after the unit attention.
        r.s.abort_tasks(Some(Lun::flat(7)));
        assert_eq!(r.events(), []);
        r.abort_one(aborted);
        assert_eq!(r.events(), [Event::Abort(gone)]);
        r.released(gone);
        assert!(matches!(r.one().pdu, Pdu::TaskManagementResponse(_)));
        let (status, sense): (u8, &[u8]) = if preempts { (0, &[]) } else { (2, &UNIT_ATTENTION) };
        r.s.complete(task, Ending { status, sense, fence: true }, 0, Direction::None, &mut r.wire);
        r.good(gone);
        let (first_ping, second_ping) = (r.ping(r.c), r.ping(second));
        r.good(last);
        assert!(r.sent().is_empty(), "what was said before has not all been acknowledged");
        r.acknowledge(second, &second_ping, said.next());
        assert!(r.sent().is_empty(), "one connection has acknowledged, the other has not");
        r.acknowledge(r.c, &first_ping, first_ping.stat_sn);
        let said = r.answer(r.c, fenced.itt);
        let ping = r.ping(r.c);
        assert!(r.sent().is_empty(), "what follows waits for the acknowledgment of the fenced response");
        r.acknowledge(r.c, &ping, said);
        assert!(r.sent().is_empty());
        r.acknowledge(r.c, &ping, said.next());
        r.answer(second, after.itt);
        assert!(r.sent().is_empty());
    }
}

/// A fenced response on the first connection, one before it and one behind it on the second; nothing is acknowledged yet.
fn behind_a_fence(task_reporting: TaskReporting) -> (Rig, ConnIx, StatSn, [ScsiCommand; 2]) {
    let (mut r, second) = two(task_reporting);
    let (before, fenced, after) = (r.draw(), r.draw(), r.draw());
    let done = r.run_on(second, before);
    let task = r.run_on(r.c, fenced);
    let last = r.run_on(second, after);
    r.good(done);
    let said = r.answer(second, before.itt);
    r.s.complete(task, Ending { status: 2, sense: &UNIT_ATTENTION, fence: true }, 0, Direction::None, &mut r.wire);
    r.good(last);
    (r, second, said, [fenced, after])
}

#[test]
fn without_task_reporting_a_unit_attention_is_not_fenced() {
    let (mut r, second, _, [fenced, after]) = behind_a_fence(TaskReporting::Rfc3720);
    r.answer(r.c, fenced.itt);
    r.answer(second, after.itt);
    assert!(r.sent().is_empty());
}

#[test]
fn an_acknowledgment_of_too_much_is_one_of_all_that_was_sent() {
    let (mut r, second, said, [fenced, after]) = behind_a_fence(TaskReporting::ResponseFence);
    let ping = r.ping(second);
    r.acknowledge(second, &ping, StatSn(said.0.wrapping_add(1 << 30)));
    assert!(r.sent().is_empty(), "that is no ExpStatSN");
    r.acknowledge(second, &ping, said.next().next());
    let said = r.answer(r.c, fenced.itt);
    let ping = r.ping(r.c);
    r.acknowledge(r.c, &ping, said.next().next());
    r.answer(second, after.itt);
}

#[test]
fn nobody_waits_long_for_an_acknowledgment() {
    let (mut r, second, _, [fenced, after]) = behind_a_fence(TaskReporting::ResponseFence);
    r.ping(second);
    assert!(r.s.next_deadline_ms() <= r.now_ms + FENCE_WAIT_MS);
    r.tick(r.now_ms + FENCE_WAIT_MS);
    r.answer(r.c, fenced.itt);
    r.ping(r.c);
    assert!(r.sent().is_empty());
    r.tick(r.now_ms + FENCE_WAIT_MS);
    r.answer(second, after.itt);
}

impl Rig {
    /// ABORT TASK.
    fn abort_one(&mut self, command: ScsiCommand) {
        let tm = self.tm(TmFunction::ABORT_TASK);
        self.send(TaskManagementRequest { referenced_task_tag: command.itt, ref_cmd_sn: command.cmd_sn, ..tm }, &[]);
    }
}

/// A session whose tasks another one aborts: two of LUN 0 on one connection, one of LUN 1 on the other.
fn third_party(task_reporting: TaskReporting) -> (Rig, Vec<(ConnIx, AsyncMessage)>) {
    let (mut r, second) = two(task_reporting);
    for (conn, lun) in [(r.c, 0), (r.c, 0), (second, 1)] {
        let command = ScsiCommand { lun: Lun::flat(lun), ..r.draw_read(512) };
        r.run_on(conn, command);
    }
    r.s.abort_tasks(None);
    assert!(matches!(r.events()[..], [Event::Abort(_), Event::Abort(_), Event::Abort(_)]));
    assert_eq!(r.s.next_deadline_ms() <= r.now_ms, task_reporting == TaskReporting::FastAbort, "due at once");
    r.tick(r.now_ms);
    let sent = r.wire.sent.drain(..).map(|s| match s.pdu {
        Pdu::AsyncMessage(p) => (s.conn, p),
        other => panic!("expected an Asynchronous Message, found {other:?}"),
    });
    let sent = sent.collect();
    (r, sent)
}

#[test]
fn item_83_the_end_of_tasks_is_told_in_fast_abort_sessions() {
    //= RFC 7143 section 4.2.3.4
    //# MUST send an Asynchronous Message PDU with AsyncEvent=5 (Section 11.9)
    //# on:
    //= RFC 7143 section 4.2.3.4
    //# If there are multiple affected LUs (say, due to a target reset), then
    //# one Async Message PDU MUST be sent for each such LU on each connection
    //# that has at least one allegiant affected task.
    //= RFC 7143 section 4.2.3.4
    //# The LUN field in the Asynchronous Message PDU MUST be set to match the
    //# LUN for each such LU.
    //= RFC 7143 section 4.2.3.5
    //# When sent, the LUN field in the Asynchronous Message PDU MUST be set to
    //# match the LUN for each such LU.
    //= RFC 7143 section 4.2.3.4
    //# Protocol behavior defined in this section SHOULD be implemented by all
    //# iSCSI implementations complying with this document, noting that some
    //# steps below may not be compatible with [RFC3720] semantics.
    //= RFC 7143 section 4.2.3.5
    //# If the issuing session is an RFC 3720 session, the iSCSI target
    //# implementation is FastAbort-capable, and the third-party affected
    //# session is a FastAbort session, the following behavior SHOULD be
    //# exhibited by the iSCSI target layer:
    let (r, sent) = third_party(TaskReporting::FastAbort);
    let told: Vec<_> = sent.iter().map(|(conn, p)| (*conn, p.event, p.lun.number())).collect();
    let event = AsyncEvent::TASK_TERMINATION;
    assert_eq!(told, [(r.c, event, Some(0)), (ConnIx(1), event, Some(1))]);
}

#[test]
fn item_83_the_end_of_tasks_is_not_told_in_other_sessions() {
    //= RFC 7143 section 11.9.1
    //# This value of AsyncEvent, however, MUST NOT be used on an iSCSI session
    //# unless the new TaskReporting text key defined in Section 13.23 was
    //# negotiated to FastAbort on the session.
    //= RFC 7143 section 4.2.3.5
    //# If the issuing session is a FastAbort session, the iSCSI target
    //# implementation is FastAbort-capable, and the third-party affected
    //# session is an RFC 3720 session, the iSCSI target layer MUST NOT send
    //# Asynchronous Message PDUs on the third-party session to prompt the
    //# FastAbort behavior.
    for task_reporting in [TaskReporting::Rfc3720, TaskReporting::ResponseFence] {
        assert_eq!(third_party(task_reporting).1, []);
    }
}

#[test]
fn data_that_a_function_waited_for_is_given_up_when_the_function_is_gone() {
    let (mut r, second) = two(TaskReporting::Rfc3720);
    let writes = [(); 4].map(|()| {
        let command = r.draw_write(8192);
        let task = r.run_on(second, command);
        r.s.want_data_out(task, 8192, &mut r.wire);
        task
    });
    let tm = r.tm(TmFunction::ABORT_TASK_SET);
    r.send(tm, &[]);
    let Some(Event::TaskManagement(request)) = r.events().pop() else { panic!() };
    writes.iter().for_each(|task| r.released(*task));
    r.s.tm_complete(request.id, TmResponse::FUNCTION_COMPLETE, &mut r.wire);
    r.s.connection_lost(r.c, CloseReason::Disconnected);
    r.tick(r.now_ms);
    assert_eq!(r.s.open_tasks(), writes.len(), "their data may still come");
    assert_eq!(r.s.next_deadline_ms(), r.now_ms + DRAIN_TIMEOUT_MS);
    r.tick(r.now_ms + DRAIN_TIMEOUT_MS);
    assert_eq!(r.s.open_tasks(), 0);
}
