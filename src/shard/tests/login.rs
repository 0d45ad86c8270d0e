//! Logins at a server that is running: what the answers carry, which of them end the connection, and what holds from then
//! on.

use super::peer::{Peer, good};
use super::{Server, TARGET, lun};
use crate::backend::FaultPlan;
use crate::sim::tcp::Tcp;
use crate::sim::trace::Trace;
use crate::wire::TmFunction;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(1);

/// A script's side; the server has had the time to begin, and one session, whose TSIH was 1.
fn trace(server: &Server) -> Trace<Tcp> {
    let mut first = Peer::login(server.at, 9, &[]);
    assert_eq!((first.tsih, first.logout(0, 0)), (1, 0));
    Trace::new(Tcp::new(server.at))
}

#[test]
fn item_11_the_session_handle_comes_with_the_last_response() {
    //= RFC 7143 section 11.13.3
    //# For a new session, the target MUST
    //# generate a non-zero TSIH and ONLY return it in the Login
    //# Final-Response (see Section 6.3).
    let server = Server::new(1, FaultPlan::new());
    trace(&server).play(&format!(
        "open 0
         > 0 Login I T=0 csg=0 isid=1 text=InitiatorName=iqn.2001-04.com.example:host,TargetName={TARGET}
         < 0 Login-Response status=0 !T tsih=0
         > 0 Login I T csg=0 nsg=1 isid=1
         < 0 Login-Response status=0 T tsih=0
         > 0 Login I T=0 csg=1 isid=1
         < 0 Login-Response status=0 !T tsih=0
         > 0 Login I T csg=1 nsg=3 isid=1
         < 0 Login-Response status=0 T tsih=2"
    ));
}

#[test]
fn item_09_a_login_that_fails_ends_the_connection() {
    //= RFC 7143 section 11.13.5
    //# If the Status-Class is not 0, the initiator and target MUST close the
    //# TCP connection.
    let server = Server::new(1, FaultPlan::new());
    let mut trace = trace(&server);
    let name = "InitiatorName=iqn.2001-04.com.example:host";
    for (text, status) in [
        (format!("{name},TargetName=iqn.2001-04.com.example:none"), "0x0203"),
        (format!("{name},TargetName={TARGET},MaxConnections=0"), "0x0200"),
        (format!("TargetName={TARGET}"), "0x0207"),
    ] {
        trace.play(&format!(
            "open 0
             > 0 Login I T csg=1 nsg=3 isid=1 text={text}
             < 0 Login-Response status={status}
             < nothing
             closed 0"
        ));
    }
    // Also one that is refused when it is to be placed.
    trace.play("login 0 tsih=77 status=0x020a\n< nothing\nclosed 0");
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
