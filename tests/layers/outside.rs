//! What only some files may ask for: clocks, chance, files, sockets, and the bytes of a CDB or of sense data.
//!
//! Everything else is given these as arguments, and so can be tried without waiting, in any order, and without a disk. It
//! reads tokens of what is not for tests only: a name that is given another one by `use ... as` has been named there, so that
//! is found, too.

use super::tokens::{sources, tokens, without_tests};
use std::fmt::Write as _;
use std::path::Path;

/// Something outside that only some may ask for.
struct Outside {
    what: &'static str,
    /// How it is named: words in a row.
    names: &'static [&'static [&'static str]],
    /// Files that may name it, and why. One that does not any more is taken off.
    files: &'static [(&'static str, &'static str)],
}

const TABLE: &[Outside] = &[
    Outside {
        what: "a clock",
        names: &[
            &["Instant"],
            &["SystemTime"],
            &["UNIX_EPOCH"],
            &["elapsed"],
            &["clock_gettime"],
            &["gettimeofday"],
            &["thread", "::", "sleep"],
        ],
        files: &[
            ("admin/top/feed.rs", "is a program that asks a server each second"),
            ("admin/top/mod.rs", "is a program that asks a server each second"),
            ("admin/wait.rs", "is a program that waits for a server"),
            ("backend/fault.rs", "is a medium that is slow on purpose"),
            ("backend/open.rs", "waits for another process to let go of a file"),
            ("balance/load.rs", "measures how busy a core is"),
            ("initiator/tcp.rs", "waits for an answer, but not for ever"),
            ("log.rs", "waits for who reads the log, but not for ever"),
            ("log/layer.rs", "numbers events by when the process began, and bounds the lines of a second"),
            ("log/pen.rs", "waits for who reads the log"),
            ("log/record.rs", "says when a line was said"),
            ("mgmt/accepting.rs", "beside the cores"),
            ("mgmt/api/shown.rs", "beside the cores"),
            ("mgmt/client.rs", "waits for its turn, but not for ever"),
            ("mgmt/client/follow.rs", "waits for a server that is started again, but not for ever"),
            ("mgmt/cores.rs", "beside the cores"),
            ("mgmt/mod.rs", "beside the cores"),
            ("mgmt/rounds.rs", "beside the cores"),
            ("mgmt/trace/follow.rs", "beside the cores"),
            ("preflight.rs", "waits for another process to let go of a port"),
            ("ring/mod.rs", "spins for a while before it sleeps"),
            ("serve/looks.rs", "beside the cores"),
            ("serve/mod.rs", "beside the cores"),
            ("serve/reload.rs", "beside the cores"),
            ("serve/reload/again.rs", "beside the cores"),
            ("serve/reload/plan.rs", "beside the cores"),
            ("serve/syncing.rs", "beside the cores"),
            ("shard/core.rs", "is given the time"),
            ("driver/mod.rs", "reads the clock for the turns of its core"),
            ("shard/sending.rs", "is given the time"),
            ("sim/cores.rs", "makes the clock of its cores"),
            ("sim/tcp.rs", "gives a real initiator some time"),
            ("state/keeper.rs", "beside the cores"),
            ("state/unit_file.rs", "waits for another process to let go of a file"),
            ("transport/acting.rs", "is given the time"),
            ("transport/io/mod.rs", "spins for a while before it sleeps"),
            ("transport/io/watch.rs", "is the clock within a turn"),
            ("world/clock.rs", "is the clock of the cores"),
            ("world/opening.rs", "makes the clock of the cores"),
        ],
    },
    Outside {
        what: "chance",
        names: &[&["getrandom"], &["arc4random"], &["RandomState"], &["thread_rng"], &["rand", "::"], &["fastrand"]],
        files: &[("random.rs", "fills what is to be unguessable")],
    },
    Outside {
        what: "files",
        names: &[
            &["fs"],
            &["OpenOptions"],
            &["procfs"],
            &["libc", "::", "open"],
            &["libc", "::", "openat"],
            &["libc", "::", "stat"],
            &["libc", "::", "fstat"],
            &["libc", "::", "statx"],
            &["libc", "::", "unlink"],
            &["libc", "::", "rename"],
        ],
        files: &[
            ("admin/hint.rs", "looks for sockets of servers"),
            ("admin/top/mod.rs", "hears the keys of a terminal"),
            ("admin/change.rs", "reads a configuration that is to be served"),
            ("admin/trace.rs", "writes a capture"),
            ("backend/create.rs", "makes files"),
            ("backend/file.rs", "media are files"),
            ("backend/file/cold.rs", "media are files"),
            ("backend/mark.rs", "marks files"),
            ("backend/memory.rs", "looks how much memory there is"),
            ("backend/open.rs", "opens media"),
            ("backend/sys.rs", "asks the kernel about files"),
            ("backend/sysfs.rs", "asks the kernel about devices"),
            ("backend/threaded.rs", "is over a file, for tests"),
            ("backend/verdict.rs", "looks whether a file can be served"),
            ("config/control.rs", "reads certificates and tokens"),
            ("config/document.rs", "reads the configuration file"),
            ("config/store.rs", "writes the configuration file"),
            ("config/machine.rs", "holds the configuration against this machine"),
            ("generate.rs", "writes man pages"),
            ("log/pen.rs", "writes the log"),
            ("logging.rs", "looks what stderr is"),
            ("main.rs", "is the program"),
            ("mgmt/server_url.rs", "reads the token and the certificates of a client"),
            ("mgmt/remote.rs", "keeps the self-made certificate"),
            ("mgmt/socket.rs", "is the control socket"),
            ("preflight.rs", "looks who has a port"),
            ("sim/states.rs", "reads the requirements"),
            ("state/directory.rs", "is the state directory"),
            ("state/keeper.rs", "stores"),
            ("state/owner.rs", "is the lock of the state directory"),
            ("state/register.rs", "is the register of names"),
            ("state/unit_file.rs", "is the file of a unit"),
            ("world/doors.rs", "looks how many descriptors there may be"),
            ("world/opening.rs", "opens media, beside the cores"),
        ],
    },
    Outside {
        what: "sockets",
        names: &[
            &["TcpListener"],
            &["TcpStream"],
            &["UdpSocket"],
            &["UnixListener"],
            &["UnixStream"],
            &["UnixDatagram"],
            &["ToSocketAddrs"],
            &["libc", "::", "socket"],
            &["libc", "::", "connect"],
            &["libc", "::", "accept4"],
            &["libc", "::", "setsockopt"],
            &["libc", "::", "getsockname"],
        ],
        files: &[
            ("initiator/tcp.rs", "is the initiator's driver over TCP"),
            ("log/pen.rs", "sends entries to the journal"),
            ("mgmt/accepting.rs", "serves the control plane over TCP"),
            ("mgmt/client.rs", "is the client of the control plane"),
            ("mgmt/remote.rs", "listens for the control plane"),
            ("mgmt/socket.rs", "is the control socket"),
            ("mgmt/thread.rs", "serves the control socket"),
            ("preflight.rs", "tries portals"),
            ("serve/portals.rs", "listens"),
            ("driver/mod.rs", "accepts connections"),
            ("sim/tcp.rs", "is an initiator at a real socket"),
        ],
    },
    Outside {
        what: "the bytes of a CDB (`scsi::questions` answers what has to be known of one)",
        names: &[
            &["for_device_server"],
            &["cdb", "["],
            &["match", "cdb", "{"],
            &["cdb", ".", "first"],
            &["cdb", ".", "last"],
            &["cdb", ".", "iter"],
            &["cdb", ".", "split_first"],
            &["cdb", ".", "split_at"],
            &["cdb", ".", "starts_with"],
            &["cdb", ".", "first_chunk"],
            &["matches", "!", "(", "cdb"],
        ],
        files: &[
            ("fabric/command.rs", "hands it to the device server"),
            ("fabric/to_initiators.rs", "hands it to the device server"),
            ("initiator/command.rs", "is the other end: puts it into a header"),
            ("session/task_command.rs", "keeps it"),
            ("shard/dispatch.rs", "hands it to the device server"),
            ("sim/workload.rs", "is an initiator"),
            ("sim/world.rs", "is an initiator"),
        ],
    },
    Outside {
        what: "what sense data says",
        names: &[
            &["asc_ascq"],
            &["Sense", "{"],
            &["sense", "["],
            &["sense", ".", "first"],
            &["sense", ".", "last"],
            &["sense", ".", "iter"],
            &["sense", ".", "key"],
            &["sense", ".", "get", "(", "0"],
            &["sense", ".", "get", "(", "1"],
            &["sense", ".", "get", "(", "2"],
            &["sense", ".", "split_first"],
            &["sense", ".", "starts_with"],
            &["match", "sense", "{"],
            &["matches", "!", "(", "sense"],
        ],
        files: &[],
    },
];

/// Layers that a row does not concern: `scsi` is what CDBs and sense data are for, and `wire` carries and prints them.
fn is_exempt(what: &str, path: &str) -> bool {
    let concerns_scsi = what.contains("CDB") || what.contains("sense");
    concerns_scsi && (path.starts_with("scsi/") || path.starts_with("wire/"))
}

/// Whether a file is for tests only.
fn is_for_tests(path: &str) -> bool {
    const OF_TESTS: [&str; 2] = ["backend/conformance.rs", "backend/testing.rs"];
    path.split('/').any(|part| part == "tests" || part == "tests.rs") || OF_TESTS.contains(&path)
}

/// What a file names of a row.
fn named(row: &Outside, words: &[String]) -> Vec<String> {
    let is_there =
        |name: &[&str]| words.windows(name.len()).any(|words| words.iter().zip(name).all(|(word, name)| word == name));
    row.names.iter().filter(|name| is_there(name)).map(|name| name.join(" ")).collect()
}

/// What is wrong with a file, a line each.
fn complaints(path: &str, source: &str) -> String {
    let mut out = String::new();
    if is_for_tests(path) {
        return out;
    }
    let words = without_tests(&tokens(source)).0;
    for row in TABLE.iter().filter(|row| !is_exempt(row.what, path)) {
        let named = named(row, &words);
        match (named.is_empty(), row.files.iter().any(|(file, _)| *file == path)) {
            (false, false) => {
                let _ = writeln!(out, "src/{path}: is not to ask for {}, and names {named:?}", row.what);
            }
            (true, true) => {
                let _ = writeln!(out, "src/{path}: does not ask for {} any more: take it off the list", row.what);
            }
            _ => {}
        }
    }
    // What is handed on is handed on, and not kept to be looked at.
    for at in (0..words.len()).filter(|&at| words[at] == "for_device_server") {
        if words[at - 1] == "." && !matches!(words.get(at + 3).map(String::as_str), Some("," | ")")) {
            let _ = writeln!(out, "src/{path}: a CDB is to be handed on at once");
        }
    }
    out
}

#[test]
fn only_those_named_ask_for_what_is_outside() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    let (mut all, mut paths) = (String::new(), Vec::new());
    for file in files {
        let path = file.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        all += &complaints(&path, &std::fs::read_to_string(&file).expect("a source"));
        paths.push(path);
    }
    for (path, _) in TABLE.iter().flat_map(|row| row.files).filter(|(path, _)| !paths.iter().any(|file| file == path)) {
        let _ = writeln!(all, "src/{path}: is on a list, and is not there");
    }
    assert!(all.is_empty(), "\n{all}");
}

#[test]
fn what_is_asked_for_is_found() {
    for (source, what) in [
        ("fn f() { let now = std::time::Instant::now(); }", "a clock"),
        ("use std::time::{Duration, SystemTime as Never};", "a clock"),
        ("fn f() { std :: thread :: sleep(WAIT) }", "a clock"),
        ("fn f() { unsafe { libc::getrandom(p, 8, 0) }; }", "chance"),
        ("use std::collections::hash_map::RandomState;", "chance"),
        ("use std::fs::File;", "files"),
        ("use std::{fs as disk, io};", "files"),
        ("fn f() { std::fs::read(\"/etc/passwd\") }", "files"),
        ("use std::net::{IpAddr, TcpStream};", "sockets"),
        ("fn f() { unsafe { libc::socket(1, 2, 3) } }", "sockets"),
        ("fn f(c: &TaskCommand) -> bool { c.cdb.for_device_server()[0] == 0 }", "bytes of a CDB"),
        ("fn f(cdb: &[u8]) -> bool { cdb.first() == Some(&0) }", "bytes of a CDB"),
        ("fn f(p: &ScsiCommand) -> u8 { p.cdb[0] }", "bytes of a CDB"),
        ("fn f(cdb: &[u8]) { match cdb { _ => {} } }", "bytes of a CDB"),
        ("fn f(sense: &[u8]) -> bool { sense[2] == 6 }", "sense data"),
        ("fn f(o: Outcome) { if let Some(Sense { key: 6, .. }) = o.sense {} }", "sense data"),
        ("#[cfg(test)] mod tests { use std::fs; } use std::fs;", "files"),
    ] {
        for path in ["session/task.rs", "model/names.rs", "exec/work.rs"] {
            assert!(complaints(path, source).contains(what), "{path}: {source}");
        }
    }
    assert!(
        complaints("shard/dispatch.rs", "fn f() { let c = x.cdb.for_device_server(); }").contains("handed on at once")
    );
    assert!(complaints("transport/acting.rs", "").contains("take it off"));
}

#[test]
fn what_is_given_or_only_said_passes() {
    for source in [
        "use std::time::Duration; use std::net::IpAddr; fn f(now_ms: u64) {}",
        "// std::fs, Instant::now()\nconst A: &str = \"std::fs::read, TcpStream\";",
        "#[cfg(test)] mod tests { use std::time::Instant; }",
        "fn f(sense: &[u8]) { let sense = sense.get(..252).unwrap_or(sense); send(sense.len(), sense) }",
        "fn f(command: &ScsiCommand) { keep(Cdb::new(command.cdb)) }",
    ] {
        assert_eq!(complaints("session/task.rs", source), "", "{source}");
    }
    assert_eq!(complaints("scsi/rw.rs", "fn f(cdb: &[u8; 16]) -> u8 { cdb[0] }"), "");
}
