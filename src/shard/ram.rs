//! What is special about RAM units: their memory can be sent from, and copied from when it suits us.

use super::buffers::Buf;
use super::engine::{Engine, Parts, Seat};
use super::exec::{Action, Exec, Failure, Kind};
use super::fence::{Fence, Ticket};
use super::resend::Source;
use super::rw::give_after;
use super::tx::{Outlet, Tx};
use crate::backend::{Handle, MemoryHold};
use crate::limits::{QUEUED_DATA_IN, SLICE_BYTES};
use crate::model::MediumFault;
use crate::session::DataInEnd;
use crate::session::Session;
use crate::session::seam::{ConnIx, DataRef, TaskId};
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of a read that are asked for when it is planned, where the kernel copies them: its copy reads ahead by itself once
/// it has begun. Measured: none costs 6 % more with 32 commands at a time, all of 4 KiB cost 4 %.
const SOON_SENT: usize = 256;
/// Bytes are asked for only of so many reads of a turn. Beyond those the memory has enough to do, and asking takes as
/// long as waiting: with 128 commands at a time, asking for all of them costs 4 % more.
const SOON_SENT_READS: usize = 16;
/// Of a read that is copied by us, so much of each page at its beginning is asked for while the one before it is copied.
/// Measured: this costs up to a tenth less than to ask for all of it when it is planned.
const SOON_COPIED: usize = 1024;
const SOON_COPIED_WITHIN: usize = 16 << 10;
/// A read that is copied in one piece has at most so many Data-In PDUs: it is queued whether there is room or not.
const COPIED_DATA_IN: u32 = 32;
/// So much is a piece for any initiator: the shortest MaxRecvDataSegmentLength is 512 bytes (RFC 7143 section 13.12).
const ALWAYS_QUEUED: u32 =
    if 512 * QUEUED_DATA_IN < SLICE_BYTES as u32 { 512 * QUEUED_DATA_IN } else { SLICE_BYTES as u32 };
/// Bytes of a page: beyond its end the processor does not read ahead by itself.
const PAGE_BYTES: usize = 4096;

/// A slice of a RAM unit that is copied at the end of the turn.
pub struct Copying {
    pub seat: usize,
    pub slot: usize,
    pub offset: u32,
    pub from: DataRef,
    pub len: usize,
    /// The buffer it goes to, and its count at the fence, if it is all of its task; else the task has it as a slice.
    pub whole: Option<(Buf, Entered)>,
}

/// A count at the fence of a unit, to be given back there whatever has become of the task.
#[derive(Clone, Copy)]
#[must_use]
pub struct Entered {
    unit: usize,
    ticket: Ticket,
}

/// A write whose data is in a RAM unit's memory, but may not be seen by other cores yet.
pub struct Stored {
    seat: usize,
    slot: usize,
    entered: Entered,
}

/// A core at the fence of a unit, where it counts what it sends.
struct Place {
    fence: Arc<Fence>,
    core: usize,
}

/// The fences where this core has been, by unit. They are of one core, so that to hold one moves nothing between the
/// cores' caches.
#[derive(Default)]
pub struct Places(Vec<Option<Rc<Place>>>);

impl Places {
    fn of(&mut self, core: usize, number: usize, fence: &Arc<Fence>) -> Rc<Place> {
        if self.0.len() <= number {
            self.0.resize_with(number + 1, || None);
        }
        let place = self.0[number].take().filter(|place| Arc::ptr_eq(&place.fence, fence));
        let place = place.unwrap_or_else(|| Rc::new(Place { fence: Arc::clone(fence), core }));
        self.0[number] = Some(Rc::clone(&place));
        place
    }

    /// Forgets all of them: units may be others now.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// What is sent of a RAM unit from where it lies: until it is out, its memory stays there and its reads are counted at the
/// unit's fence.
pub struct InPlace {
    memory: MemoryHold,
    place: Rc<Place>,
    ticket: Ticket,
}

impl InPlace {
    /// Whether it is of that memory, and counted at that fence.
    #[inline]
    pub fn is_of(&self, memory: &MemoryHold, fence: &Arc<Fence>) -> bool {
        self.memory.is(memory) && self.is_under(fence)
    }

    /// Whether it is counted at that fence.
    #[inline]
    pub fn is_under(&self, fence: &Arc<Fence>) -> bool {
        Arc::ptr_eq(&self.place.fence, fence)
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        self.place.fence.leave(self.place.core, self.ticket);
    }
}

/// The most bytes of a command that are queued at once: `pdus` Data-In PDUs. What a session keeps to send it again is
/// read again in pieces that fit an I/O buffer, and is never asked for across two of them.
#[inline]
fn piece_bytes(session: &Session, conn: ConnIx, pdus: u32) -> u32 {
    let most = session.params(conn).map_or(0, |params| params.initiator_max_recv_bytes & !3).saturating_mul(pdus);
    if session.keeps() { most.min(SLICE_BYTES as u32) } else { most }
}

/// Where those bytes lie in memory, if they are of a RAM unit.
#[inline]
fn address(handle: &Handle, offset: u64, len: u32) -> Option<DataRef> {
    let (memory, size) = handle.memory()?;
    let end = offset.checked_add(u64::from(len))?;
    if end > size {
        return None;
    }
    Some(DataRef(memory.wrapping_add(offset as usize) as u64))
}

/// Whether memory of a RAM unit may be sent from where it lies. Not if a digest is computed over it: another command
/// could change the bytes between the digest and the copy into the socket, so they are copied first. Nor once atomic
/// writes were asked for: a part may be sent late, with another command's data by then, and an atomic write must not be
/// seen so.
#[inline]
fn may_go_in_place(tx: &Tx, fence: &Fence) -> bool {
    !tx.data_digest() && !fence.keeps_reads()
}

/// Asks for the first `len` bytes, which will be read before long.
#[inline]
fn prefetch(from: DataRef, len: usize) {
    crate::backend::prefetch(from.0 as *const u8, len);
}

impl Engine {
    /// All data of a write is in a RAM unit's memory. It is answered when the stores are settled, with all others of this
    /// chunk: until then it is on the medium like any other.
    #[inline]
    pub fn stored(
        &mut self,
        seat: usize,
        task: TaskId,
        (unit, ticket): (usize, Ticket),
        (base, total, asked): (u64, u32, u64),
    ) {
        let slot = task.slot();
        if let Some(exec) = self.exec(seat, slot) {
            exec.begin(Kind::Write(Action::Write), task, unit, (base, total, asked));
            (exec.started, exec.moved) = (total, total);
            exec.in_flight += 1;
        }
        self.stored.push(Stored { seat, slot, entered: Entered { unit, ticket } });
    }

    /// Has what was stored seen by all cores, then answers those writes.
    pub fn settle_stores(&mut self) {
        if self.stored.is_empty() {
            return;
        }
        crate::backend::settle();
        let mut stored = std::mem::take(&mut self.stored);
        for Stored { seat, slot, entered } in stored.drain(..) {
            self.leave_fence(entered);
            let Some(exec) = self.exec(seat, slot) else { continue };
            exec.in_flight -= 1;
            if exec.aborted || exec.failed.is_some() {
                self.advance(seat, slot);
            } else {
                self.written(seat, slot);
            }
        }
        self.stored = stored;
    }

    #[inline]
    fn leave_fence(&self, Entered { unit, ticket }: Entered) {
        self.world.units[unit].fence.leave(self.core, ticket);
    }

    /// Where those bytes of a unit lie in memory, if it is a RAM unit.
    #[inline]
    pub fn memory_of(&self, unit: usize, offset: u64, len: u32) -> Option<DataRef> {
        address(self.handles.get(unit)?, offset, len)
    }

    /// Sends what is read from where it lies, at once. False: nothing was done, for the data is not in memory, or there
    /// is more to look at.
    #[inline(always)]
    pub fn read_in_place(&mut self, seat: usize, task: TaskId, unit: usize, (base, asked): (u64, u64)) -> bool {
        let Some(handle) = self.handles.get(unit) else { return false };
        let Some(memory) = handle.hold() else { return false };
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return false };
        let Seat { session, exec, sources, .. } = holder;
        let cmd = session.command(task);
        let (total, conn) = (asked.min(u64::from(cmd.read_edtl_bytes())) as u32, cmd.conn);
        let Some(exec) = exec.get_mut(task.slot()) else { return false };
        if total == 0 || !exec.is_fresh() {
            return false;
        }
        let Some(at) = address(handle, base, total) else { return false };
        let Some(connections) = self.routes.get(seat) else { return false };
        let Some(&number) = connections.get(usize::from(conn.0)) else { return false };
        let Some(tx) = self.tx.get(number) else { return false };
        let fence = &self.world.units[unit].fence;
        let is_piece = total <= ALWAYS_QUEUED || total <= piece_bytes(session, conn, QUEUED_DATA_IN);
        if !may_go_in_place(tx, fence) || !is_piece || !tx.has_room(&self.pool) {
            return false;
        }
        // A read that is queued with reads that are counted at the fence is counted with them.
        let mut entered = None;
        if !tx.holds(memory, fence) {
            entered = fence.enter_sent(self.core);
            if entered.is_none() {
                return false;
            }
        }
        self.read_soon += 1;
        if self.read_soon <= SOON_SENT_READS {
            prefetch(at, SOON_SENT.min(total as usize));
        }
        self.stats.read_bytes += u64::from(total);
        if session.keeps() {
            sources.remember(task, Source::Medium(unit, base), session);
        }
        let (tx, pool, dirty) = (&mut self.tx, &mut self.pool, &mut self.dirty);
        let mut out = Outlet { tx, connections, pool, dirty, copies: None };
        session.data_in(task, 0, total, at, Some(DataInEnd { transfer_bytes: asked }), &mut out);
        exec.clear_fresh();
        if let Some(ticket) = entered {
            self.hold_in_place(number, unit, ticket);
        }
        true
    }

    /// Whether what is read is to be sent from where it lies, a piece at a time.
    pub fn goes_in_place(
        &self,
        (seat, task): (usize, TaskId),
        conn: ConnIx,
        unit: usize,
        offset: u64,
        total: u32,
    ) -> bool {
        let number = self.routes.get(seat).and_then(|conns| conns.get(usize::from(conn.0)));
        let Some(tx) = number.and_then(|&number| self.tx.get(number)) else { return false };
        let holder = self.seats.get(seat).and_then(Option::as_deref);
        let holds_nothing = holder.and_then(|seat| seat.exec.get(task.slot())).is_some_and(Exec::holds_nothing);
        let is_there = self.memory_of(unit, offset, total).is_some();
        is_there && holds_nothing && may_go_in_place(tx, &self.world.units[unit].fence)
    }

    /// What was queued last on a connection is of a unit's memory, and counted at its fence: it is held until it is
    /// out.
    #[inline(never)]
    fn hold_in_place(&mut self, conn: usize, unit: usize, ticket: Ticket) {
        let fence = &self.world.units[unit].fence;
        let Some(memory) = self.handles.get(unit).and_then(Handle::hold) else { return fence.leave(self.core, ticket) };
        let held = InPlace { memory: memory.clone(), place: self.places.of(self.core, unit, fence), ticket };
        if let Some(batch) = self.tx.get_mut(conn).and_then(Tx::last_batch) {
            batch.hold(held);
        }
    }

    /// Sends the next piece of a read from where it lies. True: that was all, and the slot is free; or there is no room.
    #[cold]
    pub fn send_piece(&mut self, seat: usize, slot: usize) -> bool {
        let Some(Parts { seat: holder, mut out }) = self.parts(seat) else { return true };
        let Some(exec) = holder.exec.get_mut(slot) else { return true };
        let (task, unit, base, moved, asked) = (exec.task, exec.unit, exec.base, exec.moved, exec.asked);
        let left = exec.total - moved;
        let conn = holder.session.command(task).conn;
        if exec.crowded || !Self::has_room(exec, conn, &mut out, (seat, slot)) {
            return true;
        }
        let len = left.min(piece_bytes(&holder.session, conn, QUEUED_DATA_IN).max(PAGE_BYTES as u32));
        let at = self.memory_of(unit, base + u64::from(moved), len);
        let core = self.core;
        let Some(exec) = self.seats.get_mut(seat).and_then(|holder| holder.as_deref_mut()?.exec.get_mut(slot)) else {
            return true;
        };
        let at = at.and_then(|at| Some((at, self.world.units[unit].fence.enter_sent(core)?)));
        let Some((at, ticket)) = at else {
            // Slices know what to do about atomic writes, and about a unit that has become smaller.
            (exec.in_place, exec.started) = (false, moved);
            return false;
        };
        exec.moved += len;
        let end = (len == left).then_some(DataInEnd { transfer_bytes: asked });
        if let Some(Parts { seat: Seat { session, .. }, mut out }) = self.parts(seat) {
            session.data_in(task, moved, len, at, end, &mut out);
        }
        // A connection that is gone has no number, and nothing was queued.
        let number = self.routes.get(seat).and_then(|conns| conns.get(usize::from(conn.0))).copied();
        self.hold_in_place(number.unwrap_or(usize::MAX), unit, ticket);
        if len == left {
            self.clear(seat, slot);
            return true;
        }
        let Some(Parts { seat: holder, out, .. }) = self.parts(seat) else { return true };
        // Others have their turn before the next piece, if this one was much.
        let many = len > piece_bytes(&holder.session, conn, QUEUED_DATA_IN / 2);
        if many && let Some(tx) = out.connections.get(usize::from(conn.0)).and_then(|&conn| out.tx.get_mut(conn)) {
            tx.wait(Some((seat, slot)));
            holder.exec[slot].crowded = true;
        }
        false
    }

    /// A read that is copied, for the digest over it: all of it at once at the end of the turn. False: it goes by slices.
    #[inline]
    pub fn read_copied(
        &mut self,
        seat: usize,
        task: TaskId,
        unit: usize,
        (base, total, asked): (u64, u32, u64),
    ) -> bool {
        // A file or device ends here: its data does not lie in memory.
        let Some(from) = self.memory_of(unit, base, total) else { return false };
        if total as usize > SLICE_BYTES || total > self.piece_bytes_of(seat, task) {
            return false;
        }
        let Some(buf) = self.allocate(seat, total as usize) else { return false };
        let slot = task.slot();
        let fence = &self.world.units[unit].fence;
        let Some(ticket) = fence.enter_read(self.core, base, u64::from(total)) else { return false };
        if let Some(exec) = self.exec(seat, slot) {
            exec.begin(Kind::Read, task, unit, (base, total, asked));
            (exec.started, exec.in_flight) = (total, 1);
        }
        let whole = Some((buf, Entered { unit, ticket }));
        self.copying.push_back(Copying { seat, slot, offset: 0, from, len: total as usize, whole });
        true
    }

    fn piece_bytes_of(&self, seat: usize, task: TaskId) -> u32 {
        let session = self.seats.get(seat).and_then(Option::as_deref).map(|seat| &seat.session);
        session.map_or(0, |session| piece_bytes(session, session.command(task).conn, COPIED_DATA_IN))
    }

    fn send_copied(&mut self, number: usize, slot: usize, from: DataRef, buf: Buf) {
        let Some(Parts { seat, mut out }) = self.parts(number) else { return };
        let Seat { session, exec, .. } = seat;
        let exec = &mut exec[slot];
        exec.in_flight = 0;
        if exec.aborted {
            drop(buf);
            return self.advance(number, slot);
        }
        let (task, total, asked) = (exec.task, exec.total, exec.asked);
        let conn = session.command(task).conn;
        let Some(at) = buf.data(total as usize) else {
            exec.failed.get_or_insert(Failure::Medium(MediumFault::Internal(libc::ERANGE)));
            drop(buf);
            return self.advance(number, slot);
        };
        out.copies = Some((from, at));
        session.data_in(task, 0, total, at, Some(DataInEnd { transfer_bytes: asked }), &mut out);
        give_after(&mut out, conn, buf);
        exec.clear();
    }

    /// Copies what is sent from RAM units with a digest: at the end of the turn, all of it together, so that the memory
    /// looks for the next while one is copied.
    pub fn copy_ready(&mut self) {
        while let Some(Copying { seat, slot, offset, from, whole, .. }) = self.copying.pop_front() {
            if let Some(next) = self.copying.front() {
                let pages = (0..next.len.min(SOON_COPIED_WITHIN)).step_by(PAGE_BYTES);
                pages.for_each(|page| prefetch(DataRef(next.from.0 + page as u64), SOON_COPIED));
            }
            match whole {
                Some((buf, entered)) => {
                    self.send_copied(seat, slot, from, buf);
                    self.leave_fence(entered);
                }
                None => self.slice_done(seat, slot, offset, Ok(())),
            }
        }
    }
}
