//! Each row of the command table against itself.

use super::super::class;
use super::super::opcode::{TABLE, find, rows_of};
use super::*;

#[test]
fn rows_are_sorted_and_found() {
    for pair in TABLE.windows(2) {
        let key = |row: &opcode::Row| (row.opcode(), row.action, row.class & class::DISK == 0);
        assert!(key(&pair[0]) < key(&pair[1]), "{} before {}", pair[0].name, pair[1].name);
    }
    for row in TABLE {
        let cdb = bare(row);
        let absent = if row.class & class::CDROM != 0 { class::DISK } else { class::CDROM };
        let (found, _) = find(&cdb, absent).unwrap_or_else(|_| panic!("{}", row.name));
        assert_eq!(found.name, row.name);
    }
    let known = (0..=255).filter(|opcode| !rows_of(*opcode).is_empty()).count();
    let actions = TABLE.iter().filter(|row| row.action.is_some()).count();
    let doubled = (0..=255).filter(|opcode| rows_of(*opcode).len() > 1 && rows_of(*opcode)[0].action.is_none()).count();
    assert!(known >= TABLE.len() - actions - doubled);
}

#[test]
fn cdb_length_is_that_of_the_group() {
    for row in TABLE {
        let expected = match row.opcode() >> 5 {
            0 => 6,
            1 | 2 => 10,
            3 => 32,
            4 => 16,
            5 => 12,
            group => panic!("{}: group {group}", row.name),
        };
        assert_eq!(row.usage.len(), expected, "{}", row.name);
        // The two upper bits are vendor specific: READ TOC/PMA/ATIP once had its format there.
        let vendor = if row.opcode() == 0x43 { 0xc0 } else { 0 };
        let control = if expected == 32 { 1 } else { expected - 1 };
        assert_eq!(row.usage[control], vendor, "{}: NACA and the rest of CONTROL are not supported", row.name);
        let mut named = row.usage.to_vec();
        name_action(row, &mut named);
        let evaluated = if expected == 32 { 7 } else { 0 };
        named[evaluated] = row.usage[evaluated];
        assert_eq!(named, row.usage, "{}", row.name);
    }
}

#[test]
fn names_are_unique() {
    for (position, row) in TABLE.iter().enumerate() {
        assert!(TABLE[..position].iter().all(|other| other.name != row.name), "{}", row.name);
    }
}

/// Every bit outside the usage mask is refused with a pointer to it.
#[test]
fn item_97_bits_outside_the_usage_mask_are_refused() {
    for params in [params(), cdrom()] {
        refuses_other_bits(&LogicalUnit::new(params));
    }
}

fn refuses_other_bits(unit: &LogicalUnit) {
    let mut host = Host::new(unit, 1);
    for row in TABLE.iter().filter(|row| unit.has(row)) {
        for bit in 8..row.usage.len() * 8 {
            let (at, mask) = (bit / 8, 0x80 >> (bit % 8));
            let action = match row.usage.len() {
                32 => at == 8 || at == 9,
                _ => at == 1 && row.action.is_some() && mask <= 0x10,
            };
            if row.usage[at] & mask != 0 || action {
                continue;
            }
            let mut cdb = bare(row);
            cdb[at] |= mask;
            let Plan::Done(Outcome { status: 2, sense: Some(sense) }) = host.send(&cdb) else {
                panic!("{}: byte {at} mask {mask:02x}", row.name);
            };
            assert_eq!((sense.key, sense.asc_ascq), (5, 0x2400), "{}", row.name);
            assert_eq!(sense.specific, Some([0xc8 | (7 - bit % 8) as u8, 0, at as u8]), "{}", row.name);
        }
    }
}

#[test]
fn unknown_commands() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    assert_eq!(host.failure(&[0xff]), (5, 0x2000));
    assert_eq!(host.failure(&[0x7e]), (5, 0x2000));
    assert_eq!(host.failure(&[0x9e, 0x1f]), (5, 0x2400), "no such service action");
    let command =
        Command { cdb: &[0x28; 10], lun: Lun::flat(0), initiator: &host.port, protocol_level: 1, luns: &[], now: NOW };
    assert_eq!(sense_of(unit.plan(&mut host.nexus, &command, &mut host.reply)), (5, 0x2000), "a CDB cut short");
}

#[test]
fn item_97_report_supported_operation_codes_mirrors_the_table() {
    for params in [params(), LuParams { thin: false, ..params() }, cdrom()] {
        let (thin, disc) = (params.thin, params.cdrom);
        let unit = LogicalUnit::new(params);
        let mut host = Host::new(&unit, 1);
        let all = host.data(&[0xa3, 0x0c, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(all[..4], ((all.len() - 4) as u32).to_be_bytes());
        let rows: Vec<_> = TABLE.iter().filter(|row| unit.has(row)).collect();
        assert_eq!(all.len(), 4 + 8 * rows.len());
        assert_eq!(rows.iter().any(|row| row.name == "UNMAP"), thin);
        assert_eq!(rows.iter().any(|row| row.name == "READ TOC/PMA/ATIP"), disc);
        assert_eq!(rows.iter().any(|row| row.name == "WRITE(10)"), !disc);
        for (row, entry) in rows.iter().zip(all[4..].chunks_exact(8)) {
            assert_eq!(entry[0], row.opcode());
            assert_eq!(entry[2..4], row.action.unwrap_or(0).to_be_bytes());
            assert_eq!(entry[5], u8::from(row.action.is_some()));
            assert_eq!(usize::from(entry[7]), row.usage.len());
            let (ours, other) = if row.action.is_some() { (2, 1) } else { (1, 2) };
            let ask = |options| [0xa3, 0x0c, options, entry[0], entry[2], entry[3], 0, 0, 0xff, 0xff];
            let one = host.data(&ask(ours));
            assert_eq!(one[..4], [0, 3, 0, entry[7]], "{}", row.name);
            assert_eq!(one[4..], *row.usage);
            assert_eq!(host.data(&ask(3)), one);
            assert_eq!(host.failure(&ask(other)), (5, 0x2400), "{}", row.name);
        }
        let with_timeouts = host.data(&[0xa3, 0x0c, 0x80, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(with_timeouts.len(), 4 + 20 * rows.len());
        assert_eq!(with_timeouts[9] & 2, 2, "CTDP");
        assert_eq!(with_timeouts[12..14], [0, 0x0a]);
        assert_eq!(host.data(&[0xa3, 0x0c, 1, 0xff, 0, 0, 0, 0, 0xff, 0xff]), [0, 1, 0, 0], "not supported");
        assert_eq!(host.data(&[0xa3, 0x0c, 3, 0x28, 0, 1, 0, 0, 0xff, 0xff]), [0, 1, 0, 0], "no such action");
    }
}

/// Whatever a type of device does not have it does not know, however the rest of the CDB looks.
#[test]
fn commands_of_another_type_of_device() {
    for params in [params(), cdrom()] {
        let unit = LogicalUnit::new(params);
        let mut host = Host::new(&unit, 1);
        for row in TABLE.iter().filter(|row| row.class & unit.absent() != 0) {
            let cdb = bare(row);
            let known = rows_of(row.opcode()).iter().any(|row| row.class & unit.absent() == 0);
            match (known, row.action) {
                (false, _) => assert_eq!(host.failure(&cdb), (5, 0x2000), "{}", row.name),
                (true, Some(_)) => assert_eq!(host.failure(&cdb), (5, 0x2400), "{}", row.name),
                // The operation code means something else there.
                (true, None) => assert_eq!(row.opcode(), 0x42),
            }
        }
    }
}
