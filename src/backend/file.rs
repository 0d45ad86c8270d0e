//! A regular file or a block device, read and written through the core's ring.
//!
//! [`FileMedium`] is the open file, shared by all cores; [`FileHandle`] is one core's state machine over it: one slot per
//! token, in which an operation moves from entry to entry until it is done. Entries name the registered file and the
//! registered buffer where there are such.
//!
//! - FUA is a write with RWF_DSYNC, a flush an fdatasync of the file.
//! - A discard tries, in this order, to punch a hole, to zero the range, to write zeroes: each leaves zeroes behind, so a
//!   discard reads as zero on every file system and device. (On a block device the hole is REQ_OP_WRITE_ZEROES with
//!   unmap; BLKDISCARD itself promises nothing about what is read afterwards.) Zeroing starts at the second step.
//! - The result of a read is given once it is certain that the file was not cut short before: see `size.rs`.
//! - The kernel reports a failed write-back once per open file, and all cores share one open file: the core that gets
//!   the error has to tell the others.
//!
//! No allocation once the slots have grown to the tokens in use. How files are opened is in `open.rs`, what else is asked of
//! them beside the cores in `file/cold.rs`.

mod cold;

use super::contract::Hot;
use super::create::Begun;
use super::errno::{Direction, fault_of};
use super::properties::Properties;
use super::queue::{Buffer, Op, Queue, Started, Token};
use super::size::Size;
use super::sys::{self, Page};
use crate::model::MediumFault;
use io_uring::squeue::Entry;
use io_uring::{opcode, types};
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// The most that one read or write entry moves: less than the kernel's own limit (2 GiB less a page).
const MAX_ENTRY_BYTES: u64 = 1 << 30;
/// The most that one fallocate entry covers: the kernel holds the file's lock for its duration, and writes wait. Also of
/// fadvise, whose entry has 32 bits for a length.
const MAX_RANGE_BYTES: u64 = 1 << 30;
/// The largest folio of the page cache, in bytes. The kernel does not drop a folio that is only partly in a range.
const FOLIO_BYTES: u64 = 2 << 20;
/// Zeroes to write from, in pages. The most that one entry of the slowest way to zero a range writes.
const ZERO_PAGES: usize = 64;
/// Interruptions in a row that are retried before they are reported.
const MAX_RETRIES: u8 = 100;
/// Slots made with a handle; more are made when larger tokens come, up to [`MAX_TOKENS`].
const FIRST_SLOTS: usize = 128;
/// Stands for no padding: no file ends at this offset.
const NO_PADDING: u64 = u64::MAX;
/// Tokens are small dense numbers below this.
const MAX_TOKENS: usize = 65_536;

/// What zeroes are written from: one piece of memory for the process, never written to.
static ZEROES: LazyLock<Box<[Page]>> = LazyLock::new(|| vec![Page([0; 4096]); ZERO_PAGES].into_boxed_slice());

/// An open file or block device.
pub(super) struct FileMedium {
    /// The open file. Its descriptor holds the lock.
    file: File,
    /// It is a regular file, which somebody may cut short; a device keeps its length.
    is_regular: bool,
    /// A transfer that came out short goes on at a multiple of this, in bytes.
    io_align_bytes: u64,
    /// Whether fallocate can punch holes here; found out by trying. Read by discards only.
    punches: AtomicBool,
    /// Whether fallocate can zero ranges here.
    zeroes_ranges: AtomicBool,
    /// Where the file ends, in bytes, if the medium's last block reaches beyond that: zeroes follow. Otherwise
    /// [`NO_PADDING`].
    padding_at: AtomicU64,
    /// Nothing is written through this descriptor.
    readonly: bool,
    /// What opening has done to the file.
    begun: Begun,
}

impl FileMedium {
    /// Takes the file that `open.rs` has locked and examined.
    pub(super) fn new(file: File, properties: &Properties, readonly: bool, begun: Begun) -> Self {
        FileMedium {
            is_regular: file.metadata().is_ok_and(|metadata| metadata.is_file()),
            file,
            io_align_bytes: u64::from(properties.io_align_bytes.max(1)),
            punches: AtomicBool::new(true),
            zeroes_ranges: AtomicBool::new(true),
            padding_at: AtomicU64::new(NO_PADDING),
            readonly,
            begun,
        }
    }

    /// From now on zeroes are read from this offset on, in bytes; `None`: the file ends with the medium or later.
    pub(super) fn set_padding_at(&self, offset: Option<u64>) {
        self.padding_at.store(offset.unwrap_or(NO_PADDING), Ordering::Relaxed);
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// As `is_shorter_than` in `file/cold.rs`, as far as this machine knows, without waiting for anything: for a core.
    fn is_known_shorter_than(&self, bytes: u64) -> bool {
        self.is_regular && sys::known_bytes(&self.file).is_some_and(|known| known < self.stored_bytes(bytes))
    }

    /// How many of a medium's `bytes` bytes its file has to have: all but the padding of the last block.
    fn stored_bytes(&self, bytes: u64) -> u64 {
        bytes.min(self.padding_at.load(Ordering::Relaxed))
    }

    /// Makes fallocate look unsupported, as on a file system that has none of it.
    #[cfg(test)]
    pub(super) fn forget_fallocate(&self) {
        self.punches.store(false, Ordering::Relaxed);
        self.zeroes_ranges.store(false, Ordering::Relaxed);
    }

    /// The best way to make a range zero that is not known to be impossible here.
    fn way_to_zero(&self, discard: bool) -> Way {
        if discard && self.punches.load(Ordering::Relaxed) {
            Way::Punch
        } else if self.zeroes_ranges.load(Ordering::Relaxed) {
            Way::ZeroRange
        } else {
            Way::Write
        }
    }
}

/// How a range is made to read as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// fallocate PUNCH_HOLE: space is given back.
    Punch,
    /// fallocate ZERO_RANGE: space stays.
    ZeroRange,
    /// Zeroes are written, a slice at a time.
    Write,
}

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Idle,
    Read,
    Write { durable: bool },
    Flush,
    Evict,
    Clear(Way),
}

/// One operation in flight.
#[derive(Clone, Copy)]
struct Slot {
    work: Work,
    /// Interruptions since the last progress.
    retries: u8,
    buffer: Buffer,
    offset: u64,
    len: u64,
    /// Bytes that are finished.
    done: u64,
    /// Bytes that the entry in flight covers.
    asked: u64,
}

impl Slot {
    const IDLE: Slot =
        Slot { work: Work::Idle, retries: 0, buffer: Buffer::NONE, offset: 0, len: 0, done: 0, asked: 0 };

    fn transfer(work: Work, offset: u64, buffer: Buffer) -> Slot {
        Slot { work, buffer, offset, len: buffer.len() as u64, ..Slot::IDLE }
    }

    /// Whether the entry makes the file longer if it reaches beyond the end of the file.
    fn lengthens(&self) -> bool {
        matches!(self.work, Work::Write { .. } | Work::Clear(Way::Write))
    }

    fn direction(&self) -> Direction {
        if self.work == Work::Read { Direction::Read } else { Direction::Write }
    }
}

/// Builds an entry for the registered file if there is one, else for the descriptor.
macro_rules! on_file {
    ($handle:expr, $file:ident => $entry:expr) => {
        match $handle.registered {
            Some(index) => {
                let $file = types::Fixed(index);
                $entry
            }
            None => {
                let $file = types::Fd($handle.medium.file.as_raw_fd());
                $entry
            }
        }
    };
}

/// Fills with zeroes what a read has left of its buffer at the end of the file; `moved`: bytes that its last entry has
/// read.
fn pad(slot: &Slot, moved: u64) -> Result<(), MediumFault> {
    let have = slot.done + moved;
    let buffer = slot.buffer.after(have as usize);
    buffer.zero();
    Ok(())
}

/// One core's operations on a [`FileMedium`].
pub(super) struct FileHandle {
    medium: Arc<FileMedium>,
    size: Arc<Size>,
    readonly: bool,
    /// Index of the file among those registered with the core's ring.
    registered: Option<u32>,
    /// By token.
    slots: Vec<Slot>,
    /// The batch of completions after which the file was last found whole: all of its reads are certain.
    certain: u64,
}

impl Hot for FileHandle {
    // Always: it is called behind a planned fault, too, and would be a call of its own for that.
    #[inline(always)]
    fn start<Q: Queue + ?Sized>(&mut self, op: Op, token: Token, queue: &mut Q) -> Started {
        let slot = match op {
            Op::Read { offset, buffer } => Slot::transfer(Work::Read, offset, buffer),
            Op::Write { offset, buffer, durable } => Slot::transfer(Work::Write { durable }, offset, buffer),
            // Nothing was written through this descriptor.
            Op::Flush if self.readonly => return Started::Done(Ok(())),
            Op::Flush => Slot { work: Work::Flush, ..Slot::IDLE },
            Op::Evict { offset, len } => {
                // The range is extended to whole folios: to drop more of what is cached harms nobody.
                let (start, end) = (offset - offset % FOLIO_BYTES, (offset + len).next_multiple_of(FOLIO_BYTES));
                Slot { work: Work::Evict, offset: start, len: end - start, ..Slot::IDLE }
            }
            Op::Discard { offset, len } => {
                Slot { work: Work::Clear(self.medium.way_to_zero(true)), offset, len, ..Slot::IDLE }
            }
            Op::Zero { offset, len } => {
                Slot { work: Work::Clear(self.medium.way_to_zero(false)), offset, len, ..Slot::IDLE }
            }
        };
        let index = token.0 as usize;
        if index >= self.slots.len() {
            if index >= MAX_TOKENS {
                return Started::Done(Err(MediumFault::Internal(libc::ERANGE)));
            }
            self.slots.resize((index + 1).next_power_of_two(), Slot::IDLE);
        }
        if self.slots[index].work != Work::Idle {
            return Started::Done(Err(MediumFault::Internal(libc::EBUSY)));
        }
        match self.advance(slot, token, queue) {
            Ok(()) => Started::Pending,
            Err(fault) => Started::Done(Err(fault)),
        }
    }

    #[inline(always)]
    fn complete<Q: Queue + ?Sized>(
        &mut self,
        token: Token,
        result: i32,
        queue: &mut Q,
    ) -> Option<Result<(), MediumFault>> {
        let Some(entry) = self.slots.get_mut(token.0 as usize) else {
            return Some(Err(MediumFault::Internal(libc::EINVAL)));
        };
        let mut slot = std::mem::replace(entry, Slot::IDLE);
        let outcome = if result < 0 {
            self.failed(&mut slot, result.saturating_neg())
        } else {
            self.succeeded(&mut slot, result)
        };
        if slot.lengthens() {
            self.size.note_write();
        }
        match outcome {
            None => self.advance(slot, token, queue).err().map(Err),
            Some(Ok(())) if slot.work == Work::Read && self.size.is_doubtful() => Some(self.confirm(queue.batch())),
            outcome => outcome,
        }
    }

    fn raw_fd(&self) -> Option<RawFd> {
        Some(self.medium.file.as_raw_fd())
    }

    fn set_registered(&mut self, index: u32) {
        self.registered = Some(index);
    }
}

impl FileHandle {
    fn new(medium: Arc<FileMedium>, size: Arc<Size>) -> Self {
        let readonly = medium.readonly;
        FileHandle { medium, size, readonly, registered: None, slots: vec![Slot::IDLE; FIRST_SLOTS], certain: 0 }
    }

    /// Makes sure that what a read has brought is what is stored (see `size.rs`): one look is enough for a batch of
    /// completions. The error: the file was cut short.
    fn confirm(&mut self, batch: u64) -> Result<(), MediumFault> {
        if self.certain == batch {
            return Ok(());
        }
        let bytes = self.size.bytes();
        if self.medium.is_known_shorter_than(bytes) {
            self.size.cut();
        }
        if self.size.is_lost() {
            return Err(MediumFault::Read);
        }
        self.certain = batch;
        Ok(())
    }

    /// The entry in flight came back with an error: `None` when there is another way to go on.
    fn failed(&mut self, slot: &mut Slot, errno: i32) -> Option<Result<(), MediumFault>> {
        let interrupted = matches!(errno, libc::EINTR | libc::EAGAIN);
        if interrupted && slot.retries < MAX_RETRIES {
            slot.retries += 1;
            return None;
        }
        match (slot.work, errno) {
            (Work::Idle, _) => return Some(Err(MediumFault::Internal(libc::EINVAL))),
            (Work::Clear(way @ (Way::Punch | Way::ZeroRange)), libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL) => {
                let (able, next) = match way {
                    Way::Punch => (&self.medium.punches, Way::ZeroRange),
                    _ => (&self.medium.zeroes_ranges, Way::Write),
                };
                // EINVAL is about this range (a device with larger blocks than ours), the others about the file.
                if errno != libc::EINVAL {
                    able.store(false, Ordering::Relaxed);
                }
                slot.work = Work::Clear(next);
                return None;
            }
            _ => {}
        }
        Some(Err(fault_of(errno, slot.direction())))
    }

    /// The entry in flight did something: `None` when more is to be done.
    fn succeeded(&mut self, slot: &mut Slot, result: i32) -> Option<Result<(), MediumFault>> {
        match slot.work {
            Work::Idle => return Some(Err(MediumFault::Internal(libc::EINVAL))),
            Work::Flush => return Some(Ok(())),
            // Such an entry does all or nothing, and its result is 0.
            Work::Evict | Work::Clear(Way::Punch | Way::ZeroRange) => slot.done += slot.asked,
            Work::Read | Work::Write { .. } | Work::Clear(Way::Write) => {
                let moved = u64::from(result.unsigned_abs());
                if moved > slot.asked {
                    return Some(Err(MediumFault::Internal(libc::EPROTO)));
                }
                let done = slot.done + moved;
                // Direct I/O goes on at an aligned offset: what is beyond the last one is moved again.
                let done = if done == slot.len {
                    done
                } else {
                    done / self.medium.io_align_bytes * self.medium.io_align_bytes
                };
                if done <= slot.done {
                    if slot.work == Work::Read
                        && slot.offset + slot.done + moved == self.medium.padding_at.load(Ordering::Relaxed)
                    {
                        return Some(pad(slot, moved));
                    }
                    if slot.work == Work::Read {
                        // The end of the file where there should be none: it was cut short under us.
                        self.size.cut();
                        return Some(Err(MediumFault::Read));
                    }
                    return Some(Err(MediumFault::Write));
                }
                slot.done = done;
            }
        }
        slot.retries = 0;
        (slot.done >= slot.len).then_some(Ok(()))
    }

    /// Pushes the entry for what is left of the operation, and keeps it in its slot.
    ///
    /// # Errors
    /// `MediumFault::Write`: the entry would hide that the file was cut short (see `size.rs`).
    fn advance<Q: Queue + ?Sized>(&mut self, mut slot: Slot, token: Token, queue: &mut Q) -> Result<(), MediumFault> {
        slot.asked = (slot.len - slot.done).min(match slot.work {
            Work::Evict | Work::Clear(Way::Punch | Way::ZeroRange) => MAX_RANGE_BYTES,
            Work::Clear(Way::Write) => (ZERO_PAGES * size_of::<Page>()) as u64,
            _ => MAX_ENTRY_BYTES,
        });
        if slot.lengthens() {
            let bytes = self.size.bytes();
            if slot.offset + slot.done + slot.asked >= bytes && self.medium.is_known_shorter_than(bytes) {
                self.size.cut();
                return Err(MediumFault::Write);
            }
            self.size.note_write();
        }
        let entry = self.entry(&slot);
        self.slots[token.0 as usize] = slot;
        queue.push(entry, token);
        Ok(())
    }

    /// The entry for `slot.asked` bytes from where the operation stands.
    fn entry(&self, slot: &Slot) -> Entry {
        let offset = slot.offset + slot.done;
        // `advance` has bounded `asked` by what is left of the buffer.
        let (ptr, len) = (slot.buffer.after(slot.done as usize).ptr(), slot.asked as u32);
        match (slot.work, slot.buffer.registered()) {
            (Work::Read, None) => on_file!(self, file => opcode::Read::new(file, ptr, len).offset(offset).build()),
            (Work::Read, Some(index)) => {
                on_file!(self, file => opcode::ReadFixed::new(file, ptr, len, index).offset(offset).build())
            }
            (Work::Write { durable }, None) => {
                let flags = if durable { libc::RWF_DSYNC } else { 0 };
                on_file!(self, file => opcode::Write::new(file, ptr, len).offset(offset).rw_flags(flags as _).build())
            }
            (Work::Write { durable }, Some(index)) => {
                let flags = if durable { libc::RWF_DSYNC } else { 0 };
                on_file!(self, file => {
                    opcode::WriteFixed::new(file, ptr, len, index).offset(offset).rw_flags(flags as _).build()
                })
            }
            (Work::Clear(Way::Write), _) => {
                let zeroes = ZEROES.as_ptr().cast::<u8>();
                on_file!(self, file => opcode::Write::new(file, zeroes, len).offset(offset).build())
            }
            (Work::Clear(way), _) => {
                let what = if way == Way::Punch { libc::FALLOC_FL_PUNCH_HOLE } else { libc::FALLOC_FL_ZERO_RANGE };
                let mode = what | libc::FALLOC_FL_KEEP_SIZE;
                on_file!(self, file => opcode::Fallocate::new(file, slot.asked).offset(offset).mode(mode).build())
            }
            (Work::Evict, _) => {
                let len = slot.asked as i64;
                on_file!(self, file => {
                    opcode::Fadvise::new(file, len, libc::POSIX_FADV_DONTNEED).offset(offset).build()
                })
            }
            (Work::Flush, _) => {
                on_file!(self, file => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build())
            }
            // `start` and `complete` never bring an idle slot here; an entry that does nothing is the harmless answer.
            (Work::Idle, _) => opcode::Nop::new().build(),
        }
    }
}

#[cfg(test)]
mod tests;
