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
//! - a failure to make writes durable is reported once, to whichever flush or durable write asks next: what is lost may
//!   have been written by anybody, and whoever is told passes it on;
//! - a completed discard reads as zeroes; so does a completed zeroing;
//! - a CD-ROM's image is followed by zeroes up to a whole block;
//! - short transfers are continued inside; interrupted ones (EINTR, EAGAIN) retried;
//! - buffers belong to the caller, who keeps them alive until the operation's completion was handed back.
//!
//! A backend does not cut large operations for fairness (the shard does), nor order or lock overlapping ones.

mod create;
mod errno;
mod error;
mod fault;
mod file;
mod handle;
mod mark;
mod null;
mod open;
mod properties;
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
pub use handle::Handle;
pub use properties::{Fit, Properties};
pub use queue::{Buffer, Op, Queue, Started, Token};
pub use ram::MemoryHold;
pub use stream::{prefetch, settle};

use crate::model::{Backing, LunKind, LunSpec, Space};
use handle::{FaultHandle, HandleKind};
use size::Size;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What stores the blocks of one logical unit: opened once for the process, shared by all cores.
///
/// Holds the lock on the file or device until it and its handles are dropped, and every ring that the file was registered
/// with has unregistered it: a ring keeps its files open, and the kernel tears rings down at its leisure.
pub struct Medium {
    kind: Kind,
    /// The properties that it was opened with; its size may have changed since.
    properties: Properties,
    /// Its size at present, in bytes; shared with the handles.
    size_bytes: Arc<Size>,
    block_bytes: u32,
    readonly: bool,
    begun: open::Begun,
}

/// The absolute form of a path, as a store is recognised by it. Links are not resolved: a device has the name that it
/// was given, not the one that it has for the moment.
pub fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

enum Kind {
    File(Arc<file::FileMedium>),
    Ram(Arc<ram::Memory>),
    Null,
    Fault { inner: Arc<Medium>, plan: Arc<FaultPlan> },
}

impl Medium {
    /// Opens what a configuration names, and locks it. Blocking.
    ///
    /// A missing file is created when the size is given and `create` says so; its directory is not created. A smaller
    /// regular file grows to its size, durably with the next [`Medium::sync`].
    ///
    /// # Errors
    /// Why the medium cannot be had, and what to do about it.
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

    /// Takes back what [`Medium::open`] has done to the file at `path`: one that was made is removed, one that has
    /// grown has its length again. For a file that nobody was told of yet. Blocking.
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

    /// Whether [`Medium::open`] has made an existing file longer.
    pub fn has_grown(&self) -> bool {
        match &self.kind {
            Kind::Fault { inner, .. } => inner.has_grown(),
            _ => self.begun.has_grown(),
        }
    }

    /// A read-only medium of no bytes, for where there is no unit.
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
            // A file that was cut short would be made longer again, and what is gone would read as zeroes.
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

    /// Cuts a file back to the length that it had before [`Medium::fit`] made it grow. For a growth that nobody was
    /// told of yet. Blocking.
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

    /// Whether `path` names what is open here. It does not if the file has no name any more, or if another file has
    /// that name now: then what is written is gone when the file is closed. Blocking.
    pub fn is_at(&self, path: &Path) -> bool {
        match &self.kind {
            Kind::File(medium) => mark::is_at(medium.file(), path),
            Kind::Ram(_) | Kind::Null => true,
            Kind::Fault { inner, .. } => inner.is_at(path),
        }
    }

    /// Whether what is in it outlives the process.
    pub fn lasts(&self) -> bool {
        match &self.kind {
            Kind::File(_) => true,
            Kind::Ram(_) | Kind::Null => false,
            Kind::Fault { inner, .. } => inner.lasts(),
        }
    }

    /// Whether it is a regular file, not a device or memory: holes in a file are made by a thread of the kernel's, one
    /// at a time.
    pub fn is_regular_file(&self) -> bool {
        match &self.kind {
            Kind::File(medium) => medium.is_regular(),
            Kind::Ram(_) | Kind::Null => false,
            Kind::Fault { inner, .. } => inner.is_regular_file(),
        }
    }

    /// What this store of the unit `spec` of a target is recognised by. A CD-ROM is recognised as a drive, by its
    /// place: its image is nothing of its own. Blocking.
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

    /// Whether `path` names another store that has the mark of this one, as the files of a snapshot have. Blocking.
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

    /// From now on the medium has this size, as [`Medium::fit`] has answered it: no operation begins beyond it.
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

    /// The properties of this medium, with its size at present.
    pub fn properties(&self) -> Properties {
        Properties { size_bytes: self.size_bytes.bytes(), ..self.properties }
    }

    /// Whether flushes and FUA change nothing: every completed write is durable already, or nothing ever is.
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
                HandleKind::Fault(Box::new(FaultHandle::new(inner.handle(), Arc::clone(plan))))
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

    /// Looks whether the file is as long as it should be; false: it was cut short. Writes from before the previous look
    /// are forgotten with this one (see `size.rs`). Blocking, and not for a core.
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

    /// Whether some of a range of bytes is in the page cache, where a read finds it instead of on the medium; `None`:
    /// nobody can tell. The call takes as long as the range has pages, but waits for nothing.
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
                // What was cut off is no hole. It is answered as mapped, so that it is read, and the read fails.
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
