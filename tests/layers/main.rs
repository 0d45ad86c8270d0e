//! The layers, as a table that the source files are held to.
//!
//! Reads the `crate::...` (and `super::...`) paths of every file under `src` and fails on an edge that [`LAYERS`] does not
//! allow; on glommio, io_uring, sockets or `unsafe` outside the places named for them; on lines for the log that peers could have
//! written without end. It reads tokens, not types: a path that a macro of another crate makes up is not seen.

mod circles;
mod outside;
mod tokens;

use std::fmt::Write as _;
use std::path::Path;
use tokens::{sources, tokens};

/// Each module of the crate's root and those it may name besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("panics", &[]),
    ("atomics", &[]),
    ("random", &[]),
    ("missing", &["atomics"]),
    ("canary", &[]),
    ("missing", &[]),
    ("noise", &["limits"]),
    ("events", &["limits", "panics"]),
    ("log", &["limits", "panics", "events"]),
    ("wire", &["limits"]),
    ("model", &["wire", "limits"]),
    ("shares", &["limits", "model"]),
    ("initiator", &["wire", "limits"]),
    ("ring", &["limits"]),
    ("backend", &["model", "ring", "limits", "atomics"]),
    ("scsi", &["model", "wire", "limits", "panics", "canary"]),
    ("state", &["model", "wire", "limits", "noise", "scsi"]),
    ("session", &["model", "wire", "limits", "shares", "canary"]),
    ("buffers", &["limits", "model", "ring", "backend"]),
    ("rate", &["model"]),
    ("balance", &["ring"]),
    ("unit", &["limits", "model", "backend", "scsi", "state", "shares", "rate", "atomics", "panics"]),
    ("waits", &["missing", "limits", "model", "scsi", "buffers", "unit", "shares"]),
    ("tasks", &["missing", "limits", "model", "backend", "scsi", "buffers", "rate", "unit", "waits", "noise"]),
    ("jobs", &["missing", "limits", "model", "backend", "scsi", "buffers", "rate", "unit", "waits", "tasks", "random"]),
    (
        "exec",
        &[
            "missing", "limits", "model", "backend", "scsi", "buffers", "rate", "unit", "waits", "tasks", "jobs",
            "state", "shares", "noise", "canary",
        ],
    ),
    ("tls", &["model"]),
    ("config", &["model", "limits", "wire", "backend", "tls"]),
    ("world", &["limits", "wire", "model", "backend", "scsi", "state", "session", "rate", "unit", "panics"]),
    (
        "transport",
        &[
            "canary", "limits", "wire", "model", "ring", "backend", "session", "buffers", "unit", "world", "panics",
            "missing",
        ],
    ),
    (
        "fabric",
        &[
            "canary",
            "limits",
            "wire",
            "model",
            "backend",
            "scsi",
            "session",
            "buffers",
            "unit",
            "waits",
            "tasks",
            "world",
            "transport",
            "shares",
            "atomics",
            "noise",
            "missing",
        ],
    ),
    (
        "shard",
        &[
            "limits",
            "wire",
            "model",
            "ring",
            "backend",
            "scsi",
            "session",
            "buffers",
            "rate",
            "unit",
            "waits",
            "tasks",
            "jobs",
            "exec",
            "world",
            "transport",
            "fabric",
            "balance",
            "shares",
            "random",
            "canary",
            "missing",
        ],
    ),
    (
        "driver",
        &[
            "limits",
            "wire",
            "model",
            "initiator",
            "ring",
            "backend",
            "session",
            "unit",
            "world",
            "transport",
            "fabric",
            "balance",
            "noise",
            "shard",
            "panics",
        ],
    ),
    (
        "mgmt",
        &[
            "config", "limits", "wire", "model", "session", "unit", "world", "fabric", "panics", "events", "noise",
            "tls",
        ],
    ),
    (
        "serve",
        &[
            "config", "mgmt", "limits", "wire", "model", "ring", "backend", "scsi", "state", "session", "unit",
            "world", "fabric", "driver", "panics", "noise",
        ],
    ),
    (
        "sim",
        &[
            "limits",
            "wire",
            "model",
            "initiator",
            "session",
            "ring",
            "unit",
            "backend",
            "state",
            "world",
            "transport",
            "fabric",
            "shard",
            "random",
            "canary",
        ],
    ),
    ("preflight", &["limits"]),
    ("logging", &[]),
];

/// Edges of that table that only tests may have: a target that replicates nothing needs no initiator, and who starts and
/// ends it no PDU.
const ONLY_IN_TESTS: &[(&str, &str)] = &[("driver", "initiator"), ("serve", "wire")];

/// Files of the root that put everything together: any edge is theirs.
const ROOTS: &[&str] = &["lib", "main", "cli", "admin", "generate"];

/// Crates that only some modules may name: behind them is the seam at which they can be replaced.
const CRATES: &[(&str, &[&str])] = &[
    ("glommio", &["serve", "main"]),
    ("io_uring", &["ring", "backend", "transport", "sim"]),
    ("tokio", &["mgmt"]),
    ("axum", &["mgmt"]),
    ("hyper", &["mgmt"]),
    ("hyper_util", &["mgmt"]),
    ("ratatui", &["admin"]),
    ("tokio_rustls", &["mgmt"]),
    ("rustls", &["tls"]),
    ("rcgen", &["tls"]),
];

/// Files with `unsafe` in them. A file that no longer needs it is taken off the list; its name is checked, too.
const UNSAFE: &[&str] = &[
    "atomics.rs",
    "backend/file/tests.rs",
    "backend/handle.rs",
    "backend/memory.rs",
    "backend/queue.rs",
    "backend/remote.rs",
    "backend/returns.rs",
    "backend/simulated/disk.rs",
    "backend/stream.rs",
    "backend/sys.rs",
    "backend/testing.rs",
    "balance/load.rs",
    "buffers.rs",
    "config/group.rs",
    "fabric/bell.rs",
    "fabric/relocated.rs",
    "log.rs",
    "preflight.rs",
    "random.rs",
    "ring/memory.rs",
    "ring/mod.rs",
    "ring/receive.rs",
    "serve/mod.rs",
    "serve/portals.rs",
    "serve/signals.rs",
    "serve/tests.rs",
    "driver/mod.rs",
    "shard/receive.rs",
    "state/keeper.rs",
    "transport/io/memory.rs",
    "transport/io/socket.rs",
    "transport/outlet.rs",
    "transport/receiving.rs",
    "transport/tx.rs",
    "wire/crc.rs",
];

/// Layers where peers are: what one does may come to a line for the log there.
const WITH_PEERS: &[&str] =
    &["unit", "waits", "tasks", "jobs", "exec", "world", "transport", "fabric", "shard", "driver", "serve", "state"];

/// Files with lines for the log, of all levels but those that are not shown, that do not ask [`ringsan::noise`] first: how many
/// such lines, and why no peer can have them written as often as it likes. In the layers [`WITH_PEERS`].
const UNBOUNDED: &[(&str, usize, &str)] = &[
    ("driver/mod.rs", 1, "at the end"),
    ("serve/control.rs", 5, "of signals, and of a thread that ends"),
    ("serve/desk.rs", 4, "of orders, one after another"),
    ("serve/mod.rs", 5, "at the start and at the end"),
    ("serve/portals.rs", 1, "of a reload"),
    ("serve/reload/ask.rs", 1, "of a reload"),
    ("serve/reload/attempt.rs", 8, "of a reload"),
    ("serve/reload/made.rs", 1, "of a reload"),
    ("serve/silent.rs", 2, "of a core that is stuck, once each time"),
    ("serve/syncing.rs", 4, "at the end, or of a reload"),
    ("transport/io/kernel.rs", 1, "at the start"),
    ("shard/tick.rs", 1, "of lines that were left out, once after each flood of them"),
    ("state/mod.rs", 1, "at the start"),
    ("unit/mod.rs", 2, "once for each unit"),
    ("unit/remember.rs", 2, "at the start, or of a reload"),
    ("world/clock.rs", 1, "once after each pause of the machine"),
    ("world/doors.rs", 1, "at the start and at a reload"),
    ("world/fresh.rs", 2, "at the start, or of a reload"),
    ("world/opening.rs", 4, "at the start, or of a reload"),
];

/// How near to a line its bound is.
const NEAR: usize = 8;

/// Lines for the log without a bound near by, up to the tests of the file.
fn unbounded(source: &str) -> usize {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or(source);
    let lines: Vec<&str> = code.lines().collect();
    let says = |line: &str| ["info!(", "warn!(", "error!("].iter().any(|how| line.contains(&format!("tracing::{how}")));
    let asks = |line: &&str| {
        ["line(", "notice(", "medium(", "slow("]
            .iter()
            .any(|how| ["noise.", "noise()."].iter().any(|of| line.contains(&format!("{of}{how}"))))
    };
    (0..lines.len()).filter(|&at| says(lines[at]) && !lines[at.saturating_sub(NEAR)..at].iter().any(asks)).count()
}

/// The modules of the root that a file names, through `crate::` or enough `super::`. `path` is relative to `src`.
fn edges(path: &str, source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let word = |at: usize| tokens.get(at).map_or("", String::as_str);
    let own_depth = depth(path);
    let mut edges = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let supers = (at..).step_by(2).take_while(|at| word(*at) == "super" && word(at + 1) == "::").count();
        let (after, root) = match word(at) {
            "crate" if word(at + 1) == "::" => (at + 2, true),
            // `crate` under another name would hide every edge behind it.
            "crate" if word(at + 1) == "as" => {
                edges.push("crate as".to_owned());
                (at + 2, false)
            }
            // An inline module is one deeper than its file: more `super`s than the file is deep may still stop short of
            // the root, and then what follows is a name of the file's own.
            "super" if supers >= own_depth => (at + 2 * supers, false),
            _ => {
                at += 1;
                continue;
            }
        };
        let named = if word(after) == "{" { group(&tokens, after) } else { vec![word(after).to_owned()] };
        edges.extend(named.into_iter().filter(|name| root || LAYERS.iter().any(|(layer, _)| layer == name)));
        at = after.max(at + 1);
    }
    edges
}

/// First words of the items of a `{...}` that starts at `open`.
fn group(tokens: &[String], open: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        let first = depth == 1 && matches!(tokens[at - 1].as_str(), "{" | ",");
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            name if first => names.push(name.to_owned()),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// How many modules deep a file is: 1 for `backend.rs` and `backend/mod.rs`, 2 for `backend/file.rs`.
fn depth(path: &str) -> usize {
    let parts = path.split('/').count();
    if path.ends_with("/mod.rs") { parts - 1 } else { parts }
}

/// `backend` for `backend/file.rs`.
fn layer(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// What is wrong with a file, a line each.
fn complaints(path: &str, source: &str) -> String {
    let mut out = String::new();
    let own = layer(path);
    let row = LAYERS.iter().find(|(name, _)| *name == own);
    if !ROOTS.contains(&own) {
        let Some((_, allowed)) = row else {
            return format!("src/{path}: `{own}` has no row in LAYERS: say what it may name\n");
        };
        let mut wrong: Vec<_> = edges(path, source);
        let for_tests = |edge: &str| ONLY_IN_TESTS.contains(&(own, edge)) && !path.contains("tests");
        wrong.retain(|edge| edge != own && (!allowed.contains(&edge.as_str()) || for_tests(edge)));
        wrong.sort();
        wrong.dedup();
        for edge in wrong {
            let _ = writeln!(out, "src/{path}: `{own}` may not name `{edge}` (allowed: {allowed:?})");
        }
    }
    let tokens = tokens(source);
    for (name, users) in CRATES {
        if !users.contains(&own) && tokens.iter().any(|token| token == name) {
            let _ = writeln!(out, "src/{path}: only {users:?} may name `{name}`");
        }
    }
    if WITH_PEERS.contains(&own) && !path.contains("tests") {
        let listed = UNBOUNDED.iter().find(|(file, ..)| *file == path).map_or(0, |(_, lines, _)| *lines);
        let found = unbounded(source);
        if found != listed {
            let _ = writeln!(
                out,
                "src/{path}: {found} lines for the log without a bound (`noise`), and {listed} in UNBOUNDED"
            );
        }
    }
    let has_unsafe = tokens.iter().any(|token| token == "unsafe");
    match (has_unsafe, UNSAFE.contains(&path)) {
        (true, false) => out += &format!("src/{path}: has `unsafe` and is not in the list UNSAFE\n"),
        (false, true) => out += &format!("src/{path}: is in the list UNSAFE and has no `unsafe`\n"),
        _ => {}
    }
    out
}

#[test]
fn every_file_keeps_to_its_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    assert!(files.len() > 10, "the sources are not where they were");
    let mut all = String::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        all += &complaints(&path, &std::fs::read_to_string(&file).expect("a source"));
    }
    assert!(all.is_empty(), "\n{all}");
}

#[test]
fn the_table_has_no_cycles() {
    for (position, (name, allowed)) in LAYERS.iter().enumerate() {
        for below in *allowed {
            let below = LAYERS.iter().position(|(other, _)| other == below);
            assert!(below.is_some_and(|below| below < position), "{name}: a row names only rows above it");
        }
    }
}

#[test]
fn forbidden_edges_are_found() {
    for source in [
        "use crate::scsi::Plan;",
        "use crate::{limits, scsi::{Plan, wire}};",
        "fn f() { let x = crate :: scsi::plan(); }",
        "use super::super::scsi;",
        "mod tests { use super::super::super::scsi::Plan; }",
        "/* a /* nested */ comment */ use crate::scsi;",
        "const A: char = '\"'; use crate::scsi; const B: char = '\"';",
        "fn f<'a>(_: &'a u8) {} use crate::scsi; const C: &'static str = r#\"\"#;",
    ] {
        assert!(complaints("session/task.rs", source).contains("`session` may not name `scsi`"), "{source}");
    }
    assert!(complaints("shard/rw.rs", "use crate::initiator::session::Session;").contains("may not name `initiator`"));
    assert_eq!(complaints("driver/tests/peer.rs", "use crate::initiator::session::Session;"), "");
    assert!(complaints("session/task.rs", "use crate as root;").contains("may not name"));
    assert!(complaints("session/task.rs", "use crate::*;").contains("may not name"));
    assert!(complaints("iser/api.rs", "").contains("has no row"));
}

#[test]
fn allowed_edges_and_mere_words_pass() {
    for source in [
        "use crate::{model::Lun, wire::{self, scsi}};",
        "// use crate::scsi;\n/* crate::scsi */",
        "const A: &str = \"crate::scsi\"; const B: &str = r#\"use crate::scsi; \"quoted\" \"#;",
        "use super::scsi; mod scsi;",
        "pub(in crate::session) fn f() {}",
        "#![deny(unsafe_code)]",
        "const A: char = '\\''; const B: char = '\\u{7b}'; // glommio, io_uring, unsafe",
    ] {
        assert_eq!(complaints("session/task.rs", source), "", "{source}");
    }
}

#[test]
fn lines_that_peers_can_cause_have_a_bound() {
    let bounded = "if let Some(left_out) = self.noise.line(now_ms) {\n    tracing::warn!(left_out, \"no\");\n}\n";
    let bare = "tracing::error!(\"no\");\n";
    let tests = "#[cfg(test)]\nmod tests {\n    tracing::error!(\"no\");\n}\n";
    assert_eq!(complaints("shard/rw.rs", &format!("{bounded}{tests}")), "");
    assert_eq!(complaints("shard/tests/peer.rs", bare), "");
    assert!(complaints("shard/rw.rs", bare).contains("1 lines"));
    assert!(complaints("state/keeper.rs", &format!("{bounded}{}{bare}", "\n".repeat(NEAR))).contains("1 lines"));
    assert!(complaints("world/clock.rs", "").contains("and 1 in UNBOUNDED"));
}

#[test]
fn crates_and_unsafe_stay_where_they_belong() {
    assert!(complaints("backend/file.rs", "use glommio::io::DmaFile;").contains("`glommio`"));
    assert!(complaints("session/mod.rs", "fn f(_: io_uring::IoUring) {}").contains("`io_uring`"));
    assert!(complaints("wire/bhs.rs", "fn f() { unsafe {} }").contains("UNSAFE"));
    assert!(complaints("backend/memory.rs", "").contains("has no `unsafe`"));
    assert_eq!(complaints("serve/looks.rs", "use glommio::LocalExecutor;"), "");
    assert_eq!(complaints("transport/io/outgoing.rs", "use io_uring::IoUring;"), "");
    assert_eq!(complaints("backend/memory.rs", "fn f() { unsafe {} }"), "");
}
