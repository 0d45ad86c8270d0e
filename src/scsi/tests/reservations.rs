//! Persistent reservations over several nexuses, RESERVE(6), and what the command table says of them.

use super::super::opcode::TABLE;
use super::*;

pub(super) const GOOD: Plan = Plan::Done(Outcome::GOOD);
pub(super) const CONFLICT: Plan = Plan::Done(Outcome::RESERVATION_CONFLICT);

pub(super) const REGISTER: u8 = 0;
pub(super) const RESERVE: u8 = 1;
pub(super) const RELEASE: u8 = 2;
pub(super) const CLEAR: u8 = 3;
pub(super) const PREEMPT: u8 = 4;
pub(super) const PREEMPT_AND_ABORT: u8 = 5;
pub(super) const REGISTER_AND_IGNORE: u8 = 6;
pub(super) const REGISTER_AND_MOVE: u8 = 7;

pub(super) fn list(key: u64, action_key: u64, flags: u8) -> Vec<u8> {
    let mut list = [key.to_be_bytes(), action_key.to_be_bytes(), [0; 8]].concat();
    list[20] = flags;
    list
}

pub(super) fn out(host: &mut Host, action: u8, kind: u8, list: &[u8]) -> Plan {
    let len = (list.len() as u32).to_be_bytes();
    host.send_list(&[0x5f, action, kind, 0, 0, len[0], len[1], len[2], len[3], 0], list)
}

fn register(host: &mut Host, key: u64) {
    assert_eq!(out(host, REGISTER_AND_IGNORE, 0, &list(0, key, 0)), GOOD);
}

pub(super) fn read_in(host: &mut Host, action: u8) -> Vec<u8> {
    host.data(&[0x5e, action, 0, 0, 0, 0, 0, 0xff, 0xff])
}

/// PRGENERATION and the keys.
pub(super) fn keys(host: &mut Host) -> (u32, Vec<u64>) {
    let data = read_in(host, 0);
    let generation = u32::from_be_bytes([data[0], data[1], data[2], data[3]]);
    (generation, data[8..].chunks_exact(8).map(|key| u64::from_be_bytes(key.try_into().expect("8 bytes"))).collect())
}

pub(super) fn reads(host: &mut Host) -> bool {
    match host.send(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1]) {
        Plan::Medium(_) => true,
        plan => (plan == CONFLICT).then_some(false).expect("read or conflict"),
    }
}

pub(super) fn writes(host: &mut Host) -> bool {
    match host.send(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1]) {
        Plan::Medium(_) => true,
        plan => (plan == CONFLICT).then_some(false).expect("write or conflict"),
    }
}

#[test]
fn registration() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    assert_eq!(out(&mut host, REGISTER, 0, &list(5, 7, 0)), CONFLICT, "not registered, so the key must be zero");
    assert_eq!(out(&mut host, REGISTER, 0, &list(0, 7, 0)), GOOD);
    assert_eq!(keys(&mut host), (1, vec![7]));
    assert_eq!(out(&mut host, REGISTER, 0, &list(0, 8, 0)), CONFLICT, "the key is 7");
    assert_eq!(out(&mut host, REGISTER, 0, &list(7, 8, 0)), GOOD);
    assert_eq!(keys(&mut host), (2, vec![8]));
    assert_eq!(read_in(&mut host, 0)[..8], [0, 0, 0, 2, 0, 0, 0, 8]);
    assert_eq!(host.data(&[0x5e, 0, 0, 0, 0, 0, 0, 0, 8]), [0, 0, 0, 2, 0, 0, 0, 8], "the length stays");
    assert_eq!(out(&mut host, REGISTER, 0, &list(8, 0, 0)), GOOD);
    assert_eq!(keys(&mut host), (3, vec![]));
    assert_eq!(host.failure(&[0x5f, 0, 0, 0, 0, 0, 0, 0, 23]), (5, 0x1a00));
    assert_eq!(host.failure(&[0x5f, 1, 1, 0, 0, 0, 0, 0, 25]), (5, 0x1a00));
    for action in 4..0x20 {
        assert_eq!(host.failure(&[0x5e, action, 0, 0, 0, 0, 0, 0, 255]), (5, 0x2400));
    }
    assert_eq!(read_in(&mut host, 2), [0, 8, 0x0d, 0x80, 0xea, 1, 0, 0]);
}

#[test]
fn a_registration_outlives_its_nexus() {
    let unit = LogicalUnit::new(params());
    register(&mut Host::new(&unit, 1), 7);
    let mut again = Host::new(&unit, 1);
    again.nexus = LuNexus::new(NexusId(77), &unit);
    assert_eq!(again.failure(&[0x00]), (6, 0x2900));
    assert_eq!(out(&mut again, RESERVE, 1, &list(7, 0, 0)), GOOD);
}

#[test]
fn access_by_type() {
    // Type; then what a registered and an unregistered other may: read, write.
    for (kind, registered, unregistered) in [
        (1, (true, false), (true, false)),
        (3, (false, false), (false, false)),
        (5, (true, true), (true, false)),
        (6, (true, true), (false, false)),
        (7, (true, true), (true, false)),
        (8, (true, true), (false, false)),
    ] {
        let unit = LogicalUnit::new(params());
        let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
        register(&mut one, 1);
        register(&mut two, 2);
        assert_eq!(out(&mut one, RESERVE, kind, &list(1, 0, 0)), GOOD);
        assert_eq!(out(&mut one, RESERVE, kind, &list(1, 0, 0)), GOOD, "again");
        let all = kind >= 7;
        assert_eq!(out(&mut two, RESERVE, kind, &list(2, 0, 0)), if all { GOOD } else { CONFLICT });
        let data = read_in(&mut one, 1);
        assert_eq!(data[8..], [0, 0, 0, 0, 0, 0, 0, u8::from(!all), 0, 0, 0, 0, 0, kind, 0, 0]);
        assert_eq!((reads(&mut one), writes(&mut one)), (true, true), "type {kind}");
        assert_eq!((reads(&mut two), writes(&mut two)), registered, "type {kind}");
        assert_eq!(out(&mut two, REGISTER, 0, &list(2, 0, 0)), GOOD);
        assert_eq!((reads(&mut two), writes(&mut two)), unregistered, "type {kind}");
        assert_eq!(host_free(&mut two), [true; 4], "what every reservation allows");
        assert_eq!(sense_of(out(&mut one, RELEASE, if kind == 1 { 3 } else { 1 }, &list(1, 0, 0))), (5, 0x2604));
        assert_eq!(out(&mut one, RELEASE, kind, &list(1, 0, 0)), GOOD);
        assert_eq!((reads(&mut two), writes(&mut two)), (true, true));
        assert_eq!(two.send(&[0x00]), GOOD, "no unit attention: it was not registered");
        assert_eq!(out(&mut one, REGISTER, 0, &list(1, 0, 0)), GOOD);
    }
}

/// INQUIRY, TEST UNIT READY, READ CAPACITY, PERSISTENT RESERVE IN.
fn host_free(host: &mut Host) -> [bool; 4] {
    let commands: [&[u8]; 4] = [&[0x12, 0, 0, 0, 36], &[0x00], &[0x25], &[0x5e, 0, 0, 0, 0, 0, 0, 0, 8]];
    commands.map(|cdb| host.send(cdb) == GOOD)
}

/// What goes through under every reservation (SPC-4 table 66, SBC-3 table 15, MMC-6). START STOP UNIT is refused without START.
const ALWAYS_ALLOWED: [&str; 14] = [
    "TEST UNIT READY",
    "REQUEST SENSE",
    "INQUIRY",
    "REPORT LUNS",
    "READ CAPACITY(10)",
    "READ CAPACITY(16)",
    "LOG SENSE",
    "REPORT TARGET PORT GROUPS",
    "REPORT TIMESTAMP",
    "REPORT IDENTIFYING INFORMATION",
    "PREVENT ALLOW MEDIUM REMOVAL",
    "GET CONFIGURATION",
    "GET EVENT STATUS NOTIFICATION",
    "MECHANISM STATUS",
];

/// What goes through under write exclusive reservations besides.
const READS: [&str; 28] = [
    "READ(6)",
    "READ(10)",
    "READ(12)",
    "READ(16)",
    "VERIFY(10)",
    "VERIFY(12)",
    "VERIFY(16)",
    "PRE-FETCH(10)",
    "PRE-FETCH(16)",
    "READ DEFECT DATA(10)",
    "READ DEFECT DATA(12)",
    "GET LBA STATUS(16)",
    "GET LBA STATUS(32)",
    "MODE SENSE(6)",
    "MODE SENSE(10)",
    "READ BUFFER",
    "RECEIVE DIAGNOSTIC RESULTS",
    "REPORT SUPPORTED OPERATION CODES",
    "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
    "POPULATE TOKEN",
    "RECEIVE ROD TOKEN INFORMATION",
    "READ SUB-CHANNEL",
    "READ TOC/PMA/ATIP",
    "READ DISC INFORMATION",
    "READ TRACK INFORMATION",
    "READ DISC STRUCTURE",
    "READ CD MSF",
    "READ CD",
];

/// Every row of the command table under an exclusive access and a write exclusive reservation of another nexus.
#[test]
fn item_98_every_command_conflicts_as_the_tables_say() {
    let kinds = [(3, false), (6, false), (8, false), (1, true), (5, true), (7, true)];
    for (disc, (kind, reads)) in [false, true].into_iter().flat_map(|disc| kinds.map(|kind| (disc, kind))) {
        let unit = LogicalUnit::new(if disc { cdrom() } else { params() });
        let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
        register(&mut one, 1);
        assert_eq!(out(&mut one, RESERVE, kind, &list(1, 0, 0)), GOOD);
        for row in TABLE.iter().filter(|row| unit.has(row)) {
            let cdb = bare(row);
            let conflicts = two.send(&cdb) == CONFLICT;
            let allowed = row.name.starts_with("PERSISTENT RESERVE")
                || ALWAYS_ALLOWED.contains(&row.name)
                || (reads && READS.contains(&row.name));
            assert_eq!(conflicts, !allowed, "{} under type {kind}", row.name);
        }
        assert_eq!(two.send(&[0x1b, 0, 0, 0, 1]), GOOD, "START STOP UNIT with START");
    }
}

#[test]
fn release_and_clear_tell_the_registered() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two, mut three) = (Host::new(&unit, 1), Host::new(&unit, 2), Host::new(&unit, 3));
    register(&mut one, 1);
    register(&mut two, 2);
    assert_eq!(out(&mut one, RESERVE, 5, &list(1, 0, 0)), GOOD);
    assert_eq!(out(&mut two, RELEASE, 5, &list(2, 0, 0)), GOOD, "not the holder: nothing happens");
    assert_eq!(out(&mut one, RELEASE, 5, &list(1, 0, 0)), GOOD);
    assert_eq!(two.failure(&[0x00]), (6, 0x2a04));
    assert_eq!(one.send(&[0x00]), GOOD);
    assert_eq!(out(&mut one, RESERVE, 5, &list(1, 0, 0)), GOOD);
    assert_eq!(out(&mut one, REGISTER, 0, &list(1, 0, 0)), GOOD, "unregistering releases");
    assert_eq!(two.failure(&[0x00]), (6, 0x2a04));
    register(&mut one, 1);
    let before = keys(&mut one).0;
    assert_eq!(out(&mut two, CLEAR, 0, &list(2, 0, 0)), GOOD);
    assert_eq!(one.failure(&[0x00]), (6, 0x2a03));
    assert_eq!(keys(&mut one), (before + 1, vec![]));
    assert_eq!(three.send(&[0x00]), GOOD, "never registered, never told");
}

#[test]
fn preempt_registrations() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    register(&mut one, 1);
    register(&mut two, 2);
    assert_eq!(out(&mut two, PREEMPT, 3, &list(2, 9, 0)), CONFLICT, "no such key");
    assert_eq!(out(&mut two, PREEMPT, 3, &list(9, 1, 0)), CONFLICT, "not its own key");
    assert_eq!(sense_of(out(&mut two, PREEMPT, 3, &list(2, 0, 0))), (5, 0x2600));
    let before = keys(&mut one).0;
    assert_eq!(out(&mut two, PREEMPT, 3, &list(2, 1, 0)), GOOD);
    assert_eq!(one.failure(&[0x00]), (6, 0x2a05));
    assert_eq!(two.send(&[0x00]), GOOD);
    assert_eq!(keys(&mut one), (before + 1, vec![2]));
    assert_eq!(read_in(&mut one, 1).len(), 8, "nothing was reserved, nothing is");
}

/// The story of a two-node cluster: the survivor fences the other, whose writes fail from then on.
#[test]
fn preempt_and_abort_takes_over() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two, mut three) = (Host::new(&unit, 1), Host::new(&unit, 2), Host::new(&unit, 3));
    for (host, key) in [(&mut one, 1), (&mut two, 2), (&mut three, 3)] {
        register(host, key);
    }
    assert_eq!(out(&mut one, RESERVE, 5, &list(1, 0, 0)), GOOD);
    assert_eq!(out(&mut two, PREEMPT_AND_ABORT, 6, &list(2, 1, 0)), GOOD);
    assert_eq!(two.reply.aborts, [it_nexus(1, 1)]);
    assert_eq!(two.send(&[0x00]), GOOD);
    assert!(two.reply.aborts.is_empty());
    assert_eq!(one.failure(&[0x00]), (6, 0x2a05));
    assert_eq!(three.failure(&[0x00]), (6, 0x2a04), "the type has changed");
    assert_eq!((reads(&mut one), writes(&mut one)), (false, false));
    assert!(writes(&mut two) && writes(&mut three));
}

#[test]
fn preempt_all_registrants() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    register(&mut one, 1);
    register(&mut two, 2);
    assert_eq!(out(&mut one, RESERVE, 8, &list(1, 0, 0)), GOOD);
    assert_eq!(out(&mut two, PREEMPT, 1, &list(2, 0, 0)), GOOD);
    assert_eq!(keys(&mut two).1, [2]);
    assert_eq!(read_in(&mut two, 1)[21], 1);
    assert_eq!(one.failure(&[0x00]), (6, 0x2a05));
    assert!(reads(&mut one) && !writes(&mut one));
}

/// The TransportID of host `number`, as `sg_persist` makes it.
pub(super) fn transport_id(number: u8) -> Vec<u8> {
    transport_id_of(&number.to_string(), number)
}

pub(super) fn transport_id_of(host: &str, number: u8) -> Vec<u8> {
    let mut id = format!("\x45\0\0\0iqn.2026-01.org.example:host{host},i,0x00023d0000{number:02x}\0").into_bytes();
    id.resize(id.len().next_multiple_of(4), 0);
    id[3] = (id.len() - 4) as u8;
    id
}

#[test]
fn register_others_and_move() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    let id = transport_id(2);
    let with_id = [&list(0, 7, 8)[..], &(id.len() as u32).to_be_bytes(), &id].concat();
    assert_eq!(out(&mut one, REGISTER, 0, &with_id), GOOD);
    assert_eq!(keys(&mut one).1, [7, 7]);
    assert_eq!(sense_of(out(&mut one, REGISTER, 0, &with_id[..with_id.len() - 4])), (5, 0x1a00));
    let full = read_in(&mut one, 3);
    //= RFC 7143 section 4.4.2
    //# The SCSI port name MUST be used in iSCSI.
    //
    //= RFC 7143 section 4.4.2
    //# When used in SCSI parameter data, the SCSI port name MUST be encoded as:
    assert_eq!(full[full.len() - id.len()..], id);
    assert_eq!(full[8..16], 7u64.to_be_bytes());
    assert_eq!(out(&mut one, RESERVE, 1, &list(7, 0, 0)), GOOD);
    let mut movement = list(7, 9, 0);
    movement[17] = 2;
    movement[19] = 1;
    movement[23] = id.len() as u8;
    movement.extend(&id);
    assert_eq!(out(&mut two, REGISTER_AND_MOVE, 0, &movement), CONFLICT, "not the holder");
    assert_eq!(out(&mut one, REGISTER_AND_MOVE, 0, &movement), GOOD);
    assert_eq!(keys(&mut one).1, [9]);
    assert!(writes(&mut two) && !writes(&mut one));
    let mut nonsense = list(0, 7, 8);
    nonsense.extend([0, 0, 0, 4, 0x45, 0, 0, 0]);
    assert_eq!(sense_of(out(&mut one, REGISTER, 0, &nonsense)), (5, 0x2600));
}

#[test]
fn reserve_6() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    assert_eq!(one.send(&[0x16]), GOOD);
    assert_eq!(one.send(&[0x16]), GOOD);
    assert_eq!(two.send(&[0x16]), CONFLICT);
    assert_eq!(two.send(&[0x17]), GOOD, "has no effect");
    assert_eq!(one.data(&[0x1a, 0, 0x3f, 0, 4]).len(), 4);
    for cdb in [[0x1a, 0, 0x3f, 0, 255], [0x00, 0, 0, 0, 0], [0x28, 0, 0, 0, 0]] {
        assert_eq!(two.send(&cdb), CONFLICT);
    }
    two.data(&[0x12, 0, 0, 0, 36]);
    assert_eq!(one.send(&[0x57]), GOOD);
    assert_eq!(two.send(&[0x56]), GOOD);
    unit.nexus_lost(NexusId(2));
    assert_eq!(one.send(&[0x16]), GOOD, "it does not outlive the nexus");
    unit.reset();
    assert_eq!(two.failure(&[0x00]), (6, 0x2903));
    assert_eq!(two.send(&[0x16]), GOOD, "nor a reset");
    assert_eq!(two.send(&[0x17]), GOOD);
    register(&mut two, 1);
    assert_eq!(two.send(&[0x16]), CONFLICT, "nor goes with registrations");
}

#[test]
fn reports() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let ask = |action| [0xa3, action, 0, 0, 0, 0, 0, 0, 0, 255];
    assert_eq!(host.data(&ask(0x0a)), [0, 0, 0, 12, 0x80, 0x0f, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
    assert_eq!(host.data(&ask(0x2a))[..8], [0, 0, 0, 16, 0x10, 10, 0, 0]);
    assert_eq!(host.data(&ask(0x0d)), [0xda, 0, 0, 0]);
    assert_eq!(host.data(&[0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 255])[..4], [0xda, 0, 0, 0x0c]);
    assert_eq!(host.data(&ask(0x0f)).len(), 12);
    assert_eq!(host.data(&[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 255]), [0, 0, 0, 3, 0, 0x19, 0x2f]);
    assert_eq!(host.data(&[0x4d, 0, 0x40, 0xff, 0, 0, 0, 0, 255])[..4], [0x40, 0xff, 0, 8]);
    assert_eq!(host.data(&[0x4d, 0, 0x6f, 0, 0, 0, 0, 0, 255]), [0x2f, 0, 0, 8, 0, 0, 3, 4, 0, 0, 0xff, 0]);
    assert_eq!(host.failure(&[0x4d, 0, 0x4d, 0, 0, 0, 0, 0, 255]), (5, 0x2400));
    assert_eq!(host.data(&[0x37, 0, 0x18, 0, 0, 0, 0, 0, 32]), [0, 0x18, 0, 0]);
    assert_eq!(host.data(&[0xb7, 0x0c, 0, 0, 0, 0, 0, 0, 0, 32]), [0, 0x0c, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.failure(&[0x3c, 0x0a, 0, 0, 0, 0, 0, 0, 4]), (5, 0x2c00));
    assert_eq!(host.data(&[0x3c, 0x0b, 0, 0, 0, 0, 0, 0, 4]), [1, 0, 0x10, 0], "EBOS");
    assert_eq!(host.send_list(&[0x3b, 0x0a, 0, 0, 0, 0, 0, 0, 3], b"abc"), GOOD);
    assert_eq!(host.data(&[0x3c, 0x0a, 0, 0, 0, 0, 0, 0, 4]), b"abc");
    assert_eq!(host.data(&[0x1c, 1, 0, 0, 255]), [0, 0, 0, 1, 0]);
    assert_eq!(host.send(&[0x1d, 4, 0, 0, 0]), Plan::Medium(MediumOp::Probe), "the self-test");
    assert_eq!(host.send(&[0x1d, 0x10, 0, 0, 0]), GOOD);
    let cdb = padded(&ask(0x0d));
    let command =
        Command { cdb: &cdb, lun: Lun::flat(0), initiator: &host.port, protocol_level: 2, luns: &[0], now: NOW };
    assert_eq!(unit.plan(&mut host.nexus, &command, &mut host.reply), GOOD);
    assert_eq!(host.reply.data, [0xde, 7, 0, 0], "at iSCSIProtocolLevel 2");
}

/// However many nexuses there are, a unit has one (SPC-4 clause 6.18).
#[test]
fn what_another_nexus_wrote_to_the_echo_buffer_is_not_read_and_is_said() {
    const READ: [u8; 9] = [0x3c, 0x0a, 0, 0, 0, 0, 0, 0, 4];
    let unit = LogicalUnit::new(params());
    let [mut one, mut two] = [1, 2].map(|host| Host::new(&unit, host));
    assert_eq!(one.send_list(&[0x3b, 0x0a, 0, 0, 0, 0, 0, 0, 3], b"abc"), GOOD);
    assert_eq!(two.failure(&READ), (5, 0x2c00), "none of its own");
    assert_eq!(two.send_list(&[0x3b, 0x0a, 0, 0, 0, 0, 0, 0, 2], b"de"), GOOD);
    assert_eq!(one.failure(&READ), (0x0b, 0x3f0f), "ECHO BUFFER OVERWRITTEN");
    assert_eq!(two.data(&READ), b"de");
    assert_eq!(one.send_list(&[0x3b, 0x0a, 0, 0, 0, 0, 0, 0, 1], b"f"), GOOD);
    assert_eq!(one.data(&READ), b"f");
}
