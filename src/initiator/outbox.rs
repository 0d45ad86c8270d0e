//! The way out: PDUs that an initiator sends, and who takes them.
//!
//! [`Outbox`] is implemented by a driver: over TCP it makes bytes of a PDU ([`encode`]), in a simulation a packet. Data of
//! commands stays with the driver: a PDU only refers to it.
//!
//! A test that wants to see what a target makes of a bad initiator puts a [`Tampered`] in front of the driver's outbox: it
//! sees each PDU, and may change it, keep it back, or have its digests computed wrongly.

use crate::wire::bhs::padding;
use crate::wire::{BHS_LEN, Bhs, Cid, Opcode, bhs, digest};

pub use crate::wire::{DataRef, Payload};

/// HeaderDigest and DataDigest of a connection: which are CRC32C (RFC 7143 section 13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digests {
    /// HeaderDigest=CRC32C.
    pub header: bool,
    /// DataDigest=CRC32C.
    pub data: bool,
}

/// A PDU to be sent. Its header is complete.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// By which connection.
    pub cid: Cid,
    /// Its Basic Header Segment.
    pub bhs: Bhs,
    /// Additional Header Segments, padded.
    pub ahs: &'a [u8],
    /// Its data segment.
    pub payload: Payload<'a>,
    /// The digests that are to be wrong, of those that are in force.
    pub spoilt: Digests,
}

impl<'a> Outgoing<'a> {
    /// A PDU with these parts. TotalAHSLength and DataSegmentLength are set here.
    #[inline]
    pub fn new(cid: Cid, bhs: Bhs, ahs: &'a [u8], payload: Payload<'a>) -> Self {
        Outgoing::made(cid, |to| *to = bhs, ahs, payload)
    }

    /// The same, with a header that is made where it stays: to copy it would cost as much as to make it.
    #[inline(always)]
    pub fn made(cid: Cid, emit: impl FnOnce(&mut Bhs), ahs: &'a [u8], payload: Payload<'a>) -> Self {
        let spoilt = Digests { header: false, data: false };
        let mut pdu = Outgoing { cid, bhs: [0; BHS_LEN], ahs, payload, spoilt };
        emit(&mut pdu.bhs);
        let [_, _, _, _, total_ahs_words, ..] = &mut pdu.bhs;
        *total_ahs_words = (ahs.len() / 4) as u8;
        bhs::set_data_segment_len(&mut pdu.bhs, payload.len());
        pdu
    }

    /// Which PDU it is.
    #[inline]
    pub fn opcode(&self) -> Opcode {
        bhs::opcode(&self.bhs)
    }
}

/// Where PDUs go. Those of one connection leave in the order in which they were given.
pub trait Outbox {
    /// Takes a PDU.
    fn pdu(&mut self, pdu: &Outgoing<'_>);
}

/// Appends `pdu` as it is on the wire; `data` is its data segment.
pub fn encode(pdu: &Outgoing<'_>, data: &[u8], digests: Digests, out: &mut Vec<u8>) {
    let wrong = |spoilt: bool, digest: [u8; digest::DIGEST_LEN]| digest.map(|b| if spoilt { !b } else { b });
    out.extend_from_slice(&pdu.bhs);
    out.extend_from_slice(pdu.ahs);
    if digests.header {
        out.extend_from_slice(&wrong(pdu.spoilt.header, digest::header_digest(&pdu.bhs, pdu.ahs)));
    }
    out.extend_from_slice(data);
    out.resize(out.len() + padding(data.len()), 0);
    //= RFC 7143 section 11.2.3
    //# A zero-length Data Segment also implies a zero-length Data-Digest.
    if digests.data && !data.is_empty() {
        out.extend_from_slice(&wrong(pdu.spoilt.data, digest::data_digest(data)));
    }
}

impl<O: Outbox + ?Sized> Outbox for &mut O {
    #[inline]
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        (**self).pdu(pdu);
    }
}

/// An outbox that gathers bytes: for drivers with one connection, and for tests. The data of commands is a part of one
/// area, a [`DataRef`] a place in it; what lies outside of it is sent as nothing.
#[derive(Debug)]
pub struct Bytes<'a> {
    /// What is to be sent.
    pub out: &'a mut Vec<u8>,
    /// Data of commands.
    pub area: &'a [u8],
    /// Those of the connection.
    pub digests: Digests,
}

impl Outbox for Bytes<'_> {
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        let data = match pdu.payload {
            Payload::None => &[],
            Payload::Bytes(bytes) => bytes,
            Payload::Data { at, len } => {
                let behind = usize::try_from(at.0).ok().and_then(|at| self.area.get(at..));
                behind.and_then(|behind| behind.get(..len as usize)).unwrap_or_default()
            }
        };
        debug_assert_eq!(data.len(), pdu.payload.len(), "data outside of the area");
        encode(pdu, data, self.digests, self.out);
    }
}

/// An outbox that lets a hook see, change, or keep back what goes to `inner`. The hook returns whether the PDU is sent.
pub struct Tampered<'a, O: ?Sized, F> {
    /// Where PDUs go.
    pub inner: &'a mut O,
    /// What is done to them.
    pub hook: F,
}

impl<O: Outbox + ?Sized, F: FnMut(&mut Outgoing<'_>) -> bool> Outbox for Tampered<'_, O, F> {
    fn pdu(&mut self, pdu: &Outgoing<'_>) {
        let mut changed = *pdu;
        if (self.hook)(&mut changed) {
            self.inner.pdu(&changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Frame, FrameError, Framer};

    const CRC: Digests = Digests { header: true, data: true };

    fn sent(pdu: &Outgoing<'_>, digests: Digests) -> Vec<u8> {
        let mut out = Vec::new();
        Bytes { out: &mut out, area: b"abcdefgh", digests }.pdu(pdu);
        out
    }

    fn pdu(payload: Payload<'_>) -> Outgoing<'_> {
        Outgoing::new(Cid(1), [0; BHS_LEN], &[], payload)
    }

    #[test]
    fn a_framer_takes_what_is_encoded() {
        let out = sent(&pdu(Payload::Data { at: DataRef(2), len: 5 }), CRC);
        let mut framer = Framer::new(64);
        framer.set_digests(true, true);
        let mut chunk = &out[..];
        let Ok(Frame::Whole { data, data_digest_ok, .. }) = framer.next(&mut chunk) else { panic!("no PDU") };
        assert_eq!((data, data_digest_ok, chunk.len()), (&b"cdefg"[..], true, 0));
    }

    #[test]
    fn what_is_spoilt_is_found_wrong() {
        let mut framer = Framer::new(64);
        framer.set_digests(true, true);
        let mut bad = pdu(Payload::Bytes(b"x"));
        bad.spoilt.data = true;
        let out = sent(&bad, CRC);
        assert!(matches!(framer.next(&mut &out[..]), Ok(Frame::Whole { data_digest_ok: false, .. })));
        bad.spoilt.header = true;
        let out = sent(&bad, CRC);
        assert_eq!(framer.next(&mut &out[..]), Err(FrameError::HeaderDigest));
    }

    #[test]
    fn a_hook_changes_and_keeps_back() {
        let mut out = Vec::new();
        let mut bytes = Bytes { out: &mut out, area: &[], digests: Digests::default() };
        let hook = |pdu: &mut Outgoing<'_>| {
            pdu.bhs[16] = 7;
            !pdu.payload.is_empty()
        };
        let mut tampered = Tampered { inner: &mut bytes, hook };
        tampered.pdu(&pdu(Payload::None));
        tampered.pdu(&pdu(Payload::Bytes(b"1234")));
        assert_eq!((out.len(), out[16]), (BHS_LEN + 4, 7));
    }
}
