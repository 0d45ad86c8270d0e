//! Read data that has to be sent once more (ErrorRecoveryLevel 1 and 2): where it came from, and reading it again.
//!
//! Each seat remembers the source of what its commands read until the session has no use for it; a seat reads one stretch at
//! a time, in the order that the session asked. Nothing here is touched by sessions at ErrorRecoveryLevel 0.

use super::engine::{Engine, Fabric, Parts, Seat};
use super::tx::REREADS;
use crate::backend::Op;
use crate::exec::operations::Owner;
use crate::exec::sink::Reread;
use crate::limits::{KEPT_PARAMETER_BYTES, KEPT_RESPONSE_BYTES_BESIDE, SLICE_BYTES, SOURCES};
use crate::model::MediumFault;
use crate::session::Session;
use crate::session::seam::TaskId;
use crate::shares::{Held, Store};
use std::collections::VecDeque;

/// Where the data of a command came from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A unit, at this byte.
    Medium(usize, u64),
    /// Parameter data.
    Bytes(&'a [u8]),
}

/// What a seat remembers of data that may have to be sent again.
#[derive(Default)]
pub struct Sources {
    /// Data from media: task, unit, and where in the unit it begins, bytes; oldest first.
    media: VecDeque<(TaskId, usize, u64)>,
    /// Parameter data of tasks, oldest first.
    bytes: VecDeque<(TaskId, Box<[u8]>)>,
    /// What `bytes` is charged.
    held: Held,
    /// With so many in `media` and `bytes` together, those that are of no use any more are looked for. To look costs as
    /// much as there are.
    look_at: usize,
    /// Index in `media` of what was found last: what is asked for of one task comes together.
    found: usize,
    /// What is to be sent again: task, offset and length, bytes.
    asked: VecDeque<(TaskId, u32, u32)>,
    busy: bool,
    /// The next read waits until the connection has room.
    crowded: bool,
}

/// How many bytes a piece of parameter data counts as.
fn cost((_, bytes): &(TaskId, Box<[u8]>)) -> usize {
    size_of::<(TaskId, Box<[u8]>)>() + bytes.len()
}

impl Sources {
    /// Counts parameter data in `store`, with what others keep.
    pub fn keep_in(&mut self, store: &Store) {
        self.held = store.hold(self.held.bytes());
    }

    /// Whether data of a unit may have to be sent again.
    pub fn use_unit(&mut self, unit: usize, session: &Session) -> bool {
        let uses = |&(_, of, _): &(TaskId, usize, u64)| of == unit;
        if !self.media.iter().any(uses) {
            return false;
        }
        self.forget(session);
        self.media.iter().any(uses)
    }

    /// Where the data of a task came from.
    fn find(&mut self, task: TaskId) -> Option<Source<'_>> {
        let is_it = |known: &(TaskId, usize, u64)| known.0 == task;
        if !self.media.get(self.found).is_some_and(is_it) {
            if let Some((_, bytes)) = self.bytes.iter().rfind(|known| known.0 == task) {
                return Some(Source::Bytes(bytes));
            }
            self.found = self.media.iter().rposition(is_it)?;
        }
        self.media.get(self.found).map(|&(_, unit, base)| Source::Medium(unit, base))
    }

    /// The session finds only these units from now on: what it read of others is not read for it again.
    pub fn keep_units(&mut self, units: &[usize]) {
        self.media.retain(|(_, unit, _)| units.contains(unit));
    }

    /// Drops what is of no use any more.
    fn forget(&mut self, session: &Session) {
        let resendable = session.resendable();
        let stays = |task: &TaskId| resendable.binary_search(task).is_ok();
        self.media.retain(|(task, ..)| stays(task));
        self.bytes.retain(|(task, _)| stays(task));
        self.held.set(self.bytes.iter().map(cost).sum());
    }

    /// Remembers where the data of a task came from. Parameter data beyond the bound makes room, the oldest first: that
    /// cannot be asked for again.
    #[cold]
    pub fn remember(&mut self, task: TaskId, source: Source<'_>, session: &Session) {
        let count = self.media.len() + self.bytes.len();
        if count >= self.look_at.max(SOURCES) {
            self.forget(session);
            self.look_at = 2 * (self.media.len() + self.bytes.len());
        }
        match source {
            Source::Medium(unit, base) => self.media.push_back((task, unit, base)),
            Source::Bytes(bytes) => self.keep_bytes(task, bytes),
        }
    }

    fn keep_bytes(&mut self, task: TaskId, bytes: &[u8]) {
        let new = (task, bytes.into());
        self.held.set(self.held.bytes() + cost(&new));
        self.bytes.push_back(new);
        let most = if self.held.is_crowded() { KEPT_RESPONSE_BYTES_BESIDE } else { KEPT_PARAMETER_BYTES };
        while self.held.bytes() > most
            && let Some(gone) = self.bytes.pop_front()
        {
            self.held.set(self.held.bytes() - cost(&gone));
        }
    }
}

impl Engine {
    /// A session wants data once more.
    pub fn resend(&mut self, seat: usize, task: TaskId, offset: u32, len: u32) {
        let Some(holder) = self.fabric.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        holder.sources.asked.push_back((task, offset, len));
        self.next_reread(seat);
    }

    /// Goes on with a session that waited for room on a connection.
    pub fn reread_on(&mut self, seat: usize) {
        if let Some(holder) = self.fabric.seats.get_mut(seat).and_then(Option::as_deref_mut)
            && std::mem::take(&mut holder.sources.crowded)
        {
            self.next_reread(seat);
        }
    }

    /// Goes on with what a session is to send again, as far as it goes without waiting.
    pub fn next_reread(&mut self, seat: usize) {
        loop {
            let Some(holder) = self.fabric.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
            if holder.sources.busy || holder.sources.crowded || !self.fabric.has_room_to_resend(seat) {
                return;
            }
            let Some(holder) = self.fabric.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
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
                if let Some(Parts { seat: holder, mut out, .. }) = self.fabric.parts(seat) {
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
            let Some((unit, base)) = medium else { return };
            let Some(buffer) = reread.buf.buffer(io_len) else { return };
            let op = Op::Read { offset: base + u64::from(offset - lead), buffer };
            if let Some(holder) = self.fabric.seats.get_mut(seat).and_then(Option::as_deref_mut) {
                holder.sources.busy = true;
            }
            match self.executor.start(unit, op, Owner::Reread(Box::new(reread)), &mut self.fabric) {
                Some((Owner::Reread(reread), result)) => self.fabric.reread_done(*reread, result),
                _ => return,
            }
        }
    }
}

impl Fabric {
    /// Whether there is room for what a session is to send again next. If not, it goes on when there is.
    fn has_room_to_resend(&mut self, seat: usize) -> bool {
        let Some(Parts { seat: holder, out, .. }) = self.parts(seat) else { return false };
        let Some((task, ..)) = holder.sources.asked.front() else { return true };
        let conn = holder.session.resend_connection(*task);
        let tx = conn.and_then(|conn| out.connections.get(usize::from(conn.0))).and_then(|&c| out.tx.get_mut(c));
        let Some(tx) = tx.filter(|tx| !tx.has_room(out.pool)) else { return true };
        holder.sources.crowded = true;
        tx.wait(Some((seat, REREADS)));
        false
    }

    /// Data that is to be sent again was read, or could not be.
    pub fn reread_done(&mut self, reread: Reread, result: Result<(), MediumFault>) {
        let Reread { holder: (seat, serial), task, offset, len, lead, buf } = reread;
        let at = buf.data(lead as usize + len as usize).map(|at| at.advanced(lead));
        let Some(Parts { seat: holder, mut out, .. }) = self.parts(seat).filter(|p| p.seat.serial == serial) else {
            return;
        };
        holder.sources.busy = false;
        let conn = holder.session.resend_connection(task);
        let sent = holder.session.resend(task, offset, len, result.ok().and(at), &mut out);
        let tx = conn.and_then(|conn| out.connections.get(usize::from(conn.0))).and_then(|&c| out.tx.get_mut(c));
        if let Some(tx) = tx.filter(|_| sent) {
            tx.release_after(buf, out.pool);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: [u8; 1000] = [7; 1000];

    /// Those of whom parameter data is there.
    fn known(sources: &mut Sources, tasks: u32) -> Vec<u32> {
        (0..tasks)
            .filter(|&task| matches!(sources.find(TaskId(task)), Some(Source::Bytes(data)) if *data == DATA))
            .collect()
    }

    #[test]
    fn parameter_data_is_counted_where_it_is_kept_and_bounded_there() {
        let (store, mut sources) = (Store::new(2 * KEPT_PARAMETER_BYTES), Sources::default());
        sources.keep_in(&store);
        (0..500).for_each(|task| sources.keep_bytes(TaskId(task), &DATA));
        let kept = known(&mut sources, 500);
        assert_eq!((kept.len() + kept[0] as usize, sources.held.bytes()), (500, store.used()));
        assert!((KEPT_PARAMETER_BYTES - 2 * DATA.len()..=KEPT_PARAMETER_BYTES).contains(&store.used()));
        // It moves to a core on which too much is kept.
        let (other, old) = (Store::new(2 * KEPT_PARAMETER_BYTES), store);
        let _crowd = other.hold(2 * KEPT_PARAMETER_BYTES);
        sources.keep_in(&other);
        sources.keep_bytes(TaskId(500), &DATA);
        assert_eq!((known(&mut sources, 501), old.used()), (vec![497, 498, 499, 500], 0));
        assert!(sources.held.bytes() <= KEPT_RESPONSE_BYTES_BESIDE);
        drop(sources);
        assert_eq!(other.used(), 2 * KEPT_PARAMETER_BYTES);
    }
}
