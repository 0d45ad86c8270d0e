//! `loadgen`: drives an iSCSI target or the floor, and reports what it took.

use clap::Parser;
use ringsan::wire::{Isid, Lun};
use ringsan_perf::engine::Engine;
use ringsan_perf::floor::FloorClient;
use ringsan_perf::iscsi::login::{self, Wanted};
use ringsan_perf::options::Options;
use ringsan_perf::protocol::{Failure, Protocol};
use ringsan_perf::report::Report;
use ringsan_perf::session::{Measured, Plan, Role, Session};
use ringsan_perf::sys;
use ringsan_perf::workload::Workload;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// The memory of a floor server that was started without options.
const FLOOR_SPAN: u64 = 512 << 20;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(report) => {
            if options.json {
                match serde_json::to_string(&report) {
                    Ok(text) => println!("{text}"),
                    Err(error) => eprintln!("loadgen: {error}"),
                }
            } else {
                print!("{}", report.text());
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("loadgen: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Report, Failure> {
    if let Some(core) = options.core {
        sys::pin_to_core(core).map_err(|error| Failure(format!("core {core}: {error}")))?;
    }
    sys::raise_file_limit();
    let measured = if options.floor { run_floor(options)? } else { run_iscsi(options)? };
    Ok(Report::new(&measured))
}

/// The load first, then what else has something to do, then the idle: the loop relies on this order.
fn roles(options: &Options) -> Result<Vec<Role>, Failure> {
    let mut roles = vec![Role::Load; options.sessions.into()];
    if let Some(ms) = options.nop_probe {
        roles.push(Role::Probe(u64::from(ms) * 1_000_000));
    }
    if let Some(bytes) = options.read_probe {
        let bytes = u32::try_from(bytes).map_err(|_| Failure("--read-probe: at most 4 GiB less one byte".into()))?;
        roles.push(Role::Reader(bytes));
    }
    if let Some(bytes) = options.write_same {
        let bytes = u32::try_from(bytes).map_err(|_| Failure("--write-same: at most 4 GiB less one byte".into()))?;
        roles.push(Role::WriteSame(bytes));
    }
    roles.extend(vec![Role::Idle; options.idle_sessions.into()]);
    Ok(roles)
}

fn run_floor(options: &Options) -> Result<Measured, Failure> {
    if options.nop_probe.is_some() || options.write_same.is_some() {
        return Err(Failure("the floor knows neither NOP-Out nor WRITE SAME".into()));
    }
    let depth = usize::from(options.depth);
    let mut sessions = Vec::new();
    for role in roles(options)? {
        let socket = sys::connect(options.portal, &options.congestion)?;
        if let Some(bytes) = options.socket_buffers {
            sys::set_socket_buffers(&socket, bytes as usize)?;
        }
        sessions.push(Session::new(socket, FloorClient::new(depth), role, depth)?);
    }
    start(options, sessions, options.span.unwrap_or(FLOOR_SPAN), 1)
}

fn run_iscsi(options: &Options) -> Result<Measured, Failure> {
    let depth = usize::from(options.depth);
    let lun = Lun::flat(options.lun);
    let target = options.target.as_deref().unwrap_or_default();
    let unique = std::process::id().to_be_bytes();
    let (mut sessions, mut lun_bytes, mut block_len) = (Vec::new(), 0, 512);
    for (index, role) in roles(options)?.into_iter().enumerate() {
        let [high, low] = (index as u16).to_be_bytes();
        let wanted = Wanted {
            portal: options.portal,
            initiator: &options.initiator,
            target,
            // Type "random" (RFC 7143 section 11.12.5), the process and the session.
            isid: Isid([0x80, unique[1], unique[2], unique[3], high, low]),
            header_digest: options.digests.header(),
            data_digest: options.digests.data(),
            socket_buffers: options.socket_buffers.map(|bytes| bytes as usize),
            congestion: &options.congestion,
        };
        let mut opened =
            login::login(&wanted, options.depth).map_err(|error| Failure(format!("session {index}: {error}")))?;
        if matches!(role, Role::Load | Role::Reader(_) | Role::WriteSame(_)) {
            let (blocks, len) = opened.capacity(lun).map_err(|error| Failure(format!("session {index}: {error}")))?;
            (lun_bytes, block_len) = (blocks.saturating_mul(len.into()), len);
        }
        let (socket, client) = opened.into_client(lun, block_len, depth, !options.verify);
        sessions.push(Session::new(socket, client, role, depth)?);
    }
    let span = options.span.unwrap_or(lun_bytes);
    if span > lun_bytes && lun_bytes > 0 {
        return Err(Failure(format!("the span of {span} bytes is larger than the LUN's {lun_bytes}")));
    }
    if options.write_same.is_some_and(|bytes| bytes > lun_bytes || bytes % u64::from(block_len) != 0) {
        return Err(Failure(format!("--write-same does not fit a LUN of {lun_bytes} bytes in blocks of {block_len}")));
    }
    start(options, sessions, span, block_len)
}

fn start<P: Protocol>(
    options: &Options,
    sessions: Vec<Session<P>>,
    span: u64,
    block_len: u32,
) -> Result<Measured, Failure> {
    let block = u32::try_from(options.block).map_err(|_| Failure("--block: at most 4 GiB less one byte".into()))?;
    if options.verify && options.sessions == 0 {
        return Err(Failure("--verify needs a session that carries load".into()));
    }
    let in_use = u64::from(options.sessions) * u64::from(options.depth);
    if options.sessions > 0 {
        if block % block_len != 0 {
            return Err(Failure(format!("--block {block} is not a multiple of the LUN's {block_len}")));
        }
        // With every block in use, a checked load would find nothing to write.
        if span / u64::from(block) < if options.verify { 2 * in_use } else { 1 } {
            return Err(Failure(format!("a span of {span} bytes is too small")));
        }
        if options.verify && block % 8 != 0 {
            return Err(Failure("--verify needs blocks of a multiple of 8 bytes".into()));
        }
    }
    let workload = Workload::new(block, span, options.mix.0, options.pattern, options.seed, options.verify);
    let plan = Plan {
        depth: options.depth.into(),
        block: block as usize,
        warmup: Duration::from_secs_f64(options.warmup),
        seconds: Duration::from_secs_f64(options.seconds),
        syscalls: Duration::from_secs_f64(options.syscalls),
        rate: options.rate,
        poll: options.client_poll,
        server_pid: options.server_pid,
        progress: options.progress || std::io::stderr().is_terminal(),
    };
    Engine::new(plan, sessions, workload)?.run()
}
