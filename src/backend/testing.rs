//! What the tests of the backends stand on: a small blocking ring, aligned memory, a rig that runs one operation at a
//! time or many at once, and throw-away media.

#![allow(unsafe_code)]

use super::media::Kind;
use super::sys::Page;
use super::{Buffer, Handle, Medium, Op, Queue, Started, Token, WayIn, open};
use crate::model::{LunKind, LunSpec, MediumFault};
use io_uring::{IoUring, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Page-aligned memory.
pub(crate) struct Pages(Box<[Page]>);

impl Pages {
    /// `bytes` rounded up to pages, filled with something that is neither zero nor what a test writes.
    pub(crate) fn new(bytes: usize) -> Self {
        Pages(vec![Page([0xee; 4096]); bytes.div_ceil(4096).max(1)].into_boxed_slice())
    }

    fn ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let len = size_of_val(&*self.0);
        // SAFETY: pages are bytes throughout, and `self` is borrowed for as long as the slice is.
        unsafe { std::slice::from_raw_parts_mut(self.ptr(), len) }
    }

    /// A piece of it, for an operation that is over before `self` is gone.
    pub(crate) fn buffer(&mut self, at: usize, len: usize, registered: Option<u16>) -> Buffer {
        assert!(at + len <= self.bytes().len());
        // SAFETY: inside the pages, as just checked, which outlive the operation.
        unsafe { Buffer::new(self.ptr().wrapping_add(at), len, registered) }
    }
}

/// A queue that keeps the tokens of what goes to the medium, and submits nothing.
pub(crate) struct Tokens<'a>(pub(crate) &'a mut Vec<Token>);

impl Queue for Tokens<'_> {
    fn push(&mut self, _: squeue::Entry, token: Token) {
        self.0.push(token);
    }

    fn batch(&self) -> u64 {
        0
    }
}

/// A blocking ring, and a way in for other threads, as a core has them.
pub(crate) struct TestRing {
    ring: IoUring,
    batch: u64,
    way_in: WayIn,
    /// Rung by other threads; the ring reads it.
    bell: Arc<OwnedFd>,
    /// Kept for good: the kernel takes a ring apart some time after it is gone.
    heard: &'static mut u64,
    is_armed: bool,
    /// What they have answered, last one first.
    answers: Vec<(Token, i32)>,
}

/// Stands for the bell, where completions have their token.
const BELL: u64 = u64::MAX;

impl TestRing {
    pub(crate) fn new() -> Self {
        // Fewer entries than the tests keep in flight: a full queue has to be submitted in between.
        let ring = IoUring::builder().setup_cqsize(1024).build(8).expect("a ring");
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).expect("a bell"));
        let rung = Arc::clone(&bell);
        let way_in = WayIn::new(move || {
            rustix::io::write(&rung, &1u64.to_ne_bytes()).expect("a bell that rings");
        });
        TestRing { ring, batch: 0, way_in, bell, heard: Box::leak(Box::new(0)), is_armed: false, answers: Vec::new() }
    }

    fn register_buffer(&mut self, pages: &mut Pages) {
        let iovec = libc::iovec { iov_base: pages.ptr().cast(), iov_len: pages.bytes().len() };
        // SAFETY: the rig that owns ring and pages drops the ring first.
        unsafe { self.ring.submitter().register_buffers(&[iovec]) }.expect("a registered buffer");
    }

    fn register_file(&mut self, fd: RawFd) {
        self.ring.submitter().register_files(&[fd]).expect("a registered file");
    }

    /// The next completion.
    pub(crate) fn wait(&mut self) -> (Token, i32) {
        self.batch += 1;
        loop {
            if let Some(answer) = self.answers.pop() {
                return answer;
            }
            self.arm();
            let completion = self.ring.completion().next();
            match completion {
                Some(completion) if completion.user_data() == BELL => {
                    self.is_armed = false;
                    self.way_in.drain(&mut self.answers);
                    self.answers.reverse();
                }
                Some(completion) => return (Token(completion.user_data() as u32), completion.result()),
                None => drop(self.ring.submit_and_wait(1).expect("a wait for completions")),
            }
        }
    }

    /// Has the ring read the bell, if it does not.
    fn arm(&mut self) {
        if !std::mem::replace(&mut self.is_armed, true) {
            let fd = types::Fd(self.bell.as_raw_fd());
            let entry = opcode::Read::new(fd, (&raw mut *self.heard).cast(), 8).build().user_data(BELL);
            self.put(&entry);
        }
    }

    fn put(&mut self, entry: &squeue::Entry) {
        // SAFETY: the rig keeps buffers and files until the completions are in, and the bell's eight bytes for good.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit().expect("a submission");
        }
    }
}

impl Queue for TestRing {
    fn push(&mut self, entry: squeue::Entry, token: Token) {
        self.put(&entry.user_data(u64::from(token.0)));
    }

    fn batch(&self) -> u64 {
        self.batch
    }
}

/// What a rig does to the kernel's answers, to bring about what a healthy disk does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tamper {
    Nothing,
    /// Every second answer is an interruption, every other transfer short by some blocks (the bytes were moved, which
    /// the handle cannot know).
    Interrupt,
}

/// A medium, one handle on it, a ring and a buffer.
pub(crate) struct Rig {
    // In this order: the ring goes before the memory that it knows.
    ring: TestRing,
    handle: Handle,
    pages: Pages,
    registered: Option<u16>,
    tamper: Tamper,
    answers: u64,
    block_bytes: usize,
}

impl Rig {
    pub(crate) fn new(medium: &Arc<Medium>, registered: bool) -> Self {
        let mut ring = TestRing::new();
        let mut pages = Pages::new(1 << 20);
        let mut handle = medium.handle(&ring.way_in);
        if registered {
            ring.register_buffer(&mut pages);
            if let Some(fd) = handle.raw_fd() {
                ring.register_file(fd);
                handle.set_registered(0);
            }
        }
        let block_bytes = medium.block_bytes as usize;
        let registered = registered.then_some(0);
        Rig { ring, handle, pages, registered, tamper: Tamper::Nothing, answers: 0, block_bytes }
    }

    pub(crate) fn tampering(mut self, tamper: Tamper) -> Self {
        self.tamper = tamper;
        self
    }

    fn buffer(&mut self, at: usize, len: usize) -> Buffer {
        self.pages.buffer(at, len, self.registered)
    }

    /// Runs one operation to its end.
    pub(crate) fn run(&mut self, op: Op) -> Result<(), MediumFault> {
        let token = Token((self.answers % 300) as u32);
        match self.handle.start(op, token, &mut self.ring) {
            Started::Done(result) => result,
            Started::Pending => loop {
                let (answered, result) = self.ring.wait();
                assert_eq!(answered, token);
                let result = self.tampered(&op, result);
                if let Some(result) = self.handle.complete(token, result, &mut self.ring) {
                    self.answers += 1;
                    return result;
                }
            },
        }
    }

    fn tampered(&mut self, op: &Op, result: i32) -> i32 {
        self.answers += 1;
        let transfer = matches!(op, Op::Read { .. } | Op::Write { .. });
        match (self.tamper, self.answers % 4) {
            (Tamper::Interrupt, 1) => -libc::EINTR,
            (Tamper::Interrupt, 3) => -libc::EAGAIN,
            (Tamper::Interrupt, 2) if transfer && result as usize > self.block_bytes => {
                // An odd count: direct I/O has to go on from the aligned offset before it.
                result - self.block_bytes as i32 / 2
            }
            _ => result,
        }
    }

    /// Runs all operations at once; results in their order.
    pub(crate) fn run_all(&mut self, ops: &[Op]) -> Vec<Result<(), MediumFault>> {
        let mut results = vec![None; ops.len()];
        let mut pending = 0;
        for (index, op) in ops.iter().enumerate() {
            match self.handle.start(*op, Token(index as u32), &mut self.ring) {
                Started::Done(result) => results[index] = Some(result),
                Started::Pending => pending += 1,
            }
        }
        while pending > 0 {
            let (token, result) = self.ring.wait();
            if let Some(result) = self.handle.complete(token, result, &mut self.ring) {
                assert!(results[token.0 as usize].replace(result).is_none());
                pending -= 1;
            }
        }
        results.into_iter().map(|result| result.expect("a result")).collect()
    }

    pub(crate) fn read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, MediumFault> {
        let buffer = self.buffer(0, len);
        self.pages.bytes()[..len].fill(0xee);
        self.run(Op::Read { offset, buffer })?;
        Ok(self.pages.bytes()[..len].to_vec())
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8], durable: bool) -> Result<(), MediumFault> {
        let buffer = self.buffer(0, data.len());
        self.pages.bytes()[..data.len()].copy_from_slice(data);
        self.run(Op::Write { offset, buffer, durable })
    }

    /// Fills the rig's buffer, one pattern per page, and gives the operations that write it to consecutive places.
    pub(crate) fn page_writes(&mut self, count: usize, pattern: impl Fn(usize) -> u8) -> Vec<Op> {
        (0..count)
            .map(|index| {
                let buffer = self.buffer(index * 4096, 4096);
                self.pages.bytes()[index * 4096..][..4096].fill(pattern(index));
                Op::Write { offset: index as u64 * 4096, buffer, durable: index % 7 == 0 }
            })
            .collect()
    }

    pub(crate) fn discard(&mut self, offset: u64, len: u64) -> Result<(), MediumFault> {
        self.run(Op::Discard { offset, len })
    }

    pub(crate) fn zero(&mut self, offset: u64, len: u64) -> Result<(), MediumFault> {
        self.run(Op::Zero { offset, len })
    }

    pub(crate) fn evict(&mut self, offset: u64, len: u64) -> Result<(), MediumFault> {
        self.run(Op::Evict { offset, len })
    }

    pub(crate) fn flush(&mut self) -> Result<(), MediumFault> {
        self.run(Op::Flush)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A ring is torn down behind our back; until then a file registered with it stays open, and locked.
        if self.registered.is_some() && self.handle.raw_fd().is_some() {
            self.ring.ring.submitter().unregister_files().expect("files to unregister");
        }
    }
}

/// Whether a file's block at `offset` is in the page cache.
pub(crate) fn is_cached(file: &std::fs::File, offset: i64) -> bool {
    let mut block = [0u8; 512];
    let iovec = libc::iovec { iov_base: block.as_mut_ptr().cast(), iov_len: block.len() };
    // SAFETY: one vector, of a local that outlives the call.
    unsafe { libc::preadv2(file.as_raw_fd(), &raw const iovec, 1, offset, libc::RWF_NOWAIT) > 0 }
}

/// A logical unit as a configuration would have it.
pub(crate) fn spec(kind: LunKind, size_bytes: Option<u64>, block_bytes: u32) -> LunSpec {
    LunSpec {
        number: 0,
        kind,
        size_bytes,
        create: true,
        block_bytes,
        physical_block_bytes: 4096,
        shrink: false,
        readonly: false,
        thin: true,
        removable: false,
        cdrom: false,
        low_space_bytes: None,
        serial: None,
        naa: None,
        limits: Default::default(),
        slow_log_us: None,
    }
}

/// A new file in `directory`, through the page cache.
pub(crate) fn buffered_file(path: &Path, size_bytes: u64, block_bytes: u32) -> Arc<Medium> {
    let spec = spec(LunKind::File(path.to_owned()), Some(size_bytes), block_bytes);
    let (file, properties) = open::open(path, &spec, open::Caching::Buffered).expect("a file");
    Arc::new(Medium::of(Kind::File(Arc::new(file)), properties, block_bytes, false))
}

/// A loop device on a file, where this machine and user can have one.
pub(crate) struct LoopDevice {
    pub(crate) path: String,
}

impl LoopDevice {
    /// `None`, with a word on why, where it cannot be had.
    pub(crate) fn new(file: &Path, sector_bytes: u32) -> Option<Self> {
        let sector_bytes = sector_bytes.to_string();
        let made =
            Command::new("losetup").args(["--find", "--show", "--sector-size", &sector_bytes]).arg(file).output();
        match made {
            Ok(made) if made.status.success() => {
                Some(LoopDevice { path: String::from_utf8_lossy(&made.stdout).trim().to_owned() })
            }
            _ => {
                eprintln!("no loop device to be had here: skipped");
                None
            }
        }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.path]).status();
    }
}
