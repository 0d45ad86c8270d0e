//! From a file or the command line's options to a validated [`Snapshot`].
//!
//! Both sources are read into the same [`value::Section`]s, so that a key means, accepts and says the same in either:
//! `document` reads TOML, `options` the command line, `draft` makes portals, targets and logical units of what they
//! found (`access`: accounts and groups), `machine` looks at the files and cores that are named. Every [`Fault`] knows where its setting was written: file, line and
//! key, or the option. All faults of a file are found in one go.
//!
//! Sizes are [`size`]'s; [`describe`] says in words what a snapshot serves. Nothing here changes the disk, except
//! [`create_directories`], which only `serve` calls.

use crate::model::Snapshot;
use std::fmt;
use std::path::{Path, PathBuf};

mod access;
mod cdrom;
pub mod describe;
mod document;
mod draft;
mod machine;
pub mod options;
mod resolve;
pub mod size;
#[cfg(test)]
mod tests;
mod value;

pub use access::{ACCOUNT_KEYS, DISCOVERY_KEYS, GROUP_KEYS, LIMITS_KEYS};
pub use draft::{LUN_KEYS, PORTAL_KEYS, TARGET_KEYS, TOP_KEYS, check_log_level};
pub use machine::create_directories;
pub use options::{Options, Overrides};

/// The address listened on when none is given.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:3260";
/// The port of an address that names none (RFC 7143 chapter 15: the default iSCSI port).
//= RFC 7143 section 15
//# Implementations needing a system TCP port number may use port 860, the
//# port assigned by IANA as the iSCSI system port; however, in order to use
//# port 860, it MUST be explicitly specified -- implementations MUST NOT
//# default to the use of port 860, as 3260 is the only allowed default.
pub const DEFAULT_PORT: u16 = 3260;
/// The target served when none is named.
pub const DEFAULT_TARGET: &str = "iqn.2026-11.io.ringsan:demo";
/// The logical unit served when none is given.
pub const DEFAULT_LUN: &str = "path=ringsan-data/lun0.img,size=1GiB,thin";

/// The directory for what outlives the process, when none is named: beside the file, or in the working directory.
pub const DEFAULT_STATE: &str = "ringsan-data";

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

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File {
        /// The file, as it was named.
        file: PathBuf,
        /// The line, from 1; `None` when the file as a whole is meant.
        line: Option<usize>,
        /// The key with its tables (`target.lun.size`); empty when no key is meant.
        key: String,
    },
    /// In an option of the command line: the option as it was typed.
    Option(String),
}

impl Origin {
    /// Whether it is a key of a file, called `name` in its table.
    fn key_is(&self, name: &str) -> bool {
        matches!(self, Self::File { key, .. } if key.rsplit('.').next() == Some(name))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, key } => {
                write!(f, "{}", file.display())?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                if key.is_empty() { Ok(()) } else { write!(f, ": {key}") }
            }
            Self::Option(option) => f.write_str(option),
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct Fault {
    /// Where it was written.
    pub origin: Origin,
    /// What is wrong with it and what would be right, in one line.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(origin: &Origin, message: impl Into<String>) -> Self {
        Self { origin: origin.clone(), message: message.into() }
    }
}

/// Everything that is wrong with a configuration: at least one fault, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl ConfigError {
    /// The faults.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

/// One line: the first fault, and how many more there are.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [] => f.write_str("the configuration is not valid"),
            [only] => only.fmt(f),
            [first, rest @ ..] => write!(f, "{first} (and {} more: see `ringsan check`)", rest.len()),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

/// Collects faults, so that one does not hide the next.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl Faults {
    fn add(&mut self, origin: &Origin, message: impl Into<String>) {
        self.faults.push(Fault::new(origin, message));
    }

    /// Notes what is allowed, but should not stay as it is.
    fn warn(&mut self, origin: &Origin, message: impl Into<String>) {
        self.warnings.push(Fault::new(origin, message));
    }

    /// The value, or `None` with its fault noted.
    fn keep<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.faults.push(fault)).ok()
    }

    /// `value`, unless there were faults.
    fn finish<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.faults.is_empty() {
            return Ok(value);
        }
        self.faults.sort_by_key(line);
        Err(ConfigError { faults: self.faults })
    }

    /// The configuration that `draft` amounts to, unless there were faults.
    fn config(mut self, draft: draft::Draft) -> Result<Config, ConfigError> {
        let mut config = draft.into_config();
        config.warnings = std::mem::take(&mut self.warnings);
        config.warnings.sort_by_key(line);
        self.finish(config)
    }
}

/// Where a fault is in its file.
fn line(fault: &Fault) -> Option<usize> {
    match fault.origin {
        Origin::File { line, .. } => line,
        Origin::Option(_) => None,
    }
}

/// Reads a configuration file and looks at the disks it names.
///
/// # Errors
/// Everything that is wrong with it, each with file, line and key.
pub fn from_file(file: &Path) -> Result<Config, ConfigError> {
    let text = document::load(file)?;
    let mut faults = Faults::default();
    let mut draft = document::read(&text, file, &mut faults);
    machine::check_secrecy(&draft, file, &mut faults);
    machine::read_secrets(&mut draft, &mut faults);
    resolve::resolve(&mut draft, &mut faults);
    machine::check(&draft, &mut faults);
    faults.config(draft)
}

/// Checks the text of a configuration file without looking at any disk or at the environment: an account whose secret is
/// not in the text lets nobody in. `file` is what faults name, and paths in the text are relative to its directory.
///
/// # Errors
/// Everything that is wrong with it, each with file, line and key.
pub fn from_text(text: &str, file: &Path) -> Result<Config, ConfigError> {
    let mut faults = Faults::default();
    let mut draft = document::read(text, file, &mut faults);
    resolve::resolve(&mut draft, &mut faults);
    faults.config(draft)
}

/// Makes a configuration of the command line's options and looks at the disks they name. What is not given has the
/// embedded default.
///
/// # Errors
/// Everything that is wrong with them, each with the option.
pub fn from_options(options: &Options) -> Result<Config, ConfigError> {
    let mut faults = Faults::default();
    let mut draft = options::read(options, &mut faults);
    machine::read_secrets(&mut draft, &mut faults);
    resolve::resolve(&mut draft, &mut faults);
    machine::check(&draft, &mut faults);
    faults.config(draft)
}
