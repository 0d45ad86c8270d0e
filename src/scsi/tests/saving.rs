//! What outlives the process: APTPL, saved mode pages, identifying information; and stores that fail.

use super::reservations::*;
use super::*;

const APTPL: u8 = 1;
const NOT_SAVED: (u8, u16) = (4, 0x4400);

/// The unit after a loss of power.
fn restarted(unit: &LogicalUnit) -> LogicalUnit {
    let again = LogicalUnit::new(params());
    again.restore(unit.saved());
    again
}

/// A command with its list, not carried out yet.
fn planned(host: &mut Host, cdb: &[u8], list: &[u8]) -> Plan {
    let plan = host.send(cdb);
    assert!(matches!(plan, Plan::Parameters { .. }), "{plan:?}");
    let cdb = padded(cdb);
    let command =
        Command { cdb: &cdb, lun: Lun::flat(0), initiator: &host.port, protocol_level: 1, luns: &[0], now: NOW };
    host.unit.parameters(&mut host.nexus, &command, list, &mut host.reply)
}

fn out_cdb(action: u8, kind: u8) -> [u8; 10] {
    [0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0]
}

fn save(plan: Plan) -> Box<Saving> {
    match plan {
        Plan::Save(saving) => saving,
        other => panic!("nothing to save: {other:?}"),
    }
}

/// The control page and the caching page, as MODE SELECT(6) with SP takes them.
const CONTROL_LIST: [u8; 16] = [0, 0, 0, 0, 0x0a, 0x0a, 2 | 4, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
const SELECT: [u8; 5] = [0x15, 0x10, 0, 0, 16];
const SELECT_AND_SAVE: [u8; 5] = [0x15, 0x11, 0, 0, 16];

fn caching_list(wce: u8) -> Vec<u8> {
    let mut list = vec![0, 0, 0, 0, 0x08, 0x12, wce];
    list.resize(24, 0);
    list
}

#[test]
fn reservations_persist_while_the_latest_registration_says_so() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    assert_eq!(out(&mut one, REGISTER, 0, &list(0, 1, 0)), GOOD);
    assert_eq!(restarted(&unit).saved().reservations, None, "not asked for");
    assert_eq!(out(&mut two, REGISTER, 0, &list(0, 2, APTPL)), GOOD);
    assert_eq!(read_in(&mut one, 2)[2..4], [0x0d, 0x81], "PTPL_C, PTPL_A");
    assert_eq!(out(&mut one, RESERVE, 5, &list(1, 0, 0)), GOOD);
    assert_eq!(out(&mut two, PREEMPT_AND_ABORT, 6, &list(2, 1, 0)), GOOD);
    assert_eq!(two.reply.aborts, [it_nexus(1, 1)]);

    let again = restarted(&unit);
    let (mut one, mut two) = (Host::new(&again, 1), Host::new(&again, 2));
    assert_eq!(keys(&mut one), (0, vec![2]), "PRGENERATION begins with zero");
    assert_eq!(read_in(&mut two, 1)[8..16], 2u64.to_be_bytes());
    assert_eq!((reads(&mut one), writes(&mut one)), (false, false), "fenced, also after the restart");
    assert!(writes(&mut two));
    assert_eq!(read_in(&mut one, 2)[3], 0x81);
    assert_eq!(out(&mut two, RELEASE, 6, &list(2, 0, 0)), GOOD);
    assert!(restarted(&again).saved().reservations.is_some_and(|each| each.held.is_none()));
    // The latest registration does not ask for it, whosever it is.
    assert_eq!(out(&mut one, REGISTER, 0, &list(0, 0, 0)), GOOD, "nothing to do: it says nothing");
    assert!(again.saved().reservations.is_some());
    assert_eq!(out(&mut one, REGISTER_AND_IGNORE, 0, &list(0, 7, 0)), GOOD);
    assert_eq!(again.saved(), Saved::default());
    assert_eq!(read_in(&mut one, 2)[3], 0x80);
    assert_eq!(keys(&mut Host::new(&restarted(&again), 1)), (0, vec![]));
}

#[test]
fn register_and_move_decides_about_persistence_too() {
    let unit = LogicalUnit::new(params());
    let mut one = Host::new(&unit, 1);
    assert_eq!(out(&mut one, REGISTER, 0, &list(0, 7, 0)), GOOD);
    assert_eq!(out(&mut one, RESERVE, 1, &list(7, 0, 0)), GOOD);
    let id = transport_id(2);
    let mut movement = list(7, 9, 0);
    movement[17] = 2 | APTPL;
    movement[19] = 1;
    movement[23] = id.len() as u8;
    movement.extend(&id);
    assert_eq!(out(&mut one, REGISTER_AND_MOVE, 0, &movement), GOOD);
    let saved = unit.saved().reservations.expect("saved");
    assert_eq!(saved.registrations.len(), 1);
    assert_eq!(saved.held.map(|held| held.holder), Some(it_nexus(2, 1)));
}

/// By a reload as by a restart, and also while a registration is on its way.
#[test]
fn a_registration_for_all_target_ports_is_so_at_one_that_is_added() {
    const ALL_TG_PT: u8 = 4;
    let unit = LogicalUnit::new(params());
    let port = |tag| PortGroup { tag, relative_port: tag, state: AccessState::ActiveOptimized };
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    assert_eq!(out(&mut one, REGISTER, 0, &list(0, 1, ALL_TG_PT | APTPL)), GOOD);
    let saving = save(planned(&mut two, &out_cdb(REGISTER, 0), &list(0, 2, ALL_TG_PT | APTPL)));
    let end = unit.save(&saving, |_| {
        unit.set_port_groups(&[port(1), port(2)]);
        assert_eq!(one.failure(&[0x00]), (6, 0x2a06));
        assert_eq!(keys(&mut one).1, [1, 1]);
        true
    });
    assert_eq!(end.outcome, Outcome::GOOD);
    assert_eq!(keys(&mut one).1, [1, 2, 1, 2]);
    assert_eq!(out(&mut one, RESERVE, 5, &list(1, 0, 0)), GOOD);
    one.nexus = LuNexus::new(NexusId(12), &unit).by_port_group(2);
    assert_eq!(one.failure(&[0x00]), (6, 0x2900));
    assert!(writes(&mut one), "its other path is registered");
    // One that stays as it is registers nothing again.
    assert_eq!(out(&mut one, REGISTER, 0, &list(1, 0, 0)), GOOD);
    unit.set_port_groups(&[port(1), port(2), port(3)]);
    assert_eq!(keys(&mut Host::new(&unit, 3)).1, [1, 2, 2, 2]);
}

/// What is not on stable storage has not happened, and the command says that it failed.
#[test]
fn a_store_that_fails_changes_nothing() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    let plan = planned(&mut one, &out_cdb(REGISTER, 0), &list(0, 1, APTPL));
    assert_eq!(sense_of(one.stored(plan, false)), NOT_SAVED);
    assert_eq!((keys(&mut one), unit.saved()), ((0, vec![]), Saved::default()));
    assert_eq!(out(&mut one, REGISTER, 0, &list(0, 1, APTPL)), GOOD);
    assert_eq!(out(&mut two, REGISTER, 0, &list(0, 2, APTPL)), GOOD);
    assert_eq!(out(&mut one, RESERVE, 5, &list(1, 0, 0)), GOOD);
    let (before, shown) = (unit.saved(), keys(&mut one));
    for (action, kind, list) in [
        (RELEASE, 5, list(1, 0, 0)),
        (CLEAR, 0, list(1, 0, 0)),
        (PREEMPT_AND_ABORT, 5, list(1, 2, 0)),
        (REGISTER, 0, list(1, 0, APTPL)),
        (REGISTER, 0, list(1, 3, 0)),
    ] {
        let plan = planned(&mut one, &out_cdb(action, kind), &list);
        assert_eq!(sense_of(one.stored(plan, false)), NOT_SAVED);
        assert!(one.reply.aborts.is_empty());
        assert_eq!((unit.saved(), keys(&mut one)), (before.clone(), shown.clone()));
        assert_eq!(two.send(&[0x00]), GOOD, "nobody is told");
    }
    let plan = planned(&mut one, &SELECT_AND_SAVE, &CONTROL_LIST);
    assert_eq!(sense_of(one.stored(plan, false)), NOT_SAVED);
    assert_eq!(one.data(&[0x1a, 8, 0x0a, 0, 255])[6], 2, "also the current value stays");
    // What is as it was already needs no store.
    let plan = planned(&mut one, &out_cdb(RESERVE, 5), &list(1, 0, 0));
    assert_eq!(one.stored(plan, false), GOOD);
}

/// A change that is on its way is waited for by every other one that depends on it, and not seen before it is stored.
#[test]
fn changes_queue_behind_one_that_is_being_saved() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two, mut three) = (Host::new(&unit, 1), Host::new(&unit, 2), Host::new(&unit, 3));
    let first = save(planned(&mut one, &out_cdb(REGISTER, 0), &list(0, 1, APTPL)));
    assert_eq!(three.send(&[0x16]), Plan::Done(Outcome::BUSY), "RESERVE(6): a registration may be coming");
    let second = save(planned(&mut two, &out_cdb(REGISTER_AND_IGNORE, 0), &list(0, 2, APTPL)));
    let third = save(planned(&mut one, &out_cdb(PREEMPT, 1), &list(1, 2, 0)));
    let fourth = save(planned(&mut three, &SELECT, &CONTROL_LIST));
    assert_eq!(keys(&mut three).1.len(), 0);
    let write = |_: &Saved| true;
    assert_eq!(unit.save(&first, write).outcome, Outcome::GOOD);
    assert_eq!(keys(&mut three).1, [1]);
    assert_eq!(unit.save(&second, write).outcome, Outcome::GOOD);
    assert_eq!(keys(&mut three).1, [1, 2]);
    assert_eq!(unit.save(&third, write).outcome, Outcome::GOOD);
    assert_eq!(keys(&mut three).1, [1]);
    assert_eq!(two.failure(&[0x00]), (6, 0x2a05));
    let end = unit.save(&fourth, |_| panic!("not to be saved"));
    assert_eq!(end.outcome, Outcome::GOOD);
    assert_eq!(two.failure(&[0x00]), (6, 0x2a01));
    drop((first, second, third, fourth));
    assert_eq!(three.send(&[0x16]), CONFLICT, "RESERVE(6) with registrations");
}

/// Nothing of theirs is stored, and a store that hangs keeps nobody from fencing.
#[test]
fn changes_with_nothing_to_store_do_not_wait_until_it_is_saved_who_has_yet_to_hear() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two, mut three) = (Host::new(&unit, 1), Host::new(&unit, 2), Host::new(&unit, 3));
    assert_eq!(out(&mut two, REGISTER, 0, &list(0, 2, 0)), GOOD);
    let lost = unit.lost(1);
    let (decided, saved) = unit.decide(&lost);
    assert_eq!(planned(&mut one, &out_cdb(REGISTER, 0), &list(0, 1, 0)), Plan::Done(Outcome::GOOD));
    assert_eq!(planned(&mut one, &out_cdb(PREEMPT_AND_ABORT, 1), &list(1, 2, 0)), Plan::Done(Outcome::GOOD));
    assert_eq!(one.reply.aborts, [it_nexus(2, 1)]);
    assert_eq!(planned(&mut one, &out_cdb(REGISTER, 0), &list(1, 0, 0)), Plan::Done(Outcome::GOOD));
    assert_eq!(one.send(&[0x16]), Plan::Done(Outcome::GOOD), "RESERVE(6)");
    assert_eq!(one.send(&[0x17]), Plan::Done(Outcome::GOOD), "RELEASE(6)");
    // What is stored takes its turn, and those behind it theirs.
    let registering = save(planned(&mut one, &out_cdb(REGISTER, 0), &list(0, 1, APTPL)));
    assert_eq!(three.send(&[0x16]), Plan::Done(Outcome::BUSY));
    assert_eq!(unit.conclude(decided, true).outcome, Outcome::GOOD);
    assert_eq!(unit.saved(), *saved.unwrap());
    let end = unit.save(&registering, |saved| saved.lost == Some(Lost::UNHEARD) && saved.reservations.is_some());
    assert_eq!(end.outcome, Outcome::GOOD);
}

/// LOGICAL UNIT RESET and the end of a nexus come in between: what they did stays.
#[test]
fn a_change_leaves_alone_what_others_did_meanwhile() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    assert_eq!(two.send(&[0x16]), GOOD);
    let set = save(planned(&mut two, &[0xa4, 6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], b"x"));
    unit.nexus_lost(two.nexus.id());
    assert_eq!(unit.save(&set, |_| true).outcome, Outcome::GOOD);
    assert_eq!(one.failure(&[0x00]), (6, 0x3f05));
    assert!(writes(&mut one), "RESERVE(6) has ended with its nexus");
}

#[test]
fn item_99_saved_mode_pages() {
    let unit = LogicalUnit::new(params());
    let (mut host, mut other) = (Host::new(&unit, 1), Host::new(&unit, 2));
    let control = |host: &mut Host, values: u8| host.data(&[0x1a, 8, values << 6 | 0x0a, 0, 255])[6] & 4;
    assert_eq!(host.send_list(&SELECT, &CONTROL_LIST), GOOD);
    assert_eq!((control(&mut host, 0), control(&mut host, 3)), (4, 0), "current, not saved");
    assert_eq!(unit.saved(), Saved::default());
    assert_eq!(saved_without_list(&mut host), GOOD);
    assert_eq!((control(&mut host, 0), control(&mut host, 2), control(&mut host, 3)), (4, 0, 4));
    assert_eq!(other.failure(&[0x00]), (6, 0x2a01));
    let mut off = CONTROL_LIST;
    off[6] = 2;
    assert_eq!(host.send_list(&SELECT, &off), GOOD);
    unit.reset();
    assert_eq!(host.failure(&[0x00]), (6, 0x2903));
    assert_eq!(control(&mut host, 0), 4, "a reset returns to the saved values");
    let again = restarted(&unit);
    assert_eq!(control(&mut Host::new(&again, 1), 0), 4, "and so does a restart");
    assert_eq!(host.send_list(&SELECT_AND_SAVE, &off), GOOD);
    assert_eq!(unit.saved(), Saved::default());
}

/// WCE of zero: every write is durable before its status, and what was in the cache is flushed first.
#[test]
fn item_99_the_cache_can_be_switched_off() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let fua = |host: &mut Host| match host.send(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1]) {
        Plan::Medium(MediumOp::Write { fua, .. }) => fua,
        other => panic!("{other:?}"),
    };
    let flush = Plan::Medium(MediumOp::Flush { immed: false });
    assert!(!fua(&mut host));
    assert_eq!(host.data(&[0x1a, 8, 0x48, 0, 255])[6], 4, "WCE can be changed");
    assert_eq!(host.send_list(&[0x15, 0x10, 0, 0, 24], &caching_list(0)), flush);
    assert!(fua(&mut host) && unit.is_write_through());
    let wce = |host: &mut Host| host.data(&[0x1a, 8, 0x08, 0, 255])[6];
    let off = unit.unflushed().expect("not flushed");
    assert_eq!(wce(&mut host), 4, "as long as something may be in it");
    unit.cache_flushed(off + 1);
    assert_eq!((wce(&mut host), host.data(&[0x1a, 8, 0x88, 0, 255])[6]), (4, 4), "the default, too");
    unit.cache_flushed(off);
    assert_eq!((wce(&mut host), unit.unflushed()), (0, None));
    assert_eq!(host.send_list(&[0x15, 0x10, 0, 0, 24], &caching_list(0)), flush, "perhaps not flushed yet");
    assert_eq!(host.send_list(&[0x15, 0x10, 0, 0, 24], &caching_list(4)), GOOD);
    assert!(!fua(&mut host));
    assert_eq!(host.send_list(&[0x15, 0x11, 0, 0, 24], &caching_list(0)), flush);
    assert!(fua(&mut Host::new(&restarted(&unit), 1)));
    assert!(!unit.reset(), "it is off already");
    assert_eq!(host.failure(&[0x00]), (6, 0x2903));
    assert_eq!(host.send_list(&[0x15, 0x10, 0, 0, 24], &caching_list(4)), GOOD);
    assert!(unit.reset() && unit.is_write_through(), "as saved");
    let without = LogicalUnit::new(LuParams { volatile_cache: false, ..params() });
    let mut host = Host::new(&without, 1);
    assert_eq!(sense_of(host.send_list(&[0x15, 0x10, 0, 0, 24], &caching_list(4))), (5, 0x2600), "there is none");
    assert_eq!(host.send_list(&[0x15, 0x10, 0, 0, 24], &caching_list(0)), GOOD);
}

#[test]
fn identifying_information() {
    let unit = LogicalUnit::new(params());
    let (mut host, mut other) = (Host::new(&unit, 1), Host::new(&unit, 2));
    let report = |kind: u8| [0xa3, 5, 0, 0, 0, 0, 0, 0, 4, 0, kind, 0];
    let set = |kind: u8, len: usize| [0xa4, 6, 0, 0, 0, 0, 0, 0, (len >> 8) as u8, len as u8, kind, 0];
    assert_eq!(host.data(&report(0)), [0; 4]);
    assert_eq!(host.data(&report(0xfe)), [0, 0, 0, 8, 0, 0, 2, 0, 4, 0, 1, 0]);
    let long = vec![0xa5; 512];
    assert_eq!(host.send_list(&set(0, 512), &long), GOOD);
    assert_eq!(host.data(&report(0))[2..], [&[2, 0], &long[..]].concat());
    assert_eq!(host.data(&[0xa3, 5, 0, 0, 0, 0, 0, 0, 0, 6])[..], [0, 0, 2, 0, 0xa5, 0xa5], "the length stays");
    assert_eq!(other.failure(&[0x00]), (6, 0x3f05));
    assert_eq!(host.send(&[0x00]), GOOD);
    assert_eq!(host.send_list(&set(4, 5), "büro".as_bytes()), GOOD);
    assert_eq!(sense_of(host.send_list(&set(4, 2), &[b'a', 0xff])), (5, 0x2600), "no UTF-8");
    let again = restarted(&unit);
    assert_eq!(&Host::new(&again, 1).data(&report(4))[4..], "büro".as_bytes());
    assert_eq!(Host::new(&again, 1).data(&report(0)).len(), 516);
    for (cdb, sense) in [(set(0, 513), 0x2400), (set(4, 257), 0x2400), (set(2, 1), 0x2400), (set(0xfe, 1), 0x2400)] {
        assert_eq!(host.failure(&cdb), (5, sense));
    }
    assert_eq!(host.failure(&report(2)), (5, 0x2400));
    let plan = planned(&mut host, &set(0, 8), &[0; 7]);
    assert_eq!(sense_of(plan), (5, 0x1a00), "a list cut short");
    let plan = host.send(&set(0, 0));
    assert_eq!(host.stored(plan, true), GOOD);
    assert_eq!(host.data(&report(0)), [0; 4], "taken off");
}

/// MODE SELECT with SP and no list saves what is in force.
fn saved_without_list(host: &mut Host) -> Plan {
    let plan = host.send(&[0x15, 0x11, 0, 0, 0]);
    host.stored(plan, true)
}
