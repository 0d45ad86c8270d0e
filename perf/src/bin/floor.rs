//! `floor`: the server that moves the same bytes without a protocol.

use clap::Parser;
use ringsan_perf::floor_server::{FloorServer, Writes};
use ringsan_perf::options::parse_size;
use ringsan_perf::sys;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

/// Answers reads from random places of its memory and takes writes there: the yardstick for a target.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Address and port to listen on.
    #[arg(long, default_value = "127.0.0.1:3999")]
    listen: SocketAddr,
    /// Core to run on.
    #[arg(long)]
    core: Option<usize>,
    /// Bytes of memory.
    #[arg(long, default_value = "512m", value_parser = parse_size)]
    memory: u64,
    /// Bytes per receive.
    #[arg(long, default_value = "256k", value_parser = parse_size)]
    buffer: u64,
    /// Where written payload is received.
    #[arg(long, default_value = "direct")]
    writes: Writes,
    /// SO_SNDBUF and SO_RCVBUF; default: the kernel's automatic sizes.
    #[arg(long, value_parser = parse_size)]
    socket_buffers: Option<u64>,
    /// TCP congestion control, or `system` for the system's.
    #[arg(long, default_value = "cubic")]
    congestion: String,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> std::io::Result<()> {
    if let Some(core) = options.core {
        sys::pin_to_core(core)?;
    }
    sys::raise_file_limit();
    let listener = TcpListener::bind(options.listen)?;
    sys::set_congestion(&listener, &options.congestion)?;
    let size = |bytes: u64| usize::try_from(bytes).map_err(|_| std::io::ErrorKind::InvalidInput);
    let mut server = FloorServer::new(listener, size(options.memory)?, size(options.buffer)?, options.writes)?;
    if let Some(bytes) = options.socket_buffers {
        server.set_socket_buffers(size(bytes)?);
    }
    println!("floor: ready on {}", options.listen);
    server.run(|| false)
}
