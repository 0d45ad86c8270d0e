//! A command in steady state allocates nothing: a server in this process is driven over TCP, and every allocation of the
//! threads of its cores is counted. What an initiator and the control thread allocate does not count.

#![allow(unsafe_code, reason = "a global allocator, and a signal for one thread")]

#[path = "allocations/counter.rs"]
mod counter;
#[path = "allocations/initiator.rs"]
mod initiator;

use counter::{Counting, Window, alone};
use initiator::{Initiator, Kind, Load};
use ringsan::model::{IscsiName, LunKind, LunSpec, Portal, Snapshot, TargetSpec};
use std::net::SocketAddr;
use std::os::unix::thread::JoinHandleExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TARGET: &str = "iqn.2026-01.example:allocations";
const LUN_BYTES: u64 = 32 << 20;
const RAM: u16 = 0;
const FILE: u16 = 1;

/// A server on one core of this process.
struct Server {
    address: SocketAddr,
    thread: JoinHandle<Result<(), ringsan::serve::ServeError>>,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let lun = |number, kind| LunSpec {
            size_bytes: Some(LUN_BYTES),
            physical_block_bytes: 4096,
            ..LunSpec::new(number, kind)
        };
        let disk = folder.join("disk.img");
        // Written, not sparse: the first write to a hole is not steady state.
        std::fs::write(&disk, vec![1; LUN_BYTES as usize]).expect("room for a file");
        let luns = vec![lun(RAM, LunKind::Ram), lun(FILE, LunKind::File(disk))];
        let target = TargetSpec::new(IscsiName::new(TARGET).expect("a name"), None, luns);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let snapshot = Snapshot {
            portals: vec![Portal { listen, advertise: None, group_tag: 1 }],
            targets: vec![target],
            cores: vec![0],
            ..Snapshot::default()
        };
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            ringsan::serve::serve(snapshot, None, None, move |bound, _| tell.send(bound[0]).expect("a test that waits"))
        });
        let Ok(address) = told.recv() else { panic!("no server: {:?}", thread.join()) };
        Server { address, thread }
    }

    fn stop(self) {
        // Sent to the thread that waits for it: the others of this process do not block it.
        // SAFETY: the thread is not joined yet, so its handle is valid.
        let sent = unsafe { libc::pthread_kill(self.thread.as_pthread_t(), libc::SIGTERM) };
        assert_eq!(sent, 0);
        self.thread.join().expect("no panic").expect("a clean end");
    }
}

/// Whether the server has the file open with O_DIRECT: a file system that refuses it makes half of this test weaker.
fn is_direct(disk: &Path) -> bool {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("procfs").flatten();
    descriptors.filter(|d| std::fs::read_link(d.path()).is_ok_and(|l| l == disk)).any(|d| {
        let info = Path::new("/proc/self/fdinfo").join(d.file_name());
        let info = std::fs::read_to_string(info).unwrap_or_default();
        let flags = info.lines().find_map(|l| l.strip_prefix("flags:"));
        flags.and_then(|f| i32::from_str_radix(f.trim(), 8).ok()).is_some_and(|f| f & libc::O_DIRECT != 0)
    })
}

#[test]
fn a_command_in_steady_state_allocates_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let server = Server::start(folder.path());
    if !is_direct(&folder.path().join("disk.img")) {
        eprintln!("note: the file is not open with O_DIRECT, so only buffered I/O was measured");
    }
    let mut faults = String::new();
    for digests in [false, true] {
        // A login allocates: if that is not seen, neither would a command's allocation be.
        let window = Window::open();
        let mut initiator = Initiator::login(server.address, TARGET, u8::from(digests), digests);
        assert!(window.close().0 > 0, "the threads of the cores are not recognised");
        for lun in [RAM, FILE] {
            initiator.ready(lun);
            for (kind, bytes, count) in [
                (Kind::Read, 4096, 20_000),
                (Kind::WriteImmediate, 4096, if lun == RAM { 20_000 } else { 5_000 }),
                (Kind::WriteSolicited, 4096, 2_000),
                (Kind::Read, 65_536, 2_000),
                (Kind::WriteImmediate, 65_536, 1_000),
                (Kind::WriteSolicited, 65_536, 1_000),
                (Kind::WriteImmediate, 131_072, 1_000),
                (Kind::WriteSolicited, 131_072, 1_000),
            ] {
                let load = Load { kind, lun, bytes, depth: 32, lun_bytes: LUN_BYTES };
                initiator.run(load, 500);
                let window = Window::open();
                initiator.run(load, count);
                let (allocations, places) = window.close();
                if allocations > 0 {
                    faults += &format!(
                        "{load:?}, digests {digests}: {allocations} allocations in {count} commands\n{places}\n"
                    );
                }
            }
        }
    }
    server.stop();
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn the_count_counts_cores_only() {
    let _alone = alone();
    let work = |name: &str, allocate: bool| {
        let allocating = move || {
            let window = Window::open();
            if allocate {
                std::hint::black_box(vec![1u8; 100]);
            }
            window.close()
        };
        std::thread::Builder::new().name(name.into()).spawn(allocating).expect("a thread").join().expect("no panic")
    };
    let (count, places) = work("ringsan-7", true);
    assert_eq!(count, 1);
    assert!(places.contains("the_count_counts_cores_only"), "{places}");
    assert_eq!(work("ringsan-7", false).0, 0);
    assert_eq!(work("ringsan-control", true).0, 0);
    assert_eq!(work("initiator", true).0, 0);
}
