//! NOP, Logout, Asynchronous Messages, lost connections (requirements 2, 76 to 82).

use super::driver::*;
use crate::limits::{FENCE_WAIT_MS, NOP_INTERVAL_MS, NOP_TIMEOUT_MS, SHUTDOWN_LOGOUT_MS};
use crate::session::seam::{CloseReason, Dest, Event};
use crate::session::*;
use crate::wire::*;

#[test]
fn item_76_a_ping_is_echoed() {
    //= RFC 7143 section 11.18.1
    //# When a target receives the NOP-Out with a valid Initiator Task Tag, it
    //# MUST respond with a NOP-In Response (see Section 4.6.3.6).
    //= RFC 7143 section 11.19
    //# When a target receives the NOP-Out with a valid Initiator Task Tag (not
    //# the reserved value 0xffffffff), it MUST respond with a NOP-In with the
    //# same Initiator Task Tag that was provided in the NOP-Out request.
    //= RFC 7143 section 11.19
    //# It MUST also duplicate up to the first MaxRecvDataSegmentLength bytes of
    //# the initiator-provided Ping Data.
    //= RFC 7143 section 11.19
    //# For such a response, the Target Transfer Tag MUST be 0xffffffff.
    //= RFC 7143 section 11.18.3
    //# Ping data is reflected in the NOP-In Response.  The length of the
    //# reflected data is limited to MaxRecvDataSegmentLength.
    let mut r = Rig::with(SessionKind::Normal, Params { own: max_recv(512), ..params() }, 1);
    for len in [0, 5, 512, 600] {
        let ping = r.nop();
        r.send(ping, &vec![3; len]);
        let sent = r.one();
        let Pdu::NopIn(p) = sent.pdu else { panic!() };
        assert_eq!((p.itt, p.ttt), (ping.itt, Ttt::RESERVED));
        assert_eq!(sent.bytes, vec![3; len.min(512)]);
    }
    let ping = NopOut { immediate_delivery: false, ..r.nop() };
    r.send(ping, b"in turn");
    assert_eq!(r.one().bytes, b"in turn");
    r.send(ping, b"in turn");
    assert!(r.sent().is_empty(), "its CmdSN is past");
}

#[test]
fn item_77_a_nop_out_without_a_tag_is_not_answered() {
    //= RFC 7143 section 11.19
    //# The target SHOULD NOT send a NOP-In in response to any other received
    //# NOP-Out in order to avoid lengthy sequences of NOP-In and NOP-Out PDUs
    //# sent in response to each other.
    //= RFC 7143 section 11.18.1
    //# If the Initiator Task Tag contains 0xffffffff, the I bit MUST be set
    //# to 1, and the CmdSN is not advanced after this PDU is sent.
    let mut r = Rig::new();
    let nop = NopOut { itt: Itt::RESERVED, ..r.nop() };
    r.send(nop, &[]);
    assert_eq!((r.sent().len(), r.events()), (0, vec![]));
    r.read(512);
}

#[test]
fn item_78_an_idle_connection_is_pinged_and_given_up() {
    //= RFC 7143 section 11.19
    //# Otherwise, when a target sends a NOP-In that is not a response to a
    //# NOP-Out received from the initiator, the Initiator Task Tag MUST be set
    //# to 0xffffffff, and the data segment MUST NOT contain any data
    //# (DataSegmentLength MUST be 0).
    //= RFC 7143 section 11.19.3
    //# A LUN MUST be set to a correct value when the Target Transfer Tag is
    //# valid (not the reserved value 0xffffffff).
    //= RFC 7143 section 11.19.2
    //# However, when
    //# the Initiator Task Tag is set to 0xffffffff, the StatSN for the
    //# connection is not advanced after this PDU is sent.
    let mut r = Rig::new();
    let due = r.s.next_deadline_ms();
    assert_eq!(due, r.now_ms + NOP_INTERVAL_MS);
    r.tick(due - 1);
    assert!(r.sent().is_empty());
    r.tick(due);
    let sent = r.one();
    let Pdu::NopIn(p) = sent.pdu else { panic!() };
    assert!(p.itt.is_reserved() && !p.ttt.is_reserved() && sent.bytes.is_empty());
    assert_eq!((p.lun, p.data_segment_len), (Lun::flat(0), 0));
    // The answer restarts the clock.
    r.now_ms += 10;
    let pong = NopOut { itt: Itt::RESERVED, ttt: p.ttt, ..r.nop() };
    r.send(pong, &[]);
    assert!(r.sent().is_empty());
    assert_eq!(r.s.next_deadline_ms(), r.now_ms + NOP_INTERVAL_MS);
    let task = r.read(512);
    r.tick(r.s.next_deadline_ms());
    r.sent();
    assert_eq!(r.s.next_deadline_ms(), r.now_ms + NOP_TIMEOUT_MS);
    r.tick(r.s.next_deadline_ms());
    let reason = CloseReason::NopTimeout;
    assert_eq!(r.events(), [Event::Close { conn: r.c, reason }, Event::Abort(task), Event::Ended { reason }]);
    assert_eq!(r.s.next_deadline_ms(), u64::MAX);
}

#[test]
fn item_79_logout_closes_session_or_connection() {
    //= RFC 7143 section 11.15
    //# After Logout, the TCP connection referred by the CID MUST be closed at
    //# both ends (or all connections must be closed if the logout reason was
    //# session close).
    //= RFC 7143 section 11.14
    //# When receiving a Logout Request with the reason code "close the
    //# connection" or "close the session", the target MUST terminate all
    //# pending commands, whether acknowledged via the ExpCmdSN or not, on
    //# that connection or session, respectively.
    for reason in [LogoutReason::CLOSE_SESSION, LogoutReason::CLOSE_CONNECTION] {
        let mut r = Rig::new();
        let task = r.read(512);
        let logout = LogoutRequest { immediate_delivery: false, ..r.logout(reason, 3) };
        r.send(logout, &[]);
        let Pdu::LogoutResponse(p) = r.one().pdu else { panic!() };
        assert_eq!((p.response, p.itt, p.exp_cmd_sn), (LogoutResult::CLOSED, logout.itt, CmdSn(102)));
        let reason = CloseReason::Logout;
        assert_eq!(r.events(), [Event::Abort(task), Event::Close { conn: r.c, reason }, Event::Ended { reason }]);
        r.released(task);
        assert_eq!((r.s.open_tasks(), r.sent().len()), (0, 0));
    }
}

#[test]
fn item_80_after_the_logout_response_comes_nothing_more() {
    for reason in [LogoutReason::CLOSE_SESSION, LogoutReason::CLOSE_CONNECTION] {
        let mut r = Rig::new();
        let command = r.draw_write(8192);
        let task = r.run(command, &[]);
        r.s.want_data_out(task, 8192, &mut r.wire);
        r.sent();
        let logout = r.logout(reason, 3);
        r.send(logout, &[]);
        assert!(matches!(r.one().pdu, Pdu::LogoutResponse(p) if p.response == LogoutResult::CLOSED));
        r.good(task);
        r.s.want_data_out(task, 8192, &mut r.wire);
        // What was under way is read over.
        r.send(r.data_out(command.itt, Ttt(task.0), 0, 0, true), &[0; 8192]);
        assert_eq!(r.dest, Dest::Discard);
        let ping = r.nop();
        r.send(ping, b"ping");
        assert_eq!(r.dest, Dest::Discard);
        r.tick(1_000_000);
        r.released(task);
        assert_eq!((r.s.open_tasks(), r.sent().len()), (0, 0));
    }
}

#[test]
fn item_79_logout_that_fails() {
    let mut r = Rig::new();
    for (reason, cid, result) in [
        (LogoutReason::CLOSE_CONNECTION, 99, LogoutResult::CID_NOT_FOUND),
        (LogoutReason::REMOVE_FOR_RECOVERY, 3, LogoutResult::RECOVERY_NOT_SUPPORTED),
    ] {
        let logout = r.logout(reason, cid);
        r.send(logout, &[]);
        assert!(matches!(r.one().pdu, Pdu::LogoutResponse(p) if p.response == result));
        assert_eq!(r.events(), []);
    }
    r.read(512);
}

#[test]
fn item_82_a_logout_is_asked_for_and_then_enforced() {
    //= RFC 7143 section 4.2.6
    //# A graceful transport connection shutdown SHOULD only be initiated by
    //# either party when the connection is not in the iSCSI Full Feature Phase.
    let mut r = Rig::new();
    r.s.request_logout(&mut r.wire);
    let Pdu::AsyncMessage(p) = r.one().pdu else { panic!() };
    assert_eq!((p.event, u64::from(p.parameter3) * 1000), (AsyncEvent::LOGOUT_REQUEST, SHUTDOWN_LOGOUT_MS));
    // Commands are still served: to reject one would leave a gap that holds up the Logout.
    let task = r.read(512);
    r.good(task);
    r.sent();
    r.tick(r.s.next_deadline_ms());
    let Pdu::AsyncMessage(p) = r.one().pdu else { panic!() };
    // item 83
    //= RFC 7143 section 4.2.6
    //# A target MAY terminate a Full Feature Phase connection on internal
    //# exception events, but it SHOULD announce the fact through an
    //# Asynchronous Message PDU.
    assert_eq!((p.event, p.parameter1, p.parameter2, p.parameter3), (AsyncEvent::CONNECTION_DROP, 3, 2, 0));
    let reason = CloseReason::Shutdown;
    assert_eq!(r.events(), [Event::Close { conn: r.c, reason }, Event::Ended { reason }]);
}

#[test]
fn item_82_a_logout_is_asked_for_on_each_connection() {
    //= RFC 7143 section 11.9.1
    //# This Async Message MUST be sent on the same connection as the one
    //# requesting to be logged out.
    let mut r = Rig::with(SessionKind::Normal, Params { max_connections: 2, ..params() }, 1);
    let second = r.s.add_connection(ConnectionInit { stat_sn: StatSn(u32::MAX - 2), ..init() }, r.now_ms).unwrap();
    r.s.request_logout(&mut r.wire);
    let asked = r.wire.sent.drain(..).map(|s| (s.conn, matches!(s.pdu, Pdu::AsyncMessage(p) if p.event.0 == 1)));
    assert_eq!(asked.collect::<Vec<_>>(), [(r.c, true), (second, true)]);
}

#[test]
fn item_83_a_session_that_does_not_log_out_is_dropped_as_a_whole() {
    let mut r = Rig::with(SessionKind::Normal, Params { max_connections: 2, ..params() }, 1);
    let second = r.s.add_connection(ConnectionInit { stat_sn: StatSn(u32::MAX - 2), ..init() }, r.now_ms).unwrap();
    r.s.request_logout(&mut r.wire);
    r.wire.sent.clear();
    r.tick(r.now_ms + SHUTDOWN_LOGOUT_MS - 1);
    assert!(r.sent().is_empty() && r.s.connections().count() == 2, "its time is not over");
    r.tick(r.now_ms + 1);
    let said: Vec<_> = r.wire.sent.drain(..).map(|s| (s.conn, s.pdu)).collect();
    let events = said.iter().map(|(conn, pdu)| match pdu {
        Pdu::AsyncMessage(p) => (*conn, p.event),
        other => panic!("{other:?}"),
    });
    assert_eq!(events.collect::<Vec<_>>(), [(r.c, AsyncEvent::SESSION_DROP), (second, AsyncEvent::SESSION_DROP)]);
    let reason = CloseReason::Shutdown;
    let closed = [r.c, second].map(|conn| Event::Close { conn, reason });
    assert_eq!(r.events(), [closed[0], closed[1], Event::Ended { reason }]);
}

#[test]
fn item_83_times_of_a_dropped_session() {
    let mut r = Rig::with(SessionKind::Normal, Params { time2wait_s: 5, ..params() }, 1);
    r.s.drop_session(CloseReason::Shutdown, &mut r.wire);
    let Pdu::AsyncMessage(p) = r.one().pdu else { panic!() };
    assert_eq!((p.event, p.parameter2, p.parameter3), (AsyncEvent::SESSION_DROP, 5, 0), "nothing is retained");
    assert!(matches!(r.events().last(), Some(Event::Ended { .. })));
    let mut r = Rig::new();
    r.s.request_negotiation(r.c, &mut r.wire);
    assert!(
        matches!(r.one().pdu, Pdu::AsyncMessage(p) if p.event == AsyncEvent::NEGOTIATION_REQUEST && p.parameter3 > 0)
    );
}

#[test]
fn item_84_a_scsi_event_names_its_unit_and_is_not_for_discovery() {
    //= RFC 7143 section 11.9.3
    //# The LUN field MUST be valid if AsyncEvent is 0.
    let sense = [0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 9, 0, 0, 0, 0];
    let mut r = Rig::new();
    r.s.async_scsi_event(Lun::flat(5), &sense, &mut r.wire);
    let sent = r.one();
    let Pdu::AsyncMessage(p) = sent.pdu else { panic!() };
    assert_eq!((p.event, p.lun), (AsyncEvent::SCSI_ASYNC_EVENT, Lun::flat(5)));
    assert_eq!((&sent.bytes[..2], &sent.bytes[2..]), (&[0, 18][..], &sense[..]));
    let mut r = Rig::with(SessionKind::Discovery, params(), 1);
    r.s.async_scsi_event(Lun::flat(5), &sense, &mut r.wire);
    assert!(r.sent().is_empty());
}

#[test]
fn item_82_an_initiator_that_complies_logs_out() {
    let mut r = Rig::new();
    r.s.request_logout(&mut r.wire);
    r.sent();
    let logout = r.logout(LogoutReason::CLOSE_SESSION, 0);
    r.send(logout, &[]);
    assert!(matches!(r.one().pdu, Pdu::LogoutResponse(p) if p.response == LogoutResult::CLOSED));
    r.tick(1_000_000);
    assert!(r.sent().is_empty());
}

#[test]
fn item_02_reinstatement_ends_tasks_without_notice() {
    //= RFC 7143 section 7.15
    //# A target MUST also be prepared to handle a session reinstatement request
    //# from the initiator that may be addressing session errors.
    let mut r = Rig::new();
    let (a, command) = (r.read(512), ScsiCommand { is_final: false, ..r.draw_write(8192) });
    let b = r.run(command, &[0; 512]);
    let tm = r.tm(TmFunction::LOGICAL_UNIT_RESET);
    r.send(TaskManagementRequest { lun: Lun::flat(5), ..tm }, &[]);
    let Event::TaskManagement(request) = r.events()[0] else { panic!() };
    r.s.end(CloseReason::Reinstated);
    r.s.end(CloseReason::Reset);
    assert_eq!(r.events(), [Event::Abort(a), Event::Abort(b), Event::Ended { reason: CloseReason::Reinstated }]);
    r.released(a);
    r.released(b);
    r.s.tm_complete(request.id, TmResponse::FUNCTION_COMPLETE, &mut r.wire);
    assert_eq!((r.sent().len(), r.s.open_tasks()), (0, 0));
}

#[test]
fn a_lost_connection_ends_a_session_of_one() {
    let mut r = Rig::new();
    let task = r.read(512);
    r.s.connection_lost(r.c, CloseReason::Disconnected);
    r.s.connection_lost(r.c, CloseReason::Disconnected);
    assert_eq!(r.events(), [Event::Abort(task), Event::Ended { reason: CloseReason::Disconnected }]);
    assert!(r.s.add_connection(init(), 0).is_err());
}

#[test]
fn what_becomes_of_a_connection_that_fails() {
    //= RFC 7143 section 7.14
    //# On connection failure, the initiator and target MUST do one of the
    //# following:
    let lost = |error_recovery_level, max_connections| {
        let agreed = Params { error_recovery_level, max_connections, ..params() };
        let mut r = Rig::with(SessionKind::Normal, agreed, 1);
        if max_connections > 1 {
            r.s.add_connection(init(), r.now_ms).unwrap();
        }
        let task = r.read(512);
        r.s.connection_lost(r.c, CloseReason::Disconnected);
        (r, task)
    };
    // a) What can be recovered waits for it.
    let (mut r, task) = lost(2, 2);
    assert_eq!((r.events(), r.s.is_live(task)), (vec![], true));
    // b) The connection is given up with its tasks, and the others go on.
    let (mut r, task) = lost(0, 2);
    let cleared = Event::Cleared { lun: Lun::flat(0) };
    assert_eq!((r.events(), r.s.connections().count()), (vec![Event::Abort(task), cleared], 1));
    // c) There is nothing left but to begin another session.
    let (mut r, task) = lost(0, 1);
    assert_eq!(r.events(), [Event::Abort(task), Event::Ended { reason: CloseReason::Disconnected }]);
}

#[test]
fn immediate_commands_end_with_their_connection() {
    //= RFC 7143 section 7.14
    //# On a connection failure, a target MUST terminate and/or discard all of
    //# the active immediate commands, regardless of which of the above options
    //# is used (i.e., immediate commands are not recoverable across connection
    //# failures).
    let mut r = Rig::with(SessionKind::Normal, Params { error_recovery_level: 2, ..params() }, 1);
    let waiting = r.read(512);
    let command = ScsiCommand { immediate_delivery: true, ..r.draw_read(512) };
    let immediate = r.run(command, &[]);
    r.s.connection_lost(r.c, CloseReason::Disconnected);
    assert_eq!(r.events(), [Event::Abort(immediate), Event::Cleared { lun: Lun::flat(0) }]);
    assert!(r.s.is_live(waiting) && !r.s.is_live(immediate));
}

#[test]
fn item_02_a_session_that_is_begun_anew_recovers_nothing() {
    //= RFC 7143 section 7.14
    //# Either side may choose to escalate to session recovery (via the
    //# initiator dropping all the connections or via an Async Message that
    //# announces the similar intent from a target), and the other side MUST
    //# give it precedence.
    let mut r = Rig::with(SessionKind::Normal, Params { error_recovery_level: 2, ..params() }, 1);
    let waiting = r.read(512);
    r.s.connection_lost(r.c, CloseReason::Disconnected);
    assert_eq!((r.events(), r.s.is_live(waiting)), (vec![], true));
    r.s.end(CloseReason::Reinstated);
    assert_eq!(r.events(), [Event::Abort(waiting), Event::Ended { reason: CloseReason::Reinstated }]);
    assert!(r.s.add_connection(init(), r.now_ms).is_err(), "there is nothing to come back to");
}

#[test]
fn item_03_a_second_connection_cleans_up_the_only_one() {
    //= RFC 7143 section 6.3.4
    //# Targets MUST support opening a second connection even when they do not
    //# support multiple connections in the Full Feature Phase if
    //# ErrorRecoveryLevel is 2 and SHOULD support opening a second connection
    //# if ErrorRecoveryLevel is less than 2.
    // By taking its place.
    let agreed = Params { error_recovery_level: 2, max_connections: 1, ..params() };
    let mut r = Rig::with(SessionKind::Normal, agreed, 1);
    let task = r.read(512);
    let again = ConnectionInit { cid: Cid(3), stat_sn: StatSn(u32::MAX - 2), ..init() };
    let new = r.s.add_connection(again, r.now_ms).unwrap();
    assert_eq!(r.events(), [Event::Close { conn: r.c, reason: CloseReason::Reinstated }]);
    assert!(r.s.is_live(task) && r.s.connections().eq([new]));
    //= RFC 7143 section 4.2.1
    //# For error recovery purposes, targets and initiators that support a
    //# single active connection in a session SHOULD support two connections
    //# during recovery.
    // Or by logging it out.
    let mut r = Rig::with(SessionKind::Normal, agreed, 1);
    let task = r.read(512);
    let second = ConnectionInit { stat_sn: StatSn(u32::MAX - 2), ..init() };
    let (first, second) = (r.c, r.s.add_connection(second, r.now_ms).unwrap());
    assert!(r.s.add_connection(ConnectionInit { cid: Cid(9), ..init() }, r.now_ms).is_err(), "no third one");
    r.c = second;
    let logout = r.logout(LogoutReason::REMOVE_FOR_RECOVERY, 3);
    r.send(logout, &[]);
    assert!(matches!(r.one().pdu, Pdu::LogoutResponse(p) if p.response == LogoutResult::CLOSED));
    assert_eq!(r.events(), [Event::Close { conn: first, reason: CloseReason::Logout }]);
    assert!(r.s.is_live(task) && r.s.connections().eq([second]));
}

fn init() -> ConnectionInit {
    ConnectionInit { cid: Cid(1), params: params(), stat_sn: StatSn(1), exp_cmd_sn: CmdSn(1) }
}

#[test]
fn control_data_beyond_what_is_gathered_is_refused() {
    let mut r = Rig::new();
    let ping = r.nop();
    r.send(ping, &[0; 9000]);
    assert_eq!(r.dest, Dest::Discard);
    r.expect_reject(RejectReason::COMMAND_NOT_SUPPORTED);
}

#[test]
fn item_03_a_connection_is_reinstated() {
    let mut r = Rig::new();
    let task = r.read(512);
    let again = ConnectionInit { cid: Cid(3), stat_sn: StatSn(u32::MAX - 2), ..init() };
    let new = r.s.add_connection(again, r.now_ms).unwrap();
    let reason = CloseReason::Reinstated;
    let cleared = Event::Cleared { lun: Lun::flat(0) };
    assert_eq!(r.events(), [Event::Close { conn: r.c, reason }, Event::Abort(task), cleared]);
    r.released(task);
    r.c = new;
    let task = r.read(512);
    r.good(task);
    assert_eq!(r.one().conn, new);
}

/// A session with three connections, ErrorRecoveryLevel 0 or 2, whose second and third have CID 4 and 5.
fn three(error_recovery_level: u8) -> (Rig, ConnIx, ConnIx) {
    let params = Params { max_connections: 4, error_recovery_level, time2wait_s: 2, time2retain_s: 20, ..params() };
    let mut r = Rig::with(SessionKind::Normal, params, 1);
    let mut join = |cid| {
        let init = ConnectionInit { cid: Cid(cid), params, stat_sn: StatSn(u32::MAX - 2), exp_cmd_sn: CmdSn(1) };
        r.s.add_connection(init, r.now_ms).unwrap()
    };
    let (second, third) = (join(4), join(5));
    (r, second, third)
}

/// What was put down of the connection before is not said of the new one.
#[test]
fn a_connection_that_has_come_back_is_not_said_to_be_gone() {
    for (returns, said) in [(4, &[][..]), (9, &[4][..])] {
        let (mut r, second, _) = three(2);
        r.s.connection_lost(second, CloseReason::Disconnected);
        let init = ConnectionInit { cid: Cid(returns), stat_sn: StatSn(u32::MAX - 2), ..init() };
        r.s.add_connection(init, r.now_ms).unwrap();
        r.tick(r.now_ms + 1);
        let gone = r.sent().into_iter().filter_map(|sent| match sent {
            Pdu::AsyncMessage(message) => Some((message.event, message.parameter1)),
            _ => None,
        });
        assert!(gone.eq(said.iter().map(|cid| (AsyncEvent::CONNECTION_DROP, *cid))), "{returns}");
    }
}

impl Rig {
    /// Begins a read at a LUN by a connection.
    fn read_by(&mut self, conn: ConnIx, lun: u16) -> TaskId {
        let first = std::mem::replace(&mut self.c, conn);
        let command = ScsiCommand { lun: Lun::flat(lun), ..self.draw_read(512) };
        let task = self.run(command, &[]);
        self.c = first;
        task
    }

    fn cleared(&mut self) -> Vec<Lun> {
        let events = self.events().into_iter();
        events.filter_map(|e| if let Event::Cleared { lun } = e { Some(lun) } else { None }).collect()
    }
}

#[test]
fn item_81_the_nexus_is_told_of_tasks_that_end_with_one_of_its_connections() {
    //= RFC 7143 section 11.14.5
    //# After the
    //# tasks are terminated, the target MUST report a Unit Attention
    //# condition on the next command processed on any connection for each
    //# affected I_T_L nexus with the status of CHECK CONDITION, the ASC/ASCQ
    //# value of 47h/7Fh ("SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT"),
    //# etc.; see [SPC3].
    type End = fn(&mut Rig, ConnIx);
    let explicit: End = |r, _| {
        let logout = r.logout(LogoutReason::CLOSE_CONNECTION, 4);
        r.send(logout, &[]);
    };
    let implicit: End = |r, _| {
        let again = ConnectionInit { cid: Cid(4), ..init() };
        r.s.add_connection(again, r.now_ms).unwrap();
    };
    let failure: End = |r, conn| r.s.connection_lost(conn, CloseReason::Disconnected);
    // Cases a and b.
    for (name, end) in [("explicit", explicit), ("implicit", implicit), ("failure", failure)] {
        let (mut r, second, third) = three(0);
        let tasks = [(second, 0), (second, 3), (second, 3), (third, 7)].map(|(conn, lun)| r.read_by(conn, lun));
        end(&mut r, second);
        let events = r.events();
        let of = |lun| Event::Cleared { lun: Lun::flat(lun) };
        let told: Vec<_> = events.iter().filter(|e| matches!(e, Event::Cleared { .. })).collect();
        assert_eq!(told, [&of(0), &of(3)], "{name}: each unit once, none but those");
        assert!(tasks[..3].iter().all(|t| events.contains(&Event::Abort(*t))) && r.s.is_live(tasks[3]));
        // What was answered before is nobody's loss.
        r.good(tasks[3]);
        r.s.connection_lost(third, CloseReason::Disconnected);
        assert_eq!(r.cleared(), [], "{name}");
    }
}

/// A task that was let go of waits for the data of its R2Ts. When its connection ends, no more will come, and a function
/// that waits for the task is answered.
#[test]
fn item_72_a_function_does_not_wait_for_data_that_was_lost_with_its_connection() {
    for level in [0, 2] {
        let (mut r, second, _) = three(level);
        let first = std::mem::replace(&mut r.c, second);
        let command = r.draw_write(8192);
        let task = r.run(command, &[]);
        r.c = first;
        r.s.want_data_out(task, 8192, &mut r.wire);
        let function = r.tm(TmFunction::ABORT_TASK_SET);
        r.send(function, &[]);
        let events = r.events();
        let [Event::Abort(_), Event::TaskManagement(request)] = &events[..] else { panic!("{events:?}") };
        r.released(task);
        r.s.tm_complete(request.id, TmResponse::FUNCTION_COMPLETE, &mut r.wire);
        assert!(!r.sent().iter().any(|pdu| matches!(pdu, Pdu::TaskManagementResponse(_))), "the data may come");
        r.s.connection_lost(second, CloseReason::Disconnected);
        // Nobody acknowledges that others were told of the end of the connection.
        [1, FENCE_WAIT_MS].into_iter().for_each(|ms| r.tick(r.now_ms + ms));
        assert!(r.sent().iter().any(|pdu| matches!(pdu, Pdu::TaskManagementResponse(_))), "level {level}");
    }
}

#[test]
fn item_81_tasks_that_nobody_reassigns_in_time() {
    for logged_out in [false, true] {
        let (mut r, second, _) = three(2);
        r.read_by(second, 3);
        if logged_out {
            let logout = r.logout(LogoutReason::REMOVE_FOR_RECOVERY, 4);
            r.send(logout, &[]);
        } else {
            r.s.connection_lost(second, CloseReason::Disconnected);
        }
        assert_eq!(r.cleared(), [], "it waits");
        r.tick(r.now_ms + 21_000);
        assert_eq!(r.cleared(), []);
        r.tick(r.now_ms + 1_000);
        assert_eq!(r.cleared(), [Lun::flat(3)]);
    }
}

#[test]
fn item_81_immediate_commands_do_not_outlive_their_connection() {
    let (mut r, second, _) = three(2);
    let first = std::mem::replace(&mut r.c, second);
    let command = ScsiCommand { immediate_delivery: true, lun: Lun::flat(3), ..r.draw_read(512) };
    r.cmd_sn -= 1;
    let task = r.run(command, &[]);
    r.c = first;
    r.s.connection_lost(second, CloseReason::Disconnected);
    assert_eq!(r.events(), [Event::Abort(task), Event::Cleared { lun: Lun::flat(3) }]);
}

#[test]
fn item_81_commands_that_were_not_delivered_are_not_cleared() {
    let (mut r, second, _) = three(0);
    let (_lost, held) = (r.draw_read(512), r.draw_read(512));
    let first = std::mem::replace(&mut r.c, second);
    r.send(held, &[]);
    r.c = first;
    r.s.connection_lost(second, CloseReason::Disconnected);
    assert_eq!(r.cleared(), []);
}

#[test]
fn item_81_with_the_session_the_nexus_ends() {
    let (mut r, second, _) = three(0);
    r.read_by(second, 3);
    let logout = r.logout(LogoutReason::CLOSE_SESSION, 0);
    r.send(logout, &[]);
    assert_eq!(r.cleared(), []);
}
