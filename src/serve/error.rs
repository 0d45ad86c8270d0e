//! Why the server could not start, or had to stop: one line each that says what to do.

use crate::world::error::WorldError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the server could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What was to be served cannot be opened.
    #[error(transparent)]
    World(WorldError),
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

impl From<WorldError> for ServeError {
    fn from(error: WorldError) -> ServeError {
        match error {
            WorldError::System(error) => ServeError::System(error),
            error => ServeError::World(error),
        }
    }
}
