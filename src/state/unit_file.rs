//! The file of one logical unit: read, written whole, and locked.

use super::directory::Directory;
use super::error::StateError;
use super::format;
use super::owner::{Identity, Owner};
use crate::limits::MAX_STATE_BYTES;
use crate::model::Backing;
use crate::scsi::{LuParams, Saved};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a start waits for a process that was killed to let go of its locks.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the file of a logical unit said before whose it is was written down; that there was none.
#[derive(Debug)]
pub struct Before(Option<Vec<u8>>);

/// The file with the saved state of one logical unit.
#[derive(Debug)]
pub struct UnitFile {
    directory: PathBuf,
    pub(super) path: PathBuf,
    /// Its name in the directory.
    name: PathBuf,
    pub(super) identity: Identity,
    /// Locked while held.
    lock: Mutex<Option<File>>,
    /// The last attempt to save it has failed, and the log says so.
    pub(super) is_failing: AtomicBool,
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
