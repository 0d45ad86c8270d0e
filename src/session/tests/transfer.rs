//! Data-Out and R2T (requirements 46 to 51, 60).

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
