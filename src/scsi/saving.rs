//! What of a logical unit outlives the process, and the commands that change it.
//!
//! A command whose effect must be on stable storage before it is answered is planned as [`Plan::Save`]. Then it is decided
//! what the command changes ([`LogicalUnit::decide`]), somebody who may block has the result written, and it is adopted
//! ([`LogicalUnit::conclude`]). What could not be written is not adopted, and the command says so.
//!
//! Invariants: one [`Saving`] of a logical unit is carried out at a time, in the order in which they were planned.
//! While one is on its way (planned and not dropped), every other command that changes the same state comes this way
//! too. An exception is the saving of who has yet to hear of lost writes, which no command changes: while that is on
//! its way, a command that has nothing to store does not wait.
//!
//! Not here: files and their format.

use super::attention::{Attention, Recipients};
use super::call::{Call, Planned};
use super::erasure::{Erasing, Erasure};
use super::params::NexusId;
use super::plan::Plan;
use super::reservation::{Asker, Reservations};
use super::saved::{Decided, Next, Part, SaveEnd, Saved, Saving};
use super::sense::{Outcome, Sense, asc, key};
use super::state::State;
use super::unit::LogicalUnit;
use super::{identifying, mode, persistent};
use crate::canary::{Canary, sings};
use crate::model::ItNexus;
use std::sync::Arc;

/// The store failed. The reason is for its log: no additional sense code says more.
const NOT_SAVED: Outcome = Outcome::check(Sense::new(key::HARDWARE_ERROR, asc::INTERNAL_TARGET_FAILURE));

impl Saved {
    fn of(state: &State) -> Saved {
        Saved {
            reservations: state.reservations.to_save(),
            modes: state.modes.saved(),
            identifying: state.identifying.clone(),
            unfinished: state.erasing.unfinished(),
            lost: state.lost.clone(),
        }
    }
}

impl Next {
    /// What is to be stored when this is adopted.
    fn saved(&self, state: &State) -> Saved {
        let saved = Saved::of(state);
        match self {
            Next::Reservations { next, .. } => Saved { reservations: next.to_save(), ..saved },
            Next::Modes { modes, save: true } => Saved { modes: *modes, ..saved },
            Next::Modes { save: false, .. } => saved,
            Next::IdentifyingInformation(information) => Saved { identifying: information.clone(), ..saved },
            Next::Unfinished(unfinished) => Saved { unfinished: *unfinished, ..saved },
            Next::Lost(lost) => Saved { lost: lost.clone(), ..saved },
        }
    }
}

impl SaveEnd {
    fn of(outcome: Outcome) -> SaveEnd {
        SaveEnd { outcome, aborts: Vec::new(), flush: false }
    }
}

impl Call<'_> {
    /// Plans the command as one that is carried out when its effect is stored.
    fn save(&self, part: Part, asker: Asker, list: &[u8]) -> Planned {
        Ok(Plan::Save(Box::new(Saving {
            part,
            cdb: *self.cdb,
            list: list.to_vec(),
            nexus: self.nexus.id(),
            asker: Some(asker),
            turn: Arc::clone(&self.unit.turn),
        })))
    }

    /// Carries a command out at once if nothing has to be stored or flushed for it, and no [`Saving`] is on its way;
    /// otherwise it is planned as [`Plan::Save`].
    pub(super) fn change(&mut self, part: Part, list: &[u8]) -> Planned {
        let mut state = self.unit.state();
        let target_port = state.ports.relative_port(self.nexus.port_group);
        let nexus = ItNexus { initiator: self.command.initiator.clone(), target_port };
        let asker = Asker { nexus, address: self.nexus.address };
        if self.unit.is_saving() {
            return self.save(part, asker, list);
        }
        let next = self.unit.next_of(&state, part, self.cdb, Some(&asker), list)?;
        if next.saved(&state) != Saved::of(&state) || self.unit.is_to_be_flushed(&next) {
            return self.save(part, asker, list);
        }
        let end = self.unit.adopt(&mut state, next, self.nexus.id());
        self.reply.aborts = end.aborts;
        Ok(Plan::Done(end.outcome))
    }
}

impl LogicalUnit {
    /// Whether a [`Saving`] is on its way. Asked with the state locked: as they are made under that lock, a no is sure.
    pub(super) fn is_saving(&self) -> bool {
        Arc::strong_count(&self.turn) > 1
    }

    /// What a store has to keep at the moment.
    pub fn saved(&self) -> Saved {
        Saved::of(&self.state())
    }

    /// What a store has to keep when nobody is served any more, after `failures` failures to make writes durable.
    pub fn saved_at_end(&self, failures: u64) -> Saved {
        let state = self.state();
        Saved { lost: state.hearers.lost(failures), ..Saved::of(&state) }
    }

    /// Takes back what [`LogicalUnit::save`] had stored before a restart. A cache that is off then is not flushed yet
    /// ([`LogicalUnit::unflushed`]); if writes may be lost, that counts as the first failure. PRGENERATION starts at zero
    /// whatever APTPL said (SPC-4 clause 6.15.2).
    pub fn restore(&self, saved: Saved) {
        let mut state = self.state();
        state.reservations = saved.reservations.unwrap_or_default();
        state.spread_registrations(&[]);
        state.modes.restore(saved.modes, self.params().volatile_cache);
        state.identifying = saved.identifying;
        state.erasing = Erasing::restored(saved.unfinished);
        if let Some(lost) = &saved.lost {
            state.hearers.restore(lost);
        }
        state.lost = saved.lost;
        self.changed(&state);
    }

    /// A saving that notes that an erasure has begun, or that there is none any more; [`LogicalUnit::save`] carries it
    /// out.
    pub fn unfinished(&self, erasure: Option<Erasure>) -> Box<Saving> {
        // Savings are made with the state locked: see `is_saving`.
        let _state = self.state();
        self.own(Part::Unfinished(erasure), Arc::clone(&self.turn))
    }

    /// A saving of who has yet to hear of `failures` failures to make writes durable; [`LogicalUnit::save`] carries it
    /// out. The store is perhaps on what has failed, so no command that has nothing to store waits for it, least of all
    /// one that fences a host off.
    pub fn lost(&self, failures: u64) -> Box<Saving> {
        self.own(Part::Lost(failures), Arc::default())
    }

    /// A saving that no command has asked for.
    fn own(&self, part: Part, turn: Arc<()>) -> Box<Saving> {
        Box::new(Saving { part, cdb: [0; 16], list: Vec::new(), nexus: NexusId(0), asker: None, turn })
    }

    /// What a command comes to that [`LogicalUnit::plan`] or [`LogicalUnit::parameters`] answered with [`Plan::Save`], and
    /// what is to be stored, durably, before that is concluded; `None`: nothing has to be.
    ///
    /// The caller takes care of the order: for one logical unit one at a time, first come, first served, until it is concluded.
    pub fn decide(&self, saving: &Saving) -> (Decided, Option<Box<Saved>>) {
        let state = self.state();
        let next = self.next_of(&state, saving.part, &saving.cdb, saving.asker.as_ref(), &saving.list);
        let changed = |next: &Next| Some(next.saved(&state)).filter(|saved| *saved != Saved::of(&state));
        let saved = next.as_ref().ok().and_then(changed).map(Box::new);
        (Decided { next, nexus: saving.nexus }, saved)
    }

    /// Puts what was decided into effect if it is stored, or need not be: when this returns, every core sees the change with
    /// its next command.
    pub fn conclude(&self, decided: Decided, is_stored: bool) -> SaveEnd {
        match decided.next {
            Ok(next) if is_stored => self.adopt(&mut self.state(), next, decided.nexus),
            Ok(_) => SaveEnd::of(self.formatted(NOT_SAVED)),
            Err(outcome) => SaveEnd::of(self.formatted(outcome)),
        }
    }

    /// Decides, stores and concludes at once, for a caller that may block: `write` stores what it is given and says
    /// whether that worked.
    pub fn save(&self, saving: &Saving, write: impl FnOnce(&Saved) -> bool) -> SaveEnd {
        let (decided, saved) = self.decide(saving);
        self.conclude(decided, saved.is_none_or(|saved| write(&saved)))
    }

    fn next_of(
        &self,
        state: &State,
        part: Part,
        cdb: &[u8; 16],
        asker: Option<&Asker>,
        list: &[u8],
    ) -> Result<Next, Outcome> {
        match part {
            Part::Reservations => {
                let asker = asker.ok_or(NOT_SAVED)?;
                persistent::decide(&state.reservations, &state.ports.relative_ports(), asker, cdb, list)
            }
            Part::Unfinished(unfinished) => {
                // Asked for by a command, this is EXIT FAILURE MODE: another erasure may have begun, or have failed,
                // since it was planned.
                if asker.is_some() {
                    self.may_exit(state)?;
                }
                Ok(Next::Unfinished(unfinished))
            }
            Part::Lost(failures) => Ok(Next::Lost(state.hearers.lost(failures))),
            Part::Modes => mode::decide(self, state, cdb, list),
            Part::IdentifyingInformation => Ok(identifying::decide(&state.identifying, cdb, list)),
        }
    }

    /// Whether `next` leaves a volatile cache switched off, so that it is to be flushed.
    fn is_to_be_flushed(&self, next: &Next) -> bool {
        matches!(next, Next::Modes { modes, .. } if self.params().volatile_cache && modes.write_through)
    }

    /// Puts what was decided into effect and tells whom it concerns. What other commands may have changed meanwhile stays.
    fn adopt(&self, state: &mut State, next: Next, nexus: NexusId) -> SaveEnd {
        let mut end = SaveEnd { flush: self.is_to_be_flushed(&next), ..SaveEnd::of(Outcome::GOOD) };
        match next {
            Next::Reservations { next, change, abort, ports } => {
                state.reservations = Reservations { reserved_by: state.reservations.reserved_by, ..next };
                state.spread_registrations(&ports);
                if abort {
                    end.aborts = change.preempted;
                }
                for (attention, nexuses) in change.attentions {
                    self.post(state, attention, Recipients::Nexuses(nexuses, Some(nexus)));
                }
                self.changed(state);
            }
            Next::Modes { modes, save } => {
                let is_different = state.modes.current() != modes;
                state.modes.set(modes, self.params().volatile_cache, Some(nexus));
                if save {
                    state.modes.save();
                }
                if is_different && !sings(Canary::ModesUntold) {
                    self.post(state, Attention::ModeParametersChanged, Recipients::Except(Some(nexus)));
                }
            }
            Next::Unfinished(unfinished) => {
                if state.erasing.note_unfinished(unfinished) {
                    self.changed(state);
                }
            }
            Next::Lost(lost) => state.lost = lost,
            Next::IdentifyingInformation(information) => {
                if state.identifying != information {
                    state.identifying = information;
                    self.post(state, Attention::DeviceIdentifierChanged, Recipients::Except(Some(nexus)));
                }
            }
        }
        end
    }
}
