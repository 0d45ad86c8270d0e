//! The power fails: cores and all that they know are gone, and disks have what they have made stable, and some of the rest.

use super::{Storm, snapshot};
use crate::model::LunKind;
use crate::state::Keeper;
use crate::unit::errandry::Errandry;
use crate::world::World;

impl Storm {
    /// The power fails, and comes again.
    pub(super) fn lose_power(&mut self) {
        let now_ms = self.sea.cores.now_ms();
        self.judge.note(now_ms, 99, || "the power fails".to_owned());
        for (_, disk) in self.disks() {
            let dice = &mut self.dice;
            for pending in disk.pending() {
                disk.part(pending.number, |_| dice.per_mille(300));
            }
            disk.lose_power(|_| dice.per_mille(500));
        }
        let (keeper, keeping) = Keeper::by_hand();
        let (errandry, errands) = Errandry::by_hand();
        let world = World::open_with(snapshot(&self.kinds), self.force.cores, keeper, errandry).unwrap();
        self.sea.cores.restart(world).unwrap();
        (self.keeping, self.errands) = (keeping, errands);
        self.hosts.iter_mut().for_each(|host| host.power_lost(&mut self.judge));
        self.judge.forget_losses();
        for (blocks, kind) in self.judge.blocks.iter_mut().zip(&self.kinds) {
            if *kind == LunKind::Ram {
                blocks.emptied()
            } else {
                blocks.fell_back()
            }
            blocks.settled();
        }
    }
}
