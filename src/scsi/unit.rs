//! One logical unit, and one I_T_L nexus of it: admission of a command, and the rare state behind it.
//!
//! [`LogicalUnit::plan`] is the way of every command: table row, what blocks it for this nexus, CDB mask, handler. The
//! hot path is one atomic load (the generation) and two tests of a mask; the mutex is taken only by a nexus that finds
//! the generation moved, and by commands that change or report rare state.
//!
//! Invariants: rare state changes under the mutex only, and whoever changes it moves the generation before it unlocks; so
//! a command planned after a change was answered sees the change, on every core.

use super::attention::{Attention, Pending, Recipients};
use super::class;
use super::clock::Clock;
use super::counters::Tally;
use super::generation::Generations;
use super::health::Health;
use super::hearers::{Hearers, Hearing};
use super::mmc::reported::Reported;
use super::opcode::{self, Call, Planned};
use super::operations::Operations;
use super::params::{LuParams, NexusId};
use super::plan::{Command, Plan, Reply};
use super::ports::Ports;
use super::sense::{NO_SENSE, Outcome, Sense, asc, key, status};
use super::state::State;
use super::tokens::Tokens;
use crate::model::{Address, InitiatorPort, ItNexus, MediumFault};
use crate::panics::{Mutex, MutexGuard};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Instant;

/// A logical unit: the device server's shared part, one for the process.
#[derive(Debug)]
pub struct LogicalUnit {
    params: LuParams,
    blocks: AtomicU64,
    /// Moves with every change of `state` that a nexus must know of.
    generation: AtomicU64,
    /// D_SENSE of the control mode page: read when a command fails.
    descriptor_sense: AtomicBool,
    /// Every write is durable before its status: WCE of the caching mode page is zero.
    write_through: AtomicBool,
    /// As [`State::unflushed`].
    unflushed: AtomicU64,
    /// As [`LogicalUnit::others_unflushed`]; zero: `None`.
    pub(super) others_unflushed: AtomicU64,
    /// Held by everything, too, that waits to be saved and that others are to wait for.
    pub(super) turn: Arc<()>,
    /// How far SANITIZE or FORMAT UNIT is, of 65536.
    pub(super) progress: AtomicU16,
    state: Mutex<State>,
    pub(super) copies: Operations,
    pub(super) health: Health,
    pub(super) tokens: Tokens,
}

/// What one I_T_L nexus has pending and is refused at the moment; owned by the core of its session.
#[derive(Debug)]
pub struct LuNexus {
    pub(super) id: NexusId,
    /// Tag of the portal group, which is the target port group, that it comes by.
    pub(super) port_group: u16,
    /// Where it comes from, if that is somewhere.
    pub(super) address: Option<Address>,
    /// The generation that `blocked` was made from.
    seen: u64,
    /// Attentions up to this generation were pulled.
    pulled: u64,
    /// Classes of commands that do not go through at the moment ([`class`]).
    blocked: u16,
    pub(super) pending: Pending,
    tally: Arc<Tally>,
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
        let port_group = unit.params.port_groups.first().map_or(1, |group| group.tag);
        let pending = Pending::with(Attention::PowerOn);
        let mut state = unit.state();
        let (tally, events) = (state.counters.enlist(), Reported::begin(&state));
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

    /// The same, by way of the portal group `tag`; else it is the first of the logical unit.
    #[must_use]
    pub fn by_port_group(self, tag: u16) -> LuNexus {
        LuNexus { port_group: tag, ..self }
    }

    /// The same, of an initiator at that address.
    #[must_use]
    pub fn at(self, address: Address) -> LuNexus {
        LuNexus { address: Some(address), ..self }
    }

    /// The nexus that this is about.
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

    /// Whether the port that it comes by was unavailable as of the last command.
    pub(super) fn port_is_unavailable(&self) -> bool {
        self.blocked & class::UNAVAILABLE != 0
    }

    /// Says whether unit attentions are pending as of the last command.
    pub(super) fn note_pending(&mut self) {
        if self.pending.is_empty() {
            self.blocked &= !class::ATTENTION;
        } else {
            self.blocked |= class::ATTENTION;
        }
    }

    /// Whether a reservation of another nexus keeps a class of commands from this one. Handlers ask for what depends on
    /// more than the operation code.
    pub(super) fn check_reserved(&self, class: u16) -> Result<(), Outcome> {
        if self.blocked & class == 0 { Ok(()) } else { Err(Outcome::RESERVATION_CONFLICT) }
    }
}

/// What a nexus that a copy was begun for may do at a logical unit, for as long as the copy takes.
#[derive(Debug)]
pub(super) struct Pass {
    id: NexusId,
    port_group: u16,
    initiator: InitiatorPort,
    /// As of the nexus.
    seen: Cell<u64>,
    blocked: Cell<u16>,
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

impl LogicalUnit {
    /// A logical unit with nothing reserved and default mode pages.
    pub fn new(params: LuParams) -> LogicalUnit {
        let hearers = Hearers::begin(params.volatile_cache);
        let others_unflushed = hearers.others_unflushed();
        let state = State { ports: Ports::new(&params.port_groups), hearers, ..State::default() };
        LogicalUnit {
            blocks: AtomicU64::new(params.blocks),
            write_through: AtomicBool::new(!params.volatile_cache),
            unflushed: AtomicU64::new(0),
            others_unflushed: AtomicU64::new(others_unflushed),
            turn: Arc::new(()),
            params,
            generation: AtomicU64::new(1),
            descriptor_sense: AtomicBool::new(false),
            progress: AtomicU16::new(0),
            state: Mutex::new(state),
            copies: Operations::default(),
            health: Health::default(),
            tokens: Tokens::default(),
        }
    }

    /// As configured. The capacity may have changed since: [`LogicalUnit::blocks`].
    pub fn params(&self) -> &LuParams {
        &self.params
    }

    /// Logical block length in bytes.
    pub fn block_bytes(&self) -> u32 {
        self.params.block_bytes
    }

    /// Capacity in logical blocks.
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Whether every write is to be durable before its status (WCE is zero): there is no volatile cache, or MODE SELECT
    /// has switched it off.
    #[inline]
    pub fn is_write_through(&self) -> bool {
        self.write_through.load(Ordering::Relaxed)
    }

    /// Which switching off of the cache is not known to be flushed, if one is not: a flush that begins after this was asked, and
    /// goes well, is what [`LogicalUnit::cache_flushed`] is to be told of.
    pub fn unflushed(&self) -> Option<u64> {
        Some(self.unflushed.load(Ordering::Acquire)).filter(|number| *number > 0)
    }

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

    /// The outcome with its sense in the format that the control mode page asks for.
    pub fn formatted(&self, mut outcome: Outcome) -> Outcome {
        if let Some(sense) = &mut outcome.sense {
            sense.descriptor_format = self.descriptor_sense.load(Ordering::Relaxed);
        }
        outcome
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
        if self.params.readonly || state.modes.swp {
            blocked |= class::PROTECTED;
        }
        if !self.params.thin {
            blocked |= class::THIN;
        }
        if self.params.atomic_blocks == 0 {
            blocked |= class::ATOMIC;
        }
        if state.ejected {
            blocked |= class::MEDIUM;
        }
        if state.busy.is_some() {
            blocked |= class::BUSY;
        }
        blocked
    }

    /// The I_T nexus of an initiator port that comes by portal group `tag`.
    pub fn it_nexus(&self, initiator: &InitiatorPort, tag: u16) -> ItNexus {
        ItNexus { initiator: initiator.clone(), target_port: self.state().ports.relative_port(tag) }
    }

    /// Whether commands of `class` of this nexus go through now, pending unit attentions aside: for a copy that another
    /// logical unit was asked for.
    pub(super) fn admits(&self, nexus: &mut LuNexus, port: &InitiatorPort, class: u16) -> Result<(), Outcome> {
        if self.generation.load(Ordering::Acquire) != nexus.seen {
            self.refresh(nexus, port);
        }
        self.refuse(nexus, class & !class::ATTENTION, false)
    }

    /// Whether a nexus may read the medium now: data that a command of it has read is to be read once more for it.
    pub fn lets_read(&self, nexus: &mut LuNexus, port: &InitiatorPort) -> bool {
        self.admits(nexus, port, class::READS_MEDIUM).is_ok()
    }

    /// The same for a copy that has begun. A load and a test while nothing has changed here.
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

    /// Bytes of the medium are about to change: ROD tokens for their blocks end here. For whoever changes them, when it is
    /// certain that nobody can make a token before that is done. Costs a load while there are no tokens.
    #[inline]
    pub fn overwritten(&self, offset: u64, len: u64) {
        if self.tokens.are_watched() {
            let block_bytes = u64::from(self.block_bytes().max(1));
            let (first, end) = (offset / block_bytes, offset.saturating_add(len).div_ceil(block_bytes));
            self.tokens.overwritten((first, end - first), Instant::now());
        }
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

    /// The same for what is no matter of a nexus any more: of these classes none goes through.
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
            let by_software = !self.params.readonly;
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
        match state.busy {
            Some(busy) => self.busy_sense(busy),
            None if state.ejected && self.params.cdrom => Sense::new(key::NOT_READY, asc::MEDIUM_NOT_PRESENT_TRAY_OPEN),
            None if state.ejected => Sense::new(key::NOT_READY, asc::MEDIUM_NOT_PRESENT),
            None => NO_SENSE,
        }
    }

    /// Whether the table's row is a command of this logical unit.
    pub(super) fn has(&self, row: &opcode::Row) -> bool {
        (row.class & class::THIN == 0 || self.params.thin)
            && (row.class & class::ATOMIC == 0 || self.params.atomic_blocks > 0)
            && row.class & self.absent() == 0
    }

    /// The class of commands that this type of device does not have.
    #[inline]
    pub(super) fn absent(&self) -> u16 {
        if self.params.cdrom { class::DISK } else { class::CDROM }
    }

    /// The rare state.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Tells every nexus, on its next command, that `state` has changed. The caller still holds the lock.
    pub(super) fn changed(&self, state: &State) -> u64 {
        self.descriptor_sense.store(state.modes.descriptor_sense, Ordering::Relaxed);
        self.write_through.store(!self.params.volatile_cache || state.modes.write_through, Ordering::Relaxed);
        self.unflushed.store(state.unflushed(), Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Posts a unit attention while the state is locked.
    pub(super) fn post(&self, state: &mut State, attention: Attention, to: Recipients) {
        let generation = self.changed(state);
        state.attentions.post(generation, attention, to);
    }

    /// Establishes a unit attention for every nexus but one.
    pub fn raise(&self, attention: Attention, except: Option<NexusId>) {
        self.post(&mut self.state(), attention, Recipients::Except(except));
    }

    /// LOGICAL UNIT RESET (SAM-5 clause 6.3.3): mode pages return to their saved values, RESERVE(6) and
    /// the prevention of medium removal end, and every nexus,
    /// also the one that asked for it, is told 29/03; persistent reservations stay. Tasks are not known here: whoever
    /// carries out the function aborts them.
    ///
    /// True: that has switched the volatile cache off, and what is in it is to be flushed.
    pub fn reset(&self) -> bool {
        self.reset_as(false)
    }

    /// Hard reset (SAM-5 clause 6.3.2), by TARGET WARM or COLD RESET: as [`LogicalUnit::reset`], and ORWgeneration codes
    /// and the timestamp begin anew.
    pub fn hard_reset(&self) -> bool {
        self.reset_as(true)
    }

    fn reset_as(&self, hard: bool) -> bool {
        self.copies.reset();
        let mut state = self.state();
        if hard {
            state.generations = Generations::default();
            state.clock = Clock::default();
        }
        let modes = state.saved_modes;
        let is_switched_off = state.set_modes(modes, self.params.volatile_cache, None);
        state.reservations.reserved_by = None;
        state.removal_prevented_by.clear();
        self.post(&mut state, Attention::BusDeviceReset, Recipients::Except(None));
        is_switched_off
    }

    /// A nexus is gone (logout, connection lost for good, reinstatement): RESERVE(6) of it and what it
    /// prevented end with it.
    pub fn nexus_lost(&self, nexus: NexusId) {
        self.copies.nexus_lost(nexus);
        let mut state = self.state();
        state.removal_prevented_by.retain(|preventer| *preventer != nexus);
        if state.reservations.reserved_by == Some(nexus) {
            state.reservations.reserved_by = None;
            self.changed(&state);
        }
    }

    /// Sets another capacity and tells every nexus 2A/09; of a CD-ROM 28/00: what has another capacity is another disc.
    pub fn resize(&self, blocks: u64) {
        self.blocks.store(blocks, Ordering::Relaxed);
        let mut state = self.state();
        let attention = if self.params.cdrom {
            state.medium_changes += 1;
            Attention::MediumMayHaveChanged
        } else {
            Attention::CapacityDataHasChanged
        };
        self.post(&mut state, attention, Recipients::Except(None));
    }

    /// The one map from what went wrong with the medium to what the initiator is told. `lba`: where, if that is known.
    pub fn fault(&self, fault: MediumFault, lba: Option<u64>) -> Outcome {
        let at = |key, asc_ascq| Sense { information: lba, ..Sense::new(key, asc_ascq) };
        let sense = match fault {
            MediumFault::OutOfSpace => Sense::new(key::DATA_PROTECT, asc::SPACE_ALLOCATION_FAILED_WRITE_PROTECT),
            MediumFault::Read => at(key::MEDIUM_ERROR, asc::UNRECOVERED_READ_ERROR),
            MediumFault::Write => at(key::MEDIUM_ERROR, asc::WRITE_ERROR),
            MediumFault::NotReady => {
                self.health.doubt();
                not_ready()
            }
            MediumFault::Protected => Sense::new(key::DATA_PROTECT, asc::WRITE_PROTECTED),
            MediumFault::Unsupported => Sense::new(key::ILLEGAL_REQUEST, asc::INVALID_FIELD_IN_CDB),
            MediumFault::Internal(_) => Sense::new(key::HARDWARE_ERROR, asc::INTERNAL_TARGET_FAILURE),
        };
        self.formatted(Outcome { status: status::CHECK_CONDITION, sense: Some(sense) })
    }

    /// From now on TEST UNIT READY asks the medium (`MediumOp::Probe`).
    pub fn watch(&self) {
        self.health.watch();
    }

    /// The medium has answered [`super::MediumOp::Probe`].
    pub fn answered(&self) {
        self.health.vouch();
    }

    /// INVALID FIELD IN CDB for a command whose CDB and announced Data-Out do not belong together
    /// ([`super::MediumOp::needs_exact_data_out`]).
    pub fn wrong_data_length(&self) -> Outcome {
        self.formatted(Outcome::illegal(asc::INVALID_FIELD_IN_CDB))
    }

    /// MISCOMPARE in the sense format of this logical unit; `offset` of the first byte that differs, in bytes.
    pub fn miscompare(&self, offset: u64) -> Outcome {
        self.formatted(Outcome::miscompare(offset))
    }
}

/// A fixed disk whose medium is gone: nothing that a host does brings it back.
fn not_ready() -> Sense {
    Sense::new(key::NOT_READY, asc::LOGICAL_UNIT_NOT_READY_MANUAL_INTERVENTION_REQUIRED)
}
