//! SNACK Request (RFC 7143 section 11.16).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x10      |1|.|.|.| Type  | Reserved                      |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| LUN or Reserved                                               |
//!    16| Initiator Task Tag or 0xffffffff                              |
//!    20| Target Transfer Tag or SNACK Tag or 0xffffffff                |
//!    24| Reserved                                                      |
//!    28| ExpStatSN                                                     |
//!    32/ Reserved                                                      /
//!    40| BegRun                                                        |
//!    44| RunLength                                                     |
//! ```

use crate::wire::bhs::{self, Bhs, FINAL, Opcode};
use crate::wire::ids::{Itt, Lun, Ttt};
use crate::wire::serial::StatSn;
use crate::wire::{WireError, open_enum};

const TYPE: u8 = 0x0f;

open_enum! {
    /// What a SNACK asks for or acknowledges (RFC 7143 section 11.16.1): four bits.
    pub struct SnackType(u8) {
        /// Data/R2T SNACK.
        DATA_R2T = 0, "Data/R2T";
        /// Status SNACK.
        STATUS = 1, "Status";
        /// DataACK.
        DATA_ACK = 2, "DataACK";
        /// R-Data SNACK.
        R_DATA = 3, "R-Data";
    }
}

/// SNACK Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnackRequest {
    /// Type.
    pub kind: SnackType,
    /// For DataACK: copy of the Data-In's LUN.
    pub lun: Lun,
    /// Tag of the command; reserved for Status SNACK and DataACK.
    pub itt: Itt,
    /// For DataACK: copy of the Data-In's tag. For R-Data: the SNACK Tag. Else reserved.
    pub ttt: Ttt,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// The first DataSN, R2TSN or StatSN that is asked for; for DataACK the next expected DataSN.
    pub beg_run: u32,
    /// How many are asked for; 0 for all from `beg_run` on.
    pub run_len: u32,
}

impl SnackRequest {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::SNACK_REQUEST)?;
        Ok(Self {
            kind: SnackType(bhs[1] & TYPE),
            lun: bhs::lun(bhs),
            itt: bhs::itt(bhs),
            ttt: Ttt(bhs::u32_at::<20>(bhs)),
            exp_stat_sn: StatSn(bhs::u32_at::<28>(bhs)),
            beg_run: bhs::u32_at::<40>(bhs),
            run_len: bhs::u32_at::<44>(bhs),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        *bhs = bhs::start(Opcode::SNACK_REQUEST, FINAL | (self.kind.0 & TYPE));
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.ttt.0);
        bhs::put_u32::<28>(bhs, self.exp_stat_sn.0);
        bhs::put_u32::<40>(bhs, self.beg_run);
        bhs::put_u32::<44>(bhs, self.run_len);
    }
}
