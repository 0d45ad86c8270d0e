//! Which changes of the medium a nexus has reported: what GET EVENT STATUS NOTIFICATION has told.

use super::super::tray::Tray;

/// NOTIFICATION CLASS of operational changes.
pub(super) const OPERATIONAL_CHANGE: u8 = 1;
/// NOTIFICATION CLASS of the media.
pub(super) const MEDIA: u8 = 4;

/// Changes of the medium that a nexus has reported, by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Reported {
    operational: u64,
    media: u64,
}

impl Reported {
    /// Nothing is new to a nexus that begins now.
    pub(in super::super) fn begin(tray: &Tray) -> Reported {
        Reported { operational: tray.changes(), media: tray.changes() }
    }

    /// Whether a class has something to report.
    pub(super) fn lacks(&self, class: u8, tray: &Tray) -> bool {
        match class {
            OPERATIONAL_CHANGE => self.operational != tray.changes(),
            MEDIA => self.media != tray.changes(),
            _ => false,
        }
    }

    pub(super) fn note(&mut self, class: u8, tray: &Tray) {
        match class {
            OPERATIONAL_CHANGE => self.operational = tray.changes(),
            MEDIA => self.media = tray.changes(),
            _ => {}
        }
    }
}
