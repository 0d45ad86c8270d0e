//! Digest errors, format errors, Rejects, SNACK (requirements 33, 63 to 68).

use super::driver::*;
use crate::session::seam::{CloseReason, Dest, Event};
use crate::session::*;
use crate::wire::*;

fn ended_by_protocol(r: &mut Rig) -> bool {
    matches!(r.events().last(), Some(Event::Ended { reason: CloseReason::Protocol(_) }))
}

#[test]
fn item_63_data_digest_error_on_a_command_leaves_a_gap() {
    //= RFC 7143 section 7.8
    //# When a target receives any iSCSI PDU with a payload digest error, it
    //# MUST answer with a Reject PDU with a reason code of Data-Digest-Error
    //# and discard the PDU.
    let mut r = Rig::new();
    let (first, second) = (r.draw_write(512), r.draw_read(512));
    r.digest_ok = false;
    r.send(first, &[0; 512]);
    assert_eq!((r.dest, r.task), (Dest::Immediate { edtl_bytes: 512 }, None));
    let mut header = [0; 48];
    first.emit(&mut header);
    bhs::set_data_segment_len(&mut header, 512);
    assert_eq!(r.expect_reject(RejectReason::DATA_DIGEST_ERROR), header);
    r.send(second, &[]);
    assert_eq!(r.events(), []);
    r.send(first, &[0; 512]);
    assert_eq!(r.events().len(), 2);
}

#[test]
fn item_63_data_digest_error_on_data_out_ends_the_task_after_all_data() {
    //= RFC 7143 section 7.8
    //# If the discarded PDU is a solicited or unsolicited iSCSI data PDU (for
    //# immediate data in a command PDU, the non-data PDU rule below applies),
    //# the target MUST do one of the following:
    //= RFC 7143 section 7.8
    //# If the target chooses to implement this option, it MUST wait to receive
    //# all the data (signaled by a data PDU with the Final bit set for all
    //# outstanding R2Ts) before sending the SCSI Response PDU.
    let mut r = Rig::new();
    let command = r.draw_write(8192);
    let task = r.run(command, &[]);
    r.s.want_data_out(task, 8192, &mut r.wire);
    r.sent();
    r.digest_ok = false;
    r.send(r.data_out(command.itt, Ttt(task.0), 0, 0, false), &[0; 4096]);
    r.expect_reject(RejectReason::DATA_DIGEST_ERROR);
    assert_eq!(r.events(), [Event::Abort(task)]);
    r.send(r.data_out(command.itt, Ttt(task.0), 4096, 1, true), &[0; 4096]);
    assert!(r.sent().is_empty(), "the shard has not let go");
    r.released(task);
    r.expect_fault(0x47, 0x05);
    assert_eq!(r.s.open_tasks(), 0);
}

#[test]
fn item_64_a_format_error_ends_the_session() {
    //= RFC 7143 section 11
    //# Receipt of reserved code values in defined fields MUST be reported as a
    //# protocol error.
    //= RFC 7143 section 7.7
    //# When a target or an initiator receives an iSCSI PDU with a format
    //# error, it MUST immediately terminate all transport connections in the
    //# session with either a connection close or a connection reset, and
    //# escalate the format error to session recovery (see Section 7.1.4.4).
    type Spoil = fn(&mut Rig) -> (Pdu, usize);
    let cases: [Spoil; 9] = [
        |r| (ScsiCommand { itt: Itt::RESERVED, ..r.draw() }.into(), 0),
        |r| (ScsiCommand { is_final: false, ..r.draw_read(512) }.into(), 0),
        |r| (ScsiCommand { edtl_bytes: 1, ..r.draw() }.into(), 0),
        |r| (ScsiCommand { attr: TaskAttr(5), ..r.draw() }.into(), 0),
        |r| (r.draw_write(100_000).into(), 65537),
        |r| (r.tm(TmFunction::LOGICAL_UNIT_RESET).into(), 4),
        |r| (LogoutRequest { reason: LogoutReason(9), ..r.logout(LogoutReason::CLOSE_SESSION, 0) }.into(), 0),
        |r| (NopOut { itt: Itt::RESERVED, immediate_delivery: false, ..r.nop() }.into(), 0),
        |r| {
            let text = TextRequest::parse(&{
                let mut bhs = [0; 48];
                bhs[0] = 0x44;
                bhs[1] = 0xc0;
                bhs
            });
            (TextRequest { itt: Itt(r.itt), cmd_sn: CmdSn(r.cmd_sn), ..text.unwrap() }.into(), 0)
        },
    ];
    for (n, spoil) in cases.iter().enumerate() {
        let mut r = Rig::new();
        let task = r.read(512);
        let (pdu, len) = spoil(&mut r);
        r.send(pdu, &vec![0; len]);
        let events = r.events();
        assert_eq!(events[0], Event::Abort(task), "case {n}");
        assert!(matches!(events[1], Event::Ended { reason: CloseReason::Protocol(_) }), "case {n}");
        r.released(task);
        assert_eq!((r.s.open_tasks(), r.s.connections().count()), (0, 0));
        let ping = r.nop();
        r.send(ping, &[]);
        r.tick(1_000_000);
        assert_eq!((r.sent().len(), r.events()), (0, vec![]), "nothing after the end");
    }
}

#[test]
fn item_64_additional_header_segments_where_there_are_none() {
    //= RFC 7143 section 11.2.1.5
    //# The TotalAHSLength is only used in PDUs that have an AHS and MUST be 0
    //# in all other PDUs.
    let mut r = Rig::new();
    let mut bhs = [0; 48];
    r.nop().emit(&mut bhs);
    bhs[4] = 1;
    r.raw(&bhs, &[0, 1, 9, 0], &[]);
    assert!(ended_by_protocol(&mut r));
}

#[test]
fn item_65_a_reject_carries_the_header_and_uses_up_a_stat_sn() {
    //= RFC 7143 section 11.17.4
    //# The target returns the header (not including the digest) of the PDU
    //# in error as the data of the response.
    let mut r = Rig::new();
    let mut bhs = [0xa5; 48];
    bhs[0] = 0x5e;
    bhs[4..8].fill(0);
    // That the numbers follow one another is checked by the driver.
    r.raw(&bhs, &[], &[]);
    assert_eq!(r.expect_reject(RejectReason::COMMAND_NOT_SUPPORTED), bhs);
    r.raw(&bhs, &[], &[]);
    assert_eq!(r.expect_reject(RejectReason::COMMAND_NOT_SUPPORTED), bhs);
}

#[test]
fn item_66_the_cmd_sn_of_a_rejected_request_is_not_received() {
    //= RFC 7143 section 7.3
    //# The CmdSN of the rejected command PDU (if it is a non-immediate
    //# command) MUST NOT be considered received by the target (i.e., a
    //# command sequence gap must be assumed for the CmdSN), even though the
    //# CmdSN of the rejected command PDU may be reliably ascertained.
    let mut r = Rig::new();
    let text = |r: &Rig, itt, cmd_sn| TextRequest {
        immediate_delivery: false,
        is_final: true,
        cont: false,
        data_segment_len: 0,
        lun: Lun::flat(0),
        itt: Itt(itt),
        ttt: Ttt::RESERVED,
        cmd_sn: CmdSn(r.cmd_sn + cmd_sn),
        exp_stat_sn: StatSn(0),
    };
    // At once, and after having been held.
    r.text.reject = Some(RejectReason::PROTOCOL_ERROR);
    r.send(text(&r, 1, 0), b"a=b\0");
    r.expect_reject(RejectReason::PROTOCOL_ERROR);
    r.send(text(&r, 2, 1), b"c=d\0");
    assert!(r.sent().is_empty());
    let first = r.draw_read(512);
    r.text.reject = Some(RejectReason::PROTOCOL_ERROR);
    r.send(first, &[]);
    assert_eq!(r.events().len(), 1);
    let reject = r.one();
    let Pdu::Reject(reject) = reject.pdu else { panic!() };
    assert_eq!(reject.exp_cmd_sn, CmdSn(101));
    r.read(512);
    assert_eq!(r.s.open_tasks(), 2);
}

#[test]
fn item_67_snack_is_rejected_and_ends_the_command() {
    //= RFC 7143 section 7.8
    //# a.1) If the status has not already been sent for the command,
    //# the target MUST terminate the command with a CHECK
    //# CONDITION Status and an iSCSI Condition of "SNACK
    //# rejected" (Section 11.4.7.2).
    let mut r = Rig::new();
    let command = r.draw_read(512);
    let task = r.run(command, &[]);
    let snack = |kind, itt| SnackRequest {
        kind,
        lun: Lun::flat(0),
        itt,
        ttt: Ttt::RESERVED,
        exp_stat_sn: StatSn(0),
        beg_run: 0,
        run_len: 0,
    };
    r.send(snack(SnackType::STATUS, Itt::RESERVED), &[]);
    r.expect_reject(RejectReason::SNACK_REJECT);
    assert_eq!(r.events(), []);
    r.send(snack(SnackType::DATA_R2T, command.itt), &[]);
    r.expect_reject(RejectReason::SNACK_REJECT);
    assert_eq!(r.events(), [Event::Abort(task)]);
    r.data_in(task, 0, 512, Some(512));
    assert!(r.sent().is_empty());
    r.released(task);
    r.expect_fault(0x11, 0x13);
}

#[test]
fn item_68_unknown_opcodes_and_those_of_targets() {
    //= RFC 7143 section 4.2.4
    //# Login Requests and Responses MUST be used exclusively during login.
    //= RFC 7143 section 4.2.4
    //# On any connection, the Login Phase MUST immediately follow TCP
    //# connection establishment, and a subsequent Login Phase MUST NOT occur
    //# before tearing down the connection.
    let mut r = Rig::new();
    for opcode in [0x07, 0x1c, 0x20, 0x21, 0x25, 0x31, 0x3f] {
        let mut bhs = [0; 48];
        bhs[0] = opcode;
        r.raw(&bhs, &[], &[0; 16]);
        r.expect_reject(RejectReason::COMMAND_NOT_SUPPORTED);
    }
    let mut bhs = [0; 48];
    bhs[0] = 0x43;
    r.raw(&bhs, &[], &[]);
    r.expect_reject(RejectReason::PROTOCOL_ERROR);
    r.read(512);
}

#[test]
fn item_33_a_discovery_session_takes_text_and_logout_only() {
    //= RFC 7143 section 4.3
    //# The target MUST ONLY accept Text Requests with the SendTargets
    //# key and a Logout Request with reason "close the session".  All
    //# other requests MUST be rejected.
    let mut r = Rig::with(SessionKind::Discovery, params(), 1);
    let (command, reset) = (r.draw_read(36), r.tm(TmFunction::TARGET_WARM_RESET));
    let snack = SnackRequest {
        kind: SnackType::STATUS,
        lun: Lun::flat(0),
        itt: Itt::RESERVED,
        ttt: Ttt::RESERVED,
        exp_stat_sn: StatSn(0),
        beg_run: 0,
        run_len: 0,
    };
    for pdu in [Pdu::from(command), reset.into(), snack.into(), r.data_out(Itt(1), Ttt(1), 0, 0, true).into()] {
        r.send(pdu, &[]);
        r.expect_reject(RejectReason::PROTOCOL_ERROR);
    }
    let text = TextRequest {
        immediate_delivery: true,
        is_final: true,
        cont: false,
        data_segment_len: 0,
        lun: Lun::flat(0),
        itt: Itt(1),
        ttt: Ttt::RESERVED,
        cmd_sn: CmdSn(1),
        exp_stat_sn: StatSn(0),
    };
    r.send(text, b"SendTargets=All\0");
    assert_eq!(r.one().bytes, b"SendTargets=All\0");
    let out = r.logout(LogoutReason::CLOSE_SESSION, 3);
    r.send(out, &[]);
    assert!(matches!(r.one().pdu, Pdu::LogoutResponse(p) if p.response == LogoutResult::CLOSED));
    assert_eq!(
        r.events(),
        [Event::Close { conn: r.c, reason: CloseReason::Logout }, Event::Ended { reason: CloseReason::Logout }]
    );
}

#[test]
fn item_33_a_discovery_session_is_not_pinged_but_closed() {
    //= RFC 7143 section 7.4.3
    //# Targets SHOULD NOT send any responses other than a Text Response and
    //# Logout Response on a Discovery session, once in the Full Feature Phase.
    let mut r = Rig::with(SessionKind::Discovery, params(), 1);
    r.tick(r.s.next_deadline_ms());
    assert!(r.sent().is_empty());
    assert!(matches!(r.events()[..], [Event::Close { .. }, Event::Ended { reason: CloseReason::NopTimeout }]));
}

#[test]
fn item_28_a_text_response_that_goes_on_names_its_unit() {
    //= RFC 7143 section 11.10.4
    //# If the Target Transfer Tag is not 0xffffffff, the LUN field
    //# MUST be sent by the target in the Text Response.
    let mut r = Rig::new();
    r.text.goes_on = Some(Ttt(0x77));
    let text = TextRequest {
        immediate_delivery: true,
        is_final: false,
        cont: false,
        data_segment_len: 0,
        lun: Lun::flat(5),
        itt: Itt(1),
        ttt: Ttt::RESERVED,
        cmd_sn: CmdSn(100),
        exp_stat_sn: StatSn(0),
    };
    r.send(text, b"a=b\0");
    let Pdu::TextResponse(p) = r.one().pdu else { panic!() };
    assert_eq!((p.is_final, p.ttt, p.lun), (false, Ttt(0x77), Lun::flat(5)));
}
