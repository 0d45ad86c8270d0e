//! The engine against the floor server, over real sockets.

use ringsan_perf::engine::Engine;
use ringsan_perf::floor::FloorClient;
use ringsan_perf::floor_server::{FloorServer, Writes};
use ringsan_perf::options::ClientPoll;
use ringsan_perf::protocol::Failure;
use ringsan_perf::session::{Measured, Plan, Role, Session};
use ringsan_perf::workload::{Pattern, Workload};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const MEMORY: usize = 8 << 20;
const DEPTH: usize = 8;

/// A server that lives as long as the test process.
fn serve(writes: Writes) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || FloorServer::new(listener, MEMORY, 64 << 10, writes).unwrap().run(|| false));
    address
}

fn run(
    address: SocketAddr,
    block: u32,
    read_percent: u8,
    verify: bool,
    rate: Option<u32>,
) -> Result<Measured, Failure> {
    let sessions = (0..2)
        .map(|_| Session::new(TcpStream::connect(address)?, FloorClient::new(DEPTH), Role::Load, DEPTH))
        .collect::<std::io::Result<_>>()?;
    let plan = Plan {
        depth: DEPTH,
        block: block as usize,
        warmup: Duration::from_millis(20),
        seconds: Duration::from_millis(300),
        syscalls: Duration::ZERO,
        rate,
        poll: ClientPoll::Block,
        server_pid: Some(std::process::id()),
        progress: false,
    };
    Engine::new(plan, sessions, Workload::new(block, MEMORY as u64, read_percent, Pattern::Random, 1, verify))?.run()
}

#[test]
fn what_is_read_is_what_was_written() {
    for writes in [Writes::Copy, Writes::Stream, Writes::Direct] {
        let address = serve(writes);
        for block in [512, 4096, 131_072] {
            let measured = run(address, block, 50, true, None).unwrap();
            assert!(measured.ios > 0 && measured.reads > 0 && measured.reads < measured.ios, "{writes:?} {block}");
            assert_eq!(measured.latency.summary().count, measured.ios);
            assert!(measured.server.unwrap().cpu_ns > 0);
        }
    }
}

#[test]
fn a_server_that_forgets_is_found_out() {
    let failure = run(serve(Writes::Discard), 4096, 50, true, None).err().unwrap();
    assert!(failure.0.contains("wrong data"), "{failure}");
}

#[test]
fn the_open_loop_keeps_its_rate() {
    let measured = run(serve(Writes::Direct), 4096, 100, false, Some(2000)).unwrap();
    let rate = measured.ios as f64 / measured.seconds;
    assert!((1500.0..2500.0).contains(&rate), "{rate} I/Os per second");
}
