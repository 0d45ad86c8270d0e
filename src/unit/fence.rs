//! Ranges of a unit that one command needs for itself, on every core: COMPARE AND WRITE, ORWRITE, atomic writes.
//!
//! Every other change of the medium enters the fence before it begins and leaves it when it is done. That costs a few
//! instructions on a cache line of its core's own: the change counts itself in one of two counters, then looks whether
//! any range is held. Who wants a range makes it known, and waits until it has seen each counter of each core at zero
//! once. Reads count themselves, too, in two counters of their own, so that those under way are known. Only once an
//! atomic write was asked for do ranges keep reads out, and do their holders wait for reads.
//!
//! Why the holder is alone: both sides write, pass a barrier, and read what the other one writes (the rare side pays
//! for both barriers: membarrier(2)).
//!
//! ```text
//! change, often                 holder, seldom
//! 1 counts itself               1 makes its range known
//! --------------------- barrier ---------------------
//! 2 is a range held there?      2 is this counter at zero?
//!    yes: leaves, tries later      no: looks again later
//!    no:  begins                   yes: what was counted is done
//! ```
//!
//! At least one of them sees the other. So a change has either seen the range, and does not begin; or the holder sees
//! it counted, and its counter at zero only when it is done. Which counter the change took, and when it found out which
//! to take, does not matter.
//!
//! Two counters are there so that one can come to zero under load: changes take that of their current epoch, reads that
//! of theirs. An epoch moves on when somebody waits for its counter on some core, and nobody for the other. Reads have
//! epochs and counters of their own because a peer that does not take what it has read keeps one of them from zero:
//! those of changes still come to zero.
//!
//! `tests/models.rs` runs this very file under loom.
//!
//! A change that outlives its task (`exec/stray.rs`) is no longer counted but kept as a range, until it is over: what comes
//! later to its blocks, reads too, must not overtake it.
//!
//! Once an atomic write was asked for, no read sees a part of one; a read that is too long to enter as a whole asks
//! afterwards whether a holder has changed it between its parts.

use crate::atomics::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Barrier, Mutex, MutexGuard, Ordering};
use crate::limits::FENCE_LOG;
use std::collections::VecDeque;
use std::sync::PoisonError;

/// The count that a change or a read is under; given back when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Ticket(u8);

impl Ticket {
    /// Whether it is the count of a read.
    pub fn is_read(self) -> bool {
        usize::from(self.0) >= READS
    }
}

/// Counters of a core: of changes by epoch, then of reads by epoch.
const COUNTERS: usize = 4;
/// The first counter of reads.
const READS: usize = 2;

/// A range held, or about to be.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Lock {
    /// Number of its range.
    number: u64,
}

/// A range that is held.
struct Range {
    /// Its number.
    number: u64,
    /// Its first byte.
    start: u64,
    /// The byte behind it.
    end: u64,
    /// It is that of an operation that outlived its task.
    stray: bool,
    /// The counters, by core, that were not seen at zero since the range was made known. Empty: what began before is
    /// over.
    waits: Vec<[bool; COUNTERS]>,
}

impl Range {
    fn overlaps(&self, offset: u64, len: u64) -> bool {
        self.start < offset.saturating_add(len) && offset < self.end
    }
}

impl Held {
    fn add(&mut self, (offset, len): (u64, u64), stray: bool, waits: Vec<[bool; COUNTERS]>) -> Lock {
        self.last += 1;
        let number = self.last;
        self.ranges.push(Range { number, start: offset, end: offset.saturating_add(len), stray, waits });
        Lock { number }
    }
}

/// What is in flight of one core, on a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
struct Busy([AtomicU32; COUNTERS]);

/// The ranges that are held.
#[derive(Default)]
struct Held {
    /// In no order.
    ranges: Vec<Range>,
    /// The last number that was given to a range.
    last: u64,
    /// The latest ranges that were given back since ranges keep reads out: number (they count up from one), start, end.
    log: VecDeque<(u64, u64, u64)>,
}

/// The fence of one unit.
pub struct Fence {
    /// Number of the ranges in `held`, to be looked at without the lock.
    count: AtomicUsize,
    /// The current epochs of changes and of reads; the lowest bit chooses the counter.
    epochs: [AtomicUsize; 2],
    /// The ranges.
    held: Mutex<Held>,
    /// Ranges keep reads out, too: an atomic write was asked for.
    atomic: AtomicBool,
    /// How many ranges were given back since then.
    given_back: AtomicU64,
    /// The counters, by core.
    busy: Box<[Busy]>,
    /// What stands between the two steps of either side.
    barrier: Barrier,
}

impl Fence {
    /// The fence of a unit that `cores` cores use.
    pub fn new(cores: usize) -> Fence {
        Fence {
            count: AtomicUsize::new(0),
            epochs: [AtomicUsize::new(0), AtomicUsize::new(0)],
            held: Mutex::new(Held::default()),
            atomic: AtomicBool::new(false),
            given_back: AtomicU64::new(0),
            busy: (0..cores).map(|_| Busy::default()).collect(),
            barrier: Barrier::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change of `[offset, offset + len)` is about to begin on `core`. `None`: the range is held, try again later.
    #[inline]
    pub fn enter(&self, core: usize, offset: u64, len: u64) -> Option<Ticket> {
        let ticket = self.counted(core, 0);
        if self.count.load(Ordering::Acquire) != 0 && self.is_held(offset, len) {
            self.leave(core, ticket);
            return None;
        }
        Some(ticket)
    }

    /// Like [`Fence::enter`], for a read or a part of one.
    #[inline]
    pub fn enter_read(&self, core: usize, offset: u64, len: u64) -> Option<Ticket> {
        let ticket = self.counted(core, READS);
        if self.keeps_reads() && self.count.load(Ordering::Acquire) != 0 && self.is_held(offset, len) {
            self.leave(core, ticket);
            return None;
        }
        Some(ticket)
    }

    /// Like [`Fence::enter_read`], for a read that is over only when its peer has it. `None`: reads may not be done so
    /// any more, since atomic writes would have to wait for the peer.
    #[inline]
    pub fn enter_sent(&self, core: usize) -> Option<Ticket> {
        let ticket = self.counted(core, READS);
        if self.keeps_reads() {
            self.leave(core, ticket);
            return None;
        }
        Some(ticket)
    }

    #[inline]
    fn counted(&self, core: usize, kind: usize) -> Ticket {
        let counter = kind + (self.epochs[kind / READS].load(Ordering::Relaxed) & 1);
        let busy = &self.busy[core].0[counter];
        // Only this core writes here: no read-modify-write is needed.
        busy.store(busy.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.barrier.often();
        Ticket(counter as u8)
    }

    /// Whether ranges keep reads out: an atomic write was asked for.
    #[inline]
    pub fn keeps_reads(&self) -> bool {
        self.atomic.load(Ordering::Relaxed)
    }

    /// An atomic write is about to ask for its range: from now on ranges keep reads out.
    pub fn expect_atomic(&self) {
        self.atomic.store(true, Ordering::SeqCst);
    }

    /// How many ranges were given back: to be asked before a read enters for its first part.
    pub fn given_back(&self) -> u64 {
        self.given_back.load(Ordering::Acquire)
    }

    /// Whether a holder has changed what lies on both sides of `middle` since `given_back` was asked. To be asked by a read
    /// that has read up to `middle`, and has entered for what comes next.
    #[cold]
    pub fn is_torn(&self, given_back: u64, middle: u64) -> bool {
        let held = self.held();
        let latest = held.log.back().map_or(0, |(number, ..)| *number);
        let forgotten = latest.saturating_sub(given_back) > held.log.len() as u64;
        let since = held.log.iter().rev().take_while(|(number, ..)| *number > given_back);
        forgotten || since.into_iter().any(|(_, start, end)| *start < middle && middle < *end)
    }

    #[cold]
    fn is_held(&self, offset: u64, len: u64) -> bool {
        self.held().ranges.iter().any(|range| range.overlaps(offset, len))
    }

    /// Whether a change that outlived its task is still under way in a range: a read has to wait for it.
    #[inline]
    pub fn has_stray(&self, offset: u64, len: u64) -> bool {
        self.count.load(Ordering::Acquire) != 0 && self.is_astray(offset, len)
    }

    #[cold]
    fn is_astray(&self, offset: u64, len: u64) -> bool {
        self.held().ranges.iter().any(|range| range.stray && range.overlaps(offset, len))
    }

    /// Keeps a range for a change under way that was counted under `ticket` and is not to be waited for any more. Other
    /// ranges may overlap it: their holders wait until it is given back.
    pub fn keep(&self, core: usize, ticket: Ticket, offset: u64, len: u64) -> Lock {
        let mut held = self.held();
        let lock = held.add((offset, len), true, Vec::new());
        self.count.store(held.ranges.len(), Ordering::SeqCst);
        drop(held);
        self.barrier.seldom();
        // The count goes down only now: a lock that drains must find the range once the change is no longer counted.
        self.leave(core, ticket);
        lock
    }

    /// The holder of a range goes on without its task: reads wait for it, too.
    pub fn set_stray(&self, lock: &Lock) {
        for range in self.held().ranges.iter_mut().filter(|range| range.number == lock.number) {
            range.stray = true;
        }
    }

    /// Ends the count of a change or a read that is done.
    #[inline]
    pub fn leave(&self, core: usize, ticket: Ticket) {
        let busy = &self.busy[core].0[usize::from(ticket.0)];
        // Release: who sees the count go down sees the change.
        busy.store(busy.load(Ordering::Relaxed) - 1, Ordering::Release);
    }

    /// Asks for a range. `None`: it overlaps one that is held: try again later. Otherwise the range is kept from all others
    /// from now on, and is its holder's once [`Fence::is_drained`] says so.
    pub fn lock(&self, offset: u64, len: u64) -> Option<Lock> {
        let mut held = self.held();
        if held.ranges.iter().any(|range| range.overlaps(offset, len)) {
            return None;
        }
        let reads = self.keeps_reads();
        let lock = held.add((offset, len), false, vec![[true, true, reads, reads]; self.busy.len()]);
        self.count.store(held.ranges.len(), Ordering::SeqCst);
        // Still under the mutex: nobody looks at the counters for this range before the barrier.
        self.barrier.seldom();
        Some(lock)
    }

    /// Whether all that was counted when the range was locked is done, and all strays in the range. To be asked until
    /// it says so.
    pub fn is_drained(&self, lock: &Lock) -> bool {
        let mut held = self.held();
        self.look(&mut held.ranges);
        let Some(own) = held.ranges.iter().find(|range| range.number == lock.number) else { return true };
        // A change that was counted may have become a stray meanwhile: it is counted no more, and not over.
        let mut strays = held.ranges.iter().filter(|range| range.stray && range.number != own.number);
        own.waits.is_empty() && !strays.any(|range| range.overlaps(own.start, own.end - own.start))
    }

    /// Whether a lock that is not drained waits for nothing but reads.
    pub fn waits_for_reads(&self, lock: &Lock) -> bool {
        let held = self.held();
        let own = held.ranges.iter().find(|range| range.number == lock.number);
        own.is_some_and(|own| {
            let is_waiting = |counters: &[bool]| counters.contains(&true);
            !own.waits.iter().any(|waits| is_waiting(&waits[..READS]))
                && own.waits.iter().any(|waits| is_waiting(&waits[READS..]))
        })
    }

    /// Notes the counters that are at zero, for everybody who waits.
    fn look(&self, ranges: &mut [Range]) {
        // Acquire: who sees a count at zero sees what was counted.
        let mut awaited = [false; COUNTERS];
        for (core, busy) in self.busy.iter().enumerate() {
            for (counter, busy) in busy.0.iter().enumerate() {
                let is_busy = busy.load(Ordering::Acquire) != 0;
                for waits in ranges.iter_mut().filter_map(|range| range.waits.get_mut(core)) {
                    waits[counter] &= is_busy;
                    awaited[counter] |= waits[counter];
                }
            }
        }
        for range in ranges.iter_mut().filter(|range| range.waits.iter().all(|waits| *waits == [false; COUNTERS])) {
            range.waits = Vec::new();
        }
        for (epoch, awaited) in self.epochs.iter().zip(awaited.chunks_exact(READS)) {
            let current = epoch.load(Ordering::Relaxed) & 1;
            if awaited[current] && !awaited[1 - current] {
                epoch.store(1 - current, Ordering::Relaxed);
            }
        }
    }

    /// Gives the range back, drained or not.
    pub fn unlock(&self, lock: Lock) {
        let mut held = self.held();
        if self.keeps_reads()
            && let Some(range) = held.ranges.iter().find(|range| range.number == lock.number)
        {
            let (start, end) = (range.start, range.end);
            let number = self.given_back.load(Ordering::Relaxed) + 1;
            if held.log.len() == FENCE_LOG {
                held.log.pop_front();
            }
            held.log.push_back((number, start, end));
            self.given_back.store(number, Ordering::Release);
        }
        held.ranges.retain(|range| range.number != lock.number);
        self.count.store(held.ranges.len(), Ordering::SeqCst);
    }
}
