//! The process and its surroundings: nothing that happens to its log, to its limits or by a signal reaches who uses a disk.

use ringsan::initiator::login::{Identity, Login, Security};
use ringsan::initiator::params::Offer;
use ringsan::initiator::tcp::Line;
use ringsan::limits::ACCEPT_REST;
use ringsan::log::Spool;
use ringsan::model::{IscsiName, LunKind, LunSpec, Portal, Snapshot, TargetSpec};
use ringsan::panics;
use ringsan::serve::{self, ConfigFile, Read, Reading};
use ringsan::sim::target::NAME;
use ringsan::sim::tcp::Tcp;
use ringsan::sim::trace::Trace;
use ringsan::wire::{Cid, CmdSn, Isid, Tsih};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    child: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Server {
    /// Without a configuration file, with a disk of 8 MiB; `limits` are words for the shell.
    fn start(limits: &str, stdout: Stdio, stderr: Stdio) -> Server {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("disk.img")).unwrap().set_len(8 << 20).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap();
        let child = Command::new("sh")
            .args(["-c", &format!("{limits}\nexec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_ringsan")])
            .args([
                "serve",
                "--cores",
                "0",
                "--target",
                NAME,
                "--lun",
                "path=disk.img",
                "--listen",
                &address.to_string(),
            ])
            .current_dir(dir.path())
            .env_remove("RINGSAN_LOG")
            .env_remove("RINGSAN_LOG_FORMAT")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("a shell starts");
        let server = Server { child, address, dir };
        // Its word for it may be what nobody reads.
        let serves = |task: fs::DirEntry| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("ringsan-0"))
        };
        server.until("it serves", || fs::read_dir(server.proc("task")).is_ok_and(|all| all.flatten().any(serves)));
        server
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }

    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: not in time");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Logs in as port `isid`, and meets the unit attention of the power-on.
    fn session(&self, isid: u32) -> Trace<Tcp> {
        let mut session = Trace::new(Tcp::new(self.address));
        session.play(&format!(
            "login 0 cid=0 isid={isid}
             > 0 SCSI-Command F itt=100 cdb=00
             < 0 SCSI-Response itt=100 status=2"
        ));
        session
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        assert!(Command::new(program).args(arguments).arg(self.child.id().to_string()).status().unwrap().success());
    }

    fn end(mut self) -> ExitStatus {
        self.run("kill", &["-TERM"]);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn works(session: &mut Trace<Tcp>, itt: u32) {
    session.play(&format!(
        "> 0 SCSI-Command F itt={itt} cdb=00
         < 0 SCSI-Response itt={itt} status=0"
    ));
}

/// A pipe with no room left in it.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'\n'; 1 << 16]).unwrap();
    (reader, writer.into())
}

#[test]
fn what_becomes_of_its_log_is_nothing_to_its_sessions() {
    for kind in ["a pipe that nobody reads", "a file system that is full", "a pipe that nobody has"] {
        let mut held = Vec::new();
        let mut to = || match kind {
            "a pipe that nobody reads" => {
                let (reader, writer) = full_pipe();
                held.push(reader);
                writer
            }
            "a file system that is full" => File::options().write(true).open("/dev/full").unwrap().into(),
            _ => std::io::pipe().unwrap().1.into(),
        };
        let server = Server::start("", to(), to());
        let mut session = server.session(1);
        works(&mut session, 1);
        // There is no configuration to be read again, which it would say.
        server.run("kill", &["-HUP"]);
        let mut another = server.session(2);
        works(&mut another, 2);
        works(&mut session, 3);
        drop((session, another));
        assert_eq!(server.end().code(), Some(0), "{kind}");
    }
}

#[test]
fn the_soft_limit_of_descriptors_is_none() {
    let server = Server::start("ulimit -Sn 64", Stdio::null(), Stdio::null());
    let held: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    server.until("all are accepted", || fs::read_dir(server.proc("fd")).unwrap().count() > held.len());
    works(&mut server.session(1), 1);
}

#[test]
fn a_name_that_others_let_in_is_let_in_and_said() {
    let mut server = Server::start("", Stdio::null(), Stdio::piped());
    let mut stderr = server.child.stderr.take().unwrap();
    for name in ["iqn.2026-11.com.example:host", "iqn.2026-11.com.example:host_1"] {
        let identity = Identity {
            initiator: name.into(),
            target: Some(NAME.into()),
            isid: Isid([0x80, 0, 0, 0, 0, 0]),
            tsih: Tsih(0),
            cid: Cid(0),
            cmd_sn: CmdSn(0),
        };
        let login = Login::new(identity, Offer::default(), Security::Skipped);
        let done = Line::connect(server.address, 8192).unwrap().login(login, PATIENCE);
        assert!(done.is_ok(), "{name}: {done:?}");
    }
    assert_eq!(server.end().code(), Some(0));
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("is not made as")).collect();
    assert!(lines.len() == 1 && lines[0].contains("WARN") && lines[0].contains("host_1"), "{said}");
}

/// What a host has saved, and cannot be, does not fill the log.
#[test]
fn a_flood_of_what_cannot_be_saved_is_no_flood_of_lines() {
    const ASKED: u32 = 500;
    let mut server = Server::start("", Stdio::null(), Stdio::piped());
    let mut session = server.session(1);
    let state = server.dir.path().join("ringsan-data");
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "no directory").unwrap();
    let begin = Instant::now();
    for itt in 1..=ASKED {
        // REGISTER with APTPL.
        session.play(&format!(
            "> 0 SCSI-Command F W itt={itt} edtl=24 cdb=5f000000000000001800 text=,,,,,,,,thekey..,,,,\x01,,
             < 0 SCSI-Response itt={itt} status=2"
        ));
    }
    let seconds = begin.elapsed().as_secs() as usize + 2;
    drop(session);
    let mut log = server.child.stderr.take().unwrap();
    assert_eq!(server.end().code(), Some(0));
    let mut said = String::new();
    log.read_to_string(&mut said).unwrap();
    let lines = said.lines().filter(|line| line.contains("cannot be saved")).count();
    assert!((1..=seconds * ringsan::limits::PEER_LINES_PER_SECOND as usize).contains(&lines), "{lines}: {said}");
}

#[test]
fn a_write_beyond_the_limit_of_file_sizes_is_an_error_of_that_write() {
    let server = Server::start("ulimit -f 8192", Stdio::null(), Stdio::null());
    let mut session = server.session(1);
    session.play(
        "> 0 SCSI-Command F W itt=1 edtl=512 cdb=2a000000000000000100 data=512
         < 0 SCSI-Response itt=1 status=0
         > 0 SCSI-Command F W itt=2 edtl=512 cdb=2a000000270000000100 data=512
         < 0 SCSI-Response itt=2 status=2",
    );
    works(&mut session, 3);
    drop(session);
    assert_eq!(server.end().code(), Some(0));
}

/// A thread that panics, in a process of its own: this test, run again with `AGAIN` set.
#[test]
fn a_panic_waits_for_no_reader_and_is_said() {
    const AGAIN: &str = "RINGSAN_TEST_PANICS";
    const NAME: &str = "a_panic_waits_for_no_reader_and_is_said";
    if let Some(witness) = std::env::var_os(AGAIN) {
        Spool::start("log", std::io::stderr()).unwrap().take_panics();
        let witness: fn(&mut String) = match witness.to_str() {
            Some("lost") => |_| panic!("of the witness"),
            _ => |text| text.push_str("ringsan: it did this last\n"),
        };
        let thread = std::thread::Builder::new().name("ringsan-7".into()).spawn(move || {
            panics::call_witness(witness);
            panic!("of\nit")
        });
        assert!(thread.unwrap().join().is_err());
        return;
    }
    let run = |stderr: Stdio, witness: &str| {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", NAME, "--nocapture"]).env(AGAIN, witness).env_remove("RUST_BACKTRACE");
        let child = again.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Server { child, address: ([127, 0, 0, 1], 0).into(), dir: tempfile::tempdir().unwrap() }
    };
    let (_reader, full) = full_pipe();
    let mut unread = run(full, "heard");
    let deadline = Instant::now() + PATIENCE;
    while unread.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the thread waits for a reader");
        std::thread::sleep(Duration::from_millis(10));
    }
    let said = |witness: &str| {
        let mut said = String::new();
        let mut read = run(Stdio::piped(), witness);
        read.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.starts_with("ringsan: thread 'ringsan-7' panicked at tests/process.rs:"), "{said}");
        said
    };
    assert!(said("lost").contains(": of it\n"));
    let said = said("heard");
    assert!(said.ends_with(": of it\nringsan: it did this last\n"), "{said}");
}

/// With a disk in memory.
fn snapshot(address: SocketAddr) -> Snapshot {
    let lun = LunSpec { size_bytes: Some(1 << 20), ..LunSpec::new(0, LunKind::Ram) };
    let target = TargetSpec::new(IscsiName::new(NAME).unwrap(), None, vec![lun]);
    let portal = Portal { listen: address, advertise: None, group_tag: 1 };
    Snapshot { portals: vec![portal], targets: vec![target], cores: vec![0], ..Snapshot::default() }
}

/// The next line that the control thread says makes it panic.
static CONTROL_PANICS: AtomicBool = AtomicBool::new(false);

/// Where lines go.
struct Log(Spool);

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Spool;

    fn make_writer(&'a self) -> &'a Spool {
        let is_control = std::thread::current().name() == Some("ringsan-control");
        assert!(!(is_control && CONTROL_PANICS.swap(false, Ordering::Relaxed)), "for a test");
        &self.0
    }
}

/// The library as the program, until it is told to end. `reread` is what is done at a SIGHUP.
fn serve(snapshot: Snapshot, reread: impl FnMut() -> Result<Snapshot, Vec<String>> + Send + 'static) -> ! {
    let spool = Spool::start("log", std::io::stderr()).unwrap();
    spool.take_panics();
    tracing_subscriber::fmt().with_ansi(false).with_writer(Log(spool.clone())).init();
    let reread = Mutex::new(reread);
    let read = move |_: Reading<'_>| {
        let snapshot = reread.lock().unwrap()()?;
        Ok(Read { snapshot, warnings: Vec::new(), tag: String::new() })
    };
    let file = ConfigFile { path: "unnamed".into(), tag: String::new(), read: Box::new(read) };
    serve::serve(snapshot, Some(file), None, |_, _| spool.say(b"ready\n")).unwrap();
    spool.last_words("stopped\n", PATIENCE);
    // As the program does. The test library would set another panic hook first, and there is one at work.
    std::process::exit(0);
}

/// The test `name` once more, in a process of its own that serves: `variable` is the address. `words` are for the shell
/// before that.
fn again(name: &str, variable: &str, words: &str) -> (Server, Said) {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    // The signals are for the server's thread, whatever others the test has.
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{words}\nexec env --block-signal=TERM --block-signal=HUP \"$0\" \"$@\"")]);
    shell
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(variable, address.to_string());
    shell.env_remove("RUST_BACKTRACE").current_dir(dir.path());
    let mut child = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || lines.for_each(|line| drop(tell.send(line))));
    let mut said = Said { told, all: Vec::new() };
    said.until("ready");
    (Server { child, address, dir }, said)
}

/// What such a process says.
struct Said {
    told: mpsc::Receiver<String>,
    all: Vec<String>,
}

impl Said {
    fn until(&mut self, word: &str) {
        loop {
            let line = self.told.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("not said: {word}; but: {:#?}", self.all));
            let found = line.contains(word);
            self.all.push(line);
            if found {
                return;
            }
        }
    }
}

/// With nothing to do it takes hardly any of a processor.
fn rests(server: &Server) {
    let ticks = || {
        let stat = fs::read_to_string(server.proc("stat")).unwrap();
        let fields: Vec<i64> =
            stat.rsplit(')').next().unwrap().split(' ').filter_map(|word| word.parse().ok()).collect();
        fields[10] + fields[11]
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    let spent = ticks() - before;
    assert!(spent < 30, "{spent} ticks of a hundred, with nothing to do");
}

#[test]
fn without_descriptors_it_rests_and_saves_state() {
    let server = Server::start("", Stdio::null(), Stdio::piped());
    let mut session = server.session(1);
    let open = fs::read_dir(server.proc("fd")).unwrap().count();
    server.run("prlimit", &[&format!("--nofile={}", open + 4), "--pid"]);
    let held: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    server.until("no descriptor is left", || fs::read_dir(server.proc("fd")).unwrap().count() >= open + 4);
    rests(&server);
    // REGISTER with APTPL: it is stored before it is answered.
    session.play(
        "> 0 SCSI-Command F W itt=1 edtl=24 cdb=5f000000000000001800 text=,,,,,,,,thekey..,,,,\x01,,
         < 0 SCSI-Response itt=1 status=0",
    );
    assert!(fs::read_dir(server.dir.path()).unwrap().count() > 1, "nothing was stored");
    drop(held);
    works(&mut server.session(2), 2);
}

#[test]
fn a_shortage_of_descriptors_is_said_once_and_state_is_saved_meanwhile() {
    const AGAIN: &str = "RINGSAN_TEST_HAS_FEW_DESCRIPTORS_AT";
    const MOST: usize = 64;
    if let Ok(address) = std::env::var(AGAIN) {
        let snapshot = Snapshot { state: "state".into(), ..snapshot(address.parse().unwrap()) };
        serve(snapshot.clone(), move || Ok(snapshot.clone()));
    }
    // The program would raise the soft limit.
    let words = format!("ulimit -Sn {MOST}");
    let (server, mut said) =
        again("a_shortage_of_descriptors_is_said_once_and_state_is_saved_meanwhile", AGAIN, &words);
    let mut session = server.session(1);
    // It lets in what there seem to be descriptors for. What accepts has the limit that was when that began.
    server.run("prlimit", &["--nofile=1024:", "--pid"]);
    server.run("kill", &["-HUP"]);
    said.until("configuration read again");
    server.run("prlimit", &[&format!("--nofile={MOST}:"), "--pid"]);
    let all = || -> Vec<TcpStream> {
        let held = (0..MOST).map(|_| TcpStream::connect(server.address).unwrap()).collect();
        server.until("no descriptor is left", || fs::read_dir(server.proc("fd")).unwrap().count() >= MOST);
        std::thread::sleep(2 * ACCEPT_REST);
        held
    };
    let held = all();
    rests(&server);
    let stored = || fs::read_dir(server.dir.path().join("state")).is_ok_and(|files| files.count() > 0);
    assert!(!stored(), "nothing is there yet");
    // REGISTER with APTPL: it is stored before it is answered.
    session.play(
        "> 0 SCSI-Command F W itt=1 edtl=24 cdb=5f000000000000001800 text=,,,,,,,,thekey..,,,,\x01,,
         < 0 SCSI-Response itt=1 status=0",
    );
    assert!(stored());
    drop(held);
    works(&mut server.session(2), 2);
    // It was not over for long.
    drop((all(), session));
    server.run("kill", &["-TERM"]);
    said.until("stopped");
    let lines = said.all.iter().filter(|line| line.contains("a connection cannot be accepted"));
    assert_eq!(lines.count(), 1, "{:#?}", said.all);
}

#[test]
fn a_panic_of_the_control_thread_takes_nothing_with_it() {
    const AGAIN: &str = "RINGSAN_TEST_CONTROL_PANICS_AT";
    if let Ok(address) = std::env::var(AGAIN) {
        let address: SocketAddr = address.parse().unwrap();
        let read = move || {
            CONTROL_PANICS.store(true, Ordering::Relaxed);
            Ok(snapshot(address))
        };
        serve(snapshot(address), read);
    }
    let (server, said) = again("a_panic_of_the_control_thread_takes_nothing_with_it", AGAIN, "");
    said_by_a_panic_of(server, said, "thread 'ringsan-control' panicked at tests/process.rs:");
}

/// What it has done on another thread, for that may hang.
#[test]
fn a_panic_of_what_control_waits_for_takes_nothing_with_it() {
    const AGAIN: &str = "RINGSAN_TEST_READING_PANICS_AT";
    if let Ok(address) = std::env::var(AGAIN) {
        serve(snapshot(address.parse().unwrap()), || panic!("for a test"));
    }
    let (server, said) = again("a_panic_of_what_control_waits_for_takes_nothing_with_it", AGAIN, "");
    said_by_a_panic_of(server, said, "thread 'ringsan-beside' panicked at tests/process.rs:");
}

/// A session goes on, others come, and the end is an end.
fn said_by_a_panic_of(mut server: Server, mut said: Said, words: &str) {
    let mut session = server.session(1);
    server.run("kill", &["-HUP"]);
    said.until(words);
    said.until("the control thread has failed");
    works(&mut session, 1);
    works(&mut server.session(2), 1);
    server.run("kill", &["-HUP"]);
    said.until("SIGHUP: the configuration is not read again");
    works(&mut session, 2);
    drop(session);
    server.run("kill", &["-TERM"]);
    said.until("stopped");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
