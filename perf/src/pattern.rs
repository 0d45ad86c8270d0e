//! What the blocks hold when reads are checked: every sector names its address and the generation of its last write.
//!
//! [`Blocks`] remembers the generation per block and which blocks are being read or written; the workload never
//! touches a block that an outstanding write may change, so each read has exactly one right answer, and a lost, torn
//! or misplaced write is found by the next read of that block.

/// A sector starts with its address and its generation, so that wrong data tells where it belongs.
const SECTOR: u64 = 512;

/// The eight bytes at byte address `address` (a multiple of eight) in generation `generation`.
#[inline]
fn word(address: u64, generation: u32) -> u64 {
    match address % SECTOR {
        0 => address,
        8 => u64::from(generation),
        _ => (address ^ (u64::from(generation) << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

/// Fills `bytes`, which are to stand at `address` (a multiple of eight, as is the length).
pub fn fill(bytes: &mut [u8], address: u64, generation: u32) {
    for (index, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&word(address + index as u64 * 8, generation).to_le_bytes());
    }
}

/// Checks a fragment of any length and alignment; the error describes the first wrong byte.
pub fn check(bytes: &[u8], address: u64, generation: u32) -> Result<(), String> {
    let head = (address.wrapping_neg() % 8).min(bytes.len() as u64) as usize;
    let (first, rest) = bytes.split_at(head);
    let aligned = address + head as u64;
    let wrong = first.iter().enumerate().any(|(i, &byte)| byte != byte_at(address + i as u64, generation))
        || rest.chunks(8).enumerate().any(|(i, chunk)| {
            let expected = word(aligned + i as u64 * 8, generation).to_le_bytes();
            chunk != &expected[..chunk.len()]
        });
    if wrong { Err(describe(bytes, address, generation)) } else { Ok(()) }
}

fn byte_at(address: u64, generation: u32) -> u8 {
    word(address & !7, generation).to_le_bytes()[(address % 8) as usize]
}

#[cold]
fn describe(bytes: &[u8], address: u64, generation: u32) -> String {
    let differs = |(i, &byte): (usize, &u8)| byte != byte_at(address + i as u64, generation);
    let at = bytes.iter().enumerate().position(differs).unwrap_or(0);
    let wrong = address + at as u64;
    let sector = wrong / SECTOR * SECTOR;
    let found = sector.checked_sub(address).and_then(|skip| bytes.get(skip as usize..skip as usize + 16));
    let found = match found.map(|stamp| stamp.split_at(8)) {
        Some((place, number)) => {
            let number_of = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
            format!("; the sector says it is byte {} in generation {}", number_of(place), number_of(number))
        }
        None => String::new(),
    };
    format!(
        "wrong data at byte {wrong} of the LUN: {:#04x} instead of {:#04x} (generation {generation}){found}",
        bytes.get(at).copied().unwrap_or(0),
        byte_at(wrong, generation),
    )
}

/// The state of each block of the span.
pub struct Blocks {
    generation: Vec<u32>,
    /// Outstanding reads, or [`WRITING`].
    users: Vec<u16>,
}

const WRITING: u16 = u16::MAX;

impl Blocks {
    /// `count` blocks that were never written.
    pub fn new(count: usize) -> Self {
        Self { generation: vec![0; count], users: vec![0; count] }
    }

    /// Takes a block for reading: the generation that must be found there, or `None` while it is being written.
    pub fn start_read(&mut self, block: usize) -> Option<u32> {
        if self.users[block] >= WRITING - 1 {
            return None;
        }
        self.users[block] += 1;
        Some(self.generation[block])
    }

    /// Takes a block for writing: the generation to write, or `None` while it is in use.
    pub fn start_write(&mut self, block: usize) -> Option<u32> {
        if self.users[block] != 0 {
            return None;
        }
        self.users[block] = WRITING;
        Some(self.generation[block].wrapping_add(1))
    }

    /// Gives a block back after a read, or after a write that succeeded.
    pub fn finish(&mut self, block: usize, write: bool) {
        if write {
            self.users[block] = 0;
            self.generation[block] = self.generation[block].wrapping_add(1);
        } else {
            self.users[block] -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_fragment_is_recognised() {
        let mut bytes = vec![0; 2048];
        fill(&mut bytes, 4096, 3);
        for start in 0..40 {
            for len in [0, 1, 7, 8, 9, 100, 1500] {
                let fragment = &bytes[start..start + len];
                check(fragment, 4096 + start as u64, 3).unwrap();
                // Shorter fragments may hold nothing that depends on the generation.
                assert!(len < 100 || check(fragment, 4096 + start as u64, 4).is_err());
            }
        }
    }

    #[test]
    fn one_flipped_bit_is_found_and_described() {
        let mut bytes = vec![0; 1024];
        fill(&mut bytes, 0, 9);
        bytes[700] ^= 4;
        let text = check(&bytes, 0, 9).unwrap_err();
        assert!(text.contains("at byte 700 ") && text.contains("generation 9"), "{text}");
    }

    #[test]
    fn a_misplaced_sector_names_its_place() {
        let mut bytes = vec![0; 512];
        fill(&mut bytes, 8192, 5);
        let text = check(&bytes, 512, 1).unwrap_err();
        assert!(text.ends_with("it is byte 8192 in generation 5"), "{text}");
    }

    #[test]
    fn a_block_is_written_alone() {
        let mut blocks = Blocks::new(2);
        assert_eq!(blocks.start_write(1), Some(1));
        assert_eq!((blocks.start_read(1), blocks.start_write(1)), (None, None));
        blocks.finish(1, true);
        assert_eq!((blocks.start_read(1), blocks.start_read(1), blocks.start_write(1)), (Some(1), Some(1), None));
        blocks.finish(1, false);
        blocks.finish(1, false);
        assert_eq!(blocks.start_write(1), Some(2));
        assert_eq!(blocks.start_read(0), Some(0));
    }
}
