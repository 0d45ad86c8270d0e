//! Making the file of a logical unit that is not there yet, and giving a file its space.
//!
//! A new file has no name until it is as large as it is to be and on stable storage: it appears whole or not at all, and a
//! failure leaves nothing that would have to be removed. Whoever serves it then takes its lock as that of any other file;
//! of two that make one at the same time, one has the name, and the other finds that file. Only where a file system has no
//! files without a name is it made in its place, and removed after a failure by who holds its lock.

use super::error::{OpenError, from_io};
use super::mark::is_at;
use super::sys;
use super::verdict::directory_of;
use crate::model::LunSpec;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Mode of a new file. It is for its owner alone: a disk image holds all that its guests' permissions protect.
const MODE: u32 = 0o600;

/// Recognises a file that was made here: its device and inode number, and when it was last written to. Somebody else
/// can have had the file between the moment it got its name and the moment it was locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Made {
    file: (u64, u64),
    written: (i64, i64),
}

impl Made {
    pub(super) fn of(file: &File) -> io::Result<Made> {
        let of = file.metadata()?;
        Ok(Made { file: (of.dev(), of.ino()), written: (of.mtime(), of.mtime_nsec()) })
    }

    /// Whether `file` is the one that was made, and nobody has written to it since.
    pub(super) fn is_still(&self, file: &File) -> bool {
        Made::of(file).is_ok_and(|now| now == *self)
    }
}

/// What opening has done to a file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Begun {
    /// The file was not there, and was made.
    pub(super) is_made: bool,
    /// The length of the file before it grew, in bytes.
    pub(super) grown_from: Option<u64>,
}

impl Begun {
    /// Whether the file was there, and is longer now.
    pub(super) fn has_grown(self) -> bool {
        !self.is_made && self.grown_from.is_some()
    }

    /// Removes a file that was made, or gives one that has grown its old length. The lock is held, and nobody was shown
    /// the file.
    pub(super) fn undo(self, file: &File, path: &Path) -> io::Result<()> {
        match self {
            Begun { is_made: true, .. } => remove(file, path),
            Begun { grown_from: Some(from), .. } => file.set_len(from),
            _ => Ok(()),
        }
    }
}

/// Makes the file at `path`, which may be made; `None`: somebody else did so first.
pub(super) fn create(path: &Path, spec: &LunSpec, size_bytes: u64) -> Result<Option<Made>, OpenError> {
    let directory = directory_of(path);
    // The directory is opened before there is a name in it: if it cannot be opened, it cannot be synced, and the next
    // start would find a name that may not last.
    let opened = File::open(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::NoDirectory { path: path.to_owned() },
        _ => from_io(path, true, "open its directory", error),
    })?;
    let made = match nameless(directory) {
        Ok(Some(file)) => {
            fill(&file, path, size_bytes, spec.thin)?;
            name(&file, path).and_then(|named| match named {
                Some(true) => Made::of(&file).map(|made| Some(Some(made))),
                Some(false) => Ok(Some(None)),
                None => Ok(None),
            })
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let made = made.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::NoDirectory { path: path.to_owned() },
        _ => from_io(path, true, "create it", error),
    })?;
    let made = match made {
        Some(made) => made,
        None => create_in_place(path, size_bytes, spec.thin)?,
    };
    opened.sync_all().map_err(|source| {
        if let Some(made) = made {
            take_back(path, made);
        }
        OpenError::Io { path: path.to_owned(), action: "make its name last", source }
    })?;
    Ok(made)
}

/// Removes the file that was made, whose name may not last, unless somebody else has locked it or written to it.
fn take_back(path: &Path, made: Made) {
    let Ok(file) = File::open(path) else { return };
    if made.is_still(&file) && file.try_lock().is_ok() && is_at(&file, path) {
        drop(fs::remove_file(path));
    }
}

/// Removes a file that [`create`] has made and nobody was shown. Its lock is held.
pub(super) fn remove(file: &File, path: &Path) -> io::Result<()> {
    if !is_at(file, path) {
        return Ok(());
    }
    fs::remove_file(path)?;
    sync_directory(directory_of(path))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Opens a file without a name in `directory`; `None`: the kernel or the file system has no such files.
fn nameless(directory: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(MODE)) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives a file its name. `Some(false)`: another file has that name already; `None`: it cannot be done this way.
fn name(file: &File, path: &Path) -> io::Result<Option<bool>> {
    // A link by way of /proc needs no capability; but /proc has to be there.
    let here = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::linkat(CWD, here, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(Some(true)),
        Err(rustix::io::Errno::EXIST) => Ok(Some(false)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::PERM | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes the file under its name at once. `None`: somebody else has made it first, or has locked it before us, and it
/// is theirs.
pub(super) fn create_in_place(path: &Path, size_bytes: u64, thin: bool) -> Result<Option<Made>, OpenError> {
    let file = match OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::NoDirectory { path: path.to_owned() });
        }
        opened => opened.map_err(|error| from_io(path, true, "create it", error))?,
    };
    if file.try_lock().is_err() {
        return Ok(None);
    }
    let made = fill(&file, path, size_bytes, thin)
        .and_then(|()| Made::of(&file).map_err(|error| from_io(path, true, "look at it", error)));
    made.map(Some).inspect_err(|_| {
        // An empty file is not left behind by a failed start. It is ours: we hold its lock.
        if is_at(&file, path) {
            drop(fs::remove_file(path));
        }
    })
}

/// Gives a new file its size, durably. Nobody has written to it, so a failed sync concerns nothing but that size.
fn fill(file: &File, path: &Path, size_bytes: u64, thin: bool) -> Result<(), OpenError> {
    grow(file, path, 0, size_bytes, thin)?;
    file.sync_all().map_err(|source| OpenError::Unsynced { path: path.to_owned(), source })
}

/// Makes a file larger, from `from` to `to` bytes. Unless it is thin it also gets its space, if there is room for all
/// of it; otherwise it becomes sparse, as its properties then say.
pub(super) fn grow(file: &File, path: &Path, from: u64, to: u64, thin: bool) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), action: "grow it to size=", source };
    let room = || sys::available_bytes(file).is_ok_and(|available| available >= to - from);
    if thin || !room() || allocate(file, from, to - from).is_err() {
        // The file is first cut back to `from` bytes, which gives back what a failed allocation has taken.
        file.set_len(from).and_then(|()| file.set_len(to)).map_err(failed)?;
    }
    Ok(())
}

fn allocate(file: &File, from: u64, len: u64) -> io::Result<()> {
    loop {
        match sys::fallocate(file, 0, from, len) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
