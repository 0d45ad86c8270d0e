//! What is served and what the cores tell, as the interface shows it. Secrets are in none of it.

use super::super::Reach;
use super::super::view::{Connection, Core, Counters, Degraded, Group, Lun, Portal, Session, Status, Target};
use super::counted;
use crate::fabric::report::{ConnectionReport, CoreReport, SessionReport};
use crate::limits::ARENA_BYTES;
use crate::model::{self, Credentials, LunKind, LunSpec};
use crate::session::SessionKind;
use crate::session::params::{OwnParams, Params, TaskReporting};
use crate::unit::Unit;
use crate::world::World;
use crate::world::missing::MissingLun;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

/// How the server is.
pub(super) fn status(reach: &Reach, reports: &[Option<CoreReport>]) -> Status {
    let world = reach.world.lock().clone();
    let (cores, targets) = (cores(reach, reports), targets(&world, reports));
    let portals = portals(&world);
    let problems = problems(&cores, (&targets, &portals), reports);
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: seconds(reach.since),
        uptime_s: reach.since.elapsed().map_or(0, |up| up.as_secs()),
        generation: world.generation,
        healthy: problems.is_empty(),
        problems,
        cores,
        portals,
        targets,
    }
}

/// The portals, also those that cannot be listened on.
pub(super) fn portals(world: &World) -> Vec<Portal> {
    let portal = |of: &model::Portal, degraded: Option<String>| Portal {
        listen: of.listen.to_string(),
        advertise: of.advertise.map(|address| address.to_string()),
        group: of.group_tag,
        degraded,
    };
    let missing = world.missing.lock().portals.clone();
    let missing = missing.iter().filter(|of| !of.waits).map(|of| portal(&of.portal, Some(of.why.clone())));
    world.directory.snapshot().portals.iter().map(|of| portal(of, None)).chain(missing).collect()
}

/// What is wrong.
fn problems(cores: &[Core], (targets, portals): (&[Target], &[Portal]), reports: &[Option<CoreReport>]) -> Vec<String> {
    let silent = cores.iter().filter(|core| !core.answers).map(|core| format!("core {} does not answer", core.core));
    let luns = targets.iter().flat_map(|target| target.luns.iter().map(move |lun| (target, lun)));
    let hung = luns.filter(|(_, lun)| lun.hung > 0).map(|(target, lun)| {
        format!("LUN {} of {}: its medium has not answered {} operations for long", lun.lun, target.name, lun.hung)
    });
    let missing = reports.iter().flatten().map(|report| report.stats.missing).max().filter(|count| *count > 0);
    let missing =
        missing.map(|count| format!("{count} internal look-ups have failed: please report what the log says"));
    let degraded = targets.iter().flat_map(|target| target.degraded.iter().map(move |lun| (target, lun)));
    let degraded =
        degraded.map(|(target, lun)| format!("LUN {} of {} is not served: {}", lun.lun, target.name, lun.reason));
    let closed = portals.iter().filter_map(|portal| portal.degraded.clone());
    silent.chain(closed).chain(hung).chain(degraded).chain(missing).collect()
}

/// The cores.
pub(super) fn cores(reach: &Reach, reports: &[Option<CoreReport>]) -> Vec<Core> {
    let world = reach.world.lock().clone();
    let now_ms = world.clock.now_ns(Instant::now()) / 1_000_000;
    let one = |(core, report): (usize, &Option<CoreReport>)| {
        let busy = world.loads.get(core).and_then(|load| load.busy(now_ms));
        let of = |value: fn(&CoreReport) -> usize| report.as_ref().map_or(0, value);
        Core {
            core,
            answers: report.is_some(),
            busy,
            sessions: of(|report| report.sessions),
            connections: of(|report| report.connections),
            free_buffer_bytes: of(|report| report.free_buffer_bytes),
            used_buffer_bytes: of(|report| ARENA_BYTES - report.free_buffer_bytes),
            operations: of(|report| report.operations),
            counters: report.as_ref().map(counters).unwrap_or_default(),
            latency: report.as_ref().and_then(|of| of.traffic.as_deref()).map(counted::latency).unwrap_or_default(),
        }
    };
    reports.iter().enumerate().map(one).collect()
}

fn counters(CoreReport { stats, protocol, buffer_failures, .. }: &CoreReport) -> Counters {
    Counters {
        accepted: stats.accepted,
        refused: stats.refused,
        logins: stats.logins,
        failed_logins: protocol.login_failures(),
        commands: stats.commands,
        read_bytes: stats.executor.read_bytes,
        written_bytes: stats.executor.written_bytes,
        digest_errors: stats.digest_errors,
        medium_faults: stats.executor.medium_faults,
        moved_in: stats.moved_in,
        overdue: stats.executor.overdue,
        out_of_receive_buffers: stats.out_of_receive_buffers,
        buffer_failures: *buffer_failures,
    }
}

/// The targets.
pub(super) fn targets(world: &World, reports: &[Option<CoreReport>]) -> Vec<Target> {
    let missing = world.missing.lock().luns.clone();
    let served = world.targets.iter().zip(&world.directory.snapshot().targets).filter(|(target, _)| !target.removed);
    let target = |(served, spec): (&crate::world::targets::Target, &model::TargetSpec)| {
        let lun = |spec: &LunSpec| {
            let unit = *served.units.get(served.position(spec.number)?)?;
            Some(Lun {
                queued: counted::at_work(unit, reports),
                commands: counted::of_unit(unit, reports),
                errors: counted::troubles(unit, reports),
                ..lun(spec, world.units.get(unit)?)
            })
        };
        Target {
            name: spec.name.to_string(),
            alias: spec.alias.clone(),
            portal_groups: spec.portal_groups.clone(),
            groups_only: spec.groups_only,
            users: users(spec.credentials.as_deref()),
            luns: spec.luns.iter().filter_map(lun).collect(),
            degraded: missing.iter().filter(|of| of.target == spec.name && !of.waits).map(degraded).collect(),
            groups: spec.groups.iter().map(group).collect(),
        }
    };
    served.map(target).collect()
}

fn path(kind: &LunKind) -> String {
    match kind {
        LunKind::File(path) => path.display().to_string(),
        LunKind::Other { path, .. } => path.clone(),
        LunKind::Ram | LunKind::Null => String::new(),
    }
}

fn degraded(of: &MissingLun) -> Degraded {
    Degraded { lun: of.lun.number, path: path(&of.lun.kind), reason: of.why.clone(), since: of.since }
}

/// A logical unit, but for what cores tell of it.
fn lun(spec: &LunSpec, unit: &Unit) -> Lun {
    let name = unit.name();
    Lun {
        lun: spec.number,
        kind: spec.kind.word().to_owned(),
        path: path(&spec.kind),
        size_bytes: unit.logical.blocks() * u64::from(unit.block_bytes),
        block_bytes: unit.block_bytes,
        readonly: spec.readonly,
        thin: spec.thin,
        serial: name.serial.clone(),
        naa: name.naa.iter().map(|byte| format!("{byte:02x}")).collect(),
        hung: unit.hung.load(Ordering::Relaxed).into(),
        queued: 0,
        commands: Vec::new(),
        errors: BTreeMap::new(),
        iops: spec.limits.iops,
        bytes_per_s: spec.limits.bytes_per_s,
    }
}

fn users(credentials: Option<&Credentials>) -> Vec<String> {
    credentials.map_or_else(Vec::new, |of| of.initiators.iter().map(|account| account.name.to_string()).collect())
}

fn group(group: &model::Group) -> Group {
    let luns = group.luns.as_ref().map(|luns| luns.iter().map(|lun| (lun.number, lun.of_target)).collect());
    Group {
        name: group.name.clone(),
        initiators: group.initiators.iter().map(ToString::to_string).collect(),
        networks: group.networks.iter().map(ToString::to_string).collect(),
        users: users(group.credentials.as_deref()),
        luns,
    }
}

/// A session.
pub(super) fn session(world: &World, core: usize, report: &SessionReport) -> Session {
    let init = &report.init;
    let spec = world.directory.snapshot().targets.iter().find(|spec| Some(&spec.name) == init.target_name.as_ref());
    let group = spec.zip(report.group).and_then(|(spec, group)| spec.groups.get(group)).map(|group| group.name.clone());
    let kind = if init.kind == SessionKind::Normal { "normal" } else { "discovery" };
    Session {
        tsih: init.tsih.0,
        kind: kind.to_owned(),
        initiator: init.initiator.name.to_string(),
        isid: init.initiator.isid.to_string(),
        target: init.target_name.as_ref().map(ToString::to_string),
        portal_group: init.target_portal_group,
        user: report.user.as_deref().map(ToOwned::to_owned),
        group,
        core,
        lost: report.is_lost,
        luns: report.luns,
        open_tasks: report.open_tasks,
        keys: session_keys(&init.params),
        connections: report.connections.iter().map(connection).collect(),
        used: counted::used(&report.passed),
    }
}

fn connection(report: &ConnectionReport) -> Connection {
    Connection {
        cid: report.cid.0,
        peer: report.peer.to_string(),
        portal: report.portal.to_string(),
        keys: connection_keys(&report.own),
    }
}

fn said(pairs: &[(&str, String)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn yes(is_so: bool) -> String {
    if is_so { "Yes" } else { "No" }.to_owned()
}

/// The keys of RFC 7143 chapter 13 that hold for all connections of a session.
fn session_keys(p: &Params) -> BTreeMap<String, String> {
    let reporting = match p.task_reporting {
        TaskReporting::Rfc3720 => "RFC3720",
        TaskReporting::ResponseFence => "ResponseFence",
        TaskReporting::FastAbort => "FastAbort",
    };
    said(&[
        ("MaxConnections", p.max_connections.to_string()),
        ("InitialR2T", yes(p.initial_r2t)),
        ("ImmediateData", yes(p.immediate_data)),
        ("MaxBurstLength", p.max_burst_bytes.to_string()),
        ("FirstBurstLength", p.first_burst_bytes.to_string()),
        ("DefaultTime2Wait", p.time2wait_s.to_string()),
        ("DefaultTime2Retain", p.time2retain_s.to_string()),
        ("MaxOutstandingR2T", p.max_outstanding_r2t.to_string()),
        ("DataPDUInOrder", yes(p.data_pdu_in_order)),
        ("DataSequenceInOrder", yes(p.data_sequence_in_order)),
        ("ErrorRecoveryLevel", p.error_recovery_level.to_string()),
        ("TaskReporting", reporting.to_owned()),
        ("iSCSIProtocolLevel", p.protocol_level.to_string()),
    ])
}

/// Those that each connection has for itself. MaxRecvDataSegmentLength is what the initiator takes in one PDU.
fn connection_keys(p: &OwnParams) -> BTreeMap<String, String> {
    let digest = |is_used: bool| if is_used { "CRC32C" } else { "None" }.to_owned();
    said(&[
        ("HeaderDigest", digest(p.header_digest)),
        ("DataDigest", digest(p.data_digest)),
        ("MaxRecvDataSegmentLength", p.initiator_max_recv_bytes.to_string()),
    ])
}
