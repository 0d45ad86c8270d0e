//! I/O buffers of one core: one arena, registered with the ring where locked memory allows, cut into superblocks of
//! `limits::SLICE_BYTES` that are split into pieces of one class each (4, 16, 64 or 256 KiB).
//!
//! Allocation and return are a few instructions and never touch the system. Pieces are reused last in, first out, which
//! keeps a lightly loaded core inside its cache.
//!
//! A piece ([`Buf`]) is charged to the [`Account`] that it was taken from, and gives itself back when it is dropped,
//! whoever does that: a task, a job that is aborted, a send that is out, a receive that is over. Accounts stand at a
//! session, which shares its initiator's, which shares its address's; each may hold so much of what is left free
//! ([`Ledger::has_room`]) that whatever one of them does with its pieces, others find some. An account outlives its
//! session as long as there are pieces of it.

use crate::backend::Buffer;
use crate::limits::{ARENA_BYTES, SLICE_BYTES};
use crate::model::{DataRef, Host};
use crate::ring::Mapping;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};

/// Bytes of a piece, by class.
const CLASS_BYTES: [usize; 4] = [4 << 10, 16 << 10, 64 << 10, SLICE_BYTES];
const _: () = assert!(SLICE_BYTES / CLASS_BYTES[0] <= 64, "a superblock's pieces fit a 64-bit mask");

/// A piece of the arena, which goes back there when it is dropped.
#[derive(Debug)]
pub struct Buf {
    /// Whom it is charged to.
    ledger: Rc<Ledger>,
    /// Its superblock.
    superblock: u16,
    /// Its number there.
    piece: u8,
    /// Its class: an index into [`CLASS_BYTES`].
    class: u8,
}

impl Drop for Buf {
    #[inline]
    fn drop(&mut self) {
        let bytes = self.capacity();
        for held in self.ledger.levels() {
            held.set(held.get() - bytes);
        }
        self.ledger.arena.pieces.borrow_mut().release(self.superblock, self.piece, self.class);
    }
}

impl Buf {
    /// Size of the piece, bytes.
    #[inline]
    pub fn capacity(&self) -> usize {
        CLASS_BYTES[usize::from(self.class)]
    }

    /// `len` bytes of it from `at` on, if it has them. All that reads, writes, sends or receives in the arena has its
    /// pointers from here: lengths that peers have chosen are compared with the piece that they are used on.
    #[inline]
    fn stretch(&self, at: usize, len: usize) -> Option<*mut u8> {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.capacity());
        let offset = usize::from(self.superblock) * SLICE_BYTES + usize::from(self.piece) * self.capacity();
        inside.then(|| self.ledger.arena.memory.as_ptr().wrapping_add(offset + at))
    }

    /// The first `len` bytes, as a backend wants them.
    #[inline]
    #[allow(unsafe_code)]
    pub fn buffer(&self, len: usize) -> Option<Buffer> {
        let start = self.stretch(0, len)?;
        // SAFETY: inside a piece of the arena, which this value owns and keeps alive. It is not dropped, nor used in another
        // way, before the operation is over: a task, job or stray with something in flight stays.
        Some(unsafe { Buffer::new(start, len, self.ledger.arena.registered.get().then_some(0)) })
    }

    /// The first `len` bytes, to be sent.
    #[inline]
    pub fn data(&self, len: usize) -> Option<DataRef> {
        self.stretch(0, len).map(|start| DataRef(start as u64))
    }

    /// Room from `at` on for the kernel to receive into: first byte and length.
    pub fn room(&self, at: usize, len: usize) -> Option<(*mut u8, usize)> {
        self.stretch(at, len).map(|start| (start, len))
    }

    /// `len` bytes from `at` on. Nothing may be in flight on them.
    #[inline]
    #[allow(unsafe_code)]
    pub fn bytes(&self, at: usize, len: usize) -> Option<&[u8]> {
        let start = self.stretch(at, len)?;
        // SAFETY: inside a piece of the arena, which is initialised memory and ours; who writes to it has `&mut self`, and the
        // kernel writes only while there is an operation on it.
        Some(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// Like [`Buf::bytes`], to be written.
    #[inline]
    #[allow(unsafe_code)]
    pub fn bytes_mut(&mut self, at: usize, len: usize) -> Option<&mut [u8]> {
        let start = self.stretch(at, len)?;
        // SAFETY: as in `bytes`, and `&mut self` makes it exclusive.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    /// Copies what there is room for from `at` on; how many bytes that is.
    #[inline]
    pub fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.capacity().saturating_sub(at));
        match self.bytes_mut(at, len) {
            Some(to) => to.copy_from_slice(&bytes[..len]),
            None => return 0,
        }
        len
    }
}

/// What sessions of one initiator, or of one address, hold together, bytes.
#[derive(Debug, Default)]
struct Tally(Cell<usize>);

/// What one session holds, and with whom it shares.
#[derive(Debug)]
struct Ledger {
    /// Where its pieces are from.
    arena: Rc<Shared>,
    /// What it holds by itself, bytes.
    held: Cell<usize>,
    /// What all sessions of its initiator hold.
    initiator: Rc<Tally>,
    /// What all sessions of its address hold.
    address: Rc<Tally>,
    /// The round of [`Arena::next_round`] in which it was refused last.
    refused: Cell<u64>,
}

impl Ledger {
    #[inline]
    fn levels(&self) -> [&Cell<usize>; 3] {
        [&self.held, &self.initiator.0, &self.address.0]
    }

    /// Whether this session may take so many bytes more. A session holds at most as much as is left free, so half of
    /// the arena if nobody else wants any; an initiator twice that (two thirds), an address three times (three
    /// quarters).
    #[inline]
    fn has_room(&self, bytes: usize, free_bytes: usize) -> bool {
        let [session, initiator, address] = self.levels().map(|held| held.get() + bytes);
        session <= free_bytes && initiator <= 2 * free_bytes && address <= 3 * free_bytes
    }
}

/// Whom pieces are charged to. The default account gives none.
#[derive(Debug, Clone, Default)]
pub struct Account(Option<Rc<Ledger>>);

impl Account {
    /// A piece of at least `len` bytes (at most `SLICE_BYTES`). `None`: wait until some come back.
    #[inline]
    pub fn take(&self, len: usize) -> Option<Buf> {
        debug_assert!(len <= SLICE_BYTES);
        let ledger = self.0.as_ref()?;
        let class = CLASS_BYTES.iter().position(|&c| len <= c)?;
        let mut pieces = ledger.arena.pieces.borrow_mut();
        let has_room = ledger.has_room(CLASS_BYTES[class], pieces.free_bytes);
        let Some((superblock, piece)) = has_room.then(|| pieces.take(class)).flatten() else {
            pieces.failures += 1;
            return None;
        };
        for held in ledger.levels() {
            held.set(held.get() + CLASS_BYTES[class]);
        }
        Some(Buf { ledger: Rc::clone(ledger), superblock, piece, class: class as u8 })
    }

    /// Whether the session, its initiator or its address holds a quarter of its share already (a session that is alone:
    /// a fifth of the arena). What is left of the share is for commands that go on, not for those that wait for their
    /// turn at a limit.
    pub fn is_crowded(&self) -> bool {
        self.0.as_ref().is_some_and(|ledger| {
            let free_bytes = ledger.arena.pieces.borrow().free_bytes;
            let [session, initiator, address] = ledger.levels().map(|held| 4 * held.get());
            session > free_bytes || initiator > 2 * free_bytes || address > 3 * free_bytes
        })
    }

    /// Bytes that the session holds.
    pub fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |ledger| ledger.held.get())
    }

    /// Notes that the account was refused in this round ([`Arena::next_round`]): nobody else of it needs to ask.
    pub fn refuse(&self, round: u64) {
        if let Some(ledger) = &self.0 {
            ledger.refused.set(round);
        }
    }

    /// Whether it was refused in this round already.
    pub fn is_refused(&self, round: u64) -> bool {
        self.0.as_ref().is_some_and(|ledger| ledger.refused.get() == round)
    }
}

/// Memory of `SLICE_BYTES`, whole or in pieces of one class.
#[derive(Debug)]
struct Superblock {
    /// Its class, while it is in pieces.
    class: u8,
    /// One bit for each free piece.
    free: u64,
    /// Place in its class's list of superblocks with free pieces.
    position: u16,
}

/// Which pieces there are, and which are free.
#[derive(Debug)]
struct Pieces {
    /// All superblocks, by number.
    superblocks: Vec<Superblock>,
    /// Superblocks that belong to no class.
    whole: Vec<u16>,
    /// Superblocks of each class that have both free and used pieces, or were just split.
    partial: [Vec<u16>; 4],
    /// Bytes that nobody holds.
    free_bytes: usize,
    /// Pieces have come back since [`Arena::next_round`] was asked last.
    came_back: bool,
    /// How often there was none for who asked for one.
    failures: u64,
}

/// What the pieces of an arena are in, for as long as there is one of them.
struct Shared {
    /// The memory.
    memory: Mapping,
    /// It is registered with the ring.
    registered: Cell<bool>,
    /// Its pieces.
    pieces: RefCell<Pieces>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Arena")
    }
}

/// Initiators by host and name (the empty one: all of the host).
type Tallies = HashMap<(Host, Box<str>), Weak<Tally>>;

/// The arena of one core.
pub struct Arena {
    /// The memory and its pieces.
    shared: Rc<Shared>,
    /// What is shared among sessions.
    tallies: Tallies,
    /// Number of the latest round in which those who wait for pieces are served.
    round: u64,
}

/// A superblock of each class with all of its pieces free.
const ALL_FREE: [u64; 4] =
    [all_free(CLASS_BYTES[0]), all_free(CLASS_BYTES[1]), all_free(CLASS_BYTES[2]), all_free(CLASS_BYTES[3])];

/// The bits of a superblock whose pieces, of so many bytes each, are all free.
const fn all_free(piece_bytes: usize) -> u64 {
    u64::MAX >> (64 - SLICE_BYTES / piece_bytes)
}

impl Pieces {
    #[inline]
    fn take(&mut self, class: usize) -> Option<(u16, u8)> {
        let index = match self.partial[class].last() {
            Some(&index) => index,
            None => self.split(class as u8)?,
        };
        let superblock = &mut self.superblocks[usize::from(index)];
        let piece = superblock.free.trailing_zeros() as u8;
        superblock.free &= superblock.free - 1;
        if superblock.free == 0 {
            self.partial[class].pop();
        }
        self.free_bytes -= CLASS_BYTES[class];
        Some((index, piece))
    }

    /// Splits a superblock that belongs to no class; its number.
    fn split(&mut self, class: u8) -> Option<u16> {
        let index = self.whole.pop()?;
        let list = &mut self.partial[usize::from(class)];
        self.superblocks[usize::from(index)] =
            Superblock { class, free: ALL_FREE[usize::from(class)], position: list.len() as u16 };
        list.push(index);
        Some(index)
    }

    /// Takes a piece back.
    #[inline]
    fn release(&mut self, index: u16, piece: u8, of: u8) {
        let class = usize::from(of);
        self.free_bytes += CLASS_BYTES[class];
        self.came_back = true;
        let superblock = &mut self.superblocks[usize::from(index)];
        debug_assert_eq!(superblock.class, of);
        debug_assert_eq!(superblock.free & (1 << piece), 0, "released twice");
        if superblock.free == 0 {
            superblock.position = self.partial[class].len() as u16;
            self.partial[class].push(index);
        }
        superblock.free |= 1 << piece;
        // Keep one superblock of a class split: a single command at a time would split and join for each.
        if superblock.free == ALL_FREE[class] && self.partial[class].len() > 1 {
            let position = usize::from(superblock.position);
            self.partial[class].swap_remove(position);
            if let Some(&moved) = self.partial[class].get(position) {
                self.superblocks[usize::from(moved)].position = position as u16;
            }
            self.whole.push(index);
        }
    }
}

impl Arena {
    /// Maps the arena; its pages are taken when first used.
    ///
    /// # Errors
    /// The error of the mapping.
    pub fn new() -> io::Result<Arena> {
        let count = ARENA_BYTES / SLICE_BYTES;
        let pieces = Pieces {
            superblocks: (0..count).map(|_| Superblock { class: 0, free: 0, position: 0 }).collect(),
            whole: (0..count as u16).rev().collect(),
            partial: std::array::from_fn(|_| Vec::with_capacity(count)),
            free_bytes: ARENA_BYTES,
            came_back: false,
            failures: 0,
        };
        let memory = Mapping::new(ARENA_BYTES)?;
        let shared = Shared { memory, registered: Cell::new(false), pieces: RefCell::new(pieces) };
        Ok(Arena { shared: Rc::new(shared), tallies: HashMap::new(), round: 0 })
    }

    /// The memory, to be registered with the ring.
    pub fn memory(&self) -> &Mapping {
        &self.shared.memory
    }

    /// Says that the memory is fixed buffer 0 of the core's ring.
    pub fn set_registered(&mut self) {
        self.shared.registered.set(true);
    }

    /// An account for a session of this initiator at that host.
    pub fn open(&mut self, host: Host, initiator: &str) -> Account {
        if self.tallies.len() >= 2 * self.tallies.values().filter(|tally| tally.strong_count() > 0).count() + 16 {
            self.tallies.retain(|_, tally| tally.strong_count() > 0);
        }
        let mut tally = |name: &str| {
            let place = self.tallies.entry((host, name.into())).or_default();
            place.upgrade().unwrap_or_else(|| {
                let tally = Rc::new(Tally::default());
                *place = Rc::downgrade(&tally);
                tally
            })
        };
        let (initiator, address) = (tally(initiator), tally(""));
        let arena = Rc::clone(&self.shared);
        Account(Some(Rc::new(Ledger { arena, held: Cell::new(0), initiator, address, refused: Cell::new(0) })))
    }

    /// The number of a new round in which those who wait are served, if pieces have come back since the last call.
    #[inline]
    pub fn next_round(&mut self) -> Option<u64> {
        if !std::mem::take(&mut self.shared.pieces.borrow_mut().came_back) {
            return None;
        }
        self.round += 1;
        Some(self.round)
    }

    /// Bytes that nobody holds.
    pub fn free_bytes(&self) -> usize {
        self.shared.pieces.borrow().free_bytes
    }

    /// How often there was no piece for who asked for one: there was none at all, or that one has its share.
    pub fn failures(&self) -> u64 {
        self.shared.pieces.borrow().failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::tests::at;

    fn here() -> Host {
        Host::of(at("127.0.0.1"))
    }

    fn start(buf: &Buf) -> usize {
        buf.stretch(0, 0).unwrap() as usize
    }

    fn all_of(account: &Account) -> Vec<Buf> {
        std::iter::from_fn(|| account.take(SLICE_BYTES)).collect()
    }

    #[test]
    fn pieces_do_not_overlap_and_all_come_back() {
        let mut arena = Arena::new().unwrap();
        let account = arena.open(here(), "a");
        let mut seed = 7u64;
        let mut held: Vec<Buf> = Vec::new();
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let roll = (seed >> 33) as usize;
            if roll.is_multiple_of(3) && !held.is_empty() {
                held.swap_remove(roll % held.len());
            } else if let Some(buf) = account.take(1 + roll % SLICE_BYTES) {
                let end = start(&buf) + buf.capacity();
                for other in &held {
                    assert!(end <= start(other) || start(other) + other.capacity() <= start(&buf));
                }
                held.push(buf);
            }
        }
        assert!(arena.next_round().is_some() && arena.next_round().is_none());
        assert_eq!(arena.free_bytes(), ARENA_BYTES - held.iter().map(Buf::capacity).sum::<usize>());
        drop(held);
        assert_eq!((arena.free_bytes(), account.held()), (ARENA_BYTES, 0));
        // At most one superblock of each smaller class may have stayed split.
        let failures = arena.failures();
        assert!(all_of(&account).len() >= ARENA_BYTES / SLICE_BYTES / 2 - 3);
        assert_eq!(arena.failures(), failures + 1, "until there was none");
    }

    #[test]
    fn a_length_is_held_to_its_piece() {
        let mut arena = Arena::new().unwrap();
        let mut buf = arena.open(here(), "a").take(512).unwrap();
        assert!(buf.buffer(4096).is_some_and(|buffer| buffer.len() == 4096) && buf.data(4096).is_some());
        assert!(buf.buffer(4097).is_none() && buf.data(4097).is_none());
        assert!(buf.room(4000, 96).is_some() && buf.room(4000, 97).is_none() && buf.room(1, usize::MAX).is_none());
        assert!(buf.bytes(4096, 0).is_some() && buf.bytes(4097, 0).is_none());
        assert_eq!((buf.put(4090, &[7; 20]), buf.put(4096, &[7]), buf.put(9999, &[7])), (6, 0, 0));
        let buffer = buf.buffer(4096).unwrap();
        assert!(
            buffer.part(0, 4097).is_none() && buffer.part(96, 4000).is_some_and(|part| part.part(0, 4001).is_none())
        );
    }

    #[test]
    fn nobody_takes_everything() {
        let mut arena = Arena::new().unwrap();
        let one = arena.open(here(), "a");
        let held = all_of(&one);
        assert_eq!(one.held(), ARENA_BYTES / 2);
        // More sessions of the same initiator, and more initiators at the same address.
        let others = |arena: &mut Arena, name: &dyn Fn(usize) -> String| {
            let accounts: Vec<_> = (0..40).map(|n| arena.open(here(), &name(n))).collect();
            accounts.iter().flat_map(all_of).collect::<Vec<_>>()
        };
        let initiator = others(&mut arena, &|_| "a".into());
        let third = ARENA_BYTES / 3;
        assert!(arena.free_bytes().abs_diff(third) < SLICE_BYTES, "{}", arena.free_bytes());
        assert!(arena.open(here(), "b").take(SLICE_BYTES).is_some(), "another initiator");
        let address = others(&mut arena, &|n| format!("c{n}"));
        assert!(arena.free_bytes().abs_diff(ARENA_BYTES / 4) < SLICE_BYTES, "{}", arena.free_bytes());
        let other = arena.open(Host::of(at("192.0.2.1")), "a");
        assert!(all_of(&other).len() >= ARENA_BYTES / SLICE_BYTES / 8 - 1, "another address");
        drop((held, initiator, address));
        assert_eq!(arena.free_bytes(), ARENA_BYTES);
    }

    #[test]
    fn a_fifth_is_for_what_waits() {
        let mut arena = Arena::new().unwrap();
        let account = arena.open(here(), "a");
        let waiting: Vec<_> =
            std::iter::from_fn(|| account.take(SLICE_BYTES).filter(|_| !account.is_crowded())).collect();
        assert_eq!(waiting.len(), ARENA_BYTES / 5 / SLICE_BYTES);
    }

    #[test]
    fn what_waits_is_a_part_of_an_initiators_and_of_an_addresss_however_many_sessions_there_are() {
        for (names, part) in [(1, 3.0), (16, 7.0 / 3.0)] {
            let mut arena = Arena::new().unwrap();
            let accounts: Vec<_> = (0..16).map(|n| arena.open(here(), &format!("host{}", n % names))).collect();
            let wait = |account: &Account| {
                std::iter::from_fn(|| account.take(SLICE_BYTES).filter(|_| !account.is_crowded())).collect::<Vec<_>>()
            };
            let waiting: usize = accounts.iter().map(wait).collect::<Vec<_>>().iter().map(Vec::len).sum();
            let most = (ARENA_BYTES as f64 / part) as usize / SLICE_BYTES;
            assert!(waiting <= most && waiting > most / 2, "{waiting} of {most}");
            assert!(arena.open(here(), "host0").take(SLICE_BYTES).is_some());
        }
    }

    #[test]
    fn sessions_that_are_gone_are_forgotten() {
        let mut arena = Arena::new().unwrap();
        for n in 0..1000 {
            arena.open(here(), &format!("host{n}"));
        }
        assert!(arena.tallies.len() < 100);
    }
}
