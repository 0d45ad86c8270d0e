//! Task attributes, the length of a write, and where a read fails.

use super::peer::{Peer, good};
use super::{Server, lun, snapshot};
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::model::{LunSpec, MediumFault};
use crate::wire::{Opcode, TmFunction};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(2);
const SLOW: Duration = Duration::from_millis(500);
const ORDERED: u8 = 2;
const HEAD_OF_QUEUE: u8 = 3;
const ACA: u8 = 4;

fn slow_write() -> FaultPlan {
    FaultPlan::new().rule(FaultRule::new(FaultAction::Delay(SLOW)).on(OpClass::Write).times(1))
}

#[test]
fn an_ordered_command_waits_for_those_before_it_and_those_behind_it_for_it() {
    let server = Server::with_media(1, slow_write());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let slow = peer.write(0, 0, 1, 1);
    peer.attr = ORDERED;
    let ordered = peer.write(0, 0, 1, 2);
    peer.attr = 0;
    let behind = peer.read(0, 0, 1);
    // Elsewhere, and at the head of the queue, nobody waits.
    let elsewhere = peer.test_unit_ready(1);
    peer.attr = HEAD_OF_QUEUE;
    let first = peer.test_unit_ready(0);
    let answers: Vec<u32> =
        (0..5).map(|_| peer.next(SOON)).filter(|pdu| pdu.opcode != Opcode::NOP_IN).map(|p| p.itt()).collect();
    assert_eq!(answers, [elsewhere, first, slow, ordered, behind]);
    peer.attr = 0;
    let read = peer.read(0, 0, 1);
    assert_eq!(peer.end(read, SOON).data, [2; 512]);
}

#[test]
fn an_ordered_command_that_is_aborted_keeps_nobody() {
    let server = Server::with_media(1, slow_write());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let slow = peer.write(0, 0, 1, 1);
    peer.attr = ORDERED;
    let ordered = peer.write(0, 8, 1, 2);
    peer.attr = 0;
    let behind = peer.read(0, 8, 1);
    assert_eq!(peer.managed(TmFunction::ABORT_TASK, 0, ordered).0, 0);
    assert_eq!(peer.end(behind, SOON).data, [0; 512]);
    assert_eq!(peer.end(slow, SOON), good());
}

#[test]
fn the_aca_attribute_is_for_a_condition_that_there_never_is() {
    let server = Server::new(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    peer.attr = ACA;
    let itt = peer.write(0, 0, 1, 1);
    // INVALID MESSAGE ERROR.
    assert_eq!(peer.end(itt, SOON).sense, (5, 0x4900));
    peer.attr = 0;
    let read = peer.read(0, 0, 1);
    assert_eq!(peer.end(read, SOON).data, [0; 512]);
}

#[test]
fn a_write_of_part_of_a_block_changes_nothing_and_says_so() {
    for block_bytes in [512, 4096] {
        let luns = vec![LunSpec { block_bytes, ..lun(0) }, lun(1)];
        for with_data in [true, false] {
            let luns = luns.clone();
            let server = Server::changed(1, |places| snapshot(places, luns), |_| ());
            let mut peer = Peer::login(server.at, 1, &[]).ready();
            let block = block_bytes as usize;
            // WRITE, WRITE AND VERIFY, VERIFY with data, of two blocks.
            for (code, flags) in [(0x2a, 0), (0x2e, 0), (0x2f, 2)] {
                let cdb = [code, flags, 0, 0, 0, 0, 0, 0, 2, 0];
                for bytes in [200, block + 188, 2 * block - 1] {
                    let data = vec![7; bytes];
                    let itt = match with_data {
                        true => peer.command(0, &cdb, 0, &data),
                        false => peer.unsolicited(0, &cdb, &data),
                    };
                    // INVALID FIELD IN COMMAND INFORMATION UNIT.
                    assert_eq!(peer.end(itt, SOON).sense, (5, 0x0e03), "{code:02x}, {bytes} bytes");
                }
            }
            let read = peer.command(0, &[0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0], 2 * block_bytes, &[]);
            assert_eq!(peer.end(read, SOON).data, vec![0; 2 * block]);
            // Whole blocks that were delivered are there.
            let itt = peer.command(0, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 2, 0], 0, &vec![7; block]);
            assert_eq!(peer.end(itt, SOON), good());
            let read = peer.command(0, &[0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0], 2 * block_bytes, &[]);
            assert_eq!(peer.end(read, SOON).data, [vec![7; block], vec![0; block]].concat());
        }
    }
}

/// The INFORMATION field of a command that fails to read.
fn information(peer: &mut Peer, cdb: &[u8; 10], read_bytes: u32) -> Option<u32> {
    let itt = peer.command(0, cdb, read_bytes, &[]);
    let (last, _) = peer.answer(itt, Duration::from_secs(10));
    let sense = &last.data[2..];
    assert_eq!((sense[2] & 15, sense[12], sense[13]), (3, 0x11, 0));
    (sense[0] & 0x80 != 0).then(|| u32::from_be_bytes(sense[3..7].try_into().unwrap()))
}

#[test]
fn the_information_field_names_the_first_block_that_cannot_be_read() {
    let bad = |lba: u64| {
        FaultRule::new(FaultAction::Fail(MediumFault::Read)).on(OpClass::Read).within(lba * 512..lba * 512 + 512)
    };
    // Two in one slice of 256 KiB, and one in a later slice, of which another answers first.
    let late =
        FaultRule::new(FaultAction::FailLate(MediumFault::Read, SLOW)).on(OpClass::Read).within(0..300 * 512).times(1);
    let plan = FaultPlan::new().rule(late).rule(bad(217)).rule(bad(300)).rule(bad(1030));
    let server = Server::with_media(1, plan);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    assert_eq!(information(&mut peer, &[0x28, 0, 0, 0, 0, 0, 0, 4, 76, 0], 1100 * 512), Some(217));
    assert_eq!(information(&mut peer, &[0x28, 0, 0, 0, 0, 250, 0, 0, 100, 0], 100 * 512), Some(300));
    assert_eq!(information(&mut peer, &[0x2f, 0, 0, 0, 0, 0, 0, 4, 76, 0], 0), Some(217));
    let read = peer.read(0, 0, 200);
    assert_eq!(peer.end(read, SOON).data.len(), 200 * 512);
}

#[test]
fn what_could_not_be_read_together_with_something_else_is_read_by_itself() {
    let whole =
        |times| FaultRule::new(FaultAction::Fail(MediumFault::Read)).on(OpClass::Read).within(0..4 << 18).times(times);
    let bad = FaultRule::new(FaultAction::Fail(MediumFault::Read)).on(OpClass::Read).within(1000 * 512..1001 * 512);
    let read = [0x28, 0, 0, 0, 0, 0, 0, 8, 0, 0];
    // The device fails all four slices as one, for a block in the second.
    let server = Server::with_media(1, FaultPlan::new().rule(whole(4)).rule(bad));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    assert_eq!(information(&mut peer, &read, 2048 * 512), Some(1000));
    // Or for a block of somebody else's command: read, and verify.
    let server = Server::with_media(1, FaultPlan::new().rule(whole(4)));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let itt = peer.command(0, &read, 2048 * 512, &[]);
    let end = peer.end(itt, Duration::from_secs(10));
    assert_eq!((end.status, end.data.len()), (0, 2048 * 512));
    let server = Server::with_media(1, FaultPlan::new().rule(whole(1)));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let itt = peer.command(0, &[0x2f, 0, 0, 0, 0, 0, 0, 0, 8, 0], 0, &[]);
    assert_eq!(peer.end(itt, SOON), good());
}

#[test]
fn a_read_that_ends_within_a_block_and_fails_is_read_again_and_named_by_blocks() {
    let fails = |lba: u64, times| {
        let blocks = lba * 512..lba * 512 + 512;
        FaultRule::new(FaultAction::Fail(MediumFault::Read)).on(OpClass::Read).within(blocks).times(times)
    };
    // Two blocks, of which 700 bytes are expected.
    let read = [0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0];
    let server = Server::with_media(1, FaultPlan::new().rule(fails(1, u64::MAX)));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    assert_eq!(information(&mut peer, &read, 700), Some(1));
    let server = Server::with_media(1, FaultPlan::new().rule(fails(0, 1)));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let itt = peer.command(0, &read, 700, &[]);
    let end = peer.end(itt, SOON);
    assert_eq!((end.status, end.data.len()), (0, 700));
}
