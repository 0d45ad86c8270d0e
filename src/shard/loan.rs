//! I/O buffers that are lent to a connection's receive: large payload arrives where it belongs, without a copy.
//!
//! The kernel may write into such a buffer until the receive's completion has been taken from the ring, whatever
//! becomes of the task, its session or the connection meanwhile. So the buffer is not pinned where it was: it moves
//! into the [`Loan`], which the receive keeps until it is over, and nobody else can release it, read it or use it for
//! the medium, because nobody else has it. What is left behind says so (`Progress::Lent`,
//! `PartialDest::Staging(None)`). For every place that gives buffers back:
//!
//! * `Executor::clear` (abort, LUN reset, failed tasks, what `exec/stray.rs` lets go of, the end of a session) drops a
//!   lent slice without a buffer, and has the receive cancelled, so that a peer that stalls does not keep the buffer.
//! * `Core::give_back` (the receive is over: bytes, an error, cancelled) looks for the very slice it came from, by
//!   seat and serial number of the session, task and offset. Only there does the buffer go back; else it is dropped.
//!   What has been written into it was nobody's then.
//! * A slice that is lent is not run on the medium and not handed to a job (`Exec::next_step`): only a whole PDU counts
//!   as received, and the one that is being received ends after the receive.
//! * A `Partial` is dropped, and a connection torn down or moved, only when its receive is over (`Link::receiving`).
//! * A core that ends closes its ring before it frees the arena (the fabric goes before the executor, and in it the
//!   ring first; a loan keeps the arena alive): a closed ring's receives are cancelled, none can reach the memory any
//!   more.
//!
//! A task has one connection, and a connection one receive: a slice is never lent twice. A task that was reassigned has
//! another connection while the receive of the old one is not over: what comes for a slice that is lent finds no
//! buffer, and the task fails (`Executor::place`).

use super::core::Core;
use crate::exec::placing::Lent;
use crate::fabric::seat::Seat;
use crate::missing::Required;
use crate::model::{ConnNo, SeatIx, TaskKey};
use crate::transport::lent::{Home, Loan};
use crate::transport::partial::{Partial, PartialDest};
use crate::wire::bhs;

impl Core {
    /// Lends the buffer that the next bytes of a PDU's data go to, at most `remaining` of them, to the receive of
    /// connection `conn`. `None`: they do not go into one stretch of a buffer that is there now.
    pub fn lend(&mut self, conn: ConnNo, seat: SeatIx, partial: &mut Partial, remaining: usize) -> Option<Loan> {
        let Seat { session, serial, .. } = self.fabric.seats.get_mut(seat).required("the session of a connection")?;
        let holder = (seat, *serial);
        match &mut partial.dest {
            PartialDest::Staging(place) => {
                let within = partial.received as usize;
                let room = place.as_ref()?.capacity().saturating_sub(within);
                if room == 0 {
                    return None;
                }
                let buf = place.take()?;
                Some(Loan { buf, within, len: room.min(remaining), holder, conn, home: Home::Staging })
            }
            PartialDest::Task(task, offset) => {
                let (task, offset) = (*task, offset.checked_add(partial.received)?);
                if !session.is_live(task) {
                    return None;
                }
                let Lent { buf, within, room, slice } = self.executor.lend(TaskKey { seat, task }, offset, conn)?;
                Some(Loan { buf, within, len: room.min(remaining), holder, conn, home: Home::Slice(task, slice) })
            }
            PartialDest::Gather(_) | PartialDest::Discard => None,
        }
    }

    /// Whether a PDU's data is bound for a RAM unit, as far as that is known before its command is looked at.
    pub fn is_for_memory(&self, seat: SeatIx, partial: &Partial) -> bool {
        let Some(Seat { map, .. }) = self.fabric.seats.get(seat).required("the session of a connection") else {
            return false;
        };
        let unit = match partial.dest {
            PartialDest::Task(task, _) => self.executor.tasks(seat).get(task.slot()).map(|exec| exec.unit),
            _ => bhs::lun(&partial.bhs).number().and_then(|n| map.position(n)).map(|at| map.units[at]),
        };
        unit.and_then(|unit| self.executor.handles.get(unit)).is_some_and(|handle| handle.memory().is_some())
    }

    /// A receive into what was lent is over; it has written `received` bytes of payload.
    pub fn give_back(&mut self, loan: Loan, partial: Option<&mut Partial>, received: usize) {
        let Loan { buf, holder: (seat, serial), conn, home, .. } = loan;
        self.fabric.stats.placed_bytes += received as u64;
        let is_here = self.fabric.seats.same(seat, serial).is_some();
        let mut homeless = match home {
            Home::Slice(task, slice) if is_here => self.executor.take_back(TaskKey { seat, task }, slice, conn, buf),
            Home::Slice(..) | Home::Staging => Some(buf),
        };
        if let Some(partial) = partial {
            partial.received = partial.received.saturating_add(received as u32);
            if let (Home::Staging, PartialDest::Staging(place @ None)) = (&home, &mut partial.dest) {
                *place = homeless.take();
            }
        }
    }
}
