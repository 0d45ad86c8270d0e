//! What a logical unit's store is recognised by when it is served again.

/// A store of blocks: where it was found, and what it is known by there and elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// Where it was found: the absolute path of a file or device. What is not in a file is named by its place.
    pub path: String,
    /// What it is whatever it is called, as long as it is on this machine: inode and generation of a file, the identifier
    /// of a device. `None`: nothing is known that would last.
    /// Where a snapshot of the file system has files of the same mark, the device that this one is on follows ([`split_mark`]).
    pub mark: Option<String>,
    /// It outlives the process.
    pub lasts: bool,
}

/// What stands in a mark before the device that its file system is on.
pub const IN_DEVICE: &str = " in ";

/// A mark without the device that its file system is on, and that, where it says so.
pub fn split_mark(mark: &str) -> (&str, Option<&str>) {
    match mark.split_once(IN_DEVICE) {
        Some((file, device)) => (file, Some(device)),
        None => (mark, None),
    }
}
