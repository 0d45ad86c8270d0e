//! The suite, what is special about this medium, and histories in which operations end in any order.

use super::*;
use crate::backend::conformance::{SIZE_BYTES, suite};
use crate::backend::testing::{Pages, Tamper, Tokens, spec};
use crate::backend::{Handle, Medium, WayIn};

const BLOCK: usize = 512;
const BLOCKS: usize = 8;

fn medium(size_bytes: u64, block_bytes: u32) -> Arc<Medium> {
    Arc::new(Medium::open(&spec(kind("disk"), Some(size_bytes), block_bytes)).expect("memory"))
}

/// Keeps the entries that it is given.
#[derive(Default)]
struct Entries(Vec<Entry>);

impl Queue for Entries {
    fn push(&mut self, entry: Entry, _: Token) {
        self.0.push(entry);
    }

    fn batch(&self) -> u64 {
        0
    }
}

/// A disk of a few blocks, one core's access to it, and that core's memory: a block for each token.
struct Bench {
    disk: Disk,
    handle: Handle,
    pages: Pages,
    pushed: Vec<Token>,
}

impl Bench {
    fn new() -> Bench {
        forget();
        let medium = medium((BLOCKS * BLOCK) as u64, BLOCK as u32);
        let disk = disk("disk").expect("one that was opened");
        Bench { disk, handle: medium.handle(&WayIn::new(|| ())), pages: Pages::new(32 * BLOCK), pushed: Vec::new() }
    }

    fn start(&mut self, token: u32, op: Op) {
        assert_eq!(self.handle.start(op, Token(token), &mut Tokens(&mut self.pushed)), Started::Pending);
    }

    /// A write of `count` blocks from `block` on, whose blocks are all `value`.
    fn write(&mut self, token: u32, (block, count): (usize, usize), value: u8, durable: bool) {
        let at = token as usize * BLOCK;
        self.pages.bytes()[at..at + count * BLOCK].fill(value);
        let buffer = self.pages.buffer(at, count * BLOCK, None);
        self.start(token, Op::Write { offset: (block * BLOCK) as u64, buffer, durable });
    }

    fn read(&mut self, token: u32, block: usize) {
        let buffer = self.pages.buffer(token as usize * BLOCK, BLOCK, None);
        self.start(token, Op::Read { offset: (block * BLOCK) as u64, buffer });
    }

    fn complete(&mut self, token: u32, result: i32) -> Option<Result<(), MediumFault>> {
        self.handle.complete(Token(token), result, &mut Tokens(&mut self.pushed))
    }

    /// The number of what was started last.
    fn last(&self) -> u64 {
        self.disk.pending().iter().map(|pending| pending.number).max().expect("something under way")
    }
}

/// The first byte of each block.
fn values(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(BLOCK).map(|block| block[0]).collect()
}

#[test]
fn it_conforms() {
    for block_bytes in [512, 4096] {
        for tamper in [Tamper::Nothing, Tamper::Interrupt] {
            forget();
            suite(&medium(SIZE_BYTES, block_bytes), false, tamper);
        }
    }
}

#[test]
fn an_entry_tells_its_operation() {
    let mut bench = Bench::new();
    let mut entries = Entries::default();
    let op = Op::Discard { offset: BLOCK as u64, len: 2 * BLOCK as u64 };
    assert_eq!(bench.handle.start(op, Token(3), &mut entries), Started::Pending);
    let (disk, pending) = operation(&entries.0[0]).expect("an operation");
    assert_eq!((pending.token, pending.work, pending.offset, pending.len), (Token(3), Work::Discard, 512, 1024));
    assert_eq!(disk.pending(), [pending]);
    assert!(operation(&Nop::new().build()).is_none());
    assert_eq!(bench.handle.complete(Token(3), 0, &mut entries), Some(Ok(())));
    assert!(operation(&entries.0[0]).is_none() && disk.pending().is_empty());
    assert_eq!(bench.complete(3, 0), Some(Err(MediumFault::Internal(libc::EINVAL))));
}

#[test]
fn what_fails_was_done_as_the_dice_say() {
    let mut bench = Bench::new();
    bench.write(0, (0, 4), 7, true);
    let number = bench.last();
    bench.disk.part(number, |block| block % 2 == 1);
    assert_eq!(bench.complete(0, -libc::ENOSPC), Some(Err(MediumFault::OutOfSpace)));
    assert_eq!(values(&bench.disk.current()), [0, 7, 0, 7, 0, 0, 0, 0]);
    assert_eq!((bench.disk.unstable(), values(&bench.disk.stable())), (2, vec![0; BLOCKS]));
    bench.read(0, 1);
    assert_eq!(bench.complete(0, -libc::EIO), Some(Err(MediumFault::Read)));
}

#[test]
fn what_is_short_goes_on() {
    let mut bench = Bench::new();
    bench.write(0, (0, 4), 7, true);
    for (result, expected) in [(100, [0, 0, 0, 0]), (700, [7, 0, 0, 0]), (-libc::EINTR, [7, 0, 0, 0])] {
        assert_eq!(bench.complete(0, result), None);
        assert_eq!(values(&bench.disk.current())[..4], expected);
    }
    assert_eq!(bench.complete(0, 1536), Some(Ok(())));
    assert_eq!((bench.pushed.len(), values(&bench.disk.stable())[..4].to_vec()), (4, vec![7; 4]));
}

#[test]
fn a_flush_is_of_what_was_over_before_it() {
    let mut bench = Bench::new();
    bench.write(0, (0, 2), 1, false);
    assert_eq!(bench.complete(0, 0), Some(Ok(())));
    bench.start(1, Op::Flush);
    bench.write(0, (1, 2), 2, false);
    assert_eq!(bench.complete(0, 0), Some(Ok(())));
    assert_eq!(bench.complete(1, 0), Some(Ok(())));
    assert_eq!(values(&bench.disk.stable())[..3], [1, 1, 0]);
    let mut dice = Vec::new();
    bench.disk.lose_power(|block| {
        dice.push(block);
        block == 2
    });
    assert_eq!((dice, &values(&bench.disk.current())[..3]), (vec![1, 2], &[1, 1, 2][..]));
    assert_eq!((bench.disk.unstable(), bench.disk.stable()), (0, bench.disk.current()));
}

#[test]
fn what_is_lost_is_told_once() {
    let mut bench = Bench::new();
    bench.write(0, (0, 3), 1, false);
    assert_eq!(bench.complete(0, 0), Some(Ok(())));
    bench.start(1, Op::Flush);
    bench.start(2, Op::Flush);
    let fates = [Fate::Kept, Fate::Stale, Fate::Gone];
    bench.disk.lose(|block| fates[block as usize]);
    assert_eq!(values(&bench.disk.current())[..3], [1, 1, 0]);
    assert_eq!(bench.complete(1, 0), Some(Err(MediumFault::Write)));
    assert_eq!(values(&bench.disk.stable())[..3], [0, 0, 0]);
    assert_eq!(bench.complete(2, 0), Some(Ok(())));
    bench.start(2, Op::Flush);
    assert_eq!(bench.complete(2, 0), Some(Ok(())));
    assert_eq!(values(&bench.disk.stable())[..3], [1, 0, 0], "what is stale is not written any more");
    bench.disk.lose_power(|_| false);
    assert_eq!(values(&bench.disk.current())[..3], [1, 0, 0]);
}

#[test]
fn a_durable_write_is_stable_whatever_became_of_its_parts() {
    let mut bench = Bench::new();
    bench.write(0, (0, 2), 1, true);
    let number = bench.last();
    bench.disk.part(number, |block| block == 0);
    bench.disk.lose_power(|_| false);
    assert_eq!(values(&bench.disk.current())[..2], [0, 0]);
    assert_eq!(bench.complete(0, 0), Some(Ok(())));
    assert_eq!(values(&bench.disk.stable())[..2], [1, 1]);
    assert_eq!((bench.disk.unstable(), bench.disk.current()), (0, bench.disk.stable()));
}

#[test]
fn a_disk_outlives_its_medium_and_has_nothing_to_do_with_others() {
    let mut bench = Bench::new();
    bench.write(0, (0, 1), 1, true);
    assert_eq!(bench.complete(0, 0), Some(Ok(())));
    bench.write(0, (1, 1), 2, true);
    let Bench { disk, handle, .. } = bench;
    drop(handle);
    assert!(disk.pending().is_empty(), "nobody answers it, and its memory may be gone");
    let size_bytes = (BLOCKS * BLOCK) as u64;
    let again = medium(size_bytes, BLOCK as u32);
    assert_eq!(again.allocated(0, size_bytes).expect("an answer"), (true, BLOCK as u64));
    assert_eq!(again.allocated(BLOCK as u64, BLOCK as u64).expect("an answer"), (false, BLOCK as u64));
    assert!(again.lasts() && !again.is_durable_write());
    let other = spec(kind("other"), Some(size_bytes), BLOCK as u32);
    let other = Medium::open(&other).expect("memory").allocated(0, size_bytes).expect("an answer");
    assert_eq!(other, (false, size_bytes));
    assert!(Medium::open(&spec(kind("disk"), Some(2 * size_bytes), BLOCK as u32)).is_err());
}

/// A write of one block, as a checker sees it: times are numbers of steps.
struct Written {
    block: usize,
    start: u64,
    end: Option<u64>,
    /// It outlives a loss of power.
    is_stable: bool,
}

/// Writes of one history, by their value less one.
#[derive(Default)]
struct Checker(Vec<Written>);

impl Checker {
    /// `value` was found in `block`, which is to be as new as the writes that are `known`.
    fn check(&self, block: usize, value: u8, known: impl Fn(&Written) -> bool) {
        let found = value.checked_sub(1).map(|at| &self.0[usize::from(at)]);
        assert!(found.is_none_or(|found| found.block == block), "{value} is not of block {block}");
        let end = found.map_or(Some(0), |found| found.end);
        let newer = self.0.iter().filter(|each| each.block == block && known(each));
        assert!(
            newer.into_iter().all(|each| end.is_none_or(|end| end >= each.start)),
            "block {block} has {value} again"
        );
    }
}

#[derive(Clone, Copy)]
enum Doing {
    Nothing,
    Write(usize, bool),
    Read(usize, u64),
    Flush(u64),
}

/// One history of 200 steps: what reads find, and at the end what is left after a loss of power.
fn history(mut seed: u64) {
    let mut dice = move |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    let (mut bench, mut checker, mut doing) = (Bench::new(), Checker::default(), [Doing::Nothing; 6]);
    for step in 1..=200 {
        let token = dice(6) as u32;
        match (doing[token as usize], dice(8)) {
            (Doing::Nothing, 0..5) => {
                let (block, durable) = (dice(BLOCKS as u64) as usize, dice(4) == 0);
                checker.0.push(Written { block, start: step, end: None, is_stable: false });
                bench.write(token, (block, 1), checker.0.len() as u8, durable);
                doing[token as usize] = Doing::Write(checker.0.len() - 1, durable);
            }
            (Doing::Nothing, 5..7) => {
                let block = dice(BLOCKS as u64) as usize;
                bench.read(token, block);
                doing[token as usize] = Doing::Read(block, step);
            }
            (Doing::Nothing, _) => {
                bench.start(token, Op::Flush);
                doing[token as usize] = Doing::Flush(step);
            }
            (_, 0) => bench.disk.write_back(|_| dice(2) == 0),
            (_, 1) => {
                let pending = bench.disk.pending();
                bench.disk.part(pending[dice(pending.len() as u64) as usize].number, |_| true);
            }
            (was, 2..5) => {
                assert_eq!(bench.complete(token, 0), Some(Ok(())));
                end(&mut checker, was, step, bench.pages.bytes()[token as usize * BLOCK]);
                doing[token as usize] = Doing::Nothing;
            }
            // It has failed: it may have been done, and may be done as long as anybody looks.
            (_, 5) => {
                bench.complete(token, -libc::EIO).expect("an end").expect_err("that is bad");
                doing[token as usize] = Doing::Nothing;
            }
            _ => assert_eq!(bench.complete(token, -libc::EINTR), None),
        }
    }
    bench.disk.lose_power(|_| dice(2) == 0);
    for (block, value) in values(&bench.disk.current()).into_iter().enumerate() {
        checker.check(block, value, |each| each.is_stable);
    }
}

/// Something is over, and well.
fn end(checker: &mut Checker, was: Doing, step: u64, found: u8) {
    match was {
        Doing::Nothing => {}
        Doing::Write(number, durable) => {
            (checker.0[number].end, checker.0[number].is_stable) = (Some(step), durable);
        }
        Doing::Read(block, start) => checker.check(block, found, |each| each.end.is_some_and(|end| end < start)),
        Doing::Flush(start) => {
            let before = checker.0.iter_mut().filter(|each| each.end.is_some_and(|end| end < start));
            before.for_each(|each| each.is_stable = true);
        }
    }
}

#[test]
fn reads_and_losses_of_power_find_what_they_may() {
    (0..300).for_each(history);
}
