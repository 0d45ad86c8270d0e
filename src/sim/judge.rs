//! What all hosts share: the blocks of the units, and what each host may be told because of what others do.
//!
//! The judge knows only what hosts know: a reset counts as under way from when it was sent until its answer has come. What a
//! host is told without a cause is a failure, and so is what it waits for longer than [`Judge::patience_ms`] while all is well.

use super::attentions::Attentions;
use super::blocks::{Blocks, Stamp};
use super::modes::{Modes, Select};
use super::paces::Pace;
use super::views::{Step, View, ViewIx, Views};
use std::ops::Range;

/// A logical unit, as hosts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitSpec {
    /// Its LUN.
    pub lun: u16,
    /// How many blocks it has.
    pub blocks: usize,
    /// Logical block length, bytes.
    pub block_bytes: u32,
    /// Its NAA designator.
    pub naa: [u8; 16],
    /// In so many blocks, from that one on, nobody writes: they hold zeroes.
    pub quiet: (usize, usize),
}

impl UnitSpec {
    /// The blocks in which nobody writes.
    pub fn quiet(&self) -> Range<usize> {
        self.quiet.1..self.quiet.1 + self.quiet.0
    }

    /// These blocks, without those in which nobody writes.
    pub fn but_quiet(&self, range: Range<usize>) -> Range<usize> {
        let (quiet, len) = (self.quiet(), range.len());
        if range.end <= quiet.start || range.start >= quiet.end {
            range
        } else if range.start < quiet.start {
            range.start..quiet.start
        } else {
            quiet.start.saturating_sub(len)..quiet.start
        }
    }
}

/// What can make tasks end without an answer, or have others told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// LOGICAL UNIT RESET, TARGET WARM RESET, TARGET COLD RESET.
    Reset,
    /// CLEAR TASK SET.
    Clear,
    /// ABORT TASK SET: of one's own.
    AbortSet,
    /// PREEMPT AND ABORT, and reservations that come and go.
    Reservation,
}

/// Something that concerns tasks of a unit, or of all.
#[derive(Debug)]
struct Clearing {
    host: usize,
    unit: Option<usize>,
    cause: Cause,
    /// When it began, as [`Attentions`] count.
    began: u64,
    /// `None`: it may still be under way.
    until_ms: Option<u64>,
}

/// The number of something that was begun with [`Judge::begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClearingIx(usize);

/// What all hosts share.
#[derive(Debug)]
pub struct Judge {
    /// The units, in the order of [`UnitSpec`]s.
    pub units: Vec<UnitSpec>,
    /// What their blocks may hold.
    pub blocks: Vec<Blocks>,
    /// Since when nothing is cut, slow or failing any more; `None`: something is. For the simulator to say.
    pub well_since_ms: Option<u64>,
    /// Whoever waits longer than this while all is well waits for ever, milliseconds.
    pub patience_ms: u64,
    /// Media fail now and then, or did. For the simulator to say.
    pub media_may_fail: bool,
    /// Bytes are damaged on their way, or were. For the simulator to say.
    pub lines_may_be_damaged: bool,
    /// What hosts did and were told, for a seed that fails; the last [`LOG_LINES`] of it.
    pub log: std::collections::VecDeque<String>,
    /// Unit attentions.
    pub attentions: Attentions,
    /// Mode parameters of the units.
    pub modes: Vec<Modes>,
    /// How fast each host may be, if it is limited. For the simulator to say.
    pub paces: Vec<Option<Pace>>,
    /// Which host finds which units. For the simulator to say, by [`Judge::change`] and [`Judge::settle`].
    pub views: Views,
    clearings: Vec<Clearing>,
    stamps: Vec<u64>,
    /// Since which step of a unit's blocks each host is to hear that what it wrote there is lost.
    untold: Vec<Vec<Option<u64>>>,
}

/// The host of the command with this number.
pub fn host_of(stamp: Stamp) -> usize {
    (stamp as usize >> 40 & 0xff).saturating_sub(1)
}

/// What nobody waits for any more may go on for so long, milliseconds: so do lines that a TARGET COLD RESET closes.
const LINGERS_MS: u64 = 2_000;

/// Lines of the log that are kept.
pub const LOG_LINES: usize = 4000;

impl Judge {
    /// For so many hosts, and units of zeroes.
    pub fn new(hosts: usize, units: &[UnitSpec]) -> Judge {
        Judge {
            units: units.to_vec(),
            blocks: units.iter().map(|unit| Blocks::new(unit.blocks, unit.block_bytes)).collect(),
            well_since_ms: None,
            patience_ms: 60_000,
            media_may_fail: false,
            lines_may_be_damaged: false,
            log: std::collections::VecDeque::new(),
            attentions: Attentions::new(hosts, units.len()),
            modes: units.iter().map(|_| Modes::default()).collect(),
            paces: vec![None; hosts],
            views: Views::new(hosts, units.len()),
            clearings: Vec::new(),
            stamps: vec![0; hosts],
            untold: vec![vec![None; units.len()]; hosts],
        }
    }

    /// A number for a command of a host that writes: it says whose it is.
    pub fn stamp(&mut self, host: usize) -> Stamp {
        self.stamps[host] += 1;
        (host as u64 + 1) << 40 | self.stamps[host]
    }

    /// Takes note of something.
    pub fn note(&mut self, now_ms: u64, host: usize, text: impl FnOnce() -> String) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(format!("{now_ms:>8} host {host}: {}", text()));
    }

    /// A host has logged in anew: each unit tells it so once.
    pub fn logged_in(&mut self, host: usize, now_ms: u64) {
        self.attentions.logged_in(host);
        // What its last session had asked for is soon over, but a reservation outlives it.
        let is_over = |of: &&mut Clearing| of.host == host && of.until_ms.is_none() && of.cause != Cause::Reservation;
        self.clearings.iter_mut().filter(is_over).for_each(|clearing| clearing.until_ms = Some(now_ms + LINGERS_MS));
    }

    /// A host asks for something that may concern the tasks of others. `unit`: `None` for all.
    pub fn begin(&mut self, host: usize, unit: Option<usize>, cause: Cause) -> ClearingIx {
        match cause {
            Cause::Reset => self.attentions.may_be_reset(unit),
            Cause::Clear => self.attentions.may_be_cleared(unit),
            Cause::Reservation => self.attentions.may_be_preempted(unit),
            Cause::AbortSet => {}
        }
        let began = self.attentions.tick();
        self.clearings.push(Clearing { host, unit, cause, began, until_ms: None });
        ClearingIx(self.clearings.len() - 1)
    }

    /// It was carried out.
    pub fn done(&mut self, which: ClearingIx, now_ms: u64) {
        let Clearing { host, unit, cause, began, .. } = self.clearings[which.0];
        match cause {
            Cause::Reset => self.attentions.were_reset(host, unit, began),
            Cause::Clear => self.attentions.were_cleared(host, unit, began),
            Cause::AbortSet | Cause::Reservation => {}
        }
        self.end(which, now_ms);
    }

    /// That has been answered.
    pub fn end(&mut self, which: ClearingIx, now_ms: u64) {
        self.clearings[which.0].until_ms = Some(now_ms);
    }

    fn any(&self, unit: usize, since_ms: u64, wanted: impl Fn(&Clearing) -> bool) -> bool {
        self.clearings.iter().rev().any(|clearing| {
            clearing.unit.is_none_or(|of| of == unit)
                && clearing.until_ms.is_none_or(|until| until >= since_ms)
                && wanted(clearing)
        })
    }

    /// Whether a task of this host at this unit, sent at `since_ms`, may have been aborted without an answer.
    pub fn may_be_cleared(&self, host: usize, unit: usize, since_ms: u64) -> bool {
        self.any(unit, since_ms, |clearing| clearing.cause != Cause::AbortSet || clearing.host == host)
    }

    /// Another configuration is to be served: hosts find this by it.
    pub fn change(&mut self, view: View, resized: Vec<usize>) {
        for (host, (was, is)) in self.views.last().shows.iter().zip(&view.shows).enumerate() {
            if was != is {
                self.attentions.may_find_others(host);
            }
            for (unit, (was, is)) in was.iter().zip(is).enumerate() {
                match (was, is) {
                    (true, false) => self.attentions.loses(host, unit),
                    (false, true) => self.attentions.may_find(host, unit),
                    _ => {}
                }
            }
        }
        let began = self.attentions.tick();
        self.views.push((view, resized), began);
    }

    /// It is served everywhere, up to this view.
    pub fn settle(&mut self, at: ViewIx) {
        for (Step { host, began, is_noticed }, found) in self.views.settle(at) {
            if is_noticed {
                self.attentions.finds_others(host, began);
            }
            found.into_iter().for_each(|unit| self.attentions.finds(host, unit, (is_noticed, began)));
        }
    }

    /// A host sets D_SENSE of a unit, or clears it.
    pub fn select(&mut self, unit: usize, is_set: bool) -> Select {
        self.attentions.may_be_set(unit);
        let is_reset = self.modes[unit].known_since_ms().is_some_and(|since_ms| self.may_be_reset(unit, since_ms));
        let began = self.attentions.tick();
        self.modes[unit].begin(is_set, began, is_reset)
    }

    /// That was answered GOOD, and sent at `since_ms`.
    pub fn selected(&mut self, (host, unit): (usize, usize), select: Select, since_ms: u64) {
        let is_reset = self.may_be_reset(unit, since_ms);
        if let Some(began) = self.modes[unit].done(select, since_ms, is_reset) {
            self.attentions.were_set(host, unit, began);
        }
    }

    fn may_be_reset(&self, unit: usize, since_ms: u64) -> bool {
        self.any(unit, since_ms, |clearing| clearing.cause == Cause::Reset)
    }

    /// A unit has so many blocks from now on, which is no less than before.
    pub fn grew(&mut self, unit: usize, blocks: usize) {
        self.units[unit].blocks = blocks;
        self.blocks[unit].grow(blocks);
        self.attentions.was_resized(unit);
    }

    /// Whether it may meet a reservation of another host.
    pub fn may_conflict(&self, host: usize, unit: usize, since_ms: u64) -> bool {
        self.any(unit, since_ms, |clearing| clearing.cause == Cause::Reservation && clearing.host != host)
    }

    /// Whether the target may close the lines of all, because of a reset.
    pub fn may_be_closed(&self, since_ms: u64) -> bool {
        self.clearings.iter().any(|clearing| {
            clearing.unit.is_none()
                && clearing.cause == Cause::Reset
                && clearing.until_ms.is_none_or(|until| until + LINGERS_MS >= since_ms)
        })
    }

    /// The medium has lost what the command with this number has written to a block. If it was answered GOOD, its host
    /// must hear of it before it may take anything there for durable.
    pub fn lost(&mut self, unit: usize, block: usize, stamp: Stamp) {
        if stamp > 0 && self.blocks[unit].is_good(block, stamp) {
            self.untold[host_of(stamp)][unit] = Some(self.blocks[unit].now());
        }
    }

    /// A host was told that what it wrote may be lost, or may have been.
    pub fn told_of_loss(&mut self, host: usize, unit: usize) {
        self.untold[host][unit] = None;
    }

    /// The power is gone, and with it who has to tell anything.
    pub fn forget_losses(&mut self) {
        self.modes.iter_mut().for_each(Modes::forget);
        self.untold.iter_mut().flatten().for_each(|untold| *untold = None);
    }

    /// A flush that began at this step was answered GOOD.
    ///
    /// # Errors
    /// What its host wrote before is lost.
    pub fn flushed(&self, host: usize, unit: usize, since: u64) -> Result<(), String> {
        match self.untold[host][unit] {
            Some(lost) if lost < since => Err("is GOOD, though what its host has written is lost".to_owned()),
            _ => Ok(()),
        }
    }

    /// Whether something that was begun then has been waited for too long.
    pub fn is_too_late(&self, since_ms: u64, now_ms: u64) -> bool {
        self.well_since_ms.is_some_and(|well| now_ms > well.max(since_ms) + self.patience_ms)
    }
}
