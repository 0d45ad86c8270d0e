//! The state machine against answers that no healthy kernel gives; what it does with real ones is in `conformance.rs`.

use super::*;
use crate::backend::testing::{Rig, buffered_file, is_cached, spec};
use crate::backend::{Handle, Medium, WayIn};
use crate::model::LunKind;
use proptest::prelude::*;
use tempfile::TempDir;

/// Keeps what was pushed, submits nothing.
#[derive(Default)]
struct Recorder(Vec<(u32, Token)>, u64);

impl Queue for Recorder {
    fn push(&mut self, entry: Entry, token: Token) {
        self.0.push((entry.get_opcode(), token));
    }

    fn batch(&self) -> u64 {
        self.1
    }
}

const TOKEN: Token = Token(5);
// SAFETY: nobody looks at it: the queue submits nothing.
#[allow(unsafe_code)]
const BUFFER: Buffer = unsafe { Buffer::new(4096 as *mut u8, 8192, None) };
const READ: Op = Op::Read { offset: 0, buffer: BUFFER };
const WRITE: Op = Op::Write { offset: 0, buffer: BUFFER, durable: true };

fn medium() -> (TempDir, Arc<Medium>) {
    let directory = TempDir::new().expect("a directory");
    let medium = buffered_file(&directory.path().join("disk"), 1 << 20, 512);
    (directory, medium)
}

fn started(medium: &Arc<Medium>, op: Op) -> (Handle, Recorder) {
    let (mut handle, mut queue) = (medium.handle(&WayIn::new(|| ())), Recorder::default());
    assert_eq!(handle.start(op, TOKEN, &mut queue), Started::Pending);
    (handle, queue)
}

/// Starts `op` and answers with `results` one after another: what the last one gave, and the opcodes pushed.
fn answered(op: Op, results: &[i32]) -> (Option<Result<(), MediumFault>>, Vec<u32>) {
    let (_directory, medium) = medium();
    let (mut handle, mut queue) = started(&medium, op);
    let mut last = None;
    for result in results {
        assert_eq!(last, None, "an answer after the end");
        last = handle.complete(TOKEN, *result, &mut queue);
    }
    (last, queue.0.iter().map(|(code, _)| *code).collect())
}

const FALLOCATE: u32 = opcode::Fallocate::CODE as u32;
const WRITES: u32 = opcode::Write::CODE as u32;
const READS: u32 = opcode::Read::CODE as u32;

#[test]
fn short_transfers_are_continued() {
    assert_eq!(answered(READ, &[512, 1, 7000, 679]), (Some(Ok(())), vec![READS; 4]));
    assert_eq!(answered(WRITE, &[8191, 1]), (Some(Ok(())), vec![WRITES; 2]));
}

#[test]
fn nothing_where_something_should_be_is_a_fault() {
    assert_eq!(answered(READ, &[4096, 0]).0, Some(Err(MediumFault::Read)));
    assert_eq!(answered(WRITE, &[0]).0, Some(Err(MediumFault::Write)));
}

#[test]
fn more_than_was_asked_for_is_a_fault() {
    assert_eq!(answered(READ, &[8193]).0, Some(Err(MediumFault::Internal(libc::EPROTO))));
    assert_eq!(answered(READ, &[i32::MAX]).0, Some(Err(MediumFault::Internal(libc::EPROTO))));
}

#[test]
fn interruptions_are_retried_but_not_for_ever() {
    assert_eq!(answered(READ, &[-libc::EINTR, -libc::EAGAIN, 8192]), (Some(Ok(())), vec![READS; 3]));
    let stubborn = vec![-libc::EAGAIN; usize::from(MAX_RETRIES) + 1];
    assert_eq!(answered(READ, &stubborn).0, Some(Err(MediumFault::Internal(libc::EAGAIN))));
}

#[test]
fn errors_are_named_by_direction() {
    assert_eq!(answered(READ, &[-libc::EIO]).0, Some(Err(MediumFault::Read)));
    assert_eq!(answered(WRITE, &[4096, -libc::EIO]).0, Some(Err(MediumFault::Write)));
    assert_eq!(answered(WRITE, &[-libc::ENOSPC]).0, Some(Err(MediumFault::OutOfSpace)));
    assert_eq!(answered(WRITE, &[i32::MIN]).0, Some(Err(MediumFault::Internal(i32::MAX))));
}

#[test]
fn a_discard_falls_back_to_zeroing_then_to_writing() {
    let discard = Op::Discard { offset: 512, len: 262_144 + 512 };
    assert_eq!(answered(discard, &[0]), (Some(Ok(())), vec![FALLOCATE]));
    assert_eq!(answered(discard, &[-libc::EOPNOTSUPP, 0]), (Some(Ok(())), vec![FALLOCATE; 2]));
    let (last, codes) = answered(discard, &[-libc::EOPNOTSUPP, -libc::EOPNOTSUPP, 262_144, 512]);
    assert_eq!((last, codes), (Some(Ok(())), vec![FALLOCATE, FALLOCATE, WRITES, WRITES]));
    assert_eq!(answered(discard, &[-libc::EIO]).0, Some(Err(MediumFault::Write)));
}

#[test]
fn what_is_not_supported_is_not_tried_again() {
    let (_directory, medium) = medium();
    let discard = Op::Discard { offset: 0, len: 512 };
    for (answers, codes) in [
        // A range that does not fit says nothing about the next.
        (&[-libc::EINVAL, -libc::EINVAL, 512][..], vec![FALLOCATE, FALLOCATE, WRITES]),
        (&[-libc::EOPNOTSUPP, -libc::EOPNOTSUPP, 512], vec![FALLOCATE, FALLOCATE, WRITES]),
        (&[512], vec![WRITES]),
    ] {
        let (mut handle, mut queue) = started(&medium, discard);
        let results: Vec<_> = answers.iter().map(|result| handle.complete(TOKEN, *result, &mut queue)).collect();
        assert_eq!(results.last(), Some(&Some(Ok(()))));
        assert_eq!(queue.0.iter().map(|(code, _)| *code).collect::<Vec<_>>(), codes);
    }
}

#[test]
fn a_large_range_goes_in_slices() {
    let (_directory, file) = medium();
    let super::super::media::Kind::File(kept) = &*file.kind else { unreachable!("a file") };
    let len = 2 * MAX_RANGE_BYTES + 512;
    for op in [Op::Discard { offset: 0, len }, Op::Evict { offset: 0, len }] {
        let size = Arc::clone(&file.size_bytes);
        let (mut handle, mut queue) = (FileHandle::new(Arc::clone(kept), size), Recorder::default());
        assert_eq!(handle.start(op, TOKEN, &mut queue), Started::Pending);
        assert_eq!(handle.complete(TOKEN, 0, &mut queue), None);
        assert_eq!(handle.complete(TOKEN, 0, &mut queue), None);
        assert_eq!(handle.complete(TOKEN, 0, &mut queue), Some(Ok(())));
    }
}

#[test]
fn a_token_is_used_once_at_a_time() {
    let (_directory, medium) = medium();
    let (mut handle, mut queue) = started(&medium, READ);
    assert_eq!(handle.start(READ, TOKEN, &mut queue), Started::Done(Err(MediumFault::Internal(libc::EBUSY))));
    assert_eq!(handle.complete(TOKEN, 8192, &mut queue), Some(Ok(())));
    assert_eq!(handle.complete(TOKEN, 8192, &mut queue), Some(Err(MediumFault::Internal(libc::EINVAL))));
    assert_eq!(handle.complete(Token(u32::MAX), 1, &mut queue), Some(Err(MediumFault::Internal(libc::EINVAL))));
    let unheard = handle.start(READ, Token(70_000), &mut queue);
    assert_eq!(unheard, Started::Done(Err(MediumFault::Internal(libc::ERANGE))));
    assert_eq!(handle.start(READ, Token(65_535), &mut queue), Started::Pending);
}

proptest! {
    /// Whatever the kernel answers, an operation ends after a bounded number of answers, and nothing panics.
    #[test]
    fn any_answers_end(
        answers in proptest::collection::vec(prop_oneof![-140..=0i32, 0..=8192i32, any::<i32>()], 400),
        which in 0..4usize,
    ) {
        let (_directory, medium) = medium();
        let clear = Op::Discard { offset: 0, len: 8192 };
        let op = [READ, WRITE, clear, Op::Flush][which];
        let (mut handle, mut queue) = started(&medium, op);
        let ended = answers.iter().any(|answer| handle.complete(TOKEN, *answer, &mut queue).is_some());
        prop_assert!(ended);
    }
}

/// What was cut short, at half its length: the medium, the file and the rig.
fn cut_short() -> (TempDir, Arc<Medium>, Rig) {
    let (directory, medium) = medium();
    let mut rig = Rig::new(&medium, false);
    assert!(rig.write(0, &[7; 4096], false).is_ok() && medium.look() && medium.look());
    cut(&directory);
    (directory, medium, rig)
}

fn cut(directory: &TempDir) {
    std::fs::File::options().write(true).open(directory.path().join("disk")).unwrap().set_len(1 << 19).unwrap();
}

#[test]
fn what_a_cut_file_has_lost_is_an_error_also_after_writes_behind_it() {
    let (_directory, medium, mut rig) = cut_short();
    // The read that meets the end tells everybody.
    assert_eq!(rig.read(1 << 19, 4096), Err(MediumFault::Read));
    for (offset, len) in [((1 << 20) - 4096, 4096), (0, 4096)] {
        assert_eq!(Rig::new(&medium, false).write(offset, &vec![1; len], false), Err(MediumFault::Write));
    }
    assert_eq!(rig.read(1 << 19, 4096), Err(MediumFault::Read));
    assert_eq!(rig.read(0, 4096), Ok(vec![7; 4096]), "what is there is there");
    assert!(!medium.look());
}

#[test]
fn a_look_finds_what_nobody_has_read() {
    let (_directory, medium, mut rig) = cut_short();
    assert!(!medium.look());
    assert_eq!(rig.write((1 << 20) - 512, &[1; 512], false), Err(MediumFault::Write));
    assert_eq!(rig.read(0, 4096), Ok(vec![7; 4096]));
}

#[test]
fn where_a_write_may_have_hidden_a_cut_nothing_is_certain() {
    let (_directory, medium, mut rig) = cut_short();
    // Between the two there are zeroes now, which nobody has written.
    assert_eq!(rig.write((1 << 20) - 8192, &[1; 4096], false), Ok(()));
    assert!(!medium.look());
    assert_eq!(rig.read(1 << 19, 4096), Err(MediumFault::Read));
    assert_eq!(rig.read(0, 4096), Err(MediumFault::Read));
}

#[test]
fn a_hole_that_a_write_has_left_behind_a_cut_is_not_read() {
    let (_directory, medium, mut rig) = cut_short();
    assert_eq!(rig.write((1 << 20) - 8192, &[1; 4096], false), Ok(()));
    // Another core's.
    assert_eq!(Rig::new(&medium, true).read(1 << 19, 4096), Err(MediumFault::Read));
    assert_eq!(rig.read(0, 4096), Err(MediumFault::Read), "nothing is certain");
}

#[test]
fn nor_is_anything_certain_when_a_read_meets_the_end_behind_a_write() {
    let (_directory, _medium, mut rig) = cut_short();
    assert_eq!(rig.write((1 << 20) - 8192, &[1; 4096], false), Ok(()));
    assert_eq!(rig.read((1 << 20) - 4096, 4096), Err(MediumFault::Read));
    assert_eq!(rig.read(1 << 19, 4096), Err(MediumFault::Read));
}

#[test]
fn a_write_that_ends_after_a_cut_was_noticed_may_have_left_a_hole() {
    let (directory, medium) = medium();
    let (mut handle, mut queue) = started(&medium, WRITE);
    assert!(medium.look() && medium.look());
    cut(&directory);
    assert!(!medium.look());
    assert_eq!(handle.complete(TOKEN, 8192, &mut queue), Some(Ok(())));
    assert_eq!(Rig::new(&medium, false).read(0, 4096), Err(MediumFault::Read));
}

#[test]
fn one_look_is_for_all_reads_that_came_together() {
    let (directory, medium, mut rig) = cut_short();
    std::fs::File::options().write(true).open(directory.path().join("disk")).unwrap().set_len(1 << 20).unwrap();
    assert_eq!(rig.write(8192, &[1; 4096], false), Ok(()));
    let (mut handle, mut queue) = (medium.handle(&WayIn::new(|| ())), Recorder(Vec::new(), 1));
    let mut read = |batch| {
        queue.1 = batch;
        assert_eq!(handle.start(READ, TOKEN, &mut queue), Started::Pending);
        handle.complete(TOKEN, 8192, &mut queue)
    };
    assert_eq!(read(1), Some(Ok(())));
    cut(&directory);
    assert_eq!(read(1), Some(Ok(())), "was there before the cut");
    assert_eq!(read(2), Some(Err(MediumFault::Read)));
}

#[test]
fn what_would_reach_the_end_does_not_hide_a_cut() {
    let zero = |rig: &mut Rig| rig.zero((1 << 20) - 4096, 4096);
    let write = |rig: &mut Rig| rig.write((1 << 20) - 4096, &[1; 4096], false);
    for lengthen in [zero, write] {
        let (directory, medium, mut rig) = cut_short();
        let super::super::media::Kind::File(file) = &*medium.kind else { unreachable!("a file") };
        file.forget_fallocate();
        assert_eq!(lengthen(&mut rig), Err(MediumFault::Write));
        assert_eq!(std::fs::metadata(directory.path().join("disk")).unwrap().len(), 1 << 19);
        assert_eq!(rig.read(1 << 19, 4096), Err(MediumFault::Read));
        assert_eq!(rig.read(0, 4096), Ok(vec![7; 4096]), "nothing was written behind the cut");
    }
}

#[test]
fn a_cut_file_is_not_made_longer_for_a_new_size() {
    let (directory, medium, mut rig) = cut_short();
    let path = directory.path().join("disk");
    let larger = spec(LunKind::File(path.clone()), Some(1 << 21), 512);
    assert_eq!(medium.fit(&larger).ok().map(|fit| (fit.bytes, fit.grown_from)), Some((1 << 20, None)));
    assert_eq!(std::fs::metadata(path).unwrap().len(), 1 << 19);
    assert_eq!(rig.read(1 << 19, 4096), Err(MediumFault::Read));
}

#[test]
fn what_is_gone_is_not_said_to_be_unmapped() {
    let (_directory, medium, mut rig) = cut_short();
    assert_eq!(medium.allocated(1 << 19, 4096).unwrap(), (true, 4096), "behind the end");
    let (_directory, medium, mut other) = cut_short();
    assert_eq!(other.write((1 << 20) - 8192, &[1; 4096], false), Ok(()));
    assert_eq!(medium.allocated(1 << 19, 4096).unwrap(), (true, 4096), "in a hole");
    assert_eq!((rig.read(1 << 19, 512), other.read(1 << 19, 512)), (Err(MediumFault::Read), Err(MediumFault::Read)));
}

#[test]
fn what_is_evicted_is_read_from_the_medium() {
    const SIZE: u64 = 5 << 30;
    const FAR: u64 = (4 << 30) + 8192;
    let directory = TempDir::new().expect("a directory");
    let medium = buffered_file(&directory.path().join("disk"), SIZE, 512);
    let mut rig = Rig::new(&medium, false);
    let file = std::fs::File::open(directory.path().join("disk")).unwrap();
    // A file system that lives in the page cache has no other medium.
    let lives_in_memory = crate::backend::sys::direct_align(&file).is_err();
    // A page, one block of it, and more than an entry of the kernel can name.
    for (at, offset, len) in [(8192, 8192, 4096), (8192, 8192 + 512, 512), (FAR, 512, SIZE - 512)] {
        assert_eq!((rig.write(at, &[7; 4096], false), rig.flush()), (Ok(()), Ok(())));
        assert!(is_cached(&file, at as i64));
        // The kernel keeps a page that somebody else, writing back or making room, has in his hands just then.
        let evicted = (0..200).any(|_| {
            assert_eq!(rig.evict(offset, len), Ok(()));
            !is_cached(&file, at as i64) || {
                std::thread::sleep(std::time::Duration::from_millis(10));
                false
            }
        });
        assert!(evicted || lives_in_memory, "{offset}, {len}");
        assert_eq!(rig.read(at, 4096), Ok(vec![7; 4096]));
    }
}

/// A page of a file that is mapped: the kernel does not forget it.
struct Mapped(*mut libc::c_void);

impl Mapped {
    fn new(file: &std::fs::File, offset: i64) -> Mapped {
        let (access, flags) = (libc::PROT_READ, libc::MAP_SHARED | libc::MAP_POPULATE);
        // SAFETY: a new mapping, where the kernel likes, of a file that is open.
        #[allow(unsafe_code)]
        let start = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, flags, file.as_raw_fd(), offset) };
        assert_ne!(start, libc::MAP_FAILED);
        Mapped(start)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it was mapped with that length, and nobody has a reference to it.
        #[allow(unsafe_code)]
        unsafe {
            libc::munmap(self.0, 4096);
        }
    }
}

#[test]
fn what_the_kernel_does_not_forget_is_known() {
    let (directory, medium) = medium();
    let mut rig = Rig::new(&medium, false);
    assert_eq!((rig.write(8192, &[7; 4096], false), rig.flush()), (Ok(()), Ok(())));
    if medium.is_cached(8192, 4096).is_none() {
        return eprintln!("a kernel before 6.5: skipped");
    }
    let file = std::fs::File::open(directory.path().join("disk")).unwrap();
    let mapped = Mapped::new(&file, 8192);
    assert_eq!(rig.evict(8192, 4096), Ok(()));
    assert_eq!((medium.is_cached(8192, 4096), medium.is_cached(1 << 19, 4096)), (Some(true), Some(false)));
    drop(mapped);
    let forgotten = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        rig.evict(8192, 4096) == Ok(()) && medium.is_cached(8192, 4096) == Some(false)
    });
    assert!(forgotten || crate::backend::sys::direct_align(&file).is_err());
}
