//! The floor's protocol: 48 bytes ask, 48 bytes answer, the payload follows the one that has some.
//!
//! As many bytes as a BHS, so that floor and target move the same; no tags but a slot number, no state, no checks
//! beyond the bounds of the memory. Little-endian:
//!
//! ```text
//!  0 u32 operation (0 read, 1 write)   4 u32 slot, given back   8 u64 offset   16 u32 length   20.. zero
//! ```

use crate::pattern;
use crate::protocol::{Context, Done, Failure, Outcome, Protocol};
use crate::tx::TxQueue;
use crate::workload::{Io, Operation};

/// Length of a request and of an answer, without payload.
pub const HEADER_LEN: usize = 48;

/// A request; the answer repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload follows the request; otherwise it follows the answer.
    pub write: bool,
    /// The client's number for the request.
    pub slot: u32,
    /// Place in the server's memory.
    pub offset: u64,
    /// Bytes of payload.
    pub len: u32,
}

impl Header {
    /// The bytes on the wire.
    #[inline]
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = u8::from(self.write);
        bytes[4..8].copy_from_slice(&self.slot.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// The other way round.
    #[inline]
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let &[write, _, _, _, s0, s1, s2, s3, o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, ..] = bytes;
        Self {
            write: write != 0,
            slot: u32::from_le_bytes([s0, s1, s2, s3]),
            offset: u64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
        }
    }
}

/// Cuts headers out of a byte stream whose pieces may end anywhere.
pub struct HeaderCutter {
    partial: [u8; HEADER_LEN],
    have: usize,
}

impl Default for HeaderCutter {
    fn default() -> Self {
        Self { partial: [0; HEADER_LEN], have: 0 }
    }
}

impl HeaderCutter {
    /// Takes the next header from the front of `bytes`, or all of them if it is not complete yet.
    #[inline]
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<Header> {
        if self.have == 0
            && let Some((header, rest)) = bytes.split_first_chunk()
        {
            *bytes = rest;
            return Some(Header::parse(header));
        }
        let take = bytes.len().min(HEADER_LEN - self.have);
        let (head, rest) = bytes.split_at(take);
        self.partial[self.have..self.have + take].copy_from_slice(head);
        self.have += take;
        *bytes = rest;
        if self.have < HEADER_LEN {
            return None;
        }
        self.have = 0;
        Some(Header::parse(&self.partial))
    }
}

/// The client's side of one connection.
pub struct FloorClient {
    slots: Vec<Io>,
    cutter: HeaderCutter,
    /// Payload of the answer that is being received.
    slot: u32,
    remaining: u32,
}

impl FloorClient {
    /// A connection with `depth` requests outstanding at most.
    pub fn new(depth: usize) -> Self {
        Self { slots: vec![Io::default(); depth], cutter: HeaderCutter::default(), slot: 0, remaining: 0 }
    }
}

impl Protocol for FloorClient {
    fn window(&self) -> usize {
        usize::MAX
    }

    fn issue(&mut self, slot: u32, io: &Io, payload_at: usize, _: &[u8], tx: &mut TxQueue) {
        let write = io.operation == Operation::Write;
        tx.header(&Header { write, slot, offset: io.offset, len: io.len }.emit());
        if write {
            tx.payload(payload_at, io.len as usize);
        }
        self.slots[slot as usize] = *io;
    }

    fn receive(&mut self, mut bytes: &[u8], context: &mut Context, _: &mut TxQueue) -> Result<(), Failure> {
        loop {
            if self.remaining > 0 {
                let take = bytes.len().min(self.remaining as usize);
                let (data, rest) = bytes.split_at(take);
                if context.verify {
                    let io = &self.slots[self.slot as usize];
                    let at = io.offset + u64::from(io.len - self.remaining);
                    pattern::check(data, at, io.generation).map_err(Failure)?;
                }
                bytes = rest;
                self.remaining -= take as u32;
                if self.remaining > 0 {
                    return Ok(());
                }
                context.done.push(Done { slot: self.slot, outcome: Outcome::Good });
            }
            let Some(header) = self.cutter.next(&mut bytes) else { return Ok(()) };
            let expected = self.slots.get(header.slot as usize);
            if expected.is_none_or(|io| io.offset != header.offset || io.len != header.len) {
                return Err(Failure(format!("an answer to nothing that was asked: {header:?}")));
            }
            if header.write {
                context.done.push(Done { slot: header.slot, outcome: Outcome::Good });
            } else {
                (self.slot, self.remaining) = (header.slot, header.len);
            }
        }
    }

    fn ping(&mut self, _: &mut TxQueue) {}

    fn part(&mut self, _: &mut TxQueue) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_any_fragmentation() {
        let headers: Vec<_> = (0..5u32)
            .map(|i| Header { write: i % 2 == 1, slot: i, offset: u64::from(i) << 33, len: 4096 * i })
            .collect();
        let stream: Vec<u8> = headers.iter().flat_map(Header::emit).collect();
        for piece in 1..stream.len() {
            let mut cutter = HeaderCutter::default();
            let mut found = Vec::new();
            for mut bytes in stream.chunks(piece) {
                while let Some(header) = cutter.next(&mut bytes) {
                    found.push(header);
                }
            }
            assert_eq!(found, headers, "pieces of {piece}");
        }
    }
}
