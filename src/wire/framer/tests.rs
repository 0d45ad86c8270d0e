//! Any way of cutting a stream gives the same PDUs.

use super::*;
use crate::wire::bhs::set_data_segment_len;
use proptest::prelude::*;

/// A PDU as its receiver puts it together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    bhs: Bhs,
    ahs: Vec<u8>,
    data: Vec<u8>,
    data_digest_ok: bool,
}

#[derive(Clone, Copy, Debug)]
struct Digests {
    header: bool,
    data: bool,
}

impl Seen {
    fn new(ahs_words: usize, data_len: usize, fill: u8) -> Self {
        let mut bhs = [fill; BHS_LEN];
        bhs[4] = ahs_words as u8;
        set_data_segment_len(&mut bhs, data_len);
        let data = (0..data_len).map(|i| fill.wrapping_add(i as u8)).collect();
        Self { bhs, ahs: vec![!fill; ahs_words * 4], data, data_digest_ok: true }
    }

    fn encode(&self, digests: Digests, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bhs);
        out.extend_from_slice(&self.ahs);
        if digests.header {
            out.extend_from_slice(&digest::header_digest(&self.bhs, &self.ahs));
        }
        out.extend_from_slice(&self.data);
        out.resize(out.len() + padding(self.data.len()), 0);
        if digests.data && !self.data.is_empty() {
            let sent = digest::data_digest(&self.data).map(|byte| if self.data_digest_ok { byte } else { !byte });
            out.extend_from_slice(&sent);
        }
    }
}

/// Puts frames together to PDUs.
#[derive(Default)]
struct Receiver {
    done: Vec<Seen>,
    current: Option<Seen>,
    wholes: usize,
}

impl Receiver {
    /// Takes all frames of `chunk`; false at `NeedMore`.
    fn take(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::NeedMore => return false,
            Frame::Whole { bhs, ahs, data, data_digest_ok } => {
                assert!(self.current.is_none());
                self.wholes += 1;
                self.done.push(Seen { bhs: *bhs, ahs: ahs.to_vec(), data: data.to_vec(), data_digest_ok });
            }
            Frame::Begin { bhs, ahs, data_len } => {
                assert!(self.current.is_none() && data_len == bhs::data_segment_len(bhs) && data_len > 0);
                self.current = Some(Seen { bhs: *bhs, ahs: ahs.to_vec(), data: vec![], data_digest_ok: false });
            }
            Frame::Data(data) => {
                assert!(!data.is_empty());
                self.current.as_mut().unwrap().data.extend_from_slice(data);
            }
            Frame::End { data_digest_ok } => {
                let seen = self.current.take().unwrap();
                self.done.push(Seen { data_digest_ok, ..seen });
            }
        }
        true
    }

    fn feed(&mut self, framer: &mut Framer, mut chunk: &[u8]) -> Result<(), FrameError> {
        while self.take(framer.next(&mut chunk)?) {}
        assert!(chunk.is_empty(), "NeedMore must leave nothing behind");
        Ok(())
    }
}

fn framer(digests: Digests) -> Framer {
    let mut framer = Framer::new(1 << 20);
    framer.set_digests(digests.header, digests.data);
    framer
}

fn stream(pdus: &[Seen], digests: Digests) -> Vec<u8> {
    let mut out = Vec::new();
    pdus.iter().for_each(|pdu| pdu.encode(digests, &mut out));
    out
}

const OFF: Digests = Digests { header: false, data: false };
const ON: Digests = Digests { header: true, data: true };

fn any_pdu(digests: Digests) -> impl Strategy<Value = Seen> {
    let ahs = prop_oneof![4 => Just(0usize), 1 => 0..=MAX_AHS_ACCEPTED / 4];
    let data = prop_oneof![2 => Just(0usize), 2 => 0usize..9, 1 => 0usize..700];
    (ahs, data, any::<u8>(), prop::bool::weighted(0.8)).prop_map(move |(ahs, data, fill, ok)| {
        let seen = Seen::new(ahs, data, fill);
        Seen { data_digest_ok: ok || !digests.data || data == 0, ..seen }
    })
}

fn any_stream() -> impl Strategy<Value = (Digests, Vec<Seen>)> {
    (any::<bool>(), any::<bool>()).prop_flat_map(|(header, data)| {
        let digests = Digests { header, data };
        (Just(digests), prop::collection::vec(any_pdu(digests), 0..8))
    })
}

proptest! {
    #[test]
    fn item_61_any_split_gives_the_same_pdus(
        (digests, pdus) in any_stream(),
        cuts in prop::collection::vec(1usize..400, 1..60),
    ) {
        let bytes = stream(&pdus, digests);
        let (mut framer, mut receiver) = (framer(digests), Receiver::default());
        let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (chunk, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            receiver.feed(&mut framer, chunk).unwrap();
            rest = tail;
        }
        prop_assert_eq!(receiver.done, pdus);
        prop_assert!(framer.is_between_pdus());
    }

    #[test]
    fn unsplit_streams_are_whole((digests, pdus) in any_stream()) {
        let (mut framer, mut receiver) = (framer(digests), Receiver::default());
        receiver.feed(&mut framer, &stream(&pdus, digests)).unwrap();
        prop_assert_eq!(receiver.wholes, pdus.len());
        prop_assert_eq!(receiver.done, pdus);
    }

    /// Data received past the chunks counts like data in them.
    #[test]
    fn payload_past_the_chunks((digests, pdus) in any_stream(), first in 0usize..60, piece in 1usize..300) {
        let bytes = stream(&pdus, digests);
        let (mut framer, mut receiver, mut rest) = (framer(digests), Receiver::default(), &bytes[..]);
        while !rest.is_empty() {
            let direct = framer.payload_remaining();
            if direct > 0 {
                let (data, tail) = rest.split_at(direct.min(piece));
                framer.payload_received(data);
                receiver.take(Frame::Data(data));
                rest = tail;
            } else {
                let (chunk, tail) = rest.split_at((BHS_LEN + first).min(rest.len()));
                receiver.feed(&mut framer, chunk).unwrap();
                rest = tail;
            }
        }
        receiver.feed(&mut framer, &[]).unwrap();
        prop_assert_eq!(receiver.done, pdus);
    }

    /// Fed with the rest of a PDU at a time, a framer comes to stand behind each one, however the stream arrives.
    #[test]
    fn the_rest_of_a_pdu_ends_with_it(
        (digests, pdus) in any_stream(),
        cuts in prop::collection::vec(1usize..400, 1..60),
    ) {
        let bytes = stream(&pdus, digests);
        let (mut framer, mut receiver, mut stops) = (framer(digests), Receiver::default(), 0);
        let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (mut chunk, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            while !chunk.is_empty() {
                let (piece, behind) = chunk.split_at(framer.rest_of_pdu(chunk));
                prop_assert!(!piece.is_empty());
                receiver.feed(&mut framer, piece).unwrap();
                stops += usize::from(framer.is_between_pdus());
                prop_assert_eq!(receiver.done.len(), stops, "no piece holds the end of one PDU and the start of another");
                chunk = behind;
            }
            rest = tail;
        }
        prop_assert_eq!(receiver.done, pdus);
    }

    #[test]
    fn any_bytes_do_no_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        cut in 1usize..200,
        header: bool,
        data: bool,
    ) {
        let mut framer = framer(Digests { header, data });
        let mut receiver = Receiver::default();
        for chunk in bytes.chunks(cut) {
            prop_assert!((1..=chunk.len()).contains(&framer.rest_of_pdu(chunk)));
            if let Err(error) = receiver.feed(&mut framer, chunk) {
                prop_assert_eq!(framer.next(&mut &[0; 48][..]), Err(error), "an error stays");
                break;
            }
        }
    }
}

#[test]
fn byte_by_byte() {
    let pdus = [Seen::new(0, 0, 1), Seen::new(2, 5, 2), Seen::new(MAX_AHS_ACCEPTED / 4, 4, 3), Seen::new(0, 1, 4)];
    let (mut framer, mut receiver) = (framer(ON), Receiver::default());
    for byte in stream(&pdus, ON) {
        receiver.feed(&mut framer, &[byte]).unwrap();
    }
    assert_eq!(receiver.done, pdus);
}

//= RFC 7143 section 11.2.3
//# A zero-length Data Segment also implies a zero-length Data-Digest.
#[test]
fn item_61_no_data_has_no_digest() {
    let pdus = [Seen::new(0, 0, 1), Seen::new(0, 0, 2)];
    let bytes = stream(&pdus, ON);
    assert_eq!(bytes.len(), 2 * (BHS_LEN + DIGEST_LEN));
    let mut receiver = Receiver::default();
    receiver.feed(&mut framer(ON), &bytes).unwrap();
    assert_eq!(receiver.done, pdus);
}

#[test]
fn item_62_a_flipped_header_bit_is_found() {
    //= RFC 7143 section 7.8
    //# When a target or an initiator receives any iSCSI PDU with a header
    //# digest error, it MUST either discard the header and all data up to the
    //# beginning of a later PDU or close the connection.
    for split in [1, 51, 52, 60] {
        let mut bytes = stream(&[Seen::new(1, 8, 9)], ON);
        bytes[20] ^= 1;
        let (mut framer, mut receiver) = (framer(ON), Receiver::default());
        let (a, b) = bytes.split_at(split);
        let result = receiver.feed(&mut framer, a).and_then(|()| receiver.feed(&mut framer, b));
        assert_eq!(result, Err(FrameError::HeaderDigest), "split at {split}");
        assert!(receiver.done.is_empty() && receiver.current.is_none());
    }
}

/// A length that was damaged on the way must not pass for a protocol error of the peer.
#[test]
fn the_digest_is_checked_before_the_length() {
    let mut bytes = stream(&[Seen::new(0, 8, 9)], ON);
    bytes[5] = 0xff;
    assert_eq!(Receiver::default().feed(&mut framer(ON), &bytes), Err(FrameError::HeaderDigest));
}

#[test]
fn lengths_beyond_the_limits() {
    let mut framer = framer(OFF);
    framer.set_max_data_segment(512);
    let mut receiver = Receiver::default();
    receiver.feed(&mut framer, &stream(&[Seen::new(0, 512, 0)], OFF)).unwrap();
    let error = receiver.feed(&mut framer, &Seen::new(0, 513, 0).bhs);
    assert_eq!(error, Err(FrameError::DataSegmentTooLong { len: 513, limit: 512 }));

    let error = Receiver::default().feed(&mut self::framer(OFF), &Seen::new(MAX_AHS_ACCEPTED / 4 + 1, 0, 0).bhs);
    assert_eq!(error, Err(FrameError::AhsTooLong { len: MAX_AHS_ACCEPTED + 4 }));
}

/// The login is over in the middle of a chunk: what follows has digests.
#[test]
fn digests_begin_between_two_pdus_of_a_chunk() {
    let (login, command) = (Seen::new(0, 13, 3), Seen::new(0, 6, 1));
    let mut bytes = stream(std::slice::from_ref(&login), OFF);
    command.encode(ON, &mut bytes);
    let (mut framer, mut receiver, mut chunk) = (framer(OFF), Receiver::default(), &bytes[..]);
    receiver.take(framer.next(&mut chunk).unwrap());
    framer.set_digests(true, true);
    while receiver.take(framer.next(&mut chunk).unwrap()) {}
    assert_eq!(receiver.done, [login, command]);
}
