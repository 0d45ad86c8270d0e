//! What a medium is: the contract of every kind, and all that is to be read to write another one.
//!
//! A kind of medium is one file here and one row in `media.rs`. The file has two types:
//!
//! - the [`Cold`] half: one for each logical unit of the process, shared by all threads. It opens, measures, grows and
//!   syncs. Its methods **may block** as long as they like, for no core calls them: the threads `ringsan-open`, `-beside`,
//!   `-sync`, `-look` and `-errand` do (`docs/architecture.md`), several at a time. The few that a core does call, when it
//!   takes a unit over or is about to discard, say so, and answer from memory;
//! - the [`Hot`] half: one for each unit **and core**, made on that core, used by it alone and dropped there. It **must not
//!   block**, and is not to allocate once it has warmed up: all connections of the core wait for each call.
//!
//! A kind that a configuration can name is [`Configured`] besides.
//!
//! # An operation
//!
//! 1. The core calls [`Hot::start`] with an [`Op`] and a [`Token`]. Its range was checked: inside the medium, of whole blocks,
//!    not empty (but for a flush, which has none); nothing that modifies comes to a medium that is read-only.
//! 2. The answer is [`Started::Done`], and it is over; or [`Started::Pending`], and exactly one way is under way by which
//!    the core will hear of the token again:
//!    - an entry on the core's ring ([`Queue::push`]), for what the kernel does; its result is the kernel's, an errno less
//!      than zero if it failed;
//!    - a [`Remote`](super::Remote) that another thread has ([`WayIn::remote`]), for what anybody else does. Its result is
//!      whatever the thread gives; if the thread drops it instead, `-EIO`.
//! 3. The core hands each of them to [`Hot::complete`], in its own time, on its own thread. `None`: there is more to
//!    come, for entries or remotes of this token are still out (the rest of a short transfer, another try, the other leg of a
//!    mirror). `Some`: it is over, none is out any more, and the token may come again with another operation.
//!
//! Tokens are small and dense, so that a vector can have them as its index, but up to 65,535. Many are under way at a time,
//! of one handle and of the handles of all cores. An operation may take for ever: the core goes on without it, and keeps
//! its buffer.
//!
//! # The buffer
//!
//! It is the core's, aligned to 4096 bytes, of whole blocks, and valid until the operation is over by step 2 or 3: then
//! nobody may touch it any more, no kernel and no thread. A read fills all of it or fails. A write does not change it;
//! the same memory may be the buffer of several writes at a time.
//!
//! # Order
//!
//! None between operations under way, of the same range either: whoever wants one waits for the first before it starts the
//! second, or holds the range (`unit/fence.rs`). A write that is over is seen by every read that starts later, on any
//! core. A flush makes durable what was over before it started, on any core; `durable` does that for one write. A medium
//! that says `volatile_cache: false` is never flushed.
//!
//! # Faults
//!
//! One function maps an errno (`errno.rs`). A failed operation may have been done in part, but never outside of its
//! range. A failure to make earlier writes durable is told once, to any flush or durable write; whoever is told passes it
//! on to all hosts. `MediumFault::Internal` is for what cannot be, `Unsupported` for what this medium does not have: a
//! discard is never that, since zeroes can be written ([`Op::Discard`]). Interruptions and short transfers are not
//! faults, but continued inside. Whatever a store answers, nothing here may panic: lengths and offsets that come from
//! outside are compared before they are used.
//!
//! # Proof
//!
//! `conformance::suite` tries all of this; the tests of a new medium call it.

use super::error::OpenError;
use super::memory::MemoryHold;
use super::properties::{Fit, Properties};
use super::queue::{Op, Queue, Started, Token};
use super::remote::WayIn;
use super::size::Size;
use super::verdict::{Identity, Remark, given_size};
use crate::model::{Backing, LunSpec, MediumFault, Space};
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;

/// What a core gives a hot half on its way.
pub(super) struct AtCore<'a> {
    /// The size of the medium at present.
    pub(super) size: &'a Arc<Size>,
    /// The way in for completions of other threads.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the medium of the tests has threads of its own so far"))]
    pub(super) way_in: &'a WayIn,
}

/// The cold half of a medium: everything but its operations. All of it may block, unless it says otherwise.
///
/// What most media have nothing to say to has an answer here: that of a medium of a fixed size in memory.
pub(super) trait Cold: Send + Sync {
    /// Its hot half.
    type Hot: Hot;

    /// The hot half for the core that calls this. Does not block.
    fn hot(self: &Arc<Self>, at: &AtCore) -> Self::Hot;

    /// Makes everything durable that was written.
    ///
    /// # Errors
    /// What is not on the medium now may be lost.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// The size that `spec`, which names this medium, asks for now, bytes, as far as can be told without growing.
    ///
    /// # Errors
    /// Why that size cannot be had.
    fn asked(&self, spec: &LunSpec, _size: &Size) -> Result<u64, OpenError> {
        given_size(spec)
    }

    /// As [`Cold::asked`], and what can grow grows: durably with the next [`Cold::sync`].
    ///
    /// # Errors
    /// Why that size cannot be had.
    fn fit(&self, spec: &LunSpec, size: &Size) -> Result<Fit, OpenError> {
        Ok(Fit { bytes: self.asked(spec, size)?, grown_from: None })
    }

    /// Takes a growth back that nobody was told of.
    ///
    /// # Errors
    /// What the system says.
    fn ungrow(&self, _fit: &Fit) -> io::Result<()> {
        Ok(())
    }

    /// Takes back what opening has done to what is at `path`, and nobody was told of.
    ///
    /// # Errors
    /// What the system says.
    fn undo(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Whether opening it has made something longer that was there. Does not block.
    fn has_grown(&self) -> bool {
        false
    }

    /// Whether all of it is still there. If not, `size` notes that ([`Size::cut`]).
    fn is_whole(&self, size: &Size) -> bool {
        size.is_whole()
    }

    /// Whether `path` names what is open here.
    fn is_at(&self, _path: &Path) -> bool {
        true
    }

    /// Whether `path` names another store that is recognised by the same mark.
    fn has_double(&self, _path: &Path) -> bool {
        false
    }

    /// What the store is recognised by, the next time that the process runs; `None`: by its place in the configuration,
    /// since nothing of it outlives the process.
    fn backing(&self, _spec: &LunSpec) -> Option<Backing> {
        None
    }

    /// Whether what is in it outlives the process. Does not block.
    fn lasts(&self) -> bool {
        false
    }

    /// Whether it is a regular file. A core asks: answered from memory.
    fn is_regular_file(&self) -> bool {
        false
    }

    /// Whether it may cease to answer while it is served. A core asks: answered from memory.
    fn can_be_lost(&self) -> bool {
        self.lasts()
    }

    /// What it takes up and what there is left for it; `None`: nobody can tell.
    ///
    /// # Errors
    /// What the system says.
    fn space(&self) -> io::Result<Option<Space>> {
        Ok(None)
    }

    /// Whether some of a range is in a cache of this machine, where a read finds it instead of on the medium; `None`:
    /// nobody can tell. A core asks: it may take as long as the range has pages, but waits for nothing.
    fn is_cached(&self, _offset: u64, _len: u64) -> Option<bool> {
        Some(false)
    }

    /// Whether the block at `offset` has storage of its own, and for how many bytes that goes on: at least a block, at
    /// most `len`. The range was checked. Who cannot tell says that it has.
    ///
    /// # Errors
    /// What the system says.
    fn allocated(&self, _offset: u64, len: u64, _block_bytes: u32, _size: &Size) -> io::Result<(bool, u64)> {
        Ok((true, len))
    }
}

/// The hot half of a medium: the operations of one core. Nothing here blocks, and nothing is called by another thread. How
/// they go together is in the head of this file.
pub(super) trait Hot {
    /// Starts an operation whose range was checked.
    fn start<Q: Queue + ?Sized>(&mut self, op: Op, token: Token, queue: &mut Q) -> Started;

    /// Takes what an entry or a remote of `token` came to. `None`: more of them are out.
    ///
    /// What comes without having been asked for is answered with a fault: for a medium that is never `Pending`, all.
    #[inline]
    fn complete<Q: Queue + ?Sized>(
        &mut self,
        _token: Token,
        _result: i32,
        _queue: &mut Q,
    ) -> Option<Result<(), MediumFault>> {
        Some(Err(MediumFault::Internal(libc::EINVAL)))
    }

    /// The memory that it is, if it is memory of this process: reads are sent from there, and writes copied to it, without
    /// an operation.
    #[inline]
    fn memory(&self) -> Option<&MemoryHold> {
        None
    }

    /// The descriptor that its entries name, for registering it with the core's ring.
    fn raw_fd(&self) -> Option<RawFd> {
        None
    }

    /// From now on entries name the file that is registered at `index`.
    fn set_registered(&mut self, _index: u32) {}
}

/// What the `path` of a logical unit of some kind means in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathIs {
    /// There is none.
    Nothing,
    /// That of a file or device, relative to where the configuration is.
    File,
    /// A name that the medium knows what to do with.
    Name,
}

/// A medium that has just been opened: its cold half, and what is true of it.
pub(super) type Opened<C> = (C, Properties);

/// A cold half that a configuration can name.
pub(super) trait Configured: Cold + Sized {
    /// What `path` is in its configuration.
    const PATH: PathIs;
    /// Its size is what the configuration says; else it has one of its own.
    const NEEDS_SIZE: bool = false;

    /// Opens it, for this process alone if it lasts. The block length was checked, the size not.
    ///
    /// # Errors
    /// Why it cannot be had, and what to do about it. What there was is as it was.
    fn open(spec: &LunSpec) -> Result<Opened<Self>, OpenError>;

    /// What [`Configured::open`] would come to, as far as can be told by looking: for `ringsan check` and the start, before
    /// anything is made. It changes nothing and keeps nobody from having the medium. What it decides, `open` decides by
    /// the same functions. What the medium is recognised by, if it could be served twice.
    ///
    /// # Errors
    /// Why it could not be had.
    fn look(spec: &LunSpec) -> Result<Option<Identity>, OpenError> {
        if Self::NEEDS_SIZE {
            given_size(spec)?;
        }
        Ok(None)
    }

    /// What is worth a word of one that can be had, for `ringsan check`.
    fn remarks(_spec: &LunSpec) -> Vec<Remark> {
        Vec::new()
    }
}
