//! LOG SENSE, LOG SELECT, and the soft threshold of thin provisioning.

use super::*;
use crate::model::Space;

const GOOD: Plan = Plan::Done(Outcome::GOOD);
const MIB: u64 = 1 << 20;

fn log(host: &mut Host, page: u8, subpage: u8) -> Vec<u8> {
    host.data(&[0x4d, 0, 0x40 | page, subpage, 0, 0, 0, 0xff, 0xff, 0])
}

fn room(available_bytes: u64) -> Option<Space> {
    Some(Space { used_bytes: 5 * MIB, available_bytes })
}

#[test]
fn the_lists_of_pages_are_exact() {
    for space in [None, room(7 * MIB)] {
        let unit = LogicalUnit::new(params());
        unit.note_space(space);
        let mut host = Host::new(&unit, 1);
        let list = log(&mut host, 0, 0);
        let expected: &[u8] = if space.is_some() { &[0, 0x0c, 0x19, 0x2f] } else { &[0, 0x19, 0x2f] };
        assert_eq!(list[..4], [0, 0, 0, expected.len() as u8]);
        assert_eq!(&list[4..], expected);
        let with_subpages = log(&mut host, 0, 0xff);
        assert_eq!(with_subpages[..8], [0x40, 0xff, 0, 2 * (expected.len() as u8 + 1), 0, 0, 0, 0xff]);
        for page in 0..0x40 {
            if expected.contains(&page) {
                let data = log(&mut host, page, 0);
                assert_eq!((data[0], usize::from(data[3]) + 4), (page, data.len()));
                assert_eq!(host.data(&[0x4d, 0, page, 0, 0, 0, 0, 0, 3, 0]), data[..3]);
                assert_eq!(host.failure(&[0x4d, 0, page, 1, 0, 0, 0, 0, 9, 0]), (5, 0x2400));
            } else {
                assert_eq!(host.failure(&[0x4d, 0, page, 0, 0, 0, 0, 0, 9, 0]), (5, 0x2400));
            }
        }
        assert_eq!(host.failure(&[0x4d, 0, 0x59, 0, 0, 0, 2, 0, 9, 0]), (5, 0x2400), "PARAMETER POINTER");
        assert_eq!(host.failure(&[0x4d, 1, 0x59, 0, 0, 0, 0, 0, 9, 0]), (5, 0x2400), "SP");
    }
}

#[test]
fn statistics_count_for_all_nexuses_until_they_are_reset() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    one.send(&[0x28, 0, 0, 0, 0, 0, 0, 0, 8]);
    one.send(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 2]);
    two.send(&[0x28, 0, 0, 0, 0, 0, 0, 1, 0]);
    two.failure(&[0x28, 0, 0xff, 0, 0, 0, 0, 0, 8]);
    let data = log(&mut two, 0x19, 0);
    assert_eq!(data[4..8], [0, 1, 3, 64]);
    let field = |data: &[u8], at: usize| u64::from_be_bytes(data[8 + 8 * at..16 + 8 * at].try_into().unwrap());
    assert_eq!([0, 1, 2, 3].map(|at| field(&data, at)), [2, 1, 2, 264]);
    drop(one);
    let mut three = Host::new(&unit, 3);
    assert_eq!(log(&mut three, 0x19, 0), data, "a nexus that is gone has counted too");
    assert_eq!(three.send(&[0x4c, 0, 0x40]), GOOD, "without PCR nothing is reset");
    assert_eq!(log(&mut three, 0x19, 0), data);
    assert_eq!(three.failure(&[0x4c, 0, 0x40, 0, 0, 0, 0, 0, 4]), (5, 0x2400), "nothing can be given a value");
    assert_eq!(three.failure(&[0x4c, 2, 0x55]), (5, 0x2400));
    assert_eq!(three.send(&[0x4c, 2, 0x40]), GOOD);
    assert_eq!(two.failure(&[0x00]), (6, 0x2a02));
    assert_eq!(three.send(&[0x00]), GOOD);
    assert!(log(&mut three, 0x19, 0)[8..].iter().all(|byte| *byte == 0));
}

#[test]
fn the_soft_threshold_is_told_once_for_each_crossing() {
    let unit = LogicalUnit::new(LuParams { low_space_bytes: Some(10 * MIB), ..params() });
    unit.note_space(room(11 * MIB));
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    unit.note_space(room(10 * MIB));
    unit.note_space(room(9 * MIB));
    assert_eq!(one.failure(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1]), (6, 0x3807));
    assert_eq!((one.send(&[0x00]), two.failure(&[0x00])), (GOOD, (6, 0x3807)));
    unit.note_space(room(8 * MIB));
    assert_eq!(one.send(&[0x00]), GOOD, "it was told already");
    unit.note_space(room(20 * MIB));
    unit.note_space(room(MIB));
    assert_eq!(one.failure(&[0x00]), (6, 0x3807), "there had been more");
    two.failure(&[0x00]);
    assert_eq!(one.data(&[0x12, 1, 0xb2, 0, 8])[4], 11, "2048 blocks are a MiB");
    let counts = log(&mut one, 0x0c, 0);
    assert_eq!(counts[4..16], [0, 1, 3, 8, 0, 0, 0, 1, 2, 0, 0, 0]);
    assert_eq!(counts[16..], [0, 2, 3, 8, 0, 0, 0, 5, 1, 0, 0, 0]);
    assert_eq!(one.data(&[0x4d, 0, 0x4c, 0, 0, 0, 2, 0, 99, 0])[4..], counts[16..], "from parameter 2 on");
}

#[test]
fn the_threshold_is_a_mode_page() {
    let unit = LogicalUnit::new(LuParams { low_space_bytes: Some(10 * MIB), ..params() });
    unit.note_space(room(MIB));
    let mut host = Host::new(&unit, 1);
    let page = host.data(&[0x1a, 8, 0x1c, 2, 255]);
    assert_eq!(page[4..8], [0x5c, 2, 0, 20]);
    assert_eq!(page[20..], [0x80, 1, 0, 0, 0, 0, 0, 10]);
    assert_eq!(host.data(&[0x1a, 8, 0x01, 0, 255])[4 + 7], 0x80, "LBPERE");
    let both = host.data(&[0x1a, 8, 0x1c, 0xff, 255]);
    assert_eq!((both[4], &both[16..]), (0x1c, &page[4..]));
    assert_eq!(host.data(&[0x1a, 8, 0x3f, 0, 255]).len() + 24 + 32, host.data(&[0x1a, 8, 0x3f, 0xff, 255]).len());
    assert_eq!(host.failure(&[0x1a, 8, 0x3f, 2, 255]), (5, 0x2400));
    let select = [0x15, 0x10, 0, 0, page.len() as u8];
    let list = |change: u8| {
        let mut list = page.clone();
        (list[0], list[2]) = (0, 0);
        list[27] ^= change;
        list
    };
    assert_eq!(host.send_list(&select, &list(0)), GOOD, "as it is");
    assert_eq!(sense_of(host.send_list(&select, &list(1))), (5, 0x2600), "the configuration says it");
    let thick = LogicalUnit::new(LuParams { thin: false, ..params() });
    let mut host = Host::new(&thick, 1);
    assert_eq!(host.failure(&[0x1a, 8, 0x1c, 2, 255]), (5, 0x2400));
    assert_eq!(host.failure(&[0x4d, 0, 0x4c, 0, 0, 0, 0, 0, 9, 0]), (5, 0x2400));
}
