//! Connections that come to a core, and go.

use crate::fabric::mesh::Mesh;
use crate::limits::{CONNECTIONS_FOR_OTHERS, CONNECTIONS_PER_ADDRESS, CONNECTIONS_PER_CORE};
use crate::model::snapshot::tests::{lun, snapshot};
use crate::session::seam::CloseReason;
use crate::shard::Core;
use crate::transport::io::Socket;
use crate::transport::link::Phase;
use crate::world::World;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

/// A host with a /64 of IPv6 has more connections than a core takes, as the bounds are unless configured, though none of its
/// addresses has too many.
#[test]
fn the_last_places_of_a_core_are_for_other_hosts() {
    const OWN: usize = CONNECTIONS_PER_CORE - CONNECTIONS_FOR_OTHERS;
    let descriptors = format!("--nofile={}:", CONNECTIONS_PER_CORE + 512);
    let raised = Command::new("prlimit").args([descriptors, format!("--pid={}", std::process::id())]).status();
    assert!(raised.unwrap().success(), "so many descriptors are not to be had here");
    let (world, _keeper) = World::open(snapshot(&[], vec![lun(0)]), 1).unwrap();
    let mut core = Core::on_ring(0, (Arc::new(world), Mesh::new(1).unwrap())).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let socket = TcpStream::connect(at).unwrap();
    let mut enter = |peer: &str| {
        let conn = core.accepted(Socket::Tcp(socket.try_clone().unwrap().into()), peer.parse().unwrap(), at)?;
        // Those that log in have a bound of their own.
        core.fabric.links.get_mut(conn).unwrap().phase = Phase::Leaving;
        Some(conn)
    };
    let own = |n: usize| format!("[2001:db8::{:x}]:1", n / (CONNECTIONS_PER_ADDRESS / 2));
    assert!((0..OWN).all(|n| enter(&own(n)).is_some()));
    assert_eq!(enter(&own(OWN)), None, "of that host");
    assert_eq!(enter("[2001:db8::ffff]:1"), None, "whatever its address");
    assert!((0..CONNECTIONS_FOR_OTHERS).all(|_| enter("[2001:db8:0:1::1]:1").is_some()));
    assert_eq!(enter("192.0.2.1:1"), None, "all are taken");
}

/// Bytes of the old one that wait for their turn would be taken for a login of the new one; what a session that moves in
/// brings along would be forgotten with the old one.
#[test]
fn the_number_of_a_connection_is_given_again_when_what_it_received_is_forgotten() {
    let (world, _keeper) = World::open(snapshot(&[], vec![lun(0)]), 1).unwrap();
    let mut core = Core::on_ring(0, (Arc::new(world), Mesh::new(1).unwrap())).unwrap();
    let core = &mut core;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let enter = || Socket::Tcp(TcpStream::connect(at).unwrap().into());
    let first = core.accepted(enter(), at, at).unwrap();
    core.close(first, CloseReason::Disconnected);
    assert_eq!(core.fabric.links.gone, [first]);
    assert_ne!(core.accepted(enter(), at, at), Some(first), "before");
    core.fabric.links.gone.clear();
    assert_eq!(core.accepted(enter(), at, at), Some(first), "after");
}
