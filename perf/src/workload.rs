//! What the next I/O is: operation, place and, when reads are checked, the generation of the block.

use crate::pattern::Blocks;

/// What an I/O does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// Reads blocks.
    #[default]
    Read,
    /// Writes blocks.
    Write,
    /// Writes one block many times (WRITE SAME), beside the load.
    WriteSame,
}

/// One I/O.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// What it does.
    pub operation: Operation,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u32,
    /// The generation that is written or must be found; meaningless unless reads are checked.
    pub generation: u32,
}

/// The order of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pattern {
    /// Uniformly random blocks.
    Random,
    /// One block after the other over all sessions, again from the start at the end of the span.
    Seq,
}

/// Produces I/Os.
pub struct Workload {
    block: u32,
    blocks: u64,
    read_percent: u64,
    pattern: Pattern,
    cursor: u64,
    random: u64,
    state: Option<Blocks>,
}

/// How many blocks are tried before the caller is told to come back later.
const TRIES: usize = 16;

impl Workload {
    /// I/Os of `block` bytes within `span` bytes, `read_percent` of them reads; `verify` keeps track of what each block
    /// must hold.
    pub fn new(block: u32, span: u64, read_percent: u8, pattern: Pattern, seed: u64, verify: bool) -> Self {
        let blocks = span / u64::from(block);
        let state = verify.then(|| Blocks::new(blocks as usize));
        // Zero would stay zero.
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { block, blocks, read_percent: read_percent.into(), pattern, cursor: 0, random, state }
    }

    /// Blocks in the span.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Whether reads are checked.
    pub fn verifies(&self) -> bool {
        self.state.is_some()
    }

    /// From 0 to `limit - 1` (xorshift64*, then the high bits of a product).
    #[inline]
    fn random_below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let value = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(value) * u128::from(limit)) >> 64) as u64
    }

    /// The next I/O; `None` if every block that was tried is in use (only when reads are checked).
    #[inline]
    pub fn next_io(&mut self) -> Option<Io> {
        let read = match self.read_percent {
            100 => true,
            0 => false,
            percent => self.random_below(100) < percent,
        };
        let operation = if read { Operation::Read } else { Operation::Write };
        for _ in 0..TRIES {
            let block = match self.pattern {
                Pattern::Random => self.random_below(self.blocks),
                Pattern::Seq => self.advance(),
            };
            if let Some(io) = self.take(operation, block) {
                return Some(io);
            }
        }
        None
    }

    fn advance(&mut self) -> u64 {
        let block = self.cursor;
        self.cursor = if block + 1 < self.blocks { block + 1 } else { 0 };
        block
    }

    /// An I/O to block number `block`, unless that is in use.
    pub fn take(&mut self, operation: Operation, block: u64) -> Option<Io> {
        let generation = match &mut self.state {
            None => 0,
            Some(state) if operation == Operation::Read => state.start_read(block as usize)?,
            Some(state) => state.start_write(block as usize)?,
        };
        Some(Io { operation, offset: block * u64::from(self.block), len: self.block, generation })
    }

    /// Tells that `io` succeeded.
    #[inline]
    pub fn finish(&mut self, io: &Io) {
        if let Some(state) = &mut self.state
            && io.operation != Operation::WriteSame
        {
            state.finish((io.offset / u64::from(self.block)) as usize, io.operation == Operation::Write);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_addresses_cover_the_span_and_stay_inside() {
        let mut workload = Workload::new(4096, 64 * 4096 + 100, 70, Pattern::Random, 1, false);
        let mut seen = [0u32; 64];
        let mut reads = 0;
        for _ in 0..64_000 {
            let io = workload.next_io().unwrap();
            assert_eq!((io.offset % 4096, io.len), (0, 4096));
            seen[(io.offset / 4096) as usize] += 1;
            reads += u32::from(io.operation == Operation::Read);
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
        assert!((44_000..45_600).contains(&reads), "{reads} reads of 64000 at 70 %");
    }

    #[test]
    fn sequential_wraps() {
        let mut workload = Workload::new(512, 1536, 100, Pattern::Seq, 1, false);
        let offsets: Vec<_> = (0..5).map(|_| workload.next_io().unwrap().offset).collect();
        assert_eq!(offsets, [0, 512, 1024, 0, 512]);
    }

    #[test]
    fn a_block_in_use_is_not_given_out_twice() {
        let mut workload = Workload::new(512, 1024, 0, Pattern::Random, 3, true);
        let (a, b) = (workload.next_io().unwrap(), workload.next_io().unwrap());
        assert_ne!(a.offset, b.offset);
        assert_eq!(workload.next_io(), None);
        workload.finish(&a);
        let again = workload.next_io().unwrap();
        assert_eq!((again.offset, again.generation), (a.offset, 2));
    }
}
