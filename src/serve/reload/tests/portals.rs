//! Portals that come and go.

use super::*;
use crate::mgmt::view::Applied;
use crate::serve::portals::Portals;
use std::net::{SocketAddr, TcpListener, TcpStream};

fn portal(listen: SocketAddr, group_tag: u16) -> Portal {
    Portal { listen, advertise: None, group_tag }
}

/// Any port.
fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A port that nobody listens on.
fn free() -> SocketAddr {
    TcpListener::bind(any()).and_then(|listener| listener.local_addr()).unwrap()
}

/// A bench that listens on one port of the system's choice, and that.
fn bench() -> (Bench, SocketAddr) {
    let mut bench = Bench::new(|folder| vec![file(folder, 0, "a", MIB)]);
    let mut wanted = Snapshot { portals: vec![portal(any(), 1)], ..Snapshot::default() };
    bench.reloader.listens_on(Portals::listen(&mut wanted).unwrap());
    let applied = serve(&mut bench, vec![portal(any(), 1)], true).unwrap();
    assert!(applied.done.iter().all(|line| line.starts_with("portal ")), "{applied:?}");
    let at = wanted.portals[0].listen;
    assert_eq!((listens(&bench), bench.listening.len()), (vec![at], 0));
    (bench, at)
}

fn serve(bench: &mut Bench, portals: Vec<Portal>, degrades: bool) -> Result<Applied, Vec<String>> {
    let targets = vec![target("a", vec![bench.file(0, "a", MIB)])];
    let applied = bench.reloader.serve_instead(Snapshot { portals, degrades, ..snapshot(targets) });
    bench.turn();
    applied
}

fn listens(bench: &Bench) -> Vec<SocketAddr> {
    bench.core.directory.snapshot().portals.iter().map(|portal| portal.listen).collect()
}

#[test]
fn portals_come_go_and_are_never_taken_for_one_another() {
    let (mut bench, first) = bench();
    let second = free();
    let applied = serve(&mut bench, vec![portal(any(), 1), portal(second, 2)], false).unwrap();
    assert_eq!(applied.done, [format!("portal {second} added")]);
    assert_eq!((listens(&bench), mem::take(&mut bench.listening)), (vec![first, second], vec![(1, true)]));
    TcpStream::connect(second).unwrap();
    // Another group or another address to be told is no other listener.
    let told = Portal { advertise: Some(first), ..portal(second, 3) };
    let applied = serve(&mut bench, vec![portal(any(), 1), told], false).unwrap();
    assert_eq!(applied.done, [format!("portal {second} changed: advertise, group")]);
    assert!(bench.listening.is_empty());
    let applied = serve(&mut bench, vec![portal(second, 3)], false).unwrap();
    assert!(applied.done.contains(&format!("portal {first} removed")), "{applied:?}");
    assert_eq!((listens(&bench), mem::take(&mut bench.listening)), (vec![second], vec![(0, false)]));
    assert!(TcpStream::connect(first).is_err(), "nobody listens there");
    serve(&mut bench, vec![portal(second, 3), portal(first, 1)], false).unwrap();
    assert_eq!((listens(&bench), mem::take(&mut bench.listening)), (vec![second, first], vec![(2, true)]));
}

#[test]
fn an_address_that_cannot_be_had_is_tried_again() {
    let (mut bench, first) = bench();
    let taken = TcpListener::bind(any()).unwrap();
    let second = taken.local_addr().unwrap();
    let wanted = || vec![portal(first, 1), portal(second, 2)];
    let generation = bench.core.generation;
    assert!(
        serve(&mut bench, wanted(), false)
            .is_err_and(|faults| faults[0].contains(&format!("cannot listen on {second}")))
    );
    assert_eq!(bench.core.generation, generation, "all or nothing");
    let applied = serve(&mut bench, wanted(), true).unwrap();
    assert!(applied.degraded[0].contains(&format!("cannot listen on {second}")), "{applied:?}");
    assert_eq!((listens(&bench), bench.listening.len()), (vec![first], 0));
    assert!(bench.reloader.rest().is_some());
    bench.try_again();
    assert_eq!(bench.reloader.world.missing.lock().portals.len(), 1);
    // A change of something else is not refused for it.
    let targets = vec![target("a", vec![bench.file(0, "a", MIB), bench.file(1, "b", MIB)])];
    let change = Snapshot { portals: wanted(), degrades: true, ..snapshot(targets) };
    assert_eq!(bench.reloader.serve_changed(change).unwrap().degraded.len(), 1);
    drop(taken);
    bench.try_again();
    assert_eq!((listens(&bench), mem::take(&mut bench.listening)), (vec![first, second], vec![(1, true)]));
    assert!(bench.reloader.world.missing.lock().is_empty() && bench.reloader.rest().is_none());
    assert_eq!(bench.luns(0), [0, 1]);
}

/// All addresses in the place of one: the port is to be given up first.
#[test]
fn a_port_goes_from_one_portal_to_another() {
    let (mut bench, first) = bench();
    let all = SocketAddr::from(([0, 0, 0, 0], first.port()));
    for degrades in [false, true] {
        let to = if degrades { first } else { all };
        serve(&mut bench, vec![portal(to, 1)], degrades).unwrap();
        bench.reloader.look();
        bench.turn();
        assert_eq!(listens(&bench), [to]);
        TcpStream::connect(first).unwrap();
    }
    assert!(bench.reloader.world.missing.lock().is_empty());
}
