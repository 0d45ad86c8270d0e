//! Task Management Function Request (RFC 7143 section 11.5; functions 9 to 12 from RFC 7144 section 6.3).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|I| 0x02      |1| Function    | Reserved                      |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| Logical Unit Number (LUN) or Reserved                         |
//!    16| Initiator Task Tag                                            |
//!    20| Referenced Task Tag or 0xffffffff                             |
//!    24| CmdSN                                                         |
//!    28| ExpStatSN                                                     |
//!    32| RefCmdSN or Reserved                                          |
//!    36| ExpDataSN or Reserved                                         |
//!    40/ Reserved                                                      /
//! ```

use crate::wire::bhs::{self, Bhs, FINAL, IMMEDIATE, Opcode, flag};
use crate::wire::ids::{Itt, Lun};
use crate::wire::serial::{CmdSn, StatSn};
use crate::wire::{WireError, open_enum};

const FUNCTION: u8 = 0x7f;

open_enum! {
    /// Task management function (RFC 7143 section 11.5.1, RFC 7144 section 6.3): seven bits.
    pub struct TmFunction(u8) {
        /// ABORT TASK.
        ABORT_TASK = 1, "ABORT TASK";
        /// ABORT TASK SET.
        ABORT_TASK_SET = 2, "ABORT TASK SET";
        /// CLEAR ACA.
        CLEAR_ACA = 3, "CLEAR ACA";
        /// CLEAR TASK SET.
        CLEAR_TASK_SET = 4, "CLEAR TASK SET";
        /// LOGICAL UNIT RESET.
        LOGICAL_UNIT_RESET = 5, "LOGICAL UNIT RESET";
        /// TARGET WARM RESET.
        TARGET_WARM_RESET = 6, "TARGET WARM RESET";
        /// TARGET COLD RESET.
        TARGET_COLD_RESET = 7, "TARGET COLD RESET";
        /// TASK REASSIGN.
        TASK_REASSIGN = 8, "TASK REASSIGN";
        /// QUERY TASK (RFC 7144).
        QUERY_TASK = 9, "QUERY TASK";
        /// QUERY TASK SET (RFC 7144).
        QUERY_TASK_SET = 10, "QUERY TASK SET";
        /// I_T NEXUS RESET (RFC 7144).
        I_T_NEXUS_RESET = 11, "I_T NEXUS RESET";
        /// QUERY ASYNCHRONOUS EVENT (RFC 7144).
        QUERY_ASYNCHRONOUS_EVENT = 12, "QUERY ASYNCHRONOUS EVENT";
    }
}

/// Task Management Function Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagementRequest {
    /// The I bit.
    pub immediate_delivery: bool,
    /// What is to be done.
    pub function: TmFunction,
    /// The logical unit, for the functions that address one.
    pub lun: Lun,
    /// Initiator Task Tag of this request.
    pub itt: Itt,
    /// Tag of the task to abort, query or reassign; else reserved.
    pub referenced_task_tag: Itt,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// CmdSN of the task to abort or query.
    pub ref_cmd_sn: CmdSn,
    /// For TASK REASSIGN: the first Data-In that the initiator has not acknowledged, or 0 for "unchanged".
    pub exp_data_sn: u32,
}

impl TaskManagementRequest {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::TASK_MANAGEMENT_REQUEST)?;
        Ok(Self {
            immediate_delivery: bhs::immediate_delivery(bhs),
            function: TmFunction(bhs[1] & FUNCTION),
            lun: bhs::lun(bhs),
            itt: bhs::itt(bhs),
            referenced_task_tag: Itt(bhs::u32_at::<20>(bhs)),
            cmd_sn: CmdSn(bhs::u32_at::<24>(bhs)),
            exp_stat_sn: StatSn(bhs::u32_at::<28>(bhs)),
            ref_cmd_sn: CmdSn(bhs::u32_at::<32>(bhs)),
            exp_data_sn: bhs::u32_at::<36>(bhs),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        *bhs = bhs::start(Opcode::TASK_MANAGEMENT_REQUEST, FINAL | (self.function.0 & FUNCTION));
        bhs[0] |= flag(self.immediate_delivery, IMMEDIATE);
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, self.itt.0);
        bhs::put_u32::<20>(bhs, self.referenced_task_tag.0);
        bhs::put_u32::<24>(bhs, self.cmd_sn.0);
        bhs::put_u32::<28>(bhs, self.exp_stat_sn.0);
        bhs::put_u32::<32>(bhs, self.ref_cmd_sn.0);
        bhs::put_u32::<36>(bhs, self.exp_data_sn);
    }
}
