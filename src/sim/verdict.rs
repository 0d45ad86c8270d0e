//! What a command may come to: data, residual, status and sense, by what is known of the unit.

use super::blocks::{Stamp, value_of};
use super::copies::may_abort;
use super::judge::{Judge, host_of};
use super::views::ViewIx;
use super::ways::Ending;
use super::workload::Does;
use crate::initiator::event::Residual;
use crate::wire::{Cid, Itt};
use std::ops::{Range, RangeInclusive};

/// A command that is not over, at a place of its session.
#[derive(Debug)]
pub struct Open {
    /// Its number among the commands of the host.
    pub number: u64,
    /// The index of its unit.
    pub unit: usize,
    /// What it is called.
    pub name: &'static str,
    /// The connection that it was sent by.
    pub cid: Cid,
    /// What it is to do.
    pub does: Does,
    /// Bytes that it is expected to read.
    pub read_bytes: u32,
    /// Bytes that it writes.
    pub write_bytes: u32,
    /// When it was sent.
    pub since_ms: u64,
    /// The configuration that all cores had then.
    pub view: ViewIx,
    /// The tag of the ABORT TASK that is under way.
    pub abort: Option<Itt>,
    /// Something that had to end it was answered.
    pub is_over: bool,
    /// The target may not know of it any more, for its connection was away too long.
    pub may_vanish: bool,
}

/// Whose command it is, and what excuses it may have.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// The number of the host.
    pub host: usize,
    /// Now.
    pub now_ms: u64,
    /// The host has sent data with wrong digests.
    pub has_spoilt: bool,
}

/// What has become of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// GOOD.
    Done,
    /// It was not carried out.
    Refused,
    /// How much of it was done is not known.
    Failed,
}

const UNIT_ATTENTION: u8 = 6;
/// LOGICAL UNIT NOT SUPPORTED.
const NOT_THERE: (u8, u16) = (5, 0x2500);

/// What SAM-5 calls the statuses.
mod status {
    pub const GOOD: u8 = 0x00;
    pub const CHECK_CONDITION: u8 = 0x02;
    pub const BUSY: u8 = 0x08;
    pub const RESERVATION_CONFLICT: u8 = 0x18;
    pub const TASK_SET_FULL: u8 = 0x28;
    pub const TASK_ABORTED: u8 = 0x40;
}

/// Which blocks a command writes, and with which number.
fn written(does: &Does) -> (Vec<Range<usize>>, Stamp) {
    match does {
        Does::Writes(ranges, stamp) | Does::Copies { to: ranges, stamp, .. } => (ranges.clone(), *stamp),
        Does::WritesIf(look, stamp, _) => (vec![look.range()], *stamp),
        _ => (Vec::new(), 0),
    }
}

/// It is over, and may have been carried out, or a part of it.
pub fn given_up(open: &Open, judge: &mut Judge) {
    let (ranges, stamp) = written(&open.does);
    ranges.into_iter().for_each(|range| judge.blocks[open.unit].given_up(range, stamp));
    match open.does {
        Does::Selects(select) => judge.modes[open.unit].lost(select),
        Does::Flushes(_, host) => judge.told_of_loss(host, open.unit),
        _ if judge.blocks[open.unit].lasts(stamp) => judge.told_of_loss(host_of(stamp), open.unit),
        _ => {}
    }
}

/// It was not carried out.
pub fn not_done(open: &Open, judge: &mut Judge) {
    let (ranges, stamp) = written(&open.does);
    ranges.into_iter().for_each(|range| judge.blocks[open.unit].not_written(range, stamp));
    if let Does::Selects(select) = open.does {
        judge.modes[open.unit].lost(select);
    }
}

/// A command has ended like this, with this data. The blocks know of it from now on.
///
/// # Errors
/// It may not end like that, and why.
pub fn ended(open: &Open, end: &Ending, read: &[u8], of: Circumstances, judge: &mut Judge) -> Result<Fate, String> {
    transferred(open, end, read)?;
    let fate = fate(open, end, of, judge)?;
    if fate == Fate::Done && !judge.views.may_enter(of.host, open.view) {
        return Err("is carried out though its host is not let in".to_owned());
    }
    match fate {
        Fate::Done => {
            paced(open, of, judge)?;
            done(open, read, of.host, judge)?;
        }
        Fate::Refused => not_done(open, judge),
        Fate::Failed => given_up(open, judge),
    }
    Ok(fate)
}

/// What was transferred and what was not are all.
fn transferred(open: &Open, end: &Ending, read: &[u8]) -> Result<(), String> {
    let is_good = end.status == status::GOOD;
    let left = match end.residual {
        Residual::None => 0,
        Residual::Underflow(bytes) => bytes,
        Residual::Overflow(bytes) => return Err(format!("a residual overflow of {bytes} bytes")),
    };
    if read.len() != end.received_bytes as usize {
        return Err(format!("{} bytes are placed, and {} have come", read.len(), end.received_bytes));
    }
    let may_be_short = matches!(open.does, Does::Inquires | Does::Lists);
    let is_right = match (is_good, open.read_bytes > 0) {
        (true, true) => end.received_bytes + left == open.read_bytes && (left == 0 || may_be_short),
        (false, true) => end.received_bytes + left <= open.read_bytes,
        (true, false) => left == 0,
        (false, false) => left <= open.write_bytes,
    };
    if is_right { Ok(()) } else { Err(format!("{} bytes have come, and the residual is {left}", end.received_bytes)) }
}

fn fate(open: &Open, end: &Ending, of: Circumstances, judge: &mut Judge) -> Result<Fate, String> {
    let excused = judge.lines_may_be_damaged || of.has_spoilt;
    if end.response != 0 {
        return if excused { Ok(Fate::Failed) } else { Err("no SCSI status".to_owned()) };
    }
    let (host, unit, since_ms) = (of.host, open.unit, open.since_ms);
    let may_miss = judge.views.may_miss(host, unit, open.view);
    if !judge.views.may_find(host, unit, open.view) && is_of_unit(open, end) {
        return Err("is answered by a unit that its host does not find".to_owned());
    }
    match (end.status, end.sense) {
        (status::GOOD, _) => Ok(Fate::Done),
        (status::CHECK_CONDITION, Some(NOT_THERE)) if may_miss => Ok(Fate::Refused),
        (status::CHECK_CONDITION, Some((key, code))) => checked(open, end, (key, code), of, judge),
        (status::CHECK_CONDITION, None) => Err("CHECK CONDITION without sense data".to_owned()),
        (status::BUSY | status::TASK_SET_FULL, _) => Ok(Fate::Refused),
        // Its key may have been taken from it, or who it preempts has none.
        (status::RESERVATION_CONFLICT, _) if matches!(open.does, Does::Reserves) => Ok(Fate::Refused),
        (status::RESERVATION_CONFLICT, _) if judge.may_conflict(host, unit, since_ms) => match open.does {
            Does::Reads(_) | Does::Compares(..) | Does::Inquires | Does::Lists => {
                Err("RESERVATION CONFLICT under Write Exclusive".to_owned())
            }
            _ => Ok(Fate::Refused),
        },
        (status::TASK_ABORTED, _) if may_miss || judge.may_be_cleared(host, unit, since_ms) => Ok(Fate::Failed),
        (other, _) => Err(format!("status {other:#04x} without a cause")),
    }
}

/// Whether this end comes from the unit, and not from who found that there is none, or no room for a command.
pub fn is_of_unit(open: &Open, end: &Ending) -> bool {
    let answers_for_none = matches!(open.does, Does::Inquires | Does::Lists);
    match (end.status, end.sense) {
        (status::GOOD, _) => !answers_for_none,
        (status::CHECK_CONDITION, Some((key, _))) => key == UNIT_ATTENTION,
        (status::RESERVATION_CONFLICT, _) => true,
        _ => false,
    }
}

fn checked(
    open: &Open,
    end: &Ending,
    (key, code): (u8, u16),
    of: Circumstances,
    judge: &mut Judge,
) -> Result<Fate, String> {
    const NOT_READY: u8 = 2;
    const MEDIUM_ERROR: u8 = 3;
    const HARDWARE_ERROR: u8 = 4;
    const DATA_PROTECT: u8 = 7;
    const COPY_ABORTED: u8 = 0xa;
    const ABORTED_COMMAND: u8 = 0xb;
    const MISCOMPARE: u8 = 0xe;
    let excused = judge.lines_may_be_damaged || of.has_spoilt;
    match (key, code) {
        (UNIT_ATTENTION, _) if matches!(open.does, Does::Inquires | Does::Lists) => {
            Err(format!("{} reports a unit attention, {code:04x}", open.name))
        }
        (UNIT_ATTENTION, _) if judge.attentions.told(of.host, open.unit, code) => Ok(Fate::Refused),
        (UNIT_ATTENTION, _) => Err(format!("unit attention {code:04x} without a cause")),
        (COPY_ABORTED, code) if may_abort(open, code, of.host, judge) => Ok(Fate::Failed),
        (MISCOMPARE, 0x1d00) => miscompared(open, end, judge),
        // WRITE ERROR of what writes nothing: what was written before is lost.
        (MEDIUM_ERROR, 0x0c00) if judge.media_may_fail && written(&open.does).0.is_empty() => {
            judge.told_of_loss(of.host, open.unit);
            Ok(Fate::Failed)
        }
        (NOT_READY | MEDIUM_ERROR | HARDWARE_ERROR | ABORTED_COMMAND, _) if judge.media_may_fail => Ok(Fate::Failed),
        (DATA_PROTECT, 0x2707) if judge.media_may_fail => Ok(Fate::Failed),
        (ABORTED_COMMAND, 0x4700..=0x47ff | 0x0c0c | 0x0c0d) if excused => Ok(Fate::Failed),
        _ => Err(format!("sense {key:x}/{code:04x} without a cause")),
    }
}

/// It has found something else than it was to find.
fn miscompared(open: &Open, end: &Ending, judge: &Judge) -> Result<Fate, String> {
    let (Does::Compares(look, wanted) | Does::WritesIf(look, _, wanted)) = &open.does else {
        return Err(format!("{} reports MISCOMPARE", open.name));
    };
    let offset = end.information.ok_or("MISCOMPARE without an offset")?;
    if judge.blocks[open.unit].may_differ(look, *wanted, offset) {
        return Ok(Fate::Refused);
    }
    Err(format!("the blocks {:?} cannot differ from {:#x} at byte {offset} first", look.range(), value_of(*wanted)))
}

/// Whether its host keeps to its limit: these commands all pay.
fn paced(open: &Open, of: Circumstances, judge: &mut Judge) -> Result<(), String> {
    let pays = open.name.starts_with("READ(") || open.name.starts_with("WRITE(");
    match judge.paces[of.host].as_mut().filter(|_| pays) {
        Some(pace) => pace.done(open.since_ms, of.now_ms),
        None => Ok(()),
    }
}

/// It was answered GOOD.
fn done(open: &Open, read: &[u8], host: usize, judge: &mut Judge) -> Result<(), String> {
    let blocks = &mut judge.blocks[open.unit];
    match &open.does {
        Does::Reads(look) => blocks.check(look, read),
        Does::Compares(look, wanted) => {
            let found = blocks.filled(look.range().len(), *wanted);
            blocks.check(look, &found)
        }
        Does::Writes(ranges, stamp) | Does::Copies { to: ranges, stamp, .. } => {
            ranges.iter().for_each(|range| blocks.written(range.clone(), *stamp));
            Ok(())
        }
        Does::WritesIf(look, stamp, wanted) => {
            let found = blocks.filled(look.range().len(), *wanted);
            blocks.check(look, &found)?;
            // Several may have written zeroes: when they were there then says nothing.
            if value_of(*wanted) == 0 {
                blocks.written(look.range(), *stamp);
                return Ok(());
            }
            blocks.exchanged(look.range(), (*stamp, *wanted))
        }
        Does::Flushes(look, host) => {
            blocks.flushed(look);
            judge.flushed(*host, open.unit, look.since())
        }
        Does::Inquires => inquired(open, read, host, judge),
        Does::Lists => listed(open, read, host, judge),
        Does::Measures(least) => measured(read, *least..=judge.units[open.unit].blocks),
        Does::Selects(select) => {
            judge.selected((host, open.unit), *select, open.since_ms);
            Ok(())
        }
        Does::Reserves | Does::Else => Ok(()),
    }
}

/// INQUIRY tells of a disk, or that there is none.
fn inquired(open: &Open, read: &[u8], host: usize, judge: &Judge) -> Result<(), String> {
    const NOTHING: u8 = 0x7f;
    let may_be = match read.first() {
        Some(0) => judge.views.may_find(host, open.unit, open.view),
        Some(&NOTHING) => judge.views.may_miss(host, open.unit, open.view),
        _ => false,
    };
    if may_be && read.len() >= 36 { Ok(()) } else { Err(format!("INQUIRY says {read:x?}")) }
}

/// READ CAPACITY(10) tells of no fewer blocks than there were when it was sent, and of no more than there are.
fn measured(read: &[u8], may_be: RangeInclusive<usize>) -> Result<(), String> {
    let last = read.first_chunk().map(|last| u32::from_be_bytes(*last) as usize);
    let is_right = last.is_some_and(|last| may_be.contains(&(last + 1)));
    if is_right { Ok(()) } else { Err(format!("READ CAPACITY(10) says {read:x?}, and there are {may_be:?} blocks")) }
}

/// REPORT LUNS tells of these.
fn listed(open: &Open, read: &[u8], host: usize, judge: &mut Judge) -> Result<(), String> {
    if judge.views.may_find(host, open.unit, open.view) {
        judge.attentions.listed(host, open.unit);
    }
    let Some((header, list)) = read.split_first_chunk::<8>() else { return Err("REPORT LUNS is too short".to_owned()) };
    let len = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let mut found: Vec<u16> = list.chunks_exact(8).map(|lun| u16::from_be_bytes([lun[0], lun[1]]) & 0x3fff).collect();
    found.sort_unstable();
    let finds: Vec<bool> = judge.units.iter().map(|unit| found.contains(&unit.lun)).collect();
    let is_right = found.len() == finds.iter().filter(|finds| **finds).count() && len == list.len();
    if is_right && judge.views.may_list(host, &finds, open.view) {
        return Ok(());
    }
    Err(format!("REPORT LUNS says {found:?}"))
}
