//! From a parsed copy to what is to be moved between which logical units.
//!
//! [`begin`] is given the logical units that the nexus may see, and looks nowhere else: a designator or a token of any
//! other logical unit, of this target or another, is one that does not exist. Every range of every segment is checked
//! before the first block is moved, so a copy that cannot be done whole is not begun.
//!
//! The [`CopyWork`] that comes out goes to whoever moves the blocks; it tells the copy operation how it gets on, and what
//! the command is answered with. Dropped before its end, it reports the operation as terminated.

use super::class;
use super::copy::{self, out_action};
use super::copy_request::{CopyKind, CopyRequest, Extended, Populate, Segment, WriteUsingToken};
use super::nexus::{LuNexus, Pass};
use super::operations::Operation;
use super::params::NexusId;
use super::rw::check_range;
use super::sense::{Outcome, Sense, asc, key};
use super::tokens::{self, Token};
use super::unit::LogicalUnit;
use crate::canary::{Canary, sings};
use crate::model::{InitiatorPort, MediumFault};
use std::sync::Arc;

/// A logical unit that the nexus may see.
pub struct Peer<'a> {
    /// The device server.
    pub unit: &'a LogicalUnit,
    /// The nexus at it.
    pub nexus: &'a mut LuNexus,
}

/// What a copy is begun with.
pub struct Scene<'a> {
    /// All logical units of the target that the nexus may see.
    pub peers: Vec<Peer<'a>>,
    /// Which of them the command was sent to.
    pub here: usize,
    /// The initiator port that sent it.
    pub initiator: &'a InitiatorPort,
    /// The time, milliseconds of the core's clock.
    pub now_ms: u64,
}

/// What a copy comes to when it is begun.
#[derive(Debug)]
pub enum Begun {
    /// Nothing is to be moved: this is the outcome.
    Done(Outcome),
    /// Blocks are to be moved.
    Run(CopyWork),
    /// A token is to be made.
    Make(TokenWork),
}

/// One stretch to be copied. Offsets and lengths are in bytes, whole blocks on both sides, and inside the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyStep {
    /// Index into `Scene::peers` and offset; `None`: zeroes are written.
    pub source: Option<(usize, u64)>,
    /// Index into `Scene::peers` and offset.
    pub destination: (usize, u64),
    /// Bytes to be copied.
    pub bytes: u64,
}

/// A copy under way.
#[derive(Debug)]
pub struct CopyWork {
    /// What to move, in this order.
    pub steps: Vec<CopyStep>,
    operation: Arc<Operation>,
    token: Option<Arc<Token>>,
    immediate: bool,
    /// What its nexus may do with each of the logical units that the steps are for; by index into `Scene::peers`.
    passes: Vec<(usize, Pass)>,
}

impl Drop for CopyWork {
    fn drop(&mut self) {
        self.operation.give_up();
    }
}

/// For whoever looks after a copy while the copy itself cannot go on.
#[derive(Debug, Clone)]
pub struct CopyWatch(Arc<Operation>, Option<Arc<Token>>);

impl CopyWatch {
    /// Ends the copy if somebody wants it to end, and answers its outcome, in the sense format of `unit`, which the
    /// command was sent to. `None`: nobody wants that.
    pub fn cancelled(&self, unit: &LogicalUnit) -> Option<Outcome> {
        let outcome = interrupted(&self.0, self.1.as_deref()).filter(|_| self.0.is_cancelled())?;
        let outcome = unit.formatted(outcome);
        self.0.finish(outcome);
        Some(outcome)
    }
}

/// Why a copy is to stop: its token was revoked, or somebody wants it to stop. If both are so the former is answered,
/// which says more.
fn interrupted(operation: &Operation, token: Option<&Token>) -> Option<Outcome> {
    if token.is_some_and(Token::is_revoked) {
        return Some(Outcome::illegal(asc::INVALID_TOKEN_OPERATION_TOKEN_REVOKED));
    }
    operation.is_cancelled().then_some(CANCELLED)
}

impl CopyWork {
    /// Whether the command is answered now, and the copy goes on in the background.
    pub fn is_immediate(&self) -> bool {
        self.immediate
    }

    /// A handle to look after the copy with, from elsewhere.
    pub fn watch(&self) -> CopyWatch {
        CopyWatch(Arc::clone(&self.operation), self.token.clone())
    }

    /// Why the copy is to stop, if it is: asked whenever an operation of it could begin.
    pub fn interrupted(&self) -> Option<Outcome> {
        interrupted(&self.operation, self.token.as_deref())
    }

    /// Whether the nexus may still read the source of step `step`, or write its destination (`of_destination`); `unit`
    /// is the one of the two that is meant. Asked with [`CopyWork::interrupted`].
    ///
    /// # Errors
    /// As at the beginning: write protection is told as it is; anything else is that device's failure, with
    /// `left_blocks` not copied.
    pub fn admitted(
        &self,
        step: usize,
        of_destination: bool,
        unit: &LogicalUnit,
        left_blocks: u64,
    ) -> Result<(), Outcome> {
        let Some(&CopyStep { source, destination, .. }) = self.steps.get(step) else { return Ok(()) };
        let (peer, class) = match source {
            _ if of_destination => (destination.0, class::WRITES_MEDIUM),
            Some((source, _)) => (source, class::READS_MEDIUM),
            None => return Ok(()),
        };
        let Some((_, pass)) = self.passes.iter().find(|pass| pass.0 == peer) else { return Ok(()) };
        unit.still_admits(pass, class).map_err(|outcome| refused(step, outcome, Some(left_blocks)))
    }

    /// Notes that `bytes` bytes more are at the destination.
    pub fn advance(&self, bytes: u64) {
        self.operation.advance(bytes);
    }

    /// Notes that the first `steps` steps are done.
    pub fn steps_done(&self, steps: usize) {
        self.operation.segments_done(u16::try_from(steps).unwrap_or(u16::MAX));
    }

    /// A medium failed in step `step`. What concerns the space and the write protection of the destination is told as it
    /// is; the rest as a device of the copy that failed (SPC-4 clause 5.17.7.4), with `left_blocks` not copied.
    pub fn failed(&self, step: usize, of_destination: bool, fault: MediumFault, left_blocks: u64) -> Outcome {
        match fault {
            MediumFault::OutOfSpace if of_destination => {
                Outcome::check(Sense::new(key::DATA_PROTECT, asc::SPACE_ALLOCATION_FAILED_WRITE_PROTECT))
            }
            MediumFault::Protected if of_destination => {
                Outcome::check(Sense::new(key::DATA_PROTECT, asc::WRITE_PROTECTED))
            }
            _ => Outcome::check(Sense {
                information: Some(left_blocks),
                ..aborted(step, asc::THIRD_PARTY_DEVICE_FAILURE)
            }),
        }
    }

    /// Ends the copy; answers the outcome in the sense format of `unit`, which the command was sent to.
    pub fn finish(&self, unit: &LogicalUnit, outcome: Outcome) -> Outcome {
        let outcome = unit.formatted(outcome);
        self.operation.finish(outcome);
        outcome
    }
}

/// A ROD token under way. It stands for blocks as they are at one moment, in which nobody changes them.
#[derive(Debug)]
pub struct TokenWork {
    operation: Arc<Operation>,
    owner: NexusId,
    populate: Populate,
}

impl Drop for TokenWork {
    fn drop(&mut self) {
        self.operation.give_up();
    }
}

impl TokenWork {
    /// The range that nobody may be changing when the token is made, as first byte and number of bytes: from the first
    /// of the token's blocks to the last, with all that is in between.
    pub fn hull(&self, unit: &LogicalUnit) -> (u64, u64) {
        let ranges = &self.populate.ranges;
        let start = ranges.iter().map(|(lba, _)| *lba).min().unwrap_or(0);
        let end = ranges.iter().map(|(lba, blocks)| lba.saturating_add(*blocks)).max().unwrap_or(0);
        let block_bytes = u64::from(unit.block_bytes());
        (start.saturating_mul(block_bytes), end.saturating_sub(start).saturating_mul(block_bytes))
    }

    /// Makes the token; answers the outcome in the sense format of `unit`, which the command was sent to. `random`
    /// fills a buffer with bytes that nobody can guess.
    pub fn make(&self, unit: &LogicalUnit, now_ms: u64, random: &mut dyn FnMut(&mut [u8])) -> Outcome {
        let TokenWork { operation, owner, populate } = self;
        let made = match operation.is_cancelled() {
            true => Err(CANCELLED),
            false => unit.tokens.create(unit.params(), *owner, populate, now_ms, random),
        };
        let outcome = match made {
            Ok(token) => {
                let blocks: u64 = populate.ranges.iter().map(|(_, blocks)| blocks).sum();
                operation.advance(blocks.saturating_mul(u64::from(unit.block_bytes())));
                operation.segments_done(u16::try_from(populate.ranges.len()).unwrap_or(u16::MAX));
                operation.made(token.bytes());
                Outcome::GOOD
            }
            Err(outcome) => unit.formatted(outcome),
        };
        operation.finish(outcome);
        outcome
    }
}

/// The outcome of an operation that somebody wants to end.
const CANCELLED: Outcome = Outcome::check(Sense::new(key::COPY_ABORTED, asc::NO_ADDITIONAL_SENSE_INFORMATION));

/// COPY ABORTED while a segment is processed.
fn aborted(segment: usize, asc_ascq: u16) -> Sense {
    Sense { command_specific: u32::try_from(segment).ok(), ..Sense::new(key::COPY_ABORTED, asc_ascq) }
}

/// COPY ABORTED with a segment pointer (SPC-4 clause 4.5.2.4.5) to a byte of the segment descriptor, or with `of_list` of
/// the parameter list.
fn aborted_at(segment: usize, asc_ascq: u16, byte: u16, of_list: bool) -> Outcome {
    const SKSV: u8 = 0x80;
    const SD: u8 = 0x20;
    const BPV: u8 = 0x08;
    let [high, low] = byte.to_be_bytes();
    let flags = SKSV | BPV | 7 | if of_list { 0 } else { SD };
    Outcome::check(Sense { specific: Some([flags, high, low]), ..aborted(segment, asc_ascq) })
}

/// Begins a copy.
pub fn begin(request: &CopyRequest, mut scene: Scene) -> Begun {
    let begun = match &request.kind {
        CopyKind::Extended(extended) => extended_copy(extended, &mut scene),
        CopyKind::Populate(populate) => populate_token(populate, &mut scene),
        CopyKind::Write(write) => write_using_token(write, &mut scene),
    };
    let here = scene.peers.get(scene.here).map(|peer| peer.unit);
    begun.unwrap_or_else(|outcome| Begun::Done(here.map_or(outcome, |unit| unit.formatted(outcome))))
}

/// Registers the copy operation at the addressed logical unit.
fn operation(scene: &Scene, id: Option<u32>, action: u8, immediate: bool) -> Result<Arc<Operation>, Outcome> {
    let here = scene.peers.get(scene.here).ok_or(Outcome::illegal(asc::LOGICAL_UNIT_NOT_SUPPORTED))?;
    here.unit.copies.begin(here.nexus.id, id, Operation::new(action, immediate, here.unit.block_bytes()))
}

fn extended_copy(extended: &Extended, scene: &mut Scene) -> Result<Begun, Outcome> {
    let operation = operation(scene, extended.list_id.map(u32::from), out_action::EXTENDED_COPY_LID1, false)?;
    let mut steps = Vec::with_capacity(extended.segments.len());
    for number in 0..extended.segments.len() {
        match step(extended, number, scene) {
            Ok(step) => steps.push(step),
            Err(outcome) => {
                let here = scene.peers.get(scene.here).map(|peer| peer.unit);
                operation.finish(here.map_or(outcome, |unit| unit.formatted(outcome)));
                return Err(outcome);
            }
        }
    }
    let passes = passes(&steps, &operation, scene);
    Ok(Begun::Run(CopyWork { steps, operation, token: None, immediate: false, passes }))
}

/// What the nexus may do, from now on, with each logical unit that the steps read or write. Each of these, but the one
/// that the command was sent to, takes note of the copy.
fn passes(steps: &[CopyStep], operation: &Arc<Operation>, scene: &Scene) -> Vec<(usize, Pass)> {
    let all = steps.iter().flat_map(|step| step.source.map(|(peer, _)| peer).into_iter().chain([step.destination.0]));
    let mut used: Vec<usize> = all.collect();
    used.sort_unstable();
    used.dedup();
    let pass = |number: usize| {
        let peer = scene.peers.get(number)?;
        if number != scene.here {
            peer.unit.copies.watch(peer.nexus.id, operation);
        }
        Some((number, Pass::of(peer.nexus, scene.initiator)))
    };
    used.into_iter().filter_map(pass).collect()
}

/// What a segment descriptor asks to be moved.
fn step(extended: &Extended, number: usize, scene: &mut Scene) -> Result<CopyStep, Outcome> {
    const SOURCE_AT: u16 = 4;
    const DESTINATION_AT: u16 = 6;
    const SOURCE_LBA_AT: u16 = 12;
    const DESTINATION_LBA_AT: u16 = 20;
    let segment: Segment = *extended.segments.get(number).ok_or(Outcome::invalid_list_field(8, 7))?;
    let source = locate(extended, number, segment.source, SOURCE_AT, scene)?;
    let destination = locate(extended, number, segment.destination, DESTINATION_AT, scene)?;
    admitted(number, source, class::READS_MEDIUM & !class::ATTENTION, scene)?;
    admitted(number, destination, class::WRITES_MEDIUM & !class::ATTENTION, scene)?;
    let lengths = |peer: usize| scene.peers.get(peer).map_or(1, |peer| u64::from(peer.unit.block_bytes().max(1)));
    let (source_bytes, destination_bytes) = (lengths(source), lengths(destination));
    let counted = if segment.destination_counts { destination_bytes } else { source_bytes };
    let bytes = u64::from(segment.blocks) * counted;
    if bytes % source_bytes != 0 || bytes % destination_bytes != 0 {
        return Err(aborted_at(number, asc::UNEXPECTED_INEXACT_SEGMENT, 10, false));
    }
    let place = |peer: usize, lba: u64, block_bytes: u64, at: u16| match scene.peers.get(peer) {
        Some(peer) if check_range(peer.unit, lba, bytes / block_bytes).is_ok() => Ok(lba.saturating_mul(block_bytes)),
        _ => Err(aborted_at(number, asc::NO_ADDITIONAL_SENSE_INFORMATION, at, false)),
    };
    let from = place(source, segment.source_lba, source_bytes, SOURCE_LBA_AT)?;
    let to = place(destination, segment.destination_lba, destination_bytes, DESTINATION_LBA_AT)?;
    let bytes = if sings(Canary::CopyShort) { bytes - destination_bytes } else { bytes };
    Ok(CopyStep { source: Some((source, from)), destination: (destination, to), bytes })
}

/// The logical unit that a CSCD descriptor ID of a segment stands for; `at`: where the segment has the ID.
fn locate(extended: &Extended, number: usize, id: u16, at: u16, scene: &Scene) -> Result<usize, Outcome> {
    const DESIGNATOR_AT: u16 = 4;
    const BLOCK_LENGTH_AT: u16 = 29;
    if id == copy::THIS_LOGICAL_UNIT {
        return Ok(scene.here);
    }
    let Some(cscd) = extended.cscds.get(usize::from(id)) else {
        return Err(aborted_at(number, asc::COPY_TARGET_DEVICE_NOT_REACHABLE, at, false));
    };
    let cscd_at = copy::HEADER_BYTES as u16 + id * copy::CSCD_BYTES as u16;
    let is_it = |peer: &Peer| cscd.naa == Some(peer.unit.params().naa);
    // The addressed one first, should two have been given the same serial number.
    let here = scene.peers.get(scene.here).filter(|peer| is_it(peer)).map(|_| scene.here);
    let Some(found) = here.or_else(|| scene.peers.iter().position(is_it)) else {
        return Err(aborted_at(number, asc::UNREACHABLE_COPY_TARGET, cscd_at + DESIGNATOR_AT, true));
    };
    if cscd.peripheral_type != 0 || scene.peers.get(found).is_some_and(|peer| peer.unit.params().cdrom) {
        return Err(aborted_at(number, asc::INCORRECT_COPY_TARGET_DEVICE_TYPE, cscd_at + 1, true));
    }
    let block_bytes = scene.peers.get(found).map_or(0, |peer| peer.unit.block_bytes());
    if cscd.block_bytes != 0 && cscd.block_bytes != block_bytes {
        return Err(Outcome::invalid_list_field(cscd_at + BLOCK_LENGTH_AT, 7));
    }
    Ok(found)
}

/// Whether the nexus may do with a logical unit what the copy wants. Write protection is told as it is; anything else is
/// that device's failure.
fn admitted(number: usize, peer: usize, class: u16, scene: &mut Scene) -> Result<(), Outcome> {
    let Some(peer) = scene.peers.get_mut(peer) else {
        return Err(Outcome::illegal(asc::LOGICAL_UNIT_NOT_SUPPORTED));
    };
    peer.unit.admits(peer.nexus, scene.initiator, class).map_err(|outcome| refused(number, outcome, None))
}

/// The outcome of a copy whose nexus is refused by a logical unit with `outcome`.
fn refused(number: usize, outcome: Outcome, information: Option<u64>) -> Outcome {
    match outcome.sense {
        Some(Sense { key: key::DATA_PROTECT, .. }) => outcome,
        _ => Outcome::check(Sense { information, ..aborted(number, asc::THIRD_PARTY_DEVICE_FAILURE) }),
    }
}

fn populate_token(populate: &Populate, scene: &mut Scene) -> Result<Begun, Outcome> {
    let operation = operation(scene, Some(populate.list_id), out_action::POPULATE_TOKEN, false)?;
    let here = scene.peers.get(scene.here).ok_or(Outcome::illegal(asc::LOGICAL_UNIT_NOT_SUPPORTED))?;
    Ok(Begun::Make(TokenWork { operation, owner: here.nexus.id, populate: populate.clone() }))
}

/// WRITE USING TOKEN. A token that cannot be used fails the command before it becomes a copy operation.
fn write_using_token(write: &WriteUsingToken, scene: &mut Scene) -> Result<Begun, Outcome> {
    // Writing was admitted when the CDB came; the list may have come much later.
    if let Some(here) = scene.peers.get_mut(scene.here) {
        here.unit.admits(here.nexus, scene.initiator, class::WRITES_MEDIUM)?;
    }
    let block_bytes = scene.peers.get(scene.here).map_or(1, |peer| u64::from(peer.unit.block_bytes().max(1)));
    let at = |(lba, blocks): (u64, u64)| (lba.saturating_mul(block_bytes), blocks.saturating_mul(block_bytes));
    let destinations = write.ranges.iter().copied().map(at);
    let (token, steps): (_, Vec<_>) = if super::cdb::be32(&write.token[..], 0) == tokens::ZERO {
        let zeroes = |(offset, bytes)| CopyStep { source: None, destination: (scene.here, offset), bytes };
        (None, destinations.map(zeroes).collect())
    } else {
        let (source, token) = token_of(write, scene)?;
        let pieces = pieces(&token.ranges, write)?;
        let steps = pieces.into_iter().map(|(from, to, blocks)| CopyStep {
            source: Some((source, from.saturating_mul(block_bytes))),
            destination: (scene.here, to.saturating_mul(block_bytes)),
            bytes: blocks.saturating_mul(block_bytes),
        });
        (Some(token), steps.collect())
    };
    let operation = operation(scene, Some(write.list_id), out_action::WRITE_USING_TOKEN, write.immediate)?;
    if let Some(token) = token.as_ref().filter(|_| write.delete) {
        token.delete();
    }
    let passes = passes(&steps, &operation, scene);
    Ok(Begun::Run(CopyWork { steps, operation, token, immediate: write.immediate, passes }))
}

/// The token, and the logical unit that it is of: one that the nexus sees, and may read now.
fn token_of(write: &WriteUsingToken, scene: &mut Scene) -> Result<(usize, Arc<Token>), Outcome> {
    const NOT_REPORTABLE: Outcome = Outcome::illegal(asc::INVALID_TOKEN_OPERATION_CAUSE_NOT_REPORTABLE);
    let here = scene.peers.get(scene.here).map(|peer| peer.unit.block_bytes());
    let creator = tokens::creator(&write.token);
    let unknown = Outcome::illegal(asc::INVALID_TOKEN_OPERATION_TOKEN_UNKNOWN);
    let mut found = Err(unknown);
    for (position, peer) in scene.peers.iter().enumerate() {
        if creator == Some(peer.unit.params().naa) {
            found = peer.unit.tokens.find(&write.token, scene.now_ms).map(|token| (position, token));
            if found.is_ok() {
                break;
            }
        }
    }
    let (position, token) = found?;
    let peer = scene.peers.get_mut(position).ok_or(unknown)?;
    peer.unit.admits(peer.nexus, scene.initiator, class::READS_MEDIUM).map_err(|_| NOT_REPORTABLE)?;
    let inside = token.ranges.iter().all(|(lba, blocks)| check_range(peer.unit, *lba, *blocks).is_ok());
    let over_itself = position == scene.here
        && write.ranges.iter().any(|range| token.ranges.iter().any(|of_token| tokens::overlap(*range, *of_token)));
    if Some(peer.unit.block_bytes()) != here || !inside || over_itself {
        return Err(NOT_REPORTABLE);
    }
    Ok((position, token))
}

/// Lays the ROD from OFFSET INTO ROD on over the destination ranges: (source LBA, destination LBA, blocks). A ROD that is
/// too short is refused.
fn pieces(rod: &[(u64, u64)], write: &WriteUsingToken) -> Result<Vec<(u64, u64, u64)>, Outcome> {
    const OFFSET_AT: u16 = 8;
    let wanted: u64 = write.ranges.iter().map(|(_, blocks)| blocks).sum();
    let there: u64 = rod.iter().map(|(_, blocks)| blocks).sum();
    if write.offset.checked_add(wanted).is_none_or(|end| end > there) {
        return Err(Outcome::invalid_list_field(OFFSET_AT, 7));
    }
    let mut skip = write.offset;
    let mut sources = rod.iter().filter_map(|&(lba, blocks)| {
        let skipped = skip.min(blocks);
        skip -= skipped;
        (skipped < blocks).then_some((lba + skipped, blocks - skipped))
    });
    let mut pieces = Vec::with_capacity(rod.len() + write.ranges.len());
    let mut source = (0, 0);
    for &(mut lba, mut blocks) in &write.ranges {
        while blocks > 0 {
            if source.1 == 0 {
                source = sources.next().ok_or(Outcome::invalid_list_field(OFFSET_AT, 7))?;
            }
            let step = blocks.min(source.1);
            pieces.push((source.0, lba, step));
            source = (source.0 + step, source.1 - step);
            (lba, blocks) = (lba + step, blocks - step);
        }
    }
    Ok(pieces)
}
