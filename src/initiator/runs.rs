//! Which numbers of a sequence that begins with 0 have come.

use crate::limits;
use std::ops::Range;

/// A set of numbers, as stretches without gaps. It remembers [`limits::INITIATOR_RUNS`] of them; what would need one more is
/// not taken.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    runs: Vec<Range<u32>>,
}

impl Runs {
    /// Nothing has come.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    /// Forgets what is not below `end`.
    pub fn truncate(&mut self, end: u32) {
        self.runs.retain(|run| run.start < end);
        if let Some(last) = self.runs.last_mut() {
            last.end = last.end.min(end);
        }
    }

    /// Whether a number has come.
    pub fn contains(&self, number: u32) -> bool {
        let at = self.runs.partition_point(|run| run.end <= number);
        self.runs.get(at).is_some_and(|run| run.contains(&number))
    }

    /// A number has come. Returns whether it is a new one that is remembered.
    pub fn insert(&mut self, number: u32) -> bool {
        let at = self.runs.partition_point(|run| run.end < number);
        match self.runs.get_mut(at) {
            Some(run) if run.contains(&number) => return false,
            Some(run) if run.end == number => {
                run.end = number.saturating_add(1);
                self.join(at);
                return true;
            }
            Some(run) if run.start == number.saturating_add(1) => {
                run.start = number;
                return true;
            }
            _ => {}
        }
        let has_room = self.runs.len() < limits::INITIATOR_RUNS && number < u32::MAX;
        if has_room {
            self.runs.insert(at, number..number.saturating_add(1));
        }
        has_room
    }

    fn join(&mut self, at: usize) {
        if let Some([run, next]) = self.runs.get_mut(at..at + 2)
            && run.end == next.start
        {
            run.end = next.end;
            self.runs.remove(at + 1);
        }
    }

    /// What is missing below `end`, as stretches.
    pub fn missing(&self, end: u32) -> impl Iterator<Item = Range<u32>> + '_ {
        let starts = std::iter::once(0).chain(self.runs.iter().map(|run| run.end));
        let ends = self.runs.iter().map(move |run| run.start.min(end)).chain(std::iter::once(end));
        starts.zip(ends).map(|(start, end)| start..end).filter(|gap| !gap.is_empty())
    }

    /// Whether nothing is missing below `end`.
    pub fn is_whole(&self, end: u32) -> bool {
        self.missing(end).next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(numbers in prop::collection::vec(0u32..60, 0..80), end in 0u32..70, cut in 0u32..70) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(runs.insert(number), set.insert(number));
            }
            let missing: Vec<u32> = (0..end).filter(|number| !set.contains(number)).collect();
            prop_assert_eq!(runs.missing(end).flatten().collect::<Vec<_>>(), missing.clone());
            prop_assert_eq!(runs.is_whole(end), missing.is_empty());
            runs.truncate(cut);
            for number in 0..70 {
                prop_assert_eq!(runs.contains(number), number < cut && set.contains(&number));
            }
        }
    }

    #[test]
    fn there_is_a_bound() {
        let mut runs = Runs::default();
        let taken = (0..10_000).filter(|number| runs.insert(number * 2)).count();
        assert_eq!(taken, limits::INITIATOR_RUNS);
        assert!(runs.insert(1), "what closes a gap is taken");
        assert!(!runs.insert(u32::MAX));
    }
}
