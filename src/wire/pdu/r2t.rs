//! Ready To Transfer (RFC 7143 section 11.8).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x31      |1| Reserved                                    |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| LUN                                                           |
//!    16| Initiator Task Tag                                            |
//!    20| Target Transfer Tag                                           |
//!    24| StatSN                                                        |
//!    28| ExpCmdSN                                                      |
//!    32| MaxCmdSN                                                      |
//!    36| R2TSN                                                         |
//!    40| Buffer Offset                                                 |
//!    44| Desired Data Transfer Length                                  |
//! ```

use crate::wire::WireError;
use crate::wire::bhs::{self, Bhs, FINAL, Opcode};
use crate::wire::ids::{Itt, Lun, Ttt};
use crate::wire::serial::{CmdSn, R2tSn, StatSn};

/// Ready To Transfer: the target asks for a part of a write's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R2t {
    /// The logical unit; the initiator copies it into its Data-Out PDUs.
    pub lun: Lun,
    /// Initiator Task Tag of the command.
    pub itt: Itt,
    /// The target's own tag for this request; the initiator copies it into its Data-Out PDUs.
    pub ttt: Ttt,
    /// The next StatSN; this PDU does not use it up.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Number of this PDU within the command.
    pub r2t_sn: R2tSn,
    /// Where the asked-for data begins within the command's transfer, in bytes.
    pub buffer_offset: u32,
    /// Desired Data Transfer Length in bytes.
    pub desired_len_bytes: u32,
}

impl R2t {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::R2T)?;
        Ok(Self {
            lun: bhs::lun(bhs),
            itt: bhs::itt(bhs),
            ttt: Ttt(bhs::u32_at::<20>(bhs)),
            stat_sn: StatSn(bhs::u32_at::<24>(bhs)),
            exp_cmd_sn: CmdSn(bhs::u32_at::<28>(bhs)),
            max_cmd_sn: CmdSn(bhs::u32_at::<32>(bhs)),
            r2t_sn: R2tSn(bhs::u32_at::<36>(bhs)),
            buffer_offset: bhs::u32_at::<40>(bhs),
            desired_len_bytes: bhs::u32_at::<44>(bhs),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        //= RFC 7143 section 11.8.1
        //# For this PDU, TotalAHSLength and DataSegmentLength MUST be 0.
        *bhs = bhs::start(Opcode::R2T, FINAL);
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.ttt.0);
        bhs::stamp(bhs, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn);
        bhs::put_u32::<36>(bhs, self.r2t_sn.0);
        bhs::put_u32::<40>(bhs, self.buffer_offset);
        bhs::put_u32::<44>(bhs, self.desired_len_bytes);
    }
}
