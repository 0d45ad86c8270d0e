//! What a login opens at a server that is running: discovery at every portal, and digests.

use super::peer::{Peer, good};
use super::{Server, TARGET, credentials, lun, snapshot};
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::model::{Group, IscsiName, Limits, Snapshot};
use crate::wire::{Opcode, TmFunction, Tsih};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(1);
const ONE: (&str, &str) = ("one", "the secret of one");
const TWO: (&str, &str) = ("two", "the secret of two");
/// What the initiator is told: class and detail.
const NO_SUCH_SESSION: u16 = 0x020A;
const FAULTY: u16 = 0x0200;
const FORBIDDEN: u16 = 0x0202;
const NOT_FOUND: u16 = 0x0203;
const REMOVED: u16 = 0x0204;

#[test]
fn what_others_let_in_is_refused_where_that_is_wanted() {
    for (strict, status) in [(false, 0), (true, FAULTY)] {
        let server = Server::of(1, 1, [], |places| Snapshot { strict, ..snapshot(places, vec![]) }).0;
        assert_eq!(Peer::connect(server.at).try_login(1, 0, 0, &["AuthMethod=None"]), status);
    }
}

#[test]
fn item_29_discovery_at_every_portal() {
    //= RFC 7143 appendix C
    //# A system that contains targets MUST support Discovery sessions on
    //# each of its iSCSI IP address-port pairs and MUST support the
    //# SendTargets command on the Discovery session.
    let (_server, portals) = Server::with_portals(3, 1, FaultPlan::new(), vec![lun(0)]);
    let mut record = vec![format!("TargetName={TARGET}")];
    record.extend(portals.iter().zip(1..).map(|(at, tag)| format!("TargetAddress={at},{tag}")));
    for (portal, host) in portals.iter().zip(1..) {
        for value in ["All", TARGET] {
            assert_eq!(Peer::discover(*portal, host, value), record);
        }
    }
}

#[test]
fn an_agreed_digest_is_in_every_pdu() {
    //= RFC 7143 section 13.1
    //# When the initiator and target agree on a digest, this digest MUST be
    //# used for every PDU in the Full Feature Phase.
    let server = Server::new(1, FaultPlan::new());
    let value = |on| if on { "CRC32C" } else { "None" };
    for (header, data) in [(true, true), (true, false), (false, true)] {
        let keys = [format!("HeaderDigest={}", value(header)), format!("DataDigest={}", value(data))];
        let mut peer = Peer::login(server.at, 1, &[&keys[0], &keys[1]]);
        peer.digests = (header, data);
        // Sense data, then no data, both ways.
        let mut peer = peer.ready();
        let itt = peer.write(0, 0, 9, 7);
        assert_eq!(peer.end(itt, SOON), good());
        let itt = peer.read(0, 0, 9);
        assert_eq!(peer.end(itt, SOON).data, [7; 9 * 512]);
        peer.ping();
        assert_eq!(peer.managed(TmFunction::LOGICAL_UNIT_RESET, 1, u32::MAX).0, 0);
        assert_eq!(peer.logout(0, 0), 0);
        // What comes without it is no PDU.
        let mut peer = Peer::login(server.at, 1, &[&keys[0], &keys[1]]);
        for _ in 0..2 {
            peer.write(0, 0, 1, 8);
        }
        peer.digests = (header, data);
        let answer = peer.try_next(SOON);
        assert!(answer.is_none_or(|pdu| !header && pdu.opcode == crate::wire::Opcode::REJECT));
    }
}

#[test]
fn item_02_all_connections_of_a_session_are_those_of_one_user() {
    //= RFC 7143 section 9.2
    //# Therefore, all
    //# connections in an iSCSI session SHOULD use the same authentication
    //# method, iSCSI name, and authentication identity (for authentication
    //# methods that use an authentication identity).
    //= RFC 7143 section 9.2
    //# Implementations SHOULD
    //# check this and cause an authentication failure on a new connection
    //# that uses a different authentication method, iSCSI name, or
    //# authentication identity from those already used in the session.
    //= RFC 7143 section 9.2
    //# In addition, implementations SHOULD NOT support both authenticated and
    //# unauthenticated TCP connections in the same iSCSI session, added
    //# either concurrently or sequentially to the session.
    let server = Server::guarded(1, &[ONE, TWO]);
    let mut peer = Peer::connect(server.at);
    assert_eq!(peer.try_chap(1, 0, 0, ONE), 0);
    let joins = |login: &mut dyn FnMut(&mut Peer) -> u16| login(&mut Peer::connect(server.at));
    assert_eq!(joins(&mut |new| new.try_chap(1, peer.tsih, 1, TWO)), 0x0201, "another user");
    assert_ne!(joins(&mut |new| new.try_login(1, peer.tsih, 1, &[])), 0, "nobody");
    assert_ne!(joins(&mut |new| new.try_chap(2, peer.tsih, 1, ONE)), 0, "another name");
    assert_eq!(joins(&mut |new| new.try_chap(1, peer.tsih, 1, ONE)), 0, "the same");
    peer.ping();
}

#[test]
fn a_login_that_ends_after_a_reload_gets_what_one_would_that_begins_then() {
    let normal = format!("TargetName={TARGET}\0");
    let of_target = format!("{normal}SessionType=Discovery\0");
    type Reload = fn(&mut Snapshot);
    let changes: [(&str, u16, Reload); 7] = [
        (&normal, FORBIDDEN, |new| new.targets[0].credentials = credentials(&[ONE])),
        (&normal, FORBIDDEN, |new| new.targets[0].groups_only = true),
        (&normal, NOT_FOUND, |new| new.targets[0].portal_groups = vec![7]),
        (&normal, REMOVED, |new| new.targets[0].name = IscsiName::new("iqn.2026-11.io.ringsan:other").unwrap()),
        (&of_target, FORBIDDEN, |new| new.discovery = credentials(&[ONE])),
        ("SessionType=Discovery\0", FORBIDDEN, |new| new.discovery = credentials(&[ONE])),
        ("SessionType=Discovery\0", 0, |new| new.targets[0].groups_only = true),
    ];
    for (number, (text, status, change)) in changes.into_iter().enumerate() {
        let server = Server::new(1, FaultPlan::new());
        let mut peer = Peer::connect(server.at);
        peer.begin(1, 0, 0, text);
        server.reconfigure(0, change);
        assert_eq!(peer.ask_in(1, 0, 0, ""), status, "change {number}");
    }
}

/// Those of a session that is there, too, whichever core they were on.
#[test]
fn an_account_that_is_removed_under_a_login_lets_nobody_in() {
    let server = Server::guarded(2, &[ONE, TWO]);
    let mut there = Peer::connect(server.at);
    assert_eq!(there.try_chap(1, 0, 0, ONE), 0);
    let mut joining: Vec<(u16, Peer)> = (1..8).map(|cid| (cid, Peer::connect(server.at))).collect();
    for (cid, peer) in &mut joining {
        assert_eq!(peer.prove(1, there.tsih, *cid, ONE), 0);
    }
    // A session that would take the place of the one that is there.
    let mut again = Peer::connect(server.at);
    assert_eq!(again.prove(1, 0, 0, ONE), 0);
    // The other core has not heard of it yet, and hands over whom it has let in.
    let (home, _) = server.world.registry.whereabouts(Tsih(there.tsih)).unwrap();
    let change = |new: &mut Snapshot| new.targets[0].credentials = credentials(&[TWO]);
    server.reconfigure(home, change);
    for (cid, peer) in &mut joining {
        let status = peer.ask_in(1, there.tsih, *cid, "");
        // For a core that has not heard of it, the session that it joins is only not there any more.
        assert!([FORBIDDEN, NO_SUCH_SESSION].contains(&status), "{status:#x}");
    }
    assert!(there.is_closed(SOON), "nor does who is in stay");
    // Where there is none to take the place of any more, it has one of its own, until that core hears of it, too.
    let status = again.ask_in(1, 0, 0, "");
    assert!([FORBIDDEN, 0].contains(&status), "{status:#x}");
    server.reconfigure(1 - home, change);
    assert!(again.is_closed(SOON));
}

#[test]
fn a_login_that_waits_for_the_session_it_replaces_is_asked_again_when_that_is_gone() {
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_millis(1500))).on(OpClass::Write).times(1);
    let server = Server::new(1, FaultPlan::new().rule(slow));
    let mut old = Peer::login(server.at, 1, &[]).ready();
    old.write(0, 0, 8, 1);
    old.ping();
    let at = server.at;
    let new = std::thread::spawn(move || Peer::connect(at).try_login(1, 0, 0, &[]));
    while server.world.registry.load() != [2] {
        std::thread::sleep(Duration::from_millis(1));
    }
    server.reconfigure(0, |new| new.targets[0].groups_only = true);
    assert_eq!(new.join().unwrap(), FORBIDDEN);
}

#[test]
fn a_session_whose_target_has_made_room_for_another_ends() {
    let server = Server::new(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    server.reconfigure(0, |new| new.targets[0].name = IscsiName::new("iqn.2026-11.io.ringsan:other").unwrap());
    assert!(peer.is_closed(SOON));
}

#[test]
fn a_discovery_session_of_a_target_that_is_removed_ends() {
    let goes_on =
        |peer: &mut Peer| assert_eq!(peer.text(0x80, None, "SendTargets=All\0").opcode, Opcode::TEXT_RESPONSE);
    for is_removed in [false, true] {
        let server = Server::new(1, FaultPlan::new());
        let of_target = format!("TargetName={TARGET}\0");
        let [mut named, mut general] = [(1, of_target.as_str()), (2, "")].map(|(host, target)| {
            let mut peer = Peer::connect(server.at);
            let text = format!("InitiatorName=iqn.2001-04.com.example:host{host}\0SessionType=Discovery\0{target}");
            assert_eq!(peer.ask_in(host, 0, 0, &text), 0);
            peer
        });
        server.reconfigure(0, |new| {
            new.targets[0].groups_only = true;
            if is_removed {
                new.targets[0].name = IscsiName::new("iqn.2026-11.io.ringsan:other").unwrap();
            }
        });
        goes_on(&mut general);
        if is_removed {
            assert!(named.is_closed(SOON));
        } else {
            goes_on(&mut named);
        }
    }
}

#[test]
fn a_negotiation_ends_with_a_polite_logout_of_its_connection() {
    let server = Server::new(1, FaultPlan::new());
    let keys = ["MaxConnections=2"];
    let mut peer = Peer::login(server.at, 1, &keys);
    let mut second = peer.join(server.at, 1, 1, &keys);
    let begun = second.text(0x40, None, "InitiatorAlias=");
    assert_eq!(begun.opcode, Opcode::TEXT_RESPONSE);
    let tags = (begun.itt(), begun.word(20));
    assert_eq!(second.logout(1, 1), 0);
    assert!(second.is_closed(SOON));
    let mut third = peer.join(server.at, 1, 2, &keys);
    assert_eq!(third.text(0x80, Some(tags), "x\0").opcode, Opcode::REJECT);
}

/// What its port shows is another port's then: a login that is to replace its session would not find it.
#[test]
fn a_session_whose_port_shows_something_else_from_a_reload_on_is_ended() {
    let server = Server::new(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    // For others; but who is in none of the groups shows that, where there are some.
    let group = Group {
        name: "db".into(),
        proof: Group::proof_of(Some("db"), &[]),
        initiators: vec!["iqn.2001-04.com.example:host9".parse().unwrap()],
        networks: vec![],
        credentials: None,
        luns: None,
        limits: Limits::default(),
    };
    server.reconfigure(0, |new| new.targets[0].groups = vec![group]);
    assert!(peer.is_closed(SOON));
    let mut again = Peer::login(server.at, 1, &[]).ready();
    again.ping();
    assert_eq!(server.world.registry.sessions(), 1);
}
