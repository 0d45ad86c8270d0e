//! Why a medium could not be opened: one line each that names the file or option and what to do about it.

use crate::limits::MAX_LUN_BYTES;
use crate::model::{LunKind, LunSpec};
use std::io;
use std::path::{Path, PathBuf};

/// A medium that could not be opened. `Display` is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No such file, and no size to create it with.
    #[error("{}: no such file (with create = true and a size, like size=1GiB, it is created)", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// No such file, and it may not be made.
    #[error("{}: no such file (is its file system mounted? With create = true it is created)", path.display())]
    NotCreated {
        /// The file.
        path: PathBuf,
    },
    /// No such image of a disc.
    #[error("{}: no such file or directory", path.display())]
    NoImage {
        /// The file.
        path: PathBuf,
    },
    /// A symbolic link whose file is not there: it is not made in its place.
    #[error("{}: is a symbolic link to a file that is not there", path.display())]
    Dangling {
        /// The link.
        path: PathBuf,
    },
    /// No such file, and a read-only logical unit creates none.
    #[error("{}: no such file, and readonly files are not created", path.display())]
    MissingReadonly {
        /// The file.
        path: PathBuf,
    },
    /// The directory that the file should be created in is not there.
    #[error("{}: its directory {} is not there: create it first", path.display(), parent(path))]
    NoDirectory {
        /// The file.
        path: PathBuf,
    },
    /// Neither a regular file nor a block device.
    #[error("{}: is {found}, neither a regular file nor a block device", path.display())]
    NotStorage {
        /// The file.
        path: PathBuf,
        /// What it is instead: "a directory", "a socket", ...
        found: &'static str,
    },
    /// The system denies access: EACCES, EPERM or EROFS.
    #[error("{}: permission denied to {}; {}", path.display(), wanted(*.write), advice(*.write))]
    Permission {
        /// The file.
        path: PathBuf,
        /// It was to be opened for writing too.
        write: bool,
    },
    /// Locked by somebody else.
    #[error("{}: already in use by {}; a file can be exported once only, stop the other user first", path.display(),
        .owner.as_deref().unwrap_or("another process"))]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who holds the lock, if that can be found: "process 12 (ringsan)".
        owner: Option<String>,
    },
    /// A block device that the kernel has given to somebody else exclusively.
    #[error("{}: the device is in use ({}); unmount it or stop its user first", path.display(),
        .holder.as_deref().unwrap_or("mounted, part of another device, or open exclusively"))]
    DeviceBusy {
        /// The device.
        path: PathBuf,
        /// Who uses it, if that can be found: "mounted on /mnt".
        holder: Option<String>,
    },
    /// `size=` and the existing file or device disagree in a way that growing does not mend.
    #[error("{}: has {actual_bytes} bytes, but size= says {wanted_bytes}; {}", path.display(),
        if *.wanted_bytes < *.actual_bytes { "it is never shortened: leave out size=, or give its real size, or serve less of it with shrink" }
        else { "it cannot be grown: leave out size=, or give its real size" })]
    SizeMismatch {
        /// The file.
        path: PathBuf,
        /// Its size.
        actual_bytes: u64,
        /// What was asked for.
        wanted_bytes: u64,
    },
    /// No medium can have such a size.
    #[error("{what}: {fault}")]
    Size {
        /// The file or kind of medium.
        what: String,
        /// What is wrong with its size.
        fault: SizeFault,
    },
    /// A RAM or null medium without a size.
    #[error("{what}: needs a size; give size=")]
    SizeNeeded {
        /// The kind of medium.
        what: &'static str,
    },
    /// The block length is neither 512 nor 4096; or, of a CD-ROM, it is not 2048.
    #[error("block length {bytes} is not possible; use 512 or 4096, and cdrom for 2048")]
    BlockLength {
        /// What was asked for.
        bytes: u32,
    },
    /// No kind of medium.
    #[error("{word}: no such kind of medium")]
    Kind {
        /// What was asked for.
        word: &'static str,
    },
    /// A medium in memory that is to become larger than the memory that it was made with.
    #[error("{what}: cannot grow while it is served; it is larger after a restart, when what is in it is gone")]
    Fixed {
        /// The kind of medium.
        what: &'static str,
    },
    /// The kernel gave no memory.
    #[error("ram: {bytes} bytes of memory are not to be had ({source}); give a smaller size=")]
    Memory {
        /// The size.
        bytes: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The file was made or has grown, but that could not be made durable; what was written to it before is perhaps not
    /// durable either.
    #[error("{}: cannot grow it to size=: {source}", path.display())]
    Unsynced {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Anything else.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether that may be otherwise another time, with the configuration as it is: it is what the machine says.
    pub fn may_pass(&self, lun: &LunSpec) -> bool {
        match self {
            OpenError::SizeNeeded { .. }
            | OpenError::BlockLength { .. }
            | OpenError::Kind { .. }
            | OpenError::Fixed { .. } => false,
            // What was measured, and not what was asked for.
            OpenError::Size { .. } => lun.size_bytes.is_none() && matches!(lun.kind, LunKind::File(_)),
            _ => true,
        }
    }
}

/// What is wrong with a size, whatever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SizeFault {
    /// It is zero.
    #[error("a logical unit of 0 bytes cannot be served")]
    Zero,
    /// It is not a multiple of the block length.
    #[error("{bytes} bytes are not a multiple of the block size {block_bytes} (nearest below: {})",
        .bytes - .bytes % u64::from(*.block_bytes))]
    NotBlocks {
        /// The size.
        bytes: u64,
        /// The logical block length, not zero.
        block_bytes: u32,
    },
    /// It is more than can be addressed.
    #[error("{bytes} bytes are more than the {MAX_LUN_BYTES} that a file can have")]
    TooLarge {
        /// The size.
        bytes: u64,
    },
}

/// The directory of a path, in words.
fn parent(path: &Path) -> String {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).display().to_string()
}

fn wanted(write: bool) -> &'static str {
    if write { "read and write it" } else { "read it" }
}

fn advice(write: bool) -> &'static str {
    if write { "change its owner or mode, or export it with readonly" } else { "change its owner or mode" }
}

/// The error for what the system said when `action` was tried with a file. `write`: it was to be written, too.
pub(super) fn from_io(path: &Path, write: bool, action: &'static str, source: io::Error) -> OpenError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => OpenError::Permission { path, write },
        _ => OpenError::Io { path, action, source },
    }
}
