//! What a server does now: the difference of what it had counted at two moments.

use ringsan::mgmt::view::{Commands, Core, Latency, Lun, Session, Sessions, Status, Target};
use serde::Serialize;
use std::collections::HashMap;

/// What a server has told at a moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When, microseconds of any clock that goes on.
    pub at_us: u64,
    pub status: Status,
    pub sessions: Sessions,
}

/// What happened between two moments, and what is there at the later one. `None`: that is not known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rates {
    /// How long the interval was; none: there is only one moment, or the server was started anew in between.
    pub seconds: Option<f64>,
    pub cores: Vec<CoreRates>,
    pub luns: Vec<LunRates>,
    pub sessions: Vec<SessionRow>,
    /// Cores that have not told of their sessions.
    pub silent_cores: Vec<usize>,
}

/// A core.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CoreRates {
    pub core: usize,
    pub answers: bool,
    pub busy_percent: Option<f64>,
    pub sessions: usize,
    pub connections: usize,
    pub commands_per_s: Option<f64>,
    pub read_bytes_per_s: Option<f64>,
    pub written_bytes_per_s: Option<f64>,
    /// Since the server began: quantiles have no difference.
    pub latency_since_start: Vec<Latency>,
}

/// A logical unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LunRates {
    pub target: String,
    pub lun: u16,
    pub kind: String,
    pub size_bytes: u64,
    pub hung: u64,
    pub commands_per_s: Option<f64>,
    pub by_kind: Vec<KindRates>,
}

/// Commands of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindRates {
    pub kind: String,
    pub commands_per_s: f64,
    pub bytes_per_s: f64,
    /// The mean of those that were answered in the interval, microseconds; none: there were none.
    pub mean_us: Option<f64>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionRow {
    pub tsih: u16,
    pub initiator: String,
    pub target: String,
    pub user: Option<String>,
    pub peer: String,
    pub core: usize,
    pub luns: usize,
    pub open_tasks: usize,
}

/// Sums over all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    pub commands_per_s: f64,
    pub read_bytes_per_s: f64,
    pub written_bytes_per_s: f64,
    /// The mean of reads and writes, microseconds.
    pub mean_us: f64,
}

/// How much a counter has grown in a second; none: it began anew.
fn grown(before: u64, now: u64, seconds: f64) -> Option<f64> {
    Some(now.checked_sub(before)? as f64 / seconds)
}

impl Rates {
    /// What happened from `before` to `now`.
    pub fn between(before: Option<&Sample>, now: &Sample) -> Rates {
        let same = before.filter(|before| before.status.since == now.status.since && before.at_us < now.at_us);
        let seconds = same.map(|before| (now.at_us - before.at_us) as f64 / 1e6);
        let before = same.zip(seconds);
        let cores = now.status.cores.iter().map(|core| {
            let old = before.and_then(|(sample, seconds)| {
                let old = sample.status.cores.iter().find(|old| old.core == core.core)?;
                // One that has not answered told of nothing.
                (old.answers && core.answers).then_some((old, seconds))
            });
            core_rates(core, old)
        });
        let mut olds: HashMap<(&str, u16), &Lun> = HashMap::new();
        for target in before.iter().flat_map(|(sample, _)| &sample.status.targets) {
            olds.extend(target.luns.iter().map(|lun| ((target.name.as_str(), lun.lun), lun)));
        }
        let luns = now.status.targets.iter().flat_map(|target| target.luns.iter().map(move |lun| (target, lun)));
        let luns = luns.map(|(target, lun)| {
            // Another disk may have the number now.
            let old = olds.get(&(target.name.as_str(), lun.lun)).filter(|old| old.naa == lun.naa);
            lun_rates(target, lun, old.copied().zip(seconds))
        });
        Rates {
            seconds,
            cores: cores.collect(),
            luns: luns.collect(),
            sessions: now.sessions.sessions.iter().map(session_row).collect(),
            silent_cores: now.sessions.silent_cores.clone(),
        }
    }

    /// Sums over all cores and logical units.
    pub fn totals(&self) -> Totals {
        let sum = |of: fn(&CoreRates) -> Option<f64>| self.cores.iter().filter_map(of).sum::<f64>();
        let timed = self.luns.iter().flat_map(|lun| &lun.by_kind).filter(|of| of.kind == "read" || of.kind == "write");
        let (took, commands) = timed.fold((0.0, 0.0), |(took, commands), of| {
            (took + of.mean_us.unwrap_or(0.0) * of.commands_per_s, commands + of.commands_per_s)
        });
        Totals {
            commands_per_s: sum(|core| core.commands_per_s),
            read_bytes_per_s: sum(|core| core.read_bytes_per_s),
            written_bytes_per_s: sum(|core| core.written_bytes_per_s),
            mean_us: if commands > 0.0 { took / commands } else { 0.0 },
        }
    }
}

fn core_rates(core: &Core, old: Option<(&Core, f64)>) -> CoreRates {
    let rate = |of: fn(&Core) -> u64| old.and_then(|(old, seconds)| grown(of(old), of(core), seconds));
    CoreRates {
        core: core.core,
        answers: core.answers,
        busy_percent: core.busy.map(|thousandths| f64::from(thousandths) / 10.0),
        sessions: core.sessions,
        connections: core.connections,
        commands_per_s: rate(|core| core.counters.commands),
        read_bytes_per_s: rate(|core| core.counters.read_bytes),
        written_bytes_per_s: rate(|core| core.counters.written_bytes),
        latency_since_start: core.latency.clone(),
    }
}

fn lun_rates(target: &Target, lun: &Lun, old: Option<(&Lun, f64)>) -> LunRates {
    let kind = |now: &Commands| {
        let (old, seconds) = old?;
        let old = old.commands.iter().find(|old| old.kind == now.kind)?;
        let commands = now.commands.checked_sub(old.commands)?;
        let took_us = now.took_us.checked_sub(old.took_us)?;
        Some(KindRates {
            kind: now.kind.clone(),
            commands_per_s: commands as f64 / seconds,
            bytes_per_s: grown(old.bytes, now.bytes, seconds)?,
            mean_us: (commands > 0).then(|| took_us as f64 / commands as f64),
        })
    };
    let by_kind: Option<Vec<KindRates>> = lun.commands.iter().map(kind).collect();
    LunRates {
        target: target.name.clone(),
        lun: lun.lun,
        kind: lun.kind.clone(),
        size_bytes: lun.size_bytes,
        hung: lun.hung,
        // A server that does not count for each has told of no kinds.
        commands_per_s: by_kind
            .as_ref()
            .filter(|of| old.is_some() && !of.is_empty())
            .map(|of| of.iter().map(|of| of.commands_per_s).sum()),
        by_kind: by_kind.unwrap_or_default(),
    }
}

fn session_row(session: &Session) -> SessionRow {
    let peer = session.connections.first().map_or("none", |connection| &connection.peer);
    let more = session.connections.len().saturating_sub(1);
    SessionRow {
        tsih: session.tsih,
        initiator: session.initiator.clone(),
        target: session.target.clone().unwrap_or_else(|| session.kind.clone()),
        user: session.user.clone(),
        peer: if more > 0 { format!("{peer} +{more}") } else { peer.to_owned() },
        core: session.core,
        luns: session.luns,
        open_tasks: session.open_tasks,
    }
}
