//! The directory of the saved state. What is in it is opened relative to the open directory, and links in it are not
//! followed: what is read and replaced are files of this directory, whoever else can write to it.

use crate::limits::MAX_STATE_BYTES;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Of the directory and its files: they say who may do what with the disks.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

fn parent_of(path: &Path) -> io::Result<File> {
    File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// The open directory.
#[derive(Debug)]
pub(super) struct Directory(File);

impl Directory {
    /// Opens it; `None`: it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Option<Directory>> {
        match File::open(path) {
            Ok(file) if file.metadata()?.is_dir() => Ok(Some(Directory(file))),
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens it, and makes it if it is not there.
    pub(super) fn make(path: &Path) -> io::Result<Directory> {
        if let Some(open) = Directory::open(path)? {
            return Ok(open);
        }
        match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Its own name must last, too.
        parent_of(path)?.sync_all()?;
        Directory::open(path)?.ok_or_else(|| io::ErrorKind::NotADirectory.into())
    }

    /// Makes the name of the directory at `path`, which is there, last: whoever made it need not have done that. The control
    /// plane has its socket here, too, and a process may have been killed before it could. Blocking.
    pub(super) fn keep_name(path: &Path) -> io::Result<()> {
        match parent_of(path).and_then(|parent| parent.sync_all()) {
            // One who cannot look there has not made it; nor has anybody where nothing is ever written, as in the image that an
            // appliance mounts its disks in.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EINVAL | libc::EROFS)) => Ok(()),
            kept => kept,
        }
    }

    /// Whether others than its owner may look here, or even put files here.
    pub(super) fn is_open_to_others(&self) -> bool {
        self.0.metadata().is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
    }

    fn file(&self, name: &Path, flags: OFlags) -> Result<File, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(FILE_MODE)).map(File::from)
    }

    /// What is in a file; `None`: it is not there.
    pub(super) fn read(&self, name: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = match self.file(name, OFlags::RDONLY) {
            Err(Errno::NOENT) => return Ok(None),
            file => file?,
        };
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = Vec::new();
        file.take(MAX_STATE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// A file to lock; nothing is ever written to it.
    pub(super) fn lock_file(&self, name: &Path) -> io::Result<File> {
        Ok(self.file(name, OFlags::CREATE | OFlags::RDWR)?)
    }

    /// Puts a file with these bytes in the place of `name`, durably. It is written as `new` beside it.
    pub(super) fn replace(&self, name: &Path, new: &Path, bytes: &[u8]) -> io::Result<()> {
        // What a killed process left, or somebody else put there.
        self.remove_name(new)?;
        let written = self.file(new, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY).map_err(io::Error::from);
        let written = written.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
        let renamed = written.and_then(|()| Ok(rustix::fs::renameat(&self.0, new, &self.0, name)?));
        if let Err(error) = renamed {
            // It would only take space: nobody reads it.
            let _ = self.remove_name(new);
            return Err(error);
        }
        self.0.sync_all()
    }

    /// Removes a file, durably.
    pub(super) fn remove(&self, name: &Path) -> io::Result<()> {
        self.remove_name(name)?;
        self.0.sync_all()
    }

    fn remove_name(&self, name: &Path) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            done => Ok(done?),
        }
    }
}
