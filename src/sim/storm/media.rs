//! What media answer in a storm.

use super::Storm;
use crate::backend::simulated::{self, Disk, Fate, Work};
use crate::model::LunKind;
use crate::sim::Rng;

/// What an operation comes to.
pub(super) fn answer(entry: &io_uring::squeue::Entry, (is_calm, fails): (bool, bool), rng: &mut Rng) -> i32 {
    let Some((disk, pending)) = simulated::operation(entry) else { return -libc::ETIME };
    if is_calm {
        return 0;
    }
    if fails && rng.per_mille(10) {
        if pending.takes_space && rng.per_mille(500) {
            return -libc::ENOSPC;
        }
        disk.part(pending.number, |_| rng.per_mille(500));
        return -libc::EIO;
    }
    match rng.below(100) {
        0..3 => -libc::EINTR,
        3..8 if matches!(pending.work, Work::Read | Work::Write { .. }) => 1 + rng.below(pending.len) as i32,
        _ => 0,
    }
}

impl Storm {
    /// The disks, with the units that they are.
    pub(super) fn disks(&self) -> Vec<(usize, Disk)> {
        let name = |kind: &LunKind| match kind {
            LunKind::Other { path, .. } => simulated::disk(path),
            _ => None,
        };
        self.kinds.iter().enumerate().filter_map(|(unit, kind)| Some((unit, name(kind)?))).collect()
    }

    /// A disk loses some of what it has not written back. Without a loss of power it may be that reads still find it.
    pub(super) fn lose_written(&mut self) {
        let disks = self.disks();
        let (unit, disk) = &disks[self.dice.below(disks.len() as u64) as usize];
        let (before, block_bytes) = (disk.current(), self.judge.units[*unit].block_bytes as usize);
        let dice = &mut self.dice;
        let mut lost = Vec::new();
        disk.lose(|block| {
            let fate = [Fate::Kept, Fate::Stale, Fate::Gone][dice.below(3) as usize];
            lost.extend((fate != Fate::Kept).then_some((block as usize, fate)));
            fate
        });
        for (block, fate) in lost {
            let Some(value) = before[block * block_bytes..].first_chunk::<8>() else { continue };
            self.judge.lost(*unit, block, u64::from_le_bytes(*value));
            if fate == Fate::Stale {
                self.judge.blocks[*unit].drifts(block);
            }
        }
        self.judge.blocks[*unit].fell_back();
        let now_ms = self.sea.cores.now_ms();
        self.judge.note(now_ms, 99, || format!("the disk of unit {unit} loses what it had not written back"));
    }
}
