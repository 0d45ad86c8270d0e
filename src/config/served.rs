//! What a configuration comes to.

use super::fault::Fault;
use crate::model::Snapshot;
use std::path::PathBuf;

/// What a file or the options ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What is served.
    pub snapshot: Snapshot,
    /// The log level, as `log` of the file has it.
    pub log: Option<String>,
    /// How lines of the log are written, as `log-format` of the file has it.
    pub log_format: Option<String>,
    /// Where the control plane is found.
    pub control: ControlSocket,
    /// What is allowed, but should not stay as it is.
    pub warnings: Vec<Fault>,
    /// What tells the text of the file from any other (`store::tag`); empty: there is no file.
    pub tag: String,
}

/// Where the control plane is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ControlSocket {
    /// Where it is looked for first, else in the state directory.
    #[default]
    Usual,
    /// Here.
    At(PathBuf),
    /// Nowhere.
    Off,
}
