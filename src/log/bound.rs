//! How many lines there may be in a second, of the whole process: one bound for all that is said through `tracing`, in whatever form.
//!
//! [`crate::noise`] is before it, and fair: what peers cause on one core has shares there, and is summed up in words. This is what holds
//! if there are many cores, if something says more than anybody thought, and if an administrator asks for the finest of all logs. What
//! is left out is counted, and owned up to as lines that were lost are.

use crate::limits::{FINE_LINES_PER_SECOND, LINES_PER_SECOND};
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::Level;

/// What is wrong, what happens, and what only somebody who looks for it wants to know: none hides another.
#[derive(Debug, Default)]
pub struct Bound([Share; 3]);

/// The second, and in the low half how many lines it has had.
#[derive(Debug, Default)]
struct Share(AtomicU64);

impl Bound {
    /// Whether there may be another line of that level, at `now_s` of any clock.
    pub fn admits(&self, level: Level, now_s: u64) -> bool {
        let [wrong, daily, fine] = &self.0;
        match level {
            Level::ERROR | Level::WARN => wrong.admits(LINES_PER_SECOND, now_s),
            Level::INFO => daily.admits(LINES_PER_SECOND, now_s),
            _ => fine.admits(FINE_LINES_PER_SECOND, now_s),
        }
    }
}

impl Share {
    fn admits(&self, most: u32, now_s: u64) -> bool {
        let second = (now_s & u64::from(u32::MAX)) << 32;
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |had| {
            let is_new = had & !u64::from(u32::MAX) != second;
            let lines = if is_new { 0 } else { had & u64::from(u32::MAX) };
            (lines < u64::from(most)).then_some(second | (lines + 1))
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_lines_of_each_kind_and_no_more() {
        let bound = Bound::default();
        let admitted =
            |level, now_s| (0..3 * FINE_LINES_PER_SECOND).filter(|_| bound.admits(level, now_s)).count() as u32;
        assert_eq!(admitted(Level::INFO, 7), LINES_PER_SECOND);
        assert_eq!(admitted(Level::TRACE, 7), FINE_LINES_PER_SECOND);
        assert_eq!(admitted(Level::DEBUG, 7), 0, "as fine as the other");
        assert_eq!(admitted(Level::WARN, 7), LINES_PER_SECOND, "nothing hides what is wrong");
        assert_eq!(admitted(Level::ERROR, 7), 0);
        assert_eq!(admitted(Level::ERROR, 8), LINES_PER_SECOND, "a second later");
        assert_eq!(admitted(Level::INFO, u64::MAX), LINES_PER_SECOND);
    }

    #[test]
    fn threads_share_one_bound() {
        let bound = Bound::default();
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mine = (0..LINES_PER_SECOND).filter(|_| bound.admits(Level::INFO, 1)).count();
                    admitted.fetch_add(mine as u64, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(admitted.into_inner(), u64::from(LINES_PER_SECOND));
    }
}
