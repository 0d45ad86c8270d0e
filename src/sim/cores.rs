//! Whole cores in memory: the target itself, with a kernel that is played. What comes when, in which pieces and in which
//! order is decided by a seed; time only goes on when it is told to.

mod rest;

use super::Rng;
use super::lines::{Weather, Wire};
use crate::fabric::mesh::{Mesh, Message};
use crate::limits::RECEIVE_BUFFER_BYTES;
use crate::model::{ConnNo, UnitIx};
use crate::shard::Core;
use crate::transport::io::{Line, Memory, Socket, Watch};
use crate::world::clock::Clock;
use crate::world::{Change, World};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an operation on a medium of a core comes to; `None`: it goes on.
pub type Media<'a> = dyn FnMut(usize, &io_uring::squeue::Entry, &mut Rng) -> Option<i32> + 'a;

/// Cores, their mailboxes, and the lines that lead to them.
pub struct Cores {
    cores: Vec<Core>,
    mesh: Mesh,
    world: Arc<World>,
    wires: Vec<Wire>,
    /// The target's ends of them.
    lines: Vec<Line>,
    /// Connections that were not accepted yet: core and line.
    coming: Vec<(usize, usize)>,
    epoch: Instant,
    now_us: u64,
    watch: Watch,
    /// What the network is like.
    pub weather: Weather,
}

/// Something that a core may be told next.
#[derive(Debug, Clone, Copy)]
enum May {
    Accept(usize),
    Receive(ConnNo, usize),
    Send(ConnNo, usize),
    Medium(usize),
    Cancel,
    Bell,
}

impl Cores {
    /// So many cores, which serve `world`.
    ///
    /// # Errors
    /// The system has no memory or bell to give.
    pub(crate) fn new(mut world: World, count: usize) -> io::Result<Cores> {
        let epoch = Instant::now();
        let watch = Watch::at(epoch);
        world.clock = Arc::new(Clock::new(epoch));
        let (world, mesh) = (Arc::new(world), Mesh::new(count)?);
        let made = (0..count)
            .map(|core| Core::in_memory(core, (Arc::clone(&world), mesh.clone()), Memory::new(watch.clone())));
        let cores = made.collect::<Result<_, _>>()?;
        let (wires, lines, coming) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Cores { cores, mesh, world, wires, lines, coming, epoch, now_us: 0, watch, weather: Weather::default() })
    }

    /// The power was gone: other cores serve another world now, and no line is left.
    ///
    /// # Errors
    /// As [`Cores::new`].
    #[cfg_attr(not(test), expect(dead_code, reason = "for storms"))]
    pub(crate) fn restart(&mut self, mut world: World) -> io::Result<()> {
        self.wires.iter_mut().for_each(Wire::cut);
        self.coming.clear();
        let count = self.cores.len();
        self.cores.clear();
        world.clock = Arc::new(Clock::new(self.epoch));
        (self.world, self.mesh) = (Arc::new(world), Mesh::new(count)?);
        for core in 0..count {
            let memory = Memory::new(self.watch.clone());
            self.cores.push(Core::in_memory(core, (Arc::clone(&self.world), self.mesh.clone()), memory)?);
        }
        Ok(())
    }

    /// Simulated time, milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }

    /// The same in microseconds.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// How many cores there are.
    pub fn count(&self) -> usize {
        self.cores.len()
    }

    /// A core.
    #[cfg_attr(not(test), expect(dead_code, reason = "for storms"))]
    pub(crate) fn core(&self, core: usize) -> &Core {
        &self.cores[core]
    }

    /// The same, to be changed.
    pub(crate) fn core_mut(&mut self, core: usize) -> &mut Core {
        &mut self.cores[core]
    }

    /// What they serve.
    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Another configuration is served from now on: who is to tell the cores of it gets the change.
    #[cfg_attr(not(test), expect(dead_code, reason = "for storms"))]
    pub(crate) fn change(&mut self, mut world: World, resized: Vec<UnitIx>) -> Arc<Change> {
        world.generation = self.world.generation + 1;
        self.world = Arc::new(world);
        Arc::new(Change { world: Arc::clone(&self.world), resized })
    }

    /// Posts a message to a core.
    #[cfg_attr(not(test), expect(dead_code, reason = "for storms"))]
    pub(crate) fn post(&self, core: usize, message: Message) {
        self.mesh.post(core, message);
    }

    /// A host connects; its connection is accepted by that core. The number of the line.
    pub fn connect(&mut self, peer: SocketAddr, portal: SocketAddr, core: usize) -> usize {
        let number = self.wires.len();
        self.wires.push(Wire::new(peer, portal));
        self.lines.push(Line::new(number));
        self.coming.push((core, number));
        number
    }

    /// A line, as its host sees it.
    pub fn wire(&mut self, line: usize) -> &mut Wire {
        &mut self.wires[line]
    }

    /// The host sends bytes.
    pub fn send(&mut self, line: usize, bytes: &[u8], rng: &mut Rng) {
        self.wires[line].send(self.now_us, bytes, &self.weather, rng);
    }

    /// The host takes what has arrived.
    pub fn receive(&mut self, line: usize, into: &mut Vec<u8>) {
        into.append(self.wires[line].at_host(self.now_us));
    }

    /// Whether the target, or the network, has ended a line, and all that came before was received.
    pub fn has_ended(&self, line: usize) -> bool {
        self.wires[line].ends_at_host()
    }

    /// Whether the target, or the network, has ended a line.
    pub fn is_gone(&self, line: usize) -> bool {
        self.wires[line].is_gone()
    }

    /// The host closes a line: what it has sent still arrives, or it does not.
    pub fn close(&mut self, line: usize, rng: &mut Rng) {
        if rng.per_mille(500) {
            self.wires[line].host_closed = true;
        } else {
            self.wires[line].cut();
        }
    }

    /// Cuts a line that is in use.
    pub fn cut_some(&mut self, rng: &mut Rng) {
        let used: Vec<usize> = (0..self.wires.len()).filter(|line| !self.wires[*line].ends_at_host()).collect();
        if let Some(line) = used.get(rng.below(used.len() as u64) as usize) {
            self.wires[*line].cut();
        }
    }

    /// Time goes on.
    pub fn pass(&mut self, us: u64) {
        self.now_us += us;
    }

    /// When something happens by itself, microseconds: bytes arrive, or a core looks at its clocks.
    pub fn next_us(&self) -> u64 {
        let now = self.instant();
        let rest = |core: &Core| if core.is_busy(now) { 0 } else { core.rest(now).as_micros() as u64 };
        let cores = self.cores.iter().map(|core| self.now_us + rest(core));
        let mail = (0..self.cores.len()).filter(|core| self.has_mail(*core)).map(|_| self.now_us);
        cores.chain(mail).chain(self.wires.iter().filter_map(Wire::next_us)).min().unwrap_or(self.now_us)
    }

    /// Whether a core has been posted something that it has not read.
    pub(crate) fn has_mail(&self, core: usize) -> bool {
        self.mesh.of(core).is_some_and(|mailbox| !mailbox.is_empty())
    }

    fn instant(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now_us)
    }

    /// One turn of a core, in which each of the things happens that may happen now, or does not. True: it has ended.
    pub fn turn(&mut self, number: usize, media: &mut Media<'_>, rng: &mut Rng) -> bool {
        let now = self.instant();
        self.watch.pass(now);
        self.cores[number].begin_turn(now);
        let mut worked = false;
        let mut may = self.may(number);
        while !may.is_empty() {
            let next = may.swap_remove(rng.below(may.len() as u64) as usize);
            worked |= !rng.per_mille(self.weather.lags) && self.happens(number, next, media, rng);
        }
        let core = &mut self.cores[number];
        if worked && core.has_shares() {
            core.flush();
        }
        core.act(now, worked);
        if worked {
            core.worked(now);
        }
        core.is_over(now)
    }

    fn memory(&mut self, core: usize) -> &mut Memory {
        self.cores[core].memory().expect("cores in memory")
    }

    fn may(&mut self, core: usize) -> Vec<May> {
        let mut may: Vec<May> =
            self.coming.iter().filter(|(to, _)| *to == core).map(|(_, line)| May::Accept(*line)).collect();
        let mail = self.has_mail(core);
        let memory = self.memory(core);
        may.extend(memory.receiving().map(|(conn, line)| May::Receive(conn, line)));
        may.extend(memory.sending().map(|(conn, line)| May::Send(conn, line)));
        may.extend((0..memory.media.len()).rev().map(May::Medium));
        may.extend(memory.is_cancelled().then_some(May::Cancel));
        may.extend(mail.then_some(May::Bell));
        may
    }

    /// Has something happen. False: it did not, for nothing has come.
    fn happens(&mut self, core: usize, what: May, media: &mut Media<'_>, rng: &mut Rng) -> bool {
        let completion = match what {
            May::Accept(line) => {
                self.coming.retain(|(_, other)| *other != line);
                let Wire { peer, portal, .. } = self.wires[line];
                self.cores[core].accepted(Socket::Line(self.lines[line].clone()), peer, portal);
                return true;
            }
            May::Receive(conn, line) => self.brought(core, (conn, line), rng),
            May::Send(conn, line) => self.taken(core, (conn, line), rng),
            May::Medium(at) => {
                let memory = self.memory(core);
                let result = memory.media.get(at).and_then(|(_, entry)| media(core, entry, rng));
                result.map(|result| self.memory(core).answer(at, result))
            }
            May::Cancel => self.memory(core).cancelled(),
            May::Bell => {
                self.cores[core].rung();
                return true;
            }
        };
        let Some(completion) = completion else { return false };
        assert!(self.cores[core].completed(completion), "a completion of something that no core asks for");
        true
    }

    fn brought(
        &mut self,
        core: usize,
        (conn, line): (ConnNo, usize),
        rng: &mut Rng,
    ) -> Option<crate::ring::Completion> {
        let wire = &mut self.wires[line];
        let shut = self.lines[line].receives_no_more();
        let memory = self.cores[core].memory()?;
        if shut || wire.ends_at_target() {
            let is_reset = wire.is_cut && !shut && rng.per_mille(500);
            return memory.end_receive(conn, if is_reset { -libc::ECONNRESET } else { 0 });
        }
        let here = wire.at_target(self.now_us);
        if here.is_empty() {
            return None;
        }
        let most = if rng.per_mille(700) { here.len() } else { 1 + rng.below(here.len() as u64) as usize };
        let has_more = rng.per_mille(300);
        memory.bring(conn, here, most.min(RECEIVE_BUFFER_BYTES), has_more)
    }

    fn taken(&mut self, core: usize, (conn, line): (ConnNo, usize), rng: &mut Rng) -> Option<crate::ring::Completion> {
        let wire = &mut self.wires[line];
        let memory = self.cores[core].memory()?;
        if wire.is_cut || wire.host_closed || self.lines[line].receives_no_more() {
            return memory.fail_send(conn, libc::EPIPE);
        }
        let room = wire.room(&self.weather);
        if room == 0 {
            return None;
        }
        let most = if rng.per_mille(800) { room } else { 1 + rng.below(room as u64) as usize };
        let mut bytes = Vec::new();
        let completion = memory.take(conn, most, &mut bytes);
        wire.answer(self.now_us, &bytes, &self.weather, rng);
        completion
    }

    /// What the target has shut is seen at the other end, behind what it has sent.
    pub fn see_ends(&mut self) {
        for (wire, line) in self.wires.iter_mut().zip(&self.lines) {
            wire.target_ended |= line.sends_no_more();
        }
    }
}
