//! Golden bytes, each used three ways (parse, emit, print), and properties of arbitrary headers.

use super::*;
use crate::wire::bhs::BHS_LEN;
use crate::wire::pretty::Header;
use crate::wire::{Cid, CmdSn, DataSn, Isid, Itt, Lun, R2tSn, StatSn, Tsih, Ttt};
use proptest::prelude::*;

/// A header from its twelve words.
fn words(words: [u32; 12]) -> Bhs {
    let mut bhs = [0; BHS_LEN];
    bhs.chunks_mut(4).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_be_bytes()));
    bhs
}

/// Every PDU type with every field set to something of its own: (words, PDU, line).
fn golden() -> Vec<(Bhs, Pdu, &'static str)> {
    [requests(), responses(), announcements()].concat()
}

#[rustfmt::skip]
fn requests() -> Vec<(Bhs, Pdu, &'static str)> {
    vec![
        (
            words([0x4080_0000, 0x0000_0005, 0x0003_0000, 0, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0]),
            NopOut {
                immediate_delivery: true, data_segment_len: 5, lun: Lun::flat(3), itt: Itt(0x11), ttt: Ttt(0x22),
                cmd_sn: CmdSn(0x33), exp_stat_sn: StatSn(0x44),
            }.into(),
            "NOP-Out itt=0x11 ttt=0x22 lun=3 cmd_sn=51 exp_stat_sn=68 I len=5",
        ),
        (
            // The READ (10) of RFC 7143 appendix A.4.
            words([0x01c0_0000, 0, 0, 0, 0x1400_0000, 0x400, 0x14, 0x18, 0x2800_0000, 0, 0x0200_0000, 0]),
            ScsiCommand {
                immediate_delivery: false, is_final: true, read: true, write: false, attr: TaskAttr::UNTAGGED,
                priority: 0, total_ahs_words: 0, data_segment_len: 0, lun: Lun::flat(0), itt: Itt(0x1400_0000),
                edtl_bytes: 1024, cmd_sn: CmdSn(20), exp_stat_sn: StatSn(24),
                cdb: [0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
            }.into(),
            "SCSI Command itt=0x14000000 lun=0 cmd_sn=20 exp_stat_sn=24 F R untagged edtl=1024 len=0 \
             cdb=28000000000000000200",
        ),
        (
            words([
                0x4122_b000, 0x0200_0200, 0x4123_0000, 0, 0x11, 0x1_0000, 0x33, 0x44,
                0x0001_0203, 0x0405_0607, 0x0809_0a0b, 0x0c0d_0e0f,
            ]),
            ScsiCommand {
                immediate_delivery: true, is_final: false, read: false, write: true, attr: TaskAttr::ORDERED,
                priority: 0xb, total_ahs_words: 2, data_segment_len: 512, lun: Lun::flat(0x123), itt: Itt(0x11),
                edtl_bytes: 0x1_0000, cmd_sn: CmdSn(0x33), exp_stat_sn: StatSn(0x44),
                cdb: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
            }.into(),
            "SCSI Command itt=0x11 lun=291 cmd_sn=51 exp_stat_sn=68 I W ordered edtl=65536 len=512 ahs=8 \
             cdb=000102030405",
        ),
        (
            words([0x4281_0000, 0, 0x0001_0000, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0, 0]),
            TaskManagementRequest {
                immediate_delivery: true, function: TmFunction::ABORT_TASK, lun: Lun::flat(1), itt: Itt(0x11),
                referenced_task_tag: Itt(0x22), cmd_sn: CmdSn(0x33), exp_stat_sn: StatSn(0x44),
                ref_cmd_sn: CmdSn(0x55), exp_data_sn: 0x66,
            }.into(),
            "Task Management Request itt=0x11 lun=1 cmd_sn=51 exp_stat_sn=68 I ABORT TASK ref_itt=0x22 \
             ref_cmd_sn=85 exp_data_sn=102",
        ),
        (
            words([0x4387_0201, 0x0000_0123, 0x0002_3d00, 0x0001_0007, 0x11, 0x0009_0000, 0x33, 0x44, 0, 0, 0, 0]),
            LoginRequest {
                transit: true, cont: false, csg: stage::LOGIN_OPERATIONAL_NEGOTIATION, nsg: stage::FULL_FEATURE_PHASE,
                version_max: 2, version_min: 1, data_segment_len: 0x123, isid: Isid([0, 2, 0x3d, 0, 0, 1]),
                tsih: Tsih(7), itt: Itt(0x11), cid: Cid(9), cmd_sn: CmdSn(0x33), exp_stat_sn: StatSn(0x44),
            }.into(),
            "Login Request itt=0x11 cmd_sn=51 exp_stat_sn=68 T csg=1 nsg=3 isid=0x00023d000001 tsih=7 cid=9 \
             version=1..2 len=291",
        ),
        (
            words([0x44c0_0000, 0x0000_0010, 0x0001_0000, 0, 0x11, 0xffff_ffff, 0x33, 0x44, 0, 0, 0, 0]),
            TextRequest {
                immediate_delivery: true, is_final: true, cont: true, data_segment_len: 16, lun: Lun::flat(1),
                itt: Itt(0x11), ttt: Ttt::RESERVED, cmd_sn: CmdSn(0x33), exp_stat_sn: StatSn(0x44),
            }.into(),
            "Text Request itt=0x11 ttt=- cmd_sn=51 exp_stat_sn=68 I F C len=16",
        ),
        (
            words([0x0580_0000, 0x0001_0000, 0x0001_0000, 0, 0x11, 0x22, 0, 0x44, 0, 0x55, 0x66, 0]),
            DataOut {
                is_final: true, data_segment_len: 0x1_0000, lun: Lun::flat(1), itt: Itt(0x11), ttt: Ttt(0x22),
                exp_stat_sn: StatSn(0x44), data_sn: DataSn(0x55), buffer_offset: 0x66,
            }.into(),
            "Data-Out itt=0x11 ttt=0x22 lun=1 exp_stat_sn=68 data_sn=85 F offset=102 len=65536",
        ),
        (
            words([0x4682_0000, 0, 0, 0, 0x11, 0x0009_0000, 0x33, 0x44, 0, 0, 0, 0]),
            LogoutRequest {
                immediate_delivery: true, reason: LogoutReason::REMOVE_FOR_RECOVERY, itt: Itt(0x11), cid: Cid(9),
                cmd_sn: CmdSn(0x33), exp_stat_sn: StatSn(0x44),
            }.into(),
            "Logout Request itt=0x11 cmd_sn=51 exp_stat_sn=68 I remove the connection for recovery cid=9",
        ),
        (
            words([0x1083_0000, 0, 0x0001_0000, 0, 0x11, 0x22, 0, 0x44, 0, 0, 0x55, 0x66]),
            SnackRequest {
                kind: SnackType::R_DATA, lun: Lun::flat(1), itt: Itt(0x11), ttt: Ttt(0x22), exp_stat_sn: StatSn(0x44),
                beg_run: 0x55, run_len: 0x66,
            }.into(),
            "SNACK Request itt=0x11 ttt=0x22 lun=1 exp_stat_sn=68 R-Data beg_run=85 run_len=102",
        ),
    ]
}

#[rustfmt::skip]
fn responses() -> Vec<(Bhs, Pdu, &'static str)> {
    let (stat_sn, exp_cmd_sn, max_cmd_sn) = (StatSn(0x33), CmdSn(0x44), CmdSn(0x55));
    vec![
        (
            words([0x2080_0000, 0x0000_0005, 0x0001_0000, 0, 0xffff_ffff, 0x22, 0x33, 0x44, 0x55, 0, 0, 0]),
            NopIn {
                data_segment_len: 5, lun: Lun::flat(1), itt: Itt::RESERVED, ttt: Ttt(0x22),
                stat_sn, exp_cmd_sn, max_cmd_sn,
            }.into(),
            "NOP-In itt=- ttt=0x22 lun=1 stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 len=5",
        ),
        (
            words([0x2192_0002, 0x0000_0014, 0x0102_0000, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]),
            ScsiResponse {
                bidi_overflow: true, bidi_underflow: false, overflow: false, underflow: true,
                response: ScsiResponse::COMMAND_COMPLETED, status: 2, status_qualifier: 0x0102, data_segment_len: 20,
                itt: Itt(0x11), snack_tag: 0x22, stat_sn, exp_cmd_sn, max_cmd_sn, exp_data_sn: 0x66,
                bidi_residual_bytes: 0x77, residual_bytes: 0x88,
            }.into(),
            "SCSI Response itt=0x11 stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 status=0x02 U residual=136 o residual=119 \
             exp_data_sn=102 snack_tag=0x22 len=20",
        ),
        (
            words([0x218c_0100, 0, 0, 0, 0x11, 0, 0x33, 0x44, 0x55, 0, 0x77, 0x88]),
            ScsiResponse {
                bidi_overflow: false, bidi_underflow: true, overflow: true, underflow: false,
                response: ScsiResponse::TARGET_FAILURE, status: 0, status_qualifier: 0, data_segment_len: 0,
                itt: Itt(0x11), snack_tag: 0, stat_sn, exp_cmd_sn, max_cmd_sn, exp_data_sn: 0,
                bidi_residual_bytes: 0x77, residual_bytes: 0x88,
            }.into(),
            "SCSI Response itt=0x11 stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 response=0x01 O residual=136 u residual=119 \
             exp_data_sn=0 len=0",
        ),
        (
            words([0x2280_0700, 0, 0x0102_0300, 0, 0x11, 0, 0x33, 0x44, 0x55, 0, 0, 0]),
            TaskManagementResponse {
                response: TmResponse::FUNCTION_SUCCEEDED, additional_info: [1, 2, 3], itt: Itt(0x11),
                stat_sn, exp_cmd_sn, max_cmd_sn,
            }.into(),
            "Task Management Response itt=0x11 stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 Function succeeded",
        ),
        (
            words([0x2344_0201, 0x0000_0123, 0x0002_3d00, 0x0001_0007, 0x11, 0, 0x33, 0x44, 0x55, 0x0203_0000, 0, 0]),
            LoginResponse {
                transit: false, cont: true, csg: stage::LOGIN_OPERATIONAL_NEGOTIATION, nsg: 0, version_max: 2,
                version_active: 1, data_segment_len: 0x123, isid: Isid([0, 2, 0x3d, 0, 0, 1]), tsih: Tsih(7),
                itt: Itt(0x11), stat_sn, exp_cmd_sn, max_cmd_sn, status: LoginStatus::NOT_FOUND,
            }.into(),
            "Login Response itt=0x11 stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 C csg=1 isid=0x00023d000001 tsih=7 \
             version=1..2 Not found len=291",
        ),
        (
            words([0x2480_0000, 0x0000_0010, 0x0001_0000, 0, 0x11, 0xffff_ffff, 0x33, 0x44, 0x55, 0, 0, 0]),
            TextResponse {
                is_final: true, cont: false, data_segment_len: 16, lun: Lun::flat(1), itt: Itt(0x11),
                ttt: Ttt::RESERVED, stat_sn, exp_cmd_sn, max_cmd_sn,
            }.into(),
            "Text Response itt=0x11 ttt=- stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 F len=16",
        ),
        (
            words([0x2583_0000, 0x0000_0400, 0, 0, 0x11, 0xffff_ffff, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]),
            DataIn {
                is_final: true, acknowledge: false, overflow: false, underflow: true, has_status: true, status: 0,
                data_segment_len: 1024, lun: Lun::flat(0), itt: Itt(0x11), ttt: Ttt::RESERVED,
                stat_sn, exp_cmd_sn, max_cmd_sn, data_sn: DataSn(0x66), buffer_offset: 0x77, residual_bytes: 0x88,
            }.into(),
            "Data-In itt=0x11 stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 data_sn=102 F S status=0x00 U residual=136 \
             offset=119 len=1024",
        ),
        (
            words([0x25c4_0004, 0x0000_0400, 0x0001_0000, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0]),
            DataIn {
                is_final: true, acknowledge: true, overflow: true, underflow: false, has_status: false, status: 4,
                data_segment_len: 1024, lun: Lun::flat(1), itt: Itt(0x11), ttt: Ttt(0x22),
                stat_sn, exp_cmd_sn, max_cmd_sn, data_sn: DataSn(0x66), buffer_offset: 0x77, residual_bytes: 0,
            }.into(),
            "Data-In itt=0x11 ttt=0x22 lun=1 exp_cmd_sn=68 max_cmd_sn=85 data_sn=102 F A offset=119 len=1024",
        ),
        (
            words([0x2680_0300, 0, 0, 0, 0x11, 0, 0x33, 0x44, 0x55, 0, 0x0002_0014, 0]),
            LogoutResponse {
                response: LogoutResult::CLEANUP_FAILED, itt: Itt(0x11), stat_sn, exp_cmd_sn, max_cmd_sn,
                time2wait: 2, time2retain: 20,
            }.into(),
            "Logout Response itt=0x11 stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 cleanup failed time2wait=2 time2retain=20",
        ),
        (
            words([0x3180_0000, 0, 0x0001_0000, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]),
            R2t {
                lun: Lun::flat(1), itt: Itt(0x11), ttt: Ttt(0x22), stat_sn, exp_cmd_sn, max_cmd_sn,
                r2t_sn: R2tSn(0x66), buffer_offset: 0x77, desired_len_bytes: 0x88,
            }.into(),
            "R2T itt=0x11 ttt=0x22 lun=1 stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 r2t_sn=102 offset=119 desired=136",
        ),
    ]
}

/// What a target says without having been asked.
#[rustfmt::skip]
fn announcements() -> Vec<(Bhs, Pdu, &'static str)> {
    let (stat_sn, exp_cmd_sn, max_cmd_sn) = (StatSn(0x33), CmdSn(0x44), CmdSn(0x55));
    vec![
        (
            words([
                0x3280_0000, 0x0000_0014, 0x0001_0000, 0, 0xffff_ffff, 0, 0x33, 0x44, 0x55, 0x0207_0001, 0x0002_0003, 0,
            ]),
            AsyncMessage {
                event: AsyncEvent::CONNECTION_DROP, vcode: 7, data_segment_len: 20, lun: Lun::flat(1),
                stat_sn, exp_cmd_sn, max_cmd_sn, parameter1: 1, parameter2: 2, parameter3: 3,
            }.into(),
            "Asynchronous Message lun=1 stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 Connection Drop Notification vcode=7 \
             parameters=1,2,3 len=20",
        ),
        (
            words([0x3f80_0900, 0x0000_0030, 0, 0, 0xffff_ffff, 0, 0x33, 0x44, 0x55, 0x66, 0, 0]),
            Reject {
                reason: RejectReason::INVALID_PDU_FIELD, data_segment_len: 48, stat_sn, exp_cmd_sn, max_cmd_sn,
                data_sn: DataSn(0x66),
            }.into(),
            "Reject stat_sn=51 exp_cmd_sn=68 max_cmd_sn=85 Invalid PDU field data_sn=102 len=48",
        ),
    ]
}

#[test]
fn golden_bytes_parse() {
    for (bytes, pdu, _) in golden() {
        assert_eq!(Pdu::parse(&bytes), Ok(pdu));
    }
}

#[test]
fn golden_bytes_are_emitted_over_whatever_was_there() {
    for (bytes, pdu, _) in golden() {
        let mut out = [0xff; BHS_LEN];
        pdu.emit(&mut out);
        assert_eq!(out, bytes, "{pdu}");
    }
}

#[test]
fn one_line_each() {
    for (bytes, pdu, line) in golden() {
        assert_eq!(pdu.to_string(), line);
        assert_eq!(Header(&bytes).to_string(), line);
    }
    let unknown = words([0x1e80_0000, 7, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Header(&unknown).to_string(), "unknown opcode 0x1e itt=0x11 len=7");
}

#[test]
fn golden_has_every_type() {
    let mut opcodes: Vec<u8> = golden().iter().map(|(_, pdu, _)| pdu.opcode().0).collect();
    opcodes.sort_unstable();
    opcodes.dedup();
    let known: Vec<u8> = (0..64).filter(|&code| Opcode(code).name().is_some()).collect();
    assert_eq!(opcodes, known);
}

#[test]
fn another_opcode_is_refused() {
    for (bytes, pdu, _) in golden() {
        let expected = if pdu.opcode() == Opcode::R2T { Opcode::REJECT } else { Opcode::R2T };
        let result = if expected == Opcode::R2T { R2t::parse(&bytes).err() } else { Reject::parse(&bytes).err() };
        assert_eq!(result, Some(WireError::WrongOpcode { expected, found: pdu.opcode() }));
    }
    assert_eq!(Pdu::parse(&[0x1c; BHS_LEN]), Err(WireError::UnknownOpcode(Opcode(0x1c))));
}

#[test]
fn every_login_status_has_a_name() {
    let named: Vec<(u8, u8)> = (0..=255u8)
        .flat_map(|class| (0..=255u8).map(move |detail| (class, detail)))
        .filter(|&(class, detail)| LoginStatus { class, detail }.name().is_some())
        .collect();
    let expected = [(0, 0..1), (1, 1..3), (2, 0..12), (3, 0..3)];
    assert!(named.into_iter().eq(expected.into_iter().flat_map(|(class, details)| details.map(move |d| (class, d)))));
}

/// Which bits of a header are defined for its opcode, from the figures of chapter 11. Bits that the RFC fixes (F where
/// it is always 1, I of a Login Request, a tag that is always 0xffffffff) are not: they come out fixed.
fn defined_bits(opcode: Opcode) -> Bhs {
    const ALL: u32 = 0xffff_ffff;
    const LEN: u32 = 0x00ff_ffff;
    words(match opcode {
        Opcode::NOP_OUT => [0x7f00_0000, LEN, ALL, ALL, ALL, ALL, ALL, ALL, 0, 0, 0, 0],
        Opcode::SCSI_COMMAND => [0x7fe7_f000, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL],
        Opcode::TASK_MANAGEMENT_REQUEST => [0x7f7f_0000, 0, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, 0, 0],
        Opcode::LOGIN_REQUEST => [0x3fcf_ffff, LEN, ALL, ALL, ALL, 0xffff_0000, ALL, ALL, 0, 0, 0, 0],
        Opcode::TEXT_REQUEST => [0x7fc0_0000, LEN, ALL, ALL, ALL, ALL, ALL, ALL, 0, 0, 0, 0],
        Opcode::SCSI_DATA_OUT => [0x3f80_0000, LEN, ALL, ALL, ALL, ALL, 0, ALL, 0, ALL, ALL, 0],
        Opcode::LOGOUT_REQUEST => [0x7f7f_0000, 0, 0, 0, ALL, 0xffff_0000, ALL, ALL, 0, 0, 0, 0],
        Opcode::SNACK_REQUEST => [0x3f0f_0000, 0, ALL, ALL, ALL, ALL, 0, ALL, 0, 0, ALL, ALL],
        Opcode::NOP_IN => [0x3f00_0000, LEN, ALL, ALL, ALL, ALL, ALL, ALL, ALL, 0, 0, 0],
        Opcode::SCSI_RESPONSE => [0x3f1e_ffff, LEN, 0xffff_0000, 0, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL],
        Opcode::TASK_MANAGEMENT_RESPONSE => [0x3f00_ff00, 0, 0xffff_ff00, 0, ALL, 0, ALL, ALL, ALL, 0, 0, 0],
        Opcode::LOGIN_RESPONSE => [0x3fcf_ffff, LEN, ALL, ALL, ALL, 0, ALL, ALL, ALL, 0xffff_0000, 0, 0],
        Opcode::TEXT_RESPONSE => [0x3fc0_0000, LEN, ALL, ALL, ALL, ALL, ALL, ALL, ALL, 0, 0, 0],
        Opcode::SCSI_DATA_IN => [0x3fc7_00ff, LEN, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL],
        Opcode::LOGOUT_RESPONSE => [0x3f00_ff00, 0, 0, 0, ALL, 0, ALL, ALL, ALL, 0, ALL, 0],
        Opcode::R2T => [0x3f00_0000, 0, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL],
        Opcode::ASYNC_MESSAGE => [0x3f00_0000, LEN, ALL, ALL, 0, 0, ALL, ALL, ALL, ALL, ALL, 0],
        Opcode::REJECT => [0x3f00_ff00, LEN, 0, 0, 0, 0, ALL, ALL, ALL, ALL, 0, 0],
        _ => [0; 12],
    })
}

/// Which bits of a header `emit` sets whatever the fields are.
fn fixed_bits(opcode: Opcode) -> Bhs {
    let tag = if matches!(opcode, Opcode::ASYNC_MESSAGE | Opcode::REJECT) { 0xffff_ffff } else { 0 };
    let first = match opcode {
        Opcode::LOGIN_REQUEST => 0x4000_0000,
        Opcode::SCSI_COMMAND
        | Opcode::LOGIN_RESPONSE
        | Opcode::TEXT_REQUEST
        | Opcode::TEXT_RESPONSE
        | Opcode::SCSI_DATA_OUT
        | Opcode::SCSI_DATA_IN => 0,
        _ => 0x0080_0000,
    };
    words([first, 0, 0, 0, tag, 0, 0, 0, 0, 0, 0, 0])
}

fn zip(a: Bhs, b: Bhs, f: impl Fn(u8, u8) -> u8) -> Bhs {
    std::array::from_fn(|i| f(a[i], b[i]))
}

proptest! {
    //= RFC 7143 section 11.6.2
    //# For this PDU, TotalAHSLength and DataSegmentLength MUST be 0.
    //= RFC 7143 section 11.8.1
    //# For this PDU, TotalAHSLength and DataSegmentLength MUST be 0.
    //= RFC 7143 section 11.15.2
    //# For this PDU, TotalAHSLength and DataSegmentLength MUST be 0.
    //= RFC 7143 section 11
    //# Any compliant sender MUST set all bits not defined and all reserved
    //# fields to 0, unless specified otherwise.  Any compliant receiver MUST
    //# ignore any bit not defined and all reserved fields unless specified
    //# otherwise.
    #[test]
    fn any_header_fails_or_comes_back(
        opcode in prop_oneof![8 => prop::sample::select(golden()).prop_map(|(_, pdu, _)| pdu.opcode().0), 1 => 0u8..64],
        mut bytes in prop::collection::vec(any::<u8>(), BHS_LEN),
    ) {
        bytes[0] = bytes[0] & 0xc0 | opcode;
        let bytes: Bhs = bytes.try_into().unwrap();
        match Pdu::parse(&bytes) {
            Err(error) => {
                prop_assert_eq!(error, WireError::UnknownOpcode(Opcode(opcode)));
                prop_assert!(Opcode(opcode).name().is_none());
            }
            Ok(pdu) => {
                prop_assert_eq!(pdu.opcode(), Opcode(opcode));
                let mut out = [0xaa; BHS_LEN];
                pdu.emit(&mut out);
                let defined = zip(bytes, defined_bits(pdu.opcode()), |byte, mask| byte & mask);
                prop_assert_eq!(out, zip(defined, fixed_bits(pdu.opcode()), |byte, fixed| byte | fixed));
                prop_assert_eq!(Pdu::parse(&out), Ok(pdu));
                prop_assert!(!pdu.to_string().contains('\n'));
            }
        }
    }
}

#[test]
fn item_65_the_deprecated_reason_does_not_exist() {
    //= RFC 7143 section 11.17.1
    //# | 0x0b | Deprecated; MUST NOT be used | N/A (Note 3) |
    //= RFC 7143 section 11.17.1
    //# Note 3: Reason code 0x0b ("Negotiation Reset") as defined in Section
    //# 10.17.1 of [RFC3720] is deprecated and MUST NOT be used by
    //# implementations.
    let named: Vec<u8> = (0..=255).filter(|&code| RejectReason(code).name().is_some()).collect();
    assert_eq!(named, [2, 3, 4, 5, 6, 7, 8, 9, 10, 12]);
}
