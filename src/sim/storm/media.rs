//! What media answer in a storm.

use crate::backend::simulated::{self, Work};
use crate::sim::Rng;

/// What an operation comes to.
pub(super) fn answer(entry: &io_uring::squeue::Entry, is_calm: bool, rng: &mut Rng) -> i32 {
    let Some((_, pending)) = simulated::operation(entry) else { return -libc::ETIME };
    if is_calm {
        return 0;
    }
    match rng.below(100) {
        0..3 => -libc::EINTR,
        3..8 if matches!(pending.work, Work::Read | Work::Write { .. }) => 1 + rng.below(pending.len) as i32,
        _ => 0,
    }
}
