//! The rare state of a logical unit: what changes rarely, and is behind its mutex.

use super::attention::Log;
use super::clock::Clock;
use super::counters::Counters;
use super::erasure::Erasing;
use super::generation::Generations;
use super::hearers::{Hearers, Lost};
use super::modes::ModesInForce;
use super::params::NexusId;
use super::ports::Ports;
use super::reservation::Reservations;
use super::saved::IdentifyingInformation;
use super::tray::Tray;
use crate::model::Space;

/// What changes rarely.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) attentions: Log,
    pub(super) modes: ModesInForce,
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
    pub(super) erasing: Erasing,
    pub(super) tray: Tray,
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
    /// Extends registrations for all target ports to those ports that are not among `before`.
    pub(super) fn spread_registrations(&mut self, before: &[u16]) {
        let mut added = self.ports.relative_ports();
        added.retain(|port| !before.contains(port));
        self.reservations.spread(&added);
    }
}
