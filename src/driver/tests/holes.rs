//! Holes in a file are made one at a time, and who waits for that keeps nobody waiting.

use super::peer::{Peer, good};
use super::{Server, UNIT_BYTES};
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::model::{LunKind, LunSpec};
use crate::wire::{TmFunction, TmResponse};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(5);
const DELAY: Duration = Duration::from_millis(250);

fn unmap(peer: &mut Peer, lun: u8, lba: u8) -> u32 {
    let list = [0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, 8, 0, 0, 0, 0];
    peer.command(lun, &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], 0, &list)
}

#[test]
fn holes_in_a_file_are_made_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = |number: u16| LunSpec {
        size_bytes: Some(UNIT_BYTES),
        create: true,
        thin: true,
        ..LunSpec::new(number, LunKind::File(folder.path().join(number.to_string())))
    };
    let slow = FaultRule::new(FaultAction::Delay(DELAY)).on(OpClass::Clear);
    let server = Server::with(1, FaultPlan::new().rule(slow), vec![file(0), file(1)]);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut other = Peer::login(server.at, 2, &[]).ready();
    let begin = Instant::now();
    let first = unmap(&mut peer, 0, 0);
    peer.ping();
    let (second, aborted) = (unmap(&mut other, 0, 8), unmap(&mut other, 0, 16));
    other.ping();
    let third = unmap(&mut peer, 0, 24);
    // Who waits for it keeps nobody, and can be aborted.
    let elsewhere = unmap(&mut other, 1, 0);
    assert_eq!(other.end(elsewhere, SOON), good());
    let read = other.read(0, 32, 8);
    assert_eq!(other.end(read, SOON).status, 0);
    let (response, _) = other.managed(TmFunction::ABORT_TASK, 0, aborted);
    assert_eq!(TmResponse(response), TmResponse::FUNCTION_COMPLETE);
    assert!(begin.elapsed() < DELAY);
    assert_eq!(peer.end(first, SOON), good());
    assert_eq!(other.end(second, SOON), good());
    assert!(begin.elapsed() >= 2 * DELAY);
    assert_eq!(peer.end(third, SOON), good());
    assert!((3 * DELAY..4 * DELAY).contains(&begin.elapsed()));
}
