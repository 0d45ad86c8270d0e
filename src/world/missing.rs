//! What the configuration has and is not served: what it is, why, and since when. The control thread goes on trying; others look at it
//! here. All worlds of a process have the same list, which changes while they do not.

use crate::model::{IscsiName, LunSpec, Portal};

/// A logical unit that is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingLun {
    /// The name of its target.
    pub target: IscsiName,
    /// What it is to be.
    pub lun: LunSpec,
    /// Why it is not served.
    pub why: String,
    /// It is a matter of moments: a file that was served otherwise is still to be closed.
    pub waits: bool,
    /// Since when, seconds since 1970.
    pub since: u64,
}

impl MissingLun {
    /// Which one it is, in words.
    pub fn what(&self) -> String {
        format!("LUN {} of {}", self.lun.number, self.target)
    }
}

/// A portal that is not listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPortal {
    /// What it is to be.
    pub portal: Portal,
    /// Why it is not listened on.
    pub why: String,
    /// It is a matter of moments: its port was that of another portal.
    pub waits: bool,
}

/// What is not served, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Missing {
    /// The logical units.
    pub luns: Vec<MissingLun>,
    /// The portals.
    pub portals: Vec<MissingPortal>,
}

impl Missing {
    /// Whether all of the configuration is served.
    pub fn is_empty(&self) -> bool {
        self.luns.is_empty() && self.portals.is_empty()
    }
}
