//! Admission of a command to a logical unit: what blocks it for its nexus, and who plans it.
//!
//! [`LogicalUnit::plan`] is the way of every command: table row, what blocks it for this nexus, CDB mask, handler. The
//! hot path is one atomic load (the generation) and two tests of a mask; the mutex is taken only by a nexus that finds
//! the generation moved, and by commands that change or report rare state.

use super::attention::Attention;
use super::call::{Call, Planned};
use super::class;
use super::nexus::{LuNexus, Pass};
use super::opcode;
use super::params::NexusId;
use super::plan::{Command, Plan, Reply};
use super::sense::{NO_SENSE, Outcome, Sense, asc, key};
use super::state::State;
use super::unit::LogicalUnit;
use crate::model::{InitiatorPort, ItNexus};
use std::sync::atomic::Ordering;

impl LogicalUnit {
    /// Plans a command. Data-Out is not looked at here: see [`Plan::Parameters`].
    pub fn plan(&self, nexus: &mut LuNexus, command: &Command, reply: &mut Reply) -> Plan {
        reply.clear();
        let planned = opcode::find(command.cdb, self.absent()).and_then(|(row, cdb)| {
            if self.generation.load(Ordering::Acquire) != nexus.seen {
                self.refresh(nexus, command.initiator);
            }
            if nexus.blocked & row.class != 0 {
                self.refuse(nexus, row.class, row.action.is_some())?;
            }
            row.check(cdb)?;
            row.check_rest(command.cdb)?;
            (row.plan)(&mut Call { unit: self, nexus, command, cdb, reply })
        });
        self.settle(nexus, planned, reply)
    }

    /// Goes on with a command that [`LogicalUnit::plan`] answered with [`Plan::Parameters`]; `list` is what the initiator
    /// sent, which may be less than it announced.
    pub fn parameters(&self, nexus: &mut LuNexus, command: &Command, list: &[u8], reply: &mut Reply) -> Plan {
        reply.clear();
        let planned = opcode::find(command.cdb, self.absent()).and_then(|(row, cdb)| match row.list {
            Some(parse) => parse(&mut Call { unit: self, nexus, command, cdb, reply }, list),
            None => Err(Outcome::illegal(asc::INVALID_COMMAND_OPERATION_CODE)),
        });
        self.settle(nexus, planned, reply)
    }

    #[inline]
    fn settle(&self, nexus: &LuNexus, planned: Planned, reply: &mut Reply) -> Plan {
        match planned {
            Ok(plan) => {
                nexus.tally.note(&plan);
                plan
            }
            Err(outcome) => {
                reply.data.clear();
                Plan::Done(self.formatted(outcome))
            }
        }
    }

    /// Takes over what has changed since this nexus last looked.
    #[cold]
    fn refresh(&self, nexus: &mut LuNexus, port: &InitiatorPort) {
        let state = self.state();
        let generation = self.generation.load(Ordering::Acquire);
        let target_port = state.ports.relative_port(nexus.port_group);
        let it_nexus = ItNexus { initiator: port.clone(), target_port };
        state.attentions.pull(nexus.pulled, nexus.id, &it_nexus, &mut nexus.pending);
        nexus.pulled = generation;
        nexus.seen = generation;
        nexus.blocked = self.blocks_for(&state, nexus.id, (&it_nexus, nexus.port_group));
        nexus.note_pending();
    }

    /// The classes of commands that do not go through for a nexus, which comes by a portal group.
    fn blocks_for(&self, state: &State, id: NexusId, (nexus, port_group): (&ItNexus, u16)) -> u16 {
        let mut blocked = state.reservations.keeps_from(id, nexus) | state.ports.blocks(port_group) | self.absent();
        if self.params().readonly || state.modes.current().swp {
            blocked |= class::PROTECTED;
        }
        if !self.params().thin {
            blocked |= class::THIN;
        }
        if self.params().atomic_blocks == 0 {
            blocked |= class::ATOMIC;
        }
        if state.tray.is_open() {
            blocked |= class::MEDIUM;
        }
        if state.erasing.busy().is_some() {
            blocked |= class::BUSY;
        }
        blocked
    }

    /// Whether commands of `class` of this nexus go through now, pending unit attentions aside: for a copy that another
    /// logical unit was asked for.
    pub(super) fn admits(&self, nexus: &mut LuNexus, port: &InitiatorPort, class: u16) -> Result<(), Outcome> {
        if self.generation.load(Ordering::Acquire) != nexus.seen {
            self.refresh(nexus, port);
        }
        self.refuse(nexus, class & !class::ATTENTION, false)
    }

    /// Whether a nexus may read the medium now. Asked before data that one of its commands has read is read once more
    /// for it.
    pub fn lets_read(&self, nexus: &mut LuNexus, port: &InitiatorPort) -> bool {
        self.admits(nexus, port, class::READS_MEDIUM).is_ok()
    }

    /// As [`LogicalUnit::admits`], for a copy that has begun. Costs a load and a test while nothing has changed here.
    #[inline]
    pub(super) fn still_admits(&self, pass: &Pass, class: u16) -> Result<(), Outcome> {
        if self.generation.load(Ordering::Acquire) != pass.seen.get() {
            self.renew(pass);
        }
        match pass.blocked.get() & class & !class::ATTENTION {
            0 => Ok(()),
            blocked => self.refuse_class(blocked, false),
        }
    }

    #[cold]
    fn renew(&self, pass: &Pass) {
        let state = self.state();
        pass.seen.set(self.generation.load(Ordering::Acquire));
        let target_port = state.ports.relative_port(pass.port_group);
        let nexus = ItNexus { initiator: pass.initiator.clone(), target_port };
        pass.blocked.set(self.blocks_for(&state, pass.id, (&nexus, pass.port_group)));
    }

    /// Why a command does not go through, most important reason first. A unit attention is reported once.
    #[cold]
    fn refuse(&self, nexus: &mut LuNexus, class: u16, has_action: bool) -> Result<(), Outcome> {
        let blocked = nexus.blocked & class;
        if blocked & (class::DISK | class::CDROM) != 0 {
            return Err(Outcome::illegal(asc::INVALID_COMMAND_OPERATION_CODE));
        }
        if blocked & class::ATTENTION != 0
            && let Some(attention) = self.next_attention(nexus)
        {
            return Err(Outcome::check(attention.sense()));
        }
        self.refuse_class(blocked, has_action)
    }

    /// The part of [`LogicalUnit::refuse`] that needs no nexus. `blocked`: classes of the command that do not go
    /// through.
    #[cold]
    fn refuse_class(&self, blocked: u16, has_action: bool) -> Result<(), Outcome> {
        if blocked & (class::STANDBY | class::UNAVAILABLE) != 0 {
            let in_standby = blocked & class::STANDBY != 0;
            return Err(Outcome::check(Sense::new(
                key::NOT_READY,
                if in_standby { asc::TARGET_PORT_IN_STANDBY_STATE } else { asc::TARGET_PORT_IN_UNAVAILABLE_STATE },
            )));
        }
        if blocked & (class::ACCESS | class::READ | class::WRITE) != 0 {
            return Err(Outcome::RESERVATION_CONFLICT);
        }
        if blocked & (class::BUSY | class::MEDIUM) != 0 {
            let sense = self.readiness();
            if sense != NO_SENSE {
                return Err(Outcome::check(sense));
            }
        }
        if blocked & class::PROTECTED != 0 {
            let by_software = !self.params().readonly;
            return Err(Outcome::check(Sense::new(
                key::DATA_PROTECT,
                if by_software { asc::LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED } else { asc::WRITE_PROTECTED },
            )));
        }
        if blocked & (class::THIN | class::ATOMIC) != 0 {
            return Err(if has_action {
                Outcome::invalid_cdb_field(1, 4)
            } else {
                Outcome::illegal(asc::INVALID_COMMAND_OPERATION_CODE)
            });
        }
        Ok(())
    }

    /// Takes the oldest unit attention that the nexus has pending.
    pub(super) fn next_attention(&self, nexus: &mut LuNexus) -> Option<Attention> {
        let attention = nexus.pending.pop();
        nexus.note_pending();
        attention
    }

    /// Whether the nexus has a unit attention pending: then the Additional Response Information of QUERY ASYNCHRONOUS
    /// EVENT (SAM-5 clause 7.10). Takes nothing away. Deferred errors are not used.
    pub fn asynchronous_event(&self, nexus: &mut LuNexus, port: &InitiatorPort) -> Option<[u8; 3]> {
        if self.generation.load(Ordering::Acquire) != nexus.seen {
            self.refresh(nexus, port);
        }
        nexus.pending.response_information()
    }

    /// What REQUEST SENSE says when no unit attention is pending.
    pub(super) fn readiness(&self) -> Sense {
        let state = self.state();
        match state.erasing.busy() {
            Some(busy) => self.busy_sense(busy),
            None if state.tray.is_open() && self.params().cdrom => {
                Sense::new(key::NOT_READY, asc::MEDIUM_NOT_PRESENT_TRAY_OPEN)
            }
            None if state.tray.is_open() => Sense::new(key::NOT_READY, asc::MEDIUM_NOT_PRESENT),
            None => NO_SENSE,
        }
    }
}
