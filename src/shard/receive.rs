//! The receive side of a core's connections: what is armed on each, and what becomes of the bytes.
//!
//! A connection begins with one multishot receive into the core's provided buffers: small PDUs come many at a time, and an
//! idle connection holds no buffer. Once a large data segment is seen, that receive is cancelled (what it still delivers
//! is taken as ever), and the connection has one receive of known size at a time instead: what is missing of a large
//! payload, straight into the I/O buffer that it belongs to, and a few bytes behind it ([`BEHIND_BYTES`]), which are what
//! follows: trailer and headers. They go through the framer like everything else. Between payloads only those few bytes
//! are received. After [`SMALL_IN_A_ROW`] receives without a large payload the connection goes back.
//!
//! RAM units have only the multishot receive. Measured: with the other, writes of 128 KiB on one connection cost 4 to
//! 13 % less, but up to 29 % more with reads among them, and up to 15 % more on four connections.
//!
//! Never more than one receive is in flight on a connection (`Link::receiving`), and the next one is armed only when
//! the one before is over, so bytes are in order. A cancellation is queued before the receive that follows, and never
//! meets it. `loan.rs` says who owns the I/O buffer meanwhile.
//!
//! What the kernel has pointers into ([`Direct`]) belongs to the core and to the connection's number there. A session that
//! moves to another core (`relocate.rs`) takes nothing of it along: it has no receive then, and no payload half received.
//!
//! A receive of known size brings one PDU or a part of it, where a multishot one brings many. So that answers and R2Ts
//! do not leave one by one, they are held back a turn while the socket has more (`Link::corked`), up to
//! `HELD_BACK_BYTES`. Such a receive takes what is there and does not wait for all of it: a peer that sends slowly is
//! noticed by the same clocks as ever.

use super::core::Core;
use crate::canary::{Canary, sings};
use crate::missing::Required;
use crate::model::{ConnNo, SeatIx};
use crate::ring::Completion;
use crate::session::seam::{CloseReason, ConnIx};
use crate::transport::lent::Loan;
use crate::transport::link::Halt;
use crate::transport::links::Connection;
use crate::transport::partial::{Partial, PartialDest};
use crate::transport::protocol::Protocol;
use crate::transport::receiving::{BEHIND_BYTES, Direct, LARGE_BYTES, Receive, SMALL_IN_A_ROW};
use crate::transport::record;
use crate::wire::bhs;
use crate::wire::framer::{Frame, FrameError};

impl Core {
    /// Does something with the receive side of a connection, which nobody else finds meanwhile.
    #[inline(always)]
    pub(super) fn with_receive<T>(
        &mut self,
        conn: ConnNo,
        act: impl FnOnce(&mut Core, &mut Receive) -> T,
    ) -> Option<T> {
        let mut receive = self.fabric.links.of_mut(conn)?.receive.take()?;
        let done = act(self, &mut receive);
        if let Some(connection) = self.fabric.links.of_mut(conn) {
            connection.receive = Some(receive);
        }
        Some(done)
    }

    /// What the next receive is to fill, for one of known size: the inner `None` says that nothing is lent to it. The
    /// outer `None`: it is to be a multishot one.
    fn lend_to(&mut self, receive: &mut Receive, conn: ConnNo) -> Option<Option<Loan>> {
        let (seat, _) = self.fabric.seat_of(conn).filter(|_| receive.large)?;
        let remaining = receive.framer.payload_remaining();
        let loan = match &mut receive.partial {
            Some(partial) if remaining > 0 => self.lend(conn, seat, partial, remaining),
            _ => None,
        };
        // If there is much, and nothing to lend, the payload goes nowhere or has to be copied.
        if loan.is_none() && (remaining > BEHIND_BYTES || receive.small >= SMALL_IN_A_ROW) {
            (receive.large, receive.small) = (false, 0);
            return None;
        }
        Some(loan)
    }

    pub(super) fn arm_receive(&mut self, conn: ConnNo) {
        // It may have gone in this turn.
        let Some(Connection { link: Some(link), receive: Some(receive), .. }) = self.fabric.links.of_mut(conn) else {
            return;
        };
        if link.receiving || link.halt == Halt::Stopped || !receive.parked.is_empty() || receive.parked.ended {
            return;
        }
        link.receiving = true;
        let loan = self.with_receive(conn, |core, receive| core.lend_to(receive, conn)).flatten();
        let connection = self.fabric.links.of_mut(conn).required("the connection that was looked at");
        let Some(Connection { link: Some(link), direct, .. }) = connection else { return };
        let known = loan.map(|loan| direct.get_or_insert_with(Direct::new).arm(loan));
        self.fabric.io.receive(conn, &link.socket, known);
    }

    /// A receive has completed, or goes on.
    pub(super) fn received(&mut self, conn: ConnNo, completion: Completion) {
        let bytes = completion.result;
        let direct = self.fabric.links.of_mut(conn).and_then(|of| of.direct.take_if(|direct| direct.armed));
        if let Some(direct) = direct {
            self.placed(conn, direct, bytes.max(0) as usize, completion.has_more());
            return self.over(conn, bytes);
        }
        if let Some(id) = completion.buffer() {
            if bytes > 0 {
                let (ptr, len) = self.fabric.io.bytes(id, bytes as usize);
                // SAFETY: the kernel has filled these bytes of the pool and gave the buffer to us until `give_back`.
                #[allow(unsafe_code)]
                let chunk = unsafe { std::slice::from_raw_parts(ptr, len) };
                self.take(conn, chunk);
            }
            self.fabric.io.give_back(id);
        }
        if !completion.more() {
            self.over(conn, bytes);
        } else if self.fabric.links.receive_mut(conn).is_some_and(|receive| receive.large) {
            self.fabric.rearm_receive(conn);
        }
    }

    /// Acts on a chunk. What cannot be acted on now, or is for where the session goes, is parked.
    pub(super) fn take(&mut self, conn: ConnNo, chunk: &[u8]) {
        let turn = self.turn;
        let Some(receive) = self.fabric.links.receive_mut(conn).required("a receive side") else { return };
        receive.begin_turn(turn);
        let mut rest = chunk;
        if !receive.parked.takes_turns && receive.parked.is_empty() {
            if self.relocation.is_some() && self.chunk_of_leaving(conn, chunk) {
                return self.settle_received();
            }
            let left = self.with_receive(conn, |core, receive| {
                let rest = core.chunk(receive, conn, chunk);
                receive.parked.takes_turns = receive.left == 0 || !rest.is_empty();
                rest
            });
            let Some(left) = left.required("a receive side") else { return };
            rest = left;
            self.settle_received();
        }
        if !rest.is_empty() && !self.park(conn, rest) {
            // Cancelled receives do not bring so much.
            self.forget_partial(conn);
            self.disconnected(conn, CloseReason::Protocol("more than its receive windows at once"));
        }
    }

    /// A receive of known size is over; it has brought `received` bytes.
    fn placed(&mut self, conn: ConnNo, mut direct: Box<Direct>, received: usize, more: bool) {
        direct.armed = false;
        let loan = direct.loan.take();
        let mut behind = received;
        let turn = self.turn;
        if let Some(receive) = self.fabric.links.receive_mut(conn) {
            receive.begin_turn(turn);
            if receive.partial.as_ref().is_none_or(|partial| bhs::data_segment_len(&partial.bhs) < LARGE_BYTES) {
                receive.small = receive.small.saturating_add(1);
            }
            let corked = receive.holds_back(received, more);
            if let Some(link) = self.fabric.links.get_mut(conn) {
                link.corked = corked;
            }
        }
        if let Some(loan) = loan {
            behind -= received.min(loan.len());
            self.filled(conn, loan, received);
        }
        if behind > 0 {
            self.take(conn, &direct.behind[..behind.min(BEHIND_BYTES)]);
        }
        if let Some(connection) = self.fabric.links.of_mut(conn) {
            connection.direct = Some(direct);
        }
    }

    /// What was lent has been filled with payload, up to `received` bytes of it.
    fn filled(&mut self, conn: ConnNo, loan: Loan, received: usize) {
        let payload = received.min(loan.len());
        let mut loan = Some(loan);
        self.with_receive(conn, |core, receive| {
            let Some(loan) = loan.take() else { return };
            if payload > 0 {
                receive.framer.payload_received(loan.bytes(payload));
                if receive.is_traced {
                    core.fabric.note_data(conn, loan.bytes(payload));
                }
            }
            core.give_back(loan, receive.partial.as_mut(), payload);
            if payload > 0 {
                // A PDU without trailer ends with its payload.
                core.chunk(receive, conn, &[]);
            }
        });
        match loan {
            Some(loan) => self.give_back(loan, None, 0),
            None if payload > 0 => self.settle_received(),
            None => {}
        }
    }

    /// A receive is over, so nothing is in flight on its connection: arms it again, or sees to the connection's end.
    fn over(&mut self, conn: ConnNo, result: i32) {
        let Some(link) = self.fabric.links.get_mut(conn).required("a connection whose receive has ended") else {
            return;
        };
        link.receiving = false;
        let rearming = std::mem::take(&mut link.rearming) && result == -libc::ECANCELED;
        if link.halt != Halt::No && self.halted(conn, result) {
            return;
        }
        // It may have been swept as one that was stopped.
        let Some(Connection { link: Some(link), receive, .. }) = self.fabric.links.of_mut(conn) else { return };
        let is_moving = link.moving.is_some();
        let got_none = receive.as_ref().is_some_and(|receive| receive.turn != self.turn);
        if let Some(receive) = receive
            && result == 0
            && !link.closing
            && !is_moving
            && !receive.parked.is_empty()
        {
            receive.parked.ended = true;
            return;
        }
        let again = result > 0 || rearming || matches!(-result, libc::ENOBUFS | libc::EINTR | libc::EAGAIN);
        if result == -libc::ENOBUFS {
            self.fabric.stats.out_of_receive_buffers += 1;
            self.fabric.io.ran_out();
        }
        if again && !is_moving && got_none && !rearming {
            self.fabric.links.fresh.push_hungry(conn);
        } else if again && !is_moving {
            self.fabric.links.fresh.push(conn);
        } else {
            if !is_moving {
                self.forget_partial(conn);
                self.disconnected(conn, CloseReason::Disconnected);
            }
            self.fabric.sweep(conn);
        }
    }

    /// Whether a buffer is lent to what a connection receives.
    pub(super) fn has_lent(&self, conn: ConnNo) -> bool {
        self.fabric.links.of(conn).and_then(|of| of.direct.as_ref()).is_some_and(|direct| direct.loan.is_some())
    }

    pub(super) fn forget_partial(&mut self, conn: ConnNo) {
        if let Some(receive) = self.fabric.links.receive_mut(conn) {
            receive.partial = None;
        }
    }

    pub(super) fn update_framing(&mut self, conn: ConnNo) {
        self.with_receive(conn, |core, receive| core.take_framing(receive, conn));
    }

    /// Parses a received chunk and acts on the PDUs in it, as far as there is room for their answers and its budget
    /// goes. The rest of the chunk is returned.
    pub(super) fn chunk<'c>(&mut self, receive: &mut Receive, conn: ConnNo, mut chunk: &'c [u8]) -> &'c [u8] {
        record::chunk(self.fabric.now_ms, conn, chunk);
        // A login that waited for the session that it replaces was answered between two chunks.
        self.take_framing(receive, conn);
        self.fabric.note_whether_traced(receive, conn);
        loop {
            let seat = self.fabric.seat_of(conn);
            if seat.is_none() && !self.fabric.is_logging_in(conn) {
                // The connection is closing, or not ours any more: what comes is dropped.
                receive.partial = None;
                return &[];
            }
            // Even if nothing is left of the chunk, there may be the end of a PDU to be told.
            let stops = receive.left == 0 || self.fabric.acting.is_over() || !self.fabric.links.has_room(conn);
            if !chunk.is_empty() && stops {
                return chunk;
            }
            let more = match seat {
                Some(at) => self.frame(receive, (conn, at), &mut chunk),
                None => self.login_frame(receive, conn, &mut chunk),
            };
            if !more {
                return &[];
            }
        }
    }

    /// Acts on the next frame of a connection in full feature phase. False: there is none, or the rest is dropped.
    #[inline(always)]
    fn frame(
        &mut self,
        receive: &mut Receive,
        (conn, (seat, ix)): (ConnNo, (SeatIx, ConnIx)),
        chunk: &mut &[u8],
    ) -> bool {
        match receive.framer.next(chunk) {
            Ok(Frame::NeedMore) => return false,
            Ok(Frame::Whole { bhs, ahs, data, data_digest_ok }) => {
                record::pdu(bhs);
                if receive.is_traced {
                    self.fabric.links.note_received(conn, (bhs, ahs, data), data_digest_ok);
                }
                if Protocol::counts(bhs) {
                    self.fabric.links.pool.protocol.passed(bhs);
                }
                self.count_digest(data_digest_ok);
                self.whole(seat, ix, bhs, ahs, data, data_digest_ok || sings(Canary::DigestUnchecked));
                receive.left = receive.left.saturating_sub(1);
                self.fabric.spend(bhs);
            }
            Ok(Frame::Begin { bhs, ahs, data_len }) => {
                record::pdu(bhs);
                receive.left = receive.left.saturating_sub(1);
                self.fabric.spend(bhs);
                if receive.is_traced {
                    self.fabric.note_begin(conn, bhs, ahs);
                }
                receive.partial = self.begin(seat, ix, bhs, ahs, data_len);
                if data_len >= LARGE_BYTES
                    && let Some(partial) = &receive.partial
                {
                    receive.large = self.is_to_be_placed(seat, partial);
                    receive.small = 0;
                }
            }
            Ok(Frame::Data(bytes)) => {
                if receive.is_traced {
                    self.fabric.note_data(conn, bytes);
                }
                if let Some(partial) = &mut receive.partial {
                    self.data(seat, partial, bytes);
                }
            }
            Ok(Frame::End { data_digest_ok }) => {
                if receive.is_traced {
                    self.fabric.note_end(conn, data_digest_ok);
                }
                self.count_digest(data_digest_ok);
                if let Some(partial) = receive.partial.take() {
                    self.end(seat, ix, partial, data_digest_ok || sings(Canary::DigestUnchecked));
                    self.fabric.look_if_it_took_time();
                }
            }
            Err(error) => {
                self.broken(conn, error);
                return false;
            }
        }
        true
    }

    /// Acts on the next frame of a connection that is logging in. False: there is none, or the rest is dropped.
    fn login_frame(&mut self, receive: &mut Receive, conn: ConnNo, chunk: &mut &[u8]) -> bool {
        match receive.framer.next(chunk) {
            Ok(Frame::NeedMore) => return false,
            Ok(Frame::Whole { bhs, data, .. }) => {
                record::pdu(bhs);
                self.fabric.note_login(conn, bhs, data);
                self.login_pdu(conn, bhs, data);
                receive.left = receive.left.saturating_sub(1);
                self.fabric.spend(bhs);
            }
            Ok(Frame::Begin { bhs, .. }) => {
                record::pdu(bhs);
                receive.left = receive.left.saturating_sub(1);
                self.fabric.spend(bhs);
                receive.login_bhs = *bhs;
                receive.login.clear();
            }
            Ok(Frame::Data(bytes)) => receive.login.extend_from_slice(bytes),
            Ok(Frame::End { .. }) => {
                let data = std::mem::take(&mut receive.login);
                self.fabric.note_login(conn, &receive.login_bhs, &data);
                self.login_pdu(conn, &receive.login_bhs, &data);
                self.fabric.acting.took_time = true;
                self.fabric.look_if_it_took_time();
            }
            Err(error) => {
                self.broken(conn, error);
                return false;
            }
        }
        self.take_framing(receive, conn);
        self.fabric.note_whether_traced(receive, conn);
        true
    }

    /// Whether large payload is to be received straight into its I/O buffer: if it goes on from there to a file or device.
    fn is_to_be_placed(&self, seat: SeatIx, partial: &Partial) -> bool {
        match partial.dest {
            PartialDest::Staging(Some(_)) | PartialDest::Task(..) => !self.is_for_memory(seat, partial),
            PartialDest::Staging(None) | PartialDest::Gather(_) | PartialDest::Discard => false,
        }
    }

    /// Tells the framer what the login has agreed upon.
    fn take_framing(&mut self, receive: &mut Receive, conn: ConnNo) {
        if let Some(link) = self.fabric.links.get_mut(conn)
            && let Some((header, data, longest)) = link.framing.take()
        {
            receive.framer.set_digests(header, data);
            receive.framer.set_max_data_segment(longest);
        }
    }

    /// Counts the data digest that did not match.
    #[inline(always)]
    fn count_digest(&mut self, is_right: bool) {
        if !is_right {
            self.fabric.stats.digest_errors += 1;
        }
    }

    fn broken(&mut self, conn: ConnNo, error: FrameError) {
        let reason = match error {
            //= RFC 7143 section 7.8
            //# When a target or an initiator receives any iSCSI PDU with a header
            //# digest error, it MUST either discard the header and all data up to the
            //# beginning of a later PDU or close the connection.
            FrameError::HeaderDigest => {
                self.fabric.stats.digest_errors += 1;
                CloseReason::Digest
            }
            FrameError::DataSegmentTooLong { .. } => CloseReason::Protocol("DataSegmentLength beyond the limit (7.7)"),
            FrameError::AhsTooLong { .. } => CloseReason::Protocol("additional header segments too long (7.7)"),
        };
        self.disconnected(conn, reason);
    }
}
