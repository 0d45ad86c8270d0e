//! The target itself, on a core in memory, as a [`Peer`]: one RAM unit (LUN 0), and a network that loses and delays nothing.
//!
//! Packets become bytes and bytes become packets here, so that scripts and initiators need not know of them. A session that
//! begins has heard that the unit was switched on: every script would begin with that otherwise.

use super::cores::Cores;
use super::end::End;
use super::lines::Weather;
use super::{Packet, Peer, Rng};
use crate::backend::{FaultAction, FaultPlan, FaultRule, Handle, Medium, WayIn};
use crate::model::{IscsiName, LunKind, LunSpec, Portal, Snapshot, TargetSpec, UnitIx};
use crate::session::login::negotiate::Offer;
use crate::state::{Keeper, KeeperByHand};
use crate::unit::errandry::{Errandry, ErrandryByHand};
use crate::world::World;
use crate::world::error::WorldError;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The iSCSI name of the target.
pub const NAME: &str = "iqn.2001-04.com.example:disk";
/// Bytes of a logical block.
pub const BLOCK_BYTES: u32 = 512;
/// Its unit.
const DISK: UnitIx = UnitIx::new(0);

const PORTAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3260);
const HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1000);
/// Everything arrives at once and whole, but for the pieces in which a core happens to take it.
const CALM: Weather = Weather { delay_us: 0, slow: 0, piece_bytes: u64::MAX, window_bytes: 64 << 20, lags: 0 };
/// What a turn takes, microseconds.
const TURN_US: u64 = 5;
/// More turns than anything takes that was said at once.
const MANY_TURNS: u32 = 100_000;

/// A connection, as its initiator sees it.
struct Connection {
    line: usize,
    end: End,
    is_closed: bool,
}

/// The target with one unit. It acts only when it is sent something or time is let pass.
pub struct Target {
    cores: Cores,
    rng: Rng,
    connections: Vec<Option<Connection>>,
    out: Vec<Packet>,
    disk: Handle,
    /// In so many cases of 1000 an operation of its medium is over after a millisecond.
    over: u64,
    keeping: KeeperByHand,
    errands: ErrandryByHand,
    /// Sessions up to this one have heard what was pending.
    heard: u64,
}

impl Target {
    /// A target whose disk has `blocks` blocks of zeroes. `seed` decides in which pieces and in which order a core is told
    /// what has come.
    pub fn new(offer: Offer, blocks: u32, seed: u64) -> Target {
        Target::slow(offer, blocks, seed, 0)
    }

    /// The same, with a medium that is no memory to its core: each operation takes about `delay_ms`, drawn from the
    /// seed. 0: it is memory.
    ///
    /// # Panics
    /// The system has no memory to give.
    pub fn slow(offer: Offer, blocks: u32, seed: u64, delay_ms: u64) -> Target {
        Target::serve(offer, blocks, seed, delay_ms).expect("memory for a core")
    }

    fn serve(offer: Offer, blocks: u32, seed: u64, delay_ms: u64) -> Result<Target, WorldError> {
        let (keeper, keeping) = Keeper::by_hand();
        let (errandry, errands) = Errandry::by_hand();
        let mut world = World::open_with(snapshot(blocks), 1, keeper, errandry)?;
        let medium = Arc::clone(&world.units[DISK].medium);
        let disk = medium.handle(&WayIn::new(|| {}));
        if delay_ms > 0
            && let Some(unit) = Arc::get_mut(&mut world.units[DISK])
        {
            unit.medium = Arc::new(slowed(medium));
        }
        let mut cores = Cores::new(world, 1).map_err(WorldError::System)?;
        cores.weather = CALM;
        cores.core_mut(0).set_offer(offer);
        let (connections, out, over) = (Vec::new(), Vec::new(), 1000 / delay_ms.max(1));
        Ok(Target { cores, rng: Rng(seed), connections, out, disk, over, keeping, errands, heard: 0 })
    }

    /// Puts bytes on the disk.
    ///
    /// # Panics
    /// It has no such place.
    pub fn fill(&mut self, offset: u64, bytes: &[u8]) {
        assert!(self.disk.write_in_place(offset, bytes), "{} bytes at {offset}", bytes.len());
    }

    /// What is on the disk.
    ///
    /// # Panics
    /// It has no such place.
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        assert!(self.disk.read_in_place(offset, &mut bytes), "{len} bytes at {offset}");
        bytes
    }

    /// How many sessions there are, with or without connections.
    pub fn sessions(&self) -> usize {
        self.cores.world().registry.sessions()
    }

    /// Has it ask the initiators of all sessions to log out.
    pub fn ask_for_logout(&mut self) {
        self.cores.core_mut(0).ask_for_logout();
        self.settle();
    }

    /// One turn of the core, and what comes of it. In so many cases of 1000 an operation of the medium is over.
    fn turn(&mut self, over: u64) {
        let mut media = |_: usize, _: &_, rng: &mut Rng| rng.per_mille(over).then_some(-libc::ETIME);
        self.cores.turn(0, &mut media, &mut self.rng);
        self.cores.see_ends();
        self.heard = self.cores.core_mut(0).let_hear(self.heard);
        self.keeping.next(self.cores.now_ms());
        self.errands.next(0);
        self.cores.pass(TURN_US);
        for conn in 0..self.connections.len() {
            self.listen(conn);
        }
    }

    /// Takes what has arrived at the initiator, which closes what the target has closed.
    fn listen(&mut self, conn: usize) {
        let Some(Some(connection)) = self.connections.get_mut(conn) else { return };
        if connection.is_closed {
            return;
        }
        let mut bytes = Vec::new();
        self.cores.receive(connection.line, &mut bytes);
        let mut chunk = bytes.as_slice();
        while let Some(packet) = connection.end.next(conn, &mut chunk).expect("what a target sends is iSCSI") {
            self.out.push(packet);
        }
        let wire = self.cores.wire(connection.line);
        connection.is_closed = wire.ends_at_host();
        wire.host_closed |= connection.is_closed;
    }

    /// Turns until nothing happens before time goes on.
    fn settle(&mut self) {
        for _ in 0..MANY_TURNS {
            if self.cores.are_at_rest() && self.errands.waiting() == 0 && self.keeping.waiting() == 0 {
                return;
            }
            self.turn(0);
        }
        panic!("a core comes to no rest");
    }

    /// Lets time pass.
    fn pass_until(&mut self, until_us: u64) {
        self.settle();
        loop {
            let (now_us, works) = (self.cores.now_us(), self.cores.operations() > 0);
            let over_us = if works { now_us + 1000 } else { u64::MAX };
            let due_us = over_us.min(self.cores.next_us());
            if due_us > until_us || now_us >= until_us {
                return self.cores.pass(until_us.saturating_sub(now_us));
            }
            self.cores.pass(due_us.saturating_sub(now_us).max(1));
            if due_us == over_us {
                self.turn(self.over);
            }
            self.settle();
        }
    }
}

/// A target with one RAM unit.
fn snapshot(blocks: u32) -> Snapshot {
    let size_bytes = Some(u64::from(blocks) * u64::from(BLOCK_BYTES));
    let lun = LunSpec { size_bytes, block_bytes: BLOCK_BYTES, ..LunSpec::new(0, LunKind::Ram) };
    let targets = IscsiName::new(NAME).into_iter().map(|name| TargetSpec::new(name, None, vec![lun.clone()])).collect();
    let portals = vec![Portal { listen: PORTAL, advertise: None, group_tag: 1 }];
    Snapshot { portals, targets, ..Snapshot::default() }
}

/// The same medium, of which each operation is over when the simulator says so.
fn slowed(medium: Arc<Medium>) -> Medium {
    let later = FaultRule::new(FaultAction::Delay(Duration::ZERO));
    Medium::with_faults(medium, FaultPlan::new().rule(later))
}

impl Peer for Target {
    fn open(&mut self, conn: usize) {
        self.cut(conn);
        let line = self.cores.connect(HOST, PORTAL, 0);
        if self.connections.len() <= conn {
            self.connections.resize_with(conn + 1, || None);
        }
        self.connections[conn] = Some(Connection { line, end: End::default(), is_closed: false });
        self.settle();
    }

    fn cut(&mut self, conn: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(conn) {
            self.cores.wire(connection.line).cut();
            connection.is_closed = true;
            self.out.retain(|packet| packet.conn != conn);
            self.settle();
        }
    }

    fn send(&mut self, packet: Packet) {
        let Some(Some(connection)) = self.connections.get(packet.conn) else { return };
        let mut bytes = Vec::new();
        connection.end.encode(&packet, &mut bytes);
        self.cores.send(connection.line, &bytes, &mut self.rng);
        self.settle();
    }

    fn pass(&mut self, ms: u64) {
        self.pass_until(self.cores.now_us() + ms * 1000);
    }

    fn receive(&mut self) -> Vec<Packet> {
        self.settle();
        std::mem::take(&mut self.out)
    }

    fn is_closed(&self, conn: usize) -> bool {
        self.connections.get(conn).is_none_or(|one| one.as_ref().is_none_or(|connection| connection.is_closed))
    }
}
