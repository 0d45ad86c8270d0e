//! SANITIZE and FORMAT UNIT: what they refuse, and what everybody else is told meanwhile.

use super::*;

const GOOD: Plan = Plan::Done(Outcome::GOOD);
const BLOCK_ERASE: [u8; 10] = [0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0];

/// What a command is planned as, and that is begun.
fn begun(host: &mut Host, plan: Plan) -> Plan {
    let Plan::Medium(MediumOp::Erase { erasure, .. }) = plan else { panic!("nothing to begin: {plan:?}") };
    host.unit.begin_erase(erasure, NOW.ms).expect("planned a moment ago");
    plan
}

fn begin(host: &mut Host, cdb: &[u8]) -> Plan {
    let plan = host.send(cdb);
    begun(host, plan)
}

const RESTRICTED: Erasure = Erasure::Sanitize { unrestricted: false };

fn overwrite(host: &mut Host, flags: u8, list: &[u8]) -> Plan {
    let [high, low] = (list.len() as u16).to_be_bytes();
    host.send_list(&[0x48, 0x01 | flags, 0, 0, 0, 0, 0, high, low, 0], list)
}

#[test]
fn overwrite_takes_a_pattern() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let how = Erase::Overwrite { pattern: vec![1, 2, 3], passes: 5, invert: true };
    let plan = overwrite(&mut host, 0, &[0x85, 0, 0, 3, 1, 2, 3]);
    assert_eq!(plan, Plan::Medium(MediumOp::Erase { erasure: RESTRICTED, how, immed: false }));
    assert_eq!(host.failure(&[0x48, 1, 0, 0, 0, 0, 0, 0, 4]), (5, 0x2400), "no pattern");
    assert_eq!(host.failure(&[0x48, 1, 0, 0, 0, 0, 0, 2, 5]), (5, 0x2400), "more than a block");
    for list in [[0x00, 0, 0, 1, 9], [0x21, 0, 0, 1, 9], [0x01, 0, 0, 0, 9], [0x01, 0, 2, 1, 9]] {
        assert_eq!(sense_of(overwrite(&mut host, 0, &list)), (5, 0x2600), "{list:02x?}");
    }
    assert_eq!(sense_of(overwrite(&mut host, 0, &[1, 0, 0, 2, 9])), (5, 0x1a00), "a pattern cut short");
    assert_eq!(host.failure(&[0x48, 2, 0, 0, 0, 0, 0, 0, 8]), (5, 0x2400), "BLOCK ERASE takes no list");
    assert_eq!(host.failure(&[0x48, 3]), (5, 0x2400), "CRYPTOGRAPHIC ERASE");
    assert_eq!(host.send(&[0x00]), GOOD, "nothing was begun");
}

#[test]
fn everything_waits_for_the_end() {
    let unit = LogicalUnit::new(params());
    let (mut host, mut other) = (Host::new(&unit, 1), Host::new(&unit, 2));
    let erase = Plan::Medium(MediumOp::Erase { erasure: RESTRICTED, how: Erase::Discard, immed: true });
    assert_eq!(host.send(&BLOCK_ERASE), erase);
    assert_eq!(other.send(&[0x00]), GOOD, "only planned");
    assert_eq!(begin(&mut host, &BLOCK_ERASE), erase);
    assert_eq!(sense_of(Plan::Done(unit.begin_erase(Erasure::Format, NOW.ms).unwrap_err())), (2, 0x041b));
    unit.erase_progress(1, 4);
    for cdb in [[0x00, 0, 0], [0x28, 0, 0], [0x1b, 0, 0], [0x48, 0x82, 0], [0x04, 0, 0], [0x17, 0, 0], [0x5e, 0, 0]] {
        assert_eq!(other.failure(&cdb), (2, 0x041b), "{cdb:02x?}");
    }
    let sense = other.data(&[0x03, 0, 0, 0, 252]);
    assert_eq!((sense[2], sense[12], sense[13], &sense[15..18]), (2, 4, 0x1b, &[0x80, 0x40, 0][..]));
    other.data(&[0x12, 0, 0, 0, 36]);
    other.data(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16]);
    unit.reset();
    assert_eq!(other.failure(&[0x00]), (6, 0x2903));
    assert_eq!(other.failure(&[0x00]), (2, 0x041b), "a reset does not end it");
    assert_eq!(unit.erase_done(true), Outcome::GOOD);
    assert_eq!(other.send(&[0x00]), GOOD);
}

#[test]
fn a_failure_stays() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let exit = [0x48, 0x1f];
    assert_eq!(host.send(&exit), GOOD, "nothing to exit from");
    begin(&mut host, &BLOCK_ERASE);
    assert_eq!(host.failure(&exit), (2, 0x041b));
    assert_eq!(sense_of(Plan::Done(unit.erase_done(false))), (3, 0x3103));
    assert_eq!(host.failure(&[0x28]), (3, 0x3103));
    assert_eq!(host.failure(&exit), (3, 0x3103), "restricted: only another SANITIZE helps");
    assert_eq!(host.failure(&[0x48, 0xa2]), (3, 0x3103), "and not one with AUSE");
    begin(&mut host, &BLOCK_ERASE);
    unit.erase_done(true);
    begin(&mut host, &[0x48, 0xa2]);
    unit.erase_done(false);
    assert_eq!(host.send(&exit), GOOD);
    assert_eq!(host.send(&[0x00]), GOOD);
}

#[test]
fn who_may_not_erase() {
    let thick = LogicalUnit::new(LuParams { thin: false, ..params() });
    let mut host = Host::new(&thick, 1);
    assert_eq!(host.failure(&BLOCK_ERASE), (5, 0x2400), "no such service action there");
    let readonly = LogicalUnit::new(LuParams { readonly: true, ..params() });
    let mut host = Host::new(&readonly, 1);
    assert_eq!(host.failure(&BLOCK_ERASE), (7, 0x2700));
    assert_eq!(host.failure(&[0x04]), (7, 0x2700));
    let reserved = LogicalUnit::new(params());
    let (mut host, mut other) = (Host::new(&reserved, 1), Host::new(&reserved, 2));
    assert_eq!(other.send(&[0x16]), GOOD);
    assert_eq!(host.send(&BLOCK_ERASE), Plan::Done(Outcome::RESERVATION_CONFLICT));
}

#[test]
fn format_unit() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let erase = |how, immed| Plan::Medium(MediumOp::Erase { erasure: Erasure::Format, how, immed });
    assert_eq!(begin(&mut host, &[0x04]), erase(Erase::Discard, false));
    assert_eq!(host.failure(&[0x00]), (2, 0x0404));
    assert_eq!(host.failure(&[0x04]), (2, 0x0404));
    assert_eq!(sense_of(Plan::Done(unit.erase_done(false))), (3, 0x3101));
    assert_eq!(host.failure(&[0x28]), (3, 0x3101));
    let again = host.send_list(&[0x04, 0x10], &[0, 0x82, 0, 0]);
    assert_eq!(begun(&mut host, again), erase(Erase::Discard, true));
    unit.erase_done(true);
    assert_eq!(host.send_list(&[0x04, 0x30], &[0, 2, 0, 0, 0, 0, 0, 0]), erase(Erase::Discard, true));
    for list in [[0, 0x0a, 0, 0], [1, 2, 0, 0], [0, 2, 0, 8]] {
        assert_eq!(sense_of(host.send_list(&[0x04, 0x10], &list)), (5, 0x2600), "{list:02x?}");
    }
    assert_eq!(host.failure(&[0x04, 0x20]), (5, 0x2400), "LONGLIST of nothing");
    let thick = LogicalUnit::new(LuParams { thin: false, ..params() });
    assert_eq!(Host::new(&thick, 1).send(&[0x04]), erase(Erase::Zero, false));
}

/// SANITIZE has begun, or has failed otherwise, between the planning of EXIT FAILURE MODE and its turn.
#[test]
fn who_exits_from_a_failure_takes_no_later_erasure_away() {
    const UNRESTRICTED: Erasure = Erasure::Sanitize { unrestricted: true };
    for (erasure, has_failed, sense) in
        [(UNRESTRICTED, false, (2, 0x041b)), (RESTRICTED, false, (2, 0x041b)), (RESTRICTED, true, (3, 0x3103))]
    {
        let unit = LogicalUnit::new(params());
        let mut host = Host::new(&unit, 1);
        begin(&mut host, &[0x48, 0xa2]);
        unit.save(&unit.unfinished(Some(UNRESTRICTED)), |_| true);
        unit.erase_done(false);
        let Plan::Save(exit) = host.send(&[0x48, 0x1f]) else { panic!("it is stored") };
        unit.begin_erase(erasure, NOW.ms).unwrap();
        unit.save(&unit.unfinished(Some(erasure)), |_| true);
        if has_failed {
            unit.erase_done(false);
        }
        let end = unit.save(&exit, |_| panic!("nothing is to be stored"));
        assert_eq!(sense_of(Plan::Done(end.outcome)), sense);
        assert_eq!(unit.saved().unfinished, Some(erasure));
    }
}

/// What a restart finds in the middle of an erasure is no unit that was erased, and not an ordinary one.
#[test]
fn an_erasure_is_not_forgotten() {
    for (cdb, erasure, exits, sense) in [
        ([0x48, 0x82], RESTRICTED, false, (3, 0x3103)),
        ([0x48, 0xa2], Erasure::Sanitize { unrestricted: true }, true, (3, 0x3103)),
        ([0x04, 0], Erasure::Format, false, (3, 0x3101)),
    ] {
        let unit = LogicalUnit::new(params());
        let mut host = Host::new(&unit, 1);
        assert!(matches!(begin(&mut host, &cdb), Plan::Medium(MediumOp::Erase { erasure: own, .. }) if own == erasure));
        let (begun, mut stored) = (unit.unfinished(Some(erasure)), None);
        unit.save(&begun, |saved| stored.replace(saved.clone()).is_none());
        drop(begun);
        let again = LogicalUnit::new(params());
        again.restore(stored.expect("stored before anything is erased"));
        let mut host = Host::new(&again, 1);
        assert_eq!(host.failure(&[0x00]), sense);
        assert_eq!(host.failure(&[0x28]), sense);
        let exit = host.send(&[0x48, 0x1f]);
        assert_eq!(matches!(exit, Plan::Save(_)), exits);
        if let Plan::Save(saving) = exit {
            assert_eq!(again.save(&saving, |_| false).outcome.sense.map(|sense| sense.key), Some(4), "not stored");
            assert_eq!(host.failure(&[0x00]), sense);
            assert_eq!(again.save(&saving, |saved| *saved == Saved::default()).outcome, Outcome::GOOD);
            assert_eq!(host.send(&[0x00]), GOOD);
            continue;
        }
        // Only another one ends it.
        begin(&mut host, &cdb);
        again.erase_not_begun();
        assert_eq!(host.failure(&[0x00]), sense, "it could not be stored that it begins");
        begin(&mut host, &cdb);
        assert_eq!(again.save(&again.unfinished(None), |saved| *saved == Saved::default()).outcome, Outcome::GOOD);
        assert_eq!(again.erase_done(true), Outcome::GOOD);
        assert_eq!(host.send(&[0x00]), GOOD);
    }
}
