//! Ranges of a unit that one command needs for itself, on every core: COMPARE AND WRITE, ORWRITE, atomic writes.
//!
//! Every other change of the medium enters the fence before it begins and leaves it when it is done. That costs a few
//! instructions on a cache line of its core's own: it counts itself under the current epoch, then looks whether any range
//! is held. Who wants a range makes it known, moves the epoch on, and waits until every change that was counted under the
//! old epoch is done; those that come later see the range and wait.
//!
//! The two sides must each see what the other wrote before. The rare side pays for both: membarrier(2) makes every
//! running core see the range before it counts the changes in flight.
//!
//! A change that outlives its task (`stray.rs`) is no longer counted but kept as a range, until it is over: what comes
//! later to its blocks, reads too, must not overtake it.
//!
//! Once an atomic write was asked for, reads enter like changes do, so that none sees a part of it; a read that is too long
//! to enter as a whole asks afterwards whether a holder has changed it between its parts. Before, that costs them a load.

use crate::limits::FENCE_LOG;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence};

/// The count that a change is under; given back when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Ticket(u8);

/// A range held, or about to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Lock {
    number: u64,
    /// The epoch whose changes must be over; `None`: they are.
    old: Option<u8>,
}

struct Range {
    number: u64,
    start: u64,
    end: u64,
    /// Of an operation that outlived its task.
    stray: bool,
}

impl Range {
    fn overlaps(&self, offset: u64, len: u64) -> bool {
        self.start < offset.saturating_add(len) && offset < self.end
    }
}

/// Changes in flight of one core, by epoch: on a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
struct Busy([AtomicU32; 2]);

#[derive(Default)]
struct Held {
    ranges: Vec<Range>,
    last: u64,
    /// The one lock that waits for changes of the old epoch.
    draining: Option<u64>,
    /// Ranges that were given back since reads enter, by their number in that order: start, end.
    log: VecDeque<(u64, u64, u64)>,
}

/// The fence of one unit.
pub struct Fence {
    count: AtomicUsize,
    epoch: AtomicUsize,
    held: Mutex<Held>,
    /// Reads enter, too.
    atomic: AtomicBool,
    /// Ranges given back since then.
    given_back: AtomicU64,
    busy: Box<[Busy]>,
    /// membarrier(2) works; else both sides pay for a full fence.
    asymmetric: bool,
}

impl Fence {
    /// For `cores` cores.
    pub fn new(cores: usize) -> Fence {
        Fence {
            count: AtomicUsize::new(0),
            epoch: AtomicUsize::new(0),
            held: Mutex::default(),
            atomic: AtomicBool::new(false),
            given_back: AtomicU64::new(0),
            busy: (0..cores).map(|_| Busy::default()).collect(),
            asymmetric: register_barrier(),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A change of `[offset, offset + len)` is about to begin on `core`. `None`: the range is held, try again later.
    #[inline]
    pub fn enter(&self, core: usize, offset: u64, len: u64) -> Option<Ticket> {
        let epoch = self.epoch.load(Ordering::Relaxed) & 1;
        let busy = &self.busy[core].0[epoch];
        // Only this core writes here: no read-modify-write is needed.
        busy.store(busy.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        if self.asymmetric {
            compiler_fence(Ordering::SeqCst)
        } else {
            fence(Ordering::SeqCst)
        }
        if self.count.load(Ordering::Acquire) != 0 && self.is_held(offset, len) {
            self.leave(core, Ticket(epoch as u8));
            return None;
        }
        Some(Ticket(epoch as u8))
    }

    /// Whether reads have to enter.
    #[inline]
    pub fn reads_enter(&self) -> bool {
        self.atomic.load(Ordering::Relaxed)
    }

    /// An atomic write is about to ask for its range: from now on reads enter.
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
        held.last += 1;
        let number = held.last;
        held.ranges.push(Range { number, start: offset, end: offset.saturating_add(len), stray: true });
        self.count.store(held.ranges.len(), Ordering::SeqCst);
        drop(held);
        self.barrier();
        // Not before: a lock that drains must find the range once the change is no longer counted.
        self.leave(core, ticket);
        Lock { number, old: None }
    }

    /// The holder of a range goes on without its task: reads wait for it, too.
    pub fn set_stray(&self, lock: &Lock) {
        for range in self.held().ranges.iter_mut().filter(|range| range.number == lock.number) {
            range.stray = true;
        }
    }

    /// The change is done.
    #[inline]
    pub fn leave(&self, core: usize, ticket: Ticket) {
        let busy = &self.busy[core].0[usize::from(ticket.0)];
        // Release: who sees the count go down sees the change.
        busy.store(busy.load(Ordering::Relaxed) - 1, Ordering::Release);
    }

    /// Asks for a range. `None`: it overlaps one that is held, or another lock is waiting: try again later. Otherwise the
    /// range is kept from all others from now on, and is its holder's once [`Fence::is_drained`] says so.
    pub fn lock(&self, offset: u64, len: u64) -> Option<Lock> {
        let mut held = self.held();
        let end = offset.saturating_add(len);
        if held.draining.is_some() || held.ranges.iter().any(|range| range.overlaps(offset, len)) {
            return None;
        }
        held.last += 1;
        let number = held.last;
        held.ranges.push(Range { number, start: offset, end, stray: false });
        held.draining = Some(number);
        self.count.store(held.ranges.len(), Ordering::SeqCst);
        let old = self.epoch.fetch_add(1, Ordering::SeqCst) & 1;
        drop(held);
        self.barrier();
        Some(Lock { number, old: Some(old as u8) })
    }

    /// Whether all changes that began before the lock are done.
    pub fn is_drained(&self, lock: &mut Lock) -> bool {
        if let Some(old) = lock.old {
            if self.busy.iter().any(|b| b.0[usize::from(old)].load(Ordering::Acquire) != 0) {
                return false;
            }
            lock.old = None;
            let mut held = self.held();
            if held.draining == Some(lock.number) {
                held.draining = None;
            }
        }
        // A change that was counted may have become a stray meanwhile.
        let held = self.held();
        let Some(own) = held.ranges.iter().find(|range| range.number == lock.number) else { return true };
        let mut others = held.ranges.iter().filter(|range| range.stray && range.number != own.number);
        !others.any(|range| range.overlaps(own.start, own.end - own.start))
    }

    /// Gives the range back, drained or not.
    pub fn unlock(&self, lock: Lock) {
        let mut held = self.held();
        if self.reads_enter()
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
        if held.draining == Some(lock.number) {
            held.draining = None;
        }
        self.count.store(held.ranges.len(), Ordering::SeqCst);
    }

    fn barrier(&self) {
        fence(Ordering::SeqCst);
        if self.asymmetric {
            membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        }
    }
}

fn register_barrier() -> bool {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0
}

#[allow(unsafe_code)]
fn membarrier(command: libc::c_int) -> libc::c_long {
    // SAFETY: the call takes no pointers; an unknown command is an error.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_held_range_keeps_changes_out_and_others_go_on() {
        let fence = Fence::new(1);
        let mut lock = fence.lock(4096, 4096).unwrap();
        assert!(fence.is_drained(&mut lock));
        assert_eq!(fence.enter(0, 8191, 1), None);
        let beside = fence.enter(0, 8192, 4096).unwrap();
        assert!(fence.lock(0, 8192).is_none());
        fence.leave(0, beside);
        fence.unlock(lock);
        let ticket = fence.enter(0, 4096, 1).unwrap();
        fence.leave(0, ticket);
    }

    #[test]
    fn a_lock_waits_for_what_has_begun() {
        let fence = Fence::new(2);
        let ticket = fence.enter(1, 0, 512).unwrap();
        let mut lock = fence.lock(0, 512).unwrap();
        assert!(!fence.is_drained(&mut lock));
        // One waits at a time.
        assert!(fence.lock(1 << 20, 512).is_none());
        fence.leave(1, ticket);
        assert!(fence.is_drained(&mut lock));
        let mut second = fence.lock(1 << 20, 512).unwrap();
        assert!(fence.is_drained(&mut second));
        fence.unlock(lock);
        fence.unlock(second);
    }

    #[test]
    fn a_stray_keeps_everybody_from_its_range() {
        let fence = Fence::new(2);
        let ticket = fence.enter(1, 4096, 4096).unwrap();
        let mut inside = fence.lock(8000, 4096).unwrap();
        assert!(!fence.is_drained(&mut inside));
        let stray = fence.keep(1, ticket, 4096, 4096);
        assert!(!fence.is_drained(&mut inside), "the change is not counted any more, and still not over");
        assert!(fence.has_stray(8191, 1) && !fence.has_stray(8192, 4096) && !fence.has_stray(0, 4096));
        assert_eq!((fence.enter(0, 4096, 1), fence.enter(1, 0, 4097)), (None, None));
        // Elsewhere others come and go, locks too.
        let mut beside = fence.lock(1 << 20, 512).unwrap();
        assert!(fence.is_drained(&mut beside));
        fence.unlock(beside);
        let ticket = fence.enter(0, 0, 4096).unwrap();
        fence.leave(0, ticket);
        fence.unlock(stray);
        assert!(fence.is_drained(&mut inside) && !fence.has_stray(0, u64::MAX));
        fence.set_stray(&inside);
        assert!(fence.has_stray(8000, 1));
        fence.unlock(inside);
    }

    #[test]
    fn a_read_in_parts_learns_what_came_between() {
        let change = |fence: &Fence, offset, len| {
            let mut lock = fence.lock(offset, len).unwrap();
            assert!(fence.is_drained(&mut lock));
            fence.unlock(lock);
        };
        let fence = Fence::new(1);
        change(&fence, 0, 1 << 20);
        assert_eq!((fence.reads_enter(), fence.given_back()), (false, 0));
        fence.expect_atomic();
        let before = fence.given_back();
        change(&fence, 0, 4096);
        change(&fence, 4096, 4096);
        assert!(fence.reads_enter() && !fence.is_torn(before, 4096), "one of each side");
        let before = fence.given_back();
        change(&fence, 4095, 2);
        assert!(fence.is_torn(before, 4096) && !fence.is_torn(before, 4095) && !fence.is_torn(before, 4097));
        assert!(!fence.is_torn(fence.given_back(), 4096), "a read that begins now");
        let before = fence.given_back();
        (0..FENCE_LOG).for_each(|_| change(&fence, 1 << 20, 512));
        assert!(!fence.is_torn(before, 4096));
        change(&fence, 1 << 20, 512);
        assert!(fence.is_torn(before, 4096), "nobody knows any more");
    }

    /// Threads add one to a counter, each under the lock or as a change; a plain, torn-prone read-modify-write shows when
    /// two are inside at once.
    #[test]
    fn nobody_is_inside_with_the_holder() {
        const CORES: usize = 3;
        let fence = Arc::new(Fence::new(CORES));
        let (inside, bad) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let stop = Arc::new(AtomicBool::new(false));
        let changers: Vec<_> = (1..CORES)
            .map(|core| {
                let (fence, inside, stop) = (fence.clone(), inside.clone(), stop.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if let Some(ticket) = fence.enter(core, 0, 8) {
                            inside.fetch_add(1, Ordering::Relaxed);
                            inside.fetch_sub(1, Ordering::Relaxed);
                            fence.leave(core, ticket);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2_000 {
            let mut lock = loop {
                if let Some(lock) = fence.lock(0, 8) {
                    break lock;
                }
            };
            while !fence.is_drained(&mut lock) {
                std::hint::spin_loop();
            }
            if inside.load(Ordering::SeqCst) != 0 {
                bad.store(true, Ordering::Relaxed);
            }
            fence.unlock(lock);
        }
        stop.store(true, Ordering::Relaxed);
        for changer in changers {
            changer.join().unwrap();
        }
        assert!(!bad.load(Ordering::Relaxed));
    }
}
