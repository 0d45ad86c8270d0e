//! A core's listeners.

use crate::driver::*;
use crate::noise::tests::said;

fn driver(listeners: Vec<TcpListener>) -> Driver {
    let (world, _keeper) = World::open(crate::model::Snapshot::default(), 1).unwrap();
    let core = Core::on_ring(0, (Arc::new(world), Mesh::new(1).unwrap())).unwrap();
    Driver::new(core, listeners.into_iter().enumerate().collect(), Duration::ZERO)
}

#[test]
fn a_turn_accepts_a_few_connections_of_each_portal() {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let mut driver = driver(vec![listener]);
    let clients = [(); 3 * ACCEPTS].map(|()| std::net::TcpStream::connect(at).unwrap());
    driver.listen();
    let mut completions = Vec::new();
    while driver.core.fabric.stats.accepted < clients.len() as u64 {
        driver.core.fabric.io.enter(Wait::AtMost(Duration::from_millis(10))).unwrap();
        driver.core.fabric.io.drain(&mut completions);
        assert!(completions.len() <= ACCEPTS, "{} in one turn", completions.len());
        completions.drain(..).for_each(|completion| driver.completed(completion));
    }
}

/// What has come by then stays, and another one that comes is not taken for it.
#[test]
fn listeners_come_and_go() {
    use std::net::{Ipv4Addr, TcpStream};
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut driver = driver(vec![bind()]);
    let first = driver.listeners[0].socket.local_addr().unwrap();
    driver.listen();
    let mut completions = Vec::new();
    let mut turn = |driver: &mut Driver| {
        driver.look_after_listeners(Instant::now());
        driver.core.fabric.io.enter(Wait::AtMost(Duration::from_millis(10))).unwrap();
        driver.core.fabric.io.drain(&mut completions);
        completions.drain(..).for_each(|completion| driver.completed(completion));
    };
    let accept = |driver: &mut Driver, turn: &mut dyn FnMut(&mut Driver), at: SocketAddr| {
        let before = driver.core.fabric.stats.accepted;
        let client = TcpStream::connect(at).unwrap();
        for _ in 0..200 {
            if driver.core.fabric.stats.accepted == before {
                turn(driver);
            }
        }
        assert_eq!(driver.core.fabric.stats.accepted, before + 1);
        client
    };
    let _client = accept(&mut driver, &mut turn, first);
    let socket = bind();
    let second = socket.local_addr().unwrap();
    driver.core.fabric.listening.push((1, Some(socket.try_clone().unwrap().into())));
    let _other = accept(&mut driver, &mut turn, second);
    let gone = driver.listeners[0].socket.try_clone().unwrap();
    driver.core.fabric.listening.push((0, None));
    rustix::net::shutdown(&gone, rustix::net::Shutdown::Both).unwrap();
    for _ in 0..200 {
        if driver.listeners.len() > 1 {
            turn(&mut driver);
        }
    }
    let left: Vec<_> = driver.listeners.iter().map(|of| (of.number, of.armed)).collect();
    assert_eq!(left, [(1, ACCEPTS)]);
    drop(gone);
    assert!(TcpStream::connect(first).is_err(), "nobody listens there");
    let _third = accept(&mut driver, &mut turn, second);
}

#[test]
fn a_shortage_is_said_once_until_it_is_over() {
    let mut driver = driver(Vec::new());
    let rest = |driver: &mut Driver| said(|| driver.rest(0, -libc::EMFILE)).len();
    assert_eq!([(); 5].map(|()| rest(&mut driver)), [1, 0, 0, 0, 0]);
    driver.short = driver.short.and_then(|last| last.checked_sub(SHORTAGE_OVER));
    assert_eq!([(); 2].map(|()| rest(&mut driver)), [1, 0], "another one");
    // What peers have made of the log leaves no room for it: it is said when there is some.
    driver.short = driver.short.and_then(|last| last.checked_sub(SHORTAGE_OVER));
    while driver.core.fabric.noise.line(driver.core.fabric.now_ms).is_some() {}
    assert_eq!(rest(&mut driver), 0);
    driver.core.fabric.now_ms += 1000;
    assert_eq!([(); 2].map(|()| rest(&mut driver)), [1, 0]);
}
