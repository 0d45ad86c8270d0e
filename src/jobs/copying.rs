//! What third-party copies do, step by step: they read and write several media, a slice at a time with a turn of the core in
//! between. Whenever an operation could begin, both units are asked whether the nexus may still do that.
//!
//! A source that overlaps its destination is copied as if all of it were read first (from the end, where needed).
//! Against commands of other sessions in between there is no order, as there is none between two commands.

use super::job::JobCx;
use crate::backend::Op;
use crate::limits::SLICE_BYTES;
use crate::model::{PerUnit, UnitIx};
use crate::random::fill_random;
use crate::scsi::copy_begin::{CopyStep, CopyWork, TokenWork};
use crate::scsi::{LogicalUnit, Outcome};
use crate::tasks::outcomes::TASK_SET_FULL;
use crate::unit::Unit;
use crate::unit::end::JobEnd;
use std::sync::Arc;

/// Bytes zeroed at a time: memory is zeroed at some 10 GB/s, so this is well under a millisecond.
const ZERO_BYTES: u64 = 1 << 20;

/// How a copy finds its media.
pub struct Route {
    /// All units, by number.
    pub all: PerUnit<Arc<[Arc<Unit>]>>,
    /// Index into `all`, for each of the copy's peers.
    pub units: Vec<UnitIx>,
    /// The unit that was asked.
    pub here: UnitIx,
}

impl Route {
    /// A peer of the copy: the number of its unit, and that.
    fn unit(&self, peer: usize) -> Option<(UnitIx, &Unit)> {
        let unit = *self.units.get(peer)?;
        Some((unit, self.all.get(unit)?))
    }

    /// How many failures the unit of a peer has had.
    fn failures(&self, peer: usize) -> u64 {
        self.unit(peer).map_or(0, |(_, unit)| unit.syncs.failures())
    }

    /// The device server that was asked.
    fn here(&self) -> Option<&LogicalUnit> {
        Some(&self.all.get(self.here)?.logical)
    }
}

/// The job of POPULATE TOKEN.
pub async fn make_token(cx: JobCx, work: TokenWork, unit: Arc<Unit>) -> JobEnd {
    let (offset, len) = work.hull(&unit.logical);
    if len > 0 {
        // With the range locked, what was under way before is done, and what comes later finds the token.
        cx.lock(offset, len).await;
    }
    // The lock may have taken a while.
    let now_ms = cx.now_ms();
    work.make(&unit.logical, now_ms, &mut fill_random).into()
}

/// The job of a copy.
pub async fn run(cx: JobCx, work: CopyWork, route: Route) -> JobEnd {
    let mut outcome = Outcome::GOOD;
    let before: Vec<u64> = work.steps.iter().map(|step| route.failures(step.destination.0)).collect();
    for number in 0..work.steps.len() {
        if let Err(why) = step(&cx, &work, &route, number).await {
            outcome = why;
            break;
        }
        work.steps_done(number + 1);
    }
    if outcome == Outcome::GOOD
        && let Err(why) = settle(&cx, &work, &route, &before).await
    {
        outcome = why;
    }
    match route.here() {
        Some(unit) => work.finish(unit, outcome).into(),
        None => outcome.into(),
    }
}

/// Makes what was copied durable before the status, on destinations where WCE is zero. `before`: for each step, the
/// failures that its destination had when the copy began.
async fn settle(cx: &JobCx, work: &CopyWork, route: &Route, before: &[u64]) -> Result<(), Outcome> {
    let mut settled = Vec::new();
    for ((number, step), before) in work.steps.iter().enumerate().zip(before) {
        let (to, unit) = route.unit(step.destination.0).ok_or(TASK_SET_FULL)?;
        if unit.logical.is_write_through() && !settled.contains(&to) {
            let mut flushed = cx.op_on(to, Op::Flush).await;
            if unit.syncs.failures() != *before {
                flushed = Err(unit.syncs.last_failure());
            }
            flushed.map_err(|fault| work.failed(number, true, fault, 0))?;
            settled.push(to);
        }
    }
    Ok(())
}

async fn step(cx: &JobCx, work: &CopyWork, route: &Route, number: usize) -> Result<(), Outcome> {
    let Some(&CopyStep { source, destination: (to, to_offset), bytes }) = work.steps.get(number) else { return Ok(()) };
    let (to, to_unit) = route.unit(to).ok_or(TASK_SET_FULL)?;
    let block_bytes = u64::from(to_unit.block_bytes);
    let left = |done: u64| (bytes - done) / block_bytes;
    let failed = |of_destination, fault, done: u64| work.failed(number, of_destination, fault, left(done));
    let from_unit = match source {
        Some((from, _)) => Some(route.unit(from).ok_or(TASK_SET_FULL)?.1),
        None => None,
    };
    let stop = |done: u64| {
        work.interrupted().map_or(Ok(()), Err)?;
        from_unit.map_or(Ok(()), |unit| work.admitted(number, false, &unit.logical, left(done)))?;
        work.admitted(number, true, &to_unit.logical, left(done))
    };
    let most = if source.is_some() { SLICE_BYTES as u64 } else { ZERO_BYTES };
    let mut done = 0;
    while done < bytes {
        let len = most.min(bytes - done);
        let at = if backwards(work, number) { bytes - done - len } else { done };
        let mut write = match to_unit.logical.params().thin {
            true => Op::Discard { offset: to_offset + at, len },
            false => Op::Zero { offset: to_offset + at, len },
        };
        let mut held = None;
        if let Some((from, from_offset)) = source {
            let (from, _) = route.unit(from).ok_or(TASK_SET_FULL)?;
            // For the read and for the write: what waits for a limit holds no buffer.
            cx.pay(Some(from), len).await;
            cx.pay(Some(to), len).await;
            let buffer = held.insert(cx.buffer(len as usize).await);
            let buffer = buffer.first(len as usize).map_err(|fault| failed(false, fault, done))?;
            let read = Op::Read { offset: from_offset + at, buffer };
            cx.op_if(from, read, || stop(done)).await?.map_err(|fault| failed(false, fault, done))?;
            write = Op::Write { offset: to_offset + at, buffer, durable: false };
        }
        // What was read counts only if it was not being overwritten meanwhile, nor is to be erased.
        cx.op_if(to, write, || stop(done)).await?.map_err(|fault| failed(true, fault, done))?;
        drop(held);
        work.advance(len);
        done += len;
        cx.pause().await;
    }
    Ok(())
}

/// Whether a step has to be copied from its end, not to overwrite what it has not read.
fn backwards(work: &CopyWork, number: usize) -> bool {
    work.steps.get(number).is_some_and(|step| {
        step.source.is_some_and(|(from, offset)| {
            from == step.destination.0 && (offset..offset.saturating_add(step.bytes)).contains(&step.destination.1)
        })
    })
}
