//! The loop of one core: completions in, work, submissions out, sleep.
//!
//! One turn: take all completions, parse what was received, let sessions and jobs act, push one send for each connection
//! that has something to say, then hand everything to the kernel in one call, which also waits when there is nothing to
//! do. (With jobs to be polled there is one more call, before them.) A core that is given commands spins a bounded time before it sleeps (`spin`).

use super::acting::{Acting, Sharing};
use super::engine::Engine;
use super::load::{Balance, Meter};
use super::management::LOOK_MS;
use super::mesh::{Message, Repeats};
use super::parked::SpareParked;
use super::receiving::{Direct, Receive};
use super::record;
use super::relocated::Relocation;
use super::source::Source;
use crate::backend::Token;
use crate::limits::{
    ACCEPT_REST, CATCH_UP_MS, JOBS_PER_TURN, MESSAGES_PER_TURN, SAVING_REST, SHORTAGE_OVER, SHUTDOWN_LOGOUT_MS,
};
use crate::ring::{Completion, ReceiveBuffers, Wait};
use crate::world::clock::{BEAT, TICK_MS};
use io_uring::{opcode, types};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// See [`TICK_MS`].
const TICK: Duration = Duration::from_millis(TICK_MS);
/// See [`LOOK_MS`].
const LOOK: Duration = Duration::from_millis(LOOK_MS);

/// How long after a command a core still spins before it sleeps. Pings of idle sessions are not worth it.
const COMMANDED: Duration = Duration::from_millis(10);

/// Connections of one portal that are accepted in one turn. With as many as there are, who only connects would have a turn last
/// as long as it likes; with fewer, who connects beside that would wait for long.
const ACCEPTS: usize = 8;

/// One core.
pub struct Core {
    /// All but the receive side.
    pub(super) engine: Engine,
    /// Receive sides, by connection number.
    pub(super) receive: Vec<Receive>,
    /// Receives of known size, by connection number: made when first needed, and kept.
    pub(super) directs: Vec<Option<Box<Direct>>>,
    /// The receive buffers of the ring.
    pub(super) buffers: ReceiveBuffers,
    /// Connections that have more than a turn's worth parked: they take turns.
    pub(super) sharing: Sharing,
    /// Memory for what they have parked.
    pub(super) spare_parked: SpareParked,
    /// The portals.
    listeners: Vec<TcpListener>,
    /// Listeners that rest until `rest_until`, because an accept failed for want of descriptors or memory.
    resting: Vec<usize>,
    /// Until when they rest.
    rest_until: Instant,
    /// When an accept last failed for that reason. `None`: that was not logged yet.
    short: Option<Instant>,
    /// Where the ring reads what the bell says.
    bell: Box<u64>,
    /// Counts turns.
    pub(super) turn: u64,
    /// How long it spins before it sleeps.
    spin: Duration,
    /// When clocks are looked at next.
    next_tick: Instant,
    /// Since when the clocks wait, after a pause, until what has arrived in it was looked at.
    behind: Option<Instant>,
    /// When it was told to end.
    shutdown_at: Option<Instant>,
    /// Measures how busy it is.
    pub(super) meter: Meter,
    /// What was found by that.
    pub(super) balance: Balance,
    /// Messages of other cores that were not acted on yet.
    pub(super) inbox: VecDeque<Message>,
    /// A session that is about to move to another core.
    pub(super) relocation: Option<Relocation>,
}

impl Core {
    /// A core around its engine. `listeners` are its own duplicates of the portals' sockets.
    pub fn new(engine: Engine, buffers: ReceiveBuffers, listeners: Vec<TcpListener>, spin: Duration) -> Core {
        let now = Instant::now();
        let meter = Meter::new(now, engine.fabric.mesh.cores() > 1, engine.fabric.ring.can_spin() && !spin.is_zero());
        Core {
            engine,
            receive: Vec::new(),
            directs: Vec::new(),
            buffers,
            sharing: Sharing::default(),
            spare_parked: SpareParked::new(),
            listeners,
            resting: Vec::new(),
            rest_until: now,
            short: None,
            bell: Box::new(0),
            turn: 1,
            spin,
            next_tick: now + TICK,
            behind: None,
            shutdown_at: None,
            meter,
            balance: Balance::default(),
            inbox: VecDeque::new(),
            relocation: None,
        }
    }

    /// Runs until the server is told to shut down and has done so.
    ///
    /// # Errors
    /// An error of [`crate::ring::Ring::enter`].
    pub fn run(&mut self) -> io::Result<()> {
        record::begin(self.engine.fabric.core);
        self.listen();
        self.arm_bell();
        let mut completions = Vec::with_capacity(4096);
        let mut last_work = Instant::now();
        let (mut commands, mut last_command, mut next_beat) = (0, last_work, last_work);
        loop {
            self.engine.fabric.ring.drain(&mut completions);
            let now = Instant::now();
            self.engine.fabric.acting = Acting::of_turn(now, self.sharing.is_empty());
            if now >= next_beat {
                self.engine.fabric.world.clock.beat(now);
                next_beat = now + BEAT;
            }
            let before_ms = self.engine.fabric.now_ms;
            self.engine.set_now(self.engine.fabric.world.clock.now_ns(now));
            if !self.engine.fabric.management.is_empty() {
                self.engine.fabric.management.turn_came_after(self.engine.fabric.now_ms.saturating_sub(before_ms));
            }
            self.meter.wakes(now);
            let worked = !completions.is_empty();
            for completion in completions.drain(..) {
                self.completed(completion);
            }
            if worked && !self.engine.executor.running.runnable.is_empty() {
                // What others have asked for does not wait until jobs have had their time.
                self.engine.flush();
                self.engine.fabric.ring.enter(Wait::No)?;
            }
            self.after_completions(now, worked);
            if self.shutdown_at.is_some_and(|at| self.is_over(at, now)) {
                self.engine.executor.mark_unfinished();
                return Ok(());
            }
            if worked {
                self.next_tick = self.next_tick.min(now + TICK);
            }
            if commands != self.engine.fabric.stats.commands {
                (commands, last_command) = (self.engine.fabric.stats.commands, now);
            }
            if worked && now.duration_since(last_command) < COMMANDED {
                last_work = now;
            }
            let wait = self.how_long(now, last_work);
            let queued = !self.engine.executor.running.runnable.is_empty()
                || !self.engine.fabric.dirty.is_empty()
                || self.has_parked();
            self.meter.rests(now, worked, wait, queued);
            self.engine.fabric.ring.enter(wait)?;
        }
    }

    fn after_completions(&mut self, now: Instant, worked: bool) {
        self.engine.settle_owed();
        self.messages();
        self.share_turn();
        self.run_jobs();
        self.engine.executor.feed_starved(&mut self.engine.fabric);
        self.engine.executor.retry_held(&mut self.engine.fabric);
        if self.engine.executor.strays.are_awaited() {
            self.engine.executor.expire_aborts(&mut self.engine.fabric);
        }
        self.engine.executor.release_paid(&mut self.engine.fabric);
        self.engine.settle_owed();
        if !self.engine.fabric.ordering.is_empty() {
            self.engine.keep_order();
        }
        // Before clocks are looked at: what a session is to be told comes before what it says by itself.
        if !self.engine.fabric.management.is_empty() {
            self.engine.settle();
        }
        if now >= self.next_tick && !self.is_behind(now, worked) {
            self.behind = None;
            let waiting = self.engine.executor.waiting();
            self.engine.tick(waiting);
            self.expire_halves(waiting);
            self.next_tick = now + Duration::from_millis(self.engine.rest_ms());
            self.buffers.shrink();
            self.balance(now);
        }
        if !self.engine.fabric.management.is_empty() {
            self.engine.settle();
        }
        if !self.engine.fabric.ending.is_empty() {
            self.engine.sweep_ended();
        }
        if !self.engine.fabric.adoptions.is_empty() {
            self.engine.resume_adoptions();
        }
        if self.relocation.is_some() {
            self.relocate();
        }
        for conn in std::mem::take(&mut self.engine.fabric.gone) {
            self.reset(conn);
        }
        if !self.resting.is_empty() {
            self.accept_again(now);
        }
        self.turn = self.turn.wrapping_add(1);
        while let Some(conn) = self.engine.fabric.fresh.pop() {
            if self.receive.len() <= conn {
                self.receive.resize_with(conn + 1, Receive::new);
            }
            self.update_framing(conn);
            self.arm_receive(conn);
        }
        self.engine.copy_ready();
        self.engine.flush();
        self.buffers.publish();
    }

    fn run_jobs(&mut self) {
        if !self.engine.executor.running.runnable.is_empty() {
            let begin = Instant::now();
            self.engine.executor.run_jobs(|| begin.elapsed() < JOBS_PER_TURN, &mut self.engine.fabric);
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
        !self.sharing.is_empty() || !self.engine.fabric.roomy.is_empty()
    }

    /// Forgets what a connection has received, and half a PDU in it: it may have been closed while it was looked at.
    fn reset(&mut self, conn: usize) {
        if let Some(receive) = self.receive.get_mut(conn) {
            let mut old = std::mem::replace(receive, Receive::new());
            self.spare_parked.discount(&mut old.parked);
        }
    }

    /// Jobs that are runnable must not wait; a busy core looks at memory for a while before it sleeps in the kernel.
    fn how_long(&mut self, now: Instant, last_work: Instant) -> Wait {
        let queued = !self.engine.executor.running.runnable.is_empty()
            || !self.engine.fabric.dirty.is_empty()
            || self.has_parked();
        if queued || !self.inbox.is_empty() || !self.engine.executor.starved.feeding.is_over() || self.next_tick <= now
        {
            return Wait::No;
        }
        if !self.spin.is_zero() && self.engine.fabric.ring.can_spin() && now.duration_since(last_work) < self.spin {
            let until = last_work + self.spin;
            // To the functions that wait, longer without a turn would look as if the core had stood still.
            self.engine.fabric.ring.spin(if self.engine.fabric.management.is_empty() {
                until
            } else {
                until.min(now + LOOK)
            });
            return Wait::No;
        }
        let until = if self.engine.executor.waits_for_ranges() {
            // Another core may give a range back without telling this one: either soon, or the medium does not answer.
            let fresh = self.engine.fabric.now_ms < self.engine.executor.ranges.since_ms.saturating_add(20);
            // If more wait than a turn looks at, those at the end of the line come the later, the longer the core
            // sleeps.
            Duration::from_micros(if fresh || self.engine.executor.have_many_waiting() { 50 } else { 2_000 })
        } else if self.engine.fabric.management.is_empty()
            && self.engine.fabric.adoptions.is_empty()
            && !self.engine.executor.strays.are_awaited()
            && self.relocation.is_none()
        {
            self.next_tick.saturating_duration_since(now)
        } else {
            LOOK
        };
        let until = until.min(Duration::from_nanos(
            self.engine.executor.rates.wake_ns().saturating_sub(self.engine.executor.now_ns),
        ));
        Wait::AtMost(until.max(Duration::from_micros(1)))
    }

    fn completed(&mut self, completion: Completion) {
        let number = completion.user_data & Source::NUMBER;
        let source = (completion.user_data >> 56) as u8;
        if source == Source::Receive as u8 {
            self.received(number as usize, completion);
        } else if source == Source::Send as u8 {
            self.engine.sent(number as usize, completion.result);
        } else if source == Source::Medium as u8 {
            record::completed(self.engine.fabric.now_ms, &completion);
            self.engine.executor.medium_completed(Token(number as u32), completion.result, &mut self.engine.fabric);
        } else if source == Source::Accept as u8 {
            record::completed(self.engine.fabric.now_ms, &completion);
            self.accepted(number as usize, completion);
        } else if source == Source::Bell as u8 {
            self.arm_bell();
            if let Some(mailbox) = self.engine.fabric.mesh.of(self.engine.fabric.core) {
                self.inbox.extend(mailbox.take());
            }
            self.engine.executor.medium_answered(&mut self.engine.fabric);
        }
    }

    fn listen(&mut self) {
        for listener in 0..self.listeners.len() {
            (0..ACCEPTS).for_each(|_| self.arm_accept(listener));
        }
    }

    /// Has the kernel accept one connection. When that is over, it is armed again: the entry goes out with the next
    /// turn.
    fn arm_accept(&mut self, listener: usize) {
        let fd = types::Fd(self.listeners[listener].as_raw_fd());
        let entry =
            opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut()).flags(libc::SOCK_CLOEXEC).build();
        self.engine.fabric.ring.push(entry.user_data(Source::Accept.tag(listener as u64)));
    }

    fn accepted(&mut self, listener: usize, completion: Completion) {
        if completion.result >= 0 {
            // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
            #[allow(unsafe_code)]
            let socket = unsafe { OwnedFd::from_raw_fd(completion.result) };
            if !self.engine.fabric.shutdown
                && let Some((socket, peer, local)) = prepare(socket)
            {
                self.engine.accepted(socket, peer, local);
            }
        }
        if self.engine.fabric.shutdown {
            return;
        }
        if is_shortage(-completion.result) {
            return self.rest(listener, completion.result);
        }
        self.arm_accept(listener);
    }

    /// Has a listener rest after a shortage: to ask again at once would be all that this core does. The kernel keeps
    /// the connections that wait to be accepted.
    fn rest(&mut self, listener: usize, error: i32) {
        let now = Instant::now();
        // A connection that ends makes room for one that comes: that does not end the shortage, and the next failure is
        // not worth another line.
        let is_over = self.short.is_none_or(|last| now.saturating_duration_since(last) >= SHORTAGE_OVER);
        if !is_over {
            self.short = Some(now);
        } else if let Some(left_out) = self.engine.fabric.noise.line(self.engine.fabric.now_ms) {
            self.short = Some(now);
            let error = io::Error::from_raw_os_error(-error);
            tracing::warn!(
                left_out,
                "a connection cannot be accepted: {error}; connections wait until there is what they take"
            );
        }
        self.resting.push(listener);
        self.rest_until = now + ACCEPT_REST;
    }

    fn accept_again(&mut self, now: Instant) {
        if self.engine.fabric.shutdown {
            self.resting.clear();
        } else if now >= self.rest_until && !self.engine.fabric.world.keeper.needs_descriptors() {
            for listener in std::mem::take(&mut self.resting) {
                self.arm_accept(listener);
            }
        } else {
            if now >= self.rest_until {
                self.rest_until = now + SAVING_REST;
            }
            self.next_tick = self.next_tick.min(self.rest_until);
        }
    }

    fn arm_bell(&mut self) {
        let Some(mailbox) = self.engine.fabric.mesh.of(self.engine.fabric.core) else { return };
        let fd = types::Fd(mailbox.bell().fd());
        let entry = opcode::Read::new(fd, (&raw mut *self.bell).cast(), 8).build();
        self.engine.fabric.ring.push(entry.user_data(Source::Bell.tag(0)));
    }

    /// Acts on what others have sent, as long as that does not keep everything else waiting; in the order in which it came.
    fn messages(&mut self) {
        if self.inbox.is_empty() {
            return;
        }
        let (begin, mut repeats) = (Instant::now(), Repeats::default());
        while let Some(message) = self.inbox.pop_front() {
            record::message(message.name());
            let is_repeated = repeats.repeats(&message);
            match message {
                Message::Adopt(handover) => self.engine.moved_in(*handover),
                Message::Relocate(relocated) => self.arrive(*relocated),
                #[cfg(test)]
                Message::Demand { tsih, to } => self.demand(tsih, to),
                #[cfg(test)]
                Message::Panic => panic!("a test wants it"),
                Message::Abort { scope, end_sessions, from, ticket, nexuses } => {
                    self.engine.abort_foreign(scope, end_sessions, (from, ticket), &nexuses, is_repeated);
                }
                Message::Aborted { ticket } => self.engine.aborted_elsewhere(ticket),
                Message::Change(change) => self.engine.change(&change),
                Message::Executor(notice) => self.engine.executor.told(notice, &mut self.engine.fabric),
                Message::Shutdown => self.shut_down(),
            }
            self.engine.settle_owed();
            if begin.elapsed() >= MESSAGES_PER_TURN {
                return;
            }
        }
    }

    fn shut_down(&mut self) {
        if self.engine.fabric.shutdown {
            return;
        }
        self.engine.fabric.shutdown = true;
        self.engine.fabric.world.registry.close();
        self.listeners.clear();
        self.engine.change_flows();
        self.engine.ask_for_logout();
        self.shutdown_at = Some(Instant::now() + Duration::from_millis(SHUTDOWN_LOGOUT_MS));
        self.next_tick = Instant::now();
    }

    /// True when every session is gone and every flush done. After the time for logging out, sessions are ended.
    fn is_over(&mut self, at: Instant, now: Instant) -> bool {
        self.next_tick = self.next_tick.min(now + Duration::from_millis(20));
        let mailbox = self.engine.fabric.mesh.of(self.engine.fabric.core);
        let due = !self.inbox.is_empty() || mailbox.is_some_and(|mailbox| !mailbox.is_empty());
        if (due || self.engine.fabric.seats.iter().flatten().next().is_some()) && now < at {
            return false;
        }
        self.engine.end_all();
        self.engine.flush();
        let hard = at + Duration::from_millis(SHUTDOWN_LOGOUT_MS / 2);
        let sending = !self.engine.fabric.dirty.is_empty() || self.engine.fabric.tx.iter().any(|t| t.is_sending());
        let working = sending
            || self.engine.executor.operations.len() > 0
            || self.engine.fabric.seats.iter().any(Option::is_some);
        !working || now >= hard
    }

    /// Whether the kernel or a medium still has operations on this core's memory, which must then stay where it is
    /// until the process ends.
    pub fn is_unfinished(&self) -> bool {
        self.engine.executor.operations.len() > 0 || self.engine.fabric.tx.iter().any(|tx| tx.is_sending())
    }

    /// What it has counted, and the bytes of I/O buffers that nobody holds.
    #[cfg(test)]
    pub fn account(&self) -> (super::stats::Stats, usize) {
        let stats = super::stats::Stats { executor: self.engine.executor.stats, ..self.engine.fabric.stats };
        (stats, self.engine.executor.arena.free_bytes())
    }
}

/// Whether an accept failed for want of something that comes back (descriptors, memory), and not for its connection.
fn is_shortage(errno: i32) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
}

/// Makes an accepted socket ready: it sends without delay. The socket, its peer's address, and its own.
fn prepare(socket: OwnedFd) -> Option<(OwnedFd, SocketAddr, SocketAddr)> {
    let stream = std::net::TcpStream::from(socket);
    stream.set_nodelay(true).ok()?;
    let (peer, local) = (stream.peer_addr().ok()?, stream.local_addr().ok()?);
    Some((stream.into(), peer, local))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::tests::said;
    use crate::shard::make_core;
    use crate::shard::mesh::Mesh;
    use crate::world::World;
    use std::sync::Arc;

    #[test]
    fn a_turn_accepts_a_few_connections_of_each_portal() {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let (world, _keeper) = World::open(crate::model::Snapshot::default(), 1).unwrap();
        let mut core = make_core(0, (Arc::new(world), Mesh::new(1).unwrap()), vec![listener], Duration::ZERO).unwrap();
        let clients = [(); 3 * ACCEPTS].map(|()| std::net::TcpStream::connect(at).unwrap());
        core.listen();
        let mut completions = Vec::new();
        while core.engine.fabric.stats.accepted < clients.len() as u64 {
            core.engine.fabric.ring.enter(Wait::AtMost(Duration::from_millis(10))).unwrap();
            core.engine.fabric.ring.drain(&mut completions);
            assert!(completions.len() <= ACCEPTS, "{} in one turn", completions.len());
            completions.drain(..).for_each(|completion| core.completed(completion));
        }
    }

    #[test]
    fn a_shortage_is_said_once_until_it_is_over() {
        let (world, _keeper) = World::open(crate::model::Snapshot::default(), 1).unwrap();
        let mut core = make_core(0, (Arc::new(world), Mesh::new(1).unwrap()), Vec::new(), Duration::ZERO).unwrap();
        let rest = |core: &mut Core| said(|| core.rest(0, -libc::EMFILE)).len();
        assert_eq!([(); 5].map(|()| rest(&mut core)), [1, 0, 0, 0, 0]);
        core.short = core.short.and_then(|last| last.checked_sub(SHORTAGE_OVER));
        assert_eq!([(); 2].map(|()| rest(&mut core)), [1, 0], "another one");
        // What peers have made of the log leaves no room for it: it is said when there is some.
        core.short = core.short.and_then(|last| last.checked_sub(SHORTAGE_OVER));
        while core.engine.fabric.noise.line(core.engine.fabric.now_ms).is_some() {}
        assert_eq!(rest(&mut core), 0);
        core.engine.fabric.now_ms += 1000;
        assert_eq!([(); 2].map(|()| rest(&mut core)), [1, 0]);
    }

    #[test]
    fn what_other_cores_have_sent_does_not_keep_everything_else_waiting() {
        const MANY: usize = 1_000_000;
        let (world, _keeper) = World::open(crate::model::Snapshot::default(), 1).unwrap();
        let mut core = make_core(0, (Arc::new(world), Mesh::new(1).unwrap()), Vec::new(), Duration::ZERO).unwrap();
        core.inbox.extend((0..MANY).map(|_| Message::Aborted { ticket: u32::MAX }));
        // Nobody acts on one in a nanosecond, let alone on thousands in the time of a turn.
        core.messages();
        let left = core.inbox.len();
        assert!(left > 0 && left < MANY, "{left}");
        core.messages();
        assert!(core.inbox.len() < left);
    }
}
