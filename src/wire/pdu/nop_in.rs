//! NOP-In (RFC 7143 section 11.19).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x20      |1| Reserved                                    |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| LUN or Reserved                                               |
//!    16| Initiator Task Tag or 0xffffffff                              |
//!    20| Target Transfer Tag or 0xffffffff                             |
//!    24| StatSN                                                        |
//!    28| ExpCmdSN                                                      |
//!    32| MaxCmdSN                                                      |
//!    36/ Reserved                                                      /
//! ```

use crate::wire::WireError;
use crate::wire::bhs::{self, Bhs, FINAL, Opcode};
use crate::wire::ids::{Itt, Lun, Ttt};
use crate::wire::serial::{CmdSn, StatSn};

/// NOP-In: the answer to a ping, a ping, or a carrier of new counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NopIn {
    /// Length of the returned ping data in bytes.
    pub data_segment_len: u32,
    /// To be copied into the NOP-Out, where `ttt` is set.
    pub lun: Lun,
    /// Copy of the NOP-Out's tag; reserved if the target speaks first.
    pub itt: Itt,
    /// Set if an answer is wanted; else reserved.
    pub ttt: Ttt,
    /// The next StatSN; used up only if `itt` is set.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
}

impl NopIn {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::NOP_IN)?;
        Ok(Self {
            data_segment_len: bhs::data_segment_len(bhs) as u32,
            lun: bhs::lun(bhs),
            itt: bhs::itt(bhs),
            ttt: Ttt(bhs::u32_at::<20>(bhs)),
            stat_sn: StatSn(bhs::u32_at::<24>(bhs)),
            exp_cmd_sn: CmdSn(bhs::u32_at::<28>(bhs)),
            max_cmd_sn: CmdSn(bhs::u32_at::<32>(bhs)),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        *bhs = bhs::start(Opcode::NOP_IN, FINAL);
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.ttt.0);
        bhs::stamp(bhs, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn);
    }
}
