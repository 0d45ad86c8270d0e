//! Who waits for a range that another command holds: when a task does, and how what waits is tried again, every turn.

use super::executor::Executor;
use crate::canary::{Canary, sings};
use crate::limits::FED_PER_TURN;
use crate::missing::missing;
use crate::model::SeatIx;
use crate::scsi::Outcome;
use crate::tasks::failing::Failure;
use crate::tasks::outcomes::TIMED_OUT;
use crate::tasks::sink::Outside;
use crate::tasks::task::Kind;

impl Executor {
    /// Whether anything waits for a range that another command holds, or for durable writes of another core.
    pub fn waits_for_ranges(&self) -> bool {
        let held = !(self.waits.ranges.fenced.is_empty()
            && self.waits.ranges.stalled.is_empty()
            && self.waits.ranges.locking.is_empty());
        held || self.waits.flushes.are_draining()
    }

    /// Whether more of a kind wait for a range than are tried in a turn.
    pub fn have_many_waiting(&self) -> bool {
        [self.waits.ranges.fenced.len(), self.waits.ranges.stalled.len(), self.waits.ranges.locking.len()]
            .iter()
            .any(|waiting| *waiting > FED_PER_TURN)
    }

    /// Tries again what waits for a range, [`FED_PER_TURN`] of each kind in a turn. Those that want a range for
    /// themselves come last: `lock.rs`.
    pub fn retry_held(&mut self, out: &mut impl Outside) {
        if self.waits_for_ranges() {
            self.waits.ranges.since_ms.get_or_insert(self.turn.now_ms);
            if self.waits.flushes.are_draining() {
                self.advance_drains(out);
            }
            self.retry_stalled(out);
            self.retry_fenced(out);
            self.advance_locks();
        } else {
            self.waits.ranges.since_ms = None;
        }
    }

    /// Lets the tasks try again that a range kept out.
    fn retry_fenced(&mut self, out: &mut impl Outside) {
        for _ in 0..self.waits.ranges.fenced.len().min(FED_PER_TURN) {
            let Some((seat, slot)) = self.waits.ranges.fenced.pop() else { return };
            // The session may be gone, and the task may wait no more.
            if let Some(exec) = self.exec(seat, slot)
                && exec.waits.fenced
            {
                exec.waits.fenced = false;
                self.advance(seat, slot, out);
            }
        }
    }

    /// Whether the next slice of a read would overtake a write that outlived its task; then it waits.
    #[inline]
    pub(super) fn overtakes_stray(&mut self, seat: SeatIx, slot: usize, len: usize) -> bool {
        let Some(exec) = self.exec(seat, slot) else {
            missing("a task");
            return false;
        };
        let (unit, at) = (exec.unit, exec.transfer.next_at());
        let past = exec.kind != Kind::Read || sings(Canary::ReadPastStray);
        if past || !self.media.units[unit].fence.has_stray(at, len as u64) {
            return false;
        }
        self.wait_for_fence(seat, slot, (at, len as u64));
        true
    }

    /// Has a task wait for a range that another command holds: it is tried again every turn, and fails if that is not
    /// given back.
    #[cold]
    pub(super) fn wait_for_fence(&mut self, seat: SeatIx, slot: usize, range: (u64, u64)) {
        let now_ms = self.turn.now_ms;
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        let (unit, since_ms) = (exec.unit, *exec.waits.fenced_since_ms.get_or_insert(now_ms));
        if self.is_given_up(unit, range, since_ms) {
            let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
            let outcome = if exec.has_begun() { TIMED_OUT } else { Outcome::BUSY };
            exec.failing.also(Failure::Outcome(outcome));
            return;
        }
        let now_ns = self.turn.now_ns;
        let Some(exec) = self.exec(seat, slot) else { return missing("a task") };
        exec.waits.fenced = true;
        exec.stops(now_ns);
        self.waits.ranges.fenced.push(seat, slot);
        self.stats.most_waiting = self.stats.most_waiting.max(self.waits.ranges.fenced.len() as u64);
    }
}
