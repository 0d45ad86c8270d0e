//! The commands of 32 bytes, and what GET LBA STATUS and ORWRITE have in common in both lengths.

use super::*;

/// A CDB of 32 bytes with LBA, TRANSFER LENGTH or ALLOCATION LENGTH, and the two words between.
fn cdb_32(action: u16, lba: u64, words: (u32, u32), len: u32) -> [u8; 32] {
    let mut cdb = [0; 32];
    (cdb[0], cdb[7]) = (0x7f, 0x18);
    cdb[8..10].copy_from_slice(&action.to_be_bytes());
    cdb[12..20].copy_from_slice(&lba.to_be_bytes());
    cdb[20..24].copy_from_slice(&words.0.to_be_bytes());
    cdb[24..28].copy_from_slice(&words.1.to_be_bytes());
    cdb[28..].copy_from_slice(&len.to_be_bytes());
    cdb
}

fn change(expected: u32, new: u32, policy: u8) -> Generation {
    Generation::Change { expected, new, policy }
}

#[test]
fn length_and_service_action() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let cdb = cdb_32(0x0e, 1, (0, 0), 1);
    let field = |at| Plan::Done(Outcome::invalid_cdb_field(at, 7));
    assert!(matches!(host.send(&cdb), Plan::Medium(MediumOp::OrWrite { lba: 1, blocks: 1, fua: false, .. })));
    // ADDITIONAL CDB LENGTH that is not the command's.
    for additional in [0, 8, 0x14, 0x17, 0x19, 0x1c, 0xff] {
        let mut cdb = cdb;
        cdb[7] = additional;
        assert_eq!(host.send(&cdb), field(7), "{additional:#x}");
    }
    // A CDB that did not come along whole.
    for len in [16, 17, 20, 31] {
        assert_eq!(host.send(&cdb[..len]), field(7), "{len} bytes");
    }
    // More than the CDB is no part of it.
    assert!(matches!(host.send(&[&cdb[..], &[0xff; 228]].concat()), Plan::Medium(_)));
    for action in [0x00, 0x13, 0x1fff, 0x010e, 0x0e00, 0xffff] {
        assert_eq!(host.send(&cdb_32(action, 0, (0, 0), 1)), field(8), "{action:#x}");
    }
}

/// SBC-4 clause 4.21.2.2: without protection information they shall be refused, with this additional sense code.
#[test]
fn commands_of_type_2_protection_are_none() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    for action in [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0f, 0x10, 0x11] {
        assert_eq!(host.failure(&cdb_32(action, 0, (0, 0), 1)), (5, 0x2000), "{action:#x}");
        let ask = [0xa3, 0x0c, 2, 0x7f, 0, action as u8, 0, 0, 0xff, 0xff];
        assert_eq!(host.data(&ask), [0, 1, 0, 0], "{action:#x}");
    }
    let ask = [0xa3, 0x0c, 2, 0x7f, 0, 0x0e, 0, 0, 0xff, 0xff];
    let usage = host.data(&ask);
    assert_eq!(usage[..15], [0, 3, 0, 32, 0x7f, 0, 7, 15, 0, 0, 0x1f, 0xff, 0, 0x0e, 0x18]);
    assert_eq!(usage[15..], [&[0], &[0xff; 20][..]].concat());
    assert_eq!(host.failure(&[0xa3, 0x0c, 1, 0x7f, 0, 0, 0, 0, 0xff, 0xff]), (5, 0x2400));
    let absent = absent(
        &Command {
            cdb: &cdb_32(0x0e, 0, (0, 0), 1),
            lun: Lun::flat(9),
            initiator: &host.port,
            protocol_level: 1,
            luns: &[0],
            now: NOW,
        },
        &mut Reply::default(),
    );
    assert_eq!(sense_of(absent), (5, 0x2500));
}

#[test]
fn or_write_fields() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let end = unit.blocks();
    let mut cdb = cdb_32(0x0e, end - 1, (7, 9), 1);
    (cdb[3], cdb[6], cdb[10]) = (0x0f, 0x1f, 0x18);
    let op = MediumOp::OrWrite { lba: end - 1, blocks: 1, fua: true, generation: Generation::Set { expected: 7 } };
    assert_eq!(host.send(&cdb), Plan::Medium(op), "PREVIOUS GENERATION PROCESSING is ignored");
    for (policy, known) in (0..16).map(|policy| (policy, [0, 2, 3, 5, 7].contains(&policy))) {
        (cdb[2], cdb[3]) = (1, policy);
        let op = MediumOp::OrWrite { lba: end - 1, blocks: 1, fua: true, generation: change(7, 9, policy) };
        assert_eq!(op.row().length, Length::Exact);
        let expected = if known { Plan::Medium(op) } else { Plan::Done(Outcome::invalid_cdb_field(3, 3)) };
        assert_eq!(host.send(&cdb), expected);
    }
    for operation in 2..8 {
        cdb[2] = operation;
        assert_eq!(host.send(&cdb), Plan::Done(Outcome::invalid_cdb_field(2, 2)));
    }
    assert_eq!(host.failure(&cdb_32(0x0e, end, (0, 0), 1)), (5, 0x2100));
    assert_eq!(host.failure(&cdb_32(0x0e, u64::MAX, (0, 0), u32::MAX)), (5, 0x2100));
    assert_eq!(host.send(&cdb_32(0x0e, 0, (0, 0), 0)), Plan::Done(Outcome::GOOD));
    assert_eq!(host.failure(&cdb_32(0x0e, end, (0, 0), 1)), (5, 0x2100));
    assert_eq!(host.send(&cdb_32(0x0e, 0, (0, 0), 65537)), Plan::Done(Outcome::invalid_cdb_field(28, 7)));
    // A change clears what one slice holds, and may clear nothing.
    for (blocks, goes) in [(0, true), (512, true), (513, false)] {
        let mut cdb = cdb_32(0x0e, 0, (0, 1), blocks);
        (cdb[2], cdb[3]) = (1, 7);
        assert_eq!(matches!(host.send(&cdb), Plan::Medium(_)), goes, "{blocks} blocks");
    }
    let unit = LogicalUnit::new(LuParams { readonly: true, ..params() });
    assert_eq!(Host::new(&unit, 1).failure(&cdb_32(0x0e, 0, (0, 0), 1)), (7, 0x2700));
}

/// SBC-4 table 29, and clause 4.27.3.
#[test]
fn or_write_generations() {
    const REFUSED: Result<Allowed, Outcome> = Err(Outcome::illegal(0x2c0c));
    const PERFORM: Result<Allowed, Outcome> = Ok(Allowed::Perform);
    const DISCARD: Result<Allowed, Outcome> = Ok(Allowed::Discard);
    let table = [
        (0, PERFORM, REFUSED),
        (2, DISCARD, REFUSED),
        (3, PERFORM, PERFORM),
        (5, DISCARD, DISCARD),
        (7, REFUSED, REFUSED),
    ];
    let unit = LogicalUnit::new(params());
    let set = |expected| unit.or_allowed(Generation::Set { expected });
    assert_eq!((set(0), set(1)), (PERFORM, REFUSED), "after power on");
    let mut current = 0;
    for (policy, previous, other) in table {
        let next = current + 10;
        assert_eq!(unit.or_allowed(change(next, next, policy)), REFUSED);
        assert_eq!(unit.or_allowed(change(current, next, policy)), PERFORM);
        unit.or_changed(change(current, next, policy));
        assert_eq!((set(next), set(current), set(current + 5)), (PERFORM, previous, other), "policy {policy}");
        assert_eq!(unit.or_allowed(change(current, 99, policy)), REFUSED, "no change of an old one");
        current = next;
    }
    unit.reset();
    assert_eq!(set(0), REFUSED, "preserved across a logical unit reset");
    unit.hard_reset();
    assert_eq!((set(0), set(current)), (PERFORM, REFUSED));
}

#[test]
fn lba_status_of_both_lengths() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let end = unit.blocks();
    let short = |lba: u64, len: u8, report: u8| {
        let mut cdb = padded(&[0x9e, 0x12]);
        cdb[2..10].copy_from_slice(&lba.to_be_bytes());
        (cdb[13], cdb[14]) = (len, report);
        cdb
    };
    let long = |lba, scan, len, report| {
        let mut cdb = cdb_32(0x12, lba, (scan, 0), len);
        cdb[10] = report;
        cdb
    };
    let mut scan = |cdb: &[u8]| match host.send(cdb) {
        Plan::Medium(MediumOp::LbaStatus(scan)) => scan,
        other => panic!("{other:?}"),
    };
    let all = scan(&short(5, 40, 0));
    assert_eq!((all.lba, all.alloc_bytes, all.scan_blocks, all.end(end)), (5, 40, 0, end));
    assert_eq!(scan(&long(5, 0, 40, 0)), all);
    assert_eq!(scan(&long(5, 3, 40, 0)).end(end), 8);
    assert_eq!(scan(&long(end - 1, u32::MAX, 40, 0)).end(end), end);
    let told = |scan: LbaScan, runs: &[(u64, u32, bool)], at, unit: &LogicalUnit| {
        let mut statuses = LbaStatuses::new(scan, unit);
        runs.iter().for_each(|&(lba, blocks, mapped)| statuses.add(lba, blocks, mapped));
        (statuses.is_full(), statuses.finish(at, end))
    };
    const RUNS: [(u64, u32, bool); 2] = [(5, 3, false), (8, 9, true)];
    let descriptor = |lba: u8, blocks: u8, status: u8| [0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, blocks, status, 0, 0, 0];
    let data = |condition: u8, descriptors: &[[u8; 16]]| {
        let mut data = vec![0, 0, 0, 4 + 16 * descriptors.len() as u8, 0, 0, 0, condition << 1 | 1];
        data.extend(descriptors.concat());
        data
    };
    let both = [descriptor(5, 3, 1), descriptor(8, 9, 0)];
    assert_eq!(told(all, &RUNS, 17, &unit), (true, data(1, &both)), "no more room");
    assert_eq!(told(all, &RUNS, end, &unit), (true, data(3, &both)), "the end of the medium");
    let parts = [(5, 1, false), (6, 2, false), (8, 4, true), (12, 5, true)];
    assert_eq!(told(all, &parts, 17, &unit), (true, data(1, &both)), "as few descriptors as can be");
    assert_eq!(told(scan(&long(5, 12, 200, 0)), &RUNS, 17, &unit), (false, data(2, &both)), "the end of the scan");
    assert_eq!(told(scan(&short(5, 30, 0)), &RUNS, 17, &unit).1, data(1, &both)[..30], "cut");
    assert_eq!(told(scan(&short(5, 2, 0)), &RUNS[..1], 8, &unit), (true, vec![0, 0]));
    let by_type = [
        (1, vec![descriptor(5, 3, 1), descriptor(8, 9, 3)]),
        (2, vec![descriptor(8, 9, 3)]),
        (3, vec![descriptor(5, 3, 1)]),
        (4, vec![]),
        (0x10, vec![]),
    ];
    for (report, descriptors) in &by_type {
        assert_eq!(told(scan(&short(5, 200, *report)), &RUNS, end, &unit).1, data(3, descriptors), "{report:#x}");
        assert_eq!(scan(&long(5, 0, 200, *report)), scan(&short(5, 200, *report)));
    }
    let thick = LogicalUnit::new(LuParams { thin: false, ..params() });
    assert_eq!(told(all, &RUNS[..1], end, &thick).1, data(3, &[descriptor(5, 3, 0)]), "fully provisioned");
    for report in [5, 0x0f, 0x11, 0xff] {
        assert_eq!(host.send(&short(5, 40, report)), Plan::Done(Outcome::invalid_cdb_field(14, 7)));
        assert_eq!(host.send(&long(5, 0, 40, report)), Plan::Done(Outcome::invalid_cdb_field(10, 7)));
    }
    assert_eq!(host.failure(&short(end, 40, 0)), (5, 0x2100));
    assert_eq!(host.failure(&long(end, 0, 40, 0)), (5, 0x2100));
    assert_eq!(host.data(&long(0, 0, 0, 0)).len(), 0, "no allocation length");
    let mut cdb = long(0, 0, 40, 0);
    cdb[27] = 1;
    assert_eq!(host.send(&cdb), Plan::Done(Outcome::invalid_cdb_field(27, 0)), "ELEMENT IDENTIFIER");
}
