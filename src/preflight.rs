//! What is checked and prepared in the process before it serves: that the addresses are free, locked memory, descriptors.
#![allow(unsafe_code)] // getrlimit and setrlimit: each takes a pointer to a struct of ours, see below; signal.

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::FDTarget;
use ringsan::limits;
use ringsan::model::Snapshot;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// How long a port in use is waited for that no living process listens on.
const PATIENCE: Duration = Duration::from_secs(8);

/// Locked memory that the executor takes for each core besides the arena, bytes: three times its own 10 MiB.
const EXECUTOR_LOCKED_BYTES: u64 = 3 * (10 << 20);
/// CAP_IPC_LOCK: its owner may lock memory without limit.
const CAP_IPC_LOCK: u32 = 14;

/// Listens on all portals at once and lets go again: before files are created, and with what to do in the line.
pub fn listen(snapshot: &Snapshot) -> Result<(), String> {
    let mut held = Vec::new();
    for portal in &snapshot.portals {
        let address = portal.listen;
        let listener = bind(address).map_err(|e| match e.kind() {
            ErrorKind::AddrInUse => match listening_process(address.port()) {
                Some(owner) => format!("cannot listen on {address}: the port is in use by {owner}"),
                None => format!(
                    "cannot listen on {address}: the port is in use (`ss -ltnp 'sport = :{}'` says by whom)",
                    address.port()
                ),
            },
            ErrorKind::AddrNotAvailable => format!("cannot listen on {address}: no interface here has this address"),
            ErrorKind::PermissionDenied => {
                format!("cannot listen on {address}: ports below 1024 need root or CAP_NET_BIND_SERVICE")
            }
            _ => format!("cannot listen on {address}: {e}"),
        })?;
        held.push(listener);
    }
    Ok(())
}

/// Binds. The kernel takes a ring of a killed process apart some time after the process is gone, and the sockets that its
/// requests wait on listen until then: a port in use by no process is waited for.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address) {
            Err(error)
                if error.kind() == ErrorKind::AddrInUse
                    && Instant::now() < deadline
                    && listening_process(address.port()).is_none() =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            bound => return bound,
        }
    }
}

/// "process 12 (ringsan)": who listens on the port, on any address; none, or one whose files we may not see, is `None`.
fn listening_process(port: u16) -> Option<String> {
    let listens = |entry: &TcpNetEntry| entry.state == TcpState::Listen && entry.local_address.port() == port;
    let sockets = procfs::net::tcp().into_iter().flatten().chain(procfs::net::tcp6().into_iter().flatten());
    let inodes: Vec<u64> = sockets.filter(listens).map(|entry| entry.inode).collect();
    procfs::process::all_processes().ok()?.flatten().find_map(|process| {
        let mut files = process.fd().ok()?.flatten();
        let owns = files.any(|file| matches!(file.target, FDTarget::Socket(inode) if inodes.contains(&inode)));
        let name = process.stat().map(|stat| format!(" ({})", stat.comm)).unwrap_or_default();
        owns.then(|| format!("process {}{name}", process.pid))
    })
}

/// Raises the soft limit of locked memory to the hard one, and says once when registered buffers will not fit: ringsan
/// then works with buffers that are not registered.
pub fn raise_memlock(snapshot: &Snapshot) {
    if may_lock_all() {
        return;
    }
    let cores = match snapshot.cores.len() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        cores => cores,
    };
    let core_bytes = limits::ARENA_BYTES as u64 + EXECUTOR_LOCKED_BYTES;
    let needed = core_bytes.saturating_mul(cores as u64);
    let Some(limit) = raise(libc::RLIMIT_MEMLOCK) else { return };
    if limit.rlim_cur < needed {
        tracing::warn!(
            "locked memory is limited to {} KiB, registered buffers need {} KiB: going on without them, a little slower \
             (raise it with `ulimit -l` or LimitMEMLOCK=)",
            limit.rlim_cur >> 10,
            needed >> 10
        );
    }
}

/// Raises the soft limit of open files to the hard one: each connection takes one, and the soft limit of most systems is
/// there for programs that use select(2).
pub fn raise_descriptors() {
    let _ = raise(libc::RLIMIT_NOFILE);
}

/// A write beyond the limit of file sizes (`ulimit -f`) is an error of that write, not the end of the process.
pub fn ignore_file_size_signal() {
    // SAFETY: no handler is set; the disposition is of the process and belongs to the program.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Raises a soft limit to the hard one; what then is in force, if the system tells.
fn raise(resource: libc::__rlimit_resource_t) -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit, which the call only writes.
    if unsafe { libc::getrlimit(resource, &mut limit) } != 0 {
        return None;
    }
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: the pointer is to a live rlimit, which the call only reads.
        if unsafe { libc::setrlimit(resource, &raised) } == 0 {
            limit = raised;
        }
    }
    Some(limit)
}

/// Whether this process has CAP_IPC_LOCK in effect.
fn may_lock_all() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|caps| caps & (1 << CAP_IPC_LOCK) != 0)
}
