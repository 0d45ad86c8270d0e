//! One line per PDU, as tcpdump would print it: for traces, failed tests and error messages, never on the hot path.
//!
//! The order is: name, direction-independent tags and addresses, counters, flags, then what is particular to the PDU.
//! Reserved tags print as `-`, flags by their letter in the RFC's figure, only if set. Fields that mean nothing under
//! the PDU's own flags (a status without the S bit) are left out.

use std::fmt::{self, Display, Formatter};

use super::bhs::{self, Bhs};
use super::ids::{Itt, Lun, Ttt};
use super::pdu::*;
use super::serial::{CmdSn, StatSn};

/// Prints a header, also one whose opcode is unknown.
#[derive(Clone, Copy)]
pub struct Header<'a>(pub &'a Bhs);

impl Display for Header<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match Pdu::parse(self.0) {
            Ok(pdu) => pdu.fmt(f),
            Err(error) => {
                write!(f, "{error} itt={} len={}", Tag(bhs::itt(self.0).0), bhs::data_segment_len(self.0))
            }
        }
    }
}

macro_rules! lines {
    ($($name:ident => |$f:ident, $p:ident| $line:block)*) => {
        $(impl Display for $name {
            fn fmt(&self, $f: &mut Formatter<'_>) -> fmt::Result {
                let $p = self;
                write!($f, "{}", Pdu::from(*self).opcode())?;
                $line
            }
        })*

        impl Display for Pdu {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name(pdu) => pdu.fmt(f),)*
                }
            }
        }
    };
}

lines! {
    NopOut => |f, p| {
        tags(f, p.itt, Some(p.ttt), Some(p.lun))?;
        request(f, p.cmd_sn, p.exp_stat_sn)?;
        flags(f, &[(p.immediate_delivery, "I")])?;
        len(f, p.data_segment_len)
    }

    ScsiCommand => |f, p| {
        scsi_command(f, p)
    }

    TaskManagementRequest => |f, p| {
        tags(f, p.itt, None, Some(p.lun))?;
        request(f, p.cmd_sn, p.exp_stat_sn)?;
        flags(f, &[(p.immediate_delivery, "I")])?;
        write!(f, " {} ref_itt={}", p.function, Tag(p.referenced_task_tag.0))?;
        write!(f, " ref_cmd_sn={} exp_data_sn={}", p.ref_cmd_sn, p.exp_data_sn)
    }

    LoginRequest => |f, p| {
        tags(f, p.itt, None, None)?;
        request(f, p.cmd_sn, p.exp_stat_sn)?;
        flags(f, &[(p.transit, "T"), (p.cont, "C")])?;
        stages(f, p.csg, p.transit.then_some(p.nsg))?;
        write!(f, " isid={} tsih={} cid={}", p.isid, p.tsih, p.cid)?;
        write!(f, " version={}..{}", p.version_min, p.version_max)?;
        len(f, p.data_segment_len)
    }

    TextRequest => |f, p| {
        tags(f, p.itt, Some(p.ttt), None)?;
        request(f, p.cmd_sn, p.exp_stat_sn)?;
        flags(f, &[(p.immediate_delivery, "I"), (p.is_final, "F"), (p.cont, "C")])?;
        len(f, p.data_segment_len)
    }

    DataOut => |f, p| {
        tags(f, p.itt, Some(p.ttt), Some(p.lun))?;
        write!(f, " exp_stat_sn={} data_sn={}", p.exp_stat_sn, p.data_sn)?;
        flags(f, &[(p.is_final, "F")])?;
        write!(f, " offset={}", p.buffer_offset)?;
        len(f, p.data_segment_len)
    }

    LogoutRequest => |f, p| {
        tags(f, p.itt, None, None)?;
        request(f, p.cmd_sn, p.exp_stat_sn)?;
        flags(f, &[(p.immediate_delivery, "I")])?;
        write!(f, " {} cid={}", p.reason, p.cid)
    }

    SnackRequest => |f, p| {
        tags(f, p.itt, Some(p.ttt), Some(p.lun))?;
        write!(f, " exp_stat_sn={} {} beg_run={} run_len={}", p.exp_stat_sn, p.kind, p.beg_run, p.run_len)
    }

    NopIn => |f, p| {
        tags(f, p.itt, Some(p.ttt), Some(p.lun))?;
        response(f, p.stat_sn, p.exp_cmd_sn, p.max_cmd_sn)?;
        len(f, p.data_segment_len)
    }

    ScsiResponse => |f, p| {
        scsi_response(f, p)
    }

    TaskManagementResponse => |f, p| {
        tags(f, p.itt, None, None)?;
        response(f, p.stat_sn, p.exp_cmd_sn, p.max_cmd_sn)?;
        write!(f, " {}", p.response)
    }

    LoginResponse => |f, p| {
        tags(f, p.itt, None, None)?;
        response(f, p.stat_sn, p.exp_cmd_sn, p.max_cmd_sn)?;
        flags(f, &[(p.transit, "T"), (p.cont, "C")])?;
        stages(f, p.csg, p.transit.then_some(p.nsg))?;
        write!(f, " isid={} tsih={}", p.isid, p.tsih)?;
        write!(f, " version={}..{} {}", p.version_active, p.version_max, p.status)?;
        len(f, p.data_segment_len)
    }

    TextResponse => |f, p| {
        tags(f, p.itt, Some(p.ttt), None)?;
        response(f, p.stat_sn, p.exp_cmd_sn, p.max_cmd_sn)?;
        flags(f, &[(p.is_final, "F"), (p.cont, "C")])?;
        len(f, p.data_segment_len)
    }

    DataIn => |f, p| {
        data_in(f, p)
    }

    LogoutResponse => |f, p| {
        tags(f, p.itt, None, None)?;
        response(f, p.stat_sn, p.exp_cmd_sn, p.max_cmd_sn)?;
        write!(f, " {} time2wait={} time2retain={}", p.response, p.time2wait, p.time2retain)
    }

    R2t => |f, p| {
        tags(f, p.itt, Some(p.ttt), Some(p.lun))?;
        response(f, p.stat_sn, p.exp_cmd_sn, p.max_cmd_sn)?;
        write!(f, " r2t_sn={} offset={} desired={}", p.r2t_sn, p.buffer_offset, p.desired_len_bytes)
    }

    AsyncMessage => |f, p| {
        write!(f, " lun={}", p.lun)?;
        response(f, p.stat_sn, p.exp_cmd_sn, p.max_cmd_sn)?;
        write!(f, " {} vcode={}", p.event, p.vcode)?;
        write!(f, " parameters={},{},{}", p.parameter1, p.parameter2, p.parameter3)?;
        len(f, p.data_segment_len)
    }

    Reject => |f, p| {
        response(f, p.stat_sn, p.exp_cmd_sn, p.max_cmd_sn)?;
        write!(f, " {} data_sn={}", p.reason, p.data_sn)?;
        len(f, p.data_segment_len)
    }
}

fn scsi_command(f: &mut Formatter<'_>, p: &ScsiCommand) -> fmt::Result {
    tags(f, p.itt, None, Some(p.lun))?;
    request(f, p.cmd_sn, p.exp_stat_sn)?;
    flags(f, &[(p.immediate_delivery, "I"), (p.is_final, "F"), (p.read, "R"), (p.write, "W")])?;
    write!(f, " {} edtl={}", p.attr, p.edtl_bytes)?;
    len(f, p.data_segment_len)?;
    if p.total_ahs_words > 0 {
        write!(f, " ahs={}", u32::from(p.total_ahs_words) * 4)?;
    }
    // The operation code's group gives the length (SPC-4 clause 4.2.5.1).
    let cdb_len = match p.cdb[0] >> 5 {
        0 => 6,
        1 | 2 => 10,
        5 => 12,
        _ => 16,
    };
    f.write_str(" cdb=")?;
    p.cdb.iter().take(cdb_len).try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn scsi_response(f: &mut Formatter<'_>, p: &ScsiResponse) -> fmt::Result {
    tags(f, p.itt, None, None)?;
    response(f, p.stat_sn, p.exp_cmd_sn, p.max_cmd_sn)?;
    if p.response == ScsiResponse::COMMAND_COMPLETED {
        write!(f, " status={:#04x}", p.status)?;
    } else {
        write!(f, " response={:#04x}", p.response)?;
    }
    residual(f, p.overflow, p.underflow, "O", "U", p.residual_bytes)?;
    residual(f, p.bidi_overflow, p.bidi_underflow, "o", "u", p.bidi_residual_bytes)?;
    write!(f, " exp_data_sn={}", p.exp_data_sn)?;
    if p.snack_tag != 0 {
        write!(f, " snack_tag={:#x}", p.snack_tag)?;
    }
    len(f, p.data_segment_len)
}

fn data_in(f: &mut Formatter<'_>, p: &DataIn) -> fmt::Result {
    let acknowledge = p.acknowledge.then_some((p.ttt, p.lun));
    tags(f, p.itt, acknowledge.map(|(ttt, _)| ttt), acknowledge.map(|(_, lun)| lun))?;
    if p.has_status {
        write!(f, " stat_sn={}", p.stat_sn)?;
    }
    write!(f, " exp_cmd_sn={} max_cmd_sn={} data_sn={}", p.exp_cmd_sn, p.max_cmd_sn, p.data_sn)?;
    flags(f, &[(p.is_final, "F"), (p.acknowledge, "A"), (p.has_status, "S")])?;
    if p.has_status {
        write!(f, " status={:#04x}", p.status)?;
        residual(f, p.overflow, p.underflow, "O", "U", p.residual_bytes)?;
    }
    write!(f, " offset={}", p.buffer_offset)?;
    len(f, p.data_segment_len)
}

/// A task tag, `-` if it is reserved.
struct Tag(u32);

impl Display for Tag {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if Itt(self.0).is_reserved() { f.write_str("-") } else { write!(f, "{:#x}", self.0) }
    }
}

fn tags(f: &mut Formatter<'_>, itt: Itt, ttt: Option<Ttt>, lun: Option<Lun>) -> fmt::Result {
    write!(f, " itt={}", Tag(itt.0))?;
    if let Some(ttt) = ttt {
        write!(f, " ttt={}", Tag(ttt.0))?;
    }
    lun.map_or(Ok(()), |lun| write!(f, " lun={lun}"))
}

fn request(f: &mut Formatter<'_>, cmd_sn: CmdSn, exp_stat_sn: StatSn) -> fmt::Result {
    write!(f, " cmd_sn={cmd_sn} exp_stat_sn={exp_stat_sn}")
}

fn response(f: &mut Formatter<'_>, stat_sn: StatSn, exp_cmd_sn: CmdSn, max_cmd_sn: CmdSn) -> fmt::Result {
    write!(f, " stat_sn={stat_sn} exp_cmd_sn={exp_cmd_sn} max_cmd_sn={max_cmd_sn}")
}

fn flags(f: &mut Formatter<'_>, flags: &[(bool, &str)]) -> fmt::Result {
    flags.iter().filter(|(on, _)| *on).try_for_each(|(_, letter)| write!(f, " {letter}"))
}

fn stages(f: &mut Formatter<'_>, csg: u8, nsg: Option<u8>) -> fmt::Result {
    write!(f, " csg={csg}")?;
    nsg.map_or(Ok(()), |nsg| write!(f, " nsg={nsg}"))
}

fn residual(f: &mut Formatter<'_>, over: bool, under: bool, o: &str, u: &str, bytes: u32) -> fmt::Result {
    flags(f, &[(over, o), (under, u)])?;
    if over || under { write!(f, " residual={bytes}") } else { Ok(()) }
}

fn len(f: &mut Formatter<'_>, bytes: u32) -> fmt::Result {
    write!(f, " len={bytes}")
}
