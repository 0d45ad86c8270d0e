//! What one turn of a core acts on, of how many connections ever. The core is driven by hand: nobody else has a part in it.

use crate::fabric::mesh::Mesh;
use crate::limits::{
    JOB_BYTES_PER_TURN, JOBS_PER_TURN, QUEUED_BYTES, SHARE_PDUS, TURN_PARTS_BESIDE, TURN_PDUS, TURN_PDUS_OF_ALL,
    TURN_SEND_BYTES,
};
use crate::model::ConnNo;
use crate::model::host::tests::at;
use crate::model::snapshot::tests::{TARGET, lun, snapshot};
use crate::shard::Core;
use crate::transport::acting::Acting;
use crate::transport::io::Socket;
use crate::transport::receiving::Receive;
use crate::wire::{BHS_LEN, bhs};
use crate::world::World;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TEST_UNIT_READY: u8 = 0x00;
const READ: u8 = 0x28;
const VERIFY: u8 = 0x2f;

/// A core with connections that are logged in.
struct Turns {
    core: Core,
    /// The other ends.
    peers: Vec<UnixStream>,
    /// Of each: the next CmdSN.
    cmd_sns: Vec<u32>,
}

impl Turns {
    fn new() -> Turns {
        let (world, _keeper) = World::open(snapshot(&[at("127.0.0.1")], vec![lun(0)]), 1).unwrap();
        let core = Core::on_ring(0, (Arc::new(world), Mesh::new(1).unwrap())).unwrap();
        Turns { core, peers: Vec::new(), cmd_sns: Vec::new() }
    }

    /// A session of a host at this address.
    fn login(&mut self, address: &str) -> ConnNo {
        self.login_with(address, "")
    }

    /// The same, and what it offers besides.
    fn login_with(&mut self, address: &str, keys: &str) -> ConnNo {
        let (socket, peer) = UnixStream::pair().unwrap();
        self.begin();
        let conn = self.core.accepted(Socket::Tcp(socket.into()), at(address), at("127.0.0.1")).unwrap();
        self.core.fabric.links.of_mut(conn).unwrap().receive = Some(Box::new(Receive::new()));
        let text =
            format!("InitiatorName=iqn.2001-04.com.example:{address}\0TargetName={TARGET}\0SessionType=Normal\0{keys}");
        let mut header = [0; BHS_LEN];
        (header[0], header[1], header[8], header[13]) = (0x43, 0x87, 0x80, conn.at() as u8);
        bhs::set_data_segment_len(&mut header, text.len());
        let mut bytes = [&header[..], text.as_bytes()].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.core.take(conn, &bytes);
        assert!(self.core.fabric.seat_of(conn).is_some(), "it is logged in");
        self.peers.push(peer);
        self.cmd_sns.resize(conn.at() + 1, 0);
        conn
    }

    /// Another turn begins, which has all the time there is.
    fn begin(&mut self) {
        self.core.turn += 1;
        let late = Instant::now() + Duration::from_hours(1);
        self.core.fabric.acting = Acting::of_turn(late, self.core.sharing.is_empty());
    }

    /// So many commands come at once.
    fn come(&mut self, conn: ConnNo, operation: u8, blocks: u16, count: u32) {
        let mut bytes = Vec::new();
        for _ in 0..count {
            let mut header = [0; BHS_LEN];
            (header[0], header[1], header[32]) = (0x01, 0x80, operation);
            header[39..41].copy_from_slice(&blocks.to_be_bytes());
            if operation == READ {
                header[1] |= 0x40;
                header[20..24].copy_from_slice(&(u32::from(blocks) * 512).to_be_bytes());
            }
            header[16..20].copy_from_slice(&self.cmd_sns[conn.at()].to_be_bytes());
            header[24..28].copy_from_slice(&self.cmd_sns[conn.at()].to_be_bytes());
            self.cmd_sns[conn.at()] += 1;
            bytes.extend(header);
        }
        self.core.take(conn, &bytes);
    }

    /// LOGICAL UNIT RESET comes.
    fn reset(&mut self, conn: ConnNo) {
        let mut header = [0; BHS_LEN];
        (header[0], header[1]) = (0x42, 0x80 | 5);
        header[16..24].copy_from_slice(&[0xfe, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        header[24..28].copy_from_slice(&self.cmd_sns[conn.at()].to_be_bytes());
        self.core.take(conn, &header);
    }

    /// Of those, so many have not been acted on.
    fn parked(&self, conn: ConnNo) -> u32 {
        (self.core.fabric.links.receive(conn).unwrap().parked.len() / BHS_LEN) as u32
    }
}

#[test]
fn one_connection_has_its_part_of_a_turn_and_then_shares() {
    // The second is all of a share.
    for last in [7, SHARE_PDUS] {
        let mut turns = Turns::new();
        let conn = turns.login("192.0.2.1");
        turns.begin();
        turns.come(conn, READ, 1, TURN_PDUS + SHARE_PDUS + last);
        assert_eq!(turns.parked(conn), SHARE_PDUS + last);
        turns.core.share_turn();
        assert_eq!(turns.parked(conn), last);
        turns.core.share_turn();
        assert_eq!(turns.parked(conn), 0);
        turns.begin();
        turns.come(conn, READ, 1, TURN_PDUS);
        assert_eq!(turns.parked(conn), 0, "a share was all that it had: it is as before");
    }
}

#[test]
fn windows_full_of_commands_on_many_connections_do_not_wait_for_turns() {
    let mut turns = Turns::new();
    for (connections, depth) in [(16, 32), (4, 128)] {
        let conns: Vec<_> = (0..connections).map(|_| turns.login("192.0.2.1")).collect();
        turns.begin();
        conns.iter().for_each(|conn| turns.come(*conn, READ, 1, depth));
        assert!(conns.iter().all(|conn| turns.parked(*conn) == 0));
    }
}

#[test]
fn what_a_turn_acts_on_is_bounded_however_many_connections_there_are() {
    const BURST: u32 = TURN_PDUS - 6;
    let mut turns = Turns::new();
    let conns: Vec<_> = (0..64).map(|_| turns.login("192.0.2.1")).collect();
    let victim = turns.login("192.0.2.2");
    let (first, later) = conns.split_at(32);
    for (conns, all) in [(first, TURN_PDUS_OF_ALL), (later, TURN_PDUS_OF_ALL / TURN_PARTS_BESIDE)] {
        turns.begin();
        conns.iter().for_each(|conn| turns.come(*conn, READ, 1, BURST));
        let parked: u32 = conns.iter().map(|conn| turns.parked(*conn)).sum();
        assert_eq!(conns.len() as u32 * BURST - parked, all);
    }
    // Who comes then is not behind all of them.
    turns.come(victim, READ, 1, 1);
    assert_eq!(turns.parked(victim), 1);
    turns.core.share_turn();
    turns.core.share_turn();
    assert_eq!(turns.parked(victim), 0);
}

#[test]
fn what_is_parked_is_acted_on_for_so_long_in_a_turn_however_many_share_it() {
    const BURST: u32 = 100;
    let mut turns = Turns::new();
    let conns: Vec<_> = (0..64).map(|n| turns.login(&format!("192.0.2.{n}"))).collect();
    turns.core.fabric.acting = Acting::of_shares(Instant::now());
    conns.iter().for_each(|conn| turns.come(*conn, TEST_UNIT_READY, 0, BURST));
    let parked = |turns: &Turns| conns.iter().map(|conn| turns.parked(*conn)).sum::<u32>();
    // Nobody acts on thousands of commands in that time.
    let before = parked(&turns);
    turns.core.share_turn();
    let after = parked(&turns);
    assert!(after < before && before - after < conns.len() as u32 * SHARE_PDUS, "{before} {after}");
}

#[test]
fn a_command_of_which_nobody_knows_how_long_it_takes_may_be_the_last_of_a_turn() {
    let mut turns = Turns::new();
    let conns = [turns.login("192.0.2.1"), turns.login("192.0.2.2")];
    for conn in conns {
        turns.begin();
        turns.come(conn, TEST_UNIT_READY, 0, 1);
    }
    for (conn, operation, acted) in [(conns[0], TEST_UNIT_READY, 1), (conns[1], READ, 32)] {
        turns.core.turn += 1;
        turns.core.fabric.acting = Acting::of_turn(Instant::now().checked_sub(Duration::from_secs(1)).unwrap(), true);
        turns.come(conn, operation, 1, 40);
        assert_eq!(40 - turns.parked(conn), acted);
    }
}

#[test]
fn a_turn_hands_so_much_to_the_sockets_and_the_rest_later() {
    const DATA_BYTES: usize = 8 << 10;
    let mut turns = Turns::new();
    let conns: Vec<_> = (0..2 * TURN_SEND_BYTES / QUEUED_BYTES).map(|_| turns.login("192.0.2.1")).collect();
    turns.begin();
    let mut ping = vec![0; BHS_LEN + DATA_BYTES];
    (ping[0], ping[1]) = (0x40, 0x80);
    ping[5..8].copy_from_slice(&(DATA_BYTES as u32).to_be_bytes()[1..]);
    ping[20..24].fill(0xff);
    let pings = ping.repeat(QUEUED_BYTES / DATA_BYTES);
    for conn in &conns {
        turns.begin();
        turns.core.take(*conn, &pings);
    }
    let queued = turns.core.fabric.links.dirty.len();
    assert_eq!(queued, conns.len());
    turns.core.fabric.flush();
    let left = turns.core.fabric.links.dirty.len();
    assert!(left > 0 && left < queued, "{left}");
}

#[test]
fn jobs_do_not_keep_everything_else_waiting() {
    const MANY: usize = 1_000_000;
    let mut turns = Turns::new();
    let core = &mut turns.core;
    // They have ended already, and yet so many take longer than a turn.
    (0..MANY).for_each(|job| core.executor.running.runnable.push(None, job));
    let begin = Instant::now();
    core.executor.run_jobs(|_| (), |_| begin.elapsed() < JOBS_PER_TURN, &mut core.fabric);
    let left = core.executor.running.runnable.len();
    assert!(left > 0 && left < MANY, "{left}");
}

/// The kernel copies what it has at hand in the call that asks for it: in a turn, one piece of what many jobs want is asked for.
#[test]
fn jobs_begin_to_move_one_piece_in_a_turn_however_many_there_are() {
    const VERIFIES: u32 = 8;
    let mut turns = Turns::new();
    let conn = turns.login("192.0.2.1");
    for _ in 0..2 {
        turns.begin();
        turns.come(conn, TEST_UNIT_READY, 0, 1);
    }
    turns.come(conn, VERIFY, 512, VERIFIES);
    let mut moved = Vec::new();
    while turns.core.has_jobs() {
        turns.core.run_jobs();
        moved.push(turns.core.executor.turn.job_bytes);
    }
    assert!(moved.iter().all(|bytes| *bytes <= JOB_BYTES_PER_TURN), "{moved:?}");
    assert_eq!(moved.iter().sum::<u64>(), u64::from(VERIFIES) * JOB_BYTES_PER_TURN);
}

/// What is copied for a digest is copied last in a turn: what waits for an aborted read is not to wait for another turn.
#[test]
fn a_function_that_waits_for_what_is_copied_is_answered_in_the_same_turn() {
    let mut turns = Turns::new();
    let conn = turns.login_with("192.0.2.1", "DataDigest=CRC32C\0");
    turns.begin();
    turns.come(conn, TEST_UNIT_READY, 0, 4);
    turns.come(conn, READ, 1, 1);
    assert!(!turns.core.executor.memory.copying.is_empty());
    turns.reset(conn);
    assert!(!turns.core.fabric.management.is_empty(), "it waits for the read");
    turns.core.copy_ready();
    assert!(turns.core.fabric.management.is_empty());
}
