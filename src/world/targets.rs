//! The targets, and which unit is found at which LUN of them, by whom.

use crate::model::{Group, IscsiName, LunMapping, TargetSpec, UnitIx};
use crate::session::directory::Access;
use crate::wire::Lun;
use std::sync::Arc;

/// Which unit is found at which LUN: in a target itself, or by one of its initiator groups.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LunMap {
    /// The LUNs, ascending.
    pub numbers: Vec<u16>,
    /// Index into `World::units`, for each of `numbers`.
    pub units: Vec<UnitIx>,
}

impl LunMap {
    /// Where LUN `number` is in `numbers`.
    #[inline]
    pub fn position(&self, number: u16) -> Option<usize> {
        // LUNs mostly count from 0 without a gap.
        if self.numbers.get(usize::from(number)) == Some(&number) {
            return Some(usize::from(number));
        }
        self.numbers.binary_search(&number).ok()
    }

    /// The unit at a LUN.
    pub fn unit(&self, lun: Lun) -> Option<UnitIx> {
        self.units.get(self.position(lun.number()?)?).copied()
    }

    /// What a group finds: units of this map, at the LUNs that its mappings give them.
    fn mapped(&self, mappings: &[LunMapping]) -> LunMap {
        let unit = |mapping: &LunMapping| self.units.get(self.position(mapping.of_target)?).copied();
        let mut pairs: Vec<(u16, UnitIx)> = mappings.iter().filter_map(|m| Some((m.number, unit(m)?))).collect();
        pairs.sort_unstable();
        let (numbers, units) = pairs.into_iter().unzip();
        LunMap { numbers, units }
    }
}

/// A target as the data path needs it.
#[derive(Clone)]
pub struct Target {
    /// Its name.
    pub name: IscsiName,
    /// Its own LUNs.
    own: Arc<LunMap>,
    /// What its initiator groups find, in the order of the configuration.
    groups: Vec<Arc<LunMap>>,
    /// The limits of those groups, on commands and on bytes: places in `World::rates`.
    pub group_rates: Vec<[u32; 2]>,
    /// An initiator that is in no group finds nothing.
    groups_only: bool,
    /// The target is there no more; its sessions are about to end.
    pub removed: bool,
}

impl Target {
    /// A target whose LUNs are these units.
    pub fn new(spec: &TargetSpec, own: LunMap, removed: bool) -> Target {
        let own = Arc::new(own);
        let group = |group: &Group| match &group.luns {
            Some(mappings) => Arc::new(own.mapped(mappings)),
            None => Arc::clone(&own),
        };
        let groups = spec.groups.iter().map(group).collect();
        let group_rates = Vec::new();
        Target { name: spec.name.clone(), own, groups, group_rates, groups_only: spec.groups_only, removed }
    }

    /// The LUNs of an initiator with this access to the target.
    pub fn map(&self, access: Access) -> Arc<LunMap> {
        self.map_of(access.group())
    }

    /// The LUNs of initiators in a group, or of those that are in none.
    fn map_of(&self, group: Option<usize>) -> Arc<LunMap> {
        let map = match group {
            None if self.groups_only => None,
            None => Some(&self.own),
            Some(group) => self.groups.get(group),
        };
        map.map_or_else(Arc::default, Arc::clone)
    }
}

/// A target can be used as the map of its own LUNs.
impl std::ops::Deref for Target {
    type Target = LunMap;

    fn deref(&self) -> &LunMap {
        &self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_find_units_at_their_own_luns() {
        let own = LunMap { numbers: vec![0, 1, 5, 300], units: [7, 8, 9, 10].map(UnitIx::new).to_vec() };
        let mapping = |of_target, number| LunMapping { number, of_target };
        let seen = own.mapped(&[mapping(300, 0), mapping(0, 256), mapping(4, 2)]);
        assert_eq!(
            (seen.numbers.as_slice(), seen.units.as_slice()),
            ([0, 256].as_slice(), [10, 7].map(UnitIx::new).as_slice())
        );
        assert_eq!((seen.position(0), seen.position(256), seen.position(1)), (Some(0), Some(1), None));
        assert_eq!(seen.unit(Lun::flat(256)), own.unit(Lun::flat(0)));
        assert_eq!(seen.unit(Lun::flat(0)), own.unit(Lun::flat(300)));
        assert_eq!((own.unit(Lun::flat(1)), seen.unit(Lun::flat(1))), (Some(UnitIx::new(8)), None), "masked");
        assert_eq!(seen.unit(Lun::REPORT_LUNS), None);
    }

    #[test]
    fn who_is_in_no_group_of_a_target_for_groups_finds_nothing() {
        let own = Arc::new(LunMap { numbers: vec![0], units: vec![UnitIx::new(0)] });
        let name = IscsiName::new("iqn.2026-11.io.ringsan:t").unwrap();
        let (groups, group_rates) = (vec![Arc::clone(&own)], Vec::new());
        let mut target = Target { name, groups, group_rates, own, groups_only: true, removed: false };
        assert_eq!((target.map_of(None).numbers.len(), target.map_of(Some(0)).numbers.len()), (0, 1));
        assert_eq!(target.map_of(Some(1)).numbers.len(), 0);
        target.groups_only = false;
        assert_eq!(target.map_of(None).numbers.len(), 1);
    }
}
