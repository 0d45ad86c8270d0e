//! Logout Request (RFC 7143 section 11.14).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|I| 0x06      |1| Reason Code | Reserved                      |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8/ Reserved                                                      /
//!    16| Initiator Task Tag                                            |
//!    20| CID or Reserved               | Reserved                      |
//!    24| CmdSN                                                         |
//!    28| ExpStatSN                                                     |
//!    32/ Reserved                                                      /
//! ```

use crate::wire::bhs::{self, Bhs, FINAL, IMMEDIATE, Opcode, flag};
use crate::wire::ids::{Cid, Itt};
use crate::wire::serial::{CmdSn, StatSn};
use crate::wire::{WireError, open_enum};

const REASON: u8 = 0x7f;

open_enum! {
    /// Why the initiator logs out (RFC 7143 section 11.14.1): seven bits.
    pub struct LogoutReason(u8) {
        /// Close the session, with all its connections.
        CLOSE_SESSION = 0, "close the session";
        /// Close the connection.
        CLOSE_CONNECTION = 1, "close the connection";
        /// Remove the connection for recovery: its tasks may be reassigned.
        REMOVE_FOR_RECOVERY = 2, "remove the connection for recovery";
    }
}

/// Logout Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogoutRequest {
    /// The I bit.
    pub immediate_delivery: bool,
    /// Reason code.
    pub reason: LogoutReason,
    /// Initiator Task Tag.
    pub itt: Itt,
    /// The connection to close; valid unless the session is to be closed.
    pub cid: Cid,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
}

impl LogoutRequest {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::LOGOUT_REQUEST)?;
        Ok(Self {
            immediate_delivery: bhs::immediate_delivery(bhs),
            reason: LogoutReason(bhs[1] & REASON),
            itt: bhs::itt(bhs),
            cid: Cid(bhs::u16_at::<20>(bhs)),
            cmd_sn: CmdSn(bhs::u32_at::<24>(bhs)),
            exp_stat_sn: StatSn(bhs::u32_at::<28>(bhs)),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        *bhs = bhs::start(Opcode::LOGOUT_REQUEST, FINAL | (self.reason.0 & REASON));
        bhs[0] |= flag(self.immediate_delivery, IMMEDIATE);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u16::<20>(bhs, self.cid.0);
        bhs::put_u32::<24>(bhs, self.cmd_sn.0);
        bhs::put_u32::<28>(bhs, self.exp_stat_sn.0);
    }
}
