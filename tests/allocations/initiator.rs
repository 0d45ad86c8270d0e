//! Keeps a number of commands of one kind in flight until as many as asked for have ended GOOD.

use ringsan::initiator::command::Command;
use ringsan::initiator::event::{Event, Sink, TaskIx};
use ringsan::initiator::login::{Identity, Login, Security};
use ringsan::initiator::outbox::DataRef;
use ringsan::initiator::params::Offer;
use ringsan::initiator::session::Session;
use ringsan::initiator::tcp::Line;
use ringsan::wire::{Cid, CmdSn, Isid, Lun, Tsih};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of one Data-Out, unless the command is a large one: then one is as long as the burst.
const DATA_OUT_BYTES: u32 = 16 << 10;
const LARGE_BYTES: u32 = 128 << 10;
/// No answer for so long is an error.
const PATIENCE: Duration = Duration::from_secs(60);
const CID: Cid = Cid(0);

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    /// The data comes with the command.
    WriteImmediate,
    /// All data is asked for with R2Ts.
    WriteSolicited,
}

/// Commands of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub kind: Kind,
    pub lun: u16,
    pub bytes: u32,
    /// Commands in flight.
    pub depth: u32,
    /// Bytes of the logical unit.
    pub lun_bytes: u64,
}

pub struct Initiator {
    line: Line,
    session: Session,
    random: u64,
    data: Vec<u8>,
    progress: Progress,
}

/// How far a run has come.
#[derive(Default)]
struct Progress {
    done: u64,
    /// Places of commands that are free.
    free: Vec<TaskIx>,
    /// All commands since it was set have ended GOOD.
    is_good: bool,
}

impl Sink for Progress {
    fn data_in(&mut self, _: TaskIx, _: u32, _: &[u8]) {}

    fn event(&mut self, event: Event<'_>) {
        let Event::Ended { task, end, .. } = event else { panic!("unexpected {event:?}") };
        self.is_good &= end.is_good();
        self.done += 1;
        self.free.push(task);
    }
}

impl Initiator {
    /// Logs in, for up to 32 commands at a time.
    pub fn login(address: SocketAddr, target: &str, isid: u8, digests: bool) -> Initiator {
        const DEPTH: u16 = 32;
        let identity = Identity {
            initiator: "iqn.2026-01.example:allocations".into(),
            target: Some(target.into()),
            isid: Isid([0x80, 0, 0, 0, 0, isid]),
            tsih: Tsih(0),
            cid: CID,
            cmd_sn: CmdSn(1),
        };
        let offer = Offer {
            header_digest: Some(digests),
            data_digest: Some(digests),
            max_burst_bytes: Some(1 << 20),
            ..Offer::usual()
        };
        let mut line = Line::connect(address, 1 << 20).expect("a connection");
        let done = line.login(Login::new(identity, offer, Security::Skipped), PATIENCE).expect("a login");
        assert_eq!((done.params.digests.header, done.params.digests.data), (digests, digests));
        line.socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let session = Session::new(&done, CmdSn(1), DEPTH);
        let progress = Progress { free: (0..DEPTH).map(TaskIx).collect(), ..Progress::default() };
        let data = (0..1u32 << 18).map(|n| n as u8).collect();
        Initiator { line, session, random: 0x9e37_79b9_7f4a_7c15, data, progress }
    }

    /// TEST UNIT READY until no unit attention is left.
    pub fn ready(&mut self, lun: u16) {
        for _ in 0..8 {
            self.progress.is_good = true;
            self.issue(Command::new(Lun::flat(lun), &[0; 6]));
            let done = self.progress.done;
            while self.progress.done == done {
                self.turn();
            }
            if self.progress.is_good {
                return;
            }
        }
        panic!("LUN {lun} does not get ready");
    }

    /// Runs `count` commands; each has to end GOOD.
    pub fn run(&mut self, load: Load, count: u64) {
        let (immediate, large) = (load.kind == Kind::WriteImmediate, load.bytes >= LARGE_BYTES);
        self.session.unasked_bytes = if immediate { u32::MAX } else { 0 };
        self.session.data_out_bytes = if large { u32::MAX } else { DATA_OUT_BYTES };
        self.progress.done = 0;
        let mut issued = 0;
        while self.progress.done < count {
            while issued < count && issued - self.progress.done < u64::from(load.depth) {
                self.issue_next(load);
                issued += 1;
            }
            self.turn();
            assert!(self.progress.is_good, "{load:?}");
        }
    }

    fn issue_next(&mut self, load: Load) {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let places = load.lun_bytes / u64::from(load.bytes);
        let lba = (self.random % places) * u64::from(load.bytes) / 512;
        let mut cdb = [if load.kind == Kind::Read { 0x28 } else { 0x2a }, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        cdb[2..6].copy_from_slice(&(lba as u32).to_be_bytes());
        cdb[7..9].copy_from_slice(&((load.bytes / 512) as u16).to_be_bytes());
        let command = Command::new(Lun::flat(load.lun), &cdb);
        self.issue(match load.kind {
            Kind::Read => command.reading(load.bytes),
            _ => command.writing(load.bytes, DataRef(0)),
        });
    }

    fn issue(&mut self, command: Command<'_>) {
        let place = self.progress.free.pop().expect("a place");
        self.session.issue(CID, place, &command, &mut self.line.outbox(&self.data)).expect("room in the window");
    }

    /// Sends what is queued, and receives once.
    fn turn(&mut self) {
        self.line.flush().expect("the server takes it");
        let has_come = self.line.receive(CID, &mut self.session, &self.data, &mut self.progress);
        assert!(has_come.expect("what a target says"), "an answer in time");
    }
}
