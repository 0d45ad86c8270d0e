//! What hosts ask of a CD-ROM, byte by byte.

use super::super::tests::{Host, cdrom, params};
use super::super::*;
use super::*;

const GOOD: Plan = Plan::Done(Outcome::GOOD);
const EJECT: [u8; 5] = [0x1b, 0, 0, 0, 2];
const LOAD: [u8; 5] = [0x1b, 0, 0, 0, 3];

fn disc() -> LogicalUnit {
    LogicalUnit::new(cdrom())
}

/// An image of 4.7 GB.
fn dvd() -> LogicalUnit {
    LogicalUnit::new(LuParams { blocks: 2_295_104, ..cdrom() })
}

fn eject(host: &mut Host) {
    assert!(!matches!(host.send(&EJECT), Plan::Done(Outcome { status: 2, .. })));
}

#[test]
fn inquiry_and_its_pages() {
    let unit = disc();
    let mut host = Host::new(&unit, 1);
    let data = host.data(&[0x12, 0, 0, 0, 255]);
    assert_eq!(data[..8], [0x05, 0x80, 6, 0x12, 91, 0x30, 0, 2]);
    assert_eq!(&data[8..36], b"RINGSAN VIRTUAL-CDROM   0.1 ");
    assert_eq!(data[58..66], [0, 0xa0, 4, 0x60, 4, 0xe0, 9, 0x61]);
    assert_eq!(host.data(&[0x12, 1, 0, 0, 255]), [5, 0, 0, 6, 0, 0x80, 0x83, 0x86, 0x87, 0x88]);
    for page in 0..=0xff {
        if [0, 0x80, 0x83, 0x86, 0x87, 0x88].contains(&page) {
            assert_eq!(host.data(&[0x12, 1, page, 0, 255])[..2], [5, page]);
        } else {
            assert_eq!(host.failure(&[0x12, 1, page, 0, 255]), (5, 0x2400), "page {page:02x}");
        }
    }
}

#[test]
fn capacity_and_reads() {
    let unit = disc();
    let mut host = Host::new(&unit, 1);
    assert_eq!(host.data(&[0x25]), [0, 0, 0xc3, 0x4f, 0, 0, 8, 0]);
    let read = |lba, blocks| Plan::Medium(MediumOp::Read { lba, blocks, fua: false });
    assert_eq!(host.send(&[0x28, 0, 0, 0, 0, 16, 0, 0, 2, 0]), read(16, 2));
    assert_eq!(host.send(&[0xa8, 0, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0]), read(16, 2));
    assert_eq!(host.send(&[0x08, 0, 0, 16, 2, 0]), read(16, 2));
    assert_eq!(host.send(&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0]), read(16, 2));
    assert_eq!(host.failure(&[0x28, 0, 0, 0, 0xc3, 0x50, 0, 0, 1, 0]), (5, 0x2100));
    assert_eq!(host.failure(&[0x2a, 0, 0, 0, 0, 16, 0, 0, 2, 0]), (5, 0x2000), "it cannot be written to");
}

#[test]
fn read_cd_reads_user_data() {
    let unit = disc();
    let mut host = Host::new(&unit, 1);
    let read = |lba, blocks| Plan::Medium(MediumOp::Read { lba, blocks, fua: false });
    assert_eq!(host.send(&[0xbe, 0, 0, 0, 0, 16, 0, 0, 3, 0x10, 0, 0]), read(16, 3));
    assert_eq!(host.send(&[0xbe, 0x08, 0, 0, 0, 16, 0, 0, 3, 0x10, 0, 0]), read(16, 3), "sectors of mode 1");
    assert_eq!(host.failure(&[0xbe, 0x04, 0, 0, 0, 16, 0, 0, 3, 0x10, 0, 0]), (5, 0x6400), "audio");
    assert_eq!(host.failure(&[0xbe, 0, 0, 0, 0, 16, 0, 0, 3, 0xf8, 0, 0]), (5, 0x2400), "raw");
    assert_eq!(host.send(&[0xbe, 0, 0, 0, 0, 16, 0, 0, 3, 0, 0, 0]), GOOD, "nothing of them");
    assert_eq!(host.failure(&[0xbe, 0, 0, 0, 0xc3, 0x50, 0, 0, 1, 0x10, 0, 0]), (5, 0x2100));
    assert_eq!(host.failure(&[0xbe, 0, 0, 0, 0xc3, 0x50, 0, 0, 1, 0, 0, 0]), (5, 0x2100));
    // 00:02:16 is block 16.
    assert_eq!(host.send(&[0xb9, 0, 0, 0, 2, 16, 0, 2, 19, 0x10, 0, 0]), read(16, 3));
    assert_eq!(host.failure(&[0xb9, 0, 0, 0, 2, 19, 0, 2, 16, 0x10, 0, 0]), (5, 0x2400), "it ends before it begins");
    assert_eq!(host.failure(&[0xb9, 0, 0, 0, 1, 74, 0, 2, 16, 0x10, 0, 0]), (5, 0x2400), "before the first block");
    assert_eq!(host.failure(&[0xb9, 0, 0, 0, 2, 0, 0, 60, 0, 0x10, 0, 0]), (5, 0x2400), "60 seconds");
}

#[test]
fn times_on_a_disc() {
    for (lba, expected) in [(0, [0, 2, 0]), (16, [0, 2, 16]), (50_000, [11, 8, 50]), (1_151_849, [255, 59, 74])] {
        assert_eq!((msf(lba), lba_of(&expected)), (expected, Some(lba)));
    }
    assert_eq!((msf(1_151_850), msf(u64::MAX)), ([255, 59, 74], [255, 59, 74]));
    assert_eq!((lba_of(&[0, 1, 74]), lba_of(&[0, 2, 75]), lba_of(&[0, 2])), (None, None, None));
}

#[test]
fn tables_of_contents() {
    let unit = disc();
    let mut host = Host::new(&unit, 1);
    let track = [0, 0x14, 1, 0, 0, 0, 0, 0];
    let lead_out = [0, 0x14, 0xaa, 0, 0, 0, 0xc3, 0x50];
    let toc = [&[0, 18, 1, 1][..], &track, &lead_out].concat();
    assert_eq!(host.data(&[0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0]), toc);
    assert_eq!(host.data(&[0x43, 0, 0, 0, 0, 0, 1, 0, 255, 0]), toc);
    assert_eq!(host.data(&[0x43, 0, 0, 0, 0, 0, 1, 0, 12, 0]), toc[..12]);
    assert_eq!(host.data(&[0x43, 0, 0, 0, 0, 0, 0xaa, 0, 255, 0]), [&[0, 10, 1, 1][..], &lead_out].concat());
    assert_eq!(host.failure(&[0x43, 0, 0, 0, 0, 0, 2, 0, 255, 0]), (5, 0x2400));
    assert_eq!(
        host.data(&[0x43, 2, 0, 0, 0, 0, 0, 0, 255, 0])[4..],
        [0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xaa, 0, 0, 11, 8, 50]
    );
    let sessions = [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0];
    assert_eq!(host.data(&[0x43, 0, 1, 0, 0, 0, 0, 0, 12, 0]), sessions);
    assert_eq!(host.data(&[0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40]), sessions, "as Linux asks for it");
    let full = host.data(&[0x43, 2, 2, 0, 0, 0, 0, 0, 255, 0]);
    assert_eq!(full[..4], [0, 46, 1, 1]);
    let points: Vec<_> = full[4..].chunks(11).map(|entry| (entry[3], [entry[8], entry[9], entry[10]])).collect();
    assert_eq!(points, [(0xa0, [1, 0, 0]), (0xa1, [1, 0, 0]), (0xa2, [11, 8, 50]), (1, [0, 2, 0])]);
    for format in 3..=15 {
        assert_eq!(host.failure(&[0x43, 0, format, 0, 0, 0, 0, 0, 255, 0]), (5, 0x2400), "format {format}");
    }
    assert_eq!(host.failure(&[0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0xc0]), (5, 0x2400));
    let unit = dvd();
    let mut host = Host::new(&unit, 1);
    assert_eq!(host.data(&[0x43, 0, 0, 0, 0, 0, 0xaa, 0, 255, 0])[8..], [0, 0x23, 5, 0x40]);
    assert_eq!(host.data(&[0x43, 2, 0, 0, 0, 0, 0xaa, 0, 255, 0])[8..], [0, 255, 59, 74], "more than a time can say");
    assert_eq!(host.failure(&[0x43, 2, 2, 0, 0, 0, 0, 0, 255, 0]), (5, 0x2400), "a DVD has no such lead-in");
}

#[test]
fn sub_channel() {
    let unit = disc();
    let mut host = Host::new(&unit, 1);
    assert_eq!(host.data(&[0x42, 0, 0, 0, 0, 0, 0, 0, 255, 0]), [0, 0x15, 0, 0]);
    assert_eq!(
        host.data(&[0x42, 2, 0x40, 1, 0, 0, 0, 0, 255, 0]),
        [0, 0x15, 0, 12, 1, 0x14, 1, 1, 0, 0, 2, 0, 0, 0, 0, 0]
    );
    for (format, track) in [(2, 0), (3, 1)] {
        let data = host.data(&[0x42, 0, 0x40, format, 0, 0, track, 0, 255, 0]);
        assert_eq!((data.len(), data[3], data[4], data[8]), (24, 20, format, 0), "neither MCVAL nor TCVAL");
    }
    assert_eq!(host.failure(&[0x42, 0, 0x40, 3, 0, 0, 2, 0, 255, 0]), (5, 0x2400));
    assert_eq!(host.failure(&[0x42, 0, 0x40, 0, 0, 0, 0, 0, 255, 0]), (5, 0x2400));
}

/// The features in a GET CONFIGURATION response: code, version and flags, data.
fn features(data: &[u8]) -> Vec<(u16, u8, &[u8])> {
    assert_eq!(data[..4], ((data.len() - 4) as u32).to_be_bytes());
    let (mut rest, mut found) = (&data[8..], Vec::new());
    while let [high, low, flags, len, behind @ ..] = rest {
        assert_eq!(len % 4, 0);
        let (own, others) = behind.split_at(usize::from(*len));
        found.push((u16::from_be_bytes([*high, *low]), *flags, own));
        rest = others;
    }
    assert!(rest.is_empty() && found.is_sorted());
    found
}

#[test]
fn configurations() {
    let unit = disc();
    let mut host = Host::new(&unit, 1);
    let data = host.data(&[0x46, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(data[4..8], [0, 0, 0, 8]);
    let expected: [(u16, u8, &[u8]); 8] = [
        (0x0000, 0x03, &[0, 0x10, 0, 0, 0, 8, 1, 0]),
        (0x0001, 0x0b, &[0, 0, 0, 1, 3, 0, 0, 0]),
        (0x0002, 0x07, &[2, 0, 0, 0]),
        (0x0003, 0x0b, &[0x39, 0, 0, 0]),
        (0x0010, 0x01, &[0, 0, 8, 0, 0, 1, 1, 0]),
        (0x001e, 0x09, &[0, 0, 0, 0]),
        (0x001f, 0x00, &[]),
        (0x0100, 0x03, &[]),
    ];
    assert_eq!(features(&data), expected);
    assert_eq!(host.data(&[0x46, 0, 0, 0, 0, 0, 0, 0, 8, 0]), data[..8], "cut, with the length of the whole");
    let ask = |how, from: u16| [0x46, how, (from >> 8) as u8, from as u8, 0, 0, 0, 1, 0, 0];
    let codes = |data: &[u8]| features(data).iter().map(|feature| feature.0).collect::<Vec<_>>();
    assert_eq!(codes(&host.data(&ask(1, 0))), [0, 1, 2, 3, 0x10, 0x1e, 0x100]);
    assert_eq!(codes(&host.data(&ask(0, 0x11))), [0x1e, 0x1f, 0x100]);
    assert_eq!(codes(&host.data(&ask(2, 0x1f))), [0x1f], "whether it is current or not");
    assert_eq!(codes(&host.data(&ask(2, 0x106))), [0; 0]);
    assert_eq!(host.failure(&ask(3, 0)), (5, 0x2400));

    eject(&mut host);
    let data = host.data(&ask(1, 0));
    assert_eq!((&data[4..8], codes(&data).as_slice()), (&[0; 4][..], &[0, 1, 2, 3, 0x100][..]));

    let unit = dvd();
    let mut host = Host::fresh(&unit, 1);
    let data = host.data(&ask(1, 0));
    assert_eq!(data[4..8], [0, 0, 0, 0x10], "the unit attention stays pending");
    assert_eq!(codes(&data), [0, 1, 2, 3, 0x10, 0x1f, 0x100]);
    assert_eq!(features(&data)[0].2, [0, 0x10, 1, 0, 0, 8, 0, 0]);
    assert_eq!(features(&data)[4].2, [0, 0, 8, 0, 0, 16, 1, 0]);
    assert_eq!(host.failure(&[0x00]), (6, 0x2900));
}

#[test]
fn a_dvd_begins_where_cds_end() {
    assert!(!is_dvd(DVD_FROM_BLOCKS - 1) && is_dvd(DVD_FROM_BLOCKS));
    assert_eq!(DVD_FROM_BLOCKS * 2048, 900 << 20);
}

#[test]
fn events_are_told_to_each_nexus_once() {
    let unit = disc();
    let (mut host, mut other) = (Host::new(&unit, 1), Host::new(&unit, 2));
    let ask = |classes| [0x4a, 1, 0, 0, classes, 0, 0, 0, 8, 0];
    let (media, all) = (ask(0x10), ask(0xff));
    assert_eq!(host.data(&media), [0, 6, 4, 0x56, 0, 2, 0, 0]);
    assert_eq!(host.data(&all), [0, 6, 1, 0x56, 0, 0, 0, 0], "nothing to tell: the most important class says so");
    assert_eq!(host.data(&ask(0x04)), [0, 6, 2, 0x56, 0, 1, 0, 0], "active");
    assert_eq!(host.data(&ask(0x40)), [0, 6, 6, 0x56, 0, 0, 0, 0], "not busy");
    assert_eq!(host.data(&ask(0x08)), [0, 2, 0x80, 0x56], "no such class");
    assert_eq!(host.failure(&[0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8, 0]), (5, 0x2400), "not polled");

    eject(&mut host);
    for host in [&mut host, &mut other] {
        assert_eq!(host.data(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 4, 0]), [0, 6, 4, 0x56], "no room for the event");
        assert_eq!(host.data(&media), [0, 6, 4, 0x56, 3, 1, 0, 0], "removed, tray open");
        assert_eq!(host.data(&media), [0, 6, 4, 0x56, 0, 1, 0, 0]);
    }
    assert_eq!(host.send(&LOAD), GOOD);
    for host in [&mut host, &mut other] {
        assert_eq!(host.data(&all), [0, 6, 1, 0x56, 2, 0, 0, 1], "features have changed");
        assert_eq!(host.data(&all), [0, 6, 4, 0x56, 2, 2, 0, 0], "new media");
        assert_eq!(host.data(&all), [0, 6, 1, 0x56, 0, 0, 0, 0]);
    }
    assert_eq!(other.failure(&[0x00]), (6, 0x2800), "which no event has taken away");
    assert_eq!(Host::new(&unit, 3).data(&media), [0, 6, 4, 0x56, 0, 2, 0, 0], "nothing is new to who begins");
    unit.resize(60_000);
    assert_eq!(host.data(&media), [0, 6, 4, 0x56, 2, 2, 0, 0], "an image of another size is another disc");
    assert_eq!(host.failure(&[0x00]), (6, 0x2800));
    assert_eq!(host.data(&[0x25])[..4], 59_999u32.to_be_bytes());
}

#[test]
fn without_a_medium() {
    let unit = disc();
    let mut host = Host::new(&unit, 1);
    assert_eq!(host.data(&[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]), [0; 8]);
    assert_eq!(host.send(&[0x1e, 0, 0, 0, 1]), GOOD);
    assert_eq!(host.data(&[0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255, 0])[8 + 6] & 0x02, 0x02, "locked");
    assert_eq!(host.failure(&EJECT), (5, 0x5302));
    assert_eq!(host.send(&[0x1e, 0, 0, 0, 0]), GOOD);
    assert_eq!(host.failure(&[0x1b, 0, 0, 0, 6]), (5, 0x2400), "there is one format layer");
    eject(&mut host);
    for cdb in [0x00, 0x08, 0x25, 0x28, 0x2f, 0x42, 0x43, 0x51, 0x52, 0x88, 0xa8, 0xad, 0xb9, 0xbe] {
        assert_eq!(host.failure(&[cdb]), (2, 0x3a02), "{cdb:02x}");
    }
    assert_eq!(host.data(&[0x03, 0, 0, 0, 252])[12..14], [0x3a, 2]);
    assert_eq!(host.data(&[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0])[1], 0x10, "door open");
    assert_eq!(host.send(&[0xbb, 0, 0xff, 0xff]), GOOD);
    assert_eq!(host.failure(&[0xbb, 2, 0xff, 0xff]), (5, 0x2400));
    host.data(&[0x12, 0, 0, 0, 36]);
    host.data(&[0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255, 0]);
    assert_eq!(host.send(&LOAD), GOOD);
    assert_eq!(host.data(&[0x25])[7], 0);
}

#[test]
fn disc_and_track() {
    let unit = disc();
    let mut host = Host::new(&unit, 1);
    let disc = host.data(&[0x51, 0, 0, 0, 0, 0, 0, 0, 255, 0]);
    assert_eq!(disc[..16], [0, 32, 0x0e, 1, 1, 1, 1, 0x20, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((&disc[16..24], disc.len()), (&[0xff; 8][..], 34));
    assert_eq!(host.failure(&[0x51, 1, 0, 0, 0, 0, 0, 0, 255, 0]), (5, 0x2400));
    let track = host.data(&[0x52, 1, 0, 0, 0, 1, 0, 0, 255, 0]);
    assert_eq!((&track[..8], track.len()), (&[0, 34, 1, 1, 0, 4, 1, 0][..], 36));
    assert_eq!((&track[8..24], &track[24..28]), (&[0; 16][..], &[0, 0, 0xc3, 0x50][..]));
    assert_eq!(host.data(&[0x52, 2, 0, 0, 0, 1, 0, 0, 255, 0]), track);
    assert_eq!(host.data(&[0x52, 0, 0, 0, 0xc3, 0x4f, 0, 0, 255, 0]), track);
    assert_eq!(host.failure(&[0x52, 0, 0, 0, 0xc3, 0x50, 0, 0, 255, 0]), (5, 0x2100));
    assert_eq!(host.failure(&[0x52, 1, 0, 0, 0, 2, 0, 0, 255, 0]), (5, 0x2400));
    assert_eq!(host.failure(&[0x52, 3, 0, 0, 0, 1, 0, 0, 255, 0]), (5, 0x2400));
}

#[test]
fn structures_of_a_dvd() {
    let (unit, structure) = (dvd(), |format| [0xad, 0, 0, 0, 0, 0, 0, format, 0x10, 0, 0, 0]);
    let mut host = Host::new(&unit, 1);
    let physical = host.data(&structure(0));
    assert_eq!((&physical[..2], physical.len()), (&[8, 2][..], 2052));
    assert_eq!(physical[4..16], [0x01, 0x0f, 0x01, 0, 0, 3, 0, 0, 0, 0x26, 5, 0x3f]);
    assert_eq!(host.data(&structure(1)), [0, 6, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.data(&structure(0xff))[..8], [0, 14, 0, 0, 0, 0x40, 8, 4]);
    assert_eq!(host.failure(&structure(4)), (5, 0x2400));
    assert_eq!(host.failure(&[0xad, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0]), (5, 0x2400), "of a BD");
    assert_eq!(host.failure(&[0xad, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0]), (5, 0x2400), "of a second layer");
    let unit = LogicalUnit::new(LuParams { blocks: 1 << 33, ..cdrom() });
    assert_eq!(Host::new(&unit, 1).data(&structure(0))[13..16], [0xff; 3]);
    let unit = disc();
    assert_eq!(Host::new(&unit, 1).failure(&structure(0)), (5, 0x3002), "of a CD");
}

#[test]
fn mode_pages() {
    let unit = disc();
    let mut host = Host::new(&unit, 1);
    let all = host.data(&[0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(all[..8], [0, 86, 0, 0, 0, 0, 0, 0], "no block descriptor");
    let (mut rest, mut codes) = (&all[8..], Vec::new());
    while let [code, len, ..] = rest {
        codes.push(code & 0x3f);
        rest = &rest[2 + usize::from(*len)..];
    }
    assert_eq!(codes, [0x01, 0x0a, 0x1a, 0x1c, 0x2a]);
    let capabilities = host.data(&[0x1a, 0, 0x2a, 0, 255]);
    assert_eq!(capabilities[..4], [35, 0, 0, 0]);
    assert_eq!(capabilities[4..14], [0x2a, 30, 0x1b, 0, 0x70, 0, 0x29, 0, 0x1b, 0x90]);
    assert_eq!(capabilities[18..20], [0x1b, 0x90]);
    assert_eq!(host.failure(&[0x1a, 0, 0x08, 0, 255]), (5, 0x2400), "no cache");
    // D_SENSE can be changed, SWP cannot.
    let control =
        |d_sense: u8, swp: u8| [0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 10, 2 | d_sense, 0x10, swp, 0, 0, 0, 0, 0, 0, 0];
    let select = [0x55, 0x10, 0, 0, 0, 0, 0, 0, 20, 0];
    assert_eq!(host.send_list(&select, &control(4, 0)), GOOD);
    let Plan::Done(Outcome { sense: Some(sense), .. }) = host.send_list(&select, &control(4, 8)) else { panic!() };
    assert_eq!((sense.asc_ascq, sense.specific), (0x2600, Some([0x8b, 0, 12])));
    let disk = LogicalUnit::new(params());
    assert_eq!(Host::new(&disk, 1).failure(&[0x1a, 0, 0x2a, 0, 255]), (5, 0x2400));
}

#[test]
fn reservations_keep_others_from_the_disc() {
    let unit = disc();
    let (mut host, mut other) = (Host::new(&unit, 1), Host::new(&unit, 2));
    assert_eq!(host.send(&[0x16]), GOOD, "RESERVE(6)");
    for cdb in [0x28, 0x43, 0x51, 0x52, 0xa8, 0xad, 0xb9, 0xbb, 0xbd, 0xbe] {
        assert_eq!(other.send(&[cdb]), Plan::Done(Outcome::RESERVATION_CONFLICT), "{cdb:02x}");
    }
    other.data(&[0x46, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
    other.data(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0]);
    other.data(&[0x12, 0, 0, 0, 36]);
}
