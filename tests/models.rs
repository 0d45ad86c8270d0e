//! What is lock-free between cores, in every order that its steps can come in: the source files themselves, built on loom's
//! types instead of those of the standard library.

/// What `src/shard/atomics.rs` is to the server. membarrier(2) is to both sides what a full fence in each is.
#[allow(dead_code)]
mod atomics {
    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub use loom::sync::{Mutex, MutexGuard};

    pub struct Barrier;

    impl Barrier {
        pub fn new() -> Barrier {
            Barrier
        }

        pub fn often(&self) {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }

        pub fn seldom(&self) {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }
    }
}

mod limits {
    pub const FENCE_LOG: usize = 2;
}

#[allow(dead_code)]
#[path = "../src/shard/fence.rs"]
mod fence;

use fence::Fence;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// Blocks under the fence: loom fails when a change of it is beside another access.
struct Disk {
    fence: Fence,
    block: UnsafeCell<u32>,
}

#[allow(unsafe_code)]
// SAFETY: the fence is to rule out what would not be safe; loom looks whether it does.
unsafe impl Sync for Disk {}

impl Disk {
    fn new(cores: usize) -> Arc<Disk> {
        Arc::new(Disk { fence: Fence::new(cores), block: UnsafeCell::new(0) })
    }

    fn change(&self) {
        self.block.with_mut(|_| ());
    }

    /// A command that tries once, and gives its turn up where a real one would wait.
    fn enter_once(&self, core: usize) {
        if let Some(ticket) = self.fence.enter(core, 0, 1) {
            self.change();
            self.fence.leave(core, ticket);
        }
    }

    /// Looks as often as `looks` says, then gives up, drained or not: an aborted COMPARE AND WRITE.
    fn lock_once(&self, looks: usize) {
        if let Some(lock) = self.fence.lock(0, 1) {
            if (0..looks).any(|_| self.fence.is_drained(&lock)) {
                self.change();
            }
            self.fence.unlock(lock);
        }
    }
}

fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

#[test]
fn a_holder_is_alone_with_changes_on_another_core() {
    model(3, || {
        let disk = Disk::new(1);
        let other = Arc::clone(&disk);
        let changes = thread::spawn(move || {
            other.enter_once(0);
            other.enter_once(0);
        });
        disk.lock_once(2);
        disk.lock_once(2);
        changes.join().unwrap();
    });
}

/// Locks are given up undrained, the epoch moves on, and a change reads it and counts itself much later.
#[test]
fn a_holder_is_alone_whoever_gave_up_before() {
    model(2, || {
        let disk = Disk::new(2);
        let [one, two] = [Arc::clone(&disk), Arc::clone(&disk)];
        let changes = thread::spawn(move || one.enter_once(0));
        let others = thread::spawn(move || {
            two.lock_once(0);
            two.lock_once(1);
        });
        disk.lock_once(1);
        disk.lock_once(1);
        changes.join().unwrap();
        others.join().unwrap();
    });
}

/// The change outlives its task; its block is free when it is over.
#[test]
fn a_holder_is_alone_with_strays() {
    model(3, || {
        let disk = Disk::new(1);
        let other = Arc::clone(&disk);
        let stray = thread::spawn(move || {
            if let Some(ticket) = other.fence.enter(0, 0, 1) {
                let kept = other.fence.keep(0, ticket, 0, 1);
                other.change();
                other.fence.unlock(kept);
            }
        });
        disk.lock_once(2);
        disk.lock_once(2);
        stray.join().unwrap();
    });
}
