//! The data segment of a PDU that is sent, on either side: bytes that are at hand, or data that stays where it lies.

/// Data that its owner keeps where it lies until it is sent: an opaque address, to which only offsets are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataRef(pub u64);

impl DataRef {
    /// The reference `bytes` further on.
    #[inline]
    #[must_use]
    pub const fn advanced(self, bytes: u32) -> DataRef {
        DataRef(self.0.wrapping_add(bytes as u64))
    }
}

/// The data segment of a PDU that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// None.
    None,
    /// These bytes, copied by the outbox before it returns: sense, text, a ping.
    Bytes(&'a [u8]),
    /// `len` bytes of a command's data.
    Data {
        /// Where.
        at: DataRef,
        /// How many.
        len: u32,
    },
}

impl Payload<'_> {
    /// Bytes in it, without padding.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Payload::None => 0,
            Payload::Bytes(bytes) => bytes.len(),
            Payload::Data { len, .. } => *len as usize,
        }
    }

    /// No bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
