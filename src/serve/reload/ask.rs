//! What a plan asks of file systems, and has done there.
//!
//! All of this is done beside the control thread ([`crate::serve::beside`]), which waits for no file system that does
//! not answer: then nothing changes. A unit that is to leave is asked nothing.

use super::Reloader;
use super::made::{Grown, Made};
use super::plan::Stay;
use crate::backend::OpenError;
use crate::fabric::mesh::Message;
use crate::model::{LunKind, LunSpec, Snapshot, TargetSpec, UnitIx};
use crate::scsi::identity;
use crate::serve::beside::Wait;
use crate::serve::error::ServeError;
use crate::state::{Name, Register};
use crate::unit::Unit;
use crate::unit::notice::Notice;
use crate::world::error::WorldError;
use crate::world::fresh::Fresh;
use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

fn naa(unit: &Unit) -> [u8; 16] {
    unit.logical.params().naa
}

/// Path of a LUN's file; empty if it has none.
fn place(lun: &LunSpec) -> PathBuf {
    if let LunKind::File(path) = &lun.kind { path.clone() } else { PathBuf::new() }
}

impl Reloader {
    /// Reads again which store has which identity: another ringsan may have served one. What is known then, for a plan.
    pub(super) fn refreshed_register(&self) -> Result<Register, ServeError> {
        let mut register = self.world.register.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The state directory is that of the start: another setting takes a restart.
        let state = self.world.directory.snapshot().state.clone();
        let silent = ServeError::Silent(state.clone());
        let refresh = move || {
            if let Err(error) = register.refresh(&state) {
                tracing::warn!("{error}");
            }
            register
        };
        self.beside.borrow_mut().call(Wait::Work, refresh).ok_or(silent)
    }

    /// Whether a unit that stays can have the size that is asked for. Nothing grows yet.
    ///
    /// A path is not a file: says so if it names another one than the unit has.
    pub(super) fn ask(
        &self,
        unit: UnitIx,
        lun: &LunSpec,
        (what, kept): (&str, &mut Vec<String>),
    ) -> Result<(), ServeError> {
        let Some(unit) = self.world.units.get(unit).map(Arc::clone) else { return Ok(()) };
        let (of, path, wanted) = (naa(&unit), place(lun), lun.clone());
        let look = move || (unit.medium.is_at(&place(&wanted)), unit.medium.asked(&wanted).map(drop));
        let (is_there, asked) = match self.beside.borrow_mut().call_of(of, Wait::Look, look) {
            Some(said) => said,
            None => return Err(ServeError::Silent(path)),
        };
        if !is_there {
            let path = path.display();
            kept.push(format!(
                "{what}: {path} is not the file any more that is served: it was replaced or removed, and what hosts write \
                 goes to the old one, which is gone when it is closed; put it back, or remove the LUN and add it again"
            ));
        }
        asked.map_err(|error| WorldError::Open(error).into())
    }

    /// Like [`Unit::open`], beside the control thread. The second value: it does not answer, and did not say so before.
    pub(super) fn open(
        &self,
        (common, target, lun): (&Arc<Snapshot>, &Arc<TargetSpec>, &LunSpec),
        register: &Arc<Mutex<Register>>,
        taken: &Arc<Vec<Name>>,
    ) -> (Result<Fresh, ServeError>, bool) {
        // The LUN, not what hosts know it by: that is found out only now.
        let of = identity::naa(target.name.as_str(), lun.number, None);
        let (common, target, wanted) = (Arc::clone(common), Arc::clone(target), lun.clone());
        let (register, taken, cores) = (Arc::clone(register), Arc::clone(taken), self.cores);
        let open = move || Unit::open((&common, &target, &wanted), &register, &taken, cores).map_err(ServeError::from);
        let mut beside = self.beside.borrow_mut();
        let is_late = beside.is_late(of);
        match beside.call_of(of, Wait::Work, open) {
            Some(opened) => (opened, false),
            None => (Err(ServeError::Silent(place(lun))), !is_late),
        }
    }

    /// Has units that stay grow: all that are needed, or none of them. The units that are to have another size from now on, with that
    /// size, bytes.
    pub(super) fn fit_all(
        &self,
        stay: &[Stay],
        made: &mut Made,
        kept: &mut Vec<String>,
    ) -> Result<Vec<(UnitIx, u64)>, ServeError> {
        let mut resized = Vec::new();
        for Stay { unit: number, lun, what, is_needed } in stay {
            let Some(unit) = self.world.units.get(*number) else { continue };
            let now = unit.medium.properties().size_bytes;
            let grown = match self.fit(*number, unit, lun, what) {
                Err(error) if !is_needed => {
                    kept.push(format!("{what} keeps the size that it has: {error}"));
                    continue;
                }
                grown => grown?,
            };
            let wanted = grown.fit.as_ref().map_or(now, |fit| fit.bytes);
            made.grown.push(grown);
            match wanted.cmp(&now) {
                Ordering::Less if !(lun.shrink || lun.cdrom) => kept.push(format!(
                    "{what} would have {wanted} bytes, and keeps {now}: it becomes smaller with shrink = true"
                )),
                Ordering::Greater | Ordering::Less => resized.push((*number, wanted)),
                Ordering::Equal => {}
            }
        }
        Ok(resized)
    }

    fn fit(&self, number: UnitIx, unit: &Arc<Unit>, lun: &LunSpec, what: &str) -> Result<Grown, ServeError> {
        let (of, mesh, unit) = (naa(unit), self.mesh.clone(), Arc::clone(unit));
        let (wanted, what) = (lun.clone(), what.to_owned());
        let fit = move || match unit.fit(&wanted) {
            Ok(fit) => Ok(Grown { unit, fit: Some(fit), what }),
            Err(error) => {
                if matches!(error, OpenError::Unsynced { .. }) {
                    // Any core will do: there the save keeps its place among what else is saved of the unit.
                    mesh.post(0, Message::Executor(Notice::Lost { unit: number }));
                }
                Err(WorldError::Open(error).into())
            }
        };
        self.beside.borrow_mut().call_of(of, Wait::Work, fit).unwrap_or_else(|| Err(ServeError::Silent(place(lun))))
    }

    /// Takes back what a plan has made and is not served. A unit that does not answer is taken back when it does, and
    /// keeps nothing else.
    pub(super) fn take_back(&self, made: Made) {
        let mut beside = self.beside.borrow_mut();
        for grown in made.grown {
            beside.drop_of(naa(&grown.unit), grown);
        }
        for fresh in made.fresh {
            beside.drop_of(naa(&fresh), fresh);
        }
    }
}
