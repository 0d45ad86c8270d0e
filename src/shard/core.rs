//! One core: all of it that is not its thread. It is told what has come and what time it is, acts on that, and asks its
//! [`Io`] for what it needs.
//!
//! One turn: it begins ([`Core::begin_turn`]); all completions are taken ([`Core::completed`]), and what was received is parsed;
//! sessions and jobs act, and one send is asked for each connection that has something to say ([`Core::act`]). What drives
//! it (`driver`, or a simulator) hands everything to the kernel in one call after that, and sleeps as long as
//! [`Core::rest`] says.
//!
//! A core is two things and what goes on between them: the fabric (`fabric/mod.rs`: sessions, connections, what is sent), and the
//! executor ([`crate::exec`]), which carries commands out. Methods are grouped by concern in the files beside. None of them
//! awaits or blocks.
//!
//! - PDUs, session events and commands: `receive.rs`, `turns.rs`, `dispatch.rs`, `resend.rs` (data that is sent once more),
//!   `loan.rs` (buffers that are lent to receives), `sending.rs`, `unsent.rs` (answers whose session may not read any more)
//! - connections and sessions: `entry.rs`, `adoption.rs`, `seating.rs` (login and placement), `leave.rs` (their end),
//!   `relocate.rs` (moving to another core), `shedding.rs` (which one is to move), `tm.rs` (task management across
//!   sessions and cores)
//! - who looks on: `inquiry.rs`, `fabric/looking.rs`
//! - the core: `tick.rs` (time has passed), `change.rs` (another configuration), `owing.rs` (what one of the two has set
//!   off in the other)

use crate::backend::{Token, WayIn};
use crate::balance::load::Balance;
use crate::buffers::Arena;
use crate::exec::executor::Executor;
use crate::fabric::Fabric;
use crate::fabric::mesh::{Mesh, Message, Repeats};
use crate::fabric::nexus::handle;
use crate::fabric::relocated::Relocation;
use crate::limits::{CATCH_UP_MS, JOB_BYTES_PER_TURN, JOBS_PER_TURN, MESSAGES_PER_TURN, SHUTDOWN_LOGOUT_MS};
use crate::model::ConnNo;
use crate::ring::Completion;
use crate::transport::acting::{Acting, Sharing};
use crate::transport::io::{Io, Kernel, Memory};
use crate::transport::parked::SpareParked;
#[cfg(test)]
use crate::transport::receiving::Direct;
use crate::transport::receiving::Receive;
use crate::transport::record;
use crate::transport::source::Source;
use crate::waits::management::{LOOK_MS, Management};
use crate::world::World;
use crate::world::clock::TICK_MS;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See [`TICK_MS`].
const TICK: Duration = Duration::from_millis(TICK_MS);
/// See [`LOOK_MS`].
const LOOK: Duration = Duration::from_millis(LOOK_MS);

/// One core.
pub struct Core {
    /// Sessions and connections. First: a ring in it is closed before the I/O buffers go.
    pub(crate) fabric: Fabric,
    /// What carries out their commands.
    pub(crate) executor: Executor,
    /// Connections that have more than a turn's worth parked: they take turns.
    pub(super) sharing: Sharing,
    /// Memory for what they have parked.
    pub(super) spare_parked: SpareParked,
    /// Counts turns.
    pub(super) turn: u64,
    /// When clocks are looked at next.
    next_tick: Instant,
    /// Since when the clocks wait, after a pause, until what has arrived in it was looked at.
    behind: Option<Instant>,
    /// When it was told to end.
    shutdown_at: Option<Instant>,
    /// What was found of how busy it is.
    pub(super) balance: Balance,
    /// Messages of other cores that were not acted on yet.
    pub(super) inbox: VecDeque<Message>,
    /// A session that is about to move to another core.
    pub(super) relocation: Option<Relocation>,
}

impl Core {
    /// A core with nothing on it, on a ring of this thread.
    ///
    /// # Errors
    /// There is no ring, or no memory for it.
    pub fn on_ring(core: usize, (world, mesh): (Arc<World>, Mesh)) -> io::Result<Core> {
        let mut arena = Arena::new()?;
        let kernel = Kernel::new(&mut arena, world.units.all().len(), core == 0)?;
        Ok(Core::new(core, (world, mesh), Io::Kernel(kernel), arena))
    }

    /// The same, in memory.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn in_memory(core: usize, shared: (Arc<World>, Mesh), memory: Memory) -> io::Result<Core> {
        Ok(Core::new(core, shared, Io::Memory(Box::new(memory)), Arena::new()?))
    }

    fn new(core: usize, (world, mesh): (Arc<World>, Mesh), io: Io, arena: Arena) -> Core {
        let now = io.watch().now();
        let others = mesh.clone();
        let way_in = WayIn::new(move || {
            if let Some(mailbox) = others.of(core) {
                mailbox.bell().ring();
            }
        });
        let handles = world.units.numbered().map(|(number, unit)| handle(&io, &way_in, number, unit)).collect();
        let executor = Executor::new(core, world.media(mesh.executors()), arena, (handles, way_in));
        let management = Management::new(executor.leftovers.left.clone());
        Core {
            fabric: Fabric::new(core, world, mesh, io, management),
            executor,
            sharing: Sharing::default(),
            spare_parked: SpareParked::new(),
            turn: 1,
            next_tick: now + TICK,
            behind: None,
            shutdown_at: None,
            balance: Balance::default(),
            inbox: VecDeque::new(),
            relocation: None,
        }
    }

    /// The time of a turn, by the clock of all cores, nanoseconds.
    #[inline]
    pub fn set_now(&mut self, now_ns: u64) {
        self.fabric.now_ms = now_ns / 1_000_000;
        (self.executor.turn.now_ns, self.executor.turn.now_ms) = (now_ns, self.fabric.now_ms);
        self.executor.turn.took_time = false;
        self.fabric.links.pool.taps.now_ns = now_ns;
    }

    /// A turn begins, at `now`.
    pub fn begin_turn(&mut self, now: Instant) {
        let fabric = &mut self.fabric;
        fabric.acting = Acting::of_turn(now, self.sharing.is_empty());
        let (before_ms, now_ns) = (fabric.now_ms, fabric.world.clock.now_ns(now));
        self.set_now(now_ns);
        self.executor.tally.turn(now_ns);
        let fabric = &mut self.fabric;
        if !fabric.management.is_empty() {
            fabric.management.turn_came_after(fabric.now_ms.saturating_sub(before_ms));
        }
    }

    /// Something that was asked for is over, or has brought something. False: that is not what a core asks for.
    #[inline]
    pub fn completed(&mut self, completion: Completion) -> bool {
        let number = completion.user_data & Source::NUMBER;
        let source = (completion.user_data >> 56) as u8;
        if source == Source::Receive as u8 {
            self.received(ConnNo::new(number as usize), completion);
        } else if source == Source::Send as u8 {
            self.sent(ConnNo::new(number as usize), completion.result);
        } else if source == Source::Medium as u8 {
            record::completed(self.fabric.now_ms, &completion);
            self.executor.medium_completed(Token(number as u32), completion.result, &mut self.fabric);
        } else {
            return false;
        }
        true
    }

    /// The bell has rung: there is something in the mailbox, or something that other threads have answered.
    pub fn rung(&mut self) {
        if let Some(mailbox) = self.fabric.neighbours.mailbox() {
            self.inbox.extend(mailbox.take());
        }
        self.executor.medium_answered(&mut self.fabric);
    }

    /// What it has asked for, in memory.
    pub fn memory(&mut self) -> Option<&mut Memory> {
        match &mut self.fabric.io {
            Io::Memory(memory) => Some(memory),
            Io::Kernel(_) => None,
        }
    }

    /// Whether jobs wait for their time in this turn.
    #[inline]
    pub fn has_jobs(&self) -> bool {
        !self.executor.running.runnable.is_empty()
    }

    /// Whether this turn has time for what has waited for it: jobs, or what is parked.
    #[inline]
    pub fn has_shares(&self) -> bool {
        self.has_jobs() || self.has_parked()
    }

    /// Acts on what has come, and on time that has passed. `worked`: something has come.
    pub fn act(&mut self, now: Instant, worked: bool) {
        self.settle_owed();
        self.messages();
        self.share_turn();
        self.run_jobs();
        self.executor.feed_starved(&mut self.fabric);
        self.executor.retry_held(&mut self.fabric);
        if self.executor.strays.are_awaited() {
            self.executor.expire_aborts(&mut self.fabric);
        }
        self.executor.release_paid(&mut self.fabric);
        self.settle_owed();
        if self.fabric.seats.are_stirred() {
            self.keep_order();
        }
        // Before clocks are looked at: what a session is to be told comes before what it says by itself.
        if !self.fabric.management.is_empty() {
            self.settle();
        }
        if now >= self.next_tick && !self.is_behind(now, worked) {
            self.behind = None;
            let waiting = self.executor.waiting();
            self.tick(waiting);
            self.expire_halves(waiting);
            self.next_tick = now + Duration::from_millis(self.rest_ms());
            self.fabric.io.shrink();
        }
        if !self.fabric.management.is_empty() {
            self.settle();
        }
        if self.fabric.seats.are_ending() {
            self.sweep_ended();
        }
        if !self.fabric.logins.is_empty() {
            self.resume_adoptions();
        }
        if self.relocation.is_some() {
            self.relocate();
        }
        for conn in std::mem::take(&mut self.fabric.links.gone) {
            debug_assert!(self.fabric.links.get(conn).is_none(), "its number was given again before that");
            self.reset(conn);
        }
        self.turn = self.turn.wrapping_add(1);
        while let Some(conn) = self.fabric.links.fresh.pop() {
            if let Some(connection) = self.fabric.links.of_mut(conn) {
                connection.receive.get_or_insert_with(|| Box::new(Receive::new()));
            }
            self.update_framing(conn);
            self.arm_receive(conn);
        }
        self.copy_ready();
        self.flush();
        self.fabric.io.publish();
    }

    pub(super) fn run_jobs(&mut self) {
        if self.has_jobs() {
            let watch = self.fabric.io.watch();
            let until = watch.now() + JOBS_PER_TURN;
            let has_time = |bytes| bytes < JOB_BYTES_PER_TURN && watch.now() < until;
            self.executor.run_jobs(record::job, has_time, &mut self.fabric);
        }
    }

    /// Whether clocks have to wait: this core comes late, or its machine was stopped, and what has arrived meanwhile is
    /// to be looked at before anybody is found to be silent. A turn in which nothing came shows that all of it was
    /// looked at.
    fn is_behind(&mut self, now: Instant, worked: bool) -> bool {
        if self.behind.is_none() && now < self.next_tick + TICK {
            return false;
        }
        let first = self.behind.is_none();
        let since = *self.behind.get_or_insert(now);
        let more = first || worked || self.has_parked();
        more && now.saturating_duration_since(since) < Duration::from_millis(CATCH_UP_MS)
    }

    /// Whether something was received that is still to be acted on.
    pub(super) fn has_parked(&self) -> bool {
        !self.sharing.is_empty() || !self.fabric.links.roomy.is_empty()
    }

    /// Forgets what a connection has received, and half a PDU in it: it may have been closed while it was looked at.
    fn reset(&mut self, conn: ConnNo) {
        if let Some(receive) = self.fabric.links.receive_mut(conn) {
            self.spare_parked.discount(&mut receive.parked);
            *receive = Receive::new();
        }
    }

    /// Whether something is left to do that waits for nothing but a turn.
    pub fn is_queued(&self) -> bool {
        self.has_jobs() || !self.fabric.links.dirty.is_empty() || self.has_parked()
    }

    /// Whether the next turn is to come at once.
    pub fn is_busy(&self, now: Instant) -> bool {
        self.is_queued()
            || !self.inbox.is_empty()
            || !self.executor.waits.starved.feeding.is_over()
            || self.next_tick <= now
    }

    /// Until when a core that is not busy may spin at most, if it wants to until `until`.
    pub fn may_spin(&self, until: Instant, now: Instant) -> Instant {
        // To the functions that wait, longer without a turn would look as if the core had stood still.
        if self.fabric.management.is_empty() { until } else { until.min(now + LOOK) }
    }

    /// How long it may sleep if nothing comes: it is not busy.
    pub fn rest(&self, now: Instant) -> Duration {
        let (fabric, executor) = (&self.fabric, &self.executor);
        let rest = if executor.waits_for_ranges() {
            // Another core may give a range back without telling this one: either soon, or the medium does not answer.
            let fresh =
                executor.waits.ranges.since_ms.is_none_or(|since_ms| fabric.now_ms < since_ms.saturating_add(20));
            // If more wait than a turn looks at, those at the end of the line come the later, the longer the core
            // sleeps.
            Duration::from_micros(if fresh || executor.have_many_waiting() { 50 } else { 2_000 })
        } else if fabric.management.is_empty()
            && fabric.logins.is_empty()
            && !executor.strays.are_awaited()
            && self.relocation.is_none()
        {
            self.next_tick.saturating_duration_since(now)
        } else {
            LOOK
        };
        let paid = Duration::from_nanos(executor.limits.rates.wake_ns().saturating_sub(executor.turn.now_ns));
        rest.min(paid).max(Duration::from_micros(1))
    }

    /// Something has come in the turn that began at `now`: clocks are looked at soon.
    pub fn worked(&mut self, now: Instant) {
        self.next_tick = self.next_tick.min(now + TICK);
    }

    /// Acts on what others have sent, as long as that does not keep everything else waiting; in the order in which it came.
    fn messages(&mut self) {
        if self.inbox.is_empty() {
            return;
        }
        let watch = self.fabric.io.watch();
        let (until, mut repeats) = (watch.now() + MESSAGES_PER_TURN, Repeats::default());
        while let Some(message) = self.inbox.pop_front() {
            record::message(message.name());
            let is_repeated = repeats.repeats(&message);
            match message {
                Message::Adopt(handover) => self.moved_in(*handover),
                Message::Relocate(relocated) => self.arrive(*relocated),
                #[cfg(test)]
                Message::Demand { tsih, to } => self.demand(tsih, to),
                #[cfg(test)]
                Message::Panic => panic!("a test wants it"),
                Message::Abort { scope, end_sessions, from, ticket, nexuses } => {
                    self.abort_foreign(scope, end_sessions, (from, ticket), &nexuses, is_repeated);
                }
                Message::Aborted { ticket } => self.aborted_elsewhere(ticket),
                Message::Change(change) => self.change(&change),
                // Listeners are the thread's.
                Message::Listen { number, socket } => self.fabric.listening.push((number, socket)),
                Message::Report(inquiry) => self.inquired(inquiry),
                Message::Drop(dismissal) => self.dismiss(dismissal),
                Message::Look(look) => self.fabric.show_noted(*look),
                Message::EndLook(id) => self.fabric.end_look(id),
                Message::Executor(notice) => self.executor.told(notice, &mut self.fabric),
                Message::Shutdown => self.shut_down(),
            }
            self.settle_owed();
            if watch.now() >= until {
                return;
            }
        }
    }

    fn shut_down(&mut self) {
        if self.fabric.shutdown {
            return;
        }
        self.fabric.shutdown = true;
        self.fabric.world.registry.close();
        self.change_flows();
        self.ask_for_logout();
        let now = self.fabric.io.watch().now();
        self.shutdown_at = Some(now + Duration::from_millis(SHUTDOWN_LOGOUT_MS));
        self.next_tick = now;
    }

    /// True when it was told to end, and every session is gone and every flush done. After the time for logging out,
    /// sessions are ended.
    #[inline]
    pub fn is_over(&mut self, now: Instant) -> bool {
        self.shutdown_at.is_some_and(|at| self.ends(at, now))
    }

    fn ends(&mut self, at: Instant, now: Instant) -> bool {
        self.next_tick = self.next_tick.min(now + Duration::from_millis(20));
        let mailbox = self.fabric.neighbours.mailbox();
        let due = !self.inbox.is_empty() || mailbox.is_some_and(|mailbox| !mailbox.is_empty());
        if (due || !self.fabric.seats.is_empty()) && now < at {
            return false;
        }
        self.end_all();
        self.flush();
        let hard = at + Duration::from_millis(SHUTDOWN_LOGOUT_MS / 2);
        let sending = !self.fabric.links.dirty.is_empty() || self.fabric.links.are_sending();
        let working = sending || self.executor.operations.len() > 0 || !self.fabric.seats.is_empty();
        !working || now >= hard
    }

    /// Whether the kernel or a medium still has operations on this core's memory, which must then stay where it is
    /// until the process ends.
    pub fn is_unfinished(&self) -> bool {
        self.executor.operations.len() > 0 || self.fabric.links.are_sending()
    }

    /// What is left on it of sessions and connections: nothing, when all are gone.
    #[cfg(test)]
    pub fn left(&self) -> Vec<&'static str> {
        let (fabric, executor) = (&self.fabric, &self.executor);
        let found = [
            ("sessions", !fabric.seats.is_empty()),
            ("connections", fabric.links.iter().next().is_some()),
            (
                "something to be sent",
                !fabric.links.numbers().all(|conn| fabric.links.tx(conn).is_some_and(|tx| tx.is_idle())),
            ),
            ("something received", self.spare_parked.used > 0 || self.has_parked()),
            ("a session that moves", self.relocation.is_some()),
            ("messages", !self.inbox.is_empty()),
            ("logins that wait", !fabric.logins.is_empty()),
            ("task management functions", !fabric.management.is_empty()),
            ("what calls have set off", !fabric.owed.is_empty()),
            ("operations", executor.operations.len() > 0),
            ("jobs", executor.running.jobs.iter().any(Option::is_some)),
            ("commands that wait for ranges", executor.waits_for_ranges()),
            ("aborts that are awaited", executor.strays.are_awaited()),
            ("I/O buffers", executor.arena.free_bytes() != crate::limits::ARENA_BYTES),
        ];
        found.into_iter().filter(|(_, is_there)| *is_there).map(|(what, _)| what).collect()
    }

    /// A connection by which something is to be sent that nobody sends: no send is under way, and none will be begun.
    #[cfg(test)]
    pub fn forgotten(&self) -> Option<usize> {
        let links = &self.fabric.links;
        let is_due = |conn: &ConnNo| links.tx(*conn).is_some_and(|tx| !tx.is_idle() && !tx.is_sending());
        let is_open = |conn: &ConnNo| links.get(*conn).is_some_and(|link| !link.closing);
        let conn = links.numbers().filter(is_open).filter(is_due).find(|conn| !links.dirty.contains(conn))?;
        Some(conn.at())
    }

    /// A connection whose receive may write to a buffer that was given back.
    #[cfg(test)]
    pub fn robbed(&self) -> Option<usize> {
        let direct = |conn: &ConnNo| self.fabric.links.of(*conn).and_then(|of| of.direct.as_deref());
        let conn = self.fabric.links.numbers().find(|conn| direct(conn).is_some_and(Direct::is_robbed))?;
        Some(conn.at())
    }

    /// What it has counted, and the bytes of I/O buffers that nobody holds.
    #[cfg(test)]
    pub fn account(&self) -> (crate::fabric::stats::Stats, usize) {
        (self.stats(), self.executor.arena.free_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::mesh::Mesh;
    use crate::world::World;
    use std::sync::Arc;

    #[test]
    fn what_other_cores_have_sent_does_not_keep_everything_else_waiting() {
        const MANY: usize = 1_000_000;
        let (world, _keeper) = World::open(crate::model::Snapshot::default(), 1).unwrap();
        let mut core = Core::on_ring(0, (Arc::new(world), Mesh::new(1).unwrap())).unwrap();
        core.inbox.extend((0..MANY).map(|_| Message::Aborted { ticket: u32::MAX }));
        // Nobody acts on one in a nanosecond, let alone on thousands in the time of a turn.
        core.messages();
        let left = core.inbox.len();
        assert!(left > 0 && left < MANY, "{left}");
        core.messages();
        assert!(core.inbox.len() < left);
    }
}
