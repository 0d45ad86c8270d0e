//! A medium that can be ejected, and who keeps it in.

use super::*;

const GOOD: Plan = Plan::Done(Outcome::GOOD);
const EJECT: [u8; 5] = [0x1b, 1, 0, 0, 2];
const LOAD: [u8; 5] = [0x1b, 0, 0, 0, 3];
const PREVENT: [u8; 5] = [0x1e, 0, 0, 0, 1];
const ALLOW: [u8; 5] = [0x1e, 0, 0, 0, 0];
const FLUSHED: Plan = Plan::Medium(MediumOp::Flush { immed: true });

fn unit() -> LogicalUnit {
    LogicalUnit::new(LuParams { removable: true, ..params() })
}

#[test]
fn eject_and_load() {
    let unit = unit();
    let (mut host, mut other) = (Host::new(&unit, 1), Host::new(&unit, 2));
    assert_eq!(host.data(&[0x12, 0, 0, 0, 36])[1], 0x80, "RMB");
    assert_eq!(host.send(&[0x1b, 0, 0, 0, 0]), Plan::Medium(MediumOp::Flush { immed: false }), "STOP ejects nothing");
    assert_eq!(host.send(&[0x1b, 1, 0, 0, 0x12]), GOOD, "nor does a power condition");
    assert_eq!(host.send(&[0x00]), GOOD);
    assert_eq!(host.send(&EJECT), FLUSHED);
    for cdb in [0x00, 0x25, 0x28, 0x2a, 0x35, 0x37, 0x41, 0x42, 0x89, 0x9c] {
        assert_eq!(other.failure(&[cdb]), (2, 0x3a00), "{cdb:02x}");
    }
    assert_eq!(other.data(&[0x03, 0, 0, 0, 252])[12], 0x3a);
    other.data(&[0x12, 0, 0, 0, 36]);
    other.data(&[0x1a, 0, 0x3f, 0, 4]);
    assert_eq!(host.send(&EJECT), FLUSHED, "it is out already");
    assert_eq!(host.send(&LOAD), GOOD);
    assert_eq!(host.send(&[0x00]), GOOD);
    assert_eq!(other.failure(&[0x00]), (6, 0x2800));
    assert_eq!(other.send(&[0x00]), GOOD);
    assert_eq!(host.send(&LOAD), GOOD, "it is in already");
    assert_eq!(other.send(&[0x00]), GOOD);
}

#[test]
fn each_nexus_prevents_for_itself() {
    let unit = unit();
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    assert_eq!(one.send(&PREVENT), GOOD);
    assert_eq!(one.send(&PREVENT), GOOD);
    assert_eq!(one.failure(&EJECT), (5, 0x5302));
    assert_eq!(two.failure(&EJECT), (5, 0x5302));
    assert_eq!(two.send(&ALLOW), GOOD, "it allows for itself only");
    assert_eq!(two.failure(&LOAD), (5, 0x5302));
    assert_eq!(two.send(&PREVENT), GOOD);
    assert_eq!(one.send(&ALLOW), GOOD);
    assert_eq!(one.failure(&EJECT), (5, 0x5302));
    unit.nexus_lost(NexusId(2));
    assert_eq!(one.send(&EJECT), FLUSHED, "a nexus that is gone prevents nothing");
    assert_eq!(one.send(&LOAD), GOOD);
    assert_eq!(one.send(&PREVENT), GOOD);
    unit.reset();
    assert_eq!(one.failure(&[0x00]), (6, 0x2903));
    assert_eq!(one.send(&EJECT), FLUSHED, "nor does one survive a reset");
}
