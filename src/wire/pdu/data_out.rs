//! SCSI Data-Out (RFC 7143 section 11.7).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x05      |F| Reserved                                    |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| LUN or Reserved                                               |
//!    16| Initiator Task Tag                                            |
//!    20| Target Transfer Tag or 0xffffffff                             |
//!    24| Reserved                                                      |
//!    28| ExpStatSN                                                     |
//!    32| Reserved                                                      |
//!    36| DataSN                                                        |
//!    40| Buffer Offset                                                 |
//!    44| Reserved                                                      |
//! ```

use crate::wire::WireError;
use crate::wire::bhs::{self, Bhs, FINAL, Opcode, flag};
use crate::wire::ids::{Itt, Lun, Ttt};
use crate::wire::serial::{DataSn, StatSn};

/// SCSI Data-Out: data of a write command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataOut {
    /// The F bit: the last PDU of the unsolicited data, or of the answer to an R2T.
    pub is_final: bool,
    /// Length of the data in bytes.
    pub data_segment_len: u32,
    /// Copy of the R2T's LUN, where `ttt` is set.
    pub lun: Lun,
    /// Initiator Task Tag of the command.
    pub itt: Itt,
    /// Copy of the R2T's tag; reserved for unsolicited data.
    pub ttt: Ttt,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// Number of this PDU within its burst.
    pub data_sn: DataSn,
    /// Where this data belongs within the command's transfer, in bytes.
    pub buffer_offset: u32,
}

impl DataOut {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::SCSI_DATA_OUT)?;
        Ok(Self {
            is_final: bhs::is_final(bhs),
            data_segment_len: bhs::data_segment_len(bhs) as u32,
            lun: bhs::lun(bhs),
            itt: bhs::itt(bhs),
            ttt: Ttt(bhs::u32_at::<20>(bhs)),
            exp_stat_sn: StatSn(bhs::u32_at::<28>(bhs)),
            data_sn: DataSn(bhs::u32_at::<36>(bhs)),
            buffer_offset: bhs::u32_at::<40>(bhs),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        *bhs = bhs::start(Opcode::SCSI_DATA_OUT, flag(self.is_final, FINAL));
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.ttt.0);
        bhs::put_u32::<28>(bhs, self.exp_stat_sn.0);
        bhs::put_u32::<36>(bhs, self.data_sn.0);
        bhs::put_u32::<40>(bhs, self.buffer_offset);
    }
}
