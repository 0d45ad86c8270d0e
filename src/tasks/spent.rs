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
    /// Since when it is there, by the clock of all cores.
    pub since_ns: u64,
    before_ns: [u64; 3],
    /// `None`: nothing was noted yet. It begins in the queue.
    stage: Option<Stage>,
}

impl Spent {
    /// Of a command that has not waited for anything yet.
    pub const NOTHING: Spent = Spent { since_ns: 0, before_ns: [0; 3], stage: None };

    /// From `now_ns` on the command is in this stage.
    #[inline(always)]
    pub fn goes_on_in(&mut self, stage: Stage, now_ns: u64) {
        if self.stage != Some(stage) {
            // Mostly the turn in which a command begins is that in which it goes to the medium.
            if self.since_ns != now_ns {
                self.add(now_ns);
            }
            (self.since_ns, self.stage) = (now_ns, Some(stage));
        }
    }

    #[inline(never)]
    fn add(&mut self, now_ns: u64) {
        self.before_ns[self.stage.unwrap_or(Stage::Queue) as usize] += now_ns.saturating_sub(self.since_ns);
    }

    /// What it has spent in the queue and at the medium by `now_ns`, nanoseconds, when it is over.
    #[inline(always)]
    pub fn end(&self, now_ns: u64) -> [u64; 2] {
        let ([queue_ns, medium_ns, _], open_ns) = (self.before_ns, now_ns.saturating_sub(self.since_ns));
        match self.stage.unwrap_or(Stage::Queue) {
            Stage::Queue => [queue_ns + open_ns, medium_ns],
            Stage::Medium => [queue_ns, medium_ns + open_ns],
            Stage::Network => [queue_ns, medium_ns],
        }
    }

    /// Forgets what was spent: the next command sets when it begins.
    #[inline(always)]
    pub fn clear(&mut self) {
        if self.stage.is_some() {
            (self.before_ns, self.stage) = ([0; 3], None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_in_one_stage_at_a_time() {
        let begun = Spent { since_ns: 100, ..Spent::NOTHING };
        assert_eq!(begun.end(150), [50, 0]);
        let mut spent = begun;
        spent.goes_on_in(Stage::Network, 110);
        // It is there already.
        spent.goes_on_in(Stage::Network, 120);
        spent.goes_on_in(Stage::Medium, 150);
        spent.goes_on_in(Stage::Queue, 180);
        spent.goes_on_in(Stage::Medium, 185);
        assert_eq!(spent.end(200), [10 + 5, 30 + 15]);
        spent.goes_on_in(Stage::Network, 200);
        assert_eq!(spent.end(300), [15, 45]);
    }

    #[test]
    fn what_is_over_within_a_turn_has_spent_nothing() {
        let mut spent = Spent { since_ns: 7, ..Spent::NOTHING };
        [Stage::Medium, Stage::Network].into_iter().for_each(|stage| spent.goes_on_in(stage, 7));
        assert_eq!(spent.end(7), [0; 2]);
    }

    #[test]
    fn the_next_command_has_spent_nothing() {
        let mut spent = Spent { since_ns: 7, ..Spent::NOTHING };
        spent.goes_on_in(Stage::Medium, 10);
        spent.goes_on_in(Stage::Queue, 15);
        spent.clear();
        spent.since_ns = 20;
        assert_eq!(spent.end(21), [1, 0]);
    }
}
