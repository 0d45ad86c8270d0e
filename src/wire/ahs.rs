//! Additional Header Segments (RFC 7143 section 11.2.2).
//!
//! ```text
//! Byte/     0       |       1       |       2       |       3       |
//!     0| AHSLength                     | AHSType       | AHS-Specific  |
//!     4/ AHS-Specific                                                  /
//! ```
//!
//! [`Segments`] walks over the bytes between BHS and header digest; [`cdb`] joins the CDB that a command spreads over
//! both. AHSLength comes from the peer and need not fit: then the walk ends with an [`AhsError`].

use super::pdu::ScsiCommand;

/// Longest CDB of SCSI, in bytes: a variable-length one (SPC-4 clause 4.2.3: 8 bytes and at most 252 more).
pub const MAX_CDB: usize = 260;

/// What of the CDB stands in the BHS, in bytes.
const CDB_IN_BHS: usize = 16;

const EXTENDED_CDB: u8 = 1;
const BIDI_READ_EDTL: u8 = 2;
/// The low six bits of AHSType; the others are reserved.
const KIND: u8 = 0x3f;

/// One Additional Header Segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahs<'a> {
    /// The bytes of the CDB from the seventeenth on.
    ExtendedCdb(&'a [u8]),
    /// Expected Data Transfer Length of the read of a bidirectional command, in bytes.
    BidiReadEdtl(u32),
    /// A type that the RFC reserves.
    Unknown {
        /// The AHS code: six bits.
        kind: u8,
        /// The AHS-specific bytes, the one at offset 3 included.
        body: &'a [u8],
    },
}

/// Why additional header segments cannot be read, or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AhsError {
    /// AHSLength leads beyond the last of the TotalAHSLength bytes.
    #[error("an AHS of {len} bytes does not fit the {left} bytes that are left")]
    Truncated {
        /// Length of the segment in bytes, padding included.
        len: usize,
        /// Bytes left, from the segment's first on.
        left: usize,
    },
    /// AHSLength is not one that the type can have.
    #[error("AHS type {kind} cannot have AHSLength {len}")]
    BadLength {
        /// The AHS code.
        kind: u8,
        /// AHSLength.
        len: usize,
    },
    /// A second Extended CDB AHS.
    #[error("more than one Extended CDB AHS")]
    DuplicateExtendedCdb,
    /// The CDB is longer than [`MAX_CDB`].
    #[error("a CDB of {0} bytes is too long")]
    CdbTooLong(usize),
}

/// Iterates over the segments in the TotalAHSLength bytes of a PDU. The first error is its last item.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    /// Over `ahs`, the bytes between BHS and header digest.
    #[inline]
    pub const fn new(ahs: &'a [u8]) -> Self {
        Self { rest: ahs }
    }

    fn parse_next(&mut self) -> Result<Ahs<'a>, AhsError> {
        let (&[a, b, kind], tail) =
            self.rest.split_first_chunk::<3>().ok_or(AhsError::Truncated { len: 4, left: self.rest.len() })?;
        //= RFC 7143 section 11.2.2.2
        //# This field contains the effective length in bytes of the AHS,
        //# excluding AHSType and AHSLength and padding, if any.
        let len = usize::from(u16::from_be_bytes([a, b]));
        let padded = (3 + len).next_multiple_of(4);
        let truncated = AhsError::Truncated { len: padded, left: self.rest.len() };
        let body = tail.get(..len).ok_or(truncated)?;
        self.rest = self.rest.get(padded..).ok_or(truncated)?;
        match (kind & KIND, body) {
            // A CDB of 17 bytes or more leaves at least one byte behind the reserved one.
            (EXTENDED_CDB, [_reserved, cdb @ ..]) if !cdb.is_empty() => Ok(Ahs::ExtendedCdb(cdb)),
            (BIDI_READ_EDTL, &[_reserved, a, b, c, d]) => Ok(Ahs::BidiReadEdtl(u32::from_be_bytes([a, b, c, d]))),
            (kind @ (EXTENDED_CDB | BIDI_READ_EDTL), _) => Err(AhsError::BadLength { kind, len }),
            (kind, body) => Ok(Ahs::Unknown { kind, body }),
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Result<Ahs<'a>, AhsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.parse_next();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

impl std::iter::FusedIterator for Segments<'_> {}

impl Ahs<'_> {
    /// Appends the segment with its padding.
    ///
    /// # Errors
    /// [`AhsError::BadLength`] if the length does not fit AHSLength, or an extended CDB is empty.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), AhsError> {
        let edtl_bytes;
        let (kind, reserved, body): (u8, &[u8], &[u8]) = match *self {
            Ahs::ExtendedCdb([]) => return Err(AhsError::BadLength { kind: EXTENDED_CDB, len: 1 }),
            Ahs::ExtendedCdb(cdb) => (EXTENDED_CDB, &[0], cdb),
            Ahs::BidiReadEdtl(bytes) => {
                edtl_bytes = bytes.to_be_bytes();
                (BIDI_READ_EDTL, &[0], &edtl_bytes)
            }
            Ahs::Unknown { kind, body } => (kind & KIND, &[], body),
        };
        let len = reserved.len() + body.len();
        let ahs_length = u16::try_from(len).map_err(|_| AhsError::BadLength { kind, len })?;
        out.extend_from_slice(&ahs_length.to_be_bytes());
        out.push(kind);
        out.extend_from_slice(reserved);
        out.extend_from_slice(body);
        out.resize(out.len() + super::bhs::padding(3 + len), 0);
        Ok(())
    }
}

/// Puts the CDB of `command` together in `out` and returns its length in bytes: 16, or more with an Extended CDB AHS.
/// How many of them the operation code uses is for the device server.
///
/// # Errors
/// Any [`AhsError`] of the segments in `ahs`.
#[inline]
pub fn cdb(command: &ScsiCommand, ahs: &[u8], out: &mut [u8; MAX_CDB]) -> Result<usize, AhsError> {
    let (head, tail) = out.split_at_mut(CDB_IN_BHS);
    head.copy_from_slice(&command.cdb);
    let mut len = CDB_IN_BHS;
    for segment in Segments::new(ahs) {
        if let Ahs::ExtendedCdb(spill) = segment? {
            if len > CDB_IN_BHS {
                return Err(AhsError::DuplicateExtendedCdb);
            }
            len += spill.len();
            tail.get_mut(..spill.len()).ok_or(AhsError::CdbTooLong(len))?.copy_from_slice(spill);
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{CmdSn, Itt, Lun, StatSn, TaskAttr};
    use proptest::prelude::*;

    fn command() -> ScsiCommand {
        ScsiCommand {
            immediate_delivery: false,
            is_final: true,
            read: false,
            write: false,
            attr: TaskAttr::SIMPLE,
            priority: 0,
            total_ahs_words: 0,
            data_segment_len: 0,
            lun: Lun::flat(0),
            itt: Itt(1),
            edtl_bytes: 0,
            cmd_sn: CmdSn(1),
            exp_stat_sn: StatSn(1),
            cdb: std::array::from_fn(|i| i as u8),
        }
    }

    // A 20-byte CDB's spillover and the length of a bidirectional read, as the figures of 11.2.2.3 and 11.2.2.4 lay
    // them out.
    const GOLDEN: [u8; 16] = [0, 5, 1, 0, 16, 17, 18, 19, 0, 5, 2, 0, 0, 1, 2, 3];
    const PARSED: [Ahs; 2] = [Ahs::ExtendedCdb(&[16, 17, 18, 19]), Ahs::BidiReadEdtl(0x0001_0203)];

    #[test]
    fn golden_bytes_both_ways() {
        let parsed: Result<Vec<_>, _> = Segments::new(&GOLDEN).collect();
        assert_eq!(parsed.unwrap(), PARSED);
        let mut out = Vec::new();
        PARSED.iter().for_each(|ahs| ahs.emit(&mut out).unwrap());
        assert_eq!(out, GOLDEN);
    }

    #[test]
    fn cdb_is_joined() {
        let mut out = [0xff; MAX_CDB];
        assert_eq!(cdb(&command(), &[], &mut out), Ok(16));
        assert_eq!(cdb(&command(), &GOLDEN, &mut out), Ok(20));
        assert!(out[..20].iter().enumerate().all(|(i, &byte)| byte as usize == i));
    }

    #[test]
    fn longest_cdb_and_one_more() {
        let (mut ahs, mut out) = (Vec::new(), [0; MAX_CDB]);
        Ahs::ExtendedCdb(&[1; MAX_CDB - 16]).emit(&mut ahs).unwrap();
        assert_eq!(cdb(&command(), &ahs, &mut out), Ok(MAX_CDB));
        ahs.clear();
        Ahs::ExtendedCdb(&[1; MAX_CDB - 15]).emit(&mut ahs).unwrap();
        assert_eq!(cdb(&command(), &ahs, &mut out), Err(AhsError::CdbTooLong(MAX_CDB + 1)));
    }

    #[test]
    fn lengths_that_do_not_fit() {
        fn first(bytes: &[u8]) -> Result<Ahs<'_>, AhsError> {
            Segments::new(bytes).next().unwrap()
        }
        assert_eq!(first(&[0, 5, 1, 0]), Err(AhsError::Truncated { len: 8, left: 4 }));
        assert_eq!(first(&[0, 1]), Err(AhsError::Truncated { len: 4, left: 2 }));
        assert_eq!(first(&[0xff, 0xff, 9, 0]), Err(AhsError::Truncated { len: 65540, left: 4 }));
        assert_eq!(first(&[0, 1, 1, 0]), Err(AhsError::BadLength { kind: 1, len: 1 }));
        assert_eq!(first(&[0, 4, 2, 0, 0, 0, 0, 0]), Err(AhsError::BadLength { kind: 2, len: 4 }));
        assert_eq!(first(&[0, 0, 0xc7, 0]), Ok(Ahs::Unknown { kind: 7, body: &[] }));
        assert_eq!(Segments::new(&[0, 5, 1, 0]).count(), 1, "an error ends the walk");
        let twice = [GOLDEN, GOLDEN].concat();
        assert_eq!(cdb(&command(), &twice, &mut [0; MAX_CDB]), Err(AhsError::DuplicateExtendedCdb));
    }

    proptest! {
        #[test]
        fn any_bytes_fail_or_come_back(words in prop::collection::vec(any::<[u8; 4]>(), 0..64)) {
            let mut bytes = words.concat();
            // Short lengths, or hardly any segment would fit.
            bytes.iter_mut().step_by(4).for_each(|byte| *byte = 0);
            let _ = cdb(&command(), &bytes, &mut [0; MAX_CDB]);
            if let Ok(segments) = Segments::new(&bytes).collect::<Result<Vec<_>, _>>() {
                let mut out = Vec::new();
                segments.iter().for_each(|ahs| ahs.emit(&mut out).unwrap());
                let again: Vec<_> = Segments::new(&out).map(Result::unwrap).collect();
                prop_assert_eq!(out.len(), bytes.len());
                prop_assert_eq!(segments, again);
            }
        }
    }
}
