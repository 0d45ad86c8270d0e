//! Task Management Function Response (RFC 7143 section 11.6; Additional Response Information from RFC 7144 section 6.4).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x22      |1| Reserved    | Response      | Reserved      |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| Additional Response Information               | Reserved      |
//!    16| Initiator Task Tag                                            |
//!    20| Reserved                                                      |
//!    24| StatSN                                                        |
//!    28| ExpCmdSN                                                      |
//!    32| MaxCmdSN                                                      |
//!    36/ Reserved                                                      /
//! ```

use crate::wire::bhs::{self, Bhs, FINAL, Opcode};
use crate::wire::ids::Itt;
use crate::wire::serial::{CmdSn, StatSn};
use crate::wire::{WireError, open_enum};

open_enum! {
    /// Outcome of a task management function (RFC 7143 section 11.6.1, RFC 7144 section 6.4.2).
    pub struct TmResponse(u8) {
        /// Function complete.
        FUNCTION_COMPLETE = 0, "Function complete";
        /// Task does not exist.
        TASK_DOES_NOT_EXIST = 1, "Task does not exist";
        /// LUN does not exist.
        LUN_DOES_NOT_EXIST = 2, "LUN does not exist";
        /// Task still allegiant.
        TASK_STILL_ALLEGIANT = 3, "Task still allegiant";
        /// Task allegiance reassignment not supported.
        REASSIGNMENT_NOT_SUPPORTED = 4, "Task allegiance reassignment not supported";
        /// Task management function not supported.
        FUNCTION_NOT_SUPPORTED = 5, "Task management function not supported";
        /// Function authorization failed.
        AUTHORIZATION_FAILED = 6, "Function authorization failed";
        /// Function succeeded (RFC 7144).
        FUNCTION_SUCCEEDED = 7, "Function succeeded";
        /// Function rejected.
        FUNCTION_REJECTED = 255, "Function rejected";
    }
}

/// Task Management Function Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagementResponse {
    /// The outcome.
    pub response: TmResponse,
    /// What SAM-5 adds to "Function succeeded"; 0 unless iSCSIProtocolLevel 2 was negotiated (RFC 7144 section 6.4).
    pub additional_info: [u8; 3],
    /// Initiator Task Tag of the request.
    pub itt: Itt,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
}

impl TaskManagementResponse {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::TASK_MANAGEMENT_RESPONSE)?;
        Ok(Self {
            response: TmResponse(bhs[2]),
            additional_info: bhs::field::<8, 3>(bhs),
            itt: bhs::itt(bhs),
            stat_sn: StatSn(bhs::u32_at::<24>(bhs)),
            exp_cmd_sn: CmdSn(bhs::u32_at::<28>(bhs)),
            max_cmd_sn: CmdSn(bhs::u32_at::<32>(bhs)),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        //= RFC 7143 section 11.6.2
        //# For this PDU, TotalAHSLength and DataSegmentLength MUST be 0.
        *bhs = bhs::start(Opcode::TASK_MANAGEMENT_RESPONSE, FINAL);
        bhs[2] = self.response.0;
        bhs::put::<8, 3>(bhs, self.additional_info);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::stamp(bhs, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn);
    }
}
