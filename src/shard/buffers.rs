//! I/O buffers of one core: one arena, registered with the ring where locked memory allows, cut into superblocks of
//! `limits::SLICE_BYTES` that are split into pieces of one class each (4, 16, 64 or 256 KiB).
//!
//! Allocation and return are a few instructions and never touch the system. Pieces are reused last in, first out, which
//! keeps a lightly loaded core inside its cache. A session may hold no more than what would be left free
//! ([`Arena::allocate`]), so one that does not read its answers cannot starve the others.

use crate::backend::Buffer;
use crate::limits::{ARENA_BYTES, SLICE_BYTES};
use crate::ring::Mapping;
use crate::session::seam::DataRef;
use std::io;

/// Bytes of a piece, by class.
const CLASS_BYTES: [usize; 4] = [4 << 10, 16 << 10, 64 << 10, SLICE_BYTES];
const _: () = assert!(SLICE_BYTES / CLASS_BYTES[0] <= 64, "a superblock's pieces fit a 64-bit mask");

/// A piece of the arena. Not `Copy`: whoever holds it gives it back exactly once.
#[derive(Debug, PartialEq, Eq)]
pub struct Buf {
    superblock: u16,
    piece: u8,
    class: u8,
}

impl Buf {
    /// Bytes in it.
    #[inline]
    pub fn capacity(&self) -> usize {
        CLASS_BYTES[usize::from(self.class)]
    }

    /// Where in the arena it begins, bytes.
    #[inline]
    pub fn offset(&self) -> usize {
        usize::from(self.superblock) * SLICE_BYTES + usize::from(self.piece) * self.capacity()
    }
}

struct Superblock {
    class: u8,
    /// One bit for each free piece.
    free: u64,
    /// Place in its class's list of superblocks with free pieces.
    position: u16,
}

/// The arena of one core.
pub struct Arena {
    memory: Mapping,
    superblocks: Vec<Superblock>,
    /// Superblocks that belong to no class.
    whole: Vec<u16>,
    /// Superblocks of each class that have both free and used pieces, or were just split.
    partial: [Vec<u16>; 4],
    free_bytes: usize,
    registered: bool,
}

fn all_free(class: u8) -> u64 {
    let pieces = SLICE_BYTES / CLASS_BYTES[usize::from(class)];
    if pieces == 64 { u64::MAX } else { (1 << pieces) - 1 }
}

impl Arena {
    /// Maps the arena; its pages are taken when first used.
    pub fn new() -> io::Result<Arena> {
        let count = ARENA_BYTES / SLICE_BYTES;
        Ok(Arena {
            memory: Mapping::new(ARENA_BYTES)?,
            superblocks: (0..count).map(|_| Superblock { class: 0, free: 0, position: 0 }).collect(),
            whole: (0..count as u16).rev().collect(),
            partial: std::array::from_fn(|_| Vec::with_capacity(count)),
            free_bytes: ARENA_BYTES,
            registered: false,
        })
    }

    /// The memory, to be registered with the ring.
    pub fn memory(&self) -> &Mapping {
        &self.memory
    }

    /// Says that the memory is fixed buffer 0 of the core's ring.
    pub fn set_registered(&mut self) {
        self.registered = true;
    }

    /// A piece of at least `len` bytes (at most `SLICE_BYTES`) for a session that holds `held` bytes already, or `None`:
    /// wait until some come back.
    #[inline]
    pub fn allocate(&mut self, len: usize, held: usize) -> Option<Buf> {
        debug_assert!(len <= SLICE_BYTES);
        let class = CLASS_BYTES.iter().position(|&c| len <= c)?;
        let bytes = CLASS_BYTES[class];
        if held + bytes > self.free_bytes {
            return None;
        }
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
        self.free_bytes -= bytes;
        Some(Buf { superblock: index, piece, class: class as u8 })
    }

    fn split(&mut self, class: u8) -> Option<u16> {
        let index = self.whole.pop()?;
        let list = &mut self.partial[usize::from(class)];
        self.superblocks[usize::from(index)] = Superblock { class, free: all_free(class), position: list.len() as u16 };
        list.push(index);
        Some(index)
    }

    /// Takes a piece back.
    #[inline]
    pub fn release(&mut self, buf: Buf) {
        let class = usize::from(buf.class);
        self.free_bytes += CLASS_BYTES[class];
        let superblock = &mut self.superblocks[usize::from(buf.superblock)];
        debug_assert_eq!(superblock.class, buf.class);
        debug_assert_eq!(superblock.free & (1 << buf.piece), 0, "released twice");
        if superblock.free == 0 {
            superblock.position = self.partial[class].len() as u16;
            self.partial[class].push(buf.superblock);
        }
        superblock.free |= 1 << buf.piece;
        // Keep one superblock of a class split: a single command at a time would split and join for each.
        if superblock.free == all_free(buf.class) && self.partial[class].len() > 1 {
            let position = usize::from(superblock.position);
            self.partial[class].swap_remove(position);
            if let Some(&moved) = self.partial[class].get(position) {
                self.superblocks[usize::from(moved)].position = position as u16;
            }
            self.whole.push(buf.superblock);
        }
    }

    /// `len` bytes of a piece from `at` on, if it has them. All that reads, writes, sends or receives in the arena has its
    /// pointers from here: lengths that peers have chosen are compared with the piece that they are used on.
    #[inline]
    fn stretch(&self, buf: &Buf, at: usize, len: usize) -> Option<*mut u8> {
        let inside = at.checked_add(len).is_some_and(|end| end <= buf.capacity());
        inside.then(|| self.memory.as_ptr().wrapping_add(buf.offset() + at))
    }

    /// The first `len` bytes of a piece, as a backend wants them.
    #[inline]
    #[allow(unsafe_code)]
    pub fn buffer(&self, buf: &Buf, len: usize) -> Option<Buffer> {
        let start = self.stretch(buf, 0, len)?;
        // SAFETY: inside a piece of the arena, which outlives the ring's operations. Whoever has `buf` owns the piece, and
        // gives it to nobody else before the operation is over.
        Some(unsafe { Buffer::new(start, len, self.registered.then_some(0)) })
    }

    /// All of it, of which jobs take their pieces.
    #[allow(unsafe_code)]
    pub fn whole(&self) -> Buffer {
        // SAFETY: exactly the mapping. Jobs make pieces of it only for a `Buf` that they own (`JobCx::adopt`).
        unsafe { Buffer::new(self.memory.as_ptr(), self.memory.len(), self.registered.then_some(0)) }
    }

    /// The first `len` bytes of a piece, to be sent.
    #[inline]
    pub fn data(&self, buf: &Buf, len: usize) -> Option<DataRef> {
        self.stretch(buf, 0, len).map(|start| DataRef(start as u64))
    }

    /// Room in a piece from `at` on for the kernel to receive into: first byte and length.
    pub fn room(&self, buf: &Buf, at: usize, len: usize) -> Option<(*mut u8, usize)> {
        self.stretch(buf, at, len).map(|start| (start, len))
    }

    /// Bytes of a piece, on which nothing is in flight.
    #[inline]
    #[allow(unsafe_code)]
    pub fn bytes<'a>(&'a self, buf: &'a Buf, at: usize, len: usize) -> Option<&'a [u8]> {
        let start = self.stretch(buf, at, len)?;
        // SAFETY: inside a piece of the arena, which is initialised memory; `buf` and the arena are borrowed, so it is not
        // given back or written to by us meanwhile, and the kernel does not write to a piece without an operation on it.
        Some(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// Copies what there is room for into a piece from `at` on; how many bytes that is.
    #[inline]
    #[allow(unsafe_code)]
    pub fn put(&mut self, buf: &Buf, at: usize, bytes: &[u8]) -> usize {
        let len = bytes.len().min(buf.capacity().saturating_sub(at));
        if len > 0
            && let Some(to) = self.stretch(buf, at, len)
        {
            // SAFETY: inside a piece of the arena, to which there are no references: `bytes` is elsewhere.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, len) }
        }
        len
    }

    /// Bytes that nobody holds.
    #[cfg(test)]
    pub fn free_bytes(&self) -> usize {
        self.free_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_overlap_and_all_come_back() {
        let mut arena = Arena::new().unwrap();
        let mut seed = 7u64;
        let mut held: Vec<(Buf, usize)> = Vec::new();
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let roll = (seed >> 33) as usize;
            if roll.is_multiple_of(3) && !held.is_empty() {
                let (buf, _) = held.swap_remove(roll % held.len());
                arena.release(buf);
            } else if let Some(buf) = arena.allocate(1 + roll % SLICE_BYTES, 0) {
                let start = buf.offset();
                let end = start + buf.capacity();
                for (other, other_start) in &held {
                    assert!(end <= *other_start || *other_start + other.capacity() <= start);
                }
                held.push((buf, start));
            }
        }
        for (buf, _) in held {
            arena.release(buf);
        }
        assert_eq!(arena.free_bytes(), ARENA_BYTES);
        let whole: Vec<Buf> = std::iter::from_fn(|| arena.allocate(SLICE_BYTES, 0)).collect();
        // At most one superblock of each smaller class may have stayed split.
        assert!(whole.len() >= ARENA_BYTES / SLICE_BYTES - 3, "{}", whole.len());
    }

    #[test]
    fn one_holder_cannot_take_everything() {
        let mut arena = Arena::new().unwrap();
        let mut held = 0;
        while let Some(buf) = arena.allocate(SLICE_BYTES, held) {
            held += buf.capacity();
        }
        assert_eq!(held, ARENA_BYTES / 2);
        assert!(arena.allocate(SLICE_BYTES, 0).is_some());
    }
}
