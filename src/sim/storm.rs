//! Hosts, a network, cores and media under one seed: whatever comes in whatever order, hosts see what they may see, nobody
//! waits for ever, and in the end nothing is left.

use super::Rng;
use super::cores::Cores;
use super::host::Host;
use super::judge::{Judge, UnitSpec};
use super::lines::Weather;
use super::net::Net;
use super::target::NAME;
use super::workload::Config;
use crate::backend::simulated::{self, Work};
use crate::fabric::mesh::Message;
use crate::model::{IscsiName, LunKind, LunSpec, Portal, Snapshot, TargetSpec};
use crate::random;
use crate::state::{Keeper, KeeperByHand};
use crate::unit::errandry::{Errandry, ErrandryByHand};
use crate::wire::Tsih;
use crate::world::World;
use std::net::SocketAddr;

const BLOCKS: usize = 2048;
const BLOCK_BYTES: u32 = 512;
/// A run that has not ended by then waits for ever, milliseconds after it is to end.
const LIMIT_MS: u64 = 300_000;

/// How bad it is.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// Cores.
    pub cores: usize,
    /// Hosts.
    pub hosts: usize,
    /// Steps before it is calm.
    pub steps: usize,
}

/// What the network is, with its target: hosts see this.
struct Sea {
    cores: Cores,
    rng: Rng,
}

impl Net for Sea {
    fn connect(&mut self, host: usize) -> Option<usize> {
        let peer = SocketAddr::from(([192, 0, 2, 1 + host as u8], 1024 + self.rng.below(60_000) as u16));
        let core = self.rng.below(self.cores.count() as u64) as usize;
        Some(self.cores.connect(peer, portal(), core))
    }

    fn send(&mut self, line: usize, bytes: &[u8]) {
        self.cores.send(line, bytes, &mut self.rng);
    }

    fn receive(&mut self, line: usize, into: &mut Vec<u8>) {
        self.cores.receive(line, into);
    }

    fn is_closed(&self, line: usize) -> bool {
        self.cores.has_ended(line)
    }

    fn close(&mut self, line: usize) {
        self.cores.close(line, &mut self.rng);
    }

    fn now_ms(&self) -> u64 {
        self.cores.now_ms()
    }
}

fn portal() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 3260))
}

/// All of it.
struct World_ {
    sea: Sea,
    hosts: Vec<Host>,
    judge: Judge,
    keeping: KeeperByHand,
    errands: ErrandryByHand,
    dice: Rng,
    /// Media are well, and so is the network.
    is_calm: bool,
    /// No medium answers before, microseconds.
    hangs_until_us: u64,
}

fn snapshot(units: &[LunKind]) -> Snapshot {
    let lun = |(number, kind): (u16, &LunKind)| LunSpec {
        size_bytes: Some(BLOCKS as u64 * u64::from(BLOCK_BYTES)),
        thin: true,
        naa: Some([0x60 + number as u8; 16]),
        serial: Some(format!("disk-{number}")),
        ..LunSpec::new(number, kind.clone())
    };
    let luns = (0..).zip(units).map(lun).collect();
    let target = TargetSpec::new(IscsiName::new(NAME).unwrap(), None, luns);
    let portals = vec![Portal { listen: portal(), advertise: None, group_tag: 1 }];
    Snapshot { portals, targets: vec![target], ..Snapshot::default() }
}

impl World_ {
    fn new(seed: u64, storm: Storm) -> World_ {
        simulated::forget();
        random::seeded::set(Some(seed));
        let mut dice = Rng(seed);
        let kinds = [LunKind::Ram, simulated::kind("a"), simulated::kind("b")];
        let kinds = &kinds[dice.below(2) as usize..];
        let (keeper, keeping) = Keeper::by_hand();
        let (errandry, errands) = Errandry::by_hand();
        let world = World::open_with(snapshot(kinds), storm.cores, keeper, errandry).unwrap();
        let mut cores = Cores::new(world, storm.cores).unwrap();
        cores.weather = Weather { piece_bytes: 1 + dice.below(40_000), ..Weather::default() };
        let units = (0..kinds.len() as u16).map(|lun| UnitSpec { lun, blocks: BLOCKS, block_bytes: BLOCK_BYTES });
        let mut judge = Judge::new(storm.hosts, &units.collect::<Vec<_>>());
        for (blocks, kind) in judge.blocks.iter_mut().zip(kinds) {
            // What is read is sent from where it lies.
            blocks.tears = *kind == LunKind::Ram;
        }
        let hosts =
            (0..storm.hosts).map(|number| Host::new(number, Config::usual(number, NAME), dice.bits())).collect();
        World_ {
            sea: Sea { cores, rng: Rng(dice.bits()) },
            hosts,
            judge,
            keeping,
            errands,
            dice,
            is_calm: false,
            hangs_until_us: 0,
        }
    }

    /// Something happens.
    fn step(&mut self) {
        if self.dice.per_mille(400) {
            let host = self.dice.below(self.hosts.len() as u64) as usize;
            self.hosts[host].step(&mut self.sea, &mut self.judge);
        }
        self.turn();
        if self.dice.per_mille(300) {
            self.keeping.next(self.sea.cores.now_ms());
            let waiting = self.errands.waiting();
            if waiting > 0 {
                self.errands.next(self.dice.below(waiting as u64) as usize);
            }
        }
        if !self.is_calm {
            self.trouble();
        }
        self.pass();
    }

    fn turn(&mut self) {
        let core = self.dice.below(self.sea.cores.count() as u64) as usize;
        let (hangs, is_calm) = (self.sea.cores.now_us() < self.hangs_until_us, self.is_calm);
        let mut answer = |_: usize, entry: &io_uring::squeue::Entry, rng: &mut Rng| {
            if hangs || !is_calm && rng.per_mille(300) { None } else { Some(answer(entry, is_calm, rng)) }
        };
        self.sea.cores.turn(core, &mut answer, &mut self.dice);
        self.sea.cores.see_ends();
    }

    fn trouble(&mut self) {
        if self.dice.below(4000) == 0 {
            self.hangs_until_us = self.sea.cores.now_us() + self.dice.below(3_000_000);
        }
        if self.dice.below(3000) == 0 {
            self.sea.cores.cut_some(&mut self.dice);
        }
        if self.dice.below(300) == 0 && self.sea.cores.count() > 1 {
            let to = self.dice.below(self.sea.cores.count() as u64) as usize;
            let from = self.dice.below(self.sea.cores.count() as u64) as usize;
            self.sea.cores.post(from, Message::Demand { tsih: Tsih(1 + self.dice.below(8) as u16), to });
        }
    }

    /// Time goes on: a little if there is something to do, else until there is.
    fn pass(&mut self) {
        let cores = &mut self.sea.cores;
        let (now_us, next_us) = (cores.now_us(), cores.next_us());
        let idle = next_us.saturating_sub(now_us).min(5_000);
        cores.pass(if idle > 100 { idle } else { self.dice.below(60) });
    }

    fn finish(&mut self) {
        self.is_calm = true;
        self.hangs_until_us = 0;
        let since_ms = self.sea.cores.now_ms();
        self.judge.well_since_ms = Some(since_ms);
        self.hosts.iter_mut().for_each(|host| host.finish(&self.judge));
        while !self.hosts.iter().all(Host::is_done) {
            self.step();
            assert!(self.sea.cores.now_ms() < since_ms + LIMIT_MS, "hosts do not come to an end");
        }
        let done_ms = self.sea.cores.now_ms();
        // The target has sessions that were lost for as long as they may be continued.
        while self.left().iter().any(|left| !left.is_empty()) {
            self.turn();
            self.keeping.next(self.sea.cores.now_ms());
            self.pass();
            assert!(self.sea.cores.now_ms() < done_ms + LIMIT_MS, "something is left: {:?}", self.left());
        }
    }

    fn left(&self) -> Vec<Vec<&'static str>> {
        (0..self.sea.cores.count()).map(|core| self.sea.cores.core(core).left()).collect()
    }
}

/// What an operation comes to.
fn answer(entry: &io_uring::squeue::Entry, is_calm: bool, rng: &mut Rng) -> i32 {
    let Some((_, pending)) = simulated::operation(entry) else { return -libc::ETIME };
    if is_calm {
        return 0;
    }
    match rng.below(100) {
        0..3 => -libc::EINTR,
        3..8 if matches!(pending.work, Work::Read | Work::Write { .. }) => 1 + rng.below(pending.len) as i32,
        _ => 0,
    }
}

/// A run of this seed.
pub fn run(seed: u64, storm: Storm) {
    let mut world = World_::new(seed, storm);
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        (0..storm.steps).for_each(|_| world.step());
        world.finish();
    }));
    if let Err(why) = ran {
        let lines = told("RINGSAN_LINES").unwrap_or(60);
        world.judge.log.iter().rev().take(lines).rev().for_each(|line| eprintln!("{line}"));
        eprintln!("RINGSAN_SEED={seed}");
        std::panic::resume_unwind(why);
    }
}

/// What a variable of the environment says.
fn told<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// The storm of a seed: most have two cores, some more.
fn storm_of(seed: u64) -> Storm {
    let cores = told("RINGSAN_CORES").unwrap_or([2, 1, 3, 2][seed as usize % 4]);
    Storm { cores, hosts: 3, steps: told("RINGSAN_STEPS").unwrap_or(3000) }
}

/// `RINGSAN_SEED` runs one of them, `RINGSAN_SEEDS` so many, of `RINGSAN_CORES` cores.
#[test]
fn hosts_see_what_they_may_see_in_every_storm() {
    if let Some(seed) = told("RINGSAN_SEED") {
        return run(seed, storm_of(seed));
    }
    let seeds = told("RINGSAN_SEEDS").unwrap_or(300);
    let next = std::sync::atomic::AtomicU64::new(told("RINGSAN_FIRST").unwrap_or(0));
    let end = next.load(std::sync::atomic::Ordering::Relaxed) + seeds;
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if std::panic::catch_unwind(|| run(seed, storm_of(seed))).is_err() {
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "RINGSAN_SEED= one of {failed:?}");
}

/// What a run comes to depends on nothing but its seed.
#[test]
fn a_seed_says_it_all() {
    for seed in 0..4 {
        let [one, other] = [(); 2].map(|()| {
            let mut world = World_::new(seed, storm_of(seed));
            (0..2000).for_each(|_| world.step());
            (world.judge.log, world.sea.cores.now_us(), world.dice.bits())
        });
        assert_eq!(one, other, "seed {seed}");
    }
}
