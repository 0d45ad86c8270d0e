//! Copies that a host has the target make: EXTENDED COPY, and WRITE USING TOKEN with the token that stands for zeroes.
//!
//! What is copied are zeroes, from blocks in which nobody ever writes ([`UnitSpec::quiet`]), so that the oracle knows what it is
//! whatever happens meanwhile to the units.

use super::blocks::ZEROES;
use super::judge::{Judge, UnitSpec};
use super::verdict::Open;
use super::workload::{Chooser, Does, Issue};
use std::ops::Range;

/// Stretches of one copy.
const MOST_STRETCHES: u64 = 4;

const THIRD_PARTY_COPY_OUT: u8 = 0x83;
const EXTENDED_COPY_LID1: u8 = 0x00;
const WRITE_USING_TOKEN: u8 = 0x11;

/// A CDB of these commands (SPC-4 clauses 6.4 and 6.37).
fn cdb(service_action: u8, list_identifier: u32, list_bytes: usize) -> Vec<u8> {
    let mut cdb = vec![THIRD_PARTY_COPY_OUT, service_action, 0, 0, 0, 0];
    cdb.extend_from_slice(&list_identifier.to_be_bytes());
    cdb.extend_from_slice(&(list_bytes as u32).to_be_bytes());
    cdb.extend_from_slice(&[0; 2]);
    cdb
}

/// An identification descriptor CSCD descriptor (SPC-4 clause 6.4.4.2), with the unit's NAA designator.
fn cscd(unit: &UnitSpec) -> Vec<u8> {
    const IDENTIFICATION: u8 = 0xe4;
    let mut cscd = vec![0; 32];
    cscd[0] = IDENTIFICATION;
    cscd[4..8].copy_from_slice(&[0x01, 0x03, 0, 16]);
    cscd[8..24].copy_from_slice(&unit.naa);
    cscd[28..32].copy_from_slice(&unit.block_bytes.to_be_bytes());
    cscd
}

/// A block device to block device segment descriptor (SPC-4 clause 6.4.5.4), from CSCD descriptor 0 to 1.
fn segment(from: usize, to: &Range<usize>) -> Vec<u8> {
    const BLOCK_TO_BLOCK: u8 = 0x02;
    let mut segment = vec![BLOCK_TO_BLOCK, 0, 0, 24, 0, 0, 0, 1, 0, 0];
    segment.extend_from_slice(&(to.len() as u16).to_be_bytes());
    segment.extend_from_slice(&(from as u64).to_be_bytes());
    segment.extend_from_slice(&(to.start as u64).to_be_bytes());
    segment
}

impl Chooser<'_> {
    /// Where a copy goes to: stretches that do not overlap, each of `most` blocks at most.
    fn stretches(&mut self, unit: usize, most: usize) -> Vec<Range<usize>> {
        let mut stretches: Vec<Range<usize>> = Vec::new();
        for _ in 0..1 + self.rng.below(MOST_STRETCHES) {
            let mut range = self.range(unit);
            range.end = range.end.min(range.start.saturating_add(most));
            if stretches.iter().all(|other| range.end <= other.start || other.end <= range.start) {
                stretches.push(range);
            }
        }
        stretches
    }

    fn copies(&mut self, unit: usize, from: Option<usize>, to: Vec<Range<usize>>) -> Does {
        let stamp = self.judge.stamp(self.host) | ZEROES;
        to.iter().for_each(|range| self.judge.blocks[unit].begin(range.clone(), stamp));
        Does::Copies { from, to, stamp }
    }

    /// EXTENDED COPY(LID1) without a list identifier, from the quiet blocks of any unit.
    pub(super) fn extended_copy(&mut self, unit: usize) -> Issue {
        const NO_LIST_IDENTIFIER: u8 = 0x18;
        let from = self.rng.below(self.judge.units.len() as u64) as usize;
        let quiet = self.judge.units[from].quiet();
        let to = self.stretches(unit, quiet.len());
        let cscds = [cscd(&self.judge.units[from]), cscd(&self.judge.units[unit])].concat();
        let segments: Vec<Vec<u8>> = to.iter().map(|range| segment(quiet.start, range)).collect();
        let segments = segments.concat();
        let mut list = vec![0, NO_LIST_IDENTIFIER];
        list.extend_from_slice(&(cscds.len() as u16).to_be_bytes());
        list.extend_from_slice(&[0; 4]);
        list.extend_from_slice(&(segments.len() as u32).to_be_bytes());
        list.extend_from_slice(&[0; 4]);
        list.extend([cscds, segments].concat());
        let does = self.copies(unit, Some(from), to);
        Issue { data: list.clone(), ..Issue::new(unit, "EXTENDED COPY", cdb(EXTENDED_COPY_LID1, 0, list.len()), does) }
    }

    /// WRITE USING TOKEN (SBC-3 clause 5.51) with the block device zero ROD token.
    pub(super) fn write_using_token(&mut self, unit: usize) -> Issue {
        const ZERO_TOKEN: [u8; 8] = [0xff, 0xff, 0, 1, 0, 0, 0x01, 0xf8];
        let to = self.stretches(unit, usize::MAX);
        let does = self.copies(unit, None, to.clone());
        let Does::Copies { stamp, .. } = does else { unreachable!() };
        let mut list = vec![0; 534];
        list[16..24].copy_from_slice(&ZERO_TOKEN);
        list.extend_from_slice(&(to.len() as u16 * 16).to_be_bytes());
        for range in &to {
            list.extend_from_slice(&(range.start as u64).to_be_bytes());
            list.extend_from_slice(&(range.len() as u32).to_be_bytes());
            list.extend_from_slice(&[0; 4]);
        }
        let len = list.len() as u16 - 2;
        list[..2].copy_from_slice(&len.to_be_bytes());
        let cdb = cdb(WRITE_USING_TOKEN, stamp as u32, list.len());
        Issue { data: list, ..Issue::new(unit, "WRITE USING TOKEN", cdb, does) }
    }
}

/// Whether a command may end with COPY ABORTED and this code: tasks of one of its units were aborted, or the host does not find
/// that any more; a device of the copy failed, or refuses it.
pub fn may_abort(open: &Open, code: u16, host: usize, judge: &Judge) -> bool {
    const NO_ADDITIONAL_SENSE_INFORMATION: u16 = 0;
    const UNREACHABLE_COPY_TARGET: u16 = 0x0804;
    const THIRD_PARTY_DEVICE_FAILURE: u16 = 0x0d01;
    let Does::Copies { from, .. } = open.does else { return false };
    let units = || from.into_iter().chain([open.unit]);
    let may_miss = || units().any(|unit| judge.views.may_miss(host, unit, open.view));
    match code {
        NO_ADDITIONAL_SENSE_INFORMATION => {
            may_miss() || units().any(|unit| judge.may_be_cleared(host, unit, open.since_ms))
        }
        UNREACHABLE_COPY_TARGET => may_miss(),
        THIRD_PARTY_DEVICE_FAILURE => judge.media_may_fail || judge.may_conflict(host, open.unit, open.since_ms),
        _ => false,
    }
}
