//! Sizes as people write them: `1GiB`, `512K`, `10GB`, `4096`.
//!
//! `K M G T P` and `KiB MiB GiB TiB PiB` are powers of 1024, `KB MB GB TB PB` powers of 1000, as drives are sold; a plain
//! number and `B` are bytes. Case does not matter. Fractions are refused: `1.5GiB` is `1536MiB`.

pub use crate::model::Bytes;

/// Unit suffixes in lower case and what they multiply with.
const UNITS: [(&str, u64); 17] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("p", 1 << 50),
    ("pib", 1 << 50),
    ("pb", 1_000_000_000_000_000),
];

/// Why a text is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not a whole number and a unit.
    #[error(
        "is no size: write a whole number and a unit, like 512MiB, 1GiB or 10GB (units: B KiB MiB GiB TiB KB MB GB TB)"
    )]
    Format,
    /// More than 64 bits of bytes.
    #[error("is larger than any disk")]
    Overflow,
}

/// The bytes that `text` means.
///
/// # Errors
/// When it is not a whole number with one of the units, or does not fit 64 bits.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(SizeError::Format);
    }
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(SizeError::Format)?;
    let number: u64 = digits.parse().map_err(|_| SizeError::Overflow)?;
    number.checked_mul(*factor).ok_or(SizeError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        let sizes = [
            ("0", 0),
            ("4096", 4096),
            ("512B", 512),
            ("1GiB", 1 << 30),
            ("256MiB", 256 << 20),
            ("512KiB", 512 << 10),
            ("1TiB", 1 << 40),
            ("2PiB", 2 << 50),
            ("1g", 1 << 30),
            ("3T", 3 << 40),
            ("10GB", 10_000_000_000),
            ("1 MiB", 1 << 20),
            (" 7 kb ", 7_000),
        ];
        for (text, bytes) in sizes {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "GiB", "1.5GiB", "-1", "+1", "1GiBs", "0x10", "1 G iB", "1_000", "ein GB"] {
            assert_eq!(parse(text), Err(SizeError::Format), "{text}");
        }
        for text in ["18446744073709551616", "16384PiB", "99999999999999999999T"] {
            assert_eq!(parse(text), Err(SizeError::Overflow), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_shown_reads_as_itself(number in 0u64..1 << 14, shift in 0u32..50) {
            let bytes = number << shift;
            let shown = Bytes(bytes).to_string();
            prop_assert_eq!(parse(shown.trim_end_matches(" bytes")), Ok(bytes));
        }
    }
}
