//! A medium that a thread serves, by calls that block: cores serve units on it, and are answered by their bells.

use super::peer::{Peer, good};
use super::{Server, UNIT_BYTES, lun, snapshot};
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::limits::ARENA_BYTES;
use crate::model::{LunKind, LunSpec};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);
const CORES: usize = 2;

fn threaded(number: u16) -> LunSpec {
    LunSpec { kind: LunKind::Other { word: "threaded", path: number.to_string() }, ..lun(number) }
}

fn block_of(byte: u8, blocks: u8) -> Vec<u8> {
    vec![byte; usize::from(blocks) * 512]
}

/// Several sessions on each core, with many commands at a time each.
#[test]
fn units_that_a_thread_serves_are_read_and_written_on_all_cores() {
    const COMMANDS: u8 = 16;
    let mut server = Server::changed(CORES, |places| snapshot(places, vec![threaded(0), threaded(1)]), |_| ());
    assert_eq!(server.world.units[0].logical.params().blocks, UNIT_BYTES / 512);
    let mut peers: Vec<_> = (1..=4).map(|host| Peer::login(server.at, host, &[]).ready()).collect();
    for lun in [0, 1] {
        for round in 1..=3u8 {
            let begun: Vec<Vec<u32>> = (0u8..)
                .zip(&mut peers)
                .map(|(host, peer)| {
                    let lba = |command| host * 2 * COMMANDS + 2 * command;
                    let byte = |command| round * 50 + host * COMMANDS / 2 + command;
                    peer.together(|peer| (0..COMMANDS).map(|c| peer.write(lun, lba(c), 2, byte(c))).collect())
                })
                .collect();
            for (peer, writes) in peers.iter_mut().zip(begun) {
                writes.into_iter().for_each(|itt| assert_eq!(peer.end(itt, SOON), good()));
            }
            // Each reads what another one wrote, on another core perhaps.
            for (host, reader) in (0u8..4).zip([1usize, 2, 3, 0]) {
                for command in 0..COMMANDS {
                    let itt = peers[reader].read(lun, host * 2 * COMMANDS + 2 * command, 2);
                    let end = peers[reader].end(itt, SOON);
                    assert_eq!((end.status, end.data), (0, block_of(round * 50 + host * COMMANDS / 2 + command, 2)));
                }
            }
        }
    }
    drop(peers);
    for (_, free) in server.end() {
        assert_eq!(free, ARENA_BYTES, "all buffers have come back");
    }
}

/// UNMAP and SYNCHRONIZE CACHE.
#[test]
fn what_is_no_transfer_goes_to_the_thread_too() {
    let server = Server::changed(CORES, |places| snapshot(places, vec![threaded(0), lun(1)]), |_| ());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let write = peer.write(0, 8, 8, 7);
    assert_eq!(peer.end(write, SOON), good());
    let mut list = [0; 24];
    (list[1], list[3], list[15], list[19]) = (22, 16, 8, 8);
    let unmap = peer.command(0, &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], 0, &list);
    assert_eq!(peer.end(unmap, SOON), good());
    let read = peer.read(0, 8, 8);
    assert_eq!(peer.end(read, SOON).data, block_of(0, 8));
    let flush = peer.command(0, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[]);
    assert_eq!(peer.end(flush, SOON), good());
}

/// Faults and delays over it come through like those over any other.
#[test]
fn a_thread_that_is_late_holds_up_no_other_unit() {
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_millis(1500))).on(OpClass::Read);
    let (server, _) =
        Server::of(1, 1, [FaultPlan::new().rule(slow)], |places| snapshot(places, vec![threaded(0), threaded(1)]));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let late = peer.read(0, 0, 1);
    let other = peer.read(1, 0, 1);
    assert_eq!(peer.end(other, Duration::from_millis(1400)).data, block_of(0, 1));
    assert_eq!(peer.end(late, SOON).data, block_of(0, 1));
}
