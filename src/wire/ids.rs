//! Tags, handles and addresses that PDUs carry: [`Itt`], [`Ttt`], [`Cid`], [`Tsih`], [`Isid`] and [`Lun`].
//!
//! They are bare values as they stand on the wire; who may use which is decided above.

use std::fmt;

/// Initiator Task Tag (RFC 7143 section 11.2.1.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Itt(pub u32);

/// Target Transfer Tag (RFC 7143 section 11.7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ttt(pub u32);

macro_rules! tag {
    ($name:ident) => {
        impl $name {
            /// The value that stands for "no tag".
            pub const RESERVED: Self = Self(0xffff_ffff);

            /// Whether this is the value that stands for "no tag".
            #[inline]
            pub const fn is_reserved(self) -> bool {
                self.0 == Self::RESERVED.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}
tag!(Itt);
tag!(Ttt);

/// Connection ID, unique within a session (RFC 7143 section 11.12.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid(pub u16);

/// Target Session Identifying Handle; 0 asks for a new session (RFC 7143 section 11.12.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tsih(pub u16);

/// The initiator's part of the session identifier (RFC 7143 section 11.12.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Isid(pub [u8; 6]);

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Tsih {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// As SPC prints it in an initiator port name: `0x` and twelve hexadecimal digits.
impl fmt::Display for Isid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The 8-byte address of a logical unit (SAM-5 clause 4.7; RFC 7143 section 11.2.1.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lun(pub [u8; 8]);

impl Lun {
    /// The REPORT LUNS well-known logical unit (SAM-5 clause 4.7.7.5.2; SPC-4 clause 8.2).
    pub const REPORT_LUNS: Self = Self([0xc1, 0x01, 0, 0, 0, 0, 0, 0]);

    /// Logical units whose number is below this have a peripheral-device address, the others a flat-space one.
    const PERIPHERAL_LIMIT: u16 = 256;

    /// What the 14 bits of a flat-space address can hold.
    pub const MAX_NUMBER: u16 = 0x3fff;

    /// Whether two fields name the same logical unit, however each was written.
    pub fn is_same_unit(self, other: Lun) -> bool {
        self == other || self.number().is_some() && self.number() == other.number()
    }

    /// The single-level address of logical unit `number`: peripheral device addressing on bus 0 below 256, flat space
    /// above (SAM-5 clauses 4.7.7.2 and 4.7.7.3). Only the low 14 bits count: a target has at most 16384 of them.
    pub const fn flat(number: u16) -> Self {
        let [high, low] = (number & Self::MAX_NUMBER).to_be_bytes();
        if number < Self::PERIPHERAL_LIMIT {
            Self([0, low, 0, 0, 0, 0, 0, 0])
        } else {
            Self([0x40 | high, low, 0, 0, 0, 0, 0, 0])
        }
    }

    /// The number in a single-level address: peripheral device addressing on bus 0, or flat space. `None` for any other
    /// address (more levels, another bus, logical unit addressing, well-known logical units).
    #[inline]
    pub const fn number(self) -> Option<u16> {
        let address = u64::from_be_bytes(self.0);
        let (first_level, others) = ((address >> 48) as u16, address << 16);
        match first_level {
            _ if others != 0 => None,
            number @ 0..=0xff => Some(number),
            0x4000..=0x7fff => Some(first_level & Self::MAX_NUMBER),
            _ => None,
        }
    }

    /// Whether this is the REPORT LUNS well-known logical unit.
    #[inline]
    pub fn is_report_luns_wlun(self) -> bool {
        self == Self::REPORT_LUNS
    }
}

impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => number.fmt(f),
            None => write!(f, "{:#018x}", u64::from_be_bytes(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        for number in 0..=Lun::MAX_NUMBER {
            assert_eq!(Lun::flat(number).number(), Some(number));
        }
        assert_eq!(Lun::flat(255).0, [0, 255, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Lun::flat(256).0, [0x41, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Lun([0x40, 7, 0, 0, 0, 0, 0, 0]).number(), Some(7), "flat space is accepted below 256 too");
    }

    #[test]
    fn other_addresses_have_no_number() {
        for bytes in [
            [0, 1, 0, 1, 0, 0, 0, 0],    // second level
            [1, 0, 0, 0, 0, 0, 0, 0],    // bus 1
            [0x80, 0, 0, 0, 0, 0, 0, 0], // logical unit addressing
            [0xc1, 1, 0, 0, 0, 0, 0, 0], // well-known logical unit
            [0, 1, 0, 0, 0, 0, 0, 1],
        ] {
            assert_eq!(Lun(bytes).number(), None, "{bytes:02x?}");
        }
        assert!(Lun::REPORT_LUNS.is_report_luns_wlun());
        assert!(!Lun([0xc1, 2, 0, 0, 0, 0, 0, 0]).is_report_luns_wlun());
    }

    #[test]
    fn reserved_tags() {
        assert!(Itt::RESERVED.is_reserved() && !Itt(0).is_reserved());
        assert!(Ttt(0xffff_ffff).is_reserved());
        assert_eq!(Isid([0, 2, 0x3d, 0, 0, 1]).to_string(), "0x00023d000001");
    }
}
