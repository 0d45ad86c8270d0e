//! CmdSN, StatSN, DataSN (requirements 36 to 45).

use super::driver::*;
use crate::limits::{COMMAND_WINDOW, IMMEDIATE_COMMANDS};
use crate::session::seam::{ConnIx, Event};
use crate::session::*;
use crate::wire::*;

#[test]
fn item_36_a_command_outside_the_window_is_silently_ignored() {
    //= RFC 7143 section 4.2.2.1
    //# The target
    //# MUST silently ignore any non-immediate command outside of this range
    //# or non-immediate duplicates within the range.
    let mut r = Rig::new();
    let mut early = r.draw();
    early.cmd_sn = CmdSn(99);
    r.send(early, &[]);
    early.cmd_sn = CmdSn(100 + COMMAND_WINDOW);
    r.send(early, &[]);
    early.cmd_sn = CmdSn(101);
    r.send(early, &[]);
    early.itt = Itt(0x99);
    r.send(early, &[]);
    assert_eq!((r.events(), r.sent().len(), r.s.open_tasks()), (vec![], 0, 1));
}

#[test]
fn item_37_the_window_closes_and_opens_and_never_moves_back() {
    //= RFC 7143 section 4.2.2.1
    //# iSCSI initiators and targets MUST support the command numbering scheme.
    //= RFC 7143 section 4.2.2.1
    //# The target MUST NOT transmit a MaxCmdSN that is less than
    //# ExpCmdSN - 1.
    let mut r = Rig::with(SessionKind::Normal, params(), u32::MAX - 60);
    let tasks: Vec<_> = (0..COMMAND_WINDOW).map(|_| r.read(512)).collect();
    let over = r.draw();
    r.send(over, &[]);
    assert_eq!((r.events(), r.sent().len()), (vec![], 0));
    for &task in &tasks {
        r.good(task);
    }
    // Every response grants the slot that it has freed.
    for (n, pdu) in r.sent().iter().enumerate() {
        let Pdu::ScsiResponse(p) = pdu else { panic!() };
        assert_eq!(p.max_cmd_sn.distance_from(p.exp_cmd_sn.add(u32::MAX)), n as u32 + 1);
    }
    let task = r.run(over, &[]);
    assert!(r.s.is_live(task));
}

#[test]
fn item_38_a_retry_of_a_live_task_is_no_new_task() {
    //= RFC 7143 section 4.2.2.1
    //# Testing for the execution state (represented by
    //# identifying the Initiator Task Tag) MUST precede any other action at
    //# the target.
    let mut r = Rig::new();
    let command = r.draw_read(512);
    r.run(command, &[]);
    r.send(command, &[]);
    assert_eq!((r.events(), r.sent().len()), (vec![], 0));
    // The same tag under a new CmdSN is another task, and an error; the CmdSN is not used up.
    r.send(ScsiCommand { cmd_sn: CmdSn(r.cmd_sn), ..command }, &[]);
    r.expect_reject(RejectReason::TASK_IN_PROGRESS);
    r.send(ScsiCommand { immediate_delivery: true, ..command }, &[]);
    r.expect_reject(RejectReason::TASK_IN_PROGRESS);
    r.read(512);
}

#[test]
fn item_39_commands_behind_a_gap_are_held_and_immediate_ones_are_not() {
    //= RFC 7143 section 4.2.2.1
    //# With the exception of the
    //# commands marked for immediate delivery, the iSCSI target layer MUST
    //# deliver the commands for execution in the order specified by the
    //# CmdSN.
    let mut r = Rig::new();
    let (first, second, third) = (r.draw_read(512), r.draw_read(512), r.draw_write(512));
    let ping = NopOut { immediate_delivery: false, ..r.nop() };
    r.cmd_sn += 1;
    let fourth = r.draw_read(512);
    r.send(fourth, &[]);
    r.send(ping, b"held");
    r.send(third, &[1; 512]);
    assert!(r.task.is_some(), "immediate data of a held command has a place");
    r.send(second, &[]);
    assert_eq!((r.events(), r.sent().len()), (vec![], 0));
    let now = ScsiCommand { immediate_delivery: true, itt: Itt(0x77), ..first };
    r.run(now, &[]);
    //= RFC 7143 section 4.2.2.1
    //# There MUST NOT be any holes in the acknowledged CmdSN sequence.
    r.send(NopOut { itt: Itt(0x78), ..r.nop_copy() }, &[]);
    assert!(matches!(r.one().pdu, Pdu::NopIn(p) if p.exp_cmd_sn == CmdSn(100)), "the first command is missing");
    r.send(first, &[]);
    let order: Vec<_> = r
        .events()
        .iter()
        .map(|e| match e {
            Event::Execute(t) => (r.s.command(*t).write, r.s.command(*t).received_bytes),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, [(false, 0), (false, 0), (true, 512), (false, 0)]);
    let Pdu::NopIn(echo) = r.sent()[0] else { panic!() };
    assert_eq!(echo.exp_cmd_sn, CmdSn(104), "delivered in its turn, before the fourth command");
    r.send(r.nop_copy(), &[]);
    let Pdu::NopIn(echo) = r.sent()[0] else { panic!() };
    assert_eq!(echo.exp_cmd_sn, CmdSn(105));
}

#[test]
fn item_40_immediate_commands_are_bounded_and_leave_room_for_task_management() {
    //= RFC 7143 section 4.2.2.1
    //# An iSCSI target MUST be able to handle at least one immediate task
    //# management command and one immediate non-task-management iSCSI
    //# command per connection at any time.
    let mut r = Rig::new();
    let tasks: Vec<_> = (1..IMMEDIATE_COMMANDS)
        .map(|_| {
            let command = ScsiCommand { immediate_delivery: true, ..r.draw_read(512) };
            r.cmd_sn = 100;
            r.run(command, &[])
        })
        .collect();
    let more = ScsiCommand { immediate_delivery: true, ..r.draw_read(512) };
    r.cmd_sn = 100;
    r.send(more, &[]);
    r.expect_reject(RejectReason::IMMEDIATE_COMMAND_REJECT);
    let reset = r.tm(TmFunction::LOGICAL_UNIT_RESET);
    let reset = TaskManagementRequest { lun: Lun::flat(9), ..reset };
    r.send(reset, &[]);
    assert!(matches!(r.events()[..], [Event::TaskManagement(_)]));
    let reset = r.tm(TmFunction::LOGICAL_UNIT_RESET);
    r.send(reset, &[]);
    r.expect_reject(RejectReason::IMMEDIATE_COMMAND_REJECT);
    r.good(tasks[0]);
    r.sent();
    r.run(more, &[]);
}

#[test]
fn item_41_no_response_before_its_command_is_acknowledged() {
    //= RFC 7143 section 4.2.2.1
    //# A target command response or Data-In PDU with status MUST NOT precede
    //# the command acknowledgment.  However, the acknowledgment MAY be
    //# included in the response or the Data-In PDU.
    let mut r = Rig::new();
    let (first, mut bad) = (r.draw_read(512), r.draw_write(4096));
    bad.edtl_bytes = 100;
    r.send(bad, &[0; 200]);
    assert!(r.sent().is_empty(), "the fault of a held command waits for its turn");
    r.send(first, &[]);
    let response = r.wire.sent[0].clone();
    r.expect_fault(0x0c, 0x0d);
    let Pdu::ScsiResponse(response) = response.pdu else { panic!() };
    assert_eq!(response.exp_cmd_sn, CmdSn(102));
}

#[test]
fn item_42_stat_sn_counts_status_only() {
    //= RFC 7143 section 4.2.2.2
    //# Initiators and targets MUST support the response-numbering scheme.
    //= RFC 7143 section 11.8.3
    //# The StatSN field will contain the next StatSN.  The StatSN for this
    //# connection is not advanced after this PDU is sent.
    let mut r = Rig::new();
    let task = r.write(16384, 0);
    r.s.want_data_out(task, 16384, &mut r.wire);
    let Pdu::R2t(r2t) = r.one().pdu else { panic!() };
    assert_eq!(r2t.stat_sn, StatSn(u32::MAX - 2));
    r.tick(100_000);
    let Pdu::NopIn(ping) = r.one().pdu else { panic!() };
    assert_eq!(ping.stat_sn, StatSn(u32::MAX - 2));
    let command = r.draw_read(512);
    r.send(ScsiCommand { itt: Itt(0x10), ..command }, &[]);
    let Pdu::Reject(reject) = r.one().pdu else { panic!() };
    assert_eq!(reject.stat_sn, StatSn(u32::MAX - 2));
    let echo = r.nop();
    r.send(echo, &[]);
    let Pdu::NopIn(echo) = r.one().pdu else { panic!() };
    assert_eq!(echo.stat_sn, StatSn(u32::MAX - 1));
}

#[test]
fn item_43_data_sn_and_r2t_sn_count_from_zero() {
    //= RFC 7143 section 4.2.2.4
    //# Data and R2T PDUs transferred as part of some command execution MUST be
    //# sequenced.
    //= RFC 7143 section 4.2.2.4
    //# For
    //# input (read) data PDUs, the DataSN starts with 0 for the first data
    //# PDU of an input command and advances by 1 for each subsequent data
    //# PDU.
    let mut r = Rig::new();
    for _ in 0..2 {
        let task = r.read(20000);
        r.data_in(task, 0, 20000, Some(20000));
        let numbers: Vec<_> = r.sent().iter().map(|p| if let Pdu::DataIn(d) = p { d.data_sn.0 } else { 99 }).collect();
        assert_eq!(numbers, [0, 1, 2]);
        let task = r.write(40000, 0);
        r.s.want_data_out(task, 40000, &mut r.wire);
        let numbers: Vec<_> = r.sent().iter().map(|p| if let Pdu::R2t(d) = p { d.r2t_sn.0 } else { 99 }).collect();
        assert_eq!(numbers, [0, 1]);
    }
}

#[test]
fn item_43_there_are_fewer_numbers_than_bytes() {
    //= RFC 7143 section 4.2.2.4
    //# For any read or bidirectional command, a target MUST issue less than
    //# 2**32 combined R2T and Data-In PDUs.
    let mut r = Rig::with(
        SessionKind::Normal,
        Params { own: max_recv(512), max_burst_bytes: 512, first_burst_bytes: 512, ..params() },
        1,
    );
    let command = ScsiCommand { read: true, total_ahs_words: 2, ..r.draw_write(4096) };
    let mut bhs = [0; 48];
    command.emit(&mut bhs);
    r.raw(&bhs, &[0, 5, 2, 0, 0, 0, 0x10, 0], &[]);
    let Event::Execute(task) = r.events()[0] else { panic!() };
    r.s.want_data_out(task, 4096, &mut r.wire);
    for offset in (0..4096).step_by(512) {
        r.send(r.data_out(command.itt, Ttt(task.0), offset, 0, true), &[0; 512]);
    }
    r.data_in(task, 0, 4096, Some(4096));
    let sent = r.sent();
    let numbers: Vec<u32> = { sent.iter() }
        .filter_map(|p| match p {
            Pdu::R2t(p) => Some(p.r2t_sn.0),
            Pdu::DataIn(p) => Some(p.data_sn.0),
            _ => None,
        })
        .collect();
    // The smallest segments and bursts that can be agreed upon: one number for each 512 bytes of less than 2^32 each way.
    assert!(numbers.iter().copied().eq(0..2 * 4096 / 512));
    assert!((2 * (u64::from(u32::MAX) / 512 + 1)) < 1 << 32);
    //= RFC 7143 section 11.4.8
    //# This field MUST be 0 if the response code is not Command Completed at
    //# Target or the target sent no Data-In PDUs for the command.
    assert!(matches!(sent.last(), Some(Pdu::ScsiResponse(p)) if p.exp_data_sn == 4096 / 512), "Data-In alone");
}

#[test]
fn item_45_answers_go_to_the_connection_of_the_command() {
    //= RFC 7143 section 4.2.1
    //# iSCSI targets and initiators MUST support at least one TCP connection
    //# and MAY support several connections in a session.
    //= RFC 7143 section 4.2.5.1
    //# Thus, if an initiator issues a read command, the target MUST send the
    //# requested data, if any, followed by the status, to the initiator over
    //# the same TCP connection that was used to deliver the SCSI command.
    //= RFC 7143 section 4.2.5.1
    //# The target MUST return Ready To Transfer (R2T), if any, and the status
    //# over the same TCP connection that was used to deliver the SCSI command.
    //= RFC 7143 section 4.2.5.1
    //# For any iSCSI request issued over a TCP connection, the corresponding
    //# response and/or other related PDU(s) MUST be sent over the same
    //# connection.
    let mut r = Rig::with(SessionKind::Normal, Params { max_connections: 2, ..params() }, 1);
    let init = ConnectionInit { cid: Cid(4), params: params(), stat_sn: StatSn(u32::MAX - 2), exp_cmd_sn: CmdSn(1) };
    let second = r.s.add_connection(init, 0).unwrap();
    assert_eq!(r.s.add_connection(ConnectionInit { cid: Cid(5), ..init }, 0), Err(TooMany));
    let command = r.draw_write(8192);
    let mut bhs = [0; 48];
    command.emit(&mut bhs);
    r.raw_on(second, &bhs, &[], &[]);
    let Event::Execute(task) = r.events()[0] else { panic!() };
    r.s.want_data_out(task, 8192, &mut r.wire);
    assert_eq!(r.one().conn, ConnIx(1));
    // Data on the other connection is nobody's.
    let stray = r.data_out(command.itt, Ttt(task.0), 0, 0, true);
    r.send(stray, &[0; 8192]);
    assert_eq!(r.wire.sent[0].conn, ConnIx(0));
    r.expect_reject(RejectReason::INVALID_PDU_FIELD);
    let mut bhs = [0; 48];
    stray.emit(&mut bhs);
    bhs::set_data_segment_len(&mut bhs, 8192);
    r.raw_on(second, &bhs, &[], &[0; 8192]);
    assert_eq!(r.events(), [Event::DataOut { task, received_bytes: 8192 }]);
    r.s.complete(task, Ending::new(0, &[]), 8192, Direction::Out, &mut r.wire);
    assert_eq!(r.one().conn, second);
    r.draw_read(16384).emit(&mut bhs);
    r.raw_on(second, &bhs, &[], &[]);
    let Event::Execute(task) = r.events()[0] else { panic!() };
    r.data_in(task, 0, 16384, Some(16384));
    assert_eq!(r.wire.sent.drain(..).map(|s| s.conn).collect::<Vec<_>>(), [second; 2]);
    r.draw_read(512).emit(&mut bhs);
    r.raw_on(second, &bhs, &[], &[]);
    let Event::Execute(task) = r.events()[0] else { panic!() };
    r.s.connection_lost(second, seam::CloseReason::Disconnected);
    let cleared = Event::Cleared { lun: Lun::flat(0) };
    assert_eq!(r.events(), [Event::Abort(task), cleared], "the session lives on with its other connection");
    r.released(task);
    r.read(512);
}

#[test]
fn a_status_has_arrived_when_it_is_acknowledged_on_its_connection() {
    let agreed = Params { max_connections: 2, ..params() };
    let mut r = Rig::with(SessionKind::Normal, agreed, 1);
    let answered = |r: &mut Rig, exp_stat_sn| {
        let command = ScsiCommand { exp_stat_sn, ..r.draw() };
        let task = r.run(command, &[]);
        let status = r.s.next_status(task).unwrap();
        r.good(task);
        assert_eq!(r.s.next_status(task), None, "it has one");
        (status, r.response().0.stat_sn)
    };
    let (first, said) = answered(&mut r, StatSn(0));
    let (second, _) = answered(&mut r, said);
    let has_arrived = |r: &Rig| [first, second].map(|status| r.s.has_arrived(status));
    assert_eq!(has_arrived(&r), [Some(false); 2]);
    let ping = NopOut { exp_stat_sn: said.next(), ..r.nop() };
    r.send(ping, &[]);
    assert_eq!(has_arrived(&r), [Some(true), Some(false)]);
    // So many statuses later that the numbers come again.
    assert_eq!(r.s.has_arrived(first ^ 1 << 31), Some(true));
    let init = |cid, stat_sn| ConnectionInit { cid: Cid(cid), params: agreed, stat_sn, exp_cmd_sn: CmdSn(1) };
    r.s.add_connection(init(7, said), 0).unwrap();
    r.s.connection_lost(r.c, seam::CloseReason::Disconnected);
    assert_eq!(has_arrived(&r), [Some(true), None]);
    // Another one in the place of the first.
    assert_eq!(r.s.add_connection(init(8, said.add(9)), 0).unwrap(), r.c);
    assert_eq!(has_arrived(&r), [None; 2]);
}

impl Rig {
    fn nop_copy(&self) -> NopOut {
        NopOut {
            immediate_delivery: true,
            data_segment_len: 0,
            lun: Lun::flat(0),
            itt: Itt(0x999),
            ttt: Ttt::RESERVED,
            cmd_sn: CmdSn(self.cmd_sn),
            exp_stat_sn: StatSn(0),
        }
    }
}
