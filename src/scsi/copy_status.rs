//! Account of the copy operations of one logical unit (SPC-4 clause 5.17.4), and the commands that ask for it: RECEIVE
//! COPY STATUS(LID1), RECEIVE COPY FAILURE DETAILS(LID1), RECEIVE ROD TOKEN INFORMATION, and COPY OPERATION ABORT.
//!
//! An [`Operation`] is named by its I_T nexus and list identifier. Whoever works on it holds it too and writes its
//! progress into atomics, so no lock is taken for a slice. An operation that is over is held until its end was told, the
//! nexus uses the identifier again or is lost, the logical unit is reset, or the place is needed: there are at most
//! `limits::COPY_OPERATIONS`, of which a nexus has as many under way as are left free; who has most that are over loses one.

use super::cdb::{be32, byte};
use super::copy::out_action::{POPULATE_TOKEN, WRITE_USING_TOKEN};
use super::opcode::{Call, Planned};
use super::params::NexusId;
use super::plan::Plan;
use super::rod::TOKEN_BYTES;
use super::sense::{self, Outcome, Sense, asc};
use crate::limits;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Good,
    Failed(Outcome),
    /// Its task was aborted, or the process that did it went away.
    Terminated,
}

/// One copy operation.
#[derive(Debug)]
pub(super) struct Operation {
    /// The service action that began it.
    action: u8,
    immediate: bool,
    /// Logical block length of the transfer count, bytes.
    block_bytes: u32,
    cancelled: AtomicBool,
    segments: AtomicU16,
    bytes: AtomicU64,
    token: OnceLock<Box<[u8; TOKEN_BYTES]>>,
    end: OnceLock<End>,
}

impl Operation {
    pub(super) fn new(action: u8, immediate: bool, block_bytes: u32) -> Operation {
        Operation {
            action,
            immediate,
            block_bytes: block_bytes.max(1),
            cancelled: AtomicBool::new(false),
            segments: AtomicU16::new(0),
            bytes: AtomicU64::new(0),
            token: OnceLock::new(),
            end: OnceLock::new(),
        }
    }

    /// Somebody wants it to stop.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn segments_done(&self, segments: u16) {
        self.segments.store(segments, Ordering::Relaxed);
    }

    /// The token that it made.
    pub(super) fn made(&self, token: &[u8; TOKEN_BYTES]) {
        let _ = self.token.set(Box::new(*token));
    }

    /// It is over; the first end counts.
    pub(super) fn finish(&self, outcome: Outcome) {
        let _ = self.end.set(if outcome == Outcome::GOOD { End::Good } else { End::Failed(outcome) });
    }

    /// It was given up, unless it was over.
    pub(super) fn give_up(&self) {
        let _ = self.end.set(End::Terminated);
    }

    fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    fn sense(&self) -> Option<Sense> {
        match self.end.get() {
            Some(End::Failed(outcome)) => outcome.sense,
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Entry {
    nexus: NexusId,
    /// `None`: nobody can ask for it.
    id: Option<u32>,
    operation: Arc<Operation>,
}

/// The copy operations of a logical unit.
#[derive(Debug, Default)]
pub(super) struct Operations {
    entries: Mutex<Vec<Entry>>,
    /// What another logical unit was asked for, and reads or writes this one.
    guests: Mutex<Vec<(NexusId, Weak<Operation>)>>,
}

impl Operations {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new operation on. Fails with OPERATION IN PROGRESS if the nexus has one of that name under way, with BUSY
    /// if there is no room for it, or none for this nexus.
    pub(super) fn begin(
        &self,
        nexus: NexusId,
        id: Option<u32>,
        operation: Operation,
    ) -> Result<Arc<Operation>, Outcome> {
        let mut entries = self.entries();
        entries.retain(|entry| entry.id.is_some() || !entry.operation.is_over());
        if let Some(at) = entries.iter().position(|entry| id.is_some() && (entry.nexus, entry.id) == (nexus, id)) {
            if !entries[at].operation.is_over() {
                return Err(Outcome::illegal(asc::OPERATION_IN_PROGRESS));
            }
            entries.remove(at);
        }
        let under_way = |entry: &&Entry| !entry.operation.is_over();
        let free = limits::COPY_OPERATIONS.saturating_sub(entries.iter().filter(under_way).count());
        if entries.iter().filter(under_way).filter(|entry| entry.nexus == nexus).count() >= free {
            return Err(Outcome::BUSY);
        }
        if entries.len() >= limits::COPY_OPERATIONS {
            let over = |of: NexusId| entries.iter().filter(|e| e.nexus == of && e.operation.is_over()).count();
            let most = entries.iter().map(|entry| over(entry.nexus)).max().unwrap_or(0);
            // Its oldest: the order is that of their beginnings.
            let oldest = |entry: &Entry| entry.operation.is_over() && over(entry.nexus) == most;
            let oldest = entries.iter().position(oldest).ok_or(Outcome::BUSY)?;
            entries.remove(oldest);
        }
        let operation = Arc::new(operation);
        entries.push(Entry { nexus, id, operation: Arc::clone(&operation) });
        Ok(operation)
    }

    fn guests(&self) -> MutexGuard<'_, Vec<(NexusId, Weak<Operation>)>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An operation of another logical unit reads or writes this one: it ends when its nexus does not find this one any more.
    pub(super) fn watch(&self, nexus: NexusId, operation: &Arc<Operation>) {
        let mut guests = self.guests();
        guests.retain(|(_, guest)| guest.upgrade().is_some_and(|operation| !operation.is_over()));
        guests.push((nexus, Arc::downgrade(operation)));
    }

    fn find(&self, nexus: NexusId, id: u32) -> Option<Arc<Operation>> {
        let entries = self.entries();
        let entry = entries.iter().find(|entry| (entry.nexus, entry.id) == (nexus, Some(id)))?;
        Some(Arc::clone(&entry.operation))
    }

    fn forget(&self, nexus: NexusId, id: u32) {
        self.entries().retain(|entry| (entry.nexus, entry.id) != (nexus, Some(id)));
    }

    /// The nexus is gone: nobody can ask for its operations, and those in the background end.
    pub(super) fn nexus_lost(&self, nexus: NexusId) {
        self.entries().retain(|entry| {
            if entry.nexus == nexus {
                entry.operation.cancelled.store(true, Ordering::Relaxed);
            }
            entry.nexus != nexus
        });
        self.guests().retain(|(of, guest)| {
            if *of == nexus
                && let Some(operation) = guest.upgrade()
            {
                operation.cancelled.store(true, Ordering::Relaxed);
            }
            *of != nexus
        });
    }

    /// What is on the logical unit is to be no more: every operation ends that it was asked for, or that reads or writes it.
    pub(super) fn end_all(&self) {
        let cancel = |operation: &Operation| operation.cancelled.store(true, Ordering::Relaxed);
        self.entries().iter().for_each(|entry| cancel(&entry.operation));
        self.guests().iter().filter_map(|(_, guest)| guest.upgrade()).for_each(|operation| cancel(&operation));
    }

    /// LOGICAL UNIT RESET: every operation ends.
    pub(super) fn reset(&self) {
        for entry in self.entries().drain(..) {
            entry.operation.cancelled.store(true, Ordering::Relaxed);
        }
    }
}

/// The operation that the CDB names; INVALID FIELD IN CDB if there is none.
fn named(call: &Call, id: u32) -> Result<Arc<Operation>, Outcome> {
    call.unit.copies.find(call.nexus.id, id).ok_or(Outcome::invalid_cdb_field(2, 7))
}

/// RECEIVE COPY STATUS(LID1) (SPC-4 clause 6.23).
pub(super) fn copy_status(call: &mut Call) -> Planned {
    const IN_PROGRESS: u8 = 0x00;
    const COMPLETED: u8 = 0x01;
    const COMPLETED_WITH_ERRORS: u8 = 0x02;
    if call.reply.unbuffered {
        return Ok(Plan::Buffer);
    }
    let id = u32::from(byte(call.cdb, 2));
    let operation = named(call, id)?;
    let status = match operation.end.get() {
        None => IN_PROGRESS,
        Some(End::Good) => COMPLETED,
        Some(End::Failed(_) | End::Terminated) => COMPLETED_WITH_ERRORS,
    };
    // Bytes, or MiB when the count needs more than 32 bits.
    let bytes = operation.bytes.load(Ordering::Relaxed);
    let (units, count) = u32::try_from(bytes).map_or((2, (bytes >> 20) as u32), |bytes| (0, bytes));
    call.reply.put(&[0, 0, 0, 8, status]);
    call.reply.put(&operation.segments.load(Ordering::Relaxed).to_be_bytes());
    call.reply.put(&[units]);
    call.reply.put(&count.to_be_bytes());
    if status == COMPLETED {
        call.unit.copies.forget(call.nexus.id, id);
    }
    call.reply.finish(be32(call.cdb, 10) as usize)
}

/// RECEIVE COPY FAILURE DETAILS(LID1) (SPC-4 clause 6.20): nothing for an operation that did not fail.
pub(super) fn failure_details(call: &mut Call) -> Planned {
    const COMMAND_STATUS_AT: usize = 56;
    if call.reply.unbuffered {
        return Ok(Plan::Buffer);
    }
    let id = u32::from(byte(call.cdb, 2));
    let operation = named(call, id)?;
    if !operation.is_over() {
        return Err(Outcome::invalid_cdb_field(2, 7));
    }
    call.reply.put(&[0; 4]);
    if let Some(sense) = operation.sense() {
        let (bytes, len) = encoded(&sense);
        call.reply.data.resize(COMMAND_STATUS_AT, 0);
        call.reply.put(&[sense::status::CHECK_CONDITION, 0]);
        call.reply.put(&(len as u16).to_be_bytes());
        call.reply.put(&bytes[..len]);
        call.reply.patch_u32(0, 4);
    }
    call.unit.copies.forget(call.nexus.id, id);
    call.reply.finish(be32(call.cdb, 10) as usize)
}

/// RECEIVE ROD TOKEN INFORMATION (SBC-3 clause 5.22): how POPULATE TOKEN or WRITE USING TOKEN went, and the token.
pub(super) fn rod_token_information(call: &mut Call) -> Planned {
    const COMPLETED: u8 = 0x01;
    const COMPLETED_WITH_ERRORS: u8 = 0x02;
    const IN_FOREGROUND: u8 = 0x11;
    const IN_BACKGROUND: u8 = 0x12;
    const TERMINATED: u8 = 0x60;
    const LOGICAL_BLOCKS: u8 = 0xf1;
    /// ESTIMATED STATUS UPDATE DELAY, milliseconds: ask again soon while it goes on, never when it is over.
    const DELAY_MS: u32 = 100;
    let operation = named(call, be32(call.cdb, 2))?;
    if !matches!(operation.action, POPULATE_TOKEN | WRITE_USING_TOKEN) {
        return Err(Outcome::invalid_cdb_field(2, 7));
    }
    let status = match operation.end.get() {
        None if operation.immediate => IN_BACKGROUND,
        None => IN_FOREGROUND,
        Some(End::Good) => COMPLETED,
        Some(End::Failed(_)) => COMPLETED_WITH_ERRORS,
        Some(End::Terminated) => TERMINATED,
    };
    let delay = if operation.is_over() { u32::MAX } else { DELAY_MS };
    let sense = operation.sense().map(|sense| encoded(&sense));
    let sense = sense.as_ref().map_or(&[][..], |(bytes, len)| &bytes[..*len]);
    let completion = if sense.is_empty() { sense::status::GOOD } else { sense::status::CHECK_CONDITION };
    let reply = &mut *call.reply;
    reply.put(&[0, 0, 0, 0, operation.action, status, 0, 0]);
    reply.put(&delay.to_be_bytes());
    reply.put(&[completion, sense.len() as u8, sense.len() as u8, LOGICAL_BLOCKS]);
    reply.put(&(operation.bytes.load(Ordering::Relaxed) / u64::from(operation.block_bytes)).to_be_bytes());
    reply.put(&operation.segments.load(Ordering::Relaxed).to_be_bytes());
    reply.put(&[0; 6]);
    reply.put(sense);
    match operation.token.get() {
        // ROD TOKEN DESCRIPTORS LENGTH, then the only descriptor: ID FOR CREATING ROD CSCD DESCRIPTOR, and the token.
        Some(token) => {
            reply.put(&(2 + TOKEN_BYTES as u32).to_be_bytes());
            reply.put(&[0, 0]);
            reply.put(&token[..]);
        }
        None => reply.put(&[0; 4]),
    }
    reply.patch_u32(0, 4);
    reply.finish(be32(call.cdb, 10) as usize)
}

/// COPY OPERATION ABORT (SPC-4 clause 6.3): the operation ends before its next slice.
pub(super) fn abort(call: &mut Call) -> Planned {
    let operation = named(call, be32(call.cdb, 2))?;
    if operation.is_over() {
        return Err(Outcome::invalid_cdb_field(2, 7));
    }
    operation.cancelled.store(true, Ordering::Relaxed);
    Ok(Plan::Done(Outcome::GOOD))
}

fn encoded(sense: &Sense) -> ([u8; sense::MAX_SENSE_BYTES], usize) {
    let mut bytes = [0; sense::MAX_SENSE_BYTES];
    let len = sense::encode(sense, &mut bytes);
    (bytes, len)
}
