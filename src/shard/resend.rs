//! Read data that has to be sent once more (ErrorRecoveryLevel 1 and 2): where it came from, and reading it again.
//!
//! Each seat remembers the source of what its commands read until the session has no use for it; a seat reads one stretch at
//! a time, in the order that the session asked. Nothing here is touched by sessions at ErrorRecoveryLevel 0.

use super::buffers::Buf;
use super::engine::{Engine, Owner, Parts};
use super::tx::REREADS;
use crate::backend::Op;
use crate::limits::{KEPT_PARAMETER_BYTES, SLICE_BYTES, SOURCES};
use crate::model::MediumFault;
use crate::session::Session;
use crate::session::seam::TaskId;
use std::collections::VecDeque;

/// Where the data of a command came from.
pub enum Source {
    /// A unit, at this byte.
    Medium(usize, u64),
    /// Parameter data.
    Bytes(Box<[u8]>),
}

/// What a seat knows.
#[derive(Default)]
pub struct Sources {
    known: VecDeque<(TaskId, Source)>,
    /// With so many of them, those that are of no use any more are looked for. To look costs as much as there are.
    look_at: usize,
    /// Which was found last: what is asked for of one task comes together.
    found: usize,
    /// In the parameter data among them.
    bytes: usize,
    asked: VecDeque<(TaskId, u32, u32)>,
    busy: bool,
    /// The next one waits until the connection has room.
    crowded: bool,
}

impl Sources {
    /// Whether data of a unit may have to be sent again.
    pub fn use_unit(&mut self, unit: usize, session: &Session) -> bool {
        let uses = |(_, source): &(_, Source)| matches!(source, Source::Medium(of, _) if *of == unit);
        if !self.known.iter().any(uses) {
            return false;
        }
        self.forget(session);
        self.known.iter().any(uses)
    }

    /// Where the data of a task came from.
    fn find(&mut self, task: TaskId) -> Option<&Source> {
        let is_it = |(known, _): &(TaskId, Source)| *known == task;
        if !self.known.get(self.found).is_some_and(is_it) {
            self.found = self.known.iter().rposition(is_it)?;
        }
        self.known.get(self.found).map(|(_, source)| source)
    }

    /// Drops what is of no use any more.
    fn forget(&mut self, session: &Session) {
        let resendable = session.resendable();
        self.known.retain(|(task, source)| {
            let stays = resendable.binary_search(task).is_ok();
            if !stays && let Source::Bytes(bytes) = source {
                self.bytes -= bytes.len();
            }
            stays
        });
    }

    /// Remembers one. Parameter data beyond the bound makes room, the oldest first: it cannot be asked for again.
    fn remember(&mut self, task: TaskId, source: Source, session: &Session) {
        if self.known.len() >= self.look_at.max(SOURCES) {
            self.forget(session);
            self.look_at = 2 * self.known.len();
        }
        if let Source::Bytes(bytes) = &source {
            self.bytes += bytes.len();
        }
        self.known.push_back((task, source));
        while self.bytes > KEPT_PARAMETER_BYTES
            && let Some(at) = self.known.iter().position(|(_, source)| matches!(source, Source::Bytes(_)))
            && let Some((_, Source::Bytes(bytes))) = self.known.remove(at)
        {
            self.bytes -= bytes.len();
        }
    }
}

/// A read that is under way.
pub struct Reread {
    seat: usize,
    serial: u64,
    task: TaskId,
    offset: u32,
    len: u32,
    /// Bytes in the buffer before `offset`.
    lead: u32,
    buf: Buf,
}

impl Engine {
    /// Remembers where a command's data comes from.
    #[cold]
    pub fn remember(&mut self, seat: usize, task: TaskId, source: Source) {
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        holder.sources.remember(task, source, &holder.session);
    }

    /// A session wants data once more.
    pub fn resend(&mut self, seat: usize, task: TaskId, offset: u32, len: u32) {
        let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
        holder.sources.asked.push_back((task, offset, len));
        self.next_reread(seat);
    }

    /// The connection has room again.
    pub fn reread_on(&mut self, seat: usize) {
        if let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut)
            && std::mem::take(&mut holder.sources.crowded)
        {
            self.next_reread(seat);
        }
    }

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

    fn next_reread(&mut self, seat: usize) {
        loop {
            let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
            if holder.sources.busy || holder.sources.crowded || !self.has_room_to_resend(seat) {
                return;
            }
            let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) else { return };
            let Some((task, offset, len)) = holder.sources.asked.pop_front() else { return };
            let serial = holder.serial;
            let (bytes, medium) = match holder.sources.find(task) {
                Some(Source::Bytes(bytes)) => {
                    (bytes.get(offset as usize..offset as usize + len as usize).map(<[u8]>::to_vec), None)
                }
                Some(Source::Medium(unit, base)) => (None, Some((*unit, *base))),
                None => (None, None),
            };
            let block =
                medium.and_then(|(unit, _)| self.world.units.get(unit)).map_or(1, |unit| unit.block_bytes.max(1));
            let lead = if medium.is_some() { offset % block } else { 0 };
            let io_len = (lead as usize + len as usize).next_multiple_of(block as usize);
            let known = bytes.is_some() || medium.is_some();
            let buf = if known && io_len <= SLICE_BYTES { self.allocate(seat, io_len) } else { None };
            let Some(buf) = buf else {
                if let Some(Parts { seat: holder, mut out, .. }) = self.parts(seat) {
                    holder.session.resend(task, offset, len, None, &mut out);
                }
                continue;
            };
            let mut reread = Reread { seat, serial, task, offset, len, lead, buf };
            if let Some(bytes) = bytes {
                reread.buf.put(0, &bytes);
                self.reread_done(reread, Ok(()));
                continue;
            }
            let Some((unit, base)) = medium else { return };
            let Some(buffer) = reread.buf.buffer(io_len) else { return };
            let op = Op::Read { offset: base + u64::from(offset - lead), buffer };
            if let Some(holder) = self.seats.get_mut(seat).and_then(Option::as_deref_mut) {
                holder.sources.busy = true;
            }
            match self.start(unit, op, Owner::Reread(Box::new(reread))) {
                Some((Owner::Reread(reread), result)) => self.reread_done(*reread, result),
                _ => return,
            }
        }
    }

    /// The medium has answered.
    pub fn reread(&mut self, reread: Reread, result: Result<(), MediumFault>) {
        let seat = reread.seat;
        self.reread_done(reread, result);
        self.next_reread(seat);
        self.pump(seat);
    }

    fn reread_done(&mut self, reread: Reread, result: Result<(), MediumFault>) {
        let Reread { seat, serial, task, offset, len, lead, buf } = reread;
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
