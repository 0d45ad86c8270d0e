//! What a running server has answered, as tables and lines for people.

use comfy_table::{ContentArrangement, Table, presets};
use ringsan::config::size::Bytes;
use ringsan::mgmt::view::{Account, Affected, Applied, Core, Plan, Portal, Session, Sessions, Status, Target};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A text of one line without what a terminal would act on, or show in another order: names come from peers, too.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_unclean(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The same of several lines.
pub fn clean_text(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && is_unclean(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Control characters, and those that change the direction of what follows.
fn is_unclean(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A table of as many columns as `head` has words, without lines, no wider than the terminal says that it is.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(head);
    table.add_rows(rows.into_iter().map(|row| row.iter().map(|cell| clean(cell)).collect::<Vec<_>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string().lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

/// A time in the two units that say most of it.
pub fn duration(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}

/// How the server is, and what it serves.
pub fn status_table(status: &Status) -> String {
    let sum = |of: fn(&Core) -> usize| status.cores.iter().map(of).sum::<usize>();
    let (sessions, connections) = (sum(|core| core.sessions), sum(|core| core.connections));
    let mut text = format!(
        "ringsan {}, up {}, {} on {} core{}: {sessions} session{}, {connections} connection{}\n",
        status.version,
        duration(status.uptime_s),
        if status.healthy { "all is well" } else { "NOT WELL" },
        status.cores.len(),
        plural(status.cores.len()),
        plural(sessions),
        plural(connections),
    );
    for problem in &status.problems {
        let _ = writeln!(text, "  ! {problem}");
    }
    for portal in &status.portals {
        let advertise = portal.advertise.as_ref().map(|at| format!(", advertised as {at}")).unwrap_or_default();
        let degraded = if portal.degraded.is_some() { " DEGRADED" } else { "" };
        let _ = writeln!(text, "portal {} group {}{advertise}{degraded}", portal.listen, portal.group);
    }
    text + "\n" + &luns(&status.targets) + "\n" + &cores(&status.cores)
}

/// The end of a noun.
pub fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Logical units, a line each.
pub fn luns(targets: &[Target]) -> String {
    let rows = targets.iter().flat_map(|target| {
        let degraded = target.degraded.iter().map(|lun| {
            let (flag, path) = ("DEGRADED".to_owned(), or_dash(Some(&lun.path)));
            vec![target.name.clone(), lun.lun.to_string(), "-".to_owned(), "-".to_owned(), flag, path]
        });
        let served = target.luns.iter().map(|lun| {
            let flags = [(lun.readonly, "ro"), (lun.thin, "thin"), (lun.hung > 0, "HUNG")];
            let flags: Vec<&str> = flags.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word).collect();
            vec![
                target.name.clone(),
                lun.lun.to_string(),
                Bytes(lun.size_bytes).to_string(),
                lun.kind.clone(),
                or_dash(Some(&flags.join(","))),
                or_dash(Some(&lun.path)),
            ]
        });
        served.chain(degraded)
    });
    table(&["TARGET", "LUN", "SIZE", "KIND", "FLAGS", "PATH"], rows)
}

fn cores(cores: &[Core]) -> String {
    let row = |core: &Core| {
        let busy = core.busy.map(|thousandths| format!("{}%", thousandths.div_ceil(10)));
        vec![
            core.core.to_string(),
            if core.answers { or_dash(busy.as_deref()) } else { "SILENT".to_owned() },
            core.sessions.to_string(),
            core.connections.to_string(),
            core.counters.commands.to_string(),
            Bytes(core.counters.read_bytes).to_string(),
            Bytes(core.counters.written_bytes).to_string(),
        ]
    };
    table(&["CORE", "BUSY", "SESSIONS", "CONNECTIONS", "COMMANDS", "READ", "WRITTEN"], cores.iter().map(row))
}

/// What logical units have answered, and how long that took.
pub fn stats_tables(status: &Status) -> String {
    let luns = status.targets.iter().flat_map(|target| target.luns.iter().map(move |lun| (target, lun)));
    let commands = luns.flat_map(|(target, lun)| {
        lun.commands.iter().filter(|of| of.commands > 0).map(move |of| {
            let mean = of.took_us.checked_div(of.commands).unwrap_or(0);
            vec![
                target.name.clone(),
                lun.lun.to_string(),
                of.kind.clone(),
                of.commands.to_string(),
                Bytes(of.bytes).to_string(),
                format!("{mean} us"),
            ]
        })
    });
    let latency = status.cores.iter().flat_map(|core| core.latency.iter().map(move |of| (core, of)));
    let latency = latency.map(|(core, of)| {
        let times = [of.mean_us, of.p50_us, of.p99_us, of.p999_us, of.max_us].map(|us| format!("{us} us"));
        [vec![core.core.to_string(), of.kind.clone(), of.commands.to_string()], times.to_vec()].concat()
    });
    table(&["TARGET", "LUN", "KIND", "COMMANDS", "BYTES", "MEAN"], commands)
        + "\n"
        + &table(&["CORE", "KIND", "COMMANDS", "MEAN", "HALF", "99%", "99.9%", "MOST"], latency)
}

/// Sessions, a line each.
pub fn sessions(found: &Sessions) -> String {
    let row = |session: &Session| {
        let peer = session.connections.first().map_or("none", |connection| &connection.peer);
        let more = session.connections.len().saturating_sub(1);
        vec![
            session.tsih.to_string(),
            session.initiator.clone(),
            session.target.clone().unwrap_or_else(|| session.kind.clone()),
            or_dash(session.user.as_deref()),
            if more > 0 { format!("{peer} +{more}") } else { peer.to_owned() },
            session.core.to_string(),
            session.luns.to_string(),
            session.open_tasks.to_string(),
        ]
    };
    let head = ["TSIH", "INITIATOR", "TARGET", "USER", "PEER", "CORE", "LUNS", "TASKS"];
    let mut text = table(&head, found.sessions.iter().map(row));
    for core in &found.silent_cores {
        let _ = writeln!(text, "core {core} does not answer: its sessions are not shown");
    }
    text
}

fn pairs(text: &mut String, indent: &str, of: &BTreeMap<String, String>) {
    for (key, value) in of {
        let _ = writeln!(text, "{indent}{key}={value}");
    }
}

/// A session, with what was negotiated.
pub fn one_session(session: &Session) -> String {
    let mut text = format!("session {}, {}, on core {}\n", session.tsih, session.kind, session.core);
    let group = session.group.as_ref().map(|group| format!(", group {group}")).unwrap_or_default();
    let user = session.user.as_ref().map(|user| format!(", user {user}")).unwrap_or_default();
    let _ = writeln!(text, "initiator {}, ISID {}{group}{user}", session.initiator, session.isid);
    if let Some(target) = &session.target {
        let _ = writeln!(text, "target {target}, portal group {}, {} LUNs", session.portal_group, session.luns);
    }
    let _ = writeln!(
        text,
        "{} tasks{}",
        session.open_tasks,
        if session.lost { ", waits for a new connection" } else { "" }
    );
    pairs(&mut text, "  ", &session.keys);
    for connection in &session.connections {
        let _ = writeln!(text, "connection {} from {} to {}", connection.cid, connection.peer, connection.portal);
        pairs(&mut text, "  ", &connection.keys);
    }
    text + &used(session)
}

/// What the commands of a session have come to, by LUN.
fn used(session: &Session) -> String {
    let rows = session.used.iter().flat_map(|used| {
        let lun = used.lun.map_or("others".to_owned(), |lun| lun.to_string());
        let errors = (used.errors > 0).then(|| vec![lun.clone(), "errors".to_owned(), used.errors.to_string()]);
        let commands = used.commands.iter().map(move |of| {
            let mean = of.took_us.checked_div(of.commands).unwrap_or(0);
            let (commands, bytes) = (of.commands.to_string(), Bytes(of.bytes).to_string());
            vec![lun.clone(), of.kind.clone(), commands, bytes, format!("{mean} us")]
        });
        commands.chain(errors).collect::<Vec<_>>()
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() { String::new() } else { table(&["LUN", "KIND", "COMMANDS", "BYTES", "MEAN"], rows) }
}

/// A target, with its groups and logical units.
pub fn one_target(target: &Target) -> String {
    let alias = target.alias.as_ref().map(|alias| format!(" ({alias})")).unwrap_or_default();
    let mut text = format!("target {}{alias}\n", target.name);
    if !target.users.is_empty() {
        let _ = writeln!(text, "users {}", target.users.join(", "));
    }
    for group in &target.groups {
        let any = |list: &[String]| if list.is_empty() { "any".to_owned() } else { list.join(", ") };
        let luns = group.luns.as_ref().map_or("all".to_owned(), |luns| {
            luns.iter().map(|(at, of)| format!("{of} as {at}")).collect::<Vec<_>>().join(", ")
        });
        let _ = writeln!(
            text,
            "group {}: initiators {}, networks {}, LUNs {luns}",
            group.name,
            any(&group.initiators),
            any(&group.networks)
        );
    }
    if !target.groups.is_empty() {
        let _ = writeln!(text, "others: {}", if target.groups_only { "no access" } else { "all LUNs" });
    }
    text + "\n" + &luns(std::slice::from_ref(target))
}

/// Initiator groups of targets.
pub fn groups(targets: &[Target]) -> String {
    let any = |list: &[String]| if list.is_empty() { "any".to_owned() } else { list.join(" ") };
    let rows = targets.iter().flat_map(|target| {
        target.groups.iter().map(move |group| {
            let luns = group.luns.as_ref().map_or("all".to_owned(), |luns| {
                let lun = |(at, of): (&u16, &u16)| if at == of { at.to_string() } else { format!("{of} as {at}") };
                luns.iter().map(lun).collect::<Vec<_>>().join(", ")
            });
            let users = or_dash(Some(&group.users.join(" ")));
            vec![target.name.clone(), group.name.clone(), any(&group.initiators), any(&group.networks), users, luns]
        })
    });
    table(&["TARGET", "GROUP", "INITIATORS", "NETWORKS", "USERS", "LUNS"], rows)
}

/// Accounts.
pub fn accounts(found: &[Account]) -> String {
    let row = |one: &Account| vec![one.user.clone(), one.secret_in.clone(), or_dash(one.from.as_deref())];
    table(&["USER", "SECRET IN", "FROM"], found.iter().map(row))
}

/// Portals.
pub fn portals(found: &[Portal]) -> String {
    let row = |one: &Portal| vec![one.listen.clone(), one.group.to_string(), or_dash(one.advertise.as_deref())];
    table(&["LISTEN", "GROUP", "ADVERTISED AS"], found.iter().map(row))
}

/// What a change would be, and to whom.
fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let _ = writeln!(text, "{} {}", step.sign, step.what);
    }
    if plan.steps.is_empty() {
        text.push_str("nothing would be different\n");
    }
    let count = |of: fn(&Affected) -> bool| plan.sessions.iter().filter(|session| of(session)).count();
    let told = count(|session| !session.dropped && session.loses.is_empty());
    let losing = count(|session| !session.dropped && !session.loses.is_empty());
    let dropped = count(|session| session.dropped);
    let sessions = |count: usize, singular: &str, several: &str| match count {
        0 => String::new(),
        1 => format!("1 session {singular}\n"),
        more => format!("{more} sessions {several}\n"),
    };
    text += &sessions(told, "is told", "are told");
    for (count, singular, several) in [(losing, "loses a LUN", "lose a LUN"), (dropped, "is dropped", "are dropped")] {
        let said = sessions(count, singular, several);
        if !said.is_empty() {
            text += &format!("needs --force: {said}");
        }
    }
    for core in &plan.silent_cores {
        let _ = writeln!(text, "core {core} does not answer: what its sessions would lose is not known");
    }
    text
}

/// What came of a change.
pub fn applied(applied: &Applied) -> String {
    let mut text = String::new();
    for line in &applied.warnings {
        let _ = writeln!(text, "warning: {line}");
    }
    if let Some(plan) = &applied.plan {
        for line in &applied.kept {
            let _ = writeln!(text, "not before the next start: {line}");
        }
        return text + &self::plan(plan);
    }
    if let Some(lun) = applied.lun.filter(|_| applied.done.is_empty() && applied.waiting.is_empty()) {
        let _ = writeln!(text, "LUN {lun} is as it was");
    } else if applied.done.is_empty() && applied.waiting.is_empty() && applied.degraded.is_empty() {
        text.push_str("nothing is different\n");
    }
    for line in &applied.done {
        let _ = writeln!(text, "{line}");
    }
    for line in &applied.kept {
        let _ = writeln!(text, "not before the next start: {line}");
    }
    for line in &applied.degraded {
        let _ = writeln!(text, "not served, and tried again until it can be: {line}");
    }
    for line in &applied.waiting {
        let _ = writeln!(text, "{line}: waits for its file, which is still open otherwise");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_gets_there() {
        let name = "a\u{1b}[2J\u{9b}b\n\r\u{202e}c é 名";
        let shown = clean(name);
        assert_eq!(shown, "a\u{fffd}[2J\u{fffd}b\u{fffd}\u{fffd}\u{fffd}c é 名");
        assert_eq!(clean_text(name), shown.replacen("b\u{fffd}", "b\n", 1));
        let text = table(&["NAME", "N"], [vec![name.to_owned(), "1".to_owned()]]);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(&shown) && text.lines().all(|line| !line.contains(char::is_control)), "{text}");
    }
}
