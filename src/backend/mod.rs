//! Where blocks live. Knows bytes and offsets, not SCSI or iSCSI.
//!
//! A [`Medium`] is opened once for the process and gives each core a [`Handle`]. Operations are started on a handle;
//! memory answers at once, files push entries on the core's ring (through [`Queue`]) and answer when their completion is
//! handed back with [`Handle::complete`].
//!
//! Contract, proven for every kind by `conformance.rs`:
//! - offsets and lengths are multiples of the logical block length and inside the medium: the caller (the device server)
//!   has checked them; a backend asserts it all the same and answers `MediumFault::Internal` rather than touch other bytes;
//! - a write is visible to every later read of any handle once it has completed; it is durable once it completed with
//!   `durable`, or once a flush that was started after it completed has completed;
//! - what could not be made durable is told once, to whichever flush or durable write asks next: it may have been written
//!   by anybody, and whoever asked passes it on;
//! - a completed discard reads as zeroes; so does a completed zeroing;
//! - a CD-ROM's image is followed by zeroes up to a whole block;
//! - short transfers are continued inside; interrupted ones (EINTR, EAGAIN) retried;
//! - buffers belong to the caller, who keeps them alive until the operation's completion was handed back.
//!
//! It does not cut large operations for fairness (the shard does), nor order or lock overlapping ones.

mod create;
mod errno;
mod error;
mod fault;
mod file;
mod mark;
mod null;
mod open;
pub mod queue;
mod ram;
mod size;
mod stream;
mod sys;
mod sysfs;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod testing;

pub use error::OpenError;
pub use fault::{FaultAction, FaultPlan, FaultRule, OpClass};
pub use queue::{Buffer, Op, Queue, Started, Token};
pub use ram::MemoryHold;
pub use stream::{prefetch, settle};

use crate::model::{Backing, LunKind, LunSpec, MediumFault, Space};
use size::Size;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;

/// What stores the blocks of one logical unit: opened once for the process, shared by all cores.
///
/// Holds the lock on the file or device until it and its handles are dropped, and every ring that the file was registered
/// with has unregistered it: a ring keeps its files open, and the kernel tears rings down at its leisure.
pub struct Medium {
    kind: Kind,
    /// Those that it was opened with; its size may have changed since.
    properties: Properties,
    /// Bytes, shared with the handles.
    size_bytes: Arc<Size>,
    block_bytes: u32,
    readonly: bool,
    begun: open::Begun,
}

/// A path as a store is recognised by it: of a device it is the name that it was given, not the one that it has for the
/// moment.
pub fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

enum Kind {
    File(Arc<file::FileMedium>),
    Ram(Arc<ram::Memory>),
    Null,
    Fault { inner: Arc<Medium>, plan: Arc<FaultPlan> },
}

/// What [`Medium::fit`] comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// The size that the medium can have now.
    pub bytes: u64,
    /// The length of its file before that grew.
    grown_from: Option<u64>,
}

impl Fit {
    /// Its file has grown, which is to be made durable.
    pub fn has_grown(&self) -> bool {
        self.grown_from.is_some()
    }
}

/// What is true of a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// Size in bytes, a multiple of the logical block length.
    pub size_bytes: u64,
    /// A discard gives space back (and is not merely written as zeroes).
    pub discard: bool,
    /// The unit that is given back, in bytes, a multiple of the logical block length; of no meaning without `discard`.
    pub discard_granularity_bytes: u32,
    /// A file that does not have all of its space yet: a write can find no room.
    pub sparse: bool,
    /// Completed writes may be lost with the power until a flush: WCE.
    pub volatile_cache: bool,
    /// A disk that turns.
    pub rotational: bool,
    /// O_DIRECT is in use.
    pub direct: bool,
    /// Offsets and lengths of transfers are multiples of this, in bytes; at most the logical block length.
    pub io_align_bytes: u32,
    /// Buffers are aligned to this, in bytes.
    pub mem_align_bytes: u32,
}

impl Medium {
    /// Opens what a configuration names, and locks it. Blocking.
    ///
    /// A missing file is created when the size is given and `create` says so (its directory is not); a smaller regular file
    /// grows to its size, durably with the next [`Medium::sync`].
    pub fn open(spec: &LunSpec) -> Result<Medium, OpenError> {
        let block_bytes = spec.block_bytes;
        let possible: &[u32] = if spec.cdrom { &[2048] } else { &[512, 4096] };
        if !possible.contains(&block_bytes) {
            return Err(OpenError::BlockLength { bytes: block_bytes });
        }
        let mut begun = open::Begun::default();
        let (kind, properties) = match &spec.kind {
            LunKind::File(path) => {
                let (file, properties, made) = open::open(path, spec, open::Caching::DirectIfPossible)?;
                begun = made;
                (Kind::File(Arc::new(file)), properties)
            }
            LunKind::Ram => {
                let size_bytes = open::given_size(spec, "ram")?;
                (Kind::Ram(Arc::new(ram::Memory::new(size_bytes)?)), Properties::of_memory(size_bytes))
            }
            LunKind::Null => {
                let size_bytes = open::given_size(spec, "null")?;
                let properties =
                    Properties { discard_granularity_bytes: block_bytes, ..Properties::of_memory(size_bytes) };
                (Kind::Null, properties)
            }
        };
        let size_bytes = Arc::new(Size::new(properties.size_bytes));
        Ok(Medium { kind, properties, size_bytes, block_bytes, readonly: spec.readonly, begun })
    }

    /// Takes back what [`Medium::open`] has done to the file at `path`, of which nobody was told: one that was made is removed, one
    /// that has grown has its length again. Blocking.
    ///
    /// # Errors
    /// What the system says.
    pub fn undo(&self, path: &Path) -> io::Result<()> {
        match &self.kind {
            Kind::File(medium) => self.begun.undo(medium.file(), path),
            Kind::Fault { inner, .. } => inner.undo(path),
            Kind::Ram(_) | Kind::Null => Ok(()),
        }
    }

    /// Whether [`Medium::open`] has made a file longer that was there.
    pub fn has_grown(&self) -> bool {
        match &self.kind {
            Kind::Fault { inner, .. } => inner.has_grown(),
            _ => self.begun.has_grown(),
        }
    }

    /// A medium of no bytes.
    pub fn none() -> Medium {
        Medium {
            kind: Kind::Null,
            properties: Properties { discard_granularity_bytes: 512, ..Properties::of_memory(0) },
            size_bytes: Arc::new(Size::new(0)),
            block_bytes: 512,
            readonly: true,
            begun: open::Begun::default(),
        }
    }

    /// The size that `spec`, which names this medium, asks for now. A regular file that is smaller grows to it, durably with
    /// the next [`Medium::sync`]; what is served stays as it is until [`Medium::set_size`]. Blocking.
    ///
    /// # Errors
    /// Why that size cannot be had.
    pub fn fit(&self, spec: &LunSpec) -> Result<Fit, OpenError> {
        match (&self.kind, &spec.kind) {
            (Kind::File(file), LunKind::File(path)) if self.is_whole() => open::fit(file, path, spec),
            (Kind::Fault { inner, .. }, _) => inner.fit(spec),
            _ => Ok(Fit { bytes: self.asked(spec)?, grown_from: None }),
        }
    }

    /// What [`Medium::fit`] would come to, as far as can be told without growing, in bytes. Blocking.
    ///
    /// # Errors
    /// Why that size cannot be had.
    pub fn asked(&self, spec: &LunSpec) -> Result<u64, OpenError> {
        match (&self.kind, &spec.kind) {
            // It would be made longer, and what is gone read as zeroes.
            (Kind::File(_), _) if !self.is_whole() => Ok(self.properties().size_bytes),
            (Kind::File(file), LunKind::File(path)) => open::asked(file, path, spec),
            (Kind::Ram(memory), _) => match open::given_size(spec, "ram")? {
                bytes if bytes > memory.pointer().1 => Err(OpenError::Fixed { what: "ram" }),
                bytes => Ok(bytes),
            },
            (Kind::Null, _) => open::given_size(spec, "null"),
            (Kind::Fault { inner, plan }, _) => {
                plan.wait_for_look();
                inner.asked(spec)
            }
            (Kind::File(_), _) => Ok(self.properties().size_bytes),
        }
    }

    /// Gives back what a file has grown by, of which nobody was told. Blocking.
    ///
    /// # Errors
    /// What the system says.
    pub fn ungrow(&self, fit: &Fit) -> io::Result<()> {
        match (&self.kind, fit.grown_from) {
            (Kind::File(file), Some(from)) => file.file().set_len(from),
            (Kind::Fault { inner, .. }, _) => inner.ungrow(fit),
            _ => Ok(()),
        }
    }

    /// Whether `path` names what is open here. No file is one that has no name any more, or whose name another file has now:
    /// what is written to it is gone when it is closed. Blocking.
    pub fn is_at(&self, path: &Path) -> bool {
        match &self.kind {
            Kind::File(medium) => open::is_at(medium.file(), path),
            Kind::Ram(_) | Kind::Null => true,
            Kind::Fault { inner, .. } => inner.is_at(path),
        }
    }

    /// What is in it outlives the process.
    pub fn lasts(&self) -> bool {
        match &self.kind {
            Kind::File(_) => true,
            Kind::Ram(_) | Kind::Null => false,
            Kind::Fault { inner, .. } => inner.lasts(),
        }
    }

    /// It is a file, not a device or memory: holes in it are made by a thread of the kernel's, one at a time.
    pub fn is_regular_file(&self) -> bool {
        match &self.kind {
            Kind::File(medium) => medium.is_regular(),
            Kind::Ram(_) | Kind::Null => false,
            Kind::Fault { inner, .. } => inner.is_regular_file(),
        }
    }

    /// What this store of the unit `spec` of a target is recognised by. A drive for discs is recognised as a drive: its
    /// image is nothing of its own. Blocking.
    pub fn backing(&self, spec: &LunSpec, target: &str) -> Backing {
        let place = |what| Backing { path: format!("({what} {} of {target})", spec.number), mark: None, lasts: false };
        match (&self.kind, &spec.kind) {
            _ if spec.cdrom => place("drive"),
            (Kind::File(medium), LunKind::File(path)) => {
                Backing { path: absolute(path), mark: mark::of(medium.file()), lasts: true }
            }
            (Kind::Fault { inner, .. }, _) => inner.backing(spec, target),
            _ => place("memory"),
        }
    }

    /// Whether another store than this one is at `path` and has its mark, as the files of a snapshot have. Blocking.
    pub fn has_double(&self, path: &Path) -> bool {
        match &self.kind {
            _ if self.is_at(path) => false,
            Kind::File(medium) => {
                let both = mark::of(medium.file()).zip(mark::at(path));
                both.is_some_and(|(own, other)| mark::are_doubles(&own, &other))
            }
            Kind::Fault { inner, .. } => inner.has_double(path),
            Kind::Ram(_) | Kind::Null => false,
        }
    }

    /// From now on it has this size, as [`Medium::fit`] has answered it: no operation begins beyond.
    pub fn set_size(&self, bytes: u64) {
        self.size_bytes.set(bytes);
    }

    /// The same medium, with faults as planned. For tests and drills.
    pub fn with_faults(inner: Arc<Medium>, plan: FaultPlan) -> Medium {
        let (properties, block_bytes, readonly) = (inner.properties, inner.block_bytes, inner.readonly);
        let size_bytes = Arc::clone(&inner.size_bytes);
        let kind = Kind::Fault { inner, plan: Arc::new(plan) };
        Medium { kind, properties, size_bytes, block_bytes, readonly, begun: open::Begun::default() }
    }

    /// What is true of this medium.
    pub fn properties(&self) -> Properties {
        Properties { size_bytes: self.size_bytes.bytes(), ..self.properties }
    }

    /// Every completed write is durable already, or nothing ever is: flushes and FUA change nothing.
    pub fn is_durable_write(&self) -> bool {
        !self.properties.volatile_cache
    }

    /// Whether it may cease to answer while it is served: files and devices, not memory.
    pub fn can_be_lost(&self) -> bool {
        matches!(self.kind, Kind::File(_) | Kind::Fault { .. })
    }

    /// A handle for one core.
    pub fn handle(self: &Arc<Self>) -> Handle {
        let kind = match &self.kind {
            Kind::File(medium) => {
                HandleKind::File(file::FileHandle::new(Arc::clone(medium), Arc::clone(&self.size_bytes), self.readonly))
            }
            Kind::Ram(memory) => HandleKind::Ram(MemoryHold::new(memory)),
            Kind::Null => HandleKind::Null,
            Kind::Fault { inner, plan } => {
                HandleKind::Fault(Box::new(fault::FaultHandle::new(inner.handle(), Arc::clone(plan))))
            }
        };
        let align_mask = u64::from(self.block_bytes) - 1;
        Handle { kind, size_bytes: Arc::clone(&self.size_bytes), align_mask, readonly: self.readonly }
    }

    /// Makes everything written durable. Blocking, and not for a core.
    ///
    /// # Errors
    /// What the kernel says: the data may not be on the medium.
    pub fn sync(&self) -> io::Result<()> {
        match &self.kind {
            Kind::File(medium) if !self.readonly => medium.sync(),
            Kind::Fault { inner, plan } => plan.wait_for_sync().and_then(|()| inner.sync()),
            Kind::File(_) | Kind::Ram(_) | Kind::Null => Ok(()),
        }
    }

    /// Looks in passing whether the file is as long as it should be; false: it was cut short under us. Blocking, and not for a
    /// core.
    pub fn look(&self) -> bool {
        let whole = self.is_whole();
        self.size_bytes.age();
        whole
    }

    /// Whether the file is as long as it should be. Blocking.
    fn is_whole(&self) -> bool {
        match &self.kind {
            Kind::File(medium) if self.size_bytes.is_whole() && medium.is_shorter_than(self.size_bytes.bytes()) => {
                self.size_bytes.cut();
            }
            Kind::File(_) | Kind::Ram(_) | Kind::Null => {}
            Kind::Fault { inner, plan } => {
                plan.wait_for_look();
                return inner.is_whole();
            }
        }
        self.size_bytes.is_whole()
    }

    /// What a file takes up and what its file system has left; `None` where nobody can tell: devices, memory. Blocking, and
    /// not for a core: a file system on a network may take its time.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn space(&self) -> io::Result<Option<Space>> {
        match &self.kind {
            Kind::File(medium) => medium.space(),
            Kind::Ram(_) | Kind::Null => Ok(None),
            Kind::Fault { inner, .. } => inner.space(),
        }
    }

    /// Whether some of a range is in the page cache, where a read finds it instead of on the medium; `None`: nobody can tell. It
    /// takes as long as the range has pages, but waits for nothing.
    pub fn is_cached(&self, offset: u64, len: u64) -> Option<bool> {
        match &self.kind {
            Kind::File(medium) => sys::cached_pages(medium.file(), offset, len).ok().map(|pages| pages > 0),
            Kind::Ram(_) | Kind::Null => Some(false),
            Kind::Fault { inner, .. } => inner.is_cached(offset, len),
        }
    }

    /// Whether the block at `offset` has storage of its own, and for how many bytes (at least a block, at most `len`)
    /// that goes on. A medium that cannot tell says that it has. Blocking, for GET LBA STATUS only.
    ///
    /// # Errors
    /// `InvalidInput` for a range that is empty, misaligned or not inside the medium; what the kernel says otherwise.
    pub fn allocated(&self, offset: u64, len: u64) -> io::Result<(bool, u64)> {
        let misaligned = (offset | len) & (u64::from(self.block_bytes) - 1) != 0;
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.properties().size_bytes);
        if len == 0 || misaligned || !inside {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match &self.kind {
            Kind::File(medium) => {
                let found = medium.allocated(offset, len, self.block_bytes)?;
                // What is gone is no hole: let it be read, and be an error.
                Ok(if self.is_whole() { found } else { (true, len) })
            }
            Kind::Ram(memory) => memory.allocated(offset, len),
            Kind::Null => Ok((false, len)),
            Kind::Fault { inner, plan } => {
                plan.wait_for_map();
                inner.allocated(offset, len)
            }
        }
    }
}

impl Properties {
    /// Those of a medium without a disk. Nothing outlives the process, so there is no cache that a flush could save:
    /// to report one would only cost hosts their flushes.
    fn of_memory(size_bytes: u64) -> Self {
        Properties {
            size_bytes,
            discard: true,
            sparse: false,
            discard_granularity_bytes: 4096,
            volatile_cache: false,
            rotational: false,
            direct: false,
            io_align_bytes: 1,
            mem_align_bytes: 1,
        }
    }
}

/// One core's access to a [`Medium`]. Neither `Send` nor `Sync`: its operations in flight belong to the core's ring.
pub struct Handle {
    kind: HandleKind,
    size_bytes: Arc<Size>,
    /// Logical block length less one.
    align_mask: u64,
    readonly: bool,
}

enum HandleKind {
    File(file::FileHandle),
    Ram(MemoryHold),
    Null,
    Fault(Box<fault::FaultHandle>),
}

impl Handle {
    /// Starts an operation. When it is `Pending`, every completion that the queue delivers for `token` goes to
    /// [`Handle::complete`], until that gives a result; the token is not used for another operation before.
    ///
    /// The buffer of `op` is valid for its length, and stays so until then (contract of [`Buffer`]).
    pub fn start<Q: Queue + ?Sized>(&mut self, op: Op, token: Token, queue: &mut Q) -> Started {
        match self.check(&op) {
            Ok(true) => {}
            // Nothing to do is done.
            Ok(false) => return Started::Done(Ok(())),
            Err(fault) => return Started::Done(Err(fault)),
        }
        match &mut self.kind {
            HandleKind::File(file) => file.start(op, token, queue),
            HandleKind::Ram(hold) => hold.memory().start(op),
            HandleKind::Null => null::start(op),
            HandleKind::Fault(fault) => fault.start(op, token, queue),
        }
    }

    /// Takes the completion of an entry that this handle pushed with `token`; `result` is that of the kernel.
    /// `None`: the operation was continued (short transfer, interruption, next step), another completion follows.
    pub fn complete<Q: Queue + ?Sized>(
        &mut self,
        token: Token,
        result: i32,
        queue: &mut Q,
    ) -> Option<Result<(), MediumFault>> {
        match &mut self.kind {
            HandleKind::File(file) => file.complete(token, result, queue),
            HandleKind::Fault(fault) => fault.complete(token, result, queue),
            // These push no entries: the completion is not ours.
            HandleKind::Ram(_) | HandleKind::Null => Some(Err(MediumFault::Internal(libc::EINVAL))),
        }
    }

    /// RAM only: writes `bytes` to `offset` at once; [`settle`] is to be called before anybody is told so. False: not done, the
    /// medium is another or the range not inside; use [`Handle::start`], which says why.
    #[inline]
    pub fn write_in_place(&self, offset: u64, bytes: &[u8]) -> bool {
        let HandleKind::Ram(hold) = &self.kind else { return false };
        let end = offset.checked_add(bytes.len() as u64);
        if self.readonly || end.is_none_or(|end| end > self.size_bytes.bytes()) {
            return false;
        }
        // SAFETY: inside, as just checked; a slice is never part of a medium, to which no reference is ever made.
        #[allow(unsafe_code)]
        unsafe {
            hold.memory().store(bytes.as_ptr(), offset, bytes.len());
        }
        true
    }

    /// RAM only: the first byte and the length in bytes, to copy from directly. Valid while the handle lives; who has it looked
    /// at later takes a [`Handle::hold`] besides.
    ///
    /// Bytes behind it change under the reader when another core writes: never make a Rust reference to them.
    #[inline]
    pub fn memory(&self) -> Option<(*mut u8, u64)> {
        match &self.kind {
            HandleKind::Ram(hold) => {
                let (start, mapped) = hold.memory().pointer();
                Some((start, mapped.min(self.size_bytes.bytes())))
            }
            // A planned fault must not be bypassed.
            HandleKind::File(_) | HandleKind::Null | HandleKind::Fault(_) => None,
        }
    }

    /// RAM only: what keeps the memory of [`Handle::memory`] where it is.
    #[inline]
    pub fn hold(&self) -> Option<&MemoryHold> {
        match &self.kind {
            HandleKind::Ram(hold) => Some(hold),
            HandleKind::File(_) | HandleKind::Null | HandleKind::Fault(_) => None,
        }
    }

    /// The descriptor behind this handle, for registering it with the core's ring.
    pub fn raw_fd(&self) -> Option<RawFd> {
        match &self.kind {
            HandleKind::File(file) => Some(file.raw_fd()),
            HandleKind::Fault(fault) => fault.inner().raw_fd(),
            HandleKind::Ram(_) | HandleKind::Null => None,
        }
    }

    /// From now on use the file registered at `index` with this core's ring.
    pub fn set_registered(&mut self, index: u32) {
        match &mut self.kind {
            HandleKind::File(file) => file.set_registered(index),
            HandleKind::Fault(fault) => fault.inner_mut().set_registered(index),
            HandleKind::Ram(_) | HandleKind::Null => {}
        }
    }

    /// Whether there is anything to do, and all of it is inside the medium.
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
