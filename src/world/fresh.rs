//! A unit between its opening and the moment from which it is served: a configuration of which something fails leaves neither
//! files nor records behind.
//!
//! The record is taken back first: a record that names a file which is not there would say that a disk is gone. The
//! file is locked until both are done.

use crate::backend::Medium;
use crate::model::{LunKind, LunSpec};
use crate::state::{Before, UnitFile};
use crate::unit::Unit;
use std::path::PathBuf;
use std::sync::Arc;

/// A unit that nobody was shown yet. Unless it is kept, what opening it has made, grown and written down is taken back.
pub struct Fresh {
    unit: Unit,
    undo: Undo,
}

impl Fresh {
    /// A unit, with what was done for it so far: that is kept or taken back with it.
    pub fn new(unit: Unit, undo: Undo) -> Fresh {
        Fresh { unit, undo }
    }

    /// The unit, which is served from now on.
    pub fn keep(self) -> Unit {
        let Fresh { unit, mut undo } = self;
        undo.keep();
        unit
    }
}

/// A fresh unit can be looked at as if it were served.
impl std::ops::Deref for Fresh {
    type Target = Unit;

    fn deref(&self) -> &Unit {
        &self.unit
    }
}

/// Takes back what was done for a unit, when it is dropped.
pub struct Undo {
    medium: Arc<Medium>,
    /// Path of its file, if something may have to be undone there.
    path: Option<PathBuf>,
    /// The file with its record, and what the record said before, if that is to be taken back.
    recorded: Option<(Arc<UnitFile>, Before)>,
}

impl Undo {
    /// For a medium that has just been opened.
    pub fn of(medium: &Arc<Medium>, lun: &LunSpec) -> Undo {
        let path = if let LunKind::File(path) = &lun.kind { Some(path.clone()) } else { None };
        Undo { medium: Arc::clone(medium), path, recorded: None }
    }

    /// Takes nothing back: what was done stays.
    pub fn keep(&mut self) {
        (self.path, self.recorded) = (None, None);
    }

    /// Takes no record back, nor a file that was made: a record that names a file which is not there would say that a
    /// disk is gone. A file that has grown gets its former length again, for those who still ask for that.
    pub fn keep_record(&mut self) {
        self.recorded = None;
        if !self.medium.has_grown() {
            self.path = None;
        }
    }

    /// Notes that it was written down whose the file is, and what was there before.
    pub fn recorded(&mut self, file: &Arc<UnitFile>, before: Option<Before>) {
        self.recorded = before.map(|before| (Arc::clone(file), before));
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some((file, before)) = &self.recorded
            && let Err(error) = file.unrecord(before)
        {
            tracing::error!(
                "{}: it names a logical unit that is not served after all, whose file stays for that: {error}",
                file.path().display()
            );
            return;
        }
        if let Some(path) = &self.path
            && let Err(error) = self.medium.undo(path)
        {
            let path = path.display();
            tracing::error!("{path}: it was made or grown for a LUN that is not served, and stays so: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IscsiName, Snapshot, TargetSpec};
    use std::fs;
    use std::sync::Mutex;

    /// A record without its file would say that a disk is gone.
    #[test]
    fn a_file_whose_record_cannot_be_taken_back_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (path, state) = (folder.path().join("disk"), folder.path().join("state"));
        let target = TargetSpec::new(IscsiName::new("iqn.2026-11.io.ringsan:t").unwrap(), None, Vec::new());
        let lun = LunSpec { create: true, size_bytes: Some(1 << 20), ..LunSpec::new(0, LunKind::File(path.clone())) };
        let snapshot = Snapshot { state: state.clone(), ..Snapshot::default() };
        for can_be_taken_back in [true, false] {
            let fresh = Unit::open((&snapshot, &target, &lun), &Mutex::default(), &[], 1).unwrap();
            assert!(path.exists());
            if !can_be_taken_back {
                fs::remove_dir_all(&state).and_then(|()| fs::write(&state, "")).unwrap();
            }
            drop(fresh);
            assert_eq!(path.exists(), !can_be_taken_back);
        }
    }

    #[test]
    fn a_record_that_is_kept_keeps_a_file_that_was_made_but_not_what_one_has_grown_by() {
        const MIB: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let (path, state) = (folder.path().join("disk"), folder.path().join("state"));
        let target = TargetSpec::new(IscsiName::new("iqn.2026-11.io.ringsan:t").unwrap(), None, Vec::new());
        let snapshot = Snapshot { state, ..Snapshot::default() };
        for asked in [MIB, 2 * MIB] {
            let kind = LunKind::File(path.clone());
            let lun = LunSpec { create: true, size_bytes: Some(asked), ..LunSpec::new(0, kind) };
            let mut fresh = Unit::open((&snapshot, &target, &lun), &Mutex::default(), &[], 1).unwrap();
            let record = fresh.file.path().to_owned();
            assert_eq!(fs::metadata(&path).unwrap().len(), asked);
            fresh.undo.keep_record();
            drop(fresh);
            assert_eq!((fs::metadata(&path).unwrap().len(), record.exists()), (MIB, true));
        }
    }
}
