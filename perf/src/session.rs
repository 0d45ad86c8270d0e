//! What the loop works on: the plan of a run, its sessions, and what was measured.

use crate::options::ClientPoll;
use crate::proc::Usage;
use crate::stats::Latency;
use crate::tx::TxQueue;
use crate::workload::Io;
use std::net::TcpStream;
use std::time::Duration;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Carries the load.
    Load,
    /// Only answers the server's pings.
    Idle,
    /// Pings the server each so many nanoseconds.
    Probe(u64),
    /// Has one read of so many bytes outstanding, beside the load.
    Reader(u32),
    /// Has one WRITE SAME of so many bytes outstanding.
    WriteSame(u32),
}

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// I/Os outstanding per session.
    pub depth: usize,
    /// Bytes per I/O.
    pub block: usize,
    /// Before measuring.
    pub warmup: Duration,
    /// Measuring.
    pub seconds: Duration,
    /// Counting system calls after that.
    pub syscalls: Duration,
    /// Open loop: I/Os per second.
    pub rate: Option<u32>,
    /// How to wait.
    pub poll: ClientPoll,
    /// Whose CPU time to read.
    pub server_pid: Option<u32>,
    /// Show progress.
    pub progress: bool,
}

/// What was measured.
#[derive(Default)]
pub struct Measured {
    /// Seconds that the measuring phase really took.
    pub seconds: f64,
    /// I/Os that ended in it, of them reads, and their bytes.
    pub ios: u64,
    /// Reads among them.
    pub reads: u64,
    /// Their bytes.
    pub bytes: u64,
    /// I/Os that had to be repeated, in all phases.
    pub retries: u64,
    /// Latency of the I/Os.
    pub latency: Latency,
    /// Latency of the pings.
    pub pings: Latency,
    /// Latency of the [`Role::Reader`]'s reads.
    pub reader: Latency,
    /// Latency of the WRITE SAMEs.
    pub write_same: Latency,
    /// CPU time of this thread.
    pub client_cpu_ns: u64,
    /// What the server used.
    pub server: Option<Usage>,
    /// System calls of the server per I/O, or why they are not known.
    pub syscalls_per_io: Option<Result<f64, String>>,
}

pub(crate) struct Slot {
    pub(crate) io: Io,
    /// When it was, or should have been, issued.
    pub(crate) start_ns: u64,
}

/// One connection with its protocol.
pub struct Session<P> {
    pub(crate) socket: TcpStream,
    pub(crate) protocol: P,
    pub(crate) role: Role,
    pub(crate) tx: TxQueue,
    pub(crate) slots: Vec<Slot>,
    pub(crate) free: Vec<u32>,
    pub(crate) retry: Vec<u32>,
    pub(crate) waits_for_room: bool,
    /// Of a [`Role::Probe`]: when the ping that is outstanding, or the next one, was due.
    pub(crate) ping_due_ns: u64,
    pub(crate) ping_outstanding: bool,
    /// A logout was queued.
    pub(crate) parting: bool,
}

impl<P> Session<P> {
    /// Takes over a socket on which `protocol` has finished its login.
    ///
    /// # Errors
    /// What the socket says.
    pub fn new(socket: TcpStream, protocol: P, role: Role, depth: usize) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        let depth = match role {
            Role::Load => depth,
            Role::WriteSame(_) | Role::Reader(_) => 1,
            Role::Idle | Role::Probe(_) => 0,
        };
        Ok(Self {
            socket,
            protocol,
            role,
            tx: TxQueue::default(),
            slots: (0..depth).map(|_| Slot { io: Io::default(), start_ns: 0 }).collect(),
            free: (0..depth as u32).rev().collect(),
            retry: Vec::with_capacity(depth),
            waits_for_room: false,
            ping_due_ns: 0,
            ping_outstanding: false,
            parting: false,
        })
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
