//! What a login opens at a server that is running: discovery at every portal, and digests.

use super::peer::{Peer, good};
use super::{Server, TARGET, lun};
use crate::backend::FaultPlan;
use crate::wire::TmFunction;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(1);

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
    const ONE: (&str, &str) = ("one", "the secret of one");
    const TWO: (&str, &str) = ("two", "the secret of two");
    let server = Server::guarded(&[ONE, TWO]);
    let mut peer = Peer::connect(server.at);
    assert_eq!(peer.try_chap(1, 0, 0, ONE), 0);
    let joins = |login: &mut dyn FnMut(&mut Peer) -> u16| login(&mut Peer::connect(server.at));
    assert_eq!(joins(&mut |new| new.try_chap(1, peer.tsih, 1, TWO)), 0x0201, "another user");
    assert_ne!(joins(&mut |new| new.try_login(1, peer.tsih, 1, &[])), 0, "nobody");
    assert_ne!(joins(&mut |new| new.try_chap(2, peer.tsih, 1, ONE)), 0, "another name");
    assert_eq!(joins(&mut |new| new.try_chap(1, peer.tsih, 1, ONE)), 0, "the same");
    peer.ping();
}
