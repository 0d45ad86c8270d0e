//! Handles of sessions, as initiators get and use them.

use super::Server;
use super::peer::Peer;
use crate::backend::FaultPlan;

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
