//! The state of the server as metrics: base units, names ending in `_total` for what only grows, and labels of which there are
//! as many as there are cores, logical units, and causes that a standard has names for. No label is a text of a peer's.

use super::causes::Causes;
use super::view::{Counters, Status};
use crate::fabric::report::{Class, CoreReport, Latency, Stage, Trouble};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

const OPEN_METRICS: &str = "application/openmetrics-text";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCore {
    core: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLun {
    target: String,
    lun: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCommands {
    target: String,
    lun: u16,
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfErrors {
    target: String,
    lun: u16,
    sense: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSpent {
    target: String,
    lun: u16,
    kind: String,
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLatency {
    core: usize,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStage {
    core: usize,
    kind: &'static str,
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: String,
}

/// A counter of a core: its name without `_total`, what it means, and where it is.
type CoreCounter = (&'static str, &'static str, Option<Unit>, fn(&Counters) -> u64);

/// The counters of a core.
const CORE_COUNTERS: &[CoreCounter] = &[
    ("connections_accepted", "Connections accepted", None, |of| of.accepted),
    ("connections_refused", "Connections turned away because a limit was reached", None, |of| of.refused),
    ("logins", "Logins completed", None, |of| of.logins),
    ("login_failures", "Logins refused or given up", None, |of| of.failed_logins),
    ("commands", "SCSI commands executed", None, |of| of.commands),
    ("read", "Bytes asked for by reads", Some(Unit::Bytes), |of| of.read_bytes),
    ("written", "Bytes announced by writes", Some(Unit::Bytes), |of| of.written_bytes),
    ("digest_errors", "PDUs with a digest that did not match", None, |of| of.digest_errors),
    ("medium_faults", "Reads and writes that ended because a medium failed", None, |of| of.medium_faults),
    ("sessions_moved", "Sessions that moved to this core from another one", None, |of| of.moved_in),
    ("commands_overdue", "Commands that ended because their data did not come in time", None, |of| of.overdue),
    ("io_buffer_failures", "Times that there was no I/O buffer for who asked for one", None, |of| of.buffer_failures),
    ("receive_buffer_shortages", "Receives that found no free buffer", None, |of| of.out_of_receive_buffers),
];

/// The metrics, in the format that is asked for, and its media type.
pub(super) fn text(status: &Status, reports: &[Option<CoreReport>], accept: &str) -> (&'static str, String) {
    let mut registry = registry(status);
    registry.register_collector(Box::new(Durations::of(reports)));
    registry.register_collector(Box::new(Causes::of(reports)));
    let mut text = String::new();
    // Writing to a String cannot fail.
    if accept.contains(OPEN_METRICS) {
        let _ = text::encode(&mut text, &registry);
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", text)
    } else {
        let _ = prometheus_text::encode(&mut text, &registry);
        ("text/plain; version=0.0.4; charset=utf-8", text)
    }
}

/// All metrics, with the values of now.
fn registry(status: &Status) -> Registry {
    let mut registry = Registry::with_prefix("ringsan");
    let build = Family::<Build, Gauge>::default();
    build.get_or_create(&Build { version: status.version.clone() }).set(1);
    registry.register("build_info", "Which program this is", build);
    let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let gauges: [(&str, &str, u64); 3] = [
        ("healthy", "1: nothing is wrong that is known of", status.healthy.into()),
        ("configuration_generation", "The number of the configuration that is served", status.generation),
        ("targets", "Targets served", status.targets.len() as u64),
    ];
    for (name, help, value) in gauges {
        let gauge: Gauge = Gauge::default();
        gauge.set(whole(value));
        registry.register(name, help, gauge);
    }
    let start: Gauge = Gauge::default();
    start.set(whole(status.since));
    registry.register_with_unit("start_time", "When the server began to serve, since 1970", Unit::Seconds, start);
    cores(status, &mut registry);
    luns(status, &mut registry);
    registry
}

fn cores(status: &Status, registry: &mut Registry) {
    for (name, help, unit, value) in CORE_COUNTERS {
        let family = Family::<OfCore, Counter>::default();
        for core in status.cores.iter().filter(|core| core.answers) {
            family.get_or_create(&OfCore { core: core.core }).inc_by(value(&core.counters));
        }
        match unit {
            Some(unit) => registry.register_with_unit(*name, *help, unit.clone(), family),
            None => registry.register(*name, *help, family),
        }
    }
    let [up, sessions, connections, used, operations] = [(); 5].map(|()| Family::<OfCore, Gauge>::default());
    let (busy, free) =
        (Family::<OfCore, Gauge<f64, std::sync::atomic::AtomicU64>>::default(), Family::<OfCore, Gauge>::default());
    for core in &status.cores {
        let of = OfCore { core: core.core };
        up.get_or_create(&of).set(core.answers.into());
        if let Some(thousandths) = core.busy {
            busy.get_or_create(&of).set(f64::from(thousandths) / 1000.0);
        }
        if core.answers {
            sessions.get_or_create(&of).set(core.sessions as i64);
            connections.get_or_create(&of).set(core.connections as i64);
            free.get_or_create(&of).set(core.free_buffer_bytes as i64);
            used.get_or_create(&of).set(core.used_buffer_bytes as i64);
            operations.get_or_create(&of).set(core.operations as i64);
        }
    }
    registry.register("core_up", "1: the core answers", up);
    registry.register_with_unit(
        "core_busy",
        "The part of its time that the core works",
        Unit::Other("ratio".to_owned()),
        busy,
    );
    registry.register("sessions", "Sessions", sessions);
    registry.register("connections", "Connections, those that log in among them", connections);
    registry.register_with_unit("io_buffers_free", "I/O buffers that nobody holds", Unit::Bytes, free);
    registry.register_with_unit("io_buffers_used", "I/O buffers that somebody holds", Unit::Bytes, used);
    registry.register("medium_operations", "Operations that media have not answered", operations);
}

fn luns(status: &Status, registry: &mut Registry) {
    let [size, hung, degraded, queued] = [(); 4].map(|()| Family::<OfLun, Gauge>::default());
    for (target, lun) in status.targets.iter().flat_map(|target| target.luns.iter().map(move |lun| (target, lun))) {
        let of = OfLun { target: target.name.clone(), lun: lun.lun };
        size.get_or_create(&of).set(i64::try_from(lun.size_bytes).unwrap_or(i64::MAX));
        hung.get_or_create(&of).set(i64::try_from(lun.hung).unwrap_or(i64::MAX));
        queued.get_or_create(&of).set(i64::try_from(lun.queued).unwrap_or(i64::MAX));
        degraded.get_or_create(&of).set(0);
    }
    for target in &status.targets {
        for lun in &target.degraded {
            degraded.get_or_create(&OfLun { target: target.name.clone(), lun: lun.lun }).set(1);
        }
    }
    registry.register_with_unit("lun_size", "Capacity of the logical unit", Unit::Bytes, size);
    registry.register("lun_hung_operations", "Operations that the medium has not answered for long", hung);
    registry.register("lun_queued_commands", "Commands at the medium, or waiting for that, or for data", queued);
    registry.register("lun_degraded", "1: the logical unit cannot be served, and is tried again", degraded);
    // While a core is silent there is nothing of this, lest a sum seem to begin again.
    if status.cores.iter().all(|core| core.answers) {
        commands(status, registry);
        errors(status, registry);
    }
}

/// What commands have ended with that did not end well. All that there may be is there from the beginning: what is to be told
/// of is often the first.
fn errors(status: &Status, registry: &mut Registry) {
    let count = Family::<OfErrors, Counter>::default();
    for (target, lun) in status.targets.iter().flat_map(|target| target.luns.iter().map(move |lun| (target, lun))) {
        for sense in Trouble::ALL.map(Trouble::word) {
            let of = OfErrors { target: target.name.clone(), lun: lun.lun, sense };
            count.get_or_create(&of).inc_by(lun.errors.get(sense).copied().unwrap_or(0));
        }
    }
    let help = "Commands that the logical unit has ended with an error, by sense key, or by status without sense data";
    registry.register("lun_errors", help, count);
}

/// What logical units have answered, by kind.
fn commands(status: &Status, registry: &mut Registry) {
    let (count, bytes) = (Family::<OfCommands, Counter>::default(), Family::<OfCommands, Counter>::default());
    let took = Family::<OfCommands, Counter<f64, std::sync::atomic::AtomicU64>>::default();
    let spent = Family::<OfSpent, Counter<f64, std::sync::atomic::AtomicU64>>::default();
    for (target, lun) in status.targets.iter().flat_map(|target| target.luns.iter().map(move |lun| (target, lun))) {
        for commands in &lun.commands {
            let of = OfCommands { target: target.name.clone(), lun: lun.lun, kind: commands.kind.clone() };
            count.get_or_create(&of).inc_by(commands.commands);
            took.get_or_create(&of).inc_by(commands.took_us as f64 / 1e6);
            for stage in Stage::ALL.map(Stage::word) {
                let us = commands.spent_us.get(stage).copied().unwrap_or(0);
                let (target, kind) = (target.name.clone(), commands.kind.clone());
                spent.get_or_create(&OfSpent { target, lun: lun.lun, kind, stage }).inc_by(us as f64 / 1e6);
            }
            if commands.kind == Class::Read.word() || commands.kind == Class::Write.word() {
                bytes.get_or_create(&of).inc_by(commands.bytes);
            }
        }
    }
    registry.register("lun_commands", "SCSI commands that the logical unit has answered", count);
    registry.register_with_unit("lun_transferred", "Bytes that those have read or written", Unit::Bytes, bytes);
    registry.register_with_unit("lun_commands_took", "What those took in all", Unit::Seconds, took);
    let help = "What of that was spent in the queue, at the medium, and with the network, if it was more than a turn";
    registry.register_with_unit("lun_commands_spent", help, Unit::Seconds, spent);
}

/// The upper bounds of what durations are sorted into, microseconds.
const BOUNDS_US: [u64; 20] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    2_000_000, 5_000_000, 10_000_000, 30_000_000,
];

/// How long commands took on each core.
#[derive(Debug)]
struct Durations(Vec<(OfLatency, Latency)>);

impl Durations {
    fn of(reports: &[Option<CoreReport>]) -> Durations {
        let traffic = reports.iter().flatten().filter_map(|report| Some((report.core, report.traffic.as_deref()?)));
        let all = traffic.flat_map(|(core, traffic)| {
            let of = move |class: Class| OfLatency { core, kind: class.word() };
            Class::ALL.map(|class| (of(class), traffic.latency[class as usize].clone()))
        });
        Durations(all.collect())
    }
}

/// How many took so long, by the upper bounds in seconds; the last has none. `zeros`: how many took no time.
fn buckets(took_us: impl Iterator<Item = (u64, u64)>, zeros: u64) -> Vec<(f64, u64)> {
    let mut counts = [0; BOUNDS_US.len() + 1];
    counts[0] = zeros;
    for (us, count) in took_us {
        counts[BOUNDS_US.partition_point(|bound| *bound < us)] += count;
    }
    let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
    bounds.zip(counts).collect()
}

impl Collector for Durations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help =
            "How long commands took, from the turn that they were executed in to the one that they were answered in";
        let mut metric =
            encoder.encode_descriptor("command_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (of, latency) in &self.0 {
            let sum = latency.sum_us as f64 / 1e6;
            let times = latency.took_us.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()));
            let mut family = metric.encode_family(of)?;
            family.encode_histogram::<NoLabelSet>(sum, latency.took_us.len(), &buckets(times, 0), None)?;
        }
        let help =
            "How long commands that took more than a turn were in the queue, at the medium, and with the network";
        let mut metric =
            encoder.encode_descriptor("command_stage_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (OfLatency { core, kind }, latency) in &self.0 {
            for (stage, times) in Stage::ALL.into_iter().zip(&latency.stages) {
                let zeros = latency.later.saturating_sub(times.count());
                let of = OfStage { core: *core, kind, stage: stage.word() };
                let mut family = metric.encode_family(&of)?;
                let sum = times.sum_us as f64 / 1e6;
                family.encode_histogram::<NoLabelSet>(sum, latency.later, &buckets(times.iter(), zeros), None)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mgmt::api::counted::tests::report;
    use crate::mgmt::view::{Core, Target};

    fn core(number: usize, answers: bool) -> Core {
        let counters = Counters { commands: 7, read_bytes: 4096, ..Counters::default() };
        Core {
            core: number,
            answers,
            busy: answers.then_some(250),
            sessions: 2,
            connections: 3,
            free_buffer_bytes: 1 << 20,
            used_buffer_bytes: 3 << 20,
            operations: 9,
            counters: if answers { counters } else { Counters::default() },
            latency: Vec::new(),
        }
    }

    fn status() -> Status {
        Status {
            version: "1.2.3".to_owned(),
            since: 1_000,
            uptime_s: 5,
            generation: 4,
            healthy: false,
            problems: vec!["core 1 does not answer".to_owned()],
            cores: vec![core(0, true), core(1, false)],
            portals: Vec::new(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn names_have_units_and_a_core_that_is_silent_counts_nothing() {
        let reports = [Some(report(0, (Class::Read, 3), 40)), None];
        let (kind, text) = text(&status(), &reports, "text/plain;version=0.0.4");
        assert!(kind.starts_with("text/plain"));
        for line in [
            "ringsan_build_info{version=\"1.2.3\"} 1",
            "ringsan_healthy 0",
            "ringsan_start_time_seconds 1000",
            "ringsan_commands_total{core=\"0\"} 7",
            "ringsan_read_bytes_total{core=\"0\"} 4096",
            "ringsan_core_up{core=\"0\"} 1",
            "ringsan_core_up{core=\"1\"} 0",
            "ringsan_core_busy_ratio{core=\"0\"} 0.25",
            "ringsan_io_buffers_used_bytes{core=\"0\"} 3145728",
            "ringsan_medium_operations{core=\"0\"} 9",
            "ringsan_io_buffer_failures_total{core=\"0\"} 0",
            "ringsan_command_duration_seconds_bucket{core=\"0\",kind=\"read\",le=\"2e-05\"} 0",
            "ringsan_command_duration_seconds_bucket{core=\"0\",kind=\"read\",le=\"5e-05\"} 3",
            "ringsan_command_duration_seconds_bucket{core=\"0\",kind=\"read\",le=\"+Inf\"} 3",
            "ringsan_command_duration_seconds_count{core=\"0\",kind=\"read\"} 3",
            "ringsan_command_duration_seconds_sum{core=\"0\",kind=\"read\"} 0.00012",
        ] {
            assert!(text.lines().any(|said| said == line), "{line}\n{text}");
        }
        let of_silent = text.lines().filter(|line| line.contains("core=\"1\""));
        assert_eq!(of_silent.collect::<Vec<_>>(), ["ringsan_core_up{core=\"1\"} 0"]);
    }

    /// A target with a LUN that has read twice, and could not once.
    fn target() -> Target {
        let json = serde_json::json!({
            "name": "iqn.2026-01.example:t", "portal_groups": [], "groups_only": false, "users": [], "groups": [],
            "luns": [{
                "lun": 3, "kind": "ram", "size_bytes": 512, "block_bytes": 512, "readonly": false, "thin": false,
                "serial": "", "naa": "", "hung": 0, "queued": 5, "errors": {"medium error": 1},
                "commands": [{"kind": "read", "commands": 2, "bytes": 1024, "took_us": 30, "spent_us": {"medium": 20}}],
            }]
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_lun_has_its_commands_and_errors_unless_a_core_is_silent() {
        let of = |cores| Status { cores, targets: vec![target()], ..status() };
        let (_, said) = text(&of(vec![core(0, true)]), &[], "text/plain");
        for line in [
            "lun_commands_total{target=\"iqn.2026-01.example:t\",lun=\"3\",kind=\"read\"} 2",
            "lun_commands_spent_seconds_total{target=\"iqn.2026-01.example:t\",lun=\"3\",kind=\"read\",stage=\"medium\"} 0.00002",
            "lun_commands_spent_seconds_total{target=\"iqn.2026-01.example:t\",lun=\"3\",kind=\"read\",stage=\"queue\"} 0.0",
            "lun_errors_total{target=\"iqn.2026-01.example:t\",lun=\"3\",sense=\"medium error\"} 1",
            "lun_errors_total{target=\"iqn.2026-01.example:t\",lun=\"3\",sense=\"hardware error\"} 0",
        ] {
            assert!(said.lines().any(|said| said == format!("ringsan_{line}")), "{line}\n{said}");
        }
        let (_, said) = text(&of(vec![core(0, true), core(1, false)]), &[], "text/plain");
        assert!(said.contains("lun_queued_commands{target=\"iqn.2026-01.example:t\",lun=\"3\"} 5\n"), "{said}");
        assert!(said.contains("lun_size_bytes") && !said.contains("lun_commands_total{"), "{said}");
        assert!(!said.contains("lun_errors_total{"), "{said}");
    }

    #[test]
    fn stages_are_of_those_commands_that_took_more_than_a_turn() {
        let mut one = report(0, (Class::Read, 3), 40);
        let read = &mut one.traffic.as_mut().unwrap().latency[Class::Read as usize];
        read.later = 2;
        let medium = &mut read.stages[Stage::Medium as usize];
        medium.note(900, 1);
        let (_, said) = text(&status(), &[Some(one)], "text/plain");
        for line in [
            "_count{core=\"0\",kind=\"read\",stage=\"medium\"} 2",
            "_sum{core=\"0\",kind=\"read\",stage=\"medium\"} 0.0009",
            "_bucket{core=\"0\",kind=\"read\",stage=\"medium\",le=\"1e-05\"} 1",
            "_bucket{core=\"0\",kind=\"read\",stage=\"medium\",le=\"0.001\"} 2",
            "_bucket{core=\"0\",kind=\"read\",stage=\"queue\",le=\"1e-05\"} 2",
            "_count{core=\"0\",kind=\"write\",stage=\"medium\"} 0",
        ] {
            let line = format!("ringsan_command_stage_duration_seconds{line}");
            assert!(said.lines().any(|said| said == line), "{line}\n{said}");
        }
    }

    #[test]
    fn causes_are_of_all_cores_and_none_while_one_is_silent() {
        let mut one = report(0, (Class::Read, 3), 40);
        one.protocol.login_refused(crate::wire::LoginStatus::NOT_FOUND);
        let reports = [Some(one.clone()), Some(one)];
        let (_, said) = text(&status(), &reports, "text/plain");
        for line in [
            "ringsan_login_failures_by_cause_total{cause=\"not found\"} 2",
            "ringsan_login_failures_by_cause_total{cause=\"given up\"} 0",
            "ringsan_task_management_total{function=\"logical unit reset\"} 0",
            "ringsan_connections_ended_total{reason=\"nop timeout\"} 0",
        ] {
            assert!(said.lines().any(|said| said == line), "{line}\n{said}");
        }
        let (_, said) = text(&status(), &[reports[0].clone(), None], "text/plain");
        assert!(!said.contains("cause="), "{said}");
    }

    #[test]
    fn who_asks_for_open_metrics_gets_them() {
        let (kind, text) = text(&status(), &[], "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
        assert!(kind.starts_with(OPEN_METRICS) && text.ends_with("# EOF\n"));
    }
}
