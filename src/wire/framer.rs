//! Finds the PDUs in a stream of bytes that arrives in arbitrary chunks.
//!
//! The caller owns the chunks and feeds them to [`Framer::next`], which consumes from the front and hands back borrowed
//! slices. What a caller sees of one PDU is either
//!
//! * [`Frame::Whole`], if all data lies in the chunk in which the header became complete, or
//! * [`Frame::Begin`], any number of [`Frame::Data`], and [`Frame::End`]; only a PDU with data comes this way.
//!
//! A header that is split over chunks is collected in the framer (308 bytes, bounded; no allocation); data never is.
//! A large data segment can also be received straight into its final buffer, past the chunks: after `Begin` ask
//! [`Framer::payload_remaining`], receive that many bytes or fewer, and tell [`Framer::payload_received`].
//!
//! Checked here: the header digest before anything in the header is believed except TotalAHSLength (which says where
//! the digest is), then DataSegmentLength against the receiver's limit, then the data digest. A [`FrameError`] means
//! that the boundaries are lost: the framer repeats it for ever, the connection has to go. Not checked here: opcodes,
//! and everything else in the header.

use super::ahs::MAX_CDB;
use super::bhs::{self, BHS_LEN, Bhs, padding};
use super::digest::{self, Accumulator, DIGEST_LEN};

/// Longest AHS that is accepted, in bytes: an Extended CDB AHS for the longest CDB, and a Bidirectional Read Expected
/// Data Transfer Length AHS. The RFC defines no other.
pub const MAX_AHS_ACCEPTED: usize = (4 + MAX_CDB - 16) + 8;

/// The longest header: BHS, AHS and digest.
const STASH_LEN: usize = BHS_LEN + MAX_AHS_ACCEPTED + DIGEST_LEN;

/// The longest trailer: padding and digest.
const TRAILER_LEN: usize = 3 + DIGEST_LEN;

/// What [`Framer::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The chunk is used up; feed the next one.
    NeedMore,
    /// A PDU without data, or one whose data lies in this chunk entirely.
    Whole {
        /// The Basic Header Segment.
        bhs: &'a Bhs,
        /// All Additional Header Segments.
        ahs: &'a [u8],
        /// The data segment without padding.
        data: &'a [u8],
        /// Whether the data digest is right, or there is none.
        data_digest_ok: bool,
    },
    /// The header of a PDU whose data is not here entirely. Its bytes follow as [`Frame::Data`].
    Begin {
        /// The Basic Header Segment.
        bhs: &'a Bhs,
        /// All Additional Header Segments.
        ahs: &'a [u8],
        /// Length of the data segment in bytes, without padding: never 0.
        data_len: usize,
    },
    /// The next bytes of the data segment: at least one.
    Data(&'a [u8]),
    /// The PDU is complete, padding and digest included.
    End {
        /// Whether the data digest is right, or there is none.
        data_digest_ok: bool,
    },
}

/// Why no further PDU can be found in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header digest does not match: no length in the header can be trusted.
    #[error("header digest error")]
    HeaderDigest,
    /// DataSegmentLength is beyond what this side declared as MaxRecvDataSegmentLength.
    #[error("data segment of {len} bytes, at most {limit} are allowed")]
    DataSegmentTooLong {
        /// DataSegmentLength in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// TotalAHSLength is beyond [`MAX_AHS_ACCEPTED`].
    #[error("AHS of {len} bytes, at most {MAX_AHS_ACCEPTED} are accepted")]
    AhsTooLong {
        /// TotalAHSLength in bytes.
        len: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Between PDUs, or in a header of which `stashed` bytes are in the stash.
    Header {
        stashed: usize,
    },
    /// In a data segment: `left` bytes of it are still to come, then `trailer` bytes of padding and digest.
    Data {
        left: usize,
        trailer: usize,
    },
    /// In padding and digest: `got` of `len` bytes are in the trailer.
    Trailer {
        got: usize,
        len: usize,
    },
    Failed(FrameError),
}

/// Cuts a stream into PDUs. One per connection and direction of receipt.
#[derive(Debug)]
pub struct Framer {
    phase: Phase,
    header_digest: bool,
    data_digest: bool,
    max_data_segment: usize,
    /// CRC of the data received so far; kept only if `data_digest`.
    data_crc: Accumulator,
    trailer: [u8; TRAILER_LEN],
    stash: [u8; STASH_LEN],
}

/// Where the parts of a PDU end, counted from its first byte.
#[derive(Clone, Copy)]
struct Layout {
    ahs_end: usize,
    header_end: usize,
    data_len: usize,
    /// Padding and digest.
    trailer_len: usize,
}

impl Framer {
    /// A framer without digests (as every connection starts) that accepts data segments of `max_data_segment` bytes.
    pub const fn new(max_data_segment: usize) -> Self {
        Self {
            phase: Phase::Header { stashed: 0 },
            header_digest: false,
            data_digest: false,
            max_data_segment,
            data_crc: Accumulator::new(),
            trailer: [0; TRAILER_LEN],
            stash: [0; STASH_LEN],
        }
    }

    /// Turns digests on or off, from the next PDU on. To be called between PDUs: after the last frame of the final
    /// login PDU and before `next`.
    pub const fn set_digests(&mut self, header: bool, data: bool) {
        self.header_digest = header;
        self.data_digest = data;
    }

    /// Sets the longest DataSegmentLength to accept, in bytes (this side's MaxRecvDataSegmentLength), from the next PDU on.
    pub const fn set_max_data_segment(&mut self, limit: usize) {
        self.max_data_segment = limit;
    }

    /// Whether the stream stands between two PDUs: the only place where a peer may close it cleanly.
    pub const fn is_between_pdus(&self) -> bool {
        matches!(self.phase, Phase::Header { stashed: 0 })
    }

    /// How many bytes at the front of `chunk` belong to the PDU that is due or under way, as far as its header is known: at
    /// least one, unless the chunk is empty. Fed with just these, [`Self::next`] stops no later than at the PDU's end.
    pub fn rest_of_pdu(&self, chunk: &[u8]) -> usize {
        let whole = |head: &Bhs| {
            let data_len = bhs::data_segment_len(head);
            let header = if self.header_digest { DIGEST_LEN } else { 0 };
            let data = if self.data_digest && data_len > 0 { DIGEST_LEN } else { 0 };
            BHS_LEN + bhs::total_ahs_len_bytes(head) + header + data_len + padding(data_len) + data
        };
        let rest = match self.phase {
            Phase::Header { stashed: 0 } => chunk.first_chunk::<BHS_LEN>().map_or(chunk.len(), whole),
            Phase::Header { stashed } if stashed < BHS_LEN => BHS_LEN - stashed,
            Phase::Header { stashed } => self.stash.first_chunk().map_or(0, whole).saturating_sub(stashed),
            Phase::Data { left, trailer } => left + trailer,
            Phase::Trailer { got, len } => len.saturating_sub(got),
            Phase::Failed(_) => chunk.len(),
        };
        rest.max(1).min(chunk.len())
    }

    /// Data bytes of the current PDU that are still to come, padding and digest excluded.
    #[inline]
    pub const fn payload_remaining(&self) -> usize {
        match self.phase {
            Phase::Data { left, .. } => left,
            _ => 0,
        }
    }

    /// Takes note of data bytes that were received past the chunks. At most [`Self::payload_remaining`] bytes belong to
    /// this PDU; the caller must not have received more. Then `next` goes on with padding, digest and
    /// [`Frame::End`], which it may return for an empty chunk.
    #[inline]
    pub fn payload_received(&mut self, bytes: &[u8]) {
        if let Phase::Data { left, trailer } = self.phase {
            debug_assert!(bytes.len() <= left, "received beyond the data segment");
            self.advance_data(bytes, left, trailer);
        }
    }

    /// Takes the next frame from the front of `chunk`.
    ///
    /// Call it until it returns [`Frame::NeedMore`], which leaves `chunk` empty: [`Frame::End`] can come when the chunk
    /// is empty already.
    ///
    /// # Errors
    /// [`FrameError`]; from then on always the same one.
    // What it returns is taken apart at once: inlined, it is never put together.
    #[inline(always)]
    pub fn next<'s, 'c: 's>(&'s mut self, chunk: &mut &'c [u8]) -> Result<Frame<'s>, FrameError> {
        match self.phase {
            Phase::Header { stashed: 0 } => match chunk.first_chunk::<BHS_LEN>() {
                Some(bhs) => self.header_in_chunk(bhs, chunk),
                None => Ok(self.stash_rest(chunk, 0)),
            },
            Phase::Header { stashed } => self.header_in_stash(stashed, chunk),
            Phase::Data { left, trailer } => match chunk.split_at_checked(left.min(chunk.len())) {
                Some((data, rest)) if !data.is_empty() => {
                    *chunk = rest;
                    self.advance_data(data, left, trailer);
                    Ok(Frame::Data(data))
                }
                _ => Ok(Frame::NeedMore),
            },
            Phase::Trailer { got, len } => Ok(self.trailer(got, len, chunk)),
            Phase::Failed(error) => Err(error),
        }
    }

    /// The header begins in this chunk: the hot path.
    #[inline(always)]
    fn header_in_chunk<'s, 'c: 's>(&'s mut self, bhs: &'c Bhs, chunk: &mut &'c [u8]) -> Result<Frame<'s>, FrameError> {
        let layout = self.layout(bhs)?;
        let Some((header, rest)) = chunk.split_at_checked(layout.header_end) else {
            return Ok(self.stash_rest(chunk, 0));
        };
        if self.header_digest && !header_digest_ok(header, layout.ahs_end) {
            return Err(self.fail(FrameError::HeaderDigest));
        }
        self.check_data_len(layout.data_len)?;
        let ahs = header.get(BHS_LEN..layout.ahs_end).unwrap_or_default();
        Ok(match self.split_data(rest, layout) {
            Some((data, data_digest_ok, rest)) => {
                *chunk = rest;
                Frame::Whole { bhs, ahs, data, data_digest_ok }
            }
            None => {
                *chunk = rest;
                self.begin_data(layout);
                Frame::Begin { bhs, ahs, data_len: layout.data_len }
            }
        })
    }

    /// The header began in an earlier chunk.
    #[cold]
    fn header_in_stash<'s, 'c: 's>(
        &'s mut self,
        stashed: usize,
        chunk: &mut &'c [u8],
    ) -> Result<Frame<'s>, FrameError> {
        let have = self.fill_stash(stashed, BHS_LEN, chunk);
        if have < BHS_LEN {
            return Ok(Frame::NeedMore);
        }
        let head: Bhs = self.stash.first_chunk().copied().unwrap_or([0; BHS_LEN]);
        let layout = self.layout(&head)?;
        let have = self.fill_stash(have, layout.header_end, chunk);
        if have < layout.header_end {
            return Ok(Frame::NeedMore);
        }
        let header = self.stash.get(..layout.header_end).unwrap_or_default();
        if self.header_digest && !header_digest_ok(header, layout.ahs_end) {
            return Err(self.fail(FrameError::HeaderDigest));
        }
        self.check_data_len(layout.data_len)?;
        self.phase = Phase::Header { stashed: 0 };
        let whole = self.split_data(chunk, layout);
        if whole.is_none() {
            self.begin_data(layout);
        }
        let Some((bhs, tail)) = self.stash.split_first_chunk::<BHS_LEN>() else { return Ok(Frame::NeedMore) };
        let ahs = tail.get(..layout.ahs_end - BHS_LEN).unwrap_or_default();
        Ok(match whole {
            Some((data, data_digest_ok, rest)) => {
                *chunk = rest;
                Frame::Whole { bhs, ahs, data, data_digest_ok }
            }
            None => Frame::Begin { bhs, ahs, data_len: layout.data_len },
        })
    }

    /// Where the parts of the PDU with this header end.
    #[inline]
    fn layout(&mut self, head: &Bhs) -> Result<Layout, FrameError> {
        let ahs_len = bhs::total_ahs_len_bytes(head);
        if ahs_len > MAX_AHS_ACCEPTED {
            return Err(self.fail(FrameError::AhsTooLong { len: ahs_len }));
        }
        let data_len = bhs::data_segment_len(head);
        let ahs_end = BHS_LEN + ahs_len;
        //= RFC 7143 section 11.2.3
        //# A zero-length Data Segment also implies a zero-length Data-Digest.
        let data_digest_len = if self.data_digest && data_len > 0 { DIGEST_LEN } else { 0 };
        Ok(Layout {
            ahs_end,
            header_end: ahs_end + if self.header_digest { DIGEST_LEN } else { 0 },
            data_len,
            trailer_len: padding(data_len) + data_digest_len,
        })
    }

    #[inline]
    fn check_data_len(&mut self, len: usize) -> Result<(), FrameError> {
        if len <= self.max_data_segment {
            return Ok(());
        }
        Err(self.fail(FrameError::DataSegmentTooLong { len, limit: self.max_data_segment }))
    }

    /// If `rest`, which begins behind the header, has all of the data and its trailer: the data, whether its digest is
    /// right, and what follows.
    #[inline]
    fn split_data<'c>(&self, rest: &'c [u8], layout: Layout) -> Option<(&'c [u8], bool, &'c [u8])> {
        if layout.data_len == 0 {
            return Some((&[], true, rest));
        }
        let (segment, rest) = rest.split_at_checked(layout.data_len + layout.trailer_len)?;
        let ok = !self.data_digest
            || segment.split_last_chunk().is_some_and(|(covered, sent)| digest::to_wire(digest::crc(covered)) == *sent);
        Some((segment.get(..layout.data_len)?, ok, rest))
    }

    /// Enters the data phase.
    fn begin_data(&mut self, layout: Layout) {
        self.data_crc = Accumulator::new();
        self.phase = Phase::Data { left: layout.data_len, trailer: layout.trailer_len };
    }

    #[inline]
    fn advance_data(&mut self, bytes: &[u8], left: usize, trailer: usize) {
        if self.data_digest {
            self.data_crc.append(bytes);
        }
        self.phase = match left.saturating_sub(bytes.len()) {
            0 => Phase::Trailer { got: 0, len: trailer },
            left => Phase::Data { left, trailer },
        };
    }

    /// Collects padding and digest, and ends the PDU when they are there.
    fn trailer(&mut self, got: usize, len: usize, chunk: &mut &[u8]) -> Frame<'static> {
        let got = copy_front(&mut self.trailer, got, len, chunk);
        if got < len {
            self.phase = Phase::Trailer { got, len };
            return Frame::NeedMore;
        }
        self.phase = Phase::Header { stashed: 0 };
        let collected = self.trailer.get(..len).unwrap_or_default();
        let data_digest_ok = match collected.split_last_chunk::<DIGEST_LEN>() {
            Some((pad, sent)) => {
                self.data_crc.append(pad);
                digest::to_wire(self.data_crc.finish()) == *sent
            }
            // Without a digest at most three bytes of padding are here.
            None => true,
        };
        Frame::End { data_digest_ok }
    }

    /// Keeps the rest of the chunk, the first bytes of a header.
    #[cold]
    fn stash_rest(&mut self, chunk: &mut &[u8], stashed: usize) -> Frame<'static> {
        self.fill_stash(stashed, STASH_LEN, chunk);
        Frame::NeedMore
    }

    /// Fills the stash from `have` up to `want` bytes, as far as the chunk goes; returns how many are there.
    fn fill_stash(&mut self, have: usize, want: usize, chunk: &mut &[u8]) -> usize {
        let stashed = copy_front(&mut self.stash, have, want, chunk);
        self.phase = Phase::Header { stashed };
        stashed
    }

    #[cold]
    const fn fail(&mut self, error: FrameError) -> FrameError {
        self.phase = Phase::Failed(error);
        error
    }
}

/// Whether `header` (BHS, AHS and, from `ahs_end` on, the digest) has the right digest.
fn header_digest_ok(header: &[u8], ahs_end: usize) -> bool {
    header.split_at_checked(ahs_end).is_some_and(|(covered, sent)| digest::to_wire(digest::crc(covered)) == *sent)
}

/// Moves bytes from the front of `chunk` to `to[have..want]` as far as they go; returns how many are there then.
fn copy_front(to: &mut [u8], have: usize, want: usize, chunk: &mut &[u8]) -> usize {
    let n = want.saturating_sub(have).min(chunk.len());
    match (to.get_mut(have..have + n), chunk.split_at_checked(n)) {
        (Some(to), Some((front, rest))) => {
            to.copy_from_slice(front);
            *chunk = rest;
            have + n
        }
        _ => have,
    }
}

#[cfg(test)]
mod tests;
