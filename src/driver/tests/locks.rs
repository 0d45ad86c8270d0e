//! COMPARE AND WRITE as hosts use it: as locks that several sessions on two cores fight for, while their commands are
//! aborted and reset and their connections are cut.

use super::peer::Peer;
use super::*;
use crate::backend::{FaultAction, FaultRule};
use crate::wire::{Opcode, TmFunction};
use std::sync::atomic::{AtomicU32, Ordering};

const HOSTS: u8 = 6;
const FIGHT: Duration = Duration::from_secs(3);
/// How long a command that another session's reset may have ended is waited for; how long a function may take.
const PATIENCE: Duration = Duration::from_millis(100);
const FUNCTION: Duration = Duration::from_secs(5);
/// The locks: LBA and blocks. Behind them each host has two blocks of its own.
const LOCKS: [(u8, u8); 2] = [(0, 1), (2, 3)];
const OWN: u8 = 16;
const UNIT_ATTENTION: u8 = 6;
const MISCOMPARE: (u8, u16) = (0xe, 0x1d00);

/// How a command ended, and what it brought.
struct Ended {
    status: u8,
    sense: (u8, u16),
    /// INFORMATION, if it is valid.
    information: Option<u32>,
    data: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Accident {
    AbortTask,
    LogicalUnitReset,
    Cut,
}

#[derive(Debug, PartialEq)]
enum Fate {
    Written,
    Miscompared,
    /// It has been carried out or not, and will not be any more.
    Unsure,
}

/// What the hosts share to find out whether two of them hold a lock.
#[derive(Default)]
struct Watch {
    holders: [AtomicU32; LOCKS.len()],
    taken: AtomicU32,
    refused: AtomicU32,
    accidents: AtomicU32,
}

struct Host {
    at: SocketAddr,
    number: u8,
    peer: Peer,
    random: u64,
}

impl Host {
    fn new(at: SocketAddr, number: u8) -> Host {
        Host { at, number, peer: Peer::login(at, number, &[]), random: 0x9e37_79b9 * (u64::from(number) + 1) }
    }

    /// One in `of`.
    fn chance(&mut self, of: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.is_multiple_of(of)
    }

    /// Waits for a command, and for a function that was sent after it. A command without an answer is aborted. `None`: it
    /// has ended without one.
    fn outcome(&mut self, itt: u32, mut function: Option<u32>) -> Option<Ended> {
        let (mut ended, mut data) = (None, Vec::new());
        let mut until = Instant::now() + if function.is_some() { FUNCTION } else { PATIENCE };
        loop {
            if ended.is_some() && function.is_none() {
                return ended;
            }
            let Some(pdu) = self.peer.try_next(until.saturating_duration_since(Instant::now())) else {
                assert!(function.is_none(), "no answer to a function");
                function = Some(self.peer.manage(TmFunction::ABORT_TASK, 0, itt));
                until = Instant::now() + FUNCTION;
                continue;
            };
            if Some(pdu.itt()) == function {
                assert!(pdu.bhs[2] <= 1, "response {}", pdu.bhs[2]);
                return ended;
            }
            if pdu.itt() != itt {
                continue;
            }
            if pdu.opcode == Opcode::SCSI_DATA_IN {
                data.extend(&pdu.data);
                if pdu.bhs[1] & 1 == 0 {
                    continue;
                }
            }
            let sense = if pdu.opcode == Opcode::SCSI_RESPONSE { pdu.data.as_slice() } else { &[] };
            let byte = |at: usize| sense.get(2 + at).copied().unwrap_or(0);
            ended = Some(Ended {
                status: pdu.bhs[3],
                sense: (byte(2) & 15, u16::from_be_bytes([byte(12), byte(13)])),
                information: (byte(0) & 0x80 != 0).then(|| u32::from_be_bytes([byte(3), byte(4), byte(5), byte(6)])),
                data: std::mem::take(&mut data),
            });
        }
    }

    /// COMPARE AND WRITE, until it has ended otherwise than with a unit attention.
    fn compare_and_write(
        &mut self,
        lba: u8,
        old: &[u8],
        new: &[u8],
        mut accident: Option<Accident>,
    ) -> (Fate, Option<u32>) {
        let cdb = [0x89, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, (old.len() / 512) as u8, 0, 0];
        loop {
            let itt = self.peer.command(0, &cdb, 0, &[old, new].concat());
            let function = match accident.take() {
                None => None,
                Some(Accident::AbortTask) => Some(self.peer.manage(TmFunction::ABORT_TASK, 0, itt)),
                Some(Accident::LogicalUnitReset) => Some(self.peer.manage(TmFunction::LOGICAL_UNIT_RESET, 0, u32::MAX)),
                Some(Accident::Cut) => {
                    // The new session takes the place of the old one, whose commands have ended by then.
                    self.peer = Peer::login(self.at, self.number, &[]);
                    return (Fate::Unsure, None);
                }
            };
            let Some(end) = self.outcome(itt, function) else { return (Fate::Unsure, None) };
            match (end.status, end.sense) {
                (0, _) => return (Fate::Written, None),
                (2, MISCOMPARE) => return (Fate::Miscompared, end.information),
                (2, (UNIT_ATTENTION, _)) => {}
                (status, sense) => panic!("status {status:#x}, sense {sense:x?}"),
            }
        }
    }

    fn read(&mut self, lba: u8, blocks: u8) -> Vec<u8> {
        loop {
            let itt = self.peer.read(0, lba, blocks);
            if let Some(end) = self.outcome(itt, None)
                && end.status == 0
            {
                return end.data;
            }
        }
    }

    /// COMPARE AND WRITE with an accident or not, and whether it was carried out: what it was to write is there only then.
    fn change(&mut self, (lba, blocks): (u8, u8), old: &[u8], new: &[u8], watch: &Watch) -> bool {
        let accidents = [(Accident::AbortTask, 20), (Accident::Cut, 40), (Accident::LogicalUnitReset, 150)];
        let accident = accidents.into_iter().find(|(_, of)| self.chance(*of)).map(|(accident, _)| accident);
        if accident.is_some() {
            watch.accidents.fetch_add(1, Ordering::Relaxed);
        }
        match self.compare_and_write(lba, old, new, accident).0 {
            Fate::Written => true,
            Fate::Miscompared => false,
            Fate::Unsure => self.read(lba, blocks) == new,
        }
    }

    fn release(&mut self, place: (u8, u8), mine: &[u8], free: &[u8]) {
        loop {
            let accident = self.chance(20).then_some(Accident::AbortTask);
            match self.compare_and_write(place.0, mine, free, accident).0 {
                Fate::Written => return,
                Fate::Miscompared => panic!("what is held miscompares"),
                // Another one may have it by now.
                Fate::Unsure if self.read(place.0, place.1) != mine => return,
                Fate::Unsure => {}
            }
        }
    }

    fn fight(&mut self, watch: &Watch) {
        let until = Instant::now() + FIGHT;
        let mut turn = 0u8;
        while Instant::now() < until {
            turn = turn.wrapping_add(1);
            let lock = usize::from(turn) % LOCKS.len();
            let (place, holders) = (LOCKS[lock], &watch.holders[lock]);
            let len = usize::from(place.1) * 512;
            let (free, mine) = (vec![0; len], vec![0x80 | self.number; len]);
            if self.change(place, &free, &mine, watch) {
                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold a lock");
                assert_eq!(self.read(place.0, place.1), mine, "somebody changes what is held");
                watch.taken.fetch_add(1, Ordering::Relaxed);
                assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
                self.release(place, &mine, &free);
            } else {
                watch.refused.fetch_add(1, Ordering::Relaxed);
            }
            // What nobody else touches is what was last written there, whatever has happened.
            let own = (OWN + 2 * self.number, 2);
            let (old, new) = (vec![turn.wrapping_sub(1); 1024], vec![turn; 1024]);
            while !self.change(own, &old, &new, watch) {
                assert_eq!(self.read(own.0, own.1), old, "a false miscompare");
            }
        }
    }
}

/// A server whose locks take their time, so that accidents strike in the middle of a command.
fn slow() -> Server {
    let delay = FaultRule::new(FaultAction::Delay(Duration::from_micros(200)));
    Server::new(2, FaultPlan::new().rule(delay.within(0..64 * 512)))
}

#[test]
fn item_96_compare_and_write_never_lets_two_hold_a_lock() {
    let server = slow();
    let at = server.at;
    let watch = Arc::new(Watch::default());
    let hosts: Vec<_> = (0..HOSTS)
        .map(|number| {
            let watch = Arc::clone(&watch);
            std::thread::spawn(move || Host::new(at, number).fight(&watch))
        })
        .collect();
    for host in hosts {
        host.join().unwrap();
    }
    let mut host = Host::new(at, HOSTS);
    for (lba, blocks) in LOCKS {
        assert_eq!(host.read(lba, blocks), vec![0; usize::from(blocks) * 512], "all are free in the end");
    }
    let [taken, refused, accidents] =
        [&watch.taken, &watch.refused, &watch.accidents].map(|count| count.load(Ordering::Relaxed));
    assert!(taken >= 50 && refused >= 20 && accidents >= 10, "{taken} taken, {refused} refused, {accidents} accidents");
}

#[test]
fn item_96_compare_and_write_says_where_it_miscompares() {
    let server = Server::new(1, FaultPlan::new());
    let mut host = Host::new(server.at, 1);
    let content: Vec<u8> = (0..4 * 512).map(|at| (at / 7) as u8).collect();
    assert_eq!(host.compare_and_write(8, &[0; 4 * 512], &content, None), (Fate::Written, None));
    for offset in [0, 1, 511, 512, 1535, 2047] {
        let mut other = content.clone();
        other[offset] ^= 0x10;
        let end = host.compare_and_write(8, &other, &[0xff; 4 * 512], None);
        assert_eq!(end, (Fate::Miscompared, Some(offset as u32)));
        assert_eq!(host.read(8, 4), content, "nothing is written");
    }
    assert_eq!(host.compare_and_write(8, &content, &[0xff; 4 * 512], None), (Fate::Written, None));
    assert_eq!(host.read(8, 4), [0xff; 4 * 512]);
}

/// Whoever asks first has it first, and who only writes is not kept out by those that want it for themselves.
#[test]
fn nobody_waits_for_ever_while_others_fight_for_a_block() {
    const LOCKERS: u8 = 5;
    const ROUNDS: usize = 400;
    let delay = FaultRule::new(FaultAction::Delay(Duration::from_millis(1)));
    let server = Server::new(1, FaultPlan::new().rule(delay.within(0..512)));
    let at = server.at;
    let ended = Arc::new(AtomicU32::new(0));
    // How many of others' commands have ended while the slowest of a host's was under way.
    let host = |number: u8| {
        let ended = Arc::clone(&ended);
        std::thread::spawn(move || {
            let mut peer = Peer::login(at, number, &[]).ready();
            let mut most = 0;
            while (ended.load(Ordering::Relaxed) as usize) < ROUNDS {
                let before = ended.load(Ordering::Relaxed);
                let itt = if number < LOCKERS {
                    peer.command(0, &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 0, &[0; 1024])
                } else {
                    peer.write(0, 0, 1, 0)
                };
                assert_eq!(peer.end(itt, Duration::from_secs(20)).status, 0);
                most = most.max(ended.fetch_add(1, Ordering::Relaxed) - before);
            }
            most
        })
    };
    let hosts: Vec<_> = (0..=LOCKERS).map(host).collect();
    let most: Vec<u32> = hosts.into_iter().map(|host| host.join().unwrap()).collect();
    // Some more than there are hosts: one may be late in taking note.
    assert!(most.iter().all(|most| *most < ROUNDS as u32 / 4), "{most:?}");
}
