//! What a logical unit has done, for the general statistics and performance log page (SPC-4 clause 7.3.9).
//!
//! Each I_T_L nexus counts in a [`Tally`] of its own, which only the core of its session writes: a load, an add and a
//! store to memory that is in that core's cache, no atomic read-modify-write. Whoever reads sums them up. The logical
//! unit knows its tallies; now and then, when a new one is made, those of nexuses that are gone are folded into a
//! total.

use super::medium_op::Counted;
use super::plan::Plan;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one nexus. Aligned so that no two share a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Tally {
    reads: AtomicU64,
    writes: AtomicU64,
    blocks_written: AtomicU64,
    blocks_read: AtomicU64,
}

/// Adds for the only writer of a counter.
#[inline]
fn add(counter: &AtomicU64, number: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
}

impl Tally {
    /// Counts what was planned. What WRITE SAME and UNMAP change without moving it is not counted in blocks.
    #[inline]
    pub(super) fn note(&self, plan: &Plan) {
        let Plan::Medium(op) = plan else { return };
        let row = op.row();
        let (commands, moved, blocks) = match row.counted {
            Counted::Not => return,
            Counted::Read => (&self.reads, &self.blocks_read, row.range.1),
            Counted::Write => (&self.writes, &self.blocks_written, row.data_out),
        };
        add(commands, 1);
        add(moved, blocks);
    }

    /// Commands and blocks, read or written.
    pub(super) fn done(&self) -> (u64, u64) {
        let Totals { reads, writes, blocks_written, blocks_read } = self.totals();
        (reads.wrapping_add(writes), blocks_written.wrapping_add(blocks_read))
    }

    fn totals(&self) -> Totals {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            reads: value(&self.reads),
            writes: value(&self.writes),
            blocks_written: value(&self.blocks_written),
            blocks_read: value(&self.blocks_read),
        }
    }
}

/// The counters of a logical unit at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    /// NUMBER OF READ COMMANDS.
    pub(super) reads: u64,
    /// NUMBER OF WRITE COMMANDS.
    pub(super) writes: u64,
    /// NUMBER OF LOGICAL BLOCKS RECEIVED.
    pub(super) blocks_written: u64,
    /// NUMBER OF LOGICAL BLOCKS TRANSMITTED.
    pub(super) blocks_read: u64,
}

impl Totals {
    fn combined(self, other: Totals, with: fn(u64, u64) -> u64) -> Totals {
        Totals {
            reads: with(self.reads, other.reads),
            writes: with(self.writes, other.writes),
            blocks_written: with(self.blocks_written, other.blocks_written),
            blocks_read: with(self.blocks_read, other.blocks_read),
        }
    }
}

/// All tallies of a logical unit; among its rare state.
#[derive(Debug, Default)]
pub(super) struct Counters {
    tallies: Vec<Arc<Tally>>,
    /// With so many tallies those of nexuses that are gone are looked for. A search costs as much as there are tallies,
    /// and there may be thousands of nexuses that each come and go.
    look_at: usize,
    /// What nexuses that are gone have counted.
    gone: Totals,
    /// What was counted when LOG SELECT last set the counters to zero: it is subtracted.
    reset: Totals,
}

impl Counters {
    /// A tally for a new nexus.
    pub(super) fn enlist(&mut self) -> Arc<Tally> {
        if self.tallies.len() >= self.look_at {
            self.fold();
            self.look_at = 2 * (self.tallies.len() + 1);
        }
        let tally = Arc::new(Tally::default());
        self.tallies.push(Arc::clone(&tally));
        tally
    }

    /// Adds the tallies of nexuses that are gone to `gone`, and drops them.
    fn fold(&mut self) {
        let gone = &mut self.gone;
        self.tallies.retain(|tally| {
            let lives = Arc::strong_count(tally) > 1;
            if !lives {
                *gone = gone.combined(tally.totals(), u64::wrapping_add);
            }
            lives
        });
    }

    fn all(&self) -> Totals {
        self.tallies.iter().fold(self.gone, |sum, tally| sum.combined(tally.totals(), u64::wrapping_add))
    }

    /// What was counted since the last reset.
    pub(super) fn totals(&self) -> Totals {
        self.all().combined(self.reset, u64::wrapping_sub)
    }

    /// Counts from zero again.
    pub(super) fn reset(&mut self) {
        self.reset = self.all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::medium_op::MediumOp;
    use super::*;

    #[test]
    fn what_a_nexus_has_done_outlives_it() {
        let mut counters = Counters::default();
        let (one, two) = (counters.enlist(), counters.enlist());
        one.note(&Plan::Medium(MediumOp::Read { lba: 0, blocks: 8, fua: false }));
        two.note(&Plan::Medium(MediumOp::Write { lba: 0, blocks: 3, fua: true }));
        two.note(&Plan::Medium(MediumOp::Flush { immed: false }));
        let expected = Totals { reads: 1, writes: 1, blocks_written: 3, blocks_read: 8 };
        assert_eq!(counters.totals(), expected);
        drop(one);
        let three = counters.enlist();
        assert_eq!(counters.totals(), expected);
        counters.reset();
        assert_eq!(counters.totals(), Totals::default());
        three.note(&Plan::Medium(MediumOp::CompareAndWrite { lba: 0, blocks: 2, fua: false }));
        assert_eq!(counters.totals(), Totals { writes: 1, blocks_written: 4, ..Totals::default() });
    }

    #[test]
    fn tallies_of_nexuses_that_are_gone_are_as_many_as_live_ones_at_most() {
        let mut counters = Counters::default();
        let live: Vec<_> = (0..100).map(|_| counters.enlist()).collect();
        for _ in 0..1000 {
            counters.enlist().note(&Plan::Medium(MediumOp::Read { lba: 0, blocks: 1, fua: false }));
        }
        assert!(counters.tallies.len() <= 2 * (live.len() + 1));
        assert_eq!(counters.totals().reads, 1000);
    }
}
