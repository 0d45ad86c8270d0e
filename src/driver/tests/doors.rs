//! Who gets in, and what somebody else's login does to those who are in.

use super::peer::{Peer, good};
use super::{Server, TARGET, lun, snapshot};
use crate::backend::FaultPlan;
use crate::model::{Account, Credentials, Group, IscsiName, Limits, Secret, TargetSpec};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ONE: (&str, &str) = ("one", "the secret of one");
const TWO: (&str, &str) = ("two", "the secret of two");
const SOON: Duration = Duration::from_secs(1);
const CONFLICT: u8 = 0x18;

fn credentials((name, secret): (&str, &str)) -> Arc<Credentials> {
    let account = Account { name: name.into(), secret: Secret::new(secret.as_bytes().to_vec()) };
    Arc::new(Credentials { initiators: vec![account], ..Credentials::default() })
}

#[test]
fn discovery_asks_for_its_own_proof_whatever_it_names() {
    let (server, _) = Server::of(1, 1, [FaultPlan::new()], |places| {
        let mut snapshot = snapshot(places, vec![lun(0)]);
        snapshot.discovery = Some(credentials(ONE));
        snapshot.targets.push(TargetSpec {
            credentials: Some(credentials(TWO)),
            ..TargetSpec::new(IscsiName::new("iqn.2026-11.io.ringsan:kept").unwrap(), None, vec![])
        });
        snapshot
    });
    // Without a target, with an open one, with one that has an account of its own, with one that is not there.
    for name in ["", TARGET, "iqn.2026-11.io.ringsan:kept", "iqn.2026-11.io.ringsan:none"] {
        let target = if name.is_empty() { String::new() } else { format!("TargetName={name}\0") };
        let text = format!("InitiatorName=iqn.2001-04.com.example:host1\0SessionType=Discovery\0{target}");
        assert_eq!(Peer::connect(server.at).ask_in(1, 0, 0, &text), 0x0201, "naming '{name}'");
    }
    assert_eq!(Peer::connect(server.at).try_login(1, 0, 0, &[]), 0, "the open target is open");
}

/// A target with an initiator group for each of ONE and TWO. All names are in both.
fn two_groups() -> Server {
    let group = |user: (&str, &str)| Group {
        name: user.0.into(),
        proof: Group::proof_of(Some(user.0), &[]),
        initiators: vec![],
        networks: vec![],
        credentials: Some(credentials(user)),
        luns: None,
        limits: Limits::default(),
    };
    let (server, _) = Server::of(1, 1, [FaultPlan::new()], |places| {
        let mut snapshot = snapshot(places, vec![lun(0)]);
        snapshot.targets[0].groups = vec![group(ONE), group(TWO)];
        snapshot
    });
    server
}

/// Logs in as `host`, as `user`; the first unit attention is taken.
fn enter(server: &Server, host: u8, user: (&str, &str)) -> Peer {
    let mut peer = Peer::connect(server.at);
    assert_eq!(peer.try_chap(host, 0, 0, user), 0);
    let itt = peer.test_unit_ready(0);
    assert_eq!(peer.end(itt, SOON).sense, (6, 0x2900));
    peer
}

/// PERSISTENT RESERVE OUT; its status.
fn reserve_out(peer: &mut Peer, action: u8, kind: u8, key: u64, new_key: u64) -> u8 {
    let list = [&key.to_be_bytes()[..], &new_key.to_be_bytes(), &[0; 8]].concat();
    let itt = peer.command(0, &[0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], 0, &list);
    peer.end(itt, SOON).status
}

#[test]
fn an_initiator_port_is_that_of_who_proved_it() {
    let server = two_groups();
    let mut victim = enter(&server, 1, ONE);
    assert_eq!(reserve_out(&mut victim, 0, 0, 0, 7), 0);
    assert_eq!(reserve_out(&mut victim, 1, 1, 7, 0), 0);
    // The name and ISID of the first, with another group's account.
    let mut thief = enter(&server, 1, TWO);
    let itt = thief.write(0, 0, 1, 9);
    assert_eq!(thief.end(itt, SOON).status, CONFLICT, "the reservation is not its own");
    assert_eq!(reserve_out(&mut thief, 2, 1, 7, 0), CONFLICT, "nor is the registration");
    assert_ne!(Peer::connect(server.at).try_chap(1, victim.tsih, 1, TWO), 0, "nor is the session");
    let itt = victim.write(0, 0, 1, 8);
    assert_eq!(victim.end(itt, SOON), good(), "it lives, and has its reservation");
    // It replaces its own session, and keeps its reservation.
    let mut again = enter(&server, 1, ONE);
    assert!(victim.is_closed(SOON));
    let itt = again.write(0, 0, 1, 8);
    assert_eq!(again.end(itt, SOON), good());
    thief.ping();
}

#[test]
fn sessions_that_lost_their_connections_are_few() {
    let server = Server::new(1, FaultPlan::new());
    let mut watcher = Peer::login(server.at, 1, &[]);
    let keys = ["ErrorRecoveryLevel=2", "DefaultTime2Wait=3600", "DefaultTime2Retain=3600"];
    // Of one initiator that logs out for recovery, of one that goes, then of many at one address.
    for (round, most) in [8, 8, 64].into_iter().enumerate() {
        for number in 2..=150 {
            let mut peer = Peer::connect(server.at);
            peer.isid = Some(number);
            assert_eq!(peer.try_login(if round == 2 { number } else { 2 }, 0, 0, &keys), 0);
            if round == 0 {
                assert_eq!(peer.logout(2, 0), 0);
            }
        }
        let end = Instant::now() + SOON;
        while server.world.registry.load()[0] > most + 1 {
            assert!(Instant::now() < end, "{} sessions are kept", server.world.registry.load()[0]);
            watcher.ping();
        }
    }
}

#[test]
fn proofs_that_fail_take_their_time_and_nobody_elses() {
    let server = Server::guarded(1, &[ONE]);
    let mut other = Peer::connect(server.at);
    let wrong = (ONE.0, "another secret");
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let mut peer = Peer::connect(server.at);
        let begin = Instant::now();
        assert_eq!(peer.try_chap(1, 0, 0, wrong), 0x0201);
        longest = longest.max(begin.elapsed());
    }
    assert!(longest > Duration::from_millis(500), "{longest:?}");
    let begin = Instant::now();
    assert_eq!(other.try_chap(2, 0, 0, ONE), 0);
    assert!(begin.elapsed() < longest / 2, "who proves it is let in at once");
}

#[test]
fn who_hangs_up_on_a_wrong_proof_guesses_no_faster() {
    let server = Server::guarded(1, &[ONE]);
    let begin = Instant::now();
    (0..3).for_each(|_| Peer::connect(server.at).offer_proof(1, 0, 0, (ONE.0, "another secret")));
    // Silence says nothing: the right one meets it, too.
    assert_eq!(Peer::connect(server.at).try_chap(1, 0, 0, ONE), 0);
    assert!(begin.elapsed() >= Duration::from_millis(1000), "{:?}", begin.elapsed());
}
