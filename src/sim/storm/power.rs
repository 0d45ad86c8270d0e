//! The power fails: cores and all that they know are gone, and disks have what they have made stable, and some of the rest.

use super::{Storm, beside};
use crate::model::LunKind;

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
        let (beside, by_hand) = beside();
        let world = self.configured.open(self.force.cores, beside);
        self.sea.cores.restart(world).unwrap();
        (self.keeping, self.errands) = by_hand;
        let latest = self.judge.views.latest();
        self.judge.settle(latest);
        self.changing.is_over(latest);
        self.pace();
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
