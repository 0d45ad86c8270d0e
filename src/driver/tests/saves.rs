//! Commands that are saved before they are answered.

use super::fencing::{registered, reserve_out};
use super::peer::{Peer, good};
use super::*;
use crate::limits::{KEPT_PARTS_OF_A_HOST, MAX_PARAMETER_BYTES, SAVES_PER_SESSION, SAVING_BYTES_PER_CORE};
use crate::wire::TmFunction;
use std::sync::mpsc;

const SOON: Duration = Duration::from_secs(5);
const PREEMPT_AND_ABORT: u8 = 5;
const REGISTER_AND_IGNORE: u8 = 6;

/// Each of them takes what the one before has left, whichever core that was on.
#[test]
fn what_hosts_of_two_cores_have_saved_is_saved_one_after_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut one, mut two) = registered(FaultPlan::new(), 2, directory.path());
    let keys: Vec<u64> = (3..59).collect();
    for keys in keys.chunks(SAVES_PER_SESSION) {
        let ask = |&key: &u64| {
            let of_one = reserve_out(&mut one, REGISTER_AND_IGNORE, 0, key);
            (of_one, reserve_out(&mut two, REGISTER_AND_IGNORE, 0, 100 + key))
        };
        let asked: Vec<(u32, u32)> = keys.iter().map(ask).collect();
        for (of_one, of_two) in asked {
            assert_eq!((one.end(of_one, SOON), two.end(of_two, SOON)), (good(), good()));
        }
    }
    let unit = &server.world.units[0];
    assert_eq!(unit.file.load().unwrap(), unit.logical.saved());
    assert_eq!(saved_keys(&server), [58, 158]);
}

/// Of one that was decided only the keeper knows when it ends; of those behind it nothing was begun.
#[test]
fn what_waits_for_its_turn_to_be_saved_is_taken_back_with_its_task() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut one, mut two) = registered(FaultPlan::new(), 2, directory.path());
    let release = stuck_keeper(&server);
    let line = &server.world.units[0].saves;
    let decided = reserve_out(&mut one, REGISTER_AND_IGNORE, 0, 7);
    wait_until(|| line.standing() == 1);
    for key in 0..SAVES_PER_SESSION as u64 {
        reserve_out(&mut two, REGISTER_AND_IGNORE, 0, 100 + key);
    }
    wait_until(|| line.standing() == 1 + SAVES_PER_SESSION);
    assert_eq!(two.managed(TmFunction::ABORT_TASK_SET, 0, u32::MAX).0, 0);
    assert_eq!(line.standing(), 1);
    let read = two.read(0, 0, 1);
    assert_eq!(two.end(read, SOON).status, 0, "the medium is well");
    drop(release);
    assert_eq!(one.end(decided, SOON), good());
    // Behind all that came before.
    let last = reserve_out(&mut one, REGISTER_AND_IGNORE, 0, 8);
    assert_eq!(one.end(last, SOON), good());
    assert_eq!(saved_keys(&server), [2, 8]);
}

/// What it aborts may be what is saved next.
#[test]
fn who_is_preempted_and_aborted_is_not_registered_again_by_what_he_sent_before() {
    for cores in [1, 2] {
        let directory = tempfile::tempdir().unwrap();
        let (server, mut victim, mut other) = registered(FaultPlan::new(), cores, directory.path());
        let release = stuck_keeper(&server);
        let line = &server.world.units[0].saves;
        let preempt = reserve_out(&mut other, PREEMPT_AND_ABORT, 2, 1);
        wait_until(|| line.standing() == 1);
        reserve_out(&mut victim, REGISTER_AND_IGNORE, 0, 9);
        wait_until(|| line.standing() == 2);
        drop(release);
        assert_eq!(other.end(preempt, SOON), good());
        let last = reserve_out(&mut other, REGISTER_AND_IGNORE, 0, 8);
        assert_eq!(other.end(last, SOON), good());
        assert_eq!(saved_keys(&server), [8], "{cores} cores");
    }
}

/// BUSY.
const BUSY: u8 = 8;

/// REGISTER with the longest parameter list: nobody looks at it before its turn. Its tag.
fn long_register(peer: &mut Peer) -> u32 {
    peer.command(0, &[0x5f, 0, 0, 0, 0, 0, 1, 0, 0, 0], 0, &[0; MAX_PARAMETER_BYTES])
}

#[test]
fn who_has_much_to_be_saved_waits_for_itself_and_not_everybody_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut victim, mut other) = registered(FaultPlan::new(), 1, directory.path());
    let release = stuck_keeper(&server);
    let line = &server.world.units[0].saves;
    reserve_out(&mut victim, REGISTER_AND_IGNORE, 0, 9);
    wait_until(|| line.standing() == 1);
    let tags: Vec<u32> = (0..100).map(|_| long_register(&mut victim)).collect();
    let (_, refused) = tags.split_at(SAVES_PER_SESSION - 1);
    for &tag in refused {
        assert_eq!(victim.end(tag, SOON).status, BUSY);
    }
    wait_until(|| line.standing() == SAVES_PER_SESSION);
    let preempt = reserve_out(&mut other, PREEMPT_AND_ABORT, 2, 9);
    wait_until(|| line.standing() == SAVES_PER_SESSION + 1);
    drop(release);
    assert_eq!(other.end(preempt, SOON), good());
    assert_eq!(saved_keys(&server), [2]);
}

#[test]
fn what_one_host_has_to_be_saved_is_a_part_of_what_a_core_keeps() {
    const MOST: usize = SAVING_BYTES_PER_CORE / KEPT_PARTS_OF_A_HOST / MAX_PARAMETER_BYTES;
    let directory = tempfile::tempdir().unwrap();
    let (server, mut one, _two) = registered(FaultPlan::new(), 1, directory.path());
    let mut many: Vec<Peer> = (3..7).map(|host| Peer::login(server.at, host, &[]).ready()).collect();
    let release = stuck_keeper(&server);
    let line = &server.world.units[0].saves;
    let first = reserve_out(&mut one, REGISTER_AND_IGNORE, 0, 9);
    wait_until(|| line.standing() == 1);
    let asked: Vec<Vec<u32>> =
        many.iter_mut().map(|peer| (0..SAVES_PER_SESSION).map(|_| long_register(peer)).collect()).collect();
    for peer in &mut many {
        let behind = peer.test_unit_ready(1);
        assert_eq!(peer.end(behind, SOON), good());
    }
    drop(release);
    assert_eq!(one.end(first, SOON), good());
    let ends = many.iter_mut().zip(&asked).flat_map(|(peer, tags)| tags.iter().map(|&tag| peer.end(tag, SOON).status));
    let served = ends.filter(|&status| status != BUSY).count();
    assert!((MOST / 2..=MOST).contains(&served), "{served} of {MOST}");
    // What is over is given back.
    let again = reserve_out(&mut many[3], REGISTER_AND_IGNORE, 0, 5);
    assert_eq!(many[3].end(again, SOON), good());
}

/// The keeper does nothing until the sender is dropped.
pub(crate) fn stuck_keeper(server: &Server) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel();
    let unit = &server.world.units[1];
    server.world.keeper.submit(&unit.file, Box::new(unit.logical.saved()), move |_| {
        let _ = held.recv();
    });
    release
}

fn saved_keys(server: &Server) -> Vec<u64> {
    let saved = server.world.units[0].file.load().unwrap();
    let mut keys: Vec<u64> = saved.reservations.unwrap().registrations.iter().map(|one| one.key).collect();
    keys.sort_unstable();
    keys
}
