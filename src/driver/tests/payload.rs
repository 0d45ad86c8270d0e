//! Large payload on its way into I/O buffers, and everything that can come between: nobody else's data is touched, and all
//! buffers come back.

use super::peer::{Peer, good};
use super::{Server, UNIT_BYTES};
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::limits::{ARENA_BYTES, DRAIN_TIMEOUT_MS, SLICE_BYTES};
use crate::wire::{Opcode, TmFunction, TmResponse};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(2);
const KEYS: [&str; 2] = ["MaxBurstLength=1048576", "FirstBurstLength=262144"];
const LARGE: usize = 128 << 10;

/// Bytes that differ from place to place and from seed to seed.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn random(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

fn read(peer: &mut Peer, lun: u8, lba: u32, bytes: usize) -> Vec<u8> {
    let mut cdb = [0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    cdb[2..6].copy_from_slice(&lba.to_be_bytes());
    cdb[7..9].copy_from_slice(&((bytes / 512) as u16).to_be_bytes());
    let itt = peer.command(lun, &cdb, bytes as u32, &[]);
    let end = peer.end(itt, SOON);
    assert_eq!(end.status, 0);
    end.data
}

fn write_immediate(peer: &mut Peer, lun: u8, lba: u32, data: &[u8]) -> u32 {
    let mut cdb = [0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    cdb[2..6].copy_from_slice(&lba.to_be_bytes());
    cdb[7..9].copy_from_slice(&((data.len() / 512) as u16).to_be_bytes());
    peer.command(lun, &cdb, 0, data)
}

/// Sends what is asked for, in PDUs of at most `pdu` bytes, and pieces of at most `piece`; how it ends.
fn write(peer: &mut Peer, lun: u8, lba: u32, data: &[u8], (pdu, piece): (usize, usize)) -> super::peer::End {
    let itt = peer.write_solicited(lun, lba, data.len());
    let mut sent = 0;
    while sent < data.len() {
        let (offset, len, ttt) = peer.r2t(itt);
        let (offset, end) = (offset as usize, (offset + len) as usize);
        for (sn, at) in (offset..end).step_by(pdu).enumerate() {
            let upto = end.min(at + pdu);
            let bytes = peer.data_out((itt, ttt, lun), sn as u32, at as u32, upto == end, &data[at..upto]);
            bytes.chunks(piece).for_each(|bytes| peer.raw(bytes));
        }
        sent = end;
    }
    peer.end(itt, SOON)
}

/// A few large writes, so that the connection is in the midst of work.
fn warm(peer: &mut Peer) {
    for lba in 0..3 {
        assert_eq!(write(peer, 1, lba * 256, &pattern(LARGE, 99), (LARGE, LARGE)), good());
    }
}

/// A write of `LARGE` bytes that has been asked for, and as many bytes of its Data-Out: its tag, and those that are left.
fn half_a_payload(peer: &mut Peer, lun: u8, lba: u32, upto: usize) -> (u32, Vec<u8>) {
    let itt = peer.write_solicited(lun, lba, LARGE);
    let (offset, len, ttt) = peer.r2t(itt);
    assert_eq!((offset, len as usize), (0, LARGE));
    let mut bytes = peer.data_out((itt, ttt, lun), 0, 0, true, &pattern(LARGE, 7));
    peer.raw(&bytes[..upto]);
    // It has arrived.
    std::thread::sleep(Duration::from_millis(50));
    (itt, bytes.split_off(upto))
}

/// All buffers have come back; the bytes of payload that were received straight into them.
pub(super) fn all_back(server: &mut Server) -> u64 {
    let accounts = server.end().into_iter();
    accounts
        .map(|(stats, free_bytes)| {
            assert_eq!(free_bytes, ARENA_BYTES, "buffers were lost");
            stats.placed_bytes
        })
        .sum()
}

/// All buffers have come back, and payload was received straight into them.
fn expect_all_back(server: &mut Server) {
    assert!(all_back(server) > 0);
}

#[test]
fn payload_arrives_where_it_belongs() {
    for digests in [false, true] {
        let mut server = Server::with_media(1, FaultPlan::new());
        let choice = if digests {
            ["HeaderDigest=CRC32C", "DataDigest=CRC32C"]
        } else {
            ["HeaderDigest=None", "DataDigest=None"]
        };
        let mut peer = Peer::login(server.at, 1, &[&KEYS[..], &choice[..]].concat());
        peer.digests = (digests, digests);
        let mut peer = peer.ready();
        let all = 600 << 10;
        for (seed, (pdu, piece)) in (0..).zip([
            (256 << 10, 1 << 20),
            (128 << 10, 50_000),
            (100_000, 30_001),
            (64 << 10, 4095),
            (33_333, 64 << 10),
            (7_777, 1 << 20),
            (262_143, 60_000),
        ]) {
            let data = pattern(all, seed);
            assert_eq!(write(&mut peer, 1, 100, &data, (pdu, piece)), good(), "{pdu} {piece}");
            assert!(read(&mut peer, 1, 100, all) == data, "{pdu} {piece}");
            // Small ones between large ones.
            let few = pattern(4096, seed);
            for lba in 0..seed as u32 * 3 {
                let itt = write_immediate(&mut peer, 1, 8000 + lba * 8, &few);
                assert_eq!(peer.end(itt, SOON), good());
                assert!(read(&mut peer, 1, 8000 + lba * 8, 4096) == few);
            }
            let data = pattern(256 << 10, seed + 100);
            let itt = write_immediate(&mut peer, 1, 3000, &data);
            assert_eq!(peer.end(itt, SOON), good());
            assert!(read(&mut peer, 1, 3000, data.len()) == data);
        }
        drop(peer);
        assert!(all_back(&mut server) > 2 << 20);
    }
}

#[test]
fn any_mixture_of_sizes_and_pieces_is_read_back() {
    let mut server = Server::with_media(1, FaultPlan::new());
    mixture(&server);
    expect_all_back(&mut server);
    let mut server = Server::new(1, FaultPlan::new());
    mixture(&server);
    assert_eq!(all_back(&mut server), 0, "RAM units' data goes through receive buffers");
}

fn mixture(server: &Server) {
    let mut peer = Peer::login(server.at, 1, &KEYS).ready();
    let mut state = 20_261_121;
    let mut model = vec![0; UNIT_BYTES as usize / 4];
    for round in 0..120 {
        let most = [8, 100, 400, 1000][random(&mut state, 4)];
        let blocks = 1 + random(&mut state, most);
        let lba = random(&mut state, model.len() / 512 - blocks);
        let data = pattern(blocks * 512, round);
        if blocks <= 512 && random(&mut state, 2) == 0 {
            let itt = write_immediate(&mut peer, 1, lba as u32, &data);
            assert_eq!(peer.end(itt, SOON), good());
        } else {
            let pdu = 1000 + random(&mut state, 261_000);
            let piece = 500 + random(&mut state, 300_000);
            assert_eq!(write(&mut peer, 1, lba as u32, &data, (pdu, piece)), good());
        }
        model[lba * 512..(lba + blocks) * 512].copy_from_slice(&data);
        let from = random(&mut state, model.len() / 512 - 256);
        assert!(read(&mut peer, 1, from as u32, LARGE) == model[from * 512..from * 512 + LARGE], "round {round}");
    }
    for at in (0..model.len()).step_by(LARGE) {
        assert!(read(&mut peer, 1, (at / 512) as u32, LARGE) == model[at..at + LARGE]);
    }
}

#[test]
fn a_reset_in_the_middle_of_a_payload_leaves_the_medium_as_it_was() {
    for stalls in [false, true] {
        let mut server = Server::with_media(1, FaultPlan::new());
        let mut peer = Peer::login(server.at, 1, &KEYS).ready();
        let mut other = Peer::login(server.at, 2, &KEYS).ready();
        warm(&mut peer);
        let (_, rest) = half_a_payload(&mut peer, 1, 4096, 70_000);
        let (response, _) = other.managed(TmFunction::LOGICAL_UNIT_RESET, 1, u32::MAX);
        assert_eq!(TmResponse(response), TmResponse::FUNCTION_COMPLETE);
        // Who comes next has its own buffers.
        let data = pattern(LARGE, 3);
        other.settle(&[1]);
        assert_eq!(write(&mut other, 1, 6000, &data, (LARGE, LARGE)), good());
        if !stalls {
            peer.raw(&rest);
            peer.settle(&[1]);
            assert!(read(&mut peer, 1, 4096, LARGE) == vec![0; LARGE]);
            assert_eq!(write(&mut peer, 1, 4096, &data, (LARGE, LARGE)), good());
            assert!(read(&mut peer, 1, 4096, LARGE) == data);
        }
        assert!(read(&mut other, 1, 6000, LARGE) == data);
        if !stalls {
            drop(peer);
            expect_all_back(&mut server);
        } else {
            // What a peer that sends nothing more has kept is back before its connection ends.
            expect_all_back(&mut server);
            drop(peer);
        }
    }
}

#[test]
fn a_task_is_aborted_by_another_connection_in_the_middle_of_its_payload() {
    let mut server = Server::with_media(1, FaultPlan::new());
    let keys = [&KEYS[..], &["MaxConnections=4"]].concat();
    let mut peer = Peer::login(server.at, 1, &keys).ready();
    warm(&mut peer);
    let (itt, rest) = half_a_payload(&mut peer, 1, 4096, 50_000);
    let mut second = peer.join(server.at, 1, 1, &keys);
    let (response, _) = second.managed(TmFunction::ABORT_TASK, 1, itt);
    assert_eq!(TmResponse(response), TmResponse::FUNCTION_COMPLETE);
    // Its data has been waited for long enough: another command begins, and may have its slot.
    std::thread::sleep(Duration::from_millis(DRAIN_TIMEOUT_MS + 500));
    let data = pattern(LARGE, 11);
    let itt = second.write_solicited(1, 8192, LARGE);
    let (_, _, ttt) = second.r2t(itt);
    let bytes = second.data_out((itt, ttt, 1), 0, 0, false, &data[..100_000]);
    second.raw(&bytes);
    second.ping();
    // The rest of the old one's data is not the new one's.
    peer.raw(&rest);
    peer.ping();
    let bytes = second.data_out((itt, ttt, 1), 1, 100_000, true, &data[100_000..]);
    second.raw(&bytes);
    assert_eq!(second.end(itt, SOON), good());
    peer.skip_cmd_sn(1);
    assert!(read(&mut peer, 1, 4096, LARGE) == vec![0; LARGE]);
    assert!(read(&mut peer, 1, 8192, LARGE) == data);
    drop((peer, second));
    expect_all_back(&mut server);
}

/// The receive of the old connection has the buffer still, and nothing of what comes by the new one can be there.
#[test]
fn a_task_is_reassigned_in_the_middle_of_its_payload() {
    let mut server = Server::with_media(1, FaultPlan::new());
    let keys =
        [&KEYS[..], &["MaxConnections=4", "ErrorRecoveryLevel=2", "DefaultTime2Wait=0", "DefaultTime2Retain=20"]]
            .concat();
    let mut first = Peer::login(server.at, 1, &keys).ready();
    let (old, new) = (pattern(LARGE, 5), pattern(LARGE, 7));
    warm(&mut first);
    assert_eq!(write(&mut first, 1, 4096, &old, (LARGE, LARGE)), good());
    let (itt, _) = half_a_payload(&mut first, 1, 4096, 40_000);
    let mut second = first.join(server.at, 1, 1, &keys);
    assert_eq!(second.logout(2, 0), 0);
    let (response, before) = second.managed(TmFunction::TASK_REASSIGN, 1, itt);
    assert_eq!((TmResponse(response), before.len()), (TmResponse::FUNCTION_COMPLETE, 0));
    let (offset, _, ttt) = second.r2t(itt);
    assert_eq!(offset, 0);
    let bytes = second.data_out((itt, ttt, 1), 0, 0, false, &new[..100_000]);
    second.raw(&bytes);
    second.ping();
    drop(first);
    // The receive of the first one is over.
    std::thread::sleep(Duration::from_millis(100));
    let bytes = second.data_out((itt, ttt, 1), 1, 100_000, true, &new[100_000..]);
    second.raw(&bytes);
    // It may be refused, but what is GOOD is there.
    let end = second.end(itt, SOON);
    let expected = if end == good() { &new } else { &old };
    assert!(&read(&mut second, 1, 4096, LARGE) == expected, "{end:?}");
    assert_eq!(write(&mut second, 1, 4096, &new, (LARGE, LARGE)), good());
    drop(second);
    expect_all_back(&mut server);
}

#[test]
fn a_connection_is_cut_in_the_middle_of_a_payload() {
    let mut server = Server::with_media(1, FaultPlan::new());
    for immediate in [false, true] {
        let mut peer = Peer::login(server.at, 1, &KEYS);
        peer.settle(&[0, 1]);
        warm(&mut peer);
        if immediate {
            let data = pattern(LARGE, 1);
            peer.command_in_part(1, &[0x2a, 0, 0, 0, 16, 0, 0, 1, 0, 0], &data, 60_000);
            std::thread::sleep(Duration::from_millis(50));
        } else {
            half_a_payload(&mut peer, 1, 4096, 60_000);
        }
        drop(peer);
        let mut peer = Peer::login(server.at, 1, &KEYS);
        peer.settle(&[0, 1]);
        assert!(read(&mut peer, 1, 4096, LARGE) == vec![0; LARGE]);
        assert_eq!(write(&mut peer, 1, 9000, &pattern(LARGE, 2), (LARGE, LARGE)), good());
    }
    expect_all_back(&mut server);
}

#[test]
fn a_session_is_reinstated_in_the_middle_of_a_payload() {
    let mut server = Server::with_media(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &KEYS).ready();
    warm(&mut peer);
    half_a_payload(&mut peer, 1, 4096, 60_000);
    let mut again = Peer::login(server.at, 1, &KEYS);
    again.settle(&[0, 1]);
    assert!(peer.is_closed(SOON));
    assert!(read(&mut again, 1, 4096, LARGE) == vec![0; LARGE]);
    drop(again);
    expect_all_back(&mut server);
}

#[test]
fn a_payload_with_a_wrong_digest_is_not_written() {
    let mut server = Server::with_media(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[&KEYS[..], &["DataDigest=CRC32C"]].concat());
    peer.digests = (false, true);
    let mut peer = peer.ready();
    warm(&mut peer);
    let (itt, mut rest) = half_a_payload(&mut peer, 1, 4096, 60_000);
    rest[1000] ^= 1;
    peer.raw(&rest);
    let (last, before) = peer.answer(itt, SOON);
    assert!(before.iter().any(|pdu| pdu.opcode == Opcode::REJECT), "{before:?}");
    assert_eq!((last.bhs[3], last.data[4] & 15, &last.data[14..16]), (2, 0xb, &[0x47, 5][..]));
    assert!(read(&mut peer, 1, 4096, LARGE) == vec![0; LARGE]);
    // And another, of which less was there before.
    let (itt, mut rest) = half_a_payload(&mut peer, 1, 4096, 4096);
    rest[1000] ^= 1;
    peer.raw(&rest);
    peer.answer(itt, SOON);
    warm(&mut peer);
    drop(peer);
    let counted = server.end();
    assert!(counted.iter().all(|(_, free_bytes)| *free_bytes == ARENA_BYTES), "buffers were lost");
    assert_eq!(counted.iter().map(|(stats, _)| stats.digest_errors).sum::<u64>(), 2, "each is counted");
}

#[test]
fn a_peer_that_sends_more_than_was_asked_for_harms_nobody() {
    let mut server = Server::with_media(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &KEYS).ready();
    warm(&mut peer);
    // A PDU that is longer than what was asked for.
    let itt = peer.write_solicited(1, 4096, LARGE);
    let (_, _, ttt) = peer.r2t(itt);
    let bytes = peer.data_out((itt, ttt, 1), 0, 0, true, &pattern(LARGE + 512, 5));
    bytes.chunks(40_000).for_each(|bytes| peer.raw(bytes));
    assert_eq!(peer.end(itt, SOON).status, 2);
    assert!(read(&mut peer, 1, 4096, LARGE + 512) == vec![0; LARGE + 512]);
    warm(&mut peer);
    // More bytes than the PDU has: no header that makes sense.
    let (itt, rest) = half_a_payload(&mut peer, 1, 4096, 60_000);
    peer.raw(&rest);
    assert_eq!(peer.end(itt, SOON), good());
    peer.raw(&[0xff; 20_000]);
    assert!(peer.is_closed(SOON));
    let mut peer = Peer::login(server.at, 1, &KEYS);
    peer.settle(&[0, 1]);
    assert!(read(&mut peer, 1, 4096, LARGE) == pattern(LARGE, 7));
    assert!(read(&mut peer, 1, 4096 + 256, 4096) == vec![0; 4096]);
    drop(peer);
    expect_all_back(&mut server);
}

#[test]
fn a_slice_is_let_go_of_while_the_one_before_it_is_on_a_medium_that_hangs() {
    let plan = FaultPlan::new().rule(FaultRule::new(FaultAction::Hang).on(OpClass::Write));
    let mut server = Server::with_media(1, plan);
    let mut peer = Peer::login(server.at, 1, &KEYS).ready();
    let mut other = Peer::login(server.at, 2, &KEYS).ready();
    warm(&mut peer);
    let itt = peer.write_solicited(0, 0, 2 * SLICE_BYTES);
    let data = pattern(SLICE_BYTES, 1);
    let (_, len, ttt) = peer.r2t(itt);
    assert_eq!(len as usize, SLICE_BYTES);
    let bytes = peer.data_out((itt, ttt, 0), 0, 0, true, &data);
    peer.raw(&bytes);
    let (offset, _, ttt) = peer.r2t(itt);
    let bytes = peer.data_out((itt, ttt, 0), 0, offset, true, &data);
    peer.raw(&bytes[..100_000]);
    std::thread::sleep(Duration::from_millis(50));
    let (response, _) = other.managed(TmFunction::LOGICAL_UNIT_RESET, 0, u32::MAX);
    assert_eq!(TmResponse(response), TmResponse::FUNCTION_COMPLETE);
    peer.raw(&bytes[100_000..]);
    peer.settle(&[1]);
    warm(&mut peer);
    drop((peer, other));
    let (_, free_bytes) = server.end()[0];
    // What is on the medium is kept until it answers.
    assert_eq!(free_bytes, ARENA_BYTES - SLICE_BYTES);
}

#[test]
fn the_server_ends_in_the_middle_of_a_payload() {
    let mut server = Server::with_media(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &KEYS).ready();
    warm(&mut peer);
    let (_, rest) = half_a_payload(&mut peer, 1, 4096, 60_000);
    let sender = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        rest.chunks(1000).for_each(|bytes| {
            peer.try_raw(bytes);
            std::thread::sleep(Duration::from_millis(30));
        });
    });
    assert!(server.stop() < Duration::from_secs(5));
    sender.join().unwrap();
}

#[test]
fn everybody_is_answered_while_provided_buffers_are_short() {
    let mut server = Server::new(1, FaultPlan::new());
    // Sixteen sessions with data just too small to be received into its place.
    let writers: Vec<_> = (1..=16)
        .map(|host| {
            let at = server.at;
            std::thread::spawn(move || {
                let mut peer = Peer::login(at, host, &KEYS).ready();
                for round in 0..40u32 {
                    let itts: Vec<u32> = (0..16)
                        .map(|n| {
                            write_immediate(
                                &mut peer,
                                1,
                                (u32::from(host) * 16 + n) * 48,
                                &pattern(24_576, u64::from(round)),
                            )
                        })
                        .collect();
                    for itt in itts {
                        assert_eq!(peer.end(itt, SOON), good());
                    }
                }
            })
        })
        .collect();
    let mut idle = Peer::login(server.at, 99, &KEYS).ready();
    while writers.iter().any(|writer| !writer.is_finished()) {
        idle.ping();
        std::thread::sleep(Duration::from_millis(1));
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    drop(idle);
    all_back(&mut server);
}

/// A read over whose data a digest is computed is copied at the end of the turn; what comes in the same turn finds it
/// under way.
#[test]
fn what_comes_between_a_read_and_its_copy_harms_nobody() {
    let mut server = Server::new(1, FaultPlan::new());
    let keys = &[&KEYS[..], &["DataDigest=CRC32C"]].concat();
    let login = |host| {
        let mut peer = Peer::login(server.at, host, keys);
        peer.digests = (false, true);
        peer.ready()
    };
    let mut peer = login(1);
    let itt = peer.write(1, 8, 8, 0x11);
    assert_eq!(peer.end(itt, SOON), good());
    for round in 0..20u8 {
        // Aborted: either it was answered before, or never is.
        let (first, function, second) = peer.together(|peer| {
            let first = peer.read(1, 8, 8);
            (first, peer.manage(TmFunction::ABORT_TASK, 1, first), peer.read(1, 8, 8))
        });
        let (response, before) = peer.answer(function, SOON);
        let answered = before.iter().any(|pdu| pdu.itt() == first);
        let expected = if answered { TmResponse::TASK_DOES_NOT_EXIST } else { TmResponse::FUNCTION_COMPLETE };
        assert_eq!(response.bhs[2], expected.0, "round {round}");
        assert_eq!(peer.end(second, SOON).data, [0x11; 4096]);
        // Its session ends, and another one takes its place.
        let mut brief = login(2 + round);
        brief.together(|brief| (0..8).map(|_| brief.read(1, 8, 8)).count());
        drop(brief);
        // A write behind it: the digest fits what is sent, whichever of the two it is.
        let (read, write) = peer.together(|peer| (peer.read(1, 8, 8), peer.write(1, 8, 8, 0x11)));
        assert_eq!(peer.end(read, SOON).data, [0x11; 4096]);
        assert_eq!(peer.end(write, SOON), good());
    }
    drop(peer);
    all_back(&mut server);
}

/// A read's CDB in a command that brings data, more than one receive has of it: the buffer that it waits in comes back.
#[test]
fn data_that_comes_with_a_read_is_given_back() {
    // AHSLength 5, type 2: Bidirectional Read Expected Data Transfer Length (RFC 7143 section 11.2.2.4), 4096.
    const READ_LENGTH: [u8; 8] = [0, 5, 2, 0, 0, 0, 0x10, 0];
    let mut server = Server::new(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[&KEYS[..], &["DataDigest=CRC32C"]].concat());
    peer.digests = (false, true);
    let mut peer = peer.ready();
    for _ in 0..8 {
        let itt = peer.command_with(1, &[0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0], &READ_LENGTH, 4096, &pattern(LARGE, 1));
        assert!(peer.is_answered(itt, SOON));
    }
    drop(peer);
    all_back(&mut server);
}

/// A command that waits for the one before it, which `say` sends; then that one.
fn out_of_order(peer: &mut Peer, say: impl FnOnce(&mut Peer) -> u32) -> u32 {
    peer.skip_cmd_sn(1);
    let itt = say(peer);
    peer.skip_cmd_sn(2u32.wrapping_neg());
    peer.ping();
    itt
}

/// A read that is longer than the data that came with it: the buffer of that data is not what it is read into.
#[test]
fn a_read_with_little_data_overwrites_nobody() {
    // AHSLength 5, type 2: Bidirectional Read Expected Data Transfer Length (RFC 7143 section 11.2.2.4), 262,144.
    const READ_LENGTH: [u8; 8] = [0, 5, 2, 0, 0, 4, 0, 0];
    for (mut server, choice) in [
        (Server::with_media(1, FaultPlan::new()), "DataDigest=None"),
        (Server::new(1, FaultPlan::new()), "DataDigest=CRC32C"),
    ] {
        let login = |host| {
            let mut peer = Peer::login(server.at, host, &[&KEYS[..], &[choice]].concat());
            peer.digests = (false, choice != "DataDigest=None");
            peer.ready()
        };
        let (mut peer, mut victim) = (login(1), login(2));
        let data = pattern(SLICE_BYTES, 1);
        assert_eq!(write(&mut peer, 0, 0, &data, (SLICE_BYTES, SLICE_BYTES)), good());
        // Both wait with their data in buffers, one beside the other.
        let little = out_of_order(&mut peer, |peer| {
            peer.command_with(0, &[0x28, 0, 0, 0, 0, 0, 0, 2, 0, 0], &READ_LENGTH, 512, &[0xee; 512])
        });
        let kept = out_of_order(&mut victim, |victim| write_immediate(victim, 1, 64, &pattern(4096, 2)));
        let first = peer.test_unit_ready(0);
        assert_eq!(peer.end(first, SOON), good());
        assert!(peer.end(little, SOON).data == data, "{choice}");
        let first = victim.test_unit_ready(1);
        assert_eq!(victim.end(first, SOON), good());
        victim.skip_cmd_sn(1);
        assert_eq!(victim.end(kept, SOON), good());
        assert!(read(&mut victim, 1, 64, 4096) == pattern(4096, 2), "{choice}");
        drop((peer, victim));
        all_back(&mut server);
    }
}
