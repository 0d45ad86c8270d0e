//! What of the logical units outlives the process: one file for each in a directory of its own.
//!
//! - [`UnitFile`]: the file of one logical unit. It is written whole, beside the old one, made durable and then put in its
//!   place, so that at every moment there is the state before a change or the state after it.
//! - [`Keeper`]: the one thread that writes them, so that no core waits for a disk, nor for that thread.
//!
//! Invariants: a file is named by the NAA designator of its unit, by which hosts know it, so it follows the unit and not
//! its place. It is made when there is something to save for the first time, which of a file or device is when it is
//! served: which store has the designator ([`Register`]). A file that is not understood to the last bit is an error, and is
//! never replaced. One process at a time has a file: who does holds the lock beside it.
//!
//! Not here: what is saved and when it has to be ([`crate::scsi::Saved`]).

mod directory;
mod error;
mod format;
mod keeper;
mod owner;
mod register;
mod unit_file;

pub use error::StateError;
pub(crate) use keeper::KeeperByHand;
pub use keeper::{Keeper, KeeperThread};
pub use owner::Name;
pub use register::{Register, Wanted};
pub use unit_file::{Before, UnitFile};

use directory::Directory;
use std::path::Path;

/// Says once what should not stay as it is.
pub fn warn_of_others(directory: &Path) {
    if let Ok(Some(open)) = Directory::open(directory)
        && open.is_open_to_others()
    {
        tracing::warn!(directory = %directory.display(), "others than its owner can get at the saved state: chmod 700");
    }
}

#[cfg(test)]
mod tests;
