//! A session on a core: its state machine, and what the core has for it beside that. What its commands are doing is the
//! executor's (`exec/executor.rs`, `Client`), under the same number.

use super::passed::Passed;
use super::text::SeatText;
use crate::limits::CONNECTION_SLOTS;
use crate::model::ConnNo;
use crate::scsi::LuNexus;
use crate::session::directory::{Access, Applicant};
use crate::session::{Session, SessionKind};
use crate::wire::Tsih;
use crate::world::registry::SessionHandle;
use crate::world::targets::LunMap;
use std::sync::Arc;

/// The connections of a session, by slot.
pub type Route = [Option<ConnNo>; CONNECTION_SLOTS];

/// Whether the end of a command of a session may let others of it begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// No command waits for another to end.
    Free,
    /// A command waits, for an ORDERED one or because it is one.
    Kept,
    /// As `Kept`, and something may have ended: the seat is in `Seats::stirred`, which is looked at at the end of the turn.
    Stirred,
}

/// A session on this core.
pub struct Seat {
    /// The state machine.
    pub session: Session,
    /// Text negotiations in full feature phase.
    pub text: SeatText,
    /// Index of its target; none in a discovery session.
    pub target: Option<usize>,
    /// The user that its initiator has proved to be.
    pub identity: Option<Arc<str>>,
    /// What the directory lets it have; `None`: nothing any more.
    pub access: Option<Access>,
    /// The units that it finds, by LUN.
    pub map: Arc<LunMap>,
    /// Its TSIH, for as long as it lives.
    pub handle: SessionHandle,
    /// What its nexus has pending at each unit of `map`, in that order.
    pub nexus: Vec<LuNexus>,
    /// Where the data came from that may have to be sent again.
    pub sources: super::sources::Sources,
    /// What its commands have come to.
    pub passed: Passed,
    /// No more events of it will come; it is dropped when its tasks have let go.
    pub ended: bool,
    /// Unique in the process: seats are used again.
    pub serial: u64,
    /// Whether its ORDERED commands have others wait.
    pub order: Order,
    /// Until then it is not to be moved to another core, milliseconds.
    pub stays_until_ms: u64,
    /// Since when it has had no connection, milliseconds, if it waits for one (`lost.rs`).
    pub lost_ms: u64,
}

impl Seat {
    /// Its TSIH.
    pub fn tsih(&self) -> Tsih {
        self.handle.tsih()
    }

    /// Whether it waits for a new connection.
    pub fn is_lost(&self) -> bool {
        !self.ended && self.session.is_failed()
    }

    /// As whom the session asks the directory. (What target a discovery session names makes no difference to what it
    /// may have.)
    pub fn applicant(&self) -> Applicant<'_> {
        let init = self.session.init();
        Applicant {
            kind: init.kind,
            target: init
                .target_name
                .as_ref()
                .filter(|_| init.kind == SessionKind::Normal)
                .and_then(|name| Some((self.target?, name))),
            portal_group: init.target_portal_group,
            initiator: &init.initiator.name,
            peer: self.text.peer(),
            identity: self.identity.as_deref(),
        }
    }

    /// Its initiator group at its target; `None`: none.
    pub fn group(&self) -> Option<usize> {
        self.access.and_then(Access::group)
    }
}
