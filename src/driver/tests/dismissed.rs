//! Sessions that are dropped from outside.

use super::Server;
use super::peer::{End, Peer, good};
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::fabric::mesh::Message;
use crate::fabric::report::Dismissal;
use crate::wire::Tsih;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(2);

fn dismiss(server: &Server, tsih: u16) -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    let answer = Box::new(move |was_here| tell.send(was_here).unwrap());
    server.mesh.post(0, Message::Drop(Dismissal { tsih: Tsih(tsih), answer }));
    told.recv_timeout(SOON).unwrap()
}

/// What it had begun is done or not, as after a lost connection; nothing of it is left, and nobody else notices.
#[test]
fn a_session_that_is_dropped_lets_go_of_what_it_had_begun() {
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_millis(300))).on(OpClass::Write).times(1);
    let mut server = Server::new(1, FaultPlan::new().rule(slow));
    let (mut old, mut other) = (Peer::login(server.at, 1, &[]).ready(), Peer::login(server.at, 2, &[]).ready());
    old.write(0, 0, 8, 1);
    old.ping();
    assert!(dismiss(&server, old.tsih));
    assert!(old.is_closed(SOON));
    assert!(!dismiss(&server, old.tsih), "it is gone");
    other.ping();
    let write = other.write(0, 0, 8, 2);
    assert_eq!(other.end(write, SOON), good());
    let read = other.read(0, 0, 8);
    assert_eq!(other.end(read, SOON), End { data: vec![2; 4096], ..good() }, "nothing comes behind it");
    drop(other);
    for (_, free_bytes) in server.end() {
        assert_eq!(free_bytes, crate::limits::ARENA_BYTES);
    }
}
