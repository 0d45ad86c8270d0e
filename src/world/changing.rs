//! The next world, made of the one before: what a configuration says anew, with everything kept that goes on. Which unit
//! is at which LUN of it is decided before.

use super::World;
use super::opening::admission;
use super::targets::{LunMap, Target};
use crate::model::{Snapshot, UnitIx};
use crate::session::directory::SnapshotDirectory;
use crate::unit::Unit;
use std::sync::Arc;

impl World {
    /// Has this world, a copy of `old` that nobody has seen yet, serve by `snapshot`: its targets have the LUNs of `maps`, and those at
    /// the indices `removed` are there no more. Units that are `resized` have so many bytes from now on, and hosts are told.
    pub fn reconfigure(
        &mut self,
        old: &World,
        snapshot: Snapshot,
        maps: Vec<LunMap>,
        (removed, resized): (&[usize], &[(UnitIx, u64)]),
    ) {
        let mut targets = Vec::new();
        for (at, (spec, own)) in snapshot.targets.iter().zip(maps).enumerate() {
            let groups = snapshot.port_groups(spec);
            for unit in own.units.iter().filter_map(|unit| self.units.get(*unit)) {
                unit.logical.set_port_groups(&groups);
            }
            targets.push(Target::new(spec, own, removed.contains(&at)));
        }
        self.targets = targets;
        self.directory = SnapshotDirectory::new(Arc::new(snapshot)).without(removed);
        self.set_limits(Some(old));
        for &(unit, bytes) in resized {
            if let Some(unit) = self.units.get(unit) {
                unit.resize(bytes);
            }
        }
        self.admission = admission(self.directory.snapshot());
    }
}

impl Unit {
    /// Gives it another size. A command never finds blocks that the medium does not have: growing begins with the medium,
    /// shrinking with the unit.
    pub fn resize(&self, bytes: u64) {
        let blocks = bytes / u64::from(self.block_bytes.max(1));
        if bytes > self.medium.properties().size_bytes {
            self.medium.set_size(bytes);
            self.logical.resize(blocks);
        } else {
            self.logical.resize(blocks);
            self.medium.set_size(bytes);
        }
    }
}
