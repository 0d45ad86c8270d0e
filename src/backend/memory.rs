//! The memory of a RAM unit: one anonymous mapping, shared by all cores through raw pointers.
//!
//! Soundness: no Rust reference to the mapping is ever made, here or by those who take [`Memory::pointer`]; bytes move by
//! pointer copies only, as they would by DMA. Two hosts that write one block at the same time, or read what another
//! writes, see torn data, as on any disk; they never see anything but bytes, for which every value is valid. Whoever
//! needs a stable image (a digest, a comparison) copies it out or holds the range first.
//!
//! The mapping reserves no swap and takes pages as they are first written, so a RAM unit is thin by nature; a machine
//! that promises more than it has ends by the kernel's out-of-memory killer, which is why opening one warns.

#![allow(unsafe_code)]

use super::error::{OpenError, SizeFault};
use super::queue::{Op, Started};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

/// Pages that one question for allocated blocks looks at, at most: the answer may stop early.
const PAGEMAP_SCAN_PAGES: usize = 65_536;

/// The mapping. Unmapped when the last handle and the medium are gone.
pub(super) struct Memory {
    start: NonNull<u8>,
    /// Bytes mapped: `size_bytes` rounded up to pages.
    mapped_bytes: usize,
    size_bytes: u64,
    /// The machine's page: what a discard gives back and /proc/self/pagemap describes.
    page_bytes: usize,
}

// SAFETY: the mapping belongs to no thread, and lives until `Memory` is dropped.
unsafe impl Send for Memory {}
// SAFETY: shared access is by pointer copies without references, see the module's word on soundness.
unsafe impl Sync for Memory {}

/// Keeps the memory of a RAM unit mapped, whatever becomes of the unit: whoever has the kernel look at it later holds one.
/// A hold belongs to one core and is counted there: to take and drop one moves no cache line between cores.
#[derive(Clone)]
#[allow(clippy::redundant_allocation, reason = "shared by cores, and counted by each of them for itself")]
pub struct MemoryHold(Rc<Arc<Memory>>);

impl MemoryHold {
    pub(super) fn new(memory: &Arc<Memory>) -> MemoryHold {
        MemoryHold(Rc::new(Arc::clone(memory)))
    }

    #[inline]
    pub(super) fn mapping(&self) -> &Memory {
        &self.0
    }

    /// Whether both are holds of the same handle, and so of the same memory.
    #[inline]
    pub fn is(&self, other: &MemoryHold) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Memory {
    /// Maps `size_bytes` of zeroes.
    pub(super) fn new(size_bytes: u64) -> Result<Self, OpenError> {
        let fault = SizeFault::TooLarge { bytes: size_bytes };
        let too_large = || OpenError::Size { what: "ram".to_owned(), fault };
        let bytes = usize::try_from(size_bytes).map_err(|_| too_large())?;
        let page_bytes = (sysconf(libc::_SC_PAGESIZE) as usize).max(4096);
        let mapped_bytes = bytes.checked_next_multiple_of(page_bytes).ok_or_else(too_large)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory that exists.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), mapped_bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        let start = match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => start,
            _ => return Err(OpenError::Memory { bytes: size_bytes, source: io::Error::last_os_error() }),
        };
        // Fewer page faults and TLB misses; a kernel without huge pages says EINVAL, which costs nothing.
        // SAFETY: exactly the mapping made above.
        unsafe { libc::madvise(start.as_ptr().cast(), mapped_bytes, libc::MADV_HUGEPAGE) };
        let memory = Memory { start, mapped_bytes, size_bytes, page_bytes };
        memory.warn_if_more_than_the_machine_has();
        Ok(memory)
    }

    fn warn_if_more_than_the_machine_has(&self) {
        let physical = sysconf(libc::_SC_PHYS_PAGES).saturating_mul(self.page_bytes as u64);
        if physical != 0 && self.size_bytes > physical {
            tracing::warn!(
                size_bytes = self.size_bytes,
                physical_bytes = physical,
                "a RAM unit is larger than the machine's memory; filling it will end this process"
            );
        }
    }

    /// First byte and length. Valid for as long as this `Memory`; never to be made a reference.
    pub(super) fn pointer(&self) -> (*mut u8, u64) {
        (self.start.as_ptr(), self.size_bytes)
    }

    /// Answers one operation. The range was checked by the caller (`Handle::start`).
    pub(super) fn start(&self, op: Op) -> Started {
        match op {
            Op::Read { offset, buffer } => {
                let from = self.at(offset);
                // SAFETY: the range is inside the mapping (checked by the caller), the buffer is valid for `len` bytes
                // (contract of `Buffer`). `copy` allows the two to overlap.
                unsafe { std::ptr::copy(from, buffer.ptr(), buffer.len()) };
            }
            Op::Write { offset, buffer, durable: _ } => {
                // SAFETY: as for a read, the other way round; an I/O buffer is never part of a medium.
                unsafe { self.store(buffer.ptr(), offset, buffer.len()) };
                super::stream::settle();
            }
            Op::Flush | Op::Evict { .. } => {}
            Op::Discard { offset, len } => self.discard(offset, len),
            Op::Zero { offset, len } => self.zero(offset, len),
        }
        Started::Done(Ok(()))
    }

    /// Copies `len` bytes to `offset`. Nobody is to be told that they are there before [`super::settle`].
    ///
    /// # Safety
    /// The range is inside the mapping; `from` is valid for `len` bytes and not part of it.
    #[inline]
    pub(super) unsafe fn store(&self, from: *const u8, offset: u64, len: usize) {
        /// A medium of at most this size may well be in a cache, and is written through it.
        const CACHEABLE_BYTES: u64 = 16 << 20;
        let to = self.at(offset);
        // SAFETY: the caller's promise.
        unsafe {
            if self.size_bytes > CACHEABLE_BYTES {
                super::stream::copy(from, to, len);
            } else {
                std::ptr::copy_nonoverlapping(from, to, len);
            }
        }
    }

    /// Pointer to a byte of the mapping. Wrapping, so that it is not unsafe by itself.
    fn at(&self, offset: u64) -> *mut u8 {
        debug_assert!(offset <= self.size_bytes);
        self.start.as_ptr().wrapping_add(offset as usize)
    }

    fn zero(&self, offset: u64, len: u64) {
        // SAFETY: the range is inside the mapping (checked by the caller).
        unsafe { self.at(offset).write_bytes(0, len as usize) };
    }

    /// Gives whole pages back and zeroes what is left at the edges.
    fn discard(&self, offset: u64, len: u64) {
        let page = self.page_bytes as u64;
        let end = offset + len;
        let first = offset.next_multiple_of(page);
        let last = end - end % page;
        if first >= last {
            return self.zero(offset, len);
        }
        self.zero(offset, first - offset);
        self.zero(last, end - last);
        // SAFETY: whole pages inside our own private anonymous mapping: they read as zeroes afterwards, and nobody holds
        // a reference to them.
        let failed = unsafe { libc::madvise(self.at(first).cast(), (last - first) as usize, libc::MADV_DONTNEED) };
        if failed != 0 {
            self.zero(first, last - first);
        }
    }

    /// Whether the page of `offset` is backed, and for how many bytes (at most `len`) that holds on.
    pub(super) fn backed(&self, offset: u64, len: u64) -> io::Result<(bool, u64)> {
        let pagemap = File::open("/proc/self/pagemap")?;
        let first_page = offset as usize / self.page_bytes;
        let end_page = (offset + len).div_ceil(self.page_bytes as u64) as usize;
        let base = self.start.as_ptr() as usize / self.page_bytes;
        let end_page = end_page.min(first_page + PAGEMAP_SCAN_PAGES);
        let mut entries = [0u8; 4096];
        let mut backed = None;
        let mut page = first_page;
        'scan: while page < end_page {
            let count = (end_page - page).min(entries.len() / 8);
            let window = &mut entries[..count * 8];
            pagemap.read_exact_at(window, (base + page) as u64 * 8)?;
            for entry in window.as_chunks::<8>().0 {
                let now = is_backed(u64::from_ne_bytes(*entry));
                if *backed.get_or_insert(now) != now {
                    break 'scan;
                }
                page += 1;
            }
        }
        let run = ((page * self.page_bytes) as u64).saturating_sub(offset).min(len);
        Ok((backed.unwrap_or(true), run))
    }
}

/// Whether a page of the mapping is backed, by its entry in /proc/self/pagemap. A page that was only ever read maps the
/// kernel's page of zeroes, which is never mapped by us alone.
fn is_backed(entry: u64) -> bool {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const OURS_ALONE: u64 = 1 << 56;
    entry & SWAPPED != 0 || entry & (PRESENT | OURS_ALONE) == PRESENT | OURS_ALONE
}

/// A number that the system knows of itself, by sysconf(3); 0: it does not know.
fn sysconf(name: libc::c_int) -> u64 {
    // SAFETY: no pointers.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).unwrap_or(0)
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made; the handles that copy from it hold this value alive.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped_bytes) };
    }
}
