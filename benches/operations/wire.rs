//! Bytes to PDUs and back.

use super::Operation;
use ringsan::wire::{
    BHS_LEN, Bhs, CmdSn, DataIn, DataOut, DataSn, Frame, Framer, Itt, Lun, NopIn, NopOut, R2t, R2tSn, ScsiCommand,
    ScsiResponse, StatSn, TaskAttr, Ttt, bhs, digest,
};
use std::hint::black_box;

/// PDUs in one chunk: what a busy connection delivers at once.
const PDUS: u64 = 32;
const DATA: usize = 4096;

pub const FRAMING: &[Operation] = &[
    Operation { name: "frame 48-byte header", items: PDUS, bytes: 0, make: || framing(0, false) },
    Operation { name: "frame 48-byte header, digest", items: PDUS, bytes: 0, make: || framing(0, true) },
    Operation { name: "frame header + 4 KiB", items: PDUS, bytes: 0, make: || framing(DATA, false) },
    Operation { name: "frame header + 4 KiB, digests", items: PDUS, bytes: 0, make: || framing(DATA, true) },
];

pub const PARSING: &[Operation] = &[
    Operation {
        name: "parse SCSI Command",
        items: 1,
        bytes: 0,
        make: || parsing(header(command()), ScsiCommand::parse),
    },
    Operation { name: "parse SCSI Data-Out", items: 1, bytes: 0, make: || parsing(header(data_out()), DataOut::parse) },
    Operation { name: "parse NOP-Out", items: 1, bytes: 0, make: || parsing(header(nop_out()), NopOut::parse) },
    Operation { name: "parse SCSI Data-In", items: 1, bytes: 0, make: || parsing(header(data_in()), DataIn::parse) },
    Operation {
        name: "parse SCSI Response",
        items: 1,
        bytes: 0,
        make: || parsing(header(response()), ScsiResponse::parse),
    },
    Operation { name: "parse R2T", items: 1, bytes: 0, make: || parsing(header(r2t()), R2t::parse) },
];

pub const EMITTING: &[Operation] = &[
    Operation { name: "emit SCSI Data-In", items: 1, bytes: 0, make: || emitting(data_in()) },
    Operation { name: "emit SCSI Response", items: 1, bytes: 0, make: || emitting(response()) },
    Operation { name: "emit R2T", items: 1, bytes: 0, make: || emitting(r2t()) },
    Operation { name: "emit NOP-In", items: 1, bytes: 0, make: || emitting(nop_in()) },
    Operation { name: "emit SCSI Command", items: 1, bytes: 0, make: || emitting(command()) },
    Operation { name: "emit SCSI Data-Out", items: 1, bytes: 0, make: || emitting(data_out()) },
];

pub const DIGEST: &[Operation] = &[
    Operation {
        name: "digest of a header",
        items: 1,
        bytes: BHS_LEN as u64,
        make: || {
            let header = header(command());
            Box::new(move || {
                black_box(digest::header_digest(black_box(&header), &[]));
            })
        },
    },
    Operation { name: "digest of 4 KiB", items: 1, bytes: 4 << 10, make: || digest_of(4 << 10) },
    Operation { name: "digest of 128 KiB", items: 1, bytes: 128 << 10, make: || digest_of(128 << 10) },
];

/// A PDU that writes its header.
trait Emit: Copy + 'static {
    fn emit_to(&self, bhs: &mut Bhs);
}

macro_rules! emit {
    ($($name:ident)*) => { $(impl Emit for $name {
        fn emit_to(&self, bhs: &mut Bhs) {
            self.emit(bhs);
        }
    })* };
}
emit!(ScsiCommand DataOut NopOut DataIn ScsiResponse R2t NopIn);

fn header(pdu: impl Emit) -> Bhs {
    let mut bhs = [0; BHS_LEN];
    pdu.emit_to(&mut bhs);
    bhs
}

fn framing(data_len: usize, digests: bool) -> Box<dyn FnMut()> {
    let mut pdu = Vec::new();
    let mut bhs = header(command());
    bhs::set_data_segment_len(&mut bhs, data_len);
    pdu.extend_from_slice(&bhs);
    if digests {
        pdu.extend_from_slice(&digest::header_digest(&bhs, &[]));
    }
    let data = vec![0x5a; data_len];
    pdu.extend_from_slice(&data);
    if digests && data_len > 0 {
        pdu.extend_from_slice(&digest::data_digest(&data));
    }
    let stream = pdu.repeat(PDUS as usize);
    let mut framer = Framer::new(256 << 10);
    framer.set_digests(digests, digests);
    Box::new(move || {
        let mut chunk = black_box(&stream[..]);
        let mut whole = 0;
        while let Frame::Whole { bhs, data, data_digest_ok, .. } = framer.next(&mut chunk).expect("PDUs") {
            black_box((bhs, data, data_digest_ok));
            whole += 1;
        }
        assert_eq!(whole, PDUS);
    })
}

fn parsing<T: 'static, E: std::fmt::Debug + 'static>(bhs: Bhs, parse: fn(&Bhs) -> Result<T, E>) -> Box<dyn FnMut()> {
    parse(&bhs).map(drop).expect("the PDU that was emitted");
    Box::new(move || {
        black_box(parse(black_box(&bhs)).is_ok());
    })
}

fn emitting(pdu: impl Emit) -> Box<dyn FnMut()> {
    let mut bhs = [0; BHS_LEN];
    Box::new(move || {
        black_box(&pdu).emit_to(black_box(&mut bhs));
    })
}

fn digest_of(len: usize) -> Box<dyn FnMut()> {
    let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
    Box::new(move || {
        black_box(digest::data_digest(black_box(&data)));
    })
}

/// A READ(10) of 4 KiB.
pub fn command() -> ScsiCommand {
    ScsiCommand {
        immediate_delivery: false,
        is_final: true,
        read: true,
        write: false,
        attr: TaskAttr::SIMPLE,
        priority: 0,
        total_ahs_words: 0,
        data_segment_len: 0,
        lun: Lun::flat(0),
        itt: Itt(7),
        edtl_bytes: 4096,
        cmd_sn: CmdSn(1),
        exp_stat_sn: StatSn(1),
        cdb: [0x28, 0, 0, 0, 0x10, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0],
    }
}

fn data_out() -> DataOut {
    DataOut {
        is_final: true,
        data_segment_len: 4096,
        lun: Lun::flat(0),
        itt: Itt(7),
        ttt: Ttt(3),
        exp_stat_sn: StatSn(1),
        data_sn: DataSn(0),
        buffer_offset: 8192,
    }
}

fn nop_out() -> NopOut {
    NopOut {
        immediate_delivery: true,
        data_segment_len: 0,
        lun: Lun::flat(0),
        itt: Itt(9),
        ttt: Ttt::RESERVED,
        cmd_sn: CmdSn(1),
        exp_stat_sn: StatSn(1),
    }
}

fn nop_in() -> NopIn {
    NopIn {
        data_segment_len: 0,
        lun: Lun::flat(0),
        itt: Itt(9),
        ttt: Ttt::RESERVED,
        stat_sn: StatSn(1),
        exp_cmd_sn: CmdSn(2),
        max_cmd_sn: CmdSn(129),
    }
}

fn data_in() -> DataIn {
    DataIn {
        is_final: true,
        acknowledge: false,
        overflow: false,
        underflow: false,
        has_status: true,
        status: 0,
        data_segment_len: 4096,
        lun: Lun::flat(0),
        itt: Itt(7),
        ttt: Ttt::RESERVED,
        stat_sn: StatSn(1),
        exp_cmd_sn: CmdSn(2),
        max_cmd_sn: CmdSn(129),
        data_sn: DataSn(0),
        buffer_offset: 0,
        residual_bytes: 0,
    }
}

fn response() -> ScsiResponse {
    ScsiResponse {
        bidi_overflow: false,
        bidi_underflow: false,
        overflow: false,
        underflow: false,
        response: ScsiResponse::COMMAND_COMPLETED,
        status: 0,
        status_qualifier: 0,
        data_segment_len: 0,
        itt: Itt(7),
        snack_tag: 0,
        stat_sn: StatSn(1),
        exp_cmd_sn: CmdSn(2),
        max_cmd_sn: CmdSn(129),
        exp_data_sn: 0,
        bidi_residual_bytes: 0,
        residual_bytes: 0,
    }
}

fn r2t() -> R2t {
    R2t {
        lun: Lun::flat(0),
        itt: Itt(7),
        ttt: Ttt(3),
        stat_sn: StatSn(1),
        exp_cmd_sn: CmdSn(2),
        max_cmd_sn: CmdSn(129),
        r2t_sn: R2tSn(0),
        buffer_offset: 8192,
        desired_len_bytes: 65_536,
    }
}
