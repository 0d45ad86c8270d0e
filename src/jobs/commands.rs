//! What jobs do, step by step: one async function for each of the slow commands. Each works in slices of at most
//! `SLICE_BYTES` of buffer, or a bounded stretch of the medium, so that other commands, NOPs and task management come
//! in between.

use super::job::{JobBuffer, JobCx};
use crate::backend::{Medium, Op};
use crate::limits::{CACHE_LOOK_BYTES, EVICTIONS, SLICE_BYTES};
use crate::model::MediumFault;
use crate::scsi::{Allowed, Erase, Erasure, Generation, LbaScan, LbaStatuses, LogicalUnit, Outcome, Saving};
use crate::unit::Unit;
use crate::unit::end::JobEnd;
use crate::waits::saves::Admitted;
use std::sync::Arc;

/// The logical unit and the medium that a job works on.
#[derive(Clone)]
pub struct Place {
    /// The device server's view.
    pub unit: Arc<LogicalUnit>,
    /// The medium.
    pub medium: Arc<Medium>,
    /// Logical block length, bytes.
    pub block_bytes: u64,
    /// The unit as all cores share it.
    pub home: Arc<Unit>,
}

/// Where two stretches differ first.
fn first_difference(a: &[u8], b: &[u8]) -> Option<u64> {
    if a == b {
        return None;
    }
    a.iter().zip(b).position(|(x, y)| x != y).map(|p| p as u64)
}

impl Place {
    /// The answer to a fault. It names no block: even if a single block could not be read or written, others may be the
    /// cause, since a device fails as one what it has put together.
    fn fault(&self, fault: MediumFault) -> JobEnd {
        self.unit.fault(fault, None).into()
    }

    /// Fills the first `len` bytes of a buffer. A device fails as one what it has put together from several operations: what
    /// has failed is read again, by itself, before anybody is told. That is not paid for once more: the buffer would wait.
    async fn read(&self, cx: &JobCx, buffer: &mut JobBuffer, (offset, len): (u64, usize)) -> Result<(), JobEnd> {
        match cx.read(offset, buffer, len).await {
            Err(MediumFault::Read) => {}
            other => return other.map_err(|fault| self.fault(fault)),
        }
        let cx = &cx.free();
        if let Some(end) = self.first_bad(cx, buffer, (offset, len as u64)).await {
            return Err(end);
        }
        cx.read(offset, buffer, len).await.map_err(|fault| self.fault(fault))
    }

    /// The answer for the first block of a range that cannot be read by itself. The range is read in parts as large as
    /// the buffer, which become smaller around what fails. `None`: all of it can be read, but not all of it is in the
    /// buffer.
    async fn first_bad(&self, cx: &JobCx, buffer: &mut JobBuffer, (offset, len): (u64, u64)) -> Option<JobEnd> {
        let (block, last) = (self.block_bytes, offset + len);
        let whole = (len.min(buffer.capacity() as u64) / block * block).max(block);
        let (mut at, mut end, mut part) = (offset, last, whole);
        while at < last {
            if at == end {
                // What has just failed can be read now, part by part: go on with the rest.
                (end, part) = (last, whole);
            }
            let now = part.min(end - at);
            match cx.read(at, buffer, now as usize).await {
                Ok(()) => at += now,
                Err(MediumFault::Read) if now > block => {
                    (end, part) = (at + now, (now / 2).next_multiple_of(block));
                }
                Err(MediumFault::Read) => {
                    return Some(self.unit.fault(MediumFault::Read, Some(at / block)).into());
                }
                Err(fault) => return Some(self.fault(fault)),
            }
            cx.pause().await;
        }
        None
    }

    /// The end of a command whose write has failed. `durable`: the write was to be durable by itself.
    fn unwritten(&self, fault: MediumFault, durable: bool) -> JobEnd {
        JobEnd { durable: durable && !fault.is_refusal(), ..self.fault(fault) }
    }

    /// What is zeroed or given back between two turns of the core, bytes. Memory does that at some 10 GB/s, or one page fault
    /// after the other, and at once; files and devices do it beside the core.
    fn stretch(&self) -> u64 {
        if self.medium.can_be_lost() { 4 << 20 } else { 1 << 20 }
    }

    /// Bytes of the next slice, if `left` are left: a whole number of blocks.
    fn step(&self, left: u64) -> usize {
        left.min(SLICE_BYTES as u64) as usize
    }
}

/// Copies the block that a command brought out of its I/O buffer: who has a buffer does not wait for another.
fn kept(pattern: JobBuffer, block: usize) -> Box<[u8]> {
    pattern.bytes(block).into()
}

/// TEST UNIT READY: a block can be read, the last or (should that one be damaged) the first.
pub async fn probe(cx: JobCx, place: Place) -> JobEnd {
    let block = place.block_bytes as usize;
    let mut buffer = cx.buffer(block).await;
    let last = place.unit.blocks().saturating_sub(1) * place.block_bytes;
    let mut answer = cx.read(last, &mut buffer, block).await;
    if answer == Err(MediumFault::Read) {
        // When neither can be read there is more wrong than a block, such as a file that was emptied.
        answer = cx.read(0, &mut buffer, block).await.map_err(|fault| match fault {
            MediumFault::Read => MediumFault::NotReady,
            other => other,
        });
    }
    match answer {
        Ok(()) => {
            place.unit.answered(cx.now_ms());
            Outcome::GOOD.into()
        }
        Err(fault) => place.fault(fault),
    }
}

/// What a read that has failed in a range is answered: the sense data names the first block that cannot be read. GOOD:
/// by now all of it can be read.
pub async fn locate(cx: JobCx, place: Place, offset: u64, len: u64) -> JobEnd {
    let mut buffer = cx.buffer(place.step(len)).await;
    place.first_bad(&cx, &mut buffer, (offset, len)).await.unwrap_or_else(|| Outcome::GOOD.into())
}

/// Has what is read next come from the medium, not from the page cache: what is not on the medium yet is written, and
/// the cache forgets the range. With direct I/O reads come from the medium anyway.
async fn uncached(cx: &JobCx, place: &Place, (offset, len): (u64, u64)) -> Result<(), JobEnd> {
    if !place.home.volatile || place.home.direct {
        return Ok(());
    }
    let flushed = flush(cx.clone(), place.clone()).await;
    if flushed.outcome != Outcome::GOOD {
        return Err(flushed);
    }
    // A page that somebody is using just then stays in the cache: it is tried again.
    for _ in 0..EVICTIONS {
        cx.op(Op::Evict { offset, len }).await.map_err(|fault| place.fault(fault))?;
        match is_cached(cx, place, (offset, len)).await {
            Some(true) => {}
            Some(false) => return Ok(()),
            None => break,
        }
    }
    place.home.keeps_cached();
    Ok(())
}

/// Whether the kernel has some of a range in its page cache; `None`: it does not say.
async fn is_cached(cx: &JobCx, place: &Place, (offset, len): (u64, u64)) -> Option<bool> {
    let (mut at, end) = (offset, offset + len);
    while at < end {
        let step = (end - at).min(CACHE_LOOK_BYTES);
        if place.medium.is_cached(at, step)? {
            return Some(true);
        }
        at += step;
        cx.pause().await;
    }
    Some(false)
}

/// VERIFY without data: every block can be read.
pub async fn verify(cx: JobCx, place: Place, offset: u64, len: u64) -> JobEnd {
    if let Err(end) = uncached(&cx, &place, (offset, len)).await {
        return end;
    }
    let (mut at, end) = (offset, offset + len);
    while at < end {
        let step = place.step(end - at);
        cx.pay(None, step as u64).await;
        let mut buffer = cx.buffer(step).await;
        if let Err(end) = place.read(&cx, &mut buffer, (at, step)).await {
            return end;
        }
        drop(buffer);
        at += step as u64;
        cx.pause().await;
    }
    Outcome::GOOD.into()
}

/// VERIFY with data: `data` (the slice of the command's Data-Out for `offset`) equals the medium. `base` is the offset of
/// the whole command, for the information field.
pub async fn compare(
    cx: JobCx,
    place: Place,
    (data, mut medium): (JobBuffer, JobBuffer),
    (offset, len): (u64, usize),
    base: u64,
) -> JobEnd {
    if let Err(end) = uncached(&cx, &place, (offset, len as u64)).await {
        return end;
    }
    if let Err(end) = place.read(&cx, &mut medium, (offset, len)).await {
        return end;
    }
    match first_difference(data.bytes(len), medium.bytes(len)) {
        Some(at) => place.unit.miscompare(offset - base + at).into(),
        None => Outcome::GOOD.into(),
    }
}

/// VERIFY with BYTCHK 11b: each block of the range equals the one block sent.
pub async fn compare_one(cx: JobCx, place: Place, pattern: JobBuffer, offset: u64, len: u64) -> JobEnd {
    if let Err(end) = uncached(&cx, &place, (offset, len)).await {
        return end;
    }
    let block = place.block_bytes as usize;
    let pattern = kept(pattern, block);
    let (mut at, end) = (offset, offset + len);
    while at < end {
        let step = place.step(end - at);
        cx.pay(None, step as u64).await;
        let mut medium = cx.buffer(step).await;
        if let Err(end) = place.read(&cx, &mut medium, (at, step)).await {
            return end;
        }
        for (i, chunk) in medium.bytes(step).chunks(block).enumerate() {
            if let Some(d) = first_difference(&pattern, chunk) {
                return place.unit.miscompare(at - offset + (i * block) as u64 + d).into();
            }
        }
        drop(medium);
        at += step as u64;
        cx.pause().await;
    }
    Outcome::GOOD.into()
}

/// WRITE AND VERIFY: one slice is written durably, read back, and compared if asked for.
pub async fn write_verify(
    cx: JobCx,
    place: Place,
    (mut data, medium): (JobBuffer, JobBuffer),
    (offset, len): (u64, usize),
    base: u64,
    bytes: bool,
) -> JobEnd {
    let durable = place.home.direct;
    if let Err(fault) = cx.write(offset, &mut data, len, durable).await {
        return place.unwritten(fault, durable);
    }
    // If the write was not durable by itself, this makes it so before it reads.
    let end = compare(cx.clone(), place, (data, medium), (offset, len), base).await;
    // Without BYTCHK only readability was asked for; a difference is then a change by somebody else in between.
    if !bytes && end.outcome.is_miscompare() { Outcome::GOOD.into() } else { end }
}

/// ORWRITE: one slice is read, or-ed with the data and written, if its generation allows.
pub async fn or_write(
    cx: JobCx,
    place: Place,
    buffers: (JobBuffer, JobBuffer),
    (offset, len, durable): (u64, usize, bool),
    generation: Generation,
) -> JobEnd {
    cx.lock(offset, len as u64).await;
    match place.unit.or_allowed(generation) {
        Ok(Allowed::Perform) => {}
        Ok(Allowed::Discard) => return Outcome::GOOD.into(),
        Err(outcome) => return outcome.into(),
    }
    match combine(&cx, &place, buffers, (offset, len, durable), |new, old| new | old).await {
        Ok(()) => Outcome::GOOD.into(),
        Err(end) => end,
    }
}

/// ORWRITE with a change of the generation: bits are cleared, and when that is done the new generation begins. Nothing else
/// changes the medium meanwhile: set operations of the old generation are over, or will find the new one.
pub async fn change_generation(
    cx: JobCx,
    place: Place,
    buffers: Option<(JobBuffer, JobBuffer)>,
    (offset, len, durable): (u64, usize, bool),
    generation: Generation,
) -> JobEnd {
    cx.lock(0, place.unit.blocks() * place.block_bytes).await;
    if let Err(outcome) = place.unit.or_allowed(generation) {
        return outcome.into();
    }
    let written = durable && place.home.direct;
    if let Some(buffers) = buffers
        && let Err(end) = combine(&cx, &place, buffers, (offset, len, written), |new, old| new & old).await
    {
        return end;
    }
    place.unit.or_changed(generation);
    settled(&cx, &place, durable, written).await
}

/// Reads a range that is locked, and writes what `with` makes of the data sent and of what was read.
async fn combine(
    cx: &JobCx,
    place: &Place,
    (mut data, mut medium): (JobBuffer, JobBuffer),
    (offset, len, durable): (u64, usize, bool),
    with: fn(u8, u8) -> u8,
) -> Result<(), JobEnd> {
    place.read(cx, &mut medium, (offset, len)).await?;
    for (new, old) in data.bytes_mut(len).iter_mut().zip(medium.bytes(len)) {
        *new = with(*new, *old);
    }
    cx.write(offset, &mut data, len, durable).await.map_err(|fault| place.unwritten(fault, durable))
}

/// COMPARE AND WRITE: the first `len` bytes of `data` are compared with the medium, the second `len` written.
pub async fn compare_and_write(
    cx: JobCx,
    place: Place,
    (data, mut medium): (JobBuffer, JobBuffer),
    (offset, len, durable): (u64, usize, bool),
) -> JobEnd {
    // From here to the end of the job nobody else changes the range, on any core.
    cx.lock(offset, len as u64).await;
    if let Err(end) = place.read(&cx, &mut medium, (offset, len)).await {
        return end;
    }
    let (expected, new) = data.bytes(2 * len).split_at(len);
    if let Some(at) = first_difference(expected, medium.bytes(len)) {
        return place.unit.miscompare(at).into();
    }
    // The second half of `data` need not be aligned for O_DIRECT; this buffer is.
    medium.bytes_mut(len).copy_from_slice(new);
    let written = durable && place.home.direct;
    match cx.write(offset, &mut medium, len, written).await {
        Ok(()) => settled(&cx, &place, durable, written).await,
        Err(fault) => place.unwritten(fault, written),
    }
}

/// Gives a range back, or zeroes it, in stretches that let others in between.
async fn clear(cx: &JobCx, place: &Place, offset: u64, len: u64, discard: bool) -> Result<(), JobEnd> {
    let stretch = place.stretch();
    let (mut at, end) = (offset, offset + len);
    while at < end {
        let step = (end - at).min(stretch - at % stretch);
        let op = if discard { Op::Discard { offset: at, len: step } } else { Op::Zero { offset: at, len: step } };
        cx.op(op).await.map_err(|fault| place.fault(fault))?;
        at += step;
        cx.pause().await;
    }
    Ok(())
}

/// UNMAP: each range is given back.
pub async fn unmap(cx: JobCx, place: Place, ranges: Vec<(u64, u64)>) -> JobEnd {
    for (lba, blocks) in ranges {
        if let Err(end) = clear(&cx, &place, lba * place.block_bytes, blocks * place.block_bytes, true).await {
            return end;
        }
    }
    settled(&cx, &place, false, false).await
}

/// The end of a command that has changed the medium: that is made durable, if it was asked to be (`fua`), or if there
/// is no volatile cache to speak of at this moment (WCE 0). `written`: what the command wrote is durable already.
async fn settled(cx: &JobCx, place: &Place, fua: bool, written: bool) -> JobEnd {
    if !place.home.volatile || !(fua || place.unit.is_write_through()) {
        return Outcome::GOOD.into();
    }
    if written { JobEnd { durable: true, ..Outcome::GOOD.into() } } else { flush(cx.clone(), place.clone()).await }
}

/// WRITE SAME: the range is filled with the block sent, or zeroes. `unmap`: may be given back if that reads the same.
pub async fn write_same(
    cx: JobCx,
    place: Place,
    pattern: Option<JobBuffer>,
    offset: u64,
    len: u64,
    unmap: bool,
) -> JobEnd {
    let block = place.block_bytes as usize;
    let pattern = pattern.map(|pattern| kept(pattern, block)).filter(|pattern| pattern.iter().any(|&b| b != 0));
    let Some(pattern) = pattern else {
        return match clear(&cx, &place, offset, len, unmap).await {
            Ok(()) => settled(&cx, &place, false, false).await,
            Err(end) => end,
        };
    };
    let (mut at, end) = (offset, offset + len);
    while at < end {
        let step = place.step(end - at);
        cx.pay(None, step as u64).await;
        let mut filled = cx.buffer(step).await;
        for chunk in filled.bytes_mut(step).chunks_mut(block) {
            chunk.copy_from_slice(&pattern);
        }
        if let Err(fault) = cx.write(at, &mut filled, step, false).await {
            return place.fault(fault);
        }
        drop(filled);
        at += step as u64;
        cx.pause().await;
    }
    settled(&cx, &place, false, false).await
}

/// WRITE ATOMIC: one operation, with no other change of the range beside it.
pub async fn write_atomic(
    cx: JobCx,
    place: Place,
    mut data: JobBuffer,
    offset: u64,
    len: usize,
    durable: bool,
) -> JobEnd {
    cx.lock(offset, len as u64).await;
    let written = durable && place.home.direct;
    match cx.write(offset, &mut data, len, written).await {
        Ok(()) => settled(&cx, &place, durable, written).await,
        Err(fault) => place.unwritten(fault, written),
    }
}

/// SANITIZE and FORMAT UNIT. It is on stable storage that it has begun before anything is erased, and before anybody is
/// told so: a restart that comes in between finds it. With `immed` the rest goes on by itself.
pub async fn erase(cx: JobCx, place: Place, erasure: Erasure, (how, immed): (Erase, bool)) -> JobEnd {
    if place.medium.lasts() {
        let begun = cx.save(place.unit.unfinished(Some(erasure))).await.outcome;
        if begun != Outcome::GOOD {
            place.unit.erase_not_begun();
            return begun.into();
        }
    }
    if !immed {
        return erase_all(cx, place, how).await;
    }
    let other = cx.sibling();
    cx.spawn(other.clone(), Box::pin(erase_all(other, place, how))).await;
    Outcome::GOOD.into()
}

/// Erases everything once the changes that were under way are done, and makes that durable. The logical unit refuses new
/// commands meanwhile.
async fn erase_all(cx: JobCx, place: Place, how: Erase) -> JobEnd {
    let size = place.unit.blocks() * place.block_bytes;
    // First the buffer, then the range: those who have buffers may be waiting for blocks of it.
    let buffer = match &how {
        Erase::Overwrite { .. } => Some(cx.buffer(place.step(size)).await),
        Erase::Discard | Erase::Zero => None,
    };
    cx.lock(0, size).await;
    let before = place.home.syncs.failures();
    let erased = match (how, buffer) {
        (Erase::Overwrite { pattern, passes, invert }, Some(buffer)) => {
            overwrite(&cx, &place, (size, buffer), (&pattern, passes, invert)).await
        }
        (Erase::Discard, _) => erase_once(&cx, &place, size, true).await,
        (Erase::Zero | Erase::Overwrite { .. }, _) => erase_once(&cx, &place, size, false).await,
    };
    let mut done = match erased {
        Ok(()) => cx.op(Op::Flush).await.is_ok(),
        Err(_) => false,
    };
    // A flush whose failure somebody else was told of has perhaps lost what was erased.
    done &= place.home.syncs.failures() == before;
    if done && place.medium.lasts() {
        done = cx.save(place.unit.unfinished(None)).await.outcome == Outcome::GOOD;
    }
    place.unit.erase_done(done).into()
}

/// Like [`clear`], for the whole medium and with progress.
async fn erase_once(cx: &JobCx, place: &Place, size: u64, discard: bool) -> Result<(), MediumFault> {
    let mut at = 0;
    while at < size {
        let len = (size - at).min(place.stretch());
        cx.op(if discard { Op::Discard { offset: at, len } } else { Op::Zero { offset: at, len } }).await?;
        at += len;
        place.unit.erase_progress(at, size);
        cx.pause().await;
    }
    Ok(())
}

async fn overwrite(
    cx: &JobCx,
    place: &Place,
    (size, mut buffer): (u64, JobBuffer),
    (pattern, passes, invert): (&[u8], u8, bool),
) -> Result<(), MediumFault> {
    let whole = place.step(size);
    for pass in 0..u64::from(passes) {
        let flip = if invert && pass % 2 == 1 { 0xff } else { 0 };
        for block in buffer.bytes_mut(whole).chunks_mut(place.block_bytes as usize) {
            for (byte, wanted) in block.iter_mut().zip(pattern.iter().cycle()) {
                *byte = wanted ^ flip;
            }
        }
        let mut at = 0;
        while at < size {
            let len = place.step(size - at);
            cx.write(at, &mut buffer, len, false).await?;
            at += len as u64;
            place.unit.erase_progress(pass * size + at, u64::from(passes) * size);
            cx.pause().await;
        }
    }
    Ok(())
}

/// PERSISTENT RESERVE OUT, MODE SELECT, SET IDENTIFYING INFORMATION: what they change is stored, then in force. If that
/// switches the cache off, a flush follows, so that nothing is left in it.
pub async fn save(cx: JobCx, place: Place, saving: Box<Saving>, admitted: Admitted) -> JobEnd {
    let end = cx.save(saving).await;
    drop(admitted);
    if end.flush {
        return flush(cx, place).await;
    }
    JobEnd { aborts: end.aborts, ..end.outcome.into() }
}

/// SYNCHRONIZE CACHE. Nobody knows which blocks a failed flush has lost.
pub async fn flush(cx: JobCx, place: Place) -> JobEnd {
    let outcome = match cx.op(Op::Flush).await {
        Ok(()) => Outcome::GOOD,
        Err(fault) => place.unit.fault(fault, None),
    };
    JobEnd { durable: true, ..outcome.into() }
}

/// GET LBA STATUS (SBC-4 clause 5.6).
pub async fn lba_status(cx: JobCx, place: Place, scan: LbaScan) -> JobEnd {
    cx.errand(Box::new(move |is_wanted| read_map(&place, scan, is_wanted))).await
}

/// Reads which blocks the medium has allocated, run by run, until the answer is full or nobody wants it any more.
/// Blocking.
fn read_map(place: &Place, scan: LbaScan, is_wanted: &dyn Fn() -> bool) -> JobEnd {
    let capacity = place.unit.blocks();
    let end = scan.end(capacity);
    let mut statuses = LbaStatuses::new(scan, &place.unit);
    let mut at = scan.lba;
    while at < end && !statuses.is_full() && is_wanted() {
        let offset = at * place.block_bytes;
        let Ok((mapped, run)) = place.medium.allocated(offset, (end - at) * place.block_bytes) else {
            return place.fault(MediumFault::Read);
        };
        let run = (run / place.block_bytes).clamp(1, u64::from(u32::MAX)).min(end - at);
        statuses.add(at, run as u32, mapped);
        at += run;
    }
    JobEnd { data: statuses.finish(at, capacity), ..Outcome::GOOD.into() }
}
