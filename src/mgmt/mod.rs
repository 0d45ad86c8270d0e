//! The control plane: what an administrator sees of a running server, and changes in it.
//!
//! One thread of its own (`thread.rs`) serves an HTTP interface (`api`) on a unix socket (`socket.rs`). It reads the
//! `World` that is served now, asks the cores by message, and hands what is to be changed to the control thread
//! ([`Orders`]). The program is its first client (`client.rs`).
//!
//! Invariants: nothing here is on the way of a command, and no core waits for it: a core that is asked answers when it comes
//! to it, or is said not to answer. What a client can make grow is bounded in `limits.rs`. A panic here ends the
//! interface, not the service.

mod api;
pub mod client;
mod cores;
mod metrics;
mod problem;
pub mod socket;
mod thread;
pub mod view;

pub use api::document;
pub use thread::Server;

use crate::config::edit::LunEdit;
use crate::fabric::mesh::Mesh;
use crate::panics::Mutex;
use crate::world::World;
use std::sync::Arc;
use std::time::SystemTime;

/// What came of an order to read the configuration again.
pub type Applied = Result<view::Applied, Vec<String>>;

/// Takes what came of an order. It must not wait. Dropped: the order was not carried out.
pub type Tell = Box<dyn FnOnce(Applied) + Send>;

/// A change to the configuration file.
#[derive(Debug)]
pub struct Edit {
    /// The name of the target, or an end of it; not needed where there is one.
    pub target: Option<String>,
    /// What is changed of its logical units.
    pub lun: LunEdit,
}

/// Why an order is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// The server was started without a file.
    NoFile,
    /// Another one is carried out, or waits.
    Busy,
}

/// Gives an order to the control thread: to read the file again, perhaps with a change to it.
pub type Orders = dyn Fn(Option<Edit>, Tell) -> Result<(), NotTaken> + Send + Sync;

/// What the control plane reaches of the server.
pub struct Reach {
    /// What is served now.
    pub world: Arc<Mutex<Arc<World>>>,
    /// The cores.
    pub mesh: Mesh,
    /// Has the configuration read again.
    pub orders: Box<Orders>,
    /// Held by who waits for what comes of an order: there is one at a time.
    pub ordering: tokio::sync::Mutex<()>,
    /// When the server began to serve.
    pub since: SystemTime,
}
