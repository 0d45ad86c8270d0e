//! The text of Login and Text PDUs: `key=value` pairs, each followed by a null (RFC 7143 section 6.1).
//!
//! [`Pairs`] reads a complete text: where the C bit spreads it over PDUs, the session joins their data segments first.
//! [`TextWriter`] appends pairs to a buffer. A value is a `&str` here; [`LoginValue`] reads numbers, ranges, lists,
//! booleans and binary strings out of one.
//!
//! Not here: which keys there are, what they may hold and who may send them; and cutting a long answer into PDUs.

mod value;

pub use value::{LoginValue, ValueError};

use std::fmt::{self, Write as _};

/// Longest key name in bytes (RFC 7143 section 6.1, standard-label).
pub const MAX_KEY_LEN: usize = 63;

/// What a negotiation can answer instead of a value (RFC 7143 section 6.2).
pub mod answer {
    /// The key does not matter under what else was negotiated.
    pub const IRRELEVANT: &str = "Irrelevant";
    /// The function is missing, by choice.
    pub const NONE: &str = "None";
    /// The receiver does not know the key.
    pub const NOT_UNDERSTOOD: &str = "NotUnderstood";
    /// None of the proposed values is acceptable.
    pub const REJECT: &str = "Reject";
}

/// Why a text is not a sequence of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The last pair is not followed by a null.
    #[error("a pair is not terminated")]
    MissingTerminator,
    /// A pair has no equals sign.
    #[error("a pair has no '='")]
    MissingEquals,
    /// There is nothing before the equals sign.
    #[error("a key is empty")]
    EmptyKey,
    /// A key has more than [`MAX_KEY_LEN`] bytes.
    #[error("a key of {0} bytes is too long")]
    KeyTooLong(usize),
    /// A key does not begin with a letter, or has a byte that keys cannot have.
    #[error("byte {0:#04x} is not allowed at its place in a key")]
    BadKeyByte(u8),
    /// A value is not UTF-8.
    #[error("a value is not UTF-8")]
    ValueNotUtf8,
}

/// Iterates over the pairs of a text as `(key, value)`. The first error is its last item.
///
/// Nulls beyond the one that ends the last pair are passed over: some initiators count them in, as padding.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// Over a complete text.
    pub const fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    fn parse_next(&mut self) -> Result<(&'a str, &'a str), TextError> {
        //= RFC 7143 section 6.1
        //# Every key=value pair, including the last or only pair in a LTDS, MUST
        //# be followed by one null (0x00) delimiter.
        let (pair, rest) = split_once(self.rest, 0).ok_or(TextError::MissingTerminator)?;
        self.rest = rest;
        //= RFC 7143 section 6.1
        //# A key-name is whatever precedes the first "=" in the key=value pair.
        let (key, value) = split_once(pair, b'=').ok_or(TextError::MissingEquals)?;
        let value = std::str::from_utf8(value).map_err(|_| TextError::ValueNotUtf8)?;
        Ok((parse_key(key)?, value))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a str, &'a str), TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.iter().all(|&byte| byte == 0) {
            self.rest = &[];
            return None;
        }
        let item = self.parse_next();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

impl std::iter::FusedIterator for Pairs<'_> {}

/// What precedes the first `separator`, and what follows it.
fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == separator)?;
    let (head, tail) = bytes.split_at_checked(at)?;
    Some((head, tail.split_first()?.1))
}

/// Checks a key. Wider than the RFC's standard-label by what its own keys need: `iSCSIProtocolLevel` (RFC 7144) begins
/// with a small letter, `X#NodeArchitecture` has a number sign.
fn parse_key(key: &[u8]) -> Result<&str, TextError> {
    let first = *key.first().ok_or(TextError::EmptyKey)?;
    //= RFC 7143 section 6.1
    //# A standard-label MUST begin with a capital letter
    //# and must not exceed 63 characters.
    if key.len() > MAX_KEY_LEN {
        return Err(TextError::KeyTooLong(key.len()));
    }
    if !first.is_ascii_alphabetic() {
        return Err(TextError::BadKeyByte(first));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-+@_#".contains(&byte);
    if let Some(&bad) = key.iter().find(|&&byte| !allowed(byte)) {
        return Err(TextError::BadKeyByte(bad));
    }
    // ASCII it is by now.
    std::str::from_utf8(key).map_err(|_| TextError::BadKeyByte(first))
}

/// Appends pairs to a buffer.
///
/// Keys and values come from this program's own tables and from what [`Pairs`] accepted, so they hold no null; a value
/// that does would end early at the receiver, hence it is cut there.
#[derive(Debug)]
pub struct TextWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> TextWriter<'a> {
    /// Appends to `out`, whose content stays.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// `key=value`, the value as it is or as it displays itself (a number, a name).
    pub fn pair(&mut self, key: &str, value: impl fmt::Display) {
        self.begin(key);
        let _infallible = write!(self, "{value}");
        self.end();
    }

    /// `key=Yes` or `key=No`.
    pub fn boolean(&mut self, key: &str, value: bool) {
        self.pair(key, if value { "Yes" } else { "No" });
    }

    /// `key=a,b,c`.
    pub fn list<T: fmt::Display>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        self.begin(key);
        for (i, value) in values.into_iter().enumerate() {
            let _infallible = write!(self, "{}{value}", if i > 0 { "," } else { "" });
        }
        self.end();
    }

    /// `key=0x...`: a binary string, two hexadecimal digits per byte.
    pub fn binary(&mut self, key: &str, value: &[u8]) {
        self.begin(key);
        //= RFC 7143 section 6.1
        //# Decimal-constants MUST NOT be used for parameter values if the values
        //# can be equal to or greater than 2**64 (numerical) or for binary strings
        //# that can be longer than 64 bits.
        self.out.extend_from_slice(b"0x");
        for byte in value {
            let _infallible = write!(self, "{byte:02x}");
        }
        self.end();
    }

    fn begin(&mut self, key: &str) {
        debug_assert!(parse_key(key.as_bytes()).is_ok(), "{key:?} is no key");
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
    }

    fn end(&mut self) {
        self.out.push(0);
    }
}

/// Only for `write!` above: what it writes is part of a value.
impl fmt::Write for TextWriter<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.out.extend(s.bytes().filter(|&byte| byte != 0));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
