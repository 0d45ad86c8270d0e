//! The rare state of a logical unit: what changes rarely, and is behind its mutex.

use super::attention::Log;
use super::clock::Clock;
use super::counters::Counters;
use super::erasure::{Busy, Erasure};
use super::generation::Generations;
use super::hearers::{Hearers, Lost};
use super::modes::{Modes, Unflushed};
use super::params::NexusId;
use super::ports::Ports;
use super::reservation::Reservations;
use super::saved::IdentifyingInformation;
use crate::model::Space;

/// What changes rarely.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) attentions: Log,
    pub(super) modes: Modes,
    /// The cache that `modes` have switched off, while it is not known to be flushed.
    pub(super) unflushed: Option<Unflushed>,
    /// How often the cache was switched off.
    pub(super) switched_off: u64,
    /// What `modes` returns to with a reset, and starts with after a restart.
    pub(super) saved_modes: Modes,
    pub(super) identifying: IdentifyingInformation,
    pub(super) reservations: Reservations,
    pub(super) counters: Counters,
    pub(super) hearers: Hearers,
    /// What is stored of who has to hear of lost writes.
    pub(super) lost: Option<Lost>,
    pub(super) pool: Pool,
    pub(super) ports: Ports,
    pub(super) generations: Generations,
    pub(super) clock: Clock,
    /// SANITIZE or FORMAT UNIT is under way, or has failed.
    pub(super) busy: Option<Busy>,
    /// What is stored of an erasure that is not complete.
    pub(super) unfinished: Option<Erasure>,
    /// The removable medium is out.
    pub(super) ejected: bool,
    /// How often the medium was ejected or loaded, or became another disc.
    pub(super) medium_changes: u64,
    /// PREVENT ALLOW MEDIUM REMOVAL: who wants it to stay.
    pub(super) removal_prevented_by: Vec<NexusId>,
    /// The echo buffer, and who wrote to it last.
    pub(super) echo: Option<(NexusId, Box<[u8]>)>,
}

/// The space of a logical unit as last measured; among its rare state.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) space: Option<Space>,
    /// The threshold is reached.
    pub(super) low: bool,
}

impl State {
    /// Puts other mode parameters in force. Answers whether that has switched the cache off, of a unit that has one.
    pub(super) fn set_modes(&mut self, modes: Modes, has_cache: bool, by: Option<NexusId>) -> bool {
        let old = std::mem::replace(&mut self.modes, modes);
        let is_switched_off = has_cache && modes.write_through && !old.write_through;
        if is_switched_off {
            self.switched_off += 1;
            self.unflushed = Some(Unflushed { number: self.switched_off, by, is_told: false });
        } else if !modes.write_through {
            self.unflushed = None;
        }
        is_switched_off
    }

    /// Which switching off of the cache is not known to be flushed; zero: none.
    pub(super) fn unflushed(&self) -> u64 {
        self.unflushed.map_or(0, |unflushed| unflushed.number)
    }

    /// The mode parameters as they are reported.
    pub(super) fn reported_modes(&mut self) -> Modes {
        match &mut self.unflushed {
            Some(unflushed) => {
                unflushed.is_told = true;
                Modes { write_through: false, ..self.modes }
            }
            None => self.modes,
        }
    }

    /// Extends registrations for all target ports to those ports that are not among `before`.
    pub(super) fn spread_registrations(&mut self, before: &[u16]) {
        let mut added = self.ports.relative_ports();
        added.retain(|port| !before.contains(port));
        self.reservations.spread(&added);
    }
}
