//! The configuration changes: hosts lose LUNs and get them back, or the target altogether; units grow; limits are others. Another
//! world is made as a reload makes it (`world/changing.rs`), and given to one core after the other, with time between.

use super::{BLOCK_BYTES, MOST_BLOCKS, Storm};
use crate::fabric::mesh::Message;
use crate::model::{Group, IscsiName, Limits, LunKind, LunMapping, LunSpec, Portal, Snapshot, TargetSpec, UnitIx};
use crate::sim::Rng;
use crate::sim::cores::Cores;
use crate::sim::paces::Pace;
use crate::sim::target::NAME;
use crate::sim::views::{View, ViewIx};
use crate::sim::workload::Config;
use crate::world::targets::LunMap;
use crate::world::{Change, World};
use std::sync::Arc;

/// What is configured.
#[derive(Debug, Clone)]
pub(super) struct Configured {
    kinds: Vec<LunKind>,
    /// Blocks of each unit.
    pub(super) blocks: Vec<usize>,
    pub(super) view: View,
    /// Of each host.
    limits: Vec<Limits>,
    /// Each host is a group of its own.
    has_groups: bool,
}

impl Configured {
    /// All hosts find these units, of so many blocks each.
    pub(super) fn new(kinds: &[LunKind], blocks: usize, hosts: usize, has_groups: bool) -> Configured {
        Configured {
            kinds: kinds.to_vec(),
            blocks: vec![blocks; kinds.len()],
            view: View::all(hosts, kinds.len()),
            limits: vec![Limits::default(); hosts],
            has_groups,
        }
    }

    /// The same for the target. Units have as much room as they may ever need: that a file becomes longer is not modelled.
    fn snapshot(&self) -> Snapshot {
        let lun = |(number, kind): (u16, &LunKind)| LunSpec {
            size_bytes: Some(MOST_BLOCKS as u64 * u64::from(BLOCK_BYTES)),
            thin: true,
            naa: Some(super::naa_of(number)),
            serial: Some(format!("disk-{number}")),
            ..LunSpec::new(number, kind.clone())
        };
        let luns = (0..).zip(&self.kinds).map(lun).collect();
        let hosts = (0..self.limits.len()).filter(|host| self.has_groups && self.view.lets_in[*host]);
        let groups = hosts.map(|host| self.group(host)).collect();
        let name = IscsiName::new(NAME).unwrap();
        let target = TargetSpec { groups, groups_only: self.has_groups, ..TargetSpec::new(name, None, luns) };
        let portals = vec![Portal { listen: super::portal(), advertise: None, group_tag: 1 }];
        Snapshot { portals, targets: vec![target], ..Snapshot::default() }
    }

    fn group(&self, host: usize) -> Group {
        let name = format!("host {host}");
        let shown = self.view.shows[host].iter().enumerate().filter(|(_, shows)| **shows);
        Group {
            proof: Group::proof_of(Some(&name), &[]),
            name,
            initiators: vec![Config::usual(host, NAME).name.parse().unwrap()],
            networks: Vec::new(),
            credentials: None,
            luns: Some(shown.map(|(unit, _)| LunMapping { number: unit as u16, of_target: unit as u16 }).collect()),
            limits: self.limits[host],
        }
    }

    /// A world that serves it, of whom nobody knows yet.
    pub(super) fn open(&self, cores: usize, beside: super::Beside) -> World {
        let world = World::open_with(self.snapshot(), cores, beside.0, beside.1).unwrap();
        for (unit, blocks) in world.units.iter().zip(&self.blocks) {
            unit.resize(*blocks as u64 * u64::from(BLOCK_BYTES));
        }
        world
    }

    /// The world that serves this from `old` on, which others serve.
    fn next(&self, old: &World, resized: &[usize]) -> World {
        let mut world = old.clone();
        // Each unit of the judge is at its own place in the world.
        let luns = 0..self.kinds.len() as u16;
        let map = LunMap { numbers: luns.clone().collect(), units: luns.map(|lun| UnitIx::new(lun.into())).collect() };
        let size = |unit: usize| self.blocks[unit] as u64 * u64::from(BLOCK_BYTES);
        let sizes = resized.iter().map(|unit| (UnitIx::new(*unit), size(*unit)));
        let sizes: Vec<_> = sizes.collect();
        world.reconfigure(old, self.snapshot(), vec![map], (&[], &sizes));
        world
    }
}

/// A change that cores are being told of.
#[derive(Default)]
pub(super) struct Changing {
    change: Option<Arc<Change>>,
    /// Of each core, the view that it was told of last, and the one that it serves.
    cores: Vec<(ViewIx, ViewIx)>,
}

impl Changing {
    /// For so many cores.
    pub(super) fn new(cores: usize) -> Changing {
        Changing { change: None, cores: vec![Default::default(); cores] }
    }

    /// All serve this view.
    pub(super) fn is_over(&mut self, view: ViewIx) {
        self.change = None;
        self.cores.fill((view, view));
    }

    /// Tells the next core. False: there is no such core.
    fn tell(&mut self, cores: &Cores, latest: ViewIx) -> bool {
        let Some(change) = &self.change else { return false };
        let Some(core) = self.cores.iter().position(|(told, _)| *told < latest) else {
            self.change = None;
            return false;
        };
        cores.post(core, Message::Change(Arc::clone(change)));
        self.cores[core].0 = latest;
        true
    }

    /// The view that all cores serve: who has read its mail has taken over what it was told.
    fn settled(&mut self, cores: &Cores) -> ViewIx {
        let read = |(core, (told, serves)): (usize, &mut (ViewIx, ViewIx))| {
            if !cores.has_mail(core) {
                *serves = *told;
            }
            *serves
        };
        self.cores.iter_mut().enumerate().map(read).min().unwrap_or_default()
    }
}

impl Storm {
    /// Goes on with a change, and sees how far it is.
    pub(super) fn change_on(&mut self) {
        let latest = self.judge.views.latest();
        if self.dice.per_mille(200) && self.changing.tell(&self.sea.cores, latest) && self.dice.per_mille(400) {
            // From a core that has not heard of it to one that has, or the other way.
            self.move_some();
        }
        if self.judge.views.settled() < latest {
            let settled = self.changing.settled(&self.sea.cores);
            self.judge.settle(settled);
            if settled == latest {
                self.pace();
            }
        }
    }

    /// All cores keep to the limits by now.
    pub(super) fn pace(&mut self) {
        let (cores, now_ms) = (self.force.cores, self.sea.cores.now_ms());
        let pace = |limits: &Limits| limits.iops.map(|per_s| Pace::new(per_s, cores, now_ms));
        self.judge.paces = self.configured.limits.iter().map(pace).collect();
    }

    /// Something else is configured. Mostly the last change is over by then.
    pub(super) fn change_some(&mut self) {
        let is_over = self.judge.views.settled() == self.judge.views.latest();
        if self.changing.change.is_some() || !is_over && self.dice.per_mille(800) {
            return;
        }
        let (host, unit) =
            (self.dice.below(self.hosts.len() as u64), self.dice.below(self.configured.kinds.len() as u64));
        let (host, unit) = (host as usize, unit as usize);
        match self.dice.below(100) {
            0..55 => {
                let shows = &mut self.configured.view.shows[host][unit];
                *shows = !*shows;
            }
            55..70 => self.configured.limits[host] = limits(&mut self.dice),
            70..85 => {
                let lets_in = &mut self.configured.view.lets_in[host];
                *lets_in = !*lets_in;
            }
            _ => {
                let blocks = &mut self.configured.blocks[unit];
                *blocks += self.dice.below((MOST_BLOCKS - *blocks) as u64 / 2 + 1) as usize;
            }
        }
        self.change();
    }

    /// Has what is configured served from now on.
    fn change(&mut self) {
        let grown = |(unit, blocks): (usize, &usize)| (*blocks > self.judge.units[unit].blocks).then_some(unit);
        let resized: Vec<usize> = self.configured.blocks.iter().enumerate().filter_map(grown).collect();
        for unit in &resized {
            self.judge.grew(*unit, self.configured.blocks[*unit]);
        }
        let world = self.configured.next(self.sea.cores.world(), &resized);
        let now_ms = self.sea.cores.now_ms();
        let Configured { view, blocks, limits, .. } = &self.configured;
        self.judge.note(now_ms, 99, || format!("other LUNs and sizes: {view:?}, {blocks:?}, {limits:?}"));
        let units = resized.iter().map(|unit| UnitIx::new(*unit)).collect();
        self.judge.change(view.clone(), resized);
        self.judge.paces.fill(None);
        self.changing.change = Some(self.sea.cores.change(world, units));
    }

    /// All hosts find all units from now on.
    pub(super) fn show_all(&mut self) {
        while self.changing.tell(&self.sea.cores, self.judge.views.latest()) {}
        self.configured.view = View::all(self.hosts.len(), self.configured.kinds.len());
        if self.configured.view != *self.judge.views.last() {
            self.change();
        }
    }
}

/// Some limits, or none.
fn limits(dice: &mut Rng) -> Limits {
    let iops = dice.per_mille(700).then(|| 20 << dice.below(6));
    let bytes_per_s = dice.per_mille(300).then(|| 1 << (20 + dice.below(5)));
    Limits { iops, bytes_per_s }
}
