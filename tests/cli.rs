//! The command line as a user meets it: what is wrong is one line on stderr that names it, and exit code 2.

use ringsan::model::lun::OPTIONS;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const RAM: [&str; 2] = ["--lun", "kind=ram,size=1MiB"];

fn ringsan(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringsan"));
    command.current_dir(dir).env_remove("RINGSAN_LOG").env_remove("RINGSAN_LOG_FORMAT").stdin(Stdio::null());
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is UTF-8")
}

/// Runs a command that must fail, and returns its one line.
fn one_line(command: &mut Command) -> String {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ringsan starts");
    // One that serves instead of failing would never end.
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("ringsan can be waited for").is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let output = child.wait_with_output().expect("ringsan has ended");
    let stderr = String::from_utf8(output.stderr).expect("stderr is UTF-8");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
    stderr.trim_end().strip_prefix("ringsan: ").unwrap_or_else(|| panic!("{stderr}")).to_owned()
}

#[test]
fn wrong_options_are_one_line_each() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("odd.img"), [0; 1000]).unwrap();
    fs::write(dir.path().join("disk.img"), [0; 8192]).unwrap();
    let cases: &[(&[&str], &str)] = &[
        (
            &["serve", "--lsten", "::1"],
            "unexpected argument '--lsten' found tip: a similar argument exists: '--listen'",
        ),
        (&["sevre"], "unrecognized subcommand 'sevre'"),
        (&["serve", "extra"], "unexpected argument 'extra' found"),
        (&["serve", "--lun"], "a value is required for '--lun <OPTIONS>' but none was supplied"),
        (&["check"], "the following required arguments were not provided: --config <FILE>"),
        (&["serve", "--config", "x", "--target", "y"], "the argument '--config <FILE>' cannot be used with"),
        (&["serve", "--config", "none.toml"], "none.toml: cannot be read: no such file or directory"),
        (&["serve", "--config", "."], ".: is no regular file"),
        (&["serve", "--listen", "localhost:3260"], "--listen localhost:3260: 'localhost:3260' is no address with port"),
        (&["serve", "--listen", "127.0.0.1:99999"], "--listen 127.0.0.1:99999: '127.0.0.1:99999' is no address"),
        (
            &["serve", "--advertise", "0.0.0.0:1"],
            "--advertise 0.0.0.0:1: 0.0.0.0:1 is nothing an initiator can connect to",
        ),
        (&["serve", "--target", "disk1"], "--target disk1: 'disk1' is no iSCSI name: an iSCSI name begins with iqn."),
        (
            &["serve", "--target", "iqn.2026-13.io.x"],
            "--target iqn.2026-13.io.x: 'iqn.2026-13.io.x' is no iSCSI name: an iqn",
        ),
        (&["serve", "--lun", "path=none.img"], "--lun path=none.img: path: none.img: no such file (with create"),
        (
            &["serve", "--lun", "path=odd.img"],
            "--lun path=odd.img: path: odd.img: 1000 bytes are not a multiple of the block",
        ),
        (
            &["serve", "--lun", "path=disk.img,size=4K"],
            "--lun path=disk.img,size=4K: size: disk.img: has 8192 bytes, but size= says 4096",
        ),
        (&["serve", "--chap", "host"], "--chap host: is not USER:FILE, where FILE holds the secret"),
        (&["serve", "--chap", "host:none"], "--chap host:none: none: no such file or directory"),
        (
            &["serve", "--chap-mutual", "disks:none"],
            "the following required arguments were not provided: --chap <USER:FILE>",
        ),
        (&["serve", "--config", "x", "--chap", "y:z"], "the argument '--config <FILE>' cannot be used with"),
        (&["serve", "--lun", "kind=ram,size=1Gib1"], "--lun kind=ram,size=1Gib1: size: '1Gib1' is no size"),
        (
            &["serve", "--lun", "kind=ram,size=1MiB,blok=512"],
            "--lun kind=ram,size=1MiB,blok=512: blok: unknown key 'blok': did",
        ),
        (
            &["serve", "--lun", "path=disk.img", "--lun", "path=./disk.img"],
            "--lun path=./disk.img: path: ./disk.img is the same",
        ),
        (&["serve", RAM[0], RAM[1], "--cores", "0,x"], "--cores 0,x: '0,x' is no list of numbers"),
        (&["serve", RAM[0], RAM[1], "--cores", "4000"], "--cores 4000: core 4000 is not one that this process may use"),
        (&["serve", RAM[0], RAM[1], "--spin-us", "-"], "--spin-us -: '-' is no whole number from 0 to"),
        (&["serve", RAM[0], RAM[1], "--log", "loud"], "--log: unknown log level 'loud'"),
        (
            &["serve", RAM[0], RAM[1], "--listen", "192.0.2.1:3260"],
            "cannot listen on 192.0.2.1:3260: no interface here",
        ),
        (&["serve", RAM[0], RAM[1], "--listen", "0.0.0.0:0", "--log", "a=b=c"], "--log: unknown log level"),
    ];
    for (args, expected) in cases {
        let line = one_line(ringsan(dir.path()).args(*args));
        assert!(line.starts_with(expected), "\n{args:?}\n  {line}\n  {expected}");
    }
    let line = one_line(ringsan(dir.path()).args(["serve", RAM[0], RAM[1]]).env("RINGSAN_LOG", "loud"));
    assert!(line.starts_with("RINGSAN_LOG: unknown log level 'loud'"), "{line}");
    assert!(!dir.path().join("ringsan-data").exists(), "a start that fails creates nothing");
}

#[test]
fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let owner = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = owner.local_addr().unwrap().to_string();
    let line = one_line(ringsan(dir.path()).args(["serve", "--listen", &address]));
    let expected = format!("cannot listen on {address}: the port is in use by process {} (", std::process::id());
    assert!(line.starts_with(&expected), "{line}");
    assert!(!dir.path().join("ringsan-data").exists(), "a start that fails creates nothing");
}

/// A container runtime that forbids io_uring answers EPERM; so does kernel.io_uring_disabled.
#[test]
fn a_forbidden_io_uring_is_named() {
    // The filter: io_uring_setup (425 on every architecture) is EPERM, all else is allowed.
    const SOURCE: &str = "import ctypes, os, struct, sys\n\
        code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7fff0000)]\n\
        filter = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *each) for each in code))\n\
        program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', len(code), ctypes.addressof(filter)))\n\
        libc = ctypes.CDLL(None)\n\
        assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0\n\
        os.execv(sys.argv[1], sys.argv[1:])\n";
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.current_dir(dir.path()).env("RINGSAN_LOG", "error").stdin(Stdio::null()).args(["-c", SOURCE]);
    command.args([env!("CARGO_BIN_EXE_ringsan"), "serve", "--listen", "127.0.0.1:0", RAM[0], RAM[1]]);
    let line = one_line(&mut command);
    assert!(line.starts_with("io_uring is not usable here (Operation not permitted (os error 1)): "), "{line}");
}

#[test]
fn nothing_to_do_shows_the_help() {
    let output = ringsan(Path::new(".")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: ringsan"));
    let output = ringsan(Path::new(".")).args(["serve", "--help"]).output().unwrap();
    assert!(output.status.success() && stdout(&output).contains("--advertise <ADDR:PORT>"));
    let text = stdout(&output);
    let (_, options) = text.split_once("OPTIONS, with commas between: ").expect("what --lun takes");
    let said: Vec<&str> = options.lines().next().unwrap_or_default().split("; ").collect();
    let rows: Vec<&str> = OPTIONS.iter().map(|row| row.usage).filter(|usage| !usage.is_empty()).collect();
    assert_eq!(said, rows);
    let output = ringsan(Path::new(".")).arg("--version").output().unwrap();
    assert_eq!(stdout(&output), format!("ringsan {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn check_says_what_would_be_served() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = ringsan(root).args(["check", "--config", "config/ringsan.toml"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        ["config/ringsan.toml: ok", "portal 127.0.0.1:3260 group 1", "target iqn.2026-11.io.ringsan:demo"]
    );
    assert!(lines[3].starts_with("  LUN 0: file config/../ringsan-data/disk0.img, 1GiB, blocks of 512"), "{text}");
    assert_eq!(lines[4..], ["  LUN 1: ram, 64MiB, blocks of 512 (4096 physical)"]);
}

/// Another may have it, and be gone when it is served: that is no fault of the configuration.
#[test]
fn check_says_who_has_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let disk = fs::File::create(dir.path().join("disk.img")).unwrap();
    disk.set_len(1 << 20).unwrap();
    let text = "[[target]]\nname = \"iqn.2026-11.io.ringsan:t\"\n[[target.lun]]\nnumber = 0\npath = \"disk.img\"\n";
    fs::write(dir.path().join("x.toml"), text).unwrap();
    let owner = format!("disk.img: already in use by process {} ", std::process::id());
    for is_locked in [false, true] {
        if is_locked {
            disk.try_lock().unwrap();
        }
        let output = ringsan(dir.path()).args(["check", "--config", "x.toml"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(output.status.success() && stdout(&output).starts_with("x.toml: ok\n"), "{stderr}");
        let said: Vec<_> = stderr.lines().filter(|line| line.contains("already in use")).collect();
        assert_eq!(said.len(), usize::from(is_locked), "{stderr}");
        assert!(said.iter().all(|line| line.starts_with("ringsan: warning: ") && line.contains(&owner)), "{stderr}");
    }
}

#[test]
fn check_lists_every_fault() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "spin = 1\n[[target]]\nname = \"iqn.2026-11.io.ringsan:t\"\n[[target.lun]]\nnumber = 0\npath = \"none.img\"\n";
    fs::write(dir.path().join("x.toml"), text).unwrap();
    let output = ringsan(dir.path()).args(["check", "--config", "x.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        stderr,
        "ringsan: x.toml:1: spin: unknown key 'spin': did you mean 'spin-us'?\nringsan: x.toml:6: target.lun.path: none.img: \
         no such file (with create = true and a size, like size=1GiB, it is created)\n"
    );
    let line = one_line(ringsan(dir.path()).args(["serve", "--config", "x.toml", "--all-or-nothing"]));
    assert_eq!(line, "x.toml:1: spin: unknown key 'spin': did you mean 'spin-us'? (and 1 more: see `ringsan check`)");
    fs::write(dir.path().join("x.toml"), b"log = \"\xff\"").unwrap();
    assert_eq!(one_line(ringsan(dir.path()).args(["check", "--config", "x.toml"])), "x.toml:1: is not UTF-8");
}

#[test]
fn serve_says_when_it_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = ringsan(dir.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--cores", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ringsan starts");
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        lines.push(line.unwrap());
        if lines.last().is_some_and(|line| line.starts_with("ringsan: ready")) {
            break;
        }
    }
    let size = fs::metadata(dir.path().join("ringsan-data/lun0.img")).map(|m| m.len());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(size.ok(), Some(1 << 30), "{lines:#?}");
    let [.., libiscsi, linux, ready] = lines.as_slice() else { panic!("{lines:#?}") };
    let address = ready.strip_prefix("ringsan: ready on ").unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{ready}");
    assert!(libiscsi.ends_with(&format!("iscsi-ls -s iscsi://{address}")), "{libiscsi}");
    assert!(
        linux.ends_with(&format!("iscsiadm -m node -T iqn.2026-11.io.ringsan:demo -p {address} --login")),
        "{linux}"
    );
}

#[test]
fn new_secrets_are_one_strong_word_each() {
    let dir = tempfile::tempdir().unwrap();
    let secret = || stdout(&ringsan(dir.path()).arg("secret").output().expect("ringsan runs"));
    let (one, two) = (secret(), secret());
    assert!(one.ends_with('\n') && one.trim_end().len() == 16 && one.trim_end().is_ascii(), "{one}");
    assert_ne!(one, two);
    //= RFC 7143 section 9.2.1
    //# Implementations MUST support the
    //# use of up to 128-bit random CHAP secrets, including the means to
    //# generate such secrets and to accept them from an external generation
    //# source.
    let long = stdout(&ringsan(dir.path()).args(["secret", "--bits", "128"]).output().expect("ringsan runs"));
    assert_eq!(long.trim_end().len(), 22, "six bits a character: {long}");
}

#[test]
fn weak_secrets_are_warned_of_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = "[[account]]\nuser = \"u\"\nsecret = \"w7q\"\n[[target]]\nname = \"iqn.2026-11.io.ringsan:t\"\n\
                accounts = [\"u\"]\n[[target.lun]]\nnumber = 0\nkind = \"null\"\nsize = \"1GiB\"\n";
    fs::write(dir.path().join("x.toml"), file).unwrap();
    fs::set_permissions(dir.path().join("x.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let output = ringsan(dir.path()).args(["check", "--config", "x.toml"]).output().expect("ringsan runs");
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.starts_with("ringsan: warning: x.toml:3: account.secret: the secret has less than 12"), "{stderr}");
    assert!(stdout(&output).contains("CHAP as u"));
    assert!(!format!("{stderr}{}", stdout(&output)).contains("w7q"));
}

/// Where nobody answers, the line says what to do next.
#[test]
fn who_does_not_answer_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    for command in [&["status"][..], &["top"], &["top", "--once"], &["lun", "rm", "0", "--wait"]] {
        let output = ringsan(dir.path()).args(command).args(["--socket", "none.sock"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.starts_with("ringsan: no ringsan answers at none.sock: "), "{stderr}");
        assert!(stderr.contains("--socket") && output.stdout.is_empty(), "{stderr}");
    }
    let _other = std::os::unix::net::UnixListener::bind(dir.path().join("other.sock")).unwrap();
    let output = ringsan(dir.path()).args(["status", "--socket", "none.sock"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("other.sock"), "{stderr}");
}

#[test]
fn what_is_made_of_the_command_line_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| ringsan(dir.path()).args(words).output().unwrap();
    let output = run(&["--help"]);
    assert!(stdout(&output).contains("Exit codes:\n  0  Done"), "{output:?}");
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success() && stdout(&output).contains("control-socket"), "{output:?}");
    }
    let output = run(&["man"]);
    assert!(output.status.success() && stdout(&output).contains(".TH ringsan 1"), "{output:?}");
    let output = run(&["man", "pages"]);
    assert!(output.status.success() && stdout(&output).ends_with(" man pages are in pages\n"), "{output:?}");
    assert!(dir.path().join("pages/ringsan-lun-add.1").exists());
    let line = one_line(ringsan(dir.path()).args(["man", "/dev/null/x"]));
    assert!(line.starts_with("/dev/null/x: "), "{line}");
    let line = one_line(ringsan(dir.path()).args(["completions", "bsh"]));
    assert!(line.contains("tip: a similar value exists: 'bash'"), "{line}");
}
