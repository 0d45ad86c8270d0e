//! Asynchronous Message (RFC 7143 section 11.9).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|.| 0x32      |1| Reserved                                    |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| LUN or Reserved                                               |
//!    16| 0xffffffff                                                    |
//!    20| Reserved                                                      |
//!    24| StatSN                                                        |
//!    28| ExpCmdSN                                                      |
//!    32| MaxCmdSN                                                      |
//!    36| AsyncEvent    | AsyncVCode    | Parameter1 or Reserved        |
//!    40| Parameter2 or Reserved        | Parameter3 or Reserved        |
//!    44| Reserved                                                      |
//! ```

use crate::wire::bhs::{self, Bhs, FINAL, Opcode};
use crate::wire::ids::{Itt, Lun};
use crate::wire::serial::{CmdSn, StatSn};
use crate::wire::{WireError, open_enum};

open_enum! {
    /// What an Asynchronous Message announces (RFC 7143 section 11.9.1).
    pub struct AsyncEvent(u8) {
        /// A SCSI asynchronous event is reported in the sense data.
        SCSI_ASYNC_EVENT = 0, "SCSI Async Event";
        /// The target requests Logout within Parameter3 seconds.
        LOGOUT_REQUEST = 1, "Logout Request";
        /// The target will drop the connection that Parameter1 names.
        CONNECTION_DROP = 2, "Connection Drop Notification";
        /// The target will drop all connections of this session.
        SESSION_DROP = 3, "Session Drop Notification";
        /// The target requests parameter negotiation within Parameter3 seconds.
        NEGOTIATION_REQUEST = 4, "Negotiation Request";
        /// All tasks of the logical unit are being terminated (with TaskReporting=FastAbort).
        TASK_TERMINATION = 5, "Task Termination";
        /// Vendor-specific; see AsyncVCode.
        VENDOR_UNIQUE = 255, "Vendor-unique";
    }
}

/// Asynchronous Message. Sense data travels in the data segment, after its own two-byte length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncMessage {
    /// AsyncEvent.
    pub event: AsyncEvent,
    /// AsyncVCode; valid with a vendor-specific event.
    pub vcode: u8,
    /// Length of the data segment in bytes.
    pub data_segment_len: u32,
    /// The logical unit, where the event concerns one.
    pub lun: Lun,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Parameter1: a CID, for a connection drop.
    pub parameter1: u16,
    /// Parameter2: Time2Wait in seconds, for a drop.
    pub parameter2: u16,
    /// Parameter3: Time2Retain in seconds, for a drop; else the time in seconds to comply.
    pub parameter3: u16,
}

impl AsyncMessage {
    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::WrongOpcode`].
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, WireError> {
        bhs::expect(bhs, Opcode::ASYNC_MESSAGE)?;
        Ok(Self {
            event: AsyncEvent(bhs[36]),
            vcode: bhs[37],
            data_segment_len: bhs::data_segment_len(bhs) as u32,
            lun: bhs::lun(bhs),
            stat_sn: StatSn(bhs::u32_at::<24>(bhs)),
            exp_cmd_sn: CmdSn(bhs::u32_at::<28>(bhs)),
            max_cmd_sn: CmdSn(bhs::u32_at::<32>(bhs)),
            parameter1: bhs::u16_at::<38>(bhs),
            parameter2: bhs::u16_at::<40>(bhs),
            parameter3: bhs::u16_at::<42>(bhs),
        })
    }

    /// Writes all 48 bytes of the header.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        *bhs = bhs::start(Opcode::ASYNC_MESSAGE, FINAL);
        bhs::set_data_segment_len(bhs, self.data_segment_len as usize);
        bhs::put::<8, 8>(bhs, self.lun.0);
        bhs::put_u32::<16>(bhs, Itt::RESERVED.0);
        bhs::stamp(bhs, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn);
        bhs[36] = self.event.0;
        bhs[37] = self.vcode;
        bhs::put_u16::<38>(bhs, self.parameter1);
        bhs::put_u16::<40>(bhs, self.parameter2);
        bhs::put_u16::<42>(bhs, self.parameter3);
    }
}
