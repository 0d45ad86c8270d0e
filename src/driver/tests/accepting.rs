//! A core's listeners.

use crate::driver::*;
use crate::noise::tests::said;

fn driver(listeners: Vec<TcpListener>) -> Driver {
    let (world, _keeper) = World::open(crate::model::Snapshot::default(), 1).unwrap();
    let core = Core::on_ring(0, (Arc::new(world), Mesh::new(1).unwrap())).unwrap();
    Driver::new(core, listeners, Duration::ZERO)
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
