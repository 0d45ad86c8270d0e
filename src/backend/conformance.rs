//! One suite for every medium: what `mod.rs` promises, tried on each kind, way of opening and block length.
//!
//! [`suite`] states exact expectations, so a medium that refuses everything, or forgets what it was told, does not pass;
//! two tests at the end prove that of the suite itself. A medium that is not here calls it from the tests in its own file, as
//! `threaded.rs` does.

use super::media::Kind;
use super::testing::{LoopDevice, Rig, Tamper, buffered_file, spec};
use super::{FaultAction, FaultPlan, FaultRule, Medium, Op, OpClass, Started, Token, WayIn};
use crate::model::{LunKind, MediumFault};
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(super) const SIZE_BYTES: u64 = 1 << 20;
const OUT_OF_RANGE: Result<(), MediumFault> = Err(MediumFault::Internal(libc::EINVAL));

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|index| (index as u8).wrapping_mul(31) ^ (index >> 8) as u8 ^ seed).collect()
}

/// The suite, for a medium of [`SIZE_BYTES`]. `registered`: with registered file and buffer.
pub(super) fn suite(medium: &Arc<Medium>, registered: bool, tamper: Tamper) {
    assert_eq!(medium.properties().size_bytes, SIZE_BYTES);
    let mut rig = Rig::new(medium, registered).tampering(tamper);
    reads_back_what_was_written(medium, &mut rig);
    survives_without_harm_to_neighbours(medium, &mut rig);
    refuses_what_is_out_of_range(medium, &mut rig);
    keeps_many_in_flight_apart(&mut rig);
    says_what_is_allocated(medium, &mut rig);
    answers_each_core_for_itself(medium);
}

fn reads_back_what_was_written(medium: &Arc<Medium>, rig: &mut Rig) {
    let block = medium.block_bytes as usize;
    let mut other = Rig::new(medium, false);
    for (offset, len) in [
        (0, block),
        (SIZE_BYTES - block as u64, block),
        (block as u64, 3 * block),
        (SIZE_BYTES - 9 * block as u64, 8 * block),
        (0, 256 << 10),
        (0, SIZE_BYTES as usize),
    ] {
        for (seed, durable) in [(1, false), (2, true)] {
            let data = pattern(len, seed);
            assert_eq!(rig.write(offset, &data, durable), Ok(()));
            assert!(rig.read(offset, len) == Ok(data.clone()), "read back at {offset}+{len}");
            assert!(other.read(offset, len) == Ok(data), "another handle's view of {offset}+{len}");
        }
    }
    assert_eq!(rig.flush(), Ok(()));
    assert_eq!(rig.run(Op::Discard { offset: 0, len: 0 }), Ok(()));
    assert_eq!(rig.write(SIZE_BYTES, &[], false), Ok(()));
}

fn survives_without_harm_to_neighbours(medium: &Arc<Medium>, rig: &mut Rig) {
    let block = u64::from(medium.block_bytes);
    let whole = pattern(SIZE_BYTES as usize, 3);
    for clear in [Rig::discard, Rig::zero] {
        // One block, an odd run across pages, a run from and to the edges, all.
        for (offset, len) in [
            (block, block),
            (7 * block, 33 * block),
            (0, 5 * block),
            (SIZE_BYTES - 9 * block, 9 * block),
            (0, SIZE_BYTES),
        ] {
            assert_eq!(rig.write(0, &whole, false), Ok(()));
            assert_eq!(clear(rig, offset, len), Ok(()));
            let mut expected = whole.clone();
            expected[offset as usize..(offset + len) as usize].fill(0);
            assert!(rig.read(0, SIZE_BYTES as usize) == Ok(expected), "after {offset}+{len} was cleared");
        }
    }
    assert_eq!(rig.write(block, &whole[..block as usize], true), Ok(()));
    assert!(rig.read(block, block as usize) == Ok(whole[..block as usize].to_vec()), "a write after a discard");
    assert_eq!(rig.flush(), Ok(()));
}

fn refuses_what_is_out_of_range(medium: &Arc<Medium>, rig: &mut Rig) {
    let block = u64::from(medium.block_bytes);
    let whole = pattern(SIZE_BYTES as usize, 4);
    assert_eq!(rig.write(0, &whole, false), Ok(()));
    let junk = vec![0xff; 2 * block as usize];
    let wrong = [SIZE_BYTES, SIZE_BYTES - block, u64::MAX - block + 1, 1 << 63, u64::MAX, block / 2, block + 1];
    for offset in wrong {
        assert_eq!(rig.write(offset, &junk, false), OUT_OF_RANGE, "write at {offset}");
        assert_eq!(rig.read(offset, junk.len()).map(drop), OUT_OF_RANGE, "read at {offset}");
        assert_eq!(rig.discard(offset, 2 * block), OUT_OF_RANGE, "discard at {offset}");
        assert_eq!(rig.zero(offset, 2 * block), OUT_OF_RANGE, "zero at {offset}");
        assert!(medium.allocated(offset, 2 * block).is_err());
    }
    assert_eq!(rig.discard(block, u64::MAX), OUT_OF_RANGE);
    assert_eq!(rig.zero(0, SIZE_BYTES + block), OUT_OF_RANGE);
    assert_eq!(rig.write(0, &junk[..block as usize / 2], false), OUT_OF_RANGE);
    assert!(rig.read(0, SIZE_BYTES as usize) == Ok(whole), "a refused operation has touched nothing");
}

fn keeps_many_in_flight_apart(rig: &mut Rig) {
    let pages = SIZE_BYTES as usize / 4096;
    let ops = rig.page_writes(pages, |index| index as u8 ^ 0x5a);
    assert!(rig.run_all(&ops).iter().all(|result| *result == Ok(())));
    let all = rig.read(0, SIZE_BYTES as usize).expect("a read");
    for (index, page) in all.chunks(4096).enumerate() {
        assert!(page.iter().all(|byte| *byte == index as u8 ^ 0x5a), "page {index}");
    }
}

fn says_what_is_allocated(medium: &Arc<Medium>, rig: &mut Rig) {
    assert_eq!(rig.write(0, &pattern(SIZE_BYTES as usize, 5), true), Ok(()));
    assert_eq!(medium.allocated(0, SIZE_BYTES).expect("an answer"), (true, SIZE_BYTES));
    assert_eq!(rig.discard(SIZE_BYTES / 4, SIZE_BYTES / 4), Ok(()));
    let mut offset = 0;
    let mut holes = 0;
    while offset < SIZE_BYTES {
        let (mapped, run) = medium.allocated(offset, SIZE_BYTES - offset).expect("an answer");
        assert!(run > 0 && run.is_multiple_of(u64::from(medium.block_bytes)) && offset + run <= SIZE_BYTES);
        if !mapped {
            assert!(offset >= SIZE_BYTES / 4 && offset + run <= SIZE_BYTES / 2, "a hole at {offset}+{run} holds data");
            holes += run;
        }
        offset += run;
    }
    assert!(holes == 0 || medium.properties().discard);
}

/// With a ring and a thread each, as the cores are.
fn answers_each_core_for_itself(medium: &Arc<Medium>) {
    const CORES: u64 = 4;
    let share = SIZE_BYTES / CORES;
    std::thread::scope(|scope| {
        for core in 0..CORES {
            scope.spawn(move || {
                let mut rig = Rig::new(medium, false);
                for round in 0..8 {
                    let data = pattern(share as usize, round ^ (core as u8) << 4);
                    assert_eq!(rig.write(core * share, &data, round == 0), Ok(()));
                    assert!(rig.read(core * share, share as usize) == Ok(data), "core {core} in round {round}");
                }
            });
        }
    });
}

fn ram(block_bytes: u32) -> Arc<Medium> {
    Arc::new(Medium::open(&spec(LunKind::Ram, Some(SIZE_BYTES), block_bytes)).expect("memory"))
}

/// A new file, opened as a configuration would; direct where the machine's temporary directory allows.
fn file(directory: &TempDir, block_bytes: u32) -> Arc<Medium> {
    let path = directory.path().join(format!("direct-{block_bytes}"));
    Arc::new(Medium::open(&spec(LunKind::File(path), Some(SIZE_BYTES), block_bytes)).expect("a file"))
}

fn without_fallocate(medium: &Arc<Medium>) {
    match &*medium.kind {
        Kind::File(file) => file.forget_fallocate(),
        _ => unreachable!("only files have it"),
    }
}

#[test]
fn a_medium_is_shared_by_all_cores() {
    fn shared<T: Send + Sync>() {}
    shared::<Medium>();
    let medium = ram(4096);
    // Each on its own thread with its own ring, as the cores are.
    std::thread::scope(|scope| {
        for core in 0..2u64 {
            let medium = &medium;
            scope.spawn(move || {
                let mut rig = Rig::new(medium, false);
                for round in 0..64 {
                    let data = pattern(4096, round ^ core as u8);
                    let offset = (u64::from(round) * 2 + core) * 4096;
                    assert_eq!(rig.write(offset, &data, false), Ok(()));
                    assert!(rig.read(offset, 4096) == Ok(data));
                }
            });
        }
    });
}

#[test]
fn ram_conforms() {
    suite(&ram(512), false, Tamper::Nothing);
    suite(&ram(4096), true, Tamper::Nothing);
}

#[test]
fn a_ram_discard_gives_pages_back() {
    let medium = ram(512);
    let mut rig = Rig::new(&medium, false);
    assert_eq!(rig.write(0, &pattern(SIZE_BYTES as usize, 1), false), Ok(()));
    assert_eq!(rig.discard(512, SIZE_BYTES - 1024), Ok(()));
    let (mapped, run) = medium.allocated(0, SIZE_BYTES).expect("an answer");
    assert!(mapped && run < SIZE_BYTES);
    let (mapped, _) = medium.allocated(run, SIZE_BYTES - run).expect("an answer");
    assert!(!mapped);
}

/// With pages of either size: the kernel has a huge page of zeroes too.
#[test]
fn reading_ram_allocates_nothing() {
    const HUGE_BYTES: u64 = 8 << 20;
    for size_bytes in [SIZE_BYTES, HUGE_BYTES] {
        let medium = Arc::new(Medium::open(&spec(LunKind::Ram, Some(size_bytes), 512)).expect("memory"));
        let mut rig = Rig::new(&medium, false);
        for offset in (0..size_bytes).step_by(SIZE_BYTES as usize) {
            assert!(rig.read(offset, SIZE_BYTES as usize) == Ok(vec![0; SIZE_BYTES as usize]));
        }
        assert_eq!(medium.allocated(0, size_bytes).expect("an answer"), (false, size_bytes));
        assert_eq!(rig.write(0, &pattern(512, 1), false), Ok(()));
        assert!(medium.allocated(0, size_bytes).expect("an answer").0);
    }
}

#[test]
fn files_conform() {
    for block_bytes in [512, 4096] {
        for registered in [false, true] {
            let directory = TempDir::new().expect("a directory");
            suite(&file(&directory, block_bytes), registered, Tamper::Nothing);
            suite(
                &buffered_file(&directory.path().join("buffered"), SIZE_BYTES, block_bytes),
                registered,
                Tamper::Nothing,
            );
        }
    }
}

#[test]
fn files_conform_when_interrupted_and_cut_short() {
    for block_bytes in [512, 4096] {
        let directory = TempDir::new().expect("a directory");
        suite(&file(&directory, block_bytes), true, Tamper::Interrupt);
        suite(&buffered_file(&directory.path().join("buffered"), SIZE_BYTES, block_bytes), false, Tamper::Interrupt);
    }
}

#[test]
fn files_conform_where_nothing_can_be_punched() {
    let directory = TempDir::new().expect("a directory");
    for (tamper, registered) in [(Tamper::Nothing, true), (Tamper::Interrupt, false)] {
        for medium in [file(&directory, 512), buffered_file(&directory.path().join("buffered"), SIZE_BYTES, 512)] {
            without_fallocate(&medium);
            suite(&medium, registered, tamper);
        }
    }
}

#[test]
fn a_file_discard_gives_space_back_if_it_says_so() {
    use std::os::unix::fs::MetadataExt;
    let directory = TempDir::new().expect("a directory");
    let medium = file(&directory, 4096);
    let mut rig = Rig::new(&medium, false);
    let used = || std::fs::metadata(directory.path().join("direct-4096")).expect("a file").blocks();
    assert_eq!(rig.write(0, &pattern(SIZE_BYTES as usize, 1), true), Ok(()));
    let full = used();
    assert_eq!(rig.discard(0, SIZE_BYTES), Ok(()));
    assert_eq!(used() < full / 2, medium.properties().discard);
    assert_eq!(medium.allocated(0, SIZE_BYTES).expect("an answer").0, !medium.properties().discard);
    assert_eq!(rig.zero(0, SIZE_BYTES), Ok(()));
}

#[test]
fn block_devices_conform() {
    for sector_bytes in [512, 4096] {
        let directory = TempDir::new().expect("a directory");
        let backing = directory.path().join("backing");
        let made = std::fs::File::create(&backing).and_then(|file| file.set_len(SIZE_BYTES));
        made.expect("a file");
        let Some(device) = LoopDevice::new(&backing, sector_bytes) else { return };
        // Blocks of 512 on sectors of 4096 go through the page cache; the others are direct.
        for block_bytes in [512, 4096] {
            let spec = spec(LunKind::File(PathBuf::from(&device.path)), None, block_bytes);
            let medium = Arc::new(Medium::open(&spec).expect("a device"));
            assert_eq!(medium.properties().direct, block_bytes >= sector_bytes);
            for registered in [false, true] {
                suite(&medium, registered, Tamper::Nothing);
            }
            let second = Medium::open(&spec).map(drop).expect_err("the device is claimed");
            assert!(second.to_string().contains("in use"), "{second}");
        }
    }
}

#[test]
fn null_reads_zeroes_and_forgets() {
    let medium = Arc::new(Medium::open(&spec(LunKind::Null, Some(SIZE_BYTES), 512)).expect("null"));
    let mut rig = Rig::new(&medium, false);
    assert_eq!(rig.write(512, &pattern(512, 1), true), Ok(()));
    assert_eq!(rig.read(0, 4096), Ok(vec![0; 4096]));
    for done in [rig.flush(), rig.discard(0, SIZE_BYTES), rig.zero(0, 512)] {
        assert_eq!(done, Ok(()));
    }
    assert_eq!(rig.read(SIZE_BYTES, 512).map(drop), OUT_OF_RANGE);
    assert_eq!(medium.allocated(0, 512).expect("an answer"), (false, 512));
}

#[test]
fn a_readonly_medium_is_read_only() {
    let directory = TempDir::new().expect("a directory");
    drop(file(&directory, 512));
    let mut spec = spec(LunKind::File(directory.path().join("direct-512")), None, 512);
    spec.readonly = true;
    let medium = Arc::new(Medium::open(&spec).expect("a file"));
    let second = Medium::open(&spec).expect("readers share");
    assert_eq!(second.properties(), medium.properties());
    let mut rig = Rig::new(&medium, false);
    assert_eq!(rig.read(0, 512), Ok(vec![0; 512]));
    assert_eq!(rig.write(0, &[1; 512], false), Err(MediumFault::Protected));
    assert_eq!(rig.discard(0, 512), Err(MediumFault::Protected));
    assert_eq!(rig.zero(0, 512), Err(MediumFault::Protected));
    assert_eq!(rig.flush(), Ok(()));
}

#[test]
fn a_plan_without_faults_changes_nothing() {
    let directory = TempDir::new().expect("a directory");
    suite(&Arc::new(Medium::with_faults(ram(512), FaultPlan::new())), false, Tamper::Nothing);
    suite(&Arc::new(Medium::with_faults(file(&directory, 512), FaultPlan::new())), true, Tamper::Nothing);
}

#[test]
fn delays_change_nothing_but_the_time() {
    let directory = TempDir::new().expect("a directory");
    for inner in [ram(4096), file(&directory, 4096)] {
        let rule = FaultRule::new(FaultAction::Delay(Duration::from_millis(1)));
        let started = Instant::now();
        suite(&Arc::new(Medium::with_faults(inner, FaultPlan::new().rule(rule))), false, Tamper::Nothing);
        assert!(started.elapsed() > Duration::from_millis(20));
    }
}

#[test]
fn faults_come_when_planned_and_touch_nothing() {
    let plan = FaultPlan::new()
        .rule(FaultRule::new(FaultAction::Fail(MediumFault::Write)).on(OpClass::Write).within(4096..8192))
        .rule(FaultRule::new(FaultAction::Fail(MediumFault::Read)).on(OpClass::Read).after(1).times(2));
    let medium = Arc::new(Medium::with_faults(ram(4096), plan));
    let mut rig = Rig::new(&medium, false);
    assert_eq!(rig.write(0, &[1; 4096], false), Ok(()));
    assert_eq!(rig.write(0, &[2; 8192], false), Err(MediumFault::Write));
    assert_eq!(rig.write(8192, &[3; 4096], false), Ok(()));
    assert_eq!(rig.read(0, 4096), Ok(vec![1; 4096]));
    assert_eq!(rig.read(0, 4096), Err(MediumFault::Read));
    assert_eq!(rig.read(0, 4096), Err(MediumFault::Read));
    assert_eq!(rig.read(4096, 4096), Ok(vec![0; 4096]));
    assert!(medium.handle(&WayIn::new(|| ())).memory().is_none(), "no way around the plan");
}

#[test]
fn what_hangs_stays_pending_and_holds_up_nobody() {
    let plan = FaultPlan::new().rule(FaultRule::new(FaultAction::Hang).on(OpClass::Flush));
    let medium = Arc::new(Medium::with_faults(ram(4096), plan));
    let mut queue = super::testing::TestRing::new();
    assert_eq!(medium.handle(&WayIn::new(|| ())).start(Op::Flush, Token(9), &mut queue), Started::Pending);
    assert_eq!(Rig::new(&medium, false).write(0, &[1; 4096], false), Ok(()));
}

#[test]
#[should_panic(expected = "Err(Write)")]
fn the_suite_fails_a_medium_that_refuses_everything() {
    let rule = FaultRule::new(FaultAction::Fail(MediumFault::Write));
    suite(&Arc::new(Medium::with_faults(ram(512), FaultPlan::new().rule(rule))), false, Tamper::Nothing);
}

#[test]
#[should_panic(expected = "read back")]
fn the_suite_fails_a_medium_that_forgets() {
    let medium = Medium::open(&spec(LunKind::Null, Some(SIZE_BYTES), 512)).expect("null");
    suite(&Arc::new(medium), false, Tamper::Nothing);
}

/// One step of a random history, in blocks.
#[derive(Debug, Clone)]
enum Step {
    Read(usize, usize),
    Write(usize, usize, u8, bool),
    Discard(usize, usize),
    Zero(usize, usize),
    Flush,
}

const BLOCKS: usize = 64;

fn step() -> impl Strategy<Value = Step> {
    let range = || (0..BLOCKS).prop_flat_map(|first| (Just(first), 1..=BLOCKS - first));
    prop_oneof![
        3 => range().prop_map(|(first, count)| Step::Read(first, count)),
        4 => (range(), any::<u8>(), any::<bool>())
            .prop_map(|((first, count), seed, durable)| Step::Write(first, count, seed, durable)),
        2 => range().prop_map(|(first, count)| Step::Discard(first, count)),
        1 => range().prop_map(|(first, count)| Step::Zero(first, count)),
        1 => Just(Step::Flush),
    ]
}

/// Plays a history on the media and on a vector, and compares every read and the end.
fn play(steps: &[Step], media: &mut [Rig], block: usize) {
    let mut model = vec![0u8; BLOCKS * block];
    for step in steps {
        let at = |first: usize, count: usize| first * block..(first + count) * block;
        match *step {
            Step::Write(first, count, seed, _) => {
                model[at(first, count)].copy_from_slice(&pattern(count * block, seed))
            }
            Step::Discard(first, count) | Step::Zero(first, count) => model[at(first, count)].fill(0),
            Step::Read(..) | Step::Flush => {}
        }
        for (index, rig) in media.iter_mut().enumerate() {
            let done = match *step {
                Step::Read(first, count) => rig.read((first * block) as u64, count * block).map(|data| {
                    assert!(data == model[at(first, count)], "medium {index} differs at {step:?}");
                }),
                Step::Write(first, count, _, durable) => {
                    rig.write((first * block) as u64, &model[at(first, count)], durable)
                }
                Step::Discard(first, count) => rig.discard((first * block) as u64, (count * block) as u64),
                Step::Zero(first, count) => rig.zero((first * block) as u64, (count * block) as u64),
                Step::Flush => rig.flush(),
            };
            assert_eq!(done, Ok(()), "medium {index} at {step:?}");
        }
    }
    for rig in media {
        assert!(rig.read(0, BLOCKS * block) == Ok(model.clone()), "the end differs");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn random_histories_agree(
        steps in proptest::collection::vec(step(), 1..32),
        block_bytes in prop_oneof![Just(512u32), Just(4096)],
        registered in any::<bool>(),
    ) {
        super::simulated::forget();
        let directory = TempDir::new().expect("a directory");
        let size_bytes = (BLOCKS * block_bytes as usize) as u64;
        let open = |kind| Arc::new(Medium::open(&spec(kind, Some(size_bytes), block_bytes)).expect("a medium"));
        let buffered = |name| buffered_file(&directory.path().join(name), size_bytes, block_bytes);
        let unpunched = buffered("unpunched");
        without_fallocate(&unpunched);
        let mut media = [
            Rig::new(&open(LunKind::Ram), registered),
            Rig::new(&open(super::threaded::kind()), false),
            Rig::new(&open(super::simulated::kind("history")), false),
            Rig::new(&open(LunKind::File(directory.path().join("direct"))), registered),
            Rig::new(&open(LunKind::File(directory.path().join("shaken"))), registered).tampering(Tamper::Interrupt),
            Rig::new(&buffered("buffered"), registered),
            Rig::new(&unpunched, registered),
        ];
        play(&steps, &mut media, block_bytes as usize);
    }
}
