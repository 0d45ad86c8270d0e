//! Data-In, Data-Out, R2T, residuals, sense (requirements 46 to 60).

use super::driver::*;
use crate::session::seam::{Dest, Event};
use crate::session::*;
use crate::wire::*;

fn none() -> Ttt {
    Ttt::RESERVED
}

#[test]
fn who_owes_what() {
    let mut r = Rig::new();
    assert!(!r.s.awaits_initiator());
    let read = r.read(512);
    assert!(!r.s.awaits_initiator(), "a read is ours to answer");
    let whole = r.write(512, 512);
    assert!(!r.s.awaits_initiator(), "and a write that has all its data");
    let write = r.write(1024, 512);
    assert!(r.s.awaits_initiator(), "data is still to come");
    r.send(r.data_out(r.s.tasks.get(write).unwrap().itt, none(), 512, 0, true), &[0; 512]);
    assert!(!r.s.awaits_initiator());
    for task in [read, whole, write] {
        r.good(task);
    }
    let gap = r.draw_read(512);
    let held = r.draw_read(512);
    r.send(held, &[]);
    assert!(r.s.awaits_initiator(), "a command that comes before it");
    r.send(gap, &[]);
    assert!(!r.s.awaits_initiator());
}

#[test]
fn item_46_immediate_data_that_was_not_agreed_on() {
    let mut r = Rig::with(SessionKind::Normal, Params { immediate_data: false, ..params() }, 1);
    let command = r.draw_write(512);
    r.send(command, &[0; 512]);
    assert_eq!((r.dest, r.task), (Dest::Discard, None));
    r.expect_fault(0x0c, 0x0c);
    assert_eq!((r.events(), r.s.open_tasks()), (vec![], 0));
}

#[test]
fn item_46_unsolicited_data_where_initial_r2t_is_yes_fails_after_the_f_bit() {
    //= RFC 7143 section 11.8
    //# In order to allow write operations without an explicit initial R2T, the
    //# initiator and target MUST have negotiated the key InitialR2T to No
    //# during login.
    let mut r = Rig::with(SessionKind::Normal, Params { initial_r2t: true, ..params() }, 1);
    let command = ScsiCommand { is_final: false, ..r.draw_write(4096) };
    r.send(command, &[0; 512]);
    r.send(r.data_out(command.itt, none(), 512, 0, false), &[0; 512]);
    assert_eq!((r.dest, r.events(), r.sent().len()), (Dest::Discard, vec![], 0));
    r.send(r.data_out(command.itt, none(), 1024, 1, true), &[0; 3072]);
    r.expect_fault(0x0c, 0x0c);
    // The same after a command that had announced none.
    let command = r.draw_write(4096);
    let task = r.run(command, &[]);
    r.send(r.data_out(command.itt, none(), 0, 0, false), &[0; 512]);
    assert_eq!(r.events(), [Event::Abort(task)]);
    r.released(task);
    assert!(r.sent().is_empty());
    r.send(r.data_out(command.itt, none(), 512, 1, true), &[0; 512]);
    r.expect_fault(0x0c, 0x0c);
    assert_eq!(r.s.open_tasks(), 0);
}

#[test]
fn item_46_neither_immediate_nor_separate_where_both_are_excluded() {
    //= RFC 7143 section 13.11
    //# If ImmediateData is set to No and InitialR2T is set to Yes, then the
    //# initiator MUST NOT send unsolicited data and the target MUST reject
    //# unsolicited data with the corresponding response code.
    let params = Params { initial_r2t: true, immediate_data: false, ..params() };
    let mut r = Rig::with(SessionKind::Normal, params, 1);
    let command = r.draw_write(512);
    r.send(command, &[0; 512]);
    r.expect_fault(0x0c, 0x0c);
    let command = ScsiCommand { is_final: false, ..r.draw_write(512) };
    r.send(command, &[]);
    r.send(r.data_out(command.itt, none(), 0, 0, true), &[0; 512]);
    r.expect_fault(0x0c, 0x0c);
    assert_eq!((r.events(), r.s.open_tasks()), (vec![], 0));
}

#[test]
fn item_46_data_with_a_read() {
    let mut r = Rig::new();
    let command = r.draw_read(512);
    r.send(command, &[0; 512]);
    r.expect_fault(0x0c, 0x0c);
}

#[test]
fn item_47_unsolicited_data_is_first_burst_or_all() {
    let mut r = Rig::new();
    // All of a short transfer, immediate and separate.
    let command = ScsiCommand { is_final: false, ..r.draw_write(4096) };
    let task = r.run(command, &[0; 512]);
    assert_eq!(r.task, Some(task));
    r.send(r.data_out(command.itt, none(), 512, 0, false), &[0; 512]);
    assert_eq!(r.dest, Dest::Task { task, offset: 512 });
    r.send(r.data_out(command.itt, none(), 1024, 1, true), &[0; 3072]);
    assert_eq!(
        r.events(),
        [Event::DataOut { task, received_bytes: 1024 }, Event::DataOut { task, received_bytes: 4096 }]
    );
    r.good(task);
    assert_eq!(r.response().0.status, 0);
    // A part of FirstBurstLength.
    //= RFC 7143 section 11.4.7.2
    //# The target reports the "Incorrect amount of data" condition if,
    //# during data output, the total data length to output is greater than
    //# FirstBurstLength and the initiator sent unsolicited non-immediate
    //# data but the total amount of unsolicited data is different than
    //# FirstBurstLength.
    for (len, immediate) in [(4096, 0), (8192 + 512, 0), (8192, 512)] {
        let command = ScsiCommand { is_final: false, ..r.draw_write(20000) };
        let task = r.run(command, &vec![0; immediate]);
        r.send(r.data_out(command.itt, none(), immediate as u32, 0, true), &vec![0; len]);
        assert_eq!(r.events(), [Event::Abort(task)]);
        r.released(task);
        r.expect_fault(0x0c, 0x0d);
    }
}

#[test]
fn item_47_immediate_data_beyond_first_burst_or_the_transfer() {
    let mut r = Rig::new();
    for edtl in [20000, 512] {
        let command = r.draw_write(edtl);
        r.send(command, &[0; 9000]);
        r.expect_fault(0x0c, 0x0d);
    }
    assert_eq!(r.s.open_tasks(), 0);
}

#[test]
fn item_47_the_answer_to_an_r2t_has_the_amount_asked_for() {
    //= RFC 7143 section 11.4.7.2
    //# The target reports the same error when the amount
    //# of data sent as a reply to an R2T does not match the amount
    //# requested.
    for len in [4096, 8192 + 4] {
        let mut r = Rig::new();
        let command = r.draw_write(8192);
        let task = r.run(command, &[]);
        r.s.want_data_out(task, 8192, &mut r.wire);
        r.sent();
        r.send(r.data_out(command.itt, Ttt(task.0), 0, 0, true), &vec![0; len]);
        assert_eq!(r.events(), [Event::Abort(task)]);
        r.released(task);
        r.expect_fault(0x0c, 0x0d);
    }
}

#[test]
fn item_48_an_error_response_waits_for_the_data_that_is_owed() {
    //= RFC 7143 section 11.4.2
    //# If a SCSI device error is detected while data from the initiator is
    //# still expected (the command PDU did not contain all the data and the
    //# target has not received a data PDU with the Final bit set), the
    //# target MUST wait until it receives a data PDU with the F bit set in
    //# the last expected sequence before sending the Response PDU.
    let mut r = Rig::new();
    let command = ScsiCommand { is_final: false, ..r.draw_write(20000) };
    let task = r.run(command, &[]);
    r.s.want_data_out(task, 20000, &mut r.wire);
    let Pdu::R2t(r2t) = r.one().pdu else { panic!() };
    assert_eq!((r2t.buffer_offset, r2t.desired_len_bytes), (8192, 20000 - 8192));
    r.s.complete(task, Ending::new(2, &[0x70, 0, 7]), 0, Direction::Out, &mut r.wire);
    assert!(!r.s.is_live(task));
    r.send(r.data_out(command.itt, none(), 0, 0, true), &[0; 8192]);
    assert_eq!(r.dest, Dest::Discard);
    r.send(r.data_out(command.itt, r2t.ttt, 8192, 0, false), &[0; 4096]);
    assert!(r.sent().is_empty());
    r.send(r.data_out(command.itt, r2t.ttt, 12288, 1, true), &[0; 20000 - 12288]);
    let (response, bytes) = r.response();
    assert_eq!((response.status, bytes), (2, vec![0, 3, 0x70, 0, 7]));
    assert_eq!((response.underflow, response.residual_bytes, r.events()), (true, 20000, vec![]));
    assert_eq!(r.s.open_tasks(), 0);
}

#[test]
fn item_49_r2ts_keep_to_burst_number_and_order() {
    //= RFC 7143 section 11.8
    //# If DataSequenceInOrder is Yes, then consecutive R2Ts MUST refer to
    //# continuous non-overlapping ranges, except for Recovery-R2Ts.
    //= RFC 7143 section 11.8.4
    //# The Desired Data Transfer Length MUST NOT be 0 and MUST NOT exceed
    //# MaxBurstLength.
    //= RFC 7143 section 11.8.5
    //# There is no protocol rule about the Target Transfer Tag except that the
    //# value 0xffffffff is reserved and MUST NOT be sent by a target in an R2T.
    //= RFC 7143 section 11.8
    //# The number of outstanding R2T PDUs is
    //# limited by the value of the negotiated key MaxOutstandingR2T.
    let mut r = Rig::new();
    let edtl = 1000 + 16384 * 3 + 100;
    let command = r.draw_write(edtl);
    let task = r.run(command, &[1; 1000]);
    r.s.want_data_out(task, u32::MAX, &mut r.wire);
    let mut asked = Vec::new();
    let mut offset = 1000;
    let mut outstanding = 0;
    loop {
        for sent in r.wire.sent.drain(..) {
            let Pdu::R2t(p) = sent.pdu else { panic!() };
            assert!(!p.ttt.is_reserved() && p.desired_len_bytes > 0 && p.desired_len_bytes <= 16384);
            assert_eq!((p.itt, p.lun, p.r2t_sn.0), (command.itt, command.lun, asked.len() as u32));
            asked.push((p.buffer_offset, p.desired_len_bytes));
            outstanding += 1;
        }
        //= RFC 7143 section 13.19
        //# If DataSequenceInOrder is set to Yes, data sequences MUST be transferred
        //# using continuously non-decreasing sequence offsets (R2T buffer offset
        //# for writes, or the smallest SCSI Data-In buffer offset within a read
        //# data sequence).
        assert!(outstanding <= 2);
        let Some(&(from, len)) = asked.iter().find(|(from, _)| *from == offset) else { break };
        r.send(r.data_out(command.itt, Ttt(task.0), from, 0, false), &vec![0; len as usize - 50]);
        assert_eq!(r.events(), [], "progress is told once per sequence");
        r.send(r.data_out(command.itt, Ttt(task.0), from + len - 50, 1, true), &[0; 50]);
        offset += len;
        outstanding -= 1;
        assert_eq!(r.events(), [Event::DataOut { task, received_bytes: offset }]);
    }
    assert_eq!((offset, outstanding), (edtl, 0));
    assert_eq!(asked.last(), Some(&(1000 + 3 * 16384, edtl - 1000 - 3 * 16384)));
}

#[test]
fn item_50_what_is_wanted_bit_by_bit_is_asked_for_bit_by_bit() {
    let mut r = Rig::new();
    let command = r.draw_write(12000);
    let task = r.run(command, &[]);
    for (want, offset, len) in [(4096, 0, 4096), (8192, 4096, 4096)] {
        r.s.want_data_out(task, want, &mut r.wire);
        let Pdu::R2t(p) = r.one().pdu else { panic!() };
        assert_eq!((p.buffer_offset, p.desired_len_bytes), (offset, len));
    }
    r.s.want_data_out(task, 8192, &mut r.wire);
    r.s.want_data_out(task, 12000, &mut r.wire);
    assert!(r.sent().is_empty(), "two are outstanding");
    r.send(r.data_out(command.itt, Ttt(task.0), 0, 0, true), &[0; 4096]);
    let Pdu::R2t(p) = r.one().pdu else { panic!() };
    assert_eq!((p.buffer_offset, p.desired_len_bytes), (8192, 12000 - 8192));
}

#[test]
fn item_51_data_out_that_nobody_asked_for_is_rejected() {
    //= RFC 7143 section 7.3
    //# Targets MUST NOT implicitly terminate an active task by sending a Reject
    //# PDU for any PDU exchanged during the life of the task.
    //= RFC 7143 section 11.17.1
    //# Some examples are invalid TTT/ITT,
    //# buffer offset, LUN qualifying a TTT, and an invalid sequence
    //# number in a SNACK.
    let mut r = Rig::new();
    let command = r.draw_write(8192);
    let task = r.run(command, &[]);
    for (itt, ttt) in [(command.itt, 0x1234), (command.itt, task.0), (Itt(0x999), u32::MAX), (Itt(0x999), task.0)] {
        r.send(r.data_out(itt, Ttt(ttt), 0, 0, true), &[0; 512]);
        assert_eq!(r.dest, Dest::Discard);
        r.expect_reject(RejectReason::INVALID_PDU_FIELD);
    }
    assert!(r.s.is_live(task), "a Reject alone ends no task");
    assert_eq!(r.events(), []);
}

#[test]
fn item_51_wrong_offset_number_or_lun_ends_the_task() {
    //= RFC 7143 section 4.2.5.2
    //# In addition, iSCSI initiators and targets MUST enforce some ordering
    //# rules.
    //= RFC 7143 section 4.2.5.3
    //# As the Initiator Task Tag is used to identify a task during its
    //# execution, the iSCSI initiator and target MUST verify that all other
    //# fields used in task-related PDUs have values that are consistent with
    //# the values used at the task instantiation, based on the Initiator Task
    //# Tag (e.g., the LUN used in an R2T PDU MUST be the same as the one used
    //# in the SCSI Command PDU used to instantiate the task).
    //= RFC 7143 section 7.9
    //# The target MUST address these implied digest errors as described in
    //# Section 7.8.
    //= RFC 7143 section 11.17.1
    //# In all the cases in which a pre-instantiated SCSI task is terminated
    //# because of the reject, the target MUST issue a proper SCSI command
    //# response with CHECK CONDITION as described in Section 11.4.3.
    //= RFC 7143 section 11.17.1
    //# If the error is detected while data from the initiator is still expected
    //# (i.e., the command PDU did not contain all the data and the target has
    //# not received a Data-Out PDU with the Final bit set to 1 for the
    //# unsolicited data, if any, and all outstanding R2Ts, if any), the target
    //# MUST wait until it receives the last expected Data-Out PDUs with the F
    //# bit set to 1 before sending the Response PDU.
    for (offset, sn, lun, asc) in [(4, 0, 0, (0x0c, 0x0d)), (0, 1, 0, (0x47, 0x05)), (0, 0, 1, (0x0c, 0x0d))] {
        let mut r = Rig::new();
        let command = r.draw_write(8192);
        let task = r.run(command, &[]);
        r.s.want_data_out(task, 8192, &mut r.wire);
        r.sent();
        let bad = DataOut { lun: Lun::flat(lun), ..r.data_out(command.itt, Ttt(task.0), offset, sn, false) };
        r.send(bad, &[0; 512]);
        r.expect_reject(RejectReason::INVALID_PDU_FIELD);
        assert_eq!(r.events(), [Event::Abort(task)]);
        r.released(task);
        assert!(r.sent().is_empty(), "the sequence is not over");
        r.send(r.data_out(command.itt, Ttt(task.0), 512, 2, true), &[0; 512]);
        r.expect_fault(asc.0, asc.1);
    }
}

#[test]
fn item_52_data_in_is_cut_to_segments_and_bursts() {
    //= RFC 7143 section 11.7.2
    //# The target MUST NOT set to 1 the A bit for sessions with
    //# ErrorRecoveryLevel=0.
    //= RFC 7143 section 11.7.1
    //# DataSegmentLength MUST NOT exceed MaxRecvDataSegmentLength for the
    //# direction it is sent, and the total of all the DataSegmentLength of
    //# all PDUs in a sequence MUST NOT exceed MaxBurstLength (or
    //# FirstBurstLength for unsolicited data).
    let mut r = Rig::with(SessionKind::Normal, Params { own: max_recv(6001), max_burst_bytes: 16383, ..params() }, 1);
    let task = r.read(40001);
    r.data_in(task, 0, 10000, None);
    r.data_in(task, 10000, 30001, Some(40001));
    let (mut offset, mut burst) = (0, 0);
    let pdus = r.wire.sent.drain(..).collect::<Vec<_>>();
    for (n, sent) in pdus.iter().enumerate() {
        let Pdu::DataIn(p) = sent.pdu else { panic!() };
        let last = n + 1 == pdus.len();
        assert_eq!((p.buffer_offset, sent.data), (offset, Some((u64::from(offset), p.data_segment_len))));
        assert_eq!((p.data_sn.0, p.acknowledge, p.has_status), (n as u32, false, last));
        //= RFC 7143 section 11.7.7
        //# The data segments of Data-In and Data-Out PDUs SHOULD be filled to the
        //# integer number of 4-byte words (real payload), unless the F bit is set
        //# to 1.
        assert!(p.data_segment_len <= 6001 && (p.data_segment_len % 4 == 0 || last));
        burst += p.data_segment_len;
        assert!(burst <= 16383);
        if burst == 16380 || last {
            assert!(p.is_final);
            burst = 0;
        } else {
            assert!(!p.is_final);
        }
        offset += p.data_segment_len;
    }
    assert_eq!((offset, r.s.open_tasks()), (40001, 0));
}

#[test]
fn item_52_a_new_segment_length_holds_from_the_text_response_on() {
    let mut r = Rig::new();
    r.text.set_max_recv = Some(512);
    let request = TextRequest {
        immediate_delivery: false,
        is_final: true,
        cont: false,
        data_segment_len: 0,
        lun: Lun::flat(0),
        itt: Itt(1),
        ttt: none(),
        cmd_sn: CmdSn(r.cmd_sn),
        exp_stat_sn: StatSn(0),
    };
    r.cmd_sn += 1;
    r.send(request, b"MaxRecvDataSegmentLength=512\0");
    assert_eq!(r.one().bytes, b"MaxRecvDataSegmentLength=512\0");
    assert_eq!(r.s.params(r.c).unwrap().own.initiator_max_recv_bytes, 512);
    let task = r.read(1024);
    r.data_in(task, 0, 1024, Some(1024));
    assert_eq!(r.sent().len(), 2);
}

#[test]
fn item_53_status_is_collapsed_into_the_last_data_in() {
    //= RFC 7143 section 11.7.3
    //# If this bit is set to 1, the
    //# F bit MUST also be set to 1.
    let mut r = Rig::new();
    let task = r.read(4096);
    r.data_in(task, 0, 4096, Some(4096));
    let Pdu::DataIn(p) = r.one().pdu else { panic!() };
    assert!(p.is_final && p.has_status && !p.acknowledge && !p.overflow && !p.underflow);
    assert_eq!((p.status, p.residual_bytes, p.exp_cmd_sn), (0, 0, CmdSn(101)));
    assert_eq!(p.max_cmd_sn, CmdSn(100 + crate::limits::COMMAND_WINDOW), "the slot is granted anew at once");
    // Nothing to carry it: a response of its own.
    let task = r.read(4096);
    r.data_in(task, 0, 0, Some(0));
    let (response, _) = r.response();
    assert_eq!((response.underflow, response.residual_bytes), (true, 4096));
}

#[test]
fn item_53_a_bidirectional_command_has_a_response_of_its_own() {
    //= RFC 7143 section 11.7.3
    //# For bidirectional commands, the status MUST be sent in
    //# a SCSI Response PDU.
    let mut r = Rig::new();
    let command = ScsiCommand { read: true, total_ahs_words: 2, ..r.draw_write(512) };
    let mut bhs = [0; 48];
    command.emit(&mut bhs);
    r.raw(&bhs, &[0, 5, 2, 0, 0, 0, 4, 0], &[]);
    let Event::Execute(task) = r.events()[0] else { panic!() };
    assert_eq!(r.s.command(task).bidi_read_edtl_bytes, 1024);
    r.data_in(task, 0, 1000, Some(1000));
    let sent = r.sent();
    let (Pdu::DataIn(data), Pdu::ScsiResponse(response)) = (&sent[0], &sent[1]) else { panic!("{sent:?}") };
    assert!(data.is_final && !data.has_status);
    //= RFC 7143 section 11.4.6
    //# The Bidirectional Read Residual Count field MUST be valid in the case
    //# where either the u bit or the o bit is set.
    assert_eq!((response.bidi_underflow, response.bidi_residual_bytes, response.exp_data_sn), (true, 24, 1));
    assert_eq!((response.underflow, response.residual_bytes), (true, 512));
}

#[test]
fn item_54_exp_data_sn_is_the_number_of_data_in() {
    //= RFC 7143 section 11.7.3
    //# If the command is completed with an error, then the response and sense
    //# data MUST be sent in a SCSI Response PDU (i.e., MUST NOT be sent in a
    //# SCSI data packet).
    //= RFC 7143 section 11.4.8
    //# This field indicates the number of Data-In (read) PDUs the target has
    //# sent for the command.
    let mut r = Rig::new();
    let task = r.read(40000);
    r.data_in(task, 0, 16384, None);
    r.s.complete(task, Ending::new(2, &[0x70, 0, 3]), 40000, Direction::In, &mut r.wire);
    let sent = r.sent();
    let Pdu::ScsiResponse(response) = sent[2] else { panic!() };
    assert_eq!((response.exp_data_sn, response.status), (2, 2));
    assert!(sent[..2].iter().all(|p| matches!(p, Pdu::DataIn(p) if !p.has_status)));
    //= RFC 7143 section 11.4.8
    //# This field MUST be 0 if the response code is not Command Completed at
    //# Target or the target sent no Data-In PDUs for the command.
    for write in [false, true] {
        let task = if write { r.write(8192, 0) } else { r.read(512) };
        if write {
            r.s.want_data_out(task, 8192, &mut r.wire);
            let Pdu::R2t(p) = r.one().pdu else { panic!() };
            r.send(r.data_out(p.itt, p.ttt, 0, 0, true), &[0; 8192]);
        }
        r.good(task);
        assert_eq!(r.response().0.exp_data_sn, 0);
        r.events();
    }
}

#[test]
fn item_55_residuals_of_reads_and_writes() {
    //= RFC 7143 section 11.4.5.1
    //# The Residual Count field MUST be valid in the case where either the U
    //# bit or the O bit is set.
    //= RFC 7143 section 11.4.5.1
    //# If neither bit is set, the Residual Count field MUST be ignored on
    //# reception and SHOULD be set to 0 when sending.
    //= RFC 7143 section 11.4.5.2
    //# If SPDTL > EDTL for a task, iSCSI Overflow MUST be signaled in the SCSI
    //# Response PDU as specified in Section 11.4.5.1.
    //= RFC 7143 section 11.4.5.2
    //# The Residual Count MUST be set to the numerical value of (SPDTL - EDTL).
    //= RFC 7143 section 11.4.5.2
    //# If SPDTL < EDTL for a task, iSCSI Underflow MUST be signaled in the
    //# SCSI Response PDU as specified in Section 11.4.5.1.  The Residual
    //# Count MUST be set to the numerical value of (EDTL - SPDTL).
    let mut r = Rig::new();
    for (presented, overflow, underflow, count) in
        [(512, false, false, 0), (100, false, true, 412), (1024, true, false, 512)]
    {
        let task = r.read(512);
        r.data_in(task, 0, 512.min(presented as u32), Some(presented));
        let Pdu::DataIn(p) = r.one().pdu else { panic!() };
        assert_eq!((p.overflow, p.underflow, p.residual_bytes), (overflow, underflow, count));
        for status in [0, 2] {
            let task = r.write(512, 512);
            r.s.complete(task, Ending::new(status, &[]), presented, Direction::Out, &mut r.wire);
            let (p, _) = r.response();
            assert_eq!((p.overflow, p.underflow, p.residual_bytes), (overflow, underflow, count));
        }
    }
}

#[test]
fn item_56_truncation_by_the_allocation_length_is_no_overflow() {
    //= RFC 7143 section 11.4.5.3
    //# However, if the iSCSI EDTL is larger than the ALLOCATION LENGTH in this
    //# scenario, note that the iSCSI Underflow MUST be signaled in the SCSI
    //# Response PDU.
    //= RFC 7143 section 11.4.5.3
    //# An iSCSI Underflow MUST also be signaled when the iSCSI EDTL is equal to
    //# the ALLOCATION LENGTH but the LU inventory data presented to the iSCSI
    //# layer is smaller than the ALLOCATION LENGTH.
    //= RFC 7143 section 11.4.5.3
    //# an iSCSI Residual Overflow has not occurred and the iSCSI (O)
    //# bit MUST NOT be set in the SCSI Response or final SCSI Data-Out PDU.
    // The device server presents what is left after the truncation: 36 of however many bytes.
    let mut r = Rig::new();
    for (edtl, underflow) in [(36, false), (255, true)] {
        let task = r.read(edtl);
        r.data_in(task, 0, 36, Some(36));
        let Pdu::DataIn(p) = r.one().pdu else { panic!() };
        assert_eq!((p.overflow, p.underflow, p.residual_bytes), (false, underflow, edtl - 36));
    }
}

#[test]
fn item_57_check_condition_always_has_sense() {
    //= RFC 7143 section 4.6.1.2
    //# The use of Autosense ([SAM2]) is REQUIRED by iSCSI.
    //
    //= RFC 7143 section 10.2
    //# "Autosense" refers to the automatic return of sense data to the
    //# initiator in cases where a command did not complete successfully. iSCSI
    //# initiators and targets MUST support and use Autosense.
    //= RFC 7143 section 11.4.7
    //# iSCSI targets MUST support and enable Autosense.
    //= RFC 7144 section 5.2.2
    //# Section 11.4.7 of [RFC7143] specifies that iSCSI targets MUST support
    //# and enable Autosense.
    //= RFC 7144 section 5.2.2
    //# If Status is CHECK CONDITION (0x02), then the Data Segment MUST contain
    //# sense data for the failed command.
    //= RFC 7143 section 11.4.7
    //# If Status is CHECK
    //# CONDITION (0x02), then the data segment MUST contain sense data for
    //# the failed command.
    let mut r = Rig::new();
    let task = r.read(512);
    r.s.complete(task, Ending::new(2, &[0x72, 5, 0x24, 0]), 0, Direction::None, &mut r.wire);
    let (response, bytes) = r.response();
    assert_eq!((response.data_segment_len, bytes), (6, vec![0, 4, 0x72, 5, 0x24, 0]));
    let task = r.read(512);
    r.s.complete(task, Ending::new(2, &[]), 0, Direction::None, &mut r.wire);
    assert_eq!(r.response().1.len(), 20);
    let task = r.read(512);
    r.s.complete(task, Ending::new(2, &[9; 300]), 0, Direction::None, &mut r.wire);
    assert_eq!(r.response().1.len(), 254);
}

#[test]
fn item_58_no_expected_length_is_all_overflow() {
    let mut r = Rig::new();
    let task = r.read(0);
    r.data_in(task, 0, 0, Some(4096));
    let (p, _) = r.response();
    assert_eq!((p.overflow, p.underflow, p.residual_bytes), (true, false, 4096));
}

#[test]
fn item_59_a_direction_that_was_not_announced() {
    let mut r = Rig::new();
    // A CDB that reads, sent with W: nothing may be sent to the initiator.
    let task = r.write(512, 512);
    r.data_in(task, 0, 512, Some(512));
    let (p, _) = r.response();
    assert_eq!((p.overflow, p.residual_bytes), (true, 512));
    // A CDB without data, sent with R.
    let task = r.read(512);
    r.good(task);
    let (p, _) = r.response();
    assert_eq!((p.underflow, p.residual_bytes), (true, 512));
    // A write CDB sent with R gets no R2T.
    let task = r.read(512);
    r.s.want_data_out(task, 512, &mut r.wire);
    assert!(r.sent().is_empty());
}

#[test]
fn item_60_additional_header_segments() {
    let mut r = Rig::new();
    let command = ScsiCommand { cdb: std::array::from_fn(|i| i as u8), total_ahs_words: 2, ..r.draw() };
    let mut bhs = [0; 48];
    command.emit(&mut bhs);
    r.raw(&bhs, &[0, 5, 1, 0, 16, 17, 18, 19], &[]);
    let Event::Execute(task) = r.events()[0] else { panic!() };
    assert!(r.s.command(task).cdb.for_device_server().iter().copied().eq(0..20));
    // An unknown type: the command is not carried out, and its CmdSN is not used up.
    let command = ScsiCommand { total_ahs_words: 1, ..r.draw() };
    command.emit(&mut bhs);
    r.raw(&bhs, &[0, 1, 9, 0], &[]);
    r.expect_reject(RejectReason::INVALID_PDU_FIELD);
    r.run(ScsiCommand { total_ahs_words: 0, ..command }, &[]);
    // One that does not fit.
    let command = ScsiCommand { total_ahs_words: 1, ..r.draw() };
    command.emit(&mut bhs);
    r.raw(&bhs, &[0, 9, 1, 0], &[]);
    assert!(matches!(r.events().last(), Some(Event::Ended { .. })));
}

#[test]
fn a_data_out_may_be_empty() {
    //= RFC 7143 section 11.7.7
    //# The sending of 0-length data segments should be avoided, but initiators
    //# and targets MUST be able to properly receive 0-length data segments.
    let mut r = Rig::new();
    let command = r.draw_write(8192);
    let task = r.run(command, &[]);
    r.s.want_data_out(task, 8192, &mut r.wire);
    r.sent();
    for (sn, offset, len, is_final) in [(0, 0, 0, false), (1, 0, 8192, false), (2, 8192, 0, true)] {
        r.send(r.data_out(command.itt, Ttt(task.0), offset, sn, is_final), &vec![0; len]);
    }
    assert_eq!((r.events(), r.sent().len()), (vec![Event::DataOut { task, received_bytes: 8192 }], 0));
}

#[test]
fn priority_and_status_qualifier_are_for_protocol_level_2() {
    for protocol_level in [1, 2] {
        let mut r = Rig::with(SessionKind::Normal, Params { protocol_level, ..params() }, 1);
        let command = ScsiCommand { priority: 9, ..r.draw() };
        let task = r.run(command, &[]);
        //= RFC 7144 section 5.1.1
        //# This field MUST be ignored by iSCSI targets unless the
        //# iSCSIProtocolLevel text key with a value of "2" as defined in Section
        //# 7.1.1 was negotiated on the session.
        assert_eq!(r.s.command(task).priority, if protocol_level == 2 { 9 } else { 0 });
        r.s.complete(task, Ending::new(0x08, &[]), 0, Direction::None, &mut r.wire);
        //= RFC 7144 section 5.2.1
        //# Compliant senders MUST NOT set this field to a value other than zero
        //# unless the iSCSIProtocolLevel text key with a value of "2" as defined in
        //# Section 7.1.1 was negotiated on the session.
        assert_eq!(r.response().0.status_qualifier, 0);
    }
}

#[test]
fn data_to_be_acknowledged_names_its_unit() {
    //= RFC 7143 section 11.7.4
    //# If the Target Transfer Tag is provided, then the LUN field MUST hold a
    //# valid value and be consistent with whatever was specified with the
    //# command; otherwise, the LUN field is reserved.
    let mut r = Rig::with(SessionKind::Normal, Params { error_recovery_level: 1, ..params() }, 1);
    let command = ScsiCommand { lun: Lun::flat(5), ..r.draw_read(32768) };
    let task = r.run(command, &[]);
    r.data_in(task, 0, 32768, Some(32768));
    let sent = r.sent().into_iter();
    let marked: Vec<_> = sent
        .filter_map(|p| match p {
            Pdu::DataIn(p) => Some((p.acknowledge, !p.ttt.is_reserved(), p.lun)),
            _ => None,
        })
        .collect();
    let (plain, asked) = ((false, false, Lun([0; 8])), (true, true, Lun::flat(5)));
    assert_eq!(marked, [plain, asked, plain, plain]);
}
