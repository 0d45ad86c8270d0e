//! What a backend is asked, and how it asks the kernel.

use crate::model::MediumFault;

/// Names one operation in flight on a core: the shard's own number, handed back with the completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u32);

/// Memory of the caller: where a read puts its bytes, where a write takes them from.
///
/// Who makes one vouches that `ptr` is valid for reads and writes of `len` bytes, and that nobody else uses them, from
/// [`Handle::start`](super::Handle::start) until the operation's result was given.
#[derive(Debug, Clone, Copy)]
pub struct Buffer {
    /// First byte. Aligned to 4096 for files.
    pub ptr: *mut u8,
    /// Bytes.
    pub len: usize,
    /// Index of the registered buffer that contains it, if the arena is registered with the ring.
    pub registered: Option<u16>,
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
}
