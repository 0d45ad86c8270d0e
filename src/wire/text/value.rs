//! The types that a value can have (RFC 7143 section 6.1).

use std::ops::RangeInclusive;

/// A value of a `key=value` pair, to be read as what the key says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginValue<'a>(pub &'a str);

/// Why a value is not what its key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Neither `Yes` nor `No`.
    #[error("not Yes or No")]
    NotBoolean,
    /// Neither a decimal nor a hexadecimal constant.
    #[error("not a number")]
    NotNumber,
    /// A number beyond 64 bits, or outside of the key's bounds.
    #[error("the number is out of range")]
    OutOfRange,
    /// Not two numbers with a tilde between, the first not greater than the second.
    #[error("not a range of numbers")]
    NotRange,
    /// Neither a hexadecimal nor a base64 constant.
    #[error("not a binary value")]
    NotBinary,
    /// A binary value with more bytes than this.
    #[error("the binary value has more than {0} bytes")]
    TooLong(usize),
}

impl<'a> LoginValue<'a> {
    /// `Yes` or `No`.
    ///
    /// # Errors
    /// [`ValueError::NotBoolean`]; case matters.
    pub fn boolean(self) -> Result<bool, ValueError> {
        match self.0 {
            "Yes" => Ok(true),
            "No" => Ok(false),
            _ => Err(ValueError::NotBoolean),
        }
    }

    /// A numerical-value: decimal, or hexadecimal after `0x`.
    ///
    /// # Errors
    /// [`ValueError::NotNumber`]; [`ValueError::OutOfRange`] if it is not less than 2^64.
    pub fn number(self) -> Result<u64, ValueError> {
        let (radix, digits) = match strip_prefix(self.0, "0x", "0X") {
            Some(hex) => (16, hex),
            None => (10, self.0),
        };
        //= RFC 7143 section 6.1
        //# decimal-constant: An unsigned decimal number with the digit 0 or
        //# a string of one or more digits that starts with a non-zero
        //# digit.
        let leading_zero = radix == 10 && digits.len() > 1 && digits.starts_with('0');
        if digits.is_empty() || leading_zero || !digits.chars().all(|c| c.is_digit(radix)) {
            return Err(ValueError::NotNumber);
        }
        //= RFC 7143 section 6.1
        //# Decimal-constants MUST NOT be used for parameter values if the values
        //# can be equal to or greater than 2**64 (numerical) or for binary strings
        //# that can be longer than 64 bits.
        u64::from_str_radix(digits, radix).map_err(|_| ValueError::OutOfRange)
    }

    /// A numerical-value within `bounds`.
    ///
    /// # Errors
    /// As [`Self::number`]; [`ValueError::OutOfRange`] also if it is outside of `bounds`.
    pub fn number_in(self, bounds: RangeInclusive<u64>) -> Result<u64, ValueError> {
        let number = self.number()?;
        if bounds.contains(&number) { Ok(number) } else { Err(ValueError::OutOfRange) }
    }

    /// A numerical-range: `1~5`.
    ///
    /// # Errors
    /// [`ValueError::NotRange`], or as [`Self::number`] for its ends.
    pub fn range(self) -> Result<RangeInclusive<u64>, ValueError> {
        let (low, high) = self.0.split_once('~').ok_or(ValueError::NotRange)?;
        let (low, high) = (LoginValue(low).number()?, LoginValue(high).number()?);
        //= RFC 7143 section 6.1
        //# numerical-range: Two numerical-values separated by a tilde,
        //# where the value to the right of the tilde must not be lower than
        //# the value to the left.
        if low <= high { Ok(low..=high) } else { Err(ValueError::NotRange) }
    }

    /// The items of a list-of-values, in the proposer's order of preference. They may be empty.
    pub fn list(self) -> impl Iterator<Item = &'a str> + Clone {
        self.0.split(',')
    }

    /// Decodes a binary string (hexadecimal after `0x`, base64 after `0b`) into the front of `out`; returns its length
    /// in bytes. An odd number of hexadecimal digits has an implicit zero in front.
    ///
    /// # Errors
    /// [`ValueError::NotBinary`]; [`ValueError::TooLong`] if `out` is too small (its content is then undefined).
    pub fn binary(self, out: &mut [u8]) -> Result<usize, ValueError> {
        if let Some(hex) = strip_prefix(self.0, "0x", "0X") {
            decode_hex(hex.as_bytes(), out)
        } else if let Some(base64) = strip_prefix(self.0, "0b", "0B") {
            decode_base64(base64.as_bytes(), out)
        } else {
            Err(ValueError::NotBinary)
        }
    }
}

fn strip_prefix<'a>(value: &'a str, small: &str, capital: &str) -> Option<&'a str> {
    value.strip_prefix(small).or_else(|| value.strip_prefix(capital))
}

fn hex_digit(byte: u8) -> Result<u8, ValueError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(ValueError::NotBinary),
    }
}

fn decode_hex(digits: &[u8], out: &mut [u8]) -> Result<usize, ValueError> {
    if digits.is_empty() {
        return Err(ValueError::NotBinary);
    }
    //= RFC 7143 section 6.1
    //# For example, a hex-constant of n hexadecimal digits has
    //# a byte-length of (the integer part of) (n + 1)/2.
    let len = digits.len().div_ceil(2);
    let too_long = ValueError::TooLong(out.len());
    let to = out.get_mut(..len).ok_or(too_long)?;
    // From the end, so that an odd first digit stays alone.
    for (to, pair) in to.iter_mut().rev().zip(digits.rchunks(2)) {
        *to = pair.iter().try_fold(0, |byte, &digit| Ok(byte << 4 | hex_digit(digit)?))?;
    }
    Ok(len)
}

fn base64_digit(byte: u8) -> Result<u32, ValueError> {
    match byte {
        b'A'..=b'Z' => Ok(u32::from(byte - b'A')),
        b'a'..=b'z' => Ok(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Ok(u32::from(byte - b'0') + 52),
        b'+' => Ok(62),
        b'/' => Ok(63),
        _ => Err(ValueError::NotBinary),
    }
}

/// RFC 4648 section 4: groups of four digits, the last filled up with `=`, unused bits zero.
fn decode_base64(digits: &[u8], out: &mut [u8]) -> Result<usize, ValueError> {
    if digits.is_empty() || !digits.len().is_multiple_of(4) {
        return Err(ValueError::NotBinary);
    }
    let pads = digits.iter().rev().take_while(|&&byte| byte == b'=').count().min(3);
    let len = (digits.len() / 4 * 3).checked_sub(pads).filter(|_| pads < 3).ok_or(ValueError::NotBinary)?;
    let too_long = ValueError::TooLong(out.len());
    let to = out.get_mut(..len).ok_or(too_long)?;
    let data = digits.get(..digits.len() - pads).unwrap_or_default();
    for (to, group) in to.chunks_mut(3).zip(data.chunks(4)) {
        let mut bits = group.iter().try_fold(0, |bits, &digit| Ok(bits << 6 | base64_digit(digit)?))?;
        bits <<= 6 * (4 - group.len());
        let [_, bytes @ ..] = bits.to_be_bytes();
        let (used, unused) = bytes.split_at_checked(to.len()).ok_or(ValueError::NotBinary)?;
        if unused.iter().any(|&byte| byte != 0) {
            return Err(ValueError::NotBinary);
        }
        to.copy_from_slice(used);
    }
    Ok(len)
}
