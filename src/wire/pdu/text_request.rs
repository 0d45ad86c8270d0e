//! Text Request (RFC 7143 section 11.10).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|I| 0x04      |F|C| Reserved                                  |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| LUN or Reserved                                               |
//!    16| Initiator Task Tag                                            |
//!    20| Target Transfer Tag or 0xffffffff                             |
//!    24| CmdSN                                                         |
//!    28| ExpStatSN                                                     |
//!    32/ Reserved                                                      /
//! ```

use super::login_request::CONTINUE;
use crate::wire::WireError;
use crate::wire::bhs::{self, Bhs, FINAL, IMMEDIATE, Opcode, flag};
use crate::wire::ids::{Itt, Lun, Ttt};
use crate::wire::serial::{CmdSn, StatSn};

/// Text Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRequest {
    /// The I bit.
    pub immediate_delivery: bool,
    /// The F bit: the last or only request of the sequence.
    pub is_final: bool,
    /// The C bit: the text goes on in the next request.
    pub cont: bool,
    /// Length of the text in bytes.
    pub data_segment_len: u32,
    /// Copy of the response's LUN, where `ttt` is set.
    pub lun: Lun,
    /// Initiator Task Tag.
    pub itt: Itt,
    /// Copy of the response's tag; reserved for a new request.
    pub ttt: Ttt,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
}

impl TextRequest {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::TEXT_REQUEST)?;
        Ok(Self {
            immediate_delivery: bhs::immediate_delivery(bhs),
            is_final: bhs::is_final(bhs),
            cont: bhs[1] & CONTINUE != 0,
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
        *bhs = bhs::start(Opcode::TEXT_REQUEST, flag(self.is_final, FINAL) | flag(self.cont, CONTINUE));
        bhs[0] |= flag(self.immediate_delivery, IMMEDIATE);
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.ttt.0);
        bhs::put_u32::<24>(bhs, self.cmd_sn.0);
        bhs::put_u32::<28>(bhs, self.exp_stat_sn.0);
    }
}
