//! Logical text data segments: the key=value text of one turn, gathered from PDUs with the C bit and cut into such PDUs
//! again (RFC 7143 sections 6.1 and 6.2). Login and full feature phase share it.
//!
//! [`Inbound`] gathers, [`Outbound`] cuts. Both are bounded: a peer cannot make them hold more than
//! `limits::MAX_TEXT_BYTES` and `limits::MAX_TEXT_ANSWER_BYTES`.

use crate::limits;

/// The text of an initiator's turn, as far as it has come.
#[derive(Debug, Default)]
pub struct Inbound {
    text: Vec<u8>,
    /// Of all turns of this negotiation.
    total: usize,
}

/// A negotiation is longer than the limits allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuchText;

impl Inbound {
    /// Takes the data segment of one more request.
    ///
    /// # Errors
    /// The negotiation exceeds `limits::MAX_TEXT_BYTES`.
    pub fn push(&mut self, data: &[u8]) -> Result<(), TooMuchText> {
        //= RFC 7143 section 6.1
        //# Any iSCSI target or initiator MUST support receiving at least
        //# 8192 bytes of key=value data in a negotiation sequence.
        self.total = self.total.saturating_add(data.len());
        if self.total > limits::MAX_TEXT_BYTES {
            return Err(TooMuchText);
        }
        self.text.extend_from_slice(data);
        Ok(())
    }

    /// The complete text of the turn; the next one begins empty.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }
}

/// The text of our turn, as far as it has not been sent.
#[derive(Debug, Default)]
pub struct Outbound {
    text: Vec<u8>,
    sent: usize,
}

impl Outbound {
    /// Text to be sent; what was there before is forgotten.
    ///
    /// # Errors
    /// It exceeds `limits::MAX_TEXT_ANSWER_BYTES`.
    pub fn start(&mut self, text: Vec<u8>) -> Result<(), TooMuchText> {
        *self = Self::default();
        if text.len() > limits::MAX_TEXT_ANSWER_BYTES {
            return Err(TooMuchText);
        }
        self.text = text;
        Ok(())
    }

    /// Whether anything is left to be sent.
    pub fn is_pending(&self) -> bool {
        self.sent < self.text.len()
    }

    /// The next data segment, at most `max_bytes` long; more is left if `is_pending` then.
    ///
    /// It ends behind a key=value pair if one ends within `max_bytes`: not asked for, but some initiators parse each PDU
    /// for itself.
    pub fn part(&mut self, max_bytes: usize) -> &[u8] {
        let rest = self.text.get(self.sent..).unwrap_or_default();
        let len = match rest.get(..max_bytes) {
            Some(full) if full.len() < rest.len() => full.iter().rposition(|&b| b == 0).map_or(max_bytes, |at| at + 1),
            _ => rest.len(),
        };
        self.sent += len;
        rest.get(..len).unwrap_or_default()
    }
}

/// Splits a complete text into pairs of key and value.
///
/// Empty strings between pairs are skipped: some initiators count the padding into the length of the text.
pub fn pairs(text: &[u8]) -> impl Iterator<Item = Result<(&str, &str), BadPair>> {
    //= RFC 7143 section 6.1
    //# Every key=value pair, including the last or only pair in a LTDS, MUST
    //# be followed by one null (0x00) delimiter.
    let unterminated = text.last().is_some_and(|&b| b != 0);
    let pairs = text.split(|&b| b == 0).filter(|pair| !pair.is_empty()).map(|pair| {
        let pair = std::str::from_utf8(pair).map_err(|_| BadPair::NotUtf8)?;
        //= RFC 7143 section 6.1
        //# A key-name is whatever precedes the first "=" in the key=value pair.
        let (key, value) = pair.split_once('=').ok_or(BadPair::NoEquals)?;
        if is_standard_label(key) { Ok((key, value)) } else { Err(BadPair::KeyName) }
    });
    unterminated.then_some(Err(BadPair::Unterminated)).into_iter().chain(pairs)
}

/// Why a text is no sequence of key=value pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPair {
    /// The last pair has no delimiter.
    #[error("the last pair is not followed by a null")]
    Unterminated,
    /// Bytes that are no UTF-8.
    #[error("a pair is not UTF-8")]
    NotUtf8,
    /// No `=` in it.
    #[error("a pair has no =")]
    NoEquals,
    /// No standard-label before the `=`.
    #[error("a key name does not begin with a capital letter, is too long or has a character that is not allowed")]
    KeyName,
}

fn is_standard_label(name: &str) -> bool {
    //= RFC 7143 section 6.1
    //# A standard-label MUST begin with a capital letter
    //# and must not exceed 63 characters.
    //
    // `#` is not in the list of characters, but in the name of the key X#NodeArchitecture.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-+@_#".contains(&b);
    name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(allowed)
}

/// Appends `key=value` and its delimiter.
pub fn put(text: &mut Vec<u8>, key: &str, value: &str) {
    text.extend_from_slice(key.as_bytes());
    text.push(b'=');
    text.extend_from_slice(value.as_bytes());
    text.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn row_15_keys_are_standard_labels() {
        assert!(is_standard_label("MaxBurstLength") && is_standard_label("X#NodeArchitecture"));
        assert!(is_standard_label(&"A".repeat(63)) && !is_standard_label(&"A".repeat(64)));
        assert!(!is_standard_label("maxBurstLength") && !is_standard_label("") && !is_standard_label("A b"));
    }

    #[test]
    fn parts_end_behind_pairs_where_they_can() {
        let mut out = Outbound::default();
        out.start(b"A=1\0B=2\0C=345678901234567\0".to_vec()).unwrap();
        assert_eq!(out.part(10), b"A=1\0B=2\0");
        assert_eq!(out.part(10), b"C=34567890", "a longer pair is cut anywhere");
        assert!(out.is_pending());
        assert_eq!(out.part(10), b"1234567\0");
        assert!(!out.is_pending());
        assert_eq!(out.part(10), b"");
    }

    #[test]
    fn padding_and_the_missing_delimiter() {
        let all = |text: &'static [u8]| pairs(text).collect::<Result<Vec<_>, _>>();
        assert_eq!(all(b"A=1=2\0\0\0B=\0"), Ok(vec![("A", "1=2"), ("B", "")]));
        assert_eq!(all(b"A=1"), Err(BadPair::Unterminated));
        assert_eq!(all(b"A\0"), Err(BadPair::NoEquals));
        assert_eq!(all(b"A=\xff\0"), Err(BadPair::NotUtf8));
        assert_eq!(all(b"=1\0"), Err(BadPair::KeyName));
    }

    #[test]
    fn both_directions_are_bounded() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.push(&vec![b'A'; limits::MAX_TEXT_BYTES]), Ok(()));
        inbound.take();
        assert_eq!(inbound.push(b"B"), Err(TooMuchText), "the limit is on the whole negotiation");
        assert_eq!(Outbound::default().start(vec![0; limits::MAX_TEXT_ANSWER_BYTES + 1]), Err(TooMuchText));
    }

    proptest! {
        #[test]
        fn cutting_loses_nothing(text: Vec<u8>, max in 1usize..64) {
            let mut out = Outbound::default();
            out.start(text.clone()).unwrap();
            let mut joined = Vec::new();
            while out.is_pending() {
                let part = out.part(max);
                prop_assert!(!part.is_empty() && part.len() <= max);
                joined.extend_from_slice(part);
            }
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn any_bytes_are_split_without_panic(text: Vec<u8>) {
            for pair in pairs(&text) {
                let _ = pair;
            }
        }
    }
}
