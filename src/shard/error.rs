//! Why the server could not start, or had to stop: one line each that says what to do.

use crate::backend::OpenError;
use crate::state::StateError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the server could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
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
    /// The file system of a file, a device or the state directory does not answer.
    #[error("{}: its file system does not answer", .0.display())]
    Silent(PathBuf),
    /// A portal's address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The kernel does not take the TCP congestion control that the configuration names.
    #[error("congestion: cannot use '{0}': {1}")]
    Congestion(String, io::Error),
    /// `--cores`, or `cores` in the file, names a core that this process may not use.
    #[error("cannot run on core {0}: this process may use cores {1}")]
    Core(usize, String),
    /// No io_uring to be had.
    #[error(
        "io_uring is not usable here ({0}): ringsan needs Linux 6.1 or later with kernel.io_uring_disabled = 0, and a \
         container runtime whose seccomp profile allows it"
    )]
    Ring(io::Error),
    /// An executor could not be made.
    #[error(
        "cannot start the executors ({0}): if this is about memory, raise the limit for locked memory (ulimit -l, or \
         LimitMEMLOCK= in a unit file) to 64 MiB for each core or more"
    )]
    Executor(String),
    /// Anything else that the system refused.
    #[error("the system refused: {0}")]
    System(io::Error),
}
