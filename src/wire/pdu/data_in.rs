//! SCSI Data-In (RFC 7143 section 11.7).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x25      |F|A|0 0 0|O|U|S| Reserved      |Status or Rsvd |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| LUN or Reserved                                               |
//!    16| Initiator Task Tag                                            |
//!    20| Target Transfer Tag or 0xffffffff                             |
//!    24| StatSN or Reserved                                            |
//!    28| ExpCmdSN                                                      |
//!    32| MaxCmdSN                                                      |
//!    36| DataSN                                                        |
//!    40| Buffer Offset                                                 |
//!    44| Residual Count                                                |
//! ```

use super::scsi_response::{OVERFLOW, UNDERFLOW};
use crate::wire::WireError;
use crate::wire::bhs::{self, Bhs, FINAL, Opcode, flag};
use crate::wire::ids::{Itt, Lun, Ttt};
use crate::wire::serial::{CmdSn, DataSn, StatSn};

const ACKNOWLEDGE: u8 = 0x40;
const STATUS: u8 = 0x01;

/// SCSI Data-In: data of a read command, with its status if that is a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataIn {
    /// The F bit: the last PDU of a sequence.
    pub is_final: bool,
    /// The A bit: the target asks for a DataACK SNACK.
    pub acknowledge: bool,
    /// The O bit; valid with `has_status`.
    pub overflow: bool,
    /// The U bit; valid with `has_status`.
    pub underflow: bool,
    /// The S bit: `status`, `stat_sn` and the residual are valid.
    pub has_status: bool,
    /// The SCSI status.
    pub status: u8,
    /// Length of the data in bytes.
    pub data_segment_len: u32,
    /// To be copied into the DataACK SNACK; valid with `acknowledge`.
    pub lun: Lun,
    /// Initiator Task Tag of the command.
    pub itt: Itt,
    /// To be copied into the DataACK SNACK; valid with `acknowledge`, else reserved.
    pub ttt: Ttt,
    /// StatSN; valid with `has_status`.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Number of this PDU within the command.
    pub data_sn: DataSn,
    /// Where this data belongs within the command's transfer, in bytes.
    pub buffer_offset: u32,
    /// Residual in bytes; valid with `overflow` or `underflow`.
    pub residual_bytes: u32,
}

impl DataIn {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::SCSI_DATA_IN)?;
        Ok(Self {
            is_final: bhs::is_final(bhs),
            acknowledge: bhs[1] & ACKNOWLEDGE != 0,
            overflow: bhs[1] & OVERFLOW != 0,
            underflow: bhs[1] & UNDERFLOW != 0,
            has_status: bhs[1] & STATUS != 0,
            status: bhs[3],
            data_segment_len: bhs::data_segment_len(bhs) as u32,
            lun: bhs::lun(bhs),
            itt: bhs::itt(bhs),
            ttt: Ttt(bhs::u32_at::<20>(bhs)),
            stat_sn: StatSn(bhs::u32_at::<24>(bhs)),
            exp_cmd_sn: CmdSn(bhs::u32_at::<28>(bhs)),
            max_cmd_sn: CmdSn(bhs::u32_at::<32>(bhs)),
            data_sn: DataSn(bhs::u32_at::<36>(bhs)),
            buffer_offset: bhs::u32_at::<40>(bhs),
            residual_bytes: bhs::u32_at::<44>(bhs),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let flags = flag(self.is_final, FINAL)
            | flag(self.acknowledge, ACKNOWLEDGE)
            | flag(self.overflow, OVERFLOW)
            | flag(self.underflow, UNDERFLOW)
            | flag(self.has_status, STATUS);
        *bhs = bhs::start(Opcode::SCSI_DATA_IN, flags);
        bhs[3] = self.status;
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.ttt.0);
        bhs::stamp(bhs, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn);
        bhs::put_u32::<36>(bhs, self.data_sn.0);
        bhs::put_u32::<40>(bhs, self.buffer_offset);
        bhs::put_u32::<44>(bhs, self.residual_bytes);
    }
}
