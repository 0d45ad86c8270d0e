//! What is kept for later, by many sessions together.

use super::driver::*;
use crate::limits::{KEPT_RESPONSE_BYTES, KEPT_RESPONSE_BYTES_BESIDE, LOST_CONNECTIONS, MAX_CONTROL_DATA_BYTES};
use crate::session::seam::CloseReason;
use crate::session::*;
use crate::shares::Store;
use crate::wire::*;

fn keeping(level: u8, store: &Store) -> Rig {
    let mut r = Rig::with(SessionKind::Normal, Params { error_recovery_level: level, ..params() }, 1);
    r.s.keep_in(store);
    r
}

/// Responses that are never acknowledged: more than one connection keeps.
fn answered(store: &Store) -> Rig {
    let mut r = keeping(1, store);
    for _ in 0..2 * KEPT_RESPONSE_BYTES / MAX_CONTROL_DATA_BYTES {
        let ping = r.nop();
        r.send(ping, &[3; MAX_CONTROL_DATA_BYTES]);
    }
    r
}

#[test]
fn responses_of_all_sessions_are_bounded_together() {
    const SESSIONS: usize = 64;
    const MOST: usize = 4 * KEPT_RESPONSE_BYTES;
    let store = Store::new(MOST);
    let sessions: Vec<Rig> = (0..SESSIONS).map(|_| answered(&store)).collect();
    let each = KEPT_RESPONSE_BYTES_BESIDE + MAX_CONTROL_DATA_BYTES;
    let used = store.used();
    assert!(used > MOST && used < MOST + KEPT_RESPONSE_BYTES + SESSIONS * each, "{used}");
    drop(sessions);
    assert_eq!(store.used(), 0);
}

#[test]
fn requests_that_are_held_are_bounded_together() {
    let store = Store::new(MAX_CONTROL_DATA_BYTES);
    let mut sessions = [(); 8].map(|()| keeping(0, &store));
    for r in &mut sessions {
        r.cmd_sn += 1;
        for _ in 0..4 {
            let ping = NopOut { immediate_delivery: false, ..r.nop() };
            r.cmd_sn += 1;
            r.send(ping, &[3; MAX_CONTROL_DATA_BYTES]);
        }
    }
    assert_eq!(store.used(), sessions.len() * MAX_CONTROL_DATA_BYTES);
    drop(sessions);
    assert_eq!(store.used(), 0);
}

#[test]
fn connections_that_are_gone_are_few_when_too_much_is_kept() {
    for (most, lost) in [(usize::MAX, LOST_CONNECTIONS), (0, 1)] {
        let store = Store::new(most);
        let mut r = keeping(2, &store);
        for cid in 0..20 {
            let init = ConnectionInit {
                cid: Cid(100 + cid),
                params: params(),
                stat_sn: StatSn(u32::MAX - 2),
                exp_cmd_sn: CmdSn(1),
            };
            let conn = r.s.add_connection(init, r.now_ms).unwrap();
            r.s.connection_lost(conn, CloseReason::Disconnected);
        }
        assert_eq!(r.s.lost.len(), lost);
    }
}
