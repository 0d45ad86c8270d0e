//! The limits of a world: which bucket is whose, and the gate that a session has at a unit. What they do is in
//! `rate/mod.rs`.

use super::World;
use crate::model::{Limits, PerUnit, UnitIx};
use crate::rate::{Bucket, Gate, OPEN};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl World {
    /// Makes the limits, and what is slow, what the configuration says. Those that are the same in `old`, the world before, stay the same.
    pub fn set_limits(&mut self, old: Option<&World>) {
        let same = |place: u32, rate| old?.rates.get(place as usize).filter(|bucket| bucket.is_of(rate)).cloned();
        let mut rates = Vec::new();
        let mut limited = |limits: Limits, before: Option<[u32; 2]>| {
            let [commands, bytes] = before.unwrap_or([OPEN; 2]);
            [(limits.iops, commands), (limits.bytes_per_s, bytes)].map(|(limit, before)| {
                let Some(rate) = limit else { return OPEN };
                rates.push(same(before, rate).unwrap_or_else(|| Arc::new(Bucket::new(rate))));
                rates.len() as u32 - 1
            })
        };
        self.unit_rates = PerUnit::filled([OPEN; 2], self.units.all().len());
        let snapshot = Arc::clone(self.directory.snapshot());
        for (at, (target, spec)) in self.targets.iter_mut().zip(&snapshot.targets).enumerate() {
            for lun in &spec.luns {
                let unit = target.position(lun.number).and_then(|position| target.units.get(position)).copied();
                if let Some(unit) = unit.and_then(|unit| self.units.get(unit)) {
                    let slow_ns = lun.slow_log_us.map_or(u64::MAX, |us| us * 1000);
                    unit.slow_ns.store(slow_ns, Ordering::Relaxed);
                }
                if let Some((unit, rates)) = unit.and_then(|unit| Some((unit, self.unit_rates.get_mut(unit)?))) {
                    *rates = limited(lun.limits, old.and_then(|old| old.unit_rates.get(unit).copied()));
                }
            }
            let before = |group| old?.targets.get(at)?.group_rates.get(group).copied();
            let groups = spec.groups.iter().enumerate();
            target.group_rates = groups.map(|(number, group)| limited(group.limits, before(number))).collect();
        }
        self.rates = rates.into();
    }

    /// The gate of those who use a unit as members of a target's group.
    pub fn gate(&self, unit: UnitIx, target: usize, group: Option<usize>) -> Gate {
        let open = [OPEN; 2];
        let [unit_commands, unit_bytes] = self.unit_rates.get(unit).copied().unwrap_or(open);
        let target = self.targets.get(target);
        let group = target.zip(group).and_then(|(target, group)| target.group_rates.get(group).copied());
        let [commands, bytes] = group.unwrap_or(open);
        [unit_commands, unit_bytes, commands, bytes]
    }
}
