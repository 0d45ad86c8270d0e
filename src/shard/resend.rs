//! Read data that has to be sent once more (ErrorRecoveryLevel 1 and 2): where it came from, and reading it again.
//!
//! Each seat remembers the source of what its commands read until the session has no use for it; a seat reads one stretch at
//! a time, in the order that the session asked. Nothing here is touched by sessions at ErrorRecoveryLevel 0.

use super::core::Core;
use crate::backend::Op;
use crate::fabric::Parts;
use crate::fabric::seat::Seat;
use crate::fabric::sources::Source;
use crate::limits::SLICE_BYTES;
use crate::missing::Required;
use crate::model::SeatIx;
use crate::session::seam::TaskId;
use crate::tasks::operations::Owner;
use crate::tasks::sink::Reread;

impl Core {
    /// A session wants data once more.
    pub fn resend(&mut self, seat: SeatIx, task: TaskId, offset: u32, len: u32) {
        let Some(holder) = self.fabric.seats.get_mut(seat).required("the session of a task") else { return };
        holder.sources.asked.push_back((task, offset, len));
        self.next_reread(seat);
    }

    /// Goes on with a session that waited for room on a connection.
    pub fn reread_on(&mut self, seat: SeatIx) {
        // The session that waited for room may be gone.
        if let Some(holder) = self.fabric.seats.get_mut(seat)
            && std::mem::take(&mut holder.sources.crowded)
        {
            self.next_reread(seat);
        }
    }

    /// Goes on with what a session is to send again, as far as it goes without waiting.
    pub fn next_reread(&mut self, seat: SeatIx) {
        loop {
            // The session may be gone.
            let Some(holder) = self.fabric.seats.get_mut(seat) else { return };
            if holder.sources.busy || holder.sources.crowded || !self.fabric.has_room_to_resend(seat) {
                return;
            }
            let Some(holder) = self.fabric.seats.get_mut(seat).required("the session that was looked at") else {
                return;
            };
            let Some((task, offset, len)) = holder.sources.asked.pop_front() else { return };
            let serial = holder.serial;
            let (bytes, medium) = match holder.sources.find(task) {
                Some(Source::Bytes(bytes)) => {
                    (bytes.get(offset as usize..offset as usize + len as usize).map(<[u8]>::to_vec), None)
                }
                Some(Source::Medium(unit, base)) => (None, Some((unit, base))),
                None => (None, None),
            };
            let world = &self.fabric.world;
            let medium = medium.filter(|&(unit, _)| {
                // The data is read anew, which whoever has reserved the unit, or is erasing it meanwhile, does not
                // expect.
                let Seat { map, nexus, session, .. } = &mut *holder;
                let nexus = map.units.iter().position(|at| *at == unit).and_then(|at| nexus.get_mut(at));
                let logical = world.units.get(unit).map(|unit| &unit.logical);
                logical.zip(nexus).is_some_and(|(logical, nexus)| logical.lets_read(nexus, &session.init().initiator))
            });
            let block = medium
                .and_then(|(unit, _)| self.fabric.world.units.get(unit))
                .map_or(1, |unit| unit.block_bytes.max(1));
            let lead = if medium.is_some() { offset % block } else { 0 };
            let io_len = (lead as usize + len as usize).next_multiple_of(block as usize);
            let known = bytes.is_some() || medium.is_some();
            let buf = if known && io_len <= SLICE_BYTES { self.executor.allocate(seat, io_len) } else { None };
            let Some(buf) = buf else {
                if let Some(Parts { seat: holder, mut out, .. }) =
                    self.fabric.parts(seat).required("the session that was looked at")
                {
                    holder.session.resend(task, offset, len, None, &mut out);
                }
                continue;
            };
            let mut reread = Reread { holder: (seat, serial), task, offset, len, lead, buf };
            if let Some(bytes) = bytes {
                reread.buf.put(0, &bytes);
                self.fabric.reread_done(reread, Ok(()));
                continue;
            }
            let Some((unit, base)) = medium.required("where data came from") else { return };
            let Some(buffer) = reread.buf.buffer(io_len).required("room in a buffer") else { return };
            let op = Op::Read { offset: base + u64::from(offset - lead), buffer };
            if let Some(holder) = self.fabric.seats.get_mut(seat).required("the session that was looked at") {
                holder.sources.busy = true;
            }
            match self.executor.start(unit, op, Owner::Reread(Box::new(reread)), &mut self.fabric) {
                Some((Owner::Reread(reread), result)) => self.fabric.reread_done(*reread, result),
                _ => return,
            }
        }
    }
}
