//! The jobs of one core, and which of them are to be polled: session by session, so that one with many keeps nobody
//! waiting.

use super::job::Job;
use crate::model::SeatIx;
use std::collections::VecDeque;

/// Jobs to be polled, by session; the first place is for those of nobody. Sessions take turns.
#[derive(Default)]
pub struct Runnable {
    /// Numbers of jobs, by place: seat and one.
    pub of: Vec<VecDeque<usize>>,
    /// Places that have jobs, in the order of their turns.
    pub turns: VecDeque<usize>,
    /// How many jobs there are in all.
    pub len: usize,
}

impl Runnable {
    /// A job of the session at `seat` is to be polled.
    pub fn push(&mut self, seat: Option<SeatIx>, job: usize) {
        let place = seat.map_or(0, |seat| seat.at() + 1);
        if self.of.len() <= place {
            self.of.resize_with(place + 1, VecDeque::new);
        }
        if self.of[place].is_empty() {
            self.turns.push_back(place);
        }
        self.of[place].push_back(job);
        self.len += 1;
    }

    /// Takes the next job of the session whose turn it is.
    pub fn pop(&mut self) -> Option<usize> {
        let place = self.turns.pop_front()?;
        let jobs = self.of.get_mut(place)?;
        let job = jobs.pop_front()?;
        if !jobs.is_empty() {
            self.turns.push_back(place);
        }
        self.len -= 1;
        Some(job)
    }

    /// How many jobs there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no jobs.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The jobs of one core.
#[derive(Default)]
pub struct Running {
    /// By number.
    pub jobs: Vec<Option<Job>>,
    /// Numbers of jobs that are free.
    pub free: Vec<usize>,
    /// Jobs to be polled.
    pub runnable: Runnable,
    /// Numbers of the jobs that are copies.
    pub copies: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_take_turns() {
        let mut runnable = Runnable::default();
        (0..4).for_each(|job| runnable.push(Some(SeatIx::new(7)), job));
        runnable.push(None, 10);
        runnable.push(Some(SeatIx::new(2)), 20);
        let all: Vec<_> = std::iter::from_fn(|| runnable.pop()).collect();
        assert_eq!(all, [0, 10, 20, 1, 2, 3]);
        assert!(runnable.is_empty());
    }
}
