//! Sessions that move from core to core while they are used.

use super::Server;
use super::fencing::{end_zeroing, zero_in_the_background};
use super::payload::all_back;
use super::peer::{Pdu, Peer, good};
use crate::backend::{FaultAction, FaultPlan, FaultRule, OpClass};
use crate::fabric::mesh::Message;
use crate::wire::{Opcode, TmFunction, TmResponse, Tsih};
use crate::world::{Change, World};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(2);
const BLOCK: usize = 512;

/// Has a session move to and fro, as fast as it does.
struct Mover {
    stop: Arc<AtomicBool>,
    moves: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Mover {
    fn of(server: &Server, peer: &Peer) -> Mover {
        let (world, mesh, tsih) = (Arc::clone(&server.world), server.mesh.clone(), Tsih(peer.tsih));
        let (stop, moves) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (told, count) = (Arc::clone(&stop), Arc::clone(&moves));
        let thread = std::thread::spawn(move || {
            let mut last = None;
            while !told.load(Ordering::Relaxed) {
                if let Some((core, in_transit)) = world.registry.whereabouts(tsih) {
                    if last.replace(core).is_some_and(|last| last != core) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    if !in_transit {
                        mesh.post(core, Message::Demand { tsih, to: 1 - core });
                    }
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        Mover { stop, moves, thread: Some(thread) }
    }

    fn moves(&self) -> usize {
        self.moves.load(Ordering::Relaxed)
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Moves a session once. False: it does not go.
pub(super) fn move_once(server: &Server, peer: &Peer) -> bool {
    let tsih = Tsih(peer.tsih);
    let (from, _) = server.world.registry.whereabouts(tsih).unwrap();
    let end = Instant::now() + SOON;
    server.mesh.post(from, Message::Demand { tsih, to: 1 - from });
    while server.world.registry.whereabouts(tsih) != Some((1 - from, false)) {
        std::thread::sleep(Duration::from_millis(1));
        if Instant::now() >= end {
            return false;
        }
    }
    true
}

fn word(pdu: &Pdu, at: usize) -> u32 {
    u32::from_be_bytes(pdu.bhs[at..at + 4].try_into().unwrap())
}

/// The numbers of a session as its initiator sees them.
struct Numbers {
    stat_sn: Option<u32>,
    window: (u32, u32),
}

impl Numbers {
    fn check(&mut self, pdu: &Pdu) {
        let numbered = match pdu.opcode {
            Opcode::SCSI_DATA_IN => pdu.bhs[1] & 1 == 1,
            Opcode::R2T => false,
            _ => true,
        };
        if numbered {
            let stat_sn = word(pdu, 24);
            assert!(self.stat_sn.is_none_or(|last| last.wrapping_add(1) == stat_sn), "{:?} {pdu:?}", self.stat_sn);
            self.stat_sn = Some(stat_sn);
        }
        let (exp, max) = (word(pdu, 28), word(pdu, 32));
        assert!(exp >= self.window.0 && max >= self.window.1, "{:?} {pdu:?}", self.window);
        self.window = (exp, max);
    }
}

enum Flight {
    Write,
    Read(Vec<u8>, Vec<u8>),
}

/// Keeps commands in flight, each in an area of its own, and looks at every answer.
struct Load {
    peer: Peer,
    numbers: Numbers,
    areas: HashMap<u16, Option<Vec<u8>>>,
    flying: HashMap<u32, (u16, Flight)>,
    seed: u64,
    pub done: usize,
}

impl Load {
    const AREAS: u16 = 12;
    const AREA_BLOCKS: u16 = 128;

    fn new(peer: Peer) -> Load {
        let areas = (0..Load::AREAS).map(|area| (area, None)).collect();
        let numbers = Numbers { stat_sn: None, window: (0, 0) };
        Load { peer, numbers, areas, flying: HashMap::new(), seed: 1, done: 0 }
    }

    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 33
    }

    fn submit(&mut self, area: u16, before: Option<Vec<u8>>) {
        let [high, low] = (area * Load::AREA_BLOCKS).to_be_bytes();
        if let Some(expected) = before {
            let blocks = (expected.len() / BLOCK) as u8;
            let itt = self.peer.command(1, &[0x28, 0, 0, 0, high, low, 0, 0, blocks, 0], expected.len() as u32, &[]);
            self.flying.insert(itt, (area, Flight::Read(expected, vec![])));
            return;
        }
        let blocks = [1, 8, 8, 40, 128][self.random() as usize % 5];
        let fill = self.random();
        let data: Vec<u8> = (0..blocks * BLOCK).map(|at| (at as u64 * 31 + fill) as u8).collect();
        let cdb = [0x2a, 0, 0, 0, high, low, 0, 0, blocks as u8, 0];
        let itt = match self.random() % 3 {
            0 => self.peer.unsolicited(1, &cdb, &data),
            _ => self.peer.command(1, &cdb, 0, &data),
        };
        self.flying.insert(itt, (area, Flight::Write));
        self.areas.insert(area, Some(data));
    }

    fn reap(&mut self) {
        let pdu = self.peer.next(SOON);
        self.numbers.check(&pdu);
        let itt = pdu.itt();
        let ends = pdu.opcode == Opcode::SCSI_RESPONSE || pdu.bhs[1] & 1 == 1;
        let (area, flight) = self.flying.get_mut(&itt).unwrap_or_else(|| panic!("{pdu:?}"));
        let area = *area;
        match flight {
            Flight::Write => assert_eq!((pdu.opcode, pdu.bhs[2], pdu.bhs[3]), (Opcode::SCSI_RESPONSE, 0, 0), "{pdu:?}"),
            Flight::Read(expected, got) => {
                assert_eq!((pdu.opcode, pdu.bhs[3]), (Opcode::SCSI_DATA_IN, 0), "{pdu:?}");
                assert_eq!(word(&pdu, 40) as usize, got.len());
                got.extend(&pdu.data);
                assert!(!ends || expected == got, "area {area} reads back differently");
            }
        }
        if !ends {
            return;
        }
        let (_, flight) = self.flying.remove(&itt).unwrap();
        let written = self.areas.get_mut(&area).unwrap();
        if matches!(flight, Flight::Read(..)) {
            *written = None;
        }
        self.done += 1;
    }

    /// Until so many commands are done, or that long.
    fn run(&mut self, while_: impl Fn(usize) -> bool) {
        loop {
            let more = while_(self.done);
            let busy: Vec<u16> = self.flying.values().map(|(area, _)| *area).collect();
            for area in (0..Load::AREAS).filter(|area| more && !busy.contains(area)) {
                let before = self.areas[&area].clone();
                self.submit(area, before);
            }
            if self.flying.is_empty() {
                return;
            }
            self.reap();
        }
    }
}

/// The bytes of payload that were received straight into I/O buffers.
fn loaded(mut server: Server, keys: &[&str], digests: (bool, bool)) -> u64 {
    let mut peer = Peer::login(server.at, 1, keys);
    peer.digests = digests;
    let mut load = Load::new(peer.ready());
    let mover = Mover::of(&server, &load.peer);
    let end = Instant::now() + Duration::from_secs(20);
    load.run(|done| (done < 3000 || mover.moves() < 60) && Instant::now() < end);
    assert!(mover.moves() >= 20, "{} moves during {} commands", mover.moves(), load.done);
    drop(mover);
    assert_eq!(load.peer.logout(0, 0), 0);
    all_back(&mut server)
}

#[test]
fn nothing_is_lost_when_a_session_moves_under_load() {
    loaded(Server::new(2, FaultPlan::new()), &[], (false, false));
}

#[test]
fn payload_is_received_into_its_place_while_a_session_moves() {
    assert!(loaded(Server::with_media(2, FaultPlan::new()), &[], (false, false)) > 0);
}

#[test]
fn digests_move_along() {
    let keys = &["HeaderDigest=CRC32C", "DataDigest=CRC32C"];
    assert!(loaded(Server::with_media(2, FaultPlan::new()), keys, (true, true)) > 0);
}

#[test]
fn unit_attentions_survive_a_move() {
    let server = Server::new(2, FaultPlan::new());
    let peer = Peer::login(server.at, 1, &[]);
    let mut other = Peer::login(server.at, 2, &[]).ready();
    assert!(move_once(&server, &peer));
    let mut peer = peer.ready();
    assert_eq!(TmResponse(other.managed(TmFunction::LOGICAL_UNIT_RESET, 1, u32::MAX).0), TmResponse::FUNCTION_COMPLETE);
    assert!(move_once(&server, &peer) && move_once(&server, &peer));
    let itt = peer.test_unit_ready(1);
    assert_eq!(peer.end(itt, SOON).sense.0, 6, "the reset's");
    let itt = peer.test_unit_ready(1);
    assert_eq!(peer.end(itt, SOON), good());
}

#[test]
fn a_reset_from_another_core_finds_a_session_that_moved() {
    let hangs = FaultPlan::new().rule(FaultRule::new(FaultAction::Hang));
    let server = Server::new(2, hangs);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut other = Peer::login(server.at, 2, &[]).ready();
    for _ in 0..2 {
        assert!(move_once(&server, &peer));
        let read = peer.read(0, 0, 8);
        peer.ping();
        assert!(!move_once_now(&server, &peer), "a task is under way");
        let (response, _) = other.managed(TmFunction::LOGICAL_UNIT_RESET, 0, u32::MAX);
        assert_eq!(TmResponse(response), TmResponse::FUNCTION_COMPLETE);
        assert!(!peer.is_answered(read, Duration::from_millis(50)), "it was aborted");
        let itt = peer.test_unit_ready(0);
        assert_eq!(peer.end(itt, SOON).sense.0, 6);
    }
}

#[test]
fn who_cannot_become_quiet_goes_on_soon() {
    let hangs = FaultPlan::new().rule(FaultRule::new(FaultAction::Hang));
    let server = Server::new(2, hangs);
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let (core, _) = server.world.registry.whereabouts(Tsih(peer.tsih)).unwrap();
    peer.read(0, 0, 8);
    peer.ping();
    for round in 0..10 {
        let begin = Instant::now();
        server.mesh.post(core, Message::Demand { tsih: Tsih(peer.tsih), to: 1 - core });
        std::thread::sleep(Duration::from_millis(5));
        let write = peer.write(1, 0, 100, round);
        assert_eq!(peer.end(write, SOON), good());
        let read = peer.read(1, 99, 1);
        assert_eq!(peer.end(read, SOON).data, [round; BLOCK]);
        assert!(begin.elapsed() < Duration::from_millis(300), "{:?}", begin.elapsed());
    }
    assert_eq!(server.world.registry.whereabouts(Tsih(peer.tsih)), Some((core, false)));
}

/// Whether a session moves within the time that a move may take.
fn move_once_now(server: &Server, peer: &Peer) -> bool {
    let tsih = Tsih(peer.tsih);
    let (from, _) = server.world.registry.whereabouts(tsih).unwrap();
    server.mesh.post(from, Message::Demand { tsih, to: 1 - from });
    std::thread::sleep(Duration::from_millis(400));
    server.world.registry.whereabouts(tsih) != Some((from, false))
}

/// Else the loss of its nexus would not be heard of where the copy is.
#[test]
fn a_session_stays_where_its_copy_in_the_background_is() {
    let slow = FaultRule::new(FaultAction::Delay(Duration::from_millis(300))).on(OpClass::Clear);
    let server = Server::new(2, FaultPlan::new().rule(slow));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    zero_in_the_background(&mut peer);
    assert!(!move_once_now(&server, &peer));
    end_zeroing(&mut peer);
    let end = Instant::now() + 5 * SOON;
    while !move_once_now(&server, &peer) {
        assert!(Instant::now() < end, "it stays for good");
    }
}

#[test]
fn a_cold_reset_ends_a_session_on_its_way() {
    let server = Server::new(2, FaultPlan::new());
    for round in 0..20 {
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let mut other = Peer::login(server.at, 2, &[]).ready();
        let mover = Mover::of(&server, &peer);
        std::thread::sleep(Duration::from_micros(500 * round));
        let (response, _) = other.managed(TmFunction::TARGET_COLD_RESET, 0, u32::MAX);
        assert_eq!(TmResponse(response), TmResponse::FUNCTION_COMPLETE);
        assert!(peer.is_closed(SOON) && other.is_closed(SOON), "round {round}");
        drop(mover);
    }
}

#[test]
fn a_connection_joins_while_its_session_moves() {
    let keys = ["MaxConnections=4"];
    let server = Server::new(2, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &keys).ready();
    let mover = Mover::of(&server, &peer);
    let end = Instant::now() + Duration::from_secs(20);
    let mut cids = 1..=u8::MAX;
    while mover.moves() < 30 && Instant::now() < end {
        let cid = cids.next().unwrap_or(1);
        let mut second = peer.join(server.at, 1, u16::from(cid), &keys);
        let itt = second.write(1, cid, 1, cid);
        assert_eq!(second.end(itt, SOON), good());
        peer.skip_cmd_sn(1);
        let itt = peer.read(1, cid, 1);
        assert_eq!(peer.end(itt, SOON).data, [cid; BLOCK]);
        second.skip_cmd_sn(1);
        second.ping();
        assert_eq!(second.logout(1, u16::from(cid)), 0);
    }
    assert!(mover.moves() > 10, "{} moves", mover.moves());
}

#[test]
fn both_connections_of_a_session_move_under_load() {
    let keys = ["MaxConnections=4"];
    let server = Server::new(2, FaultPlan::new());
    let first = Peer::login(server.at, 1, &keys).ready();
    let mover = Mover::of(&server, &first);
    let mut legs = [first, Peer::connect(server.at)];
    legs[1] = legs[0].join(server.at, 1, 1, &keys);
    let end = Instant::now() + Duration::from_secs(20);
    let mut round = 0u8;
    while (round < 200 || mover.moves() < 30) && Instant::now() < end {
        round = round.wrapping_add(1);
        let mut tags = vec![];
        for at in 0..16u8 {
            // Now one, now the other; writes first, then what reads them back.
            let leg = usize::from((at ^ at >> 2 ^ round) & 1);
            let lba = at % 8 * 8;
            let itt = if at < 8 { legs[leg].write(1, lba, 8, round ^ at) } else { legs[leg].read(1, lba, 8) };
            legs[1 - leg].skip_cmd_sn(1);
            tags.push((leg, itt));
            if at == 7 {
                for (leg, itt) in tags.drain(..) {
                    assert_eq!(legs[leg].end(itt, SOON), good());
                }
            }
        }
        for ((leg, itt), at) in tags.into_iter().zip(0..) {
            assert_eq!(legs[leg].end(itt, SOON).data, vec![round ^ at; 8 * BLOCK], "round {round}");
        }
    }
    assert!(mover.moves() > 10, "{} moves", mover.moves());
}

#[test]
fn a_session_is_reinstated_while_it_moves() {
    let server = Server::new(2, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut moves = 0;
    for round in 0..40 {
        let mover = Mover::of(&server, &peer);
        std::thread::sleep(Duration::from_micros(300 * round));
        let next = Peer::login(server.at, 1, &[]).ready();
        assert!(peer.is_closed(SOON), "round {round}");
        moves += mover.moves();
        peer = next;
    }
    assert!(moves > 10, "{moves} moves");
    assert_eq!((server.world.registry.load().iter().sum::<usize>(), peer.logout(0, 0)), (1, 0));
}

#[test]
fn a_session_moves_while_the_configuration_changes() {
    let server = Server::new(2, FaultPlan::new());
    let peer = Peer::login(server.at, 1, &[]).ready();
    let mut load = Load::new(peer);
    let mover = Mover::of(&server, &load.peer);
    let (world, mesh) = (Arc::clone(&server.world), server.mesh.clone());
    let changes = std::thread::spawn(move || {
        for generation in 1..200 {
            let mut next = World::clone(&world);
            next.generation = generation;
            let world = Arc::new(next);
            let change = Arc::new(Change { world: Arc::clone(&world), resized: Vec::new() });
            let first = generation as usize % 2;
            for core in [first, 1 - first] {
                mesh.post(core, Message::Change(Arc::clone(&change)));
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    });
    load.run(|_| !changes.is_finished());
    changes.join().unwrap();
    assert!(mover.moves() > 10, "{} moves", mover.moves());
}

#[test]
fn the_server_ends_while_sessions_move() {
    for round in 0..5 {
        let mut server = Server::new(2, FaultPlan::new());
        let peers: Vec<Peer> = (1..4).map(|host| Peer::login(server.at, host, &[]).ready()).collect();
        let movers: Vec<Mover> = peers.iter().map(|peer| Mover::of(&server, peer)).collect();
        std::thread::sleep(Duration::from_millis(20 + round));
        assert!(server.stop() < Duration::from_secs(4));
        drop(movers);
        for mut peer in peers {
            assert!(peer.is_closed(SOON));
        }
    }
}

#[test]
fn who_has_an_unfinished_write_does_not_move_but_goes_on() {
    let server = Server::new(2, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let data = vec![7; BLOCK];
    let itt = peer.unsolicited_command(1, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], data.len() as u32);
    assert!(!move_once_now(&server, &peer));
    peer.ping();
    peer.unsolicited_data(1, itt, &data);
    assert_eq!(peer.end(itt, SOON), good());
    assert!(move_once(&server, &peer));
    let itt = peer.read(1, 0, 1);
    assert_eq!(peer.end(itt, SOON).data, data);
}
