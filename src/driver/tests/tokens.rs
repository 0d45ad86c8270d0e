//! ROD tokens beside writes: what a token stands for does not change while it is good.

use super::peer::{Peer, good};
use super::*;
use crate::backend::{FaultAction, FaultRule, OpClass};

const SOON: Duration = Duration::from_secs(1);
const REVOKED: (u8, u16) = (5, 0x2306);

fn third_party(peer: &mut Peer, action: u8, list: &[u8]) -> u32 {
    let mut cdb = [0; 16];
    (cdb[0], cdb[1], cdb[9]) = (0x83, action, 7);
    cdb[10..14].copy_from_slice(&(list.len() as u32).to_be_bytes());
    peer.command(0, &cdb, 0, list)
}

/// POPULATE TOKEN for LBA 8 to 15 of LUN 0; its tag.
fn populate(peer: &mut Peer) -> u32 {
    let mut list = [0; 32];
    (list[1], list[15], list[23], list[27]) = (30, 16, 8, 8);
    third_party(peer, 0x10, &list)
}

/// The token that was made.
fn token(peer: &mut Peer) -> Vec<u8> {
    let itt = peer.command(0, &[0x84, 7, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0], 1024, &[]);
    peer.end(itt, SOON).data[38..550].to_vec()
}

fn made(peer: &mut Peer) -> Vec<u8> {
    let itt = populate(peer);
    assert_eq!(peer.end(itt, SOON), good());
    token(peer)
}

/// WRITE USING TOKEN to LBA 64; its status and sense.
fn use_token(peer: &mut Peer, token: &[u8]) -> (u8, (u8, u16)) {
    let mut list = vec![0; 16];
    list.extend_from_slice(token);
    list.resize(536 + 16, 0);
    (list[0], list[1], list[535], list[543], list[547]) = (2, 38, 16, 64, 8);
    let itt = third_party(peer, 0x11, &list);
    let end = peer.end(itt, SOON);
    (end.status, end.sense)
}

#[test]
fn a_write_that_was_planned_before_the_token_revokes_it() {
    let server = Server::new(2, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut other = Peer::login(server.at, 2, &[]).ready();
    let write = other.write_solicited(0, 15, 1024);
    let (_, _, ttt) = other.r2t(write);
    let token = made(&mut peer);
    assert_eq!(use_token(&mut peer, &token), (0, (0, 0)));
    let data_out = other.data_out((write, ttt, 0), 0, 0, true, &[7; 1024]);
    other.raw(&data_out);
    assert_eq!(other.end(write, SOON), good());
    assert_eq!(use_token(&mut peer, &token), (2, REVOKED));
}

#[test]
fn a_token_is_made_when_what_is_under_way_is_over() {
    const DELAY: Duration = Duration::from_millis(300);
    let slow = FaultRule::new(FaultAction::Delay(DELAY)).on(OpClass::Write).times(1);
    let server = Server::new(2, FaultPlan::new().rule(slow));
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let mut other = Peer::login(server.at, 2, &[]).ready();
    let begin = Instant::now();
    let write = other.write(0, 8, 8, 7);
    other.ping();
    let token = made(&mut peer);
    assert!(begin.elapsed() >= DELAY);
    assert_eq!(other.end(write, SOON), good());
    assert_eq!(use_token(&mut peer, &token), (0, (0, 0)));
    let read = peer.read(0, 64, 8);
    assert_eq!(peer.end(read, SOON).data, [7; 4096]);
}

/// What changes a unit: a name, a CDB, its data, and which byte has the low end of the LBA: of the CDB, or of the data.
type Way = (&'static str, Vec<u8>, Vec<u8>, (bool, usize));

/// All ways to change blocks, each at one of LBA 8 to 15 and perhaps some beside these.
fn ways() -> Vec<Way> {
    const CDB_AT: fn(usize) -> (bool, usize) = |at| (true, at);
    let block = || vec![9; 512];
    let unmap = vec![0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0];
    let ten = |code, lba, blocks| vec![code, 0, 0, 0, 0, lba, 0, 0, blocks, 0];
    let atomic = vec![0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0];
    vec![
        ("WRITE", ten(0x2a, 15, 1), block(), CDB_AT(5)),
        ("WRITE AND VERIFY", ten(0x2e, 8, 1), block(), CDB_AT(5)),
        ("WRITE SAME", ten(0x41, 0, 9), block(), CDB_AT(5)),
        ("WRITE SAME of zeroes", ten(0x41, 15, 9), vec![0; 512], CDB_AT(5)),
        ("UNMAP", ten(0x42, 0, 24), unmap, (false, 15)),
        ("COMPARE AND WRITE", vec![0x89, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0], vec![0; 1024], CDB_AT(9)),
        ("ORWRITE", vec![0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0], block(), CDB_AT(9)),
        ("WRITE ATOMIC", atomic, block(), CDB_AT(9)),
    ]
}

/// Payload goes to memory at once, or by an I/O buffer.
fn servers() -> [Server; 2] {
    [Server::with(1, FaultPlan::new(), vec![lun(0), lun(1)]), Server::with_media(1, FaultPlan::new())]
}

#[test]
fn every_way_to_write_revokes_tokens() {
    for server in servers() {
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        for (name, cdb, data, _) in ways() {
            let token = made(&mut peer);
            // Beside it, and a read of it.
            let writes = [peer.write(0, 0, 8, 0), peer.write(0, 16, 8, 0)];
            for itt in writes {
                assert_eq!(peer.end(itt, SOON), good());
            }
            let read = peer.read(0, 8, 8);
            assert_eq!(peer.end(read, SOON).status, 0);
            assert_eq!(use_token(&mut peer, &token), (0, (0, 0)), "before {name}");
            let itt = peer.command(0, &cdb, 0, &data);
            assert_eq!(peer.end(itt, SOON), good(), "{name}");
            assert_eq!(use_token(&mut peer, &token), (2, REVOKED), "{name}");
            let itt = peer.write(0, 8, 8, 0);
            assert_eq!(peer.end(itt, SOON), good());
        }
    }
}

#[test]
fn what_is_changed_elsewhere_leaves_a_token() {
    for server in servers() {
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let token = made(&mut peer);
        for (name, mut cdb, mut data, (of_cdb, at)) in ways() {
            let field = if of_cdb { &mut cdb } else { &mut data };
            field[at] += 100;
            let itt = peer.command(0, &cdb, 0, &data);
            assert_eq!(peer.end(itt, SOON), good(), "{name}");
            assert_eq!(use_token(&mut peer, &token), (0, (0, 0)), "{name}");
        }
    }
}
