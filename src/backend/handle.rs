//! One core's access to a medium: operations are started on it, and their completions handed back to it.

use super::contract::Hot;
use super::media::HandleKind;
use super::memory::MemoryHold;
use super::queue::{Op, Queue, Started, Token};
use super::size::Size;
use crate::model::MediumFault;
use std::os::fd::RawFd;
use std::sync::Arc;

/// One core's access to a [`Medium`](super::Medium). Neither `Send` nor `Sync`: its operations in flight belong to the
/// core's ring.
pub struct Handle {
    pub(super) kind: HandleKind,
    pub(super) size_bytes: Arc<Size>,
    /// Logical block length less one.
    pub(super) align_mask: u64,
    pub(super) readonly: bool,
}

impl Handle {
    /// Starts an operation. When it is `Pending`, every completion that the queue delivers for `token` goes to
    /// [`Handle::complete`], until that gives a result; the token is not used for another operation before.
    ///
    /// The buffer of `op` is valid for its length, and stays so until then (contract of [`Buffer`](super::Buffer)).
    // One function with what the kind does in it: measured, a call for each of the two costs 3 instructions more.
    #[inline(never)]
    pub fn start<Q: Queue + ?Sized>(&mut self, op: Op, token: Token, queue: &mut Q) -> Started {
        match self.check(&op) {
            Ok(true) => {}
            // Nothing to do is done.
            Ok(false) => return Started::Done(Ok(())),
            Err(fault) => return Started::Done(Err(fault)),
        }
        self.kind.start(op, token, queue)
    }

    /// Takes the completion of an entry that this handle pushed with `token`, or of a [`Remote`](super::Remote) of it;
    /// `result` is that of the kernel or of the thread.
    /// `None`: the operation was continued (short transfer, interruption, next step), another completion follows.
    #[inline(never)]
    pub fn complete<Q: Queue + ?Sized>(
        &mut self,
        token: Token,
        result: i32,
        queue: &mut Q,
    ) -> Option<Result<(), MediumFault>> {
        self.kind.complete(token, result, queue)
    }

    /// Writes `bytes` to `offset` of a RAM medium at once; [`settle`](super::settle) is to be called before anybody is
    /// told that they are written. False: nothing is written, because the medium is no memory, is read-only, or does
    /// not contain the range; [`Handle::start`] says why.
    #[inline]
    pub fn write_in_place(&self, offset: u64, bytes: &[u8]) -> bool {
        let Some(hold) = self.kind.memory() else { return false };
        let end = offset.checked_add(bytes.len() as u64);
        if self.readonly || end.is_none_or(|end| end > self.size_bytes.bytes()) {
            return false;
        }
        // SAFETY: inside, as just checked; a slice is never part of a medium, to which no reference is ever made.
        #[allow(unsafe_code)]
        unsafe {
            hold.mapping().store(bytes.as_ptr(), offset, bytes.len());
        }
        true
    }

    /// Reads from `offset` of a RAM medium at once. False: nothing is read, because the medium is no memory, or does not
    /// contain the range.
    pub fn read_in_place(&self, offset: u64, into: &mut [u8]) -> bool {
        let Some((start, size)) = self.memory() else { return false };
        if offset.checked_add(into.len() as u64).is_none_or(|end| end > size) {
            return false;
        }
        // SAFETY: inside, as just checked; a slice is never part of a medium, to which no reference is ever made.
        #[allow(unsafe_code)]
        unsafe {
            start.wrapping_add(offset as usize).copy_to_nonoverlapping(into.as_mut_ptr(), into.len());
        }
        true
    }

    /// Of a RAM medium only: a pointer to its first byte and its length in bytes, to copy from directly. The pointer is
    /// valid while the handle lives; whoever has the memory looked at later takes a [`Handle::hold`] besides.
    ///
    /// Bytes behind it change under the reader when another core writes: never make a Rust reference to them.
    #[inline]
    pub fn memory(&self) -> Option<(*mut u8, u64)> {
        let (start, mapped) = self.kind.memory()?.mapping().pointer();
        Some((start, mapped.min(self.size_bytes.bytes())))
    }

    /// RAM only: what keeps the memory of [`Handle::memory`] where it is.
    #[inline]
    pub fn hold(&self) -> Option<&MemoryHold> {
        self.kind.memory()
    }

    /// The descriptor behind this handle, for registering it with the core's ring.
    pub fn raw_fd(&self) -> Option<RawFd> {
        self.kind.raw_fd()
    }

    /// From now on entries name the file that is registered at `index` with this core's ring.
    pub fn set_registered(&mut self, index: u32) {
        self.kind.set_registered(index);
    }

    /// Checks an operation before it begins; false: there is nothing to do. The error: its range is not inside the
    /// medium or not of whole blocks, the medium is read-only, or its file was cut short.
    fn check(&self, op: &Op) -> Result<bool, MediumFault> {
        let (offset, len, modifies) = match *op {
            Op::Read { offset, buffer } => (offset, buffer.len() as u64, false),
            Op::Write { offset, buffer, .. } => (offset, buffer.len() as u64, true),
            Op::Flush => return Ok(true),
            Op::Evict { offset, len } => (offset, len, false),
            Op::Discard { offset, len } | Op::Zero { offset, len } => (offset, len, true),
        };
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.size_bytes.bytes());
        if !inside || (offset | len) & self.align_mask != 0 {
            // The caller's range check is broken: nothing is touched.
            return Err(MediumFault::Internal(libc::EINVAL));
        }
        if modifies && self.readonly {
            return Err(MediumFault::Protected);
        }
        self.size_bytes.admit(modifies)?;
        Ok(len != 0)
    }
}
