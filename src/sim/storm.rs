//! Hosts, a network, cores and media under one seed: whatever comes in whatever order, hosts see what they may see, nobody
//! waits for ever, and in the end nothing is left.
//!
//! A [`Storm`] has all of them, and a seed says how it goes on. What is modelled, and by whom:
//!
//! | what | where |
//! |---|---|
//! | sessions of all kinds, their commands, and the troubles that hosts make | `host`, `workload` |
//! | EXTENDED COPY between units, and zeroes by their token | `copies` |
//! | pieces, delays, bounded windows, lines that are cut or closed | `lines`, `sea` |
//! | the order of what a core is told in a turn, and of the turns of cores | `cores` |
//! | cores that are not run for a while | here |
//! | media that answer late, in any order, in part, or for a while not at all | `media` |
//! | media that fail, tear what they write, or lose what they have not written back | `media`, some seeds |
//! | bits that are damaged on lines with digests | here, some seeds |
//! | the loss of power, after which cores are others and disks the same | `power`, some seeds |
//! | sessions that move between cores, or are dropped by who looks after the target | here |
//! | other LUN maps, access, sizes and limits, of which one core hears after the other | `changes`, half of the seeds |
//!
//! Not modelled: LUNs and targets that are added or removed, units at other LUNs than before, files that grow, other portals
//! and access states; tokens of what a unit holds, copies in the background, users and secrets, files as media.
//!
//! Then it is calm: everything is well, hosts read all units and log out, and what is left must go.

mod canaries;
mod changes;
mod media;
mod power;
mod runs;
mod sea;

use super::Rng;
use super::cores::Cores;
use super::host::Host;
use super::judge::{Judge, UnitSpec};
use super::lines::Weather;
use super::target::NAME;
use super::workload::Config;
use crate::backend::simulated;
use crate::fabric::mesh::Message;
use crate::fabric::report::Dismissal;
use crate::model::LunKind;
use crate::random;
use crate::state::{Keeper, KeeperByHand};
use crate::unit::errandry::{Errandry, ErrandryByHand};
use changes::{Changing, Configured};
use media::answer;
use sea::{Sea, portal};

const BLOCKS: usize = 2048;
/// No unit grows beyond that.
const MOST_BLOCKS: usize = 3072;
const BLOCK_BYTES: u32 = 512;
/// The last so many of those that each unit has at first hold zeroes, for copies.
const QUIET_BLOCKS: usize = 64;
/// A run that has not ended by then waits for ever, milliseconds after it is to end.
const LIMIT_MS: u64 = 300_000;

/// How bad it is.
#[derive(Debug, Clone, Copy)]
struct Force {
    /// Cores.
    cores: usize,
    /// Hosts.
    hosts: usize,
    /// Steps before it is calm.
    steps: usize,
    /// Media fail: EIO, ENOSPC, writes that are torn.
    fails: bool,
    /// Media lose what they have not written back.
    loses: bool,
    /// Bits of what is under way are damaged, on connections with both digests.
    damages: bool,
    /// The power fails.
    outages: bool,
    /// The configuration changes in one of so many steps; 0: never.
    changes: u64,
    /// A session is to move to another core in one of so many steps, if there are several.
    moves: u64,
}

/// The designator of a unit.
fn naa_of(lun: u16) -> [u8; 16] {
    [0x60 + lun as u8; 16]
}

/// All of it.
struct Storm {
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
    /// Each core is not run before, microseconds.
    rests_until_us: Vec<u64>,
    force: Force,
    kinds: Vec<LunKind>,
    configured: Configured,
    changing: Changing,
}

/// Who stores and who runs errands, for a world.
type Beside = (Keeper, Errandry);

/// The same, and what has them do it.
fn beside() -> (Beside, (KeeperByHand, ErrandryByHand)) {
    let (keeper, keeping) = Keeper::by_hand();
    let (errandry, errands) = Errandry::by_hand();
    ((keeper, errandry), (keeping, errands))
}

impl Storm {
    fn new(seed: u64, force: Force) -> Storm {
        simulated::forget();
        random::seeded::set(Some(seed));
        let mut dice = Rng(seed);
        let kinds = [LunKind::Ram, simulated::kind("a"), simulated::kind("b")];
        let kinds = &kinds[dice.below(2) as usize..];
        let (beside, (keeping, errands)) = beside();
        let configured = Configured::new(kinds, BLOCKS, force.hosts, force.changes > 0);
        let world = configured.open(force.cores, beside);
        let mut cores = Cores::new(world, force.cores).unwrap();
        cores.weather = Weather { piece_bytes: 1 + dice.below(40_000), ..Weather::default() };
        let units = (0..kinds.len() as u16).map(|lun| UnitSpec {
            lun,
            blocks: BLOCKS,
            block_bytes: BLOCK_BYTES,
            naa: naa_of(lun),
            quiet: (QUIET_BLOCKS, BLOCKS - QUIET_BLOCKS),
        });
        let mut judge = Judge::new(force.hosts, &units.collect::<Vec<_>>());
        for (blocks, kind) in judge.blocks.iter_mut().zip(kinds) {
            // What is read is sent from where it lies.
            blocks.tears = *kind == LunKind::Ram;
        }
        (judge.media_may_fail, judge.lines_may_be_damaged) = (force.fails || force.loses, force.damages);
        let config = |number| Config { is_guarded: force.damages, ..Config::usual(number, NAME) };
        let hosts = (0..force.hosts).map(|number| Host::new(number, config(number), dice.bits())).collect();
        Storm {
            sea: Sea { cores, rng: Rng(dice.bits()) },
            hosts,
            judge,
            keeping,
            errands,
            dice,
            is_calm: false,
            hangs_until_us: 0,
            rests_until_us: vec![0; force.cores],
            force,
            kinds: kinds.to_vec(),
            configured,
            changing: Changing::new(force.cores),
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
        self.change_on();
        self.pass();
    }

    fn turn(&mut self) {
        let core = self.dice.below(self.sea.cores.count() as u64) as usize;
        self.turn_of(core);
    }

    fn turn_of(&mut self, core: usize) {
        let (now_us, is_calm) = (self.sea.cores.now_us(), self.is_calm);
        if now_us < self.rests_until_us[core] && !is_calm {
            return;
        }
        let hangs = now_us < self.hangs_until_us;
        let fails = self.force.fails && !is_calm;
        let mut answer = |_: usize, entry: &io_uring::squeue::Entry, rng: &mut Rng| {
            if hangs || !is_calm && rng.per_mille(300) { None } else { Some(answer(entry, (is_calm, fails), rng)) }
        };
        self.sea.cores.turn(core, &mut answer, &mut self.dice);
        self.sea.cores.see_ends();
        let core = self.sea.cores.core(core);
        assert_eq!(core.forgotten(), None, "what is queued by a connection is not sent");
        assert_eq!(core.robbed(), None, "a receive has lost its buffer");
    }

    fn trouble(&mut self) {
        if self.dice.below(4000) == 0 {
            self.hangs_until_us = self.sea.cores.now_us() + self.dice.while_below(3_000_000);
        }
        if self.dice.below(500) == 0 {
            let core = self.dice.below(self.rests_until_us.len() as u64) as usize;
            self.rests_until_us[core] = self.sea.cores.now_us() + self.dice.while_below(50_000);
        }
        if self.dice.below(3000) == 0 {
            self.sea.cores.cut_some(&mut self.dice);
        }
        if self.force.loses && self.dice.below(1000) == 0 {
            self.lose_written();
        }
        if self.force.damages && self.dice.below(100) == 0 {
            self.damage();
        }
        if self.force.outages && self.dice.below(1500) == 0 {
            self.lose_power();
        }
        if self.force.changes > 0 && self.dice.below(self.force.changes) == 0 {
            self.change_some();
        }
        if self.dice.below(3000) == 0 {
            self.drop_some();
        }
        if self.dice.below(self.force.moves) == 0 {
            self.move_some();
        }
    }

    /// Who looks after the target has a session dropped.
    fn drop_some(&mut self) {
        let host = self.dice.below(self.hosts.len() as u64);
        let Some(tsih) = self.hosts[host as usize].tsih() else { return };
        for core in 0..self.sea.cores.count() {
            self.sea.cores.post(core, Message::Drop(Dismissal { tsih, answer: Box::new(|_| ()) }));
        }
    }

    /// A session is to move to another core, if there is one. Whoever has it hears of it.
    fn move_some(&mut self) {
        if self.sea.cores.count() == 1 {
            return;
        }
        let (host, to) = (self.dice.below(self.hosts.len() as u64), self.dice.below(self.sea.cores.count() as u64));
        let Some(tsih) = self.hosts[host as usize].tsih() else { return };
        for core in 0..self.sea.cores.count() {
            self.sea.cores.post(core, Message::Demand { tsih, to: to as usize });
        }
    }

    /// Damages a bit on a line on which that is noticed.
    fn damage(&mut self) {
        let host = self.dice.below(self.hosts.len() as u64) as usize;
        let guarded = self.hosts[host].ways.ways.iter().filter(|way| way.is_guarded()).map(|way| way.line);
        let guarded: Vec<usize> = guarded.collect();
        if let Some(line) = guarded.get(self.dice.below(guarded.len() as u64) as usize) {
            self.sea.cores.wire(*line).damage(&mut self.dice);
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
        self.show_all();
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
            (0..self.sea.cores.count()).for_each(|core| self.turn_of(core));
            self.keeping.next(self.sea.cores.now_ms());
            self.sea.cores.pass(50_000);
            assert!(self.sea.cores.now_ms() < done_ms + LIMIT_MS, "something is left: {:?}", self.left());
        }
    }

    fn left(&self) -> Vec<Vec<&'static str>> {
        (0..self.sea.cores.count()).map(|core| self.sea.cores.core(core).left()).collect()
    }
}
