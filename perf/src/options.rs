//! The command line of `loadgen`.

use crate::workload::Pattern;
use clap::{Parser, ValueEnum};
use std::net::SocketAddr;

/// Drives an iSCSI target (or the floor server) from one thread and reports what it took.
#[derive(Clone, Debug, Parser)]
#[command(name = "loadgen", version)]
pub struct Options {
    /// Address and port of the target's portal.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub portal: SocketAddr,
    /// Name of the target; not needed with --floor.
    #[arg(long, value_name = "IQN", required_unless_present = "floor")]
    pub target: Option<String>,
    /// This initiator's name; sessions differ in their ISID.
    #[arg(long, value_name = "IQN", default_value = "iqn.2024-01.test.ringsan:loadgen")]
    pub initiator: String,
    /// Number of the logical unit.
    #[arg(long, default_value_t = 0)]
    pub lun: u16,
    /// Speak the trivial protocol of the floor server.
    #[arg(long)]
    pub floor: bool,
    /// Sessions that carry the load.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub sessions: u16,
    /// Connections per session. The load generator has no MC/S: more sessions do the same work.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1))]
    pub connections: u16,
    /// Commands outstanding per session.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub depth: u16,
    /// Size of an I/O: bytes, or with k, m.
    #[arg(long, default_value = "4k", value_parser = parse_size)]
    pub block: u64,
    /// `read`, `write`, or the percentage of reads.
    #[arg(long, default_value = "read", value_parser = parse_mix)]
    pub mix: Mix,
    /// Order of the addresses.
    #[arg(long, default_value = "random")]
    pub pattern: Pattern,
    /// Bytes of the LUN that are used, from its start: bytes, or with k, m, g. Default: all of it.
    #[arg(long, value_parser = parse_size)]
    pub span: Option<u64>,
    /// Which CRC32C digests to negotiate.
    #[arg(long, default_value = "none")]
    pub digests: Digests,
    /// How long to measure.
    #[arg(long, default_value_t = 5.0, value_parser = parse_seconds)]
    pub seconds: f64,
    /// How long to run before that.
    #[arg(long, default_value_t = 1.0, value_parser = parse_seconds)]
    pub warmup: f64,
    /// Open loop: start this many I/Os per second whatever is outstanding; latency counts from the intended start.
    #[arg(long, value_name = "IOPS", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Write a self-describing pattern to the whole span first, then check every read and track every write.
    #[arg(long)]
    pub verify: bool,
    /// Process whose CPU time, context switches and system calls are counted.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// After the measurement, go on for this long and count the server's system calls (needs tracefs and root).
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = parse_seconds)]
    pub syscalls: f64,
    /// One more session that sends a NOP-Out each so many milliseconds.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..))]
    pub nop_probe: Option<u32>,
    /// One more session that has one read of this many bytes outstanding all the time; its latency is reported apart.
    #[arg(long, value_name = "BYTES", value_parser = parse_size, conflicts_with = "verify")]
    pub read_probe: Option<u64>,
    /// One more session that has one WRITE SAME(16) of this many bytes outstanding all the time.
    #[arg(long, value_name = "BYTES", value_parser = parse_size, conflicts_with = "verify")]
    pub write_same: Option<u64>,
    /// Further sessions that log in and then only answer pings.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=60_000))]
    pub idle_sessions: u16,
    /// How the client waits: `spin` never sleeps, `block` lends its core to others.
    #[arg(long, default_value = "spin")]
    pub client_poll: ClientPoll,
    /// Core to run on.
    #[arg(long)]
    pub core: Option<usize>,
    /// SO_SNDBUF and SO_RCVBUF; default: the kernel's automatic sizes.
    #[arg(long, value_parser = parse_size)]
    pub socket_buffers: Option<u64>,
    /// TCP congestion control, or `system` for the system's.
    #[arg(long, default_value = "cubic")]
    pub congestion: String,
    /// Start value of the random addresses.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// Show progress even if standard error is not a terminal.
    #[arg(long)]
    pub progress: bool,
}

/// Percentage of reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix(pub u8);

/// Which digests to negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Digests {
    /// None.
    None,
    /// HeaderDigest only.
    Header,
    /// DataDigest only.
    Data,
    /// Both.
    Both,
}

impl Digests {
    /// Whether to ask for HeaderDigest=CRC32C.
    pub fn header(self) -> bool {
        matches!(self, Self::Header | Self::Both)
    }

    /// Whether to ask for DataDigest=CRC32C.
    pub fn data(self) -> bool {
        matches!(self, Self::Data | Self::Both)
    }
}

/// How the client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientPoll {
    /// `epoll_wait` with timeout zero, over and over.
    Spin,
    /// Sleeps in `epoll_wait`.
    Block,
}

/// A number of bytes, with k, m or g for powers of 1024.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match lower.char_indices().last() {
        Some((at, 'k')) => (&lower[..at], 10),
        Some((at, 'm')) => (&lower[..at], 20),
        Some((at, 'g')) => (&lower[..at], 30),
        _ => (lower, 0),
    };
    let number: u64 = digits.parse().map_err(|_| format!("'{text}' is not a size"))?;
    number.checked_mul(1 << shift).filter(|&size| size > 0).ok_or_else(|| format!("'{text}' is out of range"))
}

fn parse_mix(text: &str) -> Result<Mix, String> {
    match text {
        "read" => Ok(Mix(100)),
        "write" => Ok(Mix(0)),
        _ => match text.trim_end_matches('%').parse() {
            Ok(percent @ 0..=100) => Ok(Mix(percent)),
            _ => Err("'read', 'write' or a percentage of reads".into()),
        },
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=1e6).contains(&seconds) => Ok(seconds),
        _ => Err("seconds, at most a million".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let sizes = ["512", "4k", "128K", "1m", "2G", "512MiB", "4KB"].map(|text| parse_size(text).unwrap());
        assert_eq!(sizes, [512, 4096, 131_072, 1 << 20, 2 << 30, 512 << 20, 4096]);
        for bad in ["", "k", "-1", "0", "4x", "99999999999g", "ä"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mixes() {
        assert_eq!(["read", "write", "70", "30%"].map(parse_mix), [100, 0, 70, 30].map(|p| Ok(Mix(p))));
        assert!(parse_mix("101").is_err() && parse_mix("").is_err());
    }

    #[test]
    fn a_target_needs_a_name_and_the_floor_does_not() {
        let parse = |args: &[&str]| Options::try_parse_from([&["loadgen", "--portal", "127.0.0.1:1"], args].concat());
        assert!(parse(&[]).is_err());
        assert!(parse(&["--floor"]).is_ok());
        assert!(parse(&["--target", "iqn.x", "--digests", "both"]).unwrap().digests.header());
    }
}
