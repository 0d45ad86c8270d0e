//! What is kept so that it can be sent again: what it costs to find.

use super::driver::*;
use crate::limits::{KEPT_RESPONSES, LOST_CONNECTIONS, TASKS_PER_SESSION};
use crate::session::recovery::LOOKS;
use crate::session::seam::{CloseReason, DataRef, Event, TaskId};
use crate::session::*;
use crate::wire::*;

#[test]
fn those_that_may_be_asked_for_again_are_found_by_one_look_at_each_that_is_kept() {
    let agreed =
        Params { max_connections: 4, error_recovery_level: 2, time2wait_s: 3600, time2retain_s: 3600, ..params() };
    let mut r = Rig::with(SessionKind::Normal, agreed, 1);
    let mut stat_sn = StatSn(u32::MAX - 2);
    let (mut answered, first) = (Vec::new(), r.c);
    for cid in 0..=LOST_CONNECTIONS {
        let init = ConnectionInit { cid: Cid(10 + cid as u16), params: agreed, stat_sn, exp_cmd_sn: CmdSn(r.cmd_sn) };
        r.c = r.s.add_connection(init, r.now_ms).unwrap();
        assert_ne!(r.c, first);
        for _ in 0..KEPT_RESPONSES {
            let task = r.read(512);
            r.data_in(task, 0, 512, Some(512));
            answered.push(task);
            stat_sn = stat_sn.next();
        }
        if cid < LOST_CONNECTIONS {
            r.s.connection_lost(r.c, CloseReason::Disconnected);
        }
        r.sent();
    }
    let live = r.read(512);
    LOOKS.set(0);
    let resendable = r.s.resendable();
    let kept = (LOST_CONNECTIONS + 1) * KEPT_RESPONSES;
    assert!(LOOKS.get() <= kept, "{} looks at {kept} responses", LOOKS.get());
    let is_there = |task| resendable.binary_search(task).is_ok();
    // The first three of all were acknowledged.
    assert_eq!((answered[..3].iter().any(is_there), answered[3..].iter().all(is_there)), (false, true));
    assert!(is_there(&live) && resendable.len() <= kept + TASKS_PER_SESSION);
}

#[test]
fn data_that_is_sent_again_in_many_pieces_is_looked_for_once() {
    const PIECES: u32 = 100;
    let agreed = Params { max_connections: 4, error_recovery_level: 1, ..params() };
    let mut r = Rig::with(SessionKind::Normal, agreed, 1);
    let init =
        ConnectionInit { cid: Cid(4), params: agreed, stat_sn: StatSn(u32::MAX - 2), exp_cmd_sn: CmdSn(r.cmd_sn) };
    let second = r.s.add_connection(init, r.now_ms).unwrap();
    for conn in [r.c, second] {
        r.c = conn;
        for _ in 1..KEPT_RESPONSES {
            let task = r.read(512);
            r.data_in(task, 0, 512, Some(512));
        }
    }
    let (itt, task) = (Itt(r.itt), r.read(PIECES * 512));
    for n in 0..PIECES {
        r.data_in(task, 512 * n, 512, (n + 1 == PIECES).then_some(u64::from(PIECES) * 512));
    }
    r.sent();
    LOOKS.set(0);
    let snack = SnackRequest {
        kind: SnackType::DATA_R2T,
        lun: Lun([0; 8]),
        itt,
        ttt: Ttt::RESERVED,
        exp_stat_sn: StatSn(0),
        beg_run: 0,
        run_len: 0,
    };
    r.send(snack, &[]);
    let again = r.events();
    assert_eq!(again.len(), PIECES as usize);
    for event in again {
        let Event::Resend { task, offset, len } = event else { panic!("{event:?}") };
        assert_eq!(r.s.resend_connection(task), Some(second));
        assert!(r.s.resend(task, offset, len, Some(DataRef(0)), &mut r.wire));
    }
    assert_eq!(r.sent().len(), PIECES as usize);
    assert!(LOOKS.get() <= 2 * KEPT_RESPONSES + 8 * PIECES as usize, "{} looks", LOOKS.get());
}

#[test]
fn a_snack_for_data_that_is_gone_is_rejected_once() {
    let agreed = Params { error_recovery_level: 1, ..params() };
    let snack = |kind: SnackType, itt| SnackRequest {
        kind,
        lun: Lun([0; 8]),
        itt,
        ttt: if kind == SnackType::R_DATA { Ttt(7) } else { Ttt::RESERVED },
        exp_stat_sn: StatSn(u32::MAX - 2),
        beg_run: 0,
        run_len: 0,
    };
    for kind in [SnackType::DATA_R2T, SnackType::R_DATA] {
        for is_answered in [false, true] {
            let mut r = Rig::with(SessionKind::Normal, agreed, 1);
            let (itt, task) = (Itt(r.itt), r.read(1024));
            r.data_in(task, 0, 512, None);
            if is_answered {
                r.data_in(task, 512, 512, Some(1024));
            } else {
                r.data_in(task, 512, 256, None);
            }
            r.sent();
            //= RFC 7143 section 7.8
            //# In response to the SNACK, the target MUST either resend the data PDU or
            //# reject the SNACK with a Reject PDU with a reason code of "SNACK reject",
            //# in which case:
            let mut header = [0; 48];
            Pdu::from(snack(kind, itt)).emit(&mut header);
            r.raw(&header, &[], &[]);
            let asked = r.events();
            assert_eq!(asked.len(), 2);
            for event in asked {
                let Event::Resend { task, offset, len } = event else { panic!("{event:?}") };
                assert!(!r.s.resend(task, offset, len, None, &mut r.wire));
            }
            assert_eq!(r.expect_reject(RejectReason::SNACK_REJECT), header, "{kind:?}");
            //= RFC 7143 section 7.8
            //# a.1) If the status has not already been sent for the command,
            //# the target MUST terminate the command with a CHECK
            //# CONDITION Status and an iSCSI Condition of "SNACK
            //# rejected" (Section 11.4.7.2).
            if !is_answered {
                assert_eq!(r.events(), [Event::Abort(task)]);
                r.released(task);
                assert_eq!(r.expect_fault(0x11, 0x13), Some(256), "of 1024 bytes 768 were sent");
            }
            assert!(r.sent().is_empty());
        }
    }
}

/// A session of two connections, the second of which is used.
fn with_two() -> (Rig, ConnIx, ConnIx) {
    let agreed =
        Params { max_connections: 4, error_recovery_level: 2, time2wait_s: 3600, time2retain_s: 3600, ..params() };
    let mut r = Rig::with(SessionKind::Normal, agreed, 1);
    let init =
        ConnectionInit { cid: Cid(4), params: agreed, stat_sn: StatSn(u32::MAX - 2), exp_cmd_sn: CmdSn(r.cmd_sn) };
    let (first, second) = (r.c, r.s.add_connection(init, r.now_ms).unwrap());
    r.c = second;
    (r, first, second)
}

/// A session of two connections, one of which is lost with the answer to a READ unacknowledged. The id of that.
fn with_one_lost() -> (Rig, TaskId) {
    let (mut r, first, second) = with_two();
    let task = r.read(512);
    r.data_in(task, 0, 512, Some(512));
    r.s.connection_lost(second, CloseReason::Disconnected);
    assert_eq!(r.s.lost[0].kept.len(), 1);
    r.c = first;
    (r, task)
}

/// What was asked for on the old connection comes first, and is not one of those that the new one is to have.
#[test]
fn the_status_of_a_reassigned_read_comes_behind_all_of_its_data() {
    //= RFC 7143 section 7.2.2
    //# and bring the read command to completion by sending the remaining data
    //# and sending (or resending) the status.
    for is_answered in [false, true] {
        let (mut r, first, second) = with_two();
        let (itt, task) = (Itt(r.itt), r.read(1536));
        r.data_in(task, 0, 512, None);
        r.data_in(task, 512, 512, is_answered.then_some(1024));
        let snack = SnackRequest {
            kind: SnackType::DATA_R2T,
            lun: Lun([0; 8]),
            itt,
            ttt: Ttt::RESERVED,
            exp_stat_sn: StatSn(u32::MAX - 2),
            beg_run: 0,
            run_len: 1,
        };
        let mut header = [0; 48];
        Pdu::from(snack).emit(&mut header);
        r.raw(&header, &[], &[]);
        let mut asked = r.events();
        r.s.connection_lost(second, CloseReason::Disconnected);
        r.c = first;
        let logout = r.logout(LogoutReason::REMOVE_FOR_RECOVERY, 4);
        r.send(logout, &[]);
        let reassign = r.tm(TmFunction::TASK_REASSIGN);
        r.send(TaskManagementRequest { referenced_task_tag: itt, ..reassign }, &[]);
        if !is_answered {
            r.data_in(task, 1024, 512, Some(1536));
        }
        asked.extend(r.events());
        r.sent();
        let mut answer = |event| match event {
            Event::Resend { task, offset, len } => r.s.resend(task, offset, len, Some(DataRef(0)), &mut r.wire),
            _ => true,
        };
        let last = asked.pop().unwrap();
        assert!(!answer(asked.remove(0)), "nobody waits for it");
        assert!(asked.into_iter().all(&mut answer));
        let is_data = |pdu: &Pdu| matches!(pdu, Pdu::DataIn(_));
        assert!(r.sent().iter().all(is_data), "{is_answered}");
        let Event::Resend { task, offset, len } = last else { panic!("{last:?}") };
        assert!(r.s.resend(task, offset, len, Some(DataRef(0)), &mut r.wire));
        let sent = r.sent();
        assert!(sent.len() == 2 && is_data(&sent[0]) && matches!(sent[1], Pdu::ScsiResponse(_)));
    }
}

/// A READ that was answered on a connection which is gone, and is reassigned: its data is read again. Its tag and task.
fn with_one_replayed() -> (Rig, Itt, TaskId) {
    let (mut r, first, second) = with_two();
    let (itt, task) = (Itt(r.itt), r.read(512));
    r.data_in(task, 0, 512, Some(512));
    r.s.connection_lost(second, CloseReason::Disconnected);
    r.c = first;
    let logout = r.logout(LogoutReason::REMOVE_FOR_RECOVERY, 4);
    r.send(logout, &[]);
    let reassign = r.tm(TmFunction::TASK_REASSIGN);
    r.send(TaskManagementRequest { referenced_task_tag: itt, ..reassign }, &[]);
    assert_eq!(r.events(), [Event::Resend { task, offset: 0, len: 512 }]);
    r.sent();
    (r, itt, task)
}

#[test]
fn a_reassigned_command_that_is_aborted_is_not_answered_after_the_function() {
    //= RFC 7143 section 11.5.1
    //# The iSCSI target MUST ensure that no responses for the tasks covered by
    //# a task management function are delivered to the iSCSI initiator after
    //# the task management response, except for a task covered by a TASK
    //# REASSIGN.
    let functions = [TmFunction::ABORT_TASK, TmFunction::ABORT_TASK_SET, TmFunction::LOGICAL_UNIT_RESET];
    for function in functions {
        let (mut r, itt, task) = with_one_replayed();
        let request = r.tm(function);
        r.send(TaskManagementRequest { referenced_task_tag: itt, ..request }, &[]);
        for event in r.events() {
            let Event::TaskManagement(request) = event else { panic!("{event:?}") };
            r.s.tm_complete(request.id, TmResponse::FUNCTION_COMPLETE, &mut r.wire);
        }
        let answers = r.sent().into_iter().filter_map(|pdu| match pdu {
            Pdu::TaskManagementResponse(answer) => Some(answer.response),
            _ => None,
        });
        assert_eq!(answers.collect::<Vec<_>>(), [TmResponse::FUNCTION_COMPLETE], "{function:?}");
        assert!(!r.s.resend(task, 0, 512, Some(DataRef(0)), &mut r.wire), "nobody waits for it");
        assert!(r.sent().is_empty(), "{function:?}");
    }
}

#[test]
fn a_command_that_is_being_reassigned_is_not_reassigned_once_more() {
    //= RFC 7143 section 7.2.2
    //# If allegiance
    //# reassignment is supported by the target but the task is still
    //# allegiant to a different connection, or a successful recovery Logout
    //# of the previously allegiant connection was not performed, the target
    //# MUST respond with a task management response code of "Task still
    //# allegiant".
    let (mut r, itt, task) = with_one_replayed();
    let reassign = r.tm(TmFunction::TASK_REASSIGN);
    r.send(TaskManagementRequest { referenced_task_tag: itt, ..reassign }, &[]);
    r.expect_tm(TmResponse::TASK_STILL_ALLEGIANT);
    assert!(r.s.resend(task, 0, 512, Some(DataRef(0)), &mut r.wire));
    assert_eq!(r.sent().len(), 2);
}

#[test]
fn whose_answer_is_kept_has_no_namesake() {
    let (mut r, kept) = with_one_lost();
    for n in 0..=1 << 16 {
        let command = r.draw();
        let task = r.run(command, &[]);
        assert!(task.slot() == kept.slot() && task != kept, "{n} commands later");
        r.s.complete(task, Ending::new(0, &[]), 0, Direction::None, &mut r.wire);
        r.sent();
    }
    assert_eq!(r.s.resendable(), [kept]);
}

#[test]
fn when_ids_come_round_what_is_kept_of_their_namesakes_is_forgotten() {
    let (mut r, kept) = with_one_lost();
    // What is acknowledged by any PDU of this initiator.
    for _ in 0..3 {
        let ping = r.nop();
        r.send(ping, &[]);
    }
    let kept_here = |r: &Rig| r.s.resendable().len() - r.s.lost[0].kept.len();
    for (times, here) in [(1, 1), (1 << 22, 2), (1 << 23, 3)] {
        r.s.tasks.age(kept.slot(), times);
        let task = r.read(512);
        r.data_in(task, 0, 512, Some(512));
        assert_eq!((task == kept, r.s.lost[0].kept.len(), kept_here(&r)), (false, 1, here), "{times} commands later");
    }
    r.s.tasks.age(kept.slot(), (1 << 23) - (1 << 22) - 5);
    let task = r.read(512);
    r.data_in(task, 0, 512, Some(512));
    assert_eq!((task, r.s.lost[0].kept.len(), kept_here(&r)), (kept, 0, 2));
}
