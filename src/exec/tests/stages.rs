//! What the time of a command is counted as: waiting in the target, at the medium, or with the network.

use super::local::{Command, Local};
use super::{BLOCK_BYTES, executor, unit};
use crate::backend::{FaultAction, FaultPlan, FaultRule};
use crate::exec::begin::Entry;
use crate::exec::executor::Executor;
use crate::limits::SLICE_BYTES;
use crate::model::{Host, SeatIx, TaskId, TaskKey, UnitIx};
use crate::scsi::{MediumOp, Outcome};
use crate::shares::Whose;
use crate::tasks::sink::{Expected, Given};
use crate::tasks::tally::{Class, UnitTraffic};
use std::time::Duration;

const SEAT: SeatIx = SeatIx::new(0);
const DISK: UnitIx = UnitIx::new(0);
const BYTES: u32 = 8 * BLOCK_BYTES;
const MS: u64 = 1_000_000;

/// An executor whose medium answers when it is told to.
struct Bench {
    executor: Executor,
    local: Local,
    now_ms: u64,
}

impl Bench {
    fn new() -> Bench {
        let plan = FaultPlan::new().rule(FaultRule::new(FaultAction::Delay(Duration::ZERO)));
        let mut executor = executor(vec![unit(2048, plan)]);
        let peer = "192.0.2.1:3260".parse().unwrap();
        executor.open(SEAT, (Whose::of(1, peer), Host::of(peer)), "iqn.2026-11.io.ringsan:local");
        Bench { executor, local: Local::default(), now_ms: 0 }
    }

    /// A turn at that time: what waits goes on, and what has ended is counted when it is half a millisecond older.
    fn turn(&mut self, now_ms: u64, does: impl FnOnce(&mut Bench)) {
        self.now_ms = now_ms;
        (self.executor.turn.now_ms, self.executor.turn.now_ns) = (now_ms, now_ms * MS);
        self.executor.tally.turn(now_ms * MS);
        does(self);
        (0..4).for_each(|_| self.executor.run_jobs(|_| (), |_| true, &mut self.local));
        self.executor.feed_starved(&mut self.local);
        self.executor.retry_held(&mut self.local);
        self.executor.tally.settle(now_ms * MS + MS / 2, |_| ());
    }

    /// A command comes, with its data if it is `whole`.
    fn begin(&mut self, slot: u32, op: MediumOp, write_bytes: u32, whole: bool) -> TaskKey {
        let who = TaskKey { seat: SEAT, task: TaskId(slot) };
        let out = vec![0; write_bytes as usize];
        let received_bytes = if whole { write_bytes } else { 0 };
        let expected = Expected { read_bytes: 1 << 20, write_bytes, received_bytes };
        let command = Command {
            expected,
            out: out.clone(),
            wanted: received_bytes,
            got: Vec::new(),
            end: None,
            is_aborted: false,
            is_released: false,
        };
        self.local.commands.insert(who, command);
        assert_eq!(self.executor.enter(who), Entry::Free);
        let given = Given { expected, inline: whole.then_some(&out) };
        self.executor.medium(who, DISK, op, given, &mut self.local);
        who
    }

    fn write(&mut self, slot: u32, whole: bool) -> TaskKey {
        self.begin(slot, MediumOp::Write { lba: 0, blocks: 8, fua: false }, BYTES, whole)
    }

    /// The data of a write comes.
    fn data(&mut self, who: TaskKey) {
        assert_eq!(self.local.commands[&who].wanted, BYTES, "it is asked for");
        self.executor.place(who, 0, &[0; BYTES as usize], &mut self.local);
        self.executor.data_out(who, BYTES, &mut self.local);
    }

    /// The medium answers what it was asked first.
    fn answer(&mut self) {
        let token = self.local.pending.remove(0);
        self.executor.medium_completed(token, -libc::ETIME, &mut self.local);
    }

    fn is_good(&self, who: TaskKey) -> bool {
        self.local.commands[&who].end == Some(Outcome::GOOD)
    }

    fn counted(&self, class: Class) -> (u64, u64, [u64; 3]) {
        let at = class as usize;
        let UnitTraffic { commands, took_us, spent_us, .. } = self.executor.tally.traffic.units.all()[0];
        (commands[at], took_us[at], spent_us[at])
    }
}

#[test]
fn a_read_is_at_the_medium_until_that_has_answered() {
    let mut bench = Bench::new();
    let op = MediumOp::Read { lba: 0, blocks: 8, fua: false };
    bench.turn(10, |bench| _ = bench.begin(0, op, 0, true));
    bench.turn(15, Bench::answer);
    assert_eq!(bench.counted(Class::Read), (1, 5_500, [0, 5_000, 500]));
}

#[test]
fn a_read_whose_data_finds_no_room_waits_for_the_network() {
    let mut bench = Bench::new();
    let op = MediumOp::Read { lba: 0, blocks: 8, fua: false };
    bench.turn(10, |bench| _ = bench.begin(0, op, 0, true));
    bench.local.is_full = true;
    bench.turn(15, Bench::answer);
    bench.local.is_full = false;
    bench.turn(35, |bench| bench.executor.has_room(SEAT, 0, &mut bench.local));
    assert_eq!(bench.counted(Class::Read), (1, 25_500, [0, 5_000, 20_500]));
}

#[test]
fn a_read_in_parts_is_at_the_medium_as_long_as_one_of_them_is() {
    let mut bench = Bench::new();
    let op = MediumOp::Read { lba: 0, blocks: 2 * SLICE_BYTES as u32 / BLOCK_BYTES, fua: false };
    bench.turn(10, |bench| _ = bench.begin(0, op, 0, true));
    assert_eq!(bench.local.pending.len(), 2);
    bench.local.is_full = true;
    bench.turn(15, Bench::answer);
    bench.turn(18, Bench::answer);
    bench.local.is_full = false;
    bench.turn(30, |bench| bench.executor.has_room(SEAT, 0, &mut bench.local));
    assert_eq!(bench.counted(Class::Read), (1, 20_500, [0, 8_000, 12_500]));
}

#[test]
fn a_write_waits_for_its_data_with_the_network() {
    let mut bench = Bench::new();
    let mut who = None;
    bench.turn(10, |bench| who = Some(bench.write(0, false)));
    let who = who.unwrap();
    bench.turn(13, |bench| bench.data(who));
    assert!(!bench.is_good(who));
    bench.turn(20, Bench::answer);
    assert!(bench.is_good(who));
    assert_eq!(bench.counted(Class::Write), (1, 10_500, [0, 7_000, 3_500]));
}

#[test]
fn a_write_waits_for_a_buffer_in_the_queue() {
    let mut bench = Bench::new();
    let account = bench.executor.account(SEAT);
    let held: Vec<_> = std::iter::from_fn(|| account.take(SLICE_BYTES)).chain(account.take(4096)).collect();
    let small: Vec<_> = std::iter::from_fn(|| account.take(BYTES as usize)).collect();
    let failures = bench.executor.arena.failures();
    let mut who = None;
    bench.turn(10, |bench| who = Some(bench.write(0, false)));
    let who = who.unwrap();
    assert_eq!(bench.local.commands[&who].wanted, 0, "it has no buffer");
    assert!(bench.executor.arena.failures() > failures);
    drop((held, small));
    bench.turn(14, |_| ());
    bench.turn(16, |bench| bench.data(who));
    bench.turn(17, Bench::answer);
    assert!(bench.is_good(who));
    assert_eq!(bench.counted(Class::Write), (1, 7_500, [4_000, 1_000, 2_500]));
}

#[test]
fn a_write_waits_for_its_range_in_the_queue_and_a_job_is_at_the_medium() {
    let mut bench = Bench::new();
    let (mut first, mut second) = (None, None);
    let op = MediumOp::CompareAndWrite { lba: 0, blocks: 4, fua: false };
    bench.turn(10, |bench| first = Some(bench.begin(0, op, BYTES, true)));
    bench.turn(11, |bench| second = Some(bench.write(1, true)));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(bench.local.pending.len(), 1, "the write waits");
    // What it compares with, and what it writes.
    bench.turn(15, Bench::answer);
    bench.turn(18, Bench::answer);
    assert!(bench.is_good(first) && !bench.is_good(second));
    bench.turn(19, |_| ());
    bench.turn(22, Bench::answer);
    assert!(bench.is_good(second));
    let (commands, took_us, [queue, medium, network]) = bench.counted(Class::Write);
    assert_eq!((commands, took_us, network), (1, 11_500, 500));
    // It had its range in the turn in which the other one was over, or in the next one.
    assert!([(7_000, 4_000), (8_000, 3_000)].contains(&(queue, medium)), "{queue} {medium}");
    assert_eq!(bench.counted(Class::Other), (1, 8_500, [0, 8_000, 500]));
}

#[test]
fn a_job_that_waits_for_its_range_is_in_the_queue() {
    let mut bench = Bench::new();
    let (mut first, mut second) = (None, None);
    bench.turn(10, |bench| first = Some(bench.write(0, true)));
    let op = MediumOp::CompareAndWrite { lba: 0, blocks: 4, fua: false };
    bench.turn(12, |bench| second = Some(bench.begin(1, op, BYTES, true)));
    let (first, second) = (first.unwrap(), second.unwrap());
    bench.turn(20, Bench::answer);
    assert!(bench.is_good(first));
    bench.turn(21, |_| ());
    bench.turn(24, Bench::answer);
    bench.turn(27, Bench::answer);
    assert!(bench.is_good(second));
    let (commands, took_us, [queue, medium, network]) = bench.counted(Class::Other);
    assert_eq!((commands, took_us, network), (1, 15_500, 500));
    assert!((8_000..=9_000).contains(&queue) && queue + medium == 15_000, "{queue} {medium}");
}

#[test]
fn a_flush_is_at_the_medium() {
    let mut bench = Bench::new();
    bench.turn(10, |bench| _ = bench.begin(0, MediumOp::Flush { immed: false }, 0, true));
    if bench.local.pending.is_empty() {
        bench.turn(10, |_| ());
    }
    bench.turn(40, Bench::answer);
    bench.turn(41, |_| ());
    let (commands, _, [queue, medium, _]) = bench.counted(Class::Flush);
    assert_eq!((commands, queue), (1, 0));
    assert!((30_000..=31_000).contains(&medium), "{medium}");
}

#[test]
fn what_has_not_waited_is_in_no_stage() {
    let mut bench = Bench::new();
    bench.turn(10, |bench| {
        bench.write(0, true);
        bench.answer();
    });
    assert_eq!(bench.counted(Class::Write), (1, 500, [0; 3]));
}
