//! Where blocks live. Knows bytes and offsets, not SCSI or iSCSI.
//!
//! A [`Medium`] is opened once for the process and gives each core a [`Handle`]. Operations are started on a handle. Memory
//! answers at once; files push entries on the core's ring (through [`Queue`]), other media give their operations to
//! threads of their own ([`Remote`]), and both answer when what that came to is handed back with [`Handle::complete`].
//!
//! Which kinds there are is a table, `media.rs`; what a kind is, and how to write another one, is in the head of
//! `contract.rs`. Around it a medium and its handles do what is the same for all: they keep the size, check ranges, and
//! refuse writes to what is read-only or was cut short.
//!
//! Contract, proven for every kind by `conformance.rs`:
//! - offsets and lengths are multiples of the logical block length and inside the medium: the caller (the device server)
//!   has checked them; a handle asserts it all the same and answers `MediumFault::Internal` rather than touch other bytes;
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

mod contract;
mod create;
mod errno;
mod error;
mod fault;
mod file;
mod handle;
mod mark;
mod media;
mod memory;
mod null;
mod open;
mod properties;
pub mod queue;
mod ram;
mod remote;
mod returns;
mod size;
mod stream;
mod sys;
mod sysfs;
mod verdict;

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod threaded;

pub use contract::PathIs;
pub use error::{OpenError, SizeFault};
pub use fault::{FaultAction, FaultPlan, FaultRule, OpClass};
pub use handle::Handle;
pub use mark::absolute;
pub use media::{KINDS, MediumKind, kind_of};
pub use memory::MemoryHold;
pub use properties::{Fit, Properties};
pub use queue::{Buffer, Op, Queue, Started, Token};
pub use remote::{Remote, WayIn};
pub use stream::{prefetch, settle};
pub use verdict::{Identity, Remark, check_size};

use crate::model::{Backing, LunSpec, Space};
use contract::{AtCore, Cold};
use fault::Faulty;
use media::Kind;
use size::Size;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What stores the blocks of one logical unit: opened once for the process, shared by all cores.
///
/// Holds the lock on the file or device until it and its handles are dropped, and every ring that the file was registered
/// with has unregistered it: a ring keeps its files open, and the kernel tears rings down at its leisure.
pub struct Medium {
    kind: Arc<Kind>,
    /// The properties that it was opened with; its size may have changed since.
    properties: Properties,
    /// Its size at present, in bytes; shared with the handles.
    size_bytes: Arc<Size>,
    block_bytes: u32,
    readonly: bool,
}

/// The kind of a medium, if there is one with such blocks.
fn known(spec: &LunSpec) -> Result<&'static MediumKind, OpenError> {
    verdict::check_block_length(spec)?;
    let word = spec.kind.word();
    kind_of(word).ok_or(OpenError::Kind { word })
}

/// Whether [`Medium::open`] would have what a configuration names, as far as can be told by looking; and what makes it the same
/// medium as another one. Blocking.
///
/// # Errors
/// What `open` would say.
pub fn look(spec: &LunSpec) -> Result<Option<Identity>, OpenError> {
    (known(spec)?.look)(spec)
}

/// What is worth a word of what [`look`] finds nothing wrong with. Blocking: a block of it is read.
pub fn remarks(spec: &LunSpec) -> Vec<Remark> {
    known(spec).map_or_else(|_| Vec::new(), |kind| (kind.remarks)(spec))
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
        let (kind, properties) = (known(spec)?.open)(spec)?;
        Ok(Medium::of(kind, properties, spec.block_bytes, spec.readonly))
    }

    fn of(kind: Kind, properties: Properties, block_bytes: u32, readonly: bool) -> Medium {
        let size_bytes = Arc::new(Size::new(properties.size_bytes));
        Medium { kind: Arc::new(kind), properties, size_bytes, block_bytes, readonly }
    }

    /// Takes back what [`Medium::open`] has done to the file at `path`: one that was made is removed, one that has
    /// grown has its length again. For a file that nobody was told of yet. Blocking.
    ///
    /// # Errors
    /// What the system says.
    pub fn undo(&self, path: &Path) -> io::Result<()> {
        self.kind.undo(path)
    }

    /// Whether [`Medium::open`] has made an existing file longer.
    pub fn has_grown(&self) -> bool {
        self.kind.has_grown()
    }

    /// A read-only medium of no bytes, for where there is no unit.
    pub fn none() -> Medium {
        let (kind, properties) = media::none();
        Medium::of(kind, properties, 512, true)
    }

    /// The size that `spec`, which names this medium, asks for now. A regular file that is smaller grows to it, durably with
    /// the next [`Medium::sync`]; what is served stays as it is until [`Medium::set_size`]. Blocking.
    ///
    /// # Errors
    /// Why that size cannot be had.
    pub fn fit(&self, spec: &LunSpec) -> Result<Fit, OpenError> {
        self.kind.fit(spec, &self.size_bytes)
    }

    /// What [`Medium::fit`] would come to, as far as can be told without growing, in bytes. Blocking.
    ///
    /// # Errors
    /// Why that size cannot be had.
    pub fn asked(&self, spec: &LunSpec) -> Result<u64, OpenError> {
        self.kind.asked(spec, &self.size_bytes)
    }

    /// Cuts a file back to the length that it had before [`Medium::fit`] made it grow. For a growth that nobody was
    /// told of yet. Blocking.
    ///
    /// # Errors
    /// What the system says.
    pub fn ungrow(&self, fit: &Fit) -> io::Result<()> {
        self.kind.ungrow(fit)
    }

    /// Whether `path` names what is open here. It does not if the file has no name any more, or if another file has
    /// that name now: then what is written is gone when the file is closed. Blocking.
    pub fn is_at(&self, path: &Path) -> bool {
        self.kind.is_at(path)
    }

    /// Whether what is in it outlives the process.
    pub fn lasts(&self) -> bool {
        self.kind.lasts()
    }

    /// Whether it is a regular file, not a device or memory: holes in a file are made by a thread of the kernel's, one
    /// at a time.
    pub fn is_regular_file(&self) -> bool {
        self.kind.is_regular_file()
    }

    /// What this store of the unit `spec` of a target is recognised by. A CD-ROM is recognised as a drive, by its
    /// place: its image is nothing of its own. Blocking.
    pub fn backing(&self, spec: &LunSpec, target: &str) -> Backing {
        let place = |what| Backing { path: format!("({what} {} of {target})", spec.number), mark: None, lasts: false };
        if spec.cdrom {
            return place("drive");
        }
        self.kind.backing(spec).unwrap_or_else(|| place("memory"))
    }

    /// Whether `path` names another store that has the mark of this one, as the files of a snapshot have. Blocking.
    pub fn has_double(&self, path: &Path) -> bool {
        self.kind.has_double(path)
    }

    /// From now on the medium has this size, as [`Medium::fit`] has answered it: no operation begins beyond it.
    pub fn set_size(&self, bytes: u64) {
        self.size_bytes.set(bytes);
    }

    /// The same medium, with faults as planned. For tests and drills.
    pub fn with_faults(inner: Arc<Medium>, plan: FaultPlan) -> Medium {
        let kind = Arc::new(Kind::Fault(Arc::new(Faulty::new(Arc::clone(&inner.kind), plan))));
        let size_bytes = Arc::clone(&inner.size_bytes);
        let Medium { properties, block_bytes, readonly, .. } = *inner;
        Medium { kind, properties, size_bytes, block_bytes, readonly }
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
        self.kind.can_be_lost()
    }

    /// A handle for the core that calls this. Media whose operations other threads carry out are answered through
    /// `way_in`, which is that core's.
    pub fn handle(&self, way_in: &WayIn) -> Handle {
        Handle {
            kind: self.kind.hot(&AtCore { size: &self.size_bytes, way_in }),
            size_bytes: Arc::clone(&self.size_bytes),
            align_mask: u64::from(self.block_bytes) - 1,
            readonly: self.readonly,
        }
    }

    /// Makes everything written durable. Blocking, and not for a core.
    ///
    /// # Errors
    /// What the kernel says: the data may not be on the medium.
    pub fn sync(&self) -> io::Result<()> {
        self.kind.sync()
    }

    /// Looks whether the file is as long as it should be; false: it was cut short. Writes from before the previous look
    /// are forgotten with this one (see `size.rs`). Blocking, and not for a core.
    pub fn look(&self) -> bool {
        let whole = self.kind.is_whole(&self.size_bytes);
        self.size_bytes.age();
        whole
    }

    /// What a file takes up and what its file system has left; `None` where nobody can tell: devices, memory. Blocking, and
    /// not for a core: a file system on a network may take its time.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn space(&self) -> io::Result<Option<Space>> {
        self.kind.space()
    }

    /// Whether some of a range of bytes is in the page cache, where a read finds it instead of on the medium; `None`:
    /// nobody can tell. The call takes as long as the range has pages, but waits for nothing.
    pub fn is_cached(&self, offset: u64, len: u64) -> Option<bool> {
        self.kind.is_cached(offset, len)
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
        self.kind.allocated(offset, len, self.block_bytes, &self.size_bytes)
    }
}
