//! What is sent: a turn's worth of it, what becomes of a send that is over, and who waits for room.

use super::core::Core;
use crate::fabric::owed::Owed;
use crate::missing::{Required, missing};
use crate::model::{ConnNo, TaskKey};
use crate::session::seam::CloseReason;
use crate::tasks::tally::{Class, Slow};
use crate::transport::links::Connection;
use crate::transport::tx::{HasMore, Tx};
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Core {
    /// Pushes what is to be sent, a turn's worth of it, and counts what was answered.
    pub fn flush(&mut self) {
        self.fabric.flush();
        self.executor.memory.read_soon = 0;
        self.count_answered();
    }

    /// Counts what was answered in this turn so far: at its unit, and for its session, so also before one leaves its seat.
    pub fn count_answered(&mut self) {
        let Core { fabric, executor, .. } = self;
        if !executor.tally.is_due() {
            return;
        }
        let now_ns = fabric.world.clock.now_ns(fabric.io.watch().now());
        executor.tally.settle(now_ns, |counted| {
            if let Some(holder) = fabric.seats.get_mut(counted.seat).required("the session of commands") {
                holder.passed.count(counted);
            }
        });
        if executor.tally.has_slow() {
            self.say_slow(now_ns);
        }
    }

    /// Says which commands were slow, of those that may have been. It is `now_ns` by the clock of all cores.
    #[cold]
    fn say_slow(&mut self, now_ns: u64) {
        while let Some(Slow { seat, begun_ns, unit: number, range: (start, bytes), class }) =
            self.executor.tally.next_slow()
        {
            let Some(unit) = self.fabric.world.units.get(number) else { continue };
            let took_ns = now_ns.saturating_sub(begun_ns);
            if took_ns <= unit.slow_ns.load(Ordering::Relaxed) {
                continue;
            }
            let holder = self.fabric.seats.get(seat);
            let init = holder.map(|holder| holder.session.init());
            let (initiator, tsih) = (init.map(|init| init.initiator.name.as_str()), init.map(|init| init.tsih.0));
            let at = holder.and_then(|holder| holder.map.units.iter().position(|unit| *unit == number));
            let lun = holder.zip(at).and_then(|(holder, at)| holder.map.numbers.get(at));
            let (serial, kind, us) = (&unit.logical.params().serial, class.word(), took_ns / 1000);
            let block = u64::from(unit.block_bytes.max(1));
            let is_on_blocks = matches!(class, Class::Read | Class::Write);
            let (lba, blocks) =
                (is_on_blocks.then_some(start / block), is_on_blocks.then_some(u64::from(bytes) / block));
            if let Some(left_out) = self.fabric.noise.slow(self.fabric.now_ms) {
                tracing::warn!(
                    event = "slow-command",
                    us,
                    kind,
                    lun,
                    serial,
                    lba,
                    blocks,
                    initiator,
                    tsih,
                    left_out,
                    "a command was slow"
                );
            }
        }
    }

    /// A send completed.
    pub fn sent(&mut self, conn: ConnNo, result: i32) {
        let Some((Connection { link: Some(link), tx, .. }, pool)) = self.fabric.links.of_with_pool(conn) else {
            return missing("a connection that sends");
        };
        if result <= 0 && result != -libc::EINTR && result != -libc::EAGAIN {
            // The send is over but its batch is kept until the connection is torn down.
            tx.fail();
            self.disconnected(conn, CloseReason::Disconnected);
            return self.fabric.sweep(conn);
        }
        link.sent_ms = self.fabric.now_ms;
        let sent = result.max(0) as usize;
        let largest = &mut self.fabric.stats.largest_batch_bytes;
        *largest = (*largest).max(tx.sending_bytes() as u64);
        let more = tx.sent(sent, pool);
        if tx.takes_more() {
            self.fabric.links.roomy.push(conn);
        }
        if more {
            self.fabric.links.dirty.push(conn);
        } else {
            self.fabric.sweep(conn);
        }
    }

    /// Has those go on that waited for room on a connection, or that wait for nothing any more since the connection is
    /// gone: each for a piece, until `until`. False: some are left, and there is room.
    #[cold]
    pub fn fill_room(&mut self, conn: ConnNo, until: Instant) -> bool {
        let Some(mut left) = self.fabric.links.tx(conn).required("a transmit side").map(Tx::waiting) else {
            return true;
        };
        while left > 0
            && let Some((Connection { tx, .. }, pool)) = self.fabric.links.of_with_pool(conn)
            && tx.has_room(pool)
            && let Some(who) = tx.next_waiting()
        {
            left -= 1;
            match who {
                HasMore::Task(TaskKey { seat, task }) => {
                    self.executor.has_room(seat, task.slot(), &mut self.fabric);
                }
                HasMore::Rereads(seat) => {
                    self.reread_on(seat);
                    self.fabric.owed.push(Owed::Events(seat));
                }
            }
            if self.fabric.io.watch().now() >= until {
                break;
            }
        }
        let connection = self.fabric.links.of_with_pool(conn).required("a transmit side");
        let Some((Connection { tx, .. }, pool)) = connection else { return true };
        if tx.waiting() > 0 && tx.has_room(pool) {
            return false;
        }
        if tx.waiting() > 0 {
            tx.wait(None);
        }
        true
    }
}
