//! Looks whether each core goes on: one that is stuck in a call, or in a loop, answers nobody, and the control plane finds out only when it
//! is asked.

use crate::limits::SILENT_LOOKS;

/// What was found of each core.
#[derive(Debug, Default)]
pub struct Silent(Vec<Core>);

#[derive(Debug, Default, Clone)]
struct Core {
    beats: u64,
    /// Looks in a row that have found the same.
    same: u32,
}

impl Silent {
    /// Looks once more: `beats` is how often each core has said that it is awake. The time between two looks is that of
    /// [`crate::limits::SPACE_INTERVAL`]; where the whole machine has stood still, that was one look.
    pub fn look(&mut self, beats: impl Iterator<Item = u64>) {
        for (number, beats) in beats.enumerate() {
            if self.0.len() <= number {
                self.0.resize(number + 1, Core::default());
            }
            let Some(core) = self.0.get_mut(number) else { return };
            let before = core.same;
            core.same = if core.beats == beats { before.saturating_add(1) } else { 0 };
            core.beats = beats;
            if core.same == SILENT_LOOKS {
                tracing::error!(
                    event = "core-silent",
                    core = number,
                    "a core does not go on: who is served by it waits"
                );
            } else if before >= SILENT_LOOKS && core.same == 0 {
                tracing::warn!(event = "core-answers", core = number, "a core goes on again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::tests::said;

    #[test]
    fn a_core_that_is_stuck_is_said_once_and_so_is_that_it_goes_on() {
        let mut silent = Silent::default();
        let mut look = |beats: [u64; 2]| said(|| silent.look(beats.into_iter()));
        assert!(look([1, 1]).is_empty());
        let slow: Vec<_> = (0..u64::from(SILENT_LOOKS) - 1).flat_map(|at| look([2 + at, 1])).collect();
        assert!(slow.is_empty(), "{slow:?}");
        let found = look([100, 1]);
        assert!(found.len() == 1 && found[0].contains("ERROR") && found[0].ends_with("core=1"), "{found:?}");
        assert!(look([101, 1]).is_empty());
        let found = look([102, 2]);
        assert!(found.len() == 1 && found[0].contains("goes on again"), "{found:?}");
        assert!(look([103, 2]).is_empty());
    }
}
