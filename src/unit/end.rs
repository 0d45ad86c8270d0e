//! What a job ends with, or an errand of it.

use crate::model::ItNexus;
use crate::scsi::Outcome;

/// How a job ends.
pub struct JobEnd {
    /// Status and sense.
    pub outcome: Outcome,
    /// Parameter data, for the commands that answer with some.
    pub data: Vec<u8>,
    /// PREEMPT AND ABORT: whose tasks are to be aborted before the outcome is sent.
    pub aborts: Vec<ItNexus>,
    /// With GOOD: what hosts have written is durable. Else: what has failed was to make it durable, and counts as such
    /// a failure (`syncs.rs`), so who is told of it has heard of all that may be lost.
    pub durable: bool,
}

impl From<Outcome> for JobEnd {
    fn from(outcome: Outcome) -> JobEnd {
        JobEnd { outcome, data: Vec::new(), aborts: Vec::new(), durable: false }
    }
}
