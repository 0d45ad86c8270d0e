//! NOP-Out (RFC 7143 section 11.18).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|I| 0x00      |1| Reserved                                    |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| LUN or Reserved                                               |
//!    16| Initiator Task Tag or 0xffffffff                              |
//!    20| Target Transfer Tag or 0xffffffff                             |
//!    24| CmdSN                                                         |
//!    28| ExpStatSN                                                     |
//!    32/ Reserved                                                      /
//! ```

use crate::wire::WireError;
use crate::wire::bhs::{self, Bhs, FINAL, IMMEDIATE, Opcode, flag};
use crate::wire::ids::{Itt, Lun, Ttt};
use crate::wire::serial::{CmdSn, StatSn};

/// NOP-Out: a ping, or the answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NopOut {
    /// The I bit.
    pub immediate_delivery: bool,
    /// Length of the ping data in bytes.
    pub data_segment_len: u32,
    /// Copy of the NOP-In's LUN, where `ttt` is set.
    pub lun: Lun,
    /// Set if an answer is wanted; else reserved.
    pub itt: Itt,
    /// Copy of the NOP-In's tag; else reserved.
    pub ttt: Ttt,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
}

impl NopOut {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::NOP_OUT)?;
        Ok(Self {
            immediate_delivery: bhs::immediate_delivery(bhs),
            data_segment_len: bhs::data_segment_len(bhs) as u32,
            lun: bhs::lun(bhs),
            itt: bhs::itt(bhs),
            ttt: Ttt(bhs::u32_at::<20>(bhs)),
            cmd_sn: CmdSn(bhs::u32_at::<24>(bhs)),
            exp_stat_sn: StatSn(bhs::u32_at::<28>(bhs)),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        *bhs = bhs::start(Opcode::NOP_OUT, FINAL);
        bhs[0] |= flag(self.immediate_delivery, IMMEDIATE);
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.ttt.0);
        bhs::put_u32::<24>(bhs, self.cmd_sn.0);
        bhs::put_u32::<28>(bhs, self.exp_stat_sn.0);
    }
}
