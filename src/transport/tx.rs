//! The transmit side of a connection: PDUs are gathered into a batch during a turn and go out in one vectored send, LUN
//! data straight from where it lies.
//!
//! A batch is filled while the one before it is being sent: there is never more than one send in flight on a
//! connection, so bytes leave in order. A send moves a bounded part of a batch, and the core takes turns between its
//! connections (`Fabric::flush`): who asks for much does not keep the others waiting. Batches come from a pool of the
//! core and keep their capacity: steady state allocates nothing.

use super::io::Outgoing;
use super::protocol::Protocol;
use super::tap::Taps;
use crate::buffers::Buf;
use crate::limits::{QUEUED_BYTES, QUEUED_BYTES_BESIDE, QUEUED_BYTES_PER_CORE, SEND_BYTES, SPARE_BATCH_BYTES};
use crate::model::{SeatIx, TaskKey};
use crate::session::seam::Payload;
use crate::unit::fence::Fence;
use crate::unit::memory_hold::{InPlace, Lying};
use crate::wire::{BHS_LEN, Bhs, bhs, crc, digest};
use std::collections::VecDeque;
use std::sync::Arc;

/// One send has no more vectors than this (the kernel takes UIO_MAXIOV, 1024, at most): 128 PDUs with their data. With as many
/// as it takes, segments of 512 bytes would have everybody else wait for 64 us each time.
const MAX_VECTORS: usize = 256;

/// No vector is longer than this, so that a send ends near `SEND_BYTES`.
const VECTOR_BYTES: usize = 128 << 10;

/// PDUs on their way, the I/O buffers to give back when they are out, and what keeps other memory where it is until then.
/// Raw pointers in it point into itself, into buffers of its core, and into what it holds: it never leaves its core.
#[derive(Default)]
pub struct Batch {
    /// Headers, digests, padding, and data that is copied.
    bytes: Vec<u8>,
    /// What is sent, in order. Until `prepare`, a null pointer stands for the next of the batch's own bytes, which may
    /// still move.
    vectors: Vec<libc::iovec>,
    /// I/O buffers that are given back when it is out.
    releases: Vec<Buf>,
    /// What keeps the memory of the RAM units where it is that the batch is sent from.
    in_place: Vec<InPlace>,
    /// First vector that is not sent completely.
    first: usize,
    /// Bytes of the vectors from `first` on.
    left: usize,
    /// Bytes of memory that are counted for it in the pool: what it takes, and some ahead, so that it is counted only
    /// now and then.
    charged: usize,
    /// What the kernel is given.
    header: Option<Box<libc::msghdr>>,
}

impl Batch {
    /// Adds bytes of its own.
    #[inline]
    fn own(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        match self.vectors.last_mut() {
            Some(last) if last.iov_base.is_null() && last.iov_len + bytes.len() <= VECTOR_BYTES => {
                last.iov_len += bytes.len();
            }
            _ => self.vectors.push(libc::iovec { iov_base: std::ptr::null_mut(), iov_len: bytes.len() }),
        }
    }

    /// Adds bytes that stay where they are.
    #[inline]
    fn elsewhere(&mut self, address: u64, len: u32) {
        let (mut iov_base, mut left) = (address as *mut libc::c_void, len as usize);
        while left > VECTOR_BYTES {
            self.vectors.push(libc::iovec { iov_base, iov_len: VECTOR_BYTES });
            iov_base = iov_base.wrapping_byte_add(VECTOR_BYTES);
            left -= VECTOR_BYTES;
        }
        self.vectors.push(libc::iovec { iov_base, iov_len: left });
    }

    /// Bytes of memory that it takes.
    #[inline]
    fn cost(&self) -> usize {
        self.bytes.len() + self.vectors.len() * size_of::<libc::iovec>()
    }

    /// Whether it holds that memory already, counted at that fence: what is sent from there may be looked at until the
    /// batch is out.
    #[inline(always)]
    fn holds(&self, lying: &Lying<'_>) -> bool {
        let Some((last, before)) = self.in_place.split_last() else { return false };
        lying.is_held_by(last) || Self::are_among(before, lying)
    }

    #[inline(never)]
    fn are_among(before: &[InPlace], lying: &Lying<'_>) -> bool {
        /// Only so many are looked at: if a session uses many units, some are held twice, which is no harm.
        const LOOKED_AT: usize = 8;
        before.iter().rev().take(LOOKED_AT).any(|held| lying.is_held_by(held))
    }

    /// Keeps `held` until the batch is out.
    pub fn hold(&mut self, held: InPlace) {
        self.in_place.push(held);
    }

    /// Nothing more comes into the batch: its own bytes stay where they are.
    fn prepare(&mut self) {
        let (mut own, mut left) = (self.bytes.as_mut_ptr(), 0);
        for vector in &mut self.vectors {
            if vector.iov_base.is_null() {
                vector.iov_base = own.cast();
                own = own.wrapping_add(vector.iov_len);
            }
            left += vector.iov_len;
        }
        (self.first, self.left) = (0, left);
    }

    /// The vectors of the next send, and the bytes in them.
    fn next(&mut self) -> (&mut [libc::iovec], usize) {
        let rest = &mut self.vectors[self.first..];
        if self.left <= SEND_BYTES && rest.len() <= MAX_VECTORS {
            return (rest, self.left);
        }
        let mut bytes = 0;
        let enough = rest.iter().take(MAX_VECTORS).position(|vector| {
            bytes += vector.iov_len;
            bytes >= SEND_BYTES
        });
        let count = enough.map_or(rest.len().min(MAX_VECTORS), |last| last + 1);
        (&mut rest[..count], bytes)
    }

    /// Takes `sent` bytes off the front; true when nothing is left.
    fn advance(&mut self, mut sent: usize) -> bool {
        if sent >= self.left {
            return true;
        }
        self.left -= sent;
        while let Some(vector) = self.vectors.get_mut(self.first) {
            if sent < vector.iov_len {
                vector.iov_base = vector.iov_base.wrapping_byte_add(sent);
                vector.iov_len -= sent;
                return false;
            }
            sent -= vector.iov_len;
            self.first += 1;
        }
        true
    }

    /// Bytes of memory that it has allocated.
    fn capacity(&self) -> usize {
        self.bytes.capacity() + self.vectors.capacity() * size_of::<libc::iovec>()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.vectors.clear();
        self.in_place.clear();
        self.releases.clear();
        (self.first, self.left, self.charged) = (0, 0, 0);
    }
}

/// Empty batches of one core.
#[derive(Default)]
#[allow(clippy::vec_box, reason = "a batch changes hands several times; only its pointer is to move")]
pub struct BatchPool {
    /// Batches that are empty.
    spare: Vec<Box<Batch>>,
    /// Bytes that the spare batches take.
    spare_bytes: usize,
    /// Bytes of memory that are counted for all other batches, on all connections of the core.
    queued: usize,
    /// Who looks on at what is queued, and at what is received.
    pub taps: Taps,
    /// What is counted of PDUs besides commands.
    pub protocol: Protocol,
}

impl BatchPool {
    /// Bytes that may be queued for one connection. With too much for all together it is little for each.
    #[inline]
    fn room(&self) -> usize {
        if self.queued < QUEUED_BYTES_PER_CORE { QUEUED_BYTES } else { QUEUED_BYTES_BESIDE }
    }

    /// An empty batch.
    fn take(&mut self) -> Box<Batch> {
        /// Room that a batch begins with, so that one that was only used for little does not grow in the midst of work.
        const FIRST_BYTES: usize = 8 << 10;
        const FIRST_VECTORS: usize = 128;
        /// As many commands as a session has open, nearly: each answer of a file's data gives one buffer back.
        const FIRST_RELEASES: usize = 128;
        if let Some(batch) = self.spare.pop() {
            self.spare_bytes -= batch.capacity();
            return batch;
        }
        // Two are made: while one is sent, the next is filled.
        let fresh = || {
            let (bytes, vectors) = (Vec::with_capacity(FIRST_BYTES), Vec::with_capacity(FIRST_VECTORS));
            Box::new(Batch { bytes, vectors, releases: Vec::with_capacity(FIRST_RELEASES), ..Batch::default() })
        };
        self.give_back(fresh());
        fresh()
    }

    /// Takes a batch back, and what it holds is given back.
    fn give_back(&mut self, mut batch: Box<Batch>) {
        /// A batch that grew beyond this is not kept, nor are too many: one burst must not pin memory for ever.
        const KEPT_BYTES: usize = 512 << 10;
        self.queued = self.queued.saturating_sub(batch.charged);
        batch.clear();
        let bytes = batch.capacity();
        if bytes <= KEPT_BYTES && self.spare_bytes + bytes <= SPARE_BATCH_BYTES {
            self.spare_bytes += bytes;
            self.spare.push(batch);
        }
    }
}

/// The transmit side of one connection.
#[derive(Default)]
pub struct Tx {
    /// What PDUs are added to.
    filling: Option<Box<Batch>>,
    /// What is being sent.
    sending: Option<Box<Batch>>,
    /// Bytes of memory that are counted for `sending`.
    sending_bytes: usize,
    /// Its room was used up when that was last looked at: as often as what it fills is charged.
    is_full: bool,
    /// A send of part of `sending` is with the kernel.
    in_flight: bool,
    /// Headers have a digest.
    header_digest: bool,
    /// Data has one.
    data_digest: bool,
    /// A send failed: nothing more goes out.
    dead: bool,
    /// Somebody looks at the PDUs of this connection.
    traced: bool,
    /// Somebody waits for room: a received PDU, or one of `waiting`.
    wanted: bool,
    /// Who has more for it when there is room.
    waiting: VecDeque<HasMore>,
}

/// Who has more to send on a connection when there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasMore {
    /// A task.
    Task(TaskKey),
    /// A session that has to send something again.
    Rereads(SeatIx),
}

impl Tx {
    /// Digests from the next PDU on.
    pub fn set_digests(&mut self, header: bool, data: bool) {
        self.header_digest = header;
        self.data_digest = data;
    }

    /// Has the PDUs of this connection noted, or not.
    pub fn set_traced(&mut self, traced: bool) {
        self.traced = traced;
    }

    /// Whether somebody looks at the PDUs of this connection.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.traced
    }

    /// Whether PDUs carry digests: header, data.
    pub fn digests(&self) -> (bool, bool) {
        (self.header_digest, self.data_digest)
    }

    /// Whether data segments carry a digest: then the data must not change between now and the send.
    #[inline]
    pub fn data_digest(&self) -> bool {
        self.data_digest
    }

    /// Bytes of memory that are counted for what is queued, I/O buffers apart.
    fn queued(&self) -> usize {
        self.filling.as_ref().map_or(0, |batch| batch.charged) + self.sending_bytes
    }

    /// Counts what the batch that is filled takes now, and some ahead.
    #[cold]
    fn charge(&mut self, pool: &mut BatchPool) {
        /// Little beside the room of a connection, even where many have some each.
        const AHEAD_BYTES: usize = 1 << 10;
        if let Some(batch) = &mut self.filling {
            let charged = batch.cost() + AHEAD_BYTES;
            pool.queued += charged - batch.charged;
            batch.charged = charged;
        }
        self.is_full = self.queued() >= pool.room();
    }

    /// Nothing is queued behind what is being sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.filling.is_none()
    }

    /// Bytes of memory that the batch takes which is being sent.
    #[inline]
    pub fn sending_bytes(&self) -> usize {
        self.sending_bytes
    }

    /// Whether more may be queued. What is not queued because of this is to say so: [`Tx::wait`].
    #[inline]
    pub fn has_room(&self, pool: &BatchPool) -> bool {
        !self.is_full || self.queued() < pool.room()
    }

    /// Asks to be told when there is room again. `who` has more to send, if anybody has.
    #[cold]
    pub fn wait(&mut self, who: Option<HasMore>) {
        self.wanted = true;
        self.waiting.extend(who);
    }

    /// Whether there is room again, and somebody waits for that. Not before half has left: it would be little at a time.
    #[inline]
    pub fn takes_more(&mut self) -> bool {
        self.wanted && self.queued() < QUEUED_BYTES / 2 && std::mem::take(&mut self.wanted)
    }

    /// How many wait for room.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next of those who waited for room.
    pub fn next_waiting(&mut self) -> Option<HasMore> {
        self.waiting.pop_front()
    }

    /// Nothing queued, nothing in flight.
    pub fn is_idle(&self) -> bool {
        self.filling.is_none() && self.sending.is_none()
    }

    /// A send is in flight.
    pub fn is_sending(&self) -> bool {
        self.in_flight && !self.dead
    }

    /// Whether I/O buffers wait until what is queued is out.
    pub fn holds_buffers(&self) -> bool {
        [&self.sending, &self.filling].into_iter().flatten().any(|batch| !batch.releases.is_empty())
    }

    /// Whether something is still to be sent from the memory of a unit with one of these fences.
    pub fn sends_from(&self, fences: &[Arc<Fence>]) -> bool {
        let mut queued = [&self.sending, &self.filling].into_iter().flatten().flat_map(|batch| &batch.in_place);
        queued.any(|held| fences.iter().any(|fence| held.is_under(fence)))
    }

    /// The send in flight has ended with an error. What it held stays until [`Tx::abandon`].
    pub fn fail(&mut self) {
        (self.dead, self.in_flight) = (true, false);
    }

    /// Queues one PDU. `sum`: the checksum of its LUN data, if that is known already.
    // Every PDU comes by here, from one place.
    #[inline(always)]
    pub fn pdu(&mut self, header: &Bhs, payload: Payload<'_>, sum: Option<u32>, pool: &mut BatchPool) {
        let batch = self.filling.get_or_insert_with(|| pool.take());
        if self.header_digest {
            let mut with_digest = [0; BHS_LEN + 4];
            with_digest[..BHS_LEN].copy_from_slice(header);
            with_digest[BHS_LEN..].copy_from_slice(&digest::header_digest(header, &[]));
            batch.own(&with_digest);
        } else {
            batch.own(header);
        }
        //= RFC 7143 section 11.2.1.6
        //# The DataSegmentLength MUST be 0 whenever the PDU has no data segment.
        debug_assert_eq!(bhs::data_segment_len(header), payload.len());
        match payload {
            Payload::Data { at, len } if len > 0 => {
                let padding = &[0u8; 3][..bhs::padding(len as usize)];
                batch.elsewhere(at.0, len);
                if !padding.is_empty() {
                    batch.own(padding);
                }
                if self.data_digest {
                    // SAFETY: `at` is `len` bytes of an I/O buffer that the shard keeps until this batch is out.
                    #[allow(unsafe_code)]
                    let bytes = || unsafe { std::slice::from_raw_parts(at.0 as *const u8, len as usize) };
                    let crc = sum.unwrap_or_else(|| digest::crc(bytes()));
                    let crc = if padding.is_empty() { crc } else { crc::append(crc, padding) };
                    batch.own(&digest::to_wire(crc));
                }
            }
            Payload::Bytes(bytes) if !bytes.is_empty() => {
                batch.own(bytes);
                let padding = &[0u8; 3][..bhs::padding(bytes.len())];
                if !padding.is_empty() {
                    batch.own(padding);
                }
                if self.data_digest {
                    batch.own(&digest::data_digest(bytes));
                }
            }
            Payload::None | Payload::Bytes(_) | Payload::Data { .. } => {}
        }
        if batch.cost() > batch.charged {
            self.charge(pool);
        }
    }

    /// Gives `buf` back when everything queued so far is out.
    #[inline]
    pub fn release_after(&mut self, buf: Buf) {
        // None is begun for it: only a PDU has the connection asked for a send. If all is out, it is dropped here.
        if let Some(batch) = self.filling.as_mut().or(self.sending.as_mut()) {
            batch.releases.push(buf);
        }
    }

    /// Whether what is queued next goes out with something of that memory, counted at that fence.
    #[inline(always)]
    pub fn holds(&self, lying: &Lying<'_>) -> bool {
        self.filling.as_ref().is_some_and(|batch| batch.holds(lying))
    }

    /// The batch that goes out with what was queued last.
    #[inline]
    pub fn last_batch(&mut self) -> Option<&mut Batch> {
        self.filling.as_deref_mut()
    }

    /// The next send, if none is in flight and there is something to send, and how many bytes it is to move.
    #[inline]
    pub fn next_send(&mut self) -> Option<(Outgoing, usize)> {
        if self.in_flight || self.dead {
            return None;
        }
        if self.sending.is_none() {
            let mut batch = self.filling.take()?;
            batch.prepare();
            (self.sending_bytes, self.sending) = (batch.charged, Some(batch));
        }
        let batch = self.sending.as_mut()?;
        self.in_flight = true;
        let (vectors, bytes) = batch.next();
        if let [one] = vectors {
            return Some((Outgoing::One(*one), bytes));
        }
        let (first, count) = (vectors.as_mut_ptr(), vectors.len());
        // SAFETY: a msghdr of zeroes is a valid empty one.
        #[allow(unsafe_code)]
        let header = batch.header.get_or_insert_with(|| Box::new(unsafe { std::mem::zeroed() }));
        (header.msg_iov, header.msg_iovlen) = (first, count as _);
        Some((Outgoing::Many(&raw const **header), bytes))
    }

    /// A send completed with `sent` bytes. True: there is more to be sent. The I/O buffers of a batch that is out are given
    /// back.
    #[inline]
    pub fn sent(&mut self, sent: usize, pool: &mut BatchPool) -> bool {
        self.in_flight = false;
        let Some(batch) = self.sending.as_mut() else { return self.filling.is_some() };
        if !batch.advance(sent) {
            return true;
        }
        self.sending_bytes = 0;
        if let Some(batch) = self.sending.take() {
            pool.give_back(batch);
        }
        self.is_full = self.queued() >= pool.room();
        self.filling.is_some()
    }

    /// The connection is gone and no send is in flight: drops everything.
    pub fn abandon(&mut self, pool: &mut BatchPool) {
        for batch in [self.sending.take(), self.filling.take()].into_iter().flatten() {
            pool.give_back(batch);
        }
        (self.dead, self.is_full, self.sending_bytes) = (false, false, 0);
        // Whoever waited finds the connection gone.
        self.wanted = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffers::Arena;
    use crate::model::Host;
    use proptest::prelude::*;

    /// What the vectors of a send point to.
    #[allow(unsafe_code)]
    fn gathered(vectors: &[libc::iovec]) -> Vec<u8> {
        let bytes = |v: &libc::iovec| {
            // SAFETY: the vectors of a batch point into itself, or into data that the test holds.
            unsafe { std::slice::from_raw_parts(v.iov_base.cast::<u8>(), v.iov_len) }
        };
        vectors.iter().flat_map(bytes).copied().collect()
    }

    #[test]
    fn connections_have_little_room_each_when_all_have_much_queued() {
        let (mut pool, answer) = (BatchPool::default(), vec![0; QUEUED_BYTES]);
        let queue = |tx: &mut Tx, pool: &mut BatchPool, bytes: usize| {
            let mut header = [0; BHS_LEN];
            bhs::set_data_segment_len(&mut header, bytes);
            tx.pdu(&header, Payload::Bytes(&answer[..bytes]), None, pool);
        };
        let mut all: Vec<Tx> = (0..QUEUED_BYTES_PER_CORE / QUEUED_BYTES).map(|_| Tx::default()).collect();
        for tx in &mut all {
            assert!(tx.has_room(&pool));
            queue(tx, &mut pool, QUEUED_BYTES);
            assert!(!tx.has_room(&pool));
        }
        let mut other = Tx::default();
        assert!(other.has_room(&pool), "one answer at a time goes on");
        queue(&mut other, &mut pool, QUEUED_BYTES_BESIDE);
        assert!(!other.has_room(&pool));
        all.iter_mut().for_each(|tx| tx.abandon(&mut pool));
        assert!(other.has_room(&pool));
        other.abandon(&mut pool);
        assert_eq!(pool.queued, 0);
    }

    /// A batch that begins without anything to be sent would keep what comes next from being noticed.
    #[test]
    fn a_buffer_begins_no_batch() {
        let mut arena = Arena::new().unwrap();
        let (mut pool, mut tx, free) = (BatchPool::default(), Tx::default(), arena.free_bytes());
        let here = "192.0.2.1:1".parse().unwrap();
        let account = arena.open(Host::of(here), "a");
        tx.release_after(account.take(4096).unwrap());
        assert!(tx.is_idle() && tx.is_empty() && arena.free_bytes() == free, "nothing is queued: it is given back");
        tx.pdu(&[0; BHS_LEN], Payload::None, None, &mut pool);
        assert!(tx.next_send().is_some());
        tx.release_after(account.take(4096).unwrap());
        assert!(tx.is_empty() && arena.free_bytes() < free, "what was queued so far is being sent");
        assert!(!tx.sent(BHS_LEN, &mut pool));
        assert_eq!((tx.is_idle(), arena.free_bytes()), (true, free));
    }

    proptest! {
        // Whatever is queued leaves in that order, in sends near the limit, however much of each the kernel takes.
        #[test]
        fn everything_leaves_in_order(lens in proptest::collection::vec(0usize..400_000, 1..12),
                                      taken in proptest::collection::vec(1usize..600_000, 1..8)) {
            let data: Vec<u8> = (0..400_000u32).map(|n| (n % 251) as u8).collect();
            let (mut batch, mut expected) = (Batch::default(), Vec::new());
            for len in lens {
                let header = [len as u8; BHS_LEN];
                batch.own(&header);
                expected.extend_from_slice(&header);
                if len % 3 > 0 {
                    batch.elsewhere(data.as_ptr() as u64, len as u32);
                    expected.extend_from_slice(&data[..len]);
                }
            }
            batch.prepare();
            let (mut sent, mut over, mut taken) = (0, false, taken.into_iter().cycle());
            while !over {
                let (vectors, bytes) = batch.next();
                let (count, all) = (vectors.len(), gathered(vectors));
                prop_assert!(all.len() == bytes && bytes < SEND_BYTES + VECTOR_BYTES && count <= MAX_VECTORS);
                prop_assert_eq!(&all[..], &expected[sent..sent + bytes]);
                let n = taken.next().unwrap_or(1).min(bytes);
                over = batch.advance(n);
                sent += n;
                prop_assert_eq!(over, sent == expected.len());
            }
        }
    }
}
