//! How large a medium is, and whether its file still has all of it.
//!
//! A file that somebody cuts short while it is served ends before its blocks do. A write behind its new end makes it
//! longer again, and what is gone would read as zeroes, with GOOD. That does not happen, for:
//!
//! - Once cut, the file stays shorter than the medium, whatever is written: only a write that reaches the medium's end could
//!   change that, and each such write looks at the length first. So every later look finds the cut.
//! - The result of a read from a file that is being written is given only after such a look (`file.rs`): one look for
//!   all reads whose completions came together. A hole that a write has left behind a cut is thus never taken for data.
//! - `Medium::look` is called now and then, for cuts of what nobody reads.
//!
//! Once a cut is noticed, nothing more is written. What is left is read as long as nothing was written since the file was
//! whole; where something was, anything may be a hole, and nothing is read.
//!
//! What remains: a write that reaches the end looks at the length first, and a cut between that look and the write is
//! not noticed. And on a network file system a look knows of what other machines do as late as this machine's kernel
//! does.

use crate::model::MediumFault;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// A size that every operation is compared with, and that next to never changes: on a cache line of its own.
#[repr(align(64))]
pub(super) struct Size {
    bytes: AtomicU64,
    /// [`WHOLE`], [`CUT`] or [`LOST`].
    state: AtomicU8,
    /// A write that may lengthen the file has begun or ended since the last [`super::Medium::look`].
    written: AtomicBool,
    /// Such a write has begun or ended between the last look and the one before it.
    written_before: AtomicBool,
}

const WHOLE: u8 = 0;
/// The file was cut short and not written since it was whole. Writes are refused; reads find the end themselves.
const CUT: u8 = 1;
/// The file was cut short and may have been written since: anything may be a hole. Reads and writes are refused.
const LOST: u8 = 2;

impl Size {
    pub(super) fn new(bytes: u64) -> Size {
        Size {
            bytes: AtomicU64::new(bytes),
            state: AtomicU8::new(WHOLE),
            written: AtomicBool::new(false),
            written_before: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_whole(&self) -> bool {
        self.state.load(Ordering::Relaxed) == WHOLE
    }

    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.state.load(Ordering::Relaxed) == LOST
    }

    /// Notes that the file ends where it should not.
    pub(super) fn cut(&self) {
        let state = if self.is_written() { LOST } else { CUT };
        self.state.fetch_max(state, Ordering::Relaxed);
    }

    fn is_written(&self) -> bool {
        self.written.load(Ordering::Relaxed) || self.written_before.load(Ordering::Relaxed)
    }

    /// Whether what was read may be a hole that a write has left.
    #[inline]
    pub(super) fn is_doubtful(&self) -> bool {
        self.is_written() || self.is_lost()
    }

    /// Notes that a write begins or has ended. One that ends after a cut was noticed may have left a hole all the same.
    #[inline]
    pub(super) fn note_write(&self) {
        if !self.written.load(Ordering::Relaxed) || !self.is_whole() {
            self.written.store(true, Ordering::Relaxed);
            if !self.is_whole() {
                self.state.fetch_max(LOST, Ordering::Relaxed);
            }
        }
    }

    /// Notes a [`super::Medium::look`]. Writes are forgotten with the second look after them: what had begun before the
    /// first may have ended after it.
    pub(super) fn age(&self) {
        let written = self.written.swap(false, Ordering::Relaxed);
        self.written_before.store(written, Ordering::Relaxed);
    }

    /// Whether an operation may begin; `modifies`: it changes the medium. The error: the file was cut short.
    #[inline]
    pub(super) fn admit(&self, modifies: bool) -> Result<(), MediumFault> {
        if self.is_whole() { Ok(()) } else { self.refuse(modifies) }
    }

    #[cold]
    fn refuse(&self, modifies: bool) -> Result<(), MediumFault> {
        match modifies {
            true => Err(MediumFault::Write),
            false if self.is_lost() => Err(MediumFault::Read),
            false => Ok(()),
        }
    }
}
