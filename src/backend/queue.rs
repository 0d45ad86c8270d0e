//! What a backend is asked, and how it asks the kernel.

use crate::model::MediumFault;

/// Names one operation in flight on a core: the shard's own number, handed back with the completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u32);

/// Memory of the caller: where a read puts its bytes, where a write takes them from. Pointer and length belong together:
/// once made, it can become shorter, but not longer.
#[derive(Debug, Clone, Copy)]
pub struct Buffer {
    ptr: *mut u8,
    len: usize,
    registered: Option<u16>,
}

impl Buffer {
    /// No memory at all.
    pub const NONE: Buffer = Buffer { ptr: std::ptr::null_mut(), len: 0, registered: None };

    /// A piece of memory, aligned to 4096 for files. `registered`: index of the registered buffer that contains it, if the
    /// memory is registered with the ring.
    ///
    /// # Safety
    /// `ptr` is valid for reads and writes of `len` bytes, and nobody else uses them, from
    /// [`Handle::start`](super::Handle::start) until the operation's result was given.
    #[inline]
    #[allow(unsafe_code)]
    pub const unsafe fn new(ptr: *mut u8, len: usize, registered: Option<u16>) -> Buffer {
        Buffer { ptr, len, registered }
    }

    /// First byte.
    #[inline]
    pub fn ptr(&self) -> *mut u8 {
        self.ptr
    }

    /// Bytes.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "an operation on no bytes is done without looking")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Index of the registered buffer that contains it.
    #[inline]
    pub fn registered(&self) -> Option<u16> {
        self.registered
    }

    /// `len` bytes of it from `at` on, if it has them.
    #[inline]
    #[must_use]
    pub fn part(self, at: usize, len: usize) -> Option<Buffer> {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        inside.then(|| Buffer { ptr: self.ptr.wrapping_add(at), len, registered: self.registered })
    }

    /// Fills it with zeroes. For a medium, while an operation has the buffer: nobody else uses it then.
    #[allow(unsafe_code)]
    pub(super) fn zero(&self) {
        // SAFETY: the contract of `new`: `ptr` is valid for writes of `len` bytes (of `NONE` there are none), and nobody
        // else uses them until the result of the operation was given.
        unsafe { self.ptr.write_bytes(0, self.len) };
    }

    /// Puts `bytes` into it, as many as it has room for. For a medium, while an operation has the buffer.
    #[cfg(test)]
    #[allow(unsafe_code)]
    pub(super) fn fill(&self, bytes: &[u8]) {
        // SAFETY: as in `zero`; a slice is never part of a buffer, to which no reference is made meanwhile.
        unsafe { self.ptr.copy_from_nonoverlapping(bytes.as_ptr(), self.len.min(bytes.len())) };
    }

    /// Copies what is in it to `bytes`, as many as there are. For a medium, while an operation has the buffer.
    #[cfg(test)]
    #[allow(unsafe_code)]
    pub(super) fn copy_to(&self, bytes: &mut [u8]) {
        // SAFETY: `ptr` is valid for reads of `len` bytes, and nobody writes them until the result of the operation was
        // given (contract of `new`); a slice is never part of a buffer.
        unsafe { self.ptr.copy_to_nonoverlapping(bytes.as_mut_ptr(), self.len.min(bytes.len())) };
    }

    /// The part of it behind its first `bytes` bytes. That names no registered buffer.
    #[must_use]
    pub fn after(self, bytes: usize) -> Buffer {
        let bytes = bytes.min(self.len);
        Buffer { ptr: self.ptr.wrapping_add(bytes), len: self.len - bytes, registered: None }
    }
}

/// One operation on a medium. Offsets and lengths in bytes, multiples of the logical block length.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// Fill the buffer.
    Read {
        /// First byte on the medium.
        offset: u64,
        /// Where the bytes go.
        buffer: Buffer,
    },
    /// Write the buffer.
    Write {
        /// First byte on the medium.
        offset: u64,
        /// Where the bytes come from.
        buffer: Buffer,
        /// On the medium before it completes: FUA.
        durable: bool,
    },
    /// All writes that completed before this was started become durable.
    Flush,
    /// Drop what is cached of the range, so that the next read comes from the medium: as far as it is clean, and nobody
    /// else holds it. Nothing to do where there is no page cache.
    Evict {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Give the range back; it reads as zeroes afterwards. Parts that cannot be given back are zeroed.
    Discard {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Zero the range and keep it allocated.
    Zero {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
}

/// How an operation began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It is done already.
    Done(Result<(), MediumFault>),
    /// Its completion comes with this operation's token.
    Pending,
}

/// The submission side of a core's ring, as a backend needs it. The shard implements it; so does a small blocking ring
/// in the tests.
pub trait Queue {
    /// Queues an entry; it is submitted at the end of the turn. `token` comes back with its result. The entry's
    /// user_data is set here. Never fails: a full queue is submitted first.
    fn push(&mut self, entry: io_uring::squeue::Entry, token: Token);
    /// The number of the batch of completions that is being handed out, from 1 on. All of a batch was there before its
    /// first completion was handed out.
    fn batch(&self) -> u64;
}

impl<Q: Queue + ?Sized> Queue for &mut Q {
    #[inline]
    fn push(&mut self, entry: io_uring::squeue::Entry, token: Token) {
        (**self).push(entry, token);
    }

    #[inline]
    fn batch(&self) -> u64 {
        (**self).batch()
    }
}
