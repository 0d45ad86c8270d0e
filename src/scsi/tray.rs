//! The tray of a removable medium: whether the medium is in, who wants it to stay there, and how often it was another one.

use super::params::NexusId;

/// The tray of a logical unit; among its rare state. One whose medium cannot be removed has it closed for ever.
#[derive(Debug, Default)]
pub(super) struct Tray {
    /// The medium is out.
    is_open: bool,
    /// How often the medium was ejected or loaded, or became another disc.
    changes: u64,
    /// PREVENT ALLOW MEDIUM REMOVAL: who wants it to stay.
    prevented_by: Vec<NexusId>,
}

/// Somebody prevents the medium from being removed, or put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prevented;

impl Tray {
    /// The medium is out.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Somebody prevents the medium from being removed.
    pub(super) fn is_locked(&self) -> bool {
        !self.prevented_by.is_empty()
    }

    /// How often the medium was ejected or loaded, or became another disc.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Loads or ejects the medium. Answers whether that has changed anything.
    pub(super) fn set_open(&mut self, is_open: bool) -> Result<bool, Prevented> {
        if self.is_locked() {
            return Err(Prevented);
        }
        let is_moved = self.is_open != is_open;
        self.is_open = is_open;
        self.changes += u64::from(is_moved);
        Ok(is_moved)
    }

    /// What is in it is another disc from now on.
    pub(super) fn change_disc(&mut self) {
        self.changes += 1;
    }

    /// A nexus wants the medium to stay.
    pub(super) fn prevent(&mut self, nexus: NexusId) {
        self.allow(nexus);
        self.prevented_by.push(nexus);
    }

    /// As far as a nexus is concerned, the medium may be removed.
    pub(super) fn allow(&mut self, nexus: NexusId) {
        self.prevented_by.retain(|preventer| *preventer != nexus);
    }

    /// As far as all are concerned, the medium may be removed.
    pub(super) fn allow_all(&mut self) {
        self.prevented_by.clear();
    }
}
