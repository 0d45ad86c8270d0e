//! What of a logical unit outlives the process, and a command that changes it, from when it is planned to when it is answered.
//! `saving.rs` carries it out.

use super::erasure::Erasure;
use super::hearers::Lost;
use super::modes::Modes;
use super::params::NexusId;
use super::reservation::{Asker, Change, Reservations};
use super::sense::Outcome;
use crate::model::ItNexus;
use std::sync::Arc;

/// What a store keeps of a logical unit. The default is that of a unit of which nothing was ever saved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// Registrations and the persistent reservation; `None` unless they are to persist through power loss (APTPL).
    pub reservations: Option<Reservations>,
    /// Saved values of the mode pages.
    pub modes: Modes,
    /// What SET IDENTIFYING INFORMATION left.
    pub identifying: IdentifyingInformation,
    /// The erasing that has begun and is not known to be complete.
    pub unfinished: Option<Erasure>,
    /// Who has to hear that writes may be lost.
    pub lost: Option<Lost>,
}

/// The labels of a logical unit; empty: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentifyingInformation {
    /// Peripheral device identifying information, at most `limits::IDENTIFYING_INFORMATION_BYTES`.
    pub binary: Vec<u8>,
    /// Peripheral device text identifying information, UTF-8, at most `limits::IDENTIFYING_TEXT_BYTES`.
    pub text: String,
}

/// Which part of the state a command changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Reservations,
    Modes,
    IdentifyingInformation,
    /// An erasure begins, or there is none any more.
    Unfinished(Option<Erasure>),
    /// Who has heard of so many failures to make writes durable.
    Lost(u64),
}

/// A command whose effect is to be stored first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saving {
    pub(super) part: Part,
    pub(super) cdb: [u8; 16],
    /// The parameter list.
    pub(super) list: Vec<u8>,
    pub(super) nexus: NexusId,
    /// Who asks for the change; `None`: no command does.
    pub(super) asker: Option<Asker>,
    /// The unit's `turn`, whose holders are counted to see whether a saving is on its way. One that nobody is to wait
    /// for holds another.
    pub(super) turn: Arc<()>,
}

impl Saving {
    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Saving>() + self.list.len()
    }
}

/// What became of a [`Saving`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveEnd {
    /// Status and sense of the command.
    pub outcome: Outcome,
    /// As [`super::Reply::aborts`].
    pub aborts: Vec<ItNexus>,
    /// The volatile cache is off from now on: what may still be in it is to be flushed before the outcome is sent, and
    /// also if that is not sent. So it is if the cache was off before: the flush that was due then is perhaps not over,
    /// or has failed.
    pub flush: bool,
}

/// What a [`Saving`] comes to, not in force yet.
#[derive(Debug)]
pub struct Decided {
    pub(super) next: Result<Next, Outcome>,
    pub(super) nexus: NexusId,
}

/// What a command makes of the state.
#[derive(Debug)]
pub(super) enum Next {
    /// `ports`: the target ports that there were.
    Reservations {
        next: Reservations,
        change: Change,
        abort: bool,
        ports: Vec<u16>,
    },
    Modes {
        modes: Modes,
        save: bool,
    },
    IdentifyingInformation(IdentifyingInformation),
    Unfinished(Option<Erasure>),
    Lost(Option<Lost>),
}
