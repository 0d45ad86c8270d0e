//! Commands that move or change blocks: what they plan, and where they stop.

use super::*;
use crate::limits;

fn unit() -> LogicalUnit {
    LogicalUnit::new(params())
}

const END: u32 = 2048 * 100;

fn cdb_10(opcode: u8, flags: u8, lba: u32, blocks: u16) -> [u8; 10] {
    let (l, b) = (lba.to_be_bytes(), blocks.to_be_bytes());
    [opcode, flags, l[0], l[1], l[2], l[3], 0, b[0], b[1], 0]
}

fn cdb_16(opcode: u8, flags: u8, lba: u64, blocks: u32) -> [u8; 16] {
    let mut cdb = padded(&[opcode, flags]);
    cdb[2..10].copy_from_slice(&lba.to_be_bytes());
    cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
    cdb
}

#[test]
fn reads_and_writes() {
    let unit = unit();
    let mut host = Host::new(&unit, 1);
    let read = |lba, blocks, fua| Plan::Medium(MediumOp::Read { lba, blocks, fua });
    let write = |lba, blocks, fua| Plan::Medium(MediumOp::Write { lba, blocks, fua });
    assert_eq!(host.send(&[0x08, 0x01, 0x02, 0x03, 0]), read(0x10203, 256, false));
    assert_eq!(host.send(&[0x0a, 0, 0, 7, 2]), write(7, 2, false));
    assert_eq!(host.send(&cdb_10(0x28, 0x08, 5, 3)), read(5, 3, true));
    assert_eq!(host.send(&cdb_10(0x2a, 0x12, 5, 3)), write(5, 3, false), "DPO and FUA_NV mean nothing");
    assert_eq!(host.send(&[0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]), read(1, 2, false));
    assert_eq!(host.send(&[0xaa, 8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]), write(1, 2, true));
    assert_eq!(host.send(&cdb_16(0x88, 0, 1, 2)), read(1, 2, false));
    assert_eq!(host.send(&cdb_16(0x8a, 0, 1, 65536)), write(1, 65536, false));
    assert_eq!(host.failure(&cdb_16(0x8a, 0, 1, 65537)), (5, 0x2400), "MAXIMUM TRANSFER LENGTH");
    for protect in 1..8 {
        assert_eq!(host.failure(&cdb_10(0x28, protect << 5, 0, 1)), (5, 0x2400), "RDPROTECT {protect}");
        assert_eq!(host.failure(&cdb_10(0x2a, protect << 5, 0, 1)), (5, 0x2400), "WRPROTECT {protect}");
    }
}

#[test]
fn item_95_beyond_the_end_and_nothing_at_all() {
    let unit = unit();
    let mut host = Host::new(&unit, 1);
    for opcode in [0x28, 0x2a, 0x2e, 0x2f] {
        assert_eq!(host.failure(&cdb_10(opcode, 0, END, 1)), (5, 0x2100), "{opcode:02x}");
        assert_eq!(host.failure(&cdb_10(opcode, 0, END - 1, 2)), (5, 0x2100));
        assert_eq!(host.failure(&cdb_10(opcode, 0, END + 1, 0)), (5, 0x2100));
        assert_eq!(host.failure(&cdb_10(opcode, 0, u32::MAX, 0)), (5, 0x2100));
        assert_eq!(host.send(&cdb_10(opcode, 0, 0, 0)), Plan::Done(Outcome::GOOD));
        assert!(matches!(host.send(&cdb_10(opcode, 0, END - 1, 1)), Plan::Medium(_)));
    }
    for opcode in [0x88, 0x8a, 0x8b, 0x8e, 0x8f] {
        assert_eq!(host.failure(&cdb_16(opcode, 0, u64::MAX, 1)), (5, 0x2100), "{opcode:02x}");
        assert_eq!(host.failure(&cdb_16(opcode, 0, 1, u32::MAX)), (5, 0x2100));
        assert_eq!(host.send(&cdb_16(opcode, 0, 0, 0)), Plan::Done(Outcome::GOOD));
    }
}

#[test]
fn no_volatile_cache_means_fua() {
    let unit = LogicalUnit::new(LuParams { volatile_cache: false, ..params() });
    let mut host = Host::new(&unit, 1);
    assert_eq!(host.send(&cdb_10(0x2a, 0, 0, 1)), Plan::Medium(MediumOp::Write { lba: 0, blocks: 1, fua: true }));
}

#[test]
fn verify_and_its_byte_check() {
    let unit = unit();
    let mut host = Host::new(&unit, 1);
    let compare = |one_block| Plan::Medium(MediumOp::Compare { lba: 1, blocks: 2, one_block });
    assert_eq!(host.send(&cdb_10(0x2f, 0x10, 1, 2)), Plan::Medium(MediumOp::Verify { lba: 1, blocks: 2 }));
    assert_eq!(host.send(&cdb_10(0x2f, 0x02, 1, 2)), compare(false));
    assert_eq!(host.send(&cdb_10(0x2f, 0x06, 1, 2)), compare(true));
    assert_eq!(host.failure(&cdb_10(0x2f, 0x04, 1, 2)), (5, 0x2400));
    let verify = |compare| Plan::Medium(MediumOp::WriteVerify { lba: 1, blocks: 2, compare });
    assert_eq!(host.send(&cdb_10(0x2e, 0x00, 1, 2)), verify(false));
    assert_eq!(host.send(&cdb_10(0x2e, 0x02, 1, 2)), verify(true));
    assert_eq!(host.failure(&cdb_10(0x2e, 0x06, 1, 2)), (5, 0x2400));
}

#[test]
fn item_95_write_same_of_no_blocks_and_the_rest() {
    let unit = unit();
    let mut host = Host::new(&unit, 1);
    let same =
        |blocks, unmap, no_data| Plan::Medium(MediumOp::WriteSame { lba: 1, blocks, unmap, anchor: false, no_data });
    assert_eq!(host.send(&cdb_10(0x41, 0, 1, 2)), same(2, false, false));
    assert_eq!(host.send(&cdb_10(0x41, 8, 1, 2)), same(2, true, false));
    assert_eq!(host.send(&cdb_16(0x93, 9, 1, 0x1_0000)), same(0x1_0000, true, true));
    assert_eq!(host.failure(&cdb_10(0x41, 0, 1, 0)), (5, 0x2400), "WSNZ");
    assert_eq!(host.failure(&cdb_10(0x41, 0x10, 1, 1)), (5, 0x2400), "ANCHOR");
    assert_eq!(host.failure(&cdb_10(0x41, 0x18, 1, 1)), (5, 0x2400), "ANCHOR with UNMAP");
    assert_eq!(host.failure(&cdb_10(0x41, 0, END, 1)), (5, 0x2100));
    let thick = LogicalUnit::new(LuParams { thin: false, ..params() });
    let mut host = Host::new(&thick, 1);
    let all =
        |lba, blocks| Plan::Medium(MediumOp::WriteSame { lba, blocks, unmap: false, anchor: false, no_data: false });
    assert_eq!(host.send(&cdb_10(0x41, 0, 1, 0)), all(1, u64::from(END) - 1), "none means the rest");
    assert_eq!(host.send(&cdb_16(0x93, 0, u64::from(END) - 1, 0)), all(u64::from(END) - 1, 1));
    assert_eq!(host.failure(&cdb_10(0x41, 0, END, 0)), (5, 0x2100), "of which there is nothing");
    assert_eq!(host.failure(&cdb_10(0x41, 8, 1, 2)), (5, 0x2400));
    assert_eq!(host.failure(&[0x42, 0, 0, 0, 0, 0, 0, 0, 24]), (5, 0x2000));
    let large = LogicalUnit::new(LuParams { blocks: 1 << 40, thin: false, ..params() });
    let mut host = Host::new(&large, 1);
    assert_eq!(host.failure(&cdb_16(0x93, 0, 1, (1 << 21) + 1)), (5, 0x2400), "MAXIMUM WRITE SAME LENGTH");
    assert_eq!(host.failure(&cdb_16(0x93, 0, 1, 0)), (5, 0x2400), "the rest is more than that");
}

fn unmap_list(ranges: &[(u64, u32)]) -> Vec<u8> {
    let len = 16 * ranges.len() as u16;
    let mut list = [(len + 6).to_be_bytes(), len.to_be_bytes(), [0; 2], [0; 2]].concat();
    for (lba, blocks) in ranges {
        list.extend(lba.to_be_bytes());
        list.extend(blocks.to_be_bytes());
        list.extend([0; 4]);
    }
    list
}

fn unmap(host: &mut Host, list: &[u8]) -> Plan {
    let [high, low] = (list.len() as u16).to_be_bytes();
    host.send_list(&[0x42, 0, 0, 0, 0, 0, 0, high, low], list)
}

#[test]
fn unmap_ranges() {
    let unit = unit();
    let mut host = Host::new(&unit, 1);
    let good = Plan::Done(Outcome::GOOD);
    let end = u64::from(END);
    assert_eq!(
        unmap(&mut host, &unmap_list(&[(0, 1), (9, 0), (end - 1, 1)])),
        Plan::Medium(MediumOp::Unmap { ranges: vec![(0, 1), (end - 1, 1)] })
    );
    assert_eq!(unmap(&mut host, &unmap_list(&[(end, 0)])), good, "nothing, right at the end");
    assert_eq!(unmap(&mut host, &unmap_list(&[])), good);
    assert_eq!(host.send(&[0x42]), good, "no list");
    assert_eq!(sense_of(unmap(&mut host, &unmap_list(&[(end, 1)]))), (5, 0x2100));
    assert_eq!(sense_of(unmap(&mut host, &[0; 7])), (5, 0x1a00));
    assert_eq!(sense_of(unmap(&mut host, &unmap_list(&[(0, 1); 257]))), (5, 0x2600));
    let large = LogicalUnit::new(LuParams { blocks: 1 << 40, ..params() });
    let mut host = Host::new(&large, 1);
    let most = 1 << 20;
    assert!(matches!(unmap(&mut host, &unmap_list(&[(0, most)])), Plan::Medium(_)));
    assert_eq!(sense_of(unmap(&mut host, &unmap_list(&[(0, most), (0, 1)]))), (5, 0x2600));
    assert_eq!(host.failure(&[0x42, 1, 0, 0, 0, 0, 0, 0, 24]), (5, 0x2400), "ANCHOR");
}

#[test]
fn a_read_only_unit_refuses_every_write() {
    let unit = LogicalUnit::new(LuParams { readonly: true, thin: false, ..params() });
    let mut host = Host::new(&unit, 1);
    for opcode in [0x0a, 0x2a, 0x2e, 0x41, 0x42, 0x89, 0x8a, 0x8b, 0x8e, 0x93, 0xaa, 0xae] {
        assert_eq!(host.failure(&[opcode]), (7, 0x2700), "{opcode:02x}");
    }
    assert_eq!(host.failure(&cdb_10(0x41, 8, 0, 1)), (7, 0x2700), "WRITE SAME with UNMAP");
    assert!(matches!(host.send(&cdb_10(0x28, 0, 0, 1)), Plan::Medium(MediumOp::Read { .. })));
    assert!(matches!(host.send(&[0x35]), Plan::Medium(MediumOp::Flush { immed: false })));
}

#[test]
fn write_atomic() {
    let unit = unit();
    let mut host = Host::new(&unit, 1);
    let cdb = |lba: u64, blocks: u16, flags| {
        let mut cdb = cdb_16(0x9c, flags, lba, 0);
        cdb[12..14].copy_from_slice(&blocks.to_be_bytes());
        cdb
    };
    let op = MediumOp::WriteAtomic { lba: 3, blocks: 512, fua: true };
    assert!(op.row().length == Length::Exact && op.row().data_out_bytes(512) <= limits::SLICE_BYTES as u64);
    assert_eq!(host.send(&cdb(3, 512, 8)), Plan::Medium(op));
    assert_eq!(host.failure(&cdb(3, 513, 8)), (5, 0x2400), "MAXIMUM ATOMIC TRANSFER LENGTH");
    assert_eq!(host.send(&cdb(3, 0, 0)), Plan::Done(Outcome::GOOD));
    assert_eq!(host.failure(&cdb(u64::from(END), 1, 0)), (5, 0x2100));
    let torn = LogicalUnit::new(LuParams { atomic_blocks: 0, ..params() });
    let mut host = Host::new(&torn, 1);
    assert_eq!(host.failure(&cdb(3, 1, 0)), (5, 0x2000));
    assert_eq!(host.data(&[0x12, 1, 0xb0, 0, 255])[44..], [0; 20]);
}

#[test]
fn compare_and_write_fits_a_slice() {
    let unit = LogicalUnit::new(LuParams { block_bytes: 4096, ..params() });
    let mut host = Host::new(&unit, 1);
    let most = host.data(&[0x12, 1, 0xb0, 0, 255])[5];
    assert_eq!(most, 32);
    let mut caw = cdb_16(0x89, 0, 1, 0);
    caw[13] = most;
    assert!(matches!(host.send(&caw), Plan::Medium(MediumOp::CompareAndWrite { blocks: 32, .. })));
    caw[13] = most + 1;
    assert_eq!(host.failure(&caw), (5, 0x2400));
}

#[test]
fn the_rest() {
    let unit = unit();
    let mut host = Host::new(&unit, 1);
    let good = Plan::Done(Outcome::GOOD);
    let flush = |immed| Plan::Medium(MediumOp::Flush { immed });
    assert_eq!(host.send(&cdb_10(0x35, 2, 0, 0)), flush(true));
    assert_eq!(host.send(&cdb_16(0x91, 0, 1, 2)), flush(false));
    assert_eq!(host.failure(&cdb_10(0x35, 0, END, 1)), (5, 0x2100));
    assert_eq!(host.send(&[0x1b, 0, 0, 0, 1]), good);
    assert_eq!(host.send(&[0x1b, 1, 0, 0, 0]), flush(true));
    assert_eq!(host.failure(&[0x1b, 0, 0, 0, 2]), (5, 0x2400), "LOEJ: not removable");
    assert_eq!(host.send(&[0x1e, 0, 0, 0, 1]), good);
    let prefetch = |lba, blocks| Plan::Medium(MediumOp::Prefetch { lba, blocks });
    assert_eq!(host.send(&[0x34, 2, 0, 0, 0, 1, 3, 0, 4]), prefetch(1, 4));
    assert_eq!(host.send(&cdb_16(0x90, 0, 1, 0)), prefetch(1, END - 1));
    let mut caw = cdb_16(0x89, 8, 1, 0);
    caw[13] = 255;
    let op = MediumOp::CompareAndWrite { lba: 1, blocks: 255, fua: true };
    assert_eq!(op.row().data_out_bytes(512), 2 * 255 * 512);
    assert_eq!(host.send(&caw), Plan::Medium(op));
    caw[13] = 0;
    let nothing = MediumOp::CompareAndWrite { lba: 1, blocks: 0, fua: true };
    assert!(nothing.row().length == Length::Exact && nothing.row().data_out == 0);
    assert_eq!(host.send(&caw), Plan::Medium(nothing), "so that data sent with it is noticed");
    assert_eq!(
        host.send(&cdb_16(0x8b, 0, 1, 2)),
        Plan::Medium(MediumOp::OrWrite { lba: 1, blocks: 2, fua: false, generation: Generation::Set { expected: 0 } })
    );
}
