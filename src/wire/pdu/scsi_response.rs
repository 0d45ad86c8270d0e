//! SCSI Response (RFC 7143 section 11.4; Status Qualifier from RFC 7144 section 5.2).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x21      |1|. .|o|u|O|U|.| Response      | Status        |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| Status Qualifier              | Reserved                      |
//!    16| Initiator Task Tag                                            |
//!    20| SNACK Tag or Reserved                                         |
//!    24| StatSN                                                        |
//!    28| ExpCmdSN                                                      |
//!    32| MaxCmdSN                                                      |
//!    36| ExpDataSN or Reserved                                         |
//!    40| Bidirectional Read Residual Count or Reserved                 |
//!    44| Residual Count or Reserved                                    |
//! ```

use crate::wire::WireError;
use crate::wire::bhs::{self, Bhs, FINAL, Opcode, flag};
use crate::wire::ids::Itt;
use crate::wire::serial::{CmdSn, StatSn};

const BIDI_OVERFLOW: u8 = 0x10;
const BIDI_UNDERFLOW: u8 = 0x08;
/// The O bit; Data-In has it at the same place.
pub(super) const OVERFLOW: u8 = 0x04;
/// The U bit; Data-In has it at the same place.
pub(super) const UNDERFLOW: u8 = 0x02;

/// SCSI Response. Sense data travels in the data segment, after its own two-byte length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiResponse {
    /// The o bit: `bidi_residual_bytes` more would have been read, had there been room.
    pub bidi_overflow: bool,
    /// The u bit: `bidi_residual_bytes` fewer were read than expected.
    pub bidi_underflow: bool,
    /// The O bit: `residual_bytes` more would have been transferred, had the expected length allowed it.
    pub overflow: bool,
    /// The U bit: `residual_bytes` fewer were transferred than expected.
    pub underflow: bool,
    /// The iSCSI service response: [`Self::COMMAND_COMPLETED`] or [`Self::TARGET_FAILURE`].
    pub response: u8,
    /// The SCSI status; valid only with [`Self::COMMAND_COMPLETED`].
    pub status: u8,
    /// Status Qualifier; means something only under iSCSIProtocolLevel 2 (RFC 7144 section 5.2.1).
    pub status_qualifier: u16,
    /// Length of the data segment in bytes.
    pub data_segment_len: u32,
    /// Initiator Task Tag.
    pub itt: Itt,
    /// Copy of the last accepted R-Data SNACK's tag, else 0.
    pub snack_tag: u32,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Number of Data-In PDUs that were sent for the command.
    pub exp_data_sn: u32,
    /// Residual of the read of a bidirectional command, in bytes.
    pub bidi_residual_bytes: u32,
    /// Residual in bytes.
    pub residual_bytes: u32,
}

impl ScsiResponse {
    /// Command Completed at Target.
    pub const COMMAND_COMPLETED: u8 = 0x00;
    /// Target Failure.
    pub const TARGET_FAILURE: u8 = 0x01;

    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::SCSI_RESPONSE)?;
        Ok(Self {
            bidi_overflow: bhs[1] & BIDI_OVERFLOW != 0,
            bidi_underflow: bhs[1] & BIDI_UNDERFLOW != 0,
            overflow: bhs[1] & OVERFLOW != 0,
            underflow: bhs[1] & UNDERFLOW != 0,
            response: bhs[2],
            status: bhs[3],
            status_qualifier: bhs::u16_at::<8>(bhs),
            data_segment_len: bhs::data_segment_len(bhs) as u32,
            itt: bhs::itt(bhs),
            snack_tag: bhs::u32_at::<20>(bhs),
            stat_sn: StatSn(bhs::u32_at::<24>(bhs)),
            exp_cmd_sn: CmdSn(bhs::u32_at::<28>(bhs)),
            max_cmd_sn: CmdSn(bhs::u32_at::<32>(bhs)),
            exp_data_sn: bhs::u32_at::<36>(bhs),
            bidi_residual_bytes: bhs::u32_at::<40>(bhs),
            residual_bytes: bhs::u32_at::<44>(bhs),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let flags = flag(self.bidi_overflow, BIDI_OVERFLOW)
            | flag(self.bidi_underflow, BIDI_UNDERFLOW)
            | flag(self.overflow, OVERFLOW)
            | flag(self.underflow, UNDERFLOW);
        *bhs = bhs::start(Opcode::SCSI_RESPONSE, FINAL | flags);
        bhs[2] = self.response;
        bhs[3] = self.status;
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put_u16::<8>(bhs, self.status_qualifier);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.snack_tag);
        bhs::stamp(bhs, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn);
        bhs::put_u32::<36>(bhs, self.exp_data_sn);
        bhs::put_u32::<40>(bhs, self.bidi_residual_bytes);
        bhs::put_u32::<44>(bhs, self.residual_bytes);
    }
}
