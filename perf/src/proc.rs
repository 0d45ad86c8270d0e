//! What a server process used, read from `/proc` and, for system calls, counted by the kernel's tracepoint.
//!
//! CPU time is the sum over `/proc/PID/task/*/schedstat`: nanoseconds, and on kernels without
//! CONFIG_IRQ_TIME_ACCOUNTING it includes the network work that softirqs do in the thread's context, which for
//! loopback is most of it. Where that file is missing, utime + stime (ticks of 10 ms) stand in.

use crate::sys;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Counters of a process since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time of all threads.
    pub cpu_ns: u64,
    /// Times that a thread went to sleep.
    pub voluntary_switches: u64,
    /// Times that a thread was put aside for another.
    pub involuntary_switches: u64,
    /// Threads now.
    pub threads: u64,
}

impl Usage {
    /// What was used since `earlier`. A thread that ended in between took its time with it: never less than nothing.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self.involuntary_switches.saturating_sub(earlier.involuntary_switches),
            threads: self.threads,
        }
    }
}

fn tasks(pid: u32) -> io::Result<impl Iterator<Item = PathBuf>> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.flatten().map(|entry| entry.path()))
}

/// Reads the counters of process `pid`.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let mut sum = Usage::default();
    for task in tasks(pid)? {
        // A thread may end between the listing and here.
        let Some(cpu_ns) = cpu_ns(&task) else { continue };
        sum.cpu_ns += cpu_ns;
        sum.threads += 1;
        if let Ok(status) = fs::read_to_string(task.join("status")) {
            sum.voluntary_switches += status_field(&status, "voluntary_ctxt_switches:");
            sum.involuntary_switches += status_field(&status, "nonvoluntary_ctxt_switches:");
        }
    }
    Ok(sum)
}

fn cpu_ns(task: &Path) -> Option<u64> {
    if let Some(ns) = fs::read_to_string(task.join("schedstat")).ok().and_then(|text| schedstat_ns(&text)) {
        return Some(ns);
    }
    stat_ns(&fs::read_to_string(task.join("stat")).ok()?)
}

/// The first field: nanoseconds on a CPU.
fn schedstat_ns(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// utime + stime, fields 14 and 15 of proc(5); the name in parentheses may hold blanks and parentheses.
fn stat_ns(text: &str) -> Option<u64> {
    const NS_PER_TICK: u64 = 10_000_000;
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some((next()? + next()?) * NS_PER_TICK)
}

fn status_field(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

/// Counts the system calls of all threads that a process has at this moment.
pub struct SyscallCounter(Vec<fs::File>);

impl SyscallCounter {
    /// Starts counting. Fails without tracefs, or without the right to use it (CAP_PERFMON or root).
    pub fn start(pid: u32) -> io::Result<Self> {
        let id = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .iter()
            .find_map(|root| fs::read_to_string(format!("{root}/events/raw_syscalls/sys_enter/id")).ok())
            .and_then(|text| text.trim().parse().ok())
            .ok_or(io::ErrorKind::NotFound)?;
        let counters = tasks(pid)?
            .filter_map(|task| task.file_name()?.to_str()?.parse().ok())
            .map(|tid| sys::count_tracepoint(id, tid).map(fs::File::from))
            .collect::<io::Result<_>>()?;
        Ok(Self(counters))
    }

    /// How many there were so far.
    pub fn read(&mut self) -> io::Result<u64> {
        let mut sum = 0;
        for counter in &mut self.0 {
            let mut value = [0; 8];
            counter.read_exact(&mut value)?;
            sum += u64::from_ne_bytes(value);
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc() {
        assert_eq!(schedstat_ns("63207 51920 2\n"), Some(63207));
        assert_eq!(schedstat_ns(""), None);
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 107 0 0 0 12 30 0 0 20 0 1 0 14 2 3";
        assert_eq!(stat_ns(stat), Some(420_000_000));
        assert_eq!(stat_ns("7 (a"), None);
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t41\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(status_field(status, "voluntary_ctxt_switches:"), 41);
        assert_eq!(status_field(status, "nonvoluntary_ctxt_switches:"), 2);
        assert_eq!(status_field(status, "absent:"), 0);
    }

    #[test]
    fn this_process_uses_time() {
        let before = usage(std::process::id()).unwrap();
        let until = sys::thread_cpu_ns() + 20_000_000;
        while sys::thread_cpu_ns() < until {}
        let used = usage(std::process::id()).unwrap().since(before);
        assert!(used.threads >= 1 && used.cpu_ns >= 10_000_000, "{used:?}");
    }
}
