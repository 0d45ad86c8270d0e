//! Logical text data segments: the key=value text of one turn, gathered from PDUs with the C bit and cut into such PDUs
//! again (RFC 7143 sections 6.1 and 6.2). Login and full feature phase share it.
//!
//! [`Inbound`] gathers, [`Outbound`] cuts. Both are bounded: a peer cannot make them hold more than
//! `limits::MAX_TEXT_BYTES`, in `limits::MAX_TEXT_PAIRS` pairs, and `limits::MAX_TEXT_ANSWER_BYTES`.

use crate::limits;

/// The text of an initiator's turn, as far as it has come.
#[derive(Debug, Default)]
pub struct Inbound {
    text: Vec<u8>,
    /// Bytes of all turns of this negotiation.
    total: usize,
    /// Nulls that end a pair, of all turns.
    pairs: usize,
}

/// A negotiation is longer than the limits allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuchText;

impl Inbound {
    /// Takes the data segment of one more request.
    ///
    /// # Errors
    /// The negotiation exceeds `limits::MAX_TEXT_BYTES` or `limits::MAX_TEXT_PAIRS`.
    pub fn push(&mut self, data: &[u8]) -> Result<(), TooMuchText> {
        //= RFC 7143 section 6.1
        //# Any iSCSI target or initiator MUST support receiving at least
        //# 8192 bytes of key=value data in a negotiation sequence.
        //= RFC 7143 section 6.1
        //# When proposing or accepting authentication methods that explicitly
        //# require support for very long authentication items, the initiator and
        //# target MUST support receiving at least 64 kilobytes of key=value data.
        self.total = self.total.saturating_add(data.len());
        // Each pair is looked up and answered: that costs more than its bytes.
        let ends_here = data.first() == Some(&0) && self.text.last().is_some_and(|&last| last != 0);
        let ends = |two: &&[u8]| matches!(two, [before, 0] if *before != 0);
        self.pairs += usize::from(ends_here) + data.windows(2).filter(ends).count();
        if self.total > limits::MAX_TEXT_BYTES || self.pairs > limits::MAX_TEXT_PAIRS {
            return Err(TooMuchText);
        }
        self.text.extend_from_slice(data);
        Ok(())
    }

    /// Bytes of memory that it takes.
    pub fn cost(&self) -> usize {
        self.text.capacity()
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

    /// Bytes of memory that it takes.
    pub fn cost(&self) -> usize {
        self.text.capacity()
    }

    /// Whether anything is left to be sent.
    pub fn is_pending(&self) -> bool {
        self.sent < self.text.len()
    }

    /// The next data segment, at most `max_bytes` long; more is left if `is_pending` then.
    ///
    /// The segment ends behind a key=value pair if one ends within `max_bytes`. The RFC does not ask for that, but some
    /// initiators parse each PDU for itself.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    fn both_directions_are_bounded() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.push(&vec![b'A'; limits::MAX_TEXT_BYTES]), Ok(()));
        inbound.take();
        assert_eq!(inbound.push(b"B"), Err(TooMuchText), "the limit is on the whole negotiation");
        let (mut inbound, pair) = (Inbound::default(), b"A=\0");
        for part in pair.repeat(limits::MAX_TEXT_PAIRS).chunks(10) {
            assert_eq!(inbound.push(part), Ok(()));
        }
        assert_eq!(inbound.push(&[0; 1000]), Ok(()), "padding");
        inbound.take();
        assert_eq!(inbound.push(pair), Err(TooMuchText), "each pair costs more than its bytes");
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
    }
}
