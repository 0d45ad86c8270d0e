//! READ CAPACITY(10) and (16) (SBC-3 clauses 5.18, 5.19), GET LBA STATUS(16) and (32) (SBC-4 clauses 5.6 and 5.7).

use super::call::{Call, Planned};
use super::cdb::{be32, be64};
use super::medium_op::{LbaScan, MediumOp};
use super::plan::Plan;
use super::rw::check_range;
use super::sense::Outcome;
use super::unit::LogicalUnit;

/// READ CAPACITY(10). Answers FFFFFFFFh when the last LBA does not fit, which sends the host to READ CAPACITY(16).
pub(super) fn read_capacity_10(call: &mut Call) -> Planned {
    let last = u32::try_from(call.unit.blocks().saturating_sub(1)).unwrap_or(u32::MAX);
    call.reply.put(&last.to_be_bytes());
    call.reply.put(&call.unit.block_bytes().to_be_bytes());
    call.reply.finish(usize::MAX)
}

/// READ CAPACITY(16): tells block lengths and provisioning, too. LBPRZ goes with LBPME: unmapped blocks read as zeroes.
pub(super) fn read_capacity_16(call: &mut Call) -> Planned {
    const LBPME: u8 = 0x80;
    const LBPRZ: u8 = 0x40;
    let params = call.unit.params();
    call.reply.put(&call.unit.blocks().saturating_sub(1).to_be_bytes());
    call.reply.put(&params.block_bytes.to_be_bytes());
    let exponent = (params.physical_block_bytes / params.block_bytes.max(1)).max(1).ilog2() as u8;
    call.reply.put(&[0, exponent & 0x0f, if params.thin { LBPME | LBPRZ } else { 0 }, 0]);
    call.reply.put(&[0; 16]);
    call.reply.finish(be32(call.cdb, 10) as usize)
}

/// REPORT TYPE (SBC-4 table 49): all, those with a status, mapped, deallocated, anchored (none are), in doubt (none are).
const REPORT_TYPES: [u8; 6] = [0x00, 0x01, 0x02, 0x03, 0x04, 0x10];

/// GET LBA STATUS(16).
pub(super) fn lba_status_16(call: &mut Call) -> Planned {
    let (lba, alloc_bytes, report) = (be64(call.cdb, 2), be32(call.cdb, 10), call.cdb[14]);
    lba_status(call, LbaScan { lba, alloc_bytes, scan_blocks: 0, report }, 14)
}

/// GET LBA STATUS(32): ELEMENT IDENTIFIER is zero, as there are no physical elements to tell apart.
pub(super) fn lba_status_32(call: &mut Call) -> Planned {
    let (cdb, report) = (call.command.cdb, call.cdb[10]);
    let (lba, scan_blocks, alloc_bytes) = (be64(cdb, 12), be32(cdb, 20), be32(cdb, 28));
    lba_status(call, LbaScan { lba, alloc_bytes, scan_blocks, report }, 10)
}

fn lba_status(call: &mut Call, scan: LbaScan, report_at: u16) -> Planned {
    if !REPORT_TYPES.contains(&scan.report) {
        return Err(Outcome::invalid_cdb_field(report_at, 7));
    }
    check_range(call.unit, scan.lba, 1)?;
    Ok(if scan.alloc_bytes == 0 { Plan::Done(Outcome::GOOD) } else { Plan::Medium(MediumOp::LbaStatus(scan)) })
}

/// The parameter data of GET LBA STATUS (SBC-4 clause 5.6.2), for whoever carries out [`MediumOp::LbaStatus`]: runs of
/// blocks are told in ascending order, until it [is full](LbaStatuses::is_full) or the [end](LbaScan::end) is reached.
#[derive(Debug)]
pub struct LbaStatuses {
    scan: LbaScan,
    thin: bool,
    room: usize,
    /// The last descriptor: where it ends, its blocks, its status.
    last: Option<(u64, u32, u8)>,
    data: Vec<u8>,
}

impl LbaStatuses {
    const HEADER_BYTES: usize = 8;
    const DESCRIPTOR_BYTES: usize = 16;
    /// The most descriptors of one answer, which may be shorter than the allocation length.
    const MOST: usize = 256;

    /// An answer with no runs yet.
    pub fn new(scan: LbaScan, unit: &LogicalUnit) -> LbaStatuses {
        // There is room for one descriptor at least, so that PARAMETER DATA LENGTH tells the truth even when the data
        // is cut off.
        let room = (scan.alloc_bytes as usize).saturating_sub(Self::HEADER_BYTES) / Self::DESCRIPTOR_BYTES;
        let room = room.clamp(1, Self::MOST);
        LbaStatuses { scan, thin: unit.params().thin, room, last: None, data: vec![0; Self::HEADER_BYTES] }
    }

    /// Whether there is no room for another run.
    pub fn is_full(&self) -> bool {
        self.data.len() >= Self::HEADER_BYTES + self.room * Self::DESCRIPTOR_BYTES
    }

    /// Takes a run of `blocks` blocks from `lba` on. On a unit that is not thin provisioned everything is mapped.
    pub fn add(&mut self, lba: u64, blocks: u32, mapped: bool) {
        const DEALLOCATED: u8 = 1;
        const MAPPED: u8 = 3;
        let mapped = mapped || !self.thin;
        let status = match (self.scan.report, mapped) {
            (0x00, true) => 0,
            (0x01 | 0x02, true) => MAPPED,
            (0x00 | 0x01 | 0x03, false) => DEALLOCATED,
            _ => return,
        };
        let end = lba + u64::from(blocks);
        // A run goes on with the next one of the same status.
        if let Some((last_end, last_blocks, last_status)) = self.last
            && (last_end, last_status) == (lba, status)
            && let Some(blocks) = last_blocks.checked_add(blocks)
            && let Some(field) = self.data.last_chunk_mut::<8>()
        {
            field[..4].copy_from_slice(&blocks.to_be_bytes());
            self.last = Some((end, blocks, status));
            return;
        }
        self.last = Some((end, blocks, status));
        self.data.extend_from_slice(&lba.to_be_bytes());
        self.data.extend_from_slice(&blocks.to_be_bytes());
        self.data.extend_from_slice(&[status, 0, 0, 0]);
    }

    /// The data, cut to the allocation length; PARAMETER DATA LENGTH stays that of the whole. `at`: how far the scan came,
    /// on a medium of `capacity` blocks.
    pub fn finish(mut self, at: u64, capacity: u64) -> Vec<u8> {
        const RTP: u8 = 0x01;
        // COMPLETION CONDITION: the end of the medium, no more room, or the end of the scan.
        let condition = match (at >= capacity, self.is_full()) {
            (true, _) => 3,
            (false, true) => 1,
            (false, false) => 2,
        };
        let len = (self.data.len() as u32 - 4).to_be_bytes();
        self.data[..4].copy_from_slice(&len);
        self.data[7] = condition << 1 | RTP;
        self.data.truncate(self.scan.alloc_bytes as usize);
        self.data
    }
}
