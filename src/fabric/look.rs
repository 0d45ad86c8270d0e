//! How the control plane looks on at what passes between a core and its initiators: it asks the core again and again for what
//! was noted (`transport/tap.rs`), and brings the buffer for what will be.

use crate::scsi::opcode;
use std::sync::Arc;

pub use crate::transport::note::{Note, Notes, Seen, Who};
pub use crate::transport::tap::{Filter, Looked};

/// Comes for what a core has noted. The first look has it begin.
pub struct Look {
    /// Whose: unique in the process.
    pub id: u64,
    /// What is noted.
    pub what: Arc<Filter>,
    /// For what will be noted.
    pub empty: Notes,
    /// Takes what was noted; called on the core, so it must not wait. Dropped: there will be no answer.
    pub answer: Box<dyn FnOnce(Looked) + Send>,
}

/// What the standard calls the command of a CDB; `None`: there is none like that.
pub fn command_name(cdb: &[u8]) -> Option<&'static str> {
    opcode::find(cdb, 0).ok().map(|(row, _)| row.name)
}
