//! Logout Response (RFC 7143 section 11.15).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x26      |1| Reserved    | Response      | Reserved      |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8/ Reserved                                                      /
//!    16| Initiator Task Tag                                            |
//!    20| Reserved                                                      |
//!    24| StatSN                                                        |
//!    28| ExpCmdSN                                                      |
//!    32| MaxCmdSN                                                      |
//!    36| Reserved                                                      |
//!    40| Time2Wait                     | Time2Retain                   |
//!    44| Reserved                                                      |
//! ```

use crate::wire::bhs::{self, Bhs, FINAL, Opcode};
use crate::wire::ids::Itt;
use crate::wire::serial::{CmdSn, StatSn};
use crate::wire::{WireError, open_enum};

open_enum! {
    /// The Response field of a Logout Response (RFC 7143 section 11.15.1).
    pub struct LogoutResult(u8) {
        /// Connection or session closed successfully.
        CLOSED = 0, "closed";
        /// CID not found.
        CID_NOT_FOUND = 1, "CID not found";
        /// Connection recovery is not supported.
        RECOVERY_NOT_SUPPORTED = 2, "connection recovery is not supported";
        /// Cleanup failed for various reasons.
        CLEANUP_FAILED = 3, "cleanup failed";
    }
}

/// Logout Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogoutResponse {
    /// The outcome.
    pub response: LogoutResult,
    /// Initiator Task Tag.
    pub itt: Itt,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Seconds to wait before tasks may be reassigned, or a new logout attempted.
    pub time2wait: u16,
    /// Seconds after that during which the target keeps the tasks.
    pub time2retain: u16,
}

impl LogoutResponse {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::LOGOUT_RESPONSE)?;
        Ok(Self {
            response: LogoutResult(bhs[2]),
            itt: bhs::itt(bhs),
            stat_sn: StatSn(bhs::u32_at::<24>(bhs)),
            exp_cmd_sn: CmdSn(bhs::u32_at::<28>(bhs)),
            max_cmd_sn: CmdSn(bhs::u32_at::<32>(bhs)),
            time2wait: bhs::u16_at::<40>(bhs),
            time2retain: bhs::u16_at::<42>(bhs),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        //= RFC 7143 section 11.15.2
        //# For this PDU, TotalAHSLength and DataSegmentLength MUST be 0.
        *bhs = bhs::start(Opcode::LOGOUT_RESPONSE, FINAL);
        bhs[2] = self.response.0;
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::stamp(bhs, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn);
        bhs::put_u16::<40>(bhs, self.time2wait);
        bhs::put_u16::<42>(bhs, self.time2retain);
    }
}
