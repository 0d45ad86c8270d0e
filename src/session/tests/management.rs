//! Task management (requirements 69 to 75).

use super::driver::*;
use crate::session::seam::{Dest, Event};
use crate::session::*;
use crate::wire::*;

impl Rig {
    fn abort(&mut self, command: &ScsiCommand) {
        let tm = self.tm(TmFunction::ABORT_TASK);
        self.send(TaskManagementRequest { referenced_task_tag: command.itt, ref_cmd_sn: command.cmd_sn, ..tm }, &[]);
    }
}

#[test]
fn item_69_abort_task_is_answered_when_the_task_has_been_let_go() {
    //= RFC 7143 section 7.11
    //# If the abort request is received and the target can determine (based on
    //# the Referenced Task Tag) that the command was received and executed, and
    //# also that the response was sent prior to the abort, then the target MUST
    //# respond with the response code "Task Does Not Exist".
    //= RFC 7143 section 11.6.1
    //# a) if the Referenced Task Tag identifies a valid task leading to a
    //# successful termination, then targets must return the "Function
    //# complete" response.
    let mut r = Rig::new();
    let command = r.draw_read(512);
    let task = r.run(command, &[]);
    r.abort(&command);
    assert_eq!((r.events(), r.sent().len()), (vec![Event::Abort(task)], 0));
    assert!(!r.s.is_live(task));
    r.released(task);
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
    assert_eq!(r.s.open_tasks(), 0);
    // Already answered: outside the window by now.
    r.abort(&command);
    r.expect_tm(TmResponse::TASK_DOES_NOT_EXIST);
}

#[test]
fn item_69_abort_of_a_command_that_never_came_plugs_the_gap() {
    //= RFC 7143 section 7.11
    //# If the abort request is received and the original command is missing,
    //# targets MUST consider the original command with that RefCmdSN as
    //# received and issue a task management response with the response code
    //# "Function complete".
    let mut r = Rig::new();
    let (lost, second) = (r.draw_read(512), r.draw_read(512));
    r.send(second, &[]);
    assert_eq!(r.events(), []);
    r.abort(&lost);
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
    assert_eq!(r.events().len(), 1, "what waited behind the gap runs");
    r.send(lost, &[]);
    assert_eq!((r.events(), r.sent().len()), (vec![], 0));
    // Not before the function itself: no such task.
    let later = ScsiCommand { cmd_sn: CmdSn(r.cmd_sn + 3), itt: Itt(0x55), ..lost };
    r.abort(&later);
    r.expect_tm(TmResponse::TASK_DOES_NOT_EXIST);
}

#[test]
fn item_69_abort_of_a_held_command() {
    let mut r = Rig::new();
    let (first, held, third) = (r.draw_read(512), r.draw_write(512), r.draw_read(512));
    let ping = NopOut { immediate_delivery: false, ..r.nop() };
    r.cmd_sn += 1;
    r.send(held, &[0; 512]);
    let staged = r.task.unwrap();
    r.send(third, &[]);
    r.send(ping, b"x");
    r.abort(&third);
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
    r.abort(&ScsiCommand { itt: ping.itt, cmd_sn: ping.cmd_sn, ..third });
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
    r.abort(&held);
    assert_eq!((r.events(), r.sent().len()), (vec![Event::Abort(staged)], 0));
    r.send(first, &[]);
    assert_eq!(r.events().len(), 1);
    r.released(staged);
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
    let next = r.draw_read(512);
    assert_eq!(next.cmd_sn, CmdSn(104));
    r.run(next, &[]);
    assert_eq!(r.s.open_tasks(), 2);
}

#[test]
fn item_70_a_function_on_many_tasks_aborts_then_asks_the_shard() {
    //= RFC 7143 section 4.2.2.1
    //# The initiator and target MUST ensure that the SCSI task management
    //# functions specified in [SAM2] act in accordance with the [SAM2]
    //# specification.
    //= RFC 7143 section 4.2.3.3
    //# MUST propagate the TMF Request to, and receive the response from, the
    //# target SCSI layer.
    let mut r = Rig::new();
    let (a, b) = (r.read(512), r.write(8192, 0));
    let other = ScsiCommand { lun: Lun::flat(1), ..r.draw_read(512) };
    let other = r.run(other, &[]);
    let tm = r.tm(TmFunction::ABORT_TASK_SET);
    r.send(tm, &[]);
    let events = r.events();
    assert_eq!(events[..2], [Event::Abort(a), Event::Abort(b)]);
    let Event::TaskManagement(request) = events[2] else { panic!() };
    assert_eq!((request.function, request.lun), (TmFunction::ABORT_TASK_SET, Lun::flat(0)));
    r.released(a);
    r.s.tm_complete(request.id, TmResponse::FUNCTION_COMPLETE, &mut r.wire);
    assert!(r.sent().is_empty(), "one task is still with the shard");
    r.released(b);
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
    assert!(r.s.is_live(other));
    // Twice is once.
    r.s.tm_complete(request.id, TmResponse::FUNCTION_COMPLETE, &mut r.wire);
    assert!(r.sent().is_empty());
}

#[test]
fn item_70_a_function_waits_for_the_commands_before_it() {
    //= RFC 7143 section 4.2.3.4
    //# MUST wait for all commands of the affected tasks to be received based on
    //# the CmdSN ordering on the issuing session.
    //= RFC 7143 section 4.2.3.3
    //# b) MUST wait (concurrent with the wait in Step a) for all commands
    //# of the affected tasks to be received based on the CmdSN
    //# ordering.
    let mut r = Rig::new();
    let (first, second) = (r.draw_read(512), r.draw_read(512));
    r.send(second, &[]);
    let tm = r.tm(TmFunction::CLEAR_TASK_SET);
    r.send(tm, &[]);
    assert_eq!((r.events(), r.sent().len()), (vec![], 0));
    r.send(first, &[]);
    let events = r.events();
    assert!(
        matches!(
            events[..],
            [Event::Execute(_), Event::Execute(_), Event::Abort(_), Event::Abort(_), Event::TaskManagement(_)]
        ),
        "{events:?}"
    );
}

#[test]
fn item_70_a_target_reset_does_not_wait() {
    //= RFC 7143 section 4.2.3.3
    //# the entire CmdSN space up to the CmdSN of the
    //# task management function can be "plugged".
    let mut r = Rig::new();
    let (_lost, second) = (r.draw_read(512), r.draw_read(512));
    r.send(second, &[]);
    let tm = r.tm(TmFunction::TARGET_WARM_RESET);
    r.send(tm, &[]);
    assert!(matches!(r.events()[..], [Event::TaskManagement(_)]), "the held one was known to nobody");
    r.read(512);
}

#[test]
fn item_71_nothing_is_heard_of_an_aborted_task() {
    //= RFC 7143 section 10.7
    //# However, the data transfers logically MUST be silently discarded by the
    //# target iSCSI layer in all cases.
    //= RFC 7144 section 6.3
    //# The iSCSI target MUST ensure that no responses for the commands covered
    //# by a task management function are sent to the iSCSI initiator port after
    //# the Task Management response except for commands covered by a TASK
    //# REASSIGN, QUERY TASK, or QUERY TASK SET.
    //= RFC 7143 section 11.5.1
    //# The iSCSI target MUST ensure that no responses for the
    //# tasks covered by a task management function are delivered to the
    //# iSCSI initiator after the task management response, except for a task
    //# covered by a TASK REASSIGN.
    let mut r = Rig::new();
    let command = r.draw_write(8192);
    let task = r.run(command, &[]);
    r.s.want_data_out(task, 8192, &mut r.wire);
    r.sent();
    r.abort(&command);
    r.events();
    r.good(task);
    r.data_in(task, 0, 512, Some(512));
    r.s.want_data_out(task, 8192, &mut r.wire);
    assert!(r.sent().is_empty());
    // Data under way is read over, while the shard still has the task and afterwards.
    r.send(r.data_out(command.itt, Ttt(task.0), 0, 0, false), &[0; 512]);
    assert_eq!((r.dest, r.sent().len()), (Dest::Discard, 0));
    r.released(task);
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
    r.good(task);
    r.send(r.data_out(command.itt, Ttt(task.0), 512, 1, true), &[0; 512]);
    assert_eq!((r.dest, r.sent().len(), r.events()), (Dest::Discard, 0, vec![]));
}

#[test]
fn item_71_data_of_each_aborted_task_is_read_over() {
    //= RFC 7143 section 10.7
    //# However, the data transfers logically MUST be silently
    //# discarded by the target iSCSI layer in all cases.
    let mut r = Rig::new();
    let mut aborted = Vec::new();
    for _ in 0..8 {
        let command = ScsiCommand { is_final: false, ..r.draw_write(16384) };
        let task = r.run(command, &[]);
        r.abort(&command);
        assert_eq!(r.events(), [Event::Abort(task)]);
        r.released(task);
        r.expect_tm(TmResponse::FUNCTION_COMPLETE);
        aborted.push((command.itt, task));
    }
    // They had the same places, one after the other.
    assert_eq!(r.s.open_tasks(), 0);
    for (itt, task) in aborted {
        for ttt in [Ttt::RESERVED, Ttt(task.0)] {
            r.send(r.data_out(itt, ttt, 0, 0, true), &[0; 512]);
            assert_eq!((r.dest, r.sent().len(), r.events()), (Dest::Discard, 0, vec![]), "{itt:?} {ttt:?}");
        }
    }
}

#[test]
fn data_of_a_command_that_is_ignored_is_read_over() {
    //= RFC 7143 section 4.2.2.1
    //# MUST silently ignore any non-immediate command outside of this range
    //# or non-immediate duplicates within the range.
    let mut r = Rig::new();
    let mut command = ScsiCommand { is_final: false, ..r.draw_write(16384) };
    command.cmd_sn = CmdSn(command.cmd_sn.0.wrapping_add(10_000));
    r.send(command, &[]);
    assert_eq!((r.sent().len(), r.events()), (0, vec![]));
    r.send(r.data_out(command.itt, Ttt::RESERVED, 0, 0, true), &[0; 512]);
    assert_eq!((r.dest, r.sent().len(), r.events()), (Dest::Discard, 0, vec![]));
}

#[test]
fn item_71_a_function_that_meets_a_failing_task_takes_its_answer() {
    let mut r = Rig::new();
    let command = r.draw_write(8192);
    let task = r.run(command, &[]);
    r.s.want_data_out(task, 8192, &mut r.wire);
    r.sent();
    r.send(r.data_out(command.itt, Ttt(task.0), 0, 0, true), &[0; 512]);
    assert_eq!(r.events(), [Event::Abort(task)]);
    r.abort(&command);
    r.released(task);
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
    // And one whose answer only waits for data.
    let command = ScsiCommand { is_final: false, ..r.draw_write(8192) };
    let task = r.run(command, &[]);
    r.good(task);
    assert!(r.sent().is_empty());
    r.abort(&command);
    assert_eq!(r.events(), []);
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
    assert_eq!(r.s.open_tasks(), 0);
}

#[test]
fn item_73_functions_that_cannot_be_carried_out() {
    //= RFC 7143 section 11.5.1
    //# For all these functions, the Task Management Function Response MUST be
    //# returned as detailed in Section 11.6.
    //= RFC 7143 section 7.2.2
    //# When a target does not support allegiance
    //# reassignment, it MUST respond with a task management response code of
    //# "Task allegiance reassignment not supported".
    let mut r = Rig::new();
    for (function, response) in [
        (TmFunction::TASK_REASSIGN, TmResponse::REASSIGNMENT_NOT_SUPPORTED),
        (TmFunction::CLEAR_ACA, TmResponse::FUNCTION_NOT_SUPPORTED),
        (TmFunction::QUERY_TASK, TmResponse::FUNCTION_NOT_SUPPORTED),
        (TmFunction(0x7f), TmResponse::FUNCTION_NOT_SUPPORTED),
        (TmFunction(0), TmResponse::FUNCTION_NOT_SUPPORTED),
    ] {
        let tm = r.tm(function);
        r.send(tm, &[]);
        r.expect_tm(response);
    }
    let tm = r.tm(TmFunction::LOGICAL_UNIT_RESET);
    r.send(tm, &[]);
    let Event::TaskManagement(request) = r.events()[0] else { panic!() };
    //= RFC 7143 section 11.5.1
    //# At the target, an ABORT TASK function MUST NOT be executed on a task
    //# management request; such a request MUST result in a task management
    //# response of "Function rejected".
    let abort = r.tm(TmFunction::ABORT_TASK);
    r.send(TaskManagementRequest { referenced_task_tag: tm.itt, ..abort }, &[]);
    r.expect_tm(TmResponse::FUNCTION_REJECTED);
    r.s.tm_complete(request.id, TmResponse::LUN_DOES_NOT_EXIST, &mut r.wire);
    r.expect_tm(TmResponse::LUN_DOES_NOT_EXIST);
    assert_eq!(r.s.open_tasks(), 0);
}

#[test]
fn item_73_functions_on_task_management_requests_are_rejected() {
    //= RFC 7143 section 11.5.1
    //# At the target, a TASK REASSIGN function request MUST NOT be executed to
    //# reassign the connection allegiance of a Task Management Function
    //# Request, an active text negotiation task, or a Logout task; such a
    //# request MUST result in a task management response of "Function
    //# rejected".
    //= RFC 7144 section 6.3
    //# At the target, a QUERY TASK function MUST NOT be executed on a Task
    //# Management request; such a request MUST result in Task Management
    //# response of "Function rejected".
    let params = Params { error_recovery_level: 2, protocol_level: 2, ..params() };
    let mut r = Rig::with(SessionKind::Normal, params, 1);
    let reset = r.tm(TmFunction::LOGICAL_UNIT_RESET);
    r.send(reset, &[]);
    let Event::TaskManagement(request) = r.events()[0] else { panic!() };
    // A Logout and a Text Request that wait for a command before them.
    let _missing = r.draw();
    let logout = LogoutRequest { immediate_delivery: false, ..r.logout(LogoutReason::CLOSE_SESSION, 3) };
    r.send(logout, &[]);
    for (function, referenced_task_tag) in [
        (TmFunction::TASK_REASSIGN, reset.itt),
        (TmFunction::TASK_REASSIGN, logout.itt),
        (TmFunction::QUERY_TASK, reset.itt),
    ] {
        let tm = r.tm(function);
        r.send(TaskManagementRequest { referenced_task_tag, ..tm }, &[]);
        r.expect_tm(TmResponse::FUNCTION_REJECTED);
    }
    r.s.tm_complete(request.id, TmResponse::FUNCTION_COMPLETE, &mut r.wire);
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
}

#[test]
fn item_74_a_cold_reset_ends_the_session_after_its_response() {
    let mut r = Rig::new();
    let task = r.read(512);
    let tm = r.tm(TmFunction::TARGET_COLD_RESET);
    r.send(tm, &[]);
    let events = r.events();
    let Event::TaskManagement(request) = events[1] else { panic!() };
    r.released(task);
    r.s.tm_complete(request.id, TmResponse::FUNCTION_COMPLETE, &mut r.wire);
    r.expect_tm(TmResponse::FUNCTION_COMPLETE);
    r.s.end(seam::CloseReason::Reset);
    assert_eq!(r.events(), [Event::Ended { reason: seam::CloseReason::Reset }]);
}

#[test]
fn item_75_a_medium_that_hangs_does_not_keep_the_answer() {
    let mut r = Rig::new();
    let command = r.draw_read(512);
    let task = r.run(command, &[]);
    r.abort(&command);
    let deadline = r.s.next_deadline_ms();
    assert!(deadline <= r.now_ms + 1000);
    r.tick(deadline);
    r.expect_tm(TmResponse::FUNCTION_REJECTED);
    // The reset after it is not answered with success, but at once when the shard gives up.
    let tm = r.tm(TmFunction::LOGICAL_UNIT_RESET);
    r.send(tm, &[]);
    let Some(&Event::TaskManagement(request)) = r.events().last() else { panic!() };
    r.s.tm_complete(request.id, TmResponse::FUNCTION_REJECTED, &mut r.wire);
    r.expect_tm(TmResponse::FUNCTION_REJECTED);
    assert_eq!(r.s.open_tasks(), 1);
    r.released(task);
    assert_eq!((r.s.open_tasks(), r.sent().len()), (0, 0));
}

#[test]
fn item_70_another_sessions_function_waits_for_no_new_commands() {
    //= RFC 7143 section 4.2.3.3
    //# SHOULD NOT wait for new commands on third-party affected sessions --
    //# only the instantiated tasks have to be considered for the purpose of
    //# determining the affected tasks.
    //
    //= RFC 7143 section 4.2.3.4
    //# SHOULD NOT wait for new commands on third-party affected sessions --
    //# only the instantiated tasks have to be considered for the purpose of
    //# determining the affected tasks.
    let mut r = Rig::new();
    let (begun, missing, held) = (r.read(512), r.draw_read(512), r.draw_read(512));
    r.send(held, &[]);
    r.s.abort_tasks(None);
    assert_eq!(r.events(), [Event::Abort(begun)], "at once");
    r.send(missing, &[]);
    assert!(matches!(r.events()[..], [Event::Execute(_), Event::Execute(_)]), "what comes later is not affected");
}

#[test]
fn item_70_another_sessions_reset_aborts_without_answers() {
    let mut r = Rig::new();
    let (a, first) = (r.read(512), r.draw_read(512));
    let other = ScsiCommand { lun: Lun::flat(1), cmd_sn: first.cmd_sn, ..first };
    let b = r.run(other, &[]);
    r.s.abort_tasks(Some(Lun([0x40, 0, 0, 0, 0, 0, 0, 0])));
    assert_eq!(r.events(), [Event::Abort(a)], "however the LUN is written");
    r.s.abort_tasks(None);
    assert_eq!(r.events(), [Event::Abort(b)]);
    r.released(a);
    r.released(b);
    assert_eq!((r.sent().len(), r.s.open_tasks()), (0, 0));
    //= RFC 7143 section 11.4.11
    //# When the
    //# MaxCmdSN changes at the target while the target has no pending PDUs
    //# to convey this information to the initiator, it MUST generate a
    //# NOP-In to carry the new MaxCmdSN.
    assert_eq!(r.s.next_deadline_ms(), r.now_ms);
    r.tick(r.now_ms);
    //= RFC 7143 section 11.19.1
    //# If the target is initiating a NOP-In without wanting to receive a
    //# corresponding NOP-Out, this field MUST hold the reserved value
    //# 0xffffffff.
    let Pdu::NopIn(p) = r.one().pdu else { panic!() };
    assert!(p.ttt.is_reserved() && p.itt.is_reserved());
    r.tick(r.now_ms);
    assert!(r.sent().is_empty());
}
