//! Which failures to make writes durable each nexus has heard of: what whoever serves the unit asks and says of that.
//! What is known of it, and for how long, is in [`super::hearers`].

use super::hearers::Heard;
use super::nexus::LuNexus;
use super::unit::LogicalUnit;
use crate::model::InitiatorPort;
use std::sync::atomic::Ordering;

impl LogicalUnit {
    /// A number, if hosts that are not here may have written what is not known to be durable: before the unit was
    /// served, or before they were forgotten. When a flush that begins after this was asked has gone well,
    /// [`LogicalUnit::others_flushed`] is to be told of the number.
    pub fn others_unflushed(&self) -> Option<u64> {
        Some(self.others_unflushed.load(Ordering::Acquire)).filter(|number| *number > 0)
    }

    /// What hosts that are not here wrote is durable, or was lost by one of `failures` failures. `number`: from
    /// [`LogicalUnit::others_unflushed`], before the flush; if more hosts were forgotten since, nothing is noted.
    pub fn others_flushed(&self, number: u64, failures: u64) {
        let mut state = self.state();
        state.hearers.others_flushed(number, failures);
        self.others_unflushed.store(state.hearers.others_unflushed(), Ordering::Release);
    }

    /// Notes that a nexus which has heard of `failures` failures is answered GOOD. When that was so for long enough
    /// (`limits::OTHERS_HEAR_MS`), hosts that are not known need not hear of them any more.
    pub fn has_settled(&self, failures: u64, now_ms: u64) {
        self.state().hearers.settle(failures, now_ms);
    }
}

impl LuNexus {
    /// This nexus as one of the initiator port `port`, when there have been `failures` failures: it begins with what
    /// the port, its initiator, or hosts that are not known had heard of.
    #[must_use]
    pub fn of_port(mut self, unit: &LogicalUnit, port: &InitiatorPort, failures: u64) -> LuNexus {
        let mut state = unit.state();
        self.hearing.heard = state.hearers.enlist(port, failures);
        unit.others_unflushed.store(state.hearers.others_unflushed(), Ordering::Release);
        drop(state);
        self
    }

    /// What the nexus knows of `failures` failures. If it is told now, that is with the answer of number `answer`;
    /// `None`: that it arrives will not be known. `has_arrived` knows of an earlier answer whether it has arrived;
    /// `None`: it will not.
    pub fn hear(&mut self, failures: u64, answer: Option<u64>, has_arrived: impl FnOnce(u64) -> Option<bool>) -> Heard {
        self.hearing.hear(failures, answer, has_arrived)
    }

    /// The nexus ends: what it was told counts for those that come after it, if that answer has arrived. Answers
    /// whether that is news.
    pub fn leave(&self, has_arrived: impl FnOnce(u64) -> Option<bool>) -> bool {
        let before = self.hearing.heard.load(Ordering::Relaxed);
        self.hearing.note_arrival(has_arrived) == Some(true) && self.hearing.heard.load(Ordering::Relaxed) > before
    }
}
