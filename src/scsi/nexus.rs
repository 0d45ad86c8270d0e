//! One I_T_L nexus of a logical unit: what it has pending, and what it is refused at the moment.

use super::attention::{Attention, Pending};
use super::class;
use super::counters::Tally;
use super::hearers::Hearing;
use super::mmc::reported::Reported;
use super::params::NexusId;
use super::sense::Outcome;
use super::unit::LogicalUnit;
use crate::model::{Address, InitiatorPort};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What one I_T_L nexus has pending and is refused at the moment; owned by the core of its session.
#[derive(Debug)]
pub struct LuNexus {
    pub(super) id: NexusId,
    /// Tag of the portal group that it comes by, which is its target port group.
    pub(super) port_group: u16,
    /// The network address that it comes from, if there is one.
    pub(super) address: Option<Address>,
    /// The generation that `blocked` was made from.
    pub(super) seen: u64,
    /// Attentions up to this generation were pulled.
    pub(super) pulled: u64,
    /// Classes of commands that do not go through at the moment ([`class`]).
    pub(super) blocked: u16,
    pub(super) pending: Pending,
    pub(super) tally: Arc<Tally>,
    /// Failures to make writes durable that it was told of.
    pub(super) hearing: Hearing,
    /// WRITE BUFFER has left something for READ BUFFER.
    pub(super) has_echo: bool,
    /// What GET EVENT STATUS NOTIFICATION has told.
    pub(super) events: Reported,
}

impl LuNexus {
    /// A new nexus of this logical unit: it first reports 29/00, as SAM-5 clause 5.14 wants of a nexus whose past the
    /// device server does not know.
    pub fn new(id: NexusId, unit: &LogicalUnit) -> LuNexus {
        let pulled = unit.generation.load(Ordering::Acquire);
        let port_group = unit.params().port_groups.first().map_or(1, |group| group.tag);
        let pending = Pending::with(Attention::PowerOn);
        let mut state = unit.state();
        let (tally, events) = (state.counters.enlist(), Reported::begin(&state.tray));
        LuNexus {
            id,
            port_group,
            address: None,
            seen: u64::MAX,
            pulled,
            blocked: 0,
            pending,
            tally,
            hearing: Hearing::default(),
            has_echo: false,
            events,
        }
    }

    /// This nexus as one that comes by the portal group `tag`; otherwise it comes by the first of the logical unit.
    #[must_use]
    pub fn by_port_group(self, tag: u16) -> LuNexus {
        LuNexus { port_group: tag, ..self }
    }

    /// This nexus as one of an initiator at `address`.
    #[must_use]
    pub fn at(self, address: Address) -> LuNexus {
        LuNexus { address: Some(address), ..self }
    }

    /// The I_T nexus that this is the I_T_L nexus of.
    pub fn id(&self) -> NexusId {
        self.id
    }

    /// Commands that read or write, and blocks that they moved, since it began.
    pub fn done(&self) -> (u64, u64) {
        self.tally.done()
    }

    /// Establishes a unit attention for this nexus alone.
    pub fn attend(&mut self, attention: Attention) {
        self.pending.push(attention);
        self.note_pending();
    }

    /// Takes all unit attentions that are pending, as commands that report them do.
    pub fn forget_attentions(&mut self) {
        while self.pending.pop().is_some() {}
        self.note_pending();
    }

    /// Whether the port that it comes by was unavailable as of the last command.
    pub(super) fn port_is_unavailable(&self) -> bool {
        self.blocked & class::UNAVAILABLE != 0
    }

    /// Notes in `blocked` whether unit attentions are pending.
    pub(super) fn note_pending(&mut self) {
        if self.pending.is_empty() {
            self.blocked &= !class::ATTENTION;
        } else {
            self.blocked |= class::ATTENTION;
        }
    }

    /// Refuses a class of commands, with RESERVATION CONFLICT, if a reservation of another nexus keeps it from this
    /// one. Handlers ask for what depends on more than the operation code.
    pub(super) fn check_reserved(&self, class: u16) -> Result<(), Outcome> {
        if self.blocked & class == 0 { Ok(()) } else { Err(Outcome::RESERVATION_CONFLICT) }
    }
}

/// What a nexus that a copy was begun for may do at a logical unit, for as long as the copy takes.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) id: NexusId,
    pub(super) port_group: u16,
    pub(super) initiator: InitiatorPort,
    /// The generation that `blocked` was made from.
    pub(super) seen: Cell<u64>,
    pub(super) blocked: Cell<u16>,
}

impl Pass {
    pub(super) fn of(nexus: &LuNexus, initiator: &InitiatorPort) -> Pass {
        Pass {
            id: nexus.id,
            port_group: nexus.port_group,
            initiator: initiator.clone(),
            seen: Cell::new(nexus.seen),
            blocked: Cell::new(nexus.blocked),
        }
    }
}
