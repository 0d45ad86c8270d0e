//! What of the logical units outlives the process: one file for each in a directory of its own.
//!
//! - [`UnitFile`]: the file of one logical unit. It is written whole, beside the old one, made durable and then put in its
//!   place, so that at every moment there is the state before a change or the state after it.
//! - [`Keeper`]: the one thread that writes them, so that no core waits for a disk, nor for that thread.
//!
//! Invariants: a file is named by the NAA designator of its unit, by which hosts know it, so it follows the unit and not
//! its place. It is made when there is something to save for the first time, which of a file or device is when it is
//! served: which store has the designator ([`Register`]). A file that is not understood to the last bit is an error, and is
//! never replaced. One process at a time has a file: who does holds the lock beside it.
//!
//! Not here: what is saved and when it has to be ([`crate::scsi::Saved`]).

mod directory;
mod format;
mod keeper;
mod register;

pub use keeper::{Keeper, KeeperThread};
pub use register::{Name, Register, Wanted};

use crate::limits::MAX_STATE_BYTES;
use crate::model::Backing;
use crate::scsi::{LuParams, Saved};
use directory::Directory;
use register::Owner;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
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
    /// For people: the target's name.
    target: String,
    serial: String,
    /// The store that it is of.
    owner: Option<Owner>,
    /// It is kept even if there is nothing else to say.
    lasts: bool,
}

/// What the file of a logical unit said before whose it is was written down; that there was none.
#[derive(Debug)]
pub struct Before(Option<Vec<u8>>);

/// The file with the saved state of one logical unit.
#[derive(Debug)]
pub struct UnitFile {
    directory: PathBuf,
    path: PathBuf,
    /// Its name in the directory.
    name: PathBuf,
    identity: Identity,
    /// Locked while held.
    lock: Mutex<Option<File>>,
    /// The last attempt to save it has failed, and the log says so.
    is_failing: AtomicBool,
}

impl UnitFile {
    /// The file of a unit, in `directory`. Touches nothing. `backing`: where its blocks live, if that is to be recorded.
    pub fn new(directory: &Path, params: &LuParams, backing: Option<&Backing>) -> UnitFile {
        let naa = format::hex(&params.naa);
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let name = PathBuf::from(format!("{naa}.state"));
        UnitFile {
            directory: directory.to_owned(),
            path: directory.join(&name),
            name,
            identity: Identity {
                naa,
                target: params.target_name.clone(),
                serial: params.serial.clone(),
                owner: backing.map(Owner::of),
                lasts: backing.is_some_and(|backing| backing.lasts),
            },
            lock: Mutex::default(),
            is_failing: AtomicBool::new(false),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is of a store that outlives the process.
    pub fn lasts(&self) -> bool {
        self.identity.lasts
    }

    /// Reads what was saved; without a file, nothing was. Blocking.
    ///
    /// # Errors
    /// The file cannot be read, or is not to be trusted.
    pub fn load(&self) -> Result<Saved, StateError> {
        let failed = |error| StateError::Read(self.path.clone(), error);
        let Some(directory) = Directory::open(&self.directory).map_err(failed)? else { return Ok(Saved::default()) };
        if directory.read(&self.name).map_err(failed)?.is_none() {
            return Ok(Saved::default());
        }
        // First, so that it does not change while it is read.
        if !self.lock(&directory, PATIENCE).map_err(failed)? {
            return Err(StateError::InUse(self.path.clone()));
        }
        let bytes = directory.read(&self.name).map_err(failed)?.unwrap_or_default();
        format::decode(&bytes, &self.identity).map_err(|flaw| flaw.at(&self.path))
    }

    /// Writes down whose state this is, before it is served. What was saved stays. What the file said before, if that is something
    /// else. Blocking.
    ///
    /// # Errors
    /// As [`UnitFile::save`].
    pub fn record(&self, saved: &Saved) -> io::Result<Option<Before>> {
        if !self.identity.lasts {
            return Ok(None);
        }
        let text = format::encode(saved, &self.identity);
        let old = Directory::open(&self.directory)?.map(|directory| directory.read(&self.name)).transpose()?.flatten();
        if old.as_ref().is_some_and(|old| old == text.as_bytes()) {
            return Ok(None);
        }
        self.save(saved)?;
        Ok(Some(Before(old)))
    }

    /// It is not served after all: the file is as it was before [`UnitFile::record`]. Blocking.
    ///
    /// # Errors
    /// As [`UnitFile::save`].
    pub fn unrecord(&self, before: &Before) -> io::Result<()> {
        let directory = Directory::make(&self.directory)?;
        match &before.0 {
            Some(old) => directory.replace(&self.name, &self.new_name(), old),
            None => directory.remove(&self.name),
        }
    }

    /// What is to be the file is written as this.
    fn new_name(&self) -> PathBuf {
        self.name.with_extension("state.new")
    }

    /// Makes `saved` what a later [`UnitFile::load`] answers, also after a loss of power. Blocking.
    ///
    /// # Errors
    /// What the system says. The file then is as it was; when the last step failed, the directory's own sync, that is not
    /// known before the next success.
    pub fn save(&self, saved: &Saved) -> io::Result<()> {
        let directory = Directory::make(&self.directory)?;
        if !self.lock(&directory, Duration::ZERO)? {
            return Err(io::Error::other("another ringsan has the saved state of this logical unit"));
        }
        if *saved == Saved::default() && !self.identity.lasts {
            return directory.remove(&self.name);
        }
        let text = format::encode(saved, &self.identity);
        if text.len() as u64 > MAX_STATE_BYTES {
            // It would be refused when it is read: the next start has nothing then.
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the state is too long to be saved"));
        }
        directory.replace(&self.name, &self.new_name(), text.as_bytes())
    }

    /// Takes the lock, if it is not held yet; false: somebody else has had it for all of `patience`.
    fn lock(&self, directory: &Directory, patience: Duration) -> io::Result<bool> {
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Ok(true);
        }
        let file = directory.lock_file(&self.name.with_extension("lock"))?;
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

/// Says once what should not stay as it is.
pub fn warn_of_others(directory: &Path) {
    if let Ok(Some(open)) = Directory::open(directory)
        && open.is_open_to_others()
    {
        tracing::warn!(directory = %directory.display(), "others than its owner can write to the saved state: chmod 700");
    }
}

#[cfg(test)]
mod tests;
