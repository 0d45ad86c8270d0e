//! Why what is to be served cannot be opened: one line each that says what to do.

use crate::backend::OpenError;
use crate::state::StateError;
use std::io;
use std::path::PathBuf;

/// Why what is to be served cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A LUN's file or device cannot be opened, or cannot have the size that is asked for.
    #[error(transparent)]
    Open(OpenError),
    /// What was saved cannot be used: the state of a logical unit, or which disk has which identity.
    #[error(transparent)]
    State(StateError),
    /// A file that was served before is not there.
    #[error(
        "{path}: it was served before, and is not there: is its file system mounted? (To begin with an empty disk that hosts \
         take for the same, move {record} away; for another disk choose another path)",
        path = .path.display(), record = .record.display()
    )]
    Gone {
        /// The file.
        path: PathBuf,
        /// The record of it.
        record: PathBuf,
    },
    /// Two units of one identity.
    #[error(
        "{what} would have the designator {naa:032x} or the serial number '{serial}' of another logical unit: hosts would take \
         both for one disk"
    )]
    Identity {
        /// The second of the two.
        what: String,
        /// Its designator.
        naa: u128,
        /// Its serial number.
        serial: String,
    },
    /// Anything else that the system refused.
    #[error("the system refused: {0}")]
    System(io::Error),
}
