//! The loop of one core's thread: completions in, a turn, submissions out, sleep. And what is the thread's alone: its
//! listeners, its bell, and how long it spins.
//!
//! Each core is a thread pinned by a glommio executor. On it the core's own io_uring serves everything: accept,
//! receive, send, LUN extents, the mailbox. This loop owns the thread; glommio places and names the threads.
//! What starts the threads, and what is done beside them, is in [`crate::serve`]. (Measured when this was designed: a
//! ring inside the executor, woken through an eventfd, costs 0.4 us more for each command of a RAM disk than a loop of
//! its own.)
//!
//! All that a turn has asked for goes to the kernel in one call, which also waits when there is nothing to do. (With jobs
//! to be polled, or with something parked, there is one more call, before them.) A core that is given commands spins a bounded time before it sleeps.

use crate::balance::load::Meter;
use crate::fabric::mesh::Mesh;
use crate::limits::{ACCEPT_REST, SAVING_REST, SHORTAGE_OVER};
use crate::ring::{Completion, Wait};
use crate::shard::Core;
use crate::transport::io::Socket;
use crate::transport::record;
use crate::transport::source::Source;
use crate::world::World;
use crate::world::clock::BEAT;
use crate::world::load::Load;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

/// How long after a command a core still spins before it sleeps. Pings of idle sessions are not worth it.
const COMMANDED: Duration = Duration::from_millis(10);

/// Connections of one portal that are accepted in one turn. With as many as there are, who only connects would have a turn last
/// as long as it likes; with fewer, who connects beside that would wait for long.
const ACCEPTS: usize = 8;

/// What a core's thread tells the one that has started it.
#[derive(Debug)]
pub(crate) enum Told {
    /// It accepts connections.
    Started,
    /// It could not start.
    Failed(io::Error),
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
    listeners: Vec<(usize, TcpListener)>,
    spin: Duration,
    tell: &mpsc::Sender<Told>,
) -> io::Result<()> {
    let _farewell = Farewell(tell);
    match Core::on_ring(core, shared) {
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

/// One of the portals' sockets.
struct Listener {
    /// What it is known by.
    number: usize,
    /// This core's own duplicate.
    socket: TcpListener,
    /// Connections that the kernel is to accept there, for so many entries have its descriptor: that is kept as long.
    armed: usize,
    /// Nobody is accepted there any more.
    is_gone: bool,
}

/// What a core's thread does.
struct Driver {
    /// The core.
    core: Core,
    /// The portals.
    listeners: Vec<Listener>,
    /// Numbers of listeners that rest until `rest_until`, because an accept failed for want of descriptors or memory.
    resting: Vec<usize>,
    /// Until when they rest.
    rest_until: Instant,
    /// When an accept last failed for that reason. `None`: that was not logged yet.
    short: Option<Instant>,
    /// Where the ring reads what the bell says.
    bell: Box<u64>,
    /// How long it spins before it sleeps.
    spin: Duration,
    /// Measures how busy it is.
    meter: Meter,
    /// What it spins for.
    work: Work,
}

/// When there was something to do.
struct Work {
    /// Commands that there were by then.
    commands: u64,
    /// When there was a command.
    last_command: Instant,
    /// When there was something to do, soon after a command.
    last: Instant,
}

impl Work {
    /// Something has come in a turn that began at `now`, if `worked`; there were so many commands by now.
    fn note(&mut self, commands: u64, now: Instant, worked: bool) {
        if commands != self.commands {
            (self.commands, self.last_command) = (commands, now);
        }
        if worked && now.duration_since(self.last_command) < COMMANDED {
            self.last = now;
        }
    }
}

impl Driver {
    /// A core's thread. `listeners` are its own duplicates of the portals' sockets, by number.
    fn new(core: Core, listeners: Vec<(usize, TcpListener)>, spin: Duration) -> Driver {
        let listener = |(number, socket)| Listener { number, socket, armed: 0, is_gone: false };
        let listeners = listeners.into_iter().map(listener).collect();
        let now = Instant::now();
        let (cores, spins) = (core.fabric.neighbours.cores(), core.fabric.io.can_spin() && !spin.is_zero());
        Driver {
            core,
            listeners,
            resting: Vec::new(),
            rest_until: now,
            short: None,
            bell: Box::new(0),
            spin,
            meter: Meter::new(now, cores > 1, spins),
            work: Work { commands: 0, last_command: now, last: now },
        }
    }

    /// Runs until the server is told to shut down and has done so.
    ///
    /// # Errors
    /// An error of [`crate::ring::Ring::enter`].
    fn run(&mut self) -> io::Result<()> {
        record::begin(self.core.fabric.neighbours.own());
        self.listen();
        self.arm_bell();
        let mut completions = Vec::with_capacity(4096);
        let mut next_beat = Instant::now();
        loop {
            self.core.fabric.io.drain(&mut completions);
            let now = Instant::now();
            if now >= next_beat {
                self.core.fabric.world.clock.beat(now, SystemTime::now());
                let fabric = &self.core.fabric;
                fabric.world.loads.get(fabric.neighbours.own()).into_iter().for_each(Load::beat);
                next_beat = now + BEAT;
            }
            self.core.begin_turn(now);
            self.meter.wakes(now);
            let worked = !completions.is_empty();
            for completion in completions.drain(..) {
                self.completed(completion);
            }
            if worked && self.core.has_shares() {
                // What others have asked for does not wait until jobs, and who has much parked, have had their time.
                self.core.flush();
                self.core.fabric.io.enter(Wait::No)?;
            }
            self.core.act(now, worked);
            self.look_after_listeners(now);
            if self.core.is_over(now) {
                self.core.executor.mark_unfinished();
                return Ok(());
            }
            if worked {
                self.core.worked(now);
            }
            if let Some(busy) = self.meter.measure(now, || self.core.fabric.io.take_spun()) {
                self.core.balance(busy);
            }
            self.work.note(self.core.fabric.stats.commands, now, worked);
            let wait = self.how_long(now);
            self.meter.rests(now, worked, wait, self.core.is_queued());
            self.core.fabric.io.enter(wait)?;
        }
    }

    /// A busy core looks at memory for a while before it sleeps in the kernel.
    fn how_long(&mut self, now: Instant) -> Wait {
        if self.core.is_busy(now) {
            return Wait::No;
        }
        let io = &mut self.core.fabric.io;
        if !self.spin.is_zero() && io.can_spin() && now.duration_since(self.work.last) < self.spin {
            let until = self.core.may_spin(self.work.last + self.spin, now);
            self.core.fabric.io.spin(until);
            return Wait::No;
        }
        let rest = self.core.rest(now);
        if self.resting.is_empty() {
            return Wait::AtMost(rest);
        }
        Wait::AtMost(rest.min(self.rest_until.saturating_duration_since(now)).max(Duration::from_micros(1)))
    }

    fn completed(&mut self, completion: Completion) {
        if self.core.completed(completion) {
            return;
        }
        let source = (completion.user_data >> 56) as u8;
        if source == Source::Accept as u8 {
            record::completed(self.core.fabric.now_ms, &completion);
            self.accepted((completion.user_data & Source::NUMBER) as usize, completion);
        } else if source == Source::Bell as u8 {
            self.arm_bell();
            self.core.rung();
        }
    }

    fn listen(&mut self) {
        let numbers: Vec<usize> = self.listeners.iter().map(|of| of.number).collect();
        for listener in numbers {
            (0..ACCEPTS).for_each(|_| self.arm_accept(listener));
        }
    }

    /// Listeners come and go. Of one that goes its entries end when it is shut down.
    fn change_listeners(&mut self) {
        for (number, socket) in std::mem::take(&mut self.core.fabric.listening) {
            match socket {
                Some(socket) => {
                    let socket = TcpListener::from(socket);
                    self.listeners.push(Listener { number, socket, armed: 0, is_gone: false });
                    (0..ACCEPTS).for_each(|_| self.arm_accept(number));
                }
                None => self.listeners.iter_mut().filter(|of| of.number == number).for_each(|of| of.is_gone = true),
            }
        }
        self.listeners.retain(|of| !of.is_gone || of.armed > 0);
    }

    /// Has the kernel accept one connection. When that is over, it is armed again: the entry goes out with the next
    /// turn.
    fn arm_accept(&mut self, listener: usize) {
        if let Some(at) = self.listeners.iter_mut().find(|of| of.number == listener && !of.is_gone) {
            at.armed += 1;
            self.core.fabric.io.accept(listener, at.socket.as_raw_fd());
        }
    }

    /// The kernel has accepted a connection, or not. Whether that is listened on still.
    fn disarm(&mut self, listener: usize) -> bool {
        let Some(at) = self.listeners.iter().position(|of| of.number == listener) else { return false };
        let of = &mut self.listeners[at];
        of.armed = of.armed.saturating_sub(1);
        let (is_gone, is_over) = (of.is_gone, of.is_gone && of.armed == 0);
        if is_over {
            self.listeners.remove(at);
        }
        !is_gone
    }

    fn accepted(&mut self, listener: usize, completion: Completion) {
        let is_portal = self.disarm(listener);
        if completion.result >= 0 {
            // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
            #[allow(unsafe_code)]
            let socket = unsafe { OwnedFd::from_raw_fd(completion.result) };
            if is_portal
                && !self.core.fabric.shutdown
                && let Some((socket, peer, local)) = prepare(socket)
            {
                self.core.accepted(Socket::Tcp(socket), peer, local);
            }
        }
        if self.core.fabric.shutdown || !is_portal {
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
        } else if let Some(left_out) = self.core.fabric.noise.line(self.core.fabric.now_ms) {
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

    /// Nobody is accepted any more once the server goes down; until then, those that rest are asked again in time.
    fn look_after_listeners(&mut self, now: Instant) {
        if self.core.fabric.shutdown {
            self.listeners.clear();
            self.resting.clear();
            self.core.fabric.listening.clear();
        }
        if !self.core.fabric.listening.is_empty() {
            self.change_listeners();
        }
        if self.resting.is_empty() || now < self.rest_until {
            return;
        }
        if self.core.fabric.world.keeper.needs_descriptors() {
            self.rest_until = now + SAVING_REST;
            return;
        }
        for listener in std::mem::take(&mut self.resting) {
            self.arm_accept(listener);
        }
    }

    fn arm_bell(&mut self) {
        let fabric = &mut self.core.fabric;
        if let Some(mailbox) = fabric.neighbours.mailbox() {
            fabric.io.listen_to(mailbox.bell().fd(), &raw mut *self.bell);
        }
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
pub(crate) mod tests;
