//! Third-party copies that an operation keeps out whose task is gone.

use super::fencing::{status_of_zeroing, zero_in_the_background};
use super::peer::{Peer, good};
use super::*;
use crate::backend::{FaultAction, FaultRule, OpClass};
use crate::limits::STRAY_WAIT_MS;
use crate::wire::TmFunction;

const SOON: Duration = Duration::from_secs(1);
const IN_BACKGROUND: u8 = 0x12;

/// A host whose write to the first blocks of LUN 0 was aborted and does not end before its time.
fn kept_out(action: FaultAction) -> (Server, Peer) {
    let rule = FaultRule::new(action).on(OpClass::Write).within(0..4096).times(1);
    let server = Server::new(1, FaultPlan::new().rule(rule));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let write = peer.write(0, 0, 8, 0xaa);
    assert_eq!(peer.managed(TmFunction::ABORT_TASK, 0, write).0, 0);
    (server, peer)
}

/// EXTENDED COPY of the first eight blocks of LUN 1, which it is sent to, to the same of a unit; its tag.
fn copy_from_lun_1(peer: &mut Peer, naa: [u8; 16]) -> u32 {
    let (mut header, mut unit, mut segment) = ([0; 16], [0; 32], [0; 28]);
    (header[0], header[3], header[11]) = (1, 32, 28);
    (unit[0], unit[4], unit[5], unit[7]) = (0xe4, 1, 3, 16);
    unit[8..24].copy_from_slice(&naa);
    (segment[0], segment[3], segment[11]) = (2, 24, 8);
    segment[4..6].fill(0xff);
    let list = [&header[..], &unit, &segment].concat();
    peer.command(1, &[0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 76, 0, 0], 0, &list)
}

/// How the copy in the background has ended.
fn end_of_zeroing(peer: &mut Peer, within: Duration) -> u8 {
    let until = Instant::now() + within;
    loop {
        match status_of_zeroing(peer) {
            IN_BACKGROUND if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            status => return status,
        }
    }
}

#[test]
fn who_waits_for_a_copy_is_told_in_time_and_what_nobody_waits_for_is_done_later() {
    const DELAY: Duration = Duration::from_millis(STRAY_WAIT_MS + 1_500);
    let (server, mut peer) = kept_out(FaultAction::Delay(DELAY));
    zero_in_the_background(&mut peer);
    let copy = copy_from_lun_1(&mut peer, server.world.units[0].logical.params().naa);
    assert_eq!(peer.end(copy, Duration::from_millis(STRAY_WAIT_MS) + SOON).sense, (0xb, 0x0801));
    assert_eq!(status_of_zeroing(&mut peer), IN_BACKGROUND);
    const COMPLETED: u8 = 1;
    assert_eq!(end_of_zeroing(&mut peer, DELAY), COMPLETED);
    let read = peer.read(0, 0, 8);
    assert_eq!(peer.end(read, SOON).data, [0; 4096]);
}

#[test]
fn a_copy_that_is_kept_out_for_good_can_be_ended() {
    let (_server, mut peer) = kept_out(FaultAction::Hang);
    zero_in_the_background(&mut peer);
    // COPY OPERATION ABORT.
    let abort = peer.command(0, &[0x83, 0x1c, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, &[]);
    assert_eq!(peer.end(abort, SOON), good());
    const COMPLETED_WITH_ERRORS: u8 = 2;
    assert_eq!(end_of_zeroing(&mut peer, SOON), COMPLETED_WITH_ERRORS);
}
