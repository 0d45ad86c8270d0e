//! Why the state of a logical unit cannot be had.

use super::format::{self, Flaw};
use std::io;
use std::path::{Path, PathBuf};

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

impl Flaw {
    /// The same, with the file.
    pub(super) fn at(self, path: &Path) -> StateError {
        match self {
            Flaw::Damaged(why) => StateError::Damaged(path.to_owned(), why),
            Flaw::Version(found) => StateError::Version(path.to_owned(), found),
            Flaw::Foreign(unit) => StateError::Foreign(path.to_owned(), unit),
        }
    }
}
