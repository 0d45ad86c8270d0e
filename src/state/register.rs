//! Which logical unit has which identity: the NAA designator and the serial number by which hosts know it.
//!
//! An identity belongs to the store that holds the data, not to the place that it is shown at. Each file in the directory
//! is the record of one: it names the store that had it last. A store is recognised by its mark (the file system's handle of
//! a file, which a rename keeps and a copy does not have; the identifier of a device), or by its path where there is no mark
//! or where the record was written on another machine. A snapshot of a file system has files that it calls as the original does.
//! Where marks say which device the file system is on, that tells them apart; where one does not, a mark alone does not take
//! a record away from the path that it names: not while another store of that mark is there.
//!
//! A store without a record is given the identity that was always derived from target and LUN, which is what hosts know
//! of those that were served before there were records; one at a LUN whose derived identity belongs to another store is
//! given a new one. Identities that the configuration sets are nobody else's business.

use super::directory::Directory;
use super::error::StateError;
use super::format::{self, Flaw};
use super::owner::{Name, Owner, Record};
use crate::limits::STATE_FILES;
use crate::model::Backing;
use crate::scsi::identity;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Where a unit is shown, and what the configuration wants it to be called.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// iSCSI name of its target.
    pub target: &'a str,
    /// Its LUN.
    pub lun: u16,
    /// `naa`.
    pub naa: Option<[u8; 16]>,
    /// `serial`.
    pub serial: Option<&'a str>,
}

/// The records of a directory.
#[derive(Debug, Clone, Default)]
pub struct Register {
    pub(super) records: Vec<Record>,
}

impl Register {
    /// Reads all records, of a directory whose name lasts from then on. Blocking.
    ///
    /// # Errors
    /// A record that cannot be read: whose it is cannot be told, and another unit must not be taken for it. The directory's name
    /// may not last.
    pub fn read(directory: &Path) -> Result<Register, StateError> {
        let mut register = Register::default();
        if directory.is_dir() {
            Directory::keep_name(directory).map_err(|error| StateError::Read(directory.to_owned(), error))?;
        }
        register.refresh(directory)?;
        Ok(register)
    }

    /// Reads them again; what was known and is there no more stays known.
    ///
    /// # Errors
    /// As [`Register::read`].
    pub fn refresh(&mut self, directory: &Path) -> Result<(), StateError> {
        let failed = |path: &Path, error| StateError::Read(path.to_owned(), error);
        let entries = match fs::read_dir(directory) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            entries => entries.map_err(|error| failed(directory, error))?,
        };
        let Some(open) = Directory::open(directory).map_err(|error| failed(directory, error))? else { return Ok(()) };
        for entry in entries {
            let name = entry.map_err(|error| failed(directory, error))?.file_name();
            let naa =
                name.to_str().and_then(|name| name.strip_suffix(".state")).filter(|naa| format::naa_of(naa).is_some());
            let Some(naa) = naa else { continue };
            let path = directory.join(&name);
            let bytes = match open.read(Path::new(&name)) {
                Ok(Some(bytes)) => bytes,
                // Replaced or removed by another ringsan.
                Ok(None) => continue,
                Err(error) => return Err(failed(&path, error)),
            };
            let record = format::record(&bytes).and_then(|record| match format::hex(&record.name.naa) == naa {
                true => Ok(record),
                false => Err(Flaw::Foreign(format!("serial number {}", record.name.serial))),
            });
            let record = record.map_err(|flaw| flaw.at(&path))?;
            if self.records.len() >= STATE_FILES {
                return Err(failed(directory, io::Error::other("there are too many saved states")));
            }
            self.put(record);
        }
        Ok(())
    }

    fn put(&mut self, record: Record) {
        match self.records.iter_mut().find(|known| known.name.naa == record.name.naa) {
            Some(known) => *known = record,
            None => self.records.push(record),
        }
    }

    /// The record of a store that was served from this path before.
    pub fn of_path(&self, path: &str) -> Option<String> {
        let known = self.records.iter().find(|record| record.owner.as_ref().is_some_and(|owner| owner.path == path))?;
        Some(format!("{}.state", format::hex(&known.name.naa)))
    }

    /// The name of a unit over `backing`. Those in `taken` are served by others; `has_double` says whether another store that
    /// has the mark of this one is at a path. The second value: it is another name than the place has had, as that belongs to
    /// another store.
    ///
    /// # Errors
    /// No random numbers are to be had.
    pub fn name(
        &mut self,
        wanted: Wanted<'_>,
        backing: &Backing,
        taken: &[[u8; 16]],
        has_double: &dyn Fn(&str) -> bool,
    ) -> io::Result<(Name, bool)> {
        let Wanted { target, lun, naa, serial } = wanted;
        let owner = Owner::of(backing);
        let derived = identity::naa(target, lun, serial);
        if naa.is_some() || serial.is_some() {
            let naa = naa.unwrap_or(derived);
            let name = Name { naa, serial: serial.map_or_else(|| identity::serial_of(&naa), str::to_owned) };
            self.put(Record { name: name.clone(), owner: Some(owner) });
            return Ok((name, false));
        }
        let is_free = |record: &&Record| !taken.contains(&record.name.naa);
        let is_own = |record: &&Record| record.owner.as_ref().is_some_and(|old| old.is(&owner, has_double));
        // Of two records with one mark, the one of this path; of two names that a store has had, the derived one.
        let rank = |record: &&Record| {
            let elsewhere = record.owner.as_ref().is_none_or(|old| old.path != owner.path);
            (elsewhere, record.name.naa != derived, record.name.naa)
        };
        // In this order: nearly all are another's, and to look through all that is taken for each is work of the third power.
        if let Some(own) = self.records.iter().filter(is_own).filter(is_free).min_by_key(rank) {
            let name = own.name.clone();
            self.put(Record { name: name.clone(), owner: Some(owner) });
            return Ok((name, false));
        }
        let claimed = self.records.iter().find(|record| record.name.naa == derived);
        let belongs_to_another = claimed.is_some_and(|record| record.owner.is_some()) || taken.contains(&derived);
        let name = if !belongs_to_another {
            Name { naa: derived, serial: identity::default_serial(target, lun) }
        } else if backing.lasts {
            let mut random = [0; 16];
            File::open("/dev/urandom")?.read_exact(&mut random)?;
            let naa = identity::naa_of(u128::from_be_bytes(random));
            Name { naa, serial: identity::serial_of(&naa) }
        } else {
            // What is in it ends with the process, and so would the record: the same one each time. No configured serial
            // number has blanks.
            let naa = identity::naa(target, lun, Some(&format!("{} of {lun}", backing.path)));
            Name { naa, serial: identity::serial_of(&naa) }
        };
        self.put(Record { name: name.clone(), owner: Some(owner) });
        Ok((name, belongs_to_another))
    }
}
