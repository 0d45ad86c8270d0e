//! Mode parameters of a logical unit that can be other than they are by default; `mode.rs` has their pages.

use super::params::NexusId;

/// Mode parameters that MODE SELECT can change. `Default` has their default values.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Modes {
    /// D_SENSE: sense data in descriptor format.
    pub descriptor_sense: bool,
    /// SWP: software write protect.
    pub swp: bool,
    /// WCE is zero on a medium with a volatile cache: every write is durable before its status.
    pub write_through: bool,
}

/// The mode parameters of a logical unit, and what becomes of its cache with them; among its rare state.
#[derive(Debug, Default)]
pub(super) struct ModesInForce {
    current: Modes,
    /// What `current` returns to with a reset, and starts with after a restart.
    saved: Modes,
    /// The cache that `current` has switched off, while it is not known to be flushed.
    unflushed: Option<Unflushed>,
    /// How often the cache was switched off.
    switched_off: u64,
}

/// The volatile cache was switched off, and what was in it is not known to be durable. Until it is, WCE is reported as
/// one: a host that finds it zero flushes nothing any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unflushed {
    /// The number of this switching off, counted from 1.
    number: u64,
    /// The nexus that has switched it off; `None`: a reset or a restart has.
    pub(super) by: Option<NexusId>,
    /// A host was told since then that the cache is on.
    pub(super) is_told: bool,
}

impl ModesInForce {
    /// Those that are in force.
    pub(super) fn current(&self) -> Modes {
        self.current
    }

    /// Those that are saved.
    pub(super) fn saved(&self) -> Modes {
        self.saved
    }

    /// Puts others in force. Answers whether that has switched the cache off, of a unit that has one.
    pub(super) fn set(&mut self, modes: Modes, has_cache: bool, by: Option<NexusId>) -> bool {
        let old = std::mem::replace(&mut self.current, modes);
        let is_switched_off = has_cache && modes.write_through && !old.write_through;
        if is_switched_off {
            self.switched_off += 1;
            self.unflushed = Some(Unflushed { number: self.switched_off, by, is_told: false });
        } else if !modes.write_through {
            self.unflushed = None;
        }
        is_switched_off
    }

    /// Those that are in force are saved.
    pub(super) fn save(&mut self) {
        self.saved = self.current;
    }

    /// Returns to those that are saved. Answers as [`ModesInForce::set`].
    pub(super) fn reset(&mut self, has_cache: bool) -> bool {
        self.set(self.saved, has_cache, None)
    }

    /// After a restart, begins with those that were saved.
    pub(super) fn restore(&mut self, saved: Modes, has_cache: bool) {
        self.saved = saved;
        self.reset(has_cache);
    }

    /// Those that are in force, as a host is told of them now.
    pub(super) fn report(&mut self) -> Modes {
        match &mut self.unflushed {
            Some(unflushed) => {
                unflushed.is_told = true;
                Modes { write_through: false, ..self.current }
            }
            None => self.current,
        }
    }

    /// Which switching off of the cache is not known to be flushed; zero: none.
    pub(super) fn unflushed(&self) -> u64 {
        self.unflushed.map_or(0, |unflushed| unflushed.number)
    }

    /// What was in the cache when it was switched off for this time is durable. `None`: that was known, or the cache is on.
    pub(super) fn flushed(&mut self, number: u64) -> Option<Unflushed> {
        self.unflushed.take_if(|unflushed| unflushed.number == number)
    }
}
