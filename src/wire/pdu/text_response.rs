//! Text Response (RFC 7143 section 11.11).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x24      |F|C| Reserved                                  |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| LUN or Reserved                                               |
//!    16| Initiator Task Tag                                            |
//!    20| Target Transfer Tag or 0xffffffff                             |
//!    24| StatSN                                                        |
//!    28| ExpCmdSN                                                      |
//!    32| MaxCmdSN                                                      |
//!    36/ Reserved                                                      /
//! ```

use super::login_request::CONTINUE;
use crate::wire::WireError;
use crate::wire::bhs::{self, Bhs, FINAL, Opcode, flag};
use crate::wire::ids::{Itt, Lun, Ttt};
use crate::wire::serial::{CmdSn, StatSn};

/// Text Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextResponse {
    /// The F bit: the target has finished the operation.
    pub is_final: bool,
    /// The C bit: the text goes on in the next response.
    pub cont: bool,
    /// Length of the text in bytes.
    pub data_segment_len: u32,
    /// To be copied into the next request, with `ttt`.
    pub lun: Lun,
    /// Initiator Task Tag.
    pub itt: Itt,
    /// Names the operation that goes on; reserved if it is finished.
    pub ttt: Ttt,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
}

impl TextResponse {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::TEXT_RESPONSE)?;
        Ok(Self {
            is_final: bhs::is_final(bhs),
            cont: bhs[1] & CONTINUE != 0,
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
        *bhs = bhs::start(Opcode::TEXT_RESPONSE, flag(self.is_final, FINAL) | flag(self.cont, CONTINUE));
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.ttt.0);
        bhs::stamp(bhs, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn);
    }
}
