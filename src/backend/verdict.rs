//! Whether a medium can be served, and how: the rules for it, each in one place.
//!
//! Who opens a file (`open.rs`) and who only looks ([`look`] and [`remarks`]: `ringsan check`, and the start before anything is
//! made) ask the same functions here, and so come to the same verdict, in the same words. Looking changes nothing, claims
//! nothing and keeps nobody from having the file: a device is not opened for writing, since its closing would have the
//! system look for partitions again, and no lock is tried, which another ringsan could fail on.
//!
//! What may be otherwise in a moment, who has the file, is no refusal of who looks, but a remark.

use super::error::{OpenError, SizeFault, from_io};
use super::sys::{self, DirectAlign, Page};
use super::sysfs::{self, DeviceNumber};
use crate::limits::MAX_LUN_BYTES;
use crate::model::LunSpec;
use rustix::fs::{Access, AtFlags, CWD};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Alignment that the shard's buffers have (contract of `Buffer`).
const BUFFER_ALIGN_BYTES: u32 = 4096;

/// What makes a file or device the same one, whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// File system and inode.
    File(u64, u64),
    /// Major and minor number.
    Device(u64),
    /// A file that is yet to be made: its directory and name.
    Missing(PathBuf, OsString),
}

/// What is worth a word of a medium that can be served.
#[derive(Debug)]
pub enum Remark {
    /// Somebody has it now.
    Busy(OpenError),
    /// It is read and written through the page cache.
    Cached {
        /// The file.
        path: PathBuf,
        /// The logical block length.
        block_bytes: u32,
    },
    /// A file that is not to be thin does not have all of its space.
    Sparse {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::Busy(error) => write!(f, "{error}"),
            Remark::Cached { path, block_bytes } => write!(
                f,
                "{}: no direct I/O with blocks of {block_bytes} on this file; using the page cache (a block length of 4096 \
                 may help)",
                path.display()
            ),
            Remark::Sparse { path, bytes } => write!(
                f,
                "{}: the file is sparse: writes can find no room, so hosts are told that it is thin (`fallocate -l {bytes} \
                 FILE` gives it its space, once there is room)",
                path.display()
            ),
        }
    }
}

/// Whether a medium can have such blocks.
pub(super) fn check_block_length(spec: &LunSpec) -> Result<(), OpenError> {
    let possible: &[u32] = if spec.cdrom { &[2048] } else { &[512, 4096] };
    if !possible.contains(&spec.block_bytes) {
        return Err(OpenError::BlockLength { bytes: spec.block_bytes });
    }
    Ok(())
}

/// Whether a medium can have so many bytes.
///
/// # Errors
/// None, not whole blocks, or more than can be addressed.
pub fn check_size(bytes: u64, block_bytes: u32) -> Result<(), SizeFault> {
    match bytes {
        0 => Err(SizeFault::Zero),
        _ if !bytes.is_multiple_of(u64::from(block_bytes)) => Err(SizeFault::NotBlocks { bytes, block_bytes }),
        _ if bytes > MAX_LUN_BYTES => Err(SizeFault::TooLarge { bytes }),
        _ => Ok(()),
    }
}

/// The size that a medium without a file was given.
pub(super) fn given_size(spec: &LunSpec) -> Result<u64, OpenError> {
    let what = spec.kind.word();
    let bytes = spec.size_bytes.ok_or(OpenError::SizeNeeded { what })?;
    check_size(bytes, spec.block_bytes).map_err(|fault| OpenError::Size { what: what.to_owned(), fault })?;
    Ok(bytes)
}

/// What is at the path of a file.
pub(super) enum Place {
    /// Something that can be served.
    Taken(Found),
    /// Nothing, and a file of that size may be made there.
    Free { size_bytes: u64, identity: Identity },
}

/// A file or device that is there.
pub(super) struct Found {
    pub(super) is_device: bool,
    pub(super) identity: Identity,
}

/// Looks what is at a path. It is not opened.
pub(super) fn place(path: &Path, spec: &LunSpec) -> Result<Place, OpenError> {
    match fs::metadata(path) {
        Ok(metadata) => found(path, &metadata).map(Place::Taken),
        Err(error) if error.kind() == io::ErrorKind::NotFound => missing(path, spec),
        Err(error) => Err(from_io(path, !spec.readonly, "look at it", error)),
    }
}

fn found(path: &Path, metadata: &Metadata) -> Result<Found, OpenError> {
    let kind = metadata.file_type();
    if kind.is_block_device() {
        Ok(Found { is_device: true, identity: Identity::Device(metadata.rdev()) })
    } else if kind.is_file() {
        Ok(Found { is_device: false, identity: Identity::File(metadata.dev(), metadata.ino()) })
    } else {
        Err(OpenError::NotStorage { path: path.to_owned(), found: type_name(kind) })
    }
}

/// What a file is that is no storage.
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

/// Whether a file may be made, in a directory that is there or can be made with one step (`config::create_directories`): more
/// would be a typing error, or a file system that is not mounted.
fn missing(path: &Path, spec: &LunSpec) -> Result<Place, OpenError> {
    let at = || path.to_owned();
    let size_bytes = match spec.size_bytes {
        _ if spec.cdrom => return Err(OpenError::NoImage { path: at() }),
        None => return Err(OpenError::Missing { path: at() }),
        Some(_) if !spec.create => return Err(OpenError::NotCreated { path: at() }),
        Some(_) if spec.readonly => return Err(OpenError::MissingReadonly { path: at() }),
        Some(bytes) => bytes,
    };
    let fault = |fault| OpenError::Size { what: path.display().to_string(), fault };
    check_size(size_bytes, spec.block_bytes).map_err(fault)?;
    // A symbolic link to nothing stays one.
    if path.is_symlink() {
        return Err(OpenError::Dangling { path: at() });
    }
    let directory = directory_of(path);
    let is_there = match fs::canonicalize(directory) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::canonicalize(directory_of(directory))
            .ok()
            .zip(directory.file_name())
            .map(|(above, name)| above.join(name)),
        Err(error) => return Err(from_io(path, true, "look at its directory", error)),
    };
    let Some((directory, name)) = is_there.zip(path.file_name()) else {
        return Err(OpenError::NoDirectory { path: at() });
    };
    Ok(Place::Free { size_bytes, identity: Identity::Missing(directory, name.to_owned()) })
}

/// The directory that `path` is in, as a path that can be opened.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// How large the medium over a file or device is.
pub(super) struct FileSize {
    /// Bytes of the medium, in whole blocks.
    pub(super) bytes: u64,
    /// Where its file ends, if that is in the last block: zeroes follow.
    pub(super) padding_at: Option<u64>,
    /// The present length of a regular file that is to grow, in bytes.
    pub(super) grows_from: Option<u64>,
}

/// The size that is asked for, if it can be had.
pub(super) fn asked_size(file: &File, path: &Path, spec: &LunSpec, block_device: bool) -> Result<FileSize, OpenError> {
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
    let fault = |fault| OpenError::Size { what: path.display().to_string(), fault };
    check_size(whole_bytes, spec.block_bytes).map_err(fault)?;
    Ok(FileSize {
        bytes: whole_bytes,
        padding_at: (whole_bytes != size_bytes).then_some(size_bytes),
        grows_from: grows(size_bytes).then_some(actual_bytes),
    })
}

/// Alignments of direct I/O, bytes.
#[derive(Clone, Copy)]
pub(super) struct Alignment {
    pub(super) offset_bytes: u32,
    pub(super) mem_bytes: u32,
}

/// Switches O_DIRECT on if every block of `block_bytes` can be moved with it.
pub(super) fn direct_alignment(
    file: &File,
    block_bytes: u32,
    size_bytes: u64,
    block_device: bool,
) -> Option<Alignment> {
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

/// Pid of who has a file locked so that one that is opened like this has to wait: readers only mind writers.
pub(super) fn owner(metadata: &Metadata, readonly: bool) -> Option<u32> {
    DeviceNumber::new(metadata.dev()).lock_owner(metadata.ino(), readonly)
}

/// Who has claimed a block device and will not let go of it by itself, as far as can be told.
pub(super) fn holder(metadata: &Metadata) -> Option<String> {
    let device = DeviceNumber::new(metadata.rdev());
    let mounted = device.mounted_on().map(|place| format!("mounted on {place}"));
    let part = || device.part_of().map(|other| format!("part of {other}"));
    // A device that is served is locked, too.
    let locked = || owner(metadata, false).filter(|pid| sysfs::process_lives(*pid));
    mounted.or_else(part).or_else(|| locked().map(|pid| format!("by {}", sysfs::process_name(pid))))
}

/// What was found out about a file or device.
pub(super) struct Facts {
    /// It is read and written directly.
    pub(super) is_direct: bool,
    pub(super) block_device: bool,
}

impl Facts {
    /// What is to be said of it, and whether it can run out of space.
    pub(super) fn remarks(&self, path: &Path, spec: &LunSpec, metadata: &Metadata) -> (Vec<Remark>, bool) {
        let mut remarks = Vec::new();
        if !self.is_direct {
            // Through the page cache every block length is right: the kernel does the read-modify-write of its pages,
            // under its locks. Doing that here with O_DIRECT would need a range lock across all cores for each small
            // write.
            remarks.push(Remark::Cached { path: path.to_owned(), block_bytes: spec.block_bytes });
        }
        let is_sparse = !self.block_device && !spec.readonly && metadata.blocks().saturating_mul(512) < metadata.len();
        if is_sparse && !spec.thin {
            remarks.push(Remark::Sparse { path: path.to_owned(), bytes: metadata.len() });
        }
        (remarks, is_sparse)
    }
}

/// What opening the file or device at `path` would come to, as far as it is not made or grown.
///
/// # Errors
/// Why it could not be served.
pub(super) fn look(path: &Path, spec: &LunSpec) -> Result<Identity, OpenError> {
    match place(path, spec)? {
        Place::Free { identity, .. } => Ok(identity),
        Place::Taken(found) => {
            let file = peek(path, spec, &found)?;
            asked_size(&file, path, spec, found.is_device).map(|_| found.identity)
        }
    }
}

/// Opens what is there in order to look at it. Whether a device may be written is asked in another way.
fn peek(path: &Path, spec: &LunSpec, found: &Found) -> Result<File, OpenError> {
    let write = !spec.readonly;
    let failed = |error| from_io(path, write, "open it", error);
    let file = OpenOptions::new().read(true).write(write && !found.is_device).open(path).map_err(failed)?;
    if let (true, Identity::Device(number)) = (write, &found.identity) {
        let granted = rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS);
        granted.map_err(|error| failed(error.into()))?;
        if DeviceNumber::new(*number).is_readonly() == Some(true) {
            return Err(failed(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
    }
    Ok(file)
}

/// What is worth a word of a file or device that [`look`] finds nothing wrong with. A block of it is read.
pub(super) fn remarks(path: &Path, spec: &LunSpec) -> Vec<Remark> {
    let Ok(Place::Taken(found)) = place(path, spec) else { return Vec::new() };
    let Ok(file) = peek(path, spec, &found) else { return Vec::new() };
    let (Ok(metadata), Ok(size)) = (file.metadata(), asked_size(&file, path, spec, found.is_device)) else {
        return Vec::new();
    };
    let mut remarks: Vec<_> = busy(path, spec, &found, &metadata).map(Remark::Busy).into_iter().collect();
    // What is to grow has no block yet where it will end.
    let bytes = size.grows_from.unwrap_or(size.bytes);
    let is_direct = bytes < u64::from(spec.block_bytes)
        || direct_alignment(&file, spec.block_bytes, bytes, found.is_device).is_some();
    let facts = Facts { is_direct, block_device: found.is_device };
    remarks.extend(facts.remarks(path, spec, &metadata).0);
    remarks
}

/// Who keeps it from being served now.
fn busy(path: &Path, spec: &LunSpec, found: &Found, metadata: &Metadata) -> Option<OpenError> {
    let path = path.to_owned();
    if found.is_device {
        return holder(metadata).map(|holder| OpenError::DeviceBusy { path, holder: Some(holder) });
    }
    let owner = owner(metadata, spec.readonly).filter(|pid| sysfs::process_lives(*pid))?;
    Some(OpenError::InUse { path, owner: Some(sysfs::process_name(owner)) })
}

#[cfg(test)]
mod tests;
