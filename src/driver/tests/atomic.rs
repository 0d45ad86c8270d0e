//! WRITE ATOMIC beside reads of other sessions, on other cores: nobody sees a part of one.

use super::peer::Peer;
use super::*;
use crate::backend::{FaultAction, FaultRule, OpClass};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const SECOND: Duration = Duration::from_secs(5);
/// Blocks of an atomic write: they go along with the command.
const BLOCKS: u16 = 120;
/// The first one. A read from block 0 on that is too long to be under way as a whole goes on in block 2048.
const LBA: u32 = 2000;
const OVERLAPPING: (u8, u16) = (0xb, 0x0024);

fn write_atomic(peer: &mut Peer, byte: u8) {
    let itt = ask_atomic(peer, LBA, byte);
    assert_eq!(peer.end(itt, SECOND).status, 0);
}

/// WRITE ATOMIC(16) without waiting for its end; its tag.
fn ask_atomic(peer: &mut Peer, lba: u32, byte: u8) -> u32 {
    let mut cdb = [0; 16];
    cdb[0] = 0x9c;
    cdb[6..10].copy_from_slice(&lba.to_be_bytes());
    cdb[12..14].copy_from_slice(&BLOCKS.to_be_bytes());
    peer.command(0, &cdb, 0, &vec![byte; usize::from(BLOCKS) * 512])
}

/// READ(10): its tag.
fn ask(peer: &mut Peer, lba: u32, blocks: u16) -> u32 {
    let mut cdb = [0; 10];
    cdb[0] = 0x28;
    cdb[2..6].copy_from_slice(&lba.to_be_bytes());
    cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
    peer.command(0, &cdb, u32::from(blocks) * 512, &[])
}

/// READ(10): the data, or `None` if an atomic write came between.
fn read(peer: &mut Peer, lba: u32, blocks: u16) -> Option<Vec<u8>> {
    let itt = ask(peer, lba, blocks);
    let end = peer.end(itt, SECOND);
    if end.status == 2 && end.sense == OVERLAPPING {
        return None;
    }
    assert_eq!((end.status, end.data.len()), (0, usize::from(blocks) * 512), "{:x?}", end.sense);
    Some(end.data)
}

/// So many reads are to be whole, at least.
const WHOLE: u32 = 50;

/// What the readers saw: reads that were whole, and those that an atomic write came between.
#[derive(Default)]
struct Seen {
    whole: AtomicU32,
    between: AtomicU32,
}

/// Reads what is written atomically, alone or within more, until told to stop.
fn watch(mut peer: Peer, (lba, blocks): (u32, u16), stop: &AtomicBool, seen: &Seen) {
    while !stop.load(Ordering::Relaxed) {
        let Some(data) = read(&mut peer, lba, blocks) else {
            seen.between.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let begin = (LBA - lba) as usize * 512;
        let written = &data[begin..begin + usize::from(BLOCKS) * 512];
        assert!(written.iter().all(|byte| *byte == written[0]), "a part of an atomic write");
        seen.whole.fetch_add(1, Ordering::Relaxed);
    }
}

/// With units in memory that are known to be: they are read where they lie.
fn in_place(cores: usize) -> Server {
    Server::of(1, cores, [] as [FaultPlan; 0], |places| snapshot(places, vec![lun(0), lun(1)])).0
}

fn contest(server: &Server) {
    let at = server.at;
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let mut writers: Vec<_> = (1..3).map(|host| Peer::login(at, host, &[]).ready()).collect();
    write_atomic(&mut writers[0], 0);
    let readers: Vec<_> = [(LBA, BLOCKS), (LBA, BLOCKS), (LBA - 100, 300), (0, 2600)]
        .into_iter()
        .zip(3..)
        .map(|(range, host)| {
            let peer = Peer::login(at, host, &[]).ready();
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            std::thread::spawn(move || watch(peer, range, &stop, &seen))
        })
        .collect();
    let end = Instant::now() + 10 * SECOND;
    let writers = writers.into_iter().zip([1, 2]).map(|(mut peer, byte)| {
        let seen = Arc::clone(&seen);
        // Readers have a part in it, however busy the machine is.
        let goes_on =
            move |round: &u32| *round < 300 || seen.whole.load(Ordering::Relaxed) <= WHOLE && Instant::now() < end;
        std::thread::spawn(move || {
            (0..).take_while(goes_on).for_each(|round| write_atomic(&mut peer, (2 * round + byte) as u8));
        })
    });
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        writer.join().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(seen.whole.load(Ordering::Relaxed) > WHOLE, "{:?} whole", seen.whole);
    // Nothing is left at the fence: a range can be had at once.
    let fence = &server.world.units[0].fence;
    let lock = fence.lock(0, UNIT_BYTES).unwrap();
    let end = Instant::now() + SECOND;
    while !fence.is_drained(&lock) {
        assert!(Instant::now() < end, "somebody never left");
        std::thread::yield_now();
    }
    fence.unlock(lock);
}

#[test]
fn no_read_sees_a_part_of_an_atomic_write() {
    contest(&in_place(2));
}

/// With a medium that is not read from memory, and takes its time.
#[test]
fn no_read_of_a_slow_medium_sees_a_part_of_an_atomic_write() {
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_micros(100)));
    contest(&Server::new(2, FaultPlan::new().rule(slow)));
}

/// What was under way before anybody had asked for an atomic write is counted as what comes later: `read` is asked for,
/// and has begun; the first atomic write is to its last blocks.
fn the_first_waits(server: &Server, mut reader: Peer, mut writer: Peer, (lba, blocks): (u32, u16)) {
    let read = ask(&mut reader, lba, blocks);
    // Of a medium that takes its time nothing comes yet.
    reader.ping_only();
    let end = Instant::now() + SECOND;
    while !reader.has_more() {
        assert!(Instant::now() < end, "it has not begun");
        std::thread::yield_now();
    }
    assert!(!server.world.units[0].fence.keeps_reads(), "the first one");
    let write = ask_atomic(&mut writer, lba + u32::from(blocks - BLOCKS), 0xbb);
    assert!(!writer.is_answered(write, Duration::from_millis(100)), "it does not wait for who reads");
    let end = reader.end(read, SECOND);
    assert_eq!((end.status, end.data.len()), (0, usize::from(blocks) * 512));
    assert!(end.data.iter().all(|byte| *byte == 0), "a part of an atomic write");
    assert_eq!(writer.end(write, SECOND).status, 0);
    let after = self::read(&mut writer, lba + u32::from(blocks - BLOCKS), BLOCKS);
    assert!(after.unwrap().iter().all(|byte| *byte == 0xbb));
}

/// Sent from where it lies, to a peer that does not take it yet.
#[test]
fn the_first_atomic_write_waits_for_what_is_being_sent() {
    for cores in [1, 2] {
        let server = in_place(cores);
        let reader = Peer::login(server.at, 1, &["MaxRecvDataSegmentLength=262144"]).ready();
        let writer = Peer::login(server.at, 2, &[]).ready();
        // More than the sockets between hold.
        the_first_waits(&server, reader, writer, (0, (UNIT_BYTES / 512) as u16));
    }
}

#[test]
fn the_first_atomic_write_waits_for_what_is_being_read() {
    for cores in [1, 2] {
        let slow = FaultRule::new(FaultAction::Delay(Duration::from_millis(500))).on(OpClass::Read).times(1);
        let server = Server::with_media(cores, FaultPlan::new().rule(slow));
        let [reader, writer] = [1, 2].map(|host| Peer::login(server.at, host, &[]).ready());
        the_first_waits(&server, reader, writer, (LBA, BLOCKS));
    }
}
