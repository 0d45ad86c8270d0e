//! Peers that do not read what they are sent, or not at once.

use super::peer::{End, Peer, good};
use super::rights::group;
use super::{Server, UNIT_BYTES, lun, snapshot};
use crate::backend::{FaultPlan, WayIn};
use crate::limits::{ECHO_BUFFER_BYTES, KEPT_PARAMETER_BYTES, MAX_CONTROL_DATA_BYTES, QUEUED_BYTES};
use crate::wire::Opcode;
use std::time::{Duration, Instant};

pub(crate) const SOON: Duration = Duration::from_secs(2);

/// Waits until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn server() -> Server {
    Server::of(1, 1, [] as [FaultPlan; 0], |places| snapshot(places, vec![lun(0), lun(1)])).0
}

/// Ends it. Never more was queued for a connection than there was room for, and then the answer to one PDU.
fn ends_with_little_queued(mut server: Server, answer_bytes: usize) {
    let largest = server.end()[0].0.largest_batch_bytes;
    assert!(largest <= (QUEUED_BYTES + answer_bytes) as u64, "{largest} bytes");
}

#[test]
fn data_is_cut_as_the_peer_takes_it() {
    const SEGMENT: usize = 512;
    for keys in [
        &["MaxRecvDataSegmentLength=512", "MaxBurstLength=16776192"][..],
        &["MaxRecvDataSegmentLength=512", "ErrorRecoveryLevel=1"],
        // Copied, slice by slice.
        &["MaxRecvDataSegmentLength=512", "DataDigest=CRC32C"],
    ] {
        let server = server();
        let unit = server.world.units[0].medium.handle(&WayIn::new(|| ()));
        (0..UNIT_BYTES / 512).for_each(|lba| assert!(unit.write_in_place(lba * 512, &[(lba % 251) as u8; 512])));
        drop(unit);
        let mut peer = Peer::connect(server.at);
        assert_eq!(peer.try_login(1, 0, 0, keys), 0);
        peer.digests.1 = keys[1].starts_with("DataDigest");
        let mut peer = peer.ready();
        let blocks = 4 * SEGMENT as u16 * 8 - 3;
        let [high, low] = blocks.to_be_bytes();
        let cdb = [0x28, 0, 0, 0, 0, 3, 0, high, low, 0];
        let reads = peer.together(|peer| [0; 2].map(|_| peer.command(0, &cdb, u32::from(blocks) * 512, &[])));
        until("the first data comes", || peer.has_more());
        // It is answered meanwhile, as far as there is room for that.
        let others = peer.together(|peer| [0; 8].map(|_| peer.read(1, 0, 255)));
        for itt in reads {
            let end = peer.end(itt, 20 * SOON);
            assert_eq!((end.status, end.data.len()), (0, usize::from(blocks) * 512));
            let wrong = (3..).zip(end.data.chunks(512)).find(|(lba, data)| *data != [(lba % 251) as u8; 512]);
            assert_eq!(wrong.map(|(lba, data): (u64, _)| (lba, data[0], data[511])), None, "{keys:?}");
        }
        assert!(others.into_iter().all(|itt| peer.end(itt, SOON).status == 0));
        ends_with_little_queued(server, 64 << 10);
    }
}

#[test]
fn who_does_not_read_is_answered_no_more() {
    const MOST: usize = 96 << 20;
    let server = server();
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let sent = peer.pings_until_full(MAX_CONTROL_DATA_BYTES, MOST);
    assert!(sent * MAX_CONTROL_DATA_BYTES < MOST, "{sent} pings were taken");
    // Nothing is lost, and all goes on.
    for _ in 0..sent {
        let pdu = peer.next(SOON);
        assert_eq!((pdu.opcode, pdu.data.len()), (Opcode::NOP_IN, MAX_CONTROL_DATA_BYTES));
    }
    peer.finish_ping();
    assert_eq!(peer.next(SOON).opcode, Opcode::NOP_IN);
    let itt = peer.test_unit_ready(0);
    assert_eq!(peer.end(itt, SOON).status, 0);
    ends_with_little_queued(server, 16 << 10);
}

#[test]
fn what_is_asked_for_again_waits_for_room() {
    const ANSWERS: u32 = 400;
    const SNACKS: u32 = 200;
    let server = server();
    let mut peer = Peer::login(server.at, 1, &["ErrorRecoveryLevel=1"]).ready();
    let first = peer.pings(ANSWERS);
    peer.together(|peer| (0..SNACKS).for_each(|_| peer.status_snack(first)));
    until("the first answers come", || peer.has_more());
    for n in 0..SNACKS * ANSWERS {
        let pdu = peer.next(SOON);
        assert_eq!((pdu.opcode, pdu.stat_sn()), (Opcode::NOP_IN, first + n % ANSWERS));
    }
    ends_with_little_queued(server, ANSWERS as usize * 64);
}

#[test]
fn parameter_data_that_is_kept_makes_room() {
    const BYTES: usize = ECHO_BUFFER_BYTES;
    let server = server();
    let mut peer = Peer::login(server.at, 1, &["ErrorRecoveryLevel=1"]).ready();
    let [high, low] = (BYTES as u16).to_be_bytes();
    // WRITE BUFFER, then READ BUFFER of the echo buffer.
    let write = peer.command(0, &[0x3b, 0x0a, 0, 0, 0, 0, 0, high, low, 0], 0, &[0x5a; BYTES]);
    assert_eq!(peer.end(write, SOON), good());
    let read = [0x3c, 0x0a, 0, 0, 0, 0, 0, high, low, 0];
    let reads = peer.unacknowledged(|peer| {
        let reads = peer.together(|peer| [0; 100].map(|_| peer.command(0, &read, BYTES as u32, &[])));
        assert!(reads.len() * BYTES > KEPT_PARAMETER_BYTES);
        assert!(reads.iter().all(|&itt| peer.end(itt, SOON).data == [0x5a; BYTES]));
        reads
    });
    peer.together(|peer| [reads[0], reads[99], reads[98]].map(|itt| peer.data_snack(0, itt)));
    let rejected = peer.next(SOON);
    assert_eq!((rejected.opcode, &rejected.data[16..20]), (Opcode::REJECT, &reads[0].to_be_bytes()[..]));
    for itt in [reads[99], reads[98]] {
        let pdu = peer.next(SOON);
        assert_eq!((pdu.opcode, pdu.itt(), pdu.data), (Opcode::SCSI_DATA_IN, itt, vec![0x5a; BYTES]));
    }
}

/// Another host has reserved the unit for itself, or the reader's access was taken back: what is there now is none of its.
#[test]
fn what_is_read_again_is_asked_for_as_a_read_is() {
    for is_reserved in [true, false] {
        let both = |places: &[_]| {
            let mut snapshot = snapshot(places, vec![lun(0), lun(1)]);
            snapshot.targets[0].groups = vec![group(1, &[0, 1]), group(2, &[0, 1])];
            snapshot
        };
        let (server, _) = Server::of(1, 1, [] as [FaultPlan; 0], both);
        let mut peer = Peer::login(server.at, 1, &["ErrorRecoveryLevel=1"]).ready();
        let mut other = Peer::login(server.at, 2, &[]).ready();
        let read = peer.unacknowledged(|peer| {
            let read = peer.read(0, 0, 8);
            assert_eq!(peer.end(read, SOON), End { data: vec![0; 4096], ..good() });
            read
        });
        peer.data_snack(0, read);
        assert_eq!(peer.next(SOON).opcode, Opcode::SCSI_DATA_IN);
        if is_reserved {
            // REGISTER, then RESERVE: exclusive access.
            for (action, kind, key, new_key) in [(0, 0, 0, 7), (1, 3, 7, 0_u64)] {
                let list = [&u64::to_be_bytes(key)[..], &new_key.to_be_bytes(), &[0; 8]].concat();
                let itt = other.command(0, &[0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], 0, &list);
                assert_eq!(other.end(itt, SOON), good());
            }
        } else {
            server.reconfigure(0, |new| new.targets[0].groups[0] = group(1, &[1]));
        }
        peer.data_snack(0, read);
        let answer = loop {
            let answer = peer.next(SOON);
            // Of LUNs that have changed.
            if answer.opcode != Opcode::ASYNC_MESSAGE {
                break answer;
            }
        };
        assert_eq!(answer.opcode, Opcode::REJECT, "{is_reserved}");
    }
}
