//! What a core tells of itself and its sessions to who looks from outside: an [`Inquiry`], and a [`CoreReport`] as its answer.
//!
//! A core answers between two turns' worth of other work, and tells of [`SESSIONS_A_REPORT`] sessions at most: who wants
//! more asks again, from where the report ended.

pub use super::passed::Row;
use super::stats::Stats;
use crate::model::PerUnit;
use crate::session::SessionInit;
use crate::session::params::OwnParams;
use crate::wire::{Cid, Tsih};
use std::net::SocketAddr;
use std::sync::Arc;

pub use crate::scsi::{Trouble, Troubles};
pub use crate::tasks::spent::Stage;
pub use crate::tasks::tally::{Class, Latency, Traffic, UnitTraffic};
pub use crate::transport::protocol::{Counted, Protocol};

/// Sessions in one report, at most.
pub const SESSIONS_A_REPORT: usize = 64;

/// Which sessions are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// None.
    None,
    /// Those behind this TSIH, ascending.
    Behind(Tsih),
    /// This one.
    One(Tsih),
}

/// Takes the answer to an [`Inquiry`]; called on the core, so it must not wait. Dropped: there will be none.
pub type Answer = Box<dyn FnOnce(CoreReport) + Send>;

/// What is asked of a core.
pub struct Inquiry {
    /// The sessions that are told of.
    pub which: Which,
    /// Takes the answer.
    pub answer: Answer,
}

/// A session that is to be dropped.
pub struct Dismissal {
    /// The session.
    pub tsih: Tsih,
    /// Takes whether it was here; called on the core, so it must not wait. Dropped: there will be no answer.
    pub answer: Box<dyn FnOnce(bool) + Send>,
}

/// What a core tells.
#[derive(Debug, Clone)]
pub struct CoreReport {
    /// The core.
    pub core: usize,
    /// What it has counted.
    pub stats: Stats,
    /// What it has counted of the protocol besides commands.
    pub protocol: Protocol,
    /// What commands have ended with that did not end well, at each unit that has had one. `None`: sessions were asked for.
    pub troubles: Option<PerUnit<Vec<Troubles>>>,
    /// What has ended on it. `None`: sessions were asked for.
    pub traffic: Option<Box<Traffic>>,
    /// Sessions on it.
    pub sessions: usize,
    /// Connections on it, those that log in among them.
    pub connections: usize,
    /// Bytes of I/O buffers that nobody holds.
    pub free_buffer_bytes: usize,
    /// How often there was no I/O buffer for who asked for one.
    pub buffer_failures: u64,
    /// Operations that media have not answered.
    pub operations: usize,
    /// Commands at work at each unit, or waiting to be. Empty: sessions were asked for.
    pub at_work: PerUnit<Vec<u32>>,
    /// The sessions that were asked for, by TSIH, ascending.
    pub of: Vec<SessionReport>,
    /// There are more behind the last of those.
    pub more: bool,
}

/// What is told of a session.
#[derive(Debug, Clone)]
pub struct SessionReport {
    /// What its login has left.
    pub init: SessionInit,
    /// The user that its initiator has proved to be.
    pub user: Option<Arc<str>>,
    /// The index of its initiator group at its target.
    pub group: Option<usize>,
    /// LUNs that it finds.
    pub luns: usize,
    /// Commands that are not over.
    pub open_tasks: usize,
    /// It has lost its connections, and waits for new ones.
    pub is_lost: bool,
    /// Its connections.
    pub connections: Vec<ConnectionReport>,
    /// What its commands have come to, by the LUN, of those that it finds. Empty: several sessions were asked for.
    pub passed: Vec<(Option<u16>, Row)>,
}

/// What is told of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionReport {
    /// Its CID.
    pub cid: Cid,
    /// The initiator's address.
    pub peer: SocketAddr,
    /// The address that it connected to.
    pub portal: SocketAddr,
    /// What was negotiated for it.
    pub own: OwnParams,
}
