//! The timestamp, as hosts see it.

use super::*;

fn timestamp(host: &mut Host) -> (u8, u64) {
    let data = host.data(&[0xa3, 0x0f, 0, 0, 0, 0, 0, 0, 0, 255]);
    assert_eq!((data.len(), &data[..2]), (12, &[0, 10][..]));
    (data[2], data[4..10].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn list(timestamp: u64) -> Vec<u8> {
    [&[0; 4], &timestamp.to_be_bytes()[2..], &[0; 2]].concat()
}

const SET: [u8; 12] = [0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0];
const GOOD: Plan = Plan::Done(Outcome::GOOD);

#[test]
fn set_timestamp() {
    let unit = LogicalUnit::new(params());
    let (mut one, mut two) = (Host::new(&unit, 1), Host::new(&unit, 2));
    let (origin, by_machine) = timestamp(&mut one);
    assert_eq!((origin, by_machine), (3, NOW.since_1970_ms), "by other means");
    assert_eq!(one.send_list(&SET, &list(1_000_000)), GOOD);
    assert_eq!(two.failure(&[0]), (6, 0x2a10));
    assert_eq!(two.send(&[0]), GOOD, "told once");
    assert_eq!(one.send(&[0]), GOOD, "whoever did it knows");
    for host in [&mut one, &mut two] {
        host.now.ms += 60_000;
        host.now.since_1970_ms += 60_000;
        assert_eq!(timestamp(host), (2, 1_060_000));
    }
    // Nothing is set without a list.
    assert_eq!(one.send(&[0xa4, 0x0f]), GOOD);
    assert_eq!(two.send(&[0]), GOOD);
    assert_eq!(timestamp(&mut two).0, 2);
    unit.reset();
    assert_eq!((one.failure(&[0]), timestamp(&mut one).0), ((6, 0x2903), 2), "a logical unit reset leaves it");
    unit.hard_reset();
    assert_eq!(one.failure(&[0]), (6, 0x2903));
    assert_eq!(timestamp(&mut one), (3, NOW.since_1970_ms + 60_000));
}

#[test]
fn set_timestamp_with_a_list_that_is_wrong() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    for len in [1, 11, 13, 255] {
        assert_eq!(host.failure(&[0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, len]), (5, 0x1a00), "{len} bytes");
    }
    assert_eq!(host.failure(&[0xa4, 0x0f, 0, 0, 0, 0, 1, 0, 0, 12]), (5, 0x1a00));
    assert_eq!(host.send_list(&SET, &list(0xf0ff_ffff_ffff)), GOOD);
    let field = |at, bit| Plan::Done(Outcome::invalid_list_field(at, bit));
    assert_eq!(host.send_list(&SET, &list(0xf100_0000_0000)), field(4, 7));
    for at in [0, 3, 10, 11] {
        let mut list = list(5);
        list[usize::from(at)] = 0x10;
        assert_eq!(host.send_list(&SET, &list), field(at, 4));
    }
    assert_eq!(timestamp(&mut host).0, 2, "nothing of that was taken");
    assert!(timestamp(&mut host).1 >= 0xf0ff_ffff_ffff);
}

/// SCSIP: what SET TIMESTAMP sets takes precedence. TCMOS: otherwise the timestamp is set by other means.
#[test]
fn the_control_extension_page_says_so() {
    let unit = LogicalUnit::new(params());
    let mut host = Host::new(&unit, 1);
    let mut page = [0; 32];
    page[..5].copy_from_slice(&[0x4a, 1, 0, 28, 7]);
    assert_eq!(host.data(&[0x1a, 8, 0x0a, 1, 255])[4..], page);
    assert_eq!(host.data(&[0x1a, 8, 0x8a, 1, 255])[4..], page, "the default values");
    assert_eq!(host.data(&[0x1a, 8, 0x4a, 1, 255])[8..], [0; 28], "nothing can be changed");
    let select = |page: &[u8; 32]| [&[0; 4], &page[..]].concat();
    assert_eq!(host.send_list(&[0x15, 0x10, 0, 0, 36], &select(&page)), GOOD);
    page[4] = 5;
    assert_eq!(sense_of(host.send_list(&[0x15, 0x10, 0, 0, 36], &select(&page))), (5, 0x2600));
    let both = host.data(&[0x1a, 8, 0x0a, 0xff, 255]);
    assert_eq!((both.len(), both[4] & 0x7f, both[16]), (4 + 12 + 32, 0x0a, 0x4a));
}
