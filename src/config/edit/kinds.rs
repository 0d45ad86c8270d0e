//! What can be changed in a file, and why that can fail.

use crate::config::DEFAULT_LISTEN;
use std::fmt;
use thiserror::Error;

/// A table of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The portal that listens at this address.
    Portal(String),
    /// The account of this user.
    Account(String),
    /// The target of this name, or of what no other has behind its last colon. `None`: the only one.
    Target(Option<String>),
    /// A logical unit of a target, by its LUN. `None`: the lowest that is free.
    Lun(Option<String>, Option<u16>),
    /// An initiator group of a target, by its name, or its place from 1 on if it has none.
    Group(Option<String>, String),
}

/// What is done to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// It comes, and must not be there.
    Add(Vec<Setting>),
    /// It is there with these settings and no others; tables within it stay.
    Put(Vec<Setting>),
    /// It gets other settings; those that are not named stay.
    Set(Vec<Setting>),
    /// It goes.
    Remove,
}

/// A change to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which table is meant.
    pub place: Place,
    /// What becomes of it.
    pub act: Act,
}

/// A key of the file, and what it is to say; `None`: it goes.
pub type Setting = (String, Option<Said>);

/// What a key says.
#[derive(Clone, PartialEq, Eq)]
pub enum Said {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// Several.
    List(Vec<Said>),
}

/// It can be a secret: what it is, is not shown.
impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Said::Text(_) => "a text",
            Said::Number(_) => "a number",
            Said::Flag(_) => "a flag",
            Said::List(_) => "a list",
        })
    }
}

/// Why a text cannot be changed so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    /// It is not TOML.
    #[error("the file is not valid: {0}")]
    Broken(String),
    /// No target is called so.
    #[error("there is no target '{0}' in the file{1}")]
    NoTarget(String, Near),
    /// There are several, and none was named.
    #[error("the file has {0} targets: say which one is meant")]
    WhichTarget(usize),
    /// There is no such table.
    #[error("{0} is not in the file{1}")]
    None(String, Near),
    /// There is one already.
    #[error("{0} is in the file already: it can be set, or another one added")]
    Taken(String),
    /// Without it, another one would come in its place.
    #[error("{0} is the only portal: without one, ringsan would listen on {DEFAULT_LISTEN}; add another one first")]
    LastPortal(String),
    /// The file writes its tables otherwise.
    #[error("'{0}' is not written as [[{0}]]: it can be changed by hand only")]
    Inline(&'static str),
}

impl EditError {
    /// Whether what is meant is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, EditError::NoTarget(..) | EditError::None(..))
    }

    /// Whether what should come is there already.
    pub fn is_taken(&self) -> bool {
        matches!(self, EditError::Taken(_))
    }
}

/// What there is instead of what was meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Near {
    /// Nothing.
    #[default]
    Nothing,
    /// This has nearly the name.
    One(String),
    /// These.
    All(Vec<String>),
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// So many are named.
        const SHOWN: usize = 16;
        match self {
            Near::Nothing => Ok(()),
            Near::One(name) => write!(f, ": did you mean '{name}'?"),
            Near::All(names) => {
                let more = if names.len() > SHOWN { ", ..." } else { "" };
                let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
                write!(f, ": there is {}{more}", shown.join(", "))
            }
        }
    }
}
