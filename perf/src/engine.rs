//! The loop of the load generator: one thread, all sessions, any [`Protocol`].
//!
//! One turn: wait (or not), receive what came, record and reissue, flush each session that has something to send. The
//! clock is read once per receive; what one receive completes shares that time. Nothing is allocated per I/O.
//!
//! Closed loop: each session keeps its depth outstanding. Open loop ([`Plan::rate`]): I/O number n is due at n / rate
//! whatever is outstanding, and its latency counts from then, also if it had to wait for a free slot: a server that
//! stalls is charged for everything that should have happened meanwhile (no coordinated omission).
//!
//! A run has phases: fill (writes the pattern, if reads are checked), warm up, measure, count system calls, drain.

use crate::options::ClientPoll;
use crate::pattern;
use crate::proc::{self, SyscallCounter, Usage};
use crate::protocol::{Context, Done, Failure, Outcome, Protocol};
use crate::report::Progress;
use crate::session::{Measured, Plan, Role, Session, Slot};
use crate::stats::per;
use crate::sys::{self, Epoll};
use crate::workload::{Io, Operation, Workload};
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Fill,
    WarmUp,
    Measure,
    Syscalls,
    Drain,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::WarmUp => "warm up",
            Self::Measure => "measure",
            Self::Syscalls => "count system calls",
            Self::Drain => "drain",
        }
    }
}

/// The running load.
pub struct Engine<P> {
    plan: Plan,
    sessions: Vec<Session<P>>,
    epoll: Epoll,
    workload: Workload,
    area: Vec<u8>,
    buffer: Vec<u8>,
    done: Vec<Done>,
    base: Instant,
    phase: Phase,
    phase_end_ns: u64,
    /// Next block of the fill phase.
    fill_block: u64,
    /// Open loop: when it started and how many I/Os were issued since.
    open_start_ns: u64,
    open_issued: u64,
    next_session: usize,
    /// A session found no block that was free: try again each turn.
    starved: bool,
    measured: Measured,
    /// I/Os that ended, and their bytes, in all phases.
    total_ios: u64,
    total_bytes: u64,
    server_before: Option<Usage>,
    cpu_before_ns: u64,
    /// The counter, and how many I/Os had ended when it started.
    syscalls: Option<(SyscallCounter, u64)>,
    progress: Progress,
}

/// Bytes per receive: small enough to stay in the second-level cache together with what the kernel touches.
const RECEIVE_BYTES: usize = 256 << 10;
/// Bytes that one session sends before the next one has its turn: a probe must not wait until megabytes are in the socket.
const SEND_BYTES: usize = 512 << 10;
/// How long to wait at the end for what is outstanding.
const DRAIN: Duration = Duration::from_secs(10);
/// How long to wait for the answers to all logouts together.
const PARTING: Duration = Duration::from_secs(1);
/// How long a blocked client sleeps at most.
const NAP: Duration = Duration::from_millis(100);

impl<P: Protocol> Engine<P> {
    /// Prepares a run.
    ///
    /// # Errors
    /// What epoll says.
    pub fn new(plan: Plan, sessions: Vec<Session<P>>, workload: Workload) -> Result<Self, Failure> {
        let epoll = Epoll::new(256)?;
        for (index, session) in sessions.iter().enumerate() {
            epoll.add(&session.socket, sys::IN, index as u64)?;
        }
        let load_sessions = sessions.iter().filter(|session| session.role == Role::Load).count();
        // When reads are checked, each slot has its own payload; otherwise all write the same bytes.
        let payloads = if workload.verifies() { (load_sessions * plan.depth).max(1) } else { 1 };
        let mut area = vec![0; payloads * plan.block.max(4096)];
        pattern::fill(&mut area, 1 << 40, 0);
        let phase = if workload.verifies() { Phase::Fill } else { Phase::WarmUp };
        let progress = Progress::new(plan.progress);
        Ok(Self {
            plan,
            sessions,
            epoll,
            workload,
            area,
            buffer: vec![0; RECEIVE_BYTES],
            done: Vec::with_capacity(4096),
            base: Instant::now(),
            phase,
            phase_end_ns: u64::MAX,
            fill_block: 0,
            open_start_ns: 0,
            open_issued: 0,
            next_session: 0,
            starved: false,
            measured: Measured::default(),
            total_ios: 0,
            total_bytes: 0,
            server_before: None,
            cpu_before_ns: 0,
            syscalls: None,
            progress,
        })
    }

    fn now_ns(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    /// Runs all phases.
    ///
    /// # Errors
    /// The first thing that went wrong: wrong data, a failed command, a broken protocol or connection.
    pub fn run(mut self) -> Result<Measured, Failure> {
        let now = self.now_ns();
        if self.phase == Phase::WarmUp {
            self.phase_end_ns = now + nanos(self.plan.warmup);
        }
        self.restart_clocks(now);
        for index in 0..self.sessions.len() {
            self.refill(index, now)?;
        }
        while self.phase != Phase::Drain || (self.anything_outstanding() && self.now_ns() < self.phase_end_ns) {
            let timeout = self.timeout();
            let ready = self.epoll.wait(Some(timeout))?;
            for event in 0..ready {
                let event = self.epoll.event(event);
                let index = event.token as usize;
                if event.events & sys::OUT != 0 {
                    self.flush(index)?;
                }
                if event.events & !sys::OUT != 0 {
                    self.receive(index)?;
                }
            }
            let now = self.now_ns();
            self.keep_time(now)?;
            self.schedule(now)?;
        }
        self.progress.finish();
        let lost: usize =
            self.sessions.iter().filter(|session| session.role == Role::Load).map(Session::outstanding).sum();
        if lost > 0 {
            return Err(Failure(format!("{lost} I/Os were not answered within {} s", DRAIN.as_secs())));
        }
        self.part();
        Ok(self.measured)
    }

    /// Ends all sessions in good order, as far as the server plays along: the figures are there already.
    fn part(&mut self) {
        for session in &mut self.sessions {
            session.protocol.part(&mut session.tx);
            session.parting = !session.tx.is_empty();
            let _ = session.tx.flush(&session.socket, &self.area);
        }
        let deadline = Instant::now() + PARTING;
        for session in self.sessions.iter_mut().filter(|session| session.parting) {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let ready = session.socket.set_nonblocking(false).and(session.socket.set_read_timeout(Some(left)));
            if ready.is_ok() && session.tx.is_empty() {
                let _ = session.socket.read(&mut self.buffer);
            }
        }
    }

    fn anything_outstanding(&self) -> bool {
        self.sessions.iter().any(|session| session.role == Role::Load && session.outstanding() > 0)
    }

    fn timeout(&self) -> Duration {
        if self.plan.poll == ClientPoll::Spin || self.starved {
            return Duration::ZERO;
        }
        let now = self.now_ns();
        let mut until = self.phase_end_ns.min(now + nanos(NAP));
        for session in &self.sessions {
            if matches!(session.role, Role::Probe(_)) && !session.ping_outstanding {
                until = until.min(session.ping_due_ns);
            }
        }
        if let Some(rate) = self.open_loop_rate() {
            until = until.min(self.due_ns(self.open_issued, rate));
        }
        Duration::from_nanos(until.saturating_sub(now))
    }

    fn open_loop_rate(&self) -> Option<u32> {
        if matches!(self.phase, Phase::Fill | Phase::Drain) { None } else { self.plan.rate }
    }

    fn due_ns(&self, number: u64, rate: u32) -> u64 {
        self.open_start_ns + (u128::from(number) * 1_000_000_000 / u128::from(rate)) as u64
    }

    /// Open loop and pings begin to count now.
    fn restart_clocks(&mut self, now: u64) {
        self.open_start_ns = now;
        self.open_issued = 0;
        for session in &mut self.sessions {
            if !session.ping_outstanding {
                session.ping_due_ns = now;
            }
        }
    }

    fn receive(&mut self, index: usize) -> Result<(), Failure> {
        let session = &mut self.sessions[index];
        let count = match (&session.socket).read(&mut self.buffer) {
            Ok(0) => return Err(Failure("the server closed the connection".into())),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now = self.base.elapsed().as_nanos() as u64;
        let verify = self.workload.verifies();
        let mut context = Context { area: &self.area, verify, done: &mut self.done };
        session.protocol.receive(&self.buffer[..count], &mut context, &mut session.tx)?;
        let measure = self.phase == Phase::Measure;
        for done in self.done.drain(..) {
            if done.outcome == Outcome::Pong {
                if measure {
                    self.measured.pings.record(now.saturating_sub(session.ping_due_ns));
                }
                if let Role::Probe(interval) = session.role {
                    session.ping_due_ns += interval;
                }
                session.ping_outstanding = false;
                continue;
            }
            let Some(slot) = session.slots.get(done.slot as usize) else { continue };
            if done.outcome == Outcome::Retry {
                self.measured.retries += 1;
                session.retry.push(done.slot);
                continue;
            }
            self.workload.finish(&slot.io);
            session.free.push(done.slot);
            if session.role == Role::Load {
                self.total_ios += 1;
                self.total_bytes += u64::from(slot.io.len);
            }
            if !measure {
                continue;
            }
            let latency = now.saturating_sub(slot.start_ns);
            match session.role {
                Role::WriteSame(_) => self.measured.write_same.record(latency),
                Role::Reader(_) => self.measured.reader.record(latency),
                _ => {
                    self.measured.ios += 1;
                    self.measured.bytes += u64::from(slot.io.len);
                    self.measured.reads += u64::from(slot.io.operation == Operation::Read);
                    self.measured.latency.record(latency);
                }
            }
        }
        self.refill(index, now)
    }

    /// Issues what the session may, and sends it.
    fn refill(&mut self, index: usize, now: u64) -> Result<(), Failure> {
        let closed = self.open_loop_rate().is_none();
        let session = &mut self.sessions[index];
        let mut window = session.protocol.window();
        while window > 0
            && let Some(slot) = session.retry.pop()
        {
            let at = payload_at(&self.workload, &self.plan, index, slot);
            let io = session.slots[slot as usize].io;
            session.protocol.issue(slot, &io, at, &self.area, &mut session.tx);
            window -= 1;
        }
        match session.role {
            Role::Load if closed => {
                while window > 0 && self.issue(index, now) {
                    window -= 1;
                }
            }
            Role::WriteSame(_) | Role::Reader(_) if window > 0 => {
                self.issue(index, now);
            }
            _ => {}
        }
        self.flush(index)
    }

    /// Issues one I/O on a session; false if there is none to issue.
    #[inline]
    fn issue(&mut self, index: usize, start_ns: u64) -> bool {
        let session = &mut self.sessions[index];
        let Some(&slot) = session.free.last() else { return false };
        let io = match (session.role, self.phase) {
            (Role::WriteSame(len), Phase::WarmUp | Phase::Measure | Phase::Syscalls) => {
                Some(Io { operation: Operation::WriteSame, offset: 0, len, generation: 0 })
            }
            (Role::Reader(len), Phase::WarmUp | Phase::Measure | Phase::Syscalls) => {
                self.workload.next_io().map(|io| Io { operation: Operation::Read, len, ..io })
            }
            (Role::WriteSame(_) | Role::Reader(_), _) | (_, Phase::Drain) => return false,
            (_, Phase::Fill) if self.fill_block == self.workload.blocks() => return false,
            (_, Phase::Fill) => {
                self.fill_block += 1;
                self.workload.take(Operation::Write, self.fill_block - 1)
            }
            _ => self.workload.next_io(),
        };
        let Some(io) = io else {
            self.starved = true;
            return false;
        };
        session.free.pop();
        session.slots[slot as usize] = Slot { io, start_ns };
        let at = payload_at(&self.workload, &self.plan, index, slot);
        if self.workload.verifies() && io.operation == Operation::Write {
            pattern::fill(&mut self.area[at..at + io.len as usize], io.offset, io.generation);
        }
        session.protocol.issue(slot, &io, at, &self.area, &mut session.tx);
        true
    }

    fn flush(&mut self, index: usize) -> Result<(), Failure> {
        let session = &mut self.sessions[index];
        let waits = !session.tx.is_empty() && !session.tx.flush_some(&session.socket, &self.area, SEND_BYTES)?;
        if waits != session.waits_for_room {
            session.waits_for_room = waits;
            let events = if waits { sys::IN | sys::OUT } else { sys::IN };
            self.epoll.modify(&session.socket, events, index as u64)?;
        }
        Ok(())
    }

    /// What is due without an event: open loop, pings, sessions that found no block.
    fn schedule(&mut self, now: u64) -> Result<(), Failure> {
        if std::mem::take(&mut self.starved) {
            for index in 0..self.sessions.len() {
                self.refill(index, now)?;
            }
        }
        if let Some(rate) = self.open_loop_rate() {
            self.issue_due(now, rate)?;
        }
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            // Idle sessions stand behind the others: a thousand of them cost nothing here.
            if session.role == Role::Idle {
                break;
            }
            if let Role::Probe(_) = session.role
                && !session.ping_outstanding
                && session.ping_due_ns <= now
                && self.phase != Phase::Drain
            {
                session.ping_outstanding = true;
                session.protocol.ping(&mut session.tx);
                self.flush(index)?;
            }
        }
        Ok(())
    }

    fn issue_due(&mut self, now: u64, rate: u32) -> Result<(), Failure> {
        let load = self.sessions.iter().take_while(|session| session.role == Role::Load).count();
        let mut refused = 0;
        while refused < load {
            let due = self.due_ns(self.open_issued, rate);
            if due > now {
                break;
            }
            let index = self.next_session % load;
            self.next_session = (index + 1) % load;
            if self.sessions[index].protocol.window() > 0 && self.issue(index, due) {
                self.open_issued += 1;
                refused = 0;
            } else {
                refused += 1;
            }
        }
        (0..load).try_for_each(|index| self.flush(index))
    }

    fn keep_time(&mut self, now: u64) -> Result<(), Failure> {
        self.progress.show(now, self.phase.name(), self.total_ios, self.total_bytes);
        match self.phase {
            Phase::Fill if self.fill_block == self.workload.blocks() && !self.anything_outstanding() => {
                self.phase = Phase::WarmUp;
                self.phase_end_ns = now + nanos(self.plan.warmup);
                self.restart_clocks(now);
                (0..self.sessions.len()).try_for_each(|index| self.refill(index, now))
            }
            Phase::WarmUp if now >= self.phase_end_ns => {
                self.phase = Phase::Measure;
                self.server_before = self.plan.server_pid.map(proc::usage).transpose().map_err(no_process)?;
                self.cpu_before_ns = sys::thread_cpu_ns();
                self.measured.seconds = self.now_ns() as f64 / 1e9;
                self.phase_end_ns = self.now_ns() + nanos(self.plan.seconds);
                Ok(())
            }
            Phase::Measure if now >= self.phase_end_ns => self.end_measure(),
            Phase::Syscalls if now >= self.phase_end_ns => {
                self.end_syscalls(now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end_measure(&mut self) -> Result<(), Failure> {
        self.measured.seconds = self.now_ns() as f64 / 1e9 - self.measured.seconds;
        self.measured.client_cpu_ns = sys::thread_cpu_ns() - self.cpu_before_ns;
        if let (Some(pid), Some(before)) = (self.plan.server_pid, self.server_before) {
            self.measured.server = Some(proc::usage(pid).map_err(no_process)?.since(before));
            if !self.plan.syscalls.is_zero() {
                match SyscallCounter::start(pid) {
                    Ok(counter) => self.syscalls = Some((counter, self.total_ios)),
                    Err(error) => self.measured.syscalls_per_io = Some(Err(error.to_string())),
                }
            }
        }
        let now = self.now_ns();
        if self.syscalls.is_some() {
            self.phase = Phase::Syscalls;
            self.phase_end_ns = now + nanos(self.plan.syscalls);
        } else {
            self.drain(now);
        }
        Ok(())
    }

    fn end_syscalls(&mut self, now: u64) {
        if let Some((mut counter, ios_before)) = self.syscalls.take() {
            let ios = self.total_ios - ios_before;
            let result = match counter.read() {
                Ok(calls) => per(calls as f64, ios).ok_or_else(|| "no I/O".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            self.measured.syscalls_per_io = Some(result);
        }
        self.drain(now);
    }

    fn drain(&mut self, now: u64) {
        self.phase = Phase::Drain;
        self.phase_end_ns = now + nanos(DRAIN);
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

fn no_process(error: std::io::Error) -> Failure {
    Failure(format!("the server process: {error}"))
}

/// Where the bytes that a slot writes stand in the area.
fn payload_at(workload: &Workload, plan: &Plan, session: usize, slot: u32) -> usize {
    if workload.verifies() { (session * plan.depth + slot as usize) * plan.block } else { 0 }
}
