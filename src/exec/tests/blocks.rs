//! What each block of a unit may hold, when commands overtake each other as they like.

use super::BLOCK_BYTES;
use std::collections::BTreeMap;
use std::ops::Range;

/// The value of a block: what the command with this number has written everywhere in it. Zero: nobody has written.
pub type Stamp = u64;

/// When a value began to be written, and when that was over: numbers of steps.
#[derive(Debug, Clone, Default)]
struct Writing {
    since: u64,
    /// `None`: it is under way.
    until: Option<u64>,
    /// It was answered GOOD.
    is_good: bool,
    /// Values that came after this one, if they came: it was written only because they were not there.
    before: Vec<Stamp>,
}

/// The oracle.
pub struct Blocks {
    /// The values that each block may have.
    may: Vec<BTreeMap<Stamp, Writing>>,
    /// All that were to be written to each block, and since when.
    begun: Vec<BTreeMap<Stamp, u64>>,
    /// And when that was over.
    over: Vec<BTreeMap<Stamp, u64>>,
    step: u64,
}

/// What a read may find: the values that there were when it began, and since when others count, too.
pub struct Look {
    range: Range<usize>,
    may: Vec<Vec<Stamp>>,
    since: u64,
}

impl Look {
    /// Bytes that are read.
    pub fn bytes(&self) -> u32 {
        self.range.len() as u32 * BLOCK_BYTES
    }
}

impl Blocks {
    /// So many blocks of zeroes.
    pub fn new(blocks: usize) -> Blocks {
        let zero = || BTreeMap::from([(0, Writing { until: Some(0), is_good: true, ..Writing::default() })]);
        Blocks {
            may: (0..blocks).map(|_| zero()).collect(),
            begun: vec![BTreeMap::new(); blocks],
            over: vec![BTreeMap::from([(0, 0)]); blocks],
            step: 0,
        }
    }

    fn tick(&mut self) -> u64 {
        self.step += 1;
        self.step
    }

    /// A command begins that is to write a value.
    pub fn begin(&mut self, range: Range<usize>, stamp: Stamp) {
        let since = self.tick();
        for number in range {
            self.may[number].insert(stamp, Writing { since, ..Writing::default() });
            self.begun[number].insert(stamp, since);
        }
    }

    /// It was answered GOOD: no value is there any more that was written before it began.
    pub fn written(&mut self, range: Range<usize>, stamp: Stamp) {
        let now = self.tick();
        self.over[range.clone()].iter_mut().for_each(|over| _ = over.insert(stamp, now));
        for block in &mut self.may[range] {
            let Some(own) = block.get_mut(&stamp) else { continue };
            (own.until, own.is_good) = (Some(now), true);
            let since = own.since;
            block.retain(|other, writing| {
                *other == stamp || writing.until.is_none_or(|until| until > since) && !writing.before.contains(&stamp)
            });
        }
    }

    /// A command was answered GOOD that has written a value because it has found `wanted`. What began when `wanted` was
    /// there already, was under way at the same time, and has been written, came behind it: else that would have been
    /// found.
    pub fn exchanged(&mut self, range: Range<usize>, (stamp, wanted): (Stamp, Stamp)) {
        self.written(range.clone(), stamp);
        for (block, over) in self.may[range.clone()].iter_mut().zip(&self.over[range]) {
            let Some(&there) = over.get(&wanted) else { continue };
            let Some(since) = block.get(&stamp).map(|own| own.since) else { continue };
            let beside = |(other, writing): (&Stamp, &Writing)| {
                let is_beside = writing.since > there && writing.until.is_none_or(|until| until > since);
                (is_beside && *other != stamp && *other != wanted).then_some((*other, writing.is_good))
            };
            let others: Vec<_> = block.iter().filter_map(beside).collect();
            if others.iter().any(|(_, is_good)| *is_good) {
                block.remove(&stamp);
            } else if let Some(own) = block.get_mut(&stamp) {
                own.before = others.into_iter().map(|(other, _)| other).collect();
            }
        }
    }

    /// It failed, or was aborted: its value may be there, or not, but will not come later.
    pub fn given_up(&mut self, range: Range<usize>, stamp: Stamp) {
        let now = self.tick();
        self.over[range.clone()].iter_mut().for_each(|over| _ = over.insert(stamp, now));
        for block in &mut self.may[range] {
            if let Some(writing) = block.get_mut(&stamp) {
                writing.until = Some(now);
            }
        }
    }

    /// It has found that it is not to write.
    pub fn not_written(&mut self, range: Range<usize>, stamp: Stamp) {
        for number in range {
            self.may[number].remove(&stamp);
            self.begun[number].remove(&stamp);
        }
    }

    /// A read begins.
    pub fn look(&mut self, range: Range<usize>) -> Look {
        let since = self.tick();
        let may = self.may[range.clone()].iter().map(|block| block.keys().copied().collect()).collect();
        Look { range, may, since }
    }

    /// Whether a read may have found this. What was over when it began, and was not found, is not there any more.
    pub fn check(&mut self, look: &Look, data: &[u8]) {
        assert_eq!(data.len(), look.range.len() * BLOCK_BYTES as usize);
        for (at, (number, block)) in look.range.clone().zip(data.chunks(BLOCK_BYTES as usize)).enumerate() {
            let stamp = stamp_of(block);
            let came = self.begun[number].get(&stamp).is_some_and(|since| *since > look.since);
            assert!(
                look.may[at].contains(&stamp) || came,
                "block {number} has {stamp}, and may have {:?} or {:?}",
                look.may[at],
                self.may[number]
            );
            self.may[number]
                .retain(|other, writing| *other == stamp || writing.until.is_none_or(|until| until > look.since));
        }
    }

    /// A value that a block may have now.
    pub fn some(&self, block: usize) -> Stamp {
        self.may[block].keys().next_back().copied().unwrap_or(0)
    }
}

/// The value of a block, which is everywhere in it the same.
fn stamp_of(block: &[u8]) -> Stamp {
    let words: Vec<_> = block.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    assert!(words.iter().all(|word| *word == words[0]), "a torn block: {words:x?}");
    words[0]
}

/// So many blocks with that value.
pub fn filled(blocks: usize, stamp: Stamp) -> Vec<u8> {
    stamp.to_le_bytes().repeat(blocks * BLOCK_BYTES as usize / 8)
}
