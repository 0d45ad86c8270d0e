//! The cores: the only part that touches sockets and the clock. (The ring is `ring`'s, and a medium is asked through
//! it.)
//!
//! Each core is a thread pinned by a glommio executor. On it the core's own io_uring serves everything: accept,
//! receive, send, LUN extents, the mailbox. Its loop (`driver.rs`) owns the thread; glommio places and names the threads.
//! What starts the threads, and what is done beside them, is in [`crate::serve`]. (Measured when this was designed: a
//! ring inside the executor, woken through an eventfd, costs 0.4 us more for each command of a RAM disk than a loop of
//! its own.)
//!
//! A core is a `core::Core`, which its thread drives (`driver.rs`). It is two things and what is acted on between them:
//! the `crate::fabric` (sessions, connections, and what is sent), and the [`crate::exec`] that carries their commands
//! out. The executor knows the fabric as a sink only (`fabric/to_initiators.rs`). What all cores share is the
//! `crate::world::World`; what they tell each other goes by the `crate::fabric::mesh::Mesh`.
//!
//! Invariants: a connection, its session and all its tasks live on one core, to which the whole session moves at login,
//! or later when its core has too much to do (`relocate.rs`); nothing on the way of a command takes a lock or
//! allocates; other cores are told rare facts by message (`fabric/mesh.rs`), and shared registries are locked at login and for
//! those only.

mod adoption;
mod change;
mod core;
mod dispatch;
mod driver;
mod entry;
mod halves;
mod insight;
mod leave;
mod loan;
mod owing;
mod receive;
mod relocate;
mod resend;
mod seating;
mod sending;
mod shedding;
mod tick;
mod tm;
mod turns;
mod unsent;

pub(crate) use self::core::Core;

use crate::buffers::Arena;
use crate::fabric::mesh::Mesh;
use crate::limits::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, RING_ENTRIES, SPARE_FILES};
use crate::ring::{ReceiveBuffers, Ring};
use crate::transport::io::{Io, Kernel};
use crate::world::World;
use driver::Driver;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

/// What a core's thread tells the one that has started it.
#[derive(Debug)]
pub(crate) enum Told {
    /// It accepts connections.
    Started,
    /// It could not start.
    Failed(std::io::Error),
    /// It has ended, for whatever reason.
    Ended,
}

/// Tells that its core has ended when it is dropped.
struct Farewell<'a>(&'a mpsc::Sender<Told>);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        let _ = self.0.send(Told::Ended);
    }
}

/// Makes a core on this thread, and runs it until it ends.
///
/// # Errors
/// Its ring has failed. That a core could not be made is told.
pub(crate) fn run_core(
    core: usize,
    shared: (Arc<World>, Mesh),
    listeners: Vec<TcpListener>,
    spin: Duration,
    tell: &mpsc::Sender<Told>,
) -> std::io::Result<()> {
    let _farewell = Farewell(tell);
    match make_core(core, shared) {
        Ok(made) => {
            let mut driver = Driver::new(made, listeners, spin);
            let _ = tell.send(Told::Started);
            let result = driver.run();
            if let Err(e) = &result {
                tracing::error!("a core stops: {e}");
            }
            if driver.core.is_unfinished() {
                std::mem::forget(driver);
            }
            result
        }
        Err(e) => {
            let _ = tell.send(Told::Failed(e));
            Ok(())
        }
    }
}

fn make_core(core: usize, (world, mesh): (Arc<World>, Mesh)) -> std::io::Result<Core> {
    let ring = Ring::new(RING_ENTRIES)?;
    let mut arena = Arena::new()?;
    match ring.register_memory(arena.memory()) {
        Ok(()) => arena.set_registered(),
        Err(e) if core == 0 => {
            tracing::warn!(
                "I/O buffers are not registered with the kernel ({e}): raise the limit for locked memory (ulimit -l) for full speed"
            );
        }
        Err(_) => {}
    }
    let buffers = ReceiveBuffers::new(&ring, RECEIVE_BUFFERS, RECEIVE_BUFFER_BYTES)?;
    // Files of units that come later are registered, too, as long as there is room.
    if let Err(e) = ring.register_files((world.units.len() + SPARE_FILES) as u32) {
        tracing::debug!("files are not registered with the kernel: {e}");
    }
    let io = Io::Kernel(Kernel { ring, buffers });
    Ok(Core::new(core, (world, mesh), io, arena))
}

/// A core that asks `io`.
///
/// # Errors
/// There is no memory for it.
pub(crate) fn make_core_of(core: usize, (world, mesh): (Arc<World>, Mesh), io: Io) -> std::io::Result<Core> {
    let arena = Arena::new()?;
    Ok(Core::new(core, (world, mesh), io, arena))
}

#[cfg(test)]
pub(crate) mod tests;
