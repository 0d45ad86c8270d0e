//! What a configuration comes to.

use super::fault::Fault;
use crate::model::Snapshot;

/// What a file or the options ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What is served.
    pub snapshot: Snapshot,
    /// The log level, as `log` of the file has it.
    pub log: Option<String>,
    /// What is allowed, but should not stay as it is.
    pub warnings: Vec<Fault>,
}
