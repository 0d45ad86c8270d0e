//! Unit attentions, and LUNs without a logical unit.

use super::*;
use crate::model::MediumFault;

#[test]
fn item_91_a_new_nexus_reports_power_on_once() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::fresh(&unit, 1);
    host.data(&[0x12, 0, 0, 0, 36]);
    host.data(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16]);
    assert_eq!(host.failure(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1]), (6, 0x2900));
    assert_eq!(host.send(&[0x00]), Plan::Done(Outcome::GOOD));
}

#[test]
fn item_91_request_sense_reports_and_clears() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::fresh(&unit, 1);
    let data = host.data(&[0x03, 0, 0, 0, 252]);
    assert_eq!(data, [0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0]);
    assert_eq!(host.data(&[0x03, 1, 0, 0, 252]), [0x72, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.data(&[0x03, 0, 0, 0, 3]), [0x70, 0, 0]);
    assert_eq!(host.send(&[0x00]), Plan::Done(Outcome::GOOD));
}

#[test]
fn item_91_attentions_reach_everybody_concerned() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    unit.reset();
    assert_eq!(one.failure(&[0x00]), (6, 0x2903));
    assert_eq!(two.failure(&[0x00]), (6, 0x2903));
    unit.raise(Attention::ReportedLunsDataHasChanged, None);
    one.data(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16]);
    assert_eq!(one.send(&[0x00]), Plan::Done(Outcome::GOOD), "REPORT LUNS has taken it back");
    assert_eq!(two.failure(&[0x00]), (6, 0x3f0e));
    let mut late = Host::new(&unit, 3);
    assert_eq!(late.send(&[0x00]), Plan::Done(Outcome::GOOD), "what was before the nexus is not its affair");
}

#[test]
fn a_nexus_that_sleeps_through_the_log_is_told_power_on() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    for _ in 0..100 {
        unit.raise(Attention::CapacityDataHasChanged, None);
    }
    assert_eq!(host.failure(&[0x00]), (6, 0x2900));
    assert_eq!(host.failure(&[0x00]), (6, 0x2a09));
    assert_eq!(host.send(&[0x00]), Plan::Done(Outcome::GOOD));
}

#[test]
fn test_unit_ready_tells_of_the_backend() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    assert_eq!(host.send(&[0x00]), Plan::Done(Outcome::GOOD), "what cannot be lost is not asked");
    unit.watch();
    assert_eq!(host.send(&[0x00]), Plan::Medium(MediumOp::Probe));
    assert_eq!(host.send(&[0x00]), Plan::Medium(MediumOp::Probe), "no answer yet");
    unit.answered(NOW.ms);
    assert_eq!(host.send(&[0x00]), Plan::Done(Outcome::GOOD), "asked a moment ago");
    host.now.ms += 1000;
    assert_eq!(host.send(&[0x00]), Plan::Medium(MediumOp::Probe), "that was a while ago");
    unit.answered(host.now.ms);
    let outcome = unit.fault(MediumFault::NotReady, Some(0));
    assert_eq!(sense_of(Plan::Done(outcome)), (2, 0x0403));
    assert_eq!(host.send(&[0x00]), Plan::Medium(MediumOp::Probe), "what failed is asked at once");
    assert!(matches!(host.send(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1]), Plan::Medium(_)), "and may work again");
}

#[test]
fn medium_faults() {
    let unit = LogicalUnit::new(params());
    for (fault, expected, information) in [
        (MediumFault::OutOfSpace, (7, 0x2707), None),
        (MediumFault::Read, (3, 0x1100), Some(9)),
        (MediumFault::Write, (3, 0x0c00), Some(9)),
        (MediumFault::NotReady, (2, 0x0403), None),
        (MediumFault::Protected, (7, 0x2700), None),
        (MediumFault::Unsupported, (5, 0x2400), None),
        (MediumFault::Internal(12), (4, 0x4400), None),
    ] {
        let outcome = unit.fault(fault, Some(9));
        assert_eq!(outcome.sense.and_then(|sense| sense.information), information);
        assert_eq!(sense_of(Plan::Done(outcome)), expected);
    }
}

#[test]
fn item_92_absent_logical_units_answer_what_a_scan_asks() {
    let (port, mut reply) = (port(1), Reply::default());
    let mut send = |lun: Lun, cdb: &[u8]| {
        let cdb = padded(cdb);
        let plan =
            absent(&Command { cdb: &cdb, lun, initiator: &port, protocol_level: 1, luns: &[5], now: NOW }, &mut reply);
        (plan, reply.data.clone())
    };
    let good = Plan::Done(Outcome::GOOD);
    let (plan, data) = send(Lun::flat(0), &[0x12, 0, 0, 0, 36]);
    assert_eq!((plan, data[0], data.len()), (good.clone(), 0x7f, 36));
    let (plan, data) = send(Lun::flat(0), &[0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!((plan, &data[..]), (good.clone(), &[0, 0, 0, 8, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0][..]));
    let (plan, data) = send(Lun::flat(0), &[0x03, 0, 0, 0, 252]);
    assert_eq!((plan, data[2], data[12]), (good.clone(), 5, 0x25));
    for cdb in [[0x00, 0], [0x28, 0], [0xff, 0]] {
        assert_eq!(sense_of(send(Lun::flat(9), &cdb).0), (5, 0x2500));
    }
    let (plan, data) = send(Lun::REPORT_LUNS, &[0x12, 0, 0, 0, 36]);
    assert_eq!((plan, data[0]), (good.clone(), 0x1e));
    assert_eq!(send(Lun::REPORT_LUNS, &[0x12, 1, 0, 0, 36]).1, [0x1e, 0, 0, 1, 0]);
    assert_eq!(send(Lun::REPORT_LUNS, &[0x00]).0, good);
    assert_eq!(sense_of(send(Lun::REPORT_LUNS, &[0x28]).0), (5, 0x2000));
}

#[test]
fn query_asynchronous_event_tells_of_what_is_pending_and_takes_nothing() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::fresh(&unit, 1);
    let ask = |host: &mut Host| unit.asynchronous_event(&mut host.nexus, &host.port);
    assert_eq!(ask(&mut host), Some([0x16, 0x29, 0]), "one is pending");
    // Posted by another nexus, and not pulled by a command yet.
    unit.raise(Attention::ModeParametersChanged, None);
    assert_eq!(ask(&mut host), Some([0x26, 0x29, 0]), "more than one");
    assert_eq!(ask(&mut host), Some([0x26, 0x29, 0]));
    assert_eq!(host.failure(&[0x00]), (6, 0x2900));
    assert_eq!(ask(&mut host), Some([0x16, 0x2a, 1]));
    assert_eq!(host.failure(&[0x00]), (6, 0x2a01));
    assert_eq!(ask(&mut host), None);
    host.nexus.attend(Attention::CommandsClearedByProtocolEvent);
    assert_eq!(ask(&mut host), Some([0x16, 0x47, 0x7f]));
    assert_eq!(host.failure(&[0x00]), (6, 0x477f));
    assert_eq!(host.send(&[0x00]), Plan::Done(Outcome::GOOD));
}
