//! Notices: what executors tell each other, and what threads beside the cores tell them.
//!
//! The job or the ticket that one names may be another one's by then: whoever is told looks.

use crate::model::UnitIx;
use crate::unit::errand::Answer;
use std::sync::{Arc, Weak};

/// What an executor is told.
pub enum Notice {
    /// The keeper is done with what a command changes.
    Saved {
        /// The command ([`crate::waits::saves::Saves`]).
        ticket: usize,
        /// Whether it is stored.
        is_stored: bool,
    },
    /// It is a command's turn to be saved.
    SaveTurn {
        /// The command.
        ticket: usize,
    },
    /// An errand is over.
    Errand {
        /// Number of its job, if that still waits.
        job: usize,
        /// Where the answer is.
        answer: Weak<Answer>,
    },
    /// A flush has ended that somebody here waited for.
    Flushed {
        /// Of this unit.
        unit: UnitIx,
    },
    /// A failure to make writes durable was counted beside the cores: it is to be saved who has yet to hear of it.
    Lost {
        /// Of this unit.
        unit: UnitIx,
    },
}

impl Notice {
    /// Its name, for the record of the core that it is sent to.
    pub fn name(&self) -> &'static str {
        match self {
            Notice::Saved { .. } => "Saved",
            Notice::SaveTurn { .. } => "SaveTurn",
            Notice::Errand { .. } => "Errand",
            Notice::Flushed { .. } => "Flushed",
            Notice::Lost { .. } => "Lost",
        }
    }
}

/// Takes a notice to the executor of a core: from any thread, without waiting.
pub type Post = Arc<dyn Fn(usize, Notice) + Send + Sync>;
