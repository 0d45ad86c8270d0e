//! What is lock-free between cores, in every order that its steps can come in: the source files themselves, built on loom's
//! types instead of those of the standard library.

/// What `src/atomics.rs` is to the server. membarrier(2) is to both sides what a full fence in each is.
#[allow(dead_code)]
mod atomics {
    use loom::sync::atomic::fence;
    pub use loom::sync::atomic::{AtomicPtr, Ordering};
    pub use loom::sync::{Mutex, MutexGuard};

    /// loom takes SeqCst of a single access for AcqRel, and knows fences: between two of them an access is at least what was
    /// asked for.
    macro_rules! atomic {
        ($name:ident, $value:ty $(, $arithmetic:ident)*) => {
            #[derive(Default)]
            pub struct $name(loom::sync::atomic::$name);

            impl $name {
                pub fn new(value: $value) -> Self {
                    $name(loom::sync::atomic::$name::new(value))
                }

                fn fenced<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
                    if order == Ordering::SeqCst {
                        fence(order);
                    }
                    let value = access();
                    if order == Ordering::SeqCst {
                        fence(order);
                    }
                    value
                }

                pub fn load(&self, order: Ordering) -> $value {
                    Self::fenced(order, || self.0.load(order))
                }

                pub fn store(&self, value: $value, order: Ordering) {
                    Self::fenced(order, || self.0.store(value, order));
                }

                pub fn swap(&self, value: $value, order: Ordering) -> $value {
                    Self::fenced(order, || self.0.swap(value, order))
                }

                pub fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    order: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    Self::fenced(order, || self.0.compare_exchange(current, new, order, failure))
                }

                $(pub fn $arithmetic(&self, value: $value, order: Ordering) -> $value {
                    Self::fenced(order, || self.0.$arithmetic(value, order))
                })*
            }
        };
    }
    atomic!(AtomicBool, bool);
    atomic!(AtomicU32, u32, fetch_add, fetch_sub);
    atomic!(AtomicU64, u64, fetch_add, fetch_sub);
    atomic!(AtomicUsize, usize, fetch_add, fetch_sub);

    #[derive(Default)]
    pub struct Barrier(());

    impl Barrier {
        pub fn often(&self) {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }

        pub fn seldom(&self) {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }
    }
}

/// What `src/fabric/bell.rs` is to the server: an eventfd, and the core's ring that reads it.
mod bell {
    use loom::sync::{Condvar, Mutex};
    use std::io;

    pub struct Bell(Mutex<u64>, Condvar);

    impl Bell {
        pub fn new() -> io::Result<Bell> {
            Ok(Bell(Mutex::new(0), Condvar::new()))
        }

        pub fn ring(&self) {
            *self.0.lock().unwrap() += 1;
            self.1.notify_one();
        }

        /// How often it was rung. Never comes back if nobody rings, which loom calls a deadlock.
        pub fn wait(&self) -> u64 {
            let mut rung = self.0.lock().unwrap();
            while *rung == 0 {
                rung = self.1.wait(rung).unwrap();
            }
            std::mem::take(&mut *rung)
        }
    }
}

mod limits {
    pub const FENCE_LOG: usize = 2;
}

#[allow(dead_code)]
mod model {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum MediumFault {
        Read,
        Write,
    }
}

#[allow(dead_code)]
#[path = "../src/unit/fence.rs"]
mod fence;
#[allow(dead_code)]
#[path = "../src/fabric/mailbox.rs"]
mod mailbox;
#[allow(dead_code)]
#[path = "../src/backend/returns.rs"]
mod returns;
#[allow(dead_code)]
#[path = "../src/unit/syncs.rs"]
mod syncs;

use atomics::{AtomicBool, Ordering};
use bell::Bell;
use fence::Fence;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use mailbox::Mailbox;
use model::MediumFault;
use returns::{Node, Returns};
use syncs::Syncs;

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

/// Reads are under way when the first atomic write is asked for.
#[test]
fn no_read_is_beside_an_atomic_write() {
    model(3, || {
        let disk = Disk::new(1);
        let other = Arc::clone(&disk);
        let reads = thread::spawn(move || {
            for part in 0..2 {
                let ticket = if part == 0 { other.fence.enter_sent(0) } else { other.fence.enter_read(0, 0, 1) };
                if let Some(ticket) = ticket {
                    other.block.with(|_| ());
                    other.fence.leave(0, ticket);
                }
            }
        });
        disk.fence.expect_atomic();
        disk.lock_once(2);
        disk.lock_once(2);
        reads.join().unwrap();
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

/// A core that sleeps until its bell rings, as the real one does: its ring reads the bell again before it looks.
fn collect<M>(mailbox: &Mailbox<M>, bell: impl Fn() -> u64, all: usize) -> Vec<M> {
    let mut messages = Vec::new();
    while messages.len() < all {
        assert!(bell() <= 2, "rung for messages that it was rung for already");
        messages.extend(mailbox.take());
    }
    messages
}

#[test]
fn a_mailbox_wakes_its_core_for_every_message_and_gives_each_once_in_order() {
    model(3, || {
        let mailbox = Arc::new(Mailbox::new().unwrap());
        let posters = [[10, 11], [20, 21]].map(|messages| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || messages.map(|message| mailbox.post(message)))
        });
        let taken = collect(&mailbox, || mailbox.bell().wait(), 4);
        for (who, poster) in posters.into_iter().enumerate() {
            poster.join().unwrap();
            let of_one: Vec<_> = taken.iter().filter(|message| **message / 10 == who + 1).collect();
            assert_eq!(of_one, [&(who * 10 + 10), &(who * 10 + 11)]);
        }
        assert!(mailbox.is_empty());
    });
}

/// A core that looks without having been woken, as at the end of its loop, and then sleeps.
#[test]
fn a_core_that_looks_early_is_woken_for_what_comes_later() {
    model(3, || {
        let mailbox = Arc::new(Mailbox::new().unwrap());
        let other = Arc::clone(&mailbox);
        let poster = thread::spawn(move || (1..=3).for_each(|message| other.post(message)));
        let early = mailbox.take();
        let late = collect(&mailbox, || mailbox.bell().wait(), 3 - early.len());
        assert_eq!([early, late].concat(), [1, 2, 3]);
        poster.join().unwrap();
    });
}

/// What a cell of loom holds, which says if anybody else uses it.
#[allow(unsafe_code)]
fn read(cell: *const usize) -> usize {
    // SAFETY: the pointer is that of the cell that it was just asked of.
    unsafe { *cell }
}

/// Threads of a medium answer a core, each with a bell for what it finds empty: every answer comes, once, with what is in it,
/// those of one thread in their order.
#[test]
fn a_core_is_woken_for_every_answer_and_gets_each_once_in_order() {
    model(3, || {
        let (returns, bell) = (Arc::new(Returns::new()), Arc::new(Bell::new().unwrap()));
        let threads = [[10, 11], [20, 21]].map(|answers| {
            let (returns, bell) = (Arc::clone(&returns), Arc::clone(&bell));
            thread::spawn(move || {
                for answer in answers {
                    if returns.put(Box::new(Node::new(UnsafeCell::new(answer)))) {
                        bell.ring();
                    }
                }
            })
        });
        let mut taken = Vec::new();
        while taken.len() < 4 {
            bell.wait();
            taken.extend(returns.take().map(|node| node.value.with(read)));
        }
        for (who, thread) in threads.into_iter().enumerate() {
            thread.join().unwrap();
            let of_one: Vec<_> = taken.iter().filter(|answer| **answer / 10 == who + 1).collect();
            assert_eq!(of_one, [&(who * 10 + 10), &(who * 10 + 11)]);
        }
        assert!(returns.take().next().is_none());
    });
}

/// A core ends while it is answered: an answer is taken or dropped, and nothing is kept.
#[test]
fn an_answer_to_a_core_that_ends_is_taken_or_dropped() {
    model(3, || {
        let (returns, alive) = (Arc::new(Returns::new()), std::sync::Arc::new(()));
        let (other, kept) = (Arc::clone(&returns), std::sync::Arc::clone(&alive));
        let thread = thread::spawn(move || {
            for _ in 0..2 {
                other.put(Box::new(Node::new(std::sync::Arc::clone(&kept))));
            }
        });
        drop(returns.close());
        thread.join().unwrap();
        assert!(returns.take().next().is_none());
        assert_eq!(std::sync::Arc::strong_count(&alive), 1);
    });
}

/// The kernel's one report of a loss: whoever asks next is told, and nobody after that.
struct Medium {
    syncs: Syncs,
    report: AtomicBool,
}

impl Medium {
    fn new(cores: usize) -> Arc<Medium> {
        Arc::new(Medium { syncs: Syncs::new(cores), report: AtomicBool::new(false) })
    }

    fn ask(&self) {
        if self.report.swap(false, Ordering::SeqCst) {
            self.syncs.fail(MediumFault::Write);
        }
    }

    fn durable_write(&self, core: usize) {
        let epoch = self.syncs.durable(core);
        self.ask();
        self.syncs.durable_over(core, epoch);
    }

    /// What the medium does of a flush whose turn it is.
    fn flush(&self) {
        self.ask();
        let drain = self.syncs.drain();
        while !self.syncs.is_drained(drain) {
            thread::yield_now();
        }
    }
}

/// Durable writes that fail take the one report of a loss away from the flush beside them. Whoever flushes must still
/// find it counted.
#[test]
fn no_report_is_missed_by_a_flush_beside_durable_writes() {
    model(3, || {
        let medium = Medium::new(1);
        let other = Arc::clone(&medium);
        let flushes = thread::spawn(move || {
            for failures in 1..=2 {
                assert!(!other.report.swap(true, Ordering::SeqCst));
                assert!(other.syncs.begin());
                other.flush();
                assert_eq!(other.syncs.end().count(), 0);
                assert_eq!(other.syncs.failures(), failures);
            }
        });
        medium.durable_write(0);
        medium.durable_write(0);
        flushes.join().unwrap();
    });
}

/// Cores that want a flush each: one at a time, and who waits for another core's is told when it ends. The steps are those of
/// `Executor::next_flush_step`.
#[test]
fn flushes_are_alone_and_nobody_waits_for_one_that_is_over() {
    struct Cores {
        medium: Arc<Medium>,
        is_flushing: AtomicBool,
        mailboxes: [Mailbox<()>; 2],
    }

    impl Cores {
        fn begin(&self, core: usize) -> bool {
            let begins = self.medium.syncs.begin();
            if begins {
                assert!(!self.is_flushing.swap(true, Ordering::Relaxed));
                self.medium.flush();
                self.is_flushing.swap(false, Ordering::Relaxed);
                self.medium.syncs.end().filter(|other| *other != core).for_each(|other| self.mailboxes[other].post(()));
            }
            begins
        }

        fn run(&self, core: usize) {
            let syncs = &self.medium.syncs;
            let after = syncs.begun();
            while !syncs.has_ended(after) {
                if self.begin(core) {
                    continue;
                }
                syncs.tell(core);
                if syncs.has_ended(after) || self.begin(core) {
                    continue;
                }
                self.mailboxes[core].bell().wait();
                self.mailboxes[core].take();
            }
        }
    }
    model(3, || {
        let mailboxes = [Mailbox::new().unwrap(), Mailbox::new().unwrap()];
        let cores = Arc::new(Cores { medium: Medium::new(2), is_flushing: AtomicBool::new(false), mailboxes });
        let other = Arc::clone(&cores);
        let second = thread::spawn(move || other.run(1));
        cores.run(0);
        second.join().unwrap();
    });
}
