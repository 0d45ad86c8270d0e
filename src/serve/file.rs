//! The configuration file, as the process is told to read it.

use crate::model::Snapshot;
use std::path::PathBuf;

/// How the configuration is to be read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// As if the file said that.
    pub text: Option<&'a str>,
    /// It is to be served: what is not there for that is made.
    pub make: bool,
}

/// A configuration, read again.
#[derive(Debug)]
pub struct Read {
    /// What is to be served.
    pub snapshot: Snapshot,
    /// What is allowed, but should not stay as it is.
    pub warnings: Vec<String>,
    /// What tells its text from any other.
    pub tag: String,
}

/// Reads the configuration again, beside the control thread, and beside an earlier time that has not come back. The error: what
/// is wrong with it, a line each.
pub type Reread = dyn Fn(Reading<'_>) -> Result<Read, Vec<String>> + Send + Sync;

/// The configuration file.
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// What tells the text that is served at the start.
    pub tag: String,
    /// Reads it.
    pub read: Box<Reread>,
}
