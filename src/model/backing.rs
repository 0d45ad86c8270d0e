//! What a logical unit's store is recognised by when it is served again.

/// A store of blocks: where it was found, and what it is known by there and elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// Where it was found: the absolute path of a file or device. What is not in a file is named by its place.
    pub path: String,
    /// What it is whatever it is called, as long as it is on this machine: inode and generation of a file, the identifier
    /// of a device. `None`: nothing is known that would last.
    pub mark: Option<String>,
    /// It outlives the process.
    pub lasts: bool,
}
