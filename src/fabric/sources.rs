//! Where the data of commands came from that may have to be sent once more, for one session: a place on a medium, or
//! bytes that were kept. It is read again in `shard/resend.rs`.

use crate::limits::{KEPT_PARAMETER_BYTES, KEPT_RESPONSE_BYTES_BESIDE, SOURCES};
use crate::model::UnitIx;
use crate::session::Session;
use crate::session::seam::TaskId;
use crate::shares::{Held, Store};
use std::collections::VecDeque;

/// Where the data of a command came from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A unit, at this byte.
    Medium(UnitIx, u64),
    /// Parameter data.
    Bytes(&'a [u8]),
}

/// What a seat remembers of data that may have to be sent again.
#[derive(Default)]
pub struct Sources {
    /// Data from media: task, unit, and where in the unit it begins, bytes; oldest first.
    pub media: VecDeque<(TaskId, UnitIx, u64)>,
    /// Parameter data of tasks, oldest first.
    pub bytes: VecDeque<(TaskId, Box<[u8]>)>,
    /// What `bytes` is charged.
    pub held: Held,
    /// With so many in `media` and `bytes` together, those that are of no use any more are looked for. To look costs as
    /// much as there are.
    pub look_at: usize,
    /// Index in `media` of what was found last: what is asked for of one task comes together.
    pub found: usize,
    /// What is to be sent again: task, offset and length, bytes.
    pub asked: VecDeque<(TaskId, u32, u32)>,
    /// A stretch is being read.
    pub busy: bool,
    /// The next read waits until the connection has room.
    pub crowded: bool,
}

/// How many bytes a piece of parameter data counts as.
pub fn cost((_, bytes): &(TaskId, Box<[u8]>)) -> usize {
    size_of::<(TaskId, Box<[u8]>)>() + bytes.len()
}

impl Sources {
    /// Counts parameter data in `store`, with what others keep.
    pub fn keep_in(&mut self, store: &Store) {
        self.held = store.hold(self.held.bytes());
    }

    /// Whether data of a unit may have to be sent again.
    pub fn use_unit(&mut self, unit: UnitIx, session: &Session) -> bool {
        let uses = |&(_, of, _): &(TaskId, UnitIx, u64)| of == unit;
        if !self.media.iter().any(uses) {
            return false;
        }
        self.forget(session);
        self.media.iter().any(uses)
    }

    /// Where the data of a task came from.
    pub fn find(&mut self, task: TaskId) -> Option<Source<'_>> {
        let is_it = |known: &(TaskId, UnitIx, u64)| known.0 == task;
        if !self.media.get(self.found).is_some_and(is_it) {
            if let Some((_, bytes)) = self.bytes.iter().rfind(|known| known.0 == task) {
                return Some(Source::Bytes(bytes));
            }
            self.found = self.media.iter().rposition(is_it)?;
        }
        self.media.get(self.found).map(|&(_, unit, base)| Source::Medium(unit, base))
    }

    /// The session finds only these units from now on: what it read of others is not read for it again.
    pub fn keep_units(&mut self, units: &[UnitIx]) {
        self.media.retain(|(_, unit, _)| units.contains(unit));
    }

    /// Drops what is of no use any more.
    pub fn forget(&mut self, session: &Session) {
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

    pub fn keep_bytes(&mut self, task: TaskId, bytes: &[u8]) {
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
