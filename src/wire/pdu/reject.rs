//! Reject (RFC 7143 section 11.17).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x3f      |1| Reserved    | Reason        | Reserved      |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8/ Reserved                                                      /
//!    16| 0xffffffff                                                    |
//!    20| Reserved                                                      |
//!    24| StatSN                                                        |
//!    28| ExpCmdSN                                                      |
//!    32| MaxCmdSN                                                      |
//!    36| DataSN/R2TSN or Reserved                                      |
//!    40| Reserved                                                      |
//!    44| Reserved                                                      |
//! ```

use crate::wire::bhs::{self, Bhs, FINAL, Opcode};
use crate::wire::ids::Itt;
use crate::wire::serial::{CmdSn, DataSn, StatSn};
use crate::wire::{WireError, open_enum};

open_enum! {
    //= RFC 7143 section 11.17.1
    //# | 0x0b | Deprecated; MUST NOT be used | N/A (Note 3) |
    //= RFC 7143 section 11.17.1
    //# Note 3: Reason code 0x0b ("Negotiation Reset") as defined in Section
    //# 10.17.1 of [RFC3720] is deprecated and MUST NOT be used by
    //# implementations.
    /// Why a PDU was rejected (RFC 7143 section 11.17.1).
    pub struct RejectReason(u8) {
        /// Data (payload) digest error.
        DATA_DIGEST_ERROR = 0x02, "Data (payload) digest error";
        /// SNACK Reject.
        SNACK_REJECT = 0x03, "SNACK Reject";
        /// Protocol Error.
        PROTOCOL_ERROR = 0x04, "Protocol Error";
        /// Command not supported.
        COMMAND_NOT_SUPPORTED = 0x05, "Command not supported";
        /// Immediate command reject: too many immediate commands.
        IMMEDIATE_COMMAND_REJECT = 0x06, "Immediate command reject";
        /// Task in progress.
        TASK_IN_PROGRESS = 0x07, "Task in progress";
        /// Invalid data ack.
        INVALID_DATA_ACK = 0x08, "Invalid data ack";
        /// Invalid PDU field.
        INVALID_PDU_FIELD = 0x09, "Invalid PDU field";
        /// Long op reject: can't generate Target Transfer Tag, out of resources.
        LONG_OP_REJECT = 0x0a, "Long op reject";
        /// Waiting for Logout.
        WAITING_FOR_LOGOUT = 0x0c, "Waiting for Logout";
    }
}

/// Reject. The header of the bad PDU travels in the data segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Reason.
    pub reason: RejectReason,
    /// Length of the data segment in bytes.
    pub data_segment_len: u32,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// DataSN/R2TSN: for a rejected Data/R2T SNACK, the next number that the target would send for the task.
    pub data_sn: DataSn,
}

impl Reject {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::REJECT)?;
        Ok(Self {
            reason: RejectReason(bhs[2]),
            data_segment_len: bhs::data_segment_len(bhs) as u32,
            stat_sn: StatSn(bhs::u32_at::<24>(bhs)),
            exp_cmd_sn: CmdSn(bhs::u32_at::<28>(bhs)),
            max_cmd_sn: CmdSn(bhs::u32_at::<32>(bhs)),
            data_sn: DataSn(bhs::u32_at::<36>(bhs)),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        *bhs = bhs::start(Opcode::REJECT, FINAL);
        bhs[2] = self.reason.0;
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put_u32::<16>(bhs, Itt::RESERVED.0);
        bhs::stamp(bhs, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn);
        bhs::put_u32::<36>(bhs, self.data_sn.0);
    }
}
