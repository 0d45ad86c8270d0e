//! A disk that a simulator plays with: what it has, and what becomes of it.

#![allow(unsafe_code)]

use super::super::errno::{Direction, fault_of};
use super::super::queue::{Buffer, Op, Token};
use crate::model::MediumFault;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Read,
    Write { durable: bool },
    Flush,
    Evict,
    Discard,
    Zero,
}

/// An operation that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Its number: a later one has a higher number.
    pub(crate) number: u64,
    /// The core's name for it.
    pub(crate) token: Token,
    pub(crate) work: Work,
    /// Bytes; of a flush none.
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// It writes to blocks without storage: where there is no room (-ENOSPC), such a write finds none.
    pub(crate) takes_space: bool,
}

/// What becomes of a block that could not be written back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is tried again.
    Kept,
    /// It is taken for written: what reads find is lost with the power, if nobody writes it again.
    Stale,
    /// Reads find what is stable.
    Gone,
}

/// A block.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    /// Which version of it `current` has; each write has another one.
    version: u64,
    /// Which version of it `stable` has.
    stable: u64,
    /// No flush writes it.
    is_stale: bool,
    has_storage: bool,
}

/// An operation, as it stands.
struct UnderWay {
    pending: Pending,
    buffer: Buffer,
    /// Which version each of its blocks was when it was done.
    done: Vec<Option<u64>>,
    /// Of a flush: what it makes stable.
    image: Vec<(usize, u64, Box<[u8]>)>,
}

/// What a disk has.
pub(super) struct Store {
    block_bytes: usize,
    current: Vec<u8>,
    stable: Vec<u8>,
    blocks: Vec<Block>,
    under_way: BTreeMap<u64, UnderWay>,
    /// The number of the newest operation, and the newest version.
    last: u64,
    version: u64,
    /// What was written is lost, and nobody was told.
    is_lost: bool,
}

// SAFETY: the pointers in buffers belong to no thread. They are followed while their operation is under way only, when they
// are valid (contract of `Buffer::new`), and by whoever has the lock.
unsafe impl Send for Store {}

/// A disk, as the simulator has it.
#[derive(Clone)]
pub(crate) struct Disk(Arc<Mutex<Store>>);

impl Disk {
    /// `first`: the numbers of its operations are higher.
    pub(super) fn new(bytes: u64, block_bytes: u32, first: u64) -> Disk {
        Disk(Arc::new(Mutex::new(Store::new(bytes as usize, block_bytes, first))))
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is under way, in the order in which it was started.
    pub(crate) fn pending(&self) -> Vec<Pending> {
        self.store().under_way.values().map(|operation| operation.pending).collect()
    }

    /// Does now what of an operation's blocks the dice say, and was not done: it is over later all the same, well or badly.
    pub(crate) fn part(&self, number: u64, mut dice: impl FnMut(u64) -> bool) {
        self.store().advance(number, |block| dice(block as u64));
    }

    /// Writes back those of the blocks that differ that the dice say.
    pub(crate) fn write_back(&self, mut dice: impl FnMut(u64) -> bool) {
        let mut store = self.store();
        store.dirty().filter(|block| dice(*block as u64)).collect::<Vec<_>>().into_iter().for_each(|b| store.settle(b));
    }

    /// Some of what was written cannot be written back. It is told once: the next flush, durable write or sync that ends
    /// fails.
    pub(crate) fn lose(&self, mut dice: impl FnMut(u64) -> Fate) {
        let mut store = self.store();
        for block in store.dirty().collect::<Vec<_>>() {
            store.lose(block, dice(block as u64));
        }
        store.is_lost = true;
    }

    /// The power fails: each block that differs is, as the dice say, what was written last (true) or what is stable. What
    /// is under way stays so until its core is gone; it has no part in it but what [`Disk::part`] has done before.
    pub(crate) fn lose_power(&self, mut dice: impl FnMut(u64) -> bool) {
        let mut store = self.store();
        for block in store.unlike().collect::<Vec<_>>() {
            if dice(block as u64) { store.settle(block) } else { store.lose(block, Fate::Gone) }
        }
        store.under_way.values_mut().for_each(|operation| operation.image.clear());
        store.is_lost = false;
    }

    /// What reads find now.
    pub(crate) fn current(&self) -> Vec<u8> {
        self.store().current.clone()
    }

    /// What certainly outlives a loss of power.
    pub(crate) fn stable(&self) -> Vec<u8> {
        self.store().stable.clone()
    }

    /// How many blocks differ in the two.
    pub(crate) fn unstable(&self) -> usize {
        self.store().unlike().count()
    }
}

impl Store {
    fn new(bytes: usize, block_bytes: u32, first: u64) -> Store {
        let block_bytes = block_bytes as usize;
        Store {
            block_bytes,
            current: vec![0; bytes],
            stable: vec![0; bytes],
            blocks: vec![Block::default(); bytes / block_bytes],
            under_way: BTreeMap::new(),
            last: first,
            version: 0,
            is_lost: false,
        }
    }

    fn bytes_of(&self, block: usize) -> Range<usize> {
        block * self.block_bytes..(block + 1) * self.block_bytes
    }

    /// Blocks whose newest version is not stable.
    fn unlike(&self) -> impl Iterator<Item = usize> {
        self.blocks.iter().enumerate().filter(|(_, block)| block.version != block.stable).map(|(number, _)| number)
    }

    /// Those of them that a flush writes.
    fn dirty(&self) -> impl Iterator<Item = usize> {
        self.unlike().filter(|block| !self.blocks[*block].is_stale)
    }

    /// The newest version of a block becomes stable.
    fn settle(&mut self, block: usize) {
        let bytes = self.bytes_of(block);
        self.stable[bytes.clone()].copy_from_slice(&self.current[bytes]);
        let block = &mut self.blocks[block];
        (block.stable, block.is_stale) = (block.version, false);
    }

    /// Makes everything stable, or tells that some of it cannot be.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_lost) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.dirty().collect::<Vec<_>>().into_iter().for_each(|block| self.settle(block));
        Ok(())
    }

    /// Whether the block at `offset` has storage, and how many of the `len` bytes are alike.
    pub(super) fn allocated(&self, offset: u64, len: u64) -> (bool, u64) {
        let (first, count) = (offset as usize / self.block_bytes, len as usize / self.block_bytes);
        let blocks = &self.blocks[first..first + count];
        let is = blocks[0].has_storage;
        let run = blocks.iter().take_while(|block| block.has_storage == is).count();
        (is, (run * self.block_bytes) as u64)
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        self.current.len() as u64
    }

    /// What is under way of it.
    pub(super) fn find(&self, number: u64) -> Option<Pending> {
        self.under_way.get(&number).map(|operation| operation.pending)
    }

    /// Forgets operations that nobody answers any more, and whose buffers nobody may touch.
    pub(super) fn forget(&mut self, numbers: &[u64]) {
        self.under_way.retain(|number, _| !numbers.contains(number));
    }

    fn lose(&mut self, block: usize, fate: Fate) {
        if fate == Fate::Kept {
            return;
        }
        // No flush that is under way has it any more: it would come back.
        self.under_way.values_mut().for_each(|operation| operation.image.retain(|(own, ..)| *own != block));
        let bytes = self.bytes_of(block);
        let is = &mut self.blocks[block];
        is.is_stale = fate == Fate::Stale;
        if fate == Fate::Gone {
            (is.version, is.has_storage) = (is.stable, true);
            self.current[bytes.clone()].copy_from_slice(&self.stable[bytes]);
        }
    }

    /// Notes an operation that is started: its number.
    pub(super) fn begin(&mut self, op: Op, token: Token) -> u64 {
        let (work, offset, len, buffer) = match op {
            Op::Read { offset, buffer } => (Work::Read, offset, buffer.len() as u64, buffer),
            Op::Write { offset, buffer, durable } => (Work::Write { durable }, offset, buffer.len() as u64, buffer),
            Op::Flush => (Work::Flush, 0, 0, Buffer::NONE),
            Op::Evict { offset, len } => (Work::Evict, offset, len, Buffer::NONE),
            Op::Discard { offset, len } => (Work::Discard, offset, len, Buffer::NONE),
            Op::Zero { offset, len } => (Work::Zero, offset, len, Buffer::NONE),
        };
        self.last += 1;
        let (first, count) = (offset as usize / self.block_bytes, len as usize / self.block_bytes);
        let is_new = self.blocks[first..first + count].iter().any(|block| !block.has_storage);
        let takes_space = is_new && matches!(work, Work::Write { .. } | Work::Zero);
        let pending = Pending { number: self.last, token, work, offset, len, takes_space };
        let of = |block: usize| (block, self.blocks[block].version, self.current[self.bytes_of(block)].into());
        let image = if work == Work::Flush { self.dirty().map(of).collect() } else { Vec::new() };
        self.under_way.insert(self.last, UnderWay { pending, buffer, done: vec![None; count], image });
        self.last
    }

    /// Does those blocks of an operation that were not done and that `is_meant` names.
    fn advance(&mut self, number: u64, mut is_meant: impl FnMut(usize) -> bool) {
        let Some(mut operation) = self.under_way.remove(&number) else { return };
        let first = operation.pending.offset as usize / self.block_bytes;
        for at in 0..operation.done.len() {
            if operation.done[at].is_none() && is_meant(first + at) {
                let piece = operation.buffer.part(at * self.block_bytes, self.block_bytes);
                operation.done[at] = Some(self.do_block(operation.pending.work, first + at, piece));
            }
        }
        self.under_way.insert(number, operation);
    }

    /// Does one block of an operation: which version it is then.
    fn do_block(&mut self, work: Work, number: usize, piece: Option<Buffer>) -> u64 {
        let bytes = self.bytes_of(number);
        let (current, block) = (&mut self.current[bytes], &mut self.blocks[number]);
        match (work, piece) {
            (Work::Read, Some(piece)) => piece.fill(current),
            (Work::Write { .. }, Some(piece)) => piece.copy_to(current),
            (Work::Discard | Work::Zero, _) => current.fill(0),
            _ => {}
        }
        if matches!(work, Work::Write { .. } | Work::Discard | Work::Zero) {
            self.version += 1;
            *block = Block { version: self.version, is_stale: false, has_storage: work != Work::Discard, ..*block };
        }
        block.version
    }

    /// What a durable write has written becomes stable, or what a flush has found.
    fn make_stable(&mut self, operation: &UnderWay) {
        let first = operation.pending.offset as usize / self.block_bytes;
        let durable = operation.pending.work == Work::Write { durable: true };
        let written = operation.done.iter().enumerate().filter(|_| durable).filter_map(|(at, version)| {
            let mut bytes = vec![0; self.block_bytes].into_boxed_slice();
            operation.buffer.part(at * self.block_bytes, self.block_bytes)?.copy_to(&mut bytes);
            Some((first + at, (*version)?, bytes))
        });
        for (number, version, bytes) in written.collect::<Vec<_>>().iter().chain(&operation.image) {
            let (place, block) = (self.bytes_of(*number), &mut self.blocks[*number]);
            if *version > block.stable {
                self.stable[place.clone()].copy_from_slice(bytes);
                block.stable = *version;
            }
            // What was done of a durable write was gone since: it is written all the same.
            if *version > block.version {
                self.current[place].copy_from_slice(bytes);
                block.version = *version;
            }
        }
    }

    /// Takes an answer of the simulator; `None`: there is more to do.
    pub(super) fn answer(&mut self, number: u64, result: i32) -> Option<Result<(), MediumFault>> {
        let operation = self.under_way.get(&number)?;
        let work = operation.pending.work;
        if matches!(result.saturating_neg(), libc::EINTR | libc::EAGAIN) {
            return None;
        }
        if result >= 0 {
            let is_short = result > 0 && matches!(work, Work::Read | Work::Write { .. });
            let mut room = if is_short { result as usize / self.block_bytes } else { usize::MAX };
            self.advance(number, |_| {
                let is_meant = room > 0;
                room = room.saturating_sub(1);
                is_meant
            });
            if self.under_way.get(&number)?.done.iter().any(Option::is_none) {
                return None;
            }
        }
        let operation = self.under_way.remove(&number)?;
        let is_told = matches!(work, Work::Flush | Work::Write { durable: true });
        let was_lost = is_told && std::mem::take(&mut self.is_lost);
        let errno = if result >= 0 && was_lost { libc::EIO } else { result.min(0).saturating_neg() };
        if errno == 0 {
            self.make_stable(&operation);
            return Some(Ok(()));
        }
        let direction = if work == Work::Read { Direction::Read } else { Direction::Write };
        Some(Err(fault_of(errno, direction)))
    }
}
