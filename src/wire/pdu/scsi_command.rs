//! SCSI Command (RFC 7143 section 11.3; PRI from RFC 7144 section 5.1).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|I| 0x01      |F|R|W|. .|ATTR | PRI   |  Reserved             |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| Logical Unit Number (LUN)                                     |
//!    16| Initiator Task Tag                                            |
//!    20| Expected Data Transfer Length                                 |
//!    24| CmdSN                                                         |
//!    28| ExpStatSN                                                     |
//!    32/ SCSI Command Descriptor Block (CDB)                           /
//! ```

use crate::wire::bhs::{self, Bhs, FINAL, IMMEDIATE, Opcode, flag};
use crate::wire::ids::{Itt, Lun};
use crate::wire::serial::{CmdSn, StatSn};
use crate::wire::{WireError, open_enum};

const READ: u8 = 0x40;
const WRITE: u8 = 0x20;
const ATTR: u8 = 0x07;

open_enum! {
    /// Task attribute (RFC 7143 section 11.3.1, SAM-5 clause 8.6): three bits.
    pub struct TaskAttr(u8) {
        /// Untagged: handled as SIMPLE by today's SAM.
        UNTAGGED = 0, "untagged";
        /// SIMPLE.
        SIMPLE = 1, "simple";
        /// ORDERED.
        ORDERED = 2, "ordered";
        /// HEAD OF QUEUE.
        HEAD_OF_QUEUE = 3, "head of queue";
        /// ACA.
        ACA = 4, "ACA";
    }
}

/// SCSI Command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiCommand {
    /// The I bit.
    pub immediate_delivery: bool,
    /// The F bit: no unsolicited Data-Out follows.
    pub is_final: bool,
    /// The R bit: data is expected to flow to the initiator.
    pub read: bool,
    /// The W bit: data is expected to flow to the target.
    pub write: bool,
    /// Task attribute.
    pub attr: TaskAttr,
    /// Command priority, four bits; means something only under iSCSIProtocolLevel 2 (RFC 7144 section 5.1.1).
    pub priority: u8,
    /// TotalAHSLength in words of four bytes.
    pub total_ahs_words: u8,
    /// Length of the immediate data in bytes.
    pub data_segment_len: u32,
    /// The addressed logical unit.
    pub lun: Lun,
    /// Initiator Task Tag.
    pub itt: Itt,
    /// Expected Data Transfer Length in bytes: of the write where both R and W are set.
    pub edtl_bytes: u32,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// The first 16 bytes of the CDB; longer ones go on in an AHS (see [`ahs::cdb`](crate::wire::ahs::cdb)).
    pub cdb: [u8; 16],
}

impl ScsiCommand {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::SCSI_COMMAND)?;
        Ok(Self::read(bhs))
    }

    /// Reads a header that is known to be one of these.
    #[inline]
    pub(crate) fn read(bhs: &Bhs) -> Self {
        Self {
            immediate_delivery: bhs::immediate_delivery(bhs),
            is_final: bhs::is_final(bhs),
            read: bhs[1] & READ != 0,
            write: bhs[1] & WRITE != 0,
            attr: TaskAttr(bhs[1] & ATTR),
            priority: bhs[2] >> 4,
            total_ahs_words: bhs[4],
            data_segment_len: bhs::data_segment_len(bhs) as u32,
            lun: bhs::lun(bhs),
            itt: bhs::itt(bhs),
            edtl_bytes: bhs::u32_at::<20>(bhs),
            cmd_sn: CmdSn(bhs::u32_at::<24>(bhs)),
            exp_stat_sn: StatSn(bhs::u32_at::<28>(bhs)),
            cdb: bhs::field::<32, 16>(bhs),
        }
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let flags = flag(self.is_final, FINAL) | flag(self.read, READ) | flag(self.write, WRITE) | (self.attr.0 & ATTR);
        *bhs = bhs::start(Opcode::SCSI_COMMAND, flags);
        bhs[0] |= flag(self.immediate_delivery, IMMEDIATE);
        bhs[2] = self.priority << 4;
        bhs[4] = self.total_ahs_words;
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.edtl_bytes);
        bhs::put_u32::<24>(bhs, self.cmd_sn.0);
        bhs::put_u32::<28>(bhs, self.exp_stat_sn.0);
        bhs::put::<32, 16>(bhs, self.cdb);
    }
}
