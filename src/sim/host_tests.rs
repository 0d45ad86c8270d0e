//! Hosts against the target of packets: one session, one unit, READ and WRITE.

use super::blocks::Blocks;
use super::host::{Host, Stats};
use super::judge::{Judge, UnitSpec};
use super::net::Net;
use super::target::{NAME, Target};
use super::workload::{Config, Kind, Trouble};
use super::{Packet, Peer, Rng};
use crate::initiator::outbox::{Digests, Outgoing, Payload, encode};
use crate::initiator::receive::Receiver;
use crate::session::login::negotiate::Offer;
use crate::wire::Cid;

const UNIT: UnitSpec =
    UnitSpec { lun: 0, blocks: 512, block_bytes: super::target::BLOCK_BYTES, naa: [0; 16], quiet: (0, 0) };

/// One direction knows packets, the other one bytes.
struct Line {
    is_open: bool,
    out: Vec<u8>,
    receiver: Receiver,
    input: Vec<u8>,
}

/// The target of packets behind lines that hand on what they are given in pieces.
struct Toy {
    target: Target,
    lines: Vec<Line>,
    rng: Rng,
    now_ms: u64,
    /// From then on nothing arrives.
    is_deaf: bool,
}

impl Toy {
    fn new(seed: u64) -> Toy {
        let offer = Offer { error_recovery_level: 2, max_connections: 8, time2retain_s: 60, ..Offer::default() };
        let target = Target::slow(offer, UNIT.blocks as u32, seed ^ 0xabcd, 3);
        Toy { target, lines: Vec::new(), rng: Rng(seed), now_ms: 0, is_deaf: false }
    }

    /// Lets time pass, and bytes go on.
    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.target.pass(ms);
        if self.is_deaf {
            return;
        }
        for conn in 0..self.lines.len() {
            let line = &mut self.lines[conn];
            let len = self.rng.below(line.out.len() as u64 + 1) as usize;
            let len = if self.rng.per_mille(500) { line.out.len() } else { len };
            let bytes: Vec<u8> = line.out.drain(..len).collect();
            let mut chunk = &bytes[..];
            while let Ok(Some(pdu)) = line.receiver.whole(&mut chunk) {
                let packet = Packet { ahs: pdu.ahs, ..Packet::new(conn, &pdu.bhs, pdu.data) };
                if line.is_open {
                    self.target.send(packet);
                }
            }
        }
        for packet in self.target.receive() {
            let pdu = Outgoing::new(Cid(0), packet.bhs, &[], Payload::Bytes(&packet.data));
            encode(&pdu, &packet.data, Digests::default(), &mut self.lines[packet.conn].input);
        }
    }
}

impl Net for Toy {
    fn connect(&mut self, _: usize) -> Option<usize> {
        let conn = self.lines.len();
        self.lines.push(Line { is_open: true, out: Vec::new(), receiver: Receiver::new(1 << 24), input: Vec::new() });
        self.target.open(conn);
        Some(conn)
    }

    fn send(&mut self, line: usize, bytes: &[u8]) {
        self.lines[line].out.extend_from_slice(bytes);
    }

    fn receive(&mut self, line: usize, into: &mut Vec<u8>) {
        let input = &mut self.lines[line].input;
        let len = if self.rng.per_mille(500) { input.len() } else { self.rng.below(input.len() as u64 + 1) as usize };
        into.extend(input.drain(..len));
    }

    fn is_closed(&self, line: usize) -> bool {
        self.target.is_closed(line) && self.lines[line].input.is_empty()
    }

    fn close(&mut self, line: usize) {
        self.target.cut(line);
        self.lines[line].is_open = false;
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }
}

fn config() -> Config {
    let troubles = [
        (Trouble::Abort, 100),
        (Trouble::ResetUnit, 20),
        (Trouble::Logout, 10),
        (Trouble::Drop, 10),
        (Trouble::Cut, 30),
    ];
    let more = [(Trouble::Remove, 20), (Trouble::Pause, 5), (Trouble::Ping, 50), (Trouble::AbortSet, 10)];
    Config {
        kinds: vec![(Kind::Read, 50), (Kind::Write, 40), (Kind::Ready, 10)],
        troubles: troubles.into_iter().chain(more).collect(),
        digests: false,
        most_bytes: 96 << 10,
        short_cdbs: true,
        ..Config::usual(0, NAME)
    }
}

/// What goes wrong with the target. A host that is heard no more is given up by it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// A block of the disk changes by itself.
    Disk,
    /// It hears nothing any more.
    Deaf,
}

/// A run of this seed, at the end of whose steps something may go wrong.
fn run(seed: u64, steps: usize, wrong: Wrong) -> Stats {
    let (mut toy, mut judge) = (Toy::new(seed), Judge::new(1, &[UNIT]));
    judge.well_since_ms = Some(0);
    judge.attentions.are_let_hear = true;
    let mut host = Host::new(0, config(), seed);
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..steps {
            host.step(&mut toy, &mut judge);
            toy.pass(1);
        }
        toy.is_deaf = wrong == Wrong::Deaf;
        if wrong == Wrong::Disk {
            let at = 512 * 400 + 8;
            let byte = toy.target.read(at, 1)[0];
            toy.target.fill(at, &[byte ^ 1]);
        }
        host.finish(&judge);
        for _ in 0..100_000 {
            if host.is_done() {
                return;
            }
            host.step(&mut toy, &mut judge);
            toy.pass(1);
        }
        panic!("it does not come to an end");
    }));
    if let Err(why) = ran {
        judge.log.iter().rev().take(60).rev().for_each(|line| eprintln!("{line}"));
        eprintln!("RINGSAN_SEED={seed}");
        std::panic::resume_unwind(why);
    }
    host.stats
}

/// `RINGSAN_SEED` runs one of them.
#[test]
fn a_host_is_content_with_the_target() {
    if let Some(seed) = std::env::var("RINGSAN_SEED").ok().and_then(|seed| seed.parse().ok()) {
        run(seed, 3000, Wrong::Nothing);
        return;
    }
    let mut good = 0;
    for seed in 0..40 {
        let stats = run(seed, 1000, Wrong::Nothing);
        assert!(stats.sessions > 0 && stats.good > 50, "seed {seed}: {stats:?}");
        good += stats.good;
    }
    eprintln!("{good} commands");
}

#[test]
fn what_goes_wrong_is_found() {
    for (wrong, words) in [(Wrong::Disk, "block 400"), (Wrong::Deaf, "closed without a cause")] {
        let why = std::panic::catch_unwind(|| run(3, 500, wrong)).expect_err("it is found");
        let why = why.downcast_ref::<String>().expect("it says what");
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn blocks_know_zeroes_and_the_first_difference() {
    use super::blocks::ZEROES;
    let mut blocks = Blocks::new(4, 512);
    blocks.begin(0..4, 0x0102);
    blocks.written(0..4, 0x0102);
    blocks.begin(1..2, 7 | ZEROES);
    let look = blocks.look(0..4);
    let found = [blocks.filled(1, 0x0102), blocks.filled(1, 0), blocks.filled(2, 0x0102)].concat();
    blocks.check(&look, &found).unwrap();
    assert!(blocks.check(&look, &blocks.filled(4, 3)).is_err());
    // 0x0102 differs from 0x0202 in its second byte, and a block of zeroes in its first.
    let look = blocks.look(0..4);
    assert!(blocks.may_differ(&look, 0x0202, 1) && !blocks.may_differ(&look, 0x0202, 0));
    assert!(blocks.may_differ(&look, 0x0102, 512) && !blocks.may_differ(&look, 0x0102, 1024));
    let mut torn = blocks.filled(1, 0x0102);
    torn[304] = 0xff;
    let look = blocks.look(0..1);
    assert!(blocks.check(&look, &torn).unwrap_err().contains("torn"));
}

#[test]
fn what_is_adrift_does_not_last_by_a_flush() {
    let write = |blocks: &mut Blocks, stamp| {
        blocks.begin(0..1, stamp);
        blocks.written(0..1, stamp);
    };
    let finds = |blocks: &mut Blocks, stamp| {
        let (look, found) = (blocks.look(0..1), blocks.filled(1, stamp));
        blocks.check(&look, &found)
    };
    let flush = |blocks: &mut Blocks| {
        let look = blocks.look(0..1);
        blocks.flushed(&look);
    };
    let mut blocks = Blocks::new(1, 512);
    write(&mut blocks, 7);
    blocks.drifts(0);
    blocks.fell_back();
    finds(&mut blocks, 7).unwrap();
    // That passes over the block: what it shows lasts no more than before.
    flush(&mut blocks);
    write(&mut blocks, 8);
    blocks.fell_back();
    finds(&mut blocks, 0).unwrap();
    // What was written since is not adrift.
    write(&mut blocks, 9);
    flush(&mut blocks);
    blocks.fell_back();
    assert!(finds(&mut blocks, 0).is_err());
    finds(&mut blocks, 9).unwrap();
}
