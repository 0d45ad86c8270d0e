//! What a session tells its driver, and what it finds wrong with the target.

use super::outbox::{Outbox, Outgoing};
use crate::wire::{
    AsyncMessage, Bhs, DataSn, Itt, LogoutResult, Lun, Opcode, R2tSn, RejectReason, ScsiResponse, StatSn, TmResponse,
    Ttt, WireError,
};

/// The place of a command in its session: the driver's number for it, below the depth of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskIx(pub u16);

/// What becomes of what comes in.
pub trait Sink {
    /// Read data of a command: it belongs at `offset` of its transfer. With ErrorRecoveryLevel 1 and 2 a stretch may come
    /// twice, and the later one counts: a damaged PDU is known for that only at its end.
    fn data_in(&mut self, task: TaskIx, offset: u32, bytes: &[u8]);
    /// Something has happened.
    fn event(&mut self, event: Event<'_>);
}

/// The driver of a session: takes what it sends, the data that is read, and what happens.
pub trait Host: Outbox + Sink {}

impl<T: Outbox + Sink> Host for T {}

/// A way out and what becomes of what comes in, together a [`Host`].
pub struct Joined<'a, O, S> {
    /// Where PDUs go.
    pub outbox: O,
    /// What becomes of what comes in.
    pub sink: &'a mut S,
}

impl<O: Outbox, S> Outbox for Joined<'_, O, S> {
    #[inline]
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        self.outbox.pdu(pdu);
    }
}

impl<O, S: Sink> Sink for Joined<'_, O, S> {
    #[inline]
    fn data_in(&mut self, task: TaskIx, offset: u32, bytes: &[u8]) {
        self.sink.data_in(task, offset, bytes);
    }

    #[inline]
    fn event(&mut self, event: Event<'_>) {
        self.sink.event(event);
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End<'a> {
    /// The iSCSI service response: [`ScsiResponse::COMMAND_COMPLETED`] or another, with which there is no status.
    pub response: u8,
    /// The SCSI status.
    pub status: u8,
    /// Status Qualifier (RFC 7144 section 5.2.1).
    pub status_qualifier: u16,
    /// What was not transferred, or would have been.
    pub residual: Residual,
    /// The same of the read of a bidirectional command.
    pub bidi_residual: Residual,
    /// Bytes of read data that have come.
    pub received_bytes: u32,
    /// The data segment of the response: two bytes of length, sense data, response data. Empty with GOOD, mostly.
    pub data: &'a [u8],
}

impl<'a> End<'a> {
    /// Completed, with the status GOOD, and with as much data as expected.
    pub fn is_good(&self) -> bool {
        let none = Residual::None;
        self.response == ScsiResponse::COMMAND_COMPLETED && self.status == 0 && self.residual == none
    }

    /// Sense data, without the length before it.
    pub fn sense(&self) -> &'a [u8] {
        let Some((&len, sense)) = self.data.split_first_chunk::<2>() else { return &[] };
        sense.get(..usize::from(u16::from_be_bytes(len))).unwrap_or(sense)
    }

    /// Sense key, and additional sense code with its qualifier, of either format (SPC-4 clause 4.5).
    pub fn sense_codes(&self) -> Option<(u8, u16)> {
        let sense = self.sense();
        let at = |at: usize| sense.get(at).copied();
        let code = |asc: usize| u16::from_be_bytes([at(asc).unwrap_or(0), at(asc + 1).unwrap_or(0)]);
        match at(0)? & 0x7f {
            0x70 | 0x71 => Some((at(2)? & 0xf, code(12))),
            0x72 | 0x73 => Some((at(1)? & 0xf, code(2))),
            _ => None,
        }
    }

    /// The INFORMATION field of the sense data, if it is valid: of the fixed format (SPC-4 clause 4.5.3), or of the descriptor
    /// that comes first (clause 4.5.2.2).
    pub fn information(&self) -> Option<u64> {
        const VALID: u8 = 0x80;
        let sense = self.sense();
        let at = |at: usize| sense.get(at).copied();
        let number =
            |from: usize, to: usize| (from..to).try_fold(0, |number, place| Some(number << 8 | u64::from(at(place)?)));
        match at(0)? {
            0xf0 | 0xf1 => number(3, 7),
            0x72 | 0x73 if at(8)? == 0 && at(10)? & VALID != 0 => number(12, 20),
            _ => None,
        }
    }
}

/// Residual Count (RFC 7143 section 11.4.5), bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Residual {
    /// As much was transferred as expected.
    #[default]
    None,
    /// So many fewer.
    Underflow(u32),
    /// So many more would have been, had there been room.
    Overflow(u32),
}

impl Residual {
    /// From the bits of a PDU and its count.
    #[inline]
    pub const fn new(overflow: bool, underflow: bool, bytes: u32) -> Residual {
        match (overflow, underflow) {
            (true, _) => Residual::Overflow(bytes),
            (false, true) => Residual::Underflow(bytes),
            (false, false) => Residual::None,
        }
    }
}

/// What has happened in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A command has ended; its place is free.
    Ended {
        /// Which.
        task: TaskIx,
        /// Its tag.
        itt: Itt,
        /// How.
        end: End<'a>,
    },
    /// A command has ended with its connection (ErrorRecoveryLevel 0 and 1), or was given up; its place is free. Whether it
    /// was carried out is not known.
    Cleared {
        /// Which.
        task: TaskIx,
    },
    /// The answer to a ping.
    Pong {
        /// The tag of the ping.
        itt: Itt,
        /// What was sent.
        data: &'a [u8],
    },
    /// The answer to a Text Request.
    Text(Answer<'a>),
    /// The answer to a task management function. An ABORT TASK that is complete ends its command: there is no event of that.
    Managed {
        /// The tag of the request.
        itt: Itt,
        /// The outcome.
        response: TmResponse,
        /// What RFC 7144 section 6.4 adds.
        additional_info: [u8; 3],
    },
    /// The answer to a logout. With CLOSED, the connection or all of the session are at an end.
    LoggedOut {
        /// The tag of the request.
        itt: Itt,
        /// The outcome.
        response: LogoutResult,
        /// Seconds until commands may be reassigned.
        time2wait: u16,
        /// Seconds after that during which they can be.
        time2retain: u16,
    },
    /// An Asynchronous Message, and its data segment.
    Message(AsyncMessage, &'a [u8]),
    /// A PDU was rejected.
    Rejected {
        /// Why.
        reason: RejectReason,
        /// Its header, if it was sent back.
        header: Option<&'a Bhs>,
    },
}

/// A Text Response (RFC 7143 section 11.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The tag of the request.
    pub itt: Itt,
    /// Names the operation in the next request; reserved if it is finished.
    pub ttt: Ttt,
    /// To be copied into that.
    pub lun: Lun,
    /// The target has finished.
    pub is_final: bool,
    /// The text goes on in the next response.
    pub cont: bool,
    /// Pairs, or a part of them.
    pub text: &'a [u8],
}

/// What a target did wrong, or what ErrorRecoveryLevel 0 does not recover from: the session is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A PDU of a kind that is not known.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A PDU that a target does not send in full feature phase.
    #[error("unexpected {0}")]
    Unexpected(Opcode),
    /// By a connection that is not of the session.
    #[error("a PDU by a connection that the session does not have")]
    NoConnection,
    /// A status is missing.
    #[error("StatSN {found} where {expected} was to come")]
    StatSn {
        /// What was to come.
        expected: StatSn,
        /// What came.
        found: StatSn,
    },
    /// Data-In is missing.
    #[error("DataSN {found} where {expected} was to come")]
    DataSn {
        /// What was to come.
        expected: DataSn,
        /// What came.
        found: DataSn,
    },
    /// An R2T is missing.
    #[error("R2TSN {found} where {expected} was to come")]
    R2tSn {
        /// What was to come.
        expected: R2tSn,
        /// What came.
        found: R2tSn,
    },
    /// A data digest does not match.
    #[error("wrong data digest in {0}")]
    DataDigest(Opcode),
    /// No command, or no longer, has this tag.
    #[error("no command has the Initiator Task Tag {0}")]
    UnknownTask(Itt),
    /// Data-In outside of what the command reads, or not behind what came before.
    #[error("Data-In of {len} bytes at {offset} of {of}")]
    DataIn {
        /// Buffer Offset, bytes.
        offset: u32,
        /// DataSegmentLength, bytes.
        len: u32,
        /// What the command reads, bytes.
        of: u32,
    },
    /// An R2T outside of what the command writes, or for nothing.
    #[error("an R2T for {len} bytes at {offset} of {of}")]
    R2t {
        /// Buffer Offset, bytes.
        offset: u32,
        /// Desired Data Transfer Length, bytes.
        len: u32,
        /// What the command writes, bytes.
        of: u32,
    },
    /// A status for a command that has one already, under another StatSN.
    #[error("a second status, for the command with the tag {0}")]
    Twice(Itt),
    /// More of an answer than is taken.
    #[error("an answer of more than {0} bytes")]
    TooLong(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(data: &[u8]) -> End<'_> {
        let none = Residual::None;
        End {
            response: 0,
            status: 2,
            status_qualifier: 0,
            residual: none,
            bidi_residual: none,
            received_bytes: 0,
            data,
        }
    }

    #[test]
    fn both_sense_formats() {
        let mut fixed = [0; 20];
        (fixed[1], fixed[2], fixed[4], fixed[14]) = (18, 0x70, 0x06, 0x29);
        assert_eq!((end(&fixed).sense_codes(), end(&fixed).sense().len()), (Some((6, 0x2900)), 18));
        let descriptor = [0, 8, 0x72, 0x05, 0x21, 0x00, 0, 0, 0, 0];
        assert_eq!(end(&descriptor).sense_codes(), Some((5, 0x2100)));
        for len in 0..3 {
            assert_eq!(end(&descriptor[..len]).sense_codes(), None);
        }
        assert_eq!((end(&fixed).information(), end(&descriptor).information()), (None, None));
        (fixed[2], fixed[7], fixed[8]) = (0xf0, 0x01, 0x23);
        assert_eq!(end(&fixed).information(), Some(0x0123));
        let mut whole = [0; 22];
        (whole[1], whole[2], whole[10], whole[11], whole[12], whole[21]) = (20, 0x72, 0, 10, 0x80, 9);
        assert_eq!(end(&whole).information(), Some(9));
    }

    #[test]
    fn a_residual_is_not_good() {
        let good = End { status: 0, ..end(&[]) };
        assert!(good.is_good() && !End { residual: Residual::new(false, true, 1), ..good }.is_good());
        assert!(!End { response: 1, ..good }.is_good());
        assert_eq!(Residual::new(true, false, 3), Residual::Overflow(3));
    }
}
