//! Whose a file is: the name of its unit, and the store that the unit is of.

use crate::model::{Backing, split_mark};
use crate::scsi::identity;
use std::fs;

/// What a logical unit is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// NAA designator.
    pub naa: [u8; 16],
    /// Unit serial number.
    pub serial: String,
}

/// The store that a record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) path: String,
    pub(super) mark: Option<String>,
    /// Of the machine that the mark is of; empty: unknown.
    pub(super) machine: String,
}

impl Owner {
    /// As a store is found here and now.
    pub(super) fn of(backing: &Backing) -> Owner {
        Owner { path: backing.path.clone(), mark: backing.mark.clone(), machine: machine() }
    }

    /// Whether it was this store. `has_double`: whether another one with its mark is at a path.
    pub(super) fn is(&self, backing: &Owner, has_double: &dyn Fn(&str) -> bool) -> bool {
        let is_there = self.path == backing.path;
        match (&self.mark, &backing.mark) {
            (Some(old), Some(new)) if self.machine == backing.machine && !self.machine.is_empty() => {
                let ((old, old_device), (new, new_device)) = (split_mark(old), split_mark(new));
                // Marks have got longer: what a record does not say yet is taken to be so where its store was.
                let said_less = || new.strip_prefix(old).is_some_and(|more| more.starts_with(' '));
                match old_device.zip(new_device) {
                    // A file system that was moved to another disk, and is mounted where it was, has the same files.
                    _ if is_there => old == new || said_less(),
                    // One on another disk that is mounted elsewhere is a snapshot, or a copy.
                    Some((old_device, new_device)) => old == new && old_device == new_device,
                    None => old == new && !has_double(&self.path),
                }
            }
            _ => is_there,
        }
    }
}

/// What the register knows of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: Name,
    /// `None`: written before stores were recorded.
    pub(super) owner: Option<Owner>,
}

/// What makes a unit's file its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// NAA designator, in hexadecimal digits.
    pub(super) naa: String,
    /// For people: the target's name.
    pub(super) target: String,
    pub(super) serial: String,
    /// The store that it is of.
    pub(super) owner: Option<Owner>,
    /// It is kept even if there is nothing else to say.
    pub(super) lasts: bool,
}

/// What the machine is known by, if it says.
fn machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = id.trim();
    // Not itself, which is nobody else's business (machine-id(5)).
    if id.is_empty() { String::new() } else { format!("{:032x}", identity::digest_of(id)) }
}
