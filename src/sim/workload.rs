//! What a host does next: commands, each with what it is to do to the blocks.

use super::Rng;
use super::blocks::{Look, Stamp, ZEROES};
use super::judge::Judge;
use super::modes::Select;
use std::ops::Range;

/// A kind of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// READ(10) or (16).
    Read,
    /// WRITE(10) or (16), with FUA now and then.
    Write,
    /// WRITE SAME(16), with and without a block.
    WriteSame,
    /// COMPARE AND WRITE.
    CompareAndWrite,
    /// UNMAP.
    Unmap,
    /// SYNCHRONIZE CACHE(10).
    Flush,
    /// VERIFY(10), with and without data.
    Verify,
    /// TEST UNIT READY.
    Ready,
    /// INQUIRY.
    Inquiry,
    /// REPORT LUNS.
    ReportLuns,
    /// READ CAPACITY(10).
    Capacity,
    /// MODE SELECT(10) of the control page.
    ModeSelect,
    /// EXTENDED COPY(LID1).
    ExtendedCopy,
    /// WRITE USING TOKEN.
    WriteUsingToken,
}

/// What a host does that is no command, and what befalls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// ABORT TASK.
    Abort,
    /// ABORT TASK SET.
    AbortSet,
    /// CLEAR TASK SET.
    ClearSet,
    /// LOGICAL UNIT RESET.
    ResetUnit,
    /// TARGET WARM RESET.
    ResetWarm,
    /// TARGET COLD RESET.
    ResetCold,
    /// Logs out, and in again.
    Logout,
    /// Drops all lines without a word.
    Drop,
    /// Drops one line.
    Cut,
    /// Logs one connection out for recovery.
    Remove,
    /// Neither reads nor sends for a while.
    Pause,
    /// Does not read from one line for a while.
    Deafen,
    /// Pings.
    Ping,
    /// Sends data with a wrong digest (ErrorRecoveryLevel 1 and 2).
    Spoil,
    /// Begins to take a reservation: registers, reserves or preempts, holds it, releases it.
    Reserve,
}

/// What a host is, and what it does how often.
#[derive(Debug, Clone)]
pub struct Config {
    /// InitiatorName.
    pub name: String,
    /// TargetName.
    pub target: String,
    /// Commands at a time.
    pub depth: u16,
    /// Most commands are in the first so many blocks of a unit.
    pub busy: usize,
    /// The longest transfer, bytes.
    pub most_bytes: u32,
    /// Kinds of commands, with weights.
    pub kinds: Vec<(Kind, u64)>,
    /// Troubles, in cases of 10000 steps each.
    pub troubles: Vec<(Trouble, u64)>,
    /// Steps of 100 in which it begins commands.
    pub eagerness: u64,
    /// The most connections of a session.
    pub connections: u16,
    /// The highest ErrorRecoveryLevel that is proposed.
    pub level: u8,
    /// Digests are proposed now and then.
    pub digests: bool,
    /// All connections have both digests.
    pub is_guarded: bool,
    /// CDBs have ten bytes where they can.
    pub short_cdbs: bool,
}

impl Config {
    /// All that there is.
    pub fn usual(number: usize, target: &str) -> Config {
        Config {
            name: format!("iqn.2001-04.com.example:host{number}"),
            target: target.to_owned(),
            depth: 16,
            busy: 24,
            most_bytes: 600 << 10,
            kinds: vec![
                (Kind::Read, 40),
                (Kind::Write, 30),
                (Kind::WriteSame, 4),
                (Kind::CompareAndWrite, 8),
                (Kind::Unmap, 4),
                (Kind::Flush, 4),
                (Kind::Verify, 4),
                (Kind::Ready, 2),
                (Kind::Inquiry, 1),
                (Kind::ReportLuns, 1),
                (Kind::Capacity, 1),
                (Kind::ModeSelect, 2),
                (Kind::ExtendedCopy, 3),
                (Kind::WriteUsingToken, 2),
            ],
            troubles: vec![
                (Trouble::Abort, 60),
                (Trouble::AbortSet, 10),
                (Trouble::ClearSet, 4),
                (Trouble::ResetUnit, 6),
                (Trouble::ResetWarm, 2),
                (Trouble::ResetCold, 1),
                (Trouble::Logout, 6),
                (Trouble::Drop, 6),
                (Trouble::Cut, 15),
                (Trouble::Remove, 10),
                (Trouble::Pause, 10),
                (Trouble::Deafen, 40),
                (Trouble::Ping, 60),
                (Trouble::Spoil, 20),
                (Trouble::Reserve, 4),
            ],
            eagerness: 60,
            connections: 3,
            level: 2,
            digests: true,
            is_guarded: false,
            short_cdbs: false,
        }
    }
}

/// What a command is to do, for the oracle.
#[derive(Debug, Clone)]
pub enum Does {
    /// Reads; what it may find.
    Reads(Look),
    /// Compares with this value; what it may find.
    Compares(Look, Stamp),
    /// Writes these blocks.
    Writes(Vec<Range<usize>>, Stamp),
    /// Writes these blocks if they have the second of the values.
    WritesIf(Look, Stamp, Stamp),
    /// Writes zeroes into these blocks, from this unit or from none.
    Copies {
        /// Where they come from.
        from: Option<usize>,
        /// Where they go.
        to: Vec<Range<usize>>,
        /// The number of the command.
        stamp: Stamp,
    },
    /// Has what is there by now last; the host that asks for it.
    Flushes(Look, usize),
    /// Tells of the unit.
    Inquires,
    /// Tells of all units.
    Lists,
    /// Tells how many blocks the unit has: so many, or more.
    Measures(usize),
    /// Sets a mode parameter.
    Selects(Select),
    /// The next step of a reservation.
    Reserves,
    /// None of that.
    Else,
}

/// A command to be issued.
#[derive(Debug)]
pub struct Issue {
    /// The index of its unit.
    pub unit: usize,
    /// Its name.
    pub name: &'static str,
    /// Its CDB.
    pub cdb: Vec<u8>,
    /// Bytes that it is expected to read.
    pub read_bytes: u32,
    /// What it writes.
    pub data: Vec<u8>,
    /// What it is to do.
    pub does: Does,
}

impl Issue {
    pub(super) fn new(unit: usize, name: &'static str, cdb: Vec<u8>, does: Does) -> Issue {
        Issue { unit, name, cdb, read_bytes: 0, data: Vec::new(), does }
    }
}

/// A CDB of ten bytes: LBA, and blocks.
fn cdb_10(code: u8, flags: u8, range: &Range<usize>) -> Vec<u8> {
    let mut cdb = vec![code, flags, 0, 0, 0, 0, 0, 0, 0, 0];
    cdb[2..6].copy_from_slice(&(range.start as u32).to_be_bytes());
    cdb[7..9].copy_from_slice(&(range.len() as u16).to_be_bytes());
    cdb
}

/// A CDB of sixteen bytes.
fn cdb_16(code: u8, flags: u8, range: &Range<usize>) -> Vec<u8> {
    let mut cdb = vec![0; 16];
    (cdb[0], cdb[1]) = (code, flags);
    cdb[2..10].copy_from_slice(&(range.start as u64).to_be_bytes());
    cdb[10..14].copy_from_slice(&(range.len() as u32).to_be_bytes());
    cdb
}

const FUA: u8 = 0x08;

/// What chooses the commands of one host.
pub struct Chooser<'a> {
    /// Whose they are.
    pub host: usize,
    /// How often what.
    pub config: &'a Config,
    /// By chance.
    pub rng: &'a mut Rng,
    /// Who is to know of it.
    pub judge: &'a mut Judge,
}

impl Chooser<'_> {
    /// One of the kinds.
    pub fn kind(&mut self) -> Option<Kind> {
        let all: u64 = self.config.kinds.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.below(all);
        let mut kinds = self.config.kinds.iter();
        let chosen = kinds.find(|(_, weight)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        chosen.map(|(kind, _)| *kind)
    }

    fn is_long(&mut self) -> bool {
        !self.config.short_cdbs && self.rng.per_mille(500)
    }

    /// Mostly a few busy blocks, rarely more than a burst.
    pub(super) fn range(&mut self, unit: usize) -> Range<usize> {
        let (blocks, block_bytes) = (self.judge.blocks[unit].count() as u64, self.judge.blocks[unit].block_bytes());
        let most = (u64::from(self.config.most_bytes / block_bytes)).clamp(1, blocks);
        let (len, within) = match self.rng.below(100) {
            0..80 => (1 + self.rng.below(8.min(most)), blocks.min(self.config.busy as u64)),
            80..97 => (1 + self.rng.below(64.min(most)), blocks),
            _ => (1 + self.rng.below(most), blocks),
        };
        let first = self.rng.below(within.min(blocks - len) + 1).min(blocks - len);
        self.judge.units[unit].but_quiet(first as usize..(first + len) as usize)
    }

    /// A command. The blocks know of it from now on.
    pub fn issue(&mut self, kind: Kind) -> Issue {
        let unit = self.rng.below(self.judge.units.len() as u64) as usize;
        match kind {
            Kind::Read => {
                let range = self.range(unit);
                self.read(unit, range)
            }
            Kind::Write => self.write(unit),
            Kind::WriteSame => self.write_same(unit),
            Kind::CompareAndWrite => self.compare_and_write(unit),
            Kind::Unmap => self.unmap(unit),
            Kind::Flush => {
                let blocks = &mut self.judge.blocks[unit];
                let all = blocks.look(0..blocks.count());
                let cdb = vec![0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                Issue::new(unit, "SYNCHRONIZE CACHE(10)", cdb, Does::Flushes(all, self.host))
            }
            Kind::Verify => self.verify(unit),
            Kind::Ready => Issue::new(unit, "TEST UNIT READY", vec![0; 6], Does::Else),
            Kind::Inquiry => {
                let len = 36 + self.rng.below(200) as u8;
                let inquiry = Issue::new(unit, "INQUIRY", vec![0x12, 0, 0, 0, len, 0], Does::Inquires);
                Issue { read_bytes: u32::from(len), ..inquiry }
            }
            Kind::ReportLuns => {
                let cdb = vec![0xa0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0];
                Issue { read_bytes: 0x1000, ..Issue::new(unit, "REPORT LUNS", cdb, Does::Lists) }
            }
            Kind::ModeSelect => self.mode_select(unit),
            Kind::ExtendedCopy => self.extended_copy(unit),
            Kind::WriteUsingToken => self.write_using_token(unit),
            Kind::Capacity => {
                let (cdb, does) = (cdb_10(0x25, 0, &(0..0)), Does::Measures(self.judge.units[unit].blocks));
                Issue { read_bytes: 8, ..Issue::new(unit, "READ CAPACITY(10)", cdb, does) }
            }
        }
    }

    /// A read of these blocks.
    pub fn read(&mut self, unit: usize, range: Range<usize>) -> Issue {
        let flags = if self.rng.per_mille(100) { FUA } else { 0 };
        let (name, cdb) = match self.is_long() {
            false => ("READ(10)", cdb_10(0x28, flags, &range)),
            true => ("READ(16)", cdb_16(0x88, flags, &range)),
        };
        let read_bytes = range.len() as u32 * self.judge.blocks[unit].block_bytes();
        Issue { read_bytes, ..Issue::new(unit, name, cdb, Does::Reads(self.judge.blocks[unit].look(range))) }
    }

    fn write(&mut self, unit: usize) -> Issue {
        let (range, stamp) = (self.range(unit), self.judge.stamp(self.host));
        let flags = if self.rng.per_mille(250) { FUA } else { 0 };
        let (name, cdb) = match self.is_long() {
            false => ("WRITE(10)", cdb_10(0x2a, flags, &range)),
            true => ("WRITE(16)", cdb_16(0x8a, flags, &range)),
        };
        let blocks = &mut self.judge.blocks[unit];
        blocks.begin(range.clone(), stamp);
        if flags == FUA {
            blocks.is_to_last(stamp);
        }
        let data = blocks.filled(range.len(), stamp);
        Issue { data, ..Issue::new(unit, name, cdb, Does::Writes(vec![range], stamp)) }
    }

    fn write_same(&mut self, unit: usize) -> Issue {
        const NDOB: u8 = 0x01;
        let (range, stamp, zeroes) = (self.range(unit), self.judge.stamp(self.host), self.rng.below(3) == 0);
        let (stamp, flags) = if zeroes { (stamp | ZEROES, NDOB) } else { (stamp, 0) };
        let blocks = &mut self.judge.blocks[unit];
        blocks.begin(range.clone(), stamp);
        let data = if zeroes { Vec::new() } else { blocks.filled(1, stamp) };
        let cdb = cdb_16(0x93, flags, &range);
        Issue { data, ..Issue::new(unit, "WRITE SAME(16)", cdb, Does::Writes(vec![range], stamp)) }
    }

    fn compare_and_write(&mut self, unit: usize) -> Issue {
        let (mut range, stamp) = (self.range(unit), self.judge.stamp(self.host));
        range.end = range.end.min(range.start + if self.rng.per_mille(500) { 1 } else { 4 });
        let blocks = &mut self.judge.blocks[unit];
        let wanted = blocks.some(range.start);
        let look = blocks.look(range.clone());
        blocks.begin(range.clone(), stamp);
        let data = [blocks.filled(range.len(), wanted), blocks.filled(range.len(), stamp)].concat();
        let mut cdb = cdb_16(0x89, 0, &(range.start..range.start));
        cdb[13] = range.len() as u8;
        let does = Does::WritesIf(look, stamp, wanted);
        Issue { data, ..Issue::new(unit, "COMPARE AND WRITE", cdb, does) }
    }

    fn unmap(&mut self, unit: usize) -> Issue {
        let stamp = self.judge.stamp(self.host) | ZEROES;
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for _ in 0..1 + self.rng.below(3) {
            let range = self.range(unit);
            if ranges.iter().all(|other| range.end <= other.start || other.end <= range.start) {
                ranges.push(range);
            }
        }
        let mut list = vec![0; 8];
        let len = ranges.len() as u16 * 16;
        list[0..2].copy_from_slice(&(len + 6).to_be_bytes());
        list[2..4].copy_from_slice(&len.to_be_bytes());
        for range in &ranges {
            self.judge.blocks[unit].begin(range.clone(), stamp);
            list.extend_from_slice(&(range.start as u64).to_be_bytes());
            list.extend_from_slice(&(range.len() as u32).to_be_bytes());
            list.extend_from_slice(&[0; 4]);
        }
        let mut cdb = vec![0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        cdb[7..9].copy_from_slice(&(list.len() as u16).to_be_bytes());
        Issue { data: list, ..Issue::new(unit, "UNMAP", cdb, Does::Writes(ranges, stamp)) }
    }

    fn mode_select(&mut self, unit: usize) -> Issue {
        const D_SENSE: u8 = 0x04;
        let is_set = self.rng.per_mille(500);
        // All else in the page is fixed: GLTSD, and unrestricted reordering.
        let mut list = vec![0; 8];
        list.extend_from_slice(&[0x0a, 10, 0x02 | if is_set { D_SENSE } else { 0 }, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]);
        let cdb = vec![0x55, 0x10, 0, 0, 0, 0, 0, 0, list.len() as u8, 0];
        let does = Does::Selects(self.judge.select(unit, is_set));
        Issue { data: list, ..Issue::new(unit, "MODE SELECT(10)", cdb, does) }
    }

    fn verify(&mut self, unit: usize) -> Issue {
        const COMPARES: u8 = 0x02;
        let range = self.range(unit);
        if self.rng.below(2) == 0 {
            return Issue::new(unit, "VERIFY(10)", cdb_10(0x2f, 0, &range), Does::Else);
        }
        let blocks = &mut self.judge.blocks[unit];
        let wanted = blocks.some(range.start);
        let data = blocks.filled(range.len(), wanted);
        let does = Does::Compares(blocks.look(range.clone()), wanted);
        Issue { data, ..Issue::new(unit, "VERIFY(10) of data", cdb_10(0x2f, COMPARES, &range), does) }
    }
}

/// A step of PERSISTENT RESERVE OUT: service action, reservation key, and service action reservation key. The type is Write
/// Exclusive.
pub fn reserve(unit: usize, action: u8, key: u64, other_key: u64) -> Issue {
    const WRITE_EXCLUSIVE: u8 = 1;
    let mut list = vec![0; 24];
    list[..8].copy_from_slice(&key.to_be_bytes());
    list[8..16].copy_from_slice(&other_key.to_be_bytes());
    let cdb = vec![0x5f, action, WRITE_EXCLUSIVE, 0, 0, 0, 0, 0, 24, 0];
    Issue { data: list, ..Issue::new(unit, "PERSISTENT RESERVE OUT", cdb, Does::Reserves) }
}
