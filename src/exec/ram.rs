//! RAM units: a write that is all there is stored at once, and a read is sent from where its data lies, or copied when
//! it suits us.

use super::executor::Executor;
use super::rw::task_in;
use crate::backend::Handle;
use crate::buffers::Buf;
use crate::limits::{QUEUED_DATA_IN, SLICE_BYTES};
use crate::missing::missing;
use crate::model::{DataRef, MediumFault, SeatIx, TaskKey, UnitIx};
use crate::tasks::failing::Failure;
use crate::tasks::memory::{Copying, Entered, Stored};
use crate::tasks::sink::{Body, InPlaceIf, Outside, Part, Sent, Sink};
use crate::tasks::tally::{Class, Ended, Slow};
use crate::tasks::task::{Action, Exec, Kind};
use crate::unit::fence::Ticket;
use crate::unit::memory_hold::Lying;

/// Bytes of a read that are asked for when it is planned, where the kernel copies them: its copy reads ahead by itself once
/// it has begun. Measured: none costs 6 % more with 32 commands at a time, all of 4 KiB cost 4 %.
const SOON_SENT: usize = 256;
/// Bytes are asked for only of so many reads of a turn. Beyond those the memory has enough to do, and asking takes as
/// long as waiting: with 128 commands at a time, asking for all of them costs 4 % more.
const SOON_SENT_READS: usize = 16;
/// Of a read that is copied by us, so much of each page at its beginning is asked for while the one before it is copied.
/// Measured: this costs up to a tenth less than to ask for all of it when it is planned.
const SOON_COPIED: usize = 1024;
/// Only within so many bytes of it.
const SOON_COPIED_WITHIN: usize = 16 << 10;
/// A read that is copied in one piece has at most so many Data-In PDUs: it is queued whether there is room or not.
const COPIED_DATA_IN: u32 = 32;
/// So much is a piece for any initiator: the shortest MaxRecvDataSegmentLength is 512 bytes (RFC 7143 section 13.12).
const ALWAYS_QUEUED: u32 =
    if 512 * QUEUED_DATA_IN < SLICE_BYTES as u32 { 512 * QUEUED_DATA_IN } else { SLICE_BYTES as u32 };
/// Bytes of a page: beyond its end the processor does not read ahead by itself.
const PAGE_BYTES: usize = 4096;

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

/// Asks for the first `len` bytes, which will be read before long.
#[inline]
fn prefetch(from: DataRef, len: usize) {
    crate::backend::prefetch(from.0 as *const u8, len);
}

impl Executor {
    /// All data of a write is in a RAM unit's memory. It is answered when the stores are settled, with all others of this
    /// chunk: until then it is on the medium like any other.
    #[inline]
    pub fn stored(&mut self, who: TaskKey, (unit, ticket): (UnitIx, Ticket), (base, total, asked): (u64, u32, u64)) {
        let slot = who.slot();
        if let Some(exec) = self.exec(who.seat, slot) {
            exec.begin(Kind::Write(Action::Write), who.task, unit, (base, total, asked));
            (exec.transfer.started, exec.transfer.moved) = (total, total);
            exec.under_way.begin();
        } else {
            missing("a task");
        }
        self.memory.stored.push(Stored { seat: who.seat, slot, entered: Entered { unit, ticket } });
    }

    /// Has what was stored seen by all cores, then answers those writes.
    pub fn settle_stores(&mut self, out: &mut impl Outside) {
        if self.memory.stored.is_empty() {
            return;
        }
        crate::backend::settle();
        let mut stored = std::mem::take(&mut self.memory.stored);
        for Stored { seat, slot, entered } in stored.drain(..) {
            self.leave_fence(entered);
            let Some(exec) = self.exec(seat, slot) else {
                missing("a task");
                continue;
            };
            exec.under_way.over();
            if exec.aborted || exec.failing.is_any() {
                self.advance(seat, slot, out);
            } else {
                self.written(seat, slot, out);
            }
        }
        self.memory.stored = stored;
    }

    #[inline]
    fn leave_fence(&self, Entered { unit, ticket }: Entered) {
        self.media.units[unit].fence.leave(self.core, ticket);
    }

    /// Where those bytes of a unit lie in memory, if it is a RAM unit.
    #[inline]
    pub fn memory_of(&self, unit: UnitIx, offset: u64, len: u32) -> Option<DataRef> {
        address(self.handles.get(unit)?, offset, len)
    }

    /// Sends what is read from where it lies, at once. False: nothing was done, for the data is not in memory, or there
    /// is more to look at.
    #[inline(always)]
    pub fn read_in_place(
        &mut self,
        who: TaskKey,
        unit: UnitIx,
        (base, asked): (u64, u64),
        expects: u32,
        out: &mut impl Outside,
    ) -> bool {
        let Some(handle) = self.handles.get(unit) else { return false };
        let Some(memory) = handle.hold() else { return false };
        let Some(exec) = task_in(&mut self.clients, who.seat, who.slot()) else {
            missing("a task");
            return false;
        };
        let total = asked.min(u64::from(expects)) as u32;
        if total == 0 || !exec.is_fresh() {
            return false;
        }
        let Some(at) = address(handle, base, total) else { return false };
        let fence = &self.media.units[unit].fence;
        if total > ALWAYS_QUEUED && total > out.way(who).bytes(QUEUED_DATA_IN) {
            return false;
        }
        let part = Part { offset: 0, len: total, at, end: Some(asked) };
        let lying = Lying { memory, fence, unit, core: self.core, places: &mut self.memory.places };
        if out.data_in_place(who, part, lying, InPlaceIf::Now) != Sent::Yes {
            return false;
        }
        self.memory.read_soon += 1;
        if self.memory.read_soon <= SOON_SENT_READS {
            prefetch(at, SOON_SENT.min(total as usize));
        }
        self.stats.read_bytes += u64::from(total);
        let (begun_ns, class) = (exec.begun_ns, Class::Read);
        let ended = Ended { seat: who.seat, begun_ns, unit, bytes: total, class };
        if self.tally.is_of_this_turn(begun_ns) {
            self.tally.ended(ended);
        } else {
            // It has had its turn at a limit.
            self.tally.ended_later(ended, [self.turn.now_ns.saturating_sub(begun_ns), 0]);
        }
        if self.tally.may_be_slow(begun_ns) {
            self.tally.note_slow(Slow { seat: who.seat, begun_ns, unit, range: (base, total), class });
        }
        exec.clear_fresh(who).end();
        true
    }

    /// Whether what is read is to be sent from where it lies, a piece at a time.
    pub fn goes_in_place(&self, who: TaskKey, unit: UnitIx, (offset, total): (u64, u32), out: &impl Sink) -> bool {
        let holds_nothing = self.tasks(who.seat).get(who.slot()).is_some_and(Exec::holds_nothing);
        self.memory_of(unit, offset, total).is_some()
            && holds_nothing
            && !self.media.units[unit].fence.keeps_reads()
            && out.way(who).in_place
    }

    /// Sends the next piece of a read from where it lies. True: that was all, and the slot is free; or it waits.
    #[cold]
    pub fn send_piece(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) -> bool {
        let Some(exec) = task_in(&mut self.clients, seat, slot) else {
            missing("a task");
            return true;
        };
        if exec.waits.crowded {
            return true;
        }
        let (unit, moved, left) = (exec.unit, exec.transfer.moved, exec.transfer.total - exec.transfer.moved);
        let who = TaskKey { seat, task: exec.task };
        let len = left.min(out.way(who).bytes(QUEUED_DATA_IN).max(PAGE_BYTES as u32));
        let handle = self.handles.get(unit);
        let at = handle.and_then(|handle| address(handle, exec.transfer.base + u64::from(moved), len));
        let Some((memory, at)) = handle.and_then(Handle::hold).zip(at) else {
            // Slices know what to do about a unit that has become smaller.
            exec.transfer.by_slices();
            return false;
        };
        let part = Part { offset: moved, len, at, end: (len == left).then_some(exec.transfer.asked) };
        let fence = &self.media.units[unit].fence;
        let lying = Lying { memory, fence, unit, core: self.core, places: &mut self.memory.places };
        match out.data_in_place(who, part, lying, InPlaceIf::InTurn) {
            Sent::No => {
                // So they do about atomic writes.
                exec.transfer.by_slices();
                return false;
            }
            Sent::Wait => {
                exec.waits.crowded = true;
                exec.stops(self.turn.now_ns);
                return true;
            }
            Sent::Yes => exec.transfer.moved += len,
            Sent::YesAndWait => {
                exec.transfer.moved += len;
                exec.waits.crowded = true;
                exec.stops(self.turn.now_ns);
            }
        }
        if len == left {
            self.clear(who, out).end();
            return true;
        }
        false
    }

    /// A read that is copied, for the digest over it: all of it at once at the end of the turn. False: it goes by slices.
    #[inline]
    pub fn read_copied(
        &mut self,
        who: TaskKey,
        unit: UnitIx,
        (base, total, asked): (u64, u32, u64),
        out: &mut impl Outside,
    ) -> bool {
        // A file or device ends here: its data does not lie in memory.
        let Some(from) = self.memory_of(unit, base, total) else { return false };
        if total as usize > SLICE_BYTES || total > out.way(who).bytes(COPIED_DATA_IN) {
            return false;
        }
        let Some(buf) = self.allocate(who.seat, total as usize) else { return false };
        let slot = who.slot();
        let fence = &self.media.units[unit].fence;
        let Some(ticket) = fence.enter_read(self.core, base, u64::from(total)) else { return false };
        if let Some(exec) = self.exec(who.seat, slot) {
            exec.begin(Kind::Read, who.task, unit, (base, total, asked));
            exec.transfer.started = total;
            exec.under_way.begin();
        } else {
            missing("a task");
        }
        let whole = Some((buf, Entered { unit, ticket }));
        self.memory.copying.push_back(Copying { seat: who.seat, slot, offset: 0, from, len: total as usize, whole });
        true
    }

    fn send_copied(&mut self, seat: SeatIx, slot: usize, from: DataRef, buf: Buf, out: &mut impl Outside) {
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        exec.under_way.over();
        if exec.aborted {
            drop(buf);
            return self.advance(seat, slot, out);
        }
        let (who, total, asked) = (TaskKey { seat, task: exec.task }, exec.transfer.total, exec.transfer.asked);
        let Some(at) = buf.data(total as usize) else {
            exec.failing.also(Failure::Medium(MediumFault::Internal(libc::ERANGE)));
            drop(buf);
            return self.advance(seat, slot, out);
        };
        let part = Part { offset: 0, len: total, at, end: Some(asked) };
        let sent = out.data_in(who, part, Body::Medium { copied_from: Some(from), must: true }, buf);
        debug_assert!(sent.is_ok(), "it is queued whether there is room or not");
        self.clear(who, out).end();
    }

    /// Copies what is sent from RAM units with a digest: at the end of the turn, all of it together, so that the memory
    /// looks for the next while one is copied.
    pub fn copy_ready(&mut self, out: &mut impl Outside) {
        while let Some(Copying { seat, slot, offset, from, whole, .. }) = self.memory.copying.pop_front() {
            if let Some(next) = self.memory.copying.front() {
                let pages = (0..next.len.min(SOON_COPIED_WITHIN)).step_by(PAGE_BYTES);
                pages.for_each(|page| prefetch(DataRef(next.from.0 + page as u64), SOON_COPIED));
            }
            match whole {
                Some((buf, entered)) => {
                    self.send_copied(seat, slot, from, buf, out);
                    self.leave_fence(entered);
                }
                None => self.slice_done(seat, slot, offset, Ok(()), out),
            }
        }
    }
}
