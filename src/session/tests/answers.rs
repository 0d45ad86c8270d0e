//! Data-In, status, residuals, sense (requirements 52 to 59).

use super::driver::*;
use crate::session::seam::Event;
use crate::session::*;
use crate::wire::*;

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
        ttt: Ttt::RESERVED,
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
