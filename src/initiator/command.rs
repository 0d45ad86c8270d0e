//! A SCSI command, as an initiator gives it, and its PDU.

use super::outbox::DataRef;
use crate::wire::ahs::Ahs;
use crate::wire::{CmdSn, Itt, Lun, ScsiCommand, StatSn, TaskAttr};

/// What of a CDB stands in the Basic Header Segment, in bytes.
const CDB_IN_BHS: usize = 16;

/// A SCSI command.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The logical unit.
    pub lun: Lun,
    /// The CDB: at most [`MAX_CDB`](crate::wire::ahs::MAX_CDB) bytes. What is beyond the sixteenth goes in an AHS.
    pub cdb: &'a [u8],
    /// Task attribute.
    pub attr: TaskAttr,
    /// Command priority (RFC 7144 section 5.1.1), 0 to 15.
    pub priority: u8,
    /// Delivered without regard to the order of CmdSN.
    pub immediate_delivery: bool,
    /// Bytes that it is expected to read.
    pub read_bytes: u32,
    /// Bytes that it is expected to write. With `read_bytes`, too, it is a bidirectional command.
    pub write_bytes: u32,
    /// Where what it writes lies.
    pub data: DataRef,
}

impl<'a> Command<'a> {
    /// A simple command without data.
    pub const fn new(lun: Lun, cdb: &'a [u8]) -> Command<'a> {
        Command {
            lun,
            cdb,
            attr: TaskAttr::SIMPLE,
            priority: 0,
            immediate_delivery: false,
            read_bytes: 0,
            write_bytes: 0,
            data: DataRef(0),
        }
    }

    /// The same that reads so many bytes.
    #[must_use]
    pub const fn reading(self, bytes: u32) -> Command<'a> {
        Command { read_bytes: bytes, ..self }
    }

    /// The same that writes so many bytes, which lie at `data`.
    #[must_use]
    pub const fn writing(self, bytes: u32, data: DataRef) -> Command<'a> {
        Command { write_bytes: bytes, data, ..self }
    }

    /// Expected Data Transfer Length, bytes.
    #[inline]
    pub const fn edtl_bytes(&self) -> u32 {
        if self.write_bytes > 0 { self.write_bytes } else { self.read_bytes }
    }

    /// Whether it needs Additional Header Segments.
    #[inline]
    pub const fn has_ahs(&self) -> bool {
        self.cdb.len() > CDB_IN_BHS || self.read_bytes > 0 && self.write_bytes > 0
    }

    /// Appends the Additional Header Segments that the command needs; most need none.
    pub fn write_ahs(&self, out: &mut Vec<u8>) {
        let spill = self.cdb.get(CDB_IN_BHS..).unwrap_or_default();
        // Neither can fail: a spill that is too long for its field is too long for a CDB.
        if !spill.is_empty() {
            let _ = Ahs::ExtendedCdb(spill).emit(out);
        }
        if self.read_bytes > 0 && self.write_bytes > 0 {
            let _ = Ahs::BidiReadEdtl(self.read_bytes).emit(out);
        }
    }

    /// A CDB of fewer bytes than the header has room for.
    fn short_cdb(&self) -> [u8; CDB_IN_BHS] {
        let mut cdb = [0; CDB_IN_BHS];
        cdb.iter_mut().zip(self.cdb).for_each(|(to, from)| *to = *from);
        cdb
    }

    /// The fields of its PDU, but for the lengths of what follows it. `is_final`: no unsolicited Data-Out follows.
    #[inline]
    pub fn pdu(&self, itt: Itt, cmd_sn: CmdSn, exp_stat_sn: StatSn, is_final: bool) -> ScsiCommand {
        let cdb = self.cdb.first_chunk().copied().unwrap_or_else(|| self.short_cdb());
        ScsiCommand {
            immediate_delivery: self.immediate_delivery,
            is_final,
            read: self.read_bytes > 0,
            write: self.write_bytes > 0,
            attr: self.attr,
            priority: self.priority,
            total_ahs_words: 0,
            data_segment_len: 0,
            lun: self.lun,
            itt,
            edtl_bytes: self.edtl_bytes(),
            cmd_sn,
            exp_stat_sn,
            cdb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::BHS_LEN;
    use crate::wire::ahs::{self, MAX_CDB};

    #[test]
    fn golden_read() {
        let cdb = [0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0];
        let command = Command::new(Lun::flat(3), &cdb).reading(512);
        let mut bhs = [0; BHS_LEN];
        command.pdu(Itt(0x0102_0304), CmdSn(5), StatSn(6), true).emit(&mut bhs);
        let mut golden = [0; BHS_LEN];
        (golden[0], golden[1], golden[9]) = (0x01, 0xc1, 3);
        golden[16..20].copy_from_slice(&[1, 2, 3, 4]);
        golden[22] = 2;
        (golden[27], golden[31]) = (5, 6);
        golden[32..42].copy_from_slice(&cdb);
        assert_eq!(bhs, golden);
        let mut ahs = Vec::new();
        command.write_ahs(&mut ahs);
        assert!(ahs.is_empty());
    }

    #[test]
    fn a_long_cdb_and_data_both_ways() {
        let cdb: [u8; 32] = std::array::from_fn(|n| n as u8);
        let command = Command::new(Lun::flat(0), &cdb).reading(8).writing(4, DataRef(0));
        let parsed = command.pdu(Itt(1), CmdSn(1), StatSn(1), true);
        assert_eq!((parsed.read, parsed.write, parsed.edtl_bytes), (true, true, 4));
        let (mut segments, mut joined) = (Vec::new(), [0; MAX_CDB]);
        command.write_ahs(&mut segments);
        assert_eq!(ahs::cdb(&parsed, &segments, &mut joined), Ok(32));
        assert_eq!(joined[..32], cdb);
        assert_eq!(ahs::Segments::new(&segments).last(), Some(Ok(Ahs::BidiReadEdtl(8))));
    }
}
