//! What waits for a range that another command holds is tried again, every turn.

use super::executor::Executor;
use crate::limits::FED_PER_TURN;
use crate::tasks::sink::Sink;

impl Executor {
    /// Whether anything waits for a range that another command holds, or for durable writes of another core.
    pub fn waits_for_ranges(&self) -> bool {
        let held = !(self.ranges.fenced.is_empty() && self.ranges.stalled.is_empty() && self.ranges.locking.is_empty());
        held || self.flushes.are_draining()
    }

    /// Whether more of a kind wait for a range than are tried in a turn.
    pub fn have_many_waiting(&self) -> bool {
        [self.ranges.fenced.len(), self.ranges.stalled.len(), self.ranges.locking.len()]
            .iter()
            .any(|waiting| *waiting > FED_PER_TURN)
    }

    /// Tries again what waits for a range, [`FED_PER_TURN`] of each kind in a turn. Those that want a range for
    /// themselves come last: `lock.rs`.
    pub fn retry_held(&mut self, sink: &mut impl Sink) {
        if self.waits_for_ranges() {
            if self.ranges.since_ms == u64::MAX {
                self.ranges.since_ms = self.now_ms;
            }
            if self.flushes.are_draining() {
                self.advance_drains(sink);
            }
            self.retry_stalled(sink);
            self.retry_fenced(sink);
            self.advance_locks();
        } else {
            self.ranges.since_ms = u64::MAX;
        }
    }

    /// Lets the tasks try again that a range kept out.
    fn retry_fenced(&mut self, sink: &mut impl Sink) {
        for _ in 0..self.ranges.fenced.len().min(FED_PER_TURN) {
            let Some((seat, slot)) = self.ranges.fenced.pop() else { return };
            if let Some(exec) = self.exec(seat, slot)
                && exec.fenced
            {
                exec.fenced = false;
                self.advance(seat, slot, sink);
            }
        }
    }
}
