//! What of the logical units outlives the process: one file for each in a directory of its own.
//!
//! - [`UnitFile`]: the file of one logical unit. It is written whole, beside the old one, made durable and then put in its
//!   place, so that at every moment there is the state before a change or the state after it.
//! - [`Keeper`]: the one thread that writes them, so that no core waits for a disk.
//!
//! Invariants: a file is named by the NAA designator of its unit, by which hosts know it, so it follows the unit and not
//! its place. The directory is made, and a file is made, when there is something to save for the first time. A file that
//! is not understood to the last bit is an error, and is never replaced. One process at a time has a file: who does holds
//! the lock beside it.
//!
//! Not here: what is saved and when it has to be ([`crate::scsi::Saved`]).

mod format;
mod keeper;

pub use keeper::Keeper;

use crate::limits::MAX_STATE_BYTES;
use crate::scsi::{LuParams, Saved};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a start waits for a process that was killed to let go of its locks.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the state of a logical unit cannot be had. Each is one line that names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refuses.
    #[error("{file}: the saved state of a logical unit cannot be read: {1}", file = .0.display())]
    Read(PathBuf, io::Error),
    /// Cut short, or changed by something else than this program.
    #[error(
        "{file}: the saved state of a logical unit is damaged ({1}): put a good copy in its place, or move it away to start \
         without its persistent reservations, saved mode pages and identifying information",
        file = .0.display()
    )]
    Damaged(PathBuf, String),
    /// Of a later version.
    #[error(
        "{file}: the saved state of a logical unit is of format {1}, and this ringsan knows format {own}: start one that \
         knows it, or move the file away",
        file = .0.display(), own = format::VERSION
    )]
    Version(PathBuf, String),
    /// Not of this unit.
    #[error(
        "{file}: this is the saved state of another logical unit ({1}): move it away, and put the right file in its place \
         if there is one",
        file = .0.display()
    )]
    Foreign(PathBuf, String),
    /// Another process serves a unit of the same name and has its state here.
    #[error(
        "{file}: another ringsan has the saved state of this logical unit: stop it, or give each a directory of its own \
         with --state DIR or the key state",
        file = .0.display()
    )]
    InUse(PathBuf),
}

/// What makes a unit's file its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// NAA designator, in hexadecimal digits.
    naa: String,
    /// For people: the target's name and the unit's serial number.
    target: String,
    serial: String,
}

/// The file with the saved state of one logical unit.
#[derive(Debug)]
pub struct UnitFile {
    directory: PathBuf,
    path: PathBuf,
    identity: Identity,
    /// Locked while held.
    lock: Mutex<Option<File>>,
}

impl UnitFile {
    /// The file of a unit, in `directory`. Touches nothing.
    pub fn new(directory: &Path, params: &LuParams) -> UnitFile {
        let naa: String = params.naa.iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        UnitFile {
            directory: directory.to_owned(),
            path: directory.join(format!("{naa}.state")),
            identity: Identity { naa, target: params.target_name.clone(), serial: params.serial.clone() },
            lock: Mutex::default(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what was saved; without a file, nothing was. Blocking.
    ///
    /// # Errors
    /// The file cannot be read, or is not to be trusted.
    pub fn load(&self) -> Result<Saved, StateError> {
        let failed = |error| StateError::Read(self.path.clone(), error);
        match fs::symlink_metadata(&self.path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Saved::default());
            }
            Err(error) => return Err(failed(error)),
            Ok(metadata) if !metadata.is_file() => return Err(failed(ErrorKind::InvalidInput.into())),
            Ok(_) => {}
        }
        // First, so that it does not change while it is read.
        if !self.lock(PATIENCE).map_err(failed)? {
            return Err(StateError::InUse(self.path.clone()));
        }
        let mut bytes = Vec::new();
        let file = File::open(&self.path).map_err(failed)?;
        file.take(MAX_STATE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        format::decode(&bytes, &self.identity).map_err(|flaw| flaw.at(&self.path))
    }

    /// Makes `saved` what a later [`UnitFile::load`] answers, also after a loss of power. Blocking.
    ///
    /// # Errors
    /// What the system says. The file then is as it was; when the last step failed, the directory's own sync, that is not
    /// known before the next success.
    pub fn save(&self, saved: &Saved) -> io::Result<()> {
        self.make_directory()?;
        if !self.lock(Duration::ZERO)? {
            return Err(io::Error::other("another ringsan has the saved state of this logical unit"));
        }
        if *saved == Saved::default() {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => return sync_directory(&self.directory),
            }
        }
        let new = self.path.with_extension("state.new");
        let text = format::encode(saved, &self.identity);
        self.replace(&new, text.as_bytes()).inspect_err(|_| {
            // It would only take space: nobody reads it.
            let _ = fs::remove_file(&new);
        })
    }

    fn replace(&self, new: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(new, &self.path)?;
        sync_directory(&self.directory)
    }

    fn make_directory(&self) -> io::Result<()> {
        match fs::create_dir(&self.directory) {
            // Its own name must last, too.
            Ok(()) => sync_directory(match self.directory.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            }),
            Err(_) if self.directory.is_dir() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock, if it is not held yet; false: somebody else has had it for all of `patience`.
    fn lock(&self, patience: Duration) -> io::Result<bool> {
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Ok(true);
        }
        let file = File::options().create(true).append(true).open(self.path.with_extension("lock"))?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    *held = Some(file);
                    return Ok(true);
                }
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests;
