//! One logical unit: what all cores share of it, and the rare state behind its mutex.
//!
//! Invariants: rare state changes under the mutex only, and whoever changes what a nexus takes over from it moves the
//! generation before unlocking; so a command planned after such a change was answered sees the change, on every core.

use super::attention::{Attention, Recipients};
use super::class;
use super::clock::Clock;
use super::generation::Generations;
use super::health::Health;
use super::hearers::Hearers;
use super::operations::Operations;
use super::params::{LuParams, NexusId};
use super::ports::Ports;
use super::sense::{Outcome, Sense, asc, key, status};
use super::state::State;
use super::tokens::Tokens;
use crate::canary::{Canary, sings};
use crate::model::{InitiatorPort, ItNexus, MediumFault};
use crate::panics::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

/// A logical unit: the device server's shared part, one for the process.
#[derive(Debug)]
pub struct LogicalUnit {
    params: LuParams,
    blocks: AtomicU64,
    /// Moves with every change of `state` that a nexus must know of.
    pub(super) generation: AtomicU64,
    /// D_SENSE of the control mode page: read when a command fails.
    descriptor_sense: AtomicBool,
    /// Every write is durable before its status: WCE of the caching mode page is zero.
    write_through: AtomicBool,
    /// `ModesInForce::unflushed`, to be read without the lock.
    unflushed: AtomicU64,
    /// As [`LogicalUnit::others_unflushed`]; zero: `None`.
    pub(super) others_unflushed: AtomicU64,
    /// Held also by every saving that is on its way and that others are to wait for.
    pub(super) turn: Arc<()>,
    /// How far SANITIZE or FORMAT UNIT is, of 65536.
    pub(super) progress: AtomicU16,
    state: Mutex<State>,
    pub(super) copies: Operations,
    pub(super) health: Health,
    pub(super) tokens: Tokens,
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

    /// Its parameters, as configured. The capacity may have changed since: [`LogicalUnit::blocks`].
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

    /// The number of the switching off of the cache that is not known to be flushed, if there is one. When a flush that
    /// begins after this was asked has gone well, [`LogicalUnit::cache_flushed`] is to be told of the number.
    pub fn unflushed(&self) -> Option<u64> {
        Some(self.unflushed.load(Ordering::Acquire)).filter(|number| *number > 0)
    }

    /// The outcome with its sense in the format that the control mode page asks for.
    pub fn formatted(&self, mut outcome: Outcome) -> Outcome {
        if let Some(sense) = &mut outcome.sense {
            sense.descriptor_format = self.descriptor_sense.load(Ordering::Relaxed);
        }
        outcome
    }

    /// The I_T nexus of an initiator port that comes by portal group `tag`.
    pub fn it_nexus(&self, initiator: &InitiatorPort, tag: u16) -> ItNexus {
        ItNexus { initiator: initiator.clone(), target_port: self.state().ports.relative_port(tag) }
    }

    /// Bytes of the medium are about to change: ROD tokens for their blocks end here. For whoever changes them, when it is
    /// certain that nobody can make a token before that is done. `offset` and `len` are bytes. Costs a load while there are
    /// no tokens.
    #[inline]
    pub fn overwritten(&self, offset: u64, len: u64, now_ms: u64) {
        if self.tokens.are_watched() {
            let block_bytes = u64::from(self.block_bytes().max(1));
            let (first, end) = (offset / block_bytes, offset.saturating_add(len).div_ceil(block_bytes));
            self.tokens.overwritten((first, end - first), now_ms);
        }
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

    /// Tells every nexus, on its next command, that `state` has changed. The caller still holds the lock. Answers the
    /// new generation.
    pub(super) fn changed(&self, state: &State) -> u64 {
        let modes = state.modes.current();
        self.descriptor_sense.store(modes.descriptor_sense, Ordering::Relaxed);
        self.write_through.store(!self.params.volatile_cache || modes.write_through, Ordering::Relaxed);
        self.unflushed.store(state.modes.unflushed(), Ordering::Release);
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

    /// LOGICAL UNIT RESET (SAM-5 clause 6.3.3): mode pages return to their saved values; copy operations, RESERVE(6)
    /// and RESERVE(10), and the prevention of medium removal end; every nexus, also the one that asked for the reset,
    /// is told 29/03. Persistent reservations stay. Tasks are not known here: whoever carries out the function aborts
    /// them.
    ///
    /// True: the reset has switched the volatile cache off, and what is in it is to be flushed.
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
        let is_switched_off = state.modes.reset(self.params.volatile_cache);
        state.reservations.reserved_by = None;
        state.tray.allow_all();
        self.post(&mut state, Attention::BusDeviceReset, Recipients::Except(None));
        is_switched_off
    }

    /// A nexus is gone (logout, connection lost for good, reinstatement): its copy operations, its RESERVE(6) or
    /// RESERVE(10), and its prevention of medium removal end with it.
    pub fn nexus_lost(&self, nexus: NexusId) {
        self.copies.nexus_lost(nexus);
        let mut state = self.state();
        state.tray.allow(nexus);
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
            state.tray.change_disc();
            Attention::MediumMayHaveChanged
        } else {
            Attention::CapacityDataHasChanged
        };
        if !sings(Canary::CapacityUntold) {
            self.post(&mut state, attention, Recipients::Except(None));
        }
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

    /// The medium has answered [`super::MediumOp::Probe`], which it was asked at `now_ms`.
    pub fn answered(&self, now_ms: u64) {
        self.health.vouch(now_ms);
    }

    /// MISCOMPARE in the sense format of this logical unit; `offset` of the first byte that differs, in bytes.
    pub fn miscompare(&self, offset: u64) -> Outcome {
        self.formatted(Outcome::miscompare(offset))
    }
}

/// The sense of a disk whose medium is gone: nothing that a host does brings it back.
fn not_ready() -> Sense {
    Sense::new(key::NOT_READY, asc::LOGICAL_UNIT_NOT_READY_MANUAL_INTERVENTION_REQUIRED)
}
