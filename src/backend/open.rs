//! Opening a regular file or block device: what it is, who has it, how large it is, and how it wants to be read.
//!
//! Every refusal is an [`OpenError`] that names the file and what to do. All of this blocks: it is for the start and
//! for reloads, not for a core.

use super::create::{Begun, Made, create, grow};
use super::error::{OpenError, from_io};
use super::file::FileMedium;
use super::mark::is_at;
use super::properties::{Fit, Properties};
use super::sys::{self, DirectAlign, Page};
use super::sysfs::{self, DeviceNumber};
use super::verdict::check_size;
use crate::model::LunSpec;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Alignment that the shard's buffers have (contract of `Buffer`).
const BUFFER_ALIGN_BYTES: u32 = 4096;
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
    if let Some(bytes) = spec.size_bytes {
        check_size(path.display().to_string(), bytes, spec.block_bytes)?;
    }
    let mut made = None;
    for _ in 0..TRIES {
        // The type first: to open a FIFO would wait for its other end.
        let kind = match fs::metadata(path) {
            Ok(metadata) => metadata.file_type(),
            // A symbolic link to nothing stays one. If `create` finds something at the path, somebody else has just
            // made it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
                made = create(path, spec)?;
                continue;
            }
            Err(error) => return Err(from_io(path, !spec.readonly, "look at it", error)),
        };
        if !kind.is_file() && !kind.is_block_device() {
            return Err(OpenError::NotStorage { path: path.to_owned(), found: type_name(kind) });
        }
        let file = open_existing(path, spec.readonly, kind.is_block_device())?;
        lock(&file, path, spec.readonly)?;
        // Until the lock was had, the name could be given to another file.
        if is_at(&file, path) {
            // A file counts as made here only if nobody has touched it since: before it was locked somebody else may
            // have had it, or have put another one in its place.
            let is_made = made.is_some_and(|made: Made| made.is_still(&file));
            return settle(file, path, spec, (kind.is_block_device(), is_made), caching);
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

fn type_name(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_char_device() {
        "a character device"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "neither file nor device"
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
                let holder = device_holder(path);
                if holder.is_some() || Instant::now() >= deadline {
                    return Err(OpenError::DeviceBusy { path: path.to_owned(), holder });
                }
                std::thread::sleep(RETRY);
            }
            opened => return opened.map_err(|error| from_io(path, !readonly, "open it", error)),
        }
    }
}

/// Who has claimed a block device and will not let go of it by itself, as far as can be told.
fn device_holder(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let device = DeviceNumber::new(metadata.rdev());
    let mounted = device.mounted_on().map(|place| format!("mounted on {place}"));
    let part = || device.part_of().map(|other| format!("part of {other}"));
    // A device that is served is locked, too.
    let locked =
        || DeviceNumber::new(metadata.dev()).lock_owner(metadata.ino()).filter(|pid| sysfs::process_lives(*pid));
    mounted.or_else(part).or_else(|| locked().map(|pid| format!("by {}", sysfs::process_name(pid))))
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
                let metadata = file.metadata().ok();
                let owner = metadata.and_then(|m| DeviceNumber::new(m.dev()).lock_owner(m.ino()));
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

/// How large a medium is.
struct Size {
    /// Bytes of the medium, in whole blocks.
    bytes: u64,
    /// Where its file ends, if that is in the last block: zeroes follow.
    padding_at: Option<u64>,
    /// The present length of a regular file that is to grow, in bytes.
    grows_from: Option<u64>,
}

/// The size; a regular file that is smaller than asked for grows. Called with the lock held. The growth is not durable
/// yet: a sync may report that writes of hosts are lost, and nobody could be told of that from here.
fn settle_size(file: &File, path: &Path, spec: &LunSpec, block_device: bool) -> Result<Size, OpenError> {
    let size = asked_size(file, path, spec, block_device)?;
    if let Some(from) = size.grows_from {
        grow(file, path, from, size.padding_at.unwrap_or(size.bytes), spec.thin)?;
    }
    Ok(size)
}

/// The size that is asked for, if it can be had.
fn asked_size(file: &File, path: &Path, spec: &LunSpec, block_device: bool) -> Result<Size, OpenError> {
    let failed = |action| move |source| OpenError::Io { path: path.to_owned(), action, source };
    let actual_bytes = if block_device {
        sys::block_device_bytes(file).map_err(failed("ask for its size"))?
    } else {
        file.metadata().map_err(failed("ask for its size"))?.len()
    };
    let grows = |wanted_bytes: u64| wanted_bytes > actual_bytes && !block_device && !spec.readonly;
    let size_bytes = match spec.size_bytes {
        Some(wanted_bytes) if wanted_bytes == actual_bytes || grows(wanted_bytes) => wanted_bytes,
        Some(wanted_bytes) if wanted_bytes < actual_bytes && spec.shrink => wanted_bytes,
        Some(wanted_bytes) => {
            return Err(OpenError::SizeMismatch { path: path.to_owned(), actual_bytes, wanted_bytes });
        }
        None => actual_bytes,
    };
    // An image may end within a block (those for discs and disks alike end with a sector of 512 bytes): nothing of it is
    // left out.
    let whole_bytes = match size_bytes.checked_next_multiple_of(u64::from(spec.block_bytes)) {
        Some(whole_bytes) if spec.cdrom => whole_bytes,
        _ => size_bytes,
    };
    check_size(path.display().to_string(), whole_bytes, spec.block_bytes)?;
    Ok(Size {
        bytes: whole_bytes,
        padding_at: (whole_bytes != size_bytes).then_some(size_bytes),
        grows_from: grows(size_bytes).then_some(actual_bytes),
    })
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
    if alignment.is_none() && caching == Caching::DirectIfPossible {
        // Through the page cache every block length is right: the kernel does the read-modify-write of its pages, under
        // its locks. Doing that here with O_DIRECT would need a range lock across all cores for each small write.
        tracing::warn!(
            file = %path.display(),
            block_bytes = spec.block_bytes,
            "no direct I/O with this block length on this file; using the page cache (a block length of 4096 may help)"
        );
    }
    let (discard, granularity) = if block_device {
        let granularity = disk.discard_granularity_bytes();
        (granularity.is_some() && !spec.readonly, granularity.unwrap_or(spec.block_bytes))
    } else {
        (!spec.readonly && punches_holes(file, metadata.len()), u32::try_from(metadata.blksize()).unwrap_or(4096))
    };
    let sparse = !block_device && !spec.readonly && metadata.blocks().saturating_mul(512) < metadata.len();
    if sparse && !spec.thin {
        tracing::warn!(
            file = %path.display(),
            "the file is sparse: writes can find no room, so hosts are told that it is thin (`fallocate -l {} FILE` gives \
             it its space, once there is room)",
            metadata.len()
        );
    }
    Ok(Properties {
        size_bytes,
        discard,
        sparse,
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

/// Alignments of direct I/O, bytes.
#[derive(Clone, Copy)]
struct Alignment {
    offset_bytes: u32,
    mem_bytes: u32,
}

/// Switches O_DIRECT on if every block of `block_bytes` can be moved with it.
fn direct_alignment(file: &File, block_bytes: u32, size_bytes: u64, block_device: bool) -> Option<Alignment> {
    let known = match sys::direct_align(file).unwrap_or(DirectAlign::Unknown) {
        DirectAlign::Known { mem_bytes, offset_bytes } => Some(Alignment { offset_bytes, mem_bytes }),
        DirectAlign::Impossible => return None,
        DirectAlign::Unknown if block_device => {
            let offset_bytes = sys::device_block_bytes(file).ok()?;
            Some(Alignment { offset_bytes, mem_bytes: offset_bytes })
        }
        DirectAlign::Unknown => None,
    };
    let fits = known
        .is_none_or(|alignment| alignment.offset_bytes <= block_bytes && alignment.mem_bytes <= BUFFER_ALIGN_BYTES);
    if !fits || sys::set_direct(file, true).is_err() {
        return None;
    }
    // Whatever was said, one block is read, at an offset without a larger alignment: EINVAL tells that direct I/O is
    // not possible. An I/O error does not.
    let mut page = Box::new(Page([0; 4096]));
    let block = &mut page.0[..block_bytes as usize];
    let offset = u64::from(block_bytes).min(size_bytes - u64::from(block_bytes));
    match file.read_at(block, offset) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // Cannot fail: it only takes away what was set above.
            let _ = sys::set_direct(file, false);
            None
        }
        _ => known.or(Some(Alignment { offset_bytes: block_bytes, mem_bytes: BUFFER_ALIGN_BYTES })),
    }
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
