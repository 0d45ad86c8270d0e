//! The few CDBs that a load needs, and sense data in words.

use std::fmt;

/// SCSI status codes (SAM-5 clause 5.3.1).
pub mod status {
    /// GOOD.
    pub const GOOD: u8 = 0x00;
    /// CHECK CONDITION.
    pub const CHECK_CONDITION: u8 = 0x02;
    /// BUSY.
    pub const BUSY: u8 = 0x08;
    /// TASK SET FULL.
    pub const TASK_SET_FULL: u8 = 0x28;
}

/// TEST UNIT READY (SPC-4 clause 6.47).
pub const TEST_UNIT_READY: [u8; 16] = [0; 16];

/// Length of the parameter data that [`read_capacity_16`] asks for.
pub const CAPACITY_LEN: u32 = 32;

/// READ CAPACITY(16) (SBC-3 clause 5.16).
pub fn read_capacity_16() -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[0] = 0x9e;
    cdb[1] = 0x10;
    cdb[10..14].copy_from_slice(&CAPACITY_LEN.to_be_bytes());
    cdb
}

/// Number of blocks and block length in bytes from the parameter data of READ CAPACITY(16).
pub fn capacity(data: &[u8]) -> Option<(u64, u32)> {
    let last = u64::from_be_bytes(*data.first_chunk()?);
    let block = u32::from_be_bytes(*data.get(8..)?.first_chunk()?);
    Some((last.checked_add(1)?, block)).filter(|&(_, block)| block > 0)
}

/// READ(10), or READ(16) where the address asks for it (SBC-3 clauses 5.11 and 5.13).
#[inline]
pub fn read(lba: u64, blocks: u32) -> [u8; 16] {
    read_write(0x28, 0x88, lba, blocks)
}

/// WRITE(10), or WRITE(16) where the address asks for it (SBC-3 clauses 5.30 and 5.32).
#[inline]
pub fn write(lba: u64, blocks: u32) -> [u8; 16] {
    read_write(0x2a, 0x8a, lba, blocks)
}

/// WRITE SAME(16) (SBC-3 clause 5.45).
pub fn write_same_16(lba: u64, blocks: u32) -> [u8; 16] {
    read_write_16(0x93, lba, blocks)
}

#[inline]
fn read_write(ten: u8, sixteen: u8, lba: u64, blocks: u32) -> [u8; 16] {
    match (u32::try_from(lba), u16::try_from(blocks)) {
        (Ok(lba), Ok(blocks)) => {
            let mut cdb = [0; 16];
            cdb[0] = ten;
            cdb[2..6].copy_from_slice(&lba.to_be_bytes());
            cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
            cdb
        }
        _ => read_write_16(sixteen, lba, blocks),
    }
}

fn read_write_16(opcode: u8, lba: u64, blocks: u32) -> [u8; 16] {
    let mut cdb = [0; 16];
    cdb[0] = opcode;
    cdb[2..10].copy_from_slice(&lba.to_be_bytes());
    cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
    cdb
}

/// What a CHECK CONDITION says (SPC-4 clause 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// Sense key.
    pub key: u8,
    /// Additional sense code.
    pub asc: u8,
    /// Its qualifier.
    pub ascq: u8,
}

impl Sense {
    const UNIT_ATTENTION: u8 = 6;

    /// Decodes the data segment of a SCSI Response: two bytes of length, then sense data of either format.
    pub fn parse(segment: &[u8]) -> Option<Self> {
        let sense = segment.get(2..)?;
        let at = |index: usize| sense.get(index).copied();
        match at(0)? & 0x7f {
            0x70 | 0x71 => Some(Self { key: at(2)? & 0xf, asc: at(12).unwrap_or(0), ascq: at(13).unwrap_or(0) }),
            0x72 | 0x73 => Some(Self { key: at(1)? & 0xf, asc: at(2)?, ascq: at(3)? }),
            _ => None,
        }
    }

    /// The command did not run and is to be sent again.
    pub fn is_unit_attention(self) -> bool {
        self.key == Self::UNIT_ATTENTION
    }
}

/// From a sense key and an additional sense code with its qualifier.
impl From<(u8, u16)> for Sense {
    fn from((key, code): (u8, u16)) -> Self {
        let [asc, ascq] = code.to_be_bytes();
        Self { key, asc, ascq }
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KEYS: [&str; 16] = [
            "NO SENSE",
            "RECOVERED ERROR",
            "NOT READY",
            "MEDIUM ERROR",
            "HARDWARE ERROR",
            "ILLEGAL REQUEST",
            "UNIT ATTENTION",
            "DATA PROTECT",
            "BLANK CHECK",
            "VENDOR SPECIFIC",
            "COPY ABORTED",
            "ABORTED COMMAND",
            "reserved",
            "VOLUME OVERFLOW",
            "MISCOMPARE",
            "COMPLETED",
        ];
        write!(f, "{} {:02x}/{:02x}", KEYS[usize::from(self.key & 0xf)], self.asc, self.ascq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_cdb_where_it_fits() {
        assert_eq!(read(0x0102_0304, 8)[..10], [0x28, 0, 1, 2, 3, 4, 0, 0, 8, 0]);
        assert_eq!(write(1, 70_000)[..14], [0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0x11, 0x70]);
        assert_eq!(read(1 << 32, 1)[0], 0x88);
        assert_eq!(write_same_16(0, 2)[0], 0x93);
    }

    #[test]
    fn both_sense_formats() {
        let mut fixed = [0; 20];
        fixed[2] = 0x70;
        fixed[4] = 0x06;
        fixed[14] = 0x29;
        let sense = Sense::parse(&fixed).unwrap();
        assert!(sense.is_unit_attention());
        assert_eq!(sense.to_string(), "UNIT ATTENTION 29/00");
        let descriptor = [0, 8, 0x72, 0x05, 0x21, 0x00, 0, 0, 0, 0];
        assert_eq!(Sense::parse(&descriptor).unwrap().to_string(), "ILLEGAL REQUEST 21/00");
        for len in 0..4 {
            assert_eq!(Sense::parse(&descriptor[..len]), None);
        }
    }

    #[test]
    fn capacity_of_a_lun() {
        let mut data = [0; 32];
        data[7] = 99;
        data[10] = 2;
        assert_eq!(capacity(&data), Some((100, 512)));
        assert_eq!(capacity(&[0; 32]), None);
        assert_eq!(capacity(&[0; 9]), None);
    }
}
