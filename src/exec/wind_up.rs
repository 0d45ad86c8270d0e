//! A task ends: its slices, its slot, and the answer of one that failed or was aborted.

use super::executor::Executor;
use super::rw::on_medium;
use crate::limits::LOCATED_READS;
use crate::model::MediumFault;
use crate::tasks::outcomes::TASK_SET_FULL;
use crate::tasks::sink::{Moved, Sink};
use crate::tasks::task::{Failure, Kind, Progress};

impl Executor {
    /// Takes all buffers from a slot and makes it free.
    #[inline(always)]
    pub fn clear(&mut self, seat: usize, slot: usize, sink: &mut impl Sink) {
        match self.exec(seat, slot) {
            Some(exec) if exec.holds_nothing() => exec.clear(),
            _ => self.clear_holding(seat, slot, sink),
        }
    }

    /// The same for a task that holds something, or waits at a limit or for a flush.
    fn clear_holding(&mut self, seat: usize, slot: usize, sink: &mut impl Sink) {
        if let Some(flow) = self.exec(seat, slot).and_then(|e| e.held.take()) {
            self.forget_held(seat, slot, flow);
        }
        if let Some(ticket) = self.exec(seat, slot).and_then(|e| e.flushing.take()) {
            self.flushes.forget(ticket);
        }
        self.drop_slices(seat, slot, sink);
        if let Some(exec) = self.exec(seat, slot) {
            exec.staging = None;
            exec.clear();
        }
    }

    /// Gives all slices of a task back.
    fn drop_slices(&mut self, seat: usize, slot: usize, sink: &mut impl Sink) {
        while let Some((unit, slice)) = self.exec(seat, slot).and_then(|e| Some((e.unit, e.slices.pop_front()?))) {
            if let Some(hold) = slice.hold {
                self.release_hold(unit, hold);
            }
            if let Progress::Lent { conn } = slice.progress {
                // The receive releases the buffer when it is over: soon, even if the peer stalls.
                sink.lent_in_vain(conn);
            }
        }
    }

    /// Looks for the first bad block of a read that has failed: in the slice that failed and all behind it, since a
    /// device fails as one what it has put together from several. The task gives back first what it holds: the job
    /// needs a buffer.
    #[cold]
    fn locate(&mut self, seat: usize, slot: usize, sink: &mut impl Sink) {
        let Some(exec) = self.exec(seat, slot) else { return };
        exec.located += 1;
        let (unit, offset, base) = (exec.unit, exec.failed_at, exec.base);
        let len = exec.slices.back().map_or(0, |last| (last.offset + last.len).saturating_sub(offset));
        if len == 0 {
            return self.wind_up(seat, slot, sink);
        }
        self.drop_slices(seat, slot, sink);
        let len = on_medium(len, self.media.units[unit].block_bytes) as u64;
        self.spawn_locate(seat, slot, unit, (offset, base + u64::from(offset), len));
    }

    /// Ends a task that has failed or was aborted, and of which nothing is under way. A read that the medium has failed is looked
    /// at first (`locate`).
    pub(super) fn wind_up(&mut self, seat: usize, slot: usize, sink: &mut impl Sink) {
        let Some(exec) = self.exec(seat, slot) else { return };
        if let Some(Failure::Medium(MediumFault::Read)) = exec.failed
            && exec.kind == Kind::Read
            && !exec.aborted
            && exec.located < LOCATED_READS
        {
            return self.locate(seat, slot, sink);
        }
        let Some(exec) = self.exec(seat, slot) else { return };
        let (task, unit, aborted, failed, moved) = (exec.task, exec.unit, exec.aborted, exec.failed, exec.moved);
        let is_read = exec.kind == Kind::Read;
        self.clear(seat, slot, sink);
        if aborted {
            return sink.released((seat, task));
        }
        let outcome = match failed {
            Some(Failure::Medium(fault)) => {
                self.stats.medium_faults += 1;
                self.media.units[unit].logical.fault(fault, None)
            }
            Some(Failure::Lost(outcome)) => {
                self.stats.medium_faults += 1;
                self.hear(seat, task, unit, sink);
                outcome
            }
            Some(Failure::Outcome(outcome)) => self.media.units[unit].logical.formatted(outcome),
            Some(Failure::NoBuffer) | None => TASK_SET_FULL,
        };
        let moved = u64::from(moved);
        sink.complete((seat, task), outcome, if is_read { Moved::In(moved) } else { Moved::Out(moved) });
    }
}
