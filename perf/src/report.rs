//! Results as text or JSON, and the progress line.

use crate::session::Measured;
use crate::stats::{Summary, per};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

/// What a run found out. The field names are the JSON's.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Seconds measured.
    pub seconds: f64,
    /// I/Os that ended in that time.
    pub ios: u64,
    /// Percentage of reads that this was.
    pub read_percent: Option<f64>,
    /// I/Os per second.
    pub iops: f64,
    /// Megabytes (10^6) per second.
    pub mb_s: f64,
    /// Latency of an I/O.
    pub latency: Summary,
    /// CPU time of all threads of the server per I/O.
    pub server_cpu_us_per_io: Option<f64>,
    /// CPU time of the server, in percent of one core.
    pub server_cpu_percent: Option<f64>,
    /// How often a thread of the server went to sleep, per second.
    pub server_sleeps_per_s: Option<f64>,
    /// How often a thread of the server was put aside for another one, per second: the core was not its own.
    pub server_preemptions_per_s: Option<f64>,
    /// Threads of the server.
    pub server_threads: Option<u64>,
    /// System calls of the server per I/O.
    pub server_syscalls_per_io: Option<f64>,
    /// Why that is not known although it was asked for.
    pub server_syscalls_error: Option<String>,
    /// CPU time of the load generator per I/O (all of its time, if it spins).
    pub client_cpu_us_per_io: Option<f64>,
    /// I/Os that the server wanted repeated.
    pub retries: u64,
    /// Round trip of the NOP-Outs of the probe.
    pub nop: Option<Summary>,
    /// Latency of the reads of the probe beside the load.
    pub read_probe: Option<Summary>,
    /// Time of a WRITE SAME beside the load.
    pub write_same: Option<Summary>,
}

impl Report {
    /// Computes what is reported from what was counted.
    pub fn new(measured: &Measured) -> Self {
        let (seconds, ios) = (measured.seconds.max(f64::MIN_POSITIVE), measured.ios);
        let server = measured.server.as_ref();
        let some = |summary: Summary| (summary.count > 0).then_some(summary);
        Self {
            seconds: measured.seconds,
            ios,
            read_percent: per(measured.reads as f64 * 100.0, ios),
            iops: ios as f64 / seconds,
            mb_s: measured.bytes as f64 / 1e6 / seconds,
            latency: measured.latency.summary(),
            server_cpu_us_per_io: server.and_then(|used| per(used.cpu_ns as f64 / 1e3, ios)),
            server_cpu_percent: server.map(|used| used.cpu_ns as f64 / 1e7 / seconds),
            server_sleeps_per_s: server.map(|used| used.voluntary_switches as f64 / seconds),
            server_preemptions_per_s: server.map(|used| used.involuntary_switches as f64 / seconds),
            server_threads: server.map(|used| used.threads),
            server_syscalls_per_io: measured.syscalls_per_io.as_ref().and_then(|result| result.as_ref().ok().copied()),
            server_syscalls_error: measured.syscalls_per_io.as_ref().and_then(|result| result.clone().err()),
            client_cpu_us_per_io: per(measured.client_cpu_ns as f64 / 1e3, ios),
            retries: measured.retries,
            nop: some(measured.pings.summary()),
            read_probe: some(measured.reader.summary()),
            write_same: some(measured.write_same.summary()),
        }
    }

    /// Some lines for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let known = |value: Option<f64>, unit: &str| match value {
            Some(value) => format!("{value:.3} {unit}"),
            None => "n/a".into(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{} IOPS, {:.1} MB/s over {:.2} s", round(self.iops), self.mb_s, self.seconds);
        let _ = writeln!(out, "latency        {}", quantiles(&self.latency));
        if let Some(nop) = &self.nop {
            let _ = writeln!(out, "NOP round trip {}", quantiles(nop));
        }
        if let Some(reads) = &self.read_probe {
            let _ = writeln!(out, "read probe     {}", quantiles(reads));
        }
        if let Some(write_same) = &self.write_same {
            let _ = writeln!(out, "WRITE SAME     {}", quantiles(write_same));
        }
        let _ = writeln!(
            out,
            "server         {} CPU per I/O, {} of a core, {}, {}",
            known(self.server_cpu_us_per_io, "us"),
            known(self.server_cpu_percent, "%"),
            known(self.server_syscalls_per_io, "system calls per I/O"),
            known(self.server_sleeps_per_s, "sleeps/s"),
        );
        let _ = writeln!(out, "client         {} CPU per I/O", known(self.client_cpu_us_per_io, "us"));
        if let Some(error) = &self.server_syscalls_error {
            let _ = writeln!(out, "system calls were not counted: {error}");
        }
        if self.retries > 0 {
            let _ = writeln!(out, "{} I/Os were repeated at the target's request", self.retries);
        }
        out
    }
}

fn quantiles(summary: &Summary) -> String {
    format!(
        "mean {:.1} us, p50 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1} ({} values)",
        summary.mean_us, summary.p50_us, summary.p99_us, summary.p999_us, summary.max_us, summary.count
    )
}

fn round(value: f64) -> String {
    format!("{value:.0}")
}

/// One line on standard error that is written anew each second.
pub struct Progress {
    on: bool,
    terminal: bool,
    next_ns: u64,
    last: (u64, u64, u64),
}

impl Progress {
    /// Shows something only if `on`.
    pub fn new(on: bool) -> Self {
        Self { on, terminal: std::io::stderr().is_terminal(), next_ns: 0, last: (0, 0, 0) }
    }

    /// Called each turn with the time and what was done so far.
    #[inline]
    pub fn show(&mut self, now_ns: u64, phase: &str, ios: u64, bytes: u64) {
        if self.on && now_ns >= self.next_ns {
            self.print(now_ns, phase, ios, bytes);
        }
    }

    #[cold]
    fn print(&mut self, now_ns: u64, phase: &str, ios: u64, bytes: u64) {
        let (last_ns, last_ios, last_bytes) = self.last;
        self.next_ns = now_ns + 1_000_000_000;
        self.last = (now_ns, ios, bytes);
        let seconds = now_ns.saturating_sub(last_ns) as f64 / 1e9;
        if last_ns == 0 || seconds <= 0.0 {
            return;
        }
        let (iops, mb_s) = ((ios - last_ios) as f64 / seconds, (bytes - last_bytes) as f64 / 1e6 / seconds);
        let (start, end) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "{start}{:6.1} s  {phase}: {iops:.0} IOPS, {mb_s:.1} MB/s{end}", now_ns as f64 / 1e9);
        let _ = err.flush();
    }

    /// Leaves the terminal's line clean.
    pub fn finish(&mut self) {
        if self.on && self.terminal {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Usage;

    #[test]
    fn costs_are_per_io() {
        let mut measured = Measured { seconds: 2.0, ios: 1000, reads: 700, bytes: 4_096_000, ..Measured::default() };
        measured.client_cpu_ns = 4_000_000;
        measured.server = Some(Usage { cpu_ns: 1_500_000, voluntary_switches: 10, ..Usage::default() });
        measured.syscalls_per_io = Some(Err("no tracefs".into()));
        measured.latency.record(5000);
        let report = Report::new(&measured);
        assert_eq!((report.iops, report.mb_s, report.read_percent), (500.0, 2.048, Some(70.0)));
        assert_eq!((report.server_cpu_us_per_io, report.client_cpu_us_per_io), (Some(1.5), Some(4.0)));
        assert_eq!((report.server_cpu_percent, report.server_sleeps_per_s), (Some(0.075), Some(5.0)));
        assert!(report.nop.is_none());
        let text = report.text();
        assert!(text.contains("500 IOPS, 2.0 MB/s") && text.contains("no tracefs"), "{text}");
        let json: serde_json::Value = serde_json::to_value(&report).unwrap();
        assert_eq!(json["latency"]["count"], 1);
    }

    #[test]
    fn a_run_without_io_has_no_costs() {
        let report = Report::new(&Measured { seconds: 1.0, server: Some(Usage::default()), ..Measured::default() });
        assert_eq!((report.iops, report.server_cpu_us_per_io, report.read_percent), (0.0, None, None));
    }
}
