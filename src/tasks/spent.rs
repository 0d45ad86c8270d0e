//! Where a command spends its time: waiting in the target, at the medium, or waiting for the network.
//!
//! A command is in one [`Stage`] at a time, by the time of the core's turns: nobody looks at the clock for it. What it spends in
//! a turn is not told apart, so one that ends in the turn that it began in has spent nothing anywhere.

/// What a command spends its time with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Waiting in the target for what others have: its turn at a limit, a buffer, a range.
    Queue,
    /// Something of it is at the medium; a flush that it shares with others is.
    Medium,
    /// Waiting for its initiator: for Data-Out, or for room among what is sent.
    Network,
}

impl Stage {
    /// All of them, in the order of their numbers.
    pub const ALL: [Stage; 3] = [Stage::Queue, Stage::Medium, Stage::Network];

    /// What it is called where it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Queue => "queue",
            Stage::Medium => "medium",
            Stage::Network => "network",
        }
    }
}

/// Where a command is, and what it has spent in each stage before, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    before_ns: [u64; 3],
    stage: Stage,
}

impl Spent {
    /// Of a command that has not waited for anything yet: it begins in the queue.
    pub const NOTHING: Spent = Spent { before_ns: [0; 3], stage: Stage::Queue };

    /// From `now_ns` on the command is in this stage; it began at `begun_ns`.
    #[inline]
    pub fn goes_on_in(&mut self, stage: Stage, begun_ns: u64, now_ns: u64) {
        if self.stage != stage {
            self.before_ns = self.by(begun_ns, now_ns);
            self.stage = stage;
        }
    }

    /// What it has spent in each stage by `now_ns`, nanoseconds.
    #[inline]
    pub fn by(&self, begun_ns: u64, now_ns: u64) -> [u64; 3] {
        let mut spent_ns = self.before_ns;
        let [queue, medium, network] = spent_ns;
        spent_ns[self.stage as usize] += now_ns.saturating_sub(begun_ns).saturating_sub(queue + medium + network);
        spent_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_in_one_stage_at_a_time() {
        let mut spent = Spent::NOTHING;
        assert_eq!(spent.by(100, 150), [50, 0, 0]);
        spent.goes_on_in(Stage::Network, 100, 110);
        // It is there already.
        spent.goes_on_in(Stage::Network, 100, 120);
        spent.goes_on_in(Stage::Medium, 100, 150);
        spent.goes_on_in(Stage::Queue, 100, 180);
        spent.goes_on_in(Stage::Medium, 100, 185);
        assert_eq!(spent.by(100, 200), [10 + 5, 30 + 15, 40]);
        spent.goes_on_in(Stage::Network, 100, 200);
        assert_eq!(spent.by(100, 200), [15, 45, 40]);
    }

    #[test]
    fn what_is_over_within_a_turn_has_spent_nothing() {
        let mut spent = Spent::NOTHING;
        [Stage::Medium, Stage::Network].into_iter().for_each(|stage| spent.goes_on_in(stage, 7, 7));
        assert_eq!(spent.by(7, 7), [0; 3]);
    }
}
