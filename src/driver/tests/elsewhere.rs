//! What one core asks of others for a host.

use super::fencing::{PREEMPT_AND_ABORT, registered, reserve_out};
use super::peer::Peer;
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::limits::ABORTS_ELSEWHERE_OF_SESSION;
use crate::wire::TmFunction;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(2);
const REJECTED: u8 = 255;
const TASK_SET_FULL: u8 = 0x28;

/// The other core answers as soon as it has aborted a write, and its medium takes its time.
#[test]
fn what_a_session_asks_of_other_cores_is_bounded() {
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_secs(1))).on(OpClass::Write).times(1);
    let directory = tempfile::tempdir().unwrap();
    let (server, mut there, mut peer) = registered(FaultPlan::new().rule(slow), 2, directory.path());
    assert_eq!(server.world.registry.load(), [1, 1]);
    there.write(0, 0, 8, 1);
    there.ping();
    // All of it at once: the other core may answer within a quarter of a second.
    let (clears, one_more, preempt) = peer.together(|peer| {
        let clear = |_| peer.manage_as(false, TmFunction::CLEAR_TASK_SET, 0, u32::MAX);
        let clears = [0; ABORTS_ELSEWHERE_OF_SESSION].map(clear);
        let one_more = peer.manage(TmFunction::CLEAR_TASK_SET, 0, u32::MAX);
        (clears, one_more, reserve_out(peer, PREEMPT_AND_ABORT, 2, 1))
    });
    let response = |peer: &mut Peer, itt| peer.answer(itt, SOON).0.bhs[2];
    assert_eq!(response(&mut peer, one_more), REJECTED);
    assert_eq!(peer.end(preempt, SOON).status, TASK_SET_FULL);
    for itt in clears {
        assert_eq!(response(&mut peer, itt), 0);
    }
    assert_eq!(peer.managed(TmFunction::CLEAR_TASK_SET, 0, u32::MAX).0, 0);
}
