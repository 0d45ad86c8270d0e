//! What is wrong with a configuration, and where that was written.

use std::fmt;
use std::path::PathBuf;

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
    pub(super) fn key_is(&self, name: &str) -> bool {
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
    pub(super) fn add(&mut self, origin: &Origin, message: impl Into<String>) {
        self.faults.push(Fault::new(origin, message));
    }

    /// Notes what is allowed, but should not stay as it is.
    pub(super) fn warn(&mut self, origin: &Origin, message: impl Into<String>) {
        self.warnings.push(Fault::new(origin, message));
    }

    /// The value, or `None` with its fault noted.
    pub(super) fn keep<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.faults.push(fault)).ok()
    }

    /// `value`, unless there were faults.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.faults.is_empty() {
            return Ok(value);
        }
        self.faults.sort_by_key(line);
        Err(ConfigError { faults: self.faults })
    }

    /// What is allowed, but should not stay as it is, in the order of the file.
    pub(super) fn take_warnings(&mut self) -> Vec<Fault> {
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.sort_by_key(line);
        warnings
    }
}

/// Where a fault is in its file.
fn line(fault: &Fault) -> Option<usize> {
    match fault.origin {
        Origin::File { line, .. } => line,
        Origin::Option(_) => None,
    }
}

/// An error of the system, without its number.
pub(super) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
