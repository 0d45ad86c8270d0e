//! The engine: all of a core but its receive side. It is the fabric and the executor together, and nothing else of its
//! own.
//!
//! A method is the engine's if it needs both. What is iSCSI and needs no executor is the [`Fabric`]'s; what needs no
//! session is the [`Executor`]'s. Methods are grouped by concern in the files beside. None of them awaits or blocks.
//!
//! - PDUs, session events and commands: `dispatch.rs`, `resend.rs` (data that is sent once more), `loan.rs` (buffers
//!   that are lent to receives), `unsent.rs` (answers whose session may not read any more)
//! - connections and sessions: `entry.rs`, `adoption.rs`, `seating.rs` (login and placement), `leave.rs` (their end),
//!   `relocate.rs` (moving to another core), `shedding.rs` (which one is to move), `tm.rs` (task management across
//!   sessions and cores)
//! - the core: `tick.rs` (time has passed), `change.rs` (another configuration)
//!
//! Invariants: the executor calls the fabric as its sink, and the fabric calls nobody back. What such a call has set
//! off is noted in `Fabric::owed`, and acted on when the executor has returned ([`Engine::settle_owed`]). Whoever gives
//! the executor something to do sees to that: at the latest it is done at the next step of the turn.

use super::fabric::{Fabric, Owed};
use super::management::Management;
use super::mesh::Mesh;
use super::nexus::handle;
use super::tx::Tx;
use crate::backend::WayIn;
use crate::buffers::Arena;
use crate::exec::executor::Executor;
use crate::ring::Ring;
use crate::session::seam::CloseReason;
use crate::world::World;
use std::sync::Arc;
use std::time::Instant;

/// All of a core but its receive side. The fabric goes first when it is dropped: its ring is closed before the I/O
/// buffers go.
pub struct Engine {
    /// Sessions and connections.
    pub fabric: Fabric,
    /// What carries out their commands.
    pub executor: Executor,
}

impl Engine {
    /// A core with nothing on it.
    pub fn new(core: usize, (world, mesh): (Arc<World>, Mesh), ring: Ring, arena: Arena) -> Engine {
        let others = mesh.clone();
        let way_in = WayIn::new(move || {
            if let Some(mailbox) = others.of(core) {
                mailbox.bell().ring();
            }
        });
        let handles = (0..).zip(&world.units).map(|(slot, unit)| handle(&ring, &way_in, slot, unit)).collect();
        let executor = Executor::new(core, world.media(mesh.executors()), arena, (handles, way_in));
        let management = Management::new(executor.leftovers.left.clone());
        Engine { fabric: Fabric::new(core, world, mesh, ring, management), executor }
    }

    /// The time of a turn, by the clock of all cores, nanoseconds.
    #[inline]
    pub fn set_now(&mut self, now_ns: u64) {
        self.fabric.now_ms = now_ns / 1_000_000;
        (self.executor.now_ns, self.executor.now_ms) = (now_ns, self.fabric.now_ms);
        self.executor.took_time = false;
    }

    /// Acts on what the executor's calls have set off.
    #[inline]
    pub fn settle_owed(&mut self) {
        if !self.fabric.owed.is_empty() && !self.fabric.is_settling {
            self.act_on_owed();
        }
    }

    /// What was received is acted on: answers the writes whose data is stored, and acts on what that has set off.
    #[inline]
    pub fn settle_received(&mut self) {
        self.executor.settle_stores(&mut self.fabric);
        self.settle_owed();
    }

    /// Copies what is sent from RAM units with a digest, and of the commands that this lets begin, too: nothing is left to
    /// be copied when the core sleeps.
    pub fn copy_ready(&mut self) {
        loop {
            self.executor.copy_ready(&mut self.fabric);
            self.settle_owed();
            if !self.fabric.management.is_empty() {
                self.settle();
            }
            if self.executor.memory.copying.is_empty() {
                return;
            }
        }
    }

    /// Pushes what is to be sent, a turn's worth of it.
    pub fn flush(&mut self) {
        self.fabric.flush();
        self.executor.memory.read_soon = 0;
    }

    #[cold]
    fn act_on_owed(&mut self) {
        self.fabric.is_settling = true;
        while !self.fabric.owed.is_empty() {
            let mut all = std::mem::take(&mut self.fabric.owed);
            all.drain(..).for_each(|owed| self.act_on(owed));
            if self.fabric.owed.is_empty() {
                // Its memory is used again.
                self.fabric.owed = all;
            }
        }
        self.fabric.is_settling = false;
    }

    fn act_on(&mut self, owed: Owed) {
        match owed {
            Owed::Events(seat) => self.pump(seat),
            Owed::Reread(seat) => {
                self.next_reread(seat);
                self.pump(seat);
            }
            Owed::Preempt(preempting) => self.preempt(*preempting),
        }
    }

    /// A send completed.
    pub fn sent(&mut self, conn: usize, result: i32) {
        let Some(Some(link)) = self.fabric.links.get_mut(conn) else { return };
        if result <= 0 && result != -libc::EINTR && result != -libc::EAGAIN {
            // The send is over but its batch is kept until the connection is torn down.
            self.fabric.tx[conn].fail();
            self.disconnected(conn, CloseReason::Disconnected);
            return self.fabric.sweep(conn);
        }
        link.sent_ms = self.fabric.now_ms;
        let sent = result.max(0) as usize;
        let largest = &mut self.fabric.stats.largest_batch_bytes;
        *largest = (*largest).max(self.fabric.tx[conn].sending_bytes() as u64);
        let more = self.fabric.tx[conn].sent(sent, &mut self.fabric.pool);
        if self.fabric.tx[conn].takes_more() {
            self.fabric.roomy.push(conn);
        }
        if more {
            self.fabric.dirty.push(conn);
        } else {
            self.fabric.sweep(conn);
        }
    }

    /// Has those go on that waited for room on a connection, or that wait for nothing any more since the connection is
    /// gone: each for a piece, until `until`. False: some are left, and there is room.
    #[cold]
    pub fn fill_room(&mut self, conn: usize, until: Instant) -> bool {
        let Some(mut left) = self.fabric.tx.get(conn).map(Tx::waiting) else { return true };
        while left > 0
            && self.fabric.tx[conn].has_room(&self.fabric.pool)
            && let Some((seat, slot)) = self.fabric.tx[conn].next_waiting()
        {
            left -= 1;
            if slot == super::tx::REREADS {
                self.reread_on(seat);
                self.fabric.owed.push(Owed::Events(seat));
            } else {
                self.executor.has_room(seat, slot, &mut self.fabric);
            }
            if Instant::now() >= until {
                break;
            }
        }
        match self.fabric.tx.get_mut(conn) {
            Some(tx) if tx.waiting() > 0 && tx.has_room(&self.fabric.pool) => false,
            Some(tx) if tx.waiting() > 0 => {
                tx.wait(None);
                true
            }
            _ => true,
        }
    }
}
