//! A process with whole cores in it: how it starts, is configured anew, and comes to its end.

mod limits;
mod lost;
mod removed;

use super::portals::Portals;
use super::threads_alive;
use crate::driver::tests::{lun, snapshot};
use crate::driver::{Told, run_core};
use crate::fabric::mesh::{Mesh, Message};
use crate::model::Snapshot;
use crate::world::World;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn connections_inherit_the_congestion_control_of_the_configuration() {
    // Every kernel has reno.
    let snapshot =
        |name: &str| Snapshot { congestion: Some(name.into()), ..snapshot(&["127.0.0.1:0".parse().unwrap()], vec![]) };
    let listeners = Portals::listen(&mut snapshot("reno")).unwrap().for_core().unwrap();
    let _client = std::net::TcpStream::connect(listeners[0].1.local_addr().unwrap()).unwrap();
    let (socket, _) = listeners[0].1.accept().unwrap();
    let mut name = [0u8; 16];
    let mut len = name.len() as libc::socklen_t;
    // SAFETY: the buffer has as many bytes as the call is told, and outlives it.
    #[allow(unsafe_code)]
    let failed = unsafe {
        let (fd, value) = (std::os::fd::AsRawFd::as_raw_fd(&socket), name.as_mut_ptr().cast());
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION, value, &raw mut len)
    };
    assert_eq!((failed, name.strip_prefix(b"reno\0").is_some()), (0, true), "{name:?}");
    let refused = Portals::listen(&mut snapshot("nonesuch")).map(drop).unwrap_err().to_string();
    assert!(refused.starts_with("congestion: cannot use 'nonesuch': No such file"), "{refused}");
}

/// When one ends by itself, nobody reads what it is told any more.
#[test]
fn a_core_that_ends_is_noticed_beside_others_that_run() {
    let place = "127.0.0.1:0".parse().unwrap();
    let (world, _keeper) = World::open(snapshot(&[place], vec![lun(0)]), 2).unwrap();
    let (world, mesh) = (Arc::new(world), Mesh::new(2).unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let threads = [0, 1].map(|core| {
            let (shared, tell) = ((Arc::clone(&world), mesh.clone()), tell.clone());
            scope.spawn(move || run_core(core, shared, vec![], Duration::ZERO, &tell))
        });
        for _ in 0..2 {
            assert!(matches!(told.recv(), Ok(Told::Started)));
        }
        assert!(threads_alive(&told));
        let [first, second] = threads;
        mesh.post(0, Message::Shutdown);
        first.join().unwrap().unwrap();
        let is_noticed = !threads_alive(&told);
        mesh.post(1, Message::Shutdown);
        second.join().unwrap().unwrap();
        assert!(is_noticed);
    });
}
