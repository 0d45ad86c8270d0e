//! Any CDB and any parameter list: no panic, nothing beyond the end, no more Data-In than was asked for.

use super::super::opcode::TABLE;
use super::*;
use crate::limits;
use proptest::collection::vec;
use proptest::prelude::*;

/// CDBs that are mostly right: a row's operation code and service action, with the other bits cut to the usage mask or
/// not, and fields that tend to be small or all ones.
fn cdbs() -> impl Strategy<Value = Vec<u8>> {
    let known = (0..TABLE.len(), vec(prop_oneof![Just(0u8), Just(0xff), 0..8u8, any::<u8>()], 32), any::<bool>());
    let known = known.prop_map(|(row, noise, masked)| {
        let row = &TABLE[row];
        let mut cdb = vec![0; row.usage.len().max(16)];
        for (at, byte) in cdb.iter_mut().enumerate() {
            let mask = row.usage.get(at).copied().unwrap_or(0xff);
            *byte = if masked { noise[at] & mask } else { noise[at] };
        }
        cdb[0] = row.opcode();
        name_action(row, &mut cdb);
        cdb
    });
    prop_oneof![8 => known, 1 => vec(any::<u8>(), 16), 1 => vec(any::<u8>(), 16..260)]
}

/// ALLOCATION LENGTH of a CDB that has one and moves no blocks.
fn allocation(cdb: &[u8]) -> Option<usize> {
    let be = |range: std::ops::Range<usize>| cdb[range].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    match cdb[0] {
        0x03 | 0x1a => Some(be(4..5)),
        0x12 | 0x1c => Some(be(3..5)),
        0x37 | 0x42 | 0x43 | 0x46 | 0x4a | 0x4d | 0x51 | 0x52 | 0x5a | 0x5e => Some(be(7..9)),
        0xad | 0xbd => Some(be(8..10)),
        0x84 | 0x9e => Some(be(10..14)),
        0xa0 | 0xa3 | 0xb7 => Some(be(6..10)),
        0x3c => Some(be(6..9)),
        0x25 => Some(8),
        _ => None,
    }
}

fn check(unit: &LogicalUnit, cdb: &[u8], plan: &Plan, reply: &Reply) {
    let inside = |lba: u64, blocks: u64| {
        let end = lba.checked_add(blocks).expect("no overflow");
        assert!(blocks > 0 && end <= unit.blocks(), "{plan:?}");
    };
    match plan {
        Plan::Done(Outcome { status: 0, sense: None }) => {
            let most = allocation(cdb).unwrap_or(0);
            assert!(reply.data.len() <= most, "{cdb:02x?}: {} bytes", reply.data.len());
        }
        Plan::Done(Outcome { status, sense }) => {
            assert_eq!(*status == 2, sense.is_some());
            assert!(sense.is_none_or(|sense| sense::name(sense.asc_ascq).is_some()), "{sense:02x?}");
            assert!(reply.data.is_empty());
        }
        Plan::Parameters { len_bytes } => {
            assert!(*len_bytes > 0 && *len_bytes as usize <= limits::MAX_PARAMETER_BYTES);
        }
        Plan::Save(_) => unreachable!("carried out before"),
        Plan::Buffer => unreachable!("there is room"),
        Plan::Medium(op) => {
            let row = op.row();
            match op {
                MediumOp::CompareAndWrite { blocks: 0, .. }
                | MediumOp::OrWrite { blocks: 0, generation: Generation::Change { .. }, .. } => {}
                MediumOp::Unmap { ranges } => ranges.iter().for_each(|(lba, blocks)| inside(*lba, *blocks)),
                MediumOp::LbaStatus(scan) => inside(scan.lba, 1),
                // What comes of a copy is checked beside `copy_begin.rs`.
                MediumOp::Flush { .. } | MediumOp::Probe | MediumOp::Erase { .. } | MediumOp::Copy(_) => {}
                _ => inside(row.range.0, row.range.1),
            }
            assert!(row.data_out_bytes(unit.block_bytes()) <= limits::MAX_TRANSFER_BYTES);
            if row.runs == Runs::Read {
                assert!(row.bytes(unit.block_bytes()).1 <= limits::MAX_TRANSFER_BYTES);
            }
            // What a copy reads and writes is asked when it begins.
            if unit.params().readonly && !matches!(op, MediumOp::Copy(_)) {
                assert_eq!(row.changes, Changes::Nothing, "{cdb:02x?}");
            }
        }
    }
}

fn units() -> impl Strategy<Value = LuParams> {
    let sizes = prop_oneof![Just(0u64), Just(1), 1..1_000_000u64, Just(u64::MAX / 4096)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, sizes).prop_map(|((disc, thin, wide, readonly), blocks)| match disc {
        true => LuParams { blocks, ..cdrom() },
        false => LuParams { thin, readonly, blocks, block_bytes: if wide { 4096 } else { 512 }, ..params() },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_sequence_of_commands(
        params in units(),
        sequence in vec((cdbs(), vec(prop_oneof![Just(0u8), any::<u8>()], 0..600), 0..3u8), 1..24),
    ) {
        let unit = LogicalUnit::new(params);
        let mut hosts: Vec<Host> = (0..3).map(|number| Host::new(&unit, number)).collect();
        for (cdb, list, host) in &sequence {
            let host = &mut hosts[usize::from(*host)];
            let plan = host.send(cdb);
            let plan = host.stored(plan, list.len() % 4 != 0);
            check(&unit, cdb, &plan, &host.reply);
            if let Plan::Parameters { len_bytes } = plan {
                let list = &list[..list.len().min(len_bytes as usize)];
                let command = Command { cdb, lun: Lun::flat(0), initiator: &host.port, protocol_level: 1, luns: &[0], now: NOW };
                let plan = unit.parameters(&mut host.nexus, &command, list, &mut host.reply);
                prop_assert!(!matches!(plan, Plan::Parameters { .. }), "asked twice");
                let plan = host.stored(plan, list.len() % 4 != 0);
                check(&unit, cdb, &plan, &host.reply);
            }
        }
    }

    #[test]
    fn any_command_to_no_logical_unit(cdb in cdbs(), lun in any::<[u8; 8]>()) {
        let (port, mut reply) = (port(1), Reply::default());
        let plan = absent(&Command { cdb: &cdb, lun: Lun(lun), initiator: &port, protocol_level: 1, luns: &[0, 1], now: NOW }, &mut reply);
        match plan {
            Plan::Done(Outcome { status: 0, .. }) => prop_assert!(reply.data.len() <= allocation(&cdb).unwrap_or(0)),
            Plan::Done(_) => prop_assert!(reply.data.is_empty()),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
