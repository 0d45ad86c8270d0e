//! What is kept so that it can be sent again (ErrorRecoveryLevel 1 and 2): responses, and the numbers of read data.
//!
//! A response stays in its connection ([`Kept`]) until its StatSN is acknowledged. Read data is not kept: [`Outgoing`] knows
//! how it was cut into PDUs, and asks the shard to read it again ([`Event::Resend`](super::seam::Event::Resend)). It lives in
//! the task, and moves to the response when the task is answered, so that no task slot waits for an acknowledgment.
//!
//! Read again means read from the medium: what another command has written since is in it. RFC 7143 section 7.1.3 allows
//! that; an initiator that writes what it is still reading gets no promise from SCSI either.
//!
//! Invariants: nothing here is used below ErrorRecoveryLevel 1; all is bounded by `limits::KEPT_RESPONSES`,
//! `limits::KEPT_RESPONSE_BYTES` and the number of slices of a transfer, and for all sessions of a core together by its
//! [`Store`](crate::shares::Store); what had to be dropped is refused when asked for.

use super::seam::TaskId;
use crate::limits::{KEPT_RESPONSE_BYTES, KEPT_RESPONSE_BYTES_BESIDE, KEPT_RESPONSES};
use crate::shares::Held;
use crate::wire::{Bhs, Itt, Lun, StatSn};
use bytes::Bytes;
use std::collections::VecDeque;

/// Where the input of a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input {
    /// DataSN of the next Data-In, R2TSN of the next R2T: one sequence.
    pub sn: u32,
    /// Data-In bytes since the last F bit.
    pub burst_bytes: u32,
}

impl Input {
    pub const NONE: Input = Input { sn: 0, burst_bytes: 0 };
}

/// A stretch of read data as it was, or is to be, cut into Data-In PDUs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Where the input stands before it.
    pub begin: Input,
    pub offset: u32,
    pub len: u32,
    pub pdu_bytes: u32,
    pub max_burst: u32,
    /// It ends the transfer.
    pub ends: bool,
}

/// One Data-In of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub sn: u32,
    pub offset: u32,
    pub len: u32,
    pub is_final: bool,
    pub acknowledge: bool,
}

impl Run {
    /// Its PDUs.
    pub fn pieces(self) -> impl Iterator<Item = Piece> {
        let (mut at, mut burst, mut sn) = (0, self.begin.burst_bytes, self.begin.sn);
        std::iter::from_fn(move || {
            if at >= self.len {
                return None;
            }
            let room = self.max_burst.saturating_sub(burst).max(4);
            let len = (self.len - at).min(self.pdu_bytes.max(4)).min(room);
            let last = at + len == self.len;
            burst += len;
            let full = burst >= self.max_burst;
            let ends = last && self.ends;
            if full {
                burst = 0;
            }
            //= RFC 7143 section 11.7.2
            //# The target should use the
            //# A bit moderately; it MAY only set the A bit to 1 once every
            //# MaxBurstLength bytes, or on the last Data-In PDU that concludes the
            //# entire requested read data transfer for the task from the target's
            //# perspective, and it MUST NOT do so more frequently.
            let piece = Piece {
                sn,
                offset: self.offset.wrapping_add(at),
                len,
                is_final: full || ends,
                acknowledge: full && !ends,
            };
            at += len;
            sn = sn.wrapping_add(1);
            Some(piece)
        })
    }

    /// Where the input stands after it.
    pub fn end(self) -> Input {
        let after = |input: Input, p: Piece| Input {
            sn: input.sn.wrapping_add(1),
            burst_bytes: if p.is_final { 0 } else { input.burst_bytes.saturating_add(p.len) },
        };
        self.pieces().fold(self.begin, after)
    }
}

/// The read data of a task.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub task: TaskId,
    pub runs: VecDeque<Run>,
    /// The first DataSN that is not acknowledged, and where its data begins.
    pub acked_sn: u32,
    pub acked_offset: u32,
    /// The SNACK Tag of the last R-Data SNACK, for the SCSI Response; 0: there was none.
    pub snack_tag: u32,
    /// Stretches that the shard was asked for and has not answered.
    pub pending: u32,
    /// What has asked for the pending stretches, oldest first.
    asked: VecDeque<Asked>,
    /// Stretches that nobody waits for any more. The shard answers for them before it does for those that are pending.
    stale: u32,
    /// The task has a new connection, and its data is sent there from the acknowledged point on. Data that the shard
    /// reads meanwhile is asked for again behind that, so that the order is kept.
    pub replaying: bool,
    /// The response is to be sent (again) when nothing is pending.
    pub then_status: bool,
}

/// Stretches that the shard was asked for, and the header of the SNACK that asked for them. `None`: they are sent to a
/// new connection, or the SNACK was rejected.
#[derive(Debug)]
struct Asked {
    snack: Option<Bhs>,
    stretches: u32,
}

impl Outgoing {
    pub fn new(task: TaskId) -> Outgoing {
        Outgoing {
            task,
            runs: VecDeque::new(),
            acked_sn: 0,
            acked_offset: 0,
            snack_tag: 0,
            pending: 0,
            asked: VecDeque::new(),
            stale: 0,
            replaying: false,
            then_status: false,
        }
    }

    /// How much was moved: bytes from the beginning of the transfer on.
    pub fn moved_bytes(&self) -> u32 {
        self.runs.back().map_or(self.acked_offset, |last| last.offset + last.len)
    }

    /// Notes that the shard is asked for so many stretches more; `snack` is the header of the SNACK that asks, if one
    /// does.
    pub fn ask(&mut self, snack: Option<&Bhs>, stretches: usize) {
        let stretches = stretches as u32;
        self.pending += stretches;
        match self.asked.back_mut() {
            Some(last) if snack.is_none() && last.snack.is_none() => last.stretches += stretches,
            _ if stretches > 0 => self.asked.push_back(Asked { snack: snack.copied(), stretches }),
            _ => {}
        }
    }

    /// Notes that nobody waits any more for the stretches that were asked for.
    pub fn ask_no_more(&mut self) {
        self.stale += std::mem::take(&mut self.pending);
        self.asked.clear();
    }

    /// Takes the shard's answer for the oldest stretch if nobody waits for that any more. Returns whether that is so.
    pub fn take_stale(&mut self) -> bool {
        let is_stale = self.stale > 0;
        self.stale -= u32::from(is_stale);
        is_stale
    }

    /// Takes the shard's answer for the oldest stretch that is waited for. If it could not be read, returns the header
    /// of the SNACK to be rejected, once for all stretches that this SNACK asked for.
    pub fn answered(&mut self, is_read: bool) -> Option<Bhs> {
        self.pending = self.pending.saturating_sub(1);
        let oldest = self.asked.front_mut()?;
        oldest.stretches = oldest.stretches.saturating_sub(1);
        let rejected = oldest.snack.take_if(|_| !is_read);
        if oldest.stretches == 0 {
            self.asked.pop_front();
        }
        rejected
    }

    /// DataSN of the next Data-In.
    pub fn end_sn(&self) -> u32 {
        self.runs.back().map_or(self.acked_sn, |run| run.end().sn)
    }

    /// Notes that everything before DataSN `sn` has arrived. Returns false if that was never sent.
    pub fn acknowledge(&mut self, sn: u32) -> bool {
        if sn < self.acked_sn {
            return true;
        }
        if sn > self.end_sn() {
            return false;
        }
        while let Some(run) = self.runs.front() {
            if run.end().sn > sn {
                let first = run.pieces().find(|piece| piece.sn == sn);
                self.acked_offset = first.map_or(self.acked_offset, |piece| piece.offset);
                break;
            }
            self.acked_offset = run.offset.wrapping_add(run.len);
            self.runs.pop_front();
        }
        self.acked_sn = sn;
        true
    }

    /// Cuts everything that is not acknowledged into PDUs anew. Returns where the input stands after it.
    pub fn recut(&mut self, pdu_bytes: u32, max_burst: u32) -> Input {
        let mut input = Input { sn: self.acked_sn, burst_bytes: 0 };
        for run in &mut self.runs {
            if run.offset < self.acked_offset {
                run.len = run.len.saturating_sub(self.acked_offset - run.offset);
                run.offset = self.acked_offset;
            }
            (run.begin, run.pdu_bytes, run.max_burst) = (input, pdu_bytes, max_burst);
            input = run.end();
        }
        input
    }

    /// The read data of DataSN `from` up to, without, `to`: offset and length in the transfer, bytes, one stretch for a
    /// run.
    pub fn stretches(&self, from: u32, to: u32) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        for run in &self.runs {
            let mut wanted = run.pieces().filter(|p| from <= p.sn && p.sn < to);
            if let Some(first) = wanted.next() {
                let last = wanted.last().unwrap_or(first);
                found.push((first.offset, last.offset + last.len - first.offset));
            }
        }
        found
    }
}

#[cfg(test)]
thread_local! {
    /// How often a response was looked at for its task.
    pub(super) static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A response that was sent, or would have been had its connection not been lost.
#[derive(Debug)]
pub(super) struct Kept {
    pub stat_sn: StatSn,
    pub header: Bhs,
    /// Its data segment. To be sent once more, it is shared.
    pub bytes: Bytes,
    /// Tag and logical unit, if it answers a SCSI command.
    pub command: Option<(Itt, Lun)>,
    pub data: Option<Box<Outgoing>>,
    /// What the response is charged in the store.
    pub held: Held,
}

impl Kept {
    /// The task whose read data it is the end of.
    #[inline]
    pub fn task(&self) -> Option<TaskId> {
        #[cfg(test)]
        LOOKS.set(LOOKS.get() + 1);
        self.data.as_deref().map(|data| data.task)
    }

    /// Whether it answers the command `itt`.
    pub fn is_of(&self, itt: Itt) -> bool {
        self.command.is_some_and(|(tag, _)| tag == itt)
    }

    /// Bytes of memory that the response takes.
    fn cost(&self) -> usize {
        let runs = |data: &Outgoing| size_of::<Outgoing>() + data.runs.len() * size_of::<Run>();
        size_of::<Kept>() + self.bytes.len() + self.data.as_deref().map_or(0, runs)
    }
}

/// The responses of a connection, oldest first.
#[derive(Debug, Default)]
pub(super) struct Responses {
    queue: VecDeque<Kept>,
    /// What all of them are charged together, bytes.
    bytes: usize,
}

impl Responses {
    /// Keeps a response. The oldest are dropped if they are too many.
    pub fn push(&mut self, mut kept: Kept) {
        kept.held.set(kept.cost());
        self.bytes += kept.held.bytes();
        self.queue.push_back(kept);
        self.make_room();
    }

    /// Notes of the last response that it answers this command, with this read data.
    pub fn attach(&mut self, command: Option<(Itt, Lun)>, data: Option<Box<Outgoing>>) {
        let Some(kept) = self.queue.back_mut() else { return };
        (kept.command, kept.data) = (command, data);
        let cost = kept.cost();
        self.bytes = self.bytes.saturating_sub(kept.held.bytes()) + cost;
        kept.held.set(cost);
        self.make_room();
    }

    /// Drops the oldest, as many as are too many. The last one stays.
    pub fn make_room(&mut self) {
        while let Some(last) = self.queue.back().filter(|_| self.queue.len() > 1) {
            let most_bytes = if last.held.is_crowded() { KEPT_RESPONSE_BYTES_BESIDE } else { KEPT_RESPONSE_BYTES };
            if self.queue.len() <= KEPT_RESPONSES && self.bytes <= most_bytes {
                break;
            }
            self.pop();
        }
        self.shrink();
    }

    /// Gives back the memory that the queue has for many more responses than there are: only responses are charged, not
    /// the room for more.
    fn shrink(&mut self) {
        /// Room for so many is kept in any case: to give it back is not worth it.
        const SPARE: usize = 64;
        if self.queue.capacity() > SPARE.max(4 * self.queue.len()) {
            self.queue.shrink_to(SPARE.max(2 * self.queue.len()));
        }
    }

    fn pop(&mut self) {
        if let Some(gone) = self.queue.pop_front() {
            self.bytes = self.bytes.saturating_sub(gone.held.bytes());
        }
    }

    /// Drops those that are not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&Kept) -> bool) {
        let bytes = &mut self.bytes;
        self.queue.retain(|kept| {
            let stays = wanted(kept);
            *bytes = bytes.saturating_sub(if stays { 0 } else { kept.held.bytes() });
            stays
        });
    }

    /// Drops all responses up to the last one that `is_so`, so that the StatSNs which a connection keeps have no gap.
    pub fn forget_through(&mut self, is_so: impl Fn(&Kept) -> bool) {
        let count = self.queue.iter().rposition(is_so).map_or(0, |at| at + 1);
        (0..count).for_each(|_| self.pop());
        self.shrink();
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn get(&self, n: usize) -> Option<&Kept> {
        self.queue.get(n)
    }

    pub fn get_mut(&mut self, n: usize) -> Option<&mut Kept> {
        self.queue.get_mut(n)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.queue.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Kept> {
        self.queue.iter_mut()
    }

    /// Drops everything before `exp_stat_sn`.
    pub fn acknowledge(&mut self, exp_stat_sn: StatSn) {
        while self.queue.front().is_some_and(|kept| kept.stat_sn.lt(exp_stat_sn)) {
            self.pop();
        }
        self.shrink();
    }

    /// The response to the command `itt`.
    pub fn find(&mut self, itt: Itt) -> Option<&mut Kept> {
        self.queue.iter_mut().rev().find(|kept| kept.is_of(itt))
    }

    /// Takes the response to the command `itt` out.
    pub fn take(&mut self, itt: Itt) -> Option<Kept> {
        let at = self.queue.iter().rposition(|kept| kept.is_of(itt))?;
        let kept = self.queue.remove(at)?;
        self.bytes = self.bytes.saturating_sub(kept.held.bytes());
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shares::Store;

    fn run(sn: u32, offset: u32, len: u32, burst: u32, ends: bool) -> Run {
        Run { begin: Input { sn, burst_bytes: burst }, offset, len, pdu_bytes: 4096, max_burst: 16384, ends }
    }

    fn response(sn: u32, len: usize, command: Option<(Itt, Lun)>) -> Kept {
        let (bytes, held) = (vec![0; len].into(), Store::default().hold(0));
        Kept { stat_sn: StatSn(sn), header: [0; 48], bytes, command, data: None, held }
    }

    #[test]
    fn a_run_is_cut_at_segments_and_bursts() {
        //= RFC 7143 section 11.7.2
        //# The target should use the A bit moderately; it MAY only set the A bit to
        //# 1 once every MaxBurstLength bytes, or on the last Data-In PDU that
        //# concludes the entire requested read data transfer for the task from the
        //# target's perspective, and it MUST NOT do so more frequently.
        let pieces: Vec<_> = run(3, 1000, 20000, 8192, true).pieces().collect();
        let lens: Vec<_> = pieces.iter().map(|p| (p.sn, p.offset, p.len, p.is_final, p.acknowledge)).collect();
        assert_eq!(
            lens,
            [
                (3, 1000, 4096, false, false),
                (4, 5096, 4096, true, true),
                (5, 9192, 4096, false, false),
                (6, 13288, 4096, false, false),
                (7, 17384, 3616, true, false)
            ]
        );
        assert_eq!(run(3, 1000, 20000, 8192, false).end(), Input { sn: 8, burst_bytes: 11808 });
    }

    #[test]
    fn what_is_remembered_of_read_data_is_bounded() {
        let mut kept = Responses::default();
        for sn in 0..200 {
            let mut data = Outgoing::new(TaskId(sn));
            data.runs = (0..128).map(|n| run(4 * n, 16384 * n, 16384, 0, false)).collect();
            kept.push(response(sn, 0, None));
            kept.attach(Some((Itt(sn), Lun([0; 8]))), Some(Box::new(data)));
        }
        let runs: usize = kept.queue.iter().filter_map(|k| k.data.as_deref()).map(|data| data.runs.len()).sum();
        assert!(runs * size_of::<Run>() <= KEPT_RESPONSE_BYTES && kept.queue.len() > 50, "{runs}");
        assert!(kept.find(Itt(199)).is_some() && kept.find(Itt(0)).is_none(), "the oldest make room");
        kept.acknowledge(StatSn(200));
        assert_eq!(kept.bytes, 0);
    }

    #[test]
    fn what_is_dropped_makes_room_for_others() {
        const LEN: usize = KEPT_RESPONSE_BYTES / 64 - size_of::<Kept>();
        let mut kept = Responses::default();
        for sn in 0..64 {
            kept.push(response(sn, LEN, (sn < 8).then_some((Itt(sn), Lun([0; 8])))));
        }
        kept.retain(|each| each.command.is_some());
        for sn in 64..120 {
            kept.push(response(sn, LEN, None));
        }
        assert_eq!((kept.queue.len(), kept.bytes), (64, KEPT_RESPONSE_BYTES));
        kept.retain(|_| false);
        assert_eq!((kept.queue.len(), kept.bytes), (0, 0));
    }

    #[test]
    fn acknowledged_data_is_forgotten_and_the_rest_is_cut_anew() {
        let mut o = Outgoing::new(TaskId(1));
        o.runs = [run(0, 0, 16384, 0, false), run(4, 16384, 10000, 0, true)].into();
        assert_eq!((o.end_sn(), o.stretches(1, 5)), (7, vec![(4096, 12288), (16384, 4096)]));
        assert!(!o.acknowledge(8) && o.acknowledge(5) && o.acknowledge(2));
        assert_eq!((o.acked_sn, o.acked_offset, o.runs.len()), (5, 20480, 1));
        assert_eq!(o.recut(2048, 4096), Input { sn: 8, burst_bytes: 0 });
        assert_eq!((o.runs[0].offset, o.runs[0].len, o.runs[0].begin.sn), (20480, 5904, 5));
        assert!(o.acknowledge(8));
        assert_eq!((o.acked_offset, o.runs.len(), o.end_sn()), (26384, 0, 8));
    }
}
