//! What was received and cannot be acted on yet: bytes of one connection, and the memory of a core for all of them.
//!
//! Invariants: a connection has at most `limits::PARKED_BYTES`, a core `PARKED_BYTES_PER_CORE`. All memory is counted,
//! from when it is parked until it is acted on, dropped, or gone to another core.

use crate::limits::{PARKED_BYTES, PARKED_BYTES_PER_CORE, RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS};

/// Bytes that have been received and not acted on.
#[derive(Default)]
pub struct Parked {
    /// The bytes, in the order in which they came.
    pub bytes: Vec<u8>,
    /// The bytes before this one are done with.
    pub from: usize,
    /// It is among those that take turns.
    pub queued: bool,
    /// Bytes of memory that are counted for it ([`SpareParked::count`]).
    pub counted: usize,
    /// What comes is parked, too, behind these bytes.
    pub takes_turns: bool,
    /// The peer has closed its half: there will be no more.
    pub ended: bool,
}

impl Parked {
    /// Whether nothing is parked.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that are not acted on yet.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.from
    }

    /// Adds bytes. False: that would be too many.
    pub fn add(&mut self, bytes: &[u8]) -> bool {
        if self.len() + bytes.len() > PARKED_BYTES {
            return false;
        }
        self.bytes.drain(..std::mem::take(&mut self.from));
        self.bytes.extend_from_slice(bytes);
        true
    }
}

/// Memory of a core for parked bytes: some is kept, so that a turn that came late allocates nothing, and all is counted.
pub struct SpareParked {
    /// Empty buffers, each of `BYTES`.
    pub kept: Vec<Vec<u8>>,
    /// Bytes of memory that everything takes that is parked on this core.
    pub used: usize,
}

impl SpareParked {
    /// So many buffers are kept, each for all that the receive buffers hold. Their pages are taken when first used.
    const KEPT: usize = 4;
    /// Bytes of each.
    const BYTES: usize = RECEIVE_BUFFERS as usize * RECEIVE_BUFFER_BYTES;

    /// With all buffers that are kept.
    pub fn new() -> SpareParked {
        SpareParked { kept: (0..Self::KEPT).map(|_| Vec::with_capacity(Self::BYTES)).collect(), used: 0 }
    }

    /// Memory for a connection that has nothing parked.
    pub fn take(&mut self) -> Vec<u8> {
        self.kept.pop().unwrap_or_default()
    }

    /// Whether so many bytes more may be parked.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used + bytes <= PARKED_BYTES_PER_CORE
    }

    /// Counts what a connection has parked now.
    pub fn count(&mut self, parked: &mut Parked) {
        let before = std::mem::replace(&mut parked.counted, parked.bytes.capacity());
        self.used = self.used.saturating_sub(before) + parked.counted;
    }

    /// What a connection has parked leaves this core, or is dropped: it is counted no more.
    pub fn discount(&mut self, parked: &mut Parked) {
        self.used = self.used.saturating_sub(std::mem::take(&mut parked.counted));
    }

    /// Drops what a connection has parked.
    pub fn drop_of(&mut self, parked: &mut Parked) {
        self.discount(parked);
        (parked.bytes, parked.from) = (Vec::new(), 0);
    }

    /// Takes back memory for parked bytes; `bytes` is empty.
    pub fn give_back(&mut self, bytes: Vec<u8>) {
        if bytes.capacity() == Self::BYTES && self.kept.len() < Self::KEPT {
            self.kept.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parked_is_bounded_for_all_together_and_counted() {
        let (mut spare, mut all) = (SpareParked::new(), Vec::new());
        while spare.has_room(PARKED_BYTES) {
            let mut parked = Parked { bytes: Vec::with_capacity(PARKED_BYTES), ..Parked::default() };
            assert!(parked.add(&[0; 4096]));
            spare.count(&mut parked);
            all.push(parked);
        }
        assert_eq!(all.len(), PARKED_BYTES_PER_CORE / PARKED_BYTES);
        spare.drop_of(&mut all[1]);
        assert!(spare.has_room(PARKED_BYTES) && all[1].is_empty());
        all.iter_mut().for_each(|parked| spare.discount(parked));
        assert_eq!(spare.used, 0);
    }
}
