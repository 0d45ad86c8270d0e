//! Header and data digests: CRC32C (RFC 7143 sections 11.2.3 and 13.1).
//!
//! The checksum is a `u32` here; [`to_wire`] and [`from_wire`] put it into the order of bytes that the examples of
//! RFC 7143 appendix A.4 show. [`Accumulator`] is for data that arrives or lies in pieces: it appends, which costs the
//! same as one pass (combining two finished checksums would cost microseconds).

use super::bhs::{Bhs, padding};

/// Length of a digest in bytes.
pub const DIGEST_LEN: usize = 4;

/// CRC32C of `bytes`.
#[inline]
//= RFC 7143 section 13.1
//# The CRC MUST be calculated by a method that produces the same results as
//# the following process:
pub fn crc(bytes: &[u8]) -> u32 {
    super::crc::append(0, bytes)
}

/// The four bytes of a digest as they are sent.
#[inline]
pub const fn to_wire(crc: u32) -> [u8; DIGEST_LEN] {
    crc.to_le_bytes()
}

/// The checksum in the four bytes of a digest as received.
#[inline]
pub const fn from_wire(digest: [u8; DIGEST_LEN]) -> u32 {
    u32::from_le_bytes(digest)
}

/// The header digest: it covers the BHS and all AHS (whose padding is part of `ahs`).
#[inline]
pub fn header_digest(bhs: &Bhs, ahs: &[u8]) -> [u8; DIGEST_LEN] {
    to_wire(super::crc::append(crc(bhs), ahs))
}

/// The data digest of a segment that is followed by zeroes as padding. `data` must not be empty: then no digest is sent.
///
/// The padding is part of what is covered, so a digest over `data` alone would not do.
#[inline]
pub fn data_digest(data: &[u8]) -> [u8; DIGEST_LEN] {
    //= RFC 7143 section 11.2.3
    //# The digests, if present, are located,
    //# respectively, after the header and PDU-specific data and cover,
    //# respectively, the header and the PDU data, each including the padding
    //# bytes, if any.
    let mut sum = Accumulator::new();
    sum.append(data);
    to_wire(sum.finish_padded())
}

/// A CRC32C over bytes that come in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accumulator {
    crc: u32,
    /// Length so far modulo 4: all that the padding depends on.
    phase: u8,
}

impl Accumulator {
    /// Over nothing yet.
    #[inline]
    pub const fn new() -> Self {
        Self { crc: 0, phase: 0 }
    }

    /// Appends the next piece.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        self.crc = super::crc::append(self.crc, bytes);
        self.phase = (self.phase + (bytes.len() & 3) as u8) & 3;
    }

    /// The checksum of what was appended.
    #[inline]
    pub const fn finish(self) -> u32 {
        self.crc
    }

    /// The checksum of what was appended and of the zeroes that complete its last word.
    #[inline]
    pub fn finish_padded(self) -> u32 {
        //= RFC 7143 section 13.1
        //# Padding bytes, when present in a segment covered by a CRC, SHOULD be set
        //# to 0 and are included in the CRC.
        match padding(self.phase as usize) {
            1 => super::crc::append(self.crc, &[0; 1]),
            2 => super::crc::append(self.crc, &[0; 2]),
            3 => super::crc::append(self.crc, &[0; 3]),
            _ => self.crc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    //= RFC 7143 appendix A.4
    //# 32 bytes of zeroes:
    #[test]
    fn vectors_of_appendix_a4() {
        //= RFC 7143 section 13.1
        //# The CRC MUST be calculated by a method that produces the same results as
        //# the following process:
        let incrementing: [u8; 32] = std::array::from_fn(|i| i as u8);
        let decrementing: [u8; 32] = std::array::from_fn(|i| 31 - i as u8);
        assert_eq!(to_wire(crc(&[0; 32])), [0xaa, 0x36, 0x91, 0x8a]);
        //= RFC 7143 appendix A.4
        //# 32 bytes of ones:
        assert_eq!(to_wire(crc(&[0xff; 32])), [0x43, 0xab, 0xa8, 0x62]);
        //= RFC 7143 appendix A.4
        //# 32 bytes of incrementing 00..1f:
        assert_eq!(to_wire(crc(&incrementing)), [0x4e, 0x79, 0xdd, 0x46]);
        //= RFC 7143 appendix A.4
        //# 32 bytes of decrementing 1f..00:
        assert_eq!(to_wire(crc(&decrementing)), [0x5c, 0xdb, 0x3f, 0x11]);
    }

    //= RFC 7143 appendix A.4
    //# An iSCSI - SCSI Read (10) Command PDU:
    #[test]
    fn read_10_of_appendix_a4() {
        #[rustfmt::skip]
        let bhs: Bhs = [
            0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
            0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18,
            0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        ];
        assert_eq!(header_digest(&bhs, &[]), [0x56, 0x3a, 0x96, 0xd9]);
        assert_eq!(from_wire([0x56, 0x3a, 0x96, 0xd9]), crc(&bhs));
    }

    #[test]
    fn header_digest_goes_on_over_the_ahs() {
        let mut all = [7; 56];
        all[48..].fill(9);
        assert_eq!(header_digest(&[7; 48], &[9; 8]), to_wire(crc(&all)));
    }

    proptest! {
        #[test]
        fn pieces_sum_to_the_whole(data in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..300) {
            let (a, b) = data.split_at(at.min(data.len()));
            let mut sum = Accumulator::new();
            sum.append(a);
            sum.append(b);
            prop_assert_eq!(sum.finish(), crc(&data));
            let mut padded = data.clone();
            padded.resize(data.len().next_multiple_of(4), 0);
            prop_assert_eq!(sum.finish_padded(), crc(&padded));
            //= RFC 7143 section 13.1
            //# Padding bytes, when present in a segment covered by a CRC, SHOULD be set
            //# to 0 and are included in the CRC.
            prop_assert_eq!(data_digest(&data), to_wire(crc(&padded)));
        }
    }
}
