//! The control plane: what an administrator sees of a running server, and changes in it.
//!
//! One thread of its own (`thread.rs`) serves an HTTP interface (`api`) on a unix socket (`socket.rs`), and over TCP with TLS
//! (`remote.rs`, `accepting.rs`) for who has a token (`guard.rs`). It reads the
//! `World` that is served now, asks the cores by message, and hands what is to be changed to the control thread
//! ([`Orders`]). The program is its first client (`client.rs`, `server_url.rs`).
//!
//! Invariants: nothing here is on the way of a command, and no core waits for it: a core that is asked answers when it comes
//! to it, or is said not to answer. What a client can make grow is bounded in `limits.rs`. A panic here ends the
//! interface, not the service.

mod accepting;
mod api;
mod attempts;
mod causes;
pub mod client;
mod cores;
mod guard;
mod impact;
mod metrics;
mod places;
mod problem;
mod readers;
pub mod remote;
mod rounds;
mod server_url;
mod serving;
pub mod socket;
mod thread;
mod trace;
pub mod view;

pub use api::document;
pub use readers::Readers;
pub use rounds::Asked;
pub use thread::Server;
pub use trace::Traces;

use crate::config::diff::Step;
use crate::config::edit::Edit;
use crate::events::Events;
use crate::fabric::mesh::Mesh;
use crate::model::Snapshot;
use crate::panics::Mutex;
use crate::world::World;
use std::sync::Arc;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// What is wanted of the configuration.
#[derive(Clone)]
pub enum Wanted {
    /// That the file is read again.
    Reread,
    /// That a table of it is changed.
    Edit(Edit),
    /// That it has this text, in which secrets may be concealed.
    Text(Zeroizing<String>),
    /// To see it.
    Show,
}

/// An order to the control thread.
pub struct Order {
    /// What is wanted.
    pub wanted: Wanted,
    /// It is done only if the file has the text that one of these tags tells. `None`: whatever text it has.
    pub only_if: Option<Vec<String>>,
    /// It is not done: what it would be is told.
    pub dry: bool,
}

/// What a change would be.
#[derive(Debug)]
pub struct Planned {
    /// The LUN that it is about, if it is about one.
    pub lun: Option<u16>,
    /// What is served now.
    pub before: Arc<Snapshot>,
    /// What would be served.
    pub after: Snapshot,
    /// What is different.
    pub steps: Vec<Step>,
    /// What the file would say and has to wait for the next start, in words.
    pub kept: Vec<String>,
    /// What is allowed, but should not stay as it is.
    pub warnings: Vec<String>,
    /// What tells the text that the file has.
    pub tag: String,
}

/// What came of an order.
#[derive(Debug)]
pub enum Came {
    /// It was not to be done.
    Planned(Box<Planned>),
    /// It is served.
    Applied(view::Applied),
    /// The text of the file, without secrets, and its tag.
    Shown(String, String),
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDone {
    /// What is wrong, a line each.
    Faults(Vec<String>),
    /// What is meant is not there.
    NotFound(String),
    /// What should come is there already.
    Taken(String),
    /// The file has another text than the order is for.
    Otherwise,
}

impl From<Vec<String>> for NotDone {
    fn from(faults: Vec<String>) -> NotDone {
        NotDone::Faults(faults)
    }
}

/// What came of another configuration.
pub type Served = Result<view::Applied, Vec<String>>;

/// Takes what came of an order. It must not wait. Dropped: the order was not carried out.
pub type Tell = Box<dyn FnOnce(Result<Came, NotDone>) + Send>;

/// Why an order is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// The server was started without a file.
    NoFile,
    /// Another one is carried out, or waits.
    Busy,
}

/// Gives an order to the control thread.
pub type Orders = dyn Fn(Order, Tell) -> Result<(), NotTaken> + Send + Sync;

/// What tells the text of the configuration file that is served; empty: there is none.
pub type Tag = Arc<Mutex<String>>;

/// Has the log leave out what a filter says, if there is one; what it leaves out from then on, or why that is no filter.
pub type LogFilter = dyn Fn(Option<&str>) -> Result<String, String> + Send + Sync;

/// What the server says, to who asks.
#[derive(Clone)]
pub struct Voice {
    /// What has happened.
    pub events: Arc<Events>,
    /// What the log leaves out.
    pub filter: Arc<LogFilter>,
}

/// Where the control plane is found.
#[derive(Debug, Default)]
pub struct Entrances {
    /// On this machine.
    pub socket: Option<socket::Socket>,
    /// From others.
    pub remote: Option<remote::Remote>,
}

/// What the control plane reaches of the server.
pub struct Reach {
    /// What is served now.
    pub world: Arc<Mutex<Arc<World>>>,
    /// The cores.
    pub mesh: Mesh,
    /// What they are asked for.
    pub asked: Asked,
    /// Has the configuration read again.
    pub orders: Box<Orders>,
    /// What tells the text that is served from any other.
    pub tag: Tag,
    /// Held by who waits for what comes of an order: there is one at a time.
    pub ordering: tokio::sync::Mutex<()>,
    /// What is looked at live.
    pub traces: Traces,
    /// When the server began to serve.
    pub since: SystemTime,
    /// What it says.
    pub voice: Voice,
    /// Who hears it.
    pub readers: Readers,
}
