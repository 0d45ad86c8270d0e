//! The fence of one unit. `tests/models.rs` goes through all orders of a few steps; this is for what is left.

use crate::limits::FENCE_LOG;
use crate::unit::fence::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[test]
fn a_held_range_keeps_changes_out_and_others_go_on() {
    let fence = Fence::new(1);
    let lock = fence.lock(4096, 4096).unwrap();
    assert!(fence.is_drained(&lock));
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
    let lock = fence.lock(0, 512).unwrap();
    assert!(!fence.is_drained(&lock));
    let second = fence.lock(1 << 20, 512).unwrap();
    assert!(!fence.is_drained(&second));
    fence.leave(1, ticket);
    assert!(fence.is_drained(&lock));
    assert!(fence.is_drained(&second));
    fence.unlock(lock);
    fence.unlock(second);
}

#[test]
fn a_lock_waits_for_what_has_begun_before_one_that_was_given_up() {
    let fence = Fence::new(2);
    let ticket = fence.enter(1, 0, 512).unwrap();
    let beside = fence.enter(0, 4096, 512).unwrap();
    for _ in 0..3 {
        let given_up = fence.lock(0, 512).unwrap();
        assert!(!fence.is_drained(&given_up));
        fence.unlock(given_up);
        let lock = fence.lock(0, 512).unwrap();
        assert!(!fence.is_drained(&lock));
        fence.unlock(lock);
    }
    let lock = fence.lock(0, 512).unwrap();
    fence.leave(0, beside);
    assert!(!fence.is_drained(&lock));
    fence.leave(1, ticket);
    assert!(fence.is_drained(&lock));
    fence.unlock(lock);
}

#[test]
fn reads_are_waited_for_by_atomic_writes_only() {
    let fence = Fence::new(2);
    let read = fence.enter_read(1, 0, 512).unwrap();
    let sent = fence.enter_sent(0).unwrap();
    let lock = fence.lock(0, 512).unwrap();
    assert!(fence.is_drained(&lock));
    let beside = fence.enter_read(0, 0, 512).unwrap();
    fence.leave(0, beside);
    fence.unlock(lock);
    fence.expect_atomic();
    assert_eq!(fence.enter_sent(0), None);
    let change = fence.enter(0, 4096, 512).unwrap();
    let lock = fence.lock(0, 512).unwrap();
    assert!(!fence.is_drained(&lock) && !fence.waits_for_reads(&lock), "for a change, too");
    assert_eq!(fence.enter_read(0, 0, 512), None);
    fence.leave(0, change);
    fence.leave(1, read);
    assert!(!fence.is_drained(&lock) && fence.waits_for_reads(&lock));
    fence.leave(0, sent);
    assert!(fence.is_drained(&lock) && !fence.waits_for_reads(&lock));
    fence.unlock(lock);
}

/// A peer that does not take what it has read keeps nothing else from coming to zero, whatever else is done meanwhile.
#[test]
fn a_read_that_does_not_end_keeps_no_change_counted() {
    let fence = Fence::new(1);
    let read = fence.enter_sent(0).unwrap();
    fence.expect_atomic();
    let mut change = fence.enter(0, 4096, 512).unwrap();
    for _ in 0..2 {
        let lock = fence.lock(0, 512).unwrap();
        for _ in 0..4 {
            assert!(!fence.is_drained(&lock));
            let next = fence.enter(0, 4096, 512).unwrap();
            fence.leave(0, change);
            change = next;
        }
        assert!(!fence.is_drained(&lock) && fence.waits_for_reads(&lock));
        fence.unlock(lock);
    }
    fence.leave(0, read);
    fence.leave(0, change);
}

/// Changes that always overlap each other: there is never a moment without one.
#[test]
fn a_lock_is_had_under_load() {
    let fence = Fence::new(1);
    let mut last = fence.enter(0, 0, 512).unwrap();
    let lock = fence.lock(4096, 512).unwrap();
    let looks = (0..10).take_while(|_| {
        let next = fence.enter(0, 0, 512).unwrap();
        fence.leave(0, std::mem::replace(&mut last, next));
        !fence.is_drained(&lock)
    });
    assert!(looks.count() < 5);
    fence.leave(0, last);
    fence.unlock(lock);
}

#[test]
fn a_stray_keeps_everybody_from_its_range() {
    let fence = Fence::new(2);
    let ticket = fence.enter(1, 4096, 4096).unwrap();
    let inside = fence.lock(8000, 4096).unwrap();
    assert!(!fence.is_drained(&inside));
    let stray = fence.keep(1, ticket, 4096, 4096);
    assert!(!fence.is_drained(&inside), "the change is not counted any more, and still not over");
    assert!(fence.has_stray(8191, 1) && !fence.has_stray(8192, 4096) && !fence.has_stray(0, 4096));
    assert_eq!((fence.enter(0, 4096, 1), fence.enter(1, 0, 4097)), (None, None));
    // Elsewhere others come and go, locks too.
    let beside = fence.lock(1 << 20, 512).unwrap();
    assert!(fence.is_drained(&beside));
    fence.unlock(beside);
    let ticket = fence.enter(0, 0, 4096).unwrap();
    fence.leave(0, ticket);
    fence.unlock(stray);
    assert!(fence.is_drained(&inside) && !fence.has_stray(0, u64::MAX));
    fence.set_stray(&inside);
    assert!(fence.has_stray(8000, 1));
    fence.unlock(inside);
}

#[test]
fn a_read_in_parts_learns_what_came_between() {
    let change = |fence: &Fence, offset, len| {
        let lock = fence.lock(offset, len).unwrap();
        assert!(fence.is_drained(&lock));
        fence.unlock(lock);
    };
    let fence = Fence::new(1);
    change(&fence, 0, 1 << 20);
    assert_eq!((fence.keeps_reads(), fence.given_back()), (false, 0));
    fence.expect_atomic();
    let before = fence.given_back();
    change(&fence, 0, 4096);
    change(&fence, 4096, 4096);
    assert!(fence.keeps_reads() && !fence.is_torn(before, 4096), "one of each side");
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
        let lock = loop {
            if let Some(lock) = fence.lock(0, 8) {
                break lock;
            }
        };
        while !fence.is_drained(&lock) {
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
