//! What each block of a unit may hold, when commands overtake each other as they like.
//!
//! A command counts as under way from before it was sent until after its answer has come: whoever sees less of it sees a part of
//! that time, so what is a fault here is one for everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

/// The number of a command that writes; its blocks have it everywhere in them. Zero: nobody has written.
pub type Stamp = u64;

/// Of the number of a command that writes zeroes instead.
pub const ZEROES: Stamp = 1 << 63;

/// What stands in a block that the command with this number has written.
pub const fn value_of(stamp: Stamp) -> u64 {
    if stamp & ZEROES == 0 { stamp } else { 0 }
}

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
#[derive(Debug)]
pub struct Blocks {
    block_bytes: u32,
    /// A read that goes on while a block is written may find some bytes of before and some of after, as in memory.
    pub tears: bool,
    /// The values that each block may have.
    may: Vec<BTreeMap<Stamp, Writing>>,
    /// All that were to be written to each block, by when that began.
    begun: Vec<BTreeMap<u64, Stamp>>,
    /// And when that was over.
    over: Vec<BTreeMap<Stamp, u64>>,
    /// Those that each block may have after a loss of power now.
    lasting: Vec<BTreeSet<Stamp>>,
    /// Values that could not be made to last, though their block shows them.
    adrift: Vec<BTreeSet<Stamp>>,
    /// Values that a command was answered GOOD for exchanging, since the blocks last fell back.
    exchanged: Vec<BTreeSet<Stamp>>,
    /// When they did.
    fell_back: u64,
    /// Commands after which what they have written lasts.
    durable: BTreeSet<Stamp>,
    step: u64,
}

/// What a read may find: the values that there were when it began, and since when others count, too.
#[derive(Clone)]
pub struct Look {
    range: Range<usize>,
    may: Vec<Vec<Stamp>>,
    since: u64,
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocks {:?}", self.range)
    }
}

impl Look {
    /// When it was: a number of a step.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// The blocks that are read.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

impl Blocks {
    /// So many blocks of zeroes, of this length.
    pub fn new(blocks: usize, block_bytes: u32) -> Blocks {
        let zero = || BTreeMap::from([(0, Writing { until: Some(0), is_good: true, ..Writing::default() })]);
        Blocks {
            block_bytes,
            tears: false,
            may: (0..blocks).map(|_| zero()).collect(),
            begun: vec![BTreeMap::new(); blocks],
            over: vec![BTreeMap::from([(0, 0)]); blocks],
            lasting: vec![BTreeSet::from([0]); blocks],
            adrift: vec![BTreeSet::new(); blocks],
            exchanged: vec![BTreeSet::new(); blocks],
            fell_back: 0,
            durable: BTreeSet::new(),
            step: 0,
        }
    }

    /// There are so many blocks from now on; those that are new are of zeroes.
    pub fn grow(&mut self, blocks: usize) {
        let more = Blocks::new(blocks.saturating_sub(self.count()), self.block_bytes);
        self.may.extend(more.may);
        self.begun.extend(more.begun);
        self.over.extend(more.over);
        self.lasting.extend(more.lasting);
        self.adrift.extend(more.adrift);
        self.exchanged.extend(more.exchanged);
    }

    /// How many blocks there are.
    pub fn count(&self) -> usize {
        self.may.len()
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// So many blocks as the command with this number writes them.
    pub fn filled(&self, blocks: usize, stamp: Stamp) -> Vec<u8> {
        value_of(stamp).to_le_bytes().repeat(blocks * self.block_bytes as usize / 8)
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
            self.begun[number].insert(since, stamp);
            self.lasting[number].insert(stamp);
        }
    }

    /// It was answered GOOD: no value is there any more that was written before it began.
    pub fn written(&mut self, range: Range<usize>, stamp: Stamp) {
        let now = self.tick();
        self.over[range.clone()].iter_mut().for_each(|over| _ = over.insert(stamp, now));
        let lasts = self.durable.contains(&stamp);
        for number in range {
            let block = &mut self.may[number];
            let Some(own) = block.get_mut(&stamp) else { continue };
            (own.until, own.is_good) = (Some(now), true);
            let since = own.since;
            if lasts {
                let over = &self.over[number];
                self.lasting[number]
                    .retain(|other| *other == stamp || over.get(other).is_none_or(|until| *until > since));
            }
            block.retain(|other, writing| {
                *other == stamp || writing.until.is_none_or(|until| until > since) && !writing.before.contains(&stamp)
            });
        }
    }

    /// A command was answered GOOD that has written a value because it has found `wanted`, which no other has written. What began when `wanted` was
    /// there already, was under way at the same time, and has been written, came behind it: else that would have been
    /// found.
    ///
    /// # Errors
    /// Another command was answered GOOD for the same: only one of them can have found what was written once.
    pub fn exchanged(&mut self, range: Range<usize>, (stamp, wanted): (Stamp, Stamp)) -> Result<(), String> {
        self.written(range.clone(), stamp);
        for number in range.clone() {
            // What was there before the blocks fell back may be there again.
            let is_since = self.may[number].get(&stamp).is_some_and(|own| own.since > self.fell_back);
            if is_since && !self.exchanged[number].insert(wanted) {
                return Err(format!("block {number} had {wanted:#x} only once, and it was exchanged twice"));
            }
        }
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
        Ok(())
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
            let since = self.may[number].remove(&stamp).map(|writing| writing.since);
            since.map(|since| self.begun[number].remove(&since));
            self.lasting[number].remove(&stamp);
        }
    }

    /// A read begins.
    pub fn look(&mut self, range: Range<usize>) -> Look {
        let since = self.tick();
        let may = self.may[range.clone()].iter().map(|block| block.keys().copied().collect()).collect();
        Look { range, may, since }
    }

    /// Takes note of what a read has found. What was over when it began, and was not found, is not there any more.
    ///
    /// # Errors
    /// It cannot have found that; where, and what it may have found.
    pub fn check(&mut self, look: &Look, data: &[u8]) -> Result<(), String> {
        let block_bytes = self.block_bytes as usize;
        if data.len() != look.range.len() * block_bytes {
            return Err(format!("{} bytes for the blocks {:?}", data.len(), look.range));
        }
        for (at, block) in data.chunks(block_bytes).enumerate() {
            let number = look.range.start + at;
            let value = match value_in(block) {
                Ok(value) => value,
                Err(_) if self.tears && self.may_be_torn(look, at, block) => continue,
                Err(torn) => return Err(format!("block {number} is torn: {torn}")),
            };
            if !self.may_be(look, at, value) {
                let (may, now) = (&look.may[at], &self.may[number]);
                return Err(format!("block {number} has {value:#x}, and may have {may:x?} or {now:x?}"));
            }
            let found = self.found(look, at).find(|stamp| value_of(*stamp) == value);
            let may = &mut self.may[number];
            may.retain(|other, writing| {
                value_of(*other) == value || writing.until.is_none_or(|until| until > look.since)
            });
            // Nothing is left of what was known by other commands: it is there, then.
            if let Some(stamp) = found.filter(|_| may.is_empty()) {
                may.insert(stamp, Writing { until: Some(look.since), ..Writing::default() });
            }
        }
        Ok(())
    }

    /// Whether a read may find this value in its block number `at`.
    fn may_be(&self, look: &Look, at: usize, value: u64) -> bool {
        self.found(look, at).any(|stamp| value_of(stamp) == value)
    }

    /// Whether each byte of a block is one that a read may find there.
    fn may_be_torn(&self, look: &Look, at: usize, block: &[u8]) -> bool {
        let values: Vec<[u8; 8]> = self.found(look, at).map(|stamp| value_of(stamp).to_le_bytes()).collect();
        block.iter().enumerate().all(|(at, byte)| values.iter().any(|value| value[at % 8] == *byte))
    }

    /// Whether one that compares its blocks with `wanted` everywhere may find the first difference at this byte.
    pub fn may_differ(&self, look: &Look, wanted: Stamp, offset: u64) -> bool {
        let (at, byte) = ((offset / u64::from(self.block_bytes)) as usize, offset % u64::from(self.block_bytes));
        let differs = |stamp: Stamp| {
            let difference = value_of(stamp) ^ value_of(wanted);
            difference != 0 && u64::from(difference.trailing_zeros() / 8) == byte
        };
        at < look.range.len()
            && (0..at).all(|before| self.may_be(look, before, value_of(wanted)))
            && self.found(look, at).any(differs)
    }

    /// The commands of which a read may find the value in its block number `at`.
    fn found(&self, look: &Look, at: usize) -> impl Iterator<Item = Stamp> {
        let came = self.begun[look.range.start + at].range(look.since + 1..).map(|(_, stamp)| *stamp);
        look.may[at].iter().copied().chain(came)
    }

    /// What the command with this number writes lasts when it is answered GOOD.
    pub fn is_to_last(&mut self, stamp: Stamp) {
        self.durable.insert(stamp);
    }

    /// Whether it is such a command.
    pub fn lasts(&self, stamp: Stamp) -> bool {
        self.durable.contains(&stamp)
    }

    /// A flush was answered GOOD, which began with this look at all blocks: what was not there then does not last.
    /// Of a block that still showed what is adrift nothing is known by that: the flush has passed it over.
    pub fn flushed(&mut self, look: &Look) {
        for (at, number) in look.range.clone().enumerate() {
            if look.may[at].iter().any(|stamp| self.adrift[number].contains(stamp)) {
                continue;
            }
            // Not if it was seen before that drifted: it is there until something else is.
            let may = &self.may[number];
            self.adrift[number].retain(|stamp| may.contains_key(stamp));
            let begun = &self.begun[number];
            let came = |stamp: &Stamp| begun.range(look.since + 1..).any(|(_, other)| other == stamp);
            self.lasting[number].retain(|stamp| look.may[at].contains(stamp) || came(stamp));
        }
    }

    /// What a block shows now could not be made to last, and no flush tries again: it lasts when somebody has written it anew.
    pub fn drifts(&mut self, block: usize) {
        self.adrift[block].extend(self.may[block].keys());
    }

    /// The power was gone: each block shows what lasts.
    pub fn settled(&mut self) {
        self.adrift.iter_mut().for_each(BTreeSet::clear);
    }

    /// Each block is as after a loss of power. What is under way goes on; reads that are under way may find that.
    pub fn fell_back(&mut self) {
        self.exchanged.iter_mut().for_each(BTreeSet::clear);
        self.fell_back = self.tick();
        for number in 0..self.may.len() {
            for stamp in self.lasting[number].clone() {
                let now = self.tick();
                let is_under_way = self.may[number].get(&stamp).is_some_and(|writing| writing.until.is_none());
                if !is_under_way {
                    self.may[number].insert(stamp, Writing { until: Some(now), is_good: true, ..Writing::default() });
                    self.over[number].insert(stamp, now);
                    self.begun[number].insert(now, stamp);
                }
            }
        }
    }

    /// Nothing that was written is there any more.
    pub fn emptied(&mut self) {
        self.lasting.iter_mut().for_each(|lasting| *lasting = BTreeSet::from([0]));
        self.may.iter_mut().for_each(BTreeMap::clear);
        self.fell_back();
    }

    /// The command of which a block has this value, if it was answered GOOD.
    pub fn is_good(&self, block: usize, stamp: Stamp) -> bool {
        self.may[block].get(&stamp).is_some_and(|writing| writing.is_good)
    }

    /// The step that is now.
    pub fn now(&self) -> u64 {
        self.step
    }

    /// A value that a block may have now.
    pub fn some(&self, block: usize) -> Stamp {
        self.may[block].keys().next_back().copied().unwrap_or(0)
    }
}

/// What stands in a block, which is everywhere in it the same.
fn value_in(block: &[u8]) -> Result<u64, String> {
    let words: Vec<u64> = block.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    match words.iter().position(|word| *word != words[0]) {
        None => Ok(words[0]),
        Some(at) => Err(format!("it begins with {:#x}, and has {:#x} at byte {}", words[0], words[at], at * 8)),
    }
}
