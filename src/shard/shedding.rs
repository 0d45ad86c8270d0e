//! A core that is too busy sheds a session. Once a period it says how busy it was; when it has been saturated for long
//! enough, [`crate::balance`] is asked for a session and a core, and the move begins (`relocate.rs`).

use super::core::Core;
use crate::balance::{self, Use};
use crate::fabric::seat::Seat;
use crate::missing::Required;
use crate::model::{SeatIx, UnitIx};
use std::sync::Arc;

impl Core {
    /// What a session has done since it began: commands, and data, of which `BYTES` count as one command.
    fn work_of(&self, seat: &Seat) -> u64 {
        const BYTES: u64 = 16 << 10;
        let of = |(nexus, unit): (&crate::scsi::LuNexus, &UnitIx)| {
            let (commands, blocks) = nexus.done();
            let block_bytes =
                self.fabric.world.units.get(*unit).required("a unit").map_or(0, |unit| u64::from(unit.block_bytes));
            commands.wrapping_add(blocks.wrapping_mul(block_bytes) / BYTES)
        };
        seat.nexus.iter().zip(&seat.map.units).map(of).fold(0, u64::wrapping_add)
    }
}

impl Core {
    /// A period is over: says how busy this core was in it, parts of a thousand, and has a session move if that pays.
    pub fn balance(&mut self, busy: u32) {
        let (world, core) = (Arc::clone(&self.fabric.world), self.fabric.neighbours.own());
        if let Some(load) = world.loads.get(core) {
            load.publish(self.fabric.now_ms, busy);
        }
        if busy < balance::SATURATED || self.relocation.is_some() {
            self.balance.saturated = 0;
            return self.balance.done.clear();
        }
        let uses = self.what_each_uses();
        self.balance.saturated += 1;
        if self.balance.saturated < balance::PERIODS {
            return;
        }
        let busy: Vec<_> = world.loads.iter().map(|load| load.busy(self.fabric.now_ms)).collect();
        if let Some(choice) = balance::choose(core, &busy, &uses)
            && self.begin_move(SeatIx::new(choice.seat), choice.to)
        {
            self.balance.saturated = balance::PERIODS.saturating_sub(balance::PAUSE);
            if let Some(load) = world.loads.get(choice.to) {
                load.expect(choice.share);
            }
        }
    }

    /// What each session did since the last period; 0, if nobody knows what it had done by then.
    fn what_each_uses(&mut self) -> Vec<Use> {
        let before = std::mem::take(&mut self.balance.done);
        let mut uses = Vec::new();
        for (seat, holder) in self.fabric.seats.iter().filter(|(_, holder)| !holder.ended) {
            let done = self.work_of(holder);
            let was = before.iter().find(|(serial, _)| *serial == holder.serial).map_or(done, |(_, done)| *done);
            let settled = holder.stays_until_ms > self.fabric.now_ms || !self.is_movable(seat);
            uses.push(Use { seat: seat.at(), work: done.saturating_sub(was), settled });
            self.balance.done.push((holder.serial, done));
        }
        uses
    }
}
