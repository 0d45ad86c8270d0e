//! Opening a regular file or block device: having it for this process alone, giving it its size, and finding out how it wants
//! to be read. Whether it can be served at all is decided in `verdict.rs`.
//!
//! Every refusal is an [`OpenError`] that names the file and what to do. All of this blocks: it is for the start and
//! for reloads, not for a core.

use super::create::{Begun, Made, create, grow};
use super::error::{OpenError, from_io};
use super::file::FileMedium;
use super::mark::is_at;
use super::properties::{Fit, Properties};
use super::sys;
use super::sysfs::{self, DeviceNumber};
use super::verdict::{Facts, FileSize, Place, asked_size, direct_alignment, holder, owner, place};
use crate::model::LunSpec;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Offsets of probes are multiples of this: more than a page of any machine.
const PROBE_ALIGN_BYTES: u64 = 1 << 20;

/// How long a file or device is waited for that is claimed by no process that lives.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often it is tried meanwhile.
const RETRY: Duration = Duration::from_millis(10);

/// Whether to go around the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caching {
    /// O_DIRECT where file system and alignment allow.
    DirectIfPossible,
    /// Through the page cache, for tests of that path.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests force the path that a file system decides otherwise"))]
    Buffered,
}

/// Opens, locks, sizes and examines a file or block device; makes a file that is not there and may be made. A failure leaves it
/// as it was.
pub(super) fn open(path: &Path, spec: &LunSpec, caching: Caching) -> Result<(FileMedium, Properties), OpenError> {
    /// How often the name may turn out to have become that of another file.
    const TRIES: usize = 8;
    let mut made = None;
    for _ in 0..TRIES {
        // The type first: to open a FIFO would wait for its other end.
        let found = match place(path, spec)? {
            Place::Taken(found) => found,
            // If something is at the path by now, somebody else has just made it.
            Place::Free { size_bytes, .. } => {
                made = create(path, spec, size_bytes)?;
                continue;
            }
        };
        let file = open_existing(path, spec.readonly, found.is_device)?;
        lock(&file, path, spec.readonly)?;
        // Until the lock was had, the name could be given to another file.
        if is_at(&file, path) {
            // A file counts as made here only if nobody has touched it since: before it was locked somebody else may
            // have had it, or have put another one in its place.
            let is_made = made.is_some_and(|made: Made| made.is_still(&file));
            return settle(file, path, spec, (found.is_device, is_made), caching);
        }
    }
    Err(OpenError::Io {
        path: path.to_owned(),
        action: "open it",
        source: io::ErrorKind::StaleNetworkFileHandle.into(),
    })
}

/// Sizes and examines a file that is open and locked. A failure takes back what was done to the file.
fn settle(
    file: File,
    path: &Path,
    spec: &LunSpec,
    (block_device, is_made): (bool, bool),
    caching: Caching,
) -> Result<(FileMedium, Properties), OpenError> {
    let mut begun = Begun { is_made, grown_from: None };
    let settled = settle_size(&file, path, spec, block_device).and_then(|size| {
        begun.grown_from = size.grows_from;
        let properties = examine(&file, path, spec, size.bytes, block_device, caching)?;
        Ok((size, properties))
    });
    match settled {
        Ok((size, properties)) => {
            let medium = FileMedium::new(file, &properties, spec.readonly, begun);
            medium.set_padding_at(size.padding_at);
            Ok((medium, properties))
        }
        Err(error) => {
            // The first failure is reported, not one of taking back.
            let _ = begun.undo(&file, path);
            Err(error)
        }
    }
}

/// Opens what is there. A block device that nobody has any more is waited for: the kernel takes a ring of a killed
/// process apart some time after the process is gone, and the devices registered with it are claimed until then.
fn open_existing(path: &Path, readonly: bool, block_device: bool) -> Result<File, OpenError> {
    // O_EXCL without O_CREAT claims a block device: no mount, no other claim. (O_CLOEXEC is std's default.)
    let flags = if block_device { libc::O_EXCL } else { 0 };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match OpenOptions::new().read(true).write(!readonly).custom_flags(flags).open(path) {
            Err(error) if block_device && error.raw_os_error() == Some(libc::EBUSY) => {
                let holder = fs::metadata(path).ok().and_then(|metadata| holder(&metadata));
                if holder.is_some() || Instant::now() >= deadline {
                    return Err(OpenError::DeviceBusy { path: path.to_owned(), holder });
                }
                std::thread::sleep(RETRY);
            }
            opened => return opened.map_err(|error| from_io(path, !readonly, "open it", error)),
        }
    }
}

/// One process, one logical unit: two writers' caches and reservations would not know of each other. Readers may share.
///
/// The kernel takes a ring of a killed process apart some time after the process is gone, and the files registered with it
/// stay locked until then: a lock whose owner no longer exists is waited for.
fn lock(file: &File, path: &Path, readonly: bool) -> Result<(), OpenError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let locked = if readonly { file.try_lock_shared() } else { file.try_lock() };
        match locked {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {
                let owner = file.metadata().ok().and_then(|metadata| owner(&metadata, readonly));
                if owner.is_some_and(sysfs::process_lives) || Instant::now() >= deadline {
                    return Err(OpenError::InUse { path: path.to_owned(), owner: owner.map(sysfs::process_name) });
                }
                std::thread::sleep(RETRY);
            }
            Err(TryLockError::Error(source)) => {
                return Err(OpenError::Io { path: path.to_owned(), action: "lock it", source });
            }
        }
    }
}

/// As [`settle_size`], for a medium that is served already.
pub(super) fn fit(medium: &FileMedium, path: &Path, spec: &LunSpec) -> Result<Fit, OpenError> {
    let size = settle_size(medium.file(), path, spec, is_block_device(medium, path, spec)?)?;
    medium.set_padding_at(size.padding_at);
    Ok(Fit { bytes: size.bytes, grown_from: size.grows_from })
}

/// The size in bytes that [`fit`] would come to; nothing grows.
pub(super) fn asked(medium: &FileMedium, path: &Path, spec: &LunSpec) -> Result<u64, OpenError> {
    asked_size(medium.file(), path, spec, is_block_device(medium, path, spec)?).map(|size| size.bytes)
}

fn is_block_device(medium: &FileMedium, path: &Path, spec: &LunSpec) -> Result<bool, OpenError> {
    let metadata = medium.file().metadata().map_err(|error| from_io(path, !spec.readonly, "look at it", error))?;
    Ok(metadata.file_type().is_block_device())
}

/// The size; a regular file that is smaller than asked for grows. Called with the lock held. The growth is not durable
/// yet: a sync may report that writes of hosts are lost, and nobody could be told of that from here.
fn settle_size(file: &File, path: &Path, spec: &LunSpec, block_device: bool) -> Result<FileSize, OpenError> {
    let size = asked_size(file, path, spec, block_device)?;
    if let Some(from) = size.grows_from {
        grow(file, path, from, size.padding_at.unwrap_or(size.bytes), spec.thin)?;
    }
    Ok(size)
}

/// What is true of the file, and whether it is read and written directly; sets O_DIRECT when it is.
fn examine(
    file: &File,
    path: &Path,
    spec: &LunSpec,
    size_bytes: u64,
    block_device: bool,
    caching: Caching,
) -> Result<Properties, OpenError> {
    let metadata = file.metadata().map_err(|error| from_io(path, !spec.readonly, "look at it", error))?;
    let disk = DeviceNumber::new(if block_device { metadata.rdev() } else { metadata.dev() });
    let alignment = match caching {
        Caching::DirectIfPossible => direct_alignment(file, spec.block_bytes, size_bytes, block_device),
        Caching::Buffered => None,
    };
    let facts = Facts { is_direct: alignment.is_some() || matches!(caching, Caching::Buffered), block_device };
    let (remarks, is_sparse) = facts.remarks(path, spec, &metadata);
    for remark in remarks {
        tracing::warn!("{remark}");
    }
    let (discard, granularity) = if block_device {
        let granularity = disk.discard_granularity_bytes();
        (granularity.is_some() && !spec.readonly, granularity.unwrap_or(spec.block_bytes))
    } else {
        (!spec.readonly && punches_holes(file, metadata.len()), u32::try_from(metadata.blksize()).unwrap_or(4096))
    };
    Ok(Properties {
        size_bytes,
        discard,
        sparse: is_sparse,
        discard_granularity_bytes: granularity.max(spec.block_bytes).next_multiple_of(spec.block_bytes),
        // Only a device that is written directly and says that it writes through has none: a file's metadata waits for
        // fdatasync even where its data does not.
        volatile_cache: !(block_device && alignment.is_some() && disk.write_back() == Some(false)),
        rotational: disk.rotational().unwrap_or(false),
        direct: alignment.is_some(),
        atomic: false,
        io_align_bytes: alignment.map_or(1, |alignment| alignment.offset_bytes),
        mem_align_bytes: alignment.map_or(1, |alignment| alignment.mem_bytes),
    })
}

/// Whether the file system can punch holes: asked behind the end of the file, where there is nothing to lose. (The end of
/// the unit may be before that, with data behind it.) A page or more behind, as a file may end within one.
fn punches_holes(file: &File, file_bytes: u64) -> bool {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let Some(behind) = file_bytes.checked_next_multiple_of(PROBE_ALIGN_BYTES) else { return false };
    sys::fallocate(file, mode, behind, 4096).is_ok()
}

#[cfg(test)]
mod tests;
