//! Handles of sessions, as initiators get and use them.

use super::Server;
use super::peer::Peer;
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use std::time::{Duration, Instant};

#[test]
fn item_11_the_final_login_response_has_the_handle_that_joins() {
    //= RFC 7143 section 6.3.2
    //# If the next stage is FullFeaturePhase, the target MUST reply with a
    //# Login Response with the TSIH value.
    //
    //= RFC 7143 section 4.4.3
    //# After being selected, the same TSIH value MUST be used whenever the
    //# initiator or target refers to the session and a TSIH is required.
    let keys = ["MaxConnections=4"];
    let server = Server::new(2, FaultPlan::new());
    let mut first = Peer::login(server.at, 1, &keys);
    let other = Peer::login(server.at, 2, &keys);
    assert!(first.tsih != 0 && other.tsih != 0 && first.tsih != other.tsih);
    let mut second = first.join(server.at, 1, 1, &keys);
    assert_eq!(second.tsih, first.tsih, "one session, one handle");
    second.ping();
    let mut stray = Peer::connect(server.at);
    assert_eq!(stray.try_login(1, other.tsih, 2, &keys), 0x020a, "the session of another initiator");
}

/// Waits until there are so many sessions, or handles for them.
fn until(server: &Server, sessions: usize, what: &str) {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let found = server.world.registry.sessions();
        if found == sessions {
            return;
        }
        assert!(Instant::now() < end, "{what}: {found} handles");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn whoever_goes_gives_its_handle_back() {
    const KEYS: [&str; 1] = ["MaxConnections=4"];
    for cores in [1, 2] {
        let slow = FaultRule::new(FaultAction::Delay(Duration::from_millis(200))).on(OpClass::Write);
        let mut server = Server::new(cores, FaultPlan::new().rule(slow));
        let mut watcher = Peer::login(server.at, 1, &KEYS);
        for round in 0..8 {
            // One is there, and busy: who is to replace it has to wait.
            let mut old = loop {
                let mut peer = Peer::connect(server.at);
                match peer.try_login(2, 0, 0, &[]) {
                    0 => break peer.ready(),
                    // One of those that are offered below has come behind it.
                    status => assert_eq!(status, 0x0301),
                }
            };
            old.write(0, 0, 8, round);
            old.ping();
            (0..8).for_each(|_| Peer::connect(server.at).offer_login(2, 0, 0));
        }
        until(&server, 1, "sessions that were to be reinstated");
        (0..40).for_each(|cid| Peer::connect(server.at).offer_login(1, watcher.tsih, 1 + cid % 4));
        (0..40).for_each(|_| Peer::connect(server.at).offer_login(3, watcher.tsih, 0));
        (4..40).for_each(|host| Peer::connect(server.at).offer_login(host, 0, 0));
        until(&server, 1, "joins, and logins that were never answered");
        // Of hosts that have offered nothing: what was offered may come this late, and would replace these.
        let lost = ["ErrorRecoveryLevel=2", "DefaultTime2Wait=0", "DefaultTime2Retain=3"];
        (50..56).for_each(|host| drop(Peer::login(server.at, host, &lost)));
        until(&server, 7, "connections that are lost");
        until(&server, 1, "sessions that nobody came back to");
        assert_eq!(watcher.logout(0, 0), 0);
        until(&server, 0, "logouts");
        server.end();
    }
}

#[test]
fn of_two_logins_at_once_the_one_that_is_replaced_does_not_stay() {
    let server = Server::new(2, FaultPlan::new());
    let mut all = Vec::new();
    for host in 1..=250 {
        let mut both = [Peer::connect(server.at), Peer::connect(server.at)];
        let begin = Instant::now();
        both.iter_mut().for_each(|peer| peer.begin_login(host, &["ErrorRecoveryLevel=2"]));
        // One that was let in and replaced at once has perhaps no answer.
        let statuses = both.each_mut().map(|peer| {
            let answer = peer.try_next(Duration::from_secs(2))?;
            Some(u16::from_be_bytes([answer.bhs[36], answer.bhs[37]]))
        });
        // Nobody waits for a session that nobody ends.
        assert!(begin.elapsed() < Duration::from_millis(700), "{statuses:x?} after {:?}", begin.elapsed());
        assert!(statuses.contains(&Some(0)), "{statuses:x?}");
        all.push(both);
        until(&server, usize::from(host), "one session for each");
    }
}
