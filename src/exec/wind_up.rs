//! A task ends: its slices, its slot, and the answer of one that failed or was aborted.

use super::executor::Executor;
use super::rw::{on_medium, task_in};
use crate::missing::missing;
use crate::model::{Due, MediumFault, SeatIx, TaskKey, UnitIx};
use crate::scsi::Outcome;
use crate::tasks::failing::Failure;
use crate::tasks::outcomes::{TASK_SET_FULL, TIMED_OUT};
use crate::tasks::sink::{Moved, Outside, SetOff};
use crate::tasks::task::{Kind, Progress};

impl Executor {
    /// Takes all buffers from a slot and makes it free; its command is to be ended.
    #[inline(always)]
    pub fn clear(&mut self, who: TaskKey, out: &mut impl Outside) -> Due {
        match task_in(&mut self.clients, who.seat, who.slot()) {
            Some(exec) if exec.holds_nothing() => exec.clear_counted(who, &mut self.tally),
            _ => self.clear_holding(who, out),
        }
    }

    /// The same for a task that holds something, or waits at a limit or for a flush.
    fn clear_holding(&mut self, who: TaskKey, out: &mut impl Outside) -> Due {
        let (seat, slot) = (who.seat, who.slot());
        if let Some(flow) = self.exec(seat, slot).and_then(|e| e.waits.held.take()) {
            self.forget_held(seat, slot, flow);
        }
        if let Some(ticket) = self.exec(seat, slot).and_then(|e| e.waits.flushing.take()) {
            self.waits.flushes.forget(ticket);
        }
        self.drop_slices(seat, slot, out);
        let Some(exec) = task_in(&mut self.clients, seat, slot) else { return Due::of(who) };
        exec.early.data = None;
        exec.clear_counted(who, &mut self.tally)
    }

    /// Gives all slices of a task back.
    fn drop_slices(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) {
        while let Some((unit, slice)) = self.exec(seat, slot).and_then(|e| Some((e.unit, e.slices.pop_front()?))) {
            if let Some(hold) = slice.hold {
                self.release_hold(unit, hold);
            }
            if let Progress::Lent { conn } = slice.progress {
                // The receive releases the buffer when it is over: soon, even if the peer stalls.
                out.set_off(SetOff::LentInVain(conn));
            }
        }
    }

    /// Looks for the first bad block of a read that has failed: in the slice that failed and all behind it, since a
    /// device fails as one what it has put together from several. The task gives back first what it holds: the job
    /// needs a buffer.
    #[cold]
    fn locate(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) {
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let (unit, offset, base) = (exec.unit, exec.failing.locate(), exec.transfer.base);
        let len = exec.slices.back().map_or(0, |last| (last.offset + last.len).saturating_sub(offset));
        if len == 0 {
            return self.wind_up(seat, slot, out);
        }
        self.drop_slices(seat, slot, out);
        let len = on_medium(len, self.media.units[unit].block_bytes) as u64;
        self.spawn_locate(seat, slot, unit, (offset, base + u64::from(offset), len));
    }

    /// Ends a task that has failed or was aborted, and of which nothing is under way. A read that the medium has failed is looked
    /// at first (`locate`).
    pub(super) fn wind_up(&mut self, seat: SeatIx, slot: usize, out: &mut impl Outside) {
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        if exec.kind == Kind::Read && !exec.aborted && exec.failing.is_to_be_located() {
            return self.locate(seat, slot, out);
        }
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let who = TaskKey { seat, task: exec.task };
        let (unit, aborted, failed, moved) = (exec.unit, exec.aborted, exec.failing.first(), exec.transfer.moved);
        let is_read = exec.kind == Kind::Read;
        let range = (exec.transfer.base, u64::from(exec.transfer.total));
        // Who is told that there is no room, or that the unit is busy, takes it that nothing was written.
        let is_half_done = !is_read
            && match failed {
                Some(Failure::NoBuffer) | None => exec.has_begun(),
                Some(Failure::Outcome(outcome)) => outcome == Outcome::BUSY && moved > 0,
                Some(Failure::Medium(_) | Failure::Lost(_)) => false,
            };
        let due = self.clear(who, out);
        if aborted {
            return out.released(due);
        }
        let outcome = match failed {
            _ if is_half_done => TIMED_OUT,
            Some(Failure::Medium(fault)) => {
                self.stats.medium_faults += 1;
                self.say_fault(unit, fault, (is_read, range));
                self.media.units[unit].logical.fault(fault, None)
            }
            Some(Failure::Lost(outcome)) => {
                self.stats.medium_faults += 1;
                self.hear(who, unit, out);
                outcome
            }
            Some(Failure::Outcome(outcome)) => self.media.units[unit].logical.formatted(outcome),
            Some(Failure::NoBuffer) | None => TASK_SET_FULL,
        };
        let moved = u64::from(moved);
        out.complete(due, outcome, if is_read { Moved::In(moved) } else { Moved::Out(moved) });
    }

    /// Says in the log that a read or a write has failed.
    fn say_fault(&mut self, unit: UnitIx, fault: MediumFault, (is_read, (start, bytes)): (bool, (u64, u64))) {
        let Some(unit) = self.media.units.get(unit) else { return missing("a unit") };
        // A share of its own: whoever reads what is broken, again and again, does not hide that a medium hangs or has lost writes.
        if let Some(left_out) = self.noise.notice(self.turn.now_ms) {
            let (serial, block) = (&unit.logical.params().serial, u64::from(unit.block_bytes.max(1)));
            let (lba, blocks, kind) = (start / block, bytes / block, if is_read { "read" } else { "write" });
            tracing::error!(event = "medium-fault", serial, kind, lba, blocks, %fault, left_out, "a medium has failed a command");
        }
    }
}
