//! Commands of 32 bytes, from the additional header segment on the wire to the medium and back.

use super::peer::{End, Peer, good};
use super::*;
use crate::wire::Opcode;
use std::sync::atomic::{AtomicU32, Ordering};

const SECOND: Duration = Duration::from_secs(2);

fn cdb_32(action: u16, lba: u8, words: (u32, u32), len: u32) -> [u8; 32] {
    let mut cdb = [0; 32];
    (cdb[0], cdb[7]) = (0x7f, 0x18);
    cdb[8..10].copy_from_slice(&action.to_be_bytes());
    cdb[19] = lba;
    cdb[20..24].copy_from_slice(&words.0.to_be_bytes());
    cdb[24..28].copy_from_slice(&words.1.to_be_bytes());
    cdb[28..].copy_from_slice(&len.to_be_bytes());
    cdb
}

/// ORWRITE(32), a set operation of a generation.
fn set(peer: &mut Peer, lba: u8, blocks: usize, generation: u32, byte: u8) -> End {
    let cdb = cdb_32(0x0e, lba, (generation, 0), blocks as u32);
    let itt = peer.command(0, &cdb, 0, &vec![byte; blocks * 512]);
    peer.end(itt, SECOND)
}

/// ORWRITE(32), a change of the generation.
fn change(peer: &mut Peer, lba: u8, blocks: usize, words: (u32, u32), byte: u8) -> End {
    let mut cdb = cdb_32(0x0e, lba, words, blocks as u32);
    (cdb[2], cdb[3]) = (1, 7);
    let itt = peer.command(0, &cdb, 0, &vec![byte; blocks * 512]);
    peer.end(itt, SECOND)
}

fn read(peer: &mut Peer, lba: u8, blocks: u8) -> Vec<u8> {
    let itt = peer.read(0, lba, blocks);
    let end = peer.end(itt, SECOND);
    assert_eq!(end.status, 0);
    end.data
}

fn refused(asc: u16) -> End {
    End { status: 2, sense: (5, asc), data: vec![] }
}

#[test]
fn or_write_32_changes_the_medium() {
    let server = Server::new(2, FaultPlan::default());
    let mut one = Peer::login(server.at, 1, &[]).ready();
    let mut two = Peer::login(server.at, 2, &[]).ready();
    let itt = one.write(0, 8, 8, 0x0f);
    assert_eq!(one.end(itt, SECOND), good());
    assert_eq!(set(&mut one, 9, 2, 0, 0x30), good());
    let expected = [vec![0x0f; 512], vec![0x3f; 1024], vec![0x0f; 5 * 512]].concat();
    assert_eq!(read(&mut two, 8, 8), expected);
    assert_eq!(set(&mut two, 16, 100, 0, 0x81), good());
    assert_eq!(read(&mut one, 16, 101), [vec![0x81; 100 * 512], vec![0; 512]].concat());
    // Another generation begins; the other session has not heard of it.
    assert_eq!(change(&mut one, 9, 1, (0, 7), 0xf3), good());
    assert_eq!(read(&mut two, 9, 2), [vec![0x33; 512], vec![0x3f; 512]].concat());
    assert_eq!(set(&mut two, 9, 1, 0, 0xff), refused(0x2c0c));
    let mut cdb_16 = [0; 16];
    (cdb_16[0], cdb_16[9], cdb_16[13]) = (0x8b, 9, 1);
    let itt = two.command(0, &cdb_16, 0, &[0xff; 512]);
    assert_eq!(two.end(itt, SECOND), refused(0x2c0c), "ORWRITE(16) is of generation zero");
    assert_eq!(change(&mut two, 9, 1, (0, 8), 0), refused(0x2c0c));
    assert_eq!(read(&mut two, 9, 1), vec![0x33; 512]);
    assert_eq!(set(&mut two, 9, 1, 7, 0x40), good());
    assert_eq!(read(&mut one, 9, 1), vec![0x73; 512]);
    // Without bits to clear; and back to zero.
    assert_eq!(change(&mut two, 9, 0, (7, 8), 0), good());
    assert_eq!(change(&mut one, 9, 1, (8, 0), 0), good());
    let itt = two.command(0, &cdb_16, 0, &[0x01; 512]);
    assert_eq!(two.end(itt, SECOND), good());
    assert_eq!(read(&mut one, 9, 1), vec![0x01; 512]);
    // What was announced is not what the CDB says.
    let mut cdb = cdb_32(0x0e, 9, (0, 1), 2);
    (cdb[2], cdb[3]) = (1, 7);
    let itt = one.command(0, &cdb, 0, &[0; 512]);
    assert_eq!(one.end(itt, SECOND), refused(0x2400));
    assert_eq!(set(&mut two, 9, 1, 0, 0x02), good(), "no generation has begun");
}

/// Sessions on two cores set bits of a generation that others end: after a change nobody's old bits appear.
#[test]
fn no_bits_of_an_old_generation() {
    const GENERATIONS: u32 = 40;
    let server = Server::new(2, FaultPlan::default());
    let at = server.at;
    let begun = Arc::new(AtomicU32::new(0));
    let setters: Vec<_> = (2..6u8)
        .map(|host| {
            let begun = Arc::clone(&begun);
            std::thread::spawn(move || {
                let mut peer = Peer::login(at, host, &[]).ready();
                for generation in 0..GENERATIONS {
                    while begun.load(Ordering::SeqCst) < generation {
                        std::thread::yield_now();
                    }
                    // Until it has ended.
                    while set(&mut peer, host, 1, generation, 1 << host) == good() {}
                }
            })
        })
        .collect();
    let mut changer = Peer::login(at, 1, &[]).ready();
    for generation in 0..GENERATIONS {
        assert_eq!(change(&mut changer, 2, 4, (generation, 1000 + generation), 0), good());
        // Nobody is of this generation: what was set before is gone, and nothing comes after.
        for _ in 0..3 {
            assert!(read(&mut changer, 2, 4).iter().all(|byte| *byte == 0), "generation {generation}");
        }
        assert_eq!(change(&mut changer, 2, 0, (1000 + generation, generation + 1), 0), good());
        begun.store(generation + 1, Ordering::SeqCst);
    }
    for setter in setters {
        setter.join().unwrap();
    }
}

#[test]
fn lba_status_32() {
    const LBA: u64 = 16384;
    let server = Server::new(1, FaultPlan::default());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let itt = peer.command(0, &[0x2a, 0, 0, 0, 0x40, 0, 0, 0, 8, 0], 0, &[1; 4096]);
    assert_eq!(peer.end(itt, SECOND), good());
    let mut status = |report, scan| {
        let mut cdb = cdb_32(0x12, 0, (scan, 0), 256);
        cdb[10] = report;
        let itt = peer.command(0, &cdb, 256, &[]);
        let end = peer.end(itt, SECOND);
        assert_eq!(end.status, 0);
        let be = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let descriptors = end.data[8..].chunks(16).map(|d| (be(&d[..8]), be(&d[8..12]), d[12]));
        (end.data[7] >> 1, descriptors.collect::<Vec<_>>())
    };
    let (end_of_medium, all) = status(0, 0);
    let [(0, before, 1), (begin, mapped, 0), (after, rest, 1)] = all[..] else { panic!("{all:?}") };
    // Memory comes in pages, of 2 MiB even.
    assert!(begin == before && begin <= LBA && begin + mapped >= LBA + 8 && mapped <= 8192, "{all:?}");
    assert_eq!((end_of_medium, after, after + rest), (3, begin + mapped, UNIT_BYTES / 512));
    assert_eq!(status(2, 0), (3, vec![(begin, mapped, 3)]));
    assert_eq!(status(0, begin as u32 + 4), (2, vec![(0, begin, 1), (begin, 4, 0)]));
}

#[test]
fn commands_that_came_wrong() {
    let server = Server::new(1, FaultPlan::default());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let cdb = cdb_32(0x0e, 0, (0, 0), 1);
    // READ(32) and its kin belong to type 2 protection; the Data-In expected is residual.
    let itt = peer.command(0, &cdb_32(0x09, 0, (0, 0), 1), 512, &[]);
    assert_eq!(peer.end(itt, SECOND), refused(0x2000));
    let itt = peer.command(0, &cdb_32(0x0b, 0, (0, 0), 1), 0, &[1; 512]);
    assert_eq!(peer.end(itt, SECOND), refused(0x2000));
    // Without its second half, or with a part of it.
    for len in [16, 20, 31] {
        let itt = peer.command(0, &cdb[..len], 0, &[1; 512]);
        assert_eq!(peer.end(itt, SECOND), refused(0x2400), "{len} bytes");
    }
    let mut short = cdb;
    short[7] = 0x10;
    let itt = peer.command(0, &short, 0, &[1; 512]);
    assert_eq!(peer.end(itt, SECOND), refused(0x2400));
    let mut reserved = cdb;
    reserved[11] = 1;
    let itt = peer.command(0, &reserved, 0, &[1; 512]);
    assert_eq!(peer.end(itt, SECOND), refused(0x2400));
    assert_eq!(read(&mut peer, 0, 1), vec![0; 512], "nothing was written");
    // Segments that are none end the session, a type that nobody knows is rejected: nothing is carried out.
    let unknown = [&[0, 5, 9][..], &[0; 5]].concat();
    let itt = peer.command_with(0, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], &unknown, 0, &[1; 512]);
    let pdu = peer.next(SECOND);
    assert_eq!((pdu.opcode, u32::from_be_bytes(pdu.data[16..20].try_into().unwrap())), (Opcode::REJECT, itt));
    for ahs in [
        // Longer than the header says, empty, twice.
        [&[0, 17, 1, 0][..], &cdb[16..28]].concat(),
        vec![0, 1, 1, 0],
        [&[0, 2, 1, 0, 1, 0, 0, 0][..], &[0, 2, 1, 0, 1, 0, 0, 0]].concat(),
    ] {
        let mut peer = Peer::login(server.at, 2, &[]).ready();
        peer.command_with(0, &cdb[..16], &ahs, 0, &[1; 512]);
        assert!(peer.is_closed(SECOND), "{ahs:02x?}");
    }
    let mut peer = Peer::login(server.at, 3, &[]).ready();
    assert_eq!(read(&mut peer, 0, 1), vec![0; 512], "nothing was written");
    assert_eq!(set(&mut peer, 0, 1, 0, 5), good(), "the server goes on");
}
