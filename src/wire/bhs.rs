//! The Basic Header Segment: 48 bytes that start every PDU (RFC 7143 section 11.2.1).
//!
//! Free functions read and write the fields that stand at the same place in all PDUs. They take a `&[u8; 48]`, so the
//! length is checked once, where the bytes are cut, and no accessor can fail.
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0|.|I| Opcode    |F| Opcode-specific fields                      |
//!     4|TotalAHSLength | DataSegmentLength                             |
//!     8| LUN or Opcode-specific fields                                 |
//!    16| Initiator Task Tag                                            |
//!    20/ Opcode-specific fields                                        /
//! ```

use super::ids::{Itt, Lun};
use super::open_enum::open_enum;
use super::serial::{CmdSn, StatSn};

/// Length of the Basic Header Segment in bytes.
pub const BHS_LEN: usize = 48;

/// The bytes of a Basic Header Segment.
pub type Bhs = [u8; BHS_LEN];

/// What the 24 bits of DataSegmentLength can hold, in bytes.
pub const MAX_DATA_SEGMENT_LEN: usize = 0xff_ffff;

/// What the 8 bits of TotalAHSLength can hold, in bytes.
pub const MAX_AHS_LEN: usize = 255 * 4;

pub(super) const FINAL: u8 = 0x80;
pub(super) const IMMEDIATE: u8 = 0x40;
pub(super) const CONTINUE: u8 = 0x40;
const OPCODE: u8 = 0x3f;

open_enum! {
    /// The kind of a PDU (RFC 7143 section 11.2.1.2).
    pub struct Opcode(u8) {
        /// NOP-Out.
        NOP_OUT = 0x00, "NOP-Out";
        /// SCSI Command.
        SCSI_COMMAND = 0x01, "SCSI Command";
        /// SCSI Task Management Function Request.
        TASK_MANAGEMENT_REQUEST = 0x02, "Task Management Request";
        /// Login Request.
        LOGIN_REQUEST = 0x03, "Login Request";
        /// Text Request.
        TEXT_REQUEST = 0x04, "Text Request";
        /// SCSI Data-Out.
        SCSI_DATA_OUT = 0x05, "Data-Out";
        /// Logout Request.
        LOGOUT_REQUEST = 0x06, "Logout Request";
        /// SNACK Request.
        SNACK_REQUEST = 0x10, "SNACK Request";
        /// NOP-In.
        NOP_IN = 0x20, "NOP-In";
        /// SCSI Response.
        SCSI_RESPONSE = 0x21, "SCSI Response";
        /// SCSI Task Management Function Response.
        TASK_MANAGEMENT_RESPONSE = 0x22, "Task Management Response";
        /// Login Response.
        LOGIN_RESPONSE = 0x23, "Login Response";
        /// Text Response.
        TEXT_RESPONSE = 0x24, "Text Response";
        /// SCSI Data-In.
        SCSI_DATA_IN = 0x25, "Data-In";
        /// Logout Response.
        LOGOUT_RESPONSE = 0x26, "Logout Response";
        /// Ready To Transfer.
        R2T = 0x31, "R2T";
        /// Asynchronous Message.
        ASYNC_MESSAGE = 0x32, "Asynchronous Message";
        /// Reject.
        REJECT = 0x3f, "Reject";
    }
}

impl Opcode {
    /// Whether targets send it, not initiators (RFC 7143 section 11.2.1.2).
    #[inline]
    pub const fn is_targets(self) -> bool {
        self.0 & 0x20 != 0
    }
}

/// Why 48 bytes are not the PDU that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The header carries another opcode than the type that was asked to parse it.
    #[error("expected opcode {expected}, found {found}")]
    WrongOpcode {
        /// The opcode of the type that was asked.
        expected: Opcode,
        /// The opcode in the header.
        found: Opcode,
    },
    /// No PDU of RFC 7143 section 11.2.1.2 has this opcode.
    #[error("unknown opcode {0}")]
    UnknownOpcode(Opcode),
}

/// The opcode: the low six bits of byte 0.
#[inline]
pub const fn opcode(bhs: &Bhs) -> Opcode {
    Opcode(bhs[0] & OPCODE)
}

/// The I bit: the command is delivered without regard to the order of CmdSN (RFC 7143 section 11.2.1.1).
#[inline]
pub const fn immediate_delivery(bhs: &Bhs) -> bool {
    bhs[0] & IMMEDIATE != 0
}

/// The F bit: the last or only PDU of a sequence (RFC 7143 section 11.2.1.3).
#[inline]
pub const fn is_final(bhs: &Bhs) -> bool {
    bhs[1] & FINAL != 0
}

/// The C bit of Login and Text PDUs: the text goes on in the next one (RFC 7143 section 11.12.2).
#[inline]
pub const fn continues(bhs: &Bhs) -> bool {
    bhs[1] & CONTINUE != 0
}

/// Length of all AHS in bytes, padding included: the field counts words of four bytes (RFC 7143 section 11.2.1.5).
#[inline]
pub const fn total_ahs_len_bytes(bhs: &Bhs) -> usize {
    bhs[4] as usize * 4
}

/// Length of the data segment in bytes, padding and digest excluded (RFC 7143 section 11.2.1.6).
#[inline]
pub fn data_segment_len(bhs: &Bhs) -> usize {
    // With its neighbour, which is one load.
    u32_at::<4>(bhs) as usize & MAX_DATA_SEGMENT_LEN
}

/// Writes DataSegmentLength. `len` must fit its 24 bits ([`MAX_DATA_SEGMENT_LEN`]); higher bits are cut off.
#[inline]
pub fn set_data_segment_len(bhs: &mut Bhs, len: usize) {
    // With its neighbour, which is one store.
    put_u32::<4>(bhs, u32::from(bhs[4]) << 24 | (len & MAX_DATA_SEGMENT_LEN) as u32);
}

/// The Initiator Task Tag, at the same place in every PDU.
#[inline]
pub const fn itt(bhs: &Bhs) -> Itt {
    Itt(u32::from_be_bytes([bhs[16], bhs[17], bhs[18], bhs[19]]))
}

/// The LUN field, where the PDU has one.
#[inline]
pub fn lun(bhs: &Bhs) -> Lun {
    Lun(field::<8, 8>(bhs))
}

/// The first byte of the CDB, of a SCSI Command: what a line about it calls it by.
#[inline]
pub fn operation_code(bhs: &Bhs) -> u8 {
    bhs[32]
}

/// How many bytes of padding follow a segment of `len` bytes.
#[inline]
pub const fn padding(len: usize) -> usize {
    //= RFC 7143 section 11.2
    //# All PDU segments and digests are padded to the closest integer number
    //# of 4-byte words.
    len.wrapping_neg() & 3
}

/// Writes the three counters that stand at bytes 24, 28 and 32 of every PDU that a target sends.
#[inline]
pub fn stamp(bhs: &mut Bhs, stat_sn: StatSn, exp_cmd_sn: CmdSn, max_cmd_sn: CmdSn) {
    put_u32::<24>(bhs, stat_sn.0);
    put_u32::<28>(bhs, exp_cmd_sn.0);
    put_u32::<32>(bhs, max_cmd_sn.0);
}

/// Refuses a header with another opcode than `expected`.
#[inline]
pub(super) fn expect(bhs: &Bhs, expected: Opcode) -> Result<(), WireError> {
    let found = opcode(bhs);
    if found == expected { Ok(()) } else { Err(WireError::WrongOpcode { expected, found }) }
}

/// A zeroed header with opcode and byte 1 in place; `emit` fills in the rest.
#[inline]
pub(super) fn start(opcode: Opcode, flags: u8) -> Bhs {
    //= RFC 7143 section 11
    //# Any compliant sender MUST set all bits not defined and all reserved
    //# fields to 0, unless specified otherwise.
    let mut bhs = [0; BHS_LEN];
    bhs[0] = opcode.0;
    bhs[1] = flags;
    bhs
}

/// `bit` if `on`, else nothing: to compose flag bytes.
#[inline]
pub(super) const fn flag(on: bool, bit: u8) -> u8 {
    if on { bit } else { 0 }
}

/// The `N` bytes at offset `AT`. That they lie within the header is checked when this is compiled.
#[inline]
pub(super) fn field<const AT: usize, const N: usize>(bhs: &Bhs) -> [u8; N] {
    const { assert!(AT + N <= BHS_LEN) };
    // The compiler sees that the range is inside and leaves a plain load; the default is never taken.
    bhs.get(AT..).and_then(|tail| tail.first_chunk()).copied().unwrap_or([0; N])
}

/// The big-endian u16 at offset `AT`.
#[inline]
pub(super) fn u16_at<const AT: usize>(bhs: &Bhs) -> u16 {
    u16::from_be_bytes(field::<AT, 2>(bhs))
}

/// The big-endian u32 at offset `AT`.
#[inline]
pub(super) fn u32_at<const AT: usize>(bhs: &Bhs) -> u32 {
    u32::from_be_bytes(field::<AT, 4>(bhs))
}

/// Writes the `N` bytes at offset `AT`.
#[inline]
pub(super) fn put<const AT: usize, const N: usize>(bhs: &mut Bhs, bytes: [u8; N]) {
    const { assert!(AT + N <= BHS_LEN) };
    if let Some(to) = bhs.get_mut(AT..).and_then(|tail| tail.first_chunk_mut()) {
        *to = bytes;
    }
}

/// Writes a big-endian u16 at offset `AT`.
#[inline]
pub(super) fn put_u16<const AT: usize>(bhs: &mut Bhs, value: u16) {
    put::<AT, 2>(bhs, value.to_be_bytes());
}

/// Writes a big-endian u32 at offset `AT`.
#[inline]
pub(super) fn put_u32<const AT: usize>(bhs: &mut Bhs, value: u32) {
    put::<AT, 4>(bhs, value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_flags() {
        let mut bhs = [0; BHS_LEN];
        bhs[0] = 0xc1;
        bhs[1] = 0x80;
        bhs[4] = 255;
        set_data_segment_len(&mut bhs, 0x12_3456);
        assert_eq!(opcode(&bhs), Opcode::SCSI_COMMAND);
        assert!(immediate_delivery(&bhs) && is_final(&bhs));
        assert_eq!(total_ahs_len_bytes(&bhs), MAX_AHS_LEN);
        assert_eq!(data_segment_len(&bhs), 0x12_3456);
        set_data_segment_len(&mut bhs, MAX_DATA_SEGMENT_LEN);
        assert_eq!((bhs[4], data_segment_len(&bhs)), (255, MAX_DATA_SEGMENT_LEN));
    }

    #[test]
    fn padding_completes_a_word() {
        assert_eq!([0, 1, 2, 3, 4, 5].map(padding), [0, 3, 2, 1, 0, 3]);
    }

    #[test]
    fn stamp_writes_the_three_counters_only() {
        let mut bhs = [0xaa; BHS_LEN];
        stamp(&mut bhs, StatSn(1), CmdSn(2), CmdSn(3));
        assert_eq!(bhs[24..36], [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert!(bhs[..24].iter().chain(&bhs[36..]).all(|&b| b == 0xaa));
    }
}
